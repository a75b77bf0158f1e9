"""The command line: `tinygan train` and its siblings. Mistakes are one line on stderr, and exit code 2.

    runs.py      train, sample, eval
    figures.py   truncation, animate
    styles.py    mix, noise, project, ppl, separability
    tools.py     recipes, show, data, gradcheck, bench
    options.py   the options that several of them take
    common.py    what several of them do

The function `train_options` adds the options of the command `train` to its parser, and `train` runs
it; so it is for every command. Each imports what it needs only when it runs, so that
`tinygan --help` starts at once.
"""

import os
import signal
import sys
import threading

from tinygan.errors import InputError, Interrupted, say
from tinygan.version import __version__

from . import figures, runs, styles, tools
from .options import Parser


def main(argv=None) -> int:
    """Run a command of tinygan; returns its exit code. argv: its words (default: this process's)."""
    return run_command(make_parser(), argv)


def make_parser():
    parser = Parser(prog="tinygan",
                    description="The GAN family tree in NumPy: train, sample and look inside.")
    parser.add_argument("--version", action="version", version=f"tinygan {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, options, run, summary in (
            ("train", runs.train_options, runs.train,
             "train a recipe; without arguments, the default one on the built-in digits"),
            ("sample", runs.sample_options, runs.sample,
             "draw images with a trained generator"),
            ("eval", runs.eval_options, runs.evaluate,
             "measure a trained generator against the test images; writes metrics.json"),
            ("truncation", figures.truncation_options, figures.truncation,
             "draw FID, precision and recall over the strength of the truncation trick"),
            ("mix", styles.mix_options, styles.mix,
             "mix the styles of two images: coarse, middle and fine ones"),
            ("noise", styles.noise_options, styles.noise,
             "draw what the noise inputs of a G with styles do"),
            ("project", styles.project_options, styles.project,
             "find the style w for which G draws a given image"),
            ("ppl", styles.ppl_options, styles.ppl,
             "measure the perceptual path length in Z and in W"),
            ("separability", styles.separability_options, styles.separability,
             "measure the linear separability of Z and of W"),
            ("animate", figures.animate_options, figures.animate,
             "make a GIF of the sample grids that a run wrote"),
            ("recipes", tools.recipes_options, tools.list_recipes,
             "list the recipes, or the settings of one"),
            ("show", tools.show_options, tools.show,
             "print the layers of a recipe's networks: shapes, parameters, multiply-adds"),
            ("data", tools.data_options, tools.list_data,
             "list the data sets, what is here and where"),
            ("gradcheck", tools.gradcheck_options, tools.gradcheck,
             "check every op's first and second derivatives against differences"),
            ("bench", tools.bench_options, tools.bench,
             "say how to time training steps, for which you need a checkout")):
        command = commands.add_parser(name, help=summary, description=summary)
        command.set_defaults(run=run)
        options(command)
    return parser


def run_command(parser, argv=None) -> int:
    """Parse a command line and call the `run` that the parser finds for it; returns its exit code.

    Bad input, a full disk and the like become one line on stderr. Ctrl-C and SIGTERM end it.
    """
    args = parser.parse_args(sys.argv[1:] if argv is None else argv)
    if hasattr(sys.stdout, "reconfigure"):
        # A path that the terminal cannot show is no error.
        sys.stdout.reconfigure(errors="backslashreplace")
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
            if args.run is not runs.train:
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
