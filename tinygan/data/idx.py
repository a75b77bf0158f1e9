"""Read IDX, the file format of MNIST: a short header, then one array.

    bytes 0-1   zero
    byte  2     the type of the items, a key of DTYPES
    byte  3     the number of dimensions
    then        the length of each dimension, uint32
    then        the items; the last dimension varies fastest

All numbers are big-endian. Source: Y. LeCun, http://yann.lecun.com/exdb/mnist/ (the last section).
"""

import gzip
import math
import struct
import zlib
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any, Iterator

import numpy as np

from tinygan.errors import InputError
from tinygan.files import open_file

DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MAX_BYTES = 1 << 30  # far more than any file of this kind has, far less than a machine's memory
MAX_NDIM = 32  # NumPy's limit is 32 or 64, depending on its version
CHUNK = 1 << 16  # bytes read at a time: the memory that a short file costs, whatever it announces
GZIP_MAGIC = b"\x1f\x8b"


class Unexpected(InputError):
    """A file holds an array of another shape or type than the one that is expected. problem: what
    it holds."""

    def __init__(self, path: object, problem: str):
        super().__init__(_message(path, problem))
        self.problem = problem


def read_idx(
    path: str | Path, shape: tuple[int, ...] | None = None, digest: Any = None
) -> np.ndarray[Any, Any]:
    """Return the array in an IDX file, in the machine's byte order.

    The file may be gzipped: its first bytes tell, not its name. shape: the shape that the array
    must have; None accepts any. digest: a hashlib object, which is updated with the whole
    uncompressed file. Raises InputError, which names the file, if it is missing, truncated, too
    long, corrupt, not an IDX file, or of another shape.

    The header is not trusted: no memory is reserved for what it announces. The items are read in
    chunks, up to one byte more than announced, so a gzip bomb is not unpacked any further.
    """
    with open_to_read(path) as raw:
        return decode_idx(raw, path, shape, digest)


@contextmanager
def open_to_read(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a file for reading. Raises InputError, also while it is read, if that fails."""
    try:
        with open_file(path, follow=True) as raw:
            yield raw
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def is_gzipped(raw: Any) -> bool:
    """Return whether an open file, of which nothing has been read yet, is gzipped."""
    return bool(raw.peek(2)[:2] == GZIP_MAGIC)


def decode_idx(
    raw: Any,
    path: object,
    shape: tuple[int, ...] | None = None,
    digest: Any = None,
    dtype: Any = None,
) -> np.ndarray[Any, Any]:
    """Return the array in an open IDX file, as `read_idx` does.

    path: its name, for messages. dtype: the type that the items must have; None accepts any. Raises
    Unexpected for another shape or type.
    """
    try:
        with gzip.GzipFile(fileobj=raw, mode="rb") if is_gzipped(raw) else nullcontext(raw) as file:
            return _decode(file, path, shape, digest, dtype)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise _unusable(path, f"is a corrupt gzip file ({error})") from error


def axes(magic: bytes) -> int:
    """Return the number of axes that the first 4 bytes of an IDX file announce; 0 for other
    files."""
    is_idx = len(magic) == 4 and magic[:2] == b"\0\0" and magic[2] in DTYPES
    return magic[3] if is_idx and magic[3] <= MAX_NDIM else 0


def _decode(file, path, shape, digest, expected_dtype):
    magic = file.read(4)
    if not axes(magic):
        raise _unusable(path, f"is not an IDX file (it starts with {magic.hex() or 'nothing'})")
    dtype, ndim = np.dtype(DTYPES[magic[2]]), magic[3]

    lengths = file.read(4 * ndim)
    if len(lengths) < 4 * ndim:
        raise _unusable(path, "is truncated: it ends inside its header")
    announced = struct.unpack(f">{ndim}I", lengths)
    if shape is not None and announced != shape:
        raise Unexpected(path, f"holds an array of shape {announced} where {shape} is expected")
    if expected_dtype is not None and dtype != expected_dtype:
        wanted = np.dtype(expected_dtype).name
        raise Unexpected(path, f"holds items of type {dtype.name} where {wanted} is expected")
    # A dimension of 0 does not lift the limit: NumPy limits the shapes of empty arrays too.
    if math.prod(max(n, 1) for n in announced) * dtype.itemsize > MAX_BYTES:
        limit = f"the limit of {MAX_BYTES >> 20} MiB"
        raise _unusable(path, f"announces an array of shape {announced}, more than {limit}")

    size = math.prod(announced) * dtype.itemsize
    items = bytearray()
    # One byte more than announced: it detects a file that is too long, and makes gzip read to the
    # end, where its checksum is.
    while chunk := file.read(min(CHUNK, size + 1 - len(items))):
        items += chunk
    if len(items) != size:
        problem = "is truncated" if len(items) < size else "is too long"
        announcement = f"its header announces {size} bytes of data for shape {announced}"
        raise _unusable(path, f"{problem}: {announcement}")

    if digest is not None:
        digest.update(magic + lengths)
        digest.update(items)
    array = np.frombuffer(items, dtype).reshape(announced)
    # The bytes are swapped in place, which makes no second copy.
    return array if dtype.isnative else array.byteswap(inplace=True).view(dtype.newbyteorder("="))


def _unusable(path, problem):
    return InputError(_message(path, problem))


def _message(path, problem):
    return f"{path} {problem}: download it again, or give another file"
