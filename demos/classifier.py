"""Train the classifier of the metrics anew:

    python demos/classifier.py --data mnist -o FILE

Its layers and augmentation were chosen with `--hold-out 10000`, which trains on the first 50,000 training images
and tests on the rest of them (99.5% of MNIST's and 93.0% of Fashion-MNIST's were right); the test images were used
once, for the accuracy that is written into the shipped files. Training takes 6 minutes on two cores.
"""

import argparse
import math
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tinygan import data, ops
from tinygan.autograd import Tensor, grad, no_grad
from tinygan.backend import asarray, to_numpy
from tinygan.errors import InputError
from tinygan.kernels.cpu import parallel
from tinygan.metrics.network import WEIGHTS_OF, Classifier, read, write
from tinygan.optim import Adam

BATCH_SIZE = 128
LEARNING_RATE = 3e-3  # the peak: it rises over the first tenth of the steps, then falls to 0
EPOCHS = 12


class Augmentation(NamedTuple):
    """How far a training image is moved at random: uniform within these, to either side."""

    angle: float = 10.0  # degrees
    scale: float = 0.1
    shift: float = 2.0  # pixels
    flip: bool = False  # left and right exchanged, every other time


AUGMENTATIONS = {"mnist": Augmentation(), "fashion-mnist": Augmentation(0.0, 0.05, 1.0, flip=True)}


def accuracy_on(net, dataset, batch_size=250):
    """The share of the images of `dataset` that `net` classifies as they are labelled."""
    hits = 0
    with no_grad(), parallel.single_threaded_blas():
        for i in range(0, len(dataset), batch_size):
            logits = net(asarray(data.to_float(dataset.images[i : i + batch_size])))
            hits += np.sum(to_numpy(logits.data).argmax(1) == dataset.labels[i : i + batch_size])
    return float(hits / len(dataset))


def train(dataset, augmentation, seed=0, epochs=EPOCHS, progress=False):
    """A Classifier of `dataset` (28x28x1), in evaluation mode: Adam on the cross-entropy of augmented images."""
    from tqdm import tqdm

    rng = np.random.default_rng([seed, 0, 1])  # a stream apart from that of the data's shuffling
    net = Classifier(rng=rng)
    optimizer = Adam(net.parameters(), LEARNING_RATE)
    steps = epochs * (len(dataset) // BATCH_SIZE)
    parallel.keep_memory()
    with (
        parallel.single_threaded_blas(),
        tqdm(total=steps, unit="step", disable=not progress) as bar,
    ):
        for step in range(steps):
            images, labels = dataset.batch(step, BATCH_SIZE, seed)
            optimizer.lr = LEARNING_RATE * min(
                (step + 1) / (0.1 * steps), (steps - step) / (0.9 * steps)
            )
            loss = ops.cross_entropy(net(augmented(images, augmentation, rng)), labels)
            optimizer.step(grad(loss, net.parameters()))
            if not math.isfinite(loss.item()):
                raise InputError(f"the loss is no longer a number at step {step}")
            if step % 50 == 0:
                bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
            bar.update()
    return net.eval()


def augmented(images, by, rng):
    """images (N, 28, 28, 1) in [-1, 1], each turned, scaled, shifted and flipped at random: a Tensor.

    What comes in from outside is black, as the border of the digits and clothes is.
    """
    n, size = images.shape[:2]
    angle, scale = (
        np.deg2rad(rng.uniform(-by.angle, by.angle, n)),
        rng.uniform(1 - by.scale, 1 + by.scale, n),
    )
    side = rng.choice([-1, 1], n) if by.flip else 1
    turn = (
        np.array([[side * np.cos(angle), -np.sin(angle)], [side * np.sin(angle), np.cos(angle)]])
        * scale
    )
    shift = rng.uniform(-by.shift, by.shift, (n, 2, 1)) * 2 / size  # the image is 2 wide
    theta = np.concatenate([np.moveaxis(turn, 2, 0), shift], axis=2)
    with no_grad():
        return ops.affine_warp(Tensor(asarray(images + 1)), theta) - 1  # outside is 0 there


def main(argv=None) -> int:
    """Train a classifier, test it, write it; returns the exit code."""
    parser = argparse.ArgumentParser("classifier.py", description=main.__doc__)
    parser.error = lambda message: parser.exit(2, f"{parser.prog}: error: {message}\n")
    parser.add_argument(
        "--data", default="mnist", choices=("digits", *AUGMENTATIONS), help="default: mnist"
    )
    parser.add_argument("--data-dir", metavar="DIR", help="folder with the data set's IDX files")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of all random numbers (default: 0)"
    )
    parser.add_argument(
        "--epochs", type=int, default=EPOCHS, metavar="N", help=f"default: {EPOCHS}"
    )
    parser.add_argument(
        "--hold-out",
        type=int,
        default=0,
        metavar="N",
        help="test on the last N training images, which are left out, instead of the test set",
    )
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="the weights, npz")
    args = parser.parse_args(argv)
    try:
        if args.seed < 0 or args.epochs < 1:
            raise InputError(
                f"--seed {args.seed} must be at least 0, --epochs {args.epochs} at least 1"
            )
        if not Path(args.output).absolute().parent.is_dir():
            raise InputError(f"the folder of {args.output} does not exist")
        reals, test = parts(args.data, args.data_dir, args.hold_out)
        net = train(
            reals, AUGMENTATIONS[WEIGHTS_OF[args.data]], args.seed, args.epochs, progress=True
        )
        write(args.output, net, math.nan)
        net, _ = read(args.output)  # as it is on disk, in half precision
        accuracy = accuracy_on(net, test)
        write(args.output, net, accuracy)
    except (InputError, OSError) as error:
        print(f"{parser.prog}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(
        f"{args.output}: {accuracy:.2%} of {len(test):,} {'held-out' if args.hold_out else 'test'} images are right"
    )
    return 0


def parts(name, data_dir=None, hold_out=0):
    """(Dataset to train on, Dataset to test on): the two splits, or the first part and the rest of the training one."""
    whole = data.load(name, "train", data_dir)
    if not hold_out:
        return whole, data.load(name, "test", data_dir)
    if not 0 < hold_out <= len(whole) - BATCH_SIZE:
        raise InputError(f"--hold-out {hold_out}: must be 1 to {len(whole) - BATCH_SIZE}")
    n = len(whole) - hold_out
    return whole.subset(slice(n)), whole.subset(slice(n, None))


if __name__ == "__main__":
    sys.exit(main())
