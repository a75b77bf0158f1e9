"""Symptoms of a gradient that is wrong in some of its entries, or by different factors."""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from .evidence import Array, Evidence, axes_text, subsets
from .problem import root_mean_square


def in_places(e: Evidence) -> Iterator[str]:
    """Say which entries are wrong, if they have something in common, and how."""
    right = ~e.wrong
    if not np.any(e.wrong) or not np.any(right):
        return
    # An entry without a gradient fits into any place, and one in which such an error would not be
    # seen, too. If there are many of these, nothing is known.
    zero = right & (abs(e.found) <= e.allowed) & (abs(e.claimed) <= e.allowed)
    least, relative = np.min(e.error[e.wrong]), np.min((e.error / abs(e.found))[e.wrong])
    unknown = right & ~zero & (10 * e.allowed > np.minimum(least, min(relative, 1) * abs(e.found)))
    if 2 * np.sum(unknown) > np.sum(right):
        return
    if len(right) < 8 and np.max(e.error) < 1e-7 * e.size:
        return  # which of a few errors can be seen is chance
    silent = zero | unknown
    for text, mask in itertools.chain(_single(e), _by_value(e), _by_index(e)):
        inside = mask[e.known]
        if np.array_equal(inside | silent, e.wrong | silent) and np.any(inside & e.wrong):
            yield f"Only {text}: {_how(e)}."
            return


def listed(e: Evidence) -> Iterator[str]:
    """List the wrong entries, which have nothing in common."""
    if np.all(e.wrong) or np.max(e.error) < 1e-6 * e.size:
        return
    yield (
        f"{np.sum(e.wrong)} of the {len(e.wrong)} entries that were compared are wrong{_list(e)}: "
        f"{_how(e)}. Look for a mask, an index array with repeated entries, or a branch."
    )


def _how(e: Evidence) -> str:
    """Return what the wrong entries have in common in their numbers."""
    claimed, found, allowed = (a[e.wrong] for a in (e.claimed, e.found, e.allowed))
    these = "it" if len(claimed) == 1 else "there"
    if not np.any(claimed):
        return "the derivative is 0 there, and the differences are not"
    if np.all(abs(found) <= allowed):
        return "the differences are 0 there, and the derivative is not"
    k = float(np.vdot(claimed, found) / np.vdot(found, found))
    slack = np.maximum(1e-5 * min(1.0, 1e3 * abs(k - 1)) * root_mean_square(claimed), allowed / 4)
    if len(claimed) > 1 and np.all(abs(claimed - k * found) <= slack):
        return f"the derivative is {k:.7g} times the differences {these}"
    ratios = claimed / found
    if len(claimed) == 1:
        return f"the derivative is {ratios[0]:.7g} times the difference there"
    return "their factors differ"


def _list(e: Evidence) -> str:
    wrong = np.flatnonzero(e.wrong)
    names = [str(tuple(int(axis[n]) for axis in e.known)) for n in wrong[:4]]
    return f" ({', '.join(names)}{', ...' if len(wrong) > 4 else ''})"


def _single(e: Evidence) -> Iterator[tuple[str, Array]]:
    if np.sum(e.wrong) != 1:
        return
    index = tuple(int(axis[np.argmax(e.wrong)]) for axis in e.known)
    mask = np.zeros(e.x.shape, bool)
    mask[index] = True
    notes = []
    if index == tuple(n - 1 for n in e.x.shape):
        notes.append("the last one: does a loop or slice end too early?")
    elif not any(index):
        notes.append("the first one: does a loop or slice begin too late?")
    size = abs(e.x)
    if e.x[index] == 0:
        notes.append(f"where {e.name} is 0")
    elif np.sum(size >= size[index]) == 1 and e.x.size > 2:
        notes.append(f"where |{e.name}| is largest")
    note = f" ({'; '.join(notes)})" if notes else ""
    yield f"the entry {index} of {len(e.wrong)} compared ones is wrong{note}", mask


def _by_value(e: Evidence) -> Iterator[tuple[str, Array]]:
    """Yield (text, the entries whose numbers have something in common)."""
    x, name = e.x, e.name
    cause = "a branch, mask or clip that the derivative treats in another way"
    for text, mask in (
        (f"where {name} is 0", x == 0),
        (f"where {name} is negative", x < 0),
        (f"where {name} is positive", x > 0),
    ):
        yield f"the entries {text} are wrong ({cause})", mask
    repeated = np.isin(x, [v for v, n in zip(*np.unique(x, return_counts=True)) if n > 1])
    yield f"the entries whose number occurs twice in {name} are wrong (ties)", repeated
    if math.comb(len(e.wrong), int(np.sum(e.wrong))) < 50:
        return  # it may be by chance that they are the largest
    for other, y in e.others():
        if other != name:
            for text, mask in (
                (f"{name} < {other}", x < y),
                (f"{name} > {other}", x > y),
                (f"{other} is negative", y < 0),
                (f"{other} is positive", y > 0),
                (f"{other} is 0", y == 0),
            ):
                yield f"the entries where {text} are wrong ({cause})", mask
    for text, size in ((f"|{name}|", abs(x)), (name, x)):
        wrong = size[e.known][e.wrong]
        for bound, mask in (
            (f"at least {np.min(wrong):.4g}", size >= np.min(wrong)),
            (f"at most {np.max(wrong):.4g}", size <= np.max(wrong)),
        ):
            yield f"the entries where {text} is {bound} are wrong ({cause})", mask


def _by_index(e: Evidence) -> Iterator[tuple[str, Array]]:
    """Yield (text, the entries whose indices have something in common)."""
    shape = e.x.shape
    grids: list[Array] = list(np.indices(shape, sparse=True))
    for axis, grid in enumerate(grids):
        indices = np.unique(e.known[axis][e.wrong])
        text = _of_indices(indices.tolist(), shape[axis], axis)
        if text and len(indices) < shape[axis] and (len(shape) > 1 or len(indices) > 1):
            mask = np.broadcast_to(np.isin(grid, indices), shape)
            yield f"{text} is wrong", mask
    for axes in subsets(len(shape)) if len(shape) <= 4 else ():
        for text, ends in (
            ("edge", (0, -1)), ("first edge", (0,)), ("last edge", (-1,))
        ):  # fmt: skip
            mask = np.zeros(shape, bool)
            for axis in axes:
                for end in ends:
                    mask |= grids[axis] == (shape[axis] + end) % shape[axis]
            yield f"the {text} along {axes_text(axes)} is wrong (padding, or a loop's ends)", mask
    for a, b in itertools.combinations(range(len(shape)), 2):
        if shape[a] == shape[b] > 2:
            i: Any = grids[a]
            j: Any = grids[b]
            cause = "a mask, np.triu or np.tril, or eye"
            for text, mask in (
                ("on the diagonal", i == j), ("off the diagonal", i != j),
                ("above the diagonal", i < j), ("below the diagonal", i > j),
                ("on and above the diagonal", i <= j), ("on and below the diagonal", i >= j),
            ):  # fmt: skip
                both = f" of the axes {a, b}" if len(shape) > 2 else ""
                mask = np.broadcast_to(mask, shape)
                yield f"what is {text}{both} is wrong ({cause})", mask


def _of_indices(indices: list[int], length: int, axis: int) -> str:
    """Return what indices along an axis have in common, or ""."""
    first, last = indices[0], indices[-1]
    if len(indices) == 1:
        which = {0: " (the first)", length - 1: " (the last)"}.get(first, "")
        return f"index {first}{which} of axis {axis}, of {length},"
    steps = set(np.diff(indices).tolist())
    if steps == {1}:
        return f"the range of indices {first} to {last} of axis {axis}, of {length},"
    if len(steps) == 1 and first < (step := steps.pop()) and last + step >= length:
        ordinal = {2: "second", 3: "third"}.get(step, f"{step}th")
        return f"every {ordinal} index of axis {axis}, from {first} on (a stride?),"
    return ""


def along_axes(e: Evidence) -> Iterator[str]:
    """The claimed gradient is the same along an axis, and the differences are not."""
    if not e.everywhere:
        return
    claimed, found = e.whole, e.differences
    slack = float(np.max(e.tolerance)) + 1e-9 * e.size
    for axes in reversed(list(subsets(e.x.ndim))):
        if np.max(np.ptp(claimed, axes)) > slack or np.max(np.ptp(found, axes)) <= 10 * slack:
            continue
        along = axes_text(axes)
        for text, value in (
            ("the sum of the differences", found.sum(axes, keepdims=True)),
            ("the mean of the differences", found.mean(axes, keepdims=True)),
        ):
            if np.max(abs(claimed - value)) <= slack:
                yield (
                    f"The derivative is {text} over {along}, the same for all entries along it: "
                    "a sum or mean that should not be taken (or is broadcast back)."
                )
                return
        yield (
            f"The derivative is the same along {along}, and the differences are not: a sum over "
            f"{along}, a broadcast, or a keepdims that does not belong there."
        )
        return


def by_axis(e: Evidence) -> Iterator[str]:
    """The factor depends on the index of one axis alone, and is not the same where it is wrong."""
    if e.everywhere and e.x.ndim > 1 and np.all(e.found) and np.all(e.claimed):
        claimed, ratios = e.whole, e.whole / e.differences
        for axis in range(e.x.ndim):
            rest = tuple(a for a in range(e.x.ndim) if a != axis)
            factor = ratios.mean(rest, keepdims=True)
            wrong = factor[abs(factor - 1) > 1e-6]
            differ = len(wrong) > 1 and np.ptp(wrong) > 1e-3 * np.max(abs(wrong))
            if differ and e.x.size > e.x.shape[axis] and e.is_found(claimed / factor):
                numbers = ", ".join(f"{r:.4g}" for r in factor.ravel()[:4])
                yield (
                    f"The factor depends on the index of axis {axis} alone ({numbers}"
                    f"{', ...' if factor.size > 4 else ''}): a scale for each of them (a channel, "
                    "a sample) is missing, counted twice, or broadcast along the wrong axis."
                )
                return


def right_sums(e: Evidence) -> Iterator[str]:
    """All entries together are right, and the single ones are not."""
    if not e.everywhere or len(e.found) < 2:
        return
    error, allowed = abs(e.error).reshape(e.x.shape), e.allowed.reshape(e.x.shape)
    for axes in subsets(e.x.ndim):
        total = abs(np.sum(e.whole - e.differences, axes))
        slack = 1e-4 * error.sum(axes) + allowed.sum(axes) / 4
        sums = abs(np.sum(e.differences, axes))
        if np.all(sums <= 1e-6 * np.sum(abs(e.differences), axes)):
            continue  # f does not change with a shift: this says nothing
        if np.all(total <= slack) and np.sum(allowed) < 1e-2 * np.sum(error):
            yield (
                f"The sums over {axes_text(axes)} are right and their entries are not: the "
                "gradient is distributed among the wrong ones (an index, a window, an even split)."
            )
            return
