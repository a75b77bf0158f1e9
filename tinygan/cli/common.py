"""What several commands share."""

from tinygan.errors import InputError


def print_table(rows, right=()):
    """Columns as wide as they need to be; those in `right` end flush."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [cell.rjust(w) if i in right else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths))]
        print("  ".join(cells).rstrip())


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
