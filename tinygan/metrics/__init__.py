"""Metrics: the quality of samples, by a small classifier's features and predictions, and by pixels.

`evaluate(images, labels, test, train)` reports all metrics. `Evaluator(test).quick(images)` reports
a few, for evaluations during training. For data of your own, `extractor_for(train, held_out)`
makes the extractor that both take. Compare metrics only if they come from the same extractor, the
same numbers of images and the same split.
"""

from .evaluate import Evaluator, evaluate, evaluator_of, rows, score
from .extractor import Extractor
from .neighbours import memorisation, nearest, neighbours_picture
from .own_data import RandomExtractor, extractor_for

__all__ = [
    "Evaluator",
    "Extractor",
    "RandomExtractor",
    "evaluate",
    "evaluator_of",
    "extractor_for",
    "memorisation",
    "nearest",
    "neighbours_picture",
    "rows",
    "score",
]
