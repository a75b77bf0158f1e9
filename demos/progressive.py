"""Growing from 4x4 to 32x32: is it faster, and do details stick to places?

python demos/progressive.py              # two to three minutes
python demos/progressive.py --full       # full MNIST, three seeds, at most ten minutes a run
"""

# %% Small first
# A Progressive GAN learns images of 4x4 pixels first, and lets larger sizes fade in. Two claims are looked at. That
# it gets to good images sooner than the same networks at full size from the start: early steps are cheap, and coarse
# things are learned first. And, held against it by StyleGAN2, that details stick to places: each size had to produce
# finished images, so that its features keep to pixels instead of moving with what is drawn. Skips and residual
# connections, which need no growing, should be free of it.
import numpy as np

from tinygan import Tensor, nn
from tinygan.study import Study, below, evaluations, logarithmic, means, show, span
from tinygan.training.sampling import generate, load_networks

study = Study(__file__, __doc__)


# %% How far does a feature follow?
# Walk from one latent to another in small steps, and ask of the image, and of every feature map, by how much it has
# moved: the shift that explains most of its change, by least squares, as optical flow has it. The regression of the
# features' shifts on the image's is 1 where a feature moves with what is drawn, and 0 where it stays. (The first two
# networks below normalise each pixel of their features, the others do not: compare these two with each other first.)
def shifts(maps):
    """(walks, steps, H, W, C) -> shifts between steps (walks, steps - 1, C, 2), down and right, as a share of the side; and how
    much there is to be seen moving (walks, steps - 1, C)."""
    down, right = (np.gradient(maps[:, :-1], axis=axis) * maps.shape[2] for axis in (2, 3))
    change = np.diff(maps, axis=1)
    total = lambda a, b: (a * b).sum((2, 3))
    a, b, c, p, q = (
        total(down, down),
        total(down, right),
        total(right, right),
        -total(down, change),
        -total(right, change),
    )
    scale = a * c - b * b + 1e-6 * (a + c) ** 2 + 1e-12
    return np.stack([c * p - b * q, a * q - b * p], -1) / scale[..., None], a + c


def following(folder, walks=study.choose(2, 24, 64), steps=8):
    """{"following": {size: mean slope over the features of so many pixels, each weighing as much as there is to see in it}}."""
    G, _ = load_networks(folder)
    rng = np.random.default_rng(0)
    first, last = rng.standard_normal((2, walks, 1, G.latent))
    z = (
        (first + (last - first) * np.linspace(0, 0.5, steps)[:, None])
        .reshape(-1, G.latent)
        .astype(np.float32)
    )
    for _, module in G.modules():
        if isinstance(module, nn.Noise):
            module.mode = "none"  # it stays where it is by design
    with nn.feature_maps(G) as maps:
        images = generate(G, Tensor(z), (np.arange(walks) % 10).repeat(steps), batch=len(z))
    walk = lambda maps: shifts(maps.reshape(walks, steps, *maps.shape[1:]).astype(np.float64))
    (of_image, _), found = walk(images), {}
    for size in (16, 32):
        features = [
            m for m in maps.values() if m.ndim == 4 and m.shape[1] == size and m.shape[3] > 3
        ][-1].numpy()
        if (
            shortcut := maps.get(f"shortcuts.{size // 16}")
        ) is not None:  # a residual block's feature is the sum
            features = (features + shortcut.numpy()) * 0.5**0.5
        moved, seen = walk(features)
        slopes = (moved * of_image).sum((0, 1, 3)) / ((of_image**2).sum() + 1e-12)
        found[str(size)] = float(np.average(slopes, weights=seen.sum((0, 1)) + 1e-12))
    return {"following": found}


# %% Four ways to get to 32x32
steps, every = study.choose(5, 600, 3500), study.choose(5, 60, 350)
phase = study.choose(16, 1200, 5000)  # images at a size, and images of a fade
common = f"steps={steps} eval_every={every} eval_images={study.choose(100, 300, 2000)}"
# All are told the class, which makes them learn sooner, and have a lazy R1 instead of a penalty at every step.
growing = study.train(
    {"growing": f"stable_images={phase} fade_images={phase}", "full size at once": "grow=false"},
    "progan",
    common,
    g_class="concat",
    d_class="projection",
    loss="bce",
    gp=0.0,
    drift=0.0,
    r1=1.0,
    penalty_every=4,
    ema=study.choose(0.9, 0.99, 0.999),
    also=following,
)
instead = study.train(
    {"skips": "g_architecture=skip", "residual": "g_architecture=residual"},
    "stylegan2",
    common,
    also=following,
)
runs = growing | instead
study.compare(
    "",
    runs,
    {
        "seconds of training": ("seconds", 0),
        "FID after equal steps": ("fid", 2),
        "features follow, 16x16": ("also.following.16", 2),
        "32x32": ("also.following.32", 2),
    },
)

# %% Time to quality
# When was the FID first below a mark that both ways reach? (Training time on one thread, evaluations not counted.)
mark = 1.1 * max(
    min(row["fid"] for row in run.evaluations) for found in growing.values() for run in found
)
took = {
    label: [next(row["seconds"] for row in run.evaluations if row["fid"] <= mark) for run in found]
    for label, found in growing.items()
}
until = {label: np.mean(seconds) for label, seconds in took.items()}
print(
    f"seconds until an FID of {mark:.1f}: "
    + ", ".join(f"{label} {seconds:.0f}" for label, seconds in until.items())
)

# %% The figure
figure, axes = study.figure(11, 4.4, 2, 4, height_ratios=(1.7, 1))
evaluations(axes[0, 0], growing)
evaluations(axes[0, 1], growing, over="seconds")
axes[0, 1].axhline(mark, color="black", linestyle=":", linewidth=1)
for ax in axes[0, :2]:
    logarithmic(ax)
    ax.legend(frameon=False, fontsize=7)
for i, (label, found) in enumerate(runs.items()):
    for j, size in enumerate(("16", "32")):
        values = [run.also["following"][size] for run in found]
        axes[0, 2].bar(i + 0.4 * j - 0.2, np.mean(values), 0.4, color=f"C{i}", alpha=0.9 - 0.4 * j)
        axes[0, 2].plot([i + 0.4 * j - 0.2] * len(values), values, "k.", markersize=3)
axes[0, 2].set_xticks(range(len(runs)), ["growing", "at once", "skips", "residual"], fontsize=7)
axes[0, 2].set_ylabel(
    "how far features follow (1: all the way)\ndark: 16x16, light: 32x32", fontsize=8
)
axes[0, 3].set_axis_off()
for ax, (label, found) in zip(axes[1], runs.items()):
    show(ax, found[0].images, 10, f"{label}:\nFID {span(run.fid for run in found)}")
study.save(figure, axes[0, 1], axes[0, 2])

# %% What came of it
follow = {size: means(runs, f"also.following.{size}") for size in ("16", "32")}
once = "full size at once"
ratio, faster = until[once] / until["growing"], max(took["growing"]) < min(took[once])
sticks = all(
    below(runs, f"also.following.{size}", "growing", label)
    for size in follow
    for label in runs
    if label != "growing"
)
whole = means(growing, "seconds")
early = {label: [run.evaluations[0]["fid"] for run in found] for label, found in growing.items()}
behind = min(early["growing"]) > max(early[once])


def compared(size):
    path = f"also.following.{size}"
    return (
        "less than"
        if below(runs, path, "growing", once)
        else "further than"
        if below(runs, path, once, "growing")
        else "about as far as"
    )


study.finding(
    f"Growing gets to an FID of {mark:.1f} in {until['growing']:.0f} s, full size from the start in {until[once]:.0f} s "
    f"({'%.1f times as fast' % ratio if faster else 'not clearly faster' if ratio > 1 else 'no faster'}), and "
    f"{'makes features stick to places' if sticks else 'that it makes features stick to places does not show'}: at 16x16 they follow "
    f"{follow['16']['growing']:.2f} of the digit's movement, without growing {follow['16'][once]:.2f}.",
    {"growing is faster": faster, "growing makes features stick to places": sticks},
    f"In all, growing takes {whole['growing']:.0f} s instead of {whole[once]:.0f}{', but is behind at first' * behind}. Of the digit's "
    "movement, features of 16x16 / 32x32 follow: "
    + ", ".join(f"{label} {follow['16'][label]:.2f} / {follow['32'][label]:.2f}" for label in runs)
    + f". Those of the grown network follow {compared('16')} the same network's at full size from the start at 16x16, "
    f"{compared('32')} them at 32x32.",
    mark=mark,
    seconds=until,
    following=follow,
)
