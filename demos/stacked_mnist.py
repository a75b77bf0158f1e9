"""Stacked MNIST: how many of 1,000 known modes does each recipe find, and how evenly?

    python demos/stacked_mnist.py                        # all rows that are not done yet: hours
    python demos/stacked_mnist.py r3gan dcgan            # some rows, with three seeds
    python demos/stacked_mnist.py r3gan-long --seeds 0   # one row, one seed
    python demos/stacked_mnist.py --table                # only print the tables, as Markdown

The protocol is that of the papers (Metz et al. 2017; Srivastava et al. 2017, from whom DCGAN's
published numbers are; Lin et al. 2018; Huang et al. 2024). Each image holds three random digits,
one in each colour channel: 1,000 modes, all equally wanted. The recipes are unconditional. A
classifier of single digits reads the three channels of 26,000 samples; we count the modes that
occur, and compute KL(p || uniform) in nats, where p is the share of each mode. A perfect sampler
does not reach a KL of 0, because 26,000 samples are few for 1,000 modes; the tables show what it
reaches.

In every row but the long one, D sees equally many real images. So the G of WGAN-GP and of SNGAN,
whose D has five updates in each step, has fewer updates than others. You can stop at any time: the
next call resumes the unfinished run. Two calls with different rows may run at the same time, each
with TINYGAN_NUM_THREADS=1. The averaged G of the last checkpoint is measured, also if training
diverged after it, which the table says; a run that diverges before its first checkpoint has no
numbers. Results are in demos/results/stacked-mnist.json; the runs are in runs/stacked-mnist/.
"""

# %%
import json
import shutil
import sys
from pathlib import Path

import numpy as np
from results import (
    PICTURES,
    RESULTS,
    is_stored,
    parse_arguments,
    rows_of,
    run_command,
    training_seconds,
)

from tinygan import data, plots, train
from tinygan.autograd import Tensor
from tinygan.errors import Diverged, InputError
from tinygan.files import is_file
from tinygan.metrics import Extractor
from tinygan.metrics.modes import modes
from tinygan.settings import parse_assignments
from tinygan.study import mean_and_range, result_files
from tinygan.training import recipes
from tinygan.training.sampling import generate, load_generator

DATA, SAMPLES, IMAGES = "stacked-mnist", 26_000, 192_000
FILE, RUNS = RESULTS / f"{DATA}.json", Path(f"runs/{DATA}")

# %% The rows: (title, recipe, settings, the published modes and KL)

ROWS = {
    "dcgan": ("DCGAN", "dcgan", "", "99 / 3.40"),
    "pacgan": ("PacDCGAN2: `dcgan` whose D sees two images", "dcgan", "pack=2", "1000 / .06"),
    "wgan-gp": ("WGAN-GP", "wgan-gp", "", ""),
    "sngan": ("SNGAN", "sngan", "", ""),
    "stylegan2": ("StyleGAN2", "stylegan2", "", ""),
    "r3gan": ("R3GAN", "r3gan", "", "1000 / .029"),
    "r3gan-long": ("R3GAN, four times as many images", "r3gan", "", "1000 / .029"),
}
LONG = {"r3gan-long": 4}  # how many times IMAGES these rows see
# R3GAN's ablation (Huang et al. 2024, table 1) takes each of its two ideas away. The paper's
# networks there are small ResNets without norms. Ours are those of `r3gan`, and then those of
# `quick`, whose G has batch-norm, which may keep rows alive that fail without it.
QUICK = "penalty_every=1 r1=.5"
ABLATION = {
    "r3gan": ("relativistic, R1, R2: R3GAN", "r3gan", "", "1000 / .0781"),
    "no-r2": ("relativistic, R1", "r3gan", "r2=0", "fails"),
    "bce-both": ("non-saturating, R1, R2", "r3gan", "loss=bce", "693 / .9270"),
    "bce-no-r2": ("non-saturating, R1", "r3gan", "loss=bce r2=0", "fails"),
    "quick-both": (
        "`quick`: relativistic, R1, R2",
        "quick",
        f"{QUICK} r2=.5 loss=relativistic",
        "1000 / .0781",
    ),
    "quick-no-r2": ("`quick`: relativistic, R1", "quick", f"{QUICK} loss=relativistic", "fails"),
    "quick-bce-both": ("`quick`: non-saturating, R1, R2", "quick", f"{QUICK} r2=.5", "693 / .9270"),
    "quick-bce-no-r2": ("`quick`: non-saturating, R1", "quick", QUICK, "fails"),
}


def settings_of(name):
    """Return (recipe, {setting: value}) of a row, whose number of steps follows from the number of
    images."""
    _, recipe, changes, _ = (ROWS | ABLATION)[name]
    changes = parse_assignments(changes.split())
    s = recipes.find(recipe).settings().updated(changes)
    steps = round(IMAGES * LONG.get(name, 1) / (s.batch_size * s.d_steps))
    return recipe, changes | {"steps": steps, "g_class": "none", "d_class": "none"}


# %% A row: train, then measure the averaged G of the last checkpoint


def train_until_it_diverges(run, recipe, changes, seed):
    """Train a run to its end, or continue it. Return its last checkpoint, or None if it has none,
    and whether training diverged."""
    begun = any(run.glob("checkpoint-*.npz"))
    if not begun:
        shutil.rmtree(run, ignore_errors=True)  # it was stopped before its first checkpoint
    diverged = False
    try:
        if not is_file(run / f"checkpoint-{changes['steps']:08d}.npz"):
            train(resume=run) if begun else train(recipe, DATA, out=run, seed=seed, **changes)
    except Diverged as error:
        print(error)
        diverged = True
    return max(run.glob("checkpoint-*.npz"), default=None), diverged


def measure(name, seed, again=False):
    """Train and measure a row, as far as it is not done yet, and store its numbers."""
    run = RUNS / f"{name}-{seed}"
    recipe, changes = settings_of(name)
    texts = " ".join(f"{key}={value}" for key, value in changes.items())
    command = f"tinygan train {recipe} --data {DATA} --seed {seed} --set {texts}"
    if is_stored(FILE, f"{name}-{seed}", command, run, again):
        return
    print("$", command, flush=True)
    last, diverged = train_until_it_diverges(run, recipe, changes, seed)
    s, step, metrics = recipes.find(recipe).settings().updated(changes), 0, None
    if last is not None:
        run_command(f"tinygan eval {last} -n {SAMPLES}")
        measured = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
        step, keys = measured["step"], ("modes", "mode_kl", "fid", "recall", "samples")
        metrics = {key: measured[key] for key in keys}
    row = {
        "command": command,
        "seconds": training_seconds(run / "time.jsonl"),
        "images": step * s.batch_size * s.d_steps,
        "diverged": diverged,
        "metrics": metrics,
    }
    result_files.update_json(FILE, lambda old: old | {f"{name}-{seed}": row})
    if seed == 0 and last is not None:
        G, _, _ = load_generator(last)
        z = np.random.default_rng(0).standard_normal((20, G.latent), dtype=np.float32)
        grid = plots.grid(generate(G, Tensor(z)), columns=10, gap=1, scale=1)
        plots.save_image(picture_of(name), grid)


def picture_of(name):
    return PICTURES / f"{DATA}-{name}.png"


def check_the_ruler():
    """Measure the classifier on stacks of test digits, and what a perfect sampler reaches with
    26,000 samples; store both."""
    if "ruler" in result_files.read_json(FILE):
        return
    extractor, test = Extractor(DATA), data.load(DATA, "test")
    predicted = extractor(test.images)[1].argmax(2)
    classes = np.stack([test.labels // 100, test.labels // 10 % 10, test.labels % 10], 1)
    digits = data.load("mnist").labels
    rng, perfect = np.random.default_rng(0), {}
    for name, labels in ("uniform", np.arange(10)), ("mnist", digits):
        draws = (rng.choice(labels, (SAMPLES, 3)) @ [100, 10, 1] for _ in range(200))
        perfect[name] = [modes(draw)[1] for draw in draws]
    ruler = {
        "classifier": extractor.description,
        "stacks": len(test),
        "accuracy": float((predicted == classes).all(1).mean()),
        "perfect": {name: [np.mean(kls), np.std(kls)] for name, kls in perfect.items()},
    }
    result_files.update_json(FILE, lambda old: old | {"ruler": ruler})


# %% The tables
def table(rows="rows"):
    """Print a table as Markdown: that of the recipes, or "ablation"."""
    results = result_files.read_json(FILE)
    if "ruler" not in results:
        print("(not measured yet)")
        return
    ruler = results["ruler"]
    perfect = ruler["perfect"]["mnist"][0]
    head = "published", "modes", "KL", "perfect sampler", "images", "minutes", "seeds", "samples"
    print(f"| | {' | '.join(head)} | command |")
    print("|---" * (len(head) + 2) + "|")
    for name, (title, _, _, published) in (ABLATION if rows == "ablation" else ROWS).items():
        seeds = rows_of(results, name)
        if not seeds:
            continue
        measured = [row["metrics"] for row in seeds if row["metrics"]]
        found, kl = (
            mean_and_range([metrics[key] for metrics in measured], digits) if measured else "-"
            for key, digits in (("modes", 0), ("mode_kl", 3))
        )
        minutes = mean_and_range([row["seconds"] / 60 for row in seeds], 0)
        diverged = sum(row["diverged"] for row in seeds)
        title += f" ({diverged} of {len(seeds)} diverged)" * bool(diverged)
        picture, command = picture_of(name), seeds[0]["command"].replace(" --seed 0", "")
        samples = f'<img src="pictures/{picture.name}" width="300">' if picture.exists() else "-"
        print(
            f"| {title} | {published or '-'} | {found} | {kl} | {perfect:.4f} | "
            f"{seeds[0]['images']:,} | {minutes} | {len(seeds)} | {samples} | `{command}` |"
        )
    mean, deviation = ruler["perfect"]["uniform"]
    print(
        f"\nClassifier: {ruler['classifier']}; all three digits of {ruler['accuracy']:.2%} of "
        f"{ruler['stacks']:,} stacks of test digits are read correctly. A perfect sampler has a KL "
        f"of {perfect:.4f} +- {ruler['perfect']['mnist'][1]:.4f} with MNIST's frequencies of the "
        f"digits, and of {mean:.4f} +- {deviation:.4f} if all digits are equally frequent."
    )


# %%
if __name__ == "__main__":
    args = parse_arguments(__doc__, ROWS | ABLATION, seeds=(0, 1, 2))
    try:
        if not args.table:
            check_the_ruler()
            for seed in args.seeds:
                for name in args.names or ROWS | ABLATION:
                    if seed == 0 or name not in LONG:
                        measure(name, seed, args.again)
    except InputError as error:
        sys.exit(str(error))
    table()
    print()
    table("ablation")
