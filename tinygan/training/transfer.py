"""The initial weights of a run from another run: --init-from."""

from typing import Any

from tinygan.errors import InputError, say
from tinygan.files import checkpoint
from tinygan.files.schema import MAX_KEPT
from tinygan.models.freezing import parameter_name

from . import state

SHOWN = 4  # names that the message lists


def take_weights(algorithm: Any, source: checkpoint.Run) -> dict[str, Any]:
    """Give the networks of a new Algorithm, and the average of G, the weights and buffers of a
    checkpoint of another run, by path and shape; and say what does not fit, which keeps its initial
    values. Return what config.json says about it.

    A best.npz holds only the average: G and its average start from it. The two runs may have other
    recipes. A network takes the same weights whether or not a wrapper gives it the class. Raises
    InputError if no weight fits, and Unsound if a weight is not finite.
    """
    file = source.path or source.folder
    best = file.name == checkpoint.BEST
    parts = {"G": "ema" if best else "G", "D": "D"}
    taken, kept, reasons = {}, [], []
    for role, part in parts.items():
        network = getattr(algorithm, role)
        names, missing = _load(network, role, source, part)
        taken[role] = len(names & {path for path, _ in network.named_parameters()})
        kept += missing
        if part not in source.states:
            reasons.append(f"{file.name} holds no {role}, which starts anew")
        elif missing:
            shown = ", ".join(missing[:SHOWN]) + ", ..." * (len(missing) > SHOWN)
            reasons.append(f"starting anew: {len(missing)} of {role} ({shown})")
    if not any(taken.values()):
        raise InputError(
            f"--init-from {source.folder}: none of its weights fits these networks: choose the "
            "settings of its networks, which are in its config.json"
        )
    _load(algorithm.ema.module, "G", source, "ema")
    pairs = zip(algorithm.ema.module.parameters(), algorithm.G.parameters(), strict=True)
    for average, parameter in pairs:
        if not parameter.requires_grad:
            average.assign(parameter)
    counts = " and ".join(f"{n} of {role}" for role, n in taken.items())
    say("; ".join([f"the weights of {file} are taken over: {counts}", *reasons]))
    if len(kept) > MAX_KEPT:
        kept[MAX_KEPT - 1 :] = [f"and {len(kept) - MAX_KEPT + 1} more"]
    return {
        "path": str(source.folder.absolute()),
        "checkpoint": file.name,
        "step": source.meta["step"],
        "kept": kept,
    }


def _load(network, role, source, part):
    """Load what fits of a part of a checkpoint into a network. Return the paths of it, and the
    names of what does not fit."""
    found, own, missing = source.states.get(part, {}), network.state_dict(), []
    by_name = {parameter_name(role, path): array for path, array in found.items()}
    taken = {}
    for path, array in state.arrays_of(network, source.config["image_shape"]).items():
        if path.rpartition(".")[2] == "lod":  # the level of detail follows from the images so far
            continue
        name = parameter_name(role, path)
        value = found.get(path, by_name.get(name))
        if value is None or value.shape != array.shape:
            missing.append(name)
            continue
        try:
            array.check(value, f"{part}/{path}")
        except ValueError as error:
            raise checkpoint.changed(source.path, error) from None
        taken[path] = value
    network.load_state_dict({**own, **taken})
    return taken.keys(), missing


def save_first_checkpoint(trainer: Any) -> None:
    """Write a checkpoint of step 0, so that the run can be resumed without its source."""
    if trainer.algorithm.growth:
        trainer.algorithm.grow()
    trainer.write_checkpoint()
    trainer.checkpoints_at_start = checkpoint.names(trainer.out)
