"""The Trainer: sample, D step, G step, average, log, picture."""

import contextlib
import dataclasses
import json
import math
import signal
import threading
from pathlib import Path

import numpy as np

from tinygan import plots
from tinygan.autograd import Tensor, grad, no_grad
from tinygan.backend import asarray, normal, to_numpy, xp
from tinygan.errors import InputError
from tinygan.files import write_json
from tinygan.gan import losses, penalties
from tinygan.kernels import parallel
from tinygan.metrics import Evaluator
from tinygan.nn import BatchNorm
from tinygan.ops import cross_entropy, sigmoid
from tinygan.optim import Adam, RMSprop

from . import checkpoint, log
from .ema import EMA
from .sampling import ROWS, call, class_rows, generate

GRID = 64  # fixed latents in the sample pictures of an unconditional recipe


class Trainer:
    """Trains a recipe's G and D on a Dataset, in a folder of its own.

    All randomness comes from one generator made from `seed`, whose state is part of a checkpoint, and from
    the data's own shuffling, a function of seed and step: a resumed run is the same run, bit for bit.
    """

    def __init__(self, recipe, settings, dataset, out, seed=0):
        s = settings
        self.settings, self.out, self.seed = s, Path(out), seed
        self.dataset, self.held_out = dataset.padded(s.pad).hold_out()
        if s.batch_size > len(self.dataset):
            raise InputError(f"batch_size {s.batch_size}: more than the {len(self.dataset):,} images of {dataset.name}")
        self.rng = np.random.default_rng([seed, 0, 1])  # a stream apart from that of the data's shuffling
        self.conditional, classes = s.g_class != "none", dataset.num_classes
        self.G, self.D = recipe.build(s, self.dataset.image_shape, classes, self.rng)
        self.ema = EMA(self.G, s.ema)
        self.loss = losses.find(s.loss)
        self.apart = any(isinstance(module, BatchNorm) for _, module in self.D.modules())
        self.penalised = bool(s.r1 or s.r2 or s.gp)
        self.g_optimizer = make_optimizer(s, self.G, s.lr)
        self.d_optimizer = make_optimizer(s, self.D, s.d_lr or s.lr, s.penalty_every if self.penalised else 1)
        self.fixed_latents, self.fixed_labels = self.fixed_inputs(classes)
        self.step = 0
        self.d_updates = 0  # which also numbers the batches of reals
        self.best_fid = math.inf
        if s.eval_every and self.held_out is None:
            raise InputError(f"eval_every={s.eval_every}: {dataset.name} is too small to hold images out")
        self.evaluator = Evaluator(self.held_out, seed) if s.eval_every else None
        self.recent = []  # what train_step returned since the last line of the log
        self.config = {"recipe": recipe.name, "settings": dataclasses.asdict(s), "data": dataset.name,
                       "image_shape": list(self.dataset.image_shape), "classes": classes, "seed": seed}

    def latents(self, n):
        """n latents z ~ N(0, 1): a Tensor (n, latent)."""
        return Tensor(normal(self.rng, (n, self.settings.latent)))

    def labels(self, n):
        """n classes for G to draw, each as likely as the others; None for an unconditional recipe."""
        return self.rng.integers(self.G.classes, size=n) if self.conditional else None

    def fixed_inputs(self, classes):
        """The latents and labels of the sample grids: of a conditional recipe, a row per class, a column per latent."""
        if not self.conditional:
            return self.latents(GRID), None
        labels, columns = class_rows(classes, 8 * min(classes, ROWS))
        z = np.tile(to_numpy(self.latents(columns).data), (len(labels) // columns, 1))
        return Tensor(asarray(z)), labels

    # A step

    def train_step(self):
        """The updates of D, then one of G. Returns the numbers to log."""
        n = self.settings.batch_size
        updates = self.settings.d_updates(self.step)
        numbers = {}
        for i in range(updates):
            reals, real_labels = self.dataset.batch(self.d_updates, n, self.seed)
            reals, z = asarray(reals), self.latents(n)
            labels = real_labels if self.conditional and self.loss.paired else self.labels(n)  # a real and a fake seven
            # The last fakes serve twice: D learns from their values, then G through their graph.
            with no_grad() if i < updates - 1 else contextlib.nullcontext():
                fakes = call(self.G, z, labels)
            numbers |= self.d_step(reals, real_labels, fakes.detach(), labels)
            self.d_updates += 1
        numbers |= self.g_step(reals, real_labels, fakes, labels)
        self.ema.update(self.G)
        return numbers

    def d_step(self, reals, real_labels, fakes, fake_labels):
        """One update of D on real images (N, H, W, C) and fakes, a constant Tensor."""
        s, parameters = self.settings, self.D.parameters()
        real, fake = self.judge_both(reals, real_labels, fakes, fake_labels)
        (real_logits, real_classes), (fake_logits, fake_classes) = real, fake
        loss = self.loss.discriminator(real_logits, fake_logits)
        output = sigmoid if self.loss.probability else lambda logits: logits
        numbers = {"d_loss": loss.item(), "d_real": output(real_logits.detach()).mean().item(),
                   "d_fake": output(fake_logits.detach()).mean().item()}
        if real_classes is not None:
            class_loss = cross_entropy(real_classes, real_labels) + cross_entropy(fake_classes, fake_labels)
            numbers["d_class"] = class_loss.item()
            loss = loss + s.class_weight * class_loss

        images = reals, real_labels, fakes.data, fake_labels
        if self.penalised and s.penalty_every == 1:
            penalty = self.penalty(*images)
            loss, numbers["penalty"] = loss + penalty, penalty.item()
        self.d_optimizer.step(grad(loss, parameters))
        # Lazily, a penalty weighs k times as much at every k-th update, in an update of its own (Karras et al. 2020b,
        # section 3.1; make_optimizer has the rest).
        if self.penalised and s.penalty_every > 1 and self.d_updates % s.penalty_every == 0:
            penalty = self.penalty(*images)
            numbers["penalty"] = penalty.item()
            self.d_optimizer.step(grad(penalty * float(s.penalty_every), parameters))
        if s.clip:
            penalties.clip_weights(parameters, s.clip)
        return numbers

    def penalty(self, reals, real_labels, fakes, fake_labels):
        """The weighted sum of the penalties that are switched on."""
        s = self.settings
        of_reals, of_fakes = (lambda x, y=y: self.judge(x, y)[0] for y in (real_labels, fake_labels))
        total = 0.0
        if s.r1:
            total = total + s.r1 * penalties.r1(of_reals, reals)
        if s.r2:
            total = total + s.r2 * penalties.r2(of_fakes, fakes)
        if s.gp:
            total = total + s.gp * penalties.wgan_gp(of_reals, reals, fakes, self.rng)
        return total

    def g_step(self, reals, real_labels, fakes, fake_labels):
        """One update of G through D's judgement of its fakes."""
        fake_logits, fake_classes = self.judge(fakes, fake_labels)
        real_logits = None
        if self.loss.paired:
            with no_grad():
                real_logits, _ = self.judge(Tensor(reals), real_labels)
        loss = self.loss.generator(real_logits, fake_logits)
        numbers = {"g_loss": loss.item()}
        if fake_classes is not None:
            class_loss = cross_entropy(fake_classes, fake_labels)
            numbers["g_class"] = class_loss.item()
            loss = loss + self.settings.class_weight * class_loss
        self.g_optimizer.step(grad(loss, self.G.parameters()))
        return numbers

    def judge_both(self, reals, real_labels, fakes, fake_labels):
        """`judge` of the reals and of the fakes. One pass of both together is faster, but through batch-norm in D they
        would see each other: then they go one by one, as DCGAN's do."""
        if self.apart:
            return self.judge(Tensor(reals), real_labels), self.judge(fakes, fake_labels)
        n = len(reals)
        images = Tensor(xp.concatenate([reals, fakes.data]))
        both = self.judge(images, np.concatenate([real_labels, fake_labels]) if self.conditional else None)
        return [[None if part is None else part[half] for part in both] for half in (slice(0, n), slice(n, None))]

    def judge(self, x, labels):
        """D's (logits, class logits) on images x; the second is None where D does not guess the class."""
        output = call(self.D, x, labels if self.conditional else None)
        return output if isinstance(output, tuple) else (output, None)

    def run(self, progress=True):
        """Train up to `settings.steps`; return the path of the last sample grid.

        Writes log.jsonl, samples/, curves.png and checkpoints as it goes. The first Ctrl-C (or SIGTERM) ends
        the step, writes a checkpoint and raises KeyboardInterrupt. Raises InputError if a loss is no number.
        """
        s = self.settings
        (self.out / "samples").mkdir(exist_ok=True)
        if self.step == 0:
            self.write_grid()
        parallel.keep_memory()
        # NumPy's warnings of overflow are silent: whether the losses are finite is checked at every step.
        with log.Log(self, progress) as lines, _stop_signal() as stop, parallel.single_threaded_blas(), \
                np.errstate(all="ignore"):
            while self.step < s.steps and not stop.is_set():
                numbers = self.train_step()
                self.step += 1
                if not all(map(math.isfinite, numbers.values())):
                    raise InputError(f"the losses are no longer numbers at step {self.step}: train with a smaller "
                                     "--set lr; the last checkpoint is from before")
                lines.add(numbers)
                last = self.step == s.steps
                if s.eval_every and (self.step % s.eval_every == 0 or last):
                    self.evaluate()  # before the checkpoint: a resumed run does not go back for it
                if self.step % s.checkpoint_every == 0 or last:
                    self.save()
                if self.step % s.sample_every == 0 or last:
                    self.write_grid()
        if self.step < s.steps:
            self.save()
            raise KeyboardInterrupt
        return self.grid_path()

    def evaluate(self):
        """Compare samples with the held-out images: a line of eval.jsonl. Keeps the best averaged G in best.npz."""
        s = self.settings
        rng = np.random.default_rng([self.seed, self.step, 2])  # not the run's: to look must not change it
        labels = rng.integers(self.G.classes, size=s.eval_images) if self.conditional else None
        images = generate(self.ema.module, Tensor(normal(rng, (s.eval_images, s.latent))), labels)
        numbers = {"step": self.step, **self.evaluator.quick(images, labels)}
        with open(self.out / "eval.jsonl", "a") as file:
            print(json.dumps(numbers), file=file)
        if numbers["fid"] < self.best_fid:
            self.best_fid = numbers["fid"]
            checkpoint.write(self.out / checkpoint.BEST, {"ema": self.ema.module.state_dict()},
                             {"step": self.step, "evaluation": numbers})

    # Pictures and files

    def grid_path(self):
        return self.out / "samples" / f"step-{self.step:08d}.png"

    def write_grid(self):
        """The averaged generator's images of the fixed latents."""
        images = generate(self.ema.module, self.fixed_latents, self.fixed_labels)
        columns = None if self.fixed_labels is None else class_rows(self.G.classes, len(images))[1]
        plots.save_image(self.grid_path(), plots.grid(images, columns))

    def save(self):
        """Write a checkpoint, and the curves up to it."""
        checkpoint.save(self.out, self.step, self._states(), {
            "rng": self.rng.bit_generator.state, "d_updates": self.d_updates, "ema_updates": self.ema.updates,
            "recent": self.recent})
        rows = log.rows(self.out)
        if rows:
            plots.save_curves(self.out / "curves.png", rows, self.loss.probability)

    def _states(self):
        return {"G": self.G.state_dict(), "D": self.D.state_dict(), "ema": self.ema.module.state_dict(),
                "g_optimizer": self.g_optimizer.state_dict(), "d_optimizer": self.d_optimizer.state_dict(),
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
            self.step, self.d_updates, self.ema.updates, self.recent = (
                meta[key] for key in ("step", "d_updates", "ema_updates", "recent"))
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


def make_optimizer(s, network, lr, lazy=1):
    """The optimiser of a network. lazy: k, where a penalty is minimised at every k-th step only, as an extra step.

    k + 1 steps then do the work of k, so the rate and the decays become those of k / (k + 1) steps (Karras et al.
    2020b, section 3.1).
    """
    share = lazy / (lazy + 1) if lazy > 1 else 1
    if s.optimizer == "rmsprop":
        return RMSprop(network.parameters(), lr * share, s.beta2 ** share)
    return Adam(network.parameters(), lr * share, (s.beta1 ** share, s.beta2 ** share))
