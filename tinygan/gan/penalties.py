"""Penalties: terms that are added to the losses of D and G. The table PENALTIES lists them all.

    setting      what is minimised                         source
    drift        D(real)^2                                 Karras et al. 2018, appendix A.1
    r1           1/2 |grad D(real)|^2                      Mescheder et al. 2018, equation 9
    r2           1/2 |grad D(fake)|^2                      Mescheder et al. 2018, equation 10
    gp           (|grad D(real + t (fake - real))| - 1)^2  Gulrajani et al. 2017, equation 3
    path_length  (|J^T y| - a)^2                           Karras et al. 2020b, equation 4
    ortho        1/2 |off-diagonal entries of W^T W|^2     Brock et al. 2019, equation 3
    cr           (D(real) - D(T(real)))^2                  Zhang et al. 2020, section 3
    bcr          (D(fake) - D(T(fake)))^2                  Zhao et al. 2021, section 3 (with cr)
    lecam        (D(real) - a_F)^2 + (D(fake) - a_R)^2     Tseng et al. 2021, section 3
    clip         nothing: D's weights are clipped          Arjovsky et al. 2017, algorithm 1

|grad D(x)| is the norm of the gradient of D's logit at an image x. If D returns a grid of logits,
it is the gradient of their mean. Minimising such a penalty takes second derivatives of D. In r1, r2
and gp, `D` is a function from images to logits (the caller binds the labels). It must process each
image independently: with batch-norm in D, the gradient at an image would also contain its effect on
the logits of the other images. W is the weight of a layer as a matrix; J and a are explained in
`path_length`; T, a_F and a_R in regularisers.py. With the setting pack, an image of r1, r2 and gp
is a pack of images (packing.py).

To add a penalty: write its function, its entry in PENALTIES, and its line in the table above. All
else follows from the entry: the setting and its help text, how reals and fakes are paired,
laziness, the state in checkpoints, and the value in the log (but for penalties on weights, and on
logits without a state). The setting `penalty` may add one entry from a file of the user's.
"""

import inspect
from typing import Any, Callable, NamedTuple

from tinygan.autograd import Tensor, as_tensors, grad
from tinygan.backend import Rng, normal, uniform
from tinygan.ops import mean, mean_over_shares, norm, square, sum
from tinygan.settings import FromFile

from .regularisers import clip_weights, consistency, drift, lecam, orthogonal


def requiring_gradient(x: Tensor) -> Tensor:
    """Return x if it requires a gradient, or else a Tensor of the same values that does."""
    if not x.requires_grad:
        x = x.detach()
        x.requires_grad = True
    return x


def image_gradients(D: Callable[[Tensor], Tensor], x) -> Tensor:
    """Return the gradient of D(x[n]) at each image x[n] of the array x (N, ...): a Tensor (N, ...)
    that can be differentiated again.

    If x is a Tensor that requires a gradient, D is called with x itself. So D may return logits
    that the loss has already computed from x: `image_gradients(lambda _: logits, x)`.
    """
    (x,) = as_tensors("image_gradients", (x,))
    x = requiring_gradient(x)
    logits = D(x)
    return grad(sum(logits) * (len(x) / logits.size), x, create_graph=True)


def r1(D: Callable[[Tensor], Tensor], reals) -> Tensor:
    """Return half the squared norm of D's gradient at the array `reals` (N, ...), averaged over the
    batch."""
    return sum(square(image_gradients(D, reals))) * (0.5 / len(reals))


def r2(D: Callable[[Tensor], Tensor], fakes) -> Tensor:
    """Like `r1`, at the array `fakes`."""
    return r1(D, fakes)


def wgan_gp(D: Callable[[Tensor], Tensor], reals, fakes, rng: Rng) -> Tensor:
    """Return (the norm of D's gradient - 1)^2, averaged over the batch. The gradient is taken at a
    random point on the line between each real and its fake (arrays (N, ...))."""
    t = uniform(rng, 0, 1, (len(reals),) + (1,) * (reals.ndim - 1), reals.dtype)
    gradients = image_gradients(D, reals + t * (fakes - reals))
    return mean(square(norm(gradients, tuple(range(1, gradients.ndim))) - 1.0))


def path_length(
    synthesis: Callable[[Tensor], Tensor],
    ws: Tensor,
    mean_length: Any,
    rng: Rng,
    decay: float = 0.01,
) -> tuple[Tensor, Any]:
    """Return the path-length penalty, and the new running mean of path lengths.

    A path length measures how much an image changes when its styles change: it is
    |J^T y| / sqrt(L), where J is the Jacobian of the image with respect to its styles, and y is an
    image of noise, N(0, 1 / HW).

    synthesis: a function from styles to images (N, H, W, C).
    ws: the styles (N, L, size). (They are constant if the mapping is frozen.)
    mean_length: the running mean so far.

    The new running mean is a = (1 - decay) mean_length + decay (mean path length of the batch), and
    the penalty is the mean of (path length - a)^2. The gradient flows through a, too. The second
    result is the value of a, an array of shape ().
    """
    ws = requiring_gradient(ws)
    images = synthesis(ws)
    n, height, width, _ = images.shape
    noise = normal(rng, images.shape, images.dtype) * (height * width) ** -0.5
    gradients = grad(sum(images * noise), ws, create_graph=True)
    lengths = norm(gradients, (1, 2)) * ws.shape[1] ** -0.5
    mean_length = mean_length + (mean_over_shares(mean(lengths)) - mean_length) * decay
    return mean(square(lengths - mean_length)), mean_length.data


# What a penalty is applied to -> (the networks that it can train, how its function is called).
# "between": each real and its fake have the same class. "seen reals", "seen fakes": the images as D
# sees them in the loss, after augmentation; `logits` are D's on them. "latents", "styles": those of
# half a batch of new latents z.
APPLIED_TO = {
    "logits": ("D", "function(real_logits, fake_logits)"),
    "reals": ("D", "function(D, reals)"),
    "fakes": ("D", "function(D, fakes)"),
    "between": ("D", "function(D, reals, fakes)"),
    "seen reals": ("D", "function(D, reals, logits)"),
    "seen fakes": ("D", "function(D, fakes, logits)"),
    "latents": ("G", "function(G, z)"),
    "styles": ("G", "function(synthesis, ws)"),
    "network": ("DG", "function(network)"),
    "weights": ("D", "function(parameters, limit), after each update"),
}
IMAGES, LATENTS = ("reals", "fakes", "between"), ("latents", "styles")
SEEN = "seen reals", "seen fakes"


class Penalty(NamedTuple):
    """An entry of the table PENALTIES.

    name: the name of the setting that holds its weight (for "weights": the limit). 0 switches the
        penalty off.
    function: its arguments are those in APPLIED_TO, then its states (if it has any), then the
        generator `rng` (if it draws random numbers). It returns the penalty, or (the penalty, its
        new states ...) if it has any.
    source: the paper and the equation.
    meaning: the description of the setting, which `tinygan recipes NAME` shows.
    trains: the networks that it trains: "D", "G" or "DG".
    applied_to: a key of APPLIED_TO.
    lazy: whether it may be applied at every k-th update only, k times as strong (settings
        penalty_every for D, path_every for G).
    state: the name under which checkpoints keep its state, a number that begins as 0 and that each
        call replaces; several names, with spaces between them, for several numbers; "" for none.
    draws: whether it draws random numbers.
    logged_as: the names under which the log has its value, and its states. Values of D's penalties
        are weighted, and values on images with the same name are added; those of G's penalties are
        not weighted. () for a penalty that is not logged.
    start: the name of a setting, the number of steps after which the penalty begins: until then,
        its states are 0 at each call. "": it begins at once.

    An entry of PENALTIES gives all fields that are not empty. In a file of your own,
    `Penalty("mine", function)` is enough: training/own_penalty.py fills in the rest.
    """

    name: str
    function: Callable[..., Any]
    source: str = ""
    meaning: str = ""
    trains: str = ""
    applied_to: str = "reals"
    lazy: bool | None = None
    state: str = ""
    draws: bool = False
    logged_as: tuple[str, ...] | None = None
    start: str = ""

    @property
    def states(self) -> list[str]:
        """The names of its states."""
        return self.state.split()

    @property
    def logged_values(self) -> int:
        """How many numbers the log has of it."""
        silent = ("network", "weights") if self.state else ("network", "weights", "logits")
        return 0 if self.applied_to in silent else 1 + len(self.states)


PENALTIES = (
    Penalty(
        "r1",
        r1,
        "Mescheder et al. 2018, equation 9",
        "gamma of the R1 penalty at reals (works best without batch-norm in D); 0: off",
        "D",
        "reals",
        lazy=True,
        logged_as=("penalty",),
    ),
    Penalty(
        "r2",
        r2,
        "Mescheder et al. 2018, equation 10",
        "gamma of the R2 penalty at fakes; 0: off",
        "D",
        "fakes",
        lazy=True,
        logged_as=("penalty",),
    ),
    Penalty(
        "gp",
        wgan_gp,
        "Gulrajani et al. 2017, equation 3",
        "weight of WGAN-GP's gradient penalty (works best without batch-norm in D); 0: off",
        "D",
        "between",
        lazy=True,
        draws=True,
        logged_as=("penalty",),
    ),
    Penalty(
        "drift",
        drift,
        "Karras et al. 2018, appendix A.1",
        "weight of D(real)^2, which keeps a critic's output near 0 (Progressive GAN); 0: off",
        "D",
        "logits",
        lazy=False,
        logged_as=(),
    ),
    Penalty(
        "ortho",
        orthogonal,
        "Brock et al. 2019, equation 3",
        "weight of the orthogonal regularisation of G and D (BigGAN); 0: off",
        "DG",
        "network",
        lazy=False,
        logged_as=(),
    ),
    Penalty(
        "cr",
        consistency,
        "Zhang et al. 2020, section 3",
        "weight of the consistency of D's logits on reals and on shifted reals (in the paper: 10); "
        "0: off",
        "D",
        "seen reals",
        lazy=False,
        draws=True,
        logged_as=("cr_penalty",),
    ),
    Penalty(
        "bcr",
        consistency,
        "Zhao et al. 2021, section 3",
        "weight of the consistency of D's logits on fakes and on shifted fakes, beside cr (in the "
        "paper: both 10); 0: off",
        "D",
        "seen fakes",
        lazy=False,
        draws=True,
        logged_as=("bcr_penalty",),
    ),
    Penalty(
        "lecam",
        lecam,
        "Tseng et al. 2021, section 3",
        "weight of LeCam's penalty, which pulls D's logits on reals and on fakes towards each "
        "other's running mean, against few images (begin with .01 to .1; the authors have .3 for "
        "BigGAN and 3e-7 to 1e-6 for StyleGAN2); 0: off",
        "D",
        "logits",
        lazy=False,
        state="average_real_logit average_fake_logit",
        logged_as=("lecam_penalty", "average_real_logit", "average_fake_logit"),
        start="lecam_start",
    ),
    Penalty(
        "path_length",
        path_length,
        "Karras et al. 2020b, equation 4",
        "weight of the path-length penalty, for a G with styles (StyleGAN2); 0: off",
        "G",
        "styles",
        lazy=True,
        state="average_path",
        draws=True,
        logged_as=("path_penalty", "path_length"),  # the log's path_length is the running mean
    ),
    Penalty(
        "clip",
        clip_weights,
        "Arjovsky et al. 2017, algorithm 1",
        "clip D's weights to [-clip, clip] (WGAN); 0: off",
        "D",
        "weights",
        lazy=False,
        logged_as=(),
    ),
)


def check(entry: Penalty) -> None:
    """Raise ValueError if the fields of an entry are incomplete or contradict each other."""
    networks, call = APPLIED_TO.get(entry.applied_to, ("", ""))
    required = [
        p.name
        for p in inspect.signature(entry.function).parameters.values()
        if p.default is p.empty
    ]
    passed = [
        *call[call.find("(") + 1 : call.find(")")].split(", "),
        *["state"] * len(entry.states),
        *["rng"] * entry.draws,
    ]
    # Whether it can be minimised in an update of its own, apart from the loss.
    separable = entry.applied_to in (*IMAGES, *LATENTS)
    for valid, problem in (
        (networks, f"applied_to={entry.applied_to!r}: choose from {', '.join(APPLIED_TO)}"),
        (
            entry.trains and set(entry.trains) <= set(networks),
            f"applied to {entry.applied_to}, it cannot train {entry.trains!r}",
        ),
        (
            len(required) == len(passed),
            f"its function takes ({', '.join(required)}), but is called with ({', '.join(passed)})",
        ),
        (separable or not entry.lazy, f"applied to {entry.applied_to}, it cannot be lazy"),
        (
            separable or entry.applied_to in SEEN or not entry.draws,
            f"applied to {entry.applied_to}, it cannot draw random numbers",
        ),
        (
            entry.applied_to in (*LATENTS, "logits") or not entry.state,
            f"applied to {entry.applied_to}, it cannot have a state",
        ),
        (entry.state or not entry.start, f"start={entry.start} needs a state"),
        (
            entry.logged_as is not None and len(entry.logged_as) == entry.logged_values,
            f"logged_as={entry.logged_as} must have {entry.logged_values} names",
        ),
        (entry.source and entry.meaning, "its source and its meaning must not be empty"),
    ):
        if not valid:
            raise ValueError(f"penalty {entry.name}: {problem}")


for _entry in PENALTIES:
    check(_entry)


def entries(settings: Any) -> tuple[Penalty, ...]:
    """Return the entries of PENALTIES, and the user's own one if the setting `penalty` has it."""
    chosen = settings.penalty
    return PENALTIES + ((chosen.value,) if isinstance(chosen, FromFile) else ())


def active(settings: Any, network: str, *applied_to: str) -> list[tuple[Penalty, Any]]:
    """Return [(entry, its weight)] of the penalties that these settings switch on. A weight is a
    number, or a schedule (schedules.py).

    Only those that train `network` ("D" or "G") and that are applied to one of `applied_to`, keys
    of APPLIED_TO.
    """
    return [
        (entry, getattr(settings, entry.name))
        for entry in entries(settings)
        if network in entry.trains
        and entry.applied_to in applied_to
        and getattr(settings, entry.name)
    ]
