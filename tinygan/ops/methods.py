"""The operators and methods of Tensor: other spellings of ops."""

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
        """Compare elementwise: a boolean array of the backend in use, not a Tensor."""
        return compare(self.data, other.data if isinstance(other, Tensor) else other)

    return method


for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(Tensor, f"__{_name}__", _compare(getattr(operator, _name)))


def _reshape(self, *shape):
    """Call it as reshape(2, -1) or reshape((2, -1))."""
    shape = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
    return linear.reshape(self, tuple(shape))


def _transpose(self, *axes):
    """Call it as transpose(), transpose(0, 2, 1) or transpose((0, 2, 1))."""
    if len(axes) == 2 and (self.ndim != 2 or axes in ((0, 1), (-2, -1), (0, -1), (-2, 1))):
        raise ValueError(
            f"transpose{axes} lists all axes in their new order, as in NumPy: write "
            f"x.swapaxes{axes} to exchange two"
        )
    axes = axes[0] if len(axes) == 1 and isinstance(axes[0], (tuple, list, type(None))) else axes
    return linear.transpose(self, tuple(axes) if axes else None)


# The adjoint of broadcasting: x summed to `shape`.
Tensor.sum_to = lambda x, shape: linear.broadcast_to.adjoint(x, shape, shape=x.shape)
Tensor.__neg__ = elementwise.neg
Tensor.__pos__ = lambda self: self
Tensor.__abs__ = elementwise.abs
Tensor.__getitem__ = linear.getitem
Tensor.reshape = _reshape
Tensor.transpose = _transpose
Tensor.T = property(linear.transpose, doc="All axes reversed.")
for _module, _names in (
    (linear, "sum mean cumsum flip flatten squeeze swapaxes"),
    (reduce, "var std prod max min argmax argmin softmax log_softmax logsumexp norm"),
    (elementwise, "exp log sin cos sqrt square abs tanh sigmoid softplus relu leaky_relu clip"),
):
    for _name in _names.split():
        setattr(Tensor, _name, getattr(_module, _name))
