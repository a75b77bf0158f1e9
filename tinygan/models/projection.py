"""Projection discriminator (Miyato and Koyama 2018): D compares its features with the class.

    D(x, y) = psi(phi(x)) + e_y . phi(x)

(equation 3), where phi(x) are D's last features, psi is a linear layer, and e_y is a learned vector
for each class. The optimal D has this form if the log-probabilities of the classes are linear in
phi(x), for reals and for fakes. G receives the class through conditional batch-norm. The networks
are SNGAN's.
"""

from . import sngan

RECIPE = sngan.RECIPE.variant(
    "projection",
    "sngan with conditional batch-norm and a projection discriminator (Miyato and Koyama 2018)",
    g_class="cbn",
    d_class="projection",
    # The paper's learning rate of 2e-4 and its five updates of D per step are made for hundreds of
    # thousands of steps: in 1,700, G did not learn to generate the requested class at all. With one
    # learning rate for both networks, G generated each class with little variety. D therefore
    # learns four times as fast.
    lr=1e-3,
    d_lr=4e-3,
    d_steps=1,
    steps=5500,
    sample_every=500,
    g_channels=16,
    d_channels=16,
)
