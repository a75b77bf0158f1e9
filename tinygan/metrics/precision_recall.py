"""Precision and recall, density and coverage: are samples like real images, and is each real image
like a sample?

All four place a ball around each real image in feature space, or around each sample. A ball's
radius is the distance to the k-th nearest neighbour in the same set. The metrics count which images
of the other set lie in the balls, border included. Distances are squared throughout, and are
computed for a block of images at a time. Matrix products compute them fast, with rounding errors
that are large if features are far from each other. Where these errors could decide, a distance is
computed again, from the differences of the features.
"""

import numpy as np

from tinygan.autograd import Array
from tinygan.kernels.cpu import parallel

from .checks import as_features

BLOCK = 128  # images at a time; their distances to 10,000 others take 10 MB per thread


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
    distances = _Distances(features, features)
    _, inverse, counts = np.unique(features, axis=0, return_inverse=True, return_counts=True)
    copies = counts[inverse.reshape(-1)]

    def measure_block(part):
        upper, margins = distances.bounds(part)
        np.fill_diagonal(upper[:, part.start : part.stop], np.inf)  # not its own neighbour
        margins += np.partition(upper, k - 1)[:, k - 1 : k]
        candidates = upper <= margins  # for the k nearest
        for i, row in enumerate(candidates, part.start):
            if copies[i] > k:
                result[i] = 0
            else:
                result[i] = np.partition(distances.exact(i, np.flatnonzero(row)), k - 1)[k - 1]

    parallel.run(measure_block, parallel.blocks(len(features), BLOCK))
    return result


def _points_in_balls(points, centres, squared_radii):
    """Return (for each point, the number of balls it lies in (N,); for each ball, whether it
    contains a point (M,)). A point on the border counts."""
    distances = _Distances(points, centres)
    counts, parts = np.empty(len(points), int), parallel.blocks(len(points), BLOCK)
    occupied = np.zeros((len(parts), len(centres)), bool)

    def count_block(i):
        upper, margins = distances.bounds(parts[i])
        margins += squared_radii
        inside = upper <= squared_radii
        uncertain = (upper <= margins) & ~inside
        for j in np.flatnonzero(uncertain.any(1)):
            near = np.flatnonzero(uncertain[j])
            inside[j, near] = distances.exact(parts[i].start + j, near) <= squared_radii[near]
        counts[parts[i]] = inside.sum(1)
        inside.any(0, out=occupied[i])

    parallel.run(count_block, range(len(parts)))
    return counts, occupied.any(0)


class _Distances:
    """The squared distances between the rows of x (N, d) and y (M, d)."""

    def __init__(self, x, y):
        self.x, self.y = x, y
        centre = np.median(y, 0)  # rounding errors grow with the norms
        self.x_moved, y_moved = x - centre, y - centre
        self.products = -2 * y_moved.T
        self.x_norms, self.y_norms = (np.sum(a**2, 1) for a in (self.x_moved, y_moved))
        self.error = (x.shape[1] + 8) * np.finfo(np.float64).eps  # times the sum of both norms

    def bounds(self, part):
        """Return, for a slice of x, upper bounds of |x_i|^2 - 2 x_i.y_j + |y_j|^2, and how far they
        are above the lower bounds: both (n, M)."""
        x_norms = self.x_norms[part, None]
        upper = self.x_moved[part] @ self.products
        upper += x_norms * (1 + self.error)
        upper += self.y_norms * (1 + self.error)
        return upper, 2 * self.error * x_norms + 2 * self.error * self.y_norms

    def exact(self, i, indices):
        """Return the squared distances of x_i to some rows of y, right to the last digits.

        The distance from a to b has the same bits as that from b to a.
        """
        return np.square(self.y[indices] - self.x[i]).sum(1)
