"""The scripts in demos/: every demo runs and prints its result; the tools are tested on made-up
runs."""

import base64
import importlib
import json
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib import ft2font

from tinygan import data, kernels
from tinygan.data import pictures
from tinygan.errors import InputError
from tinygan.settings import parse_assignments
from tinygan.study import Study, result_files
from tinygan.training import recipes
from tinygan.training.algorithm import Algorithm

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
    # beyond the lecture
    "game2d",
    "how_training_dies",
    "infogan",
    "unrolled",
    "r3gan",
]
# Even if they are tiny.
TAKE_LONG = {"progressive", "unrolled", "biggan", "stylegan", "stylegan2", "diffaugment", "ada"}
TAKE_LONG |= {"speed", "infogan", "game2d", "how_training_dies"}


def test_the_list_of_demos_is_complete():
    studies = {path.stem for path in DEMOS.glob("*.py") if "= Study(" in path.read_text()}
    assert studies == set(LECTURE)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in TAKE_LONG else ()) for name in LECTURE],
)
def test_a_demo_runs_plots_its_figure_and_prints_its_result(name, tmp_path, monkeypatch, capsys):
    script = shutil.copy(DEMOS / f"{name}.py", tmp_path)  # its figures are written beside it
    if (DEMOS / f"{name}_steps.py").exists():  # its own recipe
        shutil.copy(DEMOS / f"{name}_steps.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [script, "--tiny"])
    texts = []
    monkeypatch.setattr(Study, "translate", staticmethod(lambda text: texts.append(text) or text))
    runpy.run_path(script)
    finding = re.search(
        r"^finding \(a tiny run is no evidence\): (.*)$", capsys.readouterr().out, re.MULTILINE
    )[1]
    assert len(re.findall(r"\d", finding)) > 3 and "nan" not in finding
    numbers = result_files.read_json(tmp_path / "out" / "results" / f"{name}.json")
    assert numbers["finding"] == finding
    monkeypatch.syspath_prepend(str(DEMOS))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    korean, readme = map(importlib.import_module, ("korean", "readme"))
    translate = importlib.import_module("korean_pictures").translate
    assert all(map(translate, filter(None, texts))) and texts  # every text of a figure
    claims = numbers["claims"]
    assert {*claims} <= {*korean.CLAIMS}
    assert {found["verdict"] for found in claims.values()} <= {"tiny: not evidence"}
    assert len(claims) >= (name not in ("autograd_tour", "speed"))
    for found in claims.values():
        assert readme.evidence(found)
    assert (tmp_path / "out" / f"{name}.png").stat().st_size > 2000


def test_the_fonts_have_the_hangul_of_the_figures(monkeypatch):
    monkeypatch.syspath_prepend(str(DEMOS))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    phrases = importlib.import_module("korean_pictures").PHRASES.values()
    letters = {ord(letter) for text in phrases for letter in text if "가" <= letter <= "힣"}
    for font in (DEMOS / "fonts").glob("*.ttf"):
        assert letters <= {*ft2font.FT2Font(str(font)).get_charmap()}, "see korean_pictures.py"


def test_the_lecture_map_names_what_exists(monkeypatch):
    """Its files, the names in them, the demos' claims and their translations."""
    monkeypatch.syspath_prepend(str(DEMOS))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    lecture, korean = map(importlib.import_module, ("lecture", "korean"))
    for slide in lecture.SLIDES:
        for file, names in slide.code.items():
            source = (DEMOS.parent / "tinygan" / file).read_text(encoding="utf-8")
            assert all(word in source for word in re.findall(r"[\w-]+", names)), (file, names)
        assert set(slide.claims) <= set(korean.CLAIMS)
        if slide.demo:
            stem = re.match(slide.demo, slide.picture)
            assert (DEMOS / f"{slide.demo}.py").exists() and stem
    assert all(all(row) for row in lecture.GLOSSARY)


@pytest.mark.parametrize("name", LECTURE)
def test_a_demo_has_cells_in_percent_format(name):
    """The first cell is the docstring with the command; then titles and prose take turns with code
    that compiles by itself; and lines fit on a screen."""
    source = (DEMOS / f"{name}.py").read_text()
    start, first, *cells = re.split("^# %%", source, flags=re.MULTILINE)
    assert start == "" and f"python demos/{name}.py" in first
    assert first.startswith(' [markdown]\n"""') and first.endswith('"""\n\n') and len(cells) > 7
    for i, (prose, code) in enumerate(zip(cells[::2], cells[1::2], strict=True)):
        lines = prose.rstrip().split("\n")
        assert lines[0] == " [markdown]" and lines[1].startswith("# ## ")
        assert all(line == "#" or line.startswith("# ") for line in lines[1:])
        assert i or len(lines) > 3  # the first one begins with prose
        assert code.startswith("\n") and code[1] not in "\n#"
        compile(code, name, "exec")
    assert max(map(len, source.splitlines())) <= 100


@pytest.mark.parametrize("name", [*LECTURE, "first_gan"])
def test_a_demo_needs_nothing_that_a_notebook_lacks(name):
    source = (DEMOS / f"{name}.py").read_text()
    own = r"(?<!\.)\b(__file__|__name__)|sys\.argv"
    assert not re.search(own, source)


@pytest.fixture
def notebooks(monkeypatch):
    for package in "jupytext", "nbclient", "ipykernel":
        pytest.importorskip(package)
    monkeypatch.syspath_prepend(str(DEMOS))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return importlib.import_module("notebooks")


@pytest.mark.parametrize("name", [*LECTURE, "first_gan"])
def test_a_demo_becomes_a_notebook(notebooks, name):
    assert set(notebooks.NAMES) == {*LECTURE, "first_gan"}
    title, *cells = notebooks.convert(name, "tiny").cells
    assert title.cell_type == "markdown" and title.source.startswith("# ")
    assert f"python demos/{name}.py" in title.source
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    compile(code, name, "exec")
    assert ('STUDY_SIZE = "tiny"' if name in LECTURE else "trange(20)") in code
    titles = [cell.source.split("\n")[0] for cell in cells if cell.cell_type == "markdown"]
    assert all(text.startswith("## ") for text in titles)
    assert len(cells) == len((DEMOS / f"{name}.py").read_text().split("\n# %%")) - 1 or not titles


@pytest.mark.slow
@pytest.mark.parametrize("name", ["autograd_tour", "conditional", "first_gan"])
def test_a_notebook_runs_and_shows_its_figures(notebooks, name, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["notebooks.py", name, "--tiny", "-o", str(tmp_path)])
    monkeypatch.setenv("PYTHONWARNINGS", "default")
    notebooks.main()
    cells = json.loads((tmp_path / f"{name}.ipynb").read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    assert not [output for output in outputs if output["output_type"] == "error"]
    shown = [output["data"] for output in outputs if "data" in output]
    pictures = [data for data in shown if "image/png" in data]
    assert len(pictures) == {"autograd_tour": 5, "conditional": 1, "first_gan": 1}[name]
    if name in LECTURE:
        assert any("finding" in "".join(output.get("text", "")) for output in outputs)
        figure = tmp_path / "out" / f"{name}.png"
        assert figure.read_bytes() == base64.b64decode(pictures[-1]["image/png"])
    # A figure is never shown as text, and a bar takes one line.
    assert not any("<Figure" in str(data.get("text/plain")) for data in shown)
    bars = [data for data in shown if "step" in str(data.get("text/html"))]
    assert all("".join(bar["text/html"]).count("\n") == 0 for bar in bars)
    assert len(bars) == (4 if name == "conditional" else 0)


@pytest.fixture
def results(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "demos"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    # All scripts are imported before the patch: each one keeps the path of its results file.
    for script in ("default", "hour", "stacked_mnist"):
        importlib.import_module(script)
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


@pytest.fixture
def stacked(results, monkeypatch, tmp_path):
    stacked = importlib.import_module("stacked_mnist")
    for name, path in ("FILE", "stacked.json"), ("RUNS", "runs"), ("PICTURES", "pictures"):
        monkeypatch.setattr(stacked, name, tmp_path / path)
    return stacked


def test_the_rows_of_stacked_mnist_are_unconditional_and_see_equally_many_images(stacked):
    stacks = data.load("stacked-digits").subset(slice(500))
    for name in stacked.ROWS | stacked.ABLATION:
        recipe, changes = stacked.settings_of(name)
        s = recipes.find(recipe).settings().updated(changes)
        images = s.steps * s.batch_size * s.d_steps
        assert images == pytest.approx(stacked.IMAGES * stacked.LONG.get(name, 1), rel=0.01)
        assert s.g_class == s.d_class == "none"
        Algorithm(recipes.find(recipe), s, stacks.padded(s.pad))


def test_the_table_of_stacked_mnist_shows_a_perfect_sampler_beside_each_row(stacked, capsys):
    stacked.table()
    assert capsys.readouterr().out == "(not measured yet)\n"
    row = lambda kl: {
        "command": "tinygan train dcgan --data stacked-mnist --seed 0 --set pad=2",
        "diverged": kl > 0.3,
        "seconds": 630.0,
        "images": 640_000,
        "metrics": {"modes": 999, "mode_kl": kl},
    }
    ruler = {
        "classifier": "the classifier",
        "stacks": 10_000,
        "accuracy": 0.985,
        "perfect": {"uniform": [0.0192, 0.001], "mnist": [0.0236, 0.0011]},
    }
    result_files.update_json(
        stacked.FILE, lambda old: {"ruler": ruler, "dcgan-0": row(0.25), "dcgan-1": row(0.35)}
    )
    stacked.picture_of("dcgan").parent.mkdir()
    stacked.picture_of("dcgan").touch()
    stacked.table()
    head, rule, line, _, note = capsys.readouterr().out.splitlines()
    assert head.count("|") == rule.count("|") == line.count("|")
    assert line == (
        "| DCGAN (1 of 2 diverged) | 99 / 3.40 | 999 (999-999) | 0.300 (0.250-0.350) | 0.0236 | "
        '640,000 | 10 (10-10) | 2 | <img src="pictures/stacked-mnist-dcgan.png" width="300"> | '
        "`tinygan train dcgan --data stacked-mnist --set pad=2` |"
    )
    assert "98.50% of 10,000 stacks" in note and "0.0192 +- 0.0010" in note
    stacked.table("ablation")
    assert "| relativistic" not in capsys.readouterr().out


def test_a_row_of_stacked_mnist_that_diverges_at_once_does_not_stop_the_others(
    stacked, monkeypatch, tmp_path, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stacked, "DATA", "stacked-digits")
    monkeypatch.setattr(stacked, "IMAGES", 1000)
    monkeypatch.setitem(stacked.ROWS, "dcgan", ("DCGAN", "dcgan", "lr=1e30 batch_size=8", ""))
    stacked.measure("dcgan", 0)
    row = result_files.read_json(stacked.FILE)["dcgan-0"]
    assert row["diverged"] and row["metrics"] is None and row["images"] == 0
    ruler = {"classifier": "it", "stacks": 1, "accuracy": 1.0}
    ruler["perfect"] = {"uniform": [0.0192, 0.001], "mnist": [0.0236, 0.0011]}
    result_files.update_json(stacked.FILE, lambda old: old | {"ruler": ruler})
    capsys.readouterr()
    stacked.table()
    assert "| DCGAN (1 of 1 diverged) | - | - | - | 0.0236 | 0 |" in capsys.readouterr().out


def test_a_perfect_sampler_has_the_published_kl(stacked, monkeypatch):
    """The numbers of the literature: .0192 if all modes are equally frequent, (1000 - 1) / 2n."""
    digits = data.load("digits")
    monkeypatch.setattr(stacked.data, "load", lambda name, split="train": digits)
    monkeypatch.setattr(stacked, "Extractor", lambda name: Reads(digits.labels))
    stacked.check_the_ruler()
    ruler = result_files.read_json(stacked.FILE)["ruler"]
    assert ruler["perfect"]["uniform"][0] == pytest.approx(999 / (2 * 26_000), rel=0.02)
    assert ruler["accuracy"] == 1.0


class Reads:
    """In place of the classifier: reads the stack of the digits 0, 0 and k as it should."""

    description = "reads"

    def __init__(self, labels):
        self.labels = labels

    def __call__(self, images):
        digits = np.stack([0 * self.labels, 0 * self.labels, self.labels], 1)
        return None, np.eye(10)[digits]


def test_a_row_of_another_command_must_be_measured_again(results, tmp_path):
    file, run = tmp_path / "rows.json", tmp_path / "run"
    assert not results.is_stored(file, "a-0", "train", run, again=False)
    result_files.update_json(file, lambda old: {"a-0": {"command": "train"}})
    assert results.is_stored(file, "a-0", "train", run, again=False)
    with pytest.raises(InputError, match="a-0 has another command: measure it with --again"):
        results.is_stored(file, "a-0", "other", run, again=False)
    run.mkdir()
    assert not results.is_stored(file, "a-0", "other", run, again=True) and not run.exists()


def test_the_candidates_for_an_hour_are_valid(results, monkeypatch, tmp_path, capsys):
    hour = importlib.import_module("hour")
    for name, (_, recipe, _, _) in hour.CANDIDATES.items():
        settings = hour.command(name, 0)[0].split(" --set ")[1]
        recipes.find(recipe).settings().updated(parse_assignments(settings.split()))
    monkeypatch.setattr(hour, "FILE", tmp_path / "hour.json")
    hour.table()
    assert capsys.readouterr().out == "(not measured yet)\n"
    row = lambda fid: {
        "seconds": 900.0,
        "shipped": {"fid": 1.0, "precision": 0.7, "recall": 0.6},
        "second": {"fid": fid},
    }
    result_files.update_json(hour.FILE, lambda old: {"quick-0": row(0.5), "cosine-0": row(0.4)})
    hour.table()
    first, second = capsys.readouterr().out.splitlines()[2:]
    assert first.startswith("| `cosine`: ") and "| 15 | 0.400 | 1.00 | 0.700 | 0.600 |" in first
    assert second.startswith("| `quick`: ")


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
