"""Modules: their parts, state and conversion, and the behaviour of layers beyond the op table."""

import copy
import pickle

import numpy as np
import pytest
from host import host

from tinygan import Parameter, check_grads, grad, nn, no_grad, ops, optim, tensor
from tinygan.backend import asarray
from tinygan.training import recipes


def make_network(seed=0):
    rng = np.random.default_rng(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, rng=rng),
        nn.BatchNorm(4),
        nn.LeakyReLU(),
        nn.Flatten(),
        nn.Linear(64, 2, rng=rng),
    )


def images(seed=0, n=3):
    return tensor(np.random.default_rng(seed).standard_normal((n, 4, 4, 1)), dtype="float32")


def test_names_and_order():
    names = [name for name, _ in make_network().named_parameters()]
    assert names == ["0.weight", "0.bias", "1.gain", "1.bias", "4.weight", "4.bias"]
    names = [name for name, _ in make_network().named_buffers()]
    assert names == ["1.running_mean", "1.running_var"]

    class Two(nn.Module):
        def __init__(self):
            self.first = nn.Linear(1, 1)
            self.rest = [nn.Linear(1, 1), nn.Linear(1, 1, bias=False)]

    assert [name for name, _ in Two().named_parameters()] == [
        "first.weight",
        "first.bias",
        "rest.0.weight",
        "rest.0.bias",
        "rest.1.weight",
    ]


def test_state_round_trip():
    a, b = make_network(0), make_network(1)
    a(images())
    assert not np.array_equal(host(a(images())), host(b(images())))
    b.load_state_dict(a.state_dict())
    assert np.array_equal(host(a.eval()(images())), host(b.eval()(images())))
    state = a.state_dict()
    state["0.weight"][...] = 0  # must not change the network: the state is a copy
    assert a[0].weight.data.any()


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda s: s.pop("4.bias"), "missing 4.bias"),
        (lambda s: s.update(extra=np.ones(1)), "unknown extra"),
        (lambda s: s.update({"1.gain": np.ones(5)}), r"1.gain has shape \(5,\), not \(4,\)"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change, message):
    network = make_network()
    before, state = network.state_dict(), make_network(1).state_dict()
    change(state)
    with pytest.raises(ValueError, match=message):
        network.load_state_dict(state)
    assert all(np.array_equal(before[key], value) for key, value in network.state_dict().items())


def test_load_state_dict_is_all_or_nothing():
    layer = nn.Linear(1, 1)
    before = layer.state_dict()
    with pytest.raises(ValueError, match="bias holds <U1"):
        layer.load_state_dict({"weight": [[5.0]], "bias": np.array(["a"])})
    with pytest.raises(ValueError, match="weight holds complex128"):
        layer.load_state_dict({"weight": np.ones((1, 1), complex), "bias": [1.0]})
    assert all(np.array_equal(before[key], value) for key, value in layer.state_dict().items())
    layer.load_state_dict({"weight": [[5.0]], "bias": [1.0]})
    assert layer.weight.item() == 5


def test_astype_and_deepcopy():
    network = make_network().astype("float64")
    assert {p.dtype for p in network.parameters()} | {b.dtype for b in network.buffers()} == {
        np.dtype("float64")
    }
    assert network(images().astype("float64")).dtype == np.float64
    twin = copy.deepcopy(network)
    twin[0].weight.assign(np.zeros((3, 3, 1, 4)))
    assert network[0].weight.data.any() and all(p.requires_grad for p in twin.parameters())


def test_a_module_survives_pickling():
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm(3))
    twin = pickle.loads(pickle.dumps(network))
    x = tensor(np.random.default_rng(0).standard_normal((4, 2)).astype("float32"))
    assert np.array_equal(host(twin(x)), host(network(x)))


def test_a_shared_parameter_counts_once():
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


def test_parts_that_would_not_be_trained_are_rejected():
    class Net(nn.Module):
        pass

    for value in ([Parameter(np.ones(1))], {"a": nn.Linear(1, 1)}, {"a": Parameter(np.ones(1))}):
        with pytest.raises(TypeError, match="Net.parts would not be trained"):
            Net().parts = value

    class Headed(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Linear(1, 1))
            self.head = nn.Linear(1, 1)

    names = [name for name, _ in Headed().named_parameters()]
    assert names == ["0.weight", "0.bias", "head.weight", "head.bias"]


def test_check_grads_of_a_network_names_its_parameters():
    network = make_network()
    before = network.state_dict()
    assert max(check_grads(network, images())) < 1e-6
    assert all(np.array_equal(before[key], value) for key, value in network.state_dict().items())

    class Wrong(nn.Linear):
        def forward(self, x):
            return x @ self.weight + self.bias.detach()

    with pytest.raises(AssertionError, match="Wrong, order 1: the gradient of bias is wrong"):
        check_grads(Wrong(3, 2), np.ones((2, 3)))


def test_batch_norm_statistics():
    x = np.random.default_rng(0).standard_normal((5, 2, 3, 4)) * 3 + 1
    for unbiased, n in ((True, 29), (False, 30)):
        layer = nn.BatchNorm(4, momentum=0.25, unbiased=unbiased).astype("float64")
        first = layer.running_mean
        y = host(layer(tensor(x)))
        np.testing.assert_allclose(y.mean((0, 1, 2)), 0, atol=1e-12)
        np.testing.assert_allclose(y.std((0, 1, 2)), 1, atol=1e-5)
        centred = x - x.mean((0, 1, 2))
        np.testing.assert_allclose(host(layer.running_mean), 0.25 * x.mean((0, 1, 2)))
        np.testing.assert_allclose(
            host(layer.running_var), 0.75 + 0.25 * (centred**2).sum((0, 1, 2)) / n
        )
        assert not first.any()  # the buffer was rebound, not written into
        mean_before = layer.eval().running_mean
        expected = (x - host(layer.running_mean)) / np.sqrt(host(layer.running_var) + 1e-5)
        np.testing.assert_allclose(host(layer(tensor(x))), expected)
        assert layer.running_mean is mean_before
    with pytest.raises(ValueError, match="batch of 1"):
        nn.BatchNorm(2)(tensor(np.ones((1, 2))))


def test_two_batches_in_one_graph_have_separate_statistics():
    layer = nn.BatchNorm(3).astype("float64")
    rng = np.random.default_rng(0)
    a, b = (tensor(rng.standard_normal((4, 3)), requires_grad=True) for _ in range(2))
    alone = host(grad((layer(a) ** 3).sum(), a))
    ya = layer(a)
    yb = layer(b)
    assert np.array_equal(host(grad((ya**3).sum() + (yb**3).sum(), a)), alone)


def test_dropout():
    layer = nn.Dropout(0.25, rng=np.random.default_rng(0))
    y = host(layer(tensor(np.ones((200, 200), "float32"))))
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs((y == 0).mean() - 0.25) < 0.01
    assert np.array_equal(host(layer.eval()(images())), host(images()))
    with pytest.raises(ValueError, match="rate"):
        nn.Dropout(1.0, rng=None)


def test_maxout_takes_the_largest_piece():
    layer = nn.Maxout(2, 3, pieces=4, rng=np.random.default_rng(0))
    x = tensor(np.random.default_rng(1).standard_normal((5, 2)), dtype="float32")
    pieces = host(layer.linear(x)).reshape(5, 3, 4)
    assert np.array_equal(host(layer(x)), pieces.max(2))


def test_initial_weights_are_a_function_of_the_generator():
    states = make_network(3).state_dict(), make_network(3).state_dict()
    assert all(np.array_equal(a, b) for a, b in zip(*(state.values() for state in states)))
    rng = np.random.default_rng(0)
    weight = host(nn.Linear(400, 300, rng=rng).weight)
    assert np.abs(weight).max() <= 1 / 20
    assert weight.std() == pytest.approx(1 / 20 / 3**0.5, rel=0.02)
    weight = host(nn.Linear(400, 300, rng=rng, init=nn.init.he_normal).weight)
    assert weight.std() == pytest.approx((2 / 400) ** 0.5, rel=0.02)


def test_print_shows_the_layers_of_a_network():
    class Block(nn.Module):
        def __init__(self):
            self.main = nn.Sequential(nn.Linear(2, 3), ops.relu, nn.Reshape(3, 1))
            self.twins = [nn.Linear(3, 3, bias=False), nn.ReLU()]
            self.channels = 3
            self.title = "an attribute of the user's"

    assert (
        repr(Block())
        == str(Block())
        == "\n".join(
            [
                "Block(channels=3)",
                "  main: Sequential()",
                "    0: Linear(weight=(2, 3), bias=(3,))",
                "    1: relu",
                "    2: Reshape(shape=(3, 1))",
                "  twins.0: Linear(weight=(3, 3))",
                "  twins.1: ReLU()",
            ]
        )
    )


def test_summary_finds_an_example_input():
    rng = np.random.default_rng(0)
    for name, recipe in recipes.RECIPES.items():
        settings = recipe.settings()
        side = 28 + 2 * settings.pad
        for network in recipe.build(settings, (side, side, 1), 10, rng):
            summary = nn.summary(network)
            total = summary[-1]
            assert total.path == "total" and total.parameters == sum(
                p.size for p in network.parameters()
            ), name
            assert total.parameters == sum(row.parameters for row in summary[:-1])
            assert total.multiply_adds > 0
            header, *lines = str(summary).splitlines()
            assert header.split() == ["layer", "kind", "output", "parameters", "multiply-adds"]
            assert len(lines) == len(summary) and f"{total.parameters:,}" in lines[-1]
    with pytest.raises(TypeError, match="give an example input x, such as"):
        nn.summary(nn.Sequential(nn.ReLU()))

    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    assert nn.summary(nn.Sequential(Pair()), np.ones((1, 3)))[0][:3] == ("0", "Pair", "")
    assert nn.summary(nn.Linear(3, 2), np.ones((1, 3)))[0][:3] == ("(all)", "Linear", (1, 2))


def test_summary_counts_by_hand():
    network = make_network()
    rows = nn.summary(network, images(n=1))
    assert [(r.path, r.kind, r.shape, r.parameters, r.multiply_adds) for r in rows] == [
        ("0", "Conv2d", (1, 4, 4, 4), 40, 16 * 9 * 4),
        ("1", "BatchNorm", (1, 4, 4, 4), 8, 0),
        ("2", "LeakyReLU", (1, 4, 4, 4), 0, 0),
        ("3", "Flatten", (1, 64), 0, 0),
        ("4", "Linear", (1, 2), 130, 128),
        ("total", "", "", 178, 704),
    ]
    assert network.training and network[0](images()).shape == (3, 4, 4, 4)
    assert "forward" not in vars(network[0])


def test_a_network_accepts_an_array():
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm(3))
    with no_grad():
        assert network(asarray(np.ones((4, 2), "float32"))).shape == (4, 3)


def test_the_error_of_a_module_without_forward():
    with pytest.raises(NotImplementedError, match="Module must define forward"), no_grad():
        nn.Module()(1)


# Sequential


def double(x):
    return x * 2


def network_with_functions():
    return nn.Sequential(
        nn.Linear(2, 3, rng=np.random.default_rng(0)), ops.relu, double, nn.Linear(3, 1, bias=False)
    )


def test_functions_as_layers():
    network = network_with_functions()
    x = tensor(np.random.default_rng(1).standard_normal((4, 2)), dtype="float32")
    assert np.array_equal(host(network(x)), host(network[3](2 * ops.relu(network[0](x)))))
    assert [name for name, _ in network.named_parameters()] == ["0.weight", "0.bias", "3.weight"]
    assert [name for name, _ in network.children()] == ["0", "3"]
    lines = ["Sequential()", "  0: Linear(weight=(2, 3), bias=(3,))", "  1: relu", "  2: double"]
    assert repr(network) == "\n".join([*lines, "  3: Linear(weight=(3, 1))"])
    assert list(network.state_dict()) == ["0.weight", "0.bias", "3.weight"]
    assert (len(network), network[1], list(network)[2]) == (4, ops.relu, double)
    part = network[1:3]
    assert list(part) == [ops.relu, double] and not part.parameters() and host(part(x)).min() == 0
    check_grads(network, np.random.default_rng(2).standard_normal((3, 2)))
    network.layers.append(lambda y: y - 1)  # as models do
    assert host(network(x)).max() < host(network[:4](x)).max() and not network.eval()[0].training


@pytest.mark.parametrize(
    "duplicate",
    [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))],
    ids=["deepcopy", "pickle"],
)
def test_copies_of_a_network_with_functions(duplicate):
    network, x = network_with_functions(), tensor(np.ones((4, 2), "float32"))
    twin = duplicate(network)
    assert np.array_equal(host(twin(x)), host(network(x)))
    assert twin[0].weight is not network[0].weight
    assert (twin[1], twin[2]) == (ops.relu, double)


def test_only_modules_receive_the_condition():
    def function(x, condition=None):
        assert condition is None
        return x

    function.conditional = True
    norm = nn.ConditionalBatchNorm.of_classes(3, 2)
    x = tensor(np.random.default_rng(0).standard_normal((4, 2, 2, 3)), dtype="float32")
    labels = [0, 1, 1, 0]
    assert np.array_equal(host(nn.Sequential(function, norm)(x, labels)), host(norm(x, labels)))


@pytest.mark.parametrize(
    "layer, got",
    [
        (3, "3"),
        (None, "None: leave it out"),
        (0.5, "0.5"),
        (nn.ReLU, "<class 'tinygan.nn.layers.ReLU'>: write it with parentheses"),
        ([nn.ReLU()], "[ReLU()]: write Sequential(*layers)"),
        ((nn.ReLU(),), "(ReLU(),): write Sequential(*layers)"),
        ({1: 2}, "{1: 2}: write Sequential(*layers.values())"),
        ("relu", "'relu'"),
        (np.ones(2), "float64 (2,)"),
        (tensor([1.0]), "float32 (1,)"),
    ],
)
def test_sequential_rejects_what_is_not_a_layer(layer, got):
    with pytest.raises(TypeError) as raised:
        nn.Sequential(nn.Flatten(), layer)
    assert str(raised.value) == f"Sequential: layer 1 must be a Module or a function, got {got}"
