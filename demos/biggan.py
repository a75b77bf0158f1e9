"""BigGAN: the class in batch-norm, scale, and the truncation trick.

python demos/biggan.py              # two to three minutes
python demos/biggan.py --full       # full MNIST, three seeds, at most ten minutes a run
"""

# %% Three ideas
# BigGAN tells every layer of G the class, by the scale and shift of its batch-norm, instead of putting it beside z
# once. It trains with huge batches and many channels: "scale helps". And it draws latents closer to the middle than
# it was trained with, the truncation trick: less variety, better images. Each is measured by itself.
import numpy as np

from tinygan import data
from tinygan.metrics import Evaluator
from tinygan.study import Study, below, logarithmic, means, show, span
from tinygan.training.sampling import generate, latents, load_networks, truncate

study = Study(__file__, __doc__)
test = data.load(study.choose("digits", "digits", "mnist"), "test")
evaluator = Evaluator(test.subset(slice(study.choose(200, 1000, None))))
thresholds = study.choose((0.3, 1.0), (0.3, 1.0, 3.0), (0.1, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0))


def truncated(folder):
    """FID, precision and recall over the threshold beyond which entries of z are drawn again."""
    G, _ = load_networks(folder)
    n, rows = study.choose(100, 1000, 5000), []
    for threshold in thresholds:
        truncate(
            G, threshold, np.random.default_rng(4), study.choose(2, 16, 16)
        )  # batch-norm's statistics are of such images
        images = generate(G, latents(np.random.default_rng(3), n, G, threshold), np.arange(n) % 10)
        report = evaluator.quick(images, np.arange(n) % 10)
        rows.append({key: report[key] for key in ("fid", "precision", "recall", "class_accuracy")})
    return {"truncation": rows}


# %% The class in batch-norm, against concatenation; and the trade-off
channels, ema, batches_of_statistics = (
    study.choose(8, 8, 16),
    study.choose(0.9, 0.99, 0.999),
    study.choose(1, 16, 16),
)
into = study.train(
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
    into,
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
                span([run.also["truncation"][i][key] for run in into["batch-norm"]], 3)
                for i in range(len(thresholds))
            ),
        )
        for name, key in metrics.items()
    ),
)

# %% Scale: batch size and width
# The paper compares batches after equal numbers of steps, of which the larger ones are dearer; after equal numbers of
# images, a larger batch has had fewer steps. Here are both, with the same rates for all. Large batches go through
# memory in parts of 64.
images, batches, widths = (
    study.choose(16, 4096, 32_768),
    study.choose((4, 8), (8, 32), (8, 32, 128)),
    study.choose((8,), (8, 16), (8, 16)),
)
few = images // (2 * batches[-1])  # steps of the largest batch; D makes two updates to one of G


def at_scale(batch, width, steps):
    return (
        f"steps={steps} batch_size={batch} micro_batch={64 if batch > 64 else 0} g_channels={width} d_channels={width} "
        f"ema={ema ** (batch / 16):.4f}"
    )


scales = {
    f"{batch} x {width}": at_scale(batch, width, images // (2 * batch))
    for width in widths
    for batch in batches
}
early = {
    f"{batch} x {width} early": at_scale(batch, width, few)
    for width in widths
    for batch in batches[:-1]
}
scale = study.train(scales | early, "biggan", standing=batches_of_statistics)
after = {
    "images": {label: [run.fid for run in scale[label]] for label in scales},
    "steps": {
        label: [run.fid for run in scale.get(f"{label} early", scale[label])] for label in scales
    },
}
study.table(
    (
        "batch size",
        *(
            f"{width} channels, {steps}"
            for width in widths
            for steps in (f"{few} steps", f"{images:,} images")
        ),
    ),
    *(
        (
            str(batch),
            *(
                span(after[way][f"{batch} x {width}"], 1)
                for width in widths
                for way in ("steps", "images")
            ),
        )
        for batch in batches
    ),
)

# %% The figure
figure, axes = study.figure(11, 5, 2, 4)
for ax, (label, found) in zip(axes[0], into.items()):
    show(ax, found[0].images, 10, f"class by {label}:\nFID {span(run.fid for run in found)}")
ax = axes[1, 0]
for i, width in enumerate(widths):
    for way, line, fill, name in (
        ("steps", "--", "none", f"{few} steps"),
        ("images", "-", "full", f"{images:,} images"),
    ):
        found = [after[way][f"{batch} x {width}"] for batch in batches]
        ax.plot(
            batches,
            [np.mean(values) for values in found],
            f"C{i}{line}",
            label=f"{width} channels, {name}",
        )
        for batch, values in zip(batches, found):
            ax.plot([batch] * len(values), values, f"C{i}o", markersize=4, fillstyle=fill)
ax.set(xscale="log", xlabel="batch size (images)", ylabel="FID")
ax.set_xticks(batches, map(str, batches))
ax.tick_params("x", which="minor", bottom=False, labelbottom=False)
logarithmic(ax)
ax.legend(frameon=False, fontsize=6)
for ax, (name, key) in zip([*axes[1, 1:], axes[0, 3]], metrics.items()):
    for i, (label, found) in enumerate(into.items()):
        for run in found:
            ax.plot(
                thresholds,
                [row[key] for row in run.also["truncation"]],
                f"C{i}",
                marker="o",
                markersize=3,
                label=label if run is found[0] else None,
            )
    ax.set(xlabel="truncation threshold", ylabel=name)
    ax.grid(alpha=0.3)
logarithmic(axes[1, 1])
axes[1, 1].legend(frameon=False, fontsize=7)


def over_thresholds():
    """A row of images for every other threshold, of the same latents where they are not drawn again."""
    G, _ = load_networks(into["batch-norm"][0].folder)
    for threshold in thresholds[::2]:
        truncate(G, threshold, np.random.default_rng(4))
        yield generate(G, latents(np.random.default_rng(1), 10, G, threshold), np.arange(10))


show(
    axes[0, 2],
    study.images("thresholds", lambda: np.concatenate(list(over_thresholds()))),
    10,
    f"thresholds {', '.join(f'{t:g}' for t in thresholds[::2])}",
)
study.save(figure, *axes[1, :2])

# %% What came of it
fid = means(into, "fid")
trade = {
    key: np.mean([[row[key] for row in run.also["truncation"]] for run in into["batch-norm"]], 0)
    for key in metrics.values()
}
mean = {
    way: {label: float(np.mean(values)) for label, values in found.items()}
    for way, found in after.items()
}
small, large, narrow, wide = batches[0], batches[-1], widths[0], widths[-1]
# A claim holds if it does at both widths, and at all batch sizes.
helps = {
    way: all(
        max(found[f"{large} x {width}"]) < min(found[f"{small} x {width}"]) for width in widths
    )
    for way, found in after.items()
}
wider = all(below(scale, "fid", f"{batch} x {wide}", f"{batch} x {narrow}") for batch in batches)


def beside(way, a, b):
    return f"{mean[way][a]:.1f} against {mean[way][b]:.1f} after {few if way == 'steps' else images:,} {way}"


collapsed = sum(run.recall == 0 for run in into["concatenation"])
study.finding(
    "The class in batch-norm has an FID of {}, by concatenation of {}".format(
        *(span((run.fid for run in found), 1) for found in into.values())
    )
    + f" ({collapsed} of {len(study.seeds)} runs collapsed)" * bool(collapsed)
    + f"; with {wide} channels, batches of {large} instead of {small}, {beside('steps', f'{large} x {wide}', f'{small} x {wide}')}, and "
    f"{beside('images', f'{large} x {wide}', f'{small} x {wide}')}; truncation at {thresholds[0]:g} instead of {thresholds[-1]:g}, a "
    f"precision of {trade['precision'][0]:.2f} against {trade['precision'][-1]:.2f} for a recall of {trade['recall'][0]:.2f} against "
    f"{trade['recall'][-1]:.2f}.",
    {
        "the class belongs in batch-norm": below(into, "fid", "batch-norm", "concatenation"),
        "larger batches help, step for step": helps["steps"],
        "larger batches help, image for image": helps["images"],
        "more channels help": wider,
        "truncation trades variety for quality": all(
            run.also["truncation"][0]["precision"] > run.also["truncation"][-1]["precision"]
            and run.also["truncation"][0]["recall"] < run.also["truncation"][-1]["recall"]
            for run in into["batch-norm"]
        ),
    },
    f"FID of batches of {large} instead of {small}: "
    + "; ".join(
        f"with {width} channels "
        + ", ".join(beside(way, f"{large} x {width}", f"{small} x {width}") for way in after)
        for width in widths
    )
    + f". Of {wide} channels instead of {narrow}, batches of {small}: "
    + ", ".join(beside(way, f"{small} x {wide}", f"{small} x {narrow}") for way in after)
    + ".",
    fid=fid,
    collapsed=collapsed,
    scale=mean,
    thresholds=list(thresholds),
    truncation={key: list(values) for key, values in trade.items()},
)
