"""The optimal D, and how far G's distribution is from the data (Goodfellow et al. 2014, section 4).

For a fixed G, with densities p of the data and q of the fakes, D's cross-entropy is least if

    D*(x) = p(x) / (p(x) + q(x))

With m = (p + q) / 2, D* = p / 2m, and so the Jensen-Shannon divergence is

    JSD = KL(p || m) / 2 + KL(q || m) / 2
        = E[log(p(x) / m(x))] / 2 over reals + E[log(q(x) / m(x))] / 2 over fakes
        = log 2 + E[log D*(real)] / 2 + E[log(1 - D*(fake))] / 2
        = log 2 - (D*'s loss) / 2                                       in nats, from 0 to log 2

No D has a smaller loss than D*: log 2 - loss / 2 of any D is a lower bound of the JSD.

p is known (data/points.py); q is not. The density of the samples plus Gaussian noise of a small
deviation, the blur, is the mean of Gaussians around the samples: a kernel estimate. We add the same
noise to the data, and so compare two densities that are both smooth. Limits:

* The noise hides what is smaller than the blur, and can only lower the divergence: this JSD is at
  most that of the points themselves. Where p or q is much narrower than the blur (a mode of `ring`
  has a deviation of .02), D* shows the blur.
* From n samples, q is uncertain where samples are rare, and so is D* far away from all points.
  This raises the JSD: if G is perfect, it is not 0, but about the number of cells in which there
  are points, divided by 8n.
* The integral is a sum over a grid. All that is outside of the window counts as a single cell.
"""

from typing import NamedTuple

import numpy as np

from tinygan.autograd import Array


class OptimalD(NamedTuple):
    """The optimal D against a G.

    axis: the coordinates (k,) of the grid, in x and in y. real, fake: the densities of reals and
    fakes, after the blur, (k, k), whose rows have one y each. D: D* there; NaN where both densities
    are 0. jsd: the Jensen-Shannon divergence, in nats.
    """

    axis: Array
    real: Array
    fake: Array
    D: Array
    jsd: float


def kernel_density(points: Array, axis: Array, blur: float) -> Array:
    """Return the density of points (n, 2) plus Gaussian noise of deviation `blur`, on the grid with
    the coordinates axis (k,) in x and in y: (k, k), whose rows have one y each.

    A Gaussian in the plane is one in x times one in y, so that the sum over all points is a product
    of two matrices.
    """
    points, scale = np.asarray(points, np.float64), 1 / (np.sqrt(2 * np.pi) * blur)
    in_x, in_y = (scale * np.exp(-0.5 * ((axis - points[:, i, None]) / blur) ** 2) for i in (0, 1))
    return in_y.T @ in_x / len(points)


def jensen_shannon(p: Array, q: Array) -> float:
    """Return the Jensen-Shannon divergence, in nats, of two discrete distributions: arrays of
    probabilities of the same shape."""
    m = (p + q) / 2
    log_ratio = lambda a: np.log(np.divide(a, m, out=np.ones_like(m), where=a > 0))
    return float((p * log_ratio(p) + q * log_ratio(q)).sum() / 2)


def optimal_D(axis: Array, real: Array, fake: Array) -> OptimalD:
    """Return the OptimalD of two densities on a grid, arrays (k, k)."""
    both, cell = real + fake, (axis[1] - axis[0]) ** 2
    D = np.divide(real, both, out=np.full_like(both, np.nan), where=both > 0)
    with_outside = lambda p: np.append(cell * p, max(0.0, 1 - cell * p.sum()))
    jsd = jensen_shannon(with_outside(real), with_outside(fake))
    return OptimalD(axis, real, fake, D, jsd)
