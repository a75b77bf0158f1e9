"""What the commands' parsers are made of: types of arguments, and the options they share."""

import argparse
import re
from pathlib import Path

from tinygan.errors import one_line

# A NUL, or half of a surrogate pair (but for those that stand for a byte in a file's name).
IMPOSSIBLE = re.compile("[\0\ud800-\udc7f\udd00-\udfff]")


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line."""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {one_line(message)} (see {self.prog} --help)\n")

    def parse_args(self, argv=None, namespace=None):
        for text in argv or ():
            if IMPOSSIBLE.search(text):  # no shell could pass it to us
                self.error(f"no argument and no file name can be {text}")
        return super().parse_args(argv, namespace)


def whole(low, high):
    """An argparse type: whole numbers from low to high."""

    def parse(text):
        try:
            n = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text} is not a whole number") from None
        if not low <= n <= high:
            raise argparse.ArgumentTypeError(f"{text} is not between {low} and {high}")
        return n

    return parse


positive, seed = whole(1, 10**9), whole(0, 2**63)


def output(*suffixes):
    """An argparse type: the path of a file that can be written, with one of these suffixes."""

    def parse(text):
        path = Path(text)
        if path.suffix not in suffixes:
            *others, last = suffixes
            names = f"{', '.join(others)} or {last}" if others else last
            raise argparse.ArgumentTypeError(f"{path}: the name must end in {names}")
        try:
            if not path.parent.is_dir():
                raise argparse.ArgumentTypeError(f"{path}: the folder {path.parent} does not exist")
            if path.is_dir():
                raise argparse.ArgumentTypeError(f"{path}: is a folder")
        except OSError as error:  # the name is too long, for one
            raise argparse.ArgumentTypeError(f"{path}: {error.strerror}") from None
        return path

    return parse


SHARED = {
    "run_folder": {"metavar": "RUN", "help": "a run folder, or one of its checkpoints"},
    "--seed": {"type": seed, "default": 0, "metavar": "N", "help": "of the latents (default: 0)"},
    "--truncation": {
        "type": float,
        "metavar": "T",
        "help": "draw latents within [-T, T], or styles w that are T times as far from their mean: "
        "better images, and less variety",
    },
    "--weights": {
        "choices": ("average", "last"),
        "default": "average",
        "help": "G's averaged weights (EMA; the default), or those of the last step",
    },
    "--set": {"nargs": "+", "action": "extend", "default": [], "metavar": "KEY=VALUE"},
    "--data-dir": {"metavar": "DIR", "help": "folder with the data set's IDX files"},
    "--device": {
        "choices": ("cpu", "gpu"),
        "help": "where to compute (default: $TINYGAN_BACKEND, or cpu)",
    },
}


def add(parser, *names, **changes):
    """Add options that several commands take. changes: what is other for this command."""
    for name in names:
        parser.add_argument(name, **SHARED[name] | changes)


def add_output(parser, *suffixes, **changes):
    """Add -o: the path of a file with one of these suffixes."""
    parser.add_argument(
        "-o",
        "--output",
        type=output(*suffixes),
        **{"metavar": f"FILE{suffixes[0]}", "required": True} | changes,
    )


def add_style_options(parser, n, what, least=2):
    """The options of a command that draws n images, paths or samples with a run of stylegan or
    stylegan2."""
    add(parser, "run_folder", "--seed")
    parser.add_argument(
        "-n", type=whole(least, 10**6), default=n, metavar="N", help=f"{what} (default: {n:,})"
    )
    add(parser, "--truncation", "--weights")
    add_output(parser, ".png")
    add(parser, "--device")
