# %% [markdown]
"""StyleGAN: why images should not be generated directly from z, and what w is good for.

python demos/stylegan.py              # two to three minutes
python demos/stylegan.py --full       # full MNIST, three seeds, at most 15 minutes per run
"""

# %% [markdown]
# ## Data with a hole in it
#
# z is drawn from a round cloud without holes. Real data have holes: combinations of attributes that
# do not occur. A G that generates images from z directly has to bend the cloud around the hole, and
# then a direction in z means different things in different places. StyleGAN inserts a mapping: w =
# f(z) can have any distribution, even one with a hole. To see this, we use points in a square as
# data. A point has two attributes, its coordinates, and one corner of the square is empty.
#
# ## The claims
#
# * On points: fewer samples are in the hole with a mapping than without (three seeds of the same
#   synthesis network, with a mapping of four layers in front of it, and without: a mapping is depth
#   that the synthesis itself need not have). G must reach the data, too: if its samples occupy less
#   than three quarters of the places that real points occupy, the run has failed.
# * On points: W is straighter than Z. A linear function of w explains more of the attributes than
#   one of z, in the same G: the unexplained share is smaller.
# * On digits: in the same G, paths in W are shorter than paths in Z, and W is better separable.
# * On digits: a mapping makes paths shorter: those in the W of a G with a mapping are shorter than
#   those in the Z of a G without one.
# * On digits: a G with a mapping follows the class better: fewer of its samples show another digit
#   than the requested one (the class error is smaller).
#
# The rule, fixed before the runs: a claim holds if all seeds of one side are beyond all seeds of
# the other, and the medians differ by at least a tenth. It is reversed if the same is true the
# other way round, and otherwise undecided at this scale. Path lengths mean little for a G of little
# variety: a run with a recall below .3 has failed, and a claim about lengths or about separability
# with a failed run is undecided. The class error counts for all runs that did not diverge.

# %%
import numpy as np

from tinygan import data, grad, nn, optim, tensor
from tinygan.gan import losses, penalties
from tinygan.metrics import Evaluator
from tinygan.metrics.extractor import Extractor
from tinygan.metrics.path_length import path_lengths, perceptual_path_length
from tinygan.metrics.separability import attributes, separability
from tinygan.study import (
    COLORS,
    Comparison,
    Study,
    median,
    median_and_all,
    median_over_seeds,
    plot_images,
)
from tinygan.training.sampling import generate, latents, load_networks

STUDY_SIZE = None  # in a notebook: "tiny" (seconds), "fast" (the default) or "full" (hours)
study = Study("stylegan", __doc__, size=STUDY_SIZE)


def points(n, rng):
    """Draw n points (n, 2) from the square from -1 to 1 without its upper right quarter."""
    in_square = rng.uniform(-1, 1, (2 * n, 2)).astype(np.float32)
    return in_square[~(in_square > 0).all(1)][:n]


def perceptron(*widths, rng):
    layers = []
    for a, b in zip(widths, widths[1:]):
        layers += [nn.Linear(a, b, rng=rng), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])


def train_on_points(seed, with_mapping):
    """Train G = synthesis(mapping(z)), or synthesis(z). The synthesis network is small, so that the
    mapping has to do the bending. Return (z, w, generated points) of 4,000 samples."""
    rng = np.random.default_rng(seed)
    mapping = perceptron(2, 64, 64, 64, 2, rng=rng) if with_mapping else nn.Sequential()
    synthesis, D = perceptron(2, 16, 2, rng=rng), perceptron(2, 64, 64, 64, 1, rng=rng)
    loss, weights = losses.find("bce"), [*mapping.parameters(), *synthesis.parameters()]
    g_optimizer, d_optimizer = (
        optim.Adam(p, lr=1e-3, betas=(0.0, 0.99)) for p in (weights, D.parameters())
    )
    for _ in range(study.choose(20, 6000, 20_000)):
        reals, z = points(256, rng), rng.standard_normal((256, 2), dtype=np.float32)
        fakes = synthesis(mapping(tensor(z)))
        d_loss = loss.discriminator(D(reals), D(fakes.detach())) + 0.1 * penalties.r1(D, reals)
        d_optimizer.step(grad(d_loss, D.parameters()))
        g_optimizer.step(grad(loss.generator(None, D(fakes)), weights))
    z = rng.standard_normal((4000, 2), dtype=np.float32)
    w = mapping(tensor(z)).detach()
    return z, w.numpy(), synthesis(w).detach().numpy()


def unexplained(latent, generated):
    """Return the share of the two attributes' variance that no linear function of the latents
    explains, 1 - R^2."""
    inputs = np.column_stack([latent, np.ones(len(latent))])
    residuals = generated - inputs @ np.linalg.lstsq(inputs, generated, rcond=None)[0]
    return float((residuals**2).sum() / ((generated - generated.mean(0)) ** 2).sum())


def places(found):
    """Return how many of 20 x 20 places of the square outside the hole hold one of the points."""
    inside = found[(np.abs(found) < 1).all(1) & ~(found > 0).all(1)]
    return len(np.unique(np.floor(10 * inside).astype(int), axis=0))


def measure_points(seed, with_mapping):
    z, w, generated = train_on_points(seed, with_mapping)
    return {
        "hole": float((generated > 0.1).all(1).mean()),
        "places": places(generated) / places(points(len(generated), np.random.default_rng(1))),
        "unexplained by z": unexplained(z, generated),
        "unexplained by w": unexplained(w, generated),
        **(
            {"shown": [x.round(3).tolist() for x in (z, w, generated)]}
            if seed == study.seeds[0]
            else {}
        ),
    }


on_points = {
    label: [
        study.cached(f"points-{key}-{seed}", lambda s=seed, m=with_mapping: measure_points(s, m))
        for seed in study.seeds
    ]
    for label, key, with_mapping in (("mapping", "mapping", True), ("no mapping", "none", False))
}
reaches = lambda row: study.size == "tiny" or row["places"] >= 0.75
of_points = lambda label, key: [row[key] if reaches(row) else None for row in on_points[label]]
in_percent = lambda values: [x if x is None else 100 * x for x in values]
study.table(
    ("points", "in the hole", "unexplained by z", "unexplained by w", "places reached"),
    *(
        (
            label,
            *(
                median_and_all(in_percent(of_points(label, key)), 1) + "%"
                for key in ("hole", "unexplained by z", "unexplained by w")
            ),
            median_and_all(in_percent(row["places"] for row in on_points[label]), 0) + "%",
        )
        for label in on_points
    ),
)

# %% [markdown]
# ## Digits: a mapping of 2 layers, and none
#
# The paper compares W and Z by two measures. Path length: how far do images move along a path
# (shorter is smoother)? Separability: how well does a hyperplane separate images by properties such
# as their slant (less is better)? We also ask whether G follows the class better with a mapping
# than without one. (Without a mapping, w is the concatenation of z and the embedding of the
# class, which is twice as long as a style.) With the recipe's loss and growing, the recall was
# below .1 after ten minutes. In one run with the relativistic loss, R1 and R2, at full size from
# the start and without style mixing, it was .34 after 6,000 steps (.30 with penalties of 1 instead
# of 10). We train longer.

# %%
name = study.choose("digits", "digits", "mnist")
test = data.load(name, "test")
evaluator, extractor = Evaluator(test.subset(slice(study.choose(200, 1000, None)))), Extractor(name)
n = study.choose(100, 1000, 5000)
psis = (0.0, 0.5, 1.0) if study.size != "full" else (0.0, 0.3, 0.5, 0.7, 0.9, 1.0, 1.2)


def styles(folder):
    """Measure path lengths, separability, truncation in W for each psi, how far noise moves a
    pixel, and the FID without noise."""
    G, _ = load_networks(folder)
    paths = {
        space: perceptual_path_length(path_lengths(G, name, study.choose(10, 200, 1000), space))
        for space in "zw"
    }
    rng = np.random.default_rng(3)
    z, labels = latents(rng, n, G), rng.integers(10, size=n)
    images = generate(G, z, labels)
    image_attributes = attributes(images, extractor(images)[1][:, 0])
    image_attributes = dict(list(image_attributes.items())[: study.choose(2, None, None)])
    codes = {
        "z": np.concatenate([z.numpy(), np.eye(10)[labels]], 1),
        "w": G.mapping(z, labels).detach().numpy(),
    }
    scores = {
        space: float(np.exp(sum(separability(codes[space], image_attributes).values())))
        for space in "zw"
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
    fid_without_noise = evaluator.quick(generate(G, z, labels), labels)["fid"]
    for module in noises:
        module.mode = "random"
    draws = [generate(G, z[:20], labels[:20]) for _ in range(study.choose(2, 20, 50))]
    moved = np.stack(draws).std(0).mean()
    return {
        "path_length": paths,
        "separability": scores,
        "truncation": truncated,
        "noise": float(moved),
        "fid_without_noise": fid_without_noise,
    }


runs = study.train(
    {"2 layers": "mapping_layers=2", "none": "mapping_layers=0 style=128"},
    "stylegan",
    "grow=false loss=relativistic r1=10 r2=10 mixing=0",
    steps=study.choose(2, 850, 7500),
    also=styles,
    least_recall=0.3,
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
    {space: median_over_seeds(runs, f"also.{key}.{space}") for space in "zw"}
    for key in ("path_length", "separability")
)


# %% [markdown]
# ## One G: mixed styles and noise


# %%
def mixed():
    """Generate ten images, ten others, and images with the coarse styles of the others and the fine
    styles of the first."""
    G, _ = load_networks(runs["2 layers"][0].folder)
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
    """Generate ten images with fixed noise and without noise, and show how far noise moves each
    pixel: white is 64 of 255."""
    G, _ = load_networks(runs["2 layers"][0].folder)
    rng, rows = np.random.default_rng(1), {}
    z = latents(rng, 10, G)
    for mode, draws in (("fixed", 1), ("none", 1), ("random", study.choose(2, 20, 50))):
        for _, module in G.modules():
            if isinstance(module, nn.Noise):
                module.mode, module.rng = mode, rng
        rows[mode] = np.stack([generate(G, z, np.arange(10)) for _ in range(draws)])
    moved = np.clip(4 * rows["random"].std(0), 0, 255).astype(np.uint8)
    return np.concatenate([rows["fixed"][0], rows["none"][0], moved])


mixing, noisy = study.cached_images("mixing", mixed), study.cached_images("noise", noise)
moved, fid_without_noise = (
    median_over_seeds(runs, f"also.{key}")["2 layers"] for key in ("noise", "fid_without_noise")
)
good = [run for run in runs["2 layers"] if not run.failed]
fid_with_noise = median(run.also["truncation"][psis.index(1.0)]["fid"] for run in good)
print(
    f"noise moves a pixel by {moved:.1f} of 255, on average; FID with noise {fid_with_noise:.2f}, "
    f"without {fid_without_noise:.2f}"
)

# %% [markdown]
# ## The figures

# %%
z, w, generated = (np.array(x) for x in on_points["mapping"][0]["shown"])
explained = {space: 1 - median(of_points("mapping", f"unexplained by {space}")) for space in "zw"}
real_points = points(4000, np.random.default_rng(1))
figure, panels = study.figure("abc", 5.2)
for letter, where, shown, name, title in (
    ("a", real_points, real_points, "attribute", "data, with a hole"),
    ("b", z, generated, "z", f"Z: a line explains {explained['z']:.0%}"),
    ("c", w, generated, "w", f"W: a line explains {explained['w']:.0%}"),
):
    ax = panels[letter]
    hue = np.column_stack([shown[:, 0], np.full(len(shown), -0.6), shown[:, 1]]) / 2 + 0.5
    ax.scatter(*where.T, c=np.clip(hue, 0, 1), s=3)
    if letter != "a":
        for i, color in enumerate(("black", "gold")):
            levels = (-0.8, -0.4, 0, 0.4, 0.8)
            ax.tricontour(*where.T, generated[:, i], levels, colors=color, linewidths=1.5)
    low, high = np.percentile(where, (1, 99), axis=0)
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xticks=(), yticks=())
    ax.set(title=title, xlabel=f"{name} 1", ylabel=f"{name} 2")
study.save_figure(
    figure,
    f"The data have a hole; a line explains {explained['z']:.0%} of the attributes in Z, a round "
    f"cloud, and {explained['w']:.0%} in W\n(lines: where an attribute is equal)",
)
figure, panels = study.figure("ab;cc;dd", 14, height_ratios=(1, 0.85, 0.85))
for letter, means, key in zip("ab", (length, separable), ("path_length", "separability")):
    ax = panels[letter]
    for i, label in enumerate(runs):
        for j, space in enumerate("zw"):
            at = i + 0.4 * j - 0.2
            values = [run.number_or_none(f"also.{key}.{space}") for run in runs[label]]
            shown = [value for value in values if value is not None]
            legend = None if i else space.upper()
            ax.bar(
                at,
                np.nan_to_num(means[space][label]),
                0.4,
                color=COLORS[j],
                alpha=0.7,
                label=legend,
            )
            ax.plot([at] * len(shown), shown, "k.", markersize=6)
    ax.set_xticks(range(len(runs)), ["mapping of 2 layers", "none (W: z and class)"])
    ax.set_title(f"{key.replace('_', ' ')} (lower is better)")
    ax.legend(frameon=False)
classes = list("0123456789")
plot_images(
    panels["c"],
    np.concatenate([runs["2 layers"][0].images[:10], runs["none"][0].images[:10], noisy]),
    10,
    "samples of the first seed, and what noise does",
    ["2 layers", "no mapping", "fixed noise", "no noise", "moved by noise"],
    classes,
)
plot_images(
    panels["d"],
    mixing,
    10,
    "mixed styles",
    ["images", "others", "coarse styles of the others,\nfine ones of the images"],
)
study.save_figure(figure, "Digits: is W smoother and better separable than Z?", part="digits")
figure, panels = study.figure("a", 4.6)
truncated, at = {}, [psis.index(psi) for psi in (1.0, 0.5)]
for (key, name), color in zip(
    {"precision": "precision", "recall": "recall", "class_accuracy": "class accuracy"}.items(),
    COLORS,
):
    truncated[key] = [
        median(run.also["truncation"][i][key] for run in good) for i in range(len(psis))
    ]
    panels["a"].plot(psis, truncated[key], color, marker="o", label=name, linewidth=2)
panels["a"].set(title="higher is better", xlabel="psi (truncation in W)", ylim=(0, 1.05))
panels["a"].legend(frameon=False)
panels["a"].grid(alpha=0.3)
precision, variety = ([truncated[key][i] for i in at] for key in ("precision", "recall"))
study.save_figure(
    figure,
    "Truncated in W, from psi = 1 to 0.5: the precision goes from {:.2f} to {:.2f},\n"
    "the recall from {:.2f} to {:.2f}".format(*precision, *variety),
    part="truncation",
)

# %% [markdown]
# ## The result

# %%
deep, none = "2 layers", "none"
accuracy = {label: median(run.class_accuracy for run in of) for label, of in runs.items()}
of = lambda label, path: [run.number_or_none(path) for run in runs[label]]
between = lambda key, quantity: Comparison(
    quantity, ("W", "Z"), (of(deep, f"also.{key}.w"), of(deep, f"also.{key}.z"))
)
class_errors = lambda label: [np.inf if r.diverged else r.class_error for r in runs[label]]
claims = {
    "a mapping keeps points out of the hole": Comparison(
        "share in the hole",
        ("mapping", "no mapping"),
        (of_points("mapping", "hole"), of_points("no mapping", "hole")),
    ),
    "W is straighter than Z": Comparison(
        "unexplained share",
        ("W", "Z"),
        (of_points("mapping", "unexplained by w"), of_points("mapping", "unexplained by z")),
    ),
    "W has shorter paths": between("path_length", "path length"),
    "W has better separability": between("separability", "separability"),
    "a mapping makes paths shorter": Comparison(
        "path length",
        ("W of 2 layers", "Z of none"),
        (of(deep, "also.path_length.w"), of(none, "also.path_length.z")),
    ),
    "w follows the class better than z": Comparison(
        "class error", ("2 layers", "none"), (class_errors(deep), class_errors(none))
    ),
}
failed = sum(run.failed for group in runs.values() for run in group)
study.finding(
    f"In the same G, the path length is {length['w'][deep]:.1f} in W and {length['z'][deep]:.1f} "
    f"in Z, and the separability {separable['w'][deep]:.2f} and {separable['z'][deep]:.2f}. "
    f"Without a mapping, the path length is {length['z'][none]:.1f}. The class accuracy is "
    f"{accuracy[deep]:.1%} with 2 mapping layers and {accuracy[none]:.1%} with none (all are "
    "medians).",
    claims,
    f"For data with a hole, a linear function of z explains {explained['z']:.0%} of the variance "
    f"of the attributes, and one of w {explained['w']:.0%}; "
    f"{median(of_points('mapping', 'hole')):.1%} of the points are in the hole with a mapping, "
    f"{median(of_points('no mapping', 'hole')):.1%} without. On digits, {failed} of "
    f"{sum(map(len, runs.values()))} runs have a recall below .3; the recall is "
    + ", ".join(f"{median_and_all([r.recall for r in g])} ({label})" for label, g in runs.items())
    + f". Noise moves a pixel by {moved:.1f} of 255; the FID is {fid_with_noise:.1f} with noise "
    f"and {fid_without_noise:.1f} without.",
    explained=explained,
    path_length=length,
    separability=separable,
    class_accuracy=accuracy,
    noise={"moves": moved, "fid": fid_with_noise, "fid_without": fid_without_noise},
)
