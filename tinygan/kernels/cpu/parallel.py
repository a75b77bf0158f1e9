"""The one place that knows threads.

NumPy releases the interpreter lock inside copies, ufuncs and BLAS, so Python threads that each take
blocks of a batch do run at once. BLAS itself is held at one thread meanwhile: its own threads would
compete with ours, and the bits of its results would depend on how many there are.

Work is cut into blocks by shape alone, never by the number of threads, so results are the same bits
on one core and on sixteen.
"""

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
    inside = False  # is this thread already working on a block?


_state = _State()
_scratch = threading.local()
_lock = threading.Lock()
_pool = None
_blas = None  # threadpoolctl's handles of the BLAS libraries
_before = None  # their numbers of threads before they were held at one
_holds = (
    weakref.WeakSet()
)  # who holds them; weak, because an interrupt may end a block before its exit is set up


def _count(text):
    if not str(text).isdecimal() or int(text) < 1:
        raise InputError("the number of threads is a whole number, 1 or more")
    return int(text)


def cores() -> int:
    """How many of the processor's cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_threads = from_environment("TINYGAN_NUM_THREADS", cores(), _count)


def num_threads() -> int:
    """How many threads the kernels use: TINYGAN_NUM_THREADS, by default one for each core that we may use."""
    return _threads


def set_num_threads(n: int) -> None:
    """Use `n` threads from now on. Never changes a result, only its speed."""
    global _threads
    _threads = _count(n)


class single_threaded_blas:
    """`with single_threaded_blas():` holds BLAS at one thread. Nearly free when nested, so a training run enters it
    once (it costs 20 us)."""

    def __enter__(self):
        global _before
        with _lock:
            if not _holds:
                libraries = _libraries()
                if _before is None:
                    _before = [library.get_num_threads() for library in libraries]
                for library in libraries:
                    library.set_num_threads(1)
            _holds.add(self)
        return self

    def __exit__(self, *exception):
        global _before
        with _lock:
            _holds.discard(self)
            if not _holds and _before is not None:
                for library, n in zip(_libraries(), _before):
                    library.set_num_threads(n)
                _before = None


def _libraries():
    """The BLAS libraries, ready to be told their number of threads by the thread that asks."""
    global _blas
    if _blas is None:
        from threadpoolctl import ThreadpoolController

        _blas = ThreadpoolController().select(user_api="blas").lib_controllers
    for library in _blas:
        if hasattr(
            library, "clear_controlling_thread"
        ):  # or newer threadpoolctl obeys only whoever asked first
            library.clear_controlling_thread(force=True)
    return _blas


def run(function, items, shared=True) -> None:
    """Call function(item) for every item, on as many threads as there are; return when all are done.

    The items must write to different places. Called from inside an item, or if not `shared` because they are
    small, they run in this thread. BLAS is at one thread in any case, so the bits are the same. After an error or
    an interrupt, no further item begins, and those that have begun end before it is raised.
    """
    items = list(items)
    workers = min(_threads, len(items)) if shared and not _state.inside else 1
    with single_threaded_blas():
        if workers <= 1:
            for item in items:
                function(item)
            return
        rest = iter(
            items
        )  # each thread takes the next item (under the interpreter lock that is atomic)
        helpers = [_Helper(function, rest) for _ in range(workers - 1)]
        _state.inside = True
        try:
            for helper in helpers:
                _submit(helper)
            for item in rest:
                function(item)
        finally:
            _state.inside = False
            for _ in rest:
                pass
            for helper in helpers:
                helper.wait()
        for helper in helpers:
            if helper.error is not None:
                error, helper.error = (
                    helper.error,
                    None,
                )  # or error and helper would keep each other alive
                raise error


def run_all(tasks) -> None:
    """Call every task(), as `run` does."""
    run(lambda task: task(), tasks)


class _Helper:
    """One more thread's part in a `run`: whatever it gets of the items, once it is awake."""

    def __init__(self, function, items):
        self.function, self.items, self.error, self.finished = function, items, None, False
        self.turn, self.done = (
            threading.Lock(),
            threading.Lock(),
        )  # turn: it takes it to begin, or we to call it off
        self.done.acquire()
        self.context = contextvars.copy_context()  # NumPy's errstate is in there

    def work(self):
        if not self.turn.acquire(blocking=False):
            return
        try:
            for item in self.items:
                self.context.run(self.function, item)
        except BaseException as error:
            self.error = error
            for _ in self.items:
                pass
        finally:
            self.finished = True
            self.done.release()

    def wait(self):
        """Until it has done what it began: it writes into our arrays, so an interrupt has to wait too."""
        if self.turn.acquire(blocking=False):
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
    """Have a thread of the pool work for `helper`. (A ThreadPoolExecutor takes 20 microseconds longer.)"""
    global _pool
    with _lock:
        if _pool is None:
            _pool = _Pool()
        _pool.grow(_threads - 1)
    if _pool.size:
        _pool.waiting.put(helper)


def _forget_threads():  # threads do not survive a fork; the child makes its own
    global _pool, _lock, _state
    _pool, _lock, _state = None, threading.Lock(), _State()
    _holds.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


class _Pool:
    """Threads that sleep until there is work. They live as long as the process."""

    def __init__(self):
        self.size, self.waiting = 0, queue.SimpleQueue()

    def grow(self, size):
        while self.size < size:
            thread = threading.Thread(
                target=self._serve, name=f"tinygan-{self.size + 1}", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:  # the system gives us no more: those that there are will do
                return
            self.size += 1

    def _serve(self):
        _state.inside = True
        for library in _libraries():
            if (
                getattr(library, "threading_layer", None) == "openmp"
            ):  # there the number is each thread's own
                library.set_num_threads(1)
        while True:
            self.waiting.get().work()


def keep_memory() -> None:
    """Ask the C library to keep freed memory for the next array, instead of handing it back to the system.

    Otherwise a training step may map and unmap its activations over and over, and the system clears every page
    again. Known to glibc (Linux); elsewhere it does nothing.
    """
    if sys.platform == "linux":
        import ctypes

        libc = ctypes.CDLL(None)
        # M_MMAP_THRESHOLD (-3), as large as this glibc allows; M_TRIM_THRESHOLD (-1) alone would map every array afresh.
        if hasattr(libc, "mallopt") and (libc.mallopt(-3, 1 << 30) or libc.mallopt(-3, 1 << 25)):
            libc.mallopt(-1, 1 << 30)


def scratch(name: str, shape: tuple, dtype) -> np.ndarray:
    """An uninitialised buffer of this thread's own, reused by every caller of the same name.

    Fresh large arrays cost page faults on first touch; this one's pages, and often its cache lines, are
    already there. Valid until the same thread asks for the same name again. (Asking again for the same shape
    is one look into a dictionary: blocks do so all the time, and threads wait for whoever holds the
    interpreter lock.)
    """
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


# Elements of a block in `elementwise`: its arrays together should stay in a core's own cache.
BLOCK = 1 << 17
SMALL = 1 << 14  # elements for which cutting and reshaping costs more than it saves
SHARED = (
    1 << 19
)  # elements above which a second thread gains more than waking it takes (about 50 microseconds)


def elementwise(function, arrays, rows=()) -> None:
    """Call function(*stretches, *rows) over the same stretches of all `arrays` (of one shape), a block at a time.

    A chain of NumPy calls over whole arrays goes to main memory and back at every call; over a block, only at
    the first and the last. rows: vectors (C,) to broadcast along the last axis, of length C. They arrive
    repeated, and the stretches as matrices of just that width, because NumPy starts anew at every row of a
    matrix, which for rows of 64 numbers costs more than the numbers.
    """
    size = arrays[0].size
    if size <= SMALL:
        return function(*arrays, *rows)
    flat = [
        array.reshape(-1) for array in arrays
    ]  # a copy if need be; those that are written are C-contiguous
    width = 1
    if rows:
        channels = len(rows[0])
        times = math.gcd(size // channels, max(1, 1 << (1024 // channels).bit_length()))
        rows = [np.tile(row, times) for row in rows]
        width = channels * times
        flat = [array.reshape(-1, width) for array in flat]
    parts = blocks(size // width, max(1, BLOCK // width))
    run(lambda part: function(*(array[part] for array in flat), *rows), parts, size > SHARED)


def map_rows(function, *matrices) -> list:
    """[function(*stretches of rows)] for blocks of the rows of matrices (rows, C), in their order."""
    rows, width = matrices[0].shape
    parts = blocks(rows, max(1, BLOCK // width))
    results = [None] * len(parts)

    def work(i):
        results[i] = function(*(matrix[parts[i]] for matrix in matrices))

    run(work, range(len(parts)), matrices[0].size > SHARED)
    return results


def blocks(count: int, size: int) -> list:
    """Slices of at most `size`, as equal as they come, that cover range(count); an even number, if more than one."""
    parts = -(-count // max(1, size))
    if 1 < parts < count:
        parts += parts % 2  # else one of two threads would wait for the other's last block
    return [slice(i * count // parts, (i + 1) * count // parts) for i in range(parts)]
