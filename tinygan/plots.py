"""Pictures of a run: grids of images, animations, and curves of the losses. PNG and GIF."""

import gc
import math
import os
import warnings

import numpy as np

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
        sheet[y:y + height, x:x + width] = image  # one channel is repeated to three
    return sheet.repeat(scale, 0).repeat(scale, 1)


def save_image(path, image) -> None:
    """Write uint8 (H, W, 3) as a PNG; of one channel, if all are the same."""
    from PIL import Image  # comes with matplotlib

    grey = (image == image[..., :1]).all()
    with replacing(path) as temporary:
        Image.fromarray(np.ascontiguousarray(image[..., 0]) if grey else image).save(temporary)


def save_gif(path, frames, milliseconds=80) -> None:
    """Write uint8 frames (T, H, W, 3) as an endless animation."""
    from PIL import Image  # comes with matplotlib

    first, *rest = (Image.fromarray(frame).quantize(64) for frame in frames)
    with replacing(path) as temporary:
        first.save(temporary, save_all=True, append_images=rest, duration=milliseconds, loop=0)


def _save(figure, path, dpi) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=dpi)
    figure.clear()
    gc.collect()  # a figure refers to itself: its megabytes would stay until Python looks for such cycles


def save_curves(path, rows, probability=True, target=0.6) -> None:
    """Draw the log of a run: the losses, D's mean logits for real, held-out and fake images, where
    `probability` also its probabilities of being real, and how ADA's p follows r_t, whose target is
    given (0: it does not).

    rows: dicts with step, d_loss, g_loss, d_real, d_fake, and what else there is of logit_real,
    logit_held_out, logit_fake, r_t, p; held-out images are not in all of them.
    """
    from matplotlib.figure import Figure

    images = {"real": "real images", "held_out": "held-out real images", "fake": "fake images"}
    panels = [("loss", {"d_loss": "D", "g_loss": "G"})]
    if probability:
        panels.append(("D's probability that it is real", {"d_real": images["real"], "d_fake": images["fake"]}))
    if any("logit_real" in row for row in rows):  # not in runs of older versions
        panels.append(("D's logit", {f"logit_{key}": label for key, label in images.items()}))
    if any("p" in row for row in rows):
        panels.append(("ADA", {"p": "p", "r_t": "r_t, the mean sign of D(real)"}))
    height = 2.6 * len(panels)  # inches; the margins are set by hand: to find them by a layout draws it all twice
    figure = Figure((8, height))
    figure.subplots_adjust(left=0.1, right=0.98, bottom=0.5 / height, top=1 - 0.12 / height, hspace=0.1)
    for axes, (title, curves) in zip(figure.subplots(len(panels), sharex=True), panels):
        for key, label in curves.items():
            found = [row for row in rows if key in row]
            if found:
                steps, values = [row["step"] for row in found], [row[key] for row in found]
                line, = axes.plot(steps, values, alpha=0.3, linewidth=1, color=COLORS.get(label))
                axes.plot(steps, _smooth(values), color=line.get_color(), label=label)
        axes.set_ylabel(title)
        axes.grid(alpha=0.3)
        if title == "ADA" and target:
            axes.axhline(target, color="black", linestyle=":", linewidth=1, label="target of r_t")
        axes.legend(frameon=False)
        if "probability" in title:
            axes.set_ylim(0, 1)
    axes.set_xlabel("step")
    _save(figure, path, 100)


COLORS = {"real images": "tab:blue", "held-out real images": "tab:green", "fake images": "tab:orange"}


def save_sweep(path, name, values, curves) -> None:
    """Draw numbers over a quantity, side by side. curves: {"what it is": a number for each of the
    values}."""
    from matplotlib.figure import Figure

    figure = Figure((3.2 * len(curves), 3), layout="constrained")
    for axes, (label, numbers) in zip(np.atleast_1d(figure.subplots(1, len(curves))), curves.items()):
        axes.plot(values, numbers, marker="o", markersize=4)
        axes.set_title(label.replace("_", " ").replace("fid", "FID"))
        axes.set_xlabel(name)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    _save(figure, path, 100)


FORMATS = "PNG", "JPEG", "GIF", "BMP", "WEBP"  # Pillow's others run programs (EPS), or write to stderr (TIFF)
MOST_PIXELS = 50_000_000  # those of a large camera
MOST_PER_BYTE = 8 * 1032  # pixels in a byte of a file: deflate's best ratio, of pixels of one bit


def open_picture(path, mode="RGB"):
    """A picture file as a Pillow image of mode "L" or "RGB". Raises InputError if it is none, or
    too large to be decoded in peace: what its header claims is looked at first."""
    from PIL import Image  # comes with matplotlib

    try:
        if not os.path.isfile(path):  # of which a pipe would be waited for
            raise ValueError("there is no such file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of what it can read all the same
            with Image.open(path, formats=FORMATS) as image:
                if image.width * image.height > min(MOST_PIXELS, MOST_PER_BYTE * os.path.getsize(path)):
                    raise ValueError(f"it claims to have {image.width} x {image.height} pixels")
                if image.mode.startswith("I"):  # 16 bits, which Pillow would clip at 255
                    image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
                return image.convert(mode)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} is not a picture that can be read ({error}): give a PNG or JPEG") from None


def load_image(path, size, channels):
    """A picture file as uint8 (H, W, C) of that size and number of channels, 1 or 3. Raises
    InputError if it is none."""
    from PIL import Image

    image = open_picture(path, "L" if channels == 1 else "RGB")
    smaller = Image.Resampling.BOX if image.width > size[1] else Image.Resampling.BILINEAR
    return np.asarray(image.resize(size[::-1], smaller)).reshape(*size, channels)


def save_convergence(path, rows, labels, curves, name) -> None:
    """Draw uint8 images (N, T, H, W, C), a row of stages each, the last one being what they come
    near, above curves of how far they are, (steps, N). labels: of the T stages; name: of the
    distance."""
    from matplotlib.figure import Figure

    n, stages = rows.shape[:2]
    figure = Figure((0.9 * stages, 0.95 * n + 2.4), layout="constrained")
    above, below = figure.subfigures(2, height_ratios=(0.95 * n, 2.4))
    for axes, image in zip(above.subplots(n, stages, squeeze=False).ravel(), rows.reshape(-1, *rows.shape[2:])):
        axes.imshow(image.repeat(4 - image.shape[2], 2)[:, :, :3], interpolation="nearest")
        axes.set_axis_off()
    for axes, label in zip(above.axes, labels):
        axes.set_title(label, fontsize=8)
    axes = below.subplots()
    axes.plot(curves)
    axes.set_xlabel("step")
    axes.set_ylabel(name)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    _save(figure, path, 110)


def save_histograms(path, groups, name) -> None:
    """Draw the distributions of positive numbers over their logarithm. groups: {"what they are":
    numbers}; name: of what is counted."""
    from matplotlib.figure import Figure

    figure = Figure((7, 3.5), layout="constrained")
    axes = figure.subplots()
    pooled = np.concatenate(list(groups.values()))
    low, high = np.percentile(pooled, [0.2, 99.8])
    bins = np.geomspace(max(low, high * 1e-6), high, 50)
    for label, numbers in groups.items():
        axes.hist(np.clip(numbers, bins[0], bins[-1]), bins, histtype="step", linewidth=1.5,
                  label=f"{label} (mean {np.mean(numbers):.3g})")
    axes.set_xscale("log")
    axes.set_xlabel(name)
    axes.set_ylabel("how many")
    axes.legend(frameon=False)
    _save(figure, path, 100)


def save_bars(path, groups, labels, name) -> None:
    """Draw bars side by side. groups: {"whose they are": a number for each of `labels`}; name: of
    the numbers."""
    from matplotlib.figure import Figure

    figure = Figure((max(5, 0.55 * len(labels) + 1.5), 3.2), layout="constrained")
    axes, width = figure.subplots(), 0.8 / len(groups)
    for i, (label, numbers) in enumerate(groups.items()):
        axes.bar(np.arange(len(labels)) + (i - (len(groups) - 1) / 2) * width, numbers, width, label=label)
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
    axes.set_ylabel(name)
    axes.legend(frameon=False)
    _save(figure, path, 100)


def _smooth(values):
    """A moving average over a twentieth of the run, centred, shorter at the ends."""
    half = max(1, len(values) // 40)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    i = np.arange(len(values))
    low, high = np.maximum(i - half, 0), np.minimum(i + half + 1, len(values))
    return (sums[high] - sums[low]) / (high - low)
