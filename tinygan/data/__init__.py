"""Data sets: `load` one by its name, or your own by its path; the `Dataset` gives minibatches."""

from typing import TYPE_CHECKING

from tinygan.autograd import habits
from tinygan.data.dataset import Dataset, to_float, to_uint8
from tinygan.data.idx import read_idx
from tinygan.data.loading import NoTestPart, catalogue, load, locate, names
from tinygan.data.points import Points, holds_points

__all__ = [
    "Dataset",
    "NoTestPart",
    "Points",
    "catalogue",
    "holds_points",
    "load",
    "locate",
    "names",
    "read_idx",
    "to_float",
    "to_uint8",
]

if not TYPE_CHECKING:  # a __getattr__ would hide mistyped names from type checkers
    __getattr__ = habits.of_package(__name__, habits.DATA)
