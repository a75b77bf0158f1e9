"""The workloads in JAX, written to be fast there: each step is one compiled function that reuses its inputs' memory.

On a CPU, XLA is at its best with plain convolutions. What it is slow at is said in other words here: kernels of
1x1 or as large as the image are matrix products, the FIR filter is sums of shifted images, and derivatives of
convolutions are kept to the forms that are fast (see `convolutions`).
"""

import math
import os
from functools import partial
from itertools import islice
from typing import Callable, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.nn import leaky_relu, log_softmax, relu, softplus

from .workloads import BETAS, GP_WEIGHT, LAZY, LR, R1_GAMMA, Batches, Job

jax.config.update("jax_platforms", "cpu")  # where the others run too


def version():
    return f"JAX {jax.__version__}, {os.cpu_count()} cores"


def make(name, batch_size, image_size, variant):
    """The Job of this workload. variant: "jit", the only one."""
    return JOBS[name](JaxBatches(batch_size, image_size), image_size)


def load(networks, states):
    """Give the networks tinygan's weights. states: a list of arrays for each network, in order."""
    for network, arrays in zip(networks, states, strict=True):
        network.weights = [jnp.array(array) for _, array in zip(network.weights, arrays, strict=True)]


class JaxBatches:
    def __init__(self, batch_size, image_size):
        self.batches = [tuple(map(jnp.array, batch)) for batch in Batches(batch_size, image_size).batches]

    def __call__(self):
        self.batches.append(self.batches.pop(0))
        return self.batches[-1]


# Layers


class Layer(NamedTuple):
    """apply(weights, x), and the shapes of these weights."""

    apply: Callable
    shapes: tuple = ()


def in_turn(layers, x):
    for layer in layers:
        x = layer(x)
    return x


class Network:
    """weights: a list of arrays, in tinygan's order. network(weights, x) is a pure function.

    forward(functions, x): says what to do with the layers, now functions of x alone.
    """

    def __init__(self, *layers, forward=in_turn):
        rng = np.random.default_rng(0)
        self.layers, self.forward = layers, forward
        self.weights = [jnp.array(rng.normal(0, math.prod(shape[:-1]) ** -0.5, shape), jnp.float32)
                        for layer in layers for shape in layer.shapes]

    def __call__(self, weights, x):
        weights = iter(weights)
        functions = [partial(layer.apply, list(islice(weights, len(layer.shapes)))) for layer in self.layers]
        return self.forward(functions, x)


def function(f):
    """A Layer without weights."""
    return Layer(lambda weights, x: f(x))


LEAKY, RELU, TANH = function(partial(leaky_relu, negative_slope=0.2)), function(relu), function(jnp.tanh)
POOL = function(lambda x: x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2, -1).max((2, 4)))
FLATTEN = function(lambda x: x.reshape(len(x), -1))


def convolutions(image_shape, weight_shape, stride, padding):
    """The convolution (image, weight) -> y and its transpose (y, weight) -> image.

    With <convolve(x, w), y> = <transpose(y, w), x> = <kernel(x, y), w>, each is the derivative of the others. JAX
    would find derivatives of derivatives that are 20 times slower in XLA, for stride 2.
    """
    plain = lambda x, w: lax.conv_general_dilated(x, w, (stride, stride), [(padding, padding)] * 2,
                                                  dimension_numbers=("NHWC", "HWIO", "NHWC"))
    convolve = jax.custom_vjp(plain)
    transpose = jax.custom_vjp(
        lambda y, w: jax.linear_transpose(lambda x: plain(x, w), jax.ShapeDtypeStruct(image_shape, y.dtype))(y)[0])
    kernel = jax.custom_vjp(
        lambda x, y: jax.linear_transpose(lambda w: plain(x, w), jax.ShapeDtypeStruct(weight_shape, y.dtype))(y)[0])
    keep = lambda f: lambda a, b: (f(a, b), (a, b))
    convolve.defvjp(keep(convolve), lambda xw, y: (transpose(y, xw[1]), kernel(xw[0], y)))
    transpose.defvjp(keep(transpose), lambda yw, x: (convolve(x, yw[1]), kernel(x, yw[0])))
    kernel.defvjp(keep(kernel), lambda xy, w: (transpose(xy[1], w), convolve(xy[0], w)))
    return convolve, transpose


def with_bias(f, shape, channels, bias):
    if not bias:
        return Layer(lambda weights, x: f(x, weights[0]), (shape,))
    return Layer(lambda weights, x: f(x, weights[0]) + weights[1], (shape, (channels,)))


def conv(inputs, outputs, size, stride=1, padding=0, bias=True):
    def apply(x, w):
        if size == 1:
            return x @ w[0, 0]
        if size == x.shape[1] and not padding:
            return jnp.tensordot(x, w, 3)[:, None, None]
        return convolutions(x.shape, w.shape, stride, padding)[0](x, w)

    return with_bias(apply, (size, size, inputs, outputs), outputs, bias)


def conv_transpose(inputs, outputs, size, stride=1, padding=0, bias=True):
    def apply(x, w):
        if x.shape[1] == 1:
            return jnp.tensordot(x[:, 0, 0], w, (1, 3))
        side = (x.shape[1] - 1) * stride - 2 * padding + size
        return convolutions((len(x), side, side, outputs), w.shape, stride, padding)[1](x, w)

    return with_bias(apply, (size, size, outputs, inputs), outputs, bias)


def linear(inputs, outputs):
    return with_bias(jnp.matmul, (inputs, outputs), outputs, True)


def batch_norm(channels):
    def apply(weights, x):
        gain, bias = weights
        mean = x.mean((0, 1, 2))
        var = jnp.square(x - mean).mean((0, 1, 2))
        return (x - mean) * (lax.rsqrt(var + 1e-5) * gain) + bias

    return Layer(apply, ((channels,), (channels,)))


# Steps


def adam_state(network):
    """The number of steps taken, and the moments."""
    return jnp.zeros(()), [jnp.zeros_like(w) for w in network.weights], [jnp.zeros_like(w) for w in network.weights]


def adam(weights, gradients, state, lr=LR, betas=BETAS, eps=1e-8):
    """The next weights and state."""
    count, m, v = state
    count = count + 1
    m = [betas[0] * m + (1 - betas[0]) * g for m, g in zip(m, gradients)]
    v = [betas[1] * v + (1 - betas[1]) * g * g for v, g in zip(v, gradients)]
    size, correction = lr / (1 - betas[0] ** count), (1 - betas[1] ** count) ** -0.5
    return [w - size * m / (jnp.sqrt(v) * correction + eps) for w, m, v in zip(weights, m, v)], (count, m, v)


def stepper(networks, train, batches):
    """step() of train(weights, states, images, labels, z) -> weights, states, losses; weights: a list per network."""
    train = jax.jit(train, donate_argnums=(0, 1))
    states = [adam_state(network) for network in networks]

    def step():
        nonlocal states
        weights = [network.weights for network in networks]
        weights, states, losses = jax.block_until_ready(train(weights, states, *batches()))
        for network, new in zip(networks, weights):
            network.weights = new
        return tuple(map(float, losses))

    return step


def gan_step(G, D, batches, penalty=None):
    def train(weights, states, reals, labels, z):
        (g, d), (g_state, d_state) = weights, states
        fakes, g_gradients = jax.vjp(lambda g: G(g, z), g)

        def d_loss(d):
            loss = softplus(-D(d, reals)).mean() + softplus(D(d, fakes)).mean()
            return loss + penalty(d, reals) if penalty else loss

        d_value, gradients = jax.value_and_grad(d_loss)(d)
        d, d_state = adam(d, gradients, d_state)
        g_value, slope = jax.value_and_grad(lambda fakes: softplus(-D(d, fakes)).mean())(fakes)
        g, g_state = adam(g, g_gradients(slope)[0], g_state)
        return [g, d], [g_state, d_state], (d_value, g_value)

    return stepper([G, D], train, batches)


def loss_step(network, loss, batches, lr, betas):
    """A step of Adam down loss(weights, images, labels)."""

    def train(weights, states, images, labels, z):
        value, gradients = jax.value_and_grad(loss)(weights[0], images, labels)
        new, state = adam(weights[0], gradients, states[0], lr, betas)
        return [new], [state], (value,)

    return stepper([network], train, batches)


def squared_slopes(D, weights, x):
    slope = jax.grad(lambda x: D(weights, x).sum())(x)
    return jnp.square(slope).sum((1, 2, 3))


# Workloads


def dcgan_generator(image_size):
    return Network(
        function(lambda z: z[:, None, None]),
        conv_transpose(100, 128, image_size // 4, bias=False), batch_norm(128), RELU,
        conv_transpose(128, 64, 4, 2, 1, bias=False), batch_norm(64), RELU,
        conv_transpose(64, 1, 4, 2, 1, bias=False), TANH)


def dcgan(batches, image_size):
    G = dcgan_generator(image_size)
    D = Network(conv(1, 64, 4, 2, 1, bias=False), LEAKY, conv(64, 128, 4, 2, 1, bias=False), batch_norm(128), LEAKY,
                conv(128, 1, image_size // 4, bias=False))
    return Job([G, D], {"step": gan_step(G, D, batches)})


def dcgan_r1(batches, image_size):
    G = dcgan_generator(image_size)
    D = Network(conv(1, 64, 4, 2, 1), LEAKY, conv(64, 128, 4, 2, 1), LEAKY, conv(128, 1, image_size // 4))
    penalty = lambda d, reals: squared_slopes(D, d, reals).mean() * (R1_GAMMA / 2)
    return Job([G, D], {"step": gan_step(G, D, batches, penalty)})


def wgan_gp(batches, image_size):
    D = Network(conv(1, 32, 3, 1, 1), LEAKY, conv(32, 64, 3, 2, 1), LEAKY, conv(64, 128, 3, 2, 1), LEAKY,
                conv(128, 1, image_size // 4))

    def loss(d, reals, labels):
        share = np.random.default_rng(1).random((len(reals), 1, 1, 1), dtype=np.float32)
        fakes = reals[::-1, ::-1]
        length = jnp.sqrt(squared_slopes(D, d, share * reals + (1 - share) * fakes))
        return D(d, fakes).mean() - D(d, reals).mean() + GP_WEIGHT * jnp.square(length - 1).mean()

    return Job([D], {"step": loss_step(D, loss, batches, LR, (0.0, 0.9))})


def shift(x, axis, by):
    """x moved by one pixel along the axis, forwards (by = 1) or backwards (-1), with zeros behind it."""
    pads = [(0, 0, 0)] * x.ndim
    pads[axis] = (by, -by, 0)
    return lax.pad(x, jnp.zeros((), x.dtype), pads)


def up2(x):
    """upfirdn2d by FIR: one sum for even and one for odd pixels."""
    for axis in (1, 2):
        pairs = jnp.stack([shift(x, axis, 1) + 3 * x, 3 * x + shift(x, axis, -1)], axis + 1)
        x = pairs.reshape([2 * n if i == axis else n for i, n in enumerate(x.shape)]) / 4
    return x


def down2(x):
    for axis in (1, 2):
        shape = list(x.shape)
        shape[axis:axis + 1] = shape[axis] // 2, 2
        even, odd = jnp.moveaxis(x.reshape(shape), axis + 1, 0)
        x = (shift(odd, axis, 1) + 3 * (even + odd) + shift(even, axis, -1)) / 8
    return x


def act(x):
    return leaky_relu(x, 0.2) * 2 ** 0.5


def skip_generator(size, channels):
    count = 2 * (size.bit_length() - 3)

    def forward(layers, z):
        first, convs, to_image = layers[0], layers[1:count + 1], layers[count + 1:]
        x = act(first(z[:, None, None]))
        image = to_image[0](x)
        for a, b, to_image in zip(convs[::2], convs[1::2], to_image[1:]):
            x = act(b(act(a(up2(x)))))
            image = up2(image) + to_image(x)
        return image

    return Network(conv_transpose(100, channels, 4), *[conv(channels, channels, 3, 1, 1)] * count,
                   *[conv(channels, 1, 1)] * (count // 2 + 1), forward=forward)


def residual_discriminator(size, channels):
    blocks = size.bit_length() - 3

    def forward(layers, image):
        from_image, *convs, last = layers
        convs, skips = convs[:2 * blocks], convs[2 * blocks:]
        x = act(from_image(image))
        for a, b, skip in zip(convs[::2], convs[1::2], skips):
            x = (down2(act(b(act(a(x))))) + skip(down2(x))) * 0.5 ** 0.5
        return last(x)

    return Network(conv(1, channels, 1), *[conv(channels, channels, 3, 1, 1)] * (2 * blocks),
                   *[conv(channels, channels, 1, bias=False)] * blocks, conv(channels, 1, 4), forward=forward)


def stylegan2(batches, image_size):
    G, D = skip_generator(image_size, 64), residual_discriminator(image_size, 64)
    r1 = lambda d, reals, labels: squared_slopes(D, d, reals).mean() * (R1_GAMMA / 2 * LAZY)
    return Job([G, D], {"step": gan_step(G, D, batches), "r1": loss_step(D, r1, batches, LR, (0.0, 0.99))})


def lenet(batches, image_size):
    net = Network(conv(1, 6, 5, 1, 2), RELU, POOL, conv(6, 16, 5), RELU, POOL, conv(16, 120, image_size // 4 - 2), RELU,
                  FLATTEN, linear(120, 84), RELU, linear(84, 10))

    def loss(weights, images, labels):
        return -jnp.take_along_axis(log_softmax(net(weights, images)), labels[:, None], 1).mean()

    return Job([net], {"step": loss_step(net, loss, batches, 1e-3, (0.9, 0.999))})


def mlp(batches, image_size):
    pixels = image_size * image_size
    G = Network(linear(100, 256), RELU, linear(256, 256), RELU, linear(256, pixels), TANH,
                function(lambda x: x.reshape(-1, image_size, image_size, 1)))
    D = Network(FLATTEN, linear(pixels, 256), LEAKY, linear(256, 256), LEAKY, linear(256, 1))
    return Job([G, D], {"step": gan_step(G, D, batches)})


JOBS = {"dcgan": dcgan, "dcgan-r1": dcgan_r1, "wgan-gp": wgan_gp, "stylegan2": stylegan2, "lenet": lenet, "mlp": mlp}
