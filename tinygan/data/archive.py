"""Read files out of a zip archive, without unpacking it to disk.

Nothing in the archive is trusted: reading a file takes a bounded amount of memory, whatever the
archive claims to hold.
"""

import contextlib
import hashlib
import io
import os
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, Any, Iterator, NamedTuple, Sequence

from tinygan.data.sources import Archive
from tinygan.errors import InputError, warn_once
from tinygan.files import open_file

MAX_READ = 1 << 20  # bytes read at once: far more than the list of files in any such archive has
METHODS = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED  # the others may need gigabytes of memory
# What zipfile raises for damaged archives.
DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, struct.error),
    *(EOFError, KeyError, OverflowError, RuntimeError, ValueError),
)


class Member(NamedTuple):
    """A file in an archive. name: its path in there."""

    archive: Path
    name: str

    def __str__(self) -> str:
        return f"{self.name} in {self.archive}"


def find(folder: Path, archive: Archive, names: Sequence[str]) -> Member | None:
    """Return the first file with one of these names, in any folder of the archive, or None.

    A zip file in `folder` that has the archive's name, but no such file, is passed over with a
    warning. Raises InputError if the zip file cannot be read.
    """
    for path in (folder / name for name in archive.names):
        if os.path.isfile(path):
            with _opened(path) as file:
                members = {PurePosixPath(member).name: member for member in file.namelist()}
            for name in names:
                if name in members:
                    return Member(path, members[name])
            warn_once(f"{path} is passed over: it does not hold {names[0]}")
    return None


@contextlib.contextmanager
def open_member(member: Member, max_bytes: int) -> Iterator[IO[bytes]]:
    """Open a file in an archive for reading; one can go back to its beginning.

    Raises InputError, also while it is read, if the archive is damaged or the file has more than
    `max_bytes` bytes.
    """
    with _opened(member.archive) as archive:
        info = archive.getinfo(member.name)
        if info.file_size > max_bytes:
            limit = f"where at most {max_bytes:,} are expected"
            raise _unusable(member, f"announces {info.file_size:,} bytes {limit}")
        if info.compress_type not in METHODS:
            raise _unusable(member, "is compressed by another method than deflate")
        with archive.open(info) as file:
            yield file


def check(path: Path, archive: Archive) -> None:
    """Raise InputError unless the file at `path` is the archive, byte for byte."""
    digest = hashlib.sha256()
    with open_file(path) as file:
        if os.fstat(file.fileno()).st_size == archive.size:
            while chunk := file.read(MAX_READ):
                digest.update(chunk)
    if digest.hexdigest() != archive.sha256:
        raise _unusable(path, f"is not the archive {archive.names[0]}")


class _SmallReads(io.BufferedReader):
    """A file that gives at most MAX_READ bytes at once: zipfile reads the list of the files in an
    archive as a whole, and makes objects of it that take ten times as much memory."""

    def read(self, size: Any = -1) -> bytes:
        if size is not None and size > MAX_READ:
            raise zipfile.BadZipFile("its list of files is too long")
        return super().read(MAX_READ if size is None or size < 0 else size)


@contextlib.contextmanager
def _opened(path):
    """Open a zip file. Raises InputError, also in the block, if it is damaged."""
    try:
        with (
            _SmallReads(open_file(path, follow=True, buffering=0)) as raw,
            zipfile.ZipFile(raw) as file,
        ):
            yield file
    except InputError:
        raise
    except DAMAGE as error:
        raise _unusable(path, f"cannot be read as a zip file ({error})") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def _unusable(path, problem):
    return InputError(f"{path} {problem}: download it again, or give another file")
