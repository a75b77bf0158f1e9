"""Write the results of one step of each recipe, on any number of ranks.

tests/test_ranks.py runs it:

mpiexec -n K python tests/tools/ranks_step.py OUT.npz [NAME ...]
"""

import sys
from pathlib import Path

import numpy as np

from tinygan import data
from tinygan.files import npz
from tinygan.kernels.cpu import parallel
from tinygan.training import ranks, recipes
from tinygan.training.algorithm import Algorithm

sys.path.append(str(Path(__file__).parents[1]))
from test_training import SMALL

BATCH = 16
# Settings that no recipe has by default.
MORE = {
    "dcgan ada": ("dcgan", {"augment": "ada", "policy": "bgc", "ada_p": 0.7}),
    "quick diffaug": ("quick", {"augment": "diffaug"}),
    "dcgan relativistic": ("dcgan", {"loss": "relativistic", "r1": 1.0, "r2": 1.0}),
    "dcgan regularised": ("dcgan", {"cr": 10.0, "bcr": 10.0, "lecam": 0.3, "lecam_start": 0}),
    "dcgan packs": ("dcgan", {"pack": 2, "d_norm": "none", "r1": 1.0, "gp": 1.0}),
    "dcgan frozen": ("dcgan", {"freeze": "D.main.0,G.main.3", "balanced_batches": True}),
    "gan maxout": ("gan", {"g_class": "concat", "d_class": "concat"}),
    "gan schedules": (
        "gan",
        {"lr": "cosine:1e-3:0", "r1": "linear:2:0:until=4", "clip_grad_norm": "linear:0.1:0.01"},
    ),
}
CASES = {**{name: (name, {}) for name in SMALL}, **MORE}


def step(name, dataset):
    """Take the first step; return {name: array} of its results.

    They are its numbers, gradients and buffers, and the states of the random generators.
    """
    recipe, changes = CASES[name]
    recipe = recipes.find(recipe)
    settings = recipe.settings().updated({"batch_size": BATCH, **SMALL[recipe.name], **changes})
    run = Algorithm(recipe, settings, dataset.padded(settings.pad))
    results = {}
    for label, optimizer in (("d", run.d_optimizer), ("g", run.g_optimizer)):

        def recorded(gradients, label=label, update=optimizer.step):
            turn = sum(key.startswith(f"{label} gradients") for key in results)
            flat = [g.data.ravel() for g in gradients if g is not None]
            results[f"{label} gradients {turn}"] = np.concatenate(flat)
            update(gradients)

        optimizer.step = recorded
    numbers = run.train_step()
    results |= {f"number {key}": np.array(value) for key, value in numbers.items()}
    for label, network in (("G", run.G), ("D", run.D)):
        results |= {f"buffer {label}.{path}": array for path, array in network.named_buffers()}
    states = [g.bit_generator.state for g in (run.rng, run.augment.rng)]
    results["generators"] = np.array(str(states))
    return results


def main(out, *names):
    ranks.join()
    full = data.load("digits")
    dataset = data.Dataset(
        "digits", "train", full.images[:200], full.labels[:200], full.class_names
    )
    with parallel.single_threaded_blas(), np.errstate(all="ignore"):
        results = {
            f"{name}: {key}": array
            for name in names or CASES
            for key, array in step(name, dataset).items()
        }
    if ranks.rank == 0:
        npz.save(out, results)


if __name__ == "__main__":
    main(*sys.argv[1:])
