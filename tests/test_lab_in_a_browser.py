"""The laboratory as somebody uses it, in a headless browser. Without one, these tests are skipped,
unless TINYGAN_BROWSER=required, as in the gate."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.parse

import browser
import numpy as np
import pytest

from tinygan.lab import PRESETS
from tinygan.lab.requests import controls

pytestmark = [
    pytest.mark.cpu,
    pytest.mark.skipif(
        not browser.find() and os.environ.get("TINYGAN_BROWSER") != "required",
        reason="there is no chromium with chromedriver",
    ),
]
STEP = "parseInt(document.getElementById('step').textContent)"
ERROR = "document.getElementById('error').textContent"


class Laboratory:
    """`tinygan lab` in a process of its own. Use it in a `with` statement."""

    def __init__(self, *words):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tinygan", *(words or ("lab",)), "--no-browser"],
            stderr=subprocess.PIPE,
            text=True,
        )
        line = self.process.stderr.readline()
        self.address = re.search(r"http://\S+", line)[0]

    def __enter__(self):
        return self

    def __exit__(self, error, *_):
        if error:
            self.process.kill()
        self.process.send_signal(signal.SIGINT)
        _, errors = self.process.communicate(timeout=20)
        killed = error or self.process.returncode == -signal.SIGKILL
        assert killed or (self.process.returncode == 0 and "Traceback" not in errors), errors


@pytest.fixture
def laboratory():
    with Laboratory() as running:
        yield running


@pytest.fixture
def page(laboratory):
    """A browser in which the laboratory is open."""
    with browser.Browser() as opened:
        opened.open(laboratory.address)
        opened.wait(f"{STEP} === 0 && document.getElementById('preset').options.length > 5")
        yield opened
        assert opened.errors() == []


def play_until(page, steps):
    page.choose("#speed", "4")
    page.click("#play")
    page.wait(f"{STEP} >= {steps} || {ERROR}", 60)
    page.click("#play")
    page.wait("document.getElementById('play').textContent === 'play'")
    assert page.text("#error") == ""


def run_the_code(page, folder):
    """Return the last line that the page's script prints."""
    page.click("#code")
    code = page.wait("document.getElementById('script-text').textContent")
    page.click("#close")
    (folder / "game.py").write_text(code)
    run = subprocess.run(
        [sys.executable, "game.py"], cwd=folder, capture_output=True, text=True, check=True
    )
    return run.stdout.splitlines()[-1]


def test_the_laboratory_in_short(page, tmp_path):
    """Open, train, one control, one preset, and the code runs."""
    play_until(page, 200)
    page.choose("#hidden", "16")
    page.wait(f"{STEP} === 0")
    assert json.loads(urllib.parse.unquote(page.run("return location.hash").lstrip("#"))) == {
        "settings": {"hidden": 16},
        "points": None,
    }
    page.choose("#preset", "cure: R1")
    page.wait(f"{STEP} === 0 && document.getElementById('r1').value === '0.3'")
    assert page.text("#text") == PRESETS["cure: R1"].text
    page.click("#one")
    page.wait(f"{STEP} === 1")
    page.click("#half")
    page.wait("document.getElementById('said').textContent.startsWith('D has learned')")
    page.click("#half")
    page.wait("document.getElementById('said').textContent.startsWith('G has moved')")
    assert run_the_code(page, tmp_path).startswith("step 2: d_loss ")
    page.choose("#hidden", "no number")
    page.wait(f"{ERROR}.includes('hidden')")
    assert "Traceback" not in page.text("#error")
    page.choose("#hidden", "32")
    page.wait(f"!{ERROR}")


@pytest.mark.slow
def test_a_game_learns_the_ring(page):
    page.choose("#preset", "cure: R1")
    page.wait("document.getElementById('r1').value === '0.3'")
    play_until(page, 2000)
    fakes = page.run("return Array.from(window.lab.frame().fakes)")
    radius = np.hypot(*np.reshape(fakes, (-1, 2)).T)
    assert abs(np.median(radius) - 2) < 0.1


@pytest.mark.slow
def test_points_that_are_drawn_are_learned(page):
    page.click("#draw")
    line = [(0.2 + 0.6 * i / 20, 0.5) for i in range(21)]
    page.drag("#plane", line)
    page.press("\ue008", "\ue014", "\ue014", "\ue007")  # keys work, too
    page.wait("window.lab.drawn().length >= 20")
    page.click("#use")
    page.wait(f"{STEP} === 0 && document.getElementById('data').value === 'drawn'")
    play_until(page, 1500)
    fakes = np.reshape(page.run("return Array.from(window.lab.frame().fakes)"), (-1, 2))
    reals = np.reshape(page.run("return Array.from(window.lab.frame().reals)"), (-1, 2))
    assert abs(np.median(fakes[:, 1]) - np.median(reals[:, 1])) < 0.3
    assert np.ptp(fakes[:, 0]) > 0.5 * np.ptp(reals[:, 0])


@pytest.mark.slow
def test_every_control_begins_another_game(page):
    known = controls()["settings"]
    shown = page.run(
        "return [...document.querySelectorAll('#controls input, #controls select')].map(e => e.id)"
    )
    assert {"loss", "r1", "lr", "d_lr", "activation", "latent", "seed", "unroll"} <= {*shown}
    for name in shown:
        setting = known[name]
        values = setting["choices"] or [
            str(setting["default"] * 2 or 1) if not isinstance(setting["default"], bool) else ""
        ]
        for value in (v for v in values if v != "drawn"):
            if value:
                page.choose(f"#{name}", value)
            else:
                page.run(f"document.getElementById('{name}').click()")
            page.wait(f"{STEP} === 0 || {ERROR}")
            page.click("#one")
            page.wait(f"{STEP} === 1 || {ERROR}", 60)
            error = page.text("#error")
            assert error == "" or f"{name}=" in error or "setting" in error, (name, value, error)
        page.run("window.old = true; location.hash = ''; location.reload()")
        page.wait(f"!window.old && {STEP} === 0")


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_plays_and_its_code_runs(page, name, tmp_path):
    page.choose("#preset", name)
    page.wait(f"{STEP} === 0 && document.getElementById('text').textContent")
    play_until(page, 100)
    line = run_the_code(page, tmp_path)  # asked for after the last steps, which are then shown
    row = page.run("return window.lab.history().at(-1)")
    assert line.startswith(f"step {page.run(f'return {STEP}')}: ")
    assert float(re.search(r"d_loss ([^,]+)", line)[1]) == pytest.approx(row[0], rel=1e-6)


@pytest.mark.slow
def test_an_address_with_settings_is_opened_and_a_wrong_one_says_so(laboratory):
    with browser.Browser() as page:
        setting = {"settings": {"hidden": 9, "seed": 4}, "points": None}
        page.open(laboratory.address + "#" + urllib.parse.quote(json.dumps(setting)))
        page.wait(f"{STEP} === 0 && document.getElementById('hidden').value === '9'")
        page.open("about:blank")
        for wrong, message in (
            ("%7B", "no settings that can be read"),
            (urllib.parse.quote('{"settings": {"hiden": 1}}'), "hiden"),
        ):
            page.open(laboratory.address + "#" + wrong)
            page.wait(f"{ERROR}.includes('{message}')")
            page.open("about:blank")


@pytest.mark.slow
def test_two_tabs_a_closed_one_and_a_server_that_ends(laboratory):
    with browser.Browser() as page:
        page.open(laboratory.address)
        page.wait(f"{STEP} === 0")
        first = page.call("GET", "/window")
        second = page.call("POST", "/window/new", {"type": "tab"})["handle"]
        for window in (first, second):
            page.call("POST", "/window", {"handle": window})
            if window == second:
                page.open(laboratory.address)
                page.wait(f"{STEP} === 0")
            page.click("#one")
            page.wait(f"{STEP} === 1")
        page.click("#play")
        page.call("DELETE", "/window")  # while it plays
        page.call("POST", "/window", {"handle": first})
        page.click("#one")
        page.wait(f"{STEP} === 2")
        laboratory.process.send_signal(signal.SIGKILL)
        laboratory.process.wait()
        page.click("#one")
        page.wait(f"{ERROR}.includes('start `tinygan lab` again')")
        with Laboratory() as again:
            page.open(again.address)
            page.wait(f"{STEP} === 0")


@pytest.mark.slow
@pytest.mark.parametrize("width", [768, 1280])
def test_the_page_in_korean_and_on_a_narrow_screen(laboratory, width):
    with browser.Browser(width, 900, language="ko") as page:
        page.open(laboratory.address)
        page.wait(f"{STEP} === 0")
        assert page.text("h1") == "GAN 실험실" and page.text("#play") == "재생"
        assert page.run("return document.documentElement.scrollWidth <= innerWidth")
        for name, preset in PRESETS.items():
            page.choose("#preset", name)
            page.wait(f"{STEP} === 0")
            assert re.search("[가-힣]", page.text("#text")) and page.text("#text") != preset.text
        page.click("#language")
        page.wait("document.querySelector('h1')?.textContent === 'The laboratory'")


@pytest.mark.slow
def test_a_backward_pass_step_by_step(laboratory):
    with browser.Browser() as page:
        page.open(laboratory.address + "backward.html")
        place = "document.getElementById('place').textContent"
        page.wait(f"{place}.startsWith('1 / ')")
        page.click("#forward")
        page.wait(f"{place}.startsWith('2 / ')")
        page.click("#last")
        assert page.text("#said").startswith("second order") and page.text("#said").endswith("1")
        page.choose("#order", "1")
        page.wait(f"{place}.startsWith('1 / ')")
        page.click("#last")
        page.choose("#input-y", "7")
        page.wait(f"{place}.startsWith('1 / ')")
        page.click("#last")
        assert page.text("#said").endswith("→ 8")  # dz/dx = y + 1
        page.choose("#expression", "R1")
        page.wait("document.getElementById('input-w2') !== null")
        page.choose("#input-w2", "many")
        page.wait(f"{ERROR}.includes('w2 must be numbers of shape (2,)')")
        page.choose("#input-w2", "1, 2")
        page.wait(f"!{ERROR}")
        assert page.errors() == []


@pytest.mark.slow
def test_a_run_is_explored(tmp_path):
    run = str(tmp_path / "run")
    small = ["g_channels=4", "d_channels=4", "latent=8", "style=8", "batch_size=8"]
    command = [sys.executable, "-m", "tinygan", "train", "stylegan2", "--out", run, "--steps", "5"]
    subprocess.run([*command, "--set", *small], check=True, capture_output=True)
    loaded = "document.getElementById('{}').src.startsWith('blob')"
    source = "document.getElementById('{}').src"
    with Laboratory("explore", run) as explorer, browser.Browser(1280, 1200) as page:
        page.open(explorer.address)
        page.wait(loaded.format("between"), 60)

        def changes(what, do):
            before = page.run(f"return {source.format(what)}")
            do()
            page.wait(f"{source.format(what)} !== '{before}'", 60)

        slide = (
            "const e = document.getElementById(arguments[0]); e.value = arguments[1];"
            "e.dispatchEvent(new Event('input', {bubbles: true}))"
        )
        changes("image", lambda: page.run(slide, "direction-0", 2))
        changes("image", lambda: page.click("#other"))
        changes("image", lambda: page.run(slide, "truncation", 0.5))
        changes("sheet", lambda: page.click("#next"))
        changes("image", lambda: page.click("#sheet"))
        assert page.run("return window.explorer.place.seed") >= 40
        changes("between", lambda: page.drag("#square", [(0.1, 0.1), (0.8, 0.3)]))
        page.run("document.getElementById('square').focus()")
        changes("between", lambda: page.press("\ue012"))
        changes("image", lambda: page.run("document.getElementById('noise').click()"))
        changes("image", lambda: page.choose("#mix-seed", "5"))
        page.choose("#mix-seed", "x")
        page.wait(f"{ERROR}.includes('seed')")
        page.choose("#mix-seed", "")
        page.wait(f"!{ERROR}")
        page.click("#find")
        page.wait("document.getElementById('distance').textContent.includes('255')")
        changes("image", lambda: page.choose("#projected", "3"))
        page.choose("#projected", "99999999")
        page.wait(f"{ERROR}.includes('projected')")
        assert page.errors() == []


@pytest.mark.slow
def test_the_page_of_a_run(tmp_path):
    run, file = str(tmp_path / "run"), tmp_path / "run.html"
    for words in (
        ["train", "gan", "--out", run, "--steps", "30", "--set", "hidden=16", "sample_every=10"],
        ["animate", run, "-o", str(file)],
    ):
        subprocess.run([sys.executable, "-m", "tinygan", *words], check=True, capture_output=True)
    with browser.Browser() as page:
        page.open(file.as_uri())
        assert page.text("#step") == "step 30"
        page.run(
            "const e = document.getElementById('at'); e.value = 0;"
            "e.dispatchEvent(new Event('input'))"
        )
        assert page.text("#step") == "step 0"
        page.click("#play")
        page.wait("document.getElementById('step').textContent === 'step 20'")
        page.click("#play")
        assert page.run("return document.querySelectorAll('#curves svg').length") >= 2
        assert page.run("return document.getElementById('grid').naturalWidth") > 100
        assert page.errors() == []
