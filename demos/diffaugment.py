# %% [markdown]
"""DiffAugment: why reals and fakes must be augmented, in both networks' steps.

python demos/diffaugment.py              # one to two minutes
python demos/diffaugment.py --full       # full MNIST, three seeds, a few minutes per run
"""

# %% [markdown]
# ## Three ways to augment
#
# If the real images vary more, D cannot memorise them so easily. But if only the reals are
# augmented, G learns to generate augmented images, because D's examples of real images have holes
# and grey borders. If reals and fakes are augmented, but not in G's step, D scores unaugmented
# fakes there, a kind of image that it has never seen. Only one way is right: augment reals and
# fakes, in D's step and, differentiably, in G's.
#
# In the grids, look for cut-out squares, shifts, and grey. A small classifier counts them: it is
# trained to distinguish augmented real images from other real images.

# %%
import numpy as np

from tinygan import data, grad, nn, no_grad, ops, optim, tensor
from tinygan.gan.augment import Augment
from tinygan.study import (
    Study,
    clearly_below,
    mean_and_range,
    mean_over_seeds,
    plot_bars,
    plot_images,
)
from tinygan.training.sampling import generate, latents, load_networks

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


def leak(folder, n=study.choose(100, 1000, 5000)):
    """Measure the share of n samples of a run's G that the classifier calls augmented."""
    G, _ = load_networks(folder)
    images = generate(G, latents(np.random.default_rng(0), n, G), np.arange(n) % 10)
    return {"augmented": share(data.to_float(images))}


# %% [markdown]
# ## The runs

# %%
variants = {
    "none": "augment=none",
    "both": "augment=diffaug",
    "reals only": "augment=diffaug augment_where=reals",
    "D's step only": "augment=diffaug augment_where=d_step",
}
runs = study.train(
    variants,
    "quick",
    "g_channels=16 d_channels=16 batch_size=32 ema=0.998",
    steps=study.choose(4, 1500, 6000),
    also=leak,
)
study.compare(
    "augmented",
    runs,
    {"share of samples called augmented": ("also.augmented", 3), "FID": ("fid", 2)},
)
leaks, fid = mean_over_seeds(runs, "also.augmented"), mean_over_seeds(runs, "fid")

# %% [markdown]
# ## The figure

# %%
figure, axes = study.figure(11, 4, 2, 3)
reals = digits.images[:40]
plot_images(
    axes[0, 0],
    np.concatenate(
        [reals[:20], data.to_uint8(augment(tensor(data.to_float(reals[20:])), real=True).numpy())]
    ),
    10,
    "real images (above), and augmented (below)",
)
for ax, (label, group) in zip((axes[0, 1], axes[0, 2], axes[1, 0], axes[1, 1]), runs.items()):
    plot_images(
        ax,
        group[0].images,
        10,
        f"augmented: {label}\nFID {mean_and_range(run.fid for run in group)}",
    )
plot_bars(
    axes[1, 2],
    runs,
    "also.augmented",
    "share called augmented\n(dotted: of real images)",
    ylim=(0, 1),
)
axes[1, 2].axhline(called_augmented["test images"], color="black", linestyle=":", linewidth=1)
study.save_figure(figure, axes[0, 0], axes[1, 0])

# %% [markdown]
# ## The result

# %%
d_step_only = "D's step only"
leaking = leaks["reals only"] > 2 * leaks["both"] + 0.05
worse = clearly_below(runs, "fid", "both", d_step_only)
study.finding(
    f"Augmenting only the reals {'leaks' if leaking else 'does not leak here'}: "
    f"{leaks['reals only']:.0%} of the samples look augmented, against {leaks['both']:.0%} if "
    "reals and fakes are augmented. Augmenting only in D's step is "
    f"{'worse' if worse else 'not clearly worse'} than augmenting in both networks' steps (FID "
    f"{fid[d_step_only]:.1f} against {fid['both']:.1f}).",
    {"augmenting only the reals leaks": leaking, "augmenting only in D's step is worse": worse},
    "Share of the samples that a classifier calls augmented (real images: "
    f"{called_augmented['test images']:.0%}): "
    + ", ".join(f"{label} {leaks[label]:.0%} (FID {fid[label]:.1f})" for label in runs)
    + "."
    + " With this many training images, augmentation costs quality."
    * clearly_below(runs, "fid", "none", "both"),
    augmented=leaks,
    fid=fid,
    classifier=called_augmented,
)
