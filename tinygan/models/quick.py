"""quick: the best digits in two minutes. It is no paper's recipe, but combines ideas from several.

networks  DCGAN's, with half its channels in G and without batch-norm in D
class     an embedding beside z in G, a projection in D
loss      cross-entropy + gamma / 2 |grad D(real)|^2, the R1 penalty (Mescheder et al. 2018), which
          is applied at every eighth update of D (Karras et al. 2020b)
Adam      ten times DCGAN's learning rate, no momentum (beta1 = 0), beta2 = .99, as in the StyleGANs
          (D has 8/9 of that rate, because every eighth update is followed by one for the penalty)
"""

from . import dcgan

RECIPE = dcgan.RECIPE.variant(
    "quick",
    "the best digits in two minutes: DCGAN's layers, projection discriminator, R1 penalty",
    steps=4000,
    batch_size=64,
    sample_every=200,
    g_channels=32,
    d_norm="none",
    g_class="concat",
    d_class="projection",
    r1=0.2,
    penalty_every=8,
    lr=2e-3,
    beta1=0.0,
    beta2=0.99,
    ema=0.999,
)
