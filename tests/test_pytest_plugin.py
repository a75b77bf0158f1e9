"""Gradient checks in pytest: the fixture, the assertion, and what the report of a failure shows."""

import os
import subprocess
import sys
import unittest
from pathlib import Path

import numpy as np
import pytest

import tinygan
import tinygan_pytest
from tinygan import GradientError, assert_gradient, check_gradient, ops, tensor
from tinygan.errors import InputError

pytestmark = pytest.mark.cpu  # functions of NumPy arrays
ROOT = Path(__file__).parents[1]

TESTS = """
import unittest
import numpy as np
from tinygan import assert_gradient, check_grads, nn
from tinygan.autograd import op

@op
def wrong(x, /):
    return x.data**3, lambda g: g * 2.0 * x * x

@op
def right(x, /):
    return x.data**3, lambda g: g * 3.0 * x * x

def helper(gradcheck, x):
    gradcheck(wrong, x)  # the line in the helper

def energy(x):
    return float(np.sum(x**2))

def test_right(gradcheck):
    assert len(gradcheck(right, np.ones(3), order=1, seed=2)) == 1
    gradcheck.gradient(energy, lambda x: 2 * x, np.ones(3))
    gradcheck.module(nn.Linear(3, 2), np.ones((4, 3)))

def test_fixture(gradcheck):
    helper(gradcheck, np.ones((2, 3)))

def test_function():
    check_grads(wrong, np.arange(1.0, 3.0), mode="full")

def test_assertion():
    assert_gradient(np.array([2.0, 4.0, 6.003]), energy, np.array([1.0, 2.0, 3.0]))

def test_bad_input(gradcheck):
    gradcheck.gradient(energy, lambda x: x[:2], np.ones(3))

def test_another_error():
    assert energy(np.ones(3)) == 4

class Tests(unittest.TestCase):
    def test_unittest(self):
        assert_gradient(np.array([7.0]), energy, np.array([1.0]))

def test_notes():
    try:
        assert_gradient(np.full(2, 9.0), energy, np.ones(2))
    except AssertionError as error:
        error.__notes__ = [*getattr(error, "__notes__", ()), "a note"]  # as hypothesis does
        raise
"""


def run_pytest(folder, *options):
    """Run pytest in a folder, without the plugins that are installed; return its output."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", *options],
        capture_output=True,
        text=True,
        cwd=folder,
        env={
            # Where these two exist, pytest's summary repeats whole reports; elsewhere first lines.
            **{k: v for k, v in os.environ.items() if k not in ("CI", "BUILD_NUMBER")},
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "200",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
    )
    assert done.returncode in (0, 1) and done.stderr == "", (done.stdout, done.stderr)
    return done.stdout


def test_a_report_shows_the_gradients_and_ends_at_the_line_of_the_test(tmp_path):
    """Also from another process (xdist), and in every kind of test."""
    (tmp_path / "conftest.py").write_text('pytest_plugins = "tinygan_pytest"\n')
    (tmp_path / "test_user.py").write_text(TESTS)
    out = run_pytest(tmp_path, "-p", "xdist.plugin", "-n", "1")
    assert "7 failed, 1 passed" in out
    for message in (
        "E       tinygan.GradientError: wrong, order 1: the gradient of x is wrong at index (",
        ">       gradcheck(wrong, x)  # the line in the helper",
        '>       check_grads(wrong, np.arange(1.0, 3.0), mode="full")',
        "energy, order 1: the gradient of x is wrong at index (2,): derivative 6.003, differences ",
        "tinygan.errors.InputError: check_gradient: the gradient must have the shape (3,), not",
        "derivative 7, differences 2",
        "derivative 9, differences 2",
        "assert 3.0 == 4",
        "FAILED test_user.py::test_function - tinygan.GradientError: wrong, order 1: the gradient",
    ):
        assert message in out, out
    assert out.count(" index         derivative        differences") == 5
    assert out.count("The Taylor remainder falls with the power 1.00") == 5
    assert out.count("a note") == 1  # on Python 3.10, exceptiongroup prints it, which pytest needs
    # Nothing of tinygan's own code, nor of NumPy's.
    assert "checker.py" not in out and "report.py" not in out and "_ufunc_config" not in out
    assert "tinygan_pytest.py" not in out and "another exception occurred" not in out


def test_pytest_does_not_import_tinygan_until_a_test_uses_it(tmp_path):
    (tmp_path / "test_user.py").write_text(
        "import sys\n"
        "def test_one():\n    assert not {'tinygan', 'numpy'} & {*sys.modules}\n"
        "def test_two(gradcheck):\n    assert not {'tinygan', 'numpy'} & {*sys.modules}\n"
    )
    out = run_pytest(tmp_path, "-p", "tinygan_pytest")
    assert "2 passed" in out, out


def test_the_package_registers_the_plugin():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert '[project.entry-points.pytest11]\ntinygan_pytest = "tinygan_pytest"' in text
    assert 'py-modules = ["tinygan_pytest"]' in text


@pytest.mark.parametrize(
    "call, function",
    [
        (lambda check: check(1, 2, order=3), "check_grads"),
        (lambda check: check.gradient(1, 2, 3, seed=4), "check_gradient"),
        (lambda check: check.module(1, 2, order=2), "check_module"),
        (lambda check: check.training_step("gan", data="ring"), "check_training_step"),
    ],
)
def test_the_fixture_calls_the_functions_of_tinygan(monkeypatch, call, function):
    calls = []
    for name in ("check_grads", "check_gradient", "check_module", "check_training_step"):
        keep = lambda *args, name=name, **options: calls.append((name, args, options)) or "report"
        monkeypatch.setattr(tinygan, name, keep, raising=False)
    assert call(tinygan_pytest.GradientChecks()) == "report"
    ((name, args, options),) = calls
    assert name == function and args and options


# ---- assert_gradient ----


def test_what_is_no_gradient():
    with pytest.raises(GradientError, match="the gradient of x is None, no array"):
        assert_gradient(None, lambda x: np.sum(x), np.ones(3))
    with pytest.raises(InputError, match="f must be a function, not ndarray"):
        assert_gradient(np.sum, np.ones(3), np.ones(3))


def rng():
    return np.random.default_rng(0)


def loss(x, w):
    return float(np.sum(np.tanh(x @ w)))


X, W = rng().standard_normal((3, 4)), rng().standard_normal(4)
SLOPE = 1 - np.tanh(X @ W) ** 2
IN_X, IN_W = SLOPE[:, None] * W, X.T @ SLOPE


def differs(actual, f, x, message, **settings):
    with pytest.raises(GradientError) as failure:
        assert_gradient(actual, f, x, **settings)
    assert message in str(failure.value) and "\n" not in str(failure.value), failure.value
    return failure.value


def test_a_right_gradient_passes():
    assert_gradient((IN_X, IN_W), loss, (X, W))
    assert_gradient(IN_W, lambda w: loss(X, w), W, mode="full", seed=3)
    assert_gradient(3.0, lambda x: x**3, 1.0)
    assert_gradient(2.0 * np.eye(4), lambda w: 2.0 * w, W)  # a Jacobian


def test_a_wrong_gradient_does_not():
    wrong = np.where(np.arange(4) == 1, 1 + 1e-6, 1.0) * IN_W
    error = differs((IN_X, wrong), loss, (X, W), "loss, order 1: the gradient of w is wrong at ")
    assert "index (1,)" in str(error) and "derivative" in error.describe().split("\n")[2]
    differs(np.full(4, np.nan), lambda w: loss(X, w), W, "the gradient of w is wrong")
    differs(wrong, lambda v: loss(X, v), W, "of the weight is wrong", names=["the weight"])
    assert_gradient(wrong, lambda w: loss(X, w), W, rtol=1e-5)
    assert_gradient(wrong, lambda w: loss(X, w), W, atol=1e-5)


def test_a_gradient_of_another_shape_does_not():
    differs((IN_X, IN_W[None]), loss, (X, W), "the gradient of w has shape (1, 4), not (4,)")
    differs(IN_X, loss, (X, W), "2 arguments, but 1 gradient")


def test_the_gradient_of_a_tensor():
    def tanh_loss(w):
        return ops.sum(ops.tanh(ops.matmul(tensor(X, dtype=w.dtype), w)))

    for dtype in ("float32", "float64"):
        w = tensor(W, dtype=dtype, requires_grad=True)
        tanh_loss(w).backward()
        assert_gradient(w.grad, tanh_loss, w)
        differs(w.grad * 1.001, tanh_loss, w, "tanh_loss, order 1: the gradient of w is wrong")


def test_a_gradient_in_single_precision_may_be_as_rough_as_that():
    """Its rounding is no mistake, also where the function is linear, or analytic (complex step)."""
    assert_gradient(np.full(4, 1 / 3, np.float32), lambda w: np.sum(w) / 3, W)
    assert_gradient(np.sin(W).astype(np.float32), lambda w: -np.sum(np.cos(w)), W)
    assert_gradient((np.float32(IN_X), IN_W), loss, (X, W))
    differs(np.float32(1.001 * IN_W), lambda w: loss(X, w), W, "the gradient of w is wrong")
    differs(IN_W * (1 + 1e-7), lambda w: loss(X, w), W, "the gradient of w is wrong")


def test_a_gradient_that_is_known_at_a_kink_alone_is_not_compared_elsewhere():
    x = np.array([0.0, 1.0, -2.0])
    f = lambda x: np.sum(np.sin(np.maximum(x, 0.0)))
    error = differs((x > 0) * np.cos(x), f, x, "the gradient of x is wrong at index (0,)")
    assert error.kink and "f has a kink at this point" in error.describe()
    check_gradient(f, lambda x: (x > 0) * np.cos(x), x)  # known everywhere: the point is moved


def test_the_error_is_an_assertion_of_a_short_name():
    error = differs(IN_W * 2, lambda w: loss(X, w), W, "is wrong")
    assert isinstance(error, AssertionError)
    assert f"{type(error).__module__}.{type(error).__qualname__}" == "tinygan.GradientError"
    with pytest.raises(unittest.TestCase.failureException):
        raise error


def test_an_error_without_details_describes_itself():
    assert GradientError("one line").describe() == "one line"
    noise = rng()
    with pytest.raises(GradientError, match="two runs on the same inputs") as failure:
        tinygan.check_grads(lambda x: x * noise.standard_normal(), np.ones(3))
    assert failure.value.describe() == str(failure.value)
