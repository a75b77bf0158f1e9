"""Tests compare numbers in host memory: on a GPU, arrays must be copied there."""

from tinygan import Tensor
from tinygan.backend import to_numpy


def host(x):
    """Return the values of a Tensor, or of an array of the backend in use, as a numpy.ndarray."""
    return to_numpy(x.data if isinstance(x, Tensor) else x)
