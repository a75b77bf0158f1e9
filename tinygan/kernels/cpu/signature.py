"""What a recorded step does, in a form that can be compared: two recordings must be the same."""

import numpy as np

from .recorded_array import RecordingError

COMPARED = int, float, complex, str, bytes, np.generic, np.dtype, type(None), type(...)


class Signature:
    """A description of every call of a recording, in order: its function, its numbers, and where
    its arrays lie. Every array must lie in memory that has been named.

    items: the descriptions.
    """

    def __init__(self):
        self.items = []
        self.names = {}  # {id of the array that owns memory: (number, address)}
        self.owners = []  # keeps those arrays alive, so that their ids stay theirs

    def name(self, array):
        """Name the memory of an array by a number, unless it has a name already."""
        owner = _owner(array)
        if id(owner) not in self.names:
            self.names[id(owner)] = len(self.owners), _address(owner)
            self.owners.append(owner)

    def add(self, function, *args):
        """Describe a call. Raise RecordingError if one of its arrays lies in unknown memory."""
        name = function if isinstance(function, str) else getattr(function, "__name__", "?")
        self.items.append((name, *map(self.describe, args)))

    def describe(self, x):
        if isinstance(x, np.ndarray):
            owner = _owner(x)
            if id(owner) not in self.names:
                raise RecordingError(
                    f"a plain NumPy array of shape {x.shape} meets arrays of a step that is "
                    "recorded: data that is new at each step comes through tinygan.from_host(...), "
                    "a constant through tinygan.backend.asarray, and all networks of the step are "
                    "passed to tinygan.capture"
                )
            name, start = self.names[id(owner)]
            return _Place(hash((name, _address(x) - start, x.shape, x.strides, x.dtype.str)))
        if isinstance(x, COMPARED):
            return "nan" if x != x else x
        if isinstance(x, (list, tuple)):
            return tuple(map(self.describe, x))
        if isinstance(x, dict):
            return tuple((key, self.describe(value)) for key, value in x.items())
        if isinstance(x, slice):
            return "slice", x.start, x.stop, x.step
        return type(x).__name__

    def difference(self, other):
        """Return a message about the first difference from another Signature, or None."""
        for a, b in zip(self.items, other.items):
            if a != b:
                one, other = _first_difference(a, b)
                if isinstance(other, _Place):
                    other = "others (another array, or another part of it)"
                what = f"{one}, then {other}" + (f" ({a[0]})" if a[0] == b[0] else "")
                break
        else:
            if len(self.items) == len(other.items):
                return None
            what = f"{len(self.items)} calls, then {len(other.items)}"
        return (
            f"a recorded step does not do the same each time: {what}. A number that changes "
            "from step to step must come through tinygan.from_host, and so must an index"
        )


class _Place(int):
    """A number that stands for the memory of an array, its offset, shape, strides and dtype."""

    def __repr__(self):
        return "some numbers"


def _first_difference(a, b):
    """Return the first parts of two descriptions that differ."""
    if type(a) is type(b) is tuple and len(a) == len(b):
        return next(_first_difference(x, y) for x, y in zip(a, b) if x != y)
    return a, b


def _address(x):
    return x.__array_interface__["data"][0]


def _owner(x):
    while isinstance(x.base, np.ndarray):
        x = x.base
    return x
