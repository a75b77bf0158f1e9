"""The command train."""

import contextlib
import itertools
import sys
import time

from tinygan import data
from tinygan.errors import Diverged, InputError, exit_code, one_line, quoted
from tinygan.files import checkpoint
from tinygan.settings import parse_assignments
from tinygan.training import session
from tinygan.training.own_code import options_again
from tinygan.training.start import continued_run, new_run

from .options import add, path_argument


def train_options(parser):
    parser.add_argument(
        "recipe",
        nargs="?",
        metavar="RECIPE",
        help="the recipe, listed by `tinygan recipes` (default: quick), or a model file of yours, "
        "FILE.py",
    )
    add(
        parser,
        "--data",
        metavar="NAME|PATH",
        help="the data set, listed by `tinygan data`: digits (the default), mnist, ...; or your "
        "own images: a folder of pictures (with a subfolder for each class, or without classes), "
        "an .npz or .npy file, or an IDX file. With --resume: other data for the rest of the run, "
        "or where own images are now",
    )
    add(parser, "--image-size", "--layout", "--labels", "--data-dir")
    parser.add_argument(
        "--steps", metavar="N", help="the number of training steps; with --resume, the new total"
    )
    parser.add_argument("--batch-size", metavar="N", help="the number of images in a batch")
    add(parser, "--seed", default=None)
    parser.add_argument(
        "--out",
        type=path_argument,
        metavar="DIR",
        help="the run folder (default: a new folder in runs/)",
    )
    parser.add_argument(
        "--resume",
        type=path_argument,
        metavar="DIR",
        help="continue the run in DIR from its last checkpoint; --set, --batch-size and --data "
        "change it from there on",
    )
    parser.add_argument(
        "--init-from",
        type=path_argument,
        metavar="RUN",
        help="begin with the weights of another run (a folder, or one of its checkpoints), as far "
        "as they fit",
    )
    add(
        parser,
        "--set",
        help="change settings of the recipe (`tinygan recipes RECIPE` lists them, and says which "
        "may have a schedule, such as lr=cosine:2e-4:0)",
    )
    add(parser, "--model", "--trust")
    add(parser, "--device")


def run_train(args):
    """Train a new run, or continue one, on one rank or several."""
    trainer = session.begin(lambda is_first: make_trainer(args, is_first))
    if not session.is_first():
        with contextlib.suppress(KeyboardInterrupt, Diverged):  # the first rank reports them
            session.run(trainer)
        return None
    settings = trainer.settings
    held_out = f" ({len(trainer.held_out):,} more are held out)" if trainer.held_out else ""
    no_use = trainer.dataset.origin is not None and len(trainer.dataset.class_names) > 1
    no_use = no_use and not trainer.algorithm.objectives.uses_classes
    unused = f", without its classes, which {trainer.config['recipe']} does not use" * no_use
    shared = f", shared among {session.size()} ranks" if session.size() > 1 else ""
    print(
        f"training {trainer.config['recipe']} on {len(trainer.dataset):,} "
        f"{trainer.dataset.unit} of {described(trainer.dataset)}{unused}{held_out}: "
        f"{settings.steps:,} steps with batches of {settings.batch_size}{shared}; "
        f"run folder: {trainer.out}",
        flush=True,
    )
    started, first_step, first_image = time.perf_counter(), trainer.step, trainer.images
    try:
        grid = session.run(trainer)
    except KeyboardInterrupt as interruption:
        print(
            f"\nstopped at step {trainer.step}; {session.how_to_resume(trainer)}", file=sys.stderr
        )
        if trainer.out.is_dir() and checkpoint.last_step(trainer.out):
            print(f"more:   {sample_command(trainer)}")
        return exit_code(interruption)
    seconds = time.perf_counter() - started
    images = trainer.images - first_image
    print(
        f"{trainer.step - first_step:,} steps, {images:,} {trainer.dataset.unit} in "
        f"{int(seconds) // 60}:{int(seconds) % 60:02d} "
        f"({images / max(seconds, 1e-9):.0f} {trainer.dataset.unit}/s)"
    )
    print(
        f"time:   {time_shares(trainer.seconds, seconds)}\n"
        f"curves: {trainer.out / 'curves.png'}\n"
        f"more:   {sample_command(trainer)}\n"
        f"{'points' if isinstance(trainer.dataset, data.Points) else 'grid'}: ".ljust(8)
        + str(grid)
    )


def sample_command(trainer):
    """Return a command that draws samples of a run."""
    options = options_again(trainer.sources)
    return f"tinygan sample {quoted(trainer.out)}{options} -n 100 -o more.png"


def described(dataset):
    """Return the name of a data set; for own data, with the size and the classes of the images."""
    if dataset.origin is None:
        return dataset.name
    height, width, channels = dataset.image_shape
    names = dataset.class_names
    classes = f"{len(names)} classes: {', '.join(names[:10])}{', ...' * (len(names) > 10)}"
    colours = "grey" if channels == 1 else "RGB"
    return (
        f"{dataset.name} ({height}x{width}, {colours}, "
        f"{one_line(classes, 200) if len(names) > 1 else 'no classes'})"
    )


def time_shares(phases, total):
    """Return the share of each phase {name: seconds} in the total time, and of all the rest, as
    text: whole percentages that add up to 100."""
    # Sums are rounded, not shares: rounded shares could add up to more than 100.
    ends = [round(100 * spent / total) for spent in itertools.accumulate(phases.values())]
    names = [*phases, "other"]  # other: pictures, evaluations, checkpoints, the log
    shares = zip(names, [0, *ends], [*ends, 100])
    return ", ".join(f"{name} {end - start}%" for name, start, end in shares)


def make_trainer(args, is_first):
    """Return the Trainer of a new run, or of the run that --resume names. is_first: whether this is
    the first rank, which alone has a folder."""
    return new_trainer(args, is_first) if args.resume is None else resumed_trainer(args)


def settings_from_options(args):
    """Return {setting: text} from --set, --steps and --batch-size. Raises InputError if they
    contradict each other."""
    settings = parse_assignments(args.set)
    for name, text in ("steps", args.steps), ("batch_size", args.batch_size):
        if text is not None and settings.setdefault(name, text) != text:
            option = f"--{name.replace('_', '-')} {text}"
            raise InputError(f"{option} contradicts --set {name}={settings[name]}: give one")
    return settings


def resumed_trainer(args):
    """Return the Trainer of the run that --resume names. Raises InputError for options that a
    resumed run cannot change."""
    if args.recipe is not None and args.recipe.endswith(".py"):
        raise InputError(f"--resume takes the model file as an option: --model {args.recipe}")
    for option, value, reason in (
        ("", args.recipe, "keeps its recipe"),
        ("--seed ", args.seed, "keeps its seed, from which all its random numbers follow"),
        ("--out ", args.out, "stays in its folder"),
        ("--init-from ", args.init_from, "goes on with its own weights"),
    ):
        if value is not None:
            raise InputError(f"{option}{value}: a resumed run {reason}: leave it out")
    return continued_run(
        args.resume,
        settings_from_options(args),
        args.data,
        args.data_dir,
        reading(args),
        args.model,
        args.trust,
    )


def reading(args):
    """Return the options that say how own data are read, as `data.load` takes them."""
    return {name: getattr(args, name) for name in ("image_size", "layout", "labels")}


def new_trainer(args, with_folder):
    """Return the Trainer of a new run. with_folder: whether to make its folder."""
    if args.model or args.trust:
        option = f"--model {args.model}" if args.model else "--trust"
        raise InputError(f"{option} is for --resume: a new run takes tinygan train FILE.py")
    return new_run(
        args.recipe,
        args.data,
        args.out,
        args.seed or 0,
        settings_from_options(args),
        {"data_dir": args.data_dir, **reading(args)},
        with_folder=with_folder,
        init_from=args.init_from,
    )
