"""The runs of a study side by side, each in a process of one thread."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tqdm import tqdm

from tinygan.errors import InputError, interrupt, on_signals
from tinygan.training import recipes


def side_by_side(runs, at_once):
    """(Run, what `measure` returns of its job), as they end. runs: [(Run, its job)]; at_once: how
    many processes there are at a time, with one progress bar for all.

    Raises InputError if a run fails. However this ends, its processes have ended before.
    """
    jobs, waiting, running = [job for _, job in runs], list(runs), {}
    steps_done = lambda: sum(logged_step(job["folder"]) for job in jobs)
    environment = {**os.environ, "TINYGAN_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with (
        on_signals(["SIGTERM", "SIGHUP"], interrupt),
        tqdm(
            total=sum(recipes.settings_of(job).steps for job in jobs),
            initial=steps_done(),
            unit="step",
            dynamic_ncols=True,
            mininterval=0.2 if sys.stderr.isatty() else 30,
        ) as bar,
    ):
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    run, job = waiting.pop(0)
                    # A session of its own: Ctrl-C is for us alone, and we tell our processes.
                    running[
                        subprocess.Popen(
                            [sys.executable, "-m", "tinygan.study", json.dumps(job)],
                            text=True,
                            stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE,
                            env=environment,
                            start_new_session=True,
                        )
                    ] = run
                for process in list(running):
                    try:
                        out, errors = process.communicate(timeout=0.3 / len(running))
                    except subprocess.TimeoutExpired:
                        continue
                    run, lines = running.pop(process), errors.strip().splitlines()
                    if process.returncode:
                        raise InputError(f"{run}: {lines[-1] if lines else 'it was killed'}")
                    for line in lines:
                        bar.write(f"{run}: {line}", sys.stderr)
                    yield run, json.loads(out)
                bar.update(steps_done() - bar.n)
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.communicate()


def logged_step(folder):
    """The step in the last line of a run's log."""
    path = Path(folder) / "log.jsonl"
    tail = path.read_bytes()[-5000:] if path.exists() else b""
    steps = re.findall(rb'^\{"step": (\d+),', tail, re.MULTILINE)
    return int(steps[-1]) if steps else 0
