"""A run of a study: trained, measured, and what is kept of it. A process of its own, if several run side by side:

    python -m tinygan.study JOB            # a job as JSON; what is kept is printed, as JSON
"""

import dataclasses
import json
import signal
import sys
from functools import lru_cache
from pathlib import Path

import numpy as np

from tinygan import data
from tinygan.errors import InputError
from tinygan.metrics import Evaluator
from tinygan.files import checkpoint
from tinygan.training import log, recipes
from tinygan.training.sampling import class_rows, generate, latents, load_generator
from tinygan.training.trainer import Trainer

POINTS = 50  # of each column of the log that is kept
ROWS, COLUMNS = 4, 10  # of the samples that are kept

# A job is a dict: recipe, data, seed, settings {name: value}; folder: the run's; samples: how many to measure; reals: of how
# many test images (None: all); keep_samples: are some of them kept?


def chosen(job):
    return recipes.find(job["recipe"]).settings().updated(job["settings"])


def command(job):
    """As a user types it."""
    changes = " ".join(f"{key}={value}" for key, value in job["settings"].items())
    return f"tinygan train {job['recipe']} --data {job['data']} --seed {job['seed']} --set {changes}"


def measure(job, progress=True):
    """Train what is left of a run, and measure it at its last step.

    Returns (the numbers that are kept of it, samples: uint8 (40, H, W, C) or None).
    """
    recipe, settings, folder, dataset = recipes.find(job["recipe"]), chosen(job), Path(job["folder"]), data.load(job["data"])
    last = folder / f"checkpoint-{settings.steps:08d}.npz"
    begun = (folder / "config.json").exists()
    if begun:  # also of one that is done: what is in its folder may be from before the settings changed
        config = checkpoint.read_config(folder, folder)
        if any(config[key] != value for key, value in {"recipe": recipe.name, "data": dataset.name, "seed": job["seed"],
                                                       "settings": dataclasses.asdict(settings)}.items()):
            raise InputError(f"{folder} was begun with other settings: delete it")
    if not last.exists():
        if begun:
            trainer = Trainer(recipe, settings, dataset, folder, job["seed"])
            trainer.resume(checkpoint.open_run(folder, empty=True))
        else:
            trainer = Trainer.start(recipe, settings, dataset, folder, job["seed"])
        trainer.run(progress)
    G, _, _ = load_generator(last)
    n, rng = job["samples"], np.random.default_rng([job["seed"], 5])
    labels = np.arange(n) % G.classes if G.classes else None
    report = evaluator(job["data"], job["reals"]).quick(generate(G, latents(rng, n, G), labels), labels)
    samples = None
    if job["keep_samples"]:
        z = latents(np.random.default_rng(0), ROWS * COLUMNS, G)
        labels = np.tile(class_rows(G.classes, COLUMNS)[0][:COLUMNS], ROWS) if G.classes else None
        samples = generate(G, z, labels)
    clock, rows = spent(folder), list(log.rows(folder))
    keys = "fid", "precision", "recall", "class_accuracy", "samples", "real", "extractor"
    numbers = {"command": command(job), **{key: job[key] for key in ("recipe", "data", "seed")},
               "settings": dataclasses.asdict(settings), "seconds": round(clock[-1][1], 1),
               "metrics": {key: report[key] for key in keys if key in report},
               "evaluations": evaluations(folder, clock), "log": thinned(rows)}
    return numbers, samples


def thinned(rows):
    """{column of log.jsonl: its means over so many parts of the run}; None where it has no number."""
    parts = np.array_split(rows, min(POINTS, len(rows)))
    mean = lambda values: round(float(np.mean(values)), 5) if values else None
    return {key: [mean([row[key] for row in part if key in row]) for part in parts]
            for key in dict.fromkeys(key for row in rows for key in row) if key != "warnings"}


@lru_cache(1)
def evaluator(name, reals):
    test = data.load(name, "test")
    return Evaluator(test.subset(slice(reals)) if reals else test)


def spent(folder):
    """[(step, seconds of training up to it)] of a run: without evaluations and pictures. The clock starts anew at each resume."""
    clock, total, last = [], 0.0, 0.0
    for line in (folder / "time.jsonl").read_text().splitlines():
        row = json.loads(line)
        now = sum(row["phases"].values())
        total, last = total + (last if now < last else 0.0), now
        clock.append((row["step"], total + last))
    return clock


def evaluations(folder, clock):
    """[{"step", "seconds", "fid", ...}] on held-out images, during training."""
    path, (steps, seconds) = folder / "eval.jsonl", zip(*clock)
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [{"step": row["step"], "seconds": round(float(np.interp(row["step"], steps, seconds)), 2),
             **{key: round(row[key], 4) for key in ("fid", "precision", "recall", "class_accuracy") if key in row}} for row in rows]


def main():
    """A process of `Study.train`: measure the run that is given as JSON, and print what came of it as JSON."""
    try:
        numbers, samples = measure(json.loads(sys.argv[1]), progress=False)
        print(json.dumps([numbers, None if samples is None else samples.tolist()]))
    except InputError as error:
        sys.exit(f"{error}")
    except KeyboardInterrupt as stopped:
        sys.exit(128 + getattr(stopped, "signal", signal.SIGINT))
