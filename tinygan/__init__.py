"""tinygan: the GAN family tree in NumPy that a person can read."""

from . import ops
from .autograd import Parameter, Tensor, grad, no_grad, tensor
from .backend import use
from .errors import InputError

__version__ = "0.1.0"
