"""The commands about a run: train, sample, eval. Each imports what it needs: `tinygan --help` starts at once."""

import signal
import sys
import time
from pathlib import Path

from tinygan.errors import Diverged, InputError
from tinygan.files import InUse

from .common import load_generator, print_table
from .options import (add_data_dir, add_device, add_draws, add_output, add_run, add_settings, positive,
                      seed)

RESUMABLE = {"steps", "sample_every", "checkpoint_every", "keep", "eval_every"}  # settings that a resumed run may change


def train_options(parser):
    parser.add_argument("recipe", nargs="?", metavar="RECIPE", help="see `tinygan recipes` (default: quick)")
    parser.add_argument("--data", metavar="NAME",
                        help="digits (default), mnist, fashion-mnist, stacked-mnist...: see `tinygan data`")
    add_data_dir(parser)
    parser.add_argument("--steps", metavar="N", help="training steps; with --resume, the new total")
    parser.add_argument("--batch-size", metavar="N", help="images per step")
    parser.add_argument("--seed", type=seed, metavar="N", help="of all random numbers (default: 0)")
    parser.add_argument("--out", metavar="DIR", help="run folder (default: a new one under runs/)")
    parser.add_argument("--resume", metavar="DIR", help="continue the run in DIR from its last checkpoint")
    add_settings(parser, "settings of the recipe, listed by `tinygan recipes RECIPE`")
    add_device(parser)


def train(args):
    from tinygan.training import ranks

    ranks.join()
    with ranks.aborting():
        trainer = made(args)
    settings = trainer.settings
    if ranks.rank:
        return follow(trainer)
    apart = f" ({len(trainer.held_out):,} more are held out)" if trainer.held_out else ""
    shared = f", shared out to {ranks.size} ranks" if ranks.size > 1 else ""
    print(f"{trainer.config['recipe']} on {len(trainer.dataset):,} images of {trainer.dataset.name}{apart}, "
          f"{settings.steps:,} steps of {settings.batch_size}{shared}, into {trainer.out}", flush=True)
    started, first, seen = time.perf_counter(), trainer.step, trainer.images
    try:
        with ranks.aborting():
            grid = trainer.run()
    except KeyboardInterrupt as stopped:
        print(f"\nstopped at step {trainer.step}; {onward(trainer)}", file=sys.stderr)
        return 128 + getattr(stopped, "signal", signal.SIGINT)
    except (Diverged, InUse):  # it would come to the same a second time; it is another's run
        raise
    except InputError as error:
        raise InputError(f"{error}; {onward(trainer)}") from error
    seconds = time.perf_counter() - started
    images = trainer.images - seen
    print(f"{trainer.step - first:,} steps, {images:,} images in {int(seconds) // 60}:{int(seconds) % 60:02d} "
          f"({images / max(seconds, 1e-9):.0f} images/s)")
    print("time:   " + ", ".join(f"{name} {spent / seconds:.0%}" for name, spent in trainer.seconds.items()))
    print(f"curves: {trainer.out / 'curves.png'}")
    print(f"more:   tinygan sample {trainer.out} -n 100 -o more.png")
    print(f"grid:   {grid}")


def follow(trainer):
    """The part of a rank but the first (see ranks.py): it computes its share, and is silent."""
    from tinygan.training import ranks

    try:
        with ranks.aborting():
            trainer.run(progress=False)
    except (KeyboardInterrupt, Diverged):  # of all ranks: the first says so
        pass
    return 0


def made(args):
    """The Trainer of a new run, or of one that is continued. Of several ranks, one's mistake is every one's."""
    from tinygan import backend
    from tinygan.training import ranks

    trainer, mistake = None, ""
    try:
        if ranks.size > 1 and backend.device() == "gpu":
            raise InputError("several ranks train on CPUs: leave out --device gpu, and TINYGAN_BACKEND")
        trainer = continued(args) if args.resume is not None else new_run(args)
    except InputError as error:
        mistake = str(error)
    if mistake := ranks.first(mistake):
        error = InputError(mistake)
        error.everywhere = True
        raise error
    return trainer


def onward(trainer):
    """How to go on with a run that has stopped, and from which step."""
    from tinygan.files import checkpoint

    if not trainer.out.is_dir():
        return f"the folder {trainer.out} is gone"
    return f"continue from step {checkpoint.last_step(trainer.out)} with: tinygan train --resume {trainer.out}"


def settings_changed(args):
    """{name: text} of the settings that the command line gives."""
    from tinygan.settings import parse_assignments

    given = {name: getattr(args, name) for name in ("steps", "batch_size") if getattr(args, name) is not None}
    return parse_assignments(args.set) | given


def continued(args):
    """The Trainer of the run that --resume names."""
    from tinygan import data
    from tinygan.files import checkpoint
    from tinygan.training import recipes
    from tinygan.training.trainer import Trainer

    changes = settings_changed(args)
    fixed = [f"--{name}" for name in ("data", "seed", "out") if getattr(args, name) is not None]
    if args.recipe or fixed or set(changes) - RESUMABLE:
        raise InputError("--resume continues a run as it was set up; besides --data-dir and --device it takes only "
                         "--steps and --set sample_every=N checkpoint_every=N keep=N eval_every=N")
    run = checkpoint.open_run(args.resume, empty=True)
    recipe = recipes.find(run.config["recipe"])
    settings = recipe.settings().updated(run.config["settings"]).updated(changes)
    dataset = data.load(run.config["data"], data_dir=args.data_dir)
    trainer = Trainer(recipe, settings, dataset, run.folder, run.config["seed"])
    trainer.resume(run)
    return trainer


def new_run(args):
    """The Trainer of a new run, in the folder that --out names, or in the next free one under runs/."""
    from tinygan import data
    from tinygan.training import ranks, recipes
    from tinygan.training.trainer import FolderTaken, Trainer

    recipe = recipes.find(args.recipe or recipes.DEFAULT)
    settings = recipe.settings().updated(settings_changed(args))
    dataset = data.load(args.data or "digits", data_dir=args.data_dir)
    if ranks.rank:
        return Trainer(recipe, settings, dataset, "", args.seed or 0)
    while True:
        try:
            out = args.out if args.out is not None else new_folder(f"{recipe.name}-{dataset.name}")
            return Trainer.start(recipe, settings, dataset, out, args.seed or 0)
        except FolderTaken:  # by a process that looked for a new one at the same time
            if args.out is not None:
                raise


def new_folder(name):
    """runs/name-001, or the next number that is free."""
    numbers = (f"runs/{name}-{i:03d}" for i in range(1, 1_000_000))
    return Path(next(path for path in numbers if not Path(path).exists()))


def sample_options(parser):
    add_run(parser)
    parser.add_argument("-n", type=positive, metavar="N", help="how many images (default: 64; of a walk of classes 16)")
    parser.add_argument("--label", type=int, metavar="K", help="class of the images, for a conditional recipe")
    add_draws(parser)
    parser.add_argument("--walk", choices=("latents", "styles", "classes"),
                        help="what changes in a .gif: z, from image to image (the default), w instead, or the class, of all")
    add_output(parser, ".png", ".gif", ".npz", metavar="FILE",
               help=".png (a grid), .gif (a walk through the latents) or .npz (images, uint8 NHWC)")
    add_device(parser)


def sample(args):
    import numpy as np

    from tinygan import ops, plots
    from tinygan.autograd import no_grad
    from tinygan.files import replacing
    from tinygan.nn import StyleGenerator
    from tinygan.training.sampling import class_rows, generate, latents

    if args.walk and args.output.suffix != ".gif":
        raise InputError(f"--walk {args.walk}: -o {args.output} must end in .gif")
    G, config, path = load_generator(args)
    if args.label is not None and not G.classes:
        raise InputError(f"--label: the recipe {config['recipe']} has no classes")
    if args.label is not None and not 0 <= args.label < G.classes:
        raise InputError(f"--label {args.label}: the classes are 0 to {G.classes - 1}")
    if args.walk == "styles" and not isinstance(G, StyleGenerator):
        raise InputError(f"--walk styles: the G of {config['recipe']} has no styles")
    if args.walk == "classes" and (not G.classes or args.label is not None):
        raise InputError("--walk classes: " + ("leave out --label" if G.classes else
                                               f"the recipe {config['recipe']} has no classes"))
    rng = np.random.default_rng(args.seed)
    n, labels, columns = args.n or (16 if args.walk == "classes" else 64), None, None
    if G.classes and args.label is not None:
        labels = np.full(n, args.label)
    elif G.classes and args.output.suffix == ".png":  # full rows, one for each class
        labels, columns = class_rows(G.classes, n)
        n = len(labels)
    elif G.classes:
        labels = np.arange(n) % G.classes
    z = latents(rng, columns or n, G, args.truncation)
    if columns:  # a column for each latent: the same hand, another digit
        z = ops.concatenate([z] * (n // columns))
    if args.walk == "classes":
        frames = [generate(G, z, mixture.repeat(n, 0)) for mixture in class_walk(G.classes, 12)]
        plots.save_gif(args.output, [plots.grid(frame, scale=4) for frame in frames])
    elif args.walk == "styles":
        with no_grad():
            ws = G.styles(z, labels)
        pictures = generate(G.synthesis, walk(ws, 12, straight=True))
        plots.save_gif(args.output, [plots.grid(picture[None], scale=8) for picture in pictures])
    elif args.output.suffix == ".gif":
        straight = args.truncation is not None and not isinstance(G, StyleGenerator)
        pictures = generate(G, walk(z, 12, straight), None if labels is None else labels.repeat(12))
        plots.save_gif(args.output, [plots.grid(picture[None], scale=8) for picture in pictures])
    elif args.output.suffix == ".npz":
        images = generate(G, z, labels)
        with replacing(args.output) as temporary:
            np.savez_compressed(temporary, images=images, **({} if labels is None else {"labels": labels}))
    else:
        plots.save_image(args.output, plots.grid(generate(G, z, labels), columns))
    print(f"{n} image{'s' * (n > 1)} by {config['recipe']} ({path.name}): {args.output}")


def eval_options(parser):
    add_run(parser)
    parser.add_argument("-n", type=positive, metavar="N",
                        help="how many samples (default: 10,000; of a stacked data set 26,000, as papers have it)")
    parser.add_argument("--split", choices=("test", "held-out"), default="test",
                        help="the real images: the test set, or those held out of training, to choose settings by")
    add_draws(parser)
    add_data_dir(parser)
    add_device(parser)


def evaluate(args):
    import numpy as np

    from tinygan import data
    from tinygan.files import write_json
    from tinygan.metrics.evaluate import evaluate as measured, rows
    from tinygan.metrics.neighbours import neighbours_picture
    from tinygan.files import checkpoint
    from tinygan.training import recipes
    from tinygan.training.sampling import generate, latents
    from tinygan.training.trainer import training_data

    G, config, path = load_generator(args)
    settings = recipes.find(config["recipe"]).settings().updated(config["settings"])
    train, real = training_data(data.load(config["data"], data_dir=args.data_dir), settings, config["seed"])
    if args.split == "test":
        real = data.load(config["data"], "test", args.data_dir)
    n = args.n or (26_000 if config["data"].startswith("stacked") else 10_000)
    rng = np.random.default_rng([args.seed, 3])
    labels = np.arange(n) % G.classes if G.classes else None
    images = generate(G, latents(rng, n, G, args.truncation), labels)
    report = {"recipe": config["recipe"], "checkpoint": path.name, "step": checkpoint.load(path)[1]["step"],
              "weights": args.weights, "truncation": args.truncation,
              **measured(images, labels, real, train, args.seed)}
    folder = path.parent
    write_json(folder / "metrics.json", report)
    neighbours_picture(folder / "neighbours.png", images[:20], train)
    print(f"{config['recipe']}, {path}, step {report['step']:,}: {n:,} samples against {report['real']:,} {args.split} "
          f"images of {config['data']}\nfeatures: {report['extractor']}\n")
    print_table([("metric", "value", "meaning")] + rows(report), right=(1,))
    print(f"\nnumbers:    {folder / 'metrics.json'}")
    print(f"neighbours: {folder / 'neighbours.png'} (samples, and the training images nearest to each)")


def walk(z, frames, straight=False):
    """Latents on great circles from each of z (N, latent) to the next and back to the first, `frames` to each stretch.

    A straight line would pass nearer the origin than any latent that G was trained on; but it is the way for truncated
    latents, which are near it, as it never leaves their range; and for styles, which are anywhere.
    """
    import numpy as np

    from tinygan import ops

    shares, n = np.linspace(0, 1, frames, endpoint=False), len(z.data)
    weights = [(1 - t, t) if straight else (np.cos(t * np.pi / 2), np.sin(t * np.pi / 2)) for t in shares]
    return ops.concatenate([float(a) * z[i:i + 1] + float(b) * z[(i + 1) % n:(i + 1) % n + 1]
                            for i in range(n) for a, b in weights])


def class_walk(classes, frames):
    """Mixtures of classes (1, classes), from each class to the next and back to the first, `frames` to each stretch."""
    import numpy as np

    one = np.eye(classes, dtype=np.float32)
    for k in range(classes):
        for share in np.linspace(0, 1, frames, endpoint=False, dtype=np.float32):
            yield (1 - share) * one[[k]] + share * one[[(k + 1) % classes]]
