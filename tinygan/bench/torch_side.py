"""The workloads in PyTorch, written to be fast there: gradients only of what is asked for, Adam fused.

`channels_last` chooses the memory format of images and weights; the bench takes whichever is faster.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from tinygan.ops.styled import FIR

from .workloads import BETAS, GP_WEIGHT, LAZY, LR, PATH_LAZY, PATH_WEIGHT, R1_GAMMA, Batches, Fixed, Job

FORMATS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}


def version():
    return f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads"


def make(name, batch_size, image_size, variant):
    """The Job of this workload. variant: a key of FORMATS."""
    format = FORMATS[variant]
    return JOBS[name](TorchBatches(batch_size, image_size, format), image_size, format)


def load(networks, states):
    """Give the networks tinygan's weights. states: a list of arrays for each network, in order."""
    with torch.no_grad():
        for network, arrays in zip(networks, states, strict=True):
            for parameter, array in zip(network.parameters(), arrays, strict=True):
                array = torch.from_numpy(array)
                # HWIO -> OIHW, HWC -> CHW, (in, out) -> (out, in)
                axes = {4: (3, 2, 0, 1), 3: (2, 0, 1), 2: (1, 0), 1: (0,), 0: ()}[array.ndim]
                parameter.copy_(array.permute(axes))


class TorchBatches:
    def __init__(self, batch_size, image_size, format):
        source = Batches(batch_size, image_size)
        self.batches = [(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(memory_format=format),
                         torch.from_numpy(labels).long(), torch.from_numpy(z)) for images, labels, z in source.batches]

    def __call__(self):
        self.batches.append(self.batches.pop(0))
        return self.batches[-1]


def adam(network, lr=LR, betas=BETAS):
    parameters = list(network.parameters())
    optimizer = torch.optim.Adam(parameters, lr, betas, fused=True)

    def step(loss):
        # Unlike torch.autograd.grad, backward gives gradients the memory format of their weights: fused Adam pairs
        # them up as they lie in memory. R1 does not depend on the bias of the logit, which then stays as it is.
        optimizer.zero_grad()
        loss.backward(inputs=parameters)
        optimizer.step()

    return step


def gan_step(G, D, batches, penalty=None):
    g_step, d_step = adam(G), adam(D)

    def step():
        reals, _, z = batches()
        fakes = G(z)
        d_loss = F.softplus(-D(reals)).mean() + F.softplus(D(fakes.detach())).mean()
        if penalty:
            d_loss = d_loss + penalty(reals)
        d_step(d_loss)
        g_loss = F.softplus(-D(fakes)).mean()
        g_step(g_loss)
        return d_loss.item(), g_loss.item()

    return step


def squared_slopes(D, x):
    x = x.detach().requires_grad_()
    slope, = torch.autograd.grad(D(x).sum(), x, create_graph=True)
    return slope.square().sum((1, 2, 3))


def dcgan_generator(image_size):
    return nn.Sequential(
        nn.Unflatten(1, (100, 1, 1)),
        nn.ConvTranspose2d(100, 128, image_size // 4, bias=False), nn.BatchNorm2d(128), nn.ReLU(inplace=True),
        nn.ConvTranspose2d(128, 64, 4, 2, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True),
        nn.ConvTranspose2d(64, 1, 4, 2, 1, bias=False), nn.Tanh())


def dcgan(batches, image_size, format):
    G = dcgan_generator(image_size).to(memory_format=format)
    D = nn.Sequential(nn.Conv2d(1, 64, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True),
                      nn.Conv2d(64, 128, 4, 2, 1, bias=False), nn.BatchNorm2d(128), nn.LeakyReLU(0.2, inplace=True),
                      nn.Conv2d(128, 1, image_size // 4, bias=False)).to(memory_format=format)
    return Job([G, D], {"step": gan_step(G, D, batches)})


def dcgan_r1(batches, image_size, format):
    G = dcgan_generator(image_size).to(memory_format=format)
    D = nn.Sequential(nn.Conv2d(1, 64, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True), nn.Conv2d(64, 128, 4, 2, 1),
                      nn.LeakyReLU(0.2, inplace=True), nn.Conv2d(128, 1, image_size // 4)).to(memory_format=format)
    penalty = lambda reals: squared_slopes(D, reals).mean() * (R1_GAMMA / 2)
    return Job([G, D], {"step": gan_step(G, D, batches, penalty)})


def wgan_gp(batches, image_size, format):
    D = nn.Sequential(nn.Conv2d(1, 32, 3, 1, 1), nn.LeakyReLU(0.2, inplace=True), nn.Conv2d(32, 64, 3, 2, 1),
                      nn.LeakyReLU(0.2, inplace=True), nn.Conv2d(64, 128, 3, 2, 1), nn.LeakyReLU(0.2, inplace=True),
                      nn.Conv2d(128, 1, image_size // 4)).to(memory_format=format)
    d_step = adam(D, LR, (0.0, 0.9))
    share = np.random.default_rng(1).random((len(batches.batches[0][0]), 1, 1, 1), dtype=np.float32)
    share = torch.from_numpy(share)

    def step():
        reals, _, _ = batches()
        fakes = reals.flip(0, 2)
        length = squared_slopes(D, share * reals + (1 - share) * fakes).sqrt()
        loss = D(fakes).mean() - D(reals).mean() + GP_WEIGHT * (length - 1).square().mean()
        d_step(loss)
        return loss.item(),

    return Job([D], {"step": step})


class Convolution(torch.autograd.Function):
    """A convolution, or a transposed one, whose second derivatives, for penalties on slopes, are as fast as its first.

    PyTorch makes them of convolutions whose kernels are as large as images, and of one for each channel. Here, gradients
    that have a graph are those of the image only, as slopes need no others: convolutions again, with gradients as usual.
    """

    @staticmethod
    def forward(ctx, x, weight, bias, stride, padding, transposed, missing, groups):
        """missing: the rows that a transposed one adds at the end (output_padding)."""
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
            gradients = Convolution.apply(g, weight, None, stride, padding, not transposed, missing, groups), None, None
        else:
            gradients = torch.ops.aten.convolution_backward(g, x, weight, ctx.bias_shape, *ctx.settings,
                                                            ctx.needs_input_grad[:3])
        return *gradients, *[None] * 5


class TwiceDifferentiable(TorchFunctionMode):
    """As a context: convolutions made within are those of `Convolution`."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function not in (F.conv2d, F.conv_transpose2d):
            return function(*args, **(kwargs or {}))

        def convolve(x, weight, bias=None, stride=1, padding=0, *, groups=1):
            return Convolution.apply(x, weight, bias, stride, padding, function is F.conv_transpose2d, 0, groups)

        return convolve(*args, **(kwargs or {}))


class Resample(nn.Module):
    """upfirdn2d by a separable filter: the fastest of the forms that PyTorch offers is a convolution a channel."""

    def __init__(self, channels, gain=1.0, stride=1, padding=1, up=False):
        super().__init__()
        f = torch.tensor(FIR, dtype=torch.float32)
        self.register_buffer("f", (torch.outer(f, f) * gain).expand(channels, 1, 4, 4).contiguous())
        self.convolve = F.conv_transpose2d if up else F.conv2d
        self.settings = {"stride": stride, "padding": padding, "groups": channels}

    def forward(self, x):
        return self.convolve(x, self.f, **self.settings)


# Layers with equalised weights. gain: a later one moved forward, as leaky_relu(x) * a = leaky_relu(x * a).


class Dense(nn.Module):
    def __init__(self, inputs, outputs, gain=1.0, rate=1.0, bias=0.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias))
        self.bias_scale, self.scale = rate * gain, rate * gain * inputs ** -0.5

    def forward(self, x):
        return torch.addmm(self.bias, x, self.weight.T, beta=self.bias_scale, alpha=self.scale)


class Conv(nn.Module):
    def __init__(self, inputs, outputs, kernel_size, gain, stride=1, padding=0, bias=True):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel_size, kernel_size))
        self.gain, self.scale = gain, gain * (kernel_size ** 2 * inputs) ** -0.5
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
        self.bias, self.strength = nn.Parameter(torch.zeros(channels)), nn.Parameter(torch.tensor(0.1))
        self.register_buffer("noise", torch.from_numpy(Fixed().standard_normal((size, size))))

    def forward(self, x, scale):
        """leaky_relu(x * scale + noise + bias) * sqrt(2); the root is a part of scale (N, C) already."""
        shift = (self.noise * self.strength + self.bias[:, None, None]) * 2 ** 0.5
        shift = shift[None].contiguous(memory_format=format_of(x))  # which the sum inherits
        return F.leaky_relu_(torch.addcmul(shift, x, scale[:, :, None, None]), 0.2)


class Styled(nn.Module):
    """A modulated 3x3 convolution, noise, bias and leaky relu."""

    def __init__(self, channels, size, style, up=False):
        super().__init__()
        self.style = Dense(style, channels, bias=1.0)
        self.conv, self.activation = Kernel(channels, channels, 3), Activation(channels, size)
        self.blur = Resample(channels, 4.0) if up else None

    def forward(self, x, w):
        style, weight = self.style(w), self.conv.weight
        x = x * style[:, :, None, None]
        if self.blur:
            x = self.blur(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2))
        else:
            x = F.conv2d(x, weight, padding=1)
        variance = style.square() @ weight.square().sum((2, 3)).T + 1e-8
        return self.activation(x, (variance / 2).rsqrt())


class ToImage(nn.Module):
    """One channel: a product of matrices for each image, whose gradient has the memory format of x."""

    def __init__(self, channels, style):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))
        self.style, self.conv = Dense(style, channels, channels ** -0.5, bias=1.0), Kernel(channels, 1, 1)

    def forward(self, x, w):
        weight = self.style(w) * self.conv.weight.flatten()
        if format_of(x) == torch.contiguous_format:
            image = weight[:, None] @ x.flatten(2)
        else:
            image = x.permute(0, 2, 3, 1).flatten(1, 2) @ weight[:, :, None]
        return image.view(len(x), 1, *x.shape[2:]) + self.bias


def format_of(x):
    return torch.contiguous_format if x.is_contiguous() else torch.channels_last


class SkipGenerator(nn.Module):
    def __init__(self, latent, size, channels, style, layers):
        super().__init__()
        self.constant = nn.Parameter(torch.randn(channels, 4, 4))
        self.mapping = nn.ModuleList(Dense(style if i else latent, style, 2 ** 0.5, 0.01) for i in range(layers))
        sizes = [4 << i for i in range(size.bit_length() - 2)]
        self.blocks = nn.ModuleList([nn.ModuleList([Styled(channels, 4, style)])])
        self.blocks += [nn.ModuleList(Styled(channels, size, style, up) for up in (True, False)) for size in sizes[1:]]
        self.to_image = nn.ModuleList(ToImage(channels, style) for _ in sizes)
        self.up = Resample(1, 4.0, stride=2, up=True)

    def styles(self, z):
        """z -> one style for each layer and the last image (N, layers + 1, style)."""
        w = z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()
        for layer in self.mapping:
            w = F.leaky_relu_(layer(w), 0.2)
        return w[:, None].expand(-1, 2 * len(self.blocks), -1)

    def synthesis(self, ws):
        ws = ws.unbind(1)
        x, image, used = self.constant.expand(len(ws[0]), -1, -1, -1), None, 0
        for block, to_image in zip(self.blocks, self.to_image):
            for layer in block:
                x = layer(x, ws[used])
                used += 1
            part = to_image(x, ws[used])
            image = part if image is None else self.up(image) + part
        return image

    def forward(self, z):
        return self.synthesis(self.styles(z))


class ResidualDiscriminator(nn.Module):
    def __init__(self, size, channels, format, group=4):
        super().__init__()
        blocks, root = range(size.bit_length() - 3), 2 ** 0.5
        self.from_image = Conv(1, channels, 1, root)
        self.convs = nn.ModuleList(conv for _ in blocks for conv in (
            Conv(channels, channels, 3, root, padding=1), Conv(channels, channels, 3, 1.0, stride=2)))
        self.shortcuts = nn.ModuleList(Conv(channels, channels, 1, 1 / root, bias=False) for _ in blocks)
        self.last = Conv(channels + 1, channels, 3, root, padding=1)
        self.hidden, self.to_logit = Dense(16 * channels, channels, root), Dense(channels, 1)
        self.blur, self.down = Resample(channels, padding=2), Resample(channels, stride=2)
        self.format, self.group = format, group

    def forward(self, image):
        if self.format == torch.channels_last:  # with one channel, an image has both formats: let its strides tell
            image = image.view(*image.shape[::2], -1, 1).permute(0, 3, 1, 2)
        x = F.leaky_relu_(self.from_image(image), 0.2)
        for i in reversed(range(len(self.shortcuts))):
            y = F.leaky_relu_(self.convs[2 * i](x), 0.2)
            y = F.leaky_relu_(self.convs[2 * i + 1](self.blur(y)), 0.2)
            x = y + self.shortcuts[i](self.down(x))  # the root of a half is in their weights
        x = F.leaky_relu_(self.last(self.with_deviation(x)), 0.2)
        x = F.leaky_relu_(self.hidden(x.permute(0, 2, 3, 1).flatten(1)), 0.2)
        return self.to_logit(x).flatten()

    def with_deviation(self, x):
        members = x.unflatten(0, (min(self.group, len(x)), -1))
        deviation = ((members - members.mean(0)).square().mean(0) + 1e-8).sqrt().mean((1, 2, 3))
        return torch.cat([x, deviation.repeat(len(members)).view(-1, 1, 1, 1).expand(-1, 1, *x.shape[2:])], 1)


def stylegan2(batches, image_size, format):
    G = SkipGenerator(100, image_size, 64, 64, 4).to(memory_format=format)
    D = ResidualDiscriminator(image_size, 64, format).to(memory_format=format)
    g_step, d_step = (adam(network, LR, (0.0, 0.99)) for network in (G, D))
    half = -(-len(batches.batches[0][0]) // 2)
    noise = torch.from_numpy(Fixed().standard_normal((half, 1, image_size, image_size))) / image_size
    average = torch.zeros(())

    def path():
        nonlocal average
        _, _, z = batches()
        ws = G.styles(z[:half])
        with TwiceDifferentiable():
            images = G.synthesis(ws)
        slope, = torch.autograd.grad((images * noise).sum(), ws, create_graph=True)
        lengths = slope.square().sum(2).mean(1).sqrt()
        new = average.lerp(lengths.mean(), 0.01)
        average = new.detach()
        loss = (lengths - new).square().mean() * (PATH_WEIGHT * PATH_LAZY)
        g_step(loss)
        return loss.item(),

    def r1():
        with TwiceDifferentiable():
            loss = squared_slopes(D, batches()[0]).mean() * (R1_GAMMA / 2 * LAZY)
        d_step(loss)
        return loss.item(),

    return Job([G, D], {"step": gan_step(G, D, batches), "path": path, "r1": r1})


def lenet(batches, image_size, format):
    net = nn.Sequential(nn.Conv2d(1, 6, 5, 1, 2), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5),
                        nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(16, 120, image_size // 4 - 2),
                        nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(120, 84), nn.ReLU(inplace=True),
                        nn.Linear(84, 10)).to(memory_format=format)
    net_step = adam(net, 1e-3, (0.9, 0.999))

    def step():
        images, labels, _ = batches()
        loss = F.cross_entropy(net(images), labels)
        net_step(loss)
        return loss.item(),

    return Job([net], {"step": step})


def mlp(batches, image_size, format):
    pixels = image_size * image_size
    G = nn.Sequential(nn.Linear(100, 256), nn.ReLU(inplace=True), nn.Linear(256, 256), nn.ReLU(inplace=True),
                      nn.Linear(256, pixels), nn.Tanh(), nn.Unflatten(1, (1, image_size, image_size)))
    D = nn.Sequential(nn.Flatten(), nn.Linear(pixels, 256), nn.LeakyReLU(0.2, inplace=True), nn.Linear(256, 256),
                      nn.LeakyReLU(0.2, inplace=True), nn.Linear(256, 1))
    return Job([G, D], {"step": gan_step(G, D, batches)})


JOBS = {"dcgan": dcgan, "dcgan-r1": dcgan_r1, "wgan-gp": wgan_gp, "stylegan2": stylegan2, "lenet": lenet, "mlp": mlp}
