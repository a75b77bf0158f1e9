"""Evaluations during a run: samples of the averaged G are compared with held-out images."""

import json
import math
from pathlib import Path
from typing import Any

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
    """Writes the results of evaluations to eval.jsonl, and the best averaged G so far to best.npz.

    held_out: the Dataset of held-out images, or None. here: whether this process evaluates (one of
    several ranks does). best_fid: the lowest FID so far. Raises InputError if the settings ask for
    evaluations, but no images are held out.
    """

    def __init__(self, settings: Any, held_out: Any, data_name: str, seed: int, here: bool = True):
        self.settings, self.seed, self.best_fid = settings, seed, math.inf
        if settings.eval_every and held_out is None:
            raise InputError(
                f"setting eval_every={settings.eval_every}: {data_name} is too small to hold out "
                "images for evaluations"
            )
        self.evaluator = Evaluator(held_out, seed) if settings.eval_every and here else None

    def evaluate(self, out: Path, step: int, G: Any) -> None:
        """Compare samples of G with the held-out images, and append the result to eval.jsonl in
        the folder `out`, unless it is there. If it is the best so far, write G to best.npz."""
        s, path = self.settings, out / "eval.jsonl"
        if any(row["step"] == step for row in log.rows(out, name=path.name)):
            return  # before the run ended, which now continues
        # A generator of its own, because an evaluation must not change the run.
        rng = np.random.default_rng([self.seed, step, 2])
        labels = rng.integers(G.classes, size=s.eval_images) if s.g_class != "none" else None
        images = generate(G, Tensor(normal(rng, (s.eval_images, s.latent))), labels)
        numbers = {"step": step, **self.evaluator.quick(images, labels)}
        if numbers["fid"] < self.best_fid:
            self.best_fid = numbers["fid"]
            checkpoint.write(
                out / checkpoint.BEST,
                {"ema": G.state_dict()},
                {"step": step, "evaluation": numbers},
            )
        # Last, because a line here says that all is done.
        files.append_line(path, json.dumps(numbers))

    def rewind(self, out: Path, step: int, same_evaluations: bool) -> None:
        """Return to an earlier step: remove best.npz if it is from a later one.

        The resumed run will write it again if it evaluates at the same steps (same_evaluations).
        Otherwise, the weights of the best remaining evaluation are lost, so the next evaluation
        counts as the best.
        """
        self.best_fid, best = log.best_fid(out), out / checkpoint.BEST
        if not files.is_file(best):
            return
        try:
            if checkpoint.load(best)[1]["step"] <= step:
                return
            self.best_fid = self.best_fid if same_evaluations else math.inf
        except InputError as error:
            warn(f"{str(error).split(': use')[0]}: the next evaluation writes a new one")
            self.best_fid = math.inf
        files.remove(best)
