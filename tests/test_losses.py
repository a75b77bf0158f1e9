"""Tests of losses, penalties, spectral normalisation and conditioning: their values, gradients and
purposes."""

import numpy as np
import pytest
from host import host

from tinygan import Parameter, check_grads, grad, nn, ops, tensor
from tinygan.backend import asarray
from tinygan.errors import InputError
from tinygan.gan import conditioning, losses, penalties
from tinygan.models import dcgan, gan

REAL, FAKE = np.array([2.0, -0.5, 0.3]), np.array([0.7, -1.6, 1.1])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


# name: (D's loss, G's loss), written as in the papers
EXPECTED = {
    "bce": (
        lambda r, f: -np.log(sigmoid(r)).mean() - np.log(1 - sigmoid(f)).mean(),
        lambda r, f: -np.log(sigmoid(f)).mean(),
    ),
    "bce-minimax": (
        lambda r, f: -np.log(sigmoid(r)).mean() - np.log(1 - sigmoid(f)).mean(),
        lambda r, f: np.log(1 - sigmoid(f)).mean(),
    ),
    "l2": (
        lambda r, f: ((r - 1) ** 2).mean() / 2 + (f**2).mean() / 2,
        lambda r, f: ((f - 1) ** 2).mean() / 2,
    ),
    "l1": (lambda r, f: np.abs(r - 1).mean() + np.abs(f).mean(), lambda r, f: np.abs(f - 1).mean()),
    "l2-sigmoid": (
        lambda r, f: ((sigmoid(r) - 1) ** 2).mean() / 2 + (sigmoid(f) ** 2).mean() / 2,
        lambda r, f: ((sigmoid(f) - 1) ** 2).mean() / 2,
    ),
    "l1-sigmoid": (
        lambda r, f: (1 - sigmoid(r)).mean() + sigmoid(f).mean(),
        lambda r, f: (1 - sigmoid(f)).mean(),
    ),
    "hinge": (
        lambda r, f: -np.minimum(0, r - 1).mean() - np.minimum(0, -1 - f).mean(),
        lambda r, f: -f.mean(),
    ),
    "wasserstein": (lambda r, f: -(r.mean() - f.mean()), lambda r, f: -f.mean()),
    "relativistic": (
        lambda r, f: -np.log(sigmoid(r - f)).mean(),
        lambda r, f: -np.log(sigmoid(f - r)).mean(),
    ),
}


@pytest.mark.parametrize("name", losses.LOSSES)
def test_a_loss_is_that_of_its_paper_and_averages_over_patches(name):
    loss = losses.find(name)
    for shape in ((3,), (3, 1, 1)):
        real, fake = (tensor(x.reshape(shape)) for x in (REAL, FAKE))
        ours = (
            loss.discriminator(real, fake).item(),
            loss.generator(real if loss.paired else None, fake).item(),
        )
        np.testing.assert_allclose(ours, [f(REAL, FAKE) for f in EXPECTED[name]], rtol=1e-12)
    grids = [tensor(np.stack([x, x[::-1]], 1).reshape(3, 2, 1)) for x in (REAL, FAKE)]
    real, fake = (np.stack([x, x[::-1]], 1) for x in (REAL, FAKE))
    ours = loss.discriminator(*grids).item(), loss.generator(*grids).item()
    np.testing.assert_allclose(ours, [f(real, fake) for f in EXPECTED[name]], rtol=1e-12)
    check_grads(loss.discriminator, [REAL, FAKE])
    if loss.paired:
        check_grads(loss.generator, [REAL, FAKE])
    else:
        check_grads(lambda f: loss.generator(None, f), [FAKE])


@pytest.mark.parametrize("name", losses.LOSSES)
def test_both_losses_have_the_right_gradients_and_never_overflow(name):
    loss = losses.find(name)
    real, fake = (tensor(np.full(2, x), requires_grad=True) for x in (0.2, 0.4))
    d_real, d_fake = grad(loss.discriminator(real, fake), [real, fake])
    assert (d_real.data < 0).all() and (d_fake.data > 0).all()  # D: reals up, fakes down
    assert (grad(loss.generator(real, fake), fake).data < 0).all()  # G: fakes up
    for far in (-1e4, 1e4):
        wide = tensor(np.full(2, far, np.float32), requires_grad=True)
        for value in (loss.discriminator(wide, -wide), loss.generator(wide, -wide)):
            assert np.isfinite(value.item()) and np.isfinite(grad(value, wide).numpy()).all()


def test_minimax_and_non_saturating_differ_where_d_is_sure():
    """Goodfellow et al. 2014, section 3: log(1 - s) saturates at fakes that D rejects with
    confidence."""
    gradients = {}
    for name in ("bce", "bce-minimax"):
        fake = tensor(np.array([-10.0]), requires_grad=True)
        gradients[name] = abs(grad(losses.find(name).generator(None, fake), fake).item())
    assert gradients["bce"] > 0.999 and gradients["bce-minimax"] < 1e-4


def test_the_error_for_an_unknown_loss_lists_all_losses():
    with pytest.raises(InputError, match="unknown loss 'mse'.*choose from bce, bce-minimax, "):
        losses.find("mse")


# Penalties


class Quadratic(nn.Module):
    """D(x) = a |x|^2 / 2 + b . x, whose gradient at x is a x + b. With patches > 1, D returns
    several logits with this mean."""

    def __init__(self, patches=1):
        self.a, self.b = Parameter(np.float64(0.7)), Parameter(np.linspace(-1, 1, 6))
        self.patches = patches

    def forward(self, x):
        x = x.reshape(-1, 6)
        logits = 0.5 * self.a * (x * x).sum(1) + (x * self.b).sum(1)
        if self.patches == 1:
            return logits
        factors = [2.0 * i / (self.patches - 1) for i in range(self.patches)]  # with mean 1
        return ops.stack([logits * factor for factor in factors], 1)


@pytest.mark.parametrize("patches", [1, 3])
def test_a_penalty_can_use_the_logits_of_the_loss(patches):
    """Then D is called once for both; the loss and its gradients are the same."""
    D, reals = Quadratic(patches), asarray(np.random.default_rng(0).normal(size=(4, 2, 3, 1)))
    expected = ops.mean(D(tensor(reals))) + penalties.r1(D, reals)
    images = tensor(reals, requires_grad=True)
    logits = D(images)
    loss = ops.mean(logits) + penalties.r1(lambda _: logits, images)
    np.testing.assert_allclose(host(loss), host(expected), rtol=1e-12)
    for got, wanted in zip(*(grad(value, D.parameters()) for value in (loss, expected))):
        np.testing.assert_allclose(host(got), host(wanted), rtol=1e-12)


@pytest.mark.parametrize("patches", [1, 3])
def test_penalties_of_a_d_with_a_known_gradient(patches):
    rng = np.random.default_rng(0)
    D, (reals, fakes) = Quadratic(patches), rng.normal(size=(2, 4, 2, 3, 1))
    device_reals, device_fakes = asarray(reals), asarray(fakes)

    def gradient(x):
        return 0.7 * x.reshape(4, 6) + np.linspace(-1, 1, 6)

    np.testing.assert_allclose(
        host(penalties.image_gradients(D, device_reals)).reshape(4, 6), gradient(reals), rtol=1e-12
    )
    np.testing.assert_allclose(
        penalties.r1(D, device_reals).item(), 0.5 * (gradient(reals) ** 2).sum(1).mean()
    )
    np.testing.assert_allclose(
        penalties.r2(D, device_fakes).item(), 0.5 * (gradient(fakes) ** 2).sum(1).mean()
    )
    t = np.random.default_rng(5).random((4, 1, 1, 1))
    between = gradient(reals + t * (fakes - reals))
    np.testing.assert_allclose(
        penalties.wgan_gp(D, device_reals, device_fakes, np.random.default_rng(5)).item(),
        ((np.linalg.norm(between, axis=1) - 1) ** 2).mean(),
    )
    # The gradient of R1: d/da 1/2 mean |a x + b|^2 = mean x . (a x + b), d/db = mean (a x + b).
    d_a, d_b = grad(penalties.r1(D, device_reals), D.parameters())
    np.testing.assert_allclose(d_a.item(), (reals.reshape(4, 6) * gradient(reals)).sum(1).mean())
    np.testing.assert_allclose(host(d_b), gradient(reals).mean(0))


@pytest.mark.parametrize("norm", ["none", "spectral"])
def test_the_gradient_of_a_penalty_through_a_convolutional_d(norm):
    D = (
        dcgan.Discriminator(8, 1, (2, 3), norm, rng=np.random.default_rng(0))
        .astype("float64")
        .eval()
    )
    for parameter in D.parameters():  # with DCGAN's .02, the second derivatives are almost 0
        parameter.assign(np.random.default_rng(1).normal(size=parameter.shape) * 0.3)
    f, parameters = D.as_function("float64")
    images = asarray(np.random.default_rng(2).normal(size=(2, 8, 8, 1)))
    values = [p.data for p in parameters.values()]
    check_grads(lambda *w: penalties.r1(lambda x: f(x, *w), images), values, order=1)
    check_grads(
        lambda *w: penalties.wgan_gp(lambda x: f(x, *w), images, -images, np.random.default_rng(3)),
        values,
        order=1,
    )


def test_weights_are_clipped():
    w = [Parameter(np.array([-3.0, 0.001, 2.0]))]
    penalties.clip_weights(w, 0.01)
    assert w[0].data.tolist() == [-0.01, 0.001, 0.01]


# Spectral normalisation


def test_spectral_norm_finds_the_largest_singular_value():
    rng = np.random.default_rng(0)
    for layer, x in (
        (nn.Linear(6, 4, bias=False, rng=rng), (3, 6)),
        (nn.Conv2d(2, 5, 3, bias=False, rng=rng), (1, 5, 5, 2)),
        (nn.ConvTranspose2d(3, 4, 4, 2, 1, bias=False, rng=rng), (1, 3, 3, 3)),
    ):
        normal = nn.SpectralNorm(layer, rng=rng).astype("float64")
        for _ in range(300):
            normal(tensor(np.ones(x)))
        w = host(layer.weight)
        w = w.swapaxes(2, 3) if isinstance(layer, nn.ConvTranspose2d) else w
        sigma = np.linalg.svd(w.reshape(-1, w.shape[-1]), compute_uv=False)[0]
        np.testing.assert_allclose(
            host(normal(tensor(np.ones(x)))), host(layer(tensor(np.ones(x)))) / sigma, rtol=1e-9
        )


def test_training_makes_one_power_step_and_evaluation_none():
    layer = nn.SpectralNorm(
        nn.Linear(5, 3, rng=np.random.default_rng(0)), rng=np.random.default_rng(1)
    )
    w, u = host(layer.layer.weight), host(layer.u)
    v = w @ u
    v /= np.linalg.norm(v)
    layer(tensor(np.ones((2, 5), "float32")))
    np.testing.assert_allclose(host(layer.v), v, rtol=1e-5)
    np.testing.assert_allclose(host(layer.u), v @ w / np.linalg.norm(v @ w), rtol=1e-5)
    before = layer.u, layer.v
    layer.eval()(tensor(np.ones((2, 5), "float32")))
    assert layer.u is before[0] and layer.v is before[1]
    assert layer.state_dict().keys() == {"layer.weight", "layer.bias", "u", "v"}
    assert [name for name, _ in layer.named_parameters()] == ["layer.weight", "layer.bias"]


def test_each_forward_pass_in_a_graph_keeps_its_own_sigma():
    """D(real) and D(fake) are computed before one gradient: the second power step must not change
    the gradient of the first pass."""
    layer = nn.SpectralNorm(
        nn.Linear(4, 2, rng=np.random.default_rng(0)), rng=np.random.default_rng(1)
    ).astype("float64")
    state, x = layer.state_dict(), tensor(np.ones((1, 4)))
    alone = grad(layer(x).sum(), layer.parameters())
    layer.load_state_dict(state)
    first = layer(x).sum()
    layer(2.0 * x)
    for a, b in zip(alone, grad(first, layer.parameters())):
        assert np.array_equal(host(a), host(b))


# Conditioning


def networks(family="dcgan"):
    rng = np.random.default_rng(0)
    if family == "gan":
        return gan.Generator(7, (8, 8, 1), 5, rng=rng), lambda c=1: gan.Discriminator(
            (8, 8, c), 5, dropout=0, rng=rng
        )
    return dcgan.Generator(7, 8, 1, (4, 2), rng=rng), lambda c=1: dcgan.Discriminator(
        8, c, (2, 4), "none", rng=rng
    )


@pytest.mark.parametrize("family", ["gan", "dcgan"])
def test_the_output_of_conditional_networks_depends_on_the_class(family):
    rng, labels = np.random.default_rng(0), np.array([0, 1, 2])
    G, make_d = networks(family)
    G = conditioning.ConcatLatent(G, 3, 2, rng=rng).eval()
    assert (G.latent, G.classes) == (5, 3)
    z = tensor(np.ones((3, 5), "float32"))
    images = G(z, labels)
    assert images.shape == (3, 8, 8, 1) and np.ptp(host(images), axis=0).max() > 0
    np.testing.assert_allclose(host(G(z, np.array([2, 2, 2])))[0], host(images)[2], atol=1e-6)
    x = tensor(np.ones((3, 8, 8, 1), "float32"))
    for D in (
        conditioning.ConcatImage(make_d(2), 3, (8, 8), rng=rng),
        conditioning.Projection(make_d(), 3, rng=rng),
    ):
        logits = D(x, labels)
        assert logits.shape == (3,) and np.ptp(host(logits)) > 0
        assert all(g is not None for g in grad(logits.sum(), D.parameters()))
    logits, classes = conditioning.AuxiliaryClassifier(make_d(), 3, rng=rng)(x, labels)
    assert logits.shape == (3,) and classes.shape == (3, 3) and np.ptp(host(logits)) == 0


def test_projection_is_a_logit_plus_an_inner_product():
    """Miyato and Koyama 2018, equation 3: psi(phi(x)) + e_y . phi(x), phi summed over positions."""
    _, make_d = networks()
    D = conditioning.Projection(make_d(), 3, rng=np.random.default_rng(0)).astype("float64")
    x, labels = np.random.default_rng(1).normal(size=(4, 8, 8, 1)), np.array([2, 0, 1, 2])
    phi = host(D.D.features(tensor(x))).sum((1, 2))
    expected = host(D.D(tensor(x))) + (host(D.embedding.weight)[labels] * phi).sum(1)
    np.testing.assert_allclose(host(D(tensor(x), labels)), expected, rtol=1e-12)
    patches = conditioning.Projection(
        dcgan.Discriminator(8, 1, (2, 4), "none", True, rng=np.random.default_rng(0)),
        3,
        rng=np.random.default_rng(0),
    )
    assert patches(tensor(x.astype("float32")), labels).shape == (4, 2, 2)


def test_conditional_batch_norm_gives_each_class_its_own_scale_and_shift():
    norm = nn.ConditionalBatchNorm.of_classes(2, 3).astype("float64")
    norm.gain.weight.assign(np.arange(6).reshape(3, 2))
    norm.bias.weight.assign(-np.arange(6).reshape(3, 2))
    x, labels = np.random.default_rng(0).normal(2, 3, (5, 4, 4, 2)), np.array([0, 2, 1, 1, 0])
    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    normalised = (x - mean) / np.sqrt(var + 1e-5)
    table = np.arange(6).reshape(3, 2)[labels][:, None, None]
    np.testing.assert_allclose(
        host(norm(tensor(x), labels)), normalised * (1 + table) - table, rtol=1e-9
    )
    np.testing.assert_allclose(host(norm.running_mean), 0.1 * mean)
    np.testing.assert_allclose(host(norm.running_var), 0.9 + 0.1 * var * 80 / 79)
    norm.eval()
    normalised = (x - host(norm.running_mean)) / np.sqrt(host(norm.running_var) + 1e-5)
    np.testing.assert_allclose(
        host(norm(tensor(x), labels)), normalised * (1 + table) - table, rtol=1e-9
    )


def test_each_logit_of_a_grid_depends_on_a_part_of_the_image():
    D = dcgan.Discriminator(28, 1, (4, 8), "none", True, rng=np.random.default_rng(0))
    x = tensor(
        np.random.default_rng(1).normal(size=(1, 28, 28, 1)).astype("float32"), requires_grad=True
    )
    logits = D(x)
    assert logits.shape == (1, 7, 7)
    # The rows of the image on which the middle logit depends.
    rows = np.flatnonzero(np.abs(host(grad(logits[0, 3, 3], x))[0, :, :, 0]).max(1))
    assert 10 < len(rows) < 24 and rows[0] > 2
