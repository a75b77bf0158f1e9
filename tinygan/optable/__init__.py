"""The op table: for every op and layer, rows with inputs and an independent reference of its value.

`tinygan gradcheck` prints the table. The tests use it to check values, gradients of first and
second order, dtypes, adjoints, backends, and which arrays each op keeps in memory. They fail for an
op without a row.

table.py defines a row. Each other file has the rows of one family of ops, and oracles.py has the
longer references.
"""

# The imports add the rows. Their order is the order of the table.
from . import (
    convolutions,
    elementwise,
    images,
    layers,
    losses,
    normalisation,
    products,
    reductions,
    shapes,
    styled,
)
from .table import ROWS, Result, Row, layer, row, run_gradchecks

# fmt: off
__all__ = [
    "convolutions", "elementwise", "images", "layer", "layers", "losses", "normalisation",
    "products", "reductions", "Result", "Row", "row", "ROWS", "run_gradchecks", "shapes",
    "styled",
]
# fmt: on
