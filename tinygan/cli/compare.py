"""`tinygan eval A B`: compare two sets of images, each of them the samples of a run, a folder of
pictures, a file of images or a data set."""

import argparse
from typing import Any, NamedTuple

import numpy as np

from tinygan import data, metrics
from tinygan.data import Dataset, pictures
from tinygan.data.loading import is_path
from tinygan.data.own import image_size
from tinygan.errors import InputError, say
from tinygan.files import checkpoint, user_path, write_json
from tinygan.metrics.evaluate import MEANINGS
from tinygan.metrics.network import WEIGHTS_OF
from tinygan.training import recipes, sampling
from tinygan.training.own_code import has_own_model
from tinygan.training.report import SAMPLES
from tinygan.training.run_data import FEWEST, RunData

from .common import print_table
from .generators import load_generator
from .options import add, add_output

MEANINGS_OF_TWO = {  # instead of the meanings in metrics/evaluate.py
    "precision": "share of A's images that lie among B's: up to 1",
    "recall": "share of B's images that lie among A's: up to 1",
    "density": "neighbourhoods of B's images that an image of A lies in, divided by k: 1 if A is "
    "like B",
    "coverage": "share of B's images with an image of A in their neighbourhood: up to 1",
}
KEYS = "fid", "kid", "precision", "recall", "density", "coverage"
# Options that only a comparison has: their names and their attributes.
OPTIONS = {"-o": "output", "--features": "features", "--image-size": "image_size"}
OPTIONS |= {"--layout": "layout"}


class Side(NamedTuple):
    """A or B. name: what the user gave. what: what it is. images: uint8 (N, H, W, C). config,
    folder: of a run, or None."""

    name: str
    what: str
    images: Any
    config: Any = None
    folder: Any = None


def add_options(parser):
    """Add the options that only a comparison of A and B has."""
    parser.add_argument(
        "--features",
        metavar="NAME|PATH|random",
        help="with B: the features to use. A data set with a classifier (mnist, fashion-mnist), a "
        "run or images with classes (a classifier is trained on them), or random, a random "
        "network (default: those of the first run among RUN and B, or else of the first data set "
        "with a classifier, or else random)",
    )
    add(parser, "--image-size", help="with B: bring all images to NxN pixels, or to HxW")
    add(parser, "--layout", help="with B, for arrays: the order of their axes")
    add_output(parser, ".json", required=False, help="with B: write the report to this file")


def check_options(args):
    """Raise InputError if an option of a comparison was given without B."""
    for option, attribute in OPTIONS.items():
        if getattr(args, attribute) is not None:
            raise InputError(
                f"{option} is for comparing two sets of images, tinygan eval A B: leave it out"
            )


def run(args):
    """Compare two sets of images; print a table, and perhaps write it as JSON."""
    a, b = args.run_folder, args.other
    runs = [name for name in (a, b) if is_run(name)]
    if args.split:
        raise InputError("--split chooses among a run's own data: leave it out, or leave B out")
    for option, value in {"-n": args.n, "--truncation": args.truncation}.items():
        if value is not None and not runs:
            raise InputError(f"{option} is for runs, but neither {a} nor {b} is one: leave it out")
    sources = [name for name in (a, b, args.features) if name not in (None, "random")]
    runs_used = [name for name in sources if is_run(name)]
    named = [name for name in sources if name in data.names()]
    files = [name for name in (a, b) if name not in runs + named and user_path(name).is_file()]
    for option, value, used in (
        ("--data", args.data, runs_used),
        ("--data-dir", args.data_dir, named + runs_used),
        ("--layout", args.layout, files),
    ):
        if value is not None and not used:
            raise InputError(f"{option} {value} would not be used: leave it out")
    size = image_size(args.image_size)
    if args.model and not any(map(has_own_model, runs)):
        raise InputError(
            f"--model {args.model}: neither {a} nor {b} is a run with a model of its own"
        )
    first = load(a, args, size)
    second = load(b, args, size or first.images.shape[1:3])
    first, second, notes = alike(first, second, size or first.images.shape[1:3])
    extractor = choose_features(args, [first, second])
    as_rgb = lambda images: images.repeat(extractor.channels // images.shape[3], 3)
    no_labels = np.zeros(len(second.images), int)
    dataset = Dataset(second.name, "images", as_rgb(second.images), no_labels, ("image",))
    evaluator = metrics.Evaluator(dataset, args.seed, extractor)
    found = evaluator.report(as_rgb(first.images))
    report = {
        "a": {"name": a, "what": first.what, "images": len(first.images)},
        "b": {"name": b, "what": second.what, "images": len(second.images)},
        "image_shape": list(first.images.shape[1:]),
        "notes": notes,
        "weights": args.weights if runs else None,
        "truncation": args.truncation,
        **{key: found[key] for key in ("extractor", "seed", "samples_knn", "real_knn")},
        **{key: found[key] for key in (*KEYS, "kid_std")},
    }
    if args.output:
        write_json(args.output, report)
    show(report, found)


def show(report, found):
    """Print the report of a comparison."""
    for letter in "ab":
        side = report[letter]
        print(f"{letter.upper()}: {side['name']}, {side['what']}: {side['images']:,} images")
    for note in report["notes"]:
        print(note)
    print(f"features: {report['extractor']}\n")
    by_title = {MEANINGS[key][0]: key for key in KEYS}
    rows = [
        (name, value, MEANINGS_OF_TWO.get(by_title[name], meaning))
        for name, value, meaning in metrics.rows(found)
        if name in by_title
    ]
    print_table([("metric", "value", "meaning"), *rows], right=(1,))


def is_run(name):
    """Return whether a text is the path of a run's folder, or of one of its checkpoints."""
    if name in data.names():
        return False
    path = user_path(name)
    if path.is_dir():
        return (path / "config.json").is_file()
    is_checkpoint = path.name == checkpoint.BEST or path.name.startswith("checkpoint-")
    return path.suffix == ".npz" and is_checkpoint and (path.parent / "config.json").is_file()


def load(name, args, size):
    """Return the Side that a text stands for. size: (height, width) to which the pictures of a
    folder are brought, or None. Raises InputError for anything else than six or more images."""
    if is_run(name):
        model = args.model if has_own_model(name) else None
        changes = {"run_folder": name, "model": model}
        G, config, path = load_generator(argparse.Namespace(**{**vars(args), **changes}))
        if len(config["image_shape"]) == 1:
            raise InputError(f"{name} generates points: only images can be compared")
        n = args.n or SAMPLES
        z = sampling.latents(np.random.default_rng([args.seed, 3]), n, G, args.truncation)
        images = sampling.generate(G, z, sampling.classes_in_turn(G, n))
        pad = recipes.settings_of(config).pad
        images = images[:, pad : images.shape[1] - pad, pad : images.shape[2] - pad]
        step = checkpoint.load(path)[1]["step"]
        what = f"samples of {config['recipe']} on {config['data']} at step {step:,}"
        side = Side(name, what, images, config, path.parent)
    elif name in data.names():
        dataset = data.load(name, "test", args.data_dir)
        if isinstance(dataset, data.Points):
            raise InputError(f"{name} holds points: only images can be compared")
        side = Side(name, "the test images", dataset.images)
    else:
        side = load_files(name, args, size)
    count, channels = len(side.images), side.images.shape[3]
    if count < FEWEST:
        raise InputError(
            f"{name} has {count} image{'s' * (count > 1)}, which are too few: at least {FEWEST} "
            "are needed, and thousands for meaningful numbers"
        )
    if channels not in (1, 3):
        raise InputError(f"{name} has images of {channels} channels: give grey or RGB images")
    return side


def load_files(name, args, size):
    """Return the Side of a folder of pictures, or of a file."""
    if not is_path(name):
        known = ", ".join(data.names())
        raise InputError(
            f"{name} is neither a run, nor a folder or file of images, nor a data set ({known})"
        )
    is_folder = user_path(name).is_dir()
    dataset = data.load(
        name, image_size=size if is_folder else None, layout=None if is_folder else args.layout
    )
    return Side(name, "a folder" if is_folder else "a file", dataset.images)


def alike(a, b, size):
    """Return (A, B, notes): both sides with images of size = (height, width), and both grey or both
    RGB; and a line about each change.

    RGB images without any colour count as grey.
    """
    notes, sides = [], []
    for letter, side in ("A", a), ("B", b):
        if side.images.shape[1:3] != size:
            before, after = map(pictures.size_text, (side.images.shape[1:3], size))
            notes.append(
                f"{letter}'s images are cropped in the middle and resized from {before} to {after} "
                "pixels"
            )
        images = without_colour(pictures.fit_arrays(side.images, size))
        sides.append(side._replace(images=images))
    channels = [side.images.shape[3] for side in sides]
    if len({*channels}) == 2:
        i = channels.index(1)
        notes.append(f"{'AB'[i]}'s images are grey, and become RGB, as {'BA'[i]}'s are")
        sides[i] = sides[i]._replace(images=sides[i].images.repeat(3, 3))
    return *sides, notes


def without_colour(images):
    """Return RGB images as grey ones, if all of them are grey."""
    grey = images[..., :1]
    return grey if (images == grey).all() else images


def choose_features(args, sides):
    """Return the Extractor that --features names, or the one that suits the two Sides."""
    shape = sides[0].images.shape[1:]
    if args.features:
        extractor = named_features(args, shape)
        if not fits(extractor, shape):
            expected, given = ("x".join(map(str, s)) for s in (extractor.image_shape, shape))
            raise InputError(
                f"--features {args.features}: they are for images of {expected}, not of {given}: "
                "choose others, or bring the images to this size with --image-size"
            )
        return extractor
    if run := next((side for side in sides if side.config), None):
        try:
            extractor = features_of_run(run.config, run.folder, args)
            if fits(extractor, shape):
                return extractor
            say(f"the features of {run.name} are for images of another shape: others are used")
        except InputError as error:
            say(f"the features of {run.name} are not used: {error}")
    for side in sides:
        if side.name in WEIGHTS_OF and fits(extractor := metrics.Extractor(side.name), shape):
            return extractor
    return metrics.RandomExtractor(shape)


def named_features(args, shape):
    """Return the Extractor that --features names."""
    name = args.features
    if name == "random":
        return metrics.RandomExtractor(shape)
    if name in WEIGHTS_OF:
        return metrics.Extractor(name)
    if is_run(name):
        run = checkpoint.open_run(name)
        return features_of_run(run.config, run.folder, args)
    if name in data.names():
        dataset = data.load(name, data_dir=args.data_dir)
        if isinstance(dataset, data.Points):
            raise InputError(f"--features {name}: it holds points, not images")
        return metrics.extractor_for(*dataset.hold_out())
    if not is_path(name):
        raise InputError(
            f"--features {name}: give random, a data set ({', '.join(data.names())}), a run, or "
            "the path of images with classes"
        )
    dataset = data.load(name, image_size=shape[:2])
    if dataset.num_classes < 2:
        raise InputError(f"--features {name}: it has no classes to train a classifier on")
    return metrics.extractor_for(*dataset.hold_out())


def features_of_run(config, folder, args):
    """Return the Extractor of a run's data. --data and --data-dir may be meant for another set."""
    where = (args.data, None) if "origin" in config else (None, args.data_dir)
    extractor = RunData(config, folder, *where).extractor()
    if extractor is None:
        raise InputError(f"{folder} is a run on points: their features are no features of images")
    return extractor


def fits(extractor, shape):
    """Return whether images of a shape can be given to an Extractor; grey ones perhaps as RGB."""
    *size, channels = extractor.image_shape
    return (*size,) == tuple(shape[:2]) and channels % shape[2] == 0
