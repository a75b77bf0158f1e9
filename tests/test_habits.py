"""What a NumPy or PyTorch person types from habit works, or the error says what to write."""

import collections
import copy
import json
import math
import pickle
import re

import numpy as np
import pytest
from host import host

import tinygan
from tinygan import Parameter, Tensor, data, grad, nn, ops, optim, schedules, tensor
from tinygan.autograd import habits
from tinygan.backend import asarray
from tinygan.gan import conditioning, penalties
from tinygan.gan.augment import Augment
from tinygan.models import biggan, dcgan, stylegan2

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
    assert f"{loss}" == str(loss) == repr(loss) and bool(loss) and math.trunc(loss) == 3
    assert f"{loss=:.1f}" == "loss=3.1" and f"{loss:>+10.2%}" == "  +314.16%" and "%d" % loss == "3"
    assert complex(loss) == 3.14159 and f"{loss!s}" == f"{loss!r}" == repr(loss)
    assert np.shape(loss.tolist()) == shape and json.loads(json.dumps(loss.item())) == 3.14159


def test_other_tensors_are_no_numbers():
    assert message_of(TypeError, format, X, ".2f") == (
        "a Tensor of shape (2, 2) is not one number, which '.2f' could format: reduce it, as in "
        "x.mean(), or format its array, x.detach().numpy()"
    )
    assert "write x.detach().numpy().round()" in message_of(TypeError, round, X, 2)
    for convert in (float, int, Tensor.item):
        message = message_of(ValueError, convert, X)
        assert message == "a Tensor of shape (2, 2) is not one number: reduce it, as in x.mean()"
    assert f"{X}" == str(X) and X.tolist() == [[1, 2], [3, 4]]
    for spec in "dxs":
        message = message_of(ValueError, format, C[0], spec)
        assert message.endswith("formatted as a float; for other formats, write int(x) or str(x)")
    for join in (lambda: "loss: " + X, lambda: X + " is the loss"):
        assert "write str(x) or x.item()" in message_of(TypeError, join)
    assert X.size == 4 and f"{X.size}" == "4" and json.dumps(X.size) == "4"
    assert "write x.shape, or x.shape[0]" in message_of(TypeError, lambda: X.size(0))


def test_losses_in_a_list():
    losses = [X.sum() * factor for factor in (1.0, 3.0, 2.0)]
    assert sum(losses).item() == 60 and max(losses) is losses[1] and min(losses) is losses[0]
    assert [f"{loss:.0f}" for loss in sorted(losses)] == ["10", "20", "30"]
    best = float("inf")
    for loss in losses:
        if loss < best:
            best = loss
    assert best is losses[0] and best in losses and losses[0] != None  # noqa: E711
    assert grad(sum(losses) / len(losses), X).shape == (2, 2)
    assert "write x = x + y" in message_of(TypeError, lambda: exec("a += a", {"a": losses[0]}))
    for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
        assert ".detach() it first" in message_of(TypeError, duplicate, losses[0])
        duplicate(losses[0].detach())


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
        (np.sin, "write ops.sin(x) or x.sin()"),
        (np.squeeze, "write ops.squeeze(...) or x.squeeze(...)"),
        (np.std, "write ops.std(x) or x.std()"),
        (np.sign, "np.sign would cut the graph of a Tensor that requires a gradient: "
         "write np.sign(x.detach())"),
        (lambda x: np.mean([x, x]), "ops.stack for a list of Tensors; or write "
         "x.detach().numpy(), or x.item() for one number"),
        (np.arctan, "use a tinygan op, or .detach() the Tensor first"),
        (np.add.reduce, "np.add.reduce would cut the graph"),
        (np.copy, "write x.detach().numpy()"),
        (np.asarray, "write x.detach().numpy()"),
        (np.array, "write x.detach().numpy()"),
    ],
)  # fmt: skip
def test_numpys_functions_do_not_cut_a_graph(function, advice):
    assert advice in message_of(TypeError, function, X)


TABLES = {  # name: (what has no such names, its advice)
    "Tensor": (X, habits.TENSOR),
    "Module": (nn.Linear(1, 1), habits.MODULE),
    "Optimizer": (optim.Adam([Parameter(np.ones(1))]), habits.OPTIMIZER),
    "nn": (nn, habits.NN),
    "nn.init": (nn.init, habits.INIT),
    "optim": (optim, habits.OPTIM),
    "ops": (ops, habits.OPS),
    "tinygan": (tinygan, habits.TINYGAN),
    "data": (data, habits.DATA),
}
OWNERS = {  # how advice calls it: what it is
    **{"x": X, "w": Parameter(np.ones(1)), "net": nn.Linear(1, 1), "ops": ops, "nn": nn},
    **{"tinygan": tinygan, "np": np, "math": math},
}


@pytest.mark.cpu
def test_what_the_advice_names_exists():
    for name in [*habits.OF_ONE, *habits.SAME_NAME]:
        assert hasattr(ops, name) and (hasattr(Tensor, name) or name in habits.SAME_NAME)
        assert hasattr(np, name) or name == "square"
    tables = [*(table for _, table in TABLES.values()), habits.NUMPY]
    for advice in (advice for table in tables for advice in table.values()):
        for owner, name in re.findall(r"\b([a-z]+)\.(\w+)", advice):
            assert owner not in OWNERS or hasattr(OWNERS[owner], name), advice


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


@pytest.mark.parametrize("owner, table", TABLES.values(), ids=TABLES)
def test_names_that_do_not_exist_say_what_to_write(owner, table):
    for name, advice in table.items():
        message = message_of(AttributeError, getattr, owner, name)
        assert message.endswith(f"has no attribute '{name}': {advice}")
    assert message_of(AttributeError, getattr, owner, "anything").endswith("attribute 'anything'")
    assert not hasattr(owner, "anything") and getattr(owner, "anything", 3) == 3


def test_a_name_with_advice_may_be_used():
    class Net(nn.Module):
        def __init__(self):
            self.append = 3

        def apply(self):
            return 4

    assert (Net().append, Net().apply()) == (3, 4)
    assert "class 'Tensor' has no attribute 'view'" in message_of(
        AttributeError, lambda: Tensor.view
    )


def test_names_of_other_kinds():
    assert "write x.reshape(...)" in message_of(AttributeError, lambda: X.view(4))
    assert "a Tensor is immutable" in message_of(AttributeError, lambda: X.add_(1.0))
    for call in (lambda: X.mean(dim=1), lambda: ops.sum(X, dim=1), lambda: X.var(dim=1)):
        assert "argument 'dim': write axis" in message_of(TypeError, call)
    for call in (lambda: X.std(unbiased=False), lambda: X.var(ddof=1), lambda: ops.std(X, ddof=1)):
        assert "var and std divide by n" in message_of(TypeError, call)
    assert "'min': write low" in message_of(TypeError, X.clip, min=0.0)
    assert "'dims': write axis" in message_of(TypeError, ops.flip, X, dims=0)
    assert "gelu is exact" in message_of(TypeError, ops.gelu, X, approximate="tanh")
    assert "'start_dim': write start" in message_of(TypeError, X.flatten, start_dim=1)
    assert "'keepdim': write keepdims" in message_of(TypeError, X.sum, 1, keepdim=True)


# ---- networks, gradients and optimisers ----


def network():
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))


def loss_of(net):
    return net(tensor(np.ones((2, 3)), dtype="float32")).sum()


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


def test_what_is_no_gradient_is_refused_by_an_optimiser():
    net = network()
    optimizer = optim.Adam(net)
    for wrong in (net.parameters(), [np.ones((3, 4), np.float32)] * 4):
        assert "pass Tensors, from grad(...)" in message_of(TypeError, optimizer.step, wrong)
    for wrong in (None, lambda: loss_of(net), 1.0):
        message = message_of(TypeError, optimizer.step, wrong)
        assert message.startswith("Adam.step takes gradients, not ")
    loss_of(net).backward()
    assert "write step(grad(loss, optimizer.parameters))" in message_of(ValueError, optimizer.step)
    optimizer.step([p.grad for p in net.parameters()])


# ---- frozen parameters ----


def frozen(net):
    return [not p.requires_grad for p in net.parameters()]


def test_frozen_parameters_have_no_gradients():
    net = network()
    for parameter in net[0].parameters():
        parameter.requires_grad = False
    for create_graph in (False, True):
        gradients = grad(loss_of(net), net.parameters(), create_graph=create_graph)
        assert [g is None for g in gradients] == [True, True, False, False]
    before = [host(p).copy() for p in net.parameters()]
    optim.Adam(net).step(gradients)
    changed = [(host(p) != b).any() for p, b in zip(net.parameters(), before)]
    assert changed == [False, False, True, True]
    loss_of(net).backward()
    assert [p.grad is None for p in net.parameters()] == [True, True, False, False]
    message = message_of(ValueError, grad, loss_of(net), net[0].weight)
    assert message == (
        "grad: Linear.weight is frozen (its requires_grad is False), so it has no gradient"
    )


def test_what_is_frozen_after_the_forward_pass_is_left_alone():
    """By `backward`, and by an optimiser that has a gradient of before."""
    net = network()
    loss, gradients = loss_of(net), grad(loss_of(net), net.parameters())
    net[0].requires_grad_(False)
    loss.backward()
    assert [p.grad is None for p in net.parameters()] == [True, True, False, False]
    before = [host(p).copy() for p in net.parameters()]
    for make in (lambda: optim.AdamW(net), lambda: optim.SGD(net, 0.1, 0.9, 0.1)):
        make().step(gradients)
    changed = [(host(p) != b).any() for p, b in zip(net.parameters(), before)]
    assert changed == [False, False, True, True]


def test_where_all_that_is_asked_for_is_frozen():
    net = network().requires_grad_(False)
    assert grad(loss_of(net), net.parameters()) == [None] * 4  # of a constant
    net[1].requires_grad_(True)
    assert grad(loss_of(net), net[0].parameters()) == [None] * 2  # of what others train
    net.requires_grad_(False)
    for optimizer in (optim.Adam(net), optim.SGD(net, 0.1, momentum=0.9), optim.RMSprop(net, 0.1)):
        before = net.state_dict()
        optimizer.step(grad(loss_of(net), net.parameters()))
        assert all((net.state_dict()[name] == before[name]).all() for name in before)
        assert not any(optimizer.state)
    message = message_of(ValueError, loss_of(net).backward)
    assert "such as frozen Parameters" in message


def test_a_network_is_frozen_as_in_pytorch():
    net = network()
    assert net.requires_grad_(False) is net and all(frozen(net))
    assert net[1].requires_grad_() is net[1] and frozen(net) == [True, True, False, False]
    x = tensor([1.0, 2.0]).requires_grad_()
    assert x.requires_grad and grad(x.sum(), x).tolist() == [1, 1]
    assert not x.requires_grad_(False).requires_grad
    for part in (net, net[0]):
        message = message_of(TypeError, setattr, part, "requires_grad", False)
        assert "would have no effect: write requires_grad_(False)" in message


def test_copies_of_a_frozen_network_are_frozen():
    net = network()
    net[0].requires_grad_(False)
    state = network().state_dict()
    for other in (
        copy.deepcopy(net),
        pickle.loads(pickle.dumps(net)),
        copy.deepcopy(net).astype("float64"),
        tinygan.EMA(net).module,
    ):
        assert frozen(other) == [True, True, False, False]
        other.load_state_dict(state)
        assert frozen(other) == [True, True, False, False]
    tinygan.check_grads(net, np.ones((2, 3)))


def test_a_parameter_that_is_shared_is_frozen_everywhere():
    class Twins(nn.Module):
        def __init__(self):
            self.one, self.other = nn.Linear(3, 3, rng=0), nn.Linear(3, 3, rng=1)
            self.other.weight = self.one.weight

        def forward(self, x):
            return self.other(self.one(x))

    net = Twins()
    net.other.weight.requires_grad = False
    assert frozen(net) == [True, False, False]
    assert [g is None for g in grad(loss_of(net), net.parameters())] == [True, False, False]


FLAT, IMAGE = (
    tensor(np.ones((2, 3)), dtype="float32"),
    tensor(np.ones((2, 4, 4, 3)), dtype="float32"),
)


@pytest.mark.parametrize(
    "make, inputs",
    [
        (lambda: nn.SpectralNorm(nn.Linear(3, 4, rng=0), rng=0), [FLAT]),
        (lambda: nn.Equalized(nn.Linear(3, 4, rng=0), rng=0), [FLAT]),
        (lambda: nn.ModulatedConv2d(3, 2, 3, rng=0), [IMAGE, FLAT]),
        (lambda: nn.BatchNorm(3), [IMAGE]),
    ],
)
def test_layers_with_frozen_weights(make, inputs):
    net = make()
    first, *others = net.parameters()
    first.requires_grad = False
    gradients = grad(net(*inputs).square().sum(), net.parameters())
    assert gradients[0] is None and all(g is not None for g in gradients[1:])
    net.requires_grad_(False)
    images = [Tensor(x.data, requires_grad=True) for x in inputs]
    assert grad(net(*images).sum(), images)[0].shape == inputs[0].shape


def test_a_parameter_is_replaced_by_a_parameter_only():
    layer = nn.Linear(3, 4)
    for value in (np.ones((3, 4)), layer.weight * 2.0, 0.0):
        message = message_of(TypeError, setattr, layer, "weight", value)
        assert "Linear.weight is a Parameter, and " in message and ".assign(array)" in message
    layer.weight = Parameter(np.ones((3, 4)), dtype="float32")
    layer.bias = None
    assert [p.shape for p in layer.parameters()] == [(3, 4)]


# ---- layers one after another ----


def test_sequential_is_a_list_of_layers():
    a, b, c, d = (nn.Linear(2, 2, rng=i) for i in range(4))
    net = nn.Sequential(a)
    net.append(c)
    net.insert(1, b)
    net.extend([ops.relu, d])
    assert list(net) == [a, b, c, ops.relu, d] and len(net) == 5 and net[-1] is d and b in net
    assert net.pop() is d and list(net[1:3]) == [b, c] and net.index(c) == 2
    net[0], net[-1] = d, nn.Tanh()
    del net[1]
    net[:1] = [a, b]
    net += [c]
    assert [id(layer) for layer in net] == [*map(id, (a, b, c, net[3], c))]
    names = [name for name, _ in net.named_parameters()]  # c is listed once
    assert names == ["0.weight", "0.bias", "1.weight", "1.bias", "2.weight", "2.bias"]
    assert net(tensor(np.ones((1, 2)), dtype="float32")).shape == (1, 2)


@pytest.mark.parametrize(
    "change",
    [
        lambda net, layer: net.append(layer),
        lambda net, layer: net.insert(1, layer),
        lambda net, layer: net.extend([layer]),
        lambda net, layer: net.__setitem__(1, layer),
        lambda net, layer: net.__setitem__(slice(1, 2), [layer]),
        lambda net, layer: nn.Sequential(net[0], layer),
    ],
)
def test_what_is_no_layer_does_not_get_into_a_sequential(change):
    for layer, advice in (
        (None, "got None: leave it out"),
        (nn.ReLU, "write it with parentheses"),
        ([nn.ReLU()], "write Sequential(*layers)"),
        ((layer for layer in [nn.ReLU()]), "write Sequential(*layers)"),
        (collections.OrderedDict(a=nn.ReLU()), "write Sequential(*layers.values())"),
        ("relu", "got 'relu'"),
        (C, "got float32 (2,)"),
    ):
        net = network()
        message = message_of(TypeError, change, net, layer)
        assert re.match("Sequential: layer [12] must be a Module or a function, got ", message)
        assert message.endswith(advice) and len(net) == 2


def test_a_layer_that_returns_no_tensor():
    x = tensor(np.ones((1, 3)), dtype="float32")
    for function, got in ((lambda x: None, "None"), (lambda x: x.data, "float32 (1, 4)")):
        net = nn.Sequential(nn.Linear(3, 4), function, nn.Linear(4, 2))
        message = message_of(TypeError, net, x)
        assert message == f"Sequential(): layer 1 returned {got}, not a Tensor"
    labels = nn.Sequential(nn.Linear(3, 4), lambda x: x.argmax(1))(x)
    assert labels.shape == (1,) and labels.dtype.kind == "i"


# ---- prints ----


def test_prints_of_networks_show_settings_and_what_is_frozen():
    net = nn.Sequential(
        nn.Linear(3, 4), nn.LeakyReLU(0.1), nn.Dropout(0.25, rng=0), nn.Linear(4, 2)
    )
    net[0].requires_grad_(False)
    net[3].bias.requires_grad = False
    assert repr(net).split("\n  ") == [
        "Sequential()",
        "0: Linear(weight=(3, 4) frozen, bias=(4,) frozen)",
        "1: LeakyReLU(slope=0.1)",
        "2: Dropout(rate=0.25)",
        "3: Linear(weight=(4, 2), bias=(2,) frozen)",
    ]
    kinds = [row.kind for row in nn.summary(net, np.ones((1, 3)))]
    assert kinds == ["Linear (frozen)", "LeakyReLU", "Dropout", "Linear (partly frozen)", ""]
    assert "takes a network" in message_of(TypeError, nn.summary, dcgan.Generator)
    for shape in ((1, 3), 3):
        assert "not their shapes" in message_of(TypeError, nn.summary, net, shape)


def test_prints_of_optimisers_and_data():
    assert repr(optim.SGD(network(), 0.5)).startswith("SGD(4 parameters, lr=0.5, momentum=0.0")
    assert repr(optim.Adam(network())).startswith("Adam(4 parameters, lr=0.001, betas=(0.9, 0.999)")
    images, labels = np.zeros((5, 8, 6, 3), np.uint8), [0, 1, 0, 1, 0]
    assert repr(data.Dataset("mine", "train", images, labels, ("a", "b"))) == (
        "Dataset('mine', 'train': 5 images (8, 6, 3), 2 classes)"
    )


# ---- NumPy's numbers as sizes and settings, and seeds as generators ----

IMAGES = np.random.default_rng(0).standard_normal((4, 4, 4, 8)).astype(np.float32)

# name: a function of (kind of integers, kind of floats) that returns a Tensor
NUMBERS = {
    "Linear": lambda i, f: nn.Linear(i(8), i(3), rng=0)(IMAGES),
    "Conv2d": lambda i, f: nn.Conv2d(i(8), i(4), i(3), i(2), i(1), i(2), rng=0)(IMAGES),
    "Conv2d pairs": lambda i, f: nn.Conv2d(8, 4, (i(3), i(1)), [i(2), i(1)], rng=0)(IMAGES),
    "ConvTranspose2d": lambda i, f: nn.ConvTranspose2d(
        i(8), i(4), i(3), i(2), i(1), i(1), i(2), rng=0
    )(IMAGES),
    "Embedding": lambda i, f: nn.Embedding(i(5), i(3), rng=0)(np.array([0, 4])),
    "Maxout": lambda i, f: nn.Maxout(i(8), i(3), i(2), rng=0)(IMAGES[0, 0]),
    "Dropout": lambda i, f: nn.Dropout(f(0.5), rng=0)(IMAGES),
    "AvgPool2d": lambda i, f: nn.AvgPool2d(i(2))(IMAGES),
    "Reshape": lambda i, f: nn.Reshape(i(8), i(16))(IMAGES),
    "LeakyReLU": lambda i, f: nn.LeakyReLU(f(0.3))(IMAGES),
    "BatchNorm": lambda i, f: twice(nn.BatchNorm(i(8), f(0.3), f(1e-3)), IMAGES),
    "ConditionalBatchNorm": lambda i, f: twice(
        nn.ConditionalBatchNorm.of_classes(i(8), i(2), eps=f(1e-3)), IMAGES, [0, 1, 1, 0]
    ),
    "PixelNorm": lambda i, f: nn.PixelNorm(f(1e-3))(IMAGES),
    "MinibatchStddev": lambda i, f: nn.MinibatchStddev(i(2))(IMAGES),
    "SelfAttention": lambda i, f: nn.SelfAttention(i(8))(IMAGES),
    "Equalized": lambda i, f: nn.Equalized(nn.ConvTranspose2d(8, 2, 3, i(2), rng=0), f(1.5), rng=0)(
        IMAGES
    ),
    "SpectralNorm": lambda i, f: nn.SpectralNorm(nn.Linear(8, 2, rng=0), rng=0)(IMAGES[0, 0]),
    "Mapping": lambda i, f: nn.Mapping(i(8), i(3), i(2), rate=f(0.5), rng=0)(IMAGES[0, 0]),
    "Noise": lambda i, f: nn.Noise(i(8), i(4), rng=0).eval()(IMAGES),
    "ModulatedConv2d": lambda i, f: nn.ModulatedConv2d(i(8), i(2), i(3), rng=0)(
        IMAGES, tensor(IMAGES[0, 0])
    ),
    "UpBlock": lambda i, f: nn.UpBlock(i(8), i(4), norm=nn.BatchNorm, conv=seeded)(IMAGES),
    "pow": lambda i, f: tensor(IMAGES) ** i(2),
    "pow float": lambda i, f: ops.square(tensor(IMAGES)) ** f(1.5),
    "reversed pow": lambda i, f: f(2.0) ** tensor(IMAGES),
    "sum": lambda i, f: ops.sum(IMAGES, (i(0), i(-1))),
    "mean": lambda i, f: ops.mean(IMAGES, i(1)),
    "max": lambda i, f: ops.max(IMAGES, i(1)),
    "softmax": lambda i, f: ops.softmax(IMAGES, i(1)),
    "norm": lambda i, f: ops.norm(IMAGES, i(1)),
    "reshape": lambda i, f: tensor(IMAGES).reshape(i(4), -1),
    "transpose": lambda i, f: tensor(IMAGES).transpose(i(3), i(0), i(1), i(2)),
    "getitem": lambda i, f: tensor(IMAGES)[i(1), i(0) : i(3), ..., i(2)],
    "roll": lambda i, f: ops.roll(IMAGES, i(3), i(1)),
    "flip": lambda i, f: ops.flip(IMAGES, i(1)),
    "pad": lambda i, f: ops.pad(IMAGES, i(1)),
    "concatenate": lambda i, f: ops.concatenate([IMAGES, IMAGES], i(3)),
    "stack": lambda i, f: ops.stack([IMAGES, IMAGES], i(1)),
    "clip": lambda i, f: ops.clip(IMAGES, f(-0.5), f(0.5)),
    "leaky_relu": lambda i, f: ops.leaky_relu(IMAGES, f(0.3), f(1.5)),
    "bias_act": lambda i, f: ops.bias_act(IMAGES, None, f(0.3), f(1.5)),
    "conv2d": lambda i, f: ops.conv2d(IMAGES, np.ones((2, 2, 8, 1), "float32"), i(2), i(1), i(1)),
    "max_pool2d": lambda i, f: ops.max_pool2d(IMAGES, i(2), i(1)),
    "upsample_nearest": lambda i, f: ops.upsample_nearest(IMAGES, i(2)),
    "upsample_bilinear": lambda i, f: ops.upsample_bilinear(IMAGES, i(2)),
    "upfirdn2d": lambda i, f: ops.upfirdn2d(IMAGES, [1.0, 1.0], i(2), i(1), i(1), gain=f(2.0)),
    "normalize": lambda i, f: ops.normalize(IMAGES, (i(0), i(1)), f(1e-3)),
    "pixel_norm": lambda i, f: ops.pixel_norm(IMAGES, f(1e-3)),
    "minibatch_stddev": lambda i, f: ops.minibatch_stddev(IMAGES, i(2), f(1e-3), i(2)),
    "bce": lambda i, f: ops.binary_cross_entropy_with_logits(IMAGES, f(0.9)),
    "mse_loss": lambda i, f: ops.mse_loss(IMAGES, f(0.9)),
}


def seeded(*sizes, **settings):
    return nn.Conv2d(*sizes, rng=0, **settings)


def twice(layer, *inputs):
    """The result in evaluation, after a step of training."""
    layer(*inputs)
    assert all(buffer.dtype == np.float32 for buffer in layer.buffers())
    return layer.eval()(*inputs)


@pytest.mark.cpu
@pytest.mark.parametrize("integer", [np.int64, np.uint8, np.int32])
@pytest.mark.parametrize("number", [np.float64, np.float32])
@pytest.mark.parametrize("name", NUMBERS)
def test_numpys_numbers_work_as_pythons_do(name, integer, number):
    signed = lambda n: (np.int64 if n < 0 else integer)(n)
    found, expected = NUMBERS[name](signed, number), NUMBERS[name](int, float)
    assert found.dtype == expected.dtype == np.float32 and found.shape == expected.shape
    tolerance = 1e-6 if number is np.float32 else 0
    np.testing.assert_allclose(host(found), host(expected), rtol=tolerance, atol=tolerance)


def test_sizes_in_numpys_numbers_print_and_check_like_pythons():
    layer = nn.Conv2d(np.int64(1), np.int64(2), np.int64(3), np.int64(2))
    assert repr(layer) == repr(nn.Conv2d(1, 2, 3, 2)) and type(layer.stride) is int

    class Latent(nn.Module):
        def __init__(self, latent):
            self.latent, self.pair = latent, (latent, latent)
            self.linear = nn.Linear(latent, 1)

        def forward(self, z):
            return self.linear(self.expect_shape(z, "N", self.pair[0]))

    assert "takes x (N, 3), got float64 (2, 4)" in message_of(
        ValueError, Latent(np.int64(3)), tensor(np.ones((2, 4)))
    )
    assert nn.summary(Latent(np.int64(3)))[0].shape == (1, 1)


@pytest.mark.parametrize(
    "make, takes",
    [
        (lambda: nn.Linear(in_features=3, out_features=4), "(inputs, outputs, bias=True,"),
        (lambda: nn.Conv2d(3, 8, 3, dilation=2), "(inputs, outputs, kernel_size, stride=1,"),
        (lambda: nn.Dropout(0.5), "(rate, *, rng), got (0.5)"),
        (lambda: nn.LeakyReLU(0.2, inplace=True), "(slope=0.2), got (0.2, inplace=True)"),
        (lambda: nn.ReLU(True), "(), got (True)"),
        (lambda: nn.Sequential(layers=[nn.ReLU()]), "(*layers), got"),
    ],
)
def test_a_layer_made_otherwise_says_what_it_takes(make, takes):
    message = message_of(TypeError, make)
    assert f" takes {takes}" in message and "<" not in message


def test_constructors_of_ones_own_stay_as_they_are():
    class Net(nn.Sequential):
        def __init__(self, width, **settings):
            super().__init__(nn.Linear(width, 2, rng=0))
            self.settings = settings

    net = Net(3, depth=2)
    for other in (net, copy.copy(net), copy.deepcopy(net)):
        assert len(other) == 1 and other.settings == {"depth": 2}
    assert message_of(TypeError, Net, 1, 2) == "Net takes (width, **settings), got (1, 2)"


def test_a_tensor_is_made_of_one_array():
    for make in (tinygan.Tensor, tensor, Parameter):
        assert "made of one array" in message_of(TypeError, make, 2, 3)
    assert tensor(1.0, np.True_).requires_grad


SETTINGS_OF_OPTIMISERS = [
    ("lr", schedules.cosine(1e-3, 0), "write optimizer.lr = rate(step, steps)"),
    *(("lr", value, "a number, 0 or more") for value in (-1, np.nan, np.inf, None, "fast")),
    ("weight_decay", -0.1, "a number, 0 or more"),
    *(("betas", value, "two numbers") for value in (0.5, (0.9,), (0.9, 1.0), (-0.1, 0.9))),
]


@pytest.mark.parametrize("name, value, advice", SETTINGS_OF_OPTIMISERS)
def test_an_optimiser_checks_its_settings(name, value, advice):
    """When it is made, and when one is changed later."""
    net = nn.Linear(1, 1, rng=0)
    settings = {"lr": 0.1, name: value}
    assert advice in message_of(ValueError, lambda: optim.AdamW(net, **settings))
    optimizer = optim.AdamW(net)
    before = vars(optimizer).copy()
    assert advice in message_of(ValueError, setattr, optimizer, name, value)
    assert vars(optimizer) == before


def test_settings_of_an_optimiser_are_pythons_numbers():
    optimizer = optim.Adam(nn.Linear(1, 1, rng=0), np.float32(0.5), [np.float64(0), 0.5])
    optimizer.weight_decay = tensor(1.0)
    found = optimizer.lr, *optimizer.betas, optimizer.weight_decay
    assert found == (0.5, 0, 0.5, 1) and {*map(type, found)} == {float}
    assert type(optimizer.betas) is tuple


@pytest.mark.cpu
@pytest.mark.parametrize("optimizer", [optim.SGD, optim.Adam, optim.RMSprop])
def test_a_learning_rate_in_numpys_numbers(optimizer):
    weights = []
    for number in (float, np.float64, np.float32):
        w = Parameter(np.ones(3, np.float32))
        optimizer([w], lr=number(0.125)).step([tensor([1.0, 2.0, -1.0])])
        assert w.dtype == np.float32
        weights.append(host(w).tolist())
    assert weights[0] == weights[1] == weights[2]


def test_a_seed_is_a_generator():
    for make in (
        lambda rng: nn.Linear(2, 3, rng=rng),
        lambda rng: nn.SpectralNorm(nn.Linear(2, 3, rng=rng), rng=rng),
        lambda rng: nn.Mapping(4, 3, 2, rng=rng),
        lambda rng: dcgan.Generator(rng=rng),
        lambda rng: biggan.Discriminator(rng=rng),
        lambda rng: stylegan2.Generator(rng=rng),
        lambda rng: conditioning.ConcatLatent(dcgan.Generator(rng=rng), 3, 4, rng=rng),
    ):
        states = [make(rng).state_dict() for rng in (0, np.int64(0), 0, 1)]
        for path, array in states[0].items():
            assert (array == states[1][path]).all() and (array == states[2][path]).all()
        assert any((array != states[3][path]).any() for path, array in states[0].items())
    # One generator draws all weights: those of layers of equal shapes differ.
    G = stylegan2.Generator(rng=0)
    weights = {host(p).tobytes() for p in G.parameters() if host(p).std()}
    assert len(weights) == sum(host(p).std() > 0 for p in G.parameters())
    linear = nn.Linear(16, 16, rng=0)
    assert (host(linear.weight)[0] != host(linear.bias)).any()


def test_seeds_of_penalties_augmentation_and_initial_weights():
    D = dcgan.Discriminator(norm="none", rng=0)
    x = asarray(np.ones((2, 28, 28, 1), np.float32))
    values = [penalties.wgan_gp(D, x, -x, rng).item() for rng in (3, np.random.default_rng(3))]
    assert values[0] == values[1]
    for kind in ("ada", "diffaug"):
        results = []
        for rng in (0, np.random.default_rng(0), 5):
            augment = Augment(kind, p=1.0, rng=1) if kind == "ada" else Augment(kind, rng=1)
            results.append(host(augment(tensor(x), True, rng=rng)))
        assert (results[0] == results[1]).all() and (results[0] != results[2]).any()
    for init in (nn.init.normal(1.0), nn.init.orthogonal, nn.init.he_normal):
        assert (init(0, (3, 3), 3) == init(np.random.default_rng(0), (3, 3), 3)).all()
