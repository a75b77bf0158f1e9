"""Typed, documented settings: a dataclass whose fields `--set name=value` can change."""

import contextlib
import dataclasses
from typing import Any

from tinygan.errors import InputError

LARGEST = 10_000  # no layer is wider: the maximum of a whole number that has no other
MANY = 10**9  # of steps, and of images


def setting(default, doc, minimum=None, maximum=None, choices=None, formerly=()) -> Any:
    """A field with its documentation and the range of its values (ends included), or the words it
    may be. formerly: names that the setting had in older versions, whose runs are still read."""
    if type(default) is int and maximum is None:
        maximum = LARGEST
    return dataclasses.field(
        default=default,
        metadata={
            "doc": doc,
            "minimum": minimum,
            "maximum": maximum,
            "choices": choices,
            "formerly": formerly,
        },
    )


class Documented:
    """The base of a dataclass whose fields are made by `setting`."""

    def describe(self):
        """[(name, value, type name, doc)] of all settings."""
        return [
            (
                f.name,
                getattr(self, f.name),
                f.type.__name__,
                f.metadata["doc"]
                + (f": {', '.join(f.metadata['choices'])}" if f.metadata["choices"] else ""),
            )
            for f in dataclasses.fields(self)
        ]

    def updated(self, assignments):
        """A copy with {name: text or value} parsed and taken over.

        Raises InputError for an unknown name (listing those that exist), or a value of the wrong
        type or range.
        """
        fields = {f.name: f for f in dataclasses.fields(self)}
        renamed = {old: f.name for f in fields.values() for old in f.metadata["formerly"]}
        values = {}
        for name, value in assignments.items():
            name = renamed.get(name, name)
            if name not in fields:
                raise InputError(
                    f"unknown setting {_shown(name)!r}; there are: {', '.join(fields)}"
                )
            values[name] = _parse(fields[name], value)
        return dataclasses.replace(self, **values)


_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_EXPECTED = {int: "a whole number", float: "a number", bool: "true or false", str: "a short text"}


def _parse(field, value):
    metadata, shown = field.metadata, f"{field.name}={_shown(value)}"
    try:
        if field.type is bool:
            parsed = _BOOLEANS[str(value).lower()]
        elif isinstance(value, bool) or field.type is str and not _is_line(value):
            raise ValueError
        elif field.type is int:
            parsed = _whole(value)
        else:
            parsed = field.type(value)
    except (ValueError, KeyError, TypeError, OverflowError):
        raise InputError(f"setting {shown}: expected {_EXPECTED[field.type]}") from None
    if metadata["choices"] and parsed not in metadata["choices"]:
        raise InputError(f"setting {shown}: must be one of {', '.join(metadata['choices'])}")
    low, high = metadata["minimum"], metadata["maximum"]
    if (
        low is not None
        and not parsed >= low
        or high is not None
        and not parsed <= high
        or parsed == float("inf")
    ):
        least = f"at least {low}" + ", and finite" * (parsed == float("inf"))
        bounds = least if high is None or parsed <= high else f"between {low} and {high}"
        raise InputError(f"setting {shown}: must be {bounds}")
    return parsed


def _is_line(value):
    return isinstance(value, str) and value.isprintable() and len(value) <= 500


def _whole(value):
    """A whole number: 10, "10", 10.0 or "1e1"."""
    if isinstance(value, (int, str)):
        with contextlib.suppress(ValueError):
            return int(value)
    number = float(value)
    if number % 1:  # which of NaN and infinity is NaN
        raise ValueError
    return int(number)


def _shown(value):
    """A value as a message shows it: on one line, and not too long."""
    try:
        text = str(value)
    except ValueError:  # of more digits than Python writes
        text = "..."
    text = text if len(text) <= 60 else f"{text[:57]}..."
    return text if text.isprintable() else ascii(text)


def parse_assignments(texts):
    """['a=1', 'b=2'] -> {'a': '1', 'b': '2'}."""
    assignments = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InputError(f"--set {_shown(text)}: write name=value")
        assignments[name.strip().replace("-", "_")] = value.strip()
    return assignments
