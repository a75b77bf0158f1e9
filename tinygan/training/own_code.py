"""Code of the user's own: a recipe, a loss or a penalty in a Python file (a "role" of the run).

A new run reads the file and the files beside it that it imports, executes what it has read, and
keeps a copy of it in RUN/code/ROLE/, with the SHA-256 of each file in config.json. Whoever uses the
run later says which files may be executed: the user's own (--model FILE.py, or
--set loss=FILE.py:NAME), or the copies in the run folder (--trust). All files are read and compared
with config.json before the first one is executed. Nothing else executes code, so a run folder of
somebody else never does by itself.
"""

import dataclasses
import hashlib
import json
import re
from pathlib import Path
from typing import Any, Mapping, NamedTuple

from tinygan.autograd.checks import accepts
from tinygan.errors import InputError, choose_from, quoted
from tinygan.files import (
    is_file,
    is_folder,
    make_folder,
    open_file,
    remove_temporary,
    replacing,
    schema,
    user_path,
    writing,
)
from tinygan.files.checkpoint import Run, read_config
from tinygan.files.own_code import FOLDER, MAX_BYTES, MAX_FILES, is_main_name, is_module_name
from tinygan.gan.losses import Loss
from tinygan.gan.penalties import Penalty
from tinygan.models.recipe import Recipe
from tinygan.models.settings import Settings
from tinygan.settings import REFERENCE, FromFile

from .own_checks import check_shared_losses, checked_loss, checked_penalty
from .own_modules import OwnRecipe, Program, imported_files

KINDS: dict[str, type[Any]] = {"loss": Loss, "penalty": Penalty}
WHICH_FILE = "give the path of a Python file"
WITH_PATH = re.compile(r"(.*\.py):([^\W\d]\w*)")  # FILE.py:NAME, as a user writes it


class Source(NamedTuple):
    """The files of a role, as they were read.

    path: the main file. file: its name in the run. files: {name: bytes} of all files. is_copy:
    whether they are the copies in the run folder.
    """

    path: Path
    file: str
    files: dict[str, bytes]
    is_copy: bool = False

    def hashes(self) -> dict[str, str]:
        """Return {name: SHA-256} of all files."""
        return {name: sha256(data) for name, data in sorted(self.files.items())}

    def program(self) -> Program:
        """Return the files as a program, to execute."""
        folder = self.path.parent if self.is_copy else self.path.resolve().parent
        return Program(self.file, self.files, self.path, folder)

    def module(self) -> Any:
        """Execute the main file, and return its module."""
        return self.program().run()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# Reading


def read(path: str | Path) -> Source:
    """Return the Source of a user's file, with all files beside it that it imports.

    Raises InputError if a file cannot be read or compiled, is too large, or has an unusual name.
    """
    path = user_path(path)
    folder, waiting = path.resolve().parent, [path.name]
    files: dict[str, bytes] = {}
    if not is_main_name(path.name):
        raise InputError(f"{quoted(path)}: rename this file to letters and digits, NAME.py")
    while waiting:
        name = waiting.pop()
        if name in files:
            continue
        if name != path.name and not is_module_name(name) or len(files) == MAX_FILES:
            raise InputError(
                f"{path} imports {folder / name}: a run can copy up to {MAX_FILES} files, with "
                "short paths"
            )
        here = path if name == path.name else folder / name
        files[name] = _content(here, follow=True)
        waiting += imported_files(name, files[name], here, folder)
    return Source(path, path.name, files)


def _content(path: Path, follow: bool, if_missing: str = WHICH_FILE) -> bytes:
    """Return the bytes of a file. follow: whether it may be a link. if_missing: what to do if it
    does not exist."""
    try:
        with open_file(path, follow=follow, real_folder=not follow) as file:
            content: bytes = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path} does not exist: {if_missing}") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise InputError(f"{path} is longer than {MAX_BYTES:,} bytes: too long for a Python file")
    return content


def recorded(run: Run, role: str, path: str | Path | None) -> Source:
    """Return the Source of a role of a run, whose files have the SHA-256 in config.json.

    path: the user's main file; None for the copy in the run folder, which is read without following
    links. Raises InputError if a file is missing or differs.
    """
    entry = run.config["code"][role]
    copies = run.folder / FOLDER / role
    main = copies / entry["file"] if path is None else user_path(path)
    folder, files = copies if path is None else main.resolve().parent, {}
    option = "--model FILE.py" if role == "recipe" else f"--set {role}=FILE.py:NAME"
    copy = "run the copy in the run folder with --trust"
    instead = f"give the original with {option}" if path is None else copy
    main_first = sorted(entry["files"].items(), key=lambda item: item[0] != entry["file"])
    for name, digest in main_first:
        file = main if name == entry["file"] else folder / name
        if path is None:
            for parent in [*reversed(Path(role, name).parents)]:
                is_folder(run.folder / FOLDER / parent)  # raises an error for a link
        back, undo = ("", "") if path is None else ("put it back, or ", "undo the change, or ")
        missing = WHICH_FILE if file == main and path else back + instead
        files[name] = _content(file, path is not None, missing)
        if sha256(files[name]) != digest:
            begin = "; for the changed file, begin a new run" if path else ""
            raise InputError(
                f"{file} differs from the file that {run.folder} began with: {undo}{instead}{begin}"
            )
    return Source(main, entry["file"], files, is_copy=path is None)


# Recipes


def load_recipe(source: Source) -> Recipe:
    """Execute a model file, and return its RECIPE. Raises InputError if it has none, or if it is
    not complete."""
    module = source.module()
    if not hasattr(module, "RECIPE"):
        raise InputError(
            f"{source.path} has no RECIPE: write RECIPE = Recipe(name, summary, settings_class, "
            "networks) at its end"
        )
    recipe = module.RECIPE
    try:
        _check_recipe(recipe)
    except Exception as error:  # of a class of the user's
        raise InputError(f"{source.path}: {error}") from error
    return OwnRecipe(*recipe._replace(source=source))


def _check_recipe(recipe):
    if not isinstance(recipe, Recipe):
        kind = type(recipe).__name__
        raise TypeError(f"RECIPE is a {kind}, but must be a Recipe of tinygan.models")
    name, kind = recipe.name, recipe.settings_class
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w.+-]{0,98}", name):
        raise ValueError(f"the name of RECIPE is {name!r}, but must be a word, such as my-gan")
    if not isinstance(recipe.summary, str):
        raise TypeError("the summary of RECIPE must be text")
    if not isinstance(kind, type) or not issubclass(kind, Settings):
        raise TypeError("the settings_class of RECIPE must be Settings or derived from it")
    if not callable(recipe.networks) or not accepts(recipe.networks, ("s", "sizes", "rng"), {}):
        raise TypeError("networks of RECIPE must be a function networks(s, sizes, rng) -> (G, D)")
    check_shared_losses(recipe.shared_losses)
    if recipe.truncation not in ("z", "w", None):
        raise ValueError(f'truncation of RECIPE is {recipe.truncation!r}: choose "z", "w" or None')
    for name, value in dataclasses.asdict(recipe.settings()).items():
        schema.SETTING(value, name)
    recipe.settings(for_points=True)


def recipe_of_run(run: Run, model: str | Path | None, trust: bool) -> Recipe | None:
    """Return the recipe of a run if it is the user's own, and None if it is one of tinygan.

    model: the user's file; trust: run the copy in the run folder. Raises InputError without either,
    if a file differs from that with which the run began, and for a model that is not needed.
    """
    code = run.config.get("code", {})
    if "recipe" not in code:
        if model is not None:
            raise InputError(
                f"--model {model}: {run.folder} has a recipe of tinygan, {run.config['recipe']}: "
                "leave --model out"
            )
        return None
    if model is None and not trust:
        raise InputError(
            f"{run.folder} has a model of its own, {code['recipe']['file']}, and never runs code "
            "by itself: give this file with --model FILE.py; or, if you trust whoever wrote the "
            "run, use its copy with --trust"
        )
    return load_recipe(recorded(run, "recipe", model))


def has_own_model(path: str | Path) -> bool:
    """Return whether a run, given its folder or one of its checkpoints, has a recipe of the
    user's own."""
    path = user_path(path)
    folder = path if path.is_dir() else path.parent
    return "recipe" in read_config(folder, path).get("code", {})


# Losses and penalties


def load_part(role: str, reference: str, folder: Path = Path()) -> FromFile:
    """Execute a file, and return the value of the setting `role`, "loss" or "penalty".

    reference: FILE.py:NAME. folder: where a relative path begins. Raises InputError if the file has
    no such object.
    """
    file, _, name = reference.rpartition(":")
    return _part(role, read(folder / user_path(file)), name)


def _part(role, source, name):
    module, kind = source.module(), KINDS[role]
    if not hasattr(module, name):
        known = [key for key, value in vars(module).items() if isinstance(value, kind)]
        advice = choose_from(known, name) if known else f"write {name} = {kind.__name__}(...)"
        raise InputError(f"{source.path} has no {name}: {advice}")
    value = getattr(module, name)
    try:
        if not isinstance(value, kind):
            raise TypeError(
                f"{name} is a {type(value).__name__}, but must be a {kind.__name__} of "
                f"{kind.__module__}"
            )
        check = checked_penalty if role == "penalty" else checked_loss
        value = check(value, name, source.path)
    except (TypeError, ValueError) as error:
        raise InputError(f"{source.path}: {error}") from error
    part = FromFile(f"{source.file}:{name}")
    part.value, part.source = value, source
    return part


def loaded(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings {name: value or text} in which a loss and a penalty that the user names as
    FILE.py:NAME are loaded."""
    result = dict(settings)
    for role, kind in KINDS.items():
        text = settings.get(role)
        if not isinstance(text, str) or isinstance(text, FromFile):
            continue
        if text.endswith(".py"):
            raise InputError(
                f"setting {role}={text}: write {role}={text}:NAME, where NAME is the "
                f"{kind.__name__} in that file"
            )
        if WITH_PATH.fullmatch(text):
            result[role] = load_part(role, text)
    return result


def with_defaults(settings: Settings, recipe: Recipe) -> Settings:
    """Load a loss or a penalty that the recipe itself names as FILE.py:NAME, a file beside its
    own."""
    for role in KINDS:
        value = getattr(settings, role)
        if recipe.source and not isinstance(value, FromFile) and REFERENCE.fullmatch(value):
            part = load_part(role, value, recipe.source.path.resolve().parent)
            settings = dataclasses.replace(settings, **{role: part})
    return settings


def continued(
    run: Run, recipe: Recipe, settings: Settings, changes: Mapping[str, Any], trust: bool
) -> tuple[Settings, dict[str, Any]]:
    """Return (settings, changes) of a run that continues, with its own loss and penalty loaded.

    settings: those of the run. changes: what the user gave, {name: value or text}. A loss that the
    user gives again is no change if its files have the same SHA-256. Raises InputError if the loss
    is not given again, is no part of the user's model file, and `trust` is not set.
    """
    changes, code = loaded(changes), run.config.get("code", {})
    for role in KINDS:
        old, given = getattr(settings, role), changes.get(role)
        is_own = bool(REFERENCE.fullmatch(old))
        if is_own and code.get(role, {}).get("file") != old.rpartition(":")[0]:
            config = run.folder / "config.json"
            raise InputError(f"{config} is damaged ({role} is {old}, but code says something else)")
        if isinstance(given, FromFile) and given == old and is_own:
            if given.source.hashes() == code[role]["files"]:
                settings = dataclasses.replace(settings, **{role: changes.pop(role)})
        if not is_own or role in changes or isinstance(getattr(settings, role), FromFile):
            continue
        files, source = code[role]["files"], recipe.source
        if source and files.items() <= source.hashes().items():  # it has been executed already
            needed = {name: source.files[name] for name in files}
            path = source.path
            if code[role]["file"] != source.file:
                path = path.resolve().parent / code[role]["file"]
            source = Source(path, code[role]["file"], needed, source.is_copy)
        elif trust:
            source = recorded(run, role, None)
        else:
            raise InputError(
                f"{run.folder} has a {role} of its own, {old}, and never runs code by itself: give "
                f"it again with --set {role}=FILE.py:NAME; or, if you trust whoever wrote the run, "
                "use its copy with --trust"
            )
        part = _part(role, source, old.rpartition(":")[2])
        settings = dataclasses.replace(settings, **{role: part})
    return settings, changes


# The run


def sources(recipe: Recipe, settings: Settings) -> dict[str, Source]:
    """Return {role: Source} of what is the user's own in a run."""
    parts = {role: getattr(settings, role) for role in KINDS}
    found = {role: part.source for role, part in parts.items() if isinstance(part, FromFile)}
    return ({"recipe": recipe.source} if recipe.source else {}) | found


def describe(sources: Mapping[str, Source]) -> dict[str, Any]:
    """Return what config.json says about the user's own code; {} if there is none."""
    code = {role: {"file": s.file, "files": s.hashes()} for role, s in sources.items()}
    return {"code": code} if code else {}


def short_hash(code: Mapping[str, Any], role: str) -> str:
    """Return a short hash of the files of a role. code: the entry of config.json."""
    return sha256(json.dumps(code.get(role), sort_keys=True).encode())[:12]


def check_copies(out: Path, sources: Mapping[str, Source]) -> None:
    """Raise InputError if a folder or file of the copies in a run folder is something else, such as
    a link: before anything is changed."""
    for _, folders, path in _copies(out, sources):
        if all(map(is_folder, folders)):
            is_file(path)


def write_copies(out: Path, sources: Mapping[str, Source]) -> None:
    """Write the copies in a run folder that are not there yet, each of them atomically."""
    for data, folders, path in _copies(out, sources):
        with writing(path):
            for folder in folders:
                if not is_folder(folder):
                    make_folder(folder)
            remove_temporary(path.parent, real_folder=True)
            if is_file(path):
                with open_file(path, real_folder=True) as file:
                    if file.read(MAX_BYTES + 1) == data:
                        continue
            with replacing(path, real_folder=True) as file:
                file.write(data)


def _copies(out, sources):
    """Yield (content, folders from the outermost to that of the copy, path of the copy)."""
    for role, source in sources.items():
        for name, data in source.files.items():
            path = Path(FOLDER, role, name)
            yield data, [out / parent for parent in list(path.parents)[-2::-1]], out / path


def options_again(sources: Mapping[str, Source], settings: Settings | None = None) -> str:
    """Return the options with which a command uses a run again, such as " --model my_model.py", for
    a message. settings: those of the run if the command continues it."""
    if any(source.is_copy for source in sources.values()):
        return " --trust"
    recipe = sources.get("recipe")
    known = recipe.hashes().items() if recipe else {}.items()
    options = f" --model {quoted(recipe.path)}" if recipe else ""
    for role in KINDS if settings else ():
        source = sources.get(role)
        if source and not source.hashes().items() <= known:
            name = getattr(settings, role).rpartition(":")[2]
            options += f" --set {role}={quoted(f'{source.path}:{name}')}"
    return options
