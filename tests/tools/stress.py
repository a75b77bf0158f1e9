"""Kill real training processes (SIGKILL) at random moments, resume them, and compare with runs that were left alone.

    python tests/tools/stress.py                        # every recipe, 56 kills in all
    python tests/tools/stress.py dcgan biggan --kills 100
    python tests/tools/stress.py -o demos/results/stress.json

Each run that is resumed has another number of threads. When it is done at last, every file of the unbroken run must be
there with the same bytes: config, log, evaluations, pictures, curves, and the checkpoints, which hold weights, optimisers,
EMA, augmentation, path lengths, w_avg, schedules and the states of all random generators. Only time.jsonl, the clock's, may
differ.
"""

import argparse
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tinygan.files import checkpoint, write_json

sys.path.append(str(Path(__file__).parents[1]))
from test_training import SMALL

CLOCK = {"time.jsonl", "running"}
AUGMENTED = {
    "dcgan": ["augment=ada", "ada_kimg=0.5"],
    "stylegan2": ["augment=ada", "policy=bgc", "ada_kimg=0.5"],
    "quick": ["augment=diffaug"],
}


def command(recipe, out, steps):
    settings = {
        **SMALL[recipe],
        "checkpoint_every": 6,
        "sample_every": 5,
        "eval_every": 14,
        "eval_images": 100,
    }
    return [
        sys.executable,
        "-m",
        "tinygan.cli",
        "train",
        recipe,
        "--steps",
        str(steps),
        "--batch-size",
        "8",
        "--out",
        str(out),
        "--set",
        *(f"{name}={value}" for name, value in settings.items()),
        *AUGMENTED.get(recipe, []),
    ]


def start(argv, threads):
    environment = {
        **os.environ,
        "TINYGAN_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
    }
    return subprocess.Popen(
        argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def finish(process):
    _, errors = process.communicate()
    if process.returncode:
        raise SystemExit(f"exit code {process.returncode} of {' '.join(process.args)}:\n{errors}")


def contents(folder):
    """{name: bytes} of all files of a run, but for those that tell the time and what is hidden."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in CLOCK and path.name[0] != "."
    }


def killed_run(recipe, out, steps, seconds, kills, chance):
    """Train in `out`, killing the process so many times at moments within the `seconds` that an unbroken run takes; returns
    the steps of the checkpoints that the kills left."""
    left = []
    for threads in itertools.cycle((2, 1)):
        done = checkpoint.last_step(out) == steps
        if (
            done and len(left) < kills
        ):  # killed after its last checkpoint, or never: once more from the start
            for path in sorted(out.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            done = False
        if done:
            return left
        argv = command(recipe, out, steps)
        if (out / "config.json").exists():
            argv = [*argv[:4], "--resume", str(out)]
        process = start(argv, threads)
        if len(left) == kills:
            finish(process)
            return left
        try:
            process.wait(chance.uniform(0, seconds))
        except subprocess.TimeoutExpired:
            process.kill()
            left.append(checkpoint.last_step(out))
            process.communicate()
        else:
            finish(process)


def differences(unbroken, killed):
    """What is not the same in two run folders, as lines."""
    a, b = contents(unbroken), contents(killed)
    lines = [
        f"{name}: {'is missing' if name not in b else 'differs'}"
        for name in a
        if b.get(name) != a[name]
    ]
    # One killed between its last checkpoint and the removal of the oldest leaves that.
    return lines + [
        f"{name}: should not be there"
        for name in b.keys() - a.keys()
        if not name.startswith("checkpoint-")
    ]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help="default: all")
    parser.add_argument("--kills", type=int, default=56, help="in all (default: 56)")
    parser.add_argument("--steps", type=int, default=40, help="of each run (default: 40)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument("-o", "--output", metavar="FILE.json", help="write what came of it, too")
    args = parser.parse_args(argv)
    recipes, chance, wrong = args.recipes or list(SMALL), random.Random(args.seed), 0
    for i, recipe in enumerate(recipes):
        kills = (i + 1) * args.kills // len(recipes) - i * args.kills // len(recipes)
        with tempfile.TemporaryDirectory() as folder:
            unbroken, killed = Path(folder, "unbroken"), Path(folder, "killed")
            began = time.monotonic()
            finish(start(command(recipe, unbroken, args.steps), 1))
            seconds = time.monotonic() - began
            left = killed_run(recipe, killed, args.steps, seconds, kills, chance)
            found = differences(unbroken, killed)
            rows = len((unbroken / "log.jsonl").read_text().splitlines())
            p = json.loads((unbroken / "log.jsonl").read_text().splitlines()[-1]).get("p", 0)
        wrong += bool(found)
        print(
            f"{recipe:12} {kills} kills, after which it was at steps {left}: "
            + ("; ".join(found) or f"the same bytes ({rows} rows" + f", p {p:.2f}" * bool(p) + ")"),
            flush=True,
        )
    if args.output:
        write_json(args.output, {"kills": args.kills, "recipes": len(recipes), "wrong": wrong})
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
