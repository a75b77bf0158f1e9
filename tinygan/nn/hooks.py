"""Seeing what the parts of a network compute: hooks."""

import contextlib
import functools


@contextlib.contextmanager
def forward_hooks(parts, before, after):
    """Within, of each (path, Module) in `parts`: before(path, module), its forward, after(path, module, result)."""

    def hook(path, module):
        forward = module.forward

        @functools.wraps(forward)
        def hooked(*args, **settings):
            before(path, module)
            result = forward(*args, **settings)
            after(path, module, result)
            return result

        module.forward = hooked  # hides the class's method on this instance

    parts = list(parts)
    hidden = [vars(module).get("forward") for _, module in parts]  # of a watch around this one
    try:
        for path, module in parts:
            hook(path, module)
        yield
    finally:
        for (_, module), forward in zip(parts, hidden):
            vars(module).pop("forward", None)
            if forward:
                module.forward = forward


@contextlib.contextmanager
def feature_maps(network, kind=None):
    """Within, a dict fills with what the parts of a network computed last, {path: Tensor}: its feature maps.

        with nn.feature_maps(G) as maps:
            G(z)
        maps["blocks.1.0"].data

    kind: only of Modules of this class (or these). The Tensors are those of the graph: gradients flow to them.
    """
    maps = {}
    parts = [
        (path, m) for path, m in network.modules() if path and (kind is None or isinstance(m, kind))
    ]
    with forward_hooks(
        parts, lambda *_: None, lambda path, _, result: maps.__setitem__(path, result)
    ):
        yield maps
