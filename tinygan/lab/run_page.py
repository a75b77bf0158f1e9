"""A run as a page: its grids, curves and settings in one HTML file, to publish without a server."""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tinygan.files import read_text

MOST_BYTES = 1_000_000  # of all grids together
POINTS = 400  # of a curve, at most
CURVES = {  # title: {name: column of the log}
    "losses": {"D": "d_loss", "G": "g_loss"},
    "D's mean logits": {"real": "logit_real", "fake": "logit_fake"},
    "D's accuracy": {"right": "d_accuracy"},
}


def run_page(
    title: str,
    grids: Sequence[tuple[int, np.ndarray[Any, Any]]],
    log: Sequence[Mapping[str, Any]],
    evaluations: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
) -> str:
    """Return the HTML of a run.

    grids: [(step, image (H, W, 3))]; if there are too many for MOST_BYTES, every k-th one is shown,
    and the last. log, evaluations: rows with step. settings: {name: value} of those to list.
    """
    pictures = [(step, png(image)) for step, image in grids]
    every = 1
    while sum(map(len, (data for _, data in pictures[::every]))) > MOST_BYTES * 3 / 4:
        every += 1
    shown = pictures[::-1][::every][::-1]
    thinned = list(log)[:: max(1, len(log) // POINTS)]
    curves: dict[str, dict[str, Any]] = {
        name: {label: points(thinned, column) for label, column in columns.items()}
        for name, columns in CURVES.items()
    }
    curves["FID (held-out images)"] = {"FID": points(evaluations, "fid")}
    run = {
        "title": title,
        "steps": max(step for step, _ in grids),
        "grids": [
            {"step": step, "png": f"data:image/png;base64,{base64.b64encode(data).decode()}"}
            for step, data in shown
        ],
        "curves": {name: found for name, found in curves.items() if any(found.values())},
        "settings": {name: str(value) for name, value in settings.items()},
    }
    # In a script element, "<" could begin a tag.
    text = json.dumps(run, allow_nan=False).replace("<", "\\u003c")
    page = read_text(Path(__file__).parent / "page" / "run.html")
    return page.replace("RUN", text, 1)


def points(rows: Sequence[Mapping[str, Any]], column: str) -> list[list[float]]:
    """Return [[step, value]] of the rows that have a finite number in a column."""
    return [
        [row["step"], round(row[column], 5)]
        for row in rows
        if column in row and np.isfinite(row[column])
    ]


def png(image: np.ndarray[Any, Any]) -> bytes:
    """Return an image (H, W, 3) as the bytes of a PNG file, in greyscale if it is grey."""
    grey = (image == image[..., :1]).all()
    written = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(image[..., 0]) if grey else image)
    picture.save(written, "PNG", optimize=True)
    return written.getvalue()
