"""check_grads catches planted mistakes of every kind, and finds no right derivative wrong.

`python tests/tools/planted.py` runs all of them; `pytest -m slow tests/test_planted.py` does, too.
"""

import collections
import json
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from planted import MISTAKES, RIGHT, measure, table
from planted.mechanism import ROWS, case, mistake
from planted.mechanism import planted as plant

from tinygan import check_grads, grad, ops, optable, tensor

pytestmark = pytest.mark.cpu  # the derivatives of ops have tests on the other backends

TOOL = Path(__file__).parent / "tools" / "planted.py"


def _numbers(m):
    return sum(np.size(x) for x in m.draw(np.random.default_rng(0)))


VISIBLE = sorted((m for m in MISTAKES if not m.invisible), key=_numbers, reverse=True)
SAMPLE = {m.kind: m for m in VISIBLE}  # of each kind, the one with the smallest inputs


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


# ---- the mistakes ----


def test_every_row_of_the_op_table_has_a_mistake():
    assert {row.name for row in optable.ROWS} <= {m.row for m in MISTAKES}
    assert len(MISTAKES) >= 250 and len(RIGHT) >= 250
    assert {m.kind for m in MISTAKES} == table.KINDS.keys()
    for names in ([m.name for m in MISTAKES], [r.name for r in RIGHT]):
        assert [name for name, n in collections.Counter(names).items() if n > 1] == []


@np.errstate(all="ignore")
def test_every_mistake_is_one():
    """The wrong derivatives are compared with the right ones entry by entry; no check is run."""
    for m in MISTAKES:
        order, size = measure(m)
        if m.invisible:
            assert order == 0, f"{m.name} is visible"
        else:
            assert 1 <= order <= m.order and size > 1e-8, f"{m.name} is no mistake"
            assert size < np.inf or m.kind == "NaN" or "NaN" in m.name, f"{m.name}: a wrong shape"
            assert (order > 1) <= (m.kind in ("second order", "statistics", "one entry")), m.name


def test_the_wrapper_itself_is_right():
    """Without a mistake, its gradients of both orders are the op's own."""
    for name in ("batch_norm vectors", "mul", "conv2d 3x3, bias", "max axis=1"):
        function, arrays = ROWS[name].function, ROWS[name].draw(np.random.default_rng(0))
        results = []
        for f in (function, plant(function)):
            xs = [tensor(a, requires_grad=True) for a in arrays]
            y = f(*xs)
            g = tensor(normal(*y.shape), requires_grad=True)
            first = grad(y, xs, g, create_graph=True)
            second = grad(sum(ops.sum(ops.sin(d)) for d in first), [*xs, g])
            results.append([y, *first, *[d for d in second if d is not None]])
        for ours, wrapped in zip(*results):
            np.testing.assert_allclose(ours.detach(), wrapped.detach(), rtol=1e-12, atol=1e-14)


def test_a_mistake_concerns_its_arguments_alone():
    row = case("a product", ops.mul, lambda rng: normal(3), lambda rng: normal(3, seed=1))
    before = list(MISTAKES)
    try:
        mistake(row, "sign", "of b", change=lambda d: -d, of=[1])
        mistake(row, "sign", "of b, by hand", lambda g, a, b: (None, -g * a))
        mistake(row, "sign", "of b, by another function", other=lambda a, b: -a * b, of=[1])
        added = MISTAKES[len(before) :]
    finally:
        MISTAKES[:] = before
    assert [m.name for m in added][0] == "a product: of b" and len(added) == 3
    for m in added:
        a, b = (tensor(x, requires_grad=True) for x in (normal(3), normal(3, seed=1)))
        d_a, d_b = grad(m.function(a, b).sum(), [a, b])
        assert np.array_equal(d_a.data, b.data) and np.array_equal(d_b.data, -a.data), m.name
        assert measure(m) == (1, pytest.approx(2 * abs(a.data).max() / np.std(a.data), rel=1))


# ---- the check ----


@pytest.mark.parametrize("kind", table.KINDS)
def test_a_mistake_of_each_kind_is_caught(kind):
    result = table.judge_mistake(SAMPLE[kind])
    assert result["caught"] and result["order"], result
    assert result["error"] in ("GradientError", "ValueError", "TypeError")
    found = re.search(r"order (\d)", result["message"])
    assert int(found[1]) == result["order"], result


def test_right_derivatives_pass():
    """A few of each group, and each once in third order."""
    groups = collections.defaultdict(list)
    for case_ in RIGHT:
        groups[case_.group].append(case_)
    for members in groups.values():
        for right in members[:: max(1, len(members) // 4)]:
            assert table.judge_right(right)["message"] == "", right.name
    check_grads(plant(ops.tanh), normal(2, 3), order=3)


# ---- the tool ----


def run(*args):
    return runpy.run_path(str(TOOL))["main"]([str(arg) for arg in args])


def test_the_tool(tmp_path, capsys):
    assert run("--name", "log:", "-v", "-o", tmp_path / "log.json") == 0
    output = capsys.readouterr().out
    assert "the derivative is wrong by" in output and "log, order 1: the gradient" in output
    results = json.loads((tmp_path / "log.json").read_text())
    first, second = results["mistakes"]
    assert (first["name"], first["kind"], first["order"]) == ("log: 1 / x^2", "formula", 1)
    assert second["caught"] and second["caught_before"] and second["order"] == 2
    assert run("--name", "tanh of 3 x 4, wrong elsewhere", "--markdown") == 0  # an explained miss
    output = capsys.readouterr().out
    assert "| at one shape only: odd sizes, a batch of one | 1 | 0 | 0 | 0 |" in output
    assert "Not visible:\n* tanh of 3 x 4, wrong elsewhere: " in output


@pytest.mark.parametrize("argument", [["--kind", "large"], ["--name", "no such name"]])
def test_the_tool_refuses_what_it_does_not_know(argument, capsys):
    with pytest.raises(SystemExit) as end:
        run(*argument)
    assert end.value.code == 2 and argument[1] in capsys.readouterr().err


def test_the_tool_reports_misses_and_false_alarms():
    results = {
        "mistakes": [
            {
                "name": "a",
                "kind": "sign",
                "order": 1,
                "size": 2.0,
                "invisible": "",
                "caught": False,
            },
            {"name": "b", "kind": "sign", "order": 0, "size": 0.0, "invisible": "", "caught": True},
            {"name": "c", "kind": "sign", "order": 0, "size": 0.0, "invisible": "why", "caught": 0},
            {"name": "d", "kind": "sign", "order": 1, "size": 1.0, "invisible": "", "caught": True},
        ],
        "right": [
            {"name": "e", "group": "all of them", "false_alarm": True, "message": "wrong"},
            {"name": "f", "group": "all of them", "false_alarm": False, "message": ""},
        ],
    }
    for m in results["mistakes"]:
        m["caught_before"] = False
    for r in results["right"]:
        r["false_alarm_before"] = False
    missed, none, alarm = table.problems(results)
    assert missed.startswith("missed: a [sign") and none.startswith("not a mistake: b")
    assert alarm == "false alarm: e: wrong"
    assert table.explained(results) == ["c - why"]
    assert table.table(results) == [("the sign", 4, 3, 2, 0), ("all", 4, 3, 2, 0)]
    assert table.alarms(results) == [("all of them", 2, 1, 0), ("all", 2, 1, 0)]


# ---- all of them ----


@pytest.fixture(scope="module")
def everything():
    return table.run(MISTAKES, RIGHT)


@pytest.mark.slow
def test_no_right_derivative_is_found_wrong(everything):
    assert [r["name"] for r in everything["right"] if r["false_alarm"]] == []


@pytest.mark.slow
def test_every_visible_mistake_is_caught(everything):
    assert table.problems(everything) == []


@pytest.mark.slow
def test_mistakes_are_caught_at_their_order(everything):
    """So each is caught for what is wrong with it, not for how it was planted."""
    for m in everything["mistakes"]:
        for message in filter(None, (m["message"], m["message_before"])):
            assert f"order {m['order']}" in message, m
