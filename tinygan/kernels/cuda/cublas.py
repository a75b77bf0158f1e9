"""Matrix products on a GPU, by direct calls of cuBLAS.

CuPy refuses to record its own products in a CUDA graph ("calling cuBLAS API during stream capture
is currently unsupported", CuPy 13 and 14). cuBLAS itself allows it.

cuBLAS stores matrices by columns, and we store them by rows. Read by columns, our matrices are
transposed, so y = a @ b is y' = b' a'.
"""

import ctypes
import math
import sys

import numpy as np

from tinygan import backend
from tinygan.backend import xp
from tinygan.errors import InputError

# Bytes, as the manual of cuBLAS advises for Hopper. A workspace from cuBLAS's own pool would not
# do, because a graph keeps the address.
WORKSPACE = 32 << 20
ROUTINES = {
    "float32": ("cublasSgemmStridedBatched", ctypes.c_float),
    "float64": ("cublasDgemmStridedBatched", ctypes.c_double),
}

_handles = {}  # device -> _Handle


def load():
    """Return the cuBLAS library that CuPy uses. Raises InputError if it cannot be opened."""
    from cupy_backends.cuda.libs import cublas  # loads the library

    major = cublas.getVersion(xp.cuda.device.get_cublas_handle()) // 10000
    name = f"cublas64_{major}.dll" if sys.platform == "win32" else f"libcublas.so.{major}"
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        raise InputError(
            f"backend cupy: cuBLAS {major} cannot be opened ({error}): reinstall CuPy with its "
            f"CUDA libraries: pip install 'tinygan[cuda{major}]'"
        ) from None


class _Handle:
    """A cuBLAS handle, its stream and its workspace."""

    def __init__(self):
        self.library, self.handle, self.stream = load(), ctypes.c_void_p(), None
        self.workspace = xp.cuda.alloc(WORKSPACE)
        _check("cublasCreate", self.library.cublasCreate_v2(ctypes.byref(self.handle)))

    def on(self, stream):
        """Return self, set to this stream."""
        if stream != self.stream:
            status = self.library.cublasSetStream_v2(self.handle, ctypes.c_void_p(stream))
            _check("cublasSetStream", status)
            # Setting a stream resets the workspace.
            workspace = ctypes.c_void_p(self.workspace.ptr), ctypes.c_size_t(WORKSPACE)
            status = self.library.cublasSetWorkspace_v2(self.handle, *workspace)
            _check("cublasSetWorkspace", status)
            self.stream = stream
        return self


def _handle():
    device = backend.active(), xp.cuda.runtime.getDevice()
    if device not in _handles:
        _handles[device] = _Handle()
    return _handles[device].on(xp.cuda.get_current_stream().ptr)


def _check(name, status):
    if status:
        raise RuntimeError(f"{name} failed with status {status}")


def matmul(a, b):
    """Return a @ b, like numpy.matmul: a (..., M, K), b (..., K, N), with at least two axes.

    CuPy computes products of types other than float32 and float64.
    """
    if str(a.dtype) not in ROUTINES or a.dtype != b.dtype:
        return xp.matmul(a, b)
    if a.shape[-1] != b.shape[-2]:
        raise ValueError(f"matmul: shapes {a.shape} and {b.shape} do not fit")
    if b.ndim == 2 and a.ndim > 2 and a.flags.c_contiguous:  # one product instead of many
        rows = math.prod(a.shape[:-1])
        return matmul(a.reshape(rows, a.shape[-1]), b).reshape(*a.shape[:-1], b.shape[1])
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    y = xp.empty((*batch, a.shape[-2], b.shape[-1]), a.dtype)
    if not y.size or not a.shape[-1]:
        y[...] = 0
        return y
    n = math.prod(batch)
    a, lead_a, transposed_a, step_a = _operand(a, batch)
    b, lead_b, transposed_b, step_b = _operand(b, batch)
    name, number = ROUTINES[str(y.dtype)]
    handle = _handle()
    m, k = y.shape[-2], a.shape[-1]
    _check(
        name,
        getattr(handle.library, name)(
            handle.handle,
            ctypes.c_int(transposed_b),
            ctypes.c_int(transposed_a),
            ctypes.c_int(y.shape[-1]),
            ctypes.c_int(m),
            ctypes.c_int(k),
            ctypes.byref(number(1)),
            ctypes.c_void_p(b.data.ptr),
            ctypes.c_int(lead_b),
            ctypes.c_longlong(step_b),
            ctypes.c_void_p(a.data.ptr),
            ctypes.c_int(lead_a),
            ctypes.c_longlong(step_a),
            ctypes.byref(number(0)),
            ctypes.c_void_p(y.data.ptr),
            ctypes.c_int(y.shape[-1]),
            ctypes.c_longlong(m * y.shape[-1]),
            ctypes.c_int(n),
        ),
    )
    return y


def _operand(x, batch):
    """Prepare x for cuBLAS: return (x, leading dimension, transposed, step).

    The returned x is copied only if cuBLAS cannot read its layout. transposed: 1 if its columns are
    contiguous in memory. step: the distance between successive matrices of the
    batch, in numbers.
    """
    matrix = x.reshape(-1, *x.shape[-2:]) if x.ndim > 2 else x
    if x.ndim > 2 and x.shape[:-2] not in (batch, (1,) * (x.ndim - 2)):
        matrix = xp.broadcast_to(x, (*batch, *x.shape[-2:])).reshape(-1, *x.shape[-2:])
    rows, columns = matrix.shape[-2:]
    down, across = (step // x.itemsize for step in matrix.strides[-2:])
    if (columns == 1 or across == 1) and (rows == 1 or down >= columns):
        lead, transposed = (down if rows > 1 else columns), 0
    elif (rows == 1 or down == 1) and (columns == 1 or across >= rows):
        lead, transposed = (across if columns > 1 else rows), 1
    else:
        matrix = xp.ascontiguousarray(matrix)
        lead, transposed = columns, 0
    several = matrix.ndim > 2 and len(matrix) > 1
    return matrix, max(1, lead), transposed, matrix.strides[0] // x.itemsize if several else 0
