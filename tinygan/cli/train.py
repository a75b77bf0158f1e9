"""The command train."""

import contextlib
import sys
import time
from pathlib import Path

from tinygan import backend, data
from tinygan.errors import Diverged, InputError, exit_code
from tinygan.files import InUse, checkpoint
from tinygan.settings import parse_assignments
from tinygan.training import ranks, recipes
from tinygan.training.trainer import FolderTaken, Trainer

from .options import add

# Settings that a resumed run may change.
RESUMABLE = {"steps", "sample_every", "checkpoint_every", "keep", "eval_every"}


def train_options(parser):
    parser.add_argument(
        "recipe", nargs="?", metavar="RECIPE", help="see `tinygan recipes` (default: quick)"
    )
    parser.add_argument(
        "--data",
        metavar="NAME",
        help="digits (default), mnist, fashion-mnist, stacked-mnist...: see `tinygan data`",
    )
    add(parser, "--data-dir")
    parser.add_argument("--steps", metavar="N", help="training steps; with --resume, the new total")
    parser.add_argument("--batch-size", metavar="N", help="images per step")
    add(parser, "--seed", default=None, help="of all random numbers (default: 0)")
    parser.add_argument("--out", metavar="DIR", help="run folder (default: a new one under runs/)")
    parser.add_argument(
        "--resume", metavar="DIR", help="continue the run in DIR from its last checkpoint"
    )
    add(parser, "--set", help="settings of the recipe, listed by `tinygan recipes RECIPE`")
    add(parser, "--device")


def run_train(args):
    ranks.join()
    with ranks.aborting():
        trainer = make_trainer(args)
    if ranks.rank:
        return train_silently(trainer)
    settings = trainer.settings
    held_out = f" ({len(trainer.held_out):,} more are held out)" if trainer.held_out else ""
    shared = f", shared out to {ranks.size} ranks" if ranks.size > 1 else ""
    print(
        f"{trainer.config['recipe']} on {len(trainer.dataset):,} images of "
        f"{trainer.dataset.name}{held_out}, {settings.steps:,} steps of {settings.batch_size}"
        f"{shared}, into {trainer.out}",
        flush=True,
    )
    started, first_step, first_image = time.perf_counter(), trainer.step, trainer.images
    try:
        with ranks.aborting():
            grid = trainer.run()
    except KeyboardInterrupt as stopped:
        print(f"\nstopped at step {trainer.step}; {how_to_resume(trainer.out)}", file=sys.stderr)
        return exit_code(stopped)
    except (Diverged, InUse):  # it would diverge again; the folder is in use by another run
        raise
    except InputError as error:
        raise InputError(f"{error}; {how_to_resume(trainer.out)}") from error
    seconds = time.perf_counter() - started
    images = trainer.images - first_image
    print(
        f"{trainer.step - first_step:,} steps, {images:,} images in "
        f"{int(seconds) // 60}:{int(seconds) % 60:02d} "
        f"({images / max(seconds, 1e-9):.0f} images/s)"
    )
    shares = (f"{part} {spent / seconds:.0%}" for part, spent in trainer.seconds.items())
    print(
        f"time:   {', '.join(shares)}\n"
        f"curves: {trainer.out / 'curves.png'}\n"
        f"more:   tinygan sample {trainer.out} -n 100 -o more.png\n"
        f"grid:   {grid}"
    )


def train_silently(trainer):
    """What a rank other than the first does (see ranks.py): it trains its share of each batch."""
    # When the run is stopped or diverges, all ranks raise it: the first says so.
    with contextlib.suppress(KeyboardInterrupt, Diverged), ranks.aborting():
        trainer.run(progress=False)


def how_to_resume(folder):
    """How to go on with a run that has stopped, and from which step."""
    if not folder.is_dir():
        return f"the folder {folder} is gone"
    return (
        f"continue from step {checkpoint.last_step(folder)} with: tinygan train --resume {folder}"
    )


def make_trainer(args):
    """The Trainer of a new run, or of one that is continued. What is wrong on one of several ranks
    is said of all."""
    trainer, mistake = None, ""
    try:
        if ranks.size > 1 and backend.device() == "gpu":
            raise InputError(
                "several ranks train on CPUs: leave out --device gpu, and TINYGAN_BACKEND"
            )
        trainer = new_trainer(args) if args.resume is None else resumed_trainer(args)
    except InputError as error:
        mistake = str(error)
    if mistake := ranks.first(mistake):
        raise InputError(mistake, on_all_ranks=True)
    return trainer


def settings_given(args):
    """{name: text} of the settings that the command line gives."""
    given = {"steps": args.steps, "batch_size": args.batch_size}
    return parse_assignments(args.set) | {
        name: text for name, text in given.items() if text is not None
    }


def resumed_trainer(args):
    """The Trainer of the run that --resume names."""
    changes = settings_given(args)
    fixed = args.recipe, args.data, args.seed, args.out
    if any(given is not None for given in fixed) or changes.keys() - RESUMABLE:
        raise InputError(
            "--resume continues a run as it was set up; besides --data-dir and "
            "--device it takes only --steps and --set sample_every=N "
            "checkpoint_every=N keep=N eval_every=N"
        )
    run = checkpoint.open_run(args.resume, empty=True)
    trainer = Trainer(
        recipes.find(run.config["recipe"]),
        recipes.settings_of(run.config).updated(changes),
        data.load(run.config["data"], data_dir=args.data_dir),
        run.folder,
        run.config["seed"],
    )
    trainer.resume(run)
    return trainer


def new_trainer(args):
    """The Trainer of a new run, in the folder that --out names, or in the next free one under
    runs/. Ranks other than the first have none."""
    recipe = recipes.find(args.recipe or recipes.DEFAULT)
    settings = recipe.settings().updated(settings_given(args))
    dataset = data.load(args.data or "digits", data_dir=args.data_dir)
    seed = args.seed or 0
    if ranks.rank:
        return Trainer(recipe, settings, dataset, "", seed)
    if args.out is not None:
        return Trainer.start(recipe, settings, dataset, args.out, seed)
    while True:
        try:
            return Trainer.start(recipe, settings, dataset, next_folder(recipe, dataset), seed)
        except FolderTaken:  # by a process that looked for a free one at the same time
            pass


def next_folder(recipe, dataset):
    """runs/quick-digits-001, or the next number that is free."""
    folders = (Path(f"runs/{recipe.name}-{dataset.name}-{i:03d}") for i in range(1, 1_000_000))
    return next(folder for folder in folders if not folder.exists())
