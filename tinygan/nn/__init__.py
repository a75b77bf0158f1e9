"""Layers and networks: the base class Module, common layers, and the layers of the papers.

module.py defines Module and Sequential. layers.py has the common layers; norms.py, spectral.py,
equalized.py, residual.py, attention.py and style.py have those of the papers. init.py draws initial
weights. hooks.py and layer_summary.py show what happens inside a network.
"""

from typing import TYPE_CHECKING

from tinygan.autograd import habits

from . import init
from .attention import SelfAttention
from .equalized import Equalized
from .hooks import feature_maps
from .layer_summary import summary
from .layers import (
    GELU,
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
from .residual import DownBlock, GroupedBlock, Resample, UpBlock
from .spectral import SpectralNorm
from .style import Mapping, ModulatedConv2d, Noise, ResampledConv2d, StyleGenerator

# fmt: off
__all__ = [
    "AvgPool2d", "BatchNorm", "Blur", "ConditionalBatchNorm", "Conv2d", "ConvTranspose2d",
    "DownBlock", "Dropout", "Embedding", "Equalized", "feature_maps", "Flatten", "GELU",
    "GroupedBlock", "init", "LeakyReLU", "Linear", "Mapping", "Maxout", "MinibatchStddev",
    "ModulatedConv2d", "Module", "Noise", "PixelNorm", "ReLU", "Resample", "ResampledConv2d",
    "Reshape", "SelfAttention", "Sequential", "Sigmoid", "SiLU", "Softplus", "SpectralNorm",
    "StyleGenerator", "summary", "Tanh", "UpBlock",
]
# fmt: on

if not TYPE_CHECKING:  # a __getattr__ would hide mistyped names from type checkers
    __getattr__ = habits.of_package(__name__, habits.NN)
