"""Metrics of points: which modes of a known distribution do samples reach, and how well?

A sample is good if it lies within 3 deviations of a mode; a mode is found if at least 20 good
samples are nearest to it (`data/points.py` says what the modes and deviations are). The energy
distance compares samples with real points, without looking at modes.
"""

from typing import Any

import numpy as np

from tinygan.autograd import Array
from tinygan.data import Dataset
from tinygan.data.points import DISTRIBUTIONS, Points
from tinygan.errors import InputError

from .checks import as_labels
from .neighbours import random_subset

MAX_DEVIATIONS, MIN_SAMPLES = 3, 20
MAX_POINTS = 2000  # of each side, for the energy distance: its time grows as N^2
BLOCK = 4096  # points whose distances to all modes are computed at once


def energy_distance(x: Array, y: Array) -> float:
    """Return the energy distance 2 E|x - y| - E|x - x'| - E|y - y'| of two sets of points (N, d)
    and (M, d) (Szekely and Rizzo 2013, "Energy statistics").

    The means are over all pairs, also of a point with itself. So it is never negative, and 0 only
    if both sets are the same. Of two sets of n points from one distribution, it is about
    2 E|x - x'| / n.
    """
    from scipy.spatial.distance import cdist  # slow to import

    x, y = (np.asarray(points, np.float64) for points in (x, y))
    distance = 2 * cdist(x, y).mean() - cdist(x, x).mean() - cdist(y, y).mean()
    return max(0.0, float(distance))


def mode_metrics(distances: Array, labels: Array | None = None) -> dict[str, Any]:
    """Return the metrics of N samples whose distances to K modes are given, in deviations (N, K).

    labels: the mode that each sample was conditioned on (N,), or None. Keys: see `MEANINGS`; also
    modes, the number K, and mode_counts, the good samples of each mode. mode_kl is missing if no
    sample is good.
    """
    n, modes = distances.shape
    within = distances <= MAX_DEVIATIONS
    good = within.any(1)
    counts = np.bincount(distances[good].argmin(1), minlength=modes)
    metrics: dict[str, Any] = {
        "modes": modes,
        "modes_found": int((counts >= MIN_SAMPLES).sum()),
        "good_samples": float(good.mean()),
        "mode_counts": counts.tolist(),
    }
    if good.any():
        p = counts[counts > 0] / good.sum()
        metrics["mode_kl"] = float(np.sum(p * np.log(p * modes)))
    if labels is not None:
        metrics["class_accuracy"] = float(within[np.arange(n), as_labels(labels, n, modes)].mean())
    return metrics


class PointsEvaluator:
    """Measures samples against the real points of a Dataset, with the methods of an `Evaluator`.

    dataset: the real points. Unless its name is in `data.points.DISTRIBUTIONS`, its modes are not
    known, and only the energy distance is measured. seed: the seed of all random choices.
    """

    def __init__(self, dataset: Dataset, seed: int = 0) -> None:
        self.dataset, self.seed = dataset, seed
        self.real = random_subset(dataset.images, MAX_POINTS, seed)

    def quick(self, points: Array, labels: Array | None = None) -> dict[str, Any]:
        """Return a short report: `report` without the counts of the modes, which are a list."""
        report = self.report(points, labels)
        return {key: value for key, value in report.items() if key != "mode_counts"}

    def report(
        self, points: Array, labels: Array | None = None, train: Dataset | None = None
    ) -> dict[str, Any]:
        """Return the report of all metrics: a dict of numbers, texts and lists, for JSON.

        points: the samples, float32 (N, 2). labels: the mode that each of them was conditioned on
        (N,), or None. train: the points that the generator was trained on, for the energy distance
        of a perfect generator, or None. Raises InputError for other samples.
        """
        points = np.asarray(points)
        if not Points.has_right_form(points):
            raise InputError(
                f"samples of {self.dataset.name} must be {Points.form}, not {points.dtype} "
                f"{points.shape}"
            )
        samples = random_subset(points, MAX_POINTS, self.seed)
        report = {
            "data": self.dataset.name,
            "split": self.dataset.split,
            "samples": len(points),
            "real": len(self.dataset),
            "samples_energy": len(samples),
            "real_energy": len(self.real),
            "seed": self.seed,
            "energy_distance": energy_distance(samples, self.real),
        }
        if train is not None:
            others = random_subset(train.images, len(samples), self.seed)
            report["energy_distance_train"] = energy_distance(others, self.real)
        if distribution := DISTRIBUTIONS.get(self.dataset.name):
            distances = np.concatenate(
                [
                    distribution.distances(points[i : i + BLOCK])
                    for i in range(0, len(points), BLOCK)
                ]
            )
            report |= mode_metrics(distances, labels)
        return report


MEANINGS = {  # key: (name, format, meaning)
    "modes_found": (
        "modes found",
        "{} of {modes}",
        f"modes with at least {MIN_SAMPLES} good samples: higher is better",
    ),
    "good_samples": (
        "good samples",
        "{:.2%}",
        f"share of samples within {MAX_DEVIATIONS} deviations of a mode: higher is better",
    ),
    "mode_kl": (
        "KL from even modes",
        "{:.4f}",
        "of the good samples, in nats: lower is better, down to 0",
    ),
    "class_accuracy": (
        "class accuracy",
        "{:.2%}",
        "share of samples that lie in the requested mode: higher is better",
    ),
    "energy_distance": (
        "energy distance",
        "{:.5f}",
        "of samples and real points, up to 2,000 each: lower is better",
    ),
    "energy_distance_train": (
        "energy distance of training points",
        "{:.5f}",
        "for as many training points: that of a perfect generator",
    ),
}
