"""The guides: their code, commands and links work, and their numbers are the measured ones."""

import importlib
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from test_architecture import FILES, LEARNERS_PATH, belongs

from demos.bench.__main__ import make_parser as make_bench_parser
from tinygan import __version__, nn, ops, tensor
from tinygan.backend import asarray
from tinygan.cli import main, make_parser
from tinygan.optable import table
from tinygan.study import result_files
from tinygan.training.recipes import RECIPES

ROOT = Path(__file__).parent.parent
GUIDES = [
    "README.md",
    "README.ko.md",
    "demos/README.md",
    "demos/README.ko.md",
    "tinygan/README.md",
    "tinygan/training/README.md",
    "tinygan/kernels/README.md",
    "tests/README.md",
]
each_guide = pytest.mark.parametrize("guide", GUIDES)


def text(guide):
    return (ROOT / guide).read_text(encoding="utf-8")


def blocks(guide):
    """Return [(language, code)] of a guide's code blocks."""
    return re.findall(r"```(\w*)\n(.*?)```", text(guide), re.DOTALL)


def commands(guide):
    """Return the lines of a guide's code blocks that have no language, without comments."""
    lines = [
        line.split("#")[0].strip()
        for language, block in blocks(guide)
        if not language
        for line in block.splitlines()
    ]
    return [line for line in lines if line]


def test_the_list_of_guides_is_complete():
    guides = {
        path.relative_to(ROOT).as_posix()
        for path in ROOT.rglob("README*.md")
        if not path.relative_to(ROOT).parts[0][0] == "."
    }
    assert guides - {"tinygan/data/digits/README.md", "tests/golden/README.md"} == {*GUIDES}
    assert len(text("README.md").splitlines()) <= 200


@pytest.mark.cpu  # the code gives NumPy arrays to networks
@each_guide
def test_the_python_code_runs(guide, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # some of the code writes files
    names = {}
    source = "".join(code for language, code in blocks(guide) if language == "python")
    exec(compile(source, guide, "exec"), names)
    if guide == "tinygan/README.md":
        assert names["dy"].data.tolist() == [3, 12, 27]
        assert names["ddy"].data.tolist() == [6, 12, 18]
        assert "conv_transpose2d" in capsys.readouterr().out


@each_guide
def test_the_commands_exist(guide):
    inline = re.findall(
        r"`((?:tinygan|python -m demos\.bench) [^`]*)`",
        re.sub(r"```.*?```", "", text(guide), flags=re.DOTALL),
    )
    # A shorter one only names a command.
    inline = [command for command in inline if len(command.split()) > 2]
    for command in commands(guide) + inline:
        words = shlex.split(command.replace("FILE.json", "x.json"))
        if (
            words[0] == "tinygan"
            and words[1] not in ("bench", "gradcheck")
            and not {"NAME", "..."} & {*words}
        ):
            make_parser().parse_args(words[1:])
        elif words[:3] == ["python", "-m", "demos.bench"]:
            make_bench_parser().parse_args(words[3:])
        for script in re.findall(r"python ((?:demos|tests)/\S+\.py)", command):
            assert "NAME" in script or (ROOT / script).exists(), command


def test_a_guide_shows_every_command_of_tinygan():
    shown = {
        command.split()[1]
        for command in commands("tinygan/training/README.md")
        if command.startswith("tinygan ")
    }
    assert shown == {
        *next(action.choices for action in make_parser()._actions if action.choices)
    } - {"bench"}


@pytest.mark.parametrize("guide", ["README.md", "README.ko.md"])
def test_two_commands_set_everything_up(guide):
    assert [line for line in commands(guide) if line.startswith("python3 -m venv .venv")] == [
        "python3 -m venv .venv && .venv/bin/pip install -q -e . && .venv/bin/tinygan train",
        "python3 -m venv .venv && .venv/bin/pip install -q -e '.[test]' && .venv/bin/pytest -n 2",
    ]


def test_the_version_is_the_same_everywhere():
    changes, citation = text("CHANGELOG.md"), text("CITATION.cff")
    assert re.search(r"^## ([\d.]+) ", changes, re.MULTILINE)[1] == __version__
    assert re.search(r"^version: (.*)$", citation, re.MULTILINE)[1] == __version__


def headings(guide):
    """Return the anchors of a guide's headings, as GitHub makes them."""
    lines = re.sub(r"```.*?```", "", text(guide), flags=re.DOTALL)
    return {
        re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", lines, re.MULTILINE)
    }


def links(guide):
    """Return [(file, anchor)] of a guide's links and pictures, except links to the web."""
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", text(guide), flags=re.DOTALL)
    matches = re.findall(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", prose)
    targets = map("".join, matches)
    return [tuple((target + "#").split("#")[:2]) for target in targets if "://" not in target]


@each_guide
def test_links_and_pictures_exist(guide):
    assert links(guide) or guide == "tinygan/kernels/README.md"
    for file, anchor in links(guide):
        target = (ROOT / guide).parent / file if file else ROOT / guide
        assert target.exists(), (file, anchor)
        if anchor:
            assert anchor in headings(target.resolve().relative_to(ROOT).as_posix()), (file, anchor)


def test_every_guide_is_linked_from_the_readme_and_every_picture_is_shown():
    for readme in ("README.md", "README.ko.md"):
        assert {*GUIDES[2:]} <= {file for file, _ in links(readme)}, readme
    shown = {
        ((ROOT / guide).parent / file).resolve() for guide in GUIDES for file, _ in links(guide)
    }
    assert shown >= {path.resolve() for path in (ROOT / "demos" / "pictures").iterdir()}


@pytest.fixture
def readme(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "demos"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.chdir(ROOT / "tests")  # no runs are here, so that no pictures are written
    return importlib.import_module("readme")


@each_guide
def test_the_text_between_marks_is_what_was_measured(readme, guide):
    assert readme.GUIDES == [ROOT / name for name in GUIDES]
    written = text(guide)
    numbers = written.count("<!-- numbers\n")
    assert written.count("<!-- ") == 2 * written.count("<!-- end -->") + numbers
    assert written.count("<!-- ") or guide in ("tinygan/README.md", "tests/README.md")
    assert readme.filled(written) == written, (
        f"{guide} is out of date: run python demos/readme.py, and check the changes"
    )
    # No marks stand within sentences: the source of a guide is as readable as the page.
    assert all(line.startswith("<!-- ") for line in written.splitlines() if "<!-- " in line)


def test_the_tables_of_recipes_are_made_from_what_the_bench_writes(readme, monkeypatch):
    assert readme.bench_recipes(None) == readme.time_to_fid({}) == "(not measured yet)"
    head = "workload|batch|tinygan ms|PyTorch ms|its best|ratio|compiled ms|ratio to it".split("|")
    row = "recipe quick|64|40.1|50.2|channels-last|0.80|-|no compiler".split("|")
    measured = {
        "recipes": [head, row],
        "second_core": {"median": 1.9, "lowest": 1.5, "highest": 2.0},
        "machine": "M",
        "versions": "V",
    }
    table = readme.bench_recipes(measured)
    assert "| `quick` | 64 | 40.1 ms | 50.2 ms | **0.80** | - | no compiler |\n\nM; V." in table
    assert table.endswith("1.90 (1.50-2.00) times the throughput of one.")
    spread = dict.fromkeys(("seconds", "steps", "ms_per_step"), [10, 9, 11])
    table = readme.time_to_fid(
        {
            "fid": 2.0,
            "seeds": {"0": {"versions": "V"}},
            "machine": "M",
            "summary": {"tinygan": spread, "torch": spread, "ratio": {"seconds": [0.9, 0.8, 1.0]}},
        }
    )
    assert "|  | seconds to FID 2 | steps | ms a step |" in table
    assert "| time ratio | 0.90 (0.80-1.00) |  |  |\n\nM; V." in table


@pytest.mark.parametrize("guide", ["README.md", "README.ko.md"])
def test_the_front_page_has_every_recipe(guide):
    shown = re.findall(r"^\| `([^`]+)` \|", text(guide), re.MULTILINE)
    assert shown[: len(RECIPES)] == [*RECIPES]


def test_a_demo_beyond_the_lecture_may_not_be_measured_yet(readme, tmp_path, monkeypatch):
    monkeypatch.setattr(readme, "DEMOS", tmp_path)
    guide = "<!-- picture r3gan -->\n<!-- end -->\n<!-- finding r3gan -->\n<!-- end -->\n"
    file, pictures = tmp_path / "results" / "r3gan.json", tmp_path / "pictures"
    pictures.mkdir()
    for part in ("", "-cost", "-ko", "-cost-ko"):
        (pictures / f"r3gan{part}.png").touch()
    result_files.update_json(file, lambda old: {"runs": {}})
    assert readme.filled(guide).count("(not measured yet)") == 2
    result_files.update_json(
        file, lambda old: {"finding": "It is.", "claims": {}, "size": "full", "seeds": [0, 1, 2]}
    )
    shown = lambda text: re.findall(r'src="pictures/([^"]*)"', readme.filled(text))
    assert "<!-- finding r3gan -->\n\nResult: It is.\n\n<!-- end -->" in readme.filled(guide)
    assert shown(guide) == ["r3gan-cost.png", "r3gan.png"]
    assert shown(guide.replace("r3gan -->", "r3gan ko -->", 1)) == [
        "r3gan-cost-ko.png",
        "r3gan-ko.png",
    ]


def test_a_mark_is_filled(readme, tmp_path, monkeypatch):
    monkeypatch.setattr(readme, "DEMOS", tmp_path)
    monkeypatch.setattr(readme, "LECTURE", ["speed"])
    numbers = {
        "finding": "It is 3.",
        "claims": {"it is 3": {"verdict": "holds", "comparisons": [], "runs": [True, False]}},
        "size": "full",
        "seeds": [0, 1, 2],
        "tables": [[["a", "b"], ["x", "1"]]],
    }
    result_files.update_json(tmp_path / "results" / "speed.json", lambda old: numbers)
    assert readme.filled("<!-- speed 0 -->\nold\n<!-- end -->\nrest") == (
        "<!-- speed 0 -->\n\n| a | b |\n| --- | --- |\n| x | 1 |\n\n<!-- end -->\nrest"
    )
    assert readme.filled("<!-- verdicts speed -->\nold\n<!-- end -->\n").splitlines()[4] == (
        "| it is 3 | true of 1 of 2 runs | holds |"
    )
    listed = "It is {speed tables.0.1.1} or {speed seeds.2 .1f}\nseed {speed seeds.1},\n"
    listed = f"\n<!-- numbers\n{listed}-->\n"
    assert readme.filled("It is 2 or\n7.5, with seed 3, of 2." + listed) == (
        "It is 1 or\n2.0, with seed 1, of 2." + listed
    )
    for text in "It was 2 or 3, seed 3,", "It is 1 or 2. It is 1 or 2, seed 3,":
        with pytest.raises(SystemExit, match="the words occur [02] times, not once: It is {speed"):
            readme.filled(text + listed)
    with pytest.raises(SystemExit, match="results/ada.json is missing"):
        readme.filled("It is 1.\n<!-- numbers\nIt is {ada fid}\n-->\n")
    result_files.update_json(
        tmp_path / "results" / "speed.json", lambda old: {**numbers, "seeds": [0]}
    )
    with pytest.raises(SystemExit, match="has size full and seeds .0.: run demos/speed.py --full"):
        readme.filled("<!-- finding speed -->\n<!-- end -->")


def test_the_korean_readme_has_the_same_structure():
    """It has the same headings, commands, code, links and rows, in the same order."""
    english, korean = text("README.md"), text("README.ko.md")
    levels = lambda guide: [len(mark) for mark in re.findall("^(#+) ", guide, re.MULTILINE)]
    assert levels(english) == levels(korean)
    assert commands("README.md") == commands("README.ko.md")
    code = lambda guide: [
        line.split("#")[0].rstrip()
        for language, block in blocks(guide)
        if language
        for line in block.splitlines()
    ]
    assert code("README.md") == code("README.ko.md")
    targets = lambda guide: [  # of links to other files; a Korean guide has anchors of its own
        (file.replace(".ko.md", ".md"), "" if "demos/README" in file else anchor)
        for file, anchor in links(guide)
        if file not in ("", "README.md", "README.ko.md")
    ]
    assert targets("README.md") == targets("README.ko.md")
    row = re.compile(r"^\| (`[^`]+`|<a[^>]*>)", re.MULTILINE)
    assert row.findall(english) == row.findall(korean)


def test_wrong_links_and_commands_are_detected(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "README.md").write_text(
        "# A title, *here*\n\n[a](README.md#a-title-here) ![b](none.png) [c](#no) `[d](code)`\n"
        '<img src="https://elsewhere.org/x.png">\n\n```\ntinygan sampel RUN\n```\n'
    )
    assert headings("README.md") == {"a-title-here"}
    assert links("README.md") == [("README.md", "a-title-here"), ("none.png", ""), ("", "no")]
    with pytest.raises(AssertionError, match="none.png"):
        test_links_and_pictures_exist("README.md")
    with pytest.raises(SystemExit):
        test_the_commands_exist("README.md")


# tinygan/README.md


def test_the_reading_order_has_every_file_of_the_learners_path(readme):
    order = importlib.import_module("reading_order").files()
    path = [file for file in FILES if any(belongs(file, part) for part in LEARNERS_PATH)]
    assert sorted(order) == sorted({*path, "optim.py", "training/ema.py"}), (
        "the files in ORDER of demos/reading_order.py are not those of the learner's path"
    )


def test_lines_of_code_are_counted(readme):
    source = (
        '"""A docstring\nof two lines."""\n\n# a comment\nx = (1,\n     2)\n\ndef f():\n    "no"\n'
    )
    assert importlib.import_module("reading_order").lines_of_code(source + "    return 1\n") == 4


def example(file, number=0):
    """Return the code of an example in tinygan/README.md that belongs into `file`, and the names
    that it would find there."""
    found = [
        code
        for language, code in blocks("tinygan/README.md")
        if language == "py" and code.startswith(f"# {file}\n")
    ]
    module = importlib.import_module("tinygan." + file.removesuffix(".py").replace("/", "."))
    return found[number], dict(vars(module))


def own_file(name):
    """Return the code of an example in tinygan/README.md that is a file of the user's own."""
    (code,) = [code for _, code in blocks("tinygan/README.md") if code.startswith(f"# {name}\n")]
    return code


def test_the_examples_of_additions_work(monkeypatch):
    code, names = example("ops/elementwise.py")
    exec(code, names)
    monkeypatch.setattr(ops, "mish", names["mish"], raising=False)
    code, layer_names = example("nn/norms.py")
    exec(code, layer_names)
    monkeypatch.setattr(nn, "GroupNorm", layer_names["GroupNorm"], raising=False)
    rows = []
    monkeypatch.setattr(table, "ROWS", rows)
    for file in ("optable/elementwise.py", "optable/layers.py"):
        exec(*example(file))
    assert [row.name for row in rows] == ["mish", "GroupNorm"]
    for row in rows:
        xs = row.draw(np.random.default_rng(0))
        np.testing.assert_allclose(
            row.function(*map(tensor, xs)).numpy(), row.reference(*xs), rtol=1e-9, atol=1e-12
        )
    assert all(result.passed for result in table.run_gradchecks(rows))

    names = {}
    exec(own_file("my_penalties.py"), names)  # test_penalties.py tests its entry
    D = lambda x: ops.sum(x, (1, 2, 3)) * 3.0
    x = asarray(
        np.zeros((2, 2, 2, 1), np.float32)
    )  # the gradient is 3 everywhere, so its length is 6
    assert names["longer"](D, x, x, np.random.default_rng(0)).item() == pytest.approx(25)


@pytest.mark.cpu
def test_the_example_of_a_wrong_gradient_is_reported_as_shown(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "homework.py").write_text(own_file("homework.py"))
    (command,) = [line for line in commands("tinygan/README.md") if "gradcheck homework" in line]
    assert main(command.split()[1:]) == 1
    first_digits = lambda text: re.sub(r"(\d\.\d{6})\d*", r"\1", " ".join(text.split()))
    (shown,) = [code for _, code in blocks("tinygan/README.md") if code.startswith("FAIL")]
    assert first_digits(capsys.readouterr().out) == first_digits(shown)


@pytest.mark.parametrize("guide", ["README.md", "README.ko.md"])
def test_the_readme_shows_the_first_gan(guide):
    (code,) = (code for language, code in blocks(guide) if language == "py")
    assert code == (ROOT / "demos" / "first_gan.py").read_text(encoding="utf-8")
    assert len(code.splitlines()) < 50
