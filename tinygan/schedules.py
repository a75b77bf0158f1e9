"""Schedules: numbers that change during training, such as a learning rate.

    constant:VALUE      VALUE all the time
    linear:START:END    a straight line from START to END
    cosine:START:END    half a wave of the cosine (Loshchilov and Hutter 2017, equation 5)

Each may be followed by `:until=N`, the step at which END is reached (default: the last step of the
run), and by `:warmup=N`: in the first N steps, the value rises linearly from 0 to START, where the
way to END begins. After `until`, the value is END. N is a number of steps, or of percent of all
steps, such as `5%`. Steps are counted from 1, as in the log.

As text, a schedule can be the value of a setting: `--set lr=cosine:2e-4:0:warmup=500`. In a loop of
one's own:

    rate = schedules.cosine(2e-4, 0, warmup=500)
    for step in range(1, steps + 1):
        optimizer.lr = rate(step, steps)
"""

import math
from typing import Any

from tinygan.errors import InputError, choose_from, one_line

__all__ = ["constant", "cosine", "linear", "now", "Schedule"]

KINDS = {"constant": ("VALUE",), "linear": ("START", "END"), "cosine": ("START", "END")}
OPTIONS = {"constant": ("warmup",), "linear": ("until", "warmup"), "cosine": ("until", "warmup")}
MAX_STEPS = 10**9


class Schedule(str):
    """A schedule, given as text (see above). Called with a step, it returns the value there.

    It is a text, so that settings and config.json hold it as it was written. kind: a key of KINDS.
    start, end: its values. Raises InputError for any other text.
    """

    kind: str
    start: float
    end: float

    def __new__(cls, text: str) -> "Schedule":
        schedule = super().__new__(cls, text)
        schedule._parse()
        return schedule

    def _parse(self):
        self.kind, *words = self.split(":")
        if self.kind not in KINDS:
            raise self._error(f"unknown kind {self.kind!r}: {choose_from(KINDS, self.kind)}")
        is_option = lambda word: "=" in word or word in OPTIONS["linear"]
        names, values = KINDS[self.kind], [word for word in words if not is_option(word)]
        if len(values) != len(names) or words[: len(values)] != values:
            problem = "the values come before the options"
            if len(values) < len(names):
                problem = f"{names[len(values)]} is missing"
            elif len(values) > len(names):
                problem = f"{values[len(names)]!r} is one value too many"
            options = "".join(f"[:{name}=N]" for name in OPTIONS[self.kind])
            raise self._error(f"{problem}: write {':'.join((self.kind, *names))}{options}")
        numbers = [self._number(name, value) for name, value in zip(names, values)]
        self.start, self.end = numbers[0], numbers[-1]
        self._lengths: dict[str, tuple[float, bool]] = {}  # {option: (number, whether percent)}
        for word in words[len(values) :]:
            name, _, value = word.partition("=")
            if name in OPTIONS["linear"] and name not in OPTIONS[self.kind]:
                raise self._error(f"a {self.kind} value has no end: leave out {word}")
            if name not in OPTIONS[self.kind]:
                advice = choose_from(OPTIONS[self.kind], name)
                raise self._error(f"unknown option {name!r}: {advice}")
            if name in self._lengths:
                raise self._error(f"{name} is given twice: leave one out")
            self._lengths[name] = self._length(name, value)
        units = {percent for _, percent in ({"until": (100.0, True)} | self._lengths).values()}
        if len(units) == 1:
            self.lengths(100)  # raises an error if `until` comes too early, however many steps

    def __call__(self, step: float, steps: int | None = None) -> float:
        """Return the value in a step.

        step: counted from 1. steps: how many there are in all, to which percentages and the default
        of `until` refer. Raises InputError if steps is needed but None, and if the warm-up does not
        end before `until`.
        """
        warmup, until = self.lengths(steps)
        if step < warmup:
            return self.start * max(step, 0) / warmup
        t = min((step - warmup) / (until - warmup), 1.0)
        if self.kind == "cosine":
            t = (1 - math.cos(math.pi * t)) / 2
        return self.start * (1 - t) + self.end * t

    def lengths(self, steps: int | None = None) -> tuple[float, float]:
        """Return the steps at which the warm-up ends and END is reached (for a constant, infinity).

        steps, errors: as for a call.
        """
        default = {"warmup": (0.0, False), "until": (100.0, True)}
        if self.kind == "constant":
            default["until"] = math.inf, False
        ends = []
        for name in default:
            number, percent = self._lengths.get(name, default[name])
            if percent and steps is None:
                raise self._error("give the number of steps, too: write schedule(step, steps)")
            ends.append(number * (steps or 0) / 100 if percent else number)
        warmup, until = ends
        if warmup >= until:
            last = "" if "until" in self._lengths else ", the last step"
            raise self._error(
                f"the warm-up ends at step {warmup:g}: it must end before step {until:g}{last}"
            )
        return warmup, until

    def _number(self, name, text):
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise self._error(f"{name} is {text!r}: write a number")
        return number

    def _length(self, name, text):
        """Return (number, whether it is in percent) of the value of an option."""
        percent = text.endswith("%")
        number = self._number(name, text.removesuffix("%"))
        high = 100 if percent else MAX_STEPS
        if not (0 < number or number == 0 and name == "warmup") or number > high:
            low = "at least 0" if name == "warmup" else "above 0"
            raise self._error(f"{name}={text}: must be {low}, and at most {high:,}{'%' * percent}")
        return number, percent

    def _error(self, problem):
        return InputError(f"schedule {one_line(self, 60)}: {one_line(problem, 300)}")


def constant(value: float, warmup: float | str = 0) -> Schedule:
    """Return the schedule of a constant value. warmup: steps, or text such as "5%"."""
    return Schedule(f"constant:{value}" + _option("warmup", warmup))


def linear(
    start: float, end: float, until: float | str | None = None, warmup: float | str = 0
) -> Schedule:
    """Return the schedule of a straight line from start to end. until, warmup: steps, or text such
    as "5%"."""
    options = _option("until", until) + _option("warmup", warmup)
    return Schedule(f"linear:{start}:{end}{options}")


def cosine(
    start: float, end: float, until: float | str | None = None, warmup: float | str = 0
) -> Schedule:
    """Return the schedule of half a cosine wave from start to end:
    end + (start - end) (1 + cos(pi t)) / 2, where t rises from 0 to 1. until, warmup: as for
    `linear`."""
    options = _option("until", until) + _option("warmup", warmup)
    return Schedule(f"cosine:{start}:{end}{options}")


def now(value: Any, step: float, steps: int) -> Any:
    """Return the value of a setting in a step, counted from 1: that of its schedule, or if it has
    none, the value itself."""
    return value(step, steps) if isinstance(value, Schedule) else value


def _option(name, value):
    """Return an option as text, which begins with a colon; "" for the default."""
    return "" if value is None or value == 0 and name == "warmup" else f":{name}={value}"
