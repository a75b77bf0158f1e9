"""check_module: a network's derivatives by its inputs and parameters, and the witnesses."""

import dataclasses
import re

import numpy as np
import pytest

from tinygan import GradientError, check_grads, check_module, nn, ops, optable, tensor
from tinygan.autograd import op
from tinygan.backend import asarray, xp


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def critic(act=nn.Tanh):
    rng = np.random.default_rng(0)
    layers = [nn.Conv2d(1, 4, 3, padding=1, rng=rng), act()]
    layers += [nn.Conv2d(4, 8, 3, stride=2, padding=1, rng=rng), act()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * 16, 1, rng=rng))


def witnesses(report, name):
    return [witness for witness in report.witnesses if witness.name.startswith(name)]


def wrong_op(forward, derivative, name="wrong"):
    @op(name=name)
    def function(x, /):
        return forward(x.data), lambda g: derivative(g, x)

    return function


# ---- check_module ----


def test_a_network_is_checked_in_both_modes_and_stays_as_it_is():
    rng = np.random.default_rng(0)
    net = nn.Sequential(
        nn.Linear(3, 5, rng=rng),
        nn.BatchNorm(5),
        nn.Dropout(0.3, rng=rng),
        nn.Linear(5, 2, rng=rng),
    )
    before = net.state_dict()
    report = check_module(net, normal(4, 3), order=2)
    titles = [order.title for order in report.orders]
    modes = "training", "evaluation"
    expected = [f"Sequential in {mode} mode, order {k}" for mode in modes for k in (1, 2)]
    assert titles == expected and max(report) < 1e-8
    assert all(np.array_equal(before[name], value) for name, value in net.state_dict().items())
    assert net.training and all(p.grad is None for p in net.parameters())
    first = report.orders[0]
    assert first.without_influence == ["0.bias"]  # a mean is subtracted after it
    assert {"x", "0.weight", "1.gain", "3.bias"} <= set(first.errors)
    assert (
        "no influence on the results beyond rounding, at this point: 0.bias (a" in report.describe()
    )
    assert len(check_module(critic(), normal(2, 8, 8, 1))) == 1  # both modes compute the same
    assert len(check_module(net, normal(4, 3), training=False)) == 1


def test_labels_are_constants():
    class Conditional(nn.Module):
        def __init__(self):
            self.embedding = nn.Embedding(4, 3, rng=np.random.default_rng(0))

        def forward(self, x, labels):
            return x * self.embedding(labels)

    report = check_module(Conditional(), [normal(5, 3), np.array([0, 1, 2, 1, 0])], order=2)
    assert list(report.orders[0].errors) == ["x", "embedding.weight"]


def test_a_parameter_that_is_0_hides_nothing():
    """Self-attention begins with gamma = 0."""
    net = nn.SelfAttention(8)
    report = check_module(net, normal(2, 4, 4, 8))
    assert report.orders[0].without_influence == [] and len(report.orders[0].errors) > 4


def test_a_wrong_parameter_is_named():
    wrong = wrong_op(lambda x: x * 1.0, lambda g, x: g * (1 + 1e-7))

    class Wrong(nn.Linear):
        def forward(self, inputs):
            return ops.matmul(inputs, wrong(self.weight)) + self.bias

    net = nn.Sequential(nn.Tanh(), Wrong(3, 2))
    message = r"Sequential in training mode, order 1: the gradient of 1\.weight is wrong at index"
    with pytest.raises(GradientError, match=message):
        check_module(net, normal(4, 3))
    with pytest.raises(TypeError, match="net must be a Module, not function"):
        check_module(ops.exp, normal(3))


# ---- what is seen ----


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("size", [1e-3, 1e-6, 1e-8])
def test_a_factor_near_1_is_seen(order, size):
    first = 1 + size if order == 1 else 1.0
    cube = wrong_op(lambda x: x**3, lambda g, x: first * 3.0 * g * square(x))
    square = wrong_op(lambda x: x**2, lambda g, x: (1 + size) * 2.0 * g * x)
    with pytest.raises(GradientError, match=f"order {order}: the gradient of x is wrong"):
        check_grads(cube, normal(4, 4))


def test_one_entry_of_a_thousand_is_seen_with_the_stated_probability():
    """Its error is 1e-4 of the root mean square: two seeds find it, each wherever it is."""
    x = normal(1000)
    for seed in range(2):
        error = np.zeros(1000)
        error[137 * seed] = 1e-4 * np.sqrt(np.mean((3 * x**2) ** 2))
        constant = tensor(error, dtype="float64")
        f = wrong_op(lambda a: a**3, lambda g, x: g * (3.0 * x * x + constant))
        with pytest.raises(GradientError, match=rf"wrong at index \({137 * seed},\)"):
            check_grads(f, x, order=1, seed=seed)
    (order,) = check_grads(lambda x: x * x * x, x, order=1).orders
    assert order.eps == 1e-4 and order.miss < 1e-6 and order.directions >= 2
    assert "root mean square, would escape with a probability below" in order.chance()


def test_the_stated_probability_is_true():
    """Noise hides the error of one entry along some directions, and few are drawn."""
    x, rng, missed, bound = normal(50), np.random.default_rng(5), 0, 0.2
    offset = asarray(3e9 * rng.standard_normal(50))
    for seed in range(150):
        error = np.zeros(50)
        error[rng.integers(50)] = 1e-4
        constant = tensor(error, dtype="float64")
        f = wrong_op(lambda a: xp.sin(a) + offset, lambda g, x: g * (ops.cos(x) + constant))
        try:
            (order,) = check_grads(f, x, order=1, seed=seed, eps=2e-4, miss=bound).orders
            missed += order.eps <= 2e-4
        except GradientError:
            pass
    assert missed <= 150 * bound, missed


def test_the_rate_is_measured_down_to_the_noise():
    for f in (ops.exp, ops.tanh, lambda x: ops.softmax(x * x, axis=0)):
        for order in check_grads(f, normal(6)).orders:
            assert order.method == "rate" and order.rate == pytest.approx(2, abs=0.1)
            assert order.samples[0].h > 1e-2 and order.samples[-1].h < 1e-4
            assert re.search(r"falls with the power (3\.0|2\.9)\d of the step h", order.how())
    (order, _) = check_grads(lambda x: x * x, normal(6)).orders
    assert order.rate is None and "linear or quadratic" in order.how()


def test_a_wrong_derivative_has_the_rate_0():
    f = wrong_op(lambda x: xp.exp(x), lambda g, x: 1.001 * g * ops.exp(x))
    with pytest.raises(GradientError) as failure:
        check_grads(f, asarray(normal(5)))
    assert abs(failure.value.report.failure.rate) < 0.05


def test_tolerances_of_the_caller_decide_if_given():
    f = wrong_op(lambda x: xp.exp(x), lambda g, x: (1 + 1e-5) * g * ops.exp(x))
    for settings in ({"rtol": 1e-4}, {"tolerance": 1e-4}, {"atol": 1e-3}):
        (order,) = check_grads(f, asarray(normal(5)), order=1, **settings).orders
        assert order.method == "tolerance" and "the tolerance that you set" in order.how()
    with pytest.raises(GradientError):
        check_grads(f, asarray(normal(5)), rtol=1e-6)


def test_a_derivative_that_is_wrong_for_ties_or_at_0_only():
    at_zero = wrong_op(
        lambda x: (x > 0) * x, lambda g, x: g * tensor(1.0 * (x.data > 0) + 2.0 * (x.data == 0))
    )
    twice = wrong_op(lambda x: x.max(0), lambda g, x: g * tensor(1.0 * (x.data == x.data.max(0))))
    x = np.round(normal(5), 1)
    x[1] = 0.0
    check_grads(ops.relu, x)
    check_grads(at_zero, np.where(x, x, 0.5))
    with pytest.raises(GradientError, match=r"the gradient of x is wrong at index \(1,\)"):
        check_grads(at_zero, x)
    tied = np.array([0.3, 1.2, -0.5, 1.2])
    check_grads(lambda x: ops.max(x, 0), tied)
    with pytest.raises(GradientError, match="wrong along equal changes of all entries"):
        check_grads(twice, tied)


# ---- witnesses ----


def test_the_hessian_of_a_convolutional_critic_is_symmetric():
    report = check_grads(critic(), normal(3, 8, 8, 1))
    (symmetry,) = witnesses(report, "symmetry")
    assert symmetry.value < 1e-12 and symmetry.agrees
    (values,) = witnesses(report, "differences of values")
    assert values.value < 1e-6 and values.agrees


def test_linear_arguments_have_adjoints_and_products_are_bilinear():
    report = check_grads(lambda a, b: a @ b, [normal(3, 4), normal(4, 2)])
    assert [w.about for w in witnesses(report, "adjoint")] == ["a", "b"]
    assert [w.about for w in witnesses(report, "bilinearity")] == ["a and b"]
    assert max(w.value for w in report.witnesses if w.name[0] in "ab") < 1e-15
    assert not witnesses(check_grads(ops.exp, normal(3)), "adjoint")


def test_a_mistake_in_float32_alone_is_seen():
    def derivative(g, x):
        return g * ops.exp(x) * (1.0 if x.dtype == np.float64 else 1.001)

    with pytest.raises(GradientError, match="float32 against float64"):
        check_grads(wrong_op(lambda x: xp.exp(x), derivative), asarray(normal(5)))
    # a function of float64 alone is none
    constant = tensor(normal(3), dtype="float64")
    assert not witnesses(check_grads(lambda x: x * constant, normal(3)), "float32")
    # nor is large rounding: in float32, x + 1e4 keeps three digits of x
    check_grads(lambda x: ops.square(ops.square(x + 1e4) - 1e8), normal(5))


def test_elementwise_rows_of_the_op_table_are_compared_with_mpmath():
    pytest.importorskip("mpmath")
    row = next(row for row in optable.ROWS if row.name == "tanh")
    (result,) = optable.run_gradchecks([row])
    names = [witness.name for witness in result.report.witnesses if "mpmath" in witness.name]
    assert result.passed and names == [f"mpmath, 50 digits, order {k}" for k in (1, 2)]
    other = dataclasses.replace(row, exact=lambda mp, x: mp.tanh(x) * (1 + mp.mpf(10) ** -11))
    (result,) = optable.run_gradchecks([other])
    assert not result.passed and "a witness disagrees: mpmath" in result.message


def test_what_is_no_network():
    with pytest.raises(TypeError, match="not a class: make one, Linear"):
        check_module(nn.Linear, np.ones((2, 3)))
    for options, message in (
        ({"training": "eval"}, "training must be True, False or None, not 'eval'"),
        ({"order": "2"}, "order must be 1 or more"),
        ({"eps": 0}, "eps must be between 0 and 1"),
    ):
        with pytest.raises(ValueError, match=message):
            check_module(nn.Linear(3, 2, rng=0), np.ones((2, 3)), **options)
    with pytest.raises(ValueError, match="infinite numbers or NaN"):
        check_module(nn.Linear(3, 2, rng=0), np.full((2, 3), np.nan))
