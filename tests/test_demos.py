"""The scripts in demos/: that each runs and says what it found; of those that measure, their arithmetic, on runs made up for it."""

import importlib
import json
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tinygan.study import kept

pytestmark = pytest.mark.cpu  # they call what other tests run on any backend, and measure CPUs


DEMOS = Path(__file__).parent.parent / "demos"
LECTURE = [
    "autograd_tour",
    "gan_losses",
    "gradient_penalty",
    "conditional",
    "progressive",
    "biggan",
    "stylegan",
    "stylegan2",
    "diffaugment",
    "ada",
    "speed",
]


def test_these_are_the_demos():
    assert {
        path.stem for path in DEMOS.glob("*.py") if "Study(__file__" in path.read_text()
    } == set(LECTURE)


@pytest.mark.parametrize("name", LECTURE)
def test_a_demo_runs_draws_its_figure_and_says_what_it_found(name, tmp_path, monkeypatch, capsys):
    script = shutil.copy(DEMOS / f"{name}.py", tmp_path)  # its figures are beside it
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [script, "--tiny"])
    runpy.run_path(script)
    found = re.search("^finding: (.*)$", capsys.readouterr().out, re.MULTILINE)[1]
    assert len(re.findall(r"\d", found)) > 3 and "nan" not in found
    numbers = kept.numbers(tmp_path / "out" / "results" / f"{name}.json")
    assert numbers["finding"] == found
    monkeypatch.syspath_prepend(str(DEMOS))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    readme = importlib.import_module("readme")
    assert len(re.findall(r"\d", readme.KOREAN[name](numbers))) > 3 and readme.judged(
        numbers["holds"]
    ).count(":") == len(numbers["holds"])
    assert all(
        (tmp_path / "out" / f"{name}{which}.png").stat().st_size > 5000 for which in ("", "-small")
    )


@pytest.mark.parametrize("name", LECTURE)
def test_a_demo_is_read_cell_by_cell(name):
    """In percent format: a title and a story to each cell, and whole lines that fit on a screen."""
    source = (DEMOS / f"{name}.py").read_text()
    cells = re.split("^# %% ", source, flags=re.MULTILINE)
    assert len(cells) > 4 and f"python demos/{name}.py" in cells[0] and '"""' in cells[0]
    assert cells[1].split("\n")[1].startswith("# ")
    compile(source, name, "exec")
    assert max(map(len, source.splitlines())) <= 140


@pytest.fixture
def results(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "demos"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    import results

    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(results, "RUNS", tmp_path / "runs")
    return results


def test_the_time_of_a_run_that_was_resumed_is_the_sum(results, tmp_path):
    lines = [
        {"step": step, "seconds": s} for step, s in ((10, 5.0), (20, 11.0), (30, 4.0), (40, 9.5))
    ]
    (tmp_path / "time.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert results.seconds(tmp_path / "time.jsonl") == 20.5


def test_a_row_is_two_commands_and_is_not_measured_twice(results, monkeypatch, tmp_path):
    said = []

    def call(command):
        said.append(command)
        run = tmp_path / "runs" / "gan-digits-0"
        run.mkdir(parents=True, exist_ok=True)
        (run / "time.jsonl").write_text('{"step": 20000, "seconds": 90.0}\n')
        (run / "metrics.json").write_text('{"fid": 3.0, "precision": 0.5, "recall": 0.25}')

    monkeypatch.setattr(results, "call", call)
    for _ in range(2):
        results.measure("gan", "digits", 0)
    assert said == [
        f"tinygan train gan --data digits --seed 0 --out {tmp_path}/runs/gan-digits-0 --set eval_every=2500",
        f"tinygan eval {tmp_path}/runs/gan-digits-0",
    ]
    row = kept.numbers(tmp_path / "results" / "digits.json")["gan-0"]
    assert row["seconds"] == 90 and row["metrics"]["fid"] == 3 and row["settings"]["hidden"] == 256
    kept.change(
        tmp_path / "results" / "digits.json",
        lambda old: {"gan-0": row | {"settings": row["settings"] | {"lr": 1.0}}},
    )
    with pytest.raises(
        SystemExit,
        match="digits.json: gan-0: the recipe's settings have changed since; measure it anew, with --again",
    ):
        results.measure("gan", "digits", 0)
    results.measure("gan", "digits", 0, again=True)
    assert len(said) == 4 and kept.numbers(tmp_path / "results" / "digits.json")["gan-0"] == row


def test_the_table_has_a_line_per_recipe(results, tmp_path, capsys):
    row = lambda seed, fid: {
        "settings": {"steps": 1234},
        "seconds": 90.0 + seed,
        "metrics": {"fid": fid, "precision": 0.5, "recall": 0.25, "class_accuracy": 0.9},
    }
    kept.change(
        tmp_path / "results" / "mnist.json",
        lambda old: {
            "cgan-0": row(0, 2.0),
            "cgan-1": row(1, 3.0),
            "cgan-64-0": {},
            "acgan-0": row(0, 9.0),
        },
    )
    results.table("mnist")
    assert (
        "| `cgan` | 1,234 | 1.5 | 2.50 (2.00-3.00) | 0.500 (0.500-0.500) |"
        in capsys.readouterr().out
    )


def test_what_a_command_measured_is_kept_under_a_name(tmp_path):
    script = shutil.copy(DEMOS / "keep.py", tmp_path)  # results are beside it
    for name, number in (("growth", 1), ("memory", 2), ("growth", 3)):
        (tmp_path / "new.json").write_text(json.dumps({"machine": "this one", name: number}))
        subprocess.run([sys.executable, script, "bench", name, tmp_path / "new.json"], check=True)
    assert kept.numbers(tmp_path / "results" / "bench.json") == {
        "growth": {"machine": "this one", "growth": 3},
        "memory": {"machine": "this one", "memory": 2},
    }
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert done.returncode == 1 and "demos/keep.py bench growth new.json" in done.stderr
