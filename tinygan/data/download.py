"""Download a file into a folder: from one mirror or another, in one attempt or several.

What has come of FILE so far stands beside it as FILE.part, and the next attempt goes on from there.
FILE itself is there only when it is whole and has been checked. One process at a time downloads
into a folder; others wait for it.
"""

import contextlib
import math
import os
import time
from functools import lru_cache

from tinygan.errors import InputError, say
from tinygan.files import locked, remove_temporary, replacing, writing

TIMEOUT = 30  # seconds without a byte, after which a mirror is given up
SLOWEST = 1000  # bytes a second: a mirror that sends fewer...
PATIENCE = 60  # ...over so many seconds is given up too
CHUNK = 1 << 16


@contextlib.contextmanager
def alone_in(folder):
    """Be the only process that downloads into `folder`, made if need be, while the block runs.

    If another one is downloading, say so on stderr and wait for it; then look again whether
    anything is still missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(
        folder / "download.lock",
        lambda holder: say(f"waiting for {holder}, to download into {folder}"),
    ):
        remove_temporary(folder)
        yield


def fetch(target, mirrors, limit, check):
    """Download the file `target`, a Path, from the first of its mirrors that sends the right bytes.

    mirrors: addresses, to which the file's name is added. limit: the most bytes that it may have.
    check(path) raises InputError unless the file at `path` is the wanted one. Raises InputError if
    the file cannot be written, or if every mirror fails, with what went wrong at each: what has
    come until then is kept, and the next call goes on from there, with whichever mirror. Nobody
    else may be downloading to the same folder: see `alone_in`.
    """
    from http.client import HTTPException  # slow to import and seldom needed, as is urllib
    from urllib.error import HTTPError

    part, failures = target.with_name(f"{target.name}.part"), []
    for mirror in mirrors:
        try:
            right = _complete(part, f"{mirror}{target.name}", limit, check)
        except InputError:  # it cannot be written: no other mirror helps
            raise
        except (OSError, HTTPException, ValueError) as error:
            failures.append(f"{mirror} failed: {reason(error)}")
            if isinstance(error, HTTPError):
                error.close()  # it is an open response too: newer Pythons warn of a dropped one
            continue
        if right:
            with replacing(target) as temporary:
                os.replace(part, temporary)
            return
        failures.append(f"{mirror} sent other bytes")
    raise InputError("; ".join(failures))


def _complete(part, url, limit, check):
    """Make the file at `part` whole from `url`. Returns whether it passes the check; if not, it is
    deleted."""
    if _size(part) and _passes(check, part):  # an attempt was interrupted after the last byte
        return True
    begun = True
    while begun:  # what was there may be another mirror's: if so, once more, with this one's alone
        begun = _copy(url, part, limit)
        if _passes(check, part):
            return True
        part.unlink()
    return False


def _passes(check, path):
    try:
        check(path)
    except InputError:
        return False
    return True


def _size(path):
    return path.stat().st_size if path.is_file() else 0


def _copy(url, part, limit):
    """Add to the file at `part` what is missing of `url`, or write it anew, up to `limit` bytes.

    Returns how many bytes of what was there were kept. Raises whatever can go wrong with a
    connection, and InputError if the file cannot be written; what came until then is in it.
    """
    from tqdm import tqdm

    have = _size(part)
    response, start = _request(url, have if have < limit else 0)
    with response:
        total = None if response.length is None else start + response.length
        with writing(part):
            # Unbuffered, so that what came is there if we are killed.
            file = open(part, "ab" if start else "wb", buffering=0)
        with (
            file,
            tqdm(
                total=total, initial=start, desc=part.stem, unit="B", unit_scale=True, disable=None
            ) as bar,
        ):
            for chunk in _chunks(response, limit - start):
                _write(file, chunk)
                bar.update(len(chunk))
    return start


def _write(file, chunk):
    with writing(file.name):
        while chunk:
            chunk = chunk[file.write(chunk) :]  # an unbuffered file may take less than it is given


def _request(url, start):
    """(the response for the file at `url` from byte `start` on, or, if the server cannot do that,
    from the first on; the number of its first byte)."""
    from urllib.error import HTTPError

    if start:
        try:
            response = _open(url, {"Range": f"bytes={start}-"})
        except HTTPError as error:
            if error.code != 416:  # the file has no more bytes than that
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


@lru_cache  # it reads the system's certificates
def _opener():
    """What opens addresses, as urlopen's does, but no ftp:, file: or data: ones, to which a
    redirect might lead."""
    from urllib import request

    opener = request.OpenerDirector()
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


def _chunks(response, most):
    """Yield what `response` sends, as it comes, at most `most` bytes. Raises ConnectionError if it
    ends before all that it announced has come, TimeoutError if it trickles (see SLOWEST)."""
    # Not every Python's read1 counts the bytes that are left.
    left = math.inf if response.length is None else response.length
    since, came = time.monotonic(), 0
    while chunk := response.read1(min(CHUNK, left, most)):
        left, most, came = left - len(chunk), most - len(chunk), came + len(chunk)
        yield chunk
        seconds = time.monotonic() - since
        if left and seconds >= PATIENCE:
            if came < SLOWEST * seconds:
                raise TimeoutError(
                    f"it sent {came / seconds:.0f} bytes a second for {seconds:.0f} seconds"
                )
            since, came = time.monotonic(), 0
    if most and 0 < left < math.inf:
        raise ConnectionError(f"the connection was closed {left:,} bytes before the end")


def reason(error):
    """What an exception says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__
