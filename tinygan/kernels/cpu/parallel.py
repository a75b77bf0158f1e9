"""Threads, blocks and scratch buffers of the fast kernels on a CPU.

NumPy releases the interpreter lock inside copies, ufuncs and BLAS, so Python threads that work on
different blocks of a batch run at once. Meanwhile BLAS is limited to one thread: its own threads
would compete with ours, and the bits of its results would depend on their number.

Work is cut into blocks by shape alone, never by the number of threads, so one core and sixteen give
the same bits.

Nothing here needs the interpreter lock: threads take items from a deque, whose methods are atomic
also in a free-threaded Python; scratch buffers and flags belong to a thread, and a lock guards the
rest.
(Elsewhere, the lock is needed: see "Threads" in kernels/README.md.)
"""

import collections
import contextlib
import contextvars
import math
import os
import queue
import sys
import threading
import weakref

import numpy as np

from tinygan.errors import InputError, from_environment

ALIGNMENT = 64  # bytes: a cache line, and the widest vector register


class _State(threading.local):
    busy = False  # is this thread already working on a block?
    recording = None  # the Recording (recording.py) of the step that this thread records


_state = _State()
_scratch = threading.local()
_lock = threading.Lock()
_pool = None
_blas = None  # threadpoolctl's handles of the BLAS libraries
_blas_threads = None  # their numbers of threads before they were limited to one
# The `with` blocks that limit them; weak, because an interrupt may end a block before its exit is
# set up.
_blas_limits = weakref.WeakSet()


def _thread_count(text):
    if not str(text).isdecimal() or int(text) < 1:
        raise InputError("the number of threads must be a whole number, 1 or more")
    return int(text)


def cores() -> int:
    """Return how many of the processor's cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_threads = from_environment("TINYGAN_NUM_THREADS", cores(), _thread_count)


def num_threads() -> int:
    """Return how many threads the kernels use: TINYGAN_NUM_THREADS, by default `cores()`."""
    return _threads


def set_num_threads(n: int) -> None:
    """Use `n` threads from now on. This changes the speed, but never a result."""
    global _threads
    _threads = _thread_count(n)


class single_threaded_blas:
    """`with single_threaded_blas():` limits BLAS to one thread.

    The outermost block costs 20 microseconds, nested ones nearly nothing. So a training run enters
    one at its start.
    """

    def __enter__(self):
        global _blas_threads
        with _lock:
            if not _blas_limits:
                libraries = _libraries()
                if _blas_threads is None:
                    _blas_threads = [library.get_num_threads() for library in libraries]
                for library in libraries:
                    library.set_num_threads(1)
            _blas_limits.add(self)
        return self

    def __exit__(self, *exception):
        global _blas_threads
        with _lock:
            _blas_limits.discard(self)
            if not _blas_limits and _blas_threads is not None:
                for library, n in zip(_libraries(), _blas_threads):
                    library.set_num_threads(n)
                _blas_threads = None


def _libraries():
    """Return the BLAS libraries, whose number of threads the calling thread may now set."""
    global _blas
    if _blas is None:
        from threadpoolctl import ThreadpoolController

        _blas = ThreadpoolController().select(user_api="blas").lib_controllers
    for library in _blas:
        # Otherwise newer versions of threadpoolctl obey only the thread that came first.
        if hasattr(library, "clear_controlling_thread"):
            library.clear_controlling_thread(force=True)
    return _blas


def run(function, items, shared=True) -> None:
    """Call function(item) for every item, on `num_threads()` threads. Return when all are done.

    The items must write to different memory. If `shared` is False (for small items), or if `run` is
    called from inside an item, the items run in this thread. BLAS uses one thread in any case, so
    the bits are the same. After an error or an interrupt, no further item begins, and those that
    have begun end before it is raised.
    """
    items = list(items)
    if _state.recording is not None:
        return _state.recording.run(function, items, shared)
    workers = min(_threads, len(items)) if shared and not _state.busy else 1
    with single_threaded_blas():
        if workers <= 1:
            for item in items:
                function(item)
            return
        rest = collections.deque(items)  # each thread takes the next item
        helpers = [_Helper(function, rest) for _ in range(workers - 1)]
        _state.busy = True
        try:
            for helper in helpers:
                _submit(helper)
            for item in _taken_from(rest):
                function(item)
        finally:
            _state.busy = False
            rest.clear()
            for helper in helpers:
                helper.wait()
        for helper in helpers:
            if helper.error is not None:
                # Clear it, or the error and the helper would keep each other alive.
                error, helper.error = helper.error, None
                raise error


def run_all(tasks) -> None:
    """Call every task(), on threads as in `run`."""
    run(lambda task: task(), tasks)


def _taken_from(items):
    """Yield items of a deque, from which other threads take items, too, until it is empty."""
    while True:
        try:
            item = items.popleft()
        except IndexError:
            return
        yield item


class _Helper:
    """One additional thread's part in a `run`: it takes items, once it is awake, until none is
    left.

    Whoever gets the lock `start` first decides: the thread begins, or the caller calls it off.
    """

    def __init__(self, function, items):
        self.function, self.items, self.error, self.finished = function, items, None, False
        self.start, self.done = threading.Lock(), threading.Lock()
        self.done.acquire()
        self.context = contextvars.copy_context()  # it contains NumPy's errstate

    def work(self):
        if not self.start.acquire(blocking=False):
            return
        try:
            for item in _taken_from(self.items):
                self.context.run(self.function, item)
        except BaseException as error:
            self.error = error
            self.items.clear()
        finally:
            self.finished = True
            self.done.release()

    def wait(self):
        """Call the helper off, or wait for its end.

        It writes into the caller's arrays, so an interrupt has to wait for it too.
        """
        if self.start.acquire(blocking=False):
            return
        interrupt = None
        while not self.finished:
            try:
                self.done.acquire(timeout=1)
            except KeyboardInterrupt as error:
                interrupt = error
        if interrupt is not None:
            raise interrupt


def _submit(helper):
    """Let a thread of the pool run `helper`. (A ThreadPoolExecutor takes 20 us longer.)"""
    global _pool
    with _lock:
        if _pool is None:
            _pool = _Pool()
        _pool.grow(_threads - 1)
    if _pool.size:
        _pool.waiting.put(helper)


def _forget_threads():
    """Start afresh in a forked child: threads do not survive a fork."""
    global _pool, _lock, _state
    _pool, _lock, _state = None, threading.Lock(), _State()
    _blas_limits.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


class _Pool:
    """Threads that sleep until a helper is queued. They live as long as the process."""

    def __init__(self):
        self.size, self.waiting = 0, queue.SimpleQueue()

    def grow(self, size):
        while self.size < size:
            thread = threading.Thread(
                target=self._serve, name=f"tinygan-{self.size + 1}", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:  # the system allows no more threads: go on with fewer
                return
            self.size += 1

    def _serve(self):
        _state.busy = True
        for library in _libraries():
            # With OpenMP, every thread has a number of its own.
            if getattr(library, "threading_layer", None) == "openmp":
                library.set_num_threads(1)
        while True:
            self.waiting.get().work()


def recording():
    """Return the Recording of the step that this thread records, or None."""
    return _state.recording


@contextlib.contextmanager
def using(new_recording):
    """While the block runs, `recording()` returns `new_recording`."""
    before, _state.recording = _state.recording, new_recording
    try:
        yield
    finally:
        _state.recording = before


def branch(condition, then, otherwise):
    """Return then() if the condition, an array of one element, is true, otherwise otherwise().

    A recorded step contains both, and each replay takes one. So both must return arrays of the same
    shape and dtype (or tuples of these, or None). A number stands for an array full of it.
    """
    if _state.recording is not None:
        return _state.recording.branch(condition, then, otherwise)
    return then() if condition else otherwise()


def nothing() -> None:
    """The side of a `branch` on which nothing is to be done."""


def keep_memory() -> None:
    """Let the C library keep freed memory for the next array instead of returning it to the system.

    Otherwise a training step may map and unmap its activations again and again, and each time the
    system clears every page. Works with glibc (Linux); elsewhere it does nothing.
    """
    if libc := _c_library():
        # M_MMAP_THRESHOLD (-3), as large as this glibc allows. With M_TRIM_THRESHOLD (-1) alone,
        # every array would still be mapped afresh.
        if hasattr(libc, "mallopt") and (libc.mallopt(-3, 1 << 30) or libc.mallopt(-3, 1 << 25)):
            libc.mallopt(-1, 1 << 30)


def release_memory() -> None:
    """Return freed memory to the system. Works with glibc (Linux); elsewhere it does nothing."""
    if hasattr(libc := _c_library(), "malloc_trim"):
        libc.malloc_trim(0)


def _c_library():
    """Return the C library of this process on Linux, otherwise None."""
    if sys.platform != "linux":
        return None
    import ctypes

    return ctypes.CDLL(None)


def scratch(name: str, shape: tuple, dtype) -> np.ndarray:
    """Return an uninitialised buffer of this thread, which is reused whenever this thread asks for
    the same name.

    A new large array costs page faults when it is first touched. The pages of this buffer, and
    often its cache lines, are already there. It is valid until the same thread asks for the same
    name again. Asking again for the same shape costs two look-ups in dictionaries. It must be
    fast, since every block does it while holding the interpreter lock.
    """
    if _state.recording is not None:
        return _state.recording.empty(shape, dtype)
    views = vars(_scratch).get(name)
    if views is None:
        views = vars(_scratch)[name] = {}
    view = views.get((shape, dtype))
    if view is None:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        buffer = views.get("buffer")
        if buffer is None or buffer.size < size + ALIGNMENT:
            views.clear()  # the views of the smaller buffer would keep it alive
            buffer = views["buffer"] = np.empty(size + ALIGNMENT, np.uint8)
        start = -buffer.ctypes.data % ALIGNMENT
        view = views[shape, dtype] = buffer[start : start + size].view(dtype).reshape(shape)
    return view


# Elements in a block: its arrays together should stay in a core's own cache.
BLOCK = 1 << 17
SMALL = 1 << 14  # elements below which cutting and reshaping cost more than they save
# Elements above which a second thread saves more than the 50 microseconds that it takes to wake it.
SHARED = 1 << 19


def for_each_block(function, arrays, rows=()) -> None:
    """Call function(*blocks, *rows) on matching blocks of all `arrays`, which have the same shape.

    A chain of NumPy calls on whole arrays goes to main memory and back at every call; on a block,
    it does so only at the first call and the last.

    rows: vectors (C,) that broadcast along the last axis, of length C. NumPy starts anew at every
    row of a matrix, which for rows of 64 numbers costs more than the arithmetic. So the vectors
    arrive repeated several times, and the blocks as matrices of the same width.
    """
    size = arrays[0].size
    if size <= SMALL:
        return function(*arrays, *rows)
    # This may copy arrays that are read; those that are written are C-contiguous.
    flat = [array.reshape(-1) for array in arrays]
    width = 1
    if rows:
        channels = len(rows[0])
        times = math.gcd(size // channels, max(1, 1 << (1024 // channels).bit_length()))
        rows = [np.tile(row, times) for row in rows]
        width = channels * times
        flat = [array.reshape(-1, width) for array in flat]
    parts = blocks(size // width, max(1, BLOCK // width))
    run(lambda part: function(*(array[part] for array in flat), *rows), parts, size > SHARED)


def map_row_blocks(function, *matrices) -> list:
    """Return [function(*blocks)] for matching blocks of rows of matrices (rows, C), in order."""
    rows, width = matrices[0].shape
    parts = blocks(rows, max(1, BLOCK // width))
    results = [None] * len(parts)

    def work(i):
        results[i] = function(*(matrix[parts[i]] for matrix in matrices))

    run(work, range(len(parts)), matrices[0].size > SHARED)
    return results


def blocks(count: int, size: int) -> list:
    """Return slices that cover range(count), of about equal length and no longer than `size`.

    If there are several, their number is even (unless each has length 1).
    """
    parts = -(-count // max(1, size))
    if 1 < parts < count:
        parts += parts % 2  # else one of two threads would wait for the last block of the other
    return [slice(i * count // parts, (i + 1) * count // parts) for i in range(parts)]
