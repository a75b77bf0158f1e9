"""Generating images, and loading trained networks."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinygan.autograd import Tensor, no_grad
from tinygan.backend import Rng, asarray, generator, to_numpy
from tinygan.data import to_uint8
from tinygan.errors import Diverged, InputError
from tinygan.files import checkpoint
from tinygan.gan.conditioning import call_with_labels
from tinygan.kernels.cpu import parallel
from tinygan.models.recipe import Recipe
from tinygan.models.settings import Settings
from tinygan.nn import BatchNorm, StyleGenerator

from . import recipes, state

# The range of --truncation. For z, it is a threshold: at .02, one or two draws in a hundred are
# kept; at 10, all are. For w, it is psi: 1 truncates nothing, and -1 generates the opposites.
TRUNCATION = {"z": (0.02, 10.0), "w": (-2.0, 2.0)}
MAX_ROWS = 10  # of a grid with a row for each class


def generate(G: Any, z: Tensor, labels: Any = None, batch_size: int = 256) -> np.ndarray:
    """Return the images that G generates from latents z (N, latent) and labels (N,): a uint8 array
    (N, H, W, C) in host memory; or the points, a float32 array (N, 2).

    labels may also be mixtures of classes, a float32 array (N, classes) in host memory. Raises
    Diverged if a pixel is NaN or infinite.
    """
    parts = []
    # Overflow needs no warning, since the images are checked.
    with no_grad(), parallel.single_threaded_blas(), np.errstate(over="ignore", invalid="ignore"):
        for i in range(0, len(z), batch_size):
            part = None if labels is None else labels[i : i + batch_size]
            if part is not None and part.dtype.kind == "f":
                part = asarray(part)
            images = to_numpy(call_with_labels(G, z[i : i + batch_size], part).data)
            if not np.isfinite(images).all():
                raise Diverged(
                    "G generates NaN or infinity: its weights are too large, or an op in it gives "
                    "NaN, which `with tinygan.anomaly():` would name"
                )
            parts.append(images if images.ndim == 2 else to_uint8(images))
    return np.concatenate(parts)


def latents(rng: Rng, n: int, G: Any, truncation: float | None = None) -> Tensor:
    """Return n latents z ~ N(0, 1) for G: a Tensor (n, latent).

    truncation: the threshold of BigGAN's truncation trick (Brock et al. 2019, section 3.1). Values
    beyond it are drawn again until none is left. The images vary less, but all come from latents on
    which G was trained most. For a G with styles, `truncate` truncates w instead, and z stays as it
    is.
    """
    rng = generator(rng)
    z = rng.standard_normal((n, G.latent), dtype=np.float32)
    if truncation is not None and not isinstance(G, StyleGenerator):
        beyond = np.flatnonzero(np.abs(z) > truncation)
        while beyond.size:
            redrawn = rng.standard_normal(beyond.size, dtype=np.float32)
            z.ravel()[beyond] = redrawn
            beyond = beyond[np.abs(redrawn) > truncation]
    return Tensor(asarray(z))


def label_count(G: Any) -> int | None:
    """Return how many labels a user can ask G for: its classes, or else the categories of an
    InfoGAN; None if there are neither."""
    return G.classes or getattr(G, "label_count", None)


def classes_in_turn(G: Any, n: int, first: int = 0) -> np.ndarray | None:
    """Return the labels of n images, which go through all classes in turn, beginning with `first`;
    None if G is unconditional."""
    return (first + np.arange(n)) % G.classes if G.classes else None


def truncate(G: Any, truncation: float, rng: Rng, batches: int = 16) -> None:
    """Prepare G, in place, for this truncation. A G with styles gets a new psi. A G with batch-norm
    gets the statistics of `batches` batches of its images."""
    if isinstance(G, StyleGenerator):
        G.psi = truncation
    else:
        standing_statistics(G, rng, batches, truncation)


def standing_statistics(
    G: Any, rng: Rng, batches: int, truncation: float | None = None, size: int = 64
) -> None:
    """Give G's batch-norm layers, in place, the mean and variance over `batches` batches of `size`
    images that G generates.

    The running averages of training come from a G that kept changing. They do not fit an
    averaged G, or truncated latents (Brock et al. 2019, appendix C: "standing statistics").
    """
    rng = generator(rng)
    norms = [module for _, module in G.modules() if isinstance(module, BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    try:
        for i in range(batches):
            for norm in norms:
                # With this momentum, the running average is the mean over all batches so far.
                norm.training, norm.momentum = True, 1 / (i + 1)
            labels = rng.integers(G.classes, size=size) if G.classes else None
            generate(G, latents(rng, size, G, truncation), labels)
    finally:
        for norm, momentum in zip(norms, momenta):
            norm.training, norm.momentum = False, momentum


def class_rows(classes: int, n: int) -> tuple[np.ndarray, int]:
    """Return (labels, columns) of a grid of at least n images with a row for each class; with
    several rows for each if these would be long, as of two classes.

    Of more than MAX_ROWS classes, it shows MAX_ROWS, evenly spaced. Every row is full. If n is
    smaller than the number of classes, there is one row, with an image of another class in each
    column.
    """
    shown = min(classes, MAX_ROWS, n)
    columns, rows = -(-n // shown), 1
    if columns > 2 * shown:  # nearly square
        rows = -(-columns // math.ceil(math.sqrt(n)))
        columns = -(-columns // rows)
    labels = np.arange(shown).repeat(rows * columns) * classes // min(classes, MAX_ROWS)
    return labels, (columns if columns > 1 else shown)


def images_of_a_class(labels: np.ndarray, columns: int) -> int:
    """Return the number of latents of a grid by `class_rows`: each class has an image of each."""
    return max(int(np.sum(labels == labels[0])), columns if len(labels) == columns else 1)


class Opened(NamedTuple):
    """A trained network, its recipe, the contents of config.json, and the path of the
    checkpoint."""

    network: Any
    recipe: Recipe
    config: dict[str, Any]
    path: Path


def load_generator(
    run: str | Path, average: bool = True, model: str | Path | None = None, trust: bool = False
) -> tuple[Any, dict[str, Any], Path]:
    """Return (G, config, path of the checkpoint) of a run, given its folder or one of its
    checkpoints.

    average: load the averaged weights (EMA); otherwise, the weights of the last step. With the
    averaged weights, a folder stands for its best checkpoint if the run was evaluated; otherwise,
    for its last one. model: for a run whose recipe is your own, its file. trust: execute the copy
    of it in the run folder; only for a run of somebody whom you trust. Raises InputError if there
    is no checkpoint, if it is damaged, or if the run needs model or trust.
    """
    opened = open_network(run, "G", average, model, trust)
    return opened.network, opened.config, opened.path


def open_network(
    run: str | Path,
    role: str = "G",
    average: bool = True,
    model: str | Path | None = None,
    trust: bool = False,
) -> Opened:
    """Like `load_generator`, with the recipe. role: "G", or "D", which has no average."""
    average = average and role == "G"
    opened: Any = checkpoint.open_run(run, best=average)
    if opened.path.name == checkpoint.BEST and not average:
        raise InputError(
            f"{opened.path} holds only the averaged weights of G: for others, give a "
            "checkpoint-*.npz"
        )
    if opened.path.name == checkpoint.BEST and checkpoint.is_run_folder(run):
        state.check_evaluation(opened.path, opened.meta)
    recipe, settings = recipes.of_run(opened, model, trust)
    G, D = build_networks(opened, recipe, settings)
    network = _load_weights(G if role == "G" else D, opened, "ema" if average else role)
    return Opened(network, recipe, opened.config, opened.path)


def load_networks(
    run: str | Path, model: str | Path | None = None, trust: bool = False
) -> tuple[Any, Any]:
    """Return the averaged G, and D, of a run, given its folder or one of its checkpoints. model,
    trust: as for `load_generator`."""
    opened = checkpoint.open_run(run)
    G, D = build_networks(opened, *recipes.of_run(opened, model, trust))
    return _load_weights(G, opened, "ema"), _load_weights(D, opened, "D")


def build_networks(run: checkpoint.Run, recipe: Recipe, settings: Settings) -> tuple[Any, Any]:
    """Return new networks (G, D) as the config.json of a run describes them.

    A config.json of a few bytes can describe networks of gigabytes. Raises InputError, before it
    makes them, if they are larger than those in the checkpoint.
    """
    count = lambda part: sum(array.size for array in run.states.get(part, {}).values())
    if run.path and run.path.name == checkpoint.BEST:  # only G: D is a guess
        numbers = 9 * count("ema") + 1_000_000
    else:
        numbers = count("G") + count("D")
    rng = _LimitedGenerator(run.path, 2 * numbers)  # some layers draw their weights twice
    networks = recipe.build(settings, tuple(run.config["image_shape"]), run.config["classes"], rng)
    rng.left = math.inf  # layers keep it for their noise
    return networks


class _LimitedGenerator(np.random.Generator):
    """np.random.default_rng(0), which raises InputError when it has drawn more than `limit` initial
    weights. path: the checkpoint, for the message."""

    def __init__(self, path, limit):
        super().__init__(np.random.PCG64(0))
        self.path, self.left = path, limit

    def standard_normal(self, size=None, *args, **settings):
        self._count(size)
        return super().standard_normal(size, *args, **settings)

    def uniform(self, low=0.0, high=1.0, size=None):
        self._count(size)
        return super().uniform(low, high, size)

    def _count(self, size):
        self.left -= 1 if size is None else math.prod(size) if isinstance(size, tuple) else size
        if self.left < 0:
            raise checkpoint.changed(self.path, "which describes larger networks than it holds")


def _load_weights(network, run, part):
    """Load one part of a checkpoint into a network. Return the network, in evaluation mode."""
    state.check_network(run, part, network)
    network.load_state_dict(run.states[part])
    return network.eval()
