"""Tests of code of the user's own: a model, a loss or a penalty in a file. Such a file is read,
copied and executed as a user expects, and a run folder never executes anything by itself."""

import copy
import dataclasses
import hashlib
import importlib.util
import json
import os
import pickle
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prepared import KINDS
from test_readme import blocks, own_file

from tinygan import data, files
from tinygan.cli import main
from tinygan.errors import InputError
from tinygan.files import checkpoint
from tinygan.gan import penalties
from tinygan.gan.penalties import APPLIED_TO, Penalty
from tinygan.models import Settings
from tinygan.settings import FromFile
from tinygan.training import log, own_code, own_penalty, ranks, recipes
from tinygan.training.algorithm import Algorithm
from tinygan.training.run_data import RunData
from tinygan.training.sampling import load_generator, load_networks
from tinygan.training.start import continued_run, new_run
from tinygan.training.trainer import Trainer

pytestmark = pytest.mark.cpu

# Whoever executes these files leaves a line in the file that TRACE names.
TRACE = """import os
with open(os.environ["TRACE"], "a") as _out:
    _out.write(__file__ + "\\n")
"""
MODEL = (
    TRACE
    + """
from dataclasses import dataclass
from parts import layers
from tinygan.models import Recipe, Settings, gan, setting

@dataclass
class Mine(Settings):
    hidden: int = setting(4, "units of a hidden layer", 1)

class Generator(gan.Generator):
    pass

def networks(s, sizes, rng):
    import helper
    G = Generator(sizes.latent, sizes.image, layers.units(s.hidden), 1, rng=rng)
    return G, gan.Discriminator(sizes.image, helper.units(s.hidden), 1, rng=rng)

DEFAULTS = {"latent": 4, "batch_size": 4, "steps": 4, "checkpoint_every": 2, "sample_every": 4}
RECIPE = Recipe("mine", "my own", Mine, networks, DEFAULTS)
"""
)
FILES = {
    "my_model.py": MODEL,
    "helper.py": TRACE + "from parts.layers import units\n",
    "parts/__init__.py": TRACE + "from . import layers\n",
    "parts/layers.py": TRACE + "def units(n):\n    return n\n",
}
LOSS = (
    TRACE
    + """
from tinygan.gan.losses import Loss
from tinygan.ops import mean, softplus
mine = Loss(
    lambda real, fake: mean(softplus(-real)) + mean(softplus(fake)),
    lambda real, fake: mean(softplus(real - fake)),
    paired=True,
)
"""
)
PENALTY = (
    TRACE
    + """
from tinygan.gan.penalties import Penalty
from tinygan.ops import mean, square

def level_of(G, z, average, rng):
    level = mean(square(G(z * float(rng.random()))))
    return level + average, 0.5 * average + 0.5 * level.data

def small(D, reals):
    return mean(square(D(reals)))

level = Penalty("level", level_of, applied_to="latents", state="average", draws=True)
logits = Penalty("logits", small)
"""
)
OWN = ["loss=my_loss.py:mine", "penalty=my_penalty.py:level"]


@pytest.fixture(autouse=True)
def trace(tmp_path, monkeypatch):
    """A file with the paths of the files that the test has executed; the folder is the present
    one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRACE", str(tmp_path / "trace"))
    return tmp_path / "trace"


def executed(trace):
    """Return the names of the files that were executed, and forget them."""
    names = trace.read_text().split() if trace.exists() else []
    trace.unlink(missing_ok=True)
    return [os.path.relpath(name) for name in names]


def write(folder, contents):
    for name, text in contents.items():
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text) if isinstance(text, str) else path.write_bytes(text)


def write_all():
    write(".", FILES | {"my_loss.py": LOSS, "my_penalty.py": PENALTY})


def message_of(function, *args, **named):
    with pytest.raises(InputError) as caught:
        function(*args, **named)
    message = str(caught.value)
    assert message.isprintable() and len(message) < 1000
    return message


def error_of(capsys, *words):
    """Return the one line that a command writes when it fails."""
    capsys.readouterr()
    assert main([*map(str, words)]) == 2
    *_, line = capsys.readouterr().err.splitlines()  # a bar may come before it
    assert line.startswith("tinygan: error: ")
    return line.removeprefix("tinygan: error: ")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run with a model, a loss and a penalty of its own, and what belongs to it."""
    folder, before = tmp_path_factory.mktemp("own"), os.getcwd()
    os.environ["TRACE"] = str(folder / "trace")
    os.chdir(folder)
    try:
        write_all()
        assert main(["train", "my_model.py", "--out", "run", "--set", *OWN]) == 0
    finally:
        os.chdir(before)
        del os.environ["TRACE"]
    return folder


@pytest.fixture
def run(trained, tmp_path):
    """A copy of that run. The user's files are not there."""
    return Path(shutil.copytree(trained / "run", tmp_path / "run")).relative_to(tmp_path)


def config_of(run):
    return json.loads((run / "config.json").read_text())


# A run with its own code


def test_a_run_keeps_what_was_executed(trained):
    config, run = config_of(trained / "run"), trained / "run"
    assert config["recipe"] == "mine" and config["settings"]["loss"] == "my_loss.py:mine"
    assert config["settings"]["penalty"] == "my_penalty.py:level"
    assert {role: entry["file"] for role, entry in config["code"].items()} == {
        "recipe": "my_model.py",
        "loss": "my_loss.py",
        "penalty": "my_penalty.py",
    }
    assert config["code"]["recipe"]["files"].keys() == FILES.keys()
    copies = {path for path in (run / "code").rglob("*") if path.is_file()}
    for role, entry in config["code"].items():
        for name, digest in entry["files"].items():
            copy = run / "code" / role / name
            copies.remove(copy)
            assert copy.read_bytes() == (trained / name).read_bytes()
            assert hashlib.sha256(copy.read_bytes()).hexdigest() == digest
    assert not copies and not list(trained.rglob("__pycache__"))
    assert {"own_penalty", "own_penalty_state"} <= next(log.rows(run)).keys()


def test_every_command_takes_the_file_again_or_trusts_the_copy(run, trace, capsys):
    assert main(["sample", str(run), "--trust", "-o", "a.npz"]) == 0
    assert {Path(name).parts[0] for name in executed(trace)} == {"run"}
    write(".", FILES)
    assert main(["sample", str(run), "--model", "my_model.py", "-o", "b.npz"]) == 0
    assert {*executed(trace)} == FILES.keys()
    assert Path("a.npz").read_bytes() == Path("b.npz").read_bytes()
    os.remove("helper.py")
    assert "helper.py does not exist" in error_of(
        capsys, "sample", run, "--model", "my_model.py", "-o", "b.npz"
    )


def test_networks_are_loaded_from_python(run, trace):
    write(".", FILES)
    G, config, _ = load_generator(run, model="my_model.py")
    assert config["recipe"] == "mine" and type(G).__name__ == "Generator"
    copied = copy.deepcopy(G)
    assert type(copied) is type(G) and type(pickle.loads(pickle.dumps(G))) is type(G)
    for networks in (load_networks(run, trust=True), load_networks(run, model="my_model.py")):
        assert networks[0].state_dict().keys() == G.state_dict().keys()
    assert "never runs code by itself" in message_of(load_networks, run)


def test_a_continued_run_gives_the_same_bits(tmp_path, trained, capsys):
    write_all()
    short = ["train", "my_model.py", "--out", "short", "--steps", "2", "--set", *OWN]
    again = ["train", "--resume", "short", "--model", "my_model.py", "--steps", "4", "--set", *OWN]
    assert main(short) == 0
    shutil.copytree("short", "copied")
    assert main(again) == 0
    assert main(["train", "--resume", "copied", "--trust", "--steps", "4"]) == 0
    name = "checkpoint-00000004.npz"
    whole = (trained / "run" / name).read_bytes()
    assert Path("short", name).read_bytes() == whole == Path("copied", name).read_bytes()
    assert config_of(Path("short")) == config_of(trained / "run")


def test_a_loss_that_is_part_of_the_model_file_needs_no_option_of_its_own(trace):
    source = FILES["my_model.py"] + LOSS
    source = source.replace('{"latent"', '{"loss": "my_model.py:mine", "latent"')
    write("models", FILES | {"my_model.py": source})
    new_run("models/my_model.py", out="run", settings={"steps": 2}).run(progress=False)
    assert config_of(Path("run"))["settings"]["loss"] == "my_model.py:mine"
    executed(trace)
    trainer = continued_run("run", {"steps": 4}, model="models/my_model.py")
    assert trainer.algorithm.objectives.loss.paired
    assert {name.split("/")[0] for name in executed(trace)} == {"models"}


def test_a_stopped_run_says_how_to_continue_it(run, capsys, monkeypatch):
    write_all()

    def fail(self, *args):
        raise InputError("no")

    monkeypatch.setattr(Trainer, "run_steps", fail)
    message = error_of(capsys, "train", "my_model.py", "--out", "a", "--set", *OWN)
    options = "--model my_model.py --set loss=my_loss.py:mine --set penalty=my_penalty.py:level"
    assert message.endswith(f"--resume a {options}")
    message = error_of(capsys, "train", "--resume", run, "--trust", "--steps", "9")
    assert message.endswith("--resume run --trust")


def test_ranks_that_are_stopped_say_it_too(monkeypatch, capfd):
    """At once, since mpiexec may kill them soon."""
    monkeypatch.setattr(ranks, "size", 2)
    with ranks.requests_to_stop(Path("run"), " --model my_model.py") as stop:
        signal.raise_signal(signal.SIGINT)
    assert stop.number == signal.SIGINT
    assert capfd.readouterr().err.endswith("--resume run --model my_model.py\n")


def test_recipes_and_show_take_a_file(capsys):
    write_all()
    assert main(["recipes", "my_model.py"]) == 0
    out = capsys.readouterr().out
    assert "units of a hidden layer" in out and "tinygan train my_model.py --set" in out
    assert "or FILE.py:NAME" in out
    assert main(["show", "my_model.py", "--set", "hidden=3", "loss=my_loss.py:mine"]) == 0
    assert "(1, 3)" in capsys.readouterr().out
    assert "write my_model.py" in error_of(capsys, "train", "my_model")


def test_options_that_would_not_be_used_are_refused(run, capsys):
    write_all()
    assert main(["train", "gan", "--steps", "1", "--set", "hidden=2", "--out", "plain"]) == 0
    for words, text in (
        (["sample", "plain", "--model", "my_model.py", "-o", "a.png"], "leave --model out"),
        (["train", "--model", "my_model.py"], "tinygan train FILE.py"),
        (["train", "my_model.py", "--trust"], "is for --resume"),
        (["train", "my_model.py", "--resume", run], "--model my_model.py"),
        (["eval", "plain", "digits", "--model", "my_model.py"], "neither plain nor digits"),
        (["train", "gan", "--set", "penalty_weight=2"], "set penalty=FILE.py:NAME as well"),
        (["train", "gan", "--set", "loss=my_loss.py"], "write loss=my_loss.py:NAME"),
        (["train", "gan", "--set", "penalty=my_loss"], "write FILE.py:NAME"),
    ):
        assert text in error_of(capsys, *words)


def test_runs_with_a_model_of_their_own_are_compared_with_others(run):
    write(".", FILES)
    gan = ["train", "gan", "--out", "gan", "--steps", "1", "--set", "hidden=2", "batch_size=2"]
    assert main(gan) == 0
    words = ["eval", "gan", str(run), "-n", "20", "--features", "random", "--model", "my_model.py"]
    assert main(words) == 0


# Nothing is executed without --model or --trust

COMMANDS = [
    "sample RUN -o a.png",
    "sample RUN/checkpoint-00000004.npz --weights last -o a.npz",
    "eval RUN -n 20",
    "eval RUN digits -n 20",
    "eval digits RUN -n 20",
    "truncation RUN -n 20 -o a.png",
    "mix RUN -o a.png",
    "noise RUN -o a.png",
    "project RUN -o a.png",
    "ppl RUN -o a.png",
    "separability RUN -o a.png",
    "train --resume RUN --steps 9",
]
if importlib.util.find_spec("safetensors"):
    COMMANDS.append("export RUN -o a.safetensors")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_run_folder_executes_nothing_by_itself(run, trace, capsys, command):
    monkey = {"sitecustomize.py": TRACE, "numpy.py": TRACE, "tinygan/__init__.py": TRACE}
    write(run, monkey)
    write(run / "code" / "recipe", monkey)
    message = error_of(capsys, *command.replace("RUN", str(run)).split())
    assert "never runs code by itself" in message and "--trust" in message
    assert not executed(trace) and not Path("a.png").exists()


def test_what_needs_no_code_works_without_it(run, trace, capsys):
    assert main(["animate", str(run), "-o", "a.gif"]) == 0
    config = config_of(run)
    assert recipes.settings_of(config).batch_size == 4
    assert len(RunData(config, run).parts[0]) == 9000
    assert not executed(trace)


def test_a_generator_with_an_own_loss_needs_no_code(trace):
    write(".", {"my_loss.py": LOSS, "my_penalty.py": PENALTY})
    trainer = new_run(
        "gan",
        out="run",
        settings={
            **{"steps": 1, "hidden": 2, "loss": "my_loss.py:mine"},
            **{"penalty": "my_penalty.py:logits", "penalty_weight": 0.5},
        },
    )
    trainer.run(progress=False)
    executed(trace)
    load_generator("run")
    message = message_of(continued_run, "run", {"steps": 2})
    assert "has a loss of its own, my_loss.py:mine" in message
    again = {"loss": "my_loss.py:mine"}
    assert not executed(trace)
    assert "has a penalty of its own" in message_of(continued_run, "run", {"steps": 2, **again})
    assert executed(trace) == ["my_loss.py"]
    continued_run("run", {"steps": 2, **again}, trust=True).run(progress=False)
    assert executed(trace) == ["my_loss.py", "run/code/penalty/my_penalty.py"]
    Path("my_loss.py").write_text(f"{LOSS}#")
    # Another file of the same name is a change of the loss.
    continued_run("run", {"steps": 3, **again}, trust=True).run(progress=False)
    (entry,) = config_of(Path("run"))["history"]
    before, now = entry["changed"]["loss"]
    assert entry["step"] == 2 and before != now and before.startswith("my_loss.py:mine (")
    continued_run("run", {"steps": 4, **again}, trust=True)
    assert Path("run/code/loss/my_loss.py").read_text() == f"{LOSS}#"


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_is_named_and_not_executed(run, trace, capsys, name):
    write(".", FILES)
    Path(name).write_text(FILES[name] + "#")
    message = error_of(capsys, "sample", run, "--model", "my_model.py", "-o", "a.png")
    assert message.startswith(f"{name if name == 'my_model.py' else Path(name).resolve()} differs")
    assert "run the copy in the run folder with --trust; for the changed file, begin" in message
    assert not executed(trace)
    (run / "code" / "recipe" / name).write_text(FILES[name] + "#")
    message = error_of(capsys, "sample", run, "--trust", "-o", "a.png")
    assert message.startswith(str(run / "code" / "recipe" / name)) and not executed(trace)


def test_a_missing_file_is_named_with_the_way_out(run, capsys):
    sample = ["sample", run, "-n", 1, "-o", "grid.png"]
    write(".", {name: FILES[name] for name in FILES if name != "helper.py"})
    message = error_of(capsys, *sample, "--model", "my_model.py")
    assert (
        "helper.py does not exist: put it back, or run the copy in the run folder with" in message
    )
    assert "absent.py does not exist: give the path of a Python file" in error_of(
        capsys, *sample, "--model", "absent.py"
    )
    (run / "code/recipe/helper.py").unlink()
    message = error_of(capsys, *sample, "--trust")
    assert message.endswith(
        "recipe/helper.py does not exist: give the original with --model FILE.py"
    )


def test_only_files_that_the_run_recorded_are_executed(run, trace, capsys):
    """Not those that appear beside them, nor compiled ones."""
    for folder in (Path(), run / "code" / "recipe"):
        write(folder, FILES)
        others = ["numpy.py", "tinygan/__init__.py", "hashlib.py", "colorsys.py", "parts.py"]
        others += ["helper/__init__.py", "parts/layers/__init__.py", "sitecustomize.py"]
        write(folder, dict.fromkeys(others, TRACE))
        for name in ("__pycache__/helper.cpython-{}{}.pyc", "helper.pyc", "my_model.pyc"):
            write(folder, {name.format(*sys.version_info): b"\0" * 100})
    for option in (["--trust"], ["--model", "my_model.py"]):
        assert main(["sample", str(run), *option, "-o", "a.png"]) == 0
    assert {name.removeprefix("run/code/recipe/") for name in executed(trace)} == FILES.keys()


def test_what_is_executed_is_what_was_checked(run, trace, monkeypatch):
    """Although the files change after they were read."""
    write(".", FILES)
    load = own_code.load_recipe

    def change_and_load(source):
        for name in FILES:
            Path(name).write_text("raise SystemExit('changed')")
        return load(source)

    monkeypatch.setattr(own_code, "load_recipe", change_and_load)
    load_generator(run, model="my_model.py")
    assert {*executed(trace)} == FILES.keys()


@pytest.mark.parametrize("kind", [kind for kind, name in KINDS.items() if name])
@pytest.mark.parametrize(
    "place", ["code", "code/recipe", "code/recipe/parts", "code/loss/my_loss.py"]
)
def test_copies_are_read_and_written_without_following_links(run, trace, capsys, kind, place):
    outside = Path("outside").absolute()
    if (run / place).is_dir():
        shutil.copytree(run / place, outside)
        shutil.rmtree(run / place)
    else:
        shutil.move(run / place, outside)
    kind(run / place, outside)
    if (run / place).is_dir() and not (run / place).is_symlink():
        return  # what is missing in a folder is written again
    before = sorted(path.name for path in Path(".").rglob("*"))
    resume = ["train", "--resume", str(run), "--steps", "9"]
    message = error_of(capsys, *resume, "--trust")
    assert str(run / place) in message
    write_all()
    executed(trace)
    message = error_of(capsys, *resume, "--model", "my_model.py", "--set", *OWN)
    assert str(run / place) in message
    shutil.rmtree("parts")
    for name in ("my_model.py", "helper.py", "my_loss.py", "my_penalty.py"):
        os.remove(name)
    assert executed(trace)  # and the trace is gone
    assert before == sorted(path.name for path in Path(".").rglob("*"))


# A config.json that somebody has written

SHA = "0" * 64


def with_code(role="recipe", file="my_model.py", files=None, **more):
    files = {file: SHA} if files is None else files
    return {"code": {role: {"file": file, "files": files, **more}}}


CRAFTED = {
    "no code, but the name of a file": {"code": None, "recipe": "my_model.py"},
    "no code, but a path": {"code": None, "recipe": "run/code/recipe/my_model.py"},
    "a path": with_code(file="../evil.py"),
    "an absolute path": with_code(file="/tmp/evil.py"),
    "a path of Windows": with_code(file="..\\evil.py"),
    "a drive": with_code(file="C:evil.py"),
    "NUL": with_code(file="evil\0.py"),
    "a line break": with_code(file="evil\n.py"),
    "compiled": with_code(file="my_model.pyc"),
    "an extension module": with_code(file="my_model.so"),
    "no file": with_code(files={}),
    "another file": with_code(files={"helper.py": SHA}),
    "a helper elsewhere": with_code(files={"my_model.py": SHA, "../helper.py": SHA}),
    "a helper anywhere": with_code(files={"my_model.py": SHA, "/tmp/helper.py": SHA}),
    "a helper far away": with_code(files={"my_model.py": SHA, "a/../../helper.py": SHA}),
    "an empty folder": with_code(files={"my_model.py": SHA, "a//b.py": SHA}),
    "a helper with NUL": with_code(files={"my_model.py": SHA, "a\0.py": SHA}),
    "a hidden helper": with_code(files={"my_model.py": SHA, ".a.py": SHA}),
    "many files": with_code(files={"my_model.py": SHA} | {f"a{i}.py": SHA for i in range(100)}),
    "a wrong hash": with_code(),
    "a short hash": with_code(files={"my_model.py": "0" * 63}),
    "a number as hash": with_code(files={"my_model.py": 0}),
    "hashes of capitals": with_code(files={"my_model.py": "A" * 64}),
    "a list": with_code(files=["my_model.py"]),
    "another entry": with_code(run=True),
    "an unknown role": with_code(role="data"),
    "nothing": {"code": {}},
    "a text": {"code": "my_model.py"},
    "another recipe": {"recipe": "dcgan"},
    "a loss anywhere": {"settings": {"loss": "/tmp/evil.py:mine"}},
    "a loss elsewhere": {"settings": {"loss": "../my_loss.py:mine"}},
    "another loss": {"settings": {"loss": "evil.py:mine"}},
    "a name that is an expression": {"settings": {"loss": "my_loss.py:mine()"}},
    "a penalty anywhere": {"settings": {"penalty": "/tmp/evil.py:mine"}},
}


@pytest.mark.parametrize("crafted", CRAFTED)
def test_a_crafted_config_executes_nothing(run, trace, capsys, crafted):
    config, changes = config_of(run), dict(CRAFTED[crafted])
    config["settings"] |= changes.pop("settings", {})
    config |= changes
    if config["code"] is None:
        del config["code"]
    (run / "config.json").write_text(json.dumps(config))
    write(".", {"evil.py": LOSS, "my_model.pyc": b"\0" * 100})
    for command in ("sample RUN -o a.png", "train --resume RUN --steps 9"):
        error_of(capsys, *command.replace("RUN", str(run)).split())
        assert not executed(trace)
    message = error_of(capsys, "train", "--resume", run, "--trust", "--steps", "9")
    # With --trust, its copies may be executed: nothing else.
    assert {name.split("/")[0] for name in executed(trace)} <= {"run"} and message


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["a.py", SHA]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
NAMES = st.sampled_from([*FILES, "../x.py", "/x.py", "a\0.py", "x", "A.PY", "parts", ".py"])
ENTRIES = st.fixed_dictionaries(
    {"file": NAMES | JSON, "files": st.dictionaries(NAMES, st.just(SHA) | JSON) | JSON}
)


@pytest.fixture(scope="module")
def folder_to_change(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    shutil.copytree(trained / "run" / "code", folder / "code")
    return folder


@given(code=JSON | st.dictionaries(st.sampled_from(["recipe", "loss", "x"]), ENTRIES | JSON))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_code_entry_is_refused_or_not_executed(trained, folder_to_change, code):
    folder = folder_to_change
    config = config_of(trained / "run") | {"code": code}
    (folder / "config.json").write_text(json.dumps(config))
    for options in ({}, {"trust": True}):
        message_of(continued_run, folder, **options)
    assert not Path(os.environ["TRACE"]).exists()


# Mistakes in a file


MISTAKES = {
    "x = (": "my_model.py, line 1: SyntaxError",
    "\n\nreturn 1": "my_model.py, line 3: SyntaxError: 'return' outside function",
    "x = 1\n  y = 2": "my_model.py, line 2: IndentationError",
    "x = '\0'": "null bytes",
    "# coding: nothing\n": "encoding",
    "x = " + "(" * 500 + ")" * 500: "too many nested parentheses",
    "x = 1\ny = undefined": "my_model.py, line 2: NameError: name 'undefined' is not defined",
    "def f():\n    return 1 / 0\n\nf()": "my_model.py, line 2: ZeroDivisionError",
    "import nowhere_at_all": "my_model.py, line 1: ModuleNotFoundError: No module named "
    "'nowhere_at_all' (install it, or put it beside this file",
    "from . import nothing": "line 1: ImportError: cannot import name 'nothing'",
    "from .. import nothing": "my_model.py, line 1: ImportError",
    "import wrong": "wrong.py, line 2: KeyError: 'x'",
    "from wrong_syntax import x": "wrong_syntax.py, line 1: SyntaxError",
    "import random": "random.py has the name of the module random, which Python or tinygan needs",
    "import numpy": "has the name of the module numpy",
    "import native": "native.so is an extension module",
    "exit()": "my_model.py, line 1: SystemExit",
    "x = 1": "my_model.py has no RECIPE: write RECIPE = Recipe(",
    "RECIPE = 'dcgan'": "my_model.py: RECIPE is a str, but must be a Recipe of tinygan.models",
    "RECIPE = Recipe('a/b', '', Settings, print)": "the name of RECIPE is 'a/b'",
    "RECIPE = Recipe(1, '', Settings, print)": "the name of RECIPE is 1",
    "RECIPE = Recipe('a', '', dict, print)": "the settings_class of RECIPE must be Settings",
    "RECIPE = Recipe('a', '', Settings, None)": "networks of RECIPE must be a function",
    "RECIPE = Recipe('a', '', Settings, print, {'x': 1})": "unknown setting 'x'",
    "RECIPE = Recipe('a', '', Settings, print, {'lr': -1})": "setting lr=-1: must be at least 0",
    "@dataclass\nclass S(Settings):\n    x: float = setting(float('inf'), 'x')\n\n"
    "RECIPE = Recipe('a', '', S, print)": "my_model.py: x is Infinity, not a number",
    "RECIPE = Recipe('a', '', Settings, print, truncation='x')": "truncation of RECIPE is 'x'",
    "RECIPE = Recipe('a', '', Settings, print, shared_losses=['x'])": "shared_losses of "
    "RECIPE must be a dict {name: function(G, z, output)}",
    "RECIPE = Recipe('a', '', Settings, print, shared_losses={'x y': len})": "the name of a shared "
    "loss must be a Python name, not 'x y'",
    "RECIPE = Recipe('a', '', Settings, print, shared_losses={'x': len})": "the shared loss x of "
    "RECIPE must be a function of (G, z, output)",
    "class S(Settings):\n    n: int = setting(1, 'n')\n\nRECIPE = Recipe('a', '', S, print)": "no "
    "setting yet: decorate S with @dataclass",
    "@dataclass\nclass S(Settings):\n    n: tuple = setting((), 'n')\n\n"
    "RECIPE = Recipe('a', '', S, print)": "S.n: its type must be int, float, bool or str",
    "setting(1, 'n', group='none')": "line 5: ValueError: group='none'",
}
HEAD = (
    "from dataclasses import dataclass\nfrom tinygan.models import Recipe, Settings, setting\n\n\n"
)


@pytest.mark.parametrize("source", MISTAKES)
def test_a_mistake_in_a_file_is_one_line(capsys, source):
    write(
        ".",
        {
            "wrong.py": "x = {}\ny = x['x']\n",
            "wrong_syntax.py": "x = = 2",
            "random.py": "",
            "numpy/__init__.py": "",
            "native.so": b"\0",
        },
    )
    needs_head = any(word in source for word in ("Recipe", "setting("))
    write(".", {"my_model.py": HEAD + source if needs_head else source})
    message = error_of(capsys, "train", "my_model.py", "--out", "run")
    assert MISTAKES[source] in message and not Path("run").exists()


PARTS = {
    "loss=none.py:mine": "none.py does not exist",
    "loss=my_loss.py:min": "has no min: did you mean mine? (choose from mine, functions)",
    "loss=my_loss.py:mean": "mean is a ",
    "loss=my_loss.py:functions": "functions: discriminator and generator must be functions",
    "loss=folder.py:x": "folder.py is a folder, but must be a file",
    "loss=large.py:x": "large.py is longer than 1,048,576 bytes",
    "loss=my_penalty.py:level": "level is a Penalty, but must be a Loss of tinygan.gan.losses",
    "penalty=my_loss.py:mine": "mine is a Loss, but must be a Penalty",
    "penalty=my_loss.py:other": "my_loss.py has no other: write other = Penalty(...)",
    "penalty=bad.py:arguments": "penalty arguments: its function takes (D, reals, x), but",
    "penalty=bad.py:applied": "penalty applied: applied_to='pixels': choose from",
    "penalty=bad.py:logged": "penalty logged: leave out logged_as",
    "penalty=bad.py:lazy": "penalty lazy: applied to logits, it cannot be lazy",
    "penalty=bad.py:number": "bad.py: 1 is not a callable object",
    "penalty=bad.py:trains": "penalty trains: applied to reals, it cannot train 'G'",
    "penalty=bad.py": "write penalty=bad.py:NAME, where NAME is the Penalty in that file",
    "penalty=bad.py:a.b": "write FILE.py:NAME",
}
BAD = """
from tinygan.gan.penalties import Penalty
arguments = Penalty("arguments", lambda D, reals, x: 0)
applied = Penalty("applied", lambda D, reals: 0, applied_to="pixels")
logged = Penalty("logged", lambda D, reals: 0, logged_as=("d_loss",))
lazy = Penalty("lazy", lambda real, fake: 0, applied_to="logits", lazy=True)
number = Penalty("number", 1)
trains = Penalty("trains", lambda D, reals: 0, trains="G")
"""


@pytest.mark.parametrize("assignment", PARTS)
def test_a_mistake_in_a_loss_or_penalty_is_one_line(capsys, assignment):
    write_all()
    functions = "functions = Loss(1, 2)\n"
    write(".", {"bad.py": BAD, "my_loss.py": LOSS + functions, "large.py": b"#" * (1 << 20 | 1)})
    Path("folder.py").mkdir()
    message = error_of(capsys, "train", "gan", "--out", "run", "--set", assignment)
    assert PARTS[assignment] in message and not Path("run").exists()


IN_FORWARD = {  # the body of G.forward: (the line of forward in which it fails, the message)
    "z.wrong()": (1, "AttributeError: 'Tensor' object has no attribute 'wrong'"),
    "return self.nothing(z)": (1, "AttributeError: 'Generator' object has no attribute 'nothing'"),
    "z = z.reshape(2, 3)\n        return z": (1, "ValueError: "),
    "x = 1\n        return torch.tanh(z)": (2, "NameError: name 'torch' is not defined"),
    "import helper\n        return helper.units()": (
        2,
        "TypeError: Generator(latent=4): units() missing 1 required",
    ),
}


@pytest.mark.parametrize("body", IN_FORWARD)
def test_a_mistake_in_a_network_is_one_line(capsys, body):
    head = "    def forward(self, z):\n"
    source = FILES["my_model.py"].replace("    pass", f"{head}        {body}")
    write(".", FILES | {"my_model.py": source})
    line, text = IN_FORWARD[body]
    number = source[: source.index(head)].count("\n") + 1 + line
    message = error_of(capsys, "train", "my_model.py", "--out", "run")
    assert message.startswith(f"my_model.py, line {number}: {text}") and not Path("run").exists()
    assert "tinygan_own" not in message
    assert error_of(capsys, "show", "my_model.py") == message


@pytest.mark.parametrize(
    "networks, text",
    {
        "def networks(s, sizes): pass": "must be a function networks(s, sizes, rng) -> (G, D)",
        "def networks(s, sizes, rng): pass": "networks returns a NoneType: it must return (G, D)",
        "def networks(s, sizes, rng): return (s, s, s)": "networks returns a tuple of 3: it must",
    }.items(),
)
def test_networks_must_take_rng_and_return_a_pair(capsys, networks, text):
    settings = "@dataclass\nclass MySettings(Settings):\n    pass\n\n"
    recipe = "RECIPE = Recipe('a', '', MySettings, networks)"
    write(".", {"my_model.py": f"{HEAD}{settings}{networks}\n{recipe}\n"})
    message = error_of(capsys, "train", "my_model.py", "--out", "run")
    assert text in message and not Path("run").exists()


def test_an_exception_in_training_keeps_its_traceback():
    body = "    def forward(self, z):\n        if self.training:\n            z.wrong()\n"
    body += "        return super().forward(z)"
    write(".", FILES | {"my_model.py": FILES["my_model.py"].replace("    pass", body)})
    with pytest.raises(AttributeError):
        main(["train", "my_model.py", "--out", "run"])


WRONG = """
from tinygan.gan.losses import Loss
from tinygan.gan.penalties import Penalty
from tinygan.ops import mean, square
good = lambda real, fake: mean(square(real)) + mean(square(fake))
whole = Loss(lambda real, fake: square(real), good)
none = Loss(lambda real, fake: None, good)
number = Loss(good, lambda real, fake: 1.0)
needs_real = Loss(good, lambda real, fake: mean(real) - mean(fake))
needs_shape = Loss(good, lambda real, fake: mean(fake) / real.shape[0])
nothing = Penalty("nothing", lambda D, reals: None)
array = Penalty("array", lambda D, reals: mean(D(reals)).detach().numpy())
images = Penalty("images", lambda G, z: square(G(z)), applied_to="latents")
alone = Penalty("alone", lambda G, z, a: mean(G(z)), applied_to="latents", state="a")
logits = Penalty("logits", lambda real, fake: real, applied_to="logits")
"""
RETURNED = {
    "loss=wrong.py:whole": "the discriminator of whole returns a Tensor of shape (4",
    "loss=wrong.py:none": "the discriminator of none returns a NoneType: it must return",
    "loss=wrong.py:number": "the generator of number returns a float: it must return a Tensor of",
    "loss=wrong.py:needs_real": "the generator of needs_real reads the real logits: write paired=",
    "loss=wrong.py:needs_shape": "the generator of needs_shape reads the real logits: write paired",
    "penalty=wrong.py:nothing": "the function of nothing returns a NoneType: it must return a",
    "penalty=wrong.py:array": "the function of array returns a ndarray: it must return a Tensor of",
    "penalty=wrong.py:images": "the function of images returns a Tensor of shape (2, 28, 28, 1)",
    "penalty=wrong.py:alone": "the function of alone returns a Tensor of shape (): it must return "
    "a pair: a Tensor of shape (), such as mean(x), and the new state",
    "penalty=wrong.py:logits": "the function of logits returns a Tensor of shape (4",
}


@pytest.mark.parametrize("assignment", RETURNED)
def test_what_a_loss_or_penalty_returns_is_checked(capsys, assignment):
    write(".", {"wrong.py": WRONG})
    words = ["train", "gan", "--steps", 1, "--out", "run", "--batch-size", 4, "--set", "hidden=4"]
    message = error_of(capsys, *words, assignment)
    assert message.startswith(f"wrong.py: {RETURNED[assignment]}")


def test_a_loss_that_is_not_loaded_is_an_error(tmp_path):
    for name, value in (("loss", "my_loss.py:mine"), ("penalty", "my_penalty.py:level")):
        settings = recipes.find("gan").settings().updated({name: value})
        message = message_of(Algorithm, recipes.find("gan"), settings, data.load("digits"))
        assert message.startswith(f"setting {name}={value}: the file is not loaded")


# Imports


def test_programs_with_files_of_the_same_name_do_not_meet():
    for folder in "ab":
        write(
            folder,
            {
                "main.py": "from __future__ import annotations\n"
                "import helper, part.of.all as whole\nimport part\n"
                "from part import of as again\nimport dataclasses\n"
                "@dataclasses.dataclass\nclass Data:\n    x: dataclasses.InitVar[int] = 1\n"
                "    y: int = 2\n"
                "def late():\n    import later\n    from part.of import later as other\n"
                "    return later.name + other.name\n",
                "helper.py": f"name = {folder!r}\n",
                "later.py": f"import helper, main\nname = helper.name + {folder!r}\n",
                "part/__init__.py": "",
                "part/of/__init__.py": "from ..of.all import name\n",
                "part/of/all.py": f"import helper\nname = helper.name\nrandom = {folder!r}\n",
                "part/of/later.py": "from helper import name\nfrom .all import random as r\n",
                "part/random.py": "",
            },
        )
    paths, finders = [*sys.path], len(sys.meta_path)
    modules = [own_code.read(f"{folder}/main.py").module() for folder in "ab"]
    for folder, module in zip("ab", modules):
        files.remove(f"{folder}/later.py")  # it has been read
        assert module.helper.name == module.whole.name == module.again.name == folder
        assert module.part.of.all is module.whole and module.late() == folder * 3
        assert module.Data(1).y == 2 and pickle.loads(pickle.dumps(module.Data(1))).y == 2
        assert module.__file__ == f"{folder}/main.py" and "b/main.py" not in sys.modules
    assert "helper" not in sys.modules and "later" not in sys.modules
    assert sys.path == paths and len(sys.meta_path) <= finders + 1
    names = {"main.py", "helper.py", "later.py", "part/__init__.py", "part/of/__init__.py"}
    assert {*own_code.read("b/main.py").files} >= names - {"later.py"} | {"part/of/later.py"}


def test_nothing_is_left_of_a_program_that_fails():
    write(".", {"main.py": "import helper\n1 / 0", "helper.py": ""})
    before = {*sys.modules}
    message_of(own_code.read("main.py").module)
    assert {*sys.modules} <= before


def test_an_own_module_hides_no_installed_one_from_other_code():
    write(".", {"main.py": "import tqdm.std, mpmath\nimport wave\n", "mpmath.py": "mine = 1\n"})
    module = own_code.read("main.py").module()
    assert module.mpmath.mine == 1  # the file beside it comes first, as for a script
    import wave

    import mpmath

    assert not hasattr(mpmath, "mine") and module.wave is wave


def test_a_file_may_be_in_a_checkout_of_tinygan(trace):
    """Where a folder named tinygan lies beside it."""
    write(".", {"main.py": "import tinygan.nn\n", "tinygan/__init__.py": TRACE})
    source = own_code.read("main.py")
    assert source.module().tinygan is sys.modules["tinygan"]
    assert source.files.keys() == {"main.py"} and not executed(trace)


@pytest.mark.parametrize("name", ["my model.py", "my-model.v2.py", "модель.py", "json.py"])
def test_a_main_file_may_have_any_name(name):
    write(".", {**FILES, name: FILES["my_model.py"] + "import json\njson.dumps({})\n"})
    new_run(name, out="run", settings={"steps": 1}).run(progress=False)
    load_generator("run", trust=True)
    Path(name).rename("renamed.py")
    load_generator("run", model="renamed.py")


def test_a_main_file_may_be_a_link():
    write("elsewhere", FILES)
    Path("here.py").symlink_to("elsewhere/my_model.py")
    new_run("here.py", out="run", settings={"steps": 1}).run(progress=False)
    load_generator("run", model="elsewhere/my_model.py")


@pytest.mark.parametrize("name", ["my:model.py", "a\nb.py", "a" * 120 + ".py"])
def test_a_name_that_no_run_can_keep_is_refused(name):
    write(".", {name: ""})
    assert "rename this file" in message_of(new_run, name)


# Penalties, and files of a run


KINDS_OF_PENALTY = {
    "logits": "lambda real, fake: square(mean(real))",
    "reals": "lambda D, reals: mean(square(D(reals)))",
    "fakes": "lambda D, fakes: mean(square(D(fakes)))",
    "between": "lambda D, reals, fakes: mean(square(D(reals) - D(fakes)))",
    "seen reals": "lambda D, reals, logits: mean(square(D(-reals) - logits))",
    "seen fakes": "lambda D, fakes, logits: mean(square(D(-fakes) - logits))",
    "latents": "lambda G, z: mean(square(G(z)))",
    "styles": "lambda synthesis, ws: mean(square(synthesis(ws)))",
    "network": "lambda network: sum(mean(square(p)) for p in network.parameters())",
    "weights": "lambda parameters, limit: [p.assign(p.data * 0.9) for p in parameters]",
}


@pytest.mark.parametrize("kind", APPLIED_TO)
def test_an_own_penalty_of_every_kind_is_applied(kind):
    head = "from tinygan.gan.penalties import Penalty\nfrom tinygan.ops import mean, square\n"
    entry = f"own = Penalty('own', {KINDS_OF_PENALTY[kind]}, applied_to={kind!r})\n"
    write(".", {"my_penalty.py": head + entry})
    small = {"batch_size": 4, "steps": 2}
    if kind == "styles":
        small |= {"g_channels": 2, "d_channels": 2, "max_channels": 4, "style": 4, "latent": 4}
        small |= {"mapping_layers": 1}
    else:
        small |= {"hidden": 4}
    recipe, weights = "stylegan2" if kind == "styles" else "gan", {}
    for weight in (0, 0.001):
        changes = {"penalty": "my_penalty.py:own", "penalty_weight": weight, "penalty_every": 2}
        algorithm = new_run(recipe, settings=small | changes, with_folder=False).algorithm
        names = algorithm.train_step().keys()
        networks = (algorithm.G, algorithm.D)
        weights[weight] = [p.data for network in networks for p in network.parameters()]
        assert ("own_penalty" in names) == (
            weight and kind in (*penalties.IMAGES, *penalties.SEEN, *penalties.LATENTS)
        )
    assert any((a != b).any() for a, b in zip(*weights.values()))


def test_a_continued_run_may_change_its_loss_and_its_penalty(trace):
    """Also to others in a file of the same name, and to those of tinygan and back."""
    write(".", {"my_loss.py": LOSS, "my_penalty.py": PENALTY})
    level, other = "my_penalty.py:level", "my_penalty.py:logits"
    small = {"hidden": 2, "batch_size": 2, "latent": 2, "steps": 1}
    new_run("gan", out="run", settings=small | {"loss": "my_loss.py:mine", "penalty": level}).run(
        progress=False
    )
    for steps, file, changes in (
        (2, "my_loss.py", {"loss": "my_loss.py:mine"}),
        (3, "my_penalty.py", {"penalty": level}),
        (4, "my_penalty.py", {"penalty": other}),
        (5, "my_penalty.py", {"penalty": level, "penalty_weight": "linear:1:0.5"}),
        (6, None, {"loss": "hinge", "penalty": "", "penalty_weight": 1}),
        (7, None, {"penalty": level}),
    ):
        if file:
            Path(file).write_text(Path(file).read_text() + "#")
        trainer = continued_run("run", {"steps": steps, **changes}, trust=True)
        trainer.run(progress=False)
        config = config_of(Path("run"))
        assert config["history"][-1]["step"] == steps - 1
        for role, entry in config.get("code", {}).items():
            for name, digest in entry["files"].items():
                copy = Path("run", "code", role, name).read_bytes()
                assert hashlib.sha256(copy).hexdigest() == digest
        assert config.get("code", {}).keys() == {
            role for role in ("loss", "penalty") if ".py:" in config["settings"][role]
        }
    assert config["code"].keys() == {"penalty"}


def test_weights_of_a_run_with_its_own_model_need_no_code(run, trace):
    new_run(
        "gan",
        out="other",
        init_from=run,
        settings={"hidden": 4, "layers": 1, "latent": 4, "batch_size": 2},
    )
    assert not executed(trace)


def test_the_fields_of_an_own_penalty_are_filled_in():
    entry = own_penalty.complete(
        Penalty("mine", lambda G, z, state: (z, state), applied_to="latents", state="s")
    )
    assert entry.trains == "G" and entry.lazy and entry.name == "penalty_weight"
    assert entry.logged_as == ("own_penalty", "own_penalty_state")
    assert entry.state == "own_penalty_state"  # which no other number in a checkpoint is called
    entry = own_penalty.complete(Penalty("mine", lambda network: 0, applied_to="network"))
    assert (entry.trains, entry.lazy, entry.logged_as) == ("DG", False, ())


def test_a_value_from_a_file_is_text():
    write_all()
    part = own_code.load_part("loss", "my_loss.py:mine")
    settings = Settings().updated({"loss": part})
    assert settings.loss == "my_loss.py:mine" and isinstance(settings.loss, FromFile)
    assert isinstance(settings.updated({"lr": 1}).loss, FromFile)
    assert json.loads(json.dumps(dataclasses.asdict(settings)))["loss"] == "my_loss.py:mine"
    assert copy.deepcopy(settings).loss is part


@pytest.mark.parametrize("stop", [1, 2, 6])
def test_a_start_that_was_killed_can_be_repeated_and_continued(monkeypatch, stop):
    """At each file that it writes."""
    write_all()
    replace, count = files.replacing, 0

    def killed(path, *args, **settings):
        nonlocal count
        count += 1
        if count == stop:
            write(Path(path).parent, {".tinygan-999999999-0123456789abcdef.tmp": "half"})
            raise KeyboardInterrupt
        return replace(path, *args, **settings)

    start = lambda: new_run("my_model.py", out="run", settings=dict(a.split("=") for a in OWN))
    for place in (files, own_code):
        monkeypatch.setattr(place, "replacing", killed)
    with pytest.raises(KeyboardInterrupt):
        start()
        count = stop  # all files are written
        raise KeyboardInterrupt
    for place in (files, own_code):
        monkeypatch.setattr(place, "replacing", replace)
    shutil.copytree("run", "copied")
    start().run(progress=False)
    if Path("copied/config.json").exists():
        again = {"model": "my_model.py", "settings": dict(a.split("=") for a in OWN)}
        continued_run("copied", **again).run(progress=False)
        for path in checkpoint.checkpoints("run"):
            assert path.read_bytes() == Path("copied", path.name).read_bytes()
        for folder in ("run", "copied"):
            continued = {path.name for path in Path(folder, "code").rglob("*") if path.is_file()}
            assert continued == {
                Path(name).name for name in (*FILES, "my_loss.py", "my_penalty.py")
            }


def test_a_folder_with_other_code_is_not_written_to():
    write_all()
    write("mine", {"code/recipe/my_model.py": "the user's own"})
    assert "is not empty" in message_of(new_run, "my_model.py", out="mine")
    assert Path("mine/code/recipe/my_model.py").read_text() == "the user's own"


# The guide


def test_the_model_of_the_guide_is_trained_continued_and_sampled(capsys):
    title = '"""A GAN of my own'
    (model,) = [code for _, code in blocks("tinygan/README.md") if code.startswith(title)]
    assert len(model.splitlines()) <= 40
    parts = {name: own_file(name) for name in ("my_losses.py", "my_penalties.py")}
    write(".", {"my_model.py": model, **parts})
    own = ["loss=my_losses.py:centred", "penalty=my_penalties.py:one_sided"]
    small = ["width=2", "batch_size=4", "checkpoint_every=2"]
    words = ["my_model.py", "--steps", "9", "--out", "run", "--set", *small, *own]
    assert main(["train", *words]) == 0
    again = ["--model", "my_model.py"]
    assert main(["train", "--resume", "run", *again, "--steps", "12", "--set", *own]) == 0
    assert main(["sample", "run", *again, "-o", "a.npz"]) == 0
    assert main(["sample", "run", "--trust", "-o", "b.npz"]) == 0
    with np.load("a.npz") as a, np.load("b.npz") as b:
        assert a["images"].shape == (64, 28, 28, 1) and (a["images"] == b["images"]).all()
    capsys.readouterr()
    assert main(["show", "my_model.py"]) == 0 and "ConvTranspose2d" in capsys.readouterr().out


def test_the_shared_loss_of_the_guide_is_trained_and_continued():
    write(".", {"my_codes.py": own_file("my_codes.py")})
    small = ["g_channels=2", "d_channels=2", "batch_size=4", "checkpoint_every=2"]
    again = ["train", "--resume", "run", "--model", "my_codes.py", "--steps", "10"]
    assert main(["train", "my_codes.py", "--steps", "10", "--out", "whole", "--set", *small]) == 0
    assert main(["train", "my_codes.py", "--steps", "4", "--out", "run", "--set", *small]) == 0
    assert main(again) == 0
    name = "checkpoint-00000010.npz"
    assert Path("run", name).read_bytes() == Path("whole", name).read_bytes()
    rows = list(log.rows(Path("whole")))
    assert all(row["d_first_loss"] > 0 and row["g_first_loss"] > 0 for row in rows)
