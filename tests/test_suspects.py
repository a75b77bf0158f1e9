"""A wrong gradient names its usual suspects: each is proven by mistakes that are planted for it,
and is named first for no other mistake."""

import re

import numpy as np
import pytest

from tinygan import GradientError, check_grads, ops, tensor
from tinygan.autograd import op
from tinygan.autograd.gradcheck import check_gradient
from tinygan.backend import xp


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


X, V = normal(4, 5), normal(6)
SQUARE = normal(4, 4)


def constant(array):
    return tensor(np.asarray(array, np.float64))


def cube(derivative, x=X, order=1):
    """A check of the op x ** 3 with a derivative(g, x)."""

    @op(name="cube")
    def planted(x, /):
        return x.data**3, lambda g: derivative(g, x)

    return lambda: check_grads(planted, x, order=order)


def scaled(factor, x=X):
    """A check of x ** 3 whose derivative has another factor in each entry."""
    return cube(lambda g, x: 3.0 * g * x * x * constant(factor), x)


def numpy(f, gradient, x=V, **settings):
    return lambda: check_gradient(f, gradient, x, **settings)


def several(*derivatives, f=lambda a, b: a * b, order=1, inputs=None):
    """A check of an op of two arguments a and b."""

    @op(name="planted")
    def planted(a, b, /):
        first, second = derivatives
        return f(a.data, b.data), (lambda g: first(g, a, b)), (lambda g: second(g, a, b))

    return lambda: check_grads(planted, inputs or [SQUARE, normal(4, 4, seed=1)], order=order)


def normalised(stale, eps=1e-5):
    """A check of a normalisation over axis 0 whose derivative takes a statistic for a constant."""

    def f(x):
        mean = x.mean(0, keepdims=True)
        mean = mean.detach() if "mean" in stale else mean
        var = ((x - mean) ** 2).mean(0, keepdims=True)
        var = var.detach() if "variance" in stale else var
        return (x - mean) / (var + eps) ** 0.5

    return lambda: check_grads(f, normal(6, 3))


def scatter(w, g):
    """A derivative of w[[0, 1, 1, 2]] ** 2 that overwrites repeated entries."""
    result, index = np.zeros(w.shape), [0, 1, 1, 2]
    result[index] = 2 * g * w[index]
    return result


def same(*shape):
    return constant(np.ones(shape))


ENTRY = np.where(np.arange(20).reshape(4, 5) == 7, 1.01, 1.0)
COLUMNS, ROWS = np.arange(5), np.arange(4)[:, None]
LARGE = normal(40, 40)
SQUARES, SINES = (lambda w: np.sum(w**2)), (lambda w: np.sum(np.sin(w)))

# What identifies the sentence of a suspect.
SENTENCES = {
    "not finite": r"f itself is not finite",
    "edge": r"f is finite here and not close to here",
    "NaN": r"The derivative is (NaN|infinite|NaN or infinite) in",
    "spread": r"No single entry is wrong above the noise",
    "zero": r"The derivative is 0 everywhere",
    "no influence": r"The differences are 0 everywhere",
    "constant": r"is taken for a constant: the derivative with respect to \w+ is 0",
    "fraction": r"times the differences everywhere\. That is \d/\d",
    "two": r"is 2 times the differences everywhere\. That suggests a square",
    "half": r"is 0\.5 times the differences everywhere\. That suggests a square",
    "sign": r"is -1 times the differences everywhere\. That suggests the sign",
    "size": r"everywhere\. \d+ is the (number of entries|length)",
    "ddof": r"everywhere\. That is (n / \(n - 1\)|\(n - 1\) / n)",
    "mean of squares": r"everywhere\. That is (\d+ / 2|2 / \d+), and",
    "square root": r"everywhere\. That is (1 / )?sqrt\(",
    "number": r"everywhere\. That suggests (sqrt|1 / sqrt|pi|log|127|255|2 \* 2)",
    "factor": r"everywhere: a constant factor",
    "near 1": r"is 1 [-+] \S+ times the differences everywhere",
    "argument as factor": r"everywhere, which is (1 / )?\w+:",
    "depends on the point": r"times at another point",
    "float32": r"is a number of float32",
    "tiny errors": r"The relative errors are tiny",
    "swapped": r"the two are swapped",
    "rearranged": r"would be right, but",
    "other places": r"has the numbers of the differences in other places",
    "product": r"a transpose or the order of the product",
    "sum": r"of an argument that is broadcast is the sum",
    "statistics": r"f does not change when",
    "statistics by axis": r"for each index of the other axes: the (mean|variance)",
    "constant error": r"The derivative is too (large|small) by",
    "penalty": r"The error is \S+ \* \w+ in all entries",
    "power": r"(lacks|multiplied by) the (factor|square)|multiplied by .* once too often",
    "same along": r"The derivative is .*the same (along|for all entries along)",
    "by axis": r"The factor depends on the index of axis",
    "entry": r"Only the entry \(",
    "value": r"Only the entries (where|whose)",
    "index": r"Only (index|the range of indices|every \w+ index)",
    "rim": r"Only the (edge|first edge|last edge)",
    "diagonal": r"Only what is .*diagonal",
    "right sums": r"The sums over .* are right",
    "list": r"\d+ of the \d+ entries that were compared are wrong",
}

# (suspect, what the sentence also says, check)
MISTAKES = [
    ("not finite", "1 of 1 results", numpy(lambda w: np.log(w[0]), lambda w: 1 / w, np.zeros(1))),
    ("edge", "edge of where", numpy(lambda w: np.sum(np.sqrt(w)), lambda w: 0 * w, np.zeros(2))),
    ("NaN", "NaN in 1 of 20 entries", scaled(np.where(ENTRY == 1, 1, np.nan))),
    ("NaN", "exactly where w is 0",
     numpy(lambda w: np.sum(w**2), lambda w: 2 * w * w / w, np.array([1.0, 0.0, 2.0]))),
    ("NaN", "infinite in 6 of 6", numpy(SQUARES, lambda w: w + np.inf)),
    ("spread", "small error in many entries",
     numpy(lambda w: SINES(w) + 3e6, lambda w: np.cos(w) * (1 + 3e-7), normal(900))),
    ("zero", "cut off", cube(lambda g, x: g * 0.0)),
    ("zero", "detach", lambda: check_grads(lambda x: ops.exp(x.detach()) + 0.0 * x, X)),
    ("no influence", "rounds", numpy(lambda w: np.sum(np.round(w)), lambda w: np.ones(6))),
    ("constant", "In the gradient of x, x is taken",
     cube(lambda g, x: 3.0 * g * x.detach() * x.detach(), order=2)),
    ("constant", "the incoming gradient g is taken",
     cube(lambda g, x: 3.0 * g.detach() * x * x, order=2)),
    ("constant", "In the gradient of b, a is taken",
     several(lambda g, a, b: g * b, lambda g, a, b: g * a.detach(), order=2)),
    ("fraction", "1/2: of 2 equal", cube(lambda g, x: 3.0 * g * x * x.detach(), order=2)),
    ("two", "1/2 of f", cube(lambda g, x: 6.0 * g * x * x)),
    ("two", "1/2 of f", numpy(lambda w: 0.5 * np.sum(w**2), lambda w: 2 * w)),
    ("two", "1/2 of f", numpy(lambda w: 0.5 * w**2, lambda w: 2 * w, 0.3)),
    ("two", "1/2 of f", numpy(SQUARES, None, jvp=lambda w, v: 4 * np.sum(w * v))),
    ("half", "used twice", numpy(SQUARES, lambda w: w)),
    ("half", "used twice", lambda: check_grads(lambda x: ops.sum(x * x.detach()), X)),
    ("sign", "b - a", cube(lambda g, x: -3.0 * g * x * x)),
    ("sign", "b - a", numpy(lambda w: np.mean((1 - w) ** 2), lambda w: (1 - w) / 3)),
    ("size", "20 is the number of entries of x .* mean there, and the derivative is that of a sum",
     cube(lambda g, x: 60.0 * g * x * x)),
    ("size", "20 is the number of entries of x .* sum there, and the derivative is that of a mean",
     cube(lambda g, x: 0.15 * g * x * x)),
    ("size", "5 is the length of axis 1 of x", cube(lambda g, x: 15.0 * g * x * x)),
    ("size", "12 is the number of entries along the axes .0, 1. of",
     cube(lambda g, x: 36.0 * g * x * x, normal(3, 4, 2))),
    ("ddof", "n = 6 is", numpy(np.var, lambda w: 2 * (w - w.mean()) / 5)),
    ("ddof", "n = 6 is", numpy(lambda w: np.var(w, ddof=1), lambda w: 2 * (w - w.mean()) / 6)),
    ("mean of squares", "6 / 2", numpy(lambda w: np.mean(w**2), lambda w: w)),
    ("mean of squares", "2 / 6", numpy(lambda w: np.sum(w**2) / 2, lambda w: w / 3)),
    ("square root", "20", scaled(np.sqrt(20))),
    ("number", "a gain", scaled(np.sqrt(2))),
    ("number", "log2", numpy(lambda w: np.sum(np.log2(abs(w))), lambda w: 1 / w)),
    ("factor", "2.001", scaled(2.001)),
    ("factor", "3.7", numpy(lambda w: 3.7 * np.sin(w), np.cos, 0.4)),
    ("factor", "3.7", numpy(lambda w: 3.7 * np.sum(np.sin(w)), np.cos(V), V)),
    ("near 1", r"1 \+ 1e-07", scaled(1 + 1e-7)),
    ("near 1", r"1 \+ 0.0001", scaled(1 + 1e-4)),
    ("near 1", r"1 - 2.\d*e-06", numpy(lambda w: np.sum(np.pi * w**2), lambda w: 6.28317 * w)),
    ("argument as factor", "1 / s: s is missing",
     numpy(lambda w, s: np.sin(w) * s, lambda w, s: (np.diag(np.cos(w)), np.sin(w)),
           (V, np.array(0.37)))),
    ("depends on the point", "normalised",
     numpy(SQUARES, lambda w: 2 * w / np.linalg.norm(w))),
    ("float32", "cast",
     numpy(lambda w: np.sin(w), lambda w: np.diag(np.cos(w).astype("f").astype("d")), normal(6))),
    ("tiny errors", "float32",
     numpy(SINES, lambda w: np.cos(w) * (1 + 1e-7 * np.sin(7 * np.arange(20))), normal(20))),
    ("swapped", "respect to b",
     several(lambda g, a, b: g * a * a, lambda g, a, b: 2.0 * g * a * b,
             f=lambda a, b: a**2 * b)),
    ("rearranged", "it is transposed", cube(lambda g, x: 3.0 * (g * x * x).T, SQUARE)),
    ("rearranged", "of the local derivative are transposed",
     cube(lambda g, x: 3.0 * g * (x * x).T, SQUARE)),
    ("rearranged", "of the incoming gradient are transposed",
     cube(lambda g, x: 3.0 * g.T * x * x, SQUARE)),
    ("rearranged", "reversed along axis 0",
     numpy(lambda w: np.sum(np.arange(6) * w**2), lambda w: (2 * np.arange(6) * w)[::-1])),
    ("rearranged", "shifted by 1 along axis 0",
     numpy(lambda w: np.sum(np.arange(6) * w**2), lambda w: np.roll(2 * np.arange(6) * w, 1))),
    ("rearranged", "Fortran",
     numpy(SINES, lambda w: np.cos(w).ravel(order="F").reshape(w.shape), normal(3, 4))),
    ("rearranged", "it is transposed", numpy(SINES, lambda w: np.cos(w).T, LARGE)),
    ("other places", "wrong indices",
     numpy(SINES, lambda w: np.cos(w)[[2, 0, 5, 1, 4, 3]], V)),
    ("product", r"is g @ b, .* g @ b\.T", several(
        lambda g, a, b: g @ b, lambda g, a, b: a.T @ g, f=lambda a, b: xp.matmul(a, b))),
    ("product", r"is g @ a, .* a\.T @ g", several(
        lambda g, a, b: g @ b.T, lambda g, a, b: g @ a, f=lambda a, b: xp.matmul(a, b))),
    ("sum", "over axis 1 of g, .* sum over axis 0",
     several(lambda g, a, b: g, lambda g, a, b: ops.sum(g, 1), f=lambda a, b: a + b,
             inputs=[SQUARE, normal(4, seed=1)])),
    ("sum", r"the first part along axis 0 of g \* a",
     several(lambda g, a, b: g * b, lambda g, a, b: (g * a)[0], inputs=[X, normal(5, seed=1)])),
    ("statistics", "added to all entries along axis 0", normalised("mean and variance")),
    ("statistics", "added to all entries along axis 0", normalised("mean", eps=0.1)),
    ("statistics", "multiplied with all entries along axis 0", normalised("variance", eps=0.0)),
    ("statistics", "along axis 1 of x", lambda: check_grads(
        lambda x: ops.exp(x) / ops.sum(ops.exp(x), 1, keepdims=True).detach(), X)),
    ("statistics", "of these entries", lambda: check_grads(lambda x: x - x.mean().detach(), X)),
    ("statistics by axis", "variance", normalised("variance", eps=0.1)),
    ("constant error", "0.001", cube(lambda g, x: 3.0 * g * x * x + 1e-3)),
    ("penalty", r"-0.1 \* w", numpy(lambda w: SINES(w) + 0.05 * np.sum(w**2), np.cos)),
    ("penalty", r"0.001 \* x", cube(lambda g, x: 3.0 * g * x * x + 1e-3 * x)),
    ("power", "lacks the factor x", cube(lambda g, x: 3.0 * g * x)),
    ("power", "a factor 0.66666", cube(lambda g, x: 2.0 * g * x)),
    ("power", "lacks the factor y", numpy(np.exp, lambda w: np.eye(6))),
    ("power", "1 - y .y: the result", numpy(
        lambda w: 1 / (1 + np.exp(-w)), lambda w: np.diag(1 / (1 + np.exp(-w))))),
    ("power", "multiplied by b once", several(
        lambda g, a, b: g * b * b, lambda g, a, b: g * a)),
    ("same along", "the mean of the differences",
     cube(lambda g, x: (3.0 * g * x * x).mean() * same(4, 5))),
    ("same along", "the sum of the differences over axis 1",
     cube(lambda g, x: ops.sum(3.0 * g * x * x, 1, keepdims=True) * same(4, 5))),
    ("same along", "the same along axis 0", numpy(SINES, lambda w: np.ones(6))),
    ("by axis", "axis 1 alone", scaled(1.0 + COLUMNS)),
    ("by axis", "axis 0 alone", scaled(2.0 + ROWS)),
    ("entry", r"\(1, 2\) of 20 .* 1.01 times", scaled(ENTRY)),
    ("entry", "the last one", numpy(SINES, lambda w: np.append(np.cos(w[:-1]), 0.0))),
    ("entry", r"\(1,\) of 4", numpy(lambda w: w[[0, 1, 1, 2]] ** 2, None, normal(4), vjp=scatter)),
    ("value", "w is negative", numpy(
        lambda w: np.sum(np.where(w > 0, w, 0.2 * w)), lambda w: np.where(w > 0, 1, 0.1))),
    ("value", r"\|x\| is at least", scaled(np.where(abs(X) > 1, 0.5, 1))),
    ("value", "whose number occurs twice", numpy(
        SINES, lambda w: np.cos(w) * np.array([1, 2, 2, 1, 1]), np.array([1.0, 3, 3, 2, 5]))),
    ("index", "index 4 .the last. of axis 1, of 5, is wrong: .* 1.01 times",
     scaled(np.where(COLUMNS == 4, 1.01, 1))),
    ("index", "0 to 1 of axis 0", scaled(np.where(ROWS < 2, 0, 1))),
    ("index", "every second index of axis 1, from 1 on", scaled(np.where(COLUMNS % 2, 0, 1))),
    ("index", "index 7 of axis 1, of 40", numpy(
        SINES, lambda w: np.cos(w) * np.where(np.arange(40) == 7, 1.1, 1), LARGE)),
    ("rim", "along the axes .0, 1.", scaled(np.pad(np.ones((2, 3)), 1, constant_values=0.5))),
    ("diagonal", "on the diagonal", scaled(1 - np.eye(4), SQUARE)),
    ("diagonal", "above the diagonal", scaled(np.tril(np.ones((4, 4))), SQUARE)),
    ("right sums", "over axis 0", numpy(
        lambda w: np.sum(np.sin(w)), lambda w: np.cos(w) + [[0.2], [0.3], [-0.5]] * normal(2),
        normal(3, 2))),
    ("list", "6 of the 20", scaled(
        np.where(np.isin(np.arange(20).reshape(4, 5), [0, 3, 7, 9, 12, 19]), 0.5, 1))),
]  # fmt: skip


def failure_of(check):
    with pytest.raises(GradientError) as raised:
        check()
    return raised.value


@pytest.mark.parametrize("n", range(len(MISTAKES)))
def test_the_first_suspect_is_the_right_one_and_no_other(n):
    name, text, check = MISTAKES[n]
    suspects = failure_of(check).report.failure.suspects
    assert 1 <= len(suspects) <= 3
    assert [key for key, pattern in SENTENCES.items() if re.search(pattern, suspects[0])] == [name]
    assert re.search(text, suspects[0]), suspects[0]


def test_each_suspect_is_proven():
    assert {name for name, _, _ in MISTAKES} == set(SENTENCES)


def test_errors_without_a_pattern_have_no_suspect():
    """Nothing is claimed that a few random numbers do not carry."""
    modest = {"tiny errors", "list", "spread"}
    for seed, shape in enumerate([(), (1,), (2,), (3,), (2, 2), (3, 4), (2, 3, 4)] * 5):
        rng = np.random.default_rng(seed)
        x, a, error = rng.standard_normal((3, *shape)) if shape else rng.standard_normal(3)
        error *= 10.0 ** rng.uniform(-7, 1)
        for f, gradient in (
            (lambda w: np.sum(np.sin(w) * a), lambda w: np.cos(w) * a + error),
            (
                lambda w: np.sum(a * w**3) + w.sum() ** 2,
                lambda w: 3 * a * w**2 + 2 * w.sum() + error,
            ),
        ):
            suspects = failure_of(numpy(f, gradient, np.asarray(x))).report.failure.suspects
            for suspect in suspects[:1]:
                named = {key for key, pattern in SENTENCES.items() if re.search(pattern, suspect)}
                assert named <= modest, (shape, seed, suspect)


def test_a_suspect_is_named_with_any_seed():
    """The numbers that are weighted and summed do not matter."""
    for seed in range(12):
        for name, derivative in (
            ("rearranged", lambda g, x: 3.0 * g * (x * x).T),
            ("factor", lambda g, x: 3.0003 * 1.1 * g * x * x),
            ("by axis", lambda g, x: 3.0 * g * x * x * constant(1.0 + np.arange(4))),
        ):
            check = cube(derivative, normal(4, 4, seed=seed))
            (first, *_) = failure_of(check).report.failure.suspects
            assert re.search(SENTENCES[name], first), first


def test_the_result_that_is_wrong_is_named():
    @op(name="cube")
    def planted(x, /):
        return x.data**3, lambda g: -3.0 * g * x * x

    check = lambda: check_grads(lambda a, b: [ops.exp(a) * b, planted(a), a + b], [V, normal(6)])
    first, second = failure_of(check).report.failure.suspects
    assert re.search(SENTENCES["sign"], first)
    assert second.startswith("Only the derivative of result 1 is wrong, of 3 results")


def test_an_order_above_1_says_what_may_be_taken_for_a_constant():
    suspects = failure_of(cube(lambda g, x: 3.0 * g * x * x.detach(), order=2))
    assert "Order 1 is right here" in suspects.report.failure.suspects[1]
    suspects = failure_of(cube(lambda g, x: 3.0 * g * x))
    assert not any("is right here" in text for text in suspects.report.failure.suspects)


def test_suspects_do_not_hide_the_failure():
    """f may refuse the other points at which a factor is tried."""

    def f(w):
        if abs(w - V).max() > 0.2:
            raise RuntimeError("far away")
        return np.sum(w**2)

    error = failure_of(numpy(f, lambda w: 2.1 * w))
    assert re.search(SENTENCES["factor"], error.report.failure.suspects[0])


def test_a_witness_says_what_usually_makes_it_disagree():
    @op(name="planted")
    def planted(x, /):
        factor = 1.01 if x.dtype == np.float32 else 1.0
        return x.data**2, lambda g: 2.0 * factor * g * x

    error = failure_of(lambda: check_grads(planted, V, order=1))
    assert "float32 against float64" in str(error) and "wrong in float32 alone" in str(error)
    assert "\n" not in str(error)


def test_a_loss_that_does_not_depend_on_the_argument():
    """Also where few of many entries are compared."""
    planted = normal(50, 40)
    check = numpy(lambda w: 3.0 + 1e-30 * np.sum(w), lambda w: planted, normal(50, 40))
    (first, *_) = failure_of(check).report.failure.suspects
    assert "differences are 0 in all entries that were compared" in first


def test_a_mean_over_data_that_are_no_argument():
    """The number of samples is no length of an argument, and half the size of another one."""
    data = normal(20, 5)

    def f(w, v):
        return np.mean(np.sum(np.tanh(data @ w) * v, 1))

    def gradient(w, v):
        h = np.tanh(data @ w)
        return data.T @ ((1 - h**2) * v), np.sum(h, 0)  # sums

    error = failure_of(lambda: check_gradient(f, gradient, (normal(5, 8), normal(8))))
    assert "If 20 is a number of samples that f knows" in error.report.failure.suspects[0]


def test_an_epsilon_in_a_normalisation_is_no_wrong_distribution():
    def f(w):
        return (w - w.mean(0)) / np.sqrt(w.var(0) + 1e-5)

    def vjp(w, g):
        scale = np.sqrt(w.var(0))
        y = (w - w.mean(0)) / scale
        return (g - g.mean(0) - y * (g * y).mean(0)) / scale

    error = failure_of(lambda: check_gradient(f, x=normal(7, 4), vjp=vjp))
    assert not any("sums over" in text.lower() for text in error.report.failure.suspects)


def test_a_hessian_by_hand_is_wrong_in_rows():
    check = lambda: check_gradient(
        lambda w: np.sum(w**4), lambda w: 4 * w**3, V, hessian=lambda w: np.diag(6 * w**2)
    )
    suspects = failure_of(check).report.failure.suspects
    assert "look at row i of the Hessian" in suspects[1]
    assert not any("detach" in text for text in suspects)


def test_kinks_near_the_point_do_not_blur_the_differences():
    """The bias of a small network, with the wrong sign: some units are almost at relu's kink."""
    rng = np.random.default_rng(0)
    data, labels = rng.standard_normal((20, 5)), rng.integers(0, 3, 20)
    w1, w2 = rng.standard_normal((5, 8)) / 2, rng.standard_normal((8, 3)) / 2

    def forward(b):
        hidden = np.maximum(data @ w1 + b, 0)
        p = np.exp(hidden @ w2)
        return hidden, p / p.sum(1, keepdims=True)

    def loss(b):
        return -np.log(forward(b)[1][np.arange(20), labels]).mean()

    def gradient(b):
        hidden, p = forward(b)
        return -np.sum((p - np.eye(3)[labels]) @ w2.T * (hidden > 0), 0) / 20

    error = failure_of(lambda: check_gradient(loss, gradient, np.zeros(8)))
    assert "suggests the sign" in error.report.failure.suspects[0]


def test_two_thirds_of_three_entries_may_be_a_wrong_constant():
    report = failure_of(
        lambda: check_gradient(lambda w: np.sum(w**3), lambda w: 2 * w**2, normal(3))
    ).report
    assert "n = 3 is" in report.failure.suspects[0]
    assert "a wrong constant factor is as likely" in report.failure.suspects[0]
