"""RecordedArray: an array of a step that is being recorded (recording.py)."""

import operator

import numpy as np

from . import parallel


class RecordingError(RuntimeError):
    """A step does something that a recorded step cannot repeat."""


class Unknown(RecordingError, AttributeError):
    """An array of a recorded step has no such attribute."""


class Reported(Exception):
    """A check has failed during a recording. report: raises the error, after the recording."""

    def __init__(self, report):
        self.report = report


class RecordedArray:
    """An array of a step that is being recorded. NumPy's functions take it like any other array.

    It is no subclass of numpy.ndarray, so that whatever is not written down fails instead of
    reading its values.

    array: the plain array, at its place in memory. block: the block of a pool that it lies in, or
    None if its memory lives longer than the recording. base: the RecordedArray of which it is a
    view, or None.
    """

    __slots__ = ("array", "block", "base", "__weakref__")
    __hash__ = None

    def __init__(self, array, block=None, base=None):
        self.array, self.block, self.base = array, block, base

    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **settings):
        return active().ufunc(ufunc, method, inputs, out, settings)

    def __array_function__(self, function, types, args, settings):
        return active().function(function, args, settings)

    def __array__(self, *args, **settings):
        raise _cannot_be_read("converted to a plain NumPy array")

    def __getattr__(self, name):
        raise Unknown(f"the method {name} of an array cannot be recorded: use a function of xp")

    def __getitem__(self, index):
        return active().getitem(self, index)

    def __setitem__(self, index, value):
        active().setitem(self, index, value)

    def __len__(self):
        return len(self.array)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __deepcopy__(self, memo):
        return self.copy()

    def __repr__(self):
        return f"RecordedArray(shape={self.shape}, dtype={self.dtype})"

    @property
    def T(self):
        return self.transpose()

    def view_of(self, array):
        """Return `array`, a view of this array's memory, as a RecordedArray."""
        return RecordedArray(array, self.block, self)

    def reshape(self, *shape, order="C"):
        view = self.array.reshape(*shape)
        if not view.size or np.may_share_memory(view, self.array):
            return self.view_of(view)
        copy = self.copy()
        return copy.view_of(copy.array.reshape(*shape))

    def view(self, dtype):
        return self.view_of(self.array.view(dtype))

    def ravel(self):
        return self.reshape(-1)

    def transpose(self, *axes):
        return self.view_of(self.array.transpose(*axes))

    def swapaxes(self, a, b):
        return self.view_of(self.array.swapaxes(a, b))

    def squeeze(self, axis=None):
        return self.view_of(self.array.squeeze(axis))

    def strided(self, shape, strides):
        """Return a view that begins at the first number of this array, with strides in bytes."""
        return self.view_of(np.ndarray(shape, self.dtype, self.array, 0, strides))

    def __pow__(self, exponent):
        return active().operator(operator.pow, self, exponent)

    def __rpow__(self, base):
        return active().operator(operator.pow, base, self)

    def __ipow__(self, exponent):
        active().setitem(self, ..., self**exponent)
        return self

    def copy(self, order="C"):
        y = active().empty(self.shape, self.dtype)
        np.copyto(y, self)
        return y

    def astype(self, dtype, order="K", casting="unsafe", subok=True, copy=True):
        if not copy and self.dtype == dtype:
            return self
        y = active().empty_like(self.array, dtype)
        np.copyto(y, self, casting="unsafe")
        return y

    def fill(self, value):
        active().call(self.array, self.array.fill, value)

    def sum(self, axis=None, dtype=None, out=None, keepdims=False):
        return np.add.reduce(self, axis, dtype, out, keepdims)

    def max(self, axis=None, out=None, keepdims=False):
        return np.maximum.reduce(self, axis, None, out, keepdims)

    def min(self, axis=None, out=None, keepdims=False):
        return np.minimum.reduce(self, axis, None, out, keepdims)

    def any(self, axis=None, out=None, keepdims=False):
        return np.logical_or.reduce(self, axis, None, out, keepdims)

    def all(self, axis=None, out=None, keepdims=False):
        return np.logical_and.reduce(self, axis, None, out, keepdims)

    def mean(self, axis=None, dtype=None, out=None, keepdims=False):
        total = self.sum(axis, dtype, out, keepdims)
        total /= self.size // max(1, total.size)
        return total


def _forwarded(name):
    """Return the method `name` as NumPy's function of the same name."""

    def method(self, *args, **settings):
        return getattr(np, name)(self, *args, **settings)

    return method


def _property(name):
    return property(lambda self: getattr(self.array, name))


def _refused(what):
    def method(self, *args):
        raise _cannot_be_read(what)

    return method


def _operator(ufunc, kind):
    """Return an operator as a method. kind: "" for x + y, "r" for y + x, "i" for x += y."""

    def method(self, *others):
        if not all(isinstance(other, _OPERANDS) for other in others):
            return NotImplemented
        if kind == "i":
            return ufunc(self, *others, out=self)
        return ufunc(*others, self) if kind == "r" else ufunc(self, *others)

    return method


_OPERANDS = RecordedArray, np.ndarray, np.generic, int, float
_BINARY = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "truediv": np.true_divide,
    "floordiv": np.floor_divide,
    "mod": np.remainder,
    "matmul": np.matmul,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
}
for _name, _ufunc in _BINARY.items():
    for _kind in ("", "r", "i"):
        setattr(RecordedArray, f"__{_kind}{_name}__", _operator(_ufunc, _kind))
for _name, _ufunc in {
    **{"lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal},
    **{"eq": np.equal, "ne": np.not_equal, "neg": np.negative, "pos": np.positive},
    **{"abs": np.absolute, "invert": np.invert},
}.items():
    setattr(RecordedArray, f"__{_name}__", _operator(_ufunc, ""))
for _name in ("shape", "dtype", "ndim", "size", "strides", "flags", "itemsize", "nbytes"):
    setattr(RecordedArray, _name, _property(_name))
for _name in ("argmax", "argmin", "clip", "cumsum", "dot", "prod", "repeat", "round", "take"):
    setattr(RecordedArray, _name, _forwarded(_name))
for _name, _what in {
    "__bool__": "used as a condition",
    "__float__": "read as a number",
    "__int__": "read as a number",
    "__complex__": "read as a number",
    "__index__": "used as an index of Python",
    "item": "read by item()",
    "tolist": "read by tolist()",
    "__format__": "read for a text",
    "get": "read",
}.items():
    setattr(RecordedArray, _name, _refused(_what))


def _cannot_be_read(what):
    return RecordingError(
        f"an array is {what} while the step is recorded, which would fix its value for all later "
        "steps: compute with arrays alone, return the array and read it after the step, or switch "
        "recording off with TINYGAN_RECORD=0"
    )


def active():
    recording = parallel.recording()
    if recording is None:
        raise RecordingError(
            "an array of a recorded step is used outside of the step: a step returns the numbers "
            "that are needed afterwards"
        )
    return recording
