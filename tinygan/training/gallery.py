"""The pictures of a run: grids of samples from fixed latents, and, for a growing recipe, samples at
the end of training at each size."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from tinygan import plots
from tinygan.autograd import Tensor
from tinygan.backend import asarray, to_numpy

from .sampling import MAX_ROWS, class_rows, generate

GRID = 64  # images in the grids of an unconditional recipe


class Gallery:
    """Writes the pictures of a run.

    latents, labels: the fixed inputs of all grids. grown: {"0008": images of 8x8 pixels}, samples
    that a growing recipe generated at the end of training at each size.
    """

    def __init__(self, algorithm: Any, classes: int):
        self.algorithm, self.classes, self.grown = algorithm, classes, {}
        self.latents, self.labels = self.fixed_inputs()

    def fixed_inputs(self):
        """Return (latents, labels) of the grids. For a conditional recipe, a grid has a row for
        each class (at most ten of them) and a column for each latent."""
        if not self.algorithm.objectives.uses_classes:
            return self.algorithm.latents(GRID), None
        if self.classes == 1:
            return self.algorithm.latents(GRID), np.zeros(GRID, int)
        labels, columns = class_rows(self.classes, 8 * min(self.classes, MAX_ROWS))
        z = np.tile(to_numpy(self.algorithm.latents(columns).data), (len(labels) // columns, 1))
        return Tensor(asarray(z)), labels

    def state_dict(self):
        return {"latents": to_numpy(self.latents.data)}

    def load_state_dict(self, state, grown):
        self.latents, self.grown = Tensor(asarray(state["latents"])), grown

    def write_grid(self, path: Path, G: Any) -> None:
        """Write the images that G generates from the fixed latents."""
        images = generate(G, self.latents, self.labels)
        has_rows = self.labels is not None and self.classes > 1
        columns = class_rows(self.classes, len(images))[1] if has_rows else None
        plots.save_image(path, plots.grid(images, columns), real_folder=True)

    def growth_inputs(self) -> tuple[Tensor, Any]:
        """Return the latents and labels of the samples at each size: ten at most."""
        if self.labels is None or self.classes == 1:
            return self.latents[:10], None if self.labels is None else self.labels[:10]
        # The first image in each row of the grid.
        columns = class_rows(self.classes, len(self.labels))[1]
        return self.latents[::columns][:10], self.labels[::columns][:10]

    def write_growth(self, path: Path, G: Any) -> None:
        """Write a row of images, from the same latents, for each size up to the present one."""
        size = self.algorithm.growth.size >> math.floor(self.algorithm.lod)
        self.grown[f"{size:04}"] = generate(G, *self.growth_inputs())
        rows = np.concatenate([images for _, images in sorted(self.grown.items())])
        plots.save_image(path, plots.grid(rows, columns=10))
