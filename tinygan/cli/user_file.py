"""Executing a Python file of the user's as a script is: modules in its folder can be imported."""

import contextlib
import importlib.util
import os
import sys
import traceback
from pathlib import Path

from tinygan.errors import InputError, choose_from
from tinygan.files import open_file, user_path
from tinygan.nn import Module
from tinygan.training.own_modules import described

PACKAGE = Path(__file__).resolve().parents[1]


class UserFile:
    """A file of the user's, and its module. root: the folder that is on sys.path."""

    def __init__(self, path):
        self.path = user_path(path)
        self.root, self.name = self.path.resolve().parent, self.path.stem
        while (self.root / "__init__.py").is_file():  # in a package, for relative imports
            self.root, self.name = self.root.parent, f"{self.root.name}.{self.name}"
        self.module = None

    def execute(self):
        """Execute the file. Raises InputError if it cannot be read or raises an exception."""
        try:
            with open_file(self.path, follow=True) as file:
                source = file.read()
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(
                f"{self.path} does not exist: give the path of a Python file"
            ) from None
        except OSError as error:
            raise InputError(f"cannot read {self.path}: {error.strerror}") from None
        if self.name in sys.modules:  # a file random.py does not replace Python's
            self.name = f"tinygan_user_file_{self.path.stem}"
        spec = importlib.util.spec_from_file_location(self.name, self.path.resolve())
        self.module = importlib.util.module_from_spec(spec)
        sys.modules[self.name] = self.module
        try:
            exec(compile(source, str(self.path), "exec", dont_inherit=True), vars(self.module))
        except (Exception, SystemExit) as error:
            raise self.mistake(error) from error

    def find(self, name):
        """Return what has this name in the file. Raises InputError if nothing has."""
        if hasattr(self.module, name):
            return getattr(self.module, name)
        known = [key for key, value in vars(self.module).items() if self._is_own(key, value)]
        advice = choose_from(known, name) if known else "it has no functions of its own"
        raise InputError(f"{self.path} has no {name}: {advice}")

    def _is_own(self, key, value):
        """Return whether `value` may be what the user means: a function or network of this file."""
        if key.startswith("_") or not callable(value):
            return False
        return isinstance(value, Module) or getattr(value, "__module__", None) == self.name

    def mistake(self, error):
        """Return the one-line InputError for an exception that code of the user's has raised."""
        place, text = str(self.path), described(error)
        if isinstance(error, SyntaxError):
            if self.is_own_file(error.filename):
                place = f"{error.filename}, line {error.lineno}"
        else:
            for frame, line in traceback.walk_tb(error.__traceback__):
                if self.is_own_file(frame.f_code.co_filename):
                    place = f"{frame.f_code.co_filename}, line {line}"
        if isinstance(error, SystemExit):
            text += ' (put what the script does under if __name__ == "__main__":)'
        return InputError(f"{place}: {text}")

    def is_own_file(self, path):
        """Return whether a file is this one, or lies in its folder and belongs to no package that
        is installed there."""
        if path is None or path == str(self.path):
            return path is not None
        parents = Path(os.path.realpath(path)).parents
        installed = any(folder.name == "site-packages" for folder in parents)
        return self.root in parents and PACKAGE not in parents and not installed


@contextlib.contextmanager
def executed(path):
    """Execute a Python file; return its UserFile for the block. Its modules are forgotten then."""
    file = UserFile(path)
    modules, search_path = {*sys.modules}, [*sys.path]
    sys.path.insert(0, str(file.root))
    try:
        file.execute()
        yield file
    finally:
        sys.path[:] = search_path
        for name in {*sys.modules} - modules:
            if file.is_own_file(getattr(sys.modules[name], "__file__", None)):
                del sys.modules[name]
