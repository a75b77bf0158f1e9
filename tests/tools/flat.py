"""Do memory and the time of a step stay what they are in a long run? Prints both, for every recipe.

    python tests/tools/flat.py                          # every recipe, 8 channels wide, batches of 4, 5,000 steps
    python tests/tools/flat.py --full dcgan             # as the recipe has it
    python tests/tools/flat.py -o demos/results/flat.json

Each run is a process of its own, with all that a run writes: log, and fifty times pictures, curves and checkpoints. Memory is what
the process holds after every tenth of the steps; the exit code is 1 if, from the second tenth on, it grows by more than 2% and 4 MB.
(Linux only: it reads /proc.)
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tinygan import data
from tinygan.files import write_json
from tinygan.kernels.cpu import parallel
from tinygan.models import biggan, gan, progan, stylegan, stylegan2
from tinygan.training import recipes
from tinygan.training.trainer import Trainer

NARROW = {
    gan.MLPSettings: {"hidden": 8},
    biggan.BigGANSettings: {"g_channels": 8, "d_channels": 8, "standing": 2},
    progan.ProGANSettings: {"channels": 8, "max_channels": 8, "batch_sizes": "", "grow": False},
    stylegan.StyleGANSettings: {
        "channels": 8,
        "max_channels": 8,
        "batch_sizes": "",
        "grow": False,
        "style": 8,
    },
    stylegan2.StyleGAN2Settings: {"g_channels": 8, "d_channels": 8, "max_channels": 8, "style": 8},
}
TENTHS = 10


def resident():
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(recipe, steps, full):
    """{"memory": [bytes after each tenth], "step": [median seconds in each tenth]} of a run."""
    recipe = recipes.find(recipe)
    narrow = (
        {}
        if full
        else {
            "batch_size": 4,
            **NARROW.get(recipe.settings_class, {"g_channels": 8, "d_channels": 8}),
        }
    )
    settings = recipe.settings().updated(
        {**narrow, "steps": steps, "sample_every": steps // 50, "checkpoint_every": steps // 50}
    )
    memory, times, tenth = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer.start(recipe, settings, data.load("digits"), Path(folder, "run"))
        one_step = trainer.algorithm.train_step

        def timed():
            start = time.perf_counter()
            numbers = one_step()
            tenth.append(time.perf_counter() - start)
            if trainer.step % (steps // TENTHS) == 0:
                memory.append(resident())
                times.append(statistics.median(tenth))
                tenth.clear()
            return numbers

        trainer.algorithm.train_step = timed
        trainer.run(progress=False)
    return {"memory": memory, "step": times}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help="default: all")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--full", action="store_true", help="the recipe's own sizes")
    parser.add_argument("-o", "--output", metavar="FILE.json", help="write the numbers, too")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.steps < 50:
        parser.error("--steps: at least 50")
    if args.measure:
        parallel.set_num_threads(1)
        print(json.dumps(measure(args.recipes[0], args.steps, args.full)))
        return 0
    grew, kept = False, {}
    print(
        "recipe       MB after a fifth   at the end   growth   ms a step, second tenth   last tenth   ratio"
    )
    for recipe in args.recipes or recipes.RECIPES:
        argv = [
            sys.executable,
            __file__,
            recipe,
            "--steps",
            str(args.steps),
            "--measure",
            *["--full"] * args.full,
        ]
        found = json.loads(
            subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout
        )
        early, late = found["memory"][1], found["memory"][-1]
        first, last = found["step"][1], found["step"][-1]
        bad = late > 1.02 * early + (4 << 20)
        grew |= bad
        kept[recipe] = row = {
            "early": early / 1e6,
            "late": late / 1e6,
            "growth": (late - early) / 1e6,
            "second_tenth": 1e3 * first,
            "last_tenth": 1e3 * last,
        }
        print(
            "{:12} {:16.1f} {:12.1f} {:8.1f} {:25.2f} {:12.2f} {:7.2f}".format(
                recipe, *row.values(), last / first
            )
            + "  it grows" * bad,
            flush=True,
        )
    if args.output:
        write_json(
            args.output,
            {
                "recipes": kept,
                **{
                    f"{side.__name__}_{key}": side(row[key] for row in kept.values())
                    for side in (min, max)
                    for key in ("late", "growth")
                },
            },
        )
    return int(grew)


if __name__ == "__main__":
    sys.exit(main())
