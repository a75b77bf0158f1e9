"""InfoGAN (Chen et al. 2016): G's codes come to mean something, although nobody labels an image.

Part of G's input is a code c: one of ten categories, and two numbers. A head Q of D guesses it from
the image, as a distribution Q(c | x), and both networks minimise -log Q(c | G(z, c)). The mean of
H(c) + log Q(c | x) is a lower bound on the mutual information of code and image (equation 5): G
must draw every code so that it can be read in the image. Digits differ most by their classes, so
the ten categories should come to be the classes: the paper claims an error of 5%.

    MNIST:  62 numbers and codes 10 + 2 -> 512 -> 7x7x64 -> 14x14x32 -> 28x28x1
            28x28x1 -> 14x14x32 -> 7x7x64 -> 512 -> logit
                                             512 -> 128 -> Q: 10 logits and 2 means

All latents z are N(0, 1) here, as in the other recipes, and G makes the codes from them. The
category is the position of the largest of ten numbers, so all ten are equally likely. A continuous
code is 2 Phi(z) - 1, which is uniform in (-1, 1), as in the paper.
"""

from dataclasses import dataclass

from tinygan import nn
from tinygan.autograd import Tensor, wrap
from tinygan.backend import Rng, asarray, generator, xp
from tinygan.errors import InputError
from tinygan.ops import argmax, concatenate, cross_entropy, mse_loss, normal_cdf
from tinygan.ops.bilinear import as_pair
from tinygan.settings import setting

from .dcgan import GAINS, WEIGHTS
from .image_sizes import halved
from .recipe import Recipe
from .settings import Settings


def linear(inputs, outputs, rng, bias=True):
    return nn.Linear(inputs, outputs, bias, rng=rng, init=WEIGHTS)


class Generator(nn.Module):
    """Latents z (N, latent) -> images (N, H, W, image_channels) in [-1, 1].

    The last numbers of z make the codes: `categories` numbers for one category, then `continuous`
    codes. image_size: (H, W), or a number for both. channels: of the largest feature map; the one
    before has twice as many. hidden: the units of the first layer.
    """

    def __init__(
        self,
        latent: int = 74,
        categories: int = 10,
        continuous: int = 2,
        image_size: int | tuple[int, int] = 28,
        image_channels: int = 1,
        channels: int = 32,
        hidden: int = 512,
        *,
        rng: Rng,
    ) -> None:
        rng = generator(rng)
        if latent < categories + continuous:
            raise InputError(
                f"setting latent={latent}: it must hold {categories} numbers for the category and "
                f"{continuous} continuous codes: set latent={categories + continuous} or more"
            )
        self.latent, self.classes = latent, None
        self.categories, self.continuous = categories, continuous
        self.label_count = categories  # labels can choose them
        self.noise = latent - categories - continuous  # how many numbers of z are no code
        height, width = halved(image_size, 2)
        smallest = 2 * channels * height * width
        norm = lambda n: nn.BatchNorm(n, rng=rng, init=GAINS)
        self.main = nn.Sequential(
            *(linear(latent, hidden, rng, bias=False), norm(hidden), nn.ReLU()),
            *(linear(hidden, smallest, rng, bias=False), norm(smallest), nn.ReLU()),
            nn.Reshape(height, width, 2 * channels),
            nn.ConvTranspose2d(2 * channels, channels, 4, 2, 1, bias=False, rng=rng, init=WEIGHTS),
            *(norm(channels), nn.ReLU()),
            nn.ConvTranspose2d(channels, image_channels, 4, 2, 1, rng=rng, init=WEIGHTS),
            nn.Tanh(),
        )

    def codes(self, z: Tensor) -> tuple[xp.ndarray, Tensor]:
        """Return the codes in latents z: categories, integers (N,), and continuous codes, a Tensor
        (N, continuous)."""
        first, last = self.noise, self.noise + self.categories
        return argmax(z[:, first:last], 1), 2.0 * normal_cdf(z[:, last:]) - 1.0

    def forward(self, z, labels=None):
        """labels: categories (N,), or mixtures of categories (N, categories), that replace those in
        z; they choose what samples show, and have no part in training."""
        z = self.expect_shape(z, "N", self.latent, what="latents")
        category, continuous = self.codes(z)
        if labels is not None:
            category = self.expect_labels(labels, len(z), self.categories)
        if not isinstance(category, Tensor):
            one_hot = asarray(category)[:, None] == xp.arange(self.categories)
            category = wrap(one_hot.astype(z.dtype))
        return self.main(concatenate([z[:, : self.noise], category, continuous], axis=1))


class Discriminator(nn.Module):
    """Images (N, H, W, image_channels) -> (logits (N,), Q's output (N, categories + continuous)).

    Q's output has the logits of the categories, and then the means of the continuous codes.
    image_size, channels, hidden: as for G, in reverse. q_hidden: the units of Q's own layer.
    """

    def __init__(
        self,
        categories: int = 10,
        continuous: int = 2,
        image_size: int | tuple[int, int] = 28,
        image_channels: int = 1,
        channels: int = 32,
        hidden: int = 512,
        q_hidden: int = 128,
        *,
        rng: Rng,
    ) -> None:
        rng = generator(rng)
        height, width = halved(image_size, 2)
        norm = lambda n: [nn.BatchNorm(n, rng=rng, init=GAINS), nn.LeakyReLU(0.1)]
        self.body = nn.Sequential(
            nn.Conv2d(image_channels, channels, 4, 2, 1, rng=rng, init=WEIGHTS),
            nn.LeakyReLU(0.1),
            nn.Conv2d(channels, 2 * channels, 4, 2, 1, bias=False, rng=rng, init=WEIGHTS),
            *norm(2 * channels),
            nn.Flatten(),
            linear(2 * channels * height * width, hidden, rng, bias=False),
            *norm(hidden),
        )
        self.score = linear(hidden, 1, rng)
        self.Q = nn.Sequential(
            linear(hidden, q_hidden, rng, bias=False),
            *norm(q_hidden),
            linear(q_hidden, categories + continuous, rng),
        )
        self.image_shape = (*as_pair(image_size), image_channels)

    def forward(self, x):
        features = self.body(self.expect_shape(x, "N", *self.image_shape, what="images"))
        return self.score(features).reshape(-1), self.Q(features)


def category_loss(G: Generator, z: Tensor, output: Tensor) -> Tensor:
    """Return the mean of -log Q(category | x). The bound on the mutual information is
    log(categories) minus this."""
    return cross_entropy(output[:, : G.categories], G.codes(z)[0])


def continuous_loss(G: Generator, z: Tensor, output: Tensor) -> Tensor:
    """Return half the mean squared error of Q's continuous codes, summed over the codes. Up to a
    constant, it is the mean of -log Q(codes | x), where Q is normal with a deviation of 1, as in
    the authors' code for MNIST."""
    codes, guesses = G.codes(z)[1], output[:, G.categories :]
    return 0.5 * G.continuous * mse_loss(guesses, codes)


@dataclass
class InfoGANSettings(Settings):
    categories: int = setting(10, "number of categories of G's categorical code", 2, 1000)
    continuous: int = setting(2, "number of G's continuous codes", 1, 100)
    category_weight: float = setting(
        1.0, "weight of -log Q(category | image)", 0, group="loss", scheduled=True
    )
    continuous_weight: float = setting(
        0.1, "weight of -log Q(continuous codes | image)", 0, group="loss", scheduled=True
    )
    g_channels: int = setting(
        32, "channels of G's largest feature map; the other has twice that", 1
    )
    d_channels: int = setting(
        32, "channels of D's largest feature map; the other has twice that", 1
    )
    hidden: int = setting(512, "units in the fully connected layer of G and of D", 1)
    q_hidden: int = setting(128, "units in the layer of the head that guesses the codes", 1)


def networks(s, sizes, rng) -> tuple[Generator, Discriminator]:
    *size, channels = sizes.image
    codes = s.categories, s.continuous
    return (
        Generator(sizes.latent, *codes, size, channels, s.g_channels, s.hidden, rng=rng),
        Discriminator(*codes, size, channels, s.d_channels, s.hidden, s.q_hidden, rng=rng),
    )


# The rates are the paper's. Q's deviation of 1 is that of the authors' code for MNIST. (In a run in
# which Q learned its deviations, G used the codes for more than style: along a code, a seven became
# a five.) The paper advises a smaller weight for continuous codes, but that code has 1 for all
# codes; ours is .1. The paper's networks are twice as wide, and the code trains 5,000 steps of 128,
# each of which would take 5.4 times as long as one of ours. Its G ends in a sigmoid, and its noise
# is U(-1, 1). demos/infogan.py measures what the codes mean: it does not reach the paper's 95%.
RECIPE = Recipe(
    "infogan",
    "codes that mean something, without labels: a head of D guesses them (Chen et al. 2016)",
    InfoGANSettings,
    networks,
    {"latent": 74, "lr": 1e-3, "d_lr": 2e-4, "steps": 6000, "sample_every": 500},
    g_class_choices=("none",),
    d_class_choices=("none",),
    shared_losses={"category": category_loss, "continuous": continuous_loss},
)
