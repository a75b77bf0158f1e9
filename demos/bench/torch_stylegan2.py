"""StyleGAN2's networks in PyTorch for the benchmark, built from the operations that are fastest in
PyTorch."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from tinygan.ops.styled import FIR

from .workloads import Fixed


class Convolution(torch.autograd.Function):
    """A convolution, or a transposed one, whose second derivatives are as fast as its first ones.

    PyTorch computes second derivatives, which gradient penalties need, by convolutions with windows
    as large as images, one for each channel. Here, only the gradient of the image has a graph,
    because a penalty needs no other. It is a convolution again, with the usual gradients.
    """

    @staticmethod
    def forward(ctx, x, weight, bias, stride, padding, transposed, missing, groups):
        """missing: the rows that a transposed convolution adds at the end (output_padding)."""
        ctx.save_for_backward(x, weight)
        ctx.bias_shape = None if bias is None else bias.shape
        ctx.settings = (stride,), (padding,), (1,), transposed, (missing,), groups
        return torch.convolution(x, weight, bias, *ctx.settings)

    @staticmethod
    def backward(ctx, g):
        x, weight = ctx.saved_tensors
        if torch.is_grad_enabled():
            (stride,), (padding,), _, transposed, _, groups = ctx.settings
            side = (g.shape[2] - 1) * stride - 2 * padding + weight.shape[2]
            missing = 0 if transposed else x.shape[2] - side
            gradients = (
                Convolution.apply(
                    g, weight, None, stride, padding, not transposed, missing, groups
                ),
                None,
                None,
            )
        else:
            gradients = torch.ops.aten.convolution_backward(
                g, x, weight, ctx.bias_shape, *ctx.settings, ctx.needs_input_grad[:3]
            )
        return *gradients, *[None] * 5


class TwiceDifferentiable(TorchFunctionMode):
    """A context in which all convolutions are computed by `Convolution`."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function not in (F.conv2d, F.conv_transpose2d):
            return function(*args, **(kwargs or {}))

        def convolve(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
            stride, padding = (n[0] if isinstance(n, tuple) else n for n in (stride, padding))
            return Convolution.apply(
                x, weight, bias, stride, padding, function is F.conv_transpose2d, 0, groups
            )

        return convolve(*args, **(kwargs or {}))


class Resample(nn.Module):
    """upfirdn2d by a separable filter. The fastest way in PyTorch is one convolution per
    channel."""

    def __init__(self, channels, gain=1.0, stride=1, padding=1, up=False):
        super().__init__()
        f = torch.tensor(FIR, dtype=torch.float32)
        self.register_buffer("f", (torch.outer(f, f) * gain).expand(channels, 1, 4, 4).contiguous())
        self.convolve = F.conv_transpose2d if up else F.conv2d
        self.settings = {"stride": stride, "padding": padding, "groups": channels}

    def forward(self, x):
        return self.convolve(x, self.f, **self.settings)


# Layers with equalised weights. gain: the gain of the activation, which can be applied before it,
# as leaky_relu(x) * a = leaky_relu(x * a).


class Dense(nn.Module):
    def __init__(self, inputs, outputs, gain=1.0, rate=1.0, bias=0.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias))
        self.bias_scale, self.scale = rate * gain, rate * gain * inputs**-0.5

    def forward(self, x):
        return torch.addmm(self.bias, x, self.weight.T, beta=self.bias_scale, alpha=self.scale)


class Conv(nn.Module):
    def __init__(self, inputs, outputs, kernel_size, gain, stride=1, padding=0, bias=True):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel_size, kernel_size))
        self.gain, self.scale = gain, gain * (kernel_size**2 * inputs) ** -0.5
        self.stride, self.padding = stride, padding

    def forward(self, x):
        bias = None if self.bias is None else self.bias * self.gain
        return F.conv2d(x, self.weight * self.scale, bias, self.stride, self.padding)


class Kernel(nn.Module):
    """The weight of a modulated convolution."""

    def __init__(self, inputs, outputs, size):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size))


class Activation(nn.Module):
    def __init__(self, channels, size):
        super().__init__()
        self.bias, self.strength = (
            nn.Parameter(torch.zeros(channels)),
            nn.Parameter(torch.tensor(0.1)),
        )
        self.register_buffer(
            "noise",
            torch.from_numpy(Fixed().standard_normal((size, size))).to(torch.get_default_device()),
        )

    def forward(self, x, scale, noise=None):
        """Return leaky_relu(x * scale + noise + bias) * sqrt(2), where scale (N, C) already
        contains the factor sqrt(2). noise: (N, 1, H, W), or None for the constant noise."""
        scale, format = scale[:, :, None, None], format_of(x)
        # The sum inherits the memory format of its first term.
        if noise is None:
            shift = (self.noise * self.strength + self.bias[:, None, None]) * 2**0.5
            x = torch.addcmul(shift[None].contiguous(memory_format=format), x, scale)
        else:
            x = torch.addcmul((self.bias * 2**0.5)[:, None, None], x, scale)
            x = x.add_(noise * (self.strength * 2**0.5))
        return F.leaky_relu_(x, 0.2)


class Styled(nn.Module):
    """A modulated 3x3 convolution, noise, bias and leaky relu."""

    def __init__(self, inputs, outputs, size, style, up=False):
        super().__init__()
        self.style = Dense(style, inputs, bias=1.0)
        self.conv, self.activation = Kernel(inputs, outputs, 3), Activation(outputs, size)
        self.blur = Resample(outputs, 4.0) if up else None

    def forward(self, x, w, noise=None):
        style, weight = self.style(w), self.conv.weight
        x = x * style[:, :, None, None]
        if self.blur:
            x = self.blur(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2))
        else:
            x = F.conv2d(x, weight, padding=1)
        variance = style.square() @ weight.square().sum((2, 3)).T + 1e-8
        return self.activation(x, (variance / 2).rsqrt(), noise)


class ToImage(nn.Module):
    """The layer that makes an image of one channel: one matrix product per image, whose gradient
    has the memory format of x."""

    def __init__(self, channels, style):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))
        self.style, self.conv = (
            Dense(style, channels, channels**-0.5, bias=1.0),
            Kernel(channels, 1, 1),
        )

    def forward(self, x, w):
        weight = self.style(w) * self.conv.weight.flatten()
        if format_of(x) == torch.contiguous_format:
            image = weight[:, None] @ x.flatten(2)
        else:
            image = x.permute(0, 2, 3, 1).flatten(1, 2) @ weight[:, :, None]
        return image.view(len(x), 1, *x.shape[2:]) + self.bias


def format_of(x):
    return torch.contiguous_format if x.is_contiguous() else torch.channels_last


class Mapping(nn.Module):
    """z and labels -> w. Without classes, it takes no labels."""

    def __init__(self, latent, style, layers, rate, classes=None):
        super().__init__()
        self.embedding = nn.Embedding(classes, style) if classes else None
        widths = [latent + style * bool(classes)] + [style] * layers
        self.layers = nn.ModuleList(Dense(a, b, 2**0.5, rate) for a, b in zip(widths, widths[1:]))

    def forward(self, z, labels=None):
        w = normalized(z)
        if self.embedding is not None:
            w = torch.cat([w, normalized(self.embedding(labels))], 1)
        for layer in self.layers:
            w = F.leaky_relu_(layer(w), 0.2)
        return w


def normalized(x):
    return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


class SkipGenerator(nn.Module):
    """widths: the channels at 4x4, 8x8, ... noise_sizes: the side of each layer's noise."""

    def __init__(self, latent, widths, style, layers, rate=0.01, classes=None):
        super().__init__()
        self.constant = nn.Parameter(torch.randn(widths[0], 4, 4))
        self.mapping = Mapping(latent, style, layers, rate, classes)
        self.register_buffer("w_average", torch.zeros(style))
        first = Styled(widths[0], widths[0], 4, style)
        self.blocks = nn.ModuleList([nn.ModuleList([first])])
        for i, (a, b) in enumerate(zip(widths, widths[1:])):
            up = Styled(a, b, 8 << i, style, up=True)
            self.blocks.append(nn.ModuleList([up, Styled(b, b, 8 << i, style)]))
        self.to_image = nn.ModuleList(ToImage(channels, style) for channels in widths)
        self.up = Resample(1, 4.0, stride=2, up=True)
        self.noise_sizes = [4 << i for i, block in enumerate(self.blocks) for _ in block]

    def styles(self, z, labels=None):
        """Return the styles (N, layers + 1, style) for latents z: one for each layer, and one for
        the last image."""
        w = self.mapping(z, labels)
        if self.training:
            self.w_average.lerp_(w.detach().mean(0), 0.005)
        return w[:, None].expand(-1, 2 * len(self.blocks), -1)

    def synthesis(self, ws, noises=None):
        """noises: a tensor (N, 1, H, W) for each layer, or None for constant noise."""
        ws, noises = ws.unbind(1), noises or [None] * len(self.noise_sizes)
        x, image, used = self.constant.expand(len(ws[0]), -1, -1, -1), None, 0
        for block, to_image in zip(self.blocks, self.to_image):
            for layer in block:
                x = layer(x, ws[used], noises[used])
                used += 1
            part = to_image(x, ws[used])
            image = part if image is None else self.up(image) + part
        return image

    def forward(self, z, labels=None, noises=None):
        return self.synthesis(self.styles(z, labels), noises)


class ResidualDiscriminator(nn.Module):
    """widths: the channels at 4x4, 8x8, ..."""

    def __init__(self, widths, format, group=4):
        super().__init__()
        top, pairs, root = widths[0], list(zip(widths, widths[1:])), 2**0.5
        self.from_image = Conv(1, widths[-1], 1, root)
        self.convs = nn.ModuleList(
            conv
            for a, b in pairs
            for conv in (Conv(b, b, 3, root, padding=1), Conv(b, a, 3, 1.0, stride=2))
        )
        self.shortcuts = nn.ModuleList(Conv(b, a, 1, 1 / root, bias=False) for a, b in pairs)
        self.last = Conv(top + 1, top, 3, root, padding=1)
        self.hidden, self.to_logit = Dense(16 * top, top, root), Dense(top, 1)
        self.blurs = nn.ModuleList(Resample(b, padding=2) for _, b in pairs)
        self.downs = nn.ModuleList(Resample(b, stride=2) for _, b in pairs)
        self.format, self.group = format, group

    def features(self, image):
        if self.format == torch.channels_last:
            # An image with one channel has both formats: give it the strides of channels-last.
            image = image.view(*image.shape[::2], -1, 1).permute(0, 3, 1, 2)
        x = F.leaky_relu_(self.from_image(image), 0.2)
        for i in reversed(range(len(self.shortcuts))):
            y = F.leaky_relu_(self.convs[2 * i](x), 0.2)
            y = F.leaky_relu_(self.convs[2 * i + 1](self.blurs[i](y)), 0.2)
            # both weights contain the factor sqrt(1/2)
            x = y + self.shortcuts[i](self.downs[i](x))
        x = F.leaky_relu_(self.last(self.with_deviation(x)), 0.2)
        return F.leaky_relu_(self.hidden(x.permute(0, 2, 3, 1).flatten(1)), 0.2)

    def score(self, features):
        return self.to_logit(features).flatten()

    def forward(self, image):
        return self.score(self.features(image))

    def with_deviation(self, x):
        members = x.unflatten(0, (min(self.group, len(x)), -1))
        deviation = ((members - members.mean(0)).square().mean(0) + 1e-8).sqrt().mean((1, 2, 3))
        return torch.cat(
            [x, deviation.repeat(len(members)).view(-1, 1, 1, 1).expand(-1, 1, *x.shape[2:])], 1
        )
