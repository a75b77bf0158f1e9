"""Recipes: a paper's networks and settings under a name."""

import dataclasses
from typing import Callable, NamedTuple

from tinygan.errors import InputError
from tinygan.models import dcgan, gan

from .settings import Settings, setting


class Recipe(NamedTuple):
    """summary: one line. settings: a Settings class. build(settings, image_shape, rng) -> (G, D)."""

    name: str
    summary: str
    settings: type
    build: Callable


@dataclasses.dataclass
class GANSettings(Settings):
    # Adam where the paper had momentum SGD. At a rate of 2e-4, or with less dropout, G drew little but ones and nines.
    steps: int = setting(9000, "training steps: one update of D and one of G each", 1)
    lr: float = setting(5e-4, "learning rate of Adam, for G and D", 0)
    ema: float = setting(0.995, "decay of the average of G's weights that samples are drawn with", 0, 0.99999)
    sample_every: int = setting(500, "steps between sample grids", 1)
    hidden: int = setting(256, "units in each hidden layer of G and D", 1)
    layers: int = setting(2, "hidden layers of G and of D", 1)
    maxout: bool = setting(False, "D uses maxout units, as in the paper, instead of leaky rectifiers")
    dropout: float = setting(0.5, "share of D's hidden units silenced in each step", 0, 0.95)


def build_gan(s, image_shape, rng):
    return (gan.Generator(s.latent, image_shape, s.hidden, s.layers, rng=rng),
            gan.Discriminator(image_shape, s.hidden, s.layers, s.maxout, s.dropout, rng=rng))


@dataclasses.dataclass
class DCGANSettings(Settings):
    # The paper's constants, but batches of 16 instead of 128: at its learning rate, progress is counted in steps.
    # D is half as wide as G, which saves half of the time; with equal widths the digits look no better.
    steps: int = setting(3600, "training steps: one update of D and one of G each", 1)
    batch_size: int = setting(16, "images per step", 2)
    ema: float = setting(0.995, "decay of the average of G's weights that samples are drawn with", 0, 0.99999)
    sample_every: int = setting(200, "steps between sample grids", 1)
    g_channels: int = setting(64, "channels of G's largest feature map; each smaller map has twice as many", 1)
    d_channels: int = setting(32, "channels of D's largest feature map; each smaller map has twice as many", 1)
    layers: int = setting(2, "stride-2 layers of G and of D", 1, 6)


def build_dcgan(s, image_shape, rng):
    size, _, channels = image_shape
    growth = [1 << i for i in range(s.layers)]
    try:
        return (dcgan.Generator(s.latent, size, channels, [s.g_channels * n for n in reversed(growth)], rng=rng),
                dcgan.Discriminator(size, channels, [s.d_channels * n for n in growth], rng=rng))
    except ValueError as error:
        raise InputError(str(error)) from None


RECIPES = {recipe.name: recipe for recipe in (
    Recipe("gan", "the first GAN: two multilayer perceptrons (Goodfellow et al. 2014)", GANSettings, build_gan),
    Recipe("dcgan", "convolutions and batch-norm (Radford et al. 2016)", DCGANSettings, build_dcgan),
)}


def find(name) -> Recipe:
    """The recipe of that name. Raises InputError listing what exists."""
    if name not in RECIPES:
        raise InputError(f"unknown recipe {name!r}; there are: {', '.join(RECIPES)}")
    return RECIPES[name]
