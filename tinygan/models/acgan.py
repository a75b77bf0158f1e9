"""AC-GAN (Odena, Olah and Shlens 2017): D does not receive the class, but has to classify.

D has a second output, the class logits. Both networks minimise the cross-entropy of the class in
addition to their loss: D learns to classify reals and fakes, and G learns to generate images that D
classifies correctly (equations 2 and 3). G receives the class as an embedding beside z.
"""

from . import dcgan

RECIPE = dcgan.RECIPE.variant(
    "acgan",
    "D also classifies the images (Odena et al. 2017)",
    g_class="concat",
    d_class="auxiliary",
    # With the paper's batch-norm in D and its learning rate of 2e-4, D's classifier recognises G's
    # fakes by features that have nothing to do with digits. It is sure of their classes, but only
    # 54% of the samples show the requested class (after 10,000 steps).
    d_norm="none",
    r1=0.2,
    penalty_every=8,
    lr=2e-3,
    beta1=0.0,
    beta2=0.99,
)
