"""The networks of a game on points, and its settings.

G:  z -> layers -> point (x, y)
D:  point -> layers -> logit

By default, they are those of the recipe `gan` for points, with the same initial weights.
"""

from dataclasses import dataclass

import numpy as np

from tinygan import nn
from tinygan.autograd import Parameter, Tensor
from tinygan.backend import normal
from tinygan.data.points import DISTRIBUTIONS
from tinygan.errors import InputError
from tinygan.models.recipe import Recipe
from tinygan.models.settings import Settings
from tinygan.ops import broadcast_to, concatenate
from tinygan.settings import MAX_COUNT, setting

DRAWN = "drawn"  # the name of points that the user gives
ACTIVATIONS = {
    "relu": nn.ReLU,
    "leaky-relu": lambda: nn.LeakyReLU(0.2),
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}
WHOLE_BATCH = MAX_COUNT  # the group size of minibatch stddev: a group is at most the batch


@dataclass
class GameSettings(Settings):
    """The settings of a game: those of all recipes, the data, the seed and the networks."""

    data: str = setting(
        "ring",
        "distribution of the real points; drawn: points that you give",
        choices=(*DISTRIBUTIONS, DRAWN),
        group="run",
    )
    seed: int = setting(
        0, "seed of the initial weights and of all that is drawn", 0, MAX_COUNT, group="run"
    )
    hidden: int = setting(128, "units in each hidden layer of G", 1)
    layers: int = setting(2, "number of hidden layers of G", 1, 100)
    d_hidden: int = setting(0, "units in each hidden layer of D; 0: as in G", 0)
    d_layers: int = setting(0, "number of hidden layers of D; 0: as in G", 0, 100)
    activation: str = setting("relu", "activation of G", choices=tuple(ACTIVATIONS))
    d_activation: str = setting("leaky-relu", "activation of D", choices=tuple(ACTIVATIONS))
    minibatch_stddev: bool = setting(
        False,
        "let D see how much the points of a batch differ, against mode collapse (Karras et al. "
        "2018, section 3)",
    )
    dirac: bool = setting(
        False,
        "let G be a single point theta, and D(x) = psi x, without layers (the Dirac-GAN of "
        "Mescheder et al. 2018)",
    )


def hidden_layers(inputs: int, width: int, layers: int, activation: str, rng) -> nn.Sequential:
    """Return linear layers, each with its activation."""
    widths = [inputs] + [width] * layers
    return nn.Sequential(
        *(
            part
            for a, b in zip(widths, widths[1:])
            for part in (nn.Linear(a, b, rng=rng), ACTIVATIONS[activation]())
        )
    )


class Generator(nn.Module):
    """Latents z (N, latent) -> points (N, 2)."""

    def __init__(self, s: GameSettings, latent: int, rng) -> None:
        self.hidden = hidden_layers(latent, s.hidden, s.layers, s.activation, rng)
        self.point = nn.Linear(s.hidden, 2, rng=rng)
        self.latent, self.classes = latent, None

    def forward(self, z):
        return self.point(self.hidden(self.expect_shape(z, "N", self.latent, what="latents")))


class Discriminator(nn.Module):
    """Points (N, 2) -> logits (N,), higher for reals.

    With minibatch_stddev, the last layer also receives the standard deviation of the hidden units
    over the batch, the mean over all units.
    """

    def __init__(self, s: GameSettings, rng) -> None:
        width, layers = s.d_hidden or s.hidden, s.d_layers or s.layers
        self.hidden = hidden_layers(2, width, layers, s.d_activation, rng)
        self.spread = nn.MinibatchStddev(WHOLE_BATCH) if s.minibatch_stddev else None
        self.logit = nn.Linear(width + s.minibatch_stddev, 1, rng=rng)

    def forward(self, x: Tensor, others: Tensor | None = None) -> Tensor:
        """Return the logits of x. others: the points whose deviation D sees; by default, x."""
        h = self.hidden(self.expect_shape(x, "N", 2, what="points"))
        if self.spread:
            batch = h if others is None else self.hidden(others)
            images = batch.reshape(len(batch), 1, 1, -1)  # minibatch stddev takes images
            deviation = self.spread(images)[:1, 0, 0, -1:]
            h = concatenate([h, broadcast_to(deviation, (len(h), 1))], axis=1)
        return self.logit(h).reshape(-1)


class DiracGenerator(nn.Module):
    """Latents z (N, latent), which are ignored -> N times the point theta."""

    def __init__(self, latent: int, rng) -> None:
        self.theta = Parameter(normal(rng, (2,)))
        self.latent, self.classes = latent, None

    def forward(self, z):
        return broadcast_to(self.theta, (len(z), 2))


class DiracDiscriminator(nn.Module):
    """Points x (N, 2) -> psi x (N,)."""

    def __init__(self, rng) -> None:
        self.psi = nn.Linear(2, 1, bias=False, rng=rng)

    def forward(self, x: Tensor, others: Tensor | None = None) -> Tensor:
        return self.psi(x).reshape(-1)


def networks(s: GameSettings, sizes, rng) -> tuple[nn.Module, nn.Module]:
    """Return (G, D). Raises InputError for settings that the Dirac-GAN would ignore."""
    if not s.dirac:
        return Generator(s, sizes.latent, rng), Discriminator(s, rng)
    shape = "hidden", "layers", "d_hidden", "d_layers", "activation", "d_activation"
    for name in (*shape, "minibatch_stddev"):
        if (value := getattr(s, name)) != getattr(RECIPE.settings(for_points=True), name):
            raise InputError(
                f"setting {name}={value} would be ignored: the Dirac-GAN has no layers: leave it "
                "out, or set dirac=false"
            )
    return DiracGenerator(sizes.latent, rng), DiracDiscriminator(rng)


RECIPE = Recipe(
    "game",
    "a GAN on points, to watch",
    GameSettings,
    networks,
    g_class_choices=("none",),
    d_class_choices=("none",),
    # Those of `gan` for points, but without an average of G: a game shows G itself.
    point_defaults={"r1": 0.1, "batch_size": 256, "lr": 1e-3, "steps": 10_000, "ema": 0.0},
)


def latents_on_a_grid(latent: int, side: int) -> np.ndarray:
    """Return a grid of latents, float32 (side, side, latent): the first two numbers go from -2 to
    2, all others are 0. With one number, (side, 1, 1)."""
    axis = np.linspace(-2, 2, side)
    z = np.zeros((side, side if latent > 1 else 1, latent), np.float32)
    z[..., 0] = axis[:, None]
    if latent > 1:
        z[..., 1] = axis
    return z
