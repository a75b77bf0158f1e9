"""The autograd engine: Tensors, ops, gradients of any order, and the tools to check and inspect them."""

from .engine import as_tensors, backward, grad, no_grad, op, recording, tensor_parameters
from .gradcheck import GradientError, check_grads
from .inspect import anomaly, counted, profile, watched
from .refusal import REFUSED, described, refusal
from .tensor import Node, Parameter, Tensor, tensor, wrap
from .trace import trace
