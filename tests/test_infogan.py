"""InfoGAN: the codes in G's latents, what Q guesses, and the losses that D and G share."""

from dataclasses import dataclass

import numpy as np
import pytest
import scipy.special
from host import host
from PIL import Image
from test_cli import fails, succeeds

from tinygan import check_grads, check_training_step, data, grad, nn, ops, train
from tinygan.autograd import GradientError, wrap
from tinygan.backend import asarray
from tinygan.errors import InputError
from tinygan.models import Recipe, Settings, dcgan, infogan
from tinygan.settings import setting
from tinygan.training import recipes
from tinygan.training.algorithm import Algorithm
from tinygan.training.objectives import Objectives
from tinygan.training.sampling import generate, label_count, latents, load_generator

SMALL = {"g_channels": 2, "d_channels": 2, "hidden": 6, "q_hidden": 4, "batch_size": 8}


@pytest.fixture(scope="module")
def digits():
    return data.load("digits").subset(slice(100))


def draws(*shape, seed=0, dtype=np.float32):
    return asarray(np.random.default_rng(seed).standard_normal(shape).astype(dtype))


def pair(latent=14, categories=3, continuous=2, channels=2):
    G = infogan.Generator(latent, categories, continuous, 8, 1, channels, 6, rng=0)
    D = infogan.Discriminator(categories, continuous, 8, 1, channels, 6, 4, rng=1)
    return G, D


# The codes


def test_the_codes_are_the_last_numbers_of_the_latents():
    G, _ = pair()
    z = np.zeros((3, 14), np.float32)
    z[:, 9:12] = [[0.1, 0.3, 0.2], [-1.0, -3.0, -2.0], [5.0, 5.0, 6.0]]
    z[:, 12:] = [[1, -2], [3, -4], [5, -6]]
    categories, continuous = G.codes(wrap(asarray(z)))
    assert host(categories).tolist() == [1, 0, 2]
    expected = 2 * scipy.special.ndtr(z[:, 12:].astype("float64")) - 1
    np.testing.assert_allclose(host(continuous), expected, atol=1e-6)


def test_G_sees_which_number_is_the_largest_and_nothing_else_of_them():
    G, _ = pair()
    G.eval()
    z = draws(5, 14)
    other, third = z.copy(), z.copy()
    other[:, 9:12] = 3.0 * z[:, 9:12] + 1.0
    third[:, 9:12] = -z[:, 9:12]
    images = [host(G(wrap(x))) for x in (z, other, third)]
    assert np.array_equal(images[0], images[1]) and not np.array_equal(images[0], images[2])


def test_every_category_is_as_likely():
    G = infogan.Generator(rng=0, channels=1, hidden=1)
    categories = host(G.codes(wrap(draws(20_000, G.latent)))[0])
    counts = np.bincount(categories, minlength=10)
    assert np.abs(counts - 2000).max() < 5 * 2000**0.5


def test_latents_that_cannot_hold_the_codes_are_refused():
    with pytest.raises(InputError, match="^setting latent=11: .*: set latent=12 or more$"):
        infogan.Generator(11, rng=0)
    infogan.Generator(12, channels=1, hidden=1, rng=0)


def test_labels_choose_the_category_and_nothing_else():
    G, _ = pair()
    G.eval()
    z, labels = draws(3, 14), np.array([2, 0, 2])
    of_category = z.copy()
    of_category[:, 9:12] = asarray(9.0 * np.eye(3, dtype="float32")[labels])
    expected = host(G(wrap(of_category)))
    for given in labels, asarray(labels):
        assert np.array_equal(host(G(wrap(z), given)), expected)
    mixture = asarray(np.eye(3, dtype="float32")[[2, 0, 2]])
    np.testing.assert_allclose(host(G(wrap(z), mixture)), expected, atol=1e-6)
    with pytest.raises(ValueError, match="takes a label for each of 3 samples"):
        G(wrap(z), labels[:2])


def test_a_user_can_choose_the_category_of_samples(tmp_path, capsys):
    """Also in grids, which have a row for each category."""
    small = {**SMALL, "categories": 4, "latent": 8}
    run = train("infogan", "digits", out=tmp_path / "run", steps=2, sample_every=2, **small)
    capsys.readouterr()
    images = run.sample(3, label=2)
    G, _, _ = load_generator(run.folder)
    z = latents(np.random.default_rng(0), 3, G)
    assert np.array_equal(images, generate(G, z, np.array([2, 2, 2])))
    with Image.open(run.folder / "samples" / "step-00000002.png") as grid:
        assert grid.width > 1.9 * grid.height  # 4 rows, 8 columns
    assert "--label 4: the categories are 0 to 3" in fails(
        capsys, "sample", run.folder, "--label", 4, "-o", tmp_path / "a.png"
    )
    walk = "--walk", "classes", "-n", 2, "-o", tmp_path / "a.gif"
    succeeds("sample", run.folder, *walk)
    assert (tmp_path / "a.gif").stat().st_size > 100


def test_only_a_G_that_says_so_takes_labels_without_classes():
    G = nn.Linear(2, 2, rng=0)
    G.classes, G.categories = None, ("a", "b")  # a name that anyone may use
    assert label_count(G) is None and label_count(pair()[0]) == 3


# The losses


def test_the_losses_are_those_of_the_paper():
    """-log Q(c | x): a cross-entropy, and that of a normal distribution without its constant."""
    G, _ = pair()
    z, output = draws(6, 14), draws(6, 5, seed=1)
    logits, means = host(output)[:, :3].astype(float), host(output)[:, 3:].astype(float)
    codes = 2 * scipy.special.ndtr(host(z)[:, 12:].astype(float)) - 1
    picked = host(z)[:, 9:12].argmax(1)
    log_q = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    expected = -log_q[np.arange(6), picked].mean()
    assert infogan.category_loss(G, wrap(z), wrap(output)).item() == pytest.approx(expected, 1e-5)
    normal = 0.5 * (codes - means) ** 2 + 0.5 * np.log(2 * np.pi)
    expected = normal.sum(1).mean() - np.log(2 * np.pi)  # two codes
    value = infogan.continuous_loss(G, wrap(z), wrap(output)).item()
    assert value == pytest.approx(expected, 1e-5)


@pytest.mark.parametrize("loss", [infogan.category_loss, infogan.continuous_loss])
def test_the_gradients_of_the_losses_are_right(loss):
    """With respect to Q's output, and through D and G to the continuous codes."""
    G, D = (network.astype("float64").eval() for network in pair())
    z = draws(4, 14, dtype=np.float64)
    check_grads(lambda output: loss(G, wrap(z), output), draws(4, 5, seed=1, dtype=np.float64))
    rest = wrap(z[:, :12])

    def of_codes(codes):
        whole = ops.concatenate([rest, codes], axis=1)
        return loss(G, whole, D(G(whole))[1])

    check_grads(of_codes, z[:, 12:], order=2)


def algorithm(digits, recipe="infogan", **settings):
    entry = recipes.find(recipe) if isinstance(recipe, str) else recipe
    return Algorithm(entry, entry.settings().updated({**SMALL, **settings}), digits, seed=3)


def test_the_head_learns_in_Ds_step_and_G_from_the_head(digits):
    """Without the shared losses, nothing trains Q, and G's gradient is another."""
    with_losses = algorithm(digits)
    without = algorithm(digits, category_weight=0.0, continuous_weight=0.0)
    found = {}
    for name, a in (("with", with_losses), ("without", without)):
        reals, labels = a.reals(0)
        fakes = a.fakes(labels, for_G=True)
        d_loss, _ = a.objectives.d_loss(reals, None, fakes.images, None, fakes.z)
        g_loss, numbers = a.objectives.g_loss(
            reals, None, fakes.differentiable_images(), None, fakes.z
        )
        found[name] = grad(d_loss, a.D.Q.parameters()), grad(g_loss, a.G.parameters())
        assert {"g_category_loss", "g_continuous_loss"} <= numbers.keys()
    assert all(np.abs(host(g)).max() > 0 for g in found["with"][0])
    assert all(g is None or not host(g).any() for g in found["without"][0])
    assert not np.array_equal(host(found["with"][1][0]), host(found["without"][1][0]))


def test_a_step_logs_the_losses(digits):
    numbers = algorithm(digits).train_step()
    for which in "dg":
        assert abs(float(numbers[f"{which}_category_loss"]) - np.log(10)) < 0.5
        assert 0.5 < float(numbers[f"{which}_continuous_loss"]) < 2


@pytest.mark.slow
def test_a_step_minimises_the_weighted_sum_of_what_it_logs(digits):
    report = check_training_step(
        "infogan", digits, pad=0, **SMALL, category_weight="linear:2:1", continuous_weight=0.3
    )
    assert len(report) == 2


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["d", "g"])
def test_a_shared_loss_without_its_gradient_is_noticed(digits, monkeypatch, lost):
    method = Objectives.with_shared_losses

    def detached(self, loss, numbers, which, z, output):
        return method(self, loss, numbers, which, z, output.detach() if which == lost else output)

    monkeypatch.setattr(Objectives, "with_shared_losses", detached)
    with pytest.raises(GradientError, match=f"infogan: {lost.upper()}'s loss"):
        check_training_step("infogan", digits, pad=0, **SMALL)


# A recipe of one's own


class Own(nn.Module):
    """A D without batch-norm that also returns its features, which are to tell the first latent."""

    def __init__(self, rng):
        self.D = dcgan.Discriminator(28, 1, (2, 4), "none", rng=rng)
        self.image_shape = self.D.image_shape
        self.guess = nn.Linear(7 * 7 * 4, 1, rng=rng)

    def forward(self, x):
        features = self.D.features(x)
        return self.D.score(features), self.guess(features.reshape(len(x), -1))


@dataclass
class OwnSettings(Settings):
    first_weight: float = setting(
        1.0, "weight of the loss of the first latent", 0, group="loss", scheduled=True
    )


def first_loss(G, z, output):
    return ops.mse_loss(output.reshape(-1), z[:, 0])


def own(shared_losses, D=Own, kind=OwnSettings, **choices):
    def networks(s, sizes, rng):
        return dcgan.Generator(sizes.latent, 28, 1, (4, 2), sizes.g_classes, rng=rng), D(rng)

    return Recipe("mine", "", kind, networks, {"latent": 5}, shared_losses=shared_losses, **choices)


def test_latents_stay_beside_their_images(digits):
    """In micro-batches, and where reals and fakes are scored in one pass: the numbers are those of
    the whole batch."""
    found, fakes = [], None
    for micro_batch in (0, 2):
        recipe = own({"first": first_loss})
        settings = recipe.settings().updated({"batch_size": 8, "micro_batch": micro_batch})
        a = Algorithm(recipe, settings, digits, seed=3)
        assert not a.objectives.two_passes
        reals, labels = a.reals(0)
        fakes = fakes or a.fakes(labels, for_G=False)
        gradients, numbers = a.execution.gradients(
            "D", a.D, a.objectives.d_loss, reals, None, fakes.images, None, fakes.z
        )
        found.append((float(numbers["d_first_loss"]), [host(g) for g in gradients]))
        output = a.D(fakes.images)[1]
        assert found[-1][0] == pytest.approx(first_loss(a.G, fakes.z, output).item(), rel=1e-4)
    for one, other in zip(*(gradients for _, gradients in found)):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-6)


def test_a_shared_loss_of_ones_own_trains(digits):
    """The head learns to tell the first latent of an image, and G to show it."""
    recipe = own({"first": first_loss})
    changes = {"batch_size": 16, "lr": 5e-3, "first_weight": "linear:5:10"}
    a = Algorithm(recipe, recipe.settings().updated(changes), digits, seed=0)
    losses = [float(a.train_step()["g_first_loss"]) for _ in range(60)]
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])


class Lonely(Own):
    def forward(self, x):
        return super().forward(x)[0]


class Triple(Own):
    def forward(self, x):
        logits, output = super().forward(x)
        return logits, output, output


class Flat(Own):
    def forward(self, x):
        logits, output = super().forward(x)
        return logits, ops.mean(output)


FIRST = {"first": first_loss}
MISTAKES = [
    (own({}), {}, r"^from 2 images, D returns a Tensor \(2, 1\) beside its logits, which no loss"),
    (own(FIRST, Lonely), {}, r"D returns nothing beside its logits: for the shared losses \(first"),
    (own(FIRST, Triple), {}, r"\(2, 1\) and a Tensor \(2, 1\) beside its logits: .* must return a"),
    (own(FIRST, Flat), {}, r"a Tensor \(\) beside its logits: .* output is a Tensor \(2, ...\)"),
    (own(FIRST, kind=Settings), {}, "no setting for its weight: write first_weight: float = set"),
    (own({"first": lambda G, z, output: output}), {}, r"loss first returns a Tensor \(2, 1\): it"),
    (own({"first": lambda G, z, output: 1.0}), {}, "the shared loss first returns 1.0: it must"),
    (
        own({"first": lambda G, z, output: ops.sum(output - 1)}),
        {},
        "must be a mean over the images",
    ),
    (
        own({"first": lambda G, z, output: ops.mse_loss(output.detach(), z[:, :1])}),
        {},
        "does not depend on D's out",
    ),
    (own({"class": first_loss}), {}, "class_weight is a setting of all recipes: choose another"),
    (own(FIRST), {"pack": 2}, "need an output for each image: set pack=1"),
    (
        own(FIRST),
        {"g_class": "concat", "d_class": "auxiliary"},
        "^settings g_class=concat d_class=auxiliary: the shared losses of mine .first. need G and",
    ),
    (
        own(FIRST, g_class_choices=("none", "cbn")),
        {"g_class": "cbn", "d_class": "projection"},
        "need G and the second output of D, which these settings replace",
    ),
]


@pytest.mark.parametrize("recipe, changes, message", MISTAKES, ids=[m[2][-40:] for m in MISTAKES])
def test_what_a_shared_loss_lacks_is_said(recipe, changes, message):
    with pytest.raises(InputError, match=message):
        recipe.build(recipe.settings().updated(changes), (28, 28, 1), 10, rng=0)


def test_class_settings_are_refused():
    entry = recipes.find("infogan")
    settings = entry.settings().updated({"g_class": "concat", "d_class": "projection"})
    with pytest.raises(InputError, match="the recipe infogan has no classes: leave it out"):
        entry.build(settings, (28, 28, 1), 10, rng=0)
