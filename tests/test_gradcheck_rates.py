"""The gradient check in hard cases: right derivatives pass, wrong ones do not, and what is stated
about misses is true."""

import numpy as np
import pytest

from tinygan import GradientError, ops
from tinygan.autograd.gradcheck import check_gradient, check_grads


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def relu(x):
    return np.maximum(x, 0.0)


def slope(x):
    return (x > 0) * 1.0


def caught(f, gradient, x, **settings):
    with pytest.raises(GradientError) as error:
        check_gradient(f, gradient, x, **settings)
    return str(error.value)


def sums(f, derivative):
    return lambda x: np.sum(f(x)), derivative


HARD = {
    "undefined at most steps": (np.sqrt, lambda x: 0.5 / np.sqrt(x), [1e-9, 1.0, 2.0]),
    "of very different sizes": (np.log, lambda x: 1 / x, [1e-3, 1.0, 1e6]),
    "much faster than x": (lambda x: np.sin(1e8 * x), lambda x: 1e8 * np.cos(1e8 * x), [0.3, 2.0]),
    "in float32": (
        lambda x: np.tanh(np.float32(x)) * 1.0,
        lambda x: 1 - np.tanh(x) ** 2,
        [0.1, 1.0],
    ),
    "a jump": (lambda x: np.where(x > 0, x, x + 1), np.ones_like, [0.0, 1.0, -2.0]),
    "steps": (np.floor, np.zeros_like, [0.0, 1.0, -2.0, 0.5]),
    "saturated": (lambda x: np.tanh(40 * x), lambda x: 40 / np.cosh(40 * x) ** 2, [1.0, -1.1, 1.2]),
    "zeros of x ** 3": (lambda x: x**3, lambda x: 3 * x**2, [0.0, 0.0, 0.0]),
    "tiny results": (lambda x: 1e-200 * np.sin(x), lambda x: 1e-200 * np.cos(x), [0.1, 1.0, 2.0]),
}


@pytest.mark.parametrize("name", HARD)
def test_hard_but_right(name):
    f, derivative, x = HARD[name]
    for seed in range(8):
        check_gradient(*sums(f, derivative), np.array(x), seed=seed)


@pytest.mark.parametrize(
    "name", ["of very different sizes", "in float32", "a jump", "much faster than x"]
)
def test_hard_and_wrong(name):
    f, derivative, x = HARD[name]
    for seed in range(8):
        caught(sums(f, derivative)[0], lambda x: 1.5 * derivative(x), np.array(x), seed=seed)


def test_a_kink_at_the_point_excuses_nothing():
    for seed in range(8):
        x = normal(200, seed=seed) * (normal(200, seed=seed + 99) > 0)  # many zeros
        check_gradient(*sums(relu, slope), x, seed=seed)
        caught(sums(relu, slope)[0], lambda x: 1.001 * slope(x), x, seed=seed)
        caught(sums(relu, slope)[0], lambda x: slope(x) + 2.0 * (x == 0), x, seed=seed)


def test_ties_of_many():
    """Nearby, an entry of nine that tie may never win; and it is no mistake that it does here."""

    def first(x):
        return np.eye(9)[x.argmax(1)]

    def shared(x):
        ties = x == x.max(1, keepdims=True)
        return ties / ties.sum(1, keepdims=True)

    for seed in range(4):
        x = normal(50, 9, seed=seed) * (normal(50, 1, seed=seed + 99) > 0)
        for gradient in (first, shared):
            check_gradient(lambda x: x.max(1).sum(), gradient, x, seed=seed)
        twice = caught(lambda x: x.max(1).sum(), lambda x: (x == x.max(1, keepdims=True)) * 1.0, x)
        assert "order 1" in twice


def test_a_bend_is_no_kink():
    """A small error of a smooth function was taken for a kink, and the point moved elsewhere."""
    a, y = normal(100, 10), (normal(100, seed=1) > 0) * 1.0
    f = lambda w: np.mean(np.logaddexp(0, a @ w) - y * (a @ w))
    gradient = lambda w: a.T @ (1 / (1 + np.exp(-a @ w)) - y) / 100
    for seed in range(8):
        check_gradient(f, gradient, np.zeros(10), seed=seed)
        caught(f, lambda w: gradient(w) * (1 + 1e-9), np.zeros(10), seed=seed)


def test_noise_that_hides_even_the_sign_is_no_pass():
    noise = lambda x: np.sin(x) + 1e2 * np.sin(1e17 * x)
    assert "cannot be checked" in caught(*sums(noise, np.cos), normal(5))


@pytest.mark.parametrize(("eps", "offset"), [(1e-4, 0.0), (1e-2, 1e8), (1e-9, 0.0)])
def test_the_chance_of_a_miss_is_below_what_is_stated(eps, offset):
    missed, stated, runs = 0, [], 150
    for seed in range(runs):
        d, x = normal(20, seed=seed), normal(20, seed=seed + 9999)
        f = lambda x: 0.5 * np.sum(d * x * x) + offset
        stated.append(
            check_gradient(f, lambda x: d * x, x, seed=seed, eps=eps, miss=0.05).orders[0]
        )
        error = np.zeros(20)
        error[seed % 20] = eps * np.sqrt(np.mean((d * x) ** 2))
        try:
            check_gradient(f, lambda x: d * x + error, x, seed=seed, eps=eps, miss=0.05)
            missed += stated[-1].eps <= eps
        except GradientError:
            pass
    assert missed <= runs * max(order.miss for order in stated) + 3


def test_jacobian_vector_products_state_a_chance_too():
    report = check_gradient(lambda x: x**3, x=normal(9), jvp=lambda x, v: 3 * x**2 * v).orders[0]
    assert 1e-30 < report.miss <= 1e-6 and report.eps < 1e-3


def test_an_argument_claimed_to_be_without_influence():
    f = lambda a, b: 1e9 * np.sum(a * a) + 1e-3 * np.sum(b)
    x = normal(5), 1e-2 * normal(4)
    caught(f, lambda a, b: (2e9 * a, 0 * b), (x[0] * 0, x[1]))
    check_gradient(f, lambda a, b: (2e9 * a, 1e-3 + 0 * b), x)


def test_gradients_that_underflow_in_float32():
    check_grads(lambda x: x * x * x, 1e-25 * normal(6))
    check_grads(ops.sigmoid, -200 + normal(6))


def test_an_offset_before_batch_norm_has_no_influence():
    check_grads(lambda x, b: ops.batch_norm(x + b) * 3.0, [normal(8, 3), normal(3, seed=1)])


@pytest.mark.parametrize("distance, seed", [(-1.5e-6, 7), (1e-6, 114)])
def test_a_kink_of_the_slope_nearby_is_no_mistake(distance, seed):
    """Three steps across it may look as if the derivative were wrong by 1e-8."""
    x = np.array([distance, 1.7, -0.6])
    check_gradient(lambda x: abs(x) * x, lambda x: np.diag(2 * abs(x)), x, seed=seed)
    check_grads(lambda x: ops.maximum(x, -x) * x, x, seed=seed)
