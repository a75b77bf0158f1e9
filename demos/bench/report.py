"""The benchmark's tables of time, memory, overhead and growth, measured on this machine."""

import contextlib
import importlib.util
import os
import platform
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from tinygan import ops
from tinygan.autograd import grad, tensor
from tinygan.errors import InputError

from .recipes import ALL
from .worker import GPU_VARIANTS, SIDES, VARIANTS, Worker
from .workloads import AUGMENTED, WORKLOADS, find

TURN = 0.5  # seconds of steps before it is the next framework's turn
GPU_TARGET = 1.0  # time, relative to PyTorch's eager step
MEMORY_TARGET = 1.0  # peak memory, relative to the other framework's best variant
GROWTH = (16, 64, 128, 256, 512), (16, 32, 64)  # batch sizes, sides of images


def variants(side, device="cpu"):
    """Return the variants of a side (a framework) that are measured. Raises InputError if its
    package is not installed, or if it is not measured on this device."""
    if device == "gpu" and side not in GPU_VARIANTS:
        raise InputError(
            f"--against {side} --device gpu: on a GPU, tinygan is compared with torch only"
        )
    if importlib.util.find_spec(side) is None:
        raise InputError(
            f"--against {side}: {SIDES[side]} is not installed in this environment "
            f"({sys.executable}): install the package {side} there, or leave --against out"
        )
    return (GPU_VARIANTS if device == "gpu" else VARIANTS)[side]


def _sides(against, device="cpu"):
    """Return [(side, variant)] of all workers, tinygan first."""
    return [
        ("tinygan", None),
        *((against, variant) for variant in (variants(against, device) if against else ())),
    ]


def machine():
    """Return one line that describes the machine and the software."""
    from threadpoolctl import threadpool_info

    cpuinfo = Path("/proc/cpuinfo")
    names = (
        [
            line.split(":")[1].strip()
            for line in cpuinfo.read_text().splitlines()
            if line.startswith("model name")
        ]
        if cpuinfo.exists()
        else []
    )
    np.ones((2, 2)) @ np.ones((2, 2))  # loads BLAS, so that threadpool_info lists it
    blas = next(
        (
            f"{pool['internal_api']} {pool['version']} ({pool.get('architecture', '?')})"
            for pool in threadpool_info()
            if pool["user_api"] == "blas"
        ),
        "unknown BLAS",
    )
    processor = names[0] if names else platform.processor() or platform.machine()
    return (
        f"{processor}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"NumPy {np.__version__}, {blas}"
    )


def sgemm_peak(n=1024):
    """Return the GFLOP/s of a product of n x n float32 matrices, the best of three, on all BLAS
    threads, at this moment."""
    a = np.ones((n, n), np.float32)
    best = min(_seconds(lambda: a @ a) for _ in range(3))
    return 2 * n**3 / best / 1e9


def _seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def in_turns(name, workers, rounds, progress, before_round=lambda: None):
    """Return the times of a step that the workers measure in turns: a list of lists, one for each
    round, with the seconds of each worker. Every other round goes the other way around."""
    turns = []
    for i in range(rounds):
        before_round()
        order = workers if i % 2 else workers[::-1]
        measured = {id(worker): worker.seconds(TURN) for worker in order}
        turns.append([measured[id(worker)] for worker in workers])
        progress.set_description(name, refresh=False)
        progress.update()
    return turns


def times(names, against, rounds, progress, second_core, with_compiled=False):
    """Return (rows of the table of times, whether every ratio meets its target, the versions).

    GFLOP/s count plain convolutions and products. Winograd's algorithm needs fewer operations, so
    that a step can exceed the peak of sgemm. second_core: a SecondCore, which measures in every
    round. with_compiled: whether two more columns have the time of PyTorch's variant "compiled",
    or a dash and the reason why it does not work.
    """
    versions = []
    rows = [
        ["workload", "batch", "tinygan ms", "GFLOP/s", "of sgemm"]
        + ([f"{SIDES[against]} ms", "its best", "ratio", "target", ""] if against else [])
        + (["compiled ms", "ratio to it"] if with_compiled else [])
    ]
    targets_met = True
    for name in names:
        workload = ALL[name]
        with contextlib.ExitStack() as stack:
            ours, *theirs = [
                stack.enter_context(Worker(side, workload, variant))
                for side, variant in _sides(against)
            ]
            versions = list(dict.fromkeys(worker.version for worker in (ours, *theirs)))
            compiled, failure = [], None
            if with_compiled:
                try:
                    compiled = [stack.enter_context(Worker(against, workload, "compiled"))]
                except InputError as error:
                    failure = str(error)
            flop, peaks = ours.flop(), []

            def before_round():
                peaks.append(sgemm_peak())
                second_core.measure()

            workers = [ours, *theirs, *compiled]
            turns = in_turns(name, workers, rounds, progress, before_round)
        of_worker = lambda k: [turn[k] for turn in turns]
        ratio_to = lambda k: statistics.median(turn[0] / turn[k] for turn in turns)
        ours_ms = 1e3 * statistics.median(of_worker(0))
        speed = flop / ours_ms / 1e6
        row = [
            name,
            str(workload.batch_size),
            f"{ours_ms:.1f}",
            f"{speed:.0f}",
            f"{speed / max(peaks):.0%}",
        ]
        if theirs:
            best = min(range(1, 1 + len(theirs)), key=lambda k: statistics.median(of_worker(k)))
            ratio = ratio_to(best)
            targets_met &= ratio <= workload.target
            row += [
                f"{1e3 * statistics.median(of_worker(best)):.1f}",
                workers[best].variant,
                f"{ratio:.2f}",
                f"{workload.target:.1f}",
                "" if ratio <= workload.target else "missed",
            ]
        if compiled:
            row += [f"{1e3 * statistics.median(of_worker(-1)):.1f}", f"{ratio_to(-1):.2f}"]
        elif with_compiled:
            row += ["-", failure]
        rows.append(row)
    return rows, targets_met, "; ".join(versions)


def gpu_times(names, against, rounds, progress):
    """Like `times`, on a GPU, where the target is the time of PyTorch's eager step.

    Eager: in PyTorch's faster memory format. Another column has PyTorch's whole step as a CUDA
    graph.
    """
    rows = [
        ["workload", "batch", "tinygan ms", "launches"]
        + (
            ["eager ms", "its best", "launches", "ratio", "target", "", "graph ms", "ratio"]
            if against
            else []
        )
    ]
    targets_met, versions = True, []
    number = lambda n: "?" if n is None else f"{n:.0f}"
    for name in names:
        with contextlib.ExitStack() as stack:
            workers = [
                stack.enter_context(Worker(side, WORKLOADS[name], variant, device="gpu"))
                for side, variant in _sides(against, "gpu")
            ]
            versions = list(dict.fromkeys(worker.version for worker in workers))
            turns = in_turns(name, workers, rounds, progress)
            launches = [worker.launches() for worker in workers[:3]]
        times = [1e3 * statistics.median(turn[k] for turn in turns) for k in range(len(workers))]
        row = [name, str(WORKLOADS[name].batch_size), f"{times[0]:.2f}", number(launches[0])]
        if against:
            best = min((1, 2), key=lambda k: times[k])
            ratio, of_graph = (
                statistics.median(turn[0] / turn[k] for turn in turns) for k in (best, 3)
            )
            targets_met &= ratio <= GPU_TARGET
            row += [
                f"{times[best]:.2f}",
                workers[best].variant,
                number(launches[best]),
                f"{ratio:.2f}",
                f"{GPU_TARGET:.1f}",
                "" if ratio <= GPU_TARGET else "missed",
                f"{times[3]:.2f}",
                f"{of_graph:.2f}",
            ]
        rows.append(row)
    return rows, targets_met, "; ".join(versions)


def memory(names, against, progress):
    """Return (rows of the table of peak memory, whether every ratio meets the target)."""
    rows = [
        ["workload", "tinygan MB"]
        + ([f"{SIDES[against]} MB", "its best", "ratio", "target", ""] if against else [])
    ]
    targets_met = True
    for name in names:
        measured = {}
        for side, variant in _sides(against):
            with Worker(side, ALL[name], variant) as worker:
                measured[variant] = worker.peak_memory()
            progress.update()
        if None in measured.values():
            return [["peak memory: not available on this system (needs Linux)"]], True
        ours = measured.pop(None)
        row = [name, f"{ours / 1e6:.0f}"]
        if measured:
            best = min(measured, key=measured.get)
            ratio = ours / measured[best]
            targets_met &= ratio <= MEMORY_TARGET
            row += [
                f"{measured[best] / 1e6:.0f}",
                best,
                f"{ratio:.2f}",
                f"{MEMORY_TARGET:.1f}",
                "" if ratio <= MEMORY_TARGET else "missed",
            ]
        rows.append(row)
    return rows, targets_met


def growth(progress):
    """Return rows: the time of a DCGAN step by batch size and image size, in microseconds per
    image. Where it is constant, the time of the step grows linearly."""
    batches, sizes = GROWTH
    rows = [["microseconds per image", *(f"batch {b}" for b in batches)]]
    for size in sizes:
        row = [f"{size}x{size}"]
        for batch in batches:
            with Worker("tinygan", WORKLOADS["dcgan"], None, batch, size) as worker:
                row.append(f"{worker.seconds(2 * TURN) / batch * 1e6:.0f}")
            progress.update()
        rows.append(row)
    return rows


def augmentation(rounds, progress):
    """Return (rows: the time that augmentation adds to a step of 64 images; whether all targets are
    met). The steps with and without augmentation take turns."""
    rows, targets_met = [["step, batch 64", "without ms", "with ms", "added", "target", ""]], True
    for name, (plain, target, _) in AUGMENTED.items():
        with (
            Worker("tinygan", WORKLOADS[plain], None, 64) as without,
            Worker("tinygan", find(name), None, 64) as augmented,
        ):
            turns = []
            for i in range(rounds):
                order = (without, augmented) if i % 2 else (augmented, without)
                measured = {id(worker): worker.seconds(2 * TURN) for worker in order}
                turns.append((measured[id(without)], measured[id(augmented)]))
                progress.update()
        added = statistics.median(b / a for a, b in turns) - 1
        targets_met &= added <= target
        rows.append(
            [
                name,
                *(f"{1e3 * statistics.median(turn[k] for turn in turns):.1f}" for k in (0, 1)),
                f"{added:.0%}",
                f"{target:.0%}",
                "" if added <= target else "missed",
            ]
        )
    return rows, targets_met


BIAS = tensor(np.ones(4), dtype="float32")
OVERHEAD = {
    "add": lambda x, y: x + y,
    "mul": lambda x, y: x * y,
    "matmul": lambda x, y: x @ y,
    "sub": lambda x, y: x - y,
    "div": lambda x, y: x / y,
    "exp": lambda x, y: ops.exp(x),
    "tanh": lambda x, y: ops.tanh(x),
    "relu": lambda x, y: ops.relu(x),
    "leaky_relu": lambda x, y: ops.leaky_relu(x),
    "sum": lambda x, y: x.sum(0, keepdims=True),
    "reshape": lambda x, y: x.reshape(1, 16),
    "transpose": lambda x, y: x.T,
    "getitem": lambda x, y: x[1:3],
    "softplus": lambda x, y: ops.softplus(x),
    "affine": lambda x, y: ops.affine(x, y, BIAS),
    "log_softmax": lambda x, y: ops.log_softmax(x),
}
FORWARD_TARGET = 10  # microseconds
BACKWARD_TARGETS = {"add": 15, "mul": 15, "matmul": 15}  # microseconds; 25 for the other ops


def overhead(repeats=2000):
    """Return rows: the minimum time of each op on 4x4 matrices, forward and backward. The matrices
    are so small that arithmetic takes almost no time.

    Backward is the time of a call of `grad` through one op, minus that of a call through no op.
    """
    rng = np.random.default_rng(0)
    x, y = (
        tensor(rng.standard_normal((4, 4)), requires_grad=True, dtype="float32") for _ in range(2)
    )
    g = tensor(np.ones((4, 4)), dtype="float32")
    nothing = min(_seconds(lambda: grad(x, [x, y], g)) for _ in range(repeats))
    rows = [["op", "forward us", "backward us", "targets", ""]]
    for name, f in OVERHEAD.items():
        forward, backward = [], []
        seed = tensor(np.ones(f(x, y).shape), dtype="float32")
        for _ in range(repeats):
            start = time.perf_counter()
            result = f(x, y)
            middle = time.perf_counter()
            grad(result, [x, y], seed)
            forward.append(middle - start)
            backward.append(time.perf_counter() - middle)
        times = 1e6 * min(forward), 1e6 * (min(backward) - nothing)
        targets = FORWARD_TARGET, BACKWARD_TARGETS.get(name, 25)
        missed = any(t > target for t, target in zip(times, targets))
        rows.append(
            [name, *(f"{t:.1f}" for t in times), "{}, {}".format(*targets), "missed" * missed]
        )
    return rows


def profiles(names, steps=10):
    """Return [(workload, table of its ops, number of steps, seconds per step in ops, seconds per
    step without the profiler)]."""
    results = []
    for name in names:
        with Worker("tinygan", ALL[name]) as worker:
            before = worker.main_seconds(TURN)
            text, steps_in_profile, inside = worker.profile(steps)
            after = worker.main_seconds(TURN)
            results.append((name, text, steps_in_profile, inside, (before + after) / 2))
    return results
