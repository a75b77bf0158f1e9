"""The command line of a study: its options, and how its errors are shown."""

import argparse
import sys
from collections.abc import Sequence

from tinygan.errors import InputError, exit_code, say


def make_parser(doc: str | None, seeds: Sequence[int]) -> argparse.ArgumentParser:
    """Return the parser of a script's command line. doc: the script's docstring, its help. seeds:
    the default seeds of `--full`."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--full",
        dest="size",
        action="store_const",
        const="full",
        help="run the real experiment; you can interrupt it and continue at any time",
    )
    size.add_argument(
        "--tiny",
        dest="size",
        action="store_const",
        const="tiny",
        help="take a few steps of everything, to test that the script runs",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        metavar="N",
        help=f"train with these seeds (default: 0; with --full {' '.join(map(str, seeds))})",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="train N runs at the same time, each with one thread; 1: one run with all threads "
        "(default: the number of CPU cores)",
    )
    parser.add_argument(
        "--again",
        nargs="+",
        default=(),
        metavar="NAME",
        help="with --full: measure these runs or other measurements again; NAME as in the file in "
        "results/",
    )
    return parser


def print_error_in_one_line(kind, error, trace):
    """Handle an uncaught exception of a script (as sys.excepthook): bad input and an interrupt are
    one line on stderr, other exceptions have a traceback."""
    if issubclass(kind, InputError):
        say(f"error: {error}")
        raise SystemExit(2)
    if issubclass(kind, KeyboardInterrupt):
        say("interrupted: with --full, finished work is kept; the same command continues it")
        raise SystemExit(exit_code(error))
    sys.__excepthook__(kind, error, trace)
