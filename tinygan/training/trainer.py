"""The Trainer: a run of training steps in a folder of its own, with its log, pictures and checkpoints."""

import contextlib
import dataclasses
import json
import math
import signal
import threading
from pathlib import Path

import numpy as np

from tinygan import plots
from tinygan.autograd import Tensor, no_grad
from tinygan.backend import asarray, normal, number, to_numpy
from tinygan.errors import InputError
from tinygan.files import write_json
from tinygan.kernels import parallel
from tinygan.metrics import Evaluator
from tinygan.nn import MinibatchStddev

from . import checkpoint, log
from .growth import at_lod
from .sampling import ROWS, class_rows, generate, standing_statistics
from .updates import Updates

GRID = 64  # fixed latents in the sample pictures of an unconditional recipe


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
        self.evaluator = Evaluator(self.held_out, seed) if s.eval_every else None
        self.recent = []  # what train_step returned since the last line of the log
        self.grown = {}  # pixels on a side -> images of the first fixed latents, when that size had settled
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

    def grow(self):
        """As in Updates; what a size has come to is kept before the next one fades in."""
        if self.lod is not None and self.growth.lod(self.images) < math.floor(self.lod):
            self.picture_growth()
        super().grow()

    def run(self, progress=True):
        """Train up to `settings.steps`; return the path of the last sample grid.

        Writes log.jsonl, samples/, curves.png and checkpoints as it goes. The first Ctrl-C (or SIGTERM) ends
        the step, writes a checkpoint and raises KeyboardInterrupt. Raises InputError if a loss is no number.
        """
        s = self.settings
        (self.out / "samples").mkdir(exist_ok=True)
        if self.step == 0:
            if self.growth:
                self.grow()
            self.write_grid()
        parallel.keep_memory()
        # NumPy's warnings of overflow are silent: whether the losses are finite is checked whenever they are read.
        with log.Log(self, progress) as lines, _stop_signal() as stop, parallel.single_threaded_blas(), \
                np.errstate(all="ignore"):
            while self.step < s.steps and not stop.is_set():
                numbers = self.train_step()
                if self.held_out_batch and self.step % log.LOG_EVERY == 0:
                    with self.phase("held out"):
                        numbers["logit_held_out"] = self.held_out_logit()
                lines.add(numbers)
                last = self.step == s.steps
                if s.eval_every and (self.step % s.eval_every == 0 or last):
                    lines.read()
                    self.evaluate()  # before the checkpoint: a resumed run does not go back for it
                if self.step % s.checkpoint_every == 0 or last:
                    lines.read()
                    self.save()
                if self.step % s.sample_every == 0 or last:
                    self.write_grid()
            if self.step < s.steps:
                lines.read()
                self.save()
                raise KeyboardInterrupt
        if self.growth:
            self.picture_growth()
        return self.grid_path()

    def most_judged(self, there):
        """How many of so many images D judges at a time, at most a batch, or a micro-batch; 0: there are too few."""
        n = min(self.settings.micro_batch or self.settings.batch_size, there)
        for _, module in self.D.modules():
            if isinstance(module, MinibatchStddev):
                n -= n % min(module.group_size, n)
        return n if n > 1 else 0

    def held_out_logit(self):
        """D's mean logit on a batch of images that it never learns from, as it sees the reals. Changes nothing."""
        state = self.rng.bit_generator.state
        images, labels = self.held_out.batch(self.step // log.LOG_EVERY, self.held_out_batch, self.seed)
        buffers, aside = self.D.buffers(), np.random.default_rng([self.seed, self.step, 7])
        with no_grad():
            images = Tensor(at_lod(asarray(images), self.lod) if self.growth else asarray(images))
            logits, _ = self.score(self.augment(images, real=True, rng=aside), labels)
        self.D.set_buffers(buffers)
        self.rng.bit_generator.state = state  # dropout draws from it
        return number(logits.mean().data)

    def evaluate(self):
        """Compare samples with the held-out images: a line of eval.jsonl. Keeps the best averaged G in best.npz."""
        s = self.settings
        rng = np.random.default_rng([self.seed, self.step, 2])  # not the run's: to look must not change it
        labels = rng.integers(self.G.classes, size=s.eval_images) if self.conditional else None
        images = generate(self.average(), Tensor(normal(rng, (s.eval_images, s.latent))), labels)
        numbers = {"step": self.step, **self.evaluator.quick(images, labels)}
        with open(self.out / "eval.jsonl", "a") as file:
            print(json.dumps(numbers), file=file)
        if numbers["fid"] < self.best_fid:
            self.best_fid = numbers["fid"]
            checkpoint.write(self.out / checkpoint.BEST, {"ema": self.average().state_dict()},
                             {"step": self.step, "evaluation": numbers})

    # Pictures and files

    def grid_path(self):
        return self.out / "samples" / f"step-{self.step:08d}.png"

    def write_grid(self):
        """The averaged generator's images of the fixed latents."""
        images = generate(self.average(), self.fixed_latents, self.fixed_labels)
        columns = None if self.fixed_labels is None else class_rows(self.G.classes, len(images))[1]
        plots.save_image(self.grid_path(), plots.grid(images, columns))

    def picture_growth(self):
        """growth.png: the same latents at each size, a row each, up to the present one."""
        z, labels = self.fixed_latents, self.fixed_labels
        if self.conditional:  # the first of each row
            columns = class_rows(self.G.classes, len(labels))[1]
            z, labels = z[::columns], labels[::columns]
        size = self.growth.size >> math.floor(self.lod)
        self.grown[f"{size:04}"] = generate(self.average(), z[:10], None if labels is None else labels[:10])
        rows = np.concatenate([images for _, images in sorted(self.grown.items())])
        plots.save_image(self.out / "growth.png", plots.grid(rows, columns=10))

    def save(self):
        """Write a checkpoint, and the curves up to it."""
        checkpoint.save(self.out, self.step, self._states(), {
            "rng": self.rng.bit_generator.state, "d_updates": self.d_updates, "images": self.images, "lod": self.lod,
            "ema_updates": self.ema.updates, "average_path": float(self.average_path), "recent": self.recent,
            "augment_rng": self.augment.rng.bit_generator.state,
            "controller": self.controller.state() if self.controller else None})
        rows = log.rows(self.out)
        if rows:
            plots.save_curves(self.out / "curves.png", rows, self.loss.probability, self.settings.ada_target)

    def _states(self):
        return {"G": self.G.state_dict(), "D": self.D.state_dict(), "ema": self.average().state_dict(),
                "grown": self.grown, "g_optimizer": self.g_optimizer.state_dict(),
                "d_optimizer": self.d_optimizer.state_dict(),
                "fixed": {"latents": to_numpy(self.fixed_latents.data)}}

    def resume(self, path):
        """Continue from a checkpoint: everything as it was, and the log cut back to that step."""
        states, meta = checkpoint.load(path)
        if meta.get("step", 0) >= self.settings.steps:
            raise InputError(f"{path} is at step {meta['step']} already: give a larger --steps")
        try:
            for part in ("G", "D", "g_optimizer", "d_optimizer"):
                getattr(self, part).load_state_dict(states[part])
            self.ema.module.load_state_dict(states["ema"])
            self.fixed_latents = Tensor(asarray(states["fixed"]["latents"]))
            self.rng.bit_generator.state = meta["rng"]
            self.grown = states.get("grown", {})
            # Older checkpoints do not have the next three.
            self.average_path = meta.get("average_path", 0.0)
            self.augment.rng.bit_generator.state = meta.get("augment_rng", self.augment.rng.bit_generator.state)
            if self.controller:
                self.controller.restore(meta["controller"])
            self.step, self.d_updates, self.images, self.lod, self.ema.updates, self.recent = (
                meta[key] for key in ("step", "d_updates", "images", "lod", "ema_updates", "recent"))
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise InputError(f"{path} does not fit this run's config.json ({error})") from None
        for newer in checkpoint.checkpoints(self.out):
            if newer.name > f"checkpoint-{self.step:08d}.npz":
                newer.unlink()  # of the branch that is given up
        best = self.out / checkpoint.BEST
        if best.exists():
            try:
                _, meta = checkpoint.load(best)
                self.best_fid = meta["evaluation"]["fid"] if meta["step"] <= self.step else math.inf
            except (InputError, KeyError, TypeError):
                pass
            if self.best_fid == math.inf:  # damaged, or later than where we go on: it comes again
                best.unlink()
        log.cut(self.out, self.step)

    @classmethod
    def start(cls, recipe, settings, dataset, out, seed=0):
        """A Trainer with a new run folder. Raises InputError if `out` holds a run already."""
        out = Path(out)
        if out.exists() and not out.is_dir():
            raise InputError(f"{out} is a file: choose another --out")
        if out.exists() and any(out.iterdir()):
            if not checkpoint.checkpoints(out):
                raise InputError(f"{out} is not empty, and holds no checkpoint to go on from: delete it, "
                                 "or choose another --out")
            raise InputError(f"{out} exists and is not empty: continue that run with --resume {out}, "
                             "or choose another --out")
        trainer = cls(recipe, settings, dataset, out, seed)
        (out / "samples").mkdir(parents=True)
        write_json(out / "config.json", trainer.config)
        return trainer


def training_data(dataset, settings, seed):
    """(what a run with these settings is trained on, what is held out) of a Dataset."""
    train, held_out = dataset.hold_out()
    if settings.train_size > len(train):
        raise InputError(f"setting train_size={settings.train_size}: {dataset.name} has {len(train):,} training images "
                         f"({len(held_out or ()):,} more are held out)")
    return train.balanced(settings.train_size, seed) if settings.train_size else train, held_out


@contextlib.contextmanager
def _stop_signal():
    """An Event that the first Ctrl-C or SIGTERM sets; a second one interrupts at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handler(number, frame):
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {s: signal.signal(s, handler) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for s, previous in before.items():
            signal.signal(s, previous)
