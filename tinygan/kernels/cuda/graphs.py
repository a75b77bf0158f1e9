"""Recorded steps: a training step captured as a CUDA graph, which a GPU replays in one launch.

Python runs the step once as usual, and a second time to record it: that time, CUDA computes
nothing, but notes hundreds of kernels, and the addresses of the arrays that they work on. From then
on, each step *replays* them: one launch runs all of them. So

    * data that is new at each step comes through `backend.from_host`, into memory that is filled
      before each replay;
    * arrays that one step leaves to the next keep their addresses: weights and moments are written
      in place, and new buffers (running statistics) are copied into the old ones;
    * Python must not wait for a result, and the step must do the same operations each time.

With the plain kernels, Python runs the step each time: CuPy refuses to record its own matrix
products. recorded.py has the rest.
"""

import contextlib
import ctypes

import numpy as np

from tinygan import backend
from tinygan.backend import xp
from tinygan.errors import InputError

ALIGNMENT = 16  # bytes


class Workspace:
    """What graphs can share if they run one at a time.

    pool: the memory for the arrays of a step. stream: the step is recorded on it. upload_stream:
    constants are uploaded on it during the recording.
    """

    def __init__(self):
        self.pool = xp.cuda.MemoryPool(_allocate)
        self.stream, self.upload_stream = (xp.cuda.Stream(non_blocking=True) for _ in range(2))

    def __del__(self):  # CuPy 14 does not free the blocks of a pool that is deleted
        if getattr(self, "pool", None) is not None:
            self.pool.free_all_blocks()


def _allocate(size):
    """Allocate memory for the pool. Raises InputError if the GPU has none left.

    If CUDA's own error got through, the pool would free all blocks that are not in use at the
    moment. But these are the blocks that the graphs work on.
    """
    try:
        return xp.cuda.MemoryPointer(xp.cuda.Memory(size), 0)
    except xp.cuda.runtime.CUDARuntimeError as error:
        raise InputError(
            f"the GPU's memory is full while a step is recorded ({error}): set micro_batch, or "
            "TINYGAN_RECORD=0"
        ) from None


class _MeasuringTape:
    """The tape of the first run of a step, which is not recorded.

    It measures `size`, the bytes that the step takes from the host.
    """

    size = 0

    def __init__(self):
        self.expected = []

    def keep_alive(self, arrays):
        pass

    def cached(self, function, args):
        return function(*args)

    def constant(self, data, dtype):
        return xp.asarray(data, dtype=dtype)

    def varying(self, make):
        host_arrays, single = _host_arrays(make)
        self.size += sum(map(_aligned_size, host_arrays))
        arrays = tuple(xp.asarray(array) for array in host_arrays)
        return arrays[0] if single else arrays


class _RecordingTape:
    """The tape of a step that is recorded.

    All data that comes from the host at each step lies in one piece of host memory, and is uploaded
    as a whole to one piece of device memory, from which the graph reads it.
    """

    def __init__(self, size, upload_stream):
        self.host, self.device, self.used = np.zeros(size, np.uint8), xp.zeros(size, "uint8"), 0
        self.sources = []  # (make, [views of host memory for its arrays]), in the order of the step
        self.upload_stream, self.alive = upload_stream, []
        self.expected = []  # see backend.stays_the_same

    def keep_alive(self, arrays):
        """Keep a reference to arrays that the graph reads: it knows only their addresses."""
        self.alive += [*arrays] if isinstance(arrays, (list, tuple)) else [arrays]

    def cached(self, function, args):
        """Return function(*args), arrays that a cache holds."""
        arrays = function(*args)
        self.keep_alive(arrays)
        return arrays

    def constant(self, data, dtype):
        """Upload `data` now and only once, on a stream that is not recorded."""
        with self.upload_stream:
            array = xp.asarray(data, dtype=dtype)
            self.upload_stream.synchronize()
        self.keep_alive(array)
        return array

    def varying(self, make):
        """Return device arrays that hold the data of make() at every replay."""
        host_arrays, single = _host_arrays(make)
        views, arrays = [], []
        for array in host_arrays:
            part = slice(self.used, self.used + array.nbytes)
            self.used += _aligned_size(array)
            if self.used > len(self.host):
                raise RuntimeError(
                    "a recorded step takes more data from the host than it did the first time: a "
                    "step can be recorded only if it does the same operations each time"
                )
            view = self.host[part].view(array.dtype).reshape(array.shape)
            view[...] = array
            views.append(view)
            arrays.append(self.device[part].view(array.dtype).reshape(array.shape))
        self.sources.append((make, views))
        return arrays[0] if single else tuple(arrays)

    def refill(self):
        """Call every make() again, and put its data into host memory."""
        for make, views in self.sources:
            for view, array in zip(views, _host_arrays(make)[0], strict=True):
                view[...] = array

    def upload(self):
        self.device[...] = xp.asarray(self.host)


def _host_arrays(make):
    """Return (the arrays of make() as a list, whether make() returned a single array)."""
    result = make()
    single = not isinstance(result, tuple)
    return [np.asarray(array) for array in ((result,) if single else result)], single


def _aligned_size(array):
    return -(-array.nbytes // ALIGNMENT) * ALIGNMENT


class Graph:
    """function(), recorded as a CUDA graph.

    function() returns {name: array without dimensions}, or a tuple of such arrays. The first call
    runs it, which creates what it needs (moments, compiled kernels). The second call records it.
    From then on, each call is a replay: one launch, and one copy of the results.

    slots: a function that returns [(owner, attribute)] of the arrays that the step reads and
    replaces, such as a module's buffers.
    """

    settings, refused, has_reported = None, False, False  # see recorded.py

    def __init__(self, function, slots=list, workspace=None):
        self.function, self.slots, self.workspace = function, slots, workspace
        self.measured = self.tape = self.graph = None

    def is_recorded(self):
        return self.graph is not None

    def records_next(self):
        """Return False: keeping the state, to go back to it, would mean waiting for the GPU."""
        return False

    def __call__(self):
        if self.graph is not None and any(get() != value for get, value in self.tape.expected):
            self.measured = self.tape = self.graph = None
        if self.measured is None:
            self.measured = _MeasuringTape()
            with backend.use_tape(self.measured):
                return self.function()
        if self.graph is None:
            self._record()
        else:
            self.tape.refill()
        self.tape.upload()
        self._read_slots()
        self.graph.launch()
        values = self.results.copy()  # the next replay overwrites them
        return dict(zip(self.names, values)) if self.names else tuple(values)

    def _record(self):
        self.workspace = self.workspace or Workspace()
        xp.cuda.get_current_stream().synchronize()
        # The recording needs the memory that the first run has left.
        xp.get_default_memory_pool().free_all_blocks()
        tape = _RecordingTape(self.measured.size, self.workspace.upload_stream)
        stream = self.workspace.stream
        slots = [(owner, name, getattr(owner, name)) for owner, name in self.slots()]
        self.slot_arrays = [slot for slot in slots if isinstance(slot[2], xp.ndarray)]
        with xp.cuda.using_allocator(self.workspace.pool.malloc), stream, backend.use_tape(tape):
            stream.begin_capture()
            try:
                results = self.function()
                self._write_slots()
                values = list(results.values() if isinstance(results, dict) else results)
                self.names = list(results) if isinstance(results, dict) else None
                self.results = xp.empty(len(values), "float32")
                for i, value in enumerate(values):  # `stack` would upload a list of addresses
                    self.results[i] = value
            except BaseException:
                with contextlib.suppress(Exception):  # the capture is void; report why it failed
                    stream.end_capture()
                for owner, name, array in slots:  # arrays of the recording have no values
                    setattr(owner, name, array)
                raise
            self.tape, self.graph = tape, stream.end_capture()

    def _write_slots(self):
        """Copy the arrays that the step has put into slots back to those that it found there."""
        new = [getattr(owner, name) for owner, name, _ in self.slot_arrays]
        old = {id(array) for _, _, array in self.slot_arrays}
        # If one slot now holds the old array of another, copy it before it is overwritten.
        new = [
            array.copy() if id(array) in old and array is not before else array
            for array, (_, _, before) in zip(new, self.slot_arrays)
        ]
        for array, (owner, name, before) in zip(new, self.slot_arrays):
            if array is not before:
                before[...] = array
                setattr(owner, name, before)

    def _read_slots(self):
        """Copy arrays that have been put into slots since the last replay into the arrays that the
        graph reads."""
        for owner, name, array in self.slot_arrays:
            now = getattr(owner, name)
            if now is not array:
                array[...] = now
                setattr(owner, name, array)

    def launches(self):
        """Return how many kernels and copies the graph holds, or None if that is unknown.

        It is known only for recorded steps, and with CuPy 14 or newer, which keeps the graph.
        """
        address = getattr(self.graph, "graph", 0)
        if not address:
            return None
        count, driver = ctypes.c_size_t(), ctypes.CDLL("libcuda.so.1")
        status = driver.cuGraphGetNodes(ctypes.c_void_p(address), None, ctypes.byref(count))
        return None if status else count.value
