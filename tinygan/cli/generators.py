"""Loading the trained generator that a command's options select."""

import numpy as np

from tinygan.errors import InputError
from tinygan.nn import StyleGenerator
from tinygan.training import sampling


def load_generator(args):
    """Return (G, config, path of the checkpoint) for RUN, --weights, --model, --trust and
    --truncation, with G ready for truncated latents or styles.

    Raises InputError if the recipe has no truncation, or its strength is out of range.
    """
    average = args.weights == "average"
    model, trust = getattr(args, "model", None), getattr(args, "trust", False)
    opened = sampling.open_generator(args.run_folder, average, model, trust)
    G, recipe, config, path = opened
    if getattr(args, "truncation", None) is not None:
        check_truncation(recipe, args.truncation)
        sampling.truncate(G, args.truncation, np.random.default_rng([args.seed, 4]))
    return G, config, path


def load_style_generator(args):
    """Like `load_generator`, for a recipe whose G has styles. Raises InputError for others."""
    G, config, path = load_generator(args)
    if not isinstance(G, StyleGenerator):
        raise InputError(
            f"{args.run_folder}: the G of {config['recipe']} has no styles: "
            "give a run of the recipe stylegan or stylegan2"
        )
    return G, config, path


def check_truncation(recipe, strength, option="--truncation"):
    """Return what the recipe truncates: "z" or "w".

    strength: the threshold of z, or psi of w, as given by `option`. Raises InputError if it is out
    of range, or if the recipe has no truncation.
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
