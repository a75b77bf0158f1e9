"""Definition and kernels: one op, written twice, for the reader and for speed."""

import functools
from collections.abc import Callable
from typing import Any

from tinygan.autograd import grad, op, recording, report_cost, tensor_parameters, wrap
from tinygan.autograd.types import Op, P


@op
def alias(x, /):
    """The same values under a node of their own."""
    return x.data, lambda g: g


def fused(forward, backward, cost=None, backward_cost=None) -> Callable[[Callable[P, Any]], Op[P]]:
    """Give a composition of ops (the decorated definition) kernels that compute the same at once.

    One kernel computes the value, another the first derivative. When the backward pass is itself
    recorded, the definition runs instead and is differentiated, so a second derivative is never
    written by hand. The result is an op with the definition's signature, whose settings go by
    position; `.definition` is what was decorated.

    forward(*arrays, *settings) -> (value, saved), where saved is whatever backward reads;
    backward(g, saved, needed) -> the gradients of the arrays (anything where not needed). cost: see
    `op`; backward_cost: the multiply-adds of backward, a function of (needed, g, *arguments).
    """

    def pair(definition):
        tensors = tensor_parameters(definition)[0]

        @functools.wraps(
            definition
        )  # so that `op` below finds the definition's signature, with its `/`
        def run(*args):
            xs, settings = args[:tensors], args[tensors:]
            value, saved = forward(*(None if x is None else x.data for x in xs), *settings)

            def gradients(g, needed):
                if not recording():
                    results = backward(g.data, saved, needed)
                    if backward_cost is not None:
                        report_cost(result, lambda: backward_cost(needed, g, *xs))
                    return [
                        wrap(result) if wanted else None for result, wanted in zip(results, needed)
                    ]
                # Aliases, so that in f(x, x) each argument has a gradient of its own, and the gradients
                # still flow back to x (which they would not from fresh leaves).
                inputs = [alias(x) if wanted else x for x, wanted in zip(xs, needed)]
                wanted = [x for x, wanted in zip(inputs, needed) if wanted]
                results = iter(grad(definition(*inputs, *settings), wanted, g, create_graph=True))
                return [next(results) if wanted else None for wanted in needed]

            return value, gradients

        result = op(run, joint=True, cost=cost)
        result.definition = definition
        return result

    return pair
