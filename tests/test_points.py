"""2-D points: their distributions, metrics, training, pictures, and what is refused."""

import contextlib
import json
import re
import shutil

import numpy as np
import pytest
from test_cli import fails, succeeds
from test_recorded import unrecorded

from tinygan import data, metrics, plots
from tinygan.data import Points, pictures
from tinygan.data.points import DISTRIBUTIONS, SIZES, Curves
from tinygan.errors import InputError
from tinygan.files import checkpoint, schema
from tinygan.metrics.points import PointsEvaluator, energy_distance, mode_metrics
from tinygan.training import recipes
from tinygan.training.sampling import generate, load_generator
from tinygan.training.trainer import Trainer

ALL = list(DISTRIBUTIONS)
CONDITIONAL = {"g_class": "concat", "d_class": "projection"}


def start(out, dataset="ring", recipe="gan", **settings):
    recipe = recipes.find(recipe)
    dataset = data.load(dataset) if isinstance(dataset, str) else dataset
    tiny = {"steps": 12, "batch_size": 8, "hidden": 8, "sample_every": 50, "checkpoint_every": 6}
    settings = recipe.settings(for_points=True).updated({**tiny, **settings})
    return Trainer.start(recipe, settings, dataset, out)


@pytest.fixture(autouse=True)
def few_points_drawn(request, monkeypatch):
    """Let runs write their pictures as text, except in tests marked `curves`."""

    def write(path, samples, real, labels=None, title="", real_folder=False):
        path.write_bytes(repr((samples.tolist(), title)).encode())

    if not request.node.get_closest_marker("curves"):
        monkeypatch.setattr(plots, "save_scatter", write)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A tiny run on a ring, with evaluations and pictures."""
    out = tmp_path_factory.mktemp("points") / "run"
    words = "--steps 3 --batch-size 4 --set hidden=8 sample_every=2 eval_every=2 eval_images=100"
    succeeds("train", "gan", "--data", "ring", "--out", out, *words.split())
    return out


# ---- the distributions ----


@pytest.mark.parametrize("name", ALL)
def test_points_are_the_same_for_everyone_and_the_splits_differ(name):
    train, again, test = data.load(name), data.load(name), data.load(name, "test")
    assert isinstance(train, Points) and train.image_shape == (2,)
    assert train.images.dtype == np.float32 and train.images.flags.c_contiguous
    assert (len(train), len(test)) == (SIZES["train"], SIZES["test"]) == (50_000, 10_000)
    assert np.array_equal(train.images, again.images)
    assert np.array_equal(train.labels, again.labels)
    assert not (train.images[:100] == test.images[:100]).any()


@pytest.mark.parametrize("name", ALL)
def test_all_modes_are_equally_likely(name):
    counts = np.bincount(data.load(name).labels, minlength=DISTRIBUTIONS[name].modes)
    expected = 50_000 / len(counts)
    assert np.abs(counts - expected).max() < 4.5 * expected**0.5


def test_the_ring_is_eight_gaussians():
    ring = data.load("ring")
    angles = ring.labels * np.pi / 4
    noise = ring.images - 2 * np.stack([np.cos(angles), np.sin(angles)], 1)
    assert ring.num_classes == 8
    assert np.abs(noise.mean(0)).max() < 0.0005
    np.testing.assert_allclose(noise.std(0), 0.02, rtol=0.02)
    np.testing.assert_allclose(np.hypot(*ring.images.T).mean(), 2.0, atol=0.001)


def test_the_grid_is_25_gaussians():
    grid = data.load("grid")
    means = np.array([(x, y) for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)])
    noise = grid.images - means[grid.labels]
    np.testing.assert_allclose(noise.std(0), 0.05, rtol=0.02)
    assert np.abs(noise.mean(0)).max() < 0.001
    np.testing.assert_allclose(grid.images.var(0), 8 + 0.05**2, rtol=0.02)


def test_the_radius_of_the_spiral_is_proportional_to_its_angle():
    spiral = data.load("spiral")
    radius = np.hypot(*spiral.images.T)
    # r = t / 5 for angles t from 1.5 pi to 4.5 pi; the label tells the turn.
    middle = 1.5 * np.pi + (spiral.labels + 0.5) * np.pi / 4
    angle = np.arctan2(*spiral.images.T[::-1])
    angle += 2 * np.pi * np.rint((middle - angle) / (2 * np.pi))
    assert np.abs(angle - middle).max() < np.pi / 8 + 0.25  # with the noise
    noise = radius - angle / 5
    assert abs(noise.mean()) < 0.002  # the bend moves it by deviation^2 / 2r, and chords by less
    np.testing.assert_allclose(noise.std(), 0.05, rtol=0.05)
    np.testing.assert_allclose(radius.mean(), 0.6 * np.pi, rtol=0.01)


def test_the_moons_are_two_half_circles():
    moons = data.load("moons")
    upper = moons.labels < 4
    for part, centre, sign in ((upper, (-1, -0.2), 1), (~upper, (1, 0.8), -1)):
        offsets = moons.images[part] - np.array(centre)
        noise = np.hypot(*offsets.T) - 2.0
        assert abs(noise.mean() - 0.1**2 / 4) < 0.004
        np.testing.assert_allclose(noise.std(), 0.1, rtol=0.03)
        np.testing.assert_allclose(sign * offsets[:, 1].mean(), 4 / np.pi, rtol=0.02)


def test_the_checkerboard_is_even_on_its_dark_squares():
    board = data.load("checkerboard")
    cells = np.floor((board.images + 4) / 2)
    assert (cells.sum(1) % 2 == 0).all() and board.num_classes == 8
    assert len(np.unique(cells, axis=0)) == 8
    within = (board.images + 4) / 2 - cells
    np.testing.assert_allclose(within.mean(0), 0.5, atol=0.005)
    np.testing.assert_allclose(within.var(0), 1 / 12, rtol=0.02)


@pytest.mark.cpu
@pytest.mark.parametrize("name", ALL)
def test_nearly_all_real_points_are_good(name):
    test, distribution = data.load(name, "test"), DISTRIBUTIONS[name]
    metric = mode_metrics(distribution.distances(test.images), test.labels)
    gaussian = 1 - np.exp(-4.5)  # of three deviations in two dimensions
    gaussians = dict.fromkeys(("ring", "grid", "two-gaussians"), gaussian)
    lowest = (gaussians | {"checkerboard": 1.0}).get(name, 0.9973)
    assert metric["good_samples"] >= lowest - 0.004
    assert metric["class_accuracy"] >= lowest - 0.004
    assert metric["modes_found"] == metric["modes"] == distribution.modes
    assert metric["mode_kl"] < 0.005


@pytest.mark.cpu
@pytest.mark.parametrize("name, blur", [(name, 0.1) for name in ALL] + [("moons", 0.0)])
def test_the_density_is_that_of_the_points_that_are_drawn(name, blur):
    """Against counts in cells: the density at their centres, averaged over each cell."""
    distribution, rng, n = DISTRIBUTIONS[name], np.random.default_rng(3), 400_000
    points, _ = distribution.draw(rng, n)
    points = points + blur * rng.standard_normal(points.shape)
    edges, fine = np.linspace(-6, 6, 61), 8
    counts, _, _ = np.histogram2d(*points.T, bins=[edges, edges])
    axis = (edges[:-1, None] + 0.2 / fine * (np.arange(fine) + 0.5)).ravel()
    x, y = np.meshgrid(axis, axis, indexing="ij")
    density = distribution.density(np.stack([x.ravel(), y.ravel()], 1), blur)
    expected = n * 0.04 * density.reshape(60, fine, 60, fine).mean((1, 3))
    assert expected.sum() == pytest.approx(n, rel=2e-3)
    seen = expected > 50
    chi_square = ((counts - expected)[seen] ** 2 / expected[seen]).sum()
    assert chi_square < seen.sum() + 5 * (2 * seen.sum()) ** 0.5


@pytest.mark.cpu
def test_the_density_of_a_piece_is_the_integral_along_it():
    from scipy.integrate import quad

    piece = Curves("", np.array([[[0.0, 1.0], [3.0, 5.0]]]), 0.3)
    for point in ([1.0, 2.0], [3.5, 5.5], [-1.0, 0.5], [9.0, 9.0]):
        at = lambda t: (
            np.exp(-((point[0] - 3 * t) ** 2 + (point[1] - 1 - 4 * t) ** 2) / 0.5) / (0.5 * np.pi)
        )
        integral = quad(at, 0, 1, epsabs=0, epsrel=1e-10, points=[0.2, 0.5])[0]
        density = piece.density(np.array([point]), blur=0.4)[0]  # .3^2 + .4^2 = .5^2
        assert density == pytest.approx(integral, rel=1e-6)


@pytest.mark.cpu
def test_the_density_without_blur():
    board, ring = DISTRIBUTIONS["checkerboard"], DISTRIBUTIONS["ring"]
    assert board.density(np.array([[-3.0, -3.0], [-3.0, -1.0]])).tolist() == [1 / 32, 0.0]
    peak = 1 / (8 * 2 * np.pi * 0.02**2)
    np.testing.assert_allclose(ring.density(np.array([[2.0, 0.0]])), peak)


def test_distances_to_modes_made_by_hand():
    ring = DISTRIBUTIONS["ring"].distances(np.array([[2.0, 0.06], [0.0, 0.0]]))
    np.testing.assert_allclose(ring[0, 0], 3.0)
    np.testing.assert_allclose(ring[1], np.full(8, 100.0))
    np.testing.assert_allclose(ring[0, 4], np.hypot(4, 0.06) / 0.02)

    # On the axis of the first moon, at its end, beyond its end, and inside.
    first = DISTRIBUTIONS["moons"].distances(
        np.array([[-1.0, 2.0], [1.0, -0.2], [1.0, -0.7], [-1.0, -0.2]])
    )
    np.testing.assert_allclose(first[0, 1:3], 2.0, atol=1e-6)
    assert first[0, 0] > 5 and first[0, 3] > 5
    np.testing.assert_allclose(first[1, 0], 0.0, atol=1e-6)
    np.testing.assert_allclose(first[2, 0], 5.0, atol=1e-6)
    np.testing.assert_allclose(first[3, :4], 20.0, rtol=0.002)  # chords: within 2 (1 - cos 1.4°)

    spiral = DISTRIBUTIONS["spiral"].distances(np.array([[0.0, -0.3 * np.pi]]))
    np.testing.assert_allclose(spiral[0, 0], 0.0, atol=1e-6)  # its beginning

    board = DISTRIBUTIONS["checkerboard"]
    corners = np.array([[-4.0, -4.0], [-2.0, -2.0], [-3.0, -1.0], [-4.001, -4.0]])
    inside = board.distances(corners)
    assert set(np.unique(inside)) == {0.0, np.inf}
    assert (inside == 0).sum(1).tolist() == [1, 2, 0, 0]


# ---- metrics ----


def near(distances, n, modes=3, k=0):
    """Return distances (n, modes) of n samples that are at `distances` from mode k, far from the
    others."""
    far = np.full((n, modes), 50.0)
    far[:, k] = distances
    return far


def test_a_mode_is_found_by_twenty_good_samples():
    for n, found in ((19, 1), (20, 2)):
        samples = np.concatenate([near(2.9, n), near(1.0, 40, k=1), near(3.1, 60, k=2)])
        metric = mode_metrics(samples)
        assert metric["modes_found"] == found and metric["modes"] == 3
        assert metric["mode_counts"] == [n, 40, 0]
        assert metric["good_samples"] == pytest.approx((n + 40) / (n + 100))
        p = np.array([n, 40]) / (n + 40)
        assert metric["mode_kl"] == pytest.approx(np.sum(p * np.log(3 * p)))


def test_a_sample_counts_for_the_nearest_mode_alone():
    samples = np.array([[1.0, 2.0, 9.0]] * 30)
    metric = mode_metrics(samples, np.ones(30, int))
    assert metric["mode_counts"] == [30, 0, 0] and metric["modes_found"] == 1
    assert metric["class_accuracy"] == 1.0  # all of them lie in the requested mode, too
    assert mode_metrics(samples, np.full(30, 2))["class_accuracy"] == 0.0


def test_without_a_good_sample_no_mode_is_found():
    metric = mode_metrics(np.full((50, 4), np.inf))
    assert metric["modes_found"] == 0 and metric["good_samples"] == 0.0
    assert "mode_kl" not in metric


def test_the_energy_distance_is_that_of_its_definition():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((7, 2)), rng.standard_normal((5, 2)) + 1
    mean = lambda a, b: np.mean([np.hypot(*(p - q)) for p in a for q in b])
    expected = 2 * mean(x, y) - mean(x, x) - mean(y, y)
    assert energy_distance(x, y) == pytest.approx(expected)
    assert energy_distance(x, x) == 0 and energy_distance(y, x) == pytest.approx(expected)
    assert energy_distance(np.zeros((3, 2)), np.full((4, 2), 3.0)) == pytest.approx(2 * 3 * 2**0.5)


def test_a_report_of_points():
    train, test = data.load("ring"), data.load("ring", "test")
    real = train.subset(slice(3000))
    report = metrics.evaluate(real.images, real.labels, test, train)
    assert report["modes_found"] == 8 and report["class_accuracy"] > 0.98
    assert report["energy_distance"] < 0.005 and report["energy_distance_train"] < 0.005
    assert (report["samples"], report["samples_energy"], report["real_energy"]) == (
        3000,
        2000,
        2000,
    )
    shifted = metrics.evaluate(real.images + np.float32(0.5), None, test)
    assert shifted["energy_distance"] > 0.1 and shifted["modes_found"] == 0
    assert not {"class_accuracy", "energy_distance_train", "mode_kl"} & shifted.keys()
    names = [name for name, _, _ in metrics.rows(report)]
    assert "modes found" in names and "FID" not in names and len(names) == 6
    assert "8 of 8" in [value for _, value, _ in metrics.rows(report)]
    quick = PointsEvaluator(test).quick(real.images)
    schema.evaluation({"step": 1, **quick}, "")


def test_points_of_an_unknown_distribution_have_an_energy_distance():
    own = Points("own", "test", np.eye(2, dtype=np.float32), np.array([0, 1]), ("a", "b"))
    report = metrics.evaluator_of(own).quick(own.images)
    assert report["energy_distance"] == 0 and "modes_found" not in report


@pytest.mark.parametrize(
    "samples", [np.zeros((9, 28, 28, 1), np.uint8), np.zeros((9, 3), np.float32), np.zeros((9, 2))]
)
def test_other_samples_are_refused(samples):
    with pytest.raises(InputError, match=r"samples of ring must be float32 \(N, 2\)"):
        metrics.evaluate(samples, None, data.load("ring", "test"))


def test_points_are_no_samples_of_images():
    with pytest.raises(InputError, match="images must be uint8"):
        few = data.load("digits", "test").subset(slice(20))
        metrics.evaluate(np.zeros((9, 2), np.float32), None, few)


# ---- a data set ----


def test_a_batch_holds_the_points_as_they_are():
    ring = data.load("ring")
    points, labels = ring.batch(3, 16, 0)
    indices = ring.batch_indices(3, 16, 0)
    assert points.dtype == np.float32 and np.array_equal(points, ring.images[indices])
    assert np.array_equal(labels, ring.labels[indices])


def test_parts_of_points_are_points():
    grid = data.load("grid")
    rest, held_out = grid.hold_out()
    assert (len(rest), len(held_out)) == (45_000, 5000)
    few = rest.balanced(50, 0)
    assert np.bincount(few.labels).tolist() == [2] * 25
    assert all(isinstance(part, Points) for part in (rest, held_out, few, grid.padded(0)))


@pytest.mark.parametrize(
    "points",
    [
        np.zeros((3, 2)),
        np.zeros((3, 3), np.float32),
        np.zeros((0, 2), np.float32),
        np.array([[0, np.nan]] * 3, np.float32),
        np.zeros((3, 28, 28, 1), np.uint8),
    ],
)
def test_wrong_points_are_refused(points):
    with pytest.raises(InputError, match=r"points must be float32 \(N, 2\), and finite, not"):
        Points("own", "train", points, np.zeros(len(points), int), ("a",))


def test_points_are_listed_and_need_no_folder(tmp_path, capsys):
    rows = {row.name: row for row in data.catalogue()}
    assert all(rows[name][1:4] == ("built in", 50_000, 10_000) for name in ALL)
    assert data.locate("ring") is None and data.holds_points("ring")
    assert not data.holds_points("digits") and not data.holds_points(None)
    with pytest.raises(InputError, match="ring is built into tinygan: leave --data-dir out"):
        data.load("ring", data_dir=tmp_path)


# ---- training ----


@pytest.mark.parametrize(
    "settings", [{}, CONDITIONAL, {"d_class": "auxiliary", "g_class": "concat"}]
)
def test_recorded_steps_compute_the_same_bits(tmp_path, settings):
    weights = []
    for name, how in (("a", contextlib.nullcontext), ("b", unrecorded)):
        with how():
            trainer = start(tmp_path / name, **settings)
            trainer.run(progress=False)
        weights.append(trainer.algorithm.G.state_dict() | trainer.algorithm.D.state_dict())
    assert weights[0].keys() == weights[1].keys()
    for key, array in weights[0].items():
        np.testing.assert_array_equal(array, weights[1][key], err_msg=key)


def test_a_resumed_run_is_the_same(tmp_path):
    whole = start(tmp_path / "whole", eval_every=4, eval_images=100, **CONDITIONAL)
    whole.run(progress=False)
    path = tmp_path / "half"
    shutil.copytree(tmp_path / "whole", path)
    (path / "checkpoint-00000012.npz").unlink()
    succeeds("train", "--resume", path)
    for name in ("log.jsonl", "eval.jsonl", "samples/step-00000012.png"):
        first, second = ((tmp_path / run / name).read_text() for run in ("whole", "half"))
        assert first == second, name
    states = [
        checkpoint.load(tmp_path / run / "checkpoint-00000012.npz")[0] for run in ("whole", "half")
    ]
    for part, arrays in states[0].items():
        for key, array in arrays.items():
            np.testing.assert_array_equal(array, states[1][part][key])
    assert json.loads((path / "config.json").read_text())["image_shape"] == [2]


def test_G_learns_where_the_points_are(tmp_path):
    trainer = start(tmp_path / "run", steps=150, batch_size=64, hidden=32, lr=2e-3, ema=0.9)
    evaluator = metrics.evaluator_of(trainer.held_out)
    before = evaluator.quick(generate(trainer.averaged_G(), trainer.gallery.latents))
    trainer.run(progress=False)
    after = evaluator.quick(generate(trainer.averaged_G(), trainer.gallery.latents))
    assert after["energy_distance"] < 0.6 * before["energy_distance"]


def test_the_best_G_is_that_of_the_lowest_energy_distance(tmp_path):
    trainer = start(tmp_path / "run", eval_every=3, eval_images=100)
    trainer.run(progress=False)
    rows = [json.loads(line) for line in (tmp_path / "run/eval.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [3, 6, 9, 12] and "fid" not in rows[0]
    best = min(rows, key=lambda row: row["energy_distance"])
    assert trainer.evaluation.best_score == best["energy_distance"]
    assert checkpoint.load(tmp_path / "run/best.npz")[1]["evaluation"] == best


def test_G_generates_points_of_any_size(tmp_path):
    trainer = start(tmp_path / "run")
    G = trainer.algorithm.G
    with_tanh = [type(layer).__name__ for _, layer in G.modules()]
    assert "Tanh" not in with_tanh and "Reshape" in with_tanh
    parameters = dict(G.named_parameters())
    bias = parameters[[name for name in parameters if name.endswith("bias")][-1]]
    bias.assign(np.array([5.0, -7.0], np.float32))
    points = generate(G, trainer.gallery.latents)
    assert points.dtype == np.float32 and points.shape == (2000, 2)
    np.testing.assert_allclose(points.mean(0), [5, -7], atol=0.5)


def test_the_defaults_for_points_differ_and_those_for_images_stay():
    gan = recipes.find("gan")
    assert gan.settings().dropout == 0.5 and gan.settings().r1 == 0
    points = gan.settings(for_points=True)
    assert points.dropout == 0 and points.r1 > 0 and points.beta1 == gan.settings().beta1


# ---- the command line ----


@pytest.mark.cpu
def test_a_run_of_points_through_the_command_line(run, tmp_path, capsys):
    config = json.loads((run / "config.json").read_text())
    assert config["settings"]["dropout"] == 0  # the defaults for points
    names = sorted(path.name for path in (run / "samples").iterdir())
    assert names == [f"step-0000000{step}.png" for step in (0, 2, 3)]
    assert all(pictures.read(run / "samples" / name, 3).shape == (450, 450, 3) for name in names)

    succeeds("eval", run, "-n", 200)
    out = capsys.readouterr().out
    assert re.search(r"modes found +\d of 8", out) and "test points of ring" in out
    assert "energy distance of training points" in out and "FID" not in out
    report = json.loads((run / "metrics.json").read_text())
    assert report["samples"] == 200 and sum(report["mode_counts"]) <= 200
    assert not (run / "neighbours.png").exists()

    succeeds("sample", run, "-o", tmp_path / "a.npz", "--truncation", "1")
    assert "2,000 points by gan" in capsys.readouterr().out
    with np.load(tmp_path / "a.npz") as arrays:
        assert set(arrays) == {"points"} and arrays["points"].shape == (2000, 2)
        assert arrays["points"].dtype == np.float32


@pytest.mark.cpu
def test_conditional_samples_have_labels(tmp_path, capsys):
    out = tmp_path / "run"
    start(out, "grid", steps=2, **CONDITIONAL).run(progress=False)
    for more, labels in ((["-n", "30"], np.arange(30) % 25), (["-n", 3, "--label", 7], [7, 7, 7])):
        succeeds("sample", out, "-o", tmp_path / "a.npz", *more)
        with np.load(tmp_path / "a.npz") as arrays:
            assert np.array_equal(arrays["labels"], labels) and len(arrays["points"]) == len(labels)
    succeeds("eval", out, "-n", 100, "--split", "held-out")
    assert "class accuracy" in capsys.readouterr().out


@pytest.mark.curves
def test_pictures_show_samples_over_real_points(tmp_path, capsys):
    ring = data.load("ring").subset(slice(500))
    samples = np.array([[2, 0], [0.0, 0.0], [9, 9]], np.float32).repeat(20, 0)
    plots.save_scatter(tmp_path / "a.png", samples, ring.images, title="step 7")
    plots.save_scatter(tmp_path / "b.png", samples[:0], ring.images, title="step 7")
    with_samples, without = (
        pictures.read(tmp_path / name, 3).astype(int) for name in ("a.png", "b.png")
    )
    height, width, _ = with_samples.shape
    assert height == width == 450
    blue = with_samples[..., 2] - with_samples[..., 0] > 60
    rows, columns = np.nonzero(blue)
    for y, x in ((225, 402), (225, 238)):  # (2, 0) is on the right, (0, 0) in the middle
        assert (np.hypot(rows - y, columns - x) < 12).any(), (y, x)
    assert not (without[..., 2] - without[..., 0] > 60).any()
    grey = (without == without[..., :1]).all(2) & (without[..., 0] < 240)
    assert grey[60:400, 60:430].sum() > 100  # the real points
    # The title also says that 20 of the samples lie outside.
    title = lambda picture: (picture[:25] < 128).any(2).sum()
    assert title(with_samples) > title(without) > 0


@pytest.mark.cpu
@pytest.mark.curves
def test_animations_of_points_keep_their_size(tmp_path):
    out = tmp_path / "run"
    start(out, steps=2, sample_every=1).run(progress=False)
    succeeds("animate", out, "-o", tmp_path / "a.gif")
    picture = pictures.read(out / "samples/step-00000001.png", 3)
    assert pictures.read(tmp_path / "a.gif", 3).shape == picture.shape == (450, 450, 3)
    succeeds("sample", out, "-o", tmp_path / "a.png", "-n", 10)
    assert pictures.read(tmp_path / "a.png", 3).shape == (450, 450, 3)


@pytest.mark.curves
def test_training_goes_on_where_matplotlib_cannot_draw(tmp_path, monkeypatch, capsys):
    def broken():
        raise RuntimeError("a damaged installation of this test")

    monkeypatch.setattr(plots, "import_matplotlib", broken)
    trainer = start(tmp_path / "run", sample_every=4)
    monkeypatch.setattr(Trainer, "write_curves", lambda *_: None)
    trainer.run(progress=False)
    err = capsys.readouterr().err
    assert err.count("a damaged installation of this test") == 1
    assert "training goes on without pictures" in err and trainer.step == 12


# ---- what is refused ----


@pytest.mark.parametrize("recipe", [name for name in recipes.RECIPES if name != "gan"])
def test_other_recipes_refuse_points(tmp_path, monkeypatch, capsys, recipe):
    monkeypatch.chdir(tmp_path)
    message = fails(capsys, "train", recipe, "--data", "moons")
    assert f"the recipe {recipe} takes images, not points: choose the recipe gan" in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words, message",
    [
        (
            "--set augment=diffaug",
            "setting augment=diffaug needs images: for points, set augment=none",
        ),
        ("--set augment=ada", "setting augment=ada needs images"),
        ("--set pad=2", "setting pad=2: ring holds points: set pad=0"),
        (
            "--set g_class=concat d_class=concat",
            "setting d_class=concat needs images: for points, set d_class=projection",
        ),
        ("--set path_length=2", "has no styles"),
        ("--set g_class=cbn d_class=projection", "choose from none, concat"),
        ("--set train_size=60000", "has 45,000 training points"),
        ("--data-dir .", "ring is built into tinygan"),
    ],
)
def test_settings_that_need_images_are_refused(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert message in fails(capsys, "train", "gan", "--data", "ring", *words.split())
    assert not list(tmp_path.iterdir())


def test_commands_that_need_images_are_refused(run, tmp_path, capsys):
    for words, message in (
        (["sample", run, "-o", tmp_path / "a.gif"], "a walk needs images, but ring has points"),
        (["truncation", run, "-o", tmp_path / "a.png"], "ring has points: use `tinygan eval RUN"),
        (["ppl", run, "-o", tmp_path / "a.png"], "has no styles"),
        (["project", run, "-o", tmp_path / "a.png"], "has no styles"),
        (["sample", run, "--label", 1, "-o", tmp_path / "a.png"], "has no classes"),
        (["eval", run, "--data-dir", tmp_path], "ring is built into tinygan"),
    ):
        assert message in fails(capsys, *words)
    assert not list(tmp_path.iterdir())


@pytest.mark.cpu
@pytest.mark.parametrize(
    "changes",
    [
        {"image_shape": [3]},
        {"image_shape": [2.0]},
        {"image_shape": [True]},
        {"image_shape": [2, 2]},
        {"image_shape": [28, 28, 1]},
        {"image_shape": []},
        {"recipe": "dcgan"},
        {"data": "digits"},
        {"classes": 9},
        {"data": "grid"},
    ],
)
def test_a_changed_config_is_one_line(run, tmp_path, capsys, changes):
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("checkpoint-00000003.npz", "log.jsonl"):
        (folder / name).write_bytes((run / name).read_bytes())
    config = json.loads((run / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))
    assert fails(capsys, "train", "--resume", folder, "--steps", 9)
    if changes.keys() & {"image_shape", "recipe"}:
        assert fails(capsys, "eval", folder, "-n", 100)
    if changes.keys() & {"image_shape", "recipe"} or changes.get("data") == "digits":
        assert fails(capsys, "sample", folder, "-o", tmp_path / "a.png")


@pytest.mark.parametrize(
    "row",
    [
        {"step": 2, "energy_distance": "low"},
        {"step": 2, "modes_found": 3},
        {"step": 2, "energy_distance": 0.1, "good_samples": 1.5},
    ],
)
def test_a_changed_evaluation_is_one_line(run, tmp_path, capsys, row):
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("checkpoint-00000003.npz", "log.jsonl", "config.json", "best.npz"):
        (folder / name).write_bytes((run / name).read_bytes())
    (folder / "eval.jsonl").write_text(json.dumps(row) + "\n")
    for words in (["eval", folder], ["train", "--resume", folder, "--steps", 9]):
        assert "eval.jsonl, line 1 is damaged" in fails(capsys, *words)


def test_a_run_of_points_can_be_loaded_in_python(run):
    G, config, _ = load_generator(run)
    assert config["data"] == "ring" and G.latent == 100
