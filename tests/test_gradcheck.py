"""check_grads catches and reports every planted mistake; correct derivatives never fail."""

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


def fails(f, inputs, message="", error=GradientError, **settings):
    """Check that check_grads raises `error`, with one line that matches `message`; return it."""
    with pytest.raises(error) as failure:
        check_grads(f, inputs, **settings)
    text = str(failure.value)
    assert re.search(message, text) and "\n" not in text, text
    return text


def planted(derivative, name="planted"):
    """The op x ** 3 with a derivative of its own: derivative(g, x)."""

    @op(name=name)
    def cube(x, /):
        return x.data**3, lambda g: derivative(g, x)

    return cube


def one_entry(value, other):
    """A 4 x 4 Tensor with `value` at (1, 2) and `other` everywhere else."""
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
    "in one entry": lambda g, x: 3.0 * g * x * x * one_entry(1.01, 1.0),
    "NaN in one entry": lambda g, x: 3.0 * g * x * x * one_entry(np.nan, 1.0),
    "infinite": lambda g, x: g * x * x * np.inf,
}


@pytest.mark.parametrize("mode", ["random", "full"])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_derivative_is_caught(mistake, mode):
    fails(
        planted(MISTAKES[mistake]),
        normal(4, 4),
        "planted, order 1: the gradient of x is wrong at index",
        mode=mode,
    )


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_derivative_is_caught_with_any_seed(mistake):
    f = planted(MISTAKES[mistake])
    for seed in range(8):
        fails(f, 1.0 + abs(normal(4, 4, seed=seed + 100)), order=1, seed=seed)
        check_grads(right, normal(4, 4, seed=seed + 100), seed=seed)


SECOND_ORDER = {
    "x as a constant": lambda g, x: 3.0 * g * x.detach() * x.detach(),
    "one x as a constant": lambda g, x: 3.0 * g * x * x.detach(),
    "g as a constant": lambda g, x: 3.0 * g.detach() * x * x,
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
    fails(f, normal(4, 4), "planted, order 2: the gradient of ", mode=mode)
    with pytest.raises(GradientError) as failure:
        check_grads(f, normal(4, 4), mode=mode)
    assert len(failure.value.report) == 1 and failure.value.report[0] < 1e-8


def test_a_derivative_wrong_in_third_order_only():
    # right up to the second order
    f = planted(lambda g, x: 3.0 * g * x.detach() * (2.0 * x - x.detach()))
    assert len(check_grads(f, normal(3), order=2)) == 2
    fails(f, normal(3), "planted, order 3", order=3)
    assert len(check_grads(right, normal(3), order=4)) == 4


def test_the_report_names_everything():
    x = np.arange(1.0, 17.0).reshape(4, 4)
    text = fails(planted(MISTAKES["in one entry"], name="my_op"), x)
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
    fails(f, normal(2, 3), r"at index \(1, 2\)")
    fails(f, normal(2, 3), r"at index \(1, 2\)", mode="full")


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
    fails(product, inputs, r"product, order 1: the gradient of right is wrong at index \(\d,\)")
    message = "<lambda>, order 1: the gradient of a is wrong"
    fails(lambda a, b: product(b, a, a), inputs[:2], message)
    fails(lambda *xs: product(*xs), inputs, "the gradient of input 1 is wrong")
    fails(product, inputs, "the gradient of second is wrong", names=["first", "second", "third"])


def test_wrong_for_one_argument_only_in_second_order():
    @op
    def product(a, b, /):
        return a.data * b.data, (lambda g: g * b), (lambda g: g * a.detach())

    fails(product, [normal(3), normal(3, seed=1)], "product, order 2: the gradient of a is wrong")


def test_a_gradient_of_the_wrong_shape():
    for derivative in (
        lambda g, x: ops.sum(g, 0, keepdims=True),
        lambda g, x: ops.sum(g),
        lambda g, x: ops.reshape(g, (3, 2)),
    ):
        message = "planted: the gradient of argument 0 has shape"
        fails(planted(derivative), normal(2, 3), message, error=ValueError)


def test_a_wrong_dtype():
    @op
    def half(x, /):
        return x.data.astype("float32"), lambda g: g

    def single(x):
        return tensor(to_numpy(x.data), dtype="float32")

    fails(half, normal(3), "half: returned a float32 result for float64", error=TypeError)
    fails(planted(lambda g, x: single(g)), normal(3), "float32, but", error=ValueError)
    fails(single, normal(3), "float64 inputs gave a float32 result")


def test_a_gradient_lost_in_a_detached_tensor():
    fails(lambda x: x * x.detach(), normal(3), "order 1: the gradient of x is wrong")
    fails(lambda x: ops.exp(x.detach()) + 0.0 * x, normal(3), "derivative 0, ")


def test_functions_that_are_not_deterministic():
    noise = np.random.default_rng(0)
    fails(
        lambda x: x * noise.standard_normal(),
        normal(3),
        "two runs on the same inputs gave different results; fix the seed inside f",
    )
    counter = itertools.count(1)
    fails(
        planted(lambda g, x: 3.0 * g * x * x * (1.0 + 1e-12 * next(counter))),
        normal(3),
        "two runs on the same inputs gave different gradients of x",
    )


@pytest.mark.parametrize("f", [ops.log, ops.sqrt, lambda x: x / 0.0, lambda x: x * np.nan])
def test_a_pole_raises_an_error_and_no_warning(f):
    at_the_pole = "the gradient of x is wrong" if f is ops.sqrt else "f itself is not finite"
    fails(f, np.zeros(3), at_the_pole)
    error = "an argument or parameter has infinite numbers or NaN"
    fails(f, np.full(3, np.nan), error, error=ValueError)


def test_a_function_of_the_wrong_kind():
    message = "must return a Tensor or a sequence of Tensors, not ndarray"
    fails(lambda x: to_numpy(x.data), normal(3), message, error=TypeError)
    message = "mode must be 'random' or 'full', not 'fast'"
    fails(ops.exp, normal(3), message, error=ValueError, mode="fast")


# ---- correct derivatives pass ----


def rectified(x, w, v):
    return ops.leaky_relu(ops.relu(x @ w) @ v)


def test_relu_networks_with_kinks_nearby():
    """With 3,520 units, some kinks lie within 2e-6 of the inputs, where the differences reach."""
    for seed in [*range(8), 196]:
        x, w = normal(16, 10, seed=seed), normal(10, 200, seed=seed + 1000) / 3
        v = normal(200, 20, seed=seed + 2000) / 14
        check_grads(rectified, [x, w, v], seed=seed)


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
        fails(lambda x: wrong(x) + ops.abs(x - x.detach() + distance), normal(5), "order 1")
        fails(lambda x: wrong(ops.relu(x)), np.array([distance, 0.5]), "order 1")


@given(st.integers(0, 10**6))
@example(6727)  # its rounding error is larger than the size of its values suggests
def test_smooth_networks_of_any_seed(seed):
    rng = np.random.default_rng(seed)
    n, inputs, hidden = rng.integers(1, 6, 3)
    scale = 10.0 ** rng.uniform(-2, 1)

    def net(x, w, b):
        return ops.softmax(ops.silu(ops.batch_norm(x @ w + b, eps=0.1)) @ w.T) * 100.0

    shapes = (n, inputs), (inputs, hidden), (hidden,)
    check_grads(net, [scale * rng.standard_normal(shape) for shape in shapes], seed=seed)


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e6])
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e4])
def test_large_and_small_numbers(offset, size):
    check_grads(lambda x: ops.tanh(x) * size + offset, normal(5))
    fails(lambda x: planted(MISTAKES["factor 2.001"])(x) * size + offset * size, normal(5))


def test_functions_and_inputs_of_all_kinds():
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
    fails(lambda x, w: [x * w, planted(MISTAKES["wrong sign"])(x)], [x, w], "gradient of x")


def test_a_gradient_penalty_can_be_checked():
    def penalty(x, w):
        x = x if x.requires_grad else Tensor(x.data, requires_grad=True)
        return (ops.norm(grad(ops.tanh(x @ w).sum(), x, create_graph=True)) - 1.0) ** 2

    check_grads(penalty, [normal(2, 3), normal(3, 4, seed=1)])


def test_the_report():
    report = check_grads(ops.exp, normal(3))
    assert len(report) == 2 and all(0 <= error < 1e-9 for error in report)
    assert re.fullmatch(r"order 1: \d\.\de-\d+, order 2: \d\.\de-\d+", str(report))


# ---- modules ----


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
    assert all(np.array_equal(before[name], after[name]) for name in before)  # buffers too
    assert all(p.dtype == np.float32 and p.grad is None for p in net.parameters())


def test_a_parameter_of_a_module_is_named():
    class Wrong(nn.Linear):
        def forward(self, inputs):
            return ops.matmul(inputs, planted(MISTAKES["factor 2.001"])(self.weight)) + self.bias

    message = r"Wrong, order 1: the gradient of weight is wrong at index \(\d, \d\)"
    fails(Wrong(3, 2), normal(4, 3), message)
    message = r"Sequential, order 1: the gradient of 1\.weight "
    fails(nn.Sequential(nn.Tanh(), Wrong(3, 2)), normal(4, 3), message)


# ---- the op table ----


def test_run_gradchecks():
    rows = [
        optable.Row("a row", planted(derivative), None, lambda rng: [normal(3)], ["x"], False)
        for derivative in (
            MISTAKES["wrong sign"],
            SECOND_ORDER["one x as a constant"],
            lambda g, x: ops.sum(g),
        )
    ]
    good, first, second, shape = optable.run_gradchecks(optable.ROWS[:1] + rows)
    assert good.passed and good.order1 < 1e-8 and good.order2 < 1e-8 and good.message == ""
    assert not first.passed and np.isnan(first.order1)
    assert "gradient of x is wrong" in first.message
    assert not second.passed and second.order1 < 1e-8 and np.isnan(second.order2)
    assert "order 2" in second.message
    assert not shape.passed and "ValueError" in shape.message and "has shape ()" in shape.message
