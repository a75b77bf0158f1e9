"""Schedules: their values, what is refused, and that each setting with a schedule has its effect in
the right step."""

import copy
import json
import pickle
import re

import numpy as np
import pytest
from host import host
from mistakes import error_of
from test_recorded import assert_same_bits
from test_training import SMALL, resume, start

from tinygan import Parameter, data, grad, optim, schedules
from tinygan.cli import main
from tinygan.files import checkpoint
from tinygan.schedules import Schedule
from tinygan.training import recipes
from tinygan.training.algorithm import Algorithm
from tinygan.training.statistics import to_floats


@pytest.fixture(scope="module")
def digits():
    return data.load("digits").subset(slice(200))


# ---- values ----


def half_cosine(start, end, t):
    return end + (start - end) * (1 + np.cos(np.pi * t)) / 2


@pytest.mark.parametrize(
    "text, steps, values",
    [
        ("constant:3", None, {0: 3, 1: 3, 1000: 3}),
        ("constant:3:warmup=4", None, {0: 0, 1: 0.75, 2: 1.5, 4: 3, 5: 3, 1000: 3}),
        ("constant:3:warmup=5%", 200, {5: 1.5, 10: 3, 200: 3}),
        ("linear:4:1", 300, {0: 4, 100: 3, 200: 2, 300: 1, 301: 1, 900: 1}),
        ("linear:4:1:until=100", 300, {0: 4, 50: 2.5, 100: 1, 300: 1}),
        ("linear:4:1:until=50%", 300, {50: 3, 150: 1, 300: 1}),
        ("linear:4:1:until=100:warmup=20", 300, {0: 0, 10: 2, 20: 4, 60: 2.5, 100: 1, 300: 1}),
        ("linear:4:1:warmup=10:until=50%", 100, {5: 2, 10: 4, 30: 2.5, 50: 1, 100: 1}),
        ("linear:4:1:warmup=200", 1000, {100: 2, 200: 4, 600: 2.5, 1000: 1}),
        ("linear:0:1", 10, {0: 0, 1: 0.1, 10: 1}),
        ("cosine:4:1", 400, {t: half_cosine(4, 1, t / 400) for t in (0, 1, 100, 200, 333, 400)}),
        (
            "cosine:2e-4:5e-5:until=90:warmup=10",
            100,
            {5: 1e-4, **{t: half_cosine(2e-4, 5e-5, (t - 10) / 80) for t in (10, 11, 50, 89, 90)}},
        ),
        ("cosine:0:1:until=5", 2, {2: half_cosine(0, 1, 0.4), 5: 1, 9: 1}),
    ],
)
def test_the_values_of_a_schedule(text, steps, values):
    schedule = Schedule(text)
    for step, value in values.items():
        assert np.isclose(schedule(step, steps), value, rtol=1e-12, atol=1e-15), step
    ends = {schedule(t, steps) for t in (0, 1000)}
    assert ends <= {0.0, schedule.start, schedule.end}  # exactly


def test_schedules_are_made_by_functions_too():
    for schedule, text in (
        (schedules.constant(3), "constant:3"),
        (schedules.constant(0.5, warmup="5%"), "constant:0.5:warmup=5%"),
        (schedules.linear(1, 0), "linear:1:0"),
        (schedules.linear(1, 0, until=5, warmup=2), "linear:1:0:until=5:warmup=2"),
        (schedules.cosine(2e-4, 5e-5, until="50%"), "cosine:0.0002:5e-05:until=50%"),
    ):
        assert isinstance(schedule, Schedule) and schedule == text
    for twin in (copy.deepcopy(schedule), pickle.loads(pickle.dumps(schedule))):
        assert twin == schedule and twin(10, 100) == schedule(10, 100)
    assert json.loads(json.dumps({"lr": schedule})) == {"lr": str(schedule)}


def test_a_loop_of_ones_own_follows_a_schedule():
    w, rate = Parameter(np.array([1.0])), schedules.linear(0.4, 0, until=4)
    optimizer, expected = optim.SGD([w], rate(0)), 1.0
    for step in range(1, 6):
        optimizer.lr = rate(step)
        optimizer.step([grad((w * w).sum() * 0.5, w)])
        expected *= 1 - max(0.4 - 0.1 * step, 0)
    np.testing.assert_allclose(host(w), expected)
    message = error_of(schedules.linear(0.4, 0), 3)
    assert message == (
        "schedule linear:0.4:0: give the number of steps, too: write schedule(step, steps)"
    )


# ---- what is refused ----


@pytest.mark.parametrize(
    "text, message",
    [
        ("cosine:2e-4", "END is missing: write cosine:START:END[:until=N][:warmup=N]"),
        ("linear", "START is missing: write linear:START:END[:until=N][:warmup=N]"),
        ("constant:", "VALUE is '': write a number"),
        ("cosin:2e-4:0", "unknown kind 'cosin': did you mean cosine? (choose from constant, "),
        ("linear:1:2:3", "'3' is one value too many: write linear:START:END"),
        ("linear:1:until=3:2", "the values come before the options: write linear:START:END"),
        ("linear:1:x", "END is 'x': write a number"),
        ("linear:inf:1", "START is 'inf': write a number"),
        ("linear:1:0:untill=5", "unknown option 'untill': did you mean until? (choose from until,"),
        ("constant:1:until=5", "a constant value has no end: leave out until=5"),
        ("linear:1:0:until=5:until=6", "until is given twice: leave one out"),
        ("linear:1:0:until=0", "until=0: must be above 0, and at most 1,000,000,000"),
        ("linear:1:0:until=101%", "until=101%: must be above 0, and at most 100%"),
        ("linear:1:0:warmup=-1", "warmup=-1: must be at least 0, and at most 1,000,000,000"),
        ("linear:1:0:warmup=", "warmup is '': write a number"),
        ("linear:1:0:warmup", "warmup is '': write a number"),
        ("linear:1:0:until=nan", "until is 'nan': write a number"),
        ("cosine:1:0:until=5:warmup=5", "the warm-up ends at step 5: it must end before step 5"),
        ("cosine:1:0:until=5%:warmup=6%", "the warm-up ends at step 6: it must end before step 5"),
        ("cosine:1:0:warmup=100%", "it must end before step 100, the last step"),
        ("lin\near:1:0", "unknown kind"),
    ],
)
def test_a_wrong_schedule_is_refused_in_one_line(text, message):
    found = error_of(recipes.find("quick").settings().updated, {"lr": text})
    if text != "linear":
        assert message in error_of(Schedule, text)
    assert found.startswith("setting lr: schedule ") and message in found


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"lr": "fast"}, "lr=fast: expected a number, or a schedule, such as linear:START:END"),
        ({"lr": "cosine:2e-4:-1"}, "setting lr=cosine:2e-4:-1: must be at least 0"),
        ({"beta2": "linear:0.9:1"}, "beta2=linear:0.9:1: must be between 0 and 0.999999"),
        ({"ema_images": "linear:1:1e10"}, "must be between 0 and 1000000000"),
        ({"batch_size": "linear:8:64"}, "batch_size cannot have a schedule; these can: penalty_w"),
        ({"eps": "constant:1"}, "eps cannot have a schedule"),
        ({"steps": "10:20"}, "setting steps=10:20: expected a whole number"),
        ({"clip": "linear:0.1:0"}, "must be above 0, because 0 stands for off"),
        ({"clip_grad_norm": "linear:0:1"}, "must be above 0, because 0 stands for off"),
        ({"steps": 50, "lr": "linear:1:0:warmup=60"}, "step 60: it must end before step 50, the"),
        ({"steps": 50, "lr": "linear:1:0:until=50%:warmup=30"}, "must end before step 25"),
    ],
)
def test_a_setting_says_which_schedule_it_can_have(settings, message):
    assert message in error_of(recipes.find("quick").settings().updated, settings)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"optimizer": "adamw"}, "optimizer=adamw: without weight_decay, it is adam: set weight_"),
        ({"beta1": "linear:0:0.5", "optimizer": "rmsprop"}, "ignored: RMSprop has no beta1"),
        ({"class_weight": "linear:1:0"}, "ignored: it needs d_class=auxiliary"),
        ({"ada_target": "linear:0.5:0.6"}, "ignored: it needs augment=ada"),
        ({"ema": "linear:0.9:0.99", "ema_images": 100}, "ignored: the average follows ema_images"),
        ({"path_length": "linear:1:0"}, "setting path_length=linear:1:0: the G of gan has no styl"),
    ],
)
def test_a_schedule_that_would_be_ignored_is_refused(settings, message, digits):
    entry = recipes.find("gan")
    settings = entry.settings().updated({**SMALL["gan"], **settings})
    assert message in error_of(Algorithm, entry, settings, digits)


def test_other_steps_are_checked_with_the_schedules_of_a_run():
    settings = recipes.find("quick").settings().updated({"lr": "linear:1:0:warmup=60"})
    assert "setting lr: schedule linear:1:0:warmup=60: the warm-up ends at" in error_of(
        settings.updated, {"steps": 50}
    )


# ---- their effect, step by step ----


def algorithm(digits, recipe="gan", **settings):
    entry = recipes.find(recipe)
    settings = entry.settings().updated({"batch_size": 8, **SMALL[recipe], **settings})
    return Algorithm(entry, settings, digits.padded(settings.pad), seed=3)


def test_the_optimisers_and_the_average_follow_their_schedules(digits):
    """With a lazy penalty, which changes the numbers of D's optimiser by c = k / (k + 1)."""
    a = algorithm(
        digits,
        steps=8,
        lr="linear:8e-3:0",
        beta1="linear:0.8:0",
        beta2="cosine:0.9:0.99:until=50%",
        weight_decay="constant:0.4:warmup=4",
        ema="linear:0:0.8",
        r1=1.0,
        penalty_every=4,
    )
    c = 4 / 5
    for step in range(1, 9):
        numbers = a.train_step()
        t, lr, beta1 = step / 8, 8e-3 * (1 - step / 8), 0.8 * (1 - step / 8)
        beta2, decay = half_cosine(0.9, 0.99, min(step / 4, 1)), 0.4 * min(step / 4, 1)
        for optimizer, k in (a.g_optimizer, 1), (a.d_optimizer, c):
            found = optimizer.lr, *optimizer.betas, optimizer.weight_decay
            np.testing.assert_allclose(found, (lr * k, beta1**k, beta2**k, decay), atol=1e-12)
        assert np.isclose(a.ema.decay, 0.8 * t)
        logged = {"lr": lr, "beta1": beta1, "beta2": beta2, "weight_decay": decay, "ema": 0.8 * t}
        for name, value in logged.items():
            assert np.isclose(numbers[name], value, atol=1e-12), name


def test_d_has_a_schedule_of_its_own(digits):
    a = algorithm(
        digits, steps=4, lr=2e-4, d_lr="linear:4:0", optimizer="rmsprop", beta2="linear:0.8:0"
    )
    for step in range(1, 4):
        numbers = a.train_step()
        assert (a.g_optimizer.lr, a.d_optimizer.lr) == (2e-4, numbers["d_lr"])
        assert np.isclose(numbers["d_lr"], 4 - step)
        assert np.isclose(a.d_optimizer.alpha, 0.8 - 0.2 * step)


def test_the_half_life_of_the_average_follows_its_schedule(digits):
    """A half-life of 0 forgets everything. A number is limited to a twentieth of the images so far,
    a schedule to a third."""
    a = algorithm(digits, steps=4, ema_images="linear:4:0")
    a.images = 10_000
    for step, half_life in ((0, 3), (2, 1), (3, 0)):
        a.step = step
        assert np.isclose(a.ema_decay(8), 0.5 ** (8 / half_life) if half_life else 0)
    a.images, a.step = 32, 0
    assert np.isclose(a.ema_decay(8), 0.5 ** (8 / 3))
    a.images = 0
    assert np.isclose(a.ema_decay(8), 0.5 ** (8 / (8 / 3)))
    a = algorithm(digits, steps=4, ema_images=3)
    a.images = 32
    assert np.isclose(a.ema_decay(8), 0.5 ** (8 / 2))


WEIGHTS = {
    "r1": {},
    "r2": {"penalty_every": 2},
    "gp": {},
    "drift": {},
    "cr": {},
    "bcr": {},
    "lecam": {"lecam_start": 1},
    "ortho": {},
    "class_weight": {"g_class": "concat", "d_class": "auxiliary"},
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_weight_follows_its_schedule(name, digits):
    """With learning rates of 0, a step depends on its own weight alone. It is that of a run with
    this number as the weight, to the bit, recorded or not."""
    changing, *fixed = (
        algorithm(digits, "gan", lr=0, **WEIGHTS[name], **{name: weight})
        for weight in ("linear:4:0:until=8", 2.5, 1.5)
    )
    rows = [changing.train_step() for _ in range(5)]
    assert [row.pop(name) for row in rows] == [3.5, 3.0, 2.5, 2.0, 1.5]
    expected, others = ([run.train_step() for _ in range(5)] for run in fixed)
    assert rows[2] == expected[2] != others[2]
    assert rows[4] == others[4] != expected[4]


def test_the_weight_of_the_path_length_follows_its_schedule(digits):
    a = algorithm(digits, "stylegan2", path_length="linear:4:0:until=8", path_every=2)
    for a.step, weight in (0, 3.5), (2, 2.5):
        total, numbers = a.objectives.g_penalty(a.latents(4), a.labels(4))
        assert np.isclose(host(total), 2 * weight * float(numbers["path_penalty"]))
    assert a.train_step()["path_length_weight"] == 2.5


def test_the_limit_of_weights_follows_its_schedule(digits):
    a = algorithm(digits, "gan", clip="linear:0.02:0.01:until=4", lr="constant:1")
    for step in range(1, 6):
        a.train_step()
        largest = max(np.abs(host(p)).max() for p in a.D.parameters())
        assert largest == np.float32(0.02 - 0.01 * min(step, 4) / 4)


@pytest.mark.parametrize("penalty_every, path_every", [(1, 1), (2, 2)])
def test_every_update_is_clipped(digits, penalty_every, path_every):
    """Those of lazy penalties, too. The log has the norms before clipping."""
    a = algorithm(
        digits,
        "stylegan2",
        clip_grad_norm="linear:4e-3:0.001:until=3",
        penalty_every=penalty_every,
        path_every=path_every,
    )
    norms = []
    for optimizer in (a.g_optimizer, a.d_optimizer):

        def update(ws, gs, states, before=optimizer.update):
            norms.append(np.sqrt(sum(np.square(host(g), dtype=float).sum() for g in gs)))
            before(ws, gs, states)

        optimizer.update = update
    numbers = a.train_step()
    np.testing.assert_allclose(norms, 0.003, rtol=1e-2)
    assert len(norms) == (2 if penalty_every == 1 else 4)
    assert min(numbers["d_grad_norm"], numbers["g_grad_norm"]) > 0.05


def test_the_target_of_ada_follows_its_schedule(digits):
    ada = {"augment": "ada", "ada_p": 0.5, "ada_kimg": 0.1, "policy": "xflip"}
    a = algorithm(digits, steps=4, ada_target="linear:0.8:0.4", **ada)
    for step in range(1, 5):
        assert np.isclose(a.train_step()["ada_target"], 0.8 - 0.1 * step)
        assert np.isclose(a.controller.target, 0.8 - 0.1 * step)


ALL = {
    "lr": "cosine:2e-3:1e-4:warmup=2",
    "beta2": "cosine:0.9:0.99:until=50%",
    "r1": "cosine:1:0.1:until=8",
    "ema_images": "cosine:10:100:until=80%",
    "clip_grad_norm": "linear:0.1:0.01",
    "optimizer": "adamw",
    "weight_decay": "constant:0.1:warmup=25%",
}


def test_a_resumed_run_with_schedules_equals_the_unbroken_run(tmp_path, digits):
    start(tmp_path / "a", digits, "gan", keep=5, **ALL).run(progress=False)
    start(tmp_path / "b", digits, "gan", keep=5, **ALL).run(progress=False)
    middle = checkpoint.checkpoints(tmp_path / "b")[0]
    resumed = resume(tmp_path / "b", digits, middle)
    assert resumed.step == 5
    resumed.run(progress=False)
    for name in ("log.jsonl", "config.json", "samples/step-00000012.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    (one, meta), (other, other_meta) = (
        checkpoint.load(checkpoint.checkpoints(tmp_path / name)[-1]) for name in "ab"
    )
    for part in one:
        assert_same_bits(one[part], other[part])
    assert meta == other_meta
    rows = [json.loads(line) for line in (tmp_path / "a" / "log.jsonl").read_text().splitlines()]
    means = [
        np.mean([Schedule(ALL["lr"])(t, 12) for t in span]) for span in (range(1, 11), (11, 12))
    ]
    np.testing.assert_allclose([row["lr"] for row in rows], means)
    assert json.loads((tmp_path / "a" / "config.json").read_text())["settings"]["lr"] == ALL["lr"]


def test_a_schedule_without_until_ends_at_the_new_last_step(tmp_path, digits):
    start(tmp_path / "a", digits, "gan", lr="linear:1e-3:0").run(progress=False)
    longer = resume(tmp_path / "a", digits, steps=24)
    longer.algorithm.train_step()
    assert np.isclose(longer.algorithm.g_optimizer.lr, 1e-3 * (1 - 13 / 24))


def test_micro_batches_follow_schedules(digits):
    whole = algorithm(digits, "gan", steps=4, dropout=0, **ALL)
    parts = algorithm(digits, "gan", steps=4, dropout=0, micro_batch=4, **ALL)
    for _ in range(4):
        numbers, expected = (to_floats(run.train_step()) for run in (parts, whole))
        for name, value in expected.items():
            assert np.isclose(numbers[name], value, rtol=1e-3, atol=1e-3), name


def test_the_command_line_leads_to_schedules(tmp_path, capsys):
    assert main(["recipes", "quick"]) == 0
    out = capsys.readouterr().out
    assert "--set lr=cosine:2e-4:0:warmup=5%" in out.replace("\n", " ")
    marked = set(re.findall(r"^  (\w+) +\S+~", out, re.MULTILINE))
    assert marked == {
        *("lr", "d_lr", "beta1", "beta2", "weight_decay", "clip_grad_norm", "ema", "ema_images"),
        *("r1", "r2", "gp", "drift", "ortho", "cr", "bcr", "lecam", "path_length", "clip"),
        *("class_weight", "ada_target", "penalty_weight"),
    }
    code = main(["train", "quick", "--out", str(tmp_path / "run"), "--set", "lr=cosine:2e-4"])
    assert code == 2 and "END is missing" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
