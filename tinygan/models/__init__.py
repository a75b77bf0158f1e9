"""One file per paper: its networks, its settings, its recipe, and the reasons for its constants.

    papers with their own networks     gan, dcgan, sngan, infogan, progan, biggan, stylegan,
                                       stylegan2, r3gan
    papers that train these networks   quick, hour, lsgan, wgan, wgan_gp, cgan, acgan, projection
    shared by the papers               recipe (settings -> networks), settings, growth, contract

A model of your own is a file like these, anywhere: `tinygan train my_model.py`. It needs
`from tinygan.models import Recipe, Settings, setting`.

What a pair of networks must have
---------------------------------
The function `networks(s, sizes, rng)` of a recipe returns (G, D), two `nn.Module`s, for the
settings `s` and for `sizes` (see `recipe.Sizes`). N is the number of images or latents in a batch.

    G.latent            the length of its latents: sizes.latent
    G.classes           the number of classes if G takes labels: sizes.g_classes, else None
    G(z), G(z, labels)  latents (N, latent), and labels (N,) unless sizes.g_classes is None
                        -> images (N, H, W, C), about in [-1, 1]
    D(x), D(x, labels)  images (N, H, W, C), and labels (N,) unless sizes.d_classes is None
                        -> logits (N, ...), higher for reals; with d_class=auxiliary, a pair:
                        (logits, class logits (N, classes))
                        with losses that G and D share, also a pair: (logits, output (N, ...))
    Where recipe.point_defaults is set, images may also be points (N, 2).

    D.image_shape       (H, W, C) of its images, in which a letter stands for any size; needed for
                        d_class=concat, and to check the input with `expect_shape`

    d_class=projection and d_class=auxiliary also need
    D.features(x)       its last hidden layer, (N, *feature_shape)
    D.feature_shape     the shape of the features of one image
    D.score(features)   the logits, so that D(x) is D.score(D.features(x))

    optional
    G.reads_in_parts    True if only the first part of z enters the first layer
    G.label_count       for a G without classes that also takes labels: how many a user can choose
                        from when G draws samples, as in infogan
    D.init              the initial weights of the class embedding of d_class=projection

Losses that G and D share
-------------------------
A recipe may have `shared_losses`, {name: f}: both networks minimise f(G, z, output), a Tensor of
shape () that is a mean over the images, where output is what D returns beside its logits of the
images G(z). The setting
NAME_weight is the weight of a loss; the log has it as d_NAME_loss and g_NAME_loss. An example is
infogan. g_class=concat, d_class=auxiliary and d_class=projection wrap G or D, and are refused then.

All random numbers must come from `rng`: the initial weights, and the later draws of layers such as
dropout, which keep `rng`. The initial parameters must be finite. A network that takes labels and is
a part of an `nn.Sequential` must set `conditional = True`.

`Recipe.build` checks all this; its errors say what to write.
"""

from tinygan.settings import setting

from .recipe import Recipe, Sizes
from .settings import Settings

__all__ = ["Recipe", "Settings", "Sizes", "setting"]
