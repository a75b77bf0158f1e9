"""Loading the trained generator that a command's options select."""

from tinygan.errors import InputError
from tinygan.nn import StyleGenerator
from tinygan.training import samples, sampling


def load_generator(args):
    """Return (G, config, path of the checkpoint) for RUN, --weights, --model, --trust and
    --truncation, with G ready for truncated latents or styles.

    Raises InputError if the recipe has no truncation, or its strength is out of range.
    """
    G, recipe, config, path = sampling.open_network(
        args.run_folder, "G", args.weights == "average", args.model, args.trust
    )
    if getattr(args, "truncation", None) is not None:
        samples.truncate(G, recipe, args.truncation, args.seed, "--truncation")
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
