"""Make the results table of demos/README.md: train every recipe on full MNIST, and measure it
against the test set.

    python demos/results.py                     # all rows; skips those that are done already
    python demos/results.py dcgan wgan          # some rows
    python demos/results.py quick dcgan --seeds 0 1 2
    python demos/results.py dcgan --again       # measure this row again
    python demos/results.py --table             # only print the table, as Markdown

A row takes up to 12 minutes on 2 cores, and `hour` an hour. It needs two tinygan commands, which
are printed. You can stop at any time: the next call resumes the unfinished run. Results are in
demos/results/, one file per data set; the runs are in runs/results/.
"""

# %%
import argparse
import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from tinygan import Tensor, plots
from tinygan.errors import InputError
from tinygan.files import is_file, read_text
from tinygan.study import mean_and_range, result_files
from tinygan.training import log
from tinygan.training.recipes import RECIPES
from tinygan.training.sampling import generate, load_generator

RESULTS, PICTURES = (Path(__file__).parent / name for name in ("results", "pictures"))
RUNS = Path("runs/results")

# %% A row: train, with evaluations on held-out images that select the best averaged generator; then
# measure this generator against the test images


def commands(run, recipe, data, seed, settings):
    """Return (the command that trains, the command that measures), as a user types them."""
    every = -(-settings.steps // 8)
    return (
        f"tinygan train {recipe} --data {data} --seed {seed} --out {run} --set eval_every={every}",
        f"tinygan eval {run}",
    )


def run_command(command):
    """Run a tinygan command. Ctrl-C reaches it too: it finishes its step, and we wait until it has
    saved."""
    print("$", command, flush=True)
    process = subprocess.Popen([sys.executable, "-m", "tinygan.cli", *command.split()[1:]])
    while True:
        try:
            code = process.wait()
            break
        except KeyboardInterrupt:
            pass
    if code:
        sys.exit(code)


def train_to_the_end(command, run, steps):
    """Run the command that trains the run in the folder `run`, or resume it if it was interrupted.
    Return its last checkpoint. steps: the number of its steps."""
    last = run / f"checkpoint-{steps:08d}.npz"
    if not is_file(last):
        begun = any(run.glob("checkpoint-*.npz"))
        if run.exists() and not begun:
            shutil.rmtree(run)  # it was stopped before its first checkpoint
        run_command(f"tinygan train --resume {run}" if begun else command)
    return last


def is_stored(file, name, command, run, again):
    """Return whether a row with this name is in the results file.

    again: discard the folder `run`, and measure the row once more. Raises InputError if the row was
    measured with another command.
    """
    if again:
        shutil.rmtree(run, ignore_errors=True)
        return False
    stored = result_files.read_json(file).get(name)
    if stored and stored["command"] != command:
        raise InputError(f"{file}: {name} has another command: measure it with --again")
    return bool(stored)


def measure(recipe, data, seed, again=False):
    """Train and measure one row, as far as it is not done yet, and write its numbers to
    demos/results/. again: discard an earlier result first."""
    name, run = f"{recipe}-{seed}", RUNS / f"{recipe}-{data}-{seed}"
    results = RESULTS / f"{data}.json"
    settings = RECIPES[recipe].settings()
    train, evaluate = commands(run, recipe, data, seed, settings)
    settings = dataclasses.asdict(settings)
    if again:
        shutil.rmtree(run, ignore_errors=True)
    elif name in (rows := result_files.read_json(results)):
        check_settings(rows[name]["settings"], settings, recipe, f"{results}: {name}")
        return
    if is_file(run / "config.json"):
        check_settings(
            json.loads(read_text(run / "config.json"))["settings"], settings, recipe, run
        )
    train_to_the_end(train, run, settings["steps"])
    run_command(evaluate)
    metrics = json.loads(read_text(run / "metrics.json"))
    row = {
        "commands": [train, evaluate],
        "recipe": recipe,
        "data": data,
        "seed": seed,
        "settings": settings,
        "seconds": training_seconds(run / "time.jsonl"),
        "metrics": metrics,
    }
    result_files.update_json(results, lambda old: old | {name: row})


def check_settings(stored, settings, recipe, where):
    """Exit with a message if the stored settings differ from `settings`.

    `stored` may lack settings that were added to the recipe later; their defaults are used.
    """
    old = dataclasses.asdict(RECIPES[recipe].settings()) | stored
    if any(
        old[key] != settings[key]
        for key in settings.keys() - {"sample_every", "checkpoint_every", "eval_every", "keep"}
    ):
        sys.exit(
            f"{where}: the recipe's settings have changed since; measure it again, with --again"
        )


def training_seconds(path):
    """Return the seconds that a run took, including all evaluations except the last.

    path: its time.jsonl, in which the clock starts again at 0 when the run is resumed.
    """
    total, last = 0.0, 0.0
    for row in log.rows(path.parent, name=path.name, needs="seconds"):
        now = row["seconds"]
        total, last = total + (last if now < last else 0.0), now
    return total + last


# %% The table, and a strip of samples beside each row


def write_strip(recipe, data, path):
    """Write four rows of ten samples of the best generator; a conditional recipe has one class per
    column."""
    G, _, _ = load_generator(RUNS / f"{recipe}-{data}-0")
    z = np.random.default_rng(0).standard_normal((40, G.latent), dtype=np.float32)
    labels = np.arange(40) % G.classes if G.classes else None
    plots.save_image(path, plots.grid(generate(G, Tensor(z), labels), columns=10, gap=1, scale=1))


def table(data):
    """Print the table as Markdown: one line per recipe, with mean and range if there are several
    seeds."""
    print("| recipe | steps | minutes | FID | precision | recall | class accuracy | samples |")
    print("|---|---|---|---|---|---|---|---|")
    for recipe in RECIPES:
        rows = rows_of(result_files.read_json(RESULTS / f"{data}.json"), recipe)
        if rows:
            # The fastest run: slower ones shared the machine with other work.
            minutes = min(row["seconds"] for row in rows) / 60
            cells = [
                mean_and_range([row["metrics"].get(key) for row in rows], digits)
                for key, digits in (
                    ("fid", 2),
                    ("precision", 3),
                    ("recall", 3),
                    ("class_accuracy", 3),
                )
            ]
            picture = PICTURES / f"{data}-{recipe}.png"
            if (RUNS / f"{recipe}-{data}-0").exists():
                write_strip(recipe, data, picture)
            print(
                f"| `{recipe}` | {rows[0]['settings']['steps']:,} | {minutes:.1f} | "
                f"{' | '.join(cells)} | "
                f'<img src="pictures/{picture.name}" width="300"> |'
            )


def rows_of(results, name):
    """Return the rows of a name, one per seed, from results such as {"dcgan-0": row}."""
    return [results[key] for key in sorted(results) if key.rpartition("-")[0] == name]


def parse_arguments(doc, known, data=(), seeds=(0,)):
    """Parse the command line of a script that measures each name in `known` with some seeds.

    data: the data sets that the script accepts, the default first; seeds: the default seeds.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help=f"{', '.join(known)} (default: all)")
    if data:
        parser.add_argument("--data", default=data[0], choices=data)
    parser.add_argument("--seeds", nargs="+", type=int, default=seeds)
    parser.add_argument("--again", action="store_true", help="repeat measurements that are done")
    parser.add_argument("--table", action="store_true", help="only print the table")
    args = parser.parse_args()
    if unknown := set(args.names) - set(known):
        parser.error(f"unknown name {min(unknown)}; choose from {', '.join(known)}")
    return args


# %%
if __name__ == "__main__":
    args = parse_arguments(__doc__, RECIPES, ("mnist", "fashion-mnist", "digits"))
    if not args.table:
        for seed in args.seeds:
            for recipe in args.names or RECIPES:
                try:
                    measure(recipe, args.data, seed, args.again)
                except InputError as error:
                    sys.exit(str(error))
    table(args.data)
