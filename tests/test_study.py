"""Studies: the three sizes, what is trained, measured and stored, and how a study continues."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from tinygan import data
from tinygan.data import pictures
from tinygan.errors import InputError
from tinygan.files import checkpoint, locked, npz
from tinygan.study import (
    Study,
    mean_and_range,
    measure,
    plot_evaluations,
    plot_images,
    plot_log,
    result_files,
    set_log_scale,
)
from tinygan.study import study as study_module
from tinygan.training import recipes
from tinygan.training.algorithm import Algorithm
from tinygan.training.trainer import Trainer

# The code that studies call is tested on every backend; their own processes would use NumPy.
pytestmark = pytest.mark.cpu
VARIANTS = {"small": "hidden=4", "DCGAN .5": "dcgan g_channels=2 d_channels=2"}
ROOT = Path(__file__).parent.parent


@pytest.fixture
def make_study(tmp_path, monkeypatch):
    """A function that makes a Study from the words of a command line, in a temporary folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(measure, "evaluator", measure.evaluator.__wrapped__)
    return lambda *argv, name="x": Study(tmp_path / f"{name}.py", "What it is.", argv=argv)


def train(study, variants=VARIANTS, **settings):
    return study.train(
        variants, "gan", "batch_size=4", data="digits", samples=60, **{"steps": 20} | settings
    )


def same(a, b):
    """Return whether two Runs have the same results, apart from their times."""
    without_times = lambda run: {
        **run.results,
        "seconds": 0,
        "evaluations": [{**row, "seconds": 0} for row in run.evaluations],
    }
    return without_times(a) == without_times(b)


def test_the_results_of_a_run(make_study, tmp_path):
    study = make_study("--tiny")
    runs = train(
        study,
        eval_every=10,
        eval_images=100,
        also=lambda folder: {"checkpoints": len(checkpoint.checkpoints(folder))},
    )
    assert list(runs) == list(VARIANTS) and study.choose(1, 2, 3) == 1
    (run,) = runs["DCGAN .5"]
    assert (
        run.recipe == "dcgan"
        and run.settings["g_channels"] == 2
        and run.settings["batch_size"] == 4
        and run.fid > 0
    )
    assert (
        run.also == {"checkpoints": 2}  # that of step 0, and the last one
        and run.metrics["samples"] == 60
        and run.metrics["real"] == 200
    )
    assert [row["step"] for row in run.evaluations] == [10, 20] and run.evaluations[1]["fid"] > 0
    assert len(run.log["step"]) == len(run.log["d_loss"]) == 2 and run.seconds > 0
    assert run.images.shape == (40, 28, 28, 1) and run.images.dtype == np.uint8
    assert run.command == (
        "tinygan train dcgan --data digits --seed 0 --set batch_size=4 steps=20 "
        "eval_every=10 eval_images=100 g_channels=2 d_channels=2"
    )
    assert (
        result_files.read_json(tmp_path / "out" / "results" / "x.json")["runs"]["dcgan-.5-0"]
        == run.results
    )
    with pytest.raises(
        AttributeError,
        match="DCGAN .5: class_accuracy was not measured; there are: command, recipe",
    ):
        run.class_accuracy


def test_points_are_measured_by_their_modes(make_study):
    """They keep no samples, which would not be pictures; and the recipe has its defaults for
    points."""
    runs = make_study("--tiny").train(
        {"ring": "hidden=4"}, "gan", "batch_size=8", data="ring", samples=60, steps=4, eval_every=2
    )
    (run,) = runs["ring"]
    assert run.settings["dropout"] == 0 and run.modes_found == 0 and run.good_samples < 0.5
    assert [row["step"] for row in run.evaluations] == [2, 4]
    assert all(0 < row["energy_distance"] < 10 for row in run.evaluations)
    with pytest.raises(
        InputError, match="has no samples: only the first seed keeps them, of images"
    ):
        run.images


def study_in(namespace, call, **names):
    """Return the Study that `call` makes in a file, or without __file__ in a notebook's cell."""
    exec(f"study = {call}", {"Study": Study, **namespace}, names)
    return names["study"]


def test_a_study_finds_its_folder(tmp_path, monkeypatch):
    script = {"__file__": str(tmp_path / "scripts" / "x.py")}
    monkeypatch.setattr(sys, "argv", ["x.py", "--tiny"])
    monkeypatch.chdir(tmp_path)
    for call in "Study('x', __doc__)", "Study(__file__, None)":
        study = study_in(script, call, __doc__="What it is.")
        assert (study.name, study.size, study.folder) == ("x", "tiny", tmp_path / "scripts")
    # A notebook has no __file__: the folder is that of the script of this name.
    (tmp_path / "demos" / "notebooks").mkdir(parents=True)
    assert study_in({}, "Study('x')").folder == tmp_path
    (tmp_path / "demos" / "x.py").touch()
    assert study_in({}, "Study('x')").folder == tmp_path / "demos"
    monkeypatch.chdir(tmp_path / "demos" / "notebooks")
    assert study_in({}, "Study('x')").folder == tmp_path / "demos"
    assert study_in({}, "Study('y')").folder == tmp_path / "demos" / "notebooks"


def test_the_size_of_a_study_in_a_notebook_is_an_argument(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["ipykernel_launcher.py", "-f", "kernel.json"])
    monkeypatch.setattr(study_module.notebook, "is_active", lambda: True)
    assert [Study("x", size=size).size for size in (None, "tiny", "full")] == [
        "fast",
        "tiny",
        "full",
    ]
    with pytest.raises(InputError, match="size 'Tiny': did you mean tiny"):
        Study("x", size="Tiny")
    # The command line of a script counts more.
    assert Study("x", argv=["--full"], size="tiny").size == "full"


def test_the_small_sizes_train_again_each_time(make_study):
    first, second = (
        train(make_study("--tiny"), {"small": "hidden=4"}, steps=steps)["small"][0]
        for steps in (2, 3)
    )
    assert first.settings["steps"] == 2 and second.settings["steps"] == 3


def test_the_full_size_stores_results_and_continues(make_study, tmp_path, monkeypatch):
    full = make_study("--full", "--jobs", "1", "--seeds", "0", "3")
    assert make_study("--full").seeds == (0, 1, 2) and make_study().seeds == (0,)
    settings = (
        recipes.find("gan")
        .settings()
        .updated({"batch_size": 4, "steps": 20, "hidden": 4, "checkpoint_every": 5})
    )
    begun = Trainer.start(
        recipes.find("gan"), settings, data.load("digits"), tmp_path / "runs" / "x-small-3", 3
    )
    one_step = begun.algorithm.train_step

    def step_until_interrupted():
        if begun.step == 12:
            raise KeyboardInterrupt
        return one_step()

    begun.algorithm.train_step = step_until_interrupted
    with pytest.raises(KeyboardInterrupt):
        begun.run(progress=False)
    runs = train(full, {"small": "hidden=4"}, checkpoint_every=5)
    uninterrupted = train(
        make_study("--full", "--jobs", "1", "--seeds", "3", name="y"),
        {"small": "hidden=4"},
        checkpoint_every=5,
    )
    assert same(runs["small"][1], uninterrupted["small"][0]) and not same(*runs["small"])
    with pytest.raises(InputError, match="has no samples: only the first seed keeps them"):
        runs["small"][1].images
    monkeypatch.setattr(study_module, "train_and_measure", None)
    again = train(full, {"small": "hidden=4"}, checkpoint_every=10)
    assert [run.results for run in again["small"]] == [run.results for run in runs["small"]]
    for changes in (
        {"small": "hidden=5"},
        {"small": "hidden=4 penalty_every=2"},
        {"small": "hidden=4 eval_every=5"},
    ):
        with pytest.raises(
            InputError,
            match="x.json: small-0 was measured with other settings: "
            "measure it again, with --again small-0",
        ):
            train(full, changes)
    monkeypatch.setattr(study_module, "train_and_measure", measure.train_and_measure)
    begun = Trainer.start(
        recipes.find("gan"), settings, data.load("digits"), tmp_path / "runs" / "x-other-0", 0
    )
    begun.run(progress=False)
    with pytest.raises(InputError, match="x-other-0 holds a run with other settings: move it"):
        train(
            make_study("--full", "--jobs", "1", "--seeds", "0"),
            {"other": "hidden=5"},
            checkpoint_every=5,
        )
    monkeypatch.setattr(study_module, "train_and_measure", None)
    # A run is trained again (so None is called) if `also` needs its folder, which is gone,
    shutil.rmtree(tmp_path / "runs" / "x-small-3")
    with pytest.raises(TypeError):
        train(full, {"small": "hidden=4"}, checkpoint_every=5, also=lambda folder: {})
    # or if its samples are gone.
    (tmp_path / "results" / "x.npz").unlink()
    with pytest.raises(TypeError):
        train(full, {"small": "hidden=4"})
    with pytest.raises(InputError, match="another label has the same short name, a-b-0"):
        train(full, {"a b": "hidden=4", "a, b": "hidden=5"})


def test_again_measures_stored_results_anew(make_study, tmp_path, monkeypatch):
    runs = lambda *argv: train(
        make_study("--full", "--jobs", "1", "--seeds", "0", *argv),
        {"a": "hidden=4", "b": "hidden=5"},
        steps=2,
    )
    first = runs()
    make_study("--full").cached("times", lambda: 1)
    assert make_study("--full", "--again", "times").cached("times", lambda: 2) == 2
    measured = []
    monkeypatch.setattr(
        study_module,
        "train_and_measure",
        lambda job: measured.append(job["folder"]) or measure.train_and_measure(job),
    )
    again = runs("--again", "b-0")
    assert measured == [str(tmp_path / "runs" / "x-b-0")] and same(again["b"][0], first["b"][0])
    assert make_study("--full").cached("times", None) == 2
    # There is no run c-0; and the other sizes store nothing.
    for argv in ("--full", "--again", "c-0"), ("--again", "a-0"):
        with pytest.raises(SystemExit):
            make_study(*argv)


def test_a_result_file_is_replaced_as_a_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "new" / "x.json"
    result_files.update_json(
        path, lambda old: old | {"a": {"b": {"c": [1, 2.5, None]}}, "text": "ä\n"}
    )
    assert (
        path.read_text(encoding="utf-8")
        == '{\n"a": {\n"b": {"c":[1,2.5,null]}\n},\n"text": "\\u00e4\\n"\n}\n'
    )
    assert result_files.read_json(path) == {"a": {"b": {"c": [1, 2.5, None]}}, "text": "ä\n"}
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError):
        result_files.update_json(path, lambda old: {"a": 1 / 0})
    with pytest.raises(TypeError):
        result_files.update_json(path, lambda old: {"a": 1, "b": object()})
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["x.json"]
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4, 1)
    result_files.add_images(path.with_suffix(".npz"), "runs/a", images)
    result_files.add_images(path.with_suffix(".npz"), "b", images[:1])
    monkeypatch.setattr(
        npz, "write", lambda file, *arguments, **settings: file.write(b"half") and 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        result_files.add_images(path.with_suffix(".npz"), "c", images)
    stored = result_files.read_images(path.with_suffix(".npz"))
    assert list(stored) == ["runs/a", "b"]
    assert np.array_equal(stored["runs/a"], images) and np.array_equal(stored["b"], images[:1])


def test_two_processes_that_write_results_lose_nothing(tmp_path):
    code = (
        "import sys, pathlib\nfrom tinygan.study import result_files\n"
        "path = pathlib.Path('x.json')\n"
        "for i in range(25):\n"
        "    result_files.update_json(path, lambda old: old | {f'{sys.argv[1]} {i}': i})"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, name],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for name in "ab"
    ]
    assert [process.wait(timeout=60) for process in processes] == [0, 0]
    assert len(result_files.read_json(tmp_path / "x.json")) == 50


def test_runs_in_parallel_have_the_same_results(make_study):
    one, two = (
        train(make_study("--full", "--jobs", jobs, "--seeds", "0", name=f"x{jobs}"))
        for jobs in ("1", "2")
    )
    for label in VARIANTS:
        assert same(one[label][0], two[label][0])


def test_the_error_of_a_run_names_it(make_study, capsys):
    study = make_study("--full", "--jobs", "2", "--seeds", "0")
    train(study, {"small": "hidden=4"}, steps=10)
    study.results_file.unlink()
    with pytest.raises(InputError, match="small, seed 0: .*holds a run with other settings"):
        train(study, {"large": "hidden=8", "small": "hidden=4"}, steps=20)


def test_a_run_that_diverges_is_measured_at_its_last_checkpoint(make_study, monkeypatch, capsys):
    one_step = Algorithm.train_step

    def train_step(self):
        return one_step(self) | ({"d_loss": float("nan")} if self.step == 17 else {})

    monkeypatch.setattr(Algorithm, "train_step", train_step)
    runs = train(make_study("--tiny"), {"a": "hidden=4"}, checkpoint_every=3)
    assert runs["a"][0].diverged and runs["a"][0].metrics["samples"] == 60
    assert "step 17: d_loss is nan" in (errors := capsys.readouterr().err)
    assert "the study measures checkpoint-00000015.npz" in errors


def test_a_run_that_diverges_at_once_is_measured_and_has_failed(make_study, capsys):
    """Otherwise it would end the study of which it is a result."""
    study = make_study("--full", "--jobs", "2", "--seeds", "0")
    runs = train(study, {"large": "hidden=4 lr=1e30", "small": "hidden=4"}, steps=60)
    (large,), (small,) = runs.values()
    assert large.diverged and large.failed and large.metrics["samples"] == 60
    assert not small.diverged and small.log["step"]
    assert "large, seed 0" in (errors := capsys.readouterr().err)
    assert "the study measures checkpoint-00000000.npz" in errors
    again = train(study, {"large": "hidden=4 lr=1e30", "small": "hidden=4"}, steps=60)
    assert [run.results for (run,) in again.values()] == [large.results, small.results]


def test_a_recipe_of_ones_own_can_be_studied(make_study, tmp_path):
    """From a file beside the script; its results are kept like those of others."""
    (tmp_path / "mine.py").write_text(
        "from tinygan.models import gan\n"
        'RECIPE = gan.RECIPE.variant("mine", "My own.", hidden=4, batch_size=4)\n'
    )
    runs = lambda: train(make_study("--full", "--seeds", "0"), {"a": "mine.py lr=1e-3", "b": ""})
    first = runs()
    assert first["a"][0].recipe == "mine" and first["a"][0].settings["hidden"] == 4
    assert first["b"][0].recipe == "gan" and f"train {tmp_path}" in first["a"][0].command
    again = runs()
    assert [again[label][0].results for label in "ab"] == [
        first[label][0].results for label in "ab"
    ]


SCRIPT = '''"""A study."""
from tinygan.study import Study
study = Study(__file__, __doc__, seeds=(0, 1))
runs = study.train({"a": "hidden=64"}, "gan", data="digits", samples=60, steps=400, batch_size=16)
study.finding("done", fid=runs["a"][0].fid)
'''


@pytest.mark.parametrize(
    "number, code",
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)],
)
def test_an_interrupted_study_continues(tmp_path, number, code):
    script, environment = tmp_path / "s.py", {**os.environ, "PYTHONPATH": str(ROOT)}
    script.write_text(SCRIPT)
    start = lambda: subprocess.Popen(
        [sys.executable, script, "--full", "--jobs", "2"],
        cwd=tmp_path,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process, folders = start(), [tmp_path / "runs" / f"s-a-{seed}" for seed in (0, 1)]
    while not any(
        (folder / "log.jsonl").exists() and (folder / "log.jsonl").stat().st_size
        for folder in folders
    ):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code and errors.splitlines()[-1].startswith(
        "tinygan: interrupted: with --full, finished work is kept"
    )
    assert "Traceback" not in errors and any(
        0 < checkpoint.last_step(folder) < 400 for folder in folders
    )
    for folder in filter(Path.exists, folders):
        with locked(folder / "running"):  # fails if a process of the study is left
            pass
    if number == signal.SIGTERM:
        process = start()
        out, errors = process.communicate(timeout=60)
        assert process.returncode == 0 and out.endswith("finding: done\n"), errors
        results = result_files.read_json(tmp_path / "results" / "s.json")["runs"]["a-1"]
        assert results["log"]["step"][-1] > 380 and checkpoint.last_step(folders[1]) == 400


def test_bad_input_to_a_script_is_one_line(tmp_path):
    (tmp_path / "s.py").write_text(SCRIPT.replace("steps=400", "nothing=1"))
    done = subprocess.run(
        [sys.executable, tmp_path / "s.py"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (
        done.returncode == 2
        and done.stderr.startswith("tinygan: error: unknown setting 'nothing'")
        and done.stderr.count("\n") == 1
    )


def test_the_time_of_a_resumed_run_is_the_sum_of_its_parts(tmp_path):
    lines = [
        {"step": step, "phases": {"D": s / 2, "G": s / 2}}
        for step, s in ((10, 5.0), (20, 11.0), (30, 4.0), (40, 9.5))
    ]
    (tmp_path / "time.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert measure.training_time(tmp_path) == [(10, 5.0), (20, 11.0), (30, 15.0), (40, 20.5)]


def test_thinned_out_columns_of_the_log():
    rows = [{"step": i, "p": 1.0} if i % 2 else {"step": i} for i in range(1, 4)]
    assert measure.thinned_out(rows) == {"step": [1, 2, 3], "p": [1, None, 1]}
    long = measure.thinned_out([{"step": i, "x": float(i)} for i in range(1000)])
    assert len(long["x"]) == measure.LOG_POINTS and long["x"][0] == np.mean(
        range(1000 // measure.LOG_POINTS)
    )


def test_several_seeds_are_a_mean_and_a_range():
    assert mean_and_range([0.5, None]) == "-" == mean_and_range([])
    assert mean_and_range([1.234]) == "1.23"
    assert mean_and_range(iter([1.0, 2.0, 4.5]), 1) == "2.5 (1.0-4.5)"


def test_findings_and_figures(make_study, tmp_path, capsys):
    study = make_study("--tiny")
    runs = train(study, {"small": "hidden=4"}, eval_every=10, eval_images=100)
    figure, panels = study.figure("abc", 5)
    axes = [panels[letter] for letter in "abc"]
    rows, columns = ["first", "second", "third", "fourth"], list("0123456789")
    plot_images(axes[0], runs["small"][0].images, 10, "samples", rows, columns)
    plot_log(axes[1], runs, "d_loss", "D's loss")
    plot_evaluations(axes[2], runs, over="seconds")
    assert (
        isinstance(figure, Figure)
        and axes[1].get_ylabel() == "D's loss"
        and axes[2].get_xlabel() == "seconds of training"
    )
    assert [len(ax.lines) for ax in axes] == [0, 1, 1] and axes[0].images
    assert [text.get_text() for text in axes[0].get_yticklabels()] == rows
    assert [text.get_text() for text in axes[0].get_xticklabels()] == columns
    set_log_scale(axes[2])
    axes[2].set_ylim(0.5, 20)
    wide = study.figure("a", 3)[1]["a"]
    wide.plot([0.01, 300])
    set_log_scale(wide)  # a large range has fewer labels
    labels = [text.get_text() for text in wide.get_yticklabels(minor=True)]
    assert {"0.05", "200"} <= {*labels} and "70" not in labels
    axes[2].text(0.5, 0.5, "tiny", fontsize=5, transform=axes[2].transAxes)
    study.save_figure(figure, "The loss falls.")
    assert (tmp_path / "out" / "x.png").stat().st_size > 3000
    assert not (tmp_path / "pictures").exists()
    labels = [
        text.get_text() for text in axes[2].get_yticklabels() + axes[2].get_yticklabels(minor=True)
    ]
    assert {"0.5", "1", "2", "10", "20"} <= {*labels}
    assert pictures.read(tmp_path / "out" / "x.png", 3).shape == (500, 1280, 3)
    # What a wall needs: a sentence, letters, and nothing in small print.
    assert figure.get_suptitle() == "The loss falls."
    assert [ax.get_title(loc="left") for ax in axes] == ["(a) samples", "(b) ", "(c) "]
    assert min(text.get_fontsize() for text in figure.findobj(Text)) >= 12
    # In another language, the same figure has another name.
    study.suffix = "-ko"
    translated, panels = study.figure("a", 5)
    study.translate = lambda text: {"samples": "samples!", "first": "1st"}.get(text, text)
    plot_images(panels["a"], runs["small"][0].images, 10, "samples", rows)
    study.save_figure(translated, "The loss falls.", part="again")
    assert panels["a"].get_title(loc="left") == "(a) samples!"
    assert [text.get_text() for text in panels["a"].get_yticklabels()] == ["1st", *rows[1:]]
    assert (tmp_path / "out" / "x-again-ko.png").exists()
    study.translate, study.suffix = Study.translate, ""
    study.table(("a", "b"), ("x", 1234))
    study.finding("It is so.", {"it is": True, "both": [True, False]}, "It is 3.", number=3)
    out = capsys.readouterr().out
    assert "| a | b     |\n|---|-------|\n| x | 1,234 |" in out and out.endswith(
        "claim: it is: tiny: not evidence\nclaim: both: tiny: not evidence\n"
        "    true of 1 of 2 runs\nIt is 3.\n"
        "finding (a tiny run is no evidence): It is so.\n"
    )
    stored = result_files.read_json(tmp_path / "out" / "results" / "x.json")
    assert list(stored.pop("runs")) == ["small-0"] and stored == {
        "finding": "It is so.",
        "claims": {
            "it is": {"verdict": "tiny: not evidence", "comparisons": [], "runs": []},
            "both": {"verdict": "tiny: not evidence", "comparisons": [], "runs": [True, False]},
        },
        "details": "It is 3.",
        "size": "tiny",
        "seeds": [0],
        "tables": [[["a", "b"], ["x", "1,234"]]],
        "number": 3,
    }
    full = make_study("--full")
    images = np.random.default_rng(0).integers(256, size=(20, 5, 5, 1), dtype=np.uint8)
    assert np.array_equal(full.cached_images("sheet", lambda: images), images)
    assert np.array_equal(full.cached_images("sheet", None), images)
    assert full.cached("times", lambda: [1, 2.5]) == [1, 2.5] == full.cached("times", None)
    assert [study.cached("times", lambda i=i: i) for i in range(2)] == [0, 1]
    full.save_figure(figure, "The loss falls.")
    full.finding("It is so.", number=1)
    full.finding("It is so.", other=2)
    assert (tmp_path / "pictures" / "x.png").exists()
    stored = result_files.read_json(tmp_path / "results" / "x.json")
    assert stored["other"] == 2 and stored["measured"] == {"times": [1, 2.5]}
    assert "number" not in stored  # the last finding replaces the one before


@pytest.mark.parametrize(
    "argv, message",
    [
        (["--jobs", "0"], "--jobs must be at least 1"),
        (["--tiny", "--full"], "not allowed"),
        (["--seeds", "-1"], "--seeds at least 0"),
        (["--seeds", "1", "1"], "each given once"),
    ],
)
def test_mistakes_in_the_command_line(make_study, capsys, argv, message):
    with pytest.raises(SystemExit) as stopped:
        make_study(*argv)
    assert stopped.value.code == 2 and message in capsys.readouterr().err
