"""Tests of batches that are balanced over classes (the setting balanced_batches)."""

import numpy as np
import pytest
import stress
from test_training import resume, start

from tinygan.data import Dataset, load
from tinygan.errors import InputError

pytestmark = pytest.mark.cpu
COUNTS = [60, 25, 10, 3, 0, 2]  # images of each class; the fifth has none


def imbalanced(name="mine", counts=COUNTS):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    images = np.arange(sum(counts), dtype=np.uint8).reshape(-1, 1, 1, 1)
    return Dataset(name, "train", images, labels, tuple("abcdef"[: len(counts)]))


@pytest.mark.parametrize("batch_size", [1, 2, 4, 5, 7, 16, 64])
def test_each_batch_has_the_classes_as_equally_as_possible(batch_size):
    dataset, total = imbalanced(), np.zeros(6, int)
    for index in range(60):
        labels = dataset.batch(index, batch_size, 3, balanced=True)[1]
        counts = np.bincount(labels, minlength=6)
        present = counts[[0, 1, 2, 3, 5]]
        assert counts[4] == 0 and counts.sum() == batch_size and np.ptp(present) <= 1
        total += counts
    assert np.ptp(total[[0, 1, 2, 3, 5]]) <= 1  # and over many batches, as well


def test_the_images_of_a_class_are_drawn_anew_when_they_are_used_up():
    dataset = imbalanced()
    stream = np.concatenate([dataset.batch_indices(i, 5, 3, balanced=True) for i in range(50)])
    for k, n in enumerate(COUNTS[:4]):
        drawn = stream[dataset.labels[stream] == k]  # each batch of 5 has one of each class
        epochs = [drawn[i : i + n].tolist() for i in range(0, 50 - n + 1, n)]
        assert all(
            sorted(epoch) == np.flatnonzero(dataset.labels == k).tolist() for epoch in epochs
        )
        assert len(epochs) < 2 or any(epoch != epochs[0] for epoch in epochs)


def test_a_balanced_batch_depends_only_on_its_arguments():
    dataset = imbalanced()
    stream = [dataset.batch_indices(i, 16, 3, True) for i in range(12)]
    for i in (11, 0, 5, 5):  # in any order, and from a new Dataset
        np.testing.assert_array_equal(imbalanced().batch_indices(i, 16, 3, True), stream[i])
        np.testing.assert_array_equal(dataset.batch_indices(i, 16, 3, True), stream[i])
    assert not np.array_equal(dataset.batch_indices(0, 16, 4, True), stream[0])
    images, labels = dataset.batch(4, 16, 3, balanced=True)
    np.testing.assert_array_equal(labels, dataset.labels[stream[4]])
    # No place in the batch belongs to a class: D may compare certain places with each other.
    places = np.stack([dataset.labels[indices] for indices in stream])
    assert all(len(set(column)) > 1 for column in places.T)


def test_a_single_class_cannot_be_balanced(tmp_path):
    one = Dataset("one", "train", np.zeros((20, 28, 28, 1), np.uint8), np.ones(20, int), ("a", "b"))
    for call in (
        lambda: one.batch(0, 4, 0, balanced=True),
        lambda: start(tmp_path / "a", one, balanced_batches=True),
    ):
        with pytest.raises(InputError, match="images of one are of the same class: set bal"):
            call()
    assert not (tmp_path / "a").exists()


def test_a_run_with_balanced_batches_resumes_exactly(tmp_path):
    dataset, seen = load("digits").subset(slice(300)), []
    trainer = start(tmp_path / "a", dataset, "gan", balanced_batches=True, batch_size=10)
    update = trainer.algorithm.update_D
    trainer.algorithm.update_D = lambda reals, labels, *more: (
        seen.append(np.array(getattr(labels, "array", labels))), update(reals, labels, *more)
    )[1]  # fmt: skip
    trainer.run(progress=False)
    assert len(seen) and all(np.bincount(labels).tolist() == [1] * 10 for labels in seen)
    start(tmp_path / "b", dataset, "gan", balanced_batches=True, batch_size=10, steps=5).run(False)
    resume(tmp_path / "b", dataset, steps=12).run(progress=False)
    assert [line for line in stress.differences(tmp_path / "a", tmp_path / "b") if "log" not in line
            and "curves" not in line] == []  # fmt: skip
