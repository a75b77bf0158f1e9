"""What the files of a run may contain: the types, ranges and lengths of their values.

Everything that is read from config.json, from the logs and from checkpoints is checked here before
it is used. A check is a function check(value, name) that raises ValueError, with one line, if the
value is wrong. The tables at the end describe the files.
"""

import json
import math
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

import numpy as np

from tinygan.files import open_file, own_code

Check = Callable[[Any, str], None]

LOG_EVERY = 10  # the number of steps whose numbers are averaged in each line of log.jsonl
MAX_COUNT = 10**9  # of steps, and of images in a batch: no setting may be larger
CONFIG_BYTES = 1 << 20  # an honest config.json has about 3,000
LINE_BYTES = 1 << 16  # an honest line of a log has at most about 1,500
META_CHARACTERS = 1 << 18  # an honest meta of a checkpoint has at most about 10,000


# Reading JSON


def read(path: Path, max_bytes: int) -> bytes:
    """Return the contents of a file. Raises ValueError if it has more than `max_bytes` bytes."""
    with open_file(path) as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ValueError(f"it is longer than {max_bytes:,} bytes")
    return content


def parse(text: str | bytes) -> Any:
    """Return the value of JSON text. Raises ValueError for anything else, for a key that occurs
    twice in an object, for a number of more than 50 digits, and for deep nesting."""
    try:
        text = text.decode("utf-8") if isinstance(text, bytes) else text
        return json.loads(text, object_pairs_hook=_object, parse_int=_parse_int)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error.msg} at character {error.pos + 1}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 at byte {error.start + 1}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _object(pairs):
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in value if keys.count(key) > 1)
        raise ValueError(f"{shown_name(twice)} occurs twice")
    return value


def _parse_int(digits):
    if len(digits) > 50:
        raise ValueError(f"a number has {len(digits)} digits")
    return int(digits)


# Checks


def integer(low: int, high: int) -> Check:
    """Check for a whole number from low to high."""

    def check(value, name):
        if type(value) is not int or not low <= value <= high:
            expected = f"a whole number from {low} to {high}" if low < high else str(low)
            raise _wrong(name, value, expected)

    return check


def number(low: float = -1e50, high: float = 1e50, finite: bool = True) -> Check:
    """Check for a number from low to high; with finite=False, also NaN and infinity."""

    def check(value, name):
        wrong_type = type(value) not in (int, float)
        if wrong_type or not (low <= value <= high or not finite and not math.isfinite(value)):
            raise _wrong(name, value, f"a number from {low:g} to {high:g}")

    return check


def text(max_length: int) -> Check:
    """Check for text of at most max_length characters."""

    def check(value, name):
        if type(value) is not str or len(value) > max_length:
            raise _wrong(name, value, f"text of at most {max_length} characters")

    return check


def one_of(*values: Any) -> Check:
    """Check for one of these values."""

    def check(value, name):
        if not any(type(value) is type(other) and value == other for other in values):
            raise _wrong(name, value, " or ".join(map(json.dumps, values)))

    return check


def either(expected: str, *checks: Check) -> Check:
    """Check that a value passes one of the checks. expected: what that means, for the message."""

    def passes(check, value, name):
        try:
            check(value, name)
            return True
        except ValueError:
            return False

    def check(value, name):
        if not any(passes(one, value, name) for one in checks):
            raise _wrong(name, value, expected)

    return check


def optional(check: Check) -> Check:
    """Check for null, or for what `check` checks for."""
    return lambda value, name: None if value is None else check(value, name)


def anything(value: Any, name: str) -> None:
    """Accept any value."""


def items(check_item: Check, max_length: int) -> Check:
    """Check for a list of at most max_length items, each of which passes check_item."""

    def check(value, name):
        if type(value) is not list or len(value) > max_length:
            raise _wrong(name, value, f"a list of at most {max_length} items")
        for i, item in enumerate(value):
            check_item(item, f"{name}[{i}]")

    return check


def sequence(*checks: Check) -> Check:
    """Check for a list with one item for each check."""

    def check(value, name):
        if type(value) is not list or len(value) != len(checks):
            raise _wrong(name, value, f"a list of {len(checks)} items")
        for i, (check_item, item) in enumerate(zip(checks, value)):
            check_item(item, f"{name}[{i}]")

    return check


def record(
    required: Mapping[str, Check], perhaps: Mapping[str, Check] = {}, others: Check | None = None
) -> Check:
    """Check for a dict with the required keys, perhaps with some more, and with other keys only if
    there is a check for their values."""

    def check(value, name):
        if type(value) is not dict:
            raise _wrong(name, value, "an object with names and values")
        prefix = f"{name}." if name else ""
        if missing := required.keys() - value.keys():
            raise ValueError(f"{name or 'it'} lacks {', '.join(sorted(missing))}")
        for key, item in value.items():
            check_item = required.get(key) or perhaps.get(key) or others
            if check_item is None:
                raise ValueError(f"{prefix}{shown_name(key)} is unknown")
            check_item(item, f"{prefix}{shown_name(key)}")

    return check


def _wrong(name, value, expected):
    return ValueError(f"{name or 'it'} is {_shown(value)}, not {expected}")


def _shown(value):
    """Return a value as text for a message."""
    if isinstance(value, (list, dict)):
        return f"a {'list' if isinstance(value, list) else 'dict'} of {len(value)} items"
    if isinstance(value, str):
        return ascii(value if len(value) <= 40 else value[:40] + "...")
    return json.dumps(value)


def shown_name(key: str) -> str:
    """Return a name that was read from a file as text for a message."""
    return key if key.isprintable() and len(key) <= 60 else ascii(key[:60])


# The files of a run


def image_shape(value: Any, name: str) -> None:
    """Check for the height, the width and the channels of images, or for [2], of points."""
    # Networks of these sizes will be made.
    sizes = [integer(1, 1024), integer(1, 1024), integer(1, 16)]
    is_list_of_one = type(value) is list and len(value) == 1
    sequence(*([integer(2, 2)] if is_list_of_one else sizes))(value, name)


def evaluation(value: Any, name: str) -> None:
    """Check for a line of eval.jsonl. The score is the energy distance of points, or the FID."""
    points = isinstance(value, dict) and "energy_distance" in value
    record(
        # A FID may be NaN or infinite: it then never counts as the best.
        {"step": STEP, "energy_distance" if points else "fid": number(finite=False)},
        {key: number(0, 1) for key in ("precision", "recall", "class_accuracy", "good_samples")},
        others=either("a number or text", text(1000), number(finite=False)),
    )(value, name)


STEP = integer(0, MAX_COUNT)
# Where a user's own data are, and how they were read (data/dataset.py, Origin).
ORIGIN = record(
    {
        "path": text(5000),
        "labels": optional(text(5000)),
        "image_size": optional(sequence(integer(1, 1024), integer(1, 1024))),
        "layout": optional(one_of("NHWC", "NCHW")),
        "fingerprint": text(64),
    }
)
SETTING = either("a number, text, true or false", number(), text(1000), one_of(True, False))
MAX_CHANGES = 1000  # of a run
MAX_KEPT = 100  # names that config.json lists of weights that keep their initial values


def history(value: Any, name: str) -> None:
    """Check for the changes of a run while it was resumed (training/changes.py): a list of {"step":
    N, "changed": {name: [old, new]}} with rising steps."""
    pair = sequence(SETTING, SETTING)
    entry = record({"step": STEP, "changed": record({}, others=pair)})
    items(entry, MAX_CHANGES)(value, name)
    steps = [entry["step"] for entry in value]
    if steps != sorted(set(steps)):
        raise ValueError(f"the steps of {name} do not rise")


CONFIG = record(
    {
        "recipe": text(100),
        "data": text(1000),
        "settings": record({}, others=SETTING),
        "seed": integer(0, 2**63),
        "image_shape": image_shape,
        "classes": integer(1, 10_000),
    },
    {
        "version": integer(1, MAX_COUNT),
        "kernels": one_of("fast", "plain"),
        "origin": ORIGIN,
        "class_names": items(text(1000), 10_000),
        "history": history,
        # Where the initial weights come from (training/transfer.py).
        "init_from": record(
            {
                "path": text(5000),
                "checkpoint": text(300),
                "step": STEP,
                "kept": items(text(1000), MAX_KEPT),
            }
        ),
        "code": own_code.check,
    },
)


def check_config(config: Any) -> None:
    """Check the contents of config.json. Raises ValueError for the first entry that is wrong."""
    CONFIG(config, "")
    names = config.get("class_names")
    if names is not None and len(names) != config["classes"]:
        raise ValueError(f"class_names has {len(names)} items, but classes is {config['classes']}")


# Averages over the steps of a line of log.jsonl, or the numbers of one step. Which others there
# are depends on the recipe.
LOSSES = {"d_loss": number(), "g_loss": number(), "d_real": number(), "d_fake": number()}
COUNT = integer(0, MAX_COUNT**3)
ROWS: dict[str, Check] = {
    "log.jsonl": record(
        {"step": STEP, **LOSSES},
        {"images": COUNT, "warnings": items(text(1000), 100)},
        others=number(),
    ),
    "time.jsonl": record(
        {"step": STEP}, {"seconds": number(0), "phases": record({}, others=number(0))}
    ),
    "eval.jsonl": evaluation,
}
LATER_ROW = record({"step": STEP}, others=anything)  # a resumed run writes it again

# The state of NumPy's generator PCG64. Its increment is odd.
BITS_128 = integer(0, 2**128 - 1)


def odd(value: Any, name: str) -> None:
    """Check for an odd number of 128 bits."""
    BITS_128(value, name)
    if value % 2 == 0:
        raise _wrong(name, value, "odd")


RNG = record(
    {
        "bit_generator": one_of("PCG64"),
        "state": record({"state": BITS_128, "inc": odd}),
        "has_uint32": integer(0, 1),
        "uinteger": integer(0, 2**32 - 1),
    }
)
CONTROLLER = record({"p": number(0), "updates": integer(0, 3), "images": COUNT, "signs": number()})
# What a checkpoint holds besides arrays and the step. The states of penalties are entries as well;
# which there are depends on the version that wrote it. best.npz has only an evaluation.
META: dict[str, Check] = {
    "d_updates": COUNT,
    "images": COUNT,
    "lod": optional(number(0, 8)),
    "rng": RNG,
    "augment_rng": RNG,
    "ema_updates": STEP,
    "recent": items(record(LOSSES, others=number()), LOG_EVERY),
    "controller": optional(CONTROLLER),
}
UNFINISHED = {"unfinished": one_of(True)}  # where a file of the step could not be written

PARTS = "G", "D", "ema", "grown", "g_optimizer", "d_optimizer", "fixed"  # see training/state.py


def parse_meta(array: np.ndarray[Any, Any] | None) -> Any:
    """Return the value of the JSON text that a checkpoint holds as its array "meta"."""
    if array is None or array.shape or array.dtype.kind != "U":
        raise ValueError("it has no text called meta")
    if array.nbytes > 4 * META_CHARACTERS:
        raise ValueError(f"meta is longer than {META_CHARACTERS:,} characters")
    return parse(str(array))


def in_parts(arrays: Mapping[str, Any], parts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return {part: {name: array}}, given {"part/name": array}. Raises ValueError for an array that
    belongs to none of the parts."""
    states: dict[str, dict[str, Any]] = {}
    for key, array in arrays.items():
        part, slash, name = key.partition("/")
        if part not in parts or not slash:
            raise ValueError(f"it has an unexpected array {shown_name(key)}")
        states.setdefault(part, {})[name] = array
    return states


def check_meta(meta: Any, step: int | None) -> None:
    """Check what a checkpoint holds besides arrays. step: the step in the name of the file, if
    there is one. Raises ValueError for the first entry that is wrong."""
    record({"step": STEP}, {**META, "evaluation": ROWS["eval.jsonl"]}, anything)(meta, "")
    named_step, step = step, meta["step"]
    if named_step not in (None, step):
        raise ValueError(f"step is {step}, not {named_step} as in its name")
    # D has had at least one update in each step, of at least two images.
    updates = meta.get("d_updates", step)
    integer(step, step * 10_000)(updates, "d_updates")
    integer(2 * updates, updates * MAX_COUNT)(meta.get("images", 2 * updates), "images")
    integer(step, step)(meta.get("ema_updates", step), "ema_updates")
    # The numbers since the last line of the log; those of a whole line if it was not written.
    items(anything, (step - 1) % LOG_EVERY + 1)(meta.get("recent", []), "recent")
    integer(step, step)(meta.get("evaluation", meta)["step"], "evaluation.step")
