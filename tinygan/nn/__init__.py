"""Layers and the Module they are built on."""

from . import init
from .attention import SelfAttention
from .equalized import Equalized
from .layers import (AvgPool2d, Blur, Conv2d, ConvTranspose2d, Dropout, Embedding, Flatten, LeakyReLU, Linear, Maxout,
                     ReLU, Reshape, Sigmoid, SiLU, Softplus, Tanh)
from .module import Module, Sequential
from .norms import BatchNorm, ConditionalBatchNorm, MinibatchStddev, PixelNorm
from .residual import DownBlock, UpBlock
from .spectral import SpectralNorm
from .style import Mapping, ModulatedConv2d, Noise, ResampledConv2d, StyleGenerator
from .watch import feature_maps
