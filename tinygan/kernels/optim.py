"""Updates of optimisers. They write in place, into lists of arrays with one array per parameter.

Numbers that may change from step to step, such as a learning rate, come from a function. When a
recorded step is replayed (recorded.py), it calls the function again.
"""

from tinygan.backend import float_on_cpu, xp

from . import kernel
from .linear import sum_over


@kernel
def adam(ws, gs, ms, vs, get_rates, beta1, beta2):
    """Update by Adam (Kingma and Ba 2015, algorithm 1): w -= step_size * m / (sqrt(v) + eps).

    m and v are moving averages of g and g^2. get_rates: a function that returns (step_size, eps)
    for each array. Both include the bias correction (see tinygan/optim.py).
    """
    for w, g, m, v, (step_size, eps) in zip(ws, gs, ms, vs, get_rates(), strict=True):
        m += (g - m) * (1 - beta1)
        v += (g * g - v) * (1 - beta2)
        w -= step_size * m / (xp.sqrt(v) + eps)


@kernel
def rmsprop(ws, gs, vs, get_lr, alpha, eps):
    """Update by RMSprop (Hinton, lecture 6e), with eps outside the root.

    get_lr: a function that returns the learning rate.
    """
    lr = get_lr()
    for w, g, v in zip(ws, gs, vs, strict=True):
        v *= alpha
        v += (1 - alpha) * g * g
        w -= lr * g / (xp.sqrt(v) + eps)


@kernel
def sgd(ws, gs, velocities, get_lr, momentum):
    """Update by gradient descent: w -= lr * g, or with momentum, w -= lr * velocity.

    The velocity is momentum * velocity + g. velocities: None for no momentum. get_lr: a function
    that returns the learning rate.
    """
    lr = get_lr()
    for w, g, velocity in zip(ws, gs, velocities or [None] * len(ws), strict=True):
        if velocity is not None:
            velocity *= momentum
            velocity += g
            g = velocity
        w -= lr * g


@kernel
def lerp(averages, ws, get_beta):
    """Update moving averages: average = beta * average + (1 - beta) * w.

    get_beta: a function that returns beta.
    """
    beta = get_beta()
    for average, w in zip(averages, ws, strict=True):
        average *= beta
        average += (1 - beta) * w


@kernel
def global_norm(gs):
    """Return the Euclidean norm of all arrays taken as one vector.

    On a CPU it is a float, on a GPU an array without dimensions. It is infinite if a square
    overflows: the optimisers above could not use such a gradient, because they square it too.
    """
    squares = (sum_over(xp.square(g), tuple(range(g.ndim))) for g in gs)
    return float_on_cpu(xp.sqrt(sum(squares)))


@kernel
def sanitize(gs):
    """Replace NaN by 0 and infinity by +-1e5, in place (StyleGAN2-ADA's only clipping). Return
    `global_norm`."""
    for g in gs:
        xp.nan_to_num(g, copy=False, nan=0.0, posinf=1e5, neginf=-1e5)
    return global_norm(gs)
