"""All metrics of a set of samples as one report, and the few to watch during training."""

from tinygan.errors import InputError

from . import scores
from .checks import as_images
from .extractor import Extractor
from .fid import fid, frechet_distance, gaussian, kid
from .modes import modes
from .neighbours import AT_MOST, draw, memorisation
from .precision_recall import density_coverage, precision_recall, radii

K_PRECISION, K_DENSITY = 3, 5  # neighbours, as their papers have them
NEIGHBOURS_OF = 10_000  # images of each side whose neighbours are sought: quadratic in time


class Evaluator:
    """Measures samples against the real images of a Dataset, whose features are computed once.

    dataset: of a name that has a classifier, most often the test split. seed: of all random
    choices. Raises InputError where there is no classifier, or too few real images.
    """

    def __init__(self, dataset, seed=0):
        self.dataset, self.seed = dataset, seed
        self.extractor = Extractor(dataset.name)
        self.features, _ = self.extractor(dataset.images)
        _enough(len(self.features), "real images")
        self.gaussian = gaussian(self.features)
        self.near = draw(self.features, NEIGHBOURS_OF, seed)
        self.radii = radii(self.near, K_PRECISION)

    def quick(self, images, labels=None):
        """{"fid", "precision", "recall", with labels "class_accuracy", and of what}.

        images: uint8 (N, 28 or 32, ..., C), a thousand or two; labels (N,): the classes that were
        asked for, or None.
        """
        return self._measure(images, labels)[0]

    def _measure(self, images, labels):
        """(the report of `quick`, features, those of them whose neighbours are sought,
        probabilities)."""
        images = as_images(images, self.extractor.channels)
        _enough(len(images), "samples")
        features, probabilities = self.extractor(images)
        near = draw(features, NEIGHBOURS_OF, self.seed)
        precision, recall = precision_recall(self.near, near, K_PRECISION, self.radii)
        report = {
            "data": self.dataset.name,
            "split": self.dataset.split,
            "extractor": self.extractor.description,
            "samples": len(images),
            "real": len(self.features),
            "samples_knn": len(near),
            "real_knn": len(self.near),
            "seed": self.seed,
            "fid": frechet_distance(*self.gaussian, *gaussian(features)),
            "precision": precision,
            "recall": recall,
        }
        if labels is not None:
            report["class_accuracy"] = scores.class_accuracy(probabilities, labels)
        return report, features, near, probabilities

    def report(self, images, labels=None, train=None):
        """See `evaluate`."""
        report, features, near, probabilities = self._measure(images, labels)
        report["kid"], report["kid_std"] = kid(self.features, features, seed=self.seed)
        report["density"], report["coverage"] = density_coverage(self.near, near, K_DENSITY)
        report["classifier_score"] = scores.classifier_score(probabilities)
        if self.extractor.channels > 1:
            report["modes"], report["mode_kl"] = modes(scores.predicted(probabilities))
        else:
            report["class_counts"] = scores.class_counts(probabilities).tolist()
            if labels is not None:
                report["fid_per_class"] = scores.fid_per_class(
                    self.features, self.dataset.labels, features, labels, self.dataset.num_classes
                )
        if train is not None:
            likewise = draw(train.images, len(features), self.seed)
            report |= {
                "train": len(train),
                "fid_train": fid(self.features, self.extractor(likewise)[0]),
                "memorisation": memorisation(images, self.dataset.images, train.images, self.seed),
            }
        return report


def _enough(n, what):
    if n <= K_DENSITY:
        raise InputError(
            f"{n} {what} cannot be evaluated: there must be more than {K_DENSITY}, "
            "and thousands for numbers that mean much"
        )


def evaluate(images, labels, test, train=None, seed=0):
    """Everything this package can tell of samples: a dict of numbers, texts and lists, for JSON.

    images: uint8 (N, H, W, C), of 28x28 or 32x32 pixels. labels: the class that each was asked to
    be, (N,), or None. test: the Dataset to measure against; train: the Dataset that the generator
    saw, to look for copies in.

    Keys (`rows` says what each means): fid, kid, kid_std, precision, recall, density, coverage,
    classifier_score; class_counts, as predicted (stacked data sets have modes and mode_kl instead);
    with labels class_accuracy and, unless stacked, fid_per_class (None for a class of fewer than 2
    samples); with train memorisation and fid_train, the FID of as many training images. And what
    they were measured on: data, split, extractor, samples, real, train, seed; samples_knn and
    real_knn, of which precision, recall, density and coverage are (at most 10,000).

    Raises InputError for images and labels that do not fit, and for fewer than 6 samples.
    """
    return Evaluator(test, seed).report(images, labels, train)


MEANINGS = {  # key: (name, format, meaning)
    "fid": ("FID", "{:.3f}", "distance of the features' Gaussians: less is better"),
    "fid_train": ("FID of training images", "{:.3f}", "as many real ones: what to hope for"),
    "kid": (
        "KID x 1000",
        "{:.3f}",
        "distance by a kernel, 100 subsets of up to 1,000: 0 is best, may be negative",
    ),
    "precision": (
        "precision",
        "{:.3f}",
        "samples that lie among real images: more is better, to 1",
    ),
    "recall": ("recall", "{:.3f}", "real images that lie among samples: more is better, to 1"),
    "density": (
        "density",
        "{:.3f}",
        "real neighbourhoods that a sample lies in, / k: about 1 is best",
    ),
    "coverage": (
        "coverage",
        "{:.3f}",
        "real images with a sample in their neighbourhood: more is better, to 1",
    ),
    "classifier_score": (
        "classifier score",
        "{:.2f}",
        "sure and varied predictions: more is better, to the classes",
    ),
    "class_accuracy": (
        "class accuracy",
        "{:.2%}",
        "samples that are of the class asked for: more is better",
    ),
    "class_counts": ("samples of each class", "{}", "as predicted: even is better"),
    "fid_per_class": (
        "FID of each class",
        "{}",
        "less is better; larger than the FID of all, as images are fewer",
    ),
    "modes": ("modes", "{:,}", "of 1,000: more is better"),
    "mode_kl": (
        "KL from even modes",
        "{:.4f}",
        "nats: less is better; .0236 is perfect for 26,000 samples",
    ),
    "memorisation": (
        "distance to training images",
        "{:.3f}",
        f"that of test images = 1, of up to {AT_MOST:,}: much below 1 means copies",
    ),
}


def rows(report):
    """[(name, value, meaning)], to print as a table, of the numbers in a report of `evaluate` or
    `quick`: all are texts."""
    return [
        (name, _text(report, key, form), meaning)
        for key, (name, form, meaning) in MEANINGS.items()
        if key in report
    ]


def _text(report, key, form):
    value = report[key]
    if key == "kid":
        return f"{1000 * value:.3f} +- {1000 * report['kid_std']:.3f}"
    if isinstance(value, list):
        return " ".join(
            "-" if v is None else f"{v:.2f}" if isinstance(v, float) else str(v) for v in value
        )
    return form.format(value)
