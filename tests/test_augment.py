"""Tests of DiffAugment and ADA: equality with the authors' code for the same random draws, second
derivatives, the probability p and its controller, where images are augmented, subsets of a data
set, and the signs of overfitting in the log."""

import json
import re

import numpy as np
import pytest
from host import host
from numpy.testing import assert_allclose, assert_array_equal
from reference import Golden, assert_equal, group, images
from test_training import resume, start

from tinygan import Tensor, data, grad, ops, plots, tensor
from tinygan.autograd.gradcheck import check_grads
from tinygan.backend import asarray
from tinygan.data import pictures
from tinygan.errors import InputError
from tinygan.gan import augment, losses, penalties
from tinygan.gan.augment import ada, diffaug, geometry
from tinygan.gan.augment.ada import ADA
from tinygan.gan.augment.diffaug import DiffAugment
from tinygan.training import recipes, statistics
from tinygan.training.log import Log

GREY = np.full(3, 1 / np.sqrt(3))


class Replay:
    """A generator that returns recorded draws, whichever kind it is asked for."""

    def __init__(self, *draws):
        self.draws = list(draws)

    def random(self, shape):
        return self.draws.pop(0).reshape(shape)

    standard_normal = random

    def integers(self, low, high, size):
        values = self.random(size)
        assert low <= values.min() and values.max() < high
        return values


def recorded(file, key):
    return Replay(*(draw for _, draw in sorted(group(file, f"{key}/rng/").items())))


def assert_matches(file, key, transform):
    x = tensor(images(file["in/x"]), requires_grad=True)
    draws = recorded(file, key)
    y = transform(x, draws)
    assert not draws.draws  # all recorded draws were used
    assert_equal({"y": y.data}, {"y": images(file[f"{key}/y"])})
    if f"{key}/vjp" in file.files:
        vjp = grad(ops.sum(y * tensor(images(file["in/cotangent"]))), x)
        assert_equal({"vjp": vjp.data}, {"vjp": images(file[f"{key}/vjp"])})


@pytest.mark.parametrize(
    "name", ["blit", "scale", "rotate", "aniso", "xfrac", "imgfilter", "bgcfnc"]
)
def test_ada_equals_the_authors_code(name):
    file = Golden("ada_augment_c1")
    assert_matches(file, f"{name}_p1.0", ADA(name, 1.0))


def test_ada_augments_the_same_images_as_the_authors_code():
    file = Golden("ada_augment_c1")
    assert_matches(file, "bgcfnc_p0.4", ADA("bgcfnc", 0.4))


@pytest.mark.parametrize(
    "key, transform",
    [
        ("rand_contrast", diffaug.contrast),
        ("rand_translation", diffaug.translation),
        ("rand_cutout", diffaug.cutout),
        ("color,translation,cutout", DiffAugment()),
    ],
)
def test_diffaugment_equals_the_authors_code(key, transform):
    assert_matches(Golden("diffaug_c1_s28"), key, transform)


# Each transform against a direct computation, where there are no recorded numbers of the authors'
# code: colours, and other sizes


def rgb(n=3, height=7, width=10, channels=3, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (n, height, width, channels))


def test_each_colour_transform_on_three_channels():
    from scipy.spatial.transform import Rotation

    x, always = rgb(), np.zeros(3)
    value = np.array([0.3, -1.0, 0.7])
    column = value[:, None, None, None]
    assert_allclose(
        ADA("brightness", 1)(tensor(x), Replay(value, always)).numpy(), x + 0.2 * column
    )
    assert_allclose(
        ADA("contrast", 1)(tensor(x), Replay(value, always)).numpy(), x * 2 ** (0.5 * column)
    )
    u = np.array([0.1, 0.6, 0.9])
    angles = (2 * u - 1) * np.pi
    rotated = np.stack(
        [
            Rotation.from_rotvec(a * GREY).apply(image.reshape(-1, 3)).reshape(image.shape)
            for a, image in zip(angles, x)
        ]
    )
    assert_allclose(ADA("hue", 1)(tensor(x), Replay(u, always)).numpy(), rotated)
    grey = x.mean(3, keepdims=True)
    assert_allclose(
        ADA("saturation", 1)(tensor(x), Replay(value, always)).numpy(),
        grey + (x - grey) * 2.0**column,
    )
    flipped = np.where((u >= 0.5)[:, None, None, None], x - 2 * grey, x)
    assert_allclose(ADA("lumaflip", 1)(tensor(x), Replay(u, always)).numpy(), flipped)
    assert_allclose(
        diffaug.saturation(tensor(x), Replay(u)).numpy(),
        grey + (x - grey) * 2 * u[:, None, None, None],
    )
    assert_allclose(
        diffaug.brightness(tensor(x), Replay(u)).numpy(), x + u[:, None, None, None] - 0.5
    )
    middle = x.mean((1, 2, 3), keepdims=True)
    assert_allclose(
        diffaug.contrast(tensor(x), Replay(u)).numpy(),
        middle + (x - middle) * (0.5 + u[:, None, None, None]),
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_flips_and_rotations_move_pixels(channels):
    """The tolerance is wide because the filter sym6 is not quite symmetric, and a flipped image is
    filtered in the other direction."""
    from scipy.ndimage import gaussian_filter

    x, always = gaussian_filter(rgb(4, 16, 16, channels), (0, 1.5, 1.5, 0)), np.zeros(4)
    flipped = ADA("xflip", 1)(tensor(x), Replay(np.array([0.9, 0.1, 0.9, 0.1]), always)).numpy()
    assert_allclose(flipped[::2], x[::2, :, ::-1], atol=0.08 * abs(x).max())
    assert_allclose(flipped[1::2], x[1::2], atol=1e-9)
    rotated = ADA("rotate90", 1)(tensor(x), Replay(np.arange(4) / 4, always)).numpy()
    counterclockwise = np.stack([np.rot90(image, k) for k, image in enumerate(x)])
    assert_allclose(rotated, counterclockwise, atol=0.08 * abs(x).max())


def test_whole_shifts_move_pixels_exactly():
    x, always = rgb(3, 8, 8), np.zeros(3)
    # One pixel of eight to the right; one pixel up; none.
    shifts = np.array([[1.0, 0.5], [0.5, 0.0], [0.5, 0.5]])
    shifted = ADA("xint", 1)(tensor(x), Replay(shifts, always)).numpy()
    assert_allclose(shifted[0, :, 1:], x[0, :, :-1], atol=1e-9)
    assert_allclose(shifted[0, :, 0], x[0, :, 1], atol=1e-9)  # reflected
    assert_allclose(shifted[1, :-1], x[1, 1:], atol=1e-9)
    assert_allclose(shifted[2], x[2], atol=1e-9)


def test_cutout_and_noise():
    x, always = np.ones((1, 8, 6, 1)), np.zeros(1)
    centre = np.array([[0.5, 0.25]])  # horizontal, vertical
    cut = ADA("cutout", 1)(tensor(x), Replay(always, centre)).numpy()[0, :, :, 0]
    expected = np.ones((8, 6))
    # Pixels whose centre is less than a quarter of the image away from that point, on both axes.
    expected[0:4, 2:4] = 0
    assert_array_equal(cut, expected)
    noise = np.random.default_rng(0).standard_normal((1, 1, 8, 6))
    noisy = ADA("noise", 1)(tensor(x), Replay(np.array([-2.0]), always, noise)).numpy()
    assert_allclose(noisy, x + 0.2 * noise.transpose(0, 2, 3, 1))
    # A rectangle of 4 x 3 around row 1, column 5.
    cut = diffaug.cutout(tensor(x), Replay(np.array([1]), np.array([5]))).numpy()[0, :, :, 0]
    expected = np.ones((8, 6))
    expected[0:3, 4:6] = 0
    assert_array_equal(cut, expected)


def test_bands_of_the_filter_add_up_to_the_image():
    assert_allclose(ada.band_filters().sum(0), np.eye(43)[21], atol=1e-12)
    x = rgb(2, 28, 5)
    assert_allclose(ada.filter_bands(tensor(x), lambda: np.ones((2, 4))).numpy(), x, atol=1e-12)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (4, 4), (28, 20), (64, 64)])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size(size, channels):
    rng = np.random.default_rng(0)
    x = tensor(rng.uniform(-1, 1, (5, *size, channels)).astype("float32"), requires_grad=True)
    for pipe in (ADA("bgcfnc", 0.7), ADA("digits", 1), DiffAugment()):
        y = pipe(x, rng)
        assert y.shape == x.shape and y.dtype == np.float32 and np.isfinite(host(y)).all()
        assert grad(ops.sum(y), x).dtype == np.float32


# Derivatives


@pytest.mark.parametrize("policy", ["digits", "bgcfnc"])
@pytest.mark.parametrize("channels", [1, 3])
def test_ada_is_differentiable_twice(policy, channels):
    weights = tensor(np.random.default_rng(1).standard_normal((3, 6, 5, channels)))

    def f(x):
        y = ADA(policy, 0.8)(x, np.random.default_rng(4))
        return ops.sum(ops.tanh(y) * weights)

    check_grads(f, rgb(3, 6, 5, channels), order=2)


@pytest.mark.parametrize("channels", [1, 3])
def test_diffaugment_is_differentiable_twice(channels):
    def f(x):
        return ops.sum(ops.square(ops.tanh(DiffAugment()(x, np.random.default_rng(2)))))

    check_grads(f, rgb(3, 6, 5, channels), order=2)


@pytest.mark.parametrize("pipe", [ADA("bgc", 0.8), DiffAugment("translation,color")])
def test_r1_through_the_warp(pipe):
    """The gradient of the penalty with respect to D's weights, where the penalty is taken at the
    images before augmentation."""
    x = rgb(4, 6, 6, 1)

    def penalty(w):
        D = lambda x: ops.sum(ops.tanh(ops.conv2d(pipe(x, np.random.default_rng(3)), w)), (1, 2, 3))
        return penalties.r1(D, asarray(x))

    check_grads(penalty, np.random.default_rng(0).standard_normal((3, 3, 1, 2)) * 0.5, order=2)
    # The gradient of a linear D is the adjoint of the warp, applied to D's weights.
    weights = np.random.default_rng(1).standard_normal((1, 6, 6, 1))
    gradients = penalties.image_gradients(
        lambda x: ops.sum(pipe(x, np.random.default_rng(3)) * tensor(weights), (1, 2, 3)),
        asarray(x),
    )
    y = np.random.default_rng(2).standard_normal(x.shape)
    moved = host(pipe(tensor(x + y), np.random.default_rng(3))) - host(
        pipe(tensor(x), np.random.default_rng(3))
    )
    assert_allclose((host(gradients) * y).sum(), (moved * weights).sum())


def test_diagonal_maps_give_the_same_result_as_general_ones_also_in_a_mixed_batch():
    """Maps without rotation are computed in a faster way, with the same result."""
    rng, x = np.random.default_rng(0), rgb(6, 12, 9)
    maps = geometry.scale2d(
        rng.uniform(0.8, 1.2, 6), rng.uniform(0.8, 1.2, 6)
    ) @ geometry.translate2d(rng.normal(size=6), rng.normal(size=6))
    # A rotation by almost nothing makes every second map a general one.
    maps[::2] = maps[::2] @ geometry.rotate2d(np.full(3, 1e-300))
    assert (maps[::2, 0, 1] != 0).all()
    diagonal_maps = maps * (abs(maps) > 1e-200)
    mixed, diagonal = (host(geometry.warp(tensor(x), m)) for m in (maps, diagonal_maps))
    assert_allclose(mixed, diagonal, atol=1e-12)
    assert abs(mixed - x).max() > 0.1


# The probability p, and its controller


def test_p_is_the_share_of_images_that_each_transform_changes():
    x = tensor(rgb(2000, 4, 4, 1))
    images = host(x)
    for name in (
        "brightness",
        "contrast",
        "scale",
        "aniso",
        "rotate",
        "noise",
        "cutout",
        "imgfilter",
    ):
        for p in (0.1, 0.6):
            y = host(ADA(name, p)(x, np.random.default_rng(0)))
            share = (abs(y - images).max((1, 2, 3)) > 1e-9).mean()
            # The filter has four bands. The two rotations share p.
            p_any = 1 - (1 - p) ** 4 if name == "imgfilter" else p
            assert share == pytest.approx(p_any, abs=0.035), (name, p)
    assert ADA("bgc", 0.0)(x, Replay()) is x
    assert_array_equal(*(host(ADA("bgc", p)(x, np.random.default_rng(0))) for p in (1.7, 1.0)))


def test_digits_are_not_flipped_and_not_rotated_far():
    assert (
        not {"xflip", "rotate90", "rotate", "lumaflip", "hue", "saturation"}
        & ADA("digits").transforms
    )
    pipe = ADA("digits,rotate", 1.0, rotate_max=0.05)
    maps = pipe.geometric_maps(ada.ImageDraws(pipe, np.random.default_rng(0), 1000), 28, 28)
    angles = np.degrees(np.arctan2(maps[:, 1, 0] - maps[:, 0, 1], maps[:, 0, 0] + maps[:, 1, 1]))
    # Two rotations by at most 9 degrees each.
    assert 15 < abs(angles).max() <= 18.001 and np.linalg.det(maps[:, :2, :2]).min() > 0


def test_the_controller_follows_r_t():
    pipe = ADA("digits", 0.0)
    controller = augment.Controller(pipe, target=0.6, kimg=500)
    ps = []
    for r_t in [0.9] * 8 + [0.1] * 12 + [0.8, 0.8, 0.3, 0.3, 0.9, 0.9, 0.9, 0.0]:
        controller(r_t, 64)
        ps.append(pipe.p)
    step = 64 * 4 / 500_000
    # p does not fall below 0. The last two means of r_t are .55 and .675.
    assert_allclose(ps[3::4], np.array([1, 2, 1, 0, 0, 0, 1]) * step)
    assert ps[2] == 0 and ps[4] == ps[3]  # p moves at every fourth step only
    again = augment.Controller(ADA("digits"), target=0.6, kimg=500)
    controller(0.7, 32)
    again.restore(json.loads(json.dumps(controller.state())))
    assert again.state() == controller.state() and again.signs == 0.7 * 32


@pytest.mark.parametrize(
    "where, expected", [("both", "1111"), ("reals", "1010"), ("d_step", "1100")]
)
def test_which_images_are_augmented(where, expected):
    pipe, x = augment.Augment("diffaug", "color", where), tensor(rgb())
    augmented = [
        pipe(x, real, d_step) is not x for d_step in (True, False) for real in (True, False)
    ]
    assert augmented == [flag == "1" for flag in expected]


# In a run


@pytest.fixture(scope="module")
def digits():
    full = data.load("digits")
    return data.Dataset("digits", "train", full.images[:400], full.labels[:400], full.class_names)


def trainer(out, digits, recipe="dcgan", seed=0, **settings):
    return start(
        out, digits, recipe, seed, **{"sample_every": 6, "checkpoint_every": 6, **settings}
    )


def log(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_run_with_ada_is_the_same_when_resumed(tmp_path, digits):
    settings = {"augment": "ada", "ada_kimg": 0.05, "ada_target": 0.1, "policy": "bgcfnc"}
    whole = trainer(tmp_path / "whole", digits, **settings)
    whole.run(progress=False)
    first = trainer(tmp_path / "first", digits, **settings)
    first.settings.steps = 6  # in the middle of the four steps between moves of p
    first.run(progress=False)
    second = resume(tmp_path / "first", digits)
    assert (
        second.algorithm.controller.steps == 2
        and second.algorithm.augment.pipe.p == first.algorithm.augment.pipe.p
    )
    second.run(progress=False)
    assert log(tmp_path / "whole")[-1]["step"] == 12 and "p" in log(tmp_path / "whole")[-1]
    assert whole.algorithm.augment.pipe.p == second.algorithm.augment.pipe.p > 0
    assert log(tmp_path / "whole")[-1] == log(tmp_path / "first")[-1]
    for a, b in zip(
        whole.algorithm.D.parameters() + whole.algorithm.G.parameters(),
        second.algorithm.D.parameters() + second.algorithm.G.parameters(),
        strict=True,
    ):
        assert_array_equal(host(a), host(b))
    assert (tmp_path / "whole" / "curves.png").exists()


def test_the_progress_bar_shows_p(tmp_path, digits):
    run = trainer(tmp_path / "run", digits, augment="ada", ada_p=0.25)
    with Log(run, progress=True) as run_log:
        for _ in range(10):
            run.unlogged.append(run.algorithm.train_step())
            run_log.add_step()
        assert re.search(r"G [\d.]+  p 0\.2\d  \d+ images/s", run_log.bar.postfix)


def test_p_stays_fixed_or_begins_at_ada_p(tmp_path, digits):
    fixed = trainer(tmp_path / "fixed", digits, augment="ada", ada_p=0.4, ada_target=0)
    fixed.run(progress=False)
    assert fixed.algorithm.augment.pipe.p == log(tmp_path / "fixed")[-1]["p"] == 0.4
    run = trainer(tmp_path / "run", digits, augment="ada", ada_p=0.4, ada_kimg=1)
    numbers = [run.algorithm.train_step() for _ in range(4)]
    assert [n["p"] for n in numbers] == [0.4] * 4
    assert run.algorithm.augment.pipe.p == pytest.approx(
        0.4 + np.sign(np.mean([float(n["r_t"]) for n in numbers]) - 0.6) * 32 / 1000
    )


def test_augmentation_changes_nothing_but_the_input_of_d(tmp_path, digits):
    """Latents and batches are those of a run without augmentation, so the first fakes are, too."""
    plain, augmented = (
        trainer(tmp_path / kind, digits, augment=kind) for kind in ("none", "diffaug")
    )
    inputs = {plain: [], augmented: []}
    for run, seen in inputs.items():
        original = run.algorithm.objectives.logits
        run.algorithm.objectives.logits = lambda x, labels, seen=seen, original=original: (
            seen.append(host(x)),
            original(x, labels),
        )[1]
        run.algorithm.train_step()
    for i in range(3):  # reals, fakes, fakes in G's step
        assert abs(inputs[plain][i] - inputs[augmented][i]).max() > 0.01
    assert plain.algorithm.rng.bit_generator.state == augmented.algorithm.rng.bit_generator.state


def test_r1_is_taken_at_the_images_before_augmentation(tmp_path, digits):
    run = trainer(
        tmp_path / "run", digits, d_norm="none", r1=1.0, augment="diffaug", policy="cutout"
    )
    reals, labels = run.algorithm.reals(0)
    seen = []
    pipe = run.algorithm.augment.pipe
    run.algorithm.augment.pipe = lambda x, rng: (seen.append(x), pipe(x, rng))[1]
    penalty, _ = run.algorithm.objectives.d_penalty(reals, labels, Tensor(reals), labels)
    assert_array_equal(host(seen[0]), host(reals))
    assert seen[0].requires_grad and penalty.item() > 0


@pytest.mark.parametrize("recipe", recipes.RECIPES)
@pytest.mark.parametrize("kind", ["diffaug", "ada"])
def test_every_recipe_trains_with_augmentation(tmp_path, digits, recipe, kind):
    run = trainer(
        tmp_path / "run", digits, recipe, steps=2, augment=kind, ada_p=0.5 * (kind == "ada")
    )
    for _ in range(2):
        numbers = run.algorithm.train_step()
        assert (
            np.isfinite([float(v) for v in numbers.values()]).all()
            and {"r_t", "logit_real", "logit_fake"} <= numbers.keys()
        )
        assert -1 <= numbers["r_t"] <= 1


def test_scoring_held_out_images_changes_nothing(tmp_path, digits):
    for recipe, settings in (
        ("dcgan", {}),
        ("gan", {"hidden": 8}),
        ("sngan", {"g_channels": 4, "d_channels": 4}),
    ):
        run = trainer(tmp_path / recipe, digits, recipe, **settings, augment="diffaug")
        run.algorithm.train_step()
        before = (
            [host(b).copy() for b in run.algorithm.D.buffers()],
            run.algorithm.rng.bit_generator.state,
            run.algorithm.augment.rng.bit_generator.state,
        )
        images, labels = run.held_out.batch(0, run.held_out_batch_size, 0)
        logit = run.algorithm.execution.held_out_logit(images, labels)
        assert np.isfinite(float(logit)) and logit == run.algorithm.execution.held_out_logit(
            images, labels
        )
        for a, b in zip(before[0], run.algorithm.D.buffers(), strict=True):
            assert_array_equal(a, host(b))
        assert before[1:] == (
            run.algorithm.rng.bit_generator.state,
            run.algorithm.augment.rng.bit_generator.state,
        )


def test_few_held_out_images(tmp_path):
    """D scores as many as it can at once. StyleGAN2's D takes groups of four, and one image is too
    few."""
    full = data.load("digits")
    for n, batch_size in ((100, 8), (19, 0)):
        few = data.Dataset("few", "train", full.images[:n], full.labels[:n], full.class_names)
        run = trainer(
            tmp_path / str(n),
            few,
            "stylegan2",
            steps=10,
            pad=2,
            g_channels=4,
            d_channels=4,
            max_channels=4,
            style=8,
        )
        run.run(progress=False)
        assert run.held_out_batch_size == batch_size
        assert ("logit_held_out" in log(tmp_path / str(n))[-1]) == bool(batch_size)


@pytest.mark.parametrize("kind", ["diffaug", "ada"])
def test_a_growing_recipe_on_colours_in_micro_batches_resumes_exactly(tmp_path, kind):
    """The checkpoint is in the middle of a fade, and the penalties R1 and R2 are on."""
    colours = data.load("stacked-digits")
    few = data.Dataset(
        "few", "train", colours.images[:200], colours.labels[:200], colours.class_names
    )
    settings = {
        "augment": kind,
        "ada_p": 0.5 * (kind == "ada"),
        "micro_batch": 4,
        "r1": 1.0,
        "r2": 1.0,
        "steps": 8,
        "checkpoint_every": 6,
        "train_size": 60,
    }
    whole = trainer(tmp_path / "run", few, "progan", **settings)
    whole.run(progress=False)
    assert whole.algorithm.lod % 1 and whole.dataset.image_shape == (32, 32, 3)
    (tmp_path / "run" / "checkpoint-00000008.npz").unlink()
    again = resume(tmp_path / "run", few)
    again.run(progress=False)
    for a, b in zip(
        whole.algorithm.D.parameters() + whole.algorithm.G.parameters(),
        again.algorithm.D.parameters() + again.algorithm.G.parameters(),
        strict=True,
    ):
        assert_array_equal(host(a), host(b))


def test_shifts_and_maps_are_copied():
    x = tensor(rgb(1, 4, 4), requires_grad=True)
    shifts = np.array([[1, 0]], np.uint8)
    y = ops.translate(x, shifts)
    shifts[:] = 0
    g = grad(ops.sum(y), x).data
    assert (g[0, :3] == 1).all() and (g[0, 3] == 0).all()
    theta = np.eye(3)[None, :2].copy()
    y = ops.affine_warp(x, theta)
    theta[:] = 0
    assert_allclose(host(grad(ops.sum(y), x)), 1)


def test_r_t_of_each_loss():
    real, fake = np.array([-1.0, 0.2, 0.7, 3.0]), np.array([-3.0, -2.0, 0.0, 1.0])
    for name, r_t, right in (
        ("bce", 0.5, 5.5),
        ("hinge", 0.5, 5.5),
        ("l2", 0.0, 5),
        ("wasserstein", 0.5, 5),
        ("relativistic", 0.5, 5),
    ):
        found = {
            name: float(value)
            for name, value in statistics.overfitting(
                losses.find(name), asarray(real), asarray(fake)
            ).items()
        }
        expected = {"logit_real": 0.725, "logit_fake": -1.0, "r_t": r_t, "d_accuracy": right / 8}
        assert found == pytest.approx(expected, rel=1e-14, abs=1e-15)


def test_subsets_are_balanced():
    digits = data.load("digits")
    subset = digits.balanced(505, seed=3)
    counts = np.bincount(subset.labels)
    assert len(subset) == 505 and sorted(counts) == [50] * 5 + [51] * 5
    assert_array_equal(subset.images, digits.balanced(505, seed=3).images)
    assert not np.array_equal(subset.images, digits.balanced(505, seed=4).images)
    assert len({image.tobytes() for image in subset.images}) == 505
    few = data.Dataset(
        "few", "train", digits.images[:6], np.array([0, 0, 0, 0, 0, 1]), digits.class_names
    )
    assert sorted(few.balanced(4, 0).labels) == [0, 0, 0, 1] and len(few.balanced(6, 0)) == 6
    with pytest.raises(InputError, match="must be 1 to 6, the size of few"):
        few.balanced(7, 0)


def test_train_size(tmp_path, digits):
    run = trainer(tmp_path / "run", digits, train_size=50)
    assert (
        len(run.dataset) == 50
        and set(np.bincount(run.dataset.labels)) == {5}
        and len(run.held_out) == 40
    )
    learned, held = (
        {image.tobytes() for image in part.images} for part in (run.dataset, run.held_out)
    )
    assert not learned & held


@pytest.mark.parametrize(
    "settings, message",
    [
        (
            {"augment": "diffaug", "policy": "colour"},
            "unknown transform 'colour': did you mean color",
        ),
        (
            {"augment": "ada", "policy": "bgc,flip"},
            "unknown transform 'flip': .*choose from blit, geom",
        ),
        ({"policy": "color"}, "policy=color needs an augmentation"),
        ({"augment": "noise"}, "choose from none, diffaug, ada"),
        ({"ada_p": 1.2}, "between 0 and 1"),
        (
            {"train_size": 1000},
            "train_size=1000: digits has 360 training images \\(40 more are held out",
        ),
        ({"ada_p": 0.5}, "set augment=ada as well"),
        ({"augment": "ada", "ada_target": 0}, "would never augment an image"),
        ({"train_size": 6}, "batch_size 8 is more than the 6 images"),
    ],
)
def test_bad_settings(tmp_path, digits, settings, message):
    with pytest.raises(InputError, match=message):
        trainer(tmp_path / "run", digits, **settings)
    assert not (tmp_path / "run").exists()


def test_curves_show_all_columns_of_the_log(tmp_path):
    rows = [
        {"step": i, "d_loss": 1.0, "g_loss": 1.0, "d_real": 0.5, "d_fake": 0.5} for i in range(1, 5)
    ]
    plots.save_curves(tmp_path / "old.png", rows)  # the columns of an older version
    for row in rows:
        row |= {
            "logit_real": 1.0,
            "logit_fake": -1.0,
            "r_t": 0.5,
            "p": 0.1,
            **({"logit_held_out": 0.2} if row["step"] % 2 else {}),
        }
    plots.save_curves(tmp_path / "new.png", rows)
    assert (tmp_path / "new.png").stat().st_size > (tmp_path / "old.png").stat().st_size > 5000
    shared = [row | {"d_style_loss": 0.2, "g_style_loss": 0.1} for row in rows]
    plots.save_curves(tmp_path / "shared.png", shared)  # a panel for the loss that both share
    heights = [pictures.read(tmp_path / f"{name}.png", 3).shape[0] for name in ("new", "shared")]
    assert heights[0] * 5 == heights[1] * 4


def test_curves_of_a_single_step_are_visible(tmp_path):
    row = {"step": 1, "d_loss": 1.0, "g_loss": 2.0}
    plots.save_curves(tmp_path / "one.png", [row], probability=False)
    image = pictures.read(tmp_path / "one.png", 3).astype(int)
    colourful = np.ptp(image[:, :700], axis=2) > 60  # without the legend, which is on the right
    assert colourful.sum() > 10
