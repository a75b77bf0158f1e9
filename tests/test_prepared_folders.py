"""A folder from somebody else does no harm: in a run folder, tinygan opens regular files and enters
real folders only, and nothing outside of it changes."""

import ast
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import tinygan
from tinygan import data, files
from tinygan.cli import main
from tinygan.errors import InputError
from tinygan.files import opening
from tinygan.training.trainer import Trainer

pytestmark = [
    pytest.mark.cpu,
    pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="makes links and FIFOs as on POSIX"),
]

SECONDS = 60  # a command that takes longer hangs
TRAIN = "train gan --steps 6 --batch-size 4 --set hidden=8 latent=4 checkpoint_every=3".split()
TRAIN += "sample_every=3 eval_every=3 eval_images=100".split()
CHECKPOINTS = "checkpoint-00000003.npz", "checkpoint-00000006.npz"
GRID = "samples/step-00000003.png"

COMMANDS = {  # name: (its words after RUN, the files in the run folder that it opens or replaces)
    "train": (
        ["--steps", "7"],
        {"config.json", "log.jsonl", "time.jsonl", "eval.jsonl", "best.npz", "running"}
        | {*CHECKPOINTS, "curves.png", "growth.png", "samples", GRID},
    ),
    "sample": (["-n", "2", "-o", "out.png"], {"config.json", "best.npz", *CHECKPOINTS}),
    "eval": (
        ["-n", "60"],
        {"config.json", "best.npz", *CHECKPOINTS, "metrics.json", "neighbours.png"},
    ),
    "animate": (["-o", "out.gif"], {"config.json", *CHECKPOINTS, "samples", GRID}),
}
FILES = sorted(set().union(*(opened for _, opened in COMMANDS.values())))


def link(path, outside):
    path.symlink_to(outside)


def hard_link(path, outside):
    os.link(outside, path)


def dangling(path, outside):
    path.symlink_to(outside.with_name("nowhere"))


def zero(path, outside):
    path.symlink_to("/dev/zero")


def fifo(path, outside):
    os.mkfifo(path)


def sock(path, outside):
    with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(path.parent):
        server.bind(path.name)  # a short name: the full one may be too long for a socket


def folder(path, outside):
    path.mkdir()


KINDS = {  # what is put in the place of a file: what tinygan calls it
    link: "a link",
    hard_link: None,
    dangling: "a link",
    zero: "a link",
    fifo: "a pipe (FIFO)",
    sock: "a socket",
    folder: "a folder",
}


@pytest.fixture(scope="module", autouse=True)
def few_digits():
    """Let commands use a part of the digits: measuring them all takes longer than a tiny run."""
    parts = {split: data.load("digits", split).subset(slice(500)) for split in ("train", "test")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "load", lambda name, split="train", data_dir=None: parts[split])
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A tiny finished run with every file that a run can have."""
    out = tmp_path_factory.mktemp("prepared") / "run"
    assert main([*TRAIN, "--out", str(out)]) == 0
    assert main(["eval", str(out), "-n", "60"]) == 0
    shutil.copy(out / "curves.png", out / "growth.png")
    return out


@pytest.fixture
def place(run, tmp_path, monkeypatch):
    """A working folder with a copy of the run, and a file outside of it."""
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "outside").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def contents(folder):
    """Return {path: kind, times and bytes} of everything in a folder, without following links."""
    found = {}
    for path in folder.rglob("*"):
        info = path.lstat()
        is_file = path.is_file() and not path.is_symlink()
        found[path] = info.st_mode, info.st_ino, info.st_mtime_ns, is_file and path.read_bytes()
        if not is_file:
            found[path] = info.st_mode  # the time of a folder may change
    return found


@contextlib.contextmanager
def no_hang():
    def fail(*_):
        raise TimeoutError(f"it still runs after {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def outcome(capsys, *argv):
    """Run a command. Return (exit code, the error that it printed)."""
    capsys.readouterr()
    with no_hang():
        try:
            code = main(list(map(str, argv)))
        except SystemExit as exit:  # argparse
            code = exit.code
    err = capsys.readouterr().err
    errors = [line for line in err.splitlines() if "error:" in line]
    assert "Traceback" not in err and len(errors) == (code == 2), err
    return code, "".join(errors)


def prepare(place, name, kind):
    """Put something of this kind in the place of a file of the run. Return the outside file."""
    path, outside = place / "run" / name, place / "outside" / Path(name).name
    if path.is_dir():
        shutil.move(path, outside)
    else:
        shutil.move(path, outside) if path.exists() else outside.write_text("precious")
    kind(path, outside)
    return outside


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("name", FILES)
def test_no_command_leaves_a_prepared_run_folder(place, capsys, monkeypatch, name, kind):
    if name == "samples" and kind in (hard_link, folder):
        return  # a folder has no hard links, and `samples` is one
    monkeypatch.setattr("tinygan.cli.measures.metrics.evaluate", lambda *_: {"real": 1} | EVALUATED)
    prepare(place, name, kind)
    for command in (command for command, (_, opened) in COMMANDS.items() if name in opened):
        words = COMMANDS[command][0]
        before, outside = contents(place / "run"), contents(place / "outside")
        resume = ["--resume"] * (command == "train")
        code, error = outcome(capsys, command, *resume, place / "run", *words)
        assert contents(place / "outside") == outside
        if KINDS[kind]:
            assert code == 2 and f"{name} is {KINDS[kind]}, but must be" in error, (command, error)
            assert contents(place / "run") == before
        else:
            assert code == 0, (command, error)


EVALUATED = {"extractor": "none", "samples": 60}


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


@pytest.mark.parametrize("name", ["samples", "log.jsonl", "eval.jsonl", "curves.png"])
def test_a_file_that_is_exchanged_during_training_is_not_followed(place, capsys, monkeypatch, name):
    outside, write_grid = place / "outside", Trainer.write_grid
    (outside / "step-00000009.png").write_text("precious")

    def exchange(trainer):
        path = trainer.out / name
        if not path.is_symlink():
            path.rename(place / "work" / name)
            path.symlink_to(outside if name == "samples" else outside / "step-00000009.png")
        write_grid(trainer)

    monkeypatch.setattr(Trainer, "write_grid", exchange)
    code, error = outcome(capsys, "train", "--resume", place / "run", "--steps", 12)
    if name != "log.jsonl":  # it is open, and what is written goes to the file itself
        assert code == 2 and f"{name} is a link" in error
    assert [path.read_text() for path in outside.iterdir()] == ["precious"]


def test_the_run_folder_and_its_parents_may_be_links(place, capsys):
    (place / "disk").mkdir()
    shutil.move(place / "run", place / "disk" / "run")
    (place / "runs").symlink_to("disk")
    (place / "one").symlink_to("runs/run")
    for given in place / "runs" / "run", place / "one":
        steps = ["--steps", 8 + (given.name == "one")]
        assert outcome(capsys, "train", "--resume", given, *steps) == (0, "")
        for command in "sample", "animate":
            assert outcome(capsys, command, given, *COMMANDS[command][0]) == (0, "")


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


def test_a_killed_process_leaves_a_file_that_the_next_one_removes(place, capsys):
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom tinygan import files\n"
        "with files.replacing(Path(sys.argv[1])) as file:\n"
        "    file.write(b'half')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    for path in place / "run" / "curves.png", place / "run" / GRID, place / "work" / "out.png":
        subprocess.run([sys.executable, "-c", code, path])
        assert len([entry for entry in path.parent.iterdir() if entry.suffix == ".tmp"]) == 1
    assert outcome(capsys, "train", "--resume", place / "run", "--steps", 7) == (0, "")
    assert outcome(capsys, "sample", place / "run", "-n", 1, "-o", "out.png") == (0, "")
    assert not list(place.rglob("*.tmp"))


# Output files


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("suffix", ["png", "gif", "npz"])
def test_an_output_replaces_files_only(place, capsys, kind, suffix):
    outside, path = place / "outside" / "precious", place / "work" / f"a.{suffix}"
    outside.write_text("precious")
    kind(path, outside)
    before = contents(place / "work")
    code, error = outcome(capsys, "sample", place / "run", "-n", 2, "-o", path)
    assert outside.read_text() == "precious"
    if KINDS[kind]:
        assert code == 2 and f"a.{suffix} is {KINDS[kind]}" in error
        assert contents(place / "work") == before
    else:
        assert code == 0 and path.stat().st_size > 8


def test_an_output_is_checked_before_the_work(place, capsys, monkeypatch):
    (place / "work" / "a.png").symlink_to("../outside/precious")
    monkeypatch.setattr("tinygan.cli.samples.load_generator", None)
    code, error = outcome(capsys, "sample", place / "run", "-o", "a.png")
    assert code == 2 and "a.png is a link" in error


def test_a_grid_that_is_exchanged_after_the_check_is_not_read(place, capsys, monkeypatch):
    def exchange(path):
        shutil.move(path, place / "outside")
        path.symlink_to(place / "outside" / path.name)

    monkeypatch.setattr("tinygan.cli.samples.is_file", exchange)
    code, error = outcome(capsys, "animate", place / "run", "-o", "a.gif")
    assert code == 2 and "is a link" in error and not any((place / "work").iterdir())


def test_a_further_output_is_checked_before_the_work(place, capsys, monkeypatch):
    (place / "work" / "a-numbers.json").symlink_to("../outside/precious")
    monkeypatch.setattr("tinygan.cli.measures.metrics.Evaluator", None)
    code, error = outcome(
        capsys, "truncation", place / "run", "--thresholds", 1, "-n", 60, "-o", "a.png"
    )
    assert code == 2 and "a-numbers.json is a link" in error
    assert [path.name for path in (place / "work").iterdir()] == ["a-numbers.json"]


# New run folders


def dangling_run(work):
    (work / "runs").mkdir()
    (work / "runs" / "gan-digits-001").symlink_to("/nowhere/x")


def taken_names(work):
    (work / "runs").mkdir()
    (work / "runs" / "gan-digits-001").write_text("a file")
    os.mkfifo(work / "runs" / "gan-digits-002")
    (work / "runs" / "gan-digits-003").symlink_to("gan-digits-003")


def dangling_runs(work):
    (work / "runs").symlink_to("/nowhere/x")


def circular_runs(work):
    (work / "runs").symlink_to("runs")


def runs_is_a_file(work):
    (work / "runs").write_text("a file")


@pytest.mark.parametrize(
    "prepare, code, expected",
    [
        (dangling_run, 0, "runs/gan-digits-002"),
        (taken_names, 0, "runs/gan-digits-004"),
        (dangling_runs, 2, "runs is a link to /nowhere/x, which does not exist"),
        (circular_runs, 2, "runs is a link to runs, which does not exist"),
        (runs_is_a_file, 2, "runs is not a folder"),
    ],
)
def test_the_next_free_folder_is_found_or_the_error_says_what_is_wrong(
    tmp_path, monkeypatch, capsys, prepare, code, expected
):
    monkeypatch.chdir(tmp_path)
    prepare(tmp_path)
    found, error = outcome(capsys, *TRAIN[:7], "latent=4")
    assert found == code and (expected in error if code else Path(expected).is_dir())


def out_has_samples_elsewhere(work):
    (work / "out").mkdir()
    (work / "elsewhere").mkdir()
    (work / "out" / "samples").symlink_to("../elsewhere")


def out_has_a_lock_elsewhere(work):
    (work / "out").mkdir()
    (work / "out" / "running").symlink_to("../elsewhere")


def out_is_a_link_to_a_folder(work):
    (work / "real").mkdir()
    (work / "out").symlink_to("real")


@pytest.mark.parametrize(
    "prepare, out, expected",
    [
        (lambda work: (work / "out").symlink_to("/nowhere"), "out", "out is a link to /nowhere"),
        (lambda work: (work / "out").symlink_to("/nowhere"), "out/a", "out is a link to /nowhere"),
        (lambda work: (work / "out").write_text(""), "out", "out is a file"),
        (lambda work: (work / "out").write_text(""), "out/a", "out is not a folder"),
        (lambda work: os.mkfifo(work / "out"), "out", "out is a file"),
        (out_has_samples_elsewhere, "out", "out is not empty"),
        (out_has_a_lock_elsewhere, "out", "running is a link"),
        (lambda work: None, "", "an empty path"),
        (lambda work: None, "/", "/ is not empty"),
        (lambda work: None, "n" * 300, "File name too long"),
        (lambda work: (work / "notes.txt").write_text(""), ".", ". is not empty"),
        (lambda work: None, "a b\nc", None),
        (lambda work: None, ".", None),
        (lambda work: None, "run.npz", None),
        (out_is_a_link_to_a_folder, "out", None),
    ],
)
def test_the_folder_that_out_names(tmp_path, monkeypatch, capsys, prepare, out, expected):
    monkeypatch.chdir(tmp_path)
    prepare(tmp_path)
    before = contents(tmp_path)
    code, error = outcome(capsys, *TRAIN[:7], "latent=4", "--out", out)
    if expected:
        assert code == 2 and expected in error and "delete" not in error
        assert contents(tmp_path) == before
    else:
        assert code == 0 and (tmp_path / out / "config.json").exists()
        steps = ["--steps", "7", "--set", "checkpoint_every=1"]
        assert outcome(capsys, "train", "--resume", out, *steps) == (0, "")
        assert outcome(capsys, "sample", out, "-n", 1, "-o", "a.png") == (0, "")
        assert outcome(capsys, "animate", out, "-o", "a.gif") == (0, "")


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
