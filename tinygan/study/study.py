"""A Study: its command line, its Runs, its figures and findings."""

import argparse
import dataclasses
import re
import shutil
import sys
from pathlib import Path

import numpy as np

from tinygan import plots
from tinygan.errors import InputError, exit_code, say
from tinygan.kernels.cpu import parallel
from tinygan.settings import parse_assignments
from tinygan.training import recipes

from . import kept
from .figures import span
from .measure import command, measure
from .processes import side_by_side

UNMEASURED = {"sample_every", "checkpoint_every", "keep"}  # settings that change no measurement


class Run:
    """What came of one run.

    label, seed; name: a short form of both, under which it is kept; folder: where it was trained;
    numbers: what is kept of it. Its parts are attributes, too: `seconds` (of training), `metrics`
    (of the last step, against the test images), `also`; and so are those of `metrics`: `fid`, ...
    """

    def __init__(self, label, seed, name, folder, numbers, images_file):
        self.label, self.seed, self.name, self.folder = label, seed, name, folder
        self.numbers, self._images_file = numbers, images_file

    def __str__(self):
        return f"{self.label}, seed {self.seed}"

    def __getattr__(self, name):
        numbers = vars(self).get("numbers", {})
        known = numbers | numbers.get("metrics", {})
        if name not in known:
            raise AttributeError(
                f"of {vars(self).get('label')}, {name} was not measured; "
                f"there are: {', '.join(known)}"
            )
        return known[name]

    def number(self, path):
        """A number by its path, such as "fid" or "also.path_length.w"."""
        name, *keys = path.split(".")
        value = getattr(self, name)
        for key in keys:
            value = value[key]
        return value

    @property
    def images_name(self):
        """What its samples are called among the images that are kept."""
        return f"runs/{self.name}"

    @property
    def images(self):
        """Samples, uint8 (40, H, W, C), in rows of ten; of a conditional recipe, a column per
        class. They are kept of the first seed only."""
        found = kept.images(self._images_file)
        if self.images_name not in found:
            raise InputError(f"of {self}, no samples are kept: only of the first seed")
        return found[self.images_name]


class Study:
    """file, doc: the script's __file__ and __doc__; its command line is read. seeds: those of
    `--full`; otherwise one.

    Attributes: name; size, "tiny", "fast" or "full"; seeds; out, the folder of its figures. If a
    full study is stopped in the midst of a run, then on Windows, which has no signal to end a step
    by, what that run has done since its last checkpoint is lost.
    """

    def __init__(self, file, doc, seeds=(0, 1, 2), argv=None):
        file, parser = Path(file).absolute(), make_parser(doc, seeds)
        # Editors run cells in a kernel, whose command line is its own.
        args = parser.parse_args([] if argv is None and "ipykernel" in sys.modules else argv)
        chosen = args.seeds or ()
        if (
            args.jobs is not None
            and args.jobs < 1
            or min(chosen, default=0) < 0
            or len({*chosen}) < len(chosen)
        ):
            parser.error("--jobs must be at least 1, and --seeds at least 0, each given once")
        self.name, self.size = file.stem, args.size
        full = self.size == "full"
        self.seeds = tuple(chosen or (seeds if full else (0,)))
        self.jobs = args.jobs or (1 if self.size == "tiny" else parallel.cores())
        self.out, self.pictures = file.parent / "out", file.parent / "pictures"
        folder = file.parent if full else self.out
        self.runs, results = folder / "runs", folder / "results"
        self.numbers_file, self.images_file = (
            results / f"{self.name}{suffix}" for suffix in (".json", ".npz")
        )
        for path in () if full else (self.numbers_file, self.images_file):
            path.unlink(missing_ok=True)
        if unknown := {*args.again} - {*self._kept("runs"), *self._kept("measured")}:
            parser.error(f"--again {min(unknown)}: {self.numbers_file} has nothing of that name")
        for name in args.again:
            shutil.rmtree(self._folder(name), ignore_errors=True)
            for part in ("runs", "measured"):
                self._keep(part, lambda old: {key: old[key] for key in old if key != name})
        self.tables = []
        self.changed = not full  # has a run been measured since its figures were drawn?
        if Path(getattr(sys.modules["__main__"], "__file__", None) or "").absolute() == file:
            sys.excepthook = say_in_one_line

    def _folder(self, name):
        return self.runs / f"{self.name}-{name}"

    def _kept(self, part):
        """{name: numbers} that are kept, of the "runs" or of what else was "measured"."""
        return kept.numbers(self.numbers_file).get(part, {})

    def _keep(self, part, edit):
        """Replace these by edit(them)."""
        kept.change(self.numbers_file, lambda old: old | {part: edit(old.get(part, {}))})

    def choose(self, tiny, fast, full):
        """One of the three, by the study's size."""
        return {"tiny": tiny, "fast": fast, "full": full}[self.size]

    # Runs

    def train(
        self, variants, recipe, common="", data=None, also=None, samples=None, **settings
    ) -> dict:
        """{label: [Run of each seed]}: train and measure what is not there yet.

        variants: {label: settings in which it differs, as `--set` takes them, if need be after the
        name of another recipe}; common, settings: those of all. data: default "digits", with
        `--full` "mnist". also(folder) -> dict: measures something more of a run. samples: how many
        to measure (default: 100, 2,000 or 10,000, by the study's size). Raises InputError if what
        is kept was measured with other settings.
        """
        shared = {
            "data": data or self.choose("digits", "digits", "mnist"),
            "samples": samples or self.choose(100, 2000, 10_000),
            "reals": self.choose(200, None, None),
        }
        settings, runs, to_measure = parse_assignments(common.split()) | settings, {}, []
        for label, changes in variants.items():
            changes = changes.split()
            own = changes.pop(0) if changes and "=" not in changes[0] else recipe
            for seed in self.seeds:
                name = f"{re.sub('[^a-z0-9.]+', '-', label.lower()).strip('-')}-{seed}"
                if name in runs:
                    raise InputError(f"{label}: another label comes to the same name, {name}")
                job = shared | {
                    "recipe": own,
                    "seed": seed,
                    "folder": str(self._folder(name)),
                    "settings": settings | parse_assignments(changes),
                    "keep_samples": seed == self.seeds[0],
                }
                run = runs[name] = Run(label, seed, name, self._folder(name), {}, self.images_file)
                run.numbers = self._numbers_kept(run, job)
                missing = also and "also" not in run.numbers and not run.folder.exists()
                if missing or not run.numbers:
                    to_measure.append((run, job))
        # Seed by seed: what is compared runs at the same time, on a machine that is as busy.
        to_measure.sort(key=lambda pair: pair[0].seed)
        for run, (numbers, images) in self._measure(to_measure):
            run.numbers, self.changed = numbers, True
            if images is not None:
                kept.add_images(self.images_file, run.images_name, np.array(images, np.uint8))
            self._keep("runs", lambda old: old | {run.name: run.numbers})
        for run in runs.values():
            if also and "also" not in run.numbers:
                run.numbers["also"] = also(run.folder)
                self._keep("runs", lambda old: old | {run.name: run.numbers})
        return {label: [run for run in runs.values() if run.label == label] for label in variants}

    def _numbers_kept(self, run, job):
        """What is kept of a run; {} where it must be measured."""
        if self.size != "full":
            shutil.rmtree(run.folder, ignore_errors=True)
            return {}
        found, images = self._kept("runs").get(run.name), kept.images(self.images_file)
        if not found or job["keep_samples"] and run.images_name not in images:
            return {}
        settings = dataclasses.asdict(recipes.settings_of(job))
        # What is kept may be from before some setting existed.
        old = dataclasses.asdict(recipes.find(job["recipe"]).settings()) | found["settings"]
        asked = job["recipe"], job["data"], job["samples"]
        same = (found["recipe"], found["data"], found["metrics"]["samples"]) == asked
        if not same or any(old[key] != settings[key] for key in settings.keys() - UNMEASURED):
            raise InputError(
                f"{self.numbers_file}: {run.name} was measured with other settings: "
                f"measure it again, with --again {run.name}"
            )
        return found

    def _measure(self, runs):
        """(Run, what `measure` returns of its job), as they come. runs: [(Run, job)]."""
        if self.jobs > 1:
            for run, job in runs:
                print(f"{run}: {command(job)}")
            yield from side_by_side(runs, self.jobs)
            return
        for i, (run, job) in enumerate(runs, 1):
            print(f"{run} ({i} of {len(runs)}): {command(job)}", flush=True)
            yield run, measure(job)

    # Figures and findings

    def images(self, name, make):
        """What make() draws, uint8 images (N, H, W, C). With --full they are kept, so that figures
        can be drawn again where the runs are gone."""
        if self.changed or name not in kept.images(self.images_file):
            kept.add_images(self.images_file, name, make())
        return kept.images(self.images_file)[name]

    def numbers(self, name, make):
        """What make() measures, numbers and lists of them. With --full they are kept; `--again
        NAME` measures them again."""
        if self.size != "full" or name not in self._kept("measured"):
            measured = make()
            self._keep("measured", lambda old: old | {name: measured})
        return self._kept("measured")[name]

    def figure(self, width, height, *grid, **settings):
        """(a matplotlib Figure, its axes). width, height: in inches; grid, settings: as `subplots`
        takes them."""
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
        """Write the figure as NAME.png; and NAME-small.png, what is around the axes `small` of it
        (default: all)."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.transforms import Bbox

        figure.set_dpi(110)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        image = np.asarray(canvas.buffer_rgba())[..., :3]
        box = Bbox.union([axes.get_tightbbox() for axes in small or figure.axes]).padded(6)
        (left, bottom), (right, top) = np.clip([box.min, box.max], 0, image.shape[1::-1]).astype(
            int
        )
        part = image[len(image) - top : len(image) - bottom, left:right]
        for folder in self.folders():
            plots.save_image(folder / f"{self.name}.png", image)
            plots.save_image(folder / f"{self.name}-small.png", part)
        print(f"figure: {self.out / f'{self.name}.png'}")
        if "ipykernel" in sys.modules:
            from IPython.display import display

            display(figure)

    def table(self, head, *rows) -> None:
        """Print a table of texts and numbers, as Markdown; `finding` keeps it."""
        lines = [
            [cell if isinstance(cell, str) else f"{cell:,}" for cell in row]
            for row in (head, *rows)
        ]
        widths = [max(map(len, column)) for column in zip(*lines)]
        padded = [[f" {cell:{width}} " for cell, width in zip(line, widths)] for line in lines]
        padded.insert(1, ["-" * (width + 2) for width in widths])
        print("\n" + "\n".join(f"|{'|'.join(cells)}|" for cells in padded) + "\n")
        # A cell of a notebook may be run again.
        self.tables = [table for table in self.tables if table[0] != lines[0]] + [lines]

    def compare(self, head, runs, columns) -> None:
        """A table with a row for each label of `runs`. columns: {title: (path of the number,
        digits)}."""
        self.table(
            (head, *columns),
            *(
                (
                    label,
                    *(
                        span((run.number(path) for run in found), digits)
                        for path, digits in columns.values()
                    ),
                )
                for label, found in runs.items()
            ),
        )

    def finding(self, sentence, holds=None, details="", **numbers) -> None:
        """Print what came of it, and keep it in results/, as NAME.json: one sentence, which claims
        hold, {claim: bool}, what else there is to say, the tables, and other numbers."""
        holds = {claim: bool(it_does) for claim, it_does in (holds or {}).items()}
        found = {
            "finding": sentence,
            "holds": holds,
            "details": details,
            "size": self.size,
            "seeds": list(self.seeds),
            "tables": self.tables,
            **numbers,
        }
        kept.change(
            self.numbers_file,
            lambda old: found | {part: old[part] for part in ("measured", "runs") if part in old},
        )
        if details:
            print(details)
        for claim, it_does in holds.items():
            print(f"claim: {claim}: {'yes' if it_does else 'no, or not clearly'}")
        print(f"finding: {sentence}")


def make_parser(doc, seeds):
    """The command line of a script. seeds: of `--full`."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--full",
        dest="size",
        action="store_const",
        const="full",
        default="fast",
        help="the real experiment; stop and go on at any time",
    )
    size.add_argument(
        "--tiny",
        dest="size",
        action="store_const",
        const="tiny",
        help="a few steps of everything, to see that it runs",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        metavar="N",
        help=f"default: 0; with --full {' '.join(map(str, seeds))}",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="runs at a time, of one thread each; 1: one, of all threads "
        "(default: the processor's cores)",
    )
    parser.add_argument(
        "--again",
        nargs="+",
        default=(),
        metavar="NAME",
        help="with --full: measure these anew, runs or other measurements, by "
        "their names in results/",
    )
    return parser


def say_in_one_line(kind, error, trace):
    """sys.excepthook of a script: what is no bug is told without a traceback."""
    if issubclass(kind, InputError):
        say(f"error: {error}")
        raise SystemExit(2)
    if issubclass(kind, KeyboardInterrupt):
        say("interrupted: of --full, what is done is kept; the same command goes on from there")
        raise SystemExit(exit_code(error))
    sys.__excepthook__(kind, error, trace)
