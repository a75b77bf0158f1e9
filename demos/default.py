"""How the default recipe was chosen: compare candidates after 60, 120 and 240 seconds of training.

    python demos/default.py                    # all candidates, 45 minutes
    python demos/default.py quick half --seeds 0 1 2
    python demos/default.py --table            # only print the table, as Markdown

The candidates train on the built-in digits except the held-out ones, and are measured against the
held-out digits, by which the default was chosen. The script first measures the time per step of all
candidates, which take turns for three minutes. Nothing else should use the machine during this
time. The training then runs for the corresponding number of steps, so that its result does not
depend on how busy the machine is. Results are in demos/results/default.json. A candidate that is in
it is skipped, unless you use --again.
"""

# %%
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from results import RESULTS, parse_arguments, rows_of

from tinygan import data
from tinygan.kernels.cpu import parallel
from tinygan.settings import parse_assignments
from tinygan.study import mean_and_range, result_files
from tinygan.training import recipes
from tinygan.training.trainer import Trainer

SECONDS, FILE = (60, 120, 240), RESULTS / "default.json"

# %% The candidates: from DCGAN's constants to the default, a change or two at a time

R1 = "d_norm=none r1=.2 penalty_every=8 lr=2e-3 beta1=0 beta2=.99 ema=.999"
CLASS = "g_class=concat d_class=projection"
CANDIDATES = {  # name: (description, recipe, settings)
    "dcgan": ("DCGAN's constants", "dcgan", ""),
    "dcgan-64": ("`dcgan`, with batches of 64", "dcgan", "batch_size=64"),
    "r1": ("R1 instead of batch-norm in D, ten times the learning rate, EMA .999", "dcgan", R1),
    "spectral": (
        "spectral normalisation and hinge loss instead of R1",
        "dcgan",
        "d_norm=spectral loss=hinge lr=2e-3 beta1=0 beta2=.99 ema=.999",
    ),
    "class": ("`r1`, with the class for both networks", "dcgan", f"{R1} {CLASS}"),
    "half": ("`class`, with half of G's channels", "quick", "batch_size=16"),
    "half-hinge": ("`half`, with hinge loss", "quick", "batch_size=16 loss=hinge"),
    "half-equalized": (
        "`half`, with an equalised learning rate",
        "quick",
        "batch_size=16 equalized=true",
    ),
    "half-auxiliary": (
        "`half`, with an auxiliary classifier instead of the projection",
        "quick",
        "batch_size=16 d_class=auxiliary",
    ),
    "quick": ("`half`, with batches of 64: the default", "quick", ""),
}


def start(name, folder, seed=0):
    """Return the Trainer of a candidate."""
    _, recipe, changes = CANDIDATES[name]
    recipe = recipes.find(recipe)
    settings = recipe.settings().updated({"eval_every": 1, **parse_assignments(changes.split())})
    return Trainer(recipe, settings, data.load("digits"), folder, seed)


def step_times(rounds=5, seconds=3.0):
    """Return {name: milliseconds per step} of all candidates: medians over rounds in which they
    take turns. They are measured only once."""
    if stored := result_files.read_json(FILE).get("rates"):
        return stored
    trainers = {name: start(name, ".") for name in CANDIDATES}
    times = {name: [] for name in CANDIDATES}
    for trainer in trainers.values():
        trainer.algorithm.train_step()
    for _ in range(rounds):
        for name, trainer in trainers.items():
            first, began = trainer.step, time.perf_counter()
            while (spent := time.perf_counter() - began) < seconds:
                trainer.algorithm.train_step()
            times[name].append(1000 * spent / (trainer.step - first))
    medians = {name: round(statistics.median(values), 3) for name, values in times.items()}
    result_files.update_json(FILE, lambda old: old | {"rates": medians})
    print(medians)
    return medians


def stored_runs():
    """Return {"CANDIDATE-SEED": its stored results}."""
    return result_files.read_json(FILE).get("runs", {})


def measure(name, seed, step_time):
    """Train a candidate, evaluate it after each time in SECONDS, and store the results.

    step_time: milliseconds per step, which turn seconds into a number of steps.
    """
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        trainer = start(name, folder, seed)
        for limit in SECONDS:
            while trainer.step < round(1000 * limit / step_time):
                trainer.algorithm.train_step()
            trainer.evaluate()
            row = json.loads((Path(folder) / "eval.jsonl").read_text().splitlines()[-1])
            rows.append({"seconds": limit, **row})
            print(
                f"{name:16} seed {seed}  {limit:4} s  {row['step']:6,} steps  FID {row['fid']:.2f}",
                flush=True,
            )
    row = {"candidate": name, "seed": seed, "settings": CANDIDATES[name][2], "rows": rows}
    result_files.update_json(
        FILE, lambda old: old | {"runs": stored_runs() | {f"{name}-{seed}": row}}
    )


# %%
def table():
    """Print the table as Markdown."""
    print(
        "| candidate | " + " | ".join(f"FID after {s} s" for s in SECONDS) + " | class accuracy |"
    )
    print("|---|" + "---|" * (len(SECONDS) + 1))
    for name, (description, _, _) in CANDIDATES.items():
        seeds = [result["rows"] for result in rows_of(stored_runs(), name)]
        if seeds:
            cells = [
                mean_and_range([rows[i]["fid"] for rows in seeds], 2) for i in range(len(SECONDS))
            ]
            accuracy = [rows[-1].get("class_accuracy") for rows in seeds]
            cells.append("-" if None in accuracy else f"{np.mean(accuracy):.3f}")
            print(f"| `{name}`: {description} | {' | '.join(cells)} |")


# %%
if __name__ == "__main__":
    args = parse_arguments(__doc__, CANDIDATES)
    if not args.table:
        with parallel.single_threaded_blas(), np.errstate(all="ignore"):
            parallel.keep_memory()
            milliseconds = step_times()
            for seed in args.seeds:
                for name in args.names or CANDIDATES:
                    if args.again or f"{name}-{seed}" not in stored_runs():
                        measure(name, seed, milliseconds[name])
    table()
