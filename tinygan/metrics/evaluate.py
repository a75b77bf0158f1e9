"""All metrics of a set of samples in one report, and a short report for use during training."""

from typing import Any

from tinygan.autograd import Array
from tinygan.data import Dataset, Points
from tinygan.errors import InputError, warn

from . import points, scores
from .extractor import Extractor
from .fid import fid, frechet_distance, gaussian, kid
from .modes import modes
from .neighbours import MAX_IMAGES, CopiesInTest, memorisation, random_subset
from .precision_recall import density_coverage, precision_recall, squared_radii

K_PRECISION, K_DENSITY = 3, 5  # numbers of neighbours, as in the papers
MOST_CLASSES = 20  # whose numbers are all shown in a table
MAX_KNN_IMAGES = 10_000  # of each side, for the metrics of neighbours: their time grows as N^2


class Evaluator:
    """Measures samples against the real images of a Dataset, whose features it computes once.

    dataset: the real images, usually a test split. seed: the seed of all random choices. extractor:
    what computes the features (default: the shipped classifier for dataset.name). Raises InputError
    if there is no classifier for dataset.name, or if there are fewer than 6 images.
    """

    def __init__(self, dataset: Dataset, seed: int = 0, extractor: Extractor | None = None) -> None:
        self.dataset, self.seed = dataset, seed
        self.extractor = Extractor(dataset.name) if extractor is None else extractor
        self.features, _ = self.extractor(dataset.images)
        _check_count(len(self.features), "real images")
        self.gaussian = gaussian(self.features)
        self.knn_features = random_subset(self.features, MAX_KNN_IMAGES, seed)
        self.squared_radii = squared_radii(self.knn_features, K_PRECISION)

    def quick(self, images: Array, labels: Array | None = None) -> dict[str, Any]:
        """Return a short report: fid, precision, recall, with labels class_accuracy, and what was
        measured.

        images: uint8 (N, H, W, C), of the extractor's shape; one or two thousand are enough.
        labels: the class that each image was conditioned on (N,), or None. Keys, errors: see
        `evaluate`.
        """
        return self._quick_report(images, labels)[0]

    def _quick_report(self, images, labels):
        """Return (the report of `quick`, features (N, d), those for the metrics of neighbours,
        probabilities (N, C, K))."""
        images = self.extractor.cropped(images)
        _check_count(len(images), "samples")
        features, probabilities = self.extractor(images)
        knn_features = random_subset(features, MAX_KNN_IMAGES, self.seed)
        precision, recall = precision_recall(
            self.knn_features, knn_features, K_PRECISION, self.squared_radii
        )
        report = {
            "data": self.dataset.name,
            "split": self.dataset.split,
            "extractor": self.extractor.description,
            "samples": len(images),
            "real": len(self.features),
            "samples_knn": len(knn_features),
            "real_knn": len(self.knn_features),
            "seed": self.seed,
            "fid": frechet_distance(*self.gaussian, *gaussian(features)),
            "precision": precision,
            "recall": recall,
        }
        if labels is not None and self.extractor.classes:
            report["class_accuracy"] = scores.class_accuracy(probabilities, labels)
        return report, features, knn_features, probabilities

    def report(
        self, images: Array, labels: Array | None = None, train: Dataset | None = None
    ) -> dict[str, Any]:
        """Return the report of all metrics: see `evaluate`."""
        report, features, knn_features, probabilities = self._quick_report(images, labels)
        report["kid"], report["kid_std"] = kid(self.features, features, seed=self.seed)
        report["density"], report["coverage"] = density_coverage(
            self.knn_features, knn_features, K_DENSITY
        )
        if self.extractor.classes:
            report["classifier_score"] = scores.classifier_score(probabilities)
        if self.extractor.stacked:
            report["modes"], report["mode_kl"] = modes(scores.predicted_classes(probabilities))
        elif self.extractor.classes:
            report["class_counts"] = scores.class_counts(probabilities).tolist()
            if labels is not None:
                report["fid_per_class"] = scores.fid_per_class(
                    self.features, self.dataset.labels, features, labels, self.dataset.num_classes
                )
        if train is not None:
            train_images = random_subset(train.images, len(features), self.seed)
            report |= {
                "train": len(train),
                "fid_train": fid(self.features, self.extractor(train_images)[0]),
            }
            cropped = self.extractor.cropped
            try:
                report["memorisation"] = memorisation(
                    cropped(images), cropped(self.dataset.images), cropped(train.images), self.seed
                )
            except CopiesInTest as error:
                warn(error)
        return report


def evaluator_of(
    dataset: Dataset, seed: int = 0, extractor: Extractor | None = None
) -> Evaluator | points.PointsEvaluator:
    """Return the evaluator for the images or the points of a Dataset. extractor: of the features of
    images (see `Evaluator`)."""
    if isinstance(dataset, Points):
        return points.PointsEvaluator(dataset, seed)
    return Evaluator(dataset, seed, extractor)


def score(report: dict[str, Any]) -> tuple[str, float]:
    """Return (name, value) of the number in a report by which generators are compared: the energy
    distance of points, or the FID of images. Lower is better."""
    if "energy_distance" in report:
        return "energy distance", report["energy_distance"]
    return "FID", report["fid"]


def _check_count(n, kind):
    if n <= K_DENSITY:
        raise InputError(
            f"{n} {kind} are too few: there must be more than {K_DENSITY}, "
            "and thousands for meaningful numbers"
        )


def evaluate(
    images: Array,
    labels: Array | None,
    test: Dataset,
    train: Dataset | None = None,
    seed: int = 0,
    extractor: Extractor | None = None,
) -> dict[str, Any]:
    """Return the report of all metrics of samples: a dict of numbers, texts and lists, for JSON.
    For points, see `points.PointsEvaluator.report`.

    images: uint8 (N, H, W, C), of the extractor's shape: for MNIST 28x28x1, or 32x32x1. labels: the
    class that each image was conditioned on (N,), or None. test: the real images to compare with.
    train: the images that the generator was trained on, to look for copies of them, or None. seed:
    the seed of all random choices. extractor: what computes the features (default: the shipped
    classifier for the data set; for other data, see `extractor_for`).

    Keys (`rows` explains each):
        always: fid, kid, kid_std, precision, recall, density, coverage
        unless the extractor predicts no classes: classifier_score
        stacked data sets: modes, mode_kl; other data sets: class_counts, the predicted classes
        with labels: class_accuracy; also, unless the data set is stacked, fid_per_class (None for
            a class with fewer than 2 samples)
        with train: memorisation (unless most test images are training images, which a warning
            says); fid_train, the FID of as many training images
        what was measured: data, split, extractor, samples, real, train, seed; samples_knn and
            real_knn, the numbers of images (at most 10,000) for precision, recall, density and
            coverage

    Raises InputError for images or labels with a wrong shape, dtype or range, and for fewer than 6
    samples.
    """
    return evaluator_of(test, seed, extractor).report(images, labels, train)


MEANINGS = {  # key: (name, format, meaning)
    "fid": ("FID", "{:.3f}", "Frechet distance of the features: lower is better"),
    "fid_train": (
        "FID of training images",
        "{:.3f}",
        "for as many real images: the FID of a perfect generator",
    ),
    "kid": (
        "KID x 1000",
        "{:.3f}",
        "kernel distance of the features, on 100 subsets of up to 1,000: 0 is best; may be "
        "negative",
    ),
    "precision": (
        "precision",
        "{:.3f}",
        "share of samples that lie among real images: higher is better, up to 1",
    ),
    "recall": (
        "recall",
        "{:.3f}",
        "share of real images that lie among samples: higher is better, up to 1",
    ),
    "density": (
        "density",
        "{:.3f}",
        "neighbourhoods of real images that a sample lies in, divided by k: about 1 is best",
    ),
    "coverage": (
        "coverage",
        "{:.3f}",
        "share of real images with a sample in their neighbourhood: higher is better, up to 1",
    ),
    "classifier_score": (
        "classifier score",
        "{:.2f}",
        "confident and varied predictions: higher is better, up to the number of classes",
    ),
    "class_accuracy": (
        "class accuracy",
        "{:.2%}",
        "share of samples that show the requested class: higher is better",
    ),
    "class_counts": ("samples of each class", "{}", "predicted classes: equal counts are best"),
    "fid_per_class": (
        "FID of each class",
        "{}",
        "lower is better; higher than the FID of all, because a class has fewer images",
    ),
    "modes": ("modes", "{:,}", "classes that occur, of 1,000: higher is better"),
    "mode_kl": (
        "KL from even modes",
        "{:.4f}",
        "in nats: lower is better; a perfect generator has .0236 with 26,000 samples",
    ),
    "memorisation": (
        "distance to training images",
        "{:.3f}",
        f"relative to test images, of up to {MAX_IMAGES:,} each: far below 1 means copies",
    ),
}


def rows(report: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return [(name, value, meaning)], all texts, for the metrics in a report of `evaluate` or
    `quick`: the rows of a table."""
    meanings = points.MEANINGS if "energy_distance" in report else MEANINGS
    return [
        (name, _format(report, key, form), meaning)
        for key, (name, form, meaning) in meanings.items()
        if key in report
    ]


def _format(report, key, form):
    value = report[key]
    if key == "kid":
        return f"{1000 * value:.3f} +- {1000 * report['kid_std']:.3f}"
    if isinstance(value, list) and len(value) > MOST_CLASSES:
        known = [v for v in value if v is not None] or [0]
        return f"{min(known):.4g} to {max(known):.4g} in {len(value)} classes"
    if isinstance(value, list):
        return " ".join(
            "-" if v is None else f"{v:.2f}" if isinstance(v, float) else str(v) for v in value
        )
    return form.format(value, **report)
