"""Tests of runs that are resumed with other settings or other data, and of the history of it in
config.json."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import stress
from test_training import resume, start

from tinygan import data
from tinygan.cli import main
from tinygan.errors import InputError
from tinygan.files import checkpoint, schema
from tinygan.training import changes
from tinygan.training.start import continued_run

pytestmark = pytest.mark.cpu


# The history


@pytest.mark.parametrize(
    "step, changed, expected",
    [
        (9, {}, [(3, {"lr": [1, 2]}), (6, {"lr": [2, 3], "r1": [0, 5]})]),
        (9, {"lr": [3, 4]}, [(3, {"lr": [1, 2]}), (6, {"lr": [2, 3], "r1": [0, 5]})]),
        (6, {}, [(3, {"lr": [1, 2]}), (6, {"lr": [2, 3], "r1": [0, 5]})]),
        (
            6,
            {"lr": [3, 2], "ema": [0, 1]},
            [(3, {"lr": [1, 2]}), (6, {"r1": [0, 5], "ema": [0, 1]})],
        ),
        (4, {}, [(3, {"lr": [1, 2]}), (4, {"lr": [2, 3], "r1": [0, 5]})]),
        (0, {}, [(0, {"lr": [1, 3], "r1": [0, 5]})]),
        (2, {"lr": [3, 1], "r1": [5, 0]}, []),
    ],
)
def test_a_run_that_goes_back_takes_its_later_changes_along(step, changed, expected):
    earlier = [
        {"step": 3, "changed": {"lr": [1, 2]}},
        {"step": 6, "changed": {"lr": [2, 3], "r1": [0, 5]}},
    ]
    found = changes.history(earlier, step, changed)
    expected = [{"step": n, "changed": change} for n, change in expected]
    assert found == expected + [{"step": 9, "changed": changed}] * (step == 9 and bool(changed))
    schema.history(found, "history")


def test_a_history_has_an_end():
    entries = [{"step": n, "changed": {"lr": [n, n + 1]}} for n in range(1000)]
    with pytest.raises(InputError, match="a run can change 1,000 times at most"):
        changes.history(entries, 1000, {"lr": [1000, 1]})


@pytest.mark.parametrize(
    "history, words",
    [
        ({}, "history is a dict of 0 items, not a list"),
        ([{"step": 1}], "lacks changed"),
        ([{"step": -1, "changed": {}}], "step is -1"),
        ([{"step": 1, "changed": {"lr": [1]}}], "is a list of 1 items"),
        ([{"step": 1, "changed": {"lr": [1, [2]]}}], "not a number, text, true or false"),
        ([{"step": 2, "changed": {}}, {"step": 2, "changed": {}}], "the steps of history do not"),
        ([{"step": n, "changed": {}} for n in range(1001)], "not a list of at most 1000"),
    ],
)
def test_a_damaged_history_is_one_line(run, history, words):
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "history": history}))
    with pytest.raises(InputError, match="config.json is damaged") as error:
        checkpoint.open_run(run)
    assert words in str(error.value)


@pytest.mark.parametrize(
    "before, now, changed",
    [
        ({}, {}, []),
        ({"lr": "linear:1:0"}, {}, ["steps"]),
        ({"lr": "linear:1:0:until=4"}, {}, []),
        ({"lr": "constant:1:warmup=50%"}, {}, ["steps"]),
        ({"lr": "linear:1:0"}, {"lr": 1}, ["lr"]),
        ({}, {"lr": "linear:1:0:warmup=9"}, ["lr"]),  # too long for the steps so far
        ({"loss": "a.py:x"}, {"loss": "a.py:x"}, ["loss", "penalty"]),  # other files
    ],
)
def test_what_counts_as_a_change(digits, tmp_path, before, now, changed):
    """The number of steps does only for a schedule that ends with them."""
    trainer = start(tmp_path / "a", digits, "gan")
    config = trainer.config
    intervals = {"steps": 5, "keep": 7, "sample_every": 3, "eval_every": 9}
    old = trainer.settings.updated({**intervals, **before})
    new = trainer.settings.updated({**before, **now})
    codes = [{"loss": i, "penalty": i} if "loss" in now else {} for i in (1, 2)]
    configs = [
        {**config, "settings": dataclasses.asdict(s), "code": code}
        for s, code in zip((old, new), codes)
    ]
    assert list(changes.between(*configs, old)) == changed


# Runs


@pytest.fixture(scope="module")
def digits():
    return data.load("digits").subset(slice(200))


@pytest.fixture(scope="module")
def trained(digits, tmp_path_factory):
    """A run of ten steps of dcgan, with all of its checkpoints."""
    out = tmp_path_factory.mktemp("changes") / "run"
    start(out, digits, steps=10, keep=9).run(progress=False)
    return out


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def config_of(run):
    return json.loads((run / "config.json").read_text())


CHANGES = {
    "lr": 1e-4,
    "batch_size": 6,
    "loss": "hinge",
    "r1": 1.0,
    "penalty_every": 2,
    "augment": "ada",
    "ada_p": 0.25,
    "freeze": "D.main.0",
    "balanced_batches": True,
    "train_size": 50,
    "eval_images": 120,
    "ema_images": 100,
}


def test_a_resumed_run_with_changes(run, digits, capsys):
    before = config_of(run)
    trainer = resume(run, digits, steps=12, **CHANGES)
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("tinygan: changed from step 10 on: batch_size 8 -> 6, loss bce -> hinge")
    assert 'freeze "" -> D.main.0' in line and "the p of ADA begins anew at 0.25" in line
    assert config_of(run) == before  # nothing is written before the run goes on
    trainer.rewind()  # as at the beginning of a run that is killed soon after
    trainer = resume(run, digits)
    assert "changed from" not in capsys.readouterr().err
    a = trainer.algorithm
    assert (a.g_optimizer.lr, a.batch_size, a.augment.pipe.p) == (1e-4, 6, 0.25)
    assert len(trainer.dataset) == 50 and a.step == 10 and a.images == 80
    frozen = a.D.state_dict()["main.0.weight"]
    trainer.run(progress=False)
    config = config_of(run)
    changed = {name: [before["settings"][name], value] for name, value in CHANGES.items()}
    assert config["history"] == [{"step": 10, "changed": changed}]
    assert config["settings"] == {**before["settings"], **CHANGES, "steps": 12}
    assert np.array_equal(a.D.state_dict()["main.0.weight"], frozen)
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [(row["step"], row["images"]) for row in rows] == [(10, 80), (12, 92)]
    assert "p" in rows[1] and "p" not in rows[0]


def test_a_changed_run_that_is_stopped_and_resumed_writes_the_same_bytes(run, digits, tmp_path):
    """And its history stays as it is."""
    resume(run, digits, steps=14, **CHANGES, checkpoint_every=3).run(progress=False)
    other = shutil.copytree(run, tmp_path / "other")
    resume(other, digits, other / "checkpoint-00000012.npz").run(progress=False)
    assert stress.differences(run, other) == []


def test_only_more_steps_and_other_intervals_leave_no_history(run, digits, capsys):
    resume(run, digits, steps=11, sample_every=3, checkpoint_every=2, keep=3).run(progress=False)
    assert "history" not in config_of(run) and "changed from" not in capsys.readouterr().err


def test_an_older_checkpoint_continues_with_the_present_settings(run, digits, capsys):
    resume(run, digits, steps=12, lr=1e-4, augment="ada").run(progress=False)
    resume(run, digits, steps=14, r1=1.0).run(progress=False)
    assert [entry["step"] for entry in config_of(run)["history"]] == [10, 12]
    trainer = resume(
        run, digits, run / "checkpoint-00000005.npz", steps=8
    )  # it holds no controller
    assert "changed from step 5 on: lr 0.0002 -> 0.0001, augment none" in capsys.readouterr().err
    assert trainer.algorithm.g_optimizer.lr == 1e-4 and trainer.settings.r1 == 1
    trainer.run(progress=False)
    changed = {"lr": [2e-4, 1e-4], "augment": ["none", "ada"], "r1": [0.0, 1.0]}
    assert config_of(run)["history"] == [{"step": 5, "changed": changed}]
    trainer = resume(
        run, digits, run / "checkpoint-00000005.npz", steps=9, lr=2e-4, augment="none", r1=0.0
    )
    assert "goes on as if nothing had been changed later" in capsys.readouterr().err
    trainer.run(progress=False)
    assert "history" not in config_of(run)


@pytest.mark.parametrize(
    "name, changed, anew",
    [
        ("controller", {"lr": [1, 2], "ada_target": [0.6, 0.7], "policy": ["", "xflip"]}, False),
        ("controller", {"augment": ["none", "ada"]}, True),
        ("controller", {"ada_p": [0.5, 0.2]}, True),
        ("controller", {"ada_target": [0.0, 0.6]}, True),
        ("path_length", {"path_length": [0.0, 2.0]}, True),
        ("path_length", {"path_length": [1.0, 2.0], "r1": [0.0, 1.0]}, False),
    ],
)
def test_which_states_begin_anew(name, changed, anew):
    assert changes.begins_anew(name, changed) == anew


@pytest.mark.slow
def test_states_that_a_change_needs_begin_anew(tmp_path, digits, capsys):
    settings = {"augment": "ada", "ada_p": 0.5, "ada_kimg": 1.0, "path_every": 1}
    start(
        tmp_path / "a",
        digits,
        "stylegan2",
        steps=4,
        checkpoint_every=4,
        path_length=2.0,
        **settings,
    ).run(progress=False)
    again = lambda **changed: resume(tmp_path / "a", digits, steps=5, **changed).algorithm
    p, average = again().augment.pipe.p, float(again().objectives.penalty_state.average_path)
    assert p != 0.5 and average > 0
    kept = again(ada_target=0.7, path_length=1.0)
    assert kept.augment.pipe.p == p and kept.objectives.penalty_state.average_path == average
    capsys.readouterr()
    assert again(ada_p=0.25).augment.pipe.p == 0.25
    assert "; the p of ADA begins anew at 0.25\n" in capsys.readouterr().err
    assert again(ada_target=0.0).augment.pipe.p == 0.5
    # Off, and on again.
    resume(tmp_path / "a", digits, steps=5, path_length=0.0).run(progress=False)
    capsys.readouterr()
    trainer = resume(tmp_path / "a", digits, steps=6, path_length=2.0)
    assert trainer.algorithm.objectives.penalty_state.average_path == 0
    assert "; the running mean of path_length begins anew\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"g_channels": 8}, "g_channels=8: a resumed run keeps its networks (g_channels=4)"),
        ({"latent": 7}, "a resumed run keeps its networks (latent=100)"),
        ({"g_class": "concat", "d_class": "auxiliary"}, "keeps its networks (g_class=none)"),
        ({"embedding": 3}, "keeps its networks (embedding=10)"),
        ({"pad": 2}, "keeps the size of its images, for which its networks are made (pad=0)"),
        ({"optimizer": "rmsprop"}, "keeps its kind of optimiser, whose moments"),
        ({"lr": "fast"}, "setting lr=fast"),
        ({"freeze": "D.main.7"}, "no parameter matches D.main.7"),
        ({"batch_size": 1000}, "batch_size 1000 is more than the 180 images of digits"),
    ],
)
def test_what_must_not_change_is_refused_by_name(run, monkeypatch, digits, settings, words):
    monkeypatch.setattr(data, "load", lambda *args, **options: digits)
    before = stress.contents(run)
    with pytest.raises(InputError) as error:
        continued_run(run, {"steps": 11, **settings})
    assert words in str(error.value)
    if "keeps" in words:
        assert str(error.value).endswith(f"or begin a new run with --init-from {run}")
    assert stress.contents(run) == before


@pytest.mark.parametrize(
    "option, words",
    [
        (["gan"], "gan: a resumed run keeps its recipe: leave it out"),
        (["--seed", "3"], "--seed 3: a resumed run keeps its seed"),
        (["--out", "b"], "b: a resumed run stays in its folder: leave it out"),
        (["--init-from", "b"], "b: a resumed run goes on with its own weights: leave it out"),
        (["--image-size", "9"], "--image-size 9: a resumed run reads its data as before"),
        (["--data", "ring"], "ring has points in 8 classes, but the networks of"),
        (["--data", "stacked-digits"], "images of 28x28x3 in 1000 classes, but the networks of"),
    ],
)
def test_options_that_a_resumed_run_cannot_have(run, capsys, option, words):
    assert main(["train", "--resume", str(run), "--steps", "11", *option]) == 2
    assert words in capsys.readouterr().err


# Data


IMAGES = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A run of two steps on mine.npz, beside other data."""
    monkeypatch.chdir(tmp_path)
    labels = np.arange(40) % 2
    np.savez("mine.npz", images=IMAGES, labels=labels)
    np.savez("others.npz", images=255 - IMAGES, labels=labels, class_names=["cat", "dog"])
    np.savez("three.npz", images=IMAGES, labels=np.arange(40) % 3)
    np.savez("large.npz", images=IMAGES.repeat(2, 1).repeat(2, 2), labels=labels)
    argv = ["train", "gan", "--data", "mine.npz", "--out", "R", "--steps", "2"]
    settings = ["hidden=8", "sample_every=9", "keep=9", "checkpoint_every=1"]
    assert main([*argv, "--batch-size", "4", "--set", *settings]) == 0
    return tmp_path / "R"


def test_a_run_goes_on_with_other_data(own, capsys):
    capsys.readouterr()
    assert main(["train", "--resume", "R", "--steps", "3", "--data", "others.npz"]) == 0
    err = capsys.readouterr().err
    config = config_of(own)
    (entry,) = config["history"]
    assert entry["step"] == 2 and entry["changed"].keys() == {"data"}
    assert [name.split(" (")[0] for name in entry["changed"]["data"]] == [
        str(own.parent / name) for name in ("mine.npz", "others.npz")
    ]
    assert "changed from step 2 on: data " in err and "no longer count for the best" in err
    assert config["data"] == "others" and config["class_names"] == ["cat", "dog"]
    # And back.
    assert main(["train", "--resume", "R", "--steps", "4", "--data", "mine.npz"]) == 0
    assert [entry["step"] for entry in config_of(own)["history"]] == [2, 3]
    again = ["train", "--resume", "R/checkpoint-00000001.npz", "--steps", "3"]
    assert main(again) == 0 and "history" not in config_of(own)


def test_evaluations_on_other_data_do_not_count_for_the_best(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    settings = ["hidden=8", "eval_every=1", "eval_images=100", "sample_every=9", "keep=9"]
    argv = ["train", "gan", "--data", "ring", "--out", "R", "--steps", "2", "--batch-size", "4"]
    assert main([*argv, "--set", *settings, "checkpoint_every=1"]) == 0
    run = tmp_path / "R"
    best = checkpoint.load(run / "best.npz")[1]["step"]
    assert main(["train", "--resume", "R", "--steps", "4", "--data", "checkerboard"]) == 0
    err = capsys.readouterr().err
    assert "changed from step 2 on: data ring -> checkerboard; earlier evaluations no" in err
    assert "best.npz was chosen on other data, or by another number of samples: the next" in err
    assert (run / "best.unused.npz").exists() and best <= 2
    assert checkpoint.load(run / "best.npz")[1]["step"] in (3, 4)
    assert len((run / "eval.jsonl").read_text().splitlines()) == 4
    # Weights that would not come again are not removed.
    argv = ["train", "--resume", "R/checkpoint-00000002.npz", "--steps", "3", "--set", "lr=1e-4"]
    assert main(argv) == 0 and (run / "best.unused-2.npz").exists()
    # Without a change, the same evaluation still counts.
    best = checkpoint.load(run / "best.npz")[1]
    assert best["step"] == 3
    trainer = continued_run(run, {"steps": 4})
    trainer.rewind()
    assert trainer.evaluation.best_score == best["evaluation"]["energy_distance"]


def test_data_that_have_moved_are_no_change(own):
    shutil.move("mine.npz", "elsewhere.npz")
    for options in ([], ["--image-size", "8x8"]):
        argv = ["train", "--resume", "R", "--steps", "3", "--data", "elsewhere.npz", *options]
        assert main(argv) == 0
        config = config_of(own)
        assert "history" not in config and config["data"] == "mine"
        (own / "checkpoint-00000003.npz").unlink()


@pytest.mark.parametrize(
    "path, words",
    [
        (
            "three.npz",
            "images of 8x8x3 in 3 classes, but the networks of R are for images of 8x8x3",
        ),
        ("large.npz", "or if these are your own, give --image-size 8x8, or begin a new run with"),
        ("digits", "images of 28x28x1 in 10 classes, but the networks of R are"),
        ("nowhere.npz", "nowhere.npz, the data of R, does not exist"),
    ],
)
def test_other_data_must_fit(own, capsys, path, words):
    assert main(["train", "--resume", "R", "--steps", "3", "--data", path]) == 2
    assert words in capsys.readouterr().err and "history" not in config_of(own)


def test_other_data_may_be_resized(own):
    argv = ["train", "--resume", "R", "--steps", "3", "--data", "large.npz", "--image-size", "8x8"]
    assert main(argv) == 0
    assert config_of(own)["origin"]["image_size"] == [8, 8]
    assert main(["train", "--resume", "R", "--steps", "4"]) == 0


def test_labels_of_other_data_must_be_given(tmp_path, monkeypatch, capsys):
    """The labels of the run's own images are still there, and would fit by their number."""
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", IMAGES)
    np.save("y.npy", np.arange(40) % 2)
    np.save("x2.npy", 255 - IMAGES)
    np.save("y2.npy", np.arange(40) // 20)
    argv = ["train", "gan", "--data", "x.npy", "--labels", "y.npy", "--out", "R", "--steps", "1"]
    assert main([*argv, "--batch-size", "4", "--set", "hidden=8"]) == 0
    again = ["train", "--resume", "R", "--steps", "2", "--data", "x2.npy"]
    assert main(again) == 2
    assert "say which labels belong to them, with --labels" in capsys.readouterr().err
    assert main([*again, "--labels", "y2.npy"]) == 0
    assert config_of(tmp_path / "R")["origin"]["labels"].endswith("y2.npy")


def test_a_dataset_in_python_may_take_the_place_of_the_data(run, digits):
    other = data.Dataset("mine", "train", 255 - digits.images, digits.labels, digits.class_names)
    trainer = continued_run(run, {"steps": 11}, other)
    assert trainer.config["history"] == [{"step": 10, "changed": {"data": ["digits", "mine"]}}]
    assert np.array_equal(trainer.dataset.images[0], 255 - digits.images[0])
