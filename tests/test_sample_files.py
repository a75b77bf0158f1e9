"""`tinygan sample -o folder/`: single PNG files, which the other commands read."""

import errno
import os

import numpy as np
import pytest
from test_cli import fails, succeeds

from tinygan import data
from tinygan.cli import main
from tinygan.data import pictures
from tinygan.data.folder import list_folder
from tinygan.training import sample_files
from tinygan.training.sample_files import names_of_classes, safe_names, write_images

pytestmark = pytest.mark.cpu

TINY = "--steps 2 --batch-size 4 --set sample_every=9 g_channels=2 d_channels=2".split()
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 6, 4, 1), np.uint8)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run without classes."""
    out = tmp_path_factory.mktemp("samples") / "run"
    succeeds("train", "dcgan", *TINY, "--out", out)
    return out


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    """A run with own data, in RGB, of three classes."""
    folder = tmp_path_factory.mktemp("samples")
    images = np.random.default_rng(0).integers(0, 256, (30, 16, 8, 3), np.uint8)
    names = ["two/three", "ONE", "one"]
    labels = np.arange(30) % 3
    np.savez(folder / "own.npz", images=images, labels=labels, class_names=names)
    succeeds("train", "cgan", "--data", folder / "own.npz", *TINY, "--out", folder / "run")
    return folder / "run"


def arrays(capsys, run, path, *words):
    succeeds("sample", run, "-o", path, *words)
    capsys.readouterr()
    return np.load(path)


def paths(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_images_without_classes(run, tmp_path, capsys):
    words = "-n", "5", "--seed", "3"
    succeeds("sample", run, "-o", f"{tmp_path}/new/", *words)
    assert "5 images by dcgan" in capsys.readouterr().out
    assert paths(tmp_path / "new") == [f"00000{i}.png" for i in range(5)]
    expected = arrays(capsys, run, tmp_path / "x.npz", *words)["images"]
    for i, image in enumerate(expected):
        assert np.array_equal(pictures.read(tmp_path / f"new/00000{i}.png", 1), image)
    assert np.array_equal(data.load(str(tmp_path / "new")).images, expected)


def test_images_with_classes(conditional, tmp_path, capsys):
    words = "-n", "7", "--seed", "3", "--weights", "last"
    (tmp_path / "empty").mkdir()
    succeeds("sample", conditional, "-o", tmp_path / "empty", *words)  # a folder, without a slash
    assert paths(tmp_path / "empty") == sorted(
        [*(f"two-three/00000{i}.png" for i in (0, 3, 6)), "ONE/000001.png", "ONE/000004.png"]
        + ["one-2/000002.png", "one-2/000005.png"]
    )
    expected = arrays(capsys, conditional, tmp_path / "x.npz", *words)
    names = ["two-three", "ONE", "one-2"]
    for i, (image, k) in enumerate(zip(expected["images"], expected["labels"])):
        path = tmp_path / f"empty/{names[k]}/{i:06d}.png"
        assert np.array_equal(pictures.read(path, 3), image)
    read = data.load(str(tmp_path / "empty"))
    assert sorted(read.class_names) == sorted(names) and read.images.shape == (7, 16, 8, 3)


def test_other_commands_read_the_folder(run, tmp_path, capsys):
    succeeds("sample", run, "-n", "40", "-o", f"{tmp_path}/s/")
    succeeds("train", "dcgan", "--data", tmp_path / "s", *TINY, "--out", tmp_path / "run")
    succeeds("eval", run, tmp_path / "s", "-n", "40", "--features", "random")
    assert "40 images" in capsys.readouterr().out


def test_grey_images_of_a_colour_network_stay_rgb(tmp_path):
    write_images(tmp_path / "new", IMAGES.repeat(3, axis=3))
    assert not pictures.read_header(tmp_path / "new/000000.png").is_grey


def test_one_class(conditional, tmp_path):
    succeeds("sample", conditional, "-n", "2", "--label", "one", "-o", f"{tmp_path}/new/")
    assert paths(tmp_path / "new") == ["one-2/000000.png", "one-2/000001.png"]


@pytest.mark.parametrize(
    "out, message",
    [
        ("full/", "full is not empty, and samples are not mixed with other files: give the name"),
        ("full", "full is not empty"),
        ("new", "the name must end in .png, .gif, .webp or .npz, or in / for a new folder"),
        ("new.png/", "new.png: the name of a folder must not end in .png"),
        ("none/new/", "the folder none does not exist"),
        ("file/", "file: there is a file of that name: choose another one"),
        ("new/ --walk latents", "must end in .gif"),
    ],
)
def test_what_is_refused(run, tmp_path, monkeypatch, capsys, out, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    assert message in fails(capsys, "sample", run, "-o", *out.split())
    assert paths(tmp_path) == ["file", "full/mine.txt"]


def test_points_are_no_pictures(tmp_path, capsys):
    words = "--steps 2 --batch-size 4 --set hidden=4 sample_every=9".split()
    succeeds("train", "gan", "--data", "ring", *words, "--out", tmp_path / "run")
    capsys.readouterr()
    message = fails(capsys, "sample", tmp_path / "run", "-o", f"{tmp_path}/new/")
    assert "a folder is for images, but ring has points: write a .png or an .npz" in message
    assert not (tmp_path / "new").exists()


def test_an_interruption_leaves_whole_files_and_says_so(run, tmp_path, monkeypatch, capsys):
    write = sample_files._write

    def interrupted(path, image):
        if path.name == "000003.png":
            raise KeyboardInterrupt
        write(path, image)

    monkeypatch.setattr(sample_files, "_write", interrupted)
    assert main(["sample", str(run), "-n", "9", "-o", f"{tmp_path}/new/"]) == 130
    assert f"3 of 9 images are in {tmp_path}/new: for all, give a" in capsys.readouterr().err
    assert paths(tmp_path / "new") == ["000000.png", "000001.png", "000002.png"]
    monkeypatch.undo()
    assert "is not empty" in fails(capsys, "sample", run, "-o", f"{tmp_path}/new/")


def test_a_full_disk_leaves_no_part_of_a_file(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    class Full:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        write = full

    opened = sample_files.open_file
    monkeypatch.setattr(
        sample_files, "open_file", lambda path, mode: (opened(path, mode).close(), Full())[1]
    )
    with pytest.raises(sample_files.InputError, match="No space left on device .make room."):
        write_images(tmp_path / "new", IMAGES)
    assert paths(tmp_path / "new") == []


def test_a_file_that_appears_meanwhile_stays(tmp_path, monkeypatch):
    (tmp_path / "000002.png").write_text("mine")
    monkeypatch.setattr(sample_files, "check_empty", lambda folder: None)
    with pytest.raises(sample_files.InputError, match="000002.png has just appeared"):
        write_images(tmp_path, IMAGES)
    assert (tmp_path / "000002.png").read_text() == "mine"


def test_images_that_no_png_file_holds(tmp_path):
    with pytest.raises(sample_files.InputError, match="1 or 3 channels, these images have 4"):
        write_images(tmp_path / "new", IMAGES.repeat(4, axis=3))
    assert not (tmp_path / "new").exists()


def test_names_of_folders_are_safe_and_different(tmp_path):
    names = ["T-shirt/top", "", "..", "con", "nul.txt", "a", "A", "a-6", "train", ".hidden"]
    names += [
        "x" * 300,
        "x" * 301,
        "tab\there",
        "Thumbs.db",
        "é" * 90,
        "a. ",
        "C:\\b",
        "val",
        "\ud800",
    ]
    safe = safe_names(names)
    assert len({name.casefold() for name in safe}) == len(names)
    for name in safe:
        (tmp_path / name).mkdir()  # directly in the folder
        write_images(tmp_path / name, IMAGES[:1])
    assert sorted(list_folder(tmp_path)[0]) == sorted(safe)
    assert safe[:5] == ["T-shirt-top", "class", "class-2", "con_", "nul.txt_"]
    assert len(data.load(str(tmp_path)).class_names) == len(names)


def test_the_classes_of_built_in_data_have_names():
    assert names_of_classes({"data": "fashion-mnist", "classes": 10})[9] == "Ankle boot"
    assert names_of_classes({"data": "fashion-mnist", "classes": 11}) == ()
    assert names_of_classes({"data": "own", "classes": 2, "class_names": ["a", "b"]}) == ["a", "b"]
    assert names_of_classes({"data": "stacked-mnist", "classes": 1000}) == ()
