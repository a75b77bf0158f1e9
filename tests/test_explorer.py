"""The explorer of a run, without its page: what its pictures show, for every kind of run, and what
is refused."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from tinygan.cli import main
from tinygan.data import to_uint8
from tinygan.errors import InputError
from tinygan.lab.explorer import Explorer
from tinygan.lab.exploring import Exploration
from tinygan.lab.requests import unpacked
from tinygan.training.sampling import generate, latents

pytestmark = pytest.mark.cpu
TINY = ["--steps", "3", "--set", "batch_size=8"]
RUNS = {
    "styles": ["stylegan2", *TINY, "g_channels=4", "d_channels=4", "latent=8", "style=8"],
    "classes": ["quick", *TINY, "g_channels=4", "d_channels=4", "latent=8"],
    "no classes": ["gan", *TINY, "hidden=16", "latent=8"],
    "codes": ["infogan", *TINY, "g_channels=4", "d_channels=4", "hidden=16"],
    "truncated": ["biggan", *TINY, "g_channels=8", "d_channels=8", "latent=8", "standing=1"],
}


@pytest.fixture(scope="module")
def explorers(tmp_path_factory):
    folder, made = tmp_path_factory.mktemp("runs"), {}
    for name, words in RUNS.items():
        assert main(["train", words[0], "--out", str(folder / name), *words[1:]]) == 0
        made[name] = Explorer(folder / name)
    assert main(["train", "gan", "--data", "ring", "--out", str(folder / "points"), *TINY]) == 0
    made["points"] = Explorer(folder / "points")
    return made


each_kind = pytest.mark.parametrize("kind", RUNS)


@each_kind
def test_the_image_of_a_seed_is_a_sample(explorers, kind):
    explorer = explorers[kind]
    place = {"seed": 7, "sliders": [], **({"label": 3} if explorer.labels else {})}
    image = explorer.images([place])
    z = latents(np.random.default_rng(7), 1, explorer.G)
    expected = generate(explorer.G, z, np.array([3]) if explorer.labels else None)
    assert np.array_equal(image, expected)


@each_kind
def test_directions_are_orthogonal_and_change_the_image(explorers, kind):
    explorer = explorers[kind]
    directions = explorer.directions
    products = directions @ directions.T
    assert len(directions) == 8 and np.allclose(products, np.diag(np.diag(products)), atol=1e-4)
    lengths = np.diag(products)
    assert (np.diff(lengths) <= 1e-4).all() and lengths[0] > 0
    at = lambda value: explorer.images([{"seed": 1, "sliders": [value]}]).astype(int)
    if kind != "codes":  # whose images are all grey in the beginning
        assert np.abs(at(3.0) - at(-3.0)).sum() > np.abs(at(0.1) - at(-0.1)).sum()


@each_kind
def test_the_square_has_its_corners_and_the_walk_goes_around(explorers, kind):
    explorer = explorers[kind]
    corners = [{"seed": seed, "label": 2} for seed in (1, 2, 3, 4)]
    if not explorer.labels:
        corners = [{"seed": seed} for seed in (1, 2, 3, 4)]
    for (u, v), corner in zip([(0, 0), (1, 0), (0, 1), (1, 1)], corners):
        difference = explorer.square(corners, u, v).astype(int) - explorer.images([corner])
        assert np.abs(difference).max() <= 1
    frames = explorer.walk(corners)
    assert frames.shape == (48, *explorer.config["image_shape"])
    assert np.array_equal(frames[0], explorer.square(corners, 0, 0)[0])
    assert np.array_equal(frames[24], explorer.square(corners, 1, 1)[0])


def test_a_style_generator_mixes_truncates_and_switches_noise_off(explorers):
    explorer = explorers["styles"]
    layers = explorer.G.style_layers
    place, other = {"seed": 1, "label": 0}, {"seed": 2, "label": 0}
    ws, others = explorer.latents([place])[0], explorer.latents([other])[0]
    mixed = explorer.latents([{**place, "mix": {"seed": 2, "from": 0, "to": 2}}])[0]
    assert np.array_equal(mixed[:2], others[:2]) and np.array_equal(mixed[2:], ws[2:])
    assert mixed.shape == (layers, 8)
    truncated = explorer.latents([{**place, "truncation": 0.0}])[0]
    assert np.allclose(truncated, explorer.G.w_average)
    explorer.G.psi = 1.0
    assert explorer.describe()["noise"] and explorer.describe()["truncation"] == "psi"


def test_the_nearest_image_of_a_training_image_is_itself(explorers):
    explorer = explorers["classes"]
    image = explorer.reals.images[123]
    index, distance = explorer.nearest(image)
    assert np.array_equal(explorer.reals.images[index], image) and distance == 0
    index, distance = explorer.nearest(np.minimum(image.astype(int) + 3, 255).astype(np.uint8))
    assert 0 < distance <= 3


@pytest.mark.parametrize("kind", ["styles", "classes", "no classes"])
def test_a_projection_is_nearer_to_the_image_than_samples_are(explorers, kind):
    """For an untrained G, by pixels; it is kept, so that it costs no time again."""
    explorer = explorers[kind]
    found = explorer.projection(5)
    assert explorer.projection(5) is found
    place = {"projected": 5, "label": int(explorer.reals.labels[5])}
    image = explorer.images([place if explorer.labels else {"projected": 5}])[0]
    assert image.shape == tuple(explorer.config["image_shape"])
    with pytest.raises(InputError, match="projected=99999999: 0 to"):
        explorer.projection(99_999_999)


# Questions and answers


@pytest.fixture
def ask(explorers):
    def ask(kind, do, **question):
        return Exploration(explorers[kind]).reply({"do": do, **question})

    return ask


def picture(data):
    return Image.open(io.BytesIO(data))


def test_answers_are_pictures(ask, explorers):
    assert picture(ask("classes", "image", place={"seed": 3})).size == (280, 280)
    sheet = picture(ask("classes", "sheet", place={"label": None}, first=40))
    assert sheet.width > 10 * 28 and sheet.height > 4 * 28
    seeds, images = explorers["classes"].sheet({"label": None}, 40)
    assert seeds == list(range(40, 80)) and len(images) == 40
    assert np.array_equal(images[13], explorers["classes"].images([{"seed": 53, "label": 3}])[0])
    corners = [{"seed": i} for i in range(4)]
    assert picture(ask("styles", "square", corners=corners, u=0.3, v=1)).format == "PNG"
    walk = picture(ask("no classes", "walk", corners=corners))
    assert walk.format == "GIF" and walk.n_frames > 20
    header, _ = unpacked(ask("classes", "nearest", place={"seed": 3}))
    assert header["distance"] > 0
    assert picture(ask("classes", "real", index=header["index"])).size == (280, 280)
    _, arrays = unpacked(ask("points", "points", place={}))
    assert arrays["fakes"].shape == arrays["reals"].shape == (1000, 2)


def test_what_the_page_is_told(explorers):
    for kind, explorer in explorers.items():
        told = json.loads(json.dumps(explorer.describe()))
        assert told["labels"] == {"no classes": 0, "points": 0}.get(kind, 10)
        assert told["points"] == (kind == "points") and told["reals"] > 0
        assert told["layers"] == (explorer.G.style_layers if kind == "styles" else 0)
        assert (
            told["truncation"]
            == (None if kind == "points" else "psi" if kind == "styles" else "threshold")
            or kind == "points"
        )


@pytest.mark.parametrize(
    "kind, question, message",
    [
        ("classes", {"do": "fly"}, "the explorer knows image"),
        ("classes", {"do": "points"}, "this run is on images"),
        ("points", {"do": "image"}, "this run is on points"),
        ("classes", {"do": "image", "place": 3}, "place: must be an object"),
        ("classes", {"do": "image", "place": {"seed": -1}}, "seed=-1"),
        ("classes", {"do": "image", "place": {"seed": 1.5}}, "seed=1.5"),
        ("classes", {"do": "image", "place": {"label": 10}}, "label=10: there are the classes 0"),
        ("classes", {"do": "image", "place": {"sliders": "a"}}, "sliders: must be a list"),
        ("classes", {"do": "image", "place": {"sliders": [99]}}, "slider=99"),
        ("classes", {"do": "image", "place": {"sliders": [0] * 99}}, "at most 8"),
        ("styles", {"do": "image", "place": {"truncation": 9}}, "truncation=9"),
        ("styles", {"do": "image", "place": {"mix": {"seed": "x"}}}, "seed='x'"),
        ("classes", {"do": "square", "corners": [{}]}, "corners: must be four places"),
        ("classes", {"do": "square", "corners": [{}] * 4, "u": 2, "v": 0}, "u=2"),
        ("classes", {"do": "real", "index": 10**9}, "there is no such real image"),
    ],
)
def test_a_wrong_question_is_refused_in_one_line(explorers, kind, question, message):
    with pytest.raises(InputError) as caught:
        Exploration(explorers[kind]).reply(question)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_an_image_is_what_sample_writes():
    """The explorer and `tinygan sample` share the conversion to uint8."""
    assert to_uint8(np.float32([-1, 0, 1])).tolist() == [0, 128, 255]
