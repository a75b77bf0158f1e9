"""Images of any shape: those that are not square, one channel or three, and what the others get."""

import json
import os
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
from host import host
from PIL import Image, ImageDraw
from test_training import SMALL

from tinygan import nn, plots, tensor
from tinygan.backend import asarray
from tinygan.cli import main, styles
from tinygan.data import Dataset, pictures
from tinygan.errors import InputError
from tinygan.files import checkpoint
from tinygan.gan.augment import ADA, DiffAugment, geometry
from tinygan.models import dcgan, progan, sngan, stylegan, stylegan2
from tinygan.models.growth import Growth, at_lod
from tinygan.models.image_sizes import SizeError, halved, halvings, start_shape
from tinygan.ops.bilinear import as_pair
from tinygan.training import recipes
from tinygan.training.algorithm import Algorithm
from tinygan.training.sampling import generate
from tinygan.training.trainer import Trainer

SETTINGS = {"batch_size": 4, "steps": 1, "sample_every": 100}
OF_RECIPE = {name: dict(SMALL[name]) for name in recipes.RECIPES}
OF_RECIPE["biggan"] |= {"attention": 8, "latent": 12, "embedding": 4}
GROWS = {"stable_images": 8, "fade_images": 8, "batch_sizes": "4:8", "latent": 8}
START_AT_4 = "biggan", "progan", "stylegan", "stylegan2"


def dataset(height, width, channels, n=40, classes=2):
    images = np.random.default_rng(0).integers(0, 256, (n, height, width, channels), np.uint8)
    return Dataset("mine", "train", images, np.arange(n) % classes, tuple("ab"[:classes]))


def settings(name, **changes):
    grows = GROWS if name in ("progan", "stylegan") else {}
    changes = {**SETTINGS, **OF_RECIPE[name], **grows, **changes}
    return recipes.find(name).settings().updated(changes)


def trainer(out, name, data, **changes):
    return Trainer.start(recipes.find(name), settings(name, **changes), data, out)


# ---- Sizes ----


def test_the_size_at_which_growing_networks_start():
    for size, start, n in (
        ((32, 48), (4, 6), 3),
        ((32, 64), (4, 8), 3),
        ((64, 32), (8, 4), 3),
        ((8, 10), (4, 5), 1),
        ((4, 9), (4, 9), 0),
        (32, (4, 4), 3),
    ):
        assert start_shape(size) == (start, n)
    for size in (28, 2, (28, 20), (32, 50), (2, 8), (8, 2), (0, 8), (24, 32)):
        with pytest.raises(SizeError, match="doubled several times: choose"):
            start_shape(size)
    assert halved((28, 20), 2) == (7, 5) and halved(32, 5) == (1, 1)
    for size in ((28, 30), (30, 28), (0, 4), (4, 0), 2):
        with pytest.raises(SizeError, match="cannot be halved 2 times: choose"):
            halved(size, 2)


def test_how_often_a_size_is_halved():
    for size, n in ((28, 2), (32, 3), ((20, 28), 2), ((48, 24), 2), (56, 3), ((7, 4), 0), (14, 1)):
        assert halvings(size) == n
    for size in (30, 3, (28, 30), (26, 28), 36, (0, 28), (28, 0)):
        with pytest.raises(SizeError, match="cannot be halved down to 4 to 7 pixels: choose") as e:
            halvings(size)
        assert all(halvings(other) >= 0 for other in e.value.sizes_near(as_pair(size)))


def test_a_number_as_the_size_means_a_square():
    for make in (
        lambda size: dcgan.Generator(5, size, 1, (4, 4), rng=0),
        lambda size: dcgan.Discriminator(size, 1, (4, 4), rng=0),
        lambda size: sngan.Generator(5, size, 1, 4, rng=0),
        lambda size: progan.Generator(5, size, 1, (4, 4), rng=0),
        lambda size: progan.Discriminator(size, 1, (4, 4), rng=0),
        lambda size: stylegan.Generator(5, size, 1, (4, 4), 4, rng=0),
        lambda size: stylegan2.Generator(5, size, 1, (4, 4), 4, rng=0),
        lambda size: stylegan2.Discriminator(size, 1, (4, 4), rng=0),
        lambda size: nn.Noise(3, size, rng=0),
    ):
        number, pair = make(8).state_dict(), make((8, 8)).state_dict()
        assert number.keys() == pair.keys()
        assert all(np.array_equal(number[key], pair[key]) for key in number)


@pytest.mark.parametrize("module", [progan, stylegan, stylegan2])
def test_too_few_widths_for_the_size(module):
    with pytest.raises(InputError, match="16x24 pixels need widths for the 3 sizes from 4x6, but"):
        module.Generator(5, (16, 24), 1, (4, 4), rng=0)
    with pytest.raises(InputError, match="but there are 0 widths"):
        module.Discriminator((16, 24), 1, (), rng=0)


# ---- Training ----


@pytest.mark.parametrize(
    "name, shape",
    [
        *((name, (16, 24, 3)) for name in recipes.RECIPES),
        *((name, (24, 16, 1)) for name in ("gan", "dcgan", "sngan", "progan", "stylegan2")),
    ],
    ids=str,
)
def test_every_recipe_trains_on_images_that_are_not_square(name, shape):
    s = settings(name, pad=0, d_steps=1)
    a = Algorithm(recipes.find(name), s, dataset(*shape), seed=0)
    before = a.D.state_dict()
    numbers = a.train_step()
    assert all(np.isfinite(float(value)) for value in numbers.values())
    after = a.D.state_dict()
    assert any(not np.array_equal(before[key], after[key]) for key in before)
    labels = np.zeros(3, int) if a.objectives.uses_classes else None
    assert generate(a.G, a.latents(3), labels).shape == (3, *shape)
    inputs = [] if labels is None else [labels[:1]]
    for network, example in ((a.G, a.latents(1)), (a.D, np.zeros((1, *shape), np.float32))):
        assert nn.summary(network, example, *inputs)[-1].parameters > 0
        assert nn.summary(network)[-1].kind == ""


@pytest.mark.parametrize(
    "name, changes",
    [
        ("dcgan", {"patches": "true", "g_class": "concat", "d_class": "concat"}),
        ("stylegan2", {"configuration": "a", "g_architecture": "residual", "mixing": 0.9}),
        ("stylegan2", {"configuration": "c", "d_architecture": "skip", "d_class": "mapping"}),
        ("quick", {"augment": "diffaug"}),
        ("quick", {"augment": "ada", "ada_p": 0.5, "policy": "bgcfnc"}),
    ],
)
def test_other_settings_and_recorded_steps(name, changes):
    data = dataset(16, 24, 3)
    a = Algorithm(recipes.find(name), settings(name, pad=0, **changes), data, seed=0)
    for _ in range(3):
        assert all(np.isfinite(float(value)) for value in a.train_step().values())


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """A run of stylegan that has grown to 16x24 pixels, in micro-batches."""
    out = tmp_path_factory.mktemp("grown") / "run"
    run = trainer(out, "stylegan", dataset(16, 24, 3), pad=0, steps=12, micro_batch=4)
    run.run(progress=False)
    return run


def test_a_run_grows_through_all_sizes(grown):
    rows = [json.loads(line) for line in (grown.out / "log.jsonl").read_text().splitlines()]
    assert rows[0]["lod"] > 0 == rows[-1]["lod"]
    assert sorted(grown.gallery.grown) == ["0004", "0008", "0016"]
    smallest = grown.gallery.grown["0004"]
    assert smallest.shape == (2, 16, 24, 3)
    assert np.array_equal(smallest, smallest[:, ::4, ::4].repeat(4, 1).repeat(4, 2))
    # a row for each size, a column for each of the two classes
    with Image.open(grown.out / "growth.png") as picture:
        assert picture.width > 2 * (2 * 26 + 2) and picture.height == 2 * (3 * 18 + 2)  # labels


def test_a_growing_run_is_the_same_when_resumed(tmp_path, grown):
    data, name = dataset(16, 24, 3), "stylegan"
    begun = trainer(tmp_path / "b", name, data, pad=0, steps=6, micro_batch=4)
    begun.run(progress=False)
    assert begun.algorithm.lod == 0.5  # 16x24 fades in
    resumed = settings(name, pad=0, steps=12, micro_batch=4)
    run = Trainer(recipes.find(name), resumed, data, tmp_path / "b")
    run.resume(checkpoint.open_run(tmp_path / "b"))
    run.run(progress=False)
    for part in ("G", "D"):
        a, b = (getattr(t.algorithm, part).state_dict() for t in (grown, run))
        assert all(np.array_equal(a[key], b[key]) for key in a)
    assert all(
        np.array_equal(grown.gallery.grown[k], run.gallery.grown[k]) for k in ("0004", "0016")
    )


def test_the_schedule_is_keyed_by_the_shorter_side():
    for size, texts in (
        ((16, 24), ["4x6", "4x6, 50% of 8x12", "8x12", "16x24"]),
        ((24, 16), ["6x4", "6x4, 50% of 12x8", "12x8", "24x16"]),
    ):
        growth = Growth(settings("progan"), size)
        assert [growth.describe(lod) for lod in (2, 1.5, 1, 0)] == texts
        assert growth.batch_sizes == {4: 8, 8: 4, 16: 4}
        assert [growth.batch_size(lod) for lod in (2, 1.5, 1, 0)] == [8, 4, 4, 4]
    with pytest.raises(InputError, match="'6:8' is not size:images, with a size of 4, 8, 16"):
        Growth(settings("progan").updated({"batch_sizes": "6:8"}), (16, 24))


def test_reals_are_averaged_over_squares():
    image = np.arange(24, dtype=np.float32).reshape(1, 4, 6, 1)
    expected = np.array([[3.5, 5.5, 7.5], [15.5, 17.5, 19.5]]).repeat(2, 0).repeat(2, 1)
    assert np.allclose(host(at_lod(asarray(image), 1.0))[0, ..., 0], expected)


# ---- Images that a recipe cannot take ----


def refusal(folder, name, shape, **changes):
    """Return the error for images of this shape, before which nothing was written, or None."""
    if name == "biggan":  # all sizes that start at 4 divide this into equal parts
        changes = {"attention": 0, "latent": 60, **changes}
    with tempfile.TemporaryDirectory(dir=folder) as place:
        try:
            trainer(Path(place, "run"), name, dataset(*shape, n=20), **changes)
        except InputError as error:
            assert not os.listdir(place) and "\n" not in str(error)
            return error


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_advice_about_the_setting_pad_helps(tmp_path, name):
    default = recipes.find(name).settings().pad
    kind = 0 if name == "gan" else 2 if name in ("sngan", "projection") else 1
    kind = 3 if name in START_AT_4 else kind
    for shape, pads in {  # of gan, of two halvings, of three, and of those that start at 4 pixels
        (32, 32, 3): (0, 0, 0, 0),
        (48, 32, 3): (0, 0, 0, 0),
        (30, 30, 1): (0, 1, 1, 1),
        (22, 38, 3): (0, 1, 1, 5),
        (20, 36, 3): (0, 0, 2, None),
    }.items():
        error, pad = refusal(tmp_path, name, shape, pad=default), pads[kind]
        if pad == default:
            assert error is None
        elif pad is None:
            assert error.pad is None and "--image-size" in str(error)
        else:
            assert error.pad == pad and str(error).endswith(f": set pad={pad}")
            padded = "x".join(str(side + 2 * default) for side in shape[:2])
            assert not default or f", {padded} with pad={default}, " in str(error)
            assert refusal(tmp_path, name, shape, pad=error.pad) is None


@pytest.mark.parametrize("name", START_AT_4)
def test_advice_about_other_sizes(tmp_path, name):
    error = refusal(tmp_path, name, (28, 20, 1), pad=2)
    assert error.pad is None and str(error) == (
        "images of 28x20 pixels, 32x24 with pad=2, are not 4xN or Nx4, doubled several times: "
        "resize them (--image-size 24x16 or 48x32) and set pad=0, or use another recipe: gan takes "
        "any size, dcgan and quick take multiples of 4"
    )
    error = refusal(tmp_path, name, (33, 20, 1), pad=0)
    assert "--image-size 28x16 or 56x32), or use another recipe: gan takes any size" in str(error)
    assert "dcgan" not in str(error)
    for size in ((24, 16), (48, 32), (28, 16), (56, 32)):
        assert refusal(tmp_path, name, (*size, 1), pad=0) is None
    for other in ("gan", "dcgan", "quick"):
        assert refusal(tmp_path, other, (28, 20, 1)) is None


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_one_pixel(tmp_path, name):
    error = refusal(tmp_path, name, (1, 1, 1))
    assert error is None if name == "gan" else "images of 1x1 pixels" in str(error)


def test_a_size_that_only_one_of_two_networks_can_have(tmp_path):
    """G of biggan can have 8x10 pixels; D cannot halve the 10 twice."""
    for pad, shape in ((0, (8, 10, 3)), (1, (6, 8, 3))):
        assert "cannot be halved 2 times" in str(refusal(tmp_path, "biggan", shape, pad=pad))
    assert refusal(tmp_path, "biggan", (8, 12, 3), pad=0) is None


@pytest.mark.parametrize("name", recipes.RECIPES)
@pytest.mark.parametrize(
    "channels, advice",
    [
        (2, "leave one of them out: images[..., :1]"),
        (4, "leave out the alpha channel: images[..., :3]"),
        (5, "choose one or three of them, such as images[..., :3]"),
    ],
)
def test_other_numbers_of_channels_are_refused(tmp_path, name, channels, advice):
    assert str(refusal(tmp_path, name, (32, 32, channels))) == (
        f"images must have one channel (grey) or three (RGB); no recipe takes {channels}: {advice}"
    )


def test_images_that_are_too_large_for_a_run_are_refused(tmp_path):
    large = refusal(tmp_path, "gan", (1028, 4, 1))
    assert "1028x4 pixels are too large: no recipe takes them: resize" in str(large)
    padded = refusal(tmp_path, "gan", (4, 1024, 1), pad=2)
    assert str(padded).endswith("too large with pad=2: no recipe takes them: set pad=0")
    assert refusal(tmp_path, "gan", (4, 1024, 1), pad=0) is None


# ---- Augmentation ----


def moments(image):
    """The brightness of an image (H, W), its centre (x, y) in pixels, counted from the centre of
    the frame, and its covariance (2, 2)."""
    height, width = image.shape
    y, x = np.mgrid[:height, :width]
    positions = np.stack([x - (width - 1) / 2, y - (height - 1) / 2], -1).reshape(-1, 2)
    weights = image.ravel() / image.sum()
    centre = weights @ positions
    away = positions - centre
    return image.sum(), centre, (away * weights[:, None]).T @ away


@pytest.mark.parametrize("degrees", [90, 180, 30, -75])
@pytest.mark.parametrize("size", [(32, 48), (48, 32)])
def test_a_rotation_keeps_the_shape_of_things(size, degrees):
    """A small rectangle turns about the centre of the frame by the angle, and is not sheared."""
    image = np.zeros(size, np.float32)
    row, column = size[0] // 2, size[1] // 2
    image[row - 6 : row - 2, column - 2 : column + 8] = 1
    rotate = lambda image: host(
        geometry.warp(tensor(image[None, ..., None]), geometry.rotate2d(np.deg2rad([degrees])))
    )[0, ..., 0]
    turned = rotate(image)
    assert turned.shape == size
    near = np.hypot(*np.mgrid[: size[0], : size[1]] - np.reshape([row, column], (2, 1, 1))) < 13
    turned = turned * near  # without its mirror images beyond the border
    # The map goes from the output to the input.
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    back = np.array([[cos, sin], [-sin, cos]])
    before, after = moments(image), moments(turned)
    assert after[0] == pytest.approx(before[0], rel=0.03)
    assert np.allclose(after[1], back @ before[1], atol=0.2)
    assert np.allclose(after[2], back @ before[2] @ back.T, atol=0.4)
    # The same as in a square frame.
    border = [((48 - side) // 2, (48 - side) // 2) for side in size]
    inner = tuple(slice(low, 48 - high) for low, high in border)
    assert np.allclose(turned, rotate(np.pad(image, border))[inner] * near, atol=1e-4)


def test_scales_and_shifts_are_in_pixels():
    image = np.zeros((32, 48), np.float32)
    image[12:16, 18:30] = 1
    maps = geometry.translate2d(np.array([-9.0]), np.array([4.0]))
    shifted = host(geometry.warp(tensor(image[None, ..., None]), maps))[0, ..., 0]
    assert np.allclose(shifted, np.roll(image, (-4, 9), (0, 1)), atol=1e-5)
    maps = geometry.scale2d(np.array([0.5]), np.array([0.5]))  # twice as large
    large = host(geometry.warp(tensor(image[None, ..., None]), maps))[0, ..., 0]
    before, after = moments(image), moments(large)
    assert np.allclose(after[1], 2 * before[1], atol=0.05)
    assert np.allclose(after[2], 4 * before[2], rtol=0.03, atol=0.1)


def test_general_and_diagonal_maps_agree():
    x = tensor(np.random.default_rng(0).standard_normal((2, 16, 24, 3), dtype=np.float32))
    maps = geometry.scale2d(np.array([1.1, 0.8]), 1.2) @ geometry.translate2d(
        np.array([2.3, -1.0]), np.array([0.4, 1.7])
    )
    nearly = maps.copy()
    nearly[:, 0, 1] = 1e-12  # no longer diagonal
    diagonal = host(geometry.warp(x, maps))
    assert np.allclose(diagonal, host(geometry.warp(x, nearly)), atol=1e-4)
    assert np.allclose(diagonal, host(geometry.warp_diagonal(x, lambda: maps)), atol=1e-5)


@pytest.mark.parametrize("size", [(16, 40), (40, 16)])
def test_shifts_and_cutouts_are_shares_of_each_side(size):
    ones = tensor(np.ones((400, *size, 1), np.float32))
    zeros = lambda pipe: host(pipe(ones, np.random.default_rng(0)))[..., 0] == 0
    for axis, side in enumerate(size):
        # An eighth of the side is uncovered at most, at either end.
        rows = zeros(DiffAugment("translation")).all(2 - axis).sum(1)
        assert rows.max() == side // 8 and rows.min() == 0
        for pipe in (DiffAugment("cutout"), ADA("cutout", 1.0)):
            cut = zeros(pipe).any(2 - axis).sum(1)
            assert cut.max() == side // 2


# ---- Pictures and commands ----


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("styles") / "run"
    data = dataset(16, 24, 3)
    trainer(out, "stylegan2", data, pad=0, steps=2, sample_every=1, lr=0.1).run(progress=False)
    return out


def frames(path):
    with Image.open(path) as picture:
        return picture.size, getattr(picture, "n_frames", 1)


@pytest.mark.cpu
def test_the_commands_show_the_whole_images(run, tmp_path, capsys):
    def command(*words):
        assert main([str(word) for word in words]) == 0

    command("sample", run, "-n", 6, "-o", tmp_path / "s.png")
    assert frames(tmp_path / "s.png") == ((2 * (3 * 26 + 2), 2 * (2 * 18 + 2)), 1)  # 2 classes
    command("sample", run, "-n", 3, "-o", tmp_path / "s.npz")
    images = np.load(tmp_path / "s.npz")["images"]
    assert images.shape == (3, 16, 24, 3)
    command("sample", run, "-n", 2, "--label", 0, "-o", tmp_path / "s.gif")
    assert frames(tmp_path / "s.gif") == ((8 * 28, 8 * 20), 24)
    command("animate", run, "-o", tmp_path / "a.gif")
    width, height = frames(run / "samples" / "step-00000002.png")[0]
    assert frames(tmp_path / "a.gif")[0] == (width // 2, height // 2)
    command("mix", run, "-n", 2, "--rows", 1, "-o", tmp_path / "m.png")
    width, height = frames(tmp_path / "m.png")[0]
    assert width > 2 * (3 * 26 + 2) and height == 2 * (4 * 18 + 2)  # with words at its left
    capsys.readouterr()
    command("noise", run, "-n", 2, "--draws", 2, "-o", tmp_path / "n.png")
    out = capsys.readouterr().out
    assert "noise only up to 4x6; noise only from 8x12" in out
    assert re.search(r"blocks.2.1.activation.noise +16x24 ", out)
    width, height = frames(tmp_path / "n.png")[0]
    assert width >= 2 * (7 * 26 + 2) and height > 2 * (2 * 18 + 2)  # with words


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_to_project_are_cropped_not_squeezed(run, tmp_path, channels):
    """A disc stays a disc of the same share of the height, in the middle."""
    config = json.loads((run / "config.json").read_text()) | {"image_shape": [16, 24, channels]}
    found = []
    for width, height in ((600, 160), (240, 160), (240, 400)):
        picture = Image.new("RGB", (width, height))
        x, y, radius = width / 2, height / 2, 50
        corners = x - radius, y - radius, x + radius - 1, y + radius - 1
        ImageDraw.Draw(picture).ellipse(corners, fill=(255, 255, 255))
        picture.save(tmp_path / f"{width}.png")
        found.append(pictures.read(tmp_path / f"{width}.png", channels, (16, 24)))
    assert found[0].shape == (16, 24, channels)
    for image in found:
        _, centre, covariance = moments(image[..., 0].astype(float))
        assert np.allclose(centre, 0, atol=0.05)
        assert np.allclose(covariance, np.eye(2) * 25 / 4, atol=0.3)
    args = type("Args", (), {"images": [tmp_path / "600.png"], "data": None, "data_dir": None})
    names, images = styles.images_to_project(args, config, None)
    assert np.array_equal(images, found[0][None])


@pytest.mark.cpu
@pytest.mark.parametrize("shape", [(16, 40, 3), (40, 16, 1), (1, 300, 3)])
def test_the_picture_of_a_search_fits_its_images(tmp_path, shape):
    rows = np.zeros((2, 3, *shape), np.uint8)
    path = tmp_path / "c.png"
    plots.save_convergence(path, rows, ["a", "b", "image"], np.ones((5, 2)), "distance")
    inches = 2.4 + 2 * 0.95 * min(max(shape[0] / shape[1], 0.2), 5)
    assert frames(path)[0] == (297, int(110 * inches))
