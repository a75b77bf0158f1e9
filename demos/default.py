"""Why `tinygan train` trains what it does: candidates after 60, 120 and 240 seconds of training.

    python demos/default.py                    # all of them, 45 minutes, in which nothing else should use the machine
    python demos/default.py quick dcgan --seeds 0 1 2
    python demos/default.py --table            # print what there is, as Markdown

Trained on the built-in digits, without those that are held out; measured against the held-out ones, by which the
default was chosen. Evaluations do not count as training time. Results are in demos/results/; what is there is skipped.
"""

# %%
import json
import tempfile
import time
from pathlib import Path

import numpy as np
from results import RESULTS, arguments, span

from tinygan import data
from tinygan.kernels import parallel
from tinygan.training import recipes
from tinygan.training.settings import parse_assignments
from tinygan.training.trainer import Trainer

SECONDS = 60, 120, 240

# %% The candidates: from DCGAN's constants to the default, one change at a time, and the default with one change

R1 = "d_norm=none r1=.2 penalty_every=8 lr=2e-3 beta1=0 beta2=.99 ema=.999"
CLASS = "g_class=concat d_class=projection"
CANDIDATES = {  # name: (what it is, recipe, settings)
    "dcgan": ("DCGAN's constants", "dcgan", ""),
    "dcgan-64": ("with batches of 64", "dcgan", "batch_size=64"),
    "r1": ("R1 instead of batch-norm in D, ten times the rate, EMA .999", "dcgan", R1),
    "spectral": ("spectral normalisation and hinge loss instead of R1", "dcgan",
                 "d_norm=spectral loss=hinge lr=2e-3 beta1=0 beta2=.99 ema=.999"),
    "class": ("R1, and both networks see the class", "dcgan", f"{R1} {CLASS}"),
    "quick": ("the same with half of G's channels: the default", "quick", ""),
    "quick-hinge": ("the default with hinge loss", "quick", "loss=hinge"),
    "quick-equalized": ("the default with equalised learning rate", "quick", "equalized=true"),
    "quick-auxiliary": ("the default with an auxiliary classifier", "quick", "d_class=auxiliary"),
    "quick-64": ("the default with batches of 64", "quick", "batch_size=64"),
}


def measure(name, seed):
    """Train a candidate for SECONDS, and write its numbers at each of them."""
    result = RESULTS / f"default-{name}-{seed}.json"
    if result.exists():
        return
    _, recipe, changes = CANDIDATES[name]
    recipe = recipes.find(recipe)
    rows, spent = [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        settings = recipe.settings().updated({"eval_every": 1, **parse_assignments(changes.split())})
        trainer = Trainer(recipe, settings, data.load("digits"), folder, seed)
        with parallel.single_threaded_blas(), np.errstate(all="ignore"):
            parallel.keep_memory()
            for limit in SECONDS:
                started = time.perf_counter()
                while spent + time.perf_counter() - started < limit:
                    trainer.train_step()
                spent += time.perf_counter() - started
                trainer.evaluate()
                row = json.loads((Path(folder) / "eval.jsonl").read_text().splitlines()[-1])
                rows.append({"seconds": limit, **row})
                print(f"{name:16} seed {seed}  {limit:4} s  {row['step']:6,} steps  FID {row['fid']:.2f}", flush=True)
    RESULTS.mkdir(exist_ok=True)
    result.write_text(json.dumps({"candidate": name, "seed": seed, "settings": changes, "rows": rows}, indent=1) + "\n")


# %%
def table():
    print("| candidate | " + " | ".join(f"FID after {s} s" for s in SECONDS) + " | class accuracy |")
    print("|---|" + "---|" * (len(SECONDS) + 1))
    for name, (summary, _, _) in CANDIDATES.items():
        found = [json.loads(path.read_text())["rows"] for path in sorted(RESULTS.glob(f"default-{name}-[0-9]*.json"))]
        if found:
            cells = [span([rows[i]["fid"] for rows in found], 2) for i in range(len(SECONDS))]
            accuracy = [rows[-1].get("class_accuracy") for rows in found]
            cells.append("-" if None in accuracy else f"{np.mean(accuracy):.3f}")
            print(f"| `{name}`: {summary} | {' | '.join(cells)} |")


# %%
if __name__ == "__main__":
    args = arguments(__doc__, CANDIDATES)
    if not args.table:
        for seed in args.seeds:
            for name in args.names or CANDIDATES:
                measure(name, seed)
    table()
