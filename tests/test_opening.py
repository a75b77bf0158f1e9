"""Files are opened, replaced and removed in one place (tinygan/files), which follows no link."""

import ast
import contextlib
import os
from pathlib import Path

import pytest
from prepared import KINDS, dangling, fifo, folder, hard_link, link, no_hang, sock

import tinygan
from tinygan import files
from tinygan.errors import InputError
from tinygan.files import opening

pytestmark = [
    pytest.mark.cpu,
    pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="makes links and FIFOs as on POSIX"),
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("flags", [0, None], ids=["without O_NOFOLLOW", "with O_NOFOLLOW"])
def test_only_regular_files_are_opened(tmp_path, monkeypatch, kind, flags):
    if flags is not None:
        monkeypatch.setattr(opening, "NO_LINKS", flags)
    outside, path = tmp_path / "outside", tmp_path / "file"
    outside.write_text("precious")
    kind(path, outside)
    for mode in "rb", "r", "a", "ab", "a+":
        with no_hang():
            if kind is hard_link and "r" in mode:
                with opening.open_file(path, mode) as file:
                    assert file.read() in ("precious", b"precious")
                continue
            with pytest.raises(InputError, match="several names" if kind is hard_link else "is a"):
                opening.open_file(path, mode)
    with pytest.raises(FileExistsError if kind is hard_link else InputError):
        opening.open_file(path, "xb")
    if kind is hard_link:  # replacing it changes this name alone
        files.append_line(path, "more")
        assert path.read_text() == "preciousmore\n"
    else:
        with pytest.raises(InputError, match="but must be a file"), files.replacing(path):
            pass
        with pytest.raises(InputError, match="but must be a file"), files.locked(path):
            pass
    assert outside.read_text() == "precious"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "outside"]


@pytest.mark.parametrize("flags", [0, None], ids=["without O_NOFOLLOW", "with O_NOFOLLOW"])
@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize("mode", ["r", "a"])
@pytest.mark.parametrize("kind", [link, fifo], ids=lambda kind: kind.__name__)
def test_a_file_that_is_exchanged_after_the_check_is_not_opened(
    tmp_path, monkeypatch, flags, exists, mode, kind
):
    """Somebody puts a link or a FIFO in its place, between the check and the opening."""
    if flags is not None:
        monkeypatch.setattr(opening, "NO_LINKS", flags)
    outside, path, system_open = tmp_path / "outside", tmp_path / "file", os.open
    outside.write_text("precious")
    if exists:
        path.write_text("mine")

    def exchange(name, how, *mode, **where):
        if Path(name) == path and (path.is_file() or not path.exists()):
            path.unlink(missing_ok=True)
            kind(path, outside)
            monkeypatch.setattr(os, "open", system_open)
        return system_open(name, how, *mode, **where)

    monkeypatch.setattr(os, "open", exchange)
    with no_hang(), pytest.raises(InputError, match=KINDS[kind].replace("(", ".")[:6]):
        opening.open_file(path, mode)
    assert outside.read_text() == "precious"


@pytest.mark.skipif(os.open not in os.supports_dir_fd, reason="the system has no folder handles")
def test_a_folder_that_is_exchanged_after_the_check_is_not_entered(tmp_path, monkeypatch):
    """The folder is opened once. A link that takes its place later leads nowhere."""
    samples, other = tmp_path / "samples", tmp_path / "other"
    for directory in samples, other:
        directory.mkdir()
        (directory / "a.png").write_text("precious")
    system_stat = os.stat

    def exchange(name, **how):
        if how.get("dir_fd") is not None and not samples.is_symlink():
            samples.rename(tmp_path / "moved")
            samples.symlink_to(other)
        return system_stat(name, **how)

    monkeypatch.setattr(os, "stat", exchange)
    with opening.open_file(samples / "b.png", "xb", real_folder=True):
        assert samples.is_symlink()
    assert (tmp_path / "moved" / "b.png").exists()
    assert [path.name for path in other.iterdir()] == ["a.png"]
    for action in (
        lambda: opening.remove(samples / "a.png", real_folder=True),
        lambda: opening.open_file(samples / "a.png", real_folder=True),
        lambda: files.remove_temporary(samples, real_folder=True),
    ):
        with contextlib.suppress(InputError):
            action()
    assert [path.name for path in other.iterdir()] == ["a.png"]


def test_a_lock_file_with_another_name_is_replaced(tmp_path):
    """Such as a backup made with hard links, or a link to a file of the user."""
    outside = tmp_path / "precious"
    outside.write_text("precious")
    (tmp_path / "run").mkdir()
    os.link(outside, tmp_path / "run" / "running")
    with files.locked(tmp_path / "run" / "running"):
        assert f"process {os.getpid()} " in (tmp_path / "run" / "running").read_text()
        os.link(tmp_path / "run" / "running", tmp_path / "backup")  # a backup of a living run
        with pytest.raises(files.InUse), files.locked(tmp_path / "run" / "running"):
            pass
    assert outside.read_text() == "precious" and not any((tmp_path / "run").iterdir())


# Temporary files


def test_the_name_of_a_temporary_file_cannot_be_guessed(tmp_path):
    names = []
    for _ in range(2):
        with files.replacing(tmp_path / ("n" * 250 + ".json")) as file:
            names.append(Path(file.name).name)
            file.write(b"{}")
    assert all(map(files.TEMPORARY.fullmatch, names)) and len({*names}) == 2


LEFTOVER = ".tinygan-99999999-0123456789abcdef.tmp"


def test_temporary_files_of_dead_processes_are_removed_and_nothing_else(tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("precious")
    kept = [
        ".tinygan-99999999-0123456789abcdef.tmp.txt",
        ".notes.tinygan-2024.txt",
        ".config.tinygan-99999999.json",
        f".tinygan-{os.getppid()}-0123456789abcdef.tmp",
    ]
    for name in kept:
        (tmp_path / name).write_text("mine")
    (tmp_path / LEFTOVER).write_text("half")
    for i, kind in enumerate((link, fifo, folder, sock, dangling)):
        kind(tmp_path / LEFTOVER.replace("0123", f"{i:04}"), outside)
    with files.replacing(tmp_path / "a") as file:
        # As if another machine, or another container, had this process: only its lock is seen.
        living = LEFTOVER.replace("0123", "aaaa")
        Path(file.name).rename(tmp_path / living)
        before = {path.name for path in tmp_path.iterdir()}
        files.remove_temporary(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == before - {LEFTOVER}
        (tmp_path / living).rename(file.name)
    assert outside.read_text() == "precious"


# Nothing opens files in another way

OPENS = {"open", "io.open", "os.open", "os.fdopen"}
METHODS = {"write_text", "write_bytes", "read_bytes", "unlink", "mkdir", "touch", "rename"}
METHODS |= {"read_text", "rmdir", "makedirs", "hardlink_to", "symlink_to"}


def other_ways(syntax):
    """Yield the calls of a file that open, make or remove files without tinygan.files."""
    for node in ast.walk(syntax):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            owner, _, method = name.rpartition(".")
            if name in OPENS or method in METHODS and owner not in ("", "files"):
                yield name
            file = ast.unparse(node.args[0]) if node.args else ""
            saves = name in ("Image.open", "np.load", "np.savez", "np.savez_compressed")
            if (saves or method in ("save", "savefig") and owner in ("figure", "first")) and (
                file not in ("file", "raw", "picture")
            ):
                yield f"{name}({file})"


def test_nothing_else_opens_files():
    package = Path(tinygan.__file__).parent
    found = {
        (path.relative_to(package).as_posix(), call)
        for path in package.rglob("*.py")
        if path.parent.name != "files"
        for call in other_ways(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found == {("screen.py", "os.open")}  # of /dev/null
    planted = "open(p)", "p.write_text(s)", "p.unlink()", "np.load(path)", "figure.savefig(path)"
    assert all(list(other_ways(ast.parse(code))) for code in planted)
