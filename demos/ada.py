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

from tinygan.study import Study, below, evaluations, means, show, span

study = Study(__file__, __doc__)
sizes = study.choose((100,), (100, 1000), (100, 500, 2000, 10_000))
ways = {"none": "augment=none", "DiffAugment": "augment=diffaug policy=translation", "ADA": "augment=ada ada_target=0.3"}
steps = study.choose(4, 1000, 5000)
common = (f"g_channels=16 d_channels=16 batch_size={study.choose(8, 32, 32)} ema=0.998 steps={steps} "
          f"eval_every={steps // study.choose(1, 5, 10)} eval_images={study.choose(100, 500, 2000)}")

# %% FID against the number of training images
# Measured at the last step: to keep the best one would hide what happens to a D that knows its images by heart.
runs = study.train({f"{way}, {size:,} images": f"{changes} train_size={size}" for size in sizes for way, changes in ways.items()},
                   "quick", common, r1=0.02)
fid = {way: [[run.fid for run in runs[f"{way}, {size:,} images"]] for size in sizes] for way in ways}
study.table(("FID", *(f"{size:,} images" for size in sizes)), *((way, *map(span, of_sizes)) for way, of_sizes in fid.items()))

# %% Rotations, always and often
# All of them by any angle, fired always, and with p = .6. A digit that is drawn rotated is another digit, or none, to
# the classifier: the class accuracy tells how often that happens.
rotated = "augment=ada policy=rotate ada_target=0"
rotations = study.train({"p = 1": f"{rotated} ada_p=1", "p = .6": f"{rotated} ada_p=0.6", "never": "augment=none"}, "quick", common)
upright = means(rotations, "class_accuracy")
study.compare("rotated", rotations, {"class accuracy": ("class_accuracy", 3), "FID": ("fid", 2)})

# %% The figure
figure, axes = study.figure(12, 4.4, 2, 4, height_ratios=(1.7, 1))
smallest = sizes[0]
for i, (way, of_sizes) in enumerate(fid.items()):
    axes[0, 0].plot(sizes, [np.mean(values) for values in of_sizes], f"C{i}", label=way)
    for size, values in zip(sizes, of_sizes):
        axes[0, 0].plot([size] * len(values), values, f"C{i}o", markersize=3)
axes[0, 0].set(xscale="log", yscale="log", xlabel="training images", ylabel="FID (test images)")
evaluations(axes[0, 1], {way: runs[f"{way}, {smallest:,} images"] for way in ways})
axes[0, 1].set(yscale="log", title=f"{smallest} images")
log = runs[f"ADA, {smallest:,} images"][0].log
axes[0, 2].plot(log["step"], log["p"], label="p")
axes[0, 2].plot(log["step"], log["r_t"], label="r_t", alpha=0.6)
axes[0, 2].axhline(0.3, color="black", linestyle=":", linewidth=1, label="target")
axes[0, 2].set(xlabel="step", title=f"ADA, {smallest} images")
log = runs[f"none, {smallest:,} images"][0].log
for key, name in (("logit_real", "training images"), ("logit_held_out", "held-out images"), ("logit_fake", "fakes")):
    axes[0, 3].plot(*zip(*[(x, y) for x, y in zip(log["step"], log.get(key, ())) if y is not None]), label=name)
axes[0, 3].set(xlabel="step", ylabel="D's mean logit", title=f"no augmentation, {smallest} images")
for ax in axes[0]:
    ax.grid(alpha=0.3)
    ax.legend(frameon=False, fontsize=7)
for ax, (label, found) in zip(axes[1], {f"none, {smallest} images": runs[f"none, {smallest:,} images"], f"ADA, {smallest} images":
                                        runs[f"ADA, {smallest:,} images"], "rotated always": rotations["p = 1"],
                                        "rotated with p = .6": rotations["p = .6"]}.items()):
    show(ax, found[0].images, 10, label)
study.save(figure)

# %% What came of it
mean = {way: [np.mean(values) for values in of_sizes] for way, of_sizes in fid.items()}
gains = [f"{size:,}: {mean['none'][i]:.1f}, {mean['DiffAugment'][i]:.1f}, {mean['ADA'][i]:.1f}" for i, size in enumerate(sizes)]
least = {way: mean[way][0] / mean["none"][0] for way in ("DiffAugment", "ADA")}
p_few, p_many = (np.mean([run.log["p"][-1] for run in runs[f"ADA, {size:,} images"]]) for size in (smallest, sizes[-1]))
study.finding(
    f"FID without, with DiffAugment, with ADA, by training images: {'; '.join(gains)}: with {smallest}, DiffAugment's is "
    f"{least['DiffAugment']:.0%} of that without, and ADA's {least['ADA']:.0%}. p ends at {p_few:.2f} with {smallest} images and "
    f"{p_many:.2f} with {sizes[-1]:,}. Rotations fired always: "
    f"{upright['p = 1']:.0%} of the samples are the digit asked for; with p = .6 {upright['p = .6']:.0%}, never {upright['never']:.0%}" +
    (", so the leak is real." if below(rotations, "class_accuracy", "p = 1", "p = .6") else ": no leak shows clearly."),
    {"rotations that are always fired leak": below(rotations, "class_accuracy", "p = 1", "p = .6"),
     "augmentation helps with few images": max(least.values()) < 1}, sizes=list(sizes), fid=mean, class_accuracy=upright)
