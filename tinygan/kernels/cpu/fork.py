"""Lists of recorded calls that several threads replay at once."""

import time

from . import parallel

TRIALS = 4  # times that each way is tried before one is chosen
GAIN = 0.9  # the share of the time below which a second thread is worth waking


class Fork:
    """lists of calls, which write to different memory. Calling it makes all calls.

    Whether that takes less time on several threads or on one is measured at the first replays.

    shared: the answer, or None until it is known.
    """

    def __init__(self, lists):
        self.lists, self.shared = lists, None
        self.seconds = {False: [], True: []}

    def __call__(self):
        if self.shared is None:
            self.measure()
        else:
            parallel.run(_replay, self.lists, self.shared)

    def measure(self):
        shared = len(self.seconds[False]) > len(self.seconds[True])
        start = time.perf_counter()
        parallel.run(_replay, self.lists, shared)
        self.seconds[shared].append(time.perf_counter() - start)
        if len(self.seconds[True]) == TRIALS:
            self.shared = min(self.seconds[True]) < GAIN * min(self.seconds[False])


def _replay(calls):
    for call in calls:
        call()
