"""Normalisation layers. Most normalise over some axes and then scale and shift by parameters (see
ops/normalize.py)."""

import numpy as np

from tinygan import batch, ops
from tinygan.autograd import Parameter, Tensor, TensorLike, as_tensors, described, profiled
from tinygan.backend import xp
from tinygan.kernels import normalize as normalize_kernels
from tinygan.kernels.linear import mean_over

from . import init as initial
from .layers import Embedding
from .module import Module


class BatchNorm(Module):
    """Normalise each channel of x, (N, H, W, C) or (N, C), over the batch; then return
    gain * x + bias, with gain (C,) and bias (C,) (Ioffe and Szegedy 2015).

    Training uses the mean and variance of the batch, and updates running averages of them:
    running = (1 - momentum) running + momentum batch. Evaluation uses the running averages.

    unbiased: the running average is that of the variance with divisor n - 1, as in PyTorch, not n.
    Normalisation itself always uses n. affine: False leaves out gain and bias.
    """

    buffer_names = ("running_mean", "running_var")

    def __init__(
        self,
        channels: int,
        momentum: float = 0.1,
        eps: float = 1e-5,
        unbiased: bool = True,
        affine: bool = True,
        *,
        rng: np.random.Generator | None = None,
        init: initial.Init = initial.ones,
    ) -> None:
        self.momentum, self.eps, self.unbiased = momentum, eps, unbiased
        self.gain = Parameter(init(rng, (channels,))) if affine else None
        self.bias = Parameter(xp.zeros(channels, "float32")) if affine else None
        self.running_mean = xp.zeros(channels, "float32")
        self.running_var = xp.ones(channels, "float32")

    def forward(self, x):
        return self.normalize(x, self.gain, self.bias)

    def normalize(self, x: TensorLike, gain: TensorLike | None, bias: TensorLike | None) -> Tensor:
        """Return gain * (x - mean) / sqrt(var + eps) + bias. In training, update the running
        averages."""
        (x,) = as_tensors("BatchNorm", (x,))
        if x.ndim < 2 or x.shape[-1:] != self.running_mean.shape:
            raise self.argument_error(
                f"takes (N, ..., {len(self.running_mean)}), got {described(x)}"
            )
        if not self.training:
            scale = (self.running_var + self.running_var.dtype.type(self.eps)) ** -0.5
            return ops.modulate((x - self.running_mean) * scale, gain, bias)
        n = x.size // x.shape[-1]
        if n < 2:
            raise self.argument_error(
                "training needs more than one value per channel; "
                f"got a batch of {len(x)}, {described(x)}"
            )
        if x.dtype != self.running_mean.dtype:  # the running averages would change their dtype
            raise self.argument_error(
                f"takes {self.running_mean.dtype}, got {described(x)}; "
                "convert the module or x with astype()"
            )
        if batch.shares() > 1:
            return self.normalize_over_shares(x, gain, bias)
        mean, rest, var = statistics = profiled(
            "moments", lambda: normalize_kernels.moments(x.data, tuple(range(x.ndim - 1)))
        )
        self._update_averages(mean + rest, var, n)
        return ops.batch_norm(x, gain, bias, self.eps, statistics)

    def normalize_over_shares(
        self, x: Tensor, gain: TensorLike | None, bias: TensorLike | None
    ) -> Tensor:
        """Do what `normalize` does in training, where x is one rank's share of the batch: with the
        mean and variance of the whole batch."""
        axes, n = tuple(range(x.ndim - 1)), batch.shares() * (x.size // x.shape[-1])
        mean = ops.mean_over_shares(ops.mean(x, axes, keepdims=True))
        centred = x - mean
        # What the rounding of the mean lost. Its exact value is 0, so it has no derivative.
        rest = batch.mean(mean_over(centred.data, axes))
        centred = centred - rest
        var = ops.mean_over_shares(ops.mean(ops.square(centred), axes, keepdims=True))
        self._update_averages(mean.data + rest, var.data, n)
        return ops.modulate(centred * (var + self.eps) ** -0.5, gain, bias)

    def _update_averages(self, mean, var, n):
        var = var * (n / (n - 1)) if self.unbiased else var
        average = lambda old, new: (
            (1 - self.momentum) * old + self.momentum * new.reshape(old.shape)
        )
        self.running_mean = average(self.running_mean, mean)
        self.running_var = average(self.running_var, var)


class PixelNorm(Module):
    """x / sqrt(mean of x^2 over channels + eps): put the features of each pixel, or each latent, on
    a sphere (Karras et al. 2018)."""

    def __init__(self, eps: float = 1e-8) -> None:
        self.eps = eps

    def forward(self, x):
        return ops.pixel_norm(x, self.eps)


class MinibatchStddev(Module):
    """Add a channel that measures how much the images of a group differ: see
    `ops.minibatch_stddev`."""

    def __init__(self, group_size: int = 4) -> None:
        self.group_size = group_size

    def forward(self, x):
        return ops.minibatch_stddev(x, self.group_size)


class ConditionalBatchNorm(BatchNorm):
    """Batch-norm with a scale and a shift that depend on a condition, which differs from image to
    image (de Vries et al. 2017).

    gain, bias: Modules here, not Parameters: functions from the condition to (N, channels). The
    scale is 1 + gain(condition), so gain(condition) is the gain of BatchNorm minus 1. The shift is
    bias(condition). Embeddings make them depend on the class (`of_classes`; Miyato and Koyama
    2018); linear layers make them depend on an embedding of the class and a part of z (Brock et al.
    2019, BigGAN).
    """

    conditional = True

    def __init__(
        self,
        channels: int,
        gain: Module,
        bias: Module,
        momentum: float = 0.1,
        eps: float = 1e-5,
        unbiased: bool = True,
    ) -> None:
        super().__init__(channels, momentum, eps, unbiased, affine=False)
        self.gain, self.bias = gain, bias

    @classmethod
    def of_classes(cls, channels: int, classes: int, **settings) -> "ConditionalBatchNorm":
        """Return a layer whose condition is the labels, integers (N,). Every class starts with
        scale 1 and shift 0. settings: momentum, eps, unbiased."""
        gain, bias = (Embedding(classes, channels, init=initial.zeros) for _ in range(2))
        return cls(channels, gain, bias, **settings)

    def forward(self, x, condition):
        (x,) = as_tensors("ConditionalBatchNorm", (x,))
        gain, bias = self.gain(condition), self.bias(condition)
        if not gain.shape == bias.shape == (*x.shape[:1], *x.shape[-1:]):
            raise self.argument_error(
                f"takes a condition for each of the images {described(x)}, "
                f"got {described(condition)}"
            )
        shape = (x.shape[0],) + (1,) * (x.ndim - 2) + x.shape[-1:]
        return self.normalize(x, 1.0 + gain.reshape(shape), bias.reshape(shape))
