"""Unrolled GANs (Metz et al. 2017): G learns from the D of a few updates ahead.

A G that learns from the present D moves its samples to where this D is wrong. D follows, and so G
hops from mode to mode. An unrolled GAN simulates the next K updates of D (section 2.2):

    theta_0 = D's parameters,    theta_{k+1} = update(theta_k, gradient of D's loss at theta_k)

G's loss is that of the D with theta_K. The fakes enter all of these updates, and so G's gradient
flows through the updates, too (section 2.4): it tells G how D will answer. This takes second
derivatives of D, and third ones if D has a gradient penalty. D's own parameters do not change here.

The optimisers (tinygan/optim.py) write into arrays. Here, their updates are written again, in ops.
"""

import numpy as np

from tinygan.autograd import grad, wrap
from tinygan.backend import from_host, xp
from tinygan.ops import concatenate, flatten, minimum, norm, sqrt, square, where
from tinygan.optim import Adam, AdamW, RMSprop


def parameters_ahead(parameters, optimizer, d_loss, steps, stop=False, max_norm=None):
    """Return what D's parameters will be after `steps` updates: Tensors, with the graph of the
    updates.

    parameters, optimizer: D's; they and the optimiser's state stay as they are. d_loss: a function
    from a list of parameters to D's loss. stop: True for constants instead, so that no gradient
    flows through the updates. max_norm: clip the gradients as `clip_grad_norm` does; None: do not.
    """
    update, names = UPDATES[type(optimizer)]
    parameters, states = list(parameters), optimizer.state
    dtype = parameters[0].dtype
    moments = [
        [moment(state.get(name), p) for name in names] for state, p in zip(states, parameters)
    ]

    def coefficients():
        """Return the numbers of all updates, (steps, parameters, numbers)."""
        done = [state.get("step", 0) for state in states]
        rows = [[optimizer.coefficients(t + k) for t in done] for k in range(1, steps + 1)]
        return np.array(rows, dtype)

    numbers = from_host(coefficients)
    for k in range(steps):
        gradients = grad(d_loss(parameters), parameters, create_graph=not stop)
        if max_norm is not None:
            gradients = clipped(gradients, max_norm)
        for i, g in enumerate(gradients):
            if g is not None:  # the loss depends on this parameter, and it is not frozen
                own = [wrap(numbers[k, i, j, ...]) for j in range(numbers.shape[-1])]
                parameters[i], *moments[i] = update(parameters[i], g, *moments[i], *own)
        if stop:
            parameters = [p if g is None else leaf(p) for p, g in zip(parameters, gradients)]
    return parameters


def adam(w, g, m, v, step_size, eps, new_m, new_v, decay, shrink):
    """Return (w, m, v) after an update by Adam or AdamW (see `kernels.optim.adam`)."""
    g = g + decay * w
    m = m + (g - m) * new_m
    v = v + (square(g) - v) * new_v
    return w * (1.0 - shrink) - step_size * m / (root(v) + eps), m, v


def rmsprop(w, g, v, lr, alpha, eps, decay):
    """Return (w, v) after an update by RMSprop (see `kernels.optim.rmsprop`)."""
    g = g + decay * w
    v = alpha * v + (1.0 - alpha) * square(g)
    return w - lr * g / (root(v) + eps), v


UPDATES = {Adam: (adam, ("m", "v")), AdamW: (adam, ("m", "v")), RMSprop: (rmsprop, ("v",))}


def root(v):
    """Return sqrt(v), whose derivative at 0, which is infinite, is taken to be 0.

    v is 0 only for a parameter whose gradient has always been 0, such as a weight of a dead unit.
    There, the root of v is c |g|, and m is c' g. The derivative of the update, m / (c |g| + eps),
    exists at g = 0: it is c' / eps, which does not depend on the derivative of |g|.
    """
    positive = v.data > 0
    return where(positive, sqrt(where(positive, v, 1.0)), 0.0)


def clipped(gradients, max_norm):
    """Return what `optim.clip_grad_norm` returns, in ops."""
    length = norm(concatenate([flatten(g) for g in gradients if g is not None]))
    scale = minimum(max_norm / (length + 1e-6), 1.0)
    return [None if g is None else g * scale for g in gradients]


def moment(array, parameter):
    """Return a moment of the optimiser as a constant; before the first update, it is 0."""
    if array is None:
        return wrap(xp.zeros_like(parameter.data))
    return wrap(array.astype(parameter.dtype, copy=False))


def leaf(x):
    """Return the values of x as a Tensor that requires a gradient, without x's graph."""
    x = x.detach()
    x.requires_grad = True
    return x
