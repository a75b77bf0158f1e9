"""The op table's rows of normalisation over batches, images and pixels."""

import numpy as np

from tinygan import ops

from . import oracles
from .oracles import normalized
from .table import normal, row

IMAGES, CHANNELS, STYLES = normal(3, 2, 3, 4), normal(4), normal(3, 1, 1, 4)

row(ops.normalize, lambda x, axes: normalized(x, axes=axes), IMAGES, axes=(1, 2), keeps="a")
row(ops.normalize, lambda x, axes: normalized(x, axes=axes), IMAGES, axes=(3,), keeps="a")
row(
    ops.modulate,
    lambda x, scale, shift: x * scale + shift,
    IMAGES,
    CHANNELS,
    STYLES,
    linear=True,
    keeps="ab",
)
row(ops.batch_norm, normalized, IMAGES, keeps="a")
row(ops.batch_norm, normalized, normal(6, 4), CHANNELS, CHANNELS, note="vectors", keeps="abc")
row(ops.batch_norm, normalized, IMAGES, CHANNELS, CHANNELS, note="scale shift", keeps="abc")
row(ops.batch_norm, normalized, IMAGES, STYLES, STYLES, note="per sample", keeps="abc")
row(
    ops.batch_norm,
    normalized,
    IMAGES,
    CHANNELS,
    note="scale",
    call=lambda f, x, a: f(x, a, eps=0.1),
    keeps="ab",
)
row(ops.instance_norm, lambda x: normalized(x, axes=(1, 2)), IMAGES, keeps="a")
row(
    ops.instance_norm,
    lambda x, *style: normalized(x, *style, axes=(1, 2)),
    IMAGES,
    STYLES,
    STYLES,
    note="style",
    keeps="abc",
)
row(ops.pixel_norm, lambda x: x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-8), IMAGES)
row(ops.minibatch_stddev, oracles.minibatch_stddev, normal(6, 2, 3, 2), group_size=3)
row(ops.minibatch_stddev, oracles.minibatch_stddev, normal(4, 2, 3, 4), group_size=2, features=2)
