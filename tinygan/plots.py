"""Figures of a run as PNG, GIF and WebP files: image grids, points, animations, curves. Also reads
pictures."""

import contextlib
import gc
import io
import math
from pathlib import Path
from typing import Any, Iterable, Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont, features

from tinygan.errors import InputError
from tinygan.files import replacing
from tinygan.screen import import_matplotlib

FONT_SIZE = 15  # pixels, of the labels of a grid


def grid(
    images: np.ndarray[Any, Any], columns: int | None = None, gap: int = 2, scale: int = 2
) -> np.ndarray[Any, Any]:
    """Arrange uint8 images (N, H, W, C) in a grid: one uint8 image (H', W', 3).

    columns: images per row; by default, the grid is about square. gap: the width of the dark grey
    lines between images, in pixels. scale: every pixel becomes a square of scale x scale pixels.
    """
    n, height, width, channels = images.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = -(-n // columns)
    sheet = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, 3), 48, np.uint8)
    for i, image in enumerate(images):
        y, x = gap + i // columns * (height + gap), gap + i % columns * (width + gap)
        sheet[y : y + height, x : x + width] = image  # a single channel is broadcast to three
    return sheet.repeat(scale, 0).repeat(scale, 1)


def labelled(
    sheet: np.ndarray[Any, Any], rows: Sequence[str] = (), columns: Sequence[str] = ()
) -> np.ndarray[Any, Any]:
    """Write what the rows and the columns of a grid are to its left and above it. Return the larger
    image (H', W', 3)."""
    font, ink, ground = ImageFont.load_default(FONT_SIZE), (230, 230, 230), 48
    left = max((math.ceil(font.getlength(text)) for text in rows), default=0) + 16 * bool(rows)
    top = 2 * FONT_SIZE * bool(columns)
    height, width, _ = sheet.shape
    picture = np.full((top + height, left + width, 3), ground, np.uint8)
    picture[top:, left:] = sheet
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    for i, text in enumerate(rows):
        draw.text((left - 8, top + (i + 0.5) * height / len(rows)), text, ink, font, "rm")
    for i, text in enumerate(columns):
        draw.text((left + (i + 0.5) * width / len(columns), top / 2), text, ink, font, "mm")
    return np.asarray(image)


def save_image(
    path: str | Path, image: np.ndarray[Any, Any], real_folder: bool = False, palette: bool = False
) -> None:
    """Write a uint8 image (H, W, 3) as a PNG, in greyscale if all its channels are the same.

    real_folder: the folder must not be a link (see files/opening.py). palette: write its 256 most
    important colours, in a third of the bytes; good for figures.
    """
    if (image == image[..., :1]).all():
        picture = Image.fromarray(np.ascontiguousarray(image[..., 0]))
    else:
        picture = Image.fromarray(image)
        picture = picture.quantize(256, dither=Image.Dither.NONE) if palette else picture
    with replacing(path, real_folder) as file:
        picture.save(file, "PNG", optimize=palette)


def save_animation(
    path: str | Path, frames: Iterable[np.ndarray[Any, Any]], milliseconds: int = 80
) -> None:
    """Write uint8 frames (H, W, 3) as an animation that repeats for ever.

    path: ends in .webp (every pixel as it is, and a fraction of the size) or in .gif (64 colours,
    for programs that know nothing else). milliseconds: how long each frame is shown.
    """
    as_webp = Path(path).suffix == ".webp"
    if as_webp and not features.check("webp"):
        raise InputError(f"{path}: this Pillow was built without WebP: write a .gif")
    pictures = (Image.fromarray(frame) for frame in frames)
    first, *rest = pictures if as_webp else (picture.quantize(64) for picture in pictures)
    kind, settings = ("WEBP", {"lossless": True}) if as_webp else ("GIF", {})
    with replacing(path) as file:
        first.save(
            file, kind, save_all=True, append_images=rest, duration=milliseconds, loop=0, **settings
        )


class NotDrawn(InputError):
    """matplotlib cannot draw a figure: its installation or its configuration is damaged."""


@contextlib.contextmanager
def _figure(path, size, dpi=100, layout="constrained", real_folder=False):
    """Yield a matplotlib Figure of `size` (width, height) in inches, and write it to `path`, a PNG
    file, when the block ends. real_folder: as for `save_image`. Raises NotDrawn."""
    picture = io.BytesIO()  # drawn in memory, so that only writing raises the errors of the disk
    try:
        import_matplotlib()
        from matplotlib.figure import Figure  # slow to import

        figure = Figure(size, layout=layout)
        yield figure
        figure.savefig(picture, format="png", dpi=dpi)
    except Exception as error:  # which one depends on what is wrong with the installation
        raise NotDrawn(
            f"matplotlib cannot draw {path} ({type(error).__name__}: {error}): check its "
            "installation, its configuration file matplotlibrc, and MPLCONFIGDIR"
        ) from error
    with replacing(path, real_folder) as file:
        file.write(picture.getvalue())
    figure.clear()
    gc.collect()  # a figure is in reference cycles: it would stay in memory until a collection


def save_curves(
    path: str | Path,
    rows: Sequence[Mapping[str, float]],
    probability: bool = True,
    target: float = 0.6,
) -> None:
    """Plot the log of a run.

    The panels are: the losses; if `probability`, D's mean probability that an image is real, for
    real and for fake images; D's mean logits for real, held-out and fake images; each loss that D
    and G share; and ADA's p with r_t.

    rows: dicts with step, d_loss, g_loss, d_real, d_fake, and optionally logit_real,
    logit_held_out, logit_fake, d_NAME_loss with g_NAME_loss, r_t, p; logit_held_out may be missing
    in some of them. target: ADA's target for r_t, or 0 if it has none.
    """
    real, held_out, fake = "real images", "held-out real images", "fake images"
    colors = {real: "tab:blue", held_out: "tab:green", fake: "tab:orange"}
    panels = [("loss", {"d_loss": "D", "g_loss": "G"})]
    if probability:
        panels.append(("D's probability that it is real", {"d_real": real, "d_fake": fake}))
    if any("logit_real" in row for row in rows):  # older versions did not log it
        panels.append(
            ("D's logit", {"logit_real": real, "logit_held_out": held_out, "logit_fake": fake})
        )
    for name in _shared_losses(rows):
        curves = {f"d_{name}_loss": "D", f"g_{name}_loss": "G"}
        panels.append((f"{name.replace('_', ' ')} loss", curves))
    if any("p" in row for row in rows):
        panels.append(("ADA", {"p": "p", "r_t": "r_t, the mean sign of D(real)"}))
    height = 2.6 * len(panels)  # inches
    with _figure(path, (8, height), layout="none") as figure:
        # The margins are set by hand: a layout engine would draw everything twice to find them.
        figure.subplots_adjust(
            left=0.1, right=0.98, bottom=0.5 / height, top=1 - 0.12 / height, hspace=0.1
        )
        rows_of_axes = np.atleast_1d(figure.subplots(len(panels), sharex=True))
        for axes, (title, curves) in zip(rows_of_axes, panels):
            for key, label in curves.items():
                steps = [row["step"] for row in rows if key in row]
                values = [row[key] for row in rows if key in row]
                if values:
                    color = colors.get(label)
                    (line,) = axes.plot(steps, values, alpha=0.3, linewidth=1, color=color)
                    marker = "" if len(values) > 1 else "."  # a line of one point is invisible
                    color = line.get_color()
                    axes.plot(steps, _smooth(values), color=color, label=label, marker=marker)
            axes.set(ylabel=title, ylim=(0, 1) if "probability" in title else None)
            axes.grid(alpha=0.3)
            if title == "ADA" and target:
                dotted = {"color": "black", "linestyle": ":", "linewidth": 1}
                axes.axhline(target, label="target of r_t", **dotted)
            axes.legend(frameon=False)
        axes.set_xlabel("step")


def _shared_losses(rows):
    """Return the names of the losses that D and G share."""
    keys = dict.fromkeys(key for row in rows for key in row)
    names = [key[2:-5] for key in keys if key.startswith("g_") and key.endswith("_loss")]
    return [name for name in names if name and f"d_{name}_loss" in keys]


def save_sweep(
    path: str | Path, name: str, values: Sequence[float], curves: Mapping[str, Sequence[float]]
) -> None:
    """Plot several measures against one quantity, a panel for each measure.

    name, values: the name and the values of the quantity. curves: {name of a measure: its number
    at each value}.
    """
    with _figure(path, (3.2 * len(curves), 3)) as figure:
        panels = np.atleast_1d(figure.subplots(1, len(curves)))
        for axes, (label, numbers) in zip(panels, curves.items()):
            title = label.replace("_", " ").replace("fid", "FID")
            axes.plot(values, numbers, marker="o", markersize=4)
            axes.set(title=title, xlabel=name, ylim=(0, None))
            axes.grid(alpha=0.3)


MAX_REAL = 5000  # real points in a scatter plot


def save_scatter(
    path: str | Path,
    samples: np.ndarray[Any, Any],
    real: np.ndarray[Any, Any],
    labels: np.ndarray[Any, Any] | None = None,
    title: str = "",
    real_folder: bool = False,
) -> None:
    """Plot samples (N, 2) over real points (M, 2), which are grey and determine the axes.

    At most 5,000 real points are shown. labels: the modes of the samples (N,), shown by colours.
    The title also says how many samples lie outside of the picture. real_folder: as for
    `save_image`.
    """
    low, high = real.min(0), real.max(0)
    middle, half = (low + high) / 2, max(0.6 * float((high - low).max()), 1e-6)
    outside = int((np.abs(samples - middle) > half).any(1).sum())
    notes = [title] * bool(title) + [f"{outside:,} of {len(samples):,} outside"] * bool(outside)
    dots: dict[str, Any] = {"marker": ".", "linewidths": 0}
    with _figure(path, (4.5, 4.5), layout="none", real_folder=real_folder) as figure:
        figure.subplots_adjust(left=0.08, right=0.98, bottom=0.06, top=0.94)
        axes = figure.subplots()
        axes.scatter(*real[:MAX_REAL].T, s=12, color="0.75", **dots)
        colors: dict[str, Any] = {"color": "tab:blue"}
        if labels is not None:
            colors = {"c": labels % 10, "cmap": "tab10", "vmin": 0, "vmax": 9}
        axes.scatter(*samples.T, s=12, alpha=0.6, **colors, **dots)
        axes.set(
            xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half)
        )
        axes.set_title(", ".join(notes), fontsize=10)
        axes.tick_params(labelsize=8)


def save_convergence(
    path: str | Path,
    rows: np.ndarray[Any, Any],
    labels: Sequence[str],
    curves: np.ndarray[Any, Any],
    name: str,
) -> None:
    """Plot how N images approach their targets: the images above, their distances below.

    rows: uint8 images (N, T, H, W, C), with T stages for each image; the last one is the target.
    labels: the names of the stages. curves: the distances (steps, N). name: of the distance.
    """
    n, stages, height, width, _ = rows.shape
    inches = 0.95 * n * min(max(height / width, 0.2), 5)  # of the images
    with _figure(path, (0.9 * stages, inches + 2.4), 110) as figure:
        above, below = figure.subfigures(2, height_ratios=(inches, 2.4))
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


def save_histograms(
    path: str | Path,
    groups: Mapping[str, np.ndarray[Any, Any]],
    name: str,
    means: Mapping[str, float],
) -> None:
    """Plot histograms of groups of positive numbers on one logarithmic axis.

    groups: {label: numbers}. name: of the quantity. means: {label: the mean to show, such as one
    without outliers}.
    """
    pooled = np.concatenate(list(groups.values()))
    low, high = np.percentile(pooled, [0.2, 99.8])
    bins = np.geomspace(max(low, high * 1e-6), high, 50)
    with _figure(path, (7, 3.5)) as figure:
        axes = figure.subplots()
        for label, numbers in groups.items():
            inside, label = (
                np.clip(numbers, bins[0], bins[-1]),
                f"{label} (mean {means[label]:.3g})",
            )
            axes.hist(inside, bins, histtype="step", linewidth=1.5, label=label)
        axes.set(xscale="log", xlabel=name, ylabel="count")
        axes.legend(frameon=False)


def save_bars(
    path: str | Path, groups: Mapping[str, Sequence[float]], labels: Sequence[str], name: str
) -> None:
    """Plot a bar chart with a cluster of bars at each label, a bar for each group.

    groups: {group: its number at each label}. name: of the numbers.
    """
    width, positions = 0.8 / len(groups), np.arange(len(labels))
    with _figure(path, (max(5, 0.55 * len(labels) + 1.5), 3.2)) as figure:
        axes = figure.subplots()
        for i, (label, numbers) in enumerate(groups.items()):
            axes.bar(positions + (i - (len(groups) - 1) / 2) * width, numbers, width, label=label)
        axes.set_xticks(positions, labels, rotation=45, ha="right")
        axes.set_ylabel(name)
        axes.legend(frameon=False)


def _smooth(values):
    """Return a centred moving average over a twentieth of the values, with a shorter window at both
    ends."""
    half = max(1, len(values) // 40)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    i = np.arange(len(values))
    low, high = np.maximum(i - half, 0), np.minimum(i + half + 1, len(values))
    return (sums[high] - sums[low]) / (high - low)
