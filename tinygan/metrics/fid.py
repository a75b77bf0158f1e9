"""Distances between two sets of features as distributions: Frechet (FID) and kernel (KID)."""

import numpy as np

from tinygan.autograd import Array
from tinygan.errors import InputError
from tinygan.kernels.cpu import parallel

from .checks import as_features


def frechet_distance(mean1: Array, cov1: Array, mean2: Array, cov2: Array) -> float:
    """Return the squared Frechet distance of two Gaussians with means (d,) and covariances (d, d)
    (Dowson and Landau 1982):

        |mean1 - mean2|^2 + Tr(cov1 + cov2 - 2 (cov1 cov2)^(1/2))

    The trace of the root is computed as the sum of the singular values of A1^T A2, where cov = A
    A^T and A comes from the eigenvalues of cov. This avoids the root of an unsymmetric matrix: it
    may come out complex, and it may fail for a singular covariance, which occurs with fewer images
    than features, or with a feature that never varies.

    Raises InputError for shapes that do not match, for nan and inf, and for a matrix that is no
    covariance.
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
        trace = np.linalg.svd(a1.T @ a2, compute_uv=False).sum()
    distance = np.sum((mean1 - mean2) ** 2) + np.sum(a1**2) + np.sum(a2**2) - 2 * trace
    return max(0.0, float(distance))


def _factor(cov, d):
    """Return A (d, d) with A A^T = cov. Raises InputError if cov is no covariance (d, d)."""
    cov = np.asarray(cov, np.float64)
    if cov.shape != (d, d) or not np.isfinite(cov).all():
        raise InputError(f"a covariance must be finite, of shape ({d}, {d}), not {cov.shape}")
    values, vectors = np.linalg.eigh(cov)
    small = 1e-8 * np.abs(values).max()  # eigenvalues above -small are rounding errors
    if values.min() < -small or np.abs(cov - cov.T).max() > small:
        raise InputError("a covariance must be symmetric, with no negative eigenvalue")
    return vectors * np.sqrt(np.maximum(values, 0))


def gaussian(features: Array) -> tuple[Array, Array]:
    """Return (mean (d,), covariance (d, d) with the divisor N - 1) of features (N, d), N >= 2."""
    (features,) = as_features(features, at_least=2)
    with parallel.single_threaded_blas():
        mean = features.mean(0)
        centred = features - mean
        mean += centred.mean(0)  # what the rounding of the mean lost
        return mean, np.cov(centred, rowvar=False).reshape(features.shape[1], -1)


def fid(features1: Array, features2: Array) -> float:
    """Return the squared Frechet distance of Gaussians fitted to features (N, d) and (M, d), N, M
    >= 2 (FID: Heusel et al. 2017, eq. 6).

    It is 0 for equal sets, and has the squared unit of the features. It is biased: fewer images
    give a higher FID, so compare FIDs only for the same N and M. Raises InputError for features
    with wrong shapes, nan or inf.
    """
    as_features(features1, features2)
    return frechet_distance(*gaussian(features1), *gaussian(features2))


def kid(
    features1: Array, features2: Array, subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Return the mean and the standard deviation, over random subsets, of the squared maximum mean
    discrepancy of features (N, d) and (M, d), with the kernel (x.y / d + 1)^3 and the unbiased
    estimator (KID: Binkowski et al. 2018, section 4).

    As in the paper, a subset has 1,000 images of each side, drawn without replacement (all images
    of the smaller side, if it has fewer). Unlike the FID, the KID is unbiased: for equal
    distributions its mean is 0 with any number of images, and a single value may be negative.

    Raises InputError for features with wrong shapes, nan or inf, and for fewer than 2 images.
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

    def measure_subset(i):
        x_indices, y_indices = chosen[i]
        values[i] = _mmd2(x[x_indices], y[y_indices])

    parallel.run(measure_subset, range(subsets))
    return float(values.mean()), float(values.std())


def _mmd2(x, y):
    """Return the unbiased estimate of the squared maximum mean discrepancy of x, y (n, d)."""
    n = len(x)
    xx, yy, xy = (_kernel(a, b) for a, b in ((x, x), (y, y), (x, y)))
    within = (xx.sum() - np.trace(xx) + yy.sum() - np.trace(yy)) / (n * (n - 1))
    return within - 2 * xy.mean()


def _kernel(x, y):
    """Return (x_i . y_j / d + 1)^3 for all rows: (N, M)."""
    base = x @ y.T / x.shape[1] + 1
    return base * base * base
