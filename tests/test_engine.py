"""The engine: what the graph records, what it frees, and which mistakes raise errors.

Each pitfall that section 2 of DESIGN names has a test here.
"""

import copy
import gc
import importlib
import pickle
import textwrap
import threading
import weakref

import numpy as np
import pytest
import strict
from host import host

import tinygan
from tinygan import GradientError, Parameter, Tensor, check_grads, grad, nn, no_grad, ops, tensor
from tinygan.autograd import Node, engine, op, recording
from tinygan.backend import asarray, xp
from tinygan.kernels.cpu import parallel
from tinygan.ops.fused import alias

normalize_modulate = importlib.import_module("tinygan.ops.normalize")._normalize_modulate
cross_entropy = importlib.import_module("tinygan.ops.losses")._binary_cross_entropy_with_logits


def leaf(*values, shape=None):
    return tensor(np.array(values).reshape(shape or len(values)), requires_grad=True)


def normal(*shape, seed=0, requires_grad=True):
    return tensor(np.random.default_rng(seed).standard_normal(shape), requires_grad)


def values(x):
    return host(x).tolist()


def assert_raises(error, message, f, *args, **settings):
    """Check that f raises `error` with a message of one line that contains `message`."""
    with pytest.raises(error) as caught:
        f(*args, **settings)
    assert message in str(caught.value) and "\n" not in str(caught.value), str(caught.value)


# ---- higher derivatives ----


def test_derivatives_through_the_result_itself():
    """A derivative of (g, y) treats y as a function of x.

    If y were a fresh leaf, all terms but the first would be lost.
    """
    x = leaf(0.3, -1.2)
    y = ops.tanh(x)
    t = np.tanh([0.3, -1.2])
    first = grad(y.sum(), x, create_graph=True)
    second = grad(first.sum(), x, create_graph=True)
    third = grad(second.sum(), x)
    np.testing.assert_allclose(host(first), 1 - t**2, rtol=1e-14)
    np.testing.assert_allclose(host(second), -2 * t * (1 - t**2), rtol=1e-14)
    np.testing.assert_allclose(host(third), (1 - t**2) * (6 * t**2 - 2), rtol=1e-14)


def test_every_derivative_of_exp_is_exp():
    x = leaf(0.5)
    y = ops.exp(x)
    for _ in range(6):
        y = grad(y, x, create_graph=True)
        assert y.item() == pytest.approx(np.exp(0.5), rel=1e-15)


def test_second_derivative_of_the_length_of_a_weight_gradient():
    """d/dx and d/dw of || d loss / dw ||, through a convolution."""

    def length(x, w):
        w = w if w.requires_grad else Tensor(w.data, requires_grad=True)
        loss = ops.tanh(ops.conv2d(x, w, stride=2, padding=1)).sum()
        return ops.norm(grad(loss, w, create_graph=True))

    check_grads(length, [normal(2, 6, 5, 3), normal(3, 3, 3, 4, seed=1)], order=2)


def test_gradient_penalty_against_a_formula():
    """For a linear critic w.x, the penalty (|w| - 1)^2 has the gradient 2 (|w| - 1) w / |w|."""
    w, x = normal(5, 1), normal(8, 5, seed=1)
    g = grad((x @ w).sum(), x, create_graph=True)
    penalty = ((ops.norm(g, axis=1) - 1) ** 2).mean()
    length = np.linalg.norm(host(w))
    np.testing.assert_allclose(
        host(grad(penalty, w)), 2 * (length - 1) * host(w) / length, rtol=1e-12
    )


@op
def normalize_with_constant_std(x, /):
    """Batch-norm with the classic mistake: a correct derivative, but with 1 / std as a constant."""
    inv_std = 1 / xp.sqrt(x.data.var(0, keepdims=True) + 1e-5)

    def d_x(g, y):
        mean_gy = ops.mean(g * y, 0, keepdims=True)
        return Tensor(inv_std) * (g - ops.mean(g, 0, keepdims=True) - y * mean_gy)

    return (x.data - x.data.mean(0, keepdims=True)) * inv_std, d_x


def test_batch_norm_with_a_constant_inverse_std_fails_at_second_order_only():
    x = np.random.default_rng(0).standard_normal((6, 3))
    check_grads(normalize_with_constant_std, x, order=1)
    message = "normalize_with_constant_std, order 2: the gradient of x is wrong"
    with pytest.raises(GradientError, match=message):
        check_grads(normalize_with_constant_std, x, order=2)
    assert len(check_grads(ops.batch_norm, x, order=3)) == 3


def test_norm_at_zero_has_the_gradient_zero_and_no_second_derivative():
    x = leaf(0.0, 0.0, 3.0, 4.0, shape=(2, 2))
    y = ops.norm(x, axis=1)
    first = grad(y.sum(), x, create_graph=True)
    with np.errstate(all="ignore"):
        second = host(grad((first * first).sum() + first[:, 0].sum(), x))
    assert values(first) == [[0, 0], pytest.approx([0.6, 0.8])]
    assert not np.isfinite(second[0]).any() and np.isfinite(second[1]).all()


# ---- fused ops ----


@pytest.mark.parametrize(
    "f",
    [
        lambda x: cross_entropy(x, x),
        lambda x: cross_entropy(ops.tanh(x), x),
        lambda x: normalize_modulate(x, x, x, (0,), 1e-5),
        lambda x: normalize_modulate(x * 2.0, None, x, (0, 1), 1e-5),
        lambda x: cross_entropy(normalize_modulate(x, x, None, (1,), 1e-5), x),
    ],
)
def test_a_fused_op_with_the_same_tensor_as_several_arguments(f):
    """Differentiated by x itself, the definition would give the same sum to every argument."""
    check_grads(f, np.random.default_rng(0).standard_normal((4, 3)), order=3)


def test_the_second_derivative_flows_through_a_fused_op():
    """Differentiated by fresh leaves, the definition would end the graph there."""
    w, x = normal(3), normal(6, 3, seed=1)
    for fused in (ops.batch_norm, lambda h: cross_entropy(h, tensor(np.full((6, 3), 0.3)))):
        g = grad((fused(x * w) ** 3).sum(), x, create_graph=True)
        assert g.requires_grad
        assert np.abs(host(grad((g * g).sum(), w))).min() > 1e-6


def test_alias_has_the_same_values_and_a_node_of_its_own():
    x = leaf(1.0, 2.0)
    y = alias(x)
    assert y.data is x.data and y.node is not x.node
    assert values(grad((y * x).sum(), y)) == [1, 2]
    assert values(grad((alias(x) * x).sum(), x)) == [2, 4]


# ---- writing an op ----


def test_concatenate_of_unequal_parts():
    """A lambda that closes over a loop variable would give every part the last slice."""
    parts = [normal(n, 2, seed=n) for n in (1, 3, 2, 4)]
    weights = np.arange(20.0).reshape(10, 2)
    gs = grad((ops.concatenate(parts) * asarray(weights)).sum(), parts)
    np.testing.assert_array_equal(np.concatenate([host(g) for g in gs]), weights)
    assert [g.shape for g in gs] == [p.shape for p in parts]


def test_a_derivative_with_a_default_argument_raises():
    @op
    def parts(x, /):
        return x.data, *[lambda g, i=i: g * i for i in range(1)]

    assert_raises(
        TypeError,
        "parts: a derivative is a function of (g) or (g, y), not (g, i=...); "
        "write lambda g: ..., and bind loop variables in a helper function that returns the lambda",
        parts,
        leaf(1.0),
    )


def test_the_second_parameter_of_a_derivative_is_the_result_whatever_its_name():
    @op
    def double(x, /):
        return x.data * 2.0, lambda grad_y: grad_y * 2.0

    @op
    def exponential(x, /):
        return xp.exp(x.data), lambda grad_out, result: grad_out * result

    @op(joint=True)
    def root(x, /):
        return xp.sqrt(x.data), lambda grad_y, result, wanted: [grad_y / (result * 2.0)]

    x = leaf(0.5, 2.0)
    assert [f(x).node.y is not None for f in (double, exponential, root)] == [False, True, True]
    for f, expected in (
        (double, [2.0, 2.0]),
        (exponential, np.exp([0.5, 2.0])),
        (root, 0.5 / np.sqrt([0.5, 2.0])),
    ):
        np.testing.assert_allclose(host(grad(f(x).sum(), x)), expected)


class Methods:
    def of_g(self, g):
        return g

    def of_all(self, *args):
        return args[0]


@pytest.mark.parametrize(
    "joint, derivative, described",
    [
        (False, lambda: 1.0, "()"),
        (False, lambda g, y, more: g, "(g, y, more)"),
        (False, Methods().of_g, "<class 'method'>"),
        (False, Methods().of_all, "<class 'method'>"),
        (False, lambda *args: args[0], "(args)"),
        (False, 1.0, "<class 'float'>"),
        (False, lambda g, y=None: g, "(g, y=...)"),
        (False, np.negative, "<class 'numpy.ufunc'>"),
        (True, lambda g: [g], "(g)"),
        (True, lambda g, y, needed, more: [g], "(g, y, needed, more)"),
    ],
)
def test_an_invalid_derivative_raises_when_the_op_is_called(joint, derivative, described):
    @op(joint=joint)
    def f(x, /):
        return x.data * 1.0, derivative

    expected = "(g, needed) or (g, y, needed)" if joint else "(g) or (g, y)"
    message = f"f: a derivative is a function of {expected}, not {described}; write lambda g: "
    assert_raises(TypeError, message, f, leaf(1.0))


@pytest.mark.parametrize(
    "derivative, wrong_shape",
    [
        (lambda g: ops.sum(g, 1, keepdims=True), "shape (2, 1), float64"),
        (lambda g: ops.sum(g, 0), "shape (3,), float64"),
        (lambda g: ops.reshape(g, (3, 2)), "shape (3, 2), float64"),
        (lambda g: Tensor(np.ones((2, 3)), dtype="float32"), "shape (2, 3), float32"),
    ],
)
@pytest.mark.parametrize("broadcasts", [False, "batch"])
def test_a_gradient_of_the_wrong_shape_or_dtype_raises(derivative, wrong_shape, broadcasts):
    """Also if it would broadcast, except in an op that declares that its arguments broadcast."""

    @op(broadcasts=broadcasts)
    def wrong(x, /):
        return x.data, derivative

    x = normal(2, 3)
    message = (
        f"wrong: the gradient of argument 0 has {wrong_shape}, "
        "but the argument has shape (2, 3), float64"
    )
    assert_raises(ValueError, message, grad, wrong(x).sum(), x)


def test_a_gradient_that_is_too_small_raises_in_a_broadcasting_op_too():
    @op(broadcasts=True)
    def wrong(x, /):
        return x.data, lambda g: ops.sum(g, 1, keepdims=True)

    x = normal(2, 3)
    assert_raises(ValueError, "wrong: the gradient of argument 0", grad, wrong(x).sum(), x)


def test_only_batch_axes_broadcast_in_a_product():
    def product(gradient_shape):
        @op(broadcasts="batch", name="product")
        def identity(x, /):
            return x.data, lambda g: ops.broadcast_to(g, gradient_shape)

        return identity

    x = normal(2, 1)
    assert values(grad(product((5, 2, 1))(x).sum(), x)) == [[5], [5]]
    y = product((2, 3))(x).sum()
    assert_raises(ValueError, "product: the gradient of argument 0 has shape (2, 3)", grad, y, x)


def test_a_joint_derivative_is_checked_too():
    @op(joint=True)
    def wrong(a, b, /):
        return a.data + b.data, lambda g, needed: (g, ops.sum(g))

    a, b = normal(3), normal(3, seed=1)
    assert values(grad(wrong(a, b).sum(), a)) == [1, 1, 1]
    y = wrong(a, b).sum()
    assert_raises(ValueError, "wrong: the gradient of argument 1 has shape ()", grad, y, b)


def test_an_op_that_changes_the_dtype_or_lacks_a_derivative_raises():
    @op
    def half(x, /):
        return x.data.astype("float32"), lambda g: g

    @op
    def forgetful(a, b, /):
        return a.data + b.data, lambda g: g

    @op
    def unfinished(x, /):
        return x.data, lambda g: g.data

    @op(joint=True)
    def half_done(a, b, /):
        return a.data + b.data, lambda g, needed: [g]

    x = leaf(1.0)
    message = "half_done: a joint derivative returned 1 gradients for 2 arguments"
    assert_raises(TypeError, message, lambda: grad(half_done(x, x), x))
    for message in (
        "unfinished: the derivative of argument 0 returned a ",
        "not a Tensor: compute it with ops, not on arrays",
    ):
        assert_raises(TypeError, message, lambda: grad(unfinished(x), x))
    message = "op slashless: put `/` after the parameters that are Tensors"
    with pytest.raises(TypeError, match=message):

        @op
        def slashless(x):
            return x.data, lambda g: g

    assert_raises(TypeError, "half: returned a float32 result for float64 arguments", half, x)
    message = "forgetful: has 2 Tensor arguments but 1 derivatives"
    assert_raises(TypeError, message, forgetful, leaf(1.0), leaf(2.0))


def test_settings_get_no_gradient_and_none_means_no_derivative():
    @op
    def scale(x, index, /, factor):
        return x.data * factor + index.data, lambda g: g * factor, None

    x, i = leaf(1.0, 2.0), leaf(0.0, 1.0)
    y = scale(x, i, factor=3.0)
    assert values(grad(y.sum(), x, retain_graph=True)) == [3, 3]
    assert grad(y.sum(), i, retain_graph=True) is None
    assert scale.name == "scale" and "index" in scale.__wrapped__.__code__.co_varnames


def test_only_the_requested_gradients_are_computed():
    calls = []

    def logged(name):
        return lambda g: calls.append(name) or g

    @op
    def two(a, b, /):
        return a.data + b.data, logged("a"), logged("b")

    a, b, c = leaf(1.0), leaf(2.0), leaf(3.0)
    y = two(two(a, b), two(c, Tensor(np.ones(1))))
    grad(y, b, retain_graph=True)
    assert calls == ["a", "b"]
    calls.clear()
    grad(y, c)
    assert calls == ["b", "a"]


def test_a_derivative_that_fails_restores_the_recording_mode():
    @op
    def failing(x, /):
        return x.data, lambda g: 1 / 0

    x = leaf(1.0)
    with pytest.raises(ZeroDivisionError):
        grad(failing(x), x)
    assert recording() and (x * 2.0).requires_grad


# ---- memory ----


@pytest.fixture
def no_gc():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def one_thread():
    """A second thread could allocate its scratch arrays in a later step, which would count."""
    before = parallel.num_threads()
    parallel.set_num_threads(1)
    yield
    parallel.set_num_threads(before)


def alive():
    return sum(isinstance(x, (Tensor, Node)) for x in gc.get_objects())


def _network():
    rng = np.random.default_rng(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, 2, 1, rng=rng),
        nn.BatchNorm(4),
        nn.LeakyReLU(),
        nn.ConvTranspose2d(4, 3, 4, 2, 1, rng=rng),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(108, 1, rng=rng),
    )


def _loss(net, images):
    h = net(images)
    joined = ops.concatenate([h, h * h, ops.softplus(h)], 1)
    return ops.binary_cross_entropy_with_logits(joined, 0.9) + ops.logsumexp(joined) + ops.norm(h)


def _backward(net, images):
    _loss(net, images).backward()
    for parameter in net.parameters():
        parameter.grad = None


def _penalized(net, images):
    images = Tensor(images.data, requires_grad=True)
    loss = _loss(net, images)
    return loss + (ops.norm(grad(loss, images, create_graph=True)) - 1.0) ** 2


STEPS = {
    "gradient": lambda net, images: grad(_loss(net, images), net.parameters()),
    "forward only": _loss,
    "no_grad": no_grad()(_loss),
    "retained": lambda net, images: grad(_loss(net, images), net.parameters(), retain_graph=True),
    "one parameter": lambda net, images: grad(_loss(net, images), net.parameters()[2]),
    "backward": _backward,
    "penalty": lambda net, images: grad(_penalized(net, images), net.parameters()),
    "second order, kept": lambda net, images: grad(
        _penalized(net, images), net.parameters(), create_graph=True
    ),
}


@pytest.mark.parametrize("step", STEPS)
def test_graphs_free_themselves(step, no_gc, array_bytes, one_thread):
    """After each step, the Tensors, nodes and bytes are as before, without the cycle collector."""
    net, images = _network(), normal(4, 6, 6, 2, requires_grad=False).astype("float32")
    STEPS[step](net, images)
    before = alive(), array_bytes()
    assert before[1] > 1000  # the parameters
    for _ in range(2):
        STEPS[step](net, images)
        assert (alive(), array_bytes()) == before


def test_a_failing_step_leaves_nothing_behind(no_gc):
    @op
    def failing(x, /):
        return x.data, lambda g: g.no_such_attribute

    x = normal(3)
    before = alive()
    for _ in range(3):
        try:
            grad(ops.tanh(failing(ops.exp(x) * x)).sum(), x)
        except AttributeError:
            pass
    assert alive() == before


def test_an_activation_that_no_derivative_reads_is_freed_at_once(no_gc):
    x = normal(1000)
    h = x + 1.0
    array = weakref.ref(h.data)
    y = (h - 2.0).sum()
    del h
    assert array() is None
    assert values(grad(y, x))[:2] == [1, 1]


def test_a_derivative_that_is_not_needed_keeps_nothing(no_gc):
    """d/dc of x * c would read x; c is a constant."""
    x = normal(1000)
    h = x + 1.0
    array = weakref.ref(h.data)
    y = (h * normal(1000, seed=1, requires_grad=False)).sum()
    del h
    assert array() is None and y.requires_grad


def test_gradients_are_freed_during_the_pass(no_gc):
    """While a derivative runs, the gradients of the ops after it are freed already."""
    arrays, counts = [], []

    @op
    def observe(x, /):
        def d_x(g):
            counts.append(sum(array() is not None for array in arrays))
            arrays.append(weakref.ref((result := g * 2.0).data))
            return result

        return x.data * 1.0, d_x

    x = normal(1000)
    y = observe(observe(observe(x)))
    assert grad((observe(observe(y)) + observe(observe(y))).sum(), x) is not None
    # Its own and that of the other branch; after the sum of both, neither.
    assert counts == [0, 1, 1, 2, 0, 1, 1]


def test_the_backward_pass_consumes_the_graph(no_gc):
    """The arrays are freed during the pass, although the loss lives on."""
    x = normal(1000)
    h = ops.exp(x)
    array, alive_then = weakref.ref(h.data), []

    @op
    def observe(x, /):
        return x.data * 1, lambda g: alive_then.append(array() is not None) or g

    y = (ops.square(h + 0.0) * 1.0).sum()
    y = ops.tanh(observe(ops.square(observe(h)))).sum()
    del h
    g = grad(y, x)
    assert g is not None and y.requires_grad
    assert alive_then == [True, True] and array() is None


def test_a_gradient_does_not_hold_the_graph(no_gc):
    x = normal(10)
    before = alive()
    g = grad((ops.exp(x) * x).sum(), x)
    assert not g.requires_grad and alive() == before + 1


@pytest.mark.parametrize(
    "link",
    [
        lambda y, x: y * x,
        lambda y, x: ops.concatenate([y[1:], x[:1]]),
        lambda y, x: cross_entropy(y, x) + x,
    ],
    ids=["mul", "concatenate", "fused"],
)
def test_a_chain_of_5000_ops(link):
    """It is built, differentiated and freed without recursion."""
    x = leaf(0.5, 0.5)
    y = x
    for _ in range(5_000):
        y = link(y, x)
    unused = link(y, x)
    del unused
    assert grad(y.sum(), x, retain_graph=True).shape == (2,)
    del y


def test_the_second_derivative_of_a_long_chain():
    x = leaf(1.0)
    y = x
    for _ in range(5_000):
        y = y * x
    first = grad(y, x, create_graph=True)
    assert first.item() == 5_001 and grad(first, x).item() == 5_001 * 5_000


def test_a_derivative_is_called_once_for_each_node():
    """A chain of 60 diamonds has 2^60 paths, but 120 nodes."""
    called = []

    @op
    def half(x, /):
        return x.data * 0.5, lambda g: called.append(1) or g * 0.5

    x = leaf(1.0)
    y = x
    for _ in range(60):
        y = half(y) + half(y)
    assert grad(y, x).item() == 1 and len(called) == 120


# ---- versions ----

VIEWS = {
    "itself": lambda w: w,
    "w.T": lambda w: w.T,
    "w.T.T": lambda w: w.T.T,
    "w[1:]": lambda w: w[1:],
    "w[None, 0]": lambda w: w[None, 0],
    "w.reshape": lambda w: w.reshape(-1, 2),
    "broadcast_to": lambda w: ops.broadcast_to(w, (2, 4, 4)),
    "flip": lambda w: ops.flip(w, 0),
    "alias": alias,
    "w.T[1:].reshape": lambda w: w.T[1:].T.reshape(4, 3, 1),
    "detach": lambda w: w.detach(),
    "w.T.detach": lambda w: w.T.detach(),
    "detach()[0]": lambda w: w.detach()[0],
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("frozen", [False, True], ids=["", "frozen"])
@pytest.mark.parametrize(
    "change",
    [lambda w: w.assign(w.data * 2), lambda w: w.data.fill(3) or w.mark_changed()],
    ids=["assign", "mark_changed"],
)
def test_a_weight_changed_between_forward_and_backward(view, frozen, change):
    """The derivative with respect to x reads the weight, through a view that shares its memory."""
    w = Parameter(np.arange(16.0).reshape(4, 4), requires_grad=not frozen, name="Critic.weight")
    viewed = VIEWS[view](w)
    x = tensor(np.ones(viewed.shape), requires_grad=True)
    y = (viewed * x).sum()
    assert values(grad(y, x, retain_graph=True)) == values(viewed)
    change(w)
    message = (
        "mul read Critic.weight, which was changed after the forward pass: take gradients "
        "before the optimiser's step, or run the forward pass again"
    )
    assert_raises(RuntimeError, message, grad, y, x)


def test_a_copy_keeps_the_old_weight():
    w = Parameter(np.arange(4.0), name="w")
    for copied in (w.detach()[[0, 1, 2, 3]], w.detach() * 1.0, tensor(w.data)):
        x = leaf(1.0, 1.0, 1.0, 1.0)
        y = (copied * x).sum()
        expected = values(copied)
        w.assign(w.data + 1)
        assert values(grad(y, x)) == expected


def test_changes_before_and_after_both_passes_are_fine():
    w, x = Parameter(np.ones(2), name="w"), leaf(1.0, 2.0)
    for _ in range(3):
        loss = (w * x).sum()
        g = grad(loss, w)
        w.assign(w.data - g.data)
    assert values(w) == [-2, -5]


def test_a_weight_changed_before_the_second_backward():
    w, x = Parameter(np.ones(3), name="D.w"), leaf(1.0, 2.0, 3.0)
    g = grad(ops.tanh(w * x).sum(), x, create_graph=True)
    w.assign(np.zeros(3))
    assert_raises(RuntimeError, "read D.w, which was changed", grad, g.sum(), w)


def test_a_weight_changed_under_a_fused_op():
    gain, x = Parameter(np.ones(3), name="BatchNorm.gain"), normal(4, 3)
    y = ops.batch_norm(x, gain).sum()
    gain.mark_changed()
    assert_raises(RuntimeError, "read BatchNorm.gain", grad, y, x)


def test_a_module_names_its_parameters():
    layer, x = nn.Linear(3, 2), tensor(np.ones((1, 3), "float32"), requires_grad=True)
    y = layer(x).sum()
    layer.weight.mark_changed()
    assert_raises(RuntimeError, "affine read Linear.weight", grad, y, x)


# ---- grad ----


def test_the_backward_pass_in_the_docstring_works():
    """The lines that a learner reads there run, and give the same gradients as `grad`."""
    (code,) = [part for part in engine.__doc__.split("\n\n") if part.startswith("    def ")]
    assert len(code.splitlines()) == 8
    scope = dict(vars(engine))
    exec(textwrap.dedent(code), scope)
    x, w = normal(3, 4), normal(4, 2, seed=1)
    h = x @ w
    y = (h * h + h * 3.0 + ops.softplus(h)).mean() + x.sum()
    expected = grad(y, [x, h, w], retain_graph=True)
    for a, b in zip(scope["gradients_of"](y, [x, h, w]), expected):
        np.testing.assert_array_equal(host(a), host(b))


def test_one_input_gives_a_tensor_and_a_sequence_gives_a_list():
    x, w = leaf(2.0), leaf(3.0)
    y = x * w
    assert grad(y, x, retain_graph=True).item() == 3
    for sequence in ([x, w], (x, w), iter([x, w])):
        result = grad(y, sequence, retain_graph=True)
        assert type(result) is list and [g.item() for g in result] == [3, 2]
    assert grad(y, [], retain_graph=True) == []


def test_none_for_an_input_that_the_output_does_not_depend_on():
    x, w, unused = leaf(2.0), leaf(3.0), leaf(1.0)
    y, z = x * w, unused * 2.0
    gradients = grad(y, [x, unused, w, z], retain_graph=True)
    assert [g and g.item() for g in gradients] == [3, None, 2, None]
    assert grad(y, unused) is None
    assert grad(x * 2.0, leaf(1.0)) is None  # newer than the output


def test_intermediate_and_repeated_inputs():
    x = leaf(2.0)
    h = x * x
    y = h * h
    assert [g.item() for g in grad(y, [h, x, h, y, x])] == [8, 32, 8, 1, 32]
    assert grad(x, x).item() == 1


def test_several_outputs_add_up():
    x = leaf(1.0, 2.0)
    a, b = x * 3.0, ops.square(x)
    one, v = np.ones(2), np.array([1.0, 10.0])
    assert values(grad([a, b], x, [one, v], retain_graph=True)) == [5, 43]
    assert values(grad([a.sum(), a.sum(), b.sum()], x, retain_graph=True)) == [8, 10]
    assert values(grad([a, a], x, [one, one], retain_graph=True)) == [6, 6]  # one output twice
    g = grad((b, h := a * 2.0), [x, a], (one, one))
    assert [values(t) for t in g] == [[8, 10], [2, 2]] and h is not None


def test_grad_outputs():
    x = leaf(1.0, 2.0, shape=(1, 2))
    y = x * 2.0
    assert values(grad(y, x, Tensor(np.array([[1.0, 5.0]])), retain_graph=True)) == [[2, 10]]
    assert values(grad(y[:, :1], x, retain_graph=True)) == [[2, 0]]  # one element needs none
    v = leaf(1.0, 1.0, shape=(1, 2))
    g = grad(y, x, v, create_graph=True)
    assert values(grad(g.sum(), v)) == [[2, 2]]
    message = (
        "the output has shape (1, 2): reduce it to one number (.sum(), .mean()) or pass "
        "grad_outputs"
    )
    assert_raises(ValueError, message, grad, y, x)
    message = "grad_outputs of shape (2,), float64 for an output of shape (1, 2), float64"
    assert_raises(ValueError, message, grad, y, x, np.ones(2))
    single = Tensor(np.ones((1, 2), "float32"))
    assert_raises(ValueError, "float32 for an output", grad, y, x, single)


def test_a_first_order_gradient_is_constant_even_if_grad_outputs_is_not():
    a, v = leaf(1.0, 2.0), leaf(3.0, 4.0)
    assert not grad(a + 1.0, a, v).requires_grad
    assert grad(a + 1.0, a, v, create_graph=True).requires_grad


def test_grad_raises_for_bad_inputs_and_outputs():
    x = leaf(1.0)
    constant = Tensor(np.ones(1))
    assert_raises(ValueError, "grad: input 1 ", grad, x * 2.0, [x, constant])
    message = "grad: input 0 is a ndarray: pass Tensors that require a gradient, such as net.param"
    assert_raises(ValueError, message, grad, x * 2.0, [np.ones(1)])
    message = "2 outputs but 1 grad_outputs: pass a list with one for each output"
    assert_raises(ValueError, message, grad, [x, x], x, [np.ones(1)])
    message = (
        "the output does not require a gradient: was it computed under no_grad, "
        "or only from Tensors without requires_grad=True, such as frozen Parameters?"
    )
    for y in (constant * 2.0, (x * 2.0).detach(), no_grad()(ops.exp)(x)):
        assert_raises(ValueError, message, grad, y, x)
    message = "grad: the output is a float: pass the Tensor, such as a loss"
    assert_raises(TypeError, message, grad, (x * 2.0).item(), x)
    assert_raises(TypeError, message, grad, [x, 3.0], x)


def test_a_second_pass_through_a_used_up_graph_raises():
    x = leaf(2.0)
    h = ops.tanh(x)
    y = ops.exp(h)
    grad(y, x)
    for again in (y, y * 2.0, h):
        message = "the graph was used up by an earlier backward pass (at "
        assert_raises(RuntimeError, message, grad, again, x)
    assert_raises(RuntimeError, "call that one with retain_graph=True", grad, y, h)


def test_a_used_up_graph_raises_only_where_it_is_needed():
    x = leaf(3.0)
    y = x * 2.0
    grad((y * 1.0).sum(), x)
    assert grad((y * y).sum(), y).data == 12  # the node of y is used up, but need not run
    w = leaf(1.0)
    a = x * x
    grad((a * 1.0).sum(), x)
    assert grad((a * w).sum(), w).data == 9  # a side branch is used up
    with pytest.raises(RuntimeError, match=r"used up .*at mul.*retain_graph=True"):
        grad((a * w).sum(), x)


def test_retain_graph():
    x = leaf(2.0)
    y = x * x * x
    assert [grad(y, x, retain_graph=True).item() for _ in range(3)] == [12, 12, 12]
    first = grad(y, x, create_graph=True)  # retains by default
    assert grad(y, x).item() == 12
    assert_raises(RuntimeError, "used up", grad, first, x)
    first = grad(x * x * x, x, create_graph=True, retain_graph=False)
    assert_raises(RuntimeError, "used up", grad, first, x)


def test_a_graph_is_used_up_only_where_the_pass_went():
    x, w = leaf(2.0), leaf(3.0)
    a, b = ops.exp(x), ops.square(w)
    y = a * b
    grad(y, w)
    assert grad(a, x).item() == pytest.approx(np.exp(2))
    z = a * leaf(1.0)
    w = leaf(5.0)
    # exp is used up, but it is not on the way to w.
    assert grad(z * w, w).item() == pytest.approx(np.exp(2))


# ---- backward ----


def test_backward_accumulates_on_leaves():
    x, w, unused = leaf(2.0), leaf(3.0), leaf(4.0)
    constant = Tensor(np.ones(1))
    h = x * w
    (h * h * constant).backward()
    assert (x.grad.item(), w.grad.item()) == (36, 24)
    assert h.grad is None and unused.grad is None and constant.grad is None
    first = x.grad
    (x * 5.0).backward()
    assert x.grad.item() == 41 and first.item() == 36 and not x.grad.requires_grad
    x.grad = None
    (x * 5.0).backward()
    assert x.grad.item() == 5


def test_backward_settings():
    x = leaf(1.0, 2.0)
    y = x * 2.0
    assert_raises(ValueError, "reduce it to one number", y.backward)
    y.backward(np.array([1.0, 10.0]), retain_graph=True)
    y.backward(np.array([1.0, 10.0]))
    assert values(x.grad) == [4, 40]
    assert_raises(RuntimeError, "used up", y.backward, np.ones(2))
    x.grad = None
    x.sum().backward()
    x.backward(np.ones(2))  # a leaf by itself
    assert values(x.grad) == [2, 2]
    assert_raises(ValueError, "does not require a gradient", Tensor(np.ones(1)).backward)


def test_backward_when_a_leaf_was_freed():
    x, w = leaf(2.0), leaf(3.0)
    y = x * w
    del w
    y.backward()
    assert x.grad.item() == 3


# ---- no_grad ----


def test_no_grad():
    x = leaf(1.0)

    @no_grad()
    def twice(t):
        """Doubles."""
        return t * 2.0

    assert not twice(x).requires_grad and not twice(x).requires_grad
    assert twice.__doc__ == "Doubles."
    with no_grad():
        y = x * 2.0
        assert not y.requires_grad and not recording()
        with no_grad():
            pass
        assert not recording()
        w = Parameter(np.ones(1))
        assert w.requires_grad  # no_grad does not change leaves
    assert recording() and (x * y).requires_grad
    with pytest.raises(KeyError):
        with no_grad():
            raise KeyError
    assert recording()


def test_create_graph_records_under_no_grad():
    x = leaf(3.0)
    y = x * x * x
    with no_grad():
        first = grad(y, x, create_graph=True)
        assert not recording()
    assert grad(first, x).item() == 18


def test_each_thread_has_its_own_recording_mode():
    x, recorded = leaf(1.0), []
    inside, done = threading.Event(), threading.Event()

    def other():
        with no_grad():
            inside.set()
            done.wait(10)
            recorded.append((x * 2.0).requires_grad)

    thread = threading.Thread(target=other)
    thread.start()
    inside.wait(10)
    assert (x * 2.0).requires_grad
    done.set()
    thread.join()
    assert recorded == [False]


def test_two_threads_differentiate_at_once():
    x, results = normal(50), {}

    def work(i):
        y = x
        for _ in range(200):
            y = ops.tanh(y * (1.0 + i))
        results[i] = values(grad(y.sum(), x))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(4):
        expected = dict(results)[i]
        work(i)
        assert results[i] == expected


# ---- Tensors ----


def test_a_tensor_cannot_be_written_into():
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)

    def assign():
        x[0] = 1.0

    def update(operator):
        return lambda: exec(f"x {operator} y", {}, {"x": x, "y": y})

    message = (
        "a Tensor is immutable: build a new one with tinygan.ops.where or concatenate "
        "(to change a Parameter, call .assign)"
    )
    assert_raises(TypeError, message, assign)
    message = "a Tensor is immutable: write x = x + y instead of x += y"
    for operator in ("+=", "-=", "*=", "/=", "**=", "@="):
        assert_raises(TypeError, message, update(operator))


@pytest.mark.cpu
def test_dtypes_do_not_mix():
    single, double = tensor([1.0]), tensor(np.ones(1))
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    message = (
        "add: cannot mix Tensors of float32 and float64; convert one with .astype(), or a model "
        "with Module.astype()"
    )
    assert_raises(TypeError, message, lambda: single + double)
    message = (
        "mul: cannot mix an array of float64 with a Tensor of float32; convert it with "
        "tinygan.tensor(array, dtype='float32')"
    )
    assert_raises(TypeError, message, lambda: single * np.ones(1))
    message = "mul: cannot mix an array of int64 with a Tensor of float32; convert it"
    assert_raises(TypeError, message, lambda: np.ones(1, int) * single)
    message = "concatenate: cannot mix Tensors of float32"
    assert_raises(TypeError, message, lambda: ops.concatenate([single, double]))


@pytest.mark.cpu
def test_numpy_arrays_beside_tensors():
    x, a = leaf(1.0, 2.0), np.array([3.0, 4.0])
    for y, expected in (
        (x * a, a * [1, 2]),
        (a * x, a * [1, 2]),
        (a - x, a - [1, 2]),
        (a / x, a / [1, 2]),
        (a @ x, 11),
        (a**x, a ** [1, 2]),
        (a.reshape(2, 1) + x, a.reshape(2, 1) + [1, 2]),
    ):
        assert isinstance(y, Tensor) and y.requires_grad
        np.testing.assert_allclose(y.data, expected)
    for compared in (a > x, x < a, x == a, x != 1.0, 1.0 >= x):
        assert isinstance(compared, np.ndarray)
        assert compared.dtype == bool and compared.shape == (2,)


def test_booleans_lists_and_arrays_beside_tensors():
    x = leaf(1.0, -2.0, 3.0)
    assert values(x * (x > 0)) == [1, 0, 3]  # a boolean array can be cast without loss
    assert (x @ [1.0, 1.0, 1.0]).item() == 2
    assert ops.mul(2.0, asarray(np.ones(2))).dtype == np.float64


def test_arguments_that_are_not_arrays():
    for wrong in ("a", 1j, {}, object(), None):
        message = "mul: expected a Tensor, a number or an array of the backend in use, got "
        assert_raises(TypeError, message, ops.mul, leaf(1.0), wrong)
        assert_raises(TypeError, "add: expected a Tensor, ", lambda: leaf(1.0) + wrong)
        assert_raises(TypeError, "matmul: expected a Tensor, ", lambda: leaf(1.0) @ wrong)
    for op_, args, settings in (
        (ops.clip, [leaf(0.0)], {}),
        (ops.leaky_relu, [leaf(0.1)], {}),
        (ops.leaky_relu, [], {"slope": leaf(0.1)}),
    ):
        message = "a setting is a constant: pass a number or an array, not a Tensor"
        assert_raises(TypeError, f"{op_.name}: {message}", op_, leaf(1.0), *args, **settings)
    message = "a Tensor holds real numbers, not complex128"
    assert_raises(TypeError, message, tensor, np.ones(2, complex))
    assert_raises(TypeError, "real numbers", Parameter(np.ones(2)).assign, np.ones(2, complex))
    assert_raises(TypeError, "", lambda: leaf(1.0) * np.complex64(1 + 2j))
    message = (
        "a Tensor is float32 or float64, not int64: indices and labels stay plain integer arrays"
    )
    assert_raises(TypeError, message, tensor, [1], dtype="int64")
    message = "use .detach() for a constant, or the tensor itself"
    assert_raises(TypeError, message, Tensor, leaf(1.0))


@pytest.mark.cpu
def test_arrays_of_another_backend():
    x = leaf(1.0)
    with strict.use_strict():
        foreign, own = asarray(np.ones(1)), tensor(asarray(np.ones(1)))
        message = "got numpy.ndarray; convert it with tinygan.tensor(...)"
        assert_raises(TypeError, message, ops.add, own, np.ones(1))
        assert_raises(TypeError, "got numpy.ndarray", lambda: np.ones(1) * own)
    message = "got strict.StrictArray; convert it with tinygan.tensor(...)"
    assert_raises(TypeError, message, ops.add, x, foreign)


@pytest.mark.cpu
def test_conversion_to_numpy():
    constant, x = Tensor(np.array([1.0, 2.0])), leaf(1.0, 2.0)
    assert np.asarray(constant, dtype="float32").dtype == np.float32
    for convert in (np.asarray, np.array, lambda t: np.array([t, t])):
        message = (
            "np.asarray or another function of NumPy's would cut the graph of a Tensor that "
            "requires a gradient: use a tinygan op, such as ops.exp, or ops.stack for a list of "
            "Tensors; or write x.detach().numpy(), or x.item() for one number"
        )
        assert_raises(TypeError, message, convert, x)
    assert_raises(TypeError, "numpy() would cut the graph", x.numpy)
    assert_raises(TypeError, "astype() would cut the graph", x.astype, "float32")


@pytest.mark.cpu
def test_dlpack():
    constant, x = Tensor(np.arange(6.0).reshape(2, 3)), leaf(1.0)
    array = np.from_dlpack(constant)
    assert np.shares_memory(array, constant.data)
    back = Tensor(np.from_dlpack(array.copy()))  # before NumPy 2.1, only writable arrays
    assert values(back) == values(constant) and back.dtype == constant.dtype
    message = "DLPack would cut the graph of a Tensor that requires a gradient"
    assert_raises(TypeError, message, np.from_dlpack, x)


def test_truth_and_numbers():
    x = leaf(1.0, 2.0)
    message = (
        "the truth value of a Tensor of shape (2,) is ambiguous: write .any() or .all() of a "
        "comparison, such as (x > 0).all()"
    )
    assert_raises(ValueError, message, bool, x)
    assert bool(leaf(1.0)) and not bool(leaf(0.0))
    assert float(leaf(2.5)) == 2.5 and int(leaf(2.5)) == 2
    assert isinstance(leaf(2.5).item(), float)
    assert_raises(TypeError, "has no length", len, x.sum())
    assert len(x) == 2 and [t.item() for t in x] == [1, 2]


@pytest.mark.cpu
def test_creating_tensors():
    data = np.array([1.0, 2.0], np.float32)
    assert not any(np.shares_memory(make(data).data, data) for make in (tensor, Tensor, Parameter))
    assert tensor([1, 2]).dtype == tensor(np.array([1, 2])).dtype == tensor(1.5).dtype == np.float32
    assert tensor(np.float64(1.5)).dtype == np.float64 and tensor([True]).dtype == np.float32
    assert tensor(data, dtype="float64").dtype == np.float64
    assert not tensor(1.0).requires_grad and tensor(1.0, requires_grad=True).requires_grad
    assert repr(tensor([1.0, 2.0], requires_grad=True)) == "Tensor([1., 2.], requires_grad=True)"
    assert repr(tensor(np.ones(1))) == "Tensor([1.], dtype=float64)"


def test_requires_grad():
    x = tensor([1.0])
    x.requires_grad = True
    assert grad(x * 2.0, x).item() == 2
    x.requires_grad = False
    assert not (x * 2.0).requires_grad
    message = "requires_grad of a computed Tensor is fixed: use .detach() for a constant"
    assert_raises(RuntimeError, message, setattr, leaf(1.0) * 2.0, "requires_grad", False)


def test_constants_record_nothing():
    assert (tensor([1.0]) * 2.0 + 1.0).node is None


def test_parameters():
    source = asarray(np.ones((2, 3), np.float32))
    w = Parameter(source, name="w")
    assert w.data is not source and w.data.base is None
    assert w.requires_grad and w.data.flags.c_contiguous
    assert Parameter(source.T).data.flags.c_contiguous
    array = w.data
    w.assign(tensor(np.full((2, 3), 2.0)))  # cast to its own dtype, in place
    assert w.data is array and w.dtype == np.float32 and values(w) == [[2] * 3] * 2
    assert_raises(ValueError, "w has shape (2, 3); assign got (3, 2)", w.assign, np.ones((3, 2)))
    twin = copy.deepcopy(w)
    twin.assign(np.zeros((2, 3)))
    assert values(w) == [[2] * 3] * 2 and twin.name == "w" and type(twin) is Parameter
    y = (w * 2.0).sum()
    twin.assign(np.ones((2, 3)))
    assert values(grad(y, w)) == [[2] * 3] * 2  # the copy has its own version


@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_copies_are_leaves_of_their_own(duplicate):
    x = leaf(1.0, 2.0)
    w = Parameter(x.data, name="w")
    for y, source in ((duplicate(x), x), (twin := duplicate(w), w)):
        assert type(y) is type(source) and y.requires_grad and values(y) == values(source)
        (y * 3.0).sum().backward()
        assert values(y.grad) == [3, 3] and source.grad is None and y.data is not source.data
    assert twin.name == "w" and twin.version is not w.version
    assert not duplicate(x.detach()).requires_grad
    assert_raises(TypeError, ".detach() it first", duplicate, x * 2.0)


def test_copies_have_the_usual_layout_in_memory():
    """Then equal values give equal results: BLAS may round products of other layouts otherwise."""
    rows = np.arange(6.0).reshape(2, 1, 3)
    for array in (np.broadcast_to(rows, (2, 4, 3)), np.asfortranarray(rows.repeat(4, 1))):
        x = tensor(asarray(array))
        for copied in (x, Parameter(asarray(array)), asarray(array) * leaf(1.0)):
            assert copied.data.flags.c_contiguous and values(copied) == array.tolist()
        transposed = x.transpose()
        for copied in (copy.copy(transposed), pickle.loads(pickle.dumps(transposed))):
            assert copied.data.flags.c_contiguous and values(copied) == array.T.tolist()


def test_arguments_may_change_afterwards():
    """Arrays and indices are copied when they enter a graph, so changes do not affect it."""
    x, factor, index = leaf(1.0, 2.0), asarray(np.array([3.0, 4.0])), np.array([0, 0])
    y, z, seed = (x * factor).sum(), x[index].sum(), asarray(np.ones(2))
    factor[...] = 9.0
    index[...] = 1
    assert values(grad(y, x)) == [3, 4] and values(grad(z, x)) == [2, 0]
    (x + 0.0).backward(seed)
    seed[...] = 7.0
    assert values(x.grad) == [1, 1]


def test_operators_and_methods_are_the_ops():
    x = normal(2, 3)
    z = abs(x)
    for a, b in (
        (-x, ops.neg(x)),
        (+x, x),
        (z, ops.abs(x)),
        (x.T, ops.transpose(x)),
        (x @ x.T, ops.matmul(x, x.T)),
        (x**2, ops.square(x)),
        (z**0.5, ops.sqrt(z)),
        (z**1.5, ops.pow(z, 1.5)),
        (2.0**x, ops.pow(2.0, x)),
        (x.reshape(3, 2), ops.reshape(x, (3, 2))),
        (x.reshape((3, -1)), ops.reshape(x, (3, 2))),
        (x.transpose(), x.T),
        (x.transpose(1, 0), x.T),
        (x.transpose((1, 0)), x.T),
        (x[0], ops.getitem(x, 0)),
        (x.sum(1), ops.sum(x, 1)),
        (x.mean(0, keepdims=True), ops.mean(x, 0, True)),
        (x.var(), ops.var(x)),
        (x.std(0), ops.std(x, 0)),
        (x.prod(1), ops.prod(x, 1)),
        (x.cumsum(1), ops.cumsum(x, 1)),
        (x.flatten(), ops.reshape(x, 6)),
        (x[None].squeeze(0), x),
        (x.swapaxes(0, 1), x.T),
        (x.sin(), ops.sin(x)),
        (x.cos(), ops.cos(x)),
        (x.max(1), ops.max(x, 1)),
        (x.min(), ops.min(x)),
        (x.exp(), ops.exp(x)),
        (z.log(), ops.log(z)),
        (x.tanh(), ops.tanh(x)),
        (x.sigmoid(), ops.sigmoid(x)),
        (x.relu(), ops.relu(x)),
        (x.norm(), ops.norm(x)),
    ):
        np.testing.assert_array_equal(host(a), host(b))
        assert a.requires_grad


def test_an_unknown_backend_raises():
    assert_raises(
        tinygan.InputError, "unknown backend 'tpu': choose numpy or cupy", tinygan.use, "tpu"
    )
