"""The recipes' training steps in PyTorch, as an experienced user writes them: the same networks,
losses, penalties, optimiser and average as in tinygan, on data in memory.

The variant "compiled" compiles G's forward pass and both losses by torch.compile. The penalties
stay eager, because torch.compile does not support second derivatives. PyTorch's side returns the
losses, but does not compute the further numbers that tinygan logs at each step.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tinygan.backend import to_numpy
from tinygan.data import to_float

from .recipes import algorithm, cycle
from .torch_side import FORMATS, adam, dcgan_generator, load, squared_gradient_lengths, version
from .torch_stylegan2 import ResidualDiscriminator, SkipGenerator, TwiceDifferentiable
from .workloads import Job

CONTIGUOUS = torch.contiguous_format
__all__ = ["Training", "load", "make", "version"]


def make(name, batch_size, image_size, variant):
    """Return the Job of a recipe. variant: a key of FORMATS, or "compiled"."""
    training = Training(name, batch_size, variant)
    step = cycle(training.step, training.settings)
    if variant == "compiled":
        step()  # compiles, so that an error shows at once
    return Job([training.G, training.D], {"cycle": step})


class Draws:
    """The random numbers of a run, drawn by PyTorch."""

    def __init__(self, images, batch_size, seed):
        self.images, self.batch_size, self.batches = images, batch_size, iter(())
        torch.manual_seed(seed)

    def normal(self, *shape):
        return torch.randn(shape)

    def integers(self, high, n):
        return torch.randint(high, (n,))

    def indices(self):
        """Return the indices of the next batch. The data are shuffled anew every epoch."""
        batch = next(self.batches, None)
        if batch is None:
            order = torch.randperm(self.images)
            whole = order[: self.images // self.batch_size * self.batch_size]
            self.batches = iter(whole.split(self.batch_size))
            batch = next(self.batches)
        return batch


class Training:
    """The training of a recipe's networks in PyTorch, from tinygan's initial weights.

    draws: the source of random numbers, by default `Draws`. changes: settings that replace the
    recipe's.
    """

    def __init__(self, name, batch_size, variant, seed=0, draws=None, **changes):
        ours = algorithm(name, batch_size, seed, **changes)
        format = FORMATS.get(variant, CONTIGUOUS)
        s = self.settings = ours.settings
        self.batch_size, self.classes = batch_size, ours.objectives.uses_classes and ours.G.classes
        self.draws = draws or Draws(len(ours.dataset), batch_size, seed)
        images = torch.from_numpy(to_float(ours.dataset.images)).permute(0, 3, 1, 2)
        self.images = images.contiguous(memory_format=format)
        self.labels = torch.from_numpy(ours.dataset.labels.copy())
        networks = lambda: NETWORKS[name](s, ours.dataset.image_shape[0], self.classes, format)
        (self.G, self.D), (self.average, _) = networks(), networks()
        for network in (self.G, self.D, self.average):
            network.to(memory_format=format)
        arrays = lambda net: [np.array(to_numpy(p.data)) for p in net.parameters()]
        load([self.G, self.D, self.average], [arrays(net) for net in (ours.G, ours.D, ours.G)])
        self.average.eval()
        every = ours.objectives.penalty_every
        self.r1_every, self.path_every = every("D") if s.r1 else 0, every("G") * bool(s.path_length)
        self.d_step = optimizer(self.D, s, s.d_lr or s.lr, every("D"))
        self.g_step = optimizer(self.G, s, s.lr, every("G"))
        self.path_average, self.steps = torch.zeros(()), 0
        self.generate, self.d_loss, self.g_loss = self.G, self.loss_of_d, self.loss_of_g
        if variant == "compiled":
            self.generate, self.d_loss, self.g_loss = map(
                torch.compile, (self.generate, self.d_loss, self.g_loss)
            )

    # A step

    def step(self):
        """Update D, G and the average of G. Return the losses: those of D, D's penalty if it is
        due, G, and G's penalty if it is due."""
        reals, real_labels = self.reals()
        z, *inputs = self.inputs(self.batch_size)
        fakes = self.generate(z, *inputs)
        losses = [self.d_loss(reals, real_labels, fakes.detach(), *inputs[:1])]
        self.d_step(losses[0])
        if self.r1_every and self.steps % self.r1_every == 0:
            losses.append(self.r1(reals, real_labels))
            self.d_step(losses[-1] * self.r1_every)
        losses.append(self.g_loss(fakes, *inputs[:1]))
        self.g_step(losses[-1])
        if self.path_every and self.steps % self.path_every == 0:
            losses.append(self.path_penalty())
            self.g_step(losses[-1] * (self.settings.path_length * self.path_every))
        self.steps += 1
        self.update_average()
        return [loss.item() for loss in losses]

    def reals(self):
        indices = self.draws.indices()
        return self.images[indices], self.labels[indices] if self.classes else None

    def inputs(self, n):
        """Return G's inputs: latents, and where it takes them, labels and the noise of each
        layer."""
        z = self.draws.normal(n, self.settings.latent)
        labels = self.draws.integers(self.classes, n) if self.classes else None
        sizes = getattr(self.G, "noise_sizes", None)
        noises = sizes and [self.draws.normal(n, 1, size, size) for size in sizes]
        return [x for x in (z, labels, noises) if x is not None]

    def loss_of_d(self, reals, real_labels, fakes, labels=None):
        if isinstance(self.D, Projection) and not self.settings.path_length:
            # D processes each image independently: one pass is faster.
            logits = self.D(torch.cat([reals, fakes]), torch.cat([real_labels, labels]))
            real_logits, fake_logits = logits.split(len(reals))
        else:
            real_logits, fake_logits = self.D(reals, real_labels), self.D(fakes, labels)
        return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()

    def loss_of_g(self, fakes, labels=None):
        return F.softplus(-self.D(fakes, labels)).mean()

    def r1(self, reals, labels):
        with TwiceDifferentiable():
            lengths = squared_gradient_lengths(lambda x: self.D(x, labels), reals)
        return lengths.mean() * (self.settings.r1 / 2)

    def path_penalty(self):
        z, labels, noises = self.inputs((self.batch_size + 1) // 2)
        with TwiceDifferentiable():
            ws = self.G.styles(z, labels)
            images = self.G.synthesis(ws, noises)
        noise = self.draws.normal(*images.shape) / images.shape[-1]
        (gradients,) = torch.autograd.grad((images * noise).sum(), ws, create_graph=True)
        lengths = gradients.square().sum(2).mean(1).sqrt()
        average = self.path_average.lerp(lengths.mean(), 0.01)
        self.path_average = average.detach()
        return (lengths - average).square().mean()

    @torch.no_grad()
    def update_average(self):
        """Move the average towards G's weights. `steps` already counts this step."""
        s = self.settings
        if s.ema_images:
            images = self.steps * self.batch_size
            decay = 0.5 ** (self.batch_size / min(s.ema_images, 0.05 * images))
        else:
            decay = min(s.ema, self.steps / (9 + self.steps))
        averages, weights = (list(net.parameters()) for net in (self.average, self.G))
        torch._foreach_lerp_(averages, weights, 1 - decay)
        torch._foreach_copy_(list(self.average.buffers()), list(self.G.buffers()))

    # Samples

    @torch.no_grad()
    def samples(self, z, labels, batch_size=256):
        """Return the images that the average of G generates: an array (N, H, W, C)."""
        inputs = [torch.from_numpy(x).split(batch_size) for x in (z, labels) if x is not None]
        parts = [self.average(*batch) for batch in zip(*inputs)]
        return torch.cat(parts).permute(0, 2, 3, 1).numpy()


def optimizer(network, s, lr, penalty_every):
    """Return a function that takes a step of Adam for a loss. If a penalty has steps of its own,
    each step counts as k / (k + 1) of one, as in StyleGAN2."""
    c = penalty_every / (penalty_every + 1) if penalty_every > 1 else 1
    change_gradients = replace_not_finite if s.sanitize else None
    return adam(network, lr * c, (s.beta1**c, s.beta2**c), s.eps, change_gradients)


def replace_not_finite(parameters):
    """Replace NaN by 0 and infinities by +-1e5 in the gradients, if there are any."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not torch.nn.utils.get_total_norm(gradients, foreach=True).isfinite():
        for gradient in gradients:
            torch.nan_to_num(gradient, 0.0, 1e5, -1e5, out=gradient)


# Networks


class ConcatLatent(nn.Module):
    def __init__(self, G, classes, size):
        super().__init__()
        self.embedding, self.G = nn.Embedding(classes, size), G

    def forward(self, z, labels):
        return self.G(torch.cat([z, self.embedding(labels)], 1))


class Projection(nn.Module):
    def __init__(self, D, classes, channels):
        super().__init__()
        self.D, self.embedding = D, nn.Embedding(classes, channels)

    def forward(self, x, labels):
        features = self.D.features(x)
        phi = features.sum((2, 3)) if features.ndim == 4 else features
        return self.D.score(features) + (self.embedding(labels) * phi).sum(1)


class DCGANDiscriminator(nn.Module):
    def __init__(self, image_size, widths, batch_norm):
        super().__init__()
        (a, b), bias = widths, not batch_norm
        self.layers = nn.Sequential(
            nn.Conv2d(1, a, 4, 2, 1, bias=bias),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(a, b, 4, 2, 1, bias=bias),
            nn.BatchNorm2d(b) if batch_norm else nn.Identity(),
            nn.LeakyReLU(0.2, inplace=True),
        )
        self.last = nn.Conv2d(b, 1, image_size // 4, bias=bias)

    def features(self, x):
        return self.layers(x)

    def score(self, features):
        return self.last(features).flatten()

    def forward(self, x, labels=None):
        return self.score(self.features(x))


def dcgan(s, size, classes, format):
    latent = s.latent + (s.embedding if classes else 0)
    G = dcgan_generator(size, latent, (2 * s.g_channels, s.g_channels))
    D = DCGANDiscriminator(size, (s.d_channels, 2 * s.d_channels), s.d_norm == "batch")
    if classes:
        G, D = ConcatLatent(G, classes, s.embedding), Projection(D, classes, 2 * s.d_channels)
    return G, D


def stylegan2(s, size, classes, format):
    sizes = range(size.bit_length() - 2)
    g_widths, d_widths = (
        [min(channels << i, s.max_channels) for i in reversed(sizes)]
        for channels in (s.g_channels, s.d_channels)
    )
    G = SkipGenerator(s.latent, g_widths, s.style, s.mapping_layers, s.mapping_rate, classes)
    D = ResidualDiscriminator(d_widths, format)
    return G, Projection(D, classes, d_widths[0])


NETWORKS = {"recipe quick": dcgan, "recipe dcgan": dcgan, "recipe stylegan2": stylegan2}
