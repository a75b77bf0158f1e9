"""Draw the networks of a recipe as a block diagram.

    python demos/diagrams.py                 # all recipes
    python demos/diagrams.py quick stylegan  # some recipes

The diagram is drawn from the networks themselves, with the recipe's settings for images of 28x28
pixels and ten classes: from each layer's output shape, in the order in which the layers run. Layers
with the same output shape share a block, whose width grows with the number of channels. It writes
pictures/diagram-RECIPE.png.
"""

# %%
import sys
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tinygan import nn, plots
from tinygan.errors import InputError
from tinygan.study import COLORS
from tinygan.training import recipes

PICTURES = Path(__file__).parent / "pictures"
COLOR_OF = {"style": COLORS[1], "class": COLORS[4], "Conv": COLORS[0], "Linear": COLORS[2]}
WORDS = {  # class names that do not say what they are
    "ResampledConv2d": "Conv2d",
    "LeakyReLU": "leaky relu",
    "ReLU": "relu",
    "Activation": "bias, leaky relu",
    "Noise": "noise",
    "PixelNorm": "pixel norm",
    "Flatten": "flatten",
    "Reshape": "reshape",
    "Tanh": "tanh",
}


def blocks(network):
    """Return [(output shape without the batch, [kinds of its layers])] of a network.

    A layer that makes a style or a class's scale and shift is a note at the layer that it changes,
    and not a block.
    """
    found, note = [], None
    for row in nn.summary(network):
        if row.path in ("others", "total") or not isinstance(row.shape, tuple):
            continue
        shape, kind = tuple(row.shape[1:]), row.kind.split(" (")[0]
        parts = row.path.split(".")
        if "style" in parts:
            note = "style from w"
        elif kind == "Linear" and {"gain", "bias"} & {*parts}:
            note = "batch-norm by class and z"
        else:
            if not found or found[-1][0] != shape:
                found.append((shape, []))
            found[-1][1].extend([*([note] if note else []), WORDS.get(kind, kind)])
            note = None
    return found


def text_of(kinds):
    """Return the kinds of layers, with their number where one follows itself."""
    parts = []
    for kind in kinds:
        if parts and parts[-1][0] == kind:
            parts[-1][1] += 1
        else:
            parts.append([kind, 1])
    words = [f"{n} x {kind}" if n > 1 else kind for kind, n in parts]
    return ", ".join(words) if len(words) < 6 else ", ".join([*words[:5], "..."])


def draw_network(axes, title, first, network, height):
    """Draw a network from top to bottom. first: what goes in."""
    axes.set(xlim=(0, 1), ylim=(-height, 0.5))
    axes.set_title(title, loc="left", fontsize=13)
    axes.set_axis_off()
    layers = [(first, [])] + blocks(network)
    widest = max(shape[-1] for shape, _ in layers if shape)
    for i, (shape, kinds) in enumerate(layers):
        channels = shape[-1] if shape else 1
        width = 0.16 + 0.16 * np.sqrt(channels / widest)
        color = next((c for name, c in COLOR_OF.items() if any(name in k for k in kinds)), "0.8")
        axes.barh(-i, width, 0.62, 0.18 - width / 2, color=color, alpha=0.55)
        size = " x ".join(map(str, shape)) or "1"
        axes.text(0.18, -i, size, ha="center", va="center", fontsize=12)
        axes.text(0.38, -i, text_of(kinds), va="center", fontsize=12)


def diagram(name):
    """Return the block diagram of a recipe, uint8 (H, 1280, 3)."""
    recipe = recipes.find(name)
    s = recipe.settings()
    size = 28 + 2 * s.pad
    G, D = recipe.build(s, (size, size, 1), 10, np.random.default_rng(0))
    height = max(len(blocks(G)), len(blocks(D))) + 1
    figure = Figure((12.8, 1.1 + 0.42 * height), dpi=100, layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_network(left, "G: latents to an image", (s.latent,), G, height)
    draw_network(right, "D: an image to a logit", (size, size, 1), D, height)
    figure.suptitle(f"{name}: {recipe.summary}", x=0.01, ha="left", fontsize=15, fontweight="bold")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


# %%
if __name__ == "__main__":
    try:
        for name in sys.argv[1:] or recipes.RECIPES:
            plots.save_image(PICTURES / f"diagram-{name}.png", diagram(name), palette=True)
            print(f"diagram: {PICTURES / f'diagram-{name}.png'}")
    except InputError as error:
        sys.exit(str(error))
