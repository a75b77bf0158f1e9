"""A Game: G and D on points in the plane, which play as long as they are asked to.

A step has two halves. In its half, D learns to tell reals from the present fakes; in its half, G
moves its fakes along the arrows, which point to where D takes them for real.

    arrow at a fake x_n = - N dL_G / dx_n            L_G: G's loss, the mean over N fakes

The steps are those of training/algorithm.py, the networks are in networks.py.
"""

from typing import NamedTuple

import numpy as np

from tinygan.autograd import Array, grad, no_grad, tensor
from tinygan.data import Points
from tinygan.data.points import DISTRIBUTIONS, load_points
from tinygan.errors import InputError
from tinygan.kernels.cpu import parallel
from tinygan.ops import sigmoid
from tinygan.training.algorithm import Algorithm
from tinygan.training.recordable import random_state
from tinygan.training.statistics import to_floats

from .networks import DRAWN, RECIPE, GameSettings, latents_on_a_grid
from .optimal import OptimalD, kernel_density, optimal_D

# Settings of runs, which a game would ignore.
OF_RUNS = "train_size", "pad", "standing", "sample_every", "checkpoint_every", "keep"
OF_RUNS += "eval_every", "eval_images"
MARGIN = 0.25  # of the window around the data, as a share of their extent
SMALLEST_WINDOW = 2.0  # half of its side, around a single point


class Frame(NamedTuple):
    """What there is to see of a game.

    step: the number of whole steps. next_half: "D" or "G", who makes the next half of a step.
    reals, fakes: points (n, 2); the fakes of each frame are of the same latents. arrows: (n, 2).
    axis: the coordinates (k,) of the heat map, in x and in y. heat_map: D's output, (k, k), whose
    rows have one y each: the probability that a point is real, or for a loss that defines none, the
    logit. middle: the output between "fake" and "real". manifold: G's points of a grid of latents,
    (m, m, 2), or (m, 1, 2) for latents of one number. numbers: those of the last step: d_loss,
    g_loss, d_accuracy, ... ({} before the first one).
    """

    step: int
    next_half: str
    reals: Array
    fakes: Array
    arrows: Array
    axis: Array
    heat_map: Array
    middle: float
    manifold: Array
    numbers: dict[str, float]


class Game:
    """G and D, the points that they play on, and the steps so far.

    settings: those of networks.GameSettings by name; the defaults are those of `gan` for points.
    points: the real points (n, 2) for data="drawn".

    After n steps, G and D are the same however the steps were asked for, and whatever was looked at
    between them. Raises InputError for a setting that is wrong or would be ignored, and Diverged if
    a number is not finite.

    history: a dict of numbers for each step. window: (low, high), the interval in x and in y that
    frames show. pending: None, or what D's half of a step has left for G.
    """

    def __init__(self, points=None, **settings) -> None:
        if points is not None:
            settings = {"data": DRAWN} | settings
        s: GameSettings = RECIPE.settings(for_points=True).updated(settings)
        check(s, points)
        self.distribution = DISTRIBUTIONS.get(s.data)
        dataset = load_points(s.data, "train") if self.distribution else drawn(points, s.batch_size)
        self.settings = s
        self.algorithm = Algorithm(RECIPE, s, dataset, s.seed)
        self.history: list[dict[str, float]] = []
        self.pending = None
        low, high = dataset.images.min(0), dataset.images.max(0)
        half = max((0.5 + MARGIN) * float((high - low).max()), SMALLEST_WINDOW)
        middle = (low + high) / 2
        self.window = float((middle - half).min()), float((middle + half).max())

    @property
    def G(self):
        return self.algorithm.G

    @property
    def D(self):
        return self.algorithm.D

    @property
    def steps(self) -> int:
        """The number of whole steps so far."""
        return self.algorithm.step

    # Play

    def step(self, n: int = 1) -> None:
        """Make n steps. If D has made its half of one, G's half completes the first of them."""
        with parallel.single_threaded_blas(), np.errstate(all="ignore"):
            for _ in range(n):
                if self.pending:
                    self.half_of_G()
                else:
                    self.history.append(to_floats(self.algorithm.train_step()))

    def half_of_D(self) -> None:
        """Make D's half of a step. Raises InputError if it is G's turn."""
        if self.pending:
            raise InputError("D has made its half of this step: it is G's turn")
        with parallel.single_threaded_blas(), np.errstate(all="ignore"):
            numbers = self.algorithm.begin_step()
            more, *batch = self.algorithm.half_of_D()
        self.pending = numbers | more, batch

    def half_of_G(self) -> None:
        """Make G's half of a step. Raises InputError if it is D's turn."""
        if not self.pending:
            raise InputError("G has made its half of this step: it is D's turn")
        (numbers, batch), self.pending = self.pending, None
        with parallel.single_threaded_blas(), np.errstate(all="ignore"):
            numbers |= self.algorithm.half_of_G(*batch)
        self.algorithm.end_step(numbers)
        self.history.append(to_floats(numbers))

    # What there is to see

    def frame(self, n: int = 256, resolution: int = 64, side: int = 16) -> Frame:
        """Return the Frame of the present state. n: the number of reals and of fakes. resolution:
        that of the heat map. side: that of the grid of latents."""
        fakes = self.fakes(n)
        reals = np.resize(self.algorithm.dataset.images, (n, 2))  # few drawn points are repeated
        axis = np.linspace(*self.window, resolution)
        grid = np.stack(np.meshgrid(axis, axis), 2).reshape(-1, 2).astype(fakes.dtype)
        with no_grad():
            z = latents_on_a_grid(self.settings.latent, side)
            manifold = self.G(z.reshape(-1, z.shape[2]).astype(fakes.dtype)).numpy()
        loss = self.algorithm.objectives.loss
        middle = 0.5 if loss.probability else loss.threshold
        if middle is None:  # only differences of logits have a meaning
            middle = float(self.output(reals).mean() + self.output(fakes).mean()) / 2
        return Frame(
            self.steps,
            "G" if self.pending else "D",
            reals,
            fakes,
            self.arrows(reals, fakes),
            axis,
            self.output(grid).reshape(resolution, resolution),
            middle,
            manifold.reshape(*z.shape[:2], 2),
            self.history[-1] if self.history else {},
        )

    def fakes(self, n: int, seed: int = 0) -> Array:
        """Return G's points of n latents: (n, 2). The same seed has the same latents."""
        z = np.random.default_rng([self.settings.seed, seed, 8])
        z = z.standard_normal((n, self.settings.latent)).astype(self.G.parameters()[0].dtype)
        with no_grad():
            return self.G(z).numpy()

    def output(self, points: Array) -> Array:
        """Return D's output on points (n, 2): the probability that each is real, or the logit if
        the loss defines no probability: (n,).

        With minibatch_stddev, each point is judged as one of a batch of fakes.
        """
        with no_grad():
            logits = self.D(points, tensor(self.fakes(self.settings.batch_size)))
            return (
                sigmoid(logits) if self.algorithm.objectives.loss.probability else logits
            ).numpy()

    def arrows(self, reals: Array, fakes: Array) -> Array:
        """Return the arrow at each of the fakes (n, 2), beside as many reals: (n, 2). G's loss is
        that of its half: with unroll, of the D of some updates ahead."""
        x, state = tensor(fakes, requires_grad=True), random_state(self.algorithm)
        loss, _ = self.algorithm.objectives.g_loss(reals.astype(fakes.dtype), None, x, None)
        random_state(self.algorithm, state)  # a penalty may have drawn random numbers
        return -len(x) * grad(loss, x).numpy()

    def optimal_D(self, blur: float = 0.1, samples: int = 10_000, seed: int = 1) -> OptimalD:
        """Return the optimal D against the present G, whose density is estimated from samples, and
        the Jensen-Shannon divergence. optimal.py says how, and what it cannot see.

        blur: the deviation of the noise that is added to reals and fakes; also the largest distance
        of points of the grid.
        """
        if not 0 < blur < np.inf:
            raise InputError(f"blur={blur}: must be above 0, and finite")
        low, high = self.window
        axis = np.linspace(low, high, int(np.ceil((high - low) / blur)) + 1)
        if self.distribution:
            grid = np.stack(np.meshgrid(axis, axis), 2).reshape(-1, 2)
            real = self.distribution.density(grid, blur).reshape(len(axis), -1)
        else:  # each of the drawn points is equally likely
            real = kernel_density(self.algorithm.dataset.images, axis, blur)
        return optimal_D(axis, real, kernel_density(self.fakes(samples, seed), axis, blur))


def check(s: GameSettings, points) -> None:
    """Raise InputError for settings that contradict each other, or that a game would ignore."""
    defaults = RECIPE.settings(for_points=True)
    for name in OF_RUNS:
        if (value := getattr(s, name)) != getattr(defaults, name):
            raise InputError(
                f"setting {name}={value} would be ignored: a game has no run folder: leave it out"
            )
    if s.pack > 1:
        raise InputError(f"setting pack={s.pack}: a game shows D at single points: set pack=1")
    if s.data == DRAWN and points is None:
        raise InputError("setting data=drawn: give the points, an array (n, 2)")
    if s.data != DRAWN and points is not None:
        raise InputError(f"setting data={s.data}: the points would be ignored: set data=drawn")


def drawn(points, batch_size: int) -> Points:
    """Return the Dataset of points (n, 2) that somebody has drawn. They are repeated until there
    are enough for a batch."""
    try:
        points = np.asarray(points, np.float32)
    except (TypeError, ValueError):
        raise InputError("points: must be numbers (n, 2)") from None
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise InputError(f"points: must be numbers (n, 2) with n > 0, got {points.shape}")
    points = np.tile(points, (-(-batch_size // len(points)), 1))
    return Points(DRAWN, "train", points, np.zeros(len(points), int), ("drawn",), shuffled=True)
