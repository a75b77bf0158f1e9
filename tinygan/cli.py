"""The command line: `tinygan train` and its siblings. Errors of use are one line on stderr and exit code 2."""

import argparse
import os
import sys
import time
from pathlib import Path

from tinygan.errors import InputError


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line."""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def main(argv=None) -> int:
    """Run a command; returns its exit code."""
    args = make_parser().parse_args(argv)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path that the terminal cannot show is no error
    try:
        return args.run(args) or 0
    except (InputError, OSError) as error:
        if isinstance(error, BrokenPipeError):  # the reader of our output has gone, as in `| head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if args.run is not train:
                return 0
            print("tinygan: training ended, because its output was closed", file=sys.stderr)
            return 1
        print(f"tinygan: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except MemoryError as error:
        print(f"tinygan: error: out of memory ({error}): ask for less at once", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("tinygan: interrupted", file=sys.stderr)
        return 130


def make_parser():
    parser = Parser(prog="tinygan", description="The GAN family tree in NumPy: train, sample and look inside.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name, run, summary):
        sub = commands.add_parser(name, help=summary, description=summary)
        sub.set_defaults(run=run)
        return sub

    p = command("train", train, "train a recipe; without arguments, DCGAN on the built-in digits")
    p.add_argument("recipe", nargs="?", metavar="RECIPE", help="see `tinygan recipes` (default: dcgan)")
    p.add_argument("--data", metavar="NAME", help="digits (default), mnist or fashion-mnist: see `tinygan data`")
    p.add_argument("--data-dir", metavar="DIR", help="folder with the data set's IDX files")
    p.add_argument("--steps", metavar="N", help="training steps; with --resume, the new total")
    p.add_argument("--batch-size", metavar="N", help="images per step")
    p.add_argument("--seed", type=int, metavar="N", help="of all random numbers (default: 0)")
    p.add_argument("--out", metavar="DIR", help="run folder (default: a new one under runs/)")
    p.add_argument("--resume", metavar="DIR", help="continue the run in DIR from its last checkpoint")
    p.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE",
                   help="settings of the recipe, listed by `tinygan recipes RECIPE`")
    add_device(p)

    p = command("sample", sample, "draw images with a trained generator")
    p.add_argument("run_folder", metavar="RUN", help="a run folder, or one of its checkpoints")
    p.add_argument("-n", type=positive, default=64, metavar="N", help="how many images (default: 64)")
    p.add_argument("--label", type=int, metavar="K", help="class of the images, for a conditional recipe")
    p.add_argument("--truncation", type=float, metavar="PSI", help="trade variety for quality, where a recipe can")
    p.add_argument("--seed", type=int, default=0, metavar="N", help="of the latents (default: 0)")
    p.add_argument("-o", "--output", required=True, metavar="FILE",
                   help=".png (a grid), .gif (a walk through the latents) or .npz (images, uint8 NHWC)")
    add_device(p)

    p = command("recipes", list_recipes, "list the recipes, or the settings of one")
    p.add_argument("recipe", nargs="?", metavar="RECIPE")

    p = command("show", show, "print the layers of a recipe's networks: shapes, parameters, multiply-adds")
    p.add_argument("recipe", metavar="RECIPE")
    p.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="settings of the recipe")

    p = command("data", list_data, "list the data sets, what is here and where")
    p.add_argument("--data-dir", metavar="DIR", help="a folder to look in first")

    p = command("bench", bench, "time a training step of six workloads, by itself or beside PyTorch or JAX")
    p.add_argument("names", nargs="*", metavar="WORKLOAD",
                   help="dcgan, dcgan-r1, wgan-gp, stylegan2, lenet, mlp (default: all)")
    p.add_argument("--against", choices=("torch", "jax"),
                   help="measure this one beside us, turn by turn; the exit code is 1 if a ratio misses its target")
    p.add_argument("--rounds", type=positive, default=8, metavar="N", help="turns of half a second each (default: 8)")
    p.add_argument("--memory", action="store_true", help="peak memory of a step")
    p.add_argument("--overhead", action="store_true", help="what an op costs on tiny tensors")
    p.add_argument("--growth", action="store_true", help="time by batch size and image size")
    p.add_argument("--profile", action="store_true", help="where the time of each workload goes, op by op")

    p = command("gradcheck", gradcheck, "check every op's first and second derivatives against differences")
    p.add_argument("names", nargs="*", metavar="NAME", help="only rows whose name contains one of these")
    return parser


def positive(text):
    try:
        n = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number") from None
    if n < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return n


def add_device(parser):
    parser.add_argument("--device", choices=("cpu", "gpu"), help="where to compute (default: $TINYGAN_BACKEND, or cpu)")


def select_device(args):
    from tinygan import backend

    if args.device:
        backend.use({"cpu": "numpy", "gpu": "cupy"}[args.device])


# Commands. Each imports what it needs, so that `tinygan --help` starts at once.


def train(args):
    from tinygan import data
    from tinygan.files import write_json
    from tinygan.training import checkpoint, recipes
    from tinygan.training.settings import parse_assignments
    from tinygan.training.trainer import Trainer

    select_device(args)
    changes = parse_assignments(args.set)
    for name in ("steps", "batch_size"):
        if getattr(args, name) is not None:
            changes[name] = getattr(args, name)
    if args.seed is not None and args.seed < 0:
        raise InputError(f"--seed {args.seed}: a seed is 0 or more")
    if args.resume is not None:
        fixed = [f"--{name}" for name in ("data", "seed", "out") if getattr(args, name) is not None]
        if args.recipe or fixed or set(changes) - {"steps", "sample_every", "checkpoint_every"}:
            raise InputError("--resume continues a run as it was set up; besides --data-dir and --device it takes "
                             "only --steps and --set sample_every=N checkpoint_every=N")
        folder, config, path = checkpoint.open_run(args.resume)
        recipe = recipes.find(config["recipe"])
        settings = recipe.settings().updated(config["settings"]).updated(changes)
        dataset = data.load(config["data"], data_dir=args.data_dir)
        trainer = Trainer(recipe, settings, dataset, folder, config["seed"])
        trainer.resume(path)
        if trainer.step >= settings.steps:
            raise InputError(f"{folder} is at step {trainer.step} already: give a larger --steps")
        write_json(folder / "config.json", trainer.config)
    else:
        recipe = recipes.find(args.recipe or "dcgan")
        settings = recipe.settings().updated(changes)
        dataset = data.load(args.data or "digits", data_dir=args.data_dir)
        if settings.batch_size > len(dataset):
            raise InputError(f"batch_size {settings.batch_size}: more than the {len(dataset):,} images of {dataset.name}")
        out = args.out if args.out is not None else new_folder(f"{recipe.name}-{dataset.name}")
        trainer = Trainer.start(recipe, settings, dataset, out, args.seed or 0)

    print(f"{recipe.name} on {len(trainer.dataset):,} images of {dataset.name}, "
          f"{settings.steps:,} steps of {settings.batch_size}, into {trainer.out}")
    started, first = time.perf_counter(), trainer.step
    try:
        grid = trainer.run()
    except KeyboardInterrupt:
        onward = f"; continue with: tinygan train --resume {trainer.out}" if checkpoint.checkpoints(trainer.out) else ""
        print(f"\nstopped at step {trainer.step}{onward}", file=sys.stderr)
        return 130
    seconds = time.perf_counter() - started
    images = (trainer.step - first) * settings.batch_size
    print(f"{trainer.step - first:,} steps, {images:,} images in {int(seconds) // 60}:{int(seconds) % 60:02d} "
          f"({images / max(seconds, 1e-9):.0f} images/s)")
    print(f"curves: {trainer.out / 'curves.png'}")
    print(f"more:   tinygan sample {trainer.out} -n 100 -o more.png")
    print(f"grid:   {grid}")


def new_folder(name):
    """runs/name-001, or the next number that is free."""
    numbers = (f"runs/{name}-{i:03d}" for i in range(1, 1_000_000))
    return Path(next(path for path in numbers if not Path(path).exists()))


def sample(args):
    import numpy as np

    from tinygan import plots
    from tinygan.autograd import Tensor
    from tinygan.backend import normal
    from tinygan.files import replacing
    from tinygan.training.trainer import generate, load_generator

    select_device(args)
    output = Path(args.output)
    if args.seed < 0:
        raise InputError(f"--seed {args.seed}: a seed is 0 or more")
    if output.suffix not in (".png", ".gif", ".npz"):
        raise InputError(f"-o {output}: the name must end in .png, .gif or .npz")
    if not output.parent.is_dir():
        raise InputError(f"-o {output}: the folder {output.parent} does not exist")
    G, config = load_generator(args.run_folder)
    for option in ("label", "truncation"):
        if getattr(args, option) is not None:
            raise InputError(f"--{option}: the recipe {config['recipe']} has no "
                             + {"label": "classes", "truncation": "truncation"}[option])
    rng = np.random.default_rng(args.seed)
    z = normal(rng, (args.n, G.latent))
    if output.suffix == ".gif":
        z = walk(z, frames=12)
    pictures = generate(G, Tensor(z))
    if output.suffix == ".npz":
        with replacing(output) as temporary:
            np.savez_compressed(temporary, images=pictures)
    elif output.suffix == ".gif":
        plots.save_gif(output, np.stack([plots.grid(picture[None], scale=8) for picture in pictures]))
    else:
        plots.save_image(output, plots.grid(pictures))
    print(f"{args.n} image{'s' * (args.n > 1)} by {config['recipe']}: {output}")


def walk(z, frames):
    """Latents on great circles from each z to the next and back to the first, `frames` to each stretch.

    A straight line would pass nearer the origin than any latent that G was trained on.
    """
    import numpy as np

    from tinygan.backend import xp

    angles = np.linspace(0, np.pi / 2, frames, endpoint=False, dtype=np.float32)
    following = xp.roll(z, -1, axis=0)
    return xp.concatenate([float(np.cos(a)) * z[i:i + 1] + float(np.sin(a)) * following[i:i + 1]
                           for i in range(len(z)) for a in angles])


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
    from tinygan.nn.summary import summarize
    from tinygan.training import recipes
    from tinygan.training.settings import parse_assignments

    recipe = recipes.find(args.recipe)
    settings = recipe.settings().updated(parse_assignments(args.set))
    shape = (28, 28, 1)
    G, D = recipe.build(settings, shape, np.random.default_rng(0))
    for name, network, x in (("G", G, np.zeros((1, settings.latent))), ("D", D, np.zeros((1, *shape)))):
        rows = summarize(network, tensor(x, dtype="float32"))
        print(f"{name}: input {x.shape}")
        print_table([("layer", "kind", "output", "parameters", "multiply-adds")]
                    + [(r.path, r.kind, str(r.shape), f"{r.parameters:,}", f"{r.multiply_adds:,}") for r in rows]
                    + [("total", "", "", f"{sum(r.parameters for r in rows):,}",
                        f"{sum(r.multiply_adds for r in rows):,}")], right=(3, 4))
        print()


def list_data(args):
    from tinygan import data

    rows = data.catalogue(args.data_dir)
    print_table([("name", "train", "test", "where", "what")]
                + [(r.name, f"{r.train:,}", f"{r.test:,}", str(r.where), r.description) for r in rows], right=(1, 2))


def bench(args):
    from tqdm import tqdm

    from tinygan.bench import report
    from tinygan.bench.workloads import WORKLOADS

    unknown = [name for name in args.names if name not in WORKLOADS]
    if unknown:
        raise InputError(f"unknown workload {unknown[0]!r}; there are: {', '.join(WORKLOADS)}")
    names = args.names or list(WORKLOADS)
    ways = 1 + len(report.variants(args.against) if args.against else ())
    tables = [name for name in ("memory", "overhead", "growth", "profile") if getattr(args, name)]
    if args.against and tables and tables != ["memory"]:
        raise InputError(f"--{tables[-1]} measures tinygan alone: leave out --against {args.against}")
    if args.names and {"overhead", "growth"} >= {*tables} and tables:
        raise InputError(f"--{tables[0]} takes no workloads")
    print(report.machine())
    good = True
    with tqdm(total=0, unit="turn", dynamic_ncols=True, leave=False) as progress:
        def show(rows, n=1):
            progress.clear()
            print()
            print_table(rows, right=range(1, n))

        if not tables:
            progress.total = args.rounds * len(names)
            rows, good, versions = report.times(names, args.against, args.rounds, progress)
            show(rows, 6)
            print(f"\n{versions}\nGFLOP/s are those of plain convolutions; Winograd's take fewer")
        if args.memory:
            progress.reset(len(names) * ways)
            rows, met = report.memory(names, args.against, progress)
            good &= met
            show(rows, 3)
        if args.overhead:
            show(report.overhead(), 3)
        if args.growth:
            progress.reset(len(report.GROWTH[0]) * len(report.GROWTH[1]))
            show(report.growth(progress), 6)
        if args.profile:
            for name, table, inside, alone in report.profiles(names):
                progress.clear()
                print(f"\n{name} ({WORKLOADS[name].summary}), 10 steps\n{table}\na step: its ops {1e3 * inside:.1f} ms; "
                      f"without the profile {1e3 * alone:.1f} ms")
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


def print_table(rows, right=()):
    """Columns as wide as they need to be; those in `right` end flush."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [cell.rjust(w) if i in right else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths))]
        print("  ".join(cells).rstrip())


if __name__ == "__main__":
    sys.exit(main())
