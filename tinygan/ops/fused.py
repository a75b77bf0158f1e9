"""Fused ops: a definition to read and to differentiate, and kernels that compute it fast."""

import functools
from typing import Any, Callable

from tinygan.autograd import Op, P, op, recording, report_cost, tensor_parameters, wrap
from tinygan.autograd.engine import gradients_for_ops


@op
def alias(x, /):
    """The same values, with a node of their own."""
    return x.data, lambda g: g


def fused(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    cost: Callable[..., int] | None = None,
    backward_cost: Callable[..., int] | None = None,
) -> Callable[[Callable[P, Any]], Op[P]]:
    """Decorate a composition of ops, the definition, with two kernels that compute the same faster.

    One kernel computes the value, the other the first derivative. A backward pass that is itself
    recorded runs and differentiates the definition instead, so nobody writes a second derivative by
    hand. The result is an op with the definition's signature; its settings must be positional. Its
    attribute `.definition` is the definition.

    forward(*arrays, *settings) returns (value, saved), where saved is for backward.
    backward(g, saved, needed) returns the gradients of the arrays (anything where not needed).
    cost: the multiply-adds of forward; see `op`.
    backward_cost: the multiply-adds of backward, a function of (needed, g, *arguments).
    """

    def decorate(definition):
        count = tensor_parameters(definition)[0]

        @functools.wraps(definition)  # `op` reads the definition's signature, with its `/`
        def run(*args):
            xs, settings = args[:count], args[count:]
            value, saved = forward(*(None if x is None else x.data for x in xs), *settings)

            def gradients(g, needed):
                if not recording():
                    dxs = backward(g.data, saved, needed)
                    if backward_cost is not None:
                        report_cost(fused_op, lambda: backward_cost(needed, g, *xs))
                    return [wrap(dx) if needs else None for dx, needs in zip(dxs, needed)]
                # With aliases, each argument of f(x, x) has a gradient of its own. Fresh leaves
                # would have one too, but no second derivative would flow through them to x.
                inputs = [alias(x) if needs else x for x, needs in zip(xs, needed)]
                aliases = [x for x, needs in zip(inputs, needed) if needs]
                y = definition(*inputs, *settings)
                dxs = iter(gradients_for_ops(y, aliases, g, create_graph=True))
                return [next(dxs) if needs else None for needs in needed]

            return value, gradients

        fused_op = op(run, joint=True, cost=cost)
        fused_op.definition = definition
        return fused_op

    return decorate
