"""Planted derivative mistakes: how many does check_grads catch, and does it spare right ones?

`python tests/tools/planted.py` runs them all and prints a table.

mechanism.py  plants a mistake: the value is that of the real function, the derivative is another
rows.py       one mistake in every row of the op table that has none of its own
elementwise.py, reductions.py, shapes.py, images.py, norms.py, layers.py
              mistakes that people make in an op or a layer
special.py    mistakes that show for some inputs only, and those that no check can see
right.py      right derivatives, which no check may find wrong
check_before.py  the check as it was when its verdict was a tolerance, for comparison
table.py      runs the checks, counts and prints
"""

# The imports plant the mistakes. Those of rows.py come last: it fills the gaps.
from . import elementwise, images, layers, norms, reductions, shapes, special  # noqa: F401, I001
from . import rows  # noqa: F401, I001
from .mechanism import MISTAKES, Mistake, measure, planted
from .right import RIGHT, Right

__all__ = ["MISTAKES", "Mistake", "measure", "planted", "RIGHT", "Right"]
