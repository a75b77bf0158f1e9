"""tinygan: the GAN family tree in NumPy that a person can read."""

from . import nn, ops, optim
from .autograd import Parameter, Tensor, anomaly, grad, no_grad, profile, tensor, trace
from .autograd.gradcheck import GradientError, check_grads
from .backend import from_host, use
from .errors import InputError
from .nn.capture import capture
from .training.ema import EMA
from .version import __version__
