"""One paper, one file: its networks, its settings, its recipe, and the reasons for its constants.

    networks of their own        gan, dcgan, sngan, progan, biggan, stylegan, stylegan2
    another way to train these   quick, lsgan, wgan, wgan_gp, cgan, acgan, projection
    what they are made with      recipe (settings -> networks), settings, growth

What a pair of networks must have
---------------------------------
A recipe's function `networks(s, sizes, rng)` returns (G, D), two `nn.Module`s, made for the
settings `s` and for `sizes` (see `recipe.Sizes`). N is the number of images or latents in a batch.

    G.latent            the length of its latents: sizes.latent
    G.classes           the number of classes that it takes labels of: sizes.g_classes, or None
    G(z), G(z, labels)  latents (N, latent), and classes (N,) if sizes.g_classes is a number
                        -> images (N, H, W, C), about [-1, 1]
    D(x), D(x, labels)  images (N, H, W, C), and classes (N,) if sizes.d_classes is a number
                        -> logits (N, ...), positive for real; with d_class=auxiliary, a pair:
                        (logits, class logits (N, classes))

    D.image_shape       (H, W, C) of its images; a letter stands for any size: d_class=concat needs
                        it, and D's refusal of other images (`take`)

    d_class=projection and d_class=auxiliary need
    D.features(x)       its last hidden layer, (N, *feature_shape)
    D.feature_shape     the shape of the features of one image
    D.score(features)   the logits, so that D(x) is D.score(D.features(x))

    optional
    G.reads_in_parts    True where only the first part of z enters the first layer
    D.init              the initial weights of the class embedding of d_class=projection

All random numbers come from `rng`: the initial weights, and what layers such as dropout draw later,
for which they keep `rng`. Parameters begin finite. A network that is a part of an `nn.Sequential`
and takes labels says so by `conditional = True`.

`Recipe.build` checks this, and says what to write where something is missing.
"""

import numpy as np

from tinygan import nn
from tinygan.autograd import Tensor, no_grad
from tinygan.backend import to_numpy, xp
from tinygan.errors import InputError

NEEDED_OF_D = {
    "concat": ("image_shape",),
    "auxiliary": ("features", "feature_shape", "score"),
    "projection": ("features", "feature_shape", "score"),
}
WHAT_TO_WRITE = {
    "image_shape": "write self.image_shape = (height, width, channels)",
    "features": "define features(self, x), the last hidden layer",
    "feature_shape": "write self.feature_shape = the shape of the features of one image",
    "score": "define score(self, features), which makes the logits of them",
}


def check_attributes(G, D, sizes, d_class):
    """Raises InputError if G or D is no Module, or lacks an attribute that the settings need."""
    for role, network in (("G", G), ("D", D)):
        if not isinstance(network, nn.Module):
            raise InputError(f"{role} is a {type(network).__name__}: derive it from nn.Module")
    for name, source in (("latent", "latent"), ("classes", "g_classes")):
        value = getattr(sizes, source)
        if not hasattr(G, name) or getattr(G, name) != value:
            has = f"{name} = {getattr(G, name)!r}" if hasattr(G, name) else f"no attribute {name}"
            raise InputError(
                f"G ({type(G).__name__}) has {has}, and these settings need "
                f"{value!r}: write self.{name} = sizes.{source}"
            )
    for name in NEEDED_OF_D.get(d_class, ()):
        if not hasattr(D, name):
            raise InputError(
                f"D ({type(D).__name__}) has no attribute {name}, which "
                f"d_class={d_class} needs: {WHAT_TO_WRITE[name]}"
            )


def check_draws(role, network, twin, rng):
    """Raises InputError if a weight is not finite, or if not all that is random comes from `rng`.

    twin: the same network, built once more from a copy of `rng` as it was before.
    """
    again = twin.state_dict()
    for path, parameter in network.named_parameters():
        if not np.isfinite(to_numpy(parameter.data)).all():
            raise InputError(f"{role}.{path} begins with values that are NaN or infinite")
    for path, array in network.state_dict().items():
        if path not in again or not np.array_equal(array, again[path], equal_nan=True):
            raise InputError(
                f"{role}.{path} is not the same when it is drawn again from the same "
                "seed: give the layer rng=rng, and draw nothing from elsewhere"
            )
    for path, module in network.modules():
        for name, value in vars(module).items():
            if isinstance(value, np.random.Generator) and value is not rng:
                where = ".".join(filter(None, (role, path, name)))
                raise InputError(
                    f"{where} is a generator of its own, which a resumed run would "
                    "start anew: give the layer rng=rng"
                )


def check_calls(G, D, image_shape, latent, classes):
    """Raises InputError if G, in evaluation mode, does not turn two latents into images
    (2, *image_shape), or D these into logits. classes: their number, or None."""
    labels = () if classes is None else (xp.zeros(2, int),)
    with no_grad(), np.errstate(all="ignore"):
        images = G.eval()(Tensor(xp.zeros((2, latent), "float32")), *labels)
        if getattr(images, "shape", None) != (2, *image_shape):
            raise InputError(
                f"from 2 latents, G makes {_shape(images)}: it must return images "
                f"{(2, *image_shape)}"
            )
        judged = D.eval()(images, *labels)
    logits, *class_logits = judged if isinstance(judged, tuple) else (judged,)
    if getattr(logits, "shape", ())[:1] != (2,):
        raise InputError(
            f"from 2 images, D makes {_shape(logits)}: it must return logits (2,), or (2, ...)"
        )
    for found in class_logits:
        if getattr(found, "shape", None) != (2, classes):
            raise InputError(
                f"from 2 images, D makes {_shape(found)} beside its logits: it must "
                f"return class logits (2, {classes})"
            )


def _shape(found):
    return f"an array {found.shape}" if hasattr(found, "shape") else repr(found)
