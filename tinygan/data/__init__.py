"""Data sets: `load` one by its name, or your own by its path; the `Dataset` gives minibatches."""

from tinygan.data.dataset import Dataset, to_float, to_uint8
from tinygan.data.idx import read_idx
from tinygan.data.loading import NoTestPart, catalogue, load, locate, names

__all__ = [
    "Dataset",
    "NoTestPart",
    "catalogue",
    "load",
    "locate",
    "names",
    "read_idx",
    "to_float",
    "to_uint8",
]
