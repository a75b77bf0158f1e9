"""Layers of generators with styles: the mapping network, noise, modulated convolutions, and the
base class of StyleGAN's and StyleGAN2's generators."""

import numpy as np

from tinygan import batch, ops
from tinygan.autograd import Array, Parameter, Tensor, described, wrap
from tinygan.backend import Rng, asarray, from_host, generator, normal, xp
from tinygan.errors import InputError
from tinygan.ops.bilinear import as_pair

from . import init as initial
from .equalized import Equalized
from .layers import Embedding, Linear
from .module import Module
from .norms import PixelNorm


class Mapping(Module):
    """The mapping network: latents z (N, latent), and labels (N,) if there are classes -> styles w
    (N, size) (Karras et al. 2019, section 3 and appendix C).

    z is normalised to a sphere. Then it goes through `layers` fully connected layers with leaky
    rectifiers. A class enters as an embedding beside z.

    latent: the length of z. With latent=0, only the class is mapped, and z is None (this needs
    separate_norms=True).
    layers: 0 returns the normalised z, with the embedding beside it, as w. size must equal their
    length.
    classes: the number of classes, or None.
    rate: the learning rate of the layers, relative to that of other layers.
    separate_norms: True, as in StyleGAN2-ADA's code: the class embedding is as long as w, z and the
    embedding are normalised separately, and the gain of sqrt(2) is in the activations. False, as in
    StyleGAN's code: the embedding is as long as z, both are normalised together, and the gain is in
    the weights.
    hidden: the number of units of all layers but the last (default: size).
    Raises InputError for a size that does not fit `layers` = 0.
    """

    def __init__(
        self,
        latent: int,
        size: int,
        layers: int = 8,
        classes: int | None = None,
        rate: float = 0.01,
        separate_norms: bool = False,
        hidden: int | None = None,
        *,
        rng: Rng,
    ) -> None:
        rng = generator(rng)
        self.latent, self.classes = latent, classes
        self.separate_norms, self.norm = separate_norms, PixelNorm()
        embedding = (size if separate_norms else latent) if classes else 0
        self.embedding = Embedding(classes, embedding, rng=rng) if classes else None
        if not layers and latent + embedding != size:
            raise InputError(
                "without mapping_layers, a style is as long as z and its class: "
                f"style={latent + embedding}, not {size}"
            )
        widths = [latent + embedding] + [hidden or size] * (layers - 1) + [size] * min(layers, 1)
        # Equalized draws the weights anew and sets the biases to 0. The fixed seed here makes the
        # signs of these zeros the same in every run.
        linear = lambda a, b: Linear(a, b, rng=np.random.default_rng(0))
        self.layers = [
            Equalized(linear(a, b), 1.0 if separate_norms else 2**0.5, rate=rate, rng=rng)
            for a, b in zip(widths, widths[1:])
        ]

    @property
    def conditional(self) -> bool:
        return self.classes is not None

    def forward(self, z, labels=None):
        parts = [self.expect_shape(z, "N", self.latent, what="latents")] if self.latent else []
        if self.classes:
            labels = self.expect_labels(labels, len(z), self.classes) if parts else labels
            parts.append(self.embedding(labels))
        if self.separate_norms:
            x = ops.concatenate([self.norm(part) for part in parts], 1)
        else:
            x = self.norm(ops.concatenate(parts, 1))
        for layer in self.layers:
            x = ops.leaky_relu(layer(x), 0.2, 2**0.5 if self.separate_norms else 1.0)
        return x


class Noise(Module):
    """x (N, H, W, C) + strength * noise (N, H, W, 1), where the noise is N(0, 1) and the same for
    all channels (Karras et al. 2019, section 3.2).

    size: (H, W), or a number for both. strength is a Parameter (C,), or a scalar if `shared`, and
    starts at 0. In training, the noise is drawn anew for every image; in evaluation, all images
    have the buffer `fixed` (H, W). Set the attribute `mode` to "random", "fixed" or "none" to
    override that.
    """

    buffer_names = ("fixed",)

    def __init__(
        self, channels: int, size: int | tuple[int, int], shared: bool = False, *, rng: Rng
    ) -> None:
        rng = generator(rng)
        self.strength = Parameter(xp.zeros(() if shared else channels, "float32"))
        self.fixed = normal(rng, as_pair(size))
        self.rng, self.mode = rng, None

    def forward(self, x):
        x = self.expect_shape(x, "N", *self.fixed.shape, *self.strength.shape or "C")
        mode = self.mode or ("random" if self.training else "fixed")
        if mode == "none":
            return x
        shape = (*x.shape[:3], 1)
        noise = normal(self.rng, shape) if mode == "random" else xp.array(self.fixed)[..., None]
        return x + self.strength * wrap(asarray(noise, x.dtype))


class ResampledConv2d(Module):
    """Convolution with an odd kernel_size and without a bias. It keeps the height and width of x,
    or doubles (`up`) or halves (`down`) them with StyleGAN2's filter: see `ops.conv2d_up` and
    `ops.conv2d_down`. weight (k, k, in, out)."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel_size: int,
        up: bool = False,
        down: bool = False,
        *,
        rng: Rng,
        init: initial.Init = initial.normal(1.0),
    ) -> None:
        rng = generator(rng)
        self.up, self.down, self.bias = up, down, None
        self.weight = Parameter(init(rng, (kernel_size, kernel_size, inputs, outputs)))

    def forward(self, x, weight=None):
        weight = self.weight if weight is None else weight
        if self.up:
            return ops.conv2d_up(x, weight)
        if self.down:
            return ops.conv2d_down(x, weight)
        return ops.conv2d(x, weight, padding=weight.shape[0] // 2)


class ModulatedConv2d(Module):
    """Convolution of each image x (N, H, W, in) with a weight scaled by its style (N, in): see
    `ops.modulated_conv2d`.

    weight (k, k, in, out), drawn from N(0, 1). up: double the height and width. demodulate: False
    multiplies the styles by 1 / sqrt(fan_in) instead, like the weights of an equalised layer
    (Karras et al. 2020b, section 2.2).
    """

    conditional = True

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel_size: int,
        up: bool = False,
        demodulate: bool = True,
        *,
        rng: Rng,
        init: initial.Init = initial.normal(1.0),
    ) -> None:
        rng = generator(rng)
        self.up, self.demodulate = up, demodulate
        self.weight = Parameter(init(rng, (kernel_size, kernel_size, inputs, outputs)))
        self.scale = (kernel_size**2 * inputs) ** -0.5

    def forward(self, x, style):
        style = style if self.demodulate else style * self.scale
        return ops.modulated_conv2d(x, self.weight, style, self.up, self.demodulate)


class StyleGenerator(Module):
    """z -> mapping -> w -> a style for each layer -> synthesis -> image: the base class of
    StyleGAN's and StyleGAN2's generators.

    A subclass calls `init_styles` in its `__init__`, and defines synthesis(ws), from styles
    (N, style_layers, size) to images.

    w_average: a buffer, the running mean of w in training, .995 w_average + .005 (mean of w).
    mixing: the probability, in training, that a batch has mixed styles: from a random layer on, the
    layers have the styles of other latents (Karras et al. 2019, section 3.1).
    psi: the truncation trick in W, in evaluation: w_average + psi (w - w_average), for the first
    `cutoff` layers (None: for all layers; appendix B).
    """

    buffer_names = ("w_average",)

    def init_styles(
        self, mapping: Mapping, size: int, style_layers: int, mixing: float, rng: Rng
    ) -> None:
        """Set the attributes that all generators with styles have. A separate method, because
        `stylegan.Generator` also initialises `Growing`.

        size: the length of w. style_layers: the number of layers that have a style.
        """
        rng = generator(rng)
        self.mapping, self.style_layers, self.mixing, self.rng = mapping, style_layers, mixing, rng
        self.latent, self.classes = mapping.latent, mapping.classes
        self.w_average = xp.zeros(size, "float32")
        self.psi, self.cutoff = 1.0, None

    @property
    def conditional(self) -> bool:
        return self.classes is not None

    def styles(self, z: Tensor, labels: Array | None = None) -> Tensor:
        """Return the styles (N, style_layers, size) of latents z (N, latent).

        In training, mix them, and update the running mean of w; in evaluation, truncate them.
        """
        w = self.mapping(z, labels)
        ws = self.broadcast_to_layers(w)
        if not self.training:
            return self.truncate(ws)
        if not len(w):
            raise self.argument_error(
                f"training needs the mean of the styles, got an empty batch, {described(w)}"
            )
        mean = batch.mean(w.data.mean(0))
        self.w_average = mean + 0.995 * (self.w_average - mean)
        return self.mix(ws, labels) if self.mixing else ws

    def broadcast_to_layers(self, w: Tensor) -> Tensor:
        """Return w (N, size) as the style of every layer, (N, style_layers, size)."""
        n, size = w.shape
        return ops.broadcast_to(ops.reshape(w, (n, 1, size)), (n, self.style_layers, size))

    def truncate(self, ws: Tensor) -> Tensor:
        """Return styles moved towards the running mean of w, by `psi` and `cutoff`."""
        if self.psi == 1:
            return ws
        cutoff = self.style_layers if self.cutoff is None else self.cutoff
        psi = np.where(np.arange(self.style_layers) < cutoff, self.psi, 1.0)[:, None]
        average = asarray(self.w_average, ws.dtype)
        return average + (ws - average) * asarray(psi, ws.dtype)

    def layers_in_use(self) -> int:
        """Return the number of style layers that contribute to the image; fewer while a G grows."""
        return self.style_layers

    def mix(self, ws: Tensor, labels: Array | None) -> Tensor:
        """With probability `mixing`, draw a layer for the batch, and give it and all later layers
        the styles of other latents."""
        n, layers, dtype = len(ws), self.layers_in_use(), ws.dtype

        def draw():
            first, z = self.style_layers, np.zeros((n, self.latent), np.float32)  # for no mixing
            if self.rng.random() < self.mixing:
                first = self.rng.integers(1, layers)
                z = self.rng.standard_normal(z.shape, dtype=z.dtype)
            return z.astype(dtype), (np.arange(self.style_layers) >= first)[:, None]

        z, mixed = from_host(draw)
        return ops.where(mixed, self.broadcast_to_layers(self.mapping(wrap(z), labels)), ws)

    def forward(self, z, labels=None):
        return self.synthesis(self.styles(z, labels))
