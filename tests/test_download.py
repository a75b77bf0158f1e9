"""Downloads from localhost: mirrors that fail in every way, interrupted attempts, and several
processes at once."""

import collections
import contextlib
import dataclasses
import errno
import http.server
import math
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import types

import pytest
from mistakes import error_of
from test_data import FAKE, TEST_LABELS, TRAIN_IMAGES, assert_loads, fill, pack, sandbox

from tinygan.data import download, load, loading, locate, sources
from tinygan.errors import InputError

pytestmark = pytest.mark.cpu

__all__ = ["sandbox"]  # this fixture is automatic, so every test here uses it

IMAGES_PATH = f"/mnist/{TRAIN_IMAGES}.gz"
PAGE = pack(FAKE["mnist"][TRAIN_IMAGES])
HALF = len(PAGE) // 2
LIMIT = 6 * 28 * 28 + 4096
PACKED = sorted(f"tinygan/mnist/{file}.gz" for file in sources.ALL_FILES)


def content_range(start, size):
    """Return the header of a reply with the bytes from `start` on."""
    return {"Content-Range": f"bytes {start}-{size - 1}/{size}"}


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves the server's pages: {path: bytes, or a function of this handler}.

    Records the path of each request, and for each path the ranges requested and the number of
    bytes sent.
    """

    def do_GET(self):
        byte_range, page = self.headers["Range"], self.server.pages.get(self.path)
        self.server.requests.append(self.path)
        self.server.ranges[self.path].append(byte_range)
        if callable(page):
            page(self)
        elif page is None:
            self.reply(404)
        elif byte_range is None:
            self.reply(200, page)
        elif (start := int(re.fullmatch(r"bytes=(\d+)-", byte_range)[1])) >= len(page):
            self.reply(416)
        else:
            self.reply(206, page[start:], content_range(start, len(page)))

    def reply(self, status, body=b"", headers={}):
        self.send_response(status)
        for key, value in {"Content-Length": len(body), **headers}.items():
            if value is not None:
                self.send_header(key, str(value))
        self.end_headers()
        self.server.sent[self.path] += len(body)  # first, so that the client cannot be faster
        self.wfile.write(body)

    def hold(self):
        """Keep the connection open until the client closes it or dies."""
        with contextlib.suppress(OSError):
            self.connection.recv(1)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.requests, server.ranges = [], collections.defaultdict(list)
        server.sent = collections.Counter()
        server.pages = {
            f"/{name}/{file}.gz": pack(content)
            for name in FAKE
            for file, content in FAKE[name].items()
        }
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def use_mirrors(monkeypatch):
    """A function that sets the mirrors of a data set."""

    def use_mirrors(*urls, name="mnist"):
        source = dataclasses.replace(sources.SOURCES[name], mirrors=urls)
        monkeypatch.setitem(sources.SOURCES, name, source)

    return use_mirrors


@pytest.fixture
def part(sandbox):
    """The path of the part of the first file that has been downloaded so far."""
    path = sandbox / f"cache/tinygan/mnist/{TRAIN_IMAGES}.gz.part"
    path.parent.mkdir(parents=True)
    return path


def files_under(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def closed_port():
    """Return the address of a server that no longer exists."""
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        return f"http://127.0.0.1:{server.server_port}/"


def wait_until(condition):
    """Wait until condition() is true, at most 20 seconds: the machine may be busy."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# ---- what is downloaded, and where it ends up ----


@pytest.mark.parametrize("name", FAKE)
def test_every_file_is_downloaded_once(sandbox, server, use_mirrors, name):
    use_mirrors(f"{server.url}/{name}/", name=name)
    assert_loads(name)
    assert files_under(sandbox / "cache") == [path.replace("mnist", name, 1) for path in PACKED]
    assert locate(name) == sandbox / "cache/tinygan" / name
    assert sorted(server.requests) == sorted(f"/{name}/{file}.gz" for file in sources.ALL_FILES)
    assert_loads(name)
    assert len(server.requests) == 4


def test_only_missing_files_are_downloaded(sandbox, server, use_mirrors):
    use_mirrors(f"{server.url}/mnist/")
    (fill(sandbox / "cache/tinygan/mnist", "mnist") / TRAIN_IMAGES).unlink()
    assert_loads("mnist")
    assert server.requests == [IMAGES_PATH]


def test_digits_need_no_download(server, use_mirrors):
    use_mirrors(f"{server.url}/mnist/")
    load("digits")
    assert server.requests == []


def test_the_progress_bar_begins_with_the_bytes_already_there(
    part, server, use_mirrors, monkeypatch
):
    bars = []

    class Bar:
        def __init__(self, **settings):
            bars.append(settings)

        def __enter__(self):
            return self

        def __exit__(self, *exception):
            pass

        def update(self, n):
            bars[-1]["initial"] += n

    monkeypatch.setattr("tqdm.tqdm", Bar)
    use_mirrors(f"{server.url}/mnist/")
    part.write_bytes(PAGE[:HALF])
    del server.pages[f"/mnist/{TEST_LABELS}.gz"]
    error_of(load, "mnist")
    assert server.sent[IMAGES_PATH] == len(PAGE) - HALF
    assert bars[0]["total"] == bars[0]["initial"] == len(PAGE)
    assert bars[0]["desc"] == f"{TRAIN_IMAGES}.gz"
    assert (bars[0]["unit"], bars[0]["disable"]) == ("B", None)
    assert len(bars) == 3


# ---- mirrors that fail ----

BAD_PAGES = {
    "html": b"<html>please log in</html>",
    "empty": b"",
    "truncated": PAGE[:-5],
    "other data set": pack(FAKE["fashion-mnist"][TRAIN_IMAGES]),
    "one pixel off": pack(FAKE["mnist"][TRAIN_IMAGES][:-1] + b"\x99"),
}


@pytest.mark.parametrize("bad", BAD_PAGES)
def test_wrong_bytes_lead_to_the_next_mirror(sandbox, server, use_mirrors, bad):
    server.pages.update({f"/bad/{file}.gz": BAD_PAGES[bad] for file in sources.ALL_FILES})
    use_mirrors(f"{server.url}/bad/", f"{server.url}/mnist/")
    assert_loads("mnist")
    assert len(server.requests) == 8  # the first mirror's bytes are all its own: no second try
    assert files_under(sandbox / "cache") == PACKED


def endless(handler):
    handler.reply(200, headers={"Content-Length": None})
    with contextlib.suppress(OSError):  # the client closes the connection, as it should
        while True:
            handler.wfile.write(bytes(1 << 16))


def half(handler):
    handler.reply(200, PAGE[:HALF], {"Content-Length": len(PAGE)})


def half_in_chunks(handler):
    handler.reply(
        200,
        b"%x\r\n%s" % (len(PAGE), PAGE[:HALF]),
        {"Content-Length": None, "Transfer-Encoding": "chunked"},
    )


def half_then_silence(handler):
    half(handler)
    handler.hold()


def half_then_a_trickle(handler):
    half(handler)
    with contextlib.suppress(OSError):
        for i in range(HALF, len(PAGE) - 1):
            handler.wfile.write(PAGE[i : i + 1])
            time.sleep(0.005)


def redirect(to):
    """Return a page that redirects to `to`, or if that is None, to itself."""
    return lambda handler: handler.reply(302, headers={"Location": to or handler.path})


# Each fault: the page of the mirror, a part of the error message, the size of the part file that
# is left (None: see the test).
FAULTS = {
    "missing": (None, "HTTP Error 404", 0),
    "out of order": (lambda handler: handler.reply(503), "HTTP Error 503", 0),
    "no HTTP": (
        lambda handler: handler.wfile.write(b"220 mail ready\r\n"),
        "failed: 220 mail ready",
        0,
    ),
    "closes the connection": (lambda handler: None, "closed connection", 0),
    "endless": (endless, "sent the wrong bytes", 0),
    "too large": (lambda handler: handler.reply(200, bytes(LIMIT + 9)), "sent the wrong bytes", 0),
    "cut short": (half, f"closed {len(PAGE) - HALF:,} bytes before the end", HALF),
    "chunks, cut short": (half_in_chunks, "failed: IncompleteRead", HALF),
    "silent": (lambda handler: handler.hold(), "timed out", 0),
    "silent half-way": (half_then_silence, "timed out", HALF),
    "trickles": (half_then_a_trickle, "bytes a second for", None),
    "announces less": (
        lambda handler: handler.reply(200, PAGE, {"Content-Length": HALF}),
        "sent the wrong bytes",
        0,
    ),
    "announces more": (
        lambda handler: handler.reply(200, PAGE[:-1], {"Content-Length": 9999}),
        "before the end",
        len(PAGE) - 1,
    ),
    "redirects to itself": (redirect(None), "infinite loop", 0),
    "redirects to a file": (
        redirect("file:///etc/hostname"),
        "file:///etc/hostname' is not allowed",
        0,
    ),
    "redirects to FTP": (redirect("ftp://127.0.0.1:9/x.gz"), "unknown url type: ftp", 0),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failing_mirror_leads_to_the_next(sandbox, part, server, use_mirrors, monkeypatch, fault):
    page, expected, left = FAULTS[fault]
    server.pages[f"/bad/{TRAIN_IMAGES}.gz"] = page
    use_mirrors(f"{server.url}/bad/", f"{server.url}/nothing/")
    with monkeypatch.context() as impatient:
        if "silent" in fault:
            impatient.setattr(download, "TIMEOUT", 0.2)
        if fault == "trickles":
            impatient.setattr(download, "PATIENCE", 0.05)
        message = error_of(load, "mnist")
    assert expected in message and "/nothing/ failed: " in message
    if fault == "trickles":
        left = part.stat().st_size
        speed = int(re.search(r"sent (\d+) bytes a second", message)[1])
        assert left > HALF and speed < download.MIN_SPEED
    part_name = str(part.relative_to(sandbox / "cache"))
    assert files_under(sandbox / "cache") == ([part_name] if left else [])
    assert not left or part.read_bytes() == PAGE[:left]

    server.requests.clear()
    server.pages[f"/bad/{TRAIN_IMAGES}.gz"] = None
    use_mirrors(f"{server.url}/bad/", f"{server.url}/mnist/")
    assert_loads("mnist")
    assert len(server.requests) == 8 and server.sent[IMAGES_PATH] == len(PAGE) - left
    assert files_under(sandbox / "cache") == PACKED


# (seconds, number of bytes that arrive after them): 900 bytes a second, and 120,000.
SLOW, FAST = (10, 9_000), (0.5, 60_000)


@pytest.mark.parametrize(
    "pieces, given_up_after",
    [
        ([SLOW] * 9, 60),
        ([(1, 900)] * 99, 60),
        ([(50, 40_000)] * 3, 100),
        ([FAST] + [SLOW] * 99, 120.5),
        ([SLOW] * 6, None),
        ([SLOW, FAST] * 9, None),
        ([(10, 10_000)] * 99, None),
        ([(500, 34)], None),
    ],
)
def test_speed_is_measured_over_a_minute(monkeypatch, pieces, given_up_after):
    """Uses a fake clock. A response that has reached its end is accepted, however slow it was."""
    now, remaining_pieces = 0, iter(pieces)

    class Response:
        length = sum(size for _, size in pieces)

        def read1(self, max_bytes):
            nonlocal now
            seconds, size = next(remaining_pieces, (0, 0))
            now += seconds
            return bytes(size)

    monkeypatch.setattr(download, "time", types.SimpleNamespace(monotonic=lambda: now))
    chunks = download._chunks(Response(), math.inf)
    if given_up_after:
        with pytest.raises(TimeoutError, match=r"it sent \d+ bytes a second"):
            collections.deque(chunks)
        assert now == given_up_after
    else:
        assert sum(map(len, chunks)) == Response.length


@pytest.mark.parametrize("first", ["closed", "nonsense"])
def test_an_unreachable_mirror_leads_to_the_next(sandbox, server, use_mirrors, first):
    url = closed_port() if first == "closed" else "not an address/"
    use_mirrors(url, f"{server.url}/mnist/")
    assert_loads("mnist")
    assert files_under(sandbox / "cache") == PACKED


def test_a_silent_mirror_times_out(use_mirrors, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, but sends nothing
        use_mirrors(f"http://127.0.0.1:{silent.getsockname()[1]}/")
        start = time.monotonic()
        assert "timed out" in error_of(load, "mnist")
        assert time.monotonic() - start < 10


def in_chunks(handler):
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(PAGE), PAGE)
    handler.reply(200, body, {"Content-Length": None, "Transfer-Encoding": "chunked"})


def then_hold(handler):
    handler.reply(200, PAGE)
    handler.hold()


@pytest.mark.parametrize(
    "page",
    [
        in_chunks,
        then_hold,
        redirect("/other/x"),
        lambda handler: handler.reply(200, PAGE, {"Content-Length": None}),
        lambda handler: handler.reply(200, PAGE, {"Content-Length": "a few"}),
        lambda handler: handler.reply(200, PAGE, {"Content-Length": -1}),
    ],
)
def test_an_unusual_mirror_is_good_enough(server, use_mirrors, monkeypatch, page):
    monkeypatch.setattr(download, "TIMEOUT", 1)
    server.pages.update({IMAGES_PATH: page, "/other/x": PAGE})
    use_mirrors(f"{server.url}/mnist/")
    assert_loads("mnist")
    assert server.ranges[IMAGES_PATH] == [None]


def test_all_mirrors_down(sandbox, server, use_mirrors):
    server.pages[f"/bad/{TRAIN_IMAGES}.gz"] = b"junk"
    urls = [closed_port(), f"{server.url}/bad/", f"{server.url}/missing/"]
    use_mirrors(*urls)
    (sandbox / "data_dir").mkdir()
    message = error_of(load, "mnist", "train", sandbox / "data_dir")
    assert all(part in message for part in ("--data digits", "404", "/bad/ sent the wrong bytes"))
    cache = sandbox / "cache/tinygan/mnist"
    for part in (*urls, *sources.ALL_FILES, sandbox / "data_dir/MNIST/raw", cache):
        assert str(part) in message
    assert f"in {cache}," in message
    assert files_under(sandbox / "cache") == []


# ---- attempts that continue where the last one stopped ----


def test_files_downloaded_before_a_failure_are_kept(sandbox, server, use_mirrors):
    """They are complete and checked, so the next attempt does not download them again."""
    use_mirrors(f"{server.url}/mnist/")
    page = server.pages.pop(f"/mnist/{TEST_LABELS}.gz")
    error_of(load, "mnist")
    assert files_under(sandbox / "cache") == [path for path in PACKED if TEST_LABELS not in path]
    server.pages[f"/mnist/{TEST_LABELS}.gz"] = page
    assert_loads("mnist")
    assert len(server.requests) == 5


def ignores_ranges(handler):
    handler.reply(200, PAGE)


def sends_a_wrong_range(handler):
    if handler.headers["Range"]:
        handler.reply(206, PAGE[1:], content_range(1, len(PAGE)))
    else:
        handler.reply(200, PAGE)


def multipart(handler):
    if handler.headers["Range"]:
        handler.reply(206, b"--x", {"Content-Type": "multipart/byteranges; boundary=x"})
    else:
        handler.reply(200, PAGE)


FROM_HALF, WRONG = f"bytes={HALF}-", bytes(HALF)
# Each case: the part file that an earlier attempt left, the page of the mirror, the ranges that are
# requested from it, the number of bytes that it sends (None: not checked).
PARTS = {
    "half": (PAGE[:HALF], PAGE, [FROM_HALF], len(PAGE) - HALF),
    "nothing": (b"", PAGE, [None], len(PAGE)),
    "all but a byte": (PAGE[:-1], PAGE, [f"bytes={len(PAGE) - 1}-"], 1),
    "all": (PAGE, PAGE, [], 0),
    "too much": (PAGE + b"x", PAGE, [f"bytes={len(PAGE) + 1}-", None], len(PAGE)),
    "the limit": (bytes(LIMIT), PAGE, [None], len(PAGE)),
    "beyond the limit": (bytes(LIMIT + 1), PAGE, [None], len(PAGE)),
    "half, and no ranges": (PAGE[:HALF], ignores_ranges, [FROM_HALF], len(PAGE)),
    "half, and a wrong range": (
        PAGE[:HALF],
        sends_a_wrong_range,
        [FROM_HALF, None],
        2 * len(PAGE) - 1,
    ),
    "half, and several ranges": (PAGE[:HALF], multipart, [FROM_HALF, None], 3 + len(PAGE)),
    "half, and a redirect": (PAGE[:HALF], redirect(f"/bad/{TRAIN_IMAGES}.gz"), [FROM_HALF], 0),
    "wrong": (WRONG, PAGE, [FROM_HALF, None], 2 * len(PAGE) - HALF),
    "wrong, and a wrong mirror": (WRONG, BAD_PAGES["one pixel off"], [FROM_HALF, None], None),
    "wrong, and an endless mirror": (WRONG, endless, [FROM_HALF], 0),
}


@pytest.mark.parametrize("case", PARTS)
def test_an_attempt_continues_where_the_last_one_stopped(sandbox, part, server, use_mirrors, case):
    content, page, ranges, sent = PARTS[case]
    part.write_bytes(content)
    server.pages.update({IMAGES_PATH: page, f"/bad/{TRAIN_IMAGES}.gz": PAGE})
    use_mirrors(f"{server.url}/mnist/", f"{server.url}/bad/")
    assert_loads("mnist")
    assert server.ranges[IMAGES_PATH] == ranges and sent in (None, server.sent[IMAGES_PATH])
    assert files_under(sandbox / "cache") == PACKED
    # If all the wrong bytes are the mirror's own, it is given up, and the next one starts again.
    ranges_from_next = {
        "half, and a redirect": [FROM_HALF],
        "wrong, and a wrong mirror": [None],
        "wrong, and an endless mirror": [None],
    }
    assert server.ranges[f"/bad/{TRAIN_IMAGES}.gz"] == ranges_from_next.get(case, [])


def test_a_reply_with_a_wrong_range_does_not_change_the_part(part, server, use_mirrors):
    def wrong_range_or_nothing(handler):
        sends_a_wrong_range(handler) if handler.headers["Range"] else handler.reply(503)

    part.write_bytes(PAGE[:HALF])
    server.pages[IMAGES_PATH] = wrong_range_or_nothing
    use_mirrors(f"{server.url}/mnist/")
    assert "503" in error_of(load, "mnist")
    assert server.ranges[IMAGES_PATH] == [FROM_HALF, None] and part.read_bytes() == PAGE[:HALF]


def test_repeatedly_cut_connections_add_up(sandbox, server, use_mirrors):
    def a_thousand_bytes(handler):
        start = int((handler.headers["Range"] or "bytes=0-")[6:-1])
        headers = {**content_range(start, len(PAGE)), "Content-Length": len(PAGE) - start}
        handler.reply(206 if start else 200, PAGE[start : start + 1000], headers)

    server.pages[IMAGES_PATH] = a_thousand_bytes
    use_mirrors(*[f"{server.url}/mnist/"] * 9)
    assert_loads("mnist")
    starts = [f"bytes={start}-" for start in range(1000, len(PAGE), 1000)]
    assert server.ranges[IMAGES_PATH] == [None, *starts] and server.sent[IMAGES_PATH] == len(PAGE)


def test_a_part_never_exceeds_the_limit(part, server, use_mirrors, monkeypatch):
    sizes, read = [], loading._read

    def record_size(path, *args, **settings):
        sizes.append(part.stat().st_size)
        return read(path, *args, **settings)

    monkeypatch.setattr(loading, "_read", record_size)
    server.pages[IMAGES_PATH] = endless
    use_mirrors(f"{server.url}/mnist/")
    for content in b"", WRONG:
        part.write_bytes(content)
        error_of(load, "mnist")
    assert sizes == [LIMIT, HALF, LIMIT] and not part.exists()


def test_an_interrupted_check_is_repeated(sandbox, part, server, use_mirrors, monkeypatch):
    def interrupt(path, *args, **settings):
        raise KeyboardInterrupt

    use_mirrors(f"{server.url}/mnist/")
    with monkeypatch.context() as checking, pytest.raises(KeyboardInterrupt):
        checking.setattr(loading, "_read", interrupt)
        load("mnist")
    assert part.read_bytes() == PAGE and files_under(part.parent) == [part.name]
    assert_loads("mnist")
    assert len(server.requests) == 4 and files_under(sandbox / "cache") == PACKED


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs POSIX signals")
def test_an_interrupted_download_leaves_a_part(sandbox, part, server, use_mirrors):
    def half_then_interrupt(handler):
        half(handler)
        wait_until(lambda: part.is_file() and part.stat().st_size == HALF)
        handler.connection.settimeout(2)
        # The client may miss a signal that comes just before it waits for bytes: send several.
        for _ in range(5):
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            try:
                return handler.connection.recv(1)
            except TimeoutError:
                pass

    use_mirrors(f"{server.url}/mnist/")
    server.pages[IMAGES_PATH] = half_then_interrupt
    with pytest.raises(KeyboardInterrupt):
        load("mnist")
    assert part.read_bytes() == PAGE[:HALF] and files_under(part.parent) == [part.name]
    server.pages[IMAGES_PATH] = PAGE
    assert_loads("mnist")
    assert server.ranges[IMAGES_PATH] == [None, FROM_HALF] and server.sent[IMAGES_PATH] == len(PAGE)
    assert files_under(sandbox / "cache") == PACKED


# ---- several processes ----

CHILD = """
import pickle, sys
from tinygan.data import load, sources
# These are slow to import, so they are imported only for a download.
assert not {"urllib.request", "http.client", "tqdm"} & set(sys.modules)
sources.SOURCES["mnist"] = pickle.loads(bytes.fromhex(sys.argv[1]))
load("mnist")
"""


@contextlib.contextmanager
def process():
    """Another process, which loads "mnist" from the same mirrors. It is killed at the end of the
    block."""
    command = [sys.executable, "-c", CHILD, pickle.dumps(sources.SOURCES["mnist"]).hex()]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


def test_a_second_process_waits_and_downloads_nothing_again(sandbox, server, use_mirrors):
    requested, proceed = threading.Event(), threading.Event()

    def delayed(handler):
        requested.set()
        proceed.wait(20)
        handler.reply(200, PAGE)

    server.pages[IMAGES_PATH] = delayed
    use_mirrors(f"{server.url}/mnist/")
    with process() as first:
        assert requested.wait(20)
        with process() as second:
            expected = f"waiting for process {first.pid} on .*, to download into .*mnist"
            assert re.fullmatch(f"tinygan: {expected}\n", second.stderr.readline())
            proceed.set()
            assert (second.stderr.read(), second.wait(20)) == ("", 0)
        assert (first.stderr.read(), first.wait(20)) == ("", 0)
    assert sorted(server.requests) == sorted(f"/mnist/{file}.gz" for file in sources.ALL_FILES)
    assert files_under(sandbox / "cache") == PACKED
    assert_loads("mnist")


def test_a_waiting_process_continues_where_a_killed_one_stopped(sandbox, part, server, use_mirrors):
    server.pages[IMAGES_PATH] = half_then_silence
    use_mirrors(f"{server.url}/mnist/")
    with process() as first:
        wait_until(lambda: part.is_file() and part.stat().st_size == HALF)
        with process() as second:
            assert f"waiting for process {first.pid} on" in second.stderr.readline()
            server.pages[IMAGES_PATH] = PAGE
            first.kill()  # SIGKILL: it cannot clean up
            assert (second.stderr.read(), second.wait(20)) == ("", 0)
        assert first.wait(20) != 0
    assert server.ranges[IMAGES_PATH] == [None, FROM_HALF] and server.sent[IMAGES_PATH] == len(PAGE)
    assert files_under(sandbox / "cache") == PACKED
    assert_loads("mnist")


def test_files_of_a_process_killed_while_renaming_are_removed(sandbox, part, server, use_mirrors):
    (part.parent / ".tinygan-99999999-0123456789abcdef.tmp").write_bytes(PAGE)
    use_mirrors(f"{server.url}/mnist/")
    assert_loads("mnist")
    assert files_under(sandbox / "cache") == PACKED


# ---- disks and folders that cannot be written ----


@contextlib.contextmanager
def max_file_size(size):
    """Let the system refuse to write files larger than `size` bytes."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_becomes_full(sandbox, part, server, use_mirrors):
    use_mirrors(f"{server.url}/mnist/", f"{server.url}/bad/")
    with max_file_size(1000):
        message = error_of(load, "mnist")
    assert f"cannot write {part}: File too large (the system allows no larger file)" in message
    assert part.read_bytes() == PAGE[:1000] and files_under(part.parent) == [part.name]
    assert server.requests == [IMAGES_PATH]  # another mirror would not help
    assert_loads("mnist")
    assert server.ranges[IMAGES_PATH] == [None, "bytes=1000-"]
    assert files_under(sandbox / "cache") == PACKED


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk(part, server, use_mirrors, monkeypatch):
    use_mirrors(f"{server.url}/mnist/", f"{server.url}/bad/")
    full = lambda path, flags: os.open("/dev/full", os.O_WRONLY)
    open_full = lambda path, mode, buffering: open(path, mode, buffering, opener=full)
    monkeypatch.setattr(download, "open_file", open_full)
    assert f"cannot write {part}: No space left on device (make room)" in error_of(load, "mnist")
    assert list(part.parent.iterdir()) == []
    assert server.requests == [IMAGES_PATH]


def failing(code):
    """Return a function that raises the OSError of this code."""

    def fail(*args, **settings):
        raise OSError(code, os.strerror(code))

    return fail


def test_a_file_that_cannot_be_flushed_is_no_complete_file(
    sandbox, part, server, use_mirrors, monkeypatch
):
    use_mirrors(f"{server.url}/mnist/", f"{server.url}/bad/")
    monkeypatch.setattr(os, "fsync", failing(errno.ENOSPC))
    assert f"{TRAIN_IMAGES}.gz: No space left on device (make room)" in error_of(load, "mnist")
    assert files_under(part.parent) == [part.name]


def test_a_folder_that_is_read_only(sandbox, part, server, use_mirrors, monkeypatch):
    """The error is simulated: whoever runs the tests may be allowed to write everywhere."""
    use_mirrors(f"{server.url}/mnist/")
    monkeypatch.setattr("tinygan.files.open_file", failing(errno.EROFS))
    message = error_of(load, "mnist")
    assert f"{part.parent}/download.lock: Read-only file system" in message
    assert "--data digits" in message
    assert server.requests == [] and list(part.parent.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no FIFOs")
@pytest.mark.parametrize("name", [f"{TRAIN_IMAGES}.gz.part", "download.lock"])
@pytest.mark.parametrize("kind", ["a link", "a pipe (FIFO)", "a folder"])
def test_a_download_writes_into_regular_files_only(sandbox, part, server, use_mirrors, kind, name):
    use_mirrors(f"{server.url}/mnist/")
    precious, path = sandbox / "precious", part.with_name(name)
    precious.write_bytes(b"precious")
    {"a link": lambda: path.symlink_to(precious), "a folder": path.mkdir}.get(
        kind, lambda: os.mkfifo(path)
    )()
    assert f"{name} is {kind}, but must be a file" in error_of(load, "mnist")
    assert precious.read_bytes() == b"precious" and server.requests == []


@pytest.mark.parametrize("name", [f"{TRAIN_IMAGES}.gz.part", "download.lock"])
def test_a_download_does_not_write_into_a_file_with_another_name(
    sandbox, part, server, use_mirrors, name
):
    use_mirrors(f"{server.url}/mnist/")
    (sandbox / "precious").write_bytes(b"precious")
    os.link(sandbox / "precious", part.with_name(name))
    with contextlib.suppress(InputError):
        load("mnist")
    assert (sandbox / "precious").read_bytes() == b"precious"
    part.unlink(missing_ok=True)
    assert_loads("mnist")


def test_a_cache_folder_that_is_a_link_to_nothing(sandbox, server, use_mirrors):
    use_mirrors(f"{server.url}/mnist/")
    (sandbox / "cache").mkdir()
    (sandbox / "cache" / "tinygan").symlink_to("nowhere")
    assert "tinygan is a link to nowhere, which does not exist" in error_of(load, "mnist")
    assert server.requests == []


def test_a_cache_folder_that_cannot_be_made(sandbox, server, use_mirrors):
    use_mirrors(f"{server.url}/mnist/")
    (sandbox / "cache").write_text("a file where a folder should be")
    message = error_of(load, "mnist")
    assert "cache" in message and "--data digits" in message
    assert server.requests == []
