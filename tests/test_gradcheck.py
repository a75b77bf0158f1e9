"""check_grads itself: every planted mistake is caught and well reported, and what is right never fails."""

import itertools
import re

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tinygan import GradientError, Tensor, check_grads, grad, nn, ops, optable, tensor
from tinygan.autograd import op
from tinygan.backend import asarray, to_numpy


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def caught(f, inputs, message="", error=GradientError, **settings):
    """check_grads must raise `error`, in one line that matches `message`."""
    with pytest.raises(error) as failure:
        check_grads(f, inputs, **settings)
    text = str(failure.value)
    assert re.search(message, text) and "\n" not in text, text
    return text


def planted(derivative, name="planted"):
    """x ** 3 with another derivative: derivative(g, x)."""

    @op(name=name)
    def cube(x, /):
        return x.data**3, lambda g: derivative(g, x)

    return cube


def where_6(value, other):
    """One number in entry 6 of 4 x 4, which is (1, 2), another everywhere else."""
    return tensor(np.where(np.arange(16).reshape(4, 4) == 6, value, other))


right = planted(lambda g, x: 3.0 * g * x * x)
MISTAKES = {
    "factor 2.001": lambda g, x: 2.001 * 3.0 * g * x * x,
    "factor 1.001": lambda g, x: 1.001 * 3.0 * g * x * x,
    "factor 1.00001": lambda g, x: 1.00001 * 3.0 * g * x * x,
    "wrong sign": lambda g, x: -3.0 * g * x * x,
    "missing": lambda g, x: g * 0.0,
    "of another function": lambda g, x: 2.0 * g * x,
    "plus a constant": lambda g, x: 3.0 * g * x * x + 1e-3,
    "transposed": lambda g, x: 3.0 * (g * x * x).T,
    "in one entry": lambda g, x: 3.0 * g * x * x * where_6(1.01, 1.0),
    "NaN in one entry": lambda g, x: 3.0 * g * x * x * where_6(np.nan, 1.0),
    "infinite": lambda g, x: g * x * x * np.inf,
}


@pytest.mark.parametrize("mode", ["random", "full"])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_derivative_is_caught(mistake, mode):
    caught(
        planted(MISTAKES[mistake]),
        normal(4, 4),
        "planted, order 1: the gradient of x is wrong at index",
        mode=mode,
    )


@pytest.mark.parametrize("mistake", MISTAKES)
def test_whatever_the_seed(mistake):
    f = planted(MISTAKES[mistake])
    for seed in range(25):
        caught(f, 1.0 + abs(normal(4, 4, seed=seed + 100)), order=1, seed=seed)
        check_grads(right, normal(4, 4, seed=seed + 100), seed=seed)


SECOND_ORDER = {
    "x counted as a constant": lambda g, x: 3.0 * g * x.detach() * x.detach(),
    "once": lambda g, x: 3.0 * g * x * x.detach(),
    "g counted as a constant": lambda g, x: 3.0 * g.detach() * x * x,
    "by hand, factor 2.001": lambda g, x: planted_square(x) * (3.0 * g),
}


@op
def planted_square(x, /):
    return x.data**2, lambda g: 2.001 * g * x


@pytest.mark.parametrize("mode", ["random", "full"])
@pytest.mark.parametrize("mistake", SECOND_ORDER)
def test_a_derivative_wrong_in_second_order_only(mistake, mode):
    f = planted(SECOND_ORDER[mistake])
    assert check_grads(f, normal(4, 4), order=1, mode=mode)[0] < 1e-8
    caught(f, normal(4, 4), "planted, order 2: the gradient of ", mode=mode)
    with pytest.raises(GradientError) as failure:
        check_grads(f, normal(4, 4), mode=mode)
    assert len(failure.value.report) == 1 and failure.value.report[0] < 1e-8


def test_a_derivative_wrong_in_third_order_only():
    f = planted(
        lambda g, x: 3.0 * g * x.detach() * (2.0 * x - x.detach())
    )  # right up to the second
    assert len(check_grads(f, normal(3), order=2)) == 2
    caught(f, normal(3), "planted, order 3", order=3)
    assert len(check_grads(right, normal(3), order=4)) == 4


def test_the_report_names_everything():
    x = np.arange(1.0, 17.0).reshape(4, 4)
    text = caught(planted(MISTAKES["in one entry"], name="my_op"), x)
    number = r"([-+.e\d]+)"
    found = re.fullmatch(
        rf"my_op, order 1: the gradient of x is wrong at index \(1, 2\): derivative {number}, "
        rf"differences {number}, relative error {number}",
        text,
    )
    derivative, difference, error = map(float, found.groups())
    assert derivative / difference == pytest.approx(1.01)
    assert error == pytest.approx(0.01 / 1.01, rel=0.1)


def test_the_worst_entry_is_named():
    factors = np.ones((2, 3))
    factors[0, 1], factors[1, 2], factors[1, 0] = 1.01, 1.5, 1.1
    f = planted(lambda g, x: 3.0 * g * x * x * Tensor(asarray(factors)))
    caught(f, normal(2, 3), r"at index \(1, 2\)")
    caught(f, normal(2, 3), r"at index \(1, 2\)", mode="full")


def test_the_argument_is_named():
    @op(broadcasts=True)
    def product(left, right, scale, /):
        return (
            left.data * right.data * scale.data,
            lambda g: g * right * scale,
            lambda g: 1.5 * g * left * scale,
            lambda g: g * left * right,
        )

    inputs = [normal(2, 3), normal(3, seed=1), normal(2, 1, seed=2)]
    caught(product, inputs, r"product, order 1: the gradient of right is wrong at index \(\d,\)")
    caught(
        lambda a, b: product(b, a, a), inputs[:2], "<lambda>, order 1: the gradient of a is wrong"
    )
    caught(lambda *xs: product(*xs), inputs, "the gradient of input 1 is wrong")
    caught(product, inputs, "the gradient of second is wrong", names=["first", "second", "third"])


def test_wrong_for_one_argument_only_in_second_order():
    @op
    def product(a, b, /):
        return a.data * b.data, (lambda g: g * b), (lambda g: g * a.detach())

    caught(product, [normal(3), normal(3, seed=1)], "product, order 2: the gradient of a is wrong")


def test_an_op_that_claims_the_wrong_shape():
    for derivative in (
        lambda g, x: ops.sum(g, 0, keepdims=True),
        lambda g, x: ops.sum(g),
        lambda g, x: ops.reshape(g, (3, 2)),
    ):
        caught(
            planted(derivative),
            normal(2, 3),
            "planted: the gradient of argument 0 has shape",
            error=ValueError,
        )


def test_a_wrong_dtype():
    @op
    def half(x, /):
        return x.data.astype("float32"), lambda g: g

    caught(half, normal(3), "half: made a float32 result from float64", error=TypeError)
    caught(
        planted(lambda g, x: tensor(to_numpy(g.data), dtype="float32")),
        normal(3),
        "float32, but",
        error=ValueError,
    )
    caught(
        lambda x: tensor(to_numpy(x.data), dtype="float32"),
        normal(3),
        "float64 inputs gave a float32 result",
    )


def test_a_gradient_lost_on_the_way():
    caught(lambda x: x * x.detach(), normal(3), "order 1: the gradient of x is wrong")
    caught(lambda x: ops.exp(x.detach()) + 0.0 * x, normal(3), "derivative 0, ")


def test_functions_that_are_not_deterministic():
    noise = np.random.default_rng(0)
    caught(
        lambda x: x * noise.standard_normal(),
        normal(3),
        "two runs on the same inputs gave different results; fix the seed inside f",
    )
    counter = itertools.count(1)
    caught(
        planted(lambda g, x: 3.0 * g * x * x * (1.0 + 1e-12 * next(counter))),
        normal(3),
        "two runs on the same inputs gave different gradients of x",
    )


@pytest.mark.parametrize("f", [ops.log, ops.sqrt, lambda x: x / 0.0, lambda x: x * np.nan])
def test_a_pole_is_an_error_and_no_warning(f):
    caught(f, np.zeros(3), "the gradient of x is wrong")


def test_a_function_of_the_wrong_kind():
    caught(
        lambda x: to_numpy(x.data),
        normal(3),
        "must return a Tensor, or several, not ndarray",
        error=TypeError,
    )
    caught(
        ops.exp,
        normal(3),
        "mode must be 'random' or 'full', not 'fast'",
        error=ValueError,
        mode="fast",
    )


# ---- what is right passes -------------------------------------------------------------------------------


def rectified(x, w, v):
    return ops.leaky_relu(ops.relu(x @ w) @ v)


def test_relu_networks_with_kinks_nearby():
    """With 3,520 units, now and then a kink lies within 2e-6 of the inputs, the reach of the differences."""
    for seed in [*range(8), 196]:
        check_grads(
            rectified,
            [
                normal(16, 10, seed=seed),
                normal(10, 200, seed=seed + 1000) / 3,
                normal(200, 20, seed=seed + 2000) / 14,
            ],
            seed=seed,
        )


@pytest.mark.parametrize("distance", [0.0, 1e-9, -1e-9, 3e-7, -1.5e-6, 5e-6, 1e-5, 1e-4, -2e-4])
@pytest.mark.parametrize(
    "f",
    [
        ops.relu,
        ops.abs,
        lambda x: ops.relu(x) ** 2,
        lambda x: ops.maximum(x, -x) * x,
        lambda x: ops.clip(x, 0, 1) * 3.0,
    ],
)
def test_a_kink_at_any_distance(f, distance):
    check_grads(f, np.array([distance, 1.7, -0.6]))
    check_grads(f, np.array(distance), mode="full")


def test_a_kink_does_not_excuse_a_mistake():
    wrong = planted(MISTAKES["factor 1.001"])
    for distance in (0.0, 1e-9, 1e-6, 1e-4):
        caught(lambda x: wrong(x) + ops.abs(x - x.detach() + distance), normal(5), "order 1")
        caught(lambda x: wrong(ops.relu(x)), np.array([distance, 0.5]), "order 1")


@given(st.integers(0, 10**6))
@example(6727)  # rounds more inside than the size of its values tells
def test_smooth_networks_of_any_seed(seed):
    rng = np.random.default_rng(seed)
    n, inputs, hidden = rng.integers(1, 6, 3)
    scale = 10.0 ** rng.uniform(-2, 1)

    def net(x, w, b):
        return ops.softmax(ops.silu(ops.batch_norm(x @ w + b, eps=0.1)) @ w.T) * 100.0

    arrays = [
        scale * rng.standard_normal(shape) for shape in ((n, inputs), (inputs, hidden), (hidden,))
    ]
    check_grads(net, arrays, seed=seed)


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e6])
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e4])
def test_large_and_small_numbers(offset, size):
    check_grads(lambda x: ops.tanh(x) * size + offset, normal(5))
    caught(lambda x: planted(MISTAKES["factor 2.001"])(x) * size + offset * size, normal(5))


def test_many_forms_of_function_and_input():
    x, w = normal(2, 3), normal(3, seed=1)
    for inputs in (
        x,
        Tensor(asarray(x)),
        [x],
        (x,),
        x.astype(np.float32),
        tensor(x, requires_grad=True),
    ):
        assert len(check_grads(ops.exp, inputs)) == 2
    check_grads(ops.exp, 0.5)
    check_grads(ops.exp, np.float64(0.5), mode="full")
    check_grads(ops.exp, np.zeros((0, 3)))
    check_grads(lambda x, w: [x * w, ops.exp(x), w], [x, w])  # several results
    check_grads(lambda x, w: (ops.exp(x),), [x, w])  # an argument without influence
    check_grads(lambda x: Tensor(asarray(np.ones(3))), x)  # a constant
    check_grads(lambda x, w: ops.sum(x * w), [x, w], mode="full", order=3)
    caught(lambda x, w: [x * w, planted(MISTAKES["wrong sign"])(x)], [x, w], "gradient of x")


def test_a_gradient_penalty_can_be_checked():
    def penalty(x, w):
        x = x if x.requires_grad else Tensor(x.data, requires_grad=True)
        return (ops.norm(grad(ops.tanh(x @ w).sum(), x, create_graph=True)) - 1.0) ** 2

    check_grads(penalty, [normal(2, 3), normal(3, 4, seed=1)])


def test_the_report():
    report = check_grads(ops.exp, normal(3))
    assert len(report) == 2 and all(0 <= error < 1e-9 for error in report)
    assert re.fullmatch(r"order 1: \d\.\de-\d+, order 2: \d\.\de-\d+", str(report))


# ---- modules --------------------------------------------------------------------------------------------


def network():
    rng = np.random.default_rng(0)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, rng=rng),
        nn.BatchNorm(3),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(12, 2, rng=rng),
    )


def test_a_module():
    net = network()
    before = net.state_dict()
    assert len(check_grads(net, normal(4, 4, 4, 2))) == 2
    check_grads(nn.Linear(3, 2), normal(4, 3), mode="full")
    after = net.state_dict()
    assert all(
        np.array_equal(before[name], after[name]) for name in before
    )  # weights, and buffers too
    assert all(p.dtype == np.float32 and p.grad is None for p in net.parameters())


def test_a_parameter_of_a_module_is_named():
    class Wrong(nn.Linear):
        def forward(self, inputs):
            return ops.matmul(inputs, planted(MISTAKES["factor 2.001"])(self.weight)) + self.bias

    caught(
        Wrong(3, 2),
        normal(4, 3),
        r"Wrong, order 1: the gradient of weight is wrong at index \(\d, \d\)",
    )
    caught(
        nn.Sequential(nn.Tanh(), Wrong(3, 2)),
        normal(4, 3),
        r"Sequential, order 1: the gradient of 1\.weight ",
    )


# ---- the table ------------------------------------------------------------------------------------------


def test_run_gradchecks():
    rows = [
        optable.Row("a row", planted(derivative), None, lambda rng: [normal(3)], ["x"], False)
        for derivative in (MISTAKES["wrong sign"], SECOND_ORDER["once"], lambda g, x: ops.sum(g))
    ]
    good, bad, worse, shape = optable.run_gradchecks(optable.ROWS[:1] + rows)
    assert good.passed and good.order1 < 1e-8 and good.order2 < 1e-8 and good.message == ""
    assert not bad.passed and np.isnan(bad.order1) and "gradient of x is wrong" in bad.message
    assert (
        not worse.passed
        and worse.order1 < 1e-8
        and np.isnan(worse.order2)
        and "order 2" in worse.message
    )
    assert not shape.passed and "ValueError" in shape.message and "has shape ()" in shape.message
