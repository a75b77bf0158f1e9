"""Distances between two sets of features, as distributions: Frechet (FID) and kernel (KID)."""

import numpy as np

from tinygan.errors import InputError
from tinygan.kernels.cpu import parallel

from .checks import as_features


def frechet_distance(mean1, cov1, mean2, cov2):
    """The squared Frechet distance of two Gaussians, means (d,) and covariances (d, d) (Dowson and
    Landau 1982):

        |mean1 - mean2|^2 + Tr(cov1 + cov2 - 2 (cov1 cov2)^(1/2))

    The trace of that root is the sum of the singular values of A1^T A2, where cov = A A^T, A from
    the eigenvalues of cov. So there is no root of an unsymmetric matrix, which may come out
    complex, or fail where a covariance is singular, as it is with fewer images than features or a
    feature that never varies. Raises InputError for shapes that do not fit, nan and inf, and a
    matrix that is no covariance.
    """
    mean1, mean2 = np.asarray(mean1, np.float64), np.asarray(mean2, np.float64)
    if not (
        mean1.ndim == 1
        and mean1.size
        and mean1.shape == mean2.shape
        and np.isfinite([mean1, mean2]).all()
    ):
        raise InputError(
            f"means must be finite, of one shape (d,), not {mean1.shape} and {mean2.shape}"
        )
    with parallel.single_threaded_blas():  # the same bits on any number of cores
        a1, a2 = _factor(cov1, len(mean1)), _factor(cov2, len(mean1))
        common = np.linalg.svd(a1.T @ a2, compute_uv=False).sum()
    distance = np.sum((mean1 - mean2) ** 2) + np.sum(a1**2) + np.sum(a2**2) - 2 * common
    return max(0.0, float(distance))


def _factor(cov, d):
    """A (d, d) with A A^T = cov."""
    cov = np.asarray(cov, np.float64)
    if cov.shape != (d, d) or not np.isfinite(cov).all():
        raise InputError(f"a covariance must be finite, of shape ({d}, {d}), not {cov.shape}")
    values, vectors = np.linalg.eigh(cov)
    small = 1e-8 * np.abs(values).max()  # eigenvalues as far below 0 as this are rounding errors
    if values.min() < -small or np.abs(cov - cov.T).max() > small:
        raise InputError("a covariance must be symmetric, with no negative eigenvalue")
    return vectors * np.sqrt(np.maximum(values, 0))


def gaussian(features):
    """(mean (d,), covariance (d, d), divided by N - 1) of features (N, d). N must be at least 2."""
    (features,) = as_features(features, at_least=2)
    with parallel.single_threaded_blas():
        return features.mean(0), np.cov(features, rowvar=False).reshape(features.shape[1], -1)


def fid(features1, features2):
    """The Frechet distance of Gaussians fitted to features (N, d) and (M, d), M, N >= 2 (Heusel et
    al. 2017, eq. 6).

    0 for equal sets; in squared units of the features. It is biased: fewer images give a larger
    number, so compare only at equal N and M. Raises InputError for features that do not fit.
    """
    as_features(features1, features2)
    return frechet_distance(*gaussian(features1), *gaussian(features2))


def kid(features1, features2, subsets=100, subset_size=1000, seed=0):
    """(mean, standard deviation) over random subsets of the squared maximum mean discrepancy of
    features (N, d) and (M, d), with the kernel (x.y / d + 1)^3 and the unbiased estimator (KID:
    Binkowski et al. 2018, section 4).

    As they do, the subsets have 1,000 images of each side, or all of the smaller side if it has
    fewer; each is drawn without replacement. Unbiased: its mean is 0 for equal distributions
    whatever the size, and a single value may be negative. Raises InputError for features that do
    not fit, or fewer than 2 images.
    """
    x, y = as_features(features1, features2, at_least=2)
    size, rng = min(subset_size, len(x), len(y)), np.random.default_rng(seed)
    if size < 2 or subsets < 1:
        raise InputError(f"KID needs subsets of 2 images or more, not {subsets} of {size}")
    chosen = [
        (rng.choice(len(x), size, replace=False), rng.choice(len(y), size, replace=False))
        for _ in range(subsets)
    ]
    values = np.empty(subsets)

    def work(i):
        mine, yours = chosen[i]
        values[i] = _mmd2(x[mine], y[yours])

    parallel.run(work, range(subsets))
    return float(values.mean()), float(values.std())


def _mmd2(x, y):
    """The unbiased estimate of the squared maximum mean discrepancy, for as many x (n, d) as y."""
    n = len(x)
    xx, yy, xy = (_kernel(a, b) for a, b in ((x, x), (y, y), (x, y)))
    within = (xx.sum() - np.trace(xx) + yy.sum() - np.trace(yy)) / (n * (n - 1))
    return within - 2 * xy.mean()


def _kernel(x, y):
    base = x @ y.T / x.shape[1] + 1
    return base * base * base
