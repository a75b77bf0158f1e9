"""Damaged and crafted files of own data: each is read, or refused in one line, with little
memory."""

import io
import math
import os
import shutil
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mistakes import error_of
from test_fuzz import EDITS, PICTURES, cases, damaged, outcome, peak

from tinygan import data
from tinygan.data import Dataset, arrays
from tinygan.errors import say_once, warn_once

pytestmark = pytest.mark.cpu
SLACK = 3_000_000  # bytes for buffers, Python's own caches and zipfile


def npy(array, **options):
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def npz(write=np.savez, **arrays):
    stream = io.BytesIO()
    write(stream, **arrays)
    return stream.getvalue()


RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 4, 5, 3), np.uint8)
LABELS = np.array([3, 4, 3, 4, 9, 9])
FILES = {
    "npy": npy(IMAGES),
    "npy of floats": npy(RNG.random((6, 5, 7), np.float32)),
    "npy in Fortran order": npy(np.asfortranarray(IMAGES)),
    "npy of big-endian doubles": npy(RNG.uniform(-1, 1, (6, 5, 7)).astype(">f8")),
    "npz": npz(images=IMAGES, labels=LABELS),
    "npz, compressed": npz(np.savez_compressed, images=IMAGES, labels=LABELS),
    "npz with names": npz(images=IMAGES, y=LABELS % 2, class_names=["a", "b"]),
    "npz of two parts": npz(x_train=IMAGES, y_train=LABELS, x_test=IMAGES[:2], y_test=LABELS[:2]),
}


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("own")


def check(result):
    """Check that the result is a message, or a sound Dataset."""
    if not isinstance(result, str):
        assert isinstance(result, Dataset) and len(result) > 1
        assert result.image_shape[2] in (1, 3) and len(set(result.class_names)) <= len(result)
    say_once.cache_clear()  # otherwise they would keep every message
    warn_once.cache_clear()


@pytest.mark.parametrize("name", FILES)
def test_undamaged_files(folder, name):
    path = folder / "file"
    path.write_bytes(FILES[name])
    assert isinstance(outcome(data.load, path), Dataset)


@cases(700)
@given(st.sampled_from(sorted(FILES)), EDITS)
def test_damaged_arrays(folder, name, edits):
    path = folder / "file"
    path.write_bytes(damaged(FILES[name], edits))
    result, memory = peak(outcome, data.load, path)
    check(result)
    assert memory < SLACK


@cases(150)
@given(st.sampled_from(sorted(FILES)), st.integers(0, 2**32), st.integers(1, 40))
def test_damage_anywhere(folder, name, seed, count):
    content, rng = bytearray(FILES[name]), np.random.default_rng(seed)
    for i in rng.integers(0, len(content), count):
        content[i] = rng.integers(256)
    path = folder / "file"
    path.write_bytes(content)
    check(outcome(data.load, path))


# fmt: off
NAMES = [
    "a.png", "b.PNG", "c.jpg", "d.tif", "e.gif", "no suffix", ".hidden.png", "Thumbs.db", "f.txt",
    "cat/a.png", "cat/b.webp", "cat/more/c.bmp", "dog/a.png", "dog/.x.png", "train/cat/a.png",
    "test/cat/a.png", "\u732b/a b.png", "x.npz", "-n.png", "empty/",
]
# fmt: on


@cases(120)
@given(
    st.lists(
        st.tuples(st.sampled_from(NAMES), st.sampled_from(sorted(PICTURES)), EDITS | st.just(b"")),
        max_size=6,
    )
)
def test_folders_with_damaged_pictures(folder, files):
    root = folder / "pictures"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    for name, kind, edits in files:
        path = root / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_bytes(damaged(PICTURES[kind], edits))
    check(outcome(data.load, f"{root}/"))


def header(shape, descr="'|u1'", version=1):
    """The beginning of an .npy file that announces this shape."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(200) + "\n"
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text.encode()


@pytest.mark.parametrize(
    "start",
    [
        header((10**6, 1000, 1000)),
        header((6, 4, 10**12)),
        header((2**62, 2**62, 4)),
        header((0, 10**12, 4)),
        header((-6, -4, 5)),
        header("(6, 4, 'a')"),
        header("6"),
        header((6,) * 70),
        header((6, 4, 5), "'|O'"),
        header((6, 4, 5), "'|V0'"),
        header((6, 4, 5), "'<U1000000000'"),
        header((6, 4, 5), "'<M8[s]'"),
        header((6, 4, 5), "[('a', '<i4')]"),
        header((6, 4, 5), "'nonsense'"),
        header((6, 4, 5), "__import__('os')"),
        header((6, 4, 5), "(" * 90),
        header((6, 4, 5), version=2)[:30],
        header((6, 4, 5), version=9),
        b"\x93NUMPY\1\0\xff\xff" + b"{" * 65535,
        b"\x93NUMPY\2\0\xff\xff\xff\x7f" + b" " * 1000,
        b"\x93NUMPY",
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_crafted_headers(folder, start, packed):
    content = start + IMAGES[..., 0].tobytes()
    if packed:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("images.npy", content)
        content = stream.getvalue()
    path = folder / "file"
    path.write_bytes(content)
    result, memory = peak(outcome, data.load, path)
    assert isinstance(result, str) and str(path) in result and memory < SLACK


def zip_file(content, claimed=None, name="images.npy", method=zipfile.ZIP_DEFLATED):
    """A zip file of one member. claimed: the size that its directory claims."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr(name, content)
        if claimed is not None:
            archive.filelist[0].file_size = claimed
    return stream.getvalue()


@pytest.mark.parametrize(
    "shape, claimed",
    [
        ((1000, 1000, 1000), 10**9 + 300),  # honest about its size, which it does not have
        ((10**5, 200, 200), None),
        ((4, 1000, 1000), 5 * 10**9),
        ((4, 1000, 1000), None),
        ((4, 1000, 1000), 10),
    ],
)
def test_zip_bombs(folder, shape, claimed):
    path = folder / "file"
    path.write_bytes(zip_file(header(shape) + bytes(1 << 26), claimed))
    result, memory = peak(outcome, data.load, path)
    assert isinstance(result, str) and str(path) in result
    assert memory < 2 * min(math.prod(shape), 1 << 23) + SLACK


def test_black_images_may_be_compressed_well(folder):
    path = folder / "black.npz"
    np.savez_compressed(path, images=np.zeros((1000, 64, 64), np.uint8))
    assert len(data.load(path)) == 1000


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_of_compression(folder, method):
    path = folder / "file"
    path.write_bytes(zip_file(FILES["npy"], method=method))
    assert "compressed in another way" in error_of(data.load, path)


def test_a_zip_file_with_very_many_members(folder):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for i in range(30_000):
            archive.writestr(f"{i:060d}.npy", b"")
    path = folder / "file"
    path.write_bytes(stream.getvalue())
    result, memory = peak(outcome, data.load, path)
    assert "list of arrays is longer" in result and memory < SLACK


def test_reading_takes_little_more_memory_than_the_images(folder):
    path, images = folder / "large.npz", RNG.integers(0, 256, (4000, 32, 32, 3), np.uint8)
    np.savez(path, images=images)
    assert peak(data.load, path)[1] < 2 * images.nbytes + SLACK
    np.savez(path, images=images[:1000].astype(np.float32) / 255)
    assert peak(data.load, path)[1] < 2 * 4 * images[:1000].nbytes + SLACK


def test_limits_of_an_array(folder, monkeypatch):
    monkeypatch.setattr(arrays, "MAX_BYTES", 100)
    path = folder / "file.npy"
    np.save(path, IMAGES)
    assert "more than the limit" in error_of(data.load, path)


def test_paths_that_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", "/dev/null", "x/" * 2000, "/", "./\0"):
        if path != "/":
            assert isinstance(outcome(data.load, path), str)
