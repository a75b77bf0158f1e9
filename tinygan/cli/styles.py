"""The commands that show what styles do: mix, noise, project."""

from functools import partial

import numpy as np
from tqdm import tqdm

from tinygan import data, nn, plots
from tinygan.autograd import Tensor, no_grad
from tinygan.backend import to_numpy
from tinygan.data import pictures
from tinygan.errors import InputError
from tinygan.files import npz, replacing
from tinygan.metrics.network import WEIGHTS_OF
from tinygan.training import projector, recipes, sampling
from tinygan.training.run_data import RunData

from .common import print_table, sibling_path
from .generators import load_style_generator
from .options import add, add_output, add_style_options, integer, path_argument, positive


def generate_from_styles(G, ws):
    """Return the images of styles ws (N, style_layers, size): uint8 (N, H, W, C). Both are arrays
    on the host."""
    return sampling.generate(G.synthesis, Tensor(ws))


def mix_options(parser):
    add_style_options(
        parser,
        10,
        "the number of source images, whose styles replace those of the target images",
        "the picture: source images at the top, target images on the left",
    )
    parser.add_argument(
        "--rows",
        type=positive,
        default=3,
        metavar="N",
        help="the number of target images (default: 3)",
    )


def run_mix(args):
    """Write a picture of style mixing, like figure 3 of Karras et al. 2019."""
    G, config, path = load_style_generator(args)
    rng, n = np.random.default_rng(args.seed), args.n

    def random_styles(count, first_class):
        labels = sampling.classes_in_turn(G, count, first_class)
        z = sampling.latents(rng, count, G, args.truncation)
        with no_grad():
            return to_numpy(G.styles(z, labels).data)

    sources, targets = random_styles(n, 0), random_styles(args.rows, n // 2)
    thirds = [round(G.style_layers * i / 3) for i in range(4)]
    top, left = generate_from_styles(G, sources), generate_from_styles(G, targets)
    rows = [np.concatenate([np.zeros_like(top[:1]), top])]
    for start, stop in zip(thirds, thirds[1:]):
        for k, target in enumerate(targets):
            ws = target[None].repeat(n, 0)
            ws[:, start:stop] = sources[:, start:stop]
            rows.append(np.concatenate([left[k : k + 1], generate_from_styles(G, ws)]))
    labels = ["", *(name for name in ("coarse", "middle", "fine") for _ in targets)]
    grid = plots.grid(np.concatenate(rows), columns=n + 1)
    plots.save_image(args.output, plots.labelled(grid, labels))
    print(
        f"style mixing by {config['recipe']} ({path.name}): {args.output}\n"
        f"Each image takes some of its {G.style_layers} styles from the image at the top of its "
        "column,\nand the others from the image at the left end of its row. From the top come:"
    )
    print_table(
        [
            (f"rows {1 + i * args.rows}-{(i + 1) * args.rows}", name, f"styles {start}-{stop - 1}")
            for i, (name, start, stop) in enumerate(
                zip(("coarse", "middle", "fine"), thirds, thirds[1:])
            )
        ]
    )


def noise_options(parser):
    add_style_options(
        parser,
        8,
        "the number of images",
        "the picture: a column for each image, a row for each use of noise",
    )
    parser.add_argument(
        "--draws",
        type=integer(2, 1000),
        default=50,
        metavar="N",
        help="the number of draws of the noise for the standard deviation (default: 50)",
    )


def run_noise(args):
    """Write a picture of what the noise inputs do, like figures 4 and 5 of Karras et al. 2019."""
    G, config, path = load_style_generator(args)
    rng, n = np.random.default_rng(args.seed), args.n
    z, labels = sampling.latents(rng, n, G, args.truncation), sampling.classes_in_turn(G, n)
    inputs = {name: layer for name, layer in G.modules() if isinstance(layer, nn.Noise)}
    sizes = sorted({layer.fixed.shape for layer in inputs.values()})
    fine = sizes[len(sizes) // 2]  # noise of this size or larger is fine, smaller is coarse

    def generate(coarse_mode, fine_mode):
        for layer in inputs.values():
            layer.rng, layer.mode = rng, coarse_mode if layer.fixed.shape < fine else fine_mode
        return sampling.generate(G, z, labels)

    draws = np.stack([generate("random", "random") for _ in range(args.draws)])
    deviation = draws.astype(np.float64).std(0)
    strongest = max(deviation.max(), 1e-9)
    rows = {
        "fixed noise": generate("fixed", "fixed"),
        "random noise": draws[0],
        "random noise again": draws[1],
        f"deviation, {args.draws} draws (white: {strongest:.1f} of 255)": np.rint(
            deviation * (255 / strongest)
        ).astype(np.uint8),
        "no noise": generate("none", "none"),
        f"noise only up to {fine[0] // 2}x{fine[1] // 2}": generate("fixed", "none"),
        f"noise only from {fine[0]}x{fine[1]}": generate("none", "fixed"),
    }
    grid = plots.grid(np.concatenate(list(rows.values())), n)
    plots.save_image(args.output, plots.labelled(grid, list(rows)))
    print(
        f"noise of {config['recipe']} ({path.name}): {args.output}\n"
        f"rows: {'; '.join(rows)}\n"
        f"mean standard deviation of a pixel: {deviation.mean():.2f} of 255"
    )
    print_table(
        [("noise input", "pixels", "mean strength")]
        + [
            (
                name,
                "x".join(map(str, layer.fixed.shape)),
                f"{float(abs(layer.strength.data).mean()):.4f}",
            )
            for name, layer in inputs.items()
        ],
        right=(1, 2),
    )


def project_options(parser):
    add(parser, "run_folder", "--seed")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--test",
        type=integer(0, 10**9),
        nargs="+",
        metavar="N",
        help="project these test images, given by their indices (default: 0 1 2 3)",
    )
    which.add_argument(
        "--images",
        type=path_argument,
        nargs="+",
        metavar="FILE",
        help="project these picture files, cropped to the shape of the data set's images and "
        "scaled to their size (digits are white on black)",
    )
    parser.add_argument(
        "--steps",
        type=integer(10, 10**6),
        default=300,
        metavar="N",
        help="the number of optimisation steps (default: 300)",
    )
    parser.add_argument(
        "--per-layer",
        action="store_true",
        help="find a style for each layer, instead of one style for all layers",
    )
    add(parser, "--data", "--data-dir")
    add_output(
        parser, ".png", help="the picture of the search; the command also writes FILE-styles.npz"
    )
    add(parser, "--weights", "--model", "--trust", "--device")


def run_project(args):
    """Find the styles that reproduce given images; plot the search, and write the styles."""
    G, config, path = load_style_generator(args)
    styles = sibling_path(args.output, "styles.npz")
    its_data = RunData(config, path.parent, args.data, args.data_dir)
    names, images = images_to_project(args, config, its_data)
    projection = projector.project(
        G,
        data.to_float(images),
        its_data.extractor(),
        args.steps,
        args.per_layer,
        args.seed,
        progress=partial(tqdm, unit="step", dynamic_ncols=True, leave=False),
    )
    stages = np.stack([generate_from_styles(G, ws) for _, ws in projection.stages], 1)
    labels = [*(f"step {step}" for step, _ in projection.stages), "image"]
    plots.save_convergence(
        args.output,
        np.concatenate([stages, images[:, None]], 1),
        labels,
        projection.distances,
        "perceptual distance",
    )
    with replacing(styles) as file:
        npz.write(file, {"ws": projection.ws, "images": images, "found": stages[:, -1]})
    pixels = np.abs(stages[:, -1].astype(int) - images).mean((1, 2, 3))
    print(
        f"{len(images)} image{'s' * (len(images) > 1)} projected by {config['recipe']} "
        f"({path.name}): {args.output}\nstyles: {styles}"
    )
    print_table(
        [("image", "first distance", "last distance", "mean difference of a pixel (of 255)")]
        + [
            (name, f"{first:.3f}", f"{last:.3f}", f"{pixel:.1f}")
            for name, first, last, pixel in zip(names, *projection.distances[[0, -1]], pixels)
        ],
        right=(1, 2, 3),
    )


def images_to_project(args, config, its_data):
    """Return (names, uint8 images (N, H, W, C)) of the images that --images or --test selects,
    padded as in training. Raises InputError for an index that is too large, and for a file that is
    not a picture."""
    height, width, channels = config["image_shape"]
    pad = recipes.settings_of(config).pad
    if args.images:
        for option, value in ("--data-dir", args.data_dir), ("--data", args.data):
            if value is not None and config["data"] in WEIGHTS_OF:
                raise InputError(
                    f"{option} is read for test images only: leave it out with --images"
                )
        names, size = list(map(str, args.images)), (height - 2 * pad, width - 2 * pad)
        images = np.stack([pictures.read(name, channels, size) for name in names])
        return names, np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    reals = its_data.reals()
    if isinstance(reals, data.Points):
        raise InputError(f"config.json is damaged: {reals.name} holds points, not images")
    indices = args.test or list(range(min(4, len(reals))))
    if max(indices) >= len(reals):
        raise InputError(
            f"--test {max(indices)}: the {reals.split} images are numbered 0 to {len(reals) - 1}"
        )
    return [f"{reals.split} {index}" for index in indices], reals.images[indices]
