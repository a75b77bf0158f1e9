"""The command line: `tinygan train` and its siblings. A mistake of the user's is one line on stderr and exit code 2.

    runs.py      train, sample, eval
    figures.py   truncation, animate
    styles.py    mix, noise, project, ppl, separability
    tools.py     recipes, show, data, gradcheck, bench
    options.py   the options that several of them take
    common.py    what several of them do

The function `train_options` adds the options of the command `train` to its parser; `train` runs it; and so for each command.
Each imports what it needs only when it runs, so that `tinygan --help` starts at once.
"""

import os
import signal
import sys
import threading

from tinygan.errors import InputError, Interrupted, say
from tinygan.version import __version__

from .figures import animate, animate_options, truncation, truncation_options
from .options import Parser
from .runs import eval_options, evaluate, sample, sample_options, train, train_options
from .styles import (mix, mix_options, noise, noise_options, ppl, ppl_options, project, project_options, separability,
                     separability_options)
from .tools import (bench, bench_options, data_options, gradcheck, gradcheck_options, list_data, list_recipes, recipes_options,
                    show, show_options)


def main(argv=None) -> int:
    """Run a command of tinygan; returns its exit code. argv: its words (default: those of this process)."""
    return run_command(make_parser(), argv)


def make_parser():
    parser = Parser(prog="tinygan", description="The GAN family tree in NumPy: train, sample and look inside.")
    parser.add_argument("--version", action="version", version=f"tinygan {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, options, run, summary in (
            ("train", train_options, train, "train a recipe; without arguments, the default one on the built-in digits"),
            ("sample", sample_options, sample, "draw images with a trained generator"),
            ("eval", eval_options, evaluate,
             "measure a trained generator against the test images; writes metrics.json"),
            ("truncation", truncation_options, truncation,
             "draw FID, precision and recall over the strength of the truncation trick"),
            ("mix", mix_options, mix, "mix the styles of two images: coarse, middle and fine ones"),
            ("noise", noise_options, noise, "draw what the noise inputs of a G with styles do"),
            ("project", project_options, project, "find the style w for which G draws a given image"),
            ("ppl", ppl_options, ppl, "measure the perceptual path length in Z and in W"),
            ("separability", separability_options, separability, "measure the linear separability of Z and of W"),
            ("animate", animate_options, animate, "make a GIF of the sample grids that a run wrote"),
            ("recipes", recipes_options, list_recipes, "list the recipes, or the settings of one"),
            ("show", show_options, show, "print the layers of a recipe's networks: shapes, parameters, multiply-adds"),
            ("data", data_options, list_data, "list the data sets, what is here and where"),
            ("gradcheck", gradcheck_options, gradcheck, "check every op's first and second derivatives against differences"),
            ("bench", bench_options, bench, "say how to time training steps, which takes a checkout")):
        command = commands.add_parser(name, help=summary, description=summary)
        command.set_defaults(run=run)
        options(command)
    return parser


def run_command(parser, argv=None) -> int:
    """Parse a command line and call the `run` that the parser finds for it; returns its exit code.

    Bad input, a full disk and the like become one line on stderr; Ctrl-C and SIGTERM end the command.
    """
    args = parser.parse_args(sys.argv[1:] if argv is None else argv)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path that the terminal cannot show is no error
    before = None
    try:
        if threading.current_thread() is threading.main_thread():
            before = signal.signal(signal.SIGTERM, terminate)
        if getattr(args, "device", None):
            from tinygan import backend

            backend.use_device(args.device)
        return args.run(args) or 0
    except (InputError, OSError) as error:
        if isinstance(error, BrokenPipeError):  # the reader of our output has gone, as in `| head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if args.run is not train:
                return 0
            print("tinygan: training ended, because its output was closed", file=sys.stderr)
            return 1
        say(f"error: {error}")
        return 2
    except MemoryError as error:
        say(f"error: out of memory ({error}): ask for less at once")
        return 2
    except KeyboardInterrupt as stopped:
        print("tinygan: interrupted", file=sys.stderr)
        return 128 + getattr(stopped, "signal", signal.SIGINT)
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def terminate(number, frame):
    """SIGTERM is an exception here, as Ctrl-C is, so that half-written files go."""
    raise Interrupted(number)
