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


def weighted(w):
    return float(np.sum(np.tanh(w) * np.arange(1, 6)))


def gradient_of_weighted(w):
    return (1 - np.tanh(w) ** 2) * np.arange(1, 6)


def rounded(digits):
    return lambda w: round(weighted(w), digits)


def jittering(size):
    return lambda w: weighted(w) + size * np.sin(1e9 * float(np.sum(w * np.arange(1, 6))))


def in_float32(w):
    return float(np.sum(np.tanh(w.astype(np.float32)) * np.arange(1, 6, dtype=np.float32)))


@pytest.mark.parametrize("seed", [3, 4, 5])
@pytest.mark.parametrize("f", [*map(rounded, (4, 5, 6, 8, 10)), in_float32, jittering(1e-3)])
def test_no_gradient_at_all_does_not_pass_because_f_rounds_or_jitters(f, seed):
    w = normal(5, seed=seed)
    caught(f, lambda w: 0 * w, w)
    check_gradient(f, gradient_of_weighted, w)


@pytest.mark.parametrize("size", [1, 10])
def test_where_nothing_can_be_seen_no_gradient_at_all_does_not_pass_either(size):
    for gradient in (gradient_of_weighted, lambda w: 0 * w):
        message = caught(jittering(size), gradient, normal(5, seed=3))
        assert "cannot be checked" in message
    assert "0 is claimed" in message


def test_a_derivative_of_0_between_steps_is_told_from_one_of_a_staircase():
    w = normal(5, seed=3)
    for steps in (10, 255):
        check_gradient(lambda x: float((np.floor(steps * x) / steps).sum()), lambda x: 0 * x, w)
    with pytest.raises(GradientError) as error:
        check_gradient(rounded(5), lambda w: 0 * w, w)
    assert "f does not change at all at small steps: it rounds" in error.value.describe()


@pytest.mark.parametrize("x", [np.zeros(3), np.array([0.0, 1.0, -2.0])])
def test_a_kink_is_seen_where_the_slopes_on_both_sides_cancel(x):
    total = lambda x: np.abs(x).sum()
    report = check_gradient(total, np.sign, x)
    assert report.orders[0].moved and "moved off a kink" in report.describe()
    caught(total, lambda x: 0.5 * np.sign(x), x)
    report = check_gradient(total, np.sign(x), x)  # known here only: it cannot be moved
    assert report.orders[0].at_a_kink and "the mean of the slopes" in report.describe()
    wrong_at_0 = lambda x: np.where(x == 0, 5, np.sign(x))
    message = caught(total, wrong_at_0, x)
    assert "derivative 5, differences 1," in message
    with pytest.raises(GradientError) as error:
        check_gradient(total, wrong_at_0, x)
    assert "does not lie between those of both sides, -1 and 1" in error.value.describe()


def test_at_a_stationary_point_the_report_says_what_would_pass_too():
    text = check_gradient(lambda x: x @ x, lambda x: 2 * x, np.zeros(3)).describe()
    assert "a gradient that is 0 everywhere would pass, too: check at another point" in text


@pytest.mark.parametrize("mode", ["random", "full"])
def test_the_wrong_row_of_a_jacobian_is_named(mode):
    a, x = normal(6, 3), normal(3, seed=1)

    def jacobian(x):
        result = (1 - np.tanh(a @ x) ** 2)[:, None] * a
        result[4, 1] *= 1.001
        return result

    with pytest.raises(GradientError) as error:
        check_gradient(lambda x: np.tanh(a @ x), jacobian, x, mode=mode)
    (wrong,) = error.value.report.failure.results
    assert wrong.name == "result at index (4,)"
    assert wrong.derivative / wrong.difference == pytest.approx(1.001, rel=1e-8)
    text = error.value.describe()
    assert "By the entry (1,), these derivatives are wrong:\n  result at index (4,): " in text


def test_an_offset_before_batch_norm_has_no_influence():
    check_grads(lambda x, b: ops.batch_norm(x + b) * 3.0, [normal(8, 3), normal(3, seed=1)])


@pytest.mark.parametrize("distance, seed", [(-1.5e-6, 7), (1e-6, 114)])
def test_a_kink_of_the_slope_nearby_is_no_mistake(distance, seed):
    """Three steps across it may look as if the derivative were wrong by 1e-8."""
    x = np.array([distance, 1.7, -0.6])
    check_gradient(lambda x: abs(x) * x, lambda x: np.diag(2 * abs(x)), x, seed=seed)
    check_grads(lambda x: ops.maximum(x, -x) * x, x, seed=seed)
