"""Pictures of a run: grids of images, animations, and curves of the losses. PNG and GIF."""

import math

import numpy as np

from tinygan.files import replacing


def grid(images, columns=None, gap=2, scale=2):
    """uint8 images (N, H, W, C) in rows of `columns` (default: about square): one uint8 image (H', W', 3).

    gap: pixels of dark grey between images; scale: each pixel is drawn scale x scale.
    """
    n, height, width, channels = images.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = -(-n // columns)
    sheet = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, 3), 48, np.uint8)
    for i, image in enumerate(images):
        y, x = gap + i // columns * (height + gap), gap + i % columns * (width + gap)
        sheet[y:y + height, x:x + width] = image  # one channel is repeated to three
    return sheet.repeat(scale, 0).repeat(scale, 1)


def save_image(path, image) -> None:
    """Write uint8 (H, W, 3) as a PNG."""
    from matplotlib.image import imsave

    with replacing(path) as temporary:
        imsave(temporary, image)


def save_gif(path, frames, milliseconds=80) -> None:
    """Write uint8 frames (T, H, W, 3) as an endless animation."""
    from PIL import Image  # comes with matplotlib

    first, *rest = (Image.fromarray(frame).quantize(64) for frame in frames)
    with replacing(path) as temporary:
        first.save(temporary, save_all=True, append_images=rest, duration=milliseconds, loop=0)


def save_curves(path, rows, probability=True) -> None:
    """Draw the log of a run: the losses, and D's mean output for real and for fake images.

    rows: dicts with step, d_loss, g_loss, d_real, d_fake. probability: the output is the probability of being real.
    """
    from matplotlib.figure import Figure

    steps = [row["step"] for row in rows]
    figure = Figure((8, 6), layout="constrained")
    above, below = figure.subplots(2, sharex=True)
    for axes, curves, title in (
            (above, {"d_loss": "D", "g_loss": "G"}, "loss"),
            (below, {"d_real": "real images", "d_fake": "fake images"},
             "D's probability that it is real" if probability else "D's output")):
        for key, label in curves.items():
            values = [row[key] for row in rows]
            line, = axes.plot(steps, values, alpha=0.3, linewidth=1)
            axes.plot(steps, _smooth(values), color=line.get_color(), label=label)
        axes.set_ylabel(title)
        axes.legend(frameon=False)
        axes.grid(alpha=0.3)
    if probability:
        below.set_ylim(0, 1)
    below.set_xlabel("step")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100)


def save_sweep(path, name, values, curves) -> None:
    """Draw numbers over a quantity, side by side. curves: {"what it is": a number for each of the values}."""
    from matplotlib.figure import Figure

    figure = Figure((3.2 * len(curves), 3), layout="constrained")
    for axes, (label, numbers) in zip(np.atleast_1d(figure.subplots(1, len(curves))), curves.items()):
        axes.plot(values, numbers, marker="o", markersize=4)
        axes.set_title(label.replace("_", " ").replace("fid", "FID"))
        axes.set_xlabel(name)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100)


def _smooth(values):
    """A moving average over a twentieth of the run, centred, shorter at the ends."""
    half = max(1, len(values) // 40)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    i = np.arange(len(values))
    low, high = np.maximum(i - half, 0), np.minimum(i + half + 1, len(values))
    return (sums[high] - sums[low]) / (high - low)
