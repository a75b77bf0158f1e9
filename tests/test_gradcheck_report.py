"""The report of a gradient check: what it says in words, and the picture that it draws."""

import sys
import traceback

import numpy as np
import pytest
from PIL import Image

from tests.mistakes import error_of
from tinygan import GradientError, check_grads, check_module, nn, ops
from tinygan.autograd import op
from tinygan.autograd.gradcheck import GradReport, check_gradient


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def wrong(f, *args, **settings):
    with pytest.raises(GradientError) as raised:
        f(*args, **settings)
    return raised.value


def sines(w):
    return np.sum(np.sin(w))


@op
def once_detached(x, /):
    return x.data**3, lambda g: 3.0 * g * x * x.detach()


RIGHT = {
    "smooth": lambda: check_grads(lambda x: ops.tanh(x) * x, normal(4, 4)),
    "linear": lambda: check_grads(lambda x: 3.0 * x, normal(4)),
    "exactly 0": lambda: check_gradient(lambda w: np.sum(0 * w), lambda w: 0 * w, normal(4)),
    "kinky": lambda: check_grads(lambda x, w: ops.relu(x @ w), [normal(9, 5), normal(5, 90)]),
    "at a kink": lambda: check_grads(ops.relu, np.array([0.0, 1.7, -0.6])),
    "scalar": lambda: check_gradient(np.exp, np.exp, 0.5),
    "a Hessian": lambda: check_gradient(
        sines, np.cos, normal(4), hessian=lambda w: np.diag(-np.sin(w))
    ),
    "noisy": lambda: check_gradient(lambda w: np.float32(sines(w)), np.cos, normal(4)),
    "every entry": lambda: check_grads(ops.exp, normal(3), mode="full"),
    "empty": lambda: check_grads(ops.exp, np.zeros((0, 3))),
    "tolerance": lambda: check_gradient(sines, np.cos, normal(4), rtol=1e-3),
}
WRONG = {
    "factor 2": lambda: wrong(check_gradient, sines, lambda w: 2 * np.cos(w), normal(4)),
    "factor 1 + 1e-7": lambda: wrong(
        check_gradient, sines, lambda w: (1 + 1e-7) * np.cos(w), normal(4)
    ),
    "NaN": lambda: wrong(check_gradient, sines, lambda w: np.nan * w, normal(4)),
    "second order": lambda: wrong(check_grads, once_detached, normal(4)),
    "jvp": lambda: wrong(
        check_gradient, np.sin, x=normal(4), jvp=lambda w, v: 2 * np.cos(w) * v
    ),
}  # fmt: skip


def texts(figure):
    """Return all text of a figure."""
    found = []
    for axes in figure.axes:
        found += [axes.get_title(), axes.get_xlabel(), axes.get_ylabel()]
        found += [text.get_text() for text in axes.texts]
        if legend := axes.get_legend():
            found += [text.get_text() for text in legend.get_texts()]
    return "\n".join(found)


@pytest.mark.parametrize("name", RIGHT)
def test_right_functions_are_described_and_drawn(name):
    report = RIGHT[name]()
    text = report.describe()
    for order in report.orders:
        assert f"{order.title}: right" in text and order.how() in text and order.chance() in text
    figure = report.plot()
    assert len(figure.axes) == len(report.orders)
    assert all(order.title in texts(figure) for order in report.orders)
    if len(report) < 2:  # the others are drawn in the same way, and take longer
        figure.draw_without_rendering()


@pytest.mark.parametrize("name", WRONG)
def test_wrong_functions_are_described_and_drawn(name):
    error = WRONG[name]()
    report, failure = error.report, error.report.failure
    text = report.describe()
    assert str(failure) in text and failure.table() in text and "ratio" in failure.table()
    assert all(f"  * {suspect}" in text for suspect in failure.suspects) and failure.suspects
    assert len(report.plot().axes) == len(report) + 1


def test_what_the_picture_shows():
    figure = RIGHT["smooth"]().plot()
    for text in (
        "step h, relative to the argument",
        "|difference quotient - derivative|",
        "truncation: h$^2$ (Taylor remainder: h$^3$)",
        "rounding: 1 / h",
        "extrapolated error: ",
        "the remainder falls with h to the power 2.0",
    ):
        assert text in texts(figure), text
    axes = figure.axes[0]
    assert axes.get_xscale() == axes.get_yscale() == "log"
    truncation = next(line for line in axes.lines if "truncation" in line.get_label())
    x, y = truncation.get_data()
    slope = np.diff(np.log(y)) / np.diff(np.log(x))
    np.testing.assert_allclose(slope, 2)
    (measured,) = [line for line in axes.lines if line.get_label() == "measured"]
    steps, remainders = measured.get_data()  # the line goes through what was measured
    expected = np.interp(np.log(steps[1:4]), np.log(x), np.log(y))
    np.testing.assert_allclose(np.log(remainders[1:4]), expected, atol=0.1)

    assert "exactly 0" in texts(RIGHT["exactly 0"]().plot())
    assert "linear or quadratic" in texts(RIGHT["linear"]().plot())
    assert "noise hides the remainder" in texts(RIGHT["noisy"]().plot())
    assert "error of the derivative: 0.5" in texts(WRONG["factor 2"]().report.plot())
    tiny = WRONG["factor 1 + 1e-7"]().report.plot()
    tiny.draw_without_rendering()
    assert "error of the derivative: 1e-07" in texts(tiny) and "is wrong at index" in texts(tiny)
    (plateau,) = [line for line in tiny.axes[0].lines if "error of" in line.get_label()]
    assert plateau.get_color() == "tab:red"
    assert plateau.get_ydata()[0] == pytest.approx(1e-7, rel=0.01)


def test_a_second_order_has_a_panel_of_its_own():
    figure = WRONG["second order"]().report.plot()
    first, second = (axes.get_title() for axes in figure.axes)
    assert first.startswith("once_detached, order 1: right")
    assert second.startswith("once_detached, order 2: x is wrong at index")


def test_a_picture_needs_no_display_and_leaves_no_state(tmp_path):
    report = RIGHT["scalar"]()
    report.plot(tmp_path / "a.PNG")
    report.plot(str(tmp_path / "a.svg"))
    with Image.open(tmp_path / "a.PNG") as image:
        assert image.size[0] >= 600
    assert (tmp_path / "a.svg").read_bytes().startswith(b"<?xml")
    assert {path.name for path in tmp_path.iterdir()} == {"a.PNG", "a.svg"}
    assert (
        "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
    )
    assert len(GradReport().plot().axes) == 1  # nothing was checked


def test_a_picture_that_cannot_be_written_leaves_nothing(tmp_path):
    report = RIGHT["scalar"]()
    assert "cannot write" in error_of(report.plot, tmp_path / "missing" / "picture.png")
    (tmp_path / "folder.png").mkdir()
    error_of(report.plot, tmp_path / "folder.png")
    assert "must end with .png, .pdf, .svg" in error_of(report.plot, tmp_path / "picture.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def test_the_method_and_what_it_says():
    methods = {"smooth": "rate", "linear": "rate", "tolerance": "tolerance"}
    methods |= {"kinky": "extrapolation", "noisy": "extrapolation"}
    assert {name: RIGHT[name]().orders[0].method for name in methods} == methods
    assert "hides the Taylor remainder" in RIGHT["noisy"]().describe()
    every_entry = RIGHT["every entry"]().describe()
    assert "each of the 3 entries was changed by itself, and the results were summed" in every_entry
    assert (
        "within the tolerance that you set (rtol 0.001, atol 0)" in RIGHT["tolerance"]().describe()
    )
    text = RIGHT["smooth"]().describe()
    assert "falls with the power 3.0" in text and "would escape with a probability below" in text
    assert "witness" in text


def test_the_table_shows_small_differences():
    error = WRONG["factor 1 + 1e-7"]()
    table = error.report.failure.table()
    assert "1.0000001" in table and str(error.report.failure.index) in table.splitlines()[1]
    error = wrong(check_gradient, sines, lambda w: (1 + 2e-9) * np.cos(w), normal(4))
    derivative, difference = str(error).split("derivative ")[1].split(", differences ")
    assert derivative != difference.split(",")[0]
    many = wrong(check_gradient, sines, lambda w: 2 * np.cos(w), normal(40, 40)).report.failure
    assert len(many.table(rows=5).splitlines()) == 6 and "nan" not in many.table(rows=20)


def test_a_derivative_that_is_not_finite_has_differences_beside_it():
    failure = wrong(
        check_gradient, sines, lambda w: np.cos(w) / np.array([1, 1, 0, 1]), normal(4)
    ).report.failure  # fmt: skip
    assert failure.index == (2,) and np.isinf(failure.derivative)
    np.testing.assert_allclose(failure.found, np.cos(normal(4)), rtol=1e-8)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exceptions have no notes")
def test_the_details_are_notes_of_the_error():
    """So a traceback and pytest show them, once, and str(error) is one line."""
    for name, check in WRONG.items():
        error = check()
        text = "".join(traceback.format_exception(error))
        assert "\n" not in str(error), name
        assert text.count("The usual suspects:") == 1 and text.count(str(error)) == 1, name
        details = error.report.failure.describe().splitlines()[1:]
        assert "\n".join(error.__notes__).splitlines() == details


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exceptions have no notes")
def test_pytest_shows_the_details():
    shown = str(pytest.ExceptionInfo.from_exception(WRONG["factor 2"]()).getrepr())
    assert shown.count("The usual suspects:") == 1 and shown.count("2 times the differences") == 1


def test_where_f_is_not_finite_one_line_says_so():
    error = wrong(check_gradient, np.log, lambda w: 1 / w, np.zeros(5))
    text = str(error)
    assert text.startswith("log, order 1: f itself is not finite at this point (5 of 5 results")
    assert "\n" not in text and error.describe() == error.report.describe() == text
    assert "log, order 1: f is not finite at this point" in texts(error.report.plot())


def test_an_error_without_an_entry_has_a_report_too():
    rng = np.random.default_rng(0)
    error = wrong(check_gradient, lambda x: np.sum(x) * rng.random(), np.ones_like, np.ones(3))
    assert error.report.failure is None
    assert error.report.describe() == str(error) and "fix the seed" in str(error)
    assert len(error.report.plot().axes) == 1


def test_a_report_in_one_line_names_what_it_is_about():
    cube, gradient = lambda x: np.sum(x**3), lambda x: 3 * x**2
    x = np.array([0.5, 1.0, 2.0])
    only = check_gradient(cube, x=x, hessian=lambda x: np.diag(6 * x))
    assert str(only).startswith("order 2: ")
    both = check_gradient(cube, gradient, x, vjp=lambda x, w: w * 3 * x**2)
    assert str(both).count("order 1: ") == 2
    modes = str(
        check_module(nn.Sequential(nn.Linear(3, 2, rng=0), nn.Dropout(0.5, rng=0)), x[None])
    )
    assert "in training mode, order 1: " in modes and "in evaluation mode, order 1: " in modes


def test_what_a_tolerance_lets_pass_is_not_said_to_be_seen():
    cube, gradient = lambda x: np.sum(x**3), lambda x: 3 * x**2 * 1.01
    text = check_gradient(cube, gradient, np.array([0.5, 1.0, 2.0]), rtol=0.1).describe()
    assert "errors within this tolerance are not seen" in text and "escape" not in text
