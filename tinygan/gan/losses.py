"""Losses: what D and G minimise, as functions of D's logits on real and on fake images.

D returns one logit for each image, (N,), or a grid of logits, (N, h, w), each for one patch of the
image. Every loss is the mean over all logits. For bce, hinge and the losses with a sigmoid, a
positive logit means real. l1 and l2 pull logits to 1 (real) and 0 (fake). For wasserstein and
relativistic, only differences of logits matter: those of reals should be higher.

    name          D minimises                          G minimises          source
    bce           -log s(real) - log(1 - s(fake))      -log s(fake)         Goodfellow 2014, sec. 3
    bce-minimax   the same                             log(1 - s(fake))     the same, equation 1
    l2            (real - 1)^2 / 2 + fake^2 / 2        (fake - 1)^2 / 2     Mao 2017 (LSGAN), eq. 9
    l1            |real - 1| + |fake|                  |fake - 1|           as l2, absolute values
    l2-sigmoid    l2 of s(real), s(fake)               l2 of s(fake)        as l2, to compare
    l1-sigmoid    l1 of s(real), s(fake)               l1 of s(fake)        as l1, to compare
    hinge         max(0, 1 - real) + max(0, 1 + fake)  -fake                Lim 2017; Miyato 2018
    wasserstein   fake - real                          -fake                Arjovsky 2017
    relativistic  -log s(real - fake)                  -log s(fake - real)  Jolicoeur-Martineau 2018

Here s is the sigmoid. Where a logarithm follows it, the two are computed together, so that nothing
overflows, and small values and gradients are right to their last digits.
"""

from typing import Callable, NamedTuple

from tinygan.errors import InputError, choose_from
from tinygan.ops import binary_cross_entropy_with_logits as bce
from tinygan.ops import l1_loss, mean, mse_loss, relu, sigmoid, softplus_of_difference, square
from tinygan.settings import REFERENCE, FromFile, not_loaded


class Loss(NamedTuple):
    """The losses of D and of G, each a function (real_logits, fake_logits) -> Tensor of shape ().

    discriminator, generator: the two losses. Real and fake logits have the same shape.
    probability: True if the sigmoid of a logit is D's probability that the image is real.
    paired: True if G's loss also reads the real logits. Otherwise, they may be None there.
    zero_sum: True if G's loss is the negative of D's, but for the term of the real logits, which do
        not depend on G. (They do if the updates of D are unrolled, where G's loss has this term.)
    threshold: the logit above which D takes an image for real. None if only differences between
        logits have a meaning.
    """

    discriminator: Callable
    generator: Callable
    probability: bool = False
    paired: bool = False
    threshold: float | None = 0.0
    zero_sum: bool = False


def _of_difference(a, b):
    """Return the mean of -log s(b - a), which is softplus(a - b)."""
    if a.shape != b.shape:  # broadcasting (N,) and (N, 1) would silently compare all pairs
        raise ValueError(
            "relativistic: real and fake logits must have the same shape, "
            f"got {a.shape} and {b.shape}"
        )
    return mean(softplus_of_difference(a, b))


LOSSES = {
    "bce": Loss(
        lambda real, fake: bce(real, 1.0) + bce(fake, 0.0),
        lambda real, fake: bce(fake, 1.0),
        probability=True,
    ),
    "bce-minimax": Loss(
        lambda real, fake: bce(real, 1.0) + bce(fake, 0.0),
        lambda real, fake: -bce(fake, 0.0),
        probability=True,
        zero_sum=True,
    ),
    "l2": Loss(
        lambda real, fake: 0.5 * mse_loss(real, 1.0) + 0.5 * mse_loss(fake, 0.0),
        lambda real, fake: 0.5 * mse_loss(fake, 1.0),
        threshold=0.5,
    ),
    "l1": Loss(
        lambda real, fake: l1_loss(real, 1.0) + l1_loss(fake, 0.0),
        lambda real, fake: l1_loss(fake, 1.0),
        threshold=0.5,
    ),
    "hinge": Loss(
        lambda real, fake: mean(relu(1.0 - real)) + mean(relu(1.0 + fake)),
        lambda real, fake: -mean(fake),
    ),
    "wasserstein": Loss(
        lambda real, fake: mean(fake) - mean(real),
        lambda real, fake: -mean(fake),
        threshold=None,
        zero_sum=True,
    ),
    "relativistic": Loss(
        lambda real, fake: _of_difference(fake, real),
        lambda real, fake: _of_difference(real, fake),
        paired=True,
        threshold=None,
    ),
    # The distance of the probability s(x) to 1 is s(-x), in which small values are not lost.
    "l2-sigmoid": Loss(
        lambda real, fake: 0.5 * mean(square(sigmoid(-real))) + 0.5 * mean(square(sigmoid(fake))),
        lambda real, fake: 0.5 * mean(square(sigmoid(-fake))),
        probability=True,
    ),
    "l1-sigmoid": Loss(
        lambda real, fake: mean(sigmoid(-real)) + mean(sigmoid(fake)),
        lambda real, fake: mean(sigmoid(-fake)),
        probability=True,
    ),
}


def find(name: str) -> Loss:
    """Return the Loss called `name`, or the one that a `FromFile` of the settings stands for.
    Raises InputError if there is none, and lists all names."""
    if isinstance(name, FromFile):
        return name.value
    if REFERENCE.fullmatch(name):
        raise not_loaded("loss", name)
    if name not in LOSSES:
        raise InputError(f"unknown loss {name!r}: {choose_from(LOSSES, name)}")
    return LOSSES[name]
