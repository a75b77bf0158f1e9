"""LSGAN (Mao et al. 2017): least squares instead of cross-entropy, in DCGAN's networks.

    D minimises  1/2 (D(x) - 1)^2 + 1/2 D(G(z))^2          G minimises  1/2 (D(G(z)) - 1)^2

(equation 9; each is a mean over the batch). With cross-entropy, a fake that D takes for real costs
G almost nothing, even if it is far from all reals, and G learns nothing from it. Least squares
pulls every fake towards D's decision boundary, from either side.
"""

from . import dcgan

RECIPE = dcgan.RECIPE.variant(
    "lsgan", "least squares instead of cross-entropy (Mao et al. 2017)", loss="l2"
)
