"""What the arrays of a checkpoint must be: their shapes, types and ranges."""

import math
from typing import Any, Mapping, NamedTuple

import numpy as np

from .schema import shown_name


class Array(NamedTuple):
    """What an array must be. low, high: the range of its values; none may be NaN or infinite."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    low: float = -math.inf
    high: float = math.inf

    def check(self, array: np.ndarray[Any, Any], name: str) -> None:
        if array.shape != self.shape:
            raise ValueError(f"{name} has shape {array.shape}, not {self.shape}")
        if array.dtype != self.dtype:
            raise ValueError(f"{name} holds {array.dtype.str}, not {self.dtype}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{name} holds {'NaN' if np.isnan(array).any() else 'inf'}")
        if array.size and not (self.low <= array.min() and array.max() <= self.high):
            raise ValueError(f"{name} holds values outside of {self.low:g} to {self.high:g}")


def check_arrays(
    part: str,
    found: Mapping[str, np.ndarray[Any, Any]],
    required: Mapping[str, Array],
    optional: Mapping[str, Array] = {},
) -> None:
    """Check the arrays of one part of a checkpoint: all of the required ones, and perhaps optional
    ones. Raises ValueError that names the first array that is missing, unknown or wrong."""
    expected = {**optional, **required}
    for kind, names in (
        ("lacks", required.keys() - found.keys()),
        ("has unexpected", found.keys() - expected.keys()),
    ):
        if names:
            shown = sorted(map(shown_name, names))
            raise ValueError(f"{part} {kind} {', '.join(shown[:5])}{', ...' * (len(shown) > 5)}")
    for name, array in found.items():
        expected[name].check(array, f"{part}/{name}")
