"""SNGAN and BigGAN against numbers from their public code: outputs, buffers, and every gradient of every group."""

import re

import numpy as np
import pytest
from reference import GOLDEN, Replay, assert_equal, gradients, group, images, kernel

from tinygan import ops, tensor
from tinygan.gan import losses, penalties
from tinygan.models import biggan, sngan


def golden(name):
    return np.load(GOLDEN / f"{name}.npz")


def renamed(arrays, *patterns):
    """The arrays with each (pattern, replacement) applied to their names, in turn."""
    for pattern, replacement in patterns:
        arrays = {re.sub(pattern, replacement, name): array for name, array in arrays.items()}
    return arrays


def hinge(name="generator", *logits):
    return getattr(losses.find("hinge"), name)(*logits)


# SNGAN


def sngan_d(file, prefix):
    """The arrays under `prefix` by our names. v runs over OIHW's inputs there: channels first."""
    arrays = renamed(group(file, prefix), (r"block(\d)", lambda m: f"blocks.{int(m[1]) - 1}"), (r"\.c(\d)\.", r".conv\1."),
                     (r"\.c_sc\.", ".shortcut."), ("^l5", "to_logit"), (r"\.bias$", ".layer.bias"),
                     ("weight_orig", "layer.weight"), ("weight_([uv])", r"\1"))
    for name, array in arrays.items():
        if name.endswith("weight"):
            arrays[name] = kernel(array)
        elif name.endswith("v") and "shortcut" not in name and "logit" not in name:
            arrays[name] = array.reshape(-1, 3, 3).transpose(1, 2, 0).reshape(-1)
    return arrays


def sngan_g(file, prefix):
    arrays = renamed(group(file, prefix), (r"block(\d)", lambda m: f"blocks.{int(m[1]) - 2}"), (r"\.c(\d)\.", r".conv\1."),
                     (r"\.c_sc\.", ".shortcut."), (r"\.b(\d)\.", r".norm\1."), ("^b5", "norm"), ("^c5", "to_image"),
                     ("^l1", "project"), (r"(norm\d?)\.weight", r"\1.gain"))
    for name, array in arrays.items():
        if name.startswith("project"):  # NCHW after the reshape there
            array = array.reshape(8, 4, 4, -1).transpose(1, 2, 0, 3).reshape(128, -1)
            arrays[name] = array[:, 0] if name.endswith("bias") else array.T
        elif name.endswith("weight"):
            arrays[name] = kernel(array)
    return arrays


def sngan_discriminator(file):
    D = sngan.Discriminator(3, 8, relu_shortcut=True, rng=np.random.default_rng(0)).astype("float64")
    D.load_state_dict(sngan_d(file, "param/") | sngan_d(file, "buffer/"))
    return D


def test_sngan_discriminator():
    file = golden("mimicry_sngan32_D")
    D, x = sngan_discriminator(file), images(file["in/x"])
    assert_equal({"logits": D(tensor(x)).data}, {"logits": file["logits_train"][:, 0]})
    assert_equal(dict(D.named_buffers()), sngan_d(file, "buffer_after/"))

    D = sngan_discriminator(file).eval()
    assert_equal({"logits": D(tensor(x)).data}, {"logits": file["logits"][:, 0]})
    real_hinge = hinge("discriminator", D(tensor(x)), tensor(np.full(6, -2.0)))  # the fakes are beyond the margin
    assert_equal(gradients(real_hinge, D), sngan_d(file, "grad_real_hinge/"))
    assert_equal(gradients(10.0 * penalties.r1(D, x), D), sngan_d(file, "grad_r1/"))
    gp = penalties.wgan_gp(D, x, images(file["in/fake"]), Replay(file["in/alpha"]))
    assert_equal(gradients(10.0 * gp, D), sngan_d(file, "grad_wgangp/"))
    assert_equal(dict(D.named_buffers()), sngan_d(file, "buffer/"))  # in evaluation, they stand still


def test_sngan_generator():
    file = golden("mimicry_sngan32_G")
    D = sngan_discriminator(golden("mimicry_sngan32_D")).eval()
    G = sngan.Generator(16, 32, 3, 8, upsample=ops.upsample_bilinear, rng=np.random.default_rng(0)).astype("float64")
    G.load_state_dict(sngan_g(file, "param/") | sngan_g(file, "buffer/"))
    z = tensor(file["in/z"])
    image = G(z)
    assert_equal({"img": image.data}, {"img": images(file["img_train"])})
    assert_equal(dict(G.named_buffers()), sngan_g(file, "buffer_after/"))
    assert_equal(gradients(hinge("generator", None, D(image)), G), sngan_g(file, "grad_Ghinge/"))
    assert_equal({"img": G.eval()(z).data}, {"img": images(file["img_eval_after_train_fwd"])})


# BigGAN


def biggan_arrays(file, prefix, network):
    arrays = renamed(group(file, prefix), (r"output_layer\.0", "norm"), (r"output_layer\.2", "to_image"),
                     ("conv_sc", "shortcut"), (r"\.bn(\d)", r".norm\1"), ("stored_", "running_"), (r"\.u0$", ".u"),
                     ("^(shared|embed)", "embedding"))
    if isinstance(network, biggan.Discriminator):  # there, a block and the attention after it make a list
        arrays = renamed(arrays, (r"^blocks\.(\d)\.(\d)", lambda m: f"blocks.{2 * int(m[1]) + int(m[2])}"),
                         ("^linear", "to_logit"))
    arrays, result = renamed(arrays, ("^linear", "project")), {}
    normalised = {path for path, _ in network.modules() if hasattr(_, "u")}
    for name, array in arrays.items():
        path, leaf = name.rsplit(".", 1)
        if name.startswith("project"):
            array = array.reshape(16, 4, 4, -1).transpose(1, 2, 0, 3).reshape(256, -1)
        if leaf == "weight" and "embedding" not in path:
            array = kernel(array)
        if path in normalised and leaf != "u":
            path += ".layer"
        result[f"{path}.{leaf}"] = array.reshape(-1) if leaf in ("u", "bias") and array.ndim else array
    return result


def load_biggan(network, file):
    """v is made anew at each call, and so is not in the file."""
    network.astype("float64").load_state_dict({name: b for name, b in network.named_buffers() if name.endswith(".v")}
                                              | biggan_arrays(file, "param/", network)
                                              | biggan_arrays(file, "buffer/", network))
    return network


def biggan_discriminator(file):
    return load_biggan(biggan.Discriminator(10, 3, (16,) * 4, attention=range(4), rng=np.random.default_rng(0)), file)


def test_biggan_discriminator():
    file = golden("biggan_D_hier_attn16")
    D, x, y = biggan_discriminator(file).eval(), images(file["in/x"]), file["in/y"]
    of_x = lambda x: D(x, y)
    assert_equal({"logits": D(tensor(x), y).data}, {"logits": file["logits"][:, 0]})
    gp = penalties.wgan_gp(of_x, x, images(file["in/fake"]), Replay(file["in/alpha"]))
    assert_equal(gradients(10.0 * gp, D), biggan_arrays(file, "grad_wgangp/", D))
    assert_equal(gradients(10.0 * penalties.r1(of_x, x), D), biggan_arrays(file, "grad_r1/", D))
    steps = {name: b for name, b in D.named_buffers() if name.endswith("u")}
    assert_equal(steps, biggan_arrays(file, "buffer/", D))  # power steps in evaluation are not kept
    D.train()(tensor(x), y)
    steps = {name: b for name, b in D.named_buffers() if name.endswith("u")}
    assert_equal(steps, biggan_arrays(file, "buffer_after/", D))


def test_biggan_generator():
    file = golden("biggan_G_hier_attn16")
    D = biggan_discriminator(golden("biggan_D_hier_attn16")).eval()
    G = load_biggan(biggan.Generator(16, 10, 3, (16,) * 4, 6, rng=np.random.default_rng(0)), file)
    z, y = tensor(file["in/z"]), file["in/y"]
    assert_equal({"img": G.eval()(z, y).data}, {"img": images(file["img_eval"])})
    image = G.train()(z, y)
    assert_equal({"img": image.data}, {"img": images(file["img_train"])})
    buffers = {name: b for name, b in G.named_buffers() if not name.endswith(".v")}
    assert_equal(buffers, biggan_arrays(file, "buffer_after/", G))
    assert_equal(gradients(hinge("generator", None, D(image, y)), G), biggan_arrays(file, "grad_Ghinge/", G))


@pytest.mark.parametrize("name, groups", [
    ("mimicry_sngan32_D", {"grad_real_hinge", "grad_r1", "grad_wgangp"}), ("mimicry_sngan32_G", {"grad_Ghinge"}),
    ("biggan_D_hier_attn16", {"grad_r1", "grad_wgangp"}), ("biggan_G_hier_attn16", {"grad_Ghinge"})])
def test_the_groups_of_gradients_are_those_that_are_compared_above(name, groups):
    assert {key.split("/")[0] for key in golden(name).files if key.startswith("grad_")} == groups
