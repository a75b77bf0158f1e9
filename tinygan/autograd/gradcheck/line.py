"""One direction: what a function does along it, and whether a claimed derivative fits.

Along a direction v, a function becomes one of a single number, phi(t) = sum(w * f(x + t v)) with
fixed weights w. Subtract the claimed derivative D from its difference quotient:

    remainder(h) = (phi(h) - phi(-h)) / 2h - D  =  [phi'(0) - D] + c h^2 + c' h^4 + ...

If D is right, the remainder falls with the second power of the step h (and h times it, the Taylor
remainder, with the third), until rounding takes over: eps |phi| / h, which grows as h falls. If D
is wrong, the remainder stops falling above the rounding, at the error. So what decides is how the
remainder falls, not a tolerance. Richardson's extrapolation over three successive steps, a window,
cancels h^2 and h^4. It leaves the error, phi'(0) - D, and an estimate of its own uncertainty. An
error makes D wrong if it is far larger than its uncertainty, and if the remainders of the smaller
steps show it too.

The other half of the samples, bend(h) = (phi(h) - 2 phi(0) + phi(-h)) / 2h, falls like h where phi
is smooth, and does not where it has a kink at 0: there the derivative may be anything between the
slopes on both sides, phi'(0) - bend and phi'(0) + bend.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

FIRST_STEP = 2.0**-4  # relative to the argument
RATIO = 4.0  # of one step to the next
COARSEST, FINEST = -5, 19  # levels: their steps are FIRST_STEP / RATIO**level, 64 and 2e-13
# An extrapolated error counts as an error of the derivative if it exceeds this many times its
# uncertainty, and the rounding that the derivative itself may have, relative to its size.
SAFETY, ROUNDING = 16.0, 2.0**-36
NOISE = 0.45  # the part of a sample's noise in the uncertainty: SAFETY times it is 7 noises
HIDDEN = 2.0  # allowed errors above this many times the derivative's size hide even a wrong sign
# A function that computes in float32 somewhere does not change at all at tiny steps. WIDEST: the
# largest such step. SINGLE_STEP: a step at which it does change.
WIDEST, SINGLE_STEP = 2.0**-14, 2.0**-20
REGULAR = 1.5, 7.0  # rates of smooth functions: 2, or 4 or 6 if the terms before vanish


class Sample(NamedTuple):
    """What was measured with the step h. noise: the size of the rounding in `remainder`."""

    h: float
    remainder: float
    bend: float
    noise: float


class Verdict(NamedTuple):
    """kind: "right", "wrong", "kink" if a kink so close to the point explains the difference, or
    "hidden" if jumps or noise hide even a wrong sign.

    error: the extrapolated phi'(0) - D. allowed: smaller errors cannot be seen.
    """

    kind: str
    error: float
    allowed: float


class Line:
    """The samples along one direction, and the verdict on the claimed derivative.

    measure: a function from a step to a Sample. size: the usual size of such a derivative, which
    sets the scale of its rounding errors. claimed: the derivative D, for reports. jitter: a
    function that measures how much phi and D jitter at steps near 0, or at multiples of one that is
    given, and at wider ones up to `widest`; it returns two numbers.
    power: the noise grows with this power of 1/h. first: the step of level 0. direction, weights:
    v and w.
    """

    def __init__(
        self,
        measure: Callable[[float], Sample],
        size: float,
        claimed: float,
        jitter: Callable[..., tuple[float, float]],
        power: int = 1,
        first: float = FIRST_STEP,
        direction: Sequence[Any] = (),
        weights: Sequence[Any] = (),
    ) -> None:
        self.measure, self.size, self.claimed = measure, size, claimed
        self.jitter, self.power, self.first = jitter, power, first
        self.direction, self.weights = list(direction), list(weights)
        self.by_level: dict[int, Sample] = {}
        self.floor = ROUNDING * size
        self.measured_jitter: float | None = None
        self.assumed_jitter = 0.0  # that of another line

    @property
    def samples(self) -> list[Sample]:
        """All finite samples, from the largest step to the smallest."""
        return [s for s in map(self.sample, sorted(self.by_level)) if math.isfinite(s.remainder)]

    def sample(self, level: int) -> Sample:
        """Return the Sample of a level, with a noise that is at least the measured jitter."""
        if level not in self.by_level:
            self.by_level[level] = self.measure(self.first / RATIO**level)
        s = self.by_level[level]
        jitter = max(self.measured_jitter or 0.0, self.assumed_jitter) / s.h**self.power
        if level < 0 and 0 in self.by_level:  # rounding grows with the values
            usual = self.by_level[0]
            if usual.noise:
                jitter *= max((s.noise / usual.noise) * (s.h / usual.h) ** self.power, 1.0)
        return s if s.noise >= jitter else s._replace(noise=jitter)

    def sample_at(self, h: float) -> Sample:
        """Return the sample of the step h, which belongs to a level."""
        return self.sample(round(math.log(self.first / h, RATIO)))

    def window(self, level: int) -> tuple[float, float]:
        """Return (error, its uncertainty) from the steps of `level` and the two finer levels.

        A combination that cancels c h^2 leaves c' h^4, and one that cancels both leaves h^6. Their
        difference is the uncertainty, to which the rounding of the smallest step is added.
        """
        r = [self.sample(level + i) for i in range(3)]
        if not all(math.isfinite(s.remainder) for s in r):
            return math.nan, math.inf
        square = RATIO**2
        fourth = [(square * b.remainder - a.remainder) / (square - 1) for a, b in zip(r, r[1:])]
        sixth = (square**2 * fourth[1] - fourth[0]) / (square**2 - 1)
        return sixth, abs(sixth - fourth[1]) + NOISE * r[2].noise

    def examine(
        self, target: float = math.inf, to_the_noise: bool = False, level: int = 0
    ) -> Verdict:
        """Choose the steps, and return the Verdict.

        target: stop as soon as errors of this size can be seen. to_the_noise: go on until rounding
        takes over, so that `rate` can be measured down to there. level: of the first step.
        """
        if not self.choose_steps(target, to_the_noise, level):
            return Verdict("wrong", math.nan, math.nan)
        if to_the_noise and not self.at_the_noise():
            # The noise is larger than expected.
            self.assumed_jitter = max(self.jitter(of_derivative=False)[0], self.growing_noise())
        return self.decide(min(self.by_level))

    def at_the_noise(self) -> bool:
        """Return whether the remainders of the two smallest steps are as small as their noise. (One
        alone may be small by chance.)"""
        return all(abs(s.remainder) <= 4 * s.noise for s in self.samples[-2:])

    def estimate(self, target: float) -> Verdict:
        """Return a Verdict that takes few evaluations: kinks and noise may make it "wrong"."""
        if not self.choose_steps(target, False):
            return Verdict("wrong", math.nan, math.nan)
        error, allowed, _ = self.best_window(min(self.by_level))
        return Verdict("right" if abs(error) <= allowed else "wrong", error, allowed)

    def choose_steps(self, target: float, to_the_noise: bool, level: int = 0) -> bool:
        """Take samples until the target of examine() is reached. Return False if all are NaN."""
        if not math.isfinite(self.claimed):
            return False
        while not math.isfinite(self.window(level)[0]):  # f may be undefined at large steps
            level += 1
            if level > FINEST - 2:
                return False
        if level == 0:
            self.take_larger_steps(target)
        while level < FINEST - 2:
            noise, uncertainty = self.sample(level + 2).noise, self.window(level)[1]
            enough = SAFETY * uncertainty + self.floor <= target
            no_gain = RATIO * NOISE * noise >= uncertainty  # the noise of the next window
            if (enough or no_gain) and (not to_the_noise or self.at_the_noise()):
                break
            level += 1
        return True

    def take_larger_steps(self, target: float) -> None:
        """Take steps larger than the first while they lessen the noise and add nothing else."""
        level = 0
        while level > COARSEST:
            if not math.isfinite(self.window(level)[0]):
                return
            s, allowed = self.sample(level), SAFETY * self.window(level)[1] + self.floor
            finer = self.sample(level + 1)  # an error of the derivative is the same in both
            changes = abs(s.remainder - finer.remainder) > 4 * finer.noise
            if allowed <= max(target, 2 * self.floor) or changes:
                return
            level -= 1
            self.sample(level)

    def decide(self, first: int) -> Verdict:
        """Return the Verdict of the windows from level `first` on."""
        while first <= FINEST - 2:
            error, allowed, best = self.best_window(first)
            if abs(error) <= allowed:
                return self.seen(error, allowed)
            if self.measured_jitter is None:  # f and D may round more than their sizes tell
                self.measure_jitter()
                if first == 0 and self.is_noisy():
                    self.take_larger_steps(0.0)
                    first = min(self.by_level)
                continue
            # A wrong derivative leaves the same remainder at all smaller steps, down to the noise.
            level, falls = best + 3, False
            while level <= FINEST and not falls:
                s = self.sample(level)
                if not self.is_clear(error, s):
                    break
                falls = not abs(s.remainder - error) <= abs(error) / 2
                level += 1
            if level == best + 3 and best > COARSEST:  # no smaller step is clear of noise
                stays = abs(self.sample(best + 2).remainder - error) <= abs(error) / 2
                differs = abs(self.window(best - 1)[0] - error) / abs(error)
                falls = not differs <= (1 / 2 if stays else 1 / 8)
            if not falls and self.is_a_staircase(best, error):
                break
            if not falls:
                return Verdict(self.kind(error, best + 2), error, allowed)
            first = level - 1
        return self.noisy_verdict()

    def is_clear(self, error: float, s: Sample) -> bool:
        """Return whether the noise of a sample could not hide an error. The noise of its usual size
        is an upper bound; that which was measured may be smaller."""
        measured = (self.measured_jitter or 0.0) / s.h**self.power
        return abs(error) > min(4 * s.noise, max(s.noise, 4 * measured))

    def growing_noise(self) -> float:
        """Return the noise of phi if the remainders of the smallest steps grow like 1/h, or 0."""
        samples = self.samples
        smallest = min(range(len(samples)), key=lambda i: abs(samples[i].remainder))
        noisy = [s for s in samples[smallest : smallest + 8] if s.remainder]
        if len(noisy) < 5:
            return 0.0
        slope = np.polyfit(*np.log([[s.h, abs(s.remainder)] for s in noisy]).T, 1)[0]
        grows = -1.4 < slope / self.power < -0.6
        return max(abs(s.remainder) * s.h**self.power for s in noisy) if grows else 0.0

    def measure_jitter(self) -> None:
        """Measure how much phi and D jitter: at steps far smaller than those that were needed."""
        widest = self.samples[-1].h * 2.0**-10
        self.measured_jitter, jitter_of_derivative = self.jitter(widest=widest)
        self.floor = max(self.floor, SAFETY * jitter_of_derivative)

    def assume_jitter_of(self, other: "Line") -> None:
        """Take phi and D for as noisy as along another line."""
        self.assumed_jitter = max(other.measured_jitter or 0.0, other.assumed_jitter)
        if other.size:
            self.floor = max(self.floor, other.floor * self.size / other.size)

    def best_window(self, first: int) -> tuple[float, float, int]:
        """Return (error, what it may be, level) of the window with the least uncertainty."""
        last = max(max(self.by_level), first + 2)
        windows = [(self.window(level), level) for level in range(first, last - 1)]
        (error, uncertainty), level = min(windows, key=lambda window: window[0][1])
        return error, SAFETY * uncertainty + self.floor, level

    def best_level(self) -> int:
        """Return the level of the window with the least uncertainty."""
        return self.best_window(min(self.by_level))[2] if self.by_level else 0

    def kind(self, error: float, level: int) -> str:
        """Return "kink" if a kink of f at the point may explain the error, or else "wrong"."""
        kinks = []
        for fine, coarse in [(self.sample(k), self.sample(k - 1)) for k in (level, level + 1)]:
            kink = abs(fine.bend - coarse.bend / RATIO) * RATIO / (RATIO - 1)
            if kink <= 8 * fine.noise:
                return "wrong"
            kinks.append(kink)
        # What is left of the bends of a smooth function falls like h ** 3: by 64 from step to step.
        stays = kinks[1] >= kinks[0] / 32
        return "kink" if stays and min(kinks) >= abs(error) / 50 else "wrong"

    def noisy_verdict(self) -> Verdict:
        """Return the Verdict where no steps agree: if the remainders grow like 1/h, f is noisy."""
        samples = self.samples
        noise = max(abs(s.remainder) * s.h**self.power for s in samples[len(samples) // 2 :])
        if flat := self.flat():  # what larger steps jitter
            noise = max(noise, self.jitter(max(8 * flat[0].h, SINGLE_STEP))[0])
        self.measured_jitter = max(self.measured_jitter or 0.0, noise)
        error, allowed, _ = self.best_window(min(self.by_level))
        if abs(error) <= allowed:
            return self.seen(error, allowed)
        return Verdict("kink", error, allowed)

    def seen(self, error: float, allowed: float) -> Verdict:
        """Return the Verdict on an allowed error: "hidden" if almost any error would be allowed,
        "wrong" or "kink" if the central differences have missed something, otherwise "right"."""
        if self.is_noisy() and allowed > HIDDEN * self.size:
            return Verdict("hidden", error, allowed)
        if steps := self.between_steps():
            return Verdict("wrong", *steps)
        return Verdict("kink" if self.has_symmetric_kink() else "right", error, allowed)

    def between_steps(self) -> tuple[float, float] | None:
        """Return (error, what it may be) if D is 0, as the smallest steps of a phi that rounds its
        results tell, while the large ones agree on another derivative."""
        if self.claimed:
            return None
        smallest = self.measure(self.first / RATIO**FINEST)
        if smallest.remainder or smallest.bend:
            return None
        error, uncertainty = self.window(0)
        slopes = [error, self.window(1)[0], *(self.sample(level).remainder for level in (2, 3))]
        agree = max(slopes) - min(slopes) <= abs(error) / 8
        kink = abs(self.sample(3).bend) > abs(error) / 8  # nearby: flat on one side of it
        allowed = SAFETY * uncertainty + self.floor
        return (error, allowed) if agree and not kink and abs(error) > allowed else None

    def has_symmetric_kink(self) -> bool:
        """Return whether phi has a kink at 0 that central differences do not see, as |t| has: the
        bend does not fall with the step."""
        start = level = max(self.by_level)
        bend = self.sample(level).bend
        while level < FINEST and abs(bend) > 64 * self.sample(level + 1).noise:
            level += 1
            if not abs(self.sample(level).bend - bend) <= abs(bend) / 4:
                return False
        return level >= start + 2

    def is_a_staircase(self, level: int, error: float) -> bool:
        """Return whether phi does not change at all at the smallest steps, though the derivative
        fits it at larger ones than those of `level`: f computes in float32 somewhere."""
        return len(self.flat()) >= 3 and any(
            abs(self.window(k)[0]) <= abs(error) / 4 for k in range(min(self.by_level), level)
        )

    def flat(self) -> list[Sample]:
        """Return the samples of tiny steps at which phi does not change at all, but should."""
        flat: list[Sample] = []
        for s in reversed(self.samples):
            if s.h > WIDEST or s.bend or abs(s.remainder + self.claimed) > abs(self.claimed) / 4:
                break
            flat.insert(0, s)
        return flat if self.claimed else []

    def least_noise(self) -> float:
        """Return the noise of the largest step."""
        return self.samples[0].noise if self.samples else 0.0

    def clear_samples(self) -> list[Sample]:
        """Return the samples whose remainder is well above the noise, from the largest step down
        to the first whose remainder is not."""
        clear: list[Sample] = []
        for s in self.samples:
            if abs(s.remainder) <= max(8 * s.noise, self.floor):
                if clear:
                    break
                continue
            clear.append(s)
        return clear

    def is_noisy(self) -> bool:
        """Return whether f jitters far more than the rounding of its results explains."""
        return self.jitter_over_rounding() > 1e4

    def jitter_over_rounding(self) -> float:
        """Return the jitter of f, relative to the rounding of its results."""
        jitter = max(self.measured_jitter or 0.0, self.assumed_jitter)
        if not jitter or not self.by_level:
            return 0.0
        coarsest = self.by_level[min(self.by_level)]
        return jitter / (coarsest.noise * coarsest.h**self.power or 1e-300)

    def is_mostly_noise(self) -> bool:
        """Return whether f jitters by more than about a millionth of its own size."""
        return self.jitter_over_rounding() > 2e9

    def is_regular(self) -> bool:
        """Return whether the remainder falls as that of a smooth function does."""
        measured = self.rate()
        if self.is_noisy() or self.is_hidden():
            return False
        return measured is None or REGULAR[0] <= measured[0] <= REGULAR[1]

    def is_hidden(self) -> bool:
        """Return whether the rounding of f, such as that of float32, hides any remainder."""
        return self.rate() is None and self.least_noise() > 1e-9 * self.size > 0

    def rate(self) -> tuple[float, float, float] | None:
        """Return (rate, smallest step, largest step): the power of h with which the remainder falls
        down to the noise. None if it is nowhere clear of the noise.

        It is the slope over those steps, from the smallest on, between which it stays the same.
        """
        clear = self.clear_samples()
        if len(clear) < 2:
            return None
        rates = [
            math.log(abs(a.remainder / b.remainder)) / math.log(a.h / b.h)
            for a, b in zip(clear, clear[1:])
        ]
        n = 1
        while n < len(rates) and abs(rates[-1 - n] - rates[-1]) < 0.3:
            n += 1
        chosen = clear[-1 - n :]
        slope = np.polyfit(*np.log([[s.h, abs(s.remainder)] for s in chosen]).T, 1)[0]
        return float(slope), chosen[-1].h, chosen[0].h
