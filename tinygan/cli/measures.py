"""The commands that measure a trained generator: eval, truncation, ppl, separability."""

from functools import partial

import numpy as np
from tqdm import tqdm

from tinygan import metrics, plots
from tinygan.autograd import no_grad
from tinygan.backend import to_numpy
from tinygan.data import Points
from tinygan.errors import InputError, one_line, warn
from tinygan.files import checkpoint, is_file, write_json
from tinygan.metrics import path_length, separability
from tinygan.metrics.network import WEIGHTS_OF
from tinygan.metrics.perceptual import Perceptual
from tinygan.notebook import bar_options
from tinygan.training import samples, sampling
from tinygan.training.report import evaluate
from tinygan.training.run_data import RunData

from . import compare
from .common import print_table, sibling_path
from .generators import load_generator, load_style_generator
from .options import add, add_output, add_style_options, positive

FEW = 500  # real images; precision, say, is then high because their neighbours are far away
# The strengths of truncation that are measured by default. z: the threshold; w: psi.
STRENGTHS = {
    "z": (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0),
    "w": (-1.0, -0.5, 0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0, 1.2),
}


def eval_options(parser):
    add(parser, "run_folder", type=str)
    add(parser, "--seed")
    parser.add_argument(
        "other",
        nargs="?",
        metavar="B",
        help="compare RUN with B instead of its own data. RUN and B may each be a run, a folder of "
        "pictures, an .npz or .npy file of images, or the name of a data set",
    )
    parser.add_argument(
        "-n",
        type=positive,
        metavar="N",
        help="the number of samples (default: 10,000; for a stacked data set 26,000, as in the "
        "papers)",
    )
    parser.add_argument(
        "--split",
        choices=("test", "held-out"),
        help="the real images to compare with: the test set (the default, if there is one), or the "
        "images held out of training, for choosing settings",
    )
    add(parser, "--truncation", "--weights", "--model", "--trust", "--data", "--data-dir")
    compare.add_options(parser)
    add(parser, "--device")


def run_eval(args):
    """Evaluate samples with all metrics; write metrics.json and neighbours.png. With B, compare two
    sets of images."""
    if args.other is not None:
        return compare.run(args)
    compare.check_options(args)
    G, config, path = load_generator(args)
    numbers, neighbours = path.parent / "metrics.json", path.parent / "neighbours.png"
    for file in numbers, neighbours:
        is_file(file)  # raises an error for a link, before the work is done
    its_data = RunData(config, path.parent, args.data, args.data_dir)
    report, images, train, real, extractor = evaluate(
        G,
        its_data,
        args.n,
        args.seed,
        args.split,
        args.truncation,
        recipe=config["recipe"],
        checkpoint=path.name,
        step=checkpoint.load(path)[1]["step"],
        weights=args.weights,
    )
    write_json(numbers, report)
    has_points = isinstance(real, Points)
    if not has_points:
        cropped = extractor.cropped
        metrics.neighbours_picture(neighbours, cropped(images[:20]), cropped(train.images))
    features = "" if has_points else f"features: {report['extractor']}\n"
    print(
        f"{config['recipe']}, {path}, step {report['step']:,}: {len(images):,} samples against "
        f"{report['real']:,} {real.split} {real.unit} of {config['data']}\n{features}"
    )
    if names := config.get("class_names"):
        print(f"classes, in this order: {one_line(', '.join(names), 300)}\n")
    print_table([("metric", "value", "meaning")] + metrics.rows(report), right=(1,))
    if report["real"] < FEW:
        warn(
            f"{report['real']} {real.split} {real.unit} are few: all these numbers are rough, and "
            "coverage, density and KID say next to nothing"
        )
    print(f"\nnumbers:    {numbers}")
    if not has_points:
        print(f"neighbours: {neighbours} (samples, each followed by its nearest training images)")


def truncation_options(parser):
    add(parser, "run_folder", "--seed")
    parser.add_argument(
        "-n",
        type=positive,
        default=5000,
        metavar="N",
        help="the number of samples for each strength (default: 5,000)",
    )
    parser.add_argument(
        "--thresholds",
        type=float,
        nargs="+",
        metavar="T",
        help="the strengths: thresholds of z (default: 0.1 to 3), or psi for a recipe with styles "
        "(default: -1 to 1.2)",
    )
    add(parser, "--model", "--trust", "--data", "--data-dir")
    add_output(
        parser,
        ".png",
        help="the curves; the command also writes FILE-grid.png (samples) and FILE-numbers.json",
    )
    add(parser, "--device")


def run_truncation(args):
    """Plot FID, precision and recall against the strength of the truncation trick, and write a grid
    with a row of samples for each strength."""
    G, recipe, config, path = sampling.open_network(
        args.run_folder, model=args.model, trust=args.trust
    )
    numbers, grid = (sibling_path(args.output, ending) for ending in ("numbers.json", "grid.png"))
    if len(config["image_shape"]) == 1:
        raise InputError(
            f"{args.run_folder}: this plots the FID of images, but {config['data']} has points: "
            "use `tinygan eval RUN --truncation T`"
        )
    kind = recipe.truncation
    strengths = sorted(set(args.thresholds or STRENGTHS[kind or "z"]))
    for strength in strengths:
        samples.check_truncation(recipe, strength, "--thresholds")
    its_data = RunData(config, path.parent, args.data, args.data_dir)
    real = its_data.reals()
    evaluator = metrics.Evaluator(real, args.seed, its_data.extractor())
    labels = sampling.classes_in_turn(G, args.n)
    row_labels = sampling.class_rows(G.classes, 10)[0][:10] if G.classes else None
    reports, rows = [], []
    name = "psi" if kind == "w" else "threshold"
    for strength in tqdm(strengths, unit=name, **bar_options()):
        # Each strength has its own batch-norm statistics, but the same seeds.
        sampling.truncate(G, strength, np.random.default_rng([args.seed, 4]))
        generate = lambda seed, n, labels: sampling.generate(
            G, sampling.latents(np.random.default_rng(seed), n, G, strength), labels
        )
        images = generate([args.seed, 3], args.n, labels)
        reports.append({"threshold": strength, **evaluator.quick(images, labels)})
        rows.append(generate(args.seed, 10, row_labels))
    keys = [key for key in ("fid", "precision", "recall", "class_accuracy") if key in reports[0]]
    write_json(numbers, {"run": str(path), "recipe": config["recipe"], "thresholds": reports})
    plots.save_sweep(
        args.output, name, strengths, {key: [report[key] for report in reports] for key in keys}
    )
    labels = [f"{name} {strength:g}" for strength in strengths]
    plots.save_image(grid, plots.labelled(plots.grid(np.concatenate(rows), columns=10), labels))
    print(
        f"{config['recipe']}, {path}: {args.n:,} samples at each {name} against "
        f"{reports[0]['real']:,} {real.split} images of {config['data']}\n"
        f"features: {reports[0]['extractor']}\n"
    )
    print_table(
        [(name, *keys)]
        + [
            (f"{report['threshold']:g}", *(f"{report[key]:.3f}" for key in keys))
            for report in reports
        ],
        right=range(1, 1 + len(keys)),
    )
    print(
        f"\ncurves:  {args.output}\nnumbers: {numbers}\n"
        f"grid:    {grid} (a row for each {name}, the smallest at the top)"
    )


def ppl_options(parser):
    add_style_options(
        parser,
        1000,
        "the number of paths of each kind",
        "a histogram of the lengths; the command also writes FILE-numbers.json",
        min_n=10,
    )
    add(parser, "--data", "--data-dir")


def run_ppl(args):
    """Measure the perceptual path length in Z and in W."""
    G, config, path = load_style_generator(args)
    numbers = sibling_path(args.output, "numbers.json")
    if args.truncation == 0:
        raise InputError(
            "--truncation 0 makes all images the same, so all paths between them have length 0: "
            "use another value"
        )
    extractor = features_of(config, path, args)
    kinds = {
        f"{space.upper()}, {'ends' if ends else 'full'}": (space, ends)
        for space in "zw"
        for ends in (False, True)
    }
    lengths = {
        name: path_length.path_lengths(
            G,
            extractor,
            args.n,
            space,
            ends,
            args.seed,
            progress=partial(tqdm, desc=name, unit="batch", dynamic_ncols=True, leave=False),
        )
        for name, (space, ends) in kinds.items()
    }
    if not all(values.any() for values in lengths.values()):
        raise InputError(
            f"{args.run_folder}: the images do not change along a path: train the generator longer"
        )
    means = {name: path_length.perceptual_path_length(values) for name, values in lengths.items()}
    rows = [(name, f"{mean:.2f}") for name, mean in means.items()]
    features = Perceptual(extractor).description
    plots.save_histograms(args.output, lengths, "perceptual path length", means)
    save_numbers(
        numbers,
        args,
        config,
        path,
        paths=args.n,
        extractor=features,
        perceptual_path_length={name: float(text) for name, text in rows},
    )
    print(f"{config['recipe']}, {path}: {args.n:,} paths of each kind\nfeatures: {features}\n")
    print_table([("paths", "perceptual path length")] + rows, right=(1,))
    print(
        "\nShorter is smoother. Paths in Z follow great circles, paths in W straight lines.\n"
        "'full' measures at random points of the paths, 'ends' at their starting points.\n"
        f"picture: {args.output}\nnumbers: {numbers}"
    )


def features_of(config, path, args):
    """Return the Extractor of a run, given one of its checkpoints, for a command that needs nothing
    else of its data."""
    if config["data"] in WEIGHTS_OF:
        for option, value in ("--data", args.data), ("--data-dir", args.data_dir):
            if value is not None:
                raise InputError(
                    f"{option} {value} would not be used: the classifier of {config['data']} is "
                    "part of tinygan; leave it out"
                )
    return RunData(config, path.parent, args.data, args.data_dir).extractor()


def separability_options(parser):
    add_style_options(
        parser,
        5000,
        "the number of samples",
        "a bar chart of the conditional entropy of each attribute; the command also writes "
        "FILE-numbers.json",
        min_n=80,
    )
    add(parser, "--data", "--data-dir")


def run_separability(args):
    """Measure the linear separability of Z and of W."""
    G, config, path = load_style_generator(args)
    numbers = sibling_path(args.output, "numbers.json")
    rng = np.random.default_rng(args.seed)
    z = sampling.latents(rng, args.n, G, args.truncation)
    labels = rng.integers(G.classes, size=args.n) if G.classes else None
    with no_grad():
        w = to_numpy(G.mapping(z, labels).data)
    images = sampling.generate(G, z, labels)
    extractor = features_of(config, path, args)
    probabilities = None
    if extractor.classes and not extractor.stacked:
        probabilities = extractor(images)[1][:, 0]
    attributes = separability.attributes(images, probabilities)
    z_and_class = to_numpy(z.data)
    if labels is not None:
        z_and_class = np.concatenate([z_and_class, np.eye(G.classes)[labels]], 1)
    entropies = {
        "Z": separability.separability(z_and_class, attributes),
        "W": separability.separability(w, attributes),
    }
    scores = {
        space: float(np.exp(sum(by_attribute.values())))
        for space, by_attribute in entropies.items()
    }
    plots.save_bars(
        args.output,
        {space: list(by_attribute.values()) for space, by_attribute in entropies.items()},
        list(attributes),
        "conditional entropy (nats)",
    )
    save_numbers(
        numbers,
        args,
        config,
        path,
        samples=args.n,
        extractor=extractor.description,
        conditional_entropy=entropies,
        separability=scores,
    )
    print(
        f"{config['recipe']}, {path}: {args.n:,} samples; each attribute is measured on the "
        "half of them in which it is clearest"
        + "; Z is z together with the class" * (labels is not None)
        + "\n"
    )
    print_table(
        [("attribute", "Z", "W")]
        + [(name, *(f"{entropies[space][name]:.3f}" for space in "ZW")) for name in attributes]
        + [("separability", *(f"{scores[space]:.2f}" for space in "ZW"))],
        right=(1, 2),
    )
    print(
        "\nConditional entropy in nats. 0: a hyperplane separates the attribute; 0.69: it says "
        "nothing about an attribute that half of the images have.\n"
        "Separability is exp of the sum: lower is better.\n"
        f"picture: {args.output}\nnumbers: {numbers}"
    )


def save_numbers(numbers, args, config, path, **measured):
    """Write the JSON file `numbers`: the measurements, and what was measured."""
    write_json(
        numbers,
        {
            "run": str(path),
            "recipe": config["recipe"],
            "data": config["data"],
            "weights": args.weights,
            "truncation": args.truncation,
            "seed": args.seed,
            **measured,
        },
    )
