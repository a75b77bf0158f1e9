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
# a criticism by StyleGAN2's authors: the head turns, but the teeth stay. Each size once had to
# produce finished images, so its features stay at fixed pixels instead of moving with the digit.
# Networks with skips or residual connections need no growing, and should not have this problem.
#
# ## The claims
#
# Each compares growing with the same networks trained at full size from the start, with equal
# batches. (Growing includes what the authors' code does with it: Adam's moments are reset when a
# size begins to fade in. Networks with skips and with residual connections are shown beside the
# two. They differ in more than growing, so no claim is about them.)
#
# * Growing is faster: the seconds of training until the FID first falls to a mark are fewer. The
#   mark is 1.1 times the worst of the runs' best FIDs, so that every run reaches it. (The FID is
#   measured ten times; between two measurements, we interpolate. A run that failed has no part in
#   the mark, and never reaches it.)
# * Growing makes features stick to places: the features follow the digit less far, at 16x16 and at
#   32x32.
#
# The rule, fixed before the runs: a claim holds if all seeds of one side are beyond all seeds of
# the other, and the medians differ by at least a tenth. It is reversed if the same is true the
# other way round, and otherwise undecided at this scale. A run with a recall below .05 has failed,
# and counts as worse than any other.

# %%
import numpy as np
from scipy.ndimage import gaussian_filter, shift

from tinygan import Tensor, nn
from tinygan.study import (
    COLORS,
    Comparison,
    Study,
    median,
    median_and_all,
    median_over_seeds,
    plot_evaluations,
    plot_images,
    set_log_scale,
    smaller,
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


def mean_slope(features, images):
    """Return how far features (walks, steps, H, W, C) follow images (walks, steps, H', W', 1): the
    mean regression slope, where each feature is weighted by the strength of its gradients."""
    (feature_shifts, strength), (image_shifts, _) = shifts(features), shifts(images)
    slopes = (feature_shifts * image_shifts).sum((0, 1, 3)) / ((image_shifts**2).sum() + 1e-12)
    return float(np.average(slopes, weights=strength.sum((0, 1)) + 1e-12))


# %% [markdown]
# ## What the measure reads of constructed features
#
# A textured disc moves. Its "teeth" (the texture) move with it, stay in place behind the moving
# silhouette, or the whole picture stays. The measure should read 1 in the first case, and 0 in the
# last. In between, the silhouette moves and the teeth stay: what it reads there is what sticking
# looks like. (Features of 16x16 are averages of those of 32x32, over two by two pixels.)


# %%
def constructed(walks=study.choose(2, 24, 64), steps=8, size=32):
    """Return the image of a moving disc (walks, steps, size, size, 1), and {what its texture does:
    features}."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    disc = 1 / (1 + np.exp((np.hypot(x, y) - size / 4) / 0.7))
    teeth = gaussian_filter(rng.standard_normal((size, size)), 1.2)
    teeth = 0.55 + 0.45 * np.tanh(1.5 * teeth / teeth.std())
    images, moving, sticking = np.zeros((3, walks, steps, size, size))
    for i, direction in enumerate(rng.standard_normal((walks, 2))):
        for t in range(steps):
            by = 0.5 * (t - steps / 2) * direction  # pixels
            silhouette = shift(disc, by, order=3)
            images[i, t] = silhouette
            moving[i, t] = shift(disc * teeth, by, order=3)
            sticking[i, t] = silhouette * teeth
    fixed = np.broadcast_to(disc * teeth, images.shape)
    features = {"teeth move": moving, "teeth stay": sticking, "all stays": fixed}
    return images[..., None], {name: maps[..., None] for name, maps in features.items()}


def halved(maps):
    """Average maps (walks, steps, H, W, C) over 2x2 pixels."""
    walks, steps, height, width, channels = maps.shape
    return maps.reshape(walks, steps, height // 2, 2, width // 2, 2, channels).mean((3, 5))


moving_disc, controls = constructed()
reads = {
    "16": {name: mean_slope(halved(maps), moving_disc) for name, maps in controls.items()},
    "32": {name: mean_slope(maps, moving_disc) for name, maps in controls.items()},
}
study.table(
    ("constructed features follow the disc", *controls),
    *((f"{s}x{s}", *(f"{value:.2f}" for value in of.values())) for s, of in reads.items()),
)

# %% [markdown]
# ## The features of a run


# %%
def walk_of(folder, walks, steps=8):
    """Return the images of walks in latent space (walks, steps, 32, 32, C), and {path: feature maps
    (walks, steps, H, W, C)} of a run's G."""
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
    as_walks = lambda array: array.reshape(walks, steps, *array.shape[1:])
    return as_walks(images), {
        path: as_walks(m.numpy().astype(np.float64)) for path, m in maps.items() if m.ndim == 4
    }


def following(folder, walks=study.choose(2, 24, 64)):
    """Measure how far the features of a run's G follow the image: {"following": {size: mean slope
    of the last features of size x size pixels}}."""
    images, maps = walk_of(folder, walks)
    slopes = {}
    for size in (16, 32):
        features = [m for m in maps.values() if m.shape[2] == size and m.shape[4] > 3][-1]
        shortcut = maps.get(f"shortcuts.{size // 16}")
        if shortcut is not None:  # a residual block's feature is the sum
            features = (features + shortcut) * 0.5**0.5
        slopes[str(size)] = mean_slope(features, images.astype(np.float64))
    return {"following": slopes}


# %% [markdown]
# ## Four ways to get to 32x32

# %%
steps, every = study.choose(5, 600, 3500), study.choose(5, 60, 350)
phase = study.choose(8, 1200, 5000)  # images at one size, and also images of one fade
common = f"steps={steps} eval_every={every} eval_images={study.choose(100, 300, 2000)}"
# All four networks receive the class, so that they learn sooner. A lazy R1 replaces the penalty at
# every step.
growing = study.train(
    {"growing": f"stable_images={phase} fade_images={phase}", "full size at once": "grow=false"},
    "progan",
    common,
    batch_sizes="",
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
once = "full size at once"
study.compare(
    "",
    runs,
    {
        "seconds of training": ("seconds", 0),
        "FID after equal steps": ("fid", 2),
        "precision": ("precision", 2),
        "recall": ("recall", 2),
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
lowest_fids = [
    min(row["fid"] for row in run.evaluations)
    for group in growing.values()
    for run in group
    if not run.failed
]
mark = 1.1 * max(lowest_fids, default=np.inf)


def seconds_to(mark, run):
    """Return the seconds of training until a run's FID first falls to the mark; infinite if the run
    failed."""
    if run.failed:
        return np.inf
    seconds, fids = ([row[key] for row in run.evaluations] for key in ("seconds", "fid"))
    after = next(i for i, fid in enumerate(fids) if fid <= mark)
    around = slice(max(after - 1, 0), after + 1)  # from above the mark to below
    return float(np.interp(-mark, np.negative(fids[around]), seconds[around]))


seconds_to_mark = {
    label: [seconds_to(mark, run) for run in group] for label, group in growing.items()
}
seconds = {label: median(values) for label, values in seconds_to_mark.items()}
print(
    f"seconds until an FID of {mark:.1f}: "
    + ", ".join(f"{label} {median_and_all(v, 0)}" for label, v in seconds_to_mark.items())
)

# %% [markdown]
# ## The figures


# %%
def strip(label, columns=8):
    """Return the images of one walk of the first seed of a label."""
    return walk_of(runs[label][0].folder, 4, columns)[0][2]


def as_images(maps):
    """Return maps (steps, H, W, 1) with values from 0 to 1 as uint8 images."""
    return np.uint8(255 * np.clip(maps, 0, 1))


figure, panels = study.figure("aa;bc", 11.5, height_ratios=(1.2, 1))
plot_images(
    panels["a"],
    np.concatenate(
        [
            *(as_images(controls[name][0]) for name in ("teeth move", "teeth stay")),
            *(
                study.cached_images(label[:4], lambda label=label: strip(label))
                for label in growing
            ),
        ]
    ),
    8,
    "a walk from left to right: constructed (above), and by trained networks (below)",
    [f"{name} (reads {reads['32'][name]:.2f})" for name in ("teeth move", "teeth stay")]
    + list(growing),
)
for letter, size in zip("bc", ("16", "32")):
    axes = panels[letter]
    for i, group in enumerate(runs.values()):
        values = [run.also["following"][size] for run in group if not run.failed]
        axes.bar(i, median(values), color=COLORS[i], alpha=0.7)
        axes.plot([i] * len(values), values, "k.", markersize=6)
    for name, line in zip(("teeth move", "teeth stay"), ("--", ":")):
        axes.axhline(reads[size][name], color="black", linestyle=line, label=f"constructed: {name}")
    axes.set_xticks(range(len(runs)), ["growing", "at once", "skips", "residual"])
    axes.set(title=f"how far features of {size}x{size} follow the digit", ylim=(0, 1.6))
    axes.legend(frameon=False, loc="upper left")
follow = {size: median_over_seeds(runs, f"also.following.{size}") for size in ("16", "32")}
study.save_figure(
    figure,
    f"At 16x16, features follow {follow['16']['growing']:.2f} of the digit's movement with growing,"
    f"\nand {follow['16'][once]:.2f} without",
)
fid = median_over_seeds(runs, "fid")
figure, panels = study.figure("ab;cc", 9.5, height_ratios=(1, 1.1))
plot_evaluations(panels["a"], growing)
panels["a"].set_title("after equally many steps (lower is better)")
plot_evaluations(panels["b"], growing, over="seconds")
panels["b"].axhline(mark, color="black", linestyle=":", label="mark")
panels["b"].set_title("after equally many seconds (lower is better)")
for letter in "ab":
    set_log_scale(panels[letter])
    panels[letter].legend(frameon=False)
plot_images(
    panels["c"],
    np.concatenate([group[0].images[:10] for group in runs.values()]),
    10,
    "samples of the first seed; the requested digit is below",
    [f"{label}: FID {fid[label]:.1f}" for label in runs],
    list("0123456789"),
)
study.save_figure(
    figure,
    f"Growing takes {seconds['growing']:.0f} s to an FID of {mark:.1f}, full size at once "
    f"{seconds[once]:.0f} s",
    part="time",
)

# %% [markdown]
# ## The result

# %%
claims = {
    "growing is faster": Comparison(
        "seconds to the mark",
        ("growing", once),
        (seconds_to_mark["growing"], seconds_to_mark[once]),
    ),
    "growing makes features stick to places": [
        smaller(runs, f"also.following.{size}", "growing", once, f"following at {size}x{size}")
        for size in follow
    ],
}
in_all = median_over_seeds(growing, "seconds")
study.finding(
    f"Growing reaches an FID of {mark:.1f} after {seconds['growing']:.0f} s, and training at full "
    f"size from the start after {seconds[once]:.0f} s. At 16x16, the features follow "
    f"{follow['16']['growing']:.2f} of the digit's movement with growing, and "
    f"{follow['16'][once]:.2f} without.",
    claims,
    f"The whole training takes {in_all['growing']:.0f} s with growing and {in_all[once]:.0f} s "
    "without. The share of the digit's movement that the features follow at 16x16 / 32x32 is: "
    + ", ".join(f"{label} {follow['16'][label]:.2f} / {follow['32'][label]:.2f}" for label in runs)
    + ". Of constructed features, it is "
    + ", ".join(
        f"{of_16:.2f} / {of_32:.2f} ({name})"
        for name, of_16, of_32 in zip(controls, *(of.values() for of in reads.values()))
    )
    + ".",
    mark=mark,
    seconds=seconds,
    following=follow,
    reads=reads,
)
