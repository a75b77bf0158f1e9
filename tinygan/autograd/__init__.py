"""The autograd engine: Tensors, ops, gradients of any order; tools to check and inspect them.

Read engine.py and tensor.py first: they are the idea. checks.py refuses what does not fit;
gradcheck.py holds derivatives against differences; inspect.py (anomaly, profile), trace.py and
drawing.py look inside.
"""

from .checks import REFUSED, as_tensors, described, op_error, tensor_parameters
from .engine import backward, grad, no_grad, op, recording
from .gradcheck import GradientError, check_grads
from .inspect import anomaly, profile, profiled, report_cost
from .tensor import Node, Parameter, Tensor, tensor, wrap
from .trace import trace

# fmt: off
__all__ = [
    "anomaly", "as_tensors", "backward", "check_grads", "described", "grad", "GradientError",
    "no_grad", "Node", "op", "op_error", "Parameter", "profile", "profiled", "recording",
    "REFUSED", "report_cost", "Tensor", "tensor", "tensor_parameters", "trace", "wrap",
]
# fmt: on
