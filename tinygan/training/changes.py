"""What a resumed run does differently from then on, and the history of it in config.json.

    "history": [{"step": 400, "changed": {"lr": [0.0002, 0.0001], "data": ["mnist", "kmnist"]}}]

Each entry says what changed from that step on: from which value, to which. The present values are
those of "settings" and "data". A run that goes back to an older checkpoint keeps the present values
from there on, so all later entries move to that step.
"""

import dataclasses
from pathlib import Path
from typing import Any, Mapping, Sequence

from tinygan.errors import InputError, one_line, quoted, say
from tinygan.files.checkpoint import Run
from tinygan.files.schema import MAX_CHANGES
from tinygan.gan.penalties import entries as penalties
from tinygan.models.settings import Settings

from . import own_code

Changed = Mapping[str, Sequence[Any]]  # {name: [before, now]}

# When the run ends, and which files it writes. No weight depends on them, unless a schedule ends
# with the run, so they are not recorded: a run that is resumed for more steps is the same as one
# that was begun for as many.
UNRECORDED = {"steps", "sample_every", "checkpoint_every", "keep", "eval_every"}
# What a resumed run keeps, for settings that are not of the group "network", and for those whose
# reason is another one.
FIXED = {
    "pad": "the size of its images, for which its networks are made",
    "optimizer": "its kind of optimiser, whose moments its checkpoints hold",
    "grow": "its schedule of image sizes, which its checkpoints follow",
    "stable_images": "its schedule of image sizes, which its checkpoints follow",
    "fade_images": "its schedule of image sizes, which its checkpoints follow",
}
OWN = "penalty_weight"  # the name of a penalty of the user's own
# After such a change, evaluations cannot be compared with those before.
OTHER_EVALUATIONS = {"data", "eval_images"}


def check(before: Settings, now: Settings, folder: Path) -> None:
    """Raise InputError, which says why, for a setting that a resumed run must not change.

    before, now: the settings of the run in `folder`, and the new ones.
    """
    for description in now.describe():
        name, value = description.name, description.value
        old = getattr(before, name)
        kept = FIXED.get(name, "its networks" if description.group == "network" else None)
        if kept and old != value:
            raise InputError(
                f"setting {name}={value}: a resumed run keeps {kept} ({name}={old}): leave it out, "
                f"or begin a new run with --init-from {quoted(folder)}"
            )


def data_name(config: Mapping[str, Any]) -> str:
    """Return the name of a run's data in the history; for own data, their path and the beginning of
    their fingerprint."""
    if (origin := config.get("origin")) is None:
        return str(config["data"])
    return f"{one_line(origin['path'], 200)} ({origin['fingerprint'][:12]})"


def between(before: Mapping[str, Any], now: Mapping[str, Any], old: Settings) -> dict[str, Any]:
    """Return {name: [before, now]} of what differs between the config.json of a run and the one
    with which it goes on. old: the settings of the former."""
    olds, news = dataclasses.asdict(old), now["settings"]
    # A schedule may end with the run, wherever that is.
    kept = [schedule for name, schedule in old.schedules().items() if news[name] == schedule]
    other_end = any(x.lengths(olds["steps"]) != x.lengths(news["steps"]) for x in kept)
    unrecorded = UNRECORDED - ({"steps"} if other_end else set())
    changed = {
        name: [olds[name], value]
        for name, value in news.items()
        if olds[name] != value and name not in unrecorded
    }
    codes = [config.get("code", {}) for config in (before, now)]
    for role in own_code.KINDS:
        if role not in changed and codes[0].get(role) != codes[1].get(role):  # only the file
            changed[role] = [f"{olds[role]} ({own_code.short_hash(code, role)})" for code in codes]
    fingerprints = [(config.get("origin") or {}).get("fingerprint") for config in (before, now)]
    names = [config["data"] for config in (before, now)]
    # Own data that have only moved have another path.
    if fingerprints[0] != fingerprints[1] or fingerprints == [None, None] and names[0] != names[1]:
        changed["data"] = [data_name(before), data_name(now)]
    return changed


def history(earlier: Sequence[Any], step: int, changed: Changed) -> list[dict[str, Any]]:
    """Return the history of a run that continues from a checkpoint of this step.

    earlier: the history so far. changed: what differs from now on.
    """
    merged: dict[str, list[Any]] = {}
    later = [entry["changed"] for entry in earlier if entry["step"] >= step]
    for name, (old, new) in (pair for change in [*later, changed] for pair in change.items()):
        merged[name] = [merged[name][0] if name in merged else old, new]
    merged = {name: pair for name, pair in merged.items() if pair[0] != pair[1]}
    entries = [entry for entry in earlier if entry["step"] < step]
    entries += [{"step": step, "changed": merged}] if merged else []
    if len(entries) > MAX_CHANGES:
        raise InputError(
            f"a run can change {MAX_CHANGES:,} times at most: begin a new run with --init-from"
        )
    return entries


def note(trainer: Any, run: Run, earlier: Settings) -> Changed:
    """Prepare a Trainer for what it does differently from the checkpoint of a Run on, note it in
    its config, and say it if it is new. Return {name: [before, now]}.

    earlier: the settings of the run so far. Raises InputError if the run has no checkpoint, but
    does not begin with random weights.
    """
    before, now, step = run.config, trainer.config, run.meta["step"] if run.path else 0
    if "init_from" in before:
        now["init_from"] = before["init_from"]
        if not run.path:
            raise InputError(
                f"{run.folder} holds no checkpoint, so it lacks the weights that it was to begin "
                "with: repeat the command that began it, with --init-from "
                f"{quoted(before['init_from']['path'])}"
            )
    entries = history(before.get("history", ()), step, between(before, now, earlier))
    now.update({"history": entries} if entries else {})
    here = [entry["changed"] for entry in entries if entry["step"] == step]
    changed: Changed = here[0] if here else {}
    same = entries == before.get("history", [])
    if not same:
        say(sentence(step, changed, trainer.settings))
    trainer.same_evaluations = same and earlier.eval_every == trainer.settings.eval_every
    trainer.evaluation.since = last_comparable(entries)
    return changed


def last_comparable(entries: Sequence[Any]) -> int:
    """Return the last step whose evaluation cannot be compared with those of now; -1 if all can."""
    steps = [e["step"] for e in entries if OTHER_EVALUATIONS & e["changed"].keys()]
    return max(steps, default=-1)


# State that a checkpoint from before a change does not have


def begins_anew(name: str, changed: Changed) -> bool:
    """Return whether the state of ADA's controller (name: "controller") or of a penalty (its name)
    begins anew, although a checkpoint may hold one."""
    if name == "controller":
        switched = not all(changed.get("ada_target", [True]))  # to a fixed p, or from it
        return switched or bool({"augment", "ada_p"} & changed.keys())
    return name in changed and not changed[name][0] or name == OWN and "penalty" in changed


def sentence(step: int, changed: Changed, settings: Any) -> str:
    """Return the line that says what has changed from a step on."""
    if not changed:
        return f"from step {step} on, the run goes on as if nothing had been changed later"
    shown = lambda value: '""' if value == "" else f"{value}"
    pairs = [f"{name} {shown(old)} -> {shown(new)}" for name, (old, new) in changed.items()]
    text = f"changed from step {step} on: {', '.join(pairs)}"
    if settings.augment == "ada" and begins_anew("controller", changed):
        text += f"; the p of ADA begins anew at {settings.ada_p:g}"
    for entry in penalties(settings):
        if entry.state and begins_anew(entry.name, changed):
            text += f"; the running mean of {entry.name} begins anew"
    if "data" in changed or "eval_images" in changed:
        text += "; earlier evaluations no longer count for the best"
    return text
