"""How many frames and steps a second does the laboratory show, in a headless browser?

    python -m tests.tools.frames          # from a checkout; a minute
    python -m tests.tools.frames RUN      # and how long from a slider of `tinygan explore RUN` to
                                          # its image on the screen

The frames are those in which the page has drawn something new. A headless browser draws with the
processor, on which the game trains as well; each has what the other leaves.
"""

import argparse
import re
import signal
import statistics
import subprocess
import sys

from tests.tools import browser

SECONDS = 8
COUNT = """
window.count = {frames: 0, shown: lab.frame()};
const look = () => {
  if (lab.frame() !== count.shown) { count.frames++; count.shown = lab.frame(); }
  requestAnimationFrame(look);
};
count.begin = performance.now();
count.step = lab.frame().header.step;
look();
"""
COUNTED = """
const seconds = (performance.now() - count.begin) / 1000;
return [count.frames / seconds, (lab.frame().header.step - count.step) / seconds];
"""
SLIDE = """
const slider = document.getElementById("direction-0"), image = document.getElementById("image");
const done = arguments[0], begin = performance.now();
image.addEventListener("load", () => requestAnimationFrame(() =>
  done(performance.now() - begin)), {once: true});
slider.value = String(Number(slider.value) > 0 ? -1 : 1);
slider.dispatchEvent(new Event("input", {bubbles: true}));
"""


def served(*words):
    """Start a server of pages. Return its process and its address."""
    command = [sys.executable, "-m", "tinygan", *words, "--no-browser"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    return process, re.search(r"http://\S+", process.stderr.readline())[0]


def measure_laboratory():
    process, address = served("lab")
    print("| preset | steps a frame | frames a second | steps a second |\n|---|---|---|---|")
    with browser.Browser() as page:
        page.open(address)
        page.wait("window.lab?.frame()")
        for preset in ("mode collapse", "cure: R1", "partial cure: unrolled"):
            for speed, name in ((1, "1"), (2, "5"), (3, "20")):
                page.choose("#preset", preset)
                page.wait("lab.frame().header.step === 0")
                page.choose("#speed", str(speed))
                page.click("#play")
                page.wait("lab.history().length > 20", 60)
                page.run(COUNT)
                page.wait(f"performance.now() - count.begin > {1000 * SECONDS}", 60)
                frames, steps = page.run(COUNTED)
                page.click("#play")
                page.run("document.getElementById('again').click()")
                page.wait("lab.frame().header.step === 0")
                print(f"| {preset} | {name} | {frames:.0f} | {steps:.0f} |")
    process.send_signal(signal.SIGINT)
    process.wait()


def measure_explorer(run):
    process, address = served("explore", run)
    with browser.Browser() as page:
        page.open(address)
        page.wait("document.getElementById('between')?.src.startsWith('blob')", 60)
        times = [
            page.call("POST", "/execute/async", {"script": SLIDE, "args": []}) for _ in range(41)
        ]
    print(f"\nfrom a slider to the image: {statistics.median(times[1:]):.0f} ms (median of 40)")
    process.send_signal(signal.SIGINT)
    process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", nargs="?", help="a run to explore as well")
    args = parser.parse_args()
    measure_laboratory()
    if args.run:
        measure_explorer(args.run)


if __name__ == "__main__":
    main()
