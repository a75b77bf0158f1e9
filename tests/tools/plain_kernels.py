"""How long does a training step take with plain kernels, with fast ones, and recorded?

    python -m tests.tools.plain_kernels                    # from a checkout; some minutes
    python -m tests.tools.plain_kernels --rounds 3 quick   # one recipe, for a quick look
    python -m tests.tools.plain_kernels --threads 2        # times by the clock, on two threads

A round is one step of each. All runs take the same steps, so their lazy penalties fall into the
same rounds; the first rounds, in which steps are recorded, do not count. Without --threads, the
tool measures the processor time of one core, which other programs on the machine hardly change. It
prints the median times of a step and the median ratios of a round. If it measures all recipes on
one core, it also writes them to demos/results/plain_kernels.json.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from demos.bench.report import machine
from tinygan import data, kernels, recorded
from tinygan.kernels.cpu import parallel
from tinygan.training import recipes
from tinygan.training.trainer import Trainer

RECIPES = ["quick", "dcgan", "stylegan2", "biggan"]
RESULTS = Path(__file__).parents[2] / "demos" / "results" / "plain_kernels.json"


WAYS = {"plain": ("plain", False), "fast": ("fast", False), "recorded": ("fast", True)}
WARM_UP = 16  # rounds in which every kind of step is recorded


def measure(name, rounds, threads, folder):
    """Measure a recipe. Return {way: median seconds of a step}, and {way: median ratio to "fast"}
    under "ratios"."""
    recipe, digits = recipes.find(name), data.load("digits")
    runs = {
        way: Trainer.start(recipe, recipe.settings(), digits, Path(folder, name, way), 0)
        for way in WAYS
    }
    clock = time.perf_counter if threads else time.process_time
    times = {way: [] for way in WAYS}
    parallel.set_num_threads(threads or 1)
    parallel.keep_memory()
    with parallel.single_threaded_blas(), np.errstate(all="ignore"):
        for _ in range(WARM_UP + rounds):
            for way, run in runs.items():
                kernel_set, recorded.enabled = WAYS[way]
                kernels.use(kernel_set)
                start = clock()
                run.algorithm.train_step()
                times[way].append(clock() - start)
    times = {way: seconds[WARM_UP:] for way, seconds in times.items()}
    ratios = {
        way: statistics.median(a / b for a, b in zip(seconds, times["fast"]))
        for way, seconds in times.items()
    }
    return {**{way: statistics.median(s) for way, s in times.items()}, "ratios": ratios}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipes", nargs="*", default=RECIPES, help="default: " + " ".join(RECIPES))
    parser.add_argument("--rounds", type=int, default=33)
    parser.add_argument("--threads", type=int, default=0)
    args = parser.parse_args()
    print(machine(), "\n")
    steps = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in args.recipes:
            steps[name] = row = measure(name, args.rounds, args.threads, folder)
            text = (f"{way} {1e3 * row[way]:7.1f} ms ({row['ratios'][way]:4.2f})" for way in WAYS)
            print(f"{name:10}", "   ".join(text), flush=True)
    if args.recipes == RECIPES and not args.threads:
        results = {"machine": machine(), "rounds": args.rounds, "steps": steps}
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
