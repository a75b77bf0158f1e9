"""DCGAN, StyleGAN2 and R3GAN in PyTorch, as a PyTorch user would write them: NCHW images, PyTorch's
own layers where it has them, and the original forms of the equations (a convolution for each image
with its own modulated weights; resampling by inserted zeros and a filter). Only the names of the
modules are those of tinygan's networks, so that `load_state_dict` finds the weights.

Nothing here is shared with tinygan: test_torch_twins.py compares both.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

# ---- DCGAN ----


class ConditionalBatchNorm(nn.BatchNorm2d):
    """Batch-norm with a gain, 1 + gain[label], and a shift, bias[label]."""

    def __init__(self, channels, classes):
        super().__init__(channels, affine=False)
        del self.bias  # a Parameter, here None
        self.gain, self.bias = nn.Embedding(classes, channels), nn.Embedding(classes, channels)

    def forward(self, x, labels):
        mean, var = self.running_mean[:, None, None], self.running_var[:, None, None]
        gain, bias = (part(labels)[:, :, None, None] for part in (self.gain, self.bias))
        return (1 + gain) * (x - mean) / torch.sqrt(var + self.eps) + bias


class DCGANGenerator(nn.Module):
    def __init__(self, latent, smallest, widths, channels, classes=None):
        super().__init__()
        norm = lambda c: ConditionalBatchNorm(c, classes) if classes else nn.BatchNorm2d(c)
        layers = [nn.ConvTranspose2d(latent, widths[0], smallest, bias=False)]
        layers += [norm(widths[0]), nn.ReLU()]
        for a, b in zip(widths, widths[1:]):
            layers += [nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False), norm(b), nn.ReLU()]
        layers += [nn.ConvTranspose2d(widths[-1], channels, 4, 2, 1, bias=False), nn.Tanh()]
        self.main = nn.Sequential(*layers)

    def forward(self, z, labels=None):
        x = z[:, :, None, None]
        for layer in self.main:
            x = layer(x, labels) if isinstance(layer, ConditionalBatchNorm) else layer(x)
        return x


class DCGANDiscriminator(nn.Module):
    def __init__(self, smallest, widths, channels):
        super().__init__()
        layers = [nn.Conv2d(channels, widths[0], 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
        for a, b in zip(widths, widths[1:]):
            layers += [nn.Conv2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.LeakyReLU(0.2)]
        self.main = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, smallest, bias=False))

    def features(self, x):
        return self.main[:-1](x)

    def forward(self, x):
        return self.main(x).flatten()


class AuxiliaryClassifier(nn.Module):
    """(logits, class logits), both from D's last feature map."""

    def __init__(self, D, features, classes):
        super().__init__()
        self.D, self.classify = D, nn.Linear(features, classes)

    def forward(self, x):
        features = self.D.features(x)
        return self.D.main[-1](features).flatten(), self.classify(features.flatten(1))


# ---- StyleGAN2 ----

FIR = torch.tensor([1.0, 3.0, 3.0, 1.0])
FIR = torch.outer(FIR, FIR) / 64


def parameter(*shape):
    return nn.Parameter(torch.randn(shape))


def filtered(x, pad, gain=1.0):
    """Filter every channel with FIR (which is symmetric). pad: zeros on the left and top, and on
    the right and bottom."""
    n, channels, height, width = x.shape
    x = F.pad(x.reshape(n * channels, 1, height, width), (*pad, *pad))
    x = F.conv2d(x, gain * FIR[None, None])
    return x.reshape(n, channels, *x.shape[2:])


def upsample(x):
    n, channels, height, width = x.shape
    stuffed = x.new_zeros(n, channels, 2 * height, 2 * width)
    stuffed[:, :, ::2, ::2] = x
    return filtered(stuffed, (2, 1), gain=4.0)


def conv(x, weight, up=False, down=False, groups=1):
    """Convolve images x with weight (out, in, k, k), and double or halve their size."""
    k = weight.shape[2]
    if up and k == 1:
        return upsample(F.conv2d(x, weight, groups=groups))
    if up:  # conv_transpose2d has its weight as (in, out, k, k)
        grouped = weight.reshape(groups, -1, *weight.shape[1:]).transpose(1, 2)
        transposed = grouped.reshape(-1, *grouped.shape[2:])
        return filtered(F.conv_transpose2d(x, transposed, stride=2, groups=groups), (1, 1), 4.0)
    if down:
        x = filtered(x, (k // 2 + 1, k // 2 + 1))
        return F.conv2d(x, weight, stride=2, groups=groups)
    return F.conv2d(x, weight, padding=k // 2, groups=groups)


class EqualLinear(nn.Module):
    def __init__(self, inputs, outputs, rate=1.0):
        super().__init__()
        self.weight, self.bias = parameter(outputs, inputs), parameter(outputs)
        self.rate, self.scale = rate, rate / math.sqrt(inputs)

    def forward(self, x):
        return F.linear(x, self.weight * self.scale, self.bias * self.rate)


class EqualConv(nn.Module):
    def __init__(self, inputs, outputs, k, gain=1.0, **resampling):
        super().__init__()
        self.weight, self.scale = parameter(outputs, inputs, k, k), gain / math.sqrt(inputs * k * k)
        self.resampling = resampling

    def forward(self, x):
        return conv(x, self.weight * self.scale, **self.resampling)


def leaky(x, gain=2**0.5):
    return F.leaky_relu(x, 0.2) * gain


class Mapping(nn.Module):
    def __init__(self, latent, size, layers, classes, rate):
        super().__init__()
        self.embedding = nn.Embedding(classes, size) if classes else None
        widths = [latent + (size if classes else 0)] + [size] * layers
        self.layers = nn.ModuleList(EqualLinear(a, b, rate) for a, b in zip(widths, widths[1:]))

    def forward(self, z, labels=None):
        parts = [z] + ([self.embedding(labels)] if self.embedding else [])
        x = torch.cat([p / torch.sqrt((p**2).mean(1, keepdim=True) + 1e-8) for p in parts], 1)
        for layer in self.layers:
            x = leaky(layer(x))
        return x


class ModulatedConv(nn.Module):
    """A convolution for each image: of weight * style, divided by its norm if `demodulate`."""

    def __init__(self, inputs, outputs, k, up=False, demodulate=True):
        super().__init__()
        self.weight = parameter(outputs, inputs, k, k)
        self.up, self.demodulate = up, demodulate

    def forward(self, x, style):
        n, inputs, height, width = x.shape
        weight = self.weight[None] * style[:, None, :, None, None]
        if self.demodulate:
            weight = weight / torch.sqrt((weight**2).sum((2, 3, 4), keepdim=True) + 1e-8)
        else:
            weight = weight / math.sqrt(self.weight[0].numel())
        x = conv(x.reshape(1, n * inputs, height, width), weight.flatten(0, 1), self.up, groups=n)
        return x.reshape(n, -1, *x.shape[2:])


class Noise(nn.Module):
    def __init__(self, height, width):
        super().__init__()
        self.strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("fixed", torch.randn(height, width))

    def forward(self, x):
        return x + self.strength * self.fixed


class Activation(nn.Module):
    def __init__(self, channels, height, width):
        super().__init__()
        self.noise, self.bias = Noise(height, width), parameter(channels)

    def forward(self, x):
        return leaky(self.noise(x) + self.bias[:, None, None])


class StyledConv(nn.Module):
    def __init__(self, inputs, outputs, height, width, style, up=False):
        super().__init__()
        self.style = EqualLinear(style, inputs)
        self.conv = ModulatedConv(inputs, outputs, 3, up)
        self.activation = Activation(outputs, height, width)

    def forward(self, x, w):
        return self.activation(self.conv(x, self.style(w)))


class ToImage(nn.Module):
    def __init__(self, inputs, channels, style):
        super().__init__()
        self.style, self.bias = EqualLinear(style, inputs), parameter(channels)
        self.conv = ModulatedConv(inputs, channels, 1, demodulate=False)

    def forward(self, x, w):
        return self.conv(x, self.style(w)) + self.bias[:, None, None]


class StyleGAN2Generator(nn.Module):
    """start: (height, width) of the first map. widths: channels of each size. psi: of the
    truncation trick."""

    def __init__(self, latent, style, start, widths, channels, layers, classes, rate, psi=1.0):
        super().__init__()
        self.psi = psi
        self.mapping = Mapping(latent, style, layers, classes, rate)
        self.register_buffer("w_average", torch.zeros(style))
        self.constant = parameter(widths[0], *start)
        self.blocks, before = nn.ModuleList(), widths[0]
        for i, width in enumerate(widths):
            size = start[0] << i, start[1] << i
            first = [StyledConv(before, width, *size, style, up=True)] if i else []
            self.blocks.append(nn.ModuleList([*first, StyledConv(width, width, *size, style)]))
            before = width
        self.to_image = nn.ModuleList(ToImage(n, channels, style) for n in widths)

    def forward(self, z, labels=None):
        w = self.w_average + self.psi * (self.mapping(z, labels) - self.w_average)
        x, image = self.constant.expand(len(z), -1, -1, -1), None
        for block, to_image in zip(self.blocks, self.to_image):
            for layer in block:
                x = layer(x, w)
            image = to_image(x, w) if image is None else upsample(image) + to_image(x, w)
        return image


class Layer(nn.Module):
    def __init__(self, inputs, outputs, k, gain=2**0.5, **resampling):
        super().__init__()
        self.conv = EqualConv(inputs, outputs, k, **resampling)
        self.bias, self.gain = parameter(outputs), gain

    def forward(self, x):
        return leaky(self.conv(x) + self.bias[:, None, None], self.gain)


class MinibatchStddev(nn.Module):
    def forward(self, x):
        n, channels, height, width = x.shape
        groups = x.reshape(min(4, n), -1, channels, height, width)
        deviation = torch.sqrt(groups.var(0, unbiased=False) + 1e-8).mean((1, 2, 3))
        deviation = deviation.repeat(min(4, n))[:, None, None, None]
        return torch.cat([x, deviation.expand(n, 1, height, width)], 1)


class StyleGAN2Discriminator(nn.Module):
    def __init__(self, start, widths, channels):
        super().__init__()
        half, top = 0.5**0.5, widths[0]
        self.from_image = nn.ModuleList([Layer(channels, widths[-1], 1)])
        pairs = list(zip(widths, widths[1:]))
        self.blocks = nn.ModuleList(
            nn.Sequential(Layer(b, b, 3), Layer(b, a, 3, 2**0.5 * half, down=True))
            for a, b in pairs
        )
        self.shortcuts = nn.ModuleList(EqualConv(b, a, 1, half, down=True) for a, b in pairs)
        self.last = nn.Sequential(MinibatchStddev(), Layer(top + 1, top, 3), nn.Flatten())
        self.hidden, self.to_logit = EqualLinear(math.prod(start) * top, top), EqualLinear(top, 1)

    def features(self, x):
        x = self.from_image[0](x)
        for block, shortcut in zip(reversed(self.blocks), reversed(self.shortcuts)):
            x = block(x) + shortcut(x)
        return leaky(self.hidden(self.last(x)))

    def forward(self, x):
        return self.to_logit(self.features(x)).flatten()


class Projection(nn.Module):
    """D's logit plus the product of its features and an embedding of the class."""

    def __init__(self, D, features, classes):
        super().__init__()
        self.D, self.embedding = D, nn.Embedding(classes, features)

    def forward(self, x, labels):
        features = self.D.features(x)
        match = (self.embedding(labels) * features).sum(1)
        return self.D.to_logit(features).flatten() + match


# ---- R3GAN ----


class BiasedActivation(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.bias = parameter(channels)

    def forward(self, x):
        return F.leaky_relu(x + self.bias[:, None, None], 0.2)


class GroupedBlock(nn.Module):
    def __init__(self, channels, groups):
        super().__init__()
        inner = 2 * channels
        self.expand = nn.Conv2d(channels, inner, 1, bias=False)
        self.mix = nn.Conv2d(inner, inner, 3, padding=1, groups=groups, bias=False)
        self.reduce = nn.Conv2d(inner, channels, 1, bias=False)
        self.activate1, self.activate2 = BiasedActivation(inner), BiasedActivation(inner)

    def forward(self, x):
        return x + self.reduce(self.activate2(self.mix(self.activate1(self.expand(x)))))


class Resample(nn.Module):
    def __init__(self, inputs, outputs, up):
        super().__init__()
        self.up, self.same = up, inputs == outputs
        if not self.same:
            self.conv = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x):
        x = x if self.same else self.conv(x)  # it commutes with the filter
        return upsample(x) if self.up else filtered(x, (1, 1))[:, :, ::2, ::2]


def r3gan_body(stages, up):
    layers = []
    for i, (width, blocks, groups) in enumerate(stages):
        layers += [Resample(stages[i - 1][0], width, up)] if i else []
        layers += [GroupedBlock(width, groups) for _ in range(blocks)]
    return nn.Sequential(*layers)


class Basis(nn.Module):
    def __init__(self, inputs, channels, size):
        super().__init__()
        self.maps, self.linear = parameter(channels, *size), nn.Linear(inputs, channels, bias=False)

    def forward(self, x):
        return self.maps * self.linear(x)[:, :, None, None]


class R3GANGenerator(nn.Module):
    """start: (height, width) of the first map. stages: as in tinygan."""

    def __init__(self, latent, start, channels, stages, classes=None, embedding=0):
        super().__init__()
        self.basis = Basis(latent + embedding, stages[0][0], start)
        self.body = r3gan_body(stages, True)
        self.to_image = nn.Conv2d(stages[-1][0], channels, 1, bias=False)
        self.embedding = nn.Embedding(classes, embedding) if classes else None

    def forward(self, z, labels=None):
        z = z if labels is None else torch.cat([z, self.embedding(labels)], 1)
        return self.to_image(self.body(self.basis(z)))


class R3GANDiscriminator(nn.Module):
    def __init__(self, start, channels, stages, classes=None, embedding=1):
        super().__init__()
        top = stages[0][0]
        self.from_image = nn.Conv2d(channels, stages[-1][0], 1, bias=False)
        self.body = r3gan_body(stages[::-1], False)
        self.basis = nn.Sequential(nn.Conv2d(top, top, start, groups=top, bias=False), nn.Flatten())
        self.to_logit = nn.Linear(top, embedding, bias=False)
        self.embedding = nn.Embedding(classes, embedding) if classes else None

    def forward(self, x, labels=None):
        y = self.to_logit(self.basis(self.body(self.from_image(x))))
        return (y if labels is None else y * self.embedding(labels)).sum(1)
