"""Styles in tiny networks: the mapping, noise, the running mean of w, mixing and truncation."""

import numpy as np
import pytest
from host import host

from tinygan import check_grads, nn, tensor
from tinygan.backend import asarray
from tinygan.errors import InputError
from tinygan.models import stylegan


def generator(**settings):
    settings = {"classes": None, "mixing": 0.0, **settings}
    return stylegan.Generator(4, 16, 1, (4, 4, 2), 6, 2, rng=np.random.default_rng(0), **settings)


def latents(n=3, seed=1):
    return tensor(np.random.default_rng(seed).standard_normal((n, 4), dtype=np.float32))


@pytest.mark.parametrize("separate_norms", [False, True])
def test_the_mapping_depends_on_the_direction_of_z_and_on_the_class(separate_norms):
    mapping = nn.Mapping(
        4, 6, 2, 10, separate_norms=separate_norms, hidden=5, rng=np.random.default_rng(0)
    )
    z, labels = latents(), np.array([0, 1, 1])
    w = host(mapping(z, labels))
    assert w.shape == (3, 6) and not np.allclose(w, host(mapping(z, labels[::-1].copy())))
    # Only with separate norms is z put on a sphere of its own.
    assert np.allclose(w, host(mapping(3.0 * z, labels)), atol=1e-6) == separate_norms
    unconditional = nn.Mapping(4, 6, 2, separate_norms=separate_norms, rng=np.random.default_rng(0))
    assert np.allclose(host(unconditional(z)), host(unconditional(3.0 * z)), atol=1e-5)
    check_grads(
        nn.Mapping(3, 2, 2, rate=0.1, separate_norms=separate_norms, rng=np.random.default_rng(0)),
        np.random.default_rng(1).standard_normal((2, 3)),
    )


def test_a_layer_with_a_lower_rate_has_the_same_output_and_smaller_changes():
    x = latents()
    for layer, rate in ((nn.Linear(4, 5), 0.01), (nn.Linear(4, 5, bias=False), 0.5)):
        slow = nn.Equalized(layer, rate=rate, rng=np.random.default_rng(0))
        fast = nn.Equalized(
            nn.Linear(4, 5, bias=layer.bias is not None), rng=np.random.default_rng(0)
        )
        assert np.allclose(host(slow(x)), host(fast(x)), atol=1e-5)
        before = host(slow(x))
        layer.weight.assign(layer.weight.data + 1)
        fast.layer.weight.assign(fast.layer.weight.data + 1)
        assert np.allclose((host(slow(x)) - before), rate * (host(fast(x)) - before), atol=1e-5)


def test_noise():
    rng = np.random.default_rng(0)
    noise, x = nn.Noise(3, 8, rng=rng), tensor(np.zeros((2, 8, 8, 3)), dtype="float32")
    assert not noise(x).data.any()  # the strength starts at 0
    noise.strength.assign(np.array([0.0, 1.0, 2.0]))
    y, again = host(noise(x)), host(noise(x))
    assert not np.allclose(y, again) and not np.allclose(y[0], y[1])  # drawn anew for each image
    assert not y[..., 0].any() and np.allclose(y[..., 2], 2 * y[..., 1])
    assert 0.5 < y[..., 1].std() < 1.5
    fixed = host(noise.eval()(x))
    assert np.array_equal(fixed, host(noise(x))) and np.array_equal(fixed[0], fixed[1])
    assert np.array_equal(fixed[0, ..., 1], host(noise.fixed))
    noise.mode = "none"
    assert noise(x) is x
    noise.mode = "random"
    assert not np.array_equal(host(noise(x)), host(noise(x)))


def test_w_average_is_a_running_mean_of_w():
    G = generator()
    w = host(G.mapping(latents())).mean(0)
    G(latents())
    assert np.allclose(host(G.w_average), 0.005 * w)
    G(latents())
    assert np.allclose(host(G.w_average), (1 - 0.995**2) * w)
    G.eval()(latents())
    assert np.allclose(host(G.w_average), (1 - 0.995**2) * w) and "w_average" in G.state_dict()


def test_truncation_in_w():
    G = generator()
    average = np.arange(6, dtype=np.float32)
    G.w_average = asarray(average)
    w = host(G.mapping(latents()))
    assert np.array_equal(host(G.eval().styles(latents())), np.repeat(w[:, None], 6, 1))
    G.psi = 0.5
    assert np.allclose(host(G.styles(latents()))[:, 3], average + 0.5 * (w - average))
    G.cutoff = 2
    styles = host(G.styles(latents()))
    assert np.allclose(styles[:, 1], average + 0.5 * (w - average)) and np.allclose(styles[:, 2], w)
    G.psi, G.cutoff = 0.0, None
    images = host(G(latents()))
    assert np.allclose(images, images[:1], atol=1e-4)


def test_mixing():
    G, z = generator(mixing=1.0), latents()
    first_mixed_layers = set()
    for _ in range(60):
        styles, w = host(G.styles(z)), host(G.mapping(z))
        unmixed = [np.array_equal(styles[:, i], w) for i in range(6)]
        first = unmixed.index(False)
        assert unmixed == sorted(unmixed, reverse=True)
        assert np.array_equal(styles[:, -1], styles[:, first])
        first_mixed_layers.add(first)
    assert first_mixed_layers == {1, 2, 3, 4, 5}
    G.lod = np.float32(1.0)  # at 8x8, four layers are in use
    for _ in range(3):
        unmixed = [np.array_equal(host(G.styles(z))[:, i], w) for i in range(6)]
        assert unmixed.index(False) <= 3
    without = generator(mixing=0.0)
    ws = np.repeat(host(without.mapping(z))[:, None], 6, 1)
    assert np.array_equal(host(without.styles(z)), ws)


def test_gradients():
    rng = np.random.default_rng(0)
    G = stylegan.Generator(2, 8, 1, (2, 2), 2, 1, rng=rng).eval()
    for _, module in G.modules():
        if isinstance(module, nn.Noise):
            module.strength.assign(rng.standard_normal(module.strength.shape))
    check_grads(G, rng.standard_normal((2, 2)))
    D = stylegan.Discriminator(8, 1, (2, 2), rng=rng)
    check_grads(D, rng.standard_normal((4, 8, 8, 1)))
    for lod in (0.4, 1.0):
        G.lod = D.lod = np.float32(lod)
        check_grads(G, rng.standard_normal((2, 2)))


def test_the_blur_keeps_the_mean_and_removes_stripes():
    stripes = np.zeros((1, 8, 8, 1), np.float32)
    stripes[:, ::2] = 1.0
    stripes = tensor(stripes)
    assert np.allclose(nn.Blur()(stripes).numpy()[:, 1:-1, 1:-1], 0.5)
    assert np.array_equal(nn.AvgPool2d(2)(stripes).numpy(), np.full((1, 4, 4, 1), 0.5))


@pytest.mark.parametrize("separate_norms", [False, True])
def test_without_mapping_layers_w_is_the_normalised_z_and_class(separate_norms):
    rng, labels = np.random.default_rng(0), np.array([2, 0])
    message = "a style is as long as z and its class: style=8, not 5"
    with pytest.raises(InputError, match="style=9, not 5" if separate_norms else message):
        nn.Mapping(4, 5, 0, 3, separate_norms=separate_norms, rng=rng)
    size = 8 if not separate_norms else 4
    mapping = nn.Mapping(
        4, size, 0, 3 if not separate_norms else None, separate_norms=separate_norms, rng=rng
    )
    z = rng.standard_normal((2, 4)).astype(np.float32)
    w = host(mapping(asarray(z), labels if not separate_norms else None))
    parts = [z] if separate_norms else [z, host(mapping.embedding(labels))]
    expected = np.concatenate(parts, 1)
    np.testing.assert_allclose(
        w, expected / np.sqrt((expected**2).mean(1, keepdims=True)), rtol=1e-5
    )
    assert not mapping.layers
