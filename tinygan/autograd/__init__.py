"""The autograd engine: Tensors, ops, gradients of any order, and the tools to check and inspect them."""

from .engine import alias, backward, fused, grad, no_grad, op, recording
from .gradcheck import GradientError, check_grads
from .inspect import anomaly, profile, trace
from .tensor import Node, Parameter, Tensor, tensor, wrap
