"""Convolutions whose groups have few channels: neighbouring groups are computed as one.

A window of a group consists of short runs of numbers, and its product has few columns. Both are
slow. In a merged group, they are m times as long, and the weights between different groups are 0.
"""

import functools
import math

from tinygan.backend import xp

# Groups are merged up to this many channels. With fewer in a group, BLAS and copies are slower than
# products with zeros (3x3, 16 -> 16 channels in each group, is as fast as 8 -> 8).
GROUP_CHANNELS = 16


@functools.lru_cache(1024)
def groups_to_merge(groups, inputs, outputs):
    """Return how many neighbouring groups to compute as one, whose weights contain zeros. inputs,
    outputs: the channels of a group."""
    widest = GROUP_CHANNELS / math.sqrt(inputs * outputs)
    return max(m for m in range(1, groups + 1) if groups % m == 0 and (m == 1 or m <= widest))


def merge_groups(w, groups):
    """Return (the weights, the number of groups) after merging groups.

    w (kh, kw, C, O) -> (kh, kw, m * C, O), where the matrix (m * C, m * O / groups) of a merged
    group is block-diagonal. Because of its zeros, a NaN or an infinity in one group spoils those
    that it is merged with.
    """
    kh, kw, inputs, outputs = w.shape
    m = groups_to_merge(groups, inputs, outputs // groups)
    if m == 1:
        return w, groups
    merged = xp.zeros((kh, kw, m, inputs, groups // m, m, outputs // groups), w.dtype)
    w = w.reshape(kh, kw, inputs, groups // m, m, outputs // groups)
    for k in range(m):
        merged[:, :, k, :, :, k] = w[:, :, :, :, k]
    return merged.reshape(kh, kw, m * inputs, outputs), groups // m


def merge_groups_adjoint(dw, groups, m):
    """The adjoint of `merge_groups`: the gradient of w from the gradient of its result. groups:
    their number before m of them were merged."""
    kh, kw, inputs, outputs = dw.shape
    dw = dw.reshape(kh, kw, m, inputs // m, groups // m, m, outputs // groups)
    parts = xp.empty((kh, kw, inputs // m, groups // m, m, outputs // groups), dw.dtype)
    for k in range(m):
        parts[:, :, :, :, k] = dw[:, :, k, :, :, k]
    return parts.reshape(kh, kw, inputs // m, outputs)
