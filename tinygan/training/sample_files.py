"""Samples as single PNG files, in folders that `--data` and `tinygan eval` read."""

import contextlib
import io
import re
from pathlib import Path
from typing import Any, Sequence

import numpy as np
from PIL import Image
from tqdm import tqdm

from tinygan.data.folder import SYSTEM_FILES, TEST, TRAIN, names_in
from tinygan.data.sources import SOURCES
from tinygan.errors import InputError, say
from tinygan.files import make_folder, open_file, remove, writing
from tinygan.notebook import bar_options

# What no file name on Windows may contain, and names that it keeps for devices.
FORBIDDEN = re.compile(r'[<>:"/\\|?*\0-\x1f\x7f\ud800-\udfff]')
DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
MAX_NAME = 100  # bytes of the name of a folder


def check_empty(folder: Path) -> None:
    """Raise InputError unless a folder is empty, or not there yet."""
    if folder.exists() and names_in(folder):
        raise InputError(
            f"{folder} is not empty, and samples are not mixed with other files: give the name of "
            "a new folder"
        )


def write_images(
    folder: Path,
    images: np.ndarray[Any, Any],
    labels: np.ndarray[Any, Any] | None = None,
    class_names: Sequence[str] = (),
) -> None:
    """Write uint8 images (N, H, W, C) as folder/000000.png, folder/000001.png, ...

    With labels, integers (N,), image i of class K is folder/NAME/i.png, where NAME is the class's
    name, made safe for file systems, or K if there are no class_names. A bar shows the progress.
    Raises InputError if C is neither 1 nor 3, if the folder is not empty, or if a file cannot be
    written; the files up to there are whole.
    """
    if images.shape[3] not in (1, 3):
        raise InputError(
            f"a PNG file has 1 or 3 channels, these images have {images.shape[3]}: write an .npz"
        )
    check_empty(folder)
    names: Sequence[str] = [""]
    if labels is not None:
        names = class_names or [str(k) for k in range(labels.max(initial=0) + 1)]
    subfolders = [folder / name for name in safe_names(names)] if labels is not None else [folder]
    classes = np.zeros(len(images), int) if labels is None else labels
    with writing(folder):
        for k in sorted(set(classes)):
            make_folder(subfolders[k])
    written = 0
    try:
        bar = tqdm(images, "writing images", unit="image", delay=1, **bar_options())
        for i, image in enumerate(bar):
            _write(subfolders[classes[i]] / f"{i:06d}.png", image)
            written += 1
    except KeyboardInterrupt:
        say(f"{written:,} of {len(images):,} images are in {folder}: for all, give a new folder")
        raise


def _write(path, image):
    """Write a new PNG file. Nothing is left of it if it cannot be written."""
    content = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(content, "PNG")
    try:
        with writing(path), open_file(path, "xb") as file:
            file.write(content.getvalue())
    except FileExistsError:
        raise InputError(f"{path} has just appeared: give the name of a new folder") from None
    except BaseException:
        with contextlib.suppress(OSError, InputError):
            remove(path)
        raise


def names_of_classes(config: dict[str, Any]) -> Sequence[str]:
    """Return the names of the classes of a run, given the contents of its config.json; () if they
    have none."""
    if "class_names" in config:
        return config["class_names"]
    source = SOURCES.get(config["data"])
    return source.class_names if source and len(source.class_names) == config["classes"] else ()


def safe_names(names: Sequence[str]) -> list[str]:
    """Return names of folders for classes: different names, also where upper and lower case are the
    same, and names that every file system takes and that `--data` takes for classes."""
    safe: list[str] = []
    taken: set[str] = set()
    for i, name in enumerate(names):
        short = FORBIDDEN.sub("-", name).encode()[:MAX_NAME].decode(errors="ignore")
        short = short.rstrip(". ") or "class"
        if short.startswith("."):  # hidden
            short = f"_{short}"
        if short.casefold() in SYSTEM_FILES | TRAIN | TEST or DEVICES.fullmatch(short):
            short = f"{short}_"
        while short.casefold() in taken:
            short = f"{short}-{i}"
        taken.add(short.casefold())
        safe.append(short)
    return safe
