"""Read IDX, the file format of MNIST: a short header, then one array.

    bytes 0-1   zero
    byte  2     type of the items, a key of DTYPES
    byte  3     number of dimensions
    then        the length of each dimension, uint32
    then        the items, the last dimension varying fastest

Every number is big-endian. Source: Y. LeCun, http://yann.lecun.com/exdb/mnist/ (the last section).
"""

import gzip
import math
import struct
import zlib

import numpy as np

from tinygan.errors import InputError

DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MAX_BYTES = 1 << 30  # far above any file of this kind, far below what would hurt the machine
MAX_NDIM = 32  # NumPy has had a limit of 32 or 64
CHUNK = 1 << 16  # what a short file may cost in memory, whatever its header announces
GZIP_MAGIC = b"\x1f\x8b"


def read_idx(path, shape=None, digest=None):
    """The array in the IDX file at `path`, plain or gzipped, which its first bytes tell.

    shape: the shape that the array must have, as a tuple; None takes any.
    digest: a hashlib object, which is fed the whole uncompressed file.
    Returns an array in the machine's own byte order. A file that is missing, truncated, over-long,
    corrupt, of another shape, or not IDX at all is an InputError that names it.

    A header is a claim, so no memory is reserved on its word: the items are read in chunks, and at
    most one byte more than it announced. A gzip bomb therefore unpacks no further than that.
    """
    try:
        with open(path, "rb") as raw:
            packed = raw.peek(2)[:2] == GZIP_MAGIC
            with gzip.GzipFile(fileobj=raw) if packed else raw as file:
                return _decode(file, path, shape, digest)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise _bad(path, f"is a corrupt gzip file ({error})") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def _decode(file, path, shape, digest):
    magic = file.read(4)
    if not (
        len(magic) == 4
        and magic[:2] == b"\0\0"
        and magic[2] in DTYPES
        and 1 <= magic[3] <= MAX_NDIM
    ):
        raise _bad(path, f"is not an IDX file (it starts with {magic.hex() or 'nothing'})")
    dtype, ndim = np.dtype(DTYPES[magic[2]]), magic[3]

    lengths = file.read(4 * ndim)
    if len(lengths) < 4 * ndim:
        raise _bad(path, "is truncated: it ends inside its header")
    found = struct.unpack(f">{ndim}I", lengths)
    if shape is not None and found != shape:
        raise _bad(path, f"holds an array of shape {found} where {shape} is expected")
    # An empty dimension must not excuse the others: NumPy has limits.
    if math.prod(max(n, 1) for n in found) * dtype.itemsize > MAX_BYTES:
        raise _bad(
            path,
            f"announces an array of shape {found}, more than the {MAX_BYTES >> 20} MiB allowed",
        )

    size = math.prod(found) * dtype.itemsize
    items = bytearray()
    # The one byte more shows an over-long file, and takes gzip to the end, where its checksum is.
    while chunk := file.read(min(CHUNK, size + 1 - len(items))):
        items += chunk
    if len(items) != size:
        problem = "is truncated" if len(items) < size else "is too long"
        raise _bad(path, f"{problem}: its header announces {size} bytes of data for shape {found}")

    if digest is not None:
        digest.update(magic + lengths)
        digest.update(items)
    array = np.frombuffer(items, dtype).reshape(found)
    # In place, so that there is no second copy.
    return array if dtype.isnative else array.byteswap(inplace=True).view(dtype.newbyteorder("="))


def _bad(path, problem):
    return InputError(f"{path} {problem}: fetch it again, or give another file")
