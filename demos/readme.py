"""Put what was measured into README.md and README.ko.md: what is between <!-- NAME --> and <!-- end --> comes from demos/results/.

    python demos/readme.py
"""

# %%
import contextlib
import io
import json
import re
import sys
from pathlib import Path

DEMOS = Path(__file__).parent
FILES = DEMOS.parent / "README.md", DEMOS.parent / "README.ko.md"
LECTURE = ("autograd_tour", "gan_losses", "gradient_penalty", "conditional", "progressive", "biggan", "stylegan", "stylegan2",
           "diffaugment", "ada", "speed")


def result(name):
    return json.loads((DEMOS / "results" / f"{name}.json").read_text())


# %% The gallery: a picture, and the sentence with which its demo ends


def gallery():
    return "\n".join(["| demo | what it found |", "|---|---|"] + [
        f'| <a href="demos/{name}.py">{name}</a><br><img src="demos/pictures/{name}.png" width="420"> | {result(name)["finding"]} |'
        for name in LECTURE if (DEMOS / "results" / f"{name}.json").exists()])


# %% Tables: "ada 0" is the first that ada.py prints


def table(name, number):
    head, *rows = result(name)["tables"][int(number)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def printed(script, *arguments):
    """What the table() of a script in demos/ prints."""
    sys.path.insert(0, str(DEMOS))
    try:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            __import__(script).table(*arguments)
    finally:
        sys.path.pop(0)
    return out.getvalue().rstrip()


# %%


def content(mark):
    """What belongs between <!-- mark --> and <!-- end -->."""
    name, *arguments = mark.split()
    if name == "gallery":
        return gallery()
    return table(name, *arguments) if name in LECTURE else printed(name, *arguments)


def filled(text):
    """A README's text with everything between its marks as it was measured."""
    return re.sub("(<!-- ([^>]*) -->\n)(.*?)(<!-- end -->)", lambda found: f"{found[1]}\n{content(found[2])}\n\n{found[4]}", text,
                  flags=re.DOTALL)


if __name__ == "__main__":
    for file in FILES:
        file.write_text(filled(file.read_text(encoding="utf-8")), encoding="utf-8")
