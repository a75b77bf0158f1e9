"""Max pooling over windows that lie side by side, and repeating pixels, in few launches."""

from tinygan.backend import xp

from .. import fast, pool
from ..cpu.pool import gradient_of_tiles, reduce_tiles


@fast(pool.max_pool)
def max_pool(x, kernel_size, stride):
    if kernel_size == stride:
        return reduce_tiles(xp.maximum, x, kernel_size)
    return pool.max_pool.__wrapped__(x, kernel_size, stride)


@fast(pool.max_pool_gradient)
def max_pool_gradient(g, x, y, kernel_size, stride):
    if kernel_size == stride:
        return gradient_of_tiles(g, x, y, kernel_size)
    return pool.max_pool_gradient.__wrapped__(g, x, y, kernel_size, stride)


@fast(pool.repeat_pixels)
def repeat_pixels(y, times):
    """Broadcast: CuPy's `repeat` takes a launch for each row."""
    (down, across), (n, height, width, channels) = times, y.shape
    shape = (n, height, down, width, across, channels)
    wide = xp.broadcast_to(y[:, :, None, :, None], shape)
    return wide.copy().reshape(n, height * down, width * across, channels)
