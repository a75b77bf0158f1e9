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
from pathlib import Path
from typing import Any

import numpy as np

from tinygan.errors import InputError
from tinygan.files import open_file

DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MAX_BYTES = 1 << 30  # far more than any file of this kind has, far less than a machine's memory
MAX_NDIM = 32  # NumPy's limit is 32 or 64, depending on its version
CHUNK = 1 << 16  # bytes read at a time: the memory that a short file costs, whatever it announces
GZIP_MAGIC = b"\x1f\x8b"


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
    try:
        with open_file(path, follow=True) as raw:
            is_gzipped = raw.peek(2)[:2] == GZIP_MAGIC
            with gzip.GzipFile(fileobj=raw) if is_gzipped else raw as file:
                return _decode(file, path, shape, digest)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise _unusable(path, f"is a corrupt gzip file ({error})") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def _decode(file, path, shape, digest):
    magic = file.read(4)
    is_idx = len(magic) == 4 and magic[:2] == b"\0\0" and magic[2] in DTYPES
    if not (is_idx and 1 <= magic[3] <= MAX_NDIM):
        raise _unusable(path, f"is not an IDX file (it starts with {magic.hex() or 'nothing'})")
    dtype, ndim = np.dtype(DTYPES[magic[2]]), magic[3]

    lengths = file.read(4 * ndim)
    if len(lengths) < 4 * ndim:
        raise _unusable(path, "is truncated: it ends inside its header")
    announced = struct.unpack(f">{ndim}I", lengths)
    if shape is not None and announced != shape:
        raise _unusable(path, f"holds an array of shape {announced} where {shape} is expected")
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
    return InputError(f"{path} {problem}: download it again, or give another file")
