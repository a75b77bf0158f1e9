"""The metrics of data without shipped weights: a classifier that is trained on their classes, a
random network if they have none, and `tinygan eval A B`."""

import json
from dataclasses import replace

import numpy as np
import pytest
from mistakes import error_of

from tinygan import data, metrics, nn
from tinygan.autograd import Tensor
from tinygan.backend import asarray, to_numpy
from tinygan.cli import main
from tinygan.data import Dataset, to_float
from tinygan.errors import InputError
from tinygan.files import checkpoint
from tinygan.kernels.cpu import parallel
from tinygan.metrics import Evaluator, Extractor, RandomExtractor, extractor_for, learning, own_data
from tinygan.metrics.extractor import reduced
from tinygan.metrics.fid import fid
from tinygan.metrics.network import Classifier
from tinygan.metrics.perceptual import Perceptual, squared_distance
from tinygan.study.run import Run, check_same_features
from tinygan.training import projector, recipes
from tinygan.training.trainer import Trainer

STEPS = 40


@pytest.fixture(scope="module")
def cache_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(cache_folder, monkeypatch):
    """All tests of this file share a cache, which is not the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_folder))
    monkeypatch.setattr(own_data, "STEPS", STEPS)


def shapes(n=160, side=10, seed=0, classes=3):
    """A Dataset of n coloured shapes on dark noise: a square, a cross, a frame."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 40, (n, side, side, 3), np.uint8)
    labels, third = np.arange(n) % classes, side // 3
    for image, label in zip(images, labels):
        y, x = rng.integers(0, 3, 2)
        colour, part = rng.integers(120, 256, 3), image[y : y + side - 2, x : x + side - 2]
        if label == 0:
            part[third : 2 * third] = colour
            part[:, third : 2 * third] = colour
        elif label == 1:
            part[1:-1, 1:-1] = colour
        else:
            part[[0, -3]] = colour
            part[:, [0, -3]] = colour
    return Dataset("shapes", "train", images, labels, ("cross", "square", "frame")[:classes])


def parts(**settings):
    return shapes(**settings).hold_out()


def unlabelled(**settings):
    dataset = shapes(**settings)
    return replace(dataset, labels=np.zeros(len(dataset), int), class_names=("all",))


def quiet(*args, **settings):
    return extractor_for(*args, progress=False, **settings)


# ---- which features ----


def test_each_kind_of_data_has_its_features(capsys):
    train, held_out = parts()
    learned, random = quiet(train, held_out), quiet(unlabelled())
    assert learned.description.endswith(f"{learned.accuracy:.1%} on held-out images")
    assert "of these 3 classes, 64 features" in learned.description
    assert random.description == "random network for 10x10x3 (not trained, seed 0), 64 features"
    named = replace(data.load("digits"), images=data.load("digits").images)
    assert quiet(named).description == Extractor("digits").description
    assert (learned.classes, random.classes, learned.stacked) == (3, 0, False)
    assert "not tested" in quiet(train, steps=1).description  # no held-out images
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("shape", [(4, 4, 1), (10, 7, 3), (1, 9, 1), (33, 47, 3), (70, 20, 1)])
def test_features_of_any_shape(shape):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, *shape), np.uint8)
    labelled = Dataset("noise", "train", images, np.arange(8) % 2, ("a", "b"))
    for extract, classes, most in (
        (RandomExtractor(shape), 0, 64),
        (quiet(labelled, steps=2), 2, 32),
    ):
        features, probabilities = extract(images)
        assert features.shape == (8, 64) and probabilities.shape == (8, 1, classes)
        assert np.isfinite(features).all() and features.std(0).max() > 0
        height, width, channels = extract.net.image_shape
        assert max(height, width) == min(most, max(shape)) and channels == shape[2]
        assert ("reduced to" in extract.description) == (max(shape) > most)
        np.testing.assert_allclose(
            extract(images, batch_size=3)[0], features, rtol=1e-4, atol=1e-4 * features.max()
        )
        assert f"{shape[0]}x{shape[1]}" in error_of(extract, images[:, :, 1:])


def test_images_are_reduced_by_areas():
    images = np.random.default_rng(0).standard_normal((3, 6, 8, 2))
    found = to_numpy(reduced(Tensor(asarray(images)), (2, 4, 2)).data)
    np.testing.assert_allclose(found, images.reshape(3, 2, 3, 4, 2, 2).mean((2, 4)))
    ramp = np.arange(5.0).reshape(1, 5, 1, 1)
    found = to_numpy(reduced(Tensor(asarray(ramp)), (2, 1, 1)).data).ravel()
    np.testing.assert_allclose(found, [(0 + 1 + 2 / 2) / 2.5, (2 / 2 + 3 + 4) / 2.5])


def test_padded_images_lose_their_border():
    train, held_out = parts()
    images = held_out.images
    padded = np.pad(images, ((0, 0), (3, 3), (3, 3), (0, 0)), constant_values=99)
    for extract in quiet(train, held_out, pad=3), RandomExtractor(train.image_shape, pad=3):
        for found, expected in zip(extract(padded), extract(images)):
            np.testing.assert_array_equal(found, expected)


# ---- the classifier of own data ----


def test_the_classifier_learns_what_can_be_learned(capsys):
    extract = quiet(*parts())
    assert extract.accuracy > 0.95
    new = shapes(60, seed=9)
    assert np.mean(extract(new.images)[1][:, 0].argmax(1) == new.labels) > 0.95
    assert capsys.readouterr().err == ""


@pytest.mark.cpu
def test_a_warning_says_that_the_classes_cannot_be_learned(capsys):
    train, held_out = parts()
    labels = np.random.default_rng(0).integers(0, 3, len(train))
    for _ in range(2):  # the second time, it is read from the cache
        extract = quiet(replace(train, labels=labels), held_out)
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and f"only {extract.accuracy:.1%} of the held-out" in error


@pytest.mark.cpu
def test_the_same_bits_on_any_number_of_threads(monkeypatch):
    train, held_out = parts(n=40)
    monkeypatch.setattr(own_data.cache, "read", lambda *key: None)
    before, found = parallel.num_threads(), []
    try:
        for threads in 1, 2, 1:
            parallel.set_num_threads(threads)
            found.append(quiet(train, held_out, steps=6))
    finally:
        parallel.set_num_threads(before)
    first, *others = found
    for other in others:
        assert other.description == first.description
        for x, y in zip(other(held_out.images), first(held_out.images)):
            np.testing.assert_array_equal(x, y)
    other = quiet(train, held_out, steps=6, seed=1)
    assert other.description != first.description


def test_the_cache_saves_the_training(monkeypatch):
    train, held_out = parts()
    first = quiet(train, held_out)
    monkeypatch.setattr(learning, "train", lambda *args: pytest.fail("it is trained again"))
    again = quiet(train, held_out)
    assert again.description == first.description and again.accuracy == first.accuracy
    for x, y in zip(again(train.images), first(train.images)):
        np.testing.assert_array_equal(x, y)


def test_the_cache_knows_by_what_the_classifier_was_trained(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    train, held_out = parts(n=60)
    trained = []
    monkeypatch.setattr(learning, "train", lambda net, *args: trained.append(0) or net.eval())
    quiet(train, held_out)
    assert len(trained) == 1
    images, labels = train.images.copy(), train.labels.copy()
    images[0, 0, 0, 0] ^= 1
    labels[0] = 1
    quiet(replace(train, images=images), held_out)
    quiet(replace(train, labels=labels), held_out)
    quiet(train, train)
    quiet(train, held_out, steps=3)
    assert len(trained) == 5
    monkeypatch.setattr(own_data, "VERSION", -1)
    quiet(train, held_out)
    assert len(trained) == 6
    quiet(train, held_out)
    assert len(trained) == 6


@pytest.mark.cpu
def test_a_damaged_cache_is_no_obstacle(monkeypatch):
    train, held_out = parts(n=50)
    expected = quiet(train, held_out, steps=2).description
    for kept in {}, {"accuracy": np.array(1.0)}, {"accuracy": np.array(1.0), "x": np.zeros(3)}:
        monkeypatch.setattr(own_data.cache, "read", lambda *key, kept=kept: dict(kept))
        assert quiet(train, held_out, steps=2).description == expected


def test_the_training_shows_its_progress(capsys):
    extractor_for(*parts(n=50), steps=3)
    assert "classifier for the metrics" in capsys.readouterr().err


def test_edges_are_repeated_outside_of_an_image():
    """A white image stays white, and a dot moves no further than the shift and the scale allow."""
    rng, limits = np.random.default_rng(0), learning.Augmentation(0.0, 0.1, 2.0, edges=True)
    white = np.ones((50, 9, 14, 3), np.float32)
    moved = to_numpy(learning.augmented(white, limits, rng).data)
    assert moved.shape == white.shape
    np.testing.assert_allclose(moved, 1, atol=1e-5)
    dots = -np.ones((300, 21, 31, 1), np.float32)
    dots[:, 10, 15] = 1
    moved = to_numpy(learning.augmented(dots, limits, rng).data)[..., 0] + 1
    for axis, middle in (1, 10), (2, 15):
        along = moved.sum(3 - axis)
        centre = (along * np.arange(moved.shape[axis])).sum(1) / along.sum(1) - middle
        assert 1.7 < centre.max() < 2.5 and -2.5 < centre.min() < -1.7


# ---- the random network ----


def test_random_features_order_images_by_their_faults():
    rng, images = np.random.default_rng(0), data.load("digits", "test").images[:120]
    reference = data.load("digits", "test").images[120:240]
    extract = RandomExtractor((28, 28, 1))
    distance = lambda x: fid(extract(reference)[0], extract(x)[0])
    assert fid(extract(images)[0], extract(images)[0]) < 1e-6
    noisy = lambda s: np.clip(images + s * rng.standard_normal(images.shape), 0, 255)
    by_noise = [distance(noisy(s).astype(np.uint8)) for s in (0, 60, 160)]
    copies = [distance(images[:n].repeat(120 // n, 0)) for n in (120, 30, 4)]
    blurred = [images]
    for _ in range(2):
        x = blurred[-1].astype(int)
        blurred.append(((x + np.roll(x, 1, 1) + np.roll(x, 1, 2)) // 3).astype(np.uint8))
    for distances in by_noise, copies, [distance(x) for x in blurred]:
        assert np.all(np.diff(distances) > 0) and distances[-1] > 3 * distances[0], distances


def test_the_random_network_depends_on_its_seed_alone():
    images = shapes(12).images
    first, again, other = (RandomExtractor((10, 10, 3), seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first(images)[0], again(images)[0])
    assert not np.array_equal(first(images)[0], other(images)[0])
    assert first.description != other.description
    assert RandomExtractor((10, 12, 3)).description != first.description


# ---- the report ----


def test_the_report_of_own_data():
    train, held_out = parts()
    new = shapes(60, seed=5)
    report = metrics.evaluate(
        new.images, new.labels, held_out, train, extractor=quiet(train, held_out)
    )
    assert report["extractor"] == quiet(train, held_out).description
    assert report["class_accuracy"] > 0.95 and sum(report["class_counts"]) == 60
    assert 2.5 < report["classifier_score"] <= 3 and len(report["fid_per_class"]) == 3
    assert 0.7 < report["memorisation"] < 1.3
    assert json.loads(json.dumps(report)) == report


def test_without_classes_there_are_no_metrics_of_classes(capsys):
    train = unlabelled()
    train, held_out = train.hold_out()
    report = metrics.evaluate(
        held_out.images, held_out.labels, held_out, train, extractor=quiet(train)
    )
    assert report["fid"] < 1e-6 and report["precision"] == report["recall"] == 1
    absent = {"classifier_score", "class_counts", "class_accuracy", "fid_per_class", "modes"}
    assert not absent & report.keys() and report["extractor"].startswith("random network")
    copied = metrics.evaluate(train.images, None, train, train, extractor=quiet(train))
    assert "memorisation" not in copied and "among the training" in capsys.readouterr().err


def test_perceptual_distances_of_own_data():
    for shape in (10, 10, 3), (70, 40, 1):
        images = np.random.default_rng(0).integers(0, 256, (3, *shape), np.uint8)
        embed = Perceptual(RandomExtractor(shape))
        x = embed(Tensor(asarray(to_float(images))))
        assert len(x) == 3 and "not trained, seed 0), feature maps of 3 layers" in embed.description
        assert squared_distance(x[:1], x[1:2]).item() > 0 == squared_distance(x[:1], x[:1]).item()


def test_the_layers_of_a_perceptual_distance_end_at_the_last_map():
    for shape in (28, 28, 1), (1, 5, 3), (3, 3, 1):
        layers = Classifier(shape, 2).map_layers
        assert sum(isinstance(layer, nn.ReLU) for layer in layers) == 3
        assert isinstance(layers[-1], nn.ReLU)


# ---- runs ----

TINY = {"steps": 2, "batch_size": 4, "hidden": 8, "eval_images": 100, "eval_every": 2}


def start(folder, dataset, recipe="gan", **settings):
    recipe = recipes.find(recipe)
    return Trainer.start(recipe, recipe.settings().updated(TINY | settings), dataset, folder)


def save(path, dataset, **arrays):
    np.savez(path, images=dataset.images, labels=dataset.labels, **arrays)
    return path


def succeeds(capsys, *argv):
    """Run a command that must succeed, and return what it prints."""
    code = main([str(word) for word in argv])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    return printed.out


def fails(capsys, *argv):
    """Run a command that must fail, and return the line that it writes to stderr."""
    capsys.readouterr()
    try:
        code = main([str(word) for word in argv])
    except SystemExit as exit:
        code = exit.code
    printed = capsys.readouterr()
    assert code == 2 and printed.out == "", printed
    lines = [line for line in printed.err.splitlines() if "error:" in line]
    assert len(lines) == 1
    return lines[0]


@pytest.fixture(scope="module")
def own_run(tmp_path_factory):
    """(the file of own data with classes; a tiny run on them, with an evaluation)."""
    folder = tmp_path_factory.mktemp("own")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setattr(own_data, "STEPS", STEPS)
        file = save(folder / "shapes.npz", shapes())
        train = ["train", "cgan", "--data", file, "--steps", 2, "--batch-size", 4, "--out"]
        changes = [
            "--set",
            "pad=3",
            "g_channels=2",
            "d_channels=2",
            "eval_every=2",
            "eval_images=100",
        ]
        assert main([str(word) for word in (*train, folder / "run", *changes)]) == 0
    return file, folder / "run"


@pytest.mark.cpu
def test_evaluations_of_a_run_on_own_data(own_run, capsys):
    """`eval_every`, `eval` and `truncation` use the same classifier, trained on all of the training
    part, and no border."""
    file, folder = own_run
    (row,) = [json.loads(line) for line in (folder / "eval.jsonl").read_text().splitlines()]
    expected = quiet(*data.load(file).hold_out()).description
    assert row["extractor"] == expected and row["real"] == 16 and "class_accuracy" in row
    printed = succeeds(capsys, "eval", folder, "-n", 30)
    report = json.loads((folder / "metrics.json").read_text())
    assert report["extractor"] == expected and report["split"] == "held-out"
    assert f"features: {expected}\n" in printed and "16 held-out images of shapes" in printed
    assert (folder / "neighbours.png").exists()
    curves = folder / "t.png"
    printed = succeeds(capsys, "truncation", folder, "-n", 30, "--thresholds", 1, "-o", curves)
    assert expected in printed and "held-out" in printed


def test_projection_uses_the_features_of_the_data():
    class G(nn.StyleGenerator):
        def __init__(self):
            self.latent, self.classes, self.style_layers, self.psi = 3, None, 2, 1.0
            self.mapping = lambda z, labels: z

        def synthesis(self, ws):
            return Tensor(asarray(np.ones((1, 8, 4, 1), np.float32))) * ws[:, 0, :1].reshape(
                (-1, 1, 1, 1)
            )

    images = np.full((2, 8, 4, 1), 0.5, np.float32)
    found = projector.project(G().eval(), images, RandomExtractor((8, 4, 1)), steps=2, stages=2)
    assert found.ws.shape == (2, 2, 3) and np.isfinite(found.distances).all()


@pytest.mark.cpu
def test_evaluations_with_other_features_are_not_compared(tmp_path, capsys):
    dataset = unlabelled(n=60)
    start(tmp_path / "a", dataset).run(progress=False)
    best = tmp_path / "a" / "best.npz"
    states, meta = checkpoint.load(best)
    # As if it had been evaluated with other features, and had been very good.
    evaluation = meta["evaluation"] | {"extractor": "other features", "fid": 0.0}
    checkpoint.write(best, states, {**meta, "evaluation": evaluation})
    (tmp_path / "a" / "eval.jsonl").write_text(json.dumps(evaluation) + "\n")
    recipe = recipes.find("gan")
    settings = recipe.settings().updated(TINY | {"steps": 4})
    trainer = Trainer(recipe, settings, dataset, tmp_path / "a")
    trainer.resume(checkpoint.open_run(tmp_path / "a"))
    capsys.readouterr()
    trainer.run(progress=False)
    said = capsys.readouterr().err
    assert "chosen by other features (other features; now random network" in said
    assert (tmp_path / "a" / "best.unused.npz").exists()
    _, meta = checkpoint.load(best)
    assert meta["step"] == 4 and meta["evaluation"]["fid"] > 0


def test_a_study_compares_no_metrics_of_different_features():
    run = lambda name, features: Run(
        name, 0, name, None, {"metrics": {"extractor": features}}, None
    )
    check_same_features([run("a", "x"), run("b", "x")])
    message = error_of(check_same_features, [run("a", "x"), run("b", "y")])
    assert "a, seed 0 has x" in message and "b, seed 0 has y" in message


# ---- eval A B ----


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder with some files of images."""
    monkeypatch.chdir(tmp_path)
    digits = data.load("digits", "test").images
    save("shapes.npz", shapes(40))
    save("more.npz", shapes(30, seed=1))
    save("large.npz", shapes(20, side=20))
    np.savez("grey.npz", images=digits[:50])
    np.savez("rgb.npz", images=digits[50:90].repeat(3, 3))
    np.save("float.npy", (digits[:40, ..., 0] / 255).astype(np.float32))
    np.savez("five.npz", images=digits[:5])
    return tmp_path


@pytest.mark.cpu
def test_two_sets_of_images_are_compared(files, capsys):
    printed = succeeds(capsys, "eval", "shapes.npz", "more.npz", "-o", "report.json")
    report = json.loads((files / "report.json").read_text())
    assert "A: shapes.npz, a file: 40 images\nB: more.npz, a file: 30 images\n" in printed
    assert "features: random network for 10x10x3 (not trained, seed 0), 64 features\n" in printed
    assert "share of A's images that lie among B's" in printed
    extract = RandomExtractor((10, 10, 3))
    a, b = (extract(np.load(name)["images"])[0] for name in ("shapes.npz", "more.npz"))
    assert report["fid"] == pytest.approx(fid(b, a)) and f"{report['fid']:.3f}" in printed
    assert report["extractor"] == extract.description
    assert {"kid", "kid_std", "precision", "recall", "density", "coverage"} <= report.keys()
    assert "class" not in printed
    succeeds(capsys, "eval", "shapes.npz", "shapes.npz", "-o", "same.json")
    same = json.loads((files / "same.json").read_text())
    assert same["fid"] < 1e-6 and same["precision"] == same["recall"] == 1


def test_precision_belongs_to_a_and_recall_to_b(files, capsys):
    """A is a part of B: all of A lies among B, but not the reverse."""
    images = shapes(60).images
    np.savez("part.npz", images=images[::3][:8].repeat(4, 0))
    np.savez("all.npz", images=images)
    succeeds(capsys, "eval", "part.npz", "all.npz", "-o", "r.json")
    report = json.loads((files / "r.json").read_text())
    assert report["precision"] == 1 and report["recall"] < 0.5


@pytest.mark.cpu
def test_images_of_different_kinds_are_made_alike(files, capsys):
    printed = succeeds(capsys, "eval", "shapes.npz", "large.npz")
    assert "B's images are cropped in the middle and resized from 20x20 to 10x10 pixels" in printed
    printed = succeeds(capsys, "eval", "shapes.npz", "large.npz", "--image-size", "8x6")
    assert "A's images are cropped in the middle and resized from 10x10 to 8x6 pixels" in printed
    printed = succeeds(capsys, "eval", "grey.npz", "large.npz")
    assert "A's images are grey, and become RGB, as B's are" in printed
    # RGB without colour is grey: the classifier of digits fits.
    printed = succeeds(capsys, "eval", "rgb.npz", "digits")
    assert "features: MNIST classifier" in printed and "become RGB" not in printed
    printed = succeeds(capsys, "eval", "float.npy", "grey.npz", "--features", "fashion-mnist")
    assert "features: Fashion-MNIST classifier" in printed


@pytest.mark.cpu
def test_runs_and_their_features(files, own_run, capsys):
    file, folder = own_run
    expected = quiet(*data.load(file).hold_out()).description
    printed = succeeds(capsys, "eval", "large.npz", folder, "-n", 20, "--image-size", 10)
    assert f"features: {expected}\n" in printed and ": 20 images\nA's images are" in printed
    assert f"B: {folder}, samples of cgan on shapes at step 2" in printed
    # The border that training has added is not compared.
    best = folder / "best.npz"
    printed = succeeds(capsys, "eval", best, folder, "-n", 20, "-o", "r.json")
    assert json.loads((files / "r.json").read_text())["image_shape"] == [10, 10, 3]
    for features in folder, file:
        printed = succeeds(capsys, "eval", "shapes.npz", "more.npz", "--features", features)
        assert f"features: {expected}\n" in printed
    printed = succeeds(capsys, "eval", folder, "digits", "-n", 20, "--features", "random")
    assert "features: random network" in printed


@pytest.mark.parametrize(
    "words, problem",
    [
        ("nowhere digits", "nowhere is neither a run"),
        ("shapes.npz ./nowhere", "no file or folder ./nowhere"),
        ("shapes.npz five.npz", "five.npz has 5 images"),
        ("nan.npy digits", "nan.npy"),
        ("text.npy digits", "text.npy"),
        ("shapes.npz grey.npz -n 9", "-n is for runs"),
        ("shapes.npz grey.npz --truncation .5", "--truncation is for runs"),
        ("shapes.npz grey.npz --split test", "--split"),
        ("shapes.npz grey.npz --data-dir .", "--data-dir"),
        ("shapes.npz grey.npz --features mnist", "images of 28x28x1, not of 10x10x3"),
        ("shapes.npz grey.npz --features nothing", "--features nothing"),
        ("shapes.npz grey.npz -o r.txt", "must end in .json"),
        ("shapes.npz --features random", "--features is for comparing"),
        ("shapes.npz -o r.json", "-o is for comparing"),
        ("shapes.npz", "shapes.npz"),
    ],
)
def test_comparisons_that_are_refused(words, problem, files, capsys):
    images = np.full((9, 4, 4), 0.5, np.float32)
    images[0, 0, 0] = np.nan
    np.save("nan.npy", images)
    np.save("text.npy", np.array([["a"]]))
    before = sorted(path.name for path in files.iterdir())
    assert problem in fails(capsys, "eval", *words.split())
    assert sorted(path.name for path in files.iterdir()) == before


def test_other_data_need_an_extractor():
    train, held_out = parts()
    assert "extractor_for" in error_of(Evaluator, held_out)
    with pytest.raises(InputError, match="images of 9x10"):
        Evaluator(held_out, extractor=quiet(train, held_out)).quick(train.images[:, 1:])
