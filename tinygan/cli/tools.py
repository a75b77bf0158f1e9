"""The commands that look inside: recipes, show, data, gradcheck, bench. Each imports what it needs."""

from tinygan.errors import InputError

from .common import print_table
from .options import add_data_dir, add_settings


def recipes_options(parser):
    parser.add_argument("recipe", nargs="?", metavar="RECIPE")


def list_recipes(args):
    from tinygan.training import recipes

    if args.recipe:
        recipe = recipes.find(args.recipe)
        print(f"{recipe.name}: {recipe.summary}\n\nsettings (--set name=value):")
        print_table([(name, str(value), kind, doc) for name, value, kind, doc in recipe.settings().describe()])
    else:
        print_table([(recipe.name, recipe.summary) for recipe in recipes.RECIPES.values()])
        print("\nsettings of one: tinygan recipes RECIPE")


def show_options(parser):
    parser.add_argument("recipe", metavar="RECIPE")
    add_settings(parser, "settings of the recipe")


def show(args):
    import numpy as np

    from tinygan.autograd import tensor
    from tinygan.nn.summary import Row, summarize
    from tinygan.training import recipes
    from tinygan.settings import parse_assignments

    recipe = recipes.find(args.recipe)
    settings = recipe.settings().updated(parse_assignments(args.set))
    shape = (28 + 2 * settings.pad, 28 + 2 * settings.pad, 1)
    G, D = recipe.build(settings, shape, 10, np.random.default_rng(0))
    label = [np.zeros(1, int)] if settings.g_class != "none" else []
    for name, network, x in (("G", G, np.zeros((1, settings.latent))), ("D", D, np.zeros((1, *shape)))):
        rows = summarize(network, tensor(x, dtype="float32"), *label)
        parameters = sum(p.size for p in network.parameters())
        if others := parameters - sum(r.parameters for r in rows):  # of layers with parts, or for smaller images
            rows.append(Row("others", "", "", others, 0))
        print(f"{name}: input {x.shape}")
        print_table([("layer", "kind", "output", "parameters", "multiply-adds")]
                    + [(r.path, r.kind, str(r.shape), f"{r.parameters:,}", f"{r.multiply_adds:,}") for r in rows]
                    + [("total", "", "", f"{parameters:,}",
                        f"{sum(r.multiply_adds for r in rows):,}")], right=(3, 4))
        print()


def data_options(parser):
    add_data_dir(parser, "a folder to look in first")


def list_data(args):
    from tinygan import data

    rows = data.catalogue(args.data_dir)
    print_table([("name", "train", "test", "where", "what")]
                + [(r.name, f"{r.train:,}", f"{r.test:,}", str(r.where), r.description) for r in rows], right=(1, 2))


def bench_options(parser):
    parser.prefix_chars = "\0"  # every word comes to `bench`, even --help
    parser.add_argument("words", nargs="*")


def bench(args):
    raise InputError("the benchmark is not part of the package: run `python -m demos.bench` in a checkout of tinygan")


def gradcheck_options(parser):
    parser.add_argument("names", nargs="*", metavar="NAME", help="only rows whose name contains one of these")


def gradcheck(args):
    from tinygan.optable import ROWS, run_gradchecks

    rows = [row for row in ROWS if not args.names or any(name in row.name for name in args.names)]
    if not rows:
        raise InputError(f"no row of the op table has {' or '.join(args.names)} in its name")
    failures = 0
    print(f"{'op':50}{'order 1':>10}{'order 2':>10}")
    for result in run_gradchecks(rows):
        print(f"{result.name:50}{result.order1:10.1e}{result.order2:10.1e}  {'pass' if result.passed else 'FAIL'}")
        if not result.passed:
            failures += 1
            print(f"    {result.message}")
    print(f"{len(rows) - failures} of {len(rows)} pass")
    return 1 if failures else 0
