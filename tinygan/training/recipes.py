"""Recipes: a paper's networks and settings under a name.

There are seven families of networks; the other papers changed the loss, a penalty, or how the class is told, which
are settings (settings.py), and can be given to any recipe whose networks have the part.
"""

import dataclasses
from typing import Callable, NamedTuple

from tinygan import nn
from tinygan.errors import InputError
from tinygan.gan import conditioning
from tinygan.models import biggan, dcgan, gan, progan, sngan, stylegan, stylegan2

from tinygan.models.growth import START, GrowthSettings
from tinygan.models.settings import Settings, setting


class Sizes(NamedTuple):
    """What the networks of a pair are for: images (H, W, C); the length of what G is given; the channels of what D is
    given; and the number of classes for networks that take them themselves (g_class cbn, mapping; d_class select,
    mapping), or None."""

    image: tuple
    latent: int
    d_channels: int
    g_classes: int | None
    d_classes: int | None


class Family(NamedTuple):
    """Networks that come in a pair, and how they are set up.

    settings: a Settings class; defaults: where it starts from other values than Settings.
    networks(settings, sizes, rng) -> (G, D). g_class, d_class: the ways of telling them the class.
    truncation: what `--truncation` is about, "z" or "w"; None where it has no meaning.
    """

    settings: type
    networks: Callable
    defaults: dict
    truncation: str | None = "z"
    g_class: tuple = ("none", "concat")
    d_class: tuple = ("none", "concat", "auxiliary", "projection")


@dataclasses.dataclass
class MLPSettings(Settings):
    hidden: int = setting(256, "units in each hidden layer of G and D", 1)
    layers: int = setting(2, "hidden layers of G and of D", 1, 100)
    maxout: bool = setting(False, "D uses maxout units, as in the paper, instead of leaky rectifiers")
    dropout: float = setting(0.5, "share of D's hidden units silenced in each step", 0, 0.95)


def mlp_networks(s, sizes, rng):
    return (gan.Generator(sizes.latent, sizes.image, s.hidden, s.layers, rng=rng),
            gan.Discriminator((*sizes.image[:2], sizes.d_channels), s.hidden, s.layers, s.maxout, s.dropout, rng=rng))


# Adam where the paper had momentum SGD. At a rate of 2e-4, or with less dropout, G drew little but ones and nines.
MLP = Family(MLPSettings, mlp_networks, {"steps": 20000, "lr": 5e-4, "sample_every": 1000})


@dataclasses.dataclass
class DCGANSettings(Settings):
    g_channels: int = setting(64, "channels of G's largest feature map; each smaller map has twice as many", 1)
    d_channels: int = setting(32, "channels of D's largest feature map; each smaller map has twice as many", 1)
    layers: int = setting(2, "stride-2 layers of G and of D", 1, 6)
    d_norm: str = setting("batch", "what D normalises", choices=("batch", "none", "spectral"))
    equalized: bool = setting(False, "equalised learning rate in G and D, instead of weights N(0, .02)")
    patches: bool = setting(False, "D judges overlapping patches, a logit for each, instead of the whole image")


def dcgan_networks(s, sizes, rng):
    size, _, channels = sizes.image
    growth = [1 << i for i in range(s.layers)]
    g_widths, d_widths = [s.g_channels * n for n in reversed(growth)], [s.d_channels * n for n in growth]
    return (dcgan.Generator(sizes.latent, size, channels, g_widths, sizes.g_classes, s.equalized, rng=rng),
            dcgan.Discriminator(size, sizes.d_channels, d_widths, s.d_norm, s.patches, s.equalized, rng=rng))


# The paper's constants, but batches of 16 instead of 128: at its learning rate, progress is counted in steps.
# D is half as wide as G, which saves half of the time; with equal widths the digits look no better.
DCGAN = Family(DCGANSettings, dcgan_networks, {"steps": 10000, "batch_size": 16, "sample_every": 500},
               g_class=("none", "concat", "cbn"))


@dataclasses.dataclass
class SNGANSettings(Settings):
    g_channels: int = setting(32, "channels of G's feature maps", 1)
    d_channels: int = setting(32, "channels of D's feature maps", 1)


def sngan_networks(s, sizes, rng):
    size, _, channels = sizes.image
    return (sngan.Generator(sizes.latent, size, channels, s.g_channels, sizes.g_classes, rng=rng),
            sngan.Discriminator(sizes.d_channels, s.d_channels, rng=rng))


# The paper's structure and constants, with fewer channels (it has 256 and 128) and smaller batches (64).
SNGAN = Family(SNGANSettings, sngan_networks, {
    "steps": 1700, "batch_size": 16, "sample_every": 100, "loss": "hinge", "beta1": 0.0, "beta2": 0.9, "d_steps": 5,
    "latent": 128, "pad": 2}, g_class=("none", "concat", "cbn"))


@dataclasses.dataclass
class ProGANSettings(GrowthSettings):
    channels: int = setting(8, "channels at full size; each halving of the size doubles them, up to max_channels", 1)
    max_channels: int = setting(64, "most channels of a feature map", 1)


def widths(channels, most, size):
    """Channels of the feature maps of 4x4, 8x8, ... up to the full size, which has `channels`."""
    return [min(channels << i, most) for i in reversed(range((size // START).bit_length()))]


def progan_networks(s, sizes, rng):
    size, _, channels = sizes.image
    both = widths(s.channels, s.max_channels, size)
    return (progan.Generator(sizes.latent, size, channels, both, rng=rng),
            progan.Discriminator(size, sizes.d_channels, both, rng=rng))


# The paper's constants but its sizes (600,000 images a phase, 512 channels) and its rate, 1e-3: these are few steps, and
# half of this rate gave an FID of 10.8 instead of 6.2. A latent on a sphere cannot be truncated.
PROGAN = Family(ProGANSettings, progan_networks, {
    "steps": 6800, "batch_size": 16, "loss": "wasserstein", "gp": 10.0, "drift": 0.001, "lr": 4e-3, "beta1": 0.0,
    "beta2": 0.99, "latent": 64, "pad": 2, "ema": 0.999}, truncation=None)


@dataclasses.dataclass
class BigGANSettings(Settings):
    g_channels: int = setting(16, "channels of G's feature maps", 1)
    d_channels: int = setting(16, "channels of D's feature maps", 1)
    attention: int = setting(16, "size of the feature maps that self-attention follows; 0: nowhere", 0)
    init: str = setting("orthogonal", "initial weights; normal: N(0, .02)", choices=("orthogonal", "normal"))


def biggan_networks(s, sizes, rng):
    size, _, channels = sizes.image
    levels = (size // 4).bit_length() - 1
    if size != 4 << levels:
        raise InputError(f"images of {size} pixels cannot be halved to 4x4: pad them to 8, 16, 32, 64...")
    if s.attention and (s.g_channels % 8 or s.d_channels % 8):
        raise InputError("self-attention divides the channels by 8: choose a multiple for g_channels and d_channels, "
                         "or attention=0")
    init = {"orthogonal": nn.init.orthogonal, "normal": nn.init.normal(0.02)}[s.init]
    g_sizes, d_sizes = [8 << i for i in range(levels)], [size >> 1, *[size >> 2] * 3]
    common = sorted({0, *g_sizes} & {0, *d_sizes})
    if s.attention not in common:
        raise InputError(f"attention={s.attention}: choose 0, for none, or a size that feature maps of both G and D have "
                         f"(here {', '.join(map(str, common))})")
    return (biggan.Generator(sizes.latent, sizes.g_classes, channels, [s.g_channels] * (levels + 1), s.embedding,
                             [i for i, side in enumerate(g_sizes) if side == s.attention], rng=rng, init=init),
            biggan.Discriminator(sizes.d_channels, [s.d_channels] * 4,
                                 attention=[i for i, side in enumerate(d_sizes) if side == s.attention][:1],
                                 rng=rng, init=init))


# Their ImageNet networks and two updates of D to one of G, with a few channels and at rates at which a few thousand small
# batches are enough (theirs: 96 channels, batches of 2,048, rates of 5e-5 and 2e-4, an average over 10,000 steps). At
# these rates, beta2 must be smaller than their .999: Adam then reacts in time where gradients grow, and neither D nor G
# dies. With one update of D, G drew each class in fewer ways (recall .2 instead of .4).
BIGGAN = Family(BigGANSettings, biggan_networks, {
    "steps": 4000, "batch_size": 16, "loss": "hinge", "lr": 1e-3, "d_lr": 2e-3, "beta1": 0.0, "beta2": 0.9,
    "eps": 1e-6, "d_steps": 2, "latent": 128, "embedding": 32, "pad": 2, "ema": 0.999, "standing": 16, "ortho": 1e-4,
    "g_class": "cbn", "d_class": "projection"}, g_class=("none", "concat", "cbn"))


@dataclasses.dataclass
class StyleSettings(Settings):
    """What StyleGAN and StyleGAN2 have in common."""

    style: int = setting(64, "length of the style w", 1)
    mapping_layers: int = setting(2, "layers of the mapping from z to w; 0: w is z and the class", 0, 100)
    mapping_rate: float = setting(0.1, "its learning rate, relative to that of the other layers", 1e-6, 1)
    mixing: float = setting(0.0, "share of batches whose finer layers have the styles of other latents", 0, 1)


@dataclasses.dataclass
class StyleGANSettings(StyleSettings, ProGANSettings):
    pass


def stylegan_networks(s, sizes, rng):
    size, _, channels = sizes.image
    both = widths(s.channels, s.max_channels, size)
    return (stylegan.Generator(sizes.latent, size, channels, both, s.style, s.mapping_layers, sizes.g_classes, s.mixing,
                               rate=s.mapping_rate, rng=rng),
            stylegan.Discriminator(size, sizes.d_channels, both, sizes.d_classes, rng=rng))


# The authors' gamma of R1 and half-life of the average, a lazy R1, and growth in a hundredth of their images. As for
# StyleGAN2 below: D learns twice as fast as G, the mapping is short and learns faster, and styles are not mixed. The
# projection replaces the authors' D with a logit for each class (d_class=select), which was at an FID of 17 where this
# one was at 8.
STYLEGAN = Family(StyleGANSettings, stylegan_networks, {
    "steps": 7500, "batch_size": 16, "lr": 4e-3, "d_lr": 8e-3, "beta1": 0.0, "beta2": 0.99, "latent": 64, "pad": 2,
    "ema_images": 10_000, "r1": 10.0, "penalty_every": 4, "g_class": "mapping", "d_class": "projection",
    "sample_every": 500},
    "w", ("none", "mapping"), ("none", "concat", "auxiliary", "projection", "select"))


@dataclasses.dataclass
class StyleGAN2Settings(StyleSettings):
    g_channels: int = setting(8, "channels of G at full size; each halving of the size doubles them, up to max_channels", 1)
    d_channels: int = setting(8, "channels of D at full size, likewise", 1)
    max_channels: int = setting(64, "most channels of a feature map", 1)
    configuration: str = setting("d", "steps of the redesign from StyleGAN, a, to StyleGAN2, d (models/stylegan2.py)",
                                 choices=tuple(stylegan2.CONFIGURATIONS))
    g_architecture: str = setting("skip", "how G's sizes are joined", choices=stylegan2.ARCHITECTURES)
    d_architecture: str = setting("residual", "how D's sizes are joined", choices=stylegan2.ARCHITECTURES)


def stylegan2_networks(s, sizes, rng):
    size, _, channels = sizes.image
    g_widths, d_widths = (widths(n, s.max_channels, size) for n in (s.g_channels, s.d_channels))
    return (stylegan2.Generator(sizes.latent, size, channels, g_widths, s.style, s.mapping_layers, sizes.g_classes,
                                s.mixing, rate=s.mapping_rate, configuration=s.configuration,
                                architecture=s.g_architecture, rng=rng),
            stylegan2.Discriminator(size, sizes.d_channels, d_widths, s.d_architecture, classes=sizes.d_classes,
                                    layers=s.mapping_layers, rate=s.mapping_rate, rng=rng))


# The authors' networks, loss, penalties and average, for 160,000 images instead of 25 million. With rates like theirs
# (2.5e-3 for both; 4e-3 was tried) and a gamma of .1 (their rule gives .0064), G drew one image for all latents, and
# was long in learning to draw others, as without batch-norm nothing but D sees that. A larger gamma, and D learning twice
# as fast as G, keep it from that (held-out FID after 32,000 images: 7 instead of 79); so does a mapping of 2 layers that
# learns at .1, not .01, of the rate. Style mixing costs too much in so few images (21 at mixing=.9, where 8 was without;
# the authors leave it out for CIFAR-10, too), and the projection learns faster than their comparison with a mapping of
# the class (d_class=mapping: 13 instead of 8).
STYLEGAN2 = Family(StyleGAN2Settings, stylegan2_networks, {
    "steps": 10000, "batch_size": 16, "lr": 4e-3, "d_lr": 8e-3, "beta1": 0.0, "beta2": 0.99, "latent": 64, "pad": 2,
    "ema_images": 10_000, "r1": 4.0, "penalty_every": 4, "path_length": 2.0, "path_every": 4, "sanitize": True,
    "g_class": "mapping", "d_class": "projection", "sample_every": 500},
    "w", ("none", "mapping"), ("none", "concat", "auxiliary", "projection", "mapping"))


class Recipe(NamedTuple):
    """A name, a summary of one line, a family, and the settings in which the recipe differs from it."""

    name: str
    summary: str
    family: Family
    changes: dict = {}

    def settings(self):
        """The recipe's Settings, to be changed with `updated`."""
        return self.family.settings().updated(self.family.defaults | self.changes)

    def build(self, s, image_shape, classes, rng):
        """(G, D) for images (H, W, C) of so many classes. Raises InputError if the settings do not go together."""
        if (s.g_class == "none") != (s.d_class == "none"):
            raise InputError(f"settings g_class={s.g_class} d_class={s.d_class}: tell both networks the class, "
                             "or neither")
        for name, known in (("g_class", self.family.g_class), ("d_class", self.family.d_class)):
            if getattr(s, name) not in known:
                raise InputError(f"setting {name}={getattr(s, name)}: the networks of {self.name} take {', '.join(known)}")
        sizes = Sizes(image_shape, s.latent + s.embedding * (s.g_class == "concat"),
                      image_shape[2] + (s.d_class == "concat"), classes if s.g_class in ("cbn", "mapping") else None,
                      classes if s.d_class in ("select", "mapping") else None)
        try:
            G, D = self.family.networks(s, sizes, rng)
        except ValueError as error:
            raise InputError(str(error)) from None
        if s.g_class == "concat":
            G = conditioning.ConcatLatent(G, classes, s.embedding, rng=rng)
        if s.d_class == "concat":
            D = conditioning.ConcatImage(D, classes, image_shape[:2], rng=rng)
        elif s.d_class == "auxiliary":
            D = conditioning.AuxiliaryClassifier(D, classes, rng=rng)
        elif s.d_class == "projection":
            D = conditioning.Projection(D, classes, rng=rng)
        return G, D


DEFAULT = "quick"
RECIPES = {recipe.name: recipe for recipe in (
    Recipe("quick", "the best digits in two minutes: DCGAN's layers, class projection, R1 (see README)", DCGAN, {
        "steps": 4000, "batch_size": 64, "lr": 2e-3, "beta1": 0.0, "beta2": 0.99, "ema": 0.999, "g_channels": 32,
        "d_norm": "none", "r1": 0.2, "penalty_every": 8, "g_class": "concat", "d_class": "projection",
        "sample_every": 200}),
    Recipe("gan", "the first GAN: two multilayer perceptrons (Goodfellow et al. 2014)", MLP),
    Recipe("dcgan", "convolutions and batch-norm (Radford et al. 2016)", DCGAN),
    Recipe("lsgan", "least squares instead of cross-entropy (Mao et al. 2017)", DCGAN, {"loss": "l2"}),
    Recipe("wgan", "the Wasserstein distance, by a critic with clipped weights (Arjovsky et al. 2017)", DCGAN, {
        "steps": 5000, "loss": "wasserstein", "optimizer": "rmsprop", "lr": 5e-5, "beta2": 0.99, "clip": 0.01,
        "d_steps": 5, "d_boost": 100}),
    Recipe("wgan-gp", "a penalty on the critic's slope instead of clipping (Gulrajani et al. 2017)", DCGAN, {
        "steps": 3500, "loss": "wasserstein", "lr": 1e-4, "beta1": 0.5, "beta2": 0.9, "d_steps": 5, "gp": 10.0,
        "d_norm": "none"}),
    Recipe("sngan", "residual networks, spectral normalisation and hinge loss (Miyato et al. 2018)", SNGAN),
    Recipe("cgan", "G and D see the class, beside z and beside the image (Mirza and Osindero 2014)", DCGAN, {
        "steps": 14000, "g_class": "concat", "d_class": "concat"}),
    # With the paper's batch-norm in D and its rate of 2e-4, D's classifier learns to read G's fakes by signs that are no
    # digits: it is sure of them, and half of them show another class (54% of the class asked for after 10,000 steps).
    Recipe("acgan", "D also guesses the class (Odena et al. 2017)", DCGAN, {
        "lr": 2e-3, "beta1": 0.0, "beta2": 0.99, "d_norm": "none", "r1": 0.2, "penalty_every": 8,
        "g_class": "concat", "d_class": "auxiliary"}),
    # The rate (2e-4) and five updates of D of its paper are made for hundreds of thousands of steps: in 1,700, G did
    # not learn to draw the class at all. With equal rates, it drew each class in a few ways only.
    Recipe("projection", "sngan with conditional batch-norm and a projection D (Miyato and Koyama 2018)", SNGAN, {
        "steps": 5500, "lr": 1e-3, "d_lr": 4e-3, "d_steps": 1, "g_channels": 16, "d_channels": 16, "sample_every": 500,
        "g_class": "cbn", "d_class": "projection"}),
    Recipe("progan", "begin at 4x4 pixels, and let larger sizes fade in (Karras et al. 2018)", PROGAN),
    Recipe("biggan", "class and z in every block, self-attention, truncation (Brock et al. 2019)", BIGGAN),
    Recipe("stylegan", "z becomes a style, which enters every layer; noise, AdaIN (Karras et al. 2019)", STYLEGAN),
    Recipe("stylegan2", "demodulated weights, skips, path-length penalty (Karras et al. 2020b)", STYLEGAN2),
)}


def find(name) -> Recipe:
    """The recipe of that name. Raises InputError listing what exists."""
    if name not in RECIPES:
        raise InputError(f"unknown recipe {name!r}; there are: {', '.join(RECIPES)}")
    return RECIPES[name]
