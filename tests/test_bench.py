"""`python -m demos.bench`: its output, exit codes and one-line error messages. No test asserts a
time. (test_bench_parity.py tests that the workloads are the same on all sides.)"""

import importlib.util
import re
import types

import pytest
from test_cli import fails

from demos.bench import report, worker
from demos.bench.__main__ import main
from demos.bench.workloads import WORKLOADS, Workload

pytestmark = pytest.mark.cpu


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(report, "TURN", 0.01)


def test_the_table_of_times(quick, capsys):
    assert main(["mlp", "lenet", "--rounds", "2"]) == 0
    out = capsys.readouterr().out
    assert "NumPy" in out and re.search(
        r"^workload +batch +tinygan ms +GFLOP/s +of sgemm$", out, re.MULTILINE
    )
    for name, batch in (("mlp", 64), ("lenet", 128)):
        row = re.search(rf"^{name} +{batch} +([\d.]+) +(\d+) +(\d+)%$", out, re.MULTILINE)
        assert row and float(row[1]) > 0 and int(row[2]) > 0 and int(row[3]) > 0


def test_the_other_tables(quick, capsys, monkeypatch):
    monkeypatch.setattr(report, "overhead", lambda: measure_overhead(repeats=3))
    monkeypatch.setattr(report, "GROWTH", ((4, 8), (16,)))
    assert main(["--overhead", "--growth"]) == main(["mlp", "--memory", "--profile"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^mlp +\d+$", out, re.MULTILINE) or "not available on this system" in out
    assert re.search(r"^matmul +[\d.]+ +[\d.]+ +10, 15( +missed)?$", out, re.MULTILINE)
    assert re.search(r"^16x16 +\d+ +\d+$", out, re.MULTILINE)
    assert re.search(r"^affine'? .*%", out, re.MULTILINE) and re.search(
        r"^Adam .*%", out, re.MULTILINE
    )
    times = re.search(
        r"^time per step: in ops ([\d.]+) ms; without the profiler ([\d.]+) ms$", out, re.MULTILINE
    )
    assert float(times[1]) > 0 and float(times[2]) > 0


def test_the_table_of_augmentation(quick, capsys, monkeypatch):
    monkeypatch.setattr(report, "AUGMENTED", {"dcgan diffaug": report.AUGMENTED["dcgan diffaug"]})
    code = main(["--augment", "--rounds", "1"])
    row = re.search(
        r"^dcgan diffaug +[\d.]+ +[\d.]+ +-?\d+% +5%( +missed)?$",
        capsys.readouterr().out,
        re.MULTILINE,
    )
    assert row and code == bool(row[1])


measure_overhead = report.overhead  # which a test replaces


@pytest.mark.parametrize("ours, code, word", [(0.79, 0, ""), (0.81, 1, "missed")])
def test_the_exit_code_tells_whether_the_targets_are_met(
    ours, code, word, quick, capsys, monkeypatch
):
    """The workers are replaced by stubs: PyTorch's steps take 1 s and 1.1 s."""

    class StubWorker:
        def __init__(self, side, workload, variant=None):
            self.side, self.variant, self.version = side, variant, f"{side} 1.0"

        def seconds(self, duration):
            return {None: ours, "contiguous": 1.1, "channels-last": 1.0}[self.variant]

        def peak_memory(self):
            return {None: ours, "contiguous": 0.8, "channels-last": 1.0}[self.variant]

        def flop(self):
            return 1e9

        __enter__, __exit__ = lambda self: self, lambda self, *exception: None

    monkeypatch.setattr(report, "Worker", StubWorker)
    monkeypatch.setattr(
        report,
        "importlib",
        types.SimpleNamespace(util=types.SimpleNamespace(find_spec=lambda name: True)),
    )
    assert main(["dcgan", "--against", "torch", "--rounds", "3"]) == code
    out = capsys.readouterr().out
    row = rf"^dcgan +64 +{ours * 1e3:.1f} .* 1000.0 +channels-last +{ours} +0.8 *{word}$"
    assert re.search(row, out, re.MULTILINE) and "tinygan 1.0; torch 1.0" in out
    assert (
        main(["dcgan", "--against", "torch", "--memory"]) == code
    )  # against the smaller peak, 0.8
    assert re.search(
        rf"contiguous +{ours / 0.8:.2f} +1.0 *{word}$", capsys.readouterr().out, re.MULTILINE
    )


def test_wrong_arguments_fail_with_a_message(capsys):
    assert "unknown workload 'dcgna'; choose from dcgan, dcgan-r1" in fails(
        capsys, "dcgna", main=main
    )
    assert "0 is not between 1" in fails(capsys, "--rounds", 0, main=main)
    assert "invalid choice" in fails(capsys, "--against", "keras", main=main)
    assert "--memory has no rounds" in fails(capsys, "--memory", "--rounds", 3, main=main)
    assert "--growth takes no workloads" in fails(capsys, "mlp", "--growth", main=main)
    for side in worker.SIDES:
        if importlib.util.find_spec(side) is None:
            assert "is not installed in this environment" in fails(
                capsys, "mlp", "--against", side, main=main
            )


def test_a_worker_that_fails_reports_it_in_one_line():
    with pytest.raises(Exception, match="no side") as caught:
        worker.Worker("no side", WORKLOADS["mlp"])
    assert "\n" not in str(caught.value)


def test_lazy_parts_count_by_their_share():
    lazy = Workload("stylegan2", "", None, 4, 32, 1.0, {"step": 1.0, "r1": 1 / 16})
    without_process = object.__new__(worker.Worker)
    without_process.workload = lazy
    without_process._ask = lambda *request: {"step": 2.0, "r1": 16.0}
    assert without_process.seconds(1) == without_process.flop() == 3.0
