"""The command line: `tinygan train` and its siblings. A mistake is one line on stderr, exit code 2.

    train.py       train
    samples.py     sample, animate
    styles.py      mix, noise, project
    measures.py    eval, truncation, ppl, separability
    tools.py       recipes, show, data, bench
    gradcheck.py   gradcheck
    options.py     the options that several of them take
    generators.py  the trained generator that a command asks for
    common.py      how several of them print, and name their files

In its file, `train_options` adds the options of the command `train` to its parser, and `run_train`
runs it; so it is for every command. A file is imported only when one of its commands is asked for.
"""

import importlib
import os
import sys

from tinygan import backend
from tinygan.errors import InputError, exit_code, interrupt, on_signals, say
from tinygan.version import __version__

from .options import Parser

COMMANDS = {  # name: (its file, a summary)
    "train": ("train", "train a recipe; without arguments, the default one on the built-in digits"),
    "sample": ("samples", "draw images with a trained generator"),
    "eval": (
        "measures",
        "measure a trained generator against the test images; writes metrics.json",
    ),
    "truncation": (
        "measures",
        "draw FID, precision and recall over the strength of the truncation trick",
    ),
    "mix": ("styles", "mix the styles of two images: coarse, middle and fine ones"),
    "noise": ("styles", "draw what the noise inputs of a G with styles do"),
    "project": ("styles", "find the style w for which G draws a given image"),
    "ppl": ("measures", "measure the perceptual path length in Z and in W"),
    "separability": ("measures", "measure the linear separability of Z and of W"),
    "animate": ("samples", "make a GIF of the sample grids that a run wrote"),
    "recipes": ("tools", "list the recipes, or the settings of one"),
    "show": ("tools", "print the layers of a recipe's networks: shapes, parameters, multiply-adds"),
    "data": ("tools", "list the data sets, what is here and where"),
    "gradcheck": ("gradcheck", "check every op's first and second derivatives against differences"),
    "bench": ("tools", "say how to time training steps, for which you need a checkout"),
}


def main(argv=None) -> int:
    """Run a command of tinygan; returns its exit code. argv: its words; default: this process's."""
    words = sys.argv[1:] if argv is None else argv
    return run_command(make_parser(words), words)


def make_parser(words=COMMANDS):
    """The parser of a command line with these words: only commands among them get their options."""
    parser = Parser(
        prog="tinygan", description="The GAN family tree in NumPy: train, sample and look inside."
    )
    parser.add_argument("--version", action="version", version=f"tinygan {__version__}")
    commands = parser.add_subparsers(
        title="commands", required=True, dest="command", metavar="COMMAND"
    )
    for name, (file, summary) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        if name in words:
            module = importlib.import_module(f".{file}", __name__)
            getattr(module, f"{name}_options")(command)
            command.set_defaults(run=getattr(module, f"run_{name}"))
    return parser


def run_command(parser, argv=None) -> int:
    """Parse a command line and call the `run` that the parser finds for it; returns its exit code.

    Bad input, a full disk and the like become one line on stderr. Ctrl-C and SIGTERM end it.
    """
    args = parser.parse_args(sys.argv[1:] if argv is None else argv)
    if hasattr(sys.stdout, "reconfigure"):
        # A path that the terminal cannot show is no error.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with on_signals(["SIGTERM"], interrupt):
            if getattr(args, "device", None):
                backend.use_device(args.device)
            return args.run(args) or 0
    except BrokenPipeError:  # the reader of our output has gone, as in `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if getattr(args, "command", None) != "train":
            return 0
        print("tinygan: training ended, because its output was closed", file=sys.stderr)
        return 1
    except (InputError, OSError) as error:
        say(f"error: {error}")
        return 2
    except MemoryError as error:
        say(f"error: out of memory ({error}): ask for less at once")
        return 2
    except KeyboardInterrupt as stopped:
        print("tinygan: interrupted", file=sys.stderr)
        return exit_code(stopped)
