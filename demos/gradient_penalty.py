"""R1 keeps D's response to its input small: a game of two numbers, then digits.

python demos/gradient_penalty.py              # one to two minutes
python demos/gradient_penalty.py --full       # full MNIST, three seeds, some minutes a run
"""

# %% The smallest GAN (the Dirac-GAN of Mescheder et al. 2018)
# All real images are the number 0. G draws one number, theta. D is a line through the origin: D(x) = psi x. The right
# answer is theta = 0, after which D has nothing to say, psi = 0. But where theta = 0 and psi is not, D's slope still
# pushes G away: the two chase each other in circles around the answer, forever. R1 charges D for its slope at the
# reals, gamma/2 psi^2, and the circle becomes a spiral into the middle.
import numpy as np

from tinygan import data, grad, tensor
from tinygan.files import checkpoint
from tinygan.gan import losses, penalties
from tinygan.study import Study, below, curves, logarithmic, means, show, span
from tinygan.training.sampling import load_networks

study = Study(__file__, __doc__)
minimax = losses.find("bce-minimax")  # the original game: what G loses, D wins


def slopes_of_both(theta, psi, gamma):
    """The directions in which G moves theta and D moves psi: minus their gradients, at arrays of points."""
    theta, psi = (tensor(x, requires_grad=True, dtype="float64") for x in (theta, psi))
    D = lambda x: psi * x
    n = theta.size  # the losses are means over the points, each of which is a game of its own
    d_loss = (
        minimax.discriminator(D(0.0), D(theta)) + 0.5 * gamma * (psi * psi).mean()
    )  # R1: the slope of D is psi everywhere
    g_loss = minimax.generator(None, D(theta))
    return -n * grad(g_loss, theta, retain_graph=True).numpy(), -n * grad(d_loss, psi).numpy()


def play(gamma, steps=500, rate=0.1):
    """The points (theta, psi) of a game in which both move at once. Steps are of finite length: circles drift outwards."""
    points = [np.array([1.0, 1.0])]
    for _ in range(steps):
        theta, psi = points[-1]
        points.append(points[-1] + rate * np.concatenate(slopes_of_both([theta], [psi], gamma)))
    return np.array(points)


games = {"without": play(0.0), "with R1": play(0.5)}
start = np.linalg.norm(games["without"][0])
distance = {name: np.linalg.norm(points[-1]) for name, points in games.items()}
print(
    f"distance from the answer, first {start:.2f}, in the end: "
    + ", ".join(f"{name} {d:.3f}" for name, d in distance.items())
)

# %% Digits
# D of a DCGAN, without batch-norm, so that it can be as steep as it likes. Its slope is measured at real images it
# has learned from, from checkpoints along the way: how much the logit changes for a small step of an image.
reals = data.to_float(data.load("digits").images[:256])


steps = study.choose(4, 2400, 6000)
every = steps // study.choose(2, 12, 10)


def steepness(folder):
    """Mean length of D's gradient at real images, at each checkpoint of a run."""
    found = []
    for path in checkpoint.checkpoints(folder):
        if checkpoint.step_of(path) % every:
            continue  # one that is there because the run was interrupted
        _, D = load_networks(path)
        slope = penalties.image_gradients(D, reals).detach().numpy()
        found.append(
            [
                checkpoint.step_of(path),
                float(np.linalg.norm(slope.reshape(len(slope), -1), axis=1).mean()),
            ]
        )
    return {"steepness": found, "last": found[-1][1]}


variants = {"without": "r1=0", "R1, gamma .2": "r1=0.2", "R1, gamma 2": "r1=2"}
runs = study.train(
    variants,
    "dcgan",
    "g_channels=16 d_channels=16 d_norm=none lr=1e-3 keep=1000",
    steps=steps,
    checkpoint_every=every,
    also=steepness,
)
last, fid = means(runs, "also.last"), means(runs, "fid")
study.compare("penalty", runs, {"slope of D in the end": ("also.last", 2), "FID": ("fid", 2)})

# %% The figure
figure, axes = study.figure(11, 4.2, 2, 4, height_ratios=(1.7, 1))
reach = max(np.abs(points).max() for points in games.values())
grid = np.linspace(-reach, reach, 13)
theta, psi = map(np.ravel, np.meshgrid(grid, grid))
for ax, (name, points), gamma in zip(axes[0], games.items(), (0.0, 0.5)):
    ax.quiver(theta, psi, *slopes_of_both(theta, psi, gamma), color="silver")
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
for i, (label, found) in enumerate(runs.items()):
    for run in found:
        axes[0, 2].plot(
            *zip(*run.also["steepness"]), color=f"C{i}", label=label if run is found[0] else None
        )
axes[0, 2].set(xlabel="step", ylabel="slope of D at real images")
logarithmic(axes[0, 2])
axes[0, 2].set_ylim(top=8)
curves(axes[0, 3], runs, "d_accuracy", "share that D judges rightly")
for ax in axes[0, 2:]:
    ax.grid(alpha=0.3)
    ax.legend(frameon=False, fontsize=7)
for ax, (label, found) in zip(axes[1], runs.items()):
    show(ax, found[0].images, 10, f"{label}:\nFID {span(run.fid for run in found)}")
axes[1, 3].set_axis_off()
study.save(figure, axes[0, 0], axes[0, 1])

# %% What came of it
flat = all(below(runs, "also.last", label, "without") for label in runs if label != "without")
better = any(below(runs, "fid", label, "without") for label in runs if label != "without")
study.finding(
    f"R1 {'keeps D flat' if flat else 'does not clearly keep D flat here'}: its slope at real digits is "
    + ", ".join(f"{last[label]:.2f} ({label})" for label in runs)
    + f"; the digits are {'better' if better else 'not clearly better'} (FID {', '.join(f'{value:.1f}' for value in fid.values())}).",
    {"R1 keeps D flat": flat, "R1 makes better digits": better},
    f"The game of two numbers begins {start:.2f} from its answer, and ends {distance['without']:.2f} from it without R1, "
    f"{distance['with R1']:.3f} with it.",
    distance={"start": start} | distance,
    slope=last,
    fid=fid,
)
