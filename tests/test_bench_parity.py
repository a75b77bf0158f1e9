"""The workloads of `python -m demos.bench` are the same in tinygan, PyTorch and JAX: with the same
weights, they have the same losses."""

import importlib

import numpy as np
import pytest

from demos.bench import recipes
from demos.bench.worker import VARIANTS
from demos.bench.workloads import WORKLOADS
from tinygan.backend import to_numpy

STEPS = [(w.name, part) for w in WORKLOADS.values() for part in w.weights]
SIDES = [(library, variant) for library, variants in VARIANTS.items() for variant in variants]
BATCH = 8

# The relative errors that are allowed in the first losses and in the later ones. By then, rounding
# errors have been amplified in two ways. Adam's first steps are as long for tiny gradients as for
# others. And if a rounding error moves a unit to the other side of zero (one of 50,000 units of the
# DCGAN, in its first step), leaky ReLU has another slope there, which changes gradients by 1%.
FIRST, LATER, LATER_DCGAN = 2e-5, 2e-4, 2e-3


def jobs(library, variant, name):
    """Return tinygan's Job, the library's Job (with its own weights), and the library's module."""
    pytest.importorskip(library)
    side, workload = importlib.import_module(f"demos.bench.{library}_side"), WORKLOADS[name]
    assert library in side.version().lower()
    ours, theirs = (
        workload.make(BATCH, workload.image_size),
        side.make(name, BATCH, workload.image_size, variant),
    )
    assert ours.parts.keys() == theirs.parts.keys() == workload.weights.keys()
    return ours, theirs, side


@pytest.mark.parametrize("library, variant", SIDES)
@pytest.mark.parametrize("name, part", STEPS)
def test_three_steps_have_the_losses_of_tinygan(name, part, library, variant):
    ours, theirs, side = jobs(library, variant, name)
    side.load(
        theirs.networks,
        [[np.array(to_numpy(p.data)) for p in net.parameters()] for net in ours.networks],
    )
    expected, losses = (np.array([job.parts[part]() for _ in range(3)]) for job in (ours, theirs))
    np.testing.assert_allclose(losses[0], expected[0], rtol=FIRST)
    np.testing.assert_allclose(losses, expected, rtol=LATER_DCGAN if name == "dcgan" else LATER)
    # The losses change by more than the tolerance, so that weights that never change would fail.
    changes = np.abs(expected[1:] - expected[:-1])
    assert (changes > 2 * LATER * np.abs(expected[:-1])).any()


@pytest.mark.parametrize("library, variant", SIDES)
def test_different_weights_have_different_losses(library, variant):
    ours, theirs, _ = jobs(library, variant, "mlp")
    difference = np.array(ours.parts["step"]()) / theirs.parts["step"]() - 1
    assert np.abs(difference).max() > LATER_DCGAN


class DrawsOfTinygan:
    """The random numbers that an Algorithm is about to draw, as PyTorch's tensors."""

    def __init__(self, algorithm):
        self.algorithm, self.rng = algorithm, np.random.Generator(np.random.PCG64())
        self.rng.bit_generator.state, self.turn = algorithm.rng.bit_generator.state, 0

    def normal(self, *shape):
        return self.tensor(self.rng.standard_normal(shape, dtype=np.float32))

    def integers(self, high, n):
        return self.tensor(self.rng.integers(high, size=n))

    def indices(self):
        a, self.turn = self.algorithm, self.turn + 1
        return self.tensor(a.dataset.batch_indices(self.turn - 1, a.batch_size, a.seed))

    def tensor(self, array):
        return pytest.importorskip("torch").from_numpy(array)


def without_zeros(adam):
    """Return `adam` of torch_side, made to skip parameters whose gradient is 0.

    R1's derivative with respect to some biases is 0. There, tinygan's gradient is None, so that
    Adam leaves the bias and its moments alone. PyTorch's gradient is an array of zeros, after which
    Adam's moments are smaller.
    """

    def make(network, lr, betas, eps, change_gradients):
        def change(parameters):
            if change_gradients:
                change_gradients(parameters)
            for parameter in parameters:
                if parameter.grad is not None and not parameter.grad.any():
                    parameter.grad = None

        return adam(network, lr, betas, eps, change)

    return make


COMPILED = pytest.param(  # PyTorch's compiler warns of its own code
    "compiled", marks=[pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
)


@pytest.mark.parametrize("variant", [*VARIANTS["torch"], COMPILED])
@pytest.mark.parametrize("name", recipes.RECIPES)
def test_the_steps_of_a_recipe_have_the_losses_of_tinygan(name, variant, monkeypatch):
    """Both sides draw the same random numbers. All losses and penalties of a cycle of steps, and of
    the first step of the next, are compared, and then the averages of G. With this eps, Adam's
    steps for tiny gradients are short, and so do not amplify rounding errors."""
    pytest.importorskip("torch")
    from demos.bench import torch_recipes

    monkeypatch.setattr(torch_recipes, "adam", without_zeros(torch_recipes.adam))
    ours = recipes.algorithm(name, BATCH, eps=1e-2)
    draws = DrawsOfTinygan(ours)
    theirs = torch_recipes.Training(name, BATCH, variant, draws=draws, eps=1e-2)
    first, steps = [], recipes.steps_per_cycle(ours.settings) + 1
    for step in range(steps):
        numbers = ours.train_step()
        expected = np.array([numbers[key] for key in recipes.LOSSES if key in numbers])
        np.testing.assert_allclose(theirs.step(), expected, rtol=LATER if step else FIRST)
        first = first if step else expected
    assert (np.abs(expected / first - 1) > 2 * LATER).all()
    assert len(first) == {"recipe quick": 3, "recipe dcgan": 2, "recipe stylegan2": 4}[name]

    def learnt(values):
        moving = ("running_mean", "running_var", "w_average")
        return [x for path, x in values if path.split(".")[-1] in moving]

    average = ours.ema.module
    mine = [p.data for p in average.parameters()] + learnt(average.named_buffers())
    others = [*theirs.average.parameters(), *learnt(theirs.average.named_buffers())]
    for array, tensor in zip(mine, others, strict=True):  # their axes are in different orders
        np.testing.assert_allclose(
            np.sort(tensor.detach().numpy(), None), np.sort(array, None), rtol=2e-3, atol=2e-6
        )


def test_a_recipe_of_the_bench_is_that_of_the_command_line():
    for name, workload in recipes.RECIPES.items():
        settings, batch = recipes.recipe_of(name).settings(), workload.batch_size
        a = recipes.algorithm(name, batch)
        assert a.settings == settings and a.dataset.image_shape[0] == workload.image_size
        assert a.settings.augment == "none"  # torch_recipes has no augmentation
        (share,) = workload.weights.values()
        assert share * recipes.steps_per_cycle(settings) == 1


def test_a_recipe_with_other_weights_has_other_losses():
    pytest.importorskip("torch")
    from demos.bench import torch_recipes

    numbers = recipes.algorithm("recipe dcgan", BATCH).train_step()
    theirs = torch_recipes.Training("recipe dcgan", BATCH, "contiguous", seed=1).step()
    assert np.abs(np.array(theirs) / [numbers["d_loss"], numbers["g_loss"]] - 1).max() > LATER
