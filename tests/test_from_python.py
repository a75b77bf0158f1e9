"""Training from Python: `tinygan.train`, `tinygan.load_run` and the Run, which do what the command
line does; callbacks; and what a notebook shows."""

import dataclasses
import json
import shutil
import signal
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest

import tinygan
from tinygan import InputError, cli, data, notebook
from tinygan.backend import asarray
from tinygan.data import pictures
from tinygan.errors import Interrupted
from tinygan.files import checkpoint
from tinygan.runs.messages import messages_for_python

SMALL = {"batch_size": 4, "g_channels": 2, "d_channels": 2}


def train(out, steps=12, **options):
    options = {"progress": False} | SMALL | options
    return tinygan.train("quick", steps=steps, out=out, **options)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(tmp_path_factory.mktemp("python") / "a")


def same_checkpoints(a, b):
    """Return whether two runs have the same last checkpoint."""
    (states, meta), (others, other_meta) = (
        checkpoint.load(checkpoint.checkpoints(run.folder)[-1]) for run in (a, b)
    )
    return meta == other_meta and all(
        np.array_equal(array, others[part][name])
        for part in states
        for name, array in states[part].items()
    )


def shell(*words):
    assert cli.main(list(map(str, words))) == 0


def test_a_run_is_the_same_as_from_the_shell(run, tmp_path, capsys):
    settings = [f"{name}={value}" for name, value in SMALL.items()]
    shell("train", "quick", "--steps", 12, "--out", tmp_path / "b", "--set", *settings)
    other = tinygan.load_run(tmp_path / "b")
    assert same_checkpoints(run, other) and run.config == other.config
    assert run.log.keys() == other.log.keys()
    assert run.settings == other.settings and run.step == other.step == 12


def test_samples_are_those_of_the_shell(run, tmp_path, capsys):
    of_shell = lambda *words: shell("sample", run.folder, "--seed", 3, *words)
    for options, words in (
        ({}, ()),
        ({"label": 3}, ("--label", 3)),
        ({"truncation": 0.5, "weights": "last"}, ("--truncation", 0.5, "--weights", "last")),
    ):
        of_shell("-n", 14, "-o", tmp_path / "a.npz", *words)
        images = run.sample(14, seed=3, **options)
        assert images.dtype == np.uint8 and images.shape == (14, 28, 28, 1)
        assert np.array_equal(images, np.load(tmp_path / "a.npz")["images"])
        of_shell("-n", 14, "-o", tmp_path / "a.png", *words)
        shown = np.asarray(run.show(14, seed=3, **options))
        assert np.array_equal(shown, pictures.read(tmp_path / "a.png", 3))
    assert run.sample().shape == (64, 28, 28, 1)  # the truncated G was a copy
    by_class = run.sample(3, label=[1, 1, 7])
    assert np.array_equal(by_class[:2], run.sample(3, label=1)[:2])
    assert not np.array_equal(by_class, run.sample(3, label=1))


@pytest.mark.curves  # the points are drawn
def test_points_and_their_evaluation_are_those_of_the_shell(tmp_path, capsys):
    out = {"out": tmp_path / "a", "progress": False}
    points = tinygan.train("gan", data="ring", steps=2, hidden=4, batch_size=4, **out)
    shell("eval", points.folder, "-n", 60)
    assert points.evaluate(60) == json.loads((points.folder / "metrics.json").read_text())
    assert points.evaluate(60, split="held-out")["split"] == "held-out"
    shell("sample", points.folder, "-n", 60, "-o", tmp_path / "a.npz")
    samples = points.sample(60)
    assert np.array_equal(samples, np.load(tmp_path / "a.npz")["points"])
    assert samples.shape == (60, 2) and samples.dtype == np.float32
    shell("sample", points.folder, "-n", 60, "-o", tmp_path / "a.png")
    shown = np.asarray(points.show(60).convert("RGB"))
    assert np.array_equal(shown, pictures.read(tmp_path / "a.png", 3))
    own = dataclasses.replace(data.load("ring").subset(slice(200)), name="own", origin=None)
    given = tinygan.load_run(points.folder, data=own).show(60)  # over their held-out points
    assert given.size == (shown.shape[1], shown.shape[0])


def test_an_evaluation_compares_with_the_images_of_the_run(run, monkeypatch):
    asked = {}

    def evaluate(images, labels, real, train, seed, extractor):
        asked.update(shape=images.shape, real=(real.name, real.split, len(real)), train=len(train))
        return {"fid": 1.0}

    monkeypatch.setattr("tinygan.metrics.evaluate", evaluate)
    assert run.evaluate(60, weights="last") == {
        "recipe": "quick",
        "checkpoint": "checkpoint-00000012.npz",
        "step": 12,
        "weights": "last",
        "truncation": None,
        "fid": 1.0,
    }
    real = "digits", "test", len(data.load("digits", "test"))
    assert asked == {"shape": (60, 28, 28, 1), "real": real, "train": 9000}


def test_the_log_is_a_mapping_of_arrays(run):
    assert run.log["step"].tolist() == [10, 12] and run.log["d_loss"].dtype == np.float64
    # The penalty is lazy: no step of the second line has one.
    assert np.isnan(run.log["penalty"]).tolist() == [False, True]
    assert "warnings" not in run.log and run.evaluations == {}


def test_a_loaded_run_has_the_same_networks(run):
    loaded = tinygan.load_run(run.folder)
    for name in "GD":
        ours, theirs = (getattr(r, name).state_dict() for r in (run, loaded))
        assert all(np.array_equal(ours[key], theirs[key]) for key in ours | theirs)
    assert "quick on digits, step 12 of 12" in repr(loaded)
    last = tinygan.load_run(checkpoint.checkpoints(run.folder)[-1])
    assert last.step == 12 and last.folder == run.folder
    assert np.array_equal(last.sample(4), run.sample(4))


def test_a_callback_sees_every_step_and_changes_no_bit(run, tmp_path):
    steps, losses = [], []

    def on_step(run, numbers):
        steps.append(run.step)
        losses.append(numbers["d_loss"])
        run.sample(2)
        run.D(asarray(np.zeros((2, 28, 28, 1), np.float32)), np.zeros(2, int))
        assert run.G is run.G and run.step == run._trainer.step
        if run.step in (5, 12):
            run.save()

    watched = train(tmp_path / "a", on_step=on_step)
    assert steps == [*range(1, 13)] and set(map(type, losses)) == {float}
    assert watched.log["d_loss"][0] == pytest.approx(np.mean(losses[:10]))
    assert checkpoint.names(watched.folder) == tuple(f"checkpoint-{i:08d}.npz" for i in (5, 12))
    assert same_checkpoints(run, watched)


def test_a_run_that_stops_or_fails_continues_with_the_same_bits(run, tmp_path):
    def stop(run, numbers):
        if run.step == 4:
            run.stop()

    def fail(run, numbers):
        if run.step == 7:
            raise ZeroDivisionError

    parts = train(tmp_path / "a", on_step=stop)
    assert parts.step == 4
    with pytest.raises(ZeroDivisionError):
        parts.resume(on_step=fail, progress=False)
    assert tinygan.load_run(parts.folder).step == 7
    assert parts.resume(progress=False) is parts and same_checkpoints(run, parts)
    again = tinygan.train(resume=parts.folder, steps=13, progress=False)
    assert again.step == 13 and again.log["step"].tolist() == [10, 12, 13]
    with pytest.raises(InputError, match=r"already at step 13: give a larger steps"):
        again.resume()


def test_data_in_memory(tmp_path):
    digits = data.load("digits")
    images = digits.images[:200]
    names = np.array(["even", "odd"])[digits.labels[:200] % 2]
    run = train(tmp_path / "a", steps=2, data=(images, names))
    assert run.config["class_names"] == ["even", "odd"] and run.config["data"] == "array"
    assert np.array_equal(run.sample(2, label="odd"), run.sample(2, label=1))
    assert (run._run_data().reals().split, len(run._run_data().reals())) == ("held-out", 20)
    assert run.resume(steps=3, progress=False).step == 3
    loaded = tinygan.load_run(run.folder)
    with pytest.raises(InputError, match="cannot find again: hand it over in Python, as data=..."):
        loaded.resume(steps=4)
    with pytest.raises(InputError, match="200 .*give its own data|of 10 classes, but"):
        tinygan.load_run(run.folder, data=digits).evaluate(20)
    again = tinygan.load_run(run.folder, data=(images, names))
    assert again.resume(steps=4, progress=False).step == 4
    # Continued on other data, it has these from then on.
    assert again.resume(steps=5, data=(images[:150], names[:150]), progress=False) is again
    assert len(again._run_data().whole) == 150
    # A part of a data set is not taken for the whole one.
    part = train(tmp_path / "b", steps=1, data=digits.subset(slice(100)))
    whole = train(tmp_path / "c", steps=1, data=digits)
    assert (part.config["data"], whole.config["data"]) == ("digits-changed", "digits")


def test_an_exit_in_on_step_saves_the_step(tmp_path, capsys):
    with pytest.raises(SystemExit):
        train(tmp_path / "a", on_step=lambda run, numbers: sys.exit(3))
    assert "stopped at step 1; continue from step 1 with: tinygan.train(" in capsys.readouterr().err
    assert tinygan.load_run(tmp_path / "a").step == 1


@pytest.mark.parametrize(
    "mistake, message",
    [
        (lambda run: run.sample(2, label=11), "^label 11: the classes are 0 to 9$"),
        (lambda run: run.sample(2, label=[1]), "^label: 1 classes for 2 samples: give one class"),
        (lambda run: run.sample(0), "^n=0: must be a whole number, at least 1$"),
        (lambda run: run.sample(2, truncation=50), "^truncation 50: the threshold must be"),
        (lambda run: run.sample(2, weights="best"), "^weights='best': must be 'average' or 'last'"),
        (lambda run: run.sample(2, seed="0"), "^seed='0': must be a whole number, at least 0$"),
        (lambda run: run.sample(2, label=1.0), "^label 1.0: the classes are 0 to 9$"),
        (lambda run: run.evaluate(split="train"), "^split='train': must be 'test' or 'held-out'"),
        (lambda run: tinygan.train(on_step=3), "^on_step=3: must be a function"),
        (lambda run: tinygan.train(seed=-1), "^seed=-1: must be a whole number, at least 0$"),
        (lambda run: run.stop(), r"^run.stop\(\) is for on_step, while the run trains$"),
        (lambda run: tinygan.train("quik"), "^unknown recipe 'quik': did you mean quick"),
        (lambda run: tinygan.train(stepps=3), "^unknown setting 'stepps': did you mean steps"),
        (lambda run: tinygan.train(data=3), "^data must be the name of a data set, a path, a Data"),
        (lambda run: tinygan.train(data="digits", layout="NHWC"), "^layout is for your own data"),
        (
            lambda run: tinygan.load_run(run.path, np.zeros((9, 28, 28, 1), "u1"), data_dir="x"),
            "^data_dir is not used with data that are an array",
        ),
        (
            lambda run: run.resume(data=np.zeros((9, 8, 8, 1), "u1")),
            "^array has images of 8x8x1 in 1 classes, but the networks of",
        ),
        (
            lambda run: tinygan.train(out=run.folder),
            "continue it with resume='.*', or choose another out$",
        ),
        (
            lambda run: tinygan.train(resume=run, steps=99, latent=7),
            "leave it out, or begin a new run with init_from='.*'$",
        ),
        (lambda run: tinygan.train(loss=print), "^setting loss=.*text, such as FILE.py:NAME$"),
        (lambda run: tinygan.train(resume=run, seed=1), "^a run continues with its own .*seed, or"),
        (lambda run: tinygan.load_run("nowhere"), "^nowhere does not exist; give the folder that"),
    ],
)
def test_mistakes_are_one_line_in_the_words_of_python(run, mistake, message):
    with pytest.raises(InputError, match=message) as raised:
        mistake(run)
    assert "--" not in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "said, in_python",
    {
        "give it with --model FILE.py; or use the copy with --trust": "give it with "
        "model='FILE.py'; or use the copy with trust=True",
        "--data-dir /d is not used": "data_dir='/d' is not used",
        "leave --data-dir out, or --model out": "leave data_dir out, or model out",
        "--data 'my images': leave it out": "data='my images': leave it out",
        "leave out --steps 3, or --set lr=2": "leave out steps=3, or lr=2",
        "give --image-size 8x8.": "give image_size='8x8'.",
        "with: tinygan train --resume x": "with: tinygan train --resume x",
    }.items(),
)
def test_options_in_a_message_become_arguments(said, in_python):
    with pytest.raises(InputError) as raised, messages_for_python():
        raise InputError(said)
    assert str(raised.value) == in_python


def test_a_run_trains_in_another_thread(run, tmp_path):
    """Only the main thread can handle signals."""
    done = []
    thread = threading.Thread(target=lambda: done.append(train(tmp_path / "a")))
    thread.start()
    thread.join()
    assert same_checkpoints(run, done[0])


# Notebooks


class Shown(SimpleNamespace):
    """What `IPython.display.display(..., display_id=True)` returns."""

    def update(self, thing):
        self.things.append(thing)


def test_what_a_notebook_shows_of_a_run_follows_no_link(run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run.folder, copy)
    other = tinygan.load_run(copy)
    assert other._repr_png_() == run._repr_png_() and run._repr_png_().startswith(b"\x89PNG")
    (copy / "samples").rename(tmp_path / "elsewhere")
    assert other._repr_png_() is None
    (copy / "samples").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="samples is a link"):
        other._repr_png_()


def test_weights_of_a_run_go_out_and_in(run, tmp_path):
    pytest.importorskip("safetensors")
    for network in "GD":
        path = tmp_path / f"{network}.safetensors"
        run.export(path, network)
        other = tinygan.load_run(run.folder)
        fresh = getattr(other, network)
        for parameter in fresh.parameters():
            parameter.assign(0.0 * parameter.data)
        tinygan.import_weights(fresh, path)
        for name, array in getattr(run, network).state_dict().items():
            assert np.array_equal(array, fresh.state_dict()[name])
    with pytest.raises(InputError, match="network='C': must be 'G' or 'D'"):
        run.export(tmp_path / "C.safetensors", "C")


MODEL = """
from tinygan.models import dcgan
RECIPE = dcgan.RECIPE.variant("mine", "my own", g_channels=2, d_channels=2, batch_size=4, steps=2)
"""


def test_a_run_has_its_own_code_other_weights_and_changes(tmp_path):
    model = tmp_path / "my_model.py"
    model.write_text(MODEL)
    first = tinygan.train(model, out=tmp_path / "first", progress=False)
    assert first.settings.g_channels == 2 and len(first.sample(3)) == 3
    with pytest.raises(InputError, match="give this file with model='FILE.py'"):
        tinygan.load_run(first.folder).G
    assert tinygan.load_run(first.folder, model=model).sample(2).shape == (2, 28, 28, 1)
    second = tinygan.train(
        model, out=tmp_path / "second", init_from=first, freeze="D.main.0", progress=False
    )
    assert second.config["init_from"]["step"] == 2
    frozen, trained = (
        np.array_equal(first.D.state_dict()[name], second.D.state_dict()[name])
        for name in ("main.0.weight", "main.2.weight")
    )
    assert frozen and not trained
    second.resume(steps=4, lr="linear:1e-3:0:until=4", progress=False)
    assert second.step == 4 and list(second.config["history"][0]["changed"]) == ["lr"]
    assert second.log["lr"][-1] == pytest.approx(2.5e-4 / 2)


@pytest.fixture
def kernel(monkeypatch):
    """Let this process be a notebook's kernel; return the list of what is shown, by place."""
    places = []

    def display(thing, display_id=False):
        places.append(Shown(things=[thing]))
        return places[-1] if display_id else None

    shell = SimpleNamespace(kernel=object())
    ipython = SimpleNamespace(get_ipython=lambda: shell, display=SimpleNamespace(display=display))
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    return places


@pytest.mark.curves
def test_a_notebook_shows_a_run_in_three_places(kernel, tmp_path, capsys):
    run = tinygan.train(
        "quick", steps=6, out=tmp_path / "a", sample_every=2, checkpoint_every=3, **SMALL
    )
    bar, grid, curves = kernel
    assert all(isinstance(line, notebook.Text) for line in bar.things)
    assert "6/6" in bar.things[-1].text and "█" in bar.things[-1].text
    assert "<pre>" in bar.things[-1]._repr_html_()
    steps = [int(picture.caption[-12:-4]) for picture in grid.things]
    assert steps == [0, 2, 4, 6] and all(p._repr_png_()[1:4] == b"PNG" for p in grid.things)
    # The first checkpoint comes before the first line of the log: there are no curves yet.
    assert [picture.caption[-10:] for picture in curves.things] == ["curves.png"]
    assert capsys.readouterr() == ("", "")
    assert run._repr_png_() == grid.things[-1]._repr_png_()
    table = run._repr_html_()
    assert "<td>6 of 6</td>" in table and table.count("<img") == 2


def interrupt_at(step):
    def on_step(run, numbers):
        if run.step == step:
            signal.raise_signal(signal.SIGINT)

    return on_step


def test_an_interrupt_saves_the_run_and_in_a_notebook_returns_it(run, tmp_path, capsys, request):
    with pytest.raises(Interrupted):
        train(tmp_path / "a", on_step=interrupt_at(5))
    assert tinygan.load_run(tmp_path / "a").step == 5
    assert capsys.readouterr().err.startswith("tinygan: stopped at step 5; continue from step 5")
    request.getfixturevalue("kernel")
    stopped = train(tmp_path / "b", on_step=interrupt_at(5))
    assert stopped.step == 5 and stopped.sample(2).shape == (2, 28, 28, 1)
    assert capsys.readouterr().out == (
        f"stopped at step 5; continue from step 5 with: tinygan.train(resume='{stopped.folder}')\n"
    )
    assert same_checkpoints(run, stopped.resume(progress=False))


def test_what_a_notebook_cannot_show_does_not_end_the_run(kernel, tmp_path, monkeypatch):
    def fail(*args, **settings):
        raise RuntimeError("the front end is gone")

    monkeypatch.setattr(sys.modules["IPython"].display, "display", fail)
    assert train(tmp_path / "a", steps=2, progress=True).step == 2


def test_a_program_that_only_imports_ipython_is_no_notebook(kernel, monkeypatch):
    assert notebook.is_active()
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: None)
    assert not notebook.is_active()
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: SimpleNamespace())
    assert not notebook.is_active()  # IPython in a terminal
