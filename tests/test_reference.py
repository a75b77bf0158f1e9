"""SNGAN, BigGAN, Progressive GAN and StyleGAN against numbers from their public code: outputs,
buffers, and every gradient of every group."""

import re

import numpy as np
import pytest
from reference import Golden, Replay, assert_equal, assert_images, gradients, group, images, weight

from tinygan import nn, ops, tensor
from tinygan.backend import asarray, to_numpy
from tinygan.gan import conditioning, losses, penalties
from tinygan.models import biggan, progan, sngan, stylegan


def renamed(arrays, *patterns):
    """The arrays, with every (pattern, replacement) applied in turn to their names."""
    for pattern, replacement in patterns:
        arrays = {re.sub(pattern, replacement, name): array for name, array in arrays.items()}
    return arrays


def hinge(name="generator", *logits):
    return getattr(losses.find("hinge"), name)(*logits)


# SNGAN


def sngan_d(file, prefix):
    """D's arrays under `prefix`, with tinygan's names. In the file, the order of v is that of the
    inputs of an OIHW weight: channels first."""
    arrays = renamed(
        group(file, prefix),
        (r"block(\d)", lambda m: f"blocks.{int(m[1]) - 1}"),
        (r"\.c(\d)\.", r".conv\1."),
        (r"\.c_sc\.", ".shortcut."),
        ("^l5", "to_logit"),
        (r"\.bias$", ".layer.bias"),
        ("weight_orig", "layer.weight"),
        ("weight_([uv])", r"\1"),
    )
    for name, array in arrays.items():
        if name.endswith("weight"):
            arrays[name] = weight(array)
        elif name.endswith("v") and "shortcut" not in name and "logit" not in name:
            arrays[name] = array.reshape(-1, 3, 3).transpose(1, 2, 0).reshape(-1)
    return arrays


def sngan_g(file, prefix):
    arrays = renamed(
        group(file, prefix),
        (r"block(\d)", lambda m: f"blocks.{int(m[1]) - 2}"),
        (r"\.c(\d)\.", r".conv\1."),
        (r"\.c_sc\.", ".shortcut."),
        (r"\.b(\d)\.", r".norm\1."),
        ("^b5", "norm"),
        ("^c5", "to_image"),
        ("^l1", "project"),
        (r"(norm\d?)\.weight", r"\1.gain"),
    )
    for name, array in arrays.items():
        if name.startswith("project"):  # in the file, the result is reshaped to NCHW
            array = array.reshape(8, 4, 4, -1).transpose(1, 2, 0, 3).reshape(128, -1)
            arrays[name] = array[:, 0] if name.endswith("bias") else array.T
        elif name.endswith("weight"):
            arrays[name] = weight(array)
    return arrays


def sngan_discriminator(file):
    D = sngan.Discriminator(3, 8, relu_shortcut=True, rng=np.random.default_rng(0))
    D.astype("float64")
    D.load_state_dict(sngan_d(file, "param/") | sngan_d(file, "buffer/"))
    return D


def test_sngan_discriminator():
    file = Golden("mimicry_sngan32_D")
    D, x = sngan_discriminator(file), asarray(images(file["in/x"]))
    assert_equal({"logits": D(tensor(x)).data}, {"logits": file["logits_train"][:, 0]})
    assert_equal(dict(D.named_buffers()), sngan_d(file, "buffer_after/"))

    D = sngan_discriminator(file).eval()
    assert_equal({"logits": D(tensor(x)).data}, {"logits": file["logits"][:, 0]})
    fake_logits = tensor(np.full(6, -2.0))  # beyond the margin: no loss
    real_hinge = hinge("discriminator", D(tensor(x)), fake_logits)
    assert_equal(gradients(real_hinge, D), sngan_d(file, "grad_real_hinge/"))
    assert_equal(gradients(10.0 * penalties.r1(D, x), D), sngan_d(file, "grad_r1/"))
    # in evaluation, the buffers do not change
    assert_equal(dict(D.named_buffers()), sngan_d(file, "buffer/"))


def test_sngan_generator():
    file = Golden("mimicry_sngan32_G")
    D = sngan_discriminator(Golden("mimicry_sngan32_D")).eval()
    rng = np.random.default_rng(0)
    G = sngan.Generator(16, 32, 3, 8, upsample=ops.upsample_bilinear, rng=rng).astype("float64")
    G.load_state_dict(sngan_g(file, "param/") | sngan_g(file, "buffer/"))
    z = tensor(file["in/z"])
    image = G(z)
    assert_images(image.data, file["img_train"])
    assert_equal(dict(G.named_buffers()), sngan_g(file, "buffer_after/"))
    assert_equal(gradients(hinge("generator", None, D(image)), G), sngan_g(file, "grad_Ghinge/"))
    assert_images(G.eval()(z).data, file["img_eval_after_train_fwd"])


# BigGAN


def biggan_arrays(file, prefix, network):
    arrays = renamed(
        group(file, prefix),
        (r"output_layer\.0", "norm"),
        (r"output_layer\.2", "to_image"),
        ("conv_sc", "shortcut"),
        (r"\.bn(\d)", r".norm\1"),
        ("stored_", "running_"),
        (r"\.u0$", ".u"),
        ("^(shared|embed)", "embedding"),
    )
    if isinstance(network, conditioning.Projection):
        # in the file, a block and the attention after it form a list
        arrays = renamed(
            arrays,
            (r"^blocks\.(\d)\.(\d)", lambda m: f"D.blocks.{2 * int(m[1]) + int(m[2])}"),
            ("^linear", "D.to_logit"),
        )
    arrays, result = renamed(arrays, ("^linear", "project")), {}
    normalised = {path for path, module in network.modules() if hasattr(module, "u")}
    for name, array in arrays.items():
        path, leaf = name.rsplit(".", 1)
        if name.startswith("project"):
            array = array.reshape(16, 4, 4, -1).transpose(1, 2, 0, 3).reshape(256, -1)
        if leaf == "weight" and "embedding" not in path:
            array = weight(array)
        if path in normalised and leaf != "u":
            path += ".layer"
        flat = leaf in ("u", "bias") and array.ndim
        result[f"{path}.{leaf}"] = array.reshape(-1) if flat else array
    return result


def load_biggan(network, file):
    """Load a network from the file, which lacks v, since every call computes it anew."""
    network.astype("float64").load_state_dict(
        {name: to_numpy(b) for name, b in network.named_buffers() if name.endswith(".v")}
        | biggan_arrays(file, "param/", network)
        | biggan_arrays(file, "buffer/", network)
    )
    return network


def biggan_discriminator(file):
    rng = np.random.default_rng(0)
    D = biggan.Discriminator(3, (16,) * 4, attention=range(4), rng=rng)
    return load_biggan(conditioning.Projection(D, 10, rng=rng), file)


def test_biggan_discriminator():
    file = Golden("biggan_D_hier_attn16")
    D, x, y = biggan_discriminator(file).eval(), asarray(images(file["in/x"])), file["in/y"]
    conditional_D = lambda x: D(x, y)
    assert_equal({"logits": D(tensor(x), y).data}, {"logits": file["logits"][:, 0]})
    assert_equal(
        gradients(10.0 * penalties.r1(conditional_D, x), D), biggan_arrays(file, "grad_r1/", D)
    )
    us = {name: b for name, b in D.named_buffers() if name.endswith("u")}
    assert_equal(us, biggan_arrays(file, "buffer/", D))  # evaluation does not keep its power steps
    D.train()(tensor(x), y)
    us = {name: b for name, b in D.named_buffers() if name.endswith("u")}
    assert_equal(us, biggan_arrays(file, "buffer_after/", D))


def test_biggan_generator():
    file = Golden("biggan_G_hier_attn16")
    D = biggan_discriminator(Golden("biggan_D_hier_attn16")).eval()
    G = load_biggan(biggan.Generator(16, 10, 3, (16,) * 4, 6, rng=np.random.default_rng(0)), file)
    z, y = tensor(file["in/z"]), file["in/y"]
    assert_images(G.eval()(z, y).data, file["img_eval"])
    image = G.train()(z, y)
    assert_images(image.data, file["img_train"])
    buffers = {name: b for name, b in G.named_buffers() if not name.endswith(".v")}
    assert_equal(buffers, biggan_arrays(file, "buffer_after/", G))
    assert_equal(
        gradients(hinge("generator", None, D(image, y)), G), biggan_arrays(file, "grad_Ghinge/", G)
    )
    assert_equal(
        gradients(1e-4 * penalties.orthogonal(G), G), biggan_arrays(file, "grad_ortho1e-4/", G)
    )


# Progressive GAN


def edge_layer(path, top):
    """tinygan's name of a layer from or to images, or to the logit; None for other layers.

    top: the coarsest level of detail.
    """
    if path[0].startswith(("ToRGB", "FromRGB")):
        level = top - int(path[0][-1])
        return f"to_image.{level}" if path[0].startswith("ToRGB") else f"from_image.{level}.0"
    return "to_logit" if path[1] == "Dense1" else None


def progan_arrays(file, prefix, network):
    """Arrays in TensorFlow's layout: convolutions HWIO, as in tinygan; dense layers (in, out), for
    inputs that were flattened as NCHW."""
    names = {f"{size}x{size}": f"blocks.{i}" for i, size in enumerate((4, 8, 16, 32))}
    number = {
        "G": {"Dense": 0, "Conv": 3, "Conv0": 0, "Conv1": 3},
        "D": {"Conv": 1, "Dense0": 4, "Conv0": 0, "Conv1": 2},
    }
    result = {}
    for name, array in group(file, prefix).items():
        *path, leaf = name.split("/")
        if edge := edge_layer(path, 3):
            path = edge
        else:
            path = f"{names[path[0]]}.{number[network][path[1]]}"
            if leaf == "weight" and array.shape == (8, 128):  # G's first layer, of 4x4x8 outputs
                array = array.reshape(8, 8, 4, 4).transpose(2, 3, 1, 0)
            elif leaf == "weight" and array.shape == (128, 8):  # D's dense layer, of 4x4x8 inputs
                array = array.reshape(8, 4, 4, 8).transpose(1, 2, 0, 3).reshape(128, 8)
        result[f"{path}.layer.{leaf}"] = array
    return result


@pytest.mark.parametrize("lod", [0.0, 0.4, 1.0, 1.7, 3.0])
def test_progressive_gan(lod):
    file = Golden("progan_fused0")
    G = progan.Generator(8, 32, 1, (8, 8, 8, 4), rng=np.random.default_rng(0)).astype("float64")
    D = progan.Discriminator(32, 1, (8, 8, 8, 4), rng=np.random.default_rng(0)).astype("float64")
    for network, name in ((G, "G"), (D, "D")):
        assert len(group(file, f"param/{name}/")) == len(network.parameters())
        for _, module in network.modules():
            if isinstance(module, nn.Equalized):
                # The reference has a float32 constant, even in float64.
                module.scale = float(np.float32(module.scale))
        network.load_state_dict(
            progan_arrays(file, f"param/{name}/", name) | {"lod": np.array(lod)}
        )
    x, at, z = asarray(images(file["in/x"])), f"lod{lod}", tensor(file["in/z"])
    image = G(z)
    assert_images(image.data, file[f"{at}/img"])
    assert_equal({"scores": D(tensor(x)).data}, {"scores": file[f"{at}/scores"][:, 0]})
    if f"{at}/D_wgangp_loss" not in file.files:
        return
    assert_images(penalties.image_gradients(D, x).data, file[f"{at}/dscores_dx"])
    assert_equal(
        gradients(10.0 * penalties.r1(D, x), D),
        progan_arrays(file, f"{at}/grad_r1_gamma10/D/", "D"),
    )
    wasserstein, fakes = losses.find("wasserstein"), image.data
    real_scores = D(tensor(x))
    gp = penalties.wgan_gp(D, x, fakes, Replay(file["in/alpha"]))
    loss = (
        wasserstein.discriminator(real_scores, D(tensor(fakes)))
        + 10.0 * gp
        + 0.001 * ops.mean(ops.square(real_scores))
    )
    assert_equal({"loss": loss.data}, {"loss": file[f"{at}/D_wgangp_loss"]})
    assert_equal(gradients(loss, D), progan_arrays(file, f"{at}/grad_wgangp_drift/D/", "D"))
    assert_equal(
        gradients(wasserstein.generator(None, D(image)), G),
        progan_arrays(file, f"{at}/grad_Gwgan/G/", "G"),
    )


# StyleGAN


def stylegan_arrays(file, prefix, networks):
    """Arrays in TensorFlow's layout, as in `progan_arrays`.

    networks: "MS" for G's mapping and synthesis, whose layers count from 4x4 up, or "D".
    """
    result = {}
    for name, array in group(file, prefix).items():
        network, *path, leaf = name.split("/")
        if network not in networks:
            continue
        if network == "M":
            path = f"mapping.layers.{path[0][-1]}.layer"
        elif leaf.startswith("noise"):
            i = int(leaf[-1])
            path, leaf, array = f"blocks.{i // 2}.{i % 2}.noise", "fixed", array[0, 0]
        elif edge := edge_layer(path, 2):
            path = f"{edge}.layer"
        else:
            size, layer, *part = path
            block = {"4x4": 0, "8x8": 1, "16x16": 2}[size]
            of_d = {"Conv": "1", "Dense0": "4", "Conv0": "0", "Conv1_down": "3"}
            of_s = {"Const": "0", "Conv": "1", "Conv0_up": "0", "Conv1": "1"}
            index = f"{of_d[layer]}.layer" if network == "D" else of_s[layer]
            path = f"blocks.{block}.{index}"
            if layer == "Dense0" and leaf == "weight":
                array = array.reshape(8, 4, 4, 8).transpose(1, 2, 0, 3).reshape(128, 8)
            elif part == ["StyleMod"]:
                path += ".style.layer"
            elif part == ["Noise"]:
                path, leaf = f"{path}.noise", "strength"
            elif leaf == "weight" and network == "S":
                path += ".conv.layer"
        if leaf == "const":
            result["constant"] = images(array)[0]
        else:
            result[f"{path}.{leaf}"] = array
    return result


@pytest.mark.parametrize("lod", [0.0, 0.3, 1.0])
def test_stylegan(lod):
    file, rng = Golden("stylegan1_16"), np.random.default_rng(0)
    G = stylegan.Generator(10, 16, 1, (8, 8, 8), 12, 3, hidden=14, rng=rng).astype("float64").eval()
    D = stylegan.Discriminator(16, 1, (8, 8, 8), rng=rng).astype("float64")
    at, lod = f"lod{lod}", {"lod": np.array(lod)}
    G.load_state_dict(
        stylegan_arrays(file, "param/", "MS") | {"w_average": to_numpy(G.w_average)} | lod
    )
    D.load_state_dict(stylegan_arrays(file, "param/", "D") | lod)
    x, z = asarray(images(file["in/x"])), tensor(file["in/z"])
    assert_equal({"w": G.mapping(z).data}, {"w": file["w"]})
    image, real_scores = G(z), D(tensor(x))
    assert_images(image.data, file[f"{at}/img"])
    assert_equal({"scores": real_scores.data}, {"scores": file[f"{at}/scores"][:, 0]})
    assert_images(penalties.image_gradients(D, x).data, file[f"{at}/dscores_dx"])
    if not group(file, f"{at}/grad"):  # none at lod 1, to keep the file small
        return
    assert_equal(
        gradients(10.0 * penalties.r1(D, x), D),
        stylegan_arrays(file, f"{at}/grad_r1_gamma10/", "D"),
    )
    gp = penalties.wgan_gp(D, x, image.data, Replay(file["in/alpha"]))
    loss = (
        losses.find("wasserstein").discriminator(real_scores, D(tensor(image.data)))
        + 10.0 * gp
        + 0.001 * ops.mean(ops.square(real_scores))
    )
    assert_equal({"loss": loss.data}, {"loss": file[f"{at}/D_wgangp_loss"]})
    assert_equal(gradients(loss, D), stylegan_arrays(file, f"{at}/grad_wgangp_drift/", "D"))
    loss = losses.find("bce").generator(None, D(image))
    assert_equal(gradients(loss, G), stylegan_arrays(file, f"{at}/grad_Gns/", "MS"))


@pytest.mark.parametrize(
    "name, groups",
    [
        ("stylegan1_16", {"grad_r1_gamma10", "grad_wgangp_drift", "grad_Gns"}),
        ("mimicry_sngan32_D", {"grad_real_hinge", "grad_r1"}),
        ("mimicry_sngan32_G", {"grad_Ghinge"}),
        ("biggan_D_hier_attn16", {"grad_r1"}),
        ("biggan_G_hier_attn16", {"grad_Ghinge", "grad_ortho1e-4"}),
        ("progan_fused0", {"grad_r1_gamma10", "grad_wgangp_drift", "grad_Gwgan"}),
    ],
)
def test_all_groups_of_gradients_are_compared_above(name, groups):
    parts = {part for key in Golden(name).files for part in key.split("/")}
    assert {part for part in parts if part.startswith("grad_")} == groups
