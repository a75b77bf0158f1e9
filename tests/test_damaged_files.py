"""Files of a run that are damaged, or that somebody has changed: every wrong value is reported in
one line, before it is used, and nothing in the folder changes."""

import json
import math
import shutil
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from test_training import resume, start

import tinygan
from tinygan import data
from tinygan.cli import main
from tinygan.errors import InputError
from tinygan.files import checkpoint, npz, schema
from tinygan.gan.penalties import PENALTIES
from tinygan.training import log, recipes
from tinygan.training.sampling import load_generator, load_networks
from tinygan.training.trainer import Trainer

pytestmark = pytest.mark.cpu
TINY = {"hidden": 4, "latent": 3, "batch_size": 4}
NAMES = "log.jsonl", "time.jsonl", "eval.jsonl"


@pytest.fixture(scope="module")
def digits():
    full = data.load("digits")
    return data.Dataset("digits", "train", full.images[:200], full.labels[:200], full.class_names)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, digits):
    """A run of 20 steps with two checkpoints, two rows in each log, and a best.npz."""
    out = tmp_path_factory.mktemp("whole") / "a"
    settings = {"steps": 20, "checkpoint_every": 10, "eval_every": 10, "eval_images": 100}
    start(out, digits, "gan", **settings, **TINY).run(progress=False)
    return out


@pytest.fixture
def run(whole, tmp_path):
    """A copy of this run."""
    return shutil.copytree(whole, tmp_path / "a")


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def message_of(function, *args, **settings):
    """Return the message of the InputError that a call must raise: one line of a reasonable
    length."""
    with pytest.raises(InputError) as caught:
        function(*args, **settings)
    message = str(caught.value)
    assert message.isprintable() and 20 < len(message) < 600, message
    return message


# Lines of logs


def refused(path, lines, number):
    """Write lines (bytes) to a log, and check that the line with this number is refused, by the
    reader of logs and before a resumed run changes anything."""
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    message = message_of(log.ends_of_step, path.parent, 20)
    assert message.startswith(f"{path}, line {number} is damaged ("), message
    assert message.endswith("correct the line, or rename the file to go on without it")
    assert path.read_bytes() == b"".join(line + b"\n" for line in lines)


def wrong_values(name, key):
    """Return values that cannot be those of a key in a line of a log."""
    wrong = [None, True, False, [], [1.0], [[]], 10**60]
    if key != "phases":
        wrong += [{}, {"a": 1}]
    if name != "eval.jsonl" or key in ("step", "fid", "precision", "recall"):
        wrong += ["", "x", "3"]
    if name != "eval.jsonl" or key in ("step", "precision", "recall"):
        wrong += [math.nan, math.inf, -math.inf, 1e300]
    if key in ("step", "images"):
        wrong += [1.5, 1.0, -(10**30)]
    if key in ("step", "images", "seconds", "phases", "precision", "recall"):
        wrong += [-1]
    return wrong


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_value_in_a_line_of_a_log_is_refused(run, name):
    first, second = (run / name).read_bytes().splitlines()
    row = json.loads(first)
    for key in row:
        for value in wrong_values(name, key):
            refused(run / name, [json.dumps({**row, key: value}).encode(), second], 1)
    for key in {"step", "d_loss", "g_loss", "d_real", "d_fake", "fid"} & row.keys():
        without = {other: value for other, value in row.items() if other != key}
        refused(run / name, [json.dumps(without).encode(), second], 1)


def test_wrong_values_inside_a_line_are_refused(run):
    first, second = (json.loads(line) for line in (run / "time.jsonl").read_text().splitlines())
    for value in wrong_values("time.jsonl", "seconds"):
        second["phases"]["D"] = value
        refused(run / "time.jsonl", [json.dumps(row).encode() for row in (first, second)], 2)
    first, second = (json.loads(line) for line in (run / "log.jsonl").read_text().splitlines())
    for warnings in (None, True, "x", 1, {}, [1], [None], [[]], ["x" * 5000], ["x"] * 1000):
        second["warnings"] = warnings
        refused(run / "log.jsonl", [json.dumps(row).encode() for row in (first, second)], 2)


@pytest.mark.parametrize("name", NAMES)
def test_a_line_that_is_no_object_with_names_is_refused(run, name):
    first, second = (run / name).read_bytes().splitlines()
    # fmt: off
    for line in (
        b"", b"5", b"null", b"true", b'"text"', b"[]", b"{}", b"x", b"\0\0\0", b"\xff\xfe{}",
        first[:-1], first[1:], first + first, b"[" * 30_000, b'{"a":' * 10_000, b'{"step": 1e400}',
        first + b" " * schema.LINE_BYTES, first.replace(b"{", b'{"step": 10, ', 1),
        first.replace(b'"step": 10', b'"step": ' + b"1" * 5000), first.decode().encode("utf-16"),
    ):  # fmt: on
        refused(run / name, [line, second], 1)
        refused(run / name, [first, line, second], 2)
        refused(run / name, [first, second, line], 3)  # complete, so it is not torn


@pytest.mark.parametrize("name", NAMES)
def test_steps_that_do_not_rise_are_refused(run, name):
    first, second = (run / name).read_bytes().splitlines()
    refused(run / name, [second, first], 2)
    refused(run / name, [first.replace(b"10", b"30", 1), second], 2)
    if name == "eval.jsonl":  # Trainer.evaluate may have been called twice
        (run / name).write_bytes(first + b"\n" + first + b"\n" + second + b"\n")
        assert [row["step"] for row in log.rows(run, name=name)] == [10, 10, 20]
    else:
        refused(run / name, [first, first, second], 2)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("torn", [b"{", b'{"step": 2', b"\0" * 500, b"\xff"])
def test_a_torn_last_line_is_repaired(run, name, torn):
    """And so is a whole last line without its end, which an editor may have removed."""
    whole = (run / name).read_bytes()
    for content in (whole + torn, whole[:-1], whole):
        (run / name).write_bytes(content)
        assert [row["step"] for row in log.rows(run, name=name)] == [10, 20]
        log.cut(log.ends_of_step(run, 20))
        assert (run / name).read_bytes() == whole
    (run / name).write_bytes(whole + torn)
    log.cut(log.ends_of_step(run, 10))
    assert (run / name).read_bytes() == whole.splitlines(keepends=True)[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_resume_with_a_damaged_log_changes_nothing(run, name, capsys):
    first, second = (run / name).read_bytes().splitlines()
    key = "fid" if name == "eval.jsonl" else "step"
    row = {**json.loads(first), key: "x"}
    (run / name).write_bytes(json.dumps(row).encode() + b"\n" + second + b"\n")
    before = contents(run)
    assert main(["train", "--resume", str(run), "--steps", "22"]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"tinygan: error: {run / name}, line 1 is damaged ({key} is 'x', not a ")
    assert err.count("\n") == 1 and contents(run) == before
    assert "continue from step" not in err  # which would fail in the same way
    # As the message says, the run goes on without the file.
    (run / name).rename(run / "mine")
    assert main(["train", "--resume", str(run), "--steps", "22"]) == 0
    assert (run / "mine").read_bytes() == before[run / name]


def test_only_the_steps_of_lines_that_will_be_written_again_are_checked(run):
    with open(run / "log.jsonl", "a") as file:
        file.write('{"step": 25, "d_loss": "x"}\n')
    log.ends_of_step(run, 20)
    assert "line 3 is damaged" in message_of(log.ends_of_step, run, 25)
    with open(run / "log.jsonl", "a") as file:
        file.write('{"step": "x"}\n')
    assert "line 4 is damaged" in message_of(log.ends_of_step, run, 20)


def test_lines_of_an_older_version_are_read(run):
    (run / "time.jsonl").write_text('{"step": 10, "seconds": 1.5}\n')
    assert list(log.rows(run, name="time.jsonl"))
    assert "lacks phases" in message_of(list, log.rows(run, name="time.jsonl", needs="phases"))
    (run / "log.jsonl").write_text(
        '{"step": 10, "d_loss": 1.0, "g_loss": 2, "d_real": 0.5, "d_fake": 0.5}\n'
    )
    resume(run, data.load("digits"), steps=22)


# FIDs that are not finite


def test_a_fid_that_is_not_finite_never_counts_as_the_best(run, digits, capsys):
    lines = (run / "eval.jsonl").read_text().splitlines()
    fids = [json.loads(line)["fid"] for line in lines]
    for value in ("NaN", "Infinity", "-Infinity"):
        (run / "eval.jsonl").write_text(
            f"{lines[0].replace(str(fids[0]), value)}\n{lines[1]}\n".replace(
                '"step": 10', '"step": 9'
            )
        )
        shutil.copy(run / "checkpoint-00000020.npz", run / "best.npz")
        trainer = resume(run, digits, steps=22)
        trainer.rewind()
        assert trainer.evaluation.best_score == math.inf  # best.npz is not of this evaluation
        err = capsys.readouterr().err
        assert f"the FID of step 9 is {value.lower().replace('inity', '')}: it does not" in err
    (run / "best.npz").unlink(missing_ok=True)
    trainer = resume(run, digits, steps=22)
    trainer.rewind()
    assert trainer.evaluation.best_score == fids[1]


def test_an_evaluation_that_is_not_finite_is_said(tmp_path, digits, monkeypatch, capsys):
    settings = {"steps": 20, "checkpoint_every": 10, "eval_every": 10, "eval_images": 100}
    trainer = start(tmp_path / "a", digits, "gan", **settings, **TINY)
    fids = iter([math.nan, 50.0])
    quick = trainer.evaluation.evaluator.quick
    monkeypatch.setattr(
        trainer.evaluation.evaluator, "quick", lambda *args: {**quick(*args), "fid": next(fids)}
    )
    trainer.run(progress=False)
    assert "the FID of step 10 is nan: it does not count as the best" in capsys.readouterr().err
    assert checkpoint.load(tmp_path / "a" / "best.npz")[1]["step"] == 20
    resume(tmp_path / "a", digits, steps=22).rewind()


# Checkpoints whose checksum is right


@pytest.fixture(scope="module")
def target(whole, digits):
    """A function that returns a Trainer that continues this run, and the Run."""
    opened = checkpoint.open_run(whole)
    recipe, settings = recipes.of_run(opened)
    return opened, Trainer(recipe, settings.updated({"steps": 22}), digits, whole)


def changed(arrays, path):
    """Write arrays {"part/name": array} as a checkpoint, with a right checksum, and return its
    Run."""
    npz.save(path, arrays)
    return checkpoint.open_run(path)


def refused_arrays(target, path, arrays, *words):
    """Check that a run does not continue from these arrays, and that the message has the words."""
    message = message_of(lambda: target[1].resume(changed(arrays, path)))
    assert message.startswith(f"{path} is changed, or does not fit this run's config.json (")
    assert message.endswith("undo the change, give the path of an older checkpoint, or train again")
    assert all(word in message for word in words), (words, message)


@pytest.fixture
def last(run):
    """(The path of the last checkpoint, its arrays, its meta) in a copy of the run."""
    path = run / "checkpoint-00000020.npz"
    arrays = npz.load(path)
    return path, arrays, json.loads(str(arrays["meta"]))


def test_the_checkpoint_itself_is_accepted(target, last):
    target[1].resume(changed(last[1], last[0]))
    assert target[1].step == 20


def test_a_wrong_entry_of_a_checkpoint_is_refused(target, last):
    path, arrays, meta = last
    states = {name for entry in PENALTIES for name in entry.states}
    for key in meta:
        wrong = [True, "x", "3", [1.0], [[]], {}, {"a": 1}, math.nan, math.inf, -math.inf]
        wrong += [None] if key not in ("lod", "controller") else []
        wrong += [[]] if key != "recent" else []
        wrong += [-1, 1.5, 10**30, 0, 10**12] if key not in states else []
        for value in wrong:
            text = json.dumps({**meta, key: value})
            refused_arrays(target, path, {**arrays, "meta": text}, key)
        if key not in states:  # an older version had no such entries
            without = {other: value for other, value in meta.items() if other != key}
            refused_arrays(target, path, {**arrays, "meta": json.dumps(without)}, f"lacks {key}")
    refused_arrays(target, path, {**arrays, "meta": json.dumps({**meta, "new": 1})}, "new is")


def test_a_wrong_state_of_a_random_generator_is_refused(target, last):
    path, arrays, meta = last
    state, high = meta["rng"], 2**128
    inner = lambda **changes: {**state, "state": {**state["state"], **changes}}
    for wrong in (
        {**state, "bit_generator": "MT19937"},
        {**state, "bit_generator": 5},
        {**state, "state": 5},
        {**state, "has_uint32": 2},
        {**state, "has_uint32": True},
        {**state, "uinteger": 2**32},
        {**state, "uinteger": -1},
        {**state, "new": 1},
        {key: value for key, value in state.items() if key != "uinteger"},
        *(inner(state=n) for n in (-1, high, 1.0, "1", None)),
        *(inner(inc=n) for n in (-1, high + 1, 2, 1.0)),
        inner(new=1),
    ):
        for key in ("rng", "augment_rng"):
            text = json.dumps({**meta, key: wrong})
            refused_arrays(target, path, {**arrays, "meta": text}, f"{key}")


@pytest.mark.parametrize(
    "recent",
    [
        [{}],
        [5],
        [{"d_loss": 1.0, "g_loss": 1.0, "d_real": 1.0, "d_fake": "x"}],
        [{"d_loss": 1.0, "g_loss": 1.0, "d_real": 1.0, "d_fake": 1.0, "p": math.nan}],
        [{"d_loss": 1.0, "g_loss": 1.0, "d_real": 1.0, "d_fake": 1.0}] * 11,
    ],
)
def test_wrong_numbers_of_the_last_steps_are_refused(target, last, recent):
    path, arrays, meta = last
    text = json.dumps({**meta, "recent": recent})
    refused_arrays(target, path, {**arrays, "meta": text}, "recent")


def test_a_meta_that_is_no_object_is_refused(target, last):
    path, arrays, meta = last
    text = json.dumps(meta)
    for wrong in (
        "", "{", "5", "[]", "null", "[" * 50_000, text[:-1] + ', "step": 20}', text + " " * 300_000,
        np.array([text]), np.array(5.0), np.array(text.encode()),
    ):  # fmt: skip
        if not (isinstance(wrong, np.ndarray) and wrong.dtype.kind == "S"):  # never written
            refused_arrays(target, path, {**arrays, "meta": wrong})
    refused_arrays(target, path, {key: x for key, x in arrays.items() if key != "meta"}, "meta")


def wrong_arrays(array):
    """Yield arrays that cannot stand in the place of a finite one."""
    yield array.astype(str)
    yield array.astype(array.dtype.newbyteorder(">"))
    yield array.astype("float64" if array.dtype == "float32" else "float32")
    yield array.astype("int32")
    yield array[None]
    yield array.reshape(-1)[:0]
    yield np.zeros((2, 3, 4, 5, 6), array.dtype)
    if array.dtype.kind == "f":
        for value in (math.nan, math.inf, -math.inf):
            wrong = np.array(array)
            wrong.reshape(-1)[-1] = value
            yield wrong
        yield array.astype("float16")
    else:
        yield from (np.full_like(array, n) for n in (0, -1, 2**62))
    if array.ndim:
        yield array[0]
        yield array.reshape(-1, 1, 1)


def test_a_wrong_array_in_a_checkpoint_is_refused(target, last):
    path, arrays, _ = last
    names = {key.split("/")[0]: key for key in arrays if key != "meta"}  # one of each part
    assert names.keys() == {"G", "D", "ema", "g_optimizer", "d_optimizer", "fixed"}
    for name in [*names.values(), "g_optimizer/0.v", "d_optimizer/0.m"]:
        for wrong in wrong_arrays(arrays[name]):
            refused_arrays(target, path, {**arrays, name: wrong}, name)
        rest = {key: array for key, array in arrays.items() if key != name}
        refused_arrays(target, path, rest, name.split("/")[0], name.split("/")[1])
    negative = -np.ones_like(arrays["g_optimizer/0.v"])
    refused_arrays(target, path, {**arrays, "g_optimizer/0.v": negative}, "g_optimizer/0.v")
    for part in names:
        new = {**arrays, f"{part}/new": arrays["fixed/latents"]}
        refused_arrays(target, path, new, part, "new")
        rest = {key: array for key, array in arrays.items() if not key.startswith(f"{part}/")}
        refused_arrays(target, path, rest, part)
    for name in ("new/x", "x", "/", "G", "grown/0008", "grown/x"):
        refused_arrays(target, path, {**arrays, name: np.zeros(3, "float32")}, name.split("/")[0])


def test_the_step_of_a_checkpoint_is_that_in_its_name(target, last, run):
    path, arrays, meta = last
    for step in (-1000, 10, 21, 10**10):
        text = json.dumps({**meta, "step": step})
        refused_arrays(target, path, {**arrays, "meta": text}, f"step is {step}")
    npz.save(path, arrays)
    path = path.rename(run / "checkpoint-00000030.npz")
    assert "step is 20, not 30 as in its name" in message_of(checkpoint.open_run, run)


@pytest.mark.parametrize("recipe", ["dcgan", "progan", "biggan"])
def test_buffers_and_growth_have_ranges(tmp_path, digits, recipe):
    """A negative variance, a level of detail that does not exist, samples of a wrong size."""
    trainer = start(tmp_path / "a", digits, recipe, steps=3, augment="ada")
    trainer.run(progress=False)
    (path,) = checkpoint.checkpoints(tmp_path / "a")
    arrays, again = npz.load(path), resume(tmp_path / "a", digits, steps=9)
    meta = json.loads(str(arrays["meta"]))
    target = checkpoint.open_run(tmp_path / "a"), again
    changes = {
        "dcgan": {"running_var": [-1.0, -1e-3], "running_mean": [math.nan]},
        "progan": {"lod": [-1.0, 4.0, math.nan], "grown/0004": [5]},
        "biggan": {"running_var": [-1.0], "u": [math.nan], "v": [math.inf]},
    }[recipe]
    for suffix, values in changes.items():
        if suffix.startswith("grown"):
            refused_arrays(target, path, {**arrays, suffix: np.zeros((2, 4, 4, 1), "u1")}, suffix)
            continue
        name = [key for key in arrays if key.endswith(f".{suffix}") or key.endswith(f"/{suffix}")][
            0
        ]
        for value in values:
            wrong = np.full_like(arrays[name], value)
            refused_arrays(target, path, {**arrays, name: wrong}, name)
    for key, wrong in (
        ("lod", [None, -1.0, 4.0, "x"] if recipe == "progan" else [0.0, 1]),
        ("controller", [None, {}, {**meta["controller"], "p": -1}, {"p": 1}]),
        ("controller", [{**meta["controller"], "updates": 4}, {**meta["controller"], "new": 4}]),
    ):
        for value in wrong:
            text = json.dumps({**meta, key: value})
            refused_arrays(target, path, {**arrays, "meta": text}, key)


def test_a_changed_checkpoint_is_kept_and_no_other_is_used_in_its_place(run, last, capsys):
    path, arrays, meta = last
    npz.save(path, {**arrays, "meta": json.dumps({**meta, "step": -1000})})
    before = contents(run)
    for words in (["train", "--resume", str(run), "--steps", "22"], ["animate", str(run)]):
        assert main(words if words[0] == "train" else [*words, "-o", str(run / "a.gif")]) == 2
        err = capsys.readouterr().err
        assert err.startswith(f"tinygan: error: {path} is changed") and err.count("\n") == 1
    assert contents(run) == before
    # As the message says, the run can continue from an older one; then the newer one is kept.
    older = run / "checkpoint-00000010.npz"
    assert main(["train", "--resume", str(older), "--steps", "11"]) == 0
    unused = run / "checkpoint-00000020.unused.npz"
    assert unused.read_bytes() == before[path]
    assert f"{path} is no longer used, and is kept as {unused.name}" in capsys.readouterr().err


@pytest.mark.parametrize("part", ["ema", "G", "D"])
def test_no_picture_is_drawn_from_weights_that_are_not_finite(run, last, part):
    path, arrays, _ = last
    (run / "best.npz").unlink()
    name = next(key for key in arrays if key.startswith(f"{part}/"))
    for wrong in wrong_arrays(arrays[name]):
        npz.save(path, {**arrays, name: wrong})
        for use in (load_generator, load_networks):
            if part == "ema" or part == "D" and use is load_networks:
                assert f"({name} " in message_of(use, run)
        if part == "G":
            assert f"({name} " in message_of(load_generator, run, average=False)
            load_generator(run)


def test_no_picture_is_drawn_of_nan_from_finite_weights(run, last, capsys, tmp_path):
    path, arrays, _ = last
    (run / "best.npz").unlink()
    huge = np.full_like(arrays["ema/main.0.weight"], 3e38)
    npz.save(path, {**arrays, "ema/main.0.weight": huge})
    assert main(["sample", str(run), "-n", "4", "-o", str(tmp_path / "a.png")]) == 2
    assert "G generates NaN or infinity" in capsys.readouterr().err
    assert not (tmp_path / "a.png").exists()


# Which checkpoints are removed


def test_saving_never_removes_the_checkpoint_just_written(tmp_path):
    """Nor one of a later step, which is not of this run."""
    states = {"G": {"w": np.zeros(3, "float32")}}
    for step in (5, 900):
        checkpoint.save(tmp_path, step, states, {}, keep=5)
    for step in (10, 15):
        checkpoint.save(tmp_path, step, states, {}, keep=1)
    assert checkpoint.names(tmp_path) == ("checkpoint-00000015.npz", "checkpoint-00000900.npz")


def test_files_that_only_look_like_checkpoints_are_left_alone(run, digits):
    mine = [run / "checkpoint-99.npz", run / "checkpoint-000000099.npz", run / "checkpoint-x.npz"]
    mine += [run / "samples" / "step-99.png", run / "samples" / "step-x.png"]
    for path in mine:
        path.write_bytes(b"mine")
    assert len(checkpoint.checkpoints(run)) == 2
    resume(run, digits, steps=22).run(progress=False)
    assert all(path.read_bytes() == b"mine" for path in mine)


def test_a_trainer_that_has_not_read_the_checkpoints_of_a_folder_does_not_touch_them(run, digits):
    opened = checkpoint.open_run(run)
    recipe, settings = recipes.of_run(opened)
    before = contents(run)
    assert "try again" in message_of(Trainer(recipe, settings, digits, run).run, progress=False)
    assert contents(run) == before


def test_files_are_set_aside_under_names_that_are_free(tmp_path, capsys):
    for i in range(3):
        (tmp_path / "best.npz").write_bytes(bytes([i]))
        checkpoint.set_aside(tmp_path / "best.npz")
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert kept == {
        "best.unused.npz": b"\0",
        "best.unused-2.npz": b"\1",
        "best.unused-3.npz": b"\2",
    }
    assert capsys.readouterr().err.count("is kept as best.unused") == 3


# best.npz


@pytest.mark.parametrize("which", ["another run", "no evaluation", "no eval.jsonl", "NaN"])
def test_a_best_g_of_another_run_is_not_used(run, digits, tmp_path, capsys, which):
    best = run / "best.npz"
    arrays = npz.load(best)
    meta = json.loads(str(arrays["meta"]))
    if which == "another run":
        settings = {"steps": 20, "eval_every": 20, "eval_images": 100, **TINY}
        start(tmp_path / "b", digits, "gan", seed=1, **settings).run(progress=False)
        shutil.copy(tmp_path / "b" / "best.npz", best)
    elif which == "no evaluation":
        npz.save(best, {**arrays, "meta": json.dumps({"step": meta["step"]})})
    elif which == "no eval.jsonl":
        (run / "eval.jsonl").unlink()
    else:
        npz.save(best, {**arrays, "ema/main.0.bias": np.full(4, math.nan, "float32")})
    content = best.read_bytes()
    message = message_of(load_generator, run)
    assert message.startswith(f"{best} ") and which in ("NaN",) or "rename it, or give" in message
    if which != "NaN":
        assert load_generator(best)[2] == best  # the user may know better
    trainer = resume(run, digits, steps=22)
    trainer.rewind()
    assert (run / "best.unused.npz").read_bytes() == content and not best.exists()
    assert trainer.evaluation.best_score == math.inf  # so the next evaluation writes best.npz
    assert load_generator(run)[2].name == "checkpoint-00000020.npz"


def test_a_best_g_of_other_shapes_is_refused(run):
    best = run / "best.npz"
    arrays = npz.load(best)
    npz.save(best, {**arrays, "ema/main.0.bias": np.zeros(5, "float32")})
    assert "ema/main.0.bias has shape (5,), not (4,)" in message_of(load_generator, run)
    npz.save(best, {**arrays, "G/x": np.zeros(5, "float32")})
    assert "G" in message_of(load_generator, run)


# config.json


def test_a_wrong_value_in_a_config_is_refused(run):
    path = run / "config.json"
    config = json.loads(path.read_text())
    for key in config:
        wrong = [None, True, [], [1.0], [[]], {"a": None}, {"a": []}, math.nan, math.inf, -1, 1.5]
        wrong += [10**30, -(10**30), "\0" * 2000]
        wrong += ["x", {}] if key not in ("recipe", "data", "settings") else []
        for value in wrong:
            path.write_text(json.dumps({**config, key: value}))
            message = message_of(checkpoint.open_run, run)
            assert message.startswith(f"{path} ") and key in message, (key, value, message)
    for settings in ({"steps": None}, {"steps": [1]}, {"steps": math.nan}, {"loss": "x" * 2000}):
        path.write_text(json.dumps({**config, "settings": settings}))
        assert "config.json is damaged (settings." in message_of(checkpoint.open_run, run)
    path.write_text(json.dumps({**config, "new": 1}))
    assert "config.json is damaged (new is" in message_of(checkpoint.open_run, run)


def test_a_config_that_is_no_json_is_refused(run):
    path = run / "config.json"
    text = path.read_text()
    for content in (
        b"", b"{", b"[]", b"5", b"null", b"[" * 100_000, b'{"a":' * 100_000, b"\xff", b"\0" * 9,
        text.encode("utf-16"), text.encode() + b"x", text.encode() + b" " * schema.CONFIG_BYTES,
        text.replace("{", '{"seed": 0, ', 1).encode(), text.replace("28", "1" * 5000, 1).encode(),
    ):  # fmt: skip
        path.write_bytes(content)
        assert message_of(checkpoint.open_run, run).startswith(f"{path} is damaged (")


def test_an_unknown_recipe_or_setting_in_a_config_is_reported_with_its_file(run, capsys):
    path = run / "config.json"
    config = json.loads(path.read_text())
    for change in (
        {"recipe": "none"},
        {"settings": {**config["settings"], "none": 1}},
        {"settings": {**config["settings"], "lr": -1}},
        {"settings": {**config["settings"], "latent": "x"}},
        {"settings": {**config["settings"], "hidden": 10**30}},
        {"settings": {**config["settings"], "hidden": 5}},
        {"settings": {**config["settings"], "loss": "none"}},
        {"image_shape": [32, 32, 1]},
        {"classes": 9},
    ):
        path.write_text(json.dumps({**config, **change}))
        before = contents(run)
        assert main(["train", "--resume", str(run), "--steps", "22"]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and "config.json" in err, err
        assert contents(run) == before


@pytest.mark.parametrize("change", [{"hidden": 10_000}, {"latent": 10_000}, {"layers": 100}])
@pytest.mark.parametrize("name", ["checkpoint-00000020.npz", "best.npz"])
def test_a_config_cannot_claim_larger_networks_than_the_checkpoint_holds(run, change, name):
    path = run / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "settings": {**config["settings"], **change}}))
    tracemalloc.start()
    message = message_of(load_generator, run / name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "larger networks" in message or "ema " in message or "ema/" in message
    assert peak < 30_000_000


# Memory


def peak_memory(function, *args):
    tracemalloc.start()
    message = message_of(function, *args)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return message, peak


@pytest.mark.parametrize("piece", ["[],", "{},", '{"a":[]},', '"a",', "1,", "[[[[[]]]]],"])
def test_json_of_many_small_parts_takes_no_more_memory_than_its_size(run, piece):
    n = 10_000_000 // len(piece)
    many = '"x": [' + piece * n + "[]]}"
    config = (run / "config.json").read_text().rstrip()[:-1]
    (run / "config.json").write_text(f"{config}, {many}")
    message, peak = peak_memory(checkpoint.open_run, run)
    assert "config.json is damaged (it is longer than" in message and peak < 10_000_000
    with open(run / "log.jsonl", "a") as file:
        file.write(f'{{"step": 30, {many}\n')
    message, peak = peak_memory(log.ends_of_step, run, 40)
    assert "line 3 is damaged (it is longer than" in message and peak < 10_000_000


def zip_of(n, name_bytes=1, zip64=True):
    """The bytes of a zip file whose directory has n entries, all of the same empty file."""
    name = b"a" * name_bytes
    header = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 0, 0, 33, 0, 0, 0, len(name), 0) + name
    sizes = (20, 20, 0, 0, 0, 33, 0, 0, 0, len(name), 0, 0, 0, 0, 0, 0)
    directory = (struct.pack("<4s6H3I5H2I", b"PK\1\2", *sizes) + name) * n
    start, end = len(header), len(header) + len(directory)
    if zip64:
        record = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, n, n, end - start, start)
        record += struct.pack("<4sIQI", b"PK\6\7", 0, end, 1)
        return (
            header
            + directory
            + record
            + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
        )
    count = min(n, 0xFFFF)
    return (
        header
        + directory
        + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, end - start, start, 0)
    )


@pytest.mark.parametrize("zip64", [True, False])
@pytest.mark.parametrize("n, name_bytes", [(200_000, 1), (200, 60_000)])
def test_a_zip_file_of_many_names_takes_little_memory(tmp_path, n, name_bytes, zip64):
    path = tmp_path / "checkpoint-00000009.npz"
    content = zip_of(n, name_bytes, zip64)
    path.write_bytes(content)
    message, peak = peak_memory(checkpoint.load, path)
    assert "its list of arrays is longer than" in message and peak < 1_000_000


def test_a_directory_that_lies_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    npz.save(path, {"x": np.zeros(3)})
    whole = path.read_bytes()
    for content in (
        whole + b"\0",
        b"\0" + whole,
        whole + zip_of(2),
        zip_of(2) + whole,
        whole[:-22],
        whole[:-21],
        whole[:-2] + b"\1\0x",  # a comment
        whole[-22:],
        zip_of(3)[:-22] + whole[-22:],
        whole[:-22] + zip_of(3)[-98:],
        b"",
        b"PK\5\6" + bytes(18),
    ):
        path.write_bytes(content)
        with pytest.raises((ValueError, zipfile.BadZipFile)):
            npz.load(path)


def test_arrays_of_the_same_name_or_compressed_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    npz.save(path, {"x": np.zeros(3)})
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    for how, names in ((zipfile.ZIP_STORED, ["x.npy"]), (zipfile.ZIP_DEFLATED, [])):
        with pytest.warns(UserWarning) if names else np.errstate():
            with zipfile.ZipFile(path, "w", how) as file:
                for name in [*members, *names]:
                    file.writestr(name, members[name])
        with pytest.raises(ValueError, match="two arrays of the same name|claims to hold more"):
            npz.load(path)


def test_an_empty_array_reserves_no_memory(tmp_path):
    """NumPy reserves the product of the other lengths."""
    for shape, reason in (("0, 1", "no checksum"), ("0, 1000000000", "has the shape")):
        header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}\n".encode()
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
            file.writestr("x.npy", npz.MAGIC + len(header).to_bytes(2, "little") + header)
        with pytest.raises(ValueError, match=reason):
            npz.load(tmp_path / "a.npz")


def test_more_arrays_than_can_be_read_are_not_written(tmp_path):
    arrays = {f"{i:060}": np.zeros((), "u1") for i in range(npz.MAX_DIRECTORY_BYTES // 130)}
    assert "too many" in message_of(npz.save, tmp_path / "a.npz", arrays)
    assert not list(tmp_path.iterdir())


# Advice


def test_damaged_files_are_no_reason_to_delete_anything():
    """The advice in messages never loses the user's data."""
    package = Path(tinygan.__file__).parent
    for folder in ("files", "training", "study", "cli"):
        for path in (package / folder).rglob("*.py"):
            assert "delete it" not in path.read_text(encoding="utf-8"), path
