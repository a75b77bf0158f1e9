"""Drawing images with a generator."""

import numpy as np

from tinygan.autograd import no_grad
from tinygan.backend import to_numpy
from tinygan.data import to_uint8
from tinygan.errors import InputError
from tinygan.kernels import parallel

from . import checkpoint, recipes

ROWS = 10  # at most, of a grid with a row per class


def call(network, x, labels=None):
    """network(x, labels), or network(x) where there are no classes."""
    return network(x) if labels is None else network(x, labels)


def generate(G, z, labels=None, batch=256):
    """The images of latents z (N, latent), and classes (N,), as uint8 (N, H, W, C) on the host, `batch` at a time."""
    parts = []
    with no_grad(), parallel.single_threaded_blas():
        for i in range(0, len(z), batch):
            images = call(G, z[i:i + batch], None if labels is None else labels[i:i + batch])
            parts.append(to_uint8(to_numpy(images.data)))
    return np.concatenate(parts)


def class_rows(classes, n):
    """(labels, columns) of a grid of at least n images with a row per class (of many classes, ten spread evenly).

    Every row is full. Fewer images than rows stand in one row, each of another class.
    """
    rows = min(classes, ROWS, n)
    columns = -(-n // rows)
    labels = np.arange(rows).repeat(columns) * classes // min(classes, ROWS)
    return labels, (columns if columns > 1 else rows)


def load_generator(run, average=True):
    """(G, config, path of the checkpoint) of a run: its folder, or one of its checkpoints.

    Of a folder, it is the best checkpoint where the run was evaluated, otherwise the last. average: the averaged
    weights (EMA), or the last ones of training.
    """
    _, config, path = checkpoint.open_run(run, best=average)
    recipe = recipes.find(config["recipe"])
    settings = recipe.settings().updated(config["settings"])
    G, _ = recipe.build(settings, tuple(config["image_shape"]), config["classes"], np.random.default_rng(0))
    states, _ = checkpoint.load(path)
    if path.name == checkpoint.BEST and not average:
        raise InputError(f"{path} holds averaged weights only: give a checkpoint-*.npz for those of the last step")
    try:
        G.load_state_dict(states["ema" if average else "G"])
    except (KeyError, ValueError) as error:
        raise InputError(f"{path} does not fit {run}'s config.json ({error})") from None
    return G.eval(), config, path
