"""What the page of the laboratory asks for, and the answers: `Laboratory.reply`.

A request is a dict, as JSON made it:

    tab       the name of the browser's tab, which has a game of its own
    do        begin (settings, points), steps (n), half, look, optimal, code;
              walk (expression, order, inputs), which needs no game: see backward.py
    rows      how many rows of the history the page has; it gets the others

The answer to begin, steps, half and look is a message, as `packed` describes: a header, with the
new rows, and the arrays of a Frame.
Nothing is evaluated, and no file is read: settings are checked like those of the command line.
"""

import json
import threading
from collections import OrderedDict
from typing import Any, Mapping

import numpy as np

from tinygan.errors import Diverged, InputError

from . import backward
from .backward import EXPRESSIONS
from .game import Game
from .networks import RECIPE
from .presets import PRESETS
from .script import script

MOST_GAMES = 8  # in all tabs; beyond that, the one that was not used for longest is closed
MOST_STEPS = 1000  # in a request, which blocks all others
MOST_POINTS = 2000
LIMITS = {"hidden": 512, "layers": 8, "d_hidden": 512, "d_layers": 8, "batch_size": 4096}
LIMITS |= {"latent": 256, "d_steps": 20, "d_boost": 20, "unroll": 20}
COLUMNS = "d_loss", "g_loss", "d_accuracy"  # of the history, for the page's curves
SHOWN = 200  # reals and fakes on the page


class Laboratory:
    """The games of all tabs. `reply` may be called from several threads: games play one at a
    time."""

    def __init__(self) -> None:
        self.games: OrderedDict[str, tuple[Game, dict[str, Any], Any]] = OrderedDict()
        self.lock = threading.Lock()

    def reply(self, request: Mapping[str, Any]) -> bytes:
        """Return the answer to a request. Raises InputError, in one line, for a wrong one."""
        what = request.get("do")
        actions = {
            "begin": self.begin,
            "steps": self.steps,
            "half": self.half,
            "look": self.look,
            "optimal": self.optimal,
            "code": self.code,
            "walk": walk_of,
        }
        if what not in actions:
            raise InputError(f"do={what!r}: the laboratory knows {', '.join(actions)}")
        tab = request.get("tab")
        if not isinstance(tab, str) or not 0 < len(tab) <= 40:
            raise InputError("tab: must be a name of 1 to 40 letters")
        with self.lock:
            return actions[what](tab, request)

    def begin(self, tab, request):
        settings, points = request.get("settings", {}), request.get("points")
        if not isinstance(settings, dict):
            raise InputError("settings: must be an object {name: value}")
        check_limits(settings, points)
        game = Game(points, **settings)
        self.games[tab] = game, settings, points
        self.games.move_to_end(tab)
        while len(self.games) > MOST_GAMES:
            self.games.popitem(last=False)
        return message(game, 0)

    def steps(self, tab, request):
        game, n = self.game(tab), whole_number(request, "n", 1, MOST_STEPS)
        try:
            game.step(n)
        except Diverged as error:
            raise InputError(f"{error}; begin again") from None
        return message(game, rows_of(request))

    def half(self, tab, request):
        game = self.game(tab)
        try:
            game.half_of_G() if game.pending else game.half_of_D()
        except Diverged as error:
            raise InputError(f"{error}; begin again") from None
        return message(game, rows_of(request))

    def look(self, tab, request):
        return message(self.game(tab), rows_of(request))

    def optimal(self, tab, request):
        """The optimal D on the grid of the heat map, and the divergence."""
        best = self.game(tab).optimal_D(blur=0.1)
        return packed({"jsd": best.jsd}, {"axis": best.axis, "D": np.nan_to_num(best.D, nan=0.5)})

    def code(self, tab, request):
        game = self.game(tab)
        _, settings, points = self.games[tab]
        return packed({"code": script(settings, points, game.steps)}, {})

    def game(self, tab) -> Game:
        if tab not in self.games:
            raise InputError(
                f"this tab has no game (the laboratory keeps the last {MOST_GAMES}): begin one"
            )
        self.games.move_to_end(tab)
        return self.games[tab][0]


def walk_of(_, request):
    """The steps of a backward pass."""
    given = request.get("inputs", {})
    if not isinstance(given, dict):
        raise InputError("inputs: must be an object {name: numbers}")
    order = whole_number({"order": 1} | dict(request), "order", 1, 2)
    return packed({"walk": backward.walk(str(request.get("expression")), order, given)}, {})


def check_limits(settings: Mapping[str, Any], points: Any) -> None:
    """Raise InputError for a game that would be too large to be watched."""
    s = RECIPE.settings(for_points=True).updated(dict(settings))
    for name, most in LIMITS.items():
        if (value := getattr(s, name)) > most:
            raise InputError(f"setting {name}={value}: in the laboratory, at most {most}")
    if isinstance(points, list) and len(points) > MOST_POINTS:
        raise InputError(f"points: {len(points)} were drawn: at most {MOST_POINTS}")


def whole_number(request: Mapping[str, Any], name: str, least: int, most: int) -> int:
    value = request.get(name)
    if type(value) is not int or not least <= value <= most:
        raise InputError(f"{name}={value!r}: must be a whole number from {least} to {most}")
    return value


def rows_of(request: Mapping[str, Any]) -> int:
    return whole_number({"rows": 0} | dict(request), "rows", 0, 10**9)


def message(game: Game, rows: int) -> bytes:
    """Return the present frame of a game, and its history from row `rows` on, as a message."""
    frame = game.frame(SHOWN)
    history = [[row.get(key, 0.0) for key in COLUMNS] for row in game.history[rows:]]
    header = {
        "step": frame.step,
        "next_half": frame.next_half,
        "middle": frame.middle,
        "probability": game.algorithm.objectives.loss.probability,
        "numbers": frame.numbers,
        "rows": rows,
        "columns": COLUMNS,
    }
    names = "reals", "fakes", "arrows", "axis", "heat_map", "manifold"
    arrays = {name: getattr(frame, name) for name in names}
    return packed(header, {"history": np.array(history).reshape(-1, len(COLUMNS)), **arrays})


def packed(header: Mapping[str, Any], arrays: Mapping[str, Any]) -> bytes:
    """Return a message: the length of the header (4 bytes, little-endian), the header (JSON, in
    which "arrays" is [[name, shape], ...]), zeros up to a multiple of 4 bytes, and the arrays as
    little-endian float32, one after another."""
    parts = {name: np.ascontiguousarray(array, "<f4") for name, array in arrays.items()}
    described = {**header, "arrays": [[name, part.shape] for name, part in parts.items()]}
    text = json.dumps(described, allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    return b"".join([len(text).to_bytes(4, "little"), text, *(p.tobytes() for p in parts.values())])


def unpacked(data: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
    """Return (header, arrays) of a message, as the page reads it."""
    length = int.from_bytes(data[:4], "little")
    header, at, arrays = json.loads(data[4 : 4 + length]), 4 + length, {}
    for name, shape in header["arrays"]:
        size = int(np.prod(shape))
        arrays[name] = np.frombuffer(data, "<f4", size, at).reshape(shape)
        at += 4 * size
    return header, arrays


def controls() -> dict[str, Any]:
    """Return what the page builds its controls from: all settings of a game, with their group,
    default, range, choices and description; and the presets."""
    defaults = RECIPE.settings(for_points=True)
    fields = defaults._fields()
    settings = {
        name: {
            "group": f.metadata["group"],
            "default": getattr(defaults, name),
            "minimum": f.metadata["minimum"],
            "maximum": LIMITS.get(name, f.metadata["maximum"]),
            "choices": f.metadata["choices"],
            "doc": f.metadata["doc"],
        }
        for name, f in fields.items()
    }
    presets = {
        name: {"text": p.text, "settings": p.settings, "points": p.points}
        for name, p in PRESETS.items()
    }
    return {
        "settings": settings,
        "presets": presets,
        "limits": {"points": MOST_POINTS},
        "expressions": {name: usual for name, (_, usual, _, _) in EXPRESSIONS.items()},
    }
