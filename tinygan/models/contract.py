"""The checks of what a pair of networks must have. The docstring of `tinygan.models` lists it."""

import numpy as np

from tinygan import nn
from tinygan.autograd import Tensor, no_grad
from tinygan.backend import Rng, to_numpy, xp
from tinygan.errors import InputError

REQUIRED_OF_D = {  # by the setting d_class
    "concat": ("image_shape",),
    "auxiliary": ("features", "feature_shape", "score"),
    "projection": ("features", "feature_shape", "score"),
}
WHAT_TO_WRITE = {
    "image_shape": "write self.image_shape = (height, width, channels)",
    "features": "define features(self, x), the last hidden layer",
    "feature_shape": "write self.feature_shape = the shape of the features of one image",
    "score": "define score(self, features), which computes the logits",
}


def check_pair(pair):
    """Return what the networks function of a recipe has returned. Raises InputError unless these
    are two objects."""
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        many = f" of {len(pair)}" if isinstance(pair, (tuple, list)) else ""
        raise InputError(
            f"networks returns a {type(pair).__name__}{many}: it must return (G, D), two networks"
        )
    return pair


def check_attributes(G, D, sizes, d_class: str) -> None:
    """Raise InputError if G or D is not a Module, or lacks an attribute that the settings need."""
    for role, network in (("G", G), ("D", D)):
        if not isinstance(network, nn.Module):
            raise InputError(f"{role} is a {type(network).__name__}: derive it from nn.Module")
    for name, size in (("latent", "latent"), ("classes", "g_classes")):
        value = getattr(sizes, size)
        if not hasattr(G, name) or getattr(G, name) != value:
            has = f"{name} = {getattr(G, name)!r}" if hasattr(G, name) else f"no attribute {name}"
            raise InputError(
                f"G ({type(G).__name__}) has {has}, but these settings need "
                f"{value!r}: write self.{name} = sizes.{size}"
            )
    for name in REQUIRED_OF_D.get(d_class, ()):
        if not hasattr(D, name):
            raise InputError(
                f"D ({type(D).__name__}) has no attribute {name}, which "
                f"d_class={d_class} needs: {WHAT_TO_WRITE[name]}"
            )


def check_draws(role: str, network: nn.Module, twin: nn.Module, rng: Rng) -> None:
    """Raise InputError if a parameter is not finite, or if random numbers do not come from `rng`.

    role: "G" or "D". twin: the same network, built again from a copy of the generator in the state
    before.
    """
    twin_state = twin.state_dict()
    for path, parameter in network.named_parameters():
        if not np.isfinite(to_numpy(parameter.data)).all():
            raise InputError(f"{role}.{path} has initial values that are NaN or infinite")
    for path, array in network.state_dict().items():
        if path not in twin_state or not np.array_equal(array, twin_state[path], equal_nan=True):
            raise InputError(
                f"{role}.{path} differs when it is drawn again from the same seed: "
                "pass rng=rng to the layer, and draw all random numbers from rng"
            )
    for path, module in network.modules():
        for name, value in vars(module).items():
            if isinstance(value, np.random.Generator) and value is not rng:
                where = ".".join(filter(None, (role, path, name)))
                raise InputError(
                    f"{where} is another generator than rng, and a resumed run would restart it: "
                    "pass rng=rng to the layer"
                )


def check_calls(
    G: nn.Module,
    D: nn.Module,
    image_shape: tuple[int, ...],
    latent: int,
    classes: int | None,
    pack: int = 1,
) -> None:
    """Raise InputError if G, in evaluation mode, does not generate images (n, *image_shape) from n
    latents, or if D does not return the logits of 2 packs of them. classes: the number of classes,
    or None. pack: the number of images in a pack."""
    n = 2 * pack
    labels = () if classes is None else (xp.zeros(n, int),)
    with no_grad(), np.errstate(all="ignore"):
        images = G.eval()(Tensor(xp.zeros((n, latent), "float32")), *labels)
        if not isinstance(images, Tensor) or images.shape != (n, *image_shape):
            raise InputError(
                f"from {n} latents, G returns {_describe(images)}: it must return images "
                f"{(n, *image_shape)}"
            )
        output = D.eval()(images, *labels)
    logits, *class_logits = output if isinstance(output, tuple) else (output,)
    if not isinstance(logits, Tensor) or logits.shape[:1] != (2,):
        raise InputError(
            f"from {n} images, D returns {_describe(logits)}: it must return logits (2,), or (2, "
            "...)"
        )
    for array in class_logits:
        if not isinstance(array, Tensor) or array.shape != (2, classes):
            raise InputError(
                f"from 2 images, D returns {_describe(array)} beside its logits: it must "
                f"return class logits (2, {classes})"
            )


def _describe(result):
    kind = "a Tensor" if isinstance(result, Tensor) else "no Tensor but an array"
    return f"{kind} {result.shape}" if hasattr(result, "shape") else repr(result)
