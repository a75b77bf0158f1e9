"""A browser for tests: a WebDriver client for Debian's chromium, of a few dozen lines.

https://www.w3.org/TR/webdriver2/ has the protocol. As a script, it says by its exit code whether a
browser is there.
"""

import base64
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key of an element, by the standard
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-quic"]
FLAGS += ["--disable-dev-shm-usage"]  # containers have little of it
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]


def find() -> tuple[str, str] | None:
    """Return the paths of (chromium, chromedriver), or None if one of them is missing."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


class Browser:
    """A headless browser. Use it in a `with` statement."""

    def __init__(self, width=1280, height=900, language="en"):
        browser, driver = find()
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.process = subprocess.Popen(
            [driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        for line in self.process.stdout:  # "... was started successfully on port 36181."
            if "successfully on port" in line:
                self.port = int(line.split()[-1].rstrip("."))
                break
        flags = [f"--window-size={width},{height}", f"--lang={language}"]
        flags += [f"--user-data-dir={self.folder.name}", *FLAGS]
        options = {
            "browserName": "chrome",
            "goog:chromeOptions": {
                "binary": browser,
                "args": flags,
                "prefs": {"intl.accept_languages": language},
            },
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        self.session = ""
        answer = self.call("POST", "", {"capabilities": {"alwaysMatch": options}})
        self.session = f"/{answer['sessionId']}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.call("DELETE", "")
        finally:
            self.process.terminate()
            self.process.wait()
            self.process.stdout.close()
            self.folder.cleanup()

    def call(self, method, path, body=None):
        """Return the value of an answer of the driver's."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/session{self.session}{path}",
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.loads(answer.read())["value"]
        except urllib.error.HTTPError as error:
            message = json.loads(error.read())["value"]["message"]
            raise RuntimeError(message.splitlines()[0]) from None

    def open(self, address):
        self.call("POST", "/url", {"url": address})

    def run(self, script, *args):
        """Return what a script returns in the page; args are its `arguments`."""
        return self.call("POST", "/execute/sync", {"script": script, "args": list(args)})

    def wait(self, script, seconds=20):
        """Wait until a script returns something true, and return it."""
        end = time.monotonic() + seconds
        while not (value := self.run(f"return {script}")):
            assert time.monotonic() < end, f"{script}: not within {seconds} seconds"
            time.sleep(0.05)
        return value

    def element(self, selector):
        found = self.call("POST", "/element", {"using": "css selector", "value": selector})
        return found[ELEMENT]

    def click(self, selector):
        self.call("POST", f"/element/{self.element(selector)}/click", {})

    def text(self, selector):
        return self.call("GET", f"/element/{self.element(selector)}/text")

    def choose(self, selector, value):
        """Give an input or a select a value, as a user does."""
        self.run(
            "const e = document.querySelector(arguments[0]); e.value = arguments[1];"
            "e.dispatchEvent(new Event('change', {bubbles: true}))",
            selector,
            value,
        )

    def drag(self, selector, points):
        """Press the pointer at the first of some points of an element, and move through the others.
        points: shares of its width and height."""
        box = self.run(
            "const b = document.querySelector(arguments[0]).getBoundingClientRect();"
            "return [b.left, b.top, b.width, b.height]",
            selector,
        )
        at = [(round(box[0] + x * box[2]), round(box[1] + y * box[3])) for x, y in points]
        move = lambda x, y: {"type": "pointerMove", "duration": 20, "x": x, "y": y}
        actions = [move(*at[0]), {"type": "pointerDown", "button": 0}]
        actions += [move(*point) for point in at[1:]] + [{"type": "pointerUp", "button": 0}]
        mouse = {"type": "pointer", "id": "mouse", "actions": actions}
        self.call("POST", "/actions", {"actions": [mouse]})

    def press(self, *keys):
        actions = [{"type": kind, "value": k} for k in keys for kind in ("keyDown", "keyUp")]
        keyboard = {"type": "key", "id": "keyboard", "actions": actions}
        self.call("POST", "/actions", {"actions": [keyboard]})

    def screenshot(self):
        """Return what the window shows, as the bytes of a PNG."""
        return base64.b64decode(self.call("GET", "/screenshot"))

    def errors(self):
        """Return what the page has complained about in the console since the last call."""
        rows = self.call("POST", "/se/log", {"type": "browser"})
        return [row["message"] for row in rows if row["level"] in ("SEVERE", "WARNING")]


if __name__ == "__main__":
    sys.exit(find() is None)
