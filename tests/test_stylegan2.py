"""StyleGAN2: numbers from its authors' code, the redesign step by step, and training."""

import contextlib
import re
from types import SimpleNamespace

import numpy as np
import pytest
from host import host
from reference import Golden, assert_equal, assert_images, gradients, group, images, weight

from tinygan import check_grads, data, grad, nn, ops, tensor
from tinygan.backend import asarray, on_cpu
from tinygan.errors import Diverged, InputError
from tinygan.gan import losses, penalties
from tinygan.kernels import optim
from tinygan.models import stylegan2
from tinygan.training import recipes
from tinygan.training.algorithm import Algorithm
from tinygan.training.execution import Fakes

# The authors' numbers


def test_convolutions_of_stylegan2():
    """Resampling and convolutions that resample, with symmetric and asymmetric filters; modulation;
    minibatch standard deviation."""
    file = Golden("sg2ada_ops")
    x, w, w1, style = (
        tensor(a)
        for a in (images(file["x"]), weight(file["w"]), weight(file["w1"]), file["styles"])
    )
    f = file["f_asym"]
    filtered = lambda y, f: ops.upfirdn2d(y, f, flip_filter=True, padding=1)
    for name, y in {
        "up2": ops.upsample2d(x),
        "down2": ops.downsample2d(x),
        "asym_up": ops.upsample2d(x, f),
        "asym_down": ops.downsample2d(x, f),
        "filter": ops.upfirdn2d(x, file["f"], padding=(2, 1, 2, 1)),
        "asym_flip": filtered(x, f),
        "conv": ops.conv2d(x, w, padding=1),
        "convup": ops.conv2d_up(x, w),
        "convdown": ops.conv2d_down(x, w),
        "conv1up": ops.conv2d_up(x, w1),
        "conv1down": ops.conv2d_down(x, w1),
        "convup_asym": ops.conv2d_up(x, w, f),
        "convdown_asym": ops.conv2d_down(x, w, f),
        "mod": ops.modulated_conv2d(x, w, style),
        "modup": ops.modulated_conv2d(x, w, style, up=True),
        "mod_nodemod": ops.modulated_conv2d(x, w, style, demodulate=False),
    }.items():
        assert_equal({name: y.data}, {name: images(file[name])})
    for group_size, features in ((4, 1), (2, 1), (8, 2), (None, 1)):
        y = ops.minibatch_stddev(tensor(images(file["xm"])), group_size, features=features)
        name = f"mbstd_g{group_size}_f{features}"
        assert_equal({name: y.data}, {name: images(file[name])})


# (pattern, replacement): from the authors' names of parts to tinygan's
NAMES_IN_G = (
    ("affine", "style.layer"),
    ("noise_strength", "activation.noise.strength"),
    ("noise_const", "activation.noise.fixed"),
)
NAMES_IN_D = (
    ("^fromrgb.weight", "from_image.0.conv.layer.weight"),
    ("^fromrgb", "from_image.0"),
    ("^out", "to_logit.layer"),
    ("^fc", "hidden.layer"),
    (r"^conv\.weight", "last.1.conv.layer.weight"),
    (r"^conv\.bias", "last.1.bias"),
)


def arrays(file, prefix):
    """The parameters, buffers or gradients of G or D under `prefix`, with tinygan's names and
    layout."""
    result = {}
    for name, array in group(file, prefix).items():
        *network, size, leaf = re.fullmatch(
            r"(?:(mapping|synthesis)\.)?(?:b(\d+)\.)?(.*)", name
        ).groups()
        i = int(size).bit_length() - 3 if size else None
        if network == ["mapping"]:
            name = re.sub(r"fc(\d)", r"mapping.layers.\1.layer", leaf)
            name = "w_average" if leaf == "w_avg" else name
        elif leaf == "const":
            name, array = "constant", array.transpose(1, 2, 0)
        elif network == ["synthesis"]:
            kind, number, part = re.fullmatch(r"(conv|torgb)(\d?)\.(.*)", leaf).groups()
            owner = f"blocks.{i}.{number if i else 0}" if kind == "conv" else f"to_image.{i}"
            bias = "activation.bias" if kind == "conv" else "bias"
            part = {"weight": "conv.weight", "bias": bias}.get(part, part)
            for pattern, replacement in NAMES_IN_G:
                part = re.sub(pattern, replacement, part)
            name = f"{owner}.{part}"
        else:
            if leaf == "fc.weight":  # its input was flattened as NCHW
                array = array.reshape(-1, 8, 4, 4).transpose(0, 2, 3, 1).reshape(array.shape)
            name = leaf
            for pattern, replacement in NAMES_IN_D:
                name = re.sub(pattern, replacement, name)
            if i:
                name = re.sub(r"^conv(\d)\.weight", rf"blocks.{i - 1}.\1.conv.layer.weight", name)
                name = re.sub(r"^conv(\d)\.bias", rf"blocks.{i - 1}.\1.bias", name)
                name = re.sub(r"^skip", f"shortcuts.{i - 1}.layer", name)
        result[name] = weight(array) if name.endswith("weight") else array
    return result


class Draws:
    """A stand-in for a generator whose draws are given, in the order of the authors' code: the
    first layer with mixed styles, whether the batch has mixed styles, latents, and noise (NCHW)."""

    bit_generator = SimpleNamespace(state=None)

    def __init__(self, *draws):
        self.draws = [np.array(draw) for draw in draws]

    def random(self):
        return float(self.draws.pop(1))

    def integers(self, low, high):
        return int(self.draws.pop(0))

    def standard_normal(self, shape, dtype=None):
        draw = self.draws.pop(0)
        return (images(draw) if draw.ndim == 4 else draw).reshape(shape)


@pytest.fixture
def networks():
    """(G, D) with the parameters of the files, which are the same in all three."""
    file, rng = Golden("sg2ada_G"), np.random.default_rng(0)
    G = stylegan2.Generator(12, 32, 1, (8,) * 4, 16, 3, rng=rng).astype("float64")
    D = stylegan2.Discriminator(32, 1, (8,) * 4, rng=rng).astype("float64")
    G.load_state_dict(arrays(file, "param/") | arrays(file, "buffer/"))
    D.load_state_dict(arrays(Golden("sg2ada_D"), "param/"))
    return G, D


def set_noise(G, mode):
    for _, module in G.modules():
        if isinstance(module, nn.Noise):
            module.mode = mode


def test_generator(networks):
    file, (G, D) = Golden("sg2ada_G"), networks
    z = tensor(file["in/z"])
    G.mixing = 0.0
    assert_equal({"w": G.styles(z).data[:, 0]}, {"w": file["ws"]})
    assert_equal({"w": G.w_average}, {"w": file["w_avg_after"]})
    G.eval().psi = 0.7
    assert_equal({"w": G.styles(z).data[:, -1]}, {"w": file["ws_trunc_psi0.7"]})
    G.psi = 1.0
    assert_images(G(z).data, file["img_const"])
    assert_equal(
        gradients(losses.find("bce").generator(None, D(G(z))), G), arrays(file, "grad_Gmain/")
    )

    # The authors' code divides the noise by the root of the number of pixels.
    noise = Draws(file["in/pl_noise"] * 32)
    penalty, average = penalties.path_length(G.synthesis, G.styles(z), 0.0, noise)
    assert_equal({"penalty": penalty.data}, {"penalty": file["pl_penalty"].mean()})
    assert_equal({"average": asarray(average)}, {"average": file["pl_mean"]})
    assert_equal(gradients(2.0 * penalty, G), arrays(file, "grad_pl/"))
    set_noise(G, "none")
    assert_images(G(z).data, file["img_none"])


def test_discriminator(networks):
    file, (_, D) = Golden("sg2ada_D"), networks
    x = asarray(images(file["in/x"]))
    logits = D(tensor(x))
    assert_equal({"logits": logits.data}, {"logits": file["logits"][:, 0]})
    assert_images(penalties.image_gradients(D, x).data, file["dlogits_dx"])
    assert_equal({"r1": np.array(penalties.r1(D, x).item())}, {"r1": file["r1_penalty"].mean() / 2})
    assert_equal(gradients(10.0 * penalties.r1(D, x), D), arrays(file, "grad_r1/"))
    assert_equal(
        gradients(losses.find("bce").generator(None, logits), D),
        arrays(file, "grad_real_softplus/"),
    )
    assert_equal(
        gradients(ops.mean(ops.relu(1.0 - D(tensor(x)))), D), arrays(file, "grad_real_hinge/")
    )


@pytest.fixture
def updates(networks):
    """The Algorithm of the recipe, with these networks."""
    recipe = recipes.find("stylegan2")
    settings = recipe.settings().updated({"g_class": "none", "d_class": "none", "r1": 0.1})
    u = Algorithm(recipe, settings, data.load("digits").padded(2))
    u.G, u.D = u.objectives.G, u.objectives.D = networks
    return u


def test_an_iteration_phase_by_phase(updates):
    """The gradients of each phase, from the methods of a training step, with the authors' draws."""
    file, u = Golden("sg2ada_loss_noaug"), updates

    def draws(phase):
        u.rng = u.objectives.rng = u.G.rng = Draws(*group(file, f"{phase}/rng/").values())
        for _, module in u.G.modules():
            if isinstance(module, nn.Noise):
                module.rng = u.rng

    def assert_phase(phase, found, network):
        names = [name for name, _ in network.named_parameters()]
        expected = arrays(file, f"{phase}/grad/")
        assert_equal({name: host(g) for name, g in zip(names, found) if g is not None}, expected)
        assert_equal({"w": u.G.w_average}, {"w": file[f"{phase}/w_avg_after"]})
        assert_equal(
            {"average": asarray(u.objectives.penalty_state.average_path)},
            {"average": file[f"{phase}/pl_mean_after"]},
        )

    z, reals = tensor(file["in/z"]), asarray(images(file["in/real"]))
    draws("Gmain")
    assert_phase(
        "Gmain",
        u.execution.gradients(
            "G", u.G, u.objectives.g_loss, reals, None, Fakes(u.G, z, None), None
        )[0],
        u.G,
    )
    draws("Greg")
    found, numbers = u.execution.gradients("G penalty", u.G, u.objectives.g_penalty, z[:4], None)
    u.objectives.penalty_state.average_path = numbers["path_length"]
    assert_phase("Greg", found, u.G)
    draws("Dmain")
    fakes = u.G(z).detach()
    assert_phase(
        "Dmain",
        u.execution.gradients("D", u.D, u.objectives.d_loss, reals, None, fakes, None)[0],
        u.D,
    )
    lazy = lambda *batch: (16.0 * u.objectives.d_penalty(*batch)[0], {})
    assert_phase(
        "Dreg", u.execution.gradients("D penalty", u.D, lazy, reals, None, fakes, None)[0], u.D
    )


@pytest.mark.parametrize(
    "name, groups",
    [
        ("sg2ada_G", {"grad_Gmain", "grad_pl"}),
        ("sg2ada_D", {"grad_r1", "grad_real_softplus", "grad_real_hinge"}),
        ("sg2ada_loss_noaug", {"Gmain/grad", "Greg/grad", "Dmain/grad", "Dreg/grad"}),
    ],
)
def test_all_groups_of_gradients_are_compared_above(name, groups):
    keys = [key for key in Golden(name).files if re.search(r"(^|/)grad[_/]", key)]
    assert {re.match(r"(grad_\w+|\w+/grad)/", key)[1] for key in keys} == groups


# The redesign


def generator(configuration="d", seed=0, **settings):
    """A small G, in float64, with noise, biases and shifts that are not 0."""
    rng = np.random.default_rng(seed)
    layer = stylegan2.CONFIGURATIONS[configuration]
    G = stylegan2.Generator(3, 8, 1, (3, 2), 4, 2, mixing=0.0, layer=layer, rng=rng, **settings)
    for name, p in G.named_parameters():
        if name.endswith(("bias", "strength")):
            p.assign(host(p) + 0.3 * rng.standard_normal(p.shape))
    return G.astype("float64").eval()


def latents(n=3, size=3):
    return tensor(np.random.default_rng(5).standard_normal((n, size)))


def test_steps_a_and_b_are_the_same_function():
    """They have the same parameters and, up to rounding, the same values and first and second
    derivatives."""
    a, b = generator("a"), generator("b")
    assert type(a.blocks[0][0]) is not type(b.blocks[0][0])
    assert [*a.state_dict()] == [*b.state_dict()]
    b.load_state_dict(a.state_dict())
    results = []
    for G in (a, b):
        ws = G.styles(latents())
        penalty, _ = penalties.path_length(G.synthesis, ws, 1.0, np.random.default_rng(0))
        main = gradients(ops.sum(ops.square(G(latents()))), G)
        results.append(
            {
                "image": host(G.synthesis(ws)),
                **{f"main {name}": value for name, value in main.items()},
                **{f"path {name}": value for name, value in gradients(penalty, G).items()},
            }
        )
    scale = {
        name: max(np.abs(v).max() for k, v in results[0].items() if k[:4] == name[:4])
        for name in results[0]
    }
    for name, value in results[0].items():
        assert np.abs(value - results[1][name]).max() <= 1e-12 * scale[name], name


def test_the_other_steps_are_different_functions():
    images = {configuration: host(generator(configuration)(latents())) for configuration in "acd"}
    assert all(np.abs(images[x] - images[y]).max() > 1e-3 for x, y in ("ac", "ad", "cd"))


def test_what_the_steps_do_to_a_strong_spot():
    """AdaIN loses the sizes of feature maps; c keeps their means; demodulation measures nothing."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 8, 8, 3)), tensor(rng.standard_normal((2, 4)))
    for configuration, layer in stylegan2.CONFIGURATIONS.items():
        layer = layer(3, 3, 8, 4, rng=np.random.default_rng(0)).astype("float64").eval()
        if configuration in "ab":  # normalised last: a stronger input makes no difference
            y, y_of_stronger = host(layer(tensor(x), w)), host(layer(tensor(100 * x), w))
            assert np.allclose(y, y_of_stronger, atol=1e-6)
            scale = host(layer.scale_and_shift(w)[0])
            assert np.allclose(y.std((1, 2)), np.abs(scale[:, 0, 0]), atol=1e-6)
        elif configuration == "c":
            layer.activation.forward = lambda x: x
            assert np.allclose(host(layer(tensor(x), w)).std((1, 2)), 1.0, atol=1e-6)
            assert np.abs(host(layer(tensor(x + 3.0), w)).mean((1, 2))).max() > 0.5
        else:  # linear in x: nothing is measured
            layer.activation.forward = lambda x: x
            y = host(layer(tensor(x), w))
            assert np.allclose(host(layer(tensor(100 * x), w)), 100 * y)
            assert 0.8 < y[:, 1:-1, 1:-1].std() < 1.2  # the expected variance is 1


def test_the_constant_is_styled_but_not_normalised_from_c_on():
    for configuration, layers in {"a": 2, "b": 2, "c": 1, "d": 1}.items():
        G = generator(configuration)
        assert len(G.blocks[0]) == layers and G.style_layers == 4
        assert (G.to_image[0].style is None) == (configuration in "ab")


@pytest.mark.parametrize("configuration", "abcd")
def test_gradients_of_every_step(configuration):
    layer = stylegan2.CONFIGURATIONS[configuration]
    G = stylegan2.Generator(
        2, 8, 1, (2, 2), 2, 1, mixing=0.0, layer=layer, rng=np.random.default_rng(3)
    ).eval()
    for name, p in G.named_parameters():
        if name.endswith(("strength", "bias")):
            p.assign(p.data + 0.2)
    check_grads(G, np.random.default_rng(4).standard_normal((2, 2)))


@pytest.mark.parametrize("architecture", stylegan2.ARCHITECTURES)
def test_architectures(architecture):
    G = generator(architecture=architecture)
    D = stylegan2.Discriminator(8, 1, (3, 2), architecture, rng=np.random.default_rng(2))
    assert len(G.to_image) == len(D.from_image) == (2 if architecture == "skip" else 1)
    assert len(G.shortcuts) == len(D.shortcuts) == (architecture == "residual")
    z = latents(4)
    assert G(z).shape == (4, 8, 8, 1) and not np.allclose(host(G(z))[0], host(G(z))[1])
    if architecture == "skip":  # the image is the sum of the images of both sizes
        image = 0.0
        for omitted in (0, 1):
            with_one = generator(architecture=architecture)
            to_image = with_one.to_image[omitted]
            to_image.conv.weight.assign(0.0 * to_image.conv.weight.data)
            to_image.bias.assign(0.0 * to_image.bias.data)
            image = image + host(with_one(z))
        assert np.allclose(image, host(G(z)))
    check_grads(D, np.random.default_rng(1).standard_normal((4, 8, 8, 1)))


def test_mistakes():
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="images of 28x28 pixels are not 4x4, doubled"):
        stylegan2.Generator(image_size=28, rng=rng)
    with pytest.raises(
        InputError, match="architecture=resnet: choose from skip, residual, original"
    ):
        stylegan2.Discriminator(architecture="resnet", rng=rng)


def test_classes_enter_through_mappings():
    rng = np.random.default_rng(0)
    G = stylegan2.Generator(3, 8, 1, (3, 2), 4, 2, classes=5, mixing=1.0, rng=rng)
    D = stylegan2.Discriminator(8, 1, (3, 2), classes=5, layers=2, rng=rng)
    z, labels = tensor(rng.standard_normal((4, 3), dtype=np.float32)), np.array([0, 1, 2, 3])
    other = (labels + 1) % 5
    x = G.eval()(z, labels)
    assert not np.allclose(host(x), host(G(z, other)), atol=1e-4)
    logits = host(D(x, labels))
    assert logits.shape == (4,) and not np.allclose(logits, host(D(x, other)), atol=1e-4)
    target = host(D.mapping(None, labels))
    expected = (host(D.to_logit(D.features(x))) * target).sum(1) / 3**0.5
    assert np.allclose(logits, expected, atol=1e-5)
    # mixed styles have the same class
    G.train()
    labels, labels_of_calls, forward = np.zeros(400, int), [], G.mapping.forward
    G.mapping.forward = lambda z, labels: labels_of_calls.append(labels) or forward(z, labels)
    G.styles(tensor(rng.standard_normal((400, 3), dtype=np.float32)), labels)
    assert len(labels_of_calls) == 2 and labels_of_calls[0] is labels_of_calls[1]


# Training


def test_path_length_of_a_linear_map():
    """If images are A w, the path length is |A'y| / sqrt(layers)."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((2, 5, 6))
    ws = tensor(rng.standard_normal((3, 2, 5)), requires_grad=True)
    synthesis = lambda ws: ops.reshape(ops.einsum("nls,lsp->np", ws, tensor(a)), (3, 2, 3, 1))
    penalty, average = penalties.path_length(synthesis, ws, 0.5, np.random.default_rng(7), 0.25)
    noise = np.random.default_rng(7).standard_normal((3, 6)) / 6**0.5
    lengths = np.sqrt((np.einsum("lsp,np->nls", a, noise) ** 2).sum(2).mean(1))
    assert np.isclose(float(average), 0.5 + 0.25 * (lengths.mean() - 0.5))
    assert np.isclose(penalty.item(), ((lengths - float(average)) ** 2).mean())


SMALL = {"max_channels": 8, "style": 8, "mapping_layers": 2, "batch_size": 8}
SMALL |= {"g_channels": 4, "d_channels": 4}


def algorithm(recipe="stylegan2", **settings):
    recipe = recipes.find(recipe)
    small = SMALL if recipe.name.startswith("style") else {}
    settings = recipe.settings().updated({**small, **settings})
    full = data.load("digits")
    digits = data.Dataset("digits", "train", full.images[:64], full.labels[:64], full.class_names)
    return Algorithm(recipe, settings, digits.padded(settings.pad))


def test_lazy_penalties_have_separate_updates_and_the_optimisers_account_for_them():
    u = algorithm(path_every=4, penalty_every=16)
    s = u.settings
    assert np.isclose(u.g_optimizer.lr, s.lr * 4 / 5)
    assert np.allclose(u.g_optimizer.betas, (0.0, s.beta2 ** (4 / 5)))
    assert np.isclose(u.d_optimizer.lr, s.d_lr * 16 / 17)
    assert np.allclose(u.d_optimizer.betas, (0.0, s.beta2 ** (16 / 17)))
    numbers = [u.train_step() for _ in range(17)]
    assert [i for i, n in enumerate(numbers) if "path_penalty" in n] == [0, 4, 8, 12, 16]
    assert [i for i, n in enumerate(numbers) if "penalty" in n] == [0, 16]
    assert u.g_optimizer.state[0]["step"] == 17 + 5 and u.d_optimizer.state[0]["step"] == 17 + 2
    assert u.objectives.penalty_state.average_path == numbers[16]["path_length"] > 0
    phases = {"data", "fakes", "D", "D penalty", "G", "G penalty", "average"}
    assert set(u.execution.seconds) == phases
    assert all(seconds > 0 for seconds in u.execution.seconds.values())


def test_a_penalty_of_every_step_is_part_of_the_loss():
    lazy, joined = algorithm(path_every=2), algorithm(path_every=1)
    assert joined.g_optimizer.lr == joined.settings.lr
    for _ in range(3):
        joined.train_step()
    assert joined.g_optimizer.state[0]["step"] == 3
    z, labels = lazy.latents(4), lazy.labels(4)
    for u in (lazy, joined):  # equal, except for the weight of the penalty
        u.G.load_state_dict(lazy.G.state_dict())
        u.objectives.rng, u.G.mixing = np.random.default_rng(3), 0.0
        u.objectives.penalty_state.average_path = 0.5
        for _, module in u.G.modules():
            if isinstance(module, nn.Noise):
                module.mode = "none"
    (twice, numbers), (once, others) = (u.objectives.g_penalty(z, labels) for u in (lazy, joined))
    assert np.isclose(twice.item(), 2 * once.item()) and numbers == others


def test_g_generates_the_same_fakes_again_part_by_part():
    """It has the same noise as for the whole batch, and the average path length changes once."""
    parts, seen = algorithm(micro_batch=4, mixing=0.5, path_every=1), []
    for _, module in parts.G.modules():
        if isinstance(module, nn.Noise):
            module.strength.assign(np.array(1.0))
    parts.G.forward = lambda *args, forward=parts.G.forward: seen.append(forward(*args)) or seen[-1]
    for _ in range(3):
        seen.clear()
        before, numbers = parts.objectives.penalty_state.average_path, parts.train_step()
        first, again = seen[:2], seen[2:4]
        assert all(np.array_equal(host(a), host(b)) for a, b in zip(first, again, strict=True))
        assert (
            0 < numbers["path_length"] - 0.99 * before < 1
            and parts.objectives.penalty_state.average_path == numbers["path_length"]
        )


def test_the_half_life_counts_all_updates_of_d():
    u, decays = algorithm(ema_images=1000, d_steps=3), []
    u.ema.update = lambda module, decay: decays.append(decay())
    u.train_step()
    assert np.isclose(decays[0], 0.5 ** (24 / (0.05 * 24)))


def test_a_path_length_penalty_needs_styles():
    with pytest.raises(InputError, match="path_length=2: the G of dcgan has no styles"):
        algorithm("dcgan", path_length=2)


def test_the_half_life_of_the_average():
    u = algorithm(ema_images=1000, ema_start=0)
    u.images = 1_000_000
    assert np.isclose(u.ema_decay(1000), 0.5) and np.isclose(u.ema_decay(8), 0.5 ** (8 / 1000))
    u.images = 1992  # early on: a twentieth of the images so far, including these 8
    assert np.isclose(u.ema_decay(8), 0.5 ** (8 / 100))
    u.settings.ema_images = 0
    assert u.ema_decay(8) is None
    u = algorithm(ema_images=40)
    before = host(u.ema.module.constant).copy()
    u.train_step()
    decay = 0.5 ** (8 / (0.05 * 8))
    average = decay * before + (1 - decay) * host(u.G.constant)
    assert np.allclose(host(u.ema.module.constant), average, atol=1e-6)
    assert np.array_equal(host(u.ema.module.w_average), host(u.G.w_average))  # buffers are copied


def test_gradients_are_sanitised():
    g = asarray(np.array([1.0, np.nan, np.inf, -np.inf]))
    norm = optim.sanitize([g])
    assert host(g).tolist() == [1.0, 0.0, 1e5, -1e5] and float(norm) == pytest.approx(2e10**0.5)
    u = algorithm(sanitize=True)
    broken = lambda *_: (ops.sum(u.G.constant * np.nan), {})
    found, _ = u.execution.gradients("G", u.G, broken, u.latents(2))
    assert not found[0].data.any()
    healthy = lambda *_: (ops.sum(u.G.constant * 2.0), {})
    found, numbers = u.execution.gradients("G", u.G, healthy, u.latents(2))
    assert (host(found[0]) == 2).all()
    assert float(numbers["g_grad_norm"]) == pytest.approx(2 * u.G.constant.size**0.5)
    u.settings.sanitize = False
    diverged = pytest.raises(Diverged, match="step 1: mul received NaN")
    with diverged if on_cpu() else contextlib.nullcontext():
        _, numbers = u.execution.gradients("G", u.G, broken, u.latents(2))
        assert np.isnan(float(numbers["g_grad_norm"]))  # on a GPU, only the log shows it


@pytest.mark.parametrize(
    "settings",
    [
        {"path_length": 2},
        {"grow": False},
        {"g_class": "none", "d_class": "none"},
        {"d_class": "select", "grow": False},
        {"d_class": "auxiliary"},
        {"d_class": "concat"},
    ],
)
def test_ways_to_train_stylegan(settings):
    small = {"channels": 4, "max_channels": 8, "style": 8, "mapping_layers": 2}
    small |= {"batch_size": 8, "batch_sizes": "", "stable_images": 8, "fade_images": 8}
    recipe, full = recipes.find("stylegan"), data.load("digits")
    digits = data.Dataset("digits", "train", full.images[:64], full.labels[:64], full.class_names)
    u = Algorithm(recipe, recipe.settings().updated(small | settings), digits.padded(2))
    assert (u.growth is None) == (settings.get("grow") is False)
    for _ in range(5):
        numbers = u.train_step()
        assert all(np.isfinite(float(v)) for v in numbers.values())
    if not settings.get("grow", True):
        assert float(u.G.lod) == 0
    z, labels = u.latents(4), u.labels(4)
    if u.objectives.uses_classes and "select" in settings.values():  # D returns one of its logits
        x = u.G(z, labels)
        scores = host(u.D.to_logit(u.D.features(x)))
        selected = scores[np.arange(4), host(labels)]
        assert scores.shape == (4, 10) and np.array_equal(host(u.D(x, labels)), selected)


@pytest.mark.parametrize(
    "settings",
    [
        {"g_class": "none", "d_class": "none"},
        {"d_class": "mapping"},
        {"d_class": "auxiliary", "mixing": 0.9},
        {"micro_batch": 4},
    ],
)
def test_ways_to_train_stylegan2(settings):
    u = algorithm(**settings)
    for _ in range(5):
        assert all(np.isfinite(float(v)) for v in u.train_step().values())


@pytest.mark.parametrize("configuration", "abc")
def test_every_step_of_the_redesign_trains(configuration):
    u = algorithm(configuration=configuration, path_every=1)
    for _ in range(2):
        assert all(np.isfinite(float(v)) for v in u.train_step().values())


def test_feature_maps():
    G = generator()
    with nn.feature_maps(G) as maps:
        image = G(latents())
    assert maps["blocks.1.1"].shape == (3, 8, 8, 2)
    assert maps["blocks.1.1.activation"].data is maps["blocks.1.1"].data
    with nn.feature_maps(G, stylegan2.Demodulated) as styled:
        G(latents())
    assert [*styled] == ["blocks.0.0", "blocks.1.0", "blocks.1.1"]
    g = grad(ops.sum(image), maps["blocks.1.0"])
    assert g.shape == (3, 8, 8, 2) and g.data.any()
    with nn.feature_maps(G) as outer:
        with nn.feature_maps(G, stylegan2.Demodulated):
            pass
        G(latents(2))
    assert outer["blocks.1.1"].shape == (2, 8, 8, 2)  # an inner hook leaves the outer one in place
    assert "forward" not in vars(G.blocks[0])  # the hooks are removed
