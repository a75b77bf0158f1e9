"""tinygan: the GAN family tree in NumPy that a person can read."""

from . import nn, ops, optim
from .autograd import Parameter, Tensor, anomaly, grad, no_grad, profile, tensor, trace
from .autograd.gradcheck import GradientError, check_grads
from .backend import from_host, use
from .errors import InputError
from .training.ema import EMA

__version__ = "0.1.0"


def capture(step, *modules, state=()):
    """A training step that a GPU runs as one launch: see `capture` in kernels/cuda/graphs.py."""
    from .kernels.cuda.graphs import capture

    return capture(step, *modules, state=state)
