"""WGAN (Arjovsky, Chintala and Bottou 2017): D becomes a critic, which measures a distance.

    W(reals, fakes) = max over f of  E f(x) - E f(G(z)),  f 1-Lipschitz (|grad f| <= 1)

(equation 2) is the Wasserstein distance: how far, on average, the fakes have to be moved to become
the reals. The critic maximises the difference, and G minimises it. After each update, all weights
of the critic are clipped to [-c, c]. That bounds the critic's gradient, so that it measures the
distance up to a constant factor.
"""

from . import dcgan

RECIPE = dcgan.RECIPE.variant(
    "wgan",
    "a critic with clipped weights estimates the Wasserstein distance (Arjovsky et al. 2017)",
    # Algorithm 1: RMSprop, because momentum made training unstable; clipping at c = .01.
    loss="wasserstein",
    optimizer="rmsprop",
    lr=5e-5,
    beta2=0.99,
    clip=0.01,
    # The critic should be close to the optimal one whenever G learns from it: five updates of the
    # critic per update of G, and a hundred in each of the first 25 steps and in every 500th, as in
    # the authors' code.
    d_steps=5,
    d_boost=100,
    steps=5000,
)
