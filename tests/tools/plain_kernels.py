"""How much slower are the plain kernels? Times training steps with plain and with fast kernels.

    python -m tests.tools.plain_kernels                    # from a checkout; a quarter of an hour
    python -m tests.tools.plain_kernels --rounds 3 quick   # one recipe, for a quick look

A round is one step with each. Both runs take the same steps, so their lazy penalties fall into the
same rounds. The tool measures the processor time of one core, because the plain kernels use only
one; other programs on the machine hardly change it. It prints the median times of a step and the
median ratio of a round. If it measures all recipes, it also writes them to
demos/results/plain_kernels.json.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from demos.bench.report import machine
from tinygan import data, kernels
from tinygan.kernels.cpu import parallel
from tinygan.training import recipes
from tinygan.training.trainer import Trainer

RECIPES = ["quick", "dcgan", "stylegan2", "biggan"]
RESULTS = Path(__file__).parents[2] / "demos" / "results" / "plain_kernels.json"


def measure(name, rounds, folder):
    """Measure a recipe: {"fast": median seconds of a step, "plain": ..., "ratio": median ratio}."""
    recipe, digits = recipes.find(name), data.load("digits")
    runs, times = {}, {"fast": [], "plain": []}
    for kernel_set in times:
        runs[kernel_set] = Trainer.start(
            recipe, recipe.settings(), digits, Path(folder, name, kernel_set), 0
        )
    parallel.set_num_threads(1)
    with parallel.single_threaded_blas():
        for _ in range(rounds + 1):
            for kernel_set, run in runs.items():
                kernels.use(kernel_set)
                start = time.process_time()
                run.algorithm.train_step()
                times[kernel_set].append(time.process_time() - start)
    fast, plain = (seconds[1:] for seconds in times.values())  # the first step fills caches
    ratio = statistics.median(p / f for p, f in zip(plain, fast))
    return {"fast": statistics.median(fast), "plain": statistics.median(plain), "ratio": ratio}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipes", nargs="*", default=RECIPES, help="default: " + " ".join(RECIPES))
    parser.add_argument("--rounds", type=int, default=33)
    args = parser.parse_args()
    print(machine(), "\n")
    steps = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in args.recipes:
            steps[name] = row = measure(name, args.rounds, folder)
            fast, plain = (1e3 * row[kernel_set] for kernel_set in ("fast", "plain"))
            print(
                f"{name:10} fast {fast:7.1f} ms   plain {plain:7.1f} ms   "
                f"ratio {row['ratio']:5.2f}",
                flush=True,
            )
    if args.recipes == RECIPES:
        results = {"machine": machine(), "rounds": args.rounds, "steps": steps}
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
