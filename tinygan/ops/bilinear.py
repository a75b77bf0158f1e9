"""Bilinear ops: linear in each argument, so that their derivatives are bilinear ops again.

The convolutions are a closed triangle: with <conv2d(x, w), g> = <x, conv_transpose2d(g, w)>
= <w, conv2d_weight(x, g)>, each of the three has the other two as its derivatives, at every order.
"""

import math
import operator

from tinygan.autograd import Tensor, as_tensors, described, op
from tinygan.backend import xp
from tinygan.kernels import conv, linear

from .composite import composite_op
from .fused import fused
from .linear import reshape, sum

# Matrices


def _product(turn_a, turn_b):
    """The op a @ b with the matrices of a, or of b, transposed first, named as in BLAS: matmul, matmul_nt, ...

    The derivatives are of the same kind, which saves two ops for each that would transpose first.
    """

    @op(
        broadcasts="batch",
        cost=lambda y, a, b: y.size * a.shape[-2 if turn_a else -1],
        name="matmul" + f"_{'nt'[turn_a]}{'nt'[turn_b]}" * (turn_a or turn_b),
    )
    def product(a, b, /):
        def d_a(g):
            return _products[turn_b, True](b, g) if turn_a else _products[False, not turn_b](g, b)

        def d_b(g):
            return _products[True, turn_a](g, a) if turn_b else _products[not turn_a, False](a, g)

        left, right = (
            x.data.swapaxes(-1, -2) if turn else x.data for x, turn in ((a, turn_a), (b, turn_b))
        )
        return linear.matmul(left, right), d_a, d_b

    return product


_products = {
    (turn_a, turn_b): _product(turn_a, turn_b)
    for turn_a in (False, True)
    for turn_b in (False, True)
}
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
    """Matrix product a (..., M, K) @ b (..., K, N) -> (..., M, N). A 1-D argument is a row or a column."""
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


def affine(x, w, bias=None):
    """x @ w + bias: x (..., M), w (M, N), bias (N,) -> (..., N)."""
    if bias is None:
        return matmul(x, w)
    if not (isinstance(x, Tensor) and isinstance(w, Tensor) and isinstance(bias, Tensor)):
        x, w, bias = as_tensors("affine", (x, w, bias))
    if x.ndim < 1 or w.ndim != 2 or x.shape[-1] != w.shape[0] or bias.shape != w.shape[1:]:
        raise ValueError(
            f"affine: shapes {x.shape}, {w.shape} and {bias.shape} do not fit (..., M), (M, N) and (N,)"
        )
    if x.ndim == 2:
        return _affine(x, w, bias)
    rows = math.prod(x.shape[:-1])
    return reshape(_affine(reshape(x, (rows, x.shape[-1])), w, bias), (*x.shape[:-1], w.shape[1]))


def _einsum_cost(y, *arrays, subscripts):
    return math.prod(_lengths(subscripts, arrays).values())


@op(cost=_einsum_cost, name="einsum")
def _einsum(*xs, subscripts):
    inputs, output = subscripts.split("->")
    inputs = inputs.split(",")
    lengths = _lengths(subscripts, xs)

    def derivative(i):
        others = [x for j, x in enumerate(xs) if j != i]
        terms = [output] + [term for j, term in enumerate(inputs) if j != i]
        alone = [
            s for s in inputs[i] if s not in "".join(terms)
        ]  # summed away: the gradient is repeated along it
        subscripts = ",".join(terms + ["".join(alone)] * bool(alone)) + "->" + inputs[i]
        shape = [lengths[s] for s in alone]

        def d_x(g):
            ones = [xp.ones(shape, g.dtype)] if alone else []
            return _einsum(g, *others, *ones, subscripts=subscripts)

        return d_x

    value = linear.einsum(subscripts, *(x.data for x in xs))
    return value, *(derivative(i) for i in range(len(xs)))


def einsum(subscripts, *operands):
    """Einstein summation, as numpy.einsum: einsum("nhwc,co->nhwo", x, w).

    Each term names every axis once; "->" may be left out. Raises ValueError for a diagonal ("ii"), an
    ellipsis, or lengths that disagree.
    """
    operands = as_tensors("einsum", operands)
    subscripts = subscripts.replace(" ", "")
    if "." in subscripts:
        raise ValueError("einsum: write out the axes that '...' stands for")
    terms = subscripts.split("->")[0].split(",")
    if "->" not in subscripts:
        letters = "".join(terms)
        subscripts += "->" + "".join(sorted(s for s in set(letters) if letters.count(s) == 1))
    if any(len(set(term)) < len(term) for term in subscripts.replace("->", ",").split(",")):
        raise ValueError(
            f"einsum: {subscripts!r} repeats an axis within a term; take a diagonal by indexing"
        )
    if [len(term) for term in terms] != [x.ndim for x in operands]:
        raise ValueError(
            f"einsum: {subscripts!r} does not fit shapes {[x.shape for x in operands]}"
        )
    _lengths(subscripts, operands)
    return _einsum(*operands, subscripts=subscripts)


def _lengths(subscripts, xs):
    """{letter: length of its axis}."""
    lengths = {}
    for term, x in zip(subscripts.split("->")[0].split(","), xs):
        for letter, n in zip(term, x.shape):
            if lengths.setdefault(letter, n) != n:
                raise ValueError(
                    f"einsum: axis {letter!r} has length {lengths[letter]} and {n}, in {subscripts!r} of "
                    + _list(xs)
                )
    return lengths


# Convolutions. With a bias they are ops of their own, because adding it later would be one more walk through memory.


def conv2d(x, w, stride=1, padding=0, groups=1, bias=None):
    """Cross-correlation of images x (N, H, W, C) with w (kh, kw, C/groups, O), plus bias (O,) -> (N, OH, OW, O).

    OH = (H + 2 padding - kh) // stride + 1. stride and padding: an int, or a pair (rows, columns).
    Output channels fall into `groups` equal runs; run i sees only the i-th run of input channels.
    """
    if bias is None:
        return _conv2d(x, w, stride, padding, groups)
    return _conv2d_bias(x, w, bias, stride, padding, groups)


def _conv2d_and_derivatives(x, w, stride, padding, groups, bias=None):
    stride, padding = _pair(stride), _pair(padding)
    _check_ndim("conv2d", x, w)
    _check_conv("conv2d", x.shape, w.shape, stride, padding, groups, x, w)
    _check_bias("conv2d", bias, w.shape[3], x, w)
    size, kernel = x.shape[1:3], w.shape[:2]
    value = conv.forward(
        x.data, w.data, stride, padding, groups, None if bias is None else bias.data
    )
    remainder = _remainder(size, kernel, value.shape[1:3], stride, padding)
    return (
        value,
        lambda g: conv_transpose2d(g, w, stride, padding, remainder, groups),
        lambda g: conv2d_weight(x, g, kernel, stride, padding, groups),
    )


@op(cost=lambda y, x, w: y.size * w[..., 0].size, name="conv2d")
def _conv2d(x, w, /, stride, padding, groups):
    return _conv2d_and_derivatives(x, w, stride, padding, groups)


@op(cost=lambda y, x, w, bias: y.size * w[..., 0].size, name="conv2d")
def _conv2d_bias(x, w, bias, /, stride, padding, groups):
    return *_conv2d_and_derivatives(x, w, stride, padding, groups, bias), lambda g: sum(
        g, (0, 1, 2)
    )


def conv_transpose2d(x, w, stride=1, padding=0, output_padding=0, groups=1, bias=None):
    """The adjoint of conv2d in its image: x (N, H, W, O), w (kh, kw, C/groups, O), bias (C,) -> (N, OH, OW, C).

    w is the weight of the conv2d that is transposed. OH = (H - 1) stride - 2 padding + kh + output_padding,
    with output_padding < stride: which of the sizes that conv2d takes to H comes back.
    """
    if bias is None:
        return _conv_transpose2d(x, w, stride, padding, output_padding, groups)
    return _conv_transpose2d_bias(x, w, bias, stride, padding, output_padding, groups)


def _conv_transpose2d_and_derivatives(x, w, stride, padding, output_padding, groups, bias=None):
    stride, padding, extra = _pair(stride), _pair(padding), _pair(output_padding)
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
    kernel = w.shape[:2]
    size = tuple(
        (n - 1) * s - 2 * p + k + e
        for n, s, p, k, e in zip(x.shape[1:3], stride, padding, kernel, extra)
    )
    if min(*x.shape[1:3], *size) < 1:
        raise ValueError(
            f"conv_transpose2d: stride {stride} and padding {padding} leave no image of {_list((x, w))}"
        )
    channels = w.shape[2] * groups
    _check_conv(
        "conv_transpose2d", (x.shape[0], *size, channels), w.shape, stride, padding, groups, x, w
    )
    _check_bias("conv_transpose2d", bias, channels, x, w)
    bias = None if bias is None else bias.data
    return (
        conv.input_gradient(x.data, w.data, size, stride, padding, groups, bias),
        lambda g: conv2d(g, w, stride, padding, groups),
        lambda g: conv2d_weight(g, x, kernel, stride, padding, groups),
    )


@op(cost=lambda y, x, w: x.size * w[..., 0].size, name="conv_transpose2d")
def _conv_transpose2d(x, w, /, stride, padding, output_padding, groups):
    return _conv_transpose2d_and_derivatives(x, w, stride, padding, output_padding, groups)


@op(cost=lambda y, x, w, bias: x.size * w[..., 0].size, name="conv_transpose2d")
def _conv_transpose2d_bias(x, w, bias, /, stride, padding, output_padding, groups):
    results = _conv_transpose2d_and_derivatives(x, w, stride, padding, output_padding, groups, bias)
    return *results, lambda g: sum(g, (0, 1, 2))


@op(cost=lambda y, x, dy: dy.size * y[..., 0].size)
def conv2d_weight(x, dy, /, kernel_size, stride=1, padding=0, groups=1):
    """The adjoint of conv2d in its weight: x (N, H, W, C), dy (N, OH, OW, O) -> (kh, kw, C/groups, O)."""
    stride, padding, kernel = _pair(stride), _pair(padding), _pair(kernel_size)
    _check_ndim("conv2d_weight", x, dy)
    size = x.shape[1:3]
    _check_conv(
        "conv2d_weight",
        x.shape,
        (*kernel, x.shape[3] // groups, dy.shape[3]),
        stride,
        padding,
        groups,
        x,
        dy,
    )
    expected = tuple(map(conv.out_size, size, kernel, stride, padding))
    if dy.shape[:3] != (x.shape[0], *expected):
        raise ValueError(
            f"conv2d_weight: dy has shape {dy.shape}; for x {x.shape} it must be "
            f"({x.shape[0]}, {expected[0]}, {expected[1]}, O)"
        )
    remainder = _remainder(size, kernel, expected, stride, padding)
    return (
        conv.weight_gradient(x.data, dy.data, kernel, stride, padding, groups),
        lambda g: conv_transpose2d(dy, g, stride, padding, remainder, groups),
        lambda g: conv2d(x, g, stride, padding, groups),
    )


def _pair(n):
    """n or (rows, columns) as a pair of ints."""
    pair = tuple(map(operator.index, n if isinstance(n, (tuple, list)) else (n, n)))
    if len(pair) != 2:
        raise ValueError(f"expected a number or a pair (rows, columns), got {n}")
    return pair


def _remainder(size, kernel, out, stride, padding):
    """How much larger the image is than the smallest one with this output: the output_padding."""
    return tuple(
        n - ((o - 1) * s - 2 * p + k) for n, k, o, s, p in zip(size, kernel, out, stride, padding)
    )


def _list(given):
    return " and ".join(map(described, given))


def _check_ndim(name, a, b):
    if a.ndim != 4 or b.ndim != 4:
        raise ValueError(
            f"{name}: takes images (N, H, W, C) and weights (kh, kw, in/groups, out), "
            f"got shapes {a.shape} and {b.shape}"
        )


def _check_bias(name, bias, channels, *given):
    if bias is not None and bias.shape != (channels,):
        raise ValueError(
            f"{name}: the bias has shape {bias.shape}, not ({channels},), one number a channel; got "
            f"{_list(given)}"
        )


def _check_conv(name, x, w, stride, padding, groups, *given):
    """x, w: the shapes of the image and the weight of the convolution that this is, or is an adjoint of."""
    if min(stride) < 1 or min(padding) < 0 or groups < 1:
        raise ValueError(
            f"{name}: stride and groups must be 1 or more and padding 0 or more, "
            f"got {stride}, {groups} and {padding}"
        )
    if min(w[:2]) < 1:
        raise ValueError(f"{name}: the kernel must be 1x1 or larger, got {_list(given)}")
    if x[3] != w[2] * groups or w[3] % groups:
        raise ValueError(
            f"{name}: {x[3]} image channels in {groups} group(s) do not fit weights {w} "
            f"(kh, kw, in/groups, out); got {_list(given)}"
        )
    if x[1] + 2 * padding[0] < w[0] or x[2] + 2 * padding[1] < w[1]:
        raise ValueError(
            f"{name}: the {w[0]}x{w[1]} kernel is larger than the {x[1]}x{x[2]} image with "
            f"padding {padding}; got {_list(given)}"
        )
