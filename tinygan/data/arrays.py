"""Read a file of images as an array: .npz, .npy, or a pair of IDX files."""

import ast
import math
import os
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np

from tinygan.errors import InputError, choose_from, one_line, say_once
from tinygan.files import npz, open_file

from .idx import GZIP_MAGIC, MAX_NDIM, axes, read_idx

LAYOUTS = "NHWC", "NCHW"
MAX_BYTES = 4 << 30  # of an array
HARMLESS_BYTES = 64 << 20  # that a member of a zip file may unpack to, and
MAX_RATIO = 200  # how many times it may grow beyond them (MNIST as float64 grows 35 times)
ROUNDING = 1e-6  # floats may be outside of their range by so much
MAX_HEADER = 4096  # bytes: an honest one has about 120
CHUNK = 1 << 20  # bytes read at a time: the memory that a short file costs, whatever it announces
# The names under which .npz files hold images and labels: of the training part, and of the test
# part, as in Keras's mnist.npz and in MedMNIST.
IMAGES = {
    "train": ("images", "x_train", "train_images", "x", "data", "arr_0"),
    "test": ("x_test", "test_images", "x_val", "val_images"),
}
LABELS = {
    "train": ("labels", "y_train", "train_labels", "y", "targets", "arr_1"),
    "test": ("y_test", "test_labels", "y_val", "val_labels"),
}
# The exceptions that reading a damaged file may raise.
DAMAGE = (
    *(OSError, ValueError, EOFError, RuntimeError, SyntaxError, TypeError, KeyError),
    *(zipfile.BadZipFile, zlib.error, NotImplementedError, OverflowError),
)


def kind_of(path: Path) -> str | None:
    """Return "npz", "npy" or "idx" by the first bytes of a file, or None. Raises InputError if it
    cannot be read."""
    try:
        with open_file(path, follow=True) as file:
            start = file.read(6)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    if start[:2] == b"PK":
        return "npz"
    if start == b"\x93NUMPY":
        return "npy"
    return "idx" if axes(start[:4]) or start[:2] == GZIP_MAGIC else None


def read_images(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Return the arrays in a file by their names: one array called "images" for .npy and IDX.

    Of an .npz file, only arrays with the names of IMAGES and LABELS, and `class_names`, are read,
    or its only array of 3 or 4 axes. Raises InputError, which names the file, if it is damaged, or
    if an array holds Python objects or is too large.
    """
    wanted = [name for table in (IMAGES, LABELS) for names in table.values() for name in names]
    example = "save it with np.savez(file, images=..., labels=...)"
    return _read(path, IMAGES["train"], (3, 4), [*wanted, "class_names"], example)


def read_labels(path: Path) -> np.ndarray[Any, Any]:
    """Return the array in a file of labels. Errors: see `read_images`."""
    example = "save the labels with np.save(file, labels)"
    held = _read(path, LABELS["train"], (1,), LABELS["train"], example)
    return next(iter(held.values()))


def images_and_labels(
    arrays: dict[str, Any], split: str
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None] | None:
    """Return (images, labels or None) of one part of a data set, by their names in `arrays`; None
    if there is no such part."""
    images = next((name for name in IMAGES[split] if name in arrays), None)
    if images is None:
        return None
    labels = next((name for name in LABELS[split] if name in arrays), None)
    return arrays[images], None if labels is None else arrays[labels]


def _read(path, first, ndims, wanted, example):
    """Return the arrays of a file whose names are `wanted`. One of them must have a name of
    `first`; otherwise, the only array with a number of axes in `ndims` gets the first of them."""
    try:
        kind = kind_of(path)
        if kind == "idx":
            return {first[0]: read_idx(path)}
        with open_file(path, follow=True) as file:
            if kind == "npy":
                return {first[0]: _read_array(file, os.fstat(file.fileno()).st_size, path)}
            if kind == "npz":
                return _read_npz(file, path, first, ndims, wanted, example)
    except InputError:
        raise
    except DAMAGE as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read ({one_line(reason)}): write it again") from None
    raise InputError(f"{path} holds no arrays: give an .npz, .npy or IDX file")


def _read_npz(file, path, first, ndims, wanted, example):
    npz.check_directory(file)
    with zipfile.ZipFile(file) as archive:
        members = {m.filename.removesuffix(".npy").lower(): m for m in archive.infolist()}
        if {m.compress_type for m in members.values()} - {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise ValueError("it is compressed in another way than by np.savez_compressed")
        if not any(name in members for name in first):
            shapes = {}
            for name, member in list(members.items())[:100]:
                if member.filename.endswith(".npy"):
                    with archive.open(member) as stream:
                        shapes[name] = _header(stream, path)[0]
            fitting = [name for name, shape in shapes.items() if len(shape) in ndims]
            if len(fitting) != 1:
                held = ", ".join(f"{name} {shape}" for name, shape in list(shapes.items())[:10])
                raise InputError(
                    f"{path} has no array called {first[0]} (it holds {held or 'no arrays'}): "
                    f"{example}"
                )
            members[first[0]] = members[fitting[0]]
        arrays, used = {}, []
        for name in wanted:
            if name in members:
                used.append(members[name])
                _refuse_bomb(members[name], path)
                with archive.open(members[name]) as stream:
                    arrays[name] = _read_array(stream, members[name].file_size, path)
        if unused := [name for name in members if members[name] not in used]:
            say_once(f"{path}: arrays that are not used: {', '.join(unused[:10])}")
        return arrays


def _refuse_bomb(member, path):
    """Raise InputError if a member of a zip file claims to grow to very many times its size."""
    size, packed = member.file_size, max(member.compress_size, 1)
    if size > HARMLESS_BYTES and size > MAX_RATIO * packed:
        raise InputError(
            f"{path}: {member.filename} claims to grow from {packed:,} to {size:,} bytes, more "
            f"than {MAX_RATIO} times: save it with np.savez, if it is honest"
        )


def _header(stream, path):
    """Read the header of an array in NumPy's format. Return (shape, Fortran order, dtype)."""
    magic, version = stream.read(6), stream.read(2)
    if magic != b"\x93NUMPY" or version not in (b"\1\0", b"\2\0", b"\3\0"):
        raise ValueError("it does not begin as an array of NumPy does")
    length = int.from_bytes(stream.read(2 if version == b"\1\0" else 4), "little")
    if length > MAX_HEADER:  # NumPy's function would reserve memory for it
        raise ValueError(f"its header claims to have {length:,} bytes")
    try:
        header = ast.literal_eval(stream.read(length).decode("utf-8").strip())
        shape, dtype = header["shape"], np.dtype(header["descr"])
        sound = {*map(type, shape)} <= {int} and min(shape, default=1) >= 0
        sound = sound and len(shape) <= MAX_NDIM and dtype.itemsize
    except Exception:  # of many kinds, since the header may be any text
        sound = False
    if not sound:
        raise ValueError("its header is damaged")
    if dtype.hasobject:
        raise InputError(f"{path} holds Python objects: save an array of numbers")
    return shape, header.get("fortran_order") is True, dtype


def _read_array(stream: IO[bytes], size: int, path: Path) -> np.ndarray[Any, Any]:
    """Return an array in NumPy's format. size: the bytes that the stream claims to hold.

    The header is not trusted: the memory grows with the bytes that are really there.
    """
    shape, fortran, dtype = _header(stream, path)
    nbytes = math.prod(shape) * dtype.itemsize
    if math.prod(max(n, 1) for n in shape) * dtype.itemsize > MAX_BYTES:
        raise InputError(
            f"{path} announces an array {shape} of {dtype}, more than the limit of "
            f"{MAX_BYTES >> 30} GiB: use fewer or smaller images"
        )
    if nbytes > size:
        raise ValueError(f"it is cut short: an array {shape} of {dtype} needs {nbytes:,} bytes")
    content = bytearray()
    while len(content) < nbytes and (part := stream.read(min(CHUNK, nbytes - len(content)))):
        content += part
    if len(content) < nbytes:
        raise ValueError(f"it is cut short: an array {shape} of {dtype} needs {nbytes:,} bytes")
    if stream.read(1):  # which also makes zipfile compare its checksum
        raise ValueError(f"it holds more than its header announces, an array {shape} of {dtype}")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


# From arrays to images and labels


def as_images(
    array: np.ndarray[Any, Any], path: Path, layout: str | None = None, signed: bool = False
) -> np.ndarray[Any, Any]:
    """Return images as uint8 (N, H, W, C).

    array: uint8, or floats in [0, 1] or [-1, 1] (if a value is below 0); (N, H, W), (N, H, W, C) or
    (N, C, H, W). layout: "NHWC" or "NCHW"; None decides by the axis that has the length of
    channels, 1 to 4, and says so. signed: floats are in [-1, 1], even if none is below 0. Raises
    InputError for everything else.
    """
    if layout not in (None, *LAYOUTS):
        raise InputError(f"layout {layout!r}: {choose_from(LAYOUTS, layout)}")
    if array.ndim == 2 or array.ndim == 3 and array.shape[2] <= 4:
        side = math.isqrt(array.shape[1])
        example = f", such as images.reshape(-1, {side}, {side})" if array.ndim == 2 else ""
        raise InputError(
            f"{path} holds an array {array.shape}, but images have the shape (N, H, W) or "
            f"(N, H, W, C): reshape it{example if side * side == array.shape[1] else ''}"
        )
    if array.ndim == 3:
        if layout:
            raise InputError(f"--layout {layout}: {path} holds {array.shape}, without channels")
        array = array[..., np.newaxis]
    elif array.ndim != 4:
        raise InputError(
            f"{path} holds an array {array.shape}, but images have the shape (N, H, W), "
            "(N, H, W, C) or (N, C, H, W)"
        )
    else:
        first = 1 <= array.shape[1] <= 4 and not 1 <= array.shape[3] <= 4
        if first and layout is None:
            say_once(
                f"{path}: the shape {array.shape} is taken as (N, C, H, W), channels first; "
                "the layout NHWC takes it as (N, H, W, C)"
            )
        if layout == "NCHW" or first and layout is None:
            array = np.moveaxis(array, 1, 3)
    if not array.size:
        raise InputError(f"{path} holds no images: its array has the shape {array.shape}")
    if array.shape[3] not in (1, 3):
        advice = "leave out the alpha channel, images[..., :3]" if array.shape[3] == 4 else ""
        advice = advice or "use one channel (grey) or three (RGB)"
        raise InputError(f"{path}: images have {array.shape[3]} channels: {advice}")
    return np.ascontiguousarray(_as_uint8(array, path, signed))


def is_signed(array: np.ndarray[Any, Any]) -> bool:
    """Return whether an array holds floats, and some of them are below 0."""
    return array.dtype.kind == "f" and array.size > 0 and bool(array.min() < -ROUNDING)


def _as_uint8(array, path, signed):
    kind = array.dtype.kind
    if kind not in "biuf":
        raise InputError(f"{path} holds {array.dtype}, not uint8 or floats: save it as uint8")
    if kind == "b":
        return array.astype(np.uint8) * 255
    low, high = array.min(), array.max()
    if kind in "iu":
        if low < 0 or high > 255:
            raise InputError(
                f"{path}: whole numbers must be 0 to 255, not {low} to {high}: scale them, and "
                "save the images as uint8"
            )
        return array.astype(np.uint8, copy=False)
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(f"{path}: some values are NaN or infinite: leave these images out")
    if low < -1 - ROUNDING or high > 1 + ROUNDING:
        raise InputError(
            f"{path}: floats must be in [0, 1] or [-1, 1], not {low:.7g} to {high:.7g}: scale "
            "them, or save the images as uint8"
        )
    offset, scale = 0.0, 255.0
    if low < -ROUNDING or signed:
        say_once(f"{path}: the values, {low:.4g} to {high:.4g}, are taken as [-1, 1]")
        offset, scale = 1.0, 127.5
    images = np.empty(array.shape, np.uint8)
    count = max(1, (CHUNK >> 3) // array[0].size)
    for start in range(0, len(array), count):  # in parts, to save memory
        part = slice(start, start + count)
        scaled = (array[part].astype(np.float64) + offset) * scale
        images[part] = np.rint(np.clip(scaled, 0, 255))
    return images


def as_labels(
    array: np.ndarray[Any, Any] | None, n: int, path: Path, names: Any = None, part: str = "train"
) -> tuple[np.ndarray[Any, Any], tuple[str, ...]]:
    """Return (labels 0, 1, ... as int64 (N,), class names) of n images.

    array: a whole number or a text for each image, of any values; None: all images are of one
    class. names: the names of classes 0, 1, ..., which then are the only values. part: "test" if
    classes may be missing. Raises InputError for labels that do not fit, and for a name without an
    image.
    """
    if array is None:
        return np.zeros(n, np.int64), ("all",)
    if array.shape == (n, 1):
        array = array[:, 0]
    if array.dtype.kind == "f" and (np.abs(array) < 1e15).all() and (array == np.rint(array)).all():
        array = array.astype(np.int64)  # whole numbers, written by a program that has only floats
    if array.shape != (n,) or array.dtype.kind not in "iubUS":
        one_hot = array.ndim == 2 and array.shape[0] == n
        advice = "use labels.argmax(1)" if one_hot else "give one whole number for each image"
        if array.shape == (n,):
            raise InputError(f"{path}: labels must be whole numbers or texts, not {array.dtype}")
        raise InputError(
            f"{path}: {n:,} images need {n:,} labels, not {array.dtype} {array.shape}: {advice}"
        )
    values, labels = np.unique(array, return_inverse=True)
    labels = labels.reshape(n).astype(np.int64)
    if names is None:
        return labels, tuple(map(_text, values))
    names = tuple(map(_text, np.asarray(names).ravel()))
    if len({*names}) < len(names):
        raise InputError(f"{path}: two of the class_names are the same: name each class once")
    if array.dtype.kind not in "iu" or values[0] < 0 or values[-1] >= len(names):
        raise InputError(
            f"{path}: with {len(names)} class_names, labels must be 0 to {len(names) - 1}, not "
            f"{values[0]} to {values[-1]}"
        )
    if len(values) < len(names) and part == "train":
        missing = next(name for k, name in enumerate(names) if k not in values)
        raise InputError(f"{path}: the class {missing} has no images: leave it out of class_names")
    return values[labels].astype(np.int64), names


def _text(value):
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
