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

# %%
import numpy as np

from tinygan import data
from tinygan.metrics import Evaluator
from tinygan.study import (
    Study,
    clearly_below,
    mean_and_range,
    mean_over_seeds,
    plot_images,
    set_log_scale,
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
class_runs = study.train(
    {"batch-norm": "g_class=cbn", "concatenation": "g_class=concat"},
    "biggan",
    steps=study.choose(2, 500, 2000),
    g_channels=channels,
    d_channels=channels,
    standing=batches_of_statistics,
    ema=ema,
    also=truncated,
)
study.compare(
    "the class, by",
    class_runs,
    {"FID": ("fid", 2), "class accuracy": ("class_accuracy", 3), "recall": ("recall", 3)},
)
metrics = {
    "FID": "fid",
    "precision": "precision",
    "recall": "recall",
    "class accuracy": "class_accuracy",
}
study.table(
    ("threshold", *(f"{threshold:g}" for threshold in thresholds)),
    *(
        (
            name,
            *(
                mean_and_range(
                    [run.also["truncation"][i][key] for run in class_runs["batch-norm"]], 3
                )
                for i in range(len(thresholds))
            ),
        )
        for name, key in metrics.items()
    ),
)

# %% [markdown]
# ## Scale: batch size and width
#
# The paper compares batch sizes after the same number of steps, although a step with a larger batch
# costs more. After the same number of images, a larger batch has made fewer steps. We make both
# comparisons, with the same learning rates for all. Large batches are computed in micro-batches of
# 64.

# %%
images, batches, widths = (
    study.choose(16, 4096, 32_768),
    study.choose((4, 8), (8, 32), (8, 32, 128)),
    study.choose((8,), (8, 16), (8, 16)),
)
# Steps of the largest batch size until all images are used: D makes two updates per step.
few_steps = images // (2 * batches[-1])


def at_scale(batch, width, steps):
    return (
        f"steps={steps} batch_size={batch} micro_batch={64 if batch > 64 else 0} "
        f"g_channels={width} d_channels={width} ema={ema ** (batch / 16):.4f}"
    )


scales = {
    f"{batch} x {width}": at_scale(batch, width, images // (2 * batch))
    for width in widths
    for batch in batches
}
early = {
    f"{batch} x {width} early": at_scale(batch, width, few_steps)
    for width in widths
    for batch in batches[:-1]
}
scale_runs = study.train(scales | early, "biggan", standing=batches_of_statistics)
fid_after = {  # the same number of images, or the same number of steps
    "images": {label: [run.fid for run in scale_runs[label]] for label in scales},
    "steps": {
        label: [run.fid for run in scale_runs.get(f"{label} early", scale_runs[label])]
        for label in scales
    },
}
study.table(
    (
        "batch size",
        *(
            f"{width} channels, {steps}"
            for width in widths
            for steps in (f"{few_steps} steps", f"{images:,} images")
        ),
    ),
    *(
        (
            str(batch),
            *(
                mean_and_range(fid_after[way][f"{batch} x {width}"], 1)
                for width in widths
                for way in ("steps", "images")
            ),
        )
        for batch in batches
    ),
)

# %% [markdown]
# ## The figure

# %%
figure, axes = study.figure(11, 5, 2, 4)
for ax, (label, group) in zip(axes[0], class_runs.items()):
    plot_images(
        ax,
        group[0].images,
        10,
        f"class by {label}:\nFID {mean_and_range(run.fid for run in group)}",
    )
ax = axes[1, 0]
for i, width in enumerate(widths):
    for way, line, fill, name in (
        ("steps", "--", "none", f"{few_steps} steps"),
        ("images", "-", "full", f"{images:,} images"),
    ):
        by_batch = [fid_after[way][f"{batch} x {width}"] for batch in batches]
        ax.plot(
            batches,
            [np.mean(values) for values in by_batch],
            f"C{i}{line}",
            label=f"{width} channels, {name}",
        )
        for batch, values in zip(batches, by_batch):
            ax.plot([batch] * len(values), values, f"C{i}o", markersize=4, fillstyle=fill)
ax.set(xscale="log", xlabel="batch size (images)", ylabel="FID")
ax.set_xticks(batches, map(str, batches))
ax.tick_params("x", which="minor", bottom=False, labelbottom=False)
set_log_scale(ax)
ax.legend(frameon=False, fontsize=6)
for ax, (name, key) in zip([*axes[1, 1:], axes[0, 3]], metrics.items()):
    for i, (label, group) in enumerate(class_runs.items()):
        for run in group:
            ax.plot(
                thresholds,
                [row[key] for row in run.also["truncation"]],
                f"C{i}",
                marker="o",
                markersize=3,
                label=label if run is group[0] else None,
            )
    ax.set(xlabel="truncation threshold", ylabel=name)
    ax.grid(alpha=0.3)
set_log_scale(axes[1, 1])
axes[1, 1].legend(frameon=False, fontsize=7)


def images_by_threshold():
    """Yield a row of images for every other threshold, from the same latents except for the entries
    that are redrawn."""
    G, _ = load_networks(class_runs["batch-norm"][0].folder)
    for threshold in thresholds[::2]:
        truncate(G, threshold, np.random.default_rng(4))
        yield generate(G, latents(np.random.default_rng(1), 10, G, threshold), np.arange(10))


plot_images(
    axes[0, 2],
    study.cached_images("thresholds", lambda: np.concatenate(list(images_by_threshold()))),
    10,
    f"thresholds {', '.join(f'{t:g}' for t in thresholds[::2])}",
)
study.save_figure(figure, *axes[1, :2])

# %% [markdown]
# ## The result

# %%
fid = mean_over_seeds(class_runs, "fid")
by_threshold = {
    key: np.mean(
        [[row[key] for row in run.also["truncation"]] for run in class_runs["batch-norm"]], 0
    )
    for key in metrics.values()
}
mean_fid = {
    way: {label: float(np.mean(values)) for label, values in of_labels.items()}
    for way, of_labels in fid_after.items()
}
small, large, narrow, wide = batches[0], batches[-1], widths[0], widths[-1]
# A claim holds if it holds at both widths, or at all batch sizes.
larger_batch_helps = {
    way: all(
        max(of_labels[f"{large} x {width}"]) < min(of_labels[f"{small} x {width}"])
        for width in widths
    )
    for way, of_labels in fid_after.items()
}
more_channels_help = all(
    clearly_below(scale_runs, "fid", f"{batch} x {wide}", f"{batch} x {narrow}")
    for batch in batches
)


def against(way, a, b):
    number = few_steps if way == "steps" else images
    return f"{mean_fid[way][a]:.1f} against {mean_fid[way][b]:.1f} after {number:,} {way}"


large_wide, small_wide = f"{large} x {wide}", f"{small} x {wide}"
precision, recall = by_threshold["precision"], by_threshold["recall"]
collapsed = sum(run.recall == 0 for run in class_runs["concatenation"])
study.finding(
    "With the class in batch-norm, the FID is {}; with concatenation, it is {}".format(
        *(mean_and_range((run.fid for run in group), 1) for group in class_runs.values())
    )
    + f" ({collapsed} of {len(study.seeds)} runs collapsed)" * bool(collapsed)
    + f". With {wide} channels, the FID of batches of {large}, against that of batches of {small}, "
    "is "
    f"{against('steps', large_wide, small_wide)}, and "
    f"{against('images', large_wide, small_wide)}. If the truncation threshold goes down from "
    f"{thresholds[-1]:g} to {thresholds[0]:g}, the precision goes from {precision[-1]:.2f} to "
    f"{precision[0]:.2f} and the recall from {recall[-1]:.2f} to {recall[0]:.2f}.",
    {
        "the class belongs in batch-norm": clearly_below(
            class_runs, "fid", "batch-norm", "concatenation"
        ),
        "larger batches help after the same number of steps": larger_batch_helps["steps"],
        "larger batches help after the same number of images": larger_batch_helps["images"],
        "more channels help": more_channels_help,
        "truncation trades variety for quality": all(
            run.also["truncation"][0]["precision"] > run.also["truncation"][-1]["precision"]
            and run.also["truncation"][0]["recall"] < run.also["truncation"][-1]["recall"]
            for run in class_runs["batch-norm"]
        ),
    },
    f"FID of batches of {large} against batches of {small}: "
    + "; ".join(
        f"with {width} channels "
        + ", ".join(against(way, f"{large} x {width}", f"{small} x {width}") for way in fid_after)
        for width in widths
    )
    + f". FID of {wide} channels against {narrow} channels, with batches of {small}: "
    + ", ".join(against(way, f"{small} x {wide}", f"{small} x {narrow}") for way in fid_after)
    + ".",
    fid=fid,
    collapsed=collapsed,
    scale=mean_fid,
    thresholds=list(thresholds),
    truncation={key: list(values) for key, values in by_threshold.items()},
)
