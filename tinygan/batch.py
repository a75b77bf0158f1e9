"""Means over the whole batch, of which this process may hold only a share.

Some numbers are means over the whole batch: batch-norm's mean and variance, the average style, the
mean path length. A layer asks this module for them. Usually this process holds the whole batch, so
the mean that the layer has computed is the mean of the batch. When several processes train
together, `training/ranks.py` replaces `holder`.
"""

from typing import Any


class WholeBatch:
    """The holder of a batch that is not divided: there is one share, the whole batch."""

    shares = 1

    def mean(self, array):
        return array

    def share(self, array):
        return array


holder = WholeBatch()


def shares() -> int:
    """Return the number of equal shares into which the batch is divided."""
    return holder.shares


def mean(array: Any) -> Any:
    """Return the mean of `array` over the processes that share the batch. Each of them passes the
    mean over its share, and all get the same result."""
    return holder.mean(array)
