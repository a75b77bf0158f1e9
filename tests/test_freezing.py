"""Tests of frozen parameters: a run leaves them as they are, to the last bit."""

import numpy as np
import pytest
from test_training import SMALL

from tinygan import data
from tinygan.backend import to_numpy
from tinygan.errors import InputError
from tinygan.models.freezing import freeze, parameter_name
from tinygan.training import recipes
from tinygan.training.algorithm import Algorithm

WRAPPED = {"g_class": "concat", "d_class": "projection"}
CASES = {  # recipe, settings, the layers in the setting freeze
    "wrapped": ("dcgan", WRAPPED, ["D.main.0", "D.main.2", "G.main.3", "G.embedding"]),
    "clipped": ("wgan", {"clip": 0.01}, ["D.main.0", "G.main.0"]),
    "growing": ("progan", {}, ["D.blocks.0", "D.from_image", "G.blocks.0"]),
    "lazy": ("stylegan2", {"path_every": 2}, ["D.from_image", "G.mapping"]),
    "in parts": ("dcgan", {"ortho": 0.1, "micro_batch": 4}, ["D.main.0", "G.main.0"]),
}


def weights(algorithm):
    """{part: {name: bytes}} of the parameters of G, of D and of the average."""
    networks = {"G": algorithm.G, "D": algorithm.D, "average": algorithm.ema.module}
    return {
        part: {
            parameter_name("D" if part == "D" else "G", path): to_numpy(p.data).tobytes()
            for path, p in network.named_parameters()
        }
        for part, network in networks.items()
    }


@pytest.fixture(scope="module")
def digits():
    return data.load("digits").subset(slice(200))


def algorithm(digits, recipe, **settings):
    recipe = recipes.find(recipe)
    settings = {"batch_size": 8, **SMALL[recipe.name], **settings}
    settings = recipe.settings().updated(settings)
    return Algorithm(recipe, settings, digits.padded(settings.pad))


@pytest.mark.parametrize("case", CASES)
def test_frozen_parameters_keep_their_bytes(digits, case, capsys):
    recipe, settings, layers = CASES[case]
    trained = algorithm(digits, recipe, freeze=", ".join(layers), ema=0.9, **settings)
    before = weights(trained)
    with np.errstate(all="ignore"):
        for _ in range(4):
            trained.train_step()
    assert "warning" not in capsys.readouterr().err  # such as: the steps cannot be recorded
    for part, after in weights(trained).items():
        frozen = {name for name in after if name.startswith(tuple(f"{n}." for n in layers))}
        changed = {name for name in after if after[name] != before[part][name]}
        assert frozen and not changed & frozen and len(changed) > 2, part


def test_statistics_of_frozen_layers_still_follow_the_data(digits):
    trained = algorithm(digits, "dcgan", freeze="G.main.1")
    means = lambda: np.array(to_numpy(dict(trained.G.named_buffers())["main.1.running_mean"]))
    before = means()
    with np.errstate(all="ignore"):
        trained.train_step()
    assert not np.array_equal(before, means())


def networks(**settings):
    recipe = recipes.find("dcgan")
    chosen = recipe.settings().updated({**SMALL["dcgan"], **settings})
    return recipe.build(chosen, (28, 28, 1), 10, np.random.default_rng(0))


@pytest.mark.cpu
def test_names_of_layers_and_patterns():
    """Whether a network has a wrapper or not, its layers have the same names."""
    for wrapper in ({}, WRAPPED, {**WRAPPED, "d_class": "concat"}):
        for pattern, count in {
            "D.main.0": 1,
            "D.main.*.gain": 1,
            "*.gain": 3,
            "G.main.[14]": 4,
            "D.main.3.bias, G.main.0*": 2,
            "": 0,
        }.items():
            G, D = networks(freeze=pattern, **wrapper)
            frozen = [not p.requires_grad for p in (*G.parameters(), *D.parameters())]
            assert sum(frozen) == count, (pattern, wrapper)


@pytest.mark.cpu
@pytest.mark.parametrize(
    "patterns, words",
    [
        ("D.man.0", "no parameter matches D.man.0: did you mean D.main.0? (choose from G.main.0, "),
        ("D.main.0,d.main.2", "no parameter matches d.main.2: did you mean D.main.2? "),
        ("D.main.1", "`tinygan show RECIPE` prints all layers"),  # without parameters
        ("main.0.weight", "no parameter matches main.0.weight: choose from G.main.0"),
        ("D.*", "freeze=D.*: all of D would be frozen, and could learn nothing"),
        ("G", "all of G would be frozen"),
    ],
)
def test_patterns_that_make_no_sense(patterns, words):
    with pytest.raises(InputError) as error:
        networks(freeze=patterns)
    assert words in str(error.value)


@pytest.mark.cpu
def test_the_error_about_large_networks_is_short():
    recipe = recipes.find("stylegan2")
    G, D = recipe.build(recipe.settings(), (28 + 4, 28 + 4, 1), 10, np.random.default_rng(0))
    with pytest.raises(InputError) as error:
        freeze({"G": G, "D": D}, "x")
    assert len(str(error.value)) < 600 and "G.constant, G.mapping.embedding, " in str(error.value)
