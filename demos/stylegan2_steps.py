"""StyleGAN2's redesign, with step (c) taken apart: a recipe for demos/stylegan2.py.

    tinygan train demos/stylegan2_steps.py --set configuration=b-deviation

From (b) to (c), two things change. Here, each is a configuration of its own:

    b-deviation  like (b), but normalised by the deviation alone, and modulated by a scale alone
    b-noise      like (b), but noise and bias come after the normalisation (and so the style scales
                 and shifts the input of the convolution, as it does in (c))
"""

from dataclasses import dataclass
from functools import partial

from tinygan import ops
from tinygan.models import stylegan2
from tinygan.models.stylegan2 import EPS, PIXELS
from tinygan.settings import setting


class DeviationAlone(stylegan2.AdaINWrittenOut):
    """Configuration b-deviation: conv -> noise, bias, leaky relu -> divide by the deviation ->
    scale(w)."""

    def __init__(self, inputs, outputs, size, style, up=False, *, rng) -> None:
        conv = stylegan2.conv
        self.conv = conv(inputs, outputs, 3, up=up, rng=rng) if inputs else None
        self.activation = stylegan2.Activation(outputs, size, rng=rng)
        self.style = stylegan2.style_layer(style, outputs, rng=rng)

    def forward(self, x, w):
        scale = ops.reshape(self.style(w), (len(w), 1, 1, -1))
        x = self.activation(self.conv(x) if self.conv else x)
        return x * (ops.var(x, PIXELS, keepdims=True) + EPS) ** -0.5 * scale


class NoiseBehind(stylegan2.MeasuredDeviation):
    """Configuration b-noise: scale(w), shift(w) -> conv -> subtract the mean, divide by the
    deviation -> noise, bias, leaky relu."""

    def __init__(self, inputs, outputs, size, style, up=False, *, rng) -> None:
        self.style = stylegan2.style_layer(style, inputs, inputs, rng=rng)
        self.conv = stylegan2.conv(inputs, outputs, 3, up=up, rng=rng)
        self.activation = stylegan2.Activation(outputs, size, rng=rng)

    def forward(self, x, w):
        both = ops.reshape(self.style(w), (len(w), 2, 1, 1, -1))
        x = self.conv(x * both[:, 0] + both[:, 1])
        x = x - ops.mean(x, PIXELS, keepdims=True)
        x = x * (ops.var(x, PIXELS, keepdims=True) + EPS) ** -0.5
        return self.activation(x)


STEPS = {
    "a": stylegan2.AdaIN,
    "b": stylegan2.AdaINWrittenOut,
    "b-deviation": DeviationAlone,
    "b-noise": NoiseBehind,
    "c": stylegan2.MeasuredDeviation,
    "d": stylegan2.Demodulated,
}


@dataclass
class Settings(stylegan2.StyleGAN2Settings):
    configuration: str = setting("d", "step of the redesign", choices=tuple(STEPS))


RECIPE = stylegan2.RECIPE.variant(
    "stylegan2-steps", "the redesign, with step (c) taken apart"
)._replace(settings_class=Settings, networks=partial(stylegan2.networks, layers=STEPS))
