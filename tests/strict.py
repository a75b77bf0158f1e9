"""A stand-in for CuPy on machines without a GPU: NumPy with an array type as strict as CuPy's.

A StrictArray does not mix with numpy.ndarray in operators, functions, indices or assignments. It is
never converted implicitly: only `asarray` and `array` upload, and only `.get()` downloads.
Reductions and elements are arrays of no dimensions, not scalars. Like CuPy, it accepts Python
numbers and NumPy scalars beside arrays.

    with use_strict():      # here, tinygan.backend.xp is `module`
        ...

The stand-in counts what costs time on a GPU (`counts`): launches, uploads, and waits for a result.
It compiles kernels in CUDA C with a C++ compiler, records and launches CUDA graphs, and computes
the products of cuBLAS; see strict_cuda.py.
"""

import collections
import contextlib
import operator
import weakref

import numpy as np
import scipy.special
import strict_cuda

from tinygan import backend
from tinygan.kernels.cuda import cublas

# id of a NumPy array that owns its memory -> the StrictArray around it
_owners = weakref.WeakValueDictionary()
counts = collections.Counter()  # of "launches", "uploads" and "waits"
NO_LAUNCH = {"empty", "empty_like", "broadcast_to", "expand_dims"}
IN_PLACE = {"copyto", "at", "fill"}
CUBLAS = {"matmul", "dot", "einsum", "tensordot", "__matmul__", "__rmatmul__", "__imatmul__"}


def unwrap(value):
    """Replace StrictArrays in `value`, also in lists, tuples and dicts, by their NumPy arrays.

    Raises TypeError if it contains a numpy.ndarray.
    """
    if isinstance(value, StrictArray):
        return value._array
    if isinstance(value, np.ndarray):
        raise TypeError(
            "numpy.ndarray where an array of the strict backend is needed: use backend.asarray"
        )
    if isinstance(value, (list, tuple)):
        return type(value)(map(unwrap, value))
    if isinstance(value, dict):
        return {key: unwrap(item) for key, item in value.items()}
    return value


def wrap(value):
    """Replace NumPy arrays and scalars in `value`, also in lists and tuples, by StrictArrays."""
    if isinstance(value, (np.ndarray, np.generic)):
        return StrictArray(np.asarray(value))
    return type(value)(map(wrap, value)) if isinstance(value, (list, tuple)) else value


def launch(name, run, args, writes=False):
    """Call run(), which does the work of a kernel; or record it, while a graph is recorded.

    writes: run() writes into an argument. Otherwise its result is new memory, or a view of an
    argument, which needs no kernel.
    """
    graph = strict_cuda.recorded()
    if graph and name in CUBLAS:
        raise NotImplementedError(
            "calling cuBLAS API during stream capture is currently unsupported"
        )
    if graph and name in ("concatenate", "stack") and len(args[0]) > 8:
        raise NotImplementedError(f"{name} of more than 8 arrays uploads their addresses")
    if graph and writes:
        counts["launches"] += 1
        return graph.steps.append(run)
    # While a graph is recorded, arrays have no meaningful values yet.
    with np.errstate(all="ignore") if graph else contextlib.nullcontext():
        result = run()
    if writes:
        counts["launches"] += 1
    elif (
        name not in NO_LAUNCH
        and isinstance(result, (np.ndarray, np.generic))
        and not _is_view(result, args)
    ):
        counts["launches"] += 1
        if graph:
            result = np.asarray(result)
            graph.steps.append(lambda: result.__setitem__(..., run()))
    return result


def _is_view(result, args):
    return any(isinstance(arg, np.ndarray) and np.may_share_memory(result, arg) for arg in args)


def forward(function, owner=None):
    """Return a NumPy function, or a method of the array `owner`, as a function of StrictArrays."""
    name = function.__name__

    def call(*args, out=None, **settings):
        args, settings = unwrap(args), unwrap(settings)
        writes = name in IN_PLACE
        if out is None:
            arrays = args if owner is None else (owner, *args)
            return wrap(launch(name, lambda: function(*args, **settings), arrays, writes))
        launch(name, lambda: function(*args, out=unwrap(out), **settings), args, writes=True)
        return out

    return call


def _wait():
    if strict_cuda.recorded():
        raise RuntimeError(
            "cudaErrorStreamCaptureUnsupported: a result is read while the step is recorded"
        )
    counts["waits"] += 1


class StrictArray:
    """An array that only `module` and other StrictArrays understand."""

    __array_ufunc__ = None
    __hash__ = None

    def __init__(self, array):
        self._array = array
        if graph := strict_cuda.recorded():
            graph.memory.append(array)
        self.base = None  # as in CuPy: the array that owns the memory of this view
        if array.base is None:
            _owners[id(array)] = self
        elif isinstance(array.base, np.ndarray):
            owner = _owners.get(id(array.base))
            self.base = StrictArray(array.base) if owner is None else owner

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        attribute = getattr(self._array, name)
        if name in ("item", "tolist"):
            _wait()
            return attribute
        return forward(attribute, self._array) if callable(attribute) else wrap(attribute)

    def get(self):
        _wait()
        return self._array.copy()

    @property
    def data(self):
        return strict_cuda.Memory(self._array)  # a device pointer, which asarray cannot read

    def __array__(self, *args, **settings):
        raise TypeError("implicit conversion to numpy.ndarray: use backend.to_numpy")

    def __getitem__(self, index):
        index = unwrap(index)
        return wrap(launch("getitem", lambda: self._array[index], (self._array,)))

    def __setitem__(self, index, value):
        index, value = unwrap(index), unwrap(value)
        launch("setitem", lambda: self._array.__setitem__(index, value), (), writes=True)

    def __iter__(self):
        return map(wrap, self._array)

    def __repr__(self):
        return f"Strict{self._array!r}"

    def __bool__(self):
        _wait()
        return bool(self._array)

    def __int__(self):
        _wait()
        return int(self._array)

    def __float__(self):
        _wait()
        return float(self._array)

    def __index__(self):
        _wait()
        return self._array.__index__()

    def __len__(self):
        return len(self._array)

    def __deepcopy__(self, memo):
        return StrictArray(self._array.copy())


def _operator(name):
    method = getattr(np.ndarray, name)

    def call(self, *others):
        others, writes = unwrap(others), name.startswith("__i") and name != "__invert__"
        result = launch(name, lambda: method(self._array, *others), (), writes)
        return self if writes else NotImplemented if result is NotImplemented else wrap(result)

    return call


_binary = "add sub mul truediv floordiv mod pow matmul and or xor".split()
_operators = "lt le gt ge eq ne neg pos abs invert".split()
for _name in _operators + [prefix + name for prefix in ("", "r", "i") for name in _binary]:
    setattr(StrictArray, f"__{_name}__", _operator(f"__{_name}__"))


# Used very often, so they do not go through __getattr__.
for _name in "shape dtype ndim size strides flags itemsize nbytes".split():
    setattr(StrictArray, _name, property(operator.attrgetter(f"_array.{_name}")))


class _Function:
    """A function of NumPy. Its attributes, such as `xp.add.at`, are functions as well."""

    def __init__(self, function):
        self._function = function

    def __call__(self, *args, **settings):
        return forward(self._function)(*args, **settings)

    def __getattr__(self, name):
        return forward(getattr(self._function, name))


class ElementwiseKernel(strict_cuda.ElementwiseKernel):
    """CuPy's ElementwiseKernel, for StrictArrays."""

    def __call__(self, *args, size=None):
        outputs, run = self.prepare(unwrap(args), size)
        launch(self.name, run, (), writes=True)
        return wrap(outputs)


class StrictModule:
    """An array module that `tinygan.backend.activate` accepts in place of numpy or cupy."""

    ndarray = StrictArray
    ElementwiseKernel = ElementwiseKernel
    cuda = strict_cuda
    get_default_memory_pool = staticmethod(lambda: strict_cuda.MemoryPool(None))

    def __getattr__(self, name):
        # CuPy does not have these, or only for host memory.
        if name in "lib frombuffer fromiter testing memmap broadcast_shapes".split():
            raise AttributeError(f"the strict backend has no {name}")
        value = getattr(np, name)
        return _Function(value) if callable(value) and not isinstance(value, type) else value

    @staticmethod
    def asarray(data, dtype=None):
        """Upload `data`, unless it is a StrictArray."""
        if isinstance(data, StrictArray):
            return data if dtype is None or data.dtype == dtype else data.astype(dtype)
        return StrictModule.array(data, dtype=dtype)

    @staticmethod
    def array(data, dtype=None, copy=True, order="K"):
        """Upload or copy `data`."""
        if isinstance(data, StrictArray):
            copy_array = lambda: np.array(data._array, dtype=dtype, order=order)
            return wrap(launch("array", copy_array, ()))
        if not isinstance(data, (np.ndarray, np.generic, bool, int, float, list, tuple)):
            raise TypeError(f"cannot make an array of a {type(data).__name__}")
        if strict_cuda.recorded():
            raise RuntimeError(
                "cudaErrorStreamCaptureUnsupported: an upload while the step is recorded"
            )
        counts["uploads"] += 1
        return wrap(np.array(data, dtype=dtype, order=order))


module = StrictModule()
_real_special, _real_cublas = backend.special, cublas.load
backend.special = lambda name: (
    _Function(getattr(scipy.special, name)) if backend.active() is module else _real_special(name)
)
cublas.load = lambda: strict_cuda.Cublas() if backend.active() is module else _real_cublas()


@contextlib.contextmanager
def use_strict():
    """Compute with the strict backend inside a `with` block."""
    before = backend.active()
    backend.activate(module)
    try:
        yield module
    finally:
        backend.activate(before)
