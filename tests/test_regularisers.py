"""Consistency (cr, bcr), LeCam, and packs of images for D: their formulas, and how they train."""

import numpy as np
import pytest
from host import host
from mistakes import error_of
from test_training import SMALL, resume, start

from tinygan import check_grads, data, nn, ops, tensor
from tinygan.backend import asarray
from tinygan.cli import main
from tinygan.data import Points
from tinygan.gan import regularisers
from tinygan.gan.packing import Packed, packed, unpacked
from tinygan.gan.penalties import PENALTIES
from tinygan.training import batch_sizes, recipes, state
from tinygan.training.algorithm import Algorithm
from tinygan.training.statistics import to_floats

ENTRIES = {entry.name: entry for entry in PENALTIES}
PIXELS = np.random.default_rng(0).uniform(-1, 1, (6, 16, 8, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def digits():
    return data.load("digits").subset(slice(200))


def algorithm(dataset, recipe="gan", **settings):
    entry = recipes.find(recipe)
    for_points = isinstance(dataset, Points)
    settings = {"batch_size": 8, **SMALL[recipe], **settings}
    settings = entry.settings(for_points).updated(settings)
    return Algorithm(entry, settings, dataset.padded(settings.pad), seed=3)


# ---- consistency ----


def shifted(x, down, right):
    """Return images x shifted by whole pixels, in NumPy; black pixels fill the gap."""
    y = np.full_like(x, -1)
    height, width = x.shape[1:3]
    for image, moved, i, j in zip(x, y, down, right):
        for row in range(height):
            for column in range(width):
                if 0 <= row - i < height and 0 <= column - j < width:
                    moved[row, column] = image[row - i, column - j]
    return y


@pytest.mark.parametrize("name", ["cr", "bcr"])
def test_consistency_is_the_mean_square_difference_of_logits_on_shifted_images(name):
    weights = np.random.default_rng(1).standard_normal(PIXELS.shape[1:]).astype(np.float32)
    D = lambda x: ops.sum(x * asarray(weights), (1, 2, 3))
    x = tensor(PIXELS)
    value = ENTRIES[name].function(D, x, D(x), np.random.default_rng(5))
    rng = np.random.default_rng(5)  # shifts by up to an eighth of 16 rows and of 8 columns
    y = shifted(PIXELS, -rng.integers(-2, 3, 6), -rng.integers(-1, 2, 6))
    assert (y[:, 4:12, 2:6] != PIXELS[:, 4:12, 2:6]).any()
    expected = (((PIXELS - y) * weights).sum((1, 2, 3)) ** 2).mean()
    assert host(value) == pytest.approx(expected, rel=1e-5)


def test_the_gradient_of_consistency_flows_through_both_logits():
    def penalty(w):
        D = lambda x: ops.sum(ops.square(x * w), (1, 2, 3))
        x = tensor(PIXELS.astype(np.float64))
        return regularisers.consistency(D, x, D(x), np.random.default_rng(5))

    check_grads(penalty, [np.random.default_rng(1).standard_normal(PIXELS.shape[1:])])


def test_images_are_shifted_after_the_augmentation_that_d_has_seen(digits, monkeypatch):
    """Without a shift, the two logits are those of the same image."""
    monkeypatch.setattr("tinygan.recorded.enabled", False)
    monkeypatch.setattr(regularisers, "translation", lambda x, rng: x)
    settings = {"augment": "ada", "ada_p": 0.9, "d_norm": "none", "cr": 10.0, "bcr": 10.0}
    numbers = algorithm(digits, "dcgan", **settings).train_step()
    assert numbers["cr_penalty"] < 1e-8 and numbers["bcr_penalty"] < 1e-8
    monkeypatch.undo()
    monkeypatch.setattr("tinygan.recorded.enabled", False)
    numbers = algorithm(digits, "dcgan", **settings).train_step()
    assert numbers["cr_penalty"] > 1e-6 and numbers["bcr_penalty"] > 1e-6


def test_consistency_is_in_the_loss_beside_a_lazy_penalty(digits):
    a = algorithm(digits, "dcgan", cr=10.0, r1=1.0, penalty_every=4, d_norm="none")
    rows = [a.train_step() for _ in range(3)]
    assert ["penalty" in row for row in rows] == [True, False, False]
    assert all("cr_penalty" in row for row in rows)


# ---- LeCam ----

REAL, FAKE = np.array([2.0, -0.5, 0.3]), np.array([0.7, -1.6, 1.1])
NUMBER = np.float64


def test_lecam_is_the_distance_to_the_other_average():
    value, real, fake = regularisers.lecam(tensor(REAL), tensor(FAKE), NUMBER(0.4), NUMBER(-0.2))
    expected = ((REAL + 0.2) ** 2).mean() + ((FAKE - 0.4) ** 2).mean()
    assert host(value) == pytest.approx(expected, rel=1e-12)
    averages = 0.99 * 0.4 + 0.01 * REAL.mean(), 0.99 * -0.2 + 0.01 * FAKE.mean()
    assert (float(real), float(fake)) == pytest.approx(averages, rel=1e-12)


def test_lecam_first_takes_the_means_of_the_batch():
    none = NUMBER(0)
    value, real, fake = regularisers.lecam(tensor(REAL), tensor(FAKE), none, none)
    assert host(value) == 0
    assert (float(real), float(fake)) == pytest.approx((REAL.mean(), FAKE.mean()), rel=1e-12)


def test_the_gradient_of_lecam_is_that_of_the_logits():
    check_grads(lambda r, f: regularisers.lecam(r, f, NUMBER(0.4), NUMBER(-0.2))[0], [REAL, FAKE])


def test_lecam_begins_after_the_steps_of_lecam_start(digits):
    """Until then, the averages are the means of the last batch."""
    a = algorithm(digits, lecam=0.3, lecam_start=2)
    rows = [to_floats(a.train_step()) for _ in range(5)]
    real = fake = None
    for step, row in enumerate(rows):
        assert (row["lecam_penalty"] > 0) == (step >= 2)
        means = row["logit_real"], row["logit_fake"]
        if step < 2:
            real, fake = means
        else:
            real, fake = 0.99 * real + 0.01 * means[0], 0.99 * fake + 0.01 * means[1]
        found = row["average_real_logit"], row["average_fake_logit"]
        assert found == pytest.approx((real, fake), rel=1e-5)


@pytest.mark.parametrize("name", ["cr", "bcr", "drift"])
def test_three_times_the_weight_is_three_times_the_penalty(name, digits):
    losses = []
    for weight in 0.0, 1.0, 3.0:
        a = algorithm(digits, dropout=0.0, r1=0.0, **{name: weight})
        reals, labels = a.reals(0)
        fakes = a.fakes(labels, for_G=False).images
        loss, _ = a.objectives.d_loss(reals, None, fakes, None)
        losses.append(loss.item())
    assert losses[1] > losses[0] + 1e-6
    assert losses[2] - losses[0] == pytest.approx(3 * (losses[1] - losses[0]), rel=1e-2)


def test_lecam_is_the_same_in_micro_batches(digits):
    settings = {"lecam": 0.3, "lecam_start": 1, "dropout": 0, "lr": 0}
    whole, parts = (algorithm(digits, **settings, micro_batch=n) for n in (0, 4))
    for _ in range(4):
        expected, found = (to_floats(run.train_step()) for run in (whole, parts))
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)


# ---- packs ----


def test_a_pack_holds_every_kth_image():
    packs = packed(PIXELS, 3)
    assert packs.shape == (2, 16, 8, 9)
    for k in range(2):
        for i in range(3):
            assert np.array_equal(packs[k, :, :, 3 * i : 3 * i + 3], PIXELS[k + 2 * i])
    points = np.arange(12.0).reshape(6, 2)
    assert packed(points, 3).tolist() == [[0, 1, 4, 5, 8, 9], [2, 3, 6, 7, 10, 11]]
    for x in (PIXELS, points):
        assert np.array_equal(unpacked(packed(x, 3), 3), x)
        assert np.array_equal(host(unpacked(packed(tensor(x), 3), 3)), x)


def test_a_pack_that_is_not_full_is_an_error():
    D = Packed(lambda x: ops.sum(x, (1, 2, 3)), 4)
    with pytest.raises(ValueError, match="takes packs of 4 images, got 6 images"):
        D(tensor(PIXELS))


class Squares:
    """A D of packs: the square of a weighted sum of their pixels."""

    def __init__(self, weights):
        self.weights = weights

    def __call__(self, x):
        return ops.square(ops.sum(x * asarray(self.weights), (1, 2, 3)))


def test_penalties_on_images_are_taken_at_packs(digits, monkeypatch):
    """The gradient of D(p) = (w . p)^2 at a pack p is 2 (w . p) w. Those of r1 and r2 are averaged
    over packs, and gp draws one number for each pack."""
    monkeypatch.setattr("tinygan.recorded.enabled", False)
    a = algorithm(digits, pack=2, r1=3.0, r2=5.0, gp=7.0)
    reals, labels = a.reals(0)
    fakes = a.fakes(labels, for_G=False)
    w = np.random.default_rng(1).standard_normal((*digits.image_shape[:2], 2)) / 10
    w = w.astype(np.float32)
    a.objectives.D = Packed(Squares(w), 2)
    pairs = [np.concatenate([host(x)[:4], host(x)[4:]], 3) for x in (reals, fakes.images)]

    def gradient_lengths(packs):
        return 2 * np.abs((packs * w).sum((1, 2, 3))) * np.sqrt((w**2).sum())

    for name, packs, weight in (("r1", pairs[0], 3.0), ("r2", pairs[1], 5.0)):
        monkeypatch.setattr(a.settings, "r1", weight if name == "r1" else 0)
        monkeypatch.setattr(a.settings, "r2", weight if name == "r2" else 0)
        monkeypatch.setattr(a.settings, "gp", 0)
        value, _ = a.objectives.d_penalty(reals, None, fakes.images, None)
        expected = weight / 2 * (gradient_lengths(packs) ** 2).mean()
        assert host(value) == pytest.approx(expected, rel=1e-4), name
    monkeypatch.setattr(a.settings, "r2", 0)
    monkeypatch.setattr(a.settings, "gp", 7.0)
    a.objectives.rng = np.random.default_rng(4)
    value, _ = a.objectives.d_penalty(reals, None, fakes.images, None)
    t = np.random.default_rng(4).uniform(0, 1, (4, 1, 1, 1))
    lengths = gradient_lengths(pairs[0] + t * (pairs[1] - pairs[0]))
    assert host(value) == pytest.approx(7 * ((lengths - 1) ** 2).mean(), rel=1e-4)


def test_the_augmentation_acts_on_single_images_before_packing(digits):
    a = algorithm(digits, "dcgan", pack=2, augment="diffaug", policy="translation")
    seen = []
    forward = a.D.forward
    a.D.forward = lambda x: (seen.append(host(x)), forward(x))[1]
    reals, labels = a.reals(0)
    a.objectives.augmented_logits(tensor(host(reals)), labels, real=True)
    assert seen[0].shape == reals.shape and (seen[0] != host(reals)).any()


@pytest.mark.parametrize("recipe", ["gan", "dcgan", "sngan"])
def test_packs_train_and_are_scored_on_held_out_images(recipe, digits):
    a = algorithm(digits, recipe, pack=2, augment="diffaug")
    numbers = to_floats(a.train_step())
    assert all(np.isfinite(value) for value in numbers.values())
    assert batch_sizes.held_out_batch_size(a, 7) == 6
    images, labels = digits.batch(0, 6, 0)
    assert np.isfinite(float(a.execution.held_out_logit(images, labels)))
    logits, _ = a.objectives.logits(tensor(images), None)
    assert logits.shape == (3,)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", recipes.RECIPES)
def test_packs_train_with_every_recipe(recipe, digits):
    none = {"g_class": "none", "d_class": "none"}
    a = algorithm(digits, recipe, **none, batch_size=24, pack=3, cr=10.0, bcr=10.0)
    for _ in range(2):
        assert all(np.isfinite(value) for value in to_floats(a.train_step()).values())


def test_packs_of_points_train():
    a = algorithm(data.load("ring"), pack=4, batch_size=16, hidden=8)
    numbers = to_floats(a.train_step())
    assert "penalty" in numbers and all(np.isfinite(value) for value in numbers.values())


def test_packs_lie_within_micro_batches(digits, monkeypatch):
    monkeypatch.setattr("tinygan.recorded.enabled", False)
    a = algorithm(digits, "dcgan", pack=2, d_norm="none", r1=1.0, lr=0, micro_batch=4)
    parts, d_loss = [], a.objectives.d_loss
    a.objectives.d_loss = lambda *batch: (parts.append(batch), d_loss(*batch))[1]
    found = to_floats(a.train_step())
    assert [len(part[0]) for part in parts] == [4, 4]
    for name in ("d_loss", "penalty", "logit_real"):
        values = [float(d_loss(*part)[1][name]) for part in parts]
        assert found[name] == pytest.approx(np.mean(values), rel=1e-4), name


def test_reals_and_fakes_are_never_in_one_pack(digits, monkeypatch):
    """Here D is the mean pixel: -1 for packs of black images, the reals; 1 for white fakes."""
    monkeypatch.setattr("tinygan.recorded.enabled", False)
    a = algorithm(digits, pack=4)
    a.objectives.D = Packed(lambda x: ops.mean(x, (1, 2, 3)), 4)
    black, white = (np.full((8, 28, 28, 1), level, np.float32) for level in (-1, 1))
    _, numbers = a.objectives.d_loss(asarray(black), None, tensor(white), None)
    assert (float(numbers["logit_real"]), float(numbers["logit_fake"])) == (-1, 1)
    assert float(numbers["d_accuracy"]) == 0


def test_the_summary_of_a_d_of_packs_runs(digits):
    text = str(nn.summary(algorithm(digits, pack=3, batch_size=9).D))
    assert f"(1, {3 * 28 * 28})" in text


@pytest.mark.parametrize(
    "recipe, settings, message",
    [
        ("gan", {"pack": 3}, "setting pack=3: a batch of 8 images is no multiple of 3: choose a"),
        ("gan", {"pack": 8}, "a batch of 8 images is a single pack: choose a multiple of 8, at"),
        ("gan", {"pack": 2, "micro_batch": 3}, "a micro-batch of 3 images is no multiple of 2"),
        ("progan", {"pack": 2, "batch_size": 12, "grow": False}, "in groups of 8, into which"),
        ("cgan", {"pack": 2}, "pack=2 d_class=concat: a pack has no class: set pack=1, or g_class"),
        (
            "gan",
            {"lecam_start": 5},
            "lecam_start=5 would be ignored: set lecam as well, or lecam_start=1000",
        ),
        ("gan", {"lecam": 0.3, "steps": 1000}, "lecam=0.3: it begins after step 1000 (lecam_start"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(digits, recipe, settings, message):
    assert message in error_of(algorithm, digits, recipe, **settings)


@pytest.mark.parametrize("name", ["cr", "bcr"])
def test_consistency_needs_images(name):
    message = error_of(algorithm, data.load("ring"), **{name: 10.0, "hidden": 8})
    assert message == f"setting {name}=10.0 shifts images, and these are points: leave it out"


# ---- runs ----

ALL = {"cr": 10.0, "bcr": 10.0, "lecam": 0.3, "lecam_start": 2, "pack": 2}


def test_a_resumed_run_is_the_same_run(digits, tmp_path):
    settings = {"steps": 6, "checkpoint_every": 3, "keep": 9, "sample_every": 6, **ALL}
    whole = start(tmp_path / "whole", digits, batch_size=8, **settings)
    whole.run(progress=False)
    start(tmp_path / "half", digits, batch_size=8, **settings | {"steps": 3}).run(progress=False)
    again = resume(tmp_path / "half", digits, steps=6)
    again.run(progress=False)
    for part in ("G", "D", "g_optimizer", "d_optimizer"):
        expected, found = (getattr(t.algorithm, part).state_dict() for t in (whole, again))
        assert expected.keys() == found.keys()
        assert all(np.array_equal(expected[name], found[name]) for name in expected), part
    expected, found = (state.meta(t) for t in (whole, again))
    assert expected["average_real_logit"] != 0 and expected == found


@pytest.mark.parametrize("recipe", ["gan", "dcgan", "quick"])
def test_the_command_line_trains_with_all_of_them(recipe, tmp_path, capsys):
    words = ["train", recipe, "--data", "digits", "--out", str(tmp_path / "run"), "--steps", "3"]
    settings = {**ALL, **SMALL[recipe], "g_class": "none", "d_class": "none", "batch_size": 8}
    settings = [f"{name}={value}" for name, value in settings.items()]
    assert main([*words, "--set", *settings]) == 0
