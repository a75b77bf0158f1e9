"""Download a file into a folder, from one of several mirrors, in one attempt or more.

The part of FILE that has been downloaded so far is in FILE.part, and the next attempt continues
from there. FILE itself exists only once it is complete and has been checked. One process at a time
downloads into a folder; others wait for it.
"""

import contextlib
import math
import os
import time
from functools import lru_cache
from pathlib import Path
from typing import Any, Callable, Iterator, Sequence

from tinygan.errors import InputError, say
from tinygan.files import (
    is_file,
    locked,
    make_folder,
    move,
    open_file,
    remove,
    remove_temporary,
    writing,
)
from tinygan.notebook import stream_for_bars

TIMEOUT = 30  # a mirror is abandoned after this many seconds without a byte,
MIN_SPEED = 1000  # or if it sends fewer bytes a second than this,
PATIENCE = 60  # on average over at least this many seconds
CHUNK = 1 << 16


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Make `folder`, and be the only process that downloads into it while the block runs.

    If another process is downloading, say so on stderr and wait for it. So the block must check
    which files are still missing.
    """
    make_folder(folder)
    announce = lambda holder: say(f"waiting for {holder}, to download into {folder}")
    with locked(folder / "download.lock", on_wait=announce):
        remove_temporary(folder)
        yield


def fetch(
    target: Path, mirrors: Sequence[str], max_bytes: int, check: Callable[[Path], Any]
) -> None:
    """Download the file `target` from the first mirror that sends the right bytes.

    mirrors: addresses, to which the file's name is appended. max_bytes: the largest size that the
    file may have. check: check(path) raises InputError unless the file at `path` has the right
    content. Raises InputError if the file cannot be written, or if every mirror fails; the message
    says what went wrong at each. The bytes received until then are kept, and the next call
    continues from there, with any mirror. No other process may download into the same folder: see
    `alone_in`.
    """
    from http.client import HTTPException  # slow to import and seldom needed, like urllib
    from urllib.error import HTTPError

    part, failures = target.with_name(f"{target.name}.part"), []
    for mirror in mirrors:
        try:
            complete = _complete(part, f"{mirror}{target.name}", max_bytes, check)
        except InputError:  # the file cannot be written: another mirror would not help
            raise
        except (OSError, HTTPException, ValueError) as error:
            failures.append(f"{mirror} failed: {reason(error)}")
            if isinstance(error, HTTPError):
                error.close()  # it is also an open response, and newer Pythons warn about those
            continue
        if complete:
            with writing(target):
                with open_file(part, "ab") as file:
                    os.fsync(file.fileno())
                move(part, target)
            return
        failures.append(f"{mirror} sent the wrong bytes")
    raise InputError("; ".join(failures))


def _complete(part, url, max_bytes, check):
    """Complete the file at `part` from `url`. Return whether it passes the check; if it does not,
    it is deleted."""
    if _size(part) and _passes(check, part):  # the last attempt stopped after the last byte
        return True
    while True:
        bytes_kept = _copy(url, part, max_bytes)
        if _passes(check, part):
            return True
        remove(part)
        if not bytes_kept:
            return False
        # The bytes kept may be wrong ones from another mirror: start again without them.


def _passes(check, path):
    try:
        check(path)
    except InputError:
        return False
    return True


def _size(path):
    return path.stat().st_size if is_file(path) else 0


def _copy(url, part, max_bytes):
    """Append the rest of `url` to the file at `part`, or write it from the beginning, up to
    `max_bytes` bytes in all.

    Returns the number of bytes of the file that were kept. Raises any exception of a connection,
    and InputError if the file cannot be written; the bytes received until then are in the file.
    """
    from tqdm import tqdm

    size = _size(part)
    response, start = _request(url, size if size < max_bytes else 0)
    with response:
        total = None if response.length is None else start + response.length
        with writing(part):
            # Unbuffered, so that all bytes received are in the file even if the process is killed.
            if not start:
                remove(part)
            file = open_file(part, "ab" if start else "xb", buffering=0)
        progress = {"total": total, "initial": start, "desc": part.stem, "disable": None}
        stream = stream_for_bars()
        with file, tqdm(file=stream, unit="B", unit_scale=True, **progress) as bar:
            for chunk in _chunks(response, max_bytes - start):
                _write(file, chunk)
                bar.update(len(chunk))
    return start


def _write(file, chunk):
    with writing(file.name):
        while chunk:
            chunk = chunk[file.write(chunk) :]  # an unbuffered file may write only a part of it


def _request(url, start):
    """Request the file at `url` from byte `start` on. Return (response, index of its first byte):
    the index is 0 if the server cannot send a part of the file."""
    from urllib.error import HTTPError

    if start:
        try:
            response = _open(url, {"Range": f"bytes={start}-"})
        except HTTPError as error:
            if error.code != 416:  # 416: the file has no byte at `start`
                raise
            error.close()
        else:
            if response.status != 206:
                return response, 0
            if response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                return response, start
            response.close()
    return _open(url, {}), 0


def _open(url, headers):
    from urllib.request import Request

    return _opener().open(Request(url, headers=headers), timeout=TIMEOUT)


@lru_cache  # making it takes time: it reads the system's certificates
def _opener():
    """Return an opener like urlopen's for http: and https: only. A redirect could lead to ftp:,
    file: or data: addresses."""
    from urllib import request

    opener = request.OpenerDirector()
    opener.addheaders = [("User-Agent", "tinygan")]  # NIST refuses Python's own name
    for handler in (
        request.ProxyHandler,
        request.HTTPHandler,
        request.HTTPSHandler,
        request.HTTPRedirectHandler,
        request.HTTPDefaultErrorHandler,
        request.HTTPErrorProcessor,
        request.UnknownHandler,
    ):
        opener.add_handler(handler())
    return opener


def _chunks(response, max_bytes):
    """Yield the bytes of a response as they arrive, at most `max_bytes` of them.

    Raises ConnectionError if the response ends before its announced length, and TimeoutError if it
    is too slow (see MIN_SPEED).
    """
    # Count the bytes that are still to come: read1 does not do so in every version of Python.
    remaining = math.inf if response.length is None else response.length
    start, received = time.monotonic(), 0
    while chunk := response.read1(min(CHUNK, remaining, max_bytes)):
        remaining, max_bytes = remaining - len(chunk), max_bytes - len(chunk)
        received += len(chunk)
        yield chunk
        seconds = time.monotonic() - start
        if remaining and seconds >= PATIENCE:
            speed = received / seconds
            if speed < MIN_SPEED:
                raise TimeoutError(f"it sent {speed:.0f} bytes a second for {seconds:.0f} seconds")
            start, received = time.monotonic(), 0
    if max_bytes and 0 < remaining < math.inf:
        raise ConnectionError(f"the connection was closed {remaining:,} bytes before the end")


def reason(error: BaseException) -> str:
    """Return the message of an exception on one line, or the name of its class."""
    return " ".join(str(error).split()) or type(error).__name__
