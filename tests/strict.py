"""A stand-in for CuPy on machines without a GPU: NumPy behind an array type that is as strict as CuPy's.

A StrictArray does not mix with numpy.ndarray, in operators, functions, indices or assignments, and does not
turn into one by itself: only `asarray` and `array` upload, only `.get()` downloads. Reductions and elements are
arrays of no dimensions, not scalars. Like CuPy, it takes Python numbers and NumPy scalars beside arrays.

    with use_strict():      # tinygan.backend.xp is `module` in here
        ...
"""

import contextlib
import weakref

import numpy as np

from tinygan import backend

_owners = weakref.WeakValueDictionary()  # id of a NumPy array that owns its memory -> the StrictArray around it


def unwrap(value):
    """The NumPy arrays inside `value`, through lists, tuples and dicts. Raises TypeError for bare ones."""
    if isinstance(value, StrictArray):
        return value._array
    if isinstance(value, np.ndarray):
        raise TypeError("numpy.ndarray where an array of the strict backend is needed: use backend.asarray")
    if isinstance(value, (list, tuple)):
        return type(value)(map(unwrap, value))
    if isinstance(value, dict):
        return {key: unwrap(item) for key, item in value.items()}
    return value


def wrap(value):
    """Arrays and NumPy scalars as StrictArrays, through lists and tuples; anything else as it is."""
    if isinstance(value, (np.ndarray, np.generic)):
        return StrictArray(np.asarray(value))
    return type(value)(map(wrap, value)) if isinstance(value, (list, tuple)) else value


def forward(function):
    """`function` of NumPy, for StrictArrays."""

    def call(*args, out=None, **settings):
        if out is None:
            return wrap(function(*unwrap(args), **unwrap(settings)))
        function(*unwrap(args), out=unwrap(out), **unwrap(settings))
        return out

    return call


class StrictArray:
    """An array that only `module` and its own kind understand."""

    __array_ufunc__ = None
    __hash__ = None

    def __init__(self, array):
        self._array = array
        self.base = None  # as CuPy's: the array that owns the memory of this view
        if array.base is None:
            _owners[id(array)] = self
        elif isinstance(array.base, np.ndarray):
            owner = _owners.get(id(array.base))
            self.base = StrictArray(array.base) if owner is None else owner

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        attribute = getattr(self._array, name)
        if name in ("item", "tolist", "shape", "strides", "flags"):
            return attribute
        return forward(attribute) if callable(attribute) else wrap(attribute)

    def get(self):
        return self._array.copy()

    @property
    def data(self):
        return object()  # a pointer to device memory; nothing that asarray could read

    def __array__(self, *args, **settings):
        raise TypeError("implicit conversion to numpy.ndarray: use backend.to_numpy")

    def __getitem__(self, index):
        return wrap(self._array[unwrap(index)])

    def __setitem__(self, index, value):
        self._array[unwrap(index)] = unwrap(value)

    def __iter__(self):
        return map(wrap, self._array)

    def __repr__(self):
        return f"Strict{self._array!r}"

    def __bool__(self):
        return bool(self._array)

    def __int__(self):
        return int(self._array)

    def __float__(self):
        return float(self._array)

    def __index__(self):
        return self._array.__index__()

    def __len__(self):
        return len(self._array)


def _operator(name):
    method = getattr(np.ndarray, name)

    def call(self, *others):
        result = method(self._array, *unwrap(others))
        return self if result is self._array else NotImplemented if result is NotImplemented else wrap(result)

    return call


for _name in ("lt le gt ge eq ne neg pos abs invert " + " ".join(
        prefix + name for prefix in ("", "r", "i") for name in
        "add sub mul truediv floordiv mod pow matmul and or xor".split())).split():
    setattr(StrictArray, f"__{_name}__", _operator(f"__{_name}__"))


class _Function:
    """A function of NumPy; `xp.add.at` and its like too."""

    def __init__(self, function):
        self._function = function

    def __call__(self, *args, **settings):
        return forward(self._function)(*args, **settings)

    def __getattr__(self, name):
        return forward(getattr(self._function, name))


class StrictModule:
    """What `tinygan.backend.activate` takes in place of numpy or cupy."""

    ndarray = StrictArray

    def __getattr__(self, name):
        if name in ("lib", "frombuffer", "fromiter", "testing", "memmap"):  # not in CuPy, or only for host memory
            raise AttributeError(f"the strict backend has no {name}")
        value = getattr(np, name)
        return _Function(value) if callable(value) and not isinstance(value, type) else value

    @staticmethod
    def asarray(data, dtype=None):
        """Uploads."""
        if isinstance(data, StrictArray) and (dtype is None or data.dtype == dtype):
            return data
        return StrictModule.array(data, dtype=dtype)

    @staticmethod
    def array(data, dtype=None, copy=True, order="K"):
        """Uploads; always a copy."""
        if not isinstance(data, (StrictArray, np.ndarray, np.generic, bool, int, float, list, tuple)):
            raise TypeError(f"cannot make an array of a {type(data).__name__}")
        return wrap(np.array(data._array if isinstance(data, StrictArray) else data, dtype=dtype, order=order))


module = StrictModule()


@contextlib.contextmanager
def use_strict():
    """Compute on the strict backend inside the `with` block."""
    before = backend.active()
    backend.activate(module)
    try:
        yield module
    finally:
        backend.activate(before)
