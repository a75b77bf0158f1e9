"""The public face: what users import exists, has types, and works as the types say."""

import ast
import importlib
from pathlib import Path

import pytest
import typed_user_code

from tinygan import Parameter, Tensor
from tinygan.autograd import habits

engine = importlib.import_module("tinygan.autograd.engine")
tensor_module = importlib.import_module("tinygan.autograd.tensor")  # not the function `tensor`
PACKAGE = Path(engine.__file__).parents[1]


@pytest.mark.cpu  # it gives NumPy arrays to networks
def test_typed_user_code_runs(tmp_path, capsys):
    """`mypy --strict tests/typed_user_code.py` checks its types (.ci/run does)."""
    typed_user_code.main(tmp_path)
    assert "multiply-adds" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name", ["", ".autograd", ".data", ".gan.augment", ".metrics", ".nn", ".ops", ".study"]
)
def test_all_that_is_exported_exists(name):
    module = importlib.import_module(f"tinygan{name}")
    assert sorted(set(module.__all__)) == sorted(module.__all__)
    for exported in module.__all__:
        assert hasattr(module, exported)


def definitions(file):
    """Return {name: definition} of the classes and functions in a stub."""
    syntax = ast.parse((PACKAGE / "autograd" / file).read_text(encoding="utf-8"))
    return {node.name: node for node in syntax.body if hasattr(node, "name")}


def names_in(definition):
    """Return the names of the methods, properties and attributes in a class of a stub."""
    return {
        node.name if isinstance(node, ast.FunctionDef) else node.target.id
        for node in definition.body
        if isinstance(node, (ast.FunctionDef, ast.AnnAssign))
    }


@pytest.mark.parametrize("kind", [Tensor, Parameter, tensor_module.Node, tensor_module.Version])
def test_the_types_of_tensor_have_every_method(kind):
    """A method that is added in ops/methods.py needs its line in tensor.pyi."""
    typed = names_in(definitions("tensor.pyi")[kind.__name__])
    own = {name for name, x in vars(kind).items() if not isinstance(x, habits.Missing)}
    assert {name for name in own if name[:1] != "_"} <= typed
    operators = {f"__{r}{name}__" for r in ("", "r") for name in ("add", "mul", "matmul", "pow")}
    assert kind is not Tensor or operators <= typed
    assert all(hasattr(kind, name) for name in typed)


def test_the_types_of_the_engine_have_every_function():
    functions = {
        name
        for name, value in vars(engine).items()
        if getattr(value, "__module__", "") == engine.__name__ and name[:1] != "_"
    }
    assert functions <= {*definitions("engine.pyi")}
