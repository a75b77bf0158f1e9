"""The residual blocks of SNGAN (Miyato et al. 2018), the projection discriminator, and BigGAN (Brock et al. 2019).

A 1x1 convolution and a change of resolution commute, so the shortcuts convolve at the lower resolution, where that
costs a quarter.
"""

from tinygan import ops

from .layers import Conv2d
from .module import Module


class UpBlock(Module):
    """(N, H, W, inputs) -> (N, 2H, 2W, outputs):  norm, relu, upsample, 3x3, norm, relu, 3x3;  plus  1x1, upsample.

    conv(inputs, outputs, kernel_size, padding=0) and norm(channels) make the layers; a norm may be conditional.
    upsample: an op from images to images of twice the size, or None for a block that keeps the size (its shortcut
    is then the input itself, if it has as many channels).
    """

    conditional = True

    def __init__(self, inputs, outputs, *, norm, conv=Conv2d, upsample=ops.upsample_nearest):
        self.norm1, self.norm2 = norm(inputs), norm(outputs)
        self.conv1, self.conv2 = (
            conv(inputs, outputs, 3, padding=1),
            conv(outputs, outputs, 3, padding=1),
        )
        self.shortcut = conv(inputs, outputs, 1) if inputs != outputs or upsample else None
        self.upsample = upsample or (lambda x: x)

    def forward(self, x, condition=None):
        shortcut = x if self.shortcut is None else self.shortcut(x)
        x = self.conv1(self.upsample(_relu_norm(self.norm1, x, condition)))
        x = self.conv2(_relu_norm(self.norm2, x, condition))
        return x + self.upsample(shortcut)


def _relu_norm(norm, x, condition):
    return ops.relu(norm(x, condition) if norm.conditional else norm(x))


class DownBlock(Module):
    """(N, H, W, inputs) -> (N, H/2, W/2, outputs):  relu, 3x3, relu, 3x3, average pool;  plus  pool, 1x1.

    conv(inputs, outputs, kernel_size, padding=0) makes the layers. downsample: False keeps the size (and the
    shortcut is the input itself, if it has as many channels). first: for a block whose input is the image, which
    starts without a relu. relu_shortcut: the shortcut sees relu(x), as in PyTorch ports with an in-place relu.
    """

    def __init__(
        self, inputs, outputs, *, conv=Conv2d, downsample=True, first=False, relu_shortcut=False
    ):
        self.conv1, self.conv2 = (
            conv(inputs, outputs, 3, padding=1),
            conv(outputs, outputs, 3, padding=1),
        )
        self.shortcut = conv(inputs, outputs, 1) if inputs != outputs or downsample else None
        self.pool = ops.avg_pool2d if downsample else lambda x: x
        self.first, self.relu_shortcut = first, relu_shortcut

    def forward(self, x):
        activated = x if self.first else ops.relu(x)
        shortcut = self.pool(activated if self.relu_shortcut else x)
        if self.shortcut is not None:
            shortcut = self.shortcut(shortcut)
        return self.pool(self.conv2(ops.relu(self.conv1(activated)))) + shortcut
