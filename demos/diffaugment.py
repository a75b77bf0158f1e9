# %% [markdown]
"""DiffAugment: with few images, augment reals and fakes, in the steps of both networks.

python demos/diffaugment.py              # two to three minutes
python demos/diffaugment.py --full       # MNIST, three seeds, a few minutes per run
"""

# %% [markdown]
# ## Three ways to augment
#
# With few images, D memorises them. If the images vary more, D cannot do so easily. But if only the
# reals are augmented, G learns to generate augmented images, because D's examples of real images
# have holes and grey borders. If reals and fakes are augmented, but not in G's step, D scores
# unaugmented fakes there, a kind of image that it has never seen. Only one way is right: augment
# reals and fakes, in D's step and, differentiably, in G's.
#
# In the grids, look for cut-out squares, shifts, and grey. A small classifier counts them: it is
# trained to distinguish augmented real images from other real images. The *variety* within classes
# is the variance of the metrics' features within the requested classes, divided by that of the test
# images: 1 if the samples of a class vary like reals, and 0 if they are all the same. Only samples
# that show the requested class count, since a wrong digit is no variety.
#
# ## The claims
#
# The runs see 500 training images, 50 of each class, or 100.
#
# * Augmenting only the reals leaks: more samples look augmented than if reals and fakes are.
# * Augmenting only in D's step is worse than augmenting in both networks' steps: its FID is larger.
# * Augmentation helps with 500 images: the FID is smaller than without, and the variety larger.
#   Whether it does may depend on D. So the claim is tested with four Ds, all of which are shown,
#   with 16 and with 64 channels, and with learning rates of .002 and of .0005. It holds if it holds
#   with each of them.
# * Augmentation helps with 100 images, in the same sense.
#
# All claims but the third are tested with the D of 16 channels and the rate of .002 alone. The
# rule, fixed before the runs: a claim holds if all seeds of one side are beyond all seeds of the
# other, and the medians differ by at least a tenth. It is reversed if the same is true the other
# way round, and otherwise undecided at this scale. (A G that knows only 500 images covers few of
# the test images, so that a small recall is no failure here; runs that diverge are failures.)

# %%
import numpy as np

from tinygan import data, grad, nn, no_grad, ops, optim, tensor
from tinygan.gan.augment import Augment
from tinygan.metrics import Extractor
from tinygan.metrics.scores import variance_within_classes
from tinygan.study import Study, larger, median_over_seeds, plot_bars, plot_images, smaller
from tinygan.training.sampling import classes_in_turn, generate, latents, load_networks

STUDY_SIZE = None  # in a notebook: "tiny" (seconds), "fast" (the default) or "full" (hours)
study = Study("diffaugment", __doc__, size=STUDY_SIZE)
digits, rng = data.load("digits"), np.random.default_rng(0)
augment = Augment("diffaug", rng=np.random.default_rng(1))

# %% [markdown]
# ## A classifier: augmented or not?

# %%
classifier = nn.Sequential(
    nn.Conv2d(1, 16, 4, 2, 1, rng=rng),
    nn.LeakyReLU(0.2),
    nn.Conv2d(16, 32, 4, 2, 1, rng=rng),
    nn.LeakyReLU(0.2),
    nn.Flatten(),
    nn.Linear(32 * 7 * 7, 1, rng=rng),
)
optimizer = optim.Adam(classifier.parameters(), lr=1e-3)
for step in range(study.choose(3, 500, 1500)):
    images, _ = digits.batch(step, batch_size=64, seed=0)
    augmented = augment(tensor(images[:32]), real=True)
    logits = classifier(ops.concatenate([augmented, tensor(images[32:])]))
    loss = ops.binary_cross_entropy_with_logits(
        logits, np.repeat([[1.0], [0.0]], 32, 0).astype(np.float32)
    )
    optimizer.step(grad(loss, classifier.parameters()))


def share(images):
    """Return the share of the images, in [-1, 1], that the classifier calls augmented."""
    with no_grad():
        return float((classifier(images).numpy() > 0).mean())


test = tensor(data.to_float(data.load("digits", "test").images[:1000]))
called_augmented = {"test images": share(test), "augmented": share(augment(test, real=True))}
print(
    f"called augmented: {called_augmented['augmented']:.1%} of the augmented test images, "
    f"{called_augmented['test images']:.1%} of the others"
)

# %% [markdown]
# ## The variety within classes

# %%
name = study.choose("digits", "digits", "mnist")
extractor, real = Extractor(name), data.load(name, "test")


def variance_within(images, labels):
    return variance_within_classes(*extractor(images), labels)


of_reals = variance_within(real.images, real.labels)


def measure(folder, n=study.choose(100, 1000, 5000)):
    """Measure n samples of a run's G: the share that look augmented, and the variety."""
    G, _ = load_networks(folder)
    labels = classes_in_turn(G, n)
    images = generate(G, latents(np.random.default_rng(0), n, G), labels)
    return {
        "augmented": share(data.to_float(images)),
        "variety": variance_within(images, labels) / of_reals,
    }


# %% [markdown]
# ## The runs

# %%
ways = {
    "none": "augment=none",
    "both": "augment=diffaug",
    "reals only": "augment=diffaug augment_where=reals",
    "D's step only": "augment=diffaug augment_where=d_step",
}
others = {
    f"{way}, D {channels}, rate {rate}": f"{ways[way]} d_channels={channels} d_lr={rate}"
    for channels, rate in ((16, 0.0005), (64, 0.002), (64, 0.0005))
    for way in ("none", "both")
}
with_100 = {way: f"{way}, 100 images" for way in ("none", "both")}
common = "d_channels=16 d_lr=0.002 train_size"
runs = study.train(
    {way: f"{changes} {common}=500" for way, changes in ways.items()}
    | {label: f"{changes} train_size=500" for label, changes in others.items()}
    | {label: f"{ways[way]} {common}=100" for way, label in with_100.items()},
    "quick",
    "g_channels=16 batch_size=32 ema=0.998",
    steps=study.choose(4, 1000, 3500),
    also=measure,
    least_recall=0.0,
)
study.compare(
    "augmented",
    runs,
    {
        "share of samples called augmented": ("also.augmented", 3),
        "variety within classes": ("also.variety", 2),
        "FID": ("fid", 2),
        "precision": ("precision", 2),
        "recall": ("recall", 3),
        "class accuracy": ("class_accuracy", 2),
    },
)
leaks, variety = (median_over_seeds(runs, f"also.{key}") for key in ("augmented", "variety"))
fid = median_over_seeds(runs, "fid")

# %% [markdown]
# ## The figure

# %%
figure, panels = study.figure("aa;bc", 11, height_ratios=(1.15, 1))
reals = digits.images[:20]
augmented_reals = data.to_uint8(augment(tensor(data.to_float(reals[10:])), real=True).numpy())
plot_images(
    panels["a"],
    np.concatenate([reals[:10], augmented_reals, *(runs[way][0].images[:10] for way in ways)]),
    10,
    "samples of the first seed; the requested digit is at the foot of each column",
    ["real images", "augmented", *(f"{way}: FID {fid[way]:.1f}" for way in ways)],
    list("0123456789"),
)
plot_bars(
    panels["b"],
    {way: runs[way] for way in ways},
    "also.augmented",
    "share that look augmented",
    title="500 images: does it leak? (lower is better)",
    ylim=(0, 1),
)
few = {label: runs[label] for label in ("none", "both", *others, *with_100.values())}
plot_bars(
    panels["c"],
    few,
    "also.variety",
    "variety within classes",
    [label.replace(", rate ", ",\n").replace("D ", "").replace(", 100", ",\n100") for label in few],
    title="variety of the samples (1: that of reals)",
)
panels["c"].tick_params("x", rotation=60)

# %% [markdown]
# ## The result

# %%
d_step_only = "D's step only"
pairs = [("none", "both"), *zip(list(others)[::2], list(others)[1::2])]
helps = lambda none, both: [
    smaller(runs, "fid", both, none, "FID"),
    larger(runs, "also.variety", both, none, "variety"),
]
claims = {
    "augmenting only the reals leaks": larger(
        runs, "also.augmented", "reals only", "both", "share that look augmented"
    ),
    "augmenting only in D's step is worse": larger(runs, "fid", d_step_only, "both", "FID"),
    "augmentation helps with 500 images": [
        comparison for none, both in pairs for comparison in helps(none, both)
    ],
    "augmentation helps with 100 images": helps(*with_100.values()),
}
study.save_figure(
    figure,
    f"Augmenting only the reals leaks into {leaks['reals only']:.0%} of the samples, "
    f"augmenting both into {leaks['both']:.0%}",
)
study.finding(
    f"With 500 images: if only the reals are augmented, {leaks['reals only']:.0%} of the samples "
    f"look augmented, against {leaks['both']:.0%} if reals and fakes are. Augmenting only in D's "
    f"step gives an FID of {fid[d_step_only]:.1f}, in both networks' steps of {fid['both']:.1f}, "
    f"and no augmentation of {fid['none']:.1f}.",
    claims,
    "FID and variety within classes, without and with augmentation: "
    + "; ".join(
        f"{none.removeprefix('none, ') if none != 'none' else 'D 16, rate 0.002'}: FID "
        f"{fid[none]:.1f} and {fid[both]:.1f}, variety {variety[none]:.2f} and {variety[both]:.2f}"
        for none, both in (*pairs, with_100.values())
    )
    + ".",
    augmented=leaks,
    variety=variety,
    fid=fid,
    classifier=called_augmented,
)
