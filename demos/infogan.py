# %% [markdown]
"""InfoGAN: does G find the classes of the digits by itself, and their slant and width?

python demos/infogan.py              # two to three minutes
python demos/infogan.py --full       # full MNIST, three seeds, about ten minutes per run
"""

# %% [markdown]
# ## Codes that can be read
#
# A GAN's latents mean nothing by themselves: G may use each number as it likes. InfoGAN (Chen et
# al. 2016) gives a few of them a meaning: a category, one of ten, and two continuous codes. A head
# Q of D has to tell the codes of a fake from the image alone, and G is rewarded if it can. No image
# has a label. What will G write into the codes? What changes an image most and can be read from
# every image: the class of a digit, and then the style of the stroke.
#
# The paper claims that the category, read as a classifier's answer, is wrong for 5% of the digits
# of MNIST, and that the two continuous codes are slant and width. We measure that:
#
# * Q names the category of real images that neither network has seen. Each category stands for the
#   class with which it goes together on training images, by the best matching of the ten categories
#   to the ten classes. Plain clustering, by k-means on pixels (the best of ten starts, by its own
#   objective), is matched in the same way.
# * The classifier of the metrics reads G's samples: does a category always give the same digit?
# * Slant and width of the ink are computed from moments; the width is that of the ink after its
#   slant was undone. r is the correlation with a code within the samples of a category.
#
# These are the claims and their rules, fixed before the runs. The category is the class if the
# accuracy is at least 95% for every seed, and better than k-means if it is higher for every seed
# and the median by a tenth. One code is slant, and the other width, if for every seed the |r| of
# each with its own attribute is at least .5, and larger than the |r| of the other code with that
# attribute. If the opposite is true of every seed, a claim is reversed; otherwise, it is undecided
# at this scale.

# %%
import numpy as np
from scipy.cluster.vq import kmeans2, vq
from scipy.optimize import linear_sum_assignment

from tinygan import data, no_grad, tensor
from tinygan.metrics import Extractor
from tinygan.metrics.separability import ink_statistics
from tinygan.study import (
    COLORS,
    Comparison,
    Study,
    median_and_all,
    median_over_seeds,
    plot_images,
    plot_log,
)
from tinygan.training.sampling import generate, latents, load_networks

STUDY_SIZE = None  # in a notebook: "tiny" (seconds), "fast" (the default) or "full" (hours)
study = Study("infogan", __doc__, size=STUDY_SIZE)
name = study.choose("digits", "digits", "mnist")
training, test, extractor = data.load(name), data.load(name, "test"), Extractor(name)
training = training.subset(slice(study.choose(500, 10_000, 10_000)))
test = test.subset(slice(study.choose(200, None, None)))

# %% [markdown]
# ## The best matching
#
# Categories have no order. A table counts how often each category meets each class; the matching is
# the one to one assignment with the largest sum.


# %%
def counts(categories, classes):
    """Return the table (10, 10): how often each category meets each class."""
    table = np.zeros((10, 10), int)
    np.add.at(table, (categories, classes), 1)
    return table


def matching(table):
    """Return the class (10,) that each category stands for."""
    return linear_sum_assignment(table, maximize=True)[1]


def accuracy(categories, classes, class_of):
    """Return the share of images whose category stands for their class."""
    return float((class_of[categories] == classes).mean())


pixels = [part.images.reshape(len(part), -1) / 255 for part in (training, test)]
starts = [
    kmeans2(pixels[0], 10, iter=50, minit="++", seed=seed)
    for seed in range(study.choose(1, 10, 10))
]
errors = [np.square(vq(pixels[0], centres)[1]).sum() for centres, _ in starts]
centres, clusters = starts[np.argmin(errors)]
class_of_cluster = matching(counts(clusters, training.labels))
k_means = accuracy(vq(pixels[1], centres)[0], test.labels, class_of_cluster)
print(f"k-means finds the class of {k_means:.1%} of the test images")

# %% [markdown]
# ## The measurements of a run


# %%
def guesses(D, images):
    """Return Q's most likely category of each image: (N,)."""
    with no_grad():
        parts = np.array_split(data.to_float(images), max(1, len(images) // 250))
        return np.concatenate([D(tensor(x))[1][:, :10].numpy().argmax(1) for x in parts])


def within(values, categories):
    """Return values minus the mean of their category."""
    means = [values[categories == k].mean() if (categories == k).any() else 0 for k in range(10)]
    return values - np.array(means)[categories]


def correlation(a, b):
    """Return the correlation of two arrays (N,); 0 if one of them is constant."""
    a, b = a - a.mean(), b - b.mean()
    lengths = np.sqrt(a @ a) * np.sqrt(b @ b)
    return float(a @ b / lengths) if lengths else 0.0


def measure(folder, n=study.choose(200, 2000, 10_000)):
    """Measure the accuracies, and |r| of both codes with slant and width."""
    G, D = load_networks(folder)
    class_of = matching(counts(guesses(D, training.images), training.labels))
    table = counts(guesses(D, test.images), test.labels)
    z = latents(np.random.default_rng(1), n, G)
    images, (categories, codes) = generate(G, z), G.codes(z)
    digits = extractor(images)[1][:, 0].argmax(1)
    ink = ink_statistics(images)
    sheared = ink["slant"] * ink["height"]  # the part of the width that comes from the slant
    upright = np.sqrt(np.maximum(ink["width"] ** 2 - sheared**2, 0))
    ink = {"slant": within(ink["slant"], categories), "width": within(upright, categories)}
    r = np.array(
        [[correlation(code, ink[key]) for code in codes.numpy().T] for key in ("slant", "width")]
    )
    code_of = linear_sum_assignment(np.abs(r), maximize=True)[1]  # one for slant, one for width
    return {
        "accuracy": float(table[np.arange(10), class_of].sum() / table.sum()),
        "samples": accuracy(categories, digits, class_of),
        "class_of": class_of.tolist(),
        "table": table.tolist(),
        "r": r.tolist(),
        "code_of": code_of.tolist(),
        "slant": float(abs(r[0, code_of[0]])),
        "width": float(abs(r[1, code_of[1]])),
        "others": np.abs(r[[0, 1], code_of[::-1]]).tolist(),  # |r| with the code of the other
    }


# %% [markdown]
# ## The runs

# %%
runs = study.train(
    {"InfoGAN": study.choose("g_channels=4 d_channels=4 hidden=16", "", "")},
    "infogan",
    steps=study.choose(4, 1000, 6000),
    also=measure,
)
study.compare(
    "",
    runs,
    {
        "accuracy of Q on test images": ("also.accuracy", 3),
        "samples that show the category's class": ("also.samples", 3),
        "abs. r of slant and its code": ("also.slant", 2),
        "abs. r of width and its code": ("also.width", 2),
        "FID": ("fid", 2),
        "precision": ("precision", 2),
        "recall": ("recall", 2),
    },
)
middle = {
    key: median_over_seeds(runs, f"also.{key}")["InfoGAN"]
    for key in ("accuracy", "samples", "slant", "width")
}

# %% [markdown]
# ## The figure
#
# In each grid, a row has one category, in the order of the classes that they stand for; along the
# row, one continuous code goes from -.95 to .95, and all else stays the same. (Its z goes from -2
# to 2. In the paper's figure, codes go from -2 to 2, beyond those of training.)


# %%
def grid(which):
    """Generate the grid of the code for slant (which=0) or for width (1), with the first seed."""
    run = runs["InfoGAN"][0]
    G, _ = load_networks(run.folder)
    z = np.zeros((10, 10, G.latent), np.float32)
    z[:] = np.random.default_rng(2).standard_normal(G.latent)
    z[..., -12:] = 0  # ten numbers for the category, two continuous codes
    z[np.arange(10), :, -12 + np.argsort(run.also["class_of"])] = 1
    z[..., -2 + run.also["code_of"][which]] = np.linspace(-2, 2, 10)
    return generate(G, tensor(z.reshape(100, -1), dtype="float32"))


first = runs["InfoGAN"][0].also
figure, panels = study.figure("ab;cd", 11.6, height_ratios=(1.15, 1))
codes = [f"{code:+.2f}" for code in np.tanh(np.linspace(-2, 2, 10))]
for letter, (which, key) in zip("ab", enumerate(("slant", "width"))):
    plot_images(
        panels[letter],
        study.cached_images(key, lambda which=which: grid(which)),
        10,
        f"along the code for {key} (|r| = {first[key]:.2f})",
        [f"class {k}" for k in range(10)],
    )
    panels[letter].set_xlabel(f"the code, from {codes[0]} to {codes[-1]}")
shares = np.array(first["table"])[np.argsort(first["class_of"])]
panels["c"].imshow(shares / shares.sum(0), cmap="Blues", vmin=0, vmax=1)
panels["c"].set(
    title=f"Q's answers, first seed: {first['accuracy']:.0%} right (k-means: {k_means:.0%})",
    xlabel="class of a test image",
    ylabel="class of Q's category",
    xticks=range(10),
    yticks=range(10),
)
for key, color, label in (
    ("g_category_loss", COLORS[0], "category: -log Q, nats"),
    ("g_continuous_loss", COLORS[1], "continuous: half the squared error"),
):
    plot_log(panels["d"], runs, key, color=color, label=label)
handles, labels = panels["d"].get_legend_handles_labels()
panels["d"].legend(*zip(*{label: (h, label) for h, label in zip(handles, labels)}.values()))
panels["d"].set(title="the losses of the codes (lower is better)", ylabel="loss")

# %% [markdown]
# ## The result

# %%
group = runs["InfoGAN"]
all_seeds = lambda key: [run.also[key] for run in group]
spread = lambda key: median_and_all(all_seeds(key), 3)
study.save_figure(
    figure,
    f"Without labels, the category becomes the digit's class in {middle['accuracy']:.0%} of the "
    "test images\n(median of the seeds)",
)
study.finding(
    f"Without labels, Q finds the class of {middle['accuracy']:.1%} of the test images (k-means on "
    f"pixels: {k_means:.1%}; the paper claims 95%), and {middle['samples']:.1%} of samples show "
    "the class of their category. Within a category, one continuous code correlates with slant by "
    f"{middle['slant']:.2f}, the other with width by {middle['width']:.2f} (medians of the seeds).",
    {
        "the category is the class, with an error of at most 5%": [
            accuracy >= 0.95 for accuracy in all_seeds("accuracy")
        ],
        "the category finds the class better than k-means": Comparison(
            "accuracy", ("k-means", "InfoGAN"), ([k_means], all_seeds("accuracy"))
        ),
        "one code is slant, the other width": [
            min(also["slant"], also["width"]) >= 0.5
            and also["slant"] > also["others"][0]
            and also["width"] > also["others"][1]
            for also in (run.also for run in group)
        ],
    },
    f"Accuracy of Q on test images, median and all seeds: {spread('accuracy')}; of the samples: "
    f"{spread('samples')}; |r| of slant: {spread('slant')}, of width: {spread('width')}.",
    **middle,
    k_means=k_means,
)
