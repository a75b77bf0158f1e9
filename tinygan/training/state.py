"""The state of a run: what a checkpoint holds, how it is checked, and how a run continues from it.

    G, D, ema                 the weights and buffers of the networks, and of G's average
    g_optimizer, d_optimizer  the moments of each parameter, and the number of its updates
    fixed, grown              the latents of the grids, and the samples of a recipe that grows
    meta                      the counts, the states of the random generators, and the rest

files/schema.py checks the form of meta; this file compares all of it with the networks and the
settings of the run. best.npz holds only the average, with its evaluation.
"""

import contextlib
import math
from pathlib import Path
from typing import Any, Iterator

import numpy as np

from tinygan.files import checkpoint, schema
from tinygan.files.arrays import Array, check_arrays
from tinygan.gan import penalties
from tinygan.models.growth import START
from tinygan.optim import Adam

from . import changes, log, own_penalty
from .recordable import random_state
from .statistics import to_floats

# The attributes of Algorithm that checkpoints contain besides arrays.
ALGORITHM_STATE = "step", "d_updates", "images", "lod"


def arrays(trainer: Any) -> dict[str, dict[str, Any]]:
    """Return {part: {name: array}} of a Trainer."""
    a = trainer.algorithm
    return {
        "G": a.G.state_dict(),
        "D": a.D.state_dict(),
        "ema": trainer.averaged_G().state_dict(),
        "grown": trainer.gallery.grown,
        "g_optimizer": a.g_optimizer.state_dict(),
        "d_optimizer": a.d_optimizer.state_dict(),
        "fixed": trainer.gallery.state_dict(),
    }


def meta(trainer: Any) -> dict[str, Any]:
    """Return the rest of the state, with values that JSON can store."""
    a = trainer.algorithm
    return {
        **{key: getattr(a, key) for key in ALGORITHM_STATE},
        "rng": a.rng.bit_generator.state,
        "augment_rng": a.augment.rng.bit_generator.state,
        "ema_updates": a.ema.updates,
        "recent": list(map(to_floats, trainer.unlogged)),
        **{name: float(value) for name, value in vars(a.objectives.penalty_state).items()},
        "controller": a.controller.state() if a.controller else None,
        **({"unfinished": True} if trainer.unfinished else {}),
    }


def restore(trainer: Any, run: checkpoint.Run, changed: changes.Changed = {}) -> None:
    """Set the state of a Trainer to that of a checkpoint, which `check` has accepted. changed: what
    the run does differently from the checkpoint on."""
    restore_algorithm(trainer.algorithm, run.states, run.meta, changed)
    trainer.gallery.load_state_dict(run.states["fixed"], run.states.get("grown", {}))
    trainer.unlogged = run.meta["recent"]
    trainer.unfinished = run.meta.get("unfinished", False)


def restore_algorithm(a: Any, states: Any, meta: Any, changed: changes.Changed = {}) -> None:
    """Set the state of an Algorithm to what `arrays` and `meta` returned of another one."""
    for part in ("G", "D", "g_optimizer", "d_optimizer"):
        getattr(a, part).load_state_dict(states.get(part, {}))
    a.ema.module.load_state_dict(states["ema"])
    random_state(a, [meta["rng"], meta["augment_rng"]])
    if a.controller and meta["controller"] and not changes.begins_anew("controller", changed):
        a.controller.restore(meta["controller"])
    for key in ALGORITHM_STATE:
        setattr(a, key, meta[key])
    for entry in penalties.entries(a.settings):
        for name in [] if changes.begins_anew(entry.name, changed) else entry.states:
            setattr(a.objectives.penalty_state, name, meta.get(name, 0.0))
    a.ema.updates = meta["ema_updates"]


@contextlib.contextmanager
def saved_first(trainer: Any, run_log: Any) -> Iterator[None]:
    """If an exception ends the block, which writes the files of the present step, write the step's
    checkpoint first, unless a number is not finite. The run that continues from it writes the files
    that are missing. run_log: None on all ranks but the first."""
    try:
        yield
    except (Exception, SystemExit):  # SystemExit: sys.exit() in on_step
        # The first exception says more, and the message about it says which step is saved.
        with contextlib.suppress(Exception):
            if run_log and checkpoint.last_step(trainer.out) != trainer.step:
                run_log.check_finite()
                trainer.unfinished = True
                trainer.write_checkpoint()
        raise


# Checks


def check(trainer: Any, run: checkpoint.Run) -> None:
    """Raise Unsound unless the contents of a checkpoint are a state of this Trainer."""
    a, states, shape = trainer.algorithm, run.states, trainer.dataset.image_shape
    with _unsound(run.path):
        schema.check_meta(run.meta, None)
        _check_meta(a, run.meta, "history" in trainer.config or "history" in run.config)
        states = {part: states.get(part, {}) for part in schema.PARTS}
        for part, network in (("G", a.G), ("D", a.D), ("ema", a.ema.module)):
            check_arrays(part, states[part], arrays_of(network, shape))
        # In each step, G has one or two updates (the second is that of a lazy penalty).
        step, d_updates = run.meta["step"], run.meta["d_updates"]
        _check_optimizer("g_optimizer", states["g_optimizer"], a.g_optimizer, 2 * step)
        _check_optimizer("d_optimizer", states["d_optimizer"], a.d_optimizer, 2 * d_updates)
        latents = trainer.gallery.latents.data
        check_arrays("fixed", states["fixed"], {"latents": Array(latents.shape, latents.dtype)})
        grown = Array((len(trainer.gallery.growth_inputs()[0]), *shape), np.dtype("uint8"))
        names = [f"{START << i:04}" for i in range(a.growth.levels + 1 if a.growth else 0)]
        check_arrays("grown", states["grown"], {}, dict.fromkeys(names, grown))


def check_network(run: checkpoint.Run, part: str, network: Any) -> None:
    """Raise Unsound unless a checkpoint holds the weights of a network, as its part "G", "D" or
    "ema"."""
    with _unsound(run.path):
        expected = arrays_of(network, run.config["image_shape"])
        check_arrays(part, run.states.get(part, {}), expected)


def check_evaluation(path: Path, meta: dict[str, Any]) -> None:
    """Raise Unsound unless the evaluation in a best.npz is one of those in eval.jsonl: the file
    could be from another run."""
    evaluation = meta.get("evaluation")
    if evaluation is None or evaluation not in log.rows(path.parent, name="eval.jsonl"):
        raise checkpoint.Unsound(
            f"{path} holds an evaluation that is not in this run's eval.jsonl, so it may be of "
            "another run",
            "rename it, or give its path to use it all the same",
        )


@contextlib.contextmanager
def _unsound(path):
    """Turn a ValueError in the block, which checks the contents of `path`, into Unsound."""
    try:
        yield
    except ValueError as error:
        raise checkpoint.changed(path, error) from None


def _check_meta(a, meta, has_changed):
    states = dict.fromkeys(vars(a.objectives.penalty_state), schema.number())
    # A run that has changed may have begun, or ceased, to use ADA, or a penalty of the user's own.
    controller = schema.CONTROLLER if a.controller else schema.one_of(None)
    controller = schema.META["controller"] if has_changed else controller
    states |= {own_penalty.OWN_STATE: schema.number()} if has_changed else {}
    schema.record(
        {
            **schema.META,
            "step": schema.STEP,
            "lod": schema.number(0, a.growth.levels) if a.growth else schema.one_of(None),
            "controller": controller,
        },
        # A checkpoint of an older version may lack some of the penalties.
        states | schema.UNFINISHED,
    )(meta, "")


def arrays_of(network: Any, image_shape: Any) -> dict[str, Array]:
    """Return {path: Array} of the parameters and buffers of a network."""
    levels = (min(image_shape[:2]) // START).bit_length() - 1
    ranges = {"running_var": (0.0, math.inf), "lod": (0.0, levels)}
    parameters = [(path, parameter.data) for path, parameter in network.named_parameters()]
    return {
        path: Array(x.shape, x.dtype, *ranges.get(path.rpartition(".")[2], ()))
        for path, x in parameters + network.named_buffers()
    }


def _check_optimizer(part, saved, optimizer, max_updates):
    """Check the states of the parameters that have been updated: those that have any state."""
    if not saved and max_updates:
        raise ValueError(f"it lacks {part}")
    expected = {}
    for i, p in enumerate(optimizer.parameters):
        moment = Array(p.shape, p.data.dtype)
        state = {f"{i}.v": moment._replace(low=0.0)}
        if isinstance(optimizer, Adam):
            count = Array((), np.dtype("int64"), 1, max_updates)
            state |= {f"{i}.m": moment, f"{i}.step": count}
        if state.keys() & saved.keys():
            expected |= state
    check_arrays(part, saved, expected)
