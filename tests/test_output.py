"""Nothing that only shows can end a run: neither a reader that has gone, nor a full disk under the
output, nor a backend of matplotlib that is not there."""

import errno
import io
import json
import os
import subprocess
import sys
from functools import partial

import pytest
from test_runs import TINY
from test_training import start
from tqdm import tqdm

import tinygan
from tinygan import data, errors, plots, screen
from tinygan.cli import main
from tinygan.data import pictures
from tinygan.errors import InputError
from tinygan.files import checkpoint
from tinygan.training import log

pytestmark = pytest.mark.cpu
posix = pytest.mark.skipif(os.name == "nt", reason="uses a shell, or signals that Windows lacks")
ROOT = os.path.dirname(os.path.dirname(tinygan.__file__))
ENVIRONMENT = {**os.environ, "TINYGAN_NUM_THREADS": "1", "PYTHONPATH": ROOT}
ENVIRONMENT.pop("PYTHONUNBUFFERED", None)  # streams as most people have them
TRAIN = "train gan --steps 12 --batch-size 4 --set hidden=8 latent=4 checkpoint_every=6 --out"


@pytest.fixture(scope="module")
def digits():
    full = data.load("digits")
    return data.Dataset("digits", "train", full.images[:200], full.labels[:200], full.class_names)


def shell(command, **variables):
    """Run a command line, in which TINYGAN stands for the command, in bash."""
    return subprocess.run(
        ["bash", "-c", command.replace("TINYGAN", f"{sys.executable} -m tinygan")],
        env=ENVIRONMENT | variables,
        text=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )


# Output that cannot be shown


class Broken(io.StringIO):
    """A stream that fails from a certain write on."""

    def __init__(self, error, writes=0):
        super().__init__()
        self.error, self.writes = error, writes

    def write(self, text):
        self.writes -= 1
        if self.writes < 0:
            raise self.error
        return super().write(text)

    def isatty(self):
        raise self.error


GONE = BrokenPipeError(errno.EPIPE, "Broken pipe")
FULL = OSError(errno.ENOSPC, "No space left on device")
FAILURES = [
    GONE,
    FULL,
    OSError(errno.EIO, "terminal"),
    ValueError("closed"),
    RuntimeError("window"),
]


@pytest.mark.parametrize("error", FAILURES, ids=repr)
def test_writing_to_a_display_never_fails(error):
    display = screen.Display(Broken(error, 1))
    print("first", "second", file=display, flush=True)
    assert display.stream.getvalue() == "first" and display.lost is error
    assert not display.isatty()


def test_a_display_without_a_stream_drops_everything():
    display = screen.Display(None)
    print("text", file=display, flush=True)
    assert display.lost is None and not display.isatty()


def test_a_display_shows_what_its_stream_cannot_encode_in_ascii():
    stream = io.TextIOWrapper(io.BytesIO(), "ascii", newline="")
    print("é", file=screen.Display(stream), flush=True)
    assert stream.buffer.getvalue() == b"\\xe9\n"


@pytest.mark.parametrize("writes", [0, 1, 5])
@pytest.mark.parametrize("error", FAILURES, ids=repr)
def test_a_run_goes_on_when_its_progress_can_no_longer_be_shown(
    tmp_path, digits, monkeypatch, error, writes
):
    monkeypatch.setattr(sys, "stderr", stream := Broken(error, writes))
    monkeypatch.setattr(log, "tqdm", partial(tqdm, mininterval=0))
    monkeypatch.setattr(log.health.CollapseWarnings, "__call__", lambda self, row: ["a warning"])
    run = start(tmp_path / "a", digits, **TINY)
    run.run()
    assert run.step == 12 and stream.writes < 0
    assert checkpoint.last_step(tmp_path / "a") == 12


def test_a_run_needs_no_stderr(tmp_path, digits, monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setattr(sys, "stdout", None)
    errors.warn("nobody sees it")
    start(tmp_path / "a", digits, steps=1, **TINY).run()
    assert checkpoint.last_step(tmp_path / "a") == 1


def test_a_message_never_fails_and_never_becomes_output(monkeypatch, capsys):
    for stream in (None, Broken(GONE), Broken(FULL)):
        monkeypatch.setattr(sys, "stderr", stream)
        errors.say("a message")
        errors.warn("a warning")
        screen.write_at_once("from a signal handler")
    assert capsys.readouterr().out == ""


@posix
@pytest.mark.parametrize("closed", ["2>&-", "<&- 2>&-", "<&- 1>&- 2>&-"])
def test_no_file_gets_the_number_of_a_closed_stream(tmp_path, closed):
    """What other libraries write to stderr would end up in it."""
    (tmp_path / "script.py").write_text(
        "from tinygan.cli import main, tools\n"
        "def run(args):\n"
        "    with open('file', 'w') as file:\n"
        "        file.write(str(file.fileno()))\n"
        "tools.run_data = run\n"
        "main(['data'])\n"
    )
    shell(f"cd {tmp_path}; {sys.executable} script.py {closed}")
    assert int((tmp_path / "file").read_text()) > 2


@posix
@pytest.mark.parametrize(
    "redirection",
    [
        "2>&-",
        ">&- 2>&-",
        "<&- >&- 2>&-",
        "2>/dev/full",
        ">/dev/full 2>&1",
        "2>&1 | head -n 1",
        "2>&1 | true",
    ],
)
def test_a_training_ends_well_wherever_its_output_goes(tmp_path, redirection):
    out = tmp_path / "run"
    done = shell(f"TINYGAN {TRAIN} {out} {redirection}; echo code ${{PIPESTATUS[0]}}")
    assert done.stdout.splitlines()[-1] == "code 0" and done.stderr == ""
    assert checkpoint.last_step(out) == 12 and not (out / "running").exists()
    # No message went into a file that got the number of a closed stream.
    lines = (out / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [10, 12]


@posix
def test_a_script_that_trains_ends_well_when_nobody_reads_its_progress(tmp_path):
    """Without the command line: Python itself would end with exit code 120."""
    code = (
        "import sys\nfrom tinygan import data\nfrom tinygan.training import recipes\n"
        "from tinygan.training.trainer import Trainer\n"
        "recipe = recipes.find('gan')\n"
        "settings = recipe.settings().updated({'steps': 2, 'hidden': 8, 'batch_size': 4})\n"
        "Trainer.start(recipe, settings, data.load('digits'), sys.argv[1]).run()"
    )
    command = f'{sys.executable} -c "{code}" {tmp_path / "run"}'
    done = shell(f"{command} 2>/dev/full; echo $?; {command}2 2>&1 | true; echo ${{PIPESTATUS[0]}}")
    assert done.stdout.split() == ["0", "0"]
    assert checkpoint.last_step(tmp_path / "run") == checkpoint.last_step(tmp_path / "run2") == 2


COMMANDS = ["recipes", "recipes dcgan", "data", "show gan", "gradcheck sigmoid"]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_says_that_its_output_is_lost_unless_nobody_reads_it(
    monkeypatch, capsys, command
):
    assert main(command.split()) == 0
    capsys.readouterr()
    monkeypatch.setattr(sys, "stdout", Broken(GONE))
    assert main(command.split()) == 0 and capsys.readouterr().err == ""
    monkeypatch.setattr(sys, "stdout", Broken(FULL))
    assert main(command.split()) == 2
    message = "tinygan: error: cannot write the output (No space left on device): send it elsewhere"
    assert capsys.readouterr().err.splitlines() == [message]
    monkeypatch.setattr(sys, "stderr", Broken(FULL))
    assert main(command.split()) == 2


@posix
@pytest.mark.parametrize(
    "redirection, code",
    [("| true", 0), (">&-", 0), (">/dev/full", 2), (">/dev/full 2>&-", 2), ("2>/dev/full", 0)],
)
def test_python_finds_nothing_left_to_write_at_its_end(redirection, code):
    """Otherwise it would print "Exception ignored", and end with exit code 120."""
    done = shell(f"TINYGAN recipes {redirection}; exit ${{PIPESTATUS[0]}}", PYTHONDEVMODE="1")
    assert done.returncode == code and "xception" not in done.stderr


# Figures that cannot be drawn

ROWS = [
    {"step": 10 * i, "d_loss": 1.0, "g_loss": 1.0, "d_real": 0.5, "d_fake": 0.5} for i in (1, 2)
]


@pytest.mark.parametrize(
    "backend", ["widget", "module://matplotlib_inline.backend_inline", "nonsense", "tkagg", "svg"]
)
def test_figures_are_drawn_whatever_backend_the_environment_names(tmp_path, backend):
    code = (
        "import os, sys\nfrom tinygan import plots\n"
        f"plots.save_curves(sys.argv[1], {ROWS})\n"
        "import matplotlib\n"
        "print(os.environ['MPLBACKEND'], dict.__getitem__(matplotlib.rcParams, 'backend'))\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.png"],
        env={**ENVIRONMENT, "MPLBACKEND": backend},
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    in_environment, of_matplotlib = done.stdout.split(maxsplit=1)
    assert in_environment == backend and pictures.read(tmp_path / "a.png", 3).shape[1] == 800
    # The caller's own figures use the backend that the environment names, if it is there.
    assert backend not in ("tkagg", "svg") or of_matplotlib.strip().lower() == backend


@pytest.mark.curves
@pytest.mark.parametrize("error", [RuntimeError("no latex"), OSError("no font"), MemoryError()])
def test_a_run_goes_on_without_curves_if_matplotlib_cannot_draw_them(
    tmp_path, digits, monkeypatch, capsys, error
):
    def savefig(*args, **settings):
        raise error

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", savefig)
    start(tmp_path / "a", digits, **TINY).run(progress=False)
    assert checkpoint.last_step(tmp_path / "a") == 12
    (line,) = capsys.readouterr().err.splitlines()  # and not one at each checkpoint
    path = tmp_path / "a" / "curves.png"
    assert line.startswith(
        f"tinygan: warning: matplotlib cannot draw {path} ({type(error).__name__}: {error})"
    )
    with pytest.raises(InputError, match="matplotlib cannot draw .*check its installation"):
        plots.save_curves(path, ROWS)
    assert not path.exists()
