"""The op table's rows of StyleGAN2's convolutions."""

from tinygan import ops

from . import oracles
from .table import normal, row

row(
    ops.upsample2d,
    lambda x: oracles.upfirdn2d(x, oracles.FIR, up=2, padding=(2, 1, 2, 1), gain=4),
    normal(2, 4, 3, 2),
    linear=True,
)
row(
    ops.downsample2d,
    lambda x: oracles.upfirdn2d(x, oracles.FIR, down=2, padding=1),
    normal(2, 4, 6, 2),
    linear=True,
)
for _size in (1, 3):
    row(
        ops.conv2d_up,
        oracles.conv2d_up,
        normal(2, 4, 3, 2),
        normal(_size, _size, 2, 3),
        note=f"{_size}x{_size}",
        linear=True,
    )
    row(
        ops.conv2d_down,
        oracles.conv2d_down,
        normal(2, 4, 6, 2),
        normal(_size, _size, 2, 3),
        note=f"{_size}x{_size}",
        linear=True,
    )
for _settings in ({}, {"up": True}, {"demodulate": False}):
    row(
        ops.modulated_conv2d,
        oracles.modulated_conv2d,
        normal(2, 4, 4, 3),
        normal(3, 3, 3, 2),
        normal(2, 3),
        **_settings,
    )
