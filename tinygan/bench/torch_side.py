"""The workloads in PyTorch, written to be fast there: gradients only of what is asked for, Adam fused.

`channels_last` chooses the memory format of images and weights; the bench takes whichever is faster.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .workloads import BETAS, FIR, GP_WEIGHT, LAZY, LR, R1_GAMMA, Batches, Job

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
                axes = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[array.ndim]  # HWIO -> OIHW, (in, out) -> (out, in)
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


class Resample(nn.Module):
    """upfirdn2d by a separable filter: the fastest of the forms that PyTorch offers is a convolution a channel."""

    def __init__(self, channels, up):
        super().__init__()
        f = torch.tensor(FIR, dtype=torch.float32)
        self.register_buffer("f", (torch.outer(f, f) * (4 if up else 1)).expand(channels, 1, 4, 4).contiguous())
        self.up, self.channels = up, channels

    def forward(self, x):
        if self.up:  # padding (2, 1) of the zero-stuffed image
            return F.conv_transpose2d(x, self.f, stride=2, padding=1, groups=self.channels)
        return F.conv2d(x, self.f, stride=2, padding=1, groups=self.channels)


def act(x):
    return F.leaky_relu(x, 0.2) * 2 ** 0.5


class SkipGenerator(nn.Module):
    def __init__(self, size, channels):
        super().__init__()
        self.first = nn.ConvTranspose2d(100, channels, 4)
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, 1, 1) for _ in range(2 * (size.bit_length() - 3)))
        self.to_image = nn.ModuleList(nn.Conv2d(channels, 1, 1) for _ in range(size.bit_length() - 2))
        self.up, self.up_image = Resample(channels, True), Resample(1, True)

    def forward(self, z):
        x = act(self.first(z[:, :, None, None]))
        image = self.to_image[0](x)
        for a, b, to_image in zip(self.convs[::2], self.convs[1::2], self.to_image[1:]):
            x = act(b(act(a(self.up(x)))))
            image = self.up_image(image) + to_image(x)
        return image


class ResidualDiscriminator(nn.Module):
    def __init__(self, size, channels):
        super().__init__()
        blocks = size.bit_length() - 3
        self.from_image = nn.Conv2d(1, channels, 1)
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, 1, 1) for _ in range(2 * blocks))
        self.skips = nn.ModuleList(nn.Conv2d(channels, channels, 1, bias=False) for _ in range(blocks))
        self.last = nn.Conv2d(channels, 1, 4)
        self.down = Resample(channels, False)

    def forward(self, image):
        x = act(self.from_image(image))
        for a, b, skip in zip(self.convs[::2], self.convs[1::2], self.skips):
            x = (self.down(act(b(act(a(x))))) + skip(self.down(x))) * 0.5 ** 0.5
        return self.last(x)


def stylegan2(batches, image_size, format):
    G = SkipGenerator(image_size, 64).to(memory_format=format)
    D = ResidualDiscriminator(image_size, 64).to(memory_format=format)
    d_step = adam(D, LR, (0.0, 0.99))

    def r1():
        loss = squared_slopes(D, batches()[0]).mean() * (R1_GAMMA / 2 * LAZY)
        d_step(loss)
        return loss.item(),

    return Job([G, D], {"step": gan_step(G, D, batches), "r1": r1})


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
