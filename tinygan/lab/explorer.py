"""The latents of a trained G, to walk in: principal directions, a square between four latents,
truncation, mixed styles, noise, the nearest training image, and the projection of a real image.

A *place* is a dict: seed, the latent's; sliders, how far to go along each direction; label;
truncation; mix, {"seed", "from", "to"}, whose layers have other styles; noise, "fixed" or "none";
projected, the index of a real image instead of a seed.
"""

import io
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tinygan import nn, ops, plots
from tinygan.autograd import Array, Parameter, Tensor, grad, no_grad, tensor
from tinygan.backend import asarray, to_numpy
from tinygan.data import to_float
from tinygan.errors import InputError
from tinygan.gan.conditioning import call_with_labels
from tinygan.kernels.cpu import parallel
from tinygan.metrics.perceptual import Perceptual, squared_distance
from tinygan.optim import Adam
from tinygan.training import projector, sampling
from tinygan.training.run_data import RunData

SAMPLES = 1000  # for the principal directions
DIRECTIONS = 8
SHEET = 40  # images on a sheet
FRAMES = 48  # of a saved walk
STEPS = 150  # of a projection
REACH = 3.0  # deviations, the end of a slider


class Explorer:
    """A trained G and its data. run: the folder of a run, or one of its checkpoints. model, trust:
    as for `tinygan sample`. data, data_dir: where the data are, if they are elsewhere now."""

    def __init__(
        self,
        run: str | Path,
        model: str | Path | None = None,
        trust: bool = False,
        data: Any = None,
        data_dir: Any = None,
    ) -> None:
        self.G, self.recipe, self.config, self.path = sampling.open_network(
            run, model=model, trust=trust
        )
        self.data = RunData(self.config, self.path.parent, data, data_dir)
        self.has_styles = isinstance(self.G, nn.StyleGenerator)
        self.is_points = len(self.config["image_shape"]) == 1
        self.noises = [m for _, m in self.G.modules() if isinstance(m, nn.Noise)]
        self.labels = sampling.label_count(self.G)
        self.truncation = 1.0 if self.has_styles else None
        self.found: dict[int, Array] = {}  # {index of a real image: its latent or styles}

    def describe(self) -> dict[str, Any]:
        """Return what the page shows of the run."""
        return {
            "title": f"{self.config['recipe']}, {self.config['data']}, {self.path.name}",
            "points": self.is_points,
            "shape": list(self.config["image_shape"]),
            "labels": self.labels or 0,
            "directions": len(self.directions),
            "space": "w" if self.has_styles else "z",
            "layers": self.G.style_layers if self.has_styles else 0,
            "noise": bool(self.noises),
            "truncation": {"w": "psi", "z": "threshold"}.get(self.recipe.truncation or ""),
            "reals": len(self.reals.images) if self.reals is not None else 0,
            "sheet": SHEET,
            "reach": REACH,
        }

    # Latents

    @cached_property
    def directions(self) -> Array:
        """The principal directions (k, size), each one deviation long.

        With styles: those of w, of random latents of all classes. Otherwise z has no direction that
        is longer than others. So we take the principal components of images, and for each one the
        direction of z along which it changes most, by regression.
        """
        if self.is_points:
            return np.zeros((0, self.G.latent), np.float32)
        rng = np.random.default_rng(0)
        labels = rng.integers(self.labels, size=SAMPLES) if self.labels else None
        z = sampling.latents(rng, SAMPLES, self.G)
        if self.has_styles:
            with no_grad():
                w = to_numpy(self.G.mapping(z, labels).data).astype(np.float64)
            _, lengths, rows = np.linalg.svd(w - w.mean(0), full_matrices=False)
            found = rows * lengths[:, None] / np.sqrt(SAMPLES)
        else:
            images = sampling.generate(self.G, z, labels).reshape(SAMPLES, -1).astype(np.float64)
            images -= images.mean(0)
            if labels is not None:  # a direction is one of style, not of class
                for k in {*labels.tolist()}:
                    images[labels == k] -= images[labels == k].mean(0)
            components, _, _ = np.linalg.svd(images, full_matrices=False)
            latents = to_numpy(z.data).astype(np.float64)[:, : self.G.latent]
            found, _ = np.linalg.qr(latents.T @ components[:, :DIRECTIONS])
            found = found.T
        return found[:DIRECTIONS].astype(np.float32)

    def latents(self, places: list[Mapping[str, Any]]) -> Array:
        """Return the latents (N, latent) of some places; with styles, the styles (N, layers,
        size)."""
        truncation = number(places[0], "truncation", 1.0, -5, 5) if places else 1.0
        if self.has_styles:
            self.G.psi = truncation
        zs, sliders = [], []
        limit = None
        if self.recipe.truncation == "z" and "truncation" in places[0]:
            limit = number(places[0], "truncation", 1.0, 0.05, 5)
        for place in places:
            rng = np.random.default_rng(whole(place, "seed", 0))
            zs.append(to_numpy(sampling.latents(rng, 1, self.G, limit).data)[0])
            values = np.zeros(len(self.directions), np.float32)
            given = place.get("sliders", [])
            if not isinstance(given, list) or len(given) > len(values):
                raise InputError(f"sliders: must be a list of at most {len(values)} numbers")
            for i, value in enumerate(given):
                values[i] = number({"slider": value}, "slider", 0.0, -10, 10)
            sliders.append(values @ self.directions)
        z, shift = np.stack(zs), np.stack(sliders)
        if not self.has_styles:
            z[:, : self.G.latent] += shift
            found = z
        else:
            with no_grad():
                found = to_numpy(self.G.styles(tensor(z), self.labels_of(places)).data).copy()
            found += shift[:, None]
        for i, place in enumerate(places):
            if (index := place.get("projected")) is not None:
                found[i] = self.projection(index) + (shift[i] if self.has_styles else 0)
            if self.has_styles and (mix := place.get("mix")):
                other = self.latents([{**place, "seed": mix.get("seed", 0), "mix": None}])[0]
                layers = slice(whole(mix, "from", 0), whole(mix, "to", self.G.style_layers))
                found[i, layers] = other[layers]
        return found

    def labels_of(self, places: list[Mapping[str, Any]]) -> Array | None:
        if not self.labels:
            return None
        labels = [whole(place, "label", 0) for place in places]
        if max(labels) >= self.labels:
            raise InputError(f"label={max(labels)}: there are the classes 0 to {self.labels - 1}")
        return np.array(labels)

    def generate(self, latents: Array, places: list[Mapping[str, Any]]) -> Array:
        """Return the images, uint8 (N, H, W, C), or the points (N, 2), of latents or styles."""
        for noise in self.noises:
            noise.mode = "none" if places[0].get("noise") == "none" else "fixed"
        with parallel.single_threaded_blas():
            if self.has_styles:
                return sampling.generate(self.G.synthesis, tensor(latents))
            return sampling.generate(self.G, tensor(latents), self.labels_of(places))

    # Pictures

    def images(self, places: list[Mapping[str, Any]]) -> Array:
        """Return the images (N, H, W, C) of some places."""
        return self.generate(self.latents(places), places)

    def sheet(self, place: Mapping[str, Any], first: int) -> tuple[list[int], Array]:
        """Return (the seeds, the images) of a sheet of samples. Its classes take turns unless the
        place has a label."""
        seeds = list(range(first, first + SHEET))
        places = [{**place, "seed": seed, "sliders": []} for seed in seeds]
        if self.labels and place.get("label") is None:
            places = [{**p, "label": i % self.labels} for i, p in enumerate(places)]
        return seeds, self.images(places)

    def square(self, corners: list[Mapping[str, Any]], u: float, v: float) -> Array:
        """Return the image (1, H, W, C) at the point (u, v), from 0 to 1, between four places: the
        first at (0, 0), then (1, 0), (0, 1), (1, 1). Without styles, the latents have their usual
        length in between, too."""
        at = self.latents(corners)
        weights = np.float32([(1 - u) * (1 - v), u * (1 - v), (1 - u) * v, u * v])
        mixed = np.tensordot(weights, at, 1)[None]
        if not self.has_styles:
            mixed /= np.sqrt((weights**2).sum())
        nearest = corners[int(weights.argmax())]
        return self.generate(mixed, [nearest])

    def walk(self, corners: list[Mapping[str, Any]]) -> Array:
        """Return the frames (FRAMES, H, W, C) of a walk around the square."""
        t = np.arange(FRAMES) / FRAMES * 4
        side, share = t.astype(int), t % 1
        ends = np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)])
        points = ends[side] + share[:, None] * (ends[side + 1] - ends[side])
        return np.concatenate([self.square(corners, u, v) for u, v in points])

    # Real images

    @cached_property
    def reals(self) -> Any:
        """The training images, or None if the data are not here."""
        try:
            return self.data.parts[0]
        except (InputError, OSError):
            return None

    def nearest(self, image: Array) -> tuple[int, float]:
        """Return (the index of the training image nearest to an image (H, W, C), its root mean
        square distance from 0 to 255)."""
        if self.reals is None:
            raise InputError("the training images are not here: give them with --data")
        flat = self.reals.images.reshape(len(self.reals.images), -1)
        target, best = image.reshape(-1).astype(np.float32), []
        for start in range(0, len(flat), 5000):
            part = flat[start : start + 5000].astype(np.float32)
            distance = np.square(part - target).mean(1)
            best.append((float(distance.min()), start + int(distance.argmin())))
        distance, index = min(best)
        return index, float(np.sqrt(distance))

    def projection(self, index: Any) -> Array:
        """Return the styles (layers, size), or the latent, whose image is like the real image of an
        index."""
        if self.reals is None:
            raise InputError("the training images are not here: give them with --data")
        if type(index) is not int or not 0 <= index < len(self.reals.images):
            raise InputError(f"projected={index!r}: 0 to {len(self.reals.images) - 1}")
        if index not in self.found:
            target = to_float(self.reals.images[index : index + 1])
            extractor = self.data.extractor()
            if self.has_styles:
                found = projector.project(self.G, target, extractor, STEPS, stages=2).ws[0]
            else:
                label = self.reals.labels[index : index + 1]
                found = project_latent(self.G, target, label if self.G.classes else None, extractor)
            self.found[index] = found
        return self.found[index]


def project_latent(G: Any, target: Array, label: Array | None, extractor: Any) -> Array:
    """Return the latent (latent,) whose image is like `target` (1, H, W, C): Adam minimises the
    perceptual distance, and the latent stays as long as usual."""
    perceptual = Perceptual(extractor)
    with no_grad():
        goal = perceptual(Tensor(asarray(target)))
    rng = np.random.default_rng(0)
    z = Parameter(asarray(rng.standard_normal((8, G.latent)).astype(np.float32)))
    labels = None if label is None else np.repeat(label, 8)
    optimizer = Adam([z], 0.1, (0.9, 0.99))
    goals = ops.broadcast_to(goal, (8, *goal.shape[1:]))
    with parallel.single_threaded_blas():
        for step in range(STEPS):
            optimizer.lr = 0.1 * (1 - step / STEPS)
            images = call_with_labels(G, z, labels)
            distances = squared_distance(perceptual(images), goals)
            prior = 1e-3 * ops.sum(ops.square(z))
            optimizer.step(grad(ops.sum(distances) + prior, [z]))
    return to_numpy(z.data)[int(to_numpy(distances.data).argmin())]


def number(place: Mapping[str, Any], name: str, usual: float, low: float, high: float) -> float:
    value = place.get(name, usual)
    value = usual if value is None else value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise InputError(f"{name}={value!r}: must be a number from {low} to {high}")
    return float(value)


def whole(place: Mapping[str, Any], name: str, usual: int) -> int:
    value = place.get(name, usual)
    value = usual if value is None else value
    if type(value) is not int or not 0 <= value < 2**31:
        raise InputError(f"{name}={value!r}: must be a whole number, 0 or more")
    return value


def png(images: Array, columns: int, scale: int) -> bytes:
    """Return images (N, H, W, C) as the bytes of a PNG file of a grid."""
    written = io.BytesIO()
    sheet = plots.grid(images, columns, gap=0 if len(images) == 1 else 2, scale=scale)
    Image.fromarray(sheet).save(written, "PNG")
    return written.getvalue()


def gif(frames: Array, scale: int = 6, milliseconds: int = 60) -> bytes:
    """Return frames (N, H, W, C) as the bytes of a GIF file that repeats for ever."""
    written = io.BytesIO()
    sheets = [Image.fromarray(plots.grid(f[None], 1, 0, scale)).quantize(64) for f in frames]
    sheets[0].save(
        written, "GIF", save_all=True, append_images=sheets[1:], duration=milliseconds, loop=0
    )
    return written.getvalue()
