"""Progressive growing: the schedule, the faded reals, and a run through all sizes."""

import json

import numpy as np
import pytest
from host import host

from tinygan import Tensor, data, tensor
from tinygan.backend import asarray
from tinygan.errors import InputError
from tinygan.files import checkpoint
from tinygan.models import progan
from tinygan.models.growth import Growth, at_lod, set_lod
from tinygan.training import recipes
from tinygan.training.trainer import Trainer

TINY = {
    "channels": 4,
    "max_channels": 8,
    "batch_size": 4,
    "batch_sizes": "4:16,8:8",
    "stable_images": 32,
    "fade_images": 32,
    "sample_every": 100,
    "checkpoint_every": 100,
    "steps": 100,
}


@pytest.fixture(scope="module")
def digits():
    full = data.load("digits")
    return data.Dataset("digits", "train", full.images[:200], full.labels[:200], full.class_names)


def settings(**changes):
    return recipes.find("progan").settings().updated({**TINY, **changes})


def start(out, digits, **changes):
    return Trainer.start(recipes.find("progan"), settings(**changes), digits, out)


def test_the_schedule_is_the_papers():
    """Stable, then fading, for each size: values computed by hand for phases of 600,000 images."""
    growth = Growth(settings(stable_images=600_000, fade_images=600_000), 32)
    for thousands, lod in (
        (0, 3),
        (599, 3),
        (600, 3),
        (900, 2.5),
        (1200, 2),
        (1800, 2),
        (1950, 1.75),
        (2400, 1),
        (3300, 0.5),
        (3600, 0),
        (9999, 0),
    ):
        assert growth.lod(thousands * 1000) == pytest.approx(lod), thousands
    assert [growth.batch_size(lod) for lod in (3, 2.9, 2, 1.5, 1, 0.5, 0)] == [16, 8, 8, 4, 4, 4, 4]
    assert growth.describe(3) == "4x4"
    assert growth.describe(1.75) == "8x8, 25% of 16x16"
    assert growth.describe(0) == "32x32"
    without_fades = Growth(settings(fade_images=0), 32)
    assert [without_fades.lod(n) for n in (0, 31, 32, 64, 96)] == [3, 3, 2, 1, 0]
    always_fading = Growth(settings(stable_images=0), 32)
    assert [always_fading.lod(n) for n in (0, 16, 32, 95)] == [3, 2.5, 2, pytest.approx(1 / 32)]


def test_reals_are_blended_with_the_coarser_level():
    """A 4x4 image by hand: the mean of each 2x2 square, and half of the way to it."""
    image = np.arange(16.0, dtype=np.float32).reshape(1, 4, 4, 1)
    halves = np.array(
        [[2.5, 2.5, 4.5, 4.5]] * 2 + [[10.5, 10.5, 12.5, 12.5]] * 2, np.float32
    ).reshape(1, 4, 4, 1)
    at = lambda lod: host(at_lod(asarray(image), lod))
    assert np.array_equal(at(0.0), image) and np.array_equal(at(1.0), halves)
    assert np.allclose(at(0.5), (image + halves) / 2) and np.allclose(at(2.0), 7.5)
    assert np.allclose(at(1.25), 0.75 * halves + 0.25 * 7.5)


def test_images_consist_of_squares_and_d_ignores_finer_details():
    rng = np.random.default_rng(0)
    G, D = (
        progan.Generator(8, 32, 1, (8, 8, 8, 4), rng=rng),
        progan.Discriminator(32, 1, (8, 8, 8, 4), rng=rng),
    )
    x = tensor(rng.standard_normal((4, 32, 32, 1), dtype=np.float32))
    for lod in (0, 1, 2, 3, 0.5, 1.5):
        set_lod(G, lod), set_lod(D, lod)
        image = G(tensor(rng.standard_normal((4, 8), dtype=np.float32))).data
        assert image.shape == (4, 32, 32, 1) and np.allclose(
            host(at_lod(image, int(lod))), host(image), atol=1e-6
        )
        assert np.allclose(host(D(x)), host(D(Tensor(at_lod(x.data, int(lod))))), atol=1e-4)
    for end in (1.0, 2.0):  # nothing jumps where a fade begins or ends
        before, at, after = [], [], []
        for lod, view in ((end - 1e-4, before), (end, at), (end + 1e-4, after)):
            set_lod(G, lod)
            view.append(host(G(tensor(np.ones((1, 8), np.float32)))))
        assert np.abs(before[0] - at[0]).max() < 1e-2 and np.abs(after[0] - at[0]).max() < 1e-2


def test_a_run_grows_and_logs_it(tmp_path, digits):
    trainer = start(tmp_path / "a", digits, steps=60)
    resets, make = [], trainer.algorithm.make_optimizers
    trainer.algorithm.make_optimizers = lambda: (resets.append(trainer.algorithm.images), make())
    trainer.run(progress=False)
    rows = [json.loads(line) for line in (tmp_path / "a" / "log.jsonl").read_text().splitlines()]
    assert rows[0]["lod"] > rows[1]["lod"] > rows[-1]["lod"] == 0
    # By hand: 3 batches of 16 (the third begins at image 32, where the fade is at 0), 7 of 8, and
    # the rest of 4. Fades begin at images 48, 104 and 164, and end at 64, 128 and 192.
    assert resets == [48, 64, 104, 128, 164, 192]
    assert rows[-1]["images"] == trainer.algorithm.images == 3 * 16 + 7 * 8 + 50 * 4
    assert sorted(trainer.gallery.grown) == ["0004", "0008", "0016", "0032"]
    assert [grown.shape for grown in trainer.gallery.grown.values()] == [(10, 32, 32, 1)] * 4
    smallest = trainer.gallery.grown["0004"]
    assert np.array_equal(smallest, smallest[:, ::8, ::8].repeat(8, 1).repeat(8, 2))
    assert (tmp_path / "a" / "growth.png").exists()


@pytest.mark.parametrize(
    "changes", [{"stable_images": 0, "fade_images": 40}, {"stable_images": 40, "fade_images": 0}]
)
def test_the_gallery_has_images_of_every_size(tmp_path, digits, changes):
    trainer = start(
        tmp_path / "a", digits, steps=40, g_class="concat", d_class="projection", **changes
    )
    trainer.run(progress=False)
    assert sorted(trainer.gallery.grown) == ["0004", "0008", "0016", "0032"]
    assert [len(images) for images in trainer.gallery.grown.values()] == [10] * 4


def test_layers_for_larger_sizes_do_not_change_yet(tmp_path, digits):
    trainer = start(tmp_path / "a", digits)
    before = trainer.algorithm.G.state_dict()
    trainer.algorithm.train_step()
    after = {name: host(p) for name, p in trainer.algorithm.G.named_parameters()}
    changed = {name for name in after if not np.array_equal(after[name], before[name])}
    assert changed == {name for name in after if name.startswith(("blocks.0", "to_image.0"))}


@pytest.fixture(scope="module")
def unbroken(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    start(folder / "a", digits, steps=24).run(progress=False)
    return folder / "a"


# steps at 4x4, while 8x8 fades in, at 8x8, and while 16x16 fades in
@pytest.mark.parametrize("step", [2, 4, 9, 12])
def test_a_resumed_run_equals_the_unbroken_run(tmp_path, digits, unbroken, step):
    start(tmp_path / "b", digits, steps=step).run(progress=False)
    trainer = Trainer(recipes.find("progan"), settings(steps=24), digits, tmp_path / "b")
    trainer.resume(checkpoint.open_run(tmp_path / "b"))
    trainer.run(progress=False)
    (states_a, meta_a), (states_b, meta_b) = (
        checkpoint.load(checkpoint.checkpoints(folder)[-1]) for folder in (unbroken, tmp_path / "b")
    )
    assert meta_a == meta_b and states_a.keys() == states_b.keys()
    for part in states_a:
        assert states_a[part].keys() == states_b[part].keys()
        assert all(
            np.array_equal(states_a[part][key], states_b[part][key]) for key in states_a[part]
        ), part


def test_samples_of_a_run_that_still_grows(tmp_path, digits):
    from tinygan.training.sampling import generate, load_generator

    trainer = start(tmp_path / "a", digits, steps=5)
    trainer.run(progress=False)
    G, _, _ = load_generator(tmp_path / "a")
    assert float(G.lod) == float(trainer.algorithm.G.lod) == 2.25
    assert np.array_equal(
        generate(G, trainer.gallery.latents),
        generate(trainer.algorithm.ema.module, trainer.gallery.latents),
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"grow": "false"},
        {"loss": "bce", "gp": 0, "drift": 0, "r1": 1.0, "penalty_every": 2},
        {"loss": "relativistic"},
        {"g_class": "concat", "d_class": "projection"},
        {"g_class": "concat", "d_class": "auxiliary"},
        {"g_class": "concat", "d_class": "concat", "loss": "hinge"},
        {"micro_batch": 4},
    ],
)
def test_growing_with_other_settings(tmp_path, digits, changes):
    trainer = start(tmp_path / "a", digits, steps=12, **changes)
    trainer.run(progress=False)
    assert (tmp_path / "a" / "growth.png").exists() == (changes.get("grow") != "false")
    lod = trainer.algorithm.G.state_dict()["G.lod" if "g_class" in changes else "lod"]
    assert lod == (0 if "grow" in changes else trainer.algorithm.lod) and 0 <= lod < 2


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"pad": 0}, "images of 28x28 pixels are not 4x4, doubled"),
        ({"batch_size": 6}, "groups of 4, .* a batch of 6"),
        ({"batch_sizes": "4:16,7:8"}, "'7:8' is not size:images"),
        ({"batch_sizes": "4=16"}, "'4=16' is not size:images"),
        ({"stable_images": 0, "fade_images": 0}, "one of them must be larger"),
        ({"micro_batch": 6}, "groups of 4"),
        (
            {"g_class": "cbn", "d_class": "projection"},
            "g_class=cbn: for the networks of progan, choose from none, concat",
        ),
    ],
)
def test_mistakes(tmp_path, digits, changes, message):
    with pytest.raises(InputError, match=message):
        start(tmp_path / "a", digits, **changes)
    assert not any(tmp_path.iterdir())


def test_the_recipe_has_the_papers_constants_but_for_the_learning_rate():
    s = recipes.find("progan").settings()
    assert (s.lr, s.beta1, s.beta2, s.eps) == (4e-3, 0, 0.99, 1e-8)
    assert (s.gp, s.drift, s.ema, s.d_steps) == (10, 0.001, 0.999, 1)
    G, D = recipes.find("progan").build(s, (32, 32, 1), 10, np.random.default_rng(0))
    weights = {
        name: host(p)
        for name, p in [*G.named_parameters(), *D.named_parameters()]
        if name.endswith("weight")
    }
    assert all(abs(w.std() - 1) < 6 / w.size**0.5 for w in weights.values() if w.size > 50)
    scales = {path: module.scale for path, module in G.modules() if hasattr(module, "scale")}
    assert scales["blocks.0.0"] == pytest.approx(2**0.5 / 4 / 64**0.5)
    assert scales["blocks.3.0"] == pytest.approx((2 / (9 * 16)) ** 0.5)
    assert scales["to_image.3"] == pytest.approx(8**-0.5)
    z = np.random.default_rng(0).standard_normal((2, 64), dtype=np.float32)
    # only the direction of z counts
    assert np.allclose(host(G(tensor(z))), host(G(tensor(3 * z))), atol=1e-3)
    assert isinstance(D(tensor(np.zeros((4, 32, 32, 1), np.float32))), Tensor)
