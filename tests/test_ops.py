"""Every op and layer of the op table, with the plain and the fast kernels.

Values, gradients, dtypes, broadcasting, adjoints, kernels, threads and memory.
"""

import importlib
import inspect
import threading
import weakref

import numpy as np
import pytest
from host import host
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

import tinygan
from tinygan import Tensor, check_grads, grad, nn, ops, tensor
from tinygan.backend import asarray, to_numpy
from tinygan.kernels import act, linear, loss, normalize
from tinygan.kernels.cpu import conv as fast_conv
from tinygan.kernels.cpu import linear as fast_linear
from tinygan.kernels.cpu import parallel
from tinygan.optable import ROWS, oracles, row

pytestmark = pytest.mark.usefixtures("kernel_set")


def each_row(condition):
    rows = [row for row in ROWS if condition(row)]
    return pytest.mark.parametrize("row", rows, ids=lambda row: row.name)


ALL = each_row(lambda row: True)
LINEAR = each_row(lambda row: row.linear)
KEEPS = each_row(lambda row: row.keeps is not None)


def draw(row, seed=0):
    return row.draw(np.random.default_rng(seed))


def tensors(arrays, dtype="float64", requires_grad=True):
    return [Tensor(asarray(np.asarray(a, dtype)), requires_grad) for a in arrays]


def leaf(*values):
    return tensor(np.array(values), requires_grad=True)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


# ---- the op table ----


def public(module, kind):
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and kind(value) and value.__module__.startswith("tinygan")
    }


def test_every_op_and_layer_has_a_row():
    tested = {row.name.split()[0] for row in ROWS}
    base_classes = {"Module", "StyleGenerator"}
    without_gradient = {"argmax", "argmin"}
    existing = public(ops, inspect.isfunction) | public(nn, inspect.isclass)
    missing = existing - base_classes - without_gradient - tested
    assert not missing, f"no row in tinygan/optable/ for {missing}: see tinygan/README.md"


def test_the_names_of_rows_are_unique():
    assert len({row.name for row in ROWS}) == len(ROWS)


@ALL
def test_value(row):
    arrays = draw(row)
    expected = row.reference(*arrays)
    y = row.function(*tensors(arrays))
    assert y.dtype == np.float64 and y.shape == np.shape(expected)
    np.testing.assert_allclose(
        to_numpy(y.data), expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max()
    )


@ALL
def test_gradients_of_first_and_second_order(row):
    check_grads(row.function, draw(row), names=row.arguments)


@pytest.mark.parametrize(
    "name",
    [
        "div",
        "pow",
        "norm axis=1",
        "logsumexp axis=1",
        "softmax axis=1",
        "getitem pairs",
        "batch_norm scale shift",
        "instance_norm style",
        "pixel_norm",
        "matmul batches",
        "minibatch_stddev group_size=3",
        "affine_warp",
        "cross_entropy",
    ],
)
def test_every_entry_of_the_gradients(name):
    row = next(row for row in ROWS if row.name == name)
    check_grads(row.function, draw(row), mode="full", names=row.arguments)


@pytest.mark.parametrize("name", ["pow", "norm", "batch_norm vectors", "silu", "conv2d 1x1"])
def test_third_order(name):
    row = next(row for row in ROWS if row.name == name)
    assert len(check_grads(row.function, draw(row), order=3, names=row.arguments)) == 3


@ALL
def test_float32_stays_float32(row):
    arrays = [a.astype(np.float32) for a in draw(row)]
    results = {}
    for dtype in ("float32", "float64"):
        xs = tensors(arrays, dtype)
        y = row.function(*xs)
        weights = Tensor(asarray(normal(*y.shape, seed=5).astype(dtype)))
        results[dtype] = [y, *grad(y, xs, weights)]
        assert all(t.dtype == dtype for t in results[dtype])
    names = ["value", *row.arguments]
    for name, single, double in zip(names, results["float32"], results["float64"], strict=True):
        single, double = to_numpy(single.data), to_numpy(double.data)
        atol = 1e-5 * np.abs(double).max()
        np.testing.assert_allclose(single, double, rtol=1e-4, atol=atol, err_msg=name)


SCALARS = [2, 2.0, True, np.sqrt(2), np.float32(2), np.float64(2), np.int64(2), np.array(2.0)]


@pytest.mark.parametrize("scalar", SCALARS, ids=lambda s: f"{type(s).__name__}-{s}")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_scalar_never_changes_the_dtype(scalar, dtype):
    x = Tensor(asarray(np.array([0.5, 3.0], dtype)), requires_grad=True)
    for op, f in {
        ops.add: np.add,
        ops.sub: np.subtract,
        ops.mul: np.multiply,
        ops.div: np.divide,
        ops.pow: np.power,
        ops.maximum: np.maximum,
        ops.minimum: np.minimum,
    }.items():
        for y, expected in (
            (op(x, scalar), f([0.5, 3.0], float(scalar))),
            (op(scalar, x), f(float(scalar), [0.5, 3.0])),
        ):
            assert y.dtype == dtype and grad(y.sum(), x).dtype == dtype
            np.testing.assert_allclose(to_numpy(y.data), expected, rtol=1e-6)
    for y in (
        x + scalar,
        scalar + x,
        x - scalar,
        scalar - x,
        x * scalar,
        scalar * x,
        x / scalar,
        scalar / x,
        x**scalar,
        scalar**x,
        ops.where([True, False], x, scalar),
        ops.where([True, False], scalar, x),
    ):
        assert isinstance(y, Tensor) and y.dtype == dtype and grad(y.sum(), x).dtype == dtype


def test_a_numpy_scalar_as_a_setting_does_not_change_the_dtype():
    x = Tensor(asarray(normal(4, 2, 2, 3).astype(np.float32)), requires_grad=True)
    number = np.float64(0.5)
    for y in (
        ops.leaky_relu(x, number),
        ops.clip(x, -number, number),
        ops.normalize(x, (1, 2), number),
        ops.batch_norm(x, eps=number),
        ops.instance_norm(x, eps=number),
        ops.pixel_norm(x, number),
        ops.minibatch_stddev(x, 4, number),
        ops.upfirdn2d(x, [1.0, 2.0], gain=number),
        ops.binary_cross_entropy_with_logits(x, number),
        ops.mse_loss(x, number),
        ops.l1_loss(x, number),
    ):
        assert y.dtype == np.float32
        first = grad(y, x, y.detach(), create_graph=True)
        assert first.dtype == np.float32
        second = grad(first.sum(), x) if first.requires_grad else None
        assert second is None or second.dtype == np.float32


# ---- broadcasting ----

# op: (function that draws the inputs, value, derivative by a, derivative by b)
PARTIALS = {
    ops.add: (
        normal,
        lambda a, b: a + b,
        lambda a, b: 1 + 0 * (a + b),
        lambda a, b: 1 + 0 * (a + b),
    ),
    ops.sub: (
        normal,
        lambda a, b: a - b,
        lambda a, b: 1 + 0 * (a + b),
        lambda a, b: -1 + 0 * (a + b),
    ),
    ops.mul: (normal, lambda a, b: a * b, lambda a, b: b + 0 * a, lambda a, b: a + 0 * b),
    ops.div: (normal, lambda a, b: a / b, lambda a, b: 1 / (b + 0 * a), lambda a, b: -a / b**2),
    ops.maximum: (normal, np.maximum, lambda a, b: 1.0 * (a > b), lambda a, b: 1.0 * (b > a)),
    ops.minimum: (normal, np.minimum, lambda a, b: 1.0 * (a < b), lambda a, b: 1.0 * (b < a)),
    ops.pow: (
        lambda *shape, seed: np.exp(normal(*shape, seed=seed)),
        lambda a, b: a**b,
        lambda a, b: b * a ** (b - 1),
        lambda a, b: a**b * np.log(a),
    ),
}


@pytest.mark.parametrize("name", ["std", "prod", "min", "mean", "argmax", "flatten", "squeeze"])
def test_an_op_composed_of_others_takes_an_array_by_its_name(name):
    function, x = getattr(ops, name), normal(2, 3)
    np.testing.assert_array_equal(host(function(x=asarray(x))), host(function(Tensor(asarray(x)))))


OF_A_NUMBER = (
    "sum mean cumsum flip flatten squeeze var std prod max min logsumexp norm exp log sin cos sqrt "
    "square abs tanh sigmoid softplus relu leaky_relu gelu silu"
)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OF_A_NUMBER.split())
def test_a_number_has_the_derivatives_of_a_row_of_one(name, dtype):
    """NumPy turns arrays of no dimensions into scalars, and a kernel may take them for others."""
    for number in (0.0, 2.0, -3.0):
        found = []
        for shape in ((), (1,)):
            x = Tensor(asarray(np.full(shape, number, dtype)), requires_grad=True)
            with np.errstate(all="ignore"):
                y = getattr(ops, name)(x)
                g = grad(y.sum(), x, create_graph=True)
                h = grad(g.sum(), x) if g.requires_grad else x * 0.0
            found.append([host(y).item(), host(g).item(), host(h).item()])
        np.testing.assert_allclose(*found, rtol=1e-6)


def summed_back(gradient, shape):
    """Sum `gradient` back to an array of `shape` that was broadcast to it, entry by entry."""
    source = np.broadcast_to(np.arange(np.prod(shape, dtype=int)).reshape(shape), gradient.shape)
    total = np.zeros(shape)
    for index, value in zip(source.ravel(), gradient.ravel()):
        total.flat[index] += value
    return total


@pytest.mark.parametrize("op", PARTIALS, ids=lambda op: op.__name__)
@given(shapes=mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=3, min_side=0))
def test_broadcasting_of_elementwise_ops(op, shapes):
    a_shape, b_shape = shapes.input_shapes
    inputs, value, by_a, by_b = PARTIALS[op]
    a, b = inputs(*a_shape, seed=1), inputs(*b_shape, seed=2)
    weights = normal(*shapes.result_shape, seed=3)
    xs = tensors([a, b])
    y = op(*xs)
    np.testing.assert_allclose(to_numpy(y.data), value(a, b), rtol=1e-12)
    for x, partial in zip(xs, (by_a, by_b)):
        g = grad(y, x, asarray(weights), retain_graph=True)
        assert g.shape == x.shape
        expected = summed_back(weights * partial(a, b), x.shape)
        np.testing.assert_allclose(to_numpy(g.data), expected, rtol=1e-9, atol=1e-12)


@given(shapes=mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=3))
def test_broadcasting_of_where_and_broadcast_to(shapes):
    a_shape, b_shape = shapes.input_shapes
    mask, weights = normal(*a_shape, seed=4) > 0, normal(*shapes.result_shape, seed=3)
    a, b = tensors([normal(*a_shape, seed=1), normal(*b_shape, seed=2)])
    y = ops.where(mask, a, b)
    np.testing.assert_array_equal(
        to_numpy(y.data), np.where(mask, to_numpy(a.data), to_numpy(b.data))
    )
    da, db = grad(y, [a, b], asarray(weights))
    np.testing.assert_allclose(to_numpy(da.data), summed_back(weights * mask, a_shape), atol=1e-12)
    np.testing.assert_allclose(to_numpy(db.data), summed_back(weights * ~mask, b_shape), atol=1e-12)
    db = grad(ops.broadcast_to(b, shapes.result_shape), b, asarray(weights))
    np.testing.assert_allclose(to_numpy(db.data), summed_back(weights, b_shape), atol=1e-12)


@given(
    batches=mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3),
    size=st.tuples(*[st.integers(1, 3)] * 3),
)
def test_broadcasting_of_matmul(batches, size):
    (m, k, n), (a_batch, b_batch) = size, batches.input_shapes
    a, b = normal(*a_batch, m, k, seed=1), normal(*b_batch, k, n, seed=2)
    weights = normal(*batches.result_shape, m, n, seed=3)
    xs = tensors([a, b])
    y = ops.matmul(*xs)
    np.testing.assert_allclose(to_numpy(y.data), np.einsum("...mk,...kn->...mn", a, b), atol=1e-12)
    da, db = grad(y, xs, asarray(weights))
    all_a, all_b = (np.broadcast_to(x, batches.result_shape + x.shape[-2:]) for x in (a, b))
    expected = summed_back(np.einsum("...mn,...kn->...mk", weights, all_b), a.shape)
    np.testing.assert_allclose(to_numpy(da.data), expected, atol=1e-12)
    expected = summed_back(np.einsum("...mk,...mn->...kn", all_a, weights), b.shape)
    np.testing.assert_allclose(to_numpy(db.data), expected, atol=1e-12)


# ---- linear ops ----


@LINEAR
def test_adjoint(row):
    """<A x, y> = <x, A^T y> in each argument, and the adjoint of A^T is A."""
    arrays = draw(row)
    for i in range(len(arrays)):
        xs = tensors(arrays, requires_grad=False)
        with_zero = list(xs)
        with_zero[i] = xs[i] * 0.0
        xs[i] = Tensor(xs[i].data, requires_grad=True)
        value = row.function(*xs)
        a_x = to_numpy((value - row.function(*with_zero)).data)
        y = Tensor(asarray(normal(*value.shape, seed=9)), requires_grad=True)
        at_y = grad(value, xs[i], y, create_graph=True)
        left, right = np.sum(a_x * to_numpy(y.data)), np.sum(arrays[i] * to_numpy(at_y.data))
        scale = np.linalg.norm(a_x) * np.linalg.norm(to_numpy(y.data))
        assert abs(left - right) <= 1e-13 * scale
        adjoint_of_at = to_numpy(grad(at_y, y, xs[i].detach()).data)
        np.testing.assert_allclose(adjoint_of_at, a_x, atol=1e-12 * np.abs(a_x).max())


@given(st.data())
def test_convolutions_of_any_geometry(data):
    """All three convolutions against scipy.signal, in float64, with small and large blocks."""
    size = st.tuples(st.integers(1, 7), st.integers(1, 7))
    height, width = data.draw(size, "size")
    stride = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)), "stride")
    padding = data.draw(st.tuples(st.integers(0, 3), st.integers(0, 3)), "padding")
    kernel_size = (
        data.draw(st.integers(1, min(height + 2 * padding[0], 5)), "kh"),
        data.draw(st.integers(1, min(width + 2 * padding[1], 5)), "kw"),
    )
    groups = data.draw(st.integers(1, 3), "groups")
    inputs, outputs, n = (data.draw(st.integers(1, 3), label) for label in ("in", "out", "n"))
    x = normal(n, height, width, groups * inputs, seed=1)
    w = normal(*kernel_size, inputs, groups * outputs, seed=2)
    settings = dict(stride=stride, padding=padding, groups=groups)

    with pytest.MonkeyPatch.context() as patch:
        block_bytes = data.draw(st.sampled_from([1, 500, 1 << 20]), "block bytes")
        patch.setattr(fast_conv, "BLOCK_BYTES", block_bytes)
        fold_channels = data.draw(st.sampled_from([0, 4, 100]), "fold channels")
        patch.setattr(fast_conv, "FOLD_CHANNELS", fold_channels)
        xs = tensors([x, w])
        y = ops.conv2d(*xs, **settings)
        g = normal(*y.shape, seed=3)
        y, dx, dw = (to_numpy(t.data) for t in (y, *grad(y, xs, asarray(g))))
    np.testing.assert_allclose(y, oracles.conv2d(x, w, **settings), atol=1e-12)
    lengths = zip((height, width), padding, kernel_size, stride)
    output_padding = [(m + 2 * p - k) % s for m, p, k, s in lengths]
    expected = oracles.conv_transpose2d(g, w, output_padding=output_padding, **settings)
    np.testing.assert_allclose(dx, expected, atol=1e-12)
    expected_dw = oracles.conv2d_weight_gradient(x, g, kernel_size, **settings)
    np.testing.assert_allclose(dw, expected_dw, atol=1e-12)


@given(st.data())
def test_upfirdn2d_of_any_geometry(data):
    pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
    size, up, down = (data.draw(pairs, label) for label in ("size", "up", "down"))
    padding = data.draw(st.tuples(*[st.integers(-4, 4)] * 4), "padding")
    taps = data.draw(st.one_of(pairs, st.tuples(st.integers(1, 4))), "taps")
    x, f = normal(2, *size, 2, seed=1), normal(*taps, seed=2)
    filter_size = taps * (3 - len(taps))
    padded = [n * u + p + q for n, u, p, q in zip(size, up, padding[2::-2], padding[:0:-2])]
    flip = data.draw(st.booleans(), "flip")
    settings = dict(up=up, down=down, padding=padding, flip_filter=flip, gain=1.5)
    if any(n < k for n, k in zip(padded, filter_size)):
        with pytest.raises(ValueError, match="leaves nothing"):
            ops.upfirdn2d(Tensor(asarray(x)), f, **settings)
        return
    tx = Tensor(asarray(x), requires_grad=True)
    y = ops.upfirdn2d(tx, f, **settings)
    np.testing.assert_allclose(to_numpy(y.data), oracles.upfirdn2d(x, f, **settings), atol=1e-12)
    g = normal(*y.shape, seed=3)
    dx = to_numpy(grad(y, tx, asarray(g)).data)
    np.testing.assert_allclose(np.sum(dx * x), np.sum(to_numpy(y.data) * g), atol=1e-12)


# ---- kernels ----

normalize_modulate = importlib.import_module("tinygan.ops.normalize")._normalize_modulate
cross_entropy = importlib.import_module("tinygan.ops.losses")._binary_cross_entropy_with_logits
bias_act = importlib.import_module("tinygan.ops.elementwise")._bias_act
affine = importlib.import_module("tinygan.ops.bilinear")._affine
FUSED = {  # name: (op, shapes of its arguments, its settings)
    "batch-norm": (normalize_modulate, [(4, 3, 3, 5), (5,), (5,)], [(0, 1, 2), 1e-5]),
    "batch-norm of vectors": (normalize_modulate, [(8, 5), (5,), (5,)], [(0,), 1e-3]),
    "per sample": (normalize_modulate, [(4, 3, 3, 5), (4, 1, 1, 5), (4, 1, 1, 5)], [(1, 2), 1e-5]),
    "without scale": (normalize_modulate, [(4, 3, 3, 5), None, (5,)], [(1, 2), 1e-5]),
    "without shift": (normalize_modulate, [(4, 3, 3, 5), (3, 5), None], [(3,), 1e-5]),
    "plain": (normalize_modulate, [(4, 3, 3, 5), None, None], [(0, 2), 1e-5]),
    "BCE": (cross_entropy, [(4, 5), (4, 5)], []),
    "bias and activation": (bias_act, [(4, 3, 3, 5), (5,)], [0.2, 1.5]),
    "activation": (bias_act, [(4, 3, 3, 5), None], [0.0, 1.0]),
    "affine": (affine, [(7, 5), (5, 3), (3,)], []),
}
KERNELS = {  # op: (its forward kernel, its backward kernel)
    normalize_modulate: (normalize.normalize, normalize.normalize_gradient),
    affine: (linear.affine, linear.affine_gradient),
    cross_entropy: (loss.binary_cross_entropy, loss.binary_cross_entropy_gradient),
    bias_act: (act.bias_act, act.bias_act_gradient),
}


def count_calls(kernel):
    """Return a list that grows with every call of the kernel, whichever version of it runs."""
    calls, cell = [], dict(zip(kernel.__code__.co_freevars, kernel.__closure__))["chosen"]
    version = cell.cell_contents
    cell.cell_contents = lambda *args: calls.append(args) or version(*args)
    return calls


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FUSED)
def test_a_kernel_agrees_with_its_definition(name, dtype):
    op, shapes, settings = FUSED[name]
    tolerance = dict(rtol=1e-4, atol=1e-5) if dtype == "float32" else dict(rtol=1e-10, atol=1e-12)
    present = [i for i, shape in enumerate(shapes) if shape is not None]
    for mask in range(1, 2 ** len(present)):  # every choice of arguments that require a gradient
        required = [i for j, i in enumerate(present) if mask >> j & 1]
        xs = [
            None if s is None else Tensor(asarray(normal(*s, seed=i).astype(dtype)), i in required)
            for i, s in enumerate(shapes)
        ]
        inputs = [xs[i] for i in required]
        grad(op(*xs, *settings).sum(), inputs)  # the first call selects the version of a kernel
        forward, backward = map(count_calls, KERNELS[op])
        y = op(*xs, *settings)
        assert (len(forward), len(backward)) == (1, 0)
        defined = op.definition(*xs, *settings)
        g = Tensor(asarray(normal(*y.shape, seed=9).astype(dtype)))
        fast = grad(y, inputs, g, retain_graph=True)
        assert len(backward) == 1
        recorded = grad(y, inputs, g, create_graph=True)
        assert (len(forward), len(backward)) == (1, 1)  # the definition ran
        expected = [defined, *grad(defined, inputs, g)]
        for a, b, c in zip([y, *fast], expected, [y, *recorded], strict=True):
            assert a.dtype == b.dtype == dtype and a.shape == b.shape
            np.testing.assert_allclose(to_numpy(a.data), to_numpy(b.data), **tolerance)
            np.testing.assert_allclose(to_numpy(c.data), to_numpy(b.data), **tolerance)


@pytest.mark.parametrize("name", FUSED)
def test_the_second_derivative_of_a_kernel_is_that_of_its_definition(name):
    op, shapes, settings = FUSED[name]

    def second(f):
        xs = [
            None if s is None else Tensor(asarray(normal(*s, seed=i)), True)
            for i, s in enumerate(shapes)
        ]
        inputs = [x for x in xs if x is not None]
        first = grad((f(*xs, *settings) ** 3).sum(), inputs, create_graph=True)
        return grad(sum((g * g).sum() for g in first), inputs)

    for a, b in zip(second(op), second(op.definition), strict=True):
        assert np.abs(to_numpy(b.data)).max() > 1e-3
        np.testing.assert_allclose(to_numpy(a.data), to_numpy(b.data), rtol=1e-9, atol=1e-9)


def test_batch_norm_with_known_statistics():
    x, scale, shift = tensors([normal(4, 3, 3, 5), normal(5), normal(5)])
    y = ops.batch_norm(x, scale, shift)
    z = ops.batch_norm(x, scale, shift, statistics=normalize.moments(x.data, (0, 1, 2)))
    gradients = [grad(t, [x, scale, shift], y.detach()) for t in (y, z)]
    for a, b in zip([y, *gradients[0]], [z, *gradients[1]]):
        np.testing.assert_allclose(to_numpy(a.data), to_numpy(b.data), rtol=1e-13, atol=1e-13)


# ---- threads ----


@pytest.fixture
def threads():
    before = parallel.num_threads()
    yield parallel.set_num_threads
    parallel.set_num_threads(before)


@pytest.mark.cpu
@pytest.mark.fast
@pytest.mark.parametrize(
    "settings", [dict(stride=2, padding=1), dict(padding=1), dict(stride=3, groups=2)], ids=str
)
@pytest.mark.parametrize("block", [1 << 13, 1 << 20])
def test_the_bits_of_convolutions_do_not_depend_on_threads(settings, block, threads, monkeypatch):
    monkeypatch.setattr(fast_conv, "BLOCK_BYTES", block)
    x, w = normal(9, 15, 14, 6), normal(4, 4, 6 // settings.get("groups", 1), 8)
    results = []
    for n in (1, 2, 4, 1):
        threads(n)
        tx, tw = tensors([x, w], "float32")
        y = ops.conv2d(tx, tw, **settings)
        results.append([to_numpy(t.data) for t in (y, *grad(y, [tx, tw], y.detach()))])
    for result in results[1:]:
        for a, b in zip(results[0], result):
            assert np.array_equal(a, b)


@pytest.mark.cpu
@pytest.mark.fast
def test_the_bits_of_matmul_do_not_depend_on_threads(threads):
    a, b = normal(700, 120).astype(np.float32), normal(120, 300).astype(np.float32)
    assert 700 * 120 * 300 > fast_linear.BLOCK > fast_linear.SMALL
    results = [threads(n) or linear.matmul(a, b) for n in (1, 2, 4)]
    assert np.array_equal(results[0], results[1]) and np.array_equal(results[0], results[2])
    np.testing.assert_allclose(results[0], a.astype(np.float64) @ b, rtol=1e-4, atol=1e-4)


@pytest.mark.cpu
@pytest.mark.fast
@pytest.mark.parametrize("pass_", ["forward", "input gradient", "weight gradient"])
def test_convolutions_really_use_two_threads(pass_, threads, monkeypatch):
    """Two blocks wait for each other: with one thread, the first would wait until the timeout."""
    x, w = tensors([normal(8, 12, 12, 9), normal(3, 3, 9, 5)], "float32")
    y = ops.conv2d(x, w, padding=1)
    threads(2)
    meeting, columns = threading.Barrier(2, timeout=10), fast_conv._columns
    workers = set()

    def waiting(*args, **settings):
        # The pool may have more than two threads by now.
        if len(workers) < 2 and threading.get_ident() not in workers:
            workers.add(threading.get_ident())
            meeting.wait()
        return columns(*args, **settings)

    monkeypatch.setattr(fast_conv, "BLOCK_BYTES", 1 << 12)
    monkeypatch.setattr(fast_conv, "_columns", waiting)
    if pass_ == "forward":
        ops.conv2d(x, w, padding=1)
    else:
        grad(y, x if pass_ == "input gradient" else w, y.detach())
    assert len(workers) == 2


@pytest.mark.fast
def test_an_error_in_a_thread_reaches_the_caller(threads):
    threads(2)

    def work(item):
        if item == 5:
            raise ValueError("item 5")

    with pytest.raises(ValueError, match="item 5"):
        parallel.run(work, range(20))
    done = []
    # Nested calls do not deadlock.
    parallel.run(lambda item: parallel.run(done.append, [item, item]), range(5))
    assert sorted(done) == sorted([*range(5)] * 2)


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
    assert not parallel._blas_limits


# ---- memory ----


def test_a_row_of_an_op_says_what_it_keeps():
    with pytest.raises(TypeError, match='row of tanh: say what it keeps, such as keeps="a"'):
        row(ops.tanh, np.tanh, lambda rng: rng.standard_normal(3))


@KEEPS
def test_what_an_op_keeps(row):
    """When all Tensors are freed, the graph keeps exactly the arrays that the table names."""
    xs = tensors(draw(row))
    y = row.function(*xs)
    arrays = {name: weakref.ref(t.data) for name, t in zip("abc", xs)} | {"y": weakref.ref(y.data)}
    node = y.node
    del xs, y
    assert "".join(name for name, array in arrays.items() if array() is not None) == row.keeps
    del node
    assert not any(array() is not None for array in arrays.values())


# name: (function, shapes of its arguments, memory that its graph may add, relative to the first)
MEMORY = {
    "tanh": (ops.tanh, [(64, 8, 8, 64)], 1),
    "relu": (ops.relu, [(64, 8, 8, 64)], 1),
    "leaky_relu": (ops.leaky_relu, [(64, 8, 8, 64)], 1),
    "add": (ops.add, [(64, 8, 8, 64), (64,)], 0),
    "softplus": (ops.softplus, [(64, 8, 8, 64)], 0),
    "batch_norm": (ops.batch_norm, [(64, 8, 8, 64), (64,), (64,)], 0),
    "BCE": (ops.binary_cross_entropy_with_logits, [(64, 512), (64, 512)], 0),
    "log_softmax": (ops.log_softmax, [(64, 512)], 1),
    "max": (lambda x: ops.max(x, 3), [(64, 8, 8, 64)], 1 / 64),
    "conv2d": (lambda x, w: ops.conv2d(x, w, 1, 1), [(16, 16, 16, 16), (3, 3, 16, 16)], 0),
    "upfirdn2d": (lambda x: ops.upfirdn2d(x, np.ones((4, 4)), 2, 1, 1), [(16, 16, 16, 16)], 0),
}


@pytest.mark.cpu
@pytest.mark.parametrize("name", MEMORY)
def test_a_graph_keeps_no_hidden_arrays(name, array_bytes, threads):
    threads(1)  # another thread may allocate its scratch buffers at any call
    f, shapes, extra = MEMORY[name]
    xs = tensors([normal(*shape) for shape in shapes], "float32")
    f(*xs)  # allocates the scratch buffers
    before = array_bytes()
    node = f(*xs).node
    assert array_bytes() - before <= extra * xs[0].data.nbytes + 1000 and node is not None


# ---- special values, and errors ----


def gradient(f, *values):
    xs = [tinygan.tensor(v, requires_grad=True) for v in values]
    gs = grad(f(*xs).sum(), xs)
    return [to_numpy(g.data).tolist() for g in gs] if len(xs) > 1 else to_numpy(gs[0].data).tolist()


def test_derivatives_at_kinks():
    assert gradient(ops.relu, [-1.0, 0.0, 1.0]) == [0, 0, 1]
    assert gradient(lambda x: ops.leaky_relu(x, 0.25), [-1.0, 0.0, 1.0]) == [0.25, 0.25, 1]
    assert gradient(ops.abs, [-2.0, 0.0, 3.0]) == [-1, 0, 1]
    assert gradient(lambda x: ops.clip(x, -1, 1), [-2.0, -1.0, 0.0, 1.0, 2.0]) == [0, 1, 1, 1, 0]
    assert gradient(lambda x: ops.max(x, 1), [[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]) == [
        [0, 0.5, 0.5],
        pytest.approx([1 / 3] * 3),
    ]
    assert gradient(ops.min, [4.0, 1.0, 1.0]) == [0, 0.5, 0.5]
    assert gradient(ops.maximum, [1.0, 2.0, 3.0], [1.0, 3.0, 2.0]) == [[0.5, 0, 1], [0.5, 1, 0]]
    assert gradient(ops.minimum, [1.0, 2.0, 3.0], [1.0, 3.0, 2.0]) == [[0.5, 1, 0], [0.5, 0, 1]]
    assert gradient(ops.norm, [0.0, 0.0]) == [0, 0]
    assert gradient(ops.std, [2.0, 2.0, 2.0]) == [0, 0, 0]
    assert gradient(ops.norm, [3.0, 4.0]) == pytest.approx([0.6, 0.8])
    assert gradient(lambda x: x**3, [0.0, -2.0]) == [0, 12]
    assert gradient(lambda x: x**0, [0.0, -2.0]) == [0, 0]
    assert gradient(lambda x: x**1.0, [0.0, -2.0]) == [1, 1]
    assert gradient(ops.pow, [0.0, 2.0], [3.0, 3.0]) == [
        [0, 12],
        [0, pytest.approx(8 * np.log(2), rel=1e-6)],
    ]


@pytest.mark.parametrize("value", [0.1, -3e10, 7e-20])
@pytest.mark.parametrize("n", [1, 3, 100, 999])
def test_std_of_equal_numbers_is_0_with_the_gradient_0(value, n):
    """Also where their mean is rounded; derivatives of second order are NaN, as those of norm."""
    x = tensor(np.full(n, value), requires_grad=True, dtype="float32")
    with np.errstate(all="ignore"):
        y = x.std()
        g = grad(y, x, create_graph=True)
        assert y.item() == 0 and not host(g).any()
        assert np.isnan(host(grad(g.sum(), x))).all()


@pytest.mark.parametrize("axis", [None, 0, 1, (0, 1), ()])
def test_prod_of_nothing_is_1(axis):
    x = tensor(np.zeros((2, 0, 3)), requires_grad=True)
    y = ops.prod(x, axis)
    np.testing.assert_array_equal(host(y), np.prod(np.zeros((2, 0, 3)), axis))
    assert y.dtype == np.float64 and grad(y.sum(), x).shape == x.shape


@pytest.mark.parametrize("n", range(1, 9))
def test_every_entry_of_prod_with_zeros(n):
    """The derivative by x_i is the product of the others."""
    x = np.arange(1.0, n + 1)
    for zeros in range(min(n, 3) + 1):
        x[:zeros] = 0
        check_grads(ops.prod, x, mode="full")
        others = [np.prod(np.delete(x, i)) for i in range(n)]
        np.testing.assert_allclose(gradient(ops.prod, x), others)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_long_running_sums_keep_their_digits(dtype):
    """In float32, sums of a million numbers one after the other would be wrong by 1e-4."""
    x = normal(300_000).astype(dtype) + 1
    y = host(ops.cumsum(tensor(x)))
    np.testing.assert_allclose(y, np.cumsum(x.astype(float)), rtol=np.finfo(dtype).eps * 4)


def test_argmax_and_argmin_return_integers():
    x = np.array([[3.0, 1.0, 3.0], [0.0, 0.0, -1.0]])
    t = tensor(x, requires_grad=True)
    for axis in (None, 0, 1, -1):
        for keepdims in (False, True):
            for name in ("argmax", "argmin"):
                expected = getattr(np, name)(x, axis, keepdims=keepdims)
                for found in (
                    getattr(ops, name)(t, axis, keepdims),
                    getattr(t, name)(axis, keepdims=keepdims),
                ):
                    assert not isinstance(found, Tensor) and found.dtype.kind == "i"
                    np.testing.assert_array_equal(to_numpy(found), expected)
    assert ops.argmax([1.0, 5.0, 2.0]) == 1
    picked = t[asarray(np.arange(2)), t.argmax(1)].sum()
    assert host(grad(picked, t)).tolist() == [[1, 0, 0], [1, 0, 0]]
    for call, message in (
        (lambda: t.argmax((0, 1)), "argmax: an axis must be an integer"),
        (lambda: t.argmin(2), "argmin: axis 2 is out of range"),
        (lambda: t.argmax(dim=1), "argmax: .*argument 'dim': write axis"),
        (lambda: ops.argmax("text"), "argmax: expected a Tensor"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            call()


def test_the_mixed_second_derivative_of_a_power_at_exponent_0():
    a, b = leaf(2.0), leaf(0.0)
    first_a = grad(grad((a**b).sum(), a, create_graph=True).sum(), b)
    first_b = grad(grad((a**b).sum(), b, create_graph=True).sum(), a)
    assert first_a.item() == pytest.approx(0.5) == first_b.item()
    assert grad((leaf(0.0) ** b).sum(), b).data == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_overflow(dtype):
    big = Tensor(asarray(np.array([-1e4, -100.0, 0.0, 100.0, 1e4], dtype)), requires_grad=True)
    for f in (
        ops.sigmoid,
        ops.softplus,
        ops.tanh,
        ops.silu,
        ops.log_softmax,
        ops.softmax,
        ops.logsumexp,
        lambda x: ops.binary_cross_entropy_with_logits(x, 1.0),
    ):
        y = f(big)
        g = grad(y, big, y.detach(), create_graph=True)
        assert np.isfinite(to_numpy(y.data)).all() and np.isfinite(to_numpy(g.data)).all()
        assert np.isfinite(to_numpy(grad(g.sum(), big).data)).all()
    np.testing.assert_allclose(
        to_numpy(ops.softplus(big).data),
        [0, np.exp(-100), np.log(2), 100, 1e4],
        rtol=1e-6,
        atol=1e-45,
    )


def test_the_second_derivative_of_leaky_relu_is_free():
    """R1 through leaky ReLU costs one multiplication: the gradient does not depend on x."""
    x = tinygan.tensor([-1.0, 2.0], requires_grad=True)
    g = grad(ops.leaky_relu(x).sum(), x, create_graph=True)
    assert not g.requires_grad


@pytest.mark.parametrize(
    "f",
    [
        ops.sigmoid,
        ops.softplus,
        ops.silu,
        ops.gelu,
        ops.sin,
        ops.prod,
        ops.cumsum,
        ops.leaky_relu,
        ops.relu,
        ops.tanh,
        lambda x: ops.binary_cross_entropy_with_logits(x, 0.3),
    ],
)
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


def test_empty_batches():
    x = tensor(np.zeros((0, 5, 5, 2)), requires_grad=True)
    w = tensor(np.ones((3, 3, 2, 4)), requires_grad=True)
    dx, dw = grad(ops.conv2d(x, w).sum(), [x, w])
    assert dx.shape == x.shape and dw.shape == w.shape and not dw.data.any()
    assert nn.Flatten()(x).shape == (0, 50)
    assert leaf(1.0, 2.0)[[]].shape == (0,)
    table = tensor(np.zeros((3, 0)), requires_grad=True)
    assert grad(ops.embedding(table, [1, 2]).sum(), table).shape == (3, 0)


def test_a_numpy_integer_as_stride():
    image, weight = tensor(np.ones((1, 4, 4, 1))), tensor(np.ones((4, 4, 1, 1)))
    assert ops.conv2d(image, weight, stride=np.int64(1)).shape == (1, 1, 1, 1)


X, W = np.zeros((2, 5, 6, 4), np.float32), np.zeros((3, 3, 4, 6), np.float32)


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: ops.conv2d(Tensor(X), Tensor(W[:, :, :3])),
            r"conv2d: 4 image channels in 1 group\(s\) do not fit",
        ),
        (lambda: ops.conv2d(Tensor(X), Tensor(W), groups=4), "do not fit"),
        (lambda: ops.conv2d(Tensor(X[0]), Tensor(W)), "both arguments must have four axes"),
        (lambda: ops.conv2d(Tensor(X), Tensor(W), stride=0), "stride and groups must be 1 or more"),
        (lambda: ops.conv2d(Tensor(X), Tensor(W), (1, 1, 1)), "expected a whole number or a pair"),
        (lambda: ops.conv2d(Tensor(X), Tensor(W), 1, "same"), "pair .rows, columns., got 'same'"),
        (lambda: ops.conv2d(Tensor(X), Tensor(W), np.zeros(4)), r"pair .*, got float64 \(4,\)"),
        (lambda: ops.pad(Tensor(X), (1, 1, 1, 1)), r"widths are \(before, after\) for each axis"),
        (lambda: ops.conv_transpose2d(Tensor(X[0]), Tensor(X[0])), "four axes"),
        (lambda: ops.conv2d_weight_gradient(Tensor(X[0]), Tensor(X[0]), 3), "four axes"),
        (lambda: Tensor(X[:0]).mean(axis=0), "mean over axis 0 of an empty Tensor"),
        (lambda: ops.conv2d(Tensor(X), Tensor(W), padding=-1), "padding"),
        (
            lambda: ops.conv2d(Tensor(X[:, :2]), Tensor(W)),
            "kernel size 3x3 is larger than the 2x6 image",
        ),
        (lambda: ops.conv_transpose2d(Tensor(X), Tensor(W)), "x .* has 4 channels, but w"),
        (
            lambda: ops.conv_transpose2d(Tensor(X), Tensor(W[..., :4]), output_padding=1),
            "less than stride",
        ),
        (lambda: ops.conv2d_weight_gradient(Tensor(X), Tensor(X), 3), r"it must be \(2, 3, 4, O\)"),
        (lambda: ops.matmul(Tensor(X), Tensor(X)), "inner lengths must agree"),
        (lambda: ops.einsum("ij->i->j", Tensor(X[0, 0])), "must be terms of letters"),
        (lambda: ops.einsum("ij->k", Tensor(X[0, 0])), "must be terms of letters"),
        (lambda: ops.einsum("i1", Tensor(X[0, 0])), "must be terms of letters"),
        (
            lambda: ops.einsum("ij", Tensor(X[0, 0]), Tensor(X[0, 0])),
            "has 1 terms, but there are 2",
        ),
        (lambda: ops.einsum("ii->i", Tensor(X[0, :, :5, 0])), "repeats an axis"),
        (lambda: ops.einsum("...i,ij", Tensor(X), Tensor(X)), r"'\.\.\.' stands for"),
        (
            lambda: ops.einsum("ij,jk", Tensor(X[0, 0]), Tensor(X[0, 0])),
            "axis 'j' has length 4 and 6",
        ),
        (lambda: ops.einsum("i", Tensor(X)), "does not fit shapes"),
        (lambda: ops.sum(Tensor(X), axis=4), "axis 4 is out of range"),
        (lambda: ops.max(Tensor(X), axis=-5), "axis -5 is out of range"),
        (lambda: ops.squeeze(Tensor(X), 1), "axis 1 has length 5, not 1; given float32"),
        (lambda: ops.squeeze(Tensor(X), 4), "axis 4 is out of range"),
        (lambda: ops.flatten(Tensor(X), 2, 1), "start axis 2 comes after the end axis 1"),
        (lambda: ops.std(Tensor(X[:0]), 0), "std over axis 0 of an empty Tensor"),
        (lambda: ops.prod(Tensor(X), 4), "axis 4 is out of range"),
        (lambda: ops.cumsum(Tensor(X), -5), "axis -5 is out of bounds"),
        (lambda: Tensor(X).transpose(1, 2), r"write x\.swapaxes\(1, 2\) to exchange two"),
        (lambda: Tensor(X[0, 0]).transpose(0, 1), r"write x\.swapaxes\(0, 1\)"),
        (lambda: Tensor(X[0, 0]).transpose(0, -1), r"write x\.swapaxes\(0, -1\)"),
        (lambda: Tensor(X[0, 0]).transpose(-2, 1), r"write x\.swapaxes\(-2, 1\)"),
        (lambda: ops.flatten(1.0, 1), "axis 1 is out of range"),
        (lambda: ops.leaky_relu(Tensor(X), 1.5), r"slope must lie in \[0, 1\]"),
        (
            lambda: ops.minibatch_stddev(Tensor(np.zeros((6, 1, 1, 1))), 4),
            "cannot divide a batch of 6 into groups of 4",
        ),
        (
            lambda: ops.upfirdn2d(Tensor(X), np.ones((2, 2, 2))),
            r"must be \(taps,\) or \(rows, columns\)",
        ),
        (lambda: ops.affine_warp(Tensor(X), np.eye(3)[None, :2]), "theta has shape"),
        (lambda: ops.cross_entropy(Tensor(X[0, 0]), np.zeros(6)), "labels must be 6 integers"),
        (lambda: ops.avg_pool2d(Tensor(X), 7), "avg_pool2d"),
        (lambda: ops.max_pool2d(Tensor(X), (6, 2)), "max_pool2d"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_einsum_with_sublists():
    a = Tensor(X[0, 0])
    with pytest.raises(
        TypeError, match=r'einsum: the first argument is text, such as einsum\("ij,'
    ):
        ops.einsum(a, [0, 1], a, [2, 1], [0, 2])


def test_bad_indices():
    table = Tensor(np.zeros((5, 3)))
    with pytest.raises(IndexError, match=r"0\.\.4, got -1\.\.5"):
        ops.embedding(table, [-1, 5])
    with pytest.raises(TypeError, match="integers"):
        ops.embedding(table, [0.5])
    with pytest.raises(IndexError):
        table[7]


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint64", "int64"])
@pytest.mark.parametrize("width", [128, 300])
def test_embedding_takes_indices_of_any_integer_type(dtype, width):
    table = tensor(np.zeros((10, width)), requires_grad=True)
    g = grad(ops.embedding(table, np.array([3, 9, 3], dtype)).sum(), table).numpy()
    assert np.array_equal(g[:, 0], [0, 0, 0, 2, 0, 0, 0, 0, 0, 1]) and (g == g[:, :1]).all()


def test_labels_and_axes_out_of_range():
    with pytest.raises(IndexError, match=r"labels must lie in 0\.\.2, got -1\.\.1"):
        ops.cross_entropy(tensor(np.zeros((3, 3))), [-1, 0, 1])
    for function in (ops.concatenate, ops.stack):
        with pytest.raises(ValueError, match="axis 5 is out of range"):
            function([leaf(1.0), leaf(2.0)], axis=5)
    with pytest.raises(ValueError, match="axis 0 is out of range"):
        ops.concatenate([tensor(1.0), tensor(2.0)])
    for axis in (np.array([], int), np.array([True, False]), np.array([0]), (0, None), 1.0):
        for function in (ops.sum, ops.max, ops.flip, ops.normalize, lambda x, a: ops.roll(x, 1, a)):
            with pytest.raises(TypeError, match="an axis must be an integer, got "):
                function(tensor(np.ones((2, 3))), axis)
    with pytest.raises(ValueError, match="instance_norm takes images"):
        ops.instance_norm(tensor(np.zeros((2, 3, 4))))
    message = r"target of shape \(3, 1\) does not fit a prediction of shape \(3,\)"
    for pixel_loss in (ops.mse_loss, ops.l1_loss):
        with pytest.raises(ValueError, match=message):
            pixel_loss(leaf(1.0, 2.0, 3.0), tensor(np.zeros((3, 1))))
