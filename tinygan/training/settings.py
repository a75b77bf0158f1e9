"""Typed, documented settings: a dataclass whose fields `--set name=value` can change."""

import dataclasses
from typing import Any

from tinygan.errors import InputError


def setting(default, doc, minimum=None, maximum=None) -> Any:
    """A field with its documentation and the range of its values (ends included)."""
    return dataclasses.field(default=default, metadata={"doc": doc, "minimum": minimum, "maximum": maximum})


@dataclasses.dataclass
class Settings:
    """What every recipe can be told."""

    steps: int = setting(1000, "training steps: one update of D and one of G each", 1)
    batch_size: int = setting(64, "images per step", 2)
    lr: float = setting(2e-4, "learning rate of Adam, for G and D", 0)
    beta1: float = setting(0.5, "Adam's decay of the mean gradient", 0, 0.9999)
    beta2: float = setting(0.999, "Adam's decay of the mean squared gradient", 0, 0.999999)
    latent: int = setting(100, "length of the latent z", 1)
    ema: float = setting(0.99, "decay of the average of G's weights that samples are drawn with", 0, 0.99999)
    sample_every: int = setting(100, "steps between sample grids", 1)
    checkpoint_every: int = setting(500, "steps between checkpoints", 1)

    def describe(self):
        """[(name, value, type name, doc)] of all settings."""
        return [(f.name, getattr(self, f.name), f.type.__name__, f.metadata["doc"]) for f in dataclasses.fields(self)]

    def updated(self, assignments):
        """A copy with {name: text or value} parsed and taken over.

        Raises InputError for an unknown name (listing those that exist), or a value of the wrong type or range.
        """
        fields = {f.name: f for f in dataclasses.fields(self)}
        values = {}
        for name, value in assignments.items():
            if name not in fields:
                raise InputError(f"unknown setting {name!r}; there are: {', '.join(fields)}")
            values[name] = _parse(fields[name], value)
        return dataclasses.replace(self, **values)


_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_EXPECTED = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def _parse(field, value):
    metadata = field.metadata
    try:
        if field.type is bool:
            parsed = _BOOLEANS[str(value).lower()]
        elif field.type is int and float(value) != int(float(value)):
            raise ValueError
        elif field.type is int:
            parsed = int(float(value)) if isinstance(value, str) and "e" in value.lower() else int(value)
        else:
            parsed = field.type(value)
    except (ValueError, KeyError, TypeError, OverflowError):
        raise InputError(f"setting {field.name}={value}: expected {_EXPECTED[field.type]}") from None
    low, high = metadata["minimum"], metadata["maximum"]
    if low is not None and not parsed >= low or high is not None and not parsed <= high or parsed in (float("inf"),):
        bounds = f"at least {low}" if high is None else f"between {low} and {high}"
        raise InputError(f"setting {field.name}={value}: must be {bounds}")
    return parsed


def parse_assignments(texts):
    """['a=1', 'b=2'] -> {'a': '1', 'b': '2'}."""
    assignments = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InputError(f"--set {text}: write name=value")
        assignments[name.strip().replace("-", "_")] = value.strip()
    return assignments
