"""Settings with a type, a description and a range: the fields of a dataclass.

On the command line, `--set name=value` changes them. A number that is marked so may change during
training: its value is then a Schedule (schedules.py).
"""

import contextlib
import dataclasses
import inspect
import re
from typing import Any, Iterable, Mapping, NamedTuple, Sequence, TypeVar

from tinygan.errors import InputError, choose_from, warn
from tinygan.schedules import KINDS, Schedule

DEFAULT_MAXIMUM = 10_000  # of an integer setting: no layer is wider
MAX_COUNT = 10**9  # the maximum of numbers of steps and of images

GROUPS = {  # what the settings of each group are good for, in the order in which they are listed
    "network": "what G and D look like; change these for larger images, or for better ones",
    "loss": "what G and D minimise; change these if training is unstable, or if D overpowers G",
    "optimiser": "how weights are updated; change these if the losses diverge or stop changing",
    "augmentation": "what D's input goes through; for data sets of a few thousand images or fewer",
    "run": "how long to train, on which images, and what to save",
}

S = TypeVar("S", bound="Documented")

# An object in a file of the user's: the name of the file, without its folder, and that of the
# object.
REFERENCE = re.compile(r"([^/\\:]{1,100}\.py):([^\W\d]\w{0,99})")


class FromFile(str):
    """The value of a setting that stands for an object in a file of the user's, such as
    "my_losses.py:focal".

    value: the object. source: the files that it was loaded from (training/own_code.py). A plain
    text of this form, such as one from config.json, stands for an object that is not loaded.
    """

    value: Any
    source: Any

    def __deepcopy__(self, memo: Any) -> "FromFile":
        return self


def not_loaded(name: str, reference: str) -> InputError:
    """Return the error to raise if the setting `name` is a plain text FILE.py:NAME, although the
    object itself is needed."""
    return InputError(
        f"setting {name}={_printable(reference)}: the file is not loaded: begin the run with "
        "`tinygan train`, or in Python with tinygan.train"
    )


def setting(
    default: Any,
    doc: str,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Sequence[str] | None = None,
    formerly: Sequence[str] = (),
    group: str = "network",
    scheduled: bool = False,
    off_at_zero: bool = False,
    from_file: bool = False,
) -> Any:
    """Return a dataclass field with its description and the values that it accepts.

    minimum, maximum: the range of a number, both ends included. An integer without a maximum gets
    DEFAULT_MAXIMUM. choices: the values that a string may have. formerly: the names of the setting
    in older versions, so that runs of those versions can still be read. group: a key of GROUPS,
    under which `tinygan recipes NAME` lists the setting. scheduled: whether a number may have a
    schedule. off_at_zero: whether 0 stands for "off", although small numbers have a large effect;
    a schedule must then stay above 0. from_file: whether the value may also be FILE.py:NAME, an
    object in a file of the user's (`FromFile`).
    """
    if group not in GROUPS:
        raise ValueError(f"group={group!r}: {choose_from(GROUPS, group)}")
    if type(default) is int and maximum is None:
        maximum = DEFAULT_MAXIMUM
    return dataclasses.field(
        default=default,
        metadata={
            "doc": doc,
            "minimum": minimum,
            "maximum": maximum,
            "choices": choices,
            "formerly": formerly,
            "group": group,
            "scheduled": scheduled,
            "off_at_zero": off_at_zero,
            "from_file": from_file,
        },
    )


class Description(NamedTuple):
    """A setting as `tinygan recipes NAME` lists it. changed: whether its value differs from the
    default. scheduled: whether it may have a schedule."""

    group: str
    name: str
    value: Any
    changed: bool
    doc: str
    scheduled: bool


class Documented:
    """The base class of dataclasses whose fields are made by `setting`."""

    def describe(self, **fewer: Sequence[str]) -> list["Description"]:
        """Return a Description of every setting. fewer: the choices that remain for a setting."""
        descriptions = []
        for f in self._fields().values():
            choices = fewer.get(f.name, f.metadata["choices"])
            doc = f.metadata["doc"] + (f"; one of {', '.join(choices)}" if choices else "")
            doc += ", or FILE.py:NAME" * bool(choices and f.metadata["from_file"])
            value, group = getattr(self, f.name), f.metadata["group"]
            changed, scheduled = value != f.default, f.metadata["scheduled"]
            descriptions.append(Description(group, f.name, value, changed, doc, scheduled))
        return descriptions

    def _fields(self):
        """Return {name: field}. Raises TypeError for a class that is not written as it must be."""
        kind, fields = type(self), {f.name: f for f in dataclasses.fields(self)}
        for base in kind.__mro__:
            if missing := inspect.get_annotations(base).keys() - fields.keys():
                raise TypeError(
                    f"{min(missing)} is no setting yet: decorate {base.__name__} with @dataclass"
                )
        for f in fields.values():
            if "doc" not in f.metadata:
                raise TypeError(f"{kind.__name__}.{f.name}: write setting(default, description)")
            if isinstance(f.type, str):
                raise TypeError(
                    f"{kind.__name__}.{f.name} has the text {f.type!r} as its type: leave out "
                    "`from __future__ import annotations` in the file of the settings"
                )
            if f.type not in _EXPECTED:
                raise TypeError(
                    f"{kind.__name__}.{f.name}: its type must be int, float, bool or str"
                )
        return fields

    def updated(self: S, assignments: Mapping[str, Any]) -> S:
        """Return a copy with new values.

        assignments: {name: value}; a value may be text, which is parsed. Raises InputError for an
        unknown name (it suggests the nearest one), and for a value of the wrong type or outside its
        range.
        """
        fields = self._fields()
        renamed = {old: f.name for f in fields.values() for old in f.metadata["formerly"]}
        values = {}
        for name, value in assignments.items():
            name = renamed.get(name, name)
            if name not in fields:
                raise InputError(
                    f"unknown setting {_printable(name)!r}: {choose_from(fields, name)}"
                )
            if _means_schedule(fields[name], value) and not fields[name].metadata["scheduled"]:
                scheduled = [f.name for f in fields.values() if f.metadata["scheduled"]]
                raise InputError(
                    f"setting {name}={_printable(value)}: {name} cannot have a schedule; "
                    f"these can: {', '.join(scheduled)}"
                )
            values[name] = _parse(fields[name], value)
        changed = dataclasses.replace(self, **values)
        for name, schedule in changed.schedules().items():
            with _naming(name):  # with other steps, a warm-up could end too late
                schedule.lengths(getattr(changed, "steps", None))
        return changed

    def schedules(self) -> dict[str, Schedule]:
        """Return {name: schedule} of the settings that have one."""
        return {name: x for name, x in vars(self).items() if isinstance(x, Schedule)}


_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_EXPECTED = {int: "a whole number", float: "a number", bool: "true or false", str: "a line of text"}


def _parse(field, value):
    metadata, assignment = field.metadata, f"{field.name}={_printable(value)}"
    if _means_schedule(field, value):
        return _parse_schedule(field, value)
    try:
        if field.type is bool:
            parsed = _BOOLEANS[str(value).lower()]
        elif isinstance(value, bool) or field.type is str and not _is_line(value):
            raise ValueError
        elif field.type is int:
            parsed = _parse_int(value)
        elif isinstance(value, FromFile) and metadata["from_file"]:
            parsed = value
        else:
            parsed = field.type(value)
    except (ValueError, KeyError, TypeError, OverflowError):
        expected = _EXPECTED[field.type]
        if metadata["scheduled"]:
            expected += ", or a schedule, such as linear:START:END"
        if metadata["from_file"]:
            expected += ", such as FILE.py:NAME"
        raise InputError(f"setting {assignment}: expected {expected}") from None
    if metadata["from_file"] and REFERENCE.fullmatch(parsed):
        return parsed
    if metadata["choices"] and parsed not in metadata["choices"]:
        own = ", or FILE.py:NAME for one of your own" if metadata["from_file"] else ""
        advice = choose_from(metadata["choices"], parsed)
        raise InputError(f"setting {assignment}: {advice}{own}")
    if metadata["from_file"] and not metadata["choices"] and parsed:
        raise InputError(f"setting {assignment}: write FILE.py:NAME, or nothing for none")
    _check_range(field, parsed, assignment)
    return parsed


def _means_schedule(field, value):
    """Return whether the value of a number is meant to be a schedule, right or wrong."""
    if field.type not in (int, float) or not isinstance(value, str):
        return False
    return field.metadata["scheduled"] and ":" in value or value.partition(":")[0] in KINDS


def _parse_schedule(field, text):
    with _naming(field.name):
        schedule = Schedule(text)
    if field.metadata["off_at_zero"] and 0 in (schedule.start, schedule.end):
        raise InputError(
            f"setting {field.name}={_printable(text)}: the values of a schedule must be above 0, "
            "because 0 stands for off"
        )
    for value in schedule.start, schedule.end:  # all others lie between these, or below the first
        _check_range(field, value, f"{field.name}={_printable(text)}")
    return schedule


@contextlib.contextmanager
def _naming(name):
    """Begin the message of an InputError in the block with the name of a setting."""
    try:
        yield
    except InputError as error:
        raise InputError(f"setting {name}: {error}") from None


def _check_range(field, parsed, assignment):
    low, high = field.metadata["minimum"], field.metadata["maximum"]
    too_small = low is not None and not parsed >= low  # `not`, so that NaN is outside any range
    too_large = high is not None and not parsed <= high
    infinite = parsed == float("inf")
    if too_small or too_large or infinite:
        at_least = f"at least {low}" + ", and finite" * infinite
        bounds = at_least if high is None or parsed <= high else f"between {low} and {high}"
        raise InputError(f"setting {assignment}: must be {bounds}")


def _is_line(value):
    """Return whether a value is one line of text, of at most 500 characters."""
    return isinstance(value, str) and value.isprintable() and len(value) <= 500


def _parse_int(value):
    """Return the integer that 10, "10", 10.0 or "1e1" stands for. Raises ValueError or TypeError
    for anything else."""
    if isinstance(value, (int, str)):
        with contextlib.suppress(ValueError):
            return int(value)
    number = float(value)
    if number % 1:  # true also for NaN and infinity: their remainder is NaN
        raise ValueError
    return int(number)


def _printable(value):
    """Return a value as text for a message: on one line, cut after 60 characters."""
    try:
        text = str(value)
    except ValueError:  # an integer with more digits than Python converts to text
        text = "..."
    text = text if len(text) <= 60 else f"{text[:57]}..."
    return text if text.isprintable() else ascii(text)


def parse_assignments(texts: Iterable[str]) -> dict[str, str]:
    """Split ['a=1', 'b=2'] into {'a': '1', 'b': '2'}. Raises InputError for text without a name or
    an equals sign. If a name is given twice, the last value counts, and a warning says so."""
    assignments = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InputError(f"--set {_printable(text)}: write name=value")
        name, value = name.strip().replace("-", "_"), value.strip()
        if assignments.get(name, value) != value:
            counts = f"the last value, {_printable(value)}, counts"
            warn(f"setting {_printable(name)} is given twice: {counts}")
        assignments[name] = value
    return assignments
