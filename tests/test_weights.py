"""Weights out and in: safetensors files with PyTorch's names and axes. test_torch_twins.py compares
with PyTorch itself."""

import json
import shutil
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cli import fails, succeeds

import tinygan
from tinygan import nn
from tinygan.errors import InputError, quoted, warn_once
from tinygan.files import checkpoint
from tinygan.models import dcgan
from tinygan.training import recipes
from tinygan.training.sampling import load_generator, load_networks
from tinygan.weights.layout import PATTERNS, entries

NO_PACKAGE = not __import__("importlib.util").util.find_spec("safetensors")
needs_package = pytest.mark.skipif(NO_PACKAGE, reason="the package safetensors is not installed")

if not NO_PACKAGE:
    from safetensors.numpy import load_file, save_file


def rng():
    return np.random.default_rng(0)


def same(a, b):
    """Return whether two networks have the same weights, bit for bit."""
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(
        a[name].dtype == b[name].dtype and a[name].tobytes() == b[name].tobytes() for name in a
    )


def other_weights(network):
    """Change all weights, statistics and buffers of a network."""
    draw, state = np.random.default_rng(1), network.state_dict()
    for path, array in state.items():
        if not path.endswith("lod"):
            state[path] = array + draw.uniform(0.1, 0.5, array.shape)
    network.load_state_dict(state)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A tiny run, in which the averaged weights are not those of the last step."""
    out = tmp_path_factory.mktemp("weights") / "run"
    words = "--steps 3 --batch-size 4 --set g_channels=2 d_channels=2 sample_every=9"
    succeeds("train", "dcgan", *words.split(), "--out", out)
    return out


@pytest.fixture
def tiny():
    return dcgan.Generator(3, 4, 2, (2, 2), rng=rng())


@pytest.fixture
def file(tmp_path, tiny):
    """The weights of `tiny`."""
    tinygan.export_weights(tiny, tmp_path / "G.safetensors")
    return tmp_path / "G.safetensors"


# ---- names and axes ----


def test_the_names_and_axes_of_pytorch():
    network = nn.Sequential(
        nn.Conv2d(2, 6, (5, 3), groups=2, rng=rng()),
        nn.BatchNorm(6),
        nn.SpectralNorm(nn.ConvTranspose2d(6, 4, (3, 2), groups=2, rng=rng()), rng=rng()),
        nn.Equalized(nn.Conv2d(4, 3, 1, rng=rng()), rng=rng()),
    )
    found = {entry.path: (entry.name, entry.shape) for entry in entries(network)}
    assert found == {
        "0.weight": ("0.weight", (6, 1, 5, 3)),
        "0.bias": ("0.bias", (6,)),
        "1.gain": ("1.weight", (6,)),
        "1.bias": ("1.bias", (6,)),
        "1.running_mean": ("1.running_mean", (6,)),
        "1.running_var": ("1.running_var", (6,)),
        "2.layer.weight": ("2.parametrizations.weight.original", (6, 2, 3, 2)),
        "2.layer.bias": ("2.bias", (4,)),
        "2.u": ("2.parametrizations.weight.0._u", (2,)),
        "2.v": ("2.parametrizations.weight.0._v", (36,)),
        "3.layer.weight": ("3.weight", (3, 4, 1, 1)),
        "3.layer.bias": ("3.bias", (3,)),
    }
    array = rng().standard_normal((5, 3, 1, 6))
    (entry,) = (e for e in entries(network) if e.path == "0.weight")
    assert np.array_equal(entry.to_torch(array), array.transpose(3, 2, 0, 1))
    assert np.array_equal(entry.from_torch(entry.to_torch(array)), array)


class Flattened(nn.Module):
    """Maps that ops, not layers, flatten and make of features; and a frozen layer."""

    latent = 6

    def __init__(self):
        self.linear = nn.Linear(6, 2 * 3 * 4, rng=rng())
        self.last = nn.Linear(2 * 3 * 4, 5, rng=rng())
        for network in self.linear, self.last:
            for parameter in network.parameters():
                parameter.requires_grad = False

    def forward(self, z):
        x = tinygan.ops.tanh(self.linear(z)).reshape(-1, 2, 3, 4) * 2.0
        return self.last(tinygan.ops.relu(x.reshape(len(z), -1)))


@pytest.mark.parametrize("recording", [True, False])
def test_features_of_maps_are_found_in_the_graph(recording):
    network = Flattened()
    if recording:
        found = {entry.path: entry for entry in entries(network)}
    else:
        with tinygan.no_grad():
            found = {entry.path: entry for entry in entries(network)}
    state = network.state_dict()
    w = state["linear.weight"]
    assert np.array_equal(
        found["linear.weight"].to_torch(w),
        w.reshape(6, 2, 3, 4).transpose(3, 1, 2, 0).reshape(24, 6),
    )
    b = state["linear.bias"]
    assert np.array_equal(
        found["linear.bias"].to_torch(b), b.reshape(2, 3, 4).transpose(2, 0, 1).ravel()
    )
    w = state["last.weight"]
    assert np.array_equal(
        found["last.weight"].to_torch(w), w.reshape(2, 3, 4, 5).transpose(3, 2, 0, 1).reshape(5, 24)
    )
    assert found["last.bias"].pattern == ""


class Joined(Flattened):
    """A flattened map that is joined with its latents before a layer takes it."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(2 * 3 * 4 + 6, 5, rng=rng())

    def forward(self, z):
        x = self.linear(z).reshape(-1, 2, 3, 4)
        return self.last(tinygan.ops.concatenate([x.reshape(len(z), -1), z], 1))


def test_features_whose_layer_is_not_clear_are_not_passed_over_in_silence(capsys):
    entries(Flattened())
    assert capsys.readouterr().err == ""
    warn_once.cache_clear()
    found = {entry.path: entry.pattern for entry in entries(Joined())}
    assert found["linear.weight"] == "i (q d) -> (d q) i" and found["last.weight"] == "i o -> o i"
    assert "warning: Joined flattens a feature map" in capsys.readouterr().err


def test_finding_them_changes_nothing():
    G = dcgan.Generator(3, 4, 2, (2, 2), rng=rng())
    D = nn.Sequential(nn.Flatten(), nn.Linear(8, 4, rng=rng()), nn.Dropout(0.5, rng=rng()))
    D.layers[1].eval()
    before, state = [m.training for _, m in D.modules()], D.layers[2].rng.bit_generator.state
    entries(G)
    entries(D, (np.zeros((1, 2, 2, 2)),))
    assert [m.training for _, m in D.modules()] == before
    assert D.layers[2].rng.bit_generator.state == state


def test_an_example_is_asked_for():
    network = nn.Sequential(nn.Conv2d(1, 2, 3, rng=rng()), nn.Flatten(), nn.Linear(8, 1, rng=rng()))
    with pytest.raises(InputError, match=r"give an example input, such as inputs=\(np.zeros"):
        entries(network)
    with pytest.raises(InputError, match=r"does not run on inputs of the shapes \(1, 9\)"):
        entries(network, (np.zeros((1, 9)),))
    found = {entry.path: entry.pattern for entry in entries(network, np.zeros((1, 4, 4, 1)))}
    assert found["2.weight"] == "(p c) o -> o (c p)"
    assert entries(nn.Sequential(nn.Conv2d(1, 2, 3, rng=rng())))  # needs none


def test_the_arguments_the_other_way_round(tmp_path, tiny):
    for use in tinygan.export_weights, tinygan.import_weights:
        with pytest.raises(InputError, match=r"_weights\(network, path\): the network is a str"):
            use("G.safetensors", tiny)


def test_a_layer_of_ones_own(monkeypatch):
    class Own(nn.Module):
        def __init__(self):
            self.kernel = tinygan.Parameter(np.zeros((3, 2, 1, 4)))

    assert entries(Own())[0][:4] == ("kernel", "kernel", (3, 2, 1, 4), "")
    monkeypatch.setitem(PATTERNS, Own, {"kernel": "h w i o -> o i h w"})
    assert entries(Own())[0].shape == (4, 1, 3, 2)


# ---- out and in ----

SAME_NETWORKS = {"lsgan", "wgan", "cgan", "acgan", "quick", "hour"}  # as dcgan has


def variants():
    for name, recipe in recipes.RECIPES.items():
        yield name, {}
        for i, g in enumerate(recipe.g_class_choices[1:] if name not in SAME_NETWORKS else ()):
            for d in recipe.d_class_choices[1 + i :: len(recipe.g_class_choices) - 1]:
                yield name, {"g_class": g, "d_class": d}
    yield "gan", {"maxout": True}
    yield "dcgan", {"equalized": True, "d_norm": "none"}
    yield "dcgan", {"d_norm": "spectral", "patches": True}
    yield (
        "stylegan2",
        {"configuration": "a", "g_architecture": "residual", "d_architecture": "skip"},
    )


@needs_package
@pytest.mark.parametrize("name, changes", list(variants()))
def test_every_recipe_comes_back_bit_for_bit(tmp_path, capsys, name, changes):
    recipe = recipes.find(name)
    small = {key: 16 for key in ("hidden", "max_channels") if hasattr(recipe.settings(), key)}
    settings = recipe.settings().updated({**small, **changes})
    shape = (28, 28, 3) if settings.pad == 0 and name != "biggan" else (32, 32, 3)
    build = lambda: recipe._pair(settings, shape, 3, rng())
    for network, copy in zip(build(), build()):
        other_weights(network)
        assert not same(network, copy)
        tinygan.export_weights(network, tmp_path / "x.safetensors")
        tinygan.import_weights(copy, tmp_path / "x.safetensors")
        assert same(network, copy)
    assert capsys.readouterr().err == ""  # no warning


@needs_package
def test_points_and_other_dtypes_come_back(tmp_path):
    recipe, path = recipes.find("gan"), tmp_path / "x.safetensors"
    build = lambda: recipe.build(recipe.settings(for_points=True), (2,), 1, rng())
    for network, copy in zip(build(), build()):
        network.astype("float64"), copy.astype("float64")
        other_weights(network)
        tinygan.export_weights(network, path)
        assert {array.dtype.name for array in load_file(path).values()} == {"float64"}
        tinygan.import_weights(copy, path)
        assert same(network, copy)


@needs_package
def test_the_metadata_say_what_the_file_holds(file):
    header = json.loads(file.read_bytes()[8:].decode("latin-1").partition("}}")[0] + "}}")
    metadata = header["__metadata__"]
    assert metadata["format"] == "pt" and metadata["tinygan"] == tinygan.__version__
    assert metadata["tinygan_format"] == "1"
    layout = json.loads(metadata["tinygan_layout"])
    assert layout["main.0.weight"] == "h w o i -> i o h w"
    assert load_file(file)["main.1.num_batches_tracked"] == 0


@needs_package
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_another_precision_is_converted(file, tiny, dtype):
    arrays = load_file(file)
    save_file({name: x.astype(dtype) for name, x in arrays.items() if "num" not in name}, file)
    other_weights(tiny)
    tinygan.import_weights(tiny, file)
    expected = arrays["main.0.weight"].astype(dtype).astype("float32").transpose(2, 3, 1, 0)
    assert np.array_equal(tiny.state_dict()["main.0.weight"], expected)
    assert tiny.state_dict()["main.0.weight"].dtype == np.float32


# ---- what does not fit ----


def refused(network, path):
    """Return the message of import_weights, which must change nothing."""
    before = network.state_dict()
    with pytest.raises(InputError) as error:
        tinygan.import_weights(network, path)
    after = network.state_dict()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    message = str(error.value)
    assert message.isprintable() and len(message) < 1500
    return message


@needs_package
def test_what_does_not_fit_is_listed_in_one_line(file, tiny):
    arrays = load_file(file)
    arrays["main.9.weight"] = arrays.pop("main.0.weight")
    arrays["main.1.bias"] = np.zeros(3, "float32")
    arrays["main.4.bias"] = np.zeros(2, "int32")
    save_file(arrays, file)
    assert refused(tiny, file) == (
        f"{file} does not fit Generator: it lacks main.0.weight; it has unexpected main.9.weight; "
        "main.1.bias has shape (3,), not (2,), main.4.bias holds I32: save it as float32, as "
        "module.float() has it"
    )


@needs_package
@pytest.mark.parametrize("dtype", ["BF16", "F8_E4M3", "I64"])
def test_other_dtypes_are_refused(tmp_path, dtype):
    path, layer = tmp_path / "x.safetensors", nn.Conv2d(2, 3, 1, rng=rng())
    bias = {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}
    end = 12 + 6 * {"BF16": 2, "F8_E4M3": 1, "I64": 8}[dtype]
    weight = {"dtype": dtype, "shape": [3, 2, 1, 1], "data_offsets": [12, end]}
    path.write_bytes(header(bias=bias, weight=weight)[: end - 64 or None])
    assert f"weight holds {dtype}: save it as float32" in refused(layer, path)


@needs_package
@pytest.mark.parametrize(
    "name, value, message",
    [
        ("main.0.weight", np.nan, "main.0.weight holds NaN or infinity"),
        ("main.1.running_mean", np.inf, "main.1.running_mean holds NaN or infinity"),
        ("main.1.running_var", -1.0, "main.1.running_var holds negative variances"),
        ("main.1.weight", 1e300, "main.1.weight holds NaN or infinity"),  # in float32
    ],
)
def test_impossible_values_are_refused(file, tiny, name, value, message):
    arrays = load_file(file)
    arrays[name] = np.full(arrays[name].shape, value)
    save_file(arrays, file)
    assert message in refused(tiny, file)


@needs_package
def test_a_later_version_of_the_layout_is_refused(file, tiny):
    save_file(load_file(file), file, {"tinygan_format": "2"})
    assert "has version '2' of the layout" in refused(tiny, file)


@needs_package
def test_weights_that_are_not_finite_are_not_exported(tmp_path, tiny):
    tiny.main[0].weight.assign(np.full((1, 1, 2, 3), np.inf))
    with pytest.raises(InputError, match="cannot export main.0.weight: it holds NaN or infinity"):
        tinygan.export_weights(tiny, tmp_path / "x.safetensors")
    assert not list(tmp_path.iterdir())


def header(**fields):
    """Return the bytes of a file with this header, and 64 bytes of values."""
    text = json.dumps(fields).encode()
    return len(text).to_bytes(8, "little") + text + bytes(64)


FIELD = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
DAMAGED = {
    "empty": b"",
    "short": b"\1\0\0",
    "text": b"these are no weights, but a text of some length",
    "a header longer than the file": (1 << 20).to_bytes(8, "little") + b"{}",
    "a huge header": (1 << 62).to_bytes(8, "little") + b"{}",
    "no JSON": (8).to_bytes(8, "little") + b"{'a': 1}",
    "no object": (4).to_bytes(8, "little") + b"[{}]",
    "deep": (6000).to_bytes(8, "little") + b"[" * 6000,
    "twice": (14).to_bytes(8, "little") + b'{"a":1,"a":2 }',
    "a huge shape": header(a={**FIELD, "shape": [1 << 40, 1 << 40]}),
    "a huge shape without values": header(a={**FIELD, "shape": [1 << 40, 0]}),
    "many axes": header(a={**FIELD, "shape": [1] * 100}),
    "a negative shape": header(a={**FIELD, "shape": [-2, -3]}),
    "offsets beyond the file": header(a={**FIELD, "data_offsets": [1 << 40, (1 << 40) + 24]}),
    "offsets backwards": header(a={**FIELD, "data_offsets": [24, 0]}),
    "no offsets": header(a={"dtype": "F32", "shape": []}),
    "no dtype": header(a={**FIELD, "dtype": None}),
    "metadata of numbers": header(__metadata__={"a": 1}),
}


@needs_package
@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_one_line_and_takes_no_memory(tmp_path, name):
    path, layer = tmp_path / "x.safetensors", nn.Conv2d(2, 3, 1, rng=rng())
    path.write_bytes(DAMAGED[name])
    tracemalloc.start()
    message = refused(layer, path)
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()
    assert "is not a safetensors file, or is damaged (" in message or "does not fit" in message


@needs_package
def test_what_is_no_file(tmp_path, tiny):
    assert "No such file" in refused(tiny, tmp_path / "x.safetensors")
    assert "is a folder" in refused(tiny, tmp_path)


@needs_package
@given(st.data())
@settings(max_examples=20)
def test_bytes_that_are_changed_or_missing(tmp_path_factory, data):
    path, layer = tmp_path_factory.mktemp("x") / "x.safetensors", nn.Conv2d(2, 3, 1, rng=rng())
    tinygan.export_weights(layer, path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        tinygan.import_weights(layer, path)
    except InputError as error:
        assert str(error).isprintable()


def test_without_the_package_there_is_advice(tmp_path, monkeypatch, tiny, run, capsys):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    advice = f"the package safetensors: {quoted(sys.executable)} -m pip install safetensors"
    for use in tinygan.export_weights, tinygan.import_weights:
        with pytest.raises(InputError) as error:
            use(tiny, tmp_path / "x.safetensors")
        assert advice in str(error.value)
    assert advice in fails(capsys, "export", run, "-o", tmp_path / "x.safetensors")


# ---- runs ----


@needs_package
def test_the_command_export(tmp_path, run, capsys):
    path = tmp_path / "x.safetensors"
    for words, load in (
        ([], lambda: load_generator(run)),
        (["--weights", "last"], lambda: load_generator(run, average=False)),
        (["--network", "D"], lambda: load_networks(run)[::-1]),
    ):
        succeeds("export", run, "-o", path, *words)
        options = dict(zip((word.removeprefix("--") for word in words[::2]), words[1::2]))
        tinygan.load_run(run).export(tmp_path / "python.safetensors", **options)
        files = [path, tmp_path / "python.safetensors"]
        assert len({tuple(sorted(f.read_bytes())) for f in files}) == 1  # metadata in any order
        assert "(checkpoint-00000003.npz)" in capsys.readouterr().out
        network, copy = load()[0], load()[0]
        other_weights(copy)
        tinygan.import_weights(copy, path)
        assert same(network, copy)
    text = path.read_bytes().decode("latin-1")
    for part in '"recipe":"dcgan"', '"network":"D"', '"weights":"last"':
        assert part in text
    assert not same(load_generator(run)[0], load_generator(run, average=False)[0])


@needs_package
def test_what_export_refuses(tmp_path, run, capsys):
    out = "-o", tmp_path / "x.safetensors"
    assert "D has no average" in fails(
        capsys, "export", run, *out, "--network", "D", "--weights", "average"
    )
    assert "must end in .safetensors" in fails(capsys, "export", run, "-o", tmp_path / "x.pt")
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    states, meta = checkpoint.load(copy / "checkpoint-00000003.npz")
    checkpoint.write(copy / "best.npz", {"ema": states["ema"]}, {"step": meta["step"]})
    assert (
        "best.npz holds only the averaged weights of G: for others, give a checkpoint-*"
        in fails(capsys, "export", copy / "best.npz", *out, "--network", "D")
    )
    assert not (tmp_path / "x.safetensors").exists()


@pytest.mark.parametrize(
    "name, text",
    {
        "G.pt": "G.pt: the name must end in .safetensors",
        "G": "G: the name must end in .safetensors",
        "none/G.safetensors": "none does not exist",
    }.items(),
)
def test_weights_are_written_to_a_safetensors_file_in_a_folder(tiny, tmp_path, name, text):
    with pytest.raises(InputError, match=text):
        tinygan.export_weights(tiny, tmp_path / name)
    assert not list(tmp_path.iterdir())
