"""Several processes that train one run: the ranks of MPI, started by `mpiexec -n K`.

A batch is shared out: rank r of K has the images r, r + K, r + 2K, ... of it, so that groups
strided through a batch (minibatch stddev) are those of the whole. Each rank draws the random
numbers of the whole batch, and keeps its share: the generators' states are the same on all ranks,
and those of one process. What is a mean over the batch becomes, `together`, the mean over ranks of
each one's mean.

Without MPI, or outside of `together`, there is one rank, and everything here does nothing.
"""

import contextlib
import os
import signal
import sys
import time
import traceback

import numpy as np

from tinygan import batch, errors
from tinygan.errors import InputError

# What tells a process its rank, and how many there are: mpiexec of Open MPI, MVAPICH, MPICH, and
# Slurm's srun --mpi=pmix.
LAUNCHERS = (
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
    ("PMIX_RANK", "SLURM_STEP_NUM_TASKS"),
)
SPINS = 2000  # looks at whether the others have come, before we sleep between them
MESSAGE = 2000  # bytes

size, rank = 1, 0
_world = None  # the communicator of all ranks


def join() -> None:
    """Become one of the ranks that mpiexec has started; without it, or with TINYGAN_MPI=0, nothing
    happens. Of ranks but the first, warnings and errors that all have are silent from now on.
    Raises InputError if mpi4py is missing, or of another MPI than mpiexec."""
    global size, rank, _world
    told = next((os.environ[n] for r, n in LAUNCHERS if r in os.environ and n in os.environ), "1")
    if _world is not None or told == "1" or os.environ.get("TINYGAN_MPI") == "0":
        return
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise InputError(
            "to train on several ranks takes mpi4py, and the MPI of this mpiexec: "
            f"pip install 'tinygan[mpi]' ({' '.join(str(error).split())})"
        ) from None
    if str(MPI.COMM_WORLD.size) != told:
        raise InputError(
            f"mpiexec has started {told} processes, but mpi4py sees "
            f"{MPI.COMM_WORLD.size}: it is of another MPI (pip install "
            "--force-reinstall 'tinygan[mpi]'; TINYGAN_MPI=0 trains without)"
        )
    _world = MPI.COMM_WORLD
    size, rank = _world.size, _world.rank
    errors.quiet = rank > 0


def beside() -> int:
    """How many ranks there are on this machine, as far as mpiexec tells."""
    return int(
        os.environ.get("OMPI_COMM_WORLD_LOCAL_SIZE") or os.environ.get("MPI_LOCALNRANKS") or size
    )


def abort(code) -> None:
    """End all ranks at once, with that exit code."""
    if _world is not None:
        _world.Abort(code)


@contextlib.contextmanager
def aborting():
    """What goes wrong on one rank alone is told, and ends all of them: the others would wait for it
    for ever."""
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
            traceback.print_exc()
        sys.stderr.flush()
        abort(2)


@contextlib.contextmanager
def sharing_batches(yes=True):
    """All ranks are in this block at once, each with its share of a batch; if not yes, each is by
    itself."""
    before, batch.holder = batch.holder, Shares() if yes and size > 1 else batch.WholeBatch()
    try:
        yield
    finally:
        batch.holder = before


class Shares:
    """What layers find in `batch.holder`: every rank has a share of the batch."""

    @property
    def shares(self):
        return size

    def mean(self, array):
        return mean_of([np.asarray(array)])[0]

    def share(self, array):
        return array[rank::size]


def count() -> int:
    """Of how many ranks each has a share of the batch now: 1 outside of `together`."""
    return batch.shares()


def share(array):
    """This rank's share of an array or Tensor (N, ...)."""
    return batch.holder.share(array)


def mean(array):
    """The mean over ranks of an array of floats: a new array, the same on all of them."""
    return batch.mean(array)


def mean_of(arrays) -> list:
    """The mean over ranks of each array of a list (None stays None), by one flat buffer."""
    there = [array for array in arrays if array is not None]
    if count() == 1 or not there:
        return list(arrays)
    dtype = np.result_type(*there)
    flat = np.concatenate([np.asarray(array, dtype).ravel() for array in there])
    _reduce(flat, "SUM")
    flat /= size
    parts = iter(np.split(flat, np.cumsum([array.size for array in there])))
    return [
        None if array is None else next(parts).reshape(array.shape).astype(array.dtype, copy=False)
        for array in arrays
    ]


def mean_numbers(numbers) -> dict:
    """The mean over ranks of each of {name: float}."""
    if count() == 1:
        return numbers
    values = np.array([float(value) for value in numbers.values()])
    return dict(zip(numbers, mean(values).tolist()))


def largest(number) -> int:
    """The largest of the whole numbers that all ranks have come with."""
    if size == 1:
        return number
    found = np.array([number])
    _reduce(found, "MAX")
    return int(found[0])


def broadcast(arrays) -> None:
    """Overwrite the arrays of all ranks with those of the first."""
    for array in arrays if size > 1 else ():
        whole = np.ascontiguousarray(array)
        _wait(_world.Ibcast(whole, 0))
        array[...] = whole


def first(text) -> str:
    """Of the texts of all ranks, the first that is not empty."""
    if size == 1:
        return text
    own = np.frombuffer(
        text.encode(errors="backslashreplace")[:MESSAGE].ljust(MESSAGE, b"\0"), np.uint8
    )
    texts = np.empty((size, MESSAGE), np.uint8)
    _wait(_world.Iallgather(own.copy(), texts))
    told = [row.tobytes().rstrip(b"\0").decode(errors="ignore") for row in texts]
    return next(filter(None, told), "")


def _reduce(array, name):
    from mpi4py import MPI

    _wait(_world.Iallreduce(MPI.IN_PLACE, array, getattr(MPI, name)))


def _wait(request):
    """Wait until all ranks have come: in Python, so that signals are seen meanwhile. Who waits
    long, for a rank that draws pictures, say, leaves it the processor."""
    spins = 0
    while not request.Test():
        spins += 1
        time.sleep(0 if spins < SPINS else 0.0005)


class Generator(np.random.Generator):
    """np.random.default_rng(seed), whose draws for each image, those with a shape (N, ...), are
    this rank's share of those for the whole batch (K N, ...), `together`."""

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
        if count() == 1 or size is None:  # a number for all of the batch
            return draw(size, *args, **settings)
        n, *rest = (size,) if isinstance(size, int) else size
        return share(draw((n * count(), *rest), *args, **settings))
