"""The Trainer: a run of steps in a folder of its own, with its log, pictures and checkpoints."""

import contextlib
import dataclasses
import math
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from tinygan import files, kernels, plots
from tinygan.errors import InputError, Interrupted, on_signals, warn
from tinygan.files import checkpoint
from tinygan.kernels.cpu import parallel

from . import health, log, ranks
from .algorithm import Algorithm
from .evaluation import Evaluation
from .execution import most_judged
from .gallery import Gallery
from .sampling import standing_statistics

LOCK = "running"  # this file is there, and locked, while a process trains in the folder
# what checkpoints keep of the algorithm, besides arrays
ALGORITHM_STATE = "step", "d_updates", "images", "lod"


class FolderTaken(InputError):
    """The folder for a new run holds one already."""


class Trainer:
    """Trains a recipe's G and D on a Dataset, in a folder of its own: the steps of an Algorithm,
    and what a run keeps of them.

    A resumed run is the same run, bit for bit: the state of the generator of all randomness is part
    of a checkpoint.
    """

    def __init__(self, recipe, settings, dataset, out, seed=0):
        s = self.settings = settings
        dataset, self.held_out = training_data(dataset.padded(s.pad), s, seed)
        self.algorithm = a = Algorithm(recipe, s, dataset, seed)
        self.held_out_batch = most_judged(a, len(self.held_out)) if self.held_out else 0
        self.out, self.gallery = Path(out), Gallery(a, dataset.num_classes)
        self.evaluation = Evaluation(s, self.held_out, dataset.name, seed, here=ranks.rank == 0)
        self.recent = []  # what train_step returned since the last line of the log
        self.checkpoints_seen = None  # names of those in the folder when it was read
        self.same_evaluations = True  # as before a run was resumed, or at other steps
        self.standing_step = None  # when the averaged G got its batch-norm statistics
        self.config = {
            "version": checkpoint.CONFIG_VERSION,
            "recipe": recipe.name,
            "settings": dataclasses.asdict(s),
            "data": dataset.name,
            "image_shape": list(dataset.image_shape),
            "classes": dataset.num_classes,
            "seed": seed,
            "kernels": kernels.in_use(),
        }

    @property
    def dataset(self):
        return self.algorithm.dataset

    @property
    def step(self):
        return self.algorithm.step

    @property
    def images(self):
        return self.algorithm.images

    @property
    def seconds(self):
        return self.algorithm.execution.seconds

    def average(self):
        """The averaged G, ready to draw: where `standing` asks for it, with batch-norm statistics
        of its own images."""
        G, batches = self.algorithm.ema.module, self.settings.standing
        if batches and self.standing_step != self.step:
            rng = np.random.default_rng([self.algorithm.seed, self.step, 4])
            standing_statistics(G, rng, batches)
            self.standing_step = self.step
        return G

    def finite_average(self):
        """The averaged G. Raises Diverged if something in it is not finite, which its images would
        not show."""
        G = self.average()
        if found := health.first_of(checkpoint.flat({"ema": G.state_dict()})):
            raise health.diverged(self.step, found)
        return G

    # A run

    def run(self, progress=True):
        """Train up to `settings.steps`; return the path of the last sample grid.

        Writes log.jsonl, samples/, curves.png and checkpoints as it goes. The first Ctrl-C or
        SIGTERM ends the step, writes a checkpoint and raises Interrupted; a second one raises it at
        once. Raises Diverged if a number is not finite, and InputError if another process trains in
        this folder, or it cannot be written to.
        """
        with contextlib.ExitStack() as around:
            stop, lines = around.enter_context(_stop_signal(self.say_how_to_resume)), None
            self.algorithm.execution.check_ranks()  # before anything later is removed
            if ranks.rank == 0:
                around.enter_context(files.locked(self.out / LOCK))
                seen, self.checkpoints_seen = self.checkpoints_seen, None
                if seen not in (None, checkpoint.names(self.out)):
                    raise InputError(
                        f"{self.out} has gone on meanwhile, by another process: try again"
                    )
                with files.writing(self.out):
                    self.rewind()
                lines = around.enter_context(log.Log(self, progress))
            self.algorithm.execution.share_weights()
            parallel.keep_memory()
            # NumPy's warnings of overflow are silent: whether numbers are finite is checked
            # whenever they are read.
            with parallel.single_threaded_blas(), np.errstate(all="ignore"):
                self.steps(lines, stop)
        return self.grid_path()

    def say_how_to_resume(self):
        """mpiexec kills its ranks soon after it has told them to stop: say how to go on while there
        is time."""
        if ranks.size > 1 and ranks.rank == 0:
            words = (
                "tinygan: stopping; if this step is not saved in time, continue from step "
                f"{checkpoint.last_step(self.out)} with: tinygan train --resume {self.out}\n"
            )
            # in a signal's handler, sys.stderr may be in use
            os.write(2, words.encode(errors="backslashreplace"))

    def steps(self, lines, stop):
        """The steps of a run. A checkpoint comes after all that belongs to its step: whatever is
        missing when the run is killed comes again. lines: the Log; None on ranks but the first,
        which write nothing."""
        a, s = self.algorithm, self.settings
        if self.step == 0:
            if a.growth:
                a.grow()
            if lines:
                self.write_grid()
        while self.step < s.steps:
            # What a size has come to is kept before the next one fades in.
            if lines and a.growth and a.growth.lod(a.images) < math.floor(a.lod):
                self.write_growth()
            numbers = a.train_step()
            if self.held_out_batch and self.step % log.LOG_EVERY == 0:
                batch = self.held_out.batch(self.step // log.LOG_EVERY, self.held_out_batch, a.seed)
                numbers["logit_held_out"] = a.execution.held_out_logit(*batch)
            asked = ranks.largest(stop.number)  # looked at once: the signal may come at any moment
            last = self.step == s.steps
            if lines:
                lines.add(numbers)
                self.write(lines, last, asked)
            if asked and not last:
                ranks.largest(0)  # the first has saved
                raise Interrupted(asked, on_all_ranks=True)

    # What it writes

    def write(self, lines, last, asked):
        """What is due after this step, which is the last or the last for now."""
        s = self.settings
        due = lambda every: every and (last or self.step % every == 0)
        saved = asked or due(s.checkpoint_every)
        if saved or due(s.eval_every) or due(s.sample_every):
            lines.read()  # first: a loss tells best where a number went wrong
        if due(s.eval_every):
            self.evaluate()
        if due(s.sample_every):
            self.write_grid()
        if last and self.algorithm.growth:
            self.write_growth()
        if saved:
            self.save(lines)

    def evaluate(self):
        """A line of eval.jsonl: see evaluation.py."""
        self.evaluation.evaluate(self.out, self.step, self.finite_average())

    def grid_path(self):
        return self.out / "samples" / f"step-{self.step:08d}.png"

    def write_grid(self):
        self.gallery.draw_grid(self.grid_path(), self.finite_average())

    def write_growth(self):
        self.gallery.draw_growth(self.out / "growth.png", self.finite_average())

    def draw_curves(self, path, rows):
        plots.save_curves(
            path, rows, self.algorithm.objectives.loss.probability, self.settings.ada_target
        )

    def save(self, lines):
        """Write the curves up to here, and a checkpoint."""
        a = self.algorithm
        lines.flush()
        if rows := list(log.rows(self.out, log.POINTS)):
            self.draw_curves(self.out / "curves.png", rows)
        states = {
            "G": a.G.state_dict(),
            "D": a.D.state_dict(),
            "ema": self.average().state_dict(),
            "grown": self.gallery.grown,
            "g_optimizer": a.g_optimizer.state_dict(),
            "d_optimizer": a.d_optimizer.state_dict(),
            "fixed": self.gallery.state_dict(),
        }
        if found := health.first_of(checkpoint.flat(states)):
            raise health.diverged(self.step, found)
        checkpoint.save(
            self.out,
            self.step,
            states,
            {
                **{key: getattr(a, key) for key in ALGORITHM_STATE},
                "rng": a.rng.bit_generator.state,
                "augment_rng": a.augment.rng.bit_generator.state,
                "ema_updates": a.ema.updates,
                "recent": self.recent,
                **{name: float(value) for name, value in vars(a.objectives.penalty_state).items()},
                "controller": a.controller.state() if a.controller else None,
            },
            self.settings.keep,
        )

    # From and to disk

    def resume(self, run):
        """Continue from a checkpoint.Run: everything as it was then, or at the beginning if there
        is no checkpoint. The folder stays as it is until `run` goes on."""
        self.checkpoints_seen = run.seen
        self.same_evaluations = run.config["settings"].get("eval_every") == self.settings.eval_every
        before, now = run.config.get("kernels", "fast"), self.config["kernels"]
        if before != now:
            warn(
                f"{run.folder} was begun on the {before} kernels and goes on on the {now} ones: "
                "its bits will differ from those of an unbroken run "
                f"(TINYGAN_KERNELS={before} goes on as it was)"
            )
        if run.path is None:
            return
        a, states, meta = self.algorithm, run.states, run.meta
        if meta["step"] >= self.settings.steps:
            raise InputError(f"{run.path} is at step {meta['step']} already: give a larger --steps")
        try:
            for part in ("G", "D", "g_optimizer", "d_optimizer"):
                getattr(a, part).load_state_dict(states[part])
            a.ema.module.load_state_dict(states["ema"])
            self.gallery.load_state_dict(states["fixed"], states.get("grown", {}))
            a.execution.random_state([meta["rng"], meta["augment_rng"]])
            if a.controller:
                a.controller.restore(meta["controller"])
            for key in ALGORITHM_STATE:
                setattr(a, key, meta[key])
            # A run of an older version may not have had all of these.
            for name in vars(a.objectives.penalty_state):
                setattr(a.objectives.penalty_state, name, meta.get(name, 0.0))
            a.ema.updates, self.recent = meta["ema_updates"], meta["recent"]
        except (KeyError, ValueError, TypeError, AttributeError, OverflowError) as error:
            raise InputError(f"{run.path} does not fit this run's config.json ({error})") from None

    def rewind(self):
        """Bring the folder to this step: what is later was written by a process that was killed, or
        is of a branch that is given up, and comes again."""
        files.remove_temporary(self.out)
        files.remove_temporary(self.out / "samples")
        for pattern in ("checkpoint-*.npz", "samples/step-*.png"):
            for path in self.out.glob(pattern):
                if (checkpoint.step_of(path) or 0) > self.step:
                    path.unlink()
        log.cut(self.out, self.step)
        self.evaluation.rewind(self.out, self.step, self.same_evaluations)
        (self.out / "samples").mkdir(exist_ok=True)
        files.write_json(self.out / "config.json", self.config)

    @classmethod
    def start(cls, recipe, settings, dataset, out, seed=0):
        """A Trainer with a new run folder. Raises FolderTaken if `out` holds a run already."""
        out = Path(out)
        if out.exists() and not out.is_dir():
            raise InputError(f"{out} is a file: choose another --out")
        # What is hidden, or a folder without files, is of a run that was killed before it began.
        if any(
            not path.is_dir() and path.name[0] != "." and path.name != LOCK
            for path in out.rglob("*")
        ):
            if not (out / "config.json").exists():
                raise InputError(
                    f"{out} is not empty, and holds no run to go on with: delete it, "
                    "or choose another --out"
                )
            raise FolderTaken(
                f"{out} exists and is not empty: continue that run with "
                f"--resume {out}, or choose another --out"
            )
        existed = out.exists()
        trainer = cls(recipe, settings, dataset, out, seed)
        try:
            with files.writing(out):
                out.mkdir(parents=True, exist_ok=existed)
            with files.locked(out / LOCK):
                if (out / "config.json").exists():
                    raise FileExistsError
                files.write_json(out / "config.json", trainer.config)
        except (FileExistsError, files.InUse):
            raise FolderTaken(
                f"{out} has just been taken by another process: choose another --out"
            ) from None
        trainer.checkpoints_seen = ()
        return trainer


def training_data(dataset, settings, seed):
    """(what a run with these settings is trained on, what is held out) of a Dataset."""
    train, held_out = dataset.hold_out()
    if settings.train_size > len(train):
        raise InputError(
            f"setting train_size={settings.train_size}: {dataset.name} has "
            f"{len(train):,} training images ({len(held_out or ()):,} more are held "
            "out)"
        )
    return train.balanced(settings.train_size, seed) if settings.train_size else train, held_out


@contextlib.contextmanager
def _stop_signal(told):
    """An object whose `number` is 0, and from the first SIGINT (Ctrl-C) or SIGTERM on, that of the
    signal.

    told() is then called; a second signal interrupts at once. Where there are several ranks, so it
    is with SIGUSR1, which mpiexec hands on without killing them.
    """
    stop = SimpleNamespace(number=0)

    def handler(number, frame):
        if stop.number:
            ranks.abort(128 + number)
            raise Interrupted(number)
        stop.number = number
        told()

    with on_signals(["SIGINT", "SIGTERM", *["SIGUSR1"] * (ranks.size > 1)], handler):
        yield stop
