"""The structure of the package: which parts may import which, which names a part must not use, and
how large files, classes and the package may grow."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tinygan

PACKAGE = Path(tinygan.__file__).parent
FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
FOLDERS = sorted({str(Path(file).parent) for file in FILES})

# The parts of the package (folders, and files beside them) from bottom to top: a part may import
# only from itself and from the parts before it.
ORDER = [
    "version",
    "startup",
    "screen",
    "notebook",
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
    "recorded",
    "optable",
    "schedules",
    "settings",
    "gan",
    "models",
    "weights",
    "data",
    "plots",
    "metrics",
    "training",
    "runs",
    "lab",
    "study",
    "cli",
    "__main__",
]

# The code that makes tinygan fast and robust has folders of its own. A learner meets its names
# nowhere else.
MECHANICS = {"threading", "ranks", "cupy", "on_cpu", "tape", "micro_batch", "parallel", "graphs"}
FORBIDDEN_NAMES = {  # place (see `belongs`): the names that no code there may use
    "kernels/*.py": MECHANICS,  # the plain kernels
    "autograd/engine.py": MECHANICS,
    "autograd/tensor.py": MECHANICS,
    "ops": MECHANICS,
    "nn": MECHANICS,
    "gan": MECHANICS,
    "models": MECHANICS - {"micro_batch"},  # a setting of every recipe
    "training/algorithm.py": MECHANICS,
    "training/objectives.py": MECHANICS,
    "training/unrolled.py": MECHANICS,
}
LEARNERS_PATH = list(FORBIDDEN_NAMES)
# To look inside networks, to check them, to say which images fit, and to freeze layers.
TOOLS = {"nn/hooks.py", "nn/layer_summary.py", "models/image_sizes.py"}
TOOLS |= {"models/contract.py", "models/freezing.py"}


def tree(file):
    """Return the syntax tree of a file of the package."""
    return ast.parse((PACKAGE / file).read_text(encoding="utf-8"))


def belongs(file, place):
    """Return whether `file` belongs to a place: a folder with its subfolders ("ops"), the files of
    one folder that match a pattern ("kernels/*.py"), or a file."""
    same_depth = file.count("/") == place.count("/")
    return same_depth and Path(file).match(place) or file.startswith(f"{place}/")


def part(file):
    """Return the part of ORDER that a path such as 'ops/linear.py' belongs to."""
    return file.split("/")[0].removesuffix(".py")


def imports(file, syntax):
    """Yield the dotted names within tinygan that `file` imports, also inside functions, such as
    'kernels.parallel.run'."""
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
    """Yield a message for each import of `file` that ORDER does not allow."""
    own = part(file)
    for name in imports(file, syntax):
        other = name.split(".")[0]
        if other not in ORDER:
            yield f"{file} imports tinygan.{name}: import it from where it is defined"
        elif ORDER.index(other) > ORDER.index(own):
            yield f"{file} imports tinygan.{name}, but {own} comes before {other} in ORDER"


def test_every_file_belongs_to_a_part():
    assert {part(file) for file in FILES} - {"__init__"} <= set(ORDER)


@pytest.mark.parametrize("file", [file for file in FILES if file != "__init__.py"])
def test_a_part_imports_only_parts_below_it(file):
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
def test_forbidden_imports_are_detected(file, line):
    assert list(violations(file, ast.parse(line)))


def test_plain_kernels_do_not_import_fast_kernels():
    for file in FILES:
        if belongs(file, "kernels/*.py"):
            for name in imports(file, tree(file)):
                assert not name.startswith(("kernels.cpu", "kernels.cuda")), file


# Names that a part must not use


def names(syntax):
    """Yield every name in the code: identifiers, attributes, parts of imported names, strings."""
    for node in ast.walk(syntax):
        for field in ("id", "attr", "name", "asname", "arg", "module", "value"):
            text = getattr(node, field, None)
            if isinstance(text, str):
                yield from [text] if field == "value" else text.split(".")


def forbidden_names(file, syntax):
    """Return the names in the code of `file` that it must not use."""
    return {
        name
        for place, forbidden in FORBIDDEN_NAMES.items()
        if belongs(file, place)
        for name in names(syntax)
        if name in forbidden
    }


@pytest.mark.parametrize("file", FILES)
def test_no_file_uses_a_forbidden_name(file):
    assert not forbidden_names(file, tree(file))


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
def test_forbidden_names_are_detected(file, line, name):
    assert forbidden_names(file, ast.parse(line)) == {name}


def test_other_files_may_use_these_names():
    everything = ast.parse("from tinygan.kernels.cpu import parallel\nimport threading, ranks")
    for file in (
        "kernels/cpu/conv.py",
        "kernels/cuda/graphs.py",
        "autograd/inspect.py",
        "training/execution.py",
        "cli/train.py",
    ):
        assert not forbidden_names(file, everything)


def test_words_in_docstrings_and_comments_are_no_names():
    prose = '"""Means over all ranks (see graphs)."""  # in parallel'
    assert not forbidden_names("nn/norms.py", ast.parse(prose))


def test_the_game_knows_nothing_of_files_of_browsers_and_of_plots():
    """It computes arrays, which the pages of the laboratory and the demos draw."""
    others = {"files", "plots", "runs", "screen", "notebook", "cli", "study"}
    libraries = {"matplotlib", "PIL", "http", "socket", "pathlib", "os", "json", "open"}
    game = {"game", "networks", "optimal", "presets", "backward"}
    for file in FILES:
        if part(file) == "lab" and Path(file).stem in game:
            syntax = tree(file)
            assert not {name.split(".")[0] for name in imports(file, syntax)} & others, file
            words = {
                getattr(node, field, None)
                for node in ast.walk(syntax)
                for field in ("id", "name", "module")
            }
            assert not libraries & {str(word).split(".")[0] for word in words}, file


def test_few_files_use_ranks():
    others = [file for file in FILES if not file.endswith("/ranks.py")]
    files = [file for file in others if "ranks" in names(tree(file))]
    assert len(files) <= 4, files


def test_only_the_backend_and_the_kernels_use_cupy():
    """The command line may contain the word as a string."""
    for file in FILES:
        if part(file) not in ("backend", "kernels"):
            words = {
                getattr(node, field, None)
                for node in ast.walk(tree(file))
                for field in ("id", "attr", "name", "module", *["value"] * (part(file) != "cli"))
            }
            assert not {"on_cpu", "cupy"} & {word for word in words if isinstance(word, str)}, file


def test_few_parts_use_threads():
    """Training holds BLAS at one thread for a whole run, instead of at every call; a step is
    recorded for a number of threads; the metrics share the computation of distances among threads;
    a study counts the cores; a game of the laboratory plays as training does."""
    for file in FILES:
        if part(file) not in ("kernels", "recorded", "training", "metrics", "lab", "study"):
            assert not [
                name
                for name in imports(file, tree(file))
                if name.startswith("kernels.cpu.parallel")
            ], file


def test_import_tinygan_imports_neither_scipy_nor_matplotlib():
    """Nor the op table; and the engine does not import the module that draws graphs."""
    slow = {"scipy", "matplotlib", "cupy", "tqdm", "tinygan.optable", "tinygan.autograd.drawing"}
    for module in ("tinygan", "tinygan.autograd"):
        code = f"import sys, {module}; print(*sorted({slow} & set(sys.modules)))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


# Sizes


@pytest.mark.parametrize("file", FILES)
def test_no_file_is_long(file):
    assert len((PACKAGE / file).read_text(encoding="utf-8").splitlines()) <= 400


def statements(syntax):
    """Return the number of statements without docstrings: a measure that does not depend on how
    lines are wrapped."""
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
    files = [file for file in FILES if any(belongs(file, place) for place in LEARNERS_PATH)]
    count = sum(statements(tree(file)) for file in files if file not in TOOLS)
    # 200 of them keep small numbers right: sums in parts, scaled lengths, losses without
    # cancellation, softmax.
    # 30 of them are for images that are not square. 60 are ops that people look for, such as sin,
    # std and prod; 70 are weight decay, clipping and schedules; 350 are R3GAN, InfoGAN, unrolled
    # GANs and four small regularisers.
    assert count < 4200, f"{count} statements: take something out, or raise the limit and say why"


def test_the_package_stays_small():
    count = sum(statements(tree(file)) for file in FILES)
    # 1,000 of them check what is read from files, and how files are opened; 900 record steps on a
    # CPU; 1,700 are for data of the user's own (600 read pictures and arrays, 450 measure them),
    # more named sets, points, and images of any shape. 2,300 let people train in their own way: 370
    # for code in their own files, 350 for weights of and for PyTorch, 350 for runs from Python and
    # in notebooks, 250 for changes of a resumed run and weights of another one, 170 for schedules.
    # 3,050 check gradients: 1,050 decide (rates, noise, kinks, rows, witnesses), 650 name the usual
    # suspects, 650 check training steps, 350 are for the shell, 300 report and draw. 950 are the
    # laboratory: 300 the game and a backward pass, 450 what its pages ask for, 200 serve them. 100
    # are the verdicts and the figures of studies.
    assert count < 21650, f"{count} statements: take something out, or raise the limit and say why"


def sizes(syntax):
    """Return {class: (number of methods, number of attributes that it sets on self)}, each with
    those of its bases in this code."""
    classes = {node.name: node for node in ast.walk(syntax) if isinstance(node, ast.ClassDef)}

    def of(node):
        methods = {child.name for child in node.body if isinstance(child, ast.FunctionDef)}
        stored = [
            child
            for child in ast.walk(node)
            if isinstance(child, ast.Attribute) and isinstance(child.ctx, ast.Store)
        ]
        attributes = {child.attr for child in stored if getattr(child.value, "id", None) == "self"}
        for base in node.bases:
            if getattr(base, "id", None) in classes:
                inherited = of(classes[base.id])
                methods, attributes = methods | inherited[0], attributes | inherited[1]
        return methods, attributes

    return {name: tuple(map(len, of(node))) for name, node in classes.items()}


def test_no_class_of_training_is_large():
    """All files are checked together, because a class may have its base in another file."""
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


# Documentation


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_docstring_of_every_folder_starts_with_one_line(folder):
    docstring = ast.get_docstring(tree(f"{folder}/__init__.py"))
    assert docstring and docstring.split("\n")[0].endswith((".", ":"))


def test_the_package_docstring_lists_every_folder_from_bottom_to_top():
    parts = [line.split()[0] for line in tinygan.__doc__.splitlines() if line.startswith("    ")]
    assert sorted(parts, key=ORDER.index) == parts
    folders = {file.split("/")[0] for file in FILES if "/" in file}
    assert folders <= set(parts) <= set(ORDER) and len(tinygan.__doc__.splitlines()) <= 30
