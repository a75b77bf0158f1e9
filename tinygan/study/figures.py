"""What the figures and findings of several studies are made of. axes: of a matplotlib figure; runs:
{label: [Run of each seed]}, as `Study.train` returns them; path: of a number of a Run
(`Run.number`)."""

import numpy as np

from tinygan import plots


def show(axes, images, columns, title="") -> None:
    """Draw uint8 images (N, H, W, C) in rows of `columns`."""
    axes.imshow(plots.grid(images, columns, gap=1, scale=1), interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(title, fontsize=9)


def curves(axes, runs, key, name=None, **line) -> None:
    """Draw a column of log.jsonl over the steps: a colour for each label, a line for each seed.
    name: of the y axis."""
    _lines(
        axes,
        runs,
        lambda run: [
            (step, number)
            for step, number in zip(run.log["step"], run.log.get(key, ()))
            if number is not None
        ],
        **line,
    )
    axes.set(xlabel="step", ylabel=name or key)


def evaluations(axes, runs, key="fid", over="step", name=None, only=None) -> None:
    """Draw a number of the evaluations on held-out images over "step" or "seconds", likewise.
    only: the labels to draw."""
    _lines(
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


def _lines(axes, runs, points, only=None, **line):
    """Draw points(run), [(x, y)], of each run."""
    for i, (label, found) in enumerate(runs.items()):
        for run in found if only is None or label in only else ():
            if xy := points(run):
                axes.plot(
                    *zip(*xy),
                    label=label if run is found[0] else None,
                    **{"color": f"C{i}", "linewidth": 1.2} | line,
                )
    axes.grid(alpha=0.3)


def logarithmic(axes) -> None:
    """Make the y axis of what is drawn already logarithmic, with plain numbers beside it: more of
    them where there is room."""
    from matplotlib.ticker import LogLocator

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_minor_locator(
        LogLocator(subs=(1.5, 2, 3, 4, 5, 7) if high < 50 * low else (2, 5))
    )
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.tick_params("y", which="both", labelsize=7)


def means(runs, path) -> dict:
    """{label: mean over the seeds} of a number."""
    return {
        label: float(np.mean([run.number(path) for run in found])) for label, found in runs.items()
    }


def below(runs, path, a, b) -> bool:
    """Is a number of label `a` clearly below that of label `b`, with every seed of either?"""
    return max(run.number(path) for run in runs[a]) < min(run.number(path) for run in runs[b])


def bars(axes, runs, path, name, ticks=None, **labels) -> None:
    """Draw a number as a bar for each label, with a dot for each seed. name: of the y axis;
    ticks: shorter labels."""
    for i, found in enumerate(runs.values()):
        values = [run.number(path) for run in found]
        axes.bar(i, np.mean(values), color=f"C{i}", alpha=0.6)
        axes.plot([i] * len(values), values, "k.", markersize=4)
    axes.set_xticks(range(len(runs)), ticks or list(runs), fontsize=7)
    axes.set(ylabel=name, **labels)


def span(values, digits=2) -> str:
    """The mean of some numbers and, of several, their range: "2.50 (2.00-3.00)"; "-" where one is
    None."""
    values = list(values)
    if not values or None in values:
        return "-"
    mean = f"{np.mean(values):.{digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean} ({min(values):.{digits}f}-{max(values):.{digits}f})"
