"""Places in memory for the arrays of recorded steps."""

import math
import mmap
import threading
from collections import deque

import numpy as np

from .parallel import ALIGNMENT

ARENA = 1 << 28  # bytes that are reserved at a time; only what is used takes memory


class _Local(threading.local):
    pool = None


_local = _Local()


def pool_of_this_thread():
    """Return the Pool that all recorded steps of this thread share: they run one at a time."""
    if _local.pool is None:
        _local.pool = Pool()
    return _local.pool


class Pool:
    """Memory for the arrays of recordings. What an array holds is lost when a replay has ended.

    lock: held while a step is recorded or replayed. lane: while the work of several threads is
    recorded, the number of the thread. A place that one thread has used is free for the others only
    when all have met again. size: the bytes in use, at most.
    """

    def __init__(self):
        self.arenas, self.lock, self.lane = [], threading.RLock(), None
        self.used = self.size = 0
        self.free = {None: _Free()}  # {lane: places that nothing uses}
        # Blocks die at any time, and in any thread that collects garbage.
        self.returned = deque()  # (first byte, last byte, lane when taken, lane when it died)

    def take(self, size):
        """Return a _Block of at least `size` bytes."""
        self.sort_returned()
        size = max(1, math.ceil(size / ALIGNMENT)) * ALIGNMENT
        for lane in dict.fromkeys((self.lane, None)):
            start = self.free.setdefault(lane, _Free()).take(size)
            if start is not None:
                break
        else:
            arena = _Arena(max(size, ARENA))
            self.arenas.append(arena)
            self.free[None].add(arena.start, arena.end)
            start = self.free[None].take(size)
        self.used += size
        self.size = max(self.size, self.used)
        arena = next(arena for arena in self.arenas if arena.start <= start < arena.end)
        return _Block(self, start, arena.place(start, size), self.lane)

    def sort_returned(self):
        while self.returned:
            start, end, taken_in, died_in = self.returned.popleft()
            lane = died_in if died_in == taken_in else "all"  # another thread may still read it
            self.free.setdefault(lane, _Free()).add(start, end)
            self.used -= end - start

    def join(self):
        """All threads have met: their free places are free for all."""
        self.sort_returned()
        self.lane = None
        for lane in [lane for lane in self.free if lane is not None]:
            for start, end in self.free.pop(lane).ends.items():
                self.free[None].add(start, end)

    def release(self):
        """Give the memory back to the system until the next replay."""
        for arena in self.arenas:
            arena.release()


class _Free:
    """Free places, as long as possible. ends: {first byte: end}; starts: {end: first byte}."""

    def __init__(self):
        self.ends, self.starts = {}, {}

    def add(self, start, end):
        if end in self.ends:
            end = self.remove(end)
        if start in self.starts:
            start = self.starts[start]
            self.remove(start)
        self.ends[start], self.starts[end] = end, start

    def remove(self, start):
        end = self.ends.pop(start)
        del self.starts[end]
        return end

    def take(self, size):
        """Return the first byte of the shortest place that is long enough, or None."""
        fitting = [(end - start, start) for start, end in self.ends.items() if end - start >= size]
        if not fitting:
            return None
        _, start = min(fitting)
        end = self.remove(start)
        if start + size < end:
            self.add(start + size, end)
        return start


class _Arena:
    """A piece of memory from the system. start, end: addresses."""

    def __init__(self, size):
        size += 2 * ALIGNMENT  # the last bytes stay unused, so that no place reaches the next arena
        private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANON} if hasattr(mmap, "MAP_ANON") else {}
        self.map = mmap.mmap(-1, size, **private)
        self.bytes = memoryview(self.map)
        self.first = np.frombuffer(self.bytes, np.uint8).ctypes.data
        self.start = -(-self.first // ALIGNMENT) * ALIGNMENT
        self.end = (self.first + size) // ALIGNMENT * ALIGNMENT - ALIGNMENT

    def place(self, start, size):
        """Return the bytes of a place as an array whose base no other place has."""
        offset = start - self.first
        return np.frombuffer(self.bytes[offset : offset + size], np.uint8)

    def release(self):
        if hasattr(mmap, "MADV_DONTNEED"):
            self.map.madvise(mmap.MADV_DONTNEED)


class _Block:
    """A place in the memory of a pool, which gets it back when nothing refers to the block."""

    __slots__ = ("pool", "start", "place", "lane")

    def __init__(self, pool, start, place, lane):
        self.pool, self.start, self.place, self.lane = pool, start, place, lane

    def __del__(self):
        end = self.start + self.place.nbytes
        self.pool.returned.append((self.start, end, self.lane, self.pool.lane))
