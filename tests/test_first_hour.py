"""What a newcomer may meet first: an old Python, and a file system of Windows."""

import ast
import os
import re
import sys
from pathlib import Path

import pytest

from tinygan import startup
from tinygan.cli import main
from tinygan.data import loading

ROOT = Path(__file__).parent.parent
IGNORED = {"build", "dist", "runs", "node_modules", "venv"}


def test_an_old_python_gets_one_line(monkeypatch, capsys):
    newer = sys.version_info[0] + 1, 0
    startup.expect_python()
    words = f"tinygan needs Python {newer[0]}.0 or newer, and this is Python "
    with pytest.raises(ImportError, match=words):
        startup.expect_python(newer)
    monkeypatch.setattr(sys, "argv", ["-m", "train"])  # as when Python imports for -m
    with pytest.raises(SystemExit) as end:
        startup.expect_python(newer)
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith(f"tinygan: error: {words}")


@pytest.mark.parametrize("file", ["__init__.py", "startup.py", "__main__.py"])
def test_an_old_python_can_read_the_file_that_says_so(file):
    ast.parse((ROOT / "tinygan" / file).read_text(encoding="utf-8"), feature_version=(3, 4))


def test_every_file_can_be_on_a_disk_of_windows():
    """No reserved names and characters, no names that differ only in case, no long paths."""
    names = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [f for f in folders if f not in IGNORED and not f.startswith((".", "__"))]
        folders[:] = [f for f in folders if not f.endswith(".egg-info")]
        names += [(Path(folder) / file).relative_to(ROOT).as_posix() for file in files]
    assert len(names) > 300
    illegal = re.compile(r'[<>:"|?*\\]|[ .](/|$)|(^|/)(con|prn|aux|nul|com\d|lpt\d)(\.|/|$)', re.I)
    assert illegal.search("a/nul.py") and illegal.search("a:b") and not illegal.search("a/null.py")
    assert not list(filter(illegal.search, names))
    assert len({name.lower() for name in names}) == len(names)
    assert max(map(len, names)) < 100  # of 260 that a whole path may have


@pytest.mark.parametrize("text", [r"C:\pictures", r"pictures\cats", "C:/pictures", r"..\x.npz"])
def test_a_path_of_windows_is_no_name_of_a_data_set(text, monkeypatch):
    monkeypatch.setattr(loading.os, "sep", "\\")
    assert loading.is_path(text)


def test_the_colon_of_a_drive_does_not_end_the_path_of_a_file(capsys):
    assert main(["gradcheck", r"C:\me\none.py:layer", "--shape", "3"]) == 2
    assert r"C:\me\none.py" in capsys.readouterr().err
    assert main(["train", "gan", "--set", r"loss=C:\me\none.py:hinge", "--steps", "1"]) == 2
    assert r"C:\me\none.py" in capsys.readouterr().err
