"""Data sets: `load` one by its name; the `Dataset` then gives minibatches."""

from tinygan.data.dataset import Dataset, to_float, to_uint8
from tinygan.data.idx import read_idx
from tinygan.data.loading import catalogue, load, locate
from tinygan.data.points import Points, holds_points

__all__ = [
    "Dataset",
    "Points",
    "catalogue",
    "holds_points",
    "load",
    "locate",
    "read_idx",
    "to_float",
    "to_uint8",
]
