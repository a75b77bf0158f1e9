"""Bilinear ops: linear in each argument, so their derivatives are bilinear ops again.

The three convolutions form a closed triangle:

    <conv2d(x, w), g> = <x, conv_transpose2d(g, w)> = <w, conv2d_weight_gradient(x, g)>

So the derivatives of each are the other two, at every order. Their kernels, in kernels/conv.py, are
`forward`, `input_gradient` and `weight_gradient`.
"""

import math
import string

import numpy as np

from tinygan.autograd import IntPair, Tensor, TensorLike, as_tensors, described, op
from tinygan.backend import xp
from tinygan.kernels import conv, linear

from .composite import composite_op
from .fused import fused
from .linear import reshape, sum

# Matrices


def _product(ta, tb):
    """The op a @ b; it transposes the matrices of a first if `ta`, those of b if `tb`.

    It is named as in BLAS: matmul, matmul_nt, ... Its derivatives are such products too, which
    saves them the separate transposes.
    """

    @op(
        broadcasts="batch",
        cost=lambda y, a, b: y.size * a.shape[-2 if ta else -1],
        name=f"matmul_{'nt'[ta]}{'nt'[tb]}" if ta or tb else "matmul",
    )
    def product(a, b, /):
        # y = A B with A = a or a^T, B = b or b^T. So dA = g B^T and dB = A^T g, transposed again
        # where a or b was.
        return (
            linear.matmul(
                a.data.swapaxes(-1, -2) if ta else a.data, b.data.swapaxes(-1, -2) if tb else b.data
            ),
            lambda g: _products[tb, True](b, g) if ta else _products[False, not tb](g, b),
            lambda g: _products[True, ta](g, a) if tb else _products[not ta, False](a, g),
        )

    return product


_products = {(ta, tb): _product(ta, tb) for ta in (False, True) for tb in (False, True)}
_matmul = _products[False, False]


@fused(
    linear.affine,
    linear.affine_gradient,
    cost=lambda y, x, w, bias: y.size * x.shape[-1],
    backward_cost=lambda needed, g, x, w, bias: g.size * x.shape[-1] * (needed[0] + needed[1]),
)
def _affine(x, w, bias, /):
    return _matmul(x, w) + bias


@composite_op(2)
def matmul(a, b):
    """The matrix product a (..., M, K) @ b (..., K, N) -> (..., M, N).

    A 1-D a is a row, a 1-D b a column; the result lacks that axis.
    """
    if not a.ndim or not b.ndim or a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise ValueError(
            f"matmul: shapes {a.shape} and {b.shape} do not fit: the inner lengths must agree"
        )
    if a.ndim > 1 and b.ndim > 1:
        return _matmul(a, b)
    rows = a.shape[:-1] if a.ndim > 1 else b.shape[:-2]
    columns = b.shape[-1:] if b.ndim > 1 else ()
    y = _matmul(a if a.ndim > 1 else reshape(a, (1, -1)), b if b.ndim > 1 else reshape(b, (-1, 1)))
    return reshape(y, rows + columns)


def affine(x: TensorLike, w: TensorLike, bias: TensorLike | None = None) -> Tensor:
    """x @ w + bias: x (..., M), w (M, N), bias (N,) -> (..., N)."""
    if bias is None:
        return matmul(x, w)
    if not (isinstance(x, Tensor) and isinstance(w, Tensor) and isinstance(bias, Tensor)):
        x, w, bias = as_tensors("affine", (x, w, bias))
    if x.ndim < 1 or w.ndim != 2 or x.shape[-1] != w.shape[0] or bias.shape != w.shape[1:]:
        raise ValueError(
            f"affine: shapes {x.shape}, {w.shape} and {bias.shape} do not fit "
            "(..., M), (M, N) and (N,)"
        )
    if x.ndim == 2:
        return _affine(x, w, bias)
    rows = math.prod(x.shape[:-1])
    return reshape(_affine(reshape(x, (rows, x.shape[-1])), w, bias), (*x.shape[:-1], w.shape[1]))


def _einsum_cost(y, *arrays, subscripts):
    return math.prod(_lengths(subscripts, arrays).values())


@op(cost=_einsum_cost, name="einsum")
def _einsum(*xs, subscripts):
    *inputs, output = subscripts.replace("->", ",").split(",")
    lengths = _lengths(subscripts, xs)

    def derivative(i):
        others = [x for j, x in enumerate(xs) if j != i]
        terms = [output] + [term for j, term in enumerate(inputs) if j != i]
        summed = [s for s in inputs[i] if s not in "".join(terms)]  # axes that only argument i has
        subscripts = ",".join(terms + ["".join(summed)] * bool(summed)) + "->" + inputs[i]
        shape = [lengths[s] for s in summed]

        def d_x(g):
            ones = [xp.ones(shape, g.dtype)] if summed else []  # repeat the gradient along them
            return _einsum(g, *others, *ones, subscripts=subscripts)

        return d_x

    value = linear.einsum(subscripts, *(x.data for x in xs))
    return value, *(derivative(i) for i in range(len(xs)))


def einsum(subscripts: str, *operands: TensorLike) -> Tensor:
    """Einstein summation as in numpy.einsum, such as einsum("nhwc,co->nhwo", x, w).

    Each term names every axis once; "->" may be omitted. Raises TypeError if the subscripts are no
    text, and ValueError for a diagonal ("ii"), an ellipsis, or lengths that disagree.
    """
    if not isinstance(subscripts, str):
        raise TypeError(
            'einsum: the first argument is text, such as einsum("ij,jk->ik", a, b), '
            f"got {described(subscripts)}"
        )
    operands = as_tensors("einsum", operands)
    subscripts = "".join(subscripts.split())
    if "." in subscripts:
        raise ValueError("einsum: name the axes that '...' stands for")
    inputs, _, output = subscripts.partition("->")
    terms = inputs.split(",")
    if not set(inputs) <= {*string.ascii_letters, ","} or not set(output) <= {*inputs} - {","}:
        raise ValueError(
            f"einsum: {subscripts!r} must be terms of letters, with a comma between them and at "
            'most one "->", followed by some of these letters'
        )
    if "->" not in subscripts:
        letters = "".join(terms)
        subscripts += "->" + "".join(sorted(s for s in set(letters) if letters.count(s) == 1))
    if any(len(set(term)) < len(term) for term in subscripts.replace("->", ",").split(",")):
        raise ValueError(
            f"einsum: {subscripts!r} repeats an axis within a term; take the diagonal by indexing"
        )
    if len(terms) != len(operands):
        raise ValueError(
            f"einsum: {subscripts!r} has {len(terms)} terms, but there are {len(operands)} operands"
        )
    if [len(term) for term in terms] != [x.ndim for x in operands]:
        raise ValueError(
            f"einsum: {subscripts!r} does not fit shapes {[x.shape for x in operands]}"
        )
    _lengths(subscripts, operands)
    return _einsum(*operands, subscripts=subscripts)


def _lengths(subscripts, xs):
    """{letter: length of its axis}. Raises ValueError if the lengths of an axis differ."""
    lengths = {}
    for term, x in zip(subscripts.split("->")[0].split(","), xs):
        for letter, n in zip(term, x.shape):
            if lengths.setdefault(letter, n) != n:
                raise ValueError(
                    f"einsum: axis {letter!r} has length {lengths[letter]} and {n}, "
                    f"in {subscripts!r} of {_described_all(xs)}"
                )
    return lengths


# Convolutions. With a bias they are separate ops: adding it later would pass over memory once more.


def conv2d(
    x: TensorLike,
    w: TensorLike,
    stride: IntPair = 1,
    padding: IntPair = 0,
    groups: int = 1,
    bias: TensorLike | None = None,
) -> Tensor:
    """Cross-correlation of images x (N, H, W, C) with w (kh, kw, C/groups, O) -> (N, OH, OW, O).

    OH = (H + 2 padding - kh) // stride + 1, and likewise OW. stride, padding: an int, or a pair
    (rows, columns). groups: the input and the output channels are divided into `groups` equal
    parts, and the i-th outputs depend on the i-th inputs only. bias: (O,), added to the result.
    """
    if bias is None:
        return _conv2d(x, w, stride, padding, groups)
    return _conv2d_bias(x, w, bias, stride, padding, groups)


def _conv2d_and_derivatives(x, w, stride, padding, groups, bias=None):
    stride, padding = as_pair(stride), as_pair(padding)
    _check_ndim("conv2d", x, w)
    _check_conv("conv2d", x.shape, w.shape, stride, padding, groups, x, w)
    _check_bias("conv2d", bias, w.shape[3], x, w)
    size, kernel_size = x.shape[1:3], w.shape[:2]
    value = conv.forward(
        x.data, w.data, stride, padding, groups, None if bias is None else bias.data
    )
    remainder = _remainder(size, kernel_size, value.shape[1:3], stride, padding)
    return (
        value,
        lambda g: conv_transpose2d(g, w, stride, padding, remainder, groups),
        lambda g: conv2d_weight_gradient(x, g, kernel_size, stride, padding, groups),
    )


@op(cost=lambda y, x, w: y.size * w[..., 0].size, name="conv2d")
def _conv2d(x, w, /, stride, padding, groups):
    return _conv2d_and_derivatives(x, w, stride, padding, groups)


@op(cost=lambda y, x, w, bias: y.size * w[..., 0].size, name="conv2d")
def _conv2d_bias(x, w, bias, /, stride, padding, groups):
    results = _conv2d_and_derivatives(x, w, stride, padding, groups, bias)
    return *results, lambda g: sum(g, (0, 1, 2))


def conv_transpose2d(
    x: TensorLike,
    w: TensorLike,
    stride: IntPair = 1,
    padding: IntPair = 0,
    output_padding: IntPair = 0,
    groups: int = 1,
    bias: TensorLike | None = None,
) -> Tensor:
    """The adjoint of conv2d, as a map of its images, with the same w, stride, padding and groups.

    x (N, H, W, in), w (kh, kw, out/groups, in) -> (N, OH, OW, out). bias: (out,), added to the
    result. OH = (H - 1) stride - 2 padding + kh + output_padding, and likewise OW. conv2d maps
    several image sizes to H; output_padding, less than stride, chooses among them.
    """
    if bias is None:
        return _conv_transpose2d(x, w, stride, padding, output_padding, groups)
    return _conv_transpose2d_bias(x, w, bias, stride, padding, output_padding, groups)


def _conv_transpose2d_and_derivatives(x, w, stride, padding, output_padding, groups, bias=None):
    stride, padding, extra = as_pair(stride), as_pair(padding), as_pair(output_padding)
    _check_ndim("conv_transpose2d", x, w)
    if not all(0 <= e < s for e, s in zip(extra, stride)):
        raise ValueError(
            f"conv_transpose2d: output_padding {extra} must be less than stride {stride}"
        )
    if x.shape[3] != w.shape[3]:
        raise ValueError(
            f"conv_transpose2d: x {x.shape} has {x.shape[3]} channels, but w {w.shape} "
            f"(kh, kw, out/groups, in) takes {w.shape[3]}"
        )
    kernel_size = w.shape[:2]
    size = tuple(
        (n - 1) * s - 2 * p + k + e
        for n, s, p, k, e in zip(x.shape[1:3], stride, padding, kernel_size, extra)
    )
    if min(*x.shape[1:3], *size) < 1:
        raise ValueError(
            f"conv_transpose2d: stride {stride} and padding {padding} leave no image of "
            f"{_described_all((x, w))}"
        )
    out_shape = (x.shape[0], *size, w.shape[2] * groups)
    _check_conv("conv_transpose2d", out_shape, w.shape, stride, padding, groups, x, w)
    _check_bias("conv_transpose2d", bias, out_shape[3], x, w)
    bias = None if bias is None else bias.data
    return (
        conv.input_gradient(x.data, w.data, size, stride, padding, groups, bias),
        lambda g: conv2d(g, w, stride, padding, groups),
        lambda g: conv2d_weight_gradient(g, x, kernel_size, stride, padding, groups),
    )


@op(cost=lambda y, x, w: x.size * w[..., 0].size, name="conv_transpose2d")
def _conv_transpose2d(x, w, /, stride, padding, output_padding, groups):
    return _conv_transpose2d_and_derivatives(x, w, stride, padding, output_padding, groups)


@op(cost=lambda y, x, w, bias: x.size * w[..., 0].size, name="conv_transpose2d")
def _conv_transpose2d_bias(x, w, bias, /, stride, padding, output_padding, groups):
    results = _conv_transpose2d_and_derivatives(x, w, stride, padding, output_padding, groups, bias)
    return *results, lambda g: sum(g, (0, 1, 2))


@op(cost=lambda y, x, g: g.size * y[..., 0].size)
def conv2d_weight_gradient(x, g, /, kernel_size, stride=1, padding=0, groups=1):
    """The adjoint of conv2d as a map of w: g (N, OH, OW, O) -> (kh, kw, C/groups, O).

    x: (N, H, W, C).
    """
    stride, padding, kernel_size = as_pair(stride), as_pair(padding), as_pair(kernel_size)
    _check_ndim("conv2d_weight_gradient", x, g)
    size, w_shape = x.shape[1:3], (*kernel_size, x.shape[3] // groups, g.shape[3])
    _check_conv("conv2d_weight_gradient", x.shape, w_shape, stride, padding, groups, x, g)
    expected = tuple(map(conv.out_size, size, kernel_size, stride, padding))
    if g.shape[:3] != (x.shape[0], *expected):
        raise ValueError(
            f"conv2d_weight_gradient: g has shape {g.shape}; for x {x.shape} it must be "
            f"({x.shape[0]}, {expected[0]}, {expected[1]}, O)"
        )
    remainder = _remainder(size, kernel_size, expected, stride, padding)
    return (
        conv.weight_gradient(x.data, g.data, kernel_size, stride, padding, groups),
        lambda h: conv_transpose2d(g, h, stride, padding, remainder, groups),
        lambda h: conv2d(x, h, stride, padding, groups),
    )


def as_pair(n):
    """n, an int or a pair (rows, columns), as a pair of ints."""
    pair = tuple(n) if isinstance(n, (tuple, list)) else (n, n)
    if len(pair) != 2 or not all(isinstance(i, (int, np.integer)) for i in pair):
        raise ValueError(f"expected a whole number or a pair (rows, columns), got {described(n)}")
    return tuple(map(int, pair))


def _remainder(size, kernel_size, out_size, stride, padding):
    """The output_padding: how much larger the image is than the smallest with the same output."""
    lengths = zip(size, kernel_size, out_size, stride, padding)
    return tuple(n - ((o - 1) * s - 2 * p + k) for n, k, o, s, p in lengths)


def _described_all(tensors):
    return " and ".join(map(described, tensors))


def _check_ndim(name, a, b):
    if a.ndim != 4 or b.ndim != 4:
        raise ValueError(
            f"{name}: both arguments must have four axes, got shapes {a.shape} and {b.shape}"
        )


def _check_bias(name, bias, channels, *tensors):
    if bias is not None and bias.shape != (channels,):
        raise ValueError(
            f"{name}: the bias has shape {bias.shape}, not ({channels},), one number for each "
            f"channel; got {_described_all(tensors)}"
        )


def _check_conv(name, image, weight, stride, padding, groups, *tensors):
    """Raise ValueError unless a convolution of the shapes `image` and `weight` exists.

    tensors: the arguments of the op, which is that convolution or one of its adjoints.
    """
    if min(stride) < 1 or min(padding) < 0 or groups < 1:
        raise ValueError(
            f"{name}: stride and groups must be 1 or more and padding 0 or more, "
            f"got {stride}, {groups} and {padding}"
        )
    if min(weight[:2]) < 1:
        raise ValueError(
            f"{name}: the kernel size must be 1x1 or larger, got {_described_all(tensors)}"
        )
    if image[3] != weight[2] * groups or weight[3] % groups:
        raise ValueError(
            f"{name}: {image[3]} image channels in {groups} group(s) do not fit weights {weight} "
            f"(kh, kw, in/groups, out); got {_described_all(tensors)}"
        )
    if image[1] + 2 * padding[0] < weight[0] or image[2] + 2 * padding[1] < weight[1]:
        raise ValueError(
            f"{name}: the kernel size {weight[0]}x{weight[1]} is larger than the "
            f"{image[1]}x{image[2]} image with padding {padding}; got {_described_all(tensors)}"
        )
