"""hour: the best digits in an hour. It is `quick` with more of everything.

networks  twice the channels of `quick`
rate      falls to 0 along a cosine, so that the last steps no longer wander
average   over more steps
D         sees augmented images, as often as ADA finds necessary (Karras et al. 2020a)

demos/hour.py compares these with other candidates, such as R3GAN.
"""

from . import quick

RECIPE = quick.RECIPE.variant(
    "hour",
    "the best digits in an hour: quick, with twice the channels, ADA, and a rate that falls to 0",
    steps=30_000,
    sample_every=500,
    checkpoint_every=500,
    g_channels=64,
    d_channels=64,
    augment="ada",
    lr="cosine:0.002:0",
    ema=0.9995,
)
