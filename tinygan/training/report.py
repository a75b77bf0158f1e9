"""The report of a trained generator, compared with real images: `tinygan eval`, and
`Run.evaluate`."""

from typing import Any, NamedTuple

import numpy as np

from tinygan import metrics
from tinygan.data import Dataset
from tinygan.metrics import Extractor

from . import sampling
from .run_data import RunData

SAMPLES, OF_STACKED = 10_000, 26_000  # the default numbers; the second as in the papers


class Report(NamedTuple):
    """numbers: {name: number}, with what was measured. samples: what G generated. train, real: the
    Datasets that it was trained on and compared with. extractor: of the features, or None."""

    numbers: dict[str, Any]
    samples: Any
    train: Dataset
    real: Dataset
    extractor: Extractor | None


def evaluate(
    G: Any,
    its_data: RunData,
    n: int | None = None,
    seed: int = 0,
    split: str | None = None,
    truncation: float | None = None,
    **what: Any,
) -> Report:
    """Compare n samples of G with the real images of its run, by all metrics.

    n: by default 10,000, or 26,000 for a stacked data set. split: "test" or "held-out"; None: the
    test images if there are any. truncation: for which G is prepared (see samples.truncate). what:
    what was measured, which the numbers begin with. Errors: see `RunData.reals`.
    """
    train, real = its_data.parts[0], its_data.reals(split or "test")
    extractor = its_data.extractor()
    n = n or (OF_STACKED if its_data.config["data"].startswith("stacked") else SAMPLES)
    labels = sampling.classes_in_turn(G, n)
    z = sampling.latents(np.random.default_rng([seed, 3]), n, G, truncation)
    samples = sampling.generate(G, z, labels)
    numbers = metrics.evaluate(samples, labels, real, train, seed, extractor)
    return Report({**what, "truncation": truncation, **numbers}, samples, train, real, extractor)
