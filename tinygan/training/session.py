"""A training session: a Trainer that begins and runs on one rank, or on all ranks together."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinygan import backend
from tinygan.errors import Diverged, InputError, quoted, say
from tinygan.files import InUse, checkpoint

from . import ranks
from .own_code import options_again
from .trainer import Trainer


def begin(make_trainer: Callable[[bool], Trainer]) -> Trainer:
    """Make this process one of the ranks, if mpiexec has started it, and return its Trainer.

    make_trainer: make_trainer(is_first) returns the Trainer; only that of the first rank has a
    folder. If one of several ranks has an InputError, all of them raise it.
    """
    ranks.join()
    with ranks.abort_on_error():
        trainer: Trainer | None = None
        mistake: InputError | None = None
        try:
            if ranks.size > 1 and backend.device() == "gpu":
                raise InputError(
                    "several ranks can train on CPUs only: leave out --device gpu and "
                    "TINYGAN_BACKEND"
                )
            trainer = make_trainer(is_first())
        except InputError as error:
            mistake = error
        message = ranks.first_nonempty("" if mistake is None else str(mistake))
        if mistake and ranks.size == 1:
            raise mistake
        if message:
            raise InputError(message, on_all_ranks=True)
    assert trainer is not None
    return trainer


def is_first() -> bool:
    """Return whether this process is the first rank, which alone writes files and messages."""
    return ranks.rank == 0


def size() -> int:
    """Return the number of ranks."""
    return ranks.size


def run(trainer: Trainer, in_python: bool = False, **how: Any) -> Path:
    """Run a Trainer, and return what `Trainer.run` returns. how: its arguments, for the first rank.

    The other ranks train their share of each batch without output. If the run is stopped or
    diverges, all ranks raise the exception. If an error has stopped it, the first rank says how to
    continue it: on the command line, or in Python.
    """
    try:
        with ranks.abort_on_error():
            grid = trainer.run(**(how if is_first() else {"progress": False}))
            ranks.maximum(0)  # wait until the first rank has written all files
        return grid
    except (Diverged, InUse):  # to continue does not help: it diverges again, or is in use
        raise
    except InputError as error:
        raise InputError(f"{error}; {how_to_resume(trainer, in_python)}") from error
    except (Exception, SystemExit):  # no memory, a mistake in the user's own code, sys.exit()
        say(f"stopped at step {trainer.step:,}; {how_to_resume(trainer, in_python)}")
        raise


def folder(trainer: Trainer) -> Path:
    """Return the folder of the run, which the first rank knows, on all ranks."""
    return Path(ranks.first_nonempty(str(trainer.out) if is_first() else ""))


def how_to_resume(trainer: Trainer, in_python: bool = False) -> str:
    """Return the sentence that says how to continue a run that has stopped, and from which step: on
    the command line, or in Python."""
    folder = trainer.out
    if not folder.is_dir():
        return f"the folder {folder} is gone"
    command = f"tinygan train --resume {quoted(folder)}"
    command += options_again(trainer.sources, trainer.settings)
    if in_python:
        trust = ", trust=True" * bool(trainer.sources)
        command = f"tinygan.train(resume={str(folder)!r}{trust})"
    return f"continue from step {checkpoint.last_step(folder)} with: {command}"
