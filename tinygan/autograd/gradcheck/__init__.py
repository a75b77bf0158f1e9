"""Gradient checks: derivatives of any order against finite differences and other witnesses.

line.py holds the idea: along a direction, the Taylor remainder of a right derivative falls with a
known power of the step, and that of a wrong one does not. problem.py says what is checked, in one
form for all kinds of functions, and options.py says how. checker.py chooses directions, and finds
the argument and entry that are wrong. kinks.py says what can be known at a kink. checks.py has
`check_grads` and `check_module` for functions of Tensors, plain.py has `check_gradient` for NumPy
functions and derivatives written by hand, assertion.py has `assert_gradient` for tests.
witnesses.py tests the same derivatives in other ways; suspects.py, with patterns.py and places.py,
knows the usual mistakes by their symptoms, which it finds in an Evidence (evidence.py); report.py
and picture.py say and draw what was found.
"""

from .assertion import assert_gradient
from .checks import check_grads, check_module
from .plain import check_gradient
from .report import GradientError, GradReport, Witness, fail_if_one_disagrees

# fmt: off
__all__ = [
    "assert_gradient", "check_gradient", "check_grads", "check_module", "fail_if_one_disagrees",
    "GradientError", "GradReport", "Witness",
]
# fmt: on
