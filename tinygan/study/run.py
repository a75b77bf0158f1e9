"""A Run of a study: what was measured of one variant, trained with one seed."""

from pathlib import Path
from typing import Any, Iterable

from tinygan.autograd import Array
from tinygan.errors import InputError

from . import result_files


class Run:
    """The results of one run: a variant of a study, trained with one seed.

    label: the label of the variant. name: a short form of label and seed, used in file names.
    folder: the run's folder. results: the measurements, a dict. least_recall: see `failed`.

    The entries of `results` are attributes too: `seconds` (of training), `metrics` (at the last
    step, against the test images), `also`, ...; and so are the entries of `metrics`: `fid`, ...
    """

    def __init__(
        self,
        label: str,
        seed: int,
        name: str,
        folder: Path,
        results: dict[str, Any],
        images_file: Path,
        least_recall: float = 0.0,
    ) -> None:
        self.label, self.seed, self.name, self.folder = label, seed, name, folder
        self.least_recall = least_recall
        self.results, self._images_file = results, images_file

    def __str__(self) -> str:
        return f"{self.label}, seed {self.seed}"

    def __getattr__(self, name: str) -> Any:
        results = vars(self).get("results", {})
        known = results | results.get("metrics", {})
        if name not in known:
            raise AttributeError(
                f"{vars(self).get('label')}: {name} was not measured; there are: {', '.join(known)}"
            )
        return known[name]

    def number(self, path: str) -> float:
        """Return a number of the results by its path, such as "fid" or "also.path_length.w"."""
        name, *keys = path.split(".")
        value = getattr(self, name)
        for key in keys:
            value = value[key]
        return value

    @property
    def class_error(self) -> float:
        """The share of samples that do not show the requested class."""
        return 1 - self.class_accuracy

    @property
    def failed(self) -> bool:
        """Whether training failed: it diverged, or the samples cover too few of the real images
        (recall < `least_recall`)."""
        diverged = self.results.get("diverged", False)
        return diverged or self.metrics.get("recall", 1.0) < self.least_recall

    def number_or_none(self, path: str) -> float | None:
        """Return the number at `path`, or None if the run failed."""
        return None if self.failed else self.number(path)

    @property
    def images_name(self) -> str:
        """The name of its samples in the file of images."""
        return f"runs/{self.name}"

    @property
    def images(self) -> Array:
        """Samples, uint8 (40, H, W, C), in rows of ten; if the recipe is conditional, each column
        has one class. Raises InputError unless the run has the study's first seed, and generates
        images: the others keep no samples."""
        images = result_files.read_images(self._images_file)
        if self.images_name not in images:
            raise InputError(f"{self} has no samples: only the first seed keeps them, of images")
        return images[self.images_name]


def check_same_features(runs: Iterable[Run]) -> None:
    """Raise InputError if the metrics of some runs were computed with other features."""
    by_features = {run.metrics["extractor"]: run for run in runs if "extractor" in run.metrics}
    if len(by_features) > 1:
        raise InputError(
            "metrics of different features cannot be compared: "
            + "; ".join(f"{run} has {features}" for features, run in by_features.items())
            + ": measure all runs again, with --again NAME"
        )
