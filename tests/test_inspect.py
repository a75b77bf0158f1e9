"""anomaly, profile and trace report the right lines, calls and floating-point operations."""

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imread
from matplotlib.patches import FancyBboxPatch

import tinygan
from tinygan import Parameter, anomaly, grad, no_grad, ops, profile, tensor, trace
from tinygan.autograd import engine, op
from tinygan.autograd.drawing import draw_graph, layout
from tinygan.autograd.inspect import Monitor
from tinygan.autograd.trace import COLOURS, Graph, GraphNode
from tinygan.ops.fused import fused

ROOT = Path(__file__).parent.parent


def line(marker):
    """The line of this file that ends in the comment `marker`, as "file:number: source"."""
    lines = enumerate(Path(__file__).read_text().splitlines(), 1)
    ((number, text),) = [(n, text) for n, text in lines if text.endswith(f"# {marker}")]
    return f"{__file__}:{number}: {text.strip()}"


def leaf(values, dtype="float64"):
    return tensor(values, requires_grad=True, dtype=dtype)


@pytest.fixture(autouse=True)
def no_monitor_left():
    yield
    assert engine.monitor is None


# ---- anomaly ----


def error_of(function):
    """The message of the error that anomaly raises in function()."""
    with pytest.raises(FloatingPointError) as caught, anomaly():
        function()
    return str(caught.value)


def test_a_nan_in_the_forward_pass_names_the_op_and_the_line():
    def f():
        x = leaf([4.0, -1.0, 1.0])
        y = x * 2
        return y.log() + 1  # forward NaN

    assert error_of(f) == f"log produced NaN in 1 of 3 values; called at {line('forward NaN')}"


def test_an_inf_in_the_forward_pass():
    def f():
        return ops.exp(leaf([[1.0, 1e3], [1e4, 2.0]]))  # forward inf

    assert error_of(f) == f"exp produced inf in 2 of 4 values; called at {line('forward inf')}"


def test_a_nan_from_outside_is_reported_as_such():
    def f():
        return ops.add(leaf([1.0, 2.0]), leaf([np.nan, np.inf]))  # outside

    assert error_of(f) == (
        "add received NaN in 2 of 2 values from outside, as argument 1; "
        f"called at {line('outside')}"
    )
    before = leaf([np.inf]) * 2  # computed, but before the block
    assert "mul received inf in 1 of 1 values from outside, as argument 0" in error_of(
        lambda: before * 3
    )


def test_an_infinite_grad_outputs_is_from_outside():
    x = leaf([2.0])
    y = -x
    assert error_of(lambda: grad(y, x, [-np.inf])).startswith(
        "the derivative of neg received inf in 1 of 1 values from outside, as argument 0 "
        "(in its neg)"
    )


def test_a_nan_in_a_constant_without_a_gradient_counts_too():
    def f():
        with no_grad():
            return tensor([-1.0]).sqrt()  # constant

    assert error_of(f) == f"sqrt produced NaN in 1 of 1 values; called at {line('constant')}"


def test_infinities_that_do_not_reach_a_result_are_allowed():
    with anomaly():
        y = ops.exp(tensor([-np.inf, 0.0]))
        ops.where([True, True], leaf([1.0, 2.0]), tensor([0.0, np.inf], dtype="float64"))
    np.testing.assert_array_equal(y.numpy(), [0, 1])


def test_the_backward_pass_names_the_op_and_the_line_of_the_forward_pass():
    def f():
        x = leaf([0.0, 1.0])
        y = (2 * x).sqrt()  # sqrt at zero
        return grad(y.sum() * 3, x)

    assert error_of(f) == (
        "the derivative of sqrt produced inf in 1 of 2 values (in its div); "
        f"sqrt was called at {line('sqrt at zero')}"
    )


def test_the_second_backward_pass_leads_back_to_the_same_line():
    def f():
        x = leaf([0.0])
        y = ops.pow(x, 1.5)  # x^1.5: at 0, the second derivative is infinite
        dy = grad(y, x, create_graph=True)
        return grad(dy, x)

    message = error_of(f)
    assert message.startswith("the derivative of pow produced inf")
    where = line("x^1.5: at 0, the second derivative is infinite")
    assert message.endswith(f"{where} (differentiating pow)")


def test_a_forward_pass_outside_the_block_has_no_line():
    y = leaf([0.0]).sqrt()
    message = error_of(lambda: y.backward())
    assert message == (
        "the derivative of sqrt produced inf in 1 of 1 values (in its div); "
        "sqrt was called outside anomaly(), so its line is unknown"
    )


@op
def bad_kernel(x, /):
    return x.data * 1, lambda g: tensor(g.data * np.nan)


@op(joint=True)
def bad_joint(a, b, /):
    return a.data + b.data, lambda g, needed: [
        g if needed[0] else None,
        tensor(g.data / 0) if needed[1] else None,
    ]


def test_a_derivative_computed_on_arrays_is_checked():
    def single():
        x = leaf([1.0, 2.0])
        y = bad_kernel(x)  # kernel
        return grad(y.sum(), x)

    def joint(a, b):
        y = bad_joint(a, b)  # joint
        return grad(y.sum(), [x for x in (a, b) if x.requires_grad])

    assert error_of(single) == (
        "the derivative of bad_kernel produced NaN in 2 of 2 values; "
        f"bad_kernel was called at {line('kernel')}"
    )
    assert line("joint") in error_of(lambda: joint(leaf([1.0]), leaf([2.0])))
    with anomaly():  # the bad gradient is not requested
        assert joint(leaf([1.0]), tensor([2.0], dtype="float64"))[0].item() == 1


def test_a_fused_op_leads_back_to_its_caller_through_its_definition():
    @fused(lambda x: (x**1.5, x), lambda g, x, needed: [g * 1.5 * x**0.5])
    def power(x, /):
        return ops.pow(x, 1.5)

    def f():
        x = leaf([0.0])
        y = power(x)  # fused
        return grad(grad(y, x, create_graph=True), x)

    message = error_of(f)
    assert message.startswith("the derivative of pow produced inf") and message.endswith(
        f"pow was called at {line('fused')} (differentiating power)"
    )


def test_the_line_is_the_users_when_the_op_is_called_deep_inside_tinygan():
    def f():
        return ops.mse_loss(leaf([1e200]), leaf([-1e200]))  # deep

    assert error_of(f) == f"square produced inf in 1 of 1 values; called at {line('deep')}"

    # A function of tinygan decorated with no_grad has a frame of contextlib around it.
    module = {"no_grad": no_grad}
    file = Path(tinygan.__file__).parent / "module.py"
    exec(compile("@no_grad()\ndef decorated(x): return x.log()", file, "exec"), module)
    assert error_of(lambda: module["decorated"](leaf(0.0))).endswith(line("decorated"))  # decorated


def test_private_ops_have_the_names_of_the_public_functions():
    table = leaf([[np.nan], [1.0]])
    assert error_of(lambda: ops.embedding(table, np.array([0]))).startswith(
        "embedding received NaN"
    )


def test_anomaly_changes_no_result():
    def f():
        x = leaf(np.linspace(0.1, 1, 6).reshape(2, 3))
        return grad((ops.batch_norm(x.log()) * x.tanh()).sum(), x)

    with anomaly():
        inside = f()
    np.testing.assert_array_equal(inside.numpy(), f().numpy())


# ---- Monitors ----


def test_monitors_nest_in_any_order_and_are_restored(capsys):
    for order in itertools.permutations([anomaly, profile, trace]):
        with order[0]() as a:
            with order[1]() as b:
                with order[2]() as c:
                    x = leaf([2.0])
                    y = x * x
                    g = grad(y, x)
                    assert engine.monitor is c
                assert engine.monitor is b
            assert engine.monitor is a
        assert engine.monitor is None
        assert y.node.where and y.node.where.endswith("y = x * x")
        (p,) = [m for m in (a, b, c) if isinstance(m, profile)]
        (t,) = [m for m in (a, b, c) if isinstance(m, trace)]
        assert {row.name: row.calls for row in p.rows} == {"mul": 3, "mul'": 2, "add": 1}
        assert [node.op for node in t.graph(g).nodes] == [None, None, "mul", "mul", "add"]


@pytest.mark.parametrize("monitor", [anomaly, profile, trace])
def test_an_exception_restores_the_outer_monitor(monitor, capsys):
    with trace() as t:
        with pytest.raises(FloatingPointError), anomaly(), monitor():
            (leaf([0.0]) * np.inf)
        assert engine.monitor is t
        x = leaf([1.0])
        y = x + x
    assert str(t.graph(y, x=x)) == "x = leaf        (1,)  1\nv1 = add(x, x)  (1,)  2"
    with pytest.raises(ValueError), monitor():
        leaf([1.0]) @ leaf([1.0, 2.0])
    assert engine.monitor is None


def test_an_error_inside_a_derivative_leaves_no_state_in_the_monitors(capsys):
    with anomaly() as a, profile() as p:
        x = leaf([0.0])
        with pytest.raises(FloatingPointError):
            grad(x.sqrt(), x)
        with pytest.raises(FloatingPointError) as caught:
            x.log()  # after
    assert str(caught.value) == f"log produced inf in 1 of 1 values; called at {line('after')}"
    assert a._differentiating == [] and len(p._inner_seconds) == 1


def test_a_monitor_inside_itself_raises():
    p = profile()
    with p, pytest.raises(RuntimeError, match="already active"), p:
        pass
    assert engine.monitor is None


def test_the_base_class_changes_nothing():
    with Monitor():
        x = leaf([3.0])
        assert grad(x * x, x).item() == 6


def test_all_three_on_either_backend(capsys):
    x = leaf([[0.0, 1.0], [2.0, 3.0]])
    with anomaly(), profile() as p, trace() as t:
        g = grad((x @ x).tanh().sum(), x, create_graph=True)
        penalty = (g * g).sum()
        with pytest.raises(FloatingPointError, match="log produced inf in 1 of 4 values"):
            x.log()
    graph = t.graph(penalty, gradients=True, x=x)
    assert recompute(graph) == 7 and str(graph) and graph.dot()
    for name in ("matmul", "matmul_nt", "matmul_tn"):
        assert rows_of(p)[name].calls == 1 and rows_of(p)[name].flop == 2 * 2 * 2 * 2


# ---- profile ----


def rows_of(p):
    return {row.name: row for row in p.rows}


class Clock:
    """A clock that stands still except in `sleep`, so that the times of a profile are exact."""

    now = 0.0

    def sleep(self, seconds):
        self.now += seconds

    def perf_counter(self):
        return self.now


clock = Clock()


@pytest.fixture
def exact_times(monkeypatch):
    monkeypatch.setattr("tinygan.autograd.inspect.time", clock)


@op
def slow(x, /):
    clock.sleep(3)
    return x.data * 1, slow_derivative


def slow_derivative(g):
    clock.sleep(2)
    return slow(slower(g))


@op
def slower(x, /):
    clock.sleep(5)
    inner = slow(x)  # an op inside an op
    return inner.data, lambda g: g


def test_the_rows_count_nothing_twice_and_add_up(exact_times, capsys):
    x = leaf([1.0])
    with profile() as p:
        y = slow(x)
        grad(y, x)
        clock.sleep(4)
    rows = [(row.name, row.calls, row.seconds) for row in p.rows]
    assert rows == [("slow", 3, 9), ("slower", 1, 5), ("slow'", 1, 2)]  # the slowest first
    assert p.wall == 9 + 5 + 2 + 4


@op(cost=lambda y, x: clock.sleep(5) or 1)
def slow_to_count(x, /):
    return x.data * 1, lambda g: slow_to_count(g)


def test_the_time_to_compute_a_cost_counts_in_no_row(exact_times, capsys):
    x = leaf([1.0])
    with profile() as p:
        grad(slow_to_count(x), x)
    assert rows_of(p)["slow_to_count"].flop == 4
    assert sum(row.seconds for row in p.rows) == 0 and p.wall == 10


def test_the_printed_table_adds_up_to_the_wall_time(capsys):
    x = leaf(np.ones((200, 200)))
    with profile() as p:
        for _ in range(3):
            grad(((x @ x).tanh() + x).sum(), x)
    printed = capsys.readouterr().out
    assert printed == f"{p}\n"
    head, *lines = printed.splitlines()
    assert head.split() == ["op", "calls", "ms", "share", "GFLOP/s"]
    ms = {text[:28].strip(): float(text[35:46]) for text in lines if not text.startswith("---")}
    wall = ms.pop("wall time")
    assert wall == pytest.approx(1e3 * p.wall, abs=0.01)
    assert sum(ms.values()) == pytest.approx(wall, abs=0.01 * len(ms))
    assert "python and the rest" in ms and "matmul" in ms
    for name in ("matmul", "matmul_nt", "matmul_tn", "tanh"):
        assert rows_of(p)[name].calls == 3


def test_small_rows_are_printed_as_one_row():
    p = profile()
    p.wall = 1.0
    for i, seconds in enumerate([0.5, 0.4, 0.004, 0.003]):
        p._timed(f"op{i}", lambda: None)
        p._rows[f"op{i}"].seconds = seconds
    lines = str(p).splitlines()
    assert len(lines) == 7
    assert lines[3].split() == ["2", "more", "below", "0.5%", "2", "7.00", "0.7%"]
    assert lines[5].split() == ["python", "and", "the", "rest", "93.00", "9.3%"]


def flop_of(function):
    with profile() as p:
        function()
    return {row.name: row.flop for row in p.rows if row.flop}


def test_floating_point_operations(capsys):
    rng = np.random.default_rng(0)
    a, b = leaf(rng.normal(size=(5, 7))), leaf(rng.normal(size=(7, 3)))
    assert flop_of(lambda: a @ b) == {"matmul": 2 * 5 * 7 * 3}
    product = 2 * 5 * 7 * 3
    assert flop_of(lambda: grad((a @ b).sum(), [a, b])) == dict.fromkeys(
        ["matmul", "matmul_nt", "matmul_tn"], product
    )
    assert flop_of(lambda: grad(ops.affine(a, b, leaf(np.ones(3))).sum(), b)) == {
        "affine": product,
        "affine'": product,
    }
    assert flop_of(lambda: ops.einsum("ij,jk->ik", a, b)) == {"einsum": 2 * 5 * 7 * 3}

    x, w = leaf(rng.normal(size=(2, 8, 6, 4))), leaf(rng.normal(size=(3, 3, 2, 10)))
    conv = 2 * (2 * 4 * 3 * 10) * (3 * 3 * 2)  # outputs x (3 x 3 pixels of 2 channels)
    assert flop_of(lambda: ops.conv2d(x, w, stride=2, padding=1, groups=2)) == {"conv2d": conv}
    assert flop_of(lambda: grad(ops.conv2d(x, w, 2, 1, 2).sum(), [x, w])) == {
        "conv2d": conv,
        "conv_transpose2d": conv,
        "conv2d_weight_gradient": conv,
    }
    assert flop_of(lambda: ops.upfirdn2d(x, np.ones((3, 3)), padding=1)) == {
        "upfirdn2d": 2 * 2 * 8 * 6 * 4 * 9
    }
    assert flop_of(lambda: a + a) == {}


def test_speed_is_flop_per_second(capsys):
    a = leaf(np.ones((100, 100)))
    with profile() as p:
        a @ a
    (row,) = p.rows
    assert row.gflops == pytest.approx(2e6 / row.seconds / 1e9)
    assert f"{row.gflops:.1f}" in str(p)


def test_a_fused_derivative_has_a_row_of_its_own(capsys):
    x = leaf(np.random.default_rng(0).normal(size=(4, 3)))
    with profile() as p:
        grad((ops.batch_norm(x) * x).sum(), x)
    assert {"normalize_modulate", "normalize_modulate'"} <= {row.name for row in p.rows}


# ---- trace ----


def expression():
    x, y = leaf(2.0), leaf(3.0)
    with trace() as t:
        z = x * y + x
    return t, x, y, z


def test_the_graph_of_an_expression():
    t, x, y, z = expression()
    graph = t.graph(z, x=x, y=y, z=z)
    assert [node.op for node in graph.nodes] == [None, None, "mul", "add"]
    assert [node.name for node in graph.nodes] == ["x", "y", None, "z"]
    assert [node.kind for node in graph.nodes] == ["leaf", "leaf", "op", "op"]
    assert [node.value.item() for node in graph.nodes] == [2, 3, 6, 8]
    # in the order of the arguments
    assert graph.edges == [(0, 2, True), (1, 2, True), (2, 3, True), (0, 3, True)]
    assert all(node.gradient is None for node in graph.nodes)
    assert str(graph).split("\n")[2:] == ["v2 = mul(x, y)  6", "z = add(v2, x)  8"]


def test_gradients_of_every_value():
    t, x, y, z = expression()
    graph = t.graph(z, gradients=True, x=x)
    assert [node.gradient.item() for node in graph.nodes] == [4, 2, 1, 1]
    assert graph.nodes[0].lines == ["x", "2", "gradient 4"]
    assert "gradient 4" in str(graph) and "gradient 4" in graph.dot()
    assert grad(z, x).item() == 4  # the graph was not used up
    with pytest.raises(RuntimeError, match="used up"):
        t.graph(z, gradients=True)


def recompute(graph):
    """Check the value of each node against its op on its inputs; return the number of checks."""
    reference = {
        "mul": np.multiply,
        "add": np.add,
        "sub": np.subtract,
        "neg": np.negative,
        "tanh": np.tanh,
        "sech_squared": lambda x: 1 / np.cosh(x) ** 2,
        "div": np.divide,
        "alias": np.asarray,
        "square": np.square,
        "matmul": np.matmul,
        "matmul_nt": lambda a, b: a @ b.T,
        "matmul_tn": lambda a, b: a.T @ b,
    }
    checked = 0
    for i, node in enumerate(graph.nodes):
        assert all(source < i for source, _ in node.inputs)
        if node.op in reference:
            inputs = [graph.nodes[source].value for source, _ in node.inputs]
            np.testing.assert_allclose(reference[node.op](*inputs), node.value, rtol=1e-12)
            checked += 1
    return checked


def test_the_graph_of_a_gradient_and_of_its_gradient():
    x = leaf(0.5)
    with trace() as t:
        y = x.tanh() * x
        dy = grad(y, x, create_graph=True)
        ddy = grad(dy, x)
    first, second = t.graph(dy, x=x), t.graph(ddy, x=x)
    assert recompute(first) == sum(node.op is not None for node in first.nodes)
    assert recompute(second) == sum(node.op is not None for node in second.nodes)

    # The gradient reads the y of the forward pass itself: there is one tanh and one x.
    assert [node.op for node in first.nodes].count("tanh") == 1
    assert [node.kind for node in first.nodes].count("leaf") == 1
    assert {node.op for node in first.nodes if node.kind == "op"} == {"tanh"}
    assert all(node.backward for node in first.nodes if node.op not in ("tanh", None))
    assert first.nodes[-1].kind == "backward op"
    assert first.nodes[-1].op == "add"  # of the two paths to x
    flowing = {(a, b) for a, b, flows in first.edges if flows}
    assert any(first.nodes[a].name == "x" for a, _ in flowing)
    # Nothing can be differentiated through ddy, which was not recorded.
    assert not second.nodes[-1].requires_grad
    assert not any(flows for _, target, flows in second.edges if target == len(second.nodes) - 1)
    Y = np.tanh(0.5)
    assert second.nodes[-1].value == pytest.approx(2 * (1 - Y**2) - 2 * 0.5 * Y * (1 - Y**2))


def test_gradients_on_a_second_order_graph():
    x = leaf(2.0)
    with trace() as t:
        dy = grad(x * x * x, x, create_graph=True)
    graph = t.graph(dy, gradients=True, x=x)
    assert graph.nodes[-1].value == 12 and graph.nodes[-1].gradient == 1
    assert next(node.gradient for node in graph.nodes if node.name == "x") == 12


def test_the_second_order_graph_of_a_fused_op_shows_its_definition():
    x = leaf(np.random.default_rng(0).normal(size=(4, 3)))
    with trace() as t:
        y = (ops.batch_norm(x) * x).sum()
        g = grad(y, x, create_graph=True)
        penalty = (g * g).sum()
    graph = t.graph(penalty, x=x)
    assert recompute(graph) > 20
    names = [node.op for node in graph.nodes]
    assert "alias" in names and "pow" in names and names.count("normalize_modulate") <= 1
    assert [node.name for node in graph.nodes].count("x") == 1
    assert t.graph(y).nodes[1].op == "normalize_modulate"


def test_constants_numbers_and_detached_values():
    x = leaf([1.0, 2.0])
    with trace() as t:
        y = x * 3.0
        z = y.detach() * y + tensor([1.0, 1.0], dtype="float64")
    graph = t.graph(z, x=x, y=y)
    assert [(node.name, node.op, node.kind) for node in graph.nodes] == [
        ("x", None, "leaf"),
        (None, None, "constant"),
        ("y", "mul", "op"),
        (None, "mul", "op"),
        (None, None, "constant"),
        (None, "add", "op"),
    ]
    assert graph.edges == [
        (0, 2, True),
        (1, 2, False),
        (2, 3, False),
        (2, 3, True),
        (3, 5, True),
        (4, 5, False),
    ]
    assert str(graph) == (
        "x = leaf          (2,)  [1, 2]\n"
        "y = mul(x, 3)     (2,)  [3, 6]\n"
        "v3 = mul(y, y)    (2,)  [9, 36]\n"
        "v4 = constant     (2,)  [1, 1]\n"
        "v5 = add(v3, v4)  (2,)  [10, 37]"
    )
    assert graph.nodes[1].lines == ["3"]


def test_under_no_grad_no_gradient_flows():
    x = leaf(2.0)
    with trace() as t, no_grad():
        y = x * x
    graph = t.graph(y)
    assert graph.edges == [(0, 1, False), (0, 1, False)]


def test_a_parameter_has_its_name_and_its_value_at_that_time():
    w = Parameter([1.0], name="w")
    with trace() as t:
        before = w * 2
        w.assign([5.0])
        after = w * 2
    assert [node.value.item() for node in t.graph(before).nodes] == [1, 2, 2]
    assert [node.value.item() for node in t.graph(after).nodes] == [5, 2, 10]
    assert t.graph(before).nodes[0].name == "w"


def test_parameters_with_the_same_name_are_numbered():
    a, b = Parameter([1.0], name="Linear.weight"), Parameter([2.0], name="Linear.weight")
    with trace() as t:
        y = a * b
    assert "mul(Linear.weight#0, Linear.weight#1)" in str(t.graph(y))


def test_large_arrays_are_summarised_and_small_ones_shown():
    x = tensor(np.arange(100.0))
    with trace() as t:
        y = x + 1
    assert t.graph(y).nodes[0].lines == ["constant", "(100,)", "mean 49.5, std 28.9"]
    with trace() as t:
        y = tensor([[1.0, -2.5], [3.0, 4.0]]) + 1
    assert t.graph(y).nodes[0].lines == ["constant", "(2, 2)", "[[   1, -2.5],", " [   3,    4]]"]
    with trace() as t:
        y = tensor(np.zeros((0, 3))) + 1
    assert t.graph(y).nodes[0].lines == ["constant", "(0, 3)", "empty"]


def test_a_tensor_from_outside_has_no_graph():
    t, *_ = expression()
    with pytest.raises(ValueError, match="not computed inside"):
        t.graph(leaf(1.0) * 2)


def test_tracing_changes_no_gradient():
    t, x, y, z = expression()
    assert [g.item() for g in grad(z, [x, y])] == [4, 2]


# ---- Graphviz and drawing ----


def test_dot():
    t, x, y, z = expression()
    lines = t.graph(z, **{'the "x"': x}).dot().splitlines()
    assert lines[0] == "digraph {" and lines[-1] == "}"
    assert lines[2] == rf'  n0 [label="the \"x\"\n2", fillcolor="{COLOURS["leaf"]}"];'
    assert lines[5] == f'  n3 [label="add\\n8", fillcolor="{COLOURS["op"]}"];'
    assert lines[6:10] == ["  n0 -> n2;", "  n1 -> n2;", "  n2 -> n3;", "  n0 -> n3;"]
    with trace() as t:
        y = x * 2.0
    assert "  n1 -> n2 [style=dashed];" in t.graph(y).dot()


def gradient_penalty(norm=lambda h: h):
    rng = np.random.default_rng(0)
    image = leaf(rng.normal(size=(1, 6, 6, 1)))
    w = Parameter(rng.normal(size=(4, 4, 1, 2)), name="w")
    with trace() as t:
        logit = norm(ops.conv2d(image, w, stride=2, padding=1)).tanh().sum()
        loss = (grad(logit, image, create_graph=True).norm() - 1) ** 2
    return t.graph(loss, gradients=True, image=image)


def overlaps(a, b):
    """Return whether two rectangles (left, bottom, right, top) have inner points in common."""
    eps = 1e-6
    inside = a[0] == a[2] and b[0] + eps < a[0] < b[2] - eps  # a is a vertical line
    horizontally = min(a[2], b[2]) - max(a[0], b[0]) > eps or inside
    return horizontally and min(a[3], b[3]) - max(a[1], b[1]) > eps


def check_layout(graph, sizes):
    centres, routes, (width, height) = layout(graph, sizes)
    boxes = [(x - w / 2, y - h / 2, x + w / 2, y + h / 2) for (x, y), (w, h) in zip(centres, sizes)]
    for a, b in itertools.combinations(boxes, 2):
        assert not overlaps(a, b)
    for left, top, right, bottom in boxes:
        assert 0 <= left and right <= width and 0 <= top and bottom <= height
    for (source, target, _), points in zip(graph.edges, routes, strict=True):
        assert points[0] == pytest.approx((centres[source][0], boxes[source][3]))
        assert boxes[target][0] < points[-1][0] < boxes[target][2]
        assert points[-1][1] == pytest.approx(boxes[target][1])
        for (x0, y0), (x1, y1) in zip(points, points[1:]):
            assert y1 > y0  # arrows point down and cross no box
            assert not any(overlaps((min(x0, x1), y0, max(x0, x1), y1), box) for box in boxes)


def test_no_box_overlaps_and_no_arrow_crosses_a_box_in_random_graphs():
    rng = np.random.default_rng(0)
    for _ in range(15):
        nodes = []
        for i in range(rng.integers(1, 40)):
            sources = rng.integers(0, i, rng.integers(0, 4)) if i else []
            inputs = [(int(source), bool(rng.integers(2))) for source in sources]
            name = "op" if inputs else None
            nodes.append(GraphNode(None, name, np.zeros(()), None, True, False, inputs))
        check_layout(Graph(nodes), [tuple(size) for size in rng.uniform(0.2, 2, (len(nodes), 2))])


def test_the_layout_of_a_large_graph():
    graph = gradient_penalty(ops.batch_norm)
    assert len(graph.nodes) > 40
    check_layout(graph, [(1.5, 0.5)] * len(graph.nodes))


def test_a_drawing(tmp_path):
    graph = gradient_penalty()
    path = tmp_path / "new folder" / "graph.png"
    figure = draw_graph(graph, path)
    pixels = imread(path)[..., :3]
    for kind in ("op", "backward op", "leaf", "constant"):
        colour = [int(COLOURS[kind][i : i + 2], 16) / 255 for i in (1, 3, 5)]
        assert (np.abs(pixels - colour).max(-1) < 0.01).mean() > 0.001, kind
    assert (pixels.max(-1) < 0.2).mean() > 0.005  # text

    FigureCanvasAgg(figure).draw()
    (axes,) = figure.axes
    boxes = [p.get_window_extent() for p in axes.patches if isinstance(p, FancyBboxPatch)]
    texts = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) == len(texts) == len(graph.nodes)
    assert len(axes.patches) - len(boxes) == len(graph.edges)
    for box, text in zip(boxes, texts):
        assert box.x0 < text.x0 and text.x1 < box.x1 and box.y0 < text.y0 and text.y1 < box.y1
    for a, b in itertools.combinations(boxes, 2):
        assert not overlaps(a.extents, b.extents)


def test_drawing_does_not_import_pyplot():
    code = (
        "import sys, tinygan.autograd.drawing\nfrom tinygan import tensor, trace\n"
        "assert 'matplotlib' not in sys.modules\n"
        "with trace() as t: y = tensor([1.0]) * 2\n"
        "tinygan.autograd.drawing.draw_graph(t.graph(y))\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


# ---- The demo ----


def test_the_tour(tmp_path):
    demo = shutil.copy(
        ROOT / "demos" / "autograd_tour.py", tmp_path
    )  # it writes its drawings beside itself
    code = (  # run it with the filters of pyproject.toml
        "import runpy, sys, warnings\n"
        "warnings.simplefilter('error')\n"
        "warnings.filterwarnings('ignore', '', DeprecationWarning, 'matplotlib|pyparsing')\n"
        "runpy.run_path(sys.argv.pop(), run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, demo],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert len(list((tmp_path / "out").glob("*.png"))) == 5
    for text in (
        "z = add(v2, x)  8",
        "GradientError: cube_with_array, order 2",
        "log produced inf in 1 of 2 values",
        "the derivative of sqrt produced inf",
        "check_grads(penalty): order 1:",
    ):
        assert text in done.stdout
    source = (ROOT / "demos" / "autograd_tour.py").read_text().splitlines()
    number = 1 + next(i for i, text in enumerate(source) if "logit.sigmoid().log()" in text)
    assert f"autograd_tour.py:{number}: " in done.stdout
