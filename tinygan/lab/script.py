"""The script of a game: what one takes home from the laboratory."""

import json
from typing import Any, Mapping, Sequence

from tinygan.errors import InputError

from .networks import RECIPE

TEMPLATE = '''"""A GAN on points in the plane, from the laboratory (`tinygan lab`).

The loss is in tinygan/gan/losses.py, penalties are in tinygan/gan/penalties.py, and a step is in
tinygan/training/algorithm.py.
"""

from tinygan.lab import Game

{points}game = Game(
{settings})
for _ in range({pieces}):
    game.step({piece})
    row = game.history[-1]
    print(f"step {{game.steps}}: d_loss {{row['d_loss']!r}}, g_loss {{row['g_loss']!r}}")
frame = game.frame()  # points, arrows and D's heat map, as arrays
'''


def script(
    settings: Mapping[str, Any], points: Sequence[Sequence[float]] | None, steps: int
) -> str:
    """Return a script that plays a game for some steps, and prints its losses.

    settings: those of Game that differ from its defaults. points: those of data="drawn", or None.
    Raises InputError for a wrong setting.
    """
    if steps < 0:
        raise InputError(f"steps={steps}: must be 0 or more")
    s = RECIPE.settings(for_points=True).updated(dict(settings))
    lines = [f"    {name}={_literal(getattr(s, name))},\n" for name in settings]
    if points is not None:
        lines.append("    points=points,\n")
    rows = [f"    {json.dumps([float(x) for x in point])},\n" for point in points or ()]
    pieces = min(10, max(steps, 1))
    while steps % pieces:
        pieces -= 1
    return TEMPLATE.format(
        points=f"points = [\n{''.join(rows)}]\n" if points is not None else "",
        settings="".join(lines),
        pieces=pieces if steps else 0,
        piece=steps // pieces,
    )


def _literal(value):
    """Return a value as it is written in Python. A schedule is a text."""
    return repr(value if isinstance(value, (bool, int, float, str)) else str(value))
