"""Updates of optimisers. They write in place, into lists of arrays with one array per parameter.

Numbers that may change from step to step, such as a learning rate, come from a function. When a
recorded step is replayed (recorded.py), it calls the function again.
"""

from tinygan.backend import float_on_cpu, xp

from . import kernel
from .linear import sum_over


@kernel
def adam(ws, gs, ms, vs, get_numbers):
    """Update by Adam (Kingma and Ba 2015, algorithm 1): w -= step_size * m / (sqrt(v) + eps).

    m and v are moving averages of g and g^2. get_numbers: a function that returns, for each array,
    (step_size, eps, new_m, new_v, decay, shrink). step_size and eps include the bias correction
    (see tinygan/optim.py). new_m, new_v: the shares of g in m and of g^2 in v. decay: added to g is
    decay * w (L2 regularisation). shrink: w is multiplied by 1 - shrink first (decoupled weight
    decay: Loshchilov and Hutter 2019, algorithm 2).
    """
    rows = get_numbers()
    for w, g, m, v, row in zip(ws, gs, ms, vs, rows, strict=True):
        step_size, eps, new_m, new_v, decay, shrink = row
        g = g + decay * w if decay else g
        m += (g - m) * new_m
        v += (g * g - v) * new_v
        if shrink:
            w *= 1 - shrink
        w -= step_size * m / (xp.sqrt(v) + eps)


@kernel
def rmsprop(ws, gs, vs, get_numbers):
    """Update by RMSprop (Hinton, lecture 6e), with eps outside the root.

    get_numbers: a function that returns (learning rate, alpha, eps, decay). Added to g is
    decay * w.
    """
    lr, alpha, eps, decay = get_numbers()
    for w, g, v in zip(ws, gs, vs, strict=True):
        g = g + decay * w if decay else g
        v *= alpha
        v += (1 - alpha) * g * g
        w -= lr * g / (xp.sqrt(v) + eps)


@kernel
def sgd(ws, gs, velocities, get_numbers):
    """Update by gradient descent: w -= lr * g, or with momentum, w -= lr * velocity.

    The velocity is momentum * velocity + g. velocities: None for no momentum. get_numbers: a
    function that returns (learning rate, momentum, decay). Added to g is decay * w.
    """
    lr, momentum, decay = get_numbers()
    for w, g, velocity in zip(ws, gs, velocities or [None] * len(ws), strict=True):
        g = g + decay * w if decay else g
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


@kernel
def clip_norm(gs, norm, max_norm):
    """Return a tuple of new arrays, g * min(1, max_norm / (norm + 1e-6)) (Pascanu et al. 2013,
    algorithm 1; 1e-6 as in PyTorch).

    norm: `global_norm` of gs. max_norm: a number, or an array of no dimensions.
    """
    scale = xp.minimum(max_norm / (norm + 1e-6), 1.0)
    return tuple(g * scale.astype(g.dtype) for g in gs)
