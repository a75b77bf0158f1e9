"""The log of a run: log.jsonl, time.jsonl and the progress bar."""

import contextlib
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any, Iterator

import numpy as np
from tqdm import tqdm

from tinygan.backend import in_host_memory
from tinygan.files import is_file, open_file, read_text, replacing, writing
from tinygan.screen import Display

from . import health
from .statistics import to_floats

LOG_EVERY = 10  # the number of steps whose numbers are averaged in each line of log.jsonl
CURVE_POINTS = 1000  # the largest number of points in a curve: a picture has no more columns


class Log:
    """Writes log.jsonl and time.jsonl, a line for every LOG_EVERY steps, and shows the progress
    bar."""

    def __init__(self, trainer: Any, progress: bool):
        self.trainer, self.algorithm = trainer, trainer.algorithm
        self.images_at_start, self.start_time = self.algorithm.images, time.perf_counter()
        has_threshold = self.algorithm.objectives.loss.threshold is not None
        self.warnings_for = health.CollapseWarnings(has_threshold, LOG_EVERY)
        self.last_step = 0  # of the lines so far
        for row in rows(trainer.out):
            self.last_step = row["step"]
            self.warnings_for(row)  # so that a resumed run does not warn again
        self.display = Display(sys.stderr)
        self.bar = tqdm(
            file=self.display,
            total=trainer.settings.steps,
            initial=trainer.step,
            unit="step",
            disable=not progress,
            dynamic_ncols=True,
            mininterval=0.2 if self.display.isatty() else 10,  # rarely into a file
        )
        with writing(trainer.out / "log.jsonl"):
            self.log_file, self.time_file = (
                open_file(trainer.out / name, "a") for name in ("log.jsonl", "time.jsonl")
            )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.bar.close()
        for file in (self.log_file, self.time_file):
            # On a full disk, close() tries again to write the rest. Its error must not hide the
            # first one.
            with contextlib.suppress(OSError) if exception[0] else writing(file.name):
                file.close()

    def add_step(self) -> None:
        """Write a line if the last step, whose numbers are `unlogged`, completes LOG_EVERY steps,
        and move the progress bar on."""
        if self.is_complete() or all(map(in_host_memory, self.trainer.unlogged[-1].values())):
            self.check_finite()
        self.complete_row()
        self.bar.update()

    def is_complete(self) -> bool:
        """Return whether a line ends at this step."""
        t = self.trainer
        return t.step % LOG_EVERY == 0 or t.step == t.settings.steps

    def complete_row(self) -> None:
        """Write the line that ends at this step, unless there is none, or it is there already."""
        t = self.trainer
        if not self.is_complete() or not t.unlogged:
            return
        if self.last_step < t.step:
            # Not every step has the number of a lazy penalty.
            keys = dict.fromkeys(key for n in t.unlogged for key in n)
            self.write_row(
                {key: float(np.mean([n[key] for n in t.unlogged if key in n])) for key in keys}
            )
        t.unlogged.clear()

    def write_row(self, row: dict[str, Any]) -> None:
        """Write a line to both files, warn of signs of collapse, and update the progress bar."""
        t, a = self.trainer, self.algorithm
        seconds = time.perf_counter() - self.start_time
        warnings = self.warnings_for(row)
        for warning in warnings:
            self.bar.write(f"tinygan: warning: step {t.step}: {warning}", self.display)
        warned = {"warnings": warnings} if warnings else {}
        phases = {name: round(spent, 4) for name, spent in a.execution.seconds.items()}
        with writing(t.out / "log.jsonl"):
            print(
                json.dumps({"step": t.step, "images": a.images, **row, **warned}),
                file=self.log_file,
                flush=True,
            )
            print(
                json.dumps({"step": t.step, "seconds": round(seconds, 3), "phases": phases}),
                file=self.time_file,
                flush=True,
            )
        size = f"{a.growth.describe(a.lod)}  " if a.growth else ""
        p = f"  p {row['p']:.2f}" if "p" in row else ""
        self.bar.set_postfix_str(
            f"{size}D {row['d_loss']:.2f}  G {row['g_loss']:.2f}{p}  "
            f"{(a.images - self.images_at_start) / seconds:.0f} images/s",
            refresh=False,
        )

    def check_finite(self) -> None:
        """Convert the numbers since the last line to floats (which waits for a GPU). Raise Diverged
        if one is not finite."""
        t = self.trainer
        t.unlogged[:] = map(to_floats, t.unlogged)
        for step, numbers in enumerate(t.unlogged, t.step - len(t.unlogged) + 1):
            for name, value in numbers.items():
                if not math.isfinite(value):
                    networks = {"G": self.algorithm.G, "D": self.algorithm.D}
                    weight = health.first_not_finite(health.named_weights(networks))
                    also = f", and by now the weight {weight}" if weight else ""
                    raise health.diverged(step, f"{name} is {value}{also}")

    def flush(self) -> None:
        """Make sure that all lines so far are on the disk."""
        with writing(self.trainer.out / "log.jsonl"):
            os.fsync(self.log_file.fileno())


def rows(
    folder: Path, max_rows: float = math.inf, name: str = "log.jsonl"
) -> Iterator[dict[str, Any]]:
    """Yield the complete lines of a log as dicts; if there are more than `max_rows`, only every
    k-th line."""
    path = folder / name
    if not is_file(path):
        return
    with open_file(path, "r") as file:
        every = max(1, math.ceil(sum(1 for _ in file) / max_rows))
        file.seek(0)
        for i, line in enumerate(file, 1):
            if i % every == 0 and step_of(line) < math.inf:
                yield json.loads(line)


def best_fid(folder: Path) -> float:
    """Return the lowest FID in eval.jsonl, or infinity if there is none."""
    return min((row["fid"] for row in rows(folder, name="eval.jsonl")), default=math.inf)


def remove_after(folder: Path, step: int) -> None:
    """Remove from a run's logs all lines of later steps, and incomplete lines."""
    for name in ("log.jsonl", "time.jsonl", "eval.jsonl"):
        path = folder / name
        if is_file(path):
            lines = read_text(path, errors="replace").splitlines(keepends=True)
            kept = [line for line in lines if line.endswith("\n") and step_of(line) <= step]
            with replacing(path) as file:
                file.write("".join(kept).encode())


def step_of(line: str) -> float:
    """Return the step of a line of the log, or infinity if the line is incomplete because the run
    was killed."""
    try:
        step = json.loads(line)["step"]
        return step if isinstance(step, int) else math.inf
    except (ValueError, KeyError, TypeError, RecursionError):
        return math.inf
