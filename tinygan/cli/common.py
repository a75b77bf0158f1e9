"""How commands print, and name their files."""


def print_table(rows, right=()):
    """Columns as wide as they need to be; those in `right` end flush."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        cells = [
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths))
        ]
        print("  ".join(cells).rstrip())


def beside(path, ending):
    """The path of another file that a command writes beside `path`: a.png -> a-numbers.json."""
    return path.with_name(f"{path.stem}-{ending}")
