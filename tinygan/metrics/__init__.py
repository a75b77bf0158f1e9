"""How good are samples? By a small classifier's features, by its predictions, and by pixels.

`evaluate(images, labels, test, train)` is a report of everything, `Evaluator(test).quick(images)`
what to watch during training. Compare only what was measured with the same extractor, the same
number of images, and the same split.
"""

from .evaluate import Evaluator, evaluate, rows
from .extractor import Extractor
from .neighbours import memorisation, nearest, neighbours_picture

__all__ = ["Evaluator", "Extractor", "evaluate", "memorisation", "nearest", "neighbours_picture",
           "rows"]
