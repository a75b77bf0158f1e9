"""npz files of arrays, with a checksum. Reading a file takes no more memory than its length,
whatever its headers claim."""

import hashlib
import math
import os
import re
import struct
import zipfile
from pathlib import Path
from typing import IO, Any, Mapping

import numpy as np

from tinygan.errors import InputError
from tinygan.files import open_file, replacing

CHECKSUM = "sha256"  # the name of the entry that holds it
CHUNK = 1 << 20  # bytes read or hashed at a time
# The directory of a zip file, at its end, has about 100 bytes for each array: stylegan2 has 330
# arrays. zipfile makes objects from it that take ten times as much memory.
MAX_DIRECTORY_BYTES = 2 << 20
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
    and values. Raises InputError for so many arrays that `load` would refuse them."""
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    entries = sum(74 + len(name.encode("utf-8", "surrogatepass")) for name in arrays)
    if entries > MAX_DIRECTORY_BYTES:
        raise InputError(f"cannot write {path}: {len(arrays):,} arrays are too many for a file")
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
    with open_file(path) as raw:
        check_directory(raw)
        with zipfile.ZipFile(raw) as file:
            members = file.infolist()
            if any(member.compress_type != zipfile.ZIP_STORED for member in members) or (
                sum(member.file_size for member in members) > raw.seek(0, os.SEEK_END)
            ):
                raise ValueError("it claims to hold more than it does")
            names = [member.filename.removesuffix(".npy") for member in members]
            if len(set(names)) < len(names):
                raise ValueError("it holds two arrays of the same name")
            arrays = {name: _read(file, member) for name, member in zip(names, members)}
    if CHECKSUM not in arrays:
        raise ValueError("it has no checksum, like the files of older versions")
    if str(arrays.pop(CHECKSUM)) != checksum(arrays):
        raise ValueError("its checksum is wrong")
    return arrays


def check_directory(file: IO[bytes]) -> None:
    """Raise ValueError unless a file ends with the directory of a zip file, which must not be long:
    zipfile makes objects of the whole directory before anybody can look at it."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 98))
    tail = file.read().rjust(98, b"\0")
    # The last 22 bytes are the end record. In a file of gigabytes, it follows the zip64 end record
    # (56 bytes) and the zip64 locator (20 bytes).
    end, (length, start) = size - 22, struct.unpack_from("<2I", tail, 76 + 12)
    whole = tail[76:80] == b"PK\5\6" and tail[-2:] == b"\0\0"  # and no comment follows
    if tail[56:60] == b"PK\6\7":
        end, (length, start) = size - 98, struct.unpack_from("<2Q", tail, 40)
        located_at = struct.unpack_from("<Q", tail, 56 + 8)[0]
        whole = whole and tail[:4] == b"PK\6\6" and located_at == end
    if not whole or start + length != end:
        raise ValueError("it does not end as an npz file does")
    if length > MAX_DIRECTORY_BYTES:
        raise ValueError(f"its list of arrays is longer than {MAX_DIRECTORY_BYTES:,} bytes")


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
        if not size and math.prod(n or 1 for n in shape) * dtype.itemsize > CHUNK:
            raise ValueError(f"{member.filename} has the shape {shape}")  # NumPy reserves memory
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
