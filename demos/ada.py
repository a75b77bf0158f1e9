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
# necessary: r_t = E[sign D(x)] over the reals, which is twice the share of reals that D calls real,
# minus 1. It is near 1 when D overfits. If r_t is above a target, p, the probability of each
# transform, goes up; if it is below, p goes down.
#
# Why must p stay well below 1? A transform that is always applied hides the original images. If
# every real image is rotated before D sees it, G can just as well generate rotated images, because
# D cannot tell the difference. If some images stay as they are, they are likelier than any other
# single outcome, and D can tell. That is so even if most images are changed: at p = .7, all of six
# transforms are silent for .07% of the images, but no other outcome is likelier.
#
# ## The claims
#
# * With 100 images, and with 500, ADA helps: the FID is smaller than without augmentation, and the
#   variety within classes (see below) larger.
# * With 100 images, and with 500, DiffAugment's shifts, which are always applied, help in the same
#   sense.
# * With 10,000 images, ADA costs nothing: no seed's FID is more than a quarter above the lowest one
#   without augmentation.
# * Rotations that are always applied leak: more of the recognised samples are not upright than
#   without rotations, and than with p = .6.
# * Rotations with p = .6 do not leak: no seed without rotations has a share of upright samples more
#   than a twentieth above the lowest share with them.
#
# The rule, fixed before the runs: a claim holds if all seeds of one side are beyond all seeds of
# the other, and the medians differ by at least a tenth. It is reversed if the same is true the
# other way round, and otherwise undecided at this scale. (A G that knows only 100 images covers few
# of the test images, so that a small recall is no failure here; runs that diverge are failures.)
# FID, precision and recall are shown for every number of images. Beside them stands the *variety*
# within classes: the variance of the metrics' features within the requested classes, divided by
# that of the test images. It is 0 for a G that generates one image for each class. Only samples
# that show the requested class count, since a wrong digit is no variety. The share of upright
# samples is measured if the classifier recognises at least a tenth of the samples; otherwise, it
# says nothing.

# %%
import numpy as np

from tinygan import data
from tinygan.metrics import Evaluator
from tinygan.metrics.extractor import Extractor
from tinygan.metrics.scores import variance_within_classes
from tinygan.study import (
    COLORS,
    Study,
    larger,
    median,
    median_and_all,
    median_over_seeds,
    plot_evaluations,
    plot_images,
    set_log_scale,
    smaller,
)
from tinygan.training.sampling import classes_in_turn, generate, latents, load_networks

STUDY_SIZE = None  # in a notebook: "tiny" (seconds), "fast" (the default) or "full" (hours)
study = Study("ada", __doc__, size=STUDY_SIZE)
sizes = study.choose((100,), (100, 1000), (100, 500, 10_000))
ways = {
    "none": "augment=none",
    "shifts": "augment=diffaug policy=translation",
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
name = study.choose("digits", "digits", "mnist")
test, extractor = data.load(name, "test"), Extractor(name)


def variance_within(images, labels):
    return variance_within_classes(*extractor(images), labels)


of_reals = variance_within(test.images, test.labels)


def variety(folder, n=study.choose(100, 1000, 5000)):
    """Measure the variety within classes of n samples of a run's G."""
    G, _ = load_networks(folder)
    labels = classes_in_turn(G, n)
    images = generate(G, latents(np.random.default_rng(0), n, G), labels)
    return {"variety": variance_within(images, labels) / of_reals}


label_of = lambda way, size: f"{way}, {size:,} images"
runs = study.train(
    {
        label_of(way, size): f"{changes} train_size={size}"
        for size in sizes
        for way, changes in ways.items()
    },
    "quick",
    common,
    r1=0.02,
    also=variety,
    least_recall=0.0,
)
study.compare(
    "",
    runs,
    {
        "FID": ("fid", 2),
        "precision": ("precision", 2),
        "recall": ("recall", 3),
        "variety within classes": ("also.variety", 2),
        "class accuracy": ("class_accuracy", 2),
    },
)
# A G that generated exactly its training images would have the FID of these images.
evaluator, train = Evaluator(test), data.load(name).hold_out()[0]
fid_of_training_images = [
    [evaluator.quick(train.balanced(size, seed).images)["fid"] for seed in study.seeds]
    for size in sizes
]
study.table(
    ("", *(f"{size:,} images" for size in sizes)),
    ("FID of the training images", *map(median_and_all, fid_of_training_images)),
)

# %% [markdown]
# ## Rotations, always and often
#
# D's input is rotated by 0, 90, 180 or 270 degrees, always or with p = .6. We rotate each sample of
# G to all four orientations, and give them to a classifier. Among the samples that it recognises as
# the requested digit in one of the orientations, how many are upright? (We use the digits 3, 4,
# 6, 7 and 9. Upside down, each of them is another digit, or none.)


# %%
def turned(folder, n=study.choose(20, 500, 2000)):
    """Measure the share of n samples that the classifier recognises in one of the four
    orientations, and the share of these that are upright."""
    G, _ = load_networks(folder)
    labels = np.array([3, 4, 6, 7, 9])[np.arange(n) % 5]
    images = generate(G, latents(np.random.default_rng(0), n, G), labels)
    probability = np.stack(  # (4, n): of the requested digit
        [extractor(np.rot90(images, k, (1, 2)))[1][np.arange(n), 0, labels] for k in range(4)]
    )
    recognised = probability.max(0) > 0.5
    upright = (probability.argmax(0) == 0)[recognised]
    return {
        "recognised": float(recognised.mean()),
        "upright": float(upright.mean()) if recognised.mean() >= 0.1 else None,
    }


rotated = "augment=ada policy=rotate90 ada_target=0"
rotations = study.train(
    {"p = 1": f"{rotated} ada_p=1", "p = .6": f"{rotated} ada_p=0.6", "never": "augment=none"},
    "quick",
    common,
    also=turned,
    least_recall=0.0,
)
study.compare(
    "rotated",
    rotations,
    {
        "recognised in some position": ("also.recognised", 3),
        "of these, upright": ("also.upright", 3),
        "FID": ("fid", 2),
        "precision": ("precision", 2),
        "recall": ("recall", 2),
    },
)

# %% [markdown]
# ## The figures

# %%
smallest, fid = sizes[0], median_over_seeds(runs, "fid")
figure, panels = study.figure("ab;cd;ee", 13, height_ratios=(1, 1, 0.9))
for way, color in zip(ways, COLORS):
    of_sizes = [[run.fid for run in runs[label_of(way, size)] if not run.failed] for size in sizes]
    panels["a"].plot(sizes, [median(values) for values in of_sizes], color, label=way, linewidth=2)
    for size, values in zip(sizes, of_sizes):
        panels["a"].plot([size] * len(values), values, "o", color=color, markersize=4)
medians = [median(values) for values in fid_of_training_images]
panels["a"].plot(sizes, medians, "k:", label="the training images", linewidth=2)
panels["a"].set(
    title="quality (lower is better)", xscale="log", xlabel="training images", ylabel="FID"
)
panels["a"].set_xticks(sizes, [f"{size:,}" for size in sizes])
panels["a"].tick_params("x", which="minor", bottom=False, labelbottom=False)
plot_evaluations(panels["b"], {way: runs[label_of(way, smallest)] for way in ways})
panels["b"].set_title(f"{smallest} images, as training goes on (lower is better)")
for letter in "ab":
    set_log_scale(panels[letter])
log = runs[label_of("none", smallest)][0].log
for (key, title), color in zip(
    {
        "logit_real": "training images",
        "logit_held_out": "held-out images",
        "logit_fake": "fakes",
    }.items(),
    COLORS,
):
    points = [(x, y) for x, y in zip(log["step"], log.get(key, ())) if y is not None]
    panels["c"].plot(*zip(*points), color=color, label=title, linewidth=2)
panels["c"].set(
    title=f"without augmentation, {smallest} images: does D memorise them?",
    xlabel="step",
    ylabel="mean of D's logits",
)
log = runs[label_of("ADA", smallest)][0].log
# The controller can raise p above 1, which has the same effect as 1.
for key, color in zip(("p", "r_t"), COLORS):
    panels["d"].plot(log["step"], np.minimum(log[key], 1), color, label=key, linewidth=2)
panels["d"].axhline(0.3, color="black", linestyle=":", label="target of r_t")
panels["d"].set(title=f"ADA adapts p ({smallest} images)", xlabel="step", ylabel="p and r_t")
for letter in "abcd":
    panels[letter].grid(alpha=0.3)
    panels[letter].legend(frameon=False)
plot_images(
    panels["e"],
    np.concatenate([runs[label_of(way, smallest)][0].images[:10] for way in ways]),
    10,
    f"{smallest} images: samples of the first seed; the requested digit is below",
    [f"{way}: FID {fid[label_of(way, smallest)]:.1f}" for way in ways],
    list("0123456789"),
)
study.save_figure(
    figure,
    f"With {smallest} images, the FID is {fid[label_of('shifts', smallest)]:.0f} with shifts, "
    f"{fid[label_of('ADA', smallest)]:.0f} with ADA,\nand {fid[label_of('none', smallest)]:.0f} "
    "without augmentation",
)
upright = median_over_seeds(rotations, "also.upright")
recognised = median_over_seeds(rotations, "also.recognised")
share = lambda number: f"{number:.0%}" if np.isfinite(number) else "an unknown share"
figure, panels = study.figure("a", 4.4)
plot_images(
    panels["a"],
    np.concatenate([group[0].images[:10] for group in rotations.values()]),
    10,
    "D sees its images rotated by 0, 90, 180 or 270 degrees; samples of the first seed",
    [f"{label}: {share(upright[label])} upright" for label in rotations],
    list("0123456789"),
)
study.save_figure(
    figure,
    f"If rotations are always applied, {share(upright['p = 1'])} of the samples are upright;\n"
    f"with p = 0.6, {share(upright['p = .6'])} are",
    part="rotations",
)

# %% [markdown]
# ## The result

# %%
claims = {
    f"{name} with {size} images": [
        smaller(runs, "fid", label_of(way, size), label_of("none", size), "FID"),
        larger(runs, "also.variety", label_of(way, size), label_of("none", size), "variety"),
    ]
    for size in sizes[:-1] or sizes
    for way, name in (("ADA", "ADA helps"), ("shifts", "shifts help"))
} | {
    f"with {sizes[-1]:,} images, ADA costs nothing": smaller(
        runs, "fid", label_of("ADA", sizes[-1]), label_of("none", sizes[-1]), "FID", at_most=0.25
    ),
    "rotations that are always applied leak": [
        smaller(rotations, "also.upright", "p = 1", label, "upright")
        for label in ("p = .6", "never")
    ],
    "rotations with p = .6 do not leak": smaller(
        rotations, "also.upright", "never", "p = .6", "upright", at_most=0.05
    ),
}
by_size = [
    f"with {size:,} images " + ", ".join(f"{way} {fid[label_of(way, size)]:.1f}" for way in ways)
    for size in sizes
]
recall, variety_of = (median_over_seeds(runs, key) for key in ("recall", "also.variety"))
recalls = [
    f"with {size:,} images " + ", ".join(f"{way} {recall[label_of(way, size)]:.3f}" for way in ways)
    for size in sizes
]
p_few, p_many = (
    median(min(run.log["p"][-1], 1) for run in runs[label_of("ADA", size)] if not run.failed)
    for size in (smallest, sizes[-1])
)
study.finding(
    f"FID (median) {by_size[0]}; variety within classes "
    + ", ".join(f"{way} {variety_of[label_of(way, smallest)]:.2f}" for way in ways)
    + f". If D's input is always rotated at random, {share(upright['p = 1'])} of the recognised "
    f"samples are upright; if it is rotated with p = .6, {share(upright['p = .6'])} are.",
    claims,
    f"FID: {'; '.join(by_size)}. Recall: {'; '.join(recalls)}. ADA's p is {p_few:.2f} at the end "
    f"with {smallest} images, and {p_many:.2f} with {sizes[-1]:,}. If rotations are always "
    f"applied, a classifier recognises {recognised['p = 1']:.0%} of the samples in one of the four "
    f"orientations. Without rotations, {share(upright['never'])} of the recognised samples are "
    "upright.",
    sizes=list(sizes),
    fid=fid,
    by_heart=medians,
    upright=upright,
    recognised=recognised,
)
