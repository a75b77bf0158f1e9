"""The scripts in demos/: that each runs and says what it found; of those that measure, their arithmetic, on runs made up for it."""

import importlib
import json
import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from tinygan.training.recipes import find
from tinygan.training.settings import parse_assignments

pytestmark = pytest.mark.cpu  # they call what other tests run on any backend, and measure CPUs


DEMOS = Path(__file__).parent.parent / "demos"
LECTURE = ["autograd_tour", "gan_losses", "gradient_penalty", "conditional", "progressive", "biggan", "stylegan", "stylegan2",
           "diffaugment", "ada", "speed"]


def test_these_are_the_demos():
    assert {path.stem for path in DEMOS.glob("*.py") if "Study(__file__" in path.read_text()} == set(LECTURE)


@pytest.mark.parametrize("name", LECTURE)
def test_a_demo_runs_draws_its_figure_and_says_what_it_found(name, tmp_path, monkeypatch, capsys):
    script = shutil.copy(DEMOS / f"{name}.py", tmp_path)  # its figures are beside it
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [script, "--tiny"])
    runpy.run_path(script)
    found = re.search("^finding: (.*)$", capsys.readouterr().out, re.MULTILINE)[1]
    assert len(re.findall(r"\d", found)) > 3 and "nan" not in found
    kept = json.loads((tmp_path / "out" / "results" / f"{name}.json").read_text())
    assert kept["finding"] == found
    monkeypatch.syspath_prepend(str(DEMOS))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    readme = importlib.import_module("readme")
    assert len(re.findall(r"\d", readme.KOREAN[name](kept))) > 3 and readme.judged(kept["holds"]).count(":") == len(kept["holds"])
    assert (tmp_path / "out" / f"{name}.png").stat().st_size > 10_000


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
    lines = [{"step": step, "seconds": s} for step, s in ((10, 5.0), (20, 11.0), (30, 4.0), (40, 9.5))]
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
    assert said == [f"tinygan train gan --data digits --seed 0 --out {tmp_path}/runs/gan-digits-0 --set eval_every=2500",
                    f"tinygan eval {tmp_path}/runs/gan-digits-0"]
    row = json.loads((tmp_path / "results" / "gan-digits-0.json").read_text())
    assert row["seconds"] == 90 and row["metrics"]["fid"] == 3 and row["settings"]["hidden"] == 256
    (tmp_path / "results" / "gan-digits-0.json").write_text(json.dumps(
        {**row, "settings": {**row["settings"], "lr": 1.0}}))
    with pytest.raises(SystemExit, match="settings have changed since"):
        results.measure("gan", "digits", 0)


@pytest.fixture
def scale(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "demos"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    import scale

    monkeypatch.setattr(scale, "RESULTS", tmp_path / "results")
    (tmp_path / "results").mkdir()
    return scale


def test_scale_is_measured_at_equal_numbers_of_images(scale):
    base = find("biggan").settings()
    for name in scale.NAMES:
        settings = base.updated(parse_assignments(scale.changes(name).split()))
        batch, width = map(int, name.split("x"))
        assert settings.steps * settings.d_steps * batch == scale.IMAGES and settings.g_channels == settings.d_channels == width
        # A weight's share in the average after an image is the same, to the rounding of what is typed.
        assert settings.ema == pytest.approx(base.ema ** (batch / base.batch_size), abs=5e-5)
        assert settings.micro_batch == (64 if batch > 64 else 0)


def test_the_table_of_scale(scale, tmp_path, capsys):
    for seed, fid in enumerate((2.0, 3.0)):
        row = {"seconds": 90.0 + seed, "metrics": {"fid": fid}}
        (tmp_path / "results" / f"scale-64x8-{seed}.json").write_text(json.dumps(row))
    scale.table()
    assert f"| 64 | {scale.steps(64):,} | 2.50 (2.00-3.00) | - |" in capsys.readouterr().out
    scale.draw(tmp_path / "scale.png")
    assert (tmp_path / "scale.png").exists()


def test_the_table_has_a_line_per_recipe(results, tmp_path, capsys):
    (tmp_path / "results").mkdir()
    for seed, fid in ((0, 2.0), (1, 3.0)):
        row = {"settings": {"steps": 1234}, "seconds": 90.0 + seed,
               "metrics": {"fid": fid, "precision": 0.5, "recall": 0.25, "class_accuracy": 0.9}}
        (tmp_path / "results" / f"cgan-mnist-{seed}.json").write_text(json.dumps(row))
    (tmp_path / "results" / "cgan-mnist-64-0.json").write_text("{}")  # of something else
    results.table("mnist")
    assert "| `cgan` | 1,234 | 1.5 | 2.50 (2.00-3.00) | 0.500 (0.500-0.500) |" in capsys.readouterr().out


@pytest.fixture
def limited(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "demos"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    import limited

    for name in ("RESULTS", "RUNS"):
        monkeypatch.setattr(limited, name, tmp_path / name.lower())
    return limited


@pytest.mark.slow
def test_limited_data_is_measured_at_the_last_step(limited, tmp_path, monkeypatch, capsys):
    from tinygan.cli import main

    monkeypatch.setattr(limited, "COMMON", "train_size=40 steps=10 batch_size=8 eval_every=5 eval_images=100 g_channels=4 d_channels=4")
    commands = []

    def call(command):
        commands.append(command)
        assert main(shlex.split(command)[1:] + (["-n", "100"] if " eval " in command else [])) == 0

    monkeypatch.setattr(limited, "call", call)
    for name in limited.NAMES:
        limited.measure(name, 0)
    limited.measure("ada", 0)  # is done
    assert len(commands) == 8 and commands[-1].endswith("limited-ada-0/checkpoint-00000010.npz")
    result = json.loads((tmp_path / "results" / "limited-ada-0.json").read_text())
    assert result["metrics"]["step"] == 10 and [step for step, _ in result["held_out_fid"]] == [5, 10] and "p" in result["log"]
    capsys.readouterr()
    limited.table()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6 and lines[2].startswith("| no augmentation | ") and "| 1.00 |" in lines[2]
    limited.draw(tmp_path / "limited.png")
    assert (tmp_path / "limited.png").stat().st_size > 5000
