"""The strict stand-in for CuPy (strict.py) is as strict as it says; and in each part of the package, a NumPy array
beside those of the backend is noticed."""

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

pytestmark = pytest.mark.cpu  # on NumPy and on the strict backend, whatever else there is


@pytest.fixture
def xp():
    with strict.use_strict():
        yield backend.xp


def test_strict_arrays_and_numpy_arrays_do_not_mix(xp):
    ours, theirs = backend.asarray(np.arange(3.0)), np.arange(3.0)
    for mixed in (
        lambda: ours + theirs,
        lambda: theirs + ours,
        lambda: ours @ theirs,
        lambda: theirs @ ours,
        lambda: ours < theirs,
        lambda: xp.add(ours, theirs),
        lambda: xp.concatenate([ours, theirs]),
        lambda: xp.sum(theirs),
        lambda: xp.exp(theirs),
        lambda: xp.add.at(ours, theirs.astype(int), ours),
        lambda: np.add(theirs, ours),
        lambda: np.exp(ours),
        lambda: np.asarray(ours),
        lambda: np.concatenate([ours, theirs]),
        lambda: np.array(ours),
        lambda: ours[theirs.astype(int)],
        lambda: ours[theirs > 1],
        lambda: ours[(np.array([0]),)],
        lambda: ours.__setitem__(0, theirs[:1]),
        lambda: ours.__setitem__(slice(None), theirs),
        lambda: ours.__setitem__(theirs > 1, 0.0),
        lambda: theirs.__setitem__(slice(None), ours),
        lambda: xp.exp(ours, out=theirs),
        lambda: np.exp(theirs, out=ours),
        lambda: ours.dot(theirs),
        lambda: theirs.dot(ours),
        lambda: ours.__iadd__(theirs),
        lambda: xp.where(theirs > 1, ours, ours),
        lambda: xp.asarray(ours.data),
        lambda: xp.asarray(memoryview(theirs)),
    ):
        with pytest.raises((TypeError, ValueError)):
            mixed()
    assert ours.get().tolist() == theirs.tolist() == [0, 1, 2]


def test_what_a_strict_array_does(xp):
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
    assert (
        a.sum().shape == () and a.sum().item() == 15 and float(a.sum()) == 15 and bool(a[0, 1] > 0)
    )
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


def test_the_backend_comes_back(xp):
    with pytest.raises(KeyError):
        with strict.use_strict():
            raise KeyError
    assert backend.active() is strict.module


# A mix that is planted in the package: something that a file uses is replaced by what leaves an array in host memory.


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


def judgement(_):
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


class Mostly:
    """`xp`, but for some functions."""

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


PLANTS = [  # the part, what is replaced there, by what, and work that comes across it
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
        judgement,
    ),
    ("optim", "optim.xp", Mostly(zeros_like=lambda w: np.zeros(w.shape, w.dtype)), optimiser_step),
    ("training", "training.execution.from_host", on_the_host, training_step),
    ("metrics", "metrics.extractor.to_numpy", lambda array: array, evaluation),
]


@pytest.mark.parametrize(
    "target, replacement, work", [row[1:] for row in PLANTS], ids=[row[1] for row in PLANTS]
)
def test_a_planted_mix_is_noticed(target, replacement, work, tmp_path, monkeypatch):
    """Where it is planted and only there; and on NumPy it is no mistake."""
    if target.startswith("kernels."):
        kernels.use("fast" if "cuda" in target else "plain")
    with strict.use_strict():
        work(tmp_path / "without")
    monkeypatch.setattr(f"tinygan.{target}", replacement)
    backend.use("numpy")
    work(tmp_path / "numpy")
    with strict.use_strict():
        with pytest.raises(
            (TypeError, ValueError, AttributeError), match="ndarray|StrictArray|memoryview"
        ):
            work(tmp_path / "with")


def test_every_part_that_makes_arrays_has_a_plant():
    """But for the table of ops, which is no part of what they look at."""
    makes = re.compile(
        r"^from tinygan\.backend import .*\b(xp|asarray|from_host|normal|uniform)\b", re.MULTILINE
    )
    parts = {
        part(file) for file in FILES if makes.search((PACKAGE / file).read_text(encoding="utf-8"))
    }
    assert parts - {"optable"} == {row[0] for row in PLANTS}
