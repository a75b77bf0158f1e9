"""The commands that draw a study of a run: truncation, animate. Each imports what it needs."""

from pathlib import Path

from tinygan.errors import InputError

from .common import check_truncation, print_table
from .options import add_data_dir, add_device, add_output, add_run, positive, whole

THRESHOLDS = {"z": (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0), "w": (-1.0, -0.5, 0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0, 1.2)}


def truncation_options(parser):
    add_run(parser)
    parser.add_argument("-n", type=positive, default=5000, metavar="N", help="samples for each (default: 5,000)")
    parser.add_argument("--thresholds", type=float, nargs="+", metavar="T",
                        help="default: from 0.1 to 3; psi of a recipe with styles, -1 to 1.2")
    add_data_dir(parser)
    add_output(parser, ".png", help="curves; beside them, FILE-grid.png (samples) and FILE-numbers.json")
    add_device(parser)


def truncation(args):
    """FID, precision and recall over the threshold, or psi, of the truncation trick, as curves, and a grid over it."""
    import numpy as np
    from tqdm import tqdm

    from tinygan import data, plots
    from tinygan.files import write_json
    from tinygan.metrics import Evaluator
    from tinygan.training import recipes
    from tinygan.training.sampling import class_rows, generate, latents, load_generator, truncate

    G, config, path = load_generator(args.run_folder)
    kind = recipes.find(config["recipe"]).truncation
    thresholds = sorted(set(args.thresholds or THRESHOLDS[kind or "z"]))
    for threshold in thresholds:
        check_truncation(config["recipe"], threshold)
    evaluator = Evaluator(data.load(config["data"], "test", args.data_dir), args.seed)
    labels = np.arange(args.n) % G.classes if G.classes else None
    row_labels = class_rows(G.classes, 10)[0] if G.classes else None
    reports, grid = [], []
    for threshold in tqdm(thresholds, unit="threshold", dynamic_ncols=True):
        # Each threshold has its batch-norm statistics, and the same draws.
        truncate(G, threshold, np.random.default_rng([args.seed, 4]))
        images = generate(G, latents(np.random.default_rng([args.seed, 3]), args.n, G, threshold), labels)
        reports.append({"threshold": threshold, **evaluator.quick(images, labels)})
        grid.append(generate(G, latents(np.random.default_rng(args.seed), 10, G, threshold), row_labels))
    keys = [key for key in ("fid", "precision", "recall", "class_accuracy") if key in reports[0]]
    numbers = args.output.with_name(f"{args.output.stem}-numbers.json")
    rows = args.output.with_name(f"{args.output.stem}-grid.png")
    write_json(numbers, {"run": str(path), "recipe": config["recipe"], "thresholds": reports})
    name = "psi" if kind == "w" else "threshold"
    plots.save_sweep(args.output, name, thresholds, {key: [r[key] for r in reports] for key in keys})
    plots.save_image(rows, plots.grid(np.concatenate(grid), columns=10))
    print(f"{config['recipe']}, {path}: {args.n:,} samples at each threshold against {reports[0]['real']:,} test images "
          f"of {config['data']}\nfeatures: {reports[0]['extractor']}\n")
    print_table([(name, *keys)] + [(f"{r['threshold']:g}", *(f"{r[key]:.3f}" for key in keys)) for r in reports],
                right=range(1, 1 + len(keys)))
    print(f"\ncurves:  {args.output}\nnumbers: {numbers}\ngrid:    {rows} (a row for each {name}, the smallest above)")


def animate_options(parser):
    parser.add_argument("run_folder", metavar="RUN", help="a run folder")
    parser.add_argument("--milliseconds", type=whole(10, 10_000), default=150, metavar="MS",
                        help="for each grid (default: 150)")
    add_output(parser, ".gif")


def animate(args):
    """The sample grids of a run, one after another, at half their size: a pixel of the grid for each of an image."""
    import numpy as np

    from tinygan import plots
    from tinygan.files import checkpoint

    folder = checkpoint.open_run(args.run_folder, empty=True).folder
    paths = sorted(Path(folder).glob("samples/step-*.png"))
    if not paths:
        raise InputError(f"{folder} has no pictures in samples/: train it with a smaller --set sample_every")
    frames = []
    for path in paths:
        try:
            frames.append(np.asarray(plots.open_picture(path))[::2, ::2])
        except InputError as error:
            raise InputError(f"{path} is damaged: delete it ({error})") from None
    frames += [frames[-1]] * 10  # the last one stays a while
    plots.save_gif(args.output, frames, args.milliseconds)
    print(f"{len(paths)} grids of {folder}: {args.output}")
