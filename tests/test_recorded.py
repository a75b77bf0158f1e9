"""Recorded steps on a CPU: they compute the same bits, and what cannot be recorded is refused."""

import contextlib
import copy
import json
import math
import threading

import numpy as np
import pytest
import stress
from test_gpu import RUNS, UNRECORDED
from test_training import SMALL, start

import tinygan
from demos.bench.workloads import WORKLOADS
from tinygan import (
    Parameter,
    anomaly,
    data,
    from_host,
    grad,
    kernels,
    nn,
    ops,
    optim,
    recorded,
    tensor,
)
from tinygan.autograd import wrap
from tinygan.backend import asarray, constants, normal, xp
from tinygan.errors import Diverged
from tinygan.kernels.cpu import fork, parallel, place
from tinygan.kernels.cpu.recorded_array import RecordedArray, RecordingError
from tinygan.kernels.cpu.recording import Recording
from tinygan.nn.hooks import forward_hooks
from tinygan.training import recipes
from tinygan.training.algorithm import Algorithm

pytestmark = [pytest.mark.cpu, pytest.mark.fast]


@pytest.fixture(scope="module")
def digits():
    return data.load("digits").subset(slice(300))


@contextlib.contextmanager
def unrecorded():
    before, recorded.enabled = recorded.enabled, False
    try:
        yield
    finally:
        recorded.enabled = before


# ---- the same bits: training ----

GROWS = {"stable_images": 40, "fade_images": 40, "batch_sizes": "4:8,8:8,16:8,32:8"}
TRAINED = {
    **{name: (recipe, {**SMALL[recipe], **own}, 6) for name, (recipe, own) in RUNS.items()},
    **{name: (recipe, {**SMALL[recipe], **own}, 4) for name, (recipe, own) in UNRECORDED.items()},
    "progan": ("progan", {**SMALL["progan"], **GROWS}, 33),
    "stylegan": ("stylegan", {**SMALL["stylegan"], **GROWS}, 33),
    "stylegan2": (
        "stylegan2",
        {
            **SMALL["stylegan2"],
            **{"penalty_every": 3, "path_every": 2, "path_length": "linear:2:0:until=12"},
        },
        16,
    ),
    # two groups of 16 channels, for which Winograd's method is used
    "r3gan": (
        "r3gan",
        {**SMALL["r3gan"], "g_channels": 16, "d_channels": 16, "group_channels": 16},
        6,
    ),
    "colour": ("quick", {"augment": "diffaug", "policy": "color"}, 6),
    "translation": ("quick", {"augment": "diffaug", "policy": "translation"}, 6),
    "cutout": ("quick", {"augment": "diffaug", "policy": "cutout"}, 6),
    "rising p": ("quick", {"augment": "ada", "ada_p": 0.0, "ada_kimg": 0.1, "policy": "xflip"}, 14),
    "frozen": ("dcgan", {**SMALL["dcgan"], "freeze": "D.main.0,G.main.3", "clip": 0.05}, 6),
    "balanced": ("dcgan", {**SMALL["dcgan"], "balanced_batches": True}, 6),
    "sanitised": ("dcgan", {**SMALL["dcgan"], "sanitize": True}, 6),
}


SLOW = "progan", "stylegan", "stylegan2", "biggan", "r3gan"


def count_calls(monkeypatch, owner, name):
    """Return a list that grows by 1 at each call of a method."""
    calls, method = [], getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *args: (calls.append(1), method(*args))[1])
    return calls


def weights_of(algorithm):
    """Return {name: array} of all that training changes."""
    a = algorithm
    parts = {"G": a.G, "D": a.D, "ema": a.ema.module, "g": a.g_optimizer, "d": a.d_optimizer}
    state = {f"{part}.{key}": x for part, m in parts.items() for key, x in m.state_dict().items()}
    return state | {f"penalty.{key}": x for key, x in vars(a.objectives.penalty_state).items()}


def assert_same_bits(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert np.array_equal(one[name], other[name], equal_nan=True), name


# Left to the slow tests: those whose kinds of steps others have, too.
ALIKE = {"progan", "stylegan", "biggan", "sngan", "projection"}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in ALIKE)) for n in TRAINED]
)
def test_a_recorded_run_trains_the_same_bits(name, digits, monkeypatch):
    """The losses of every step, weights, buffers, moments, averages, random generators; on two
    threads, small arrays too."""
    recipe, settings, steps = TRAINED[name]
    entry, runs = recipes.find(recipe), []
    settings = entry.settings().updated({"batch_size": 8, **settings})
    threads = [2] if name in SLOW else [1, 2]
    for _ in range(1 + len(threads)):
        runs.append(Algorithm(entry, settings, digits.padded(settings.pad), seed=3))
    plain, *replayed = runs
    monkeypatch.setattr(parallel, "SHARED", 256)
    replays = count_calls(monkeypatch, Recording, "replay")
    for step in range(steps):
        with unrecorded(), np.errstate(all="ignore"):
            expected = plain.train_step()
        for n, run in zip(threads, replayed):
            monkeypatch.setattr(parallel, "_threads", n)
            with np.errstate(all="ignore"):
                assert run.train_step() == expected, f"step {step}"
    for run in replayed:
        assert_same_bits(weights_of(plain), weights_of(run))
        assert run.rng.bit_generator.state == plain.rng.bit_generator.state
    assert bool(replays) == (name not in UNRECORDED)


def test_a_recorded_run_writes_the_same_files(tmp_path, digits):
    """With evaluations, held-out images, lazy penalties and ADA; and it is continued."""
    settings = {
        **{"steps": 24, "eval_every": 12, "eval_images": 100, "checkpoint_every": 8},
        **{"sample_every": 8, "penalty_every": 3, "r1": 1.0, "d_norm": "none"},
        **{"augment": "ada", "policy": "xflip", "ada_p": 0.3, "ada_kimg": 1.0},
    }
    with unrecorded():
        start(tmp_path / "a", digits, **settings).run(progress=False)
    trainer = start(tmp_path / "b", digits, **settings)
    trainer.run(progress=False)
    assert any(step.runs == 3 for step in trainer.algorithm.execution.recorded.steps.values())
    one, other = (stress.contents(tmp_path / name) for name in "ab")
    assert one.keys() == other.keys()
    for name in one:
        if name != "log.jsonl":
            assert one[name] == other[name], name
    rows = [
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in "ab"
    ]
    for row, expected in zip(*rows, strict=True):
        assert {k: v for k, v in row.items() if "seconds" not in k and k != "img_per_s"} == {
            k: v for k, v in expected.items() if "seconds" not in k and k != "img_per_s"
        }


def test_the_phases_of_replayed_steps_are_timed(digits):
    entry = recipes.find("gan")
    run = Algorithm(entry, entry.settings().updated({"batch_size": 8}), digits, seed=0)
    for _ in range(4):
        run.train_step()
    before = dict(run.execution.seconds)
    run.train_step()
    after = run.execution.seconds
    assert before.keys() == after.keys() == {"data", "fakes", "D", "G", "average"}
    assert all(after[phase] > before[phase] for phase in before)


@pytest.mark.slow
@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_of_the_bench_has_the_same_bits(name, monkeypatch):
    monkeypatch.setattr(parallel, "_threads", 2)
    workload = WORKLOADS[name]
    size = 16 if name == "stylegan2" else workload.image_size
    jobs = [workload.make(8, size) for _ in range(2)]
    for _ in range(6):
        for part in workload.weights:
            with unrecorded():
                expected = [float(x) for x in jobs[0].parts[part]()]
            assert [float(x) for x in jobs[1].parts[part]()] == expected
    for one, other in zip(*(job.networks for job in jobs)):
        assert_same_bits(one.state_dict(), other.state_dict())


# ---- the same bits: a person's own loop ----


class Learner:
    """A small network with everything that a step may do: noise, batch-norm, an optimiser, G's
    average."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.net = nn.Sequential(
            nn.Conv2d(1, 4, 3, 1, 1, rng=rng),
            nn.BatchNorm(4),
            nn.LeakyReLU(),
            nn.Conv2d(4, 3, 4, 2, 1, rng=rng),
        )
        self.net.weight, self.net.rng = 1.0, np.random.default_rng(1)
        self.optimizer, self.average = optim.Adam(self.net, 1e-2), tinygan.EMA(self.net, 0.9)
        self.calls = 0

    def step(self):
        self.calls += 1
        x = wrap(normal(self.net.rng, (6, 8, 8, 1)))
        loss = self.net.weight * ops.mean(ops.square(ops.tanh(self.net(x))))
        self.optimizer.step(grad(loss, self.net.parameters()))
        self.average.update(self.net)
        return (loss.data,)


def captured(learner):
    return tinygan.capture(learner.step, learner.net, learner.average.module)


def compare(change=lambda learner, i: None, steps=12, make=Learner):
    """Assert that a learner trains the same bits captured and not, if change(learner, i) is called
    before step i. Return the captured learner."""
    plain, own = make(), make()
    run = captured(own)
    for i in range(steps):
        change(plain, i), change(own, i)
        assert [float(x) for x in run()] == [float(x) for x in plain.step()], i
    for get in (lambda x: x.net, lambda x: x.average.module, lambda x: x.optimizer):
        assert_same_bits(get(plain).state_dict(), get(own).state_dict())
    return own


def test_a_captured_step_is_replayed():
    learner = compare()
    assert learner.calls == 3  # once, and twice to record it


def rate(learner, i):
    learner.optimizer.lr = 0.01 / (1 + i)


def late_rate(learner, i):
    learner.optimizer.lr = 0.01 if i < 6 else 0.001


def betas(learner, i):
    learner.optimizer.betas = (0.1 * (i // 4), 0.99)


def decay(learner, i):
    learner.average.decay = 0.5 + 0.04 * i


def weight(learner, i):
    learner.net.weight = 1.0 + i // 5


def weight_at_every_step(learner, i):
    learner.net.weight = 1.0 + i


def training_flag(learner, i):
    learner.net.train(i % 8 < 4)


def frozen(learner, i):
    learner.net[0].weight.requires_grad = i < 6


def moments(learner, i):
    if i == 6:
        learner.optimizer.reset()


def loaded_moments(learner, i):
    if i == 6:
        learner.optimizer.load_state_dict(learner.optimizer.state_dict())


def weights(learner, i):
    if i == 6:
        learner.net.load_state_dict({k: x * 0.5 for k, x in learner.net.state_dict().items()})


def own_layer(learner, i):
    if i == 6:
        learner.net[3].weight = Parameter(learner.net[3].weight.data * 2)
        learner.optimizer = optim.Adam(learner.net, 1e-2)


def random_generator(learner, i):
    if i == 6:
        learner.net.rng = np.random.default_rng(5)


def number_of_threads(learner, i):
    parallel._threads = 1 + i // 6


CHANGES = [
    rate,
    late_rate,
    betas,
    decay,
    weight,
    weight_at_every_step,
    training_flag,
    frozen,
    moments,
] + [loaded_moments, weights, own_layer, random_generator, number_of_threads]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_changes_between_steps_is_noticed(change, monkeypatch):
    monkeypatch.setattr(parallel, "_threads", 2)
    compare(change)


def test_an_optimiser_of_ones_own_may_hold_arrays():
    class Own(optim.SGD):
        def update(self, ws, gs, states):
            super().update(ws, gs, states)
            self.ones = np.ones(3)  # another array each time

    class OwnLearner(Learner):
        def __init__(self):
            super().__init__()
            self.optimizer = Own(self.net, 1e-2)

    assert compare(make=OwnLearner).calls == 3


def test_a_counter_in_a_module_is_noticed():
    class Counts(Learner):
        def __init__(self):
            super().__init__()
            self.net.count = 0

        def step(self):
            self.net.count += 1
            self.optimizer.lr = 0.1 if self.net.count % 7 == 0 else 0.01
            return super().step()

    assert compare(make=Counts).calls == 12


def test_a_number_from_the_host_may_change():
    net, value = nn.Module(), [1.0]
    net.w = Parameter(np.ones(3, np.float32))

    def halved():
        value[0] *= 0.5
        return np.float32(value[0])

    run = tinygan.capture(lambda: ((net.w.data * from_host(halved)).sum(),), net)
    assert [float(run()[0]) for _ in range(6)] == [3 * 0.5**i for i in range(1, 7)]


BRANCHES = {
    "logsumexp": (ops.logsumexp, 1, 100),
    "softmax": (lambda x: ops.sum(ops.softmax(x) * x), 1, 100),
    "log_softmax": (lambda x: ops.sum(ops.log_softmax(x)), 1, 100),
    "norm": (lambda x: ops.norm(x, 0), 1, 1e-30),
    "gradient of norm": (lambda x: ops.sum(grad(ops.norm(x, 0), x)), 1, 1e30),
    "layer norm": (lambda x: ops.sum(ops.square(ops.normalize(x, (0,)))), 1, 1e4),
    "pixel norm": (lambda x: ops.sum(ops.pixel_norm(x)), 1, 1e25),
}


def test_transposed_data_from_the_host_gives_the_same_bits():
    """BLAS adds in another order if a matrix is transposed."""
    rng, net = np.random.default_rng(0), nn.Linear(2, 2, rng=0)
    matrices = rng.standard_normal((6, 8, 1, 32, 32), dtype=np.float32).swapaxes(3, 4)
    x = rng.standard_normal((8, 1, 32, 32), dtype=np.float32)

    def results():
        each = iter(matrices)
        step = lambda: (ops.matmul(x, from_host(lambda: next(each))).square().sum().data,)
        run = tinygan.capture(step, net)
        return [float(run()[0]) for _ in matrices]

    with unrecorded():
        expected = results()
    assert results() == expected


@pytest.mark.parametrize("name", BRANCHES)
def test_a_branch_takes_the_side_of_each_step(name):
    function, small, large = BRANCHES[name]
    values = [small, large, small, large, large, small, small, large]
    for order in values, values[1:]:  # the step is recorded on either side
        net, remaining = nn.Module(), iter(order)
        net.w = Parameter(np.linspace(0.1, 1, 16, dtype=np.float32) + np.float32(3 * (small == 1)))

        def step():
            factor = wrap(from_host(lambda: np.float32(next(remaining))))
            with np.errstate(over="ignore"):
                return (function(net.w * factor).data,)

        run = tinygan.capture(step, net)
        for x in order:
            w = tensor(net.w.data, requires_grad=True)
            with np.errstate(over="ignore"):
                expected = function(w * wrap(asarray(np.float32(x)))).data
            assert np.array_equal(run()[0], expected, equal_nan=True)


def test_warnings_are_switched_off_where_the_step_switches_them_off():
    net, values = nn.Module(), iter(range(-3, 9))
    net.w = Parameter(np.zeros(1, np.float32))

    def step():
        x = net.w.data + from_host(lambda: np.float32(next(values)))
        with np.errstate(divide="ignore", invalid="ignore"):
            return (np.log(x).sum(),)

    run = tinygan.capture(step, net)
    with np.errstate(all="raise"):
        assert [float(run()[0]) for _ in range(7)][3:] == [
            -math.inf,
            0,
            *map(np.float32, np.log(np.float32([2, 3]))),
        ]


def test_results_are_not_overwritten_by_the_next_replay():
    net, count = nn.Module(), iter(range(9))
    net.w = Parameter(np.zeros(1, np.float32))
    run = tinygan.capture(lambda: ((net.w.data + from_host(lambda: next(count))).sum(),), net)
    assert [float(x) for (x,) in [run() for _ in range(6)]] == [0, 1, 2, 3, 4, 5]


def test_a_cache_that_is_filled_during_the_recording_holds_plain_arrays():
    made = constants(lambda n: xp.arange(n, dtype="float32") * 2)
    net, size = net_with(np.ones(1, np.float32)), [2]

    def step():
        return ((net.w.data * made(size[0])).sum(),)

    run = tinygan.capture(step, net)
    run()
    size[0] = 3
    assert [float(run()[0]) for _ in range(4)] == [6] * 4 and type(made(3)) is np.ndarray


# ---- what is refused ----

READS = {
    "float": float,
    "int": lambda x: int(x),
    "bool": lambda x: 1 if x else 2,
    "item": lambda x: x.item(),
    "tolist": lambda x: x.tolist(),
    "index": lambda x: [1, 2, 3][x],
    "range": lambda x: range(x),
    "asarray": np.asarray,
    "array": np.array,
    "isfinite": lambda x: math.isfinite(x),
    "all": lambda x: bool(np.all(x)),
    "any": lambda x: any(x[None]),
    "array_equal": lambda x: np.array_equal(x, x),
    "format": lambda x: f"{x:.3f}",
    "buffer": memoryview,
    "unknown method": lambda x: x[None].nonzero(),
    "several arrays": lambda x: np.linalg.svd(x.reshape(1, 1).astype("f4")),
    "mask": lambda x: x[None][x[None] > 0],
    "where": lambda x: np.where(x[None])[0],
    "several results": lambda x: np.modf(x),
    "accumulate": lambda x: np.add.accumulate(x[None]),
}


def net_with(array):
    net = nn.Module()
    net.w = Parameter(array)
    return net


@pytest.mark.parametrize("name", READS)
def test_a_step_that_reads_a_value_is_refused(name):
    net = net_with(np.ones(3, np.float32))

    def step():
        READS[name]((net.w.data.sum() * 0).astype("int64"))
        return (net.w.data.sum(),)

    run = tinygan.capture(step, net)
    run()
    with pytest.raises((RecordingError, TypeError)):
        run()
    assert type(net.w.data) is np.ndarray and parallel.recording() is None
    assert type(xp.zeros(2)) is np.ndarray


RANDOM = np.random.default_rng(0)
COUNT = iter(range(100))
MISTAKES = {
    "random array": lambda x: x * RANDOM.random(3, dtype=np.float32),
    "random constant": lambda x: x * asarray(RANDOM.random(3)),
    "random number": lambda x: x * RANDOM.random(),
    "random NumPy number": lambda x: x * np.float32(RANDOM.random()),
    "random crop": lambda x: x[next(COUNT) % 2 :][:2],
    "random order": lambda x: x[[next(COUNT) % 3, 0]],
    "random roll": lambda x: np.roll(x, next(COUNT)),
    "random stride": lambda x: x[:: 1 + next(COUNT) % 2][:2],
    "random operation": lambda x: [np.sin, np.cos][next(COUNT) % 2](x),
    "random dtype": lambda x: x.astype(["f4", "f8"][next(COUNT) % 2]),
    "random number of operations": lambda x: x if next(COUNT) % 2 else -x,
    "written array": lambda x: np.add(x, 1, out=np.empty(3, np.float32)),
    "assigned array": lambda x: x.__setitem__(slice(None), RANDOM.random(3)),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_what_a_replay_would_not_repeat_is_refused(name):
    net = net_with(np.ones(3, np.float32))

    def step():
        x = net.w.data * 2
        y = MISTAKES[name](x)
        return ((x if y is None else y).sum(),)

    run = tinygan.capture(step, net)
    run()
    with pytest.raises(RecordingError, match="from_host"):
        run(), run()
    assert type(net.w.data) is np.ndarray


SCHEDULES = {
    "weight of a penalty": lambda net, i: ops.mean(ops.square(net.w)) * (1.0 + i),
    "clipping": lambda net, i: ops.mean(ops.clip(net.w, -0.1 * i, 0.1 * i)),
    "noise": lambda net, i: ops.mean(net.w * tensor(np.full(3, i, np.float32))),
    "slope": lambda net, i: ops.mean(ops.leaky_relu(net.w, 0.1 * i)),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_that_is_not_from_the_host_is_refused(name):
    net, count = net_with(np.ones(3, np.float32)), iter(range(10))

    def step():
        return (SCHEDULES[name](net, next(count)).data,)

    run = tinygan.capture(step, net)
    with pytest.raises(RecordingError, match="from_host"):
        run(), run(), run()


def test_a_network_that_capture_does_not_know_is_refused():
    net = Learner()
    run = tinygan.capture(net.step)
    run()
    with pytest.raises(RecordingError, match="passed to tinygan.capture"):
        run(), run()


class Statistics(nn.Module):
    """Its step swaps two buffers, which hold the same array at first, and turns a number into an
    array when it is told to."""

    buffer_names = ("one", "other", "late")

    def __init__(self):
        self.w = Parameter(np.ones(2, np.float32))
        self.one = self.other = np.zeros(2, np.float32)
        self.late = 0.0

    def step(self):
        self.one, self.other = self.other + self.w.data, self.one
        return (self.one.sum() + self.other.sum() + self.late,)


def test_buffers_may_share_arrays_and_change_their_type():
    plain, own = Statistics(), Statistics()
    run, kept = tinygan.capture(own.step, own), own.one
    for i in range(14):
        for net in plain, own:
            if i == 5:
                net.late = np.float32(3)
            if i in (6, 10):
                net.late = np.full((), i, np.float32)
        assert float(run()[0]) == float(plain.step()[0])
        assert (own.one == plain.one).all() and (own.other == plain.other).all()
    assert not kept.any()


def test_data_of_another_shape_is_refused():
    net, sizes = net_with(np.ones(1, np.float32)), iter([3, 3, 3, 3, 4])
    run = tinygan.capture(
        lambda: ((net.w.data * from_host(lambda: np.ones(next(sizes)))).sum(),), net
    )
    for _ in range(4):
        run()
    with pytest.raises(RecordingError, match=r"shape \(4,\), and \(3,\)"):
        run()


def test_a_shape_that_depends_on_values_is_refused():
    net, number = net_with(np.zeros(3, np.float32)), iter([0, 0, 0, 0, 1])

    def step():
        x = net.w.data + from_host(lambda: np.arange(3) * next(number))
        return (np.unique(x).sum(),)

    run = tinygan.capture(step, net)
    for _ in range(4):
        run()
    with pytest.raises(RecordingError, match=r"unique returned an array of shape \(3,\)"):
        run()


def test_an_array_of_a_step_cannot_be_used_after_it():
    kept, net = [], net_with(np.ones(3, np.float32))

    def step():
        kept.append(net.w.data * 2)
        return (xp.sum(kept[-1]),)

    run = tinygan.capture(step, net)
    run(), run()
    assert isinstance(kept[1], RecordedArray)
    with pytest.raises(RecordingError, match="outside of the step"):
        kept[1] + 1


def test_a_number_that_changes_is_told():
    net, value = net_with(np.ones(3, np.float32)), [1.0]

    def step():
        value[0] *= 0.5
        return ((net.w.data * value[0]).sum(),)

    run = tinygan.capture(step, net)
    run(), run()
    with pytest.raises(RecordingError, match=r"each time: 0.25, then 0.125 \(multiply\)"):
        run()


# ---- steps that run unrecorded ----


def test_a_model_that_reads_values_trains_unrecorded(digits, capfd):
    entry = recipes.find("gan")
    settings = entry.settings().updated({"batch_size": 8, "hidden": 16})
    runs = [Algorithm(entry, settings, digits, seed=0) for _ in range(2)]
    for run in runs:
        inner = run.G.forward

        class Reading(type(run.G)):
            def forward(self, *inputs, inner=inner):
                y = inner(*inputs)
                return y * (2.0 if float(y.data.mean()) > 0 else 1.0)

        run.G.__class__ = Reading
    for _ in range(6):
        with unrecorded():
            expected = runs[0].train_step()
        assert runs[1].train_step() == expected
    assert_same_bits(weights_of(runs[0]), weights_of(runs[1]))
    err = capfd.readouterr().err
    assert err.count("\n") == 1 and "runs unrecorded: an array is read as a number" in err


@pytest.mark.parametrize("context", [anomaly, tinygan.profile], ids=["anomaly", "profile"])
def test_a_monitored_step_runs_unrecorded(context):
    net = Learner()
    run = captured(net)
    for _ in range(5):
        run()
    assert net.calls == 3
    with context():
        run()
    assert net.calls == 4
    run()
    assert net.calls == 4


def test_a_step_with_hooks_runs_unrecorded():
    net, seen = Learner(), []
    run = captured(net)
    for _ in range(5):
        run()
    parts = [("layers", net.net)]
    with forward_hooks(
        parts, lambda *_: None, lambda path, module, y: seen.append(float(y.data.sum()))
    ):
        run(), run()
    assert len(seen) == 2 and net.calls == 5


def test_every_op_that_people_look_for_is_recorded():
    def learner(replayed):
        net = nn.Sequential(nn.Linear(4, 6, rng=0), nn.GELU(), nn.Linear(6, 4, rng=1))
        optimizer, rng = optim.Adam(net), np.random.default_rng(0)

        def step():
            calls.append(replayed)
            draw = lambda: rng.standard_normal((5, 4)).astype(np.float32)
            y = net(tensor(tinygan.from_host(draw)))
            first = y[np.arange(5), y.argmax(1)].mean() + y.flatten(0, 1).squeeze().std()
            loss = (
                first + y.prod(1).mean() + y.cumsum(1).sin().mean() + y.swapaxes(0, 1).cos().sum()
            )
            optimizer.step(grad(loss, net.parameters()))
            return (loss.data,)

        return tinygan.capture(step, net) if replayed else step

    calls = []
    runs = [[float(step()[0]) for _ in range(7)] for step in (learner(False), learner(True))]
    assert runs[0] == runs[1] and calls.count(True) == 3


def test_recording_is_switched_off():
    net = Learner()
    run = captured(net)
    with unrecorded():
        for _ in range(5):
            run()
    assert net.calls == 5


def test_plain_kernels_are_not_recorded():
    net, before = Learner(), kernels.in_use()
    kernels.use("plain")
    try:
        run = captured(net)
        for _ in range(5):
            run()
    finally:
        kernels.use(before)
    assert net.calls == 5


def test_a_captured_step_inside_another_is_a_part_of_it():
    plain, own = Learner(), Learner()
    inner = captured(own)
    outer = tinygan.capture(lambda: inner(), own.net, own.average.module)
    for _ in range(6):
        assert float(outer()[0]) == float(plain.step()[0])
    assert own.calls == 3


# ---- faults, threads, processes ----


def test_a_number_that_is_not_finite_is_told_with_its_layer(digits):
    entry = recipes.find("gan")
    run = Algorithm(entry, entry.settings(), digits, seed=0)
    for _ in range(5):
        run.train_step()
    weight = run.D.parameters()[0]
    before = [p.data.copy() for p in run.D.parameters()[1:]]
    weight.data[0, 0] = np.nan
    with pytest.raises(Diverged, match="step 6: the weight D.*holds NaN"):
        run.train_step()
    assert all(np.array_equal(p.data, b) for p, b in zip(run.D.parameters()[1:], before))


@pytest.mark.parametrize("when", [1, 4])
def test_a_fault_is_found_in_its_op(when, digits):
    """While the step is recorded, and when it is replayed."""
    entry = recipes.find("gan")
    run = Algorithm(entry, entry.settings(), digits, seed=0)
    for _ in range(when):
        run.train_step()
    for p in run.D.parameters():
        p.assign(p.data * np.float32(1e30))
    message = f"step {when + 1}: .* produced (inf|NaN)"
    with pytest.raises(Diverged, match=message), np.errstate(all="ignore"):
        run.train_step()


def test_another_thread_computes_while_a_step_is_recorded():
    """It computes plain arrays, or records a step of its own."""
    expected = [float(Learner().step()[0])]
    results, errors = {}, []

    def work(i):
        try:
            net = Learner()
            run = captured(net) if i % 2 else net.step
            results[i] = [float(run()[0]) for _ in range(12)]
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=[i]) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors
    assert results[0] == results[1] == results[2] == results[3] and results[0][:1] == expected


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_share_lists_of_calls_and_raise_errors(threads, monkeypatch):
    monkeypatch.setattr(parallel, "_threads", threads)
    done = []
    calls = fork.Fork([[lambda i=i: done.append(i)] for i in range(3)])
    for _ in range(20):
        done.clear()
        calls()
        assert sorted(done) == [0, 1, 2]
    assert calls.shared is not None

    def fails():
        raise KeyError("in a thread")

    broken = fork.Fork([[lambda: None], [fails]])
    for _ in range(20):
        with pytest.raises(KeyError, match="in a thread"):
            broken()
    calls()


def test_a_copy_of_a_network_is_plain():
    net = Learner()
    run = captured(net)
    for _ in range(4):
        run()
    copied = copy.deepcopy(net.net)
    assert all(type(p.data) is np.ndarray for p in copied.parameters())
    assert all(type(b) is np.ndarray for b in copied.buffers())


def test_kinds_of_steps_share_their_memory(digits, monkeypatch):
    entry = recipes.find("stylegan2")
    settings = entry.settings().updated({**SMALL["stylegan2"], "penalty_every": 2, "path_every": 2})
    run = Algorithm(entry, settings, digits.padded(settings.pad), seed=0)
    monkeypatch.setattr(place._local, "pool", None)
    sizes = []
    for _ in range(12):
        run.train_step()
        sizes.append(place.pool_of_this_thread().size)
    assert len(run.execution.recorded.steps) == 2
    assert sizes[6] == sizes[11] < 1.2 * max(sizes[:4])
