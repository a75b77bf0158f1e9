"""When a step is recorded on a CPU, and when it is replayed. recording.py says how."""

import numpy as np

from . import parallel
from .place import pool_of_this_thread
from .recorded_array import RecordingError, Reported
from .recording import Recording


class RecordedStep:
    """function(), recorded.

    function() returns {name: array without dimensions}, or a tuple of such arrays. The first call
    runs it, which creates what it needs (moments, caches). The second and the third record it; if
    the recordings differ, they raise RecordingError. From then on, each call is a replay, unless
    something has changed that was taken for granted (`backend.stays_the_same`): then it all begins
    anew.

    slots: see recorded.RecordedSteps. parameters: the Parameters that the step reads. has_reported:
    whether a check of values (`backend.when_readable`) has failed while it was recorded.
    """

    settings, refused = None, False  # see recorded.py

    def __init__(self, function, slots, parameters):
        self.function, self.slots, self.parameters = function, slots, parameters
        self.pool = pool_of_this_thread()
        self.runs, self.first, self.recording, self.has_reported = 0, None, None, False

    def records_next(self):
        """Return whether the next call will record the step."""
        return self.runs in (1, 2)

    def is_recorded(self):
        return self.runs == 3

    def __call__(self):
        with self.pool.lock:
            return self.run()

    def run(self):
        if self.recording and not (self.recording.is_valid() and self.slots_fit()):
            self.runs, self.recording = 0, None
        if self.runs == 0:
            self.runs = 1
            self.pool.release()  # this run needs memory of its own
            try:
                return self.function()
            finally:
                self.release_memory()
        if self.runs == 1:
            self.first = self.record().signature
        elif self.runs == 2:
            differs = self.first.difference(self.record().signature)
            self.first, self.recording.signature = None, None
            if differs:
                self.runs, self.recording = 1, None
                raise RecordingError(differs)
        else:
            self.read_slots()
            self.recording.replay()
        values = [np.array(x) for x in self.results]
        if self.runs < 3:
            self.runs += 1
            self.release_memory()
        return dict(zip(self.names, values)) if self.names else tuple(values)

    def release_memory(self):
        """Return to the system what running or recording the step has taken. What replays need is
        less, and lies elsewhere."""
        self.pool.release()
        parallel.release_memory()

    def record(self):
        """Run the step, and write down its calls."""
        self.recording = self.results = None  # its memory can be used again
        recording = Recording(self.pool)
        before = [(owner, name, getattr(owner, name)) for owner, name in self.slots()]
        # Copies, because replays write into them, and others may hold the same arrays.
        self.slot_values = [
            (owner, name, x.copy() if isinstance(x, np.ndarray) else x) for owner, name, x in before
        ]
        self.slot_arrays = [slot for slot in self.slot_values if isinstance(slot[2], np.ndarray)]
        arrays = [(p, p.data) for p in self.parameters]
        set_data = lambda p, array: object.__setattr__(p, "data", array)  # not by `assign`
        report, after = None, before
        try:
            with recording.recording():
                for p, array in arrays:
                    set_data(p, recording.from_outside(array))
                for owner, name, array in self.slot_arrays:
                    setattr(owner, name, recording.from_outside(array))
                results = self.function()
                values = list(results.values() if isinstance(results, dict) else results)
                recording.signature.add("results", recording.plain(values))
                self.write_slots(recording)
            after = self.slot_values
        except Reported as error:
            report = error.report
        finally:
            for p, array in arrays:
                set_data(p, array)
            for owner, name, value in after:
                setattr(owner, name, value)
        if report:
            self.has_reported = True
            report()
        self.names = list(results) if isinstance(results, dict) else None
        recording.results = values  # keeps their memory
        self.results = recording.plain(values)
        self.recording = recording
        return recording

    def write_slots(self, recording):
        """Copy the arrays that the step has put into slots to those that it found there."""
        new = [recording.from_step(getattr(owner, name)) for owner, name, _ in self.slot_arrays]
        old = {id(array) for _, _, array in self.slot_arrays}
        new = [
            x.copy() if id(x.array) in old and x.array is not before else x
            for x, (_, _, before) in zip(new, self.slot_arrays)
        ]
        for x, (_, _, before) in zip(new, self.slot_arrays):
            if x.array is not before:
                recording.call(before, np.copyto, before, x.array)

    def slots_fit(self):
        """Return whether the slots hold arrays of the same shapes and dtypes as when the step was
        recorded, and otherwise the same."""
        for owner, name, value in self.slot_values:
            now = getattr(owner, name)
            if type(now) is not type(value):
                return False
            if isinstance(value, np.ndarray):
                if (now.shape, now.dtype) != (value.shape, value.dtype):
                    return False
            elif now is not value and now != value:
                return False
        return True

    def read_slots(self):
        """Copy arrays that were put into slots since the last replay to where the step reads."""
        for owner, name, array in self.slot_arrays:
            now = getattr(owner, name)
            if now is not array:
                array[...] = now
                setattr(owner, name, array)
