"""Runs one workload of one side in a process of its own, on request: so that each framework has its own threads,
memory and caches of code, and no other's."""

import gc
import importlib
import multiprocessing
import signal
import time
import traceback
from pathlib import Path

from tinygan import backend
from tinygan.autograd.inspect import Monitor, multiply_adds, profile
from tinygan.errors import InputError

SIDES = {"torch": "PyTorch", "jax": "JAX"}
VARIANTS = {
    "torch": ("contiguous", "channels-last"),
    "jax": ("jit",),
}  # the ways in which a side is tried
GPU_VARIANTS = {"torch": ("contiguous", "channels-last", "graph")}
TOGETHER = 10  # steps between two waits for a GPU, which a training run does not wait for at each step either


class Worker:
    """A process that has set up a workload and waits. Close it, or use it as a context.

    side: "tinygan", "torch" or "jax"; variant: one of the side's in VARIANTS, on device "gpu" in GPU_VARIANTS. Raises
    InputError if the set-up fails.
    """

    def __init__(
        self, side, workload, variant=None, batch_size=None, image_size=None, device="cpu"
    ):
        self.side, self.variant, self.workload = side, variant, workload
        context = multiprocessing.get_context(
            "spawn"
        )  # a fork would share what the parent has imported and touched
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve,
            daemon=True,
            args=(
                theirs,
                side,
                workload.name,
                batch_size or workload.batch_size,
                image_size or workload.image_size,
                variant,
                device,
            ),
        )
        self._process.start()
        theirs.close()
        self.version = self._ask("version")

    def _ask(self, *request):
        try:
            self._pipe.send(request)
            ok, answer = self._pipe.recv()
        except (EOFError, OSError):
            ok, answer = False, "the process ended (out of memory?)"
        if not ok:
            raise InputError(f"bench: {self.side} {self.workload.name}: {answer}")
        return answer

    def seconds(self, duration):
        """The median time of a step, over about `duration` seconds of steps; the first after a pause is not counted.

        A step is the workload's parts in the proportion of its weights: a lazy penalty counts by its share.
        """
        return sum(
            self.workload.weights[part] * t for part, t in self._ask("seconds", duration).items()
        )

    def alone(self, duration):
        """The same of the part "step" only."""
        return self._ask("seconds", duration)["step"]

    def peak_memory(self):
        """Bytes by which the resident memory rises, at its highest, over that before the first step (Linux; or None).

        Of a worker that has not run a step yet.
        """
        return self._ask("peak_memory")

    def flop(self):
        """Floating-point operations in the products of a step (tinygan only)."""
        return sum(self.workload.weights[part] * n for part, n in self._ask("flop").items())

    def launches(self):
        """Kernels and copies that a GPU runs in a step; None if it is not known."""
        counts = self._ask("launches")
        return (
            None
            if None in counts.values()
            else sum(self.workload.weights[part] * n for part, n in counts.items())
        )

    def profile(self, steps):
        """(the profile of `steps` steps as text, seconds a step in its ops) (tinygan only)."""
        return self._ask("profile", steps)

    def close(self):
        self._pipe.close()
        self._process.terminate()
        self._process.join()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def _serve(pipe, side, name, batch_size, image_size, variant, device):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    try:
        job = _Job(side, name, batch_size, image_size, variant, device)
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
            pipe.send((True, getattr(job, request)(*arguments)))
        except Exception:
            pipe.send((False, traceback.format_exc(limit=0).splitlines()[-1]))


class _Job:
    """What a Worker's process does."""

    def __init__(self, side, name, batch_size, image_size, variant, device="cpu"):
        self.device = device
        if side == "tinygan":
            from tinygan.kernels.cpu import parallel

            from .workloads import find

            if device == "gpu":
                backend.use_device(device)
            parallel.keep_memory()  # as the Trainer does
            self._blas = parallel.single_threaded_blas()
            self._blas.__enter__()
            self._version = (
                "tinygan" if device == "gpu" else f"tinygan, {parallel.num_threads()} threads"
            )
            parts = find(name).make(batch_size, image_size).parts
        else:
            other = importlib.import_module(f"demos.bench.{side}_side")
            more = {"device": "cuda"} if device == "gpu" else {}
            parts = other.make(name, batch_size, image_size, variant, **more).parts
            self._version = other.version(**more)
            self._launches = getattr(other, "launches", None)
        self.parts = parts

    def version(self):
        return self._version

    def seconds(self, duration):
        medians, together = {}, TOGETHER if self.device == "gpu" else 1
        for part, step in self.parts.items():
            for _ in range(together):  # on a GPU, the first ones compile, and record
                float(step()[0])
            times, end = [], time.perf_counter() + duration / len(self.parts)
            while len(times) < 3 or time.perf_counter() < end:
                start = time.perf_counter()
                for _ in range(together):
                    losses = step()
                float(losses[0])  # waits
                times.append((time.perf_counter() - start) / together)
            medians[part] = sorted(times)[len(times) // 2]
        return medians

    def launches(self):
        counts = {}
        for part, step in self.parts.items():
            for _ in range(3):
                step()
            graph = getattr(step, "graph", None)
            counts[part] = graph.launches() if graph else self._launches(step)
        return counts

    def peak_memory(self):
        gc.collect()
        status = Path("/proc/self/status")
        try:
            Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
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

    def profile(self, steps):
        with profile(show=False) as p:
            for _ in range(steps):
                self.parts["step"]()
        return str(p), sum(row.seconds for row in p.rows) / steps


def _kilobytes(status, field):
    return int(
        next(line for line in status.read_text().splitlines() if line.startswith(field)).split()[1]
    )


class _Flop(Monitor):
    """Counts the operations of every op that knows its cost."""

    total = 0

    def run_op(self, op, args, settings, run):
        y = super().run_op(op, args, settings, run)
        if op.cost is not None:
            self.total += 2 * multiply_adds(op, y, args, settings)
        return y

    def count(self, op, multiply_adds):
        self.total += 2 * multiply_adds
