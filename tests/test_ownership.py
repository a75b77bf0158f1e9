"""What the caller hands over stays the caller's, and what comes back is the caller's alone: a
change to either never changes a gradient."""

import copy
import types

import numpy as np
import pytest
from host import host

from tinygan import Parameter, Tensor, grad, nn, ops, optim, tensor
from tinygan.autograd import op, wrap
from tinygan.backend import asarray, xp
from tinygan.gan import penalties
from tinygan.optable import ROWS

# ---- what goes in ----


def settings_of(function):
    """Return all arrays and lists that a row's function reads: those in the functions that it calls
    and in the global names of its own code."""
    found, seen, pending = [], set(), [function]
    while pending:
        x = pending.pop()
        if id(x) in seen:
            continue
        seen.add(id(x))
        if isinstance(x, types.FunctionType) and x.__module__.startswith("tinygan.optable"):
            pending += [cell.cell_contents for cell in x.__closure__ or ()]
            pending += [x.__globals__.get(name) for name in x.__code__.co_names]
        elif isinstance(x, (tuple, list, dict)):
            pending += x.values() if isinstance(x, dict) else x
            found += [x] if isinstance(x, list) and x and isinstance(x[0], int) else []
        elif isinstance(x, np.ndarray) and x.size > 1:
            found.append(x)
    return found


def change(array):
    """Write other values into an array or a list, which remain valid as indices."""
    if isinstance(array, list):
        array[:] = array[::-1] if array != array[::-1] else [0] * len(array)
    elif array.dtype.kind == "f":
        array += 1.0
    elif array.dtype == bool:
        array[...] = ~array
    else:
        array[...] = array.ravel()[0]


def test_the_settings_of_rows_are_found():
    names = " ".join(row.name for row in ROWS if settings_of(row.function))
    for name in ("where", "getitem rows", "getitem list", "getitem mask", "embedding", "translate"):
        assert name in names


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_arrays_that_change_after_the_forward_pass_change_no_gradient(row, order):
    """Each argument in turn is a Tensor, the others are arrays. All of these, those among the
    settings, and the gradients of the outputs are changed."""
    is_layer = row.name.split()[0] in nn.__all__  # whose parameters are always Tensors
    draws = [asarray(x) for x in row.draw(np.random.default_rng(0))]

    def gradients(i, changes):
        x = tensor(draws[i], requires_grad=True)
        args = [
            xp.array(draw) if j == 0 or not is_layer else tensor(draw)
            for j, draw in enumerate(draws)
        ]
        arrays = [a for j, a in enumerate(args) if isinstance(a, xp.ndarray) and j != i]
        args[i] = x
        settings = settings_of(row.function)
        saved = copy.deepcopy(settings)
        try:
            y = row.function(*args)
            seed = asarray(np.random.default_rng(1).standard_normal(y.shape))
            if changes:
                for array in arrays + settings:
                    change(array)
            g = grad(y, x, seed, create_graph=order == 2)
            if order == 2:
                if changes:
                    change(seed)
                g = grad(ops.square(g).sum(), x) if g.requires_grad else None
            return host(g) if g is not None else np.zeros(())
        finally:
            for array, before in zip(settings, saved):
                array[:] = before

    for i in range(len(draws)):
        expected = gradients(i, changes=False)
        np.testing.assert_array_equal(gradients(i, changes=True), expected, err_msg=f"argument {i}")


def leaf(*values, dtype="float64"):
    return tensor(np.array(values), requires_grad=True, dtype=dtype)


def network():
    rng = np.random.default_rng(0)
    return nn.Sequential(nn.Linear(4, 3, rng=rng), nn.LeakyReLU(), nn.Linear(3, 1, rng=rng))


def draw(*shape, seed=0):
    return asarray(np.random.default_rng(seed).standard_normal(shape).astype("float32"))


@pytest.mark.parametrize("make", [lambda x: x, Tensor, tensor], ids=["array", "Tensor", "tensor"])
def test_a_buffer_that_is_used_for_the_next_batch(make):
    D, (real, fake) = network(), draw(2, 5, 4)
    loss = lambda a, b: (a**2).mean() + ((b - 1.0) ** 2).mean()
    expected = grad(loss(D(tensor(real)), D(tensor(fake))), D.parameters())
    buffer = xp.array(real)
    on_real = D(make(buffer))
    buffer[...] = fake
    for a, b in zip(grad(loss(on_real, D(make(buffer))), D.parameters()), expected):
        np.testing.assert_array_equal(host(a), host(b))


def test_an_input_of_a_conditional_layer_and_its_labels():
    layer, x = nn.ConditionalBatchNorm.of_classes(3, 2), draw(4, 3)
    labels, weights = np.array([0, 1, 1, 0]), tensor(draw(4, 3, seed=1))
    expected = grad((layer(x, labels.copy()) * weights).sum(), layer.parameters())
    y, before = (layer(x, labels) * weights).sum(), xp.array(x)
    x[...], labels[...] = 0, 0
    assert before.any()
    for a, b in zip(grad(y, layer.parameters()), expected):
        np.testing.assert_array_equal(host(a), host(b))


# name: (function of a Tensor of shape (2, 3) and of settings; those settings, arrays and lists)
SETTINGS = {
    "mul by a number in an array": (lambda x, c: x * c, [np.array(3.0)]),
    "number in an array first": (lambda x, c: ops.div(c, x), [np.array(3.0)]),
    "clip": (ops.clip, [np.array(-0.5), np.array(0.5)]),
    "mul_constant": (ops.mul_constant, [np.arange(6.0).reshape(2, 3)]),
    "mul_constant by a number": (ops.mul_constant, [np.array(3.0)]),
    "leaky_relu_gradient": (
        lambda x, y: ops.leaky_relu_gradient(x, y, 0.2, 1.5),
        [np.arange(-2.5, 3.5).reshape(2, 3)],
    ),
    "where": (lambda x, c: ops.where(c, x, -x), [np.array([True, False, True])]),
    "where list": (lambda x, c: ops.where(c, x, -x), [[True, False, True]]),
    "getitem": (lambda x, i: x[i], [np.array([0, 1, 1])]),
    "getitem slice": (lambda x, i: x[:, i:], [np.array(1)]),
    "getitem list": (lambda x, i: x[i], [[0, 0, 1]]),
    "getitem nested lists": (lambda x, i: x[:, i], [[[0, 0], [2, 1]]]),
    "getitem mask": (lambda x, i: x[i], [np.arange(6).reshape(2, 3) % 2 == 0]),
    "embedding": (ops.embedding, [np.array([0, 1, 1])]),
    "embedding list": (ops.embedding, [[0, 1, 1]]),
    "cross_entropy": (ops.cross_entropy, [np.array([0, 2])]),
    "cross_entropy list": (ops.cross_entropy, [[0, 2]]),
    "upfirdn2d": (
        lambda x, f: ops.upfirdn2d(x.reshape(1, 2, 3, 1), f, padding=1),
        [np.ones((2, 2))],
    ),
    "translate": (lambda x, s: ops.translate(x.reshape(1, 2, 3, 1), s), [np.array([[0, 1]])]),
    "affine_warp": (
        lambda x, t: ops.affine_warp(x.reshape(1, 2, 3, 1), t),
        [np.array([[[1.0, 0, 0], [0, 1, 0]]])],
    ),
    "sum": (ops.sum, [[0]]),
    "max": (ops.max, [[0]]),
    "roll": (ops.roll, [[1, 0], [0, 1]]),
    "roll array": (ops.roll, [np.array([1, 0]), [0, 1]]),
    "flip": (ops.flip, [[1]]),
    "transpose": (ops.transpose, [[1, 0]]),
    "pad": (ops.pad, [[[1, 0], [0, 1]]]),
    "broadcast_to": (ops.broadcast_to, [[2, 2, 3]]),
    "reshape": (ops.reshape, [[3, 2]]),
    "conv2d": (
        lambda x, s: ops.conv2d(x.reshape(1, 2, 3, 1), np.ones((2, 2, 1, 1)), s, s),
        [[1, 1]],
    ),
    "batch_norm": (
        lambda x, mean, rest, var: ops.batch_norm(x, statistics=(mean, rest, var)),
        [np.full((1, 3), 0.1), np.full((1, 3), 1e-9), np.full((1, 3), 2.0)],
    ),
    "instance_norm": (
        lambda x, scale: ops.instance_norm(x.reshape(1, 2, 3, 1), scale),
        [np.ones((1, 1, 1, 1))],
    ),
}


def changed(x):
    """Change a setting, an array or a list, in place. It need not be valid afterwards."""
    if isinstance(x, list):
        x[:] = [changed(part) or part if isinstance(part, list) else part + 1 for part in x]
    elif isinstance(x, np.ndarray):
        x[...] = ~x if x.dtype == bool else x + 1


@pytest.mark.cpu
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", SETTINGS)
def test_settings_that_change_after_the_forward_pass(name, order):
    function, settings = SETTINGS[name]

    def gradient(change_them):
        own, x = copy.deepcopy(settings), leaf(*np.random.default_rng(2).standard_normal((2, 3)))
        y = ops.square(function(x, *own)).sum()
        if change_them:
            for setting in own:
                changed(setting)
        if order == 2:
            y = ops.square(grad(y, x, create_graph=True)).sum()
        return host(grad(y, x))

    np.testing.assert_array_equal(gradient(True), gradient(False))


@pytest.mark.cpu
def test_the_settings_of_ones_own_op_are_constant():
    @op
    def scaled(x, /, factor, offsets=()):
        return x.data * factor, lambda g: scaled(g, factor)

    x, factor = leaf(1.0, 2.0), np.array([3.0, 4.0])
    y = scaled(x, factor).sum()
    factor[:] = 0
    assert host(grad(y, x)).tolist() == [3, 4]
    kinds = []

    @op
    def look(x, /, *settings, **named):
        kinds[:] = [*settings, *named.values()]
        return x.data, lambda g: g

    look(x, np.float64(2), np.int64(3), [1, [2]], (np.int64(4), None), flag=np.bool_(True))
    assert [type(kind) for kind in kinds] == [float, int, tuple, tuple, bool]
    assert kinds[2] == (1, (2,)) and type(kinds[3][0]) is int
    with pytest.raises(TypeError, match="look: a setting is a constant: pass a number or an array"):
        look(x, [x])


def buffers_of(layer):
    return [buffer for _, buffer in layer.named_buffers()]


@pytest.mark.parametrize(
    "make, shape",
    [
        (lambda: nn.BatchNorm(3).eval(), (4, 3)),
        (lambda: nn.Noise(3, 2, rng=np.random.default_rng(0)).eval(), (4, 2, 2, 3)),
        (lambda: nn.SpectralNorm(nn.Linear(3, 2), rng=np.random.default_rng(0)), (4, 3)),
        (lambda: nn.SpectralNorm(nn.Linear(3, 2), rng=np.random.default_rng(0)).eval(), (4, 3)),
    ],
    ids=["BatchNorm", "Noise", "SpectralNorm", "SpectralNorm eval"],
)
def test_buffers_that_change_after_the_forward_pass(make, shape):
    def gradients(change_them):
        layer = make()
        for parameter in layer.parameters():
            parameter.assign(host(draw(*parameter.shape)))
        y = ops.square(layer(draw(*shape, seed=1))).sum()
        if change_them:
            for buffer in layer.buffers():
                buffer[...] = 7.0
        return [host(g) for g in grad(y, layer.parameters())]

    for a, b in zip(gradients(True), gradients(False), strict=True):
        np.testing.assert_array_equal(a, b)


def test_reals_that_change_after_their_penalty():
    D, reals, fakes = network(), draw(5, 4), draw(5, 4, seed=1)
    rng = np.random.default_rng
    for penalty in (
        lambda *x: penalties.r1(D, x[0]),
        lambda *x: penalties.r2(D, x[1]),
        lambda *x: penalties.wgan_gp(D, *x, rng(0)),
    ):
        arrays = xp.array(reals), xp.array(fakes)
        expected = grad(penalty(*arrays), D.parameters())
        value = penalty(*arrays)
        for array in arrays:
            array[...] = 0
        for a, b in zip(grad(value, D.parameters()), expected):
            assert (a is None) == (b is None) and (a is None or (host(a) == host(b)).all())


# ---- parameters, which change in place ----


def test_writing_data_of_a_parameter_is_a_change():
    """`w.data -= step` is what many write from habit."""

    def subtract(w):
        w.data -= w.data

    def replace(w):
        w.data = np.zeros(2)

    for change_it in (subtract, replace):
        w, x = Parameter(np.array([1.0, 2.0]), name="D.w"), leaf(3.0, 4.0)
        array, y = w.data, (w * x).sum()
        change_it(w)
        assert w.data is array and host(w).tolist() == [0, 0]
        with pytest.raises(RuntimeError, match="mul read D.w, which was changed"):
            grad(y, x)
        with pytest.raises(ValueError, match=r"D.w has shape \(2,\); assign got \(3,\)"):
            w.data = np.zeros(3)


# ---- what comes back ----


def assert_own(tensors, *others):
    """Assert that the arrays share no memory, with each other or with `others`, and that one can
    write into each."""
    arrays = [x.data for x in tensors]
    for i, array in enumerate(arrays):
        assert array.flags.writeable and 0 not in array.strides
        assert not any(np.shares_memory(array, other) for other in arrays[:i])
        assert not any(np.shares_memory(array, getattr(x, "data", x)) for x in others)


@op
def constant_gradient(x, /, array):
    """An op with a derivative that returns an array of its own."""
    return x.data, lambda g: wrap(array)


# name: a function of two Tensors (3,)
SHARING = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "sum": lambda a, b: (a + b).sum() * 2.0,
    "reshape": lambda a, b: (a.reshape(3, 1) + b.reshape(3, 1)).T,
    "broadcast": lambda a, b: ops.broadcast_to(a + b, (2, 3)).sum(),
    "concatenate": lambda a, b: ops.concatenate([a, b, a]),
    "stack": lambda a, b: ops.stack([a, b]),
    "mul": lambda a, b: a * b,
    "where": lambda a, b: ops.where(np.array([True, True, True]), a, b),
    "leaky_relu": lambda a, b: ops.leaky_relu(a, 1.0) + b.relu(),
    "flip": lambda a, b: ops.flip(a + b)[::-1],
    "shares": lambda a, b: ops.mean_over_shares(a + b),
    "constant": lambda a, b: constant_gradient(a, np.ones(3)) + b,
    "unused": lambda a, b: a * 1.0 + 0.0 * b,
    "exp": lambda a, b: ops.exp(a) * b,
}


@pytest.mark.cpu
@pytest.mark.parametrize("settings", [{}, {"create_graph": True}, {"retain_graph": True}], ids=str)
@pytest.mark.parametrize("seed_kind", [tensor, np.array], ids=["Tensor", "array"])
@pytest.mark.parametrize("kind", [Parameter, lambda x: tensor(x, requires_grad=True)])
@pytest.mark.parametrize("name", SHARING)
def test_each_gradient_has_an_array_of_its_own(name, kind, seed_kind, settings):
    a, b = kind(np.array([1.0, -2.0, 3.0])), kind(np.array([0.5, 4.0, -1.0]))
    y = SHARING[name](a, b)
    h = a * 2.0
    seed = seed_kind(np.random.default_rng(0).standard_normal(y.shape))
    # The same input twice, and the output itself.
    gradients = grad([y, h], [a, b, a, y], [seed, np.ones(3)], **settings)
    values = [host(g).copy() for g in gradients]
    assert_own(gradients, a, b, y, h, seed)
    for i, g in enumerate(gradients):
        g.data[...] = 100.0 + i
    assert [host(g).ravel()[0] for g in gradients] == [100, 101, 102, 103]
    if settings:  # the graph is still there, and unharmed
        again = grad([y, h], [a, b, a, y], [seed, np.ones(3)])
        for value, g in zip(values, again):
            np.testing.assert_array_equal(host(g), value)


@pytest.mark.cpu
def test_gradients_that_backward_accumulates_are_ones_own():
    a, b = Parameter(np.ones(3)), Parameter(np.ones(3))
    seed = tensor(np.ones(3))
    (a + b).backward(seed)
    assert_own([a.grad, b.grad], a, b, seed)
    a.grad.data *= 0.5
    (a + b).backward(seed)
    assert host(a.grad).tolist() == [1.5] * 3 and host(b.grad).tolist() == [2] * 3
    assert_own([a.grad, b.grad], a, b, seed)
    a.backward(seed)  # a leaf by itself
    assert_own([a.grad, b.grad], a, b, seed)


@pytest.mark.cpu
def test_a_gradient_changed_in_place_does_not_change_the_second_derivative():
    for f in (ops.exp, ops.square, lambda x: x * x * x, ops.softplus, ops.tanh, lambda x: x * 2.0):
        x = leaf(0.5, -1.0, 2.0)
        first = grad(f(x).sum(), x, create_graph=True)
        if first.requires_grad:
            expected = host(grad(first.sum(), x, retain_graph=True))
            first.data *= 0.0
            np.testing.assert_array_equal(host(grad(first.sum(), x)), expected)


def test_clipping_gradients_one_by_one():
    """As in gradients_share_memory: each is scaled once."""
    a, b = Parameter(np.ones(3)), Parameter(np.ones(3))
    gradients = grad(((a + b) * 2.0).sum(), [a, b])
    for g in gradients:
        g.data *= 0.5
    assert [host(g).tolist() for g in gradients] == [[1] * 3] * 2


def test_a_training_step_copies_no_gradient(monkeypatch):
    """The gradients of a network's parameters are arrays of their own already."""
    from tinygan.autograd import ownership

    copied = []
    real = ownership._is_free
    monkeypatch.setattr(ownership, "_is_free", lambda g: real(g) or copied.append(g.shape))
    D = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm(4),
        nn.LeakyReLU(),
        nn.Flatten(),
        nn.Linear(64, 2),
    )
    optim.Adam(D.parameters(), 0.1).step(
        grad(ops.square(D(draw(3, 4, 4, 1))).sum(), D.parameters())
    )
    assert not copied


@pytest.mark.cpu
def test_arrays_that_a_tensor_gives_are_copies():
    x = tensor(np.ones(3))
    for array in (x.numpy(), np.asarray(x), np.array(x), np.asarray(x, dtype="float64")):
        array[:] = 7.0
        assert host(x).tolist() == [1, 1, 1]
    y = leaf(1.0, 2.0)
    z = ops.exp(y)
    z.detach().numpy()[:] = 0
    assert host(grad(z.sum(), y)).tolist() == np.exp([1.0, 2.0]).tolist()
