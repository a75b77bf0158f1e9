"""The op table: a row per op and layer, with inputs, and an independent reference of its value.

`tinygan gradcheck` prints it, and it drives the tests: values, gradients of first and second order, dtypes,
adjoints, backends, and what each op keeps in memory. An op without a row fails the test suite.
"""

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tinygan import nn, ops, oracles
from tinygan.autograd.gradcheck import GradientError, check_grads
from tinygan.backend import asarray
from tinygan.oracles import normalized, pair, pooled, scipy, zoomed


@dataclasses.dataclass(frozen=True)
class Row:
    """name: the op or layer, then what is special about this row.
    function: from Tensors to a Tensor. reference: the same from float64 NumPy arrays, by other means.
    draw: from a numpy Generator to the inputs, float64 arrays that lie away from kinks and poles.
    arguments: what to call them. linear: in each argument by itself, up to a constant.
    keeps: which arrays a graph holds on to for the derivatives: a, b, c for the arguments in order, y for
    the result. None where not stated: compositions of several ops.
    """

    name: str
    function: Callable
    reference: Callable
    draw: Callable
    arguments: list
    linear: bool
    keeps: str | None = None


ROWS = []


def row(function, reference, *draws, name=None, note=None, call=None, linear=False, keeps=None, **settings):
    """Add the row of an op. call(f, *xs): how both functions are called; by default f(*xs, **settings)."""
    note = " ".join(f"{key}={value}" for key, value in settings.items()) if note is None else note
    names = [f"input {i}" for i in range(len(draws))] if call else list(inspect.signature(function).parameters)
    call = call or (lambda f, *xs: f(*xs, **settings))
    _add(f"{name or function.__name__} {note}".strip(), lambda *xs: call(function, *xs),
         lambda *xs: call(reference, *xs), draws, names[:len(draws)], linear, keeps)


def layer(make, reference, *draws, note="", linear=False):
    """Add the row of a layer, which make() returns. Its parameters follow the inputs as further arguments."""
    parameters = {name: normal(*parameter.shape) for name, parameter in make().named_parameters()}
    _add(f"{type(make()).__name__} {note}".strip(), lambda *args: make().as_function(args[0].dtype)[0](*args),
         reference, (*draws, *parameters.values()), [*("x", "condition")[:len(draws)], *parameters], linear)


def _add(name, function, reference, draws, arguments, linear, keeps=None):
    function.__name__ = name  # for error messages
    ROWS.append(Row(name, function, reference, lambda rng: [d(rng) for d in draws], arguments, linear, keeps))


# Inputs


def normal(*shape):
    return lambda rng: rng.standard_normal(shape)


def positive(*shape):
    return lambda rng: rng.uniform(0.5, 2.0, shape)


def distinct(*shape, offset=0.0):
    """Multiples of 0.2, each once, moved off 0 by 0.1 + offset: nothing ties, nothing lies near a kink."""
    n = math.prod(shape)
    return lambda rng: (0.2 * (rng.permutation(n) - n // 2) + 0.1 + offset).reshape(shape)


# Elementwise ops; where there are two arguments, they broadcast

MASK = np.arange(12).reshape(3, 4) % 3 == 0

row(ops.add, np.add, normal(3, 4), normal(4), linear=True, keeps="")
row(ops.sub, np.subtract, normal(3, 1), normal(4), linear=True, keeps="")
row(ops.mul, np.multiply, normal(3, 4), normal(3, 1), linear=True, keeps="ab")
row(ops.div, np.divide, normal(2, 3, 4), positive(3, 1), keeps="by")
row(ops.neg, np.negative, normal(3, 4), linear=True, keeps="")
row(ops.pow, lambda a, b: np.exp(b * np.log(a)), positive(3, 4), normal(4), keeps="aby")
row(ops.pow, lambda x, n: x * x * x, normal(3, 4), note="whole exponent", call=lambda f, x: f(x, 3), keeps="a")
row(ops.exp, np.exp, normal(3, 4), keeps="y")
row(ops.log, np.log, positive(3, 4), keeps="a")
row(ops.sqrt, np.sqrt, positive(3, 4), keeps="y")
row(ops.abs, np.abs, distinct(3, 4), keeps="a")
row(ops.square, np.square, normal(3, 4), keeps="a")
row(ops.maximum, np.maximum, distinct(3, 4), distinct(4, offset=0.05), keeps="ab")
row(ops.minimum, np.minimum, distinct(3, 4), distinct(4, offset=0.05))
row(ops.clip, np.clip, distinct(3, 4), note="low high", call=lambda f, x: f(x, -0.4, 0.6), keeps="a")
row(ops.clip, np.clip, distinct(3, 4), note="high", call=lambda f, x: f(x, None, 0.6), keeps="a")
row(ops.where, np.where, normal(3, 4), normal(4), call=lambda f, a, b: f(MASK, a, b), linear=True, keeps="")
row(ops.tanh, np.tanh, normal(3, 4), keeps="y")
row(ops.sigmoid, scipy("special.expit"), normal(3, 4), keeps="y")
row(ops.softplus, lambda x: np.logaddexp(0, x), normal(3, 4), keeps="a")
row(ops.relu, lambda x: np.maximum(x, 0), distinct(3, 4), keeps="y")
row(ops.leaky_relu, lambda x, slope: np.where(x > 0, x, slope * x), distinct(3, 4), slope=0.1, keeps="y")
row(ops.leaky_relu, lambda x, slope, gain: gain * np.where(x > 0, x, slope * x), distinct(3, 4), slope=0.3, gain=1.5,
    keeps="y")
row(lambda x: ops.leaky_gate(x, asarray(MASK - 0.5, x.dtype), 0.2, 1.5), lambda x: np.where(MASK, 1.5, 0.3) * x,
    normal(3, 4), name="leaky_gate", linear=True, keeps="")
row(ops.bias_act, lambda x, b, slope, gain: gain * np.where(x + b > 0, x + b, slope * (x + b)), distinct(2, 3, 4),
    distinct(4, offset=0.05), slope=0.2, gain=1.5, keeps="aby")
row(ops.bias_act, lambda x: np.where(x > 0, x, 0.2 * x), distinct(2, 3, 4), note="no bias", keeps="ay")
row(ops.silu, lambda x: x * scipy("special.expit")(x), normal(3, 4))
row(lambda x: ops.gate(x, asarray(MASK, x.dtype)), lambda x: MASK * x, normal(3, 4), name="gate", linear=True, keeps="")

# Reductions

for _settings in ({}, {"axis": 1}, {"axis": (0, 2), "keepdims": True}, {"axis": -1, "keepdims": True}):
    row(ops.sum, np.sum, normal(2, 3, 4), linear=True, keeps="", **_settings)
    row(ops.mean, np.mean, normal(2, 3, 4), linear=True, keeps="", **_settings)
    row(ops.var, np.var, normal(2, 3, 4), **_settings)
    row(ops.max, np.max, distinct(2, 3, 4), keeps="ay", **_settings)
    row(ops.min, np.min, distinct(2, 3, 4), **_settings)
    row(ops.logsumexp, scipy("special.logsumexp"), normal(2, 3, 4), keeps="ay", **_settings)
    row(ops.norm, np.linalg.norm, normal(2, 3, 4), keeps="ay", **_settings)
for _axis in (-1, 1):
    row(ops.softmax, scipy("special.softmax"), normal(2, 3, 4), axis=_axis, keeps="y")
    row(ops.log_softmax, scipy("special.log_softmax"), normal(2, 3, 4), axis=_axis, keeps="y")

# Shape and indexing

row(ops.reshape, lambda x, shape: x.reshape(shape), normal(2, 3, 4), shape=(4, -1), linear=True, keeps="")
row(ops.transpose, np.transpose, normal(2, 3, 4), linear=True, keeps="")
row(ops.transpose, np.transpose, normal(2, 3, 4), axes=(1, -1, 0), linear=True, keeps="")
row(ops.broadcast_to, np.broadcast_to, normal(3, 1), shape=(2, 3, 4), linear=True, keeps="")
row(ops.flip, np.flip, normal(2, 3), linear=True, keeps="")
row(ops.flip, np.flip, normal(2, 3, 4), axis=(0, 2), linear=True, keeps="")
row(ops.mean_over_shares, lambda x: x, normal(3, 4), linear=True, keeps="")
row(ops.roll, np.roll, normal(3, 4), shift=5, linear=True, keeps="")
row(ops.roll, np.roll, normal(2, 3, 4), shift=(1, -2), axis=(0, 2), linear=True, keeps="")
row(ops.pad, lambda x, widths: np.pad(x, widths), normal(2, 3), widths=((1, 0), (2, 3)), linear=True, keeps="")
for _note, _index in {"integer": 1, "slices": (slice(None, None, -1), slice(1, 5, 2)), "new axis": (..., None, -1),
                      "rows": np.array([2, 0, 2, 2]), "pairs": (np.array([0, 2, 0]), np.array([1, 1, 1])),
                      "list": (slice(None), [3, 0, 3]), "mixed": (np.array([[0], [2]]), slice(1, 3)),
                      "mask": np.arange(15).reshape(3, 5) % 4 == 1}.items():
    row(ops.getitem, lambda x, index: x[index], normal(3, 5), note=_note, index=_index, linear=True, keeps="")
row(ops.embedding, lambda table, indices: np.stack([[table[i] for i in line] for line in indices]), normal(5, 3),
    note="", indices=np.array([[1, 4, 1], [0, 1, 3]]), linear=True, keeps="")
row(ops.concatenate, np.concatenate, normal(2, 1), normal(2, 3), normal(2, 2), note="axis=1",
    call=lambda f, *xs: f(xs, axis=1), linear=True, keeps="")
row(ops.stack, np.stack, normal(2, 3), normal(2, 3), normal(2, 3), note="axis=-1",
    call=lambda f, *xs: f(xs, axis=-1), linear=True, keeps="")

# Products

for _a, _b, _note in (((3, 4), (4, 2), ""), ((5, 1, 3, 4), (2, 4, 2), "batches"), ((4,), (4,), "vectors"),
                      ((2, 3, 4), (4,), "by a vector"), ((4,), (2, 4, 3), "vector by batch")):
    row(ops.matmul, np.matmul, normal(*_a), normal(*_b), note=_note, linear=True, keeps="ab")
row(ops.affine, lambda x, w, b: x @ w + b, normal(3, 4), normal(4, 2), normal(2), linear=True, keeps="abc")
row(ops.affine, lambda x, w, b: x @ w + b, normal(2, 3, 4), normal(4, 2), normal(2), note="batches", linear=True)
for _form, _reference, *_shapes in (
        ("nhwc,co->nhwo", lambda x, w: np.tensordot(x, w, 1), (2, 3, 2, 4), (4, 5)),
        ("nic,njc->nij", lambda a, b: a @ b.swapaxes(1, 2), (2, 3, 4), (2, 5, 4)),
        ("ij,jk,kl->il", lambda a, b, c: a @ b @ c, (2, 3), (3, 4), (4, 2)),
        ("i,j", np.outer, (3,), (4,)),
        ("ij,kj->k", lambda a, b: b @ a.sum(0), (2, 3), (4, 3)),
        ("ijk->kj", lambda x: x.sum(0).T, (2, 3, 4))):
    row(lambda *xs, form=_form: ops.einsum(form, *xs), _reference, *(normal(*shape) for shape in _shapes),
        name="einsum", note=_form, call=lambda f, *xs: f(*xs), linear=True,
        keeps="abc"[:len(_shapes)] if len(_shapes) > 1 else "")

# Convolutions

for _note, _size, _in, _kernel, _out, _settings in (
        ("3x3", (5, 6), 2, (3, 3), 3, {}),
        ("4x4 stride=2 padding=1", (6, 8), 5, (4, 4), 3, {"stride": 2, "padding": 1}),
        ("3x3 stride=2 of 6x5", (6, 5), 5, (3, 3), 2, {"stride": 2}),
        ("2x2 stride=3, with a remainder", (5, 7), 6, (2, 2), 2, {"stride": 3}),
        ("2x3 stride=(2, 1) padding=(0, 2)", (6, 5), 2, (2, 3), 2, {"stride": (2, 1), "padding": (0, 2)}),
        ("1x1", (3, 4), 3, (1, 1), 2, {}),
        ("whole image", (4, 3), 2, (4, 3), 3, {}),
        ("3x3 groups=2", (5, 5), 6, (3, 3), 4, {"padding": 1, "groups": 2}),
        ("3x3 stride=2, depthwise", (5, 6), 3, (3, 3), 3, {"stride": 2, "padding": 1, "groups": 3})):
    _stride, _padding = pair(_settings.get("stride", 1)), pair(_settings.get("padding", 0))
    _spare = [n + 2 * p - k for n, p, k in zip(_size, _padding, _kernel)]
    _image, _filters = normal(2, *_size, _in), normal(*_kernel, _in // _settings.get("groups", 1), _out)
    _result = normal(2, *(n // s + 1 for n, s in zip(_spare, _stride)), _out)
    row(ops.conv2d, oracles.conv2d, _image, _filters, note=_note, linear=True, keeps="ab", **_settings)
    row(ops.conv_transpose2d, oracles.conv_transpose2d, _result, _filters, note=_note, linear=True, keeps="ab",
        output_padding=tuple(n % s for n, s in zip(_spare, _stride)), **_settings)
    row(lambda *xs, **s: ops.conv2d(*xs[:2], bias=xs[2], **s),
        lambda *xs, **s: oracles.conv2d(*xs[:2], **s) + xs[2], _image, _filters, normal(_out), name="conv2d",
        note=_note + ", bias", linear=True, keeps="ab", call=lambda f, *xs, s=_settings: f(*xs, **s))
    _settings_back = {"output_padding": tuple(n % s for n, s in zip(_spare, _stride)), **_settings}
    row(lambda *xs, **s: ops.conv_transpose2d(*xs[:2], bias=xs[2], **s),
        lambda *xs, **s: oracles.conv_transpose2d(*xs[:2], **s) + xs[2], _result, _filters, normal(_in),
        name="conv_transpose2d", note=_note + ", bias", linear=True, keeps="ab",
        call=lambda f, *xs, s=_settings_back: f(*xs, **s))
    row(ops.conv2d_weight, oracles.conv2d_weight, _image, _result, note=_note, linear=True, keeps="ab",
        kernel_size=_kernel, **_settings)

# Images

TAPS, FILTER = (0.5, 3.0, -1.0, 0.25), ((1.0, 2.0, 0.5), (-0.5, 1.5, 3.0))
THETA = np.array([[[0.8, 0.3, 0.1], [-0.4, 1.1, -0.2]], [[1.3, 0.0, 0.55], [0.2, -0.9, 0.0]]])

row(ops.avg_pool2d, pooled(np.mean), normal(2, 4, 6, 2), linear=True, keeps="")
row(ops.avg_pool2d, pooled(np.mean), normal(2, 5, 6, 2), kernel_size=3, stride=(1, 2), linear=True, keeps="")
row(ops.max_pool2d, pooled(np.max), distinct(2, 4, 6, 2), keeps="ay")
row(ops.max_pool2d, pooled(np.max), distinct(2, 5, 7, 2), note="with a remainder", call=lambda f, x: f(x), keeps="ay")
row(ops.max_pool2d, pooled(np.max), distinct(2, 5, 6, 1), kernel_size=(3, 2), stride=1)
for _factor in (2, 3):
    row(ops.upsample_nearest, zoomed(0), normal(2, 3, 4, 2), factor=_factor, linear=True, keeps="")
    row(ops.upsample_bilinear, zoomed(1), normal(2, 3, 4, 2), factor=_factor, linear=True, keeps="")
for _note, _filter, _settings in (
        ("blur", FILTER, {}), ("up", FILTER, {"up": 2, "padding": (2, 1, 0, 3)}),
        ("down", FILTER, {"down": 2, "padding": 1}), ("separable", TAPS, {"padding": 2}),
        ("up and down", TAPS, {"up": 3, "down": 2, "padding": (3, 4, 5, 1)}),
        ("crop", FILTER, {"up": (2, 3), "padding": (-3, 2, 4, -4)}), ("flip", FILTER, {"flip_filter": True}),
        ("separable flip", TAPS, {"padding": 1, "flip_filter": True}), ("gain", FILTER, {"gain": -2.0}),
        ("separable gain", TAPS, {"padding": 3, "gain": -2.0})):
    row(ops.upfirdn2d, oracles.upfirdn2d, normal(2, 4, 5, 2), note=_note, f=_filter, linear=True, keeps="",
        **_settings)
row(ops.upfirdn2d, oracles.upfirdn2d_by_axis, normal(1, 4, 5, 2), note="as scipy.signal.upfirdn", f=TAPS, up=3,
    down=2, padding=(3, 1, 3, 1), linear=True, keeps="")
row(ops.translate, oracles.translate, normal(3, 5, 4, 2), note="", shifts=np.array([[1, -2], [0, 0], [-5, 3]]), linear=True, keeps="")
row(ops.affine_warp, oracles.affine_warp, normal(2, 5, 4, 2), note="", theta=THETA, linear=True, keeps="")
row(ops.affine_warp, oracles.affine_warp, normal(2, 5, 4, 1), note="size", theta=THETA, size=(3, 7), linear=True,
    keeps="")

# Normalisation

IMAGES, CHANNELS, STYLES = normal(3, 2, 3, 4), normal(4), normal(3, 1, 1, 4)

row(ops.normalize, lambda x, axes: normalized(x, axes=axes), IMAGES, axes=(1, 2), keeps="a")
row(ops.normalize, lambda x, axes: normalized(x, axes=axes), IMAGES, axes=(3,), keeps="a")
row(ops.modulate, lambda x, scale, shift: x * scale + shift, IMAGES, CHANNELS, STYLES, linear=True, keeps="ab")
row(ops.batch_norm, normalized, IMAGES, keeps="a")
row(ops.batch_norm, normalized, normal(6, 4), CHANNELS, CHANNELS, note="vectors", keeps="abc")
row(ops.batch_norm, normalized, IMAGES, CHANNELS, CHANNELS, note="gain bias", keeps="abc")
row(ops.batch_norm, normalized, IMAGES, STYLES, STYLES, note="per sample", keeps="abc")
row(ops.batch_norm, normalized, IMAGES, CHANNELS, note="gain", call=lambda f, x, a: f(x, a, eps=0.1), keeps="ab")
row(ops.instance_norm, lambda x: normalized(x, axes=(1, 2)), IMAGES, keeps="a")
row(ops.instance_norm, lambda x, *style: normalized(x, *style, axes=(1, 2)), IMAGES, STYLES, STYLES, note="style",
    keeps="abc")
row(ops.pixel_norm, lambda x: x / np.sqrt((x ** 2).mean(-1, keepdims=True) + 1e-8), IMAGES)
row(ops.minibatch_stddev, oracles.minibatch_stddev, normal(6, 2, 3, 2), group_size=3)
row(ops.minibatch_stddev, oracles.minibatch_stddev, normal(4, 2, 3, 4), group_size=2, features=2)

# Convolutions of StyleGAN2

row(ops.upsample2d, lambda x: oracles.upfirdn2d(x, oracles.FIR, up=2, padding=(2, 1, 2, 1), gain=4), normal(2, 4, 3, 2),
    linear=True)
row(ops.downsample2d, lambda x: oracles.upfirdn2d(x, oracles.FIR, down=2, padding=1), normal(2, 4, 6, 2), linear=True)
for _size in (1, 3):
    row(ops.conv2d_up, oracles.conv2d_up, normal(2, 4, 3, 2), normal(_size, _size, 2, 3), note=f"{_size}x{_size}",
        linear=True)
    row(ops.conv2d_down, oracles.conv2d_down, normal(2, 4, 6, 2), normal(_size, _size, 2, 3), note=f"{_size}x{_size}",
        linear=True)
for _settings in ({}, {"up": True}, {"demodulate": False}):
    row(ops.modulated_conv2d, oracles.modulated_conv2d, normal(2, 4, 4, 3), normal(3, 3, 3, 2), normal(2, 3),
        **_settings)

# Losses

row(ops.binary_cross_entropy_with_logits, oracles.binary_cross_entropy, normal(3, 4), positive(3, 4),
    note="Tensor target", keeps="ab")
row(ops.binary_cross_entropy_with_logits, oracles.binary_cross_entropy, normal(3, 4), note="number",
    call=lambda f, x: f(x, 0.9), keeps="a")
row(ops.cross_entropy, oracles.cross_entropy, normal(3, 4), note="", labels=np.array([3, 0, 3]))
row(ops.mse_loss, lambda a, b: np.mean((a - b) ** 2), normal(3, 4), normal(3, 4))
row(ops.l1_loss, lambda a, b: np.mean(np.abs(a - b)), distinct(3, 4), distinct(3, 4, offset=0.05))

# Layers


MEAN, VAR = [0.5, -1.0, 0.0, 2.0], [4.0, 1.0, 0.5, 9.0]
LABELS = np.array([1, 0, 1])


def spectral(layer):
    """In evaluation u and v stand still, as they do in the gradient."""
    return nn.SpectralNorm(layer, rng=np.random.default_rng(7)).eval()


def sphere(z):
    return z / np.sqrt((z ** 2).mean(1, keepdims=True) + 1e-8)


def leaky(x):
    return np.where(x > 0, x, 0.2 * x)


def _batch_norm_with_history():
    norm = nn.BatchNorm(4).eval()
    norm.running_mean, norm.running_var = asarray(MEAN, "float32"), asarray(VAR, "float32")
    return norm


layer(lambda: nn.Linear(4, 3), lambda x, w, b: x @ w + b, normal(2, 4), linear=True)
layer(lambda: nn.Linear(4, 3, bias=False), lambda x, w: x @ w, normal(2, 5, 4), note="no bias", linear=True)
layer(lambda: nn.Conv2d(2, 3, 4, 2, 1), lambda x, w, b: oracles.conv2d(x, w, 2, 1) + b, normal(2, 6, 6, 2),
      linear=True)
layer(lambda: nn.Conv2d(2, 4, (1, 3), groups=2, bias=False), lambda x, w: oracles.conv2d(x, w, groups=2),
      normal(2, 2, 4, 2), note="groups", linear=True)
layer(lambda: nn.ConvTranspose2d(2, 3, 4, 2, 1), lambda x, w, b: oracles.conv_transpose2d(x, w, 2, 1) + b,
      normal(2, 3, 3, 2), linear=True)
layer(lambda: nn.ConvTranspose2d(4, 2, 3, 2, output_padding=1, groups=2, bias=False),
      lambda x, w: oracles.conv_transpose2d(x, w, 2, 0, 1, 2), normal(2, 2, 3, 4), note="groups", linear=True)
layer(lambda: nn.BatchNorm(4), normalized, IMAGES, note="train")
layer(lambda: nn.BatchNorm(4, eps=0.1, affine=False), lambda x: normalized(x, eps=0.1), normal(5, 4), note="plain")
layer(_batch_norm_with_history, lambda x, a, b: (x - MEAN) / np.sqrt(np.add(VAR, 1e-5)) * a + b, IMAGES,
      note="eval", linear=True)
layer(lambda: nn.ConditionalBatchNorm(4, nn.Linear(2, 4, bias=False), nn.Linear(2, 4, bias=False)),
      lambda x, c, gain, bias: normalized(x, 1 + (c @ gain)[:, None, None], (c @ bias)[:, None, None]), IMAGES,
      normal(3, 2))
row(lambda x, gain, bias: nn.ConditionalBatchNorm.of_classes(4, 2).as_function(x.dtype)[0](x, LABELS, gain, bias),
    lambda x, gain, bias: normalized(x, 1 + gain[LABELS][:, None, None], bias[LABELS][:, None, None]), IMAGES,
    normal(2, 4), normal(2, 4), name="ConditionalBatchNorm", note="classes")
layer(lambda: nn.PixelNorm(0.1), lambda x: x / np.sqrt((x ** 2).mean(-1, keepdims=True) + 0.1), normal(3, 4))
layer(lambda: nn.MinibatchStddev(2), lambda x: oracles.minibatch_stddev(x, 2), normal(4, 2, 3, 2))
layer(lambda: nn.AvgPool2d(2), lambda x: x.reshape(2, 2, 2, 3, 2, 3).mean((2, 4)), normal(2, 4, 6, 3), linear=True)
layer(nn.Blur, lambda x: oracles.upfirdn2d(x, np.outer([1, 2, 1], [1, 2, 1]) / 16, padding=1),
      normal(2, 4, 5, 3), linear=True)
layer(lambda: nn.Mapping(3, 2, 1, rate=0.5, rng=np.random.default_rng(0)),
      lambda z, w, b: leaky(0.5 * (sphere(z) @ w * (2 / 3) ** 0.5 + b)), normal(2, 3))
layer(lambda: nn.Mapping(3, 2, 1, rate=0.5, apart=True, rng=np.random.default_rng(0)),
      lambda z, w, b: 2 ** 0.5 * leaky(0.5 * (sphere(z) @ w / 3 ** 0.5 + b)), normal(2, 3), note="apart")
layer(lambda: nn.Noise(3, 4, rng=np.random.default_rng(7)).eval(),
      lambda x, strength: x + strength * np.random.default_rng(7).standard_normal((4, 4), np.float32)[..., None],
      normal(2, 4, 4, 3))
layer(lambda: nn.ResampledConv2d(2, 3, 3, down=True, rng=np.random.default_rng(0)), oracles.conv2d_down,
      normal(2, 4, 6, 2), linear=True)
layer(lambda: nn.ModulatedConv2d(2, 3, 3, rng=np.random.default_rng(0)),
      lambda x, style, w: oracles.modulated_conv2d(x, w, style), normal(2, 4, 4, 2), normal(2, 2))
layer(lambda: nn.Maxout(4, 3, 2), lambda x, w, b: (x @ w + b).reshape(-1, 3, 2).max(2), normal(2, 4))
layer(lambda: nn.Dropout(0.5, rng=np.random.default_rng(7)),
      lambda x: 2 * x * (np.random.default_rng(7).random(x.shape, np.float32) > 0.5), normal(3, 4), linear=True)
layer(nn.Flatten, lambda x: x.reshape(len(x), -1), normal(2, 3, 4), linear=True)
layer(lambda: nn.Reshape(3, 2), lambda x: x.reshape(-1, 3, 2), normal(2, 6), linear=True)
layer(lambda: nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)),
      lambda x, w, b, w2, b2: np.tanh(x @ w + b) @ w2 + b2, normal(2, 4))
row(lambda weight: nn.Embedding(5, 3).as_function(weight.dtype)[0](asarray([2, 0, 2]), weight),
    lambda weight: weight[[2, 0, 2]], normal(5, 3), name="Embedding", linear=True)
layer(lambda: nn.Embedding(4, 3), lambda mixtures, weight: mixtures @ weight, normal(2, 4), note="mixtures")
layer(lambda: spectral(nn.Linear(4, 3)), lambda x, w, b: x @ w / oracles.sigma(w, 7) + b, normal(2, 4))
layer(lambda: spectral(nn.Conv2d(2, 3, 3)), lambda x, w, b: oracles.conv2d(x, w / oracles.sigma(w, 7)) + b,
      normal(2, 4, 4, 2), note="Conv2d")
layer(lambda: spectral(nn.ConvTranspose2d(2, 3, 3, bias=False)),
      lambda x, w: oracles.conv_transpose2d(x, w / oracles.sigma(w.swapaxes(2, 3), 7)), normal(2, 3, 3, 2),
      note="ConvTranspose2d")
row(lambda w: spectral(nn.Embedding(5, 3)).as_function(w.dtype)[0](LABELS, w),
    lambda w: (w / oracles.sigma(w.T, 7))[LABELS], normal(5, 3), name="SpectralNorm", note="Embedding")
layer(lambda: nn.Equalized(nn.Linear(8, 3), rng=np.random.default_rng(0)), lambda x, w, b: x @ w / 2 + b,
      normal(2, 8), linear=True)
layer(lambda: nn.Equalized(nn.ConvTranspose2d(2, 3, 4, 2, 1, bias=False), 1.0, rng=np.random.default_rng(0)),
      lambda x, w: oracles.conv_transpose2d(x, w, 2, 1) / 8 ** 0.5, normal(2, 3, 3, 2), note="ConvTranspose2d",
      linear=True)
layer(lambda: nn.SelfAttention(8), oracles.self_attention, normal(2, 2, 4, 8))
layer(lambda: nn.UpBlock(2, 3, norm=nn.BatchNorm, conv=functools.partial(nn.Conv2d, bias=False)), oracles.up_block,
      normal(2, 2, 3, 2))
layer(lambda: nn.DownBlock(2, 3), oracles.down_block, normal(2, 4, 4, 2))
layer(lambda: nn.DownBlock(3, 3, downsample=False, relu_shortcut=True),
      lambda x, *w: oracles.down_block(np.maximum(x, 0), *w, pool=lambda x: x), normal(2, 3, 3, 3), note="same size")
layer(lambda: nn.DownBlock(2, 3, first=True), lambda x, *w: oracles.down_block(x, *w, first=True), normal(2, 4, 4, 2),
      note="first")
layer(lambda: nn.LeakyReLU(0.3), lambda x: np.where(x > 0, x, 0.3 * x), distinct(3, 4))
layer(nn.ReLU, lambda x: np.maximum(x, 0), distinct(3, 4))
layer(nn.Tanh, np.tanh, normal(3, 4))
layer(nn.Sigmoid, scipy("special.expit"), normal(3, 4))
layer(nn.SiLU, lambda x: x * scipy("special.expit")(x), normal(3, 4))
layer(nn.Softplus, lambda x: np.logaddexp(0, x), normal(3, 4))


# The check


class Result(NamedTuple):
    """A line of `tinygan gradcheck`: the largest relative errors, NaN where a check failed or did not run."""

    name: str
    order1: float
    order2: float
    passed: bool
    message: str


def run_gradchecks(rows=None, seed=0):
    """Check the gradients of every row: an iterator of Results. message is that of the failure, if any."""
    for case in ROWS if rows is None else rows:
        errors, message = [], ""
        try:
            errors = check_grads(case.function, case.draw(np.random.default_rng(seed)), names=case.arguments)
        except GradientError as failure:
            errors, message = failure.report, str(failure)
        except Exception as failure:  # the engine refuses a gradient of the wrong shape, for one
            message = f"{case.name}: {type(failure).__name__}: {failure}"
        yield Result(case.name, *[*errors, math.nan, math.nan][:2], not message, message)
