"""A trial of the fast kernels, which shows whether they work on the GPU at hand."""

import numpy as np

from tinygan.backend import float_on_cpu, xp

from . import act, conv, linear, loss, normalize, optim, pool, warp


def run():
    """Compile and run all kernels on small arrays.

    Raises the error of whatever fails, for example if a library is missing or a kernel does not
    compile.
    """
    x, row = xp.ones((2, 4, 4, 2), "float32"), xp.ones(2, "float32")
    needed, pair = [True] * 3, (1, 1)
    act.leaky_relu_gradient(x, act.leaky_relu(x, 0.2, 1.0, row), 0.2)
    loss.softplus(x), loss.sigmoid(x), loss.sech_squared(x)
    _, saved = loss.binary_cross_entropy(x, x)
    loss.binary_cross_entropy_gradient(row[0], saved, needed)
    for axes in ((0, 1, 2), (1, 2)):
        y, saved = normalize.normalize(x, row, row, axes, 1e-5)
        normalize.normalize_gradient(y, saved, needed)
    w = xp.ones((3, 3, 2, 2), "float32")
    y = conv.forward(x, w, pair, pair, 1, row)
    conv.input_gradient(y, w, (4, 4), pair, pair, 1)
    conv.weight_gradient(x, y, (3, 3), pair, pair, 1)
    linear.sum_over(x, (0, 1, 2)), linear.matvec(w[0, 0], row)
    y = pool.max_pool(x, (2, 2), (2, 2))
    pool.max_pool_gradient(y, x, y, (2, 2), (2, 2))
    warp.upfirdn2d(x, np.ones((2, 2)), pair, pair, (0,) * 4)
    warp.translate(x, xp.ones((2, 2), "int64"))
    a, b, c, d = ([xp.ones(3, "float32")] for _ in range(4))
    optim.adam(a, b, c, d, lambda: [(0.1, 1e-8, 0.5, 0.1, 0.0, 0.0)])
    optim.rmsprop(a, b, c, lambda: (0.1, 0.9, 1e-8, 0.0))
    for velocities in (None, c):
        optim.sgd(a, b, velocities, lambda: (0.1, 0.9, 0.0))
    optim.lerp(a, b, lambda: 0.9)
    float_on_cpu(optim.global_norm(a))
    xp.cuda.get_current_stream().synchronize()  # so that errors of the GPU are raised here
