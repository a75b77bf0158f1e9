"""Which gradient checks catch which mistakes? Plants the same mistakes in several libraries.

    python tests/tools/other_checks.py               # a table: caught / planted, of each kind
    python tests/tools/other_checks.py --all         # a row for each mistake
    python tests/tools/other_checks.py --markdown    # the table for tests/README.md
    python tests/tools/other_checks.py --only JAX --out checks.json

The mistakes of other_mistakes.py become custom functions of each library that can be imported: a
torch.autograd.Function, a jax.custom_vjp, a primitive of HIPS autograd, an op of tinygan. Each
check then runs with its defaults, at the same float64 inputs, to second order, for all arguments:

    PyTorch        gradcheck, then gradgradcheck; once more with fast_mode=True
    JAX            jax.test_util.check_grads with modes=("rev",), once as JAX comes (it converts the
                   inputs to float32) and once with jax_enable_x64
    HIPS autograd  autograd.test_util.check_grads with modes=["rev"]
    tinygan        check_grads

Each check also sees the right derivative of each function; an error there is a false alarm. A check
catches a mistake if it raises any error. All 40 mistakes take about a minute.
"""

import argparse
import importlib.metadata
import json
import sys
import types
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from other_mistakes import MISTAKES


class Library(NamedTuple):
    """What this script needs of a library.

    package: its name on PyPI, for the version.
    custom: custom(forward, vjp, count) returns the library's function of `count` arrays.
    checks: {title: check(function, inputs, order)}. A check raises an error if it finds a mistake.
    """

    package: str
    custom: Callable
    checks: dict


def pytorch():
    """A torch.autograd.Function for each function; gradcheck and gradgradcheck."""
    import torch
    from torch.autograd import gradcheck, gradgradcheck

    def sum_(x, axis=None, keepdims=False):
        return torch.sum(x) if axis is None else torch.sum(x, axis, keepdim=keepdims)

    xp = types.SimpleNamespace(
        **{name: getattr(torch, name) for name in ("exp", "tanh", "sqrt", "where", "einsum")},
        sum=sum_,
        max=torch.amax,
        concatenate=torch.cat,
        detach=lambda x: x.detach(),
        constant=lambda array, like: torch.tensor(array, dtype=like.dtype),
    )

    def custom(forward, vjp, count):
        class Function(torch.autograd.Function):
            @staticmethod
            def forward(ctx, *xs):
                y = forward(xp, *xs)
                ctx.save_for_backward(y, *xs)
                return y

            @staticmethod
            def backward(ctx, g):
                return vjp(xp, g, *ctx.saved_tensors)

        return Function.apply

    def check(fast):
        def run(f, inputs, order):
            torch.manual_seed(0)
            xs = [torch.tensor(x, requires_grad=True) for x in inputs]
            gradcheck(f, xs, fast_mode=fast)
            if order > 1:
                gradgradcheck(f, xs, fast_mode=fast)

        return run

    return Library("torch", custom, {"PyTorch": check(False), "PyTorch, fast mode": check(True)})


def jax():
    """A jax.custom_vjp for each function; check_grads in float32 and in float64."""
    import jax
    from jax import numpy as jnp
    from jax.test_util import check_grads

    names = "exp", "tanh", "sqrt", "where", "einsum", "sum", "max", "concatenate"
    xp = types.SimpleNamespace(
        **{name: getattr(jnp, name) for name in names},
        detach=jax.lax.stop_gradient,
        constant=lambda array, like: jnp.asarray(array, like.dtype),
    )

    def custom(forward, vjp, count):
        @jax.custom_vjp
        def function(*xs):
            return forward(xp, *xs)

        def function_and_residuals(*xs):
            y = function(*xs)
            return y, (y, *xs)

        function.defvjp(function_and_residuals, lambda residuals, g: vjp(xp, g, *residuals))
        return function

    def check(x64):
        def run(f, inputs, order):
            before = jax.config.jax_enable_x64
            jax.config.update("jax_enable_x64", x64)
            try:
                check_grads(f, [jnp.asarray(x) for x in inputs], order, modes=("rev",))
            finally:
                jax.config.update("jax_enable_x64", before)

        return run

    return Library("jax", custom, {"JAX, float32": check(False), "JAX, x64": check(True)})


def hips_autograd():
    """A primitive for each function, with its defvjp; check_grads."""
    from autograd import numpy as anp
    from autograd.extend import defvjp, primitive
    from autograd.test_util import check_grads

    @primitive
    def detach(x):
        return x

    defvjp(detach, None)
    names = "exp", "tanh", "sqrt", "where", "einsum", "sum", "max", "concatenate"
    xp = types.SimpleNamespace(
        **{name: getattr(anp, name) for name in names},
        detach=detach,
        constant=lambda array, like: np.asarray(array),
    )

    def custom(forward, vjp, count):
        @primitive
        def function(*xs):
            return forward(xp, *xs)

        def derivative(i):
            return lambda y, *xs: lambda g: vjp(xp, g, y, *xs)[i]

        defvjp(function, *map(derivative, range(count)))
        return function

    def run(f, inputs, order):
        np.random.seed(0)
        check_grads(f, tuple(range(len(inputs))), modes=["rev"], order=order)(*inputs)

    return Library("autograd", custom, {"HIPS autograd": run})


def tinygan():
    """An op for each function; check_grads, and the one before it, if planted/ is there."""
    from tinygan import check_grads, ops
    from tinygan.autograd import op, tensor

    names = "exp", "tanh", "sqrt", "where", "einsum", "sum", "max", "concatenate"
    xp = types.SimpleNamespace(
        **{name: getattr(ops, name) for name in names},
        detach=lambda x: x.detach(),
        constant=lambda array, like: tensor(array, dtype=like.dtype),
    )

    def custom(forward, vjp, count):
        @op(name="planted")
        def function(*xs):
            def derivative(i):
                return lambda g, y: vjp(xp, g, y, *xs)[i]

            value = forward(xp, *[x.detach() for x in xs])
            return value.data, *map(derivative, range(count))

        return function

    checks = {"tinygan": check_grads}
    try:
        from planted.check_before import check_grads as check_before
    except ModuleNotFoundError as error:  # the old check need not be there
        if not str(error.name).startswith("planted"):
            raise
    else:
        checks["tinygan, before"] = check_before
    return Library("tinygan", custom, checks)


LIBRARIES = {"PyTorch": pytorch, "JAX": jax, "HIPS autograd": hips_autograd, "tinygan": tinygan}


def available(names=LIBRARIES):
    """Return {name: Library} of those that can be imported, and name the others on stderr."""
    found = {}
    for name in names:
        try:
            found[name] = LIBRARIES[name]()
        except ImportError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    return found


def complaint(check, function, inputs, order):
    """Return the error of a check as one line; '' if the check passes."""
    try:
        check(function, inputs, order)
    except Exception as error:  # a library may refuse a wrong gradient in its own way
        first_line = next((line for line in str(error).split("\n") if line.strip()), "")
        return f"{type(error).__name__}: {first_line}"
    return ""


def measure(libraries, mistakes):
    """Return a row for each mistake: {kind, name, wrong: {check: complaint}, right: the same}.

    A check is absent from `wrong` where its library repairs the mistake.
    """
    rows = []
    for seed, mistake in enumerate(mistakes):
        row = {"kind": mistake.kind, "name": mistake.name, "wrong": {}, "right": {}}
        for name, library in libraries.items():
            for side in ("right", "wrong"):
                if side == "wrong" and name == mistake.repaired:
                    continue
                inputs = mistake.inputs(np.random.default_rng(seed))
                f = library.custom(mistake.forward, getattr(mistake, side), len(inputs))
                for title, check in library.checks.items():
                    row[side][title] = complaint(check, f, inputs, mistake.order)
        rows.append(row)
    return rows


def table(rows, checks, each):
    """Return the table as lists of strings: a header, kinds (or each mistake), two totals."""

    def caught(some, check):
        planted = [row["wrong"][check] for row in some if check in row["wrong"]]
        return f"{sum(map(bool, planted))}/{len(planted)}"

    lines = [["mistake", *checks]]
    for kind in dict.fromkeys(row["kind"] for row in rows):
        some = [row for row in rows if row["kind"] == kind]
        if each:
            for row in some:
                marks = [
                    ("caught" if row["wrong"][check] else "missed")
                    if check in row["wrong"]
                    else "repaired"
                    for check in checks
                ]
                lines.append([f"{kind}: {row['name']}", *marks])
        else:
            lines.append([kind, *(caught(some, check) for check in checks)])
    alarms = [f"{sum(bool(row['right'][check]) for row in rows)}/{len(rows)}" for check in checks]
    lines.append(["all mistakes", *(caught(rows, check) for check in checks)])
    lines.append(["false alarms", *alarms])
    return lines


def formatted(lines, markdown):
    """Return the table as text."""
    if markdown:
        lines = [lines[0], ["---"] + ["---:"] * (len(lines[0]) - 1), *lines[1:]]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(line[1:], widths[1:])])
        for line in lines
    )


def main(argv=None):
    """Run the script; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--all", action="store_true", help="print a row for each mistake")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument(
        "--only", metavar="LIBRARY", action="append", choices=LIBRARIES,
        help=f"one of {', '.join(LIBRARIES)}; may be given several times (default: all)",
    )  # fmt: skip
    parser.add_argument("--out", metavar="FILE.json", help="also write every result to a file")
    args = parser.parse_args(argv)
    libraries = available([name for name in LIBRARIES if name in (args.only or LIBRARIES)])
    if not libraries:
        parser.error("none of the libraries can be imported")
    versions = {library.package: version(library.package) for library in libraries.values()}
    checks = [title for library in libraries.values() for title in library.checks]
    rows = measure(libraries, MISTAKES)
    print(formatted(table(rows, checks, args.all), args.markdown))
    print("\n" + ", ".join(f"{package} {number}" for package, number in versions.items()))
    if args.out:
        with open(args.out, "w", encoding="utf-8") as file:
            json.dump({"versions": versions, "mistakes": rows}, file, indent=1)
            file.write("\n")
    return 0


def version(package):
    """Return the version of an installed package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # a checkout on the path
        return getattr(sys.modules[package], "__version__", "of a checkout")


if __name__ == "__main__":
    sys.exit(main())
