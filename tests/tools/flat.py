"""Do memory and the time of a step stay constant in a long run? Prints both, for every recipe.

    python tests/tools/flat.py                # every recipe, 8 channels, batches of 4, 5,000 steps
    python tests/tools/flat.py --full dcgan   # with the recipe's own sizes
    python tests/tools/flat.py -o demos/results/flat.json

Each run is a process of its own and writes everything that a run writes: the log, and fifty times
pictures, curves and checkpoints. The memory of the process is measured after each tenth of the
steps. The exit code is 1 if it grows by more than 2% and 4 MB from the second tenth on. (Linux
only: it reads /proc.)
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
    """Return the bytes of memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(recipe, steps, full):
    """Measure a run: {"memory": [bytes after each tenth], "step": [median seconds of each]}."""
    recipe = recipes.find(recipe)
    changes = {"steps": steps, "sample_every": steps // 50, "checkpoint_every": steps // 50}
    if not full:
        channels = NARROW.get(recipe.settings_class, {"g_channels": 8, "d_channels": 8})
        changes.update(channels, batch_size=4)
    settings = recipe.settings().updated(changes)
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
    parser.add_argument("--full", action="store_true", help="use the recipe's own sizes")
    parser.add_argument(
        "-o", "--output", metavar="FILE.json", help="also write the numbers to a file"
    )
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.steps < 50:
        parser.error("--steps: at least 50")
    if args.measure:
        parallel.set_num_threads(1)
        print(json.dumps(measure(args.recipes[0], args.steps, args.full)))
        return 0
    any_grew, rows = False, {}
    print(
        "recipe       MB after a fifth   at the end   growth   ms a step, second tenth   "
        "last tenth   ratio"
    )
    for recipe in args.recipes or recipes.RECIPES:
        options = ["--steps", str(args.steps), "--measure", *["--full"] * args.full]
        argv = [sys.executable, __file__, recipe, *options]
        done = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True)
        measured = json.loads(done.stdout)
        early, late = measured["memory"][1], measured["memory"][-1]
        first, last = measured["step"][1], measured["step"][-1]
        grew = late > 1.02 * early + (4 << 20)
        any_grew |= grew
        rows[recipe] = row = {
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
            + "  it grows" * grew,
            flush=True,
        )
    if args.output:
        extremes = {
            f"{extreme.__name__}_{key}": extreme(row[key] for row in rows.values())
            for extreme in (min, max)
            for key in ("late", "growth")
        }
        write_json(args.output, {"recipes": rows, **extremes})
    return int(any_grew)


if __name__ == "__main__":
    sys.exit(main())
