"""Opening files so that a prepared folder does no harm.

A run folder may come from somebody else. Its `log.jsonl` could be a link to a file of the user, its
`samples` a link to another folder, its `config.json` a FIFO, which blocks whoever opens it. So
every file of a run is opened and removed here, and here is the rule: a run folder and its parents
may be links, but inside of it tinygan opens regular files only, and enters real folders only. Where
the system can open a file without following links (O_NOFOLLOW), nothing can be exchanged between
the check and the opening. On Windows, which cannot, the file is checked before and after it is
opened.
"""

import contextlib
import errno
import os
import re
import stat
from pathlib import Path
from typing import IO, Any, Iterator

from tinygan.errors import InputError

NO_LINKS = getattr(os, "O_NOFOLLOW", 0)
# A FIFO does not block, and a terminal does not become this process's own.
NO_EFFECTS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
KINDS = (
    (stat.S_ISLNK, "a link"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe (FIFO)"),
    (stat.S_ISSOCK, "a socket"),
)
EXCHANGED = errno.ELOOP, errno.EMLINK, errno.ENXIO  # a link, a FIFO or a socket was opened
ATTEMPTS = 100  # to open a file that other processes keep removing and making


def user_path(path: str | Path) -> Path:
    """Return a path as the user means it: `~` and `~name` at its beginning are home folders.

    Raises InputError if the path is empty.
    """
    if not os.fspath(path):
        raise InputError("an empty path: give the name of a file or a folder")
    expanded = Path(os.path.expanduser(path))
    # A file that is really called "~..." keeps its name when it is expanded again.
    return expanded.absolute() if str(expanded).startswith("~") else expanded


def is_file(path: str | Path) -> bool:
    """Return whether there is a file at `path`. Raises InputError if there is something else: a
    link, a folder, a FIFO, a device, a socket."""
    return _is(path, "a file")


def is_folder(path: str | Path) -> bool:
    """Return whether there is a folder at `path`. Raises InputError if there is something else,
    such as a link to a folder."""
    return _is(path, "a folder")


def _is(path, kind):
    try:
        _refuse_unless(kind, path, os.lstat(path))
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _refuse_unless(kind, path, info):
    """Raise InputError unless `info`, an os.stat_result, is that of "a file" or "a folder"."""
    found = "a file" if stat.S_ISREG(info.st_mode) else "a device"
    found = next((name for is_kind, name in KINDS if is_kind(info.st_mode)), found)
    if getattr(info, "st_reparse_tag", 0) == getattr(stat, "IO_REPARSE_TAG_MOUNT_POINT", -1):
        found = "a link"  # a junction: how Windows links folders
    if found != kind:
        copy = ", or put a copy of what it leads to in its place" if found == "a link" else ""
        raise InputError(f"{path} is {found}, but must be {kind}: move it elsewhere{copy}")


def open_file(
    path: str | Path,
    mode: str = "rb",
    *,
    follow: bool = False,
    real_folder: bool = False,
    shared: bool = False,
    **settings: Any,
) -> IO[Any]:
    """Open a regular file, like the function `open`, to read it ("r"), to append to it ("a"), or to
    make it ("x"). Text is UTF-8.

    follow: the path may be a link to a file (for files that are not in a run folder). real_folder:
    the folder of the file must be no link either (for a folder inside of a run folder). shared: the
    file may have several names; without it, such a file is opened for reading only. settings: as
    for `open`. Raises InputError if the path is something else than a file, and OSError as `open`
    does.
    """
    if "w" in mode or "+" in mode and "r" in mode:
        raise ValueError(f"mode {mode!r}: a file is made, appended to, or replaced as a whole")
    if "b" not in mode:
        settings.setdefault("encoding", "utf-8")
    path = user_path(path)

    def opener(_, flags):
        return _descriptor(path, flags, follow, real_folder, shared)

    return open(path, mode, opener=opener, **settings)


def _descriptor(path, flags, follow, real_folder, shared):
    """Open a regular file, and return its descriptor. The parameters are those of `open_file`."""
    for _ in range(ATTEMPTS):
        with reach(path, real_folder) as (folder, at):
            name, before = folder / path.name, None
            with contextlib.suppress(FileNotFoundError):
                before = os.stat(name, dir_fd=at, follow_symlinks=follow)
                _refuse_unless("a file", path, before)
            makes = flags & os.O_CREAT and not before
            how = flags | os.O_EXCL if makes else flags & ~os.O_CREAT
            if before and flags & os.O_EXCL:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
            how |= NO_EFFECTS | (0 if follow else NO_LINKS)
            try:
                descriptor = os.open(name, how, 0o666, dir_fd=at)
            except OSError as error:
                # Another process has made, removed or exchanged the file since it was checked.
                if isinstance(error, FileExistsError) and makes and not flags & os.O_EXCL:
                    continue
                if error.errno in EXCHANGED or before and error.errno == errno.ENOENT:
                    continue
                raise
        try:
            after = os.fstat(descriptor)
            _refuse_unless("a file", path, after)
            if after.st_nlink > 1 and flags & (os.O_WRONLY | os.O_RDWR) and not shared:
                raise InputError(
                    f"{path} has several names (hard links), and writing would change them all: "
                    "put a copy in its place"
                )
            if makes or follow or NO_LINKS or before and os.path.samestat(before, after):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    raise InputError(f"{path} keeps changing: stop the process that changes it")


@contextlib.contextmanager
def reach(path: Path, real_folder: bool) -> Iterator[tuple[Path, int | None]]:
    """Yield (folder, descriptor), by which functions of `os` reach the files beside `path`: a file
    `name` is `folder / name`, with dir_fd=descriptor.

    real_folder: the folder of `path` must not be a link. Raises InputError if it is one.
    """
    if not real_folder:
        yield path.parent, None
        return
    if not is_folder(path.parent):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path.parent))
    if not NO_LINKS or os.open not in os.supports_dir_fd:
        yield path.parent, None
        return
    try:
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | NO_LINKS)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):  # exchanged since it was checked
            is_folder(path.parent)
        raise
    try:
        yield Path(), descriptor
    finally:
        os.close(descriptor)


def read_text(path: str | Path, errors: str = "strict") -> str:
    """Return the text of a file, as `open_file` opens it. errors: as for `open`."""
    with open_file(path, "r", errors=errors) as file:
        return file.read()


def read_bytes(path: str | Path) -> bytes:
    """Return the bytes of a file, as `open_file` opens it."""
    with open_file(path) as file:
        content: bytes = file.read()
    return content


def remove(path: str | Path, real_folder: bool = False) -> None:
    """Remove a file if it is there. A link is removed itself, never what it leads to. real_folder:
    the folder of the file must not be a link."""
    path = user_path(path)
    with contextlib.suppress(FileNotFoundError), reach(path, real_folder) as (folder, at):
        os.unlink(folder / path.name, dir_fd=at)


def make_folder(path: str | Path, exist_ok: bool = True) -> None:
    """Make a folder, and its parents. Raises InputError if a part of the path is a file, or a link
    that leads nowhere; and FileExistsError, unless exist_ok, if the folder is already there."""
    path = user_path(path)
    for part in (*reversed(path.parents), path):
        if os.path.islink(part) and not os.path.exists(part):
            raise InputError(
                f"{part} is a link to {os.readlink(part)}, which does not exist: make that folder, "
                "or choose another one"
            )
        if os.path.lexists(part) and not os.path.isdir(part):
            raise InputError(f"{part} is not a folder: choose another one")
    path.mkdir(parents=True, exist_ok=exist_ok)


RUN_FILES = re.compile(
    r"running|config\.json|(log|time|eval)\.jsonl|(checkpoint-\d+|best)\.npz|(curves|growth)\.png"
)
SAMPLES, GRIDS = "samples", re.compile(r"step-\d+\.png")


def check_run_folder(folder: str | Path) -> None:
    """Raise InputError if something in a run folder that training would read, write or remove is
    not a regular file, or `samples` not a real folder: before anything is changed."""
    folder = Path(folder)
    for name in filter(RUN_FILES.fullmatch, sorted(os.listdir(folder))):
        is_file(folder / name)
    if is_folder(folder / SAMPLES):
        for name in filter(GRIDS.fullmatch, sorted(os.listdir(folder / SAMPLES))):
            is_file(folder / SAMPLES / name)
