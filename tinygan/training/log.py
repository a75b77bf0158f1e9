"""The log of a run: log.jsonl, time.jsonl and the progress bar."""

import contextlib
import itertools
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np
from tqdm import tqdm

from tinygan.backend import in_host_memory
from tinygan.errors import InputError
from tinygan.files import is_file, open_file, replacing, schema, writing
from tinygan.files.schema import LOG_EVERY
from tinygan.notebook import bar_options
from tinygan.screen import Display

from . import health
from .statistics import to_floats

CURVE_POINTS = 1000  # the largest number of points in a curve: a picture has no more columns


class Log:
    """Writes log.jsonl and time.jsonl, a line for every LOG_EVERY steps, and shows the progress
    bar. on_step: see `Trainer.run`."""

    def __init__(
        self,
        trainer: Any,
        progress: bool,
        on_step: Callable[[dict[str, float]], bool] | None = None,
    ):
        self.trainer, self.algorithm, self.on_step = trainer, trainer.algorithm, on_step
        self.images_at_start, self.start_time = self.algorithm.images, time.perf_counter()
        has_threshold = self.algorithm.objectives.loss.threshold is not None
        self.warnings_for = health.CollapseWarnings(has_threshold, LOG_EVERY)
        self.last_step = 0  # of the lines so far
        for row in rows(trainer.out):
            self.last_step = row["step"]
            self.warnings_for(row)  # so that a resumed run does not warn again
        self.display = Display(sys.stderr)
        self.bar = tqdm(
            total=trainer.settings.steps,
            initial=trainer.step,
            unit="step",
            disable=not progress,
            **bar_options(),
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

    def add_step(self) -> bool:
        """Write a line if the last step, whose numbers are `unlogged`, completes LOG_EVERY steps,
        move the progress bar on, and call on_step. Return whether on_step asks to stop the run."""
        numbers = self.trainer.unlogged[-1]
        if self.is_complete() or all(map(in_host_memory, numbers.values())):
            self.check_finite()
        self.complete_row()
        self.bar.update()
        return self.on_step is not None and self.on_step(to_floats(numbers))

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
            f"{(a.images - self.images_at_start) / seconds:.0f} {a.dataset.unit}/s",
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
    folder: Path,
    max_rows: float = math.inf,
    name: str = "log.jsonl",
    last_step: float = math.inf,
    needs: str = "step",
) -> Iterator[dict[str, Any]]:
    """Yield the lines of log.jsonl, or of time.jsonl or eval.jsonl, up to last_step as dicts; if
    there are more than `max_rows` lines, only every k-th line.

    needs: a key that the caller needs, and that an older version may not have written.

    A last line that is incomplete, because the run was killed, is left out. Raises InputError, with
    the number of the line, for any other line that is not as files/schema.py says, and if the steps
    do not rise. Of lines after last_step, only the steps are checked.
    """
    return (row for row, _ in _rows_with_ends(folder / name, max_rows, last_step, needs))


def _rows_with_ends(path, max_rows=math.inf, last_step=math.inf, needs="step"):
    """Yield (row, position of its end in the file) for the lines of `rows`."""
    if not is_file(path):
        return
    with open_file(path) as file:
        every, step, end = math.ceil(_count_lines(file) / max_rows) or 1, -1, 0
        for i in itertools.count(1):
            line = file.readline(schema.LINE_BYTES + 1)
            end += len(line)
            try:
                if len(line) > schema.LINE_BYTES:
                    raise ValueError(f"it is longer than {schema.LINE_BYTES:,} bytes")
                complete = line.endswith(b"\n")
                if complete and i % every:
                    continue
                try:
                    row = schema.parse(line)
                except ValueError:
                    if not complete:  # the end of the file
                        return
                    raise
                schema.LATER_ROW(row, "")
                # An evaluation may be repeated.
                if row["step"] < step + (path.name != "eval.jsonl"):
                    raise ValueError(f"its step is {row['step']}, after step {step}")
                step = row["step"]
                if step <= last_step:
                    schema.ROWS[path.name](row, "")
                    if needs not in row:
                        raise ValueError(f"it lacks {needs}")
                    yield row, end
            except ValueError as error:
                raise InputError(
                    f"{path}, line {i} is damaged ({error}): correct the line, or rename the file "
                    "to go on without it"
                ) from None


def _count_lines(file):
    count = sum(part.count(b"\n") for part in iter(lambda: file.read(1 << 20), b""))
    file.seek(0)
    return count


def ends_of_step(folder: Path, step: int) -> dict[Path, int]:
    """Return {log: the position in it at which the lines up to this step end}. Raises InputError if
    one of these lines is damaged."""
    ends = {folder / name: 0 for name in schema.ROWS if is_file(folder / name)}
    for path in ends:
        for _, ends[path] in _rows_with_ends(path, last_step=step):
            pass
    return ends


def cut(ends: dict[Path, int]) -> None:
    """Remove from logs all that comes after the positions of `ends_of_step`. A log with several
    names is replaced, because it will be written to, and the others keep their contents."""
    for path, end in ends.items():
        with open_file(path) as file:
            content, has_other_names = file.read(), os.fstat(file.fileno()).st_nlink > 1
        kept = content[:end]
        if kept and not kept.endswith(b"\n"):
            kept += b"\n"
        if kept != content or has_other_names:
            with replacing(path) as file:
                file.write(kept)
