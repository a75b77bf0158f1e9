"""Hooks: functions that run before and after the forward pass of parts of a network."""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator

from tinygan.autograd import Tensor

from .module import Module


@contextlib.contextmanager
def forward_hooks(
    parts: Iterable[tuple[str, Module]],
    before: Callable[[str, Module], object],
    after: Callable[..., object],
) -> Iterator[None]:
    """A context in which each (path, Module) in `parts` calls before(path, module) ahead of its
    forward pass, and after(path, module, result) behind it."""

    active = True

    def add_hook(path, module):
        forward = module.forward

        @functools.wraps(forward)
        def hooked(*args, **settings):
            if not active:  # this context has ended before one inside it
                return forward(*args, **settings)
            before(path, module)
            result = forward(*args, **settings)
            after(path, module, result)
            return result

        hooked.replaced = vars(module).get("forward")  # the hook of an enclosing context, or None
        hooked.is_active = lambda: active
        module.forward = hooked  # an attribute of the instance, which hides the class's method

    parts = list(parts)
    try:
        for path, module in parts:
            add_hook(path, module)
        yield
    finally:
        active = False
        for _, module in parts:
            _remove_ended_hooks(module)


def _remove_ended_hooks(module):
    forward = vars(module).pop("forward", None)
    while hasattr(forward, "is_active") and not forward.is_active():
        forward = forward.replaced
    if forward is not None:
        module.forward = forward


@contextlib.contextmanager
def feature_maps(
    network: Module, kind: type[Module] | tuple[type[Module], ...] | None = None
) -> Iterator[dict[str, Tensor]]:
    """A context whose value is a dict, {path: Tensor}, of the latest result of every part of a
    network: its feature maps.

        with nn.feature_maps(G) as maps:
            G(z)
        maps["blocks.1.0"].data

    kind: a Module class, or a tuple of them, to record only such parts. The Tensors belong to the
    graph: gradients flow to them.
    """
    maps = {}
    parts = [
        (path, m) for path, m in network.modules() if path and (kind is None or isinstance(m, kind))
    ]
    with forward_hooks(
        parts, lambda *_: None, lambda path, _, result: maps.__setitem__(path, result)
    ):
        yield maps
