"""The Trainer: sample, D step, G step, average, log, picture."""

import contextlib
import dataclasses
import json
import math
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np

from tinygan import plots
from tinygan.autograd import Tensor, grad, no_grad
from tinygan.backend import normal, to_numpy
from tinygan.data import to_uint8
from tinygan.errors import InputError
from tinygan.files import replacing, write_json
from tinygan.gan import losses
from tinygan.kernels import parallel
from tinygan.ops import sigmoid
from tinygan.optim import Adam

from . import checkpoint, recipes
from .ema import EMA

LOG_EVERY = 10  # steps averaged in one line of log.jsonl
GRID = 64  # fixed latents in the sample pictures


class Trainer:
    """Trains a recipe's G and D on a Dataset, in a folder of its own.

    All randomness comes from one generator made from `seed`, whose state is part of a checkpoint, and from
    the data's own shuffling, a function of seed and step: a resumed run is the same run, bit for bit.
    """

    def __init__(self, recipe, settings, dataset, out, seed=0):
        self.settings, self.dataset, self.out, self.seed = settings, dataset, Path(out), seed
        self.rng = np.random.default_rng([seed, 0, 1])  # a stream apart from that of the data's shuffling
        self.G, self.D = recipe.build(settings, dataset.image_shape, self.rng)
        self.ema = EMA(self.G, settings.ema)
        betas = (settings.beta1, settings.beta2)
        self.g_optimizer = Adam(self.G.parameters(), settings.lr, betas)
        self.d_optimizer = Adam(self.D.parameters(), settings.lr, betas)
        self.fixed_latents = self.latents(GRID)
        self.step = 0
        self.recent = []  # what train_step returned since the last line of the log
        self.config = {"recipe": recipe.name, "settings": dataclasses.asdict(settings), "data": dataset.name,
                       "image_shape": list(dataset.image_shape), "seed": seed}

    def latents(self, n):
        """n latents z ~ N(0, 1): a Tensor (n, latent)."""
        return Tensor(normal(self.rng, (n, self.settings.latent)))

    def train_step(self, reals):
        """One update of D, then of G, on real images (N, H, W, C). Returns the numbers to log."""
        fakes = self.G(self.latents(len(reals)))  # made once: D learns from the values, G through the graph

        real_logits, fake_logits = self.D(Tensor(reals)), self.D(fakes.detach())
        d_loss = losses.bce_discriminator(real_logits, fake_logits)
        self.d_optimizer.step(grad(d_loss, self.D.parameters()))

        g_loss = losses.bce_generator(self.D(fakes))
        self.g_optimizer.step(grad(g_loss, self.G.parameters()))

        self.ema.update(self.G)
        return {"d_loss": d_loss.item(), "g_loss": g_loss.item(),
                "d_real": sigmoid(real_logits.detach()).mean().item(),
                "d_fake": sigmoid(fake_logits.detach()).mean().item()}

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
        with _Log(self, progress) as log, _stop_signal() as stop, parallel.single_threaded_blas(), \
                np.errstate(all="ignore"):
            while self.step < s.steps and not stop.is_set():
                reals, _ = self.dataset.batch(self.step, s.batch_size, self.seed)
                numbers = self.train_step(reals)
                self.step += 1
                if not all(map(math.isfinite, numbers.values())):
                    raise InputError(f"the losses are no longer numbers at step {self.step}: train with a smaller "
                                     "--set lr; the last checkpoint is from before")
                log.add(numbers)
                last = self.step == s.steps
                if self.step % s.checkpoint_every == 0 or last:
                    self.save()
                if self.step % s.sample_every == 0 or last:
                    self.write_grid()
        if self.step < s.steps:
            self.save()
            raise KeyboardInterrupt
        return self.grid_path()

    # Pictures and files

    def grid_path(self):
        return self.out / "samples" / f"step-{self.step:08d}.png"

    def write_grid(self):
        """The averaged generator's images of the fixed latents."""
        plots.save_image(self.grid_path(), plots.grid(generate(self.ema.module, self.fixed_latents)))

    def save(self):
        """Write a checkpoint, and the curves up to it."""
        checkpoint.save(self.out, self.step, self._states(), {
            "rng": self.rng.bit_generator.state, "ema_updates": self.ema.updates, "recent": self.recent})
        rows = [json.loads(line) for line in (self.out / "log.jsonl").read_text().splitlines() if _step_of(line) < math.inf]
        if rows:
            plots.save_curves(self.out / "curves.png", rows)

    def _states(self):
        return {"G": self.G.state_dict(), "D": self.D.state_dict(), "ema": self.ema.module.state_dict(),
                "g_optimizer": self.g_optimizer.state_dict(), "d_optimizer": self.d_optimizer.state_dict(),
                "fixed": {"latents": to_numpy(self.fixed_latents.data)}}

    def resume(self, path):
        """Continue from a checkpoint: everything as it was, and the log cut back to that step."""
        states, meta = checkpoint.load(path)
        try:
            for part in ("G", "D", "g_optimizer", "d_optimizer"):
                getattr(self, part).load_state_dict(states[part])
            self.ema.module.load_state_dict(states["ema"])
            self.fixed_latents = Tensor(states["fixed"]["latents"])
            self.rng.bit_generator.state = meta["rng"]
            self.step, self.ema.updates, self.recent = meta["step"], meta["ema_updates"], meta["recent"]
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise InputError(f"{path} does not fit this run's config.json ({error})") from None
        for newer in checkpoint.checkpoints(self.out):
            if newer.name > f"checkpoint-{self.step:08d}.npz":
                newer.unlink()  # of the branch that is given up
        for name in ("log.jsonl", "time.jsonl"):
            log = self.out / name
            lines = log.read_text(errors="replace").splitlines(keepends=True) if log.exists() else []
            with replacing(log) as temporary:
                temporary.write_text("".join(line for line in lines if _step_of(line) <= self.step))

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


def _step_of(line):
    """The step of a line of the log; infinite for a line cut short when the run was killed."""
    try:
        step = json.loads(line)["step"]
        return step if isinstance(step, int) else math.inf
    except (ValueError, KeyError, TypeError):
        return math.inf


class _Log:
    """The progress bar, log.jsonl and time.jsonl of a run: a line for every LOG_EVERY steps."""

    def __init__(self, trainer, progress):
        from tqdm import tqdm

        self.trainer = trainer
        self.first, self.started = trainer.step, time.perf_counter()
        self.bar = tqdm(total=trainer.settings.steps, initial=trainer.step, unit="step", disable=not progress,
                        dynamic_ncols=True, mininterval=0.2 if sys.stderr.isatty() else 10)  # 10: into a file
        self.numbers, self.times = (open(trainer.out / name, "a") for name in ("log.jsonl", "time.jsonl"))

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for file in (self.bar, self.numbers, self.times):
            file.close()

    def add(self, numbers):
        """Take in the numbers of one step."""
        t = self.trainer
        t.recent.append(numbers)
        if t.step % LOG_EVERY == 0 or t.step == t.settings.steps:
            row = {key: float(np.mean([r[key] for r in t.recent])) for key in numbers}
            t.recent.clear()
            seconds, batch = time.perf_counter() - self.started, t.settings.batch_size
            print(json.dumps({"step": t.step, "images": t.step * batch, **row}), file=self.numbers, flush=True)
            print(json.dumps({"step": t.step, "seconds": round(seconds, 3)}), file=self.times, flush=True)
            speed = (t.step - self.first) * batch / seconds
            self.bar.set_postfix_str(f"D {row['d_loss']:.2f}  G {row['g_loss']:.2f}  {speed:.0f} images/s", refresh=False)
        self.bar.update()


def generate(G, z, batch=256):
    """The images of latents z (N, latent) as uint8 (N, H, W, C) on the host, `batch` at a time."""
    with no_grad(), parallel.single_threaded_blas():
        parts = [to_numpy(G(z[i:i + batch]).data) for i in range(0, len(z), batch)]
    return to_uint8(np.concatenate(parts))


def load_generator(run):
    """(the averaged G, config) of a run: its folder, or one of its checkpoints."""
    _, config, path = checkpoint.open_run(run)
    recipe = recipes.find(config["recipe"])
    settings = recipe.settings().updated(config["settings"])
    G, _ = recipe.build(settings, tuple(config["image_shape"]), np.random.default_rng(0))
    states, _ = checkpoint.load(path)
    try:
        G.load_state_dict(states["ema"])
    except (KeyError, ValueError) as error:
        raise InputError(f"{path} does not fit {run}'s config.json ({error})") from None
    return G.eval(), config


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
