"""WGAN-GP (Gulrajani et al. 2017): a penalty on the critic's gradient replaces weight clipping.

    the critic minimises  E f(G(z)) - E f(x) + lambda E (|grad f(y)| - 1)^2

where y is a random point between a real and a fake (equation 3). Between the two, the gradient of
the optimal critic has length 1. With clipping, most weights end at the limits, and the critic is
too simple.
"""

from . import dcgan

RECIPE = dcgan.RECIPE.variant(
    "wgan-gp",
    "a gradient penalty on the critic instead of weight clipping (Gulrajani et al. 2017)",
    # Algorithm 1: lambda, Adam's learning rate, and five updates of the critic per update of G.
    # There, beta1 is 0; in the authors' code for MNIST, it is .5.
    loss="wasserstein",
    gp=10.0,
    lr=1e-4,
    beta1=0.5,
    beta2=0.9,
    d_steps=5,
    # The penalty is on the gradient at each image, but batch-norm would make each logit depend on
    # all images (section 4).
    d_norm="none",
    steps=3500,
)
