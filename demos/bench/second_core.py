"""What the machine's second core is worth at this moment: two independent processes multiply
matrices, each on one thread, first one of them alone and then both at once.

On a shared machine this varies from minute to minute, more than anything else that the benchmark
measures. So it is measured in every round, between the turns of the frameworks.
"""

import multiprocessing
import signal
import statistics
import time

import numpy as np

SECONDS = 0.1  # of each measurement
SIDE = 256  # of the matrices; three of them fit into a core's cache


class SecondCore:
    """The two processes; use it as a context. ratios: the results so far."""

    def __init__(self):
        self.ratios = []

    def __enter__(self):
        context = multiprocessing.get_context("spawn")
        self.pipes, self.processes = [], []
        for _ in range(2):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            self.pipes.append(ours)
            self.processes.append(process)
        self.products_per_second(self.pipes)  # wait until both have started
        return self

    def __exit__(self, *exception):
        for pipe, process in zip(self.pipes, self.processes):
            pipe.close()
            process.terminate()

    def products_per_second(self, pipes):
        """Return the products per second of all processes together that `pipes` lead to."""
        start = time.monotonic() + 0.01  # this clock is the same in all processes
        for pipe in pipes:
            pipe.send((start, SECONDS))
        return sum(pipe.recv() for pipe in pipes)

    def measure(self):
        """Measure how many times as many products two processes compute as one of them, and note
        the ratio in `ratios`: 2 with two free cores, 1 if only one is free."""
        alone = self.products_per_second(self.pipes[len(self.ratios) % 2 :][:1])
        self.ratios.append(self.products_per_second(self.pipes) / alone)

    def summary(self):
        """Return the numbers for the report."""
        return {
            "median": round(statistics.median(self.ratios), 3),
            "lowest": round(min(self.ratios), 3),
            "highest": round(max(self.ratios), 3),
            "measurements": len(self.ratios),
        }


def sentence(summary):
    """Return what a summary says, in a line."""
    return (
        f"second core: two single-threaded products at once have {summary['median']:.2f} times "
        f"the throughput of one (median of {summary['measurements']} rounds, "
        f"{summary['lowest']:.2f} to {summary['highest']:.2f}; 2 with two free cores)"
    )


def _serve(pipe):
    """Multiply matrices whenever asked to: the main function of a process."""
    from tinygan.kernels.cpu import parallel

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Ctrl-C, the parent ends this process
    a = np.random.default_rng(0).random((SIDE, SIDE), dtype=np.float32)
    product = np.empty_like(a)
    with parallel.single_threaded_blas():
        while True:
            try:
                start, seconds = pipe.recv()
            except EOFError:
                return
            time.sleep(max(0.0, start - time.monotonic()))
            count, began = 0, time.monotonic()
            while not count or time.monotonic() < start + seconds:
                np.matmul(a, a, out=product)
                count += 1
            pipe.send(count / (time.monotonic() - began))
