"""The pictures of a run: sample grids of latents that stay the same, and what each size of a
growing recipe came to."""

import math

import numpy as np

from tinygan import plots
from tinygan.autograd import Tensor
from tinygan.backend import asarray, to_numpy

from .sampling import ROWS, class_rows, generate

GRID = 64  # fixed latents in the sample pictures of an unconditional recipe


class Gallery:
    """latents, labels: those of the sample grids, which are the same all the time; grown: {pixels
    on a side: images of some of them, when that size had settled}."""

    def __init__(self, algorithm, classes):
        self.algorithm, self.classes, self.grown = algorithm, classes, {}
        self.latents, self.labels = self.fixed_inputs()

    def fixed_inputs(self):
        """Of a conditional recipe, a row per class, a column per latent."""
        if not self.algorithm.objectives.conditional:
            return self.algorithm.latents(GRID), None
        labels, columns = class_rows(self.classes, 8 * min(self.classes, ROWS))
        z = np.tile(to_numpy(self.algorithm.latents(columns).data), (len(labels) // columns, 1))
        return Tensor(asarray(z)), labels

    def state_dict(self):
        return {"latents": to_numpy(self.latents.data)}

    def load_state_dict(self, state, grown):
        self.latents, self.grown = Tensor(asarray(state["latents"])), grown

    def draw_grid(self, path, G):
        """Write G's images of the fixed latents."""
        images = generate(G, self.latents, self.labels)
        columns = None if self.labels is None else class_rows(self.classes, len(images))[1]
        plots.save_image(path, plots.grid(images, columns))

    def draw_growth(self, path, G):
        """Write G's images of the same latents at each size, a row each, up to the present one."""
        z, labels = self.latents, self.labels
        if labels is not None:  # the first of each row
            columns = class_rows(self.classes, len(labels))[1]
            z, labels = z[::columns], labels[::columns]
        size = self.algorithm.growth.size >> math.floor(self.algorithm.lod)
        self.grown[f"{size:04}"] = generate(G, z[:10], None if labels is None else labels[:10])
        rows = np.concatenate([images for _, images in sorted(self.grown.items())])
        plots.save_image(path, plots.grid(rows, columns=10))
