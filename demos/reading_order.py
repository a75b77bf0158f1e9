"""The table of tinygan/README.md: the learner's path in reading order, and how long each file is.

Its length is in lines of code, without blank lines, comments and docstrings.
"""

import ast
import io
import tokenize
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "tinygan"
ORDER = [  # (folder, its files, what they teach)
    (
        "kernels",
        "linear act loss normalize conv pool warp optim __init__",
        "what a convolution, a norm or an optimiser computes, on plain arrays (`xp` is NumPy; "
        "`__init__.py`, which chooses between plain and fast kernels, can wait)",
    ),
    (
        "autograd",
        "tensor engine",
        "how Tensors remember their computation, and how gradients of any order follow",
    ),
    (
        "ops",
        "composite fused elementwise linear bilinear reduce normalize resample styled losses "
        "methods __init__",
        "the three families of ops (elementwise, linear, bilinear) with their derivatives, and ops "
        "that are composed of them",
    ),
    (
        "nn",
        "module init layers norms spectral equalized residual attention style __init__ hooks "
        "layer_summary",
        "what a layer is, and the layers of the papers (the last two files are tools to "
        "look inside)",
    ),
    (
        "gan",
        "losses penalties regularisers packing conditioning __init__ augment/diffaug augment/ada "
        "augment/geometry augment/__init__",
        "what G and D minimise, how they receive the class, and how D's input is augmented",
    ),
    (
        "models",
        "__init__ settings recipe contract freezing image_sizes gan dcgan lsgan wgan wgan_gp sngan "
        "cgan "
        "acgan projection infogan quick hour growth progan biggan stylegan stylegan2 r3gan",
        "what networks must have, how a recipe makes them; then the papers, in the order in which "
        "they build on each other: networks, settings, and the reasons for their constants",
    ),
    (
        ".",
        "optim training/ema training/algorithm training/objectives training/unrolled",
        "a step of training, which brings everything together",
    ),
]


def files():
    """Return the paths of the files in reading order, relative to the package."""
    return [
        f"{name}.py" if folder == "." else f"{folder}/{name}.py"
        for folder, names, _ in ORDER
        for name in names.split()
    ]


def lines_of_code(source):
    """Return the number of lines that hold code: no blank lines, comments or docstrings."""
    docstrings = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node)
        for line in range(node.body[0].lineno, node.body[0].end_lineno + 1)
    }
    no_code = (
        *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE),
        *(tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER),
    )
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in no_code:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - docstrings)


def table():
    """Print the table."""
    print("| read | to learn |\n|---|---|")
    for folder, names, lesson in ORDER:
        title = "" if folder == "." else f"[{folder}/]({folder}): "
        counted = []
        for name in names.split():
            path = f"{name}.py" if folder == "." else f"{folder}/{name}.py"
            count = lines_of_code((PACKAGE / path).read_text(encoding="utf-8"))
            counted.append(f"`{name}.py` {count}")
        print(f"| {title}{', '.join(counted)} | {lesson} |")
