"""Checks of losses and penalties of the user's own: their arguments, and what they return."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinygan.autograd import Tensor
from tinygan.autograd.checks import accepts
from tinygan.errors import InputError
from tinygan.gan.losses import Loss
from tinygan.gan.penalties import Penalty

from .own_penalty import complete


def checked_loss(loss: Loss, name: str, path: Path) -> Loss:
    """Return a Loss whose functions raise InputError unless they return a Tensor of shape ().

    name: of the loss in the file at `path`. Raises TypeError for functions that do not take
    (real_logits, fake_logits).
    """
    functions = {}
    for role in ("discriminator", "generator"):
        function = getattr(loss, role)
        if not callable(function) or not accepts(function, ("real_logits", "fake_logits"), {}):
            raise TypeError(
                f"{name}: discriminator and generator must be functions of logits, "
                "(real_logits, fake_logits)"
            )
        functions[role] = _checked(function, f"{path}: the {role} of {name}")
    return loss._replace(**functions)


def checked_penalty(penalty: Penalty, name: str, path: Path) -> Penalty:
    """Return the complete entry of a penalty (see `own_penalty.complete`), whose function raises
    InputError unless it returns a Tensor of shape (), and its new state if it has one. name: of the
    penalty in the file at `path`. Raises ValueError as `complete` does."""
    entry = complete(penalty)
    if entry.applied_to == "weights":  # it changes them
        return entry
    what = f"{path}: the function of {name}"
    return entry._replace(function=_checked(entry.function, what, bool(entry.state)))


def check_shared_losses(shared_losses: Any) -> None:
    """Raise TypeError or ValueError unless these are {name: function of (G, z, output)}."""
    if not isinstance(shared_losses, dict):
        raise TypeError("shared_losses of RECIPE must be a dict {name: function(G, z, output)}")
    for name, loss in shared_losses.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(f"the name of a shared loss must be a Python name, not {name!r}")
        if not callable(loss) or not accepts(loss, ("G", "z", "output"), {}):
            raise TypeError(
                f"the shared loss {name} of RECIPE must be a function of (G, z, output)"
            )


def _checked(function: Callable[..., Any], what: str, has_state: bool = False) -> Any:
    wanted = "a Tensor of shape (), such as mean(x)"
    if has_state:
        wanted = f"a pair: {wanted}, and the new state"

    @functools.wraps(function)
    def call(*arguments):
        try:
            result = function(*arguments)
        except (AttributeError, TypeError) as error:
            if arguments[0] is None and "None" in str(error):
                raise InputError(f"{what} reads the real logits: write paired=True") from error
            if "would cut the graph" in str(error):
                raise InputError(
                    f"{what} gets images with G's graph here (as with unroll), which NumPy would "
                    "cut: compute with tinygan.ops"
                ) from error
            raise
        is_pair = isinstance(result, tuple) and len(result) == 2
        value = result[0] if has_state and is_pair else result
        if not isinstance(value, Tensor) or value.shape or has_state > is_pair:
            kind = type(result).__name__
            shape = f" of shape {result.shape}" if isinstance(result, Tensor) else ""
            raise InputError(f"{what} returns a {kind}{shape}: it must return {wanted}")
        return result

    return call
