"""Tests of runs that an earlier version has begun: they can be continued, sampled and evaluated.

tinygan 0.1.0 began tests/golden/run-0.1.0:

    tinygan train stylegan2 --seed 3 --steps 10 --set g_channels=2 d_channels=2 max_channels=4
        style=4 latent=4 batch_size=8 mapping_layers=1 augment=ada ada_p=0.3 eval_every=10
        eval_images=100 checkpoint_every=10 sample_every=10 keep=1 path_every=4 mixing=0.5

The numbers below are the results of that version. Other processors round differently, and training
amplifies such differences.
"""

import dataclasses
import importlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tinygan import data, kernels
from tinygan.cli import main
from tinygan.errors import InputError
from tinygan.files import checkpoint
from tinygan.gan.penalties import PENALTIES
from tinygan.models.settings import Settings
from tinygan.settings import setting
from tinygan.training import recipes
from tinygan.training.trainer import Trainer

OLD = Path(__file__).parent / "golden" / "run-0.1.0"
STEP_20 = {
    "images": 160,
    "p": 0.298464,
    "d_loss": 0.6089866,
    "d_real": 0.7401450,
    "d_fake": 0.2412794,
    "g_loss": 1.7746105,
    "r_t": 0.95,
    "d_accuracy": 0.96875,
    "variety": 1.2601330,
    "penalty": 0.0722405,
    "path_penalty": 0.1296548,
    "path_length": 0.0150369,
    "logit_held_out": 1.6470758,
}
FID = 81.441  # of 200 samples
pytestmark = pytest.mark.cpu


@pytest.fixture
def run(tmp_path):
    return Path(shutil.copytree(OLD, tmp_path / "run"))


def test_the_folder_is_small():
    assert sum(path.stat().st_size for path in OLD.iterdir()) < 200_000


def test_it_continues_as_in_the_earlier_version(run, capsys):
    assert main(["train", "--resume", str(run), "--steps", "20"]) == 0
    # It was begun with the fast kernels.
    assert ("warning" in capsys.readouterr().err) == (kernels.in_use() == "plain")
    row = json.loads((run / "log.jsonl").read_text().splitlines()[-1])
    assert row["step"] == 20
    for key, value in STEP_20.items():
        assert row[key] == pytest.approx(value, rel=2e-2, abs=2e-3), key
    config = json.loads((run / "config.json").read_text())
    assert config["version"] == checkpoint.CONFIG_VERSION and config["kernels"] == kernels.in_use()


def test_it_can_be_sampled_and_evaluated(run, tmp_path):
    file = tmp_path / "samples.npz"
    assert main(["sample", str(run), "-n", "4", "--seed", "1", "-o", str(file)]) == 0
    with np.load(file) as found:
        assert found["images"].shape == (4, 32, 32, 1) and found["labels"].tolist() == [0, 1, 2, 3]
        np.testing.assert_allclose(
            found["images"].mean((1, 2, 3)), [73.194, 114.950, 207.920, 148.803], atol=0.05
        )
    assert main(["eval", str(run), "-n", "200"]) == 0
    assert json.loads((run / "metrics.json").read_text())["fid"] == pytest.approx(FID, rel=1e-2)


def test_a_renamed_setting_is_read_under_its_old_name():
    @dataclasses.dataclass
    class Renamed(Settings):
        penalty_interval: int = setting(
            1, "apply penalties at every N-th step", 1, formerly=("penalty_gap", "gap")
        )

    assert Renamed().updated({"penalty_gap": "4"}).penalty_interval == 4
    assert Renamed().updated({"gap": 5}).penalty_interval == 5
    assert "gap" not in dataclasses.asdict(Renamed())
    with pytest.raises(InputError, match="setting penalty_interval=none: expected a whole number"):
        Renamed().updated({"gap": "none"})


def test_a_config_of_a_newer_version_is_refused(run):
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(
        json.dumps({**config, "version": checkpoint.CONFIG_VERSION + 1})
    )
    with pytest.raises(
        InputError, match="config.json has version 2, but this tinygan reads version 1"
    ):
        checkpoint.open_run(run)


def test_resuming_with_other_kernels_warns_that_bits_will_differ(run, capsys):
    config = json.loads((run / "config.json").read_text())
    other = {"plain": "fast", "fast": "plain"}[kernels.in_use()]
    (run / "config.json").write_text(json.dumps({**config, "kernels": other}))
    opened, recipe = checkpoint.open_run(run), recipes.find("stylegan2")
    settings = recipe.settings().updated(config["settings"]).updated({"steps": 20})
    Trainer(recipe, settings, data.load("digits"), run, 3).resume(opened)
    err = capsys.readouterr().err
    assert (
        err.count("\n") == 1
        and "its last bits will differ" in err
        and f"TINYGAN_KERNELS={other}" in err
    )


@pytest.mark.parametrize(
    "module, names",
    [
        ("tinygan.errors", "InputError"),
        ("tinygan.data", "Dataset load"),
        ("tinygan.training.recipes", "find RECIPES"),
        ("tinygan.training.trainer", "Trainer training_data"),
        ("tinygan.npz", "load save"),
        ("tinygan.cli", "main"),
        (
            "tinygan",
            "capture check_grads from_host grad no_grad nn ops optim tensor trace use "
            "EMA Parameter Tensor",
        ),
    ],
)
def test_names_that_scripts_use_still_exist(module, names):
    found = importlib.import_module(module)
    assert all(hasattr(found, name) for name in names.split())
    assert (
        module != "tinygan.training.trainer"
        or {"start", "run", "resume"} <= vars(found.Trainer).keys()
    )


def test_a_continued_run_has_the_same_files_and_keys(run, tmp_path):
    old = checkpoint.open_run(run)
    assert main(["train", "--resume", str(run), "--steps", "20"]) == 0
    new = checkpoint.open_run(run)
    states = {name for entry in PENALTIES for name in entry.states}  # also of newer penalties
    assert new.path.name == "checkpoint-00000020.npz"
    assert new.meta.keys() == old.meta.keys() | states
    assert {part: state.keys() for part, state in new.states.items()} == {
        part: state.keys() for part, state in old.states.items()
    }
    assert old.config.keys() | {"version", "kernels"} == new.config.keys()
    assert {path.name for path in run.iterdir()} - {"best.npz"} == {
        "config.json",
        "log.jsonl",
        "time.jsonl",
        "eval.jsonl",
        "curves.png",
        "samples",
        new.path.name,
    }
