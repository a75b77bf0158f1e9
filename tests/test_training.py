"""Tests of training: a run depends only on its seed, resumes exactly, writes its files, and
improves."""

import dataclasses
import functools
import json
import os
import signal
import threading

import numpy as np
import pytest
from host import host

from tinygan import data, plots
from tinygan.backend import asarray
from tinygan.errors import Diverged, InputError
from tinygan.files import checkpoint
from tinygan.models import biggan, gan, infogan, progan, r3gan, stylegan, stylegan2
from tinygan.settings import parse_assignments, setting
from tinygan.training import recipes
from tinygan.training.algorithm import Algorithm
from tinygan.training.sampling import (
    class_rows,
    generate,
    images_of_a_class,
    load_generator,
    load_networks,
)
from tinygan.training.trainer import Trainer

GROWS = {
    "channels": 4,
    "max_channels": 8,
    "batch_sizes": "",
    "stable_images": 16,
    "fade_images": 16,
}
# Settings that make each recipe train in seconds. Recipes that grow reach 32x32 in 12 steps of 8
# images.
BY_SETTINGS = {
    gan.MLPSettings: {"hidden": 16},
    biggan.BigGANSettings: {"g_channels": 8, "d_channels": 8, "standing": 2},
    infogan.InfoGANSettings: {"g_channels": 4, "d_channels": 4, "hidden": 8, "q_hidden": 8},
    progan.ProGANSettings: GROWS,
    # Schedules must not depend on the length of the run, which resumed runs change.
    r3gan.R3GANSettings: {
        **{"g_channels": 2, "d_channels": 2, "group_channels": 4, "embedding": 8},
        **{"lr": "cosine:2e-4:5e-5:until=12", "d_lr": "cosine:4e-4:5e-5:until=12"},
        **{"beta2": "cosine:0.9:0.99:until=12"},
        **{"r1": "cosine:0.5:0.05:until=12", "r2": "cosine:0.5:0.05:until=12"},
        **{"ema_images": "cosine:0:50:until=12"},
    },
    stylegan.StyleGANSettings: {**GROWS, "style": 8, "mapping_layers": 2},
    stylegan2.StyleGAN2Settings: {
        "g_channels": 4,
        "d_channels": 4,
        "max_channels": 8,
        "style": 8,
        "mapping_layers": 2,
        "penalty_every": 4,
    },
}
NARROW = {"g_channels": 4, "d_channels": 4, "d_boost": 0}
SMALL = {
    name: BY_SETTINGS.get(
        recipe.settings_class,
        {key: value for key, value in NARROW.items() if hasattr(recipe.settings(), key)},
    )
    for name, recipe in recipes.RECIPES.items()
}
SMALL["hour"] |= {"lr": "cosine:2e-3:0:until=20"}


@pytest.fixture(scope="module")
def digits():
    return data.load("digits").subset(slice(200))


def start(out, digits, recipe="dcgan", seed=0, **settings):
    recipe = recipes.find(recipe)
    settings = {
        "steps": 12,
        "batch_size": 8,
        "sample_every": 5,
        "checkpoint_every": 5,
        **SMALL[recipe.name],
        **settings,
    }
    return Trainer.start(recipe, recipe.settings().updated(settings), digits, out, seed)


def resume(out, digits, path=None, **settings):
    run = checkpoint.open_run(path or out, allow_empty=True)
    recipe = recipes.find(run.config["recipe"])
    settings = recipe.settings().updated(run.config["settings"]).updated(settings)
    trainer = Trainer(recipe, settings, digits, run.folder, run.config["seed"])
    trainer.resume(run)
    return trainer


def contents(folder):
    return {name: (folder / name).read_bytes() for name in ("log.jsonl", "config.json")}


@pytest.fixture(scope="module")
def unbroken(digits, tmp_path_factory):
    """A function that trains a recipe once, and returns (the Trainer, the result of run())."""

    @functools.lru_cache(None)
    def trained(recipe):
        trainer = start(tmp_path_factory.mktemp(recipe) / "run", digits, recipe)
        return trainer, trainer.run(progress=False)

    return trained


# Recipes that differ from another one in one or two settings are left to the slow tests, and to
# tests/tools/stress.py.
ALIKE = {"lsgan", "wgan", "wgan-gp", "dcgan", "cgan", "sngan", "projection", "progan"}
FEW = [pytest.param(name, marks=pytest.mark.slow) if name in ALIKE else name for name in SMALL]


@pytest.mark.parametrize("recipe", FEW)
def test_a_run_writes_its_files(unbroken, recipe):
    trainer, grid = unbroken(recipe)
    out = trainer.out
    assert grid == out / "samples" / "step-00000012.png" and grid.exists()
    assert sorted(p.name for p in (out / "samples").iterdir()) == [
        f"step-{n:08d}.png" for n in (0, 5, 10, 12)
    ]
    assert [p.name for p in checkpoint.checkpoints(out)] == [
        "checkpoint-00000010.npz",
        "checkpoint-00000012.npz",
    ]
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [10, 12]
    assert rows[-1]["images"] == 96 * trainer.settings.d_steps
    assert all(
        np.isfinite(list(row.values())).all()
        and {"d_loss", "g_loss", "d_real", "d_fake"} <= row.keys()
        for row in rows
    )
    times = [json.loads(line) for line in (out / "time.jsonl").read_text().splitlines()]
    assert [row["step"] for row in times] == [10, 12]
    assert {"data", "fakes", "D", "G", "average"} <= times[1]["phases"].keys()
    assert all(times[0]["phases"][name] <= spent for name, spent in times[1]["phases"].items())
    assert 0 < sum(times[1]["phases"].values()) <= times[1]["seconds"]
    assert (out / "curves.png").exists()
    assert not list(out.rglob(".*"))  # no temporary files are left
    config = json.loads((out / "config.json").read_text())
    assert config["recipe"] == recipe and config["seed"] == 0
    assert config["settings"]["batch_size"] == 8


@pytest.mark.curves
def test_a_run_plots_its_curves(tmp_path, digits):
    start(tmp_path / "a", digits, steps=10, g_channels=2, d_channels=2).run(progress=False)
    picture = (tmp_path / "a" / "curves.png").read_bytes()
    assert picture[:4] == b"\x89PNG" and len(picture) > 5000


def test_the_same_seed_gives_the_same_run_and_another_seed_does_not(tmp_path, digits):
    logs = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        trainer = start(tmp_path / name, digits, seed=seed)
        trainer.run(progress=False)
        logs.append((contents(tmp_path / name)["log.jsonl"], trainer.algorithm.G.state_dict()))
    assert logs[0][0] == logs[1][0] != logs[2][0]
    assert all(np.array_equal(logs[0][1][k], logs[1][1][k]) for k in logs[0][1])


@pytest.mark.parametrize("recipe", FEW)
def test_a_resumed_run_equals_the_unbroken_run(tmp_path, digits, unbroken, recipe):
    start(tmp_path / "b", digits, recipe, steps=7).run(progress=False)
    log = tmp_path / "b" / "log.jsonl"
    # These lines were written after the checkpoint, so the resumed run must remove them.
    log.write_text(log.read_text() + '{"step": 9, "images": 0}\n{"ste')
    resume(tmp_path / "b", digits, steps=12).run(progress=False)
    runs = unbroken(recipe)[0].out, tmp_path / "b"
    (states_a, meta_a), (states_b, meta_b) = (
        checkpoint.load(checkpoint.checkpoints(run)[-1]) for run in runs
    )
    for part in states_a:
        for key in states_a[part]:
            assert np.array_equal(states_a[part][key], states_b[part][key]), (part, key)
    assert meta_a == meta_b
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert [row["step"] for row in rows] == [7, 10, 12]


def test_the_first_interrupt_writes_a_checkpoint_and_nothing_is_lost(tmp_path, digits):
    start(tmp_path / "a", digits, steps=30, checkpoint_every=30).run(progress=False)
    trainer = start(tmp_path / "b", digits, steps=30, checkpoint_every=30)
    one_step = trainer.algorithm.train_step

    def interrupting():
        if trainer.step == 13:
            os.kill(os.getpid(), signal.SIGINT)
        return one_step()

    trainer.algorithm.train_step = interrupting
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        trainer.run(progress=False)
    assert signal.getsignal(signal.SIGINT) is before
    assert [p.name for p in checkpoint.checkpoints(tmp_path / "b")] == ["checkpoint-00000014.npz"]
    resume(tmp_path / "b", digits).run(progress=False)
    assert contents(tmp_path / "a")["log.jsonl"] == contents(tmp_path / "b")["log.jsonl"]


def test_a_run_works_outside_the_main_thread(tmp_path, digits):
    trainer = start(tmp_path / "a", digits, steps=2)
    thread = threading.Thread(target=trainer.run, kwargs={"progress": False})
    thread.start()
    thread.join()
    assert trainer.step == 2 and trainer.grid_path().exists()


def test_divergence_stops_the_run_with_a_single_line(tmp_path, digits):
    trainer = start(tmp_path / "a", digits)
    one_step = trainer.algorithm.train_step
    trainer.algorithm.train_step = lambda: one_step() | {"d_loss": float("nan")}
    with pytest.raises(
        Diverged, match="^step 1: d_loss is nan; no checkpoint contains it; train anew"
    ):
        trainer.run(progress=False)
    assert not checkpoint.checkpoints(tmp_path / "a")


@pytest.mark.parametrize("recipe, steps, bound", [("gan", 150, 0.12), ("dcgan", 150, 0.15)])
def test_a_few_steps_learn_something(tmp_path, digits, recipe, steps, bound):
    """The mean image of G approaches that of the data: their mean squared error falls below a
    bound."""
    settings = {
        "gan": {"hidden": 128, "lr": 1e-3},
        "dcgan": {"g_channels": 32, "d_channels": 16, "lr": 1e-3},
    }[recipe]
    trainer = start(
        tmp_path / "a",
        digits,
        recipe,
        steps=steps,
        batch_size=16,
        sample_every=1000,
        checkpoint_every=1000,
        ema=0.9,
        **settings,
    )
    mean = (digits.images / 127.5 - 1).mean(0)

    def error():
        images = generate(trainer.algorithm.ema.module, trainer.gallery.latents)
        return float((((images / 127.5 - 1).mean(0) - mean) ** 2).mean())

    before = error()
    trainer.run(progress=False)
    assert error() < bound < before


@pytest.mark.slow
def test_the_default_recipe_generates_the_requested_digits(tmp_path):
    """It takes two minutes. Compared with the held-out digits, it reached an FID of 1.9, and 98% of
    the images were of the requested class."""
    recipe = recipes.find(recipes.DEFAULT)
    settings = recipe.settings().updated({"eval_every": recipe.settings().steps})
    trainer = Trainer.start(recipe, settings, data.load("digits"), tmp_path / "run")
    trainer.evaluate()
    trainer.run()
    before, after = (
        json.loads(line) for line in (tmp_path / "run" / "eval.jsonl").read_text().splitlines()
    )
    assert before["fid"] > 50 and before["class_accuracy"] < 0.2, before
    assert after["fid"] < 4 and after["class_accuracy"] > 0.95 and after["recall"] > 0.55, after


def test_load_networks_returns_the_averaged_g_and_d(tmp_path, digits):
    trainer = start(tmp_path / "a", digits, "quick", steps=3)
    trainer.run(progress=False)
    G, D = load_networks(tmp_path / "a")
    images, labels = digits.batch(0, 4, 0)
    assert not G.training and not D.training
    assert np.array_equal(
        generate(G, trainer.gallery.latents, trainer.gallery.labels),
        generate(trainer.algorithm.ema.module, trainer.gallery.latents, trainer.gallery.labels),
    )
    trainer.algorithm.D.eval()
    assert np.array_equal(
        host(D(asarray(images), labels)), host(trainer.algorithm.D(asarray(images), labels))
    )


def test_load_generator_returns_the_averaged_weights(tmp_path, digits):
    trainer = start(tmp_path / "a", digits)
    trainer.run(progress=False)
    for run in (tmp_path / "a", checkpoint.checkpoints(tmp_path / "a")[-1]):
        G, config, _ = load_generator(run)
        assert config["recipe"] == "dcgan" and not G.training
        assert np.array_equal(
            generate(G, trainer.gallery.latents),
            generate(trainer.algorithm.ema.module, trainer.gallery.latents),
        )
    last = generate(trainer.algorithm.G.eval(), trainer.gallery.latents)
    assert not np.array_equal(last, generate(G, trainer.gallery.latents))
    assert np.array_equal(
        last, generate(load_generator(tmp_path / "a", average=False)[0], trainer.gallery.latents)
    )


def test_an_existing_run_is_refused(tmp_path, digits):
    (tmp_path / "a" / "samples").mkdir(parents=True)  # left by a run that was killed at once
    (tmp_path / "a" / ".tinygan-99999999-0123456789abcdef.tmp").write_text("{")
    trainer = start(tmp_path / "a", digits, steps=2)
    with pytest.raises(InputError, match="--resume"):
        start(tmp_path / "a", digits)
    trainer.run(progress=False)
    assert not (tmp_path / "a" / ".tinygan-99999999-0123456789abcdef.tmp").exists()
    with pytest.raises(InputError, match="--resume"):
        start(tmp_path / "a", digits)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="contains no run to continue"):
        start(tmp_path / "b", digits)


def test_resuming_an_older_checkpoint_gives_up_the_newer_one(tmp_path, digits):
    start(tmp_path / "a", digits).run(progress=False)
    older, newer = checkpoint.checkpoints(tmp_path / "a")
    newer.write_bytes(b"damaged")
    for picture in (tmp_path / "a" / "samples").iterdir():
        picture.unlink()
    (tmp_path / "a" / "samples").rmdir()  # the resumed run makes the folder again
    resume(tmp_path / "a", digits, older, steps=11).run(progress=False)
    assert [p.name for p in checkpoint.checkpoints(tmp_path / "a")] == [
        "checkpoint-00000010.npz",
        "checkpoint-00000011.npz",
    ]
    load_generator(tmp_path / "a")


@pytest.mark.parametrize(
    "key, value, found",
    [
        ("settings", 5, "5"),
        ("seed", "a", "'a'"),
        ("recipe", ["a"], "a list of 1 items"),
        ("image_shape", "x", "'x'"),
    ],
)
def test_a_config_of_wrong_types_is_reported_in_one_line(tmp_path, digits, key, value, found):
    config = start(tmp_path / "a", digits).config
    (tmp_path / "a" / "config.json").write_text(json.dumps({**config, key: value}))
    with pytest.raises(InputError, match=f"config.json is damaged .{key} is {found}, not "):
        checkpoint.open_run(tmp_path / "a")


def test_damaged_files_are_reported_in_one_line(tmp_path, digits):
    trainer = start(tmp_path / "a", digits, steps=5)
    trainer.run(progress=False)
    path, config = checkpoint.checkpoints(tmp_path / "a")[-1], trainer.config
    whole = path.read_bytes()
    for damaged in (b"", b"nonsense", whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="damaged"):
            load_generator(tmp_path / "a")
    path.unlink()
    with pytest.raises(InputError, match="no checkpoint"):
        load_generator(tmp_path / "a")
    (tmp_path / "a" / "config.json").write_text("{}")
    with pytest.raises(
        InputError,
        match="config.json is damaged .it lacks classes, data, image_shape, recipe, seed, settings",
    ):
        load_generator(tmp_path / "a")
    for change in (
        {"image_shape": [28]},
        {"image_shape": ["a", "b", "c"]},
        {"classes": -3},
        {"image_shape": [9999, 9999, 1]},
        {"seed": -1},
        {"image_shape": [28, 28, 1, 1]},
    ):
        (tmp_path / "a" / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(
            InputError, match=rf"config.json is damaged .{next(iter(change))}(\[0\])? is "
        ):
            load_generator(tmp_path / "a")
    (tmp_path / "a" / "config.json").write_text("{")
    with pytest.raises(InputError, match="config.json is damaged"):
        load_generator(tmp_path / "a")
    with pytest.raises(InputError, match="not a run"):
        load_generator(tmp_path)


def test_a_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("old")
    from tinygan.files import replacing

    with pytest.raises(RuntimeError), replacing(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["x.txt"]


# Losses, penalties and classes in the trainer


@pytest.mark.parametrize(
    "loss", ["bce-minimax", "l2", "l1", "l2-sigmoid", "hinge", "wasserstein", "relativistic"]
)
@pytest.mark.parametrize("recipe", ["gan", "dcgan", "sngan", "acgan"])
def test_any_loss_goes_with_any_recipe(tmp_path, digits, recipe, loss):
    trainer = start(tmp_path / "a", digits, recipe, loss=loss, steps=2, d_steps=1)
    before = trainer.algorithm.G.state_dict()
    trainer.run(progress=False)
    assert any(
        not np.array_equal(before[k], v)
        for k, v in trainer.algorithm.G.state_dict().items()
        if k.endswith("weight")
    )


def test_patches_classes_and_penalties_go_together(tmp_path, digits):
    trainer = start(
        tmp_path / "a",
        digits,
        steps=3,
        patches=True,
        d_norm="none",
        r1=0.1,
        r2=0.1,
        gp=0.1,
        g_class="cbn",
        d_class="projection",
        loss="relativistic",
    )
    trainer.run(progress=False)
    rows = [json.loads(line) for line in (tmp_path / "a" / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["penalty"] > 0


def record_updates(trainer):
    """Replace the steps of D's optimiser. Return a list that collects their gradients instead."""
    recorded = []
    trainer.algorithm.d_optimizer.step = lambda gradients: recorded.append(
        [None if g is None else host(g) for g in gradients]
    )
    return recorded


def test_a_lazy_penalty_is_k_times_as_strong_at_every_kth_update(tmp_path, digits, monkeypatch):
    """It then has an update of its own. Otherwise, it is part of the loss."""
    # Nothing can be read in a recorded step.
    monkeypatch.setattr("tinygan.recorded.enabled", False)
    every, lazy, plain = (
        start(tmp_path / name, digits, d_norm="none", **settings)
        for name, settings in (
            ("a", {"r1": 5.0}),
            ("b", {"r1": 5.0, "penalty_every": 4}),
            ("c", {}),
        )
    )
    updates = [record_updates(trainer) for trainer in (every, lazy, plain)]
    for trainer in (every, lazy, plain):
        for _ in range(8):
            trainer.algorithm.train_step()
    # The lazy penalty has two updates of its own, after updates 0 and 4 of D.
    assert [len(u) for u in updates] == [8, 10, 8]
    adversarial, penalty = updates[1][:2]
    for both, a, p, without in zip(updates[0][0], adversarial, penalty, updates[2][0]):
        np.testing.assert_array_equal(a, without)
        np.testing.assert_allclose(both, a + (0 if p is None else p / 4), rtol=2e-4, atol=1e-6)


def test_the_optimiser_is_adjusted_to_a_lazy_penalty(digits):
    """Karras et al. 2020b: the learning rate is c lr, and the decays are beta^c, with
    c = k / (k + 1)."""
    entry, rates = recipes.find("dcgan"), {"lr": 1e-3, "beta1": 0.5, "beta2": 0.99}
    settings = entry.settings().updated(SMALL["dcgan"] | rates)

    def optimizer_of_D(**more):
        return Algorithm(entry, settings.updated(more), digits, seed=0).d_optimizer

    adam = optimizer_of_D(r1=1.0, d_norm="none", penalty_every=16)
    np.testing.assert_allclose(
        [adam.lr, *adam.betas], [1e-3 * 16 / 17, 0.5 ** (16 / 17), 0.99 ** (16 / 17)]
    )
    plain = optimizer_of_D(penalty_every=16)
    assert (plain.lr, *plain.betas) == (1e-3, 0.5, 0.99)
    rmsprop = optimizer_of_D(optimizer="rmsprop")
    assert (type(rmsprop).__name__, rmsprop.alpha) == ("RMSprop", 0.99)


def test_wgan_clips_and_updates_d_as_often_as_in_its_paper(tmp_path, digits):
    settings = recipes.find("wgan").settings()
    assert (settings.optimizer, settings.lr, settings.clip, settings.loss) == (
        "rmsprop",
        5e-5,
        0.01,
        "wasserstein",
    )
    assert [settings.updates_of_D(step) for step in (0, 24, 25, 499, 500, 501)] == [
        100,
        100,
        5,
        5,
        100,
        5,
    ]
    trainer = start(tmp_path / "a", digits, "wgan", steps=2)
    trainer.run(progress=False)
    assert trainer.algorithm.d_updates == 10
    largest = max(np.abs(host(p)).max() for p in trainer.algorithm.D.parameters())
    assert largest <= np.float32(0.01)


def test_recipes_have_the_settings_of_their_papers():

    def of(name, *keys):
        settings = recipes.find(name).settings()
        return tuple(getattr(settings, key) for key in keys)

    assert of("dcgan", "loss", "lr", "beta1", "beta2", "d_norm") == (
        "bce",
        2e-4,
        0.5,
        0.999,
        "batch",
    )
    assert of("lsgan", "loss") == ("l2",)
    assert of("wgan-gp", "loss", "gp", "d_steps", "lr", "beta1", "beta2", "d_norm") == (
        "wasserstein",
        10.0,
        5,
        1e-4,
        0.5,
        0.9,
        "none",
    )
    assert of("sngan", "loss", "d_steps", "lr", "beta1", "beta2") == ("hinge", 5, 2e-4, 0.0, 0.9)
    assert of("cgan", "g_class", "d_class") == ("concat", "concat")
    assert of("acgan", "g_class", "d_class") == ("concat", "auxiliary")
    assert of("projection", "g_class", "d_class", "loss") == ("cbn", "projection", "hinge")
    settings = recipes.find("sngan").settings()
    _, D = recipes.find("sngan").build(settings, (32, 32, 1), 10, np.random.default_rng(0))
    # Every layer of D is spectrally normalised.
    assert all(path.endswith(".layer") for path, m in D.modules() if hasattr(m, "weight"))


def test_contradictory_settings_are_errors(tmp_path, digits):
    with pytest.raises(
        InputError,
        match="g_class=concat d_class=none: give the class to both networks, or to neither",
    ):
        start(tmp_path / "a", digits, g_class="concat")
    with pytest.raises(
        InputError, match="g_class=cbn: for the networks of gan, choose from none, concat"
    ):
        start(tmp_path / "a", digits, "gan", g_class="cbn", d_class="projection")
    with pytest.raises(InputError, match="cannot be halved 3 times: set pad=2"):
        start(tmp_path / "a", digits, "sngan", pad=1)
    with pytest.raises(InputError, match="loss=mse: choose from bce, bce-minimax"):
        start(tmp_path / "a", digits, loss="mse")
    assert not (tmp_path / "a").exists()


def test_the_labels_of_a_grid_with_a_row_for_each_class():
    labels, columns = class_rows(10, 40)
    assert columns == 4 and labels.tolist() == [k for k in range(10) for _ in range(4)]
    labels, columns = class_rows(10, 37)  # the last row is filled up
    assert columns == 4 and len(labels) == 40 and labels[-1] == 9
    labels, columns = class_rows(10, 3)
    assert columns == 3 and labels.tolist() == [0, 1, 2]
    labels, columns = class_rows(2, 64)  # a square, not a ribbon
    assert columns == 8 and labels.tolist() == [0] * 32 + [1] * 32
    labels, columns = class_rows(3, 100)
    assert columns == 9 and len(labels) == 108 and np.all(np.diff(labels) >= 0)
    assert images_of_a_class(labels, columns) == 36
    assert [images_of_a_class(*class_rows(10, n)) for n in (3, 10, 40)] == [3, 10, 4]
    labels, columns = class_rows(1000, 50)  # ten classes out of many
    assert columns == 5 and sorted(set(labels)) == list(range(0, 1000, 100))


def test_the_sample_grid_of_a_conditional_recipe_has_a_row_for_each_class(tmp_path, digits):
    trainer = start(tmp_path / "a", digits, "cgan", steps=1)
    assert trainer.gallery.labels.tolist() == [k for k in range(10) for _ in range(8)]
    z = trainer.gallery.latents.numpy().reshape(10, 8, -1)
    assert (z == z[0]).all() and len(np.unique(z[0, :, 0])) == 8  # a column has one latent


def test_random_labels_are_uniform(tmp_path, digits):
    trainer = start(tmp_path / "a", digits, "cgan")
    counts = np.bincount(host(trainer.algorithm.labels(5000)), minlength=10)
    assert counts.min() > 400
    assert start(tmp_path / "b", digits).algorithm.labels(3) is None


def test_paired_reals_and_fakes_have_the_same_class(tmp_path, digits):
    """R3GAN compares D(real) with D(fake): a seven with a seven."""
    trainer = start(tmp_path / "a", digits, "quick", loss="relativistic", steps=1)
    labels = []
    update_D = trainer.algorithm.update_D
    trainer.algorithm.update_D = lambda reals, real_labels, fakes, previous_updates: (
        labels.append((host(real_labels), host(fakes.labels))),
        update_D(reals, real_labels, fakes, previous_updates),
    )[1]
    trainer.run(progress=False)
    assert np.array_equal(*labels[0])


# Evaluation during training


def test_evaluations_are_logged_and_the_best_is_kept(tmp_path, digits):
    s = {"steps": 12, "checkpoint_every": 6, "eval_every": 4, "eval_images": 100}
    trainer = start(tmp_path / "a", digits, **s)
    averages = {}  # step -> the weights of the averaged G
    original = trainer.evaluate

    def evaluate():
        averages[trainer.step] = trainer.algorithm.ema.module.state_dict()
        original()

    trainer.evaluate = evaluate
    trainer.run(progress=False)
    rows = [json.loads(line) for line in (tmp_path / "a" / "eval.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [4, 8, 12]
    assert all(
        row["split"] == "held-out" and row["samples"] == 100 and row["real"] == 20 for row in rows
    )
    best = min(rows, key=lambda row: row["fid"])
    states, meta = checkpoint.load(tmp_path / "a" / "best.npz")
    assert meta["step"] == best["step"] and meta["evaluation"] == best
    assert all(np.array_equal(states["ema"][k], v) for k, v in averages[best["step"]].items())
    G, _, path = load_generator(tmp_path / "a")
    assert path.name == "best.npz" and np.array_equal(
        G.state_dict()["main.0.weight"], states["ema"]["main.0.weight"]
    )
    assert (
        load_generator(checkpoint.checkpoints(tmp_path / "a")[-1])[2].name
        == "checkpoint-00000012.npz"
    )

    # Evaluations do not change the run, and a resumed run has the same evaluations.
    start(tmp_path / "b", digits, **{**s, "eval_every": 0}).run(progress=False)
    assert contents(tmp_path / "a")["log.jsonl"] == contents(tmp_path / "b")["log.jsonl"]
    start(tmp_path / "c", digits, **{**s, "steps": 6}).run(progress=False)
    resume(tmp_path / "c", digits, steps=12).run(progress=False)
    resumed = [
        json.loads(line) for line in (tmp_path / "c" / "eval.jsonl").read_text().splitlines()
    ]
    assert [row for row in resumed if row["step"] != 6] == rows


def test_a_run_that_cannot_be_evaluated_does_not_begin(tmp_path, digits):
    with pytest.raises(InputError, match="36x36"):
        start(tmp_path / "a", digits, pad=4, eval_every=3)
    few = digits.subset(slice(0, 9))
    with pytest.raises(InputError, match="too small to hold out images"):
        start(tmp_path / "a", few, eval_every=3, batch_size=4)
    assert not (tmp_path / "a").exists()


def test_going_back_removes_the_best_g_of_a_later_step(tmp_path, digits, capsys):
    s = {"steps": 12, "checkpoint_every": 6, "eval_every": 4, "eval_images": 100}
    start(tmp_path / "a", digits, **s).run(progress=False)
    first = checkpoint.checkpoints(tmp_path / "a")[0]
    states, meta = checkpoint.load(tmp_path / "a" / "best.npz")
    trainer = resume(tmp_path / "a", digits, first, steps=7, eval_every=4)
    trainer.rewind()
    assert (tmp_path / "a" / "best.npz").exists() == (meta["step"] <= 6)
    (tmp_path / "a" / "best.npz").write_bytes(b"damaged")
    # best.npz cannot be read, so the next evaluation counts as the best.
    resume(tmp_path / "a", digits, first, steps=7).run(progress=False)
    assert "best.npz is not a checkpoint of tinygan, or is damaged" in capsys.readouterr().err
    assert checkpoint.load(tmp_path / "a" / "best.npz")[1]["step"] == 7


def test_a_refused_resume_changes_nothing(tmp_path, digits):
    start(tmp_path / "a", digits).run(progress=False)
    before = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir() if path.is_file()}
    with pytest.raises(InputError, match="is already at step 10"):
        resume(tmp_path / "a", digits, checkpoint.checkpoints(tmp_path / "a")[0], steps=10)
    assert before == {
        path.name: path.read_bytes() for path in (tmp_path / "a").iterdir() if path.is_file()
    }


def test_the_held_out_images_are_never_trained_on(tmp_path, digits):
    trainer = start(tmp_path / "a", digits)
    assert (len(trainer.dataset), len(trainer.held_out)) == (180, 20)
    assert np.array_equal(trainer.held_out.images, digits.images[180:])
    seen = np.concatenate([host(trainer.dataset.batch(i, 8, 0)[0]) for i in range(22)])
    held_out = data.to_float(trainer.held_out.images)
    assert not (np.abs(seen[:, None] - held_out[None]).sum((2, 3, 4)) == 0).any()
    large = data.load("digits").hold_out()
    assert (len(large[0]), len(large[1]), large[1].split) == (9000, 1000, "held-out")


# Settings


@pytest.mark.parametrize(
    "text, message",
    [
        ("width=3", "unknown setting 'width': choose from steps, batch_size"),
        ("steps=many", "expected a whole number"),
        ("steps=1.5", "expected a whole number"),
        ("steps=0", "must be at least 1"),
        ("lr=-1", "must be at least 0"),
        ("lr=nan", "must be"),
        ("lr=inf", "must be"),
        ("beta1=2", "between 0 and 0.9999"),
        ("steps", "write name=value"),
        ("=3", "write name=value"),
        ("steps=1e400", "expected a whole number"),
    ],
)
def test_the_error_names_a_wrong_setting(text, message):
    with pytest.raises(InputError, match=message) as error:
        recipes.find("dcgan").settings().updated(parse_assignments([text]))
    assert "\n" not in str(error.value)


def test_settings_are_parsed():
    settings = (
        recipes.find("gan")
        .settings()
        .updated(parse_assignments(["steps=2e3", "lr=1e-3", "maxout=yes", "batch-size=7"]))
    )
    assert (settings.steps, settings.lr, settings.maxout, settings.batch_size) == (
        2000,
        1e-3,
        True,
        7,
    )
    with pytest.raises(
        InputError,
        match="unknown recipe 'biggest': did you mean biggan. .choose from quick, hour, gan, dcgan",
    ):
        recipes.find("biggest")


def test_every_setting_has_a_description():
    for recipe in recipes.RECIPES.values():
        assert all(described.doc for described in recipe.settings().describe())


def test_settings_that_are_not_written_as_they_must_be_are_refused():
    class Undecorated(gan.MLPSettings):
        width: int = setting(3, "width")

    @dataclasses.dataclass
    class Below(Undecorated):
        height: int = setting(3, "height")

    @dataclasses.dataclass
    class Plain(gan.MLPSettings):
        width: int = 3

    @dataclasses.dataclass
    class Textual(gan.MLPSettings):
        width: "int" = setting(3, "width")

    for kind, message in (
        (Undecorated, "width is no setting yet: decorate Undecorated with @dataclass"),
        (Below, "width is no setting yet: decorate Undecorated with @dataclass"),
        (Plain, "Plain.width: write setting.default, description."),
        (Textual, "Textual.width has the text 'int' as its type: leave out"),
    ):
        for use in (kind().describe, lambda kind=kind: kind().updated({"lr": 1})):
            with pytest.raises(TypeError, match=message):
                use()
    with pytest.raises(ValueError, match="group='los': did you mean loss"):
        setting(3, "width", group="los")


def test_a_trainer_without_a_folder_says_how_to_make_one(tmp_path, digits):
    recipe = recipes.find("gan")
    trainer = Trainer(recipe, recipe.settings().updated({"hidden": 4}), digits, tmp_path / "none")
    with pytest.raises(InputError, match="none does not exist: Trainer.start makes the folder"):
        trainer.run(progress=False)
    assert not (tmp_path / "none").exists()


# Pictures


def test_grid_arranges_images_in_rows():
    pictures = np.random.default_rng(0).integers(0, 256, (5, 4, 3, 1), np.uint8)
    sheet = plots.grid(pictures, columns=2, gap=1, scale=2)
    assert sheet.shape == (2 * (3 * 5 + 1), 2 * (2 * 4 + 1), 3) and sheet.dtype == np.uint8
    small = sheet[::2, ::2]
    assert np.array_equal(sheet, small.repeat(2, 0).repeat(2, 1))
    for i, picture in enumerate(pictures):
        y, x = 1 + i // 2 * 5, 1 + i % 2 * 4
        assert np.array_equal(small[y : y + 4, x : x + 3], picture.repeat(3, 2))
    colour = np.random.default_rng(0).integers(0, 256, (1, 4, 4, 3), np.uint8)
    assert np.array_equal(plots.grid(colour, gap=0, scale=1), colour[0])


def test_png_gif_and_webp_round_trip(tmp_path):
    from PIL import Image

    frames = np.zeros((3, 8, 8, 3), np.uint8)
    frames[1, 2:4] = 255
    plots.save_image(tmp_path / "a.png", frames[1])
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png").convert("RGB")), frames[1])
    plots.save_animation(tmp_path / "a.gif", frames)
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == 3
        gif.seek(1)
        assert np.array_equal(np.asarray(gif.convert("RGB")), frames[1])
    frames = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)
    plots.save_animation(tmp_path / "a.webp", frames, milliseconds=70)
    with Image.open(tmp_path / "a.webp") as animation:  # more than the 64 colours of a GIF
        for i, frame in enumerate(frames):
            animation.seek(i)
            assert np.array_equal(np.asarray(animation.convert("RGB")), frame)
            assert animation.info["duration"] == 70


def test_a_pillow_without_webp_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(plots.features, "check", lambda name: False)
    with pytest.raises(
        InputError, match="a.webp: this Pillow was built without WebP: write a .gif"
    ):
        plots.save_animation(tmp_path / "a.webp", np.zeros((1, 8, 8, 3), np.uint8))
    assert not list(tmp_path.iterdir())
