"""Tests of accuracy: elementwise ops, losses and softmax are right to their last digits over the
whole range of numbers, and so are their first and second derivatives."""

import accuracy
import numpy as np
import pytest
from accuracy import FUNCTIONS, NAMES, ROWS
from host import host

from tinygan import grad, ops, tensor
from tinygan.autograd import op, wrap
from tinygan.backend import asarray
from tinygan.gan.losses import LOSSES
from tinygan.optable import ROWS as TABLE

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
LIMIT = 8  # ulps
# What is less accurate, with its largest measured error.
EXCEPTIONS = {("softmax", "2nd derivative"): 9.4}


@DTYPES
@pytest.mark.parametrize("name", [*FUNCTIONS, *ROWS])
def test_values_and_derivatives_are_right_to_a_few_ulps(name, dtype, kernel_set):
    measure = accuracy.row_errors if name in ROWS else accuracy.errors
    for order, (error, point) in zip(NAMES, measure(name, dtype)):
        limit = EXCEPTIONS.get((name, order), LIMIT)
        assert error <= limit, f"{order} of {name}: {error:.3g} ulp at {point}"


def test_every_elementwise_op_and_every_loss_is_measured():
    elementwise = {getattr(ops, name) for name in vars(ops.elementwise) if name in ops.__all__}
    names = {op.__name__ for op in elementwise} | {"mse_loss", "l1_loss", "cross_entropy"}
    names |= {"binary_cross_entropy_with_logits", "softmax", "log_softmax", "logsumexp"}
    assert names <= FUNCTIONS.keys() | ROWS.keys()
    assert names <= {row.name.split()[0] for row in TABLE}
    # D's losses of bce and bce-minimax are the same; G's of hinge is that of wasserstein.
    assert set(LOSSES) <= {name.split(",")[0] for name in FUNCTIONS}


@op
def sigmoid_of_tanh(x, /):
    y = 0.5 + 0.5 * np.tanh(0.5 * host(x))
    return asarray(y), lambda g: g * ops.sigmoid(x) * ops.sigmoid(-x)


@op
def sigmoid_with_derivative_of_y(x, /):
    return ops.sigmoid(x).data, lambda g, y: g * (y * (1.0 - y))


@DTYPES
def test_the_usual_forms_which_lose_small_values_are_found(dtype, monkeypatch):
    for order, function in enumerate([sigmoid_of_tanh, sigmoid_with_derivative_of_y]):
        monkeypatch.setitem(FUNCTIONS, "sigmoid", FUNCTIONS["sigmoid"]._replace(ours=function))
        errors = [error for error, _ in accuracy.errors("sigmoid", dtype)]
        assert errors[order] > 1e6 and all(error < LIMIT for error in errors[:order])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_infinities(dtype, kernel_set):
    inf, nan = np.inf, np.nan
    x = tensor([-inf, inf, nan], requires_grad=True, dtype=dtype)
    expected = {  # values and derivatives at -infinity, infinity and NaN
        "tanh": ([-1, 1, nan], [0, 0, nan]),
        "sigmoid": ([0, 1, nan], [0, 0, nan]),
        "softplus": ([0, inf, nan], [0, 1, nan]),
        "silu": ([0, inf, nan], [0, 1, nan]),
        "gelu": ([0, inf, nan], [0, 1, nan]),
        "normal_cdf": ([0, 1, nan], [0, 0, nan]),
        "exp": ([0, inf, nan], [0, inf, nan]),
    }
    for name, (values, derivatives) in expected.items():
        y = getattr(ops, name)(x)
        np.testing.assert_array_equal(host(y), values, name)
        g = grad(y, x, tensor(np.ones(3), dtype=dtype))
        np.testing.assert_array_equal(host(g), derivatives, name)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logsumexp_of_infinities(dtype, kernel_set):
    """As in scipy.special.logsumexp; masked logits, -infinity, have the probability 0."""
    inf = np.inf
    for row, value in (
        ([-inf, -inf], -inf),
        ([inf, 0], inf),
        ([inf, inf, 1000], inf),
        ([inf, -inf], inf),
        ([-inf, 0], 0),
        ([-inf, 2, -inf], 2),
    ):
        x = tensor(row, requires_grad=True, dtype=dtype)
        assert ops.logsumexp(x).item() == value
        if np.isfinite(value):
            probabilities = np.isfinite(row)
            np.testing.assert_array_equal(host(ops.softmax(x)), probabilities)
            np.testing.assert_array_equal(host(grad(ops.logsumexp(x), x)), probabilities)
    assert np.isnan(ops.logsumexp(tensor([np.nan, 0], dtype=dtype)).item())


def test_softmax_over_any_axes():
    x = np.random.default_rng(0).normal(size=(2, 3, 4)) * 20
    for axis in (0, 1, -1, (0, 2), None):
        ours = host(ops.softmax(tensor(x), axis))
        e = np.exp(x - x.max(axis, keepdims=True))
        np.testing.assert_allclose(ours, e / e.sum(axis, keepdims=True), rtol=1e-13)
        logs = host(ops.log_softmax(tensor(x), axis))
        np.testing.assert_allclose(logs, np.log(ours), rtol=1e-12, atol=1e-15)
        total = host(ops.logsumexp(tensor(x), axis, keepdims=True))
        np.testing.assert_allclose(total, np.log(np.exp(x).sum(axis, keepdims=True)), rtol=1e-13)


def test_the_target_of_a_loss_has_the_shape_of_the_logits():
    for logits, target in (
        ((4, 4), (4,)),
        ((4, 4), (4, 1)),
        ((4, 7, 7, 1), (7, 1)),
        ((4,), (4, 1)),
    ):
        for function in (ops.binary_cross_entropy_with_logits, ops.mse_loss, ops.l1_loss):
            with pytest.raises(ValueError, match="a target of shape"):
                function(tensor(np.zeros(logits)), tensor(np.ones(target)))


def test_a_singular_point_that_is_not_chosen_gives_nan_and_a_safe_argument_the_right_gradient():
    """`where`, `maximum` and `clip` multiply an infinite derivative by 0 (see ops.where)."""
    x = tensor([0.0, 2.0], requires_grad=True)
    positive = x.data > 0
    with np.errstate(all="ignore"):
        for y in (
            ops.where(positive, ops.log(x), 0.0),
            ops.maximum(ops.sqrt(x), 1.0),
            ops.clip(ops.sqrt(x), 1.0),
        ):
            g = host(grad(y.sum(), x))
            assert np.isnan(g[0]) and np.isfinite(g[1])
    safe = ops.where(positive, ops.log(ops.where(positive, x, 1.0)), 0.0)
    np.testing.assert_array_equal(host(grad(safe.sum(), x)), [0, 0.5])


def test_softmax_of_long_rows_in_any_layout(kernel_set):
    """Their sums are made of parts, as all others (test_sums.py)."""
    x = np.random.default_rng(0).normal(size=(300_000, 2)).astype(np.float32)
    for rows in (np.ascontiguousarray(x.T), x.T):
        logits = wrap(asarray(rows))
        exact = np.log(np.exp(x.astype(float)).sum(0))
        np.testing.assert_allclose(host(ops.logsumexp(logits, -1)), exact, rtol=1e-6)
        ours = host(ops.softmax(logits, -1))
        np.testing.assert_allclose(ours, np.exp(x.T - exact[:, None]), rtol=2e-6)
