"""The one place that knows threads.

NumPy releases the interpreter lock inside copies, ufuncs and BLAS, so Python threads that each take
blocks of a batch do run at once. BLAS itself is held at one thread meanwhile: its own threads would
compete with ours, and the bits of its results would depend on how many there are.

Work is cut into blocks by shape alone, never by the number of threads, so results are the same bits
on one core and on sixteen.
"""

import contextlib
import math
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tinygan.errors import InputError, from_environment


ALIGNMENT = 64  # bytes: a cache line, and the widest vector register


class _State(threading.local):
    inside = False  # is this thread already working on a block?


_state = _State()
_scratch = threading.local()
_lock = threading.Lock()
_blas = None
_holders = 0  # how many are inside single_threaded_blas
_limit = None
_pool = None


def _count(text):
    if not str(text).isdecimal() or int(text) < 1:
        raise InputError("the number of threads is a whole number, 1 or more")
    return int(text)


_threads = from_environment("TINYGAN_NUM_THREADS", os.cpu_count() or 1, _count)


def num_threads() -> int:
    """How many threads the kernels use: TINYGAN_NUM_THREADS, by default one per core."""
    return _threads


def set_num_threads(n: int) -> None:
    """Use `n` threads from now on. Never changes a result, only its speed."""
    global _threads, _pool
    _threads, _pool = _count(n), None


@contextlib.contextmanager
def single_threaded_blas():
    """Hold BLAS at one thread. Nearly free when nested, so a training run enters it once (it costs 20 us)."""
    global _blas, _holders, _limit
    with _lock:
        if _blas is None:
            from threadpoolctl import ThreadpoolController

            _blas = ThreadpoolController()
        _holders += 1
        if _holders == 1:
            _limit = _blas.limit(limits=1, user_api="blas")
    try:
        yield
    finally:
        with _lock:
            _holders -= 1
            if _holders == 0:
                _limit.restore_original_limits()


def run(function, items) -> None:
    """Call function(item) for every item, on as many threads as there are; return when all are done.

    The items must write to different places. Called from inside an item, it runs in that thread.
    """
    items = list(items)
    workers = 1 if _state.inside else min(_threads, len(items))
    with single_threaded_blas():
        if workers <= 1:
            for item in items:
                function(item)
            return
        queue = iter(items)  # shared: each thread takes the next item (a list iterator is atomic)

        def work():
            _state.inside = True
            try:
                for item in queue:
                    function(item)
            finally:
                _state.inside = False

        others = [_executor().submit(work) for _ in range(workers - 1)]
        try:
            work()
        finally:
            for other in others:
                other.exception()  # wait for all, even after an error: they write into our arrays
        for other in others:
            other.result()


def _executor():
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(_threads, thread_name_prefix="tinygan")
    return _pool


def _forget_threads():  # threads do not survive a fork; the child makes its own
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


def keep_memory() -> None:
    """Ask the C library to keep freed memory for the next array, instead of handing it back to the system.

    Otherwise a training step maps and unmaps its activations over and over: 13,700 page faults and 50 ms of
    system time in each 240 ms step of DCGAN; with this, none. Known to glibc (Linux); elsewhere it does nothing.
    """
    if sys.platform == "linux":
        import ctypes

        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD
            libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD


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
        view = views[shape, dtype] = buffer[start:start + size].view(dtype).reshape(shape)
    return view


def blocks(count: int, size: int) -> list:
    """Slices of at most `size`, as equal as they come, that cover range(count)."""
    parts = -(-count // max(1, size))
    size = -(-count // parts) if parts else 1
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
