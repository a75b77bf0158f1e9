"""Tests of the promises of a run: it never loses work, resumes exactly, reports errors, and has its
folder to itself."""

import ast
import errno
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import flat
import numpy as np
import pytest
import stress
from hypothesis import given
from hypothesis import strategies as st
from test_training import SMALL, resume, start

import tinygan
from tinygan import data, files, ops
from tinygan.backend import on_cpu
from tinygan.cli import main
from tinygan.errors import Diverged, InputError, Interrupted
from tinygan.files import checkpoint, npz
from tinygan.gan import losses
from tinygan.training import health
from tinygan.training import trainer as trainer_module
from tinygan.training.sampling import load_generator


@pytest.fixture(scope="module")
def digits():
    full = data.load("digits")
    return data.Dataset("digits", "train", full.images[:200], full.labels[:200], full.class_names)


TINY = {"g_channels": 2, "d_channels": 2, "batch_size": 4}


# A run that is killed at any moment resumes exactly


@pytest.mark.cpu
def test_a_killed_and_resumed_run_writes_the_same_bytes(capsys):
    assert stress.main(["gan", "--kills", "1", "--steps", "16"]) == 0
    assert "the same bytes (2 rows" in capsys.readouterr().out


@pytest.mark.cpu
def test_a_failed_resume_ends_the_stress_test(tmp_path, monkeypatch):
    begin = stress.start
    monkeypatch.setattr(
        stress,
        "start",
        lambda argv, threads: begin([sys.executable, "-c", "raise SystemExit(2)"], threads),
    )
    with pytest.raises(SystemExit, match="exit code 2"):
        stress.killed_run("gan", tmp_path, 40, 20, 3, stress.random.Random(0))


@pytest.mark.slow
@pytest.mark.parametrize("argv", [[], ["--full", "dcgan"]])
@pytest.mark.skipif(
    not os.path.exists("/proc/self/statm"), reason="reads the memory of a process from Linux"
)
def test_the_memory_of_a_long_run_stays_constant(argv):
    assert flat.main(argv) == 0


@pytest.mark.slow
def test_every_recipe_resumes_exactly_after_kills():
    assert stress.main([]) == 0


@pytest.mark.cpu
def test_the_comparison_of_runs_finds_differences(tmp_path):
    for name, text in (("a", "1"), ("b", "2")):
        (tmp_path / name / "samples").mkdir(parents=True)
        (tmp_path / name / "log.jsonl").write_text(text)
        (tmp_path / name / "time.jsonl").write_text(text)
        (tmp_path / name / f"{name}.png").write_text("")
    found = stress.differences(tmp_path / "a", tmp_path / "b")
    assert sorted(found) == ["a.png: is missing", "b.png: should not exist", "log.jsonl: differs"]


@pytest.mark.cpu
def test_a_run_killed_before_its_first_checkpoint_begins_again(tmp_path, digits):
    start(tmp_path / "a", digits, **TINY).run(progress=False)
    trainer = start(tmp_path / "b", digits, **TINY)
    (tmp_path / "b" / "samples").mkdir()
    (tmp_path / "b" / "samples" / "step-00000005.png").write_bytes(b"half")
    (tmp_path / "b" / "log.jsonl").write_text('{"step": 3}\n')
    resume(tmp_path / "b", digits).run(progress=False)
    assert stress.differences(tmp_path / "a", tmp_path / "b") == []
    with pytest.raises(InputError, match="no checkpoint yet"):
        shutil.copy(tmp_path / "a" / "config.json", tmp_path / "config.json")
        load_generator(tmp_path)
    assert trainer.step == 0


def generators(thing, seen):
    """Yield every np.random.Generator that can be reached from an object of tinygan."""
    if id(thing) in seen:
        return
    seen[id(thing)] = thing
    if isinstance(thing, np.random.Generator):
        yield thing
    elif isinstance(thing, dict):
        for value in thing.values():
            yield from generators(value, seen)
    elif isinstance(thing, (list, tuple, set)):
        for value in thing:
            yield from generators(value, seen)
    elif isinstance(thing, functools.partial):
        yield from generators(thing.args, seen)
    elif callable(thing) and getattr(thing, "__closure__", None):
        yield from generators(
            [cell.cell_contents for cell in thing.__closure__ if cell != type(cell)()], seen
        )
    elif type(thing).__module__.startswith("tinygan") and hasattr(thing, "__dict__"):
        yield from generators(vars(thing), seen)


@pytest.mark.parametrize("recipe", SMALL)
def test_the_state_of_every_generator_is_in_the_checkpoint(tmp_path, digits, recipe):
    trainer = start(tmp_path / "a", digits, recipe, augment="ada", batch_size=8, steps=2)
    trainer.algorithm.train_step()
    found = list(generators(vars(trainer), {}))
    saved = [trainer.algorithm.rng, trainer.algorithm.augment.rng]
    # The averaged G is a copy, with generators of its own. It must not draw from them when it
    # generates images.
    copies = list(generators(trainer.algorithm.ema.module, {}))
    assert all(any(g is s for s in saved + copies) for g in found) and all(
        any(s is g for g in found) for s in saved
    )
    before = [str(g.bit_generator.state) for g in copies]
    (trainer.out / "samples").mkdir(exist_ok=True)
    trainer.write_grid()
    assert before == [str(g.bit_generator.state) for g in copies]


# Checkpoints are complete or absent


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a small checkpoint."""
    path = tmp_path_factory.mktemp("whole") / "checkpoint-00000003.npz"
    rng = np.random.default_rng(0)
    checkpoint.write(
        path,
        {
            "G": {"w": rng.standard_normal((3, 4), np.float32), "b": np.zeros(0)},
            "D": {"n": np.array(3)},
        },
        {"step": 3, "text": "é"},
    )
    return path.read_bytes()


def loaded(path, content):
    path.write_bytes(content)
    try:
        return checkpoint.load(path)
    except InputError as error:
        assert "\n" not in str(error) and str(path) in str(error)
        return None


def same(a, b):
    return a[1] == b[1] and all(
        np.array_equal(a[0][part][name], value)
        for part in b[0]
        for name, value in b[0][part].items()
    )


@pytest.mark.cpu
@given(st.data())
def test_a_damaged_checkpoint_is_never_taken_for_an_intact_one(tmp_path_factory, whole, data):
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    right = loaded(path, whole)
    for _ in range(25):
        damaged = bytearray(whole)
        kind = data.draw(st.sampled_from(["flip", "cut", "insert", "swap"]))
        at = data.draw(st.integers(0, len(whole) - 1))
        if kind == "flip":
            damaged[at] ^= data.draw(st.integers(1, 255))
        elif kind == "cut":
            del damaged[at : at + data.draw(st.sampled_from([1, 4, len(whole)]))]
        elif kind == "insert":
            damaged[at:at] = data.draw(st.binary(min_size=1, max_size=8))
        else:
            other = data.draw(st.integers(0, len(whole) - 8))
            here, there = slice(at, at + 8), slice(other, other + 8)
            damaged[here], damaged[there] = damaged[there], damaged[here]
        found = loaded(path, bytes(damaged))
        # The contents are the same if the damage is in a field that nobody reads, such as a date.
        assert found is None or same(found, right), (kind, at)


@pytest.mark.cpu
@given(st.binary(max_size=300))
def test_random_bytes_are_no_checkpoint(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "nonsense.npz"
    assert loaded(path, content) is None and loaded(path, b"PK\x03\x04" + content) is None


@pytest.mark.cpu
def test_a_checkpoint_that_claims_more_than_it_contains_takes_no_memory(tmp_path):
    import tracemalloc
    import zipfile

    def write(name, header, content=b"", how=zipfile.ZIP_STORED):
        with zipfile.ZipFile(tmp_path / name, "w", how) as file:
            file.writestr(
                "meta.npy", npz.MAGIC + len(header).to_bytes(2, "little") + header + content
            )

    write(
        "huge.npz",
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (100000000000,), }\n",
        bytes(8),
    )
    write(
        "bomb.npz",
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (50000000,), }\n",
        bytes(50_000_000),
        zipfile.ZIP_DEFLATED,
    )
    write(
        "object.npz",
        b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n",
        b"cos\nsystem\n(S'id'\ntR.",
    )
    for name, reason in (
        ("huge.npz", "8 bytes"),
        ("bomb.npz", "more than it does"),
        ("object.npz", "not an array of numbers"),
    ):
        tracemalloc.start()
        with pytest.raises(InputError, match=reason):
            checkpoint.load(tmp_path / name)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2 * (tmp_path / name).stat().st_size + 100_000


@pytest.mark.cpu
@pytest.mark.parametrize("dtype", [b"'<f5'", b"'|u9'", b"'<i3'", b"'|b7'"])
def test_a_nonexistent_type_counts_as_damage(tmp_path, dtype):
    """The array is so large that its header is read before zipfile checks its own checksum."""
    path = tmp_path / "a.npz"
    checkpoint.write(path, {"G": {"w": np.zeros((300, 40), np.float32)}}, {"step": 1})
    content = path.read_bytes()
    assert content.count(b"'<f4'") == 1
    assert loaded(path, content.replace(b"'<f4'", dtype)) is None


@pytest.mark.cpu
def test_a_copy_of_a_checkpoint_is_not_the_newest_checkpoint(tmp_path, digits):
    start(tmp_path / "a", digits, **TINY).run(progress=False)
    older, newer = checkpoint.checkpoints(tmp_path / "a")
    for name in ("checkpoint-good.npz", "checkpoint-00000010-copy.npz", "checkpoint-.npz"):
        shutil.copy(older, tmp_path / "a" / name)
    assert (
        checkpoint.open_run(tmp_path / "a").path == newer
        and checkpoint.last_step(tmp_path / "a") == 12
    )
    resume(tmp_path / "a", digits, steps=20).run(progress=False)
    assert [path.name[-6:-4] for path in checkpoint.checkpoints(tmp_path / "a")] == ["15", "20"]
    assert (tmp_path / "a" / "checkpoint-good.npz").exists()


@pytest.mark.cpu
def test_loading_a_checkpoint_takes_its_size_in_memory(tmp_path):
    import tracemalloc

    checkpoint.write(
        tmp_path / "a.npz", {"G": {"w": np.zeros((5000, 1000), np.float32)}}, {"step": 1}
    )
    tracemalloc.start()
    checkpoint.load(tmp_path / "a.npz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * (tmp_path / "a.npz").stat().st_size


META = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def intact(tmp_path_factory, digits):
    out = tmp_path_factory.mktemp("intact") / "a"
    start(out, digits, steps=3, **TINY).run(progress=False)
    return checkpoint.open_run(out), resume_target(out, digits)


def resume_target(out, digits):
    from tinygan.training import recipes

    recipe = recipes.find("dcgan")
    settings = recipe.settings().updated(json.loads((out / "config.json").read_text())["settings"])
    return trainer_module.Trainer(recipe, settings.updated({"steps": 9}), digits, out)


@pytest.mark.cpu
@given(st.integers(0, 99), st.integers(-1, 9), META)
def test_a_checkpoint_with_other_contents_is_reported_in_one_line(intact, key, inner, value):
    run, trainer = intact
    keys = sorted(run.meta.keys() - {"step"})  # checkpoint.load has checked that step is an int
    key = keys[key % len(keys)]
    original = run.meta[key]
    if isinstance(original, dict) and inner >= 0:
        value = {**original, sorted(original)[inner % len(original)]: value}
    meta = {**run.meta, key: value}
    try:
        trainer.resume(run._replace(meta=meta))
    except InputError as error:
        assert str(run.path) in str(error) and "\n" not in str(error)


@pytest.mark.cpu
@pytest.mark.parametrize("part", ["G", "D", "ema", "g_optimizer", "d_optimizer", "fixed"])
def test_a_checkpoint_that_lacks_a_part_is_reported_in_one_line(intact, part):
    run, trainer = intact
    states = {name: state for name, state in run.states.items() if name != part}
    for changed in (states, {**states, part: {"x": np.zeros(3)}}):
        with pytest.raises(InputError, match="does not fit this run's config.json"):
            trainer.resume(run._replace(states=changed))


@pytest.mark.cpu
def test_the_last_k_checkpoints_are_kept(tmp_path, digits):
    start(tmp_path / "a", digits, checkpoint_every=2, keep=3, **TINY).run(progress=False)
    assert [p.name[-6:-4] for p in checkpoint.checkpoints(tmp_path / "a")] == ["08", "10", "12"]


@pytest.mark.cpu
def test_a_damaged_newest_checkpoint_is_reported_and_the_one_before_it_used(
    tmp_path, digits, capsys
):
    start(tmp_path / "a", digits, **TINY).run(progress=False)
    start(tmp_path / "b", digits, **TINY).run(progress=False)
    older, newer = checkpoint.checkpoints(tmp_path / "b")
    content = bytearray(newer.read_bytes())
    content[len(content) // 2] ^= 1  # a single bit
    newer.write_bytes(content)
    assert load_generator(tmp_path / "b")[2] == older
    resume(tmp_path / "b", digits).run(progress=False)
    err = capsys.readouterr().err
    assert err.count(f"warning: {newer} is not a checkpoint of tinygan, or is damaged") == 2
    unused = newer.with_suffix(".unused.npz")  # it is kept, since somebody might repair it
    assert f"{newer} is no longer used, and is kept as {unused.name}" in err
    assert err.count("\n") == 3 and unused.read_bytes() == content
    unused.unlink()
    assert stress.differences(tmp_path / "a", tmp_path / "b") == []
    for path in checkpoint.checkpoints(tmp_path / "b"):
        path.write_bytes(b"x")
    # If no checkpoint is left, the run must not silently begin again.
    with pytest.raises(InputError, match=f"{older.name} is not a checkpoint"):
        resume(tmp_path / "b", digits)


@pytest.mark.cpu
@pytest.mark.parametrize("command", ["sample RUN -o a.png", "train --resume RUN", "eval RUN"])
def test_a_checkpoint_that_does_not_exist_is_named_with_those_that_do(
    tmp_path, digits, capsys, command
):
    trainer = start(tmp_path / "a", digits, **TINY)
    trainer.run(progress=False)
    command = command.replace("a.png", str(tmp_path / "a.png"))
    absent = trainer.out / "checkpoint-00000099.npz"
    assert main(command.replace("RUN", str(absent)).split()) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    names = ", ".join(checkpoint.names(trainer.out))
    assert line == (
        f"tinygan: error: {absent} does not exist: give {trainer.out} for its latest checkpoint, "
        f"or one of {names}"
    )


@pytest.mark.cpu
@pytest.mark.parametrize(
    "what, number, advice",
    [
        ("npz.write", errno.ENOSPC, "make room"),
        ("log.json.dumps", errno.EROFS, "choose another folder"),
        ("plots.save_image", errno.ENOSPC, "make room"),
    ],
)
def test_a_full_or_read_only_disk_does_not_damage_existing_files(
    tmp_path, digits, monkeypatch, what, number, advice
):
    trainer = start(tmp_path / "a", digits, steps=20, checkpoint_every=10, **TINY)
    whole = {}

    def fails(*args, **settings):
        if trainer.step < 11:
            return original(*args, **settings)
        whole.update(stress.contents(tmp_path / "a"))
        if what == "npz.write":
            args[0].write(b"half a file")
        raise OSError(number, os.strerror(number))

    module, _, name = what.rpartition(".")
    owner = {"npz": npz, "log.json": trainer_module.log.json, "plots": trainer_module.plots}[module]
    original = getattr(owner, name)
    monkeypatch.setattr(owner, name, fails)
    message = f"cannot write .*{os.strerror(number)} .{advice}"
    expected = (OSError, None) if what == "plots.save_image" else (InputError, message)
    with pytest.raises(expected[0], match=expected[1]):
        trainer.run(progress=False)
    monkeypatch.undo()
    left = stress.contents(tmp_path / "a")
    # The step is saved first, unless the checkpoint is what could not be written.
    saved = left.pop("checkpoint-00000015.npz", None)
    assert (saved is not None) == (what == "plots.save_image")
    assert left == whole and not list((tmp_path / "a").rglob(".*"))
    start(tmp_path / "b", digits, steps=20, checkpoint_every=10, **TINY).run(progress=False)
    resume(tmp_path / "a", digits).run(progress=False)
    # The last two checkpoints are kept, and the saved step is the first of them.
    missing = ["checkpoint-00000010.npz: is missing"] if saved else []
    assert stress.differences(tmp_path / "b", tmp_path / "a") == missing


@pytest.mark.cpu
@pytest.mark.skipif(
    not os.path.exists("/dev/full"), reason="the system has no device that is always full"
)
def test_a_log_that_does_not_fit_on_the_disk_is_reported(tmp_path, digits, monkeypatch):
    """Closing the log writes its buffer again. That error must not replace the first one."""
    trainer = start(tmp_path / "a", digits, steps=12, **TINY)
    full = lambda path, flags: os.open("/dev/full", os.O_WRONLY)
    open_full = lambda path, mode: open(path, mode, opener=full)
    monkeypatch.setattr(trainer_module.log, "open_file", open_full)
    trainer.settings.checkpoint_every = 100
    with pytest.raises(
        InputError, match="cannot write .*log.jsonl: No space left on device .make room"
    ):
        trainer.run(progress=False)


@pytest.mark.cpu
@pytest.mark.skipif(sys.platform == "win32", reason="the system has no limit on the size of files")
def test_a_limit_on_the_size_of_files_is_reported_in_one_line(tmp_path):
    """The system stops the writing in the middle of a checkpoint, as on a full disk."""
    code = (
        "import resource, sys\n"
        "from tinygan.cli import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    argv = "train gan --steps 30 --batch-size 4 --set hidden=100 --out".split()
    argv.append(str(tmp_path / "a"))
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert (
        last.startswith("tinygan: error: cannot write")
        and "checkpoint-00000030.npz: File too large" in last
    )
    assert f"continue from step 0 with: tinygan train --resume {tmp_path / 'a'}" in last
    assert not list((tmp_path / "a").rglob(".*")) and (tmp_path / "a" / "curves.png").exists()


@pytest.mark.cpu
def test_a_folder_that_vanishes_is_reported_in_one_line(tmp_path, digits, capsys):
    trainer = start(tmp_path / "a", digits, steps=30, **TINY)
    one_step = trainer.algorithm.train_step

    def vanish():
        if trainer.step == 7:
            shutil.rmtree(tmp_path / "a")
        return one_step()

    trainer.algorithm.train_step = vanish
    with pytest.raises(
        InputError,
        match="cannot write .*step-00000010.png: No such file or directory .its folder has gone",
    ):
        trainer.run(progress=False)
    assert not (tmp_path / "a").exists()


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write to any folder"
)
def test_a_folder_without_write_permission_is_reported(tmp_path, digits):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="Permission denied .choose another folder"):
        start(tmp_path / "a", digits)


def unsafe(syntax):
    """Yield all calls and imports in a file that could execute the data that it reads: pickles,
    eval, exec, os.system, shells."""
    modules = {"pickle", "cPickle", "dill", "marshal", "shelve", "joblib", "cloudpickle"}
    for node in ast.walk(syntax):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = {alias.name.split(".")[0] for alias in node.names} | {
                (getattr(node, "module", "") or "").split(".")[0]
            }
            yield from names & modules
        elif isinstance(node, ast.Call):
            function = ast.unparse(node.func)
            settings = {k.arg: ast.unparse(k.value) for k in node.keywords}
            if (
                function in ("eval", "exec", "compile", "__import__", "os.system", "os.popen")
                or settings.get("shell") == "True"
            ):
                yield function
            if (
                function in ("np.load", "numpy.load", "np.lib.format.read_array")
                and settings.get("allow_pickle") != "False"
            ):
                yield f"{function} without allow_pickle=False"
            if (
                function in ("np.save", "np.savez", "np.savez_compressed")
                and settings.get("allow_pickle", "False") != "False"
            ):
                yield f"{function} of objects"


@pytest.mark.cpu
def test_no_data_is_ever_executed():
    package = Path(tinygan.__file__).parent
    found = {
        (path.name, what)
        for path in package.rglob("*.py")
        for what in unsafe(ast.parse(path.read_text(encoding="utf-8")))
    }
    # Code of the user's own, which the user names or trusts: tests/test_own_code.py, and
    # tests/test_gradcheck_shell.py.
    files = "own_modules.py", "user_file.py"
    assert found == {(file, what) for file in files for what in ("compile", "exec")}
    planted = [
        "import pickle",
        "from pickle import loads",
        "eval(x)",
        "exec(x)",
        "np.load(f)",
        "np.load(f, allow_pickle=True)",
        "subprocess.run(x, shell=True)",
        "import os, marshal",
    ]
    assert all(list(unsafe(ast.parse(code))) for code in planted)
    assert not list(unsafe(ast.parse("G.eval(); np.load(f, allow_pickle=False); re.compile(x)")))


# Signals


def cli(out, *more):
    """Start a long training run in a process of its own."""
    argv = "train gan --steps 100000 --batch-size 4 --out".split()
    settings = ["hidden=8", "sample_every=2", "checkpoint_every=100000", *more]
    return subprocess.Popen(
        [sys.executable, "-m", "tinygan.cli", *argv, str(out), "--set", *settings],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(process, path):
    while not path.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


@pytest.mark.cpu
@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_finishes_the_step_writes_a_checkpoint_and_says_how_to_resume(
    tmp_path, number, code
):
    out = tmp_path / "run"
    process = cli(out)
    wait_for(process, out / "samples" / "step-00000004.png")
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    (path,) = checkpoint.checkpoints(out)
    step = checkpoint.load(path)[1]["step"]
    assert process.returncode == code and "Traceback" not in err
    assert (
        f"stopped at step {step}; continue from step {step} with: tinygan train --resume {out}"
        in err
    )
    assert not (out / "running").exists()


@pytest.mark.cpu
def test_a_second_signal_stops_at_once(tmp_path):
    """It comes in the middle of an evaluation that takes minutes, which the first signal does not
    interrupt."""
    out = tmp_path / "run"
    process = cli(out, "eval_every=4", "eval_images=100000", "checkpoint_every=2", "hidden=2048")
    wait_for(process, out / "checkpoint-00000002.npz")
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    for _ in range(5):  # two signals that come while NumPy computes count as one
        process.send_signal(signal.SIGINT)
        try:
            _, err = process.communicate(timeout=8)
            break
        except subprocess.TimeoutExpired:
            pass
    else:
        process.kill()
        pytest.fail(f"it does not stop: {process.communicate()}")
    assert process.returncode == 130 and "Traceback" not in err
    # It is step 3 if the signal came before the evaluation.
    assert re.search("continue from step [23] with:", err) and not list(out.rglob(".*"))


@pytest.mark.cpu
def test_a_signal_during_the_writing_of_a_checkpoint_is_not_lost(tmp_path, digits, monkeypatch):
    trainer = start(tmp_path / "a", digits, steps=30, **TINY)
    save = checkpoint.save

    def signalled(*args):
        path = save(*args)
        if trainer.step == 10:
            os.kill(os.getpid(), signal.SIGTERM)
        return path

    monkeypatch.setattr(checkpoint, "save", signalled)
    with pytest.raises(Interrupted) as caught:
        trainer.run(progress=False)
    assert caught.value.signal == signal.SIGTERM
    assert checkpoint.checkpoints(tmp_path / "a")[-1].name == "checkpoint-00000011.npz"


@pytest.mark.cpu
def test_a_run_works_on_a_system_without_sigusr1(tmp_path, digits, monkeypatch):
    monkeypatch.delattr(signal, "SIGUSR1")
    start(tmp_path / "a", digits, steps=1, **TINY).run(progress=False)


@pytest.mark.cpu
def test_half_written_files_are_removed_when_a_command_is_terminated(tmp_path, monkeypatch, capsys):
    def train(args):
        with files.replacing(tmp_path / "a.txt") as file:
            file.write(b"half")
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("tinygan.cli.train.run_train", train)
    assert main(["train"]) == 143 and capsys.readouterr().err == "tinygan: interrupted\n"
    assert not list(tmp_path.iterdir()) and signal.getsignal(signal.SIGTERM) is before


# Values that are not finite


def diverged(trainer):
    with pytest.raises(Diverged) as caught:
        trainer.run(progress=False)
    message = str(caught.value)
    assert "\n" not in message and "train anew with a smaller learning rate" in message
    for path in checkpoint.checkpoints(trainer.out):  # the good checkpoints are kept
        states, _ = checkpoint.load(path)
        assert (
            health.first_not_finite(
                {name: array for state in states.values() for name, array in state.items()}
            )
            is None
        )
    return message


def broken_loss(monkeypatch, trainer, generator):
    trainer.algorithm.objectives.loss = losses.Loss(losses.find("bce").discriminator, generator)


@pytest.mark.cpu
@pytest.mark.parametrize(
    "generator, message",
    [
        (
            lambda real, fake: ops.mean(ops.log(fake * 0.0)),
            "log produced inf in 4 of 4 values; called at the loss",
        ),
        (lambda real, fake: ops.mean(ops.sqrt(fake * 0.0)), "the derivative of sqrt produced inf"),
        (
            lambda real, fake: ops.sum(fake * 1e30) * 1e30,
            "mul produced inf in 1 of 1 values; called at the loss",
        ),
    ],
)
def test_the_error_names_the_op_that_returned_a_nan(
    tmp_path, digits, monkeypatch, generator, message
):
    # A recorded step would not notice that the loss is replaced in mid-run.
    monkeypatch.setattr("tinygan.recorded.enabled", False)
    trainer = start(tmp_path / "a", digits, steps=30, checkpoint_every=2, **TINY)
    one_step = trainer.algorithm.train_step

    def train_step():
        if trainer.step == 4:
            broken_loss(monkeypatch, trainer, generator)
        return one_step()

    trainer.algorithm.train_step = train_step
    found = diverged(trainer)
    assert found.startswith(f"step 5: {message}"), found
    assert checkpoint.checkpoints(tmp_path / "a")[-1].name == "checkpoint-00000004.npz"
    assert len(stress.contents(tmp_path / "a")["log.jsonl"]) == 0


@pytest.mark.parametrize("name", ["G", "D"])
def test_the_error_names_the_weight_that_is_nan(tmp_path, digits, name):
    trainer = start(tmp_path / "a", digits, steps=3, **TINY)
    path, parameter = getattr(trainer.algorithm, name).named_parameters()[3]
    parameter.data[...] = np.nan
    parameter.mark_changed()
    found = diverged(trainer)
    # On a GPU, losses are read some steps later, when the NaN has spread to other weights.
    assert (
        f"the weight {name}.{path} holds NaN" in found
        if on_cpu()
        else re.search(r"step 1: .* by now the weight .* holds NaN", found)
    )


def test_far_too_large_a_learning_rate_diverges_at_once(tmp_path, digits):
    found = diverged(start(tmp_path / "a", digits, steps=20, lr=1e30, **TINY))
    op = r"step 1: \w+ produced (inf|NaN) in \d+ of \d+ values; called at D\.main\.\d"
    assert re.match(op, found) or "and by now" in found
    assert checkpoint.checkpoints(tmp_path / "a") == []


def test_a_nan_of_g_is_not_attributed_to_d(tmp_path, digits):
    trainer = start(tmp_path / "a", digits, "quick", steps=3, **TINY)
    for parameter in trainer.algorithm.G.parameters():
        parameter.data[...] *= 1e25
        parameter.mark_changed()
    found = diverged(trainer)
    assert re.search(r"called at G\.|holds" if on_cpu() else "holds|is nan|is inf", found), found


def test_equal_images_are_no_divergence(tmp_path, digits):
    black = data.Dataset(
        "digits", "train", np.zeros_like(digits.images), digits.labels, digits.class_names
    )
    start(tmp_path / "a", black, steps=2, **TINY).run(progress=False)


@pytest.mark.cpu
def test_a_g_with_a_nan_is_never_the_best(tmp_path, digits):
    trainer = start(tmp_path / "a", digits, steps=10, eval_every=5, eval_images=100, **TINY)
    one_step = trainer.algorithm.train_step

    def train_step():
        numbers = one_step()
        if trainer.step == 5:
            trainer.algorithm.ema.module.parameters()[0].data[...] = np.nan
        return numbers

    trainer.algorithm.train_step = train_step
    assert (
        diverged(trainer).startswith("step 5: ema/") and not (tmp_path / "a" / "best.npz").exists()
    )
    assert not (tmp_path / "a" / "eval.jsonl").exists()


def test_a_nan_that_no_loss_shows_is_not_saved(tmp_path, digits):
    """A NaN in the average, or in an optimiser, would otherwise show only in the samples."""
    trainer = start(tmp_path / "a", digits, steps=30, checkpoint_every=5, **TINY)
    one_step = trainer.algorithm.train_step

    def train_step():
        numbers = one_step()
        if trainer.step == 8:
            trainer.algorithm.ema.module.parameters()[0].data[...] = np.inf
        return numbers

    trainer.algorithm.train_step = train_step
    trainer.settings.sample_every = 1000
    found = diverged(trainer)
    path, _ = trainer.algorithm.G.named_parameters()[0]
    assert (
        found.startswith(f"step 10: ema/{path} holds ")
        and checkpoint.checkpoints(tmp_path / "a")[-1].name[-6:-4] == "05"
    )


# Signs of collapse

HEALTHY = {"d_accuracy": 0.8, "variety": 0.9, "g_grad_norm": 1.0}
PATIENCE = health.CollapseWarnings.PATIENCE


@pytest.mark.cpu
@pytest.mark.parametrize(
    "change, words",
    [
        ({"d_accuracy": 1.0}, "D has told all reals from all fakes for 500 steps"),
        ({"d_accuracy": 0.0}, "D has been wrong about all images for 500 steps"),
        ({"variety": 0.1}, "the images of G have varied less than a quarter as much"),
        ({"g_grad_norm": 1e-4}, "G's gradient has been almost zero for 500 steps"),
    ],
)
def test_each_sign_of_collapse_gives_one_warning(change, words):
    warnings_for = health.CollapseWarnings(has_threshold=True, every=10)
    assert not any(warnings_for(HEALTHY) for _ in range(PATIENCE))
    assert not any(warnings_for({**HEALTHY, **change}) for _ in range(PATIENCE - 1))
    assert not warnings_for(HEALTHY)  # the streak was too short
    warnings = [
        warning for _ in range(3 * PATIENCE) for warning in warnings_for({**HEALTHY, **change})
    ]
    assert len(warnings) == 1 and warnings[0].startswith(words)


@pytest.mark.cpu
def test_a_gradient_that_vanishes_from_the_start_gives_a_warning_but_a_large_first_one_does_not():
    warnings_for = health.CollapseWarnings(has_threshold=True, every=10)
    assert sum(len(warnings_for({**HEALTHY, "g_grad_norm": 1e-6})) for _ in range(PATIENCE)) == 1
    # StyleGAN's norms: 1484 in the first steps, then .14.
    warnings_for = health.CollapseWarnings(has_threshold=True, every=10)
    warnings_for({**HEALTHY, "g_grad_norm": 1484.0})
    assert not any(warnings_for({**HEALTHY, "g_grad_norm": 0.14}) for _ in range(3 * PATIENCE))


@pytest.mark.cpu
def test_a_row_of_an_older_version_gives_no_warning():
    assert health.CollapseWarnings(has_threshold=True, every=10)({"step": 3}) == []


@pytest.mark.cpu
def test_images_that_begin_to_vary_late_are_no_collapse():
    warnings_for = health.CollapseWarnings(has_threshold=True, every=10)
    assert not any(warnings_for({**HEALTHY, "variety": 0.1}) for _ in range(4 * PATIENCE - 1))
    assert "for 2000 steps" in warnings_for({**HEALTHY, "variety": 0.1})[0]


@pytest.mark.cpu
def test_a_critic_may_tell_all_reals_from_all_fakes():
    warnings_for = health.CollapseWarnings(has_threshold=False, every=10)
    assert not any(warnings_for({**HEALTHY, "d_accuracy": 1.0}) for _ in range(2 * PATIENCE))


@pytest.mark.cpu
def test_a_collapse_is_reported_once_in_the_log_and_on_the_screen(
    tmp_path, digits, monkeypatch, capsys
):
    """Also if the run was resumed in between."""
    monkeypatch.setattr(health.CollapseWarnings, "PATIENCE", 2)

    def collapsing(trainer):
        one_step = trainer.algorithm.train_step
        trainer.algorithm.train_step = lambda: (
            one_step() | {"variety": 0.1 if trainer.step >= 10 else 0.9}
        )
        trainer.run(progress=False)

    collapsing(
        start(tmp_path / "a", digits, steps=10, checkpoint_every=50, sample_every=50, **TINY)
    )
    collapsing(resume(tmp_path / "a", digits, steps=50))
    err = capsys.readouterr().err
    assert (
        err.startswith("tinygan: warning: step 30: the images of G have varied")
        and err.count("\n") == 1
    )
    rows = [json.loads(line) for line in (tmp_path / "a" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "warnings" in row] == [30] and "mode collapse" in rows[
        2
    ]["warnings"][0]
    assert (tmp_path / "a" / "curves.png").exists()


def test_the_numbers_behind_the_warnings_are_plausible(tmp_path, digits):
    trainer = start(tmp_path / "a", digits, "gan", steps=30, batch_size=16)
    numbers = [trainer.algorithm.train_step() for _ in range(3)][-1]
    assert 0 <= float(numbers["d_accuracy"]) <= 1 and 0 < float(numbers["variety"]) < 1.5
    assert float(numbers["g_grad_norm"]) > 0 and float(numbers["d_grad_norm"]) > 0


# A folder belongs to one run


@pytest.mark.cpu
def test_a_second_run_in_a_folder_is_refused_and_the_error_names_the_first(tmp_path, digits):
    trainer = start(tmp_path / "a", digits, steps=4, **TINY)
    one_step, messages = trainer.algorithm.train_step, []

    def train_step():
        before = stress.contents(tmp_path / "a")
        with pytest.raises(InputError) as caught:
            resume(tmp_path / "a", digits).run(progress=False)
        messages.append(str(caught.value))
        assert stress.contents(tmp_path / "a") == before
        return one_step()

    trainer.algorithm.train_step = train_step
    trainer.run(progress=False)
    assert len(messages) == 4 and messages[0].startswith(
        f"{tmp_path / 'a'} is in use by process {os.getpid()} on "
    )
    assert not (tmp_path / "a" / "running").exists()


@pytest.mark.cpu
def test_a_run_that_another_process_has_continued_is_not_rewound(tmp_path, digits):
    start(tmp_path / "a", digits, steps=5, **TINY).run(progress=False)
    late, early = (resume(tmp_path / "a", digits, steps=12) for _ in range(2))
    early.run(progress=False)
    before = stress.contents(tmp_path / "a")
    with pytest.raises(
        InputError, match="another process has meanwhile continued the run in .*: try again"
    ):
        late.run(progress=False)
    assert stress.contents(tmp_path / "a") == before


@pytest.mark.cpu
def test_of_two_processes_that_start_in_one_folder_one_gets_it(tmp_path, digits, monkeypatch):
    init, config = trainer_module.Trainer.__init__, tmp_path / "a" / "config.json"

    def slow(self, *args):
        init(self, *args)
        if not config.exists():  # as if another process had been faster
            monkeypatch.setattr(trainer_module.Trainer, "__init__", init)
            start(tmp_path / "a", digits, seed=1, **TINY)

    (tmp_path / "a").mkdir()
    monkeypatch.setattr(trainer_module.Trainer, "__init__", slow)
    with pytest.raises(trainer_module.FolderTaken, match="another process has just begun a run"):
        start(tmp_path / "a", digits, seed=2, **TINY)
    assert json.loads(config.read_text())["seed"] == 1 and not (tmp_path / "a" / "running").exists()


@pytest.mark.cpu
@pytest.mark.parametrize("same, best", [(True, 7.5), (False, np.inf)])
def test_going_back_keeps_the_evaluations_until_then(tmp_path, digits, same, best):
    """The best evaluation was later, and will be repeated. If the run now evaluates at other steps,
    the next evaluation counts as the best."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "eval.jsonl").write_text(
        '{"step": 5, "fid": 7.5}\n{"step": 10, "fid": 9.0}\n{"step": 20, "fid": 1.0}\n'
    )
    (tmp_path / "a" / ".notes.2026.txt").write_text("mine")
    trainer = start(tmp_path / "b", digits, **TINY)
    checkpoint.write(
        tmp_path / "a" / "best.npz",
        {"ema": trainer.algorithm.ema.module.state_dict()},
        {"step": 20, "evaluation": {"step": 20, "fid": 1.0}},
    )
    trainer.out, trainer.algorithm.step, trainer.same_evaluations = tmp_path / "a", 10, same
    trainer.rewind()
    assert trainer.evaluation.best_score == best and not (tmp_path / "a" / "best.npz").exists()
    assert (tmp_path / "a" / ".notes.2026.txt").exists()


@pytest.mark.cpu
def test_a_second_process_is_refused_unless_the_first_was_killed(tmp_path, capsys):
    out = tmp_path / "run"
    process = cli(out)
    wait_for(process, out / "samples" / "step-00000004.png")
    assert main(["train", "--resume", str(out)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and f"{out} is in use by process {process.pid} on " in err
    assert process.poll() is None
    process.kill()
    process.communicate()
    assert (out / "running").exists()
    assert (
        main(["train", "--resume", str(out), "--steps", "6"]) == 0
        and not (out / "running").exists()
    )


@pytest.mark.cpu
def test_a_process_that_waits_for_a_folder_gets_it(tmp_path):
    import threading

    order = []

    def other():
        with files.locked(tmp_path / "lock", on_wait=order.append):
            order.append("other")

    with files.locked(tmp_path / "lock"):
        thread = threading.Thread(target=other)
        thread.start()
        while not order:
            time.sleep(0.01)
        order.append("this")
    thread.join()
    assert order[0].startswith(f"process {os.getpid()} on ") and order[1:] == ["this", "other"]
    assert not list(tmp_path.iterdir())
