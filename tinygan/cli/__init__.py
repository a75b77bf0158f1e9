"""The command line: `tinygan train` and its siblings. Errors of use are one line on stderr and exit code 2."""

import argparse
import os
import signal
import sys
import threading

from tinygan.errors import InputError, Interrupted, one_line, say

from .common import for_system
from .figures import animate, truncation
from .runs import measure, sample, train
from .styles import mix, noise, ppl, project, separability
from .tools import bench, gradcheck, list_data, list_recipes, show


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line."""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {one_line(message)} (see {self.prog} --help)\n")


def main(argv=None) -> int:
    """Run a command; returns its exit code."""
    parser, argv = make_parser(), sys.argv[1:] if argv is None else argv
    for text in argv:
        if not for_system(text):  # nor can a shell give it to us
            parser.error(f"no argument, and no file's name, can be {text}")
    args = parser.parse_args(argv)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path that the terminal cannot show is no error
    before = None
    try:
        if threading.current_thread() is threading.main_thread():
            before = signal.signal(signal.SIGTERM, terminate)
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


def make_parser():
    parser = Parser(prog="tinygan", description="The GAN family tree in NumPy: train, sample and look inside.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name, run, summary):
        sub = commands.add_parser(name, help=summary, description=summary)
        sub.set_defaults(run=run)
        return sub

    p = command("train", train, "train a recipe; without arguments, the default one on the built-in digits")
    p.add_argument("recipe", nargs="?", metavar="RECIPE", help="see `tinygan recipes` (default: quick)")
    p.add_argument("--data", metavar="NAME",
                   help="digits (default), mnist, fashion-mnist, stacked-mnist...: see `tinygan data`")
    p.add_argument("--data-dir", metavar="DIR", help="folder with the data set's IDX files")
    p.add_argument("--steps", metavar="N", help="training steps; with --resume, the new total")
    p.add_argument("--batch-size", metavar="N", help="images per step")
    p.add_argument("--seed", type=seed, metavar="N", help="of all random numbers (default: 0)")
    p.add_argument("--out", metavar="DIR", help="run folder (default: a new one under runs/)")
    p.add_argument("--resume", metavar="DIR", help="continue the run in DIR from its last checkpoint")
    p.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE",
                   help="settings of the recipe, listed by `tinygan recipes RECIPE`")
    add_device(p)

    p = command("sample", sample, "draw images with a trained generator")
    add_run(p)
    p.add_argument("-n", type=positive, metavar="N", help="how many images (default: 64; of a walk of classes 16)")
    p.add_argument("--label", type=int, metavar="K", help="class of the images, for a conditional recipe")
    add_draws(p)
    p.add_argument("--walk", choices=("latents", "styles", "classes"),
                   help="what changes in a .gif: z, from image to image (the default), w instead, or the class, of all")
    p.add_argument("-o", "--output", required=True, metavar="FILE",
                   help=".png (a grid), .gif (a walk through the latents) or .npz (images, uint8 NHWC)")
    add_device(p)

    p = command("eval", measure, "measure a trained generator against the test images; writes metrics.json")
    add_run(p)
    p.add_argument("-n", type=positive, metavar="N",
                   help="how many samples (default: 10,000; of a stacked data set 26,000, as papers have it)")
    p.add_argument("--split", choices=("test", "held-out"), default="test",
                   help="the real images: the test set, or those held out of training, to choose settings by")
    add_draws(p)
    p.add_argument("--data-dir", metavar="DIR", help="folder with the data set's IDX files")
    add_device(p)

    p = command("truncation", truncation, "draw FID, precision and recall over the strength of the truncation trick")
    add_run(p)
    p.add_argument("-n", type=positive, default=5000, metavar="N", help="samples for each (default: 5,000)")
    p.add_argument("--thresholds", type=float, nargs="+", metavar="T",
                   help="default: from 0.1 to 3; psi of a recipe with styles, -1 to 1.2")
    p.add_argument("--data-dir", metavar="DIR", help="folder with the data set's IDX files")
    p.add_argument("-o", "--output", required=True, metavar="FILE.png",
                   help="curves; beside them, FILE-grid.png (samples) and FILE-numbers.json")
    add_device(p)

    def of_styles(name, run, summary, n, what, least=2):
        p = command(name, run, summary)
        add_run(p)
        p.add_argument("-n", type=whole(least, 10 ** 6), default=n, metavar="N", help=f"{what} (default: {n:,})")
        add_draws(p)
        p.add_argument("-o", "--output", required=True, metavar="FILE.png")
        add_device(p)
        return p

    p = of_styles("mix", mix, "mix the styles of two images: coarse, middle and fine ones", 10,
                  "images whose styles are taken")
    p.add_argument("--rows", type=positive, default=3, metavar="N", help="images that take them (default: 3)")
    p = of_styles("noise", noise, "draw what the noise inputs of a G with styles do", 8, "images")
    p.add_argument("--draws", type=whole(2, 1000), default=50, metavar="N",
                   help="of noise, for its deviation (default: 50)")

    p = command("project", project, "find the style w for which G draws a given image")
    add_run(p)
    which = p.add_mutually_exclusive_group()
    which.add_argument("--test", type=whole(0, 10 ** 9), nargs="+", metavar="N",
                       help="the numbers of test images (default: 0 1 2 3)")
    which.add_argument("--images", nargs="+", metavar="FILE", help="pictures instead, scaled to the size of the data set's "
                       "(digits are white on black)")
    p.add_argument("--steps", type=whole(10, 10 ** 6), default=300, metavar="N", help="of descent (default: 300)")
    p.add_argument("--per-layer", action="store_true", help="a style for each layer, instead of one for all")
    p.add_argument("--data-dir", metavar="DIR", help="folder with the data set's IDX files")
    p.add_argument("-o", "--output", required=True, metavar="FILE.png", help="and, beside it, FILE-styles.npz")
    add_weights(p)
    add_device(p)

    of_styles("ppl", ppl, "measure the perceptual path length in Z and in W", 1000, "paths of each kind", 10)
    of_styles("separability", separability, "measure the linear separability of Z and of W", 5000, "samples", 80)

    p = command("animate", animate, "make a GIF of the sample grids that a run wrote")
    p.add_argument("run_folder", metavar="RUN", help="a run folder")
    p.add_argument("--milliseconds", type=whole(10, 10_000), default=150, metavar="MS", help="for each grid (default: 150)")
    p.add_argument("-o", "--output", required=True, metavar="FILE.gif")

    p = command("recipes", list_recipes, "list the recipes, or the settings of one")
    p.add_argument("recipe", nargs="?", metavar="RECIPE")

    p = command("show", show, "print the layers of a recipe's networks: shapes, parameters, multiply-adds")
    p.add_argument("recipe", metavar="RECIPE")
    p.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="settings of the recipe")

    p = command("data", list_data, "list the data sets, what is here and where")
    p.add_argument("--data-dir", metavar="DIR", help="a folder to look in first")

    p = command("bench", bench, "time a training step of six workloads, by itself or beside PyTorch or JAX")
    p.add_argument("names", nargs="*", metavar="WORKLOAD",
                   help="dcgan, dcgan-r1, wgan-gp, stylegan2, lenet, mlp (default: all)")
    p.add_argument("--against", choices=("torch", "jax"),
                   help="measure this one beside us, turn by turn; the exit code is 1 if a ratio misses its target")
    p.add_argument("--rounds", type=positive, default=8, metavar="N", help="turns of half a second each (default: 8)")
    p.add_argument("--memory", action="store_true", help="peak memory of a step")
    p.add_argument("--overhead", action="store_true", help="what an op costs on tiny tensors")
    p.add_argument("--growth", action="store_true", help="time by batch size and image size")
    p.add_argument("--augment", action="store_true", help="what DiffAugment and ADA add to a step")
    p.add_argument("--profile", action="store_true", help="where the time of each workload goes, op by op")
    p.add_argument("-o", "--output", metavar="FILE.json", help="write the numbers of the tables, too")
    add_device(p)

    p = command("gradcheck", gradcheck, "check every op's first and second derivatives against differences")
    p.add_argument("names", nargs="*", metavar="NAME", help="only rows whose name contains one of these")
    return parser


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


positive, seed = whole(1, 10 ** 9), whole(0, 2 ** 63)


def add_run(parser):
    parser.add_argument("run_folder", metavar="RUN", help="a run folder, or one of its checkpoints")
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="of the latents (default: 0)")


def add_draws(parser):
    parser.add_argument("--truncation", type=float, metavar="T",
                        help="draw latents within [-T, T], or styles w that are T times as far from their mean: "
                             "better images, and less variety")
    add_weights(parser)


def add_weights(parser):
    parser.add_argument("--weights", choices=("average", "last"), default="average",
                        help="G's averaged weights (EMA; the default), or those of the last step")


def add_device(parser):
    parser.add_argument("--device", choices=("cpu", "gpu"), help="where to compute (default: $TINYGAN_BACKEND, or cpu)")
