"""The server of the laboratory: a page, and answers to what the page asks for, on this machine
alone.

It listens on 127.0.0.1. The address contains a random token, which is not logged; requests without
it, from another page (Origin) or under another name (Host) are refused. It serves a fixed list of
pages, and no path of the disk. Whatever changes something is a POST of JSON.
"""

import json
import os
import secrets
import sys
import webbrowser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable, Mapping

from tinygan.errors import InputError
from tinygan.files import read_bytes

MOST_BYTES = 1 << 20  # of a request
KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Server(ThreadingHTTPServer):
    """Serves pages and answers at `address`.

    reply: a function of a request, a dict, that returns bytes; its InputErrors are shown on the
    page. pages: the names of files in tinygan/lab/page/; the first one is the front page.
    constants: what the page may ask for without changing anything, as JSON.
    """

    daemon_threads = True

    def __init__(
        self,
        reply: Callable[[Mapping[str, Any]], bytes],
        pages: list[str],
        constants: Any,
        port: int = 0,
    ) -> None:
        self.reply, self.token = reply, secrets.token_urlsafe(16)
        folder = Path(__file__).parent / "page"
        self.pages = {name: read_bytes(folder / name) for name in pages}
        self.pages[""] = self.pages[pages[0]]
        self.pages["constants"] = json.dumps(constants).encode()
        try:
            super().__init__(("127.0.0.1", port), Handler)
        except OSError as error:
            raise InputError(
                f"--port {port}: {error.strerror}: choose another, or leave it out"
            ) from None

    @property
    def port(self) -> int:
        return self.server_address[1]

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/{self.token}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print an unexpected error; a tab that was closed in the middle of an answer is none."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Answers a request. It stays for further ones of the same connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # otherwise, each answer waits 40 ms for the one before
    timeout = 600
    server: Server

    def do_GET(self) -> None:
        if (name := self.name()) is None:
            return
        if name not in self.server.pages:
            return self.send(404, b"there is no such page", "text/plain")
        kind = KINDS.get(name.rpartition(".")[2], "application/json")
        kind = "text/html" if name == "" else kind
        self.send(200, self.server.pages[name], kind)

    def do_POST(self) -> None:
        if (name := self.name()) is None:
            return
        try:
            request = self.json()
            if name != "ask":
                raise InputError("there is nothing to ask at this address")
        except InputError as error:
            return self.send(400, str(error).encode(), "text/plain")
        try:
            answer, kind = self.server.reply(request), "application/octet-stream"
        except InputError as error:  # an answer, too: the page shows it
            answer, kind = str(error).encode(), "text/plain"
        self.send(200, answer, kind)

    def name(self) -> str | None:
        """Return the name of what is asked for. If the request is not from our own page, refuse it
        and return None."""
        hosts = {f"{host}:{self.server.port}" for host in ("127.0.0.1", "localhost")}
        origin = self.headers.get("Origin")
        parts = self.path.split("?")[0].split("/", 2)
        right_token = len(parts) == 3 and secrets.compare_digest(
            parts[1].encode(), self.server.token.encode()
        )
        own = self.headers.get("Host") in hosts and origin in (
            None,
            *(f"http://{h}" for h in hosts),
        )
        if right_token and own:
            return parts[2]
        self.close_connection = True
        self.send(403, b"open the address that tinygan has printed", "text/plain")
        return None

    def json(self) -> Mapping[str, Any]:
        """Return the body of a POST. Raises InputError unless it is a small JSON object."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MOST_BYTES:
            self.close_connection = True
            raise InputError(f"a request has at most {MOST_BYTES:,} bytes, and says how many")
        body = self.rfile.read(int(length))
        if self.headers.get("Content-Type", "").split(";")[0] != "application/json":
            raise InputError("a request is JSON (Content-Type: application/json)")
        try:
            request = json.loads(body)
        except (ValueError, RecursionError):
            raise InputError("a request is JSON, which this is not") from None
        if not isinstance(request, dict):
            raise InputError("a request is an object")
        return request

    def send(self, code: int, body: bytes, kind: str) -> None:
        self.send_response(code)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Log nothing: the address contains the token."""

    def version_string(self) -> str:
        return "tinygan"


def serve(server: Server, open_browser: bool, say: Callable[[str], None]) -> None:
    """Serve until Ctrl-C. open_browser: whether to open the page, where there is a display. say:
    prints a line."""
    say(f"open {server.address} in a browser on this machine (Ctrl-C ends it)")
    has_display = sys.platform != "linux" or {"DISPLAY", "WAYLAND_DISPLAY"} & {*os.environ}
    if open_browser and has_display:
        webbrowser.open(server.address)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        say("closed")
    finally:
        server.server_close()
