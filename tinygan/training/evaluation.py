"""Evaluations during a run: samples of the averaged G against images held out of training."""

import json
import math
import os

import numpy as np

from tinygan import files
from tinygan.autograd import Tensor
from tinygan.backend import normal
from tinygan.errors import InputError, warn
from tinygan.files import checkpoint
from tinygan.metrics import Evaluator

from . import log
from .sampling import generate


class Evaluation:
    """Writes eval.jsonl in the folder `out`, and the best averaged G so far as best.npz.

    best_fid: the lowest FID so far; here: is this the process that evaluates? Raises InputError if
    evaluations are asked for, but no images are held out.
    """

    def __init__(self, settings, held_out, data_name, seed, here=True):
        self.settings, self.seed, self.best_fid = settings, seed, math.inf
        if settings.eval_every and held_out is None:
            raise InputError(
                f"eval_every={settings.eval_every}: {data_name} is too small to hold images out"
            )
        self.evaluator = Evaluator(held_out, seed) if settings.eval_every and here else None

    def evaluate(self, out, step, G):
        """Compare samples of G with the held-out images, in a line of eval.jsonl. Keep the best G
        in best.npz."""
        s = self.settings
        # not the run's: to look must not change it
        rng = np.random.default_rng([self.seed, step, 2])
        labels = rng.integers(G.classes, size=s.eval_images) if s.g_class != "none" else None
        images = generate(G, Tensor(normal(rng, (s.eval_images, s.latent))), labels)
        numbers = {"step": step, **self.evaluator.quick(images, labels)}
        path = out / "eval.jsonl"
        with files.writing(path), open(path, "a") as file:
            print(json.dumps(numbers), file=file, flush=True)
            os.fsync(file.fileno())
        if numbers["fid"] < self.best_fid:
            self.best_fid = numbers["fid"]
            checkpoint.write(
                out / checkpoint.BEST,
                {"ema": G.state_dict()},
                {"step": step, "evaluation": numbers},
            )

    def rewind(self, out, step, same_evaluations):
        """Take back the best G if its evaluation was after this step. It comes again, unless other
        evaluations are asked for now; then the best of those that are left has no weights any more,
        and the next one is kept."""
        self.best_fid, best = log.best_fid(out), out / checkpoint.BEST
        if not best.exists():
            return
        try:
            if checkpoint.load(best)[1]["step"] <= step:
                return
            self.best_fid = self.best_fid if same_evaluations else math.inf
        except InputError as error:
            warn(f"{str(error).split(': use')[0]}: the next evaluation makes a new one")
            self.best_fid = math.inf
        best.unlink()
