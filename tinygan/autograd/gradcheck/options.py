"""The settings of a gradient check."""

import math
from typing import NamedTuple

import numpy as np

from tinygan.errors import InputError


class Options(NamedTuple):
    """How to check: see check_grads. entries: how many are compared one by one after a failure; of
    an argument with more, some are chosen."""

    mode: str = "random"
    rtol: float | None = None
    atol: float | None = None
    step: float | None = None
    eps: float = 1e-4
    miss: float = 1e-6
    entries: int = 1024

    def checked(self) -> "Options":
        """Return these options. Raise InputError for a value that means nothing."""
        if self.mode not in ("random", "full"):
            raise InputError(f"mode must be 'random' or 'full', not {self.mode!r}")
        for name in ("eps", "miss"):
            if not 0 < self.number(name) < 1:
                raise InputError(f"{name} must be between 0 and 1, not {getattr(self, name)!r}")
        for name in ("rtol", "atol"):
            if getattr(self, name) is not None and not 0 <= self.number(name) < math.inf:
                raise InputError(f"{name} must be 0 or more, not {getattr(self, name)!r}")
        if self.step is not None and not 0 < self.number("step") < math.inf:
            raise InputError(f"step must be more than 0, not {self.step!r}")
        return self

    def number(self, name: str) -> float:
        """Return an option that must be a number; NaN if it is none."""
        value = getattr(self, name)
        return value if isinstance(value, (int, float, np.number)) else math.nan
