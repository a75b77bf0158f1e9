"""The commands that look inside: recipes, show, data, bench, gradcheck. Each imports what it needs."""

from tinygan.errors import InputError

from .common import check_output, print_table, select_device


def list_recipes(args):
    from tinygan.training import recipes

    if args.recipe:
        recipe = recipes.find(args.recipe)
        print(f"{recipe.name}: {recipe.summary}\n\nsettings (--set name=value):")
        print_table([(name, str(value), kind, doc) for name, value, kind, doc in recipe.settings().describe()])
    else:
        print_table([(recipe.name, recipe.summary) for recipe in recipes.RECIPES.values()])
        print("\nsettings of one: tinygan recipes RECIPE")


def show(args):
    import numpy as np

    from tinygan.autograd import tensor
    from tinygan.nn.summary import Row, summarize
    from tinygan.training import recipes
    from tinygan.models.settings import parse_assignments

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


def list_data(args):
    from tinygan import data

    rows = data.catalogue(args.data_dir)
    print_table([("name", "train", "test", "where", "what")]
                + [(r.name, f"{r.train:,}", f"{r.test:,}", str(r.where), r.description) for r in rows], right=(1, 2))


def bench(args):
    from tqdm import tqdm

    from tinygan import backend
    from demos.bench import report
    from demos.bench.workloads import WORKLOADS
    from tinygan.files import write_json

    output = check_output(args.output, ".json") if args.output else None
    unknown = [name for name in args.names if name not in WORKLOADS]
    if unknown:
        raise InputError(f"unknown workload {unknown[0]!r}; there are: {', '.join(WORKLOADS)}")
    names = args.names or list(WORKLOADS)
    select_device(args)
    on_gpu = backend.device() == "gpu"
    ways = 1 + len(report.variants(args.against, "gpu" if on_gpu else "cpu") if args.against else ())
    tables = [name for name in ("memory", "overhead", "growth", "augment", "profile") if getattr(args, name)]
    if args.against and tables and tables != ["memory"]:
        raise InputError(f"--{tables[-1]} measures tinygan alone: leave out --against {args.against}")
    if args.names and {"overhead", "growth", "augment"} >= {*tables} and tables:
        raise InputError(f"--{tables[0]} takes no workloads")
    if on_gpu and tables:
        raise InputError(f"--{tables[0]} measures the CPU: leave out --device gpu")
    kept, good = {"machine": backend.gpu_and_software() if on_gpu else report.machine()}, True
    print(kept["machine"])
    with tqdm(total=0, unit="turn", dynamic_ncols=True, leave=False) as progress:
        def show(name, rows, n):
            kept[name] = rows
            progress.clear()
            print()
            print_table(rows, right=range(1, n))

        if on_gpu:
            progress.total = args.rounds * len(names)
            rows, good, versions = report.gpu_times(names, args.against, args.rounds, progress)
            show("steps", rows, 12)
            print(f"\n{versions}\nlaunches: kernels and copies in a step; tinygan's are recorded, and launched as one")
        elif not tables:
            progress.total = args.rounds * len(names)
            rows, good, versions = report.times(names, args.against, args.rounds, progress)
            show("steps", rows, 6)
            kept["versions"] = versions
            print(f"\n{versions}\nGFLOP/s are those of plain convolutions; Winograd's take fewer")
        if args.memory:
            progress.reset(len(names) * ways)
            rows, met = report.memory(names, args.against, progress)
            good &= met
            show("memory", rows, 3)
        if args.overhead:
            show("overhead", report.overhead(), 3)
        if args.growth:
            progress.reset(len(report.GROWTH[0]) * len(report.GROWTH[1]))
            show("growth", report.growth(progress), 6)
        if args.augment:
            progress.reset(args.rounds * len(report.AUGMENTED))
            rows, met = report.augmentation(args.rounds, progress)
            good &= met
            show("augmentation", rows, 5)
        if args.profile:
            for name, table, inside, alone in report.profiles(names):
                progress.clear()
                print(f"\n{name} ({WORKLOADS[name].summary}), 10 steps\n{table}\na step: its ops {1e3 * inside:.1f} ms; "
                      f"without the profile {1e3 * alone:.1f} ms")
    if output:
        write_json(output, kept)
        print(f"\nnumbers: {output}")
    return 0 if good else 1


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
