"""What several commands share."""


def select_device(args):
    from tinygan import backend

    if args.device:
        backend.use({"cpu": "numpy", "gpu": "cupy"}[args.device])


def print_table(rows, right=()):
    """Columns as wide as they need to be; those in `right` end flush."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [cell.rjust(w) if i in right else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths))]
        print("  ".join(cells).rstrip())
