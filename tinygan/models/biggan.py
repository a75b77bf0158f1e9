"""BigGAN (Brock et al. 2019): SNGAN's blocks at scale, with the class and z in every block.

    G:  z is split into equal parts, one more than there are blocks. First part -> 4x4 -> UpBlocks,
        whose condition is a part of z beside an embedding of the class, which all blocks share
        -> batch-norm, relu, 3x3, tanh
    D:  DownBlocks -> relu -> sum over positions -> logit, plus a projection on an embedding of the
        class (gan/conditioning.py)

Both networks have spectral normalisation, with a step of power iteration in evaluation too;
orthogonal initial weights; and self-attention after one block. The running averages of batch-norm
have the unbiased variance, as in the code that tests/test_reference.py compares with.
"""

import math
from collections.abc import Container, Sequence
from dataclasses import dataclass

from tinygan import nn, ops
from tinygan.autograd import Tensor, described
from tinygan.backend import Rng, generator
from tinygan.errors import InputError
from tinygan.settings import setting

from .image_sizes import halved, start_shape, step_from_4
from .recipe import Recipe
from .settings import Settings


def spectral(layer, rng):
    return nn.SpectralNorm(layer, step_in_evaluation=True, rng=rng)


def convolutions(rng, init):
    """The function that makes the convolutions: conv(inputs, outputs, kernel_size, padding=0,
    bias=True)."""
    return lambda *shape, **settings: spectral(
        nn.Conv2d(*shape, **settings, rng=rng, init=init), rng
    )


class Generator(nn.Module):
    """Latents z (N, latent), labels (N,) -> images (N, H, W, image_channels) in [-1, 1].

    The images are as large as the first map, doubled by every block.
    widths: channels of the first map, then of each block's output.
    embedding: the length of the class embedding.
    classes: the number of classes, or None, which leaves out the class embedding: the condition of
    a block is then its part of z.
    attention: the indices, from 0, of the blocks that self-attention follows.
    start: (height, width) of the first map.
    """

    conditional, reads_in_parts = True, True

    def __init__(
        self,
        latent: int = 128,
        classes: int | None = 10,
        image_channels: int = 1,
        widths: Sequence[int] = (64, 64, 64, 64),
        embedding: int = 32,
        attention: Container[int] = (1,),
        start: tuple[int, int] = (4, 4),
        *,
        rng: Rng,
        init: nn.init.Init = nn.init.orthogonal,
    ) -> None:
        rng = generator(rng)
        if latent % len(widths):
            raise InputError(
                f"latent={latent} (with the embedding, for g_class=concat) cannot be split into "
                f"{len(widths)} equal parts: choose a multiple of {len(widths)}"
            )
        self.part = latent // len(widths)  # length of a part of z
        conv, condition = convolutions(rng, init), self.part + (embedding if classes else 0)

        def norm(channels):
            linear = lambda: nn.Linear(condition, channels, bias=False, rng=rng, init=init)
            gain, bias = (spectral(linear(), rng) for _ in range(2))
            return nn.ConditionalBatchNorm(channels, gain, bias)

        self.latent, self.classes = latent, classes
        # the only weight without spectral normalisation
        self.embedding = nn.Embedding(classes, embedding, rng=rng, init=init) if classes else None
        first_map = (*start, widths[0])
        self.project = spectral(nn.Linear(self.part, math.prod(first_map), rng=rng, init=init), rng)
        self.unflatten = nn.Reshape(*first_map)
        self.blocks = []
        for i, (a, b) in enumerate(zip(widths, widths[1:])):
            attend = [nn.SelfAttention(b, conv)] if i in attention else []
            self.blocks.append(nn.Sequential(nn.UpBlock(a, b, norm=norm, conv=conv), *attend))
        self.norm = nn.BatchNorm(widths[-1])
        self.to_image = conv(widths[-1], image_channels, 3, padding=1)

    def forward(self, z, labels=None):
        z = self.expect_shape(z, "N", self.latent, what="latents")
        first, *parts = (z[:, i : i + self.part] for i in range(0, self.latent, self.part))
        embedded = []
        if self.classes:
            embedded = [self.embedding(self.expect_labels(labels, len(z), self.classes))]
        x = self.unflatten(self.project(first))
        for block, part in zip(self.blocks, parts):
            x = block(x, ops.concatenate([*embedded, part], axis=1))
        return ops.tanh(self.to_image(ops.relu(self.norm(x))))


class Discriminator(nn.Module):
    """Images (N, H, W, image_channels) -> logits (N,), higher for reals.

    widths: channels of each block. downsample: for each block, True if it halves height and width.
    attention: the indices, from 0, of the blocks that self-attention follows.
    """

    def __init__(
        self,
        image_channels: int = 1,
        widths: Sequence[int] = (64, 64, 64, 64),
        downsample: Sequence[bool] = (True, True, False, False),
        attention: Container[int] = (0,),
        *,
        rng: Rng,
        init: nn.init.Init = nn.init.orthogonal,
    ) -> None:
        rng = generator(rng)
        conv = convolutions(rng, init)
        self.blocks = nn.Sequential()
        for i, (a, b) in enumerate(zip((image_channels, *widths), widths)):
            block = nn.DownBlock(a, b, conv=conv, downsample=downsample[i], first=i == 0)
            self.blocks.layers.append(block)
            self.blocks.layers += [nn.SelfAttention(b, conv)] if i in attention else []
        self.to_logit = spectral(nn.Linear(widths[-1], 1, rng=rng, init=init), rng)
        self.image_shape, self.feature_shape = ("H", "W", image_channels), (widths[-1],)
        self.init = init
        self.divisor = 1 << sum(downsample[: len(widths)])

    def features(self, x: Tensor) -> Tensor:
        """Return the last feature maps, summed over positions: (N, widths[-1])."""
        x = self.expect_shape(x, "N", *self.image_shape, what="images")
        if x.shape[1] % self.divisor or x.shape[2] % self.divisor:
            raise self.argument_error(
                "takes images whose height and width are multiples of "
                f"{self.divisor}, got {described(x)}"
            )
        return ops.sum(ops.relu(self.blocks(x)), (1, 2))

    def score(self, features: Tensor) -> Tensor:
        """Return the logits of features."""
        return self.to_logit(features).reshape(-1)

    def forward(self, x):
        return self.score(self.features(x))


@dataclass
class BigGANSettings(Settings):
    g_channels: int = setting(16, "channels of G's feature maps", 1)
    d_channels: int = setting(16, "channels of D's feature maps", 1)
    attention: int = setting(
        16, "shorter side of the feature maps that self-attention is applied to; 0: none", 0
    )
    init: str = setting(
        "orthogonal",
        "distribution of the initial weights; normal is N(0, .02^2)",
        choices=("orthogonal", "normal"),
    )


def _sides(levels):
    """Return the shorter sides of the feature maps after each block of G, and of D, for images of
    4x4, doubled `levels` times."""
    side = 4 << levels
    return [8 << i for i in range(levels)], [side >> 1, *[side >> 2] * 3]


def _common_sides(levels):
    """Return the shorter sides of the feature maps that both G and D have, and 0."""
    g_sides, d_sides = _sides(levels)
    return sorted({0, *g_sides} & {0, *d_sides})


def _long_step(short, latent, attention):
    """Return what the longer side of images must be a multiple of, given the shorter one (see
    `image_sizes.SizeError`)."""
    step = step_from_4(short)  # 2^levels
    levels = step.bit_length() - 1
    fits = step and latent % (levels + 1) == 0 and attention in _common_sides(levels)
    return max(step, 4) if fits else 0


def networks(s, sizes, rng) -> tuple[Generator, Discriminator]:
    *size, channels = sizes.image
    start, levels = start_shape(size, lambda short: _long_step(short, sizes.latent, s.attention))
    halved(size, 2)  # as D does: raises SizeError for 8x10
    if s.attention and (s.g_channels % 8 or s.d_channels % 8):
        raise InputError(
            "self-attention divides the channels by 8: set g_channels and d_channels to "
            "multiples of 8, or attention=0"
        )
    g_sides, d_sides = _sides(levels)
    common = _common_sides(levels)
    if s.attention not in common:
        raise InputError(
            f"attention={s.attention}: choose the side of a feature map that both G and D have, "
            f"or 0 for none (here {', '.join(map(str, common))}), such as attention={common[-1]}"
        )
    init = {"orthogonal": nn.init.orthogonal, "normal": nn.init.normal(0.02)}[s.init]
    g_attention = [i for i, side in enumerate(g_sides) if side == s.attention]
    d_attention = [i for i, side in enumerate(d_sides) if side == s.attention][:1]
    return (
        Generator(
            sizes.latent,
            sizes.g_classes,
            channels,
            [s.g_channels] * (levels + 1),
            s.embedding,
            g_attention,
            start,
            rng=rng,
            init=init,
        ),
        Discriminator(
            sizes.d_image_channels, [s.d_channels] * 4, attention=d_attention, rng=rng, init=init
        ),
    )


# The authors' networks for ImageNet with fewer channels (they have 96), and with learning rates at
# which a few thousand small batches are enough.
RECIPE = Recipe(
    "biggan",
    "class and z in every block, self-attention, truncation (Brock et al. 2019)",
    BigGANSettings,
    networks,
    {
        "steps": 4000,
        "batch_size": 16,
        "loss": "hinge",
        "eps": 1e-6,
        "latent": 128,
        "embedding": 32,
        "pad": 2,
        "ortho": 1e-4,
        "g_class": "cbn",
        "d_class": "projection",
        # The authors have batches of 2,048, and learning rates of 5e-5 for G and 2e-4 for D. With
        # the rates here, beta2 must be smaller than their .999: Adam then reacts in time when
        # gradients grow, and neither D nor G breaks down.
        "lr": 1e-3,
        "d_lr": 2e-3,
        "beta1": 0.0,
        "beta2": 0.9,
        # As in the paper. With one update of D per update of G, G generated each class with less
        # variety (recall .2 instead of .4).
        "d_steps": 2,
        # The authors average over 10,000 steps.
        "ema": 0.999,
        "standing": 16,
    },
    g_class_choices=("none", "concat", "cbn"),
)
