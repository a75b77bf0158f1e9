"""Plots and summaries that several studies share.

Common arguments: axes: the matplotlib axes to plot on. runs: {label: [a Run for each seed]}, as
`Study.train` returns it. path: the path of a number in a Run's results (see `Run.number`).
"""

from typing import Any, Callable, Collection, Iterable, Sequence

import numpy as np

from tinygan import plots
from tinygan.autograd import Array

# Colours that most colour-blind people can tell apart (Okabe and Ito 2008), dark ones first.
COLORS = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"
LEAST_FONT_SIZE = 12  # points, in a figure 1280 pixels wide


def finish(figure: Any, title: str, translate: Callable[[str], str]) -> None:
    """Give a figure its title and its panels their letters; translate its texts, and enlarge those
    that are too small for a wall."""
    from matplotlib.text import Text
    from matplotlib.ticker import FixedLocator

    figure.suptitle(title, x=0.01, ha="left", fontsize=16, fontweight="bold", wrap=True)
    for text in figure.findobj(Text):
        text.set_text(translate(text.get_text()))
        text.set_fontsize(max(LEAST_FONT_SIZE, text.get_fontsize()))
    for axes in figure.axes:
        if len(letter := axes.get_label()) == 1:
            axes.set_title(f"({letter}) {axes.get_title()}", loc="left", fontsize=13)
            axes.set_title("")
        for axis in (axes.xaxis, axes.yaxis):  # which write their labels anew when they are drawn
            axis.set_tick_params(labelsize=LEAST_FONT_SIZE)
            if isinstance(axis.get_major_locator(), FixedLocator):
                labels = [translate(label.get_text()) for label in axis.get_ticklabels()]
                axis.set_ticks(axis.get_ticklocs(), labels)


def render(figure: Any) -> Array:
    """Return a figure as an image (H, W, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def plot_images(
    axes: Any,
    images: Array,
    columns: int,
    title: str = "",
    rows: Sequence[str] = (),
    names: Sequence[str] = (),
) -> None:
    """Plot uint8 images (N, H, W, C) as a grid with `columns` images to a row.

    rows, names: what the rows and the columns are; none by default.
    """
    sheet = plots.grid(images, columns, gap=1, scale=1)
    height = -(-len(images) // columns)
    axes.imshow(sheet, interpolation="nearest", extent=(0, columns, height, 0), aspect="auto")
    axes.set_box_aspect(sheet.shape[0] / sheet.shape[1])
    axes.set_xticks(np.arange(len(names)) + 0.5, names)
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(title)


def plot_log(axes: Any, runs: dict, key: str, name: str | None = None, **line: Any) -> None:
    """Plot the column `key` of log.jsonl over the steps: a colour for each label, a line for each
    seed.

    name: the label of the y axis (default: key). line: settings of matplotlib's lines.
    """
    _plot_lines(
        axes,
        runs,
        lambda run: [
            (step, value)
            for step, value in zip(run.log["step"], run.log.get(key, ()))
            if value is not None
        ],
        **line,
    )
    axes.set(xlabel="step", ylabel=name or key)


def plot_evaluations(
    axes: Any,
    runs: dict,
    key: str = "fid",
    over: str = "step",
    name: str | None = None,
    only: Collection[str] | None = None,
) -> None:
    """Plot the metric `key` of the evaluations on held-out images, with a colour for each label and
    a line for each seed.

    over: the x axis, "step", "seconds" or "share" (of the steps). name: the label of the y axis.
    only: the labels to plot (default: all).
    """
    _plot_lines(
        axes,
        runs,
        lambda run: [
            (row[over] if over in row else row["step"] / run.evaluations[-1]["step"], row[key])
            for row in run.evaluations
        ],
        only,
        marker="o",
        markersize=2,
    )
    axes.set(
        xlabel={"seconds": "seconds of training", "share": "share of the training"}.get(over, over),
        ylabel=name or ("FID (held-out images)" if key == "fid" else key),
    )


def _plot_lines(
    axes: Any,
    runs: dict,
    points: Callable[[Any], list],
    only: Collection[str] | None = None,
    **line: Any,
) -> None:
    """Plot a line through points(run), [(x, y)], for each run."""
    for i, (label, runs_of_label) in enumerate(runs.items()):
        for run in runs_of_label if only is None or label in only else ():
            if xy := points(run):
                axes.plot(
                    *zip(*xy),
                    **{
                        "label": label if run is runs_of_label[0] else None,
                        "color": COLORS[i % len(COLORS)],
                        "linewidth": 1.5,
                    }
                    | line,
                )
    axes.grid(alpha=0.3)


def set_log_scale(axes: Any) -> None:
    """Make the y axis logarithmic, with plain numbers as its labels.

    Call it after plotting: a small range of values gets more labels than a large one.
    """
    from matplotlib.ticker import LogLocator

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    between = (1.5, 2, 3, 4, 5, 7) if high < 50 * low else (2, 5) if high < 1e5 * low else ()
    axes.yaxis.set_minor_locator(LogLocator(subs=between))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")


def median_over_seeds(runs: dict, path: str) -> dict[str, float]:
    """Return {label: the median of the number at `path` over the seeds whose run did not fail}; nan
    if all failed."""
    return {label: median([run.number_or_none(path) for run in of]) for label, of in runs.items()}


def lowest(runs: dict, path: str) -> str:
    """Return the label with the lowest median of the number at `path`, where a run that failed
    counts as higher than any number."""
    numbers = lambda of: [np.inf if run.failed else run.number(path) for run in of]
    return min(runs, key=lambda label: np.median(numbers(runs[label])))


def median(values: Iterable[float | None]) -> float:
    """Return the median of the numbers that are not None (those of runs that did not fail), or
    nan."""
    numbers = _finite(values)
    return float(np.median(numbers)) if numbers else float("nan")


def _finite(values):
    return [value for value in values if value is not None and np.isfinite(value)]


def plot_bars(
    axes: Any, runs: dict, path: str, name: str, ticks: Sequence[str] | None = None, **labels: Any
) -> None:
    """Plot the number at `path`: a bar for each label (the median), and a dot for each seed. A run
    that failed is a cross at the bottom.

    name: the label of the y axis. ticks: names of the bars (default: the labels). labels: further
    settings of the axes.
    """
    for i, runs_of_label in enumerate(runs.values()):
        values = [run.number_or_none(path) for run in runs_of_label]
        numbers = _finite(values)
        axes.bar(i, median(values) if numbers else 0, color=COLORS[i % len(COLORS)], alpha=0.7)
        axes.plot([i] * len(numbers), numbers, "k.", markersize=4)
        if len(numbers) < len(values):
            where = axes.get_xaxis_transform()
            axes.plot(i, 0.03, "rx", markersize=8, transform=where, clip_on=False)
    axes.set_xticks(range(len(runs)), ticks or list(runs))
    axes.set(ylabel=name, **labels)


def median_and_all(values: Iterable[float | None], digits: int = 2) -> str:
    """Return the median of some numbers and, if there are several, all: "2.50 (2.00, 2.50, 4.00)".

    None or infinite: the run failed. "2.25 (2.00, 2.50; 1 failed)". Return "-" if there are none.
    """
    values = list(values)
    numbers = _finite(values)
    failed = len(values) - len(numbers)
    if not numbers:
        return f"{failed} failed" if failed else "-"
    middle = f"{np.median(numbers):.{digits}f}"
    if len(values) == 1:
        return middle
    each = ", ".join(f"{value:.{digits}f}" for value in numbers)
    return f"{middle} ({each}{f'; {failed} failed' if failed else ''})"


def mean_and_range(values: Iterable[float | None], digits: int = 2) -> str:
    """Return the mean of some numbers and, if there are several, their range: "2.50 (2.00-3.00)".

    Return "-" if there are none, or if one of them is None.
    """
    values = list(values)
    if not values or None in values:
        return "-"
    mean = f"{np.mean(values):.{digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean} ({min(values):.{digits}f}-{max(values):.{digits}f})"
