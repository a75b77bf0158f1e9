"""The results table of demos/README.md: every recipe trained on full MNIST, then measured against the test set.

    python demos/results.py                     # all rows; those that are done already are skipped
    python demos/results.py dcgan wgan          # some of them
    python demos/results.py quick dcgan --seeds 0 1 2
    python demos/results.py dcgan --again       # measure that row anew
    python demos/results.py --table             # print what there is, as Markdown

A row takes up to 12 minutes on 2 cores. Each is two commands of tinygan, which are printed. Stop at any time: an unfinished
run is resumed. Results are in demos/results/, a file for each data set; the runs are in runs/results/.
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
from tinygan.study import kept, span
from tinygan.training.recipes import RECIPES
from tinygan.training.sampling import generate, load_generator

RESULTS, PICTURES = (Path(__file__).parent / name for name in ("results", "pictures"))
RUNS = Path("runs/results")

# %% A row: train with evaluations on held-out images, of which the best averaged generator is kept; then measure that
# one against the test images


def commands(run, recipe, data, seed, settings):
    """(command that trains, command that measures) as a user types them."""
    every = -(-settings.steps // 8)
    return (
        f"tinygan train {recipe} --data {data} --seed {seed} --out {run} --set eval_every={every}",
        f"tinygan eval {run}",
    )


def call(command):
    """Run a command of tinygan. Ctrl-C reaches it too: it ends its step, and we wait until it has saved."""
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


def measure(recipe, data, seed, again=False):
    """Train and measure one row, or what is left of it, and write its numbers to demos/results/. again: even if it is there."""
    run, results, name = (
        RUNS / f"{recipe}-{data}-{seed}",
        RESULTS / f"{data}.json",
        f"{recipe}-{seed}",
    )
    settings = RECIPES[recipe].settings()
    train, evaluate = commands(run, recipe, data, seed, settings)
    settings = dataclasses.asdict(settings)
    if again:
        shutil.rmtree(run, ignore_errors=True)
    elif name in (found := kept.numbers(results)):
        check_settings(found[name]["settings"], settings, recipe, f"{results}: {name}")
        return
    if (run / "config.json").exists():
        check_settings(
            json.loads((run / "config.json").read_text())["settings"], settings, recipe, run
        )
    done = [int(path.stem.split("-")[1]) for path in run.glob("checkpoint-*.npz")]
    if run.exists() and not done:
        shutil.rmtree(run)  # stopped before its first checkpoint
    if settings["steps"] not in done:
        call(f"tinygan train --resume {run}" if done else train)
    call(evaluate)
    metrics = json.loads((run / "metrics.json").read_text())
    row = {
        "commands": [train, evaluate],
        "recipe": recipe,
        "data": data,
        "seed": seed,
        "settings": settings,
        "seconds": seconds(run / "time.jsonl"),
        "metrics": metrics,
    }
    kept.change(results, lambda old: old | {name: row})


def check_settings(found, settings, recipe, where):
    """Exit with a message if those that were found are others. They may be from before some setting existed."""
    old = dataclasses.asdict(RECIPES[recipe].settings()) | found
    if any(
        old[key] != settings[key]
        for key in settings.keys() - {"sample_every", "checkpoint_every", "eval_every", "keep"}
    ):
        sys.exit(
            f"{where}: the recipe's settings have changed since; measure it anew, with --again"
        )


def seconds(path):
    """Of training, evaluations but the last included: the clock starts anew at each resume."""
    total, last = 0.0, 0.0
    for line in path.read_text().splitlines():
        now = json.loads(line)["seconds"]
        total, last = total + (last if now < last else 0.0), now
    return total + last


# %% The table, and a strip of samples beside each row


def strip(recipe, data, path):
    """Four rows of ten samples by the best generator; of a conditional recipe, a column per class."""
    G, _, _ = load_generator(RUNS / f"{recipe}-{data}-0")
    z = np.random.default_rng(0).standard_normal((40, G.latent), dtype=np.float32)
    labels = np.arange(40) % G.classes if G.classes else None
    plots.save_image(path, plots.grid(generate(G, Tensor(z), labels), columns=10, gap=1, scale=1))


def table(data):
    """The Markdown of the table: a line per recipe; with several seeds, mean and range."""
    print("| recipe | steps | minutes | FID | precision | recall | class accuracy | samples |")
    print("|---|---|---|---|---|---|---|---|")
    for recipe in RECIPES:
        found = of_name(kept.numbers(RESULTS / f"{data}.json"), recipe)
        if found:
            minutes = (
                min(row["seconds"] for row in found) / 60
            )  # a longer one was beside other work
            cells = [
                span([row["metrics"].get(key) for row in found], digits)
                for key, digits in (
                    ("fid", 2),
                    ("precision", 3),
                    ("recall", 3),
                    ("class_accuracy", 3),
                )
            ]
            picture = PICTURES / f"{data}-{recipe}.png"
            if (RUNS / f"{recipe}-{data}-0").exists():
                strip(recipe, data, picture)
            print(
                f"| `{recipe}` | {found[0]['settings']['steps']:,} | {minutes:.1f} | {' | '.join(cells)} | "
                f'<img src="pictures/{picture.name}" width="300"> |'
            )


def of_name(results, name):
    """What was measured under a name, for each seed: of results such as {"dcgan-0": ...}."""
    return [results[key] for key in sorted(results) if key.rpartition("-")[0] == name]


def arguments(doc, known, data=(), seeds=(0,)):
    """The command line of a script that measures each of `known` with some seeds. data: the data sets it takes; seeds: by
    default."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help=f"of {', '.join(known)} (default: all)")
    if data:
        parser.add_argument("--data", default=data[0], choices=data)
    parser.add_argument("--seeds", nargs="+", type=int, default=seeds)
    parser.add_argument("--again", action="store_true", help="measure anew what has been measured")
    parser.add_argument("--table", action="store_true", help="only print the table")
    args = parser.parse_args()
    if unknown := set(args.names) - set(known):
        parser.error(f"unknown name {min(unknown)}; there are: {', '.join(known)}")
    return args


# %%
if __name__ == "__main__":
    args = arguments(__doc__, RECIPES, ("mnist", "fashion-mnist", "digits"))
    if not args.table:
        for seed in args.seeds:
            for recipe in args.names or RECIPES:
                measure(recipe, args.data, seed, args.again)
    table(args.data)
