"""Why `tinygan train` trains what it does: candidates after 60, 120 and 240 seconds of training.

    python demos/default.py                    # all of them, 45 minutes
    python demos/default.py quick half --seeds 0 1 2
    python demos/default.py --table            # print what there is, as Markdown

Trained on the built-in digits, without those that are held out; measured against the held-out ones, by which the
default was chosen. How many steps a candidate makes in that time is measured first, for all of them turn about, in three
minutes in which nothing else should use the machine; from then on, how busy it is changes nothing. Results are in
demos/results/default.json; what is there is skipped, but for --again.
"""

# %%
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from results import RESULTS, arguments, of_name

from tinygan import data
from tinygan.kernels.cpu import parallel
from tinygan.settings import parse_assignments
from tinygan.study import kept, span
from tinygan.training import recipes
from tinygan.training.trainer import Trainer

SECONDS, FILE = (60, 120, 240), RESULTS / "default.json"

# %% The candidates: from DCGAN's constants to the default, a change or two at a time

R1 = "d_norm=none r1=.2 penalty_every=8 lr=2e-3 beta1=0 beta2=.99 ema=.999"
CLASS = "g_class=concat d_class=projection"
CANDIDATES = {  # name: (what it is, recipe, settings)
    "dcgan": ("DCGAN's constants", "dcgan", ""),
    "dcgan-64": ("with batches of 64", "dcgan", "batch_size=64"),
    "r1": ("R1 instead of batch-norm in D, ten times the rate, EMA .999", "dcgan", R1),
    "spectral": (
        "spectral normalisation and hinge loss instead of R1",
        "dcgan",
        "d_norm=spectral loss=hinge lr=2e-3 beta1=0 beta2=.99 ema=.999",
    ),
    "class": ("R1, and both networks see the class", "dcgan", f"{R1} {CLASS}"),
    "half": ("the same with half of G's channels", "quick", "batch_size=16"),
    "half-hinge": ("and hinge loss", "quick", "batch_size=16 loss=hinge"),
    "half-equalized": ("and equalised learning rate", "quick", "batch_size=16 equalized=true"),
    "half-auxiliary": (
        "and an auxiliary classifier instead of the projection",
        "quick",
        "batch_size=16 d_class=auxiliary",
    ),
    "quick": ("half of G's channels, and batches of 64: the default", "quick", ""),
}


def start(name, folder, seed=0):
    """The Trainer of a candidate."""
    _, recipe, changes = CANDIDATES[name]
    recipe = recipes.find(recipe)
    settings = recipe.settings().updated({"eval_every": 1, **parse_assignments(changes.split())})
    return Trainer(recipe, settings, data.load("digits"), folder, seed)


def rates(rounds=5, seconds=3.0):
    """{name: milliseconds a step} of all candidates: medians of rounds in which they take turns."""
    if found := kept.numbers(FILE).get("rates"):
        return found
    trainers, times = (
        {name: start(name, ".") for name in CANDIDATES},
        {name: [] for name in CANDIDATES},
    )
    for trainer in trainers.values():
        trainer.algorithm.train_step()
    for _ in range(rounds):
        for name, trainer in trainers.items():
            first, began = trainer.step, time.perf_counter()
            while (spent := time.perf_counter() - began) < seconds:
                trainer.algorithm.train_step()
            times[name].append(1000 * spent / (trainer.step - first))
    medians = {name: round(statistics.median(found), 3) for name, found in times.items()}
    kept.change(FILE, lambda old: old | {"rates": medians})
    print(medians)
    return medians


def measured():
    """{"CANDIDATE-SEED": what is kept of it}."""
    return kept.numbers(FILE).get("runs", {})


def measure(name, seed, rate):
    """Train a candidate for SECONDS at `rate` milliseconds a step, and keep its numbers at each of them."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        trainer = start(name, folder, seed)
        for limit in SECONDS:
            while trainer.step < round(1000 * limit / rate):
                trainer.algorithm.train_step()
            trainer.evaluate()
            row = json.loads((Path(folder) / "eval.jsonl").read_text().splitlines()[-1])
            rows.append({"seconds": limit, **row})
            print(
                f"{name:16} seed {seed}  {limit:4} s  {row['step']:6,} steps  FID {row['fid']:.2f}",
                flush=True,
            )
    row = {"candidate": name, "seed": seed, "settings": CANDIDATES[name][2], "rows": rows}
    kept.change(FILE, lambda old: old | {"runs": measured() | {f"{name}-{seed}": row}})


# %%
def table():
    print(
        "| candidate | " + " | ".join(f"FID after {s} s" for s in SECONDS) + " | class accuracy |"
    )
    print("|---|" + "---|" * (len(SECONDS) + 1))
    for name, (summary, _, _) in CANDIDATES.items():
        found = [result["rows"] for result in of_name(measured(), name)]
        if found:
            cells = [span([rows[i]["fid"] for rows in found], 2) for i in range(len(SECONDS))]
            accuracy = [rows[-1].get("class_accuracy") for rows in found]
            cells.append("-" if None in accuracy else f"{np.mean(accuracy):.3f}")
            print(f"| `{name}`: {summary} | {' | '.join(cells)} |")


# %%
if __name__ == "__main__":
    args = arguments(__doc__, CANDIDATES)
    if not args.table:
        with parallel.single_threaded_blas(), np.errstate(all="ignore"):
            parallel.keep_memory()
            rate = rates()
            for seed in args.seeds:
                for name in args.names or CANDIDATES:
                    if args.again or f"{name}-{seed}" not in measured():
                        measure(name, seed, rate[name])
    table()
