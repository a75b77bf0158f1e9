"""Drawing the digit that you ask for: four ways to tell the networks the class.

python demos/conditional.py              # one to two minutes
python demos/conditional.py --full       # full MNIST, three seeds, some minutes a run
"""

# %% Where does the class go in?
# G has to know which digit it is asked for, and D has to care. The four ways of the lecture, from 2014 to 2018:
#
#   concatenation           an embedding of the class beside z, and an image of it beside x   (Mirza and Osindero 2014)
#   auxiliary classifier    D also says which class it sees, and both are rewarded for it     (Odena et al. 2017)
#   projection              D's logit gets the inner product of features and class added      (Miyato and Koyama 2018)
#   conditional batch-norm  G's layers are scaled and shifted by the class; D as before       (Dumoulin et al. 2017)
#
# Two numbers tell whether it works. Accuracy: does a classifier see the class that was asked for? Variety: how much
# of the real images' variety is covered (recall)? The auxiliary classifier is known to trade the second for the
# first: images that are easy to classify are rewarded, and those are the typical ones.
from tinygan.study import Study, bars, below, curves, means, show

study = Study(__file__, __doc__)
variants = {
    "concatenation": "g_class=concat d_class=concat",
    "auxiliary classifier": "g_class=concat d_class=auxiliary",
    "projection": "g_class=concat d_class=projection",
    "conditional batch-norm": "g_class=cbn d_class=projection",
}

# %% The same networks, rates and penalty for all: those of `quick`, 16 channels wide
# Conditional batch-norm has two layers here to tell G the class through, where deep networks have many: biggan.py.
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
accuracy, recall, fid = (means(runs, key) for key in ("class_accuracy", "recall", "fid"))

# %% The figure
figure, axes = study.figure(10, 4.6, 2, 4, height_ratios=(1, 1.7))
for ax, (label, found) in zip(axes[0], runs.items()):
    show(
        ax,
        found[0].images,
        10,
        f"{label}:\n{found[0].class_accuracy:.0%} as asked (seed {found[0].seed})",
    )
for ax, key, name in zip(
    axes[1], ("class_accuracy", "recall", "fid"), ("class accuracy", "recall (variety)", "FID")
):
    bars(ax, runs, key, name, ["concat", "auxiliary", "projec-\ntion", "cond.\nBN"])
axes[1, 0].set_ylim(0, 1)
curves(axes[1, 3], runs, "variety", "spread of a batch's pixels\n(1: that of reals)")
axes[1, 3].legend(frameon=False, fontsize=7, loc="lower right")
study.save(figure, axes[1, 0], axes[1, 1])

# %% What came of it
best, auxiliary = max(accuracy, key=accuracy.get), "auxiliary classifier"
pays = all(below(runs, "recall", auxiliary, label) for label in runs if label != auxiliary)
# D's own classifier learns from the fakes, too, and can come to call them by the class that was asked for, whatever they are.
good = max(runs[auxiliary], key=lambda run: run.class_accuracy)
fooled = sum(run.class_accuracy < 0.5 and run.log["g_class"][-1] < 0.1 for run in runs[auxiliary])
study.finding(
    "The digit that was asked for is recognised in "
    + ", ".join(f"{accuracy[label]:.0%} ({label}; recall {recall[label]:.2f})" for label in runs)
    + f" of the samples: {best} is surest, {'and' if pays else 'but it is not clear that'} the auxiliary classifier pays with variety.",
    {
        "the auxiliary classifier pays with variety": pays,
        "all ways draw the digit that is asked for": min(accuracy.values()) > 0.9,
    },
    f"With the auxiliary classifier, {fooled} of {len(study.seeds)} runs failed: D's own classifier is sure of the class of digits "
    f"which another does not recognise. "
    * bool(fooled)
    + f"The best of its runs has an accuracy of {good.class_accuracy:.2f} and a recall of {good.recall:.2f}.",
    class_accuracy=accuracy,
    recall=recall,
    fid=fid,
    fooled=fooled,
)
