"""The pytest plugin of tinygan: the fixture `gradcheck`, and failures that show the gradients.

pytest loads this file wherever tinygan is installed (elsewhere: pytest_plugins = "tinygan_pytest"
in conftest.py). It imports tinygan only when a test uses it.

    def test_my_layer(gradcheck):
        gradcheck(my_function, inputs)                    # of Tensors: tinygan.check_grads
        gradcheck.gradient(f, its_gradient, x)            # of NumPy arrays: tinygan.check_gradient
        gradcheck.module(network, x)                      # tinygan.check_module
        gradcheck.training_step("dcgan", data="digits")   # tinygan.check_training_step

Where a check or `tinygan.assert_gradient` fails, the report of the test ends at the test's own line
and shows which entries differ, by how much, and what usually causes it. `pytest --full-trace` shows
the calls inside of tinygan too.
"""

import contextlib
import os
import sys

import pytest


class GradientChecks:
    """The gradient checks of tinygan. Each takes the arguments of the function in tinygan, and
    returns its report (`report.describe()`, `report.plot(path)`)."""

    def __call__(self, f, inputs, *args, **options):
        """Check the derivatives of a function of Tensors, or of a Module: see check_grads."""
        import tinygan

        return tinygan.check_grads(f, inputs, *args, **options)

    def gradient(self, f, gradient=None, x=None, **options):
        """Check a hand-written derivative of a function of NumPy arrays: see check_gradient."""
        import tinygan

        return tinygan.check_gradient(f, gradient, x, **options)

    def module(self, net, x, **options):
        """Check the gradients of a network: see check_module."""
        import tinygan

        return tinygan.check_module(net, x, **options)

    def training_step(self, *args, **options):
        """Check that optimisers get the gradients of the losses: see check_training_step."""
        import tinygan

        return tinygan.check_training_step(*args, **options)


@pytest.fixture(scope="session")
def gradcheck():
    """Gradient checks: gradcheck(f, inputs), gradcheck.gradient(f, gradient, x),
    gradcheck.module(net, x) and gradcheck.training_step(...). Each raises tinygan.GradientError."""
    return GradientChecks()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Make the report of a GradientError say all that is known about it."""
    gradcheck = sys.modules.get("tinygan.autograd.gradcheck")
    of_unittest = getattr(item, "_excinfo", None)  # of a unittest.TestCase: pytest moves it later
    excinfo = call.excinfo or (of_unittest[0] if of_unittest else None)
    kind = getattr(gradcheck, "GradientError", ())
    with contextlib.ExitStack() as stack:
        if excinfo and isinstance(excinfo.value, kind):
            stack.enter_context(_in_full(excinfo.value))
            if not item.config.getoption("fulltrace", False):
                stack.enter_context(_without_the_inside(excinfo, gradcheck.__file__))
        elif excinfo and _is_bad_input_to_a_check(excinfo, gradcheck):
            if not item.config.getoption("fulltrace", False):
                stack.enter_context(_without_the_inside(excinfo, gradcheck.__file__))
        yield


def _is_bad_input_to_a_check(excinfo, gradcheck):
    """Return whether a gradient check refuses what it was given, in one line that says all."""
    if gradcheck is None or not isinstance(excinfo.value, sys.modules["tinygan.errors"].InputError):
        return False
    folder = os.path.dirname(os.path.abspath(gradcheck.__file__)) + os.sep
    files = [os.path.abspath(entry.path) for entry in excinfo.traceback]
    return any(file.startswith(folder) for file in files)


@contextlib.contextmanager
def _without_the_inside(excinfo, file):
    """Let a traceback end at the call of tinygan for the block. file: of the package gradcheck.

    The links between the entries are cut, because pytest copies tracebacks by following them.
    """
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(file))))
    hidden = package + os.sep, os.path.abspath(__file__)
    numpy = os.sep + "numpy" + os.sep  # a decorator of NumPy's (errstate) calls the check
    last, entry = None, excinfo.tb
    while entry is not None:
        path = os.path.abspath(entry.tb_frame.f_code.co_filename)
        if path.startswith(hidden):
            break
        last = entry if last is None or numpy not in path else last
        entry = entry.tb_next
    if entry is None or last is None:
        yield
        return
    inside, before = last.tb_next, excinfo.traceback
    last.tb_next = None
    excinfo.traceback = type(before)(excinfo.tb)
    try:
        yield
    finally:
        last.tb_next = inside
        excinfo.traceback = before


@contextlib.contextmanager
def _in_full(error):
    """Let an error have its whole description as its message for the block."""
    args, notes = error.args, getattr(error, "__notes__", None)
    text = error.describe()
    error.args = (text,)
    if notes:  # Python prints them too
        error.__notes__ = [note for note in notes if note not in text]
    try:
        yield
    finally:
        error.args = args
        if notes:
            error.__notes__ = notes
