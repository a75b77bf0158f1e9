"""AC-GAN (Odena, Olah and Shlens 2017): D is not told the class, but has to guess it.

D has a second output, the class logits. Both networks minimise the cross-entropy of the class
besides their loss: D learns to name the classes of reals and fakes, and G to draw what D can name
(equations 2 and 3). The class stands beside z in G.
"""

from . import dcgan

RECIPE = dcgan.RECIPE.variant(
    "acgan",
    "D also guesses the class (Odena et al. 2017)",
    g_class="concat",
    d_class="auxiliary",
    # With the paper's batch-norm in D and its rate of 2e-4, D's classifier learns to read G's
    # fakes by signs that have nothing to do with digits. It is sure of their classes, but only 54%
    # of the samples show the class that was asked for (after 10,000 steps).
    d_norm="none",
    r1=0.2,
    penalty_every=8,
    lr=2e-3,
    beta1=0.0,
    beta2=0.99,
)
