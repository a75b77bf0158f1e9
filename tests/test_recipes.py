"""Recipes: one for each paper's file, reproducible networks, and checks of a user's networks."""

import importlib
import re
import traceback
from pathlib import Path

import numpy as np
import pytest
from host import host

import tinygan.models
from tinygan import nn, ops
from tinygan.backend import asarray
from tinygan.cli import main
from tinygan.errors import InputError
from tinygan.models import dcgan
from tinygan.models.image_sizes import SizeError
from tinygan.models.recipe import Recipe
from tinygan.models.settings import Settings
from tinygan.training import recipes

IMAGE = (28, 28, 1)


NARROW = {
    "g_channels": 8,
    "d_channels": 8,
    "channels": 4,
    "max_channels": 8,
    "hidden": 8,
    "style": 8,
}


def build(recipe, seed=0, image=IMAGE, **changes):
    """(G, D) with few channels, for images of ten classes, and the state of the generator after
    drawing their weights."""
    rng, settings = np.random.default_rng(seed), recipe.settings()
    narrow = {name: value for name, value in NARROW.items() if hasattr(settings, name)}
    pair = recipe.build(settings.updated(narrow | changes), image, 10, rng)
    return pair, rng.bit_generator.state


def mnist_shape(recipe):
    """The shape of the images in a run of this recipe on MNIST."""
    return (28 + 2 * recipe.settings().pad,) * 2 + (1,)


def same(a, b):
    """Whether two networks have the same parameters and buffers, bit for bit."""
    contents = lambda state: {name: (x.shape, x.tobytes()) for name, x in state.items()}
    return contents(a.state_dict()) == contents(b.state_dict())


# The registry


def test_the_registry_has_the_recipe_of_each_papers_file():
    files = {path.stem for path in Path(tinygan.models.__file__).parent.glob("*.py")}
    others = {"__init__", "recipe", "contract", "settings", "growth", "image_sizes", "freezing"}
    papers = files - others
    assert {name.replace("-", "_") for name in recipes.RECIPES} == papers
    for name, recipe in recipes.RECIPES.items():
        paper = importlib.import_module(f"tinygan.models.{name.replace('-', '_')}")
        assert paper.RECIPE is recipe and recipe.name == name
        first_line = paper.__doc__.partition("\n")[0]
        assert paper.__doc__.startswith(name) or "20" in first_line, (
            f"{name}: name the paper and its year in the first line"
        )


def test_the_order_of_the_recipes():
    names = (
        "quick hour gan dcgan lsgan wgan wgan-gp sngan cgan acgan projection infogan progan biggan "
        "stylegan stylegan2 r3gan"
    )
    assert [*recipes.RECIPES] == names.split()
    assert recipes.DEFAULT == "quick" and recipes.find("wgan-gp") is recipes.RECIPES["wgan-gp"]


def test_a_variant_differs_only_in_the_given_settings():
    before = dcgan.RECIPE.settings()
    recipe = dcgan.RECIPE.variant("mine", "a summary", lr=0.5)
    assert (recipe.name, recipe.summary) == ("mine", "a summary")
    assert recipe.settings() == before.updated({"lr": 0.5})
    assert recipe.networks is dcgan.RECIPE.networks and dcgan.RECIPE.settings() == before


# The same networks from the same seed


@pytest.mark.parametrize("recipe", recipes.RECIPES.values(), ids=recipes.RECIPES)
def test_a_recipe_built_twice_from_one_seed_is_the_same(recipe):
    (G, D), state = build(recipe, 3, mnist_shape(recipe))
    (twin_G, twin_D), twin_state = build(recipe, 3, mnist_shape(recipe))
    (other_G, other_D), _ = build(recipe, 4, mnist_shape(recipe))
    assert same(G, twin_G) and same(D, twin_D) and state == twin_state
    assert not same(G, other_G) and not same(D, other_D)


@pytest.mark.parametrize("recipe", recipes.RECIPES.values(), ids=recipes.RECIPES)
def test_the_checks_change_nothing(recipe, monkeypatch):
    checked, state = build(recipe, 3, mnist_shape(recipe))
    for check in ("check_draws", "check_calls"):
        monkeypatch.setattr(f"tinygan.models.recipe.{check}", lambda *args: None)
    unchecked, unchecked_state = build(recipe, 3, mnist_shape(recipe))
    assert state == unchecked_state
    for a, b in zip(checked, unchecked):
        assert same(a, b) and all(module.training for _, module in a.modules())


# A user's networks: complete ones, and ones with planted mistakes


class G(nn.Module):
    def __init__(self, sizes, rng):
        self.layer = nn.Linear(sizes.latent, int(np.prod(sizes.image)), rng=rng)
        self.latent, self.classes, self.image = sizes.latent, sizes.g_classes, sizes.image

    def forward(self, z, labels=None):
        return ops.tanh(self.layer(z)).reshape(-1, *self.image)


class D(nn.Module):
    def __init__(self, sizes, rng):
        shape = (*sizes.image[:2], sizes.d_image_channels)
        self.image_shape, self.feature_shape = shape, (5,)
        self.hidden = nn.Linear(int(np.prod(shape)), 5, rng=rng)
        self.dropout = nn.Dropout(0.5, rng=rng)
        self.last = nn.Linear(5, 1, rng=rng)

    def features(self, x):
        return self.dropout(self.hidden(x.reshape(len(x), -1)))

    def score(self, features):
        return self.last(features).reshape(-1)

    def forward(self, x, labels=None):
        return self.score(self.features(x))


def mine(
    change=lambda G, D, rng: None,
    make=lambda sizes, rng: (G(sizes, rng), D(sizes, rng)),
    g_class=(),
    d_class=(),
):
    """A user's recipe. change(G, D, rng) changes its networks, which make(sizes, rng) returns;
    g_class and d_class are additional choices of these settings."""

    def networks(s, sizes, rng):
        pair = make(sizes, rng)
        change(*pair, rng)
        return pair

    return Recipe(
        "mine",
        "my networks",
        Settings,
        networks,
        {"latent": 6},
        g_class_choices=("none", "concat", "cbn", *g_class),
        d_class_choices=("none", "concat", "auxiliary", "projection", *d_class),
    )


CONDITIONING = [
    {},
    {"g_class": "concat", "d_class": "concat"},
    {"g_class": "concat", "d_class": "auxiliary"},
    {"g_class": "concat", "d_class": "projection"},
    {"g_class": "cbn", "d_class": "projection"},
]


@pytest.mark.parametrize("changes", CONDITIONING, ids=str)
def test_complete_networks(changes):
    (g, d), _ = build(mine(), **changes)
    labels = (np.array([3, 4, 5]),) if changes else ()
    images = g(asarray(np.ones((3, 6), np.float32)), *labels)
    logits = d(images, *labels)
    assert images.shape == (3, *IMAGE)
    assert logits[1].shape == (3, 10) if "auxiliary" in changes.values() else logits.shape == (3,)


@pytest.mark.parametrize("changes", [{}, {"g_class": "concat", "d_class": "projection"}], ids=str)
@pytest.mark.parametrize(
    "change, path",
    [
        (
            lambda G, D, rng: setattr(G, "layer", nn.Linear(*G.layer.weight.shape)),
            "G.+layer.weight",
        ),
        (lambda G, D, rng: setattr(D, "last", nn.Linear(5, 1)), "D.+last.weight"),
        (
            lambda G, D, rng: D.last.bias.assign(np.random.default_rng().standard_normal(1)),
            "D.+last.bias",
        ),
        (lambda G, D, rng: setattr(G, "layer", nn.SpectralNorm(G.layer)), r"G.+layer.u"),
    ],
)
def test_a_forgotten_rng_is_detected(change, path, changes):
    message = f"^{path} differs when it is drawn again.*: pass rng=rng to the layer"
    with pytest.raises(InputError, match=message):
        build(mine(change), **changes)


def test_another_generator_in_a_layer_is_detected():
    def change(G, D, rng):
        D.dropout = nn.Dropout(0.5, rng=np.random.default_rng(0))

    message = "^D.dropout.rng is another generator than rng, and a resumed run would restart it"
    with pytest.raises(InputError, match=message):
        build(mine(change))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_detected(value):
    message = "^D.last.bias has initial values that are NaN or infinite"
    with pytest.raises(InputError, match=message):
        build(mine(lambda G, D, rng: D.last.bias.assign(np.array([value]))))


@pytest.mark.parametrize(
    "name, value, size", [("latent", 6, "latent"), ("classes", None, "g_classes")]
)
def test_a_missing_attribute_of_g_is_named(name, value, size):
    message = f"has no attribute {name}, but these settings need {value}: "
    message = rf"^G \(G\) {message}write self.{name} = sizes.{size}$"
    with pytest.raises(InputError, match=message):
        build(mine(lambda G, D, rng: delattr(G, name)))


@pytest.mark.parametrize(
    "name, value, changes, message",
    [
        ("latent", 5, {}, "G .* has latent = 5, but these settings need 6"),
        (
            "latent",
            6,
            {"g_class": "concat", "d_class": "concat"},
            "has latent = 6, but these settings need 16",
        ),
        (
            "classes",
            10,
            {},
            "has classes = 10, but these settings need None: write self.classes = sizes.g_classes",
        ),
        (
            "classes",
            None,
            {"g_class": "cbn", "d_class": "concat"},
            "has classes = None, but these settings need 10",
        ),
    ],
)
def test_a_wrong_attribute_of_g_is_named(name, value, changes, message):
    with pytest.raises(InputError, match=message):
        build(mine(lambda G, D, rng: setattr(G, name, value)), **changes)


@pytest.mark.parametrize(
    "d_class, name, advice",
    [
        ("concat", "image_shape", r"write self.image_shape = \(height, width, channels\)"),
        *(
            (d_class, name, advice)
            for d_class in ("auxiliary", "projection")
            for name, advice in (
                ("features", r"define features\(self, x\)"),
                ("score", r"define score\(self, features\)"),
                ("feature_shape", "write self.feature_shape = "),
            )
        ),
    ],
)
def test_a_missing_attribute_of_d_is_named(d_class, name, advice):
    class Incomplete(D):
        def __getattribute__(self, attribute):
            if attribute == name:
                raise AttributeError(name)
            return super().__getattribute__(attribute)

    recipe = mine(make=lambda sizes, rng: (G(sizes, rng), Incomplete(sizes, rng)))
    message = rf"has no attribute {name}, which d_class={d_class} needs: {advice}"
    with pytest.raises(InputError, match=rf"^D \(Incomplete\) {message}"):
        build(recipe, g_class="concat", d_class=d_class)


def test_a_network_that_is_not_a_module():
    with pytest.raises(InputError, match="^D is a function: derive it from nn.Module"):
        build(mine(make=lambda sizes, rng: (G(sizes, rng), lambda x: x)))


def with_forward(role, forward):
    """A function that makes (G, D), with another `forward` in G or in D (role)."""

    def make(sizes, rng):
        pair = {"G": G(sizes, rng), "D": D(sizes, rng)}
        vars(pair[role])["forward"] = forward
        return pair["G"], pair["D"]

    return make


@pytest.mark.parametrize(
    "make, message",
    [
        (
            with_forward("G", lambda z: z),
            r"^from 2 latents, G returns a Tensor \(2, 6\): it must return images \(2, 28, 28, 1",
        ),
        (with_forward("G", lambda z: None), "^from 2 latents, G returns None"),
        (
            with_forward("D", lambda x: ops.mean(x)),
            r"^from 2 images, D returns a Tensor \(\): it must return logits \(2,\)",
        ),
        (with_forward("D", lambda x: 0.5), "^from 2 images, D returns 0.5"),
        (
            with_forward("D", lambda x: (x[:, 0, 0, 0], x[:, 0, 0])),
            r"D returns a Tensor \(2, 1\) beside its logits",
        ),
    ],
)
def test_the_outputs_of_networks_are_checked(make, message):
    with pytest.raises(InputError, match=message):
        build(mine(make=make))


@pytest.mark.parametrize(
    "changes, expected", [({}, None), ({"g_class": "cbn", "d_class": "select"}, [0, 0])]
)
def test_the_check_passes_labels_if_there_are_classes(changes, expected):
    calls = []

    class Select(D):
        def forward(self, x, labels=None):
            labels = None if labels is None else host(labels).tolist()
            calls.append((x.shape, self.training, labels))
            return super().forward(x)

    build(
        mine(make=lambda sizes, rng: (G(sizes, rng), Select(sizes, rng)), d_class=("select",)),
        **changes,
    )
    assert calls == [((2, *IMAGE), False, expected)]


# An error in the settings is one line; a bug keeps its traceback


WRONG_SETTINGS = [
    (
        "dcgan",
        {"pad": "1"},
        "images of 28x28 pixels, 30x30 with pad=1, cannot be halved 2 times: set pad=0",
    ),
    (
        "dcgan",
        {"equalized": "true", "d_norm": "spectral"},
        "equalized and norm=spectral both scale D's weights",
    ),
    (
        "dcgan",
        {"g_class": "concat"},
        "settings g_class=concat d_class=none: give the class to both networks, or to neither",
    ),
    (
        "gan",
        {"g_class": "cbn", "d_class": "projection"},
        "g_class=cbn: for the networks of gan, choose from none, concat",
    ),
    ("sngan", {"pad": "0"}, "images of 28x28 pixels cannot be halved 3 times: set pad=2"),
    (
        "progan",
        {"pad": "0"},
        "images of 28x28 pixels are not 4x4, doubled several times: set pad=2",
    ),
    (
        "stylegan",
        {"pad": "3"},
        "28x28 pixels, 34x34 with pad=3, are not 4x4, doubled several times: set pad=2",
    ),
    (
        "stylegan",
        {"mapping_layers": "0"},
        "a style is as long as z and its class: style=128, not 64",
    ),
    (
        "stylegan2",
        {"pad": "1"},
        "28x28 pixels, 30x30 with pad=1, are not 4x4, doubled several times: set pad=2",
    ),
    ("stylegan2", {"d_class": "mapping", "mapping_layers": "0", "style": "32"}, "style=96, not 32"),
    ("r3gan", {"pad": "1"}, "30x30 with pad=1, cannot be halved down to 4 to 7 pixels: set pad=0"),
    (
        "r3gan",
        {"group_channels": "12"},
        "group_channels=12 must divide twice the channels, which are [128, 32, 8]",
    ),
    (
        "biggan",
        {"pad": "0"},
        "images of 28x28 pixels are not 4x4, doubled several times: set pad=2",
    ),
    (
        "biggan",
        {"latent": "18"},
        "latent=18 (with the embedding, for g_class=concat) cannot be split into 4 equal parts",
    ),
    ("biggan", {"g_channels": "12"}, "self-attention divides the channels by 8"),
    ("biggan", {"attention": "12"}, "attention=12: choose the side of a feature map"),
]


@pytest.mark.parametrize("recipe, changes, message", WRONG_SETTINGS)
def test_the_error_for_settings_that_contradict_each_other_is_one_line(
    recipe, changes, message, capsys
):
    assignments = [f"{name}={value}" for name, value in changes.items()]
    assert main(["show", recipe, "--set", *assignments]) == 2
    err = capsys.readouterr().err
    assert err.startswith("tinygan: error: ") and message in err and err.count("\n") == 1


@pytest.mark.parametrize("recipe", recipes.RECIPES.values(), ids=recipes.RECIPES)
def test_images_of_any_size_work_or_raise_an_input_error(recipe):
    without_attention = {"attention": 0} if recipe.name == "biggan" else {}
    squares = [(side, side) for side in (1, 2, 3, 4, 5, 6, 8, 12)]
    for height, width in [*squares, (8, 4), (4, 8), (8, 9)]:
        try:
            build(recipe, image=(height, width, 3), **without_attention)
        except InputError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("kind", [ValueError, TypeError, IndexError])
def test_a_bug_in_a_users_constructor_keeps_its_traceback(kind):
    def constructor_with_a_bug(sizes, rng):
        raise kind("a bug")

    with pytest.raises(kind, match="^a bug$") as raised:
        build(mine(make=constructor_with_a_bug))
    assert type(raised.value) is kind
    assert "constructor_with_a_bug" in "".join(traceback.format_tb(raised.value.__traceback__))


def test_a_bug_in_a_users_forward_keeps_its_traceback():
    def forward_with_a_bug(z):
        return {}["a bug"]

    with pytest.raises(KeyError) as raised:
        build(mine(make=with_forward("G", forward_with_a_bug)))
    assert "forward_with_a_bug" in "".join(traceback.format_tb(raised.value.__traceback__))


# Images of other sizes


@pytest.mark.parametrize(
    "size",
    [(8, 8), (30, 30), (32, 32), (33, 33), (36, 36), (30, 20), (32, 48), (20, 33), (1, 1)],
    ids=str,
)
@pytest.mark.parametrize(
    "name", ["dcgan", "sngan", "progan", "biggan", "stylegan", "stylegan2", "r3gan"]
)
def test_the_advice_about_the_size_of_images_helps(name, size):
    """Either the recipe takes the images, or what the message advises makes it take them."""
    recipe = recipes.find(name)

    def error_of(settings, size):
        """Return None, or the error."""
        shape = *(side + 2 * settings.pad for side in size), 1
        try:
            recipe.build(settings, shape, 2, rng=0)
        except SizeError as error:
            return error

    settings = recipe.settings()
    if error := error_of(settings, size):
        message = str(error)
        assert message.startswith(f"images of {size[0]}x{size[1]} pixels") and "\n" not in message
        pad = re.search(r"set pad=(\d+)", message)
        settings = settings.updated({"pad": pad[1]}) if pad else settings
        resized = re.search(r"--image-size (\d+)x(\d+)(?: or (\d+)x(\d+))?\)", message)
        if resized is None:
            assert pad and error.pad == int(pad[1]) and not error_of(settings, size)
        else:
            assert error.pad is None and "gan takes any size" in message
            sides = [int(side) for side in resized.groups() if side]
            for advised in zip(sides[::2], sides[1::2]):
                assert not error_of(settings, advised)


def test_the_advice_without_a_recipe_names_sizes():
    with pytest.raises(InputError) as error:
        dcgan.Generator(image_size=30, rng=0)
    assert (
        str(error.value)
        == "images of 30x30 pixels cannot be halved 2 times: choose 28x28 or 32x32 pixels"
    )
