"""The residual blocks of SNGAN (Miyato et al. 2018), of the projection discriminator, and of BigGAN
(Brock et al. 2019).

A 1x1 convolution commutes with a change of resolution. The shortcuts therefore convolve at the
lower resolution, which costs a quarter.
"""

from collections.abc import Callable

from tinygan import ops
from tinygan.autograd import Tensor

from .layers import Conv2d
from .module import Module


class UpBlock(Module):
    """(N, H, W, inputs) -> (N, 2H, 2W, outputs), the sum of two paths:

        residual  norm, relu, upsample, 3x3, norm, relu, 3x3
        shortcut  1x1, upsample

    norm(channels) and conv(inputs, outputs, kernel_size, padding=0) make the layers; a norm may be
    conditional. upsample: an op that doubles the height and width of images, or None to keep the
    size; the shortcut is then the input itself if inputs == outputs.
    """

    conditional = True

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        norm: Callable[[int], Module],
        conv: Callable[..., Module] = Conv2d,
        upsample: Callable[..., Tensor] | None = ops.upsample_nearest,
    ) -> None:
        self.norm1, self.norm2 = norm(inputs), norm(outputs)
        self.conv1, self.conv2 = (conv(n, outputs, 3, padding=1) for n in (inputs, outputs))
        self.shortcut = conv(inputs, outputs, 1) if inputs != outputs or upsample else None
        self.upsample = upsample or (lambda x: x)

    def forward(self, x, condition=None):
        shortcut = x if self.shortcut is None else self.shortcut(x)
        x = self.conv1(self.upsample(_norm_relu(self.norm1, x, condition)))
        x = self.conv2(_norm_relu(self.norm2, x, condition))
        return x + self.upsample(shortcut)


def _norm_relu(norm, x, condition):
    return ops.relu(norm(x, condition) if norm.conditional else norm(x))


class DownBlock(Module):
    """(N, H, W, inputs) -> (N, H/2, W/2, outputs), the sum of two paths:

        residual  relu, 3x3, relu, 3x3, average pool
        shortcut  average pool, 1x1

    conv(inputs, outputs, kernel_size, padding=0) makes the layers. downsample: False keeps the
    size; the shortcut is then the input itself if inputs == outputs. first: True omits the first
    relu, for a block whose input is the image. relu_shortcut: True if relu(x) is the input of the
    shortcut, as in PyTorch ports with an in-place relu.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        conv: Callable[..., Module] = Conv2d,
        downsample: bool = True,
        first: bool = False,
        relu_shortcut: bool = False,
    ) -> None:
        self.conv1, self.conv2 = (conv(n, outputs, 3, padding=1) for n in (inputs, outputs))
        self.shortcut = conv(inputs, outputs, 1) if inputs != outputs or downsample else None
        self.pool = ops.avg_pool2d if downsample else lambda x: x
        self.first, self.relu_shortcut = first, relu_shortcut

    def forward(self, x):
        activated = x if self.first else ops.relu(x)
        shortcut = self.pool(activated if self.relu_shortcut else x)
        if self.shortcut is not None:
            shortcut = self.shortcut(shortcut)
        return self.pool(self.conv2(ops.relu(self.conv1(activated)))) + shortcut
