"""The first GAN (Goodfellow et al. 2014, "Generative Adversarial Nets"): multilayer perceptrons.

G:  z -> rectifier layers -> tanh -> image
D:  image -> maxout or leaky layers, each with dropout -> logit
"""

import math
from dataclasses import dataclass

from tinygan import nn
from tinygan.settings import setting

from .recipe import Recipe
from .settings import Settings


class Generator(nn.Module):
    """Latents z (N, latent) -> images (N, *image_shape) in [-1, 1]."""

    def __init__(self, latent, image_shape, hidden=256, layers=2, *, rng):
        widths = [latent] + [hidden] * layers
        self.main = nn.Sequential(
            *(
                part
                for a, b in zip(widths, widths[1:])
                for part in (nn.Linear(a, b, rng=rng), nn.ReLU())
            ),
            nn.Linear(widths[-1], math.prod(image_shape), rng=rng),
            nn.Tanh(),
            nn.Reshape(*image_shape),
        )
        self.latent, self.classes = latent, None

    def forward(self, z):
        return self.main(self.expect_shape(z, "N", self.latent, what="latents"))


class Discriminator(nn.Module):
    """Images (N, *image_shape) -> logits (N,): positive means real.

    maxout: the paper's units, the largest of 5 linear maps each; otherwise leaky rectifiers.
    """

    def __init__(self, image_shape, hidden=256, layers=2, maxout=False, dropout=0.5, *, rng):
        widths = [math.prod(image_shape)] + [hidden] * layers
        self.main = nn.Sequential(nn.Flatten())
        for a, b in zip(widths, widths[1:]):
            unit = (
                [nn.Maxout(a, b, rng=rng)]
                if maxout
                else [nn.Linear(a, b, rng=rng), nn.LeakyReLU(0.2)]
            )
            self.main.layers += [*unit, nn.Dropout(dropout, rng=rng)]
        self.main.layers += [nn.Linear(widths[-1], 1, rng=rng)]
        self.image_shape, self.feature_shape = tuple(image_shape), (hidden,)

    def features(self, x):
        """The last hidden layer, (N, hidden)."""
        return self.main[:-1](self.expect_shape(x, "N", *self.image_shape, what="images"))

    def score(self, features):
        return self.main[-1](features).reshape(-1)

    def forward(self, x):
        return self.score(self.features(x))


@dataclass
class MLPSettings(Settings):
    hidden: int = setting(256, "units in each hidden layer of G and D", 1)
    layers: int = setting(2, "hidden layers of G and of D", 1, 100)
    maxout: bool = setting(
        False, "D uses maxout units, as in the paper, instead of leaky rectifiers"
    )
    dropout: float = setting(0.5, "share of D's hidden units silenced in each step", 0, 0.95)


def networks(s, sizes, rng):
    image_of_d = (*sizes.image[:2], sizes.d_image_channels)
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
        # Adam, where the paper has SGD with momentum. At a rate of 2e-4, or with less dropout, G drew
        # little but ones and nines.
        "lr": 5e-4,
    },
)
