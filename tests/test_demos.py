"""The scripts in demos/: every demo runs and prints its result; the tools are tested on made-up
runs."""

import importlib
import json
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tinygan import kernels
from tinygan.data import pictures
from tinygan.study import result_files

# They call code that other tests run on every backend, and they measure CPUs.
pytestmark = pytest.mark.cpu

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
TAKE_LONG = "progressive", "biggan", "stylegan2", "ada"  # even if they are tiny


def test_the_list_of_demos_is_complete():
    assert {
        path.stem for path in DEMOS.glob("*.py") if "Study(__file__" in path.read_text()
    } == set(LECTURE)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in TAKE_LONG else ()) for name in LECTURE],
)
def test_a_demo_runs_plots_its_figure_and_prints_its_result(name, tmp_path, monkeypatch, capsys):
    script = shutil.copy(DEMOS / f"{name}.py", tmp_path)  # its figures are written beside it
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [script, "--tiny"])
    runpy.run_path(script)
    finding = re.search("^finding: (.*)$", capsys.readouterr().out, re.MULTILINE)[1]
    assert len(re.findall(r"\d", finding)) > 3 and "nan" not in finding
    numbers = result_files.read_json(tmp_path / "out" / "results" / f"{name}.json")
    assert numbers["finding"] == finding
    monkeypatch.syspath_prepend(str(DEMOS))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    readme = importlib.import_module("readme")
    assert len(re.findall(r"\d", readme.KOREAN[name](numbers))) > 3
    assert readme.verdicts(numbers["holds"]).count(":") == len(numbers["holds"])
    assert all(
        (tmp_path / "out" / f"{name}{which}.png").stat().st_size > 5000 for which in ("", "-small")
    )


@pytest.mark.parametrize("name", LECTURE)
def test_a_demo_has_cells_in_percent_format(name):
    """The first cell is the docstring with the command; the next one begins with a title and a
    comment; and lines fit on a screen."""
    source = (DEMOS / f"{name}.py").read_text()
    cells = re.split("^# %% ", source, flags=re.MULTILINE)
    assert len(cells) > 4 and f"python demos/{name}.py" in cells[0] and '"""' in cells[0]
    assert cells[1].split("\n")[1].startswith("# ")
    compile(source, name, "exec")
    assert max(map(len, source.splitlines())) <= 100


@pytest.fixture
def results(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "demos"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    import results

    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(results, "RUNS", tmp_path / "runs")
    return results


def test_the_time_of_a_resumed_run_is_the_sum_of_its_parts(results, tmp_path):
    lines = [
        {"step": step, "seconds": s} for step, s in ((10, 5.0), (20, 11.0), (30, 4.0), (40, 9.5))
    ]
    (tmp_path / "time.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert results.training_seconds(tmp_path / "time.jsonl") == 20.5


def test_a_row_runs_two_commands_and_is_not_measured_twice(results, monkeypatch, tmp_path):
    commands = []

    def run_command(command):
        commands.append(command)
        run = tmp_path / "runs" / "gan-digits-0"
        run.mkdir(parents=True, exist_ok=True)
        (run / "time.jsonl").write_text('{"step": 20000, "seconds": 90.0}\n')
        (run / "metrics.json").write_text('{"fid": 3.0, "precision": 0.5, "recall": 0.25}')

    monkeypatch.setattr(results, "run_command", run_command)
    for _ in range(2):
        results.measure("gan", "digits", 0)
    run = f"{tmp_path}/runs/gan-digits-0"
    assert commands == [
        f"tinygan train gan --data digits --seed 0 --out {run} --set eval_every=2500",
        f"tinygan eval {run}",
    ]
    row = result_files.read_json(tmp_path / "results" / "digits.json")["gan-0"]
    assert row["seconds"] == 90 and row["metrics"]["fid"] == 3 and row["settings"]["hidden"] == 256
    result_files.update_json(
        tmp_path / "results" / "digits.json",
        lambda old: {"gan-0": row | {"settings": row["settings"] | {"lr": 1.0}}},
    )
    with pytest.raises(
        SystemExit,
        match="digits.json: gan-0: the recipe's settings have changed since; measure it again, "
        "with --again",
    ):
        results.measure("gan", "digits", 0)
    results.measure("gan", "digits", 0, again=True)
    assert (
        len(commands) == 4
        and result_files.read_json(tmp_path / "results" / "digits.json")["gan-0"] == row
    )


def test_the_table_has_one_line_per_recipe(results, tmp_path, capsys):
    row = lambda seed, fid: {
        "settings": {"steps": 1234},
        "seconds": 90.0 + seed,
        "metrics": {"fid": fid, "precision": 0.5, "recall": 0.25, "class_accuracy": 0.9},
    }
    result_files.update_json(
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


def test_keep_stores_the_numbers_of_a_command_under_a_name(tmp_path):
    script = shutil.copy(DEMOS / "keep.py", tmp_path)  # the results are written beside it
    for name, number in (("growth", 1), ("memory", 2), ("growth", 3)):
        (tmp_path / "new.json").write_text(json.dumps({"machine": "this one", name: number}))
        subprocess.run([sys.executable, script, "bench", name, tmp_path / "new.json"], check=True)
    assert result_files.read_json(tmp_path / "results" / "bench.json") == {
        "growth": {"machine": "this one", "growth": 3},
        "memory": {"machine": "this one", "memory": 2},
    }
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert done.returncode == 1 and "demos/keep.py bench growth new.json" in done.stderr


# A first GAN


def first_losses(name, monkeypatch, tmp_path):
    """Run a few steps of demos/NAME.py; return the losses and the picture that it writes."""
    source = (DEMOS / f"{name}.py").read_text(encoding="utf-8")
    assert source.count("trange(3000)") == 1
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    exec(compile(source.replace("trange(3000)", "trange(6, disable=True)"), name, "exec"), names)
    return names["d_loss"].item(), names["g_loss"].item(), tmp_path / f"{name}.png"


def test_the_plain_gan_is_the_first_gan(monkeypatch, tmp_path):
    d_loss, g_loss, picture = first_losses("first_gan", monkeypatch, tmp_path)
    assert pictures.read(picture, 3).shape == (604, 604, 3)
    plain_d_loss, plain_g_loss, picture = first_losses("plain_gan", monkeypatch, tmp_path)
    assert pictures.read(picture, 3).shape == (604, 604, 3)
    assert plain_d_loss == pytest.approx(d_loss, rel=1e-4)
    assert plain_g_loss == pytest.approx(g_loss, rel=1e-4)
    assert kernels.in_use() == "plain"
