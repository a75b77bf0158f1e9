"""check_gradient: hand-written derivatives of NumPy functions, in every form that people give."""

import numpy as np
import pytest
from mistakes import error_of
from scipy import optimize, sparse
from scipy.sparse.linalg import aslinearoperator

from tinygan import GradientError, check_gradient

pytestmark = pytest.mark.cpu
A = np.random.default_rng(0).standard_normal((5, 4))
X = np.random.default_rng(1).standard_normal(4)
Y = np.array([0.0, 1, 1, 0, 1])


def nll(w, x=A, y=Y):
    """The loss of logistic regression."""
    return np.mean(np.logaddexp(0, x @ w) - y * (x @ w))


def nll_gradient(w, x=A, y=Y):
    return x.T @ (1 / (1 + np.exp(-(x @ w))) - y) / len(y)


def nll_hessian(w):
    p = 1 / (1 + np.exp(-(A @ w)))
    return (A.T * (p * (1 - p))) @ A / len(Y)


def residuals(x):
    return np.sin(A @ x) * x[0]


def jacobian(x):
    result = np.cos(A @ x)[:, None] * A * x[0]
    result[:, 0] += np.sin(A @ x)
    return result


def fails(*args, message="the gradient of", **settings):
    with pytest.raises(GradientError) as failure:
        check_gradient(*args, **settings)
    text = str(failure.value)
    assert message in text and "\n" not in text, text
    return failure.value


def names_of(report):
    return {witness.name.split(",")[0] for witness in report.witnesses}


def test_every_form_of_a_right_derivative_passes():
    one = check_gradient(nll, nll_gradient, X)
    assert len(one) == 1 and one[0] < 1e-10 and one.orders[0].miss < 1e-6
    check_gradient(nll, nll_gradient(X), X)  # the array itself
    check_gradient(lambda w: (nll(w), nll_gradient(w)), True, X)  # SciPy's jac=True
    check_gradient(nll, nll_gradient, list(X))
    check_gradient(nll, nll_gradient, X, args=(A[:3], Y[:3]))
    check_gradient(nll, None, X, vjp=lambda w, g: g * nll_gradient(w))
    check_gradient(nll, None, X, jvp=lambda w, v: nll_gradient(w) @ v)
    check_gradient(residuals, jacobian, X)
    check_gradient(residuals, lambda x: sparse.csr_array(jacobian(x)), X)
    check_gradient(residuals, lambda x: aslinearoperator(jacobian(x)), X)
    check_gradient(nll, nll_gradient, [X])  # a single argument in a list
    check_gradient(lambda x, a: a * np.sum(x), lambda x, a: a * np.ones(4), X, args=2.0)
    check_gradient(
        residuals,
        jacobian,
        X,
        jvp=lambda x, v: jacobian(x) @ v,
        vjp=lambda x, w: w @ jacobian(x),
        mode="full",
    )
    check_gradient(lambda x: x**3, lambda x: 3 * x * x, 1.7)
    check_gradient(lambda x: x**3, lambda x: np.diag(3 * x * x), [1.0, 2.0])
    check_gradient(lambda m: np.sum(m @ m), lambda m: (m.sum(0)[:, None] + m.sum(1)).T.T, np.eye(2))


def test_hessians_are_compared_with_gradients_and_with_values():
    report = check_gradient(nll, nll_gradient, X, hessian=nll_hessian)
    assert len(report) == 2 and max(report) < 1e-9 and "symmetry" in names_of(report)
    assert len(check_gradient(nll, None, X, hessian=nll_hessian)) == 1
    check_gradient(nll, nll_gradient, X, hessp=lambda w, v: nll_hessian(w) @ v)
    check_gradient(nll, nll_gradient(X), X, hessian=nll_hessian(X))  # arrays, for one point
    x = np.array([1.3, 0.7, 0.8, 1.9])
    check_gradient(optimize.rosen, optimize.rosen_der, x, hessian=optimize.rosen_hess)
    for wrong in (lambda w: 2 * nll_hessian(w), lambda w: nll_hessian(w) * (1 + 1e-7)):
        fails(
            nll, nll_gradient, X, hessian=wrong, message="nll, order 2: the gradient of w is wrong"
        )
        fails(nll, None, X, hessian=lambda w: 1.001 * wrong(w), message="nll, order 2")
    skew = np.triu(np.ones((4, 4)), 1)
    fails(nll, nll_gradient, X, hessian=lambda w: nll_hessian(w) + 1e-6 * (skew - skew.T))


@pytest.mark.parametrize("size", [1.0, 1e-3, 1e-5, 1e-7])
def test_small_mistakes_are_found_and_named(size):
    def one_entry(w):
        g = nll_gradient(w)
        g[2] *= 1 + size
        return g

    error = fails(
        nll, one_entry, X, message="nll, order 1: the gradient of w is wrong at index (2,)"
    )
    failure = error.report.failure
    assert failure.derivative / failure.difference == pytest.approx(1 + size, rel=1e-9)
    assert error.report == [] and failure.claimed[2] == one_entry(X)[2]

    def factor(x):
        return jacobian(x) * (1 + size)

    for given in (
        {"gradient": factor},
        {"gradient": None, "jvp": lambda x, v: factor(x) @ v},
        {"gradient": None, "vjp": lambda x, w: w @ factor(x)},
    ):
        with pytest.raises(GradientError, match="residuals, order 1: the gradient of x is wrong"):
            check_gradient(residuals, x=X, **given)


def test_several_arguments():
    def product(a, b):
        return a @ b

    def gradients(a, b):
        return (np.einsum("ik,lj->ijkl", np.eye(2), b), np.einsum("ik,jl->ijkl", a, np.eye(2)))

    a, b = np.random.default_rng(2).standard_normal((2, 2, 2))
    report = check_gradient(product, gradients, (a, b), jvp=lambda a, b, v, w: v @ b + a @ w)
    assert list(report.orders[0].errors) == ["a", "b"]
    assert {"adjoint", "bilinearity of the gradient"} <= names_of(report)
    check_gradient(product, None, [a, b], vjp=lambda a, b, w: (w @ b.T, a.T @ w))
    wrong = lambda a, b, w: (w @ b.T, a @ w)
    fails(product, None, (a, b), vjp=wrong, message="the gradient of b is wrong at index")


def test_the_complex_step_is_a_witness_for_analytic_functions_only():
    analytic = check_gradient(lambda x: np.exp(x).sum(), np.exp, X)
    assert "complex step" in names_of(analytic)
    for f, g in (
        (lambda x: np.abs(x).sum(), np.sign),
        (lambda x: (x * np.conj(x)).sum(), lambda x: 2 * x),
        (lambda x: float((x * x).real.sum()), lambda x: 2 * x),
        (lambda x: np.asarray(x, np.float64).sum(), np.ones_like),
    ):
        assert "complex step" not in names_of(check_gradient(f, g, X))


def test_functions_in_float32_have_noise():
    f = lambda x: np.float32(np.sum(np.sin(np.float32(x))))
    report = check_gradient(f, np.cos, X)
    assert 1e-6 < report.orders[0].noise < 0.1
    fails(f, lambda x: 1.3 * np.cos(x), X)


def test_functions_with_noise():
    """Such as a solver that stops early. The report says what cannot be seen."""

    def noisy(x):
        return np.sum(np.sin(x)) + 1e-7 * np.sin(1e18 * np.sum(x))

    for seed in range(1 * 40):
        (order,) = check_gradient(noisy, np.cos, X, seed=seed).orders
        assert order.method == "extrapolation" and "noise" in order.how()
        assert order.eps > 1e-4 and f"off by {order.eps:.1e}" in order.chance()
        fails(noisy, lambda x: 1.01 * np.cos(x), X, seed=seed)


def test_what_is_handed_in_stays_as_it_is():
    def careless(w):
        w *= 2
        return nll(w / 2)

    x = X.copy()
    check_gradient(careless, nll_gradient, x)
    assert np.array_equal(x, X)


def test_bad_calls_are_one_clear_line():
    cases = [
        ((nll, nll_gradient), {}, "needs x"),
        ((nll, None, X), {}, "needs one of gradient, jvp"),
        ((nll, nll_gradient, X + 1j), {}, "must hold real numbers, not complex"),
        ((nll, nll_gradient, X * np.nan), {}, "infinite numbers or NaN"),
        (
            (nll, lambda w: nll_gradient(w)[:2], X),
            {},
            "gradient must have the shape (4,), not (2,)",
        ),
        ((residuals, lambda x: jacobian(x).T, X), {}, "is it transposed?"),
        ((residuals, lambda x: x, X), {}, "use vjp="),
        ((lambda x: "text", nll_gradient, X), {}, "must return real numbers or NumPy arrays"),
        ((lambda x: x + 1j, nll_gradient, X), {}, "not complex128"),
        ((nll, nll_gradient, X), {"hessian": 1, "hessp": 1}, "hessp must be a function"),
        ((nll, nll_gradient, X), {"hessian": 1, "hessp": max}, "give hessian or hessp, not both"),
        ((nll, nll_gradient, X), {"mode": "fast"}, "mode must be 'random' or 'full'"),
        ((nll, nll_gradient, X), {"eps": 0}, "eps must be between 0 and 1, not 0"),
        ((nll, nll_gradient, X), {"rtol": -1}, "rtol must be 0 or more, not -1"),
        ((nll, nll_gradient, X), {"step": 0}, "step must be more than 0, not 0"),
        ((nll, nll_gradient, X), {"names": ["w", "b"]}, "names has 2 names, but there are 1"),
        ((residuals, jacobian, X), {"hessian": nll_hessian}, "functions that return a number"),
        ((nll, nll_gradient, (X, X)), {"hessian": nll_hessian}, "functions of one argument"),
        ((nll, nll_gradient, X), {"hessian": lambda w: w}, "Hessian must have the shape (4, 4)"),
        ((nll, None, X), {"jvp": 3}, "jvp must be a function"),
        ((residuals, None, X), {"jvp": lambda x, v: v}, "jvp must return an array of shape (5,)"),
        ((residuals, None, X), {"vjp": lambda x, w: w}, "vjp must return"),
        ((lambda a, b: a + b, lambda a, b: a, (X, X)), {}, "must return a tuple of 2 arrays"),
        ((lambda a, b: a @ b, lambda a, b: (a, b, a), (X, X)), {}, "a tuple of 2 arrays"),
        ((residuals, None, X), {"vjp": lambda x, w: None}, "vjp must return real numbers"),
        ((np.dot, None, (X, X)), {"vjp": lambda a, b, w: w}, "vjp must return a tuple of 2"),
        ((nll, True, X), {}, "the function must return (value, gradient)"),
        ((nll, nll_gradient, ([1, [2]],)), {}, "x has lists of different lengths"),
        ((3.0, nll_gradient, X), {}, "f must be a function, not float"),
        ((nll, "2-point", X), {}, "gradient must be a function, arrays or True, not '2-point'"),
        ((nll, X, nll_gradient), {}, "x must hold real numbers, not function"),
        ((nll, nll_gradient, X), {"mode": "fast"}, "mode must be 'random' or 'full'"),
        ((nll, nll_gradient, X), {"eps": 0}, "eps must be between 0 and 1, not 0"),
        ((nll, nll_gradient, X), {"miss": 2}, "miss must be between 0 and 1, not 2"),
        ((nll, nll_gradient, X), {"step": 0}, "step must be more than 0, not 0"),
        ((nll, nll_gradient, X), {"rtol": -1}, "rtol must be 0 or more, not -1"),
        ((nll, nll_gradient, X), {"names": ["a", "b"]}, "names has 2 names, but there are 1"),
    ]
    for args, settings, message in cases:
        assert message in error_of(check_gradient, *args, **settings)


def test_functions_that_change_from_call_to_call():
    noise = np.random.default_rng(0)
    fails(lambda x: noise.standard_normal() * x.sum(), np.ones_like, X, message="fix the seed")


def test_entries_below_the_noise_are_counted():
    x = np.array([1e-8, 1.0, 1e8])
    report = check_gradient(lambda x: np.sum(x**2), lambda x: 2 * x, x, mode="full")
    assert "in 1 of them, rounding or noise of f exceeds" in report.describe()
    assert "rounding or noise" not in check_gradient(nll, nll_gradient, X, mode="full").describe()
