"""Claims, and the verdicts that follow from what was measured.

A claim compares a number of two groups of runs, one run for each seed. It

    holds         if all seeds of one group are beyond all seeds of the other, and the medians
                  differ by at least a tenth of the larger one
    is reversed   if the same is true the other way round
    is undecided  otherwise, at this scale

For an undecided claim, the *visible* difference says how far apart the medians would have had to be
for a verdict, with these spreads. A claim that one group is at most a share larger than the other
holds if every seed keeps this bound, measured from the smallest number of the other group, and is
reversed if every seed breaks it even from the largest one. A claim of several comparisons holds, or
is reversed, if all of them agree.

A run that failed (see `Run.failed`) is worse than any number, if the number says how good a run is.
Of other numbers, it says nothing, so the claim is undecided.
"""

from dataclasses import dataclass
from typing import Any, Sequence

import numpy as np

from .figures import median_and_all

HOLDS, REVERSED, UNDECIDED = "holds", "reversed", "undecided"
NOT_EVIDENCE = "tiny: not evidence"  # instead of a verdict
TENTH = 0.1  # the share of the larger median by which the medians must differ
WORST = {"fid": np.inf, "class_error": np.inf} | dict.fromkeys(
    ("precision", "recall", "class_accuracy"), -np.inf
)


@dataclass
class Comparison:
    """Numbers of two groups, of which the first is claimed to be smaller, or not much larger.

    quantity: what the numbers are. labels: of both groups. values: the numbers of both groups, one
    for each seed: infinite if a run failed, or None if a failed run says nothing about this number.
    at_most: None if the first group is claimed to be smaller; otherwise it is claimed that none of
    its numbers is above the smallest of the second group by more than this share.
    """

    quantity: str
    labels: tuple[str, str]
    values: tuple[list[float | None], list[float | None]]
    at_most: float | None = None

    def verdict(self) -> str:
        if any(x is None for group in self.values for x in group):
            return UNDECIDED
        a, b = map(np.asarray, self.values)
        if self.at_most is not None:
            bound = lambda number: number + self.at_most * abs(number)
            if np.isfinite(a).all() and a.max() <= bound(b.min()):
                return HOLDS
            return REVERSED if np.isfinite(b).all() and a.min() > bound(b.max()) else UNDECIDED
        if _is_smaller(a, b):
            return HOLDS
        return REVERSED if _is_smaller(b, a) else UNDECIDED

    def visible(self) -> float | None:
        """Return how far apart the medians would have had to be for a verdict, whichever group is
        the smaller one; or None if a run failed, or if the claim is that of a bound."""
        numbers = [x for group in self.values for x in group]
        if self.at_most is not None or any(x is None or not np.isfinite(x) for x in numbers):
            return None
        (a, b), (m, n) = map(np.asarray, self.values), map(np.median, self.values)
        apart = max(a.max() - m + n - b.min(), b.max() - n + m - a.min())
        return float(max(apart, TENTH / (1 - TENTH) * max(abs(m), abs(n))))

    def as_json(self) -> dict[str, Any]:
        finite = [[x if x is None or np.isfinite(x) else None for x in g] for g in self.values]
        names = dict(zip(("smaller", "larger"), self.labels))
        values = dict(zip(("smaller", "larger"), finite))
        return {
            "quantity": self.quantity,
            "labels": names,
            "values": values,
            "at_most": self.at_most,
            "visible": self.visible(),
            "verdict": self.verdict(),
        }

    def __str__(self) -> str:
        first, second = (
            f"{label}: {median_and_all(group, 3)}" for label, group in zip(self.labels, self.values)
        )
        text, visible = f"{self.quantity}: {first}; {second}", self.visible()
        if self.at_most is not None:
            return f"{text} (claimed: at most {self.at_most:.0%} more)"
        if self.verdict() == UNDECIDED and visible is not None:
            return f"{text} (a difference of {visible:.2g} would have been seen)"
        return text


def _is_smaller(a, b):
    """Return whether all of a are below all of b, and the medians differ by a tenth."""
    m, n = np.median(a), np.median(b)
    return bool(a.max() < b.min() and (n - m >= TENTH * max(abs(m), abs(n)) or np.isinf(n - m)))


def smaller(
    runs: dict, path: str, label: str, than: str, quantity: str = "", at_most: float | None = None
) -> Comparison:
    """Return the comparison in which the number at `path` is smaller for `label` than for `than`.

    runs: {label: [a Run for each seed]}. at_most: see Comparison. quantity: what the number is
    called (default: path).
    """
    values = tuple([_number(run, path) for run in runs[group]] for group in (label, than))
    return Comparison(quantity or path, (label, than), values, at_most)


def larger(runs: dict, path: str, label: str, than: str, quantity: str = "") -> Comparison:
    """Return the comparison in which the number at `path` is larger for `label` than for `than`."""
    return smaller(runs, path, than, label, quantity)


def _number(run, path):
    if run.failed:
        return WORST.get(path)
    return run.number(path)


@dataclass
class Claim:
    """A claim, and what decides it.

    evidence: Comparisons. For a claim with a rule of its own: whether it is true of each run. If no
    chance is involved: whether it is true.
    """

    text: str
    evidence: Comparison | Sequence[Comparison | bool] | bool

    def verdict(self) -> str:
        verdicts = {
            part.verdict() if isinstance(part, Comparison) else HOLDS if part else REVERSED
            for part in self._parts()
        }
        return verdicts.pop() if len(verdicts) == 1 else UNDECIDED

    def comparisons(self) -> list[Comparison]:
        return [part for part in self._parts() if isinstance(part, Comparison)]

    def runs(self) -> list[bool]:
        """Return whether the claim is true of each run, if it has a rule of its own; otherwise
        []."""
        if self._is_one():
            return []
        return [bool(part) for part in self.evidence if not isinstance(part, Comparison)]

    def as_json(self, is_evidence: bool) -> dict[str, Any]:
        return {
            "verdict": self.verdict() if is_evidence else NOT_EVIDENCE,
            "comparisons": [comparison.as_json() for comparison in self.comparisons()],
            "runs": self.runs(),
        }

    def _is_one(self):
        return isinstance(self.evidence, (Comparison, bool, np.bool_))

    def _parts(self):
        return [self.evidence] if self._is_one() else self.evidence
