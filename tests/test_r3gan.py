"""R3GAN against numbers from the authors' code (tests/golden/r3gan_uncond.npz), and its rules."""

import re

import numpy as np
from host import host
from reference import Golden, assert_equal, assert_images, gradients, group, images, weight
from torch_draws import TorchRandom

from tinygan import nn, ops, tensor
from tinygan.backend import asarray
from tinygan.gan import losses, penalties
from tinygan.models import r3gan
from tinygan.training import recipes

# Of 4x4, 8x8, ...: (channels, blocks, groups)
STAGES = [(16, 1, 4), (16, 2, 4), (8, 1, 2), (8, 1, 2)]
FILE = Golden("r3gan_uncond")


def parameters():
    """Return the authors' parameters of G and of D, {their name: array} for each.

    They are initial values, drawn in the order in which the authors' code makes the layers: in a
    stage of D, the last layer comes first. What is 0 at first was then drawn from N(0, .05^2).
    """
    rng, result = TorchRandom(0), []
    total = sum(blocks for _, blocks, _ in STAGES)
    for role, seed in (("G", 123), ("D", 7)):
        shapes = {name: array.shape for name, array in group(FILE, f"grad_{role}/").items()}
        found = {}
        for name in sorted(shapes, key=order_in_d) if role == "D" else shapes:
            if not name.endswith("Bias"):
                if not name.endswith("0.Basis"):
                    rng.uniform(np.prod(shapes[name]))  # every layer begins with PyTorch's own init
                gain = (2 / 1.04) ** 0.5 * total**-0.25 if re.search("LinearLayer[12]", name) else 1
                fan_in = 1 if name.endswith("0.Basis") else np.prod(shapes[name][1:])
                found[name] = rng.normal(shapes[name]) * gain / fan_in**0.5
        zero = TorchRandom(seed)
        for name in shapes:
            if re.search("LinearLayer3|Bias", name):
                found[name] = 0.05 * zero.normal(shapes[name])
        result.append({name: found[name] for name in shapes})
    return result


def order_in_d(name):
    stage = re.match(r"MainLayers\.(\d)", name)
    in_block = re.search(r"LinearLayer\d|NonLinearity", name)
    return int(stage[1]) if stage else len(STAGES), bool(in_block)


def arrays(network, named):
    """The authors' arrays, {tinygan's name: array}: both have the same order."""
    pairs = zip(network.named_parameters(), named.values(), strict=True)
    return {name: a.transpose(1, 2, 0) if a.ndim == 3 else weight(a) for (name, _), a in pairs}


def test_the_authors_numbers():
    """Images, logits, losses, penalties and every gradient, with a gamma of .5."""
    G = r3gan.Generator(12, 32, 3, STAGES, rng=0).astype("float64")
    D = r3gan.Discriminator(32, 3, STAGES, rng=0).astype("float64")
    for network, named in zip((G, D), parameters()):
        network.load_state_dict(arrays(network, named))
    rng = TorchRandom(5)
    z = tensor(rng.normal((6, 12)))
    x = asarray(images(np.tanh(rng.normal((6, 3, 32, 32)))))
    fakes = G(z)
    assert_images(fakes.data, FILE["img"])
    real_logits, fake_logits = D(tensor(x)), D(fakes)
    logits = {"logits_real": real_logits.data, "logits_fake": fake_logits.data}
    assert_equal(logits, {name: FILE[name] for name in logits})
    loss, fakes = losses.find("relativistic"), fakes.data
    g_loss = loss.generator(real_logits.detach(), fake_logits)
    d_loss = loss.discriminator(real_logits, fake_logits)
    r1, r2 = penalties.r1(D, x), penalties.r2(D, fakes)
    # The file has a number for each image, and |grad|^2 without its factor 1/2.
    values = {"G_loss": g_loss, "D_loss": d_loss, "R1": 2.0 * r1, "R2": 2.0 * r2}
    for name, value in values.items():
        assert_equal({name: value.data}, {name: FILE[name].mean()})
    assert_equal(gradients(g_loss, G), arrays(G, group(FILE, "grad_G/")))
    d_loss = loss.discriminator(D(tensor(x)), D(tensor(fakes)))
    total = d_loss + 0.5 * (r1 + r2)
    assert_equal(gradients(total, D), arrays(D, group(FILE, "grad_D/")))


def test_all_groups_of_gradients_are_compared_above():
    assert {key.split("/")[0] for key in FILE.files if "grad" in key} == {"grad_G", "grad_D"}


def test_a_network_begins_as_the_paper_says():
    """Blocks add nothing at first; weights are N(0, gain^2 / fan_in), biases 0."""
    stages = [(32, 2, 4), (32, 1, 2), (16, 1, 1)]
    G = r3gan.Generator(256, 16, 3, stages, classes=300, embedding=128, rng=0)
    D = r3gan.Discriminator(16, 3, stages, classes=300, embedding=128, rng=0)
    x = tensor(np.random.default_rng(0).standard_normal((2, 8, 8, 32)), dtype="float32")
    block = G.body[3]
    assert isinstance(block, nn.GroupedBlock) and np.array_equal(host(block(x)), host(x))
    gain = (2 / 1.04) ** 0.5 * 4**-0.25
    for path, std in {
        "G.basis.maps": 1.0,
        "G.basis.linear": 384**-0.5,
        "G.body.0.expand": gain * 32**-0.5,
        "G.body.0.mix": gain * (9 * 16) ** -0.5,
        "G.body.0.reduce": 0.0,
        "G.body.0.activate1.bias": 0.0,
        "G.body.4.conv": 32**-0.5,
        "G.embedding": 300**-0.5,
        "D.from_image": 3**-0.5,
        "D.basis.0": 1 / 4,
        "D.to_logit": 32**-0.5,
        "D.embedding": (300 * 128) ** -0.5,
    }.items():
        network, name = path.split(".", 1)
        state = {"G": G, "D": D}[network].state_dict()
        values = host(state[name] if name in state else state[f"{name}.weight"])
        deviation = 4 / (2 * values.size) ** 0.5  # four standard deviations of the estimate
        assert abs(values.std() - std) <= std * deviation, path


def test_the_class_is_a_linear_map_of_its_one_hot_vector():
    """A label is the one-hot vector of its class; between them lie mixtures of classes."""
    stages = [(8, 1, 2), (4, 1, 1)]
    G = r3gan.Generator(6, 8, 1, stages, classes=3, embedding=5, rng=0).astype("float64")
    D = r3gan.Discriminator(8, 1, stages, classes=3, embedding=5, rng=0).astype("float64")
    z, labels = tensor(np.random.default_rng(0).standard_normal((3, 6))), asarray(np.arange(3))
    one_hot = tensor(np.eye(3))
    fakes = G(z, labels)
    assert_equal({"": G(z, one_hot).data}, {"": host(fakes.data)})
    logits = D(fakes, labels)
    assert_equal({"": D(fakes, one_hot).data}, {"": host(logits.data)})
    products = D.to_logit(D.features(fakes)) @ D.embedding.weight.T
    assert_equal({"": logits.data}, {"": np.diag(host(products.data))})


def test_a_recipe_with_classes_has_the_authors_lengths_and_order():
    """z comes before the class. Both embeddings come last, and D's is as long as its widest map."""
    recipe = recipes.find("r3gan")
    G, D = recipe.build(recipe.settings(), (32, 32, 1), 10, rng=0)
    assert G.embedding.weight.shape == (10, 64) and G.basis.linear.weight.shape == (128, 128)
    assert D.embedding.weight.shape == (10, 128) and D.to_logit.weight.shape == (128, 128)
    for network in G, D:
        assert list(dict(network.named_parameters()))[-1] == "embedding.weight"
    rng = np.random.default_rng(0)
    z, labels = rng.standard_normal((3, 64)).astype("float32"), asarray(np.array([1, 1, 7]))
    inputs = np.concatenate([z, host(G.embedding.weight)[[1, 1, 7]]], 1)
    maps = host(G.basis.maps) * (inputs @ host(G.basis.linear.weight))[:, None, None]
    expected = ops.tanh(G.to_image(G.body(tensor(maps))))
    np.testing.assert_allclose(host(G(asarray(z), labels)), host(expected), atol=1e-5)
    # The authors' G has no tanh.
    plain, _ = recipe.build(recipe.settings().updated({"tanh": False}), (32, 32, 1), 10, rng=0)
    np.testing.assert_allclose(
        host(plain(asarray(z), labels)), np.arctanh(host(expected)), atol=1e-4
    )
    # Wide networks have other lengths.
    wide = recipe.settings().updated({"d_channels": 12, "group_channels": 8})
    _, D = recipe.build(wide, (32, 32, 1), 10, rng=0)
    assert D.embedding.weight.shape == (10, 192)
