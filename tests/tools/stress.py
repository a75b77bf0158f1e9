"""Kill training processes (SIGKILL) at random moments, resume them, and compare the finished runs
with runs that were never interrupted.

    python tests/tools/stress.py                        # every recipe, 56 kills in all
    python tests/tools/stress.py dcgan biggan --kills 100
    python tests/tools/stress.py -o demos/results/stress.json

A resumed run uses another number of threads. When it is finished, it must have every file of the
uninterrupted run with the same bytes: config, log, evaluations, pictures, curves, and the
checkpoints, which hold weights, optimisers, EMA, augmentation, path lengths, w_avg, schedules and
the states of all random generators. Only time.jsonl, which holds times, may differ.
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

VARYING = {"time.jsonl", "running"}
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
    settings = [
        *(f"{name}={value}" for name, value in settings.items()),
        *AUGMENTED.get(recipe, []),
    ]
    options = f"--steps {steps} --batch-size 8".split()
    train = [sys.executable, "-m", "tinygan.cli", "train", recipe]
    return [*train, *options, "--out", str(out), "--set", *settings]


def start(argv, threads):
    variables = dict.fromkeys(("TINYGAN_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    environment, pipe = {**os.environ, **variables}, subprocess.PIPE
    return subprocess.Popen(
        argv, env=environment, stdout=subprocess.DEVNULL, stderr=pipe, text=True
    )


def finish(process):
    _, errors = process.communicate()
    if process.returncode:
        command_line = " ".join(process.args)
        raise SystemExit(f"exit code {process.returncode} of {command_line}:\n{errors}")


def contents(folder):
    """Return {name: bytes} of the files of a run, without hidden ones and those that may differ."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in VARYING and path.name[0] != "."
    }


def killed_run(recipe, out, steps, seconds, kills, chance):
    """Train in `out`, and kill the process `kills` times.

    The moments are random, within the `seconds` that an uninterrupted run takes. Returns the steps
    of the last checkpoints after each kill.
    """
    left = []
    for threads in itertools.cycle((2, 1)):
        done = checkpoint.last_step(out) == steps
        # If a run is finished before all kills, start again from the beginning.
        if done and len(left) < kills:
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


def differences(uninterrupted, killed):
    """Return the differences between two run folders, as lines."""
    a, b = contents(uninterrupted), contents(killed)
    lines = [
        f"{name}: {'is missing' if name not in b else 'differs'}"
        for name in a
        if b.get(name) != a[name]
    ]
    # A kill between the last checkpoint and the removal of the oldest one leaves the oldest.
    superfluous = [name for name in b.keys() - a.keys() if not name.startswith("checkpoint-")]
    return lines + [f"{name}: should not exist" for name in superfluous]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help="default: all")
    parser.add_argument("--kills", type=int, default=56, help="kills in all (default: 56)")
    parser.add_argument("--steps", type=int, default=40, help="steps of each run (default: 40)")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the random moments (default: 0)"
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE.json", help="also write the result to a file"
    )
    args = parser.parse_args(argv)
    recipes, chance, wrong = args.recipes or list(SMALL), random.Random(args.seed), 0
    for i, recipe in enumerate(recipes):
        kills = (i + 1) * args.kills // len(recipes) - i * args.kills // len(recipes)
        with tempfile.TemporaryDirectory() as folder:
            uninterrupted, killed = Path(folder, "uninterrupted"), Path(folder, "killed")
            began = time.monotonic()
            finish(start(command(recipe, uninterrupted, args.steps), 1))
            seconds = time.monotonic() - began
            left = killed_run(recipe, killed, args.steps, seconds, kills, chance)
            lines = differences(uninterrupted, killed)
            log = (uninterrupted / "log.jsonl").read_text().splitlines()
        wrong += bool(lines)
        p = json.loads(log[-1]).get("p", 0)
        same = f"the same bytes ({len(log)} rows" + f", p {p:.2f}" * bool(p) + ")"
        print(
            f"{recipe:12} {kills} kills, after which the last checkpoints were of steps {left}: "
            + ("; ".join(lines) or same),
            flush=True,
        )
    if args.output:
        write_json(args.output, {"kills": args.kills, "recipes": len(recipes), "wrong": wrong})
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
