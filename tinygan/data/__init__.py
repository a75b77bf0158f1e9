"""Data sets: `load` one by name, then ask the `Dataset` for minibatch number `index`."""

from tinygan.data.datasets import Dataset, catalogue, load, locate, to_float, to_uint8
from tinygan.data.idx import read_idx

__all__ = ["Dataset", "catalogue", "load", "locate", "read_idx", "to_float", "to_uint8"]
