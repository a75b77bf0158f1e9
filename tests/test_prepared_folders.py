"""A folder from somebody else does no harm: in a run folder, tinygan opens regular files and enters
real folders only, and nothing outside of it changes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from prepared import KINDS, contents, folder, hard_link, outcome

from tinygan import data
from tinygan.cli import main
from tinygan.training.trainer import Trainer

pytestmark = [
    pytest.mark.cpu,
    pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="makes links and FIFOs as on POSIX"),
]

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


@pytest.fixture(scope="module", autouse=True)
def few_digits():
    """Let commands use a part of the digits: measuring them all takes longer than a tiny run."""
    parts = {split: data.load("digits", split).subset(slice(500)) for split in ("train", "test")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "load", lambda name, split="train", data_dir=None, **how: parts[split])
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
