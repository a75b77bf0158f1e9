"""Optimiser updates, in place. On a CPU, a block at a time, so that the temporaries stay in cache."""

from tinygan.backend import on_cpu, xp

from . import parallel
from .windows import scratch

# Elements in a block: with too few, the threads only wait for each other at the interpreter lock (627,200 weights:
# 3.9 ms with blocks of 16 K, 1.4 ms with 128 K, 1.6 ms on one thread).
BLOCK = 1 << 17


def _in_blocks(update, *lists):
    """Call update(i, *blocks) over the same stretches of the i-th arrays of all lists; it may overwrite them.

    The blocks of all arrays are shared out together, so that the threads meet once.
    """
    tasks = []
    for i, arrays in enumerate(zip(*lists, strict=True)):
        if not on_cpu() or not all(array.flags.c_contiguous for array in arrays):
            update(i, *arrays)
            continue
        flat = [array.reshape(-1) for array in arrays]
        tasks += [(i, *(array[part] for array in flat)) for part in parallel.blocks(flat[0].size, BLOCK)]
    tasks.sort(key=lambda task: -task[1].size)  # the small ones last, to even out the ends
    parallel.run(lambda task: update(*task), tasks, sum(task[1].size for task in tasks) > BLOCK)


def adam(ws, gs, ms, vs, lr, beta1, beta2, eps, steps):
    """Adam (Kingma and Ba 2015, algorithm 1), eps outside the root of the bias-corrected second moment.

    w -= lr m' / (sqrt(v') + eps) with m' = m / (1 - beta1^t) and v' = v / (1 - beta2^t); steps: t of each array.
    """
    roots = [(1 - beta2 ** t) ** 0.5 for t in steps]
    sizes = [lr * root / (1 - beta1 ** t) for root, t in zip(roots, steps)]

    def update(i, w, g, m, v):
        change = scratch("change", g.shape, g.dtype)
        xp.subtract(g, m, out=change)
        change *= 1 - beta1
        m += change
        xp.multiply(g, g, out=change)
        change -= v
        change *= 1 - beta2
        v += change
        xp.sqrt(v, out=change)
        change += eps * roots[i]
        xp.divide(m, change, out=change)
        change *= sizes[i]
        w -= change

    _in_blocks(update, ws, gs, ms, vs)


def rmsprop(ws, gs, vs, lr, alpha, eps):
    """RMSprop (Hinton, lecture 6e), eps outside the root."""

    def update(i, w, g, v):
        v *= alpha
        v += (1 - alpha) * g * g
        w -= lr * g / (xp.sqrt(v) + eps)

    _in_blocks(update, ws, gs, vs)


def sgd(ws, gs, velocities, lr, momentum):
    """Gradient descent; with momentum (else velocities is None), along velocity = momentum * velocity + g."""

    def update(i, w, g, velocity=None):
        if velocity is not None:
            velocity *= momentum
            velocity += g
            g = velocity
        w -= lr * g

    _in_blocks(update, *((ws, gs) if velocities is None else (ws, gs, velocities)))


def lerp(averages, ws, beta):
    """average = beta * average + (1 - beta) * w, for each of both."""

    def update(i, average, w):
        average *= beta
        average += (1 - beta) * w

    _in_blocks(update, averages, ws)
