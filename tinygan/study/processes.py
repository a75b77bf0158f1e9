"""Train and measure several runs of a study in parallel, each in a process of one thread."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tqdm import tqdm

from tinygan.errors import InputError, interrupt, on_signals
from tinygan.files import is_file, open_file
from tinygan.notebook import stream_for_bars
from tinygan.screen import Display

from .measure import settings_of


def measure_in_parallel(runs, max_processes):
    """Yield (run, results of `train_and_measure` for its job) for each run, in the order in which
    they finish.

    runs: [(Run, job)]. max_processes: how many processes run at the same time. One progress bar
    shows the steps of all of them. Raises InputError if a run fails. No process is left running,
    however this ends.
    """
    if not runs:
        return  # and show no empty bar
    jobs, waiting, running = [job for _, job in runs], list(runs), {}
    steps_done = lambda: sum(logged_step(job["folder"]) for job in jobs)
    display, stream = Display(sys.stderr), stream_for_bars()
    environment = {**os.environ, "TINYGAN_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with (
        on_signals(["SIGTERM", "SIGHUP"], interrupt),
        tqdm(
            total=sum(settings_of(job).steps for job in jobs),
            initial=steps_done(),
            unit="step",
            file=stream,
            dynamic_ncols=True,
            mininterval=0.2 if stream.isatty() else 30,
        ) as bar,
    ):
        try:
            while waiting or running:
                while waiting and len(running) < max_processes:
                    run, job = waiting.pop(0)
                    process = subprocess.Popen(
                        [sys.executable, "-m", "tinygan.study", json.dumps(job)],
                        text=True,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE,
                        env=environment,
                        # Ctrl-C must reach only this process, which then terminates the others.
                        start_new_session=True,
                    )
                    running[process] = run
                for process in list(running):
                    try:
                        out, errors = process.communicate(timeout=0.3 / len(running))
                    except subprocess.TimeoutExpired:
                        continue
                    run, lines = running.pop(process), errors.strip().splitlines()
                    if process.returncode:
                        raise InputError(f"{run}: {lines[-1] if lines else 'it was killed'}")
                    for line in lines:
                        bar.write(f"{run}: {line}", display)
                    yield run, json.loads(out)
                bar.update(steps_done() - bar.n)
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.communicate()


def logged_step(folder: str | Path) -> int:
    """Return the step of the last line of a run's log, or 0 if there is none."""
    path = Path(folder) / "log.jsonl"
    if not is_file(path):
        return 0
    with open_file(path) as file:
        tail = file.read()[-5000:]
    steps = re.findall(rb'^\{"step": (\d{1,10}),', tail, re.MULTILINE)
    return int(steps[-1]) if steps else 0
