"""What a notebook such as Jupyter's shows: a bar that moves, and pictures that are drawn again, in
place.

IPython is used only where the notebook has imported it. What is only shown may not end a run: text
and pictures that cannot be shown are dropped.
"""

import contextlib
import html
import sys
from typing import Any

from tinygan.screen import Display


def is_active() -> bool:
    """Return whether this process is the kernel of a notebook."""
    shell_in_use = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)
    return getattr(shell_in_use(), "kernel", None) is not None


def stream_for_bars() -> Any:
    """Return the stream to write a progress bar to: stderr, or a Line of the notebook."""
    return Line() if is_active() else Display(sys.stderr)


def bar_options() -> dict[str, Any]:
    """Return tqdm's options of a progress bar, which is drawn rarely into a file."""
    stream = stream_for_bars()
    rarely = 0.2 if stream.isatty() else 10
    return {"file": stream, "mininterval": rarely, "dynamic_ncols": True}


class Picture:
    """A PNG file's bytes, which a notebook shows. caption: where it cannot show pictures."""

    def __init__(self, png: bytes, caption: str = "a picture") -> None:
        self.png, self.caption = png, caption

    def __repr__(self) -> str:
        return f"[{self.caption}]"

    def _repr_png_(self) -> bytes:
        return self.png


class Text:
    """A line of text, which a notebook shows in letters of one width."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self.text)}</pre>"


class Place:
    """A place below the cell that runs now. It shows the last of the things that it was given."""

    def __init__(self) -> None:
        self.handle: Any = None

    def show(self, thing: Any) -> None:
        """Show a thing in place of the one before."""
        with contextlib.suppress(Exception):
            if self.handle is None:
                display = sys.modules["IPython"].display.display
                self.handle = display(thing, display_id=True)
            else:
                self.handle.update(thing)


class Line:
    """A stream for a progress bar, in a place of its own: what is written replaces the line before,
    so that the notebook does not fill with lines."""

    encoding = "utf-8"  # tqdm then draws the bar with blocks, not with #

    def __init__(self) -> None:
        self.place = Place()

    def write(self, text: str) -> int:
        line = text.strip()
        if line or "\r" in text:  # a line of spaces removes the bar
            self.place.show(Text(line))
        return len(text)

    def flush(self) -> None:
        """Do nothing: each text is shown at once."""

    def isatty(self) -> bool:
        """Return True, since the line can be replaced, as in a terminal."""
        return True


def show(thing: Any) -> None:
    """Show a thing below the cell that runs now; outside of a notebook, do nothing."""
    if is_active():
        Place().show(thing)
