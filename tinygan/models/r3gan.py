"""R3GAN (Huang et al. 2024): leave out all tricks, and keep a loss and two penalties that suffice.

The relativistic loss compares each fake with a real, so G gains nothing by moving all fakes to one
place that D likes. Gradient penalties on reals (R1) and on fakes (R2) at every update let training
converge. So the networks need no norm, noise, styles or equalised rates: they are plain ResNets.

    G:  z, class -> weights of learned 4x4 maps -> blocks -> (1x1, up -> blocks) x 3 -> 1x1
    D:  1x1 -> (blocks -> down, 1x1) x 3 -> blocks -> weighted sum over each 4x4 map -> logit

The blocks are `nn.GroupedBlock`s. All weights are drawn from N(0, gain^2 / fan_in).
"""

from dataclasses import dataclass

from tinygan import nn, ops
from tinygan.autograd import Parameter, Tensor
from tinygan.backend import generator, normal
from tinygan.errors import InputError
from tinygan.nn.init import fan_in_normal
from tinygan.ops.bilinear import as_pair
from tinygan.settings import setting

from .image_sizes import smallest_map
from .progan import channels_by_size
from .recipe import Recipe
from .settings import Settings


class Basis(nn.Module):
    """Vectors (N, inputs) -> maps (N, *size, channels): learned ones, times linear functions."""

    def __init__(self, inputs, channels, size, *, rng) -> None:
        self.maps = Parameter(normal(rng, (*size, channels)))
        self.linear = nn.Linear(inputs, channels, bias=False, rng=rng, init=fan_in_normal())

    def forward(self, x):
        return self.maps * ops.reshape(self.linear(x), (len(x), 1, 1, self.maps.shape[2]))


def make_body(stages, up, rng):
    """The blocks of all stages, in the order in which they are applied, and the changes of size
    between them."""
    layers, total = [], sum(blocks for _, blocks, _ in stages)
    for i, (width, blocks, groups) in enumerate(stages):
        layers += [nn.Resample(stages[i - 1][0], width, up, rng=rng)] if i else []
        layers += [nn.GroupedBlock(width, groups, total, rng=rng) for _ in range(blocks)]
    return nn.Sequential(*layers)


class Generator(nn.Module):
    """Latents z (N, latent), and labels (N,) if there are classes -> images (N, H, W, channels),
    about in [-1, 1].

    size: (H, W), or a number for both. stages: (channels, blocks, groups) of the maps of 4x4, 8x8,
    ... (4xN or Nx4, ... if H is not W) up to full size. classes: the number of classes, or None.
    embedding: the length of the class embedding, which is beside z.
    """

    conditional = True

    def __init__(self, latent, size, channels, stages, classes=None, embedding=64, *, rng) -> None:
        rng, start, init = generator(rng), smallest_map(size, stages), fan_in_normal()
        self.latent, self.classes = latent, classes
        inputs, top, bottom = latent + (embedding if classes else 0), stages[0][0], stages[-1][0]
        self.basis = Basis(inputs, top, start, rng=rng)
        self.body = make_body(stages, True, rng)
        self.to_image = nn.Conv2d(bottom, channels, 1, bias=False, rng=rng, init=init)
        self.embedding = nn.Embedding(classes, embedding, rng=rng, init=init) if classes else None

    def forward(self, z, labels=None):
        x = self.expect_shape(z, "N", self.latent, what="latents")
        if self.classes:
            labels = self.expect_labels(labels, len(x), self.classes)
            x = ops.concatenate([x, self.embedding(labels)], 1)
        return self.to_image(self.body(self.basis(x)))


class Discriminator(nn.Module):
    """Images (N, H, W, channels), and labels (N,) if there are classes -> logits (N,), higher for
    reals. With classes, a logit is the product of the last layer and the class embedding.

    Arguments: as in G; `stages`, too, begins with the maps of 4x4.
    """

    conditional = True

    def __init__(self, size, channels, stages, classes=None, embedding=64, *, rng) -> None:
        rng, start, init = generator(rng), smallest_map(size, stages), fan_in_normal()
        self.classes, top, bottom = classes, stages[0][0], stages[-1][0]
        self.from_image = nn.Conv2d(channels, bottom, 1, bias=False, rng=rng, init=init)
        self.body = make_body(stages[::-1], False, rng)
        sums = nn.Conv2d(top, top, start, groups=top, bias=False, rng=rng, init=init)
        self.basis = nn.Sequential(sums, nn.Flatten())
        self.to_logit = nn.Linear(top, embedding if classes else 1, bias=False, rng=rng, init=init)
        init = fan_in_normal(embedding**-0.5)
        self.embedding = nn.Embedding(classes, embedding, rng=rng, init=init) if classes else None
        self.image_shape, self.feature_shape = (*as_pair(size), channels), (top,)

    def features(self, x: Tensor) -> Tensor:
        """Return the last hidden layer, (N, channels of the 4x4 maps)."""
        x = self.expect_shape(x, "N", *self.image_shape, what="images")
        return self.basis(self.body(self.from_image(x)))

    def score(self, features: Tensor) -> Tensor:
        """Return the logits of features, for a D without classes."""
        return self.to_logit(features).reshape(-1)

    def forward(self, x, labels=None):
        features = self.features(x)
        if not self.classes:
            return self.score(features)
        target = self.embedding(self.expect_labels(labels, len(features), self.classes))
        return ops.sum(self.to_logit(features) * target, 1)


@dataclass
class R3GANSettings(Settings):
    channels: int = setting(
        8, "channels at full size, doubled at each halving of the size up to max_channels", 1
    )
    max_channels: int = setting(64, "maximum number of channels of a feature map", 1)
    blocks: int = setting(1, "residual blocks at each size of the feature maps", 1)
    group_channels: int = setting(
        16, "channels in each group of the 3x3 convolutions; one group where there are fewer", 1
    )


def networks(s, sizes, rng) -> tuple[Generator, Discriminator]:
    *size, channels = sizes.image
    widths, k = channels_by_size(s.channels, s.max_channels, size), s.group_channels
    if any(2 * width > k and 2 * width % k for width in widths):
        raise InputError(
            f"group_channels={k} must divide twice the channels of each size, {widths}"
        )
    stages = [(width, s.blocks, max(2 * width // k, 1)) for width in widths]
    G = Generator(sizes.latent, size, channels, stages, sizes.g_classes, s.embedding, rng=rng)
    args = size, sizes.d_image_channels, stages, sizes.d_classes
    return G, Discriminator(*args, widths[0], rng=rng)


# The authors' CIFAR-10 recipe at a laptop's scale. They have 768 channels at every size, two blocks
# each, batches of 512, augmentation, and a hundred times as many images. In short runs (one seed,
# averaged with a half-life of 10,000 images), the FID after 12,800 images was 81 with their rate of
# 2e-4 and gamma of .05; with a rate of 1e-3, it was 56 with a gamma of .5, 48 with 4, 50 with 20.
RECIPE = Recipe(
    "r3gan",
    "relativistic loss, R1 and R2, residual networks without norms (Huang et al. 2024)",
    R3GANSettings,
    networks,
    {
        "steps": 6000,
        "batch_size": 32,
        "sample_every": 300,
        "loss": "relativistic",
        "latent": 64,
        "embedding": 64,
        "pad": 2,
        "lr": "cosine:1e-3:2.5e-4",
        "beta1": 0.0,
        "beta2": "cosine:0.9:0.99",
        "r1": "cosine:4:0.4",
        "r2": "cosine:4:0.4",
        "ema_images": "cosine:0:48000",  # as theirs, it grows to a quarter of all images
        "g_class": "mapping",
        "d_class": "mapping",
    },
    g_class_choices=("none", "mapping"),
    d_class_choices=("none", "concat", "auxiliary", "projection", "mapping"),
)
