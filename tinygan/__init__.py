"""tinygan: the GAN family tree in NumPy that a person can read.

The main parts of the package, from the bottom up: each imports only from those before it.

    errors     exceptions that are not bugs, and one-line messages to the user
    files      atomic writing, checkpoints, .npz files
    backend    the array module in use: NumPy, or CuPy on a GPU
    batch      means over the whole batch, which several processes may share
    kernels    functions on plain arrays: plain kernels to read, fast ones in cpu/ and cuda/
    autograd   the engine: Tensors, gradients of any order, gradient checks, inspection
    ops        differentiable functions: each is a value and its derivatives
    nn         layers, and their base class Module
    optim      optimisers: SGD, Adam, AdamW, RMSprop
    optable    a table of all ops and layers with independent reference values, for tests
    schedules  numbers that change during training, such as a learning rate
    settings   settings with a type, a description and a range
    gan        losses, penalties, conditioning, augmentation
    models     one file for each paper: networks, settings, recipe
    weights    weights out and in, as PyTorch names them
    data       data sets: built in, downloaded, or in a folder of yours
    plots      grids of images, animations, curves
    metrics    measures of the quality of samples
    training   the training step as in the papers, its execution, and the run around it
    runs       training from Python: train, load_run, Run
    lab        a GAN on points as a game, to watch from step to step
    study      comparisons of runs over several seeds
    cli        the command line

To learn how tinygan works, read kernels/*.py, autograd/engine.py and tensor.py, ops, nn, gan,
models, and training/algorithm.py and objectives.py, in this order.
"""

from . import startup

startup.expect_python()
startup.handle_ctrl_c()  # before the other imports, which take most of a second

# ruff: noqa: E402
from typing import TYPE_CHECKING

from . import nn, ops, optim, schedules
from .autograd import Parameter, Tensor, anomaly, grad, habits, no_grad, profile, tensor, trace
from .autograd.gradcheck import (
    GradientError,
    assert_gradient,
    check_gradient,
    check_grads,
    check_module,
)
from .backend import from_host, use
from .errors import InputError
from .recorded import capture
from .runs import Run, check_training_step, load_run, train
from .training.ema import EMA
from .version import __version__
from .weights import export_weights, import_weights

# fmt: off
__all__ = [
    "__version__", "anomaly", "assert_gradient", "capture", "check_gradient", "check_grads",
    "check_module", "check_training_step", "EMA", "export_weights", "from_host", "grad",
    "GradientError", "import_weights", "InputError", "load_run", "nn", "no_grad", "ops", "optim",
    "Parameter", "profile", "Run", "schedules", "Tensor", "tensor", "trace", "train", "use",
]
# fmt: on


if not TYPE_CHECKING:  # a __getattr__ would hide mistyped names from type checkers
    __getattr__ = habits.of_package(__name__, habits.TINYGAN)
