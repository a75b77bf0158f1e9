"""Several processes that train one run: the ranks of MPI, started by `mpiexec -n K`.

Each rank has a share of every batch: rank r of K has the images r, r + K, r + 2K, ... . With this
stride, the groups of minibatch stddev are the same as in the whole batch. Each rank draws the
random numbers of the whole batch, and keeps its share, so the states of the generators are the same
on all ranks, and the same as on one process. Within `sharing_batches`, a mean over the batch is the
mean over ranks of each rank's mean.

Without MPI there is one rank, and these functions do nothing. Outside `sharing_batches`, each rank
has whole batches, and `mean` and `share` return their argument.
"""

import contextlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tinygan import batch, errors, screen
from tinygan.errors import InputError
from tinygan.files import checkpoint

# The environment variables from which a process learns its rank and the number of ranks, as set by
# mpiexec of Open MPI, MVAPICH and MPICH, and by Slurm's srun --mpi=pmix.
LAUNCHERS = (
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
    ("PMIX_RANK", "SLURM_STEP_NUM_TASKS"),
)
SPINS = 2000  # tests of a request before we sleep between tests
MESSAGE_BYTES = 2000

size, rank = 1, 0  # the number of ranks, and the rank of this process
_world = None  # the communicator of all ranks


def join() -> None:
    """Make this process one of the ranks that mpiexec has started.

    It does nothing without mpiexec, or with TINYGAN_MPI=0. Otherwise, from now on only the first
    rank prints the warnings and errors that all ranks raise. Raises InputError if mpi4py is
    missing, or belongs to a different MPI from mpiexec's.
    """
    global size, rank, _world
    processes = next(
        (os.environ[n] for r, n in LAUNCHERS if r in os.environ and n in os.environ), "1"
    )
    if _world is not None or processes == "1" or os.environ.get("TINYGAN_MPI") == "0":
        return
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise InputError(
            "training on several ranks needs mpi4py, and the MPI of this mpiexec: run "
            f"pip install 'tinygan[mpi]' ({' '.join(str(error).split())})"
        ) from None
    if str(MPI.COMM_WORLD.size) != processes:
        raise InputError(
            f"mpiexec has started {processes} processes, but mpi4py sees {MPI.COMM_WORLD.size}: it "
            "belongs to another MPI. Run pip install --force-reinstall 'tinygan[mpi]', or set "
            "TINYGAN_MPI=0 to train without MPI"
        )
    _world = MPI.COMM_WORLD
    size, rank = _world.size, _world.rank
    errors.quiet = rank > 0


def ranks_on_this_machine() -> int:
    """Return the number of ranks on this machine, as mpiexec reports it, or else the number of all
    ranks."""
    return int(
        os.environ.get("OMPI_COMM_WORLD_LOCAL_SIZE") or os.environ.get("MPI_LOCALNRANKS") or size
    )


def abort(code: int) -> None:
    """End all ranks at once, with this exit code."""
    if _world is not None:
        _world.Abort(code)


def requests_to_stop(out: Path, options: str = "") -> contextlib.AbstractContextManager[Any]:
    """Take signals as requests to stop the run in the folder `out`, while a block runs: see
    errors.requests_to_stop. options: with which a command continues the run. In a terminal, say
    that the step is finished first, which may take seconds.

    With several ranks, SIGUSR1 is one too, because mpiexec passes it on without killing the ranks.
    Soon after any other signal it kills them, so the message may be the last chance to say how to
    resume.
    """

    def on_first():
        if size > 1 and rank == 0:
            screen.write_at_once(
                "tinygan: stopping; if this step is not saved in time, continue from step "
                f"{checkpoint.last_step(out)} with: "
                f"tinygan train --resume {errors.quoted(out)}{options}\n"
            )
        elif size == 1 and sys.stderr and sys.stderr.isatty():
            screen.write_at_once(
                "\ntinygan: finishing this step, and saving it (a second Ctrl-C ends the run at "
                f"once; it then continues from step {checkpoint.last_step(out)})\n"
            )

    names = ["SIGINT", "SIGTERM", *["SIGUSR1"] * (size > 1)]
    return errors.requests_to_stop(names, on_first, lambda number: abort(128 + number))


@contextlib.contextmanager
def abort_on_error() -> Iterator[None]:
    """If this rank alone raises an exception in the block, print it and end all ranks, because the
    others would wait for this one for ever. Exceptions that all ranks raise are passed on."""
    try:
        yield
    except BaseException as error:
        if size == 1 or getattr(error, "on_all_ranks", False):
            raise
        if isinstance(error, KeyboardInterrupt):
            abort(128 + getattr(error, "signal", signal.SIGINT))
        errors.quiet = False
        if isinstance(error, (InputError, OSError, MemoryError)):
            errors.say(f"error: {error} (rank {rank} of {size})")
        else:
            traceback.print_exc(file=screen.Display(sys.stderr))
        screen.Display(sys.stderr).flush()
        abort(2)


@contextlib.contextmanager
def sharing_batches(enabled: bool = True) -> Iterator[None]:
    """Share batches among the ranks while the block runs. All ranks must be in the block at the
    same time. enabled=False: each rank computes on its own."""
    shared = enabled and size > 1
    previous, batch.holder = batch.holder, SharedBatch() if shared else batch.WholeBatch()
    try:
        yield
    finally:
        batch.holder = previous


class SharedBatch:
    """The `batch.holder` of layers while each rank has a share of the batch."""

    @property
    def shares(self):
        return size

    def mean(self, array):
        return mean_of([np.asarray(array)])[0]

    def share(self, array):
        return array[rank::size]


def shares() -> int:
    """Return the number of ranks that share each batch: 1 outside `sharing_batches`."""
    return batch.shares()


def share(array):
    """Return this rank's share of an array or Tensor (N, ...)."""
    return batch.holder.share(array)


def mean(array):
    """Return the mean over ranks of an array of floats: a new array, the same on all ranks."""
    return batch.mean(array)


def mean_of(arrays) -> list:
    """Return the mean over ranks of each array in a list (None stays None). All arrays are reduced
    together, in one flat buffer."""
    present = [array for array in arrays if array is not None]
    if shares() == 1 or not present:
        return list(arrays)
    dtype = np.result_type(*present)
    flat = np.concatenate([np.asarray(array, dtype).ravel() for array in present])
    _reduce(flat, "SUM")
    flat /= size
    parts = iter(np.split(flat, np.cumsum([array.size for array in present])))
    return [
        None if array is None else next(parts).reshape(array.shape).astype(array.dtype, copy=False)
        for array in arrays
    ]


def mean_numbers(numbers) -> dict:
    """Return the mean over ranks of each value in {name: float}."""
    if shares() == 1:
        return numbers
    values = np.array([float(value) for value in numbers.values()])
    return dict(zip(numbers, mean(values).tolist()))


def maximum(number: int) -> int:
    """Return the largest of the integers with which the ranks call this function."""
    if size == 1:
        return number
    numbers = np.array([number])
    _reduce(numbers, "MAX")
    return int(numbers[0])


def broadcast(arrays) -> None:
    """Overwrite the arrays of all ranks with those of the first rank."""
    for array in arrays if size > 1 else ():
        contiguous = np.ascontiguousarray(array)
        _wait(_world.Ibcast(contiguous, 0))
        array[...] = contiguous


def first_nonempty(text: str) -> str:
    """Return the text of the first rank whose text is not empty; "" if all are empty."""
    if size == 1:
        return text
    encoded = text.encode(errors="backslashreplace")[:MESSAGE_BYTES]
    own = np.frombuffer(encoded.ljust(MESSAGE_BYTES, b"\0"), np.uint8)
    buffer = np.empty((size, MESSAGE_BYTES), np.uint8)
    _wait(_world.Iallgather(own.copy(), buffer))
    texts = [row.tobytes().rstrip(b"\0").decode(errors="ignore") for row in buffer]
    return next(filter(None, texts), "")


def _reduce(array, name):
    from mpi4py import MPI

    _wait(_world.Iallreduce(MPI.IN_PLACE, array, getattr(MPI, name)))


def _wait(request):
    """Wait until all ranks have taken part in a request.

    The loop is in Python, so that signals are handled meanwhile. After SPINS tests, it sleeps
    between tests, to leave the processor to a rank that is busy, for example with pictures.
    """
    spins = 0
    while not request.Test():
        spins += 1
        time.sleep(0 if spins < SPINS else 0.0005)


class Generator(np.random.Generator):
    """np.random.default_rng(seed) for ranks.

    Within `sharing_batches`, draws with a shape (N, ...), one for each image, are this rank's share
    of the draws (K N, ...) for the whole batch.
    """

    def __init__(self, seed):
        super().__init__(np.random.PCG64(seed))

    def standard_normal(self, size=None, *args, **settings):
        return self._share(super().standard_normal, size, args, settings)

    def random(self, size=None, *args, **settings):
        return self._share(super().random, size, args, settings)

    def integers(self, low, high=None, size=None, **settings):
        draw = lambda size: super(Generator, self).integers(low, high, size, **settings)
        return self._share(draw, size, (), {})

    def _share(self, draw, size, args, settings):
        if shares() == 1 or size is None:  # a number that all images share
            return draw(size, *args, **settings)
        n, *rest = (size,) if isinstance(size, int) else size
        return share(draw((n * shares(), *rest), *args, **settings))
