"""DCGAN against numbers from PyTorch (tests/golden/dcgan64.npz), and the rules of its paper."""

import numpy as np
import pytest
import reference
from host import host
from reference import assert_equal, assert_images, gradients, images, weight

from tinygan import tensor
from tinygan.errors import InputError
from tinygan.gan import losses
from tinygan.models import dcgan

GOLDEN = reference.Golden("dcgan64")


def weights(prefix):
    """The arrays under `prefix`, with tinygan's names and layout."""
    arrays = {}
    for key in GOLDEN.files:
        if key.startswith(prefix) and not key.endswith("num_batches_tracked"):
            path, name = key[len(prefix) :].rsplit(".", 1)
            array = GOLDEN[key]
            if array.ndim == 4:
                array = weight(array)
            elif name == "weight":
                name = "gain"
            arrays[f"{path}.{name}"] = array
    return arrays


@pytest.fixture
def networks():
    rng = np.random.default_rng(0)
    G = dcgan.Generator(10, 64, 1, (16, 8, 4, 2), rng=rng).astype("float64")
    D = dcgan.Discriminator(64, 1, (2, 4, 8, 16), rng=rng).astype("float64")
    G.load_state_dict(weights("G/param/") | weights("G/buffer/"))
    D.load_state_dict(weights("D/param/") | weights("D/buffer/"))
    return G, D


def test_images_logits_gradients_and_buffers(networks):
    G, D = networks
    image = G(tensor(GOLDEN["in/z"].reshape(6, 10)))
    assert_images(image.data, GOLDEN["img"])

    real, fake = D(tensor(images(GOLDEN["in/x"]))), D(image.detach())
    probabilities = {"real": real.sigmoid().data, "fake": fake.sigmoid().data}
    assert_equal(probabilities, {"real": GOLDEN["D_real"], "fake": GOLDEN["D_fake"]})
    loss = losses.find("bce").discriminator(real, fake)
    assert abs(loss.item() - GOLDEN["lossD"]) < 1e-12
    assert_equal(gradients(loss, D), weights("grad_D/"))
    assert_equal(dict(D.named_buffers()), weights("D_buffer_after/"))

    assert_equal(gradients(losses.find("bce").generator(real, D(image)), G), weights("grad_G/"))
    assert_equal(dict(G.named_buffers()), weights("G_buffer_after/"))


def test_evaluation_uses_the_running_statistics(networks):
    G, _ = networks
    z = tensor(GOLDEN["in/z"].reshape(6, 10))
    before = [host(b).copy() for b in G.buffers()]
    one_by_one = np.concatenate([host(G.eval()(z[i : i + 1])) for i in range(6)])
    np.testing.assert_allclose(host(G(z)), one_by_one, atol=1e-12)
    assert all(np.array_equal(a, host(b)) for a, b in zip(before, G.buffers()))


def test_the_papers_rules():
    rng = np.random.default_rng(0)
    G, D = dcgan.Generator(rng=rng), dcgan.Discriminator(rng=rng)
    assert G(tensor(np.zeros((2, 100), "float32"))).shape == (2, 28, 28, 1)
    assert D(tensor(np.zeros((2, 28, 28, 1), "float32"))).shape == (2,)
    for network in (G, D):
        for name, p in network.named_parameters():
            if name.endswith("weight"):
                assert abs(p.data.std() - 0.02) < 0.002 and abs(p.data.mean()) < 0.002, name
            elif name.endswith("gain"):
                assert abs(p.data.mean() - 1) < 0.01 and 0.01 < p.data.std() < 0.03, name
            else:
                assert name.endswith("bias") and not p.data.any(), name
    kinds = [type(layer).__name__ for layer in D.main]
    assert kinds == ["Conv2d", "LeakyReLU", "Conv2d", "BatchNorm", "LeakyReLU", "Conv2d"]
    assert all(layer.bias is None for layer in [*G.main, *D.main] if "Conv" in type(layer).__name__)


def test_an_image_size_that_cannot_be_halved():
    with pytest.raises(InputError, match="cannot be halved 3 times"):
        dcgan.Generator(widths=(8, 4, 2), rng=np.random.default_rng(0))
