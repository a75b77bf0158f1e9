"""The operators and methods of Tensor: each is an op under another spelling."""

import operator

from tinygan.autograd import Tensor

from . import bilinear, elementwise, linear, reduce


def _reflected(op):
    return lambda self, other: op(other, self)


for _name, _op in {
    "add": elementwise.add,
    "sub": elementwise.sub,
    "mul": elementwise.mul,
    "truediv": elementwise.div,
    "pow": elementwise.pow,
    "matmul": bilinear.matmul,
}.items():
    setattr(Tensor, f"__{_name}__", _op)
    setattr(Tensor, f"__r{_name}__", _reflected(_op))


def _compare(compare):
    def method(self, other):
        return compare(self.data, other.data if isinstance(other, Tensor) else other)

    method.__doc__ = "Elementwise comparison: a boolean array of the backend, not a Tensor."
    return method


for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(Tensor, f"__{_name}__", _compare(getattr(operator, _name)))


def _reshape(self, *shape):
    """reshape(2, -1) or reshape((2, -1))."""
    return linear.reshape(
        self, tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
    )


def _transpose(self, *axes):
    """transpose(), transpose(0, 2, 1) or transpose((0, 2, 1))."""
    if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (tuple, list))):
        axes = axes[0]
    return linear.transpose(self, tuple(axes) if axes else None)


Tensor.sum_to = lambda self, shape: linear.broadcast_to.adjoint(
    self, shape, shape=self.shape
)  # undoes broadcasting
Tensor.__neg__ = elementwise.neg
Tensor.__pos__ = lambda self: self
Tensor.__abs__ = elementwise.abs
Tensor.__getitem__ = linear.getitem
Tensor.reshape = _reshape
Tensor.transpose = _transpose
Tensor.T = property(linear.transpose, doc="All axes reversed.")
for _module, _names in (
    (linear, "sum mean flip"),
    (reduce, "var max min softmax log_softmax logsumexp norm"),
    (elementwise, "exp log sqrt square abs tanh sigmoid softplus relu leaky_relu clip"),
):
    for _name in _names.split():
        setattr(Tensor, _name, getattr(_module, _name))
