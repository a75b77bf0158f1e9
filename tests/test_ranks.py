"""Tests of training on several ranks: K ranks with B / K images each compute the same as one with B
images, and no rank leaves the others waiting."""

import importlib.util
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
import stress
from ranks_step import CASES

from tinygan import files, ops, tensor
from tinygan.errors import InputError
from tinygan.files import checkpoint, npz
from tinygan.training import ranks

MPIEXEC = shutil.which(
    "mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
)
needs_mpi = pytest.mark.skipif(
    MPIEXEC is None or not importlib.util.find_spec("mpi4py"),
    reason="needs MPI: the extra tinygan[mpi]",
)
pytestmark = pytest.mark.cpu
STEP = Path(__file__).parent / "tools" / "ranks_step.py"
# Without these variables, mpiexec refuses to run for root.
ENVIRONMENT = {
    **os.environ,
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "TINYGAN_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


def mpiexec(n, *argv, module=("-m", "tinygan.cli")):
    return subprocess.Popen(
        [MPIEXEC, "-n", str(n), "--oversubscribe", sys.executable, *module, *map(str, argv)],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process, code=0):
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, (process.returncode, out, err)
    return out, err


TRAIN = ("train", "dcgan", "--batch-size", "8", "--set", "g_channels=4", "d_channels=4")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The results of a step of every recipe on one process."""
    path = tmp_path_factory.mktemp("ranks") / "1.npz"
    subprocess.run([sys.executable, STEP, path], env=ENVIRONMENT, check=True)
    return npz.load(path)


@needs_mpi
@pytest.mark.parametrize("n", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_several_ranks_have_the_gradients_of_one_process(tmp_path, alone, n):
    finished(mpiexec(n, STEP, tmp_path / "n.npz", module=()))
    found = npz.load(tmp_path / "n.npz")
    assert found.keys() == alone.keys() and {key.split(":")[0] for key in found} == set(CASES)
    for key, one in alone.items():
        several, what = found[key], key.split(": ")[1]
        if what == "generators":
            assert str(one) == str(several), key
        elif what.startswith("number"):  # after D's updates, where Adam amplifies small differences
            assert abs(one - several) <= 2e-4 + 2e-4 * abs(one), key
        else:
            assert np.abs(one - several).max() <= 3e-5 * np.abs(one).max() + 1e-9, key


@needs_mpi
def test_a_run_on_several_ranks_writes_the_same_files_as_on_one(tmp_path):
    """The numbers in its log are almost the same, and another number of ranks can continue it."""
    argv = (*TRAIN, "steps=20", "checkpoint_every=10", "eval_every=20", "eval_images=100", "--out")
    subprocess.run(
        [sys.executable, "-m", "tinygan.cli", *argv, str(tmp_path / "one")],
        env=ENVIRONMENT,
        check=True,
        capture_output=True,
    )
    out, err = finished(mpiexec(2, *argv, tmp_path / "two"))
    assert (
        "20 steps with batches of 8, shared among 2 ranks" in out
        and out.count("grid:") == 1
        and "warning" not in err
    )
    names = lambda run: sorted(
        str(path.relative_to(tmp_path / run)) for path in (tmp_path / run).rglob("*")
    )
    assert names("one") == names("two")
    one, two = (
        [json.loads(line) for line in (tmp_path / run / "log.jsonl").read_text().splitlines()]
        for run in ("one", "two")
    )
    for a, b in zip(one, two, strict=True):
        assert a.keys() == b.keys() and all(
            abs(a[key] - b[key]) < 0.02 + 0.02 * abs(a[key]) for key in a
        ), (a, b)
    from tinygan.cli import main

    assert main(["train", "--resume", str(tmp_path / "two"), "--steps", "24"]) == 0
    assert [
        json.loads(line)["step"]
        for line in (tmp_path / "two" / "log.jsonl").read_text().splitlines()
    ] == [10, 20, 24]


@needs_mpi
@pytest.mark.slow
def test_ranks_begin_with_other_weights_and_go_on_with_other_settings(tmp_path):
    """As one process does, with frozen parameters and balanced batches."""
    from tinygan.cli import main

    options = ["--set", "g_channels=4", "d_channels=4"]
    first = ["train", "dcgan", "--steps", "2", "--batch-size", "8", *options, "--out"]
    assert main([*first, str(tmp_path / "source")]) == 0
    begin = [*first[:5], "8", *options, "freeze=D.main.0", "balanced_batches=true"]
    begin += ["--init-from", str(tmp_path / "source"), "--out"]
    go_on = ["--steps", "4", "--set", "lr=1e-3", "batch_size=4", "augment=ada", "ada_p=0.5"]
    for name, call in (
        ("one", lambda *argv: main([*argv])),
        ("two", lambda *argv: finished(mpiexec(2, *argv))),
    ):
        call(*begin, str(tmp_path / name))
        call("train", "--resume", str(tmp_path / name), *go_on)
    one, two = (checkpoint.open_run(tmp_path / name) for name in ("one", "two"))
    assert one.config == two.config and [e["step"] for e in one.config["history"]] == [2]
    assert one.meta["controller"] == two.meta["controller"] and one.meta["images"] == 24
    source = checkpoint.open_run(tmp_path / "source")
    for run in (one, two):
        frozen = run.states["D"]["main.0.weight"]
        assert np.array_equal(frozen, source.states["D"]["main.0.weight"])
    for path, array in one.states["G"].items():
        assert np.abs(array - two.states["G"][path]).max() < 1e-2, path


@needs_mpi
@pytest.mark.parametrize(
    "argv, message",
    [
        (("--out", "."), "is not empty, and contains no run"),  # only the first rank finds this
        pytest.param(
            ("--set", "lr=fast"), "setting lr=fast: expected a number", marks=pytest.mark.slow
        ),
        pytest.param(
            ("--batch-size", "9"),
            "a batch of 9 cannot be divided among 2 ranks: choose a multiple",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ("--set", "lr=1e30"), "train anew with a smaller learning rate", marks=pytest.mark.slow
        ),
    ],
)
def test_an_input_error_is_reported_once(tmp_path, argv, message):
    (tmp_path / "file").write_text("")
    process = subprocess.Popen(
        [MPIEXEC, "-n", "2", "--oversubscribe", sys.executable, "-m", "tinygan.cli", *TRAIN, *argv],
        env={**ENVIRONMENT, "PYTHONPATH": str(Path(__file__).parents[1])},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    _, err = finished(process, 2)
    assert err.count(message) == 1 and err.count("tinygan: error") == 1 and "Traceback" not in err


def started(out, *settings):
    process = mpiexec(2, *TRAIN, "steps=100000", "checkpoint_every=5", *settings, "--out", out)
    while not (out / "checkpoint-00000010.npz").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    return process


def ranks_of(process):
    """Return the process ids of the ranks that mpiexec has started, in the order of ranks."""
    found = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(process.pid)], capture_output=True, text=True
    ).stdout
    return [int(line.split()[0]) for line in found.splitlines() if "tinygan.cli" in line]


@needs_mpi
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="lists processes with ps")
@pytest.mark.parametrize("victim", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_rank_that_dies_ends_the_run_with_a_message_and_an_intact_checkpoint(tmp_path, victim):
    process = started(tmp_path / "a")
    os.kill(ranks_of(process)[victim], signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode and f"process rank {victim}" in err and "Killed" in err
    if victim:
        assert f"with: tinygan train --resume {tmp_path / 'a'}" in err
    run = checkpoint.open_run(tmp_path / "a")  # which checks the checkpoint
    out, _ = finished(
        mpiexec(2, "train", "--resume", tmp_path / "a", "--steps", run.meta["step"] + 5)
    )
    assert "5 steps, 40 images" in out


@needs_mpi
def test_a_signal_that_mpiexec_passes_on_finishes_the_step_and_writes_a_checkpoint(tmp_path):
    process = started(tmp_path / "a", "checkpoint_every=10")
    process.send_signal(signal.SIGUSR1)
    _, err = process.communicate(timeout=60)
    assert (
        process.returncode == 128 + signal.SIGUSR1
        and "stopped at step" in err
        and "Traceback" not in err
    )
    last = checkpoint.open_run(tmp_path / "a").meta["step"]
    assert f"stopped at step {last}; continue from step {last} with: tinygan train --resume" in err


@needs_mpi
def test_a_run_from_python_is_the_same_object_on_all_ranks(tmp_path):
    """Its callback is called on the first one, which stops all of them."""
    code = (
        "import os, sys, tinygan\n"
        "steps, out = [], sys.argv[1]\n"
        "def on_step(run, numbers):\n"
        "    steps.append(run.step)\n"
        "    if run.step == 4: run.stop()\n"
        "settings = {'batch_size': 8, 'hidden': 8, 'progress': False}\n"
        "run = tinygan.train('gan', steps=9, out=out, on_step=on_step, **settings)\n"
        "stopped = run.step\n"
        "run.resume(steps=6, progress=False)\n"
        "try: tinygan.train('gan', out=out, **settings)\n"
        "except tinygan.InputError as error: assert 'already contains a run' in str(error)\n"
        "line = f'{steps} {stopped} {run.step} {run.sample(4).sum()}\\n'\n"
        "os.write(1, line.encode())"
    )
    process = mpiexec(2, code, tmp_path / "a", module=("-c",))
    lines, _ = finished(process)
    first, second = sorted(lines.splitlines(), key=len, reverse=True)
    assert first.startswith("[1, 2, 3, 4] 4 6 ")
    assert second == first.replace("1, 2, 3, 4", "")


@needs_mpi
def test_an_error_of_one_rank_ends_all(tmp_path):
    code = (
        "import time\n"
        "from tinygan.errors import InputError\n"
        "from tinygan.training import ranks\n"
        "ranks.join()\n"
        "with ranks.abort_on_error():\n"
        "    if ranks.rank == 1:\n"
        "        raise InputError('the disk is full')\n"
        "    time.sleep(60)\n"
    )
    start = time.monotonic()
    process = mpiexec(2, code, module=("-c",))
    _, err = process.communicate(timeout=50)
    assert process.returncode == 2 and "tinygan: error: the disk is full (rank 1 of 2)" in err
    assert time.monotonic() - start < 50


@needs_mpi
def test_an_interrupt_of_one_rank_ends_all():
    code = (
        "import time\n"
        "from tinygan.errors import Interrupted\n"
        "from tinygan.training import ranks\n"
        "ranks.join()\n"
        "with ranks.abort_on_error():\n"
        "    if ranks.rank == 1:\n"
        "        raise Interrupted(15)\n"
        "    time.sleep(60)\n"
    )
    process = mpiexec(2, code, module=("-c",))
    process.communicate(timeout=50)
    assert process.returncode == 143


def test_mpiexec_without_mpi4py_is_reported_in_one_line(tmp_path):
    code = (
        "import sys\n"
        "sys.modules['mpi4py'] = None\n"
        "from tinygan.cli import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *TRAIN, "--out", str(tmp_path / "a")],
        capture_output=True,
        text=True,
        env={**os.environ, "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "0"},
    )
    assert (
        done.returncode == 2
        and done.stderr.count("\n") == 1
        and "pip install 'tinygan[mpi]'" in done.stderr
    )


@needs_mpi
def test_mpi4py_of_another_mpi_is_reported_in_one_line(tmp_path):
    """Without this check, each process would train on its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tinygan.cli", *TRAIN, "--out", str(tmp_path / "a")],
        capture_output=True,
        text=True,
        env={**ENVIRONMENT, "PMI_SIZE": "2", "PMI_RANK": "0"},
    )
    assert (
        done.returncode == 2
        and done.stderr.count("\n") == 1
        and "mpi4py sees 1: it belongs to another MPI" in done.stderr
    )


# Tests that do not need MPI


@pytest.fixture
def three_ranks(monkeypatch):
    """Make this process rank 1 of 3, where the other ranks have the same arrays."""
    monkeypatch.setattr(ranks, "size", 3)
    monkeypatch.setattr(ranks, "rank", 1)
    reduce = lambda array, name: array.__imul__(3) if name == "SUM" else array
    monkeypatch.setattr(ranks, "_reduce", reduce)


def test_a_generator_draws_this_ranks_share_of_the_whole_batch(three_ranks):
    whole, own = np.random.default_rng([3, 4]), ranks.Generator([3, 4])
    # Outside sharing_batches, each rank gets all draws.
    assert np.array_equal(own.standard_normal((2, 5)), whole.standard_normal((2, 5)))
    with ranks.sharing_batches():
        for draw in (
            lambda g, n: g.standard_normal((n, 5), dtype=np.float32),
            lambda g, n: g.random((n, 1, 1, 1)),
            lambda g, n: g.integers(10, size=n),
            lambda g, n: g.integers(-2, 3, size=n),
            lambda g, n: g.random(n),
        ):
            assert np.array_equal(draw(own, 4), draw(whole, 12)[1::3])
        # These are numbers that all images of the batch share.
        assert own.random() == whole.random() and own.integers(1, 6) == whole.integers(1, 6)
    assert own.bit_generator.state == whole.bit_generator.state


def test_means_are_taken_over_ranks_only_within_sharing_batches(three_ranks, monkeypatch):
    monkeypatch.setattr(ranks, "_reduce", lambda array, name: array.__iadd__(10.0))
    arrays = [np.ones((2, 3), np.float32), None, np.zeros(4, np.float64)]
    assert (
        ranks.mean_of(arrays)[0] is arrays[0]
        and ranks.mean_numbers({"a": 1.0}) == {"a": 1.0}
        and ranks.shares() == 1
    )
    with ranks.sharing_batches():
        a, none, b = ranks.mean_of(arrays)
        assert (
            a.dtype == np.float32
            and np.allclose(a, 11 / 3)
            and none is None
            and np.allclose(b, 10 / 3)
            and b.shape == (4,)
        )
        with ranks.sharing_batches(False):
            assert ranks.shares() == 1
        assert ranks.shares() == 3 and ranks.mean_numbers({"a": 2.0}) == {"a": 4.0}
        assert np.allclose(ops.mean_over_shares(tensor([2.0])).data, 4.0)


def test_a_batch_must_be_divisible_among_the_ranks(three_ranks):
    from test_training import SMALL

    from tinygan import data
    from tinygan.training import recipes
    from tinygan.training.algorithm import Algorithm

    recipe = recipes.find("dcgan")
    with pytest.raises(InputError, match="a batch of 3 cannot be divided among 3 ranks"):
        Algorithm(
            recipe,
            recipe.settings().updated({**SMALL["dcgan"], "batch_size": 3}),
            data.load("digits"),
        )
    recipe = recipes.find("stylegan2")
    for n in (6, 18):  # each rank would have 2 or 6 images, which are no groups of 4
        with pytest.raises(InputError, match="compares images in groups of 4"):
            settings = recipe.settings().updated({**SMALL["stylegan2"], "batch_size": n})
            Algorithm(recipe, settings, data.load("digits").padded(settings.pad))


@pytest.mark.slow
@needs_mpi
def test_a_killed_run_on_ranks_resumes_exactly(tmp_path):
    """On the same number of ranks, bit for bit."""
    argv = (*TRAIN, "steps=30", "checkpoint_every=5", "--out")
    finished(mpiexec(2, *argv, tmp_path / "one"))
    process = mpiexec(2, *argv, tmp_path / "two")
    while not (tmp_path / "two" / "checkpoint-00000010.npz").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate()
    # Wait until the last rank has ended.
    with files.locked(tmp_path / "two" / "running", on_wait=print):
        pass
    finished(mpiexec(2, "train", "--resume", tmp_path / "two"))
    assert stress.differences(tmp_path / "one", tmp_path / "two") == []
