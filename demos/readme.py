"""Put what was measured into the guides: what is between <!-- NAME --> and <!-- end --> comes from demos/results/.

    python demos/readme.py

A table is between two such lines; a single number, within a line, between <!-- = FILE PATH FORMAT --> and <!-- end -->: of
demos/results/FILE.json, the number at the end of the PATH of keys, as Python's format() has it.
"""

# %%
import contextlib
import io
import re
import sys
from pathlib import Path

from korean import KOREAN, judged

from tinygan.study import kept

DEMOS = Path(__file__).parent
GUIDES = [
    DEMOS.parent / name
    for name in (
        "README.md",
        "README.ko.md",
        "demos/README.md",
        "tinygan/README.md",
        "tinygan/training/README.md",
        "tinygan/kernels/README.md",
        "tests/README.md",
    )
]
LECTURE = (
    "autograd_tour",
    "gan_losses",
    "gradient_penalty",
    "conditional",
    "progressive",
    "biggan",
    "stylegan",
    "stylegan2",
    "diffaugment",
    "ada",
    "speed",
)


def results(name):
    """What demos/results/NAME.json holds."""
    found = kept.numbers(DEMOS / "results" / f"{name}.json")
    if not found:
        sys.exit(f"{DEMOS / 'results' / name}.json is missing")
    return found


def result(name):
    """What a demo's --full found, with all its seeds."""
    found = results(name)
    if (found.get("size"), found.get("seeds")) != ("full", [0, 1, 2]):
        sys.exit(
            f"demos/results/{name}.json is of {found.get('size')} size and seeds {found.get('seeds')}: "
            f"run demos/{name}.py --full"
        )
    return found


# %% The gallery: a picture, and the sentence with which its demo ends


def gallery(head="demo | what it found", sentence=lambda name: result(name)["finding"]):
    return "\n".join(
        [f"| {head} |", "|---|---|"]
        + [
            f'| <a href="demos/pictures/{name}.png"><img src="demos/pictures/{name}-small.png"></a> '
            f"| [{name}](demos/{name}.py): {sentence(name)} |"
            for name in LECTURE
        ]
    )


# %% Numbers within a line


def value(file, path, form=""):
    """The number of a JSON file at a path such as "metrics.fid"."""
    number = results(file)
    for key in path.split("."):
        number = number[int(key) if isinstance(number, list) else key]
    return format(number, form)


# %% Tables: "ada 0" is the first that ada.py prints


def markdown(head, *rows):
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def table(name, number):
    return markdown(*result(name)["tables"][int(number)])


def truncation(which, name, *shown):
    """What `tinygan truncation` measured, at some thresholds or psis."""
    rows = {f"{row['threshold']:g}": row for row in results("commands")[which]["thresholds"]}
    return markdown(
        [name, *shown],
        *(
            [title, *(f"{rows[value][key]:.{digits}f}" for value in shown)]
            for title, key, digits in (
                ("FID", "fid", 2),
                ("precision", "precision", 3),
                ("recall", "recall", 3),
                ("class accuracy", "class_accuracy", 3),
            )
        ),
    )


def spaces():
    """What `tinygan ppl` and `tinygan separability` measured of Z and W."""
    found = results("commands")
    lengths, scores = (
        found["path-length"]["perceptual_path_length"],
        found["separability"]["separability"],
    )
    return markdown(
        ["", "Z", "W"],
        [
            "perceptual path length, anywhere on a path",
            *(f"{lengths[f'{space}, full']:.1f}" for space in "ZW"),
        ],
        [
            "perceptual path length, at its beginning",
            *(f"{lengths[f'{space}, ends']:.1f}" for space in "ZW"),
        ],
        ["linear separability", *(f"{scores[space]:.2f}" for space in "ZW")],
    )


def bench(what):
    """What `python -m demos.bench` measured; of "steps", what speed.py had it measure."""
    kept_by_name = results("bench")
    rows = (
        results("speed")["steps"]
        if what == "steps"
        else kept_by_name[what]["steps" if what == "epyc" else what]
    )
    if what in ("steps", "epyc"):
        memory = {
            row[0]: row for row in kept_by_name["memory" if what == "steps" else "epyc"]["memory"]
        }
        rows = [
            [
                "step",
                "batch",
                "tinygan",
                "of sgemm's peak",
                "PyTorch",
                "time ratio",
                "target",
                "memory",
            ]
        ] + [
            [
                row[0],
                row[1],
                f"{row[2]} ms",
                row[4],
                f"{row[5]} ms",
                f"**{row[7]}**",
                row[8],
                f"{memory[row[0]][1]} against {memory[row[0]][2]} MB",
            ]
            for row in rows[1:]
        ]
    return markdown(*(row[:5] if what == "augmentation" else row for row in rows))


def plain_kernels():
    """What `python -m tests.tools.plain_kernels` measured: a training step on both floors of kernels."""
    return markdown(
        ["recipe", "fast kernels", "plain kernels", "plain / fast"],
        *(
            [
                f"`{name}`",
                f"{1e3 * row['fast']:.0f} ms",
                f"{1e3 * row['plain']:.0f} ms",
                f"{row['ratio']:.1f}",
            ]
            for name, row in results("plain_kernels")["steps"].items()
        ),
    )


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
    if name == "갤러리":
        return gallery(
            "데모 | 알아낸 것",
            lambda name: KOREAN[name](result(name)) + judged(result(name)["holds"]),
        )
    if name in ("truncation", "spaces", "bench", "plain_kernels"):
        return globals()[name](*arguments)
    return table(name, *arguments) if name in LECTURE else printed(name, *arguments)


def filled(text):
    """A guide's text with everything between its marks as it was measured."""
    text = re.sub(
        "(<!-- = ([^>]*) -->).*?(<!-- end -->)",
        lambda found: f"{found[1]}{value(*found[2].split())}{found[3]}",
        text,
    )
    return re.sub(
        "(<!-- (?!end |= )([^>]*) -->\n)(.*?)(<!-- end -->)",
        lambda found: f"{found[1]}\n{content(found[2])}\n\n{found[4]}",
        text,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    for file in GUIDES:
        file.write_text(filled(file.read_text(encoding="utf-8")), encoding="utf-8")
