"""Settings that contradict each other, or that would be ignored."""

from tinygan.errors import InputError
from tinygan.gan import penalties
from tinygan.gan.regularisers import consistency
from tinygan.nn import StyleGenerator

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
            f"setting lecam_start={s.lecam_start} would be ignored: set lecam as well, or leave it "
            "out"
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
