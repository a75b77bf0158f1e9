"""Tests of the table of penalties: each entry must be complete, and do what its fields say."""

import dataclasses

import numpy as np
import pytest
from host import host
from test_readme import own_file
from test_training import SMALL

from tinygan import data, ops
from tinygan.errors import InputError
from tinygan.files import checkpoint
from tinygan.gan import penalties
from tinygan.gan.penalties import IMAGES, LATENTS, PENALTIES, Penalty, check
from tinygan.models.settings import Settings
from tinygan.settings import setting
from tinygan.training import own_penalty, recipes
from tinygan.training.algorithm import Algorithm
from tinygan.training.statistics import to_floats
from tinygan.training.trainer import Trainer

EXAMPLE = Penalty(
    "square",
    lambda D, reals: ops.mean(ops.square(D(reals))),
    "nobody 2026, equation 1",
    "weight of this penalty; 0: off",
    "D",
    "reals",
    lazy=True,
    state="",
    draws=False,
    logged_as=("penalty",),
)


def level_of_images(G, z, average, rng):
    images = G(z + ops.mean(z) * float(rng.random()))
    level = ops.mean(ops.square(images))
    return level + average, 0.5 * average + 0.5 * level.data


def penalty_of_the_guide():
    """Return the penalty that tinygan/README.md has as an example, as an entry of the table."""
    names = {}
    exec(own_file("my_penalties.py"), names)
    entry = own_penalty.complete(names["one_sided"])
    return entry._replace(name="gp_one_sided", logged_as=("penalty",))


OTHERS = [  # one for each key of APPLIED_TO that the table does not use yet
    EXAMPLE._replace(
        name="latents",
        function=level_of_images,
        trains="G",
        applied_to="latents",
        state="average_level",
        draws=True,
        logged_as=("level_penalty", "level"),
    ),
    EXAMPLE._replace(
        name="apart",
        function=lambda real, fake: ops.square(ops.mean(real) - ops.mean(fake)),
        applied_to="logits",
        lazy=False,
        logged_as=(),
    ),
    EXAMPLE._replace(
        name="small_g",
        function=lambda network: sum(ops.sum(ops.square(p)) for p in network.parameters()),
        trains="G",
        applied_to="network",
        lazy=False,
        logged_as=(),
    ),
    EXAMPLE._replace(name="fake_square", applied_to="fakes"),
    penalty_of_the_guide(),
]


@pytest.fixture(scope="module")
def digits():
    full = data.load("digits")
    return data.Dataset("digits", "train", full.images[:200], full.labels[:200], full.class_names)


@pytest.fixture(params=[*PENALTIES, *OTHERS], ids=lambda entry: entry.name)
def entry(request, monkeypatch):
    """Each entry of the table, and entries that somebody might add."""
    if request.param in OTHERS:
        monkeypatch.setattr(penalties, "PENALTIES", (*PENALTIES, request.param))
    return request.param


def settings_of(recipe, entry, **changes):
    """Return the settings of a recipe, with a setting for the weight of a new entry."""
    settings = recipe.settings()
    if entry in OTHERS:
        kind = dataclasses.make_dataclass(
            "More", [(entry.name, float, setting(0.0, entry.meaning, 0))], bases=(type(settings),)
        )
        settings = kind(**dataclasses.asdict(settings))
    none = {other.name: 0 for other in PENALTIES}
    return settings.updated(
        {**none, "batch_size": 8, "penalty_every": 1, "path_every": 1, **changes}
    )


def networks_for(entry):
    """Return (recipe, small settings) where D processes each image independently, and G has styles
    if the entry needs them."""
    name, more = (
        ("stylegan2", {}) if entry.applied_to == "styles" else ("dcgan", {"d_norm": "none"})
    )
    return recipes.find(name), {**SMALL[name], **more}


def make(entry, digits, weight, **changes):
    recipe, small = networks_for(entry)
    if entry.start and weight:
        changes = {entry.start: 0, **changes}
    settings = settings_of(recipe, entry, **{**small, entry.name: weight, **changes})
    algorithm = Algorithm(recipe, settings, digits.padded(settings.pad))
    for name in entry.states if entry.start else ():  # as if it had begun
        setattr(algorithm.objectives.penalty_state, name, 0.5)
    return algorithm


def gradients_of_a_step(algorithm):
    """Return ({"D": gradients of its updates, "G": ...}, numbers) of a step that leaves the weights
    unchanged."""
    recorded = {}
    for which, optimizer in (("D", algorithm.d_optimizer), ("G", algorithm.g_optimizer)):
        updates = recorded[which] = []
        optimizer.step = lambda gradients, updates=updates: updates.append(
            np.concatenate([host(g).ravel() for g in gradients if g is not None])
        )
    return recorded, algorithm.train_step()


def test_an_entry_is_complete(entry):
    check(entry)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"applied_to": "nowhere"}, "applied_to='nowhere': choose from logits, reals"),
        ({"trains": "G"}, "it cannot train 'G'"),
        ({"trains": ""}, "it cannot train ''"),
        ({"draws": True}, "is called with .D, reals, rng."),
        ({"applied_to": "between"}, "is called with .D, reals, fakes."),
        ({"state": "x"}, "is called with .D, reals, state."),
        ({"applied_to": "network", "function": ops.sum}, "applied to network, it cannot be lazy"),
        ({"logged_as": ()}, "logged_as=.* must have 1 names"),
        ({"logged_as": ("a", "b")}, "logged_as=.* must have 1 names"),
        ({"start": "lecam_start"}, "start=lecam_start needs a state"),
        ({"source": ""}, "its source and its meaning"),
        ({"meaning": ""}, "its source and its meaning"),
    ],
)
def test_an_incomplete_entry_is_an_error(changes, message):
    with pytest.raises(ValueError, match=f"penalty square: .*{message}"):
        check(EXAMPLE._replace(**changes))


def test_an_own_penalty_has_no_start():
    own = Penalty("mine", lambda real, fake, x: (x, x), applied_to="logits", state="x", start="pad")
    with pytest.raises(ValueError, match="penalty mine: leave out start: give its weight a sched"):
        own_penalty.complete(own)
    whole = own_penalty.complete(own._replace(start=""))
    assert whole.logged_as == ("own_penalty", "own_penalty_state")


@pytest.mark.parametrize("field", ["source", "meaning", "trains", "logged_as"])
def test_a_missing_field_is_an_error(field):
    with pytest.raises(ValueError, match=field.removesuffix("s")):
        check(EXAMPLE._replace(**{field: Penalty._field_defaults[field]}))


def test_every_entry_has_its_setting():
    fields = {field.name: field for field in dataclasses.fields(Settings)}
    for entry in PENALTIES:
        assert (
            fields[entry.name].default == 0.0
            and fields[entry.name].metadata["doc"] == entry.meaning
        )
    assert len({entry.name for entry in PENALTIES}) == len(PENALTIES)


def test_it_trains_the_networks_in_its_entry(entry, digits, monkeypatch):
    # Nothing can be read in a recorded step.
    monkeypatch.setattr("tinygan.recorded.enabled", False)
    if entry.applied_to == "weights":
        algorithm = make(entry, digits, 0.01)
        algorithm.train_step()
        assert max(np.abs(host(p)).max() for p in algorithm.D.parameters()) <= np.float32(0.01)
        assert max(np.abs(host(p)).max() for p in algorithm.G.parameters()) > 0.01
        return
    without, with_it = make(entry, digits, 0.0), make(entry, digits, 0.5)
    for algorithm in (without, with_it):  # so that the gradients of D's logits are longer than 1
        for parameter in algorithm.D.parameters():
            parameter.assign(30.0 * parameter.data)
    without, _ = gradients_of_a_step(without)
    with_it, numbers = gradients_of_a_step(with_it)
    for which in "DG":
        assert len(without[which]) == len(with_it[which]) == 1
        assert (np.abs(without[which][0] - with_it[which][0]).max() > 1e-7) == (
            which in entry.trains
        )
    assert set(entry.logged_as) <= numbers.keys()


def test_a_lazy_penalty_has_updates_of_its_own(entry, digits, monkeypatch):
    """A penalty that cannot be lazy is in every update."""
    monkeypatch.setattr("tinygan.recorded.enabled", False)
    every = {"penalty_every": 4, "path_every": 4}
    lazy, in_loss = make(entry, digits, 0.5, **every), make(entry, digits, 0.5)
    separate = entry.lazy and entry.applied_to in (*IMAGES, *LATENTS)
    which = "G" if entry.applied_to in LATENTS else "D"
    assert lazy.objectives.penalty_every(which) == (4 if separate else 1)
    optimizers = [getattr(algorithm, f"{which.lower()}_optimizer") for algorithm in (lazy, in_loss)]
    assert np.isclose(optimizers[0].lr, optimizers[1].lr * (4 / 5 if separate else 1))
    recorded, _ = gradients_of_a_step(lazy)
    for _ in range(4):
        lazy.train_step()
    assert [len(recorded[name]) for name in "DG"] == [
        5 + 2 * separate * (name == which) for name in "DG"
    ]


@pytest.mark.parametrize(
    "settings, images",
    [
        ({"d_norm": "none"}, 2),  # reals and fakes, once each
        ({"d_norm": "batch"}, 3),  # the running statistics would miss a batch
        ({"d_norm": "none", "augment": "diffaug"}, 3),  # other random numbers for the penalty
        ({"d_norm": "none", "penalty_every": 2}, 3),
    ],
)
def test_r1_uses_the_logits_of_the_loss_if_it_can(settings, images, digits, monkeypatch):
    monkeypatch.setattr("tinygan.recorded.enabled", False)
    recipe = recipes.find("dcgan")
    settings = {"batch_size": 8, "g_channels": 4, "d_channels": 4, "r1": 5.0, **settings}
    runs = [Algorithm(recipe, recipe.settings().updated(settings), digits, 0) for _ in range(2)]
    runs[1].objectives.D_is_a_function = False
    counts, numbers = [0, 0], []
    for i, run in enumerate(runs):
        forward = run.D.forward

        def counted(x, *rest, i=i, forward=forward):
            counts[i] += len(x)
            return forward(x, *rest)

        run.D.forward = counted
        numbers.append(to_floats(run.train_step()))
    assert counts == [8 * (images + 1), 8 * (3 + 1)]  # and once more for G's loss
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-5)
    for p, q in zip(runs[0].D.parameters(), runs[1].D.parameters()):
        np.testing.assert_allclose(host(p), host(q), rtol=1e-3, atol=1e-6)


def test_a_penalty_that_cannot_be_lazy_is_an_error_with_penalty_every(digits, monkeypatch):
    always = EXAMPLE._replace(lazy=False)
    monkeypatch.setattr(penalties, "PENALTIES", (*PENALTIES, always))
    monkeypatch.setitem(globals(), "OTHERS", [*OTHERS, always])
    make(always, digits, 0.5)
    message = "square=0.5: this penalty must be applied at every update: set penalty_every=1, not 4"
    with pytest.raises(InputError, match=message):
        make(always, digits, 0.5, penalty_every=4)


def test_it_draws_random_numbers_if_its_entry_says_so(entry, digits):
    if entry.applied_to not in IMAGES:
        return
    algorithm = make(entry, digits, 0.5)
    reals, labels = algorithm.reals(0)
    fakes = algorithm.fakes(labels, for_G=False)
    before = algorithm.rng.bit_generator.state
    algorithm.objectives.d_penalty(reals, labels, fakes.images, fakes.labels)
    assert (algorithm.rng.bit_generator.state != before) == entry.draws


def test_its_state_is_kept_in_checkpoints(entry, digits, tmp_path):
    if not entry.state:
        return
    recipe, small = networks_for(entry)
    changes = {"steps": 2, "checkpoint_every": 2, **({entry.start: 1} if entry.start else {})}
    settings = settings_of(recipe, entry, **{**small, entry.name: 0.5, **changes})
    trainer = Trainer.start(recipe, settings, digits, tmp_path / "run")
    states = lambda trainer: vars(trainer.algorithm.objectives.penalty_state)
    assert all(states(trainer)[name] == 0 for name in entry.states)
    trainer.run(progress=False)
    values = {name: float(states(trainer)[name]) for name in entry.states}
    run = checkpoint.open_run(tmp_path / "run")
    assert all(value != 0 and run.meta[name] == value for name, value in values.items())
    again = Trainer(recipe, settings.updated({"steps": 4}), digits, tmp_path / "run")
    again.resume(run)
    assert {name: states(again)[name] for name in entry.states} == values


def test_reals_and_fakes_have_the_same_class_for_penalties_between_them(digits):
    for entry in PENALTIES:
        algorithm = make(
            entry,
            digits,
            0.5,
            **({"g_class": "mapping"} if entry.applied_to == "styles" else {"g_class": "concat"}),
            d_class="projection",
        )
        _, labels = algorithm.reals(0)
        same = np.array_equal(host(labels), host(algorithm.fakes(labels, for_G=False).labels))
        assert same == (entry.applied_to == "between"), entry.name


def test_a_penalty_on_styles_needs_a_g_with_styles(digits):
    styled = next(entry for entry in PENALTIES if entry.applied_to == "styles")
    recipe = recipes.find("dcgan")
    with pytest.raises(InputError, match=f"{styled.name}=2: the G of dcgan has no styles"):
        Algorithm(recipe, recipe.settings().updated({styled.name: 2}), digits)
