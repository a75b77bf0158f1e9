"""The commands that list what there is: recipes, show, data, bench."""

import numpy as np

from tinygan import data
from tinygan.autograd import tensor
from tinygan.errors import InputError
from tinygan.nn.summary import Row, summarize
from tinygan.settings import parse_assignments
from tinygan.training import recipes

from .common import print_table
from .options import add


def recipes_options(parser):
    parser.add_argument("recipe", nargs="?", metavar="RECIPE")


def run_recipes(args):
    if args.recipe:
        recipe = recipes.find(args.recipe)
        print(f"{recipe.name}: {recipe.summary}\n\nsettings (--set name=value):")
        print_table(
            [
                (name, str(value), kind, doc)
                for name, value, kind, doc in recipe.settings().describe()
            ]
        )
    else:
        print_table([(recipe.name, recipe.summary) for recipe in recipes.RECIPES.values()])
        print("\nsettings of one: tinygan recipes RECIPE")


def show_options(parser):
    parser.add_argument("recipe", metavar="RECIPE")
    add(parser, "--set", help="settings of the recipe")


def run_show(args):
    """The networks for images of MNIST: 28 pixels on a side, ten classes."""
    recipe = recipes.find(args.recipe)
    settings = recipe.settings().updated(parse_assignments(args.set))
    side = 28 + 2 * settings.pad
    G, D = recipe.build(settings, (side, side, 1), 10, np.random.default_rng(0))
    label = [np.zeros(1, int)] if settings.g_class != "none" else []
    for name, network, shape in (("G", G, (1, settings.latent)), ("D", D, (1, side, side, 1))):
        rows = summarize(network, tensor(np.zeros(shape), dtype="float32"), *label)
        parameters = sum(p.size for p in network.parameters())
        # Layers made of others have some of their own, and so have layers for smaller images.
        if others := parameters - sum(row.parameters for row in rows):
            rows.append(Row("others", "", "", others, 0))
        rows.append(Row("total", "", "", parameters, sum(row.multiply_adds for row in rows)))
        print(f"{name}: input {shape}")
        print_table(
            [("layer", "kind", "output", "parameters", "multiply-adds")]
            + [
                (
                    row.path,
                    row.kind,
                    str(row.shape),
                    f"{row.parameters:,}",
                    f"{row.multiply_adds:,}",
                )
                for row in rows
            ],
            right=(3, 4),
        )
        print()


def data_options(parser):
    add(parser, "--data-dir", help="a folder to look in first")


def run_data(args):
    print_table(
        [("name", "train", "test", "where", "what")]
        + [
            (row.name, f"{row.train:,}", f"{row.test:,}", str(row.where), row.description)
            for row in data.catalogue(args.data_dir)
        ],
        right=(1, 2),
    )


def bench_options(parser):
    parser.prefix_chars = "\0"  # every word comes to `run_bench`, even --help
    parser.add_argument("words", nargs="*")


def run_bench(args):
    raise InputError(
        "the benchmark is not part of the package: "
        "run `python -m demos.bench` in a checkout of tinygan"
    )
