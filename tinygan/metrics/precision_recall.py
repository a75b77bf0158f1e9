"""Precision and recall, density and coverage: are samples like real images, and is each real image
like a sample?

All four place a ball around each real image in feature space, or around each sample. A ball's
radius is the distance to the k-th nearest neighbour in the same set. The metrics count which images
of the other set lie in the balls, border included. Distances are squared throughout, and are
computed for a block of images at a time.
"""

import numpy as np

from tinygan.autograd import Array
from tinygan.kernels.cpu import parallel

from .checks import as_features

BLOCK = 128  # images at a time; their distances to 10,000 others take 10 MB per thread
ROUNDING = 1e-12  # times the largest squared norm: an upper bound of a distance's rounding error


def precision_recall(
    real: Array, fake: Array, k: int = 3, real_squared_radii: Array | None = None
) -> tuple[float, float]:
    """Return the improved precision and recall of features real (N, d) and fake (M, d)
    (Kynkaanniemi et al. 2019, eqs. 1-2).

    Precision: the share of fakes that lie in the ball of some real image. Recall: the share of
    reals that lie in the ball of some fake. Both lie in 0..1; higher is better.

    k: the radius of a ball is the distance to the k-th nearest neighbour. real_squared_radii:
    `squared_radii(real, k)`, if it is known already. Raises InputError for features with wrong
    shapes, nan or inf, and unless both sets have more than k images.
    """
    real, fake = as_features(real, fake, at_least=k + 1)
    if real_squared_radii is None:
        real_squared_radii = squared_radii(real, k)
    balls_of_fakes, _ = _points_in_balls(fake, real, real_squared_radii)
    balls_of_reals, _ = _points_in_balls(real, fake, squared_radii(fake, k))
    return float(np.mean(balls_of_fakes > 0)), float(np.mean(balls_of_reals > 0))


def density_coverage(
    real: Array, fake: Array, k: int = 5, real_squared_radii: Array | None = None
) -> tuple[float, float]:
    """Return the density and coverage of features real (N, d) and fake (M, d) (Naeem et al. 2020,
    section 3.2).

    Density: the number of real images' balls that a fake lies in, divided by k, as a mean over the
    fakes; about 1 for a perfect generator, more if fakes crowd into dense regions. Coverage: the
    share of real images whose ball contains a fake, in 0..1; higher is better. Only real images
    have balls here, so outliers among the fakes do no harm.

    Arguments and errors are those of `precision_recall`.
    """
    real, fake = as_features(real, fake, at_least=k + 1)
    if real_squared_radii is None:
        real_squared_radii = squared_radii(real, k)
    balls_of_fakes, occupied = _points_in_balls(fake, real, real_squared_radii)
    return float(balls_of_fakes.sum() / (k * len(fake))), float(np.mean(occupied))


def squared_radii(features: Array, k: int) -> Array:
    """Return the squared distances (N,) of features (N, d), N > k, to their k-th nearest neighbour
    in the set."""
    (features,) = as_features(features, at_least=k + 1)
    result = np.empty(len(features))

    def measure_block(part):
        distances = _squared_distances(features[part], features)
        np.fill_diagonal(distances[:, part.start : part.stop], np.inf)  # not its own neighbour
        result[part] = np.partition(distances, k - 1)[:, k - 1]

    parallel.run(measure_block, parallel.blocks(len(features), BLOCK))
    return result


def _points_in_balls(points, centres, squared_radii):
    """Return (for each point, the number of balls it lies in (N,); for each ball, whether it
    contains a point (M,)).

    A point on the border counts, but its distance and the radius have different rounding errors: so
    the balls are enlarged by more than these errors.
    """
    reach = squared_radii + ROUNDING * max(np.sum(x**2, 1).max() for x in (points, centres))
    counts, parts = np.empty(len(points), int), parallel.blocks(len(points), BLOCK)
    occupied = np.zeros((len(parts), len(centres)), bool)

    def count_block(i):
        inside = _squared_distances(points[parts[i]], centres) <= reach
        counts[parts[i]] = inside.sum(1)
        inside.any(0, out=occupied[i])

    parallel.run(count_block, range(len(parts)))
    return counts, occupied.any(0)


def _squared_distances(x, y):
    """Return |x_i - y_j|^2 as |x_i|^2 - 2 x_i.y_j + |y_j|^2: (N, M)."""
    d = x @ (-2 * y.T)
    d += np.sum(x**2, 1)[:, None]
    d += np.sum(y**2, 1)
    return d
