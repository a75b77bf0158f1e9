"""What a NumPy or PyTorch person types from habit works, or the error says what to write."""

import math

import numpy as np
import pytest
from host import host

import tinygan
from tinygan import Parameter, Tensor, grad, nn, ops, optim, tensor
from tinygan.autograd import habits

X = tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
C = tensor([1.0, 2.0])


def message_of(kind, function, *args, **settings):
    with pytest.raises(kind) as raised:
        function(*args, **settings)
    assert "\n" not in str(raised.value)
    return str(raised.value)


# ---- numbers ----


@pytest.mark.parametrize("needs", [False, True])
@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_a_tensor_with_one_element_is_formatted_and_rounded_as_a_number(shape, needs):
    loss = tensor(np.full(shape, 3.14159), requires_grad=needs)
    assert (
        f"{loss:.2f}" == "3.14" and f"{loss:8.3f}" == "   3.142" and f"{loss:e}" == "3.141590e+00"
    )
    assert "%.3f" % loss == "3.142" and "{:.1f}".format(loss) == "3.1"
    assert round(loss, 2) == 3.14 and round(loss) == 3 and type(round(loss)) is int
    assert int(loss) == math.floor(loss) == 3 and math.ceil(loss) == 4 and float(loss) == 3.14159
    assert f"{loss}" == str(loss) == repr(loss) and bool(loss)


def test_other_tensors_are_no_numbers():
    assert message_of(TypeError, format, X, ".2f") == (
        "a Tensor of shape (2, 2) is not one number, which '.2f' could format: reduce it, as in "
        "x.mean(), or format its array, x.detach().numpy()"
    )
    assert "write x.detach().numpy().round()" in message_of(TypeError, round, X, 2)
    for convert in (float, int, Tensor.item):
        message = message_of(ValueError, convert, X)
        assert message == "a Tensor of shape (2, 2) is not one number: reduce it, as in x.mean()"
    assert f"{X}" == str(X)


def test_membership_is_that_of_the_elements():
    assert 3.0 in X and 9.0 not in X and X[0, 0] in X
    assert any(x is X for x in [C, X])


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0, 3)])
def test_repr_of_empty_tensors_shows_their_shape(shape):
    expected = {(0,): "Tensor([])"}.get(shape, f"Tensor([], shape={shape})")
    assert repr(tensor(np.zeros(shape), dtype="float32")) == expected
    assert repr(tensor(np.zeros(shape))) == expected[:-1] + ", dtype=float64)"


# ---- NumPy's functions ----


@pytest.mark.cpu
@pytest.mark.parametrize(
    "function, advice",
    [
        (np.exp, "np.exp would cut the graph of a Tensor that requires a gradient: write ops.exp(x)"
         " or x.exp(), or .detach() the Tensor first"),
        (np.sum, "write ops.sum(x) or x.sum()"),
        (np.mean, "write ops.mean(x) or x.mean()"),
        (np.max, "write ops.max(x) or x.max()"),
        (lambda x: np.mean(x, axis=0), "write ops.mean(x) or x.mean()"),
        (lambda x: np.add(x, x), "np.add would cut the graph"),
        (lambda x: np.add(x, 1.0), "write x + y"),
        (np.negative, "write -x"),
        (np.absolute, "write ops.abs(x) or x.abs()"),
        (lambda x: np.matmul(x, x), "write x @ y"),
        (lambda x: np.maximum(x, 0.0), "write ops.maximum(...)"),
        (lambda x: np.maximum(np.zeros(2), x), "write ops.maximum(...)"),
        (lambda x: np.concatenate([x, x]), "write ops.concatenate(...)"),
        (lambda x: np.stack((x, x)), "write ops.stack(...)"),
        (lambda x: np.where(np.ones((2, 2), bool), x, 0.0), "write ops.where(...)"),
        (lambda x: np.reshape(x, 4), "write ops.reshape(...) or x.reshape(...)"),
        (np.transpose, "write ops.transpose(...) or x.transpose(...)"),
        (np.linalg.norm, "np.linalg.norm would cut the graph of a Tensor that requires a gradient:"
         " write ops.norm(x) or x.norm()"),
        (np.linalg.inv, "np.linalg.inv would cut the graph of a Tensor that requires a gradient: "
         "use a tinygan op, or .detach() the Tensor first"),
        (np.sin, "use a tinygan op, or .detach() the Tensor first"),
        (np.add.reduce, "np.add.reduce would cut the graph"),
        (np.copy, "write x.detach().numpy()"),
        (np.asarray, "write x.detach().numpy()"),
        (np.array, "write x.detach().numpy()"),
    ],
)  # fmt: skip
def test_numpys_functions_do_not_cut_a_graph(function, advice):
    assert advice in message_of(TypeError, function, X)


@pytest.mark.cpu
def test_what_the_advice_names_exists():
    for name in [*habits.OF_ONE, *habits.SAME_NAME]:
        assert hasattr(ops, name) and (hasattr(Tensor, name) or name in habits.SAME_NAME)
        assert hasattr(np, name) or name == "square"
    for advice in habits.NUMPY.values():
        for name in advice.split("ops.")[1:]:
            assert hasattr(ops, name.split("(")[0])
    for table, owner in ((habits.OPS, ops), (habits.NN, nn), (habits.TINYGAN, tinygan)):
        for name, advice in table.items():
            assert not hasattr(owner, name)
            for word in advice.replace(",", " ").replace("(", " ").split():
                package, _, attribute = word.partition(".")
                if package in ("ops", "nn", "tinygan") and attribute.isidentifier():
                    assert hasattr({"ops": ops, "nn": nn, "tinygan": tinygan}[package], attribute)


@pytest.mark.cpu
def test_numpys_functions_take_constants():
    for found, expected in (
        (np.exp(C), np.exp(C.data)),
        (np.sum(C), 3.0),
        (np.add(C, C), [2, 4]),
        (np.add.reduce(C), 3),
        (np.concatenate([C, C]), [1, 2, 1, 2]),
        (np.stack((C, C), axis=1), [[1, 1], [2, 2]]),
        (np.where(np.array([True, False]), C, 0.0), [1, 0]),
        (np.linalg.norm(C), 5**0.5),
        (np.asarray(C), [1, 2]),
        (np.array([C, C]), [[1, 2], [1, 2]]),
    ):
        assert not isinstance(found, Tensor)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert np.allclose(C, [1, 2]) and np.array_equal(C, C)
    assert message_of(TypeError, np.exp, C, out=tensor([0.0, 0.0])).endswith("cannot be `out`")


@pytest.mark.cpu
def test_questions_that_no_gradient_follows():
    assert np.shape(X) == (2, 2) and np.ndim(X) == 2 and np.size(X) == 4
    assert not np.isnan(X).any() and np.isfinite(X).all() and np.less(X, 5.0).all()


@pytest.mark.cpu
def test_operators_of_arrays_and_tensors_are_ops_in_both_orders():
    a = np.array([[2.0, 3.0], [4.0, 5.0]], np.float32)
    x = tensor(a + 1, requires_grad=True)
    for operator in ("+", "-", "*", "/", "**", "@"):
        for left, right in (("a", "x"), ("x", "a"), ("np.float32(2)", "x"), ("x", "np.float32(2)"),
                            ("np.float64(2)", "x"), ("2", "x")):  # fmt: skip
            if operator == "@" and "2" in left + right:
                continue
            scope = {"a": a, "x": x, "np": np}
            y = eval(f"{left} {operator} {right}", {}, scope)
            assert isinstance(y, Tensor) and y.requires_grad and y.dtype == np.float32
            expected = eval(f"{left} {operator} {right}", {}, {**scope, "x": x.data})
            np.testing.assert_allclose(y.data, expected, rtol=1e-6)
    for compared in (a < x, a <= x, x > a, a != x, np.float32(0) < x):
        assert type(compared) is np.ndarray and compared.all()
    y = a * x
    np.testing.assert_array_equal(host(grad(y.sum(), x)), a)


@pytest.mark.cpu
def test_an_array_that_a_tensor_is_added_to():
    a = np.zeros(2, np.float32)
    a += C
    assert type(a) is np.ndarray and a.tolist() == [1, 2]
    before = a.copy()
    assert "write x + y" in message_of(TypeError, lambda: exec("a += x", {"a": a, "x": X[0]}))
    assert (a == before).all()


# ---- names ----


@pytest.mark.parametrize(
    "owner, table",
    [
        (X, habits.TENSOR),
        (nn.Linear(1, 1), habits.MODULE),
        (optim.Adam([Parameter(np.ones(1))]), habits.OPTIMIZER),
        (nn, habits.NN),
        (ops, habits.OPS),
        (tinygan, habits.TINYGAN),
    ],
    ids=["Tensor", "Module", "Optimizer", "nn", "ops", "tinygan"],
)
def test_names_that_do_not_exist_say_what_to_write(owner, table):
    for name, advice in table.items():
        message = message_of(AttributeError, getattr, owner, name)
        assert message.endswith(f"has no attribute '{name}': {advice}")
    assert message_of(AttributeError, getattr, owner, "anything").endswith("attribute 'anything'")
    assert not hasattr(owner, "anything") and getattr(owner, "anything", 3) == 3


def test_names_of_other_kinds():
    message = (
        "'Tensor' object has no attribute 'clamp_': a Tensor is immutable; write x = x.clamp(...)"
    )
    assert message_of(AttributeError, getattr, X, "clamp_") == message
    assert "write x.reshape(...)" in message_of(AttributeError, lambda: X.view(4))

    class Broken(nn.Module):
        @property
        def size(self):
            return self.absent

    message = message_of(AttributeError, lambda: Broken().size)
    assert message == "'Broken' object: 'size' reads an attribute that does not exist"
    for call in (lambda: X.mean(dim=1), lambda: ops.sum(X, dim=1), lambda: X.var(dim=1)):
        assert "argument 'dim': write axis" in message_of(TypeError, call)
    assert "'keepdim': write keepdims" in message_of(TypeError, X.sum, 1, keepdim=True)


# ---- networks, gradients and optimisers ----


def network():
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))


def loss_of(net):
    return net(np.ones((2, 3), np.float32)).sum()


def test_an_optimiser_takes_a_network():
    net = network()
    for optimizer in (optim.Adam(net), optim.SGD(net, 0.1), optim.RMSprop(net, lr=0.1)):
        assert [id(p) for p in optimizer.parameters] == [id(p) for p in net.parameters()]
        before = host(net[0].weight).copy()
        optimizer.step(grad(loss_of(net), net.parameters()))
        assert (host(net[0].weight) != before).any()
    assert optim.Adam(net).lr == 1e-3  # the paper's


@pytest.mark.parametrize(
    "wrong, got",
    [
        (lambda net: net.parameters, "a method: call it"),
        (lambda net: net[0].weight, "float32 (3, 4)"),
        (lambda net: [net], "a list"),
        (lambda net: [], "[]"),
        (lambda net: None, "None"),
        (lambda net: 3, "3"),
        (lambda net: nn.Sequential(), "[]"),
    ],
)
def test_an_optimiser_of_something_else(wrong, got):
    message = message_of(TypeError, optim.Adam, wrong(network()))
    expected = (
        "Adam takes a network or a non-empty list of Parameters, such as net.parameters(), not"
    )
    assert message == f"{expected} {got}"


@pytest.mark.parametrize(
    "wrong, name",
    [
        (lambda net: net, "Sequential"),
        (lambda net: net[0], "Linear"),
        (lambda net: net.parameters, "Module.parameters"),
        (lambda net: optim.Adam(net), "Adam"),
        (lambda net: None, "NoneType"),
    ],
)
def test_grad_with_respect_to_a_network(wrong, name):
    net = network()
    message = message_of(TypeError, grad, loss_of(net), wrong(net))
    assert (
        message == f"grad: the inputs are Tensors, not {name}: write grad(loss, net.parameters())"
    )


def test_the_number_of_gradients():
    net = network()
    optimizer = optim.Adam(net)
    gradients = grad(loss_of(net), net.parameters())
    for wrong in ((gradients[:2],), (gradients + gradients[:1],), (gradients[0],), ()):
        message = message_of(ValueError, optimizer.step, *wrong)
        assert message.startswith("Adam has 4 parameters, but step got ")
        assert "write step(grad(loss, optimizer.parameters))" in message
    one = Parameter(np.ones(3))
    optim.SGD([one], 1.0).step(grad((one * 2.0).sum(), one))  # a single gradient, for one
    assert host(one).tolist() == [-1] * 3


def test_frozen_parameters_have_no_gradients():
    net = network()
    for parameter in net[0].parameters():
        parameter.requires_grad = False
    gradients = grad(loss_of(net), net.parameters())
    assert [g is None for g in gradients] == [True, True, False, False]
    before = [host(p).copy() for p in net.parameters()]
    optim.Adam(net).step(gradients)
    changed = [(host(p) != b).any() for p, b in zip(net.parameters(), before)]
    assert changed == [False, False, True, True]
    message = message_of(ValueError, grad, loss_of(net), net[0].weight)
    assert message == (
        "grad: Linear.weight is frozen (its requires_grad is False), so it has no gradient"
    )
