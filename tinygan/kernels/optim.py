"""Optimiser updates, in place: of lists of arrays, one of each kind for each parameter.

What may change from step to step (a rate, a decay) comes from a function: a step that is recorded
and launched again calls it anew.
"""

from tinygan.backend import float_on_cpu, xp

from . import kernel


@kernel
def adam(ws, gs, ms, vs, rates, beta1, beta2):
    """Adam (Kingma and Ba 2015, algorithm 1): w -= size m / (sqrt(v) + eps), where m and v are
    moving averages of g and g^2. rates: a function that returns (size, eps) for each array, with
    the bias correction in them (see optim.py)."""
    for w, g, m, v, (size, eps) in zip(ws, gs, ms, vs, rates(), strict=True):
        m += (g - m) * (1 - beta1)
        v += (g * g - v) * (1 - beta2)
        w -= size * m / (xp.sqrt(v) + eps)


@kernel
def rmsprop(ws, gs, vs, rate, alpha, eps):
    """RMSprop (Hinton, lecture 6e), eps outside the root. rate: returns the learning rate."""
    lr = rate()
    for w, g, v in zip(ws, gs, vs, strict=True):
        v *= alpha
        v += (1 - alpha) * g * g
        w -= lr * g / (xp.sqrt(v) + eps)


@kernel
def sgd(ws, gs, velocities, rate, momentum):
    """Gradient descent; with momentum (else velocities is None), along momentum * velocity + g."""
    lr = rate()
    for w, g, velocity in zip(ws, gs, velocities or [None] * len(ws), strict=True):
        if velocity is not None:
            velocity *= momentum
            velocity += g
            g = velocity
        w -= lr * g


@kernel
def lerp(averages, ws, decay):
    """average = beta * average + (1 - beta) * w, for each pair. decay: returns beta."""
    beta = decay()
    for average, w in zip(averages, ws, strict=True):
        average *= beta
        average += (1 - beta) * w


@kernel
def norm(gs):
    """The Euclidean norm of all arrays together: a float; on a GPU, an array of no dimensions."""
    return float_on_cpu(xp.sqrt(sum(xp.square(g).sum() for g in gs)))
