"""Executing Python files of the user's own from their bytes; finding the files that they import.

Only bytes that have been read before are executed, never a file that lies on the disk at that time,
and no compiled file (.pyc). The modules of such files have names of their own, such as
`tinygan_own_1.helper`, so that two programs with different files helper.py can be in one process;
they stay in sys.modules, where dataclasses, pickle and others look for them. The file's own import
statements, at its top or inside a function, find `helper` under its plain name. No other module
does, and no module of Python or of a package that tinygan needs is ever replaced.
"""

import ast
import builtins
import importlib
import importlib.abc
import importlib.machinery
import itertools
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Mapping

from tinygan.errors import InputError, one_line
from tinygan.models.recipe import Recipe

RESERVED = sys.stdlib_module_names | {
    *("tinygan", "numpy", "scipy", "matplotlib", "mpl_toolkits", "PIL", "threadpoolctl", "tqdm")
}
# What compiling a file may raise. Deep nesting exceeds the parser's memory, or the stack.
UNREADABLE = SyntaxError, ValueError, RecursionError, MemoryError
PREFIX = "tinygan_own_"
_numbers = itertools.count(1)


class Program:
    """The files of one program. main: the name of its main file. files: {name: bytes}. folder: of
    the files; path: that of the main file, which may have another name there."""

    def __init__(self, main: str, files: Mapping[str, bytes], path: Path, folder: Path):
        self.files, self.package = files, f"{PREFIX}{next(_numbers)}"
        self.paths = {name: str(path if name == main else folder / name) for name in files}
        # {dotted name: file}; a package comes before a module of its name, as in Python.
        others = sorted(files.keys() - {main}, key=lambda name: name.endswith("/__init__.py"))
        self.modules = {dotted_name(name): name for name in others}
        self.main = dotted_name(main) if main[:-3].isidentifier() else "main"
        self.modules[self.main] = main
        self.tops = {name.partition(".")[0] for name in self.modules} - RESERVED

    def run(self) -> ModuleType:
        """Execute the main file, and return its module. Raises InputError, with the file and the
        line, for an error in it or in a file that it imports."""
        package = ModuleType(self.package)
        package.__path__ = []
        sys.modules[self.package], _finder.programs[self.package] = package, self
        if _finder not in sys.meta_path:
            sys.meta_path.insert(0, _finder)
        try:
            return importlib.import_module(f"{self.package}.{self.main}")
        except (Exception, SystemExit) as error:
            _finder.programs.pop(self.package)
            for name in [name for name in sys.modules if name.split(".")[0] == self.package]:
                del sys.modules[name]
            raise self.mistake(error) from error

    def mistake(self, error: BaseException) -> InputError:
        """Return the one-line error to raise for an exception that executing a file has raised, or
        a function in it."""
        place, files = self.paths[self.modules[self.main]], {*self.paths.values()}
        trace = error.__traceback__
        if isinstance(error, SyntaxError) and error.filename in files:
            place = f"{error.filename}, line {error.lineno}"
        else:
            while trace is not None:
                if trace.tb_frame.f_code.co_filename in files:
                    place = f"{trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno}"
                trace = trace.tb_next
        text = re.sub(rf"{PREFIX}\d+\.", "", described(error))
        return InputError(f"{place}: {text}")

    def imported(self, name, globals=None, locals=None, fromlist=(), level=0):
        """Import a module for the program: what `__import__` is in its files."""
        top = name.partition(".")[0]
        if level or top not in self.tops:
            return builtins.__import__(name, globals, locals, fromlist, level)
        module = builtins.__import__(f"{self.package}.{name}", globals, locals, fromlist, 0)
        return module if fromlist else sys.modules[f"{self.package}.{top}"]


class OwnRecipe(Recipe):
    """A Recipe of a model file. An exception that building its networks raises, which is a mistake
    in that file, becomes an InputError with its line."""

    def build(self, *args: Any) -> tuple[Any, Any]:
        try:
            return super().build(*args)
        except (InputError, MemoryError):
            raise
        except Exception as error:
            raise self.source.program().mistake(error) from error


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds and executes the modules of all programs."""

    programs: dict[str, Program] = {}

    def find_spec(self, fullname, path=None, target=None):
        package, _, name = fullname.partition(".")
        program = self.programs.get(package)
        if program is None or name not in program.modules:
            return None
        is_package = program.modules[name].endswith("/__init__.py")
        return importlib.machinery.ModuleSpec(fullname, self, is_package=is_package)

    def exec_module(self, module):
        package, _, name = module.__name__.partition(".")
        program = self.programs[package]
        file = program.modules[name]
        module.__file__ = program.paths[file]
        imports = {"__import__": program.imported}
        module.__builtins__ = vars(builtins) | imports
        code = compile(program.files[file], module.__file__, "exec", dont_inherit=True)
        exec(code, vars(module))


_finder = _Finder()


def described(error: BaseException) -> str:
    """Return an exception as text for a message, with what to do about it."""
    if isinstance(error, InputError):
        return str(error)
    text = error.msg if isinstance(error, SyntaxError) else one_line(error, 500)
    text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if isinstance(error, ModuleNotFoundError):
        text += " (install it, or put it beside this file; a folder needs an __init__.py)"
    return text


def dotted_name(file: str) -> str:
    """Return the name of the module in a file: "a/b.py" -> "a.b", "a/__init__.py" -> "a"."""
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def imported_files(file: str, source: bytes, path: Path, folder: Path) -> list[str]:
    """Return the names of the files in `folder` that a file imports, at its top or in functions.

    file: its name; path: where it is. Raises InputError if it cannot be compiled, if it imports an
    extension module in the folder, or another module in the folder that has the name of one of
    Python or of a package that tinygan needs.
    """
    try:
        tree = ast.parse(source, str(path))
    except UNREADABLE as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise InputError(f"{path}{line}: {described(error)}") from None
    found: dict[str, None] = {}
    for line, parts in _imports(tree, file.split("/")[:-1]):
        for other in _files_of(parts, folder):
            top = other.split("/")[0].removesuffix(".py")
            if top == "tinygan":  # in a checkout of tinygan; the one that runs is imported already
                break
            if top in RESERVED and other != file:
                raise InputError(
                    f"{path}, line {line}: {folder / other} has the name of the module {top}, "
                    "which Python or tinygan needs: rename the file, or move it"
                )
            found[other] = None
    return list(found)


def _imports(tree, package):
    """Yield (line, the parts a, b, c of the name a.b.c) of whatever may be a module that is
    imported. package: the parts of the name of the importing file's package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name.split(".")
        elif isinstance(node, ast.ImportFrom):
            # "from .a import b": b may be a module, or something in the module a
            base = package[: max(len(package) - node.level + 1, 0)] if node.level else []
            base = base + (node.module.split(".") if node.module else [])
            for alias in node.names:
                yield node.lineno, [*base, alias.name]


def _files_of(parts, folder):
    """Yield the names of the files in a folder that importing the module a.b.c executes: those of
    a, a.b and a.b.c, as far as they are there."""
    for i in range(1, len(parts) + 1):
        path = folder.joinpath(*parts[:i])
        name = "/".join(parts[:i])
        if (path / "__init__.py").is_file():
            yield f"{name}/__init__.py"
            continue
        for suffix in importlib.machinery.EXTENSION_SUFFIXES:
            if (extension := path.with_name(path.name + suffix)).exists():
                raise InputError(
                    f"{extension} is an extension module: a run can copy and check Python files "
                    "only: install it as a package"
                )
        if path.with_name(f"{path.name}.py").is_file():
            yield f"{name}.py"
        return
