"""What a network is made of: what print shows of it, and its layers with their output shapes,
parameters and multiply-adds."""

from typing import Any, NamedTuple

import numpy as np

from tinygan.autograd import Parameter, Tensor, no_grad, profile, tensor

from .hooks import forward_hooks
from .module import Module, Sequential


class Row(NamedTuple):
    """A layer: its path in the network, class, output shape, parameters and multiply-adds."""

    path: str
    kind: str
    shape: tuple[int, ...] | str
    parameters: int
    multiply_adds: int


class Summary(list[Row]):
    """A Row for each layer that has no layers inside, in the order in which they ran, then "others"
    (the parameters of all other layers) and the "total". str() makes a table of it."""

    def __str__(self) -> str:
        table = [("layer", "kind", "output", "parameters", "multiply-adds")]
        table += [
            (r.path, r.kind, str(r.shape), f"{r.parameters:,}", f"{r.multiply_adds:,}")
            for r in self
        ]
        widths = [max(map(len, column)) for column in zip(*table)]
        align = [str.ljust] * 3 + [str.rjust] * 2
        return "\n".join(
            "  ".join(pad(cell, width) for pad, cell, width in zip(align, row, widths)).rstrip()
            for row in table
        )


def summary(network: Module, *inputs: Any) -> Summary:
    """Return a Summary of a network, which runs once on the inputs, in evaluation mode.

    inputs: the arguments of its `forward`, Tensors or arrays; floating-point arrays are converted
    to its dtype. A network with an attribute `latent` or `image_shape` needs none: it runs on
    zeros, and on label 0 if it has classes. print(nn.summary(G)) prints a table, in which layers
    with frozen Parameters are marked.
    """
    if not isinstance(network, Module):
        raise TypeError(f"summary takes a network, such as dcgan.Generator(), not {network!r}")
    inputs = inputs or example_inputs(network)
    if any(isinstance(x, int) or isinstance(x, tuple) and {int} == {*map(type, x)} for x in inputs):
        raise TypeError(
            "summary takes example inputs, not their shapes: write np.zeros((1, 28, 28, 1)), say"
        )
    dtype = next((parameter.dtype for parameter in network.parameters()), None)
    inputs = [tensor(x, dtype=dtype) if _is_floating(x) else x for x in inputs]
    rows, costs_before, profiler = Summary(), [], profile(show=False)

    def multiply_adds():
        return sum(row.flop for row in profiler.rows) // 2

    def before(path, layer):
        costs_before.append(multiply_adds())

    def after(path, layer, result):
        parameters = sum(p.size for p in layer.parameters())
        cost = multiply_adds() - costs_before.pop()
        shape = getattr(result, "shape", "")  # a layer may return several Tensors
        frozen = {not p.requires_grad for p in layer.parameters()}
        note = " (partly frozen)" if len(frozen) == 2 else " (frozen)" * (True in frozen)
        rows.append(Row(path or "(all)", type(layer).__name__ + note, shape, parameters, cost))

    leaves = [(path, part) for path, part in network.modules() if not list(part.children())]
    training = network.training
    try:
        with no_grad(), profiler, forward_hooks(leaves, before, after):
            network.eval()(*inputs)
    finally:
        network.train(training)
    parameters = sum(p.size for p in network.parameters())
    # Layers that contain others may have parameters of their own, and growing networks have layers
    # for sizes that they do not use yet.
    if others := parameters - sum(row.parameters for row in rows):
        rows.append(Row("others", "", "", others, 0))
    rows.append(Row("total", "", "", parameters, sum(row.multiply_adds for row in rows)))
    return rows


def _is_floating(x):
    return getattr(getattr(x, "dtype", None), "kind", "") == "f" and not isinstance(x, Tensor)


def example_inputs(network: Module) -> tuple[Any, ...]:
    """Return zeros for a latent or an image (for a pack of images if D judges them together), and
    label 0 if the network has classes. Raises TypeError if the network does not tell which it
    takes."""
    for _, part in network.modules():  # D may be inside a layer that tells it the class
        if hasattr(part, "latent") or hasattr(part, "image_shape"):
            break
    else:
        raise TypeError(
            "summary(network, x): give an example input x, such as np.zeros((1, 28, 28, 1)): "
            "the network has no attribute `latent` or `image_shape`, so its shape is not known"
        )
    shape = (part.latent,) if hasattr(part, "latent") else part.image_shape
    shape = [32 if isinstance(n, str) else n for n in shape]  # a letter stands for any size
    has_classes = network.conditional and getattr(network, "classes", 1) is not None
    return np.zeros((getattr(network, "pack", 1), *shape)), *[np.zeros(1, int)] * has_classes


# What print shows


def one_line_repr(module: Module) -> str:
    """Return the class with its sizes: the shapes of its parameters or else of its buffers, and its
    integers (and without parts, its numbers). Frozen parameters are marked."""
    values = vars(module).items()
    is_frozen = lambda x: isinstance(x, Parameter) and not x.requires_grad
    sizes: dict[str, Any] = {
        name: f"{x.shape}{' frozen' * is_frozen(x)}" for name, x in values if isinstance(x, Tensor)
    }
    sizes = sizes or {name: x.shape for name, x in values if name in module.buffer_names}
    kinds = (int,) if sizes or any(module.children()) else (int, float)
    numbers = {
        name: x
        for name, x in values
        if type(x) in kinds or isinstance(x, tuple) and {*map(type, x)} == {int}
    }
    inside = ", ".join(f"{name}={x}" for name, x in {**sizes, **numbers}.items())
    return f"{type(module).__name__}({inside})"


def tree_repr(module: Module) -> str:
    """Return the `one_line_repr` of a module, and below it a line for each layer inside."""
    layers = module.layers if isinstance(module, Sequential) else ()  # some may be functions
    parts = {**{str(i): layer for i, layer in enumerate(layers)}, **dict(module.children())}
    lines = (f"  {name}: {getattr(part, '__name__', part)}" for name, part in parts.items())
    return "\n".join((one_line_repr(module), *(line.replace("\n", "\n  ") for line in lines)))


setattr(Module, "one_line_repr", one_line_repr)  # a type checker refuses `Module.x =`
setattr(Module, "__repr__", tree_repr)
