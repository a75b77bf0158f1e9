"""The workloads in PyTorch, written to be fast there: gradients only of what is asked for, Adam fused.

`channels_last` chooses the memory format of images and weights; the bench takes whichever is faster.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from .workloads import BETAS, GP_WEIGHT, LAZY, LR, PATH_LAZY, PATH_WEIGHT, R1_GAMMA, Batches, Fixed, Job
from tinygan.ops.styled import FIR

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
                axes = {4: (3, 2, 0, 1), 3: (2, 0, 1), 2: (1, 0), 1: (0,), 0: ()}[array.ndim]  # HWIO -> OIHW, HWC -> CHW, ...
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
    with Twice():
        logits = D(x)
    slope, = torch.autograd.grad(logits.sum(), x, create_graph=True)
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
    """torch.convolution without dilation, with a second derivative for penalties on slopes that is as fast as the first.

    PyTorch's own makes convolutions with kernels as large as images of it, or one for each group. Here, gradients with
    a graph are those of the image alone: the slopes; and these, convolutions again, have gradients as usual.
    """

    @staticmethod
    def forward(ctx, x, weight, bias, stride, padding, transposed, output_padding, groups):
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        ctx.settings = stride, padding, transposed, output_padding, groups
        return torch.convolution(x, weight, bias, stride, padding, (1, 1), transposed, output_padding, groups)

    @staticmethod
    def backward(ctx, g):
        x, weight = ctx.saved_tensors
        stride, padding, transposed, output_padding, groups = ctx.settings
        if torch.is_grad_enabled():
            smallest = [(n - 1) * s - 2 * p + k for n, s, p, k in zip(g.shape[2:], stride, padding, weight.shape[2:])]
            missing = (0, 0) if transposed else [n - m for n, m in zip(x.shape[2:], smallest)]
            return Convolution.apply(g, weight, None, stride, padding, not transposed, missing, groups), *[None] * 7
        gradients = torch.ops.aten.convolution_backward(
            g, x, weight, [weight.shape[0]] if ctx.has_bias else None, stride, padding, (1, 1), transposed,
            output_padding, groups, ctx.needs_input_grad[:3])
        return *gradients, *[None] * 5


class Twice(TorchFunctionMode):
    """Within it, convolutions are those of the class Convolution."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function not in (F.conv2d, F.conv_transpose2d):
            return function(*args, **(kwargs or {}))
        def convolve(x, weight, bias=None, stride=1, padding=0, output_padding=0, dilation=1, groups=1):
            stride, padding, output_padding = (
                (n, n) if isinstance(n, int) else n for n in (stride, padding, output_padding))
            return Convolution.apply(x, weight, bias, stride, padding, function is F.conv_transpose2d, output_padding, groups)
        if function is F.conv2d:
            full = convolve
            convolve = lambda x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1: full(x, weight, bias, stride, padding, 0, dilation, groups)
        return convolve(*args, **(kwargs or {}))


class Resample(nn.Module):
    """upfirdn2d by a separable filter: the fastest of the forms that PyTorch offers is a convolution a channel.

    change: "up" or "down" (with padding (2, 1) and 1), or an int: that padding, and no change of size.
    """

    def __init__(self, channels, change, gain=1.0):
        super().__init__()
        f = torch.tensor(FIR, dtype=torch.float32)
        self.register_buffer("f", (torch.outer(f, f) * gain).expand(channels, 1, 4, 4).contiguous())
        self.channels, self.change = channels, change

    def forward(self, x):
        if self.change == "up":
            return F.conv_transpose2d(x, self.f, stride=2, padding=1, groups=self.channels)
        if self.change == "down":
            return F.conv2d(x, self.f, stride=2, padding=1, groups=self.channels)
        return F.conv2d(x, self.f, padding=self.change, groups=self.channels)


class Dense(nn.Module):
    """Equalised, with weights N(0, 1 / rate^2); gain: of the output."""

    def __init__(self, inputs, outputs, gain=1.0, rate=1.0, bias=0.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias))
        self.scale, self.bias_scale = gain * rate * inputs ** -0.5, gain * rate

    def forward(self, x):
        return torch.addmm(self.bias, x, self.weight.T, beta=self.bias_scale, alpha=self.scale)


class Activation(nn.Module):
    def __init__(self, channels, size):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self.strength = nn.Parameter(torch.tensor(0.1))
        self.register_buffer("noise", torch.from_numpy(Fixed().standard_normal((size, size))))

    def forward(self, x, scale):
        """leaky_relu(x * scale + noise + bias) * sqrt(2), where the root is in scale."""
        shift = 2 ** 0.5 * (self.noise * self.strength + self.bias[:, None, None])
        return F.leaky_relu_(torch.addcmul(shift, x, scale[:, :, None, None]), 0.2)


class Styled(nn.Module):
    def __init__(self, channels, size, style, up=False):
        super().__init__()
        self.style = Dense(style, channels, bias=1.0)
        self.weight_ = nn.Conv2d(channels, channels, 3, bias=False)
        nn.init.normal_(self.weight_.weight)
        self.activation = Activation(channels, size)
        self.blur = Resample(channels, 1, 4.0) if up else None

    def forward(self, x, w):
        style, weight = self.style(w), self.weight_.weight
        x = x * style[:, :, None, None]
        if self.blur:
            x = self.blur(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2))
        else:
            x = F.conv2d(x, weight, padding=1)
        scale = ((style.square() @ weight.square().sum((2, 3)).T + 1e-8) * 0.5).rsqrt()
        return self.activation(x, scale)


class ToImage(nn.Module):
    def __init__(self, channels, style):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))
        self.style = Dense(style, channels, bias=1.0)
        self.conv = nn.Conv2d(channels, 1, 1, bias=False)
        nn.init.normal_(self.conv.weight)

    def forward(self, x, w):
        weight = self.style(w) * (self.conv.weight.flatten() * self.conv.in_channels ** -0.5)
        return (weight[:, None] @ x.flatten(2)).unflatten(2, x.shape[2:]) + self.bias


class StyleGenerator(nn.Module):
    def __init__(self, latent, size, channels, style, layers):
        super().__init__()
        self.constant = nn.Parameter(torch.randn(channels, 4, 4))
        self.mapping = nn.ModuleList(Dense(latent if i == 0 else style, style, 2 ** 0.5, 0.01) for i in range(layers))
        sizes = [4 << i for i in range(size.bit_length() - 2)]
        self.convs = nn.ModuleList([Styled(channels, 4, style)])
        for s in sizes[1:]:
            self.convs += [Styled(channels, s, style, up=True), Styled(channels, s, style)]
        self.to_image = nn.ModuleList(ToImage(channels, style) for _ in sizes)
        self.up_image = Resample(1, "up", 4.0)

    def styles(self, z):
        w = z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()
        for layer in self.mapping:
            w = F.leaky_relu_(layer(w), 0.2)
        return w[:, None].expand(-1, len(self.convs) + 1, -1)

    def synthesis(self, ws):
        w = ws.unbind(1)
        x = self.convs[0](self.constant.expand(len(ws), -1, -1, -1), w[0])
        image = self.to_image[0](x, w[1])
        for i in range(1, len(self.to_image)):
            a, b = self.convs[2 * i - 1:2 * i + 1]
            x = b(a(x, w[2 * i - 1]), w[2 * i])
            image = self.up_image(image) + self.to_image[i](x, w[2 * i + 1])
        return image

    def forward(self, z):
        return self.synthesis(self.styles(z))


class Conv(nn.Module):
    """Equalised; gain: of the output, the bias's too."""

    def __init__(self, inputs, outputs, kernel_size, gain, stride=1, padding=0, bias=True):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel_size, kernel_size))
        self.gain, self.scale = gain, gain * (kernel_size ** 2 * inputs) ** -0.5
        self.stride, self.padding = stride, padding

    def forward(self, x):
        bias = None if self.bias is None else self.bias * self.gain
        return F.conv2d(x, self.weight * self.scale, bias, self.stride, self.padding)


class ResidualDiscriminator(nn.Module):
    def __init__(self, size, channels, group=4):
        super().__init__()
        blocks, root = size.bit_length() - 3, 2 ** 0.5
        self.from_image = Conv(1, channels, 1, root)
        self.blocks = nn.ModuleList()
        for _ in range(blocks):
            self.blocks += [Conv(channels, channels, 3, root, padding=1), Conv(channels, channels, 3, 1.0, stride=2)]
        self.shortcuts = nn.ModuleList(Conv(channels, channels, 1, 1 / root, bias=False) for _ in range(blocks))
        self.last = Conv(channels + 1, channels, 3, root, padding=1)
        self.hidden = Dense(16 * channels, channels, root)
        self.to_logit = Dense(channels, 1)
        self.blur, self.down, self.group = Resample(channels, 2), Resample(channels, "down"), group

    def forward(self, image):
        x = F.leaky_relu_(self.from_image(image), 0.2)
        for i in reversed(range(len(self.shortcuts))):
            a, b = self.blocks[2 * i:2 * i + 2]
            y = self.blur(F.leaky_relu_(a(x), 0.2))
            x = F.leaky_relu_(b(y), 0.2) + self.shortcuts[i](self.down(x))
        n, _, h, w = x.shape
        group = min(self.group, n)
        deviation = (x.unflatten(0, (group, -1)).var(0, correction=0) + 1e-8).sqrt().mean((1, 2, 3))
        x = torch.cat([x, deviation.repeat(group)[:, None, None, None].expand(n, 1, h, w)], 1)
        x = F.leaky_relu_(self.last(x), 0.2)
        x = F.leaky_relu_(self.hidden(x.permute(0, 2, 3, 1).flatten(1)), 0.2)
        return self.to_logit(x).flatten()


def stylegan2(batches, image_size, format):
    G = StyleGenerator(100, image_size, 64, 64, 4).to(memory_format=format)
    D = ResidualDiscriminator(image_size, 64).to(memory_format=format)
    g_step, d_step = adam(G, LR, (0.0, 0.99)), adam(D, LR, (0.0, 0.99))
    average = torch.zeros(())

    def path():
        nonlocal average
        _, _, z = batches()
        ws = G.styles(z[:-(-len(z) // 2)])
        with Twice():
            images = G.synthesis(ws)
        noise = torch.from_numpy(Fixed().standard_normal(images.shape)) / image_size
        slope, = torch.autograd.grad((images * noise).sum(), ws, create_graph=True)
        lengths = slope.square().sum(2).mean(1).sqrt()
        a = average.lerp(lengths.mean(), 0.01)
        average = a.detach()
        loss = (lengths - a).square().mean() * (PATH_WEIGHT * PATH_LAZY)
        g_step(loss)
        return loss.item(),

    def r1():
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
