"""The commands that print information: recipes, show, data, bench."""

import os
import shutil
import textwrap

import numpy as np

from tinygan import data, nn, plots
from tinygan.errors import InputError, one_line, quoted
from tinygan.files import checkpoint
from tinygan.settings import GROUPS, parse_assignments
from tinygan.training import own_code, recipes, sampling
from tinygan.training.start import note_folder

from .common import print_table
from .options import add, add_output


def recipes_options(parser):
    parser.add_argument(
        "recipe",
        nargs="?",
        metavar="RECIPE",
        help="list the settings of this recipe, or of a model file of yours, FILE.py (default: "
        "list the recipes)",
    )


def run_recipes(args):
    if args.recipe:
        print_settings(recipes.choose(args.recipe))
    else:
        print_table([(recipe.name, recipe.summary) for recipe in recipes.RECIPES.values()])
        print("\nTo list the settings of a recipe: tinygan recipes RECIPE")


def print_settings(recipe):
    """Print the settings of a recipe by group; * marks those that it changes from the default, and
    ~ those that may have a schedule."""
    descriptions = recipe.settings().describe(
        g_class=recipe.g_class_choices, d_class=recipe.d_class_choices
    )
    name_width = max(len(d.name) for d in descriptions)
    value_width = max(len(_value(d)) for d in descriptions)
    indent = name_width + value_width + 6
    width = max(80, shutil.get_terminal_size((100, 24)).columns)
    print(f"{recipe.name}: {recipe.summary}\n")
    name = quoted(recipe.source.path) if recipe.source else recipe.name
    example = f"tinygan train {name} --set lr=1e-4 batch_size=32"
    print(f"Change settings with --set, such as: {example}")
    print("* marks a value that this recipe changes from the default.")
    text = (
        "~ marks a number that may change during training. Its value is then a schedule: "
        "linear:START:END, cosine:START:END or constant:VALUE, perhaps with :until=N (the step at "
        "which END is reached; default: the last one) and :warmup=N (the first steps, in which it "
        "rises from 0 to START), where N may be a percentage of all steps. Such as: "
        "--set lr=cosine:2e-4:0:warmup=5%"
    )
    print(textwrap.fill(text, width))
    if recipe.point_defaults:
        changes = " ".join(f"{name}={value}" for name, value in recipe.point_defaults.items())
        text = f"For points, as in --data ring, it also changes: {changes}"
        print(textwrap.fill(text, width))
    for group, purpose in GROUPS.items():
        print("\n" + textwrap.fill(f"{group}: {purpose}", width, subsequent_indent="  "))
        for d in descriptions:
            if d.group == group:
                first = f"  {d.name:{name_width}}  {_value(d):{value_width}}  "
                print(textwrap.fill(first + d.doc, width, subsequent_indent=" " * indent))


def _value(description):
    value = description.value
    marks = "~" * description.scheduled + "*" * description.changed
    return (str(value) if value != "" else '""') + marks


def show_options(parser):
    parser.add_argument(
        "recipe",
        metavar="RECIPE",
        help="a recipe, listed by `tinygan recipes`, or a model file of yours, FILE.py (for images "
        "like MNIST's); or the folder of a run",
    )
    add(parser, "--set", "--model", "--trust")


def run_show(args):
    """Print the layers of the networks of a run; or of a recipe, for images like MNIST's: 28x28
    pixels, ten classes."""
    if args.recipe not in recipes.RECIPES and os.path.isdir(args.recipe):
        if args.set:
            raise InputError("--set changes a recipe, not the networks of a run: leave it out")
        run = checkpoint.open_run(args.recipe)
        recipe, settings = recipes.of_run(run, args.model, args.trust)
        networks = sampling.build_networks(run, recipe, settings)
        print_networks(*networks, settings, run.config["image_shape"])
        return
    if args.model is not None or args.trust:
        raise InputError("--model and --trust are for the folder of a run: leave them out")
    recipe = recipes.choose(args.recipe)
    settings = recipe.settings().updated(own_code.loaded(parse_assignments(args.set)))
    side = 28 + 2 * settings.pad
    networks = recipe.build(settings, (side, side, 1), 10, np.random.default_rng(0))
    print_networks(*networks, settings, (side, side, 1))


def print_networks(G, D, settings, image_shape):
    """Print the layers of G for a latent, and of D for an image, or for a pack of them."""
    label = [np.zeros(1, int)] if settings.g_class != "none" else []
    pack = settings.pack  # how many images D takes at once
    for name, network, shape in (("G", G, (1, settings.latent)), ("D", D, (pack, *image_shape))):
        print(f"{name}: input {shape}{', a pack' * (name == 'D' and pack > 1)}")
        print(nn.summary(network, np.zeros(shape, np.float32), *label), end="\n\n")


def data_options(parser):
    parser.add_argument(
        "data",
        nargs="?",
        metavar="NAME|PATH",
        help="a data set, or your own images: say what would be trained on (default: list the data "
        "sets)",
    )
    add(parser, "--image-size", "--layout", "--labels")
    add(parser, "--data-dir", help="a folder to search first")
    add_output(
        parser, ".png", required=False, help="write a picture of 100 of the images, sorted by class"
    )


def run_data(args):
    how = {"image_size": args.image_size, "layout": args.layout, "labels": args.labels}
    if args.data is not None:
        note_folder(args.data)
        describe_data(data.load(args.data, data_dir=args.data_dir, **how), args.output)
    elif args.output or any(how.values()):
        raise InputError("say which data set is meant: tinygan data NAME, or tinygan data PATH")
    else:
        list_data(args)


def describe_data(dataset, picture):
    """Print the numbers of images or points of a data set, in all and of each class. picture: the
    path of a PNG file of some of them, or None."""
    train, held_out = dataset.hold_out()
    what = dataset.unit
    if not isinstance(dataset, data.Points):
        height, width, channels = dataset.image_shape
        what = f"images of {height}x{width} pixels, {'grey' if channels == 1 else 'RGB'}"
    print(
        f"{dataset.name}: {len(dataset):,} {what}; a run trains on {len(train):,}, and holds "
        f"{len(held_out or ()):,} out"
    )
    counts = np.bincount(dataset.labels, minlength=dataset.num_classes)
    if dataset.num_classes > 1:
        names = map(one_line, dataset.class_names)
        rows = zip(map(str, range(dataset.num_classes)), names, map(str, counts))
        print_table([("class", "name", "images"), *rows], right=(0, 2))
    if picture and isinstance(dataset, data.Points):
        plots.save_scatter(picture, dataset.images[:2000], dataset.images)
        print(f"picture: {picture}")
    elif picture:
        chosen = dataset.balanced(min(100, len(dataset)), 0)
        in_order = np.argsort(chosen.labels, kind="stable")
        sheet = plots.grid(chosen.images[in_order], min(10, len(chosen)))
        plots.save_image(picture, sheet)
        print(f"picture: {picture}")


def list_data(args):
    print_table(
        [("name", "train", "test", "where", "description")]
        + [
            (row.name, f"{row.train:,}", f"{row.test:,}", str(row.where), row.description)
            for row in data.catalogue(args.data_dir)
        ],
        right=(1, 2),
    )


def bench_options(parser):
    parser.prefix_chars = "\0"  # no word is an option: all of them reach `run_bench`, even --help
    parser.add_argument("words", nargs="*")


def run_bench(args):
    raise InputError(
        "the benchmark is not part of the package: "
        "run `python -m demos.bench` in a checkout of tinygan"
    )
