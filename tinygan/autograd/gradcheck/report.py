"""What a gradient check found: reports of right derivatives and of wrong ones, in words."""

import dataclasses
import math
from typing import Any, NamedTuple, NoReturn

import numpy as np

from .line import Line, Sample
from .suspects import cause_of


class Witness(NamedTuple):
    """An independent test of the same derivative: its name, what it was about, the value found and
    the limit above which the witness disagrees."""

    name: str
    about: str
    value: float
    limit: float

    @property
    def agrees(self) -> bool:
        """Whether the value is within the limit. NaN is not."""
        return self.value <= self.limit

    def __str__(self) -> str:
        sign = "<=" if self.agrees else ">"
        return f"{self.name} ({self.about}): {self.value:.1e} {sign} {self.limit:.1e}"


@dataclasses.dataclass
class OrderReport:
    """What was found about the derivatives of one order.

    errors: {argument: largest error along a direction, relative to the size of the gradient}.
    directions: how many were tried; entries: of all arguments. full: whether each entry was
    changed by itself. summed: whether f has several results, which were summed. eps, miss: an
    error of one entry, of size eps relative to the root mean square of its gradient, was missed
    with a probability of at most miss. noise: the smallest error along a direction that would have
    been seen, relative to the gradient's size. hidden: if full, the number of entries whose
    derivative is below the noise. without_influence: the arguments whose gradient is not above the
    rounding of f. moved: how often the point was moved off a kink. at_a_kink: it could not be
    moved, and the slopes on both sides differ in their sign alone. tolerance: (rtol, atol) of the
    caller, or None. line: of the first direction.
    """

    title: str
    order: int
    errors: dict[str, float] = dataclasses.field(default_factory=dict)
    directions: int = 0
    entries: int = 0
    full: bool = False
    eps: float = 0.0
    miss: float = 0.0
    noise: float = 0.0
    hidden: int = 0
    without_influence: list[str] = dataclasses.field(default_factory=list)
    moved: int = 0
    at_a_kink: bool = False
    summed: bool = False
    tolerance: tuple[float, float] | None = None
    line: Line | None = None
    witnesses: list[Witness] = dataclasses.field(default_factory=list)

    @property
    def error(self) -> float:
        """The largest relative error of any argument."""
        return max(self.errors.values(), default=0.0)

    @property
    def samples(self) -> list[Sample]:
        """What was measured along the first direction, from the largest step to the smallest."""
        return self.line.samples if self.line else []

    @property
    def rate(self) -> float | None:
        """The power of the step with which the remainder falls; 2 or more for a right derivative.
        None where no remainder rises above the rounding."""
        measured = self.line and self.line.rate()
        return measured[0] if measured else None

    @property
    def method(self) -> str:
        """What decided: "rate", "extrapolation", or "tolerance" (the caller's)."""
        if self.tolerance:
            return "tolerance"
        return "rate" if self.line is None or self.line.is_regular() else "extrapolation"

    def how(self) -> str:
        """Return a sentence that says what decided."""
        measured = self.line and self.line.rate()
        if not self.line:
            return "nothing to check: the arguments have no entries"
        if self.tolerance:
            rtol, atol = self.tolerance
            return f"within the tolerance that you set (rtol {rtol:g}, atol {atol:g})"
        if not measured and self.method == "rate":
            return (
                "no Taylor remainder rises above the rounding: along these directions, the "
                "function is linear or quadratic"
            )
        if self.method == "rate":
            assert measured
            return (
                f"the Taylor remainder falls with the power {1 + measured[0]:.2f} of the step h "
                f"(3 or more for a right one, 1 for a wrong one), from h = {measured[2]:.1e} down "
                f"to {measured[1]:.1e}, where rounding takes over"
            )
        if self.line.is_noisy() or self.line.is_hidden():
            return (
                "noise or rounding of f (such as that of float32) hides the Taylor remainder: "
                "extrapolated differences and their own uncertainty decide"
            )
        return (
            "the remainder falls with no regular power (kinks or jumps near the point): "
            "extrapolated differences and their own uncertainty decide"
        )

    def by_size(self) -> list[str]:
        """Return a text for each different error, with the arguments that have it: those along
        directions of all arguments have it in common."""
        names: dict[float, list[str]] = {}
        for name, error in self.errors.items():
            names.setdefault(error, []).append(name)
        return [f"{error:.1e}: {_listed(some)}" for error, some in names.items()]

    def by_witness(self) -> list[str]:
        """Return a text for each kind of witness: the one nearest to its limit."""
        kinds: dict[str, list[Witness]] = {}
        for witness in self.witnesses:
            kinds.setdefault(witness.name, []).append(witness)
        texts = []
        for some in kinds.values():
            worst = max(some, key=lambda w: w.value / w.limit)
            more = f", the worst of {len(some)}" if len(some) > 1 else ""
            texts.append(f"{worst}{more}")
        return texts

    def chance(self) -> str:
        """Return a sentence about what could have been missed."""
        if self.tolerance:
            return "errors within this tolerance are not seen"
        if self.full:
            which = f"each of the {self.entries} entries" if self.entries > 1 else "the only entry"
            text = f"{which} was changed by itself"
            if self.summed:
                text += ", and the results were summed with random weights"
            if self.hidden:
                text += f"; in {self.hidden} of them, rounding or noise of f exceeds the derivative"
            return text
        if not self.miss:
            return "the derivative is 0 in all entries, and no difference contradicts it"
        among = f"one wrong entry among {self.entries}" if self.entries > 1 else "the entry"
        seen = (
            f"{among}, off by {self.eps:.1e} of the gradient's root mean square, would escape with "
            f"a probability below {self.miss:.0e} ({self.directions} random directions)"
        )
        return seen if self.eps < 0.1 else f"right, as far as can be seen: {seen}"


class WrongResult(NamedTuple):
    """A number among the results of f whose derivative by one entry is wrong."""

    name: str
    derivative: float
    difference: float

    def __str__(self) -> str:
        ratio = f", ratio {self.derivative / self.difference:.7g}" if self.difference else ""
        return (
            f"{self.name}: derivative {self.derivative:.7g}, differences {self.difference:.7g}"
            f"{ratio}"
        )


@dataclasses.dataclass
class Failure:
    """A derivative that is wrong.

    index: of the entry, or None where only a direction is known. derivative, difference: what is
    claimed, and what differences give. claimed, found: the whole gradient of the argument, as
    claimed and by differences (NaN where it was not computed). allowed: errors of each entry that
    are too small to be seen. exact: the numbers are derivatives of f itself,
    not of a weighted sum of its results. suspects: what usually looks like this.
    results: of several results of f, those whose derivative by the entry at `index` is wrong.
    kind: of the Verdict on `line`; or "undefined", where f is not finite.
    """

    title: str
    order: int
    argument: str
    index: tuple[int, ...] | None
    where: str
    derivative: float
    difference: float
    relative_error: float
    claimed: np.ndarray[Any, Any] | None = None
    found: np.ndarray[Any, Any] | None = None
    allowed: np.ndarray[Any, Any] | None = None
    line: Line | None = None
    exact: bool = False
    suspects: list[str] = dataclasses.field(default_factory=list)
    results: list[WrongResult] = dataclasses.field(default_factory=list)
    kind: str = "wrong"

    def __str__(self) -> str:
        if self.kind == "undefined":
            return f"{self.title}, order {self.order}: {self.suspects[0]}"
        digits = 10 if self.relative_error > 1e-8 else 16
        return (
            f"{self.title}, order {self.order}: the gradient of {self.argument} is wrong "
            f"{self.where}: derivative {self.derivative + 0.0:.{digits}g}, differences "
            f"{self.difference + 0.0:.{digits}g}, relative error {self.relative_error:.1e}"
        )

    @property
    def rate(self) -> float | None:
        """The power of the step with which the remainder falls, or None: see OrderReport."""
        measured = self.line and self.line.rate()
        return measured[0] if measured else None

    def table(self, rows: int = 8) -> str:
        """Return the entries that differ most: index, derivative, differences, ratio."""
        if self.claimed is None or self.found is None:
            return ""
        known = np.isfinite(self.found)
        error = np.where(known, np.abs(self.claimed - np.where(known, self.found, 0.0)), -1.0)
        error = np.where(known & ~np.isfinite(self.claimed), np.inf, error)
        if self.index is not None:
            error[self.index] = np.inf
        largest = np.argsort(-error, axis=None, kind="stable")[:rows]
        lines = [f"{'index':>16} {'derivative':>18} {'differences':>18} {'ratio':>15}"]
        for flat in largest:
            index = np.unravel_index(flat, self.claimed.shape)
            if error[index] < 0:
                continue
            a, b = float(self.claimed[index]) + 0.0, float(self.found[index]) + 0.0  # no -0
            ratio = f"{a / b:15.12g}" if b else f"{'-':>15}"
            name = str(tuple(map(int, index)))
            lines.append(f"{name:>16} {a:18.10g} {b:18.10g} {ratio}")
        return "\n".join(lines)

    def describe(self) -> str:
        """Return a text of several lines: what is wrong, the numbers, the usual suspects."""
        parts = [str(self)]
        rate = self.rate
        if rate is not None and math.isfinite(self.difference):
            parts.append(
                f"The Taylor remainder falls with the power {1 + rate:.2f} of the step h: 3 or "
                "more for a right derivative, 1 for a wrong one."
            )
        if table := self.table():
            if not self.exact:
                parts.append("The results of f are weighted with random numbers and summed:")
            parts.append(table)
        if self.results:
            parts.append(f"By the entry {self.index}, these derivatives are wrong:")
            parts += [f"  {result}" for result in self.results[:6]]
            if len(self.results) > 6:
                parts.append(f"  and {len(self.results) - 6} more")
        if self.suspects and self.kind != "undefined":
            parts += ["The usual suspects:", *(f"  * {suspect}" for suspect in self.suspects)]
        return "\n".join(parts)


class GradReport(list[float]):
    """The largest relative error of each check that passed; report[0] is that of order 1.

    orders: an OrderReport for each of them. failure: the Failure, if a derivative is wrong.
    """

    def __init__(self) -> None:
        super().__init__()
        self.orders: list[OrderReport] = []
        self.failure: Failure | None = None
        self.mistake = ""  # what is wrong, in a line

    def add(self, order: OrderReport) -> None:
        """Add what was found about an order that passed."""
        self.append(float(order.error))
        self.orders.append(order)

    def with_failure_of(self, error: "GradientError") -> "GradReport":
        """Return this report with the Failure of an error."""
        self.failure, self.mistake = error.report.failure, str(error)
        return self

    @property
    def witnesses(self) -> list[Witness]:
        """The witnesses of all orders."""
        return [witness for order in self.orders for witness in order.witnesses]

    def __str__(self) -> str:
        titles = [order.title for order in self.orders]
        if len({title.rpartition(", order")[0] for title in titles}) < 2:  # one function
            titles = [f"order {order.order}" for order in self.orders]
        return ", ".join(f"{title}: {error:.1e}" for title, error in zip(titles, self))

    def describe(self) -> str:
        """Return a text of several lines: the errors of each argument, what decided, the witnesses,
        and the chance of having missed a mistake; or what is wrong."""
        lines: list[str] = []
        for order in self.orders:
            lines.append(f"{order.title}: right")
            lines += [f"  relative error {text}" for text in order.by_size()]
            if order.without_influence:
                names = ", ".join(order.without_influence)
                lines.append(
                    f"  no influence on the results beyond rounding, at this point: {names} (a "
                    "gradient that is 0 everywhere would pass, too: check at another point as well)"
                )
            lines += [f"  {order.how()}", f"  {order.chance()}"]
            if order.moved:
                times = "once" if order.moved == 1 else f"{order.moved} times"
                lines.append(f"  the point was moved off a kink {times}")
            if order.at_a_kink:
                lines.append(
                    "  f has a kink at this point: the derivative is right as the mean of the "
                    "slopes on both sides, which is all that differences see"
                )
            lines += [f"  witness: {text}" for text in order.by_witness()]
        if self.failure:
            lines.append(self.failure.describe())
        elif self.mistake:
            lines.append(self.mistake)
        return "\n".join(lines)

    def plot(self, path: Any = None) -> Any:
        """Draw the error over the step h, and return the Matplotlib figure.

        Both axes are logarithmic. For each order, the slopes of truncation (h ** 2) and of rounding
        (1 / h) are drawn beside the measured remainders. path: a file to save the figure in.
        """
        from .picture import draw

        return draw(self, path)


class GradientError(AssertionError):
    """A derivative disagrees with finite differences. The message says which, where, how much.

    report: the GradReport of the lower orders, which passed; its `failure` has the details.
    kink: whether f has a kink or jump so close to the input that the differences mean nothing.
    """

    __module__ = "tinygan"  # its short name, for tracebacks and for pytest's summary

    def __init__(self, message: str = "", report: Any = None, kink: bool = False) -> None:
        super().__init__(message)
        self.report, self.kink = GradReport() if report is None else report, kink
        self.report.mistake = message

    def describe(self) -> str:
        """Return a text of several lines: the message, and what the Failure tells."""
        failure = self.report.failure
        details = failure.describe().split("\n")[1:] if failure else []
        return "\n".join([str(self), *details])


def _listed(names: list[str], most: int = 6) -> str:
    """Return "a, b, c", with the number of those left out."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def fail(failure: Failure, kink: bool = False) -> NoReturn:
    """Raise the GradientError of a Failure."""
    report = GradReport()
    report.failure = failure
    error = GradientError(str(failure), report, kink)
    details = failure.describe().partition("\n")[2]
    if details and hasattr(error, "add_note"):  # since Python 3.11: below the message
        error.add_note(details)
    raise error from None


def fail_if_one_disagrees(title: str, witnesses: list[Witness]) -> None:
    """Raise the GradientError of a witness that disagrees."""
    for witness in witnesses:
        if not witness.agrees:
            raise GradientError(
                f"{title}: the gradient of {witness.about} is wrong: a witness disagrees: {witness}"
                f"{cause_of(witness.name)}"
            )


def relative_error(derivative: float, difference: float, small: float) -> float:
    """Return |derivative - difference| relative to the larger of the two, or to `small`."""
    error = abs(derivative - difference) / max(abs(derivative), abs(difference), small)
    return math.inf if math.isnan(error) else error
