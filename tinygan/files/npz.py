"""npz files of arrays, with a checksum. Reading a file takes no more memory than its length,
whatever its headers claim."""

import hashlib
import math
import os
import re
import zipfile
from pathlib import Path
from typing import IO, Any, Mapping

import numpy as np

from tinygan.files import open_file, replacing

CHECKSUM = "sha256"  # the name of the entry that holds it
CHUNK = 1 << 20  # bytes read or hashed at a time
# The header that np.savez writes before an array, in format 1.0. Only numbers and text are allowed:
# an array of objects would be a pickle.
MAGIC = b"\x93NUMPY\x01\x00"
HEADER = re.compile(
    r"\{'descr': '([<>|](?:f[248]|[iu][1248]|b1|U\d{1,8}))', "
    r"'fortran_order': (False|True), "
    r"'shape': \((\d{1,12}(?:, ?\d{1,12})*,?)?\), \} *\n"
)


def save(path: str | Path, arrays: Mapping[str, Any]) -> None:
    """Write {name: array} to an npz file atomically, with the SHA-256 of all names, types, shapes
    and values."""
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    with replacing(path) as file:
        write(file, {**arrays, CHECKSUM: np.array(checksum(arrays))})


def write(file: IO[bytes], arrays: Mapping[str, Any], compressed: bool = False) -> None:
    """Write {name: array} to a binary file, as np.savez does, or np.savez_compressed.

    On a full disk, those of NumPy 2.0 leave their zip file open, and Python prints "Exception
    ignored" when it tries to complete it later.
    """
    method = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)


def load(path: str | Path) -> dict[str, np.ndarray[Any, Any]]:
    """Return the {name: array} that `save` wrote. Raises ValueError, OSError, or an exception of
    zipfile if the file is damaged."""
    with open_file(path) as raw, zipfile.ZipFile(raw) as file:
        members = file.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members) or (
            sum(member.file_size for member in members) > os.fstat(raw.fileno()).st_size
        ):
            raise ValueError("it claims to hold more than it does")
        arrays = {member.filename.removesuffix(".npy"): _read(file, member) for member in members}
    if CHECKSUM not in arrays:
        raise ValueError("it has no checksum, like the files of older versions")
    if len(arrays) < len(members) or str(arrays.pop(CHECKSUM)) != checksum(arrays):
        raise ValueError("its checksum is wrong")
    return arrays


def _read(file, member):
    """Return the array of one member of a zip file."""
    with file.open(member) as stream:
        magic, length = stream.read(len(MAGIC)), int.from_bytes(stream.read(2), "little")
        header = HEADER.fullmatch(stream.read(length).decode("latin-1"))
        if magic != MAGIC or not header:
            raise ValueError(f"{member.filename} is not an array of numbers")
        dtype, fortran, sizes = header.groups()
        shape = tuple(int(n) for n in (sizes or "").split(",") if n.strip())
        dtype, size = np.dtype(dtype), member.file_size - len(MAGIC) - 2 - length
        if math.prod(shape) * dtype.itemsize != size:
            raise ValueError(f"{member.filename} has {size} bytes, not those of {dtype} {shape}")
        array = np.empty(shape, dtype, "F" if fortran == "True" else "C")
        values = memoryview(array.reshape(-1, order="A").view(np.uint8)) if size else b""
        for start in range(0, size, CHUNK):
            part = stream.read(min(CHUNK, size - start))
            values[start : start + len(part)] = part
            if len(part) < min(CHUNK, size - start):
                raise ValueError(f"{member.filename} is cut short")
        stream.read(1)  # zipfile compares its own checksum at the end of the stream
    return array


def checksum(arrays: Mapping[str, np.ndarray[Any, Any]]) -> str:
    """Return the SHA-256 of the names, types, shapes and values of arrays, in hexadecimal."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode("utf-8", "surrogatepass"))
        flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        for start in range(0, flat.size, CHUNK):
            digest.update(flat[start : start + CHUNK])
    return digest.hexdigest()
