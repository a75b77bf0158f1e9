"""What generators with styles are made of: the mapping network, noise, and styles that vary from layer to layer."""

import numpy as np

from tinygan import batch, ops
from tinygan.autograd import Parameter, Tensor, described, wrap
from tinygan.backend import asarray, from_host, normal, xp
from tinygan.errors import InputError

from . import init as initial
from .equalized import Equalized
from .layers import Embedding, Linear
from .module import Module
from .norms import PixelNorm


class Mapping(Module):
    """Latents z (N, latent), and classes (N,) if there are any -> styles w (N, size).

    z is put on a sphere, then goes through `layers` fully connected layers with leaky rectifiers, which learn at `rate`
    times the other layers' rate (Karras et al. 2019, section 3 and appendix C). A class is an embedding beside z, as
    long as z. apart: z and the embedding, as long as w, are each put on a sphere before they are joined, and the
    activations, not the weights, have a gain of sqrt(2) (StyleGAN2-ADA); otherwise both are put on one sphere (StyleGAN).
    hidden: units of all layers but the last (default: size). latent 0: of the classes alone; z is None. layers 0: w is z, and
    the embedding beside it, on their spheres; as long as `size` must be.
    """

    def __init__(
        self,
        latent,
        size,
        layers=8,
        classes=None,
        rate=0.01,
        separate_norms=False,
        hidden=None,
        *,
        rng,
    ):
        self.latent, self.classes, self.separate_norms, self.norm = (
            latent,
            classes,
            separate_norms,
            PixelNorm(),
        )
        embedding = (size if separate_norms else latent) if classes else 0
        self.embedding = Embedding(classes, embedding, rng=rng) if classes else None
        if not layers and latent + embedding != size:
            raise InputError(
                "without mapping_layers, a style is as long as z and its class: "
                f"style={latent + embedding}, not {size}"
            )
        widths = [latent + embedding] + [hidden or size] * (layers - 1) + [size] * (layers > 0)
        # Equalized draws the weights anew and sets the biases to 0. The generator of a seed that is
        # always the same gives these zeros the same signs each time.
        linear = lambda a, b: Linear(a, b, rng=np.random.default_rng(0))
        self.layers = [
            Equalized(linear(a, b), 1.0 if separate_norms else 2**0.5, rate=rate, rng=rng)
            for a, b in zip(widths, widths[1:])
        ]

    @property
    def conditional(self):
        return self.classes is not None

    def forward(self, z, labels=None):
        parts = [self.expect_shape(z, "N", self.latent, what="latents")] if self.latent else []
        if self.classes:
            labels = self.expect_labels(labels, len(z), self.classes) if parts else labels
            parts.append(self.embedding(labels))
        x = ops.concatenate(
            [self.norm(part) for part in parts] if self.separate_norms else parts, 1
        )
        x = x if self.separate_norms else self.norm(x)
        for layer in self.layers:
            x = ops.leaky_relu(layer(x), 0.2, 2**0.5 if self.separate_norms else 1.0)
        return x


class Noise(Module):
    """x (N, H, W, C) + strength * noise (N, H, W, 1), N(0, 1) and the same for all channels (Karras et al. 2019, 3.2).

    strength: a Parameter (C,), or () with `shared`; it starts at 0. In training, every image has fresh noise; in
    evaluation, all have the buffer `fixed` (H, W). Set `mode` to "random", "fixed" or "none" to have it otherwise.
    """

    buffer_names = ("fixed",)

    def __init__(self, channels, size, shared=False, *, rng):
        self.strength = Parameter(xp.zeros(() if shared else channels, "float32"))
        self.fixed = normal(rng, (size, size))
        self.rng, self.mode = rng, None

    def forward(self, x):
        x = self.expect_shape(x, "N", *self.fixed.shape, *self.strength.shape or "C")
        mode = self.mode or ("random" if self.training else "fixed")
        if mode == "none":
            return x
        n, height, width, _ = x.shape
        noise = (
            normal(self.rng, (n, height, width, 1)) if mode == "random" else self.fixed[..., None]
        )
        return x + self.strength * wrap(asarray(noise, x.dtype))


class ResampledConv2d(Module):
    """Convolution with an odd kernel and without a bias, of the same size, or with the filter of StyleGAN2 to twice the
    size (`up`) or to half of it (`down`): see `ops.conv2d_up` and `ops.conv2d_down`. weight (k, k, in, out)."""

    def __init__(
        self, inputs, outputs, kernel_size, up=False, down=False, *, rng, init=initial.normal(1.0)
    ):
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
    """Convolution of each image x (N, H, W, in) with weights scaled by its style (N, in): see `ops.modulated_conv2d`.

    weight (k, k, in, out), N(0, 1). Without demodulation, the styles are scaled by 1 / sqrt(fan_in), as an equalised
    layer's weights are (Karras et al. 2020b, section 2.2).
    """

    conditional = True

    def __init__(
        self,
        inputs,
        outputs,
        kernel_size,
        up=False,
        demodulate=True,
        *,
        rng,
        init=initial.normal(1.0),
    ):
        self.up, self.demodulate = up, demodulate
        self.weight = Parameter(init(rng, (kernel_size, kernel_size, inputs, outputs)))
        self.scale = (kernel_size**2 * inputs) ** -0.5

    def forward(self, x, style):
        return ops.modulated_conv2d(
            x,
            self.weight,
            style if self.demodulate else style * self.scale,
            self.up,
            self.demodulate,
        )


class StyleGenerator(Module):
    """z -> mapping -> w -> a style for each layer -> synthesis -> image: what StyleGAN and StyleGAN2 share.

    A subclass sets `mapping`, `latent`, `classes`, and `style_layers`, the number of styles, and defines
    synthesis(ws), from styles (N, style_layers, size) to images.

    w_average, a buffer, follows the mean of w in training: w_average = .995 w_average + .005 mean w. mixing: in training,
    the share of batches in which the layers from a random one on have the styles of other latents (style mixing: Karras
    et al. 2019, section 3.1). psi: in evaluation, the truncation trick in W, w_average + psi (w - w_average), for the
    first `cutoff` layers (None: all; appendix B).
    """

    buffer_names = ("w_average",)

    def set_styles(self, mapping, size, style_layers, mixing, rng):
        self.mapping, self.style_layers, self.mixing, self.rng = mapping, style_layers, mixing, rng
        self.latent, self.classes = mapping.latent, mapping.classes
        self.w_average = xp.zeros(size, "float32")
        self.psi, self.cutoff = 1.0, None

    @property
    def conditional(self):
        return self.classes is not None

    def styles(self, z, labels=None):
        """The styles (N, style_layers, size) of latents. In training, they are mixed, and the average
        of w moves on; in evaluation, they are truncated."""
        w = self.mapping(z, labels)
        ws = self.spread(w)
        if not self.training:
            return self.truncate(ws)
        if not len(w):
            raise self.argument_error(
                f"training takes the mean of the styles, got those of an empty batch, {described(w)}"
            )
        mean = batch.mean(w.data.mean(0))
        self.w_average = mean + 0.995 * (self.w_average - mean)
        return self.mix(ws, labels) if self.mixing else ws

    def spread(self, w):
        """w (N, size) as the style of every layer (N, style_layers, size)."""
        n, size = w.shape
        return ops.broadcast_to(ops.reshape(w, (n, 1, size)), (n, self.style_layers, size))

    def truncate(self, ws):
        if self.psi == 1:
            return ws
        cutoff = self.style_layers if self.cutoff is None else self.cutoff
        psi = np.where(np.arange(self.style_layers) < cutoff, self.psi, 1.0)[:, None]
        average = wrap(asarray(self.w_average, ws.dtype))
        return average + (ws - average) * wrap(asarray(psi, ws.dtype))

    def layers_in_use(self):
        return self.style_layers

    def mix(self, ws, labels):
        """A random layer for the batch, from which on the styles are those of other latents."""
        n, layers, dtype = len(ws), self.layers_in_use(), ws.dtype

        def drawn():
            first, z = (
                self.style_layers,
                np.zeros((n, self.latent), np.float32),
            )  # of a batch that is not mixed
            if self.rng.random() < self.mixing:
                first = self.rng.integers(1, layers)
                z = self.rng.standard_normal(z.shape, dtype=z.dtype)
            return z.astype(dtype), (np.arange(self.style_layers) >= first)[:, None]

        z, others = from_host(drawn)
        return ops.where(others, self.spread(self.mapping(Tensor(z), labels)), ws)

    def forward(self, z, labels=None):
        return self.synthesis(self.styles(z, labels))
