"""Hooks on gradients: functions that see, or replace, the gradient that passes a Tensor on its way
back."""

from collections.abc import Callable
from typing import TypeAlias

from tinygan import backend

from .checks import described
from .recording import recording
from .tensor import Node, Tensor

GradientFunction: TypeAlias = Callable[[Tensor], Tensor | None]


class Hook:
    """What `x.register_hook(function)` returns. remove() ends it."""

    def __init__(self, functions: "dict[object, GradientFunction]", key: object) -> None:
        self._functions, self._key = functions, key

    def remove(self) -> None:
        """Call the function no more. A second call does nothing."""
        self._functions.pop(self._key, None)


def register_hook(x: Tensor, function: GradientFunction) -> Hook:
    """Call function(g) with g, the whole gradient of x, in every backward pass that reaches x.

    If it returns a Tensor, of the shape and dtype of g, this takes the place of g from there on: in
    the gradients of what x was computed from, and in that of x itself, also where `grad` returns
    it. If it returns None, g stays. It computes with ops, which `create_graph` records; g is not to
    be changed in place. Several hooks of a Tensor run in the order in which they were made, the
    next with the result of the one before.

    A hook belongs to x: copies of x have none, nor has a Parameter that was frozen and is no more.
    A step that calls a hook is not replayed (see `capture`).

    Returns a handle, whose remove() ends the hook. Raises ValueError if x does not require a
    gradient.
    """
    if x.node is None:
        raise ValueError(
            "register_hook: the Tensor does not require a gradient, so none passes it: set "
            "x.requires_grad = True first, or compute it from Tensors that require one"
        )
    if not callable(function):
        raise TypeError(f"register_hook takes a function, not {described(function)}")
    if x.node.hooks is None:
        x.node.hooks = {}
    key = object()  # not the Hook itself, which would close a reference cycle
    x.node.hooks[key] = function
    return Hook(x.node.hooks, key)


def after_hooks(node: Node, g: Tensor) -> Tensor:
    """Return the gradient that the hooks of a node make of its gradient g."""
    assert node.hooks is not None
    if backend.tape() is not None:
        raise TypeError(
            "a hook on a gradient is a function of Python's, which a replay would not call: compute"
            " the step without `capture`, or switch recording off with TINYGAN_RECORD=0"
        )
    for function in list(node.hooks.values()):
        result = function(g)
        if result is None:
            continue
        if not isinstance(result, Tensor):
            raise TypeError(
                f"a hook on a gradient returned a {type(result).__name__}: return None, or a Tensor"
                " that ops have computed"
            )
        if (result.shape, result.dtype) != (g.shape, g.dtype):
            raise ValueError(
                f"a hook on a gradient of shape {g.shape}, {g.dtype} returned one of shape "
                f"{result.shape}, {result.dtype}"
            )
        g = result if recording() else result.detach()  # it may have been computed outside
    return g


Tensor.register_hook = register_hook
