"""The search for the best digits that an hour on two cores can learn.

    python demos/hour.py                     # all candidates that are not done yet: hours
    python demos/hour.py quick cosine        # some candidates, with seed 0
    python demos/hour.py quick --seeds 0 1 2
    python demos/hour.py --table             # only print the table, as Markdown

The candidates train on MNIST without its held-out images, and are compared with these, by two
classifiers. The shipped one gives the FID of all other tables. The second one decides: it has
another architecture and another seed, so that a recipe does not win by what suits the first alone.
(FIDs of different features cannot be compared with each other.) A candidate takes about a quarter
of an hour on two quiet cores; the last three, for the whole hour, take longer. You can stop at any
time: the next call resumes the unfinished run. Results are in demos/results/hour.json; the runs are
in runs/hour/.
"""

# %%
import sys
from pathlib import Path

import numpy as np
from classifier import AUGMENTATIONS
from results import RESULTS, is_stored, parse_arguments, rows_of, train_to_the_end, training_seconds

from tinygan import data, nn, ops
from tinygan.errors import InputError
from tinygan.files import is_file, npz, replacing
from tinygan.metrics import Evaluator, Extractor, learning
from tinygan.study import mean_and_range, result_files
from tinygan.training import sampling

SAMPLES, FILE, RUNS = 10_000, RESULTS / "hour.json", Path("runs/hour")

# %% The candidates: name: (description, recipe, steps, settings)

COMMON = "sample_every=2000 checkpoint_every=2000"
DECAY = "lr=cosine:0.002:0 ema=.9995"
CANDIDATES = {
    "quick": ("`quick`, trained for longer", "quick", 30_000, ""),
    "average": ("`quick`, longer, averaged over more steps", "quick", 30_000, "ema=.9998"),
    "cosine": ("the learning rate falls to 0", "quick", 30_000, DECAY),
    "wide": (
        "`cosine`, with twice the channels",
        "quick",
        12_000,
        f"{DECAY} g_channels=64 d_channels=64",
    ),
    "wide-d": ("`cosine`, with twice the channels in D", "quick", 18_000, f"{DECAY} d_channels=64"),
    "relativistic": (
        "`cosine`, with the relativistic loss, R1 and R2",
        "quick",
        26_000,
        f"{DECAY} loss=relativistic r2=.2",
    ),
    "ada": ("`cosine`, with ADA", "quick", 20_000, f"{DECAY} augment=ada"),
    "consistency": ("`cosine`, with bCR", "quick", 20_000, f"{DECAY} cr=10 bcr=10"),
    "r3gan": ("`r3gan`", "r3gan", 6_000, ""),
    # Candidates for the whole hour: the best of the above together
    "ada-wide": (
        "`ada` and `wide`, for an hour",
        "quick",
        30_000,
        f"{DECAY} augment=ada g_channels=64 d_channels=64",
    ),
    "ada-relativistic": (
        "`ada` and `relativistic`, for an hour",
        "quick",
        50_000,
        f"{DECAY} augment=ada loss=relativistic r2=.2",
    ),
    "ada-wide-relativistic": (
        "`ada`, `wide` and `relativistic`, for an hour",
        "quick",
        30_000,
        f"{DECAY} augment=ada g_channels=64 d_channels=64 loss=relativistic r2=.2",
    ),
}


def command(name, seed):
    """Return (the command that trains a candidate, its folder, its number of steps)."""
    _, recipe, steps, changes = CANDIDATES[name]
    run = RUNS / f"{name}-{seed}"
    settings = f"{changes} steps={steps} eval_every={steps} {COMMON}".strip()
    train = f"tinygan train {recipe} --data mnist --seed {seed} --out {run} --set {settings}"
    return train, run, steps


# %% The second classifier


class SecondClassifier(nn.Module):
    """Images (N, 28, 28, 1) -> logits (N, 10), through 64 features: three strided 5x5 convolutions
    with leaky rectifiers, and the mean over positions."""

    image_shape = (28, 28, 1)

    def __init__(self, *, rng):
        layers = []
        for inputs, outputs in (1, 32), (32, 64), (64, 64):
            conv = nn.Conv2d(inputs, outputs, 5, stride=2, padding=2, bias=False, rng=rng)
            layers += [conv, nn.BatchNorm(outputs), nn.LeakyReLU(0.1)]
        self.body, self.head = nn.Sequential(*layers), nn.Linear(64, 10, rng=rng)

    def features(self, x):
        return ops.mean(self.body(x), (1, 2))

    def forward(self, x):
        return self.head(self.features(x))


class SecondExtractor(Extractor):
    """Computes the features of the second classifier, which it trains unless `path` has its
    weights."""

    def __init__(self, path: Path) -> None:
        rng = np.random.default_rng([1, 0, 1])
        net, mnist = SecondClassifier(rng=rng), data.load("mnist").hold_out()[0]
        if not is_file(path):
            steps = 8 * (len(mnist) // 128)
            learning.train(net, mnist, AUGMENTATIONS["mnist"], rng, steps, 128, 1, "classifier 2")
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                npz.write(file, net.state_dict())
        with np.load(path) as arrays:
            net.load_state_dict(dict(arrays))
        accuracy = learning.accuracy_on(net.eval(), data.load("mnist", "test"))
        self._set(net, (28, 28, 1), 2, 10, accuracy)
        self.title = f"second MNIST classifier ({accuracy:.1%})"
        self.description = f"second MNIST classifier, 64 features, {accuracy:.1%} on its test set"


# %% A candidate: train, then compare the averaged G of the last step with the held-out images


def measure(name, seed, evaluators, again=False):
    """Train and measure a candidate, as far as it is not done yet, and store its numbers.

    evaluators: {"shipped": the Evaluator with the shipped classifier, "second": the other}.
    """
    train, run, steps = command(name, seed)
    if is_stored(FILE, f"{name}-{seed}", train, run, again):
        return
    G, _, _ = sampling.load_generator(train_to_the_end(train, run, steps))
    labels = sampling.classes_in_turn(G, SAMPLES)
    z = sampling.latents(np.random.default_rng([seed, 5]), SAMPLES, G)
    images = sampling.generate(G, z, labels)
    row = {
        "command": train,
        "seconds": training_seconds(run / "time.jsonl"),
        **{which: evaluator.quick(images, labels) for which, evaluator in evaluators.items()},
    }
    result_files.update_json(FILE, lambda old: old | {f"{name}-{seed}": row})
    print(f"{name}, seed {seed}: FID {row['second']['fid']:.3f} and {row['shipped']['fid']:.3f}")


# %%
def table():
    """Print the table as Markdown, with the best candidate by the second classifier first."""
    results = result_files.read_json(FILE)
    rows = {name: rows_of(results, name) for name in CANDIDATES}
    rows = {name: seeds for name, seeds in rows.items() if seeds}
    if not rows:
        print("(not measured yet)")
        return
    print("| candidate | minutes | FID, second classifier | FID | precision | recall |")
    print("|---|---|---|---|---|---|")
    fid = lambda name: np.mean([row["second"]["fid"] for row in rows[name]])
    for name in sorted(rows, key=fid):
        cells = [
            mean_and_range([row[which][key] for row in rows[name]], digits)
            for which, key, digits in (
                ("second", "fid", 3),
                ("shipped", "fid", 2),
                ("shipped", "precision", 3),
                ("shipped", "recall", 3),
            )
        ]
        minutes = min(row["seconds"] for row in rows[name]) / 60
        print(f"| `{name}`: {CANDIDATES[name][0]} | {minutes:.0f} | {' | '.join(cells)} |")


# %%
if __name__ == "__main__":
    args = parse_arguments(__doc__, CANDIDATES)
    try:
        if not args.table:
            _, held_out = data.load("mnist").hold_out()
            second = SecondExtractor(RUNS / "second.npz")
            evaluators = {
                "shipped": Evaluator(held_out),
                "second": Evaluator(held_out, extractor=second),
            }
            for seed in args.seeds:
                for name in args.names or CANDIDATES:
                    measure(name, seed, evaluators, args.again)
    except InputError as error:
        sys.exit(str(error))
    table()
