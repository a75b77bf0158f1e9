"""KMNIST and EMNIST: found as they are distributed (an archive, gzipped files, unpacked ones), made
upright, verified where a checksum is published, downloaded, and told from a user's own files."""

import dataclasses
import gzip
import hashlib
import os
import random
import shlex
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from mistakes import error_of
from test_data import FAKE, fill, idx, pack, sandbox
from test_download import files_under, server

from tinygan.cli import main
from tinygan.data import catalogue, load, locate, sources
from tinygan.data.sources import (
    ALL_FILES,
    EMNIST,
    FILES,
    SOURCES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
)
from tinygan.errors import InputError

pytestmark = pytest.mark.cpu

__all__ = ["sandbox", "server"]  # fixtures; the first one is automatic

REAL = dict(SOURCES)  # before the fixtures replace them
SIZES = {"train": 6, "test": 4}
NAMES = "kmnist", "emnist-letters", "emnist-balanced"
LETTERS = "emnist-letters"


def stored_files(name):
    """Return a small data set as its files store it: {file: content}."""
    source, rng = REAL[name], np.random.default_rng(len(name))
    arrays = []
    for n in SIZES.values():
        last = source.first_label + len(source.class_names)
        labels = rng.integers(source.first_label, last, n, np.uint8)
        labels[0], labels[-1] = source.first_label, last - 1
        arrays += [rng.integers(0, 256, (n, 28, 28), np.uint8), labels]
    return dict(zip(ALL_FILES, map(idx, arrays)))


STORED = {name: stored_files(name) for name in NAMES}


def gz_name(name, file=None):
    """Return the name of a gzipped file as it is distributed, or the names of all four."""
    if file is None:
        return [gz_name(name, file) for file in ALL_FILES]
    split, kind = ("train" if file in FILES["train"] else "test"), file.split("-", 1)[1]
    return f"{name}-{split}-{kind}.gz" if name != "kmnist" else f"{file}.gz"


def gz_files(name):
    """Return {name as distributed: gzipped content}."""
    return {gz_name(name, file): pack(content) for file, content in STORED[name].items()}


def write_zip(path, members, method=zipfile.ZIP_DEFLATED):
    """Write {name: content} to a zip file and return its path. It is always the same file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return path


def emnist_members():
    """Return the members of EMNIST's archive, with others that are not needed."""
    files = {**gz_files("emnist-letters"), **gz_files("emnist-balanced")}
    return {
        "gzip/": b"",
        "gzip/emnist-letters-mapping.txt": b"1 65 97\n",
        **{f"gzip/{name}": content for name, content in files.items()},
    }


@pytest.fixture(autouse=True)
def small_sets(sandbox, monkeypatch, tmp_path):
    """Small data sets replace KMNIST and EMNIST."""
    content = write_zip(tmp_path / "emnist-archive" / "gzip.zip", emnist_members()).read_bytes()
    checksum = hashlib.sha256(content).hexdigest()
    archive = dataclasses.replace(EMNIST, size=len(content), sha256=checksum)
    for name in NAMES:
        algorithm = hashlib.sha256 if name == "kmnist" else hashlib.md5
        packed = {
            file: algorithm(pack(content)).hexdigest() for file, content in STORED[name].items()
        }
        small = dataclasses.replace(SOURCES[name], sizes=SIZES, packed=packed)
        if small.archive:
            small = dataclasses.replace(small, archive=archive)
        monkeypatch.setitem(SOURCES, name, small)


@pytest.fixture
def gzip_zip(tmp_path):
    """The path of a small EMNIST archive."""
    return tmp_path / "emnist-archive" / "gzip.zip"


def put(folder, name, packed=True, dotted=False):
    """Write the four files of a data set to a folder, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in STORED[name].items():
        path = folder / gz_name(name, file).replace("-idx", ".idx" if dotted else "-idx")
        path = path if packed else path.with_name(path.name.removesuffix(".gz"))
        path.write_bytes(pack(content) if packed else content)
    return folder


def assert_loads(name, data_dir=None):
    """Assert that `load` returns the small data set, upright, with labels from 0."""
    for split, (images_file, labels_file) in FILES.items():
        data = load(name, split, data_dir)
        images = np.frombuffer(STORED[name][images_file], np.uint8)[16:].reshape(-1, 28, 28)
        labels = np.frombuffer(STORED[name][labels_file], np.uint8)[8:].astype(int)
        if name != "kmnist":
            images = images.transpose(0, 2, 1)
        labels = labels - (name == "emnist-letters")
        np.testing.assert_array_equal(data.images, images[..., np.newaxis])
        np.testing.assert_array_equal(data.labels, labels)
        assert data.images.flags.c_contiguous
        assert (data.name, data.split) == (name, split)
        assert data.class_names == REAL[name].class_names


# ---- what is known about them ----


def test_class_names():
    assert REAL["kmnist"].class_names == (
        "o",
        "ki",
        "su",
        "tsu",
        "na",
        "ha",
        "ma",
        "ya",
        "re",
        "wo",
    )
    assert REAL["emnist-letters"].class_names == tuple("abcdefghijklmnopqrstuvwxyz")
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt"
    assert REAL["emnist-balanced"].class_names == tuple("0123456789" + letters)
    assert [len(REAL[name].class_names) for name in NAMES] == [10, 26, 47]


def test_sizes():
    sizes = {name: tuple(REAL[name].sizes.values()) for name in NAMES}
    assert sizes == {
        "kmnist": (60_000, 10_000),
        "emnist-letters": (124_800, 20_800),
        "emnist-balanced": (112_800, 18_800),
    }
    assert REAL["emnist-letters"].shape(TRAIN_IMAGES) == (124_800, 28, 28)
    assert EMNIST.size == 561_753_746


@pytest.mark.parametrize("name", REAL)
def test_a_row_is_consistent(name):
    row = REAL[name]
    assert list(row.sizes) == ["train", "test"]
    assert len(set(row.class_names)) == len(row.class_names)
    assert {len(checksum) for checksum in row.sha256.values()} <= {64}
    assert {len(checksum) for checksum in row.packed.values()} <= {32, 64}
    assert sorted(row.sha256 or row.packed) == sorted(ALL_FILES)
    assert all(n % len(row.class_names) == 0 for n in row.sizes.values()) or not row.packed
    if name != "digits":
        assert row.torchvision and row.mirrors and row.homepage.startswith("https://")
        assert all(mirror.endswith("/") for mirror in row.mirrors)


def test_no_two_files_have_the_same_checksum():
    checksums = [c for row in REAL.values() for c in (*row.sha256.values(), *row.packed.values())]
    assert len(checksums) == len(set(checksums)) == 6 * 4
    # Deeplearning4j and the package mnists publish these.
    assert REAL["emnist-letters"].packed[TEST_LABELS] == "d4108920cd86601ec7689a97f2de7f59"
    assert REAL["emnist-balanced"].packed[TRAIN_IMAGES] == "4041b0d6f15785d3fa35263901b5496b"


def test_a_catalogue_lists_them(sandbox, gzip_zip, capsys):
    rows = {row.name: row for row in catalogue()}
    assert all(rows[name][1:4] == ("not here", 6, 4) for name in NAMES)
    rows = {row.name: row for row in catalogue(gzip_zip.parent)}
    assert rows["emnist-letters"].where == rows["emnist-balanced"].where == str(gzip_zip.parent)
    assert main(["data"]) == 0
    assert all(name in capsys.readouterr().out for name in NAMES[:1])


def test_a_similar_name_is_suggested():
    assert "did you mean kmnist?" in error_of(load, "k-mnist")
    assert "emnist-letters" in error_of(load, "emnist")


# ---- where they are found, and in which form ----

KMNIST_PLACES = "", "kmnist", "KMNIST/raw"
EMNIST_PLACES = (
    *("", "gzip", "emnist", "emnist/gzip", "emnist-letters", "EMNIST/raw", "EMNIST/raw/gzip"),
)


@pytest.mark.parametrize("dotted", [False, True])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_all_spellings_of_the_file_names(sandbox, name, packed, dotted):
    folder = put(sandbox / "data_dir", name, packed, dotted)
    assert locate(name, folder) == folder
    assert_loads(name, folder)


@pytest.mark.parametrize(
    "name, place",
    [
        *(("kmnist", place) for place in KMNIST_PLACES),
        *(("emnist-letters", place) for place in EMNIST_PLACES),
    ],
)
def test_all_folders(sandbox, monkeypatch, name, place):
    data_dir = sandbox / "data_dir"
    folder = put(data_dir / place, name)
    assert locate(name, data_dir) == folder
    assert_loads(name, data_dir)
    monkeypatch.setenv("TINYGAN_DATA", str(data_dir))
    assert locate(name) == folder


@pytest.mark.parametrize("place", EMNIST_PLACES[:-1])
@pytest.mark.parametrize("zip_name", ["gzip.zip", "emnist.zip", "emnist-gzip.zip"])
def test_the_archive_is_read_without_being_unpacked(sandbox, gzip_zip, place, zip_name):
    data_dir = sandbox / "data_dir"
    (data_dir / place).mkdir(parents=True)
    gzip_zip.rename(data_dir / place / zip_name)
    for name in NAMES[1:]:
        if place != "emnist-letters" or name == place:
            assert locate(name, data_dir) == data_dir / place
            assert_loads(name, data_dir)
    assert files_under(sandbox) == [str(os.path.join("data_dir", place, zip_name))]


def test_torchvision_s_folder_here(sandbox, gzip_zip):
    raw = sandbox / "work/data/EMNIST/raw"
    raw.mkdir(parents=True)
    gzip_zip.rename(raw / "gzip.zip")
    assert_loads("emnist-balanced")
    put(sandbox / "work/data/KMNIST/raw", "kmnist")
    assert_loads("kmnist")


@pytest.mark.parametrize("spelling", ["x/y/{}", "{}"])
def test_members_have_any_folder_and_spelling(sandbox, spelling):
    """An archive that somebody has made of the files again."""
    members = {}
    for file, content in STORED[LETTERS].items():
        members[spelling.format(gz_name(LETTERS, file)).replace("-idx", ".idx")] = pack(content)
    members[f"__MACOSX/._{gz_name(LETTERS, TRAIN_IMAGES)}"] = b"Mac OS X"
    folder = write_zip(sandbox / "a/gzip.zip", members, zipfile.ZIP_STORED).parent
    assert_loads(LETTERS, folder)

    members = {name.removesuffix(".gz"): STORED[LETTERS][file] for file, name in
               zip(ALL_FILES, map(spelling.format, gz_name(LETTERS)))}  # fmt: skip
    assert_loads(LETTERS, write_zip(sandbox / "b/gzip.zip", members).parent)


def test_images_are_upright(sandbox):
    """EMNIST stores images column by column."""
    upright = np.zeros((28, 28), np.uint8)
    upright[4:24, 10] = upright[23, 10:20] = 255  # an L
    content = idx(np.stack([upright.T] * SIZES["train"]))
    folder = put(sandbox / "data_dir", LETTERS, packed=False)
    (folder / gz_name(LETTERS, TRAIN_IMAGES).removesuffix(".gz")).write_bytes(content)
    for image in load(LETTERS, "train", folder).images:
        np.testing.assert_array_equal(image[..., 0], upright)


def test_the_labels_of_letters_count_from_0(sandbox):
    content = idx(np.array([1, 2, 26, 25, 3, 1], np.uint8))
    folder = put(sandbox / "data_dir", LETTERS, packed=False)
    (folder / gz_name(LETTERS, TRAIN_LABELS).removesuffix(".gz")).write_bytes(content)
    data = load(LETTERS, "train", folder)
    assert data.labels.tolist() == [0, 1, 25, 24, 2, 0]
    assert [data.class_names[k] for k in data.labels] == list("abzyca")


def test_some_images_of_each_class_are_held_out(sandbox, monkeypatch):
    """It is not known that the images are in random order."""
    monkeypatch.setitem(
        SOURCES, "kmnist", dataclasses.replace(SOURCES["kmnist"], sizes={"train": 200, "test": 4})
    )
    folder = put(sandbox / "data_dir", "kmnist", packed=False)
    (folder / TRAIN_IMAGES).write_bytes(idx(np.zeros((200, 28, 28), np.uint8)))
    (folder / TRAIN_LABELS).write_bytes(idx(np.repeat(np.arange(10, dtype=np.uint8), 20)))
    rest, held_out = load("kmnist", "train", folder).hold_out()
    assert np.bincount(held_out.labels).tolist() == [2] * 10 and len(rest) == 180


def test_training_on_letters(sandbox, gzip_zip):
    """From the archive to a run, with 26 classes."""
    out = sandbox / "run"
    words = ["--data", LETTERS, "--data-dir", str(gzip_zip.parent), "--out", str(out)]
    sizes = ["batch_size=2", "g_channels=2", "d_channels=2"]
    assert main(["train", "cgan", *words, "--steps", "1", "--set", *sizes]) == 0
    assert LETTERS in (out / "config.json").read_text()


# ---- what can be verified, and what cannot ----


@pytest.mark.parametrize("name", NAMES)
def test_unpacked_files_are_accepted_with_one_warning(sandbox, capsys, name):
    folder = put(sandbox / "data_dir", name, packed=False)
    for split in FILES:
        load(name, split, folder)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith(f"tinygan: warning: the content of {name}'s")
    assert f"in {folder} cannot be verified" in lines[0]


@pytest.mark.parametrize("name", NAMES)
def test_files_that_can_be_verified_come_first(sandbox, capsys, gzip_zip, name):
    """As in torchvision's folders, which hold the same files packed and unpacked."""
    folder = put(sandbox / "data_dir", name, packed=False)
    (folder / gz_name(name, TEST_LABELS).removesuffix(".gz")).write_bytes(b"junk")
    if name == "kmnist":
        put(folder, name)
    else:
        gzip_zip.rename(folder / "gzip.zip")
    assert_loads(name, folder)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", NAMES)
def test_files_that_were_gzipped_anew_are_accepted_with_a_warning(sandbox, capsys, name):
    folder = put(sandbox / "my data", name)
    for file, content in STORED[name].items():
        (folder / gz_name(name, file)).write_bytes(gzip.compress(content, 1, mtime=5))
    assert_loads(name, folder)
    assert "cannot be verified: they were gzipped anew" in capsys.readouterr().err
    content = STORED[name][TEST_LABELS]
    (folder / gz_name(name, TEST_LABELS)).write_bytes(pack(content)[:-1])
    assert "corrupt gzip" in error_of(load, name, "test", folder)


def test_files_may_hold_fewer_images_than_the_published_ones(sandbox):
    """The paper's set of letters is smaller than the files."""
    folder = put(sandbox / "data_dir", LETTERS, packed=False)
    images, labels = (folder / unpacked(LETTERS, file, np.uint8([0]))[0] for file in FILES["train"])
    images.write_bytes(idx(np.zeros((3, 28, 28), np.uint8)))
    message = error_of(load, LETTERS, "train", folder)
    assert "of the 3 images (it holds 6 labels)" in message and "as your own data" in message
    labels.write_bytes(idx(np.uint8([1, 26, 3])))
    assert load(LETTERS, "train", folder).labels.tolist() == [0, 25, 2]


def unpacked(name, file, array):
    """Return the name of an unpacked file, and content for it."""
    return gz_name(name, file).removesuffix(".gz"), idx(array)


@pytest.mark.parametrize(
    "name, file, array, problem",
    [
        (LETTERS, TEST_LABELS, np.uint8([0, 1, 2, 3]), "holds labels 0 to 3 where 1 to 26 are"),
        (LETTERS, TEST_LABELS, np.uint8([1, 1, 1, 27]), "holds labels 1 to 27 where 1 to 26 are"),
        (LETTERS, TEST_LABELS, np.int8([1, 2, 3, 4]), "of type int8 where uint8 is expected"),
        ("kmnist", TEST_LABELS, np.uint8([1, 1, 1, 10]), "holds labels 1 to 10 where 0 to 9 are"),
        ("kmnist", TEST_LABELS, np.uint8([1] * 5), "of the 4 images (it holds 5 labels)"),
        ("kmnist", TRAIN_IMAGES, np.zeros((6, 28, 28)), "type float64 where uint8 is expected"),
        ("kmnist", TRAIN_IMAGES, np.zeros((6, 32, 32), np.uint8), "where (6, 28, 28) is expected"),
        ("mnist", TRAIN_IMAGES, np.zeros((9, 28, 28), np.uint8), "where (6, 28, 28) is expected"),
        ("mnist", TEST_LABELS, np.uint8([1, 2, 3, 4]), "is damaged (its checksum differs)"),
    ],
)
def test_own_data_under_a_known_name_is_never_lost(sandbox, name, file, array, problem):
    """They are the user's own, perhaps: the message says how to use them."""
    folder = sandbox / "my data"
    fill(folder, "mnist") if name == "mnist" else put(folder, name, packed=False)
    name_there, content = (file, idx(array)) if name == "mnist" else unpacked(name, file, array)
    (folder / name_there).write_bytes(content)
    message = error_of(load, name, "train" if file in FILES["train"] else "test", folder)
    assert problem in message and str(folder / name_there) in message
    assert message.endswith(f"to train on it as your own data, use --data '{folder}'")
    assert not any(word in message for word in ("delete", "remove", "download", "overwrite"))
    assert (folder / name_there).read_bytes() == content


@pytest.mark.parametrize("folder", ["mnist", "my data"])
def test_the_advice_for_own_data_works(sandbox, folder):
    """A relative folder may have the name of a data set."""
    for split, n in ("train", 20), ("t10k", 10):
        write = sandbox / "work" / folder
        write.mkdir(exist_ok=True)
        labels = np.arange(n, dtype=np.uint8) % 2
        (write / f"{split}-images-idx3-ubyte").write_bytes(idx(np.zeros((n, 8, 8), np.uint8)))
        (write / f"{split}-labels-idx1-ubyte").write_bytes(idx(labels))
    message = error_of(load, "mnist", "train", folder)
    path = shlex.split(message[message.index("use --data ") :])[2]
    for split, n in ("train", 20), ("test", 10):
        assert load(path, split).images.shape == (n, 8, 8, 1)


# ---- other data sets under the same names ----


@pytest.mark.parametrize("packed", [False, True])
def test_a_folder_of_another_known_set_is_skipped(sandbox, monkeypatch, packed):
    data_dir = fill(sandbox / "data_dir", "mnist", "{}.gz" if packed else "{}", packed)
    assert locate("kmnist", data_dir) is None
    monkeypatch.setenv("TINYGAN_DATA", str(put(sandbox / "env", "kmnist")))
    assert_loads("kmnist", data_dir)
    # And the reverse, where the gzipped file tells.
    assert locate("mnist", sandbox / "env") is None
    assert locate("mnist", data_dir) == data_dir


def test_a_file_of_another_known_set_among_the_right_ones(sandbox):
    folder = put(sandbox / "data_dir", "kmnist", packed=False)
    (folder / TRAIN_IMAGES).write_bytes(FAKE["mnist"][TRAIN_IMAGES])
    message = error_of(load, "kmnist", "train", folder)
    assert f"{folder / TRAIN_IMAGES} belongs to mnist, not to kmnist" in message
    assert "use --data mnist" in message

    fill(folder, "mnist")
    (folder / TRAIN_IMAGES).write_bytes(pack(STORED["kmnist"][TRAIN_IMAGES]))
    assert "belongs to kmnist, not to mnist" in error_of(load, "mnist", "train", folder)


# ---- archives that are wrong ----


def test_an_archive_of_something_else_is_passed_over(sandbox, capsys):
    path = write_zip(sandbox / "data_dir/emnist.zip", {"matlab/emnist-letters.mat": b"MATLAB"})
    assert locate(LETTERS, path.parent) is None
    warning = capsys.readouterr().err
    assert f"{path} is passed over: it does not hold {gz_name(LETTERS, TRAIN_IMAGES)}" in warning
    put(path.parent, LETTERS)
    assert_loads(LETTERS, path.parent)


@pytest.mark.parametrize("file", ALL_FILES)
def test_a_wrong_member_is_refused(sandbox, file):
    members = emnist_members()
    content = idx(np.zeros((6, 20, 20), np.uint8) if "images" in file else np.uint8([0] * 6))
    members[f"gzip/{gz_name(LETTERS, file)}"] = pack(content)
    path = write_zip(sandbox / "data_dir/gzip.zip", members)
    message = error_of(load, LETTERS, "train" if file in FILES["train"] else "test", path.parent)
    assert f"gzip/{gz_name(LETTERS, file)} in {path} is not emnist-letters's" in message
    assert f"unpack the archive, and use --data {path.parent}" in message
    assert "delete" not in message
    assert_loads("emnist-balanced", path.parent)  # of this one, all files are right


MEMBER = f"gzip/{gz_name(LETTERS, TEST_LABELS)}"


def changed(path, change):
    """Apply change(bytearray of a file) to the file at `path`."""
    content = bytearray(path.read_bytes())
    path.write_bytes(bytes(change(content) or content))


def directory_entry(content):
    """Return where the entry of MEMBER is in the directory at the end of a zip file."""
    return content.rindex(MEMBER.encode()) - 46


def flip_data(content):
    content[content.index(MEMBER.encode()) + len(MEMBER) + 20] ^= 1


def encrypt(content):
    content[directory_entry(content) + 8] |= 1


def claim(content):
    struct.pack_into("<I", content, directory_entry(content) + 24, 2**31)


def long_directory(content):
    struct.pack_into("<I", content, content.rindex(b"PK\5\6") + 12, 1 << 30)


DAMAGES = {
    "empty": (lambda content: b"\0", "cannot be read as a zip file"),
    "html": (lambda content: b"<html>log in</html>", "cannot be read as a zip file"),
    "cut": (lambda content: content[:-30], "cannot be read as a zip file"),
    "half": (lambda content: content[: len(content) // 2], "cannot be read as a zip file"),
    "a byte of the data": (flip_data, "gzip.zip"),
    "encrypted": (encrypt, "encrypted"),
    "a member that announces too much": (claim, "announces 2,147,483,648 bytes"),
    "a long directory": (long_directory, "cannot be read as a zip file"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_archive_is_one_line(gzip_zip, damage):
    change, problem = DAMAGES[damage]
    changed(gzip_zip, change)
    for function in (locate, load):
        arguments = (LETTERS, "test") if function is load else (LETTERS,)
        message = error_of(function, *arguments, data_dir=gzip_zip.parent)
        assert problem in message and str(gzip_zip) in message
        assert "download it again, or give another file" in message
    assert str(gzip_zip) in {row.name: row for row in catalogue(gzip_zip.parent)}[LETTERS].where


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods_of_compression_are_refused(sandbox, method):
    path = write_zip(sandbox / "data_dir/gzip.zip", emnist_members(), method)
    assert "by another method than deflate" in error_of(load, LETTERS, "test", path.parent)


def header(*shape):
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape)


BOMBS = {
    "many zeros": bytes(16 << 20),
    "many zeros, gzipped": pack(bytes(16 << 20)),
    "the right header, and too much": pack(header(4) + bytes(16 << 20)),
    "a header that announces 2 GiB": pack(header(2**31) + bytes(100)),
    "an endless name in the header of gzip": b"\x1f\x8b\x08\x08" + bytes(6) + b"x" * (16 << 20),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_takes_no_memory(sandbox, bomb):
    members = {**emnist_members(), MEMBER: BOMBS[bomb]}
    path = write_zip(sandbox / "data_dir/gzip.zip", members)
    tracemalloc.start()
    try:
        error_of(load, LETTERS, "test", path.parent)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_a_long_list_of_files_takes_no_memory(sandbox):
    path = write_zip(sandbox / "data_dir/gzip.zip", {f"{i:0100}": b"" for i in range(8000)})
    tracemalloc.start()
    try:
        assert "its list of files is too long" in error_of(locate, LETTERS, path.parent)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_random_damage_is_one_line_or_harmless(gzip_zip):
    rng, good = random.Random(0), gzip_zip.read_bytes()
    refused = 0
    for _ in range(150):
        content = bytearray(good)
        # Half of the damages are in the lists of the files.
        first = len(good) - 1200 if rng.random() < 0.5 else 0
        for _ in range(rng.choice([1, 1, 2, 8])):
            content[rng.randrange(first, len(good))] = rng.choice([0, 1, 0x80, 0xFF, 0x50])
        if rng.random() < 0.2:
            del content[rng.randrange(len(content)) :]
        gzip_zip.write_bytes(bytes(content))
        try:
            load(LETTERS, "test", gzip_zip.parent)
        except InputError as error:
            assert "\n" not in str(error)
            refused += 1
    assert 50 < refused < 150


# ---- downloads ----


@pytest.fixture
def use_mirror(server, monkeypatch, gzip_zip):
    """Serve the files of KMNIST and EMNIST's archive; return the URL of the server."""
    for name, content in gz_files("kmnist").items():
        server.pages[f"/new/{name}"] = content
    server.pages["/new/gzip.zip"] = gzip_zip.read_bytes()
    for name in NAMES:
        source = dataclasses.replace(SOURCES[name], mirrors=(f"{server.url}/new/",))
        monkeypatch.setitem(SOURCES, name, source)
    gzip_zip.unlink()
    return server.url


def test_kmnist_is_downloaded_file_by_file(sandbox, server, use_mirror):
    assert_loads("kmnist")
    expected = sorted(f"tinygan/kmnist/{file}.gz" for file in ALL_FILES)
    assert files_under(sandbox / "cache") == expected
    assert_loads("kmnist")
    assert sorted(server.requests) == sorted(f"/new/{file}.gz" for file in ALL_FILES)


def test_the_archive_is_downloaded_once_for_all_its_sets(sandbox, server, use_mirror):
    assert_loads("emnist-letters")
    assert_loads("emnist-balanced")
    assert server.requests == ["/new/gzip.zip"]
    assert files_under(sandbox / "cache") == ["tinygan/emnist/gzip.zip"]
    assert locate(LETTERS) == sandbox / "cache/tinygan/emnist"


def test_the_download_of_the_archive_continues(sandbox, server, use_mirror):
    page = server.pages["/new/gzip.zip"]
    part = sandbox / "cache/tinygan/emnist/gzip.zip.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(page[:1000])
    assert_loads(LETTERS)
    assert server.ranges["/new/gzip.zip"] == ["bytes=1000-"]
    assert server.sent["/new/gzip.zip"] == len(page) - 1000
    assert files_under(sandbox / "cache") == ["tinygan/emnist/gzip.zip"]


@pytest.mark.parametrize("wrong", ["one byte", "shorter", "html"])
def test_a_wrong_archive_is_not_kept(sandbox, server, use_mirror, wrong):
    page = server.pages["/new/gzip.zip"]
    server.pages["/new/gzip.zip"] = {
        "one byte": page[:500] + bytes([page[500] ^ 1]) + page[501:],
        "shorter": page[:-1],
        "html": b"<html>This address has moved</html>",
    }[wrong]
    message = error_of(load, LETTERS)
    assert f"{use_mirror}/new/ sent the wrong bytes" in message
    assert files_under(sandbox / "cache") == []


def test_a_mirror_that_unpacks_is_not_trusted(sandbox, server, use_mirror):
    """Of unpacked files, no checksum is published: a download must be verified all the same."""
    server.pages[f"/new/{TRAIN_IMAGES}.gz"] = STORED["kmnist"][TRAIN_IMAGES]
    assert "sent the wrong bytes" in error_of(load, "kmnist")


def test_the_program_says_its_name(server, use_mirror):
    names = []
    page = server.pages["/new/gzip.zip"]

    def record(handler):
        names.append(handler.headers["User-Agent"])
        handler.reply(200, page)

    server.pages["/new/gzip.zip"] = record
    load(LETTERS)
    assert names == ["tinygan"]


@pytest.mark.parametrize("name", NAMES)
def test_the_message_says_how_to_get_the_files_by_hand(sandbox, server, use_mirror, name):
    server.pages.clear()
    message = error_of(load, name)
    needed = ", ".join(gz_name(name)) if name == "kmnist" else "gzip.zip"
    folder = sandbox / "cache/tinygan" / ("kmnist" if name == "kmnist" else "emnist")
    assert f"put {needed} from {REAL[name].homepage} in {folder}, or" in message
    assert f"{use_mirror}/new/ failed: HTTP Error 404" in message and "--data digits" in message
    assert len(message) < 1500  # `one_line` shortens longer ones


def test_a_file_in_the_place_of_the_archive_is_left_alone(sandbox, server, use_mirror):
    path = write_zip(sandbox / "cache/tinygan/emnist/gzip.zip", {"mine.txt": b"precious"})
    content = path.read_bytes()
    assert f"{path} is in the way: move it elsewhere" in error_of(load, LETTERS)
    assert path.read_bytes() == content and server.requests == []


def test_another_set_in_this_format_is_one_row(sandbox, server, monkeypatch):
    """Its files have MNIST's names, and its labels begin at 5."""
    images, labels = np.arange(784, dtype=np.uint8).reshape(1, 28, 28), np.uint8([6])
    files = {file: idx(images if "images" in file else labels) for file in ALL_FILES}
    row = sources.Source(
        description="two classes",
        class_names=("left", "right"),
        sizes={"train": 1, "test": 1},
        packed={file: hashlib.md5(pack(content)).hexdigest() for file, content in files.items()},
        mirrors=(f"{server.url}/another/",),
        first_label=5,
    )
    server.pages.update({f"/another/{file}.gz": pack(content) for file, content in files.items()})
    monkeypatch.setitem(SOURCES, "another", row)
    data = load("another")
    assert data.labels.tolist() == [1] and data.class_names == ("left", "right")
    np.testing.assert_array_equal(data.images[..., 0], images)
    assert "another" in [row.name for row in catalogue()] and locate("kmnist") is None
