"""The pictures of a run: grids of samples from fixed latents, or scatter plots of points; for a
growing recipe also samples at the end of training at each size."""

from pathlib import Path
from typing import Any

import numpy as np

from tinygan import plots
from tinygan.autograd import Tensor
from tinygan.backend import asarray, to_numpy
from tinygan.data import Points
from tinygan.errors import warn_once

from .sampling import MAX_ROWS, class_rows, generate, images_of_a_class, label_count

GRID = 64  # images in the grids of an unconditional recipe
POINTS = 2000  # samples in the scatter plots


class Gallery:
    """Writes the pictures of a run.

    latents, labels: the fixed inputs of all pictures. grown: {"0008": images whose shorter side had
    8 pixels}, samples that a growing recipe generated at the end of training at each size.
    """

    def __init__(self, algorithm: Any, classes: int):
        self.algorithm, self.grown = algorithm, {}
        self.classes = classes if algorithm.objectives.uses_classes else label_count(algorithm.G)
        self.latents, self.labels = self.fixed_inputs()

    def fixed_inputs(self):
        """Return (latents, labels) of the grids: for a recipe with labels, those of `class_rows`,
        with the same latents for each class."""
        if isinstance(self.algorithm.dataset, Points):
            labels = np.arange(POINTS) % self.classes if self.classes else None
            return self.algorithm.latents(POINTS), labels
        if not self.classes:
            return self.algorithm.latents(GRID), None
        if self.classes == 1:
            return self.algorithm.latents(GRID), np.zeros(GRID, int)
        labels, columns = class_rows(self.classes, 8 * min(self.classes, MAX_ROWS))
        count = images_of_a_class(labels, columns)
        z = np.tile(to_numpy(self.algorithm.latents(count).data), (len(labels) // count, 1))
        return Tensor(asarray(z)), labels

    def state_dict(self):
        return {"latents": to_numpy(self.latents.data)}

    def load_state_dict(self, state, grown):
        self.latents, self.grown = Tensor(asarray(state["latents"])), grown

    def write_grid(self, path: Path, G: Any) -> None:
        """Write the images that G generates from the fixed latents."""
        images = generate(G, self.latents, self.labels)
        if isinstance(self.algorithm.dataset, Points):
            self.write_scatter(path, images)
            return
        has_rows = self.labels is not None and self.classes > 1
        columns = class_rows(self.classes, len(images))[1] if has_rows else None
        plots.save_image(path, plots.grid(images, columns), real_folder=True)

    def write_scatter(self, path: Path, samples: Any) -> None:
        """Plot samples over the training points."""
        title, real = f"step {self.algorithm.step:,}", self.algorithm.dataset.images
        try:
            plots.save_scatter(path, samples, real, self.labels, title, real_folder=True)
        except plots.NotDrawn as error:
            reason = f"{type(error.__cause__).__name__}: {error.__cause__}"
            warn_once(
                f"matplotlib cannot draw points ({reason}); training goes on without pictures"
            )

    def growth_inputs(self) -> tuple[Tensor, Any]:
        """Return the latents and labels of the samples at each size: ten at most."""
        if self.labels is None or self.classes == 1:
            return self.latents[:10], None if self.labels is None else self.labels[:10]
        columns = class_rows(self.classes, len(self.labels))[1]
        count = images_of_a_class(self.labels, columns)  # the first image of each class
        return self.latents[::count][:10], self.labels[::count][:10]

    def write_growth(self, path: Path, G: Any) -> None:
        """Write a row of images, from the same latents, for each size up to the present one."""
        side = self.algorithm.growth.short_side(self.algorithm.lod)
        self.grown[f"{side:04}"] = generate(G, *self.growth_inputs())
        rows = np.concatenate([images for _, images in sorted(self.grown.items())])
        grid = plots.grid(rows, columns=len(rows) // len(self.grown))
        sizes = [f"{int(side)} pixels" for side in sorted(self.grown)]
        plots.save_image(path, plots.labelled(grid, sizes))
