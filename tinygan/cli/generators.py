"""The trained generator that a command asks for."""

import numpy as np

from tinygan.errors import InputError
from tinygan.nn import StyleGenerator
from tinygan.training import recipes, sampling


def load_generator(args):
    """(G, config, path of the checkpoint) that RUN, --weights and --truncation ask for."""
    G, config, path = sampling.load_generator(args.run_folder, args.weights == "average")
    if getattr(args, "truncation", None) is not None:
        check_truncation(config["recipe"], args.truncation)
        sampling.truncate(G, args.truncation, np.random.default_rng([args.seed, 4]))
    return G, config, path


def load_styles(args):
    """The same, of a recipe whose G has styles."""
    G, config, path = load_generator(args)
    if not isinstance(G, StyleGenerator):
        raise InputError(
            f"{args.run_folder}: the G of {config['recipe']} has no styles: "
            "give a run of stylegan or stylegan2"
        )
    return G, config, path


def check_truncation(recipe, strength):
    """What a recipe truncates, "z" or "w". Raises InputError where it truncates nothing, or where
    `strength`, the threshold of z or psi of w, is out of range."""
    kind = recipes.find(recipe).truncation
    if kind is None:
        raise InputError(
            f"--truncation: the recipe {recipe} has no truncation, "
            "as G puts each latent on a sphere"
        )
    low, high = sampling.TRUNCATION[kind]
    if not low <= strength <= high:
        raise InputError(
            f"--truncation {strength}: {'the threshold' if kind == 'z' else 'psi'} "
            f"must be between {low:g} and {high:g}"
        )
    return kind
