"""A Worker runs one workload of one side (a framework) in a process of its own, so that each
framework has its own threads, memory and instruction cache."""

import gc
import importlib
import math
import multiprocessing
import signal
import time
import traceback
from pathlib import Path

import numpy as np

from tinygan import backend
from tinygan.autograd.inspect import Monitor, multiply_adds, profile
from tinygan.errors import InputError

SIDES = {"torch": "PyTorch", "jax": "JAX"}
# The variants of a side that are measured.
VARIANTS = {"torch": ("contiguous", "channels-last"), "jax": ("jit",)}
GPU_VARIANTS = {"torch": ("contiguous", "channels-last", "graph")}
# On a GPU, wait for the result only after this many steps: a training run does not wait at each
# step.
STEPS_PER_WAIT = 10
# The first steps compile and record. They are not counted.
FIRST_STEPS = 4


class Remote:
    """An object in a process of its own. Close it, or use it as a context.

    make: its class. name: what an error message calls it. Raises InputError if it cannot be made.
    """

    def __init__(self, name, make, *arguments):
        self.name = name
        # Not "fork", which would share the parent's modules and memory.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, daemon=True, args=(theirs, make, *arguments))
        self._process.start()
        theirs.close()
        self.version = self.ask("version")

    def ask(self, method, *arguments):
        """Return what a method of the object returns. Raises InputError if it fails."""
        try:
            self._pipe.send((method, *arguments))
            ok, answer = self._pipe.recv()
        except (EOFError, OSError):
            ok, answer = False, "the process ended (out of memory?)"
        if not ok:
            raise InputError(f"bench: {self.name}: {answer}")
        return answer

    def close(self):
        self._pipe.close()  # after which the process ends, unless it is busy
        self._process.join(2)
        self._process.terminate()
        self._process.join()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


class Worker(Remote):
    """A process that has set up a workload and waits for requests.

    side: "tinygan", "torch" or "jax". variant: one of the side's variants in VARIANTS, or in
    GPU_VARIANTS with device "gpu"; or "compiled", for a recipe in PyTorch. Raises InputError if the
    set-up fails.
    """

    def __init__(
        self, side, workload, variant=None, batch_size=None, image_size=None, device="cpu"
    ):
        self.side, self.variant, self.workload = side, variant, workload
        sizes = batch_size or workload.batch_size, image_size or workload.image_size
        name = f"{side} {workload.name}"
        super().__init__(name, _Job, side, workload.name, *sizes, variant, device)

    def seconds(self, duration):
        """Return the median time of a step, from about `duration` seconds of steps. The first step
        after a pause is not counted.

        The time of a step is the sum of the times of its parts, with the workload's weights: a lazy
        penalty counts by its share.
        """
        return sum(
            self.workload.weights[part] * t for part, t in self.ask("seconds", duration).items()
        )

    def main_seconds(self, duration):
        """Like `seconds`, but only for the main part, which a recipe's cycle of steps is, too."""
        part, weight = self.main_part
        return weight * self.ask("seconds", duration)[part]

    @property
    def main_part(self):
        """(the name of the workload's first part, its weight)"""
        return next(iter(self.workload.weights.items()))

    def peak_memory(self):
        """Return the peak resident memory of a step in bytes, minus that before the first step;
        None where it is not available (it needs Linux).

        Call it before any other method that runs steps.
        """
        return self.ask("peak_memory")

    def flop(self):
        """Return the number of floating-point operations in the products of a step (tinygan
        only)."""
        return sum(self.workload.weights[part] * n for part, n in self.ask("flop").items())

    def launches(self):
        """Return the number of kernels and copies that a GPU runs in a step; None if unknown."""
        counts = self.ask("launches")
        return (
            None
            if None in counts.values()
            else sum(self.workload.weights[part] * n for part, n in counts.items())
        )

    def profile(self, steps):
        """Return (the profile of `steps` steps, or of a recipe's next whole cycles, as text; the
        number of steps; seconds per step in ops) (tinygan only)."""
        part, weight = self.main_part
        repeats = math.ceil(steps * weight)
        text, seconds = self.ask("profile", part, repeats)
        return text, round(repeats / weight), seconds * weight


def _serve(pipe, make, *arguments):
    """Answer a Remote's requests: the main function of its process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Ctrl-C, the parent ends this process
    try:
        served = make(*arguments)
    except Exception:
        pipe.recv()
        pipe.send((False, traceback.format_exc(limit=0).splitlines()[-1]))
        return
    while True:
        try:
            request, *arguments = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((True, getattr(served, request)(*arguments)))
        except Exception:
            pipe.send((False, traceback.format_exc(limit=0).splitlines()[-1]))


class _Job:
    """The workload in a Worker's process. Its methods answer the Worker's requests."""

    def __init__(self, side, name, batch_size, image_size, variant, device="cpu"):
        from tinygan.kernels.cpu import parallel

        from .recipes import RECIPES, find_any

        self.device, self._has_run = device, False
        # The Trainer does this. The other frameworks get the same allocator, so that a difference
        # between them is none of the allocator's settings.
        parallel.keep_memory()
        if side == "tinygan":
            if device == "gpu":
                backend.use_device(device)
            self._blas = parallel.single_threaded_blas()
            self._blas.__enter__()
            np.seterr(all="ignore")  # as the Trainer does, too
            self._version = (
                "tinygan" if device == "gpu" else f"tinygan, {parallel.num_threads()} threads"
            )
            parts = find_any(name).make(batch_size, image_size).parts
        else:
            kind = "recipes" if name in RECIPES else "side"
            other = importlib.import_module(f"demos.bench.{side}_{kind}")
            more = {"device": "cuda"} if device == "gpu" else {}
            parts = other.make(name, batch_size, image_size, variant, **more).parts
            self._version = other.version(**more)
            self._launches = getattr(other, "launches", None)
        self.parts = parts

    def version(self):
        return self._version

    def seconds(self, duration):
        medians, steps = {}, STEPS_PER_WAIT if self.device == "gpu" else 1
        first_steps = steps if self._has_run else max(steps, FIRST_STEPS)
        self._has_run = True
        for part, step in self.parts.items():
            for _ in range(first_steps):
                float(step()[0])
            times, end = [], time.perf_counter() + duration / len(self.parts)
            while len(times) < 3 or time.perf_counter() < end:
                start = time.perf_counter()
                for _ in range(steps):
                    losses = step()
                float(losses[0])  # waits for the GPU
                times.append((time.perf_counter() - start) / steps)
            medians[part] = sorted(times)[len(times) // 2]
        return medians

    def launches(self):
        counts = {}
        for part, step in self.parts.items():
            for _ in range(3):
                step()
            recorded = getattr(step, "steps", None)  # what `capture` has recorded
            if recorded:
                counts[part] = next(iter(recorded.steps.values())).launches()
            else:
                counts[part] = self._launches(step)
        return counts

    def peak_memory(self):
        gc.collect()
        status = Path("/proc/self/status")
        try:
            Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        except OSError:
            return None
        before = _kilobytes(status, "VmRSS")
        for step in self.parts.values():
            for _ in range(4):
                step()
        return 1024 * (_kilobytes(status, "VmHWM") - before)

    def flop(self):
        counts = {}
        for part, step in self.parts.items():
            with _Flop() as monitor:
                step()
            counts[part] = monitor.total
        return counts

    def profile(self, part, repeats):
        with profile(show=False) as p:
            for _ in range(repeats):
                self.parts[part]()
        return str(p), sum(row.seconds for row in p.rows) / repeats


def _kilobytes(status, field):
    return int(
        next(line for line in status.read_text().splitlines() if line.startswith(field)).split()[1]
    )


class _Flop(Monitor):
    """Counts the floating-point operations of every op that reports its cost."""

    total = 0

    def run_op(self, op, args, settings, run):
        y = super().run_op(op, args, settings, run)
        if op.cost is not None:
            self.total += 2 * multiply_adds(op, y, args, settings)
        return y

    def add_derivative_cost(self, op, multiply_adds):
        self.total += 2 * multiply_adds
