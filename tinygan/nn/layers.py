"""The common layers: each holds its parameters, and its `forward` is a line of ops.

Images are (N, H, W, C). `rng`, a NumPy generator or a seed for one, draws the initial weights;
without it they differ from run to run. `init`, a function from init.py, draws the weight; a bias is
drawn by `uniform_fan_in`.

`forward(x, weight=w)` uses w instead of the layer's own weight, and Linear takes `bias=` likewise.
Layers that scale the weight of another layer (SpectralNorm, Equalized) need that.
"""

import math

import numpy as np

from tinygan import ops
from tinygan.autograd import Parameter, Tensor, as_tensors, described, wrap
from tinygan.backend import Rng, from_host, generator
from tinygan.ops.bilinear import as_pair

from . import init as initial
from .module import Module


def _parameter(init, rng, shape, fan_in):
    """A Parameter with initial values init(rng, shape, fan_in)."""
    return Parameter(init(rng, shape, fan_in))


class Linear(Module):
    """x (..., in) -> x @ weight + bias (..., out). weight (in, out), bias (out,)."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        bias: bool = True,
        *,
        rng: Rng | None = None,
        init: initial.Init = initial.uniform_fan_in,
    ) -> None:
        rng = generator(rng)
        self.weight = _parameter(init, rng, (inputs, outputs), inputs)
        self.bias = _parameter(initial.uniform_fan_in, rng, (outputs,), inputs) if bias else None

    def forward(self, x, weight=None, bias=None):
        return ops.affine(
            x, self.weight if weight is None else weight, self.bias if bias is None else bias
        )


class Embedding(Module):
    """Integer indices (...) -> rows (..., size) of weight (count, size).

    A floating-point array (..., count) instead of indices gives mixtures of rows, to interpolate
    between classes.
    """

    def __init__(
        self,
        count: int,
        size: int,
        *,
        rng: Rng | None = None,
        init: initial.Init = initial.normal(1.0),
    ) -> None:
        self.weight = _parameter(init, generator(rng), (count, size), count)

    def forward(self, indices, weight=None):
        weight = self.weight if weight is None else weight
        if isinstance(indices, Tensor):  # mixtures: Module made the Tensor of a floating array
            return ops.matmul(indices, weight)
        return ops.embedding(weight, indices)


class Conv2d(Module):
    """Cross-correlation: x (N, H, W, in) -> (N, OH, OW, out).

    weight (kh, kw, in/groups, out), bias (out,). kernel_size, stride and padding are ints or pairs
    (rows, columns). OH = (H + 2 padding - kh) // stride + 1.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        groups: int = 1,
        bias: bool = True,
        *,
        rng: Rng | None = None,
        init: initial.Init = initial.uniform_fan_in,
    ) -> None:
        rng = generator(rng)
        window = as_pair(kernel_size)
        fan_in = math.prod(window) * inputs // groups
        self.stride, self.padding, self.groups = stride, padding, groups
        self.weight = _parameter(init, rng, (*window, inputs // groups, outputs), fan_in)
        self.bias = _parameter(initial.uniform_fan_in, rng, (outputs,), fan_in) if bias else None

    def forward(self, x, weight=None):
        weight = self.weight if weight is None else weight
        return ops.conv2d(x, weight, self.stride, self.padding, self.groups, self.bias)


class ConvTranspose2d(Module):
    """Transposed convolution, the adjoint of Conv2d(out, in, ...), plus a bias:
    x (N, H, W, in) -> (N, OH, OW, out).

    weight (kh, kw, out/groups, in) is the weight of that Conv2d; bias (out,).
    OH = (H - 1) stride - 2 padding + kh + output_padding.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        output_padding: int | tuple[int, int] = 0,
        groups: int = 1,
        bias: bool = True,
        *,
        rng: Rng | None = None,
        init: initial.Init = initial.uniform_fan_in,
    ) -> None:
        rng = generator(rng)
        window = as_pair(kernel_size)
        fan_in = math.prod(window) * inputs // groups
        self.stride, self.padding, self.groups = stride, padding, groups
        self.output_padding = output_padding
        self.weight = _parameter(init, rng, (*window, outputs // groups, inputs), fan_in)
        self.bias = _parameter(initial.uniform_fan_in, rng, (outputs,), fan_in) if bias else None

    def forward(self, x, weight=None):
        weight = self.weight if weight is None else weight
        return ops.conv_transpose2d(
            x, weight, self.stride, self.padding, self.output_padding, self.groups, self.bias
        )


class Maxout(Module):
    """The maximum of `pieces` linear maps: (N, in) -> (N, out) (Goodfellow et al. 2013)."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        pieces: int = 5,
        *,
        rng: Rng | None = None,
        init: initial.Init = initial.uniform_fan_in,
    ) -> None:
        self.linear = Linear(inputs, outputs * pieces, rng=rng, init=init)
        self.pieces = pieces

    def forward(self, x):
        y = self.linear(self.expect_shape(x, "N", self.linear.weight.shape[0]))
        return ops.max(y.reshape(y.shape[0], -1, self.pieces), axis=2)


class Dropout(Module):
    """In training, set each value to 0 with probability `rate` and scale the others by
    1 / (1 - rate).

    The layer keeps `rng` and draws from it in every forward pass. A run that restores the state of
    its generator repeats the draws. Raises ValueError unless 0 <= rate < 1.
    """

    def __init__(self, rate: float, *, rng: Rng) -> None:
        if not 0 <= rate < 1:
            raise ValueError(f"Dropout: rate must lie in [0, 1), not {rate}")
        self.rate, self.rng = rate, generator(rng)

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
    """The mean over windows of size x size pixels: (N, H, W, C) -> (N, H / size, W / size, C)."""

    def __init__(self, size: int) -> None:
        self.size = size

    def forward(self, x):
        return ops.avg_pool2d(x, self.size)


class Blur(Module):
    """Filter each channel with [1, 2, 1] / 4 along rows and columns, against aliasing (Karras et
    al. 2019)."""

    def forward(self, x):
        return ops.upfirdn2d(x, (0.25, 0.5, 0.25), padding=1)


class Flatten(Module):
    """(N, ...) -> (N, F), where F is the number of values of one sample."""

    def forward(self, x):
        (x,) = as_tensors("Flatten", (x,))
        if not x.ndim:
            raise self.argument_error(f"takes (N, ...), got {described(x)}")
        return ops.reshape(x, (x.shape[0], math.prod(x.shape[1:])))


class Reshape(Module):
    """(N, ...) -> (N, *shape)."""

    def __init__(self, *shape: int) -> None:
        self.shape = shape

    def forward(self, x):
        (x,) = as_tensors("Reshape", (x,))
        if not x.ndim or math.prod(x.shape[1:]) != math.prod(self.shape):
            raise self.argument_error(
                f"takes {math.prod(self.shape)} values per sample, got {described(x)}"
            )
        return ops.reshape(x, (x.shape[0], *self.shape))


class LeakyReLU(Module):
    """x where x > 0, else slope * x."""

    def __init__(self, slope: float = 0.2) -> None:
        self.slope = slope

    def forward(self, x):
        return ops.leaky_relu(x, self.slope)


class ReLU(Module):
    """max(x, 0)."""

    def forward(self, x):
        return ops.relu(x)


class Tanh(Module):
    """tanh(x), in [-1, 1]."""

    def forward(self, x):
        return ops.tanh(x)


class Sigmoid(Module):
    """1 / (1 + exp(-x))."""

    def forward(self, x):
        return ops.sigmoid(x)


class SiLU(Module):
    """x * sigmoid(x)."""

    def forward(self, x):
        return ops.silu(x)


class Softplus(Module):
    """log(1 + exp(x))."""

    def forward(self, x):
        return ops.softplus(x)


class GELU(Module):
    """x * Phi(x), where Phi is the distribution function of standard normal numbers."""

    def forward(self, x):
        return ops.gelu(x)
