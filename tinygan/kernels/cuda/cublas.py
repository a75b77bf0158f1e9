"""Matrix products on a GPU, by cuBLAS, called here without CuPy in between: CuPy refuses to record its products in a CUDA
graph ("calling cuBLAS API during stream capture is currently unsupported", CuPy 13 and 14), which cuBLAS itself allows.

cuBLAS is column by column, and we are row by row: y = a @ b is, by columns, y' = b' a'.
"""

import ctypes
import math
import sys

import numpy as np

from tinygan import backend
from tinygan.backend import xp
from tinygan.errors import InputError

WORKSPACE = (
    32 << 20
)  # bytes, as its manual advises for Hopper. Its own pool would not do: a graph keeps the address
ROUTINES = {
    "float32": ("cublasSgemmStridedBatched", ctypes.c_float),
    "float64": ("cublasDgemmStridedBatched", ctypes.c_double),
}

_handles = {}  # device -> _Handle


def load():
    """The library that CuPy has loaded already. Raises InputError if it cannot be found."""
    from cupy_backends.cuda.libs import cublas  # loads it

    major = cublas.getVersion(xp.cuda.device.get_cublas_handle()) // 10000
    name = f"cublas64_{major}.dll" if sys.platform == "win32" else f"libcublas.so.{major}"
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        raise InputError(
            f"backend cupy: cuBLAS {major} cannot be opened ({error}): reinstall CuPy with its CUDA "
            f"libraries, pip install 'tinygan[cuda{major}]'"
        ) from None


class _Handle:
    """A cuBLAS handle, the stream that it is on, and its workspace."""

    def __init__(self):
        self.library, self.handle, self.stream = load(), ctypes.c_void_p(), None
        self.workspace = xp.cuda.alloc(WORKSPACE)
        _check("cublasCreate", self.library.cublasCreate_v2(ctypes.byref(self.handle)))

    def on(self, stream):
        if stream != self.stream:
            _check(
                "cublasSetStream",
                self.library.cublasSetStream_v2(self.handle, ctypes.c_void_p(stream)),
            )
            _check(
                "cublasSetWorkspace",
                self.library.cublasSetWorkspace_v2(  # which a new stream has forgotten
                    self.handle, ctypes.c_void_p(self.workspace.ptr), ctypes.c_size_t(WORKSPACE)
                ),
            )
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
    """a (..., M, K) @ b (..., K, N), both at least 2-D, float32 or float64, as numpy.matmul."""
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
    (a, lead_a, turned_a, step_a), (b, lead_b, turned_b, step_b) = (
        _operand(x, batch) for x in (a, b)
    )
    name, number = ROUTINES[str(y.dtype)]
    handle = _handle()
    m, k = y.shape[-2], a.shape[-1]
    _check(
        name,
        getattr(handle.library, name)(
            handle.handle,
            ctypes.c_int(turned_b),
            ctypes.c_int(turned_a),
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
    """(x in memory as cuBLAS can read it, its leading dimension, is it turned?, numbers from one matrix to the next)."""
    matrix = x.reshape(-1, *x.shape[-2:]) if x.ndim > 2 else x
    if x.ndim > 2 and x.shape[:-2] not in (batch, (1,) * (x.ndim - 2)):
        matrix = xp.broadcast_to(x, (*batch, *x.shape[-2:])).reshape(-1, *x.shape[-2:])
    rows, columns = matrix.shape[-2:]
    down, across = (step // x.itemsize for step in matrix.strides[-2:])
    if (columns == 1 or across == 1) and (rows == 1 or down >= columns):
        lead, turned = (down if rows > 1 else columns), 0
    elif (rows == 1 or down == 1) and (columns == 1 or across >= rows):
        lead, turned = (across if columns > 1 else rows), 1
    else:
        matrix = xp.ascontiguousarray(matrix)
        lead, turned = columns, 0
    many = matrix.ndim > 2 and len(matrix) > 1
    return matrix, max(1, lead), turned, matrix.strides[0] // x.itemsize if many else 0
