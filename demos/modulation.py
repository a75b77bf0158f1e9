"""Modulated convolution two ways: how much faster is it to scale activations than to make a weight for each image?

    python demos/modulation.py

StyleGAN2's layer gives every image of a batch its own weights (Karras et al. 2020b, equations 1 and 3). Written down like
that, it is a convolution with a group for each image. As convolution is linear, scaling the input channels before one
convolution for all, and the output channels after it, is the same (`tinygan.ops.modulated_conv2d`).
"""

# %%
import statistics
import time

import numpy as np

from tinygan import grad, ops, tensor

BATCH, ROUNDS = 32, 15
SHAPES = (4, 64), (8, 64), (16, 64), (32, 64), (32, 16)  # pixels on a side, channels


# %% A weight for each image, and all images in one convolution whose groups they are


def with_own_weights(x, w, style):
    """x (N, H, W, C), w (3, 3, C, O), style (N, C) -> (N, H, W, O)."""
    n, height, width, channels = x.shape
    outputs = w.shape[3]
    own = w.reshape(1, 3, 3, channels, outputs) * style.reshape(n, 1, 1, channels, 1)
    own = own * (ops.sum(ops.square(own), (1, 2, 3), keepdims=True) + 1e-8) ** -0.5
    own = own.transpose((1, 2, 3, 0, 4)).reshape(3, 3, channels, n * outputs)
    side_by_side = x.transpose((1, 2, 0, 3)).reshape(1, height, width, n * channels)
    y = ops.conv2d(side_by_side, own, padding=1, groups=n)
    return y.reshape(height, width, n, outputs).transpose((2, 0, 1, 3))


# %% Both give the same values and gradients; turn about, how long do they take?


def inputs(size, channels, dtype="float32"):
    rng = np.random.default_rng(0)
    shapes = (BATCH, size, size, channels), (3, 3, channels, channels), (BATCH, channels)
    return [tensor(rng.standard_normal(shape), requires_grad=True, dtype=dtype) for shape in shapes]


def difference(size, channels):
    """The largest of values and gradients, relative to the largest number, in float64."""
    args, worst = inputs(size, channels, "float64"), 0.0
    y, other = with_own_weights(*args), ops.modulated_conv2d(*args)
    pairs = [(y, other), *zip(*(grad(ops.sum(ops.square(y)), args) for y in (y, other)))]
    for a, b in pairs:
        worst = max(worst, np.abs(a.data - b.data).max() / np.abs(a.data).max())
    return worst


def milliseconds(function, args):
    start = time.perf_counter()
    grad(ops.sum(function(*args)), args)
    return 1e3 * (time.perf_counter() - start)


def main():
    print("| size, channels | a weight for each image | activations scaled | times faster | difference in float64 |")
    print("|---|---|---|---|---|")
    for size, channels in SHAPES:
        args, times = inputs(size, channels), ([], [])
        for _ in range(ROUNDS):
            for function, found in zip((with_own_weights, ops.modulated_conv2d), times):
                found.append(milliseconds(function, args))
        slow, fast = map(statistics.median, times)
        print(f"| {size}x{size}, {channels} | {slow:.2f} ms | {fast:.2f} ms | {slow / fast:.1f} | "
              f"{difference(size, channels):.0e} |", flush=True)


if __name__ == "__main__":
    main()
