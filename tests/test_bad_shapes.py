"""Arguments that do not fit: every op and layer accepts them, or raises a clear error of one line.

The op table lists the ops and layers with valid arguments. The tests change these arguments in the
ways that users are likely to get them wrong.
"""

import ast
import copy
import functools
import inspect
import linecache
import os
from typing import Callable, NamedTuple

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis.extra.numpy import array_shapes

import tinygan
from tinygan import Tensor, anomaly, nn, ops, tensor
from tinygan.autograd import engine, op
from tinygan.backend import asarray, to_numpy, xp
from tinygan.errors import Diverged, InputError
from tinygan.gan import losses
from tinygan.optable import ROWS
from tinygan.training.recipes import RECIPES

# Older NumPy only warns of an index out of range if the result is empty. Newer raises an error.
pytestmark = pytest.mark.filterwarnings("ignore:Out of bound index found:DeprecationWarning")

PACKAGE = os.path.dirname(tinygan.__file__) + os.sep


@functools.cache
def raise_statements(file):
    """The numbers of the lines of a file that belong to `raise` statements."""
    tree = ast.parse("".join(linecache.getlines(file)))
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Raise))
    return {line for node in nodes for line in range(node.lineno, node.end_lineno + 1)}


def attempt(name, call, hints=()):
    """Check that call() returns Tensors, or raises a good error. Return the error, or None."""
    try:
        results = call()
    except (TypeError, ValueError, IndexError) as error:
        check_error(name, error, hints)
        return error
    for y in results if isinstance(results, tuple) else [results]:
        assert isinstance(y, Tensor) and isinstance(y.data, xp.ndarray)
        assert y.dtype in (np.float32, np.float64)
    return None


def check_error(name, error, hints=()):
    """Check `error`: raised in tinygan, of one line, with `name` and one of `hints`."""
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    file, line = trace.tb_frame.f_code.co_filename, trace.tb_lineno
    raised_here = file.startswith(PACKAGE) and line in raise_statements(file)
    assert raised_here, f"from {file}:{line}: {error!r}"
    message = str(error)
    assert message and "\n" not in message and name in message, f"{name} is not in {message!r}"
    assert not hints or any(h in message for h in hints), f"none of {hints} is in {message!r}"


# Ops and layers with valid arguments


class Case(NamedTuple):
    """A row of the op table.

    name: of the op or layer. function: takes `inputs`, float32 arrays of NumPy, and `settings`.
    """

    row: str
    name: str
    function: Callable
    inputs: list
    settings: dict


def cases():
    for row in ROWS:
        name, closure = row.name.split()[0], inspect.getclosurevars(row.function).nonlocals
        inputs = [x.astype("float32") for x in row.draw(np.random.default_rng(0))]
        if "make" in closure:  # a layer: called without its parameters
            make = closure["make"]
            inputs = inputs[: len(inputs) - len(make().parameters())]
            yield Case(row.name, name, lambda *xs, make=make: make()(*xs), inputs, {})
        elif not hasattr(nn, name):  # a layer without "make" takes no Tensors but parameters
            call = closure.get("call")
            settings = inspect.getclosurevars(call).nonlocals.get("settings", {}) if call else {}
            function = closure["function"] if settings else row.function
            yield Case(row.name, name, function, inputs, settings)


CASES = list(cases())
each_case = pytest.mark.parametrize("case", CASES, ids=[case.row for case in CASES])


def test_the_cases_are_the_op_table():
    rows = {row.name for row in ROWS} - {case.row for case in CASES}
    # test_labels tests these.
    assert rows == {"ConditionalBatchNorm classes", "Embedding", "SpectralNorm Embedding"}
    assert len(CASES) > 200 and sum(bool(case.settings) for case in CASES) > 80
    for case in CASES:
        inputs = map(as_argument, case.inputs)
        assert attempt(case.name, lambda: case.function(*inputs, **case.settings)) is None


def as_argument(array, kind="tensor"):
    """A NumPy array as a user passes it: as a Tensor if possible, or as an array of the backend."""
    try:
        array = asarray(array)
        return Tensor(array) if kind == "tensor" else array
    except (TypeError, ValueError):
        return array


# Invalid arguments

NO_ARRAYS = {
    "None": None,
    "text": "text",
    "object": object(),
    "number": 1.5,
    "complex number": 1j,
    "nothing": [],
    "list of None": [None],
    "ragged list": [[1.0], [1.0, 2.0]],
}
DTYPES = ["float64", "float16", "int64", "uint8", "bool", "complex64", "object", "U8"]


def resized(x, shape):
    """The values of x, repeated as needed, in another shape. Positive values stay positive."""
    return np.resize(x, shape) if x.size else np.zeros(shape, x.dtype)


def cast(x, dtype):
    """x in another dtype; ones if the dtype would round values to 0, which some ops reject."""
    return x.astype(dtype) if dtype.startswith("float") else np.ones(x.shape).astype(dtype)


def changed_arrays(x):
    """Yield arrays whose dtype or shape differs from that of x."""
    yield from (cast(y, dtype) for dtype in DTYPES for y in (x, resized(x, ())))
    shapes = [(1, *x.shape), (*x.shape, 1), (*x.shape, 2), (), (0,), (0,) * x.ndim]
    for axis, n in enumerate(x.shape):
        before, after = x.shape[:axis], x.shape[axis + 1 :]
        shapes += [before + after, *(before + (m,) + after for m in (0, 1, n - 1, n + 1, 2 * n, 7))]
    yield from (resized(x, shape) for shape in dict.fromkeys(shapes) if shape != x.shape)


def attempt_with(case, i, value, hints=()):
    """Attempt the case with another value of argument i."""
    floating = getattr(value, "dtype", None) in (np.float32, np.float64)
    if case.name in ("mul_constant", "leaky_relu_gradient") and not floating:
        return None  # ops use these with floating arrays only; their rows derive a constant from x
    inputs = [value if j == i else as_argument(x) for j, x in enumerate(case.inputs)]
    return attempt(case.name, lambda: case.function(*inputs, **case.settings), hints)


@each_case
def test_arguments(case):
    for i, x in enumerate(case.inputs):
        for value in [*NO_ARRAYS.values(), x.tolist()]:
            attempt_with(case, i, value)
        for array in changed_arrays(x):
            for value in (as_argument(array), as_argument(array, "array")):
                attempt_with(case, i, value, hints(array))


def hints(array):
    """What a message may say about an array: its shape, its dtype, or its lengths in words."""
    n, height, width = (*array.shape, 0, 0, 0)[:3]
    return (
        str(array.shape),
        array.dtype.name,
        str(array.dtype),
        f"{height}x{width} image",
        f"images of {height}x{width} ",
        f"batch of {n} ",
        f" {n} images",
        f" {n} integers",
        f"0..{n - 1}, ",
        f"0..{[0, *array.shape][-1] - 1}, ",
    )


def attempt_with_several(data):
    """Attempt a case with any shapes and dtypes of any of its arguments."""
    case = data.draw(st.sampled_from(CASES))
    inputs = list(case.inputs)
    for i, x in enumerate(inputs):
        if data.draw(st.booleans()):
            shape = data.draw(array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=6))
            x = resized(x, shape)
            x = cast(x, data.draw(st.sampled_from(["float32", "float32", *DTYPES])))
        inputs[i] = as_argument(x, data.draw(st.sampled_from(["tensor", "array"])))
    attempt(case.name, lambda: case.function(*inputs, **case.settings))


@hypothesis.settings(max_examples=max(150, hypothesis.settings().max_examples))
@hypothesis.given(st.data())
def test_several_arguments(data):
    attempt_with_several(data)


@pytest.mark.slow
@hypothesis.settings(max_examples=20_000, derandomize=False)
@hypothesis.given(st.data())
def test_several_arguments_thoroughly(data):
    attempt_with_several(data)


SETTINGS = [
    None,
    "text",
    object(),
    True,
    -1,
    0,
    7,
    2.5,
    float("nan"),
    2**70,
    (),
    (1, 2),
    (1, 2, 3),
    (1, 2, 3, 4),
    [0, 1],
    ("a", "b"),
    ((1, 2), (3, 4)),
    [[1], [1, 2]],
]
ARRAYS = [
    np.ones(3),
    np.array([0, 9, -3]),
    np.array([True, False]),
    np.ones((2, 2, 2)),
    np.zeros(0, int),
]


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.settings], ids=lambda case: case.row
)
def test_settings(case):
    inputs = [as_argument(x) for x in case.inputs]
    for key, value in case.settings.items():
        arrays = [] if isinstance(value, (int, float, str)) else map(asarray, ARRAYS)
        for other in [*SETTINGS, *arrays, tensor([1.0])]:
            attempt(case.name, lambda: case.function(*inputs, **(case.settings | {key: other})))


# Broadcasting and reshaping would accept these silently


def ones(*shape):
    return tensor(np.ones(shape), dtype="float32")


@pytest.mark.parametrize(
    "name, call",
    [
        ("mul_constant", lambda: ops.mul_constant(ones(4), asarray(np.ones((3, 4), "float32")))),
        ("modulate", lambda: ops.modulate(ones(3, 4), ones(2, 1, 4))),
        ("modulate", lambda: ops.modulate(ones(4), None, ones(3, 1))),
        ("batch_norm", lambda: ops.batch_norm(ones(), ones(4))),
        ("batch_norm", lambda: ops.batch_norm(ones(3, 4), ones(2, 1, 4))),
        ("instance_norm", lambda: ops.instance_norm(ones(1, 2, 2, 4), ones(3, 1, 1, 4))),
        (
            "modulated_conv2d",
            lambda: ops.modulated_conv2d(ones(2, 4, 4, 3), ones(3, 3, 3, 2), ones(1, 3)),
        ),
        (
            "modulated_conv2d",
            lambda: ops.modulated_conv2d(ones(1, 4, 4, 3), ones(3, 3, 3, 2), ones(2, 3)),
        ),
        (
            "modulated_conv2d",
            lambda: ops.modulated_conv2d(ones(2, 4, 3), ones(3, 3, 3, 2), ones(2, 3)),
        ),
        (
            "modulated_conv2d",
            lambda: ops.modulated_conv2d(ones(2, 4, 4, 3), ones(2, 2, 3, 2), ones(2, 3)),
        ),
        ("conv2d", lambda: ops.conv2d(ones(2, 4, 4, 3), ones(3, 0, 3, 2))),
        ("conv2d_up", lambda: ops.conv2d_up(ones(2, 4, 4, 3), ones(5, 5, 3, 2))),
        ("conv2d_down", lambda: ops.conv2d_down(ones(2, 4, 4, 3), ones(2, 2, 3, 2))),
        (
            "conv_transpose2d",
            lambda: ops.conv_transpose2d(ones(2, 1, 1, 3), ones(3, 3, 2, 3), padding=2),
        ),
        ("upsample_nearest", lambda: ops.upsample_nearest(ones(4, 4, 3))),
        ("translate", lambda: ops.translate(ones(2, 4, 4), np.ones((2, 2), int))),
        ("embedding", lambda: ops.embedding(ones(5, 3, 2), [1])),
        ("cross_entropy", lambda: ops.cross_entropy(ones(3, 4, 1), [0, 1, 2])),
        ("relativistic", lambda: losses.find("relativistic").discriminator(ones(4, 1), ones(4))),
        ("relativistic", lambda: losses.find("relativistic").generator(ones(3), ones(1))),
        ("Maxout", lambda: nn.Maxout(4, 3, 2)(ones(1, 2, 4))),
        ("Mapping", lambda: nn.Mapping(3, 4, rng=np.random.default_rng(0))(ones(1, 2, 3))),
        ("Noise", lambda: nn.Noise(3, 4, rng=np.random.default_rng(0)).eval()(ones(2, 1, 4, 3))),
        ("SelfAttention", lambda: nn.SelfAttention(8)(ones(2, 3, 4, 8))),
    ],
)
def test_shapes_that_would_broadcast_raise(name, call):
    assert attempt(name, call) is not None


# Labels and other constants


def test_labels():
    weight, logits, rng = tensor(np.ones((5, 3))), tensor(np.ones((3, 5))), np.random.default_rng(0)
    norm, images = nn.ConditionalBatchNorm.of_classes(4, 5), ones(3, 2, 2, 4)
    functions = {
        "embedding": lambda y: ops.embedding(weight, y),
        "cross_entropy": lambda y: ops.cross_entropy(logits, y),
        "Embedding": lambda y: nn.Embedding(5, 3)(y),
        "ConditionalBatchNorm": lambda y: norm(images, y),
        "SpectralNorm": lambda y: nn.SpectralNorm(nn.Embedding(5, 3))(y),
        "Mapping": lambda y: nn.Mapping(0, 4, 1, classes=5, separate_norms=True, rng=rng)(None, y),
    }
    for name, function in functions.items():
        assert attempt(name, lambda: function([0, 4, 1])) is None
        for wrong in ([0, 5, 1], [-1, 0, 1], np.array([0, 2**40, 1])):
            error = attempt(name, lambda: function(wrong))
            assert isinstance(error, IndexError) and "0..4, got " in str(error)
        for wrong in (
            None,
            1.0,
            "abc",
            [0.5, 1.0, 2.0],
            ["a", "b", "c"],
            np.ones(3),
            np.ones(3, bool),
            [[0], [1, 2]],
            tensor([0.0, 1.0, 2.0]),
            asarray(np.ones(3, "complex64")),
        ):
            assert attempt(name, lambda: function(wrong)) is not None
        if name in ("cross_entropy", "ConditionalBatchNorm"):
            for wrong in ([0, 1], [], 1, [[0, 1, 2]], [[0], [1], [2]]):
                assert attempt(name, lambda: function(wrong)) is not None


@pytest.mark.parametrize(
    "wrong",
    [None, "abc", [0.5, 1.0], np.ones((2, 2)), np.ones(2, int), [[1, 2], [3]], np.zeros((0, 2))],
)
def test_shifts_and_maps(wrong):
    images = tensor(np.ones((3, 4, 4, 1)))
    assert attempt("translate", lambda: ops.translate(images, wrong)) is not None
    assert attempt("affine_warp", lambda: ops.affine_warp(images, wrong)) is not None


def test_indices():
    x = tensor(np.ones((3, 4)))
    for wrong in (
        3,
        -4,
        1.5,
        "a",
        (0, 4),
        (0, 0, 0),
        [3],
        [1.5],
        ["a"],
        [[0], [1, 2]],
        np.array([3]),
        np.ones(3),
        np.ones(2, bool),
        (..., ...),
        tensor([1.0]),
    ):
        error = attempt("getitem", lambda: x[wrong])
        assert error is not None and "float32 (3, 4)" in str(error).replace("64", "32")
    assert isinstance(attempt("getitem", lambda: x[3]), IndexError)  # like that of a list


# Layers in networks


def net(seed=0):
    rng = np.random.default_rng(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, rng=rng),
        nn.BatchNorm(4),
        nn.Flatten(),
        nn.Linear(64, 2, rng=rng),
    )


class Wide(nn.Module):
    def __init__(self):
        self.blocks = [net(), net(1)]

    def forward(self, x, index=1):
        block = self.blocks[index]
        return nn.Sequential(*block[:3])(x) + block[3](ops.reshape(x, (-1, 8)))


def message(call, kind=ValueError):
    with pytest.raises(kind) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_layer_is_named_by_its_path():
    rgb, large = ones(2, 4, 4, 3), ones(2, 6, 6, 1)
    text = message(lambda: net()(rgb))
    assert text.startswith(
        "Sequential.0 Conv2d(weight=(3, 3, 1, 4), bias=(4,), stride=1, padding=1, groups=1): conv2d"
    )
    assert "3 image channels" in text and "float32 (2, 4, 4, 3)" in text
    linear = "Linear(weight=(64, 2), bias=(2,)): affine: "
    assert message(lambda: net()(large)).startswith(f"Sequential.3 {linear}")
    # The path starts at the outermost network, even through modules created during the call.
    assert message(lambda: Wide()(rgb)).startswith("Wide.blocks.1.0 Conv2d(weight")
    assert message(lambda: Wide()(large)).startswith(f"Wide.blocks.1.3 {linear}")
    assert message(lambda: Wide()(large, 2), IndexError) == "Wide(): list index out of range"
    linear = "Linear(weight=(4, 3), bias=(3,)): affine: "
    assert message(lambda: nn.Linear(4, 3)(large)).startswith(linear)
    network = nn.Sequential(nn.Flatten(), nn.Sequential(ops.relu, lambda x: ops.reshape(x, (7, 7))))
    assert message(lambda: network(rgb)).startswith("Sequential.1 Sequential(): reshape: ")


def test_the_wrong_number_of_arguments():
    network, x = nn.Sequential(nn.Flatten(), nn.ReLU()), ones(2, 3)
    takes = "Flatten(): takes (x), got (float32 (2, 3), 2)"
    assert message(lambda: network[0](x, 2), TypeError) == takes
    assert message(network, TypeError) == "Sequential(): takes (x, condition=None), got ()"
    text = message(lambda: network[1](x, slope=2), TypeError)
    assert text == "ReLU(): takes (x), got (float32 (2, 3), slope=2)"
    outer = nn.Sequential(lambda x: network[0](x, 2))
    assert message(lambda: outer(x), TypeError) == f"Sequential(): {takes}"
    outer.part = network
    assert message(lambda: outer(x), TypeError) == f"Sequential.part.0 {takes}"
    with nn.feature_maps(network) as maps:  # it wraps forward
        assert message(lambda: network[0](x, 2), TypeError) == takes and not maps


def test_the_titles_of_layers():
    rng = np.random.default_rng(0)
    for layer, text in (
        (nn.Embedding(5, 3), "Embedding(weight=(5, 3))"),
        (nn.BatchNorm(4), "BatchNorm(gain=(4,), bias=(4,))"),
        (nn.BatchNorm(4, affine=False), "BatchNorm(running_mean=(4,), running_var=(4,))"),
        (nn.Reshape(3, 2), "Reshape(shape=(3, 2))"),
        (nn.AvgPool2d(2), "AvgPool2d(size=2)"),
        (nn.SelfAttention(8), "SelfAttention(gamma=(), channels=8)"),
        (nn.ReLU().eval(), "ReLU()"),
        (nn.Mapping(3, 4, classes=2, rng=rng), "Mapping(latent=3, classes=2)"),
    ):
        assert layer.one_line_repr() == text


def test_errors_that_are_not_about_arguments_stay_as_they_are():
    class Fails(nn.Module):
        def __init__(self, error):
            self.error = error

        def forward(self, x):
            raise self.error

    class Odd(ValueError):
        def __init__(self, a, b):
            super().__init__(a, b)

    class Log(nn.Module):
        def forward(self, x):
            return ops.log(x - 1.0)

    x = tensor([1.0])
    for error in (
        Odd(1, 2),
        InputError("a setting"),
        Diverged("step 1"),
        KeyError("k"),
        ValueError(1),
        ValueError(),
        ValueError("a", "b"),
        FloatingPointError("log produced inf"),
        RuntimeError("used up"),
        UnicodeDecodeError("a", b"", 0, 1, ""),
    ):
        before = error.args, dict(vars(error))
        with pytest.raises(type(error)) as caught:
            nn.Sequential(Fails(error))(x)
        assert caught.value is error and (error.args, vars(error)) == before
    error = ValueError("mine")
    network = nn.Sequential(nn.Sequential(Fails(error)))
    for _ in range(2):  # raised again, the same error does not grow
        with pytest.raises(ValueError) as caught:
            network(x)
        assert caught.value is error and error.__cause__ is None
        assert str(error) == "Sequential.0.0 Fails(): mine"
    text = "^log produced inf in 1 of 1 values; called at "
    with anomaly(), pytest.raises(FloatingPointError, match=text):
        nn.Sequential(nn.Sequential(), Log())(x)


def test_the_error_inside_an_op_is_the_cause():
    @op
    def cube(x, /):
        return x.data**3 + np.ones(7), lambda g: g * 3.0 * x * x

    text = r"^cube: .*; given float32 \(2, 3\)$"
    with pytest.raises((ValueError, TypeError), match=text) as caught:
        cube(ones(2, 3))
    assert caught.value.__cause__ is not None  # the traceback shows the user's line
    text = r"^min: max: axis 5 is out of range .*; given float32 \(2, 3\), 5$"
    with pytest.raises(ValueError, match=text):
        ops.min(ones(2, 3), 5)
    text = r"^add: the shapes do not broadcast; given float32 \(2,\), float32 \(3,\)$"
    with anomaly(), pytest.raises(ValueError, match=text):
        tensor([1.0, 2.0]) + tensor([1.0, 2.0, 3.0])


def test_an_error_leaves_a_layer_unchanged():
    for layer, condition in (
        (nn.BatchNorm(4), ()),
        (nn.ConditionalBatchNorm.of_classes(4, 3), ([0, 1, 2],)),
    ):
        before = copy.deepcopy(layer).state_dict()
        for x in (ones(3, 5), ones(3, 4).astype("float64"), ones(1, 4), ones(0, 4), ones(4)):
            assert attempt(type(layer).__name__, lambda: layer(x, *condition)) is not None
        for key, value in layer.state_dict().items():
            assert np.array_equal(value, before[key]) and value.dtype == before[key].dtype


# Networks


def networks(name):
    """The settings of a recipe, G and D with few channels, and the side of their images."""
    recipe = RECIPES[name]
    settings = recipe.settings()
    small = {
        "hidden": 16,
        "g_channels": 8,
        "d_channels": 8,
        "channels": 4,
        "max_channels": 8,
        "style": 8,
        "attention": 0,
    }
    changes = {key: value for key, value in small.items() if hasattr(settings, key)}
    settings = settings.updated(changes)
    side = 28 + 2 * settings.pad
    return settings, *recipe.build(settings, (side, side, 1), 10, np.random.default_rng(0)), side


def check_raises(network, inputs, *parts):
    """Check that network(*inputs) raises an error that names it first and contains `parts`."""
    text = str(attempt(type(network).__name__, lambda: network(*inputs)))
    assert text.startswith(type(network).__name__) and all(part in text for part in parts), text


@pytest.mark.parametrize("name", RECIPES)
def test_latents_and_images_of(name):
    settings, G, D, side = networks(name)
    length, labels = settings.latent, (np.array([3, 1, 4, 1]),) * (settings.g_class != "none")
    for shape in (
        (4, length - 1),
        (4, length + 1),
        (8, length // 2),
        (4, length, 1),
        (length,),
        (2, 2, length),
        (),
    ):
        check_raises(G, (ones(*shape), *labels), f"(N, {length})", f"got float32 {shape}")
    shapes = [
        (4, side, side, 3),
        (4, side + 1, side, 1),
        (4, side, side + 2, 1),
        (4, side - 1, side - 1, 1),
        (side, side, 1),
        (4, side, side),
        (4, side * side),
        (4, 1, side, side),
    ]
    # Other discriminators accept any multiple of 4.
    if settings.d_class == "concat" or "H" not in getattr(D, "D", D).image_shape:
        shapes += [(4, side + 4, side + 4, 1), (4, side // 2, side // 2, 1)]
    for shape in shapes:
        check_raises(D, (ones(*shape), *labels), "images", f"got float32 {shape}")
    for network, shape in ((G, (4, length)), (D, (4, side, side, 1))):
        for wrong in (
            None,
            "z",
            as_argument(np.zeros(shape)),
            asarray(np.zeros(shape, complex)),
            np.zeros(shape, object),
        ):
            check_raises(network, (wrong, *labels))
        check_raises(network, (), "takes (", "got ()")


@pytest.mark.parametrize(
    "name", [name for name, recipe in RECIPES.items() if recipe.settings().g_class != "none"]
)
def test_labels_of(name):
    settings, G, D, side = networks(name)
    labels, z, images = np.array([3, 1, 4, 1]), ones(4, settings.latent), ones(4, side, side, 1)
    check_raises(G, (z,), "label")
    # An auxiliary classifier ignores the labels.
    conditional = [(G, z)] if settings.d_class == "auxiliary" else [(G, z), (D, images)]
    for network, x in conditional:
        for wrong in (
            labels[:3],
            labels[:1],
            [*labels, 1],
            labels[:, None],
            labels.reshape(2, 2),
            3,
            None,
            "1234",
            [],
            ones(4),
            ones(4, 9),
        ):
            check_raises(
                network, (x, wrong), "a label for each of 4 samples, integers (4,) in 0..9, got "
            )
        for wrong in (labels * 1.0, labels > 1, ["3", "1", "4", "1"], labels - 2):
            check_raises(network, (x, wrong))
        check_raises(network, (x, labels + 6), "0..9, got 7..10")


@pytest.mark.parametrize("name", RECIPES)
def test_an_empty_batch_of(name):
    settings, G, D, side = networks(name)
    labels = (np.zeros(0, int),) * (settings.g_class != "none")
    for network, x in ((G, ones(0, settings.latent)), (D, ones(0, side, side, 1))):
        # In training mode, batch-norm, style averages and minibatch statistics raise errors.
        for _ in range(2):
            attempt(type(network).__name__, lambda: network(x, *labels))
            network.eval()
    assert G(ones(0, settings.latent), *labels).shape == (0, side, side, 1)


# The checks themselves


def test_the_checks_can_fail(monkeypatch):
    a, b = tensor([1.0, 2.0]), tensor([1.0, 2.0, 3.0])
    assert attempt("add", lambda: a + b) is not None
    for call in (lambda: a.data + b.data, lambda: to_numpy(a.data), lambda: a + 1j * np.ones(2)):
        with pytest.raises(AssertionError):
            attempt("mul", call)
    with pytest.raises(AssertionError, match="mul is not in"):
        attempt("mul", lambda: a + b)
    with pytest.raises(AssertionError, match="none of"):
        attempt("add", lambda: a + b, ["float64"])
    # Without op_error, the errors of NumPy reach the user.
    monkeypatch.setattr(engine, "op_error", lambda name, error, *args: error)
    with pytest.raises(AssertionError, match="^from "):
        attempt("add", lambda: a + b)
    with pytest.raises(AssertionError):
        test_arguments(next(case for case in CASES if case.name == "add"))
