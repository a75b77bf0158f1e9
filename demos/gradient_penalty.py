# %% [markdown]
"""R1 keeps D's gradient at real images small: first in a game of two numbers, then on digits.

python demos/gradient_penalty.py              # one to two minutes
python demos/gradient_penalty.py --full       # full MNIST, three seeds, a few minutes per run
"""

# %% [markdown]
# ## The smallest GAN (the Dirac-GAN of Mescheder et al. 2018)
#
# All real images are the number 0. G generates one number, theta. D is a line through the origin:
# D(x) = psi x. The solution is theta = 0 and psi = 0: G generates the real number, and D cannot
# tell real from fake. But when theta is 0 and psi is not, D's gradient psi still pushes theta away
# from 0. So theta and psi circle around the solution forever. R1 adds gamma/2 psi^2, the penalty on
# D's gradient at the reals, and the circle becomes a spiral into the solution.
#
# ## The claims
#
# * The game of two numbers converges with R1, and not without. This is computed, so no seeds are
#   involved.
# * R1 keeps D flat: in the end, the mean length of D's gradient at real digits is smaller than
#   without, for both weights.
# * R1 makes better digits: for both weights, the FID is smaller than without, and the recall is
#   larger.
#
# The networks are those of a DCGAN, and nothing but the weight gamma differs.
#
# The rule, fixed before the runs: a claim holds if all seeds of one side are beyond all seeds of
# the other, and the medians differ by at least a tenth. It is reversed if the same is true the
# other way round, and otherwise undecided at this scale. A run with a recall below .05 has failed,
# and counts as worse than any other.

# %%
import numpy as np

from tinygan import data, grad, tensor
from tinygan.files import checkpoint
from tinygan.gan import losses, penalties
from tinygan.study import (
    COLORS,
    Study,
    larger,
    median_and_all,
    median_over_seeds,
    plot_images,
    plot_log,
    set_log_scale,
    smaller,
)
from tinygan.training.sampling import load_networks

STUDY_SIZE = None  # in a notebook: "tiny" (seconds), "fast" (the default) or "full" (hours)
study = Study("gradient_penalty", __doc__, size=STUDY_SIZE)
minimax = losses.find("bce-minimax")  # the original zero-sum game


def descent_directions(theta, psi, gamma):
    """Return the directions in which G moves theta and D moves psi: the negative gradients of their
    losses, at arrays of points."""
    theta, psi = (tensor(x, requires_grad=True, dtype="float64") for x in (theta, psi))
    D = lambda x: psi * x
    n = theta.size  # the losses are means over the points; each point is a game of its own
    d_loss = minimax.discriminator(D(0.0), D(theta))
    d_loss = d_loss + 0.5 * gamma * (psi * psi).mean()  # R1: the gradient of D is psi everywhere
    g_loss = minimax.generator(None, D(theta))
    return -n * grad(g_loss, theta, retain_graph=True).numpy(), -n * grad(d_loss, psi).numpy()


def play(gamma, steps=500, rate=0.1):
    """Return the points (theta, psi) of a game in which both networks move at once.

    Steps have a finite length, so that circles drift outwards.
    """
    points = [np.array([1.0, 1.0])]
    for _ in range(steps):
        theta, psi = points[-1]
        points.append(points[-1] + rate * np.concatenate(descent_directions([theta], [psi], gamma)))
    return np.array(points)


games = {"without": play(0.0), "with R1": play(0.5)}
start = np.linalg.norm(games["without"][0])
distance = {name: np.linalg.norm(points[-1]) for name, points in games.items()}
print(
    f"distance from the solution: {start:.2f} at the start; at the end: "
    + ", ".join(f"{name} {d:.3f}" for name, d in distance.items())
)

# %% [markdown]
# ## Digits
#
# This is D of a DCGAN, without batch-norm, so that nothing but the penalty limits its gradient. We
# measure the gradient at real training images, at several checkpoints: its length says how much the
# logit changes when the image changes a little.

# %%
reals = data.to_float(data.load("digits").images[:256])
steps = study.choose(4, 2400, 6000)
every = steps // study.choose(2, 12, 10)


def mean_gradient_length(folder):
    """Measure the mean length of D's gradient at real images, at each checkpoint of a run."""
    rows = []
    for path in checkpoint.checkpoints(folder):
        if checkpoint.step_of(path) % every:
            continue  # an extra checkpoint, written when the run was interrupted
        _, D = load_networks(path)
        gradients = penalties.image_gradients(D, reals).detach().numpy()
        lengths = np.linalg.norm(gradients.reshape(len(gradients), -1), axis=1)
        rows.append([checkpoint.step_of(path), float(lengths.mean())])
    return {"steepness": rows, "last": rows[-1][1]}


variants = {"without": "r1=0", "R1, gamma .2": "r1=0.2", "R1, gamma 2": "r1=2"}
runs = study.train(
    variants,
    "dcgan",
    "g_channels=16 d_channels=16 d_norm=none lr=1e-3 keep=1000",
    steps=steps,
    checkpoint_every=every,
    also=mean_gradient_length,
)
last, fid = median_over_seeds(runs, "also.last"), median_over_seeds(runs, "fid")
study.compare(
    "penalty",
    runs,
    {
        "slope of D in the end": ("also.last", 2),
        "FID": ("fid", 2),
        "precision": ("precision", 2),
        "recall": ("recall", 2),
    },
)

# %% [markdown]
# ## The figure

# %%
figure, panels = study.figure("ab;cd;ee", 12, height_ratios=(1, 1, 0.62))
reach = max(np.abs(points).max() for points in games.values())
grid = np.linspace(-reach, reach, 13)
theta, psi = map(np.ravel, np.meshgrid(grid, grid))
for letter, (name, points), gamma in zip("ab", games.items(), (0.0, 0.5)):
    axes = panels[letter]
    axes.quiver(theta, psi, *descent_directions(theta, psi, gamma), color="silver")
    axes.plot(*points.T, COLORS[0 if gamma == 0 else 1], linewidth=2)
    axes.plot(*points[0], "ko", markersize=8, label="start")
    axes.plot(0, 0, "k+", markersize=12, label="solution")
    axes.set(
        title=f"{name}: the game ends {distance[name]:.2f} away",
        xlabel="theta, the number that G generates",
        ylabel="psi, D's slope",
        xlim=(-1.1 * reach, 1.1 * reach),
        ylim=(-1.1 * reach, 1.1 * reach),
    )
    axes.legend(loc="upper right")
for i, (label, group) in enumerate(runs.items()):
    for run in group:
        panels["c"].plot(
            *zip(*run.also["steepness"]),
            color=COLORS[i],
            label=label if run is group[0] else None,
            linewidth=2,
        )
panels["c"].set(
    title="digits: the slope of D at real images",
    xlabel="step",
    ylabel="mean length of D's gradient",
)
set_log_scale(panels["c"])
plot_log(panels["d"], runs, "d_accuracy", "share of images that D tells right")
panels["d"].set_title("D still tells reals from fakes")
for letter in "cd":
    panels[letter].grid(alpha=0.3)
    panels[letter].legend(frameon=False)
plot_images(
    panels["e"],
    np.concatenate([group[0].images[:12] for group in runs.values()]),
    12,
    "samples, first seed",
    [f"{label}: FID {fid[label]:.1f}" for label in runs],
)

# %% [markdown]
# ## The result

# %%
with_r1 = [label for label in runs if label != "without"]
claims = {
    "with R1, the game of two numbers converges": distance["with R1"] < 0.01 * start
    and distance["without"] > start,
    "R1 keeps D flat": [smaller(runs, "also.last", label, "without", "slope") for label in with_r1],
    "R1 makes better digits": [
        compare(runs, path, label, "without", path)
        for label in with_r1
        for compare, path in ((smaller, "fid"), (larger, "recall"))
    ],
}
study.save_figure(figure, "R1 turns the circle into a spiral, and keeps D flat at the digits")
study.finding(
    "The mean length of D's gradient at real digits is "
    + ", ".join(f"{last[label]:.2f} ({label})" for label in runs)
    + ", and the FID is "
    + ", ".join(f"{value:.1f}" for value in fid.values())
    + f". The game of two numbers starts {start:.2f} from its solution; it ends "
    f"{distance['without']:.2f} from it without R1, and {distance['with R1']:.3f} with R1.",
    claims,
    "FID, median and all seeds: "
    + ", ".join(
        f"{label} {median_and_all([run.number_or_none('fid') for run in group], 1)}"
        for label, group in runs.items()
    )
    + ".",
    distance={"start": start} | distance,
    slope=last,
    fid=fid,
)
