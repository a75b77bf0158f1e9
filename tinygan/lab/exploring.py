"""What the page of the explorer asks for, and the answers: `Exploration.reply`.

A request is a dict: do, and what belongs to it. Places are those of explorer.py.

    image     place                       the image there
    sheet     place, first                samples, one for each seed from `first` on
    square    corners, u, v               the image between four places
    nearest   place                       the nearest training image, and its distance
    real      index                       a real image
    walk      corners                     a GIF
    points    place                       samples of a run on points, and real points
"""

import threading
from typing import Any, Mapping

import numpy as np

from tinygan.errors import InputError

from .explorer import Explorer, gif, number, png, whole
from .requests import packed

LARGE, SMALL = 280, 48  # pixels on a side, at least about, of one image and of one on a sheet


class Exploration:
    """Answers for one run. `reply` may be called from several threads."""

    def __init__(self, explorer: Explorer) -> None:
        self.explorer, self.lock = explorer, threading.Lock()

    def reply(self, request: Mapping[str, Any]) -> bytes:
        """Return the answer to a request. Raises InputError, in one line, for a wrong one."""
        actions = {
            "image": self.image,
            "sheet": self.sheet,
            "square": self.square,
            "nearest": self.nearest,
            "real": self.real,
            "walk": self.walk,
            "points": self.points,
        }
        what = request.get("do")
        if what not in actions:
            raise InputError(f"do={what!r}: the explorer knows {', '.join(actions)}")
        if self.explorer.is_points != (what == "points"):
            kind = "points" if self.explorer.is_points else "images"
            raise InputError(f"do={what!r}: this run is on {kind}")
        with self.lock:
            return actions[what](request)

    def scale(self, size: int) -> int:
        return max(1, round(size / self.explorer.config["image_shape"][0]))

    def image(self, request):
        return png(self.explorer.images([place_of(request)]), 1, self.scale(LARGE))

    def sheet(self, request):
        _, images = self.explorer.sheet(place_of(request), whole(request, "first", 0))
        return png(images, 10, self.scale(SMALL))

    def square(self, request):
        u, v = (number(request, key, 0.5, 0, 1) for key in "uv")
        return png(self.explorer.square(corners_of(request), u, v), 1, self.scale(LARGE))

    def nearest(self, request):
        image = self.explorer.images([place_of(request)])[0]
        index, distance = self.explorer.nearest(image)
        return packed({"index": index, "distance": distance}, {})

    def real(self, request):
        index, reals = whole(request, "index", 0), self.explorer.reals
        if reals is None or index >= len(reals.images):
            raise InputError(f"index={index}: there is no such real image")
        return png(reals.images[index : index + 1], 1, self.scale(LARGE))

    def walk(self, request):
        return gif(self.explorer.walk(corners_of(request)), self.scale(LARGE))

    def points(self, request):
        places = [{**place_of(request), "seed": 1000 + i} for i in range(1000)]
        reals = self.explorer.reals
        shown = np.zeros((0, 2)) if reals is None else reals.images[:1000]
        return packed({}, {"fakes": self.explorer.images(places), "reals": shown})


def place_of(request: Mapping[str, Any]) -> Mapping[str, Any]:
    place = request.get("place", {})
    if not isinstance(place, dict) or not isinstance(place.get("mix") or {}, dict):
        raise InputError("place: must be an object")
    return place


def corners_of(request: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    corners = request.get("corners")
    if not isinstance(corners, list) or len(corners) != 4:
        raise InputError("corners: must be four places")
    return [place_of({"place": corner}) for corner in corners]
