"""check_training_step: right steps pass, every planted mistake is caught and named, and nothing
that is checked changes."""

import copy
import re

import numpy as np
import pytest

import tinygan
from tinygan import GradientError, InputError, check_training_step, grad, nn, ops, optim, tensor
from tinygan.backend import asarray, xp
from tinygan.gan import losses, penalties
from tinygan.training import execution, recipes
from tinygan.training.objectives import Objectives

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), dtype=np.uint8)
DATA = IMAGES, np.arange(40) % 4
SMALL = {
    **{"g_channels": 4, "d_channels": 4, "channels": 2, "max_channels": 4},
    **{"hidden": 8, "style": 8, "latent": 12, "attention": 0, "pad": 0, "mapping_layers": 2},
}


def check(recipe, **settings):
    """Check a small network of a recipe on small images."""
    has = recipes.find(recipe).settings()
    small = {name: value for name, value in SMALL.items() if hasattr(has, name)}
    return check_training_step(recipe, DATA, **(small | settings))


def fails(match, *args, **settings):
    """Check that a check raises GradientError, with one line that matches; return the error."""
    with pytest.raises(GradientError) as failure:
        (check if isinstance(args[0], str) else check_training_step)(*args, **settings)
    text = str(failure.value)
    assert re.search(match, text) and "\n" not in text, text
    return failure.value


# Recipes


def test_a_recipe_passes():
    report = check("gan")
    assert len(report) == 2 and max(report) < 1e-6
    titles = [order.title for order in report.orders]
    assert titles == ["gan: D's loss, order 1", "gan: G's loss, order 1"]
    assert str(report).startswith("gan: D's loss: ") and "gan: G's loss: " in str(report)
    for order in report.orders:
        assert order.method == "rate" or order.line.samples
        assert order.noise < 1e-6 and order.eps <= 1e-2 and order.miss <= 1e-4
    assert "main.1.weight" in report.orders[0].errors
    assert "off by" in report.describe()


def test_a_lazy_penalty_is_checked_at_a_step_where_it_acts():
    report = check("gan", r1=1.0, penalty_every=4, hidden=4)
    assert report.orders[0].title == "gan: D's loss and D's penalty, order 1"


@pytest.mark.slow
def test_lazy_penalties_of_both_networks_are_checked_at_a_step_where_they_act():
    report = check("stylegan2", r1=1.0, path_length=2.0, penalty_every=4, path_every=2)
    assert [order.title for order in report.orders] == [
        "stylegan2: D's loss and D's penalty, order 1",
        "stylegan2: G's loss and G's penalty, order 1",
    ]


SETTINGS = [
    {"r1": 1.0},
    {"r1": 1.0, "penalty_every": 2},
    {"r2": 1.0},
    {"r1": 1.0, "r2": 0.5, "gp": 2.0, "drift": 0.1},
    {"gp": 10.0, "penalty_every": 3},
    {"drift": 0.5, "micro_batch": 4},
    {"ortho": 0.1},
    {"cr": 10.0, "bcr": 10.0, "augment": "diffaug"},
    {"lecam": 0.3, "drift": 0.1, "micro_batch": 4},
    {"pack": 3, "r1": 1.0, "gp": 2.0, "cr": 1.0},
    {"clip": 0.01, "loss": "wasserstein"},
    {"clip_grad_norm": 1e-3, "sanitize": True},
    {"augment": "diffaug"},
    {"augment": "ada"},
    {"augment": "ada", "policy": "bgcfnc", "micro_batch": 4},
    {"augment": "diffaug", "augment_where": "d_step"},
    {"micro_batch": 4, "r1": 1.0, "penalty_every": 2},
    {"optimizer": "adamw", "weight_decay": 0.1, "ema_images": 100},
    {"r1": "linear:1:2", "drift": "linear:0.1:0.3"},
    {"freeze": "D.main.0"},
    *({"loss": name} for name in losses.LOSSES),
]


@pytest.mark.slow
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_every_setting_passes(settings):
    check("dcgan" if "freeze" in settings else "lsgan", **settings)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", recipes.RECIPES)
def test_every_recipe_passes(recipe):
    assert len(check(recipe)) == 2
    check(recipe, micro_batch=4, augment="diffaug", batch_size=12)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["progan", "stylegan"])
def test_a_network_of_full_size_passes(recipe):
    check(recipe, grow=False)


# Planted mistakes in the steps of a recipe


def plant(monkeypatch, owner, name, change):
    """Let a method return change(its result)."""
    method = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *args, **kw: change(*method(*args, **kw)))


MISTAKES = {
    "the gradient of D's penalty is missing": (
        Objectives,
        "d_penalty",
        lambda loss, numbers: (loss.detach(), numbers),
        "gan: D's loss, order 1: the gradient of main",
    ),
    "G's loss is scaled after it was logged": (
        Objectives,
        "g_loss",
        lambda loss, numbers: (loss * 1.001, numbers),
        "gan: G's loss, order 1: the gradient of main",
    ),
    "D's loss is logged per sample, as a sum": (
        Objectives,
        "d_loss",
        lambda loss, numbers: (loss, numbers | {"d_loss": 8 * numbers["d_loss"]}),
        "gan: D's loss",
    ),
    "a gradient is clipped": (
        execution.Execution,
        "gradients",
        lambda gs, numbers: ([g if g is None else g * 0.5 for g in gs], numbers),
        "gan: D's loss",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_recipe_is_caught(mistake, monkeypatch):
    owner, name, change, match = MISTAKES[mistake]
    plant(monkeypatch, owner, name, change)
    fails(match, "gan", r1=1.0)


@pytest.mark.slow
def test_the_update_that_is_wrong_is_named(monkeypatch):
    """A lazy penalty without its factor k."""
    monkeypatch.setattr(Objectives, "lazy_d_penalty", Objectives.d_penalty)
    error = fails("gan: D's penalty, order 1", "gan", r1=1.0, penalty_every=4)
    assert error.report.failure.derivative == pytest.approx(error.report.failure.difference / 4)


@pytest.mark.slow
def test_a_failure_of_G_comes_with_the_report_of_D(monkeypatch):
    plant(monkeypatch, Objectives, "g_loss", lambda loss, numbers: (-loss, numbers))
    error = fails("gan: G's loss", "gan")
    assert len(error.report) == 1 and error.report.failure.argument.startswith("main.")


# A run, and what stays as it is


def state_of(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_is_checked_as_it_is_and_does_not_change(tmp_path, monkeypatch):
    given = {"hidden": 8, "latent": 8, "pad": 0, "r1": 1.0, "penalty_every": 2}
    kept = {"progress": False, "batch_size": 4, "out": tmp_path / "a"}
    run = tinygan.train("gan", DATA, 3, **kept, **given)
    before = state_of(run.folder)
    assert len(check_training_step(run)) == 2
    # DATA must be given again to a path, since it is known to the Run alone
    assert len(check_training_step(run.folder / "checkpoint-00000003.npz", DATA)) == 2
    assert state_of(run.folder) == before
    with pytest.raises(InputError, match="leave out r1: a run has its own settings"):
        check_training_step(run, r1=3.0)

    # while it trains: the same training
    reports = []
    kept["out"] = tmp_path / "b"
    on_step = lambda run, numbers: run.step == 2 and reports.append(check_training_step(run))
    other = tinygan.train("gan", DATA, 3, **kept, **given, on_step=on_step)
    assert len(reports) == 1 and len(reports[0]) == 2
    for role in "GD":
        a, b = (getattr(r, role).state_dict() for r in (run, other))
        assert all(np.array_equal(a[name], b[name]) for name in a)
    assert np.array_equal(run.log["d_loss"], other.log["d_loss"])


def test_a_file_of_ones_own(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from tinygan.models import gan\n"
        "RECIPE = gan.RECIPE.variant('mine', 'a summary', hidden=8)\n"
    )
    assert "D's loss" in str(check_training_step(file, DATA, pad=0, latent=4))


# Loops


def loop(rng=None, **changes):
    """The parts of a loop: a network with batch-norm and spectral norm, its optimiser, data."""
    rng = np.random.default_rng(0)
    net = nn.Sequential(
        nn.Linear(5, 3, rng=rng),
        nn.BatchNorm(3),
        nn.Tanh(),
        nn.SpectralNorm(nn.Linear(3, 1, rng=rng), rng=rng),
    )
    return net, optim.Adam(net.parameters(), lr=0.1), rng


def batches(rng):
    return tensor(rng.standard_normal((7, 5)), dtype="float32")


def loss_of(net, x):
    return ops.mean(ops.square(net(x) - 1.0)) + 0.1 * ops.mean(ops.square(net(x * 2.0)))


def contents(*objects):
    """Everything that a loop holds, as bytes."""
    found = []
    for x in objects:
        if isinstance(x, nn.Module):
            found += [(n, a.dtype, a.tobytes()) for n, a in x.state_dict().items()]
            found += [sorted(vars(m)) for _, m in x.modules()]
        elif isinstance(x, optim.Optimizer):
            found += [(n, a.tobytes()) for n, a in x.state_dict().items()], sorted(vars(x))
        else:
            found.append(repr(x.bit_generator.state))
    return found


def test_a_right_loop_passes_and_nothing_changes():
    net, optimizer, rng = loop()
    count = 0

    def step():
        nonlocal count
        count += 1
        loss = loss_of(net, batches(rng))
        optimizer.step(grad(loss, net.parameters()))
        return loss

    step()
    before, parameters = contents(net, optimizer, rng), net.parameters()
    report = check_training_step(step, optimizer=optimizer, network=net)
    assert max(report) < 1e-8 and report.orders[0].rate == pytest.approx(2, abs=0.1)
    assert report.orders[0].title == "step: the loss, order 1"
    assert "0.weight" in report.orders[0].errors and "3.layer.weight" in report.orders[0].errors
    assert contents(net, optimizer, rng) == before and count == 1
    assert all(map(lambda p, q: p is q and p.requires_grad, parameters, net.parameters()))
    step()  # it goes on as usual
    assert count == 2 and net.parameters()[0].dtype == np.float32
    assert contents(net)[0] != before[0]


def test_the_names_of_parameters_are_found_without_the_network():
    net, optimizer, rng = loop()

    def step():
        loss = loss_of(net, batches(rng))
        optimizer.step(grad(loss, net.parameters()))
        return loss.item()

    report = check_training_step(step, optimizer=optimizer)
    assert "net.0.weight" in report.orders[0].errors


def test_two_optimisers_have_a_loss_each():
    G, g_optimizer, rng = loop()
    D = nn.Sequential(nn.Linear(1, 4, rng=rng), nn.LeakyReLU(0.2), nn.Linear(4, 1, rng=rng))
    d_optimizer = optim.SGD(D, 0.1)
    bce, points = losses.find("bce"), rng.standard_normal((50, 1)).astype("float32")

    def step(scale=1.0):
        reals = asarray(points[rng.integers(50, size=7)])
        fakes = G(batches(rng))
        d_loss = bce.discriminator(D(reals), D(fakes.detach()))
        d_loss = d_loss + penalties.r1(D, reals)
        d_optimizer.step(grad(d_loss, D.parameters()))
        g_loss = bce.generator(None, D(fakes))
        g_optimizer.step(grad(g_loss * scale, G.parameters()))
        return {"D": d_loss, "G": g_loss}

    optimizers, networks = {"G": g_optimizer, "D": d_optimizer}, {"G": G, "D": D}
    report = check_training_step(step, optimizer=optimizers, network=networks)
    titles = [order.title for order in report.orders]
    assert titles == ["step: the loss of G, order 1", "step: the loss of D, order 1"]
    assert "G.0.weight" in report.orders[0].errors
    as_list = lambda: [*step().values()]
    check_training_step(as_list, optimizer=[d_optimizer, g_optimizer], network=[D, G])


@pytest.mark.slow
def test_the_loss_of_the_wrong_optimiser_is_named():
    step, first, _ = right_step()
    other, second, _ = right_step()

    def both():
        return step(), 0.5 * other()

    fails("the loss of optimizer 1, order 1", both, optimizer=[first, second])


def test_backward_and_a_step_of_ones_own():
    net, _, rng = loop()

    class Descent:
        def __init__(self, parameters):
            self.parameters = parameters

        def step(self):
            for p in self.parameters:
                p.assign(p.data - 0.1 * p.grad.data)

    descent = Descent(net.parameters())

    def step(zero=True):
        for p in net.parameters():
            p.grad = None if zero else p.grad
        loss = loss_of(net, batches(rng))
        loss.backward()
        descent.step()
        return loss

    check_training_step(step, optimizer=descent, network=net)
    check_training_step(step, network=net)
    forgets = lambda: step(zero=False)
    why = r"\.grad still had the gradients of the step before: set it to None"
    failure = fails(why, forgets, network=net).report.failure
    assert failure.derivative == pytest.approx(2 * failure.difference)
    assert net.parameters()[0].grad is None


def wrong_loops():
    """{mistake: (a function (net, optimizer, rng) -> step, what the message says)}"""

    def update(net, optimizer, loss, gradients=None):
        optimizer.step(grad(loss, net.parameters()) if gradients is None else gradients)

    def penalty_missing(net, optimizer, rng):
        loss = loss_of(net, batches(rng))
        update(net, optimizer, loss)
        return loss + 0.5 * ops.sum(ops.square(net[0].weight))

    def scaled(net, optimizer, rng):
        loss = loss_of(net, batches(rng))
        update(net, optimizer, loss * 7.0)
        return loss

    def slightly_scaled(net, optimizer, rng):
        loss = loss_of(net, batches(rng))
        update(net, optimizer, loss * 1.0001)
        return loss

    def detached(net, optimizer, rng):
        x = batches(rng)
        loss = ops.mean(ops.square(net(x) - 1.0)) + ops.mean(net(x).detach())
        update(net, optimizer, loss)
        return loss

    def clipped(net, optimizer, rng):
        loss = loss_of(net, batches(rng))
        update(net, optimizer, loss, optim.clip_grad_norm(grad(loss, net.parameters()), 1e-3))
        return loss

    def clipped_by_value(net, optimizer, rng):
        loss = loss_of(net, batches(rng))
        gs = grad(loss, net.parameters())
        limit = 0.5 * max(float(xp.abs(g.data).max()) for g in gs)
        clip = lambda g: tensor(xp.clip(g.data, -limit, limit))
        update(net, optimizer, loss, [clip(g) for g in gs])
        return loss

    def of_another_network(net, optimizer, rng):
        other = copy.deepcopy(net)
        for p in other.parameters():
            p.assign(p.data + 0.3)
        x = batches(rng)
        update(net, optimizer, None, grad(loss_of(other, x), other.parameters()))
        return loss_of(net, x)

    def in_another_order(net, optimizer, rng):
        loss = loss_of(net, batches(rng))
        gs = grad(loss, net.parameters())
        gs[1], gs[3] = gs[3], gs[1]  # the biases of Linear and of batch-norm
        update(net, optimizer, loss, gs)
        return loss

    def one_missing(net, optimizer, rng):
        loss = loss_of(net, batches(rng))
        gs = grad(loss, net.parameters())
        update(net, optimizer, loss, [None, *gs[1:]])
        return loss

    def of_another_batch(net, optimizer, rng):
        update(net, optimizer, loss_of(net, batches(rng)))
        return loss_of(net, batches(rng))

    def sum_not_mean(net, optimizer, rng):
        loss = ops.sum(ops.square(net(batches(rng)) - 1.0))
        update(net, optimizer, loss)
        return loss.item() / 7

    def smoothed(net, optimizer, rng):
        loss = loss_of(net, batches(rng))
        update(net, optimizer, loss)
        return 0.9 * 2.0 + 0.1 * loss.item()

    found = locals()
    del found["update"]
    return found


QUICK = ("penalty_missing",)


@pytest.mark.parametrize(
    "mistake", [m if m in QUICK else pytest.param(m, marks=pytest.mark.slow) for m in wrong_loops()]
)
def test_a_mistake_in_a_loop_is_caught(mistake):
    net, optimizer, rng = loop()
    wrong = wrong_loops()[mistake]
    error = fails(
        "<lambda>: the loss, order 1: the gradient of .* is wrong at index",
        lambda: wrong(net, optimizer, rng),
        optimizer=optimizer,
        network=net,
    )
    if mistake == "scaled":
        assert error.report.failure.derivative == pytest.approx(7 * error.report.failure.difference)
    if mistake in ("one_missing", "penalty_missing"):
        assert "the gradient of 0.weight is wrong" in str(error)


def test_a_parameter_in_no_optimiser_is_named():
    net, _, rng = loop()
    optimizer = optim.Adam([net[0].weight, net[3].layer.weight], 0.1)

    def step():
        loss = loss_of(net, batches(rng))
        optimizer.step(grad(loss, optimizer.parameters))
        return loss

    fails("step: the parameter 0.bias is in no optimiser", step, optimizer=optimizer, network=net)
    check_training_step(step, optimizer=optimizer)  # it may be meant: nothing says which network
    for p in net.parameters():
        p.requires_grad = any(p is q for q in optimizer.parameters)
    check_training_step(step, optimizer=optimizer, network=net)


def test_a_step_that_cannot_compute_in_float64_is_checked_in_float32():
    net, optimizer, rng = loop()
    single = lambda x: tinygan.autograd.wrap(x.data.astype("float32"))

    def step(factor=1.0):
        x = batches(rng)
        loss = loss_of(net, single(x))
        gradients = grad(loss, net.parameters())
        optimizer.step([g * factor for g in gradients])
        return loss

    report = check_training_step(step, optimizer=optimizer)
    assert "in float32" in report.orders[0].title
    assert report.orders[0].errors["net.0.weight"] < 1e-2
    with pytest.raises(GradientError, match="in float32"):
        check_training_step(lambda: step(1.05), optimizer=optimizer)


class Counter:
    """State in an object: a position, and a list that grows."""

    def __init__(self, net, optimizer, x):
        self.net, self.optimizer, self.x, self.i, self.losses = net, optimizer, x, 0, []

    def step(self):
        self.i += 1
        loss = loss_of(self.net, tensor(self.x[self.i])) / float(1 + len(self.losses))
        self.optimizer.step(grad(loss, self.net.parameters()))
        self.losses.append(loss.item())
        return loss


def test_the_state_of_objects_lists_and_iterators_is_brought_back():
    net, optimizer, rng = loop()
    counter = Counter(net, optimizer, rng.standard_normal((9, 7, 5)).astype("float32"))
    counter.step()
    check_training_step(counter.step, optimizer=optimizer)
    assert counter.i == 1 and len(counter.losses) == 1

    rest = iter([batches(rng) for _ in range(5)])

    def step():
        loss = loss_of(net, next(rest))
        optimizer.step(grad(loss, net.parameters()))
        return loss

    check_training_step(step, optimizer=optimizer)
    assert len([*rest]) == 5


def test_arrays_of_numpy_are_brought_back_on_every_backend():
    net, optimizer, rng = loop()
    x, count = batches(rng), np.zeros(1)

    def step():
        count[0] += 1.0
        loss = loss_of(net, x) * float(count[0])
        optimizer.step(grad(loss, net.parameters()))
        return loss

    check_training_step(step, optimizer=optimizer)
    assert count[0] == 0.0


def test_nothing_has_changed_after_a_step_that_cannot_be_checked():
    class Slots:
        __slots__ = ("parameters",)

        def step(self, gradients):
            pass

    step, optimizer, net = right_step()
    slots = Slots()
    slots.parameters = net.parameters()
    with pytest.raises(InputError, match="leave __slots__ out"):
        check_training_step(step, optimizer=slots)

    class Listless(Slots):
        parameters = None

    with pytest.raises(TypeError):
        check_training_step(step, optimizer=Listless(), network=net)
    assert all(p.dtype == np.float32 for p in net.parameters())


def test_a_step_that_differs_from_run_to_run_is_refused():
    net, optimizer, rng = loop()
    endless = (batches(rng) for _ in range(10**6))

    def step():
        loss = loss_of(net, next(endless))
        optimizer.step(grad(loss, net.parameters()))
        return loss

    fails(
        "two runs of the step from the same state gave different losses", step, optimizer=optimizer
    )


def test_a_recorded_step_is_checked():
    net, optimizer, rng = loop()

    def step():
        loss = loss_of(net, tensor(tinygan.from_host(lambda: np.ones((7, 5), "float32"))))
        optimizer.step(grad(loss, net.parameters()))
        return (loss.data,)

    captured = tinygan.capture(step, net)
    check_training_step(captured, optimizer=optimizer)


def right_step():
    net, optimizer, rng = loop()

    def step():
        loss = loss_of(net, batches(rng))
        optimizer.step(grad(loss, net.parameters()))
        return loss

    return step, optimizer, net


@pytest.mark.parametrize(
    "what, settings, message",
    [
        (None, {}, "needs the optimiser that it uses"),
        (None, {"optimizer": 3}, "optimizer must be an optimiser.* not of type int"),
        (None, {"optimizer": "own", "network": 3}, "network must be a Module, not of type int"),
        (None, {"optimizer": "own", "r1": 1.0}, "leave out r1: a function makes its own batches"),
        (None, {"optimizer": "own", "data": "mnist"}, "leave out data"),
        (None, {"optimizer": ["own", "other"]}, "did not call the step of optimizer 1"),
        (lambda: None, {"optimizer": "own"}, "did not call the step|must return the loss"),
        ("gan", {"optimizer": "own"}, "leave out optimizer: a recipe and a run have their own"),
        ("gun", {}, "unknown recipe 'gun'"),
        ("gan", {"seed": -1}, "seed=-1: must be a whole number"),
        ("gan", {"miss": 0.0}, "miss must be between 0 and 1, not 0.0"),
        ("gan", {"batch_size": 1}, "batch_size=1: must be a whole number, at least 2"),
        ("gan", {"hiden": 8}, "hiden"),
        ("gan", {"trust": True}, "leave out trust"),
        ("runs/none", {}, "runs/none does not exist"),
        (7, {}, "takes the name of a recipe, FILE.py, a run or a function, not int"),
    ],
)
def test_bad_calls_are_refused_in_one_line(what, settings, message):
    step, optimizer, _ = right_step()
    other = optim.SGD(nn.Linear(1, 1, rng=0), 0.1)
    known = {"own": optimizer, "other": other}
    if "optimizer" in settings:
        given = settings["optimizer"]
        given = [known[x] for x in given] if isinstance(given, list) else known.get(given, given)
        settings = settings | {"optimizer": given}
    with pytest.raises(InputError) as failure:
        check_training_step(step if what is None else what, **settings)
    assert re.search(message, str(failure.value)) and "\n" not in str(failure.value)


@pytest.mark.parametrize(
    "result, message",
    [
        (lambda loss: None, "returns NoneType for a loss"),
        (lambda loss: [loss, loss], "returns 2 losses for 1 optimisers"),
        (lambda loss: {"d_loss": loss}, "under the names 'optimizer'"),
        (lambda loss: np.ones(3), "returns float64"),
        (lambda loss: "3", "for a loss"),
    ],
)
def test_a_step_must_return_its_loss(result, message):
    step, optimizer, _ = right_step()
    with pytest.raises(InputError, match=message):
        check_training_step(lambda: result(step()), optimizer=optimizer)
