"""What a Module holds besides its parts: Parameters and Modules that nothing would train or save.

The parts of a Module are found in its attributes and in lists there (`Module.children`). A layer in
a dict, in a set, or in a function would be used, and yet stay as it is, without a word.
"""

import functools
import gc
import os
import sys
import types
import weakref
from dis import get_instructions

import numpy as np

from tinygan.backend import xp

from .tensor import Parameter, Tensor

_PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep
_HARMLESS = {int, float, bool, str, bytes, complex, type(None), np.random.Generator, np.dtype}
_NOT_SEARCHED = (
    *(type, types.ModuleType, types.CodeType, types.FrameType, types.BuiltinFunctionType),
    *(weakref.ReferenceType, np.generic),
)
# The library's objects, such as loggers and locks, hold no layers, but may lead far away.
_SEARCHED = {"builtins", "collections", "functools", "types", "itertools", "operator", "argparse"}
_FOREIGN = {*sys.stdlib_module_names, "numpy", "scipy", "matplotlib"} - _SEARCHED


def parameters_of(parts, Module, allow_tensors=False):
    """Return (path, Module, attribute, Parameter) of each Parameter of a network.

    parts: all (path, Module) of the network. Module: the class. Raises TypeError if a Parameter or
    Module is anywhere else, or if a Tensor that requires a gradient is in place of a Parameter
    (unless allow_tensors, for networks that are called with other weights). Frozen Parameters, and
    Modules whose Parameters are all frozen, may be anywhere: they are not to be trained.
    """
    known, found, others = {id(part) for _, part in parts}, [], []
    for path, part in parts:
        attributes = vars(part)
        for name, value in attributes.items():
            kind = type(value)
            if kind in _HARMLESS or kind is np.ndarray and not value.dtype.hasobject:
                continue
            if isinstance(value, Parameter):
                known.add(id(value))
                found.append((path, part, name, value))
            elif id(value) not in known and not (kind is list and known.issuperset(map(id, value))):
                others.append((part, name, value))
        for name in _class_attributes(type(part), Module):
            if name not in attributes:
                others.append((part, name, getattr(part, name, None)))
    for part, name, value in others:
        if allow_tensors and isinstance(value, Tensor):
            continue
        _check(part, name, value, known, Module)
    return found


@functools.cache
def _class_attributes(kind, Module):
    """Return the names of attributes and slots of a class of Modules, and of its base classes, that
    may hold Parameters or Modules."""
    names, methods = [], (type, types.FunctionType, property, classmethod, staticmethod)
    for cls in kind.__mro__[: kind.__mro__.index(Module)]:
        slots = vars(cls).get("__slots__", ())
        names += [slots] if isinstance(slots, str) else slots
        names += [
            name
            for name, value in vars(cls).items()
            if name[:2] != "__" and type(value) not in _HARMLESS and not isinstance(value, methods)
        ]
    return names


def _check(part, name, value, known, Module):
    """Raise TypeError if the value of attribute `name` leads to something that is overlooked."""
    if isinstance(value, tuple) and _HARMLESS.issuperset(map(type, value)):
        return
    seen, pending = set(), [(value, "")]
    while pending:
        x, where = pending.pop()
        if type(x) in _HARMLESS or id(x) in known or id(x) in seen:
            continue
        seen.add(id(x))
        if isinstance(x, (Tensor, Module)):
            if _would_be_trained(x, Module):
                raise TypeError(_message(part, name, x, where))
        elif not isinstance(x, _NOT_SEARCHED):
            is_container = type(x).__module__ == "builtins" and not callable(x)
            where = where if where and is_container else _kind(x)
            pending += [(inner, where) for inner in _contents(x, Module)]


def _would_be_trained(x, Module):
    if isinstance(x, Tensor):  # a result of ops is no weight
        return x.node is not None and x.node.op is None
    weights = [p for _, m in x.all_parts() for p in vars(m).values() if isinstance(p, Parameter)]
    return not weights or any(weight.requires_grad for weight in weights)


def _contents(x, Module):
    """Return the objects to which x refers directly."""
    if isinstance(x, types.FunctionType):
        if x.__code__.co_filename.startswith(_PACKAGE):
            return []
        names = _global_names(x.__code__)
        outside = [x.__globals__[name] for name in names if name in x.__globals__]
        kinds = Tensor, Module, list, tuple, set, dict
        outside = [value for value in outside if isinstance(value, kinds)]
        return [x.__closure__, x.__defaults__, x.__kwdefaults__, vars(x), *outside]
    if isinstance(x, types.MethodType):
        return [x.__self__, x.__func__]
    if isinstance(x, np.ndarray):
        return x.ravel().tolist() if x.dtype.kind == "O" else []
    if isinstance(x, xp.ndarray) or type(x).__module__.partition(".")[0] in _FOREIGN:
        return []
    return gc.get_referents(x)


@functools.cache
def _global_names(code):
    return {i.argval for i in get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}


def _kind(x):
    return "function" if isinstance(x, (types.FunctionType, types.MethodType)) else type(x).__name__


def _message(part, name, x, where):
    what = f"a {type(x).__name__}" + (f" in a {where}" if where else "")
    advice = "keep Parameters as attributes of their own, and Modules as attributes or in lists"
    if isinstance(x, Tensor) and not isinstance(x, Parameter):
        what = what.replace("a Tensor", "a Tensor that requires a gradient", 1)
        advice = "make it a Parameter, as an attribute of its own"
    elif not where:
        advice = "it belongs to the class: set it in __init__, as self." + name
    return f"{type(part).__name__}.{name} would not be trained ({what}): {advice}"
