"""Conditional GAN (Mirza and Osindero 2014): G and D are both told the class y.

    min over G, max over D of  E log D(x, y) + E log(1 - D(G(z, y), y))

(equation 2). An embedding of y stands beside z; a learned image of y is a further channel beside x
(`gan/conditioning.py`). The paper has perceptrons; the networks here are DCGAN's.
"""

from . import dcgan

RECIPE = dcgan.RECIPE.variant(
    "cgan",
    "G and D see the class, beside z and beside the image (Mirza and Osindero 2014)",
    steps=14000,
    g_class="concat",
    d_class="concat",
)
