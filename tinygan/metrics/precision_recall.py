"""Precision and recall, density and coverage: are samples like real images, and is each real image
like a sample?

All four take the real images for balls in feature space, each reaching to its k-th nearest
neighbour, or the samples likewise, and ask which images of the other set lie in them (border
included). Distances are squared throughout, and computed for a block of images at a time.
"""

import numpy as np

from tinygan.kernels.cpu import parallel

from .checks import as_features

BLOCK = 128  # images at a time: against 10,000 others that is 10 MB of distances per thread
ROUNDING = 1e-12  # times the largest squared norm: more than the product form of a distance is off


def precision_recall(real, fake, k=3, real_radii=None):
    """Improved precision and recall of features real (N, d) and fake (M, d) (Kynkaanniemi et al.
    2019, eqs. 1-2).

    Precision: the share of fakes that lie in the ball of some real image, whose radius is the
    distance to its k-th nearest real neighbour. Recall: the share of reals in the ball of some
    fake, made of fakes likewise. Both lie in 0..1, more is better. real_radii: `radii(real, k)`, if
    it is known already. Raises InputError unless both have more than k images, and for features
    that do not fit.
    """
    real, fake = as_features(real, fake, at_least=k + 1)
    fakes_in_balls, _ = _members(fake, real, radii(real, k) if real_radii is None else real_radii)
    reals_in_balls, _ = _members(real, fake, radii(fake, k))
    return float(np.mean(fakes_in_balls > 0)), float(np.mean(reals_in_balls > 0))


def density_coverage(real, fake, k=5, real_radii=None):
    """Density and coverage of features real (N, d) and fake (M, d) (Naeem et al. 2020, section
    3.2).

    Density: how many of the reals' balls a fake lies in, divided by k and averaged; about 1 for a
    perfect generator, and more where fakes crowd into dense regions. Coverage: the share of reals
    whose ball holds a fake, in 0..1. Only the reals make balls, so outliers among the fakes do no
    harm. Arguments and errors are those of `precision_recall`.
    """
    real, fake = as_features(real, fake, at_least=k + 1)
    balls, held = _members(fake, real, radii(real, k) if real_radii is None else real_radii)
    return float(balls.sum() / (k * len(fake))), float(np.mean(held))


def radii(features, k):
    """The squared distance of each of features (N, d), N > k, to its k-th nearest neighbour among
    the others: (N,)."""
    (features,) = as_features(features, at_least=k + 1)
    result = np.empty(len(features))

    def work(part):
        distances = _squared_distances(features[part], features)
        np.fill_diagonal(distances[:, part.start : part.stop], np.inf)  # not itself
        result[part] = np.partition(distances, k - 1)[:, k - 1]

    parallel.run(work, parallel.blocks(len(features), BLOCK))
    return result


def _members(points, centres, squared_radii):
    """(how many balls each point lies in (N,), whether each ball holds a point (M,)).

    Equal distances must compare as equal, though each comes with a rounding error of its own: so
    the balls are larger by more than that.
    """
    reach = squared_radii + ROUNDING * max(np.sum(x**2, 1).max() for x in (points, centres))
    counts, parts = np.empty(len(points), int), parallel.blocks(len(points), BLOCK)
    held = np.zeros((len(parts), len(centres)), bool)

    def work(i):
        inside = _squared_distances(points[parts[i]], centres) <= reach
        counts[parts[i]] = inside.sum(1)
        inside.any(0, out=held[i])

    parallel.run(work, range(len(parts)))
    return counts, held.any(0)


def _squared_distances(x, y):
    """|x_i - y_j|^2 as |x_i|^2 - 2 x_i.y_j + |y_j|^2: (N, M)."""
    d = x @ (-2 * y.T)
    d += np.sum(x**2, 1)[:, None]
    d += np.sum(y**2, 1)
    return d
