"""The commands that show what styles do: mix, noise, project."""

from functools import partial

import numpy as np
from tqdm import tqdm

from tinygan import data, nn, plots
from tinygan.autograd import Tensor, no_grad
from tinygan.backend import to_numpy
from tinygan.errors import InputError
from tinygan.files import replacing
from tinygan.training import projector, recipes, sampling

from .common import beside, print_table
from .generators import load_styles
from .options import add, add_output, add_style_options, positive, whole


def draw_styles(G, ws):
    """The images, uint8 on the host, of styles ws (N, style_layers, size), an array on the host."""
    return sampling.generate(G.synthesis, Tensor(ws))


def mix_options(parser):
    add_style_options(parser, 10, "images whose styles are taken")
    parser.add_argument(
        "--rows", type=positive, default=3, metavar="N", help="images that take them (default: 3)"
    )


def run_mix(args):
    """Style mixing, as figure 3 of Karras et al. 2019."""
    G, config, path = load_styles(args)
    rng, n = np.random.default_rng(args.seed), args.n

    def random_styles(count, first_class):
        labels = sampling.classes_in_turn(G, count, first_class)
        z = sampling.latents(rng, count, G, args.truncation)
        with no_grad():
            return to_numpy(G.styles(z, labels).data)

    givers, takers = random_styles(n, 0), random_styles(args.rows, n // 2)
    thirds = [round(G.style_layers * i / 3) for i in range(4)]
    above, left = draw_styles(G, givers), draw_styles(G, takers)
    rows = [np.concatenate([np.zeros_like(above[:1]), above])]
    for start, stop in zip(thirds, thirds[1:]):
        for k, taker in enumerate(takers):
            ws = taker[None].repeat(n, 0)
            ws[:, start:stop] = givers[:, start:stop]
            rows.append(np.concatenate([left[k : k + 1], draw_styles(G, ws)]))
    plots.save_image(args.output, plots.grid(np.concatenate(rows), columns=n + 1))
    print(
        f"style mixing by {config['recipe']} ({path.name}): {args.output}\n"
        "above: whose styles are taken; left: whose are kept. "
        f"Of {G.style_layers} styles, are taken:"
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
    add_style_options(parser, 8, "images")
    parser.add_argument(
        "--draws",
        type=whole(2, 1000),
        default=50,
        metavar="N",
        help="of noise, for its deviation (default: 50)",
    )


def run_noise(args):
    """What the noise inputs do, as figures 4 and 5 of Karras et al. 2019."""
    G, config, path = load_styles(args)
    rng, n = np.random.default_rng(args.seed), args.n
    z, labels = sampling.latents(rng, n, G, args.truncation), sampling.classes_in_turn(G, n)
    inputs = {name: part for name, part in G.modules() if isinstance(part, nn.Noise)}
    sides = sorted({len(part.fixed) for part in inputs.values()})
    fine = sides[len(sides) // 2]  # pixels on a side, from which on noise is fine

    def draw(coarse_mode, fine_mode):
        for part in inputs.values():
            part.rng, part.mode = rng, coarse_mode if len(part.fixed) < fine else fine_mode
        return sampling.generate(G, z, labels)

    draws = np.stack([draw("random", "random") for _ in range(args.draws)])
    deviation = draws.astype(np.float64).std(0)
    strongest = max(deviation.max(), 1e-9)
    columns = {
        "fixed noise": draw("fixed", "fixed"),
        "other noise": draws[0],
        "and other": draws[1],
        f"deviation over {args.draws} draws (white: {strongest:.1f} of 255)": np.rint(
            deviation * (255 / strongest)
        ).astype(np.uint8),
        "no noise": draw("none", "none"),
        f"only up to {fine // 2}x{fine // 2}": draw("fixed", "none"),
        f"only from {fine}x{fine} on": draw("none", "fixed"),
    }
    images = np.stack(list(columns.values()), 1).reshape(-1, *draws.shape[2:])
    plots.save_image(args.output, plots.grid(images, len(columns)))
    print(
        f"noise of {config['recipe']} ({path.name}): {args.output}\n"
        f"columns: {'; '.join(columns)}\n"
        f"mean deviation of a pixel: {deviation.mean():.2f} of 255"
    )
    print_table(
        [("noise input", "pixels", "mean strength")]
        + [
            (
                name,
                f"{len(part.fixed)}x{len(part.fixed)}",
                f"{float(abs(part.strength.data).mean()):.4f}",
            )
            for name, part in inputs.items()
        ],
        right=(1, 2),
    )


def project_options(parser):
    add(parser, "run_folder", "--seed")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--test",
        type=whole(0, 10**9),
        nargs="+",
        metavar="N",
        help="the numbers of test images (default: 0 1 2 3)",
    )
    which.add_argument(
        "--images",
        nargs="+",
        metavar="FILE",
        help="pictures instead, scaled to the size of the data set's (digits are white on black)",
    )
    parser.add_argument(
        "--steps", type=whole(10, 10**6), default=300, metavar="N", help="of descent (default: 300)"
    )
    parser.add_argument(
        "--per-layer", action="store_true", help="a style for each layer, instead of one for all"
    )
    add(parser, "--data-dir")
    add_output(parser, ".png", help="and, beside it, FILE-styles.npz")
    add(parser, "--weights", "--device")


def run_project(args):
    """Find styles for given images, and draw how that went."""
    G, config, path = load_styles(args)
    names, images = images_to_project(args, config)
    found = projector.project(
        G,
        data.to_float(images),
        config["data"],
        args.steps,
        args.per_layer,
        args.seed,
        progress=partial(tqdm, unit="step", dynamic_ncols=True, leave=False),
    )
    stages = np.stack([draw_styles(G, ws) for _, ws in found.stages], 1)
    labels = [*(f"step {step}" for step, _ in found.stages), "image"]
    plots.save_convergence(
        args.output,
        np.concatenate([stages, images[:, None]], 1),
        labels,
        found.distances,
        "perceptual distance",
    )
    styles = beside(args.output, "styles.npz")
    with replacing(styles) as temporary:
        np.savez(temporary, ws=found.ws, images=images, found=stages[:, -1])
    pixels = np.abs(stages[:, -1].astype(int) - images).mean((1, 2, 3))
    print(
        f"{len(images)} image{'s' * (len(images) > 1)} projected by {config['recipe']} "
        f"({path.name}): {args.output}\nstyles: {styles}"
    )
    print_table(
        [("image", "distance at first", "at last", "mean difference of a pixel (of 255)")]
        + [
            (name, f"{first:.3f}", f"{last:.3f}", f"{pixel:.1f}")
            for name, first, last, pixel in zip(names, *found.distances[[0, -1]], pixels)
        ],
        right=(1, 2, 3),
    )


def images_to_project(args, config):
    """(names, uint8 images (N, H, W, C)) of those that --images or --test asks for, padded as in
    training."""
    height, width, channels = config["image_shape"]
    pad = recipes.settings_of(config).pad
    if args.images:
        names, size = args.images, (height - 2 * pad, width - 2 * pad)
        images = np.stack([plots.load_image(name, size, channels) for name in names])
    else:
        test, numbers = data.load(config["data"], "test", args.data_dir), args.test or [0, 1, 2, 3]
        if max(numbers) >= len(test):
            raise InputError(f"--test {max(numbers)}: the test images are 0 to {len(test) - 1}")
        names, images = [f"test {number}" for number in numbers], test.images[numbers]
    return names, np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
