"""What the README shows works as it is written there."""

import importlib
import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from tinygan.cli import make_parser

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)


@pytest.mark.cpu  # it is for NumPy: its arrays go into networks as they are
def test_the_python_runs(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # some of it writes files
    code = "".join(block for language, block in BLOCKS if language == "python")
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["dy"].data.tolist() == [3, 12, 27] and names["ddy"].data.tolist() == [6, 12, 18]
    assert "conv_transpose2d" in capsys.readouterr().out


def test_the_commands_exist():
    lines = [line.split("#")[0] for language, block in BLOCKS if not language for line in block.splitlines()]
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("tinygan ")]
    assert len(commands) >= 9
    for command in commands:
        make_parser().parse_args(command)


def test_two_commands_set_everything_up():
    setup = [line for _, block in BLOCKS for line in block.splitlines() if line.startswith("python3 -m venv .venv")]
    assert setup == ["python3 -m venv .venv && .venv/bin/pip install -q -e . && .venv/bin/tinygan train",
                     "python3 -m venv .venv && .venv/bin/pip install -q -e '.[test]' && .venv/bin/pytest"]


def test_its_pictures_are_there():
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)|<img src=\"([^\"]+)\"", README)
    assert len(pictures) >= 3
    for picture in pictures:
        assert (ROOT / "".join(picture)).exists(), picture


@pytest.fixture
def readme(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "demos"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.chdir(ROOT / "tests")  # where no runs are: nothing draws pictures
    return importlib.import_module("readme")


def test_what_is_between_marks_is_what_was_measured(readme):
    for file in readme.FILES:
        text = file.read_text(encoding="utf-8")
        assert text.count("<!-- ") == 2 * text.count("<!-- end -->") > 0
        assert readme.filled(text) == text, f"python demos/readme.py, and look at what changed in {file.name}"


def test_the_gallery_has_every_demo_with_its_picture_and_finding(readme):
    for file in readme.FILES:
        text = file.read_text(encoding="utf-8")
        for name in readme.LECTURE:
            line, = re.findall(rf'^\| <a href="demos/pictures/{name}.png"><img src="demos/pictures/{name}-small.png"></a> .*$', text,
                               re.MULTILINE)
            assert f"[{name}](demos/{name}.py): " in line and len(re.findall(r"\d", line.split("</a>")[1])) > 3, (file.name, name)


def test_a_mark_is_filled(readme, tmp_path, monkeypatch):
    monkeypatch.setattr(readme, "DEMOS", tmp_path)
    monkeypatch.setattr(readme, "LECTURE", ["speed"])
    (tmp_path / "results").mkdir()
    found = {"finding": "It is 3.", "size": "full", "seeds": [0, 1, 2], "tables": [[["a", "b"], ["x", "1"]]]}
    (tmp_path / "results" / "speed.json").write_text(json.dumps(found))
    assert readme.filled("<!-- speed 0 -->\nold\n<!-- end -->\nrest") == (
        "<!-- speed 0 -->\n\n| a | b |\n| --- | --- |\n| x | 1 |\n\n<!-- end -->\nrest")
    assert readme.filled("It is <!-- = speed tables.0.1.1 -->2<!-- end -->, or <!-- = speed seeds.2 .1f --><!-- end -->.") == (
        "It is <!-- = speed tables.0.1.1 -->1<!-- end -->, or <!-- = speed seeds.2 .1f -->2.0<!-- end -->.")
    with pytest.raises(SystemExit, match="results/ada.json is missing"):
        readme.filled("<!-- = ada fid --><!-- end -->")
    filled = readme.filled("<!-- gallery -->\n<!-- end -->")
    assert filled.count("\n| <a href") == 1 and 'src="demos/pictures/speed-small.png"' in filled and filled.endswith(" It is 3. |\n\n<!-- end -->")
    (tmp_path / "results" / "speed.json").write_text(json.dumps({**found, "seeds": [0]}))
    with pytest.raises(SystemExit, match="is of full size and seeds .0.: run demos/speed.py --full"):
        readme.filled("<!-- gallery -->\n<!-- end -->")


def test_the_korean_readme_is_a_translation():
    korean = (ROOT / "README.ko.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(\w*)\n(.*?)```", korean, re.DOTALL)
    commands = [line.split("#")[0].strip() for language, block in blocks if not language for line in block.splitlines() if line]
    ours = [line.split("#")[0].strip() for language, block in BLOCKS if not language for line in block.splitlines()]
    assert len(commands) > 10 and sum(command in ours for command in commands) >= len(commands) - 2
    for command in commands:
        if command.startswith("tinygan "):
            make_parser().parse_args(shlex.split(command)[1:])
    exec("".join(block for language, block in blocks if language == "python"), {})
    assert "README.ko.md" in README
