# %% [markdown]
"""ADA: few images, and an augmentation that is only as strong as D's overfitting requires.

python demos/ada.py              # two to three minutes
python demos/ada.py --full       # full MNIST, three seeds, a few minutes per run
"""

# %% [markdown]
# ## D memorises its images
#
# With few images, D soon memorises each of them and calls everything else fake. From then on, its
# gradient tells G nothing useful. Augmenting D's input prevents this. ADA augments only as much as
# necessary: r_t, the mean sign of D's logits on reals, is near 1 when D overfits. If r_t is above a
# target, p, the probability of each transform, goes up; if it is below, p goes down.
#
# Why must p stay below about .8? A transform that is always applied hides the original images. If
# every real image is rotated before D sees it, G can just as well generate rotated images, because
# D cannot tell the difference. If some images stay as they are, upright images are more likely than
# any others, and D can tell.

# %%
import numpy as np

from tinygan import data
from tinygan.metrics import Evaluator
from tinygan.metrics.extractor import Extractor
from tinygan.study import (
    Study,
    clearly_below,
    mean_and_range,
    mean_over_seeds,
    plot_evaluations,
    plot_images,
    set_log_scale,
)
from tinygan.training.sampling import generate, latents, load_networks

STUDY_SIZE = None  # in a notebook: "tiny" (seconds), "fast" (the default) or "full" (hours)
study = Study("ada", __doc__, size=STUDY_SIZE)
sizes = study.choose((100,), (100, 1000), (100, 500, 2000, 10_000))
ways = {
    "none": "augment=none",
    "DiffAugment (shifts)": "augment=diffaug policy=translation",
    "ADA": "augment=ada ada_target=0.3",
}
steps = study.choose(4, 1000, 4000)
common = (
    f"g_channels=16 d_channels=16 batch_size={study.choose(8, 32, 32)} ema=0.998 steps={steps} "
    f"eval_every={steps // study.choose(1, 5, 10)} eval_images={study.choose(100, 500, 2000)}"
)

# %% [markdown]
# ## FID against the number of training images
#
# The FID is measured at the last step: the best step would hide what happens when D memorises its
# images. (DiffAugment uses translation alone: grey squares and changed brightness look less like
# digits. R1, which also prevents overfitting, is a tenth of that of `quick`.)

# %%
runs = study.train(
    {
        f"{way}, {size:,} images": f"{changes} train_size={size}"
        for size in sizes
        for way, changes in ways.items()
    },
    "quick",
    common,
    r1=0.02,
)
fid = {
    way: [[run.fid for run in runs[f"{way}, {size:,} images"]] for size in sizes] for way in ways
}
# A G that generated exactly its training images would have the FID of these images.
name = study.choose("digits", "digits", "mnist")
evaluator, train = Evaluator(data.load(name, "test")), data.load(name).hold_out()[0]
fid_of_training_images = [
    [evaluator.quick(train.balanced(size, seed).images)["fid"] for seed in study.seeds]
    for size in sizes
]
study.table(
    ("FID", *(f"{size:,} images" for size in sizes)),
    *((way, *map(mean_and_range, of_sizes)) for way, of_sizes in fid.items()),
    ("(the training images)", *map(mean_and_range, fid_of_training_images)),
)

# %% [markdown]
# ## Rotations, always and often
#
# D's input is rotated by 0, 90, 180 or 270 degrees, always or with p = .6. We rotate each sample of
# G to all four orientations, and give them to a classifier. Among the samples that it recognises as
# the requested digit in one of the orientations, how many are not upright? (We use the digits 3, 4,
# 6, 7 and 9. Upside down, each of them is another digit, or none.)

# %%
extractor = Extractor(name)


def turned(folder, n=study.choose(20, 500, 2000)):
    """Measure the share of n samples that the classifier recognises in one of the four
    orientations, and the share of these that are not upright."""
    G, _ = load_networks(folder)
    labels = np.array([3, 4, 6, 7, 9])[np.arange(n) % 5]
    images = generate(G, latents(np.random.default_rng(0), n, G), labels)
    probability = np.stack(  # (4, n): of the requested digit
        [extractor(np.rot90(images, k, (1, 2)))[1][np.arange(n), 0, labels] for k in range(4)]
    )
    recognised = probability.max(0) > 0.5
    return {
        "recognised": float(recognised.mean()),
        "turned": float((probability.argmax(0) > 0)[recognised].mean())
        if recognised.any()
        else 0.0,
    }


rotated = "augment=ada policy=rotate90 ada_target=0"
rotations = study.train(
    {"p = 1": f"{rotated} ada_p=1", "p = .6": f"{rotated} ada_p=0.6", "never": "augment=none"},
    "quick",
    common,
    also=turned,
)
recognised, leaked = (mean_over_seeds(rotations, f"also.{key}") for key in ("recognised", "turned"))
study.compare(
    "rotated",
    rotations,
    {
        "recognised in some position": ("also.recognised", 3),
        "of these, not upright": ("also.turned", 3),
        "FID": ("fid", 2),
    },
)

# %% [markdown]
# ## The figure

# %%
figure, axes = study.figure(12, 4.4, 2, 4, height_ratios=(1.7, 1))
smallest = sizes[0]
for i, (way, of_sizes) in enumerate(fid.items()):
    axes[0, 0].plot(sizes, [np.mean(values) for values in of_sizes], f"C{i}", label=way)
    for size, values in zip(sizes, of_sizes):
        axes[0, 0].plot([size] * len(values), values, f"C{i}o", markersize=3)
axes[0, 0].plot(sizes, np.mean(fid_of_training_images, 1), "k:", label="(the training images)")
axes[0, 0].set(xscale="log", xlabel="training images", ylabel="FID (test images)")
axes[0, 0].set_xticks(sizes, [f"{size:,}" for size in sizes], fontsize=7)
axes[0, 0].tick_params("x", which="minor", bottom=False, labelbottom=False)
set_log_scale(axes[0, 0])
axes[0, 0].set_ylim(bottom=axes[0, 0].get_ylim()[0] / 20)  # room for the legend
plot_evaluations(axes[0, 1], {way: runs[f"{way}, {smallest:,} images"] for way in ways})
axes[0, 1].set_title(f"{smallest} images")
set_log_scale(axes[0, 1])
axes[0, 1].set_ylim(bottom=axes[0, 1].get_ylim()[0] / 2)
log = runs[f"ADA, {smallest:,} images"][0].log
# The controller can raise p above 1, which has the same effect as 1.
axes[0, 2].plot(log["step"], np.minimum(log["p"], 1), label="p")
axes[0, 2].plot(log["step"], log["r_t"], label="r_t", alpha=0.6)
axes[0, 2].axhline(0.3, color="black", linestyle=":", linewidth=1, label="target")
axes[0, 2].set(xlabel="step", ylabel="p, r_t", title=f"ADA, {smallest} images")
log = runs[f"none, {smallest:,} images"][0].log
for key, name in (
    ("logit_real", "training images"),
    ("logit_held_out", "held-out images"),
    ("logit_fake", "fakes"),
):
    axes[0, 3].plot(
        *zip(*[(x, y) for x, y in zip(log["step"], log.get(key, ())) if y is not None]), label=name
    )
axes[0, 3].set(xlabel="step", ylabel="D's mean logit", title=f"none, {smallest} images")
for ax in axes[0]:
    ax.grid(alpha=0.3)
    ax.legend(frameon=False, fontsize=7)
shown = {f"{way}, {smallest} images": runs[f"{way}, {smallest:,} images"] for way in ways} | {
    "turned always": rotations["p = 1"]
}
for ax, (label, group) in zip(axes[1], shown.items()):
    plot_images(ax, group[0].images, 10, f"{label}\nFID {mean_and_range(run.fid for run in group)}")
study.save_figure(figure, axes[0, 0], axes[0, 1])

# %% [markdown]
# ## The result

# %%
mean = {way: [np.mean(values) for values in of_sizes] for way, of_sizes in fid.items()}
by_size = [", ".join(f"{way} {mean[way][i]:.1f}" for way in ways) for i, size in enumerate(sizes)]
p_few, p_many = (
    np.mean([min(run.log["p"][-1], 1) for run in runs[f"ADA, {size:,} images"]])
    for size in (smallest, sizes[-1])
)
leaks = clearly_below(rotations, "also.turned", "p = .6", "p = 1") and clearly_below(
    rotations, "also.turned", "never", "p = 1"
)
study.finding(
    f"FID with {smallest} training images: {by_size[0]}. If D's input is always rotated at random, "
    f"{leaked['p = 1']:.0%} of the recognised samples are not upright; if it is rotated with p = "
    f".6, {leaked['p = .6']:.0%} are not{'' if leaks else ' (no clear leak)'}.",
    {
        "rotations that are always applied leak": leaks,
        "rotations with p = .6 do not leak": leaked["p = .6"] < leaked["never"] + 0.05,
        f"augmentation helps with {smallest} images": all(
            clearly_below(runs, "fid", f"{way}, {smallest:,} images", f"none, {smallest:,} images")
            for way in ways
            if way != "none"
        ),
    },
    "FID: "
    + "; ".join(f"with {size:,} images {text}" for size, text in zip(sizes, by_size))
    + f". ADA's p is {p_few:.2f} at the end with {smallest} images, and {p_many:.2f} with "
    f"{sizes[-1]:,}. If the rotations are always applied, a classifier recognises "
    f"{recognised['p = 1']:.0%} of the samples in one of the four orientations. Without rotations, "
    f"{leaked['never']:.0%} of the recognised samples are not upright.",
    sizes=list(sizes),
    fid=mean,
    by_heart=[float(np.mean(values)) for values in fid_of_training_images],
    turned=leaked,
    recognised=recognised,
)
