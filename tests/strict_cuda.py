"""The `cuda` namespace of the strict backend: graphs, kernels in C, and cuBLAS, in host memory."""

import contextlib
import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

COMPILER = shutil.which(os.environ.get("CXX", "c++"))
CACHE = Path(__file__).parent / "__pycache__" / "kernels"
_streams = []  # of the `with` blocks that are entered


class Stream:
    """A stream. It can record a graph."""

    def __init__(self, non_blocking=False):
        self.recorded = None

    @property
    def ptr(self):
        return id(self)

    def __enter__(self):
        _streams.append(self)

    def __exit__(self, *exception):
        _streams.pop()

    def synchronize(self):
        if self.recorded:
            raise RuntimeError(
                "cudaErrorStreamCaptureUnsupported: a stream is waited for while it is recorded"
            )

    def begin_capture(self):
        self.recorded = Graph()

    def end_capture(self):
        graph, self.recorded = self.recorded, None
        return graph


class Graph:
    """A recorded graph: functions to run, and the memory that they work on."""

    def __init__(self):
        self.steps, self.memory = [], []

    def launch(self):
        for step in self.steps:
            step()


NULL = Stream()


def get_current_stream():
    return _streams[-1] if _streams else NULL


def recorded():
    """Return the Graph that is being recorded, or None."""
    return get_current_stream().recorded


class MemoryPool:
    def __init__(self, allocator):
        pass

    def malloc(self, size):
        raise NotImplementedError

    def free_all_blocks(self):
        pass


def using_allocator(allocator):
    return contextlib.nullcontext()


class Memory:
    """A pointer. It keeps its array alive."""

    def __init__(self, array):
        self.ptr, self._array = array.ctypes.data, array


def alloc(size):
    return Memory(np.empty(size, np.uint8))


class runtime:
    @staticmethod
    def getDevice():
        return 0


# ---- kernels in C ----

_TYPES = {"int32": np.int32, "int64": np.int64}
_C_TYPES = {"int32": "int", "int64": "long long", "float32": "float", "float64": "double"}


class ElementwiseKernel:
    """CuPy's ElementwiseKernel: a body in CUDA C that runs for every i, here compiled as C++."""

    def __init__(self, inputs, outputs, body, name):
        self.name, self.body = name, body
        self.inputs, self.outputs = (  # (type, name, is it raw?) of each parameter
            [(*text.split()[-2:], "raw" in text) for text in parameters.split(",")]
            for parameters in (inputs, outputs)
        )

    def prepare(self, args, size):
        """Check the arguments. Return the outputs, and a function that computes them.

        args: arrays and numbers for the inputs, and arrays for the outputs or none.
        """
        parameters = self.inputs + self.outputs
        if len(args) not in (len(self.inputs), len(parameters)):
            raise TypeError(
                f"{self.name} takes {len(self.inputs)} or {len(parameters)} arguments, "
                f"not {len(args)}"
            )
        dtypes = {
            array.dtype
            for (kind, _, _), array in zip(parameters, args)
            if kind == "T" and isinstance(array, np.ndarray)
        }
        if len(dtypes) != 1:
            raise TypeError(f"{self.name}: arrays of one type are needed, not {dtypes}")
        dtype = dtypes.pop()
        shapes = [
            array.shape
            for (_, _, raw), array in zip(parameters, args)
            if isinstance(array, np.ndarray) and not raw
        ]
        shape = (size,) if size is not None else np.broadcast_shapes(*shapes)
        outputs = list(args[len(self.inputs) :]) or [np.empty(shape, dtype) for _ in self.outputs]
        contiguous = all(array.flags.c_contiguous for array in outputs)
        if not contiguous or size is None and any(array.shape != shape for array in outputs):
            raise ValueError(f"{self.name}: outputs must be C-contiguous, with shape {shape}")
        values = list(args[: len(self.inputs)])
        for k, (kind, name, raw) in enumerate(self.inputs):
            input_dtype = dtype if kind == "T" else _TYPES[kind]
            if raw and (not isinstance(values[k], np.ndarray) or values[k].dtype != input_dtype):
                raise TypeError(f"{self.name}: {name} must be an array of {input_dtype}")
        are_arrays = tuple(isinstance(value, np.ndarray) for value in values)
        function = _compiled(self, str(dtype), are_arrays)
        count = int(np.prod(shape))

        def run():
            inputs = []
            for (kind, _, raw), value in zip(self.inputs, values):
                broadcast = isinstance(value, np.ndarray) and not raw
                value = np.asarray(value, dtype if kind == "T" else _TYPES[kind])
                value = np.broadcast_to(value, shape) if broadcast else value
                inputs.append(np.ascontiguousarray(value))
            pointers = [array.ctypes.data for array in inputs + outputs]
            function(ctypes.c_ssize_t(count), (ctypes.c_void_p * len(pointers))(*pointers))

        return outputs[0] if len(outputs) == 1 else tuple(outputs), run

    def source(self, dtype, are_arrays):
        """Return the C++ source for this dtype. are_arrays: is each input an array or a number?"""
        lines = []
        for k, ((kind, name, raw), is_array) in enumerate(zip(self.inputs, are_arrays)):
            c = "T" if kind == "T" else _C_TYPES[kind]
            pointer, index = f"(const {c}*)args[{k}]", "i" if is_array else 0
            one = f"const {c} {name} = ({pointer})[{index}];"
            lines.append(f"const {c}* {name} = {pointer};" if raw else one)
        for k, (_, name, raw) in enumerate(self.outputs, len(self.inputs)):
            pointer = f"(T*)args[{k}]"
            lines.append(f"T* {name} = {pointer};" if raw else f"T& {name} = ({pointer})[i];")
        return f"""#include <cmath>
#include <cstddef>
using namespace std;
typedef {_C_TYPES[dtype]} T;
extern "C" void run(ptrdiff_t n, void** args) {{
    for (ptrdiff_t i = 0; i < n; ++i) {{
        {" ".join(lines)}
        {self.body}
    }}
}}
"""


@functools.cache
def _compiled(kernel, dtype, are_arrays):
    source = kernel.source(dtype, are_arrays)
    library = CACHE / f"{kernel.name}-{hashlib.sha256(source.encode()).hexdigest()[:16]}.so"
    if not library.exists():
        if COMPILER is None:
            pytest.skip("the stand-in's kernels need a C++ compiler: c++, or $CXX")
        CACHE.mkdir(parents=True, exist_ok=True)
        code, new = (library.with_suffix(f".{os.getpid()}.{end}") for end in ("cpp", "so"))
        code.write_text(source)
        subprocess.run([COMPILER, "-O3", "-fPIC", "-shared", "-o", new, code], check=True)
        code.unlink()
        new.replace(library)
    return ctypes.CDLL(str(library)).run


# ---- cuBLAS ----


class Cublas:
    """The routines of cuBLAS that tinygan calls, as its manual defines them.

    Matrices are given by address and leading dimension, and lie in memory by columns.
    """

    @staticmethod
    def cublasCreate_v2(handle):
        return 0

    @staticmethod
    def cublasSetStream_v2(handle, stream):
        return 0

    @staticmethod
    def cublasSetWorkspace_v2(handle, address, size):
        return 0

    def cublasSgemmStridedBatched(self, *args):
        return self._gemm(np.float32, *args)

    def cublasDgemmStridedBatched(self, *args):
        return self._gemm(np.float64, *args)

    @staticmethod
    def _gemm(
        dtype,
        handle,
        transpose_a,
        transpose_b,
        m,
        n,
        k,
        alpha,
        a,
        lda,
        step_a,
        b,
        ldb,
        step_b,
        beta,
        c,
        ldc,
        step_c,
        batch,
    ):
        import strict

        m, n, k, lda, ldb, ldc, batch = (x.value for x in (m, n, k, lda, ldb, ldc, batch))
        a_shape = (k, m) if transpose_a.value else (m, k)
        b_shape = (n, k) if transpose_b.value else (k, n)
        plain_product = alpha._obj.value == 1 and beta._obj.value == 0
        if lda < a_shape[0] or ldb < b_shape[0] or ldc < m or not plain_product:
            return 7  # CUBLAS_STATUS_INVALID_VALUE
        A, B, C = (
            _by_columns(dtype, address.value, shape, lead, step.value, batch)
            for address, shape, lead, step in (
                (a, a_shape, lda, step_a),
                (b, b_shape, ldb, step_b),
                (c, (m, n), ldc, step_c),
            )
        )
        A = A.swapaxes(1, 2) if transpose_a.value else A
        B = B.swapaxes(1, 2) if transpose_b.value else B
        strict.launch("gemm", lambda: np.matmul(A, B, out=C), (), writes=True)
        return 0


def _by_columns(dtype, address, shape, lead, step, batch):
    """Return a view (batch, rows, columns) of the matrices at an address, stored by columns."""
    rows, columns = shape
    size = (batch - 1) * step + (columns - 1) * lead + rows
    item = np.dtype(dtype).itemsize
    memory = np.frombuffer((ctypes.c_char * (size * item)).from_address(address), dtype)
    return np.lib.stride_tricks.as_strided(
        memory, (batch, rows, columns), (step * item, item, lead * item)
    )
