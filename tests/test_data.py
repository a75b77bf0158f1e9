"""Data sets: good and bad IDX files, minibatches, and the folders that are searched for files."""

import dataclasses
import gzip
import hashlib
import re
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from mistakes import error_of

from tinygan.data import (
    Dataset,
    catalogue,
    load,
    loading,
    locate,
    read_idx,
    sources,
    to_float,
    to_uint8,
)
from tinygan.data.sources import TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS

pytestmark = pytest.mark.cpu

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx(array):
    """Return the bytes of an IDX file that holds an array."""
    array = np.asarray(array)
    header = struct.pack(
        f">BBBB{array.ndim}I", 0, 0, CODES[array.dtype.str[1:]], array.ndim, *array.shape
    )
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def pack(content):
    return gzip.compress(content, mtime=0)


@pytest.fixture
def write(tmp_path):
    """A function that writes bytes to a file and returns its path."""

    def write(content, name="file"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    return write


IMAGES = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)


# ---- IDX ----


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", CODES)
def test_idx_round_trip(write, dtype, packed):
    rng = np.random.default_rng(0)
    for shape in [(7,), (3, 4, 5), (2, 0, 3), (1, 2, 3, 4)]:
        array = (rng.normal(size=shape) * 50).clip(0 if dtype == "u1" else -100, 100).astype(dtype)
        content = idx(array)
        digest = hashlib.sha256()
        # Both names are misleading: only the first bytes decide.
        path = write(pack(content), "plain") if packed else write(content, "x.gz")
        result = read_idx(path, shape, digest)
        assert result.dtype == np.dtype(dtype) and result.dtype.isnative
        np.testing.assert_array_equal(result, array, strict=True)
        assert digest.hexdigest() == hashlib.sha256(content).hexdigest()


def test_idx_bytes_are_those_of_the_specification(write):
    content = bytes([0, 0, 0x0B, 2, 0, 0, 0, 1, 0, 0, 0, 2, 1, 2, 0xFF, 0xFE])  # int16 (1, 2)
    np.testing.assert_array_equal(
        read_idx(write(content)), np.array([[258, -2]], np.int16), strict=True
    )


def test_idx_larger_than_a_chunk(write, monkeypatch):
    monkeypatch.setattr("tinygan.data.idx.CHUNK", 7)
    for content in idx(IMAGES), pack(idx(IMAGES)):
        np.testing.assert_array_equal(read_idx(write(content)), IMAGES)


GOOD = idx(IMAGES)
ZIPPED = pack(GOOD)
BAD_FILES = {
    "empty": (b"", "not an IDX file"),
    "short magic": (GOOD[:3], "not an IDX file"),
    "png": (b"\x89PNG\r\n\x1a\n" + GOOD, "not an IDX file"),
    "first byte": (b"\1" + GOOD[1:], "not an IDX file"),
    "unknown type": (GOOD[:2] + b"\x0a" + GOOD[3:], "not an IDX file"),
    "no dimensions": (GOOD[:3] + b"\0" + b"x", "not an IDX file"),
    "too many dimensions": (
        GOOD[:3] + b"\xff" + struct.pack(">255I", *[1] * 255) + b"x",
        "not an IDX file",
    ),
    "header cut": (GOOD[:15], "ends inside its header"),
    "no items": (GOOD[:16], "truncated"),
    "item missing": (GOOD[:-1], "truncated"),
    "item too many": (GOOD + b"\0", "too long"),
    "gzip, not IDX": (pack(b"hello, world"), "not an IDX file"),
    "gzip, item missing": (pack(GOOD[:-1]), "truncated"),
    "gzip, item too many": (pack(GOOD + b"\0"), "too long"),
    "gzip cut": (ZIPPED[:-9], "corrupt gzip"),
    "gzip without checksum": (ZIPPED[:-8], "corrupt gzip"),
    "gzip header only": (ZIPPED[:5], "corrupt gzip"),
    "gzip checksum": (ZIPPED[:-8] + bytes([ZIPPED[-8] ^ 1]) + ZIPPED[-7:], "corrupt gzip"),
    "gzip stream": (ZIPPED[:10] + b"\xff" * 8 + ZIPPED[18:], "corrupt gzip"),
    "gzip, then garbage": (ZIPPED + b"garbage", "corrupt gzip"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_idx_file_raises_one_clear_error(write, case):
    content, problem = BAD_FILES[case]
    path = write(content)
    message = error_of(read_idx, path)
    assert problem in message and str(path) in message


def test_idx_of_another_shape(write):
    images, labels = write(idx(IMAGES), "images"), write(idx(IMAGES[:, 0, 0]), "labels")
    assert "(3,) where (3, 4, 5) is expected" in error_of(read_idx, labels, (3, 4, 5))
    assert "(3, 4, 5) where (3,) is expected" in error_of(read_idx, images, (3,))


def test_an_unreadable_path_is_named(tmp_path):
    for path in tmp_path / "absent", tmp_path:
        assert str(path) in error_of(read_idx, path)


def header(*shape):
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape)


BOMBS = {
    "2^31 images in a small file": header(2**31, 28, 28) + bytes(100),
    "the same, zipped": pack(header(2**31, 28, 28) + bytes(100)),
    "1 GiB to the byte": header(2**30) + bytes(100),
    "1 GiB to the byte, zipped": pack(header(2**30) + bytes(100)),
    "product overflows to 0 in 64 bits": header(2**16, 2**16, 2**16, 2**16),
    "empty, but too large for NumPy": header(0, *[2**32 - 1] * 3),
    "unpacks to much more than announced": pack(header(10, 28, 28) + bytes(40 << 20)),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_header_reserves_no_memory(write, bomb):
    path = write(BOMBS[bomb])
    tracemalloc.start()
    try:
        error_of(read_idx, path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_no_more_than_the_limit(write, monkeypatch):
    monkeypatch.setattr("tinygan.data.idx.MAX_BYTES", IMAGES.size)
    read_idx(write(idx(IMAGES)))
    assert "announces" in error_of(read_idx, write(idx(IMAGES.astype("i2"))))


# ---- Dataset ----


def numbered(n=10, classes=3):
    """Return a data set whose image i is a single pixel of value i."""
    pixels = np.arange(n, dtype=np.uint8).reshape(n, 1, 1, 1)
    return Dataset("toy", "train", pixels, np.arange(n) % classes, tuple("abcdefgh"[:classes]))


def test_pixels_to_float_and_back():
    pixels = np.arange(256, dtype=np.uint8)
    x = to_float(pixels)
    assert x.dtype == np.float32 and x[0] == -1 and x[255] == 1 and np.all(np.diff(x) > 0)
    np.testing.assert_allclose(x, pixels / 127.5 - 1, atol=1e-7)
    np.testing.assert_array_equal(to_uint8(x), pixels, strict=True)
    np.testing.assert_array_equal(to_uint8(x.astype(np.float64)), pixels, strict=True)
    outside = np.float32([-np.inf, -7, -1.01, -0.999, 0.999, 1.01, 7, np.inf])
    clipped = np.uint8([0, 0, 0, 0, 255, 255, 255, 255])
    np.testing.assert_array_equal(to_uint8(outside), clipped, strict=True)


def test_a_batch_depends_only_on_its_arguments():
    data = numbered()
    stream = [to_uint8(data.batch(i, 3, seed=5)[0]).ravel() for i in range(9)]
    for i in (8, 0, 4, 4):  # in any order, and from a new Dataset
        again = to_uint8(numbered().batch(i, 3, seed=5)[0]).ravel()
        np.testing.assert_array_equal(again, stream[i])
    for epoch in range(3):
        order = np.random.default_rng([5, epoch]).permutation(10)
        np.testing.assert_array_equal(np.concatenate(stream[3 * epoch : 3 * epoch + 3]), order[:9])
    assert not np.array_equal(stream[0], to_uint8(data.batch(0, 3, seed=6)[0]).ravel())


def test_parallel_streams_do_not_disturb_each_other():
    small, large = numbered(4), numbered(10)
    alone = [large.batch(i, 5, seed=1)[1] for i in range(4)]
    for i in range(4):
        small.batch(i, 4, seed=1), large.batch(9 - i, 5, seed=2)
        np.testing.assert_array_equal(large.batch(i, 5, seed=1)[1], alone[i])


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 7, 10])
def test_an_epoch_has_no_image_twice_and_drops_the_partial_batch(batch_size):
    data, per_epoch = numbered(), 10 // batch_size
    for epoch in range(3):
        batches = [data.batch(epoch * per_epoch + i, batch_size, seed=0) for i in range(per_epoch)]
        assert all(images.shape == (batch_size, 1, 1, 1) for images, _ in batches)
        seen = np.concatenate([to_uint8(images).ravel() for images, _ in batches])
        assert len(set(seen.tolist())) == per_epoch * batch_size
        np.testing.assert_array_equal(np.concatenate([labels for _, labels in batches]), seen % 3)


def test_batch_arguments_out_of_range_are_errors():
    data = numbered()
    assert "11" in error_of(data.batch, 0, 11, 0) and "10" in error_of(data.batch, 0, 11, 0)
    error_of(data.batch, 0, 0, 0)
    error_of(data.batch, -1, 2, 0)
    error_of(data.batch, 0, 2, -1)


def test_a_dataset_needs_a_class_name():
    images, labels = np.zeros((2, 4, 4, 1), np.uint8), np.zeros(2, int)
    assert Dataset("mine", "train", images, labels, ("all",)).num_classes == 1
    with pytest.raises(ValueError, match="data set mine .train.: class_names needs at least one"):
        Dataset("mine", "train", images, labels, ())


def test_a_dataset_is_read_only_and_leaves_its_inputs_alone():
    images, labels = np.zeros((2, 3, 4, 1), np.uint8), np.array([0, 1], np.uint8)
    data = Dataset("toy", "train", images, labels, ("a", "b"))
    assert (len(data), data.image_shape, data.num_classes) == (2, (3, 4, 1), 2)
    assert data.labels.dtype == np.int64
    for array in data.images, data.labels:
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    images[0] = labels[0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.name = "other"


@pytest.mark.parametrize(
    "images, labels",
    [
        (np.zeros((2, 3, 3, 1), np.float32), [0, 1]),
        (np.zeros((2, 3, 3), np.uint8), [0, 1]),
        (np.uint8(0), [0]),
        (np.zeros((0, 3, 3, 1), np.uint8), np.zeros(0, int)),
        (np.zeros((2, 3, 3, 1), np.uint8), [0]),
        (np.zeros((2, 3, 3, 1), np.uint8), [[0], [1]]),
        (np.zeros((2, 3, 3, 1), np.uint8), [0.0, 1.0]),
        (np.zeros((2, 3, 3, 1), np.uint8), [0, 2]),
        (np.zeros((2, 3, 3, 1), np.uint8), [-1, 0]),
    ],
)
def test_images_and_labels_that_do_not_fit_are_errors(images, labels):
    assert "toy" in error_of(Dataset, "toy", "train", images, labels, ("a", "b"))


# ---- the built-in digits ----

HISTOGRAMS = {  # of MNIST's first 10,000 training labels and first 2,000 test labels
    "train": [1001, 1127, 991, 1032, 980, 863, 1014, 1070, 944, 978],
    "test": [175, 234, 219, 207, 217, 179, 178, 205, 192, 194],
}


@pytest.mark.parametrize("split", HISTOGRAMS)
def test_the_built_in_digits(split):
    data = load("digits", split)
    n = sum(HISTOGRAMS[split])
    assert data.images.shape == (n, 28, 28, 1) and data.images.dtype == np.uint8 and len(data) == n
    assert data.labels.dtype == np.int64 and np.bincount(data.labels).tolist() == HISTOGRAMS[split]
    assert data.class_names == tuple("0123456789") and (data.name, data.split) == ("digits", split)
    assert data.images.min() == 0 and data.images.max() == 255


def test_digits_are_the_default_data_set():
    data = load()
    assert (data.name, data.split) == ("digits", "train")
    images, labels = data.batch(0, 64, seed=0)
    assert images.shape == (64, 28, 28, 1)
    assert images.dtype == np.float32 and labels.dtype == np.int64
    assert images.min() == -1 and images.max() == 1
    first = np.random.default_rng([0, 0]).permutation(10_000)[:64]
    np.testing.assert_array_equal(to_uint8(images), data.images[first])
    np.testing.assert_array_equal(labels, data.labels[first])


def test_digits_look_like_their_labels():
    """Images and labels belong together: the nearest class mean is right four times out of five."""
    train, test = load("digits", "train"), load("digits", "test")
    means = np.stack([to_float(train.images[train.labels == k]).mean(0).ravel() for k in range(10)])
    x = to_float(test.images).reshape(len(test), -1)
    nearest = np.argmin(-2 * x @ means.T + np.sum(means**2, axis=1), axis=1)
    assert 0.75 < np.mean(nearest == test.labels) < 0.9


def test_digits_come_with_their_licence():
    text = (loading.BUILT_IN / "README.md").read_text()
    assert "https://creativecommons.org/licenses/by-sa/3.0/" in text and "Yann LeCun" in text


# ---- stacks of three digits ----


def channels(image):
    """Return the bytes of each channel of an image."""
    return [channel.tobytes() for channel in np.moveaxis(image, 2, 0)]


@pytest.mark.parametrize("split", HISTOGRAMS)
def test_a_stack_is_three_digits(split):
    digits, stacks = load("digits", split), load("stacked-digits", split)
    assert stacks.images.shape == (len(digits), 28, 28, 3)
    assert (stacks.name, stacks.split) == ("stacked-digits", split)
    assert stacks.num_classes == 1000
    assert stacks.class_names[:2] == ("000", "001") and stacks.class_names[-1] == "999"
    label_of = {image.tobytes(): label for image, label in zip(digits.images, digits.labels)}
    for image, label in zip(stacks.images[:200], stacks.labels):
        a, b, c = (label_of[channel] for channel in channels(image))
        assert label == 100 * a + 10 * b + c and stacks.class_names[label] == f"{a}{b}{c}"


def test_stacks_are_drawn_evenly_and_are_always_the_same():
    digits, stacks = load("digits"), load("stacked-digits")
    for place in 100, 10, 1:
        counts = np.bincount(stacks.labels // place % 10)
        np.testing.assert_allclose(counts, HISTOGRAMS["train"], atol=4 * np.sqrt(1000))
        assert counts.tolist() != HISTOGRAMS["train"]  # digits are drawn with replacement
    assert len(set(stacks.labels.tolist())) > 990
    np.testing.assert_array_equal(stacks.images, load("stacked-digits").images)
    # These draws must never change: the stacks are the same for everyone.
    indices = np.random.default_rng(1000).integers(0, 9_000, (9_000, 3))
    expected = np.concatenate(digits.images[indices[7]], axis=2)
    np.testing.assert_array_equal(stacks.images[7], expected)


def test_the_digits_of_held_out_stacks_are_in_no_other_stack():
    rest, held_out = load("digits").hold_out()
    training_digits = {image.tobytes() for image in rest.images}
    training_digits -= {image.tobytes() for image in held_out.images}  # in case of duplicates
    stacks = load("stacked-digits").hold_out()[1]
    assert len(stacks) == 1000
    for image in stacks.images:
        assert not training_digits.intersection(channels(image))


def test_stacked_mnist_is_where_mnist_is(sandbox):
    assert locate("stacked-mnist") is None and locate("stacked-digits") == loading.BUILT_IN
    folder = fill(sandbox / "data_dir", "mnist")
    assert locate("stacked-mnist", folder) == folder
    data = load("stacked-mnist", "test", folder)
    assert data.images.shape == (4, 28, 28, 3) and data.name == "stacked-mnist"
    assert "typo does not exist" in error_of(load, "stacked-mnist", "train", sandbox / "typo")
    assert "'valid'" in error_of(load, "stacked-mnist", "valid")


# ---- the search for files ----


def fake_files(seed):
    """Return a small data set in MNIST's format: {file: content}."""
    rng = np.random.default_rng(seed)
    arrays = []
    for n in (6, 4):
        arrays += [rng.integers(0, 256, (n, 28, 28), np.uint8), rng.integers(0, 10, n, np.uint8)]
    return dict(zip(sources.ALL_FILES, map(idx, arrays)))


FAKE = {"mnist": fake_files(1), "fashion-mnist": fake_files(2)}


@pytest.fixture(autouse=True)
def sandbox(tmp_path, monkeypatch):
    """A folder with an empty working directory and cache, where small fake data sets replace MNIST
    and Fashion-MNIST, and nothing can be downloaded."""
    work, cache = tmp_path / "work", tmp_path / "cache"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.delenv("TINYGAN_DATA", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    for name, source in sources.SOURCES.items():
        monkeypatch.setitem(sources.SOURCES, name, dataclasses.replace(source, mirrors=()))
    for name, files in FAKE.items():
        checksums = {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
        fake = dataclasses.replace(
            sources.SOURCES[name], sizes={"train": 6, "test": 4}, sha256=checksums, mirrors=()
        )
        monkeypatch.setitem(sources.SOURCES, name, fake)
    return tmp_path


def fill(folder, name, spelling="{}", packed=False):
    """Write the files of a fake data set to a folder, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in FAKE[name].items():
        (folder / spelling.format(file)).write_bytes(pack(content) if packed else content)
    return folder


def assert_loads(name, data_dir=None):
    """Assert that `load` returns the fake data set."""
    for split, files in sources.FILES.items():
        data = load(name, split, data_dir)
        images, labels = (np.frombuffer(FAKE[name][file], np.uint8) for file in files)
        np.testing.assert_array_equal(data.images.ravel(), images[16:])
        np.testing.assert_array_equal(data.labels, labels[8:])
        assert data.name == name and data.image_shape == (28, 28, 1) and data.num_classes == 10


def test_the_first_folder_wins(sandbox, monkeypatch):
    data_dir, env = sandbox / "data_dir", sandbox / "env"
    monkeypatch.setenv("TINYGAN_DATA", str(env))
    folders = [root / name for root in (data_dir, env) for name in ("", "mnist", "MNIST/raw")]
    folders += [sandbox / "cache/tinygan/mnist", Path("data/MNIST/raw")]
    data_dir.mkdir()
    assert locate("mnist", data_dir) is None
    for folder in reversed(folders):
        fill(folder, "mnist")
        assert locate("mnist", data_dir) == locate("mnist", str(data_dir)) == folder
        assert_loads("mnist", data_dir)


def test_a_data_folder_that_does_not_exist_is_refused_at_once(sandbox):
    assert "typo does not exist" in error_of(load, "mnist", "train", sandbox / "typo")
    assert "typo does not exist" in error_of(catalogue, sandbox / "typo")


def test_torchvision_and_subfolders_for_fashion(sandbox):
    data_dir = sandbox / "data_dir"
    for subfolder in "FashionMNIST/raw", "fashion-mnist":
        fill(data_dir / subfolder, "fashion-mnist")
        assert locate("fashion-mnist", data_dir) == data_dir / subfolder
        assert_loads("fashion-mnist", data_dir)
    assert load("fashion-mnist", "train", data_dir).class_names[9] == "Ankle boot"


def test_the_user_cache_folder(sandbox, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    monkeypatch.setenv("HOME", str(sandbox / "home"))
    monkeypatch.setenv("USERPROFILE", str(sandbox / "home"))
    assert locate("mnist") is None
    folder = fill(sandbox / "home/.cache/tinygan/mnist", "mnist")
    assert locate("mnist", folder) == locate("mnist")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dotted", [False, True])
def test_all_spellings_of_the_file_names(sandbox, packed, dotted):
    folder = fill(sandbox / "data_dir", "mnist", "{}.gz" if packed else "{}", packed)
    if dotted:
        for path in list(folder.iterdir()):
            path.rename(folder / path.name.replace("-idx", ".idx"))
        assert any(path.name.startswith("train-images.idx3-ubyte") for path in folder.iterdir())
    assert_loads("mnist", folder)


def test_a_folder_with_a_file_missing_does_not_count(sandbox):
    for file in sources.ALL_FILES:
        folder = fill(sandbox / file, "mnist")
        (folder / file).unlink()
        assert locate("mnist", folder) is None


def test_a_folder_of_the_other_data_set_is_skipped(sandbox, monkeypatch):
    data_dir, env = fill(sandbox / "data_dir", "fashion-mnist"), sandbox / "env"
    monkeypatch.setenv("TINYGAN_DATA", str(env))
    assert locate("mnist", data_dir) is None
    fill(env, "mnist")
    assert locate("mnist", data_dir) == env and locate("fashion-mnist", data_dir) == data_dir
    assert_loads("mnist", data_dir)
    assert_loads("fashion-mnist", data_dir)


@pytest.mark.parametrize("file", sources.ALL_FILES)
def test_a_wrong_file_is_named_and_never_used(sandbox, file):
    folder = fill(sandbox / "data_dir", "mnist")
    split = "train" if file in sources.FILES["train"] else "test"
    content = FAKE["mnist"][file]
    (folder / file).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    message = error_of(load, "mnist", split, folder)
    assert str(folder / file) in message and "is not mnist's" in message
    assert "delete" not in message and "give another folder as --data-dir" in message
    assert f"to train on it as your own data, use --data {folder}" in message

    (folder / file).write_bytes(content[:-1])
    assert "truncated" in error_of(load, "mnist", split, folder)


def test_a_file_of_the_other_data_set_among_the_right_ones(sandbox):
    folder = fill(sandbox / "data_dir", "mnist")
    (folder / TRAIN_IMAGES).write_bytes(FAKE["fashion-mnist"][TRAIN_IMAGES])
    message = error_of(load, "mnist", "train", folder)
    assert str(folder / TRAIN_IMAGES) in message and "belongs to fashion-mnist" in message


def test_images_in_place_of_labels_are_an_error(sandbox):
    folder = fill(sandbox / "data_dir", "mnist")
    (folder / TRAIN_LABELS).write_bytes(FAKE["mnist"][TRAIN_IMAGES])
    message = error_of(load, "mnist", "train", folder)
    assert str(folder / TRAIN_LABELS) in message and "(6, 28, 28) where (6,) is expected" in message


def test_unknown_names_are_errors():
    known = "digits", "mnist", "fashion-mnist", "stacked-mnist"
    for function in load, locate:
        message = error_of(function, "cifar")
        assert all(name in message for name in ("'cifar'", *known))
    assert all(word in error_of(load, "digits", "valid") for word in ("'valid'", "train", "test"))


def test_catalogue(sandbox):
    folder = fill(sandbox / "data_dir/mnist", "mnist")
    rows = {row.name: row for row in catalogue(sandbox / "data_dir")}
    names = ["digits", "mnist", "fashion-mnist", "kmnist", "emnist-letters", "emnist-balanced"]
    assert list(rows)[:8] == [*names, "stacked-digits", "stacked-mnist"]
    assert "ring" in list(rows)[8:]
    assert rows["digits"][1:4] == rows["stacked-digits"][1:4] == ("built in", 10_000, 2_000)
    assert rows["mnist"][1:4] == rows["stacked-mnist"][1:4] == (str(folder), 6, 4)
    assert rows["fashion-mnist"].where == "not here"
    assert all(row.description and "\n" not in row.description for row in rows.values())

    (folder / TEST_LABELS).write_bytes(b"junk")
    assert "not an IDX file" in catalogue(sandbox / "data_dir")[1].where


def test_the_checksums_are_the_published_ones():
    """They are read from the source file, because the fixture `sandbox` replaces them."""
    checksums = re.findall(r'"([0-9a-f]{64})"', Path(sources.__file__).read_text())
    assert len(checksums) == len(set(checksums)) == 17
    for published in (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
        "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
        "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
        "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
        "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e",
    ):
        assert published in checksums


# Held-out images


def labelled(labels, shuffled=False):
    """A Dataset whose images show their own index."""
    labels = np.array(labels)
    images = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1)
    return Dataset("mine", "train", images, labels, tuple("abcdefghij"), shuffled)


def parts_of(dataset):
    rest, held_out = dataset.hold_out()
    return (
        rest.images.ravel().tolist(),
        [] if held_out is None else held_out.images.ravel().tolist(),
    )


def test_the_last_tenth_of_shuffled_images_is_held_out():
    rest, held_out = parts_of(labelled(np.repeat([0, 1], 20), shuffled=True))
    assert (rest, held_out) == (list(range(36)), list(range(36, 40)))
    for name in ("digits", "stacked-digits"):
        dataset = load(name)
        rest, held_out = dataset.hold_out()
        assert (rest.images == dataset.images[:-1000]).all() and rest.split == "train"
        assert (held_out.images == dataset.images[-1000:]).all() and held_out.split == "held-out"
    assert load("digits").subset(slice(50)).padded(2).shuffled


def test_other_images_are_held_out_at_random_from_each_class():
    counts = lambda parts, labels: [np.bincount(labels[part]).tolist() for part in parts]
    sorted_labels = np.repeat([0, 1], [20, 30])
    for labels in sorted_labels, np.random.default_rng(0).permutation(sorted_labels):
        parts = parts_of(labelled(labels))
        assert counts(parts, labels) == [[18, 27], [2, 3]]
        assert parts[1] != sorted([*np.flatnonzero(labels == 0)[-2:], *np.flatnonzero(labels)[-3:]])
    one_class = labelled(np.zeros(40, int))
    by_seed = [one_class.hold_out(seed)[1].images.ravel().tolist() for seed in (0, 0, 1, 2)]
    assert by_seed[0] == by_seed[1] == parts_of(one_class)[1]
    assert len({*map(tuple, by_seed)}) == 3 and [*map(len, by_seed)] == [4] * 4
    # Of many small classes, some have one image held out: not always the first ones.
    labels = np.repeat(np.arange(60), 4)
    images = np.zeros((240, 1, 1, 1), np.uint8)
    held_out = Dataset("mine", "train", images, labels, tuple(map(str, range(60)))).hold_out()[1]
    assert len(held_out) == 24 and held_out.labels.max() > 40


@pytest.mark.parametrize("sizes", [[100, 100], [1, 1, 98], [150, 2, 2], [1] * 10, [9, 1], [2] * 10,
                                   [18, 1, 1], [5] * 8, [1] * 9, [1, 2]])  # fmt: skip
def test_every_class_stays_in_the_rest(sizes):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    for order in (labels, labels[::-1], np.random.default_rng(0).permutation(labels)):
        rest, held_out = parts_of(labelled(order))
        assert sorted(rest + held_out) == list(range(len(labels)))
        assert {*order[rest]} == {*order}  # a class with a single image is not held out
        assert len(held_out) <= len(labels) // 10
        shares = np.bincount(order[held_out], minlength=len(sizes)) if held_out else 0 * sizes[0]
        assert (np.abs(shares - np.array(sizes) / 10) <= 1).all()
        assert (rest, held_out) == parts_of(labelled(order))
