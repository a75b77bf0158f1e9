"""The rules of the house: who may import whom, how long a file may be, who knows of CuPy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tinygan

PACKAGE = Path(tinygan.__file__).parent
FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))

# Each may import those above it. Training reads data sets, and draws pictures as it goes.
ORDER = ["version", "errors", "files", "npz", "backend", "batch", "kernels", "autograd", "ops", "nn", "optim", "oracles", "optable", "gan",
         "models", "data", "plots", "metrics", "training", "study", "cli", "__main__"]


def tree(file):
    return ast.parse((PACKAGE / file).read_text(encoding="utf-8"))


def part(file):
    """The folder or file of ORDER that a path such as 'ops/linear.py' belongs to."""
    return file.split("/")[0].removesuffix(".py")


def imports(file, syntax):
    """Dotted names within tinygan that `file` imports, inside of functions too, such as 'kernels.parallel.run'."""
    package = ["tinygan", *file.split("/")[:-1]]
    for node in ast.walk(syntax):
        names = [alias.name for alias in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
        if isinstance(node, ast.ImportFrom):
            base = package[:len(package) - node.level + 1] if node.level else []
            names = [".".join([*base, *([node.module] if node.module else []), name]) for name in names]
        yield from (name.removeprefix("tinygan.") for name in names if name.split(".")[0] == "tinygan")


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


@pytest.mark.parametrize("file, line", [
    ("ops/linear.py", "from tinygan import nn"), ("ops/linear.py", "from tinygan.nn import Linear"),
    ("ops/linear.py", "import tinygan.nn.layers"), ("ops/linear.py", "from ..nn.layers import Linear"),
    ("ops/linear.py", "from .. import nn"), ("ops/linear.py", "def f():\n    from tinygan import cli"),
    ("kernels/conv.py", "from tinygan.autograd import op"), ("backend.py", "from . import kernels"),
    ("nn/layers.py", "from tinygan import Tensor"), ("nn/layers.py", "import tinygan")])
def test_an_import_the_other_way_is_seen(file, line):
    assert list(violations(file, ast.parse(line)))


@pytest.mark.parametrize("file", FILES)
def test_no_file_is_long(file):
    assert len((PACKAGE / file).read_text(encoding="utf-8").splitlines()) <= 400


def test_only_the_backend_and_the_kernels_know_of_cupy():
    """The command line may name it as a choice."""
    for file in FILES:
        if part(file) not in ("backend", "kernels"):
            words = {getattr(node, field, None) for node in ast.walk(tree(file))
                     for field in ("id", "attr", "name", "module", *["value"] * (part(file) != "cli"))}
            assert not {"on_cpu", "cupy"} & {word for word in words if isinstance(word, str)}, file


def test_only_kernels_know_of_threads():
    """Training tells them when a run begins: BLAS is then held at one thread once, not at every call. The metrics
    share their distances among threads; a study asks how many cores there are."""
    for file in FILES:
        if part(file) not in ("kernels", "training", "metrics", "study"):
            assert not [name for name in imports(file, tree(file)) if name.startswith("kernels.cpu.parallel")], file


def test_import_tinygan_waits_for_neither_scipy_nor_matplotlib():
    code = "import sys, tinygan; print(*sorted({'scipy', 'matplotlib', 'cupy', 'tqdm'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
