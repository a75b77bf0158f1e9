"""Evaluations during a run: samples of the averaged G are compared with held-out images."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from tinygan import files
from tinygan.autograd import Tensor
from tinygan.backend import normal
from tinygan.data import Dataset, Points
from tinygan.errors import InputError, warn
from tinygan.files import checkpoint
from tinygan.metrics import evaluator_of, extractor_for, score

from . import log, state
from .sampling import generate


class Evaluation:
    """Writes the results of evaluations to eval.jsonl, and the best averaged G so far to best.npz.

    held_out: the Dataset of held-out images, or None. dataset: the whole Dataset, before padding.
    here: whether this process evaluates (one of several ranks does). best_score: the lowest FID so
    far; of points, the lowest energy distance. since: evaluations up to this step do not count for
    the best, because the data have changed after it. Raises InputError if the settings ask for
    evaluations, but no images are held out.
    """

    def __init__(
        self, settings: Any, held_out: Any, dataset: Dataset, seed: int, here: bool = True
    ):
        self.settings, self.seed, self.best_score, self.since = settings, seed, math.inf, -1
        if settings.eval_every and held_out is None:
            raise InputError(
                f"setting eval_every={settings.eval_every}: {dataset.name} is too small to hold "
                "out images for evaluations"
            )
        self.evaluator: Any = None
        if settings.eval_every and here:
            has_points = isinstance(dataset, Points)
            parts = dataset.hold_out()
            extractor = None if has_points else extractor_for(*parts, pad=settings.pad)
            self.evaluator = evaluator_of(held_out, seed, extractor)

    def evaluate(self, out: Path, step: int, G: Any) -> None:
        """Compare samples of G with the held-out images, and append the result to eval.jsonl in
        the folder `out`. If it is the best so far, write G to best.npz.

        If the run ended while it wrote the files of this step, eval.jsonl may hold the result.
        """
        path = out / "eval.jsonl"
        written = [
            row
            for row in log.rows(out, name=path.name)
            if row["step"] == step and self.is_comparable(row)
        ]
        numbers = written[0] if written else {"step": step, **self.compare(step, G)}
        name, value = score(numbers)
        if not written:
            if not math.isfinite(value):
                warn(f"the {name} of step {step} is {value}: it does not count as the best")
            files.append_line(path, json.dumps(numbers))
        is_best = written and value == self.best_score or value < self.best_score
        if is_best:
            self.best_score = value
            checkpoint.write(
                out / checkpoint.BEST,
                {"ema": G.state_dict()},
                {"step": step, "evaluation": numbers},
            )

    def compare(self, step: int, G: Any) -> dict[str, float]:
        """Return the metrics of samples of G."""
        s = self.settings
        # A generator of its own, because an evaluation must not change the run.
        rng = np.random.default_rng([self.seed, step, 2])
        labels = rng.integers(G.classes, size=s.eval_images) if s.g_class != "none" else None
        images = generate(G, Tensor(normal(rng, (s.eval_images, s.latent))), labels)
        return self.evaluator.quick(images, labels)

    def is_comparable(self, row: dict[str, Any]) -> bool:
        """Return whether an earlier evaluation used the features and the data of this one."""
        if row["step"] <= self.since:
            return False
        if self.evaluator is None or "extractor" not in row:
            return True
        return row["extractor"] == self.evaluator.extractor.description

    def rewind(self, run: checkpoint.Run, G: Any, step: int, same_evaluations: bool) -> None:
        """Return to an earlier step of a run: remove best.npz if it is from a later one, and if the
        resumed run will write it again because it evaluates at the same steps (same_evaluations).

        Otherwise, the weights of the best remaining evaluation are lost, so the next evaluation
        counts as the best. A best.npz that is from a later step, damaged, of another run or chosen
        by other features is then renamed.

        run: a Run with the folder and the config. G: a network like the averaged G.
        """
        scores = {
            row["step"]: score(row)
            for row in log.rows(run.folder, name="eval.jsonl", last_step=step)
            if self.is_comparable(row)
        }
        for when, (name, value) in scores.items():
            if not math.isfinite(value):
                warn(f"the {name} of step {when} is {value}: it does not count as the best")
        values = [value for _, value in scores.values() if math.isfinite(value)]
        self.best_score = min(values, default=math.inf)
        best = run.folder / checkpoint.BEST
        if not files.is_file(best):
            return
        try:
            states, meta = checkpoint.load(best)
            state.check_network(run._replace(path=best, states=states), "ema", G)
            state.check_evaluation(best, meta)
        except checkpoint.Unsound as error:
            warn(f"{error.fault}: the next evaluation writes a new one")
            self.best_score = math.inf
            checkpoint.set_aside(best)
            return
        if not self.is_comparable(meta["evaluation"]):
            other = "on other data, or by another number of samples"
            if meta["step"] > self.since:
                other = (
                    f"by other features ({meta['evaluation']['extractor']}; now "
                    f"{self.evaluator.extractor.description})"
                )
            warn(f"{best} was chosen {other}: the next evaluation writes a new one")
            self.best_score = math.inf
            checkpoint.set_aside(best)
        elif meta["step"] > step and same_evaluations:
            files.remove(best)
        elif meta["step"] > step:
            self.best_score = math.inf
            checkpoint.set_aside(best)
