"""Layers, and the Module they are built on.

module.py says what a Module is; layers.py has the common ones, and norms.py, spectral.py,
equalized.py, residual.py, attention.py and style.py those of the papers. init.py draws weights;
watch.py and summary.py look into a network.
"""

from . import init
from .attention import SelfAttention
from .equalized import Equalized
from .hooks import feature_maps
from .layers import (
    AvgPool2d,
    Blur,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    Embedding,
    Flatten,
    LeakyReLU,
    Linear,
    Maxout,
    ReLU,
    Reshape,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from .module import Module, Sequential
from .norms import BatchNorm, ConditionalBatchNorm, MinibatchStddev, PixelNorm
from .residual import DownBlock, UpBlock
from .spectral import SpectralNorm
from .style import Mapping, ModulatedConv2d, Noise, ResampledConv2d, StyleGenerator

# fmt: off
__all__ = [
    "AvgPool2d", "BatchNorm", "Blur", "ConditionalBatchNorm", "Conv2d", "ConvTranspose2d",
    "DownBlock", "Dropout", "Embedding", "Equalized", "feature_maps", "Flatten", "init",
    "LeakyReLU", "Linear", "Mapping", "Maxout", "MinibatchStddev", "ModulatedConv2d", "Module",
    "Noise", "PixelNorm", "ReLU", "ResampledConv2d", "Reshape", "SelfAttention", "Sequential",
    "Sigmoid", "SiLU", "Softplus", "SpectralNorm", "StyleGenerator", "Tanh", "UpBlock",
]
# fmt: on
