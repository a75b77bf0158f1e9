"""What the guides show works as it is written there, and what they say was measured was."""

import importlib
import re
import shlex
import sys
from pathlib import Path

import pytest

from demos.bench.__main__ import make_parser as make_bench_parser
from tinygan.cli import make_parser
from tinygan.study import kept

ROOT = Path(__file__).parent.parent
GUIDES = [
    "README.md",
    "README.ko.md",
    "demos/README.md",
    "tinygan/README.md",
    "tinygan/training/README.md",
    "tinygan/kernels/README.md",
    "tests/README.md",
]
each_guide = pytest.mark.parametrize("guide", GUIDES)


def text(guide):
    return (ROOT / guide).read_text(encoding="utf-8")


def blocks(guide):
    """[(language, code)] of a guide."""
    return re.findall(r"```(\w*)\n(.*?)```", text(guide), re.DOTALL)


def commands(guide):
    """The lines of its blocks that are not Python, without comments."""
    lines = [
        line.split("#")[0].strip()
        for language, block in blocks(guide)
        if not language
        for line in block.splitlines()
    ]
    return [line for line in lines if line]


def test_these_are_all_guides():
    found = {
        path.relative_to(ROOT).as_posix()
        for path in ROOT.rglob("README*.md")
        if not path.relative_to(ROOT).parts[0][0] == "."
    }
    assert found - {"tinygan/data/digits/README.md", "tests/golden/README.md"} == {*GUIDES}
    assert len(text("README.md").splitlines()) <= 200


@pytest.mark.cpu  # it is for NumPy: its arrays go into networks as they are
@each_guide
def test_the_python_runs(guide, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # some of it writes files
    names = {}
    exec(
        compile(
            "".join(code for language, code in blocks(guide) if language == "python"), guide, "exec"
        ),
        names,
    )
    if guide == "tinygan/README.md":
        assert names["dy"].data.tolist() == [3, 12, 27] and names["ddy"].data.tolist() == [
            6,
            12,
            18,
        ]
        assert "conv_transpose2d" in capsys.readouterr().out


@each_guide
def test_the_commands_exist(guide):
    inline = re.findall(
        r"`((?:tinygan|python -m demos\.bench) [^`]*)`",
        re.sub(r"```.*?```", "", text(guide), flags=re.DOTALL),
    )
    inline = [command for command in inline if len(command.split()) > 2]  # others only name it
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


def test_the_readme_shows_every_command_of_tinygan():
    shown = {
        command.split()[1] for command in commands("README.md") if command.startswith("tinygan ")
    }
    assert shown == {
        *next(action.choices for action in make_parser()._actions if action.choices)
    } - {"bench"}


@pytest.mark.parametrize("guide", ["README.md", "README.ko.md"])
def test_two_commands_set_everything_up(guide):
    assert [line for line in commands(guide) if line.startswith("python3 -m venv .venv")] == [
        "python3 -m venv .venv && .venv/bin/pip install -q -e . && .venv/bin/tinygan train",
        "python3 -m venv .venv && .venv/bin/pip install -q -e '.[test]' && .venv/bin/pytest",
    ]


def headings(guide):
    """The anchors of a guide: its headings, as GitHub makes links of them."""
    lines = re.sub(r"```.*?```", "", text(guide), flags=re.DOTALL)
    return {
        re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", lines, re.MULTILINE)
    }


def links(guide):
    """[(file, anchor)] that a guide links to or shows, but for those elsewhere on the web."""
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", text(guide), flags=re.DOTALL)
    found = re.findall(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", prose)
    return [
        tuple(("".join(link) + "#").split("#")[:2]) for link in found if "://" not in "".join(link)
    ]


@each_guide
def test_its_links_and_pictures_are_there(guide):
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
    monkeypatch.chdir(ROOT / "tests")  # where no runs are: nothing draws pictures
    return importlib.import_module("readme")


@each_guide
def test_what_is_between_marks_is_what_was_measured(readme, guide):
    assert readme.GUIDES == [ROOT / name for name in GUIDES]
    written = text(guide)
    assert written.count("<!-- ") == 2 * written.count("<!-- end -->")
    assert written.count("<!-- ") or guide in ("tinygan/README.md", "tests/README.md")
    assert readme.filled(written) == written, (
        f"python demos/readme.py, and look at what changed in {guide}"
    )
    assert "\n<!-- = " not in written  # which would end a paragraph


@pytest.mark.parametrize("guide", ["README.md", "README.ko.md"])
def test_the_gallery_has_every_demo_with_its_picture_and_finding(readme, guide):
    for name in readme.LECTURE:
        (line,) = re.findall(
            rf'^\| <a href="demos/pictures/{name}.png"><img src="demos/pictures/{name}-small.png"></a> .*$',
            text(guide),
            re.MULTILINE,
        )
        assert (
            f"[{name}](demos/{name}.py): " in line
            and len(re.findall(r"\d", line.split("</a>")[1])) > 3
        ), name


def test_a_mark_is_filled(readme, tmp_path, monkeypatch):
    monkeypatch.setattr(readme, "DEMOS", tmp_path)
    monkeypatch.setattr(readme, "LECTURE", ["speed"])
    found = {
        "finding": "It is 3.",
        "size": "full",
        "seeds": [0, 1, 2],
        "tables": [[["a", "b"], ["x", "1"]]],
    }
    kept.change(tmp_path / "results" / "speed.json", lambda old: found)
    assert readme.filled("<!-- speed 0 -->\nold\n<!-- end -->\nrest") == (
        "<!-- speed 0 -->\n\n| a | b |\n| --- | --- |\n| x | 1 |\n\n<!-- end -->\nrest"
    )
    assert readme.filled(
        "It is <!-- = speed tables.0.1.1 -->2<!-- end -->, or <!-- = speed seeds.2 .1f --><!-- end -->."
    ) == (
        "It is <!-- = speed tables.0.1.1 -->1<!-- end -->, or <!-- = speed seeds.2 .1f -->2.0<!-- end -->."
    )
    with pytest.raises(SystemExit, match="results/ada.json is missing"):
        readme.filled("<!-- = ada fid --><!-- end -->")
    filled = readme.filled("<!-- gallery -->\n<!-- end -->")
    assert (
        filled.count("\n| <a href") == 1
        and 'src="demos/pictures/speed-small.png"' in filled
        and filled.endswith(" It is 3. |\n\n<!-- end -->")
    )
    kept.change(tmp_path / "results" / "speed.json", lambda old: {**found, "seeds": [0]})
    with pytest.raises(
        SystemExit, match="is of full size and seeds .0.: run demos/speed.py --full"
    ):
        readme.filled("<!-- gallery -->\n<!-- end -->")


def test_the_korean_readme_is_the_same_whole():
    """The same headings, commands, code, links and rows, in the same order."""
    ours, theirs = text("README.md"), text("README.ko.md")
    assert [len(found) for found in re.findall("^(#+) ", ours, re.MULTILINE)] == [
        len(found) for found in re.findall("^(#+) ", theirs, re.MULTILINE)
    ]
    assert commands("README.md") == commands("README.ko.md")
    code = lambda guide: [
        line.split("#")[0].rstrip()
        for language, block in blocks(guide)
        if language
        for line in block.splitlines()
    ]
    assert code("README.md") == code("README.ko.md")
    assert [
        link
        for link in links("README.md")
        if link[0] != "README.ko.md" and not (link[0] == "" and link[1])
    ] == [
        link
        for link in links("README.ko.md")
        if link[0] != "README.md" and not (link[0] == "" and link[1])
    ]
    row = re.compile(r"^\| (`[^`]+`|<a[^>]*>)", re.MULTILINE)
    assert row.findall(ours) == row.findall(theirs)


def test_links_and_commands_that_are_wrong_are_seen(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "README.md").write_text(
        "# A title, *here*\n\n[a](README.md#a-title-here) ![b](none.png) [c](#no) `[d](code)`\n"
        '<img src="https://elsewhere.org/x.png">\n\n```\ntinygan sampel RUN\n```\n'
    )
    assert headings("README.md") == {"a-title-here"}
    assert links("README.md") == [("README.md", "a-title-here"), ("none.png", ""), ("", "no")]
    with pytest.raises(AssertionError, match="none.png"):
        test_its_links_and_pictures_are_there("README.md")
    with pytest.raises(SystemExit):
        test_the_commands_exist("README.md")
