"""`tinygan gradcheck FILE.py:FUNCTION`: check the derivatives of a function, or of a network, in a
file of the user's."""

import argparse
import contextlib
import functools
import inspect
import math
import textwrap

import numpy as np

from tinygan import nn
from tinygan.autograd import Tensor, tensor
from tinygan.autograd.checks import accepts
from tinygan.autograd.gradcheck import GradientError, GradReport, check_gradient, check_grads
from tinygan.backend import asarray, to_numpy
from tinygan.errors import InputError, warn
from tinygan.files import user_path

from .options import add, integer, output_file
from .user_file import executed

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
                f"--{option} is for a function of yours, tinygan gradcheck FILE.py:FUNCTION: leave "
                "it out"
            )


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


# The check


def run(args):
    """Check a function; print the report, or what is wrong. Return the exit code."""
    target = args.names[0]
    path, _, name = target.rpartition(":")
    if len(args.names) > 1:
        raise InputError(
            f"check one function at a time: {target} without {' '.join(args.names[1:])}"
        )
    if not path.endswith(".py") or not name.isidentifier():
        file = target.partition(".py")[0] + ".py"
        raise InputError(
            f"{target}: write {file}:NAME, where NAME is the function or network in that file"
        )
    check_options(args)
    with contextlib.ExitStack() as stack:
        execute = lambda path: stack.enter_context(executed(path))
        file = execute(path)
        check = prepared(file, name, args, execute)
        try:
            report = check()
        except GradientError as error:
            return failed(error, args.plot)
        except (InputError, MemoryError):
            raise
        except Exception as error:  # such as the engine's, for a gradient of the wrong shape
            print(failure_text(file.mistake(error)))
            return 1
        print(report.describe())
        draw(report, args.plot)
    return 0


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


def prepared(file, name, args, execute):
    """Return the check as a function without arguments. execute: a function that executes another
    file. Raises InputError if the function cannot be checked."""
    where = f"{file.path}:{name}"
    rng = np.random.default_rng(args.seed or 0)
    function = network_or_function(file.find(name), where, file)
    inputs = arguments(function, file, name, args, rng)
    options = {key: getattr(args, key) for key in ("order", "seed", "eps", "miss", "rtol", "atol")}
    options = {key: value for key, value in options.items() if value is not None}
    options |= {"mode": "full"} if args.full else {}
    by_hand = {key: getattr(args, key) for key in DERIVATIVES if getattr(args, key) is not None}
    if isinstance(function, nn.Module):
        if by_hand:
            raise InputError(f"{where} is a network: leave --{[*by_hand][0]} out")
        try_once(function, inputs, where, file)
        return lambda: check_grads(function, inputs, **options)
    function = watched(function, name, file)
    if not by_hand:
        try_once(function, inputs, where, file)
        return lambda: check_grads(function, inputs, **options)
    with_value = by_hand.get("gradient") == "True"
    try_arrays(function, inputs, with_value, where, [*by_hand][0])
    derivatives = {
        key: text == "True" or derivative(text, file, f"--{key}", execute)
        for key, text in by_hand.items()
    }
    x = tuple(inputs) if len(inputs) > 1 else inputs[0]

    def check():
        try:
            return check_gradient(function, x=x, **derivatives, **options)
        except GradientError:
            raise
        except InputError as error:
            text = str(error)
            if text.startswith("check_gradient: "):
                text = f"{where}: {text.removeprefix('check_gradient: ')}"
            raise InputError(text) from None

    return check


def network_or_function(value, where, file):
    """Return a function, or a network that is made if `value` is its class."""
    if isinstance(value, type) and issubclass(value, nn.Module):
        if not accepts(value, (), {}):
            raise InputError(
                f"{where} needs arguments: put a network into the file, such as net = "
                f"{value.__name__}(...), and check that"
            )
        try:
            return value()
        except Exception as error:
            raise file.mistake(error) from error
    if not callable(value) or isinstance(value, type):
        kind = "a class" if isinstance(value, type) else f"of type {type(value).__name__}"
        raise InputError(f"{where} is {kind}: name a function or a network")
    return value


def derivative(text, file, option, execute):
    """Return a derivative that was written by hand. text: NAME, or FILE.py:NAME."""
    path, _, name = text.rpartition(":")
    if not name.isidentifier() or path and not path.endswith(".py"):
        raise InputError(f"{option} {text}: write NAME, or FILE.py:NAME")
    if path and user_path(path).resolve() != file.path.resolve():
        file = execute(path)
    value = file.find(name)
    if not callable(value):
        raise InputError(f"{option} {text} is of type {type(value).__name__}: name a function")
    return watched(value, name, file)


def watched(function, name, file):
    """Return a function of the user's in which an exception becomes an InputError that says where
    it was raised."""

    @functools.wraps(function)
    def call(*args):
        try:
            return function(*args)
        except MemoryError:
            raise
        except Exception as error:
            raise file.mistake(error) from error

    call.__name__ = name
    return call


# The arguments


def arguments(function, file, name, args, rng):
    """Return the arguments at which to check, a list of float64 arrays."""
    own = f"{name}_inputs"
    called = getattr(function, "forward", function)
    where = f"{file.path}:{name}"
    if args.shape:
        inputs = [draw_argument(sizes, args, rng) for sizes in args.shape]
        given = f"{len(inputs)} --shape " + ("was given" if len(inputs) == 1 else "were given")
    elif hasattr(file.module, own):
        inputs = inputs_of_file(watched(file.find(own), own, file)(), f"{file.path}:{own}")
        given = f"{own} returns {len(inputs)}"
    else:
        names = required(called)
        needs = f"it takes {counted(names)}: " if names else ""
        raise InputError(
            f"{where}: {needs}give the shape of each argument, such as "
            f"{' '.join(['--shape 3,4'] * max(len(names), 1))}; or let a function {own} in the file "
            "return them"
        )
    if not accepts(called, inputs, {}):
        names = required(called)
        raise InputError(f"{where} takes {counted(names)}, but {given}")
    return inputs


def required(function):
    """Return the names of the parameters without defaults that a call must give."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some functions written in C have no signature
        return []
    kinds = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    return [p.name for p in parameters if p.kind in kinds and p.default is p.empty]


def counted(names):
    """Return "2 arguments (x, w)"."""
    n = len(names)
    return f"{n} argument{'s' * (n != 1)}" + f" ({', '.join(names)})" * bool(names)


def draw_argument(sizes, args, rng):
    if args.positive or args.range:
        return np.asarray(rng.uniform(*(args.range or (0.5, 2.0)), sizes))
    return np.asarray(rng.standard_normal(sizes))


def inputs_of_file(value, where):
    """Return the arguments that FUNCTION_inputs has returned, as arrays."""
    several = isinstance(value, (list, tuple)) and any(np.ndim(as_array(v)) for v in value)
    arrays = [as_array(v) for v in (value if several else [value])]
    if not arrays or not all(a.dtype.kind in "fiub" and np.all(np.isfinite(a)) for a in arrays):
        raise InputError(
            f"{where} must return an array of finite numbers, or a list with one for each argument"
        )
    return [np.array(a, np.float64) for a in arrays]


def as_array(value):
    """Return anything as an array of its own dtype; of dtype object if it is no array of numbers."""
    if isinstance(value, Tensor):
        return to_numpy(value.data)
    try:
        return np.asarray(value)
    except ValueError:  # lists of different lengths
        return np.empty((), object)


# Calling the function once, before the check


@np.errstate(all="ignore")  # check_finite says more than a warning
def try_once(function, inputs, where, file):
    """Call a function of Tensors. Raise InputError if it is no such function, or if the results are
    NaN or infinite."""
    parameters = []
    call = function
    if isinstance(function, nn.Module):
        call, named = function.as_function("float64")
        parameters = list(named.values())
    tensors = [tensor(asarray(x), dtype="float64") for x in inputs]
    try:
        value = call(*tensors, *parameters)
    except MemoryError:
        raise
    except Exception as error:
        if not isinstance(function, nn.Module) and takes_arrays(function, inputs):
            raise InputError(_not_of_tensors(where, "takes NumPy arrays")) from None
        raise error if isinstance(error, InputError) else file.mistake(error) from error
    results = list(value) if isinstance(value, (list, tuple)) else [value]
    if not results or not all(isinstance(y, Tensor) for y in results):
        kind = next((type(y).__name__ for y in results if not isinstance(y, Tensor)), "nothing")
        raise InputError(_not_of_tensors(where, f"returns {kind}, not a Tensor"))
    check_finite([to_numpy(y.data) for y in results], where)


def _not_of_tensors(where, what):
    return (
        f"{where} {what}: for a function of NumPy arrays, name its derivative with --gradient NAME "
        "(or --jvp, --vjp); for one of Tensors, compute with tinygan.ops"
    )


def takes_arrays(function, inputs):
    """Return whether a function returns numbers when it is called with arrays."""
    try:
        return as_array(function(*[x.copy() for x in inputs])).dtype.kind in "fiub"
    except Exception:
        return False


@np.errstate(all="ignore")
def try_arrays(function, inputs, with_value, where, option):
    """Call a function of NumPy arrays. Raise InputError if it returns something else than numbers,
    or NaN or infinite ones."""
    value = function(*[x.copy() for x in inputs])
    if isinstance(value, Tensor):
        raise InputError(
            f"{where} returns a Tensor, whose gradients tinygan computes: leave --{option} out"
        )
    if with_value:
        if not isinstance(value, (tuple, list)) or len(value) != 2:
            raise InputError(f"{where} must return (value, gradient) with --gradient True")
        value = value[0]
    array = as_array(value)
    if array.dtype.kind in "fiub":
        check_finite([array], where)


def check_finite(arrays, where):
    if not all(np.all(np.isfinite(a)) for a in arrays):
        raise InputError(
            f"{where} is NaN or infinite at these arguments: draw others with --positive or "
            "--range LOW HIGH, or another --seed"
        )


# The result


def failure_text(message):
    """Return the word FAIL, and a text indented below it."""
    return "FAIL\n" + textwrap.indent(str(message), "    ")


def failed(error, plot):
    """Print what is wrong; return the exit code."""
    report = error.report if isinstance(error.report, GradReport) else GradReport()
    failure, report.failure = report.failure, None
    if report.orders:
        print(report.describe())
    report.failure = failure
    print(failure_text(error.describe()))
    draw(report, plot)
    return 1


def draw(report, plot):
    """Draw the picture of a report if there is something to draw."""
    if plot is None:
        return
    if not report.orders and not (report.failure and report.failure.line):
        warn(f"{plot} is not written: this failure was found without differences")
        return
    report.plot(plot)
    print(f"picture: {plot}")
