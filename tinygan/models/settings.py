"""Typed, documented settings: a dataclass whose fields `--set name=value` can change."""

import contextlib
import dataclasses
from typing import Any

from tinygan.errors import InputError
from tinygan.gan.augment import KINDS, WHERE
from tinygan.gan.losses import LOSSES
from tinygan.gan.penalties import PENALTIES

LARGEST = 10_000  # no layer is wider: the maximum of a whole number that has no other
MANY = 10 ** 9  # of steps, and of images


def setting(default, doc, minimum=None, maximum=None, choices=None, formerly=()) -> Any:
    """A field with its documentation and the range of its values (ends included), or the words it
    may be. formerly: names that the setting had in older versions, whose runs are still read."""
    if type(default) is int and maximum is None:
        maximum = LARGEST
    return dataclasses.field(default=default, metadata={
        "doc": doc, "minimum": minimum, "maximum": maximum, "choices": choices, "formerly": formerly})


@dataclasses.dataclass
class General:
    """What every recipe can be told, but for the weights of penalties, which `Settings` adds from
    their table."""

    steps: int = setting(1000, "training steps: one update of G each", 1, MANY)
    batch_size: int = setting(64, "images per update", 2, MANY)
    micro_batch: int = setting(0, "images in memory at a time: gradients are accumulated over such parts of a batch; "
                                  "0: all of it", 0, MANY)
    loss: str = setting("bce", "what D and G minimise", choices=tuple(LOSSES))
    optimizer: str = setting("adam", "rule of the updates", choices=("adam", "rmsprop"))
    lr: float = setting(2e-4, "learning rate of G, and of D unless d_lr is set", 0)
    d_lr: float = setting(0.0, "learning rate of D; 0: the same as G's", 0)
    beta1: float = setting(0.5, "Adam's decay of the mean gradient", 0, 0.9999)
    beta2: float = setting(0.999, "decay of the mean squared gradient (RMSprop's alpha)", 0, 0.999999)
    eps: float = setting(1e-8, "what the optimiser adds to the root of the mean squared gradient", 0)
    d_steps: int = setting(1, "updates of D to one of G", 1)
    d_boost: int = setting(0, "updates of D in each of the first 25 steps, and in every 500th (WGAN); 0: d_steps", 0)
    penalty_every: int = setting(1, "updates of D between penalties, which then weigh as many times as much", 1, MANY)
    path_every: int = setting(4, "updates of G between path-length penalties, which then weigh as many times as much", 1,
                              MANY)
    sanitize: bool = setting(False, "of gradients, NaN becomes 0 and infinities become 1e5 (StyleGAN2)")
    latent: int = setting(100, "length of the latent z", 1)
    g_class: str = setting("none", "how G is told the class", choices=("none", "concat", "cbn", "mapping"))
    d_class: str = setting("none", "how D is told the class",
                           choices=("none", "concat", "auxiliary", "projection", "select", "mapping"))
    embedding: int = setting(10, "length of the class embedding (beside z: g_class=concat; in every block: biggan)", 1)
    class_weight: float = setting(1.0, "weight of the classification losses (d_class=auxiliary)", 0)
    train_size: int = setting(0, "images to train on, drawn by the seed, of each class as many; 0: all", 0, MANY)
    augment: str = setting("none", "how the images that D sees are augmented", choices=KINDS)
    policy: str = setting("", "which transforms, separated by commas; by default, of diffaug color,translation,cutout, of "
                              "ada digits (gan/augment/ has more)")
    augment_where: str = setting("both", "what of: reals and fakes; the two wrong ways: reals only, D's step only",
                                 choices=WHERE)
    ada_p: float = setting(0.0, "probability of each of ada's transforms, in the beginning", 0, 1)
    ada_target: float = setting(0.6, "r_t, the mean sign of D's logits on reals, at which ada keeps p; 0: p is fixed", 0, 0.999)
    ada_kimg: float = setting(50.0, "thousands of images in which p can get from 0 to 1 (as published: 500)", 0.01)
    pad: int = setting(0, "border of black pixels around the images", 0, 64)
    ema: float = setting(0.995, "decay of the average of G's weights that samples are drawn with", 0, 0.99999)
    ema_images: int = setting(0, "half-life of that average in images, but at most a twentieth of those seen so far "
                                 "(StyleGAN2); 0: ema is its decay", 0, MANY)
    ema_start: int = setting(0, "steps before the average begins; until then it is G itself", 0, MANY)
    standing: int = setting(0, "batches of 64 that give the averaged G its own batch-norm statistics before it draws; "
                               "0: it has G's running averages", 0)
    sample_every: int = setting(200, "steps between sample grids", 1, MANY)
    checkpoint_every: int = setting(500, "steps between checkpoints", 1, MANY)
    keep: int = setting(2, "checkpoints that are kept: the last ones", 1)
    eval_every: int = setting(0, "steps between evaluations on held-out images, of which the best is kept; 0: none", 0,
                              MANY)
    eval_images: int = setting(5000, "samples of an evaluation", 100, 100_000)

    def d_updates(self, step):
        """Updates of D in step number `step` (0, 1, ...)."""
        boosted = self.d_boost and (step < 25 or step % 500 == 0)
        return max(self.d_steps, self.d_boost) if boosted else self.d_steps

    def describe(self):
        """[(name, value, type name, doc)] of all settings."""
        return [(f.name, getattr(self, f.name), f.type.__name__,
                 f.metadata["doc"] + (f": {', '.join(f.metadata['choices'])}" if f.metadata["choices"] else ""))
                for f in dataclasses.fields(self)]

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
                raise InputError(f"unknown setting {_shown(name)!r}; there are: {', '.join(fields)}")
            values[name] = _parse(fields[name], value)
        return dataclasses.replace(self, **values)


Settings = dataclasses.make_dataclass(
    "Settings", [(entry.name, float, setting(0.0, entry.meaning, 0)) for entry in PENALTIES], bases=(General,),
    namespace={"__doc__": "What every recipe can be told.", "__module__": __name__})


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
    if low is not None and not parsed >= low or high is not None and not parsed <= high or parsed in (float("inf"),):
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
