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
# that cross-entropy punishes a confident mistake hardest.

# %%
import numpy as np

from tinygan import data, grad, optim, tensor
from tinygan.gan import losses
from tinygan.metrics import Evaluator
from tinygan.models import dcgan
from tinygan.study import (
    Study,
    mean_and_range,
    mean_over_seeds,
    plot_images,
    plot_log,
    set_log_scale,
)

STUDY_SIZE = None  # in a notebook: "tiny" (seconds), "fast" (the default) or "full" (hours)
study = Study("gan_losses", __doc__, size=STUDY_SIZE)
rng = np.random.default_rng(0)

# %% [markdown]
# ## First, D alone
#
# First, G stays untrained. Within a few steps, D's probability goes to 1 for reals and to 0 for
# fakes: if G does not learn, D wins. In the game, G has to keep up with D.

# %%
G, D = dcgan.Generator(rng=rng, widths=(32, 16)), dcgan.Discriminator(rng=rng, widths=(16, 32))
bce, digits = losses.find("bce"), data.load("digits")
optimizer = optim.Adam(D.parameters(), lr=2e-4, betas=(0.5, 0.999))
alone = []  # D's mean probabilities for reals and for fakes, at each step
for step in range(study.choose(5, 60, 60)):
    reals, _ = digits.batch(step, batch_size=16, seed=0)
    on_reals, on_fakes = D(reals), D(G(rng.standard_normal((16, 100), dtype=np.float32)).detach())
    alone.append([logits.sigmoid().mean().item() for logits in (on_reals, on_fakes)])
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
fid = mean_over_seeds(runs, "fid")
largest_gradient = {
    label: max(max(run.log["d_grad_norm"]) for run in group) for label, group in runs.items()
}
study.table(
    ("loss", "FID", "largest mean gradient of D"),
    *(
        (label, mean_and_range(run.fid for run in group), f"{largest_gradient[label]:.2f}")
        for label, group in runs.items()
    ),
)

# %% [markdown]
# ## The figure

# %%
figure, axes = study.figure(11, 4.2, 2, 4, height_ratios=(1.7, 1))
for (name, values), color in zip(of_probability.items(), ("C0", "C1", "C2")):
    axes[0, 0].plot(p, values, color, label=name)
axes[0, 0].set(
    xlabel="D's probability for a real image", ylabel="push (gradient of the loss)", ylim=(0.1, 120)
)
for i, (name, values) in enumerate(of_score.items()):
    axes[0, 1].plot(s, values, f"C{i}", label=name)
axes[0, 1].set(xlabel="D's raw score for a real image", ylabel="push", ylim=(0.01, 300))
axes[0, 2].plot(np.array(alone), label=["real", "fake"])
axes[0, 2].set(xlabel="step", ylabel="D's probability", title="D alone", ylim=(0, 1))
for i, kind in enumerate(("real", "fake")):
    first_seed = {kind: runs["cross-entropy"][:1]}
    plot_log(axes[0, 3], first_seed, f"d_{kind}", "D's probability", color=f"C{i}")
axes[0, 3].set(title="D and G (cross-entropy)", ylim=(0, 1))
for ax in axes[0, :2]:
    set_log_scale(ax)
for ax in axes[0]:
    ax.legend(frameon=False, fontsize=6)
    ax.grid(alpha=0.3)
shown_losses = list(runs)[:3] + ["L1 on probabilities"]
for ax, label in zip(axes[1], shown_losses):
    plot_images(
        ax,
        runs[label][0].images,
        10,
        f"{label}:\nFID {mean_and_range(run.fid for run in runs[label])}",
    )
study.save_figure(figure, axes[0, 0], axes[0, 1])

# %% [markdown]
# ## The result

# %%
hardest = lambda pushes: max(pushes, key=lambda name: pushes[name][0])
on_probability, on_logit = hardest(of_probability), hardest(of_score)
trained = [label for label in fid if fid[label] < untrained / 3]
study.finding(
    f"{len(trained)} of {len(fid)} losses train (FID {min(fid.values()):.1f} to "
    f"{max(fid.values()):.1f}, against {untrained:.0f} for an untrained G). Measured on D's "
    f"probability, {on_probability} punishes a confident mistake hardest (a gradient of "
    f"{of_probability['cross-entropy'][0]:.0f} at p = .01, against {of_probability['L2'][0]:.2f} "
    f"for L2). Measured on D's logit, {on_logit} punishes it hardest (a gradient of "
    f"{of_score['L2 on scores'][0]:.0f} at a logit of -8, against "
    f"{of_score['cross-entropy'][0]:.2f} for cross-entropy).",
    {
        "all losses train": len(trained) == len(fid),
        "on probabilities, cross-entropy punishes confident mistakes hardest": on_probability
        == "cross-entropy",
        "on logits, L2 punishes confident mistakes hardest": on_logit == "L2 on scores",
    },
    f"If D trains alone, its mean probability after {len(alone)} steps is {alone[-1][0]:.2f} for "
    f"reals and {alone[-1][1]:.2f} for fakes. A loss counts as one that trains if its mean FID is "
    "below a third of an untrained G's. FID: "
    + ", ".join(
        f"{label} {mean_and_range((run.fid for run in group), 1)}" for label, group in runs.items()
    )
    + ".",
    alone=alone[-1],
    untrained=untrained,
    fid=fid,
    largest_gradient=largest_gradient,
    push_at_p={name: values[0] for name, values in of_probability.items()},
    push_at_score={name: values[0] for name, values in of_score.items()},
)
