"""Maxima over windows that lie side by side, and pixels repeated, in few launches."""

from tinygan.backend import xp

from .. import fast, pool
from ..cpu.pool import side_by_side, spread_side_by_side


@fast(pool.largest)
def largest(x, kernel, stride):
    if kernel == stride:
        return side_by_side(xp.maximum, x, kernel)
    return pool.largest.__wrapped__(x, kernel, stride)


@fast(pool.spread)
def spread(g, x, y, kernel, stride):
    if kernel == stride:
        return spread_side_by_side(g, x, y, kernel)
    return pool.spread.__wrapped__(g, x, y, kernel, stride)


@fast(pool.repeated)
def repeated(y, kernel):
    """CuPy's `repeat` takes a launch for each row."""
    (kh, kw), (n, height, width, channels) = kernel, y.shape
    wide = xp.broadcast_to(y[:, :, None, :, None], (n, height, kh, width, kw, channels))
    return wide.copy().reshape(n, height * kh, width * kw, channels)
