"""Tests of runs that begin with the weights of another run: --init-from."""

import json
import shutil

import numpy as np
import pytest
import stress
from test_training import resume, start

from tinygan import data
from tinygan.cli import main
from tinygan.errors import InputError
from tinygan.files import checkpoint
from tinygan.training import trainer as trainer_module
from tinygan.training.start import new_run

pytestmark = pytest.mark.cpu


@pytest.fixture(scope="module")
def digits():
    return data.load("digits").subset(slice(200))


@pytest.fixture(scope="module")
def source(digits, tmp_path_factory):
    """A run of dcgan, with a best.npz (which nobody has evaluated)."""
    out = tmp_path_factory.mktemp("source") / "run"
    start(out, digits, steps=4, ema=0.5).run(progress=False)
    states, meta = checkpoint.load(out / "checkpoint-00000004.npz")
    ema = {path: array + (array.dtype.kind == "f") * 1 for path, array in states["ema"].items()}
    checkpoint.write(
        out / "best.npz", {"ema": ema}, {"step": 4, "evaluation": {"step": 4, "fid": 1.0}}
    )
    return out


def begin(source, out, digits, monkeypatch, recipe="dcgan", **settings):
    """A new run on the digits with the weights of `source`."""
    small = {"g_channels": 4, "d_channels": 4, "batch_size": 8, "steps": 6, "checkpoint_every": 3}
    monkeypatch.setattr(data, "load", lambda *args, **options: digits)
    return new_run(recipe, None, out, 1, {**small, **settings}, init_from=source)


def test_all_weights_are_taken_over(source, tmp_path, digits, monkeypatch, capsys):
    trainer = begin(source, tmp_path / "a", digits, monkeypatch, lr=1e-3)
    path = source / "checkpoint-00000004.npz"
    assert capsys.readouterr().err == (
        f"tinygan: the weights of {path} are taken over: 7 of G and 5 of D\n"
    )
    a, states = trainer.algorithm, checkpoint.load(path)[0]
    for part, network in (("G", a.G), ("D", a.D), ("ema", a.ema.module)):
        state = network.state_dict()  # with the statistics of batch-norm
        assert state.keys() == states[part].keys()
        assert all(np.array_equal(state[key], states[part][key]) for key in state)
    assert not any(a.g_optimizer.state + a.d_optimizer.state) and a.ema.updates == a.step == 0
    # It can be resumed without the source.
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    assert config["init_from"] == {
        "path": str(source), "checkpoint": path.name, "step": 4, "kept": []
    }  # fmt: skip
    assert checkpoint.names(tmp_path / "a") == ("checkpoint-00000000.npz",)
    begun = shutil.copytree(tmp_path / "a", tmp_path / "b")
    trainer.run(progress=False)
    assert not (tmp_path / "a" / "checkpoint-00000000.npz").exists()
    resume(begun, digits).run(progress=False)
    assert stress.differences(tmp_path / "a", begun) == []
    assert json.loads((begun / "config.json").read_text()) == config


def test_a_run_that_grows_takes_no_level_of_detail(tmp_path, digits, monkeypatch):
    small = {"channels": 4, "max_channels": 8, "stable_images": 8, "fade_images": 8}
    small |= {"steps": 2, "batch_sizes": "", "keep": 9}
    start(tmp_path / "a", digits, "progan", **small).run(progress=False)
    small = {"channels": 4, "max_channels": 8, "grow": False}
    monkeypatch.setattr(data, "load", lambda *args, **options: digits)
    trainer = new_run("progan", None, tmp_path / "b", 0, small, init_from=tmp_path / "a")
    lods = [float(b) for path, b in trainer.algorithm.G.named_buffers() if path == "lod"]
    assert lods == [0.0]
    grown = {**small, "grow": True, "stable_images": 8, "fade_images": 8, "batch_sizes": ""}
    trainer = new_run(
        "progan", None, tmp_path / "c", 0, {**grown, "batch_size": 8}, init_from=tmp_path / "a"
    )
    assert trainer.algorithm.lod == 3 and checkpoint.last_step(tmp_path / "c") == 0
    assert resume(tmp_path / "c", digits).algorithm.lod == 3


def test_what_does_not_fit_keeps_its_initial_values(source, tmp_path, digits, monkeypatch, capsys):
    """A wrapper that gives a network the class changes its first layer, and no other."""
    fresh = start(tmp_path / "fresh", digits, "cgan", seed=1)
    trainer = begin(source, tmp_path / "a", digits, monkeypatch, "cgan")
    assert capsys.readouterr().err == (
        f"tinygan: the weights of {source / 'checkpoint-00000004.npz'} are taken over: 6 of G and "
        "4 of D; starting anew: 2 of G (G.embedding.weight, G.main.0.weight); starting anew: 2 of "
        "D (D.embedding.weight, D.main.0.weight)\n"
    )
    kept = ["G.embedding.weight", "G.main.0.weight", "D.embedding.weight", "D.main.0.weight"]
    assert trainer.config["init_from"]["kept"] == kept
    states = checkpoint.load(source / "checkpoint-00000004.npz")[0]
    new, old = trainer.algorithm.D.state_dict(), fresh.algorithm.D.state_dict()
    assert np.array_equal(new["D.main.0.weight"], old["D.main.0.weight"])
    assert np.array_equal(new["D.main.2.weight"], states["D"]["main.2.weight"])
    new = trainer.algorithm.ema.module.state_dict()
    assert np.array_equal(new["G.main.3.weight"], states["ema"]["main.3.weight"])


def test_a_best_checkpoint_gives_only_g(source, tmp_path, digits, monkeypatch, capsys):
    trainer = begin(source / "best.npz", tmp_path / "a", digits, monkeypatch, freeze="G.main.0")
    assert "7 of G and 0 of D; best.npz holds no D, which starts anew\n" in capsys.readouterr().err
    G, average = trainer.algorithm.G.state_dict(), trainer.algorithm.ema.module.state_dict()
    ema = checkpoint.load(source / "best.npz")[0]["ema"]
    assert all(np.array_equal(G[key], ema[key]) for key in ema)
    assert all(np.array_equal(average[key], ema[key]) for key in ema)
    assert len(trainer.config["init_from"]["kept"]) == 7  # with the buffers of batch-norm


def test_frozen_weights_of_another_run(source, tmp_path, digits, monkeypatch):
    """The average of a frozen weight is that weight, not the average of the other run."""
    trainer = begin(
        source, tmp_path / "a", digits, monkeypatch, steps=2, freeze="G.main.0,D.main.0"
    )
    trainer.run(progress=False)
    before, after = (checkpoint.load(run)[0] for run in (
        source / "checkpoint-00000004.npz", tmp_path / "a" / "checkpoint-00000002.npz"
    ))  # fmt: skip
    for part in "GD":
        name = "main.0.weight"
        assert np.array_equal(after[part][name], before[part][name])
    assert np.array_equal(after["ema"]["main.0.weight"], before["G"]["main.0.weight"])
    assert not np.array_equal(before["ema"]["main.0.weight"], before["G"]["main.0.weight"])


def test_a_run_that_was_killed_before_it_had_its_weights(source, tmp_path, digits, monkeypatch):
    def killed(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(trainer_module.transfer, "save_first_checkpoint", killed)
    with pytest.raises(KeyboardInterrupt):
        begin(source, tmp_path / "a", digits, monkeypatch)
    monkeypatch.undo()
    with pytest.raises(InputError, match="holds no checkpoint, so it lacks the weights") as error:
        resume(tmp_path / "a", digits)
    assert f"repeat the command that began it, with --init-from {source}" in str(error.value)
    begin(source, tmp_path / "a", digits, monkeypatch)
    assert resume(tmp_path / "a", digits).step == 0
    with pytest.raises(trainer_module.FolderTaken, match="continue it with --resume"):
        begin(source, tmp_path / "a", digits, monkeypatch)


def test_sources_that_cannot_be_used(source, tmp_path, digits, monkeypatch, capsys):
    with pytest.raises(InputError, match="none of its weights fits these networks"):
        begin(source, tmp_path / "a", digits, monkeypatch, "dcgan", g_channels=3, d_channels=3)
    with pytest.raises(InputError, match="nowhere does not exist"):
        begin("nowhere", tmp_path / "a", digits, monkeypatch)
    begun = start(tmp_path / "begun", digits).out
    with pytest.raises(InputError, match="has no checkpoint yet"):
        begin(begun, tmp_path / "a", digits, monkeypatch)
    broken = shutil.copytree(source, tmp_path / "broken")
    path = broken / "checkpoint-00000004.npz"
    states, meta = checkpoint.load(path)
    for part, name, value in (("G", "main.0.weight", np.nan), ("D", "main.3.running_var", -1)):
        states[part][name] = np.full_like(states[part][name], value)
        checkpoint.write(path, states, meta)
        with pytest.raises(checkpoint.Unsound, match=f"{part}/{name} holds"):
            begin(broken, tmp_path / "a", digits, monkeypatch)
        states[part][name] = np.zeros_like(states[part][name])
    states["D"]["x"] = np.zeros((100, 100), np.float32)  # not of any layer
    checkpoint.write(path, states, meta)
    begin(broken, tmp_path / "b", digits, monkeypatch)
    assert not (tmp_path / "a").exists()


def test_the_option_of_the_command_line(source, tmp_path, capsys):
    argv = ["train", "dcgan", "--init-from", source, "--out", tmp_path / "a", "--steps", "1"]
    argv += ["--batch-size", "4", "--set", "g_channels=4", "d_channels=4"]
    assert main([*map(str, argv)]) == 0
    assert "are taken over: 7 of G and 5 of D" in capsys.readouterr().err
    assert main(["train", "--resume", str(tmp_path / "a"), "--steps", "2"]) == 0


@pytest.mark.parametrize(
    "key, value, words",
    [
        ("path", 3, "init_from.path is 3, not text"),
        ("step", -1, "init_from.step is -1"),
        ("kept", ["a"] * 101, "init_from.kept is a list of 101 items, not a list of at most 100"),
        ("more", 1, "init_from.more is unknown"),
    ],
)
def test_a_damaged_origin_of_the_weights_is_one_line(source, tmp_path, key, value, words):
    run = shutil.copytree(source, tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    origin = {"path": "/x", "checkpoint": "best.npz", "step": 3, "kept": []}
    for changed in ({}, {key: value}):
        text = json.dumps({**config, "init_from": {**origin, **changed}})
        (run / "config.json").write_text(text)
        if changed:
            with pytest.raises(InputError, match="config.json is damaged") as error:
                checkpoint.open_run(run)
            assert words in str(error.value)
        else:
            checkpoint.open_run(run)
