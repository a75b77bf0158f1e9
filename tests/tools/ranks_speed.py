"""Images a second of K processes of one thread against one process of K threads, turn by turn, on this machine.

python tests/tools/ranks_speed.py                   # dcgan and stylegan2, K = 2
python tests/tools/ranks_speed.py quick -n 4 -o FILE.json
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

sys.path.append(
    str(Path(__file__).absolute().parents[2])
)  # the checkout: demos.bench is found there
from demos.bench.report import machine

STEPS, BATCH = {"dcgan": 400, "stylegan2": 100}, 32


def rate(recipe, n, processes):
    """Images a second of a training run, from its own clock."""
    with tempfile.TemporaryDirectory() as folder:
        threads, steps = str(n // processes), STEPS.get(recipe, 100)
        mpiexec = (
            [
                shutil.which(
                    "mpiexec",
                    path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
                )
                or "mpiexec",
                "-n",
                str(processes),
                "--oversubscribe",
            ]
            if processes > 1
            else []
        )
        environment = {
            **os.environ,
            "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
            "TINYGAN_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
        }
        subprocess.run(
            [
                *mpiexec,
                sys.executable,
                "-m",
                "tinygan.cli",
                "train",
                recipe,
                "--batch-size",
                str(BATCH),
                "--steps",
                str(steps),
                "--out",
                f"{folder}/run",
                "--set",
                "sample_every=9999",
                "checkpoint_every=9999",
            ],
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
    parser.add_argument("-n", type=int, default=2, metavar="K", help="default: 2")
    parser.add_argument("--turns", type=int, default=3, help="default: 3")
    parser.add_argument("-o", "--output", metavar="FILE.json", help="write the numbers, too")
    args = parser.parse_args()
    found = {"machine": machine(), "n": args.n, "batch": BATCH}
    with tqdm(total=2 * args.turns * len(args.recipes), unit="run") as bar:
        for recipe in args.recipes:
            rates = {"processes": [], "threads": []}
            for _ in range(args.turns):
                for way, processes in (("processes", args.n), ("threads", 1)):
                    rates[way].append(rate(recipe, args.n, processes))
                    bar.update()
            found[recipe] = {way: statistics.median(values) for way, values in rates.items()}
            bar.write(
                f"{recipe}: "
                + ", ".join(
                    f"{args.n} {way} {value:.0f} images a second"
                    for way, value in found[recipe].items()
                )
            )
    if args.output:
        write_json(args.output, found)


if __name__ == "__main__":
    main()
