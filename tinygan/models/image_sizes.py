"""Which sizes of images a network can have, and what helps where images have another size."""

from typing import Callable

from tinygan.errors import InputError


class SizeError(InputError):
    """Images whose side, in pixels, is no size that a network can have.

    problem: what is wrong with this side. fits: a function that tells whether another side fits.
    """

    def __init__(self, side: int, problem: str, fits: Callable[[int], bool]) -> None:
        self.problem, self.fits = problem, fits
        near = [next(filter(fits, sides), 0) for sides in (range(side, 3, -1), range(side, 4097))]
        self.sides = [n for n in near if n]  # the next smaller and the next larger one that fit
        choices = " or ".join(map(str, self.sides)) or "other"
        super().__init__(f"images of {side} pixels {problem}: choose {choices} pixels")


def doubled_from_4(side: int) -> bool:
    """Return whether a side is 4 pixels, doubled at least once: 8, 16, 32, ..."""
    return side >= 8 and side & (side - 1) == 0


def advice(error: SizeError, pad: int, image_shape: tuple[int, ...]) -> str:
    """Return the message of a SizeError, with advice that helps: a value of the setting pad, or
    other sizes.

    pad: the present setting. image_shape: the shape of the padded images. (The networks of other
    sizes are not built to try them: they may be huge.)
    """
    height, width = image_shape[:2]
    side = height - 2 * pad
    text = f"images of {height} pixels {error.problem}: "
    if pad:
        text = f"images of {side} pixels, {height} with pad={pad}, {error.problem}: "
    fitting = [n for n in range(65) if side + 2 * n >= 4 and error.fits(side + 2 * n)]
    if fitting and height == width:
        return f"{text}set pad={fitting[0]}"
    resized = " or ".join(f"{n}x{n}" for n in error.sides) or "another size"
    return f"{text}resize the images to {resized}{' and set pad=0' * (pad > 0)}"
