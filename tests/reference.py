"""Helpers that turn golden files (tests/golden), with PyTorch's names and layouts, into tinygan's
state_dicts, and compare them."""

import json
from pathlib import Path

import numpy as np
from host import host
from torch_draws import drawn

from tinygan import grad

GOLDEN = Path(__file__).parent / "golden"


class Golden:
    """The arrays of tests/golden/NAME.npz; `files` has their names.

    Those that PyTorch's generator drew are drawn again. The file lists them in `drawn`.
    """

    def __init__(self, name):
        with np.load(GOLDEN / f"{name}.npz") as file:
            self.arrays = {key: file[key] for key in file.files}
        for key, *place, shape in json.loads(str(self.arrays.pop("drawn", "[]"))):
            self.arrays[key] = drawn(*place, tuple(shape))
        self.files = [*self.arrays]

    def __getitem__(self, key):
        return self.arrays[key].copy()


def images(array):
    """Images in NCHW, as NHWC."""
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1))


def weight(array):
    """A PyTorch weight, OIHW or IOHW, as HWIO; a linear layer's, (out, in), as (in, out)."""
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T


def group(file, prefix):
    """The arrays whose names begin with `prefix`: {name without the prefix: array}."""
    return {key[len(prefix) :]: file[key] for key in file.files if key.startswith(prefix)}


def assert_equal(actual, expected):
    """Assert that two dicts of arrays are equal: no difference exceeds 1e-9 of the largest value.

    An array missing from `actual`, such as the gradient of a parameter on which the loss does not
    depend, counts as 0.
    """
    zeros = {name: np.zeros_like(value) for name, value in expected.items() if not value.any()}
    actual = zeros | {name: host(value) for name, value in actual.items()}
    assert actual.keys() == expected.keys()
    scale = max(np.abs(value).max() for value in expected.values())
    for name in expected:
        assert actual[name].shape == expected[name].shape, name
        assert np.abs(actual[name] - expected[name]).max() <= 1e-9 * scale, name


def assert_images(actual, expected):
    """`assert_equal` for the first images (N, H, W, C) of a batch, the only ones in the file (there
    in NCHW). The gradients in the file are of the whole batch."""
    expected = images(expected)
    assert len(expected) > 1
    assert_equal({"images": actual[: len(expected)]}, {"images": expected})


def gradients(loss, network):
    """The gradients of all parameters that the loss depends on: {name: array}."""
    names = [name for name, _ in network.named_parameters()]
    found = zip(names, grad(loss, network.parameters()))
    return {name: host(g) for name, g in found if g is not None}


class Replay:
    """A stand-in for a generator whose next draw is given."""

    def __init__(self, draw):
        self.draw = draw

    def random(self, shape):
        return self.draw.reshape(shape)
