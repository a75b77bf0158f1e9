# %% [markdown]
"""Generating the digit that you request: four ways to give the networks the class.

python demos/conditional.py              # one to two minutes
python demos/conditional.py --full       # full MNIST, three seeds, a few minutes per run
"""

# %% [markdown]
# ## Where does the class go in?
#
# G has to know which digit it should generate, and D has to check it. The lecture has four ways,
# from 2014 to 2018:
#
#     concatenation           an embedding of the class beside z, and an image of the class beside x
#                             (Mirza and Osindero 2014)
#     auxiliary classifier    D also classifies the image, and both networks are rewarded for the
#                             right class (Odena et al. 2017)
#     projection              the inner product of D's features and an embedding of the class is
#                             added to D's logit (Miyato and Koyama 2018)
#     conditional batch-norm  the class scales and shifts G's layers (Dumoulin et al. 2017); D has a
#                             projection
#
# Two numbers tell whether it works. Accuracy: does a classifier recognise the requested class?
# Recall: how much of the real images' variety do the samples cover? The auxiliary classifier is
# known to trade recall for accuracy: it rewards images that are easy to classify, and these are the
# typical ones.

# %%
from tinygan.study import Study, clearly_below, mean_over_seeds, plot_bars, plot_images, plot_log

STUDY_SIZE = None  # in a notebook: "tiny" (seconds), "fast" (the default) or "full" (hours)
study = Study("conditional", __doc__, size=STUDY_SIZE)
variants = {
    "concatenation": "g_class=concat d_class=concat",
    "auxiliary classifier": "g_class=concat d_class=auxiliary",
    "projection": "g_class=concat d_class=projection",
    "conditional batch-norm": "g_class=cbn d_class=projection",
}

# %% [markdown]
# ## All four have the networks, learning rates and penalty of `quick`, with 16 channels
#
# G has only two layers here in which conditional batch-norm can use the class. Deep networks have
# many: see biggan.py.

# %%
runs = study.train(
    variants,
    "quick",
    "g_channels=16 d_channels=16 batch_size=32 ema=0.998",
    steps=study.choose(4, 1500, 6000),
)
study.compare(
    "the class, by",
    runs,
    {"class accuracy": ("class_accuracy", 3), "recall": ("recall", 3), "FID": ("fid", 2)},
)
accuracy, recall, fid = (mean_over_seeds(runs, key) for key in ("class_accuracy", "recall", "fid"))

# %% [markdown]
# ## The figure

# %%
figure, axes = study.figure(10, 4.6, 2, 4, height_ratios=(1, 1.7))
for ax, (label, group) in zip(axes[0], runs.items()):
    plot_images(
        ax,
        group[0].images,
        10,
        f"{label}:\n{group[0].class_accuracy:.0%} as asked (seed {group[0].seed})",
    )
for ax, key, name in zip(
    axes[1], ("class_accuracy", "recall", "fid"), ("class accuracy", "recall (variety)", "FID")
):
    plot_bars(ax, runs, key, name, ["concat", "auxiliary", "projec-\ntion", "cond.\nBN"])
axes[1, 0].set_ylim(0, 1)
plot_log(axes[1, 3], runs, "variety", "spread of a batch's pixels\n(1: that of reals)")
axes[1, 3].legend(frameon=False, fontsize=7, loc="lower right")
study.save_figure(figure, axes[1, 0], axes[1, 1])

# %% [markdown]
# ## The result

# %%
best, auxiliary = max(accuracy, key=accuracy.get), "auxiliary classifier"
pays = all(clearly_below(runs, "recall", auxiliary, label) for label in runs if label != auxiliary)
# D's own classifier also learns from the fakes. It can learn to assign them the requested class,
# whatever they look like.
best_auxiliary = max(runs[auxiliary], key=lambda run: run.class_accuracy)
fooled = sum(run.class_accuracy < 0.5 and run.log["g_class"][-1] < 0.1 for run in runs[auxiliary])
study.finding(
    "A classifier recognises the requested digit in "
    + ", ".join(f"{accuracy[label]:.0%} ({label}; recall {recall[label]:.2f})" for label in runs)
    + f" of the samples. The most accurate way is {best}, "
    + ("and" if pays else "but it is not clear that")
    + " the auxiliary classifier loses variety.",
    {
        "the auxiliary classifier loses variety": pays,
        "all four ways generate the requested digit": min(accuracy.values()) > 0.9,
    },
    f"With the auxiliary classifier, {fooled} of {len(study.seeds)} runs failed: D's own "
    "classifier is sure of the class of digits that an independent classifier does not recognise. "
    * bool(fooled)
    + f"The best run with the auxiliary classifier has an accuracy of "
    f"{best_auxiliary.class_accuracy:.2f} and a recall of {best_auxiliary.recall:.2f}.",
    class_accuracy=accuracy,
    recall=recall,
    fid=fid,
    fooled=fooled,
)
