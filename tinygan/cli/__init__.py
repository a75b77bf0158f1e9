"""The command line: `tinygan train` and the other commands.

A user's mistake becomes one line on stderr, with exit code 2.

    train.py       train
    samples.py     sample, animate
    styles.py      mix, noise, project
    measures.py    eval, truncation, ppl, separability
    compare.py     eval, with two sets of images
    export.py      export
    lab.py         lab, explore
    tools.py       recipes, show, data, bench
    gradcheck.py   gradcheck
    function_check.py, function_options.py, user_file.py    gradcheck, with a function in a file
    options.py     options that several commands share
    generators.py  loading the trained generator that the options select
    common.py      printing tables, naming output files

Every command NAME has two functions in its file: NAME_options adds its options to a parser, and
run_NAME runs it. A file is imported only when one of its commands is called.
"""

import contextlib
import errno
import importlib
import sys

from tinygan import backend, screen
from tinygan.errors import HANG_UP, InputError, exit_code, interrupt, on_signals, say
from tinygan.files import remove_temporary
from tinygan.version import __version__

from .options import Parser

COMMANDS = {  # name: (its file, its summary)
    "train": (
        "train",
        "train a recipe; without arguments, train the default recipe on the built-in digits",
    ),
    "sample": ("samples", "generate images with a trained generator"),
    "eval": (
        "measures",
        "compare a trained generator with the test images, and write metrics.json; or compare any "
        "two sets of images",
    ),
    "truncation": (
        "measures",
        "plot FID, precision and recall against the strength of the truncation trick",
    ),
    "mix": ("styles", "replace the coarse, middle or fine styles of images by those of others"),
    "noise": ("styles", "show what the noise inputs of a generator with styles do"),
    "project": ("styles", "find the style w for which the generator reproduces a given image"),
    "ppl": ("measures", "measure the perceptual path length in Z and in W"),
    "separability": ("measures", "measure the linear separability of Z and of W"),
    "lab": (
        "lab",
        "in the browser, watch a GAN learn points in the plane, and change it meanwhile",
    ),
    "explore": ("lab", "walk through the latents of a trained generator, in the browser"),
    "animate": (
        "samples",
        "make a film or a page from the sample grids of a run: .webp, .gif, .html",
    ),
    "export": ("export", "write the weights of a run to a safetensors file, for PyTorch"),
    "recipes": ("tools", "list the recipes, or the settings of one recipe"),
    "show": ("tools", "print the layers of a recipe or a run: shapes, parameters, multiply-adds"),
    "data": (
        "tools",
        "show a data set, or your own pictures, as training sees them; or list all sets",
    ),
    "gradcheck": (
        "gradcheck",
        "check the first and second derivatives of every op and layer against finite differences; "
        "or those of your own function, FILE.py:FUNCTION",
    ),
    "bench": ("tools", "print how to run the benchmark, which needs a checkout of tinygan"),
}


READER_GONE = errno.EPIPE, errno.EINVAL, errno.EIO, errno.EBADF  # EINVAL: a pipe on Windows


def main(argv=None) -> int:
    """Run a command of tinygan, and return its exit code.

    argv: the words of the command line, without the program's name (default: this process's).
    """
    words = (sys.argv[1:] if argv is None else argv) or ["--help"]
    return run_command(make_parser(words), words)


def make_parser(words=COMMANDS):
    """Return the parser for a command line with these words. It knows the options of only those
    commands that are among the words, because it must import their files."""
    parser = Parser(
        prog="tinygan",
        description="The GAN family tree in NumPy: train GANs, generate images, look inside.",
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
    """Parse a command line, call `run(args)`, which the parser sets, and return the exit code.

    Bad input, a full disk and similar errors become one line on stderr. Ctrl-C, SIGTERM and SIGHUP
    end the command. An output that cannot be written does not: the command goes on, and says so at
    its end, unless the reader has gone, as in `| head`.
    """
    screen.open_missing_streams()
    out, err = screen.Display(sys.stdout), screen.Display(sys.stderr)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            command, code = run(parser, sys.argv[1:] if argv is None else argv)
        finally:
            out.flush()
            err.flush()
        # What a training prints is also in its folder.
        if code == 0 and command != "train" and isinstance(out.lost, OSError):
            if out.lost.errno not in READER_GONE:
                say(f"error: cannot write the output ({out.lost.strerror}): send it elsewhere")
                return 2
        return code


def run(parser, argv):
    """Return (the name of the command, its exit code)."""
    command = None
    try:
        with on_signals(
            ["SIGINT", "SIGTERM", *HANG_UP], interrupt, unless_ignored=["SIGINT", *HANG_UP]
        ):
            args = parser.parse_args(argv)
            command = getattr(args, "command", None)
            if getattr(args, "device", None):
                backend.use_device(args.device)
            if getattr(args, "output", None):
                remove_temporary(args.output.parent)
            return command, args.run(args) or 0
    except (InputError, OSError) as error:
        say(f"error: {error}")
        return command, 2
    except MemoryError as error:
        say(f"error: out of memory ({error}): use smaller batches, or ask for fewer images")
        return command, 2
    except KeyboardInterrupt as interruption:
        say("interrupted")
        return command, exit_code(interruption)
