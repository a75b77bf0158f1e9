"""What users run: the whole training steps of three recipes, as `tinygan train RECIPE` makes them.

They include everything that the recipe's settings ask for: the batch by index from the data in
memory, the penalties at every k-th update, the average of G, and the numbers for the log. The
lazy penalties of a recipe return after a cycle of steps, so that whole cycles are measured.
"""

import math

from tinygan import data
from tinygan.models.recipe import Recipe
from tinygan.training import recipes
from tinygan.training.algorithm import Algorithm
from tinygan.training.trainer import training_data

from .workloads import WORKLOADS, Job, Workload, find

PREFIX = "recipe "
# The numbers of a step that both sides return, in this order.
LOSSES = "d_loss", "penalty", "g_loss", "path_penalty"


def recipe_of(name: str) -> Recipe:
    """Return the recipe of a workload such as "recipe quick"."""
    return recipes.find(name.removeprefix(PREFIX))


def algorithm(name: str, batch_size: int, seed: int = 0, **changes) -> Algorithm:
    """Return the Algorithm of a workload's recipe on the built-in digits, without those that
    `tinygan train` holds out. changes: settings that replace the recipe's."""
    recipe = recipe_of(name)
    settings = recipe.settings().updated({"batch_size": batch_size} | changes)
    dataset, _ = training_data(data.load("digits").padded(settings.pad), settings, seed)
    return Algorithm(recipe, settings, dataset, seed)


def steps_per_cycle(settings) -> int:
    """Return the number of steps until the lazy penalties of D and of G are due together again."""
    return math.lcm(
        settings.penalty_every if settings.r1 else 1,
        settings.path_every if settings.path_length else 1,
    )


def cycle(step, settings):
    """Return a function that calls step() for a whole cycle, and returns the losses of all its
    steps in turn."""
    steps = range(steps_per_cycle(settings))
    return lambda: tuple(loss for _ in steps for loss in step())


def workload(name: str, target: float) -> Workload:
    """Return the Workload of a recipe. Its only part is a cycle of steps, of which a step is a
    share."""
    name, recipe = PREFIX + name, recipes.find(name)
    settings = recipe.settings()
    size = data.load("digits").image_shape[0] + 2 * settings.pad

    def make(batch_size, image_size):
        a = algorithm(name, batch_size)

        def step():
            numbers = a.train_step()
            return tuple(numbers[key] for key in LOSSES if key in numbers)

        return Job([a.G, a.D], {"cycle": cycle(step, settings)})

    weights = {"cycle": 1 / steps_per_cycle(settings)}
    return Workload(name, recipe.summary, make, settings.batch_size, size, target, weights)


RECIPES = {
    w.name: w for w in (workload("quick", 1.0), workload("dcgan", 1.0), workload("stylegan2", 1.0))
}
ALL = WORKLOADS | RECIPES


def find_any(name):
    """Return the Workload of this name in RECIPES, WORKLOADS or AUGMENTED."""
    return RECIPES[name] if name in RECIPES else find(name)
