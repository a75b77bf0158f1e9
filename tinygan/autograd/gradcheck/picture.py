"""The picture of a gradient check: the error over the step, which shows truncation and rounding."""

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygan.errors import InputError
from tinygan.files import replacing
from tinygan.screen import import_matplotlib

from .line import SAFETY, Line

if TYPE_CHECKING:
    from .report import GradReport

FORMATS = ".png", ".pdf", ".svg"


def draw(report: "GradReport", path: str | Path | None = None) -> Any:
    """Return a Matplotlib Figure with a panel for each order that passed, and one for the failure.

    A panel shows what was measured along one direction, over the step h, relative to the size of
    the derivative: the falling line of truncation, h ** 2 (h times it, the Taylor remainder, falls
    with the third power), and the rising line of rounding, 1 / h. A wrong derivative leaves its
    error at every step, down to the rounding.

    path: a file to save the figure in: PNG, PDF or SVG, by its suffix. Raises InputError if it
    cannot be written, or if Matplotlib cannot draw.
    """
    suffix = ".png" if path is None else Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise InputError(f"cannot draw {path}: its name must end with {', '.join(FORMATS)}")
    panels: list[tuple[str, Line | None, bool]] = [
        (f"{order.title}: right", order.line, True) for order in report.orders
    ]
    if failure := report.failure:
        title = f"{failure.title}, order {failure.order}: {failure.argument} is wrong"
        title = f"{title} {failure.where}"
        if failure.kind == "undefined":
            title = f"{failure.title}, order {failure.order}: f is not finite at this point"
        panels.append((title, failure.line, False))
    panels = panels or [("nothing was checked", None, True)]
    picture = io.BytesIO()  # drawn in memory, so that only writing raises the errors of the disk
    try:
        import_matplotlib()
        from matplotlib.figure import Figure  # slow to import

        n = len(panels)
        by_hand: Any = "none"
        figure = Figure((5.6 * n, 4.8), layout=by_hand)
        # The margins are set by hand: a layout engine would draw everything twice to find them.
        left, right, between = 0.85 / 5.6 / n, 1 - 0.15 / 5.6 / n, 1.0 / 4.6
        figure.subplots_adjust(left=left, right=right, bottom=0.27, top=0.89, wspace=between)
        for axes, (title, line, right) in zip(figure.subplots(1, n, squeeze=False)[0], panels):
            _panel(axes, title, line, right)
        if path is not None:
            figure.savefig(picture, format=suffix[1:], dpi=120)
    except Exception as error:  # which one depends on what is wrong with the installation
        raise InputError(
            f"matplotlib cannot draw the picture ({type(error).__name__}: {error}): check its "
            "installation and its configuration file matplotlibrc"
        ) from error
    if path is not None:
        with replacing(path) as file:
            file.write(picture.getvalue())
    return figure


def _panel(axes: Any, title: str, line: Line | None, right: bool) -> None:
    """Draw what was measured along one direction."""
    if line is None or not line.samples:
        axes.set(xticks=[], yticks=[])
        axes.set_title(title, fontsize=10)
        text = "no direction was tried" if line is None else "the differences are not finite"
        axes.text(0.5, 0.5, text, ha="center", va="center", color="0.4", transform=axes.transAxes)
        return
    error, allowed, level = line.best_window(min(line.by_level))
    size = max(line.size, abs(line.claimed), abs(line.claimed + error)) or 1.0
    error, allowed = error / size, allowed / size
    steps = np.array([s.h for s in line.samples])
    remainders = np.array([s.remainder for s in line.samples]) / size
    noise = np.array([s.noise for s in line.samples]) / size
    rounding = float(np.median(noise * steps**line.power))

    shown = [float(v) for v in (*abs(remainders), *noise, abs(error)) if v > 1e-18] or [1e-16]
    low, high = min(shown) / 20, max(shown) * 10
    wide = np.geomspace(steps[-1] / 2, steps[0] * 2, 50)
    axes.set(xscale="log", yscale="log", xlim=(wide[0], wide[-1]), ylim=(low, high))

    power, c = _truncation(line, steps, remainders, noise, error, allowed, right)
    if c:
        label = f"truncation: h$^{power}$ (Taylor remainder: h$^{power + 1}$)"
        axes.plot(wide, c * wide**power, "--", color="tab:green", linewidth=1.2, label=label)
    if rounding:
        label = "rounding: " + ("1 / h" if line.power == 1 else f"1 / h$^{line.power}$")
        color = "tab:orange"
        axes.plot(wide, rounding / wide**line.power, ":", color=color, linewidth=1.5, label=label)
    if c and rounding:
        crossing = (rounding / c) ** (1 / (power + line.power))
        if wide[0] < crossing:
            end = min(crossing, wide[-1])
            axes.axvspan(wide[0], end, color="0.92", zorder=0, label="rounding exceeds truncation")
    if not right:
        label = f"error of the derivative: {abs(error):.2g}"
        axes.axhline(abs(error), color="tab:red", linewidth=1.5, label=label)
    elif 0 < allowed < math.inf:
        label = f"errors above {allowed:.0e} are seen"
        axes.axhline(allowed, color="tab:blue", linewidth=1, linestyle="-.", label=label)
        if error:
            label = f"extrapolated error: {abs(error):.0e}"
            h = line.sample(level + 2).h
            axes.plot([h], [abs(error)], "D", color="tab:blue", markersize=5, label=label)
    zero = remainders == 0
    if not np.all(zero):
        axes.plot(steps[~zero], abs(remainders[~zero]), "o", color="black", markersize=4,
                  label="measured")  # fmt: skip
    if np.any(zero):
        axes.plot(steps[zero], np.full(np.sum(zero), low * 2), "v", color="black", markersize=5,
                  label="measured: exactly 0")  # fmt: skip

    title = f"{title}\n{_summary(line, right)}"
    axes.set_title(title, fontsize=10 if len(title) < 120 else 8)
    axes.set_xlabel("step h, relative to the argument", fontsize=9)
    axes.set_ylabel("|difference quotient - derivative|\nrelative to the derivative", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.14))


def _truncation(
    line: Line, steps: Any, remainders: Any, noise: Any, error: float, allowed: float, right: bool
) -> tuple[int, float]:
    """Return (power, c): the truncation is c * h ** power; c is 0 if it is nowhere clear."""
    if right:
        measured = line.rate()
        if not measured or not line.is_regular():
            return 2, 0.0
        power, beyond = round(measured[0]), abs(remainders)
        clear = (steps > 0.99 * measured[1]) & (steps < 1.01 * measured[2])
    else:  # what the remainder has beyond the error, at the smallest steps where that is clear
        power, beyond = 2, abs(remainders - error)
        clear = beyond > np.maximum(8 * noise, allowed / SAFETY * 2)
        clear &= np.cumsum(clear[::-1])[::-1] <= 3
    if not np.any(clear):
        return power, 0.0
    return power, float(np.exp(np.mean(np.log(beyond[clear] / steps[clear] ** power))))


def _summary(line: Line, right: bool) -> str:
    """Return what the rate says, in a few words."""
    measured = line.rate()
    if not right and (measured is None or abs(measured[0]) < 0.5):
        return "the error stays, however small the step"
    if not right:
        return "the remainder does not fall as it should"
    if measured and line.is_regular():
        return f"the remainder falls with h to the power {measured[0]:.2f}"
    if line.is_noisy() or line.is_hidden():
        return "noise hides the remainder: extrapolated"
    if measured:
        return f"no regular rate ({measured[0]:.2f}), as at kinks: extrapolated"
    return "no remainder above the rounding: linear or quadratic here"
