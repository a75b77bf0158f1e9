"""The state of a training step, kept so that the step can be run again and again from it."""

import collections
import functools
import random
import sys
import types
from dis import get_instructions
from typing import Any

import numpy as np

from tinygan.autograd import Tensor
from tinygan.backend import xp

LARGEST = 64 * 2**20  # bytes: larger arrays are taken for data, which a step does not change
# Objects of these libraries, such as loggers and locks, are not the state of a step.
_SEARCHED = {"builtins", "collections", "functools", "types", "argparse"}
_FOREIGN = {*sys.stdlib_module_names, "numpy", "scipy", "matplotlib"} - _SEARCHED
_ATOMS: Any = int, float, complex, bool, str, bytes, type(None), np.generic, np.dtype
_ATOMS += type, types.ModuleType, types.BuiltinFunctionType, types.CodeType
_SEQUENCES = list, set, collections.deque
_ITERATORS: Any = type(iter([])), type(iter(())), type(iter(range(0)))


class KeptState:
    """All that a function can change, as it is now: `restore` brings it back.

    roots: the function, and other objects. Kept are the arrays, Tensors, random generators, lists,
    dicts and attributes that can be reached from them: through closures, through the global names
    that functions read, and through the attributes of objects; also the global generators of NumPy
    and Python. Iterators over lists go back to their place; Python's generators cannot go back.
    """

    def __init__(self, *roots: Any) -> None:
        self.seen: dict[int, Any] = {}  # the objects, which must live as long as their ids are used
        self.undo: list[Any] = [functools.partial(np.random.set_state, np.random.get_state())]
        self.undo.append(functools.partial(random.setstate, random.getstate()))
        self.tensors: list[tuple[Tensor, Any, Any, Any, Any]] = []
        self.arrays: list[tuple[Any, Any]] = []
        self.modules: list[tuple[str, Any]] = []  # of networks: (name of a variable, object)
        pending = [("", root) for root in roots]
        while pending:
            name, x = pending.pop()
            if not isinstance(x, _ATOMS) and id(x) not in self.seen:
                self.seen[id(x)] = x
                pending += self.keep(name, x)

    def keep(self, name: str, x: Any) -> list[tuple[str, Any]]:
        """Keep the state of one object. Return [(name, object)] of those that it holds."""
        if isinstance(x, (np.ndarray, xp.ndarray)):  # on a GPU, a step may have both
            if getattr(x.flags, "writeable", True) and x.nbytes <= LARGEST:
                self.arrays.append((x, x.copy()))
            return []
        if isinstance(x, Tensor):
            dtype = x.node and x.node.dtype
            self.tensors.append((x, x.data, x.grad, x.node, dtype))
            return [("", x.data), ("", x.grad)]
        if isinstance(x, np.random.Generator):
            bits = x.bit_generator
            self.undo.append(functools.partial(setattr, bits, "state", bits.state))
            return []
        if isinstance(x, np.random.RandomState):
            self.undo.append(functools.partial(x.set_state, x.get_state()))
            return []
        if isinstance(x, random.Random):
            self.undo.append(functools.partial(x.setstate, x.getstate()))
            return []
        if isinstance(x, _ITERATORS):
            _, held, *place = x.__reduce__()
            if place:  # it is not used up
                self.undo.append(functools.partial(x.__setstate__, *place))
            return [("", part) for part in held]
        if isinstance(x, types.FunctionType):
            return self.keep_function(x)
        if isinstance(x, types.MethodType):
            return [("", x.__self__), ("", x.__func__)]
        if isinstance(x, functools.partial):
            return [("", x.func), ("", x.args), ("", x.keywords)]
        if isinstance(x, dict):
            self.undo.append(functools.partial(_refill, x, dict(x)))
            held = [(k if isinstance(k, str) else "", v) for k, v in x.items()]
        elif isinstance(x, _SEQUENCES):
            self.undo.append(functools.partial(_refill, x, list(x)))
            held = [(name, part) for part in x]
        else:
            held = [(name, part) for part in x] if isinstance(x, (tuple, frozenset)) else []
        if type(x).__module__.partition(".")[0] in _FOREIGN:
            return held
        attributes = getattr(x, "__dict__", None)
        if isinstance(attributes, dict):
            if hasattr(x, "named_parameters"):
                self.modules.append((name, x))
            self.undo.append(functools.partial(_refill, attributes, dict(attributes)))
            held += attributes.items()
        return held

    def keep_function(self, function: types.FunctionType) -> list[tuple[str, Any]]:
        """Keep the variables that a function reads from outside. Return them."""
        held = [("", function.__defaults__), ("", function.__kwdefaults__), ("", vars(function))]
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
            try:
                value = cell.cell_contents
            except ValueError:  # it is empty
                continue
            self.undo.append(functools.partial(setattr, cell, "cell_contents", value))
            held.append((name, value))
        space = function.__globals__
        if str(space.get("__name__", "")).partition(".")[0] in _FOREIGN | {"tinygan"}:
            return held
        for name in _global_names(function.__code__):
            if name in space:
                self.undo.append(functools.partial(space.__setitem__, name, space[name]))
                held.append((name, space[name]))
        return held

    def restore(self, with_gradients: bool = True) -> None:
        """Bring all of it back. with_gradients: also the `.grad` of all Tensors."""
        for undo in self.undo:
            undo()
        for x, data, grad, node, dtype in self.tensors:
            # `x.data = data` would be an assignment of a Parameter.
            Tensor.data.__set__(x, data)  # type: ignore[attr-defined]
            x.node = node
            if node is not None:
                node.dtype = dtype
            if with_gradients:
                x.grad = grad
        for array, values in self.arrays:
            array[...] = values
        for x, *_ in self.tensors:
            if x.version is not None:
                x.version.count += 1

    def to_float64(self) -> None:
        """Convert all Tensors that were kept, and the buffers of networks, to float64, in place."""
        for x, *_ in self.tensors:
            if x.dtype == np.float32 and (x.node is None or x.node.op is None):
                Tensor.data.__set__(x, x.data.astype(np.float64))  # type: ignore[attr-defined]
                x.grad = None
                if x.node is not None:
                    x.node.dtype = x.data.dtype
        for _, module in self.modules:
            for _, owner, name in module.buffer_slots() if hasattr(module, "buffer_slots") else ():
                buffer = getattr(owner, name)
                if buffer.dtype == np.float32:
                    setattr(owner, name, buffer.astype(np.float64))


def _refill(container: Any, content: Any) -> None:
    """Give a container the content that it had, unless it still has it."""
    if isinstance(container, dict):
        if container.keys() != content.keys() or any(
            container[key] is not value for key, value in content.items()
        ):
            container.clear()
            container.update(content)
    elif list(map(id, container)) != list(map(id, content)):
        container.clear()
        (container.update if isinstance(container, set) else container.extend)(content)


@functools.cache
def _global_names(code: types.CodeType) -> frozenset[str]:
    """Return the global names that a function's code, and functions in it, read or write."""
    inner = [c for c in code.co_consts if isinstance(c, types.CodeType)]
    own = {i.argval for i in get_instructions(code) if i.opname.endswith(("_GLOBAL", "_NAME"))}
    return frozenset(own).union(*map(_global_names, inner))
