"""Train and measure one run of a study. To do several in parallel, each has its own process:

    python -m tinygan.study JOB            # JOB: the job as JSON; the results are printed as JSON

A job is a dict with the keys

    recipe, data, seed, settings  what to train; settings is {name: value}
    model                         the file of the recipe, if it is the user's own (or None)
    folder                        the run's folder
    samples                       the number of samples to measure
    reals                         the number of test images to compare them with (None: all)
    keep_samples                  whether to return some samples
"""

import dataclasses
import json
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from tinygan import data
from tinygan.autograd import Array
from tinygan.errors import Diverged, InputError, exit_code, quoted, say
from tinygan.files import checkpoint, is_file
from tinygan.metrics import Evaluator, evaluator_of, extractor_for
from tinygan.metrics.network import WEIGHTS_OF
from tinygan.models.recipe import Recipe
from tinygan.models.settings import Settings
from tinygan.training import log, recipes, sampling
from tinygan.training.trainer import Trainer
from tinygan.training.transfer import save_first_checkpoint

LOG_POINTS = 50  # values that are kept of each column of the log
SAMPLE_ROWS, SAMPLE_COLUMNS = 4, 10  # of the grid of samples that is kept
METRICS = "fid", "precision", "recall", "class_accuracy"
METRICS += "modes_found", "good_samples", "energy_distance"  # of points


def recipe_of(job: dict[str, Any]) -> Recipe:
    """Return the recipe of a job."""
    return recipes.choose(job["model"] or job["recipe"])


def settings_of(job: dict[str, Any]) -> Settings:
    """Return the Settings of a job."""
    return recipe_of(job).settings(data.holds_points(job["data"])).updated(job["settings"])


def train_command(job: dict[str, Any]) -> str:
    """Return the command line that trains the run of a job."""
    changes = " ".join(quoted(f"{key}={value}") for key, value in job["settings"].items())
    recipe = quoted(job["model"] or job["recipe"])
    return f"tinygan train {recipe} --data {job['data']} --seed {job['seed']} --set {changes}"


def train_and_measure(
    job: dict[str, Any], progress: bool = True
) -> tuple[dict[str, Any], Array | None]:
    """Train the run of a job to its last step, and measure it there.

    A run that was interrupted continues; one that is complete is only measured; one that diverges
    is measured at its last checkpoint, which may be that of step 0. Returns (results, samples):
    results is a dict for JSON, samples are uint8 (40, H, W, C), or None unless the job says
    keep_samples. Raises InputError if the folder holds a run with other settings.
    """
    folder, settings = Path(job["folder"]), settings_of(job)
    last_checkpoint = folder / f"checkpoint-{settings.steps:08d}.npz"
    try:
        train(job, settings, folder, last_checkpoint, progress)
        measured = last_checkpoint
    except Diverged as error:
        measured = checkpoint.open_run(folder).path
        say(f"{error}; the study measures {measured.name}")
    G, _, _ = sampling.load_generator(measured, model=job["model"])
    n, rng = job["samples"], np.random.default_rng([job["seed"], 5])
    labels = sampling.classes_in_turn(G, n)
    images = sampling.generate(G, sampling.latents(rng, n, G), labels)
    report = evaluator(job["data"], job["reals"], settings.pad).quick(images, labels)
    samples = None
    if job["keep_samples"]:
        z = sampling.latents(np.random.default_rng(0), SAMPLE_ROWS * SAMPLE_COLUMNS, G)
        row = (
            sampling.class_rows(G.classes, SAMPLE_COLUMNS)[0][:SAMPLE_COLUMNS]
            if G.classes
            else None
        )
        samples = sampling.generate(G, z, None if row is None else np.tile(row, SAMPLE_ROWS))
    rows, keys = list(log.rows(folder)), (*METRICS, "samples", "real", "extractor")
    clock = training_time(folder) if rows else [(0, 0.0)]  # it diverged at once
    results = {
        "command": train_command(job),
        **{key: job[key] for key in ("recipe", "data", "seed")},
        "settings": dataclasses.asdict(settings),
        "seconds": round(clock[-1][1], 1),
        "diverged": measured != last_checkpoint,
        "metrics": {key: report[key] for key in keys if key in report},
        "evaluations": evaluations(folder, clock),
        "log": thinned_out(rows),
    }
    return results, samples


def train(job, settings, folder, last_checkpoint, progress):
    """Train the run of a job until `last_checkpoint` exists.

    Raises InputError if the folder holds a run with other settings, even if that run is complete:
    it may be from before the script was changed.
    """
    recipe, dataset = recipe_of(job), data.load(job["data"])
    begun = is_file(folder / "config.json")
    if begun:
        expected = {
            "recipe": recipe.name,
            "data": dataset.name,
            "seed": job["seed"],
            "settings": dataclasses.asdict(settings),
        }
        config = checkpoint.read_config(folder, folder)
        if any(config[key] != value for key, value in expected.items()):
            raise InputError(f"{folder} holds a run with other settings: move it elsewhere")
    if is_file(last_checkpoint):
        return
    new_trainer = Trainer if begun else Trainer.start
    trainer = new_trainer(recipe, settings, dataset, folder, job["seed"])
    if begun:
        trainer.resume(checkpoint.open_run(folder, allow_empty=True))
    else:
        save_first_checkpoint(trainer)
    trainer.run(progress)


def thinned_out(rows: list[dict[str, Any]]) -> dict[str, list[float | None]]:
    """Return {column of log.jsonl: its means over LOG_POINTS parts of the run}.

    A mean is None if no row of that part has the column.
    """
    parts = np.array_split(rows, min(LOG_POINTS, len(rows)) or 1)
    mean = lambda values: round(float(np.mean(values)), 5) if values else None
    return {
        key: [mean([row[key] for row in part if key in row]) for part in parts]
        for key in dict.fromkeys(key for row in rows for key in row)
        if key != "warnings"
    }


@lru_cache(1)
def evaluator(name, reals, pad):
    if data.holds_points(name):
        return evaluator_of(data.load(name, "test").subset(slice(reals)))
    if name in WEIGHTS_OF:
        return Evaluator(data.load(name, "test").subset(slice(reals)))
    train, held_out = data.load(name).hold_out()
    extractor = extractor_for(train, held_out, pad=pad)
    try:
        test = data.load(name, "test")
    except data.NoTestPart:
        test = held_out
    if test is None:
        raise InputError(f"{name} has no test images, and too few images to hold some out")
    return Evaluator(test.subset(slice(reals)), extractor=extractor)


def training_time(folder: Path) -> list[tuple[int, float]]:
    """Return [(step, seconds of training up to this step)] for a run.

    The seconds exclude evaluations and pictures. The clock in time.jsonl starts at 0 after each
    resume; here the parts are added up.
    """
    clock, total, last = [], 0.0, 0.0
    for row in log.rows(folder, name="time.jsonl", needs="phases"):
        now = sum(row["phases"].values())
        total, last = total + (last if now < last else 0.0), now
        clock.append((row["step"], total + last))
    if not clock:
        raise InputError(f"{folder / 'time.jsonl'} has no line, so the training time is unknown")
    return clock


def evaluations(folder: Path, clock: list[tuple[int, float]]) -> list[dict[str, float]]:
    """Return [{"step", "seconds", "fid", ...}]: the evaluations on held-out images during
    training. clock: see `training_time`."""
    steps, seconds = zip(*clock)
    return [
        {
            "step": row["step"],
            "seconds": round(float(np.interp(row["step"], steps, seconds)), 2),
            **{key: round(row[key], 4) for key in METRICS if key in row},
        }
        for row in log.rows(folder, name="eval.jsonl")
    ]


def main() -> None:
    """Do the job that the command line gives as JSON, and print [results, samples] as JSON: a
    process of `measure_in_parallel`."""
    try:
        results, samples = train_and_measure(json.loads(sys.argv[1]), progress=False)
        print(json.dumps([results, None if samples is None else samples.tolist()]))
    except InputError as error:
        sys.exit(str(error))
    except KeyboardInterrupt as stopped:
        sys.exit(exit_code(stopped))
