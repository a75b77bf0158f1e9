# %% [markdown]
"""BigGAN: the class in batch-norm, scale, and the truncation trick.

python demos/biggan.py              # two to three minutes
python demos/biggan.py --full       # full MNIST, three seeds, at most ten minutes per run
"""

# %% [markdown]
# ## Three ideas
#
# BigGAN gives the class to every layer of G, through the scale and shift of its batch-norm, instead
# of concatenating it to z once. It trains with huge batches and many channels: "scale helps". And
# to sample, it draws latents closer to zero than in training, the truncation trick: less variety,
# better images. We measure each idea by itself.
#
# ## The claims
#
# * The class belongs in batch-norm: the FID is smaller than with concatenation.
# * Truncation trades variety for quality: from the largest threshold to the smallest one, the
#   precision rises and the recall falls. Both are measured with the same G, so each seed counts.
# * Larger batches help: after the same number of images, the FID with batches of 128, and with
#   batches of 32, is smaller than with batches of 8.
# * More channels help: with batches of 32, 16 channels have a smaller FID than 8.
#
# A larger batch allows a larger learning rate. So for each batch size, and each number of channels,
# we take the best of four rates (half the recipe's, the recipe's, twice and four times that), by
# the FID of held-out images with seed 0. If the best one is the smallest or the largest of the
# four, a better one may lie beyond it: then a claim about it is undecided.
#
# The rule, fixed before the runs: a claim holds if all seeds of one side are beyond all seeds of
# the other, and the medians differ by at least a tenth. It is reversed if the same is true the
# other way round, and otherwise undecided at this scale. A run with a recall below .05 has failed,
# and counts as worse than any other.

# %%
import numpy as np

from tinygan import data
from tinygan.metrics import Evaluator
from tinygan.study import (
    COLORS,
    Comparison,
    Study,
    median,
    median_and_all,
    median_over_seeds,
    plot_evaluations,
    plot_images,
    set_log_scale,
    smaller,
)
from tinygan.training.sampling import generate, latents, load_networks, truncate

STUDY_SIZE = None  # in a notebook: "tiny" (seconds), "fast" (the default) or "full" (hours)
study = Study("biggan", __doc__, size=STUDY_SIZE)
test = data.load(study.choose("digits", "digits", "mnist"), "test")
evaluator = Evaluator(test.subset(slice(study.choose(200, 1000, None))))
thresholds = study.choose((0.3, 1.0), (0.3, 1.0, 3.0), (0.1, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0))


def truncated(folder):
    """Measure FID, precision, recall and class accuracy at each truncation threshold. Entries of z
    that are beyond the threshold are redrawn."""
    G, _ = load_networks(folder)
    n, rows = study.choose(100, 1000, 5000), []
    for threshold in thresholds:
        # Batch-norm gets the statistics of images of such latents.
        truncate(G, threshold, np.random.default_rng(4), study.choose(2, 16, 16))
        images = generate(G, latents(np.random.default_rng(3), n, G, threshold), np.arange(n) % 10)
        report = evaluator.quick(images, np.arange(n) % 10)
        rows.append({key: report[key] for key in ("fid", "precision", "recall", "class_accuracy")})
    return {"truncation": rows}


# %% [markdown]
# ## The class in batch-norm, against concatenation; and the trade-off of truncation

# %%
channels, ema = study.choose(8, 8, 16), study.choose(0.9, 0.99, 0.999)
batches_of_statistics = study.choose(1, 16, 16)
quality = {
    "FID": ("fid", 2),
    "precision": ("precision", 3),
    "recall": ("recall", 3),
    "class accuracy": ("class_accuracy", 3),
}
class_runs = study.train(
    {"batch-norm": "g_class=cbn", "concatenation": "g_class=concat"},
    "biggan",
    steps=study.choose(2, 500, 1500),
    g_channels=channels,
    d_channels=channels,
    standing=batches_of_statistics,
    ema=ema,
    also=truncated,
)
study.compare("the class, by", class_runs, quality)


def at_thresholds(key):
    """Return [[the number of each seed] for each threshold] of the G with batch-norm."""
    return [
        [None if run.failed else run.also["truncation"][i][key] for run in class_runs["batch-norm"]]
        for i in range(len(thresholds))
    ]


study.table(
    ("threshold", *(f"{threshold:g}" for threshold in thresholds)),
    *(
        (name, *(f"{median(values):.3f}" for values in at_thresholds(key)))
        for name, (key, _) in quality.items()
    ),
)

# %% [markdown]
# ## Larger batches, and more channels, each with the best of some learning rates
#
# D makes two updates in each step. Large batches are computed in micro-batches of 64, and the
# average of G is taken over equally many images.

# %%
images, batches = study.choose(16, 4096, 20_480), study.choose((4, 8), (8, 32), (8, 32, 128))
factors = study.choose((1, 2), (0.5, 1, 2), (0.5, 1, 2, 4))
by_batch = {batch: f"batches of {batch}" for batch in batches}
others = study.choose(16, 16, 8)  # channels
by_width = {channels: by_batch[batches[1]], others: f"batches of {batches[1]}, {others} channels"}
scales = {name: (batch, channels) for batch, name in by_batch.items()}
scales[by_width[others]] = batches[1], others


def at_scale(name, factor):
    (batch, width), steps = scales[name], images // (2 * scales[name][0])
    return (
        f"steps={steps} batch_size={batch} micro_batch={64 if batch > 64 else 0} "
        f"g_channels={width} d_channels={width} ema={ema ** (batch / 16):.4f} "
        f"lr={factor * 1e-3:g} d_lr={factor * 2e-3:g} eval_every={max(1, steps // 8)} "
        f"eval_images={study.choose(100, 500, 2000)}"
    )


def train_at_scale(seeds, factors_of):
    """Train each scale with each of its factors; return {name: {factor: Runs}}."""
    label_of = lambda name, factor: f"{name}, rate x{factor:g}"
    pairs = [(name, factor) for name in scales for factor in factors_of[name]]
    found = study.train(
        {label_of(*pair): at_scale(*pair) for pair in pairs},
        "biggan",
        standing=batches_of_statistics,
        seeds=seeds,
    )
    return {
        name: {factor: found[label_of(name, factor)] for factor in factors_of[name]}
        for name in scales
    }


def held_out(run):
    """Return the FID of held-out images at the end of a run; infinite if the run failed."""
    return np.inf if run.failed else run.evaluations[-1]["fid"]


search = train_at_scale(study.seeds[:1], dict.fromkeys(scales, factors))
searched = {
    name: [held_out(by_factor[factor][0]) for factor in factors]
    for name, by_factor in search.items()
}
best = {name: factors[int(np.argmin(fids))] for name, fids in searched.items()}
further = train_at_scale(study.seeds[1:], {name: [factor] for name, factor in best.items()})
scale_runs = {name: search[name][best[name]] + further[name][best[name]] for name in scales}
at_the_edge = {name for name, factor in best.items() if factor in (factors[0], factors[-1])}
study.table(
    ("FID of held-out images, seed 0", *(f"rate x{factor:g}" for factor in factors)),
    *((name, *(f"{fid:.1f}" for fid in fids)) for name, fids in searched.items()),
)
study.compare(f"{images:,} images, {channels} channels", scale_runs, quality)

# %% [markdown]
# ## The figures

# %%
figure, panels = study.figure("ab;cc;dd", 12.5, height_ratios=(1, 0.75, 0.55))
middles = {
    key: [median(values) for values in at_thresholds(key)] for key in ("precision", "recall")
}
for (key, values), color in zip(middles.items(), COLORS):
    panels["a"].plot(thresholds, values, color, marker="o", label=key, linewidth=2)
panels["a"].set(
    title="quality for variety (higher is better)",
    xlabel="truncation threshold",
    ylim=(0, 1),
    xlim=(0, None),
)
x = np.linspace(-3.5, 3.5, 400)
density = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
kept = np.abs(x) <= 1
panels["b"].plot(x, density, "k", linewidth=2)
panels["b"].fill_between(x, density, where=kept, color=COLORS[0], alpha=0.5, label="kept")
panels["b"].fill_between(x, density, where=x < -1, color=COLORS[1], alpha=0.5, label="redrawn")
panels["b"].fill_between(x, density, where=x > 1, color=COLORS[1], alpha=0.5)
panels["b"].set(title="threshold 1: the ends of the bell curve are cut", xlabel="an entry of z")
panels["b"].set_yticks(())
panels["b"].legend(frameon=False)
panels["a"].legend(frameon=False)
panels["a"].grid(alpha=0.3)


def images_by_threshold():
    """Yield a row of images for every other threshold, from the same latents except for the entries
    that are redrawn."""
    G, _ = load_networks(class_runs["batch-norm"][0].folder)
    for threshold in thresholds[::2]:
        truncate(G, threshold, np.random.default_rng(4))
        yield generate(G, latents(np.random.default_rng(1), 10, G, threshold), np.arange(10))


plot_images(
    panels["c"],
    study.cached_images("thresholds", lambda: np.concatenate(list(images_by_threshold()))),
    10,
    "the same latents, truncated",
    [f"threshold {threshold:g}" for threshold in thresholds[::2]],
    list("0123456789"),
)
fid = median_over_seeds(class_runs, "fid")
plot_images(
    panels["d"],
    np.concatenate([group[0].images[:10] for group in class_runs.values()]),
    10,
    "the class in batch-norm, and beside z; first seed",
    [f"{label}: FID {fid[label]:.1f}" for label in class_runs],
    list("0123456789"),
)
precision, variety = ((values[-1], values[0]) for values in middles.values())
study.save_figure(
    figure,
    "Truncation cuts the ends of the bell curve: the precision goes from {:.2f} to {:.2f},\n"
    "the recall from {:.2f} to {:.2f}".format(*precision, *variety),
)

figure, panels = study.figure("ab;cc", 8, height_ratios=(1, 0.9))
for (name, values), color in zip(searched.items(), COLORS):
    panels["a"].plot(factors, values, color, marker="o", label=name, linewidth=2)
panels["a"].set(
    title="which rate? (seed 0; lower is better)",
    xscale="log",
    xlabel="learning rate, relative to the recipe's",
    ylabel="FID (held-out images)",
)
panels["a"].set_xticks(factors, [f"x{factor:g}" for factor in factors])
panels["a"].tick_params("x", which="minor", bottom=False, labelbottom=False)
panels["a"].legend(frameon=False)
plot_evaluations(panels["b"], scale_runs, over="share")
panels["b"].set(title="learning curves with the best rate (lower is better)")
panels["b"].legend(frameon=False)
for letter in "ab":
    set_log_scale(panels[letter])
    panels[letter].grid(alpha=0.3)
scale_fid = median_over_seeds(scale_runs, "fid")
plot_images(
    panels["c"],
    np.concatenate([group[0].images[:10] for group in scale_runs.values()]),
    10,
    "samples of the first seed; the requested digit is below",
    [f"{name}: FID {scale_fid[name]:.1f}" for name in scales],
    list("0123456789"),
)
study.save_figure(
    figure, "After equally many images: which batch size, and how many channels?", part="scale"
)

# %% [markdown]
# ## The result

# %%
smallest, *larger_ones = by_batch.values()
narrow, wide = (by_width[width] for width in sorted(by_width))
unless_at_the_edge = lambda names, claim: [] if at_the_edge & {*names} else claim
ends = {key: at_thresholds(key) for key in ("precision", "recall")}
low, high = f"threshold {thresholds[0]:g}", f"threshold {thresholds[-1]:g}"
claims = {
    "the class belongs in batch-norm": smaller(
        class_runs, "fid", "batch-norm", "concatenation", "FID"
    ),
    "truncation trades variety for quality": [
        Comparison("precision", (high, low), (ends["precision"][-1], ends["precision"][0])),
        Comparison("recall", (low, high), (ends["recall"][0], ends["recall"][-1])),
    ],
    "larger batches help after the same number of images": unless_at_the_edge(
        by_batch.values(),
        [smaller(scale_runs, "fid", name, smallest, "FID") for name in larger_ones],
    ),
    "more channels help": unless_at_the_edge(
        (wide, narrow), smaller(scale_runs, "fid", wide, narrow, "FID")
    ),
}
of_class = [
    median_and_all([run.number_or_none("fid") for run in group], 1) for group in class_runs.values()
]
study.finding(
    "With the class in batch-norm, the FID is {}; with concatenation, it is {}. ".format(*of_class)
    + f"After {images:,} images, each with the best of {len(factors)} learning rates, the FID is "
    + ", ".join(f"{fid:.1f} ({name})" for name, fid in scale_fid.items())
    + f". If the truncation threshold goes down from {thresholds[-1]:g} to {thresholds[0]:g}, the "
    f"precision goes from {middles['precision'][-1]:.2f} to {middles['precision'][0]:.2f} and the "
    f"recall from {middles['recall'][-1]:.2f} to {middles['recall'][0]:.2f}.",
    claims,
    "The best rates, relative to the recipe's: "
    + ", ".join(f"{factor:g} for {name}" for name, factor in best.items())
    + ". The last or first of the rates is the best one for: "
    + (", ".join(sorted(at_the_edge)) or "none")
    + ".",
    fid=fid,
    scale=scale_fid,
    rates=best,
    thresholds=list(thresholds),
    truncation=middles,
)
