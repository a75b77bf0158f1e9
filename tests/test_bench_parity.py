"""The workloads of `python -m demos.bench` are the same in tinygan, PyTorch and JAX: with the same
weights, they have the same losses."""

import importlib

import numpy as np
import pytest

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
