"""Few images: FID with 500 digits, without augmentation, with DiffAugment and with ADA, after equal numbers of steps.

    python demos/limited.py                     # three seeds of each, 8 minutes a run; stop and go on at any time
    python demos/limited.py ada --seeds 0       # some of them
    python demos/limited.py --table             # draw the figure and print the table of what there is

Trained and measured by two commands of tinygan, which are printed. Measured is the last step, against the test digits: that of
the lowest FID on held-out images, as other tables have it, would hide what happens to a D that knows its images by heart.
"""

# %%
import dataclasses
import json
import shutil

import numpy as np
from results import PICTURES, RESULTS, RUNS, arguments, call, check_settings, results_of, seconds, span

from tinygan import data
from tinygan.files import replacing
from tinygan.metrics.evaluate import evaluate
from tinygan.training.recipes import RECIPES
from tinygan.training.settings import parse_assignments
from tinygan.training.trainer import training_data

RECIPE, DATA = "quick", "digits"
COMMON = "train_size=500 steps=8000 eval_every=1000 r1=0.02"
NAMES = {"none": "augment=none", "diffaug": "augment=diffaug policy=translation", "ada-published": "augment=ada",
         "ada": "augment=ada ada_target=0.3"}
LABELS = {"none": "no augmentation", "diffaug": "DiffAugment (translation)", "ada-published": "ADA, target of r_t .6",
          "ada": "ADA, target of r_t .3", "images": "(the training images themselves)"}


# %% One run
def measure(name, seed):
    """Train and measure, or what is left of it; write the numbers to demos/results/."""
    changes = f"{COMMON} {NAMES[name]}"
    settings = RECIPES[RECIPE].settings().updated(parse_assignments(changes.split()))
    run = RUNS / f"limited-{name}-{seed}"
    result, last = RESULTS / f"{run.name}.json", run / f"checkpoint-{settings.steps:08d}.npz"
    if result.exists():
        check_settings(result, dataclasses.asdict(settings), RECIPE)
        return
    train = f"tinygan train {RECIPE} --data {DATA} --seed {seed} --out {run} --set {changes}"
    measured_by = f"tinygan eval {last}"
    if (run / "config.json").exists():
        check_settings(run / "config.json", dataclasses.asdict(settings), RECIPE)
    if run.exists() and not any(run.glob("checkpoint-*.npz")):
        shutil.rmtree(run)  # stopped before its first checkpoint
    if not last.exists():
        call(f"tinygan train --resume {run}" if any(run.glob("checkpoint-*.npz")) else train)
    call(measured_by)
    lines = [[json.loads(line) for line in (run / file).read_text().splitlines()] for file in ("eval.jsonl", "log.jsonl")]
    RESULTS.mkdir(exist_ok=True)
    result.write_text(json.dumps({
        "commands": [train, measured_by], "settings": dataclasses.asdict(settings), "seconds": seconds(run / "time.jsonl"),
        "metrics": json.loads((run / "metrics.json").read_text()),
        "held_out_fid": [[row["step"], row["fid"]] for row in lines[0]],
        "log": {key: [round(float(np.mean([row[key] for row in part])), 4) for part in np.array_split(lines[1], min(40, len(lines[1])))]
                for key in ("step", "logit_real", "logit_held_out", "logit_fake", "r_t", "p") if key in lines[1][0]}},
        indent=1) + "\n")


# %% For comparison: a G that has learned its training images by heart, and draws nothing else
def measure_images(seed):
    result = RESULTS / f"limited-images-{seed}.json"
    if not result.exists():
        settings = RECIPES[RECIPE].settings().updated(parse_assignments(COMMON.split()))
        train, _ = training_data(data.load(DATA), settings, seed)
        chosen = np.random.default_rng(seed).integers(len(train), size=10_000)
        metrics = evaluate(train.images[chosen], train.labels[chosen], data.load(DATA, "test"), train, seed)
        RESULTS.mkdir(exist_ok=True)
        result.write_text(json.dumps({"metrics": metrics}, indent=1) + "\n")


# %% What came of it
def table():
    """Means and ranges over the seeds, as Markdown."""
    print("| augmentation | FID | of that without | precision | recall | class accuracy | D's logit, training images | held-out images |")
    print("|---|---|---|---|---|---|---|---|")
    without = np.mean([row["metrics"]["fid"] for row in results_of("limited-none", RESULTS)] or [np.nan])
    for name in (*NAMES, "images"):
        found = results_of(f"limited-{name}", RESULTS)
        if found:
            # Copies of an image are no distance apart, so that a recall of copies would mean nothing.
            cells = [span([None if name == "images" and key == "recall" else row["metrics"][key] for row in found], digits)
                     for key, digits in (("fid", 2), ("precision", 3), ("recall", 3), ("class_accuracy", 3))]
            ratio = np.mean([row["metrics"]["fid"] for row in found]) / without
            logits = [span([row["log"][key][-1] if "log" in row else None for row in found], 1)
                      for key in ("logit_real", "logit_held_out")]
            print(f"| {LABELS[name]} | {cells[0]} | {ratio:.2f} | {' | '.join(cells[1:] + logits)} |")


def draw(path):
    """Held-out FID over training; D's logits without augmentation; p."""
    from matplotlib.figure import Figure

    figure = Figure((10, 3), layout="constrained")
    fid, logits, p = figure.subplots(1, 3)
    for color, name in zip(("tab:gray", "tab:blue", "tab:pink", "tab:red"), NAMES):
        for i, row in enumerate(results_of(f"limited-{name}", RESULTS)):
            steps, values = zip(*row["held_out_fid"])
            fid.plot(steps, values, color=color, label=LABELS[name] if i == 0 else None)
            if name == "none" and i == 0:
                for key, label in (("logit_real", "training images"), ("logit_held_out", "held-out images"), ("logit_fake", "fakes")):
                    logits.plot(row["log"]["step"], row["log"][key], label=label)
            if name == "ada":
                p.plot(row["log"]["step"], row["log"]["p"], color="tab:red", label="p" if i == 0 else None)
                p.plot(row["log"]["step"], row["log"]["r_t"], color="tab:purple", alpha=0.5, label="r_t" if i == 0 else None)
    fid.set(ylabel="FID (held-out images)", yscale="log", xlabel="step")
    fid.set_yticks((2, 3, 4, 6, 10), ("2", "3", "4", "6", "10"))
    fid.minorticks_off()
    logits.set(ylabel="D's logit, no augmentation", xlabel="step")
    p.axhline(0.3, color="black", linestyle=":", linewidth=1)
    p.set(ylabel="ADA", xlabel="step")
    for axes in (fid, logits, p):
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, fontsize=8)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100)


# %%
if __name__ == "__main__":
    args = arguments(__doc__, NAMES, seeds=(0, 1, 2))
    if not args.table:
        for seed in args.seeds:
            measure_images(seed)
            for name in args.names or NAMES:
                measure(name, seed)
    table()
    draw(PICTURES / "limited.png")
