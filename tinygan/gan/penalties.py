"""Penalties: what is added to the loss of D, or of G, beside what D says; one table, PENALTIES.

    setting      what is minimised                         source
    drift        D(real)^2                                 Karras et al. 2018, appendix A.1
    r1           1/2 |grad D(real)|^2                      Mescheder et al. 2018, equation 9
    r2           1/2 |grad D(fake)|^2                      Mescheder et al. 2018, equation 10
    gp           (|grad D(real + a (fake - real))| - 1)^2  Gulrajani et al. 2017, equation 3
    path_length  (|J'y| - a)^2                             Karras et al. 2020b, equation 4
    ortho        1/2 |W'W * (1 - I)|^2 of each layer       Brock et al. 2019, equation 3
    clip         nothing: D's weights are clipped          Arjovsky et al. 2017, algorithm 1

|grad D(x)| is the length of the gradient of D's logit at an image x (of its mean logit, where D
gives a grid of them). The gradient of such a penalty needs second derivatives of D. In r1, r2 and
gp, `D` is a function from images alone to logits (a condition is bound by the caller), and must
judge each image by itself: through batch-norm in D, the slopes of the whole batch mix (the sum is
still taken).

To add a penalty: write its function, its entry in PENALTIES, and its line in the table above. Its
setting, the help text, how D's reals and fakes are paired, laziness, its state in checkpoints and
(but for those at logits, on the network or on weights) its number in the log follow from the entry.
"""

import inspect
from typing import Callable, NamedTuple

from tinygan.autograd import Tensor, grad
from tinygan.backend import normal, uniform, xp
from tinygan.nn import Conv2d, ConvTranspose2d, Linear, SpectralNorm
from tinygan.nn.spectral import matrix
from tinygan.ops import matmul, mean, mean_over_shares, norm, square, sum


def image_gradients(D, x):
    """The gradient of D(x[n]) at each image x[n] of the array x (N, ...): a Tensor (N, ...),
    differentiable again."""
    x = Tensor(x, requires_grad=True)
    logits = D(x)
    return grad(sum(logits) * (len(x) / logits.size), x, create_graph=True)


def r1(D, reals):
    """Half the squared slope of D at the array `reals` (N, ...), mean over the batch: a number."""
    return sum(square(image_gradients(D, reals))) * (0.5 / len(reals))


def r2(D, fakes):
    """As `r1`, at the array `fakes`."""
    return r1(D, fakes)


def wgan_gp(D, reals, fakes, rng):
    """How far D's slope is from 1, squared, at a random point between each real and its fake
    (arrays (N, ...))."""
    share = uniform(rng, 0, 1, (len(reals),) + (1,) * (reals.ndim - 1), reals.dtype)
    slope = image_gradients(D, reals + share * (fakes - reals))
    return mean(square(norm(slope, tuple(range(1, slope.ndim))) - 1.0))


def drift(real_logits, fake_logits):
    """The mean square of D's logits on reals, which nothing else holds near 0 in a critic."""
    return mean(square(real_logits))


def path_length(synthesis, ws, average, rng, decay=0.01):
    """(the mean squared deviation of path lengths from their running average, the new average).

    A path length is the length by which an image moves when its styles do.

    synthesis: a function from styles ws (N, L, size), a Tensor of a graph, to images (N, H, W, C).
    The length of each image is |J'y| / sqrt(L), where J are the slopes of the image in its styles,
    and y is an image of noise, N(0, 1 / HW); the penalty is the mean of (length - a)^2. a = (1 -
    decay) average + decay (mean length), through which the gradient flows too; the second result is
    its value, an array of no dimensions.
    """
    images = synthesis(ws)
    n, height, width, _ = images.shape
    noise = normal(rng, images.shape, images.dtype) * (height * width) ** -0.5
    slope = grad(sum(images * noise), ws, create_graph=True)
    lengths = norm(slope, (1, 2)) * ws.shape[1] ** -0.5
    average = average + (mean_over_shares(mean(lengths)) - average) * decay
    return mean(square(lengths - average)), average.data


def orthogonal(network):
    """1/2 |W'W * (1 - I)|^2, summed over the network's layers: how far the columns of their
    weights, as matrices W (inputs, outputs), are from being orthogonal; of any length (Brock et al.
    2019, equation 3; the half is their code's).

    Counts linear and convolutional layers, and embeddings that are spectrally normalised, as
    BigGAN's D has one (G's shared embedding is left out there).
    """
    kinds = Linear, Conv2d, ConvTranspose2d
    layers = {id(m): m for _, m in network.modules() if isinstance(m, kinds)}
    layers |= {id(m.layer): m.layer for _, m in network.modules() if isinstance(m, SpectralNorm)}
    total = 0.0
    for layer in layers.values():
        w = matrix(layer, layer.weight)
        gram = matmul(w.T, w)
        off_diagonal = 1 - xp.eye(len(gram.data), dtype=gram.dtype)
        total = total + sum(square(gram * off_diagonal)) * 0.5
    return total


def clip_weights(parameters, limit) -> None:
    """Clip every weight to [-limit, limit]: no penalty but a constraint, here for its setting."""
    for parameter in parameters:
        parameter.assign(xp.clip(parameter.data, -limit, limit))


# Where a penalty is taken -> (the networks that it can train, how its function is called).
# "between": a real and its fake are of one class. "latents", "styles": of half a batch of new z.
APPLIED_TO = {
    "logits": ("D", "function(real_logits, fake_logits)"),
    "reals": ("D", "function(D, reals)"),
    "fakes": ("D", "function(D, fakes)"),
    "between": ("D", "function(D, reals, fakes)"),
    "latents": ("G", "function(G, z)"),
    "styles": ("G", "function(synthesis, ws)"),
    "network": ("DG", "function(network)"),
    "weights": ("D", "function(parameters, limit), after each update"),
}
IMAGES, LATENTS = ("reals", "fakes", "between"), ("latents", "styles")


class Penalty(NamedTuple):
    """An entry of the table.

    name: of the setting that holds its weight (of "weights": its limit). 0 switches it off.
    function: see APPLIED_TO. If it has a state, it takes that after what APPLIED_TO says, and returns (the
    penalty, the new state); if it draws, it takes the generator `rng` last.
    source: paper and equation.
    meaning: of the setting, as `tinygan recipes NAME` shows it.
    trains: "D", "G" or "DG".
    applied_to: a key of APPLIED_TO.
    lazy: may it be left out of most updates (settings penalty_every of D, path_every of G), and
    weigh more in the others?
    state: the name under which checkpoints keep a number that goes on from step to step, and
    starts at 0; or "".
    draws: does it draw random numbers?
    logged_as: the names under which the log has its value, and its state. D's are weighted, and
    those of one name are added up; G's are not weighted. () for what is part of the loss.
    """

    name: str
    function: Callable
    source: str
    meaning: str
    trains: str
    applied_to: str
    lazy: bool
    state: str
    draws: bool
    logged_as: tuple


PENALTIES = (
    Penalty(
        "r1",
        r1,
        "Mescheder et al. 2018, equation 9",
        "gamma of the R1 penalty: D's squared slope at reals (best with d_norm=none); 0: none",
        "D",
        "reals",
        lazy=True,
        state="",
        draws=False,
        logged_as=("penalty",),
    ),
    Penalty(
        "r2",
        r2,
        "Mescheder et al. 2018, equation 10",
        "gamma of the R2 penalty, at fakes; 0: none",
        "D",
        "fakes",
        lazy=True,
        state="",
        draws=False,
        logged_as=("penalty",),
    ),
    Penalty(
        "gp",
        wgan_gp,
        "Gulrajani et al. 2017, equation 3",
        "weight of WGAN-GP's penalty: D's slope, away from 1 (best with d_norm=none); 0: none",
        "D",
        "between",
        lazy=True,
        state="",
        draws=True,
        logged_as=("penalty",),
    ),
    Penalty(
        "drift",
        drift,
        "Karras et al. 2018, appendix A.1",
        "weight of D(real)^2, which keeps a critic's output near 0 (Progressive GAN); 0: none",
        "D",
        "logits",
        lazy=False,
        state="",
        draws=False,
        logged_as=(),
    ),
    Penalty(
        "ortho",
        orthogonal,
        "Brock et al. 2019, equation 3",
        "weight of orthogonal regularisation of both networks' layers (BigGAN); 0: none",
        "DG",
        "network",
        lazy=False,
        state="",
        draws=False,
        logged_as=(),
    ),
    Penalty(
        "path_length",
        path_length,
        "Karras et al. 2020b, equation 4",
        "weight of the path-length penalty of a G with styles (StyleGAN2); 0: none",
        "G",
        "styles",
        lazy=True,
        state="average_path",
        draws=True,
        logged_as=("path_penalty", "path_length"),
    ),
    Penalty(
        "clip",
        clip_weights,
        "Arjovsky et al. 2017, algorithm 1",
        "limit that D's weights are clipped to; 0: none",
        "D",
        "weights",
        lazy=False,
        state="",
        draws=False,
        logged_as=(),
    ),
)


def check(entry) -> None:
    """Raises ValueError, with what is wrong, for an entry that is not complete or does not fit."""
    networks, call = APPLIED_TO.get(entry.applied_to, ("", ""))
    takes = [
        p.name
        for p in inspect.signature(entry.function).parameters.values()
        if p.default is p.empty
    ]
    gets = call[call.find("(") + 1 : call.find(")")].split(", ")
    gets += ["state"] * bool(entry.state) + ["rng"] * entry.draws
    separate = entry.applied_to in (
        *IMAGES,
        *LATENTS,
    )  # it can be minimised in an update of its own
    numbers = 1 + bool(entry.state) if separate else 0
    for right, wrong in (
        (networks, f"applied_to={entry.applied_to!r}; there are: {', '.join(APPLIED_TO)}"),
        (
            entry.trains and set(entry.trains) <= set(networks),
            f"applied to {entry.applied_to}, it cannot train {entry.trains!r}",
        ),
        (
            len(takes) == len(gets),
            f"its function takes ({', '.join(takes)}), and is called with ({', '.join(gets)})",
        ),
        (separate or not entry.lazy, f"applied to {entry.applied_to}, it cannot be lazy"),
        (separate or not entry.draws, f"applied to {entry.applied_to}, it cannot draw"),
        (
            entry.applied_to in LATENTS or not entry.state,
            f"applied to {entry.applied_to}, it cannot have a state",
        ),
        (len(entry.logged_as) == numbers, f"logged_as={entry.logged_as}: give {numbers}"),
        (entry.source and entry.meaning, "its source and its meaning must be told"),
    ):
        if not right:
            raise ValueError(f"penalty {entry.name}: {wrong}")


for _entry in PENALTIES:
    check(_entry)


def active(settings, network, *places):
    """[(entry, its weight)] of the penalties that these settings switch on, for "D" or "G", taken
    at one of the places."""
    return [
        (entry, getattr(settings, entry.name))
        for entry in PENALTIES
        if network in entry.trains and entry.applied_to in places and getattr(settings, entry.name)
    ]
