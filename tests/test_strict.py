"""The strict stand-in for CuPy (strict.py) is as strict as it claims, and it notices NumPy arrays
among those of the backend in every part of the package."""

import functools
import re

import numpy as np
import pytest
import strict
from test_architecture import FILES, PACKAGE, part
from test_training import start

from tinygan import Parameter, backend, data, grad, kernels, nn, ops, optim, tensor
from tinygan.gan import penalties
from tinygan.gan.augment.ada import ADA
from tinygan.metrics.extractor import Extractor
from tinygan.models import stylegan2

# They compare NumPy with the strict backend, so another backend adds nothing.
pytestmark = pytest.mark.cpu


@pytest.fixture
def xp():
    with strict.use_strict():
        yield backend.xp


def test_strict_arrays_and_numpy_arrays_do_not_mix(xp):
    device, host = backend.asarray(np.arange(3.0)), np.arange(3.0)
    for mixed in (
        lambda: device + host,
        lambda: host + device,
        lambda: device @ host,
        lambda: host @ device,
        lambda: device < host,
        lambda: xp.add(device, host),
        lambda: xp.concatenate([device, host]),
        lambda: xp.sum(host),
        lambda: xp.exp(host),
        lambda: xp.add.at(device, host.astype(int), device),
        lambda: np.add(host, device),
        lambda: np.exp(device),
        lambda: np.asarray(device),
        lambda: np.concatenate([device, host]),
        lambda: np.array(device),
        lambda: device[host.astype(int)],
        lambda: device[host > 1],
        lambda: device[(np.array([0]),)],
        lambda: device.__setitem__(0, host[:1]),
        lambda: device.__setitem__(slice(None), host),
        lambda: device.__setitem__(host > 1, 0.0),
        lambda: host.__setitem__(slice(None), device),
        lambda: xp.exp(device, out=host),
        lambda: np.exp(host, out=device),
        lambda: device.dot(host),
        lambda: host.dot(device),
        lambda: device.__iadd__(host),
        lambda: xp.where(host > 1, device, device),
        lambda: xp.asarray(device.data),
        lambda: xp.asarray(memoryview(host)),
    ):
        with pytest.raises((TypeError, ValueError)):
            mixed()
    assert device.get().tolist() == host.tolist() == [0, 1, 2]


def test_operations_on_strict_arrays(xp):
    a = backend.asarray(np.arange(6.0, dtype=np.float32).reshape(2, 3))
    for result in (
        a + 1,
        1 - a,
        a * np.float32(2),
        np.float64(2) * a,
        a.sum(),
        a.max(0),
        a[0, 0],
        a[a > 2],
        a.T,
        -a,
        xp.exp(a),
        a @ a.T,
        a.reshape(-1),
        xp.concatenate([a, a]),
        a.astype("float64"),
    ):
        assert type(result) is xp.ndarray is strict.StrictArray
    total = a.sum()
    assert total.shape == () and total.item() == float(total) == 15 and bool(a[0, 1] > 0)
    assert a.dtype == np.float32 and a.shape == (2, 3) and len(a) == 2 and len(list(a)) == 2
    assert a.base is None and a.T.base is a and a.T[1:].base is a and (a + 1).base is None
    b = a
    b += 1
    assert b is a and a.get()[0, 0] == 1 and xp.negative(a, out=b) is b
    a[0] = 7.0
    a[1] = a[0]
    assert a.get().tolist() == [[7, 7, 7]] * 2
    assert type(backend.to_numpy(a)) is np.ndarray and xp.asarray(a) is a and xp.array(a) is not a
    assert not backend.on_cpu()


def test_use_strict_restores_the_backend(xp):
    with pytest.raises(KeyError):
        with strict.use_strict():
            raise KeyError
    assert backend.active() is strict.module


# Mistakes are planted in the package: something that a file uses is replaced by something that
# leaves an array in host memory. The functions below do work that must notice it.


def images(n=4, size=8, channels=1):
    return np.random.default_rng(0).uniform(-1, 1, (n, size, size, channels)).astype("float32")


def convolution(_):
    x, w = (tensor(a, requires_grad=True) for a in (images(channels=3), images(3, 3)))
    grad(ops.sum(ops.conv2d(x, w)), [x, w])


def arithmetic(_):
    x = tensor(images(), requires_grad=True)
    grad(ops.sum(ops.tanh(x) * x), x)


def bilinear(_):
    x = tensor(images(), requires_grad=True)
    grad(ops.sum(ops.upsample_bilinear(x)), x)


def spectral_norm(_):
    layer = nn.SpectralNorm(nn.Linear(8, 3), rng=np.random.default_rng(0))
    grad(ops.sum(layer(tensor(np.ones((2, 8), "float32")))), layer.parameters())


def gradient_penalty(_):
    x = backend.asarray(images())
    penalties.wgan_gp(
        lambda x: ops.sum(ops.square(x), (1, 2, 3)), x, 2 * x, np.random.default_rng(0)
    )


def augmentation(_):
    x = tensor(images(), requires_grad=True)
    grad(ops.sum(ADA("color", 1.0)(x, np.random.default_rng(0))), x)


def discriminator(_):
    D = stylegan2.Discriminator(8, 1, (3, 2), rng=np.random.default_rng(0))
    grad(ops.sum(D(tensor(images()))), D.parameters())


def optimiser_step(_):
    w = Parameter(images())
    optim.Adam([w], 0.1).step([tensor(images())])


def training_step(tmp_path):
    full = data.load("digits")
    digits = data.Dataset("digits", "train", full.images[:40], full.labels[:40], full.class_names)
    start(tmp_path / "run", digits).algorithm.train_step()


def evaluation(_):
    Extractor("digits")(data.load("digits", "test").images[:8])


class XpWith:
    """`xp`, with some functions replaced."""

    def __init__(self, **functions):
        vars(self).update(functions)

    def __getattr__(self, name):
        return getattr(backend.xp, name)


def on_the_host(make):
    return make()


def uniform_on_the_host(rng, low, high, shape, dtype):
    return rng.uniform(low, high, shape).astype(dtype)


def downloaded(method):
    @functools.wraps(method)
    def call(*args):
        result = method(*args)
        result.data = backend.to_numpy(result.data)
        return result

    return call


# (part, what is replaced there, its replacement, work that uses it)
MISTAKES = [
    ("kernels", "kernels.conv.xp", np, convolution),
    ("kernels", "kernels.cuda.conv.xp", np, convolution),
    ("autograd", "autograd.engine.xp", np, arithmetic),
    ("ops", "ops.elementwise.xp", np, arithmetic),
    ("ops", "ops.resample.asarray", np.asarray, bilinear),
    ("nn", "nn.spectral.asarray", np.asarray, spectral_norm),
    ("gan", "gan.penalties.uniform", uniform_on_the_host, gradient_penalty),
    ("gan", "gan.augment.ada.from_host", on_the_host, augmentation),
    (
        "models",
        "models.stylegan2.Discriminator.features",
        downloaded(stylegan2.Discriminator.features),
        discriminator,
    ),
    ("optim", "optim.xp", XpWith(zeros_like=lambda w: np.zeros(w.shape, w.dtype)), optimiser_step),
    ("training", "training.execution.from_host", on_the_host, training_step),
    ("metrics", "metrics.extractor.to_numpy", lambda array: array, evaluation),
]


@pytest.mark.parametrize(
    "target, replacement, work", [row[1:] for row in MISTAKES], ids=[row[1] for row in MISTAKES]
)
def test_a_planted_mistake_is_noticed(target, replacement, work, tmp_path, monkeypatch):
    """Only with the mistake does the strict backend fail; NumPy accepts even the mistake."""
    if target.startswith("kernels."):
        kernels.use("fast" if "cuda" in target else "plain")
    with strict.use_strict():
        work(tmp_path / "without")
    monkeypatch.setattr(f"tinygan.{target}", replacement)
    backend.use("numpy")
    work(tmp_path / "numpy")
    with strict.use_strict():
        errors = TypeError, ValueError, AttributeError
        with pytest.raises(errors, match="ndarray|StrictArray|memoryview"):
            work(tmp_path / "with")


def test_every_part_that_creates_arrays_has_a_planted_mistake():
    """Except for the op table, which serves tests, and the laboratory, whose arrays become
    Parameters and Tensors of networks."""
    creates = re.compile(
        r"^from tinygan\.backend import .*\b(xp|asarray|from_host|normal|uniform)\b", re.MULTILINE
    )
    parts = {
        part(file) for file in FILES if creates.search((PACKAGE / file).read_text(encoding="utf-8"))
    }
    assert parts - {"optable", "lab"} == {row[0] for row in MISTAKES}
