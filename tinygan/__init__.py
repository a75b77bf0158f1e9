"""tinygan: the GAN family tree in NumPy that a person can read.

The house, from the ground floor up: each room imports only those listed before it.

    errors     the exceptions that are no bugs, and how they are said in one line
    files      files that are whole or not there, checkpoints, .npz
    backend    the array module in use: NumPy, or CuPy on a GPU
    batch      the whole batch, of which this process may hold a share
    kernels    arrays in, arrays out: a plain floor to read, and fast ones in cpu/ and cuda/
    autograd   the engine: Tensors, gradients of any order, ways to check and to look inside
    ops        differentiable functions: each is a value and its derivatives
    nn         layers, and the Module they are built on
    optim      SGD, Adam, RMSprop
    optable    a row per op and layer, with a second opinion on its value: for tests
    settings   settings with a meaning and a range, which a command line can change
    gan        losses, penalties, conditioning, augmentation
    models     one paper, one file: networks, settings, recipe
    data       data sets: built in, downloaded, or where you have them
    metrics    how good samples are
    training   a step as in the papers; how it is executed; the run around it
    study      comparisons over seeds
    cli        the command line

To learn how it works, read kernels/*.py, autograd/engine.py and tensor.py, ops, nn, gan, models,
and training/algorithm.py, in this order.
"""

from . import nn, ops, optim
from .autograd import Parameter, Tensor, anomaly, grad, no_grad, profile, tensor, trace
from .autograd.gradcheck import GradientError, check_grads
from .backend import from_host, use
from .errors import InputError
from .training.ema import EMA
from .version import __version__

# fmt: off
__all__ = [
    "__version__", "anomaly", "capture", "check_grads", "EMA", "from_host", "grad",
    "GradientError", "InputError", "nn", "no_grad", "ops", "optim", "Parameter", "profile",
    "Tensor", "tensor", "trace", "use",
]
# fmt: on


def capture(step, *modules, state=()):
    """A training step that a GPU runs as one launch: see `capture` in kernels/cuda/graphs.py."""
    from .kernels.cuda.graphs import capture

    return capture(step, *modules, state=state)
