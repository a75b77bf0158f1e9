"""The commands that generate or animate images: sample, animate."""

import numpy as np

from tinygan import ops, plots
from tinygan.autograd import no_grad
from tinygan.data import pictures
from tinygan.errors import InputError
from tinygan.files import checkpoint, is_file, is_folder, npz, replacing
from tinygan.nn import StyleGenerator
from tinygan.training import log, sample_files, samples, sampling
from tinygan.training.run_data import RunData

from .generators import load_generator
from .options import add, add_output, integer, output_file_or_folder, positive

ANIMATIONS = ".gif", ".webp"
FILES = ".png", *ANIMATIONS, ".npz"  # what `sample` writes, beside folders of pictures
FRAMES = 12  # frames of a walk from one image to the next


def sample_options(parser):
    add(parser, "run_folder", "--seed")
    parser.add_argument(
        "-n",
        type=positive,
        metavar="N",
        help="the number of images (default: 64, or 16 for a walk through the classes; of points "
        "2,000); a grid with a row for each class is filled up",
    )
    parser.add_argument(
        "--label",
        metavar="K",
        help="generate only class K, given by its number, or for own data by its name (conditional "
        "recipes, and for categories infogan)",
    )
    add(parser, "--truncation", "--weights", "--model", "--trust")
    parser.add_argument(
        "--walk",
        choices=("latents", "styles", "classes"),
        help="what changes in a .gif or .webp: the latents z (the default), the styles w, or the "
        "class of all images at once",
    )
    add_output(
        parser,
        *FILES,
        type=output_file_or_folder(*FILES),
        metavar="FILE",
        help="the output: .png (a grid), .gif or .webp (a walk), .npz (images as uint8 NHWC, or "
        "points as float32 (N, 2); and labels), or a folder, as in -o samples/: a PNG file "
        "for each image, with a subfolder for each class, as --data reads them. The folder must be "
        "new or empty",
    )
    add(parser, "--device")


def run_sample(args):
    suffix = args.output.suffix
    if args.walk and suffix not in ANIMATIONS:
        raise InputError(f"--walk {args.walk}: -o {args.output} must end in .gif or .webp")
    into_folder = suffix not in FILES
    if into_folder:
        sample_files.check_empty(args.output)
    G, config, path = load_generator(args)
    check_options(args, G, config["recipe"])
    if args.label is not None:
        args.label = samples.class_number(args.label, G, config, "--label")
    if samples.has_points(config):
        sample_points(args, G, config, path)
        return
    z, labels, columns = samples.inputs(
        G,
        args.n or (16 if args.walk == "classes" else samples.default_count(config)),
        args.seed,
        args.label,
        args.truncation,
        rows=suffix == ".png",
    )
    n = len(z)
    if suffix in ANIMATIONS:
        plots.save_animation(args.output, frames_of_walk(args, G, z, labels))
    else:
        images = sampling.generate(G, z, labels)
        if into_folder:
            names = sample_files.names_of_classes(config)
            sample_files.write_images(args.output, images, labels, names)
        elif suffix == ".png":
            plots.save_image(args.output, plots.grid(images, columns))
        else:
            save_arrays(args.output, {"images": images, "labels": labels})
    print(f"{n} image{'s' * (n > 1)} by {config['recipe']} ({path.name}): {args.output}")


def sample_points(args, G, config, path):
    """Write points as a scatter plot over the test points, or as arrays."""
    if args.output.suffix in ANIMATIONS:
        raise InputError(
            f"-o {args.output}: a walk needs images, but {config['data']} has points: write a .png "
            "or an .npz (`tinygan animate` shows how points moved in training)"
        )
    if args.output.suffix not in FILES:
        raise InputError(
            f"-o {args.output}: a folder is for images, but {config['data']} has points: write a "
            ".png or an .npz"
        )
    n = args.n or samples.default_count(config)
    z, labels, _ = samples.inputs(G, n, args.seed, args.label, args.truncation)
    points = sampling.generate(G, z, labels)
    if args.output.suffix == ".png":
        samples.save_points(args.output, points, labels, RunData(config, path.parent))
    else:
        save_arrays(args.output, {"points": points, "labels": labels})
    print(f"{n:,} point{'s' * (n > 1)} by {config['recipe']} ({path.name}): {args.output}")


def save_arrays(path, arrays):
    """Write those arrays that are not None as an .npz file."""
    with replacing(path) as file:
        found = {name: array for name, array in arrays.items() if array is not None}
        npz.write(file, found, compressed=True)


def check_options(args, G, recipe):
    """Raise InputError if --walk asks for classes or styles that G does not have."""
    if args.walk == "styles" and not isinstance(G, StyleGenerator):
        raise InputError(f"--walk styles: the G of {recipe} has no styles")
    if args.walk == "classes" and not sampling.label_count(G):
        raise InputError(f"--walk classes: this run of {recipe} has no classes")
    if args.walk == "classes" and args.label is not None:
        raise InputError("--walk classes shows all classes: leave out --label")


def frames_of_walk(args, G, z, labels):
    """Return the frames of an animation, uint8 (H, W, 3): one image in each, or in a walk through
    the classes, a grid of all images."""
    if args.walk == "classes":
        return [
            plots.grid(sampling.generate(G, z, mixture.repeat(len(z), 0)), scale=4)
            for mixture in class_walk(sampling.label_count(G), FRAMES)
        ]
    if args.walk == "styles":
        with no_grad():
            ws = G.styles(z, labels)
        images = sampling.generate(G.synthesis, walk(ws, FRAMES, straight=True))
    else:
        straight = args.truncation is not None and not isinstance(G, StyleGenerator)
        images = sampling.generate(
            G, walk(z, FRAMES, straight), None if labels is None else labels.repeat(FRAMES)
        )
    return [plots.grid(image[None], scale=8) for image in images]


def walk(z, frames, straight=False):
    """Return a closed walk: points from each row of z (N, latent) to the next, and from the last to
    the first, with `frames` points for each pair, (N * frames, latent).

    The walk follows great circles, because a straight line would come nearer to the origin than the
    latents of training. straight: walk on straight lines instead. Truncated latents need them, as
    a straight line stays in their range; and styles w have no sphere to stay on.
    """
    shares, n = np.linspace(0, 1, frames, endpoint=False), len(z)
    weights = [
        (1 - t, t) if straight else (np.cos(t * np.pi / 2), np.sin(t * np.pi / 2)) for t in shares
    ]
    return ops.concatenate(
        [
            float(a) * z[i : i + 1] + float(b) * z[(i + 1) % n : (i + 1) % n + 1]
            for i in range(n)
            for a, b in weights
        ]
    )


def class_walk(classes, frames):
    """Yield mixtures of classes (1, classes): from each class to the next, and from the last to the
    first, with `frames` mixtures for each pair."""
    one_hot = np.eye(classes, dtype=np.float32)
    for k in range(classes):
        for share in np.linspace(0, 1, frames, endpoint=False, dtype=np.float32):
            yield (1 - share) * one_hot[[k]] + share * one_hot[[(k + 1) % classes]]


def animate_options(parser):
    add(parser, "run_folder", help="a run folder")
    parser.add_argument(
        "--milliseconds",
        type=integer(10, 10_000),
        default=150,
        metavar="MS",
        help="show each grid of an animation for MS milliseconds (default: 150)",
    )
    add_output(
        parser,
        *ANIMATIONS,
        ".html",
        help="the animation; .html: a page with grids, curves and a slider",
    )


def run_animate(args):
    """Write the sample grids of a run as an animation or a page, at half their size, since each
    pixel of an image takes 2x2 pixels of a grid; or its scatter plots of points as they are."""
    run = checkpoint.open_run(args.run_folder, allow_empty=True)
    folder, frames, steps = run.folder, [], []
    every = 1 if len(run.config["image_shape"]) == 1 else 2
    is_folder(folder / "samples")
    for path in sorted(folder.glob("samples/step-*.png")):
        is_file(path)
        try:
            frames.append(pictures.read(path, 3, links=False)[::every, ::every])
            steps.append(int(path.stem.removeprefix("step-")))
        except InputError as error:
            raise InputError(f"{path} is damaged: move it elsewhere ({error})") from None
    if not frames:
        raise InputError(
            f"{folder} has no pictures in samples/: train again, with a smaller --set sample_every"
        )
    if args.output.suffix == ".html":
        write_page(args.output, run, list(zip(steps, frames)))
    else:
        pause = [frames[-1]] * 10  # show the last grid for longer
        plots.save_animation(args.output, frames + pause, args.milliseconds)
    print(f"{len(frames)} {'pictures' if every == 1 else 'grids'} of {folder}: {args.output}")


def write_page(path, run, grids):
    """Write the page of a run. grids: [(step, image)]."""
    from tinygan.lab.run_page import run_page

    config, folder = run.config, run.folder
    page = run_page(
        f"{config['recipe']}, {config['data']}, seed {config['seed']}",
        grids,
        list(log.rows(folder)),
        list(log.rows(folder, name="eval.jsonl")),
        config["settings"],
    )
    with replacing(path) as file:
        file.write(page.encode())
