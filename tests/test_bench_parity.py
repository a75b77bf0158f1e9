"""The workloads of `python -m demos.bench` are the same in PyTorch and JAX: from the same weights, the same losses."""

import importlib

import numpy as np
import pytest

from demos.bench.worker import VARIANTS
from demos.bench.workloads import WORKLOADS
from tinygan.backend import to_numpy

STEPS = [(w.name, part) for w in WORKLOADS.values() for part in w.weights]
SIDES = [(library, variant) for library, variants in VARIANTS.items() for variant in variants]
BATCH = 8

# Relative errors allowed: to the first losses, and to the next. There, rounding errors have been through Adam, whose
# first steps are as long for gradients that are next to nothing as for others; and a unit that they put on the other
# side of zero (one of 50,000 of the DCGAN, in its first step) has another slope, and changes gradients by 1%.
FIRST, LATER, LATER_DCGAN = 2e-5, 2e-4, 2e-3


def jobs(library, variant, name):
    """tinygan's Job and the library's, the latter with weights of its own."""
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
    assert (
        np.abs(expected[1:] - expected[:-1]) > 2 * LATER * np.abs(expected[:-1])
    ).any()  # so that standing still would fail


@pytest.mark.parametrize("library, variant", SIDES)
def test_other_weights_have_other_losses(library, variant):
    ours, theirs, _ = jobs(library, variant, "mlp")
    difference = np.array(ours.parts["step"]()) / theirs.parts["step"]() - 1
    assert np.abs(difference).max() > LATER_DCGAN
