"""Matrix products in blocks of rows fixed by shape, shared out to threads."""

import numpy as np

from tinygan.backend import on_cpu, xp

from . import parallel

SMALL = 1 << 18  # multiply-adds below which BLAS stays on one thread by itself, and cutting costs more
BLOCK = 1 << 22  # multiply-adds a block


def matmul(a, b):
    """a (..., M, K) @ b (..., K, N), both at least 2-D, as numpy.matmul."""
    m, k, n = a.shape[-2], a.shape[-1], b.shape[-1]
    if not on_cpu() or m * k * n <= SMALL:
        return xp.matmul(a, b)
    if a.ndim > 2 or b.ndim > 2:
        with parallel.single_threaded_blas():
            return np.matmul(a, b)
    out = np.empty((m, n), a.dtype)
    rows = max(16, BLOCK // (k * n))
    parallel.run(lambda part: np.matmul(a[part], b, out=out[part]), parallel.blocks(m, rows))
    return out
