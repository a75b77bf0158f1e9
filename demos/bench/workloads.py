"""Six training steps, each written as a user of tinygan would write it.

`torch_side` and `jax_side` have the same steps under the same names. All three can exchange their
weights, so that a test can compare their losses. This is why no dense layer follows flattened
images of several channels: a convolution as large as the image replaces it.
"""

import itertools
from types import SimpleNamespace
from typing import Callable, NamedTuple

import numpy as np

from tinygan import capture, data, nn, ops
from tinygan.autograd import Tensor, grad
from tinygan.backend import asarray, from_host
from tinygan.gan import losses, penalties
from tinygan.gan.augment.ada import ADA
from tinygan.gan.augment.diffaug import DiffAugment
from tinygan.models import dcgan as dcgan_model
from tinygan.models import gan as gan_model
from tinygan.models import stylegan2 as stylegan2_model
from tinygan.optim import Adam

BCE = losses.find("bce")
LR, BETAS = 2e-4, (0.5, 0.999)
R1_GAMMA, GP_WEIGHT, LAZY, PATH_WEIGHT, PATH_LAZY = 10.0, 10.0, 16, 2.0, 4


class Job(NamedTuple):
    """A workload that is ready to run.

    networks: in the order in which the sides exchange their parameters. parts: {name: step}, where
    step() trains once and returns its losses, 0-dimensional arrays or floats.
    """

    networks: list
    parts: dict


class Workload(NamedTuple):
    """A training step to measure. make(batch_size, image_size) returns its Job.

    target: the largest time that is allowed, relative to PyTorch's. weights: {part: how often it
    runs per step on average}.
    """

    name: str
    summary: str
    make: Callable
    batch_size: int
    image_size: int
    target: float
    weights: dict = {"step": 1.0}


class Batches:
    """Real images (N, size, size, 1), labels and latents (N, 100), float32: eight batches, which
    are repeated.

    They are stored on the device that computes, where a step selects its batch by index.
    """

    def __init__(self, batch_size, image_size):
        dataset, rng = data.load("digits"), np.random.default_rng(0)
        self.batches = []
        for i in range(8):
            images, labels = dataset.batch(i, batch_size, seed=0)
            images = (
                np.tile(images, (1, 3, 3, 1))[:, :image_size, :image_size]
                if image_size > 28
                else images
            )
            images = np.ascontiguousarray(images[:, :image_size, :image_size])
            self.batches.append(
                (images, labels, rng.standard_normal((batch_size, 100), dtype=np.float32))
            )
        self.stacks = [asarray(np.stack(arrays)) for arrays in zip(*self.batches)]
        self.turns = itertools.count()

    def __call__(self):
        turn = from_host(lambda: np.array([next(self.turns) % len(self.batches)]))
        return [asarray(stack)[turn][0] for stack in self.stacks]


def augmented(D, pipe):
    """Return D applied to augmented images. pipe: an augmentation of gan/augment, or None."""
    rng = np.random.default_rng(0)
    return (lambda x: D(pipe(x, rng))) if pipe else D


def gan_step(G, D, batches, penalty=None, pipe=None):
    """Return a step of the non-saturating GAN: D, then G, on the same fakes. penalty(reals, D's
    logits on them) is added to D's loss."""
    augmented_d = augmented(D, pipe)
    g_optimizer, d_optimizer = Adam(G.parameters(), LR, BETAS), Adam(D.parameters(), LR, BETAS)

    def step():
        reals, _, z = batches()
        fakes = G(Tensor(z))
        reals = Tensor(reals, requires_grad=penalty is not None)
        real_logits = augmented_d(reals)
        d_loss = BCE.discriminator(real_logits, augmented_d(fakes.detach()))
        if penalty:
            d_loss = d_loss + penalty(reals, real_logits)
        d_optimizer.step(grad(d_loss, D.parameters()))
        g_loss = BCE.generator(None, augmented_d(fakes))
        g_optimizer.step(grad(g_loss, G.parameters()))
        return d_loss.data, g_loss.data

    return capture(step, G, D) if pipe is None or pipe.fixed_operations else step


def dcgan(batch_size=64, image_size=28, pipe=None):
    rng = np.random.default_rng(0)
    G = dcgan_model.Generator(100, image_size, 1, (128, 64), rng=rng)
    D = dcgan_model.Discriminator(image_size, 1, (64, 128), rng=rng)
    return Job([G, D], {"step": gan_step(G, D, Batches(batch_size, image_size), pipe=pipe)})


def dcgan_r1(batch_size=64, image_size=28):
    rng = np.random.default_rng(0)
    G = dcgan_model.Generator(100, image_size, 1, (128, 64), rng=rng)
    D = nn.Sequential(
        nn.Conv2d(1, 64, 4, 2, 1, rng=rng),
        nn.LeakyReLU(),
        nn.Conv2d(64, 128, 4, 2, 1, rng=rng),
        nn.LeakyReLU(),
        nn.Conv2d(128, 1, image_size // 4, rng=rng),
    )
    penalty = lambda reals, logits: R1_GAMMA * penalties.r1(lambda _: logits, reals)
    return Job([G, D], {"step": gan_step(G, D, Batches(batch_size, image_size), penalty)})


def wgan_gp(batch_size=64, image_size=32):
    rng = np.random.default_rng(0)
    D = nn.Sequential(
        nn.Conv2d(1, 32, 3, 1, 1, rng=rng),
        nn.LeakyReLU(),
        nn.Conv2d(32, 64, 3, 2, 1, rng=rng),
        nn.LeakyReLU(),
        nn.Conv2d(64, 128, 3, 2, 1, rng=rng),
        nn.LeakyReLU(),
        nn.Conv2d(128, 1, image_size // 4, rng=rng),
    )
    batches, optimizer = Batches(batch_size, image_size), Adam(D.parameters(), LR, (0.0, 0.9))
    share = asarray(np.random.default_rng(1).random((batch_size, 1, 1, 1), dtype=np.float32))

    def step():
        reals, _, _ = batches()
        fakes = reals[::-1, ::-1]  # any images would do
        length = ops.norm(
            penalties.image_gradients(D, asarray(share) * reals + (1 - asarray(share)) * fakes),
            (1, 2, 3),
        )
        loss = (
            D(Tensor(fakes)).mean()
            - D(Tensor(reals)).mean()
            + GP_WEIGHT * ((length - 1.0) ** 2).mean()
        )
        optimizer.step(grad(loss, D.parameters()))
        return (loss.data,)

    return Job([D], {"step": capture(step, D)})


class Fixed:
    """A random generator that always draws the same normal numbers, so that all sides have the same
    noise."""

    def standard_normal(self, shape, dtype=np.float32):
        return np.random.default_rng(1).standard_normal(shape, dtype=dtype)


def stylegan2(batch_size=32, image_size=32, pipe=None):
    """64 feature maps at every size, constant noise, and no style mixing."""
    rng, widths = np.random.default_rng(0), [64] * (image_size.bit_length() - 2)
    G = stylegan2_model.Generator(100, image_size, 1, widths, 64, 4, mixing=0.0, rng=rng)
    D = stylegan2_model.Discriminator(image_size, 1, widths, rng=rng)
    for _, module in G.modules():
        if isinstance(module, nn.Noise):
            module.mode, module.fixed = (
                "fixed",
                asarray(Fixed().standard_normal(module.fixed.shape)),
            )
            module.strength.assign(asarray(0.1))
    batches, state = (
        Batches(batch_size, image_size),
        SimpleNamespace(average=asarray(np.zeros((), np.float32))),
    )
    g_optimizer, d_optimizer = (Adam(network.parameters(), LR, (0.0, 0.99)) for network in (G, D))

    def path():
        _, _, z = batches()
        ws = G.styles(Tensor(z[: -(-batch_size // 2)]))
        penalty, state.average = penalties.path_length(G.synthesis, ws, state.average, Fixed())
        loss = penalty * float(PATH_WEIGHT * PATH_LAZY)
        g_optimizer.step(grad(loss, G.parameters()))
        return (loss.data,)

    def r1():
        loss = R1_GAMMA * LAZY * penalties.r1(augmented(D, pipe), batches()[0])
        d_optimizer.step(grad(loss, D.parameters()))
        return (loss.data,)

    return Job(
        [G, D],
        {
            "step": gan_step(G, D, batches, pipe=pipe),
            "r1": capture(r1, G, D) if pipe is None else r1,
            "path": capture(path, G, D, state=[(state, "average")]),
        },
    )


def lenet(batch_size=128, image_size=28):
    rng = np.random.default_rng(0)
    net = nn.Sequential(
        nn.Conv2d(1, 6, 5, 1, 2, rng=rng),
        nn.ReLU(),
        MaxPool(),
        nn.Conv2d(6, 16, 5, rng=rng),
        nn.ReLU(),
        MaxPool(),
        nn.Conv2d(16, 120, image_size // 4 - 2, rng=rng),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(120, 84, rng=rng),
        nn.ReLU(),
        nn.Linear(84, 10, rng=rng),
    )
    batches, optimizer = Batches(batch_size, image_size), Adam(net.parameters(), 1e-3)

    def step():
        images, labels, _ = batches()
        loss = ops.cross_entropy(net(Tensor(images)), labels)
        optimizer.step(grad(loss, net.parameters()))
        return (loss.data,)

    return Job([net], {"step": capture(step, net)})


class MaxPool(nn.Module):
    def forward(self, x):
        return ops.max_pool2d(x)


def mlp(batch_size=64, image_size=28):
    rng = np.random.default_rng(0)
    G = gan_model.Generator(100, (image_size, image_size, 1), 256, 2, rng=rng)
    D = gan_model.Discriminator((image_size, image_size, 1), 256, 2, dropout=0.0, rng=rng)
    return Job([G, D], {"step": gan_step(G, D, Batches(batch_size, image_size))})


WORKLOADS = {
    w.name: w
    for w in (
        Workload("dcgan", "DCGAN, G and D", dcgan, 64, 28, 0.8),
        Workload("dcgan-r1", "DCGAN with R1 at every step", dcgan_r1, 64, 28, 0.8),
        Workload("wgan-gp", "WGAN-GP critic, 3x3 convolutions", wgan_gp, 64, 32, 0.9),
        Workload(
            "stylegan2",
            "StyleGAN2, lazy path length and R1",
            stylegan2,
            32,
            32,
            1.0,
            {"step": 1.0, "path": 1 / PATH_LAZY, "r1": 1 / LAZY},
        ),
        Workload("lenet", "LeNet-5 classifier", lenet, 128, 28, 0.8),
        Workload("mlp", "2014 GAN, 784-256-256", mlp, 64, 28, 1.0),
    )
}

# name: (the workload without augmentation, the additional time that is allowed as a share of its
# time, the augmentation). ADA is as expensive as possible: all transforms of bgc, for each image.
AUGMENTED = {
    "dcgan diffaug": ("dcgan", 0.05, DiffAugment()),
    "dcgan ada": ("dcgan", 0.8, ADA("bgc", 1.0)),
    "stylegan2 ada": ("stylegan2", 0.25, ADA("bgc", 1.0)),
}


def find(name):
    """Return the Workload of this name in WORKLOADS or AUGMENTED."""
    if name in WORKLOADS:
        return WORKLOADS[name]
    plain, _, pipe = AUGMENTED[name]
    plain = WORKLOADS[plain]
    return plain._replace(
        name=name, make=lambda batch_size, image_size: plain.make(batch_size, image_size, pipe)
    )
