"""A penalty of the user's own: the setting `penalty`, whose weight is penalty_weight."""

from typing import Any

from tinygan.errors import InputError
from tinygan.gan.penalties import APPLIED_TO, IMAGES, LATENTS, Penalty, check
from tinygan.settings import FromFile, not_loaded

OWN_STATE = "own_penalty_state"  # the name of its state


def complete(entry: Penalty) -> Penalty:
    """Return the complete entry of a penalty of the user's own, whose weight is the setting
    penalty_weight (see `Penalty`).

    Fields that were left out: it trains the networks that it can train, it is lazy if it can be,
    and the log has its value as own_penalty (and its state as own_penalty_state). Raises ValueError
    as `check` does.
    """
    if entry.logged_as is not None:
        raise ValueError(f"penalty {entry.name}: leave out logged_as, it is logged as own_penalty")
    if entry.start:
        raise ValueError(
            f"penalty {entry.name}: leave out start: give its weight a schedule instead"
        )
    separable = entry.applied_to in (*IMAGES, *LATENTS)
    whole = entry._replace(
        name="penalty_weight",
        source=entry.source or "own",
        meaning=entry.meaning or "own",
        trains=entry.trains or APPLIED_TO.get(entry.applied_to, ("",))[0],
        lazy=separable if entry.lazy is None else entry.lazy,
        state=OWN_STATE if entry.state else "",
    )
    whole = whole._replace(logged_as=("own_penalty", OWN_STATE)[: whole.logged_values])
    try:
        check(whole)
    except ValueError as error:
        raise ValueError(str(error).replace("penalty_weight", entry.name, 1)) from None
    return whole


def check_weight(settings: Any) -> None:
    """Raise InputError if the setting `penalty` is not loaded, or if there is none to which the
    setting penalty_weight applies."""
    if settings.penalty and not isinstance(settings.penalty, FromFile):
        raise not_loaded("penalty", settings.penalty)
    if not settings.penalty and settings.penalty_weight != 1:
        raise InputError(
            f"setting penalty_weight={settings.penalty_weight} is the weight of a penalty of your "
            "own: set penalty=FILE.py:NAME as well, or leave it out"
        )
