"""Unrolled GANs: the updates that G looks ahead are those of D's optimiser, G's gradient flows
through them, and D stays as it is."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from host import host

import tinygan
from tinygan import check_grads, data, grad, nn, tensor
from tinygan.backend import asarray
from tinygan.errors import InputError
from tinygan.gan import augment
from tinygan.gan.penalties import Penalty
from tinygan.optim import Adam, AdamW, RMSprop, clip_grad_norm
from tinygan.training import batch_sizes, recipes, unrolled
from tinygan.training.algorithm import Algorithm
from tinygan.training.objectives import Objectives
from tinygan.training.own_checks import checked_penalty

GOLDEN = np.load(Path(__file__).parent / "golden" / "unrolled.npz")
OPTIMIZERS = {  # those of the golden file
    "adam": lambda p: Adam(p, lr=0.05, betas=(0.5, 0.999)),
    "adam_decay": lambda p: Adam(p, lr=0.05, betas=(0.5, 0.9), eps=1e-3, weight_decay=0.1),
    "adamw": lambda p: AdamW(p, lr=0.05, betas=(0.0, 0.99), weight_decay=0.2),
    "rmsprop": lambda p: RMSprop(p, lr=0.01, alpha=0.9, weight_decay=0.1),
}
RING = {"r1": 0.0, "hidden": 4, "latent": 3, "batch_size": 8}


def networks(widths=(5, 6)):
    """Return G, from latents (N, 3), and D, in float64."""
    g, d = widths
    G = nn.Sequential(nn.Linear(3, g, rng=0), nn.ReLU(), nn.Linear(g, 2, rng=1))
    D = nn.Sequential(nn.Linear(2, d, rng=2), nn.LeakyReLU(0.2), nn.Linear(d, 1, rng=3))
    return G.astype("float64"), D.astype("float64")


def objectives(G, D, optimizer, **settings):
    """Return the Objectives of a run with these networks and with D's optimiser."""
    s = recipes.find("gan").settings(for_points=True).updated({"r1": 0.0, **settings})
    pipe, _ = augment.from_settings(s, np.random.default_rng(0))
    rng, now = np.random.default_rng(0), lambda value: value
    algorithm = {"settings": s, "G": G, "D": D, "augment": pipe, "rng": rng, "now": now}
    return Objectives(SimpleNamespace(**algorithm, d_optimizer=optimizer), {})


def unflattened(vector, like):
    """Return a vector as arrays of the shapes of the Tensors `like`, one after another."""
    ends = np.cumsum([x.size for x in like])
    return [
        asarray(part.reshape(x.shape).copy()) for part, x in zip(np.split(vector, ends[:-1]), like)
    ]


def flattened(xs):
    return np.concatenate([host(x).reshape(-1) for x in xs])


def of_golden(name):
    """Return G, D and D's optimiser in the state of the golden file."""
    G, D = networks()
    for parameters, vector in ((G.parameters(), "G"), (D.parameters(), f"{name}/D")):
        for p, array in zip(parameters, unflattened(GOLDEN[vector], parameters)):
            p.assign(array)
    optimizer = OPTIMIZERS[name](D.parameters())
    for key in "mv":
        if f"{name}/{key}" in GOLDEN.files:
            arrays = unflattened(GOLDEN[f"{name}/{key}"], D.parameters())
            for state, array in zip(optimizer.state, arrays):
                state |= {key: array} | ({"step": 2} if name != "rmsprop" else {})
    return G, D, optimizer


# The gradient of G


@pytest.mark.parametrize("loss", ["bce", "bce-minimax"])
@pytest.mark.parametrize("K", range(4))
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_gradient_through_the_updates_agrees_with_pytorch(name, K, loss):
    """bce-minimax: G maximises all of D's loss, also its term of the reals."""
    G, D, optimizer = of_golden(name)
    step = objectives(G, D, optimizer, unroll=K, loss=loss)
    batch = asarray(GOLDEN["reals"]), None, G(asarray(GOLDEN["z"])), None
    ahead = flattened(step.parameters_ahead(*batch))
    assert np.abs(ahead - GOLDEN[f"{name}/ahead"][K]).max() < 1e-12
    value, _ = step.g_loss(*batch)
    expected = GOLDEN[f"{name}/{loss}"][K]
    assert np.abs(flattened(grad(value, G.parameters())) - expected).max() < 1e-11
    if K:  # without updates, bce-minimax leaves out the term of the reals
        assert abs(value.item() - GOLDEN[f"{name}/{loss}/loss"][K]) < 1e-12
        # The updates make a difference, which the tolerances do not hide.
        assert np.abs(expected - GOLDEN[f"{name}/{loss}"][0]).max() > 1e-3


PENALTIES = [
    {"loss": "wasserstein"},
    {"loss": "relativistic", "clip_grad_norm": 0.1},
    {"r1": 0.5},
    {"r1": 0.5, "r2": 0.5, "ortho": 0.1},
    {"drift": 0.1, "gp": 1.0, "loss": "hinge"},
]


@pytest.mark.parametrize("settings", PENALTIES, ids=str)
def test_the_gradient_is_that_of_the_loss_after_the_updates(settings):
    """By finite differences. With a penalty on D's gradient, it takes third derivatives."""
    tinygan.check_training_step("gan", "ring", unroll=2, **(RING | settings))


@pytest.mark.parametrize("name", ["r1", "r2", "gp", "drift"])
def test_the_updates_are_the_same_if_the_fakes_have_a_graph(name):
    """From the second update on, D's parameters depend on the fakes. The gradient of D at an image
    is not taken through them."""
    found, reals = [], asarray(GOLDEN["reals"])
    for with_graph in True, False:
        G, D = networks()
        D.layers[1] = nn.Tanh()  # the slope of a D of linear pieces would not depend on x
        optimizer = Adam(D.parameters(), lr=0.05, eps=0.1)
        step = objectives(G, D, optimizer, unroll=3, **{name: 0.5})
        fakes = G(asarray(GOLDEN["z"]))
        fakes = fakes if with_graph else fakes.detach()
        found.append(flattened(step.parameters_ahead(reals, None, fakes, None)))
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-13)
    assert np.abs(found[0] - flattened(D.parameters())).max() > 0.01


@pytest.mark.parametrize("name", ["r2", "gp"])
def test_a_penalty_on_fakes_tells_g_how_d_will_answer(name):
    """By finite differences, with a smooth D: the slopes of one of linear pieces do not change with
    the fakes."""
    _, D = networks()
    D.layers[1] = nn.Tanh()
    optimizer, reals = Adam(D.parameters(), lr=0.05, eps=0.1), asarray(GOLDEN["reals"])

    def loss(fakes):
        step = objectives(None, D, optimizer, unroll=2, **{name: 0.5})
        return step.g_loss(reals, None, fakes, None)[0]

    check_grads(loss, np.random.default_rng(0).standard_normal(reals.shape))


def test_a_penalty_of_ones_own_that_would_cut_the_graph_is_reported():
    penalty = Penalty("p", lambda D, x: (D(np.asarray(x)) * 1.0).sum(), applied_to="fakes")
    entry = checked_penalty(penalty, "p", Path("my.py"))
    assert entry.function(tensor, np.ones(3)).item() == 3
    with pytest.raises(InputError, match="^my.py: the function of p gets images with G's graph"):
        entry.function(tensor, tensor(np.ones(3), requires_grad=True))


@pytest.mark.slow
def test_consistency_depends_on_the_fakes_in_both_of_its_images():
    small = {"hidden": 8, "dropout": 0.0, "batch_size": 8, "unroll": 1}
    tinygan.check_training_step("gan", "digits", **small, cr=1.0, bcr=10.0)


def test_the_surrogate_is_the_gradient_for_the_D_ahead():
    """As if D made real updates, and G then learnt from the new D, which would not change."""
    G, D, optimizer = of_golden("adam")
    reals, fakes = asarray(GOLDEN["reals"]), G(asarray(GOLDEN["z"]))
    step = objectives(G, D, optimizer, unroll=3, unroll_stop=True)
    actual = grad(step.g_loss(reals, None, fakes, None)[0], G.parameters(), retain_graph=True)
    for _ in range(3):
        loss, _ = step.d_loss(reals, None, fakes.detach(), None)
        optimizer.step(grad(loss, D.parameters()))
    step.settings.unroll = 0
    expected = grad(step.g_loss(reals, None, fakes, None)[0], G.parameters())
    assert np.abs(flattened(actual) - flattened(expected)).max() < 1e-13
    through = GOLDEN["adam/bce"][3]
    assert np.abs(flattened(actual) - through).max() > 0.01 * np.abs(through).max()


# The updates of D


@pytest.mark.parametrize("max_norm", [None, 0.05, 100.0])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_updates_are_those_of_the_optimiser(name, max_norm):
    """From its first update on, and from a later one. Parameters and moments stay as they are."""
    _, D = networks()
    D[0].bias.requires_grad = False
    optimizer, x = OPTIMIZERS[name](D.parameters()), tensor(GOLDEN["reals"])

    def loss(parameters):
        with D.with_parameters(parameters):
            return (D(x) ** 2).mean()

    for _ in range(2):
        before = flattened(D.parameters()), repr(optimizer.state_dict())
        ahead = unrolled.parameters_ahead(D.parameters(), optimizer, loss, 3, max_norm=max_norm)
        assert before[1] == repr(optimizer.state_dict())
        np.testing.assert_array_equal(before[0], flattened(D.parameters()))
        for _ in range(3):
            gradients = grad(loss(D.parameters()), D.parameters())
            gradients = gradients if max_norm is None else clip_grad_norm(gradients, max_norm)
            optimizer.step(gradients)
        assert np.abs(flattened(ahead) - flattened(D.parameters())).max() < 1e-14
        assert np.abs(flattened(ahead) - before[0]).max() > 1e-3
        assert ahead[1] is D[0].bias


@pytest.mark.parametrize("settings", [{}, *PENALTIES], ids=str)
def test_a_run_simulates_the_updates_that_D_would_make(settings):
    """With its penalties, its clipping and its learning rate."""
    entry = recipes.find("gan")
    s = entry.settings(for_points=True).updated(RING | {"unroll": 2} | settings)
    a = Algorithm(entry, s, data.load("ring"), seed=0)
    for _ in range(2):
        a.train_step()
    reals, labels = a.reals(0)
    fakes, state = a.fakes(labels, for_G=True), a.rng.bit_generator.state
    ahead = flattened(a.objectives.parameters_ahead(reals, labels, fakes.images, fakes.labels))
    a.rng.bit_generator.state = state
    for i in range(2):
        a.update_D(reals, labels, fakes, i)
    now = flattened(a.D.parameters())
    assert np.abs(ahead - now).max() < 2e-6


@pytest.mark.parametrize("name", ["adam", "rmsprop"])
def test_a_parameter_whose_gradient_was_always_0_has_a_right_gradient(name):
    """Its mean square is 0, and so is the root of it, whose derivative is infinite. If a gradient
    appears, G's gradient must be right: the update of w by the gradient x w2 is differentiated with
    respect to x at x = 0."""
    w = nn.Linear(1, 1, bias=False, rng=0).astype("float64")
    optimizer = {"adam": Adam, "rmsprop": RMSprop}[name](w.parameters(), lr=1e-3, eps=1e-3)

    def updated(x):
        (p,) = unrolled.parameters_ahead(w.parameters(), optimizer, lambda ps: (ps[0] * x).sum(), 2)
        return p.sum()

    x = tensor(np.zeros((1, 1)), requires_grad=True)
    slope = grad(updated(x), x).item()
    h = 1e-9
    difference = (updated(tensor(x.data + h)) - updated(tensor(x.data - h))).item() / (2 * h)
    assert np.isfinite(slope) and slope != 0 and abs(slope / difference - 1) < 1e-4
    check_grads(lambda x: updated(x), [np.full((1, 1), 0.3)], order=1)


def test_other_parameters_stand_in_for_those_of_a_module_while_a_block_runs():
    layer, x = nn.Linear(2, 2, rng=0), tensor(np.ones((1, 2), "float32"))
    twice = nn.Sequential(layer, layer)
    before, own = host(twice(x)), twice.parameters()
    zeros = [tensor(np.zeros(p.shape, "float32"), requires_grad=True) for p in own]
    with pytest.raises(KeyError), twice.with_parameters(zeros):
        assert not host(twice(x)).any() and layer.weight is zeros[0]
        assert grad(twice(x).sum(), zeros)[1] is not None
        raise KeyError
    assert all(p is q for p, q in zip(twice.parameters(), own, strict=True))
    np.testing.assert_array_equal(host(twice(x)), before)
    with pytest.raises(ValueError), twice.with_parameters(zeros[:1]):
        pass


# Settings


@pytest.mark.parametrize(
    "recipe, set_data, settings, message",
    [
        ("dcgan", "digits", {}, "D.main.3 of dcgan has running statistics, .*: set d_norm=none"),
        ("gan", "digits", {}, "D.main.3 of gan has random numbers, .*: set dropout=0"),
        ("sngan", "digits", {}, "of sngan has power vectors, .*: choose a recipe such as wgan-gp"),
        ("wgan", "digits", {"d_norm": "none"}, "updates with clip are not simulated: set clip=0"),
        ("stylegan2", "digits", {}, "sanitize are not simulated: set sanitize=false"),
        (
            "stylegan2",
            "digits",
            {"sanitize": False},
            "must be a part of each update: set penalty_every=1, not 4",
        ),
        ("gan", "ring", {"lecam": 0.1, "lecam_start": 0}, "would not follow these updates"),
        ("gan", "ring", {"micro_batch": 8}, "not with micro_batch=8: set micro_batch=0"),
    ],
)
def test_updates_that_cannot_be_simulated_are_refused(recipe, set_data, settings, message):
    entry = recipes.find(recipe)
    s = entry.settings(for_points=set_data == "ring").updated({"unroll": 3, **settings})
    images = data.load(set_data).padded(s.pad)
    with pytest.raises(InputError, match=f"setting unroll=3: .*{message}") as error:
        Algorithm(entry, s, images)
    assert "\n" not in str(error.value)


def test_several_ranks_are_refused(monkeypatch):
    monkeypatch.setattr(batch_sizes, "ranks", SimpleNamespace(size=2))
    s = recipes.find("gan").settings(for_points=True).updated({"unroll": 3})
    with pytest.raises(InputError, match="unroll=3: .* not with 2 ranks: start one process"):
        batch_sizes.check_batch_sizes(SimpleNamespace(settings=s))


def test_a_setting_without_effect_is_refused():
    entry = recipes.find("gan")
    s = entry.settings(for_points=True).updated({"unroll_stop": True})
    with pytest.raises(InputError, match="unroll_stop=true would be ignored without unroll"):
        Algorithm(entry, s, data.load("ring"))
    with pytest.raises(InputError, match="unroll_stop=true leaves out a part of G's gradient"):
        tinygan.check_training_step("gan", "ring", unroll=1, unroll_stop=True, **RING)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["wgan-gp", "progan", "stylegan", "stylegan2", "acgan"])
def test_recipes_without_such_a_state_can_be_unrolled(recipe):
    small = {
        **{"g_channels": 4, "d_channels": 4, "channels": 2, "max_channels": 4, "pad": 0},
        **{"hidden": 8, "style": 8, "latent": 12, "mapping_layers": 2},
        **{"penalty_every": 1, "sanitize": False, "unroll": 1},
    }
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), dtype=np.uint8)
    has = recipes.find(recipe).settings()
    settings = {name: value for name, value in small.items() if hasattr(has, name)}
    tinygan.check_training_step(recipe, (images, np.arange(40) % 4), **settings)
