"""What a network is made of: its layers with their shapes, parameters and multiply-adds."""

from typing import NamedTuple

from tinygan.autograd import no_grad, profile

from .hooks import forward_hooks


class Row(NamedTuple):
    """One layer: path in the network, class, shape of its result, parameters, multiply-adds."""

    path: str
    kind: str
    shape: tuple
    parameters: int
    multiply_adds: int


def summarize(module, *inputs):
    """A Row for each layer without parts. Runs `module` on `inputs` once, in evaluation mode."""
    rows, begun, counts = [], [], profile(show=False)

    def counted():
        return sum(row.flop for row in counts.rows) // 2

    def after(path, layer, result):
        parameters = sum(p.size for p in layer.parameters())
        cost = counted() - begun.pop()
        rows.append(Row(path, type(layer).__name__, result.shape, parameters, cost))

    leaves = [(path, part) for path, part in module.modules() if not list(part.children())]
    training = module.training
    try:
        with no_grad(), counts, forward_hooks(leaves, lambda *_: begun.append(counted()), after):
            module.eval()(*inputs)
    finally:
        module.train(training)
    return rows
