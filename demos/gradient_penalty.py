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

# %%
import numpy as np

from tinygan import data, grad, tensor
from tinygan.files import checkpoint
from tinygan.gan import losses, penalties
from tinygan.study import (
    Study,
    clearly_below,
    mean_and_range,
    mean_over_seeds,
    plot_images,
    plot_log,
    set_log_scale,
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
last, fid = mean_over_seeds(runs, "also.last"), mean_over_seeds(runs, "fid")
study.compare("penalty", runs, {"slope of D in the end": ("also.last", 2), "FID": ("fid", 2)})

# %% [markdown]
# ## The figure

# %%
figure, axes = study.figure(11, 4.2, 2, 4, height_ratios=(1.7, 1))
reach = max(np.abs(points).max() for points in games.values())
grid = np.linspace(-reach, reach, 13)
theta, psi = map(np.ravel, np.meshgrid(grid, grid))
for ax, (name, points), gamma in zip(axes[0], games.items(), (0.0, 0.5)):
    ax.quiver(theta, psi, *descent_directions(theta, psi, gamma), color="silver")
    ax.plot(*points.T, "C0" if gamma == 0 else "C1", linewidth=1)
    ax.plot(*points[0], "ko", markersize=4)
    ax.plot(0, 0, "k+")
    ax.set(
        title=f"{name}: ends {distance[name]:.2f} away",
        xlabel="theta (what G draws)",
        ylabel="psi (slope of D)",
        xlim=(-1.1 * reach, 1.1 * reach),
        ylim=(-1.1 * reach, 1.1 * reach),
    )
for i, (label, group) in enumerate(runs.items()):
    for run in group:
        axes[0, 2].plot(
            *zip(*run.also["steepness"]), color=f"C{i}", label=label if run is group[0] else None
        )
axes[0, 2].set(xlabel="step", ylabel="slope of D at real images")
set_log_scale(axes[0, 2])
axes[0, 2].set_ylim(top=8)
plot_log(axes[0, 3], runs, "d_accuracy", "share that D judges rightly")
for ax in axes[0, 2:]:
    ax.grid(alpha=0.3)
    ax.legend(frameon=False, fontsize=7)
for ax, (label, group) in zip(axes[1], runs.items()):
    plot_images(
        ax, group[0].images, 10, f"{label}:\nFID {mean_and_range(run.fid for run in group)}"
    )
axes[1, 3].set_axis_off()
study.save_figure(figure, axes[0, 0], axes[0, 1])

# %% [markdown]
# ## The result

# %%
flat = all(
    clearly_below(runs, "also.last", label, "without") for label in runs if label != "without"
)
better = any(clearly_below(runs, "fid", label, "without") for label in runs if label != "without")
study.finding(
    f"R1 {'keeps D flat' if flat else 'does not clearly keep D flat here'}: the mean length of D's "
    "gradient at real digits is "
    + ", ".join(f"{last[label]:.2f} ({label})" for label in runs)
    + f". The digits are {'better' if better else 'not clearly better'} (FID "
    + ", ".join(f"{value:.1f}" for value in fid.values())
    + ").",
    {"R1 keeps D flat": flat, "R1 makes better digits": better},
    f"The game of two numbers starts at a distance of {start:.2f} from its solution. It ends at a "
    f"distance of {distance['without']:.2f} without R1, and of {distance['with R1']:.3f} with R1.",
    distance={"start": start} | distance,
    slope=last,
    fid=fid,
)
