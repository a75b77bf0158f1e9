"""StyleGAN (Karras, Laine and Aila 2019): the latent enters every layer of G, as a style.

    z -> mapping (8 layers) -> w -> a scale and a shift for every feature map
    G:  a learned constant, 4x4, -> AdaIN -> conv -> AdaIN
        -> up, conv, blur -> AdaIN -> conv -> AdaIN -> ... -> image
    D:  Progressive GAN's, with a blur before it halves the feature maps

Each layer of G: conv -> noise, with a strength per channel -> bias -> leaky relu -> instance norm,
scale and shift (AdaIN). G and D grow like Progressive GAN's, or have full size from the start. G
receives the class as an embedding beside z; in D, the class selects one of the logits.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tinygan import nn, ops
from tinygan.autograd import Parameter, Tensor
from tinygan.backend import Rng, generator, xp
from tinygan.ops.linear import checked_indices
from tinygan.settings import setting

from . import progan
from .recipe import Recipe
from .settings import Settings


class Styled(nn.Module):
    """A layer of G: (x, w) -> conv (if there is one), noise, bias, leaky relu, AdaIN.

    size: (height, width) of the output. style: the length of w. up: double the size, and blur.
    """

    conditional = True

    def __init__(
        self,
        channels: int,
        size: tuple[int, int],
        style: int,
        conv: nn.Module | None = None,
        up: bool = False,
        *,
        rng: Rng,
    ) -> None:
        rng = generator(rng)
        self.conv, self.blur = conv, nn.Blur() if up else None
        self.noise = nn.Noise(channels, size, rng=rng)
        self.bias = Parameter(xp.zeros(channels, "float32"))
        self.style = nn.Equalized(nn.Linear(style, 2 * channels, rng=rng), 1.0, rng=rng)

    def forward(self, x, w):
        if self.blur:
            x = self.blur(self.conv(ops.upsample_nearest(x)))
        elif self.conv:
            x = self.conv(x)
        x = ops.bias_act(self.noise(x), self.bias)
        style = ops.reshape(self.style(w), (len(w), 2, 1, 1, len(self.bias)))
        return ops.instance_norm(x, 1.0 + style[:, 0], style[:, 1], eps=1e-8)


class Generator(nn.StyleGenerator, progan.Growing):
    """Latents z (N, latent), and labels (N,) if there are classes -> images (N, H, W,
    image_channels), about in [-1, 1].

    image_size: (H, W), or a number for both. widths: channels of the feature maps of 4x4, 8x8, ...
    up to full size. style: the length of w.
    layers, classes, hidden, rate: see `nn.Mapping`. mixing, psi, cutoff: see `nn.StyleGenerator`.
    """

    buffer_names = ("w_average", "lod")

    def __init__(
        self,
        latent: int = 64,
        image_size: int | tuple[int, int] = 32,
        image_channels: int = 1,
        widths: Sequence[int] = (64, 64, 32, 16),
        style: int = 64,
        layers: int = 8,
        classes: int | None = None,
        mixing: float = 0.9,
        hidden: int | None = None,
        rate: float = 0.01,
        *,
        rng: Rng,
    ) -> None:
        rng = generator(rng)
        progan.Growing.__init__(self, image_size, widths, rng)
        mapping = nn.Mapping(latent, style, layers, classes, rate, hidden=hidden, rng=rng)
        self.init_styles(mapping, style, 2 * len(widths), mixing, rng)
        self.constant = Parameter(xp.ones((*self.start, widths[0]), "float32"))
        (height, width), self.blocks = self.start, []
        for i, (a, b) in enumerate(zip((widths[0], *widths), widths)):
            convs = [self.conv3(a, b, bias=False) if i else None, self.conv3(b, b, bias=False)]
            ups = [i > 0, False]
            size = height << i, width << i
            styled = (Styled(b, size, style, *conv_up, rng=rng) for conv_up in zip(convs, ups))
            self.blocks += [nn.Sequential(*styled)]
        self.to_image = [self.conv(width, image_channels, 1, gain=1.0) for width in widths]

    def layers_in_use(self) -> int:
        return 2 * self.stage()[0] + 2

    def synthesis(self, ws: Tensor) -> Tensor:
        """Return the images of styles (N, style_layers, style)."""
        ws = self.expect_shape(ws, "N", self.style_layers, len(self.w_average), what="styles")
        x = ops.broadcast_to(self.constant, (len(ws), *self.constant.shape))
        coarser = None
        for i, block in enumerate(self.blocks[: self.stage()[0] + 1]):
            coarser = x
            for j, layer in enumerate(block):
                x = layer(x, ws[:, 2 * i + j])
        return self.full_size_image(x, coarser)


class Discriminator(progan.Discriminator):
    """Progressive GAN's D, but each block blurs before it halves the size, and its last leaky relu
    comes after the halving.

    With classes, D has a logit for each class, and the labels (N,) select one (Mescheder et al.
    2018).
    """

    def __init__(
        self,
        image_size: int | tuple[int, int] = 32,
        image_channels: int = 1,
        widths: Sequence[int] = (64, 64, 32, 16),
        classes: int | None = None,
        *,
        rng: Rng,
    ) -> None:
        rng = generator(rng)
        super().__init__(image_size, image_channels, widths, rng=rng)
        self.conditional, self.classes = classes is not None, classes
        if classes:
            self.to_logit = self.conv(widths[0], classes, gain=1.0, kind=nn.Linear)

    def block(self, inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(
            self.conv3(inputs, inputs),
            nn.LeakyReLU(0.2),
            nn.Blur(),
            self.conv3(inputs, outputs),
            nn.AvgPool2d(2),
            nn.LeakyReLU(0.2),
        )

    def forward(self, x, labels=None):
        if not self.conditional:
            return super().forward(x)
        logits = self.to_logit(self.features(x))
        labels = self.expect_labels(labels, len(x), self.classes)
        labels = checked_indices(labels, self.classes, "Discriminator: labels")
        return logits[xp.arange(len(x)), labels]


@dataclass
class StyleSettings(Settings):
    """The settings that StyleGAN and StyleGAN2 share."""

    style: int = setting(64, "length of the style vector w", 1)
    mapping_layers: int = setting(
        2, "number of layers of the mapping from z to w; 0: w is z with the class appended", 0, 100
    )
    mapping_rate: float = setting(
        0.1, "learning rate of the mapping, relative to that of the other layers", 1e-6, 1
    )
    mixing: float = setting(
        0.0,
        "probability that the finer layers of a batch have the styles of other latents",
        0,
        1,
        group="loss",
    )


@dataclass
class StyleGANSettings(StyleSettings, progan.ProGANSettings):
    pass


def networks(s, sizes, rng) -> tuple[Generator, Discriminator]:
    *size, channels = sizes.image
    widths = progan.channels_by_size(s.channels, s.max_channels, size)
    return (
        Generator(
            sizes.latent,
            size,
            channels,
            widths,
            s.style,
            s.mapping_layers,
            sizes.g_classes,
            s.mixing,
            rate=s.mapping_rate,
            rng=rng,
        ),
        Discriminator(size, sizes.d_image_channels, widths, sizes.d_classes, rng=rng),
    )


# The networks grow within a hundredth of the authors' number of images. D learns twice as fast as
# G, the mapping has two layers and learns faster than theirs, and styles are not mixed:
# stylegan2.py says why.
RECIPE = Recipe(
    "stylegan",
    "a mapping from z to styles for every layer, noise, AdaIN (Karras et al. 2019)",
    StyleGANSettings,
    networks,
    {
        "steps": 7500,
        "batch_size": 16,
        "sample_every": 500,
        "lr": 4e-3,
        "d_lr": 8e-3,
        "beta1": 0.0,
        "beta2": 0.99,
        "latent": 64,
        "pad": 2,
        # The authors' gamma of R1, and their half-life of the average of G. But R1 is lazy, as in
        # StyleGAN2.
        "r1": 10.0,
        "penalty_every": 4,
        "ema_images": 10_000,
        # The authors' D has a logit for each class (d_class=select). Its FID was 17 when that of
        # the projection was 8.
        "g_class": "mapping",
        "d_class": "projection",
    },
    truncation="w",
    g_class_choices=("none", "mapping"),
    d_class_choices=("none", "concat", "auxiliary", "projection", "select"),
)
