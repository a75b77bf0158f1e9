"""Optimisers and EMA, against PyTorch's numbers and closed forms."""

import numpy as np
import pytest
from host import host
from reference import Golden

import tinygan
from tinygan import Parameter, grad, nn, schedules, tensor
from tinygan.backend import asarray
from tinygan.kernels import optim as optim_kernels
from tinygan.kernels.cpu.optim import BLOCK
from tinygan.optim import SGD, Adam, AdamW, RMSprop, clip_grad_norm, grad_norm

pytestmark = pytest.mark.usefixtures("kernel_set")
GOLDEN = Golden("optimizers")


def lazy(interval):
    """Return a function that makes StyleGAN2's Adam for a network with a penalty at every
    `interval`-th update."""
    c = interval / (interval + 1)
    return lambda p: Adam(p, lr=0.0025 * c, betas=(0, 0.99**c), eps=1e-8)


PAPERS = {
    "dcgan": lambda p: Adam(p, lr=2e-4, betas=(0.5, 0.999)),
    "wgangp": lambda p: Adam(p, lr=1e-4, betas=(0, 0.9)),
    "sg2_G_lazy": lazy(4),
    "sg2_D_lazy": lazy(16),
    "biggan": lambda p: Adam(p, lr=1e-4, betas=(0, 0.999), eps=1e-6),
    "rmsprop": lambda p: RMSprop(p, lr=5e-5),
    "sgd_decay": lambda p: SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
    "rmsprop_decay": lambda p: RMSprop(p, lr=1e-2, weight_decay=0.1),
    "adam_decay": lambda p: Adam(p, lr=1e-2, betas=(0.5, 0.99), weight_decay=0.1),
    "adamw": lambda p: AdamW(p, lr=1e-2, betas=(0.5, 0.99), weight_decay=0.2),
    "adamw_default": lambda p: AdamW(p),
}


def test_every_paper_of_the_golden_file_is_tested():
    assert set(PAPERS) == {key.split("/")[0] for key in GOLDEN.files if "/w" in key}


@pytest.mark.parametrize("paper", PAPERS)
def test_four_updates_agree_with_pytorch(paper):
    w = Parameter(GOLDEN["w0"])
    optimizer = PAPERS[paper]([w])
    for i, g in enumerate(GOLDEN["grads"]):
        optimizer.step([tensor(g)])
        expected = GOLDEN[f"{paper}/w{i + 1}"]
        assert np.abs(host(w) - expected).max() <= 1e-9 * np.abs(expected).max()
        assert np.abs(expected - GOLDEN["w0"]).max() > 1e-6  # w must move, or the test is empty


def test_sgd_with_and_without_momentum():
    w = Parameter(np.array([1.0, 2.0]))
    optimizer = SGD([w], lr=0.1, momentum=0.5)
    for _ in range(2):
        optimizer.step([tensor(np.array([1.0, -1.0]))])
    np.testing.assert_allclose(host(w), [1 - 0.1 - 0.15, 2 + 0.1 + 0.15])
    w = Parameter(np.array([1.0]))
    SGD([w], lr=0.1).step([tensor(np.array([3.0]))])
    np.testing.assert_allclose(host(w), [0.7])


@pytest.mark.parametrize(
    "make", [lambda p: SGD(p, 0.05, 0.9), lambda p: RMSprop(p, 0.02), lambda p: Adam(p, 0.05)]
)
def test_optimisers_minimise_a_square(make):
    w = Parameter(np.array([3.0, -2.0], "float32"))
    optimizer = make([w])
    for _ in range(300):
        optimizer.step([grad((w * w).sum(), w)])
    assert np.abs(host(w)).max() < 0.05 and w.dtype == np.float32


def test_a_gradient_of_none_leaves_its_parameter_unchanged():
    a, b = Parameter(np.ones(2)), Parameter(np.ones(2))
    optimizer = Adam([a, b], 0.1)
    optimizer.step(grad((a * a).sum(), [a, b]))
    assert (a.data < 1).all() and (b.data == 1).all() and not optimizer.state[1]


@pytest.mark.parametrize("make", [SGD, RMSprop, Adam, AdamW])
def test_a_parameter_without_a_gradient_does_not_decay(make):
    a, b = Parameter(np.ones(2)), Parameter(np.ones(2))
    make([a, b], lr=0.1, weight_decay=0.5).step([tensor(np.zeros(2)), None])
    assert (host(a) < 1).all() and (host(b) == 1).all()


@pytest.mark.parametrize("name, limit", [("clipped", 0.5), ("not_clipped", 1e3)])
def test_clipped_gradients_agree_with_pytorch(name, limit):
    given = [tensor(g) for g in GOLDEN["grads"]]
    clipped = clip_grad_norm([given[0], None, *given[1:]], limit)
    assert clipped[1] is None
    for found, expected in zip([clipped[0], *clipped[2:]], GOLDEN[f"{name}/grads"], strict=True):
        np.testing.assert_allclose(host(found), expected, rtol=1e-9)
    for g, before in zip(given, GOLDEN["grads"]):
        assert np.array_equal(host(g), before) and not any(g is found for found in clipped)
    np.testing.assert_allclose(host(grad_norm([None, *given])), GOLDEN[f"{name}/norm"], rtol=1e-9)


def test_gradients_of_several_dtypes_are_clipped_together():
    gradients = [tensor(np.full(4, 3.0)), tensor(np.full(9, 2.0, "float32"))]
    clipped = clip_grad_norm(gradients, 1.0)
    assert [g.dtype for g in clipped] == ["float64", "float32"]
    np.testing.assert_allclose(host(clipped[0]), 3 / 72**0.5, rtol=1e-6)
    np.testing.assert_allclose(host(clipped[1]), 2 / 72**0.5, rtol=1e-6)


def test_clipping_says_what_is_wrong():
    net = nn.Linear(2, 3)
    for wrong in (
        net,
        net.parameters(),
        net.weight,
        net.parameters,
        [np.ones(3)],
        None,
        "abc",
        3.0,
    ):
        for function, advice in (lambda x: clip_grad_norm(x, 1.0), ", 1.0"), (grad_norm, ""):
            with pytest.raises(TypeError, match="_norm takes gradients, not .*: write ") as error:
                function(wrong)
            assert str(error.value).endswith(f"_norm(grad(loss, net.parameters()){advice})")
    for limit in (0, -1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="max_norm must be above 0"):
            clip_grad_norm([tensor([1.0])], limit)
    for limit in (None, "1", np.ones(2), True):
        with pytest.raises(TypeError, match="max_norm must be a number"):
            clip_grad_norm([tensor([1.0])], limit)
    assert clip_grad_norm([None, None], 1.0) == [None, None]
    assert float(host(grad_norm([None]))) == 0


@pytest.mark.cpu
def test_gradients_that_are_not_finite_are_not_clipped():
    for value in (np.inf, np.nan):
        with pytest.raises(ValueError, match="the norm of the gradients is (inf|nan)"):
            clip_grad_norm([tensor([1.0, value])], 1.0)


@pytest.mark.fast
def test_a_recorded_step_follows_the_numbers_of_its_optimiser():
    """Learning rate, betas, alpha, weight decay and the norm of the clipping change between
    replays, and the step is not recorded anew."""
    x, first = np.ones((4, 3), "float32"), np.linspace(-1, 1, 6, dtype="float32").reshape(3, 2)
    for make in (
        lambda p: SGD(p, 0.1, 0.9),
        lambda p: RMSprop(p, 0.1),
        lambda p: Adam(p, 0.1),
        lambda p: AdamW(p, 0.1),
    ):
        results = []
        for recorded in (False, True):
            net = nn.Sequential(nn.Linear(3, 2, rng=np.random.default_rng(0)))
            net[0].weight.assign(asarray(first))
            optimizer, present = make(net), {"step": 0}

            def step():
                limit = tinygan.from_host(lambda: np.float32(1 / present["step"]))
                loss = (net(tensor(x)) ** 2).sum()
                gradients = clip_grad_norm(grad(loss, net.parameters()), limit)
                optimizer.step(gradients)
                return (loss.data, grad_norm(gradients).data)

            run = tinygan.capture(step, net) if recorded else step
            for present["step"] in range(1, 8):
                n = present["step"]
                numbers = {
                    "lr": 0.1 / n,
                    "weight_decay": 0.3 / n,
                    "eps": 1e-8 * n,
                    "momentum": 0.1 * n,
                }
                numbers |= {"alpha": 1 - 0.1 / n, "betas": (0.1 * n, 1 - 0.1 / n)}
                for name in optimizer.may_change:
                    setattr(optimizer, name, numbers[name])
                values = [float(v) for v in run()]
            results.append([*values, *host(net[0].weight).ravel()])
        assert results[0] == results[1]
        (recording,) = run.steps.steps.values()
        assert recording.is_recorded() and abs(results[0][1] - 1 / 7) < 1e-3


@pytest.mark.cpu
@pytest.mark.fast
def test_a_large_parameter_gets_the_same_update_with_and_without_blocks():
    """A C-contiguous array is updated in blocks, by several threads; a Fortran-ordered array cannot
    be divided into blocks."""
    rng = np.random.default_rng(0)
    w, g = rng.standard_normal((2, 900, 500))
    m, v = np.zeros_like(w), np.zeros_like(w)
    blocked, undivided = w.copy(), np.asfortranarray(w)
    get_numbers = lambda: [(0.1 * 0.1**0.5 / 0.5, 1e-8 * 0.1**0.5, 0.5, 1 - 0.9, 0.0, 0.0)]
    optim_kernels.adam([blocked], [g], [m], [v], get_numbers)
    m, v = np.asfortranarray(m * 0), np.asfortranarray(v * 0)
    optim_kernels.adam([undivided], [g], [m], [v], get_numbers)
    assert w.size > 3 * BLOCK and np.array_equal(blocked, undivided)
    first_update = 0.1 * g / (np.abs(g) + 1e-8)
    np.testing.assert_allclose(w - blocked, first_update, rtol=1e-9)


def test_a_graph_detects_that_an_optimiser_changed_its_parameter():
    w = Parameter(np.ones(3), name="w")
    loss = (w * w).sum()
    Adam([w], 0.1).step([tensor(np.ones(3))])
    with pytest.raises(RuntimeError, match="w, which was changed"):
        grad(loss, w)


def test_a_saved_state_continues_with_the_same_updates():
    rng = np.random.default_rng(0)
    gradients = [tensor(rng.standard_normal((3, 2))) for _ in range(4)]
    for make in (lambda p: SGD(p, 0.1, 0.9), lambda p: RMSprop(p, 0.1), lambda p: Adam(p, 0.1)):
        unbroken, resumed = Parameter(np.ones((3, 2))), Parameter(np.ones((3, 2)))
        optimizer, first = make([unbroken]), make([resumed])
        for g in gradients[:2]:
            optimizer.step([g]), first.step([g])
        second = make([resumed])
        second.load_state_dict(first.state_dict())
        for g in gradients[2:]:
            optimizer.step([g]), second.step([g])
        assert np.array_equal(host(unbroken), host(resumed))


def test_error_messages_name_the_mistake():
    with pytest.raises(TypeError, match="list of Parameters"):
        Adam([tensor([1.0], requires_grad=True)], 0.1)
    with pytest.raises(TypeError, match="non-empty"):
        Adam([], 0.1)
    w = Parameter(np.ones(3))
    with pytest.raises(ValueError, match="shape"):
        Adam([w], 0.1).step([tensor(np.ones(2))])
    with pytest.raises(TypeError, match="is a ndarray: pass Tensors"):
        Adam([w], 0.1).step([np.ones(3)])
    with pytest.raises(ValueError, match="EMA: Linear.weight has shape"):
        tinygan.EMA(nn.Linear(2, 3)).update(nn.Linear(4, 3))
    with pytest.raises(ValueError, match="fits no parameter"):
        Adam([w], 0.1).load_state_dict({"0.m": np.ones(4)})


def test_ema_averages_weights_and_copies_buffers():
    net = nn.Sequential(nn.Linear(2, 3, rng=np.random.default_rng(0)), nn.BatchNorm(3))
    ema = tinygan.EMA(net, decay=0.75)
    expected = net.state_dict()["0.weight"].astype(np.float64)
    for t in range(40):
        net[0].weight.assign(net[0].weight.data + 1)
        net(tensor(np.random.default_rng(t).standard_normal((4, 2)), dtype="float32"))
        ema.update(net)
        decay = min(0.75, (1 + t) / (10 + t))
        expected = decay * expected + (1 - decay) * host(net[0].weight)
    state = ema.module.state_dict()
    np.testing.assert_allclose(state["0.weight"], expected, rtol=1e-5)
    running_mean = state["1.running_mean"]
    assert np.array_equal(running_mean, host(net[1].running_mean)) and running_mean.any()
    assert net.training and not ema.module.training
    net(tensor(np.ones((4, 2), "float32")))  # changes the running mean of `net` alone
    assert np.array_equal(ema.module.state_dict()["1.running_mean"], running_mean)


def test_a_parameter_listed_twice_is_an_error():
    w = Parameter(np.ones(3))
    with pytest.raises(ValueError, match="listed twice"):
        Adam([w, w], 0.1)


@pytest.mark.parametrize("kind", [SGD, RMSprop, Adam, AdamW])
def test_settings_of_an_optimiser_are_numbers_of_at_least_0(kind):
    parameters = [Parameter(np.ones(3), dtype="float32")]
    rate = schedules.cosine(1e-3, 0, until=10)
    for name in kind.may_change:
        for value in (-1, float("nan")):
            value = (0.5, value) if name == "betas" else value
            with pytest.raises(ValueError, match=f"^{kind.__name__}: {name} is .*: it must be"):
                kind(parameters, **{"lr": 1e-3, name: value})
    for set_lr in (lambda: kind(parameters, lr=rate), lambda: setattr(optimizer, "lr", rate)):
        optimizer = kind(parameters, lr=1e-3)
        with pytest.raises(ValueError, match="write optimizer.lr = rate.* before each step"):
            set_lr()
    optimizer.lr = np.float64(0.5)  # a float64 that is no Python number would widen the weights
    optimizer.step([tensor(np.ones(3), dtype="float32")])
    assert type(optimizer.lr) is float and parameters[0].dtype == np.float32
