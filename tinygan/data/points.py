"""2-D points: distributions whose modes are known, on which one can see what a GAN learns.

    ring          8 Gaussians on a circle           Metz et al. 2017, Unrolled GAN
    grid          25 Gaussians, 5 x 5               Srivastava et al. 2017, VEEGAN
    spiral        an arm that turns one and a half times around the origin
    moons         two half circles, one in the other
    checkerboard  the dark squares of a board       the last three as in Grathwohl et al. 2019,
                                                    FFJORD, except for the noise
    two-gaussians two wide Gaussians side by side

Of a curve, each piece is a mode, so that it shows if a part of the curve is lost. The label of a
point is the index of its mode; all modes are equally likely.

A distribution has `summary`, a line of text, and

    modes              the number K of its modes
    draw(rng, n)       -> (n points, float64 (n, 2), and their labels (n,))
    distances(points)  -> (n, K): how far points (n, 2) are from each mode, in deviations
    density(points)    -> (n,): the probability density at points (n, 2)

`density(points, blur)` is the density of the distribution plus Gaussian noise of deviation `blur`.
It is smooth, and so can be compared with a kernel estimate, which has the same noise.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygan.data.dataset import Dataset
from tinygan.errors import InputError

SIZES = {"train": 50_000, "test": 10_000}
SEEDS = {"train": 0, "test": 1}  # the same points for everyone; the two splits differ


class Points(Dataset):
    """Labelled points in the plane: a Dataset whose `images` is float32 (N, 2), read-only.

    Minibatches hold the points as they are, (batch_size, 2), without scaling. Raises InputError as
    Dataset does, and if a number is NaN or infinite.
    """

    unit, form = "points", "float32 (N, 2), and finite"

    @staticmethod
    def has_right_form(images: np.ndarray[Any, Any]) -> bool:
        """Return whether an array is float32 (N, 2) with N > 0, and finite."""
        right = images.dtype == np.float32 and images.ndim == 2 and images.shape[1] == 2
        return bool(right and images.size and np.isfinite(images).all())

    def padded(self, border: int) -> "Dataset":
        """Return the Dataset itself. Raises InputError for a border, which points do not have."""
        if border:
            raise InputError(f"setting pad={border}: {self.name} holds points: set pad=0")
        return self


@dataclass(frozen=True, eq=False)
class Curves:
    """K equally likely pieces of curves with Gaussian noise around them.

    pieces: (K, M, 2), each piece as M points, joined by straight lines; for M = 1, the piece is a
    point, the mean of a Gaussian. deviation: the standard deviation of the noise in x and in y.
    """

    summary: str
    pieces: np.ndarray[Any, Any]
    deviation: float

    @property
    def modes(self) -> int:
        """The number of modes."""
        return len(self.pieces)

    def draw(self, rng: np.random.Generator, n: int) -> tuple[Any, Any]:
        """Draw n points. Return (points, labels)."""
        labels = rng.integers(self.modes, size=n)
        lines = self.pieces.shape[1] - 1
        place = rng.uniform(0, lines, n)
        i = np.minimum(place.astype(int), max(lines - 1, 0))
        start, end = self.pieces[labels, i], self.pieces[labels, np.minimum(i + 1, lines)]
        points = start + (place - i)[:, None] * (end - start)
        return points + self.deviation * rng.standard_normal((n, 2)), labels

    def distances(self, points: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return the Euclidean distance of points (n, 2) to each piece, in deviations: (n, K)."""
        starts = self.pieces[:, : max(1, self.pieces.shape[1] - 1)]
        lines = (self.pieces[:, 1:] if self.pieces.shape[1] > 1 else starts) - starts
        offsets = np.asarray(points, np.float64)[:, None, None] - starts
        # The nearest point of a line is its start + share * line.
        squared_lengths = np.maximum((lines**2).sum(-1), 1e-300)
        shares = np.clip((offsets * lines).sum(-1) / squared_lengths, 0, 1)
        nearest = offsets - shares[..., None] * lines
        return np.hypot(nearest[..., 0], nearest[..., 1]).min(2) / self.deviation

    def density(self, points: np.ndarray[Any, Any], blur: float = 0.0) -> np.ndarray[Any, Any]:
        """Return the density at points (n, 2): (n,). blur: see the top of this file.

        Across a line, the noise has a normal density; along it, the place on the line and the noise
        add up to a uniform density with soft ends.
        """
        s, points = float(np.hypot(self.deviation, blur)), np.asarray(points, np.float64)
        starts = self.pieces[:, : max(1, self.pieces.shape[1] - 1)].reshape(-1, 2)
        ends = (self.pieces[:, 1:] if self.pieces.shape[1] > 1 else self.pieces).reshape(-1, 2)
        total = np.zeros(len(points))
        for start, line in zip(starts, ends - starts):
            length = float(np.hypot(*line))
            direction = line / length if length else np.array([1.0, 0.0])
            along = (points - start) @ direction
            across = (points - start) @ np.array([-direction[1], direction[0]])
            total += _normal(across, s) * _soft_interval(along, length, s)
        return total / len(starts)


@dataclass(frozen=True, eq=False)
class Squares:
    """K equally likely squares, each with uniform density.

    corners: (K, 2), the lower left corner of each square. side: the length of its sides.
    """

    summary: str
    corners: np.ndarray[Any, Any]
    side: float

    @property
    def modes(self) -> int:
        """The number of modes."""
        return len(self.corners)

    def draw(self, rng: np.random.Generator, n: int) -> tuple[Any, Any]:
        """Draw n points. Return (points, labels)."""
        labels = rng.integers(self.modes, size=n)
        return self.corners[labels] + rng.uniform(0, self.side, (n, 2)), labels

    def distances(self, points: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return 0 for points (n, 2) inside of a square, and infinity for those outside: (n, K)."""
        offsets = np.asarray(points, np.float64)[:, None] - self.corners
        inside = ((offsets >= 0) & (offsets <= self.side)).all(2)
        return np.where(inside, 0.0, np.inf)

    def density(self, points: np.ndarray[Any, Any], blur: float = 0.0) -> np.ndarray[Any, Any]:
        """Return the density at points (n, 2): (n,). blur: see the top of this file."""
        offsets = np.asarray(points, np.float64)[:, None] - self.corners
        return _soft_interval(offsets, self.side, blur).prod(2).mean(1)


def _normal(x, deviation):
    """Return the density of N(0, deviation^2) at x."""
    return np.exp(-0.5 * (x / deviation) ** 2) / (np.sqrt(2 * np.pi) * deviation)


def _soft_interval(x, length, deviation):
    """Return the density at x of a number from [0, length], all equally likely, plus noise from
    N(0, deviation^2); length or deviation may be 0."""
    if not length:
        return _normal(x, deviation)
    if not deviation:
        return ((x >= 0) & (x <= length)) / length
    from scipy.special import ndtr  # slow to import

    # By symmetry, the half x > length / 2 is mirrored: there, both values of ndtr would be near 1.
    x = np.minimum(x, length - x) / deviation
    return (ndtr(x) - ndtr(x - length / deviation)) / length


def _circle(radius, angles):
    """Return the points on a circle around the origin, or with an array `radius`, on a spiral."""
    return np.stack([radius * np.cos(angles), radius * np.sin(angles)], -1)


def _pieces(curve, n, lines=16):
    """Cut a curve, a function of t in [0, 1], into n pieces: (n, lines + 1, 2)."""
    t = np.arange(n)[:, None] / n + np.linspace(0, 1 / n, lines + 1)
    return curve(t)


def _moons():
    """Return the pieces of two half circles of radius 2: (8, 17, 2)."""
    upper = _pieces(lambda t: _circle(2.0, np.pi * t), 4)
    shift = np.array([1.0, 0.2])  # centres the two, as FFJORD does
    return np.concatenate([upper - shift, [2.0, 1.0] - upper - shift])


_CELLS = [(i, k) for i in range(4) for k in range(4) if (i + k) % 2 == 0]

DISTRIBUTIONS: dict[str, Curves | Squares] = {
    "ring": Curves(
        "8 Gaussians on a circle of radius 2, deviation .02 (Metz et al. 2017)",
        _circle(2.0, np.arange(8) * np.pi / 4)[:, None],
        0.02,
    ),
    "grid": Curves(
        "25 Gaussians, 2 apart, deviation .05 (Srivastava et al. 2017)",
        np.array([[[x, y]] for x in range(-4, 5, 2) for y in range(-4, 5, 2)], float),
        0.05,
    ),
    # The papers have a deviation of .2, with which neighbouring turns, or the two moons, overlap:
    # hardly any point would be further than three deviations from all modes.
    "spiral": Curves(
        "a spiral arm in 12 pieces, deviation .05 (after Grathwohl et al. 2019)",
        _pieces(lambda t: _circle(0.3 * np.pi * (1 + 2 * t), 1.5 * np.pi * (1 + 2 * t)), 12),
        0.05,
    ),
    "moons": Curves(
        "two half circles in 4 pieces each, deviation .1 (after Grathwohl et al. 2019)",
        _moons(),
        0.1,
    ),
    "checkerboard": Squares(
        "8 squares of a 4 x 4 board, side 2 (Grathwohl et al. 2019)",
        2.0 * np.array(_CELLS) - 4.0,
        2.0,
    ),
    "two-gaussians": Curves(
        "2 Gaussians, 3 apart, deviation .5", np.array([[[-1.5, 0.0]], [[1.5, 0.0]]]), 0.5
    ),
}


def holds_points(name: str | None) -> bool:
    """Return whether a data set of this name is one of points."""
    return name in DISTRIBUTIONS


def load_points(name: str, split: str) -> Points:
    """Draw the points of a distribution, always the same: 50,000 for training or 10,000 for
    testing. name: a key of DISTRIBUTIONS. split: "train" or "test"."""
    distribution = DISTRIBUTIONS[name]
    points, labels = distribution.draw(np.random.default_rng(SEEDS[split]), SIZES[split])
    names = tuple(f"mode {k}" for k in range(distribution.modes))
    return Points(name, split, points.astype(np.float32), labels, names, shuffled=True)
