"""Arrays in an npz file, with a checksum. Reading one takes no more memory than the file is long,
whatever it claims."""

import hashlib
import math
import os
import re
import zipfile

import numpy as np

from tinygan.files import replacing

CHECKSUM = "sha256"
CHUNK = 1 << 20
# What np.savez writes before an array: of format 1.0, numbers and text only. Never an object, which
# would be a pickle.
MAGIC = b"\x93NUMPY\x01\x00"
HEADER = re.compile(
    r"\{'descr': '([<>|](?:f[248]|[iu][1248]|b1|U\d{1,8}))', "
    r"'fortran_order': (False|True), "
    r"'shape': \((\d{1,12}(?:, ?\d{1,12})*,?)?\), \} *\n"
)


def save(path, arrays) -> None:
    """Write {name: array} to an npz file, whole or not at all, with the SHA-256 of all names,
    types, shapes and values."""
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays, **{CHECKSUM: np.array(checksum(arrays))})


def load(path):
    """{name: array} of such a file. Raises ValueError or OSError, or what zipfile does, if it is
    damaged."""
    with open(path, "rb") as raw, zipfile.ZipFile(raw) as file:
        members = file.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members) or (
            sum(member.file_size for member in members) > os.path.getsize(path)
        ):
            raise ValueError("it claims to hold more than it does")
        arrays = {member.filename.removesuffix(".npy"): _read(file, member) for member in members}
    if CHECKSUM not in arrays:
        raise ValueError("it has no checksum, as those of older versions")
    if len(arrays) < len(members) or str(arrays.pop(CHECKSUM)) != checksum(arrays):
        raise ValueError("its checksum is wrong")
    return arrays


def _read(file, member):
    with file.open(member) as stream:
        magic, length = stream.read(len(MAGIC)), int.from_bytes(stream.read(2), "little")
        header = HEADER.fullmatch(stream.read(length).decode("latin-1"))
        if magic != MAGIC or not header:
            raise ValueError(f"{member.filename} is no array of numbers")
        dtype, fortran, sizes = header.groups()
        shape = tuple(int(n) for n in (sizes or "").split(",") if n.strip())
        dtype, left = np.dtype(dtype), member.file_size - len(MAGIC) - 2 - length
        if math.prod(shape) * dtype.itemsize != left:
            raise ValueError(f"{member.filename} has {left} bytes, which are no {dtype} {shape}")
        array = np.empty(shape, dtype, "F" if fortran == "True" else "C")
        values = memoryview(array.reshape(-1, order="A").view(np.uint8)) if left else b""
        for start in range(0, left, CHUNK):
            part = stream.read(min(CHUNK, left - start))
            values[start : start + len(part)] = part
            if len(part) < min(CHUNK, left - start):
                raise ValueError(f"{member.filename} is cut short")
        stream.read(1)  # to the end, where zipfile compares its own checksum
    return array


def checksum(arrays):
    """The SHA-256 of arrays, their names, types and shapes."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode("utf-8", "surrogatepass"))
        flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        for start in range(0, flat.size, CHUNK):
            digest.update(flat[start : start + CHUNK])
    return digest.hexdigest()
