# %% [markdown]
"""The game of two networks, and its loss: cross-entropy, L2 or L1, on probabilities or on logits?

python demos/gan_losses.py              # one to two minutes
python demos/gan_losses.py --full       # full MNIST, three seeds, a few minutes per run
"""

# %% [markdown]
# ## The game
#
# D sees an image and estimates the probability that it is real. G generates images, and tries to
# make D wrong. A loss tells both networks how well they do. The lecture has three losses:
# cross-entropy, and the squared difference (L2) and the absolute difference (L1) between D's output
# and the target, which is 1 for real and 0 for fake. The lecture claims that all of them train, and
# that cross-entropy is used because it punishes a confident mistake hardest.
#
# ## The claims
#
# * All losses train: for each loss, the FID of the samples is smaller than that of an untrained G.
# * Cross-entropy generates better digits: its FID is smaller than that of each other loss.
# * Cross-entropy punishes a confident mistake hardest. This is computed, so no seeds are involved.
#
# The same DCGAN is trained with each loss; nothing else differs.
#
# The rule, fixed before the runs: a claim holds if all seeds of one side are beyond all seeds of
# the other, and the medians differ by at least a tenth. It is reversed if the same is true the
# other way round, and otherwise undecided at this scale. A run with a recall below .05 has failed,
# and counts as worse than any other.

# %%
import numpy as np

from tinygan import data, grad, optim, tensor
from tinygan.gan import losses
from tinygan.metrics import Evaluator
from tinygan.models import dcgan
from tinygan.study import (
    COLORS,
    Comparison,
    Study,
    median_and_all,
    median_over_seeds,
    plot_images,
    plot_log,
    set_log_scale,
    smaller,
)

STUDY_SIZE = None  # in a notebook: "tiny" (seconds), "fast" (the default) or "full" (hours)
study = Study("gan_losses", __doc__, size=STUDY_SIZE)
rng = np.random.default_rng(0)

# %% [markdown]
# ## First, D alone
#
# This D has a grid of logits, one for each of 7x7 overlapping patches of the image. G stays
# untrained. Within a few steps, D's probability goes to 1 on reals, and to 0 on fakes: if G does
# not learn, D wins. In the game, G has to keep up with D.

# %%
G, D = (
    dcgan.Generator(rng=rng, widths=(32, 16)),
    dcgan.Discriminator(rng=rng, widths=(16, 32), patches=True),
)
bce, digits = losses.find("bce"), data.load("digits")
optimizer = optim.Adam(D.parameters(), lr=1e-3, betas=(0.5, 0.999))
stages = study.choose((0, 4), (0, 20, 60, 149), (0, 20, 60, 149))  # the steps of the figure
z = rng.standard_normal((16, 100), dtype=np.float32)
alone, grids = [], []  # D's mean probabilities for reals and for fakes; and its grids, at stages
for step in range(stages[-1] + 1):
    reals, _ = digits.batch(step, batch_size=16, seed=0)
    reals[0] = data.to_float(digits.images[7])  # the real image of the figure
    z[1:] = rng.standard_normal((15, 100), dtype=np.float32)
    fakes = G(z).detach()
    on_reals, on_fakes = D(reals), D(fakes)
    probabilities = [logits.detach().sigmoid().numpy() for logits in (on_reals, on_fakes)]
    alone.append([float(p.mean()) for p in probabilities])
    if step in stages:
        grids.append([(x[0], p[0]) for x, p in zip((reals, fakes.numpy()), probabilities)])
    optimizer.step(grad(bce.discriminator(on_reals, on_fakes), D.parameters()))
print(f"D alone, after {len(alone)} steps: real {alone[-1][0]:.3f}, fake {alone[-1][1]:.3f}")
test = data.load(study.choose("digits", "digits", "mnist"), "test")
noise = data.to_uint8(G(rng.standard_normal((1000, 100), dtype=np.float32)).detach().numpy())
untrained = Evaluator(test).quick(noise)["fid"]  # a reference for the FIDs below

# %% [markdown]
# ## How hard is a mistake punished?
#
# For a real image, D outputs the logit s, or the probability p = sigmoid(s). The gradient of the
# loss pushes D towards the right answer. As a function of p, the push of cross-entropy is 1/p,
# which has no bound. But a network outputs s, and as a function of s the push of cross-entropy is 1
# - p, which is never above 1. The push of L2 on logits ("scores" below) is the distance itself,
# however large. L2 and L1 on probabilities hardly push at all where D is sure and wrong, because
# the sigmoid is flat there.

# %%
p, s = np.linspace(0.01, 0.999, 300), np.linspace(-8, 4, 300)


def push(loss, answers):
    """Return |d loss / d answer| for a real image, computed by the engine."""
    x = tensor(answers, requires_grad=True, dtype="float64")
    return np.abs(grad(loss(x).sum(), x).numpy())


of_probability = {
    "cross-entropy": push(lambda x: -x.log(), p),
    "L2": push(lambda x: 0.5 * (x - 1) ** 2, p),
    "L1": push(lambda x: (x - 1).abs(), p),
}
of_score = {
    "cross-entropy": push(lambda x: -x.sigmoid().log(), s),
    "L2 on scores": push(lambda x: 0.5 * (x - 1) ** 2, s),
    "L1 on scores": push(lambda x: (x - 1).abs(), s),
    "L2 on probabilities": push(lambda x: 0.5 * (x.sigmoid() - 1) ** 2, s),
    "L1 on probabilities": push(lambda x: (x.sigmoid() - 1).abs(), s),
}
study.table(
    ("of probabilities", *of_probability),
    ("push at p = .01", *(f"{values[0]:.2f}" for values in of_probability.values())),
)
study.table(
    ("of raw scores", *of_score),
    ("push at s = -8", *(f"{values[0]:.4f}" for values in of_score.values())),
)

# %% [markdown]
# ## The effect on training
#
# The same DCGAN is trained with each of the losses.

# %%
variants = {
    "cross-entropy": "loss=bce",
    "L2 on scores": "loss=l2",
    "L1 on scores": "loss=l1",
    "L2 on probabilities": "loss=l2-sigmoid",
    "L1 on probabilities": "loss=l1-sigmoid",
}
runs = study.train(
    variants, "dcgan", "g_channels=16 d_channels=16 lr=1e-3", steps=study.choose(4, 1800, 8000)
)
largest_gradient = {
    label: max(max(run.log["d_grad_norm"]) for run in group) for label, group in runs.items()
}
study.table(
    ("loss", "FID", "precision", "recall", "largest mean gradient of D"),
    *(
        (
            label,
            *(
                median_and_all([run.number_or_none(key) for run in group], 2)
                for key in ("fid", "precision", "recall")
            ),
            f"{largest_gradient[label]:.2f}",
        )
        for label, group in runs.items()
    ),
)

# %% [markdown]
# ## The figure

# %%
figure, panels = study.figure("ab;cc", 9.6, height_ratios=(1, 1.35))
for (name, values), color in zip(of_probability.items(), COLORS):
    panels["a"].plot(p, values, color, label=name, linewidth=2)
panels["a"].set(
    title="measured on D's probability",
    xlabel="D's probability for a real image",
    ylabel="gradient of the loss",
    ylim=(0.1, 120),
)
for (name, values), color in zip(of_score.items(), COLORS):
    panels["b"].plot(s, values, color, label=name, linewidth=2)
panels["b"].set(
    title="measured on D's logit",
    xlabel="D's logit for a real image",
    ylabel="gradient of the loss",
    ylim=(0.01, 1000),
)
for letter in "ab":
    set_log_scale(panels[letter])
    panels[letter].legend(frameon=False, loc="upper right")
    panels[letter].grid(alpha=0.3)
fid = median_over_seeds(runs, "fid")
plot_images(
    panels["c"],
    np.concatenate([group[0].images[:10] for group in runs.values()]),
    10,
    "samples of each loss, first seed (FID: lower is better)",
    [f"{label}: FID {fid[label]:.1f}" for label in runs],
)
filling, panels = study.figure(
    [[f"{kind} {step}" for step in stages] for kind in ("real", "fake")], 7
)
for step, pair in zip(stages, grids):
    for kind, (image, probability) in zip(("real", "fake"), pair):
        axes, size = panels[f"{kind} {step}"], len(probability)
        axes.imshow(image[..., 0], "gray", vmin=-1, vmax=3, extent=(0, size, size, 0))
        axes.imshow(probability, "RdBu", vmin=0, vmax=1, alpha=0.45, extent=(0, size, size, 0))
        for row, column in np.ndindex(probability.shape):
            axes.text(
                column + 0.5,
                row + 0.5,
                f"{probability[row, column]:.1f}",
                ha="center",
                va="center",
                color="white",
            )
        axes.set(title=f"{kind}, step {step}", xticks=(), yticks=())
alone_and_together, panels = study.figure("ab", 4.2)
for column, (kind, color) in enumerate(zip(("real", "fake"), COLORS)):
    panels["a"].plot(np.array(alone)[:, column], color, label=kind, linewidth=2)
    first_seed = {kind: runs["cross-entropy"][:1]}
    plot_log(panels["b"], first_seed, f"d_{kind}", color=color)
panels["a"].set(title="D alone", xlabel="step")
panels["b"].set(title="D and G")
for axes in panels.values():
    axes.set(ylabel="mean of D's probability", ylim=(0, 1))
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)

# %% [markdown]
# ## The result

# %%
hardest = lambda pushes: max(pushes, key=lambda name: pushes[name][0])
on_probability, on_logit = hardest(of_probability), hardest(of_score)
first = "cross-entropy"
scores = {label: [run.number_or_none("fid") or np.inf for run in runs[label]] for label in runs}
trains = [
    Comparison("FID", (label, "an untrained G"), (fids, [untrained]))
    for label, fids in scores.items()
]
trained = [comparison.labels[0] for comparison in trains if comparison.verdict() == "holds"]
study.save_figure(
    figure,
    f"{len(trained)} of {len(runs)} losses train; which one punishes a sure mistake hardest\n"
    "depends on D's output: is it a probability or a logit?",
)
study.save_figure(
    filling,
    "Cross-entropy drives D's grid of outputs to 1 on a real image, and to 0 on a fake",
    part="grid",
)
study.save_figure(
    alone_and_together,
    "D alone soon tells reals from fakes; with G, it stays in doubt",
    part="game",
)
study.finding(
    f"{len(trained)} of {len(runs)} losses train (median FID {min(fid.values()):.1f} to "
    f"{max(fid.values()):.1f}, against {untrained:.0f} for an untrained G). Measured on D's "
    f"probability, {on_probability} punishes a confident mistake hardest (a gradient of "
    f"{of_probability['cross-entropy'][0]:.0f} at p = .01, against {of_probability['L2'][0]:.2f} "
    f"for L2). Measured on D's logit, {on_logit} punishes it hardest (a gradient of "
    f"{of_score['L2 on scores'][0]:.0f} at a logit of -8, against "
    f"{of_score['cross-entropy'][0]:.2f} for cross-entropy).",
    {
        "all losses train": trains,
        "cross-entropy generates better digits": [
            smaller(runs, "fid", first, label, "FID") for label in runs if label != first
        ],
        "on probabilities, cross-entropy punishes confident mistakes hardest": on_probability
        == first,
        "on logits, cross-entropy punishes confident mistakes hardest": on_logit == first,
    },
    f"If D trains alone, its mean probability after {len(alone)} steps is {alone[-1][0]:.2f} for "
    f"reals and {alone[-1][1]:.2f} for fakes. FID, median and all seeds: "
    + ", ".join(f"{label} {median_and_all(fids, 1)}" for label, fids in scores.items())
    + ".",
    alone=alone[-1],
    untrained=untrained,
    fid=fid,
    largest_gradient=largest_gradient,
    push_at_p={name: values[0] for name, values in of_probability.items()},
    push_at_score={name: values[0] for name, values in of_score.items()},
)
