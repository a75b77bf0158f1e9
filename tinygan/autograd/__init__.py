"""The autograd engine: Tensors, ops, gradients of any order; tools to check and inspect them.

Read engine.py and tensor.py first: they hold the idea. checks.py checks arguments and writes error
messages; habits.py and names.py say what to write in place of NumPy's and PyTorch's idioms.
gradient_hooks.py lets functions see and replace gradients. gradcheck/ compares derivatives with
finite differences and other witnesses. inspect.py (anomaly, profile), trace.py and drawing.py show
what a computation does.
"""

from . import habits  # attaches to Tensor what NumPy's functions do with it
from .checks import ARGUMENT_ERRORS, as_tensors, described, op_error, tensor_parameters
from .engine import backward, grad, no_grad, op, recording
from .gradcheck import GradientError, check_grads
from .inspect import anomaly, profile, profiled, report_cost
from .tensor import Node, Parameter, Tensor, tensor, wrap
from .trace import trace
from .types import Array, Axis, IntPair, Op, P, TensorLike

# fmt: off
__all__ = [
    "anomaly", "ARGUMENT_ERRORS", "Array", "as_tensors", "Axis", "backward", "check_grads",
    "described", "grad", "GradientError", "habits", "IntPair", "no_grad", "Node", "Op", "op",
    "op_error", "P", "Parameter", "profile", "profiled", "recording", "report_cost", "Tensor",
    "tensor", "tensor_parameters", "TensorLike", "trace", "wrap",
]
# fmt: on
