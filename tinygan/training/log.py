"""The log of a run: its progress bar, log.jsonl and time.jsonl."""

import contextlib
import json
import math
import os
import sys
import time

import numpy as np
from tqdm import tqdm

from tinygan.backend import in_host_memory
from tinygan.files import replacing, writing

from . import health
from .statistics import read

LOG_EVERY = 10  # steps averaged in one line of log.jsonl
POINTS = 1000  # of each curve, at most: as many as a picture has columns


class Log:
    """The progress bar, log.jsonl and time.jsonl of a run: a line for every LOG_EVERY steps."""

    def __init__(self, trainer, progress):
        self.trainer, self.algorithm = trainer, trainer.algorithm
        self.first, self.started = self.algorithm.images, time.perf_counter()
        self.signs = health.Signs(self.algorithm.objectives.loss.threshold is not None, LOG_EVERY)
        for row in rows(trainer.out):
            self.signs(row)  # which were warned of before a resumed run broke off
        self.bar = tqdm(
            total=trainer.settings.steps,
            initial=trainer.step,
            unit="step",
            disable=not progress,
            dynamic_ncols=True,
            mininterval=0.2 if sys.stderr.isatty() else 10,
        )  # rarely into a file
        with writing(trainer.out / "log.jsonl"):
            self.numbers, self.times = (
                open(trainer.out / name, "a") for name in ("log.jsonl", "time.jsonl")
            )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.bar.close()
        for file in (self.numbers, self.times):
            # What a full disk did not take is tried again; that must not hide the first error.
            with contextlib.suppress(OSError) if exception[0] else writing(file.name):
                file.close()

    def add(self, numbers):
        """Take in the numbers of one step."""
        t = self.trainer
        t.recent.append(numbers)
        due = t.step % LOG_EVERY == 0 or t.step == t.settings.steps
        if due or all(map(in_host_memory, numbers.values())):
            self.read()
        if due:
            # The number of a lazy penalty is not in all of them.
            keys = dict.fromkeys(key for r in t.recent for key in r)
            row = {key: float(np.mean([r[key] for r in t.recent if key in r])) for key in keys}
            t.recent.clear()
            self.write(row)
        self.bar.update()

    def write(self, row):
        t, a = self.trainer, self.algorithm
        seconds = time.perf_counter() - self.started
        warnings = self.signs(row)
        for warning in warnings:
            self.bar.write(f"tinygan: warning: step {t.step}: {warning}", sys.stderr)
        said = {"warnings": warnings} if warnings else {}
        phases = {name: round(spent, 4) for name, spent in a.execution.seconds.items()}
        with writing(t.out / "log.jsonl"):
            print(
                json.dumps({"step": t.step, "images": a.images, **row, **said}),
                file=self.numbers,
                flush=True,
            )
            print(
                json.dumps({"step": t.step, "seconds": round(seconds, 3), "phases": phases}),
                file=self.times,
                flush=True,
            )
        size = f"{a.growth.describe(a.lod)}  " if a.growth else ""
        p = f"  p {row['p']:.2f}" if "p" in row else ""
        self.bar.set_postfix_str(
            f"{size}D {row['d_loss']:.2f}  G {row['g_loss']:.2f}{p}  "
            f"{(a.images - self.first) / seconds:.0f} images/s",
            refresh=False,
        )

    def read(self):
        """Bring the numbers so far to the host. Raises Diverged if one is not finite."""
        t = self.trainer
        t.recent[:] = map(read, t.recent)
        for step, row in enumerate(t.recent, t.step - len(t.recent) + 1):
            for name, value in row.items():
                if not math.isfinite(value):
                    networks = {"G": self.algorithm.G, "D": self.algorithm.D}
                    found = health.first_of(health.weights(networks))
                    also = f", and by now the weight {found}" if found else ""
                    raise health.diverged(step, f"{name} is {value}{also}")

    def flush(self):
        """See to it that the lines so far are on the disk."""
        with writing(self.trainer.out / "log.jsonl"):
            os.fsync(self.numbers.fileno())


def rows(folder, most=math.inf, name="log.jsonl"):
    """The whole lines of a log, as dicts, one after another; thinned out evenly to `most` of them."""
    path = folder / name
    if not path.exists():
        return
    with open(path) as file:
        every = max(1, math.ceil(sum(1 for _ in file) / most))
        file.seek(0)
        for i, line in enumerate(file, 1):
            if i % every == 0 and step_of(line) < math.inf:
                yield json.loads(line)


def best_fid(folder):
    """The lowest FID of the evaluations in eval.jsonl; infinite if there is none."""
    return min((row["fid"] for row in rows(folder, name="eval.jsonl")), default=math.inf)


def cut(folder, step) -> None:
    """Take out of a run's logs what was written after that step."""
    for name in ("log.jsonl", "time.jsonl", "eval.jsonl"):
        path = folder / name
        if path.exists():
            lines = path.read_text(errors="replace").splitlines(keepends=True)
            kept = [line for line in lines if line.endswith("\n") and step_of(line) <= step]
            with replacing(path) as temporary:
                temporary.write_text("".join(kept))


def step_of(line):
    """The step of a line of the log; infinite for a line cut short when the run was killed."""
    try:
        step = json.loads(line)["step"]
        return step if isinstance(step, int) else math.inf
    except (ValueError, KeyError, TypeError, RecursionError):
        return math.inf
