"""Projection discriminator (Miyato and Koyama 2018): D compares its features with the class.

    D(x, y) = psi(phi(x)) + e_y . phi(x)

(equation 3), with phi(x) the last features of D, psi a linear layer, and e_y a learned vector for
each class. The best D has this form if a class's log-probability is linear in phi(x), for reals and
for fakes. G is told the class by conditional batch-norm. The networks are SNGAN's.
"""

from . import sngan

RECIPE = sngan.RECIPE.variant(
    "projection",
    "sngan with conditional batch-norm and a projection D (Miyato and Koyama 2018)",
    g_class="cbn",
    d_class="projection",
    # The paper's rate of 2e-4 and its five updates of D are made for hundreds of thousands of
    # steps: in 1,700, G did not learn to draw the class at all. With the same rate for both
    # networks, G drew each class in a few ways only; D therefore learns four times as fast.
    lr=1e-3,
    d_lr=4e-3,
    d_steps=1,
    steps=5500,
    sample_every=500,
    g_channels=16,
    d_channels=16,
)
