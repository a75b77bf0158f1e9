"""Batches with the classes as equal as possible, however rare a class is in the data."""

from typing import Any

import numpy as np

# The last entries of the seeds, so that no other draws of a run are the same.
CLASSES, IMAGES, PLACES = 10, 11, 12


class BalancedStream:
    """The stream of images from which balanced batches are cut: the classes take turns, in an order
    drawn by the seed, and each class goes through its images in an order that is drawn anew
    whenever they are used up.

    So any n successive images have the classes as equally as possible, and which images they are
    depends only on the seed and on their position. labels: the labels (N,) of a Dataset.
    """

    def __init__(self, labels: np.ndarray[Any, Any]):
        order = np.argsort(labels, kind="stable")
        starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
        self.members = np.split(order, starts[1:])  # the indices of the images of each class
        self.orders: dict[int, tuple[Any, Any]] = {}  # the last random order of each class

    def batch(self, index: int, batch_size: int, seed: int) -> np.ndarray[Any, Any]:
        """Return the indices of the images of batch `index`: int64 (batch_size,)."""
        turns = np.random.default_rng([seed, 0, CLASSES]).permutation(len(self.members))
        indices = np.empty(batch_size, np.int64)
        for i, position in enumerate(range(index * batch_size, (index + 1) * batch_size)):
            round, turn = divmod(position, len(turns))
            k = int(turns[turn])
            epoch, place = divmod(round, len(self.members[k]))
            indices[i] = self.members[k][self.order(k, epoch, seed)[place]]
        # Layers that compare the images of a batch must not find the classes in a fixed order.
        return np.random.default_rng([seed, index, PLACES]).permutation(indices)

    def order(self, k: int, epoch: int, seed: int) -> np.ndarray[Any, Any]:
        """Return the random order of the images of class k, the k-th that has any, in an epoch."""
        key, order = self.orders.get(k, (None, None))
        if key != (epoch, seed):
            rng = np.random.default_rng([seed, epoch, k, IMAGES])
            order = rng.permutation(len(self.members[k]))
            self.orders[k] = (epoch, seed), order
        return order
