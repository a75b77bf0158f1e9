"""The op table: a row per op and layer, with inputs, and an independent reference of its value.

`tinygan gradcheck` prints it, and it drives the tests: values, gradients of first and second order,
dtypes, adjoints, backends, and what each op keeps in memory. An op without a row fails the tests.

A file per family; table.py says what a row is. oracles.py holds the longer references.
"""

# In the order of the rows
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
