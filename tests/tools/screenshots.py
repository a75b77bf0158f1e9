"""Draw the pictures of the laboratory in the guides: demos/pictures/lab*.png, in both languages.

python -m tests.tools.screenshots RUN     # from a checkout; RUN: a trained stylegan2
"""

import argparse
import io
import signal
import time
from pathlib import Path

from PIL import Image

from tests.tools import browser
from tests.tools.frames import served

PICTURES = Path(__file__).parents[2] / "demos" / "pictures"


def keep(page, name, language):
    """Keep what the page shows, with a palette: half of the bytes."""
    time.sleep(1)  # until it is drawn
    assert page.errors() == []
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    palette = picture.quantize(256, Image.Quantize.MAXCOVERAGE)
    picture = picture.quantize(palette=palette)
    picture.save(
        PICTURES / f"{name}{'' if language == 'en' else '-' + language}.png", optimize=True
    )


def laboratory(page, address, language):
    page.open(address)
    page.wait("window.lab?.frame()")
    page.choose("#preset", "cure: R1")
    page.wait("lab.frame().header.step === 0")
    page.choose("#speed", "4")
    page.click("#play")
    page.wait("lab.frame().header.step >= 400", 60)
    page.click("#play")
    page.wait("!document.getElementById('play').disabled")
    page.click("#optimal")
    keep(page, "lab-game", language)


def backward(page, address, language):
    page.open(address + "backward.html")
    page.wait("document.getElementById('place').textContent.startsWith('1 / ')")
    page.choose("#expression", "R1")
    page.wait("document.getElementById('input-w2')")
    page.click("#last")
    keep(page, "lab-backward", language)


def explorer(page, address, language):
    page.open(address)
    page.wait("document.getElementById('between')?.src.startsWith('blob')", 60)
    page.click("#find")
    page.wait("document.getElementById('distance').textContent", 60)
    keep(page, "lab-explorer", language)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="a trained stylegan2")
    args = parser.parse_args()
    for words, draw, height in (
        (["lab"], laboratory, 960),
        (["lab"], backward, 1290),
        (["explore", args.run], explorer, 1420),
    ):
        process, address = served(*words)
        for language in ("en", "ko"):
            with browser.Browser(1280, height, language) as page:
                draw(page, address, language)
        process.send_signal(signal.SIGINT)
        process.wait()


if __name__ == "__main__":
    main()
