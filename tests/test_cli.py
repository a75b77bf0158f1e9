"""The command line as a user sees it: its files, its output, and one line with exit code 2 for a
mistake."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import tinygan
from tinygan import data, plots, tensor
from tinygan.autograd.drawing import draw_graph
from tinygan.cli import COMMANDS, main
from tinygan.cli.samples import class_walk, walk
from tinygan.cli.train import time_shares
from tinygan.data import pictures
from tinygan.errors import quoted
from tinygan.files import checkpoint, npz
from tinygan.settings import GROUPS
from tinygan.training import recipes
from tinygan.training.sampling import latents, load_generator
from tinygan.training.trainer import Trainer

TRAIN = "train dcgan --steps 3 --batch-size 4 --set g_channels=2 d_channels=2".split()
TRAIN += ["--set", "sample_every=2"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A tiny trained run."""
    out = tmp_path_factory.mktemp("cli") / "run"
    succeeds(*TRAIN, "--out", out)
    return out


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    """A tiny trained run of a conditional recipe, with evaluations."""
    out = tmp_path_factory.mktemp("cli") / "run"
    evaluate = ["--set", "eval_every=3", "eval_images=100"]
    succeeds("train", "cgan", *TRAIN[2:], *evaluate, "--out", out)
    return out


def succeeds(*argv):
    """Run a command that must succeed."""
    assert main(list(map(str, argv))) == 0


def fails(capsys, *argv, main=main):
    """Run a command that must fail; return the one line that it writes to stderr."""
    try:
        code = main(list(map(str, argv)))
    except SystemExit as exit:  # argparse
        code = exit.code
    out, err = capsys.readouterr()
    assert (
        code == 2
        and err.count("\n") == 1
        and err.startswith(("tinygan", "python -m demos.bench"))
        and "Traceback" not in err
    ), (code, err)
    return err


def test_train_prints_the_paths_of_its_output(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for number in ("001", "002"):  # a new folder each time
        assert main(TRAIN) == 0
        out = capsys.readouterr().out
        grid = re.search(r"grid: +(\S+)", out).group(1)
        assert grid == f"runs/dcgan-digits-{number}/samples/step-00000003.png"
        assert os.path.exists(grid)
        assert "3 steps, 12 images in 0:0" in out and "curves" in out
    config = json.loads((tmp_path / "runs/dcgan-digits-001/config.json").read_text())
    assert config["settings"]["g_channels"] == config["settings"]["d_channels"] == 2
    assert config["settings"]["sample_every"] == 2 and config["data"] == "digits"


def test_the_default_recipe(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    succeeds("train", *TRAIN[2:])
    expected = (
        "training quick on 9,000 images of digits (1,000 more are held out): "
        "3 steps with batches of 4; run folder: runs/quick-digits-001"
    )
    assert expected in capsys.readouterr().out


def test_train_resumes_to_a_new_total(tmp_path, capsys):
    out = tmp_path / "run"
    succeeds(*TRAIN, "--out", out)
    succeeds("train", "--resume", out, "--steps", 5)
    assert "2 steps, 8 images" in capsys.readouterr().out
    assert (out / "samples" / "step-00000005.png").exists()
    assert json.loads((out / "config.json").read_text())["settings"]["steps"] == 5
    assert "is already at step 5" in fails(capsys, "train", "--resume", out)


@pytest.mark.parametrize(
    "argv, message",
    [
        (
            ["train", "biggest"],
            "unknown recipe 'biggest': did you mean biggan? (choose from quick, hour, gan, dcgan",
        ),
        (["train", "--data", "cifar"], "cifar"),
        (["train", "--set", "width=3"], "unknown setting 'width': choose from steps"),
        (["train", "--set", "lr=fast"], "setting lr=fast: expected a number"),
        (["train", "--set", "lr"], "write name=value"),
        (["train", "--steps", "none"], "steps=none: expected a whole number"),
        (["train", "--batch-size", "100000"], "more than the 9,000 images"),
        (["train", "--seed", "-1"], "-1 is not between 0"),
        (["train", "--set", "layers=4"], "cannot be halved 4 times"),
        (["train", "--resume", "nowhere"], "nowhere does not exist"),
        (["train", "--data", "mnist", "--data-dir", "nowhere"], "nowhere"),
        (["train", "--data-dir", "images"], "nothing in the data folder images would be used"),
        (["train", "--data", "stacked-digits", "--data-dir", "images"], "is built into tinygan"),
        (["train", "--steps", "2", "--set", "steps=3"], "--steps 2 contradicts --set steps=3"),
        (["train", "--batch-size", "2", "--set", "batch-size=3"], "--batch-size 2 contradicts"),
        (["gradcheck", "tanh", "no such op"], "no op or layer has no such op in its name"),
        (["sample", "", "-o", "a.png"], "an empty path: give the name"),
        (["sample", "nowhere", "-o", ""], "an empty path: give the name"),
        (["train", "--device", "tpu"], "invalid choice"),
        (["sample", "nowhere", "-o", "a.png"], "nowhere does not exist"),
        (["recipes", "biggest"], "unknown recipe"),
        (["train", "gan", "--set", "lrr=1"], "unknown setting 'lrr': did you mean lr? ("),
        (["train", "--set", "gchannels=3"], "did you mean g_channels?"),
        (["train", "--set", "los=bce"], "did you mean loss?"),
        (["train", "--set", "loss=wassertein"], "did you mean wasserstein?"),
        (["train", "--data", "fashion_mnist"], "did you mean fashion-mnist?"),
        (["show", "dcgan", "--set", "g_channels=0"], "must be at least 1"),
        (["gradcheck", "no such op"], "no op or layer has no such op in its name"),
        (["fly"], "invalid choice"),
    ],
)
def test_mistakes_are_one_line(tmp_path, monkeypatch, capsys, argv, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("TINYGAN_DATA", raising=False)
    assert message in fails(capsys, *argv)
    assert not any(tmp_path.iterdir())  # not even a part of a file


@pytest.mark.parametrize("words", [["lr=1", "lr=2"], ["lr=1", "--set", "lr=2"]])
def test_of_a_setting_that_is_given_twice_the_last_value_counts(tmp_path, capsys, words):
    succeeds(*TRAIN, "--set", *words, "--out", tmp_path / "run")
    assert json.loads((tmp_path / "run" / "config.json").read_text())["settings"]["lr"] == 2
    warning = "tinygan: warning: setting lr is given twice: the last value, 2, counts\n"
    assert warning in capsys.readouterr().err


def test_options_that_would_do_nothing_are_refused(run, tmp_path, monkeypatch, capsys):
    """The images of the run are built in."""
    output = ["-o", tmp_path / "a.png"]
    for argv in (
        ["eval", run, "-n", 100],
        ["train", "--resume", run, "--steps", 9],
        ["truncation", run, *output],
    ):
        message = f"nothing in the data folder {tmp_path} would be used, because digits is built"
        assert message in fails(capsys, *argv, "--data-dir", tmp_path)
    monkeypatch.setattr("tinygan.cli.styles.load_style_generator", lambda args: (None, SIZES, run))
    argv = ["project", run, "--images", "a.png", "--data-dir", tmp_path, *output]
    assert "leave it out with --images" in fails(capsys, *argv)
    assert not any(tmp_path.iterdir())


SIZES = {"image_shape": [28, 28, 1], "recipe": "stylegan", "data": "digits", "settings": {}}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder, and a working folder beside it that is the current one."""
    for name in "home", "work":
        (tmp_path / name).mkdir()
    for variable in "HOME", "USERPROFILE":
        monkeypatch.setenv(variable, str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home"


def test_a_tilde_is_the_home_folder_in_every_path(run, home, capsys):
    """No shell expands it after an equals sign."""
    succeeds(*TRAIN, "--out=~/one")
    succeeds("train", "--resume=~/one", "--steps", 4)
    (home / "images").mkdir()
    for words in (
        ["sample", "~/one", "-n", 2, "-o", "~/a.png"],
        ["sample", "~/one/checkpoint-00000004.npz", "-n", 2, "--output=~/b.npz"],
        ["animate", "~/one", "-o", "~/c.gif"],
        ["data", "--data-dir=~/images"],
    ):
        succeeds(*words)
    capsys.readouterr()
    missing = fails(capsys, "train", "--data", "mnist", "--data-dir=~/nowhere")
    assert f"{home / 'nowhere'} does not exist" in missing
    names = {path.name for path in home.iterdir()} - {".config", ".cache"}
    assert names == {"one", "a.png", "b.npz", "c.gif", "images"}
    assert not any((home.parent / "work").iterdir())


def test_a_tilde_is_the_home_folder_in_python(run, home):
    recipe = recipes.find("gan")
    settings = recipe.settings().updated({"hidden": 4, "steps": 1, "batch_size": 4})
    trainer = Trainer.start(recipe, settings, data.load(), "~/run")
    trainer.run(progress=False)
    assert trainer.out == home / "run" and load_generator("~/run")[2].parent == home / "run"
    again = Trainer(recipe, settings.updated({"steps": 2}), data.load(), "~/run")
    again.resume(checkpoint.open_run("~/run"))
    again.run(progress=False)
    plots.save_image("~/a.png", np.zeros((4, 4, 3), np.uint8))
    pictures.read("~/a.png", 3)
    npz.save("~/a.npz", {"a": np.zeros(3)})
    assert list(npz.load("~/a.npz")) == ["a"]
    with tinygan.trace() as t:
        y = tensor(1.0, requires_grad=True).exp()
    draw_graph(t.graph(y), "~/drawings/a.png")
    names = {path.name for path in home.iterdir()} - {".config", ".cache"}
    assert names == {"run", "a.png", "a.npz", "drawings"}
    assert not any((home.parent / "work").iterdir())


def test_a_folder_that_is_really_called_tilde(home, capsys):
    succeeds(*TRAIN, "--out", "./~")
    succeeds("train", "--resume", "./~", "--steps", 4)
    assert (home.parent / "work" / "~" / "checkpoint-00000004.npz").exists()
    assert not any(home.iterdir())


NAMES = ["my run", "it's", "a'b\"c", "$HOME", "-o", "~", "a\nb", "\x1b[31m", "é", "a;b", "run.npz"]


@pytest.mark.skipif(not shutil.which("bash"), reason="pastes commands into bash")
@pytest.mark.parametrize("name", NAMES)
def test_commands_that_are_printed_can_be_pasted(home, capsys, monkeypatch, name):
    out = f"./{name}"
    succeeds(*TRAIN, f"--out={out}")
    printed = capsys.readouterr().out.split("more:")[1].splitlines()[0]
    suggestions = [printed.split("tinygan sample ")[1].removesuffix(" -n 100 -o more.png")]
    again = fails(capsys, *TRAIN, f"--out={out}")
    suggestions.append(re.search("continue it with --resume (.*), or choose", again)[1])
    # As after Ctrl-C.
    monkeypatch.setattr(Trainer, "run", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
    assert main(["train", f"--resume={out}", "--steps", "9"]) == 130
    stopped = capsys.readouterr().err.splitlines()[-1]
    suggestions.append(stopped.split("with: tinygan train --resume ")[1])
    for suggestion in suggestions:
        word = subprocess.run(
            ["bash", "-c", f"printf %s {suggestion}"], capture_output=True, text=True
        ).stdout
        assert (home.parent / "work" / word).samefile(home.parent / "work" / name)
        assert not word.startswith("-")
        checkpoint.open_run(word)  # tinygan does not take it for something else


def test_commands_are_quoted_for_windows(monkeypatch):
    monkeypatch.setattr(os, "name", "nt")
    assert quoted("my run") == '"my run"' and quoted("run") == "run"


@pytest.mark.parametrize("name", ["run.npz", "run.png", "checkpoint-00000003.npz"])
def test_a_run_folder_may_have_any_suffix(run, tmp_path, capsys, name):
    folder = shutil.copytree(run, tmp_path / name)
    succeeds("train", "--resume", folder, "--steps", 4)
    succeeds("sample", folder, "-n", 2, "-o", tmp_path / "a.png")
    succeeds("sample", folder / "checkpoint-00000004.npz", "-n", 2, "-o", tmp_path / "a.png")
    succeeds("animate", folder, "-o", tmp_path / "a.gif")
    succeeds("eval", folder, "-n", 100)


def test_mistakes_about_a_run(run, tmp_path, capsys):
    before = sorted(p.name for p in run.rglob("*"))
    assert "--resume" in fails(capsys, *TRAIN, "--out", run)
    assert "a resumed run keeps its recipe" in fails(capsys, "train", "gan", "--resume", run)
    assert "a resumed run keeps its networks (latent=" in fails(
        capsys, "train", "--resume", run, "--set", "latent=7"
    )
    assert "must end in .png, .gif, .webp or .npz" in fails(
        capsys, "sample", run, "-o", tmp_path / "a.jpg"
    )
    assert "does not exist" in fails(capsys, "sample", run, "-o", tmp_path / "no" / "a.png")
    assert "no classes" in fails(capsys, "sample", run, "--label", 3, "-o", tmp_path / "a.png")
    assert "between 0.02 and 10" in fails(
        capsys, "sample", run, "--truncation", 0, "-o", tmp_path / "a.png"
    )
    assert "between 0.02 and 10" in fails(capsys, "eval", run, "--truncation", "nan")
    assert "--output: a.jpg: the name must end in .png" in fails(
        capsys, "truncation", run, "-o", "a.jpg"
    )
    assert "between 0.02" in fails(
        capsys, "truncation", run, "--thresholds", 1, 99, "-o", tmp_path / "a.png"
    )
    assert "no classes" in fails(
        capsys, "sample", run, "--walk", "classes", "-o", tmp_path / "a.gif"
    )
    assert "must end in .gif" in fails(
        capsys, "sample", run, "--walk", "latents", "-o", tmp_path / "a.png"
    )
    assert "must end in .gif" in fails(capsys, "animate", run, "-o", tmp_path / "a.png")
    assert "is a file" in fails(capsys, *TRAIN, "--out", run / "config.json")
    assert "-1 is not between 0" in fails(
        capsys, "sample", run, "--seed", -1, "-o", tmp_path / "a.png"
    )
    assert "is not between 1" in fails(
        capsys, "sample", run, "-n", 10**11, "-o", tmp_path / "a.png"
    )
    assert "is not between 10" in fails(
        capsys, "animate", run, "--milliseconds", 60_000, "-o", tmp_path / "a.gif"
    )
    assert "is not a whole number" in fails(
        capsys, "sample", run, "-n", "abc", "-o", tmp_path / "a.png"
    )
    assert "is not a run" in fails(capsys, "sample", run / "curves.png", "-o", tmp_path / "a.png")
    assert "0 is not between 1" in fails(capsys, "sample", run, "-n", 0, "-o", tmp_path / "a.png")
    assert not any(tmp_path.iterdir()) and before == sorted(p.name for p in run.rglob("*"))


def test_sample_writes_each_format(run, tmp_path, capsys):
    from PIL import Image

    for name in ("a.npz", "b.npz", "c.png", "d.gif"):
        succeeds(
            "sample", run, "-n", 5, "--seed", "0" if name != "b.npz" else "1", "-o", tmp_path / name
        )
    a, b = (np.load(tmp_path / name)["images"] for name in ("a.npz", "b.npz"))
    assert a.shape == (5, 28, 28, 1) and a.dtype == np.uint8 and not np.array_equal(a, b)
    grid = np.asarray(Image.open(tmp_path / "c.png").convert("L"))[::2, ::2]
    assert np.array_equal(grid[2:30, 32:60], a[1, :, :, 0])
    with Image.open(tmp_path / "d.gif") as gif:
        assert gif.n_frames == 60


def test_sample_generates_the_requested_class(conditional, tmp_path, capsys):
    from PIL import Image

    def arrays(*argv):
        succeeds("sample", conditional, *argv, "-o", tmp_path / "a.npz")
        return dict(np.load(tmp_path / "a.npz"))

    sevens, threes = arrays("-n", "4", "--label", "7"), arrays("-n", "4", "--label", "3")
    assert sevens["labels"].tolist() == [7] * 4
    assert not np.array_equal(sevens["images"], threes["images"])
    assert np.bincount(arrays("-n", "30")["labels"]).tolist() == [3] * 10
    succeeds("sample", conditional, "-n", 20, "-o", tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (2 * (2 * 30 + 2), 2 * (10 * 30 + 2))  # a row per class
    succeeds("sample", conditional, "-n", 2, "--label", 7, "-o", tmp_path / "a.gif")
    assert "the classes are 0 to 9" in fails(
        capsys, "sample", conditional, "--label", 10, "-o", tmp_path / "b.png"
    )
    succeeds("sample", conditional, "-n", 1, "-o", tmp_path / "c.png")
    assert "best.npz" in capsys.readouterr().out


@pytest.mark.cpu  # slow; other tests train and evaluate on the other backends
def test_eval_prints_a_table_and_writes_it(run, conditional, capsys):
    for folder, more in ((run, []), (conditional, ["--split", "held-out", "--weights", "last"])):
        succeeds("eval", folder, "-n", 200, *more)
        out = capsys.readouterr().out
        report = json.loads((folder / "metrics.json").read_text())
        assert report["samples"] == 200 and report["split"] == ("held-out" if more else "test")
        assert report["real"] == (1000 if more else 2000) and "99." in report["extractor"]
        assert (
            "FID" in out
            and f"{report['fid']:.3f}" in out
            and "200 samples" in out
            and report["extractor"] in out
        )
        assert ("class_accuracy" in report) == (folder is conditional)
        assert sum(report["class_counts"]) == 200
        assert (folder / "neighbours.png").stat().st_size > 1000
    assert "more than" in fails(capsys, "eval", run, "-n", 3)
    assert "nowhere does not exist" in fails(capsys, "eval", "nowhere")


def test_a_walk_passes_through_every_latent_and_keeps_their_length():
    z = np.random.default_rng(0).standard_normal((3, 1000)).astype("float32")
    path = walk(tensor(z), frames=10).numpy()
    assert path.shape == (30, 1000) and np.array_equal(path[::10], z)
    assert np.abs(np.linalg.norm(path, axis=1) - 1000**0.5).max() < 2.5


def test_a_walk_through_the_classes_reaches_each_of_them():
    mixtures = np.concatenate(list(class_walk(3, 4)))
    assert np.array_equal(mixtures[::4], np.eye(3)) and np.allclose(mixtures.sum(1), 1)
    assert np.allclose(mixtures[-2], [0.5, 0, 0.5])  # from the last class to the first


def test_animations(run, conditional, tmp_path, capsys):
    from PIL import Image

    succeeds("sample", conditional, "--walk", "classes", "-n", 3, "-o", tmp_path / "a.gif")
    succeeds("animate", run, "-o", tmp_path / "b.webp")
    with Image.open(tmp_path / "a.gif") as walked, Image.open(tmp_path / "b.webp") as film:
        assert walked.n_frames == 120 and film.n_frames == len(list((run / "samples").iterdir()))
    assert "leave out --label" in fails(
        capsys, "sample", conditional, "--walk", "classes", "--label", 1, "-o", "a.gif"
    )


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"\x89PNG\r\n\x1a\n"])
def test_a_damaged_grid_is_one_line(run, tmp_path, capsys, damage):
    copy = shutil.copytree(run, tmp_path / "run")
    sorted((copy / "samples").iterdir())[0].write_bytes(damage)
    assert "damaged" in fails(capsys, "animate", copy, "-o", tmp_path / "a.gif")
    assert not (tmp_path / "a.gif").exists()


def test_out_of_memory_is_one_line(run, tmp_path, capsys, monkeypatch):
    def latents(*_):
        raise MemoryError("Unable to allocate 400 GiB")

    monkeypatch.setattr("tinygan.training.sampling.latents", latents)
    assert "out of memory (Unable" in fails(capsys, "sample", run, "-o", tmp_path / "a.png")


def test_a_walk_of_truncated_latents_stays_within_the_threshold():
    z = latents(np.random.default_rng(0), 10, SimpleNamespace(latent=1000), 0.5)
    straight, circular = walk(z, 12, straight=True).numpy(), walk(z, 12).numpy()
    assert np.abs(straight).max() <= 0.5 < np.abs(circular).max()


def test_truncation_writes_curves_numbers_and_a_grid(conditional, tmp_path, capsys):
    from PIL import Image

    succeeds("truncation", conditional, "-n", 40, "--thresholds", 2, ".5", "-o", tmp_path / "a.png")
    rows = json.loads((tmp_path / "a-numbers.json").read_text())["thresholds"]
    assert [row["threshold"] for row in rows] == [0.5, 2] and rows[0]["fid"] != rows[1]["fid"]
    assert {"precision", "recall", "class_accuracy"} < rows[0].keys() and rows[0]["samples"] == 40
    out = capsys.readouterr().out
    assert f"{rows[0]['fid']:.3f}" in out and f"{rows[1]['recall']:.3f}" in out
    with Image.open(tmp_path / "a-grid.png") as grid:
        assert grid.width > 2 * (10 * 30 + 2) and grid.height == 2 * (2 * 30 + 2)
        labels = np.asarray(grid.convert("L"))[:, : grid.width - 2 * (10 * 30 + 2)]
        assert {48} < {*labels[:62].ravel()} and {48} < {*labels[62:].ravel()}  # one for each row
    assert (tmp_path / "a.png").stat().st_size > 5000


def test_the_settings_of_a_recipe_are_listed_by_group(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for name in recipes.RECIPES:
        succeeds("recipes", name)
        out = capsys.readouterr().out
        assert max(map(len, out.splitlines()[3:])) <= 80
        sections = re.split(r"\n\n(?=\w+: )", out)[1:]
        assert [section.split(":")[0] for section in sections] == [*GROUPS]
        listed = [re.findall(r"^  (\w+)  ", section, re.MULTILINE) for section in sections]
        settings = recipes.find(name).settings()
        fields = {f.name: f for f in dataclasses.fields(settings)}
        assert sorted(sum(listed, [])) == sorted(fields)  # each once
        assert {"latent", "g_class"} <= {*listed[0]} and {"loss", "r1"} <= {*listed[1]}
        assert {"lr", "ema"} <= {*listed[2]} and {"augment", "ada_p"} <= {*listed[3]}
        assert {"steps", "batch_size", "eval_every"} <= {*listed[4]}
        for f in fields.values():  # a star marks what the recipe changes from the default
            changed = getattr(settings, f.name) != f.default
            assert bool(re.search(rf"^  {f.name} +\S+\*  ", out, re.MULTILINE)) == changed, f.name


def test_the_shares_of_time_add_up():
    for phases, total in (
        ({"data": 0.125, "D": 3.375, "G": 3.375, "average": 0.125}, 10.0),
        ({"D": 1 / 3, "G": 1 / 3}, 1.0),
        ({"data": 0.335, "D": 0.335, "G": 0.33}, 1.0),  # 34 + 34 + 33 would be 101
        ({name: 0.006 for name in "abcdefghij"}, 0.06),
        ({name: 0.015 for name in "abcdefghij"}, 1.0),
        ({}, 2.0),
    ):
        text = time_shares(phases, total)
        names = [share.split()[0] for share in text.split(", ")]
        assert names == [*phases, "other"]
        assert sum(map(int, re.findall(r"(-?\d+)%", text))) == 100
        assert "-" not in text
    assert time_shares({"D": 0.26, "G": 0.24}, 1.0) == "D 26%, G 24%, other 50%"


def test_lists(capsys):
    succeeds("recipes")
    succeeds("recipes", "dcgan")
    out = capsys.readouterr().out
    assert (
        "Goodfellow" in out and "Radford" in out and "g_channels" in out and "learning rate" in out
    )
    succeeds("data")
    out = capsys.readouterr().out
    assert "digits" in out and "built in" in out and "60,000" in out


def test_show_counts_parameters_and_multiply_adds(capsys):
    succeeds("show", "dcgan")
    out = capsys.readouterr().out
    assert (
        f"{100 * 49 * 128:,}" in out
        and f"{49 * 16 * 64 * 128:,}" in out
        and "(1, 28, 28, 1)" in out
    )


def test_show_prints_the_networks_of_a_run(tmp_path, capsys):
    run = tmp_path / "run"
    succeeds(
        *("train", "stylegan2", "--data", "stacked-digits", "--steps", 1, "--batch-size", 2),
        *("--out", run, "--set", "g_channels=2", "d_channels=2", "style=4", "latent=5"),
    )
    capsys.readouterr()
    succeeds("show", run)
    out = capsys.readouterr().out
    assert "G: input (1, 5)\n" in out and "D: input (1, 32, 32, 3)\n" in out
    assert "leave it out" in fails(capsys, "show", run, "--set", "g_channels=4")
    assert "leave them out" in fails(capsys, "show", "dcgan", "--trust")


def test_show_gives_d_a_pack_of_images(capsys):
    succeeds("show", "dcgan", "--set", "pack=2")
    assert "D: input (2, 28, 28, 1), a pack\n" in capsys.readouterr().out


def test_gradcheck_says_that_an_op_has_no_row(monkeypatch, capsys):
    monkeypatch.setattr("tinygan.ops.__all__", [*tinygan.ops.__all__, "mish"])
    assert "the op mish has no row in tinygan/optable/: add one" in fails(
        capsys, "gradcheck", "mish"
    )
    for name in ("mush", "composite"):  # ops.composite is a file, not an op
        assert f"no op or layer has {name} in its name" in fails(capsys, "gradcheck", name)


def test_gradcheck_prints_the_table_and_fails_on_a_wrong_derivative(capsys, monkeypatch):
    succeeds("gradcheck", "tanh")
    out = capsys.readouterr().out
    assert re.search(r"tanh +\d\.\de-\d+ +\d\.\de-\d+  pass", out)

    from tinygan import optable

    wrong = dataclasses.replace(
        optable.ROWS[0],
        name="wrong",
        function=lambda x: x * x.detach(),
        draw=lambda rng: [rng.normal(size=3)],
        arguments=["x"],
    )
    monkeypatch.setattr(optable, "ROWS", [wrong])
    assert main(["gradcheck"]) == 1
    out = capsys.readouterr().out
    assert "FAIL" in out and "order 1: the gradient of x is wrong" in out and "0 of 1 pass" in out
    assert out.count(" 0.5\n") == 4  # the ratios of the entries that differ, and of a result


WITHOUT_COMMAND = ["--help"], ["--version"], ["fly"], ["fly", "--help"], [], ["--fly"]


def test_a_command_is_imported_only_when_it_is_called():
    """So the help appears quickly. The time itself depends on the machine; the imports do not."""
    code = (
        "import sys, tinygan\n"
        "before = {*sys.modules}\n"
        "from tinygan.cli import main\n"
        f"for words in {WITHOUT_COMMAND}:\n"
        "    try: main(words)\n"
        "    except SystemExit: pass\n"
        "print(*sorted(name for name in {*sys.modules} - before if name.startswith('tinygan')))\n"
        "print(*sorted({'matplotlib', 'scipy', 'tqdm', 'PIL'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    *output, imported, slow = done.stdout.splitlines()
    expected = "tinygan.cli tinygan.cli.options"
    assert (imported, slow) == (expected, ""), done.stderr
    assert any("train a recipe" in line for line in output)


@pytest.mark.parametrize("file, name", {file: name for name, (file, _) in COMMANDS.items()}.items())
def test_a_file_of_commands_imports_no_other_one(file, name):
    code = (
        f"import sys\nfrom tinygan.cli import main\ntry: main(['{name}', '--help'])\n"
        "except SystemExit: pass\nprint(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    modules, files = done.stdout.split(), {file for file, _ in COMMANDS.values()}
    assert {file for file in files if f"tinygan.cli.{file}" in modules} == {file}, done.stderr


def test_tinygan_alone_lists_the_commands(capsys):
    for words in ["--help"], []:
        with pytest.raises(SystemExit) as end:
            main(words)
        assert not end.value.code
    once, twice = capsys.readouterr().out.split("usage:")[1:]
    assert once == twice and "train a recipe" in once


def test_every_command_has_help(capsys):
    for name in COMMANDS.keys() - {"bench"}:
        with pytest.raises(SystemExit):
            main([name, "--help"])
        assert f"usage: tinygan {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name, value",
    [
        ("TINYGAN_BACKEND", "abacus"),
        ("TINYGAN_NUM_THREADS", "many"),
        ("TINYGAN_NUM_THREADS", "0"),
        ("TINYGAN_NUM_THREADS", "-1"),
    ],
)
def test_a_wrong_environment_is_one_line(tmp_path, name, value):
    done = subprocess.run(
        [sys.executable, "-m", "tinygan.cli", *TRAIN],
        capture_output=True,
        text=True,
        env={**os.environ, name: value},
        cwd=tmp_path,
    )
    assert not any(tmp_path.iterdir())
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"tinygan: error: {name}={value}: ")


def test_the_version_is_that_of_the_package():
    done = subprocess.run(
        [sys.executable, "-m", "tinygan", "--version"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, f"tinygan {tinygan.__version__}\n")


@pytest.mark.parametrize("more", [[], ["--help"], ["mlp", "--against", "torch"]])
def test_bench_says_where_the_benchmark_is(capsys, more):
    assert "run `python -m demos.bench` in a checkout" in fails(capsys, "bench", *more)


def test_a_folder_named_tinygan_beside_a_script_does_not_hide_the_package(tmp_path):
    """A clone's folder has no __init__.py. Python could take it for the package if the clone were
    installed by an import hook, which Python tries last."""
    (tmp_path / "tinygan").mkdir()
    (tmp_path / "script.py").write_text("import tinygan\nprint(tinygan.__version__)\n")
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py"], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (0, f"{tinygan.__version__}\n"), done.stderr


@pytest.mark.parametrize("module", ["tinygan", "tinygan.cli"])
def test_as_a_program(tmp_path, module):
    """A progress bar goes to stderr, and a pipe that closes early causes no traceback."""
    done = subprocess.run(
        [sys.executable, "-m", module, *TRAIN], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0 and "3/3" in done.stderr and "step/s" in done.stderr, done.stderr
    done = subprocess.run(
        f"{sys.executable} -m {module} recipes dcgan | true",
        shell=True,
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in done.stderr
