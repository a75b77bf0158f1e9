"""Compare K processes of one thread with one process of K threads, in images a second.

    python tests/tools/ranks_speed.py                   # dcgan and stylegan2, K = 2
    python tests/tools/ranks_speed.py quick -n 4 -o FILE.json

The two take turns on this machine.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tqdm import tqdm

from tinygan.files import write_json

sys.path.append(str(Path(__file__).absolute().parents[2]))  # the checkout, which has demos.bench
from demos.bench.report import machine

STEPS, BATCH = {"dcgan": 400, "stylegan2": 100}, 32


def rate(recipe, n, processes):
    """Return the images a second of a training run, from its time.jsonl."""
    with tempfile.TemporaryDirectory() as folder:
        threads, steps = str(n // processes), STEPS.get(recipe, 100)
        mpiexec = []
        if processes > 1:
            path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
            program = shutil.which("mpiexec", path=path) or "mpiexec"
            mpiexec = [program, "-n", str(processes), "--oversubscribe"]
        train = f"-m tinygan.cli train {recipe} --batch-size {BATCH} --steps {steps}".split()
        settings = "--set sample_every=9999 checkpoint_every=9999".split()
        environment = {
            **os.environ,
            "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
            "TINYGAN_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
        }
        subprocess.run(
            [*mpiexec, sys.executable, *train, "--out", f"{folder}/run", *settings],
            check=True,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        last = json.loads(Path(folder, "run", "time.jsonl").read_text().splitlines()[-1])
    return steps * BATCH / last["seconds"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", default=list(STEPS))
    parser.add_argument(
        "-n",
        type=int,
        default=2,
        metavar="K",
        help="the number of processes, or of threads (default: 2)",
    )
    parser.add_argument("--turns", type=int, default=3, help="runs of each (default: 3)")
    parser.add_argument(
        "-o", "--output", metavar="FILE.json", help="also write the numbers to a file"
    )
    args = parser.parse_args()
    results = {"machine": machine(), "n": args.n, "batch": BATCH}
    with tqdm(total=2 * args.turns * len(args.recipes), unit="run") as bar:
        for recipe in args.recipes:
            rates = {"processes": [], "threads": []}
            for _ in range(args.turns):
                for way, processes in (("processes", args.n), ("threads", 1)):
                    rates[way].append(rate(recipe, args.n, processes))
                    bar.update()
            results[recipe] = {way: statistics.median(values) for way, values in rates.items()}
            texts = [
                f"{args.n} {way} {value:.0f} images a second"
                for way, value in results[recipe].items()
            ]
            bar.write(f"{recipe}: {', '.join(texts)}")
    if args.output:
        write_json(args.output, results)


if __name__ == "__main__":
    main()
