"""Maxima over windows of NHWC images.

Where the windows lie side by side, rows are compared first, a whole line of pixels and channels at a time, then
columns; short inner loops over a few channels are then left with half of the pixels or less.
"""

from tinygan.backend import xp


def windows(size, kernel, stride):
    """For each of the kernel's taps, the index of the pixels that it meets, one per output pixel."""
    out = [(n - k) // s + 1 for n, k, s in zip(size, kernel, stride)]
    return [(slice(None), slice(i, i + stride[0] * out[0], stride[0]), slice(j, j + stride[1] * out[1], stride[1]))
            for i in range(kernel[0]) for j in range(kernel[1])]


def largest(x, kernel, stride):
    """The maximum of x (N, H, W, C) over each window."""
    if kernel != stride:
        return _over_taps(xp.maximum, x, kernel, stride)
    return _side_by_side(xp.maximum, x, kernel)


def spread(g, x, y, kernel, stride):
    """Take g, one number for each window, back to the pixels that hold the maximum y; ties share it equally."""
    hit = _hits(x, y, kernel, stride)
    if hit is not None:
        share = g / _side_by_side(xp.add, hit, kernel)
        dx = xp.zeros(x.shape, x.dtype) if hit.shape != x.shape else xp.empty(x.shape, x.dtype)
        inside = dx[:, :hit.shape[1], :hit.shape[2]]
        xp.multiply(hit, _repeated(share, kernel), out=inside)
        return dx
    dx, taps = xp.zeros(x.shape, x.dtype), windows(x.shape[1:3], kernel, stride)
    share = g / sum(xp.asarray(x[tap] == y, x.dtype) for tap in taps)
    for tap in taps:
        dx[tap] += share * (x[tap] == y)
    return dx


def gather(h, x, y, kernel, stride):
    """The adjoint of `spread` in g: the mean of h over the pixels of each window that hold its maximum."""
    hits = [xp.asarray(x[tap] == y, x.dtype) for tap in windows(x.shape[1:3], kernel, stride)]
    total = sum(hit * h[tap] for hit, tap in zip(hits, windows(x.shape[1:3], kernel, stride)))
    return total / sum(hits)


def _hits(x, y, kernel, stride):
    """1 where a pixel is the maximum of its window, else 0, over the pixels that are in one; None if they overlap."""
    if kernel != stride:
        return None
    inside = x[:, :y.shape[1] * kernel[0], :y.shape[2] * kernel[1]]
    return xp.asarray(inside == _repeated(y, kernel), x.dtype)


def _repeated(y, kernel):
    """Each pixel of y kernel[0] x kernel[1] times."""
    n, height, width, channels = y.shape
    line = xp.empty((n, height, 1, width, kernel[1], channels), y.dtype)
    line[...] = y[:, :, None, :, None]
    line = line.reshape(n, height, 1, width * kernel[1] * channels)
    image = xp.empty((n, height, kernel[0], line.shape[3]), y.dtype)
    image[...] = line
    return image.reshape(n, height * kernel[0], width * kernel[1], channels)


def _side_by_side(combine, x, kernel):
    (kh, kw), (n, height, width, channels) = kernel, x.shape
    rows = [x[:, i:height // kh * kh:kh] for i in range(kh)]
    lines = _chain(combine, rows)
    return _chain(combine, [lines[:, :, j:width // kw * kw:kw] for j in range(kw)])


def _over_taps(combine, x, kernel, stride):
    return _chain(combine, [x[tap] for tap in windows(x.shape[1:3], kernel, stride)])


def _chain(combine, parts):
    if len(parts) == 1:
        return parts[0].copy()
    y = combine(parts[0], parts[1])
    for part in parts[2:]:
        combine(y, part, out=y)
    return y
