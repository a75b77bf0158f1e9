"""Normalisation: y = (x - mean) / sqrt(var + eps) * scale + shift, with its first derivative.

Batch-norm (statistics and modulation for each channel alone) walks through memory in blocks: one walk for the
statistics, one for the values, and as many backward. Other axes and per-sample scales take the general way.
"""

from tinygan.backend import on_cpu, xp

from . import Kernel, parallel
from .linear import row_sums, sum_to
from .windows import scratch


def moments(x, axes):
    """Mean and variance (divided by n) of x over `axes`, which stay with length 1."""
    if on_cpu() and axes == tuple(range(x.ndim - 1)):
        return _row_moments(x)
    mean = x.mean(axes, keepdims=True)
    centred = x - mean
    centred *= centred
    return mean, centred.mean(axes, keepdims=True)


def _row_moments(x):
    """Moments over all axes but the last, of blocks, put together (Chan, Golub and LeVeque 1979)."""
    if not x.size:
        raise ValueError(f"an empty batch, of shape {x.shape}, has no mean and variance")

    def block(x):
        mean = row_sums(x) / x.dtype.type(len(x))
        centred = xp.subtract(x, mean, out=scratch("centred", x.shape, x.dtype))
        xp.multiply(centred, centred, out=centred)
        return len(x), mean, row_sums(centred)

    counts, means, squares = zip(*parallel.map_rows(block, x.reshape(-1, x.shape[-1])))
    counts = xp.array(counts, x.dtype)[:, None] / (x.size // x.shape[-1])
    means, shape = xp.stack(means), (1,) * (x.ndim - 1) + x.shape[-1:]
    mean = (counts * means).sum(0)
    var = xp.stack(squares).sum(0) / x.dtype.type(x.size // x.shape[-1]) + (counts * (means - mean) ** 2).sum(0)
    return mean.reshape(shape), var.reshape(shape)


def _by_channel(x, scale, shift, axes):
    """Can this go in rows: one mean, variance, scale and shift for each channel?"""
    rows = all(vector is None or vector.shape == x.shape[-1:] for vector in (scale, shift))
    return rows and axes == tuple(range(x.ndim - 1))


def _forward(x, scale, shift, axes, eps, statistics=None):
    mean, var = moments(x, axes) if statistics is None else statistics
    inv_std = 1 / xp.sqrt(var + x.dtype.type(eps))
    saved = x, mean, inv_std, scale, shift, axes
    if _by_channel(x, scale, shift, axes):
        size = inv_std.reshape(-1) if scale is None else inv_std.reshape(-1) * scale
        y = xp.empty(x.shape, x.dtype)

        def block(x, y, mean, size, *shift):
            xp.subtract(x, mean, out=y)
            y *= size
            if shift:
                y += shift[0]

        parallel.elementwise(block, (x, y), (mean.reshape(-1), size, *([] if shift is None else [shift])))
        return y, saved
    y = x - mean
    y *= inv_std
    if scale is not None:
        y *= scale
    if shift is not None:
        y += shift
    return y, saved


def _backward(g, saved, needed):
    x, mean, inv_std, scale, shift, axes = saved
    # Both statistics depend on x: take out of the gradient its mean, and its part along y.
    if _by_channel(x, scale, shift, axes):
        return _row_backward(g, x, mean.reshape(-1), inv_std.reshape(-1), scale, needed)
    y = x - mean
    y *= inv_std
    dscale = sum_to(g * y, scale.shape) if needed[1] else None
    dshift = sum_to(g, shift.shape) if needed[2] else None
    if not needed[0]:
        return None, dscale, dshift
    dx = g * scale if scale is not None else g.copy()
    along = (dx * y).mean(axes, keepdims=True)
    dx -= dx.mean(axes, keepdims=True)
    y *= along
    dx -= y
    dx *= inv_std
    return dx, dscale, dshift


def _row_backward(g, x, mean, inv_std, scale, needed):
    def sums(x, g):
        y = xp.subtract(x, mean, out=scratch("centred", x.shape, x.dtype))
        y *= g
        return row_sums(g), row_sums(y)

    rows = x.reshape(-1, x.shape[-1]), g.reshape(-1, x.shape[-1])
    total, along = (xp.stack(parts).sum(0) for parts in zip(*parallel.map_rows(sums, *rows)))
    along = along * inv_std
    n = x.dtype.type(len(rows[0]))
    dx = xp.empty(x.shape, x.dtype) if needed[0] else None

    def block(x, g, dx, mean, along, total, size):
        xp.subtract(x, mean, out=dx)
        dx *= along
        dx += total
        xp.subtract(g, dx, out=dx)
        dx *= size

    if needed[0]:
        size = inv_std if scale is None else inv_std * scale
        parallel.elementwise(block, (x, g, dx), (mean, along * inv_std / n, total / n, size))
    return dx, along, total


normalize_modulate = Kernel(_forward, _backward)
