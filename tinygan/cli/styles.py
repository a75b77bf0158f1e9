"""The commands about generators with styles: mix, noise, project, ppl, separability. Each imports what it needs."""

from tinygan.errors import InputError

from .common import load_styles, print_table
from .options import add_data_dir, add_device, add_draws, add_output, add_run, add_weights, positive, whole


def add_styles(parser, n, what, least=2):
    """The options of a command that draws n images, paths or samples with a run of stylegan or stylegan2."""
    add_run(parser)
    parser.add_argument("-n", type=whole(least, 10 ** 6), default=n, metavar="N", help=f"{what} (default: {n:,})")
    add_draws(parser)
    add_output(parser, ".png")
    add_device(parser)


def drawn_with(args, config, path):
    """What a file of numbers says of the images that they are of."""
    return {"run": str(path), "recipe": config["recipe"], "data": config["data"], "weights": args.weights,
            "truncation": args.truncation, "seed": args.seed}


def mix_options(parser):
    add_styles(parser, 10, "images whose styles are taken")
    parser.add_argument("--rows", type=positive, default=3, metavar="N", help="images that take them (default: 3)")


def mix(args):
    """Style mixing, as figure 3 of Karras et al. 2019."""
    import numpy as np

    from tinygan import plots
    from tinygan.autograd import Tensor, no_grad
    from tinygan.backend import asarray, to_numpy
    from tinygan.training.sampling import generate, latents

    G, config, path = load_styles(args)
    rng, n = np.random.default_rng(args.seed), args.n

    def sources(count, first):
        labels = (first + np.arange(count)) % G.classes if G.classes else None
        with no_grad():
            return to_numpy(G.styles(latents(rng, count, G, args.truncation), labels).data)

    givers, takers = sources(n, 0), sources(args.rows, n // 2)
    third = [round(G.style_layers * i / 3) for i in range(4)]
    draw = lambda ws: generate(G.synthesis, Tensor(asarray(ws)))
    above, left = draw(givers), draw(takers)
    rows = [np.concatenate([np.zeros_like(above[:1]), above])]
    for start, stop in zip(third, third[1:]):
        for k, taker in enumerate(takers):
            ws = taker[None].repeat(n, 0)
            ws[:, start:stop] = givers[:, start:stop]
            rows.append(np.concatenate([left[k:k + 1], draw(ws)]))
    plots.save_image(args.output, plots.grid(np.concatenate(rows), columns=n + 1))
    print(f"style mixing by {config['recipe']} ({path.name}): {args.output}\n"
          f"above: whose styles are taken; left: whose are kept. Of {G.style_layers} styles, are taken:")
    print_table([(f"rows {1 + i * args.rows}-{(i + 1) * args.rows}", name, f"styles {start}-{stop - 1}")
                 for i, (name, start, stop) in enumerate(zip(("coarse", "middle", "fine"), third, third[1:]))])


def noise_options(parser):
    add_styles(parser, 8, "images")
    parser.add_argument("--draws", type=whole(2, 1000), default=50, metavar="N",
                        help="of noise, for its deviation (default: 50)")


def noise(args):
    """What the noise inputs do, as figures 4 and 5 of Karras et al. 2019."""
    import numpy as np

    from tinygan import nn, plots
    from tinygan.training.sampling import generate, latents

    G, config, path = load_styles(args)
    rng, n = np.random.default_rng(args.seed), args.n
    z, labels = latents(rng, n, G, args.truncation), np.arange(n) % G.classes if G.classes else None
    inputs = [module for _, module in G.modules() if isinstance(module, nn.Noise)]
    middle = sorted({len(module.fixed) for module in inputs})
    middle = middle[len(middle) // 2]  # pixels on a side, from which on noise is fine

    def draw(choose):
        for module in inputs:
            module.rng, module.mode = rng, choose(len(module.fixed))
        return generate(G, z, labels)

    draws = np.stack([draw(lambda size: "random") for _ in range(args.draws)])
    deviation = draws.astype(np.float64).std(0)
    strongest = max(deviation.max(), 1e-9)
    columns = {"fixed noise": draw(lambda size: "fixed"), "other noise": draws[0], "and other": draws[1],
               f"deviation over {args.draws} draws (white: {strongest:.1f} of 255)":
                   np.rint(deviation * (255 / strongest)).astype(np.uint8),
               "no noise": draw(lambda size: "none"),
               f"only up to {middle // 2}x{middle // 2}": draw(lambda size: "fixed" if size < middle else "none"),
               f"only from {middle}x{middle} on": draw(lambda size: "none" if size < middle else "fixed")}
    rows = np.stack(list(columns.values()), 1).reshape(-1, *draws.shape[2:])
    plots.save_image(args.output, plots.grid(rows, len(columns)))
    print(f"noise of {config['recipe']} ({path.name}): {args.output}\ncolumns: {'; '.join(columns)}\n"
          f"mean deviation of a pixel: {deviation.mean():.2f} of 255")
    print_table([("noise input", "pixels", "mean strength")] + [
        (name, f"{len(m.fixed)}x{len(m.fixed)}", f"{float(abs(m.strength.data).mean()):.4f}")
        for name, m in G.modules() if isinstance(m, nn.Noise)], right=(1, 2))


def project_options(parser):
    add_run(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--test", type=whole(0, 10 ** 9), nargs="+", metavar="N",
                       help="the numbers of test images (default: 0 1 2 3)")
    which.add_argument("--images", nargs="+", metavar="FILE", help="pictures instead, scaled to the size of the data set's "
                       "(digits are white on black)")
    parser.add_argument("--steps", type=whole(10, 10 ** 6), default=300, metavar="N", help="of descent (default: 300)")
    parser.add_argument("--per-layer", action="store_true", help="a style for each layer, instead of one for all")
    add_data_dir(parser)
    add_output(parser, ".png", help="and, beside it, FILE-styles.npz")
    add_weights(parser)
    add_device(parser)


def project(args):
    """Find styles for given images, and draw how that went."""
    import numpy as np
    from tqdm import tqdm

    from tinygan import data, plots
    from tinygan.autograd import Tensor
    from tinygan.backend import asarray
    from tinygan.data import to_float
    from tinygan.files import replacing
    from tinygan.training import recipes
    from tinygan.training.projector import project
    from tinygan.training.sampling import generate

    G, config, path = load_styles(args)
    height, width, channels = config["image_shape"]
    pad = recipes.find(config["recipe"]).settings().updated(config["settings"]).pad
    if args.images:
        images = np.stack([plots.load_image(name, (height - 2 * pad, width - 2 * pad), channels) for name in args.images])
    else:
        test = data.load(config["data"], "test", args.data_dir)
        chosen = args.test or [0, 1, 2, 3]
        if max(chosen) >= len(test):
            raise InputError(f"--test {max(chosen)}: the test images are 0 to {len(test) - 1}")
        images = test.images[chosen]
    images = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    found = project(G, to_float(images), config["data"], args.steps, args.per_layer, args.seed,
                    progress=lambda steps: tqdm(steps, unit="step", dynamic_ncols=True, leave=False))
    stages = np.stack([generate(G.synthesis, Tensor(asarray(ws))) for _, ws in found.stages], 1)
    rows = np.concatenate([stages, images[:, None]], 1)
    labels = [*(f"step {step}" for step, _ in found.stages), "image"]
    plots.save_convergence(args.output, rows, labels, found.distances, "perceptual distance")
    ws = args.output.with_name(f"{args.output.stem}-styles.npz")
    with replacing(ws) as temporary, open(temporary, "wb") as file:
        np.savez(file, ws=found.ws, images=images, found=stages[:, -1])
    final = found.distances[-1]
    print(f"{len(images)} image{'s' * (len(images) > 1)} projected by {config['recipe']} ({path.name}): "
          f"{args.output}\nstyles: {ws}")
    pixels = np.abs(stages[:, -1].astype(int) - images).mean((1, 2, 3))
    print_table([("image", "distance at first", "at last", "mean difference of a pixel (of 255)")] + [
        (args.images[i] if args.images else f"test {chosen[i]}", f"{found.distances[0, i]:.3f}", f"{final[i]:.3f}",
         f"{pixels[i]:.1f}") for i in range(len(images))], right=(1, 2, 3))


def ppl_options(parser):
    add_styles(parser, 1000, "paths of each kind", 10)


def ppl(args):
    """Perceptual path length in Z and in W."""
    from tqdm import tqdm

    from tinygan import plots
    from tinygan.files import write_json
    from tinygan.metrics.path_length import path_lengths, perceptual_path_length
    from tinygan.metrics.perceptual import Perceptual

    G, config, path = load_styles(args)
    if args.truncation == 0:
        raise InputError("--truncation 0: all images are then the same, so that their paths have no length")
    lengths, rows = {}, []
    for space in "zw":
        for ends in (False, True):
            name = f"{space.upper()}, {'ends' if ends else 'full'}"
            lengths[name] = path_lengths(G, config["data"], args.n, space, ends, args.seed, progress=lambda batches: tqdm(
                batches, desc=name, unit="batch", dynamic_ncols=True, leave=False))
            rows.append((name, f"{perceptual_path_length(lengths[name]):.2f}"))
    if not all(values.any() for values in lengths.values()):
        raise InputError(f"{args.run_folder}: the images do not change along a path: train G longer")
    numbers = args.output.with_name(f"{args.output.stem}-numbers.json")
    extractor = Perceptual(config["data"]).description
    plots.save_histograms(args.output, lengths, "perceptual length of a path")
    write_json(numbers, {**drawn_with(args, config, path), "paths": args.n, "extractor": extractor,
                         "perceptual_path_length": {name: float(v) for name, v in rows}})
    print(f"{config['recipe']}, {path}: {args.n:,} paths each\nfeatures: {extractor}\n")
    print_table([("paths", "perceptual path length")] + rows, right=(1,))
    print("\nshorter is smoother; Z: on great circles, W: on straight lines; full: anywhere on a path, ends: at its "
          f"beginning\npicture: {args.output}\nnumbers: {numbers}")


def separability_options(parser):
    add_styles(parser, 5000, "samples", 80)


def separability(args):
    """Linear separability of W against Z."""
    import numpy as np

    from tinygan import plots
    from tinygan.autograd import no_grad
    from tinygan.backend import to_numpy
    from tinygan.files import write_json
    from tinygan.metrics.extractor import Extractor
    from tinygan.metrics.separability import attributes, separability
    from tinygan.training.sampling import generate, latents

    G, config, path = load_styles(args)
    rng = np.random.default_rng(args.seed)
    z, labels = latents(rng, args.n, G, args.truncation), rng.integers(G.classes, size=args.n) if G.classes else None
    with no_grad():
        w = to_numpy(G.mapping(z, labels).data)
    images, extractor = generate(G, z, labels), Extractor(config["data"])
    probabilities = extractor(images)[1][:, 0] if extractor.channels == 1 else None
    found = attributes(images, probabilities)
    known = to_numpy(z.data) if labels is None else np.concatenate([to_numpy(z.data), np.eye(G.classes)[labels]], 1)
    entropies = {"Z": separability(known, found), "W": separability(w, found)}
    scores = {space: float(np.exp(sum(e.values()))) for space, e in entropies.items()}
    numbers = args.output.with_name(f"{args.output.stem}-numbers.json")
    plots.save_bars(args.output, {space: list(e.values()) for space, e in entropies.items()}, list(found),
                    "conditional entropy (nats)")
    write_json(numbers, {**drawn_with(args, config, path), "samples": args.n, "extractor": extractor.description,
                         "conditional_entropy": entropies, "separability": scores})
    print(f"{config['recipe']}, {path}: {args.n:,} samples, the surest half of each attribute"
          + "; Z is z and the class" * (labels is not None) + "\n")
    print_table([("attribute", "Z", "W")] + [(name, *(f"{entropies[s][name]:.3f}" for s in "ZW")) for name in found]
                + [("separability", *(f"{scores[s]:.2f}" for s in "ZW"))], right=(1, 2))
    print("\n0 nats: a hyperplane tells it; 0.69: it tells nothing of an even attribute. Separability is exp of the sum: "
          f"less is better\npicture: {args.output}\nnumbers: {numbers}")
