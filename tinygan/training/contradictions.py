"""Settings that contradict each other, or that would be ignored."""

import numpy as np

from tinygan.errors import InputError
from tinygan.gan import penalties
from tinygan.gan.regularisers import consistency
from tinygan.nn import BatchNorm, Dropout, SpectralNorm, StyleGenerator

from . import own_penalty


def check_penalties(algorithm, recipe_name):
    """Raise InputError for a penalty that needs styles if G has none, or images if D sees points;
    for one that must not be lazy but is set to be; for one that would not begin; and for the weight
    of a penalty of the user's own without one."""
    a = algorithm
    own_penalty.check_weight(a.settings)
    check_lecam(a.settings)
    for entry, weight in penalties.active(a.settings, "D", *penalties.SEEN):
        if len(a.dataset.image_shape) != 3 and entry.function is consistency:
            raise InputError(
                f"setting {entry.name}={weight} shifts images, and these are points: leave it out"
            )
    for which, applied_to in (("D", penalties.IMAGES), ("G", penalties.LATENTS)):
        for entry, weight in penalties.active(a.settings, which, *applied_to):
            shown = weight if isinstance(weight, str) else f"{weight:g}"
            setting = f"setting {entry.name}={shown}"
            if entry.applied_to == "styles" and not isinstance(a.G, StyleGenerator):
                raise InputError(f"{setting}: the G of {recipe_name} has no styles")
            if not entry.lazy and (k := a.objectives.penalty_every(which)) > 1:
                every = "penalty_every" if which == "D" else "path_every"
                raise InputError(
                    f"{setting}: this penalty must be applied at every update: "
                    f"set {every}=1, not {k}"
                )


def check_lecam(s):
    """Raise InputError if lecam would not begin within the run, and for its start without it."""
    if not s.lecam and s.lecam_start != type(s).lecam_start:
        raise InputError(
            f"setting lecam_start={s.lecam_start} would be ignored: set lecam as well, or "
            f"lecam_start={type(s).lecam_start}, the default"
        )
    if s.lecam and s.lecam_start >= s.steps:
        raise InputError(
            f"setting lecam={s.lecam}: it begins after step {s.lecam_start} (lecam_start), but the "
            f"run ends at step {s.steps}: set a smaller lecam_start"
        )


def check_schedules(s):
    """Raise InputError for a schedule that would be ignored, and for AdamW without its decay."""
    if s.optimizer == "adamw" and not s.weight_decay:
        raise InputError(
            "setting optimizer=adamw: without weight_decay, it is adam: set weight_decay=0.01, or "
            "optimizer=adam"
        )
    for name, is_ignored, remedy in (
        ("beta1", s.optimizer == "rmsprop", "RMSprop has no beta1"),
        ("class_weight", s.d_class != "auxiliary", "it needs d_class=auxiliary"),
        ("ada_target", s.augment != "ada", "it needs augment=ada"),
        ("ema", s.ema_images, "the average follows ema_images, unless that is 0"),
    ):
        if is_ignored and name in s.schedules():
            raise InputError(
                f"setting {name}={getattr(s, name)}: the schedule would be ignored: {remedy}"
            )


def check_unrolled(algorithm, recipe_name):
    """Raise InputError if updates of D cannot be simulated: if D has a state that they would
    change, or for a setting that unrolled.py does not follow."""
    a, s = algorithm, algorithm.settings
    if not s.unroll:
        if s.unroll_stop:
            raise InputError(
                "setting unroll_stop=true would be ignored without unroll: set unroll=5, or "
                "unroll_stop=false"
            )
        return
    setting, every = f"setting unroll={s.unroll}", a.objectives.penalty_every("D")
    for is_wrong, reason in (
        (s.clip, "updates with clip are not simulated: set clip=0"),
        (s.sanitize, "updates with sanitize are not simulated: set sanitize=false"),
        (s.lecam, "lecam's running means would not follow these updates: set lecam=0"),
        (
            every > 1,
            f"D's penalties must be a part of each update: set penalty_every=1, not {every}",
        ),
    ):
        if is_wrong:
            raise InputError(f"{setting}: {reason}")
    for path, module in a.D.modules():
        if state := state_of_layer(module):
            remedies = {"d_norm": "none", "dropout": "0"}
            known = [f"{name}={x}" for name, x in remedies.items() if hasattr(s, name)]
            advice = f"set {known[0]}" if known else "choose a recipe such as wgan-gp"
            where = f"D.{path}" if path else "D"
            raise InputError(
                f"{setting}: {where} of {recipe_name} has {state}, which an update of D changes, "
                f"so that it cannot be simulated: {advice}"
            )


def state_of_layer(module):
    """Return what a call of a layer changes in it, in words; "" if that is nothing."""
    # A network that grows has its `lod`, which changes between steps, and the generator of its
    # initial weights.
    if "lod" in module.buffer_names or isinstance(module, Dropout) and not module.rate:
        return ""
    words = {BatchNorm: "running statistics", SpectralNorm: "power vectors"}
    for kind, state in words.items():
        if isinstance(module, kind):
            return state
    if any(isinstance(value, np.random.Generator) for value in vars(module).values()):
        return "random numbers"
    return ", ".join(module.buffer_names)
