"""R3GAN (Huang et al. 2024): a loss and two penalties suffice, without the tricks of other GANs.

The relativistic loss compares each fake with a real. So D must tell fakes from reals near every
real, and the loss has no bad local minima, in which G would lack modes (Sun et al. 2020). Gradient
penalties on reals (R1) and on fakes (R2) at every update let training converge near the solution.
So the networks need no norm, noise, styles or equalised rates: they are residual networks with
grouped convolutions. What stays is how they are trained: G's weights are averaged, and the rates,
beta2, the penalties and the average follow schedules.

    G:  z, class -> weights of learned small maps -> blocks -> (1x1, up -> blocks) x n -> 1x1
    D:  1x1 -> (blocks -> down, 1x1) x n -> blocks -> weighted sum over each small map -> logit

The blocks are `nn.GroupedBlock`s. All weights are drawn from N(0, gain^2 / fan_in).
"""

from dataclasses import dataclass

from tinygan import nn, ops
from tinygan.autograd import Parameter, Tensor
from tinygan.backend import generator, normal
from tinygan.errors import InputError
from tinygan.nn.init import fan_in_normal
from tinygan.nn.residual import grouped_stages
from tinygan.ops.bilinear import as_pair
from tinygan.settings import setting

from .image_sizes import halved, halvings
from .recipe import Recipe
from .settings import Settings


class Basis(nn.Module):
    """Vectors (N, inputs) -> maps (N, *size, channels): each channel is a learned map, times a
    linear function of the vector."""

    def __init__(self, inputs, channels, size, *, rng) -> None:
        self.maps = Parameter(normal(rng, (*size, channels)))
        self.linear = nn.Linear(inputs, channels, bias=False, rng=rng, init=fan_in_normal())

    def forward(self, x):
        return self.maps * ops.reshape(self.linear(x), (len(x), 1, 1, self.maps.shape[2]))


class Generator(nn.Module):
    """Latents z (N, latent), and labels (N,) if there are classes -> images (N, H, W, channels).

    size: (H, W), or a number for both. stages: (channels, blocks, groups) for each size of the
    feature maps, which doubles from one to the next, up to full size. classes: the number of
    classes, or None. embedding: the length of the class embedding, which is joined to z. tanh: end
    in tanh, which the authors' G does not.
    """

    conditional = True

    def __init__(
        self, latent, size, channels, stages, classes=None, embedding=64, tanh=False, *, rng
    ) -> None:
        rng, start, init = generator(rng), halved(size, len(stages) - 1), fan_in_normal()
        self.latent, self.classes, self.tanh = latent, classes, tanh
        inputs, top, bottom = latent + (embedding if classes else 0), stages[0][0], stages[-1][0]
        self.basis = Basis(inputs, top, start, rng=rng)
        self.body = grouped_stages(stages, True, rng)
        self.to_image = nn.Conv2d(bottom, channels, 1, bias=False, rng=rng, init=init)
        self.embedding = nn.Embedding(classes, embedding, rng=rng, init=init) if classes else None

    def forward(self, z, labels=None):
        x = self.expect_shape(z, "N", self.latent, what="latents")
        if self.classes:
            labels = self.expect_labels(labels, len(x), self.classes)
            x = ops.concatenate([x, self.embedding(labels)], 1)
        images = self.to_image(self.body(self.basis(x)))
        return ops.tanh(images) if self.tanh else images


class Discriminator(nn.Module):
    """Images (N, H, W, channels), and labels (N,) if there are classes -> logits (N,), higher for
    reals. With classes, a logit is the inner product of the last layer and the class embedding.

    Arguments: as in G; `stages`, too, begins with the smallest maps.
    """

    conditional = True

    def __init__(self, size, channels, stages, classes=None, embedding=64, *, rng) -> None:
        rng, start, init = generator(rng), halved(size, len(stages) - 1), fan_in_normal()
        self.classes, top, bottom = classes, stages[0][0], stages[-1][0]
        self.from_image = nn.Conv2d(channels, bottom, 1, bias=False, rng=rng, init=init)
        self.body = grouped_stages(stages[::-1], False, rng)
        sums = nn.Conv2d(top, top, start, groups=top, bias=False, rng=rng, init=init)
        self.basis = nn.Sequential(sums, nn.Flatten())
        self.to_logit = nn.Linear(top, embedding if classes else 1, bias=False, rng=rng, init=init)
        init = fan_in_normal(embedding**-0.5)
        self.embedding = nn.Embedding(classes, embedding, rng=rng, init=init) if classes else None
        self.image_shape, self.feature_shape = (*as_pair(size), channels), (top,)

    def features(self, x: Tensor) -> Tensor:
        """Return the last hidden layer, (N, channels of the smallest maps)."""
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
    g_channels: int = setting(8, "G's channels at full size; 4 times at half, then 16 times", 1)
    d_channels: int = setting(8, "D's channels at full size; 4 times at half, then 16 times", 1)
    blocks: int = setting(1, "residual blocks at each size of the feature maps", 1)
    group_channels: int = setting(16, "channels in each group of the 3x3 convolutions", 1)
    tanh: bool = setting(True, "end G in tanh, for images whose background is black or white")


def stages(channels, s, halvings):
    """Return (channels, blocks, groups) of each size of the feature maps, from the smallest one."""
    widths, k = [channels * min(4**i, 16) for i in range(halvings, -1, -1)], s.group_channels
    if any(2 * width > k and 2 * width % k for width in widths):
        raise InputError(f"group_channels={k} must divide twice the channels, which are {widths}")
    return [(width, s.blocks, max(2 * width // k, 1)) for width in widths]


def networks(s, sizes, rng) -> tuple[Generator, Discriminator]:
    (*size, channels), n = sizes.image, halvings(sizes.image[:2])
    g_stages, d_stages = stages(s.g_channels, s, n), stages(s.d_channels, s, n)
    args = size, channels, g_stages, sizes.g_classes, s.embedding, s.tanh
    G = Generator(sizes.latent, *args, rng=rng)
    args = size, sizes.d_image_channels, d_stages, sizes.d_classes, d_stages[0][0]
    return G, Discriminator(*args, rng=rng)


# The authors' CIFAR-10 recipe at a laptop's scale. Theirs has 768 channels and two blocks at every
# size, and batches of 512; the rates of both networks fall from 2e-4 to 5e-5, and gamma from .05 to
# .005; the average grows over the first quarter of training; augmentation rises to p = .55; and G
# does not end in tanh. Ours does, because a digit's background is exactly -1. Here, only G's rate
# falls, so that D keeps up with G to the end. demos/r3gan.py measures what tanh brings, which
# gammas work, and what the penalties cost.
RECIPE = Recipe(
    "r3gan",
    "relativistic loss, R1 and R2, residual networks without norms (Huang et al. 2024)",
    R3GANSettings,
    networks,
    {
        "steps": 6000,
        "batch_size": 16,
        "loss": "relativistic",
        "latent": 64,
        "embedding": 64,
        "lr": "cosine:7e-4:5e-5",
        "d_lr": 2e-3,
        "beta1": 0.0,
        "beta2": "cosine:0.9:0.99",
        "r1": "cosine:20:2",
        "r2": "cosine:20:2",
        "ema_images": "cosine:0:24000",
        "g_class": "mapping",
        "d_class": "mapping",
    },
    g_class_choices=("none", "mapping"),
    d_class_choices=("none", "concat", "auxiliary", "projection", "mapping"),
)
