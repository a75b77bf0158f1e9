"""Bad input, thousands of times: files, settings and arguments with random mistakes.

Each call must work or raise an InputError of one line, and must not take more memory than its input
really holds. `pytest --hypothesis-profile fuzz tests/test_fuzz.py` tries more cases.
"""

import contextlib
import dataclasses
import gzip
import importlib
import io
import itertools
import math
import os
import shutil
import struct
import tracemalloc
import zlib
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile
from test_data import CODES, idx, pack

from tinygan import data
from tinygan.cli import main, make_parser
from tinygan.data import pictures, read_idx
from tinygan.errors import InputError
from tinygan.gan.augment import Augment
from tinygan.models.growth import Growth
from tinygan.schedules import Schedule
from tinygan.settings import parse_assignments
from tinygan.training import sampling
from tinygan.training.recipes import RECIPES

pytestmark = pytest.mark.cpu
SLACK = 400_000  # bytes for buffers, and for Python's own caches


def cases(n):
    """Return the settings for n examples; with the profile "fuzz", for 50 times as many."""
    return settings(max_examples=n * settings.default.max_examples // 40)


def outcome(function, *args):
    """Return the result of a call, or the message of its InputError, which must be one line of a
    reasonable length."""
    try:
        return function(*args)
    except InputError as error:
        message = str(error)
        assert message.isprintable() and 10 < len(message) < 5200, message
        return message


# ---- Damage ----


# fmt: off
PIECES = [
    b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\0\0\1",
    b"\x1f\x8b", b"\0", b"\1",
]
# fmt: on
EDITS = st.binary(max_size=12)  # four bytes for each edit: short strings are drawn faster


def damaged(content, edits):
    """Return the content after edits, many of them near its beginning."""
    content = bytearray(content)
    for kind, piece, *where in zip(*[iter(edits)] * 4):
        where = int.from_bytes(where, "big") if kind & 8 else where[0] % 40
        i, piece = (
            where % (len(content) + 1),
            PIECES[piece % 8] if piece < 128 else bytes([piece, kind, where % 256]),
        )
        if kind % 8 < 2 and content:
            content[i - 1] ^= 1 << piece[0] % 8
        elif kind % 8 == 2:
            del content[i:]
        elif kind % 8 == 3:
            del content[i : i + len(piece)]
        elif kind % 8 == 4:
            content[i:i] = piece
        elif kind % 8 == 5:
            content += piece
        else:
            content[i : i + len(piece)] = piece
    return bytes(content)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A path to write to."""
    return tmp_path_factory.mktemp("fuzz") / "file"


# ---- IDX ----


PACKINGS = {
    "plain": lambda content: content,
    "gzip": pack,
    "twice": lambda content: pack(pack(content)),
    "members": lambda content: pack(content[:9]) + pack(b"") + pack(content[9:]),
    "zeros behind": lambda content: pack(content) + bytes(20),
    "more behind": lambda content: pack(content) + content,
    "fast": lambda content: gzip.compress(content, 1),
    "stored": lambda content: gzip.compress(content, 0),
}
SHAPES = [(7,), (0,), (3, 4, 5), (2, 0, 3), (1, 1, 1, 1, 1), (6, 28, 28), (2, 2)]
ARRAYS = [
    np.resize(
        np.random.default_rng(0).integers(0, 256, 997, np.uint8), math.prod(shape) * int(code[1])
    )
    .view(code)
    .reshape(shape)
    for shape in SHAPES
    for code in CODES
]
FILES = st.builds(
    lambda array, pack, inner, outer: damaged(PACKINGS[pack](damaged(idx(array), inner)), outer),
    st.sampled_from(ARRAYS),
    st.sampled_from(sorted(PACKINGS)),
    EDITS,
    EDITS,
)


def definition(content):
    """Return (the unpacked content, the array in it) of an IDX file, by the format's definition;
    None for the parts that are not valid."""
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error):
            return None, None
    code, n = {v: k for k, v in CODES.items()}.get(int.from_bytes(content[:3], "big")), content[3:4]
    if code is None or not n or not 1 <= n[0] <= 32 or len(content) < 4 + 4 * n[0]:
        return content, None
    shape, items = struct.unpack_from(f">{n[0]}I", content, 4), content[4 + 4 * n[0] :]
    size, without_empty = (
        math.prod(sides) * int(code[1]) for sides in (shape, [side or 1 for side in shape])
    )
    if size != len(items) or without_empty > 1 << 30:
        return content, None
    return content, np.frombuffer(items, f">{code}").reshape(shape).astype(code)


def peak(function, *args):
    """Return (the outcome of a call, its peak memory in bytes)."""
    tracemalloc.start()
    try:
        return outcome(function, *args), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@cases(700)
@given(FILES | st.binary(max_size=60) | st.binary(max_size=30).map(pack))
def test_idx(file, content):
    file.write_bytes(content)
    unpacked, array = definition(content)
    result, memory = peak(read_idx, file)
    assert memory <= 2 * len(unpacked or content) + SLACK
    if array is None:
        assert isinstance(result, str) and str(file) in result
    else:
        assert result.dtype == array.dtype and result.dtype.isnative and result.shape == array.shape
        assert result.tobytes() == array.tobytes()


@cases(150)
@given(FILES, st.sampled_from(SHAPES))
def test_idx_of_a_given_shape(file, content, shape):
    file.write_bytes(content)
    _, array = definition(content)
    result = outcome(read_idx, file, shape)
    assert isinstance(result, str) == (array is None or array.shape != shape)


BIG = np.zeros(1 << 18)  # 2 MiB
HEADER = idx(BIG)[:8]


@pytest.mark.parametrize(
    "content, honest",
    [
        (idx(BIG), BIG.nbytes),
        (pack(idx(BIG)), BIG.nbytes),
        (HEADER, 0),
        (pack(HEADER), 0),  # announces an array that is not there
        (pack(HEADER)[:-9], 0),
        (struct.pack(">BBBBI", 0, 0, 8, 1, 1 << 30), 0),
        (struct.pack(">BBBB32I", 0, 0, 8, 32, *[1 << 31] * 32), 0),
        (pack(idx(BIG[:3]) + bytes(1 << 24)), 24),
        (pack(bytes(1 << 24)), 0),
        (pack(b"\0\0\x08\x01" + bytes(1 << 24)), 0),
        (pack(pack(idx(BIG))), 0),
        (pack(b"") * 1000, 0),
    ],
    ids=[
        "honest",
        "honest, packed",
        "short",
        "short, packed",
        "cut",
        "huge",
        "huger",
        "bomb",
        "bomb of zeros",
        "bomb of nothing",
        "twice",
        "members of nothing",
    ],
)
def test_memory_of_idx(file, content, honest):
    file.write_bytes(content)
    result, memory = peak(read_idx, file)
    assert memory <= 2 * honest + SLACK
    assert isinstance(result, str) != (honest == BIG.nbytes)
    for shape in (BIG.shape, (1 << 40,)):  # nor may an expected shape reserve memory
        assert peak(read_idx, file, shape)[1] <= 2 * honest + SLACK


# ---- Data sets ----


@cases(150)
@given(
    st.sampled_from(["u1", "i1", "f4", "f8", "?"]),
    st.sampled_from([(4, 5, 5, 1), (0, 5, 5, 1), (4, 5, 5), (4, 0, 5, 1)]),
    st.sampled_from(["u1", "i8", "f4", "u8"]),
    st.lists(st.sampled_from([0, 1, 2, 255, math.nan]), max_size=5),
    st.integers(-2, 6) | st.integers(),
)
def test_data_sets(kind, shape, label_kind, labels, n):
    """Wrong types and shapes, NaN, labels out of range, no images, requests for too many images."""
    with np.errstate(invalid="ignore"):
        labels = np.array(labels).astype(label_kind)
    dataset = outcome(
        data.Dataset,
        "ours",
        "train",
        np.full(shape, math.nan).astype(kind) if kind[0] == "f" else np.ones(shape, kind),
        labels,
        ("a", "b", "c"),
    )
    right = kind == "u1" and shape == (4, 5, 5, 1) and label_kind[0] in "iu" and len(labels) == 4
    assert isinstance(dataset, str) != (right and bool((labels >= 0).all() and (labels < 3).all()))
    if not isinstance(dataset, str):
        for result in (outcome(dataset.balanced, n, 0), outcome(dataset.batch, 0, n, 0)):
            assert isinstance(result, str) != (1 <= n <= 4)


# ---- Settings ----


# fmt: off
NASTY = [
    "", " ", "a b", "a\nb", "a\0b", "\x1b[31mred", "\u202eabc", "\ud800", "\udcff", "é€😀",
    "x" * 300, "x" * 5000, "-", "--", "-1", "0", "1", "2", "00", "+3", "1_0", "1.5", "1e0",
    "1e3", "1e9", "1e30", "1e400", "-1e400", "9" * 20, "9" * 400, "9" * 5000, "nan", "inf",
    "-inf", "NaN", "0x10", "１２", "٣", "½", "true", "False", "None", "null", "[]", "{}", "%s%n",
    "{0}", "a,b", ",", ":", "4:32,8:", "4:1e9", "4:" + "9" * 30, "99:4", "4:4", "8:８", "a=b",
    "=", "==", "steps=", "*",
]
# fmt: on
# fmt: off
ODD = [
    *NASTY, None, True, False, [], {}, [1], {"a": 1}, [[]], 10**30, -(10**30), 10**400, 2**63,
    -(2**63), 5e-324, 1e308, math.nan, math.inf, -math.inf,
]
# fmt: on
JSON = st.sampled_from(ODD) | st.integers() | st.floats() | st.text(max_size=4)
SMALL = {
    "latent": 8,
    "embedding": 4,
    "hidden": 4,
    "g_channels": 8,
    "d_channels": 8,
    "channels": 4,
    "max_channels": 8,
    "style": 6,
    "categories": 3,
}
FIELDS = {
    name: {f.name: f for f in dataclasses.fields(recipe.settings())}
    for name, recipe in RECIPES.items()
}


def small(name):
    """The settings of a recipe with small networks."""
    return (
        RECIPES[name]
        .settings()
        .updated({key: n for key, n in SMALL.items() if key in FIELDS[name]})
    )


@st.composite
def changes(draw):
    """Draw (name of a recipe, {setting: value}). Values are the smallest, the largest and other
    valid ones, and invalid ones."""
    recipe, values = draw(st.sampled_from(sorted(RECIPES))), {}
    fields = FIELDS[recipe]
    for name in draw(st.lists(st.sampled_from(sorted(fields)), max_size=4)):
        low, high, choices = (
            fields[name].metadata[key] for key in ("minimum", "maximum", "choices")
        )
        if choices:
            valid = st.sampled_from(choices)
        elif fields[name].type is bool:
            valid = st.sampled_from([True, False, "yes", "0"])
        elif fields[name].type is int:
            numbers = [low, low + 1, low + 2, 4, 8, high]
            valid = st.sampled_from(numbers).filter(lambda n: low <= n <= high)
        elif fields[name].type is float:
            valid = st.floats(low, high, allow_nan=False, allow_infinity=False)
        else:
            texts = ["", "color", "color,cutout", "digits", "4:8", "4:8,16:32,8:16"]
            valid = st.sampled_from(texts)
        values[name] = draw(valid if draw(st.booleans()) else JSON)
    if draw(st.integers(0, 9)) == 0:
        values[draw(st.sampled_from(NASTY))] = draw(JSON)
    return recipe, values


class Ones:
    """A random generator that returns ones, refuses to make large arrays, and checks shapes as
    NumPy does."""

    def standard_normal(self, shape=(), dtype=np.float64):
        view = np.broadcast_to(np.ones((), dtype), shape)
        if view.size > 30_000:
            raise MemoryError
        return view.copy()

    def uniform(self, low, high, shape):
        return self.standard_normal(shape)

    def random(self, shape=(), dtype=np.float64):
        return self.standard_normal(shape, dtype)


def check_settings(s):
    for f in dataclasses.fields(s):
        value, low, high = getattr(s, f.name), f.metadata["minimum"], f.metadata["maximum"]
        if isinstance(value, Schedule) and f.metadata["scheduled"]:
            continue
        assert type(value) is f.type or f.type is float and type(value) is int
        if f.metadata["choices"]:
            assert value in f.metadata["choices"]
        elif f.type is str:
            assert value.isprintable()
        elif f.type is not bool:
            assert math.isfinite(value) and low <= value and (high is None or value <= high)


def set_up(name, s):
    """Build everything that depends on the settings before training begins."""
    side = 28 + 2 * s.pad
    try:
        RECIPES[name].build(s, (side, side, 1), 10, Ones())
    except MemoryError:  # the command line reports it in one line
        pass
    if getattr(s, "grow", False):
        growth = Growth(s, side)
        assert all(
            2 <= growth.batch_size(growth.lod(images)) <= 10**9 for images in (0, 1, 10**5, 10**10)
        )
    Augment(s.augment, s.policy, s.augment_where, s.ada_p)
    return s


def test_every_setting_accepts_only_its_type():
    names = "gan", "dcgan", "progan", "biggan", "stylegan2"
    recipe_of = {key: name for name in names for key in FIELDS[name]}
    for (key, name), value in itertools.product(recipe_of.items(), ODD):
        s, kind = outcome(small(name).updated, {key: value}), FIELDS[name][key].type
        if not isinstance(s, str):
            check_settings(s)
            accepted = (str, kind, int) if kind is float else (str, kind)
            assert type(value) in accepted
    for value in NASTY:
        s = outcome(small("progan").updated, {"batch_sizes": value})
        assert isinstance(s, str) or outcome(set_up, "progan", s)
    s = outcome(small("gan").updated, {"steps": "1e3", "latent": 7.0, "lr": "1e-3"})
    assert s.steps == 1000


@cases(500)
@given(changes())
def test_settings(change):
    name, values = change
    s = outcome(small(name).updated, values)
    if not isinstance(s, str):
        check_settings(s)
        outcome(set_up, name, s)


@cases(400)
@given(
    st.sampled_from(sorted(RECIPES)),
    st.lists(
        st.sampled_from(NASTY)
        | st.text(max_size=8)
        | st.builds(
            "{}={}".format,
            st.sampled_from(sorted(FIELDS["stylegan2"])),
            st.sampled_from(NASTY) | st.text(max_size=8),
        ),
        max_size=3,
    ),
)
def test_set(name, texts):
    values = outcome(parse_assignments, texts)
    if not isinstance(values, str):
        s = outcome(RECIPES[name].settings().updated, values)
        if not isinstance(s, str):
            check_settings(s)


@pytest.mark.parametrize(
    "name", ["gan", "dcgan", "sngan", "infogan", "progan", "biggan", "stylegan", "stylegan2"]
)
def test_every_integer_setting_has_a_maximum(name):
    """At the maximum, no number that is computed from it overflows, and NumPy gives no warning."""
    maxima = {f.name: f.metadata["maximum"] for f in FIELDS[name].values() if f.type is int}
    for key, high in maxima.items():
        bounds = f"between {FIELDS[name][key].metadata['minimum']} and {high}"
        for wrong in (high + 1, 10**30, 10**5000, str(10**400), "1e30"):
            assert bounds in outcome(small(name).updated, {key: wrong})
    left_out = "layers", "mapping_layers", "attention"  # slow, slow, and always an error
    sizes = {key: high for key, high in maxima.items() if high < 10**9 and key not in left_out}
    for together in (
        *({key: high} for key, high in sizes.items()),
        sizes,
        sizes | {"pad": 2, "latent": 8},
    ):
        outcome(set_up, name, small(name).updated(together))


# ---- Pictures ----


def picture(mode, kind, size=(11, 9), **options):
    """Return the bytes of a picture file."""
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 4), np.uint8)
    if mode == "F":
        image = Image.fromarray(pixels[..., 0].astype(np.float32))
    elif mode == "I;16":
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    else:
        image = Image.fromarray(pixels).convert("RGB").convert(mode)
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


PICTURES = {
    f"{kind} {mode} {options}": picture(mode, kind, **options)
    for kind, modes, options in [
        ("PNG", ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"), {}),
        ("PNG", ("P",), {"transparency": b"\0\x80\xff"}),
        ("GIF", ("1", "L", "P", "RGB"), {}),
        ("GIF", ("P",), {"transparency": 3}),
        ("JPEG", ("L", "RGB", "CMYK"), {}),
        ("JPEG", ("L", "RGB"), {"progressive": True}),
        ("BMP", ("1", "L", "P", "RGB", "RGBA"), {}),
        ("WEBP", ("RGB", "RGBA"), {}),
        ("WEBP", ("RGB", "RGBA"), {"lossless": True}),
        ("TIFF", ("L", "F"), {}),
        ("PPM", ("L", "RGB"), {}),
    ]
    for mode in modes
}


def check_image(result, size, channels):
    assert isinstance(result, str) or result.dtype == np.uint8 and result.shape == (*size, channels)
    return not isinstance(result, str)


@pytest.mark.parametrize("name", PICTURES)
def test_pictures(file, name):
    """All formats can be read."""
    file.write_bytes(PICTURES[name])
    for size, channels in [((28, 28), 1), ((5, 7), 3), ((1, 1), 1)]:
        assert check_image(outcome(pictures.read, file, channels, size), size, channels) == (
            name != "TIFF F {}"  # its values are not 0 to 1
        )


@cases(500)
@given(st.sampled_from(sorted(PICTURES)), EDITS, st.sampled_from([1, 3]))
def test_damaged_pictures(file, name, edits, channels):
    file.write_bytes(damaged(PICTURES[name], edits))
    check_image(outcome(pictures.read, file, channels, (6, 5)), (6, 5), channels)


def png(width, height, depth=8, colour=0, data=b""):
    """Return a PNG that claims this size, with valid checksums."""
    chunks = [
        b"IHDR" + struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0),
        b"IDAT" + data,
        b"IEND",
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in chunks
    )


@pytest.mark.parametrize(
    "content",
    [
        png(60_000, 60_000),
        png(9_000, 9_000),
        png(2**31 - 1, 2**31 - 1, 16, 6),
        png(12_000, 12_000, 1),
        png(7_000, 7_000),
        png(60_000, 60_000, data=zlib.compress(bytes(1 << 24))),
        picture("L", "BMP")[:18] + struct.pack("<ii", 60_000, -60_000) + picture("L", "BMP")[26:],
        b"GIF89a" + struct.pack("<HH", 65535, 65535) + picture("L", "GIF")[10:],
    ],
)
def test_a_picture_is_not_decoded_if_it_claims_a_huge_size(file, monkeypatch, content):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    file.write_bytes(content)
    result, memory = peak(pictures.read, file, 1, (28, 28))
    assert isinstance(result, str) and str(file) in result and memory < 2 * len(content) + SLACK


def test_a_small_file_of_a_large_picture(file):
    file.write_bytes(png(3000, 3000, 1, data=zlib.compress(bytes(3000 * 376))))
    assert not pictures.read(file, 1, (28, 28)).any()  # black, so it compresses well


def test_sixteen_bits(file):
    file.write_bytes(picture("I;16", "PNG", (28, 28)))
    sixteen_bits = pictures.read(file, 1, (28, 28))
    file.write_bytes(picture("RGBA", "PNG", (28, 28)))
    with Image.open(file) as image:
        assert np.array_equal(sixteen_bits[..., 0], np.asarray(image)[..., 0])


def test_files_that_are_no_pictures(file, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    file.write_bytes(b"")
    for path in (
        file,
        tmp_path,
        tmp_path / "pipe",
        tmp_path / "nothing",
        "/dev/zero",
        "",
        "x" * 4999,
    ):
        assert isinstance(outcome(pictures.read, path, 1, (28, 28)), str)


# ---- The command line ----


# fmt: off
NAMES = [
    "..", "../..", ".", "/", "/dev/null", "~", "~nobody/x", "a.png", "a.gif", "a.npz", ".png",
    "..png", "a b.png", "a\nb.png", "\udcff.png", "-1.png", "x" * 240 + ".png",
    "x" * 300 + ".gif", "no/a.png", "RUN", "RUN.png", "FILE", "FILE/a.png", "--help", "--set",
    "-n",
]
# fmt: on
WORK = (
    "metrics.evaluate",
    "metrics.Evaluator",
    "training.projector.project",
    "metrics.path_length.path_lengths",
    "metrics.Extractor",
    "optable.run_gradchecks",
    "data.loading._download",
)
COMMANDS = next(action.choices for action in make_parser()._actions if action.choices)
VALID = {
    "output": ["a"],
    "run_folder": ["RUN"],
    "recipe": ["dcgan"],
    "names": ["tanh", "dcgan"],
    "draws": ["2"],
    "rows": ["1"],
    "images": ["RUN/curves.png"],
    "set": ["latent=3", "ema=.5", "loss=l1"],
    "data": ["digits"],
    "data_dir": ["."],
    "out": ["b"],
    "resume": ["RUN"],
}


def stop(*args, **settings):
    raise InputError("this takes too long for a test")


def at_most_30(function):
    """Return the function, which takes n or n latents as its second argument, with a limit on n."""
    return lambda first, n, *more: (
        stop() if (n if isinstance(n, int) else len(n)) > 30 else function(first, n, *more)
    )


def ctrl_c(*_):
    raise KeyboardInterrupt


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with two tiny runs. Commands stop where their work would begin."""
    folder = tmp_path_factory.mktemp("world")
    small_networks = "g_channels=2 d_channels=2"
    for recipe, assignments in {
        "dcgan": small_networks,
        "stylegan2": f"{small_networks} style=4 latent=4 max_channels=4 mapping_layers=1",
    }.items():
        words = f"train {recipe} --steps 3 --batch-size 4 --set {assignments} --out".split()
        assert call([*words, str(folder / recipe)])[0] == 0
        for path in folder.glob("*/samples/*.png"):  # small pictures: animations are fast
            path.write_bytes(picture("RGB", "PNG"))
    (folder / "FILE").write_text("hello")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.delenv("TINYGAN_DATA", raising=False)
        parser = make_parser()  # only one, for all commands: making it takes time
        patch.setattr("tinygan.cli.make_parser", lambda words: parser)
        patch.setattr("tinygan.data.load", lru_cache(data.load))
        patch.setattr("tinygan.training.trainer.Trainer.run", lambda trainer: trainer.grid_path())
        patch.setattr("tinygan.lab.server.Server.serve_forever", ctrl_c)
        patch.setattr(sampling, "generate", at_most_30(sampling.generate))
        patch.setattr(sampling, "latents", at_most_30(sampling.latents))
        for name in WORK:
            module, _, function = name.rpartition(".")
            patch.setattr(importlib.import_module(f"tinygan.{module}"), function, stop)
        yield folder, patch


def call(argv):
    """Run a command line; return (exit code, text on stderr)."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        try:
            code = main(argv)
        except SystemExit as exit:  # argparse's
            code = exit.code
    return code, err.getvalue()


def arguments(name):
    return [action for action in COMMANDS[name]._actions if action.dest != "help"]


def command_line(name, odd):
    """Return the words of a command line with the odd arguments {argument: values}, and with valid
    values for the other arguments that it needs."""
    words = [name]
    for action in arguments(name):
        if action in odd:
            words += [*action.option_strings[:1], *odd[action]]
        elif action.required or action.dest in ("recipe", "draws", "rows"):
            words += [*action.option_strings[:1], VALID.get(action.dest, "2")[0] + suffix(action)]
    return words


def suffix(action):
    return (action.metavar.removeprefix("FILE") or ".png") if action.dest == "output" else ""


@st.composite
def command_lines(draw):
    """Draw a command line in which up to three arguments are odd. An argument that VALID does not
    list is taken to be a number."""
    name, odd = draw(st.sampled_from(sorted(COMMANDS))), {}
    for action in draw(st.lists(st.sampled_from(arguments(name)), max_size=3)):
        values = st.sampled_from(
            list(action.choices or VALID.get(action.dest, ["2", "5", "80", "0", "0.5"]))
        )
        values |= st.sampled_from(NASTY) if action.type else st.sampled_from([*NASTY, *NAMES])
        n = 0 if action.nargs == 0 else draw(st.integers(0, 3)) if action.nargs in ("*", "+") else 1
        odd[action] = [draw(values) for _ in range(n)]
        if action.dest == "output" and not odd[action][0].startswith("/") and draw(st.booleans()):
            odd[action][0] += suffix(action)
    return command_line(name, odd)


def files(folder):
    return sorted(folder.rglob("*"))


@cases(150)
@given(command_lines(), st.sampled_from(["dcgan", "stylegan2"]))
def test_commands(world, words, run):
    check_command(world, words, run)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument(world, name):
    for action in arguments(name):
        for value in (
            ("", "0", "nan", "9" * 400, "a\nb", "a\0b", "\ud800", "x" * 5000)
            if action.nargs != 0
            else ()
        ):
            code, _ = check_command(
                world, command_line(name, {action: [value + suffix(action)]}), "stylegan2"
            )
            assert code == 2 or value not in ("a\0b", "\ud800", "x" * 5000)
    for output in (action for action in arguments(name) if action.dest == "output"):
        taken = world[0] / f"taken{suffix(output)}"
        taken.mkdir(exist_ok=True)
        code, err = check_command(world, command_line(name, {output: [str(taken)]}), "stylegan2")
        assert code == 2 and "is a folder" in err


def check_command(world, words, run):
    """Run a command line in an empty folder; return (exit code, text on stderr)."""
    folder, patch = world
    here = folder / "here" / "here"
    shutil.rmtree(here.parent, ignore_errors=True)
    here.mkdir(parents=True)
    patch.chdir(here)
    before = files(folder)
    code, err = call(
        [
            word.replace("RUN", str(folder / run)).replace("FILE", str(folder / "FILE"))
            for word in words
        ]
    )
    assert code in (0, 2), (code, err)
    after = files(folder)
    if code == 2:
        assert (
            err.startswith("tinygan")
            and err.endswith("\n")
            and err[:-1].isprintable()
            and len(err) < 2000
        ), err
        assert after == before
    assert not [path for path in after if "tinygan-" in path.name or ".lock" in path.name]
    return code, err
