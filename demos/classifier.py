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

import numpy as np

from tinygan import data
from tinygan.cli.options import output_file, path_argument
from tinygan.errors import InputError
from tinygan.metrics import learning
from tinygan.metrics.learning import Augmentation, accuracy_on
from tinygan.metrics.network import WEIGHTS_OF, Classifier, read, write
from tinygan.screen import Display

BATCH_SIZE = 128
EPOCHS = 12


AUGMENTATIONS = {"mnist": Augmentation(), "fashion-mnist": Augmentation(0.0, 0.05, 1.0, flip=True)}


def train(dataset, augmentation, seed=0, epochs=EPOCHS, progress=False):
    """Train a Classifier on `dataset` (28x28x1), and return it in evaluation mode."""
    rng = np.random.default_rng([seed, 0, 1])  # independent of the shuffling of the data
    net, steps = Classifier(rng=rng), epochs * (len(dataset) // BATCH_SIZE)
    bar = "" if progress else None
    return learning.train(net, dataset, augmentation, rng, steps, BATCH_SIZE, seed, bar)


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
