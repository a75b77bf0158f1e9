"""`python -m demos.bench`: its output, exit codes and one-line error messages. No test asserts a
time. (test_bench_parity.py tests that the workloads are the same on all sides.)"""

import contextlib
import importlib.util
import json
import re
import types

import numpy as np
import pytest
from test_cli import fails

from demos.bench import report, second_core, time_to_fid, worker
from demos.bench.__main__ import main
from demos.bench.recipes import RECIPES
from demos.bench.workloads import WORKLOADS, Workload
from tinygan.errors import InputError
from tinygan.kernels.cpu import parallel

pytestmark = pytest.mark.cpu


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(report, "TURN", 0.01)
    monkeypatch.setattr(second_core, "SECONDS", 0.01)


def test_the_table_of_times(quick, capsys):
    assert main(["mlp", "lenet", "recipe dcgan", "--rounds", "2"]) == 0
    out = capsys.readouterr().out
    ratio = re.search(r"^second core: .* have ([\d.]+) times .* of 6 rounds", out, re.MULTILINE)
    assert 0.2 < float(ratio[1]) < 5
    assert re.search(r"^recipe dcgan +16 +[\d.]+ +\d+ +\d+%$", out, re.MULTILINE)
    assert "NumPy" in out and re.search(
        r"^workload +batch +tinygan ms +GFLOP/s +of sgemm$", out, re.MULTILINE
    )
    for name, batch in (("mlp", 64), ("lenet", 128)):
        row = re.search(rf"^{name} +{batch} +([\d.]+) +(\d+) +(\d+)%$", out, re.MULTILINE)
        assert row and float(row[1]) > 0 and int(row[2]) > 0 and int(row[3]) > 0


@pytest.mark.slow
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


@pytest.mark.slow
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
            if variant == "compiled" and workload.name == "recipe quick":
                raise InputError("no compiler")
            self.side, self.variant, self.version = side, variant, f"{side} 1.0"

        def seconds(self, duration):
            times = {None: ours, "contiguous": 1.1, "channels-last": 1.0, "compiled": 2.0}
            return times[self.variant]

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
    names = ["dcgan", "recipe dcgan", "recipe quick"]
    assert main([*names, "--against", "torch", "--rounds", "3"]) == code
    out = capsys.readouterr().out
    times = rf"{ours * 1e3:.1f} .* 1000.0 +channels-last +{ours}"
    assert re.search(rf"^dcgan +64 +{times} +0.8 *{word}$", out, re.MULTILINE)
    assert re.search(
        rf"^recipe dcgan +16 +{times} +1.0 +2000.0 +{ours / 2:.2f}$", out, re.MULTILINE
    )
    assert re.search(rf"^recipe quick +64 +{times} +1.0 +- +no compiler$", out, re.MULTILINE)
    assert "tinygan 1.0; torch 1.0" in out
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
    assert "recipe quick is measured on a CPU and against torch only" in fails(
        capsys, "recipe quick", "--against", "jax", main=main
    )
    for other in (["mlp"], ["--memory"], ["--rounds", 3], ["--against", "jax"]):
        assert "leave out workloads" in fails(capsys, "--time-to-fid", *other, main=main)
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
    without_process.ask = lambda *request: {"step": 2.0, "r1": 16.0}
    assert without_process.seconds(1) == without_process.flop() == 3.0
    without_process.workload = RECIPES["recipe quick"]  # a cycle has eight steps
    without_process.ask = lambda *request: {"cycle": 16.0}
    assert without_process.seconds(1) == without_process.main_seconds(1) == 2.0
    without_process.ask = lambda request, part, cycles: (part, 24.0)
    assert without_process.profile(10) == ("cycle", 16, 3.0)


def test_the_second_core_is_compared_with_each_of_both_in_turn():
    cores, asked = second_core.SecondCore(), []

    def products_per_second(pipes):
        asked.append("".join(pipes))
        return {"a": 10.0, "b": 8.0, "ab": 16.0}[asked[-1]]

    cores.pipes, cores.products_per_second = ["a", "b"], products_per_second
    for _ in range(3):
        cores.measure()
    assert asked == ["a", "ab", "b", "ab", "a", "ab"]
    assert cores.ratios == [1.6, 2.0, 1.6]
    assert cores.summary() == {"median": 1.6, "lowest": 1.6, "highest": 2.0, "measurements": 3}
    assert "1.60 times the throughput of one (median of 3 rounds, 1.60 to 2.00" in (
        second_core.sentence(cores.summary())
    )


def test_both_sides_keep_freed_memory(monkeypatch):
    pytest.importorskip("torch")
    calls = []
    monkeypatch.setattr(parallel, "keep_memory", lambda: calls.append("here"))
    worker._Job("torch", "mlp", 4, 28, "contiguous")
    time_to_fid.Trainee("torch", "contiguous", 4, 0)
    assert calls == ["here", "here"]


# The time to a FID


@pytest.fixture
def trainings(monkeypatch):
    """Replace the processes and the metric: a turn of tinygan takes 10 s, one of PyTorch 20 s, and
    the FID is 8, 4, 2, ... after each. Returns the turns that have been trained."""
    turns, fid = [], {}

    class Process(contextlib.nullcontext):
        def __init__(self, name, make, side, format, batch_size, seed):
            super().__init__(self)
            self.side, self.seed, self.version = side, seed, f"{side} 1.0, {format}"
            fid.pop((side, seed), None)

        def ask(self, method, *arguments):
            if method == "generate":
                z, labels = arguments
                assert z.shape == (5000, 100) and labels.shape == (5000,)
                return self.side, self.seed
            turns.append((self.seed, self.side))
            return {"tinygan": 10.0, "torch": 20.0}[self.side]

    class Metric:
        def __init__(self, dataset, seed):
            assert dataset.split == "held-out"
            self.dataset = dataset

        def quick(self, images, labels):
            fid[images] = fid.get(images, 16.0) / 2
            return {"fid": fid[images]}

    monkeypatch.setattr(time_to_fid, "Remote", Process)
    monkeypatch.setattr(time_to_fid, "Evaluator", Metric)
    monkeypatch.setattr(time_to_fid, "FID", 3.0)
    monkeypatch.setattr(time_to_fid, "faster_format", lambda side, formats: formats[1])
    monkeypatch.setattr(second_core, "SECONDS", 0.01)
    monkeypatch.setattr(report, "variants", lambda side: ("contiguous", "channels-last"))
    return turns


def test_the_time_to_a_fid(trainings, tmp_path, capsys, monkeypatch):
    path = tmp_path / "fid.json"
    command = ["--time-to-fid", "--against", "torch", "-o", str(path)]
    assert main(command) == 0
    # It is 4 after two turns and 2 after three, so 3 after two and a half.
    seed = [(0, "tinygan"), (0, "torch"), (0, "torch"), (0, "tinygan"), (0, "tinygan")]
    assert trainings[:6] == [*seed, (0, "torch")] and len(trainings) == 18
    out = capsys.readouterr().out
    assert re.search(r"^tinygan +25 \(25-25\) +625 \(625-625\) +40.0 ", out, re.MULTILINE)
    assert re.search(r"^PyTorch +50 \(50-50\) +625 \(625-625\) +80.0 ", out, re.MULTILINE)
    assert re.search(r"^time ratio +0.50 \(0.50-0.50\)$", out, re.MULTILINE)
    numbers = json.loads(path.read_text())
    assert numbers["machine"] == report.machine() and numbers["format"] == "channels-last"
    del numbers["seeds"]["1"], numbers["summary"]  # as if it had been stopped
    path.write_text(json.dumps(numbers))
    assert main(command) == 0
    assert len(trainings) == 24 and {seed for seed, _ in trainings[18:]} == {1}
    assert json.loads(path.read_text())["summary"]["ratio"] == {"seconds": [0.5, 0.5, 0.5]}
    monkeypatch.setattr(time_to_fid, "FID", 2.5)
    assert "has measurements with another fid" in fails(capsys, *command, main=main)


def test_a_fid_that_is_not_reached_has_no_time():
    rows = [[250, 10.0, 8.0], [500, 20.0, 4.0]]
    never = {"steps": None, "seconds": None, "ms_per_step": 40.0}
    assert time_to_fid.reached(rows, 3.0) == never
    assert time_to_fid.reached(rows[:1], 9.0) == {
        "steps": 250,
        "seconds": 10.0,
        "ms_per_step": 40.0,
    }
    in_time = {"steps": 300, "seconds": 9.0, "ms_per_step": 30.0}
    results = [{"sides": {"tinygan": in_time, "torch": never}}]
    summary = time_to_fid.summarise(results, ["tinygan", "torch"])
    assert summary["torch"]["seconds"] is None and summary["ratio"]["seconds"] is None
    assert time_to_fid.table(summary, 3)[2] == [
        "PyTorch",
        "not reached",
        "not reached",
        "40.0 (40.0-40.0)",
    ]


def test_both_sides_of_a_training_are_measured_by_the_same_samples():
    pytest.importorskip("torch")
    z = np.random.default_rng(0).standard_normal((6, 100), dtype=np.float32)
    labels = np.arange(6)
    with parallel.single_threaded_blas(), np.errstate(all="ignore"):
        ours, theirs = (
            time_to_fid.Trainee(side, "contiguous", 4, 0) for side in ("tinygan", "torch")
        )
        ours.blas.__exit__(None, None, None)
        images, others = (trainee.generate(z, labels) for trainee in (ours, theirs))
        assert images.shape == others.shape == (6, 28, 28, 1) and images.dtype == others.dtype
        assert np.abs(images.astype(int) - others).max() <= 1  # the same initial weights
        assert theirs.train(2) > 0 and (theirs.generate(z, labels) != others).any()
