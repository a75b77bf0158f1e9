"""The GAN of first_gan.py without layers, losses or optimisers: Tensors, ops and two loops.

The plain kernels (tinygan/kernels/*.py) compute everything, so that it takes about eight times as
long. There is no magic: the losses are those of first_gan.py, up to rounding, whose effects grow
from step to step. It writes plain_gan.png.
"""

import numpy as np
from tqdm import trange

from tinygan import data, grad, kernels, ops, plots, tensor

kernels.use("plain")
rng = np.random.default_rng(0)
digits = data.load("digits")


def weight(*shape, fan_in):  # drawn from U(-1, 1) / sqrt(fan_in)
    return tensor(rng.uniform(-1, 1, shape) / fan_in**0.5, requires_grad=True, dtype="float32")


def norm(channels):  # the scale and shift of batch-norm
    return [tensor(values, requires_grad=True) for values in ([1.0] * channels, [0.0] * channels)]


g = [weight(64, 7 * 7 * 32, fan_in=64), weight(7 * 7 * 32, fan_in=64), *norm(32)]
g += [weight(4, 4, 16, 32, fan_in=16 * 32), weight(16, fan_in=16 * 32), *norm(16)]
g += [weight(4, 4, 1, 16, fan_in=16 * 16), weight(1, fan_in=16 * 16)]
d = [weight(4, 4, 1, 16, fan_in=16), weight(16, fan_in=16)]
d += [weight(4, 4, 16, 32, fan_in=16 * 16), weight(32, fan_in=16 * 16)]
d += [weight(7 * 7 * 32, 1, fan_in=7 * 7 * 32), weight(1, fan_in=7 * 7 * 32)]


def G(z):
    x = ops.reshape(z @ g[0] + g[1], (-1, 7, 7, 32))
    x = ops.relu(ops.batch_norm(x, g[2], g[3]))
    x = ops.conv_transpose2d(x, g[4], stride=2, padding=1, bias=g[5])
    x = ops.relu(ops.batch_norm(x, g[6], g[7]))
    return ops.tanh(ops.conv_transpose2d(x, g[8], stride=2, padding=1, bias=g[9]))


def D(x):
    x = ops.leaky_relu(ops.conv2d(x, d[0], stride=2, padding=1, bias=d[1]))
    x = ops.leaky_relu(ops.conv2d(x, d[2], stride=2, padding=1, bias=d[3]))
    return ops.reshape(x, (len(x), -1)) @ d[4] + d[5]


def latents(n):
    return tensor(rng.standard_normal((n, 64)), dtype="float32")


def adam(weights, gradients, moments, t, lr=1e-3, beta1=0.5, beta2=0.999):
    for i, gradient in enumerate(gradients):  # Kingma and Ba 2015, algorithm 1
        m, v = moments.get(i, (0.0, 0.0))
        m = beta1 * m + (1 - beta1) * gradient.data
        v = beta2 * v + (1 - beta2) * gradient.data**2
        moments[i] = m, v
        step = lr * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + 1e-8)
        weights[i] = tensor(weights[i].data - step, requires_grad=True)


g_moments, d_moments = {}, {}
for step in (progress := trange(3000)):
    reals, labels = digits.batch(step, batch_size=32, seed=0)
    fakes = G(latents(32))
    # -log D(real) - log(1 - D(fake)), where D's probability is the sigmoid of its logit
    d_loss = (ops.softplus(-D(reals)) + ops.softplus(D(fakes.detach()))).mean()
    adam(d, grad(d_loss, d), d_moments, t=step + 1)
    g_loss = ops.softplus(-D(fakes)).mean()  # -log D(fake)
    adam(g, grad(g_loss, g), g_moments, t=step + 1)
    progress.set_postfix(d_loss=f"{d_loss.item():.2f}", g_loss=f"{g_loss.item():.2f}")

plots.save_image("plain_gan.png", plots.grid(data.to_uint8(G(latents(100)).detach().numpy())))
