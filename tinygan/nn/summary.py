"""What a network is made of: its layers with their shapes, parameters and multiply-adds."""

from typing import NamedTuple

from tinygan.autograd import engine, no_grad
from tinygan.autograd.inspect import multiply_adds

from .watch import watching


class Row(NamedTuple):
    """One layer: path in the network, class, shape of its result, parameters, multiply-adds."""

    path: str
    kind: str
    shape: tuple
    parameters: int
    multiply_adds: int


class _Counter:
    """An engine monitor that adds up the cost of the ops that run."""

    def __init__(self):
        self.total = 0

    def run_op(self, call, args, settings, run):
        result = run()
        if call.cost is not None:
            self.total += multiply_adds(call, result, args, settings)
        return result


def summarize(module, *inputs):
    """Run `module` on `inputs` once, in evaluation mode. Returns a Row for each layer that has no parts."""
    rows, counter, begun = [], _Counter(), []

    def after(path, layer, result):
        rows.append(Row(path, type(layer).__name__, result.shape, sum(p.size for p in layer.parameters()),
                        counter.total - begun.pop()))

    leaves = [(path, part) for path, part in module.modules() if not list(part.children())]
    training, monitor = module.training, engine.monitor
    try:
        engine.monitor = counter
        with no_grad(), watching(leaves, lambda *_: begun.append(counter.total), after):
            module.eval()(*inputs)
    finally:
        engine.monitor = monitor
        module.train(training)
    return rows
