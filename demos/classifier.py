"""Train the classifier that the metrics use.

    python demos/classifier.py --data mnist -o FILE

Its layers and augmentation were chosen with `--hold-out 10000`, which trains on the first 50,000
training images and tests on the others (accuracy 99.5% on MNIST, 93.0% on Fashion-MNIST). The test
images were used only once, for the accuracy that is stored in the shipped files. Training takes 6
minutes on two cores.
"""

import argparse
import math
import sys
from typing import NamedTuple

import numpy as np

from tinygan import data, ops
from tinygan.autograd import Tensor, grad, no_grad
from tinygan.backend import asarray, to_numpy
from tinygan.cli.options import output_file, path_argument
from tinygan.errors import InputError
from tinygan.kernels.cpu import parallel
from tinygan.metrics.network import WEIGHTS_OF, Classifier, read, write
from tinygan.optim import Adam
from tinygan.screen import Display

BATCH_SIZE = 128
LEARNING_RATE = 3e-3  # the peak: the rate rises over the first tenth of the steps, then falls to 0
EPOCHS = 12


class Augmentation(NamedTuple):
    """The largest random change of a training image: each amount is uniform from minus to plus."""

    angle: float = 10.0  # degrees
    scale: float = 0.1
    shift: float = 2.0  # pixels
    flip: bool = False  # exchange left and right, with probability 1/2


AUGMENTATIONS = {"mnist": Augmentation(), "fashion-mnist": Augmentation(0.0, 0.05, 1.0, flip=True)}


def accuracy_on(net, dataset, batch_size=250):
    """Return the share of the images of `dataset` that `net` classifies correctly."""
    hits = 0
    with no_grad(), parallel.single_threaded_blas():
        for i in range(0, len(dataset), batch_size):
            logits = net(asarray(data.to_float(dataset.images[i : i + batch_size])))
            hits += np.sum(to_numpy(logits.data).argmax(1) == dataset.labels[i : i + batch_size])
    return float(hits / len(dataset))


def train(dataset, augmentation, seed=0, epochs=EPOCHS, progress=False):
    """Train a Classifier on `dataset` (28x28x1), with Adam on the cross-entropy of augmented
    images, and return it in evaluation mode."""
    from tqdm import tqdm

    rng = np.random.default_rng([seed, 0, 1])  # independent of the shuffling of the data
    net = Classifier(rng=rng)
    optimizer = Adam(net.parameters(), LEARNING_RATE)
    steps = epochs * (len(dataset) // BATCH_SIZE)
    parallel.keep_memory()
    with (
        parallel.single_threaded_blas(),
        tqdm(total=steps, unit="step", disable=not progress, file=Display(sys.stderr)) as bar,
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


def augmented(images, limits, rng):
    """Return images (N, 28, 28, 1) in [-1, 1], each rotated, scaled, shifted and flipped at random,
    as a Tensor. limits: an Augmentation.

    Pixels from outside the image are black, as the borders of digits and clothes are.
    """
    n, size = images.shape[:2]
    angle = np.deg2rad(rng.uniform(-limits.angle, limits.angle, n))
    scale = rng.uniform(1 - limits.scale, 1 + limits.scale, n)
    flip = rng.choice([-1, 1], n) if limits.flip else 1
    cos, sin = np.cos(angle), np.sin(angle)
    rotation = np.array([[flip * cos, -sin], [flip * sin, cos]]) * scale
    # In the coordinates of the warp, the image is 2 wide.
    shift = rng.uniform(-limits.shift, limits.shift, (n, 2, 1)) * 2 / size
    theta = np.concatenate([np.moveaxis(rotation, 2, 0), shift], axis=2)
    with no_grad():
        # The warp fills in 0, which is black in images + 1.
        return ops.affine_warp(Tensor(asarray(images + 1)), theta) - 1


def main(argv=None) -> int:
    """Train a classifier, test it, and write it to a file."""
    parser = argparse.ArgumentParser("classifier.py", description=main.__doc__)
    parser.error = lambda message: parser.exit(2, f"{parser.prog}: error: {message}\n")
    parser.add_argument(
        "--data", default="mnist", choices=("digits", *AUGMENTATIONS), help="default: mnist"
    )
    parser.add_argument(
        "--data-dir", type=path_argument, metavar="DIR", help="folder of the data set's IDX files"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of all random numbers (default: 0)"
    )
    parser.add_argument(
        "--epochs", type=int, default=EPOCHS, metavar="N", help=f"default: {EPOCHS}"
    )
    parser.add_argument(
        "--hold-out",
        type=int,
        default=0,
        metavar="N",
        help="leave out the last N training images, and test on them instead of the test set",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=output_file(".npz"),
        required=True,
        metavar="FILE",
        help="npz file for the weights",
    )
    args = parser.parse_args(argv)
    try:
        if args.seed < 0 or args.epochs < 1:
            raise InputError(
                f"--seed {args.seed} must be at least 0, --epochs {args.epochs} at least 1"
            )
        reals, test = parts(args.data, args.data_dir, args.hold_out)
        net = train(
            reals, AUGMENTATIONS[WEIGHTS_OF[args.data]], args.seed, args.epochs, progress=True
        )
        write(args.output, net, math.nan)
        net, _ = read(args.output)  # test the weights as stored, in half precision
        accuracy = accuracy_on(net, test)
        write(args.output, net, accuracy)
    except (InputError, OSError) as error:
        message = f"{parser.prog}: error: {' '.join(str(error).split())}"
        print(message, file=Display(sys.stderr))
        return 2
    kind = "held-out" if args.hold_out else "test"
    print(f"{args.output}: accuracy {accuracy:.2%} on {len(test):,} {kind} images")
    return 0


def parts(name, data_dir=None, hold_out=0):
    """Return (Dataset to train on, Dataset to test on): the training and the test split, or, with
    hold_out, the first part and the rest of the training split."""
    training = data.load(name, "train", data_dir)
    if not hold_out:
        return training, data.load(name, "test", data_dir)
    if not 0 < hold_out <= len(training) - BATCH_SIZE:
        raise InputError(f"--hold-out {hold_out}: must be 1 to {len(training) - BATCH_SIZE}")
    n = len(training) - hold_out
    return training.subset(slice(n)), training.subset(slice(n, None))


if __name__ == "__main__":
    sys.exit(main())
