"""How good are samples? By a small classifier's features and predictions, and by pixels.

`evaluate(images, labels, test, train)` is a report of everything, `Evaluator(test).quick(images)`
what to watch during training. Numbers of different extractors, numbers of images, or splits must
not be compared.
"""

from .evaluate import Evaluator, evaluate, rows
from .extractor import Extractor
from .neighbours import memorisation, nearest, neighbours_picture

__all__ = [
    "Evaluator",
    "Extractor",
    "evaluate",
    "memorisation",
    "nearest",
    "neighbours_picture",
    "rows",
]
