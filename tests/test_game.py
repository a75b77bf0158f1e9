"""The game on points: its steps are those of training, its arrows are gradients, its optimal D and
divergence are right, and what it cannot do is refused in one line."""

import numpy as np
import pytest
from scipy import integrate, stats

from tinygan import data, tensor
from tinygan.data.points import DISTRIBUTIONS
from tinygan.errors import InputError
from tinygan.gan.losses import LOSSES
from tinygan.lab import PRESETS, Game, jensen_shannon, kernel_density
from tinygan.lab.networks import RECIPE
from tinygan.lab.optimal import optimal_D
from tinygan.training import recipes
from tinygan.training.algorithm import Algorithm

# A game is drawn on a CPU.
pytestmark = pytest.mark.cpu

SMALL = {"hidden": 8, "batch_size": 16, "latent": 5}
VARIANTS = {
    "plain": {},
    "critic": {"loss": "wasserstein", "gp": 10, "d_steps": 3},
    "clipped": {"loss": "wasserstein", "clip": 0.05, "optimizer": "rmsprop"},
    "relativistic": {"loss": "relativistic", "r1": 0.1, "r2": 0.1},
    "unrolled": {"unroll": 2, "loss": "bce-minimax"},
    "unrolled critic": {"unroll": 1, "loss": "wasserstein", "gp": 1},
    "batches": {"minibatch_stddev": True, "r1": 0},
    "lazy": {"r1": 0.1, "penalty_every": 4},
    "schedule": {"lr": "linear:1e-3:1e-4", "steps": 20},
    "dirac": {"dirac": True, "latent": 1, "hidden": 128, "optimizer": "rmsprop", "r1": 0.5},
}
each_variant = pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)


def weights(game):
    return [p.data for p in game.G.parameters() + game.D.parameters()]


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(weights(a), weights(b), strict=True))


# Steps


@pytest.mark.parametrize("name", ["ring", "moons"])
def test_a_game_has_the_losses_of_a_run_of_gan(name):
    """But for rounding: a D of `gan` has layers of dropout, so that it is called more often."""
    gan, game = recipes.find("gan"), Game(data=name, hidden=16, batch_size=32, seed=3)
    s = gan.settings(for_points=True).updated({"hidden": 16, "batch_size": 32})
    algorithm = Algorithm(gan, s, data.load(name), seed=3)
    game.step(6)
    for numbers in game.history:
        assert numbers == pytest.approx(algorithm.train_step(), rel=1e-4)


@each_variant
def test_a_game_has_the_numbers_of_training(settings):
    game = Game(**SMALL | settings)
    algorithm = Algorithm(RECIPE, game.settings, data.load("ring"), seed=0)
    game.step(4)
    assert game.history == [algorithm.train_step() for _ in range(4)]


@each_variant
def test_steps_are_the_same_however_they_are_asked_for(settings):
    settings = SMALL | settings
    at_once, halves, mixed = (Game(**settings) for _ in range(3))
    at_once.step(9)
    for _ in range(9):
        halves.half_of_D()
        halves.frame(n=8, resolution=4, side=2)  # looking changes nothing
        halves.half_of_G()
        halves.optimal_D(samples=10)
    mixed.step(5)
    mixed.half_of_D()
    mixed.step()  # G's half
    mixed.half_of_D()
    mixed.half_of_G()
    mixed.frame(n=8, resolution=4, side=2)
    mixed.step(2)
    assert at_once.steps == halves.steps == mixed.steps == 9
    assert at_once.history == halves.history == mixed.history and len(mixed.history) == 9
    assert same(at_once, halves) and same(at_once, mixed)


def test_halves_take_turns():
    game = Game(**SMALL)
    before = [array.copy() for array in weights(game)]
    n = len(game.G.parameters())
    with pytest.raises(InputError, match="it is D's turn"):
        game.half_of_G()
    assert game.frame(n=4).next_half == "D" and game.frame(n=4).numbers == {}
    game.half_of_D()
    after = weights(game)
    assert all(np.array_equal(a, b) for a, b in zip(before[:n], after[:n]))
    assert not any(np.array_equal(a, b) for a, b in zip(before[n:], after[n:]))
    assert game.frame(n=4).next_half == "G" and game.steps == 0
    with pytest.raises(InputError, match="it is G's turn"):
        game.half_of_D()
    game.half_of_G()
    assert game.steps == 1 and game.frame(n=4).numbers["d_loss"] == game.history[0]["d_loss"]


def test_another_seed_is_another_game():
    first, again, other = (Game(**SMALL, seed=seed) for seed in (0, 0, 1))
    for game in (first, again, other):
        game.step(2)
    assert same(first, again) and not same(first, other)
    assert not np.array_equal(first.fakes(4), other.fakes(4))


# Frames


def in_float64(**settings):
    """Return a game after three steps, with networks in float64."""
    game = Game(**SMALL | settings)
    game.step(3)
    for network in (game.G, game.D):
        network.astype("float64")
    for state in game.algorithm.d_optimizer.state:
        state |= {key: x.astype("float64") for key, x in state.items() if key in ("m", "v")}
    return game


@pytest.mark.parametrize(
    "settings",
    [{"loss": loss} for loss in LOSSES]
    + [
        {"unroll": 2, "loss": "bce-minimax", "d_activation": "softplus"},
        {"minibatch_stddev": True, "r1": 0},
        {"dirac": True, "hidden": 128},
    ],
    ids=str,
)
def test_arrows_are_finite_differences_of_the_loss_of_g(settings):
    game = in_float64(**settings)
    reals = game.algorithm.dataset.images[:6].astype("float64")
    fakes = game.fakes(6)
    arrows = game.arrows(reals, fakes)
    assert arrows.shape == (6, 2) and arrows.dtype == np.float64

    def loss(x):
        return game.algorithm.objectives.g_loss(reals, None, tensor(x, dtype="float64"), None)[0]

    for n in range(6):
        for i in range(2):
            step = np.zeros((6, 2))
            step[n, i] = 1e-6
            slope = (loss(fakes + step).item() - loss(fakes - step).item()) / 2e-6
            assert arrows[n, i] == pytest.approx(-6 * slope, rel=1e-5, abs=1e-8)


def test_an_arrow_of_the_dirac_gan_is_known():
    """G's loss at x is -log s(psi x), whose negative gradient is s(-psi x) psi."""
    game = in_float64(dirac=True, hidden=128)
    frame, psi = game.frame(n=3), game.D.psi.weight.data.reshape(2)
    theta = game.G.theta.data
    expected = psi / (1 + np.exp(psi @ theta))
    np.testing.assert_allclose(frame.fakes, np.tile(theta, (3, 1)))
    np.testing.assert_allclose(frame.arrows, np.tile(expected, (3, 1)))


def test_the_heat_map_is_the_output_of_d():
    game = in_float64()
    frame = game.frame(n=5, resolution=9)
    low, high = frame.axis[[0, -1]]
    assert low < frame.reals.min() and frame.reals.max() < high and (low, high) == game.window
    for row, column in ((0, 3), (8, 0), (2, 7)):
        point = np.array([[frame.axis[column], frame.axis[row]]])
        logit = game.D(point).item()
        assert frame.heat_map[row, column] == pytest.approx(1 / (1 + np.exp(-logit)), rel=1e-12)
    assert frame.middle == 0.5


@pytest.mark.parametrize("loss, middle", [("hinge", 0.0), ("l2", 0.5), ("wasserstein", None)])
def test_the_heat_map_of_a_critic_shows_its_logits(loss, middle):
    game = Game(**SMALL, loss=loss)
    game.step(2)
    frame = game.frame(n=40)
    x, y = frame.axis[3], frame.axis[50]
    logit = game.D(np.array([[x, y]], np.float32)).item()
    assert frame.heat_map[50, 3] == pytest.approx(logit, rel=1e-4)
    if middle is None:
        middle = (game.D(frame.reals).mean().item() + game.D(frame.fakes).mean().item()) / 2
    assert frame.middle == pytest.approx(middle, rel=1e-4)


def test_a_d_that_compares_shows_a_point_among_fakes():
    game = in_float64(minibatch_stddev=True, r1=0)
    fakes = game.fakes(16)  # a batch
    x = tensor(fakes, dtype="float64")
    together, h = game.D(x).detach().numpy(), game.D.hidden(x).detach().numpy()
    probability = 1 / (1 + np.exp(-together))
    np.testing.assert_allclose(game.output(fakes[:3]), probability[:3], rtol=1e-12)
    seen = np.append(h[0], np.sqrt(h.var(0) + 1e-8).mean())
    by_hand = seen @ game.D.logit.weight.data.reshape(-1) + game.D.logit.bias.data.item()
    assert together[0] == pytest.approx(by_hand, rel=1e-6)


@pytest.mark.parametrize("latent, shape", [(1, (5, 1, 2)), (2, (5, 5, 2)), (7, (5, 5, 2))])
def test_the_manifold_is_g_on_a_grid_of_latents(latent, shape):
    game = Game(**SMALL | {"latent": latent})
    manifold = game.frame(side=5).manifold
    assert manifold.shape == shape
    z = np.zeros((1, latent), np.float32)
    z[0, :2] = (-2, 0)[:latent]
    np.testing.assert_allclose(manifold[0, 2 % shape[1]], game.G(z).detach().numpy()[0], rtol=1e-5)


# The optimal D


def test_a_kernel_estimate_is_a_mean_of_gaussians():
    points, axis = np.array([[0.5, -1.0], [0.0, 2.0], [0.5, 0.5]]), np.linspace(-2, 3, 11)
    density = kernel_density(points, axis, 0.7)
    for row, column in ((0, 0), (3, 5), (8, 4)):
        at = [axis[column], axis[row]]
        expected = np.mean([stats.multivariate_normal(p, 0.49).pdf(at) for p in points])
        assert density[row, column] == pytest.approx(expected, rel=1e-12)


def test_the_divergence_of_discrete_distributions():
    from scipy.spatial.distance import jensenshannon

    rng = np.random.default_rng(0)
    for _ in range(5):
        p, q = rng.dirichlet(np.full(6, 0.3)), rng.dirichlet(np.full(6, 0.3))
        p[0] = 0
        p /= p.sum()
        assert jensen_shannon(p, q) == pytest.approx(jensenshannon(p, q) ** 2, rel=1e-9)
    assert jensen_shannon(np.array([1.0, 0]), np.array([0, 1.0])) == pytest.approx(np.log(2))
    assert jensen_shannon(p, p) == 0


def test_the_divergence_of_two_gaussians_is_that_of_numerical_integration():
    """And log 2 + E[log D*] / 2 + E[log(1 - D*)] / 2 is the same number."""
    axis, deviation = np.linspace(-6, 6, 121), 0.6
    p, q = (kernel_density(np.array([[x, 0.0]]), axis, deviation) for x in (-0.5, 0.7))
    found = optimal_D(axis, p, q)

    normal = lambda x, mean: stats.norm(mean, deviation).pdf(x)
    m = lambda x: (normal(x, -0.5) + normal(x, 0.7)) / 2
    kl = lambda mean: integrate.quad(
        lambda x: normal(x, mean) * np.log(normal(x, mean) / m(x)), -5, 5
    )[0]
    assert found.jsd == pytest.approx((kl(-0.5) + kl(0.7)) / 2, rel=1e-6)
    np.testing.assert_allclose(found.D[60, 30], 1 / (1 + q[60, 30] / p[60, 30]))
    cell = 0.1**2
    by_D = np.log(2) + (p * np.log(found.D) + q * np.log(1 - found.D)).sum() * cell / 2
    assert found.jsd == pytest.approx(by_D, rel=1e-6)


def test_what_lies_outside_of_the_window_counts():
    axis = np.linspace(-1, 1, 41)
    inside = kernel_density(np.array([[0.0, 0.0]]), axis, 0.1)
    half = kernel_density(np.array([[0.0, 0.0], [50.0, 0.0]]), axis, 0.1)
    expected = jensen_shannon(np.array([1.0, 0.0]), np.array([0.5, 0.5]))
    assert optimal_D(axis, inside, half).jsd == pytest.approx(expected, rel=1e-6)
    assert np.isnan(optimal_D(axis, 0 * inside, 0 * half).D).all()


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_perfect_g_has_a_divergence_near_zero(name):
    game = Game(**SMALL, data=name)
    before = game.optimal_D()
    game.fakes = lambda n, seed=0: DISTRIBUTIONS[name].draw(np.random.default_rng(seed), n)[0]
    after = game.optimal_D()
    assert after.jsd < 0.012 < 0.2 < before.jsd <= np.log(2) + 1e-9
    assert np.median(after.D[after.real > 0.1 * after.real.max()]) == pytest.approx(0.5, abs=0.05)


def test_the_optimal_d_of_drawn_points_is_that_of_their_kernel_estimate():
    points = [[0.0, 0.0], [1.0, 2.0], [-1.0, 0.5]]
    optimal = Game(points, **SMALL).optimal_D(blur=0.2)
    np.testing.assert_allclose(
        optimal.real, kernel_density(np.array(points), optimal.axis, 0.2), atol=1e-12
    )


def test_no_d_is_better_than_the_optimal_one():
    """A D that trains alone comes near: its bound on the divergence rises to the divergence."""
    game = Game(data="two-gaussians", lr=0, d_lr=3e-3, hidden=32, r1=0, seed=1)
    jsd = game.optimal_D(blur=0.1).jsd

    def bound():
        reals = data.load("two-gaussians", "test").images
        real, fake = game.output(reals), game.output(game.fakes(10_000, seed=2))
        return np.log(2) + (np.log(real).mean() + np.log1p(-fake).mean()) / 2

    first = bound()
    game.step(300)
    last = bound()
    # The blur and the sampling noise of 10,000 points: about .01.
    assert first < 0.1 * jsd and 0.9 * jsd < last < jsd + 0.01


# Points that somebody has drawn, presets, and what is refused


def test_drawn_points_are_all_learned_from():
    points = np.array([[3.0, 0.0], [4.0, 0.0], [3.5, 1.0]])
    game = Game(points, **SMALL)
    images = game.algorithm.dataset.images
    assert game.settings.data == "drawn" and len(images) == 18
    assert np.array_equal(np.unique(images, axis=0), np.unique(points.astype("f"), axis=0))
    game.step(2)
    assert game.window[0] < 0 and game.window[1] > 4
    frame = Game(points, **SMALL, loss="relativistic").frame(n=50)  # which compares pairs
    assert frame.reals.shape == frame.arrows.shape == (50, 2)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_runs_and_says_what_it_shows(name):
    preset = PRESETS[name]
    game = Game(preset.points, **preset.settings)
    game.step(4)
    assert game.frame(n=16, resolution=8).arrows.any()
    assert preset.text.count(". ") == 1 and preset.text.endswith(".")
    assert Game(preset.points, **preset.settings | {"seed": 1}).settings.seed == 1


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"data": "rings"}, "setting data=rings: .*ring"),
        ({"lose": "bce"}, "unknown setting 'lose': .*loss"),
        ({"hidden": 0}, "setting hidden=0: must be at least 1"),
        ({"activation": "sin"}, "setting activation=sin: "),
        ({"lr": -1}, "setting lr=-1: must be at least 0"),
        ({"keep": 5}, "setting keep=5 would be ignored: a game has no run folder"),
        ({"pack": 2}, "setting pack=2: a game shows D at single points: set pack=1"),
        ({"augment": "ada"}, "setting augment=ada needs images"),
        ({"g_class": "concat", "d_class": "projection"}, "the recipe game has no classes"),
        ({"path_length": 1}, "setting path_length=1: the G of game has no styles"),
        ({"cr": 10}, "setting cr=10.0 shifts images"),
        ({"dirac": True, "layers": 3}, "setting layers=3 would be ignored: the Dirac-GAN"),
        ({"unroll": 2, "clip": 0.1}, "setting unroll=2: updates with clip are not simulated"),
        ({"data": "drawn"}, "setting data=drawn: give the points"),
        ({"seed": -1}, "setting seed=-1: must be at least 0"),
        ({"points": [[0.0, 1.0]], "data": "ring"}, "the points would be ignored: set data=drawn"),
        ({"points": [[0.0, 1.0, 2.0]]}, r"points: must be numbers \(n, 2\) with n > 0"),
        ({"points": []}, r"points: must be numbers \(n, 2\)"),
        ({"points": "abc"}, r"points: must be numbers \(n, 2\)"),
        ({"points": [[0.0, np.nan]]}, "points must be float32"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_refused_in_one_line(settings, message):
    with pytest.raises(InputError, match=message) as caught:
        Game(**settings)
    assert "\n" not in str(caught.value)


def test_a_blur_must_be_positive():
    for blur in (0, -1, np.inf, np.nan):
        with pytest.raises(InputError, match="blur=.*: must be above 0, and finite"):
            Game(**SMALL).optimal_D(blur=blur)


def test_the_defaults_are_those_of_gan_for_points():
    game, gan = (r.settings(for_points=True) for r in (RECIPE, recipes.find("gan")))
    apart = {"ema", "sample_every", "data", "seed"}
    for name in vars(game).keys() & vars(gan).keys() - apart:
        assert getattr(game, name) == getattr(gan, name), name
