"""Tools for a trained G with styles: mixing, noise, walks, truncation, the projector, path length
and separability."""

import copy
import json

import numpy as np
import pytest
from host import host
from test_cli import fails

from tinygan import data, nn, no_grad, ops, plots, tensor
from tinygan.cli import main
from tinygan.data import pictures
from tinygan.errors import InputError
from tinygan.metrics import path_length, perceptual, separability
from tinygan.training import projector
from tinygan.training.sampling import generate, latents, load_generator, truncate

TINY = (
    "--steps 3 --batch-size 8 --set g_channels=2 d_channels=2 max_channels=4 style=6 "
    "mapping_layers=2 latent=5 lr=0.05 path_every=1"
).split()


def run_command(*words):
    """Run a command of `tinygan`, which must succeed."""
    assert main([str(word) for word in words]) == 0


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A tiny conditional run, whose noise and styles have an effect."""
    out = tmp_path_factory.mktemp("styles") / "run"
    run_command("train", "stylegan2", *TINY, "--out", out)
    return out


@pytest.fixture(scope="module")
def G(run):
    return load_generator(run)[0]


def pixels(path):
    return pictures.read(path, 1)[..., 0]


def cells(path, columns, gap=2, scale=2):
    """The images (rows, columns, 32, 32) of a grid in a file, which has labels on its left."""
    grid = pixels(path)[:, -scale * (columns * (32 + gap) + gap) :][::scale, ::scale]
    rows, start = (len(grid) - gap) // (32 + gap), lambda i: gap + i * (32 + gap)
    cell = lambda r, c: grid[start(r) : start(r) + 32, start(c) : start(c) + 32]
    return np.stack([[cell(r, c) for c in range(columns)] for r in range(rows)])


def test_a_labelled_grid_keeps_its_pixels():
    sheet = plots.grid(np.random.default_rng(0).integers(256, size=(6, 9, 9, 1), dtype=np.uint8), 3)
    assert np.array_equal(plots.labelled(sheet), sheet)
    picture = plots.labelled(sheet, ["threshold 0.5", "1"], ["0", "1", "2"])
    height, width, _ = sheet.shape
    assert np.array_equal(picture[-height:, -width:], sheet)
    above, left = picture[:-height, -width:], picture[-height:, :-width]
    assert all((part != 48).any() for part in np.array_split(above, 3, 1))
    first, second = np.array_split(left, 2)
    assert (first != 48).sum() > (second != 48).sum() > 0
    assert (picture[:-height, :-width] == 48).all()


def test_style_mixing(run, G, tmp_path, capsys):
    run_command("mix", run, "-n", 4, "--rows", 2, "-o", tmp_path / "mix.png")
    assert "rows 3-4  middle  styles 3-4" in capsys.readouterr().out
    grid = cells(tmp_path / "mix.png", 5)
    assert grid.shape[:2] == (7, 5)
    rng = np.random.default_rng(0)
    with no_grad():
        columns = host(G.styles(latents(rng, 4, G), np.arange(4)))
        rows = host(G.styles(latents(rng, 2, G), (2 + np.arange(2)) % 10))
    assert np.array_equal(grid[0, 1:], generate(G.synthesis, tensor(columns))[..., 0])
    assert np.array_equal(grid[1:3, 0], generate(G.synthesis, tensor(rows))[..., 0])
    ws = np.concatenate([columns[3:, :3], rows[1:, 3:]], 1)
    assert np.array_equal(grid[2, 4], generate(G.synthesis, tensor(ws))[0, ..., 0])
    ws = np.concatenate([rows[:1, :5], columns[1:2, 5:]], 1)
    assert np.array_equal(grid[5, 2], generate(G.synthesis, tensor(ws))[0, ..., 0])


def test_noise_on_and_off(run, G, tmp_path, capsys):
    run_command("noise", run, "-n", 3, "--draws", 4, "-o", tmp_path / "noise.png")
    out = capsys.readouterr().out
    assert (
        "blocks.3.1.activation.noise   32x32" in out
        and "noise only up to 8x8; noise only from 16x16" in out
    )
    grid = cells(tmp_path / "noise.png", 3).swapaxes(0, 1)
    assert grid.shape[:2] == (3, 7) and grid[:, 3].max() == 255
    z, labels = latents(np.random.default_rng(0), 3, G), np.arange(3)
    assert np.array_equal(grid[:, 0], generate(G, z, labels)[..., 0])
    without_noise = copy.deepcopy(G)
    for _, module in without_noise.modules():
        if isinstance(module, nn.Noise):
            module.strength.assign(np.zeros(()))
    assert np.array_equal(grid[:, 4], generate(without_noise, z, labels)[..., 0])
    assert not np.array_equal(grid[:, 1], grid[:, 2]) and not np.array_equal(grid[:, 5], grid[:, 6])


def test_a_walk_through_w(run, G, tmp_path, capsys):
    from PIL import Image

    sample = "sample", run, "-n", 2, "--label", 3
    run_command(*sample, "--walk", "styles", "-o", tmp_path / "w.gif")
    run_command(*sample, "-o", tmp_path / "z.gif")
    frames = []
    for name in "wz":
        with Image.open(tmp_path / f"{name}.gif") as gif:
            assert gif.n_frames == 24
            gif.seek(6)
            frames.append(np.asarray(gif.convert("L"))[16:272:8, 16:272:8])
    with no_grad():
        ws = G.styles(latents(np.random.default_rng(0), 2, G), np.array([3, 3]))
        middle = generate(G.synthesis, ws[:1] * 0.5 + ws[1:] * 0.5)[0, ..., 0]
    distances = [np.abs(frame.astype(int) - middle).mean() for frame in frames]
    assert distances[0] < distances[1]


def test_truncation_in_w(run, G, tmp_path, capsys):
    run_command("sample", run, "-n", 4, "--truncation", 0.5, "-o", tmp_path / "a.npz")
    truncated = copy.deepcopy(G)
    truncate(truncated, 0.5, None)
    z, labels = latents(np.random.default_rng(0), 4, G), np.arange(4)
    assert np.array_equal(host(z), host(latents(np.random.default_rng(0), 4, G, 0.5)))
    images = np.load(tmp_path / "a.npz")["images"]
    assert np.array_equal(images, generate(truncated, z, labels))
    assert not np.array_equal(images, generate(G, z, labels))
    assert "psi must be between -2 and 2" in fails(
        capsys, "sample", run, "--truncation", "3", "-o", tmp_path / "b.png"
    )
    output = tmp_path / "t.png"
    run_command("truncation", run, "-n", 20, "--thresholds", 0.5, 1, "-o", output)
    assert "psi" in capsys.readouterr().out
    assert cells(tmp_path / "t-grid.png", 10).shape[:2] == (2, 10)


# The projector


def test_projector(G):
    with no_grad():
        ws = G.styles(latents(np.random.default_rng(3), 2, G), np.array([1, 2]))
        target = G.synthesis(ws).data
    found = projector.project(G, target, "digits", steps=60, stages=3)
    first, last = found.distances[0], found.distances[-1]
    assert found.distances.shape == (60, 2) and (last < 0.2 * first).all()
    assert [step for step, _ in found.stages] == [0, 30, 60] and found.ws.shape == (2, 8, 6)
    assert np.array_equal(found.stages[-1][1], found.ws)
    assert np.array_equal(found.ws[:, 0], found.ws[:, 5])
    assert np.allclose(found.stages[0][1][0], found.stages[0][1][1])  # they start at the mean of w
    again = projector.project(G, target, "digits", steps=60, stages=3)
    assert np.array_equal(again.ws, found.ws)
    per_layer = projector.project(G, target, "digits", steps=60, per_layer=True)
    assert not np.array_equal(per_layer.ws[:, 0], per_layer.ws[:, 5])


def test_the_command_project(run, tmp_path, capsys):
    output = tmp_path / "p.png"
    run_command("project", run, "--test", 1, 5, "--steps", 10, "-o", output)
    out = capsys.readouterr().out
    assert "test 5" in out and output.exists()
    saved = np.load(tmp_path / "p-styles.npz")
    images = data.load("digits", "test").images[[1, 5]]
    assert np.array_equal(saved["images"][:, 2:-2, 2:-2], images) and saved["ws"].shape == (2, 8, 6)
    plots.save_image(tmp_path / "seven.png", images[0].repeat(3, 2))
    run_command("project", run, "--steps", 10, "-o", output, "--images", tmp_path / "seven.png")
    assert np.array_equal(np.load(tmp_path / "p-styles.npz")["images"], saved["images"][:1])


def test_mistakes(run, tmp_path, capsys):
    out = ["-o", tmp_path / "x.png"]
    assert "none.png is not a picture that can be read" in fails(
        capsys, "project", run, "--images", tmp_path / "none.png", *out
    )
    (tmp_path / "text.png").write_text("no picture")
    assert "text.png is not a picture that can be read" in fails(
        capsys, "project", run, "--images", tmp_path / "text.png", *out
    )
    assert "the test images are numbered 0 to 1999" in fails(
        capsys, "project", run, "--test", "2000", *out
    )
    assert "must end in .png" in fails(capsys, "mix", run, "-o", tmp_path / "x.gif")
    other = tmp_path / "dcgan"
    settings = "--steps 2 --batch-size 4 --set g_channels=2 d_channels=2".split()
    run_command("train", "dcgan", *settings, "--out", other)
    capsys.readouterr()
    for command in "mix", "noise", "project", "ppl", "separability":
        assert "the G of dcgan has no styles" in fails(capsys, command, other, *out)
    assert "the G of dcgan has no styles" in fails(
        capsys, "sample", other, "--walk", "styles", "-o", tmp_path / "x.gif"
    )
    assert not (tmp_path / "x.png").exists()
    assert "not allowed with" in fails(
        capsys, "project", run, "--images", "a.png", "--test", "1", *out
    )
    assert "all paths between them have length 0" in fails(
        capsys, "ppl", run, "-n", "10", "--truncation", "0", *out
    )
    assert not [*tmp_path.glob("x*")]
    assert "4 is not between 10 and" in fails(capsys, "ppl", run, "-n", "4", *out)
    assert "20 is not between 80 and" in fails(capsys, "separability", run, "-n", "20", *out)
    with pytest.raises(InputError, match="10 images are too few"):
        separability.separability(np.ones((10, 2)), {"a": (np.arange(10), np.ones(10, bool))})


# Perceptual distance and path length


def test_perceptual_distance():
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (3, 32, 32, 1))
    embed = perceptual.Perceptual("digits", "float64")
    found = perceptual.squared_distance(
        embed(tensor(images[:1])), embed(tensor(images[1:2]))
    ).item()
    net = embed.layers
    maps = [[], []]
    for k in range(2):
        x = tensor(images[k : k + 1, 2:-2, 2:-2])
        for i, layer in enumerate(net):
            x = layer(x)
            if i in (3, 7, 11):
                maps[k].append(host(x)[0])
    expected = 0.0
    for a, b in zip(*maps):
        a, b = (m / np.sqrt((m**2).sum(2, keepdims=True) + 1e-10) for m in (a, b))
        expected += ((a - b) ** 2).sum(2).mean()
    assert np.isclose(found, expected)
    assert [m.shape for m in maps[0]] == [(14, 14, 32), (7, 7, 64), (3, 3, 128)]
    assert np.allclose(host(embed(tensor(images))), host(embed(tensor(images[:, 2:-2, 2:-2]))))
    squared_norm = lambda images: (host(embed(tensor(images))) ** 2).sum(1)
    assert np.allclose(squared_norm(images.repeat(3, 3)), 3 * squared_norm(images))


class Linear(nn.StyleGenerator):
    """A G with w = 3 z, whose images are a linear map of w."""

    def __init__(self):
        self.a = np.random.default_rng(1).standard_normal((4, 6))
        self.latent, self.classes, self.style_layers, self.psi, self.mixing = 4, None, 2, 1.0, 0.0
        self.mapping = lambda z, labels: z * 3.0

    def synthesis(self, ws):
        return ops.matmul(ws[:, 0], tensor(self.a))


@pytest.fixture
def linear_G(monkeypatch):
    """A G with known path lengths. The distances are those of the images, without a network."""
    monkeypatch.setattr(path_length, "Perceptual", lambda name, dtype: lambda images: images)
    return Linear().eval()


@pytest.mark.parametrize("ends", [False, True])
def test_path_lengths_are_squared_speeds(linear_G, ends):
    rng, n = np.random.default_rng(0), 20
    a, b = (rng.standard_normal((n, 4)) for _ in range(2))
    t = np.zeros((n, 1)) if ends else rng.random((n, 1))
    found = path_length.path_lengths(linear_G, "digits", n, "w", ends)
    assert np.allclose(found, ((3 * (b - a) @ linear_G.a) ** 2).sum(1), rtol=1e-6)
    found = path_length.path_lengths(linear_G, "digits", n, "z", ends)
    step = 1e-6
    ahead, back = (path_length.slerp(a, b, t + s) for s in (step + 5e-5, -step + 5e-5))
    assert np.allclose(
        found, ((3 * 4**0.5 * (ahead - back) / (2 * step) @ linear_G.a) ** 2).sum(1), rtol=1e-4
    )


def test_great_circles():
    a, b = np.array([[2.0, 0, 0]]), np.array([[0, 3.0, 0]])
    half = path_length.slerp(a, b, np.array([[0.5]]))
    assert np.allclose(half, [[0.5**0.5, 0.5**0.5, 0]])
    assert np.allclose(path_length.slerp(a, b, np.ones((1, 1))), [[0, 1, 0]])


def test_the_mean_path_length_is_trimmed():
    lengths = np.arange(1.0, 1001.0)
    lengths[-1] = 1e9
    # The percentiles 1 and 99 are at indices 9.99 and 989.01, but limits are rounded outwards.
    assert path_length.perceptual_path_length(lengths) == np.mean(lengths[9:991])
    with pytest.raises(InputError, match="9 paths are too few"):
        path_length.perceptual_path_length(np.ones(9))


def test_ppl(run, tmp_path, capsys):
    output = tmp_path / "ppl.png"
    run_command("ppl", run, "-n", 12, "-o", output)
    numbers = json.loads((tmp_path / "ppl-numbers.json").read_text())["perceptual_path_length"]
    assert [*numbers] == ["Z, full", "Z, ends", "W, full", "W, ends"]
    assert all(value > 0 for value in numbers.values())
    assert output.exists() and "Shorter is smoother" in capsys.readouterr().out


# Separability


def test_ink_statistics():
    upright, thick, leaning = np.zeros((3, 28, 28, 1), np.uint8)
    upright[6:22, 14] = 255
    thick[6:22, 12:17] = 255
    leaning[np.arange(6, 22), 25 - np.arange(6, 22)] = 255
    found = separability.ink_statistics(np.stack([upright, thick, leaning]))
    assert np.allclose(found["ink"], [16 * 255 / 784, 5 * 16 * 255 / 784, 16 * 255 / 784])
    assert np.allclose(found["slant"], [0, 0, 1])
    assert np.allclose(found["height"], np.arange(16).std())
    assert np.allclose(found["width"], [0, np.arange(5).std(), np.arange(16).std()])
    separability.ink_statistics(
        np.zeros((1, 28, 28, 1), np.uint8)
    )  # an empty image raises no error


def test_the_hyperplane_minimises_its_loss():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 4))
    y = x @ [1.0, -2.0, 0.0, 0.5] + 0.3 * rng.standard_normal(300) > 0.4
    direction, offset = separability.hyperplane(x, y)
    assert ((x @ direction + offset > 0) == y).mean() > 0.9

    def loss(v):
        margins = np.where(y, 1, -1) * (x @ v[:4] + v[4])
        return 5e-4 * v[:4] @ v[:4] + (np.maximum(1 - margins, 0) ** 2).mean()

    minimum = np.append(direction, offset)
    assert all(loss(minimum) <= loss(minimum + 1e-2 * rng.standard_normal(5)) for _ in range(50))


def test_conditional_entropy():
    y = np.array([0, 0, 1, 1], bool)
    assert separability.conditional_entropy(y, y) == separability.conditional_entropy(y, ~y) == 0
    assert np.isclose(separability.conditional_entropy(y, np.array([0, 1, 0, 1], bool)), np.log(2))
    assert np.isclose(
        separability.conditional_entropy(y, np.array([1, 1, 1, 0], bool)),
        0.75 * -(2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3)),
    )


def test_a_plane_is_separable_and_a_shell_is_not():
    rng = np.random.default_rng(0)
    z, everything = rng.standard_normal((2000, 5)), np.arange(2000)
    found = {"plane": (everything, z[:, 2] > 0), "shell": (everything, (z**2).sum(1) > 4.35)}
    entropies = separability.separability(z, found)
    assert entropies["plane"] < 0.05 and 0.65 < entropies["shell"] < 0.7


def test_attributes_have_the_most_certain_half_of_the_images():
    images = np.zeros((6, 28, 28, 1), np.uint8)
    for k in range(6):
        images[k, : k + 1] = 200  # each image has more ink
    probabilities = np.full((6, 10), 0.05)
    probabilities[np.arange(6), [3, 3, 4, 4, 5, 5]] = [0.9, 0.3, 0.8, 0.2, 0.7, 0.1]
    found = separability.attributes(images, probabilities)
    index, more = found["ink"]
    assert set(index) <= {0, 5, 1, 4} and np.array_equal(more, index >= 3)
    index, it_is = found["class 4"]
    assert index.tolist() == [0, 2, 4] and it_is.tolist() == [False, True, False]
    assert len(found) == 14
    assert set(separability.attributes(images)) == {"ink", "slant", "width", "height"}


def test_separability_of_a_run(run, tmp_path, capsys):
    output = tmp_path / "s.png"
    run_command("separability", run, "-n", 200, "-o", output)
    numbers = json.loads((tmp_path / "s-numbers.json").read_text())
    assert output.exists() and numbers["separability"].keys() == {"Z", "W"}
    entropies = numbers["conditional_entropy"]["W"]
    assert np.isclose(numbers["separability"]["W"], np.exp(sum(entropies.values())))
    assert "Z is z together with the class" in capsys.readouterr().out
