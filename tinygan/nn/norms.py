"""Normalisation layers: `normalize` over some axes, `modulate` by parameters (see ops/normalize.py)."""

from tinygan import batch, ops
from tinygan.autograd import Parameter, as_tensors, described, profiled
from tinygan.backend import xp
from tinygan.kernels import norm as kernel

from . import init as initial
from .layers import Embedding
from .module import Module


class BatchNorm(Module):
    """Normalise each channel over the batch, x (N, H, W, C) or (N, C), then gain * x + bias (both (C,)).

    Training uses the batch's own statistics and keeps running averages of them,
    running = (1 - momentum) running + momentum batch, which evaluation uses (Ioffe and Szegedy 2015).
    unbiased: average the variance divided by n - 1 (as PyTorch does), not n. Normalisation itself
    always divides by n.
    """

    buffer_names = ("running_mean", "running_var")

    def __init__(
        self,
        channels,
        momentum=0.1,
        eps=1e-5,
        unbiased=True,
        affine=True,
        *,
        rng=None,
        init=initial.ones,
    ):
        self.momentum, self.eps, self.unbiased = momentum, eps, unbiased
        self.gain = Parameter(init(rng, (channels,))) if affine else None
        self.bias = Parameter(xp.zeros(channels, "float32")) if affine else None
        self.running_mean = xp.zeros(channels, "float32")
        self.running_var = xp.ones(channels, "float32")

    def forward(self, x):
        return self.normalize(x, self.gain, self.bias)

    def normalize(self, x, gain, bias):
        """gain * (x - mean) / sqrt(var + eps) + bias; in training, the running averages move on."""
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
                f"training needs more than one value per channel; got a batch of {len(x)}, {described(x)}"
            )
        if x.dtype != self.running_mean.dtype:  # which the averages would take on
            raise self.argument_error(
                f"takes {self.running_mean.dtype}, got {described(x)}; convert one of them with astype()"
            )
        if batch.shares() > 1:
            return self.normalize_over_shares(x, gain, bias)
        mean, var = statistics = profiled(
            "moments", lambda: kernel.moments(x.data, tuple(range(x.ndim - 1)))
        )
        self.running_mean = self._average(self.running_mean, mean)
        self.running_var = self._average(
            self.running_var, var * (n / (n - 1)) if self.unbiased else var
        )
        return ops.batch_norm(x, gain, bias, self.eps, statistics)

    def normalize_over_shares(self, x, gain, bias):
        """As in training, with the mean and variance of the whole batch, of which x is a share."""
        axes, n = tuple(range(x.ndim - 1)), batch.shares() * (x.size // x.shape[-1])
        mean = ops.mean_over_shares(ops.mean(x, axes, keepdims=True))
        centred = x - mean
        var = ops.mean_over_shares(ops.mean(ops.square(centred), axes, keepdims=True))
        self.running_mean = self._average(self.running_mean, mean.data)
        self.running_var = self._average(
            self.running_var, var.data * (n / (n - 1)) if self.unbiased else var.data
        )
        return ops.modulate(centred * (var + self.eps) ** -0.5, gain, bias)

    def _average(self, running, new):
        return (1 - self.momentum) * running + self.momentum * new.reshape(running.shape)


class PixelNorm(Module):
    """x / sqrt(mean of x^2 over channels + eps): each pixel's features, or each latent, on a sphere (Karras et al. 2018)."""

    def __init__(self, eps=1e-8):
        self.eps = eps

    def forward(self, x):
        return ops.pixel_norm(x, self.eps)


class MinibatchStddev(Module):
    """One more channel, which tells how much the images of a group differ: see `ops.minibatch_stddev`."""

    def __init__(self, group_size=4):
        self.group_size = group_size

    def forward(self, x):
        return ops.minibatch_stddev(x, self.group_size)


class ConditionalBatchNorm(BatchNorm):
    """Batch-norm whose scale and shift depend on a condition, image by image (de Vries et al. 2017).

    gain, bias: Modules from the condition to (N, channels); the scale is 1 + gain(condition), the shift
    bias(condition). Embeddings make it depend on the class (`of_classes`; Miyato and Koyama 2018), linear layers
    on an embedding of the class and a part of z (Brock et al. 2019, BigGAN).
    """

    conditional = True

    def __init__(self, channels, gain, bias, momentum=0.1, eps=1e-5, unbiased=True):
        super().__init__(channels, momentum, eps, unbiased, affine=False)
        self.gain, self.bias = gain, bias

    @classmethod
    def of_classes(cls, channels, classes, **settings):
        """The condition is a class, an integer array (N,); every class starts with scale 1 and shift 0."""
        gain, bias = (Embedding(classes, channels, init=initial.zeros) for _ in range(2))
        return cls(channels, gain, bias, **settings)

    def forward(self, x, condition):
        (x,) = as_tensors("ConditionalBatchNorm", (x,))
        gain, bias = self.gain(condition), self.bias(condition)
        if not gain.shape == bias.shape == (*x.shape[:1], *x.shape[-1:]):
            raise self.argument_error(
                f"takes a condition for each of the images {described(x)}, got {described(condition)}"
            )
        shape = (x.shape[0],) + (1,) * (x.ndim - 2) + x.shape[-1:]
        return self.normalize(x, 1.0 + gain.reshape(shape), bias.reshape(shape))
