"""The command gradcheck: the table of ops and layers; function_check.py has the check of a function
of the user's."""

import textwrap

from tinygan import ops, optable
from tinygan.errors import InputError

from . import function_check
from .function_options import add_options, refuse_options


def gradcheck_options(parser):
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="check only the ops and layers whose name contains one of these (default: all); or "
        "check FILE.py:FUNCTION, a function or a network in a Python file. This executes the file, "
        "as pytest does",
    )
    add_options(parser)


def run_gradcheck(args):
    if any(".py:" in name or name.endswith(".py") for name in args.names):
        return function_check.run(args)
    refuse_options(args)
    for name in args.names:
        if not any(name in row.name for row in optable.ROWS):
            if name in ops.__all__:
                raise InputError(f"the op {name} has no row in tinygan/optable/: add one")
            raise InputError(f"no op or layer has {name} in its name")
    rows = [
        row
        for row in optable.ROWS
        if not args.names or any(name in row.name for name in args.names)
    ]
    passed = 0
    print(
        f"{'op or layer':50}{'error 1':>10}{'error 2':>10}  (of the derivatives of order 1 and 2)"
    )
    for result in optable.run_gradchecks(rows):
        failure = getattr(result.report, "failure", None)
        details = failure.describe().split("\n")[1:] if failure else []
        text = "\n".join([result.message, *details])
        verdict = "pass" if result.passed else f"FAIL\n{textwrap.indent(text, '    ')}"
        print(f"{result.name:50}{result.order1:10.1e}{result.order2:10.1e}  {verdict}")
        passed += result.passed
    print(f"{passed} of {len(rows)} pass")
    return int(passed < len(rows))
