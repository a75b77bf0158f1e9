"""ADA: few images, and an augmentation that comes as D overfits, and goes.

python demos/ada.py              # two to three minutes
python demos/ada.py --full       # full MNIST, three seeds, some minutes a run
"""

# %% D knows its images by heart
# With few images D soon knows each of them, calls everything else fake, and has nothing left to tell G. Augmenting
# what D sees keeps it from that. ADA does as much of it as is needed: r_t, the mean sign of D's logits on reals, is
# near 1 when D overfits, and then p, the probability of each transform, goes up; below the target it comes down
# again.
#
# And why p must stay below .8 or so: a transform that always happens hides what the images were like before. If every
# real image that D sees is rotated, G may as well draw rotated ones: D cannot tell. While some are left alone,
# upright must be likelier.
import numpy as np

from tinygan import data
from tinygan.metrics import Evaluator
from tinygan.metrics.extractor import Extractor
from tinygan.study import Study, below, evaluations, logarithmic, means, show, span
from tinygan.training.sampling import generate, latents, load_networks

study = Study(__file__, __doc__)
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

# %% FID against the number of training images
# Measured at the last step: to keep the best one would hide what happens to a D that knows its images by heart. (Of
# DiffAugment, translation alone: grey squares and other brightnesses are further from what digits look like. R1, which
# keeps D from it too, is a tenth of `quick`'s.)
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
# A G that drew its training images, and nothing else, would be at the FID of these.
name = study.choose("digits", "digits", "mnist")
evaluator, train = Evaluator(data.load(name, "test")), data.load(name).hold_out()[0]
by_heart = [
    [evaluator.quick(train.balanced(size, seed).images)["fid"] for seed in study.seeds]
    for size in sizes
]
study.table(
    ("FID", *(f"{size:,} images" for size in sizes)),
    *((way, *map(span, of_sizes)) for way, of_sizes in fid.items()),
    ("(the training images)", *map(span, by_heart)),
)

# %% Rotations, always and often
# By a quarter, a half, three quarters of a turn, or not at all: always, and with p = .6. What G draws is turned back in
# all four ways, and shown to the classifier: of the samples that it recognises in one of them as the digit that was
# asked for, how many are not upright? (Of 3, 4, 6, 7 and 9, which are no digit, or another, upside down.)
extractor = Extractor(name)


def turned(folder, n=study.choose(20, 500, 2000)):
    G, _ = load_networks(folder)
    labels = np.array([3, 4, 6, 7, 9])[np.arange(n) % 5]
    images = generate(G, latents(np.random.default_rng(0), n, G), labels)
    sure = np.stack(
        [extractor(np.rot90(images, k, (1, 2)))[1][np.arange(n), 0, labels] for k in range(4)]
    )
    recognised = sure.max(0) > 0.5
    return {
        "recognised": float(recognised.mean()),
        "turned": float((sure.argmax(0) > 0)[recognised].mean()) if recognised.any() else 0.0,
    }


rotated = "augment=ada policy=rotate90 ada_target=0"
rotations = study.train(
    {"p = 1": f"{rotated} ada_p=1", "p = .6": f"{rotated} ada_p=0.6", "never": "augment=none"},
    "quick",
    common,
    also=turned,
)
recognised, leaked = (means(rotations, f"also.{key}") for key in ("recognised", "turned"))
study.compare(
    "rotated",
    rotations,
    {
        "recognised in some position": ("also.recognised", 3),
        "of these, not upright": ("also.turned", 3),
        "FID": ("fid", 2),
    },
)

# %% The figure
figure, axes = study.figure(12, 4.4, 2, 4, height_ratios=(1.7, 1))
smallest = sizes[0]
for i, (way, of_sizes) in enumerate(fid.items()):
    axes[0, 0].plot(sizes, [np.mean(values) for values in of_sizes], f"C{i}", label=way)
    for size, values in zip(sizes, of_sizes):
        axes[0, 0].plot([size] * len(values), values, f"C{i}o", markersize=3)
axes[0, 0].plot(sizes, np.mean(by_heart, 1), "k:", label="(the training images)")
axes[0, 0].set(xscale="log", xlabel="training images", ylabel="FID (test images)")
axes[0, 0].set_xticks(sizes, [f"{size:,}" for size in sizes], fontsize=7)
axes[0, 0].tick_params("x", which="minor", bottom=False, labelbottom=False)
logarithmic(axes[0, 0])
axes[0, 0].set_ylim(bottom=axes[0, 0].get_ylim()[0] / 20)  # room for the legend
evaluations(axes[0, 1], {way: runs[f"{way}, {smallest:,} images"] for way in ways})
axes[0, 1].set_title(f"{smallest} images")
logarithmic(axes[0, 1])
axes[0, 1].set_ylim(bottom=axes[0, 1].get_ylim()[0] / 2)
log = runs[f"ADA, {smallest:,} images"][0].log
axes[0, 2].plot(
    log["step"], np.minimum(log["p"], 1), label="p"
)  # above 1, which the controller may reach, is as 1
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
for ax, (label, found) in zip(axes[1], shown.items()):
    show(ax, found[0].images, 10, f"{label}\nFID {span(run.fid for run in found)}")
study.save(figure, axes[0, 0], axes[0, 1])

# %% What came of it
mean = {way: [np.mean(values) for values in of_sizes] for way, of_sizes in fid.items()}
gains = [", ".join(f"{way} {mean[way][i]:.1f}" for way in ways) for i, size in enumerate(sizes)]
p_few, p_many = (
    np.mean([min(run.log["p"][-1], 1) for run in runs[f"ADA, {size:,} images"]])
    for size in (smallest, sizes[-1])
)
leaks = below(rotations, "also.turned", "p = .6", "p = 1") and below(
    rotations, "also.turned", "never", "p = 1"
)
study.finding(
    f"FID with {smallest} training images: {gains[0]}; where all that D sees is turned, {leaked['p = 1']:.0%} of the samples are not "
    f"upright, with p = .6 {leaked['p = .6']:.0%}{'' if leaks else ': no leak shows clearly'}.",
    {
        "turns that are always fired leak": leaks,
        "turns with p = .6 do not": leaked["p = .6"] < leaked["never"] + 0.05,
        f"augmentation helps with {smallest} images": all(
            below(runs, "fid", f"{way}, {smallest:,} images", f"none, {smallest:,} images")
            for way in ways
            if way != "none"
        ),
    },
    f"FID: {'; '.join(f'with {size:,} images {found}' for size, found in zip(sizes, gains))}. ADA's p ends at {p_few:.2f} with "
    f"{smallest} images and at {p_many:.2f} with {sizes[-1]:,}. Turned by quarters always, {recognised['p = 1']:.0%} of the "
    f"samples can be read in some position; without turns, {leaked['never']:.0%} are not upright.",
    sizes=list(sizes),
    fid=mean,
    by_heart=[float(np.mean(values)) for values in by_heart],
    turned=leaked,
    recognised=recognised,
)
