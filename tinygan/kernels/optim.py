"""Optimiser updates, in place. On a CPU, a block at a time, so that the temporaries stay in cache; on a GPU, all arrays in
one kernel. What may change from step to step comes from functions, which a recorded step calls anew."""

import math

from tinygan import backend
from tinygan.backend import on_cpu, xp

from .cpu import parallel
from .cuda import gpu
from .cpu.windows import scratch

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


def adam(ws, gs, ms, vs, rates, beta1, beta2):
    """Adam (Kingma and Ba 2015, algorithm 1): m += (g - m) (1 - beta1), v += (g^2 - v) (1 - beta2), then
    w -= size m / (sqrt(v) + eps). rates: a function that returns (size, eps) for each array."""
    if _at_once(ws, gs, ms, vs):
        return gpu.adam(rates, [ws, gs, ms, vs], 1 - beta1, 1 - beta2)
    rates = rates()

    def update(i, w, g, m, v):
        size, eps = rates[i]
        change = scratch("change", g.shape, g.dtype)
        xp.subtract(g, m, out=change)
        change *= 1 - beta1
        m += change
        xp.multiply(g, g, out=change)
        change -= v
        change *= 1 - beta2
        v += change
        xp.sqrt(v, out=change)
        change += eps
        xp.divide(m, change, out=change)
        change *= size
        w -= change

    _in_blocks(update, ws, gs, ms, vs)


def rmsprop(ws, gs, vs, rate, alpha, eps):
    """RMSprop (Hinton, lecture 6e), eps outside the root. rate: a function that returns the learning rate."""
    if _at_once(ws, gs, vs):
        return gpu.rmsprop(lambda: [rate()] * len(ws), [ws, gs, vs], alpha, 1 - alpha, eps)
    lr = rate()

    def update(i, w, g, v):
        v *= alpha
        v += (1 - alpha) * g * g
        w -= lr * g / (xp.sqrt(v) + eps)

    _in_blocks(update, ws, gs, vs)


def sgd(ws, gs, velocities, rate, momentum):
    """Gradient descent; with momentum (else velocities is None), along velocity = momentum * velocity + g."""
    lists = (ws, gs) if velocities is None else (ws, gs, velocities)
    if _at_once(*lists):
        rates = lambda: [rate()] * len(ws)
        return gpu.sgd(rates, lists) if velocities is None else gpu.momentum(rates, lists, momentum)
    lr = rate()

    def update(i, w, g, velocity=None):
        if velocity is not None:
            velocity *= momentum
            velocity += g
            g = velocity
        w -= lr * g

    _in_blocks(update, *lists)


def lerp(averages, ws, decay):
    """average = beta * average + (1 - beta) * w, for each of both. decay: a function that returns beta."""
    if _at_once(averages, ws):
        def shares():
            beta = decay()
            return [(beta, 1 - beta)] * len(ws)

        return gpu.lerp(shares, [averages, ws])
    beta = decay()

    def update(i, average, w):
        average *= beta
        average += (1 - beta) * w

    _in_blocks(update, averages, ws)


def norm(gs):
    """The Euclidean norm of all arrays together: a float, or on a GPU an array of no dimensions."""
    if not on_cpu():
        return xp.sqrt(gpu.squares([xp.ascontiguousarray(g) for g in gs]))
    with parallel.single_threaded_blas():  # the same bits on any number of threads
        flat = [g.reshape(-1) for g in gs]
        return math.sqrt(sum(float(xp.dot(g, g)) for g in flat))


def _at_once(ws, gs, *moments):
    """On a GPU, can one kernel update all arrays? It reads them by address, so they must be whole, and of one type."""
    if on_cpu():
        return False
    gs[:] = [xp.ascontiguousarray(g) for g in gs]
    arrays = [array for arrays in (ws, gs, *moments) for array in arrays]
    possible = all(array.flags.c_contiguous and array.dtype == ws[0].dtype for array in arrays)
    if not possible and backend.tape is not None:  # one by one, this step's rates would be recorded with it
        raise TypeError("a step that is recorded takes parameters of one dtype, and C-contiguous")
    return possible
