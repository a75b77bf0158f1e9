"""The workloads in JAX, written for speed: each step is one compiled function that reuses the
memory of its inputs.

On a CPU, XLA is best at plain convolutions. Operations at which it is slow are written in another
way here: convolutions whose window is 1x1 or as large as the image are matrix products, the FIR
filter is a sum of shifted images, and derivatives of convolutions have a form that is fast (see
`convolutions`).
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

from .workloads import (
    BETAS,
    GP_WEIGHT,
    LAZY,
    LR,
    PATH_LAZY,
    PATH_WEIGHT,
    R1_GAMMA,
    Batches,
    Fixed,
    Job,
)

jax.config.update("jax_platforms", "cpu")  # like the other sides


def version():
    return f"JAX {jax.__version__}, {os.cpu_count()} cores"


def make(name, batch_size, image_size, variant):
    """Return the Job of a workload. variant: "jit", the only one."""
    return JOBS[name](JaxBatches(batch_size, image_size), image_size)


def load(networks, states):
    """Give the networks tinygan's weights. states: a list of arrays for each network, in order."""
    for network, arrays in zip(networks, states, strict=True):
        network.weights = [
            jnp.array(array) for _, array in zip(network.weights, arrays, strict=True)
        ]


class JaxBatches:
    def __init__(self, batch_size, image_size):
        self.batches = [
            tuple(map(jnp.array, batch)) for batch in Batches(batch_size, image_size).batches
        ]

    def __call__(self):
        self.batches.append(self.batches.pop(0))
        return self.batches[-1]


# Layers


class Layer(NamedTuple):
    """A function apply(weights, x), and the shapes of its weights."""

    apply: Callable
    shapes: tuple = ()


def in_turn(layers, x):
    for layer in layers:
        x = layer(x)
    return x


class Network:
    """A network whose call, network(weights, x), is a pure function.

    weights: a list of arrays, in tinygan's order. forward(functions, x) combines the layers, as
    functions that already have their weights. equalized: initialise the weights from N(0, 1).
    """

    def __init__(self, *layers, forward=in_turn, equalized=False):
        rng = np.random.default_rng(0)
        self.layers, self.forward = layers, forward
        self.weights = [
            jnp.array(
                rng.normal(0, 1 if equalized else math.prod(shape[:-1]) ** -0.5, shape), jnp.float32
            )
            for layer in layers
            for shape in layer.shapes
        ]

    def __call__(self, weights, *inputs):
        weights = iter(weights)
        functions = [
            partial(layer.apply, list(islice(weights, len(layer.shapes)))) for layer in self.layers
        ]
        return self.forward(functions, *inputs)


def function(f):
    """Return f as a Layer without weights."""
    return Layer(lambda weights, x: f(x))


leaky, ROOT = partial(leaky_relu, negative_slope=0.2), 2**0.5
LEAKY, RELU, TANH = function(leaky), function(relu), function(jnp.tanh)
POOL = function(lambda x: x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2, -1).max((2, 4)))
FLATTEN = function(lambda x: x.reshape(len(x), -1))


def convolutions(image_shape, weight_shape, stride, padding):
    """Return the convolution (image, weight) -> y and its transpose (y, weight) -> image.

    Because <convolve(x, w), y> = <transpose(y, w), x> = <for_weight(x, y), w>, the derivatives of
    each of the three functions are the other two. With stride 2, JAX's own second derivatives are
    20 times slower in XLA.
    """
    plain = lambda x, w: lax.conv_general_dilated(
        x, w, (stride, stride), [(padding, padding)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    convolve = jax.custom_vjp(plain)
    transpose = jax.custom_vjp(
        lambda y, w: jax.linear_transpose(
            lambda x: plain(x, w), jax.ShapeDtypeStruct(image_shape, y.dtype)
        )(y)[0]
    )
    for_weight = jax.custom_vjp(
        lambda x, y: jax.linear_transpose(
            lambda w: plain(x, w), jax.ShapeDtypeStruct(weight_shape, y.dtype)
        )(y)[0]
    )
    keep = lambda f: lambda a, b: (f(a, b), (a, b))
    convolve.defvjp(keep(convolve), lambda xw, y: (transpose(y, xw[1]), for_weight(xw[0], y)))
    transpose.defvjp(keep(transpose), lambda yw, x: (convolve(x, yw[1]), for_weight(x, yw[0])))
    for_weight.defvjp(keep(for_weight), lambda xy, w: (transpose(xy[1], w), convolve(xy[0], w)))
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
    """Return Adam's initial state: the number of steps, and the two moments of each weight."""
    return (
        jnp.zeros(()),
        [jnp.zeros_like(w) for w in network.weights],
        [jnp.zeros_like(w) for w in network.weights],
    )


def adam(weights, gradients, state, lr=LR, betas=BETAS, eps=1e-8):
    """Return the weights and the state after one step of Adam."""
    count, m, v = state
    count = count + 1
    m = [betas[0] * m + (1 - betas[0]) * g for m, g in zip(m, gradients)]
    v = [betas[1] * v + (1 - betas[1]) * g * g for v, g in zip(v, gradients)]
    size, correction = lr / (1 - betas[0] ** count), (1 - betas[1] ** count) ** -0.5
    new = [w - size * m / (jnp.sqrt(v) * correction + eps) for w, m, v in zip(weights, m, v)]
    return new, (count, m, v)


def stepper(networks, train, batches, *other_state):
    """Return step(), which trains the networks once and returns the losses.

    train(weights, states, images, labels, z) -> weights, states, losses; weights: one list of
    arrays per network. other_state: arrays that a step passes to the next one besides Adam's
    states.
    """
    train = jax.jit(train, donate_argnums=(0, 1))
    states = [*map(adam_state, networks), *other_state]

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
        g_loss = lambda fakes: softplus(-D(d, fakes)).mean()
        g_value, at_fakes = jax.value_and_grad(g_loss)(fakes)
        g, g_state = adam(g, g_gradients(at_fakes)[0], g_state)
        return [g, d], [g_state, d_state], (d_value, g_value)

    return stepper([G, D], train, batches)


def loss_step(network, loss, batches, lr, betas):
    """Return a step of Adam that minimises loss(weights, images, labels)."""

    def train(weights, states, images, labels, z):
        value, gradients = jax.value_and_grad(loss)(weights[0], images, labels)
        new, state = adam(weights[0], gradients, states[0], lr, betas)
        return [new], [state], (value,)

    return stepper([network], train, batches)


def squared_gradient_lengths(D, weights, x):
    """Return |gradient of D at image|^2 for each image (N,)."""
    gradients = jax.grad(lambda x: D(weights, x).sum())(x)
    return jnp.square(gradients).sum((1, 2, 3))


# Workloads


def dcgan_generator(image_size):
    return Network(
        function(lambda z: z[:, None, None]),
        conv_transpose(100, 128, image_size // 4, bias=False),
        batch_norm(128),
        RELU,
        conv_transpose(128, 64, 4, 2, 1, bias=False),
        batch_norm(64),
        RELU,
        conv_transpose(64, 1, 4, 2, 1, bias=False),
        TANH,
    )


def dcgan(batches, image_size):
    G = dcgan_generator(image_size)
    D = Network(
        conv(1, 64, 4, 2, 1, bias=False),
        LEAKY,
        conv(64, 128, 4, 2, 1, bias=False),
        batch_norm(128),
        LEAKY,
        conv(128, 1, image_size // 4, bias=False),
    )
    return Job([G, D], {"step": gan_step(G, D, batches)})


def dcgan_r1(batches, image_size):
    G = dcgan_generator(image_size)
    D = Network(
        conv(1, 64, 4, 2, 1), LEAKY, conv(64, 128, 4, 2, 1), LEAKY, conv(128, 1, image_size // 4)
    )
    penalty = lambda d, reals: squared_gradient_lengths(D, d, reals).mean() * (R1_GAMMA / 2)
    return Job([G, D], {"step": gan_step(G, D, batches, penalty)})


def wgan_gp(batches, image_size):
    D = Network(
        conv(1, 32, 3, 1, 1),
        LEAKY,
        conv(32, 64, 3, 2, 1),
        LEAKY,
        conv(64, 128, 3, 2, 1),
        LEAKY,
        conv(128, 1, image_size // 4),
    )

    def loss(d, reals, labels):
        share = np.random.default_rng(1).random((len(reals), 1, 1, 1), dtype=np.float32)
        fakes = reals[::-1, ::-1]
        length = jnp.sqrt(squared_gradient_lengths(D, d, share * reals + (1 - share) * fakes))
        return D(d, fakes).mean() - D(d, reals).mean() + GP_WEIGHT * jnp.square(length - 1).mean()

    return Job([D], {"step": loss_step(D, loss, batches, LR, (0.0, 0.9))})


def fir(x, padding, up=1, down=1, gain=1.0):
    """upfirdn2d with the filter FIR. gain: the gain along each axis."""
    for axis in (1, 2):
        pads = [(padding, padding, up - 1) if i == axis else (0, 0, 0) for i in range(4)]
        x = lax.pad(x, np.float32(0), pads)
        a, b, c, d = (lax.slice_in_dim(x, i, x.shape[axis] - 3 + i, down, axis) for i in range(4))
        x = (a + 3 * (b + c) + d) * (gain / 8)
    return x


def dense(inputs, outputs, gain=1.0, rate=1.0):
    """A dense layer with equalised weights. gain: the gain of the activation, which can be applied
    before it, as leaky(x) * a = leaky(x * a)."""
    layer, scale = linear(inputs, outputs), rate * gain
    return Layer(
        lambda weights, x: layer.apply(
            [weights[0] * (scale * inputs**-0.5), weights[1] * scale], x
        ),
        layer.shapes,
    )


def equalized_conv(inputs, outputs, size, gain, stride=1, padding=0, bias=True):
    layer, scale = (
        conv(inputs, outputs, size, stride, padding, bias),
        gain * (size**2 * inputs) ** -0.5,
    )
    return Layer(
        lambda weights, x: layer.apply([weights[-1] * scale] + [b * gain for b in weights[:-1]], x),
        layer.shapes[::-1],
    )


def styled(channels, size, style, up=False):
    """A modulated 3x3 convolution, noise, bias and leaky relu."""
    to_style, noise = dense(style, channels), Fixed().standard_normal((size, size, 1))
    same, double = (
        conv(channels, channels, 3, 1, 1, bias=False),
        conv_transpose(channels, channels, 3, 2, bias=False),
    )

    def apply(weights, x, w):
        *weights, weight, bias, strength = weights
        s = to_style.apply(weights, w)
        x = x * s[:, None, None]
        x = (
            fir(double.apply([weight.swapaxes(2, 3)], x), 1, gain=2.0)
            if up
            else same.apply([weight], x)
        )
        scale = lax.rsqrt(jnp.square(s) @ jnp.square(weight).sum((0, 1)) + 1e-8)
        return leaky(x * (scale * ROOT)[:, None, None] + (noise * strength + bias) * ROOT)

    return Layer(apply, (*to_style.shapes, *same.shapes, (channels,), ()))


def to_image(channels, style):
    to_style = dense(style, channels, channels**-0.5)

    def apply(weights, x, w):
        bias, *weights, weight = weights
        return (
            jnp.einsum("nhwc,nc->nhw", x, to_style.apply(weights, w) * weight[0, 0, :, 0])[
                ..., None
            ]
            + bias
        )

    return Layer(apply, ((1,), *to_style.shapes, (1, 1, channels, 1)))


def skip_generator(latent, size, channels, style, layers):
    """Return network(weights, z, moves). moves (N, convolutions + 1, style) are added to the
    styles of all layers and of the last image."""
    convs = [(4 << i, up) for i in range(size.bit_length() - 2) for up in (True, False)][1:]

    def forward(functions, z, moves=0.0):
        (constant, *functions), last = functions, layers + len(convs)
        w = z * lax.rsqrt(jnp.square(z).mean(1, keepdims=True) + 1e-8)
        for layer in functions[:layers]:
            w = leaky(layer(w))
        ws = jnp.broadcast_to(w[:, None], (len(z), len(convs) + 1, style)) + moves
        x, image = jnp.broadcast_to(constant(), (len(z), *constant().shape)), None
        for i, layer in enumerate(functions[layers:last]):
            x = layer(x, ws[:, i])
            if i % 2 == 0:  # the last layer of this size
                part = functions[last + i // 2](x, ws[:, i + 1])
                image = fir(image, 2, up=2, gain=2.0) + part if i else part
        return image

    return Network(
        Layer(lambda weights: weights[0], ((4, 4, channels),)),
        *[dense(style if i else latent, style, ROOT, 0.01) for i in range(layers)],
        *[styled(channels, size, style, up) for size, up in convs],
        *[to_image(channels, style)] * (len(convs) // 2 + 1),
        forward=forward,
        equalized=True,
    )


def residual_discriminator(size, channels, group=4):
    blocks = size.bit_length() - 3

    def forward(functions, image):
        # convs: two for each block, then the shortcuts
        from_image, *convs, last, hidden, to_logit = functions
        x = leaky(from_image(image))
        for i in reversed(range(blocks)):
            y = leaky(convs[2 * i](x))
            y = leaky(convs[2 * i + 1](fir(y, 2)))
            # Both weights contain the factor sqrt(1/2).
            x = y + convs[2 * blocks + i](fir(x, 1, down=2))
        members = x.reshape(min(group, len(x)), -1, *x.shape[1:])
        deviation = jnp.tile(jnp.sqrt(members.var(0) + 1e-8).mean((1, 2, 3)), len(members))
        x = jnp.concatenate(
            [x, jnp.broadcast_to(deviation[:, None, None, None], (*x.shape[:3], 1))], 3
        )
        return to_logit(leaky(hidden(leaky(last(x)).reshape(len(x), -1))))[:, 0]

    layer = partial(equalized_conv, channels, channels)
    return Network(
        equalized_conv(1, channels, 1, ROOT),
        *[layer(3, ROOT, padding=1), layer(3, 1.0, stride=2)] * blocks,
        *[layer(1, 1 / ROOT, bias=False)] * blocks,
        equalized_conv(channels + 1, channels, 3, ROOT, padding=1),
        dense(16 * channels, channels, ROOT),
        dense(channels, 1),
        forward=forward,
        equalized=True,
    )


def stylegan2(batches, image_size):
    G, D = skip_generator(100, image_size, 64, 64, 4), residual_discriminator(image_size, 64)

    def path(weights, states, images, labels, z):
        (g,), (state, average) = weights, states
        z = z[: -(-len(z) // 2)]
        noise = Fixed().standard_normal((len(z), image_size, image_size, 1)) / image_size
        unmoved = jnp.zeros((len(z), 2 * (image_size.bit_length() - 2), 64))

        def loss(g):
            gradients = jax.grad(lambda moves: (G(g, z, moves) * noise).sum())(unmoved)
            lengths = jnp.sqrt(jnp.square(gradients).sum(2).mean(1))
            new = average + (lengths.mean() - average) * 0.01
            return jnp.square(lengths - new).mean() * (PATH_WEIGHT * PATH_LAZY), new

        (value, average), gradients = jax.value_and_grad(loss, has_aux=True)(g)
        g, state = adam(g, gradients, state, LR, (0.0, 0.99))
        return [g], [state, average], (value,)

    r1 = lambda d, reals, labels: (
        squared_gradient_lengths(D, d, reals).mean() * (R1_GAMMA / 2 * LAZY)
    )
    return Job(
        [G, D],
        {
            "step": gan_step(G, D, batches),
            "path": stepper([G], path, batches, jnp.zeros(())),
            "r1": loss_step(D, r1, batches, LR, (0.0, 0.99)),
        },
    )


def lenet(batches, image_size):
    net = Network(
        conv(1, 6, 5, 1, 2),
        RELU,
        POOL,
        conv(6, 16, 5),
        RELU,
        POOL,
        conv(16, 120, image_size // 4 - 2),
        RELU,
        FLATTEN,
        linear(120, 84),
        RELU,
        linear(84, 10),
    )

    def loss(weights, images, labels):
        return -jnp.take_along_axis(log_softmax(net(weights, images)), labels[:, None], 1).mean()

    return Job([net], {"step": loss_step(net, loss, batches, 1e-3, (0.9, 0.999))})


def mlp(batches, image_size):
    pixels = image_size * image_size
    G = Network(
        linear(100, 256),
        RELU,
        linear(256, 256),
        RELU,
        linear(256, pixels),
        TANH,
        function(lambda x: x.reshape(-1, image_size, image_size, 1)),
    )
    D = Network(FLATTEN, linear(pixels, 256), LEAKY, linear(256, 256), LEAKY, linear(256, 1))
    return Job([G, D], {"step": gan_step(G, D, batches)})


JOBS = {
    "dcgan": dcgan,
    "dcgan-r1": dcgan_r1,
    "wgan-gp": wgan_gp,
    "stylegan2": stylegan2,
    "lenet": lenet,
    "mlp": mlp,
}
