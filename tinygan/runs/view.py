"""What a notebook shows of a run: a table, the newest samples, the curves."""

import base64
import contextlib
import html
from pathlib import Path
from typing import Any

from tinygan import notebook


def newest_grid(folder: Path) -> bytes | None:
    """Return the newest picture in a run's samples/, a PNG file's bytes; None if there is none."""
    from tinygan.files import is_folder

    samples = folder / "samples"
    pictures = samples.glob("step-*.png") if is_folder(samples) else ()  # a link is an error
    return _read(max(pictures, default=None))


def as_html(run: Any) -> str:
    """Return a short table, the newest samples and the curves of a Run."""
    config, log, evaluations = run.config, run.log, run.evaluations
    rows = {
        "run": run.path,
        "recipe": config["recipe"],
        "data": config["data"],
        "step": f"{run.step:,} of {run.steps:,}",
    }
    for title, column in ("loss of D", "d_loss"), ("loss of G", "g_loss"):
        if column in log:
            rows[title] = f"{log[column][-1]:.2f}"
    if "fid" in evaluations:
        rows["FID (held-out images)"] = f"{evaluations['fid'][-1]:.1f}"
    cells = "".join(
        f"<tr><th>{name}</th><td>{html.escape(str(value))}</td></tr>"
        for name, value in rows.items()
    )
    images = "".join(
        f'<img style="max-width: 48%" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
        for png in (newest_grid(run.folder), _read(run.folder / "curves.png"))
        if png
    )
    return f"<table>{cells}</table>{images}"


def _read(path):
    from tinygan.files import is_file, read_bytes

    return read_bytes(path) if path is not None and is_file(path) else None


class Pictures:
    """The newest samples and curves of a run, each in its place below a notebook's cell."""

    def __init__(self) -> None:
        self.places: dict[bool, notebook.Place] = {}

    def show(self, path: Path) -> None:
        """Show a picture of the run in place of the one before."""
        place = self.places.setdefault(path.name == "curves.png", notebook.Place())
        with contextlib.suppress(OSError):
            place.show(notebook.Picture(_read(path) or b"", str(path)))
