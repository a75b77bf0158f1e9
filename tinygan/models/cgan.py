"""Conditional GAN (Mirza and Osindero 2014): both G and D receive the class y.

    min over G, max over D of  E log D(x, y) + E log(1 - D(G(z, y), y))

(equation 2; as in Goodfellow et al. 2014, section 3, G minimises -log D instead). G receives an
embedding of y beside z. D receives a learned image of y as one more channel of x
(`gan/conditioning.py`). The paper uses perceptrons; here, the networks are DCGAN's.
"""

from . import dcgan

RECIPE = dcgan.RECIPE.variant(
    "cgan",
    "the class as an input of G, beside z, and of D, beside x (Mirza and Osindero 2014)",
    steps=14000,
    g_class="concat",
    d_class="concat",
)
