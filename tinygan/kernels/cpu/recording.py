"""Recorded steps on a CPU: the NumPy calls of a training step, written down once and then repeated.

Much of a step's time is Python's: ops, their checks, the graph, the blocks of kernels. But from
step to step, the same NumPy functions work on arrays of the same shapes. So a step is recorded: its
arrays are then RecordedArrays, which lie at fixed places in memory, and every call of NumPy that
touches one is executed as usual and written down, as a function with its arguments. A *replay*
makes these calls again, and nothing else. It computes the same bits.

Whatever Python decided or computed itself during the recording is fixed from then on. Therefore

    * data that is new at each step comes through `backend.from_host`, whose function each replay
      calls again;
    * the step cannot read a value: `float(x)`, `if x:`, x.tolist() of a RecordedArray raise
      RecordingError, and so does any array that the step made without xp;
    * a decision that depends on values is a `branch`, of which each replay takes one side;
    * two recordings of a step must be the same, up to the data from from_host (signature.py).

Memory: a block goes back to the pool when the last array on it dies in Python. What is recorded
later may then use it, because a replay makes the calls in the same order.
"""

import contextlib
import functools
import math
import zlib

import numpy as np

from tinygan import backend

from . import parallel, recorded_numpy
from .fork import Fork
from .recorded_array import RecordedArray, RecordingError, Reported
from .recorded_numpy import OUT, stand_ins
from .signature import Signature


class Recording:
    """The calls of a step. It is the tape of the step (`backend.tape`), and `parallel.recording()`.

    calls: [function without arguments]. signature: describes them. expected: see
    `backend.stays_the_same`.
    """

    def __init__(self, pool):
        self.pool, self.calls, self.signature = pool, [], Signature()
        self.expected = []
        self.written = None  # {id: (array, its copy)} of arrays that a side without effect writes
        self.errors = np.geterr()

    # Memory

    def empty(self, shape, dtype=float):
        dtype = np.dtype(dtype)
        shape = (int(shape),) if isinstance(shape, (int, np.integer)) else tuple(shape)
        block = self.pool.take(math.prod(shape) * dtype.itemsize)
        self.signature.name(block.place)
        return RecordedArray(np.ndarray(shape, dtype, block.place), block)

    def empty_like(self, array, dtype=None):
        """Return a new array with the shape and the order in memory of a plain array."""
        like = np.empty_like(array, dtype)  # only for its strides
        if like.flags.c_contiguous or not like.size:
            return self.empty(like.shape, like.dtype)
        flat = self.empty(like.size, like.dtype)
        view = np.ndarray(like.shape, like.dtype, flat.block.place, 0, like.strides)
        return RecordedArray(view, flat.block)

    def from_outside(self, array):
        """Return a plain array, which lives as long as the recording, as a RecordedArray."""
        if isinstance(array, RecordedArray):
            return array
        self.signature.name(array)
        return RecordedArray(array)

    def from_step(self, x):
        """Return x, an array that the step leaves for the next one."""
        if not isinstance(x, RecordedArray):
            raise RecordingError(f"the step leaves {x!r}, not an array that it has computed")
        return x

    def plain(self, x):
        """Return x, an argument, with plain arrays in place of RecordedArrays."""
        kind = type(x)
        if kind is RecordedArray:
            return x.array
        if kind is tuple or kind is list:
            return kind(map(self.plain, x))
        if kind is dict:
            return {key: self.plain(value) for key, value in x.items()}
        return x

    # Calls

    def append(self, call, function, *args):
        """Write down `call`, a function without arguments that calls function(*args)."""
        self.signature.add(function, *args)
        errors = np.geterr()
        if errors != self.errors:
            changes = {key: x for key, x in errors.items() if x != self.errors[key]}
            call = functools.partial(_with_errors, changes, call)
        self.calls.append(call)

    def call(self, written, function, *args, **settings):
        """Call a function of plain arrays, now and at every replay. written: its output."""
        call = functools.partial(function, *args, **settings)
        self.append(call, function, args, settings, written)
        if self.written is not None and id(written) not in self.written:
            self.written[id(written)] = written, written.copy()
        call()

    def result(self, value, function, *args, **settings):
        """Write down a call whose result, `value` this time, has no `out`. Return the result."""
        y = self.empty_like(np.asarray(value))
        target = y.array  # not y: its memory may be used again when nothing in Python needs it
        np.copyto(target, value)

        def again():
            value = function(*args, **settings)
            check_shape(value, target, function.__name__)
            np.copyto(target, value)

        self.append(again, function, args, settings, target)
        return y

    def result_in_place(self, value, function, *args, **settings):
        """Like `result`, for a function that takes `out`, as its last argument if `args` has it."""
        y = self.empty_like(np.asarray(value))
        np.copyto(y.array, value)
        args = [y.array if x is OUT else x for x in args]
        if "out" in settings:
            settings["out"] = y.array
        again = functools.partial(function, *args, **settings)
        self.append(again, function, args, settings)
        return y

    def operator(self, function, *operands):
        """Write down a call of an operator of Python that is not the same as a ufunc (x ** 2 is not
        np.power(x, 2) in all versions of NumPy)."""
        operands = self.plain(operands)
        return self.result(function(*operands), function, *operands)

    def ufunc(self, *call):
        return recorded_numpy.ufunc(self, *call)

    def function(self, *call):
        return recorded_numpy.function(self, *call)

    def getitem(self, *call):
        return recorded_numpy.getitem(self, *call)

    def setitem(self, *call):
        return recorded_numpy.setitem(self, *call)

    # Kernels

    def run(self, function, items, shared):
        """Write down function(item) for every item, in lists of which each thread replays one."""
        threads = parallel.num_threads()
        if threads == 1 or len(items) == 1 or self.pool.lane is not None:
            for item in items:
                function(item)
            return
        before, lists = self.calls, [[] for _ in range(min(threads, len(items)))]
        try:
            for i, item in enumerate(items):
                self.pool.lane = i % len(lists)
                self.calls = lists[self.pool.lane]
                function(item)
        finally:
            self.calls = before
            self.pool.join()
        if all(lists):
            self.calls.append(Fork(lists))
        else:
            self.calls += [call for calls in lists for call in calls]

    def branch(self, condition, then, otherwise):
        """Write down both sides of a branch. Now and at every replay, only one has an effect."""
        condition = self.plain(condition)
        taken = bool(condition)
        self.signature.add("branch", condition)
        first = self.side(then, taken)
        self.signature.add("otherwise")
        second = self.side(otherwise, not taken)
        result = self.merged(first, second, taken)
        self.signature.add("end of the branch")
        sides = first[0], second[0]

        def take_one_side():
            for call in sides[0] if condition else sides[1]:
                call()

        self.calls.append(take_one_side)
        return result

    def side(self, function, effective):
        """Return (the calls of function(), its result). Unless effective, undo what they write."""
        before, self.calls = self.calls, []
        written_before, self.written = self.written, self.written if effective else {}
        errors_before = self.errors
        try:
            with np.errstate(**({} if effective else {"all": "call", "call": _ignore})):
                self.errors = np.geterr()
                result = function()
            if not effective:
                for target, copy in reversed(self.written.values()):
                    target[...] = copy
            return self.calls, result
        finally:
            self.calls, self.written, self.errors = before, written_before, errors_before

    def merged(self, first, second, taken):
        """Return an array that each of two sides fills with its result, as its last call.

        first, second: what `side` returns. A result may also be a tuple of arrays, or None.
        """
        (calls, x), (other_calls, y) = first, second
        if x is y:
            return x
        if isinstance(x, tuple):
            return tuple(self.merged((calls, a), (other_calls, b), taken) for a, b in zip(x, y))
        like = x if isinstance(x, RecordedArray) else y
        result = self.empty(like.shape, like.dtype)
        target = result.array
        for side_calls, value, effective in (calls, x, taken), (other_calls, y, not taken):
            copy = functools.partial(np.copyto, target, self.plain(value))
            side_calls.append(copy)
            if effective:
                copy()
        return result

    def whole(self, function, args, kept):
        """Write down a kernel as one call, because it calls functions that return numbers, or reads
        values. It gets plain arrays; those that it returns must have the same shapes each time.

        kept: the positions of arguments whose arrays last longer than the step, such as moments.
        """
        for i in kept:
            if any(isinstance(x, RecordedArray) and x.block for x in args[i] or ()):
                raise RecordingError(
                    "a Parameter is updated for the first time while it is recorded"
                )
            self.keep_alive(self.plain(args[i]))
        args = self.plain(list(args))
        with self.suspended():
            value = function(*args)
        values = value if isinstance(value, tuple) else (value,)
        results = [None if v is None else self.empty_like(np.asarray(v)) for v in values]
        targets = [None if result is None else result.array for result in results]

        def put(value):
            for target, v in zip(targets, value if isinstance(value, tuple) else (value,)):
                if target is not None:
                    check_shape(v, target, function.__name__)
                    target[...] = v

        put(value)
        self.append(lambda: put(function(*args)), function, args, targets)
        return tuple(results) if isinstance(value, tuple) else results[0]

    # The tape

    def on_host(self, check, report, arrays):
        """Call check(*arrays) on plain arrays, now and at every replay, and report(*arrays) if it
        returns False. report raises an error."""
        arrays = self.plain(list(arrays))

        def again():
            if not check(*arrays):
                report(*arrays)

        if not check(*arrays):
            raise Reported(lambda: report(*arrays))
        self.append(again, "check", arrays)

    def cached(self, function, args):
        """Return function(*args), arrays that a cache holds, or tuples of these."""
        with self.suspended():
            arrays = function(*args)
        self.keep_alive(arrays)
        return arrays

    def keep_alive(self, arrays):
        for array in arrays if isinstance(arrays, (list, tuple)) else [arrays]:
            if isinstance(array, np.ndarray):
                self.signature.name(array)
            elif isinstance(array, (list, tuple)):
                self.keep_alive(array)

    def constant(self, data, dtype=None):
        """Return data from outside, which must be the same at each step, as a RecordedArray."""
        if isinstance(data, RecordedArray):
            return data.astype(dtype or data.dtype, copy=False)
        array = np.asarray(data, dtype)
        self.signature.add("constant", array.shape, array.dtype, zlib.crc32(array.tobytes()))
        return self.from_outside(array)

    def varying(self, make):
        """Return the arrays of make(), which each replay calls again."""
        with self.suspended():
            made = make()
        # In C order, as outside of a recording: BLAS rounds otherwise for transposed arrays.
        in_order = lambda array: np.asarray(array, order="C")
        values = list(map(in_order, made if isinstance(made, tuple) else (made,)))
        places = [self.empty_like(value) for value in values]
        targets = [place.array for place in places]
        for target, value in zip(targets, values):
            target[...] = value

        def refill():
            made = make()
            for target, value in zip(targets, made if isinstance(made, tuple) else (made,)):
                check_shape(value, target, "from_host")
                target[...] = value

        self.append(refill, "from_host", targets)
        return tuple(places) if isinstance(made, tuple) else places[0]

    # Running

    @contextlib.contextmanager
    def recording(self):
        """Write down the calls that this thread makes in the block."""
        with (
            parallel.single_threaded_blas(),
            parallel.using(self),
            backend.use_tape(self),
            backend.standing_in(stand_ins),
        ):
            yield

    @contextlib.contextmanager
    def suspended(self):
        """Write nothing down while the block runs, which computes with plain arrays."""
        with parallel.using(None), backend.use_tape(None):
            yield

    def is_valid(self):
        """Return whether what the step takes for granted (see `backend.stays_the_same`) is true."""
        return all(get() == value for get, value in self.expected)

    def replay(self):
        with parallel.single_threaded_blas():
            for call in self.calls:
                call()


def check_shape(value, target, name):
    if np.shape(value) != target.shape:
        raise RecordingError(
            f"{name} returned an array of shape {np.shape(value)}, and {target.shape} when the "
            "step was recorded"
        )


def _ignore(kind, flag):
    """Take no notice of an error of NumPy's arithmetic."""


def _with_errors(errors, call):
    with np.errstate(**errors):
        call()


def whole(*kept):
    """Decorate a fast kernel that a recorded step calls as a whole. kept: see `Recording.whole`."""

    def decorate(kernel):
        @functools.wraps(kernel)
        def call(*args):
            recording = parallel.recording()
            return kernel(*args) if recording is None else recording.whole(kernel, args, kept)

        return call

    return decorate
