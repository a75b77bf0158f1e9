"""Samples as a user asks for them: of a class, truncated, in a grid with a row for each class.

Both the command line and Python programs (tinygan/runs/) ask. `option` is how these write the
argument that a message is about, such as "--label" or "label".
"""

import io
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tinygan import data, ops, plots
from tinygan.autograd import Tensor
from tinygan.errors import InputError, one_line
from tinygan.files import read_bytes
from tinygan.models.recipe import Recipe

from . import sampling
from .gallery import GRID, POINTS
from .run_data import RunData


def check_truncation(recipe: Recipe, strength: float, option: str) -> str:
    """Return what the recipe truncates: "z" or "w".

    strength: the threshold of z, or psi of w. Raises InputError if it is out of range, or if the
    recipe has no truncation.
    """
    kind = recipe.truncation
    if kind is None:
        raise InputError(
            f"the recipe {recipe.name} has no truncation, "
            "because its G projects each latent onto a sphere"
        )
    low, high = sampling.TRUNCATION[kind]
    if not low <= strength <= high:
        raise InputError(
            f"{option} {strength}: {'the threshold' if kind == 'z' else 'psi'} "
            f"must be between {low:g} and {high:g}"
        )
    return kind


def truncate(G: Any, recipe: Recipe, strength: float, seed: int, option: str) -> None:
    """Prepare G, in place, for truncated latents or styles. Errors: see `check_truncation`."""
    check_truncation(recipe, strength, option)
    sampling.truncate(G, strength, np.random.default_rng([seed, 4]))


def class_number(label: object, G: Any, config: dict[str, Any], option: str) -> int:
    """Return the number of the class, or of InfoGAN's category, that a label gives by its name or
    number. Raises InputError if there is none."""
    count = sampling.label_count(G)
    if count is None:
        raise InputError(
            f"{option}: this run of {config['recipe']} has no classes: leave it out, or train a "
            "conditional recipe, or with --set g_class=concat d_class=concat"
        )
    text, names = str(label), config.get("class_names", []) if G.classes else []
    if text in names:
        return int(names.index(text))
    # Where names are numbers, another number must not be taken for the place of a class.
    by_number = not any(name.removeprefix("-").isdecimal() for name in names)
    if by_number and text.isdecimal() and len(text) < 9 and int(text) < count:
        return int(text)
    numbers = [f"0 to {count - 1}"] * by_number
    known = " or ".join([*numbers, *([one_line(", ".join(names), 300)] if names else [])])
    what = "classes" if G.classes else "categories"
    raise InputError(f"{option} {one_line(text, 100)}: the {what} are {known}")


def inputs(
    G: Any,
    n: int,
    seed: int = 0,
    label: Any = None,
    truncation: float | None = None,
    rows: bool = False,
) -> tuple[Tensor, Any, int | None]:
    """Return (latents, labels, columns of a grid or None) of n samples.

    label: the number of a class, or one for each sample; by default, a conditional G goes through
    all classes in turn. rows: a grid has a row (or several) for each label, with the same latents;
    it is filled up, so there may be more samples than n.
    """
    labels, columns = sampling.classes_in_turn(G, n), None
    if label is not None:
        labels = np.full(n, label)
    elif rows and (count := sampling.label_count(G) or 1) > 1:
        labels, columns = sampling.class_rows(count, n)
        n = len(labels)
    count = sampling.images_of_a_class(labels, columns) if columns else n
    z = sampling.latents(np.random.default_rng(seed), count, G, truncation)
    if columns:  # the same latents for each class: the same handwriting, another digit
        z = ops.concatenate([z] * (n // count))
    return z, labels, columns


def has_points(config: dict[str, Any]) -> bool:
    """Return whether a run generates points, not images."""
    return len(config["image_shape"]) == 1


def default_count(config: dict[str, Any]) -> int:
    """Return the number of samples to generate unless the user gives one."""
    return POINTS if has_points(config) else GRID


def save_points(path: str | Path, points: Any, labels: Any, its_data: RunData) -> None:
    """Plot generated points (N, 2) over the real points of the run's data, as a PNG file."""
    real = its_data.reals()
    if not isinstance(real, data.Points):
        raise InputError(f"config.json is damaged: {real.name} holds images, not points")
    plots.save_scatter(path, points, real.images, labels)


def picture(samples: Any, labels: Any, columns: int | None, its_data: RunData) -> Image.Image:
    """Return samples as one picture: a grid of images, or a scatter plot of points."""
    if not has_points(its_data.config):
        return Image.fromarray(plots.grid(samples, columns))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "points.png")
        save_points(path, samples, labels, its_data)
        file = io.BytesIO(read_bytes(path))
        return Image.open(file)
