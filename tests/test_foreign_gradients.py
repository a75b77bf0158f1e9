"""check_gradient checks gradients of PyTorch, JAX and HIPS autograd, wrapped as NumPy functions."""

import numpy as np
import pytest

import tinygan

pytestmark = pytest.mark.cpu

X = np.random.default_rng(0).standard_normal((3, 4))
W = np.random.default_rng(1).standard_normal((4, 5))


def check(f, gradient):
    """Check the right gradient, which must pass."""
    tinygan.check_gradient(f, gradient, X)


def fails(f, gradient):
    """Check a wrong gradient, which must not pass."""
    with pytest.raises(tinygan.GradientError, match="gradient"):
        tinygan.check_gradient(f, gradient, X)


# ---- PyTorch ----


def numpy_functions_of_pytorch(function):
    """Return f and its gradient as NumPy functions.

    function: maps one PyTorch tensor to a tensor with one element.
    """
    import torch

    def f(x):
        return function(torch.tensor(x)).item()

    def gradient(x):
        x = torch.tensor(x, requires_grad=True)
        return torch.autograd.grad(function(x), x)[0].numpy()

    return f, gradient


def softplus_in_pytorch(factor):
    """softplus as a torch.autograd.Function. Its derivative is multiplied by `factor`."""
    import torch

    class Softplus(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return torch.log1p(torch.exp(x))

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return factor * g * torch.sigmoid(x)

    return Softplus.apply


def test_a_function_of_pytorch():
    torch = pytest.importorskip("torch")
    w = torch.tensor(W)
    check(*numpy_functions_of_pytorch(lambda x: torch.tanh(x @ w).square().sum()))
    check(*numpy_functions_of_pytorch(lambda x: softplus_in_pytorch(1.0)(x @ w).mean()))
    fails(*numpy_functions_of_pytorch(lambda x: softplus_in_pytorch(1.0001)(x @ w).mean()))
    fails(*numpy_functions_of_pytorch(lambda x: (torch.tanh(x) * x.detach()).sum()))


def test_a_module_of_pytorch():
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1))
    with torch.no_grad():
        for seed, parameter in enumerate(net.parameters()):
            numbers = np.random.default_rng(seed).standard_normal(parameter.shape)
            parameter.copy_(torch.tensor(numbers))
    net.double()
    check(*numpy_functions_of_pytorch(lambda x: net(x).sum()))
    fails(*numpy_functions_of_pytorch(lambda x: net(x).sum() + 0.01 * net(x.detach()).sum()))


def test_products_with_the_jacobian_in_pytorch():
    torch = pytest.importorskip("torch")
    w = torch.tensor(W)

    def f(x):
        return torch.tanh(torch.tensor(x) @ w).numpy()

    def vjp(x, v):
        products = torch.func.vjp(lambda x: torch.tanh(x @ w), torch.tensor(x))[1]
        return products(torch.tensor(v))[0].numpy()

    tinygan.check_gradient(f, None, X, vjp=vjp)
    with pytest.raises(tinygan.GradientError):
        tinygan.check_gradient(f, None, X, vjp=lambda x, v: 1.0001 * vjp(x, v))


# ---- JAX ----


def numpy_functions_of_jax(function):
    """Return f and its gradient as NumPy functions.

    function: maps one JAX array to a number. It computes in float32, unless JAX was told:
    jax.config.update("jax_enable_x64", True).
    """
    import jax

    gradient_of_function = jax.grad(function)
    return lambda x: np.asarray(function(x)), lambda x: np.asarray(gradient_of_function(x))


def softplus_in_jax(factor):
    """softplus as a jax.custom_vjp. Its derivative is multiplied by `factor`."""
    import jax

    @jax.custom_vjp
    def softplus(x):
        return jax.numpy.log1p(jax.numpy.exp(x))

    softplus.defvjp(lambda x: (softplus(x), x), lambda x, g: (factor * g * jax.nn.sigmoid(x),))
    return softplus


@pytest.fixture
def x64():
    """Let JAX compute in float64 for one test."""
    jax = pytest.importorskip("jax")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


def test_a_function_of_jax(x64):
    import jax.numpy as jnp

    check(*numpy_functions_of_jax(lambda x: (jnp.tanh(x @ W) ** 2).sum()))
    check(*numpy_functions_of_jax(lambda x: softplus_in_jax(1.0)(x @ W).mean()))
    fails(*numpy_functions_of_jax(lambda x: softplus_in_jax(1.0001)(x @ W).mean()))


def test_a_hessian_of_jax(x64):
    import jax
    import jax.numpy as jnp

    def function(x):
        return (jnp.tanh(x @ W) ** 2).sum()

    f, gradient = numpy_functions_of_jax(function)
    hessian_of_function = jax.jit(jax.hessian(function))

    def hessian(x):
        return np.asarray(hessian_of_function(x))

    tinygan.check_gradient(f, gradient, X, hessian=hessian)
    with pytest.raises(tinygan.GradientError):
        tinygan.check_gradient(f, gradient, X, hessian=lambda x: 1.0001 * hessian(x))


def test_a_function_of_jax_in_float32():
    pytest.importorskip("jax")
    check(*numpy_functions_of_jax(lambda x: softplus_in_jax(1.0)(x @ W).mean()))
    fails(*numpy_functions_of_jax(lambda x: softplus_in_jax(1.1)(x @ W).mean()))


# ---- HIPS autograd ----


def test_a_function_of_hips_autograd():
    autograd = pytest.importorskip("autograd")
    anp = autograd.numpy

    def softplus(factor):
        """softplus as a primitive. Its derivative is multiplied by `factor`."""
        primitive = autograd.extend.primitive(lambda x: np.log1p(np.exp(x)))
        autograd.extend.defvjp(primitive, lambda y, x: lambda g: factor * g / (1 + anp.exp(-x)))
        return primitive

    def tanh(x):
        return anp.sum(anp.tanh(anp.dot(x, W)) ** 2)

    check(tanh, autograd.grad(tanh))
    for factor, expect in ((1.0, check), (1.0001, fails)):

        def f(x):
            return anp.mean(softplus(factor)(anp.dot(x, W)))

        expect(f, autograd.grad(f))
