"""The whole batch, of which this process may hold a share.

Some numbers belong to the whole batch: batch-norm's mean and variance, the average style, the mean
length of a path. A layer asks for them here. Usually the whole batch is in this process, and its
mean is the mean that the layer has computed. When several processes train together,
`training/ranks.py` puts itself in place of `holder`.
"""


class WholeBatch:
    """The whole batch is here: one share."""

    shares = 1

    def mean(self, array):
        return array

    def share(self, array):
        return array


holder = WholeBatch()


def shares() -> int:
    """Into how many equal shares the batch is divided."""
    return holder.shares


def mean(array):
    """The mean of the arrays that the holders of the shares have computed: the same on each of
    them."""
    return holder.mean(array)
