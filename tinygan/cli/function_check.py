"""`tinygan gradcheck FILE.py:FUNCTION`: check the derivatives of a function, or of a network, in a
file of the user's."""

import contextlib
import functools
import inspect
import textwrap

import numpy as np

from tinygan import nn
from tinygan.autograd import Tensor, tensor
from tinygan.autograd.checks import accepts
from tinygan.autograd.gradcheck import (
    GradientError,
    GradReport,
    check_gradient,
    check_grads,
    check_module,
)
from tinygan.backend import to_numpy
from tinygan.errors import InputError, warn
from tinygan.files import user_path

from .function_options import DERIVATIVES, check_options
from .user_file import executed


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
        return lambda: check_module(function, inputs, **{"order": 2, **options})
    inputs = [np.asarray(x, np.float64) for x in inputs]
    function = watched(function, name, file)
    if not by_hand:
        try_once(function, inputs, where, file)
        return lambda: check_grads(function, inputs, **options)
    with_value = by_hand.get("gradient") == "True"
    try_arrays(function, inputs, with_value, where, [*by_hand][0])
    derivatives = {"gradient": True} if with_value else {}
    for key in by_hand.keys() - derivatives.keys():
        derivatives[key] = derivative(by_hand[key], file, f"--{key}", execute)
    x = tuple(inputs) if len(inputs) > 1 else inputs[0]

    def check():
        try:
            return check_gradient(function, x=x, **derivatives, **options)
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
    """Return the arguments at which to check, a list of arrays."""
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
            f"{' '.join(['--shape 3,4'] * max(len(names), 1))}; or let a function {own} in the "
            "file return them"
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
    """Return an argument of the shape `sizes`, drawn as --positive or --range says."""
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
    # Integers, such as class labels, go to a network as they are.
    return [np.array(a, a.dtype if a.dtype.kind in "iu" else np.float64) for a in arrays]


def as_array(value):
    """Return a value as an array of its own dtype, which is object if it holds no numbers."""
    if isinstance(value, Tensor):
        return to_numpy(value.data)
    try:
        return np.asarray(value)
    except ValueError:  # lists of different lengths
        return np.empty((), object)


# Calling the function once, before the check


@np.errstate(all="ignore")  # check_finite says more than a warning
def try_once(function, inputs, where, file):
    """Call a function of Tensors. Raise InputError if it does not take and return Tensors, or if
    the results are NaN or infinite."""
    parameters = []
    call = function
    if isinstance(function, nn.Module):
        call, named = function.as_function("float64")
        parameters = list(named.values())
    tensors = [x if x.dtype.kind in "iu" else tensor(x, dtype="float64") for x in inputs]
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
    """Call a function of NumPy arrays. Raise InputError if it returns a Tensor, or numbers that are
    NaN or infinite."""
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
    """Raise InputError if the results of a function are NaN or infinite."""
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
