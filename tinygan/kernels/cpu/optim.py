"""Updates of optimisers, in place and one block at a time: the temporaries stay in the cache."""

import math

import numpy as np

from .. import fast, optim
from . import parallel
from .parallel import scratch
from .recording import whole

# Elements in a block. With smaller blocks, the threads mostly wait for each other at the
# interpreter lock: 627,200 weights took 3.9 ms in blocks of 16 K, 1.4 ms in blocks of 128 K, and
# 1.6 ms on one thread.
BLOCK = 1 << 17
ROW = 1 << 10  # elements whose squares BLAS adds at once


def _in_blocks(update, *lists):
    """Call update(i, *blocks) on matching blocks of the i-th arrays of all lists.

    The update may overwrite the blocks. The threads share the blocks of all arrays at once, so they
    wait for each other only once.
    """
    tasks = []
    for i, arrays in enumerate(zip(*lists, strict=True)):
        if not all(array.flags.c_contiguous for array in arrays):
            update(i, *arrays)
            continue
        flat = [array.reshape(-1) for array in arrays]
        tasks += [
            (i, *(array[part] for array in flat)) for part in parallel.blocks(flat[0].size, BLOCK)
        ]
    tasks.sort(key=lambda task: -task[1].size)  # small blocks last, so that all threads end early
    parallel.run(lambda task: update(*task), tasks, sum(task[1].size for task in tasks) > BLOCK)


def _decayed(g, w, decay):
    """Return the block g + decay * w, in memory that the next block uses again."""
    if not decay:
        return g
    sum = scratch("decayed", g.shape, g.dtype)
    np.multiply(w, decay, out=sum)
    sum += g
    return sum


@fast(optim.adam)
@whole(0, 2, 3)
def adam(ws, gs, ms, vs, get_numbers):
    rows = get_numbers()

    def update(i, w, g, m, v):
        step_size, eps, new_m, new_v, decay, shrink = rows[i]
        g = _decayed(g, w, decay)
        change = scratch("change", g.shape, g.dtype)
        np.subtract(g, m, out=change)
        change *= new_m
        m += change
        np.multiply(g, g, out=change)
        change -= v
        change *= new_v
        v += change
        np.sqrt(v, out=change)
        change += eps
        np.divide(m, change, out=change)
        change *= step_size
        if shrink:
            w *= 1 - shrink
        w -= change

    _in_blocks(update, ws, gs, ms, vs)


@fast(optim.rmsprop)
@whole(0, 2)
def rmsprop(ws, gs, vs, get_numbers):
    lr, alpha, eps, decay = get_numbers()

    def update(i, w, g, v):
        g = _decayed(g, w, decay)
        v *= alpha
        v += (1 - alpha) * g * g
        w -= lr * g / (np.sqrt(v) + eps)

    _in_blocks(update, ws, gs, vs)


@fast(optim.sgd)
@whole(0, 2)
def sgd(ws, gs, velocities, get_numbers):
    lr, momentum, decay = get_numbers()

    def update(i, w, g, velocity=None):
        g = _decayed(g, w, decay)
        if velocity is not None:
            velocity *= momentum
            velocity += g
            g = velocity
        w -= lr * g

    _in_blocks(update, ws, gs, *([] if velocities is None else [velocities]))


@fast(optim.lerp)
@whole(0, 1)
def lerp(averages, ws, get_beta):
    beta = get_beta()

    def update(i, average, w):
        average *= beta
        average += (1 - beta) * w

    _in_blocks(update, averages, ws)


@fast(optim.sanitize)
@whole()
def sanitize(gs):
    """If the norm is finite, so are all numbers, and nothing has to be replaced."""
    norm = _norm(gs)
    return norm if math.isfinite(norm) else optim.sanitize.__wrapped__(gs)


@fast(optim.global_norm)
@whole()
def global_norm(gs):
    return _norm(gs)


@fast(optim.clip_norm)
@whole()
def clip_norm(gs, norm, max_norm):
    scale = min(float(max_norm) / (float(norm) + 1e-6), 1.0)
    return tuple(g * scale for g in gs)


def _norm(gs):
    with parallel.single_threaded_blas():  # the bits must not depend on its threads
        return math.sqrt(math.fsum(map(_sum_of_squares, gs)))


def _sum_of_squares(g):
    """Return the sum of the squares of an array, as a float.

    BLAS adds the squares of a row one after the other, in several sums; the rows are short.
    """
    g = g.reshape(-1)
    if g.size <= 4 * ROW:
        return float(np.dot(g, g))
    whole = g.size // ROW * ROW
    rows, rest = g[:whole].reshape(-1, ROW), g[whole:]
    return float(np.vecdot(rows, rows).sum(dtype=np.float64)) + float(np.dot(rest, rest))
