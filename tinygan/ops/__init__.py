"""Differentiable ops: functions from Tensors to Tensors, with derivatives of every order.

There are three families: elementwise ops (f and f'), linear ops (a map and its adjoint), and
bilinear ops (whose derivatives are bilinear again). The other files compose these, some with fused
kernels. sum, abs, pow, max and min are ops in every file that defines or imports them, and Python's
elsewhere.
"""

from typing import TYPE_CHECKING

from tinygan.autograd import habits

from . import methods  # noqa: F401 (attaches the operators and methods of Tensor)
from .bilinear import affine, conv2d, conv2d_weight_gradient, conv_transpose2d, einsum, matmul
from .elementwise import (
    abs,
    add,
    bias_act,
    clip,
    cos,
    div,
    exp,
    gelu,
    leaky_relu,
    leaky_relu_gradient,
    log,
    maximum,
    minimum,
    mul,
    mul_constant,
    neg,
    normal_cdf,
    pow,
    relu,
    sech_squared,
    sigmoid,
    silu,
    sin,
    softplus,
    softplus_of_difference,
    sqrt,
    square,
    sub,
    tanh,
    where,
)
from .linear import (
    broadcast_to,
    concatenate,
    cumsum,
    embedding,
    flatten,
    flip,
    getitem,
    mean,
    mean_over_shares,
    pad,
    reshape,
    roll,
    squeeze,
    stack,
    sum,
    swapaxes,
    transpose,
)
from .losses import binary_cross_entropy_with_logits, cross_entropy, l1_loss, mse_loss
from .normalize import batch_norm, instance_norm, minibatch_stddev, modulate, normalize, pixel_norm
from .reduce import argmax, argmin, log_softmax, logsumexp, max, min, norm, prod, softmax, std, var
from .resample import (
    affine_warp,
    avg_pool2d,
    max_pool2d,
    translate,
    upfirdn2d,
    upsample_bilinear,
    upsample_nearest,
)
from .styled import conv2d_down, conv2d_up, downsample2d, modulated_conv2d, upsample2d

# fmt: off
__all__ = [
    "abs", "add", "affine", "affine_warp", "argmax", "argmin", "avg_pool2d", "batch_norm",
    "bias_act", "binary_cross_entropy_with_logits", "broadcast_to", "clip", "concatenate", "conv2d",
    "conv2d_down", "conv2d_up", "conv2d_weight_gradient", "conv_transpose2d", "cos",
    "cross_entropy", "cumsum", "div", "downsample2d", "einsum", "embedding", "exp", "flatten",
    "flip", "gelu", "getitem", "instance_norm", "l1_loss", "leaky_relu", "leaky_relu_gradient",
    "log", "log_softmax", "logsumexp", "matmul", "max", "max_pool2d", "maximum", "mean",
    "mean_over_shares", "min", "minibatch_stddev", "minimum", "modulate", "modulated_conv2d",
    "mse_loss", "mul", "mul_constant", "neg", "norm", "normal_cdf", "normalize", "pad",
    "pixel_norm", "pow", "prod", "relu", "reshape", "roll", "sech_squared", "sigmoid", "silu",
    "sin", "softmax", "softplus", "softplus_of_difference", "sqrt", "square", "squeeze", "stack",
    "std", "sub", "sum", "swapaxes", "tanh", "translate", "transpose", "upfirdn2d", "upsample2d",
    "upsample_bilinear", "upsample_nearest", "var", "where",
]
# fmt: on

if not TYPE_CHECKING:  # a __getattr__ would hide mistyped names from type checkers
    __getattr__ = habits.of_package(__name__, habits.OPS)
