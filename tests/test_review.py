"""Mistakes that a reading with fresh eyes found in the engine, the ops and the modules, so that they stay mended."""

import copy
import pickle
import threading

import numpy as np
import pytest
from host import host

from tinygan import Parameter, check_grads, grad, nn, no_grad, ops, optim, profile, tensor
from tinygan.autograd import engine, op
from tinygan.backend import asarray
from tinygan.kernels.cpu import parallel


def leaf(*values, dtype="float64"):
    return tensor(np.array(values), requires_grad=True, dtype=dtype)


# Values and gradients that were silently wrong


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint64", "int64"])
@pytest.mark.parametrize("width", [128, 300])
def test_embedding_takes_indices_of_any_integer_type(dtype, width):
    table = tensor(np.zeros((10, width)), requires_grad=True)
    g = grad(ops.embedding(table, np.array([3, 9, 3], dtype)).sum(), table).numpy()
    assert np.array_equal(g[:, 0], [0, 0, 0, 2, 0, 0, 0, 0, 0, 1]) and (g == g[:, :1]).all()


def test_the_mixed_second_derivative_of_a_power_at_exponent_0():
    a, b = leaf(2.0), leaf(0.0)
    first_a = grad(grad((a ** b).sum(), a, create_graph=True).sum(), b)
    first_b = grad(grad((a ** b).sum(), b, create_graph=True).sum(), a)
    assert first_a.item() == pytest.approx(0.5) == first_b.item()
    assert grad((leaf(0.0) ** b).sum(), b).data == 0


def test_a_joint_derivative_must_return_one_gradient_per_argument():
    @op(joint=True)
    def f(x, y, /):
        return x.data * y.data, lambda g, needed: [g * y]

    with pytest.raises(TypeError, match="f: a joint derivative returned 1 gradients for 2 arguments"):
        xs = [leaf(1.0), leaf(2.0)]
        grad(f(*xs).sum(), xs)


def test_labels_and_axes_out_of_range():
    with pytest.raises(IndexError, match=r"labels must lie in 0\.\.2, got -1\.\.1"):
        ops.cross_entropy(tensor(np.zeros((3, 3))), [-1, 0, 1])
    for join in (ops.concatenate, ops.stack):
        with pytest.raises(ValueError, match="axis 5 is out of range"):
            join([leaf(1.0), leaf(2.0)], axis=5)
    with pytest.raises(ValueError, match="axis 0 is out of range"):
        ops.concatenate([tensor(1.0), tensor(2.0)])
    with pytest.raises(ValueError, match="instance_norm takes images"):
        ops.instance_norm(tensor(np.zeros((2, 3, 4))))
    for loss in (ops.mse_loss, ops.l1_loss):
        with pytest.raises(ValueError, match=r"target of shape \(3, 1\) for a prediction of shape \(3,\)"):
            loss(leaf(1.0, 2.0, 3.0), tensor(np.zeros((3, 1))))


def test_an_array_written_to_after_the_call_changes_nothing():
    x, b, indices, seed = leaf(1.0, 1.0), *(asarray(y) for y in (np.ones(2), np.array([0, 1]), np.ones(2)))
    product, picked = (x * b).sum(), x[indices].sum()
    b[:], indices[:] = 7, 0
    assert np.array_equal(host(grad(product, x)), [1, 1]) and np.array_equal(host(grad(picked, x)), [1, 1])
    (x + 0.0).backward(seed)
    seed[:] = 7
    assert np.array_equal(host(x.grad), [1, 1])


def test_a_setting_is_a_constant():
    x = leaf(1.0, -2.0)
    for call in (lambda s: ops.leaky_relu(x, s), lambda s: ops.leaky_relu(x, slope=s), lambda s: ops.clip(x, s)):
        with pytest.raises(TypeError, match="a setting is a constant"):
            call(tensor(0.1, requires_grad=True))


def test_complex_numbers_are_refused():
    with pytest.raises(TypeError):
        leaf(1.0) * np.complex64(1 + 2j)
    with pytest.raises(TypeError, match="real numbers"):
        Parameter(np.ones(2)).assign(np.ones(2, complex))
    with pytest.raises(ValueError, match="weight holds complex128"):
        nn.Linear(1, 1, bias=False).load_state_dict({"weight": np.ones((1, 1), complex)})


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_is_a_leaf_of_its_own(duplicate):
    for x in (leaf(1.0, 2.0), Parameter(np.array([1.0, 2.0]), name="w")):
        twin = duplicate(x)
        assert type(twin) is type(x) and twin.requires_grad and np.array_equal(host(twin), host(x))
        (twin * 2.0).sum().backward()
        assert x.grad is None and np.array_equal(host(twin.grad), [2, 2])
    assert twin.name == "w" and twin.version is not x.version
    assert not duplicate(leaf(1.0).detach()).requires_grad
    with pytest.raises(TypeError, match="detach"):
        duplicate(leaf(1.0) * 2.0)


def test_a_module_survives_pickling():
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm(3))
    twin = pickle.loads(pickle.dumps(network))
    x = tensor(np.random.default_rng(0).standard_normal((4, 2)).astype("float32"))
    assert np.array_equal(host(twin(x)), host(network(x)))


def test_a_parameter_that_two_parts_share_is_one_parameter():
    class Tied(nn.Module):
        def __init__(self):
            self.a = nn.Linear(3, 3, bias=False, rng=np.random.default_rng(0))
            self.b = nn.Linear(3, 3, bias=False)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(self.a(x))

    network = Tied()
    assert [name for name, _ in network.named_parameters()] == ["a.weight"]
    before = host(network.a.weight).copy()
    optim.SGD(network.parameters(), lr=1.0).step([tensor(np.ones((3, 3), "float32"))])
    np.testing.assert_allclose(host(network.a.weight), before - 1)
    for twin in (copy.deepcopy(network), network.astype("float64")):
        assert twin.a.weight is twin.b.weight
    check_grads(network, np.random.default_rng(0).standard_normal((2, 3)))


def test_parts_that_would_not_be_trained_are_refused():
    class Net(nn.Module):
        pass

    for value in ([Parameter(np.ones(1))], {"a": nn.Linear(1, 1)}, {"a": Parameter(np.ones(1))}):
        with pytest.raises(TypeError, match="Net.parts would not be trained"):
            Net().parts = value

    class Headed(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Linear(1, 1))
            self.head = nn.Linear(1, 1)

    assert [name for name, _ in Headed().named_parameters()] == ["0.weight", "0.bias", "head.weight", "head.bias"]


# Crashes


@pytest.mark.parametrize("f", [ops.sigmoid, ops.softplus, ops.silu, ops.leaky_relu, ops.relu, ops.tanh,
                               lambda x: ops.binary_cross_entropy_with_logits(x, 0.3)])
def test_0_d_tensors(f):
    check_grads(f, 0.7)


def test_defaults_reach_the_adjoint():
    check_grads(ops.upsample_nearest, np.random.default_rng(0).standard_normal((1, 2, 3, 1)))
    with pytest.raises(TypeError, match="takes 1 settings"):
        ops.flip(leaf(1.0), 0, 1)


@pytest.mark.parametrize("widths", [1, (1, 2), ((1, 2),), ((1, 0), (0, 2))])
def test_pad_takes_numpys_widths(widths):
    x = np.random.default_rng(0).standard_normal((2, 3))
    assert np.array_equal(ops.pad(tensor(x), widths).numpy(), np.pad(x, widths))
    check_grads(lambda x: ops.pad(x, widths), x)


def test_blas_limits_of_several_threads_end_together():
    barrier = threading.Barrier(2)

    def outer():
        with parallel.single_threaded_blas():
            barrier.wait()
        barrier.wait()

    thread = threading.Thread(target=outer)
    thread.start()
    barrier.wait()
    with parallel.single_threaded_blas():
        barrier.wait()
        thread.join()
    assert not parallel._holds


def test_a_monitor_inside_itself_is_refused():
    p = profile()
    with p, pytest.raises(RuntimeError, match="already watching"), p:
        pass
    assert engine.monitor is None


def test_empty_batches():
    x, w = tensor(np.zeros((0, 5, 5, 2)), requires_grad=True), tensor(np.ones((3, 3, 2, 4)), requires_grad=True)
    dx, dw = grad(ops.conv2d(x, w).sum(), [x, w])
    assert dx.shape == x.shape and dw.shape == w.shape and not dw.data.any()
    assert nn.Flatten()(x).shape == (0, 50)
    assert leaf(1.0, 2.0)[[]].shape == (0,)
    table = tensor(np.zeros((3, 0)), requires_grad=True)
    assert grad(ops.embedding(table, [1, 2]).sum(), table).shape == (3, 0)


# Refusals that were wrong, and messages that did not help


def test_a_used_up_graph_is_refused_only_where_it_is_needed():
    x = leaf(3.0)
    y = x * 2.0
    grad((y * 1.0).sum(), x)
    assert grad((y * y).sum(), y).data == 12  # the target itself is used up, but need not run
    w = leaf(1.0)
    a = x * x
    grad((a * 1.0).sum(), x)
    assert grad((a * w).sum(), w).data == 9  # a side branch is used up
    with pytest.raises(RuntimeError, match=r"used up .*at mul.*retain_graph=True"):
        grad((a * w).sum(), x)


def test_a_first_order_gradient_is_a_constant_even_of_a_variable_grad_output():
    a, v = leaf(1.0, 2.0), leaf(3.0, 4.0)
    assert not grad(a + 1.0, a, v).requires_grad and grad(a + 1.0, a, v, create_graph=True).requires_grad


def test_load_state_dict_is_all_or_nothing():
    layer = nn.Linear(1, 1)
    before = layer.state_dict()
    with pytest.raises(ValueError, match="bias holds <U1"):
        layer.load_state_dict({"weight": [[5.0]], "bias": np.array(["a"])})
    assert all(np.array_equal(before[key], value) for key, value in layer.state_dict().items())
    layer.load_state_dict({"weight": [[5.0]], "bias": [1.0]})
    assert layer.weight.item() == 5


def mistakes():
    x = leaf(1.0, 2.0, 3.0)

    def without_slash():
        op(lambda x: x)

    def derivative(d, joint=False):
        @op(joint=joint)
        def f(x, /):
            return x.data, d

        return lambda: grad(f(x).sum(), x)

    return [
        (TypeError, "add: expected a Tensor", lambda: x + None),
        (TypeError, "put `/` after", without_slash),
        (TypeError, "f: a derivative is a function of (g) or (g, y), not <class 'numpy.ufunc'>", derivative(np.negative)),
        (TypeError, "not (g)", derivative(lambda g: [g], joint=True)),
        (TypeError, f"f: the derivative of argument 0 returned a {type(x.data).__name__}, not a Tensor", derivative(lambda g: g.data)),
        (ValueError, "2 outputs but 1 grad_outputs", lambda: grad([x, x], x, [np.ones(3)])),
        (ValueError, "input 0 is a ndarray", lambda: grad(x.sum(), [np.ones(3)])),
        (ValueError, "the output does not require a gradient", lambda: grad(3.0, x)),
        (ValueError, "mean over axis 0 of an empty Tensor", lambda: tensor(np.zeros((0, 2))).mean(axis=0)),
        (TypeError, "matmul: expected a Tensor", lambda: x @ None),
        (ValueError, "takes images", lambda: ops.conv2d_weight(x, x, 3)),
        (ValueError, "takes images", lambda: ops.conv_transpose2d(x, x)),
        (ValueError, "expected a number or a pair", lambda: ops.conv2d(*[tensor(np.zeros((3, 3, 3, 3)))] * 2, (1, 1, 1))),
        (ValueError, "stride and groups must be 1 or more", lambda: ops.conv2d(*[tensor(np.zeros((3, 3, 3, 3)))] * 2, 0)),
    ]


@pytest.mark.parametrize("error, message, call", mistakes(), ids=lambda value: value if isinstance(value, str) else "")
def test_messages(error, message, call):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_what_a_newcomer_tries_works():
    x = leaf(1.0, -2.0, 3.0)
    assert np.array_equal(host(x * (x > 0)), [1, 0, 3])  # a boolean array has no precision to lose
    assert (x @ [1.0, 1.0, 1.0]).item() == 2
    assert ops.mul(2.0, asarray(np.ones(2))).dtype == np.float64
    image, weight = (tensor(np.ones((1, 4, 4, 1))) for _ in range(2))
    assert ops.conv2d(image, weight[:, :, :, :1].reshape(4, 4, 1, 1), stride=np.int64(1)).shape == (1, 1, 1, 1)
    assert ops.binary_cross_entropy_with_logits(tensor(np.zeros((2, 1))), tensor(np.full((1, 1), 0.5))).shape == ()
    with no_grad():
        assert nn.Sequential(nn.Linear(2, 3), nn.BatchNorm(3))(asarray(np.ones((4, 2), "float32"))).shape == (4, 3)
