"""Self-attention between the positions of a feature map."""

from collections.abc import Callable

from tinygan import ops
from tinygan.autograd import Parameter, described
from tinygan.backend import xp

from .layers import Conv2d
from .module import Module


class SelfAttention(Module):
    """x (N, H, W, C) -> x + gamma * o(attention): every position gathers features from all others
    (Zhang et al. 2019, SAGAN).

    Queries theta and keys phi have C/8 channels, values g have C/2. Keys and values are max-pooled
    to half the height and width, as in BigGAN's code; H and W must be even. gamma is a scalar that
    starts at 0. conv(inputs, outputs, kernel_size, bias=...) makes the 1x1 layers.
    """

    def __init__(self, channels: int, conv: Callable[..., Module] = Conv2d) -> None:
        self.channels = channels
        self.theta, self.phi = (conv(channels, channels // 8, 1, bias=False) for _ in range(2))
        self.g = conv(channels, channels // 2, 1, bias=False)
        self.o = conv(channels // 2, channels, 1, bias=False)
        self.gamma = Parameter(xp.zeros((), "float32"))

    def forward(self, x):
        n, height, width, channels = self.expect_shape(x, "N", "H", "W", self.channels).shape
        if height % 2 or width % 2:
            raise self.argument_error(
                f"takes feature maps of even height and width, got {described(x)}"
            )
        queries = self.theta(x).reshape(n, height * width, channels // 8)
        keys = ops.max_pool2d(self.phi(x)).reshape(n, height * width // 4, channels // 8)
        values = ops.max_pool2d(self.g(x)).reshape(n, height * width // 4, channels // 2)
        weights = ops.softmax(ops.matmul(queries, keys.transpose((0, 2, 1))))
        attention = ops.matmul(weights, values).reshape(n, height, width, channels // 2)
        return x + self.gamma * self.o(attention)
