"""Equalised learning rate: weights of unit variance, scaled when they are used."""

import math

from .layers import ConvTranspose2d
from .module import Module


class Equalized(Module):
    """A Linear, Conv2d or ConvTranspose2d whose weight, drawn from N(0, 1), is multiplied by gain / sqrt(fan_in).

    An optimiser such as Adam, whose steps do not depend on the size of the gradient, then changes all layers at the
    same relative speed (Karras et al. 2018, section 4.1). gain: sqrt(2) before a rectifier, 1 without one. fan_in is
    the number of inputs that one output sums over: of a transposed convolution with stride s, about 1/s^2 of its
    kernel, and of one whose input is a single pixel, its channels: give that one. rate: learns at so many times the
    other layers' rate (StyleGAN's mapping: 0.01); the weight is then drawn from N(0, 1/rate^2), and what is used of it,
    and of the bias, is so many times smaller. layer: its weight is drawn anew from rng, its bias starts at 0.
    """

    def __init__(self, layer, gain=2**0.5, fan_in=None, rate=1.0, *, rng):
        self.layer, self.rate = layer, rate
        weight = layer.weight
        if fan_in is None and isinstance(
            layer, ConvTranspose2d
        ):  # holds the weight of what it transposes
            rows, columns = (layer.stride,) * 2 if isinstance(layer.stride, int) else layer.stride
            fan_in = math.prod(weight.shape[:2]) * weight.shape[3] / (rows * columns)
        elif fan_in is None:
            fan_in = math.prod(weight.shape[:-1])
        self.scale = rate * gain / math.sqrt(fan_in)
        weight.assign(rng.standard_normal(weight.shape) / rate)
        if layer.bias is not None:
            layer.bias.assign(0.0 * layer.bias.data)

    def forward(self, x):
        bias = (
            {}
            if self.rate == 1 or self.layer.bias is None
            else {"bias": self.layer.bias * self.rate}
        )
        return self.layer(x, weight=self.layer.weight * self.scale, **bias)
