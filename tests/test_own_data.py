"""Data of one's own: folders of pictures, arrays in files, pairs of IDX files; their cache; how a
run finds them again."""

import gzip
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from mistakes import error_of
from PIL import Image
from test_data import idx

from tinygan import data
from tinygan.cli import main
from tinygan.data import Dataset, cache, folder, pictures
from tinygan.errors import InputError, say_once, warn_once
from tinygan.files import checkpoint
from tinygan.training import recipes
from tinygan.training.trainer import Trainer

pytestmark = pytest.mark.cpu


@pytest.fixture(autouse=True)
def sandbox(tmp_path, monkeypatch):
    """An empty working folder, and a cache folder of its own. All messages are written again."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    say_once.cache_clear()
    warn_once.cache_clear()
    return work


def pixels(height=8, width=8, channels=3, seed=0):
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def save(path, array=None, **options):
    """Write an array (or 8x8 random pixels) as a picture."""
    path = os.fspath(path)
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    Image.fromarray(pixels() if array is None else array).save(path, **options)


def make_classes(root="mine", classes=("cat", "dog"), n=10, **shape):
    """A folder with n pictures of each class, whose pixels tell the class and the number."""
    for k, name in enumerate(classes):
        for i in range(n):
            save(f"{root}/{name}/{i}.png", pixels(seed=100 * k + i, **shape))
    return root


# ---- Folders ----


def test_a_folder_of_classes():
    make_classes(classes=("cat", "dog 2", "dog 10"), n=11)
    found = data.load("mine")
    assert found.class_names == ("cat", "dog 2", "dog 10") and found.name == "mine"  # natural order
    assert found.labels.tolist() == [0] * 11 + [1] * 11 + [2] * 11 and not found.shuffled
    for k in range(3):
        for i in range(11):
            assert (found.images[11 * k + i] == pixels(seed=100 * k + i)).all()


@pytest.mark.parametrize(
    "path", ["mine", "mine/", "./mine", "../work/mine", "~/my pictures", "~/my pictures/"]
)
def test_the_spellings_of_a_path(path, tmp_path):
    make_classes()
    shutil.copytree("mine", tmp_path / "home/my pictures")
    found = data.load(path)
    assert len(found) == 20 and os.path.isabs(found.origin.path)
    assert found.name == ("my-pictures" if "my" in path else "mine")
    assert data.load(tmp_path / "work/mine").name == "mine"  # a Path


def test_a_folder_without_classes():
    for i in range(12):
        save(f"mine/{i}.png", pixels(seed=i))
    found = data.load("mine")
    assert found.num_classes == 1 and not found.labels.any()
    assert all((image == pixels(seed=i)).all() for i, image in enumerate(found.images))


def test_a_folder_called_like_a_data_set_is_given_by_its_path():
    make_classes("mnist")
    found = data.load("./mnist")
    assert found.name == "own-mnist" and len(found) == 20


def test_pictures_are_found_in_all_depths_and_system_files_are_not():
    make_classes(n=2)
    save("mine/cat/more/deep/3.PNG")
    for name in ".hidden.png", "._0.png", "Thumbs.db", "cat/.DS_Store", "cat/desktop.ini":
        with open(f"mine/{name}", "w") as file:
            file.write("no picture")
    save("mine/.ipynb_checkpoints/1.png")
    save("mine/__MACOSX/1.png")
    found = data.load("mine")
    assert found.class_names == ("cat", "dog") and found.labels.tolist() == [0, 0, 0, 1, 1]


def test_other_files_are_passed_over_with_a_message(capsys):
    make_classes(n=2)
    with open("mine/cat/notes.txt", "w") as file:
        file.write("These are cats.")
    shutil.copy("mine/cat/0.png", "mine/cat/no_suffix")  # a picture all the same
    assert len(data.load("mine")) == 5
    err = capsys.readouterr().err
    assert "passed over: cat/notes.txt" in err and err.count("\n") == 1


@pytest.mark.skipif(os.name == "nt", reason="needs links")
def test_links():
    make_classes(n=2)
    os.symlink("..", "mine/cat/up")
    os.symlink(".", "mine/cat/here")
    os.symlink("itself", "mine/cat/itself")
    os.symlink("../dog", "mine/cat/dogs")  # no loop: its pictures are of both classes
    assert data.load("mine").labels.tolist() == [0] * 4 + [1] * 2
    os.symlink(".", "mine/itself")
    os.symlink("..", "mine/above")
    assert data.load("mine").labels.tolist() == [0] * 4 + [1] * 2
    for name in "abcdefg":  # links from everywhere to everywhere
        os.makedirs(f"mine/dog/{name}")
    for name in "abcdefg":
        for other in "abcdefg":
            os.symlink(f"../{other}", f"mine/dog/{name}/to_{other}")
        save(f"mine/dog/{name}/1.png")
    assert data.load("mine").labels.tolist() == [0] * 11 + [1] * 9
    for name in "abcdefg":
        shutil.rmtree(f"mine/dog/{name}")
    os.symlink("nowhere.png", "mine/cat/nothing.png")
    os.mkfifo("mine/cat/pipe.png")
    message = error_of(data.load, "mine")
    assert "2 of 8 pictures cannot be read: cat/nothing.png, cat/pipe.png" in message


@pytest.mark.parametrize(
    "names", [("train", "test"), ("Training", "val"), ("train", "test", "val")]
)
def test_folders_called_train_and_test_are_no_classes(names, capsys):
    for k, name in enumerate(names):
        make_classes(f"mine/{name}", n=3 + k)
    found, test = data.load("mine"), data.load("mine", "test")
    assert found.class_names == test.class_names == ("cat", "dog")
    assert (len(found), len(test), test.split) == (6, 8, "test")
    err = capsys.readouterr().err
    assert "are no classes" in err and ("val is not used" in err) == (len(names) == 3)


def test_the_test_part_has_the_classes_and_colours_of_the_training_part():
    make_classes("mine/train", ("cat", "cow", "dog"), n=2)
    make_classes("mine/test", ("dog",), n=2, channels=1, height=16, width=16)
    test = data.load("mine", "test")
    assert test.labels.tolist() == [2, 2] and test.image_shape == (8, 8, 3)
    make_classes("mine/test", ("elk",), n=2)
    for split in "train", "test":  # so that it is said before training
        assert "has the class elk" in error_of(data.load, "mine", split)


def test_pictures_and_folders_beside_train_and_test():
    for name in "train", "test":
        make_classes(f"mine/{name}", n=2)
    save("mine/loose.png")
    assert "1 picture beside folders of pictures" in error_of(data.load, "mine")
    os.rename("mine/loose.png", "loose.png")
    make_classes("mine/extra", n=2)
    assert "holds train, test beside extra" in error_of(data.load, "mine")


def test_a_test_part_of_other_sizes_is_cropped_once():
    for i, size in enumerate([(48, 48), (48, 48)]):
        save(f"mine/train/{i}.png", pixels(*size, seed=i))
    for i, size in enumerate([(48, 48), (50, 48), (48, 60)]):
        save(f"mine/test/{i}.png", pixels(*size, seed=i))
    test = data.load("mine", "test")
    assert test.image_shape == (48, 48, 3)
    assert (test.images[1] == pixels(50, 48, seed=1)[1:-1]).all()
    assert (test.images[2] == pixels(48, 60, seed=2)[:, 6:-6]).all()


@pytest.mark.parametrize("wrapper", ["mine", "mine/train", "mine/a/b"])
def test_a_folder_that_holds_only_a_folder_of_classes(wrapper, capsys):
    """As many archives do when they are unpacked."""
    make_classes(f"{wrapper}/images")
    assert data.load("mine").class_names == ("cat", "dog")
    assert "holds only the folder images" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="needs links")
def test_folders_that_hold_nothing_but_links_to_each_other(capsys):
    for name, other in ("a", "b"), ("b", "a"):
        os.mkdir(name)
        os.symlink(f"../{other}", f"{name}/{other}")
    assert "holds no pictures" in error_of(data.load, "./a")
    assert capsys.readouterr().err.count("\n") == 1  # each folder is read once


def test_runs_in_the_folder_of_pictures_are_no_pictures(capsys):
    make_classes()
    before = data.load("mine").origin.fingerprint
    os.chdir("mine")
    trained("--data", ".")
    trained("--data", ".", "--out", "one")
    assert data.load(".").origin.fingerprint == before
    assert "folders of runs are passed over: one, runs" in capsys.readouterr().err
    assert run("train", "--resume", "one", "--steps", 4) == 0
    assert run("train", "--resume", "runs/gan-mine-001", "--steps", 4) == 0


def test_idx_files_beside_pictures():
    make_classes()
    Path("mine/a.idx").write_bytes(idx(GREY))
    assert "IDX files beside cat, dog" in error_of(data.load, "mine")


def test_without_a_test_part():
    with pytest.raises(data.NoTestPart, match="mine has no test images"):
        data.load(make_classes(), "test")


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: os.mkdir("mine"), "mine holds no pictures: give a folder"),
        (lambda: os.makedirs("mine/a/b"), "mine/a holds no pictures"),
        (lambda: (make_classes(), os.mkdir("mine/elk")), "the class elk has no pictures"),
        (lambda: (make_classes(), save("mine/0.png")), "1 picture beside folders of pictures"),
        (lambda: save("mine/0.png"), "mine holds one image"),
        (lambda: np.savez("mine.npz", images=np.zeros((1, 4, 4))), "holds no pictures"),
    ],
)
def test_folders_that_cannot_be_used(make, message):
    make()
    os.makedirs("mine", exist_ok=True)
    assert message in error_of(data.load, "mine")


def test_a_folder_of_arrays():
    os.mkdir("mine")
    np.save("mine/a b.npy", np.zeros((2, 4, 4), np.uint8))
    assert "--data 'mine/a b.npy'" in error_of(data.load, "mine")


def test_all_broken_files_are_named_together():
    make_classes(n=3)
    with open("mine/cat/0.png", "rb") as file:
        whole = file.read()
    broken = {"cat/1.png": b"", "cat/2.png": whole[:-30], "dog/0.png": b"text" * 100}
    for name, content in broken.items():
        Path(f"mine/{name}").write_bytes(content)
    message = error_of(data.load, "mine")
    assert "3 of 6 pictures cannot be read" in message and all(name in message for name in broken)


def test_so_many_broken_files_that_the_message_says_how_many_more():
    for i in range(300):
        os.makedirs("mine", exist_ok=True)
        open(f"mine/{i}.png", "w").close()
    message = error_of(data.load, "mine")
    shown = len(re.findall(r"\d+\.png(?=,| and)", message))
    assert f"and {300 - shown} more" in message and shown > 50 and len(message) < 1400


# ---- Pictures ----


def test_grey_stays_grey_and_one_colour_picture_makes_all_rgb():
    make_classes(channels=1)
    assert data.load("mine").image_shape == (8, 8, 1)
    assert (data.load("mine").images[0, ..., 0] == pixels(channels=1)).all()
    save("mine/dog/a.png", pixels(seed=5))
    found = data.load("mine")
    assert found.image_shape == (8, 8, 3)
    assert (found.images[0] == pixels(channels=1)[..., None]).all()


def read_back(name="a.png", channels=3, **options):
    return pictures.read(name, channels, **options)


def test_transparent_pixels_become_white():
    rgba = np.dstack([pixels(), np.full((8, 8), 255, np.uint8)])
    rgba[0, :, 3] = 0
    save("a.png", rgba)
    assert (read_back()[1:] == pixels()[1:]).all() and (read_back()[0] == 255).all()
    Image.fromarray(pixels(channels=1)).save("a.png", transparency=int(pixels(channels=1)[3, 3]))
    clear = pixels(channels=1) == pixels(channels=1)[3, 3]
    assert (read_back(channels=1)[..., 0] == np.where(clear, 255, pixels(channels=1))).all()


def test_a_palette_becomes_rgb():
    few_colours = pixels()[:2, :2].repeat(4, 0).repeat(4, 1)
    Image.fromarray(few_colours).quantize(4).save("a.png")
    with Image.open("a.png") as image:
        assert image.mode == "P"
    assert (read_back() == few_colours).all()


def test_16_bits_are_scaled():
    values = np.array([[0, 128, 129, 65535], [257, 256, 32896, 65407]], np.uint16)
    Image.fromarray(values).save("a.png")
    assert read_back(channels=1)[..., 0].tolist() == [[0, 0, 1, 255], [1, 1, 128, 255]]
    Image.fromarray(values.astype(np.float32) / 65535).save("a.tif")
    assert read_back("a.tif", 1)[..., 0].tolist() == [[0, 0, 1, 255], [1, 1, 128, 255]]


@pytest.mark.parametrize("kind", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_says_how_a_picture_stands(orientation, kind):
    upright = pixels(3, 4).repeat(8, 0).repeat(8, 1)  # which JPEG keeps
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[pictures.ORIENTATION] = orientation
    lossless = {"webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}}
    name = f"a.{kind}"
    save(name, np.ascontiguousarray(stored), exif=exif, **lossless.get(kind, {}))
    assert pictures.read_header(name) == (24, 32, False)
    for found in read_back(name), read_back(name, size=(24, 32)):
        assert np.abs(found.astype(int) - upright).max() <= 12 * (kind == "jpg")


def test_of_an_animation_the_first_frame_is_read():
    frames = [Image.fromarray(pixels(channels=1, seed=i)) for i in range(3)]
    frames[0].save("a.gif", save_all=True, append_images=frames[1:])
    assert (read_back("a.gif", 1)[..., 0] == pixels(channels=1)).all()


@pytest.mark.parametrize("kind", ["bmp", "gif", "ico", "jpg", "pcx", "ppm", "tga", "tif", "webp"])
def test_many_formats(kind):
    smooth = np.full((16, 16, 3), [30, 130, 230], np.uint8)
    for i in range(2):
        save(f"mine/{i}.{kind}", smooth)
    assert np.abs(data.load("mine").images.astype(int) - [30, 130, 230]).max() < 8


def test_pictures_of_different_sizes_become_32x32(capsys):
    save("mine/0.png", np.full((60, 100, 3), 7, np.uint8))
    save("mine/1.png", np.full((40, 20, 3), 9, np.uint8))
    found = data.load("mine")
    assert found.image_shape == (32, 32, 3) and set(found.images.ravel()) == {7, 9}
    err = capsys.readouterr().err
    assert "2 pictures of 20 to 100 pixels a side are cropped in the middle and resized" in err


@pytest.mark.parametrize(
    "size, given, expected",
    [
        ((48, 32), None, (48, 32)),
        ((64, 64), None, (64, 64)),
        ((65, 64), None, (32, 32)),
        ((48, 32), 16, (16, 16)),
        ((48, 32), "24x16", (24, 16)),
        ((48, 32), (24, 16), (24, 16)),
        ((48, 32), "24", (24, 24)),
    ],
)
def test_the_size_of_images(size, given, expected):
    save("mine/0.png", pixels(*size))
    save("mine/1.png", pixels(*size))
    assert data.load("mine", image_size=given).image_shape == (*expected, 3)


def test_a_picture_is_cropped_in_the_middle_and_resized_with_a_good_filter():
    # Left and right of the middle square are other colours, which must not bleed into it.
    wide = np.full((32, 96, 3), 255, np.uint8)
    wide[:, 32:64] = 40
    save("a.png", wide)
    assert (read_back(size=(16, 16)) == 40).all() and (read_back(size=(64, 64)) == 40).all()
    # A fine chessboard becomes an even grey: a filter that picks pixels would keep some black.
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    save("a.png", board)
    assert np.abs(read_back(channels=1, size=(16, 16)).astype(int)[2:-2, 2:-2] - 127.5).max() < 2
    small = pictures.fit_arrays(board[None, ..., None], (16, 16))[0]
    assert (small == read_back("a.png", 1, size=(16, 16))).all()


def test_a_large_jpeg_is_shrunk_while_it_is_decoded():
    rows = np.linspace(0, 255, 512).astype(np.uint8)
    save("a.jpg", np.repeat(rows[:, None], 512, 1), quality=95)
    small = read_back("a.jpg", 1, size=(16, 16))[..., 0]
    assert np.abs(small - rows.reshape(16, 32).mean(1)[:, None]).max() < 4


@pytest.mark.parametrize("size", ["0", "1025", "12x", "12x13x14", "x", "-3", "big", (3, 4, 5), 2.5])
def test_wrong_image_sizes(size):
    assert "image size" in error_of(data.load, make_classes(n=1), image_size=size)


# ---- The cache ----


def test_a_second_start_decodes_nothing(monkeypatch):
    first = data.load(make_classes())
    monkeypatch.setattr(pictures, "read", lambda *args: pytest.fail("decoded"))
    second = data.load("mine")
    assert (second.images == first.images).all() and second.class_names == first.class_names
    assert second.origin == first.origin


@pytest.mark.parametrize("change", ["content", "name", "class", "size", "removed"])
def test_changed_pictures_are_decoded_again(change):
    before = data.load(make_classes())
    if change == "content":
        save("mine/cat/3.png", pixels(seed=999))
    elif change == "name":
        os.rename("mine/cat/3.png", "mine/cat/x.png")
    elif change == "class":
        os.rename("mine/cat", "mine/elk")
    elif change == "removed":
        os.remove("mine/dog/9.png")
    after = data.load("mine", image_size=4 if change == "size" else None)
    assert before.origin.fingerprint != after.origin.fingerprint


def test_a_damaged_or_unwritable_cache_is_no_error(tmp_path, capsys, monkeypatch):
    first = data.load(make_classes())
    (kept,) = (tmp_path / "cache/tinygan/computed").iterdir()
    kept.write_bytes(kept.read_bytes()[:-100])
    assert (data.load("mine").images == first.images).all()
    assert len(kept.read_bytes()) > 1000  # it was written again
    (tmp_path / "blocked").write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "blocked"))
    assert (data.load("mine").images == first.images).all()
    assert "the cache is not used" in capsys.readouterr().err


def test_the_cache_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "MAX_BYTES", 10_000)
    keys = [f"{i:064x}" for i in range(4)]
    folder = tmp_path / "cache/tinygan/computed"
    for age, key in enumerate(keys[:3]):
        cache.write("test", key, {"a": np.full(250, age)})  # about 2,500 bytes
        os.utime(folder / f"test-{key}.npz", (age, age))
    (folder / "something.txt").write_text("of somebody else" * 1000)
    assert (cache.read("test", keys[0])["a"] == 0).all()  # now the last one used
    cache.write("test", keys[3], {"a": np.zeros(550)})
    assert [cache.read("test", key) is not None for key in keys] == [True, False, True, True]
    assert (folder / "something.txt").exists()
    cache.write("test", keys[1], {"a": np.zeros(700)})  # more than half of the cache
    assert cache.read("test", keys[1]) is None


# ---- Arrays ----

GREY = np.arange(6 * 5 * 8, dtype=np.uint8).reshape(6, 5, 8)
RGB = np.random.default_rng(0).integers(0, 256, (6, 5, 8, 3), np.uint8)


@pytest.mark.parametrize(
    "array, expected",
    [
        (GREY, GREY[..., None]),
        (GREY[..., None], GREY[..., None]),
        (RGB, RGB),
        (np.moveaxis(RGB, 3, 1), RGB),
        (np.asfortranarray(RGB), RGB),
        (GREY[:, None], GREY[..., None]),
        (RGB.astype(np.int64), RGB),
        (RGB.astype(np.float32) / 255, RGB),
        (RGB / 127.5 - 1, RGB),
        ((RGB / 255).astype(">f8"), RGB),
        (GREY > 100, np.where(GREY > 100, 255, 0)[..., None]),
    ],
)
@pytest.mark.parametrize("kind", ["npy", "npz", "compressed"])
def test_arrays(array, expected, kind):
    write = {"npy": np.save, "npz": np.savez, "compressed": np.savez_compressed}[kind]
    name = f"mine.{'npy' if kind == 'npy' else 'npz'}"
    write(name, array)
    found = data.load(name)
    assert found.images.dtype == np.uint8 and (found.images == expected).all()
    assert found.num_classes == 1 and found.name == "mine"


def test_layouts(capsys):
    array = np.moveaxis(RGB, 3, 1)
    np.save("a.npy", array)
    data.load("a.npy")
    assert "(6, 3, 5, 8) is taken as (N, C, H, W), channels first" in capsys.readouterr().err
    np.save("b.npy", np.zeros((6, 3, 5, 3), np.uint8))
    assert data.load("b.npy").image_shape == (3, 5, 3)
    assert data.load("b.npy", layout="NCHW").image_shape == (5, 3, 3)
    assert "8 channels" in error_of(data.load, "a.npy", layout="NHWC")
    assert "layout 'HWC'" in error_of(data.load, "a.npy", layout="HWC")
    np.save("c.npy", GREY)
    assert "without channels" in error_of(data.load, "c.npy", layout="NHWC")


@pytest.mark.parametrize(
    "array, message",
    [
        (RGB.astype(np.float32), "floats must be in [0, 1] or [-1, 1], not 0 to 255"),
        (np.full((3, 4, 5), 1.001), "floats must be in"),
        (np.full((3, 4, 5), -1.001), "floats must be in"),
        (np.full((3, 4, 5), np.nan), "NaN or infinite"),
        (np.where(GREY == 3, np.inf, 0), "NaN or infinite"),
        (GREY.astype(np.uint16) * 257, "whole numbers must be 0 to 255, not 0 to 61423"),
        (np.full((3, 4, 5), -1), "whole numbers must be 0 to 255"),
        (GREY.reshape(6, 40), "holds an array (6, 40), but images have the shape"),
        (RGB[0], "holds an array (5, 8, 3), but images have the shape"),
        (np.zeros((2, 3, 4, 5, 3), np.uint8), "(2, 3, 4, 5, 3)"),
        (np.zeros((3, 4, 4, 4), np.uint8), "4 channels: leave out the alpha channel"),
        (np.zeros((3, 9, 9, 2), np.uint8), "2 channels"),
        (np.zeros((3, 9, 9, 7), np.uint8), "7 channels"),
        (np.zeros((0, 4, 5), np.uint8), "holds no images"),
        (np.zeros((1, 4, 5), np.uint8), "holds one image"),
        (np.zeros((3, 4, 5), complex), "complex128"),
        (np.zeros((3, 4, 5), "U3"), "<U3"),
        (np.zeros((3, 4, 5), [("a", "i4")]), "not uint8 or floats"),
        (np.zeros((2, 2, 2000), np.uint8), "too large: use --image-size"),
    ],
)
def test_arrays_that_are_no_images(array, message):
    np.save("a.npy", array)
    assert message in error_of(data.load, "a.npy") and "a.npy" in error_of(data.load, "a.npy")


def test_an_array_of_objects_is_never_unpickled():
    np.save("a.npy", np.array([{}, {}]), allow_pickle=True)
    np.savez("a.npz", images=np.array([{}, {}]))
    for name in "a.npy", "a.npz":
        assert "Python objects" in error_of(data.load, name)


@pytest.mark.parametrize(
    "labels, names",
    [
        ([1, 1, 26, 26, 3, 3], ("1", "3", "26")),
        ([-1, 1, -1, 1, 5, 5], ("-1", "1", "5")),
        (np.array([[0], [1], [0], [1], [2], [2]], np.uint8), ("0", "1", "2")),
        ([0.0, 1.0, 1.0, 1.0, 2.0, 2.0], ("0", "1", "2")),
        (["b", "a", "b", "c", "a", "b"], ("a", "b", "c")),
    ],
)
@pytest.mark.parametrize("key", ["labels", "y"])
def test_labels(labels, names, key):
    np.savez("mine.npz", images=RGB, **{key: labels})
    found = data.load("mine.npz")
    values = [names.index(str(np.asarray(v).ravel()[0]).removesuffix(".0")) for v in labels]
    assert found.class_names == names and found.labels.tolist() == values


@pytest.mark.parametrize(
    "labels, message",
    [
        (np.zeros(5, int), "6 images need 6 labels"),
        (np.eye(6), "use labels.argmax(1)"),
        (np.linspace(0, 1, 6), "must be whole numbers or texts, not float64"),
        (np.full(6, np.nan), "must be whole numbers or texts, not float64"),
    ],
)
def test_labels_that_do_not_fit(labels, message):
    np.savez("mine.npz", images=RGB, labels=labels)
    assert message in error_of(data.load, "mine.npz")


def test_arrays_that_are_not_used_are_named(capsys):
    np.savez("mine.npz", X=RGB, Y=[0, 1, 0, 1, 0, 1], extra=[1])
    assert data.load("mine.npz").num_classes == 2
    assert "arrays that are not used: extra" in capsys.readouterr().err


def test_floats_may_be_outside_of_their_range_by_rounding():
    for low, high in (-1e-7, 1.0), (0.0, 1.0000002):
        np.save(
            "a.npy", np.clip(RGB / 255, low, None) + (RGB == 0) * low + (RGB == 255) * (high - 1)
        )
        assert (data.load("a.npy").images == RGB).all()


def test_class_names_of_an_npz_file():
    labels = [0, 1, 1, 2, 2, 0]
    np.savez("mine.npz", images=RGB, labels=labels, class_names=["ant", "bee", "cow"])
    assert data.load("mine.npz").class_names == ("ant", "bee", "cow")
    np.savez("mine.npz", images=RGB, labels=labels, class_names=[b"ant", b"bee", b"cow"])
    assert data.load("mine.npz").class_names == ("ant", "bee", "cow")
    np.savez("mine.npz", images=RGB, labels=labels, class_names=["ant", "ant", "cow"])
    assert "two of the class_names are the same" in error_of(data.load, "mine.npz")
    np.savez("mine.npz", images=RGB, labels=labels, class_names=["ant", "bee"])
    assert "labels must be 0 to 1, not 0 to 2" in error_of(data.load, "mine.npz")
    np.savez("mine.npz", images=RGB, labels=labels, class_names=["ant", "bee", "cow", "dog"])
    assert "the class dog has no images" in error_of(data.load, "mine.npz")


def test_the_parts_of_an_npz_file():
    np.savez("mnist.npz", x_train=RGB, y_train=[1, 2, 3, 1, 2, 3], x_test=RGB[:2], y_test=[3, 1])
    train, test = data.load("mnist.npz"), data.load("mnist.npz", "test")
    assert len(train) == 6 and test.labels.tolist() == [2, 0] and (test.images == RGB[:2]).all()
    assert train.name == "own-mnist"
    np.savez("a.npz", x_train=RGB, y_train=[0, 1, 2, 0, 1, 2], class_names=["a", "b", "c"],
             x_test=RGB[:2], y_test=[2, 0])  # fmt: skip
    assert data.load("a.npz", "test").labels.tolist() == [2, 0]
    np.savez("b.npz", x_train=RGB, y_train=[0, 1, 2, 0, 1, 2], x_test=RGB[:2])
    assert "has classes, and the training part has none, or the reverse" in error_of(
        data.load, "b.npz"
    )
    np.savez("c.npz", x_train=RGB / 127.5 - 1, x_test=np.full((2, 5, 8, 3), 0.5))
    assert set(data.load("c.npz", "test").images.ravel()) == {191}  # in the range of x_train


def test_a_file_of_labels():
    np.save("mine.npy", RGB)
    np.save("labels.npy", [5, 5, 7, 7, 7, 7])
    np.savez("labels.npz", y=[5, 5, 7, 7, 7, 7])
    with open("labels.idx", "wb") as file:
        file.write(idx(np.array([5, 5, 7, 7, 7, 7], np.uint8)))
    for name in "labels.npy", "labels.npz", "labels.idx":
        found = data.load("mine.npy", labels=name)
        assert found.class_names == ("5", "7") and found.origin.labels == os.path.abspath(name)
    make_classes()
    assert "--labels is for arrays" in error_of(data.load, "mine", labels="labels.npy")
    assert "there is no file nix" in error_of(data.load, "mine.npy", labels="nix")
    assert "holds no arrays" in error_of(data.load, "mine.npy", labels="mine/cat/0.png")


@pytest.mark.parametrize(
    "arrays, message",
    [
        ({"a": RGB, "b": RGB}, "no array called images (it holds a (6, 5, 8, 3), b (6, 5, 8, 3))"),
        ({"a": np.zeros(3)}, "no array called images"),
        ({}, "no array called images (it holds no arrays)"),
    ],
)
def test_npz_files_without_images(arrays, message):
    np.savez("mine.npz", **arrays)
    assert message in error_of(data.load, "mine.npz")


@pytest.mark.parametrize(
    "name", ["a.zip", "a.pt", "a.tar.gz", "a.npy.gz", "a.h5", "a.txt", "a.png", "a"]
)
def test_files_of_other_kinds(name):
    with open(name, "w") as file:
        file.write("something else")
    message = error_of(data.load, f"./{name}")
    assert name in message and re.search("give|write it as|unpack it", message)


def test_archives_are_to_be_unpacked():
    shutil.make_archive("pictures", "zip", make_classes())
    shutil.make_archive("pictures", "gztar", "mine")
    for name in "pictures.zip", "pictures.tar.gz":
        assert "unpack it" in error_of(data.load, name)


# ---- IDX ----


def test_a_pair_of_idx_files_of_any_name():
    os.mkdir("mine")
    labels = np.array([4, 4, 9, 9, 4, 9], np.uint8)
    for name, array in ("pics.idx3", GREY), ("which.idx1", labels):
        with open(f"mine/{name}", "wb") as file:
            file.write(gzip.compress(idx(array)))
    found = data.load("mine")
    assert (found.images[..., 0] == GREY).all() and found.class_names == ("4", "9")
    assert data.load("mine/pics.idx3").num_classes == 1
    alone = data.load("mine/pics.idx3", labels="mine/which.idx1")
    assert alone.labels.tolist() == found.labels.tolist() == [0, 0, 1, 1, 0, 1]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_own_data_under_the_names_of_mnist(suffix, tmp_path, capsys):
    """Such as KMNIST, which is distributed under the same names."""
    os.mkdir("mine")
    labels = np.arange(6, dtype=np.uint8) % 2
    for split, n in ("train", 6), ("t10k", 4):
        for name, array in ("images-idx3", GREY[:n]), ("labels-idx1", labels[:n]):
            content = idx(array)
            with open(f"mine/{split}-{name}-ubyte{suffix}", "wb") as file:
                file.write(gzip.compress(content) if suffix else content)
    found, test = data.load("mine"), data.load("mine", "test")
    assert (len(found), len(test)) == (6, 4) and (test.images[..., 0] == GREY[:4]).all()
    alone = data.load(f"mine/train-images-idx3-ubyte{suffix}")
    assert alone.labels.tolist() == found.labels.tolist()
    assert "the labels are read from mine/train-labels-idx1-ubyte" in capsys.readouterr().err
    message = error_of(data.load, "mnist", data_dir="mine")
    assert "delete" not in message


def test_an_idx_file_and_its_gzipped_copy():
    for name, content in ("pictures", idx(GREY)), ("pictures.gz", gzip.compress(idx(GREY))):
        Path(name).write_bytes(content)
        assert data.load(f"./{name}").num_classes == 1


def test_several_idx_files():
    os.mkdir("mine")
    for name in "a.idx", "b.idx":
        with open(f"mine/{name}", "wb") as file:
            file.write(idx(GREY))
    assert "several IDX files (a.idx, b.idx): give the one" in error_of(data.load, "mine")


# ---- Names and options ----


def test_names_that_are_neither_a_data_set_nor_a_path():
    assert "unknown data set 'mnst'" in error_of(data.load, "mnst")
    assert "an empty path" in error_of(data.load, "")  # of a variable that is not set
    for path in "./nix", "nix/", "nix.npz", "~/nix", "a/b":
        assert f"there is no file or folder {path}" in error_of(data.load, path)


def test_options_for_own_data_are_refused_for_other_data():
    for option in {"image_size": 32}, {"layout": "NHWC"}, {"labels": "a.npy"}:
        assert "is for your own data" in error_of(data.load, "digits", **option)
    assert "is not used with --data" in error_of(data.load, make_classes(), data_dir=".")


# ---- Runs ----

TINY = ["--batch-size", 4, "--set", "hidden=4", "latent=3", "sample_every=10"]


CONDITIONAL = ["--set", "g_class=concat", "d_class=projection"]


def run(*argv):
    """Call the command line; return its exit code."""
    return main([str(word) for word in argv])


def trained(*argv, steps=2):
    assert run("train", "gan", "--steps", steps, *TINY, *argv) == 0


def fails(capsys, *argv):
    """The message of a command that must fail."""
    capsys.readouterr()
    assert run(*argv) == 2
    err = capsys.readouterr().err.strip().splitlines()[-1]
    assert err.startswith("tinygan: error: ")
    return err


def test_a_run_records_where_its_data_are():
    make_classes()
    trained("--data", "mine/", "--image-size", "4x6", "--out", "R")
    config = checkpoint.read_config(Path("R"), "R")
    assert config["data"] == "mine" and config["image_shape"] == [4, 6, 3]
    assert config["class_names"] == ["cat", "dog"] and config["classes"] == 2
    assert config["origin"]["path"] == os.path.abspath("mine")
    assert config["origin"]["image_size"] == [4, 6] and len(config["origin"]["fingerprint"]) == 64


def test_the_name_of_a_run_folder_is_short():
    make_classes("x" * 200)
    trained("--data", "x" * 200)
    assert len(os.listdir("runs")[0]) < 80


def test_a_resumed_run_finds_its_data_again_and_has_the_same_bits():
    make_classes()
    np.savez("mine.npz", images=RGB, labels=[0, 0, 0, 1, 1, 1])
    for path in "mine", "mine.npz":
        trained("--data", path, "--out", "whole", steps=4)
        trained("--data", path, "--out", "parts")
        assert run("train", "--resume", "parts", "--steps", 4) == 0
        paths = [f"{name}/checkpoint-00000004.npz" for name in ("whole", "parts")]
        flat = [checkpoint.flat(checkpoint.load(path)[0]) for path in paths]
        assert flat[0].keys() == flat[1].keys()
        assert all(np.array_equal(flat[0][key], flat[1][key]) for key in flat[0])
        for name in "whole", "parts":
            shutil.rmtree(name)


def test_a_run_whose_data_have_moved(capsys):
    make_classes()
    trained("--data", "mine", "--out", "R")
    os.rename("mine", "elsewhere")
    message = fails(capsys, "train", "--resume", "R", "--steps", 4)
    assert "does not exist: if it has moved, say where it is with --data PATH" in message
    assert run("train", "--resume", "R", "--steps", 4, "--data", "elsewhere") == 0
    config = checkpoint.read_config(Path("R"), "R")
    assert config["origin"]["path"] == os.path.abspath("elsewhere") and config["data"] == "mine"
    assert run("train", "--resume", "R", "--steps", 6) == 0  # found at its new place


def test_a_run_whose_data_have_changed(capsys):
    make_classes()
    trained("--data", "mine", "--out", "R")
    save("mine/cat/another.png")
    before = sorted(os.listdir("R"))
    message = fails(capsys, "train", "--resume", "R", "--steps", 4)
    assert "has changed since R was begun (it now holds 21 images of 2 classes)" in message
    assert sorted(os.listdir("R")) == before
    os.remove("mine/cat/another.png")
    assert run("train", "--resume", "R", "--steps", 4) == 0


def test_labels_move_with_their_images(capsys):
    np.save("x.npy", RGB)
    np.save("y.npy", [0, 1] * 3)
    trained("--data", "x.npy", "--labels", "y.npy", "--out", "R")
    os.mkdir("new")
    os.rename("x.npy", "new/x.npy")
    os.rename("y.npy", "y2.npy")
    again = ["train", "--resume", "R", "--data", "new/x.npy"]
    assert "does not exist: put it beside new/x.npy" in fails(capsys, *again, "--steps", 3)
    os.rename("y2.npy", "new/y.npy")
    assert run(*again, "--steps", 3) == 0 and run("train", "--resume", "R", "--steps", 4) == 0


def test_names_that_are_numbers_are_not_taken_for_places(capsys):
    np.savez("mine.npz", images=RGB, labels=[0, 2, 4] * 2)
    trained("--data", "mine.npz", "--out", "R", *CONDITIONAL)
    assert run("sample", "R", "-n", 2, "--label", "2", "-o", "a.npz") == 0
    assert np.load("a.npz")["labels"].tolist() == [1, 1]
    for label in "1", "9" * 5000:
        assert "the classes are 0, 2, 4" in fails(
            capsys, "sample", "R", "--label", label, "-o", "b.png"
        )


def test_a_config_with_other_class_names(capsys):
    trained("--data", make_classes(), "--out", "R")
    text = Path("R/config.json").read_text()
    Path("R/config.json").write_text(text.replace('"cat",', '"cat", "cow",'))
    assert "class_names has 3 items" in fails(capsys, "sample", "R", "-o", "a.png")


def test_a_data_set_with_the_name_of_a_folder_here(capsys):
    make_classes("ring")
    assert run("data", "ring", "-o", "ring.png") == 0
    out, err = capsys.readouterr()
    assert "for what is here, give ./ring" in err and "50,000 points" in out


def test_few_held_out_images(capsys):
    trained("--data", make_classes(n=10), "--out", "R")
    message = fails(capsys, "eval", "R")
    assert "so few images that 2 were held out" in message and "tinygan eval RUN PATH" in message


def test_samples_of_a_class_by_its_name(capsys):
    make_classes()
    trained("--data", "mine", "--out", "R", *CONDITIONAL)
    shutil.rmtree("mine")  # sampling does not need the data
    for label in "dog", "1":
        assert run("sample", "R", "-n", 3, "--label", label, "-o", f"{label}.npz") == 0
    dogs, ones = np.load("dog.npz"), np.load("1.npz")
    assert (dogs["images"] == ones["images"]).all() and dogs["labels"].tolist() == [1] * 3
    message = fails(capsys, "sample", "R", "--label", "cow", "-o", "cow.png")
    assert "the classes are 0 to 1 or cat, dog" in message


def test_samples_of_data_without_classes_have_a_square_grid():
    for i in range(12):
        save(f"mine/{i}.png", pixels(seed=i))
    trained("--data", "mine", "--out", "R", *CONDITIONAL)
    grid = pictures.read("R/samples/step-00000002.png", 3)
    assert grid.shape[0] == grid.shape[1] and run("sample", "R", "-n", 4, "-o", "a.png") == 0
    assert pictures.read("a.png", 3).shape == (44, 44, 3)


@pytest.mark.parametrize(
    "words, message",
    [
        (["--data", "nix/"], "there is no file or folder nix/"),
        (["--data", ""], "an empty path"),
        (["--data", "mine", "--batch-size", "64"], "choose at most 18, with --batch-size"),
        (["--data", "mine", "--data-dir", "."], "--data-dir . is not used"),
        (["--data-dir", "mine"], "nothing in the data folder mine would be used"),
        (["--data-dir", "mine"], "to train on pictures of your own, use --data mine"),
        (["--data", "one"], "one holds one image"),
        (["--data", "digits", "--image-size", "32"], "--image-size is for your own data"),
        (["--data", "mine", "--image-size", "0"], "image size 0"),
    ],
)
def test_nothing_is_written_for_data_that_cannot_be_used(words, message, capsys):
    make_classes()
    save("one/0.png")
    batch = [] if "--batch-size" in words else ["--batch-size", "4"]
    assert message in fails(capsys, "train", "gan", "--steps", 1, "--out", "R", *batch, *words)
    assert sorted(os.listdir()) == ["mine", "one"]


def test_every_class_of_sorted_data_is_trained_on_and_held_out():
    labels = np.repeat(np.arange(10), 20)
    found = Dataset(
        "mine", "train", np.zeros((200, 4, 4, 1), np.uint8), labels, tuple("abcdefghij")
    )
    settings = recipes.find("gan").settings().updated({"batch_size": 4, "hidden": 4})
    trainer = Trainer(recipes.find("gan"), settings, found, "R")
    assert np.bincount(trainer.dataset.labels).tolist() == [18] * 10
    assert np.bincount(trainer.held_out.labels).tolist() == [2] * 10


def test_the_held_out_images_do_not_depend_on_the_seed_of_a_run():
    """So that runs with different seeds can be compared."""
    make_classes(n=20)
    held_out = [
        Trainer(
            recipes.find("gan"),
            recipes.find("gan").settings().updated({"batch_size": 4, "hidden": 4}),
            data.load("mine"),
            "R",
            seed,
        ).held_out.images
        for seed in (0, 1)
    ]
    assert np.array_equal(*held_out)


def test_a_run_on_a_dataset_made_in_python_cannot_be_found_again(capsys):
    found = Dataset("mine", "train", RGB, np.zeros(6, int), ("all",))
    settings = recipes.find("gan").settings().updated({"batch_size": 2, "hidden": 4, "steps": 1})
    Trainer.start(recipes.find("gan"), settings, found, "R").run(progress=False)
    assert "a Dataset called mine" in fails(capsys, "train", "--resume", "R", "--steps", 2)


def test_the_command_data_describes_own_data(capsys):
    make_classes(n=10)
    assert run("data", "mine", "-o", "look.png") == 0
    out = capsys.readouterr().out
    assert "mine: 20 images of 8x8 pixels, RGB; a run trains on 18, and holds 2 out" in out
    assert re.search(r"1  dog +10\n", out) and pictures.read("look.png", 3).shape == (44, 204, 3)
    assert "say which data set" in fails(capsys, "data", "--image-size", "32")


def test_hundreds_of_classes_and_a_class_with_a_long_name(capsys):
    np.savez("mine.npz", images=np.zeros((600, 4, 5), np.uint8), labels=np.arange(600) // 2)
    trained("--data", "mine.npz", "--out", "R", *CONDITIONAL)
    assert run("sample", "R", "-n", 5, "-o", "a.png") == 0
    np.savez("mine.npz", images=RGB, labels=["a" * 300, *"bcdef"])
    assert "too long" in error_of(data.load, "mine.npz")


def test_a_folder_with_too_many_pictures(monkeypatch):
    monkeypatch.setattr(folder, "MAX_FILES", 5)
    assert "more than 5 pictures" in error_of(data.load, make_classes())


def test_images_that_would_not_fit_into_memory(monkeypatch):
    monkeypatch.setattr(folder, "MAX_BYTES", 1000)
    assert "use a smaller --image-size" in error_of(data.load, make_classes())
    with pytest.raises(InputError):
        data.load("mine", image_size=8)
    assert data.load("mine", image_size=4).image_shape == (4, 4, 3)


def test_what_is_typed_wrong_about_a_folder_gets_the_right_words(capsys):
    make_classes("my pictures", n=2)
    assert main(["train", "my pictures"]) == 2
    assert "write --data 'my pictures'" in capsys.readouterr().err
    assert main(["train", "--data", "my_picture"]) == 2
    assert "did you mean the folder my pictures?" in capsys.readouterr().err


def test_what_training_has_said_about_the_pictures_is_not_said_again(capsys):
    make_classes("mine", n=40, height=20, width=30)
    options = (
        "--image-size 16 --steps 1 --batch-size 4 --set g_channels=2 d_channels=2 --out run".split()
    )
    assert main(["train", "dcgan", "--data", "mine", *options]) == 0
    out, err = capsys.readouterr()
    assert "cropped in the middle" in err
    assert "2 classes: cat, dog), without its classes, which dcgan does not use (" in out
    assert main(["train", "--resume", "run", "--steps", "2"]) == 0
    assert "cropped in the middle" not in capsys.readouterr().err
