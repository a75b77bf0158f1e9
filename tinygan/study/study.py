"""The runs of a study, side by side; what they came to; figures and findings."""

import argparse
import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tinygan import plots
from tinygan.errors import InputError, Interrupted, say
from tinygan.files import checkpoint
from tinygan.kernels.cpu import parallel
from tinygan.settings import parse_assignments
from tinygan.training import recipes

from . import kept
from .figures import span
from .measure import chosen, command, measure

OF_NO_MATTER = {"sample_every", "checkpoint_every", "keep"}  # settings that change nothing of what is measured
SAMPLES_OF = "runs/"  # and a run's name: what its samples are called among the images


class Run:
    """What came of one run.

    label, seed; name: a short form of both, under which it is kept; folder: where it was trained;
    numbers: what is kept of it. Its parts are attributes, too: `seconds` (of training), `metrics`
    (of the last step, against the test images), `also`.
    """

    def __init__(self, label, seed, name, folder, numbers, images_file):
        self.label, self.seed, self.name, self.folder = label, seed, name, folder
        self.numbers, self._images_file = numbers, images_file

    def __getattr__(self, name):
        numbers = self.__dict__.get("numbers", {})
        if name in numbers:
            return numbers[name]
        if name in numbers.get("metrics", {}):
            return numbers["metrics"][name]
        known = ", ".join([*numbers, *numbers.get("metrics", {})])
        raise AttributeError(f"of {self.__dict__.get('label')}, {name} was not measured; there are: {known}")

    def number(self, path):
        """A number by its path, such as "fid" or "also.path_length.w"."""
        name, *keys = path.split(".")
        value = getattr(self, name)
        for key in keys:
            value = value[key]
        return value

    @property
    def images(self):
        """Samples, uint8 (40, H, H, C), in rows of ten; of a conditional recipe, a column per class.
        They are kept of the first seed only."""
        found = kept.images(self._images_file)
        if SAMPLES_OF + self.name not in found:
            raise InputError(f"of {self.label}, seed {self.seed}, no samples are kept: only of the first seed")
        return found[SAMPLES_OF + self.name]


class Study:
    """file, doc: the script's __file__ and __doc__; its command line is read. seeds: those of `--full`; otherwise one.

    Attributes: name; size, "tiny", "fast" or "full"; seeds; out, the folder of its figures. Of a full study that is stopped in
    the midst of a run, what that run has since its last checkpoint is lost on Windows, which has no signal to end a step by.
    """

    def __init__(self, file, doc, seeds=(0, 1, 2), argv=None):
        parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
        size = parser.add_mutually_exclusive_group()
        size.add_argument("--full", action="store_true", help="the real experiment; stop and go on at any time")
        size.add_argument("--tiny", action="store_true", help="a few steps of everything, to see that it runs")
        parser.add_argument("--seeds", type=int, nargs="+", metavar="N", help=f"default: 0; with --full {' '.join(map(str, seeds))}")
        parser.add_argument("--jobs", type=int, metavar="N", help="runs at a time, of one thread each; 1: one, of all threads "
                            "(default: the processor's cores)")
        parser.add_argument("--again", nargs="+", default=(), metavar="NAME",
                            help="with --full: measure these anew, runs or other measurements, by "
                                 "their names in results/")
        # Editors run cells in a kernel, whose command line is its own.
        args = parser.parse_args([] if argv is None and "ipykernel" in sys.modules else argv)
        if args.jobs is not None and args.jobs < 1 or min(args.seeds or [0]) < 0 or len(set(args.seeds or ())) < len(args.seeds or ()):
            parser.error("--jobs must be at least 1, and --seeds at least 0, each given once")
        file = Path(file).absolute()
        self.name, self.size = file.stem, "full" if args.full else "tiny" if args.tiny else "fast"
        self.seeds = tuple(args.seeds or (seeds if args.full else (0,)))
        self.jobs = args.jobs or (1 if args.tiny else parallel.cores())
        self.out, self.pictures = file.parent / "out", file.parent / "pictures"
        self.runs = file.parent / "runs" if args.full else self.out / "runs"
        results = file.parent / "results" if args.full else self.out / "results"
        self.numbers_file = results / f"{self.name}.json"
        self.images_file = results / f"{self.name}.npz"
        for path in () if args.full else (self.numbers_file, self.images_file):
            path.unlink(missing_ok=True)
        if unknown := {*args.again} - {*self._kept("runs"), *self._kept("measured")}:
            parser.error(f"--again {min(unknown)}: {self.numbers_file} has nothing of that name")
        for name in args.again:
            shutil.rmtree(self.runs / f"{self.name}-{name}", ignore_errors=True)
            for part in ("runs", "measured"):
                self._keep(part, lambda found: {key: found[key] for key in found if key != name})
        self.tables, self.changed = [], not args.full  # has a run been measured since its figures were drawn?
        if getattr(sys.modules["__main__"], "__file__", None) and Path(sys.modules["__main__"].__file__).absolute() == file:
            sys.excepthook = ends_in_a_line

    def _kept(self, part):
        """{name: what is kept of it} of the "runs", or of what else was "measured"."""
        return kept.numbers(self.numbers_file).get(part, {})

    def _keep(self, part, edit):
        """Keep edit(what is kept) of such a part."""
        kept.change(self.numbers_file, lambda old: old | {part: edit(old.get(part, {}))})

    def choose(self, tiny, fast, full):
        """One of the three, by the study's size."""
        return {"tiny": tiny, "fast": fast, "full": full}[self.size]

    def train(self, variants, recipe, common="", data=None, also=None, samples=None, **settings) -> dict:
        """{label: [Run of each seed]}: train and measure what is not there yet.

        variants: {label: settings in which it differs, as `--set` takes them, if need be after the name of another recipe};
        common, settings: those of all. data: default "digits", with `--full` "mnist". also(folder) -> dict: measures
        something more of a run. samples: to measure (default: 100, 2,000 or 10,000, by the study's size). Raises
        InputError if what is kept was measured with other settings.
        """
        data = data or self.choose("digits", "digits", "mnist")
        settings = parse_assignments(common.split()) | settings
        runs, left, names = {}, [], set()
        for label, changes in variants.items():
            own, *changes = changes.split() if changes and "=" not in changes.split()[0] else [recipe, *changes.split()]
            for seed in self.seeds:
                name = f"{re.sub('[^a-z0-9.]+', '-', label.lower()).strip('-')}-{seed}"
                folder = self.runs / f"{self.name}-{name}"
                job = {"recipe": own, "data": data, "seed": seed, "settings": settings | parse_assignments(changes),
                       "folder": str(folder), "samples": samples or self.choose(100, 2000, 10_000),
                       "reals": self.choose(200, None, None), "keep_samples": seed == self.seeds[0]}
                run = Run(label, seed, name, folder, self._known(name, job), self.images_file)
                runs.setdefault(label, []).append(run)
                if name in names:
                    raise InputError(f"{label}: another label comes to the same name, {name}")
                names.add(name)
                if not run.numbers or also and "also" not in run.numbers and not run.folder.exists():
                    left.append((run, job))
        # Seed by seed: what is compared runs at the same time, on a machine that is as busy.
        for run, (numbers, samples) in self._measured(sorted(left, key=lambda pair: pair[0].seed)):
            run.numbers, self.changed = numbers, True
            if samples is not None:
                samples = np.array(samples, np.uint8)
                kept.add_images(self.images_file, SAMPLES_OF + run.name, samples)
            self._keep("runs", lambda found: found | {run.name: run.numbers})
        for run in (run for found in runs.values() for run in found):
            if also and "also" not in run.numbers:
                run.numbers["also"] = also(run.folder)
                self._keep("runs", lambda found: found | {run.name: run.numbers})
        return runs

    def _known(self, name, job):
        """What is known of a run; {} where it must be measured."""
        if self.size != "full":
            shutil.rmtree(job["folder"], ignore_errors=True)
            return {}
        found, settings = self._kept("runs").get(name), dataclasses.asdict(chosen(job))
        images = kept.images(self.images_file)
        if not found or job["keep_samples"] and SAMPLES_OF + name not in images:
            return {}
        old = dataclasses.asdict(recipes.find(job["recipe"]).settings()) | found["settings"]
        asked = job["recipe"], job["data"], job["samples"]
        same = (found["recipe"], found["data"], found["metrics"]["samples"]) == asked
        if not same or any(old[key] != settings[key] for key in settings if key not in OF_NO_MATTER):
            raise InputError(f"{self.numbers_file}: {name} was measured with other settings: "
                             f"measure it again, with --again {name}")
        return found

    def _measured(self, left):
        """(run, (numbers, samples)) of each, as they come."""
        if self.jobs == 1:
            for i, (run, job) in enumerate(left, 1):
                print(f"{run.label}, seed {run.seed} ({i} of {len(left)}): {command(job)}", flush=True)
                yield run, measure(job)
        else:
            with ends_as_by_ctrl_c():
                yield from self._side_by_side(left)

    def _side_by_side(self, left):
        """As many processes of one thread as there are jobs, and one bar for all of them."""
        waiting, running, done = list(left), {}, 0
        total = sum(chosen(job).steps for _, job in left)
        environment = {**os.environ, "TINYGAN_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        for run, job in left:
            print(f"{run.label}, seed {run.seed}: {command(job)}")
        with tqdm(total=total, unit="step", dynamic_ncols=True, mininterval=0.2 if sys.stderr.isatty() else 30) as bar:
            bar.update(sum(checkpoint.last_step(job["folder"]) for _, job in left))
            bar.initial = bar.n
            try:
                while waiting or running:
                    while waiting and len(running) < self.jobs:
                        run, job = waiting.pop(0)
                        out, errors = tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")
                        # A session of its own: Ctrl-C is for this process, which hands it on.
                        process = subprocess.Popen([sys.executable, "-m", "tinygan.study", json.dumps(job)], stdout=out,
                                                   stderr=errors, env=environment, start_new_session=True)
                        running[process] = run, job, out, errors
                    time.sleep(0.3)
                    for process in [process for process in running if process.poll() is not None]:
                        run, job, out, errors = running.pop(process)
                        said = [read(file) for file in (out, errors)]
                        if process.returncode:
                            raise InputError(f"{run.label}, seed {run.seed}: {(said[1].strip() or 'it was killed').splitlines()[-1]}")
                        for line in said[1].splitlines():
                            bar.write(f"{run.label}, seed {run.seed}: {line}", sys.stderr)
                        done += chosen(job).steps
                        yield run, json.loads(said[0])
                    bar.update(done + sum(last_logged(job["folder"]) for _, job, *_ in running.values())
                               + sum(checkpoint.last_step(job["folder"]) for _, job in waiting) - bar.n)
            finally:
                for process in running:
                    process.send_signal(signal.SIGTERM)
                for process, (*_, out, errors) in running.items():
                    process.wait()
                    out.close(), errors.close()

    # Figures and findings

    def images(self, name, make):
        """What make() draws, uint8 images (N, H, W, C). With --full they are kept, so that figures
        can be drawn again where the runs are gone."""
        if self.changed or name not in kept.images(self.images_file):
            kept.add_images(self.images_file, name, make())
        return kept.images(self.images_file)[name]

    def numbers(self, name, make):
        """What make() measures, numbers and lists of them. With --full they are kept; `--again NAME`
        measures them again."""
        if self.size != "full" or name not in self._kept("measured"):
            made = make()
            self._keep("measured", lambda found: found | {name: made})
        return self._kept("measured")[name]

    def figure(self, width, height, *grid, **settings):
        """(a matplotlib Figure of that many inches, its axes: as `subplots` takes a grid and makes them)."""
        from matplotlib.figure import Figure

        figure = Figure((width, height), layout="constrained")
        return figure, figure.subplots(*grid, **settings)

    def folders(self):
        """Where pictures go: into out/, and of the full size also into pictures/."""
        found = [self.out, *[self.pictures] * (self.size == "full")]
        for folder in found:
            folder.mkdir(parents=True, exist_ok=True)
        return found

    def save(self, figure, *small) -> None:
        """Write the figure as NAME.png; and NAME-small.png, what is around the axes `small` of it (default: all)."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.transforms import Bbox

        figure.set_dpi(110)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        image = np.asarray(canvas.buffer_rgba())[..., :3]
        box = Bbox.union([axes.get_tightbbox() for axes in small or figure.axes]).padded(6)
        (left, bottom), (right, top) = np.clip([box.min, box.max], 0, image.shape[1::-1]).astype(int)
        for folder in self.folders():
            plots.save_image(folder / f"{self.name}.png", image)
            plots.save_image(folder / f"{self.name}-small.png", image[len(image) - top:len(image) - bottom, left:right])
        print(f"figure: {self.out / f'{self.name}.png'}")
        if "ipykernel" in sys.modules:
            from IPython.display import display

            display(figure)

    def table(self, head, *rows) -> None:
        """Print a table of texts and numbers, as Markdown; `finding` keeps it."""
        lines = [[cell if isinstance(cell, str) else f"{cell:,}" for cell in row] for row in (head, *rows)]
        widths = [max(map(len, column)) for column in zip(*lines)]
        form = lambda cells, fill=" ": "|" + "|".join(f"{fill}{cell:{fill}<{width}}{fill}" for cell, width in zip(cells, widths)) + "|"
        print("\n" + "\n".join([form(lines[0]), form([""] * len(head), "-"), *map(form, lines[1:])]) + "\n")
        self.tables = [table for table in self.tables if table[0] != lines[0]] + [lines]  # a cell may be run again

    def compare(self, head, runs, columns) -> None:
        """A table with a row for each label of `runs`. columns: {title: (path of the number, digits)}."""
        self.table((head, *columns), *((label, *(span((run.number(path) for run in found), digits) for path, digits in columns.values()))
                                       for label, found in runs.items()))

    def finding(self, sentence, holds=None, details="", **numbers) -> None:
        """Print what came of it, and keep it in results/, as NAME.json: one sentence, which claims hold, {claim: bool}, what else
        there is to say, the tables, and other numbers."""
        holds = {claim: bool(it_does) for claim, it_does in (holds or {}).items()}
        found = {"finding": sentence, "holds": holds, "details": details, "size": self.size, "seeds": list(self.seeds),
                 "tables": self.tables, **numbers}
        kept.change(self.numbers_file, lambda old: found | {
            part: old[part] for part in ("measured", "runs") if part in old})
        if details:
            print(details)
        for claim, it_does in holds.items():
            print(f"claim: {claim}: {'yes' if it_does else 'no, or not clearly'}")
        print(f"finding: {sentence}")


def ends_in_a_line(kind, error, trace):
    """sys.excepthook of a script: what is no bug is told without a traceback."""
    if issubclass(kind, InputError):
        say(f"error: {error}")
        raise SystemExit(2)
    if issubclass(kind, KeyboardInterrupt):
        say("interrupted: of --full, what is done is kept; the same command goes on from there")
        raise SystemExit(128 + getattr(error, "signal", signal.SIGINT))
    sys.__excepthook__(kind, error, trace)


@contextlib.contextmanager
def ends_as_by_ctrl_c():
    """Within, SIGTERM and a terminal that hangs up end us as Ctrl-C does: by an exception, so that our processes end too."""
    def handler(number, frame):
        raise Interrupted(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = [signal.SIGTERM] + ([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])
    before = {number: signal.signal(number, handler) for number in signals}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def last_logged(folder):
    """The step that a run has come to."""
    path = Path(folder) / "log.jsonl"
    if not path.exists():
        return 0
    with open(path, "rb") as file:
        file.seek(max(0, os.path.getsize(path) - 5000))
        steps = re.findall(rb'^\{"step": (\d+),', file.read(), re.MULTILINE)
    return int(steps[-1]) if steps else 0


def read(file):
    with file:
        file.seek(0)
        return file.read()
