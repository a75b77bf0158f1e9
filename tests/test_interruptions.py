"""Whatever ends a run saves the step first: an error in its files, a signal. And what Ctrl-C ends
before it has begun leaves nothing behind."""

import errno
import io
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import stress
from test_output import ENVIRONMENT, FULL, ROOT, TRAIN, posix
from test_runs import TINY, cli, wait_for
from test_training import resume, start

from tinygan import data, errors, files
from tinygan.cli import main
from tinygan.errors import Diverged, InputError, Interrupted
from tinygan.files import checkpoint, npz
from tinygan.training import log, trainer

pytestmark = pytest.mark.cpu


@pytest.fixture(scope="module")
def digits():
    full = data.load("digits")
    return data.Dataset("digits", "train", full.images[:200], full.labels[:200], full.class_names)


# Whatever ends a run saves the step first

SETTINGS = {"batch_size": 4, "hidden": 8, "latent": 4, "sample_every": 2, "keep": 10}
SETTINGS |= {"checkpoint_every": 6, "eval_every": 6, "eval_images": 200}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, digits):
    """The folder of a run with SETTINGS that nothing has interrupted."""
    run = start(tmp_path_factory.mktemp("uninterrupted") / "a", digits, "gan", **SETTINGS)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(trainer.Trainer, "write_curves", without_matplotlib)
        run.run(progress=False)
    return run.out


def without_matplotlib(self, path, rows):
    with files.replacing(path) as file:
        file.write(repr(rows).encode())


@pytest.mark.parametrize("step", [6, 10, 12])  # in between, at a line of the log, the last one
@pytest.mark.parametrize(
    "name, error",
    [
        ("log.Log.write_row", InputError("full")),
        ("log.Log.flush", InputError("full")),
        ("Trainer.write_curves", InputError("full")),
        ("Trainer.write_grid", OSError(errno.EIO, "disk")),
        ("Evaluation.evaluate", MemoryError()),
        ("Trainer.finite_averaged_G", RuntimeError("a mistake")),
    ],
)
def test_an_error_in_a_steps_files_loses_neither_the_step_nor_the_files(
    tmp_path, digits, monkeypatch, uninterrupted, name, error, step
):
    """The run that continues writes the files that are missing."""
    run = start(tmp_path / "b", digits, "gan", **SETTINGS)
    owner, _, method = name.rpartition(".")
    owner = {"log.Log": log.Log, "Trainer": trainer.Trainer, "Evaluation": trainer.Evaluation}[
        owner
    ]
    original = getattr(owner, method)

    def fails(*args, **settings):
        if run.step >= step:
            raise error
        return original(*args, **settings)

    monkeypatch.setattr(owner, method, fails)
    with pytest.raises(type(error)) as caught:
        run.run(progress=False)
    monkeypatch.setattr(owner, method, original)
    assert caught.value is error
    assert checkpoint.last_step(tmp_path / "b") == run.step < 13
    assert not (tmp_path / "b" / "running").exists() and not list((tmp_path / "b").rglob(".*"))
    resume(tmp_path / "b", digits).run(progress=False)
    assert stress.differences(uninterrupted, tmp_path / "b") == []
    with pytest.raises(InputError, match="is already at step 12"):
        resume(tmp_path / "b", digits)


def test_a_line_of_the_log_is_not_written_twice(tmp_path, digits, monkeypatch, uninterrupted):
    """The error comes between log.jsonl and time.jsonl."""
    dumps = log.json.dumps

    def fails(value, **settings):
        if "seconds" in value and value["step"] == 10:
            raise FULL
        return dumps(value, **settings)

    run = start(tmp_path / "b", digits, "gan", **SETTINGS)
    monkeypatch.setattr(log.json, "dumps", fails)
    with pytest.raises(InputError, match="cannot write .*No space left"):
        run.run(progress=False)
    monkeypatch.setattr(log.json, "dumps", dumps)
    assert checkpoint.last_step(tmp_path / "b") == 10
    resume(tmp_path / "b", digits).run(progress=False)
    assert stress.differences(uninterrupted, tmp_path / "b") == []


def test_a_step_that_has_diverged_is_not_saved(tmp_path, digits, monkeypatch):
    def diverges(self):
        raise Diverged("NaN")

    monkeypatch.setattr(log.Log, "check_finite", diverges)
    with pytest.raises(Diverged):
        start(tmp_path / "a", digits, **TINY).run(progress=False)
    assert not checkpoint.checkpoints(tmp_path / "a")


def test_an_unexpected_error_says_which_step_is_saved(tmp_path, monkeypatch, capsys):
    def fails(self):
        if self.step == 4:
            raise RuntimeError("a mistake")

    monkeypatch.setattr(trainer.Trainer, "write_grid", fails)
    with pytest.raises(RuntimeError, match="a mistake"):
        main(f"{TRAIN} {tmp_path / 'a'} --set sample_every=2".split())
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == (
        f"tinygan: stopped at step 4; continue from step 4 with: tinygan train --resume "
        f"{tmp_path / 'a'}"
    )


def test_a_lock_that_cannot_be_written_leaves_no_file(tmp_path, monkeypatch):
    def write(*args):
        raise FULL

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(InputError, match="cannot write .*lock: No space left on device .make room"):
        with files.locked(tmp_path / "lock"):
            pass
    assert not list(tmp_path.iterdir())


class FullDisk(io.BytesIO):
    """A file on a disk that has room for some more bytes."""

    def __init__(self, room):
        super().__init__()
        self.room = room

    def write(self, content):
        if self.tell() + len(content) > self.room:
            raise FULL
        return super().write(content)


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("compressed", [False, True])
def test_a_full_disk_leaves_no_npz_file_open(compressed):
    """Python would complete it later, fail, and print "Exception ignored"."""
    arrays = {"a": np.arange(2000.0), "b": np.zeros((), np.uint8), "c": np.array("text")}
    npz.write(whole := io.BytesIO(), arrays, compressed)
    (np.savez_compressed if compressed else np.savez)(of_numpy := io.BytesIO(), **arrays)
    assert whole.getvalue() == of_numpy.getvalue()
    for room in range(0, len(whole.getvalue()), 97):
        with pytest.raises(OSError, match="No space"), FullDisk(room) as file:
            npz.write(file, arrays, compressed)


# Signals


def stopped_by(*signals):
    """Return ("stop" or "at once", the signal's number) after these signals."""
    with errors.requests_to_stop(["SIGINT", "SIGTERM"], lambda: None, lambda number: None) as stop:
        try:
            for name in signals:
                os.kill(os.getpid(), getattr(signal, name))
        except Interrupted as stopped:
            return "at once", signal.Signals(stopped.signal).name
        return "stop", signal.Signals(stop.number).name


@posix
@pytest.mark.parametrize(
    "signals, result",
    [
        (["SIGHUP"], ("stop", "SIGHUP")),
        (["SIGTERM"], ("stop", "SIGTERM")),
        (["SIGINT", "SIGINT"], ("at once", "SIGINT")),
        (["SIGTERM", "SIGINT"], ("at once", "SIGINT")),
        # A terminal that closes may send all of these.
        (["SIGHUP", "SIGHUP", "SIGHUP"], ("stop", "SIGHUP")),
        (["SIGHUP", "SIGTERM"], ("stop", "SIGTERM")),
        (["SIGTERM", "SIGHUP", "SIGHUP"], ("stop", "SIGTERM")),
        (["SIGHUP", "SIGTERM", "SIGTERM"], ("at once", "SIGTERM")),
    ],
)
def test_the_second_ctrl_c_or_sigterm_stops_at_once_but_no_hang_up_does(signals, result):
    before = [signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM)]
    assert stopped_by(*signals) == result
    assert [signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM)] == before


@posix
def test_a_closed_terminal_saves_the_step(tmp_path):
    """Its stderr is gone too."""
    out = tmp_path / "run"
    process = cli(out)
    wait_for(process, out / "samples" / "step-00000004.png")
    process.stdout.close()
    process.stderr.close()
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=60) == 129
    assert checkpoint.last_step(out) >= 4 and not (out / "running").exists()


@posix
def test_nohup_goes_on_after_a_hang_up(tmp_path, monkeypatch):
    out = tmp_path / "run"
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = cli(out)
    finally:
        signal.signal(signal.SIGHUP, before)
    wait_for(process, out / "samples" / "step-00000004.png")
    process.send_signal(signal.SIGHUP)
    later = checkpoint.step_of(max((out / "samples").iterdir())) // 2 * 2 + 4
    wait_for(process, out / "samples" / f"step-{later:08d}.png")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143 and checkpoint.last_step(out) >= later


@posix
@pytest.mark.parametrize("name, code", [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
@pytest.mark.parametrize("command", ["data", "recipes"])
def test_a_signal_ends_every_command_without_a_traceback(monkeypatch, capsys, name, code, command):
    def run(args):
        os.kill(os.getpid(), getattr(signal, name))
        time.sleep(5)

    monkeypatch.setattr(f"tinygan.cli.tools.run_{command}", run)
    assert main([command]) == code and capsys.readouterr().err == "tinygan: interrupted\n"


@posix
def test_a_second_hang_up_does_not_interrupt_the_cleaning_up(monkeypatch, capsys):
    cleaned = []

    def run(args):
        try:
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(5)
        finally:
            os.kill(os.getpid(), signal.SIGHUP)
            cleaned.append(True)

    monkeypatch.setattr("tinygan.cli.tools.run_data", run)
    assert main(["data"]) == 129 and cleaned
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL


@posix
@pytest.mark.parametrize("module", ["numpy", "tqdm"])
@pytest.mark.parametrize(
    "way", ["-m tinygan", "-m tinygan.cli", "tinygan", "-c pass; import tinygan"]
)
def test_ctrl_c_while_python_imports_modules_is_one_line(tmp_path, module, way):
    """A Ctrl-C comes while this module is imported: by the package, and by the command's file."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / f"{module}.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(5)\n"
    )
    script = tmp_path / "tinygan"  # as pip writes it
    script.write_text("import sys\nfrom tinygan.cli import main\nsys.exit(main())\n")
    words = way.split(maxsplit=1) if way[0] == "-" else [str(script)]
    done = subprocess.run(
        [sys.executable, *words, *["train"] * (words[0] != "-c")],
        env={**ENVIRONMENT, "PYTHONPATH": f"{tmp_path / 'modules'}{os.pathsep}{ROOT}"},
        cwd=tmp_path / "modules",
        timeout=60,
        text=True,
        capture_output=True,
    )
    if words[0] != "-c":
        assert (done.returncode, done.stderr) == (130, "tinygan: interrupted\n")
    elif module == "numpy":  # in another program, it stays an exception
        assert done.returncode == -signal.SIGINT and "KeyboardInterrupt" in done.stderr


def test_a_run_that_was_interrupted_before_it_began_can_be_started_again(tmp_path, digits):
    start(tmp_path / "a", digits, **TINY)
    with pytest.raises(trainer.FolderTaken, match="already contains a run"):
        start(tmp_path / "a", digits, seed=1, **TINY)
    start(tmp_path / "a", digits, **TINY).run(progress=False)
    before = stress.contents(tmp_path / "a")
    with pytest.raises(trainer.FolderTaken, match="already contains a run"):
        start(tmp_path / "a", digits, **TINY)
    assert stress.contents(tmp_path / "a") == before
