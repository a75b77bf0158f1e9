"""Pictures of a run: grids of images, animations, and curves of the losses. PNG and GIF."""

import contextlib
import gc
import math
import os
import warnings

import numpy as np
from PIL import Image

from tinygan.errors import InputError
from tinygan.files import replacing


def grid(images, columns=None, gap=2, scale=2):
    """uint8 images (N, H, W, C) in rows of `columns` (default: about square): one uint8 image (H',
    W', 3).

    gap: pixels of dark grey between images; scale: each pixel is drawn scale x scale.
    """
    n, height, width, channels = images.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = -(-n // columns)
    sheet = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, 3), 48, np.uint8)
    for i, image in enumerate(images):
        y, x = gap + i // columns * (height + gap), gap + i % columns * (width + gap)
        sheet[y : y + height, x : x + width] = image  # one channel is repeated to three
    return sheet.repeat(scale, 0).repeat(scale, 1)


def save_image(path, image) -> None:
    """Write uint8 (H, W, 3) as a PNG; of one channel, if all are the same."""
    grey = (image == image[..., :1]).all()
    with replacing(path) as temporary:
        Image.fromarray(np.ascontiguousarray(image[..., 0]) if grey else image).save(temporary)


def save_gif(path, frames, milliseconds=80) -> None:
    """Write uint8 frames (T, H, W, 3) as an endless animation."""
    first, *rest = (Image.fromarray(frame).quantize(64) for frame in frames)
    with replacing(path) as temporary:
        first.save(temporary, save_all=True, append_images=rest, duration=milliseconds, loop=0)


@contextlib.contextmanager
def _figure(path, size, dpi=100, layout="constrained"):
    """A matplotlib Figure of (width, height) inches to draw on, which is then written to `path`."""
    from matplotlib.figure import Figure  # slow to import

    figure = Figure(size, layout=layout)
    yield figure
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=dpi)
    figure.clear()
    gc.collect()  # a figure refers to itself: its megabytes would stay until Python looks for those


def save_curves(path, rows, probability=True, target=0.6) -> None:
    """Draw the log of a run: the losses; D's mean logits for real, held-out and fake images; where
    `probability`, D's probabilities that they are real; and how ADA's p follows r_t.

    rows: dicts with step, d_loss, g_loss, d_real, d_fake, and whatever there is of logit_real,
    logit_held_out, logit_fake, r_t, p; held-out images are not in all of them. target: of r_t; 0 if
    there is none.
    """
    real, held_out, fake = "real images", "held-out real images", "fake images"
    colors = {real: "tab:blue", held_out: "tab:green", fake: "tab:orange"}
    panels = [("loss", {"d_loss": "D", "g_loss": "G"})]
    if probability:
        panels.append(("D's probability that it is real", {"d_real": real, "d_fake": fake}))
    if any("logit_real" in row for row in rows):  # not in runs of older versions
        panels.append(
            ("D's logit", {"logit_real": real, "logit_held_out": held_out, "logit_fake": fake})
        )
    if any("p" in row for row in rows):
        panels.append(("ADA", {"p": "p", "r_t": "r_t, the mean sign of D(real)"}))
    height = 2.6 * len(panels)  # inches
    with _figure(path, (8, height), layout="none") as figure:
        # Margins by hand: a layout would draw everything twice to find them.
        figure.subplots_adjust(
            left=0.1, right=0.98, bottom=0.5 / height, top=1 - 0.12 / height, hspace=0.1
        )
        for axes, (title, curves) in zip(figure.subplots(len(panels), sharex=True), panels):
            for key, label in curves.items():
                found = [row for row in rows if key in row]
                if found:
                    steps, values = [row["step"] for row in found], [row[key] for row in found]
                    (line,) = axes.plot(
                        steps, values, alpha=0.3, linewidth=1, color=colors.get(label)
                    )
                    axes.plot(steps, _smooth(values), color=line.get_color(), label=label)
            axes.set(ylabel=title, ylim=(0, 1) if "probability" in title else None)
            axes.grid(alpha=0.3)
            if title == "ADA" and target:
                axes.axhline(
                    target, color="black", linestyle=":", linewidth=1, label="target of r_t"
                )
            axes.legend(frameon=False)
        axes.set_xlabel("step")


def save_sweep(path, name, values, curves) -> None:
    """Draw numbers over a quantity, side by side. curves: {"what it is": one number per value}."""
    with _figure(path, (3.2 * len(curves), 3)) as figure:
        panels = np.atleast_1d(figure.subplots(1, len(curves)))
        for axes, (label, numbers) in zip(panels, curves.items()):
            axes.plot(values, numbers, marker="o", markersize=4)
            axes.set(
                title=label.replace("_", " ").replace("fid", "FID"), xlabel=name, ylim=(0, None)
            )
            axes.grid(alpha=0.3)


# Pillow's other formats run programs (EPS), or write to stderr (TIFF).
FORMATS = "PNG", "JPEG", "GIF", "BMP", "WEBP"
MOST_PIXELS = 50_000_000  # those of a large camera
MOST_PER_BYTE = 8 * 1032  # pixels in a byte of a file: deflate's best ratio, of pixels of one bit


def open_picture(path, mode="RGB"):
    """A picture file as a Pillow image of mode "L" or "RGB". Raises InputError if it is none, or if
    its header claims that it is too large to be decoded in peace."""
    try:
        if not os.path.isfile(path):  # of which a pipe would be waited for
            raise ValueError("there is no such file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of what it can read all the same
            with Image.open(path, formats=FORMATS) as image:
                most = min(MOST_PIXELS, MOST_PER_BYTE * os.path.getsize(path))
                if image.width * image.height > most:
                    raise ValueError(f"it claims to have {image.width} x {image.height} pixels")
                if image.mode.startswith("I"):  # 16 bits, which Pillow would clip at 255
                    image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
                return image.convert(mode)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(
            f"{path} is not a picture that can be read ({error}): give a PNG or JPEG"
        ) from None


def load_image(path, size, channels):
    """A picture file as uint8 (H, W, C) of that size and number of channels, 1 or 3. Raises
    InputError if it is none."""
    image = open_picture(path, "L" if channels == 1 else "RGB")
    smaller = Image.Resampling.BOX if image.width > size[1] else Image.Resampling.BILINEAR
    return np.asarray(image.resize(size[::-1], smaller)).reshape(*size, channels)


def save_convergence(path, rows, labels, curves, name) -> None:
    """Draw uint8 images (N, T, H, W, C), a row of T stages each, the last one being what they
    approach, above curves of how far from it they are, (steps, N). labels: of the stages; name: of
    the distance."""
    n, stages = rows.shape[:2]
    with _figure(path, (0.9 * stages, 0.95 * n + 2.4), 110) as figure:
        above, below = figure.subfigures(2, height_ratios=(0.95 * n, 2.4))
        panels = above.subplots(n, stages, squeeze=False)
        for axes, image in zip(panels.ravel(), rows.reshape(-1, *rows.shape[2:])):
            axes.imshow(image.repeat(4 - image.shape[2], 2)[:, :, :3], interpolation="nearest")
            axes.set_axis_off()
        for axes, label in zip(panels[0], labels):
            axes.set_title(label, fontsize=8)
        axes = below.subplots()
        axes.plot(curves)
        axes.set(xlabel="step", ylabel=name, ylim=(0, None))
        axes.grid(alpha=0.3)


def save_histograms(path, groups, name) -> None:
    """Draw the distributions of positive numbers over their logarithm. groups: {"what they are":
    numbers}; name: of what is counted."""
    pooled = np.concatenate(list(groups.values()))
    low, high = np.percentile(pooled, [0.2, 99.8])
    bins = np.geomspace(max(low, high * 1e-6), high, 50)
    with _figure(path, (7, 3.5)) as figure:
        axes = figure.subplots()
        for label, numbers in groups.items():
            axes.hist(
                np.clip(numbers, bins[0], bins[-1]),
                bins,
                histtype="step",
                linewidth=1.5,
                label=f"{label} (mean {np.mean(numbers):.3g})",
            )
        axes.set(xscale="log", xlabel=name, ylabel="how many")
        axes.legend(frameon=False)


def save_bars(path, groups, labels, name) -> None:
    """Draw bars side by side. groups: {"whose they are": a number per label}; name: of the numbers."""
    width, places = 0.8 / len(groups), np.arange(len(labels))
    with _figure(path, (max(5, 0.55 * len(labels) + 1.5), 3.2)) as figure:
        axes = figure.subplots()
        for i, (label, numbers) in enumerate(groups.items()):
            axes.bar(places + (i - (len(groups) - 1) / 2) * width, numbers, width, label=label)
        axes.set_xticks(places, labels, rotation=45, ha="right")
        axes.set_ylabel(name)
        axes.legend(frameon=False)


def _smooth(values):
    """A moving average over a twentieth of the run, centred, shorter at the ends."""
    half = max(1, len(values) // 40)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    i = np.arange(len(values))
    low, high = np.maximum(i - half, 0), np.minimum(i + half + 1, len(values))
    return (sums[high] - sums[low]) / (high - low)
