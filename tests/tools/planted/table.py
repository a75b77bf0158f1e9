"""Run the checks on all mistakes and on the right derivatives; count, and write the table."""

import collections
import dataclasses
import time

import numpy as np

from tinygan import check_grads

from . import check_before
from .mechanism import MISTAKES, measure
from .right import RIGHT

# The order of the lines of the table, and their text.
KINDS = {
    "factor": "a factor: 2, 2.001, 1 + 1e-4, 1 + 1e-7",
    "sign": "the sign",
    "zero": "no gradient at all",
    "constant added": "a constant added",
    "NaN": "NaN or infinity in an entry",
    "transposed": "transposed",
    "missing sum": "the sum over a broadcast axis",
    "n": "mean or sum, n or n - 1",
    "axis": "another axis",
    "off by one": "an index off by one",
    "index": "repeated or exchanged indices",
    "labels": "the wrong labels",
    "one entry": "one entry, most of them of a thousand",
    "formula": "another formula, such as tanh' = 1 - y",
    "dropped term": "a term that is missing",
    "settings": "a setting forgotten: gain, eps, slope",
    "arguments": "arguments swapped",
    "bias": "the gradient of the bias",
    "statistics": "statistics taken for constants, or stale",
    "padding": "padding off by one",
    "filter": "a filter that is flipped, or not",
    "stride": "at stride 2 or 3",
    "groups": "with groups",
    "second order": "in second order (or third) only",
    "ties": "at ties and kinks only",
    "float32": "in float32 only",
    "one shape": "at one shape only: odd sizes, a batch of one",
}


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What one check said. complaint: its message, or "" if it found nothing. error: the type of
    the exception. seconds: the time that it took."""

    complaint: str
    error: str
    seconds: float


def ask(check, case, arrays, seed=0):
    """Run `check`, a check_grads, on a Mistake or a Right, at `arrays`; return the Verdict."""
    start, complaint, error = time.perf_counter(), "", ""
    try:
        with np.errstate(all="ignore"):
            check(case.function, arrays, order=case.order, names=case.arguments, seed=seed)
    except Exception as failure:  # the engine's errors count: a user sees them, too
        error, complaint = type(failure).__name__, " ".join(str(failure).split())
    return Verdict(complaint or error, error, time.perf_counter() - start)


def judge_mistake(mistake, seed=0):
    """Return what both checks say about a mistake, and how large it is, as a dictionary."""
    with np.errstate(all="ignore"):
        order, size = measure(mistake, seed)
    arrays = mistake.draw(np.random.default_rng(seed))
    now, before = (ask(check, mistake, arrays, seed) for check in CHECKS)
    return {
        "name": mistake.name,
        "kind": mistake.kind,
        "order": order,
        "size": size,
        "invisible": mistake.invisible,
        "caught": bool(now.complaint),
        "message": now.complaint,
        "error": now.error,
        "seconds": now.seconds,
        "caught_before": bool(before.complaint),
        "message_before": before.complaint,
        "seconds_before": before.seconds,
    }


def judge_right(right, seed=0):
    """Return what both checks say about right derivatives, as a dictionary."""
    arrays = right.inputs()
    now, before = (ask(check, right, arrays, seed) for check in CHECKS)
    return {
        "name": right.name,
        "group": right.group,
        "false_alarm": bool(now.complaint),
        "message": now.complaint,
        "seconds": now.seconds,
        "false_alarm_before": bool(before.complaint),
        "message_before": before.complaint,
        "seconds_before": before.seconds,
    }


CHECKS = check_grads, check_before.check_grads


def selected(kind="", name=""):
    """Return (mistakes, right): those of a kind whose names contain `name`. A kind has no right."""
    mistakes = [m for m in MISTAKES if kind in ("", m.kind) and name.lower() in m.name.lower()]
    right = [] if kind else [r for r in RIGHT if name.lower() in r.name.lower()]
    return mistakes, right


def run(mistakes, right, seed=0, progress=lambda items: items):
    """Judge all; return {"mistakes": [...], "right": [...]}. progress: wraps the list of cases."""
    results = {"mistakes": [], "right": []}
    jobs = [("mistakes", judge_mistake, m) for m in mistakes]
    jobs += [("right", judge_right, r) for r in right]
    for key, judge, item in progress(jobs):
        results[key].append(judge(item, seed))
    return results


def problems(results):
    """Return a line for each mistake that is missed without an explanation, each false alarm, and
    each planted mistake that is none."""
    lines = []
    for m in results["mistakes"]:
        if not m["order"] and not m["invisible"]:
            lines.append(f"not a mistake: {m['name']}: its derivatives are the right ones")
        elif not m["caught"] and not m["invisible"]:
            where = f"order {m['order']}, {m['size']:.1e} of the rms"
            lines.append(f"missed: {m['name']} [{m['kind']}; {where}]")
    lines += [
        f"false alarm: {r['name']}: {r['message']}" for r in results["right"] if r["false_alarm"]
    ]
    return lines


def explained(results):
    """Return a line for each mistake that is missed with an explanation."""
    missed = [m for m in results["mistakes"] if m["invisible"] and not m["caught"]]
    return [f"{m['name']} - {m['invisible']}" for m in missed]


def table(results):
    """Return the lines of the table: (text, number, visible, caught, caught before)."""
    lines, total = [], [0] * 4
    for kind, text in KINDS.items():
        those = [m for m in results["mistakes"] if m["kind"] == kind]
        numbers = [
            len(those),
            sum(not m["invisible"] for m in those),
            sum(m["caught"] for m in those),
            sum(m["caught_before"] for m in those),
        ]
        if those:
            lines.append((text, *numbers))
        total = [a + b for a, b in zip(total, numbers)]
    return [*lines, ("all", *total)]


def alarms(results):
    """Return the lines of the table of right derivatives: (text, number, false alarms, before)."""
    lines = collections.defaultdict(lambda: [0, 0, 0])
    for r in results["right"]:
        for group in (r["group"], "all"):
            one = 1, r["false_alarm"], r["false_alarm_before"]
            lines[group] = [a + b for a, b in zip(lines[group], one)]
    total = lines.pop("all", [0, 0, 0])
    return [(group, *numbers) for group, numbers in [*lines.items(), ("all", total)]]


MISTAKE_COLUMNS = "the derivative is wrong by", "planted", "visible", "caught", "caught before"
RIGHT_COLUMNS = "right derivatives", "number", "false alarms", "before"


def as_text(columns, lines):
    """Return a table as text, with columns that line up."""
    rows = [[str(cell) for cell in line] for line in (columns, *lines)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    join = lambda row: "  ".join(
        cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))
    )
    return "\n".join(map(join, rows))


def as_markdown(columns, lines):
    """Return a table as Markdown."""
    rows = [columns, ["---", *["---:"] * (len(columns) - 1)], *lines]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows)
