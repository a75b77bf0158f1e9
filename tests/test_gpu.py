"""The GPU path: it agrees with the CPU, never waits for a result inside a step, and computes the
same when a step is recorded.

These tests run on CuPy with `pytest --backend cupy`, otherwise on the strict stand-in. The stand-in
runs the kernels in C, computes products by address as cuBLAS does, and records and replays steps.
"""

import contextlib
import gc
import sys
import types
import weakref

import numpy as np
import pytest
import strict
from host import host
from numpy.testing import assert_allclose, assert_array_equal
from test_cli import fails
from test_training import resume, start

import tinygan
from demos.bench import report, worker
from demos.bench.__main__ import main as bench
from demos.bench.workloads import WORKLOADS
from tinygan import Parameter, backend, data, grad, kernels, nn, ops, optim, tensor
from tinygan.backend import asarray, from_host, to_numpy
from tinygan.cli import main
from tinygan.kernels import conv
from tinygan.kernels.cuda import cublas
from tinygan.kernels.cuda.linear import _constant_row
from tinygan.kernels.cuda.optim import _chunk_table
from tinygan.optable import ROWS
from tinygan.training import recipes, sampling
from tinygan.training.recordable import kind_of_step
from tinygan.training.statistics import to_floats

pytestmark = pytest.mark.gpu
real_gpu = backend.active() not in (np, strict.module)  # conftest.py has set the backend


@contextlib.contextmanager
def on(device):
    """Compute on the "cpu" or the "gpu": CuPy if the suite runs on it, else the stand-in."""
    before = backend.active()
    backend.activate(np if device == "cpu" else before if real_gpu else strict.module)
    try:
        yield
    finally:
        backend.activate(before)


@pytest.fixture
def gpu():
    with on("gpu"):
        yield


def graph_of(step):
    """Return the CUDA graph of a captured step, or None if it has none."""
    return next((getattr(s, "graph", None) for s in step.steps.steps.values()), None)


@pytest.fixture(scope="module")
def digits():
    full = data.load("digits")
    return data.Dataset("digits", "train", full.images[:400], full.labels[:400], full.class_names)


# ---- agreement with the CPU ----

# For float32 results, relative to the largest one. Sums of n products round differently, by about
# sqrt(n) * 6e-8.
TOLERANCE = 2e-6
# These ops amplify rounding errors: they subtract nearly equal numbers, divide by small ones, or
# take powers.
TOLERANCES = {
    "ConditionalBatchNorm": 2e-5,
    "batch_norm": 2e-5,
    "BatchNorm": 2e-5,
    "instance_norm": 2e-5,
    "normalize": 2e-5,
    "UpBlock": 2e-5,
    "DownBlock": 2e-5,
    "SpectralNorm": 1e-5,
    "minibatch_stddev": 1e-5,
    "MinibatchStddev": 1e-5,
    "pow": 1e-5,
}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_an_op_agrees_with_the_cpu(row):
    arrays = [array.astype(np.float32) for array in row.draw(np.random.default_rng(0))]
    results = {}
    for device in ("cpu", "gpu"):
        with on(device):
            xs = [tensor(array, requires_grad=True, dtype="float32") for array in arrays]
            y = row.function(*xs)
            weights = tensor(np.random.default_rng(1).standard_normal(y.shape), dtype="float32")
            results[device] = [host(result) for result in (y, *grad(y, xs, weights))]
    tolerance = TOLERANCES.get(row.name.split()[0], TOLERANCE)
    names = ["value", *row.arguments]
    for name, gpu, cpu in zip(names, results["gpu"], results["cpu"], strict=True):
        atol = tolerance * max(1e-3, abs(cpu).max(initial=0))
        assert_allclose(gpu, cpu, rtol=0, atol=atol, err_msg=name)


# (batch, height, width, channels, outputs, kernel size, stride, padding, groups)
SHAPES = [
    (2, 7, 8, 4, 6, 3, 1, 1, 1),
    (2, 8, 8, 4, 6, 4, 2, 1, 1),
    (2, 9, 8, 4, 6, 4, 2, 1, 2),
    (2, 5, 5, 1, 3, 5, 1, 2, 1),
    (3, 4, 4, 2, 4, 1, 1, 0, 1),
    (2, 7, 7, 3, 4, 2, 3, 0, 1),
    (2, 4, 6, 3, 2, 1, 2, 0, 1),
    (1, 3, 3, 2, 2, 3, 1, 0, 1),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_convolutions_agree_with_the_cpu(shape):
    n, height, width, channels, outputs, k, stride, padding, groups = shape
    rng, settings = np.random.default_rng(0), ((stride, stride), (padding, padding), groups)
    x, w, bias = (
        rng.standard_normal(s)
        for s in ((n, height, width, channels), (k, k, channels // groups, outputs), outputs)
    )
    results = {}
    for device in ("cpu", "gpu"):
        with on(device):
            y = conv.forward(asarray(x), asarray(w), *settings, asarray(bias))
            g = asarray(np.random.default_rng(1).standard_normal(y.shape))
            dx_bias = asarray(bias[:channels]) if outputs >= channels else None
            dx = conv.input_gradient(g, asarray(w), (height, width), *settings, dx_bias)
            dw = conv.weight_gradient(asarray(x), g, (k, k), *settings)
            results[device] = [to_numpy(a) for a in (y, dx, dw)]
    for gpu, cpu in zip(results["gpu"], results["cpu"]):
        assert_allclose(gpu, cpu, atol=1e-12)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.SGD(p, 0.1),
        lambda p: optim.SGD(p, 0.1, 0.9),
        lambda p: optim.RMSprop(p, 0.1, 0.9),
        lambda p: optim.Adam(p, 0.1, (0.5, 0.9)),
    ],
    ids=["sgd", "momentum", "rmsprop", "adam"],
)
def test_optimisers_agree_with_the_cpu(make):
    """Parameters of all sizes at once: several chunks, empty, and one that once has no gradient."""
    shapes, results = [(3000,), (2, 3), (), (0, 4), (1024,)], {}
    for device in ("cpu", "gpu"):
        with on(device):
            rng = np.random.default_rng(0)
            arrays = [asarray(rng.standard_normal(shape)) for shape in shapes]
            parameters = [Parameter(array, dtype="float64") for array in arrays]
            optimizer = make(parameters)
            for step in range(4):
                gradients = [tensor(rng.standard_normal(shape)) for shape in shapes]
                if step == 1:
                    gradients[1] = None
                optimizer.step(gradients)
            results[device] = [host(p) for p in parameters]
    for gpu, cpu in zip(results["gpu"], results["cpu"]):
        assert_allclose(gpu, cpu, rtol=1e-12)


def test_averages_agree_with_the_cpu():
    results = {}
    for device in ("cpu", "gpu"):
        with on(device):
            net = nn.Linear(40, 50, rng=np.random.default_rng(0))
            ema = tinygan.EMA(net, 0.75)
            for k in range(3):
                net.weight.assign(net.weight.data * (k + 2))
                ema.update(net)
            results[device] = host(ema.module.weight)
    assert_allclose(results["gpu"], results["cpu"], rtol=1e-6)


def layouts():
    """Yield pairs of matrices in all layouts of memory."""
    rng = np.random.default_rng(0)
    a, b, many = (rng.standard_normal(shape) for shape in ((5, 7), (7, 3), (4, 5, 7)))
    yield from (
        (a, b),
        (np.asfortranarray(a), b),
        (a, np.asfortranarray(b)),
        (a[::-1], b[:, ::-1]),
        (a[:, ::2], b[::2]),
        (many, b),
        (many[:, :, ::-1], b),
        (many.transpose(0, 2, 1)[:, :5], many[:, :, :4]),
        (a, many.transpose(0, 2, 1)),
        (many[:, None], many.transpose(0, 2, 1)[None]),
        (many[:1], many.transpose(0, 2, 1)),
        (a[:1], b),
        (a, b[:, :1]),
        (a[:, :1], b[:1]),
        (a[:0], b),
        (a[:, :0], b[:0]),
        (np.broadcast_to(a[:1], (5, 7)), b),
        (a[1:3, 2:6], b[2:6, 1:2]),
        (rng.standard_normal((2, 3, 5, 7)), rng.standard_normal((3, 7, 2))),
    )


@pytest.mark.fast
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("a, b", list(layouts()))
def test_products_by_cublas(a, b, dtype, gpu):
    """In whatever layout the two matrices are."""
    a, b = (array.astype(dtype, order="K") if array.base is None else array for array in (a, b))
    uploaded = [
        backend.xp.broadcast_to(asarray(x[:1]), x.shape)
        if x.strides[0] == 0 and x.ndim == 2
        else asarray(x)
        for x in (a, b)
    ]
    uploaded = [x.astype(dtype) if x.dtype != dtype else x for x in uploaded]
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    product = to_numpy(cublas.matmul(*uploaded))
    assert_allclose(product, np.matmul(a, b), rtol=tolerance, atol=tolerance)


@pytest.mark.fast
def test_products_of_views_on_the_gpu(gpu):
    """cuBLAS reads views of one array by their strides, without a copy."""
    x = asarray(np.random.default_rng(0).standard_normal((6, 8, 4)))
    for a, b in (
        (x[1:, ::2], x[1:].transpose(0, 2, 1)),
        (x[0].T, x[1]),
        (x[:, 0], x[:, 1].T),
        (x.transpose(1, 0, 2), x[0].T),
    ):
        expected = np.matmul(to_numpy(a), to_numpy(b))
        assert_allclose(to_numpy(cublas.matmul(a, b)), expected, rtol=1e-12)
    integers = asarray(np.arange(6).reshape(2, 3)), asarray(np.arange(3)[:, None])
    assert to_numpy(cublas.matmul(*integers)).tolist() == [[5], [14]]  # CuPy's own product
    with pytest.raises(ValueError, match="do not fit"):
        cublas.matmul(x[0], x[1])


def test_a_translation_on_the_gpu_accepts_shifts_from_host_and_device(gpu):
    x, shifts = np.random.default_rng(0).standard_normal((2, 4, 5, 3)), np.array([[1, -2], [-4, 0]])
    expected = np.zeros_like(x)
    expected[0, 1:, :3] = x[0, :3, 2:]
    for where in (shifts, asarray(shifts)):
        assert_array_equal(host(ops.translate(tensor(x), where)), expected)


# ---- recorded steps ----


class Counter(nn.Module):
    """A module whose step adds data from the host to a parameter.

    It has two buffers: `before` receives the old value of `now`.
    """

    buffer_names = ("now", "before")

    def __init__(self):
        self.weight = Parameter(asarray(np.zeros(3, np.float32)))
        self.now, self.before = asarray(np.zeros(3, np.float32)), asarray(np.zeros(3, np.float32))
        self.rng = np.random.default_rng(0)

    def step(self):
        self.before, self.now = self.now, self.now + 1
        noise = backend.normal(self.rng, (3,))
        number, vector = from_host(
            lambda: (np.float32(self.rng.random()), np.arange(3, dtype=np.float32))
        )
        self.weight.assign(self.weight.data + noise * number + vector + self.before)
        return self.weight.data.sum(), (self.now * 2.0).sum()


@pytest.mark.fast
def test_a_recorded_step_computes_the_same(gpu):
    plain, recorded = Counter(), Counter()
    step = tinygan.capture(recorded.step, recorded)
    for i in range(6):
        assert [float(x) for x in plain.step()] == [float(x) for x in step()]
        if i == 3:  # the next step uses a state that is loaded between two replays
            state = {"weight": np.full(3, 2.0), "now": np.full(3, -5.0), "before": np.ones(3)}
            plain.load_state_dict(state), recorded.load_state_dict(state)
        for name in ("weight", "now", "before"):
            assert_array_equal(host(getattr(recorded, name)), host(getattr(plain, name)))
    assert graph_of(step) is not None


def test_results_are_not_overwritten_by_the_next_replay(gpu):
    net = Counter()
    step = tinygan.capture(net.step, net)
    results = [step() for _ in range(5)]
    assert [float(second) for _, second in results] == [6, 12, 18, 24, 30]


def test_autograd_notices_that_a_recorded_step_changed_a_parameter(gpu):
    net = Counter()
    step = tinygan.capture(net.step, net)
    step(), step()
    loss = (net.weight * net.weight).sum()
    step()
    with pytest.raises(RuntimeError, match="changed"):
        grad(loss, net.weight)


@pytest.mark.fast
def test_a_step_that_cannot_be_recorded_is_an_error_and_leaves_nothing_behind(gpu):
    net, more = Counter(), []

    def grows():
        more.append(0)
        return ([from_host(lambda: np.zeros(8, np.float32)) for _ in more][0].sum(),)

    step = tinygan.capture(grows)
    step()
    with pytest.raises(RuntimeError, match="the same operations each time"):
        step()
    assert backend.tape() is None
    if not real_gpu:
        waits = tinygan.capture(lambda: (asarray(np.float32(float(net.weight.data.sum()))),), net)
        waits()
        with pytest.raises(RuntimeError, match="read while the step is recorded"):
            waits()
    assert backend.tape() is None and float(net.step()[1]) == 6


@pytest.mark.fast
def test_a_failed_recording_leaves_buffers_as_they_were(gpu):
    net = Counter()

    def step():
        results = net.step()
        if backend.tape() is not None and hasattr(backend.tape(), "sources"):
            raise KeyError("while it is recorded")
        return results

    run = tinygan.capture(step, net)
    run()
    with pytest.raises(KeyError):
        run()
    assert host(net.now).tolist() == [1, 1, 1] and host(net.before).tolist() == [0, 0, 0]


@pytest.mark.fast
def test_a_graph_keeps_the_arrays_alive_that_it_knows_by_address(gpu):
    """Constants that leave their caches, moments that an optimiser replaces, and its parameters."""
    net = nn.Linear(20, 30, rng=np.random.default_rng(0))
    optimizer = optim.Adam(net.parameters(), 0.001)
    x = tensor(np.random.default_rng(0).standard_normal((40, 20)), dtype="float32")

    def train():
        loss = ops.mean(ops.square(net(x) * 3.25))
        optimizer.step(grad(loss, net.parameters()))
        return (loss.data,)

    step = tinygan.capture(train, net)
    step(), step()
    arrays = optimizer.state[0]["m"], net.weight.data, backend.scalar(3.25, np.float32)
    references = [weakref.ref(array) for array in arrays]
    del arrays
    losses = [float(step()[0]) for _ in range(2)]
    backend._cached_scalar.cache_clear(), _chunk_table.cache_clear(), _constant_row.cache_clear()
    optimizer.reset()
    optimizer.parameters = []
    net.weight = net.bias = None
    gc.collect()
    assert all(ref() is not None for ref in references) and losses[1] < losses[0]


@pytest.mark.fast
def test_a_graph_keeps_the_weights_alive_that_an_average_reads(gpu):
    net = nn.Linear(3, 2, rng=np.random.default_rng(0))
    ema = tinygan.EMA(net, 0.5)

    def average():
        ema.update(net)
        return (ema.module.weight.data.sum(),)

    step = tinygan.capture(average)
    step(), step()
    weight = weakref.ref(net.weight.data)
    net.weight = net.bias = None
    gc.collect()
    step()
    assert weight() is not None


def test_an_optimiser_loads_a_state_between_replays_of_a_recorded_step(gpu):
    results = []
    for recorded in (False, True):
        net = nn.Linear(3, 2, rng=np.random.default_rng(0))
        optimizer, x = optim.Adam(net.parameters(), 0.1), tensor(np.ones((4, 3)), dtype="float32")

        def train():
            loss = ops.mean(ops.square(net(x)))
            optimizer.step(grad(loss, net.parameters()))
            return (loss.data,)

        step = tinygan.capture(train, net) if recorded else train
        step()
        state = optimizer.state_dict()
        losses = [float(step()[0]) for _ in range(3)]
        optimizer.load_state_dict(state)
        results.append(losses + [float(step()[0]) for _ in range(3)])
    assert results[0] == pytest.approx(results[1], rel=1e-6)


@pytest.mark.fast
def test_a_recorded_step_needs_contiguous_parameters(gpu):
    w = Parameter(asarray(np.ones((3, 2), np.float32)))
    object.__setattr__(w, "data", w.data.T)  # an assignment would copy into the old array
    optimizer = optim.SGD([w], 0.1)

    def train():
        optimizer.step([tensor(np.ones((2, 3)), dtype="float32")])
        return (w.data.sum(),)

    step = tinygan.capture(train)
    with pytest.raises(TypeError, match="C-contiguous"):
        step()


RUNS = {
    **{name: (name, {}) for name in recipes.RECIPES},
    # Adam's first steps would turn rounding errors of the relativistic loss into other signs.
    "hour": ("hour", {"equalized": True, "ada_p": 0.2}),
    "sngan": ("sngan", {"d_steps": 2}),
    "wgan": ("wgan", {"d_steps": 2}),
    "wgan-gp": ("wgan-gp", {"d_steps": 2}),
    "progan": ("progan", {"stable_images": 8, "fade_images": 32, "batch_sizes": "4:8,8:8"}),
    "stylegan": ("stylegan", {"stable_images": 8, "fade_images": 32, "batch_sizes": "4:8,8:8"}),
    "stylegan2": ("stylegan2", {"penalty_every": 2, "path_every": 2}),
    "penalties": ("dcgan", {"d_norm": "none", "gp": 1.0, "r2": 1.0, "patches": True}),
    "regularised": ("quick", {"cr": 10.0, "bcr": 10.0, "lecam": 0.3, "lecam_start": 2}),
    "packs": ("dcgan", {"pack": 2, "d_norm": "none", "r1": 1.0, "gp": 1.0}),
    "relativistic": ("quick", {"loss": "relativistic", "equalized": True}),
    "auxiliary": ("dcgan", {"g_class": "cbn", "d_class": "auxiliary"}),
    "unrolled": (
        "gan",
        {"dropout": 0.0, "r1": 0.5, "unroll": 2, "clip_grad_norm": "linear:0.1:0.01:until=5"},
    ),
    "diffaug": ("quick", {"augment": "diffaug"}),
    "ada": ("quick", {"augment": "ada", "ada_p": 0.4, "ada_kimg": 0.5}),
    "ada all": (
        "quick",
        {
            "augment": "ada",
            "ada_p": 0.5,
            "policy": "brightness,imgfilter,noise,cutout,xflip,lumaflip",
        },
    ),
    "schedules": (
        "dcgan",
        {
            "lr": "cosine:2e-3:1e-4:until=5:warmup=2",
            "d_lr": "linear:1e-3:0:until=5",
            "beta1": "linear:0.5:0:until=5",
            "beta2": "cosine:0.9:0.99:until=5",
            "optimizer": "adamw",
            "weight_decay": "linear:0.5:0.1:until=5",
            "r1": "cosine:1:0.1:until=5",
            "r2": "constant:0.5:warmup=4",
            "d_norm": "none",
            "ema_images": "cosine:10:100:until=5",
            "clip_grad_norm": "linear:0.1:1e-3:until=5",
        },
    ),
    "more schedules": (
        "wgan",
        {
            "d_steps": 2,
            "lr": "linear:1e-3:1e-4:until=5",
            "beta2": "linear:0.9:0.99:until=5",
            "weight_decay": "constant:0.1:warmup=3",
            "clip": "linear:0.1:0.01:until=5",
            "gp": "linear:10:1:until=5",
            "penalty_every": 2,
            "drift": "linear:0.1:0:until=5",
            "ortho": "linear:0.1:0:until=5",
            "g_class": "concat",
            "d_class": "auxiliary",
            "class_weight": "linear:2:1:until=5",
            "ema": "linear:0.1:0.9:until=5",
        },
    ),
}
STEPS = 5
UNRECORDED = {
    "micro-batches": ("quick", {"micro_batch": 4}),
    "ada tilted": ("quick", {"augment": "ada", "ada_p": 0.9, "policy": "bgc"}),
}


def trained(out, digits, name, steps, **settings):
    """Train some steps; return the run, the numbers of its steps, and its weights and buffers."""
    recipe, own = {**RUNS, **UNRECORDED}[name]
    run = start(out, digits, recipe, steps=steps, batch_size=8, **own, **settings)
    numbers = [run.algorithm.train_step() for _ in range(steps)]
    state = {
        **run.algorithm.G.state_dict(),
        **{f"D.{key}": value for key, value in run.algorithm.D.state_dict().items()},
        **{f"ema.{key}": value for key, value in run.algorithm.ema.module.state_dict().items()},
    }
    return run, [to_floats(row) for row in numbers], state


@pytest.mark.fast
@pytest.mark.parametrize("name", RUNS)
def test_a_recorded_training_run_is_the_same_run(name, tmp_path, digits, gpu, monkeypatch):
    """Losses, weights, buffers, averages and the state of all random generators are the same."""
    monkeypatch.setattr(tinygan.recorded, "enabled", False)
    plain, expected, weights = trained(tmp_path / "plain", digits, name, STEPS)
    monkeypatch.setattr(tinygan.recorded, "enabled", True)
    recorded, numbers, state = trained(tmp_path / "recorded", digits, name, STEPS)
    recorded_steps = recorded.algorithm.execution.recorded.steps.values()
    assert any(graph.graph is not None for graph in recorded_steps)
    # On a real GPU, sums by atomic operations have no fixed order.
    of_numbers = dict(rtol=1e-4, atol=1e-4) if real_gpu else dict(rtol=1e-6)
    of_weights = of_numbers if real_gpu else dict(rtol=0, atol=0)
    for row, expected_row in zip(numbers, expected, strict=True):
        assert row.keys() == expected_row.keys()
        assert_allclose(list(row.values()), list(expected_row.values()), **of_numbers)
    for key, value in weights.items():
        assert_allclose(state[key], value, **of_weights, err_msg=key)
    assert recorded.algorithm.rng.bit_generator.state == plain.algorithm.rng.bit_generator.state
    assert (recorded.step, recorded.algorithm.images, recorded.algorithm.ema.updates) == (
        plain.step,
        plain.algorithm.images,
        plain.algorithm.ema.updates,
    )
    assert [s.get("step") for s in recorded.algorithm.d_optimizer.state] == [
        s.get("step") for s in plain.algorithm.d_optimizer.state
    ]


@pytest.mark.fast
@pytest.mark.parametrize("name", UNRECORDED)
def test_a_step_whose_operations_vary_is_not_recorded(name, tmp_path, digits, gpu):
    run, _, _ = trained(tmp_path / "a", digits, name, 3)
    assert not run.algorithm.execution.recorded.steps


@pytest.mark.skipif(real_gpu, reason="only the stand-in counts")
@pytest.mark.parametrize("name", RUNS)
def test_no_step_waits_for_a_result(name, tmp_path, digits, gpu, monkeypatch):
    """Results are read only when they are logged, and a recorded step uploads once.

    ADA's controller waits at every fourth step, so a target of 0 switches it off here.
    """
    recipe, own = RUNS[name]
    if own.get("augment", recipes.find(recipe).settings().augment) == "ada":
        own = {**own, "ada_target": 0.0}
    for enabled in (False, True):
        monkeypatch.setattr(tinygan.recorded, "enabled", enabled)
        run = start(tmp_path / str(enabled), digits, recipe, steps=20, batch_size=8, **own)
        keys = []
        for _ in range(5):
            if run.algorithm.growth:
                run.algorithm.grow()  # as the step does first
            keys.append(kind_of_step(run.algorithm))
            strict.counts.clear()
            run.algorithm.train_step()
            assert not strict.counts["waits"]
        # If the fifth step is of a new kind, as for growing networks, it is not yet recorded.
        assert name != "dcgan" or keys.count(keys[-1]) > 2
        if enabled and kernels.records_steps() and keys.count(keys[-1]) > 2:
            assert strict.counts["uploads"] == 1 and strict.counts["launches"] == 2


def test_the_controller_waits_once_in_four_steps(tmp_path, digits, gpu):
    _, numbers, _ = trained(tmp_path / "a", digits, "ada", 8)
    p = [row["p"] for row in numbers]
    assert p[:4] == [0.4] * 4 and p[4] == p[7] != 0.4


# ---- runs on the CPU and on the GPU ----


@pytest.mark.parametrize("name", [*RUNS, *UNRECORDED])
def test_losses_of_the_first_steps_agree_with_the_cpu(name, tmp_path, digits):
    """Latents, batches and augmentations are the same. Rounding errors grow with each step."""
    with on("cpu"):
        _, expected, _ = trained(tmp_path / "cpu", digits, name, 4)
    with on("gpu"):
        _, numbers, _ = trained(tmp_path / "gpu", digits, name, 4)
    for step, (row, expected_row) in enumerate(zip(numbers, expected, strict=True)):
        assert row.keys() == expected_row.keys()
        for key, value in expected_row.items():
            if key != "r_t":  # a mean of signs: rounding decides the signs of logits near 0
                close = pytest.approx(value, rel=1e-4 * 10**step, abs=5e-5 * 10**step)
                assert row[key] == close, (step, key)


@pytest.mark.parametrize("first, second", [("cpu", "gpu"), ("gpu", "cpu")])
@pytest.mark.parametrize("recipe", ["cgan", "stylegan2", "progan"])
def test_checkpoints_are_portable(recipe, first, second, tmp_path, digits):
    """A run trained on one device can generate images, and train further, on the other."""
    settings = {"steps": 3, "batch_size": 8, "checkpoint_every": 3}
    with on(first):
        run = start(tmp_path / "run", digits, recipe, **settings)
        run.run(progress=False)
        z = np.random.default_rng(0).standard_normal((4, run.algorithm.G.latent), dtype=np.float32)
        labels = np.arange(4) if run.algorithm.objectives.uses_classes else None
        expected = sampling.generate(run.averaged_G(), tensor(z), labels)
        weights = run.algorithm.D.state_dict()
    with on(second):
        G, _, _ = sampling.load_generator(tmp_path / "run")
        images = sampling.generate(G, tensor(z), labels).astype(int)
        assert abs(images - expected).max() <= 1  # of 255
        further = resume(tmp_path / "run", digits, steps=6)
        for key, value in further.algorithm.D.state_dict().items():
            assert_array_equal(value, weights[key])
        further.run(progress=False)
        assert further.step == 6
    with on(first):  # and back again
        assert resume(tmp_path / "run", digits, steps=9).step == 6


# ---- the command line ----


@pytest.fixture
def cupy(monkeypatch):
    """A stand-in for the package cupy. A test sets the attributes that it needs."""
    package = types.SimpleNamespace(
        __version__="14.0.0",
        cuda=types.SimpleNamespace(runtime=types.SimpleNamespace(getDeviceCount=lambda: 1)),
    )
    monkeypatch.setitem(sys.modules, "cupy", package)
    return package


@pytest.mark.parametrize(
    "command", [["train"], ["sample", "runs/x", "-n", "1", "-o", "x.png"], ["eval", "runs/x"], []]
)
def test_the_error_without_cupy_is_one_line(command, capsys, monkeypatch):
    before = backend.active()
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert "pip install 'tinygan[cuda12]' or 'tinygan[cuda13]'" in fails(
        capsys, *command, "--device", "gpu", main=main if command else bench
    )
    assert backend.active() is before


def test_the_error_without_a_gpu_is_one_line(cupy, capsys):
    before = backend.active()

    def no_device():
        raise RuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected\nand more")

    cupy.cuda.runtime.getDeviceCount = no_device
    message = fails(capsys, "train", "--device", "gpu").rstrip()
    assert "no usable GPU" in message and message.endswith(
        "the error was: cudaErrorNoDevice: no CUDA-capable device is detected"
    )
    cupy.cuda.runtime.getDeviceCount = lambda: 0
    assert "no usable GPU" in fails(capsys, "train", "--device", "gpu")
    cupy.__version__ = "12.3.0"
    assert "CuPy 13 or newer, not 12.3.0" in fails(capsys, "train", "--device", "gpu")
    assert backend.active() is before


def test_device_gpu_computes_with_cupy(cupy):
    backend.use_device("gpu")
    assert backend.active() is cupy and backend.device() == "gpu"
    tinygan.use("numpy")
    assert backend.device() == "cpu"


def test_a_run_from_the_command_line(tmp_path, monkeypatch, capsys):
    gpu_module = backend.active() if real_gpu else strict.module
    use_device = lambda device: backend.activate(np if device == "cpu" else gpu_module)
    monkeypatch.setattr(backend, "use_device", use_device)
    out = str(tmp_path / "run")
    train = f"train cgan --data digits --steps 12 --device gpu --out {out}".split()
    settings = "--set eval_every=6 eval_images=100 batch_size=16".split()
    assert main([*train, *settings]) == 0
    assert main(["sample", out, "-n", "4", "--device", "gpu", "-o", str(tmp_path / "x.png")]) == 0
    assert main(["eval", out, "--device", "gpu", "-n", "100"]) == 0
    assert main(["train", "--resume", out, "--steps", "14", "--device", "cpu"]) == 0
    assert (tmp_path / "x.png").exists()


# ---- the bench ----


# The most kernels and copies in each part of a step, on the stand-in, where each call of the array
# module counts as one.
LAUNCHES = {
    "dcgan": [228],
    "dcgan-r1": [225],
    "wgan-gp": [183],
    "stylegan2": [1037, 350, 1087],
    "lenet": [125],  # of which 37 keep the small values of softmax
    "mlp": [97],
}


@pytest.mark.fast
@pytest.mark.parametrize("name", WORKLOADS)
def test_the_workloads_of_the_bench(name):
    """When recorded, their losses agree with the CPU's, and each graph consists of few kernels."""
    losses = {}
    for device in ("cpu", "gpu"):
        with on(device):
            job = WORKLOADS[name].make(4, 16 if name == "stylegan2" else WORKLOADS[name].image_size)
            losses[device] = [
                [float(loss) for loss in step()] for step in job.parts.values() for _ in range(3)
            ]
            recorded = [graph_of(step) for step in job.parts.values()]
        assert all((graph is None) == (device == "cpu") for graph in recorded)
    if not real_gpu:
        for graph, n in zip(recorded, LAUNCHES[name], strict=True):
            assert len(graph.steps) <= n
    assert_allclose(sum(losses["gpu"], []), sum(losses["cpu"], []), rtol=2e-2)
    assert_allclose(losses["gpu"][0], losses["cpu"][0], rtol=1e-5)


@pytest.mark.parametrize("ours, code, word", [(0.9, 0, ""), (1.1, 1, "missed")])
def test_the_table_of_the_bench(ours, code, word, monkeypatch, capsys):
    """With a stand-in for the processes: PyTorch takes 1.2 and 1 s eagerly, 0.5 s as a graph."""

    class Stub:
        def __init__(self, side, workload, variant=None, device="cpu"):
            assert device == "gpu"
            self.side, self.variant, self.version = side, variant, side
            self.time = {None: ours, "contiguous": 1.2, "channels-last": 1.0, "graph": 0.5}[variant]

        def __enter__(self):
            return self

        def __exit__(self, *exception):
            pass

        def seconds(self, duration):
            return self.time

        def launches(self):
            counts = {"tinygan": 150, "torch": 210.5}
            return counts[self.side] if self.variant != "contiguous" else None

    monkeypatch.setattr(report, "Worker", Stub)
    monkeypatch.setattr(report.importlib.util, "find_spec", lambda name: True)
    monkeypatch.setattr(backend, "use_device", lambda device: backend.activate(strict.module))
    monkeypatch.setattr(backend, "gpu_and_software", lambda: "A GPU, CUDA 12.9, CuPy 14")
    assert bench(["mlp", "--device", "gpu", "--against", "torch", "--rounds", "2"]) == code
    out = capsys.readouterr().out
    assert out.startswith("A GPU, CUDA 12.9") and "launches: kernels and copies in a step" in out
    row = next(line for line in out.splitlines() if line.startswith("mlp"))
    assert row.split() == [
        "mlp",
        "64",
        f"{1e3 * ours:.2f}",
        "150",
        "1000.00",
        "channels-last",
        "210",
        f"{ours:.2f}",
        "1.0",
        *([word] if word else []),
        "500.00",
        f"{2 * ours:.2f}",
    ]
    assert "measures the CPU: leave out --device gpu" in fails(
        capsys, "--memory", "--device", "gpu", main=bench
    )
    assert "compared with torch only" in fails(
        capsys, "--against", "jax", "--device", "gpu", main=bench
    )


@pytest.mark.fast
def test_a_worker_of_the_bench(monkeypatch):
    """In this process: it times recorded steps, and several steps pass between two waits."""
    gpu_module = backend.active() if real_gpu else strict.module
    monkeypatch.setattr(worker.backend, "use_device", lambda device: backend.activate(gpu_module))
    job = worker._Job("tinygan", "mlp", 8, 28, None, "gpu")
    strict.counts.clear()
    assert job.seconds(0.01)["step"] > 0
    if not real_gpu:
        most = worker.STEPS_PER_WAIT + strict.counts["launches"] / worker.STEPS_PER_WAIT
        assert 0 < strict.counts["waits"] <= most
    counts = job.launches()
    assert counts["step"] is None or counts["step"] > 30
