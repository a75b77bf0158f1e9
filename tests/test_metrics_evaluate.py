"""The metrics' classifier, its weights, the extractor and the report, on the built-in digits."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mistakes import error_of

from demos import classifier
from tinygan import data, ops
from tinygan.autograd import Tensor, no_grad
from tinygan.backend import asarray, to_numpy
from tinygan.metrics import Evaluator, Extractor, evaluate, learning, network, rows, scores
from tinygan.metrics.fid import fid, kid
from tinygan.metrics.modes import modes
from tinygan.metrics.neighbours import memorisation
from tinygan.metrics.precision_recall import density_coverage, precision_recall

SHIPPED = {"mnist": 0.992, "fashion-mnist": 0.92}  # weights: their minimum accuracy


@functools.cache
def digits(split="test", n=None, name="digits"):
    """Return the Dataset of the first n images (None: of all)."""
    dataset = data.load(name, split)
    return data.Dataset(name, split, dataset.images[:n], dataset.labels[:n], dataset.class_names)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


# ---- the classifier ----


def test_the_shipped_weights_recognise_the_built_in_digits():
    net, accuracy = network.load("digits")
    assert 0.99 < classifier.accuracy_on(net, digits()) < 1
    assert accuracy == network.load("mnist")[1] == network.load("stacked-mnist")[1]


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_weights(name):
    path = network.WEIGHTS / f"{name}.npz"
    assert path.stat().st_size < 1_000_000
    net, accuracy = network.load(name)
    assert SHIPPED[name] < accuracy < 1 and not net.training
    assert all(np.isfinite(array).all() for array in net.state_dict().values())


def test_the_two_classifiers_differ():
    """The classifier of clothes fails on digits, so the two files of weights are not the same."""
    net, _ = network.load("fashion-mnist")
    assert classifier.accuracy_on(net, digits()) < 0.3


def test_the_network():
    net = network.Classifier(rng=np.random.default_rng(0)).eval()
    x = asarray(np.random.default_rng(1).uniform(-1, 1, (3, 28, 28, 1)).astype(np.float32))
    features, logits = net.features(Tensor(x)), net(x)
    assert features.shape == (3, network.FEATURES) and logits.shape == (3, 10)
    assert to_numpy(features.data).min() == 0
    np.testing.assert_array_equal(to_numpy(net.head(features).data), to_numpy(logits.data))


def test_files_of_weights_that_are_refused(tmp_path):
    assert "'cifar'" in error_of(network.load, "cifar")
    assert "fashion-mnist" in error_of(Extractor, "cifar")
    path = tmp_path / "w.npz"
    assert str(path) in error_of(network.read, path)
    for content in b"", b"junk", (network.WEIGHTS / "mnist.npz").read_bytes()[:-5000]:
        path.write_bytes(content)
        assert str(path) in error_of(network.read, path)
    np.savez(path, accuracy=0.5)
    assert "missing" in error_of(network.read, path)
    np.savez(path, accuracy=np.array([{}], object))  # a pickle, which must not be loaded
    assert "pickle" in error_of(network.read, path)


def test_written_weights_come_back(tmp_path):
    net = network.Classifier(rng=np.random.default_rng(0)).eval()
    network.write(tmp_path / "w.npz", net, 0.75)
    again, accuracy = network.read(tmp_path / "w.npz")
    assert accuracy == 0.75
    for key, value in net.state_dict().items():
        np.testing.assert_allclose(again.state_dict()[key], value, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    "augmentation, expected",
    [
        (classifier.Augmentation(0, 0, 0), lambda x: x),
        (classifier.Augmentation(180, 0.3, 9, True), None),
        (classifier.Augmentation(0, 0, 0, True), lambda x: x[:, :, ::-1]),
    ],
)
def test_augmentation(rng, augmentation, expected):
    images = data.to_float(digits().images[:40])
    moved = to_numpy(learning.augmented(images, augmentation, rng).data)
    assert moved.shape == images.shape and moved.dtype == np.float32
    assert moved.min() >= -1 - 1e-5 and moved.max() <= 1 + 1e-5
    if expected is None:
        assert np.abs(moved - images).mean((1, 2, 3)).min() > 0.01
    else:
        as_is, other = (np.abs(moved - x).max((1, 2, 3)) < 1e-4 for x in (images, expected(images)))
        assert np.all(as_is | other)
        assert as_is.all() if not augmentation.flip else 5 < as_is.sum() < 35


def test_augmentation_stays_within_its_limits(rng):
    """Only the shift moves a dot at the centre: by at most two pixels to each side, a little more
    if the image is magnified."""
    dots = np.full((400, 28, 28, 1), -1, np.float32)
    dots[:, 13:15, 13:15] = 1
    moved = to_numpy(learning.augmented(dots, classifier.Augmentation(), rng).data)[..., 0] + 1
    for axis in 1, 2:
        along = moved.sum(3 - axis)
        centre = (along * np.arange(28)).sum(1) / along.sum(1) - 13.5
        assert 1.8 < centre.max() < 2.4 and -2.4 < centre.min() < -1.8 and abs(centre.mean()) < 0.2


@pytest.mark.cpu  # other tests train and evaluate on the other backends
@pytest.mark.slow
def test_training_by_the_command_line(tmp_path, capfd, monkeypatch):
    """Trains on some digits, for some seconds. The printed accuracy is that of the written file."""
    path, learned, tested = tmp_path / "w.npz", digits("train", 2560), digits("test", 500)
    monkeypatch.setattr(classifier, "parts", lambda *args: (learned, tested))
    assert classifier.main(["--data", "digits", "-o", str(path), "--epochs", "2"]) == 0
    printed = capfd.readouterr()
    net, accuracy = network.read(path)
    assert accuracy == classifier.accuracy_on(net, tested) > 0.9
    assert printed.out == f"{path}: accuracy {accuracy:.2%} on 500 test images\n"
    assert "40/40" in printed.err
    monkeypatch.setattr(classifier, "parts", lambda *args: (digits("train", 128), tested))
    hold_out = ["--hold-out", "9"]
    assert classifier.main(["--data", "digits", "-o", str(path), "--epochs", "1", *hold_out]) == 0
    assert "on 500 held-out images" in capfd.readouterr().out


def test_held_out_images_are_not_trained_on():
    everything, (learned, tested) = digits("train"), classifier.parts("digits", hold_out=300)
    assert (len(learned), len(tested), learned.split, tested.split) == (9700, 300, "train", "train")
    for key in "images", "labels":
        both = np.concatenate([getattr(learned, key), getattr(tested, key)])
        np.testing.assert_array_equal(both, getattr(everything, key))
    assert [part.split for part in classifier.parts("digits")] == ["train", "test"]


def test_training_is_a_function_of_its_seed():
    few = digits("train", 256)
    states = [
        classifier.train(few, classifier.Augmentation(), seed, 1).state_dict() for seed in (0, 0, 1)
    ]
    for key, value in states[0].items():
        np.testing.assert_array_equal(value, states[1][key])
    assert not np.array_equal(states[0]["head.weight"], states[2]["head.weight"])


@pytest.mark.parametrize(
    "args, problem",
    [
        ([], "required"),
        (["-o", "w.npz", "--data", "cifar"], "cifar"),
        (["-o", "w.npz", "--seed", "x"], "seed"),
        (["-o", "nowhere/w.npz"], "nowhere"),
        (["-o", "w.npz", "--seed", "-1"], "--seed"),
        (["-o", "w.npz", "--epochs", "0"], "--epochs"),
        (["-o", "w.npz", "--data-dir", "nowhere"], "nowhere"),
        (["-o", "w.npz", "--data", "digits", "--hold-out", "10000"], "--hold-out"),
    ],
)
def test_errors_of_use_are_one_line(args, problem, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    try:
        code = classifier.main(args)
    except SystemExit as exit:
        code = exit.code
    printed = capsys.readouterr()
    assert code == 2 and printed.out == ""
    assert printed.err.count("\n") == 1 and problem in printed.err


def test_the_script_runs_without_a_warning():
    done = subprocess.run(
        [sys.executable, "-W", "error", classifier.__file__, "--help"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 and not done.stderr and "--hold-out" in done.stdout


@pytest.mark.slow
def test_mnist_can_be_learned_again(tmp_path):
    if data.locate("mnist") is None:
        pytest.skip("MNIST is not installed")
    assert classifier.main(["--data", "mnist", "-o", str(tmp_path / "w.npz")]) == 0
    assert network.read(tmp_path / "w.npz")[1] >= 0.992


# ---- the extractor ----


def test_features_and_probabilities():
    extract, images = Extractor("digits"), digits().images[:300]
    features, probabilities = extract(images, batch_size=77)
    assert features.shape == (300, 64) and probabilities.shape == (300, 1, 10)
    assert features.dtype == probabilities.dtype == np.float64
    with no_grad():
        x = Tensor(asarray(data.to_float(images)))
        expected = to_numpy(ops.softmax(extract.net(x)).data)
        np.testing.assert_allclose(
            features, to_numpy(extract.net.features(x).data), rtol=1e-4, atol=1e-4
        )
    np.testing.assert_allclose(probabilities[:, 0], expected, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(probabilities.sum(2), 1)
    accuracy = f"{network.load('mnist')[1]:.1%}"
    assert extract.description == f"MNIST classifier, 64 features, {accuracy} on its test set"
    assert Extractor("fashion-mnist").description.startswith("Fashion-MNIST classifier")


def test_padded_images_lose_their_border(rng):
    extract, images = Extractor("mnist"), digits().images[:9]
    padded = rng.integers(0, 256, (9, 32, 32, 1), np.uint8)
    padded[:, 2:30, 2:30] = images
    for a, b in zip(extract(images), extract(padded)):
        np.testing.assert_array_equal(a, b)


def test_channels_are_digits():
    extract, single, images = Extractor("stacked-digits"), Extractor("digits"), digits().images[:30]
    stack = np.concatenate([images[:10], images[10:20], images[20:]], axis=3)
    features, probabilities = extract(stack)
    assert features.shape == (10, 192) and probabilities.shape == (10, 3, 10)
    assert "64 x 3" in extract.description
    for channel in range(3):
        expected = single(images[10 * channel : 10 * channel + 10])
        np.testing.assert_allclose(
            features[:, 64 * channel : 64 * channel + 64], expected[0], rtol=1e-4, atol=1e-4
        )
        np.testing.assert_allclose(
            probabilities[:, channel], expected[1][:, 0], rtol=1e-3, atol=1e-6
        )


def test_images_that_the_extractor_refuses():
    extract, images = Extractor("digits"), digits().images[:4]
    assert "3 channels where 1" in error_of(extract, images.repeat(3, 3))
    assert "1 channels where 3" in error_of(Extractor("stacked-digits"), images)
    assert "uint8" in error_of(extract, data.to_float(images))
    assert "uint8" in error_of(extract, images[:0])
    assert "64x64" in error_of(extract, np.zeros((2, 64, 64, 1), np.uint8))
    assert "28x32" in error_of(extract, np.zeros((2, 28, 32, 1), np.uint8))


# ---- the report ----


@functools.cache
def real_report():
    """Return the report of training digits in place of samples, with their labels as the requested
    classes."""
    train = digits("train", 3000)
    return evaluate(train.images[:1000], train.labels[:1000], digits(), train)


def test_real_digits_are_good_digits():
    report = real_report()
    # The FID is not 0: the first part of the test set is written more cleanly.
    assert report["fid"] < 3 and report["kid"] < 0.1
    assert min(report["precision"], report["recall"], report["coverage"]) > 0.65
    assert 0.75 < report["density"] < 1.25 and 9.7 < report["classifier_score"] < 10
    assert report["class_accuracy"] > 0.99
    assert report["memorisation"] == 0  # they are training images


def test_noise_is_no_digit(rng):
    report = evaluate(
        rng.integers(0, 256, (500, 28, 28, 1), np.uint8), None, digits(), digits("train", 1000)
    )
    assert report["fid"] > 50 * real_report()["fid"] and report["kid"] > 50 * real_report()["kid"]
    assert report["precision"] == report["density"] == 0
    assert report["coverage"] < 0.01 and report["recall"] < 0.01
    assert report["classifier_score"] < 3 and report["memorisation"] > 1.3
    assert "class_accuracy" not in report and "fid_per_class" not in report


def test_the_report_agrees_with_its_parts(monkeypatch):
    # With fewer than the samples, the random subset of `memorisation` matters.
    monkeypatch.setattr("tinygan.metrics.neighbours.MAX_IMAGES", 100)
    train, test, n = digits("train", 3000), digits("test", 400), 300
    other = data.load("digits")
    images, labels = other.images[-n:], (other.labels[-n:] + np.arange(n) % 2) % 10
    report = evaluate(images, labels, test, train, seed=3)
    extract = Extractor("digits")
    (fake, p), (real, _) = extract(images), extract(test.images)
    per_class = report.pop("fid_per_class")
    np.testing.assert_allclose(per_class, scores.fid_per_class(real, test.labels, fake, labels))
    chosen = np.sort(np.random.default_rng(3).choice(3000, n, replace=False))
    numbers = {}
    numbers["kid"], numbers["kid_std"] = kid(real, fake, seed=3)
    numbers["precision"], numbers["recall"] = precision_recall(real, fake)
    numbers["density"], numbers["coverage"] = density_coverage(real, fake)
    numbers |= {
        "fid": fid(real, fake),
        "fid_train": fid(real, extract(train.images[chosen])[0]),
        "classifier_score": scores.classifier_score(p),
        "class_accuracy": scores.class_accuracy(p, labels),
        "memorisation": memorisation(images, test.images, train.images, 3),
    }
    assert {key: report.pop(key) for key in numbers} == pytest.approx(numbers)
    assert 0.4 < numbers["class_accuracy"] < 0.6
    assert sum(report["class_counts"]) == n
    assert report.pop("class_counts") == scores.class_counts(p).tolist()
    assert report == {
        "data": "digits",
        "split": "test",
        "extractor": extract.description,
        "samples": n,
        "real": 400,
        "samples_knn": n,
        "real_knn": 400,
        "train": 3000,
        "seed": 3,
    }


def test_a_report_is_json_and_a_table():
    report = real_report()
    assert json.loads(json.dumps(report)) == report
    table = rows(report)
    assert all(isinstance(text, str) and text for row in table for text in row)
    by_name = {name: value for name, value, _ in table}
    assert len(by_name) == len(table) == 14 - 2 and by_name["FID"] == f"{report['fid']:.3f}"
    for name in "FID of each class", "samples of each class":
        assert len(by_name[name].split()) == 10
    small = {
        "fid": 1.5,
        "kid": 0.02,
        "kid_std": 0.001,
        "fid_per_class": [1.25, None],
        "modes": 1000,
    }
    values = [value for _, value, _ in rows(small)]
    assert values == ["1.500", "20.000 +- 1.000", "1.25 -", "1,000"]


def test_worse_images_make_the_fid_grow(rng):
    measure, images = Evaluator(digits("test", 1000)), digits("train").images[:500].astype(float)
    fids = []
    for noise in 0, 20, 60, 150:
        worse = np.clip(images + noise * rng.standard_normal(images.shape), 0, 255).astype(np.uint8)
        fids.append(measure.quick(worse)["fid"])
    assert np.all(np.diff(fids) > 0) and fids[-1] > 10 * fids[1] > 10 * fids[0]


def test_dropped_classes_lower_recall_not_precision():
    train, measure = digits("train"), Evaluator(digits("test", 1000))
    three, ten = (
        measure.quick(images[:500]) for images in (train.images[train.labels < 3], train.images)
    )
    assert three["precision"] > ten["precision"] - 0.05 and three["recall"] < ten["recall"] - 0.3
    assert three["fid"] > 10 * ten["fid"]


def test_quick_is_a_part_of_the_report():
    train, measure = digits("train", 3000), Evaluator(digits("test", 400))
    report = measure.report(train.images[:300], train.labels[:300])
    quick = measure.quick(train.images[:300], train.labels[:300])
    assert quick == {key: report[key] for key in quick}
    assert {"fid", "precision", "recall", "class_accuracy"} < set(quick)
    assert quick == measure.quick(train.images[:300], train.labels[:300])
    assert "class_accuracy" not in measure.quick(train.images[:300])


def test_metrics_of_neighbours_use_a_subset_of_many_images(monkeypatch):
    monkeypatch.setattr(sys.modules["tinygan.metrics.evaluate"], "MAX_KNN_IMAGES", 100)
    train, test = digits("train", 300), digits("test", 400)
    report = Evaluator(test, seed=1).quick(train.images)
    assert (report["samples"], report["samples_knn"]) == (300, 100)
    assert (report["real"], report["real_knn"]) == (400, 100)
    subset = lambda x: x[np.sort(np.random.default_rng(1).choice(len(x), 100, replace=False))]
    real, fake = (Extractor("digits")(subset(x))[0] for x in (test.images, train.images))
    assert (report["precision"], report["recall"]) == pytest.approx(precision_recall(real, fake))


def test_stacked_digits():
    test = digits("test", 300, "stacked-digits")
    train = digits("train", 300, "stacked-digits")
    report = evaluate(
        np.pad(train.images, ((0, 0), (2, 2), (2, 2), (0, 0))), train.labels, test, train
    )
    _, probabilities = Extractor("stacked-mnist")(train.images)
    assert (report["modes"], report["mode_kl"]) == modes(scores.predicted_classes(probabilities))
    assert 230 < report["modes"] < 300 and report["class_accuracy"] > 0.98
    assert report["memorisation"] == 0
    assert 150 < report["classifier_score"] < 1000
    assert not {"class_counts", "fid_per_class"} & set(report)
    assert {"modes", "KL from even modes"} <= {name for name, _, _ in rows(report)}
    assert json.loads(json.dumps(report)) == report


def test_inputs_that_are_refused():
    test, images = digits("test", 50), digits("train").images[:50]
    assert "5 samples" in error_of(evaluate, images[:5], None, test)
    assert "5 real images" in error_of(Evaluator, digits("test", 5))
    assert "labels" in error_of(evaluate, images, [1, 2], test)
    assert "labels" in error_of(evaluate, images, [10] * 50, test)
    assert "uint8" in error_of(evaluate, images / 255, None, test)
    assert "3 channels where 1" in error_of(evaluate, images.repeat(3, 3), None, test)
    other = data.Dataset("toy", "test", test.images, test.labels, test.class_names)
    assert "'toy'" in error_of(evaluate, images, None, other)
    assert evaluate(images[:6], np.arange(6), test)["fid_per_class"] == [None] * 10


def test_the_weights_are_part_of_the_package():
    """pyproject.toml must list them, or an installed tinygan would lack them."""
    pyproject = (Path(classifier.__file__).parents[1] / "pyproject.toml").read_text()
    assert '"tinygan.metrics" = ["weights/*"]' in pyproject
