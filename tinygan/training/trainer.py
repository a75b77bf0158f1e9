"""The Trainer: a training run in a folder of its own, with a log, pictures and checkpoints."""

import contextlib
import dataclasses
import math
import os
from pathlib import Path
from typing import Any, Callable

import numpy as np

from tinygan import files, kernels, plots
from tinygan.data import Dataset
from tinygan.errors import InputError, Interrupted, quoted, warn, warn_once
from tinygan.files import checkpoint
from tinygan.kernels.cpu import parallel
from tinygan.models.image_sizes import check_images
from tinygan.models.recipe import Recipe
from tinygan.models.settings import Settings

from . import changes, health, log, own_code, ranks, state, transfer
from .algorithm import Algorithm
from .batch_sizes import held_out_batch_size
from .evaluation import Evaluation
from .gallery import Gallery
from .run_data import describe, training_data
from .sampling import standing_statistics

__all__ = ["FolderTaken", "Trainer", "training_data"]

LOCK = "running"  # a file that exists, and is locked, while a process trains in the folder
ASKED = 1000  # in place of the number of a signal: on_step has asked to stop


class FolderTaken(InputError):
    """The folder for a new run already contains a run."""


class Trainer:
    """Trains the networks of a recipe on a Dataset, in a folder of its own.

    It runs the steps of an Algorithm, and writes the log, pictures, evaluations and checkpoints. A
    resumed run is bit for bit the same as an uninterrupted one, since a checkpoint contains the
    states of all random number generators. `Trainer.start` begins a new run in the folder `out`.

    init_from: a Run, whose weights a new run begins with (transfer.py), or None.

    Raises InputError for settings that contradict each other, or do not fit the data.
    """

    def __init__(
        self,
        recipe: Recipe,
        settings: Settings,
        dataset: Dataset,
        out: str | Path,
        seed: int = 0,
        init_from: checkpoint.Run | None = None,
    ):
        s = self.settings = settings
        recipe.check_shape(s, dataset.image_shape)
        check_images(dataset.image_shape, s.pad)
        whole = dataset
        dataset, self.held_out = training_data(dataset.padded(s.pad), s, seed)
        self.algorithm = a = Algorithm(recipe, s, dataset, seed)
        self.held_out_batch_size = 0
        if self.held_out:
            self.held_out_batch_size = held_out_batch_size(a, len(self.held_out))
        self.out, self.gallery = Path(os.path.expanduser(out)), Gallery(a, dataset.num_classes)
        self.evaluation = Evaluation(s, self.held_out, whole, seed, here=ranks.rank == 0)
        self.unlogged = []  # the numbers of the steps since the last line of the log
        # The names of the checkpoints when the folder was read, until `run` has compared them.
        self.checkpoints_at_start = ()
        self.same_evaluations = True  # whether a resumed run evaluates at the same steps as before
        self.unfinished = False  # whether files of the present step may be missing
        self.standing_step = None  # the step for which the averaged G has standing statistics
        self.sources = own_code.sources(recipe, s)  # the files of what is the user's own
        self.on_picture = None  # see `run`
        self.config = {
            "version": checkpoint.CONFIG_VERSION,
            "recipe": recipe.name,
            "settings": dataclasses.asdict(s),
            "data": dataset.name,
            "image_shape": list(dataset.image_shape),
            "classes": dataset.num_classes,
            "seed": seed,
            "kernels": kernels.in_use(),
            **describe(dataset),
            **own_code.describe(self.sources),
        }
        if init_from:
            self.config["init_from"] = transfer.take_weights(a, init_from)

    @property
    def dataset(self) -> Dataset:
        return self.algorithm.dataset

    @property
    def step(self) -> int:
        return self.algorithm.step

    @property
    def images(self) -> int:
        return self.algorithm.images

    @property
    def seconds(self) -> dict[str, float]:
        return self.algorithm.execution.seconds

    def averaged_G(self) -> Any:
        """Return the averaged G, ready to generate images: with batch-norm statistics of its own if
        the setting `standing` asks for them."""
        G, batches = self.algorithm.ema.module, self.settings.standing
        if batches and self.standing_step != self.step:
            rng = np.random.default_rng([self.algorithm.seed, self.step, 4])
            standing_statistics(G, rng, batches)
            self.standing_step = self.step
        return G

    def finite_averaged_G(self) -> Any:
        """Return the averaged G. Raise Diverged if one of its values is not finite, because its
        images might not show it."""
        G = self.averaged_G()
        if fault := health.first_not_finite(checkpoint.flat({"ema": G.state_dict()})):
            raise health.diverged(self.step, fault)
        return G

    # A run

    def run(
        self,
        progress: bool = True,
        on_step: Callable[[dict[str, float]], bool] | None = None,
        on_picture: Callable[[Path], Any] | None = None,
    ) -> Path:
        """Train up to `settings.steps`. Return the path of the last grid of samples.

        progress: show a progress bar. on_step: on_step({name: number}) is called after each step,
        with the numbers that are logged; the run is saved and ends there if it returns True.
        on_picture: on_picture(path) is called when a grid of samples or the curves are written.
        With several ranks, both are called on the first alone.

        During training, `run` writes log.jsonl, samples/, curves.png and checkpoints. The first
        Ctrl-C, SIGTERM or SIGHUP finishes the step, writes a checkpoint and raises Interrupted; a
        second Ctrl-C or SIGTERM raises it at once. Raises Diverged if a number is not finite, and
        InputError if another process trains in this folder, or if the folder cannot be written to;
        then the step is saved first if it can be.
        """
        with contextlib.ExitStack() as stack:
            options = own_code.options_again(self.sources, self.settings)
            stop, run_log = stack.enter_context(ranks.requests_to_stop(self.out, options)), None
            self.algorithm.execution.check_same_step()  # before any file of a later step is removed
            if ranks.rank == 0:
                if not self.out.exists():
                    raise InputError(
                        f"the folder {self.out} does not exist: Trainer.start makes the folder of "
                        "a new run"
                    )
                stack.enter_context(files.locked(self.out / LOCK))
                expected, self.checkpoints_at_start = self.checkpoints_at_start, None
                if expected not in (None, checkpoint.names(self.out)):
                    raise InputError(
                        f"another process has meanwhile continued the run in {self.out}: try again"
                    )
                with files.writing(self.out):
                    self.rewind()
                self.on_picture = on_picture
                run_log = stack.enter_context(log.Log(self, progress, on_step))
            self.algorithm.execution.broadcast_weights()
            parallel.keep_memory()
            # NumPy's overflow warnings are off. Whenever numbers are read, we check that they are
            # finite.
            with parallel.single_threaded_blas(), np.errstate(all="ignore"):
                self.run_steps(run_log, stop)
        return self.grid_path()

    def run_steps(self, run_log, stop):
        """Run all steps. run_log: the Log, or None on all ranks but the first, which alone writes
        files.

        The checkpoint of a step is written after its other files. So if the run is killed, the
        resumed run writes all files that are missing.
        """
        a, s = self.algorithm, self.settings
        if self.step == 0:
            if a.growth:
                a.grow()
            if run_log:
                self.write_grid()
        elif self.unfinished and run_log:
            with state.saved_first(self, run_log):
                run_log.complete_row()
                self.write_outputs(run_log, self.step == s.steps, 0)
        while self.step < s.steps:
            # Keep samples of the present size before the next one fades in.
            if run_log and a.growth and a.growth.lod(a.images) < math.floor(a.lod):
                with state.saved_first(self, run_log):
                    self.write_growth()
            numbers = a.train_step()
            with state.saved_first(self, run_log):
                if run_log:
                    self.unlogged.append(numbers)
                if self.held_out_batch_size and self.step % log.LOG_EVERY == 0:
                    index = self.step // log.LOG_EVERY
                    batch = self.held_out.batch(index, self.held_out_batch_size, a.seed)
                    numbers["logit_held_out"] = a.execution.held_out_logit(*batch)
                asked = ASKED if run_log and run_log.add_step() else 0
                # Read the signal's number once, since a signal may come at any moment; all ranks
                # stop at the same step.
                stop_signal = ranks.maximum(stop.number or asked)
                is_last = self.step == s.steps
                if run_log:
                    self.write_outputs(run_log, is_last, stop_signal)
            if stop_signal and not is_last:
                ranks.maximum(0)  # wait until the first rank has written the checkpoint
                if stop_signal == ASKED:
                    return
                raise Interrupted(stop_signal, on_all_ranks=True)

    # Its files

    def write_outputs(self, run_log, is_last, stop_signal):
        """Write all files that are due after this step. is_last: whether it is the last step;
        stop_signal: the number of the signal that stops the run here, or 0."""
        s = self.settings
        is_due = lambda every: every and (is_last or self.step % every == 0)
        saves = stop_signal or is_due(s.checkpoint_every)
        if saves or is_due(s.eval_every) or is_due(s.sample_every):
            # Check this first, because a loss shows best where a number went wrong.
            run_log.check_finite()
        if is_due(s.eval_every):
            self.evaluate()
        if is_due(s.sample_every):
            self.write_grid()
        if is_last and self.algorithm.growth:
            self.write_growth()
        if saves:
            self.save(run_log)

    def evaluate(self) -> None:
        """Evaluate the averaged G on held-out images (see evaluation.py)."""
        self.evaluation.evaluate(self.out, self.step, self.finite_averaged_G())

    def grid_path(self) -> Path:
        return self.out / "samples" / f"step-{self.step:08d}.png"

    def write_grid(self) -> None:
        self.gallery.write_grid(self.grid_path(), self.finite_averaged_G())
        if self.on_picture:
            self.on_picture(self.grid_path())

    def write_growth(self) -> None:
        self.gallery.write_growth(self.out / "growth.png", self.finite_averaged_G())

    def write_curves(self, path, rows):
        loss, target = self.algorithm.objectives.loss, self.settings.ada_target
        target = 0.0 if isinstance(target, str) else target  # the curves show no schedule
        try:
            plots.save_curves(path, rows, loss.probability, target)
            if self.on_picture:
                self.on_picture(path)
        except plots.NotDrawn as error:
            warn_once(f"{error}; training goes on without curves")

    def save(self, run_log):
        """Write the curves of the log so far, and a checkpoint."""
        run_log.flush()
        if rows := list(log.rows(self.out, log.CURVE_POINTS)):
            self.write_curves(self.out / "curves.png", rows)
        self.unfinished = False
        self.write_checkpoint()

    def write_checkpoint(self) -> None:
        """Write a checkpoint. Raise Diverged if one of its values is not finite."""
        states = state.arrays(self)
        if fault := health.first_not_finite(checkpoint.flat(states)):
            raise health.diverged(self.step, fault)
        checkpoint.save(self.out, self.step, states, state.meta(self), self.settings.keep)

    # Resuming and starting a run

    def resume(self, run: checkpoint.Run, earlier: Settings | None = None) -> None:
        """Load the state of a checkpoint.Run, to continue from there; if it has no checkpoint, the
        run begins again. The folder does not change until the method `run` is called.

        earlier: the run's settings so far; by default, those in its config.json. What the run does
        differently from then on is noted in config.json (see changes.py). Raises InputError if the
        checkpoint is at the last step already, if its contents cannot be right, if a line of a log
        is damaged, and if config.json does not fit the data.
        """
        for key in ("image_shape", "classes"):
            if run.config[key] != self.config[key]:
                raise InputError(
                    f"{run.folder / 'config.json'} is damaged ({key} is {run.config[key]}, but the "
                    f"data {self.dataset.name} have {self.config[key]})"
                )
        # A last step whose files are not complete is completed.
        last = self.settings.steps - 1 + bool(run.meta.get("unfinished"))
        if run.path and run.meta["step"] > last:
            raise InputError(
                f"{run.path} is already at step {run.meta['step']}: give a larger --steps"
            )
        self.checkpoints_at_start = run.checkpoint_names
        changed = changes.note(self, run, earlier or self.settings.updated(run.config["settings"]))
        before, now = run.config.get("kernels", "fast"), self.config["kernels"]
        if before != now:
            warn(
                f"{run.folder} was begun with the {before} kernels and continues with the {now} "
                "ones, so its last bits will differ from those of an uninterrupted run "
                f"(TINYGAN_KERNELS={before} avoids this)"
            )
        if run.path:
            state.check(self, run)
            state.restore(self, run, changed)
        log.ends_of_step(run.folder, self.step)  # raises InputError for damaged lines

    def rewind(self) -> None:
        """Remove from the folder all pictures and lines of later steps, which this run will write
        again. They come from a process that was killed, or from a continuation that has been
        abandoned. Checkpoints of later steps are renamed: the run does not continue from them
        because they are damaged, or because the user has named an older one."""
        files.check_run_folder(self.out)
        own_code.check_copies(self.out, self.sources)
        ends = log.ends_of_step(self.out, self.step)  # before anything is removed
        files.remove_temporary(self.out)
        files.remove_temporary(self.out / "samples", real_folder=True)
        for path in checkpoint.checkpoints(self.out):
            if checkpoint.step_of(path) > self.step:
                checkpoint.set_aside(path)
        for path in self.out.glob("samples/step-*.png"):
            if (checkpoint.step_of(path) or 0) > self.step:
                files.remove(path, real_folder=True)
        run = checkpoint.Run(self.out, self.config, None, {}, {}, ())
        self.evaluation.rewind(run, self.algorithm.ema.module, self.step, self.same_evaluations)
        log.cut(ends)
        files.make_folder(self.out / "samples")
        files.write_json(self.out / "config.json", self.config)
        own_code.write_copies(self.out, self.sources)

    @classmethod
    def start(
        cls,
        recipe: Recipe,
        settings: Settings,
        dataset: Dataset,
        out: str | Path,
        seed: int = 0,
        init_from: checkpoint.Run | None = None,
    ) -> "Trainer":
        """Return a Trainer with a new folder, `out`. Raises FolderTaken if it already contains a
        run, and InputError if it contains other files. If the same call was interrupted, and its
        run has not begun, it can be repeated."""
        out = files.user_path(out)
        if out.exists() and not out.is_dir():
            raise InputError(f"{out} is a file: choose another --out")
        # Hidden files and empty folders are left by a run that was killed before it began.
        begun = (out / "config.json").exists()
        has_more = any(
            (path.is_symlink() or not path.is_dir())
            and path.name[0] != "."
            and path.name != LOCK
            and path != out / "config.json"
            and not (begun and out / own_code.FOLDER in path.parents)
            for path in out.rglob("*")
        )
        if has_more and not begun:
            raise InputError(
                f"{out} is not empty, and contains no run to continue: choose another --out"
            )
        existed, trainer = out.exists(), None
        if not has_more:
            trainer = cls(recipe, settings, dataset, out, seed, init_from)
        if begun and (trainer is None or checkpoint.read_config(out, out) != trainer.config):
            raise FolderTaken(
                f"{out} already contains a run: continue it with --resume {quoted(out)}, "
                "or choose another --out"
            )
        try:
            with files.writing(out):
                files.make_folder(out, exist_ok=existed)
            with files.locked(out / LOCK):
                if (out / "config.json").exists() and not begun:
                    raise FileExistsError
                files.write_json(out / "config.json", trainer.config)
                own_code.write_copies(out, trainer.sources)
                if init_from:  # whose files may go
                    transfer.save_first_checkpoint(trainer)
        except (FileExistsError, files.InUse):
            raise FolderTaken(
                f"another process has just begun a run in {out}: choose another --out"
            ) from None
        return trainer
