"""StyleGAN: why z should not be what images are drawn from, and what w is good for.

python demos/stylegan.py              # two to three minutes
python demos/stylegan.py --full       # full MNIST, three seeds, at most ten minutes a run
"""

# %% Data with a hole in it
# z is drawn from a round cloud without holes. Real data has holes: combinations that do not occur. If images were
# drawn from z directly, the cloud would have to be bent around the hole, and directions in z would mean different
# things in different places. StyleGAN puts a mapping in between: w = f(z) may have any distribution, also one with a
# hole. To look at that, the data are points in a square, two attributes each, of which one corner does not occur.
import numpy as np

from tinygan import data, grad, nn, optim, tensor
from tinygan.gan import losses, penalties
from tinygan.metrics import Evaluator
from tinygan.metrics.extractor import Extractor
from tinygan.metrics.path_length import path_lengths, perceptual_path_length
from tinygan.metrics.separability import attributes, separability
from tinygan.study import Study, below, means, show
from tinygan.training.sampling import generate, latents, load_networks

study = Study(__file__, __doc__)
rng = np.random.default_rng(0)


def points(n):
    """Points (n, 2) in the square from -1 to 1 without its upper right quarter."""
    found = rng.uniform(-1, 1, (2 * n, 2)).astype(np.float32)
    return found[~(found > 0).all(1)][:n]


def perceptron(*widths):
    layers = []
    for a, b in zip(widths, widths[1:]):
        layers += [nn.Linear(a, b, rng=rng), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])


# G = synthesis(mapping(z)). The synthesis is small, as in the paper it is asked to be: what bends, has to bend in the
# mapping.
mapping, synthesis, D = (
    perceptron(2, 64, 64, 64, 2),
    perceptron(2, 16, 2),
    perceptron(2, 64, 64, 64, 1),
)
loss, weights = losses.find("bce"), [*mapping.parameters(), *synthesis.parameters()]
g_optimizer, d_optimizer = (
    optim.Adam(p, lr=1e-3, betas=(0.0, 0.99)) for p in (weights, D.parameters())
)
for step in range(study.choose(20, 6000, 20_000)):
    reals, z = points(256), rng.standard_normal((256, 2), dtype=np.float32)
    fakes = synthesis(mapping(z))
    d_loss = loss.discriminator(D(reals), D(fakes.detach())) + 0.1 * penalties.r1(D, reals)
    d_optimizer.step(grad(d_loss, D.parameters()))
    g_optimizer.step(grad(loss.generator(None, D(fakes)), weights))

z = rng.standard_normal((4000, 2), dtype=np.float32)
w = mapping(z).detach()
drawn, w = synthesis(w).detach().numpy(), w.numpy()


def linear(latent):
    """R^2: how much of the two attributes a linear function of the latents tells."""
    known = np.column_stack([latent, np.ones(len(latent))])
    rest = drawn - known @ np.linalg.lstsq(known, drawn, rcond=None)[0]
    return 1 - (rest**2).sum() / ((drawn - drawn.mean(0)) ** 2).sum()


r2 = {"Z": linear(z), "W": linear(w)}
in_hole = (drawn > 0.1).all(1).mean()
print(
    f"points in the hole: {in_hole:.1%}; what a linear function tells of the attributes: Z {r2['Z']:.1%}, W {r2['W']:.1%}"
)

# %% Digits: mappings of 8 layers and of none
# What the paper measures of W and Z: how far images move along a path (path length: less is smoother), and how much a
# hyperplane tells of how a digit is drawn (separability: less is better). And the class: does a deep mapping follow
# it better than none at all?
# (Without a mapping, w is z and the embedding of the class, twice as long as a style.)
name = study.choose("digits", "digits", "mnist")
test = data.load(name, "test")
evaluator, extractor = Evaluator(test.subset(slice(study.choose(200, 1000, None)))), Extractor(name)
n = study.choose(100, 1000, 5000)
psis = (0.0, 0.5, 1.0) if study.size != "full" else (0.0, 0.3, 0.5, 0.7, 0.9, 1.0, 1.2)


def styles(folder):
    """Path lengths, separability, truncation in W over psi, and noise: FID without it, and how far it moves a pixel."""
    G, _ = load_networks(folder)
    paths = {
        space: perceptual_path_length(path_lengths(G, name, study.choose(10, 200, 1000), space))
        for space in "zw"
    }
    rng = np.random.default_rng(3)
    z, labels = latents(rng, n, G), rng.integers(10, size=n)
    images = generate(G, z, labels)
    found = attributes(images, extractor(images)[1][:, 0])
    found = dict(list(found.items())[: study.choose(2, None, None)])
    known = {
        "z": np.concatenate([z.numpy(), np.eye(10)[labels]], 1),
        "w": G.mapping(z, labels).detach().numpy(),
    }
    scores = {
        space: float(np.exp(sum(separability(known[space], found).values()))) for space in "zw"
    }
    truncated = []
    for psi in psis:
        G.psi = psi
        report = evaluator.quick(generate(G, z, labels), labels)
        truncated.append(
            {key: report[key] for key in ("fid", "precision", "recall", "class_accuracy")}
        )
    noises, G.psi = [module for _, module in G.modules() if isinstance(module, nn.Noise)], 1.0
    for module in noises:
        module.mode, module.rng = "none", rng
    silent = evaluator.quick(generate(G, z, labels), labels)["fid"]
    for module in noises:
        module.mode = "random"
    moved = (
        np.stack([generate(G, z[:20], labels[:20]) for _ in range(study.choose(2, 20, 50))])
        .std(0)
        .mean()
    )
    return {
        "path_length": paths,
        "separability": scores,
        "truncation": truncated,
        "noise": float(moved),
        "fid_without_noise": silent,
    }


phase = study.choose(8, 1600, 6000)
runs = study.train(
    {"8 layers": "mapping_layers=8", "none": "mapping_layers=0 style=128"},
    "stylegan",
    f"stable_images={phase} fade_images={phase} mixing=0.5",
    steps=study.choose(2, 850, 5000),
    also=styles,
)
study.compare(
    "mapping",
    runs,
    {
        "FID": ("fid", 2),
        "class accuracy": ("class_accuracy", 3),
        "recall": ("recall", 3),
        "path length in Z": ("also.path_length.z", 1),
        "path length in W": ("also.path_length.w", 1),
        "separability of Z": ("also.separability.z", 2),
        "separability of W": ("also.separability.w", 2),
    },
)
length, separable = (
    {space: means(runs, f"also.{key}.{space}") for space in "zw"}
    for key in ("path_length", "separability")
)


# %% One G: mixed styles, noise
def mixed():
    """Ten images, ten others, and the first with the coarse styles of the others."""
    G, _ = load_networks(runs["8 layers"][0].folder)
    rng, digits = np.random.default_rng(1), np.arange(10)
    ws, others = (
        G.styles(latents(rng, 10, G), labels).detach().numpy()
        for labels in (digits, digits[::-1].copy())
    )
    half = G.style_layers // 2
    return np.concatenate(
        [
            generate(G.synthesis, tensor(x))
            for x in (ws, others, np.concatenate([others[:, :half], ws[:, half:]], 1))
        ]
    )


def noise():
    """Ten images with fixed noise, without, and how far noise moves each pixel: white is 64 of 255."""
    G, _ = load_networks(runs["8 layers"][0].folder)
    rng, rows = np.random.default_rng(1), {}
    z = latents(rng, 10, G)
    for mode, draws in (("fixed", 1), ("none", 1), ("random", study.choose(2, 20, 50))):
        for _, module in G.modules():
            if isinstance(module, nn.Noise):
                module.mode, module.rng = mode, rng
        rows[mode] = np.stack([generate(G, z, np.arange(10)) for _ in range(draws)])
    moved = np.clip(4 * rows["random"].std(0), 0, 255).astype(np.uint8)
    return np.concatenate([rows["fixed"][0], rows["none"][0], moved])


mixing, noisy = study.images("mixing", mixed), study.images("noise", noise)
moved, silent = (means(runs, f"also.{key}")["8 layers"] for key in ("noise", "fid_without_noise"))
noisy_fid = float(
    np.mean([run.also["truncation"][psis.index(1.0)]["fid"] for run in runs["8 layers"]])
)
print(
    f"noise moves a pixel by {moved:.1f} of 255, on average; FID with noise {noisy_fid:.2f}, without {silent:.2f}"
)

# %% The figure
figure, axes = study.figure(12, 4.8, 2, 5, height_ratios=(1.4, 1))
for ax, where, title in zip(
    axes[0],
    (points(4000), z, w),
    (
        "(a) data",
        f"(b) Z: a linear fit\nexplains {r2['Z']:.0%}",
        f"(c) W: a linear fit\nexplains {r2['W']:.0%}",
    ),
):
    shown = where if title.startswith("(a)") else drawn
    colors = np.clip(
        np.column_stack([shown[:, 0], 0 * shown[:, 0] - 0.6, shown[:, 1]]) / 2 + 0.5, 0, 1
    )
    ax.scatter(*where.T, c=colors, s=2)
    if not title.startswith("(a)"):
        for i, color in enumerate(("black", "gold")):
            ax.tricontour(
                *where.T,
                drawn[:, i],
                levels=(-0.8, -0.4, 0, 0.4, 0.8),
                colors=color,
                linewidths=1.2,
            )
    low, high = np.percentile(where, (1, 99), axis=0)
    name = {"(a)": "attribute", "(b)": "z", "(c)": "w"}[title[:3]]
    ax.set(
        title=title,
        xlim=(low[0], high[0]),
        ylim=(low[1], high[1]),
        xticks=(),
        yticks=(),
        xlabel=f"{name} 1",
        ylabel=f"{name} 2",
    )
for ax, found, key in zip(axes[0, 3:], (length, separable), ("path_length", "separability")):
    for i, label in enumerate(runs):
        for j, space in enumerate("zw"):
            at, values = (
                i + 0.4 * j - 0.2,
                [run.number(f"also.{key}.{space}") for run in runs[label]],
            )
            ax.bar(
                at,
                found[space][label],
                0.4,
                color=f"C{j}",
                alpha=0.6,
                label=None if i else space.upper(),
            )
            ax.plot([at] * len(values), values, "k.", markersize=4)
    ax.set_xticks(range(len(runs)), ["8 layers", "none (W: z and class)"], fontsize=7)
    ax.set(ylabel=f"{key.replace('_', ' ')} (less is better)", xlabel="mapping")
    ax.legend(frameon=False, fontsize=7)
show(axes[1, 0], runs["8 layers"][0].images, 10, "8 layers")
show(axes[1, 1], runs["none"][0].images, 10, "no mapping")
show(axes[1, 2], mixing, 10, "mixed: coarse styles of row 2,\nfine ones of row 1")
show(axes[1, 3], noisy, 10, "noise: fixed, none,\nand how far it moves pixels")
for key, color in (("fid", "C0"), ("precision", "C1"), ("recall", "C2"), ("class_accuracy", "C3")):
    values = np.mean([[row[key] for row in run.also["truncation"]] for run in runs["8 layers"]], 0)
    axes[1, 4].plot(
        psis,
        values / (values.max() if key == "fid" else 1),
        color,
        marker="o",
        markersize=3,
        label=f"FID / {values.max():.0f}" if key == "fid" else key.replace("_", " "),
    )
axes[1, 4].set(xlabel="psi (truncation in W)", ylim=(0, 1.05))
axes[1, 4].legend(frameon=False, fontsize=6, loc="center right")
study.save(figure, axes[0, 1], axes[0, 2])

# %% What came of it
accuracy, deep = means(runs, "class_accuracy"), "8 layers"
better = [
    text
    for text, key in (("shorter paths", "path_length"), ("better separability", "separability"))
    if max(run.number(f"also.{key}.w") for run in runs[deep])
    < min(run.number(f"also.{key}.z") for run in runs[deep])
]
study.finding(
    f"W has {' and '.join(better) or 'neither shorter paths nor better separability'} than the Z of the same G (path length "
    f"{length['w'][deep]:.1f} against {length['z'][deep]:.1f}, separability {separable['w'][deep]:.2f} against "
    f"{separable['z'][deep]:.2f}), and 8 mapping layers follow the class "
    + (
        "better than"
        if below(runs, "class_accuracy", "none", deep)
        else "less well than"
        if below(runs, "class_accuracy", deep, "none")
        else "about as well as"
    )
    + f" none ({accuracy[deep]:.1%} against {accuracy['none']:.1%}).",
    {f"W has {text}": text in better for text in ("shorter paths", "better separability")}
    | {"w follows the class better than z": below(runs, "class_accuracy", "none", deep)},
    f"With a hole in the data, a linear function tells {r2['Z']:.0%} of the attributes from z and {r2['W']:.0%} from w "
    f"({in_hole:.1%} of the points are in the hole). On digits, the paths of the G without a mapping have a length of "
    f"{length['z']['none']:.1f}; all draw little variety (recall "
    + ", ".join(f"{label} {value:.2f}" for label, value in means(runs, "recall").items())
    + f"). Noise moves a pixel by {moved:.1f} of 255; FID with it {noisy_fid:.1f}, without {silent:.1f}.",
    r2=r2,
    path_length=length,
    separability=separable,
    class_accuracy=accuracy,
    noise={"moves": moved, "fid": noisy_fid, "fid_without": silent},
)
