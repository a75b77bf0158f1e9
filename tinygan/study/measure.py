"""A run of a study: trained, measured, and what is kept of it. Where several run side by side, each
is a process of its own:

    python -m tinygan.study JOB            # a job as JSON; what is kept is printed, as JSON

A job is a dict: recipe, data, seed, settings {name: value}; folder: the run's; samples: how many to
measure; reals: how many test images to compare with (None: all); keep_samples: keep some of them?
"""

import dataclasses
import json
import sys
from functools import lru_cache
from pathlib import Path

import numpy as np

from tinygan import data
from tinygan.errors import InputError, exit_code
from tinygan.files import checkpoint
from tinygan.metrics import Evaluator
from tinygan.training import log, recipes, sampling
from tinygan.training.trainer import Trainer

POINTS = 50  # of each column of the log that is kept
ROWS, COLUMNS = 4, 10  # of the samples that are kept
METRICS = "fid", "precision", "recall", "class_accuracy"


def command(job):
    """As a user types it."""
    changes = " ".join(f"{key}={value}" for key, value in job["settings"].items())
    return (
        f"tinygan train {job['recipe']} --data {job['data']} --seed {job['seed']} --set {changes}"
    )


def measure(job, progress=True):
    """Train what is left of a run, and measure it at its last step.

    Returns (the numbers that are kept of it, samples: uint8 (40, H, W, C) or None).
    """
    folder, settings = Path(job["folder"]), recipes.settings_of(job)
    last = folder / f"checkpoint-{settings.steps:08d}.npz"
    train(job, settings, folder, last, progress)
    G, _, _ = sampling.load_generator(last)
    n, rng = job["samples"], np.random.default_rng([job["seed"], 5])
    labels = sampling.classes_in_turn(G, n)
    images = sampling.generate(G, sampling.latents(rng, n, G), labels)
    report = evaluator(job["data"], job["reals"]).quick(images, labels)
    samples = None
    if job["keep_samples"]:
        z = sampling.latents(np.random.default_rng(0), ROWS * COLUMNS, G)
        classes = sampling.class_rows(G.classes, COLUMNS)[0][:COLUMNS] if G.classes else None
        samples = sampling.generate(G, z, None if classes is None else np.tile(classes, ROWS))
    clock, keys = training_time(folder), (*METRICS, "samples", "real", "extractor")
    numbers = {
        "command": command(job),
        **{key: job[key] for key in ("recipe", "data", "seed")},
        "settings": dataclasses.asdict(settings),
        "seconds": round(clock[-1][1], 1),
        "metrics": {key: report[key] for key in keys if key in report},
        "evaluations": evaluations(folder, clock),
        "log": thinned_out(list(log.rows(folder))),
    }
    return numbers, samples


def train(job, settings, folder, last, progress):
    """Train a run up to its checkpoint `last`. Raises InputError if the folder has one with other
    settings, even if it is done: it may be from before the script was changed."""
    recipe, dataset = recipes.find(job["recipe"]), data.load(job["data"])
    begun = (folder / "config.json").exists()
    if begun:
        asked = {
            "recipe": recipe.name,
            "data": dataset.name,
            "seed": job["seed"],
            "settings": dataclasses.asdict(settings),
        }
        config = checkpoint.read_config(folder, folder)
        if any(config[key] != value for key, value in asked.items()):
            raise InputError(f"{folder} was begun with other settings: delete it")
    if last.exists():
        return
    make = Trainer if begun else Trainer.start
    trainer = make(recipe, settings, dataset, folder, job["seed"])
    if begun:
        trainer.resume(checkpoint.open_run(folder, empty=True))
    trainer.run(progress)


def thinned_out(rows):
    """{column of log.jsonl: its means over POINTS parts of the run}; None where it has no
    number."""
    parts = np.array_split(rows, min(POINTS, len(rows)))
    mean = lambda values: round(float(np.mean(values)), 5) if values else None
    return {
        key: [mean([row[key] for row in part if key in row]) for part in parts]
        for key in dict.fromkeys(key for row in rows for key in row)
        if key != "warnings"
    }


@lru_cache(1)
def evaluator(name, reals):
    return Evaluator(data.load(name, "test").subset(slice(reals)))


def training_time(folder):
    """[(step, seconds of training up to it)] of a run, without evaluations and pictures. The clock
    in time.jsonl starts anew at each resume."""
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
    rows = map(json.loads, path.read_text().splitlines() if path.exists() else ())
    return [
        {
            "step": row["step"],
            "seconds": round(float(np.interp(row["step"], steps, seconds)), 2),
            **{key: round(row[key], 4) for key in METRICS if key in row},
        }
        for row in rows
    ]


def main():
    """A process of `side_by_side`: measure the job that is given as JSON, and print what came of it
    as JSON."""
    try:
        numbers, samples = measure(json.loads(sys.argv[1]), progress=False)
        print(json.dumps([numbers, None if samples is None else samples.tolist()]))
    except InputError as error:
        sys.exit(str(error))
    except KeyboardInterrupt as stopped:
        sys.exit(exit_code(stopped))
