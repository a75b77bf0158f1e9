"""A step recorded as a CUDA graph: its hundreds of kernels, found by running Python once, are from then on one launch.

While Python runs the step, CUDA only takes down the kernels and the addresses that they work on. So

    * whatever is new at each step comes through `backend.from_host`, into memory that is filled before each launch;
    * whatever one step leaves to the next stays where it is: weights and moments are written in place, buffers (running
      statistics) are copied back to where the step found them;
    * no kernel may be waited for, and the step must take the same course each time.

The step runs as it is on a CPU, on the plain floor (CuPy refuses to record its own products), and
where TINYGAN_CUDA_GRAPHS=0.
"""

import contextlib
import ctypes

import numpy as np

from tinygan import backend
from tinygan.backend import xp
from tinygan.errors import InputError, from_environment

from .. import records_steps

ALIGNMENT = 16  # bytes


def _switch(text):
    if text not in ("0", "1"):
        raise InputError("choose 0 or 1")
    return text == "1"


enabled = from_environment("TINYGAN_CUDA_GRAPHS", "1", _switch)


class _Room:
    """What graphs that run one at a time can share: the memory that they work on, and the streams of the recording."""

    def __init__(self):
        self.pool = xp.cuda.MemoryPool(_allocate)
        self.stream, self.aside = (xp.cuda.Stream(non_blocking=True) for _ in range(2))

    def __del__(self):  # CuPy 14 leaves the blocks of a pool that is gone where they are
        if getattr(self, "pool", None) is not None:
            self.pool.free_all_blocks()


def _allocate(size):
    """Memory for the pool. A pool that is out of memory would, of CUDA's own error, free all blocks that are not in use just
    now, and those are what the graphs work on."""
    try:
        return xp.cuda.MemoryPointer(xp.cuda.Memory(size), 0)
    except xp.cuda.runtime.CUDARuntimeError as error:
        raise InputError(
            f"the GPU's memory is full while a step is recorded ({error}): set micro_batch, or "
            "TINYGAN_CUDA_GRAPHS=0"
        ) from None


class _Measured:
    """The tape of a step that runs as it is: how much comes from the host."""

    size = 0

    def keep(self, arrays):
        pass

    def constant(self, data, dtype):
        return xp.asarray(data, dtype=dtype)

    def varying(self, make):
        made, single = _made(make)
        self.size += sum(map(_room, made))
        arrays = tuple(xp.asarray(array) for array in made)
        return arrays[0] if single else arrays


class _Recorded:
    """The tape of a step that is recorded: what comes from the host each time has its place in one piece of memory."""

    def __init__(self, size, aside):
        self.host, self.device, self.used = np.zeros(size, np.uint8), xp.zeros(size, "uint8"), 0
        self.sources = []  # (make, [where in host memory]) in the order of the step
        self.aside, self.kept = aside, []

    def keep(self, arrays):
        """Hold on to arrays of which the graph knows but the addresses."""
        self.kept += [*arrays] if isinstance(arrays, (list, tuple)) else [arrays]

    def constant(self, data, dtype):
        with self.aside:  # beside the stream that is recorded: done once, and now
            array = xp.asarray(data, dtype=dtype)
            self.aside.synchronize()
        self.keep(array)
        return array

    def varying(self, make):
        made, single = _made(make)
        places, arrays = [], []
        for array in made:
            here = slice(self.used, self.used + array.nbytes)
            self.used += _room(array)
            if self.used > len(self.host):
                raise RuntimeError(
                    "a recorded step takes more from the host than when it was measured: it does not take "
                    "the same course each time"
                )
            place = self.host[here].view(array.dtype).reshape(array.shape)
            place[...] = array
            places.append(place)
            arrays.append(self.device[here].view(array.dtype).reshape(array.shape))
        self.sources.append((make, places))
        return arrays[0] if single else tuple(arrays)

    def refill(self):
        """What the step's sources give now."""
        for make, places in self.sources:
            for place, array in zip(places, _made(make)[0], strict=True):
                place[...] = array

    def upload(self):
        self.device[...] = xp.asarray(self.host)


def _made(make):
    """([arrays], is it a single one?) from the host."""
    made = make()
    single = not isinstance(made, tuple)
    return [np.asarray(array) for array in ((made,) if single else made)], single


def _room(array):
    return -(-array.nbytes // ALIGNMENT) * ALIGNMENT


class Graph:
    """function() -> {name: array of no dimensions}, or a tuple of them. The first call runs it, and so makes what it needs
    (moments, compiled kernels); the second records it; from then on, each is one launch, and one copy of the results.

    slots: () -> [(owner, attribute)] of arrays that the function reads and rebinds, such as a module's buffers.
    """

    def __init__(self, function, slots=list, room=None):
        self.function, self.slots, self.room = function, slots, room
        self.measured = self.tape = self.graph = None

    def __call__(self):
        if not enabled or not records_steps():
            return self.function()
        if self.measured is None:
            self.measured = _Measured()
            with _tape(self.measured):
                return self.function()
        if self.graph is None:
            self._record()
        else:
            self.tape.refill()
        self.tape.upload()
        self._settle()
        self.graph.launch()
        values = self.results.copy()  # the next launch writes over them
        return dict(zip(self.names, values)) if self.names else tuple(values)

    def _record(self):
        self.room = self.room or _Room()
        xp.cuda.get_current_stream().synchronize()
        xp.get_default_memory_pool().free_all_blocks()  # what the measured step has left, this one needs again
        tape, stream = _Recorded(self.measured.size, self.room.aside), self.room.stream
        slots = [(owner, name, getattr(owner, name)) for owner, name in self.slots()]
        self.before = [slot for slot in slots if isinstance(slot[2], xp.ndarray)]
        with xp.cuda.using_allocator(self.room.pool.malloc), stream, _tape(tape):
            stream.begin_capture()
            try:
                results = self.function()
                self._write_back()
                values = list(results.values() if isinstance(results, dict) else results)
                self.names = list(results) if isinstance(results, dict) else None
                self.results = xp.empty(len(values), "float32")
                for i, value in enumerate(
                    values
                ):  # not by `stack`, which uploads a list of addresses
                    self.results[i] = value
            except BaseException:
                with contextlib.suppress(Exception):  # the capture is void; what matters is why
                    stream.end_capture()
                for owner, name, array in slots:  # nothing that was bound since has been computed
                    setattr(owner, name, array)
                raise
            self.tape, self.graph = tape, stream.end_capture()

    def _write_back(self):
        """Copy what was rebound to where the step found it, and bind that again."""
        now = [getattr(owner, name) for owner, name, _ in self.before]
        found = {id(array) for _, _, array in self.before}
        now = [
            array.copy()
            if id(array) in found and array is not before
            else array  # or it might be overwritten first
            for array, (_, _, before) in zip(now, self.before)
        ]
        for array, (owner, name, before) in zip(now, self.before):
            if array is not before:
                before[...] = array
                setattr(owner, name, before)

    def _settle(self):
        """What others have bound since the last launch goes to where the graph will look for it."""
        for owner, name, array in self.before:
            now = getattr(owner, name)
            if now is not array:
                array[...] = now
                setattr(owner, name, array)

    def launches(self):
        """How many kernels and copies it holds (CuPy 14 or newer, which keeps the graph; else, or not recorded: None)."""
        address = getattr(self.graph, "graph", 0)
        if not address:
            return None
        count, driver = ctypes.c_size_t(), ctypes.CDLL("libcuda.so.1")
        status = driver.cuGraphGetNodes(ctypes.c_void_p(address), None, ctypes.byref(count))
        return None if status else count.value


class Graphs:
    """One Graph for each course that a step can take, by a key; None as key: a step that takes its own each time."""

    def __init__(self, slots):
        self.slots, self.graphs, self.room = slots, {}, None

    def run(self, key, function):
        if key is None or not records_steps():
            return function()
        if self.room is None:
            self.room = _Room()
        if key not in self.graphs:
            self.graphs[key] = Graph(function, self.slots, self.room)
        return self.graphs[key]()

    def clear(self):
        """Forget them, when arrays that they work on have been replaced."""
        self.graphs.clear()
        self.room = None


def capture(step, *modules, state=()):
    """`step`, which trains the modules once, as a function that a GPU runs as one launch: a recorded CUDA graph.

    step() takes no arguments and returns a tuple of arrays without dimensions, such as losses (`loss.data`). It must do the
    same operations each time, and wait for none of their results; what is new each time, batches and random draws, comes
    through `tinygan.from_host` (`backend.normal` and all layers use it). state: (owner, attribute) of arrays, besides the
    modules' buffers, that it replaces and reads again the next time. The first call runs it as it is, the second records
    it. On a CPU every call runs it as it is.
    """
    slots = [
        *state,
        *((owner, name) for module in modules for _, owner, name in module.buffer_slots()),
    ]
    graph = Graph(step, lambda: slots)

    def run():
        results = graph()
        for module in modules:
            module.mark_changed()
        return results

    run.graph = graph
    return run


@contextlib.contextmanager
def _tape(tape):
    before, backend.tape = backend.tape, tape
    try:
        yield
    finally:
        backend.tape = before
