"""The parser of the command line, types of arguments, and options that several commands share."""

import argparse
import os
import re

from tinygan.errors import InputError, one_line
from tinygan.files import is_file, user_path

SLASHES = tuple(filter(None, (os.sep, os.altsep)))
# NUL, and lone surrogates; but U+DC80 to U+DCFF stand for single bytes in file names.
IMPOSSIBLE = re.compile("[\0\ud800-\udc7f\udd00-\udfff]")


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that prints an error in one line."""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {one_line(message)} (see {self.prog} --help)\n")

    def parse_args(self, argv=None, namespace=None):
        for text in argv or ():
            if IMPOSSIBLE.search(text):  # only a Python caller can pass it, no shell
                self.error(f"{text} cannot be an argument or a file name")
        return super().parse_args(argv, namespace)


def integer(low, high):
    """Return an argparse type: a whole number from low to high."""

    def parse(text):
        try:
            n = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text} is not a whole number") from None
        if not low <= n <= high:
            raise argparse.ArgumentTypeError(f"{text} is not between {low} and {high}")
        return n

    return parse


positive, seed = integer(1, 10**9), integer(0, 2**63)


def path_argument(text):
    """An argparse type: the path of a file or folder, with `~` for the home folder."""
    try:
        return user_path(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def output_file(*suffixes):
    """Return an argparse type: the path of a file to write, with one of these suffixes."""

    def parse(text):
        file = path_argument(text)
        if file.suffix not in suffixes:
            raise argparse.ArgumentTypeError(f"{file}: the name must end in {_listed(suffixes)}")
        try:
            if not file.parent.is_dir():
                raise argparse.ArgumentTypeError(f"{file}: the folder {file.parent} does not exist")
            is_file(file)  # raises an error for a folder, a link, a device
        except InputError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        except OSError as error:  # such as a name that is too long
            raise argparse.ArgumentTypeError(f"{file}: {error.strerror}") from None
        return file

    return parse


def output_file_or_folder(*suffixes):
    """Return an argparse type: the path of a file to write, as for `output_file`; or of a folder,
    which is there already, or is given with a slash at its end."""
    as_file = output_file(*suffixes)

    def parse(text):
        path, ends_in_slash = path_argument(text), text.endswith(SLASHES)
        try:
            if path.suffix in suffixes and not ends_in_slash:
                return as_file(text)
            if path.suffix in suffixes:
                problem = f"the name of a folder must not end in {path.suffix}"
            elif not ends_in_slash and not path.is_dir():
                problem = f"the name must end in {_listed(suffixes)}, or in / for a new folder"
            elif not path.parent.is_dir():
                problem = f"the folder {path.parent} does not exist"
            elif path.exists() and not path.is_dir():
                problem = "there is a file of that name: choose another one"
            else:
                return path
        except OSError as error:  # such as a name that is too long
            problem = error.strerror
        raise argparse.ArgumentTypeError(f"{path}: {problem}")

    return parse


def _listed(names):
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


SHARED = {
    "run_folder": {
        "type": path_argument,
        "metavar": "RUN",
        "help": "a run folder, or one of its checkpoints",
    },
    "--seed": {
        "type": seed,
        "default": 0,
        "metavar": "N",
        "help": "the seed of the random numbers (default: 0)",
    },
    "--truncation": {
        "type": float,
        "metavar": "T",
        "help": "restrict latents z to [-T, T]; for a recipe with styles, scale the distance of w "
        "from its mean by T. A smaller T gives better images with less variety",
    },
    "--weights": {
        "choices": ("average", "last"),
        "default": "average",
        "help": "which weights of the generator to use: their moving average (the default), or "
        "those of the last step",
    },
    "--model": {
        "type": path_argument,
        "metavar": "FILE.py",
        "help": "for a run with a model file of its own: that file, which must not have changed",
    },
    "--trust": {
        "action": "store_true",
        "help": "for a run with code of its own: execute the copy in the run folder. It can do "
        "whatever you can do on this machine, so trust whoever wrote the folder",
    },
    "--set": {"nargs": "+", "action": "extend", "default": [], "metavar": "KEY=VALUE"},
    "--data": {"metavar": "PATH", "help": "where the run's own data are now, if they have moved"},
    "--image-size": {
        "metavar": "N",
        "help": "for own images: crop them in the middle and resize them to NxN pixels, or to HxW "
        "(default: keep pictures of one size of up to 64 pixels a side, make others 32x32; keep "
        "arrays)",
    },
    "--layout": {
        "choices": ("NHWC", "NCHW"),
        "help": "for own arrays: the order of their axes (default: by the shape)",
    },
    "--labels": {
        "metavar": "FILE",
        "help": "for own images in a file: their labels, in an .npy, .npz or IDX file",
    },
    "--data-dir": {
        "type": path_argument,
        "metavar": "DIR",
        "help": "a folder to search first for the data set's IDX files",
    },
    "--device": {
        "choices": ("cpu", "gpu"),
        "help": "where to compute (default: $TINYGAN_BACKEND, or cpu)",
    },
}


def add(parser, *names, **changes):
    """Add shared options by their names. changes: settings of `add_argument` that replace the
    shared ones for this command."""
    for name in names:
        parser.add_argument(name, **SHARED[name] | changes)


def add_output(parser, *suffixes, **changes):
    """Add -o, the path of an output file with one of these suffixes. changes: settings of
    `add_argument` that replace the usual ones."""
    parser.add_argument(
        "-o",
        "--output",
        **{
            "type": output_file(*suffixes),
            "metavar": f"FILE{suffixes[0]}",
            "required": True,
            **changes,
        },
    )


def add_style_options(parser, default_n, n_help, output_help, min_n=2):
    """Add the options of a command for generators with styles. -n has the default `default_n`, the
    minimum `min_n` and the help text `n_help`; `output_help` is the help text of -o."""
    add(parser, "run_folder", "--seed")
    parser.add_argument(
        "-n",
        type=integer(min_n, 10**6),
        default=default_n,
        metavar="N",
        help=f"{n_help} (default: {default_n:,})",
    )
    truncation_help = (
        "scale the distance of w from its mean by T: a smaller T gives better images with less "
        "variety"
    )
    add(parser, "--truncation", help=truncation_help)
    add(parser, "--weights", "--model", "--trust")
    add_output(parser, ".png", help=output_help)
    add(parser, "--device")
