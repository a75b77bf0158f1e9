"""DiffAugment: augment reals and fakes, in both networks' steps; what happens if not.

python demos/diffaugment.py              # one to two minutes
python demos/diffaugment.py --full       # full MNIST, three seeds, some minutes a run
"""

# %% Three ways to augment
# With more varied real images, D cannot so easily learn them by heart. But if reals alone are augmented, G learns to draw
# augmented images: what D calls real has holes and grey borders. If both are, but not in G's step, G is judged on
# images of a kind that D has never seen. Only one way is right: reals and fakes, in D's step and, differentiably, in
# G's.
#
# Look at the grids for squares cut out, shifts, and grey; and a small classifier, trained to tell augmented real
# images from others, counts.
import numpy as np

from tinygan import data, grad, nn, no_grad, ops, optim, tensor
from tinygan.gan.augment import Augment
from tinygan.study import Study, bars, below, means, show, span
from tinygan.training.sampling import generate, latents, load_networks

study = Study(__file__, __doc__)
digits, rng = data.load("digits"), np.random.default_rng(0)
augment = Augment("diffaug", rng=np.random.default_rng(1))

# %% A classifier of "augmented or not"
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
    """How many of the images, in [-1, 1], are taken for augmented ones."""
    with no_grad():
        return float((classifier(images).numpy() > 0).mean())


test = tensor(data.to_float(data.load("digits", "test").images[:1000]))
right = {"test images": share(test), "augmented": share(augment(test, real=True))}
print(
    f"called augmented: {right['augmented']:.1%} of augmented test images, {right['test images']:.1%} of the others"
)


def leak(folder, n=study.choose(100, 1000, 5000)):
    G, _ = load_networks(folder)
    images = generate(G, latents(np.random.default_rng(0), n, G), np.arange(n) % 10)
    return {"augmented": share(data.to_float(images))}


# %% The runs
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
leaks, fid = means(runs, "also.augmented"), means(runs, "fid")

# %% The figure
figure, axes = study.figure(11, 4, 2, 3)
reals = digits.images[:40]
show(
    axes[0, 0],
    np.concatenate(
        [reals[:20], data.to_uint8(augment(tensor(data.to_float(reals[20:])), real=True).numpy())]
    ),
    10,
    "real images (above), and augmented (below)",
)
for ax, (label, found) in zip((axes[0, 1], axes[0, 2], axes[1, 0], axes[1, 1]), runs.items()):
    show(ax, found[0].images, 10, f"augmented: {label}\nFID {span(run.fid for run in found)}")
bars(
    axes[1, 2],
    runs,
    "also.augmented",
    "share called augmented\n(dotted: of real images)",
    ylim=(0, 1),
)
axes[1, 2].axhline(right["test images"], color="black", linestyle=":", linewidth=1)
study.save(figure, axes[0, 0], axes[1, 0])

# %% What came of it
only = "D's step only"
leaking, worse = leaks["reals only"] > 2 * leaks["both"] + 0.05, below(runs, "fid", "both", only)
study.finding(
    f"Augmenting reals only {'leaks' if leaking else 'does not leak here'}: {leaks['reals only']:.0%} of the samples look augmented "
    f"({leaks['both']:.0%} where reals and fakes are); augmenting in D's step only is {'worse' if worse else 'not clearly worse'} than in "
    f"G's, too (FID {fid[only]:.1f} against {fid['both']:.1f}).",
    {"augmented reals alone leak": leaking, "augmenting in D's step alone is worse": worse},
    f"Samples that a classifier takes for augmented ones (real images: {right['test images']:.0%}): "
    + ", ".join(f"{label} {leaks[label]:.0%} (FID {fid[label]:.1f})" for label in runs)
    + "."
    + " With this many images to learn from, augmentation costs quality."
    * below(runs, "fid", "none", "both"),
    augmented=leaks,
    fid=fid,
    classifier=right,
)
