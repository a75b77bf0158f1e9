"""The Trainer: a run of training steps in a folder of its own, with its log, pictures and checkpoints."""

import contextlib
import dataclasses
import json
import math
import os
import signal
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from tinygan import files, plots
from tinygan.autograd import Tensor, no_grad
from tinygan.backend import asarray, normal, number, to_numpy
from tinygan.errors import InputError, Interrupted, warn
from tinygan.kernels.cpu import parallel
from tinygan.metrics import Evaluator
from tinygan.nn import MinibatchStddev

from tinygan.files import checkpoint

from . import health, log, ranks
from tinygan.models.growth import at_lod
from .sampling import ROWS, class_rows, generate, standing_statistics
from .updates import Updates

LOCK = "running"  # this file is there, and locked, while a process trains in the folder
GRID = 64  # fixed latents in the sample pictures of an unconditional recipe


class FolderTaken(InputError):
    """The folder for a new run holds one already."""


class Trainer(Updates):
    """Trains a recipe's G and D on a Dataset, in a folder of its own.

    A resumed run is the same run, bit for bit: the state of the generator of all randomness is part of a checkpoint.
    """

    def __init__(self, recipe, settings, dataset, out, seed=0):
        s = settings
        dataset, self.held_out = training_data(dataset.padded(s.pad), s, seed)
        super().__init__(recipe, s, dataset, seed)
        self.held_out_batch = self.most_judged(len(self.held_out)) if self.held_out else 0
        self.out, classes = Path(out), dataset.num_classes
        self.fixed_latents, self.fixed_labels = self.fixed_inputs(classes)
        self.best_fid = math.inf
        if s.eval_every and self.held_out is None:
            raise InputError(f"eval_every={s.eval_every}: {dataset.name} is too small to hold images out")
        self.evaluator = Evaluator(self.held_out, seed) if s.eval_every and ranks.rank == 0 else None
        self.recent = []  # what train_step returned since the last line of the log
        self.grown = {}  # pixels on a side -> images of the first fixed latents, when that size had settled
        self.checkpoints_seen = None  # names of those in the folder when it was read
        self.same_evaluations = True  # as before a run was resumed, or at other steps
        self.standing_step = None  # when the averaged G got its batch-norm statistics
        self.config = {"recipe": recipe.name, "settings": dataclasses.asdict(s), "data": dataset.name,
                       "image_shape": list(dataset.image_shape), "classes": classes, "seed": seed}

    def fixed_inputs(self, classes):
        """The latents and labels of the sample grids: of a conditional recipe, a row per class, a column per latent."""
        if not self.conditional:
            return self.latents(GRID), None
        labels, columns = class_rows(classes, 8 * min(classes, ROWS))
        z = np.tile(to_numpy(self.latents(columns).data), (len(labels) // columns, 1))
        return Tensor(asarray(z)), labels

    def average(self):
        """The averaged G, ready to draw: where `standing` asks for it, with batch-norm statistics of its own images."""
        G, batches = self.ema.module, self.settings.standing
        if batches and self.standing_step != self.step:
            standing_statistics(G, np.random.default_rng([self.seed, self.step, 4]), batches)
            self.standing_step = self.step
        return G

    def sound(self):
        """The averaged G. Raises Diverged if something in it is not finite: an image of it would not show that."""
        G = self.average()
        if found := health.first_of({f"ema/{name}": array for name, array in G.state_dict().items()}):
            raise self.diverged(found, self.step)
        return G

    def grow(self):
        """As in Updates; what a size has come to is kept before the next one fades in."""
        if self.lod is not None and self.growth.lod(self.images) < math.floor(self.lod):
            if ranks.rank == 0:
                self.picture_growth()
        super().grow()

    def run(self, progress=True):
        """Train up to `settings.steps`; return the path of the last sample grid.

        Writes log.jsonl, samples/, curves.png and checkpoints as it goes. The first Ctrl-C or SIGTERM ends the step, writes
        a checkpoint and raises Interrupted; a second one raises it at once. Raises Diverged if a number is not finite, and
        InputError if another process trains in this folder, or it cannot be written to.
        """
        with contextlib.ExitStack() as around:
            stop, lines = around.enter_context(_stop_signal(self.last_words)), None
            self.at_one_step()
            if ranks.rank == 0:
                around.enter_context(files.locked(self.out / LOCK))
                seen, self.checkpoints_seen = self.checkpoints_seen, None
                if seen not in (None, checkpoint.names(self.out)):
                    raise InputError(f"{self.out} has gone on meanwhile, by another process: try again")
                with files.writing(self.out):
                    self.rewind()
                lines = around.enter_context(log.Log(self, progress))
            self.agree()
            parallel.keep_memory()
            # NumPy's warnings of overflow are silent: whether numbers are finite is checked whenever they are read.
            with parallel.single_threaded_blas(), np.errstate(all="ignore"):
                self.steps(lines, stop)
        return self.grid_path()

    def at_one_step(self):
        """Raises InputError if the ranks have read different checkpoints: before anything later is removed."""
        if ranks.largest(self.step) != -ranks.largest(-self.step):
            error = InputError("the ranks have read different checkpoints: do all see the same folder?")
            error.everywhere = True
            raise error

    def agree(self):
        """Bring all ranks to the weights of the first: what they drew or read themselves could differ in a last bit. Those
        on one machine share its cores."""
        if ranks.size > 1:
            if "TINYGAN_NUM_THREADS" not in os.environ:
                parallel.set_num_threads(max(1, min(parallel.num_threads(), parallel.cores() // ranks.beside())))
            for network in (self.G, self.D, self.ema.module):
                network.mark_changed()
                ranks.broadcast([p.data for p in network.parameters()] + [array for _, array in network.named_buffers()])

    def last_words(self):
        """mpiexec kills its ranks soon after it has told them to stop: say how to go on while there is time."""
        if ranks.size > 1 and ranks.rank == 0:
            words = ("tinygan: stopping; if this step is not saved in time, continue from step "
                     f"{checkpoint.last_step(self.out)} with: tinygan train --resume {self.out}\n")
            os.write(2, words.encode(errors="backslashreplace"))  # in a signal's handler, sys.stderr may be in use

    def steps(self, lines, stop):
        """The steps of a run. A checkpoint comes after all that belongs to its step: whatever is missing when the run is
        killed comes again. lines: the Log; None on ranks but the first, which write nothing."""
        s = self.settings
        if self.step == 0:
            if self.growth:
                self.grow()
            if lines:
                self.write_grid()
        while self.step < s.steps:
            numbers = self.train_step()
            if self.held_out_batch and self.step % log.LOG_EVERY == 0:
                with self.phase("held out"):
                    numbers["logit_held_out"] = self.held_out_logit()
            asked, last = ranks.largest(stop.number), self.step == s.steps  # asked once: it may come any moment
            if lines:
                lines.add(numbers)
                self.write(lines, last, asked)
            if asked and not last:
                ranks.largest(0)  # the first has saved
                raise Interrupted(asked, everywhere=True)

    def write(self, lines, last, asked):
        """What is due after this step, which is the last or the last for now."""
        s = self.settings
        due = [every and (last or self.step % every == 0) for every in (s.eval_every, s.sample_every, s.checkpoint_every)]
        evaluation, picture, saved = *due[:2], due[2] or asked
        if evaluation or picture or saved:
            lines.read()  # first: a loss tells best where a number went wrong
        if evaluation:
            self.evaluate()
        if picture:
            self.write_grid()
        if last and self.growth:
            self.picture_growth()
        if saved:
            self.save(lines)

    def most_judged(self, there):
        """How many of so many images D judges at a time, at most a batch, or a micro-batch; 0: there are too few."""
        n = min(self.settings.micro_batch or self.settings.batch_size, there)
        for _, module in self.D.modules():
            if isinstance(module, MinibatchStddev):
                n -= n % (min(module.group_size, n) * ranks.size)
        n -= n % ranks.size
        return n if n > ranks.size else 0

    def held_out_logit(self):
        """D's mean logit on a batch of images that it never learns from, as it sees the reals. Changes nothing."""
        state = self.rng.bit_generator.state
        images, labels = self.held_out.batch(self.step // log.LOG_EVERY, self.held_out_batch, self.seed)
        buffers, aside = self.D.buffers(), ranks.Generator([self.seed, self.step, 7])
        with no_grad(), ranks.together():
            images, labels = ranks.share(images), ranks.share(labels)
            images = Tensor(at_lod(asarray(images), self.lod) if self.growth else asarray(images))
            logits, _ = self.score(self.augment(images, real=True, rng=aside), labels)
            mean = ranks.mean(logits.mean().data)
        self.D.set_buffers(buffers)
        self.rng.bit_generator.state = state  # dropout draws from it
        return number(mean)

    def evaluate(self):
        """Compare samples with the held-out images: a line of eval.jsonl. Keeps the best averaged G in best.npz."""
        s = self.settings
        rng = np.random.default_rng([self.seed, self.step, 2])  # not the run's: to look must not change it
        labels = rng.integers(self.G.classes, size=s.eval_images) if self.conditional else None
        images = generate(self.sound(), Tensor(normal(rng, (s.eval_images, s.latent))), labels)
        numbers = {"step": self.step, **self.evaluator.quick(images, labels)}
        path = self.out / "eval.jsonl"
        with files.writing(path), open(path, "a") as file:
            print(json.dumps(numbers), file=file, flush=True)
            os.fsync(file.fileno())
        if numbers["fid"] < self.best_fid:
            self.best_fid = numbers["fid"]
            checkpoint.write(self.out / checkpoint.BEST, {"ema": self.average().state_dict()},
                             {"step": self.step, "evaluation": numbers})

    # Pictures and files

    def grid_path(self):
        return self.out / "samples" / f"step-{self.step:08d}.png"

    def write_grid(self):
        """The averaged generator's images of the fixed latents."""
        images = generate(self.sound(), self.fixed_latents, self.fixed_labels)
        columns = None if self.fixed_labels is None else class_rows(self.G.classes, len(images))[1]
        plots.save_image(self.grid_path(), plots.grid(images, columns))

    def picture_growth(self):
        """growth.png: the same latents at each size, a row each, up to the present one."""
        z, labels = self.fixed_latents, self.fixed_labels
        if self.conditional:  # the first of each row
            columns = class_rows(self.G.classes, len(labels))[1]
            z, labels = z[::columns], labels[::columns]
        size = self.growth.size >> math.floor(self.lod)
        self.grown[f"{size:04}"] = generate(self.sound(), z[:10], None if labels is None else labels[:10])
        rows = np.concatenate([images for _, images in sorted(self.grown.items())])
        plots.save_image(self.out / "growth.png", plots.grid(rows, columns=10))

    def save(self, lines):
        """Write the curves up to here, and a checkpoint."""
        lines.flush()
        if rows := list(log.rows(self.out, log.POINTS)):
            self.draw_curves(self.out / "curves.png", rows)
        states = self._states()
        if found := health.first_of({f"{part}/{name}": array for part, state in states.items() for name, array in state.items()}):
            raise self.diverged(found, self.step)
        checkpoint.save(self.out, self.step, states, {
            "rng": self.rng.bit_generator.state, "d_updates": self.d_updates, "images": self.images, "lod": self.lod,
            "ema_updates": self.ema.updates, "average_path": float(self.average_path), "recent": self.recent,
            "augment_rng": self.augment.rng.bit_generator.state,
            "controller": self.controller.state() if self.controller else None}, self.settings.keep)

    def draw_curves(self, path, rows):
        plots.save_curves(path, rows, self.loss.probability, self.settings.ada_target)

    def _states(self):
        return {"G": self.G.state_dict(), "D": self.D.state_dict(), "ema": self.average().state_dict(),
                "grown": self.grown, "g_optimizer": self.g_optimizer.state_dict(),
                "d_optimizer": self.d_optimizer.state_dict(),
                "fixed": {"latents": to_numpy(self.fixed_latents.data)}}

    def resume(self, run):
        """Continue from a checkpoint.Run: everything as it was then, or at the beginning if there is no checkpoint. The
        folder stays as it is until `run` goes on."""
        self.checkpoints_seen = run.seen
        self.same_evaluations = run.config["settings"].get("eval_every") == self.settings.eval_every
        if run.path is None:
            return
        states, meta = run.states, run.meta
        if meta["step"] >= self.settings.steps:
            raise InputError(f"{run.path} is at step {meta['step']} already: give a larger --steps")
        try:
            for part in ("G", "D", "g_optimizer", "d_optimizer"):
                getattr(self, part).load_state_dict(states[part])
            self.ema.module.load_state_dict(states["ema"])
            self.fixed_latents = Tensor(asarray(states["fixed"]["latents"]))
            self.random_state([meta["rng"], meta["augment_rng"]])
            self.grown = states.get("grown", {})
            if self.controller:
                self.controller.restore(meta["controller"])
            self.step, self.d_updates, self.images, self.lod, self.ema.updates, self.average_path, self.recent = (
                meta[key] for key in ("step", "d_updates", "images", "lod", "ema_updates", "average_path", "recent"))
        except (KeyError, ValueError, TypeError, AttributeError, OverflowError) as error:
            raise InputError(f"{run.path} does not fit this run's config.json ({error})") from None

    def rewind(self):
        """Bring the folder to this step: what is later was written by a process that was killed, or is of a branch that is
        given up, and comes again."""
        files.remove_temporary(self.out)
        files.remove_temporary(self.out / "samples")
        for pattern in ("checkpoint-*.npz", "samples/step-*.png"):
            for path in self.out.glob(pattern):
                if (checkpoint.step_of(path) or 0) > self.step:
                    path.unlink()
        log.cut(self.out, self.step)
        self.best_fid, best = log.best_fid(self.out), self.out / checkpoint.BEST
        if best.exists():
            try:
                if checkpoint.load(best)[1]["step"] > self.step:  # that evaluation comes again, unless it is no longer asked for
                    self.best_fid = self.best_fid if self.same_evaluations else math.inf
                    best.unlink()
            except InputError as error:
                warn(f"{str(error).split(': use')[0]}: the next evaluation makes a new one")
                self.best_fid = math.inf
                best.unlink()
        (self.out / "samples").mkdir(exist_ok=True)
        files.write_json(self.out / "config.json", self.config)

    @classmethod
    def start(cls, recipe, settings, dataset, out, seed=0):
        """A Trainer with a new run folder. Raises FolderTaken if `out` holds a run already."""
        out = Path(out)
        if out.exists() and not out.is_dir():
            raise InputError(f"{out} is a file: choose another --out")
        # What is hidden, or a folder without files, is of a run that was killed before it began.
        if any(not path.is_dir() and path.name[0] != "." and path.name != LOCK for path in out.rglob("*")):
            if not (out / "config.json").exists():
                raise InputError(f"{out} is not empty, and holds no run to go on with: delete it, or choose another --out")
            raise FolderTaken(f"{out} exists and is not empty: continue that run with --resume {out}, "
                              "or choose another --out")
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
            raise FolderTaken(f"{out} has just been taken by another process: choose another --out") from None
        trainer.checkpoints_seen = ()
        return trainer


def training_data(dataset, settings, seed):
    """(what a run with these settings is trained on, what is held out) of a Dataset."""
    train, held_out = dataset.hold_out()
    if settings.train_size > len(train):
        raise InputError(f"setting train_size={settings.train_size}: {dataset.name} has {len(train):,} training images "
                         f"({len(held_out or ()):,} more are held out)")
    return train.balanced(settings.train_size, seed) if settings.train_size else train, held_out


@contextlib.contextmanager
def _stop_signal(told):
    """An object whose `number` is 0, and then that of the first SIGINT (Ctrl-C) or SIGTERM, after which told() is called; a
    second one interrupts at once. Of several ranks, also SIGUSR1, which mpiexec hands on without killing them."""
    stop = SimpleNamespace(number=0)
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handler(number, frame):
        if stop.number:
            ranks.abort(128 + number)
            raise Interrupted(number)
        stop.number = number
        told()

    signals = [signal.SIGINT, signal.SIGTERM] + ([signal.SIGUSR1] if ranks.size > 1 else [])
    before = {s: signal.signal(s, handler) for s in signals}
    try:
        yield stop
    finally:
        for s, previous in before.items():
            signal.signal(s, previous)
