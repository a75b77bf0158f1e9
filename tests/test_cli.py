"""The command line as a user meets it: what it writes and prints, and one line with exit code 2 for mistakes."""

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
from tinygan import tensor
from tinygan.cli import COMMANDS, main
from tinygan.cli.samples import class_walk, walk
from tinygan.training.sampling import latents

TRAIN = [
    "train",
    "dcgan",
    "--steps",
    "3",
    "--batch-size",
    "4",
    "--set",
    "g_channels=2",
    "d_channels=2",
    "--set",
    "sample_every=2",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A tiny trained run."""
    out = tmp_path_factory.mktemp("cli") / "run"
    assert main([*TRAIN, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    """A tiny trained run of a conditional recipe, evaluated as it went."""
    out = tmp_path_factory.mktemp("cli") / "run"
    argv = [
        "train",
        "cgan",
        *TRAIN[2:],
        "--set",
        "eval_every=3",
        "eval_images=100",
        "--out",
        str(out),
    ]
    assert main(argv) == 0
    return out


def fails(capsys, *argv, main=main):
    """Run a command that must fail; its one line on stderr."""
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


def test_train_prints_where_things_are(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for number in ("001", "002"):  # a new folder each time
        assert main(TRAIN) == 0
        out = capsys.readouterr().out
        grid = re.search(r"grid: +(\S+)", out).group(1)
        assert grid == f"runs/dcgan-digits-{number}/samples/step-00000003.png" and os.path.exists(
            grid
        )
        assert "3 steps, 12 images in 0:0" in out and "curves" in out
    config = json.loads((tmp_path / "runs/dcgan-digits-001/config.json").read_text())
    assert config["settings"]["g_channels"] == config["settings"]["d_channels"] == 2
    assert config["settings"]["sample_every"] == 2 and config["data"] == "digits"


def test_the_default_recipe(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *TRAIN[2:]]) == 0
    assert (
        "quick on 9,000 images of digits (1,000 more are held out), 3 steps of 4, into runs/quick-digits-001"
        in (capsys.readouterr().out)
    )


def test_train_resumes_to_a_new_total(tmp_path, capsys):
    out = tmp_path / "run"
    assert main([*TRAIN, "--out", str(out)]) == 0
    assert main(["train", "--resume", str(out), "--steps", "5"]) == 0
    assert "2 steps, 8 images" in capsys.readouterr().out
    assert (out / "samples" / "step-00000005.png").exists()
    assert json.loads((out / "config.json").read_text())["settings"]["steps"] == 5
    assert "is at step 5 already" in fails(capsys, "train", "--resume", out)


@pytest.mark.parametrize(
    "argv, message",
    [
        (["train", "biggest"], "unknown recipe 'biggest'; there are: quick, gan, dcgan"),
        (["train", "--data", "cifar"], "cifar"),
        (["train", "--set", "width=3"], "unknown setting 'width'; there are: steps"),
        (["train", "--set", "lr=fast"], "setting lr=fast: expected a number"),
        (["train", "--set", "lr"], "write name=value"),
        (["train", "--steps", "none"], "steps=none: expected a whole number"),
        (["train", "--batch-size", "100000"], "more than the 9,000 images"),
        (["train", "--seed", "-1"], "-1 is not between 0"),
        (["train", "--set", "layers=4"], "cannot be halved 4 times"),
        (["train", "--resume", "nowhere"], "nowhere is not a run"),
        (["train", "--data", "mnist", "--data-dir", "nowhere"], "nowhere"),
        (["train", "--device", "tpu"], "invalid choice"),
        (["sample", "nowhere", "-o", "a.png"], "nowhere is not a run"),
        (["recipes", "biggest"], "unknown recipe"),
        (["show", "dcgan", "--set", "g_channels=0"], "must be at least 1"),
        (["gradcheck", "no such op"], "no row of the op table"),
        ([], "COMMAND"),
        (["fly"], "invalid choice"),
    ],
)
def test_mistakes_are_one_line(tmp_path, monkeypatch, capsys, argv, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("TINYGAN_DATA", raising=False)
    assert message in fails(capsys, *argv)
    assert not any(tmp_path.iterdir())  # nothing half-written


def test_mistakes_about_a_run(run, tmp_path, capsys):
    before = sorted(p.name for p in run.rglob("*"))
    assert "--resume" in fails(capsys, *TRAIN, "--out", run)
    assert "besides" in fails(capsys, "train", "--resume", run, "--set", "lr=1")
    assert "besides" in fails(capsys, "train", "gan", "--resume", run)
    assert "must end in .png, .gif or .npz" in fails(
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
        assert (
            main(
                [
                    "sample",
                    str(run),
                    "-n",
                    "5",
                    "--seed",
                    "0" if name != "b.npz" else "1",
                    "-o",
                    str(tmp_path / name),
                ]
            )
            == 0
        )
    a, b = (np.load(tmp_path / name)["images"] for name in ("a.npz", "b.npz"))
    assert a.shape == (5, 28, 28, 1) and a.dtype == np.uint8 and not np.array_equal(a, b)
    grid = np.asarray(Image.open(tmp_path / "c.png").convert("L"))[::2, ::2]
    assert np.array_equal(grid[2:30, 32:60], a[1, :, :, 0])
    with Image.open(tmp_path / "d.gif") as gif:
        assert gif.n_frames == 60


def test_sample_draws_the_class_that_is_asked_for(conditional, tmp_path, capsys):
    from PIL import Image

    def arrays(*argv):
        assert main(["sample", str(conditional), *argv, "-o", str(tmp_path / "a.npz")]) == 0
        return dict(np.load(tmp_path / "a.npz"))

    sevens, threes = arrays("-n", "4", "--label", "7"), arrays("-n", "4", "--label", "3")
    assert sevens["labels"].tolist() == [7] * 4 and not np.array_equal(
        sevens["images"], threes["images"]
    )
    assert np.bincount(arrays("-n", "30")["labels"]).tolist() == [3] * 10
    assert main(["sample", str(conditional), "-n", "20", "-o", str(tmp_path / "a.png")]) == 0
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (2 * (2 * 30 + 2), 2 * (10 * 30 + 2))  # a row per class
    assert (
        main(["sample", str(conditional), "-n", "2", "--label", "7", "-o", str(tmp_path / "a.gif")])
        == 0
    )
    assert "the classes are 0 to 9" in fails(
        capsys, "sample", conditional, "--label", 10, "-o", tmp_path / "b.png"
    )
    assert main(["sample", str(conditional), "-n", "1", "-o", str(tmp_path / "c.png")]) == 0
    assert "best.npz" in capsys.readouterr().out


@pytest.mark.cpu  # takes long; the training, or the metrics, run on other backends in other tests
def test_eval_prints_a_table_and_writes_it(run, conditional, capsys):
    for folder, more in ((run, []), (conditional, ["--split", "held-out", "--weights", "last"])):
        assert main(["eval", str(folder), "-n", "200", *more]) == 0
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
        assert ("class_accuracy" in report) == (folder is conditional) and sum(
            report["class_counts"]
        ) == 200
        assert (folder / "neighbours.png").stat().st_size > 1000
    assert "more than" in fails(capsys, "eval", run, "-n", 3)
    assert "nowhere is not a run" in fails(capsys, "eval", "nowhere")


def test_the_walk_passes_every_latent_at_their_distance_from_the_origin():
    z = np.random.default_rng(0).standard_normal((3, 1000)).astype("float32")
    path = walk(tensor(z), frames=10).numpy()
    assert path.shape == (30, 1000) and np.array_equal(path[::10], z)
    assert np.abs(np.linalg.norm(path, axis=1) - 1000**0.5).max() < 2.5


def test_the_walk_of_classes_begins_at_each_of_them():
    mixtures = np.concatenate(list(class_walk(3, 4)))
    assert np.array_equal(mixtures[::4], np.eye(3)) and np.allclose(mixtures.sum(1), 1)
    assert np.allclose(mixtures[-2], [0.5, 0, 0.5])  # back to the first


def test_animations(run, conditional, tmp_path, capsys):
    from PIL import Image

    assert (
        main(
            [
                "sample",
                str(conditional),
                "--walk",
                "classes",
                "-n",
                "3",
                "-o",
                str(tmp_path / "a.gif"),
            ]
        )
        == 0
    )
    assert main(["animate", str(run), "-o", str(tmp_path / "b.gif")]) == 0
    with Image.open(tmp_path / "a.gif") as walked, Image.open(tmp_path / "b.gif") as film:
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
    assert (
        np.abs(walk(z, 12, straight=True).numpy()).max() <= 0.5 < np.abs(walk(z, 12).numpy()).max()
    )


def test_the_study_of_truncation(conditional, tmp_path, capsys):
    from PIL import Image

    assert (
        main(
            [
                "truncation",
                str(conditional),
                "-n",
                "40",
                "--thresholds",
                "2",
                ".5",
                "-o",
                str(tmp_path / "a.png"),
            ]
        )
        == 0
    )
    rows = json.loads((tmp_path / "a-numbers.json").read_text())["thresholds"]
    assert [row["threshold"] for row in rows] == [0.5, 2] and rows[0]["fid"] != rows[1]["fid"]
    assert {"precision", "recall", "class_accuracy"} < rows[0].keys() and rows[0]["samples"] == 40
    out = capsys.readouterr().out
    assert f"{rows[0]['fid']:.3f}" in out and f"{rows[1]['recall']:.3f}" in out
    with Image.open(tmp_path / "a-grid.png") as grid:
        assert grid.size == (2 * (10 * 30 + 2), 2 * (2 * 30 + 2))
    assert (tmp_path / "a.png").stat().st_size > 5000


def test_lists(capsys):
    assert main(["recipes"]) == 0
    assert main(["recipes", "dcgan"]) == 0
    out = capsys.readouterr().out
    assert (
        "Goodfellow" in out and "Radford" in out and "g_channels" in out and "learning rate" in out
    )
    assert main(["data"]) == 0
    out = capsys.readouterr().out
    assert "digits" in out and "built in" in out and "60,000" in out


def test_show_counts_parameters_and_multiply_adds(capsys):
    assert main(["show", "dcgan"]) == 0
    out = capsys.readouterr().out
    assert (
        f"{100 * 49 * 128:,}" in out
        and f"{49 * 16 * 64 * 128:,}" in out
        and "(1, 28, 28, 1)" in out
    )


def test_gradcheck_prints_the_table_and_fails_on_a_wrong_derivative(capsys, monkeypatch):
    assert main(["gradcheck", "tanh"]) == 0
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


LITTLE = ["--help"], ["--version"], ["fly"], ["fly", "--help"], [], ["--fly"]


def test_a_command_is_imported_when_it_is_asked_for():
    """So that help starts quickly: not a time, which depends on the machine, but its cause."""
    code = (
        "import sys, tinygan\n"
        "before = {*sys.modules}\n"
        "from tinygan.cli import main\n"
        f"for words in {LITTLE}:\n"
        "    try: main(words)\n"
        "    except SystemExit: pass\n"
        "print(*sorted(name for name in {*sys.modules} - before if name.startswith('tinygan')))\n"
        "print(*sorted({'matplotlib', 'scipy', 'tqdm', 'PIL'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    *said, imported, slow = done.stdout.splitlines()
    assert (imported, slow) == ("tinygan.cli tinygan.cli.options", ""), done.stderr
    assert any("train a recipe" in line for line in said)


@pytest.mark.parametrize("file, name", {file: name for name, (file, _) in COMMANDS.items()}.items())
def test_a_file_of_commands_needs_no_other_one(file, name):
    code = (
        f"import sys\nfrom tinygan.cli import main\ntry: main(['{name}', '--help'])\n"
        "except SystemExit: pass\nprint(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    modules, files = done.stdout.split(), {file for file, _ in COMMANDS.values()}
    assert {file for file in files if f"tinygan.cli.{file}" in modules} == {file}, done.stderr


def test_every_command_has_a_help(capsys):
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


def test_its_version_is_the_packages():
    done = subprocess.run(
        [sys.executable, "-m", "tinygan", "--version"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, f"tinygan {tinygan.__version__}\n")


@pytest.mark.parametrize("more", [[], ["--help"], ["mlp", "--against", "torch"]])
def test_bench_says_where_the_benchmark_is(capsys, more):
    assert "run `python -m demos.bench` in a checkout" in fails(capsys, "bench", *more)


def test_a_folder_named_tinygan_beside_a_script_does_not_hide_the_package(tmp_path):
    """As a clone's folder, which has no __init__.py, does where the clone is installed by a hook that is asked last."""
    (tmp_path / "tinygan").mkdir()
    (tmp_path / "script.py").write_text("import tinygan\nprint(tinygan.__version__)\n")
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py"], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (0, f"{tinygan.__version__}\n"), done.stderr


@pytest.mark.parametrize("module", ["tinygan", "tinygan.cli"])
def test_as_a_program(tmp_path, module):
    """With a bar on stderr, and a pipe that closes early."""
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
