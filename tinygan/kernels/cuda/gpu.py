"""The loops of the GPU: what would take several launches of the array module, in one.

To launch a kernel takes longer than most of our arrays keep a GPU busy. So chains of elementwise operations are one kernel each, a convolution is columns and one product, and
an optimiser updates all its parameters at once.

The bodies are CUDA C, run for every i; T is the type of the arrays. Where i is taken apart, it is in 32 bits, as division
in 64 is slow on a GPU: no array may have 2^31 elements, 8 GB. `raw` arguments are arrays indexed by hand, the others
broadcast against each other. They are plain enough that a C compiler takes them too, which is how they are tested without
a GPU.
"""

import functools
import math

import numpy as np

from tinygan import backend
from tinygan.backend import asarray, constants, from_host, xp

from . import cublas


@functools.lru_cache(None)
def _compiled(module, inputs, outputs, body, name):
    return module.ElementwiseKernel(inputs, outputs, body, f"tinygan_{name}")


def kernel(name, inputs, outputs, body):
    """A function that runs `body`, made when first called: CuPy may not be there."""
    return lambda *args, **settings: _compiled(backend.active(), inputs, outputs, body, name)(*args, **settings)


# ---- elementwise chains ----

leaky_relu = kernel("leaky_relu", "T x, T bias, T slope, T gain", "T y", """
    T a = x + bias;
    y = a > 0 ? gain * a : gain * slope * a;""")

gate = kernel("gate", "T g, T y, T slope, T gain", "T d", "d = y > 0 ? gain * g : gain * slope * g;")

softplus = kernel("softplus", "T x", "T y", "y = (x > 0 ? x : T(0)) + log1p(exp(x > 0 ? -x : x));")

sigmoid = kernel("sigmoid", "T x", "T y", "y = T(0.5) * tanh(T(0.5) * x) + T(0.5);")

cross_entropy = kernel("cross_entropy", "T x, T target", "T y",
                       "y = (x > 0 ? x : T(0)) + log1p(exp(x > 0 ? -x : x)) - target * x;")

cross_entropy_slope = kernel("cross_entropy_slope", "T x, T target, T g, T n", "T d",
                             "d = (T(0.5) * tanh(T(0.5) * x) + T(0.5) - target) * (g / n);")

squared_distance = kernel("squared_distance", "T x, T mean", "T y", "y = (x - mean) * (x - mean);")

inv_std = kernel("inv_std", "T var, T eps", "T y", "y = T(1) / sqrt(var + eps);")

normalize = kernel("normalize", "T x, T mean, T inv_std, T scale, T shift", "T y",
                   "y = (x - mean) * inv_std * scale + shift;")

along = kernel("along", "T g, T x, T mean, T inv_std", "T y", "y = g * ((x - mean) * inv_std);")

# The gradient of normalize in x, without its mean and its part along y.
normalize_slope = kernel("normalize_slope", "T g, T x, T mean, T inv_std, T scale, T g_mean, T along_mean", "T d",
                         "d = inv_std * (scale * g - g_mean - (x - mean) * inv_std * along_mean);")


# ---- windows ----

columns = kernel("columns", "raw T x, int32 height, int32 width, int32 each, int32 groups, int32 oh, int32 ow, int32 kh, "
                 "int32 kw, int32 down, int32 across, int32 top, int32 left, int32 n", "T y", """
    int rest = i;
    int channel = rest % each; rest /= each;
    int b = rest % kw; rest /= kw;
    int a = rest % kh; rest /= kh;
    int column = rest % ow; rest /= ow;
    int row = rest % oh; rest /= oh;
    int image = rest % n; rest /= n;
    int v = row * down + a + top, h = column * across + b + left;
    bool inside = v >= 0 && v < height && h >= 0 && h < width;
    y = inside ? x[((image * height + v) * width + h) * (each * groups) + rest * each + channel] : T(0);""")

fold = kernel("fold", "raw T windows, int32 height, int32 width, int32 each, int32 groups, int32 oh, int32 ow, int32 kh, "
              "int32 kw, int32 down, int32 across, int32 top, int32 left, int32 n", "T y", """
    int rest = i;
    int channel = rest % each; rest /= each;
    int group = rest % groups; rest /= groups;
    int h = rest % width - left; rest /= width;
    int v = rest % height - top; rest /= height;
    T sum = T(0);
    for (int a = 0; a < kh; ++a) {
        int row = (v - a) / down;
        if (v < a || row >= oh || row * down != v - a) continue;
        for (int b = 0; b < kw; ++b) {
            int column = (h - b) / across;
            if (h < b || column >= ow || column * across != h - b) continue;
            sum += windows[((((group * n + rest) * oh + row) * ow + column) * kh + a) * kw * each + b * each + channel];
        }
    }
    y = sum;""")


_translate = kernel("translate", "raw T x, raw int64 shifts, int32 height, int32 width, int32 channels", "T y", """
    int rest = i;
    int channel = rest % channels; rest /= channels;
    int h = rest % width; rest /= width;
    int v = rest % height; rest /= height;
    v -= shifts[2 * rest]; h -= shifts[2 * rest + 1];
    bool inside = v >= 0 && v < height && h >= 0 && h < width;
    y = inside ? x[((rest * height + v) * width + h) * channels + channel] : T(0);""")


def translate(x, shifts):
    return _translate(x, shifts, *x.shape[1:], xp.empty(x.shape, x.dtype))


# ---- all arrays of an optimiser at once ----

CHUNK = 1024  # elements of one array that the threads of a chunk number; the table says which array, and from where

_ELEMENT = """
    int k = owner[i / CHUNK];
    ptrdiff_t j = start[i / CHUNK] + i % CHUNK;
    if (j < length[k]) {
        T* w = reinterpret_cast<T*>(pointers[k * COUNT]);
        const T* g = reinterpret_cast<const T*>(pointers[k * COUNT + 1]);
        BODY
    }""".replace("CHUNK", str(CHUNK))


def update(name, count, inputs, body):
    """A function of lists of arrays and of numbers, that writes into the first list (w; and further ones, from p2 on).

    count: how many lists; body: of element j of array k, whose own numbers are numbers[k * size], ...
    """
    pointers = "".join(f"T* p{n} = reinterpret_cast<T*>(pointers[k * COUNT + {n}]); " for n in range(2, count))
    code = _ELEMENT.replace("BODY", pointers + body).replace("COUNT", str(count))
    run = kernel(name, f"raw int64 pointers, raw int32 owner, raw int64 start, raw int64 length{inputs}", "raw T numbers", code)

    def call(numbers, lists, *settings):
        """numbers: a function that returns a row for each array; called anew whenever a recorded step is launched."""
        arrays = [array for row in zip(*lists, strict=True) for array in row]
        if not any(array.size for array in lists[0]):
            return
        if backend.tape is not None:  # the gradients (the second list) are the step's own
            backend.tape.keep([*lists[0], *(array for moments in lists[2:] for array in moments)])
        dtype = lists[0][0].dtype
        owner, start, length, size = _table(backend.active(), tuple(array.size for array in lists[0]))
        pointers = asarray(np.array([array.data.ptr for array in arrays], np.int64))
        own = from_host(lambda: np.array(numbers(), dtype).reshape(-1))
        run(pointers, owner, start, length, *settings, own, size=size)

    return call


@constants
def _table(module, sizes):
    """(the array of each chunk, where in it the chunk starts, the sizes; elements of all chunks)."""
    chunks = [(k, first) for k, size in enumerate(sizes) for first in range(0, size, CHUNK)]
    owner, start = (np.array(part, kind) for part, kind in zip(zip(*chunks), (np.int32, np.int64)))
    return asarray(owner), asarray(start), asarray(np.array(sizes, np.int64)), len(chunks) * CHUNK


adam = update("adam", 4, ", T share1, T share2", """
        T m = p2[j] + (g[j] - p2[j]) * share1, v = p3[j] + (g[j] * g[j] - p3[j]) * share2;
        p2[j] = m; p3[j] = v;
        w[j] -= numbers[2 * k] * m / (sqrt(v) + numbers[2 * k + 1]);""")

rmsprop = update("rmsprop", 3, ", T alpha, T share, T eps", """
        p2[j] = alpha * p2[j] + share * g[j] * g[j];
        w[j] -= numbers[k] * g[j] / (sqrt(p2[j]) + eps);""")

momentum = update("momentum", 3, ", T keep", "p2[j] = keep * p2[j] + g[j]; w[j] -= numbers[k] * p2[j];")

sgd = update("sgd", 2, "", "w[j] -= numbers[k] * g[j];")

lerp = update("lerp", 2, "", "w[j] = numbers[2 * k] * w[j] + numbers[2 * k + 1] * g[j];")


_squares = kernel("squares", "raw int64 pointers, raw int32 owner, raw int64 start, raw int64 length", "T y", f"""
        int chunk = i / 32, k = owner[chunk];
        const T* g = reinterpret_cast<const T*>(pointers[k]);
        ptrdiff_t j = start[chunk] + i % 32, end = min(start[chunk] + {CHUNK}, length[k]);
        T sum = 0;
        for (; j < end; j += 32)
            sum += g[j] * g[j];
        y = sum;""")


def squares(arrays):
    """The sum of the squares of all elements of arrays, which must be C-contiguous and of one dtype."""
    owner, start, length, size = _table(backend.active(), tuple(array.size for array in arrays))
    pointers = asarray(np.array([array.data.ptr for array in arrays], np.int64))
    lanes = xp.empty(size // CHUNK * 32, arrays[0].dtype)
    _squares(pointers, owner, start, length, lanes)
    return sums(sums(lanes.reshape(-1, 32)).reshape(32, 1))[0]


# ---- sums by products ----


def means(x, axes):
    """The mean of x over axes that go up to the last but one, kept with length 1, as a product with a vector of 1/n:
    reads memory in a row, as a reduction over the first axes does not."""
    first = axes[0]
    n = math.prod(x.shape[axis] for axis in axes)
    flat = x.reshape(*x.shape[:first], n, x.shape[-1])
    y = cublas.matmul(_row(backend.active(), n, 1 / n, str(x.dtype)), flat)
    return y.reshape(*x.shape[:first], *(1,) * len(axes), x.shape[-1])


def sums(x):
    """The sum of the rows of x (rows, C): (C,)."""
    return cublas.matmul(_row(backend.active(), len(x), 1.0, str(x.dtype)), x)[0]


@constants
def _row(module, n, value, dtype):
    return asarray(np.full((1, n), value, dtype))
