# %% [markdown]
"""Generating the digit that you request: two ways to give G the class, and three to give it to D.

python demos/conditional.py              # two to three minutes
python demos/conditional.py --full       # full MNIST, three seeds, a few minutes per run
"""

# %% [markdown]
# ## Where does the class go in?
#
# G has to know which digit it should generate, and D has to check it: is it a real *seven*? The
# lecture has these ways, from 2014 to 2018:
#
#     G  concatenation           an embedding of the class beside z (Mirza and Osindero 2014)
#        conditional batch-norm  the class scales and shifts every norm (Dumoulin et al. 2017)
#     D  concatenation           an image of the class beside x (Mirza and Osindero 2014)
#        auxiliary classifier    D also classifies the image, and both networks are rewarded for the
#                                right class (Odena et al. 2017)
#        projection              the inner product of D's features and an embedding of the class is
#                                added to D's logit (Miyato and Koyama 2018)
#
# Each way of G meets each way of D, in networks of equal depth. Does the classifier of the metrics
# recognise the requested class? And how much of the real images' variety do the samples cover (the
# recall)? The auxiliary classifier is known to trade one for the other: it rewards images that are
# easy to classify, and these are the typical ones.
#
# ## The claims
#
# * In G, conditional batch-norm is better than concatenation: with each way of D, the class error
#   (the share of samples that do not show the requested digit) and the FID are smaller.
# * In D, a projection is better than concatenation: with each way of G, the FID is smaller.
# * The auxiliary classifier loses variety: with each way of G, the recall is smaller than with
#   concatenation in D, and than with a projection.
#
# The rule, fixed before the runs: a claim holds if all seeds of one side are beyond all seeds of
# the other, and the medians differ by at least a tenth. It is reversed if the same is true the
# other way round, and otherwise undecided at this scale. A run with a recall below .05 has failed,
# and counts as worse than any other.

# %%
import numpy as np

from tinygan import data, no_grad, tensor
from tinygan.study import (
    COLORS,
    Study,
    lowest,
    median_and_all,
    median_over_seeds,
    plot_bars,
    plot_images,
    smaller,
)
from tinygan.training.sampling import load_networks

STUDY_SIZE = None  # in a notebook: "tiny" (seconds), "fast" (the default) or "full" (hours)
study = Study("conditional", __doc__, size=STUDY_SIZE)
in_g = {"concatenation": "concat", "batch-norm": "cbn"}
in_d = {"concatenation": "concat", "classifier": "auxiliary", "projection": "projection"}
variants = {
    f"G {g}, D {d}": f"g_class={g_class} d_class={d_class}"
    for g, g_class in in_g.items()
    for d, d_class in in_d.items()
}

# %% [markdown]
# ## The runs
#
# All have the networks, learning rates and penalty of `quick`, with 16 channels and three layers.
#
# Images are padded to 32x32, so that three layers fit. Conditional batch-norm then uses the class
# in three places. (With two layers, 54% of its samples showed the requested digit.)

# %%
runs = study.train(
    variants,
    "quick",
    "g_channels=16 d_channels=16 batch_size=32 ema=0.998 pad=2 layers=3",
    steps=study.choose(4, 800, 5000),
)
columns = {
    "class accuracy": ("class_accuracy", 3),
    "recall": ("recall", 3),
    "precision": ("precision", 3),
    "FID": ("fid", 2),
}
study.compare("the class, by", runs, columns)

# %% [markdown]
# ## Is it a real seven?
#
# D does not ask whether an image is real, but whether it is a real image of the given class. One
# real 7 gets ten logits, one for each label.


# %%
def logits_of_a_seven():
    """Return D's logits of the first 7 of the test images under the labels 0 to 9."""
    _, D = load_networks(runs["G concatenation, D projection"][0].folder)
    test = data.load(study.choose("digits", "digits", "mnist"), "test").padded(2)
    seven = data.to_float(test.images[test.labels == 7][:1])
    with no_grad():
        return D(tensor(np.repeat(seven, 10, 0)), np.arange(10)).numpy().tolist()


seven = study.cached("seven", logits_of_a_seven)
of_seven, panels = study.figure("a", 4.6)
panels["a"].bar(range(10), seven, color=[COLORS[int(k == 7)] for k in range(10)], alpha=0.8)
panels["a"].axhline(0, color="black")
panels["a"].set(
    title="D's logit of one real 7 (first seed)", xlabel="the label that D is given", ylabel="logit"
)
panels["a"].set_xticks(range(10))

# %% [markdown]
# ## The figure

# %%
figure, panels = study.figure("aa;bc", 13, height_ratios=(1.25, 1))
accuracy, recall, fid = (
    median_over_seeds(runs, key) for key in ("class_accuracy", "recall", "fid")
)
plot_images(
    panels["a"],
    np.concatenate([group[0].images[:10] for group in runs.values()]),
    10,
    "samples of the first seed; the requested digit is at the foot of each column",
    [f"{label}\n{accuracy[label]:.0%} right" for label in runs],
    list("0123456789"),
)
ticks = [label.replace(", ", "\n").replace("concatenation", "concat") for label in runs]
plot_bars(panels["b"], runs, "class_accuracy", "class accuracy", ticks, ylim=(0, 1))
panels["b"].set_title("as requested (higher is better)")
plot_bars(panels["c"], runs, "recall", "recall", ticks)
panels["c"].set_title("variety (higher is better)")
for letter in "bc":
    panels[letter].tick_params("x", rotation=45)

# %% [markdown]
# ## The result

# %%
claims = {
    "in G, conditional batch-norm is better than concatenation": [
        smaller(runs, path, f"G batch-norm, D {d}", f"G concatenation, D {d}", quantity)
        for d in in_d
        for path, quantity in (("class_error", "class error"), ("fid", "FID"))
    ],
    "in D, a projection is better than concatenation": [
        smaller(runs, "fid", f"G {g}, D projection", f"G {g}, D concatenation", "FID") for g in in_g
    ],
    "the auxiliary classifier loses variety": [
        smaller(runs, "recall", f"G {g}, D classifier", f"G {g}, D {d}")
        for g in in_g
        for d in in_d
        if d != "classifier"
    ],
}
failed = {label: sum(run.failed for run in group) for label, group in runs.items()}
best = lowest(runs, "fid")
study.save_figure(
    of_seven, "Is it a real 7? D asks for the class, not only for the image", part="seven"
)
study.save_figure(figure, f"The best of six ways to give the class is {best} (FID {fid[best]:.1f})")
study.finding(
    "A classifier recognises the requested digit in "
    + ", ".join(f"{accuracy[label]:.0%} ({label}; recall {recall[label]:.2f})" for label in runs)
    + f" of the samples, in the median. The lowest FID is that of {best}: {fid[best]:.2f}.",
    claims,
    f"{sum(failed.values())} of {sum(map(len, runs.values()))} runs failed"
    + (": " + ", ".join(f"{number} with {label}" for label, number in failed.items() if number))
    * bool(sum(failed.values()))
    + ". FID, median and all seeds: "
    + ", ".join(
        f"{label} {median_and_all([run.number_or_none('fid') for run in group], 1)}"
        for label, group in runs.items()
    )
    + ".",
    class_accuracy=accuracy,
    recall=recall,
    fid=fid,
    failed=failed,
)
