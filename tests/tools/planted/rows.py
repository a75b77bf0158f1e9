"""One mistake in every row of the op table that has none of its own: the kinds take turns."""

import itertools

import numpy as np

from tinygan import ops

from .mechanism import MISTAKES, ROWS, at_one_entry, gradients_of, mistake


def transposed(d):
    """The gradient with its last two axes swapped, in its own shape."""
    return ops.reshape(ops.swapaxes(d, -1, -2), d.shape)


def shifted(d):
    """The gradient moved by one place along its longest axis."""
    return ops.roll(d, 1, int(np.argmax(d.shape)))


# (kind, what is wrong, change of the gradient, the fewest axes that the gradient must have)
CHANGES = [
    ("factor", "2", lambda d: 2.0 * d, 0),
    ("transposed", "the last two axes", transposed, 2),
    ("factor", "2.001", lambda d: 2.001 * d, 0),
    ("off by one", "along the longest axis", shifted, 1),
    ("factor", "1 + 1e-4", lambda d: (1 + 1e-4) * d, 0),
    ("sign", "of the gradient", lambda d: -d, 0),
    ("factor", "1 + 1e-7", lambda d: (1 + 1e-7) * d, 0),
    ("NaN", "in one entry", lambda d: d * at_one_entry(np.nan, d), 0),
    ("zero", "no gradient", lambda d: 0.0 * d, 0),
    ("one entry", "by 1.01", lambda d: d * at_one_entry(1.01, d), 1),
    ("constant added", "1e-3", lambda d: d + 1e-3, 0),
    ("second order", "by a factor of 1.01", lambda d: d + 0.01 * (d - d.detach()), 0),
    ("constant added", "1e-6", lambda d: d + 1e-6, 0),
    ("second order", "g is a constant", None, 0),
    ("one entry", "no gradient", lambda d: d * at_one_entry(0.0, d), 1),
    ("second order", "by a factor of 1 + 1e-6", lambda d: d + 1e-6 * (d - d.detach()), 0),
]

_covered = {m.row for m in MISTAKES}
_turns = itertools.count()
for _row in ROWS.values():
    if _row.name in _covered:
        continue
    _shapes = [x.shape for x in _row.draw(np.random.default_rng(0))]
    _turn = next(_turns)
    for _kind, _what, _change, _axes in itertools.islice(
        itertools.cycle(CHANGES), _turn % len(CHANGES), None
    ):
        # the argument takes turns, too, among those with enough axes that are longer than 1
        _fit = [i for i, s in enumerate(_shapes) if sum(n > 1 for n in s[-2:]) >= _axes]
        if _fit:
            break
    _index = _fit[_turn % len(_fit)]
    _of = f" of {_row.arguments[_index]}" * (len(_shapes) > 1)
    if _change is None:
        mistake(_row, _kind, _what, lambda g, *xs, f=_row.function: gradients_of(f, xs, g.detach()))
    else:
        mistake(_row, _kind, f"{_what},{_of}".rstrip(","), change=_change, of=[_index])
