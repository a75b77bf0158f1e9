"""BigGAN: large batches in parts, orthogonal weights, standing statistics, truncated latents, and
mixtures of classes."""

import copy
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from host import host
from scipy import stats

from tinygan import Tensor, check_grads, data, grad, nn, tensor
from tinygan.backend import asarray
from tinygan.errors import InputError
from tinygan.gan import conditioning, penalties
from tinygan.models import biggan, dcgan
from tinygan.models.recipe import Recipe
from tinygan.training import recipes, sampling
from tinygan.training.algorithm import Algorithm
from tinygan.training.ema import EMA
from tinygan.training.trainer import Trainer

SMALL = {"g_channels": 8, "d_channels": 8, "latent": 16, "embedding": 4, "batch_size": 32}


@pytest.fixture(scope="module")
def digits():
    full = data.load("digits")
    return data.Dataset(
        "digits", "train", full.images[:600], full.labels[:600], full.class_names
    ).padded(2)


def updates(digits, recipe="dcgan", **changes):
    recipe = recipes.find(recipe)
    return Algorithm(recipe, recipe.settings().updated(changes), digits)


# Gradient accumulation


def batch(digits):
    """32 reals, in float64, and their labels, on the backend in use."""
    reals, labels = digits.batch(0, 32, 0)
    return asarray(reals.astype("float64")), asarray(labels)


def accumulated(digits, micro_batch, **changes):
    """The gradients of D and G for one batch of 32, and the numbers to log, in float64."""
    small = {"g_channels": 4, "d_channels": 4, "latent": 8}
    u = updates(digits, batch_size=32, micro_batch=micro_batch, **small, **changes)
    u.G.astype("float64"), u.D.astype("float64")
    rng = np.random.default_rng(0)
    z, (reals, real_labels) = tensor(rng.standard_normal((32, u.settings.latent))), batch(digits)
    labels = asarray(rng.integers(10, size=32)) if u.objectives.uses_classes else None
    fakes = u.execution.fakes(z, labels, for_G=True)
    d, d_numbers = u.execution.gradients(
        "D", u.D, u.objectives.d_loss, reals, real_labels, fakes.images, labels
    )
    g, g_numbers = u.execution.gradients(
        "G", u.G, u.objectives.g_loss, reals, real_labels, fakes, labels
    )
    numbers = {name: float(value) for name, value in (d_numbers | g_numbers).items()}
    return [host(x) for x in (*d, *g)], numbers


def difference(a, b):
    return max(np.abs(x - y).max() for x, y in zip(a, b)) / max(np.abs(x).max() for x in a)


def remove_batch_norm(network):
    """Remove the layers that let an image influence the others of its batch."""
    for _, module in network.modules():
        if isinstance(module, nn.Sequential):
            module.layers = [
                layer for layer in module.layers if not isinstance(layer, nn.BatchNorm)
            ]


@pytest.fixture
def without_batch_norm(monkeypatch):
    """Build all networks without batch-norm, G's included."""
    build = Recipe.build

    def build_without(*args):
        networks = build(*args)
        for network in networks:
            remove_batch_norm(network)
        return networks

    monkeypatch.setattr(Recipe, "build", build_without)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"loss": "relativistic"},
        {"d_norm": "spectral", "loss": "hinge"},
        {"r1": 1.0},
        {"loss": "wasserstein", "gp": 10.0, "drift": 0.01},
        {"g_class": "concat", "d_class": "projection", "ortho": 0.1},
        {"g_class": "concat", "d_class": "auxiliary"},
    ],
)
@pytest.mark.parametrize("micro_batch", [8, 12])  # 12: the last part is smaller
def test_the_accumulated_gradient_is_that_of_the_whole_batch(
    digits, without_batch_norm, changes, micro_batch
):
    (whole, numbers), (parts, numbers_of_parts) = (
        accumulated(digits, m, **{"d_norm": "none", **changes}) for m in (0, micro_batch)
    )
    assert difference(whole, parts) < 1e-12
    assert numbers_of_parts == pytest.approx(numbers, rel=1e-10)


def test_with_batch_norm_the_accumulated_gradient_differs(digits):
    """Each part has its own mean and variance: the gradients differ by far more than rounding."""
    whole, parts = (accumulated(digits, m)[0] for m in (0, 8))
    assert 1e-3 < difference(whole, parts) < 10


def test_biggans_d_takes_one_power_step_for_all_parts(digits):
    rng, results = np.random.default_rng(0), []
    fakes, labels = tensor(rng.uniform(-1, 1, (32, 32, 32, 1))), asarray(rng.integers(10, size=32))
    reals, real_labels = batch(digits)
    for micro_batch in (0, 8):
        u = updates(digits, "biggan", **SMALL, micro_batch=micro_batch)
        u.D.astype("float64")
        gradients, _ = u.execution.gradients(
            "D", u.D, u.objectives.d_loss, reals, real_labels, fakes, labels
        )
        results.append(([host(g) for g in gradients], [host(b) for b in u.D.buffers()]))
    (whole, buffers), (parts, others) = results
    assert difference(whole, parts) < 1e-12
    assert all(np.allclose(a, b, atol=1e-12) for a, b in zip(buffers, others))


@pytest.mark.parametrize(
    "changes", [{"r1": 1.0}, {"r1": 1.0, "penalty_every": 2}, {"d_norm": "spectral"}]
)
def test_a_training_step_in_parts_has_the_same_gradients(
    digits, without_batch_norm, changes, monkeypatch
):
    # Arrays cannot be read while a step is recorded.
    monkeypatch.setattr("tinygan.recorded.enabled", False)
    settings = {"batch_size": 32, "g_channels": 4, "d_channels": 4, "lr": 1e-6, "d_norm": "none"}
    gradients_of = {0: [], 8: []}
    for micro_batch, gradients in gradients_of.items():
        u = updates(digits, **{**settings, "micro_batch": micro_batch, **changes})
        for optimizer in (u.d_optimizer, u.g_optimizer):
            step = optimizer.step
            optimizer.step = lambda found, step=step: (
                gradients.append([host(g) for g in found if g is not None]),
                step(found),
            )
        for _ in range(2):
            u.train_step()
    assert len(gradients_of[0]) == (5 if "penalty_every" in changes else 4)
    for whole, parts in zip(gradients_of[0], gradients_of[8], strict=True):
        # not closer: rounding in float32 makes the parameters of the two runs differ
        assert difference(whole, parts) < 1e-3


@pytest.mark.cpu
def test_a_large_batch_in_parts_needs_the_memory_of_a_part(digits):
    """NumPy's peak memory in a step, for 32 images, 256 in parts of 32, and 256 at once."""
    peaks = {}
    for batch, micro in ((32, 0), (256, 32), (256, 0)):
        u = updates(
            digits, "quick", g_channels=8, d_channels=8, batch_size=batch, micro_batch=micro
        )
        u.train_step()  # allocates the optimisers' state and the kernels' scratch memory
        tracemalloc.start()
        u.train_step()
        peaks[batch, micro] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peaks[256, 32] < peaks[32, 0] + 3 * 2**20 and peaks[256, 0] > 5 * peaks[32, 0]


# Orthogonal weights


@pytest.mark.parametrize("shape", [(12, 5), (5, 12), (3, 3, 2, 7)])
def test_orthogonal_weights(shape):
    w = nn.init.orthogonal(np.random.default_rng(0), shape).reshape(-1, shape[-1]).astype("float64")
    gram = w.T @ w if len(w) >= w.shape[1] else w @ w.T
    assert np.allclose(gram, np.eye(len(gram)), atol=1e-6)


def test_orthogonal_weights_are_uniform():
    """Each entry of a uniform orthogonal 2x2 matrix is the sine of a uniform angle."""
    first = [nn.init.orthogonal(np.random.default_rng(i), (2, 2))[0, 0] for i in range(400)]
    assert stats.kstest(np.arcsin(first) / np.pi + 0.5, "uniform").pvalue > 1e-3


def test_orthogonal_regularisation():
    """By hand, for a 2x2 weight."""
    w = np.array([[1.0, 2.0], [3.0, 4.0]])
    layer = nn.Linear(2, 2)
    layer.weight.assign(w)
    # two entries off the diagonal, each half of 14^2
    assert penalties.orthogonal(layer).item() == pytest.approx((1 * 2 + 3 * 4) ** 2)
    assert penalties.orthogonal(nn.Sequential(nn.BatchNorm(3))) == 0.0
    table = nn.Embedding(2, 2)
    table.weight.assign(w)
    # the products of its rows
    for network in (table, nn.SpectralNorm(table), nn.Sequential(nn.BatchNorm(3), table)):
        assert penalties.orthogonal(network).item() == pytest.approx((1 * 3 + 2 * 4) ** 2)
    nets = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ConvTranspose2d(3, 2, 3)).astype("float64")
    check_grads(
        lambda a, b: penalties.orthogonal(with_weights(nets, a, b)),
        [nets[0].weight.data, nets[1].weight.data],
    )


def test_orthogonal_regularisation_covers_all_weights_but_the_class_embedding_beside_z():
    """As BigGAN's authors do: all Parameters with two axes or more, except G's shared embedding."""
    make = np.random.default_rng
    cases = [
        (dcgan.Generator(classes=3, rng=0), []),  # embeddings in conditional batch-norm
        (dcgan.Discriminator(rng=0), []),
        (biggan.Generator(rng=0), ["embedding.weight"]),
        (conditioning.ConcatLatent(dcgan.Generator(rng=0), 3, 4, rng=0), ["embedding.weight"]),
        (conditioning.Projection(dcgan.Discriminator(rng=0), 3, rng=0), []),
        (conditioning.ConcatImage(dcgan.Discriminator(28, 2, rng=0), 3, (28, 28), rng=0), []),
    ]
    for network, left_out in cases:
        for parameter in network.parameters():
            parameter.assign(make(0).standard_normal(parameter.shape))
        gradients = grad(penalties.orthogonal(network), network.parameters())
        for (path, parameter), g in zip(network.named_parameters(), gradients):
            assert (g is not None) == (parameter.ndim > 1 and path not in left_out), path


def with_weights(network, a, b):
    network = copy.copy(network)
    network.layers = [copy.copy(layer) for layer in network.layers]
    for layer, weight in zip(network, (a, b)):  # Tensors, which a layer does not accept
        object.__setattr__(layer, "weight", weight)
    return network


# Standing statistics and the average of G


def test_standing_statistics_are_those_of_the_batches():
    G = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm(4)).eval()
    G.latent, G.classes = 3, None
    G.forward = lambda z: nn.Sequential.forward(G, z).reshape(-1, 2, 2, 1)
    sampling.standing_statistics(G, np.random.default_rng(0), 3)
    rng = np.random.default_rng(0)
    batches = [host(G[0](tensor(rng.standard_normal((64, 3), dtype=np.float32)))) for _ in range(3)]
    means, variances = [b.mean(0) for b in batches], [b.var(0, ddof=1) for b in batches]
    assert np.allclose(host(G[1].running_mean), np.mean(means, 0), atol=1e-6)
    assert np.allclose(host(G[1].running_var), np.mean(variances, 0), rtol=1e-5)
    assert not G[1].training and G[1].momentum == 0.1


def test_with_concat_the_class_reaches_the_first_layer(digits):
    u = updates(digits, "biggan", **SMALL, g_class="concat", d_class="projection")
    with nn.feature_maps(u.G) as maps:
        u.G(asarray(np.zeros((2, u.G.latent), np.float32)), np.array([0, 1]))
    first = host(maps["G.unflatten"])
    assert first.shape[1:3] == (4, 4) and np.abs(first[0] - first[1]).max() > 0


@pytest.mark.slow
def test_standing_statistics_do_not_change_training(tmp_path, digits):
    runs = []
    for standing, every in ((0, 100), (2, 2)):
        recipe, out = recipes.find("biggan"), tmp_path / str(standing)
        short = {**SMALL, "batch_size": 8, "steps": 5, "pad": 0}
        s = recipe.settings().updated({**short, "standing": standing, "sample_every": every})
        trainer = Trainer.start(recipe, s, digits, out)
        trainer.run(progress=False)
        runs.append((trainer, (out / "log.jsonl").read_text()))
    (a, log_a), (b, log_b) = runs
    assert log_a == log_b
    for part in ("G", "D", "g_optimizer", "d_optimizer"):
        states = [getattr(trainer.algorithm, part).state_dict() for trainer in (a, b)]
        assert all(np.array_equal(states[0][key], states[1][key]) for key in states[0])
    ema_a, ema_b = (trainer.algorithm.ema.module.state_dict() for trainer in (a, b))
    different = [key for key in ema_a if not np.array_equal(ema_a[key], ema_b[key])]
    assert {key.rsplit(".", 1)[-1] for key in different} == {"running_mean", "running_var"}


def test_the_average_can_begin_later():
    layer = nn.Linear(2, 2)
    ema = EMA(layer, 0.5, start=3)
    for step in range(3):
        layer.weight.assign(np.full((2, 2), float(step)))
        ema.update(layer)
        assert np.array_equal(host(ema.module.weight), host(layer.weight))
    layer.weight.assign(np.full((2, 2), 12.0))
    ema.update(layer)
    decay = min(0.5, 4 / 13)
    assert np.allclose(host(ema.module.weight), decay * 2 + (1 - decay) * 12)


# The truncation trick


@pytest.mark.parametrize("threshold", [0.1, 0.5, 2.0])
def test_truncated_latents_are_a_truncated_normal(threshold):
    """They are drawn again, not clipped: no mass is at the ends, and SciPy has the distribution."""
    G = SimpleNamespace(latent=50)
    z = sampling.latents(np.random.default_rng(0), 200, G, threshold).numpy().ravel()
    assert np.abs(z).max() <= threshold and len(np.unique(z)) > 0.9 * len(z)
    assert stats.kstest(z, stats.truncnorm(-threshold, threshold).cdf).pvalue > 1e-3


def test_without_a_threshold_latents_are_the_generators_draws():
    z = sampling.latents(np.random.default_rng(0), 5, SimpleNamespace(latent=7)).numpy()
    assert np.array_equal(z, np.random.default_rng(0).standard_normal((5, 7), dtype=np.float32))
    far = sampling.latents(np.random.default_rng(0), 5, SimpleNamespace(latent=7), 10.0).numpy()
    assert np.array_equal(z, far)


# Mixtures of classes


def test_an_embedding_of_mixtures():
    layer = nn.Embedding(4, 3)
    mixture = np.array([[0.25, 0, 0.75, 0], [0, 1, 0, 0]], np.float32)
    mixed = host(layer(asarray(mixture)))
    assert np.allclose(mixed, mixture @ host(layer.weight))
    assert np.allclose(mixed[1], host(layer(np.array([1])))[0])


def test_every_conditional_g_accepts_mixtures(digits):
    one_hot = np.eye(10, dtype=np.float32)[[3, 7]]
    for recipe in ("cgan", "projection", "biggan"):
        u = updates(digits, recipe)
        u.G.eval()
        z = u.latents(2)
        images = [sampling.generate(u.G, z, labels) for labels in (one_hot, np.array([3, 7]))]
        assert np.array_equal(*images), recipe


# The recipe


def test_z_enters_in_parts():
    """The output of the first block does not depend on the parts of z for later blocks."""
    G = biggan.Generator(16, 10, 1, (8, 8, 8, 8), 4, rng=np.random.default_rng(0)).eval()
    z = np.random.default_rng(1).standard_normal((1, 16), dtype=np.float32)
    outputs, forward = [], G.blocks[0].forward
    G.blocks[0].forward = lambda *args: outputs.append(forward(*args)) or outputs[-1]
    for part in range(4):
        changed = z.copy()
        changed[:, 4 * part : 4 * part + 4] += 1
        G(tensor(changed), np.array([2]))
    G(tensor(z), np.array([2]))
    unchanged = [np.array_equal(host(x), host(outputs[-1])) for x in outputs[:4]]
    assert unchanged == [False, False, True, True]


def test_without_classes_the_condition_of_the_blocks_is_z_alone(digits):
    u = updates(digits, "biggan", **SMALL, g_class="none", d_class="none")
    assert not any("embedding" in name for name, _ in u.G.named_parameters())
    u.train_step()
    u = updates(digits, "biggan", **SMALL, g_class="concat", d_class="concat")
    u.train_step()
    assert u.G.latent == 16 and u.G.G.latent == 20


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"latent": 18}, "latent=18 .* cannot be split into 4 equal parts"),
        ({"g_channels": 12}, "divides the channels by 8"),
        ({"batch_size": 601}, "more than the 600"),
        ({"attention": 12}, "attention=12: choose .*here 0, 8, 16"),
        ({"micro_batch": 31}, "makes a part of one image"),
    ],
)
def test_mistakes(digits, changes, message):
    with pytest.raises(InputError, match=message):
        updates(digits, "biggan", **{**SMALL, **changes})


def test_the_attention_layers(digits):
    for size, expected in ((16, 2), (8, 2), (0, 0)):
        u = updates(digits, "biggan", **{**SMALL, "attention": size})
        modules = [module for network in (u.G, u.D) for _, module in network.modules()]
        assert sum(isinstance(module, nn.SelfAttention) for module in modules) == expected


def test_the_class_embedding_of_d_is_spectrally_normalised(digits):
    u = updates(digits, "biggan", **SMALL)
    assert isinstance(u.D.embedding, nn.SpectralNorm) and u.D.embedding.step_in_evaluation
    logits, _ = u.objectives.logits(Tensor(digits.batch(0, 4, 0)[0]), np.arange(4))
    assert grad(logits.sum(), u.D.embedding.layer.weight) is not None
