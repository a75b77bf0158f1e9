"""Affine maps of images without aliasing (Karras et al. 2020a, appendix B).

    1. pad the image by reflection, and upsample it by 2
    2. sample at the mapped positions, by bilinear interpolation, on a grid twice as fine
    3. filter and downsample by 2

Padding, upsampling and downsampling treat rows and columns separately, so each is a multiplication
by a matrix along one axis. If a map neither rotates nor shears (its matrix is diagonal, apart from
the shift), the interpolation does so, too. Then all three steps together are two small matrix
products, one along each axis.
"""

import functools

import numpy as np

from tinygan.backend import asarray, from_host
from tinygan.ops import affine_warp, concatenate, getitem, matmul, transpose

# The low-pass filter of Daubechies' orthogonal wavelet "sym6", scaled to a sum of 1.
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
    """Return maps (N, 3, 3) that multiply horizontal positions by x (N,) and vertical positions by
    y (N,). One of the two may be a number."""
    x, y = np.broadcast_arrays(x, y)
    return _matrices([[x, 0, 0], [0, y, 0], [0, 0, 1]], len(x))


def translate2d(x, y):
    """Return maps (N, 3, 3) that add x (N,) to horizontal and y (N,) to vertical positions."""
    x, y = np.broadcast_arrays(x, y)
    return _matrices([[1, 0, x], [0, 1, y], [0, 0, 1]], len(x))


def rotate2d(angle):
    """Return rotations (N, 3, 3) from the x axis towards the y axis, by radians (N,). They are
    clockwise, because y points down in an image."""
    sin, cos = np.sin(angle), np.cos(angle)
    return _matrices([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]], len(angle))


def _matrices(rows, n):
    """Return n matrices (n, 3, 3), given rows of entries that are numbers or arrays (n,)."""
    columns = [np.stack([np.broadcast_to(value, n) for value in row], -1) for row in rows]
    return np.stack(columns, -2).astype(float)


def warp(x, maps):
    """Return images x (N, H, W, C) under affine maps (N, 3, 3), float64 in host memory.

    The output pixel at (horizontal, vertical) position p, counted from the centre, shows the input
    at maps @ (p, 1). The result is linear in x.
    """
    maps, rows, columns = _onto_fine_grid(maps, *x.shape[1:3])
    planes = transpose(x, (0, 3, 1, 2))
    diagonal = (maps[:, 0, 1] == 0) & (maps[:, 1, 0] == 0)
    if diagonal.all():
        return transpose(_apply_diagonal(planes, maps, rows, columns), (0, 2, 3, 1))
    if not diagonal.any():
        return transpose(_warp_general(planes, maps, rows, columns), (0, 2, 3, 1))
    first, second = np.flatnonzero(diagonal), np.flatnonzero(~diagonal)
    warped = concatenate(
        [
            _apply_diagonal(getitem(planes, first), maps[first], rows, columns),
            _warp_general(getitem(planes, second), maps[second], rows, columns),
        ]
    )
    # Back in the original order.
    return transpose(getitem(warped, np.argsort(np.concatenate([first, second]))), (0, 2, 3, 1))


def warp_diagonal(x, make_maps):
    """Like `warp`, for maps make_maps() that neither rotate nor shear.

    Every batch runs the same operations, so that a GPU can replay a recorded step.
    """
    size, dtype = x.shape[1:3], x.dtype
    by_row, by_column = from_host(
        lambda: _diagonal_matrices(*_onto_fine_grid(make_maps(), *size), dtype)
    )
    return transpose(matmul(matmul(by_row, transpose(x, (0, 3, 1, 2))), by_column), (0, 2, 3, 1))


def _onto_fine_grid(maps, height, width):
    """Return (maps, rows, columns): the maps in pixels of the padded and upsampled images, and an
    _Axis for the rows and for the columns."""
    left, right, top, bottom = padding(maps, height, width)
    maps = translate2d(np.array([(left - right) / 2]), (top - bottom) / 2) @ maps
    # Upsampling doubles the number of pixels, and moves their centres by half a pixel.
    maps[:, :2, 2] = 2 * maps[:, :2, 2] + 0.5 * maps[:, :2, :2].sum(2) - 0.5
    return maps, _Axis(height, top, bottom), _Axis(width, left, right)


def padding(maps, height, width):
    """Return (left, right, top, bottom): the pixels to pad by reflection, so that all images of the
    batch find the pixels that they read.

    Padding is limited to a single reflection of the image. Beyond it, pixels are 0.
    """
    x, y = (width - 1) / 2, (height - 1) / 2
    corners = maps[:, :2] @ np.array([[-x, x, x, -x], [-y, -y, y, y], [1, 1, 1, 1]])
    # The farthest positions: [[left, right], [top, bottom]].
    reach = np.stack([-corners.min((0, 2)), corners.max((0, 2))], 1)
    needed = np.clip(reach + 2 * BORDER - [[x], [y]], 0, [[width - 1], [height - 1]])
    return np.ceil(needed).astype(int).ravel().tolist()


def _apply_diagonal(planes, maps, rows, columns):
    """Return planes (N, C, H, W) under maps that neither rotate nor shear."""
    by_row, by_column = map(asarray, _diagonal_matrices(maps, rows, columns, planes.dtype))
    return matmul(matmul(by_row, planes), by_column)


def _diagonal_matrices(maps, rows, columns, dtype):
    """Return by_row (N, 1, H, H) and by_column (N, 1, W, W), so that the warped image is
    by_row @ image @ by_column."""
    by_row = rows.resampling(maps[:, 1, 1], maps[:, 1, 2], dtype)
    by_column = columns.resampling(maps[:, 0, 0], maps[:, 0, 2], dtype).swapaxes(1, 2)
    return by_row[:, None], by_column[:, None]


def _warp_general(planes, maps, rows, columns):
    """Return planes (N, C, H, W) under any affine maps."""
    up, down = (
        (asarray(a, planes.dtype), asarray(b.T, planes.dtype))
        for a, b in ((rows.up, columns.up), (rows.down, columns.down))
    )
    fine = transpose(matmul(matmul(up[0], planes), up[1]), (0, 2, 3, 1))
    # affine_warp counts positions from -1 to 1, from one edge of an image to the other.
    in_size, out_size = np.array([columns.fine, rows.fine]), np.array([columns.out, rows.out])
    theta = maps[:, :2].copy()
    theta[:, :, :2] *= out_size
    theta[:, :, 2] *= 2
    theta /= in_size[:, None]
    warped = transpose(affine_warp(fine, theta, (rows.out, columns.out)), (0, 3, 1, 2))
    return matmul(matmul(down[0], warped), down[1])


class _Axis:
    """The rows, or the columns, of images: how to pad, upsample and downsample them.

    size: the pixels along the axis; before, after: the pixels of padding. up (fine, size) and down
    (size, out) are the matrices; `fine` and `out` are the pixels of the padded and upsampled image,
    and those that downsampling reads.
    """

    def __init__(self, size, before, after):
        self.up, self.down = _upsampling(size, before, after), _downsampling(size)
        self.fine, self.out = len(self.up), self.down.shape[1]

    def resampling(self, stretch, shift, dtype):
        """Return the matrices (N, size, size) that upsample, interpolate and downsample.

        Sample i is taken at position stretch * i + shift on the fine grid, both counted from the
        centre. stretch, shift: (N,).
        """
        from_centre = np.arange(self.out) - (self.out - 1) / 2
        position = (stretch[:, None] * from_centre + shift[:, None]) + (self.fine - 1) / 2
        pixel = np.floor(position)
        padded = np.pad(self.up, ((1, 1), (0, 0))).astype(dtype)  # pixels outside are 0
        before, after = (
            padded[np.clip(i + 1, 0, self.fine + 1).astype(int)] for i in (pixel, pixel + 1)
        )
        after -= before
        after *= (position - pixel)[..., None].astype(dtype)
        return self.down.astype(dtype) @ (before + after)


@functools.lru_cache(16)
def _upsampling(size, before, after):
    """Return the matrix (2 (before + size + after), size) that pads by reflection and upsamples."""
    reflect = np.pad(np.eye(size), ((before, after), (0, 0)), "reflect")
    stuffed = np.zeros((2 * len(reflect), size))
    stuffed[::2] = reflect
    first = (len(SYM6) - 1) // 2
    return np.stack(
        [np.convolve(column, 2 * SYM6)[first : first + len(stuffed)] for column in stuffed.T], 1
    )


@functools.lru_cache(16)
def _downsampling(size):
    """Return the matrix (size, 2 (size + 2 BORDER)) that filters, and keeps every other pixel."""
    out = np.zeros((size, 2 * (size + 2 * BORDER)))
    for i in range(size):
        out[i, 2 * i + 1 : 2 * i + 1 + len(SYM6)] = SYM6
    return out
