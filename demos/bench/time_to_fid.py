"""`python -m demos.bench --time-to-fid`: after how many seconds of training do the samples of the
default recipe, that of `tinygan train`, have a given FID? tinygan and PyTorch train the same
networks, from the same initial weights and with the same settings.

They take turns of some steps, each in a process of its own. After every turn, the averaged G is
compared with the held-out digits, on both sides by tinygan's FID and from the same latents. Only
training is counted, not the evaluations; recording or compiling the first steps is training.
"""

import contextlib
import dataclasses
import statistics
import time
from pathlib import Path

import numpy as np

from tinygan import data
from tinygan.autograd import Tensor
from tinygan.cli.common import print_table
from tinygan.data import to_uint8
from tinygan.errors import InputError
from tinygan.metrics import Evaluator
from tinygan.study import result_files
from tinygan.training import recipes
from tinygan.training.sampling import generate
from tinygan.training.trainer import training_data

from . import report
from .recipes import PREFIX, RECIPES, algorithm
from .second_core import SecondCore, sentence
from .worker import SIDES, Remote, Worker

# The recipe reaches this after about half of its steps (demos/results/default.json).
FID, SEEDS, STEPS_PER_TURN = 2.0, (0, 1, 2), 250
FILE = Path(__file__).parents[1] / "results" / "time_to_fid.json"
NAME = PREFIX + recipes.DEFAULT
TITLES = {"tinygan": "tinygan"} | SIDES


class Trainee:
    """A training in its process. side: "tinygan" or "torch"; format: PyTorch's memory format."""

    def __init__(self, side, format, batch_size, seed):
        from tinygan.kernels.cpu import parallel

        parallel.keep_memory()  # as the Trainer does; also for PyTorch
        if side == "tinygan":
            self.blas = parallel.single_threaded_blas()
            self.blas.__enter__()
            np.seterr(all="ignore")
            a = algorithm(NAME, batch_size, seed)
            self.step = a.train_step
            self.samples = lambda z, labels: generate(a.ema.module, Tensor(z), labels)
            self.name = f"tinygan, {parallel.num_threads()} threads"
        else:
            from . import torch_recipes

            training = torch_recipes.Training(NAME, batch_size, format, seed)
            self.step = training.step
            self.samples = lambda z, labels: to_uint8(training.samples(z, labels))
            self.name = f"{torch_recipes.version()}, {format}"

    def version(self):
        return self.name

    def train(self, steps):
        """Train, and return the seconds that it took."""
        start = time.perf_counter()
        for _ in range(steps):
            self.step()
        return time.perf_counter() - start

    def generate(self, z, labels):
        return self.samples(z, labels)


def measure(path, against=None, formats=()):
    """Measure all SEEDS that the JSON file at `path` lacks, store each when it is done, and print
    the results.

    against: "torch", whose faster one of `formats` is used, or None for tinygan alone. Raises
    InputError if the file has measurements of another kind.
    """
    settings = recipes.find(recipes.DEFAULT).settings()
    _, held_out = training_data(data.load("digits").padded(settings.pad), settings, 0)
    what = {
        "machine": report.machine(),
        "recipe": recipes.DEFAULT,
        "settings": dataclasses.asdict(settings),
        "fid": FID,
        "steps_per_turn": STEPS_PER_TURN,
    }
    stored = result_files.read_json(path)
    if differing := [key for key in what if stored and stored.get(key) != what[key]]:
        raise InputError(
            f"{path} has measurements with another {differing[0]}: remove it, or choose another "
            "file with -o"
        )
    print(what["machine"])
    sides, evaluator = ["tinygan"] + [against] * bool(against), None
    format = stored.get("format")
    for seed in SEEDS:
        old = result_files.read_json(path).get("seeds", {}).get(str(seed), {"sides": {}})
        if set(sides) <= set(old["sides"]):
            continue
        if against and not format:
            format = faster_format(against, formats)
        evaluator = evaluator or Evaluator(held_out, 0)
        result = train_until(FID, sides, format, settings, evaluator, seed)
        add = lambda old: old.get("seeds", {}) | {str(seed): result}
        result_files.update_json(path, lambda old: what | {"format": format, "seeds": add(old)})
    results = result_files.read_json(path)["seeds"]
    summary = summarise([results[str(seed)] for seed in SEEDS], sides)
    result_files.update_json(path, lambda old: old | {"summary": summary})
    print()
    print_table(table(summary, FID), right=range(1, 4))
    print(f"\nnumbers: {path}")


def faster_format(side, formats, rounds=4):
    """Return the memory format in which this side's steps are faster."""
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(Worker(side, RECIPES[NAME], f)) for f in formats]
        seconds = [[worker.seconds(report.TURN) for worker in workers] for _ in range(rounds)]
    medians = list(map(statistics.median, zip(*seconds)))
    return formats[medians.index(min(medians))]


def train_until(fid, sides, format, settings, evaluator, seed):
    """Train on all sides in turns, until each has reached the FID or the recipe's last step.
    Return their times, and the value of the second core meanwhile."""
    with contextlib.ExitStack() as stack:
        cores = stack.enter_context(SecondCore())
        trainees = {
            side: stack.enter_context(
                Remote(f"{side} {NAME}", Trainee, side, format, settings.batch_size, seed)
            )
            for side in sides
        }
        rows = {side: [] for side in sides}  # [step, seconds, FID] after each turn
        for step in range(STEPS_PER_TURN, settings.steps + 1, STEPS_PER_TURN):
            rng = np.random.default_rng([seed, step, 2])
            n, classes = settings.eval_images, evaluator.dataset.num_classes
            labels = rng.integers(classes, size=n) if settings.g_class != "none" else None
            z = rng.standard_normal((n, settings.latent), dtype=np.float32)
            missing = [s for s in sides if not rows[s] or rows[s][-1][2] > fid]
            if not missing:
                break
            cores.measure()
            for side in missing[:: 1 if step // STEPS_PER_TURN % 2 else -1]:
                before = rows[side][-1][1] if rows[side] else 0.0
                seconds = before + trainees[side].ask("train", STEPS_PER_TURN)
                images = trainees[side].ask("generate", z, labels)
                now = evaluator.quick(images, labels)["fid"]
                rows[side].append([step, round(seconds, 2), round(now, 3)])
                when = f"{step:6,} steps {seconds:7.1f} s"
                print(f"seed {seed}  {TITLES[side]:8} {when}  FID {now:.2f}", flush=True)
        versions = "; ".join(trainee.version for trainee in trainees.values())
    print(sentence(cores.summary()), flush=True)
    return {
        "versions": versions,
        "second_core": cores.summary(),
        "sides": {side: {**reached(rows[side], fid), "rows": rows[side]} for side in sides},
    }


def reached(rows, fid):
    """Return when the FID was reached: {"steps", "seconds"}, interpolated between the last two of
    `rows`; None if it was not. Also the milliseconds per step."""
    step, seconds, last = rows[-1]
    milliseconds = round(1000 * seconds / step, 2)
    if last > fid:
        return {"steps": None, "seconds": None, "ms_per_step": milliseconds}
    (step0, seconds0, fid0) = rows[-2] if len(rows) > 1 else (0, 0.0, last)
    share = (fid0 - fid) / (fid0 - last) if fid0 > last else 1.0
    return {
        "steps": round(step0 + share * (step - step0)),
        "seconds": round(seconds0 + share * (seconds - seconds0), 2),
        "ms_per_step": milliseconds,
    }


def summarise(results, sides):
    """Return {side: {quantity: [median, lowest, highest]}} over the seeds; a quantity is None if a
    seed has not reached the FID. "ratio" has the ratios of tinygan's seconds to those of the other
    side, seed by seed."""

    def spread(values):
        if None in values:
            return None
        return [round(f(values), 2) for f in (statistics.median, min, max)]

    of = lambda side, key: [result["sides"][side][key] for result in results]
    summary = {
        side: {key: spread(of(side, key)) for key in ("seconds", "steps", "ms_per_step")}
        for side in sides
    }
    for other in sides[1:]:
        pairs = list(zip(of("tinygan", "seconds"), of(other, "seconds")))
        ratios = [None if None in pair else pair[0] / pair[1] for pair in pairs]
        summary["ratio"] = {"seconds": spread(ratios)}
    return summary


def table(summary, fid):
    """Return the rows of the table of a summary: medians, with ranges in brackets."""
    digits = {"seconds": 0, "steps": 0, "ms_per_step": 1}

    def cell(values, n):
        if values is None:
            return "not reached"
        return "{:.{n}f} ({:.{n}f}-{:.{n}f})".format(*values, n=n)

    rows = [["", f"seconds to FID {fid:g}", "steps", "ms a step"]]
    for side, values in summary.items():
        if side != "ratio":
            rows.append([TITLES[side], *(cell(values[key], n) for key, n in digits.items())])
    if "ratio" in summary:
        rows.append(["time ratio", cell(summary["ratio"]["seconds"], 2), "", ""])
    return rows
