"""How calls of NumPy are written down in a Recording, and what stands in for those functions of
`xp` that make arrays."""

import operator

import numpy as np

from . import parallel
from .recorded_array import RecordedArray, RecordingError

OUT = object()  # stands for the result among the arguments of a call
WITHOUT_OUT = {np.power, np.arctan2}  # in NumPy 2.0, their last bits differ with `out`


# ---- functions of NumPy that are written down in a way of their own ----


def _copyto(recording, target, source, casting="same_kind", where=True):
    recording.call(
        target.array,
        np.copyto,
        target.array,
        recording.plain(source),
        casting=casting,
        **({} if where is True else {"where": recording.plain(where)}),
    )


def _concatenate(recording, arrays, axis=0):
    parts = recording.plain(list(arrays))
    value = np.concatenate(parts, axis)
    return recording.result_in_place(value, np.concatenate, parts, axis, out=OUT)


def _stack(recording, arrays, axis=0):
    return _concatenate(recording, [np.expand_dims(x, axis) for x in arrays], axis)


def _clip(recording, x, low, high, out=None):
    args = recording.plain((x, low, high))
    if out is not None:
        recording.call(out.array, np.clip, *args, out.array)
        return out
    return recording.result_in_place(np.clip(*args), np.clip, *args, OUT)


def _einsum(recording, subscripts, *arrays, optimize=False):
    args = recording.plain(arrays)
    value = np.einsum(subscripts, *args, optimize=optimize)
    return recording.result_in_place(
        value, np.einsum, subscripts, *args, out=OUT, optimize=optimize
    )


def _dot(recording, a, b):
    args = recording.plain((a, b))
    return recording.result_in_place(np.dot(*args), np.dot, *args, OUT)


def _empty_like(recording, x, dtype=None):
    return recording.empty_like(recording.plain(x), dtype)


def _zeros_like(recording, x, dtype=None):
    y = _empty_like(recording, x, dtype)
    y.fill(0)
    return y


def _ones_like(recording, x, dtype=None):
    y = _empty_like(recording, x, dtype)
    y.fill(1)
    return y


FUNCTIONS = {
    np.clip: _clip,
    np.concatenate: _concatenate,
    np.copyto: _copyto,
    np.dot: _dot,
    np.einsum: _einsum,
    np.empty_like: _empty_like,
    np.max: lambda recording, x, *args, **settings: x.max(*args, **settings),
    np.mean: lambda recording, x, *args, **settings: x.mean(*args, **settings),
    np.min: lambda recording, x, *args, **settings: x.min(*args, **settings),
    np.ones_like: _ones_like,
    np.stack: _stack,
    np.sum: lambda recording, x, *args, **settings: x.sum(*args, **settings),
    np.zeros_like: _zeros_like,
}
ABOUT_SHAPES = {np.shape, np.ndim, np.size, np.result_type, np.may_share_memory, np.can_cast}


# ---- calls of NumPy that touch a RecordedArray ----


def ufunc(recording, ufunc, method, inputs, out, settings):
    ins, settings = recording.plain(inputs), recording.plain(settings)
    if method == "at":
        return recording.call(ins[0], ufunc.at, *ins)
    if method == "reduce":
        x, *rest = ins
        names = ("axis", "dtype", "out", "keepdims")
        settings = {"axis": 0, "dtype": None, "keepdims": False, **settings}
        settings.update(zip(names, rest))
        out = out or (settings.pop("out", None),)
        order = x, settings.pop("axis"), settings.pop("dtype")
        keepdims = settings.pop("keepdims")
        if out[0] is not None:
            target = recording.plain(out[0])
            recording.call(target, ufunc.reduce, *order, target, keepdims, **settings)
            return out[0]
        value = ufunc.reduce(*order, None, keepdims, **settings)
        return recording.result_in_place(value, ufunc.reduce, *order, OUT, keepdims, **settings)
    if method != "__call__":
        raise RecordingError(f"{ufunc.__name__}.{method} cannot be recorded")
    if out and out[0] is not None:
        target = recording.plain(out[0])
        recording.call(target, ufunc, *ins, out=target, **settings)
        return out[0]
    value = ufunc(*ins, **settings)
    if isinstance(value, tuple):
        raise RecordingError(f"{ufunc.__name__} returns several arrays and cannot be recorded")
    if ufunc in WITHOUT_OUT:
        return recording.result(value, ufunc, *ins, **settings)
    return recording.result_in_place(value, ufunc, *ins, out=OUT, **settings)


def function(recording, function, args, settings):
    if function in FUNCTIONS:
        return FUNCTIONS[function](recording, *args, **settings)
    args, plain_args = list(args), recording.plain(list(args))
    out, plain_settings = settings.get("out"), recording.plain(settings)
    if out is not None:
        recording.call(recording.plain(out), function, *plain_args, **plain_settings)
        return out
    value = function(*plain_args, **plain_settings)
    if not isinstance(value, (np.ndarray, np.generic)):
        if function in ABOUT_SHAPES:
            return value
        raise RecordingError(f"{function.__name__} cannot be recorded")
    if isinstance(value, np.ndarray) and value.size:
        for x in args:
            if isinstance(x, RecordedArray) and np.may_share_memory(value, x.array):
                return x.view_of(value)
    return recording.result(value, function, *plain_args, **plain_settings)


def getitem(recording, x, index):
    plain_index = recording.plain(index)
    parts = plain_index if isinstance(plain_index, tuple) else (plain_index,)
    if not any(isinstance(part, (np.ndarray, list)) for part in parts):
        view = x.array[plain_index]
        if not isinstance(view, np.ndarray):
            view = x.array[(*parts, ...)]
        return x.view_of(view)
    if any(isinstance(part, np.ndarray) and part.dtype == bool for part in parts):
        raise RecordingError("a mask selects a number of values that may differ between steps")
    value = x.array[plain_index]
    if isinstance(plain_index, np.ndarray):
        return recording.result_in_place(value, np.take, x.array, plain_index, 0, OUT)
    return recording.result(value, operator.getitem, x.array, plain_index)


def setitem(recording, x, index, value):
    plain_index, value = recording.plain(index), recording.plain(value)
    parts = plain_index if isinstance(plain_index, tuple) else (plain_index,)
    if any(isinstance(part, (np.ndarray, list)) for part in parts):
        return recording.call(x.array, operator.setitem, x.array, plain_index, value)
    view = x.array[plain_index if Ellipsis in parts else (*parts, ...)]
    if isinstance(value, np.ndarray):
        recording.call(view, np.copyto, view, value, casting="unsafe")
    else:
        recording.call(view, view.fill, value)


# ---- what stands in for functions of xp ----


def _filled(value):
    def make(recording, shape, dtype=float):
        y = recording.empty(shape, dtype)
        y.fill(value)
        return y

    return make


def _full(recording, shape, value, dtype=None):
    y = recording.empty(shape, np.asarray(value).dtype if dtype is None else dtype)
    y.fill(value)
    return y


def _made_once(name):
    """Return NumPy's function `name`, which makes an array from numbers, for a recording."""

    def make(recording, *args, **settings):
        value = getattr(np, name)(*args, **settings)
        y = recording.empty_like(value)
        recording.keep_alive(value)
        recording.call(y.array, np.copyto, y.array, value)
        return y

    return make


def _array(recording, x, dtype=None, copy=True, order="K", ndmin=0):
    y = recording.constant(x, dtype)
    return y.copy() if y is x or isinstance(x, np.ndarray) else y


def _ascontiguousarray(recording, x, dtype=None):
    x = recording.constant(x, dtype)
    return x if x.flags.c_contiguous else x.copy()


def _stand_in(name, function):
    """Return a function that calls function(recording, ...) in the thread that records a step, and
    NumPy's function `name` in all others."""
    original = getattr(np, name)

    def call(*args, **settings):
        recording = parallel.recording()
        if recording is None:
            return original(*args, **settings)
        return function(recording, *args, **settings)

    return call


_MAKERS = {
    "empty": lambda recording, shape, dtype=float: recording.empty(shape, dtype),
    "zeros": _filled(0),
    "ones": _filled(1),
    "full": _full,
    "asarray": lambda recording, x, dtype=None: recording.constant(x, dtype),
    "array": _array,
    "ascontiguousarray": _ascontiguousarray,
    **{name: _made_once(name) for name in ("arange", "eye", "identity", "indices", "linspace")},
}
# {name: what stands in for this function of xp while a step is recorded}. Arrays of other threads
# are plain, so `isinstance(x, xp.ndarray)` knows both kinds.
stand_ins = {
    "ndarray": (RecordedArray, np.ndarray),
    **{name: _stand_in(name, function) for name, function in _MAKERS.items()},
}
