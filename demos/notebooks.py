"""Make notebooks of the demos and of the first GAN, with their outputs.

    python demos/notebooks.py                          # all of them, in their small versions
    python demos/notebooks.py autograd_tour ada --tiny # two of them, with a few steps of everything
    python demos/notebooks.py --no-execute             # without outputs, in seconds

The notebooks NAME.ipynb are written into demos/notebooks/. This needs jupytext, nbclient and
ipykernel: pip install 'tinygan[dev]'. The scripts stay the only source: change these, and make the
notebooks again.
"""

import argparse
import os
import re
import sys
from pathlib import Path

import jupytext
import nbclient
import nbformat
from readme import BEYOND, LECTURE

DEMOS = Path(__file__).absolute().parent
NAMES = ["first_gan", *LECTURE, *BEYOND]
LAST_CELLS = {"first_gan": 'from IPython.display import Image\n\nImage("first_gan.png")'}
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def convert(name, size=None):
    """Return the notebook of a script. size: of its study, or None for the default."""
    source = (DEMOS / f"{name}.py").read_text(encoding="utf-8")
    if size:
        source = re.sub("^STUDY_SIZE = None", f'STUDY_SIZE = "{size}"', source, flags=re.MULTILINE)
    if size == "tiny":
        source = source.replace("trange(3000)", "trange(20)")  # of the first GAN
    # A script without marks has a cell for each paragraph of its code.
    marked = re.search("^# %%", source, re.MULTILINE)
    notebook = jupytext.reads(source, "py:percent" if marked else "py:light")
    first = notebook.cells[0]  # the docstring
    title, _, text = first.source.strip('"').partition("\n")
    commands = re.sub("^(?=python demos/)", "    ", text, flags=re.MULTILINE)  # as code
    notebook.cells[0] = nbformat.v4.new_markdown_cell(f"# {title}\n{commands}".rstrip())
    if name in LAST_CELLS:
        notebook.cells.append(nbformat.v4.new_code_cell(LAST_CELLS[name]))
    notebook.metadata = {"kernelspec": KERNEL}
    return notebook


def execute(notebook, folder):
    """Run all cells of a notebook in a folder, and keep their outputs. Raises CellExecutionError
    for a cell that fails."""
    path = os.pathsep.join([str(DEMOS.parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    client = nbclient.NotebookClient(
        notebook,
        timeout=None,
        kernel_name=KERNEL["name"],
        resources={"metadata": {"path": str(folder)}},
        coalesce_streams=True,
    )
    client.execute(env={**os.environ, "PYTHONPATH": path.rstrip(os.pathsep)})


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--tiny", dest="size", action="store_const", const="tiny")
    size.add_argument("--fast", dest="size", action="store_const", const="fast")
    parser.add_argument("--execute", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", default=DEMOS / "notebooks")
    args = parser.parse_args()
    if unknown := set(args.names) - set(NAMES):
        parser.error(f"there is no demo called {min(unknown)}: choose from {', '.join(NAMES)}")
    args.output.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in args.names or NAMES:
        notebook, path = convert(name, args.size), args.output / f"{name}.ipynb"
        print(f"{path}{' ...' if args.execute else ''}", flush=True)
        try:
            if args.execute:
                execute(notebook, args.output)
        except nbclient.exceptions.CellExecutionError as error:
            failed.append(name)
            print(error, file=sys.stderr)
        nbformat.write(notebook, path)
    if failed:
        sys.exit(f"a cell has failed in: {', '.join(failed)}")


if __name__ == "__main__":
    main()
