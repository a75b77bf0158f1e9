"""Reading golden files (tests/golden), which hold PyTorch's names and layouts, as tinygan's state_dicts."""

from pathlib import Path

import numpy as np
from host import host

from tinygan import grad

GOLDEN = Path(__file__).parent / "golden"


def images(array):
    """NCHW as our NHWC."""
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1))


def kernel(array):
    """OIHW and IOHW as our HWIO; dense (out, in) as (in, out)."""
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T


def group(file, prefix):
    """{name: array} of the arrays under `prefix`, without it."""
    return {key[len(prefix) :]: file[key] for key in file.files if key.startswith(prefix)}


def assert_equal(actual, expected):
    """Equal as a group: the largest difference within 1e-9 of the largest value. Every array is compared.

    A gradient that we do not have, because the loss does not depend on that parameter, is one of 0.
    """
    actual = {name: np.zeros_like(value) for name, value in expected.items() if not value.any()} | {
        name: host(value) for name, value in actual.items()
    }
    assert actual.keys() == expected.keys()
    scale = max(np.abs(value).max() for value in expected.values())
    for name in expected:
        assert actual[name].shape == expected[name].shape, name
        assert np.abs(actual[name] - expected[name]).max() <= 1e-9 * scale, name


def assert_images(actual, expected):
    """`assert_equal` of as many images (N, H, W, C) of a batch as the file keeps (NCHW); its gradients are of all."""
    expected = images(expected)
    assert len(expected) > 1
    assert_equal({"images": actual[: len(expected)]}, {"images": expected})


def gradients(loss, network):
    """{name: array} of the gradients of all parameters that the loss reaches."""
    names = [name for name, _ in network.named_parameters()]
    return {
        name: host(g) for name, g in zip(names, grad(loss, network.parameters())) if g is not None
    }


class Replay:
    """A generator whose next draw is known."""

    def __init__(self, draw):
        self.draw = draw

    def random(self, shape):
        return self.draw.reshape(shape)
