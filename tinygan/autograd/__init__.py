"""The autograd engine: Tensors, ops, gradients of any order; tools to check and inspect them.

Read engine.py and tensor.py first: they are the idea. checks.py refuses what does not fit;
gradcheck.py holds derivatives against differences; inspect.py (anomaly, profile), trace.py and
drawing.py look inside.
"""

from .checks import REFUSED, as_tensors, described, refusal, tensor_parameters
from .engine import backward, grad, no_grad, op, recording
from .gradcheck import GradientError, check_grads
from .inspect import anomaly, counted, profile, watched
from .tensor import Node, Parameter, Tensor, tensor, wrap
from .trace import trace
