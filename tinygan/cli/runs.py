"""The commands about a run: train, sample, eval. Each imports what it needs: `tinygan --help` starts at once."""

import sys
import time
from pathlib import Path

from tinygan.errors import InputError

from .common import print_table, select_device

RESUMABLE = {"steps", "sample_every", "checkpoint_every", "eval_every"}  # settings that a resumed run may change


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
        if args.recipe or fixed or set(changes) - RESUMABLE:
            raise InputError("--resume continues a run as it was set up; besides --data-dir and --device it takes "
                             "only --steps and --set sample_every=N checkpoint_every=N eval_every=N")
        folder, config, path = checkpoint.open_run(args.resume)
        recipe = recipes.find(config["recipe"])
        settings = recipe.settings().updated(config["settings"]).updated(changes)
        dataset = data.load(config["data"], data_dir=args.data_dir)
        trainer = Trainer(recipe, settings, dataset, folder, config["seed"])
        trainer.resume(path)
        write_json(folder / "config.json", trainer.config)
    else:
        recipe = recipes.find(args.recipe or recipes.DEFAULT)
        settings = recipe.settings().updated(changes)
        dataset = data.load(args.data or "digits", data_dir=args.data_dir)
        out = args.out if args.out is not None else new_folder(f"{recipe.name}-{dataset.name}")
        trainer = Trainer.start(recipe, settings, dataset, out, args.seed or 0)

    apart = f" ({len(trainer.held_out):,} more are held out)" if trainer.held_out else ""
    print(f"{recipe.name} on {len(trainer.dataset):,} images of {dataset.name}{apart}, "
          f"{settings.steps:,} steps of {settings.batch_size}, into {trainer.out}")
    started, first, seen = time.perf_counter(), trainer.step, trainer.images
    try:
        grid = trainer.run()
    except KeyboardInterrupt:
        onward = f"; continue with: tinygan train --resume {trainer.out}" if checkpoint.checkpoints(trainer.out) else ""
        print(f"\nstopped at step {trainer.step}{onward}", file=sys.stderr)
        return 130
    seconds = time.perf_counter() - started
    images = trainer.images - seen
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
    from tinygan.backend import asarray, normal, to_numpy
    from tinygan.files import replacing
    from tinygan.training.sampling import class_rows, generate, load_generator

    select_device(args)
    output = Path(args.output)
    if args.seed < 0:
        raise InputError(f"--seed {args.seed}: a seed is 0 or more")
    if output.suffix not in (".png", ".gif", ".npz"):
        raise InputError(f"-o {output}: the name must end in .png, .gif or .npz")
    if not output.parent.is_dir():
        raise InputError(f"-o {output}: the folder {output.parent} does not exist")
    G, config, path = load_generator(args.run_folder, args.weights == "average")
    if args.truncation is not None:
        raise InputError(f"--truncation: the recipe {config['recipe']} has no truncation")
    if args.label is not None and not G.classes:
        raise InputError(f"--label: the recipe {config['recipe']} has no classes")
    if args.label is not None and not 0 <= args.label < G.classes:
        raise InputError(f"--label {args.label}: the classes are 0 to {G.classes - 1}")
    rng = np.random.default_rng(args.seed)
    n, labels, columns = args.n, None, None
    if G.classes and args.label is not None:
        labels = np.full(n, args.label)
    elif G.classes and output.suffix == ".png":  # full rows, one for each class
        labels, columns = class_rows(G.classes, n)
        n = len(labels)
    elif G.classes:
        labels = np.arange(n) % G.classes
    if columns:  # a column for each latent: the same hand, another digit
        z = asarray(to_numpy(normal(rng, (columns, G.latent)))[np.arange(n) % columns])
    else:
        z = normal(rng, (n, G.latent))
    if output.suffix == ".gif":
        z = walk(z, frames=12)
        labels = None if labels is None else labels.repeat(12)
    pictures = generate(G, Tensor(z), labels)
    if output.suffix == ".npz":
        with replacing(output) as temporary:
            np.savez_compressed(temporary, images=pictures, **({} if labels is None else {"labels": labels}))
    elif output.suffix == ".gif":
        plots.save_gif(output, np.stack([plots.grid(picture[None], scale=8) for picture in pictures]))
    else:
        plots.save_image(output, plots.grid(pictures, columns))
    print(f"{n} image{'s' * (n > 1)} by {config['recipe']} ({path.name}): {output}")


def measure(args):
    import numpy as np

    from tinygan import data
    from tinygan.autograd import Tensor
    from tinygan.backend import normal
    from tinygan.files import write_json
    from tinygan.metrics.evaluate import evaluate, rows
    from tinygan.metrics.neighbours import neighbours_picture
    from tinygan.training import checkpoint
    from tinygan.training.sampling import generate, load_generator

    select_device(args)
    if args.seed < 0:
        raise InputError(f"--seed {args.seed}: a seed is 0 or more")
    G, config, path = load_generator(args.run_folder, args.weights == "average")
    train, real = data.load(config["data"], data_dir=args.data_dir).hold_out()
    if args.split == "test":
        real = data.load(config["data"], "test", args.data_dir)
    n = args.n or (26_000 if config["data"].startswith("stacked") else 10_000)
    rng = np.random.default_rng([args.seed, 3])
    labels = np.arange(n) % G.classes if G.classes else None
    images = generate(G, Tensor(normal(rng, (n, G.latent))), labels)
    report = {"recipe": config["recipe"], "checkpoint": path.name, "step": checkpoint.load(path)[1]["step"],
              "weights": args.weights, **evaluate(images, labels, real, train, args.seed)}
    folder = path.parent
    write_json(folder / "metrics.json", report)
    neighbours_picture(folder / "neighbours.png", images[:20], train)
    print(f"{config['recipe']}, {path}, step {report['step']:,}: {n:,} samples against {report['real']:,} {args.split} "
          f"images of {config['data']}\nfeatures: {report['extractor']}\n")
    print_table([("metric", "value", "meaning")] + rows(report), right=(1,))
    print(f"\nnumbers:    {folder / 'metrics.json'}")
    print(f"neighbours: {folder / 'neighbours.png'} (samples, and the training images nearest to each)")


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
