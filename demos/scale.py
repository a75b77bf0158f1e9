"""BigGAN's claim that scale helps: FID against batch size and channels, at equal numbers of images.

    python demos/scale.py                  # all runs, half an hour; stop and go on at any time
    python demos/scale.py 64x8 64x16       # some of them: batch size x channels
    python demos/scale.py --table          # draw the figure and print the table of what there is

Trained and measured as demos/results.py does, on full MNIST. The rates are the same everywhere; the average over G's
weights is taken over the same number of images. Batches of more than 64 are accumulated from parts of 64.
"""

# %%
import numpy as np
from results import PICTURES, RESULTS, arguments, measure, results_of, span

from tinygan.files import replacing
from tinygan.training.recipes import RECIPES

BIGGAN = RECIPES["biggan"].settings()
IMAGES = 65_536  # of D's updates
BATCHES, WIDTHS = (16, 64, 256), (8, 16)
NAMES = [f"{batch}x{width}" for width in WIDTHS for batch in BATCHES]


def steps(batch):
    return IMAGES // (batch * BIGGAN.d_steps)


def changes(name):
    """The settings of a run, as a user types them."""
    batch, width = map(int, name.split("x"))
    ema = BIGGAN.ema ** (batch / BIGGAN.batch_size)
    return (f"steps={steps(batch)} batch_size={batch} micro_batch={64 if batch > 64 else 0} g_channels={width} "
            f"d_channels={width} ema={ema:.4f}")


# %%
def fids(batch, width):
    """The FID of each seed."""
    return [result["metrics"]["fid"] for result in results_of(f"scale-{batch}x{width}", RESULTS)]


def table():
    """Means and ranges over the seeds, as Markdown."""
    print("| batch size | steps | " + " | ".join(f"FID, {width} channels" for width in WIDTHS) + " |")
    print("|---|---|" + "---|" * len(WIDTHS))
    for batch in BATCHES:
        cells = [span(fids(batch, width) or [None], 2) for width in WIDTHS]
        print(f"| {batch} | {steps(batch):,} | {' | '.join(cells)} |")


def draw(path):
    """The same as a figure."""
    from matplotlib.figure import Figure

    figure = Figure((4, 3), layout="constrained")
    axes = figure.subplots()
    for width in WIDTHS:
        measured = {batch: fids(batch, width) for batch in BATCHES if fids(batch, width)}
        line, = axes.plot(list(measured), [np.mean(found) for found in measured.values()], label=f"{width} channels")
        for batch, found in measured.items():
            axes.plot([batch] * len(found), found, "o", color=line.get_color(), markersize=4)
    axes.set(xscale="log", yscale="log", xlabel="batch size", ylabel="FID")
    axes.set_xticks(BATCHES, map(str, BATCHES))
    axes.set_yticks((5, 10, 20, 40, 80), ("5", "10", "20", "40", "80"))
    axes.minorticks_off()
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100)


# %%
if __name__ == "__main__":
    args = arguments(__doc__, NAMES)
    if not args.table:
        for seed in args.seeds:
            for name in args.names or NAMES:
                measure("biggan", "mnist", seed, f"scale-{name}-{seed}", changes(name))
    table()
    draw(PICTURES / "scale.png")
