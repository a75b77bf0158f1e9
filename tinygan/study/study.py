"""A Study: its runs, its figures and its findings."""

import dataclasses
import re
import shutil
import sys
from pathlib import Path
from typing import Any, Callable, Iterator, Sequence

import numpy as np

from tinygan import notebook, plots
from tinygan.autograd import Array
from tinygan.data import holds_points
from tinygan.errors import InputError, choose_from
from tinygan.files import make_folder, read_bytes, remove
from tinygan.kernels.cpu import parallel
from tinygan.screen import Display, import_matplotlib
from tinygan.settings import parse_assignments
from tinygan.training import recipes

from . import result_files
from .claims import Claim, Comparison
from .command_line import make_parser, print_error_in_one_line
from .figures import finish, median_and_all, render
from .measure import recipe_of, settings_of, train_and_measure, train_command
from .processes import measure_in_parallel
from .run import Run, check_same_features

SIZES = "tiny", "fast", "full"
WITHOUT_EFFECT = {"sample_every", "checkpoint_every", "keep"}  # settings that change no measurement


def _script(name, caller):
    """Return the path of a study's script, which need not exist. name: its path, or the study's
    name. caller: the __file__ of the code that makes the study, or None in a notebook."""
    path = Path(name)
    if path.suffix == ".py" or path.name != str(name):
        return path.absolute()
    if caller:
        return Path(caller).absolute().with_name(f"{name}.py")
    here = Path.cwd()
    scripts = [folder / f"{name}.py" for folder in (here / "demos", here, *here.parents)]
    return next((script for script in scripts if script.exists()), here / f"{name}.py")


class Study:
    """A script or a notebook that trains runs, measures them and compares them. A script reads its
    command line.

    name: its name, or the script's __file__. doc: the script's __doc__. seeds: the seeds of
    `--full`; the other sizes have one seed. argv: the words of the command line (default: this
    process's; in a notebook, none). size: "tiny", "fast" or "full", unless the command line says
    it (default: "fast").

    Its files are written beside the script that makes it. In a notebook, which has no such file,
    they are written beside the script NAME.py in demos/, in the working folder, or in a folder
    above it; if there is none, into the working folder.

    translate, suffix: a function of the texts of a figure, and what is appended to its file's name,
    for figures in another language; set them for the class, before the script runs.

    Attributes: name, of the script; size, "tiny", "fast" or "full"; seeds; folder, of the script;
    out, the folder of its figures. A full study that is interrupted continues where it was.
    (Windows has no signal that ends a run between two steps: there, a run loses its work since the
    last checkpoint.)
    """

    translate: Callable[[str], str] = staticmethod(lambda text: text)
    suffix = ""

    def __init__(
        self,
        name: str | Path,
        doc: str | None = None,
        seeds: Sequence[int] = (0, 1, 2),
        argv: Sequence[str] | None = None,
        size: str | None = None,
    ) -> None:
        caller = sys._getframe(1).f_globals.get("__file__")
        file, parser = _script(name, caller), make_parser(doc, seeds)
        # In a notebook, the command line is that of its kernel: do not read it.
        args = parser.parse_args([] if argv is None and notebook.is_active() else argv)
        args.size = args.size or size or "fast"
        if args.size not in SIZES:
            raise InputError(f"size {args.size!r}: {choose_from(SIZES, args.size)}")
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
        self.folder = file.parent
        self.out, self.pictures = self.folder / "out", self.folder / "pictures"
        folder = self.folder if full else self.out
        self.runs, results = folder / "runs", folder / "results"
        self.results_file, self.images_file = (
            results / f"{self.name}{suffix}" for suffix in (".json", ".npz")
        )
        for path in () if full else (self.results_file, self.images_file):
            remove(path)
        if unknown := {*args.again} - {*self._stored("runs"), *self._stored("measured")}:
            parser.error(f"--again {min(unknown)}: {self.results_file} has no entry of that name")
        for name in args.again:
            shutil.rmtree(self._run_folder(name), ignore_errors=True)
            for part in ("runs", "measured"):
                self._update(part, lambda old: {key: old[key] for key in old if key != name})
        self.tables: list[list[list[str]]] = []
        self.images_outdated = not full  # also once a run has been measured
        if Path(getattr(sys.modules["__main__"], "__file__", None) or "").absolute() == file:
            sys.excepthook = print_error_in_one_line
            # What a script prints is also in its results file: it goes on without a reader.
            sys.stdout, sys.stderr = Display(sys.stdout), Display(sys.stderr)

    def _run_folder(self, name: str) -> Path:
        return self.runs / f"{self.name}-{name}"

    def _stored(self, part: str) -> dict[str, Any]:
        """Return one part of the results file: "runs", {name: results}, or "measured", {name: the
        value that `cached` stored}."""
        return result_files.read_json(self.results_file).get(part, {})

    def _update(self, part: str, edit: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Replace that part of the results file by edit(part)."""
        result_files.update_json(
            self.results_file, lambda old: old | {part: edit(old.get(part, {}))}
        )

    def choose(self, tiny: Any, fast: Any, full: Any) -> Any:
        """Return the argument for the study's size."""
        return dict(zip(SIZES, (tiny, fast, full)))[self.size]

    # Runs

    def train(
        self,
        variants: dict[str, str],
        recipe: str,
        common: str = "",
        data: str | None = None,
        also: Callable[[Path], dict[str, Any]] | None = None,
        samples: int | None = None,
        least_recall: float = 0.05,
        seeds: Sequence[int] | None = None,
        **settings: Any,
    ) -> dict[str, list[Run]]:
        """Train and measure all runs that have no results yet; return {label: [Run for each seed]}.

        variants: {label: its settings}, written as for `--set`: "r1=0.2 lr=1e-3". A variant of
            another recipe begins with the recipe's name: "dcgan r1=0.2".
        recipe: its name, or the file of one of your own: "my_model.py", relative to the script.
        common, settings: settings of all variants, as such a text and as keywords.
        data: the data set (default: "digits"; with `--full` "mnist").
        also: further measurements: also(run's folder) -> dict, which becomes `Run.also`.
        samples: how many samples to measure (default: 100, 2,000 or 10,000, by the study's size).
        least_recall: a run with a smaller recall has failed (see `Run.failed`). Use 0 where even a
            good G has a small one, as with few training images.
        seeds: the seeds (default: the study's).

        Raises InputError if a run has results with other settings, or if two labels have the same
        short name.
        """
        shared = {
            "data": data or self.choose("digits", "digits", "mnist"),
            "samples": samples or self.choose(100, 2000, 10_000),
            "reals": self.choose(200, None, None),
        }
        if self.size == "tiny":
            least_recall = 0.0  # nothing is learned
        settings, runs, to_measure = parse_assignments(common.split()) | settings, {}, []
        for label, variant in variants.items():
            changes = variant.split()
            own_recipe = changes.pop(0) if changes and "=" not in changes[0] else recipe
            for seed in self.seeds if seeds is None else seeds:
                name = f"{re.sub('[^a-z0-9.]+', '-', label.lower()).strip('-')}-{seed}"
                if name in runs:
                    raise InputError(f"{label}: another label has the same short name, {name}")
                folder = self._run_folder(name)
                job = shared | {
                    **self._recipe(own_recipe),
                    "seed": seed,
                    "folder": str(folder),
                    "settings": settings | parse_assignments(changes),
                    "keep_samples": seed == self.seeds[0] and not holds_points(shared["data"]),
                }
                run = runs[name] = Run(
                    label, seed, name, folder, {}, self.images_file, least_recall
                )
                run.results = self._stored_results(run, job)
                missing = also and "also" not in run.results and not run.folder.exists()
                if missing or not run.results:
                    to_measure.append((run, job))
        # Seed by seed: variants that are compared run at the same time, on an equally busy machine.
        to_measure.sort(key=lambda pair: pair[0].seed)
        for run, (results, images) in self._train_and_measure(to_measure):
            run.results, self.images_outdated = results, True
            if images is not None:
                result_files.add_images(
                    self.images_file, run.images_name, np.array(images, np.uint8)
                )
            self._update("runs", lambda old: old | {run.name: run.results})
        for run in runs.values():
            if also and "also" not in run.results:
                run.results["also"] = also(run.folder)
                self._update("runs", lambda old: old | {run.name: run.results})
        check_same_features(runs.values())
        return {label: [run for run in runs.values() if run.label == label] for label in variants}

    def _recipe(self, name: str) -> dict[str, str | None]:
        """Return the entries of a job that say which recipe to train."""
        if not name.endswith(".py"):
            return {"recipe": name, "model": None}
        path = str(self.folder / name)
        return {"recipe": recipes.choose(path).name, "model": path}

    def _stored_results(self, run: Run, job: dict[str, Any]) -> dict[str, Any]:
        """Return the stored results of a run, or {} if it must be measured.

        Raises InputError if they were measured with other settings than the job's.
        """
        if self.size != "full":
            shutil.rmtree(run.folder, ignore_errors=True)
            return {}
        stored = self._stored("runs").get(run.name)
        images = result_files.read_images(self.images_file)
        if not stored or job["keep_samples"] and run.images_name not in images:
            return {}
        settings = dataclasses.asdict(settings_of(job))
        # Stored results may be older than some of the settings: those had their defaults.
        old = dataclasses.asdict(recipe_of(job).settings()) | stored["settings"]
        expected = job["recipe"], job["data"], job["samples"]
        same = (stored["recipe"], stored["data"], stored["metrics"]["samples"]) == expected
        if not same or any(old[key] != settings[key] for key in settings.keys() - WITHOUT_EFFECT):
            raise InputError(
                f"{self.results_file}: {run.name} was measured with other settings: "
                f"measure it again, with --again {run.name}"
            )
        return stored

    def _train_and_measure(self, runs: list[tuple[Run, dict[str, Any]]]) -> Iterator[tuple]:
        """Yield (run, results of `train_and_measure` for its job), in the order in which they
        finish. runs: [(Run, job)]."""
        if self.jobs > 1:
            for run, job in runs:
                print(f"{run}: {train_command(job)}")
            yield from measure_in_parallel(runs, self.jobs)
            return
        for i, (run, job) in enumerate(runs, 1):
            print(f"{run} ({i} of {len(runs)}): {train_command(job)}", flush=True)
            yield run, train_and_measure(job)

    # Figures and findings

    def cached_images(self, name: str, make: Callable[[], Array]) -> Array:
        """Return make(), uint8 images (N, H, W, C); with `--full` from the file of images if they
        are there.

        So a figure can be plotted again after the runs' folders are gone. Measuring a run makes the
        images outdated: they are made again.
        """
        if self.images_outdated or name not in result_files.read_images(self.images_file):
            result_files.add_images(self.images_file, name, make())
        return result_files.read_images(self.images_file)[name]

    def cached(self, name: str, measure: Callable[[], Any]) -> Any:
        """Return measure(), a value for JSON; with `--full` from the results file if it is there.

        `--again NAME` measures it again.
        """
        if self.size != "full" or name not in self._stored("measured"):
            value = measure()
            self._update("measured", lambda old: old | {name: value})
        return self._stored("measured")[name]

    def figure(
        self, mosaic: str | list[list[str]], height: float, **settings: Any
    ) -> tuple[Any, dict[str, Any]]:
        """Return (a matplotlib Figure, {letter: its axes}).

        mosaic: the panels' letters, a line of text for each row of the figure: "aab;ccb"; or names,
        a list for each row. height: in inches; the width is 12.8. settings: further arguments of
        matplotlib's `Figure.subplot_mosaic`.
        """
        import_matplotlib()
        from matplotlib.figure import Figure

        figure = Figure((12.8, height), dpi=100, layout="constrained")
        return figure, figure.subplot_mosaic(mosaic, **settings)

    def picture_folders(self) -> list[Path]:
        """Make and return the folders for pictures: out/ and, with `--full`, pictures/."""
        folders = [self.out, *[self.pictures] * (self.size == "full")]
        for folder in folders:
            make_folder(folder)
        return folders

    def save_figure(self, figure: Any, title: str, part: str = "") -> None:
        """Write the figure as NAME.png, 1280 pixels wide.

        title: a sentence that says what the figure shows. part: write a further figure of the
        study, as NAME-PART.png alone. The panels get their letters, and all texts have 12 points at
        least.
        """
        finish(figure, title, self.translate)
        name, image = f"{self.name}{part and '-'}{part}{self.suffix}.png", render(figure)
        for folder in self.picture_folders():
            plots.save_image(folder / name, image, palette=True)
        print(f"figure: {self.out / name}")
        self.show_picture(self.out / name)

    def show_picture(self, path: Path) -> None:
        """In a notebook, show a picture that was written; in a script, do nothing."""
        if notebook.is_active():
            notebook.show(notebook.Picture(read_bytes(path), str(path)))

    def table(self, head: Sequence[str], *rows: Sequence[str | float]) -> None:
        """Print a table of texts and numbers, in Markdown. `finding` stores it."""
        lines = [
            [cell if isinstance(cell, str) else f"{cell:,}" for cell in row]
            for row in (head, *rows)
        ]
        widths = [max(map(len, column)) for column in zip(*lines)]
        padded = [[f" {cell:{width}} " for cell, width in zip(line, widths)] for line in lines]
        padded.insert(1, ["-" * (width + 2) for width in widths])
        print("\n" + "\n".join(f"|{'|'.join(cells)}|" for cells in padded) + "\n")
        # A cell of a notebook may run twice: its new table replaces the old one.
        self.tables = [table for table in self.tables if table[0] != lines[0]] + [lines]

    def compare(
        self, head: str, runs: dict[str, list[Run]], columns: dict[str, tuple[str, int]]
    ) -> None:
        """Print a table with a row for each label of `runs`: the median and all seeds.

        head: the title of the labels' column. columns: {title: (path of the number, digits)}.
        """
        self.table(
            (head, *columns),
            *(
                (
                    label,
                    *(
                        median_and_all([run.number_or_none(path) for run in of_label], digits)
                        for path, digits in columns.values()
                    ),
                )
                for label, of_label in runs.items()
            ),
        )

    def finding(
        self,
        sentence: str,
        claims: dict[str, Comparison | Sequence[Comparison | bool] | bool] | None = None,
        details: str = "",
        **numbers: Any,
    ) -> None:
        """Print the study's conclusion, and store it in the results file, with the tables.

        sentence: the conclusion in one sentence. claims: {claim: what decides it}, see claims.py.
        details: further sentences. numbers: further entries of the results file.
        """
        stored = {}
        for text, evidence in (claims or {}).items():
            claim = Claim(text, evidence)
            stored[text] = claim.as_json(is_evidence=self.size != "tiny")
            print(f"claim: {text}: {stored[text]['verdict']}")
            for comparison in claim.comparisons():
                print(f"    {comparison}")
            if runs := claim.runs():
                print(f"    true of {sum(runs)} of {len(runs)} runs")
        conclusion = {
            "finding": sentence,
            "claims": stored,
            "details": details,
            "size": self.size,
            "seeds": list(self.seeds),
            "tables": self.tables,
            **numbers,
        }
        measurements = lambda old: {part: old[part] for part in ("measured", "runs") if part in old}
        result_files.update_json(self.results_file, lambda old: conclusion | measurements(old))
        if details:
            print(details)
        note = " (a tiny run is no evidence)" if self.size == "tiny" else ""
        print(f"finding{note}: {sentence}")
