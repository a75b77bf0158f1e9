"""The residual blocks of SNGAN (Miyato et al. 2018), of the projection discriminator, of BigGAN
(Brock et al. 2019), and of R3GAN (Huang et al. 2024).

A 1x1 convolution commutes with a change of resolution. The shortcuts therefore convolve at the
lower resolution, which costs a quarter.
"""

from collections.abc import Callable, Sequence

import numpy as np

from tinygan import ops
from tinygan.autograd import Parameter, Tensor
from tinygan.backend import Rng, generator

from .init import fan_in_normal
from .layers import Conv2d
from .module import Module, Sequential


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


class GroupedBlock(Module):
    """R3GAN's block: x (N, H, W, channels) -> x + residual(x), without normalisation.

        residual  1x1 to twice the channels, bias, leaky relu (.2),
                  3x3 in `groups` groups, bias, leaky relu, 1x1 back to `channels`

    blocks: the number of blocks of the network. The weights are drawn from N(0, gain^2 / fan_in),
    where gain = sqrt(2 / 1.04) blocks^(-1/4), but 0 in the last convolution. So the blocks change
    nothing at first, and an update changes the output of a network of many blocks about as much as
    that of one block (Zhang et al. 2019, Fixup: the exponent is -1 / (2 m - 2) for m = 3
    convolutions in a block).
    """

    def __init__(
        self, channels: int, groups: int, blocks: int = 1, *, rng: Rng | None = None
    ) -> None:
        rng, inner, gain = generator(rng), 2 * channels, (2 / 1.04) ** 0.5 * blocks**-0.25
        self.expand = _conv(channels, inner, 1, gain, rng=rng)
        self.mix = _conv(inner, inner, 3, gain, padding=1, groups=groups, rng=rng)
        self.reduce = _conv(inner, channels, 1, 0.0, rng=rng)
        self.activate1, self.activate2 = Activation(inner), Activation(inner)

    def forward(self, x):
        y = self.activate1(self.expand(x))
        return x + self.reduce(self.activate2(self.mix(y)))


class Activation(Module):
    """x (..., channels) -> leaky relu (x + bias). The bias is 0 at first."""

    def __init__(self, channels: int) -> None:
        self.bias = Parameter(np.zeros(channels, np.float32))

    def forward(self, x):
        return ops.bias_act(x, self.bias, 0.2)


class Resample(Module):
    """(N, H, W, inputs) -> (N, 2H, 2W, outputs) if `up`, else (N, H/2, W/2, outputs), with
    StyleGAN2's filter: see `ops.upsample2d` and `ops.downsample2d`.

    At the lower of the two resolutions, a 1x1 convolution changes the number of channels, with
    weights drawn from N(0, 1 / inputs). There is none if inputs == outputs.
    """

    def __init__(self, inputs: int, outputs: int, up: bool, *, rng: Rng | None = None) -> None:
        self.conv = None if inputs == outputs else _conv(inputs, outputs, 1, rng=generator(rng))
        self.up = up

    def forward(self, x):
        x = x if self.up else ops.downsample2d(x)
        x = x if self.conv is None else self.conv(x)
        return ops.upsample2d(x) if self.up else x


def grouped_stages(stages: Sequence[tuple[int, int, int]], up: bool, rng: Rng) -> Sequential:
    """Return the body of a network of R3GAN: its blocks, and a `Resample` between two stages.

    stages: (channels, blocks, groups) of each size of the feature maps, in the order in which they
    are applied. up: whether the size doubles from one stage to the next; otherwise, it is halved.
    """
    layers: list[Module] = []
    total, inputs = sum(blocks for _, blocks, _ in stages), None
    for channels, blocks, groups in stages:
        layers += [] if inputs is None else [Resample(inputs, channels, up, rng=rng)]
        layers += [GroupedBlock(channels, groups, total, rng=rng) for _ in range(blocks)]
        inputs = channels
    return Sequential(*layers)


def _conv(inputs, outputs, kernel_size, gain=1.0, **settings):
    init = fan_in_normal(gain)
    return Conv2d(inputs, outputs, kernel_size, bias=False, init=init, **settings)
