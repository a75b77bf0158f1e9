# %% [markdown]
"""StyleGAN: why images should not be generated directly from z, and what w is good for.

python demos/stylegan.py              # two to three minutes
python demos/stylegan.py --full       # full MNIST, three seeds, at most ten minutes per run
"""

# %% [markdown]
# ## Data with a hole in it
#
# z is drawn from a round cloud without holes. Real data have holes: combinations of attributes that
# do not occur. A G that generates images from z directly has to bend the cloud around the hole, and
# then a direction in z means different things in different places. StyleGAN inserts a mapping: w =
# f(z) can have any distribution, even one with a hole. To see this, we use points in a square as
# data. A point has two attributes, its coordinates, and one corner of the square is empty.

# %%
import numpy as np

from tinygan import data, grad, nn, optim, tensor
from tinygan.gan import losses, penalties
from tinygan.metrics import Evaluator
from tinygan.metrics.extractor import Extractor
from tinygan.metrics.path_length import path_lengths, perceptual_path_length
from tinygan.metrics.separability import attributes, separability
from tinygan.study import Study, clearly_below, mean_over_seeds, plot_images
from tinygan.training.sampling import generate, latents, load_networks

STUDY_SIZE = None  # in a notebook: "tiny" (seconds), "fast" (the default) or "full" (hours)
study = Study("stylegan", __doc__, size=STUDY_SIZE)
rng = np.random.default_rng(0)


def points(n):
    """Draw n points (n, 2) from the square from -1 to 1 without its upper right quarter."""
    in_square = rng.uniform(-1, 1, (2 * n, 2)).astype(np.float32)
    return in_square[~(in_square > 0).all(1)][:n]


def perceptron(*widths):
    layers = []
    for a, b in zip(widths, widths[1:]):
        layers += [nn.Linear(a, b, rng=rng), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])


# G = synthesis(mapping(z)). The synthesis network is small, so that the mapping has to do the
# bending.
mapping, synthesis = perceptron(2, 64, 64, 64, 2), perceptron(2, 16, 2)
D = perceptron(2, 64, 64, 64, 1)
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
generated, w = synthesis(w).detach().numpy(), w.numpy()


def linear_r2(latent):
    """Return R^2, the share of the two attributes' variance that a linear function of the latents
    explains."""
    inputs = np.column_stack([latent, np.ones(len(latent))])
    residuals = generated - inputs @ np.linalg.lstsq(inputs, generated, rcond=None)[0]
    return 1 - (residuals**2).sum() / ((generated - generated.mean(0)) ** 2).sum()


r2 = {"Z": linear_r2(z), "W": linear_r2(w)}
in_hole = (generated > 0.1).all(1).mean()
print(
    f"points in the hole: {in_hole:.1%}; variance of the attributes that a linear function "
    f"explains: Z {r2['Z']:.1%}, W {r2['W']:.1%}"
)

# %% [markdown]
# ## Digits: a mapping of 8 layers, and none
#
# The paper compares W and Z by two measures. Path length: how far do images move along a path
# (shorter is smoother)? Separability: how well does a hyperplane separate images by properties such
# as their slant (less is better)? We also ask whether G follows the class better with a deep
# mapping than without one. (Without a mapping, w is the concatenation of z and the embedding of the
# class, which is twice as long as a style.)

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
    {space: mean_over_seeds(runs, f"also.{key}.{space}") for space in "zw"}
    for key in ("path_length", "separability")
)


# %% [markdown]
# ## One G: mixed styles and noise


# %%
def mixed():
    """Generate ten images, ten others, and images with the coarse styles of the others and the fine
    styles of the first."""
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
    """Generate ten images with fixed noise and without noise, and show how far noise moves each
    pixel: white is 64 of 255."""
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


mixing, noisy = study.cached_images("mixing", mixed), study.cached_images("noise", noise)
moved, fid_without_noise = (
    mean_over_seeds(runs, f"also.{key}")["8 layers"] for key in ("noise", "fid_without_noise")
)
fid_with_noise = float(
    np.mean([run.also["truncation"][psis.index(1.0)]["fid"] for run in runs["8 layers"]])
)
print(
    f"noise moves a pixel by {moved:.1f} of 255, on average; FID with noise {fid_with_noise:.2f}, "
    f"without {fid_without_noise:.2f}"
)

# %% [markdown]
# ## The figure

# %%
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
    shown = where if title.startswith("(a)") else generated
    colors = np.clip(
        np.column_stack([shown[:, 0], 0 * shown[:, 0] - 0.6, shown[:, 1]]) / 2 + 0.5, 0, 1
    )
    ax.scatter(*where.T, c=colors, s=2)
    if not title.startswith("(a)"):
        for i, color in enumerate(("black", "gold")):
            ax.tricontour(
                *where.T,
                generated[:, i],
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
for ax, means, key in zip(axes[0, 3:], (length, separable), ("path_length", "separability")):
    for i, label in enumerate(runs):
        for j, space in enumerate("zw"):
            at = i + 0.4 * j - 0.2
            values = [run.number(f"also.{key}.{space}") for run in runs[label]]
            ax.bar(
                at,
                means[space][label],
                0.4,
                color=f"C{j}",
                alpha=0.6,
                label=None if i else space.upper(),
            )
            ax.plot([at] * len(values), values, "k.", markersize=4)
    ax.set_xticks(range(len(runs)), ["8 layers", "none (W: z and class)"], fontsize=7)
    ax.set(ylabel=f"{key.replace('_', ' ')} (less is better)", xlabel="mapping")
    ax.legend(frameon=False, fontsize=7)
plot_images(axes[1, 0], runs["8 layers"][0].images, 10, "8 layers")
plot_images(axes[1, 1], runs["none"][0].images, 10, "no mapping")
plot_images(axes[1, 2], mixing, 10, "mixed: coarse styles of row 2,\nfine ones of row 1")
plot_images(axes[1, 3], noisy, 10, "noise: fixed, none,\nand how far it moves pixels")
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
study.save_figure(figure, axes[0, 1], axes[0, 2])

# %% [markdown]
# ## The result

# %%
accuracy, deep = mean_over_seeds(runs, "class_accuracy"), "8 layers"
w_is_better = [
    text
    for text, key in (("shorter paths", "path_length"), ("better separability", "separability"))
    if max(run.number(f"also.{key}.w") for run in runs[deep])
    < min(run.number(f"also.{key}.z") for run in runs[deep])
]
study.finding(
    f"W has {' and '.join(w_is_better) or 'neither shorter paths nor better separability'} than "
    f"the Z of the same G (path length {length['w'][deep]:.1f} against {length['z'][deep]:.1f}, "
    f"separability {separable['w'][deep]:.2f} against {separable['z'][deep]:.2f}). With 8 mapping "
    "layers, G follows the class "
    + (
        "better than"
        if clearly_below(runs, "class_accuracy", "none", deep)
        else "less well than"
        if clearly_below(runs, "class_accuracy", deep, "none")
        else "about as well as"
    )
    + f" with none (class accuracy {accuracy[deep]:.1%} against {accuracy['none']:.1%}).",
    {f"W has {text}": text in w_is_better for text in ("shorter paths", "better separability")}
    | {"w follows the class better than z": clearly_below(runs, "class_accuracy", "none", deep)},
    f"For data with a hole, a linear function of z explains {r2['Z']:.0%} of the attributes' "
    f"variance, and one of w {r2['W']:.0%} ({in_hole:.1%} of the points are in the hole). On "
    f"digits, the G without a mapping has a path length of {length['z']['none']:.1f}. Both Gs "
    "generate little variety (recall "
    + ", ".join(f"{label} {value:.2f}" for label, value in mean_over_seeds(runs, "recall").items())
    + f"). Noise moves a pixel by {moved:.1f} of 255; the FID is {fid_with_noise:.1f} with noise "
    f"and {fid_without_noise:.1f} without.",
    r2=r2,
    path_length=length,
    separability=separable,
    class_accuracy=accuracy,
    noise={"moves": moved, "fid": fid_with_noise, "fid_without": fid_without_noise},
)
