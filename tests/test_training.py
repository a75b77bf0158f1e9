"""Training: a run is a function of its seed, resumes exactly, writes what it says, and improves."""

import json
import os
import signal
import threading

import numpy as np
import pytest

from tinygan import data, plots, tensor
from tinygan.errors import InputError
from tinygan.training import checkpoint, recipes
from tinygan.training.settings import parse_assignments
from tinygan.training.trainer import Trainer, generate, load_generator

SMALL = {"dcgan": {"g_channels": 4, "d_channels": 4}, "gan": {"hidden": 16}}


@pytest.fixture(scope="module")
def digits():
    full = data.load("digits")
    return data.Dataset("digits", "train", full.images[:200], full.labels[:200], full.class_names)


def start(out, digits, recipe="dcgan", seed=0, **settings):
    recipe = recipes.find(recipe)
    settings = {"steps": 12, "batch_size": 8, "sample_every": 5, "checkpoint_every": 5, **SMALL[recipe.name], **settings}
    return Trainer.start(recipe, recipe.settings().updated(settings), digits, out, seed)


def resume(out, digits, path=None, **settings):
    folder, config, latest = checkpoint.open_run(path or out)
    recipe = recipes.find(config["recipe"])
    trainer = Trainer(recipe, recipe.settings().updated(config["settings"]).updated(settings), digits, folder, config["seed"])
    trainer.resume(latest)
    return trainer


def contents(folder):
    return {name: (folder / name).read_bytes() for name in ("log.jsonl", "config.json")}


@pytest.mark.parametrize("recipe", SMALL)
def test_a_run_writes_what_it_says(tmp_path, digits, recipe):
    out = tmp_path / "run"
    trainer = start(out, digits, recipe)
    grid = trainer.run(progress=False)
    assert grid == out / "samples" / "step-00000012.png" and grid.exists()
    assert sorted(p.name for p in (out / "samples").iterdir()) == [f"step-{n:08d}.png" for n in (0, 5, 10, 12)]
    assert [p.name for p in checkpoint.checkpoints(out)] == ["checkpoint-00000010.npz", "checkpoint-00000012.npz"]
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [10, 12] and rows[-1]["images"] == 96
    assert all(np.isfinite([row[k] for k in ("d_loss", "g_loss", "d_real", "d_fake")]).all() for row in rows)
    assert (out / "curves.png").stat().st_size > 5000
    assert not [p for p in out.rglob(".*")]  # no temporary file left
    config = json.loads((out / "config.json").read_text())
    assert config["recipe"] == recipe and config["seed"] == 0 and config["settings"]["batch_size"] == 8


def test_the_same_seed_is_the_same_run_and_another_is_not(tmp_path, digits):
    logs = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        trainer = start(tmp_path / name, digits, seed=seed)
        trainer.run(progress=False)
        logs.append((contents(tmp_path / name)["log.jsonl"], trainer.G.state_dict()))
    assert logs[0][0] == logs[1][0] != logs[2][0]
    assert all(np.array_equal(logs[0][1][k], logs[1][1][k]) for k in logs[0][1])


@pytest.mark.parametrize("recipe", SMALL)
def test_a_resumed_run_is_the_unbroken_run(tmp_path, digits, recipe):
    start(tmp_path / "a", digits, recipe, checkpoint_every=7).run(progress=False)
    start(tmp_path / "b", digits, recipe, checkpoint_every=7, steps=7).run(progress=False)
    log = tmp_path / "b" / "log.jsonl"
    log.write_text(log.read_text() + '{"step": 9, "images": 0}\n{"ste')  # written after the checkpoint: must go
    resume(tmp_path / "b", digits, steps=12).run(progress=False)
    (states_a, meta_a), (states_b, meta_b) = (checkpoint.load(checkpoint.checkpoints(tmp_path / n)[-1]) for n in "ab")
    for part in states_a:
        for key in states_a[part]:
            assert np.array_equal(states_a[part][key], states_b[part][key]), (part, key)
    assert meta_a == meta_b
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert [row["step"] for row in rows] == [7, 10, 12]


def test_the_first_interrupt_saves_and_nothing_is_lost(tmp_path, digits):
    start(tmp_path / "a", digits, steps=30, checkpoint_every=30).run(progress=False)
    trainer = start(tmp_path / "b", digits, steps=30, checkpoint_every=30)
    one_step = trainer.train_step

    def interrupting(reals):
        if trainer.step == 13:
            os.kill(os.getpid(), signal.SIGINT)
        return one_step(reals)

    trainer.train_step = interrupting
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        trainer.run(progress=False)
    assert signal.getsignal(signal.SIGINT) is before
    assert [p.name for p in checkpoint.checkpoints(tmp_path / "b")] == ["checkpoint-00000014.npz"]
    resume(tmp_path / "b", digits).run(progress=False)
    assert contents(tmp_path / "a")["log.jsonl"] == contents(tmp_path / "b")["log.jsonl"]


def test_it_runs_outside_the_main_thread(tmp_path, digits):
    trainer = start(tmp_path / "a", digits, steps=2)
    thread = threading.Thread(target=trainer.run, kwargs={"progress": False})
    thread.start()
    thread.join()
    assert trainer.step == 2 and trainer.grid_path().exists()


def test_divergence_stops_with_one_line(tmp_path, digits):
    trainer = start(tmp_path / "a", digits)
    trainer.train_step = lambda reals: {"d_loss": float("nan"), "g_loss": 1.0, "d_real": 0.5, "d_fake": 0.5}
    with pytest.raises(InputError, match="no longer numbers at step 1:"):
        trainer.run(progress=False)
    assert not checkpoint.checkpoints(tmp_path / "a")


@pytest.mark.parametrize("recipe, steps, bound", [("gan", 150, 0.12), ("dcgan", 150, 0.15)])
def test_a_few_steps_learn_something(tmp_path, digits, recipe, steps, bound):
    """The mean image of G comes near that of the data: mean squared error below a stated number."""
    settings = {"gan": {"hidden": 128, "lr": 1e-3}, "dcgan": {"g_channels": 32, "d_channels": 16, "lr": 1e-3}}[recipe]
    trainer = start(tmp_path / "a", digits, recipe, steps=steps, batch_size=16, sample_every=1000,
                    checkpoint_every=1000, ema=0.9, **settings)
    mean = (digits.images / 127.5 - 1).mean(0)

    def error():
        return float(((generate(trainer.ema.module, trainer.fixed_latents) / 127.5 - 1).mean(0) - mean).__pow__(2).mean())

    before = error()
    trainer.run(progress=False)
    assert error() < bound < before


@pytest.mark.slow
def test_the_main_job_draws_digits_of_every_class(tmp_path):
    """Two minutes. Of 200 samples, the nearest training images show all ten classes, at a mean squared distance
    (pixels 0 to 1, summed) of about 41, where real test images lie at 23 and untrained samples at 168."""
    full = data.load("digits")
    train = full.images.reshape(len(full), -1) / np.float32(255)
    recipe = recipes.find("dcgan")
    trainer = Trainer.start(recipe, recipe.settings(), full, tmp_path / "run")

    def nearest():
        z = np.random.default_rng(5).standard_normal((200, 100), dtype=np.float32)
        samples = generate(trainer.ema.module, tensor(z)).reshape(200, -1) / np.float32(255)
        squares = (samples ** 2).sum(1)[:, None] + (train ** 2).sum(1) - 2 * samples @ train.T
        return squares.min(1).mean(), np.bincount(full.labels[squares.argmin(1)], minlength=10)

    before, _ = nearest()
    trainer.run()
    after, classes = nearest()
    assert before > 150 and after < 47 and classes.min() >= 2, (before, after, classes)


def test_load_generator_gives_the_averaged_weights(tmp_path, digits):
    trainer = start(tmp_path / "a", digits)
    trainer.run(progress=False)
    for run in (tmp_path / "a", checkpoint.checkpoints(tmp_path / "a")[-1]):
        G, config = load_generator(run)
        assert config["recipe"] == "dcgan" and not G.training
        assert np.array_equal(generate(G, trainer.fixed_latents), generate(trainer.ema.module, trainer.fixed_latents))
    assert not np.array_equal(generate(trainer.G, trainer.fixed_latents), generate(G, trainer.fixed_latents))


def test_an_existing_run_is_refused(tmp_path, digits):
    trainer = start(tmp_path / "a", digits, steps=2)
    with pytest.raises(InputError, match="no checkpoint to go on from"):
        start(tmp_path / "a", digits)
    trainer.run(progress=False)
    with pytest.raises(InputError, match="--resume"):
        start(tmp_path / "a", digits)


def test_resuming_an_older_checkpoint_gives_up_the_newer_one(tmp_path, digits):
    start(tmp_path / "a", digits).run(progress=False)
    older, newer = checkpoint.checkpoints(tmp_path / "a")
    newer.write_bytes(b"damaged")
    for picture in (tmp_path / "a" / "samples").iterdir():
        picture.unlink()
    (tmp_path / "a" / "samples").rmdir()  # lost too: it is made again
    resume(tmp_path / "a", digits, older, steps=11).run(progress=False)
    assert [p.name for p in checkpoint.checkpoints(tmp_path / "a")] == ["checkpoint-00000010.npz", "checkpoint-00000011.npz"]
    load_generator(tmp_path / "a")


@pytest.mark.parametrize("key, value", [("settings", 5), ("seed", "a"), ("recipe", ["a"]), ("image_shape", "x")])
def test_a_config_of_wrong_types_is_one_line(tmp_path, digits, key, value):
    config = start(tmp_path / "a", digits).config
    (tmp_path / "a" / "config.json").write_text(json.dumps({**config, key: value}))
    with pytest.raises(InputError, match=f"a wrong type of {key}"):
        checkpoint.open_run(tmp_path / "a")


def test_damaged_files_are_one_line(tmp_path, digits):
    start(tmp_path / "a", digits, steps=5).run(progress=False)
    path = checkpoint.checkpoints(tmp_path / "a")[-1]
    whole = path.read_bytes()
    for damaged in (b"", b"nonsense", whole[:len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="damaged"):
            load_generator(tmp_path / "a")
    path.unlink()
    with pytest.raises(InputError, match="no checkpoint"):
        load_generator(tmp_path / "a")
    (tmp_path / "a" / "config.json").write_text("{}")
    with pytest.raises(InputError, match="config.json is damaged .it lacks data, image_shape, recipe, seed, settings"):
        load_generator(tmp_path / "a")
    (tmp_path / "a" / "config.json").write_text("{")
    with pytest.raises(InputError, match="config.json is damaged"):
        load_generator(tmp_path / "a")
    with pytest.raises(InputError, match="not a run"):
        load_generator(tmp_path)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("old")
    from tinygan.files import replacing
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["x.txt"]


# Settings


@pytest.mark.parametrize("text, message", [
    ("width=3", "unknown setting 'width'; there are: steps, batch_size"), ("steps=many", "expected a whole number"),
    ("steps=1.5", "expected a whole number"), ("steps=0", "must be at least 1"), ("lr=-1", "must be at least 0"),
    ("lr=nan", "must be"), ("lr=inf", "must be"), ("beta1=2", "between 0 and 0.9999"), ("steps", "write name=value"),
    ("=3", "write name=value"), ("steps=1e400", "expected a whole number")])
def test_bad_settings_are_named(text, message):
    with pytest.raises(InputError, match=message) as error:
        recipes.find("dcgan").settings().updated(parse_assignments([text]))
    assert "\n" not in str(error.value)


def test_good_settings():
    settings = recipes.find("gan").settings().updated(parse_assignments(["steps=2e3", "lr=1e-3", "maxout=yes", "batch-size=7"]))
    assert (settings.steps, settings.lr, settings.maxout, settings.batch_size) == (2000, 1e-3, True, 7)
    with pytest.raises(InputError, match="unknown recipe 'biggest'; there are: gan, dcgan"):
        recipes.find("biggest")


def test_every_setting_is_documented():
    for recipe in recipes.RECIPES.values():
        assert all(doc for _, _, _, doc in recipe.settings().describe())


# Pictures


def test_grid_puts_every_image_in_its_place():
    pictures = np.random.default_rng(0).integers(0, 256, (5, 4, 3, 1), np.uint8)
    sheet = plots.grid(pictures, columns=2, gap=1, scale=2)
    assert sheet.shape == (2 * (3 * 5 + 1), 2 * (2 * 4 + 1), 3) and sheet.dtype == np.uint8
    small = sheet[::2, ::2]
    assert np.array_equal(sheet, small.repeat(2, 0).repeat(2, 1))
    for i, picture in enumerate(pictures):
        y, x = 1 + i // 2 * 5, 1 + i % 2 * 4
        assert np.array_equal(small[y:y + 4, x:x + 3], picture.repeat(3, 2))
    colour = np.random.default_rng(0).integers(0, 256, (1, 4, 4, 3), np.uint8)
    assert np.array_equal(plots.grid(colour, gap=0, scale=1), colour[0])


def test_png_and_gif_round_trip(tmp_path):
    from PIL import Image

    frames = np.zeros((3, 8, 8, 3), np.uint8)
    frames[1, 2:4] = 255
    plots.save_image(tmp_path / "a.png", frames[1])
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png").convert("RGB")), frames[1])
    plots.save_gif(tmp_path / "a.gif", frames)
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == 3
        gif.seek(1)
        assert np.array_equal(np.asarray(gif.convert("RGB")), frames[1])
