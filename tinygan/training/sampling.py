"""Drawing images with a generator."""

import numpy as np

from tinygan.autograd import Tensor, no_grad
from tinygan.backend import asarray, to_numpy
from tinygan.data import to_uint8
from tinygan.errors import InputError
from tinygan.files import checkpoint
from tinygan.gan.conditioning import call_with_labels
from tinygan.kernels.cpu import parallel
from tinygan.nn import BatchNorm, StyleGenerator

from . import recipes

# What --truncation may be, of z and of w. Of z: below, one number in a hundred is kept; above, all
# are. Of w: psi, which is 1 where nothing is truncated; -1 draws the opposites.
TRUNCATION = {"z": (0.02, 10.0), "w": (-2.0, 2.0)}
ROWS = 10  # at most, of a grid with a row per class


def generate(G, z, labels=None, batch=256):
    """The images of latents z (N, latent), and classes (N,), as uint8 (N, H, W, C) on the host,
    `batch` at a time.

    Instead of classes, labels may be mixtures of them, float32 (N, classes) on the host.
    """
    parts = []
    with no_grad(), parallel.single_threaded_blas():
        for i in range(0, len(z), batch):
            part = None if labels is None else labels[i : i + batch]
            if part is not None and part.dtype.kind == "f":
                part = asarray(part)
            images = call_with_labels(G, z[i : i + batch], part)
            parts.append(to_uint8(to_numpy(images.data)))
    return np.concatenate(parts)


def latents(rng, n, G, truncation=None):
    """n latents z ~ N(0, 1) for G: a Tensor (n, latent).

    truncation: the truncation trick of BigGAN (Brock et al. 2019, section 3.1): values beyond this
    threshold are drawn again, until none is. Less variety, but each image from where G was trained
    most. A G with styles does not truncate z, but w (`truncate`).
    """
    z = rng.standard_normal((n, G.latent), dtype=np.float32)
    if truncation is not None and not isinstance(G, StyleGenerator):
        beyond = np.flatnonzero(np.abs(z) > truncation)
        while beyond.size:
            redrawn = rng.standard_normal(beyond.size, dtype=np.float32)
            z.ravel()[beyond] = redrawn
            beyond = beyond[np.abs(redrawn) > truncation]
    return Tensor(asarray(z))


def classes_in_turn(G, n, first=0):
    """The classes of n images, in turn from `first` on; None where G has no classes."""
    return (first + np.arange(n)) % G.classes if G.classes else None


def truncate(G, truncation, rng, batches=16):
    """Make G, in place, ready for latents of that truncation: psi of one with styles; of one with
    batch-norm, the statistics of so many batches of its images."""
    if isinstance(G, StyleGenerator):
        G.psi = truncation
    else:
        standing_statistics(G, rng, batches, truncation)


def standing_statistics(G, rng, batches, truncation=None, size=64):
    """Give G's batch-norm layers, in place, the mean and variance of so many batches of its own
    images.

    The running averages of training are those of a G that changed meanwhile; an averaged G, or one
    that is given truncated latents, makes other images (Brock et al. 2019, appendix C: "standing
    statistics").
    """
    norms = [module for _, module in G.modules() if isinstance(module, BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    try:
        for i in range(batches):
            for norm in norms:
                # so that the running average is that of all
                norm.training, norm.momentum = True, 1 / (i + 1)
            labels = rng.integers(G.classes, size=size) if G.classes else None
            generate(G, latents(rng, size, G, truncation), labels)
    finally:
        for norm, momentum in zip(norms, momenta):
            norm.training, norm.momentum = False, momentum


def class_rows(classes, n):
    """(labels, columns) of a grid of at least n images with a row per class (of many classes, ten
    spread evenly).

    Every row is full. Fewer images than rows stand in one row, each of another class.
    """
    rows = min(classes, ROWS, n)
    columns = -(-n // rows)
    labels = np.arange(rows).repeat(columns) * classes // min(classes, ROWS)
    return labels, (columns if columns > 1 else rows)


def load_generator(run, average=True):
    """(G, config, path of the checkpoint) of a run: its folder, or one of its checkpoints.

    Of a folder, it is the best checkpoint where the run was evaluated, otherwise the last. average:
    the averaged weights (EMA), or the last ones of training.
    """
    run = checkpoint.open_run(run, best=average)
    if run.path.name == checkpoint.BEST and not average:
        raise InputError(
            f"{run.path} holds averaged weights only: give a checkpoint-*.npz for "
            "those of the last step"
        )
    G, _ = _built(run)
    return _with(G, run, "ema" if average else "G"), run.config, run.path


def load_networks(run):
    """(G, D) of a run, its folder or one of its checkpoints, as they were trained to be: G
    averaged, D as it is."""
    run = checkpoint.open_run(run)
    G, D = _built(run)
    return _with(G, run, "ema"), _with(D, run, "D")


def _built(run):
    recipe = recipes.find(run.config["recipe"])
    settings = recipe.settings().updated(run.config["settings"])
    return recipe.build(
        settings, tuple(run.config["image_shape"]), run.config["classes"], np.random.default_rng(0)
    )


def _with(network, run, part):
    """The network with the weights of a part of a checkpoint, in evaluation mode."""
    try:
        network.load_state_dict(run.states[part])
    except (KeyError, ValueError) as error:
        raise InputError(f"{run.path} does not fit its config.json ({error})") from None
    return network.eval()
