"""Affine maps of images without aliasing: reflect at the borders, sample between the pixels of
twice as many, by bilinear interpolation, and filter back to as many as there were (Karras et al.
2020a, appendix B).

Reflection, upsampling and downsampling work on rows and on columns by themselves, and along one
axis each is a matrix. Where a map neither turns nor shears, so is the interpolation, and with it
all of the way: two small products.
"""

import functools

import numpy as np

from tinygan.backend import asarray, from_host
from tinygan.ops import affine_warp, concatenate, getitem, matmul, transpose

# The low-pass filter of Daubechies' orthogonal wavelet "sym6", with a sum of 1.
SYM6 = np.array(
    [
        0.015404109327027373,
        0.0034907120842174702,
        -0.11799011114819057,
        -0.048311742585633,
        0.4910559419267466,
        0.787641141030194,
        0.3379294217276218,
        -0.07263752278646252,
        -0.021060292512300564,
        0.04472490177066578,
        0.0017677118642428036,
        -0.007800708325034148,
    ]
)
SYM6 /= SYM6.sum()
BORDER = len(SYM6) // 4  # pixels beyond the image that downsampling reads


def scale2d(x, y):
    """Maps (N, 3, 3) that stretch by x (N,) across and y (N,) down."""
    x, y = np.broadcast_arrays(x, y)
    return _matrices([[x, 0, 0], [0, y, 0], [0, 0, 1]], len(x))


def translate2d(x, y):
    x, y = np.broadcast_arrays(x, y)
    return _matrices([[1, 0, x], [0, 1, y], [0, 0, 1]], len(x))


def rotate2d(angle):
    """From x to y, that is clockwise on images, by radians (N,)."""
    sin, cos = np.sin(angle), np.cos(angle)
    return _matrices([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]], len(angle))


def _matrices(rows, n):
    columns = [np.stack([np.broadcast_to(value, n) for value in row], -1) for row in rows]
    return np.stack(columns, -2).astype(float)


def warp(x, maps):
    """Images x (N, H, W, C) under affine maps (N, 3, 3), float64 in host memory. Linear in x.

    The output pixel (across, down), counted from the middle, shows the input at
    maps @ (across, down, 1).
    """
    maps, rows, columns = _placed(maps, *x.shape[1:3])
    planes = transpose(x, (0, 3, 1, 2))
    straight = (maps[:, 0, 1] == 0) & (maps[:, 1, 0] == 0)
    if straight.all():
        return transpose(_straight(planes, maps, rows, columns), (0, 2, 3, 1))
    if not straight.any():
        return transpose(_tilted(planes, maps, rows, columns), (0, 2, 3, 1))
    first, then = np.flatnonzero(straight), np.flatnonzero(~straight)
    both = concatenate(
        [
            _straight(getitem(planes, first), maps[first], rows, columns),
            _tilted(getitem(planes, then), maps[then], rows, columns),
        ]
    )
    return transpose(getitem(both, np.argsort(np.concatenate([first, then]))), (0, 2, 3, 1))


def warp_straight(x, make):
    """As `warp`, of maps make() that neither turn nor shear: always the same operations, which can
    be recorded."""
    size, dtype = x.shape[1:3], x.dtype
    by_row, by_column = from_host(lambda: _straight_matrices(*_placed(make(), *size), dtype))
    return transpose(matmul(matmul(by_row, transpose(x, (0, 3, 1, 2))), by_column), (0, 2, 3, 1))


def _placed(maps, height, width):
    """(maps, rows, columns), where maps are of the extended images, of twice as many pixels."""
    left, right, top, bottom = margins(maps, height, width)
    maps = translate2d(np.array([(left - right) / 2]), (top - bottom) / 2) @ maps
    # Both sides now have twice as many pixels, whose middles are half a pixel off.
    maps[:, :2, 2] = 2 * maps[:, :2, 2] + 0.5 * maps[:, :2, :2].sum(2) - 0.5
    return maps, _Axis(height, top, bottom), _Axis(width, left, right)


def margins(maps, height, width):
    """(left, right, top, bottom): pixels by which images are extended, so that all of a batch find
    what they read there; at most what one reflection gives. Beyond is 0."""
    x, y = (width - 1) / 2, (height - 1) / 2
    corners = maps[:, :2] @ np.array([[-x, x, x, -x], [-y, -y, y, y], [1, 1, 1, 1]])
    reach = np.stack([-corners.min((0, 2)), corners.max((0, 2))], 1)  # (across, down), both ways
    needed = np.clip(reach + 2 * BORDER - [[x], [y]], 0, [[width - 1], [height - 1]])
    return np.ceil(needed).astype(int).ravel().tolist()


def _straight(planes, maps, rows, columns):
    """For maps that are diagonal but for the shift."""
    by_row, by_column = map(asarray, _straight_matrices(maps, rows, columns, planes.dtype))
    return matmul(matmul(by_row, planes), by_column)


def _straight_matrices(maps, rows, columns, dtype):
    by_row = rows.resampling(maps[:, 1, 1], maps[:, 1, 2], dtype)
    by_column = columns.resampling(maps[:, 0, 0], maps[:, 0, 2], dtype).swapaxes(1, 2)
    return by_row[:, None], by_column[:, None]


def _tilted(planes, maps, rows, columns):
    up, down = (
        (asarray(a, planes.dtype), asarray(b.T, planes.dtype))
        for a, b in ((rows.up, columns.up), (rows.down, columns.down))
    )
    fine = transpose(matmul(matmul(up[0], planes), up[1]), (0, 2, 3, 1))
    sizes = np.array([columns.fine, rows.fine]), np.array([columns.out, rows.out])
    theta = maps[:, :2].copy()
    theta[:, :, :2] *= sizes[1]
    theta[:, :, 2] *= 2
    theta /= sizes[0][:, None]
    warped = transpose(affine_warp(fine, theta, (rows.out, columns.out)), (0, 3, 1, 2))
    return matmul(matmul(down[0], warped), down[1])


class _Axis:
    """Rows, or columns, of images of that size, reflected by so many pixels before and after."""

    def __init__(self, size, before, after):
        self.up, self.down = _upsampling(size, before, after), _downsampling(size)
        self.fine, self.out = len(self.up), self.down.shape[1]

    def resampling(self, stretch, shift, dtype):
        """The matrices (N, size, size) of the whole way, where the i-th sample is of fine pixel
        stretch * i + shift, both counted from the middle; stretch and shift are (N,)."""
        from_middle = np.arange(self.out) - (self.out - 1) / 2
        at = (stretch[:, None] * from_middle + shift[:, None]) + (self.fine - 1) / 2
        first = np.floor(at)
        padded = np.pad(self.up, ((1, 1), (0, 0))).astype(dtype)  # what is outside is 0
        before, after = (
            padded[np.clip(pixel + 1, 0, self.fine + 1).astype(int)] for pixel in (first, first + 1)
        )
        after -= before
        after *= (at - first)[..., None].astype(dtype)
        return self.down.astype(dtype) @ (before + after)


@functools.lru_cache(16)
def _upsampling(size, before, after):
    """The matrix that reflects and upsamples: (2 (before + size + after), size)."""
    reflect = np.pad(np.eye(size), ((before, after), (0, 0)), "reflect")
    stuffed = np.zeros((2 * len(reflect), size))
    stuffed[::2] = reflect
    first = (len(SYM6) - 1) // 2
    return np.stack(
        [np.convolve(column, 2 * SYM6)[first : first + len(stuffed)] for column in stuffed.T], 1
    )


@functools.lru_cache(16)
def _downsampling(size):
    """The matrix that filters and keeps every other pixel: (size, 2 (size + 2 BORDER))."""
    out = np.zeros((size, 2 * (size + 2 * BORDER)))
    for i in range(size):
        out[i, 2 * i + 1 : 2 * i + 1 + len(SYM6)] = SYM6
    return out
