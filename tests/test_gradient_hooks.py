"""Hooks on gradients: they see or replace the gradient that passes a Tensor, at every order."""

import copy
import gc
import weakref

import numpy as np
import pytest
from host import host

import tinygan
from tinygan import Tensor, grad, nn, ops, optim, tensor
from tinygan.autograd import op


def leaf(*values):
    return tensor(np.array(values), requires_grad=True)


def test_a_hook_sees_the_whole_gradient_once():
    x, seen = leaf(1.0, 2.0), []
    y = x * 3.0
    y.register_hook(lambda g: seen.append(host(g)))  # which returns None
    z = (y * y + 5.0 * y).sum()  # two ways back to y
    assert host(grad(z, x)).tolist() == [33, 51]
    assert len(seen) == 1 and seen[0].tolist() == [11, 17]


def test_a_hook_replaces_the_gradient_from_there_on():
    """That of the Tensor itself, too, and of everything that it was computed from."""
    x = leaf(1.0, 2.0)
    y = x * 3.0
    first, second = y.register_hook(lambda g: g * 2.0), y.register_hook(lambda g: g + 1.0)
    z = (y * y).sum()
    found = [host(g).tolist() for g in grad(z, [x, y], retain_graph=True)]
    assert found == [[39, 75], [13, 25]]
    first.remove()
    assert host(grad(z, y, retain_graph=True)).tolist() == [7, 13]
    second.remove(), second.remove()
    assert host(grad(z, x)).tolist() == [18, 36]


def test_hooks_of_leaves_outputs_and_parameters():
    net = nn.Linear(2, 1, rng=0)
    plain = grad(net(tensor(np.ones((1, 2)), dtype="float32")).sum(), net.parameters())
    net.weight.register_hook(lambda g: g * 0.5)
    loss = net(tensor(np.ones((1, 2)), dtype="float32")).sum()
    loss.register_hook(lambda g: g * 3.0)
    found = grad(loss, net.parameters(), retain_graph=True)
    np.testing.assert_allclose(host(found[0]), 1.5 * host(plain[0]))
    np.testing.assert_allclose(host(found[1]), 3.0 * host(plain[1]))
    loss.backward()
    np.testing.assert_array_equal(host(net.weight.grad), host(found[0]))
    for other in (copy.deepcopy(net), net.astype("float64")):  # they have no hooks
        (g,) = grad(other(tensor(np.ones((1, 2)), dtype=other.weight.dtype)).sum(), [other.weight])
        np.testing.assert_allclose(host(g), 1.0)


def test_a_gradient_is_a_constant_whatever_a_hook_returns():
    """Without create_graph, also if the hook's result was computed outside, with a graph."""
    x, w = leaf(1.0, 2.0), tinygan.Parameter(np.array([3.0, 4.0]))
    for result in (w, w * 2.0):
        hook = x.register_hook(lambda g, result=result: result)
        g = grad((x * x).sum(), x)
        assert not g.requires_grad and g.version is None
        np.testing.assert_array_equal(host(g), host(result))
        assert grad((x * x).sum(), x, create_graph=True).requires_grad
        hook.remove()


def test_only_passes_that_reach_the_tensor_call_its_hooks():
    x, y, calls = leaf(1.0), leaf(2.0), []
    x.register_hook(calls.append)
    grad((x * y).sum(), y)
    assert not calls
    grad((x * y).sum(), x)
    assert len(calls) == 1


@op
def cube(x, /):
    return x.data**3, lambda g: g * 3.0 * x * x


@pytest.mark.parametrize(
    "f", [cube, ops.tanh, lambda x: ops.affine(x, tensor(np.eye(3)), tensor(np.ones(3)))]
)
def test_create_graph_records_what_a_hook_computes(f):
    """With a hook g -> g^2 on y = f(x), the gradient of x is J^T g^2, at every order."""
    x = leaf([0.3, -0.5, 0.7], [0.2, 0.1, -0.4])
    g = tensor(np.random.default_rng(0).standard_normal((2, 3)), requires_grad=True)
    y = f(x)
    y.register_hook(lambda g: g * g)
    results = []
    for first in (grad(y, x, g, create_graph=True), grad(f(x), x, g * g, create_graph=True)):
        second = grad(first.square().sum(), g, create_graph=True)
        results.append([first, second, *grad(second.square().sum(), [g])])
    for ours, expected in zip(*results):
        np.testing.assert_allclose(host(ours), host(expected), rtol=1e-12)


def test_a_second_pass_calls_a_hook_again():
    """exp' reads y, so the gradient of the gradient comes back through y and its hook, too."""
    x, calls = leaf(0.5), []
    y = ops.exp(x)
    y.register_hook(calls.append)
    g = grad(y.sum(), x, create_graph=True)
    assert len(calls) == 1
    grad(g.sum(), x)
    assert len(calls) == 2


def test_hooks_are_freed_with_the_graph():
    class Function:
        def __call__(self, g):
            return g * 2.0

    gc.collect()
    gc.disable()
    try:
        for use_up in (True, False):
            x, function = leaf(1.0), Function()
            gone = weakref.ref(function)
            y = x * 2.0
            handle = y.register_hook(function)
            if use_up:
                grad((y * y).sum(), x)  # frees the hook, as all that it has used
            del function, y
            handle.remove()
            del handle
            assert gone() is None
    finally:
        gc.enable()


def test_a_gradient_that_a_hook_keeps_is_not_changed_by_others():
    x, kept = leaf(1.0, 2.0), []
    x.register_hook(kept.append)
    g = grad((x * x).sum(), x)
    g.data[...] = 7.0
    assert host(kept[0]).tolist() == [2, 4]


@pytest.mark.parametrize(
    "result, kind, message",
    [
        (lambda g: host(g) * 2.0, TypeError, "returned a ndarray: return None, or a Tensor"),
        (lambda g: 0.0, TypeError, "returned a float"),
        (lambda g: g.sum(), ValueError, r"of shape \(2,\), float64 returned one of shape \(\)"),
        (lambda g: g.detach().astype("float32"), ValueError, "float64 returned one .* float32"),
    ],
)
def test_what_a_hook_may_return(result, kind, message):
    x = leaf(1.0, 2.0)
    x.register_hook(result)
    with pytest.raises(kind, match=message) as caught:
        grad((x * x).sum(), x)
    assert "\n" not in str(caught.value)


def test_where_a_hook_cannot_be():
    with pytest.raises(ValueError, match="does not require a gradient"):
        tensor([1.0]).register_hook(print)
    with pytest.raises(TypeError, match="takes a function, not 2"):
        leaf(1.0).register_hook(2.0)


@pytest.mark.fast
def test_a_step_with_hooks_on_gradients_is_not_replayed():
    net, calls = nn.Linear(2, 1, rng=0), []
    optimizer = optim.SGD(net, 0.1)
    hooks_inside = []

    def step():
        x = tinygan.from_host(lambda: np.ones((3, 2), np.float32))
        y = net(Tensor(x))
        for function in hooks_inside:
            y.register_hook(function)
        loss = y.square().mean()
        optimizer.step(grad(loss, net.parameters()))
        return (loss.data,)

    run = tinygan.capture(step, net)
    handle = net.weight.register_hook(lambda g: calls.append(1))
    for _ in range(6):
        run()
    assert len(calls) == 6
    handle.remove()
    for _ in range(6):
        run()
    assert len(calls) == 6
    hooks_inside.append(lambda g: calls.append(1))
    run = tinygan.capture(step, net)
    with pytest.raises(TypeError, match="hook on a gradient .* TINYGAN_RECORD=0"):
        for _ in range(6):
            run()
