# %% [markdown]
"""Growing from 4x4 to 32x32 pixels: is it faster, and do details stick to places?

python demos/progressive.py              # two to three minutes
python demos/progressive.py --full       # full MNIST, three seeds, at most ten minutes per run
"""

# %% [markdown]
# ## Small first
#
# A Progressive GAN first learns images of 4x4 pixels, and then lets larger sizes fade in. We test
# two claims. The first: it reaches good images sooner than the same networks trained at full size
# from the start, because early steps are cheap and coarse structure is learned first. The second is
# a criticism by StyleGAN2's authors: details stick to places. Each size once had to produce
# finished images, so its features stay at fixed pixels instead of moving with the digit. Networks
# with skips or residual connections need no growing, and should not have this problem.

# %%
import numpy as np

from tinygan import Tensor, nn
from tinygan.study import (
    Study,
    clearly_below,
    mean_and_range,
    mean_over_seeds,
    plot_evaluations,
    plot_images,
    set_log_scale,
)
from tinygan.training.sampling import generate, load_networks

STUDY_SIZE = None  # in a notebook: "tiny" (seconds), "fast" (the default) or "full" (hours)
study = Study("progressive", __doc__, size=STUDY_SIZE)


# %% [markdown]
# ## How far does a feature follow?
#
# We walk from one latent to another in small steps, and estimate how far the image and every
# feature map move at each step: the least-squares shift that best explains the change, as in
# optical flow. Then we regress the features' shifts on the image's shift. The slope is 1 if a
# feature moves with the digit, and 0 if it stays in place. (The first two networks below normalise
# each pixel of their features, the others do not. So compare the first two with each other first.)


# %%
def shifts(maps):
    """Estimate how far maps (walks, steps, H, W, C) move from step to step.

    Returns the shifts (walks, steps - 1, C, 2), down and right, as a share of the side; and the
    strength of the maps' spatial gradients (walks, steps - 1, C), which says how well a shift can
    be seen.
    """
    down, right = (np.gradient(maps[:, :-1], axis=axis) * maps.shape[2] for axis in (2, 3))
    change = np.diff(maps, axis=1)
    total = lambda a, b: (a * b).sum((2, 3))
    a, b, c = total(down, down), total(down, right), total(right, right)
    p, q = -total(down, change), -total(right, change)
    scale = a * c - b * b + 1e-6 * (a + c) ** 2 + 1e-12
    return np.stack([c * p - b * q, a * q - b * p], -1) / scale[..., None], a + c


def following(folder, walks=study.choose(2, 24, 64), steps=8):
    """Measure how far the features of a run's G follow the movement of the image.

    Returns {"following": {size: mean regression slope of the features of size x size pixels}},
    where each feature is weighted by the strength of its spatial gradients.
    """
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
            module.mode = "none"  # noise stays in place by design
    with nn.feature_maps(G) as maps:
        images = generate(G, Tensor(z), (np.arange(walks) % 10).repeat(steps), batch_size=len(z))
    walk = lambda maps: shifts(maps.reshape(walks, steps, *maps.shape[1:]).astype(np.float64))
    image_shifts, _ = walk(images)
    mean_slopes = {}
    for size in (16, 32):
        of_size = [m for m in maps.values() if m.ndim == 4 and m.shape[1] == size]
        features = [m for m in of_size if m.shape[3] > 3][-1].numpy()
        shortcut = maps.get(f"shortcuts.{size // 16}")
        if shortcut is not None:  # a residual block's feature is the sum
            features = (features + shortcut.numpy()) * 0.5**0.5
        feature_shifts, strength = walk(features)
        slopes = (feature_shifts * image_shifts).sum((0, 1, 3)) / ((image_shifts**2).sum() + 1e-12)
        mean_slopes[str(size)] = float(np.average(slopes, weights=strength.sum((0, 1)) + 1e-12))
    return {"following": mean_slopes}


# %% [markdown]
# ## Four ways to get to 32x32

# %%
steps, every = study.choose(5, 600, 3500), study.choose(5, 60, 350)
phase = study.choose(16, 1200, 5000)  # images at one size, and also images of one fade
common = f"steps={steps} eval_every={every} eval_images={study.choose(100, 300, 2000)}"
# All four networks receive the class, so that they learn sooner. A lazy R1 replaces the penalty at
# every step.
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

# %% [markdown]
# ## Time to quality
#
# When does the FID first fall to a mark that both ways reach? (Training time on one thread, without
# the evaluations.)

# %%
mark = 1.1 * max(
    min(row["fid"] for row in run.evaluations) for group in growing.values() for run in group
)
seconds_to_mark = {  # label: [seconds of each seed]
    label: [next(row["seconds"] for row in run.evaluations if row["fid"] <= mark) for run in group]
    for label, group in growing.items()
}
mean_seconds = {label: np.mean(seconds) for label, seconds in seconds_to_mark.items()}
print(
    f"seconds until an FID of {mark:.1f}: "
    + ", ".join(f"{label} {seconds:.0f}" for label, seconds in mean_seconds.items())
)

# %% [markdown]
# ## The figure

# %%
figure, axes = study.figure(11, 4.4, 2, 4, height_ratios=(1.7, 1))
plot_evaluations(axes[0, 0], growing)
plot_evaluations(axes[0, 1], growing, over="seconds")
axes[0, 1].axhline(mark, color="black", linestyle=":", linewidth=1)
for ax in axes[0, :2]:
    set_log_scale(ax)
    ax.legend(frameon=False, fontsize=7)
for i, (label, group) in enumerate(runs.items()):
    for j, size in enumerate(("16", "32")):
        values = [run.also["following"][size] for run in group]
        axes[0, 2].bar(i + 0.4 * j - 0.2, np.mean(values), 0.4, color=f"C{i}", alpha=0.9 - 0.4 * j)
        axes[0, 2].plot([i + 0.4 * j - 0.2] * len(values), values, "k.", markersize=3)
axes[0, 2].set_xticks(range(len(runs)), ["growing", "at once", "skips", "residual"], fontsize=7)
axes[0, 2].set_ylabel(
    "how far features follow (1: all the way)\ndark: 16x16, light: 32x32", fontsize=8
)
axes[0, 3].set_axis_off()
for ax, (label, group) in zip(axes[1], runs.items()):
    plot_images(
        ax, group[0].images, 10, f"{label}:\nFID {mean_and_range(run.fid for run in group)}"
    )
study.save_figure(figure, axes[0, 1], axes[0, 2])

# %% [markdown]
# ## The result

# %%
follow = {size: mean_over_seeds(runs, f"also.following.{size}") for size in ("16", "32")}
once = "full size at once"
ratio = mean_seconds[once] / mean_seconds["growing"]
faster = max(seconds_to_mark["growing"]) < min(seconds_to_mark[once])
sticks = all(
    clearly_below(runs, f"also.following.{size}", "growing", label)
    for size in follow
    for label in runs
    if label != "growing"
)
in_all = mean_over_seeds(growing, "seconds")
first_fid = {
    label: [run.evaluations[0]["fid"] for run in group] for label, group in growing.items()
}
behind_at_first = min(first_fid["growing"]) > max(first_fid[once])


def compared(size):
    path = f"also.following.{size}"
    return (
        "less far"
        if clearly_below(runs, path, "growing", once)
        else "further"
        if clearly_below(runs, path, once, "growing")
        else "about as far"
    )


study.finding(
    f"Growing reaches an FID of {mark:.1f} after {mean_seconds['growing']:.0f} s, training at full "
    f"size from the start after {mean_seconds[once]:.0f} s (growing is "
    + (
        f"{ratio:.1f} times as fast"
        if faster
        else "not clearly faster"
        if ratio > 1
        else "no faster"
    )
    + "). "
    + ("Growing makes" if sticks else "There is no sign that growing makes")
    + " features stick to places: at 16x16, the features follow "
    f"{follow['16']['growing']:.2f} of the digit's movement with growing, and "
    f"{follow['16'][once]:.2f} without.",
    {"growing is faster": faster, "growing makes features stick to places": sticks},
    f"The whole training takes {in_all['growing']:.0f} s with growing and {in_all[once]:.0f} s "
    "without"
    + ", but growing is behind at first" * behind_at_first
    + ". The share of the digit's movement that the features follow at 16x16 / 32x32 is: "
    + ", ".join(f"{label} {follow['16'][label]:.2f} / {follow['32'][label]:.2f}" for label in runs)
    + ". Compared with the same network trained at full size from the start, the features of the "
    f"grown network follow {compared('16')} at 16x16 and {compared('32')} at 32x32.",
    mark=mark,
    seconds=mean_seconds,
    following=follow,
)
