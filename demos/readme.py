"""Insert the measurements of demos/results/ into the guides, between their marks.

    python demos/readme.py

A table or a picture stands between <!-- NAME ... --> and <!-- end -->, each on a line of its own.
A number in a sentence has no mark. A comment at the end of the guide repeats the words around it:

    <!-- numbers
    led to {checks stress.wrong} errors, {checks flat.growth .1f} MB
    -->

{FILE PATH FORMAT} is the value in demos/results/FILE.json at PATH (keys with dots between them),
formatted by format(). The words must occur exactly once; they may continue on the next line.
"""

# %%
import contextlib
import io
import re
import sys
from itertools import zip_longest
from pathlib import Path

import korean

from tinygan.study import mean_and_range, median_and_all, result_files
from tinygan.training import recipes as tinygan_recipes

DEMOS = Path(__file__).parent
GUIDES = [
    DEMOS.parent / name
    for name in (
        "README.md",
        "README.ko.md",
        "demos/README.md",
        "demos/README.ko.md",
        "tinygan/README.md",
        "tinygan/training/README.md",
        "tinygan/kernels/README.md",
        "tests/README.md",
    )
]
NOT_MEASURED = "(not measured yet)"
NUMBERS, NUMBER = "\n<!-- numbers\n", r"[-\d.,]*\d"
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
BEYOND = (
    "game2d",
    "how_training_dies",
    "infogan",
    "unrolled",
    "r3gan",
)  # demos of papers that are not in the lecture


def results(name):
    """Return the contents of demos/results/NAME.json. Exits with a message if it is missing."""
    numbers = result_files.read_json(DEMOS / "results" / f"{name}.json")
    if not numbers:
        sys.exit(f"{DEMOS / 'results' / name}.json is missing")
    return numbers


def is_measured(name):
    """Return whether the full run of a demo has ended."""
    return "finding" in result_files.read_json(DEMOS / "results" / f"{name}.json")


def result(name):
    """Return the results of a demo's --full run. Exits with a message if it had another size, or
    other seeds."""
    numbers = results(name)
    if (numbers.get("size"), numbers.get("seeds")) != ("full", [0, 1, 2]):
        sys.exit(
            f"demos/results/{name}.json has size {numbers.get('size')} and seeds "
            f"{numbers.get('seeds')}: run demos/{name}.py --full"
        )
    return numbers


# %% The front page


def recipes(language):
    """Return the table of the recipes: what each one is, how good it is on MNIST, and samples."""
    rows = []
    for name, recipe in tinygan_recipes.RECIPES.items():
        runs = [run for run in results("mnist").values() if run["recipe"] == name]
        fid = mean_and_range([run["metrics"]["fid"] for run in runs], 2) if runs else "-"
        # Of several runs, the fastest: the others shared the machine with other work.
        minutes = f"{min(run['seconds'] for run in runs) / 60:.1f}" if runs else "-"
        file = f"demos/pictures/mnist-{name}.png"
        samples = f'<img src="{file}" width="150">' if (DEMOS.parent / file).exists() else ""
        summary = recipe.summary if language == "en" else korean.RECIPES[name]
        rows.append([f"`{name}`", summary, fid, minutes, samples])
    head = ["recipe", "what it is", "FID", "minutes", "samples"]
    return markdown(head if language == "en" else ["레시피", "내용", "FID", "분", "샘플"], *rows)


STEPS = {
    "dcgan": "DCGAN",
    "dcgan-r1": "DCGAN, R1",
    "wgan-gp": "WGAN-GP",
    "stylegan2": "StyleGAN2",
    "lenet": "LeNet",
    "mlp": "MLP",
}


def speed_ratios(language):
    """Return the ratios of tinygan's times to PyTorch's, on both machines."""
    ratios = {}
    for machine in ("epyc", "intel"):
        head, *rows = results("bench")[machine]["steps"]
        for row in rows:
            cells = dict(zip(head, row))
            ratios.setdefault((cells["workload"], cells["batch"]), []).append(cells["ratio"])
    measured = results("time_to_fid")
    until = f"`quick`, until FID {measured['fid']:.0f}"
    images = "batches of {}"
    if language == "ko":
        images = "배치 {}"
        until = f"`quick`, FID {measured['fid']:.0f}까지"
    return markdown(
        ["", "AMD EPYC", "Intel Xeon"],
        *(
            [f"{STEPS[name]}, {images.format(batch)}"] + both
            for (name, batch), both in ratios.items()
        ),
        [until, "-", f"{measured['summary']['ratio']['seconds'][0]:.2f}"],
    )


# %% Numbers within a sentence


def value(file, path, form=""):
    """Return the formatted value in a result file at a path such as "metrics.fid"."""
    number = results(file)
    for key in path.split("."):
        number = number[int(key) if isinstance(number, list) else key]
    return format(number, form)


def with_numbers(text):
    """Return a guide's text with the numbers that its last comment lists."""
    body, mark, listed = text.partition(NUMBERS)
    for words in listed.removesuffix("-->\n").splitlines():
        plain = re.split(r"\{(.*?)\}", words)  # words, a value, words, ...
        pattern = [re.escape(part).replace(r"\ ", r"\s+") for part in plain[::2]]
        new = [value(*part.split()) for part in plain[1::2]]
        body, count = re.subn("(" + f"){NUMBER}(".join(pattern) + ")", joined(new), body)
        if count != 1:
            sys.exit(f"the words occur {count} times, not once: {words}")
    return body + mark + listed


def joined(values):
    """Return a function of a match: its groups with the values between them."""
    return lambda match: "".join(
        word for pair in zip_longest(match.groups(), values, fillvalue="") for word in pair
    )


# %% Tables: the mark "ada 0" stands for the first table that ada.py prints


def markdown(head, *rows):
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def table(name, number):
    if name in BEYOND and not is_measured(name):
        return NOT_MEASURED
    return markdown(*result(name)["tables"][int(number)])


def finding(name):
    """Return the result of a demo in words, once it is measured."""
    measured = "claims" in result_files.read_json(DEMOS / "results" / f"{name}.json")
    return f"Result: {result(name)['finding'] if measured else NOT_MEASURED}"


def verdicts(name):
    """Return the table of a demo's claims: what was compared, and the verdict."""
    if "claims" not in result_files.read_json(DEMOS / "results" / f"{name}.json"):
        return NOT_MEASURED
    return markdown(
        ["claim", "compared (median and all seeds)", "verdict"],
        *(
            [claim, evidence(found), found["verdict"]]
            for claim, found in result(name)["claims"].items()
        ),
    )


def evidence(found):
    """Return what decides a claim, in words: its comparisons, and of how many runs it is true."""
    words, runs = [compared(comparison) for comparison in found["comparisons"]], found["runs"]
    if runs:
        words.append(f"true of {sum(runs)} of {len(runs)} runs")
    return "<br>".join(words) or "-"


def compared(comparison):
    """Return a comparison in words: "FID: a 2.5 (2.0, 2.5, 3.1); b 4.0 (3.9, 4.0, 4.4)"."""
    labels, values = comparison["labels"], comparison["values"]
    both = (f"{labels[key]} {numbers(values[key])}" for key in ("smaller", "larger"))
    bound, visible = comparison["at_most"], comparison["visible"]
    words = f"{comparison['quantity']}: {'; '.join(both)}"
    if bound is not None:
        words += f" (at most {bound:.0%} larger)"
    if comparison["verdict"] == "undecided" and visible is not None:
        words += f" (a difference of {visible:.2g} would have been seen)"
    return words


def numbers(values):
    """Return the median and all of some numbers with three digits each. None: a failed run."""
    shown = [x for x in values if x is not None]
    largest = max(map(abs, shown), default=0)
    digits = 0 if largest >= 100 else 1 if largest >= 10 else 2
    return median_and_all(values, digits)


def picture(name, language="en"):
    """Return the figures of a demo, once it is measured. language: "ko" for those in Korean."""
    if name in BEYOND and not is_measured(name):
        return NOT_MEASURED
    parts = sorted((DEMOS / "pictures").glob(f"{name}*.png"))
    in_korean = {path for path in parts if path.stem.endswith("-ko")}
    shown = [
        path.name
        for path in parts
        if re.match(rf"{name}(-|$)", path.stem) and (path in in_korean) == (language == "ko")
    ]
    pictures = [f'<img src="pictures/{file}" width="800">' for file in shown]
    return "\n".join(pictures) or NOT_MEASURED


def truncation(measurement, head, *columns):
    """Return the table of a measurement by `tinygan truncation`. columns: the thresholds or psis to
    show; head: "threshold" or "psi"."""
    rows = {f"{row['threshold']:g}": row for row in results("commands")[measurement]["thresholds"]}
    return markdown(
        [head, *columns],
        *(
            [title, *(f"{rows[value][key]:.{digits}f}" for value in columns)]
            for title, key, digits in (
                ("FID", "fid", 2),
                ("precision", "precision", 3),
                ("recall", "recall", 3),
                ("class accuracy", "class_accuracy", 3),
            )
        ),
    )


def spaces():
    """Return the table in which `tinygan ppl` and `tinygan separability` compare Z and W."""
    measurements = results("commands")
    lengths = measurements["path-length"]["perceptual_path_length"]
    scores = measurements["separability"]["separability"]
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


def bench(name):
    """Return a table of measurements by `python -m demos.bench`.

    name: "steps" for those that speed.py started, otherwise a name in demos/results/bench.json.
    """
    measurements = results("bench")
    if name == "recipes":
        return bench_recipes(measurements.get(name))
    if name == "time_to_fid":
        return time_to_fid(result_files.read_json(DEMOS / "results" / f"{name}.json"))
    if name == "steps":
        rows = results("speed")["steps"]
    else:
        rows = measurements[name]["steps" if name in ("epyc", "intel") else name]
    if name in ("steps", "epyc", "intel"):
        with_memory = measurements["epyc" if name == "epyc" else "memory"]
        memory = {row[0]: row for row in with_memory["memory"]}
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
    lines = markdown(*(row[:5] if name == "augmentation" else row for row in rows))
    machine = measurements["intel" if name == "steps" else name]
    where = [machine[key] for key in ("machine", "versions") if key in machine]
    return f"{lines}\n\n{'; '.join(where)}."


def bench_recipes(measured):
    """Return the table of whole steps of recipes, and below it the machine and its second core.

    measured: what `python -m demos.bench --against torch` wrote, or None.
    """
    if not measured:
        return NOT_MEASURED
    head, *rows = measured["recipes"]
    cells = [dict(zip(head, row)) for row in rows]
    lines = markdown(
        ["recipe", "batch", "tinygan", "PyTorch", "time ratio", "compiled", "time ratio"],
        *(
            [
                f"`{row['workload'].removeprefix('recipe ')}`",
                row["batch"],
                f"{row['tinygan ms']} ms",
                f"{row['PyTorch ms']} ms",
                f"**{row['ratio']}**",
                "-" if row["compiled ms"] == "-" else f"{row['compiled ms']} ms",
                row["ratio to it"],
            ]
            for row in cells
        ),
    )
    core = measured["second_core"]
    return (
        f"{lines}\n\n{measured['machine']}; {measured['versions']}. Two products at once had "
        f"{core['median']:.2f} ({core['lowest']:.2f}-{core['highest']:.2f}) times the throughput "
        "of one."
    )


def time_to_fid(measured):
    """Return the table of the times to a FID, and below it the machine. measured: what `python -m
    demos.bench --time-to-fid --against torch` wrote, or {}."""
    if "summary" not in measured:
        return NOT_MEASURED
    sys.path.insert(0, str(DEMOS.parent))  # for demos.bench, which is not installed
    from demos.bench import time_to_fid

    versions = next(iter(measured["seeds"].values()))["versions"]
    rows = time_to_fid.table(measured["summary"], measured["fid"])
    return f"{markdown(*rows)}\n\n{measured['machine']}; {versions}."


def plain_kernels():
    """Return the table of `python -m tests.tools.plain_kernels`: the time of a training step with
    plain and with fast kernels, and recorded."""
    measured = results("plain_kernels")
    lines = markdown(
        ["recipe", "plain kernels", "fast kernels", "recorded", "plain / fast", "recorded / fast"],
        *(
            [
                f"`{name}`",
                *(f"{1e3 * row[way]:.0f} ms" for way in ("plain", "fast", "recorded")),
                f"{row['ratios']['plain']:.1f}",
                f"{row['ratios']['recorded']:.2f}",
            ]
            for name, row in measured["steps"].items()
        ),
    )
    return (
        f"{lines}\n\nMedians of {measured['rounds']} rounds, in which the three take turns; "
        f"{measured['machine']}."
    )


def ranks():
    """Return the table of tests/tools/ranks_speed.py: images per second of two processes and of two
    threads."""
    measured = results("checks")["ranks"]
    lines = markdown(
        ["images per second", "two processes", "one process, two threads"],
        *(
            [f"`{name}`", f"{row['processes']:.0f}", f"{row['threads']:.0f}"]
            for name, row in measured.items()
            if name in ("dcgan", "stylegan2")
        ),
    )
    return f"{lines}\n\n{measured['machine']}."


def printed(script, *arguments, function="table"):
    """Return the output of a function of a script in demos/."""
    sys.path.insert(0, str(DEMOS))
    try:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            getattr(__import__(script), function)(*arguments)
    finally:
        sys.path.pop(0)
    return out.getvalue().rstrip()


# %%
TABLES = (
    "bench",
    "finding",
    "picture",
    "plain_kernels",
    "ranks",
    "recipes",
    "spaces",
    "speed_ratios",
    "truncation",
    "verdicts",
)


def content(mark):
    """Return the text that belongs between <!-- mark --> and <!-- end -->."""
    name, *arguments = mark.split()
    if name in TABLES:
        return globals()[name](*arguments)
    if name == "glossary":
        return printed("lecture", function="print_glossary")
    is_demo = name in (*LECTURE, *BEYOND)
    return table(name, *arguments) if is_demo else printed(name, *arguments)


def filled(text):
    """Return a guide's text with everything between its marks replaced by the measurements."""
    text = with_numbers(text)
    return re.sub(
        "(<!-- (?!end )([^\n>]*) -->\n)(.*?)(<!-- end -->)",
        lambda match: f"{match[1]}\n{content(match[2])}\n\n{match[4]}",
        text,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    for file in GUIDES:
        file.write_text(filled(file.read_text(encoding="utf-8")), encoding="utf-8")
