"""Printing tables and naming output files."""

from tinygan.files import is_file


def print_table(rows, right=()):
    """Print rows of texts in columns. right: the indices of right-aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        cells = [
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths))
        ]
        print("  ".join(cells).rstrip())


def sibling_path(path, ending):
    """Return the path of a further output file beside `path`: a.png and "numbers.json" ->
    a-numbers.json. Raises InputError if something else than a file is there."""
    sibling = path.with_name(f"{path.stem}-{ending}")
    is_file(sibling)
    return sibling
