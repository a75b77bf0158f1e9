"""Whatever a Module can reach is trained, or it is refused when its parts are first asked for."""

import collections
import dataclasses
import functools
import types
import weakref

import numpy as np
import pytest

from tinygan import Parameter, nn, ops, tensor

X = tensor([[1.0, 1.0]])


def layer():
    return nn.Linear(2, 2)


class Holder(nn.Module):
    """A Module with a value in an attribute, which is set to `initial` first and filled later."""

    def __init__(self, value, initial=None):
        self.head = layer()
        self.thing = initial if initial is not None else value
        if initial is not None:
            fill(self.thing, value)

    def forward(self, x):
        return self.head(x)


def fill(container, value):
    add = {list: "append", set: "add", dict: "update", collections.deque: "append"}
    getattr(container, add[type(container)])(value)


@dataclasses.dataclass
class Record:
    part: object


class Plain:
    def __init__(self, part):
        self.deep = [{"a": part}]


class Slotted:
    __slots__ = ("part",)

    def __init__(self, part):
        self.part = part


Pair = collections.namedtuple("Pair", "part other")
GLOBAL_LAYER, GLOBAL_LAYERS = layer(), {"a": layer()}


def uses_a_global(x):
    return GLOBAL_LAYER(x)


def uses_a_global_dict(x):
    return GLOBAL_LAYERS["a"](x)


def with_closure(part):
    return lambda x: part(x)


def with_nested_closure(part):
    def inner(x):
        return part(x)

    return lambda x: inner(x)


def with_default(part):
    def function(x, part=part):
        return part(x)

    return function


def object_array(part):
    array = np.empty(1, object)
    array[0] = part
    return array


# name: (what the attribute holds, what the message calls it)
REFUSED = {
    "set": (lambda part: {part}, "in a set"),
    "frozenset": (lambda part: frozenset([part]), "in a frozenset"),
    "deque": (lambda part: collections.deque([part]), "in a deque"),
    "defaultdict": (lambda part: collections.defaultdict(list, a=[part]), ""),
    "dict in a list": (lambda part: [[{"a": part}]], "in a list"),
    "set in a tuple": (lambda part: (1, {part}), "in a tuple"),
    "dict in a dict": (lambda part: {"a": {"b": part}}, "in a dict"),
    "dataclass": (Record, "in a Record"),
    "plain object": (Plain, "in a Plain"),
    "object with slots": (Slotted, "in a Slotted"),
    "SimpleNamespace": (lambda part: types.SimpleNamespace(a=part), "in a SimpleNamespace"),
    "partial": (lambda part: functools.partial(map, part), "in a partial"),
    "partial's keyword": (lambda part: functools.partial(map, f=part), "in a partial"),
    "closure": (with_closure, "in a function"),
    "nested closure": (with_nested_closure, "in a function"),
    "default": (with_default, "in a function"),
    "method": (lambda part: part.__repr__, "in a function"),
    "iterator": (lambda part: iter([part]), "in a list_iterator"),
    "map": (lambda part: map(with_closure(part), []), ""),
    "object array": (object_array, "in a ndarray"),
    "mappingproxy": (lambda part: types.MappingProxyType({"a": part}), "in a mappingproxy"),
}


@pytest.mark.parametrize(
    "make",
    [layer, lambda: nn.Sequential(layer()), nn.ReLU],
    ids=["layer", "Sequential", "no parameters"],
)
@pytest.mark.parametrize("name", REFUSED)
def test_modules_that_nothing_would_train_are_refused(name, make):
    hold, where = REFUSED[name]
    part = make()
    with pytest.raises(TypeError) as raised:
        Holder(hold(part)).parameters()
    message = str(raised.value)
    assert message.startswith("Holder.thing would not be trained (a ") and where in message
    assert type(part).__name__ in message and "Modules as attributes or in lists" in message


@pytest.mark.parametrize("name", [name for name in REFUSED if "method" not in name])
def test_parameters_that_nothing_would_train_are_refused(name):
    with pytest.raises(TypeError, match=r"Holder.thing would not be trained \(a Parameter in "):
        Holder(REFUSED[name][0](Parameter(np.ones(2)))).parameters()


@pytest.mark.parametrize("initial", [{}, set(), [], collections.deque()], ids=str)
def test_containers_that_are_filled_later(initial):
    w = Parameter(np.ones(2))
    network = Holder({"a": w} if isinstance(initial, dict) else w, type(initial)())
    with pytest.raises(TypeError, match="Holder.thing would not be trained"):
        network.parameters()


def test_everything_that_needs_the_parts_refuses():
    network = nn.Sequential(layer(), uses_a_global)
    for ask in (
        network.parameters,
        network.named_parameters,
        network.modules,
        network.state_dict,
        lambda: network.load_state_dict({}),
        network.train,
        network.eval,
        lambda: network.astype("float64"),
        lambda: nn.summary(network, X),
    ):
        with pytest.raises(TypeError, match=r"Sequential.layers would not be .* in a function\)"):
            ask()
    with pytest.raises(TypeError, match="Sequential.layers"):
        Holder(network).parameters()  # a part of a part
    with pytest.raises(TypeError, match="a Linear in a function"):
        nn.Sequential(uses_a_global_dict).parameters()
    assert network(X).shape == (1, 2)  # a call is never checked


def test_lists_of_lists_are_trained():
    network = Holder([[layer(), nn.ReLU()], (layer(), [layer()])])
    network.thing.append(Pair(layer(), 3))
    names = [name for name, _ in network.named_parameters() if name.endswith("weight")]
    paths = ["head", "thing.0.0", "thing.1.0", "thing.1.1.0", "thing.2.0"]
    assert names == [f"{path}.weight" for path in paths]
    assert list(network.state_dict()) == [name for name, _ in network.named_parameters()]
    assert not network.eval().thing[0][1].training
    twin = Holder([[layer(), nn.ReLU()], (layer(), [layer()]), Pair(layer(), 3)])
    twin.load_state_dict(network.state_dict())
    assert (twin.thing[1][1][0].weight.data == network.thing[1][1][0].weight.data).all()


def test_what_is_reached_in_two_ways_is_fine():
    network = Holder([layer()])
    network.again = with_closure(network.thing[0])
    network.lookup = {}
    network.lookup["head"], network.lookup["w"] = network.head, network.head.weight
    network.itself = Record(network)
    assert len(network.parameters()) == 4


def test_what_holds_no_parameters_is_fine():
    values = [
        nn.Linear,
        weakref.ref(GLOBAL_LAYER),
        ops.relu,
        lambda x: 2 * x,
        {"a": [1, "b", None]},
        np.random.default_rng(0),
        tensor([1.0]),
        tensor([1.0], requires_grad=True) * 2.0,  # a result of ops
        Record([tensor([1.0])]),
        functools.partial(nn.Conv2d, bias=False),
        np.array([1, None]),
    ]
    for value in values:
        assert len(Holder(value).parameters()) == 2


def test_a_tensor_that_requires_a_gradient_is_no_parameter():
    for value in (tensor([1.0], requires_grad=True), [tensor([1.0], requires_grad=True)]):
        with pytest.raises(TypeError) as raised:
            Holder(value).parameters()
        assert "Holder.thing would not be trained (a Tensor that requires a grad" in str(
            raised.value
        )
        assert "make it a Parameter, as an attribute of its own" in str(raised.value)


def test_a_frozen_network_may_be_anywhere():
    """Such as a teacher, or the network of a perceptual loss."""
    teacher = layer()
    for parameter in teacher.parameters():
        parameter.requires_grad = False
    assert len(Holder(with_closure(teacher)).parameters()) == 2
    teacher.bias.requires_grad = True
    with pytest.raises(TypeError, match="a Linear in a function"):
        Holder(with_closure(teacher)).parameters()


def test_attributes_of_the_class_and_slots():
    class OfClass(nn.Module):
        part = layer()

    class OfBase(OfClass):
        pass

    class WithSlot(nn.Module):
        __slots__ = ("part",)

        def __init__(self):
            self.part = layer()

    class Overridden(OfClass):
        def __init__(self):
            self.part = layer()

    for kind in (OfClass, OfBase, WithSlot):
        with pytest.raises(TypeError) as raised:
            kind().parameters()
        assert str(raised.value) == (
            f"{kind.__name__}.part would not be trained (a Linear): it belongs to the class: set "
            "it in __init__, as self.part"
        )
    assert len(Overridden().parameters()) == 2


def test_a_hook_is_no_part():
    network = nn.Sequential(layer(), nn.ReLU())
    with nn.feature_maps(network):
        assert len(network.parameters()) == len(network[0].parameters()) == 2
