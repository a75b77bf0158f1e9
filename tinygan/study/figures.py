"""Plots and summaries that several studies share.

Common arguments: axes: the matplotlib axes to plot on. runs: {label: [a Run for each seed]}, as
`Study.train` returns it. path: the path of a number in a Run's results (see `Run.number`).
"""

from typing import Any, Callable, Collection, Iterable, Sequence

import numpy as np

from tinygan import plots
from tinygan.autograd import Array


def plot_images(axes: Any, images: Array, columns: int, title: str = "") -> None:
    """Plot uint8 images (N, H, W, C) as a grid with `columns` images to a row."""
    axes.imshow(plots.grid(images, columns, gap=1, scale=1), interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(title, fontsize=9)


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

    over: the x axis, "step" or "seconds". name: the label of the y axis. only: the labels to plot
    (default: all).
    """
    _plot_lines(
        axes,
        runs,
        lambda run: [(row[over], row[key]) for row in run.evaluations],
        only,
        marker="o",
        markersize=2,
    )
    axes.set(
        xlabel="seconds of training" if over == "seconds" else over,
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
                    label=label if run is runs_of_label[0] else None,
                    **{"color": f"C{i}", "linewidth": 1.2} | line,
                )
    axes.grid(alpha=0.3)


def set_log_scale(axes: Any) -> None:
    """Make the y axis logarithmic, with plain numbers as its labels.

    Call it after plotting: a small range of values gets more labels than a large one.
    """
    from matplotlib.ticker import LogLocator

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_minor_locator(
        LogLocator(subs=(1.5, 2, 3, 4, 5, 7) if high < 50 * low else (2, 5))
    )
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.tick_params("y", which="both", labelsize=7)


def mean_over_seeds(runs: dict, path: str) -> dict[str, float]:
    """Return {label: the mean of the number at `path` over the seeds}."""
    return {
        label: float(np.mean([run.number(path) for run in runs_of_label]))
        for label, runs_of_label in runs.items()
    }


def clearly_below(runs: dict, path: str, a: str, b: str) -> bool:
    """Return whether the number at `path` is lower for every seed of label `a` than for any seed of
    label `b`."""
    return max(run.number(path) for run in runs[a]) < min(run.number(path) for run in runs[b])


def plot_bars(
    axes: Any, runs: dict, path: str, name: str, ticks: Sequence[str] | None = None, **labels: Any
) -> None:
    """Plot the number at `path`: a bar for each label (the mean), and a dot for each seed.

    name: the label of the y axis. ticks: names of the bars (default: the labels). labels: further
    settings of the axes.
    """
    for i, runs_of_label in enumerate(runs.values()):
        values = [run.number(path) for run in runs_of_label]
        axes.bar(i, np.mean(values), color=f"C{i}", alpha=0.6)
        axes.plot([i] * len(values), values, "k.", markersize=4)
    axes.set_xticks(range(len(runs)), ticks or list(runs), fontsize=7)
    axes.set(ylabel=name, **labels)


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
