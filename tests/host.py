"""What a test compares by NumPy has to be in host memory: on a GPU, an array does not come there by itself."""

from tinygan import Tensor
from tinygan.backend import to_numpy


def host(x):
    """The values of a Tensor (of a graph too), or of an array of the backend in use, as a numpy.ndarray."""
    return to_numpy(x.data if isinstance(x, Tensor) else x)
