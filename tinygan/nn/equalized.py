"""Equalised learning rate: weights of unit variance, which are scaled in the forward pass."""

import math

from tinygan.backend import Rng, generator

from .layers import ConvTranspose2d, as_pair
from .module import Module


class Equalized(Module):
    """A layer with a weight drawn from N(0, 1), which `forward` multiplies by gain / sqrt(fan_in).

    The size of an update of Adam does not depend on the size of the gradient. With weights of unit
    variance, Adam therefore changes all layers at the same relative speed (Karras et al. 2018,
    section 4.1).

    layer: any layer with a `weight`, a `bias` (or None) and forward(x, weight=...). Its weight is
    drawn anew from rng, and its bias is set to 0.
    gain: sqrt(2) before a rectifier, 1 without one.
    fan_in: the number of inputs that one output sums over (default: from the shape of the weight).
    For a ConvTranspose2d with stride s, the default is kh * kw * inputs / s^2, the mean over output
    pixels. (What the layer passes to its `init` does not count the stride.) If its input is a
    single pixel, pass the number of input channels.
    rate: the layer's learning rate relative to other layers (0.01 in StyleGAN's mapping). The
    weight is then drawn from N(0, 1/rate^2), and weight and bias are multiplied by rate in
    `forward`. A rate other than 1 needs a Linear, or a layer without bias.
    """

    def __init__(
        self,
        layer: Module,
        gain: float = 2**0.5,
        fan_in: float | None = None,
        rate: float = 1.0,
        *,
        rng: Rng,
    ) -> None:
        rng = generator(rng)
        self.layer, self.rate = layer, rate
        weight = layer.weight
        if fan_in is None and isinstance(layer, ConvTranspose2d):
            # its weight is (kh, kw, out/groups, in), that of the convolution that it transposes
            rows, columns = as_pair(layer.stride)
            fan_in = math.prod(weight.shape[:2]) * weight.shape[3] / (rows * columns)
        elif fan_in is None:
            fan_in = math.prod(weight.shape[:-1])
        self.scale = rate * gain / math.sqrt(fan_in)
        weight.assign(rng.standard_normal(weight.shape) / rate)
        if layer.bias is not None:
            layer.bias.assign(0.0 * layer.bias.data)

    def forward(self, x):
        scale_bias = self.rate != 1 and self.layer.bias is not None
        bias = {"bias": self.layer.bias * self.rate} if scale_bias else {}
        return self.layer(x, weight=self.layer.weight * self.scale, **bias)
