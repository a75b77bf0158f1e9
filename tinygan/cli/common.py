"""What several commands share."""

import os
from pathlib import Path

from tinygan.errors import InputError


def select_device(args):
    from tinygan import backend

    if args.device:
        backend.use_device(args.device)


def for_system(text):
    """Can text be passed to the system: has it no NUL, and no half of a surrogate pair?"""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def print_table(rows, right=()):
    """Columns as wide as they need to be; those in `right` end flush."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [cell.rjust(w) if i in right else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths))]
        print("  ".join(cells).rstrip())


def check_output(name, *suffixes):
    """The path that -o names. Raises InputError unless it ends in one of the suffixes, in a folder that exists."""
    path = Path(name)
    if path.suffix not in suffixes:
        *others, last = suffixes
        names = f"{', '.join(others)} or {last}" if others else last
        raise InputError(f"-o {path}: the name must end in {names}")
    if not path.parent.is_dir():
        raise InputError(f"-o {path}: the folder {path.parent} does not exist")
    if path.is_dir():
        raise InputError(f"-o {path}: is a folder")
    return path


def load_generator(args):
    """(G, config, path of the checkpoint) that a command's RUN, --weights and --truncation ask for."""
    import numpy as np

    from tinygan.training import sampling

    G, config, path = sampling.load_generator(args.run_folder, args.weights == "average")
    if getattr(args, "truncation", None) is not None:
        check_truncation(config["recipe"], args.truncation)
        sampling.truncate(G, args.truncation, np.random.default_rng([args.seed, 4]))
    return G, config, path


def load_styles(args):
    """The same, of a recipe whose G has styles."""
    from tinygan.nn import StyleGenerator

    G, config, path = load_generator(args)
    if not isinstance(G, StyleGenerator):
        raise InputError(f"{args.run_folder}: the G of {config['recipe']} has no styles: give a run of stylegan or "
                         "stylegan2")
    return G, config, path


def check_truncation(recipe, threshold):
    """Raises InputError where a recipe has no truncation, or not with that threshold (of z) or psi (of w)."""
    from tinygan.training import recipes
    from tinygan.training.sampling import TRUNCATION

    kind = recipes.find(recipe).truncation
    if kind is None:
        raise InputError(f"--truncation: the recipe {recipe} has no truncation, as G puts each latent on a sphere")
    low, high = TRUNCATION[kind]
    if not low <= threshold <= high:
        raise InputError(f"--truncation {threshold}: {'the threshold' if kind == 'z' else 'psi'} must be between {low:g} "
                         f"and {high:g}")
    return kind
