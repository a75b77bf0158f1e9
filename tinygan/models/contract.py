"""The checks of what a pair of networks must have. The docstring of `tinygan.models` lists it."""

import dataclasses

import numpy as np

from tinygan import nn
from tinygan.autograd import Tensor, no_grad, tensor
from tinygan.backend import Rng, to_numpy, xp
from tinygan.errors import InputError
from tinygan.ops import concatenate

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


def check_shared_losses(name: str, shared_losses, s) -> None:
    """Raise InputError if a loss that G and D share has no setting for its weight, or if the
    settings s wrap a network that it needs as it is. name: of the recipe."""
    groups = {field.name: field.metadata["group"] for field in dataclasses.fields(s)}
    for loss in shared_losses:
        if loss in ("class", "penalty"):
            raise InputError(
                f"the recipe {name} has a shared loss named {loss}, but {loss}_weight is a setting "
                "of all recipes: choose another name"
            )
        if groups.get(f"{loss}_weight") != "loss":  # a resumed run may change those of this group
            raise InputError(
                f"the recipe {name} has the shared loss {loss}, but no setting for its weight: "
                f'write {loss}_weight: float = setting(..., group="loss") in its settings'
            )
    if shared_losses and s.pack > 1:
        raise InputError(
            f"setting pack={s.pack}: the shared losses of {name} ({', '.join(shared_losses)}) need "
            "an output for each image: set pack=1"
        )
    if shared_losses and (s.g_class == "concat" or s.d_class in ("auxiliary", "projection")):
        raise InputError(
            f"settings g_class={s.g_class} d_class={s.d_class}: the shared losses of {name} "
            f"({', '.join(shared_losses)}) need G and the second output of D, which these settings "
            "replace: choose others, such as g_class=none d_class=none"
        )


def check_calls(
    G: nn.Module, D: nn.Module, image_shape: tuple[int, ...], s, classes: int | None, shared_losses
) -> None:
    """Raise InputError if G, in evaluation mode, does not generate images (n, *image_shape) from n
    latents, if D does not return the logits of 2 packs of them, or if something is wrong with D's
    second output or with the losses of it. s: the settings, with the number of images in a pack.
    classes: the number of classes, or None."""
    n = 2 * s.pack
    labels = () if classes is None else (xp.zeros(n, int),)
    with no_grad(), np.errstate(all="ignore"):
        z = Tensor(xp.zeros((n, s.latent), "float32"))
        images = G.eval()(z, *labels)
        if not isinstance(images, Tensor) or images.shape != (n, *image_shape):
            raise InputError(
                f"from {n} latents, G returns {_describe(images)}: it must return images "
                f"{(n, *image_shape)}"
            )
        output = D.eval()(images, *labels)
    logits, *others = output if isinstance(output, tuple) else (output,)
    if not isinstance(logits, Tensor) or logits.shape[:1] != (2,):
        packs = f"{n} images" if s.pack == 1 else f"2 packs of {s.pack} images"
        raise InputError(
            f"from {packs}, D returns {_describe(logits)}: it must return logits (2,), or (2, ...)"
        )
    if s.d_class == "auxiliary":
        return  # D is an AuxiliaryClassifier, whose second output is that of our own layer
    beside = " and ".join(map(_describe, others)) or "nothing"
    beside = f"from {n} images, D returns {beside} beside its logits"
    if others and not shared_losses:
        raise InputError(
            f"{beside}, which no loss would use: return the logits alone, or write the loss of the "
            "other output into the recipe's shared_losses"
        )
    if not shared_losses:
        return
    if len(others) != 1 or not isinstance(others[0], Tensor) or others[0].shape[:1] != (2,):
        raise InputError(
            f"{beside}: for the shared losses ({', '.join(shared_losses)}), it must return a pair "
            "(logits, output), where output is a Tensor (2, ...)"
        )
    for name, loss in shared_losses.items():
        output = tensor(others[0].data, requires_grad=True)
        with np.errstate(all="ignore"):
            value = loss(G, z, output)
            twice = loss(G, concatenate([z, z]), concatenate([output, output]))
        if not isinstance(value, Tensor) or value.shape:
            raise InputError(
                f"the shared loss {name} returns {_describe(value)}: it must return a Tensor of "
                "shape (), such as mean(x)"
            )
        if not value.requires_grad:
            raise InputError(
                f"the shared loss {name} does not depend on D's output: compute it from `output`, "
                "without detach()"
            )
        if not np.isclose(value.item(), twice.item(), rtol=1e-3, equal_nan=True):
            raise InputError(
                f"the shared loss {name} is {value.item():.4g} for some images, and "
                f"{twice.item():.4g} if each comes twice: it must be a mean over the images"
            )


def _describe(result):
    kind = "a Tensor" if isinstance(result, Tensor) else "no Tensor but an array"
    return f"{kind} {result.shape}" if hasattr(result, "shape") else repr(result)
