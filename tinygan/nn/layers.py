"""Layers: each holds its parameters and says in one line of ops what it does.

Images are (N, H, W, C). `rng` (a numpy.random.Generator) draws the initial weights; without one they are
different each time. A layer called with `weight=` uses that Tensor instead of its own weight, and Linear so too with
`bias=`: layers that scale the weight of another (SpectralNorm, Equalized) do so.
"""

import math

import numpy as np

from tinygan import ops
from tinygan.autograd import Parameter, Tensor, as_tensors, described, wrap
from tinygan.backend import from_host

from . import init as initial
from .module import Module


def _parameter(init, rng, shape, fan_in):
    """init: a function of (rng, shape, fan_in), see init.py."""
    return Parameter(init(np.random.default_rng() if rng is None else rng, shape, fan_in))


def _kernel(size):
    return (size, size) if isinstance(size, int) else tuple(size)


class Linear(Module):
    """x (..., in) -> x @ weight + bias (..., out). weight (in, out), bias (out,)."""

    def __init__(self, inputs, outputs, bias=True, *, rng=None, init=initial.uniform_fan_in):
        self.weight = _parameter(init, rng, (inputs, outputs), inputs)
        self.bias = _parameter(initial.uniform_fan_in, rng, (outputs,), inputs) if bias else None

    def forward(self, x, weight=None, bias=None):
        return ops.affine(
            x, self.weight if weight is None else weight, self.bias if bias is None else bias
        )


class Embedding(Module):
    """indices (integer array of any shape) -> rows of weight (count, size): (*indices.shape, size).

    Given a floating array (..., count) instead, mixtures of the rows: what lies between two classes.
    """

    def __init__(self, count, size, *, rng=None, init=initial.normal(1.0)):
        self.weight = _parameter(init, rng, (count, size), count)

    def forward(self, indices, weight=None):
        weight = self.weight if weight is None else weight
        if isinstance(indices, Tensor):  # which Module makes of floating arrays
            return ops.matmul(indices, weight)
        return ops.embedding(weight, indices)


class Conv2d(Module):
    """Cross-correlation: x (N, H, W, in) -> (N, OH, OW, out). weight (kh, kw, in/groups, out), bias (out,).

    kernel_size, stride, padding: an int or a pair (rows, columns). OH = (H + 2 padding - kh) // stride + 1.
    """

    def __init__(
        self,
        inputs,
        outputs,
        kernel_size,
        stride=1,
        padding=0,
        groups=1,
        bias=True,
        *,
        rng=None,
        init=initial.uniform_fan_in,
    ):
        kernel = _kernel(kernel_size)
        fan_in = math.prod(kernel) * inputs // groups
        self.stride, self.padding, self.groups = stride, padding, groups
        self.weight = _parameter(init, rng, (*kernel, inputs // groups, outputs), fan_in)
        self.bias = _parameter(initial.uniform_fan_in, rng, (outputs,), fan_in) if bias else None

    def forward(self, x, weight=None):
        weight = self.weight if weight is None else weight
        return ops.conv2d(x, weight, self.stride, self.padding, self.groups, self.bias)


class ConvTranspose2d(Module):
    """The adjoint of Conv2d(out, in, ...): x (N, H, W, in) -> (N, OH, OW, out), and a bias.

    weight (kh, kw, out/groups, in) is that of the convolution which is transposed.
    OH = (H - 1) stride - 2 padding + kh + output_padding.
    """

    def __init__(
        self,
        inputs,
        outputs,
        kernel_size,
        stride=1,
        padding=0,
        output_padding=0,
        groups=1,
        bias=True,
        *,
        rng=None,
        init=initial.uniform_fan_in,
    ):
        kernel = _kernel(kernel_size)
        fan_in = math.prod(kernel) * inputs // groups
        self.stride, self.padding, self.output_padding, self.groups = (
            stride,
            padding,
            output_padding,
            groups,
        )
        self.weight = _parameter(init, rng, (*kernel, outputs // groups, inputs), fan_in)
        self.bias = _parameter(initial.uniform_fan_in, rng, (outputs,), fan_in) if bias else None

    def forward(self, x, weight=None):
        weight = self.weight if weight is None else weight
        return ops.conv_transpose2d(
            x, weight, self.stride, self.padding, self.output_padding, self.groups, self.bias
        )


class Maxout(Module):
    """The maximum over `pieces` linear maps: (N, in) -> (N, out) (Goodfellow et al. 2013)."""

    def __init__(self, inputs, outputs, pieces=5, *, rng=None, init=initial.uniform_fan_in):
        self.linear = Linear(inputs, outputs * pieces, rng=rng, init=init)
        self.pieces = pieces

    def forward(self, x):
        y = self.linear(self.expect_shape(x, "N", self.linear.weight.shape[0]))
        return ops.max(y.reshape(y.shape[0], -1, self.pieces), axis=2)


class Dropout(Module):
    """In training, zero each value with probability `rate` and scale the rest by 1 / (1 - rate).

    Draws come from `rng`, which is kept: a run whose generator is restored draws the same again.
    """

    def __init__(self, rate, *, rng):
        if not 0 <= rate < 1:
            raise ValueError(f"Dropout: rate must lie in [0, 1), not {rate}")
        self.rate, self.rng = rate, rng

    def forward(self, x):
        (x,) = as_tensors("Dropout", (x,))
        if not self.training or not self.rate:
            return x
        shape, dtype = x.shape, x.dtype

        def mask():
            keep = self.rng.random(shape, dtype=np.float32) >= self.rate
            return (keep / (1 - self.rate)).astype(dtype)

        return x * wrap(from_host(mask))


class AvgPool2d(Module):
    """The mean over squares of `size` pixels: (N, H, W, C) -> (N, H / size, W / size, C)."""

    def __init__(self, size):
        self.size = size

    def forward(self, x):
        return ops.avg_pool2d(x, self.size)


class Blur(Module):
    """Each channel filtered with [1, 2, 1] / 4 along rows and columns, against aliasing (Karras et al. 2019)."""

    def forward(self, x):
        return ops.upfirdn2d(x, (0.25, 0.5, 0.25), padding=1)


class Flatten(Module):
    """(N, ...) -> (N, everything else)."""

    def forward(self, x):
        (x,) = as_tensors("Flatten", (x,))
        if not x.ndim:
            raise self.argument_error(f"takes (N, ...), got {described(x)}")
        return ops.reshape(x, (x.shape[0], math.prod(x.shape[1:])))


class Reshape(Module):
    """(N, ...) -> (N, *shape)."""

    def __init__(self, *shape):
        self.shape = shape

    def forward(self, x):
        (x,) = as_tensors("Reshape", (x,))
        if not x.ndim or math.prod(x.shape[1:]) != math.prod(self.shape):
            raise self.argument_error(
                f"takes {math.prod(self.shape)} values an image, got {described(x)}"
            )
        return ops.reshape(x, (x.shape[0], *self.shape))


class LeakyReLU(Module):
    """x where x > 0, else slope * x."""

    def __init__(self, slope=0.2):
        self.slope = slope

    def forward(self, x):
        return ops.leaky_relu(x, self.slope)


class ReLU(Module):
    def forward(self, x):
        return ops.relu(x)


class Tanh(Module):
    def forward(self, x):
        return ops.tanh(x)


class Sigmoid(Module):
    def forward(self, x):
        return ops.sigmoid(x)


class SiLU(Module):
    def forward(self, x):
        return ops.silu(x)


class Softplus(Module):
    def forward(self, x):
        return ops.softplus(x)
