"""The options of `tinygan gradcheck FILE.py:FUNCTION`."""

import argparse
import math

from tinygan.errors import InputError

from .options import add, integer, output_file

MOST_ENTRIES = 10**7  # of an argument
# Derivatives written by hand: the argument of check_gradient, and what it is.
DERIVATIVES = {
    "gradient": "the function takes NumPy arrays, and NAME, in the same file or as FILE.py:NAME, "
    "returns its gradient (or its Jacobian); True: the function returns (value, gradient)",
    "jvp": "NAME(x, v) returns the Jacobian times v",
    "vjp": "NAME(x, w) returns the transposed Jacobian times w",
    "hessian": "NAME returns the matrix of second derivatives",
    "hessp": "NAME(x, v) returns the Hessian times v",
}


def add_options(parser):
    """Add the options of a check of FILE.py:FUNCTION."""
    group = parser.add_argument_group(
        "options of FILE.py:FUNCTION",
        "The function takes and returns Tensors of tinygan; with one of the options --gradient, "
        "--jvp, --vjp, --hessian and --hessp, NumPy arrays. A network is a Module, or a class of "
        "Modules that needs no arguments. The exit code is 0 if the derivatives are right and 1 if "
        "they are wrong.",
    )
    group.add_argument(
        "--shape",
        action="append",
        type=shape,
        metavar="N,N,...",
        help="the shape of an argument, which is then drawn from the standard normal distribution; "
        "one --shape for each argument; scalar for a number. Default: the arguments that a "
        "function named FUNCTION_inputs in the file returns",
    )
    drawn = group.add_mutually_exclusive_group()
    drawn.add_argument(
        "--positive", action="store_true", default=None, help="draw the arguments from [0.5, 2)"
    )
    drawn.add_argument(
        "--range",
        nargs=2,
        type=number,
        metavar=("LOW", "HIGH"),
        help="draw the arguments from [LOW, HIGH)",
    )
    group.add_argument(
        "--order",
        type=integer(1, 9),
        metavar="N",
        help="check the derivatives up to this order (default: 2)",
    )
    for name, meaning in DERIVATIVES.items():
        group.add_argument(f"--{name}", metavar="NAME", help=meaning)
    add(group, "--seed", default=None, help="the seed of the arguments and directions (default: 0)")
    group.add_argument(
        "--full",
        action="store_true",
        default=None,
        help="compare every entry of the gradient, not random directions",
    )
    group.add_argument(
        "--eps",
        type=fraction,
        metavar="E",
        help="which error of one entry must not be missed, relative to the root mean square of "
        "the gradient (default: 1e-4)",
    )
    group.add_argument(
        "--miss",
        type=fraction,
        metavar="P",
        help="with which probability it may be missed (default: 1e-6)",
    )
    group.add_argument(
        "--rtol",
        type=tolerance,
        metavar="R",
        help="let errors of up to R * |derivative| pass (default: no tolerance; the rate decides "
        "at which the Taylor remainder falls)",
    )
    group.add_argument(
        "--atol", type=tolerance, metavar="A", help="let errors of up to A pass (as --rtol)"
    )
    group.add_argument(
        "--plot",
        type=output_file(".png", ".svg", ".pdf"),
        metavar="FILE.png",
        help="draw the error over the step of the differences",
    )


OPTIONS = ("shape", "positive", "range", "order", *DERIVATIVES, "seed", "full", "eps", "miss")
OPTIONS += ("rtol", "atol", "plot")


def refuse_options(args):
    """Raise InputError if an option was given that the table of ops and layers does not use."""
    for option in OPTIONS:
        if getattr(args, option) is not None:
            raise InputError(
                f"--{option} is only for your own functions (tinygan gradcheck FILE.py:FUNCTION): "
                "leave it out"
            )


def check_options(args):
    """Raise InputError for an option that would not be used."""
    by_hand = [name for name in DERIVATIVES if getattr(args, name) is not None]
    if by_hand and args.order:
        raise InputError(
            f"--order is for functions of Tensors: leave it out with --{by_hand[0]} (second "
            "derivatives by hand: --hessian, --hessp)"
        )
    if args.hessian and args.hessp:
        raise InputError("--hessian and --hessp are both second derivatives: choose one of them")
    for option in ("eps", "miss"):
        if args.full and getattr(args, option):
            raise InputError(f"--full compares every entry, and misses none: leave --{option} out")
    for option in ("positive", "range"):
        if getattr(args, option) and not args.shape:
            raise InputError(f"--{option} says how to draw arguments: give a --shape for each")
    if args.range and not args.range[0] < args.range[1]:
        low, high = args.range
        raise InputError(f"--range {low:g} {high:g}: the first number must be smaller")


# Types of arguments


def number(text):
    """An argparse type: a finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text} is not a finite number")
    return value


def fraction(text):
    """An argparse type: a number between 0 and 1."""
    value = number(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def tolerance(text):
    """An argparse type: a number of at least 0."""
    value = number(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return value


def shape(text):
    """An argparse type: the shape of an array, such as 3,4 or (3, 4); () for "scalar"."""
    if text == "scalar":
        return ()
    inside = text.strip().removeprefix("(").removesuffix(")").strip().removesuffix(",")
    try:
        sizes = tuple(int(n) for n in inside.split(","))
    except ValueError:
        sizes = (0,)
    if min(sizes) < 1:
        raise argparse.ArgumentTypeError(
            f"{text or 'an empty text'} is not a shape: write whole numbers of at least 1, such as "
            "3,4; or scalar for a number"
        )
    if math.prod(sizes) > MOST_ENTRIES:
        raise argparse.ArgumentTypeError(
            f"{text} has more than {MOST_ENTRIES:,} entries: check a smaller shape"
        )
    return sizes
