"""The first GAN (Goodfellow et al. 2014, "Generative Adversarial Nets"): multilayer perceptrons.

G:  z -> layers with rectifiers -> tanh -> image, or without tanh -> point (x, y)
D:  image or point -> layers with maxout or leaky rectifiers, and dropout -> logit
"""

import math
from dataclasses import dataclass

from tinygan import nn
from tinygan.autograd import Tensor
from tinygan.backend import Rng, generator
from tinygan.settings import setting

from .recipe import Recipe
from .settings import Settings


class Generator(nn.Module):
    """Latents z (N, latent) -> images (N, *image_shape) in [-1, 1], or points (N, 2) anywhere.

    hidden: the number of units of each hidden layer. layers: the number of hidden layers.
    """

    def __init__(
        self,
        latent: int,
        image_shape: tuple[int, ...],
        hidden: int = 256,
        layers: int = 2,
        *,
        rng: Rng,
    ) -> None:
        rng = generator(rng)
        widths = [latent] + [hidden] * layers
        self.main = nn.Sequential(
            *(
                part
                for a, b in zip(widths, widths[1:])
                for part in (nn.Linear(a, b, rng=rng), nn.ReLU())
            ),
            nn.Linear(widths[-1], math.prod(image_shape), rng=rng),
            *([nn.Tanh()] if len(image_shape) == 3 else []),
            nn.Reshape(*image_shape),
        )
        self.latent, self.classes = latent, None

    def forward(self, z):
        return self.main(self.expect_shape(z, "N", self.latent, what="latents"))


class Discriminator(nn.Module):
    """Images (N, *image_shape) -> logits (N,), higher for reals.

    hidden, layers: as for G. maxout: True for maxout units, each the maximum of 5 linear maps, as
    in the paper; False for leaky rectifiers. dropout: the probability of setting a unit to 0.
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        hidden: int = 256,
        layers: int = 2,
        maxout: bool = False,
        dropout: float = 0.5,
        *,
        rng: Rng,
    ) -> None:
        rng = generator(rng)
        widths = [math.prod(image_shape)] + [hidden] * layers
        self.main = nn.Sequential(nn.Flatten())
        for a, b in zip(widths, widths[1:]):
            units = (
                [nn.Maxout(a, b, rng=rng)]
                if maxout
                else [nn.Linear(a, b, rng=rng), nn.LeakyReLU(0.2)]
            )
            self.main.layers += [*units, nn.Dropout(dropout, rng=rng)]
        self.main.layers += [nn.Linear(widths[-1], 1, rng=rng)]
        self.image_shape, self.feature_shape = tuple(image_shape), (hidden,)

    def features(self, x: Tensor) -> Tensor:
        """Return the last hidden layer, (N, hidden)."""
        return self.main[:-1](self.expect_shape(x, "N", *self.image_shape, what="images"))

    def score(self, features: Tensor) -> Tensor:
        """Return the logits of features."""
        return self.main[-1](features).reshape(-1)

    def forward(self, x):
        return self.score(self.features(x))


@dataclass
class MLPSettings(Settings):
    hidden: int = setting(256, "units in each hidden layer of G and D", 1)
    layers: int = setting(2, "number of hidden layers, in G and in D", 1, 100)
    maxout: bool = setting(
        False, "use maxout units in D, as in the paper, instead of leaky rectifiers"
    )
    dropout: float = setting(
        0.5, "dropout in D: the probability of setting a hidden unit to 0", 0, 0.95
    )


def networks(s, sizes, rng) -> tuple[Generator, Discriminator]:
    image_of_d = (*sizes.image[:-1], sizes.d_image_channels)
    return (
        Generator(sizes.latent, sizes.image, s.hidden, s.layers, rng=rng),
        Discriminator(image_of_d, s.hidden, s.layers, s.maxout, s.dropout, rng=rng),
    )


RECIPE = Recipe(
    "gan",
    "the first GAN: two multilayer perceptrons (Goodfellow et al. 2014)",
    MLPSettings,
    networks,
    {
        "steps": 20000,
        "sample_every": 1000,
        # Adam, where the paper has SGD with momentum. With a learning rate of 2e-4, or with less
        # dropout, G generated little but ones and nines.
        "lr": 5e-4,
    },
    # With the defaults for images, G finds no mode of the ring. Dropout blurs D, which must see
    # deviations of .02; R1 keeps G from jumping from mode to mode; and a larger batch holds its
    # share of each mode.
    point_defaults={
        "dropout": 0.0,
        "r1": 0.1,
        "batch_size": 256,
        "hidden": 128,
        "lr": 1e-3,
        "steps": 10000,
        "sample_every": 500,
    },
)
