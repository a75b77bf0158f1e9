"""The rules of the house: who may import whom, what a room must not know, how large it may grow."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tinygan

PACKAGE = Path(tinygan.__file__).parent
FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
FOLDERS = sorted({str(Path(file).parent) for file in FILES})

# Bottom to top: each may import those before it. Training reads data sets, and draws pictures.
ORDER = [
    "version",
    "errors",
    "files",
    "npz",
    "backend",
    "batch",
    "kernels",
    "autograd",
    "ops",
    "nn",
    "optim",
    "optable",
    "settings",
    "gan",
    "models",
    "data",
    "plots",
    "metrics",
    "training",
    "study",
    "cli",
    "__main__",
]

# What makes it fast and unbreakable has rooms of its own. No learner meets these names elsewhere.
MECHANICS = {"threading", "ranks", "cupy", "on_cpu", "tape", "micro_batch", "parallel", "graphs"}
MUST_NOT_KNOW = {  # room, or file of a room -> the names that nothing there may have
    "kernels/*.py": MECHANICS,  # the plain floor
    "autograd/engine.py": MECHANICS,
    "autograd/tensor.py": MECHANICS,
    "ops": MECHANICS,
    "nn": MECHANICS,
    "gan": MECHANICS,
    "models": MECHANICS - {"micro_batch"},  # a setting of every recipe
    "training/algorithm.py": MECHANICS,
}
LEARNERS_PATH = list(MUST_NOT_KNOW)


def tree(file):
    return ast.parse((PACKAGE / file).read_text(encoding="utf-8"))


def belongs(file, room):
    """Is `file` in this room: a folder and all inside, a pattern for one folder, or a file?"""
    same_depth = file.count("/") == room.count("/")
    return same_depth and Path(file).match(room) or file.startswith(f"{room}/")


def part(file):
    """The folder or file of ORDER that a path such as 'ops/linear.py' belongs to."""
    return file.split("/")[0].removesuffix(".py")


def imports(file, syntax):
    """Dotted names within tinygan that `file` imports, inside of functions too, such as 'kernels.parallel.run'."""
    package = ["tinygan", *file.split("/")[:-1]]
    for node in ast.walk(syntax):
        names = (
            [alias.name for alias in node.names]
            if isinstance(node, (ast.Import, ast.ImportFrom))
            else []
        )
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            names = [
                ".".join([*base, *([node.module] if node.module else []), name]) for name in names
            ]
        yield from (
            name.removeprefix("tinygan.") for name in names if name.split(".")[0] == "tinygan"
        )


def violations(file, syntax):
    own = part(file)
    for name in imports(file, syntax):
        other = name.split(".")[0]
        if other not in ORDER:
            yield f"{file} imports tinygan.{name}: import it from where it is defined"
        elif ORDER.index(other) > ORDER.index(own):
            yield f"{file} imports tinygan.{name}, but {other} stands below {own}"


def test_every_file_has_its_place():
    assert {part(file) for file in FILES} - {"__init__"} <= set(ORDER)


@pytest.mark.parametrize("file", [file for file in FILES if file != "__init__.py"])
def test_imports_point_one_way(file):
    assert not list(violations(file, tree(file)))


@pytest.mark.parametrize(
    "file, line",
    [
        ("ops/linear.py", "from tinygan import nn"),
        ("ops/linear.py", "from tinygan.nn import Linear"),
        ("ops/linear.py", "import tinygan.nn.layers"),
        ("ops/linear.py", "from ..nn.layers import Linear"),
        ("ops/linear.py", "from .. import nn"),
        ("ops/linear.py", "def f():\n    from tinygan import cli"),
        ("kernels/conv.py", "from tinygan.autograd import op"),
        ("backend.py", "from . import kernels"),
        ("nn/layers.py", "from tinygan import Tensor"),
        ("nn/layers.py", "import tinygan"),
    ],
)
def test_an_import_the_other_way_is_seen(file, line):
    assert list(violations(file, ast.parse(line)))


def test_the_plain_floor_of_kernels_stands_below_the_fast_ones():
    for file in FILES:
        if belongs(file, "kernels/*.py"):
            for name in imports(file, tree(file)):
                assert not name.startswith(("kernels.cpu", "kernels.cuda")), file


# What a room must not know


def names(syntax):
    """Every name in the code: identifiers, attributes, parts of what is imported; and strings."""
    for node in ast.walk(syntax):
        for field in ("id", "attr", "name", "asname", "arg", "module", "value"):
            text = getattr(node, field, None)
            if isinstance(text, str):
                yield from [text] if field == "value" else text.split(".")


def known(file, syntax):
    """Names in `file` that its room must not know."""
    return {
        name
        for room, forbidden in MUST_NOT_KNOW.items()
        if belongs(file, room)
        for name in names(syntax)
        if name in forbidden
    }


@pytest.mark.parametrize("file", FILES)
def test_no_room_knows_what_it_must_not(file):
    assert not known(file, tree(file))


@pytest.mark.parametrize(
    "file, line, name",
    [
        ("kernels/conv.py", "from tinygan.backend import on_cpu", "on_cpu"),
        ("kernels/conv.py", "from .cpu import parallel", "parallel"),
        ("kernels/act.py", "from tinygan.kernels.cpu.parallel import run", "parallel"),
        ("autograd/engine.py", "import threading", "threading"),
        ("autograd/tensor.py", "backend.tape = None", "tape"),
        ("ops/linear.py", "if xp.__name__ == 'cupy': pass", "cupy"),
        ("nn/norms.py", "from tinygan.training import ranks", "ranks"),
        ("nn/norms.py", "mean = ranks.mean(x)", "ranks"),
        ("gan/augment/ada.py", "def f(x, micro_batch=1): pass", "micro_batch"),
        ("gan/losses.py", "getattr(settings, 'micro_batch')", "micro_batch"),
        ("models/dcgan.py", "import tinygan.kernels.cuda.graphs as g", "graphs"),
        ("training/algorithm.py", "self.graphs.run(step)", "graphs"),
        ("training/algorithm.py", "s.updated(micro_batch=8)", "micro_batch"),
    ],
)
def test_a_name_that_a_room_must_not_know_is_seen(file, line, name):
    assert known(file, ast.parse(line)) == {name}


def test_the_rooms_of_the_mechanic_may_know_all_of_it():
    everything = ast.parse("from tinygan.kernels.cpu import parallel\nimport threading, ranks")
    for file in (
        "kernels/cpu/conv.py",
        "kernels/cuda/graphs.py",
        "autograd/inspect.py",
        "training/execution.py",
        "cli/train.py",
    ):
        assert not known(file, everything)


def test_words_in_prose_are_no_names():
    said = '"""Means over all ranks (see graphs)."""  # in parallel'
    assert not known("nn/norms.py", ast.parse(said))


def test_few_files_know_of_ranks():
    others = [file for file in FILES if not file.endswith("/ranks.py")]
    files = [file for file in others if "ranks" in names(tree(file))]
    assert len(files) <= 3, files


def test_only_the_backend_and_the_kernels_know_of_cupy():
    """The command line may name it as a choice."""
    for file in FILES:
        if part(file) not in ("backend", "kernels"):
            words = {
                getattr(node, field, None)
                for node in ast.walk(tree(file))
                for field in ("id", "attr", "name", "module", *["value"] * (part(file) != "cli"))
            }
            assert not {"on_cpu", "cupy"} & {word for word in words if isinstance(word, str)}, file


def test_only_kernels_know_of_threads():
    """Training tells them when a run begins: BLAS is then held at one thread once, not at every call. The metrics
    share their distances among threads; a study asks how many cores there are."""
    for file in FILES:
        if part(file) not in ("kernels", "training", "metrics", "study"):
            assert not [
                name
                for name in imports(file, tree(file))
                if name.startswith("kernels.cpu.parallel")
            ], file


def test_import_tinygan_waits_for_neither_scipy_nor_matplotlib():
    """Nor for the op table; and the engine does not wait for the pictures of its graphs."""
    slow = {"scipy", "matplotlib", "cupy", "tqdm", "tinygan.optable", "tinygan.autograd.drawing"}
    for module in ("tinygan", "tinygan.autograd"):
        code = f"import sys, {module}; print(*sorted({slow} & set(sys.modules)))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


# How large things may grow


@pytest.mark.parametrize("file", FILES)
def test_no_file_is_long(file):
    assert len((PACKAGE / file).read_text(encoding="utf-8").splitlines()) <= 400


def statements(syntax):
    """How many statements there are, docstrings apart: wrapping lines does not change it."""
    documented = ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
    docstrings = sum(
        isinstance(node, documented) and ast.get_docstring(node) is not None
        for node in ast.walk(syntax)
    )
    return sum(isinstance(node, ast.stmt) for node in ast.walk(syntax)) - docstrings


def test_statements_are_counted():
    text = (
        '"""A docstring."""\ndef f(x):\n    """Another."""\n    if x:\n        return (1,\n'
        '                2)\n    "no docstring"\n'
    )
    assert statements(ast.parse(text)) == 4


def test_the_learners_path_can_be_read_in_a_weekend():
    files = [file for file in FILES if any(belongs(file, room) for room in LEARNERS_PATH)]
    count = sum(statements(tree(file)) for file in files)
    assert count < 3400, f"{count} statements: take something out, or raise the limit and say why"


def test_the_package_stays_small():
    count = sum(statements(tree(file)) for file in FILES)
    assert count < 9350, f"{count} statements: take something out, or raise the limit and say why"


def sizes(syntax):
    """{class: (methods, attributes that it sets on self)}, with those of its bases in this code."""
    classes = {node.name: node for node in ast.walk(syntax) if isinstance(node, ast.ClassDef)}

    def of(node):
        methods = {part.name for part in node.body if isinstance(part, ast.FunctionDef)}
        stored = [
            part
            for part in ast.walk(node)
            if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store)
        ]
        attributes = {part.attr for part in stored if getattr(part.value, "id", None) == "self"}
        for base in node.bases:
            if getattr(base, "id", None) in classes:
                more = of(classes[base.id])
                methods, attributes = methods | more[0], attributes | more[1]
        return methods, attributes

    return {name: tuple(map(len, of(node))) for name, node in classes.items()}


def test_no_class_of_training_does_everything():
    """All files together, because a class may have its bases in another one."""
    files = [file for file in FILES if belongs(file, "training")]
    syntax = ast.Module([node for file in files for node in tree(file).body], [])
    assert not {name: size for name, size in sizes(syntax).items() if max(size) > 20}


def test_methods_and_attributes_are_counted():
    syntax = ast.parse(
        "class A:\n def f(self): self.x, self.y = 1, 2\n"
        "class B(A):\n def f(self): self.x += 1\n def g(self):\n"
        "  self.z: int = 1\n  other.w = self.x.v = self.y\n"
    )
    assert sizes(syntax) == {"A": (1, 2), "B": (2, 3)}


# What is told where


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_folder_says_what_lives_there(folder):
    said = ast.get_docstring(tree(f"{folder}/__init__.py"))
    assert said and said.split("\n")[0].endswith((".", ":"))


def test_the_map_shows_every_room_from_bottom_to_top():
    rooms = [line.split()[0] for line in tinygan.__doc__.splitlines() if line.startswith("    ")]
    assert sorted(rooms, key=ORDER.index) == rooms
    folders = {file.split("/")[0] for file in FILES if "/" in file}
    assert folders <= set(rooms) <= set(ORDER) and len(tinygan.__doc__.splitlines()) <= 25
