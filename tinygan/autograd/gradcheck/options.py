"""How to check: the options that all gradient checks have in common."""

import math
from typing import NamedTuple

import numpy as np

from tinygan.errors import InputError

MOST_ENTRIES = 1024  # see Options.entries


class Options(NamedTuple):
    """How to check: see check_grads. entries: how many are compared one by one after a failure; of
    more, some are chosen."""

    mode: str = "random"
    rtol: float | None = None
    atol: float | None = None
    step: float | None = None
    eps: float = 1e-4
    miss: float = 1e-6
    entries: int = MOST_ENTRIES


def check_options(options: Options) -> None:
    """Raise InputError if an option has a value that makes no sense."""
    if options.mode not in ("random", "full"):
        raise InputError(f"mode must be 'random' or 'full', not {options.mode!r}")
    for name, low, high, what in (
        ("eps", 0.0, 1.0, "between 0 and 1"),
        ("miss", 0.0, 1.0, "between 0 and 1"),
        ("step", 0.0, math.inf, "a positive number, or None"),
        ("rtol", -1e-300, math.inf, "0 or more, or None"),
        ("atol", -1e-300, math.inf, "0 or more, or None"),
    ):
        value = getattr(options, name)
        if value is None and name not in ("eps", "miss"):
            continue
        if not isinstance(value, (int, float, np.number)) or not low < value < high:
            raise InputError(f"{name} must be {what}, not {value!r}")
