"""hour: the best digits in an hour. It is `quick` with what longer training can use.

networks  twice the channels of `quick`
loss      relativistic, with R1 and R2, as in R3GAN
rate      falls to 0 along a cosine, so that the last steps no longer wander
average   over more steps
D         sees augmented images if it learns its images by heart (ADA). On all of MNIST it does not:
          p stays 0.

demos/hour.py compares this with other candidates.
"""

from . import quick

RECIPE = quick.RECIPE.variant(
    "hour",
    "the best digits in an hour: quick with twice the channels, relativistic loss, falling rate",
    steps=25_000,
    sample_every=500,
    checkpoint_every=500,
    g_channels=64,
    d_channels=64,
    loss="relativistic",
    r2=0.2,
    augment="ada",
    lr="cosine:0.002:0",
    ema=0.9995,
)
