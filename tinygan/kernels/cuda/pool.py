"""Max pooling over windows that lie side by side, and repeating pixels, in few launches."""

from tinygan.backend import xp

from .. import fast, pool
from ..cpu.pool import reduce_tiles


@fast(pool.max_pool)
def max_pool(x, kernel_size, stride):
    if kernel_size == stride:
        return reduce_tiles(xp.maximum, x, kernel_size)
    return pool.max_pool.__wrapped__(x, kernel_size, stride)


@fast(pool.max_pool_gradient)
def max_pool_gradient(g, x, y, kernel_size, stride):
    if kernel_size != stride:
        return pool.max_pool_gradient.__wrapped__(g, x, y, kernel_size, stride)
    covered = x[:, : y.shape[1] * kernel_size[0], : y.shape[2] * kernel_size[1]]
    hit = xp.asarray(covered == pool.repeat_pixels(y, kernel_size), x.dtype)
    share = pool.repeat_pixels(g / reduce_tiles(xp.add, hit, kernel_size), kernel_size)
    share *= hit
    if covered.shape == x.shape:
        return share
    dx = xp.zeros(x.shape, x.dtype)
    dx[:, : covered.shape[1], : covered.shape[2]] = share
    return dx


@fast(pool.repeat_pixels)
def repeat_pixels(y, times):
    """Broadcast: CuPy's `repeat` takes a launch for each row."""
    (down, across), (n, height, width, channels) = times, y.shape
    shape = (n, height, down, width, across, channels)
    wide = xp.broadcast_to(y[:, :, None, :, None], shape)
    return wide.copy().reshape(n, height * down, width * across, channels)
