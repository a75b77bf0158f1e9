"""Which images the networks can have, and what helps where images are of another size.

A size is a pair (height, width), in pixels. Arguments may also be a number n, which means n x n.
"""

from typing import Callable, Sequence

from tinygan.errors import InputError
from tinygan.ops.bilinear import as_pair

Size = tuple[int, int]
MAX_SIDE = 1024  # config.json and checkpoints hold no larger images
MAX_PAD = 64  # of the setting pad


class SizeError(InputError):
    """Images have a size that the networks cannot have.

    size: the size. problem: what is wrong with it. long_step: a function of the shorter side; the
    longer side must be a multiple of what it returns; 0 means that no longer side fits. message: by
    default, it names sizes that fit. pad: the value of the setting pad that makes these images fit,
    if `Recipe.build` has found one.
    """

    def __init__(
        self,
        size: Size,
        problem: str,
        long_step: Callable[[int], int],
        message: str = "",
        pad: int | None = None,
    ) -> None:
        self.size, self.problem, self.long_step, self.pad = size, problem, long_step, pad
        sizes = " or ".join(map(text, self.sizes_near(size))) or "other"
        super().__init__(
            message or f"images of {text(size)} pixels {problem}: choose {sizes} pixels"
        )

    def fits(self, size: Size) -> bool:
        """Return whether images of another size fit."""
        short, long = sorted(size)
        step = self.long_step(short)
        return step > 0 and long % step == 0

    def sizes_near(self, size: Size) -> list[Size]:
        """Return the next smaller and the next larger size that fit, with about the same ratio of
        height to width."""
        (short, long), found = sorted(size), []
        for sides in (range(short, 3, -1), range(short, MAX_SIDE + 1)):
            if side := next(filter(self.long_step, sides), 0):
                step = self.long_step(side)
                other = step * round(long * side / max(short, 1) / step)
                found.append((other, side) if size[0] > size[1] else (side, other))
        return [pair for pair in dict.fromkeys(found) if max(pair) <= MAX_SIDE]

    def with_advice(self, pad: int) -> "SizeError":
        """Return the same error with advice that helps: a value of the setting pad, or else other
        sizes, and recipes that take images of this size.

        pad: the present setting, which the size includes. A border is advised only if it is narrow:
        two pixels, or at most a quarter of the shorter side. (The networks of other sizes are not
        built to try them: they may be huge.)
        """
        height, width = size = self.size[0] - 2 * pad, self.size[1] - 2 * pad
        padded = f", {text(self.size)} with pad={pad}," if pad else ""
        message = f"images of {text(size)} pixels{padded} {self.problem}: "
        widest = min(max(2, min(size) // 4), MAX_PAD)
        pads = (n for n in range(widest + 1) if self.fits((height + 2 * n, width + 2 * n)))
        fitting_pad = next(pads, None)
        if fitting_pad is None:
            sizes = " or ".join(map(text, self.sizes_near(size)))
            message += f"resize them (--image-size {sizes or 'HxW'}){' and set pad=0' * (pad > 0)}"
            message += ", or use another recipe: gan takes any size"
            if height % 4 == width % 4 == 0:
                message += ", dcgan and quick take multiples of 4"
        else:
            message += f"set pad={fitting_pad}"
        return SizeError(self.size, self.problem, self.long_step, message, fitting_pad)


def text(size: Size) -> str:
    """Return a size as text, such as 32x48."""
    return f"{size[0]}x{size[1]}"


def halved(size: int | Size, times: int) -> Size:
    """Return a size after `times` halvings. Raises SizeError if a side cannot be halved that
    often."""
    height, width = as_pair(size)
    step = 1 << times
    if min(height, width) < step or height % step or width % step:
        long_step = lambda short: 0 if short % step else step
        raise SizeError((height, width), f"cannot be halved {times} times", long_step)
    return height // step, width // step


def step_from_4(short: int) -> int:
    """Return what the longer side must be a multiple of in images that start at 4 pixels: 2 for a
    shorter side of 8, 4 for 16, 8 for 32; 0 for a shorter side that is not 4, doubled."""
    return short // 4 if short >= 8 and short & (short - 1) == 0 else 0


def start_shape(
    size: int | Size, long_step: Callable[[int], int] = step_from_4
) -> tuple[Size, int]:
    """Return ((h, w), n): the size that grows to `size` when it is doubled n times, where the
    shorter side of (h, w) is 4. For example, 32x48 is 4x6, doubled three times.

    Raises SizeError for any other size. long_step: says which sizes fit, for its advice.
    """
    height, width = as_pair(size)
    short, long = sorted((height, width))
    n = (short // 4).bit_length() - 1
    if n < 0 or short != 4 << n or long % (1 << n):
        start = "4x4" if height == width else "4xN or Nx4"
        raise SizeError((height, width), f"are not {start}, doubled several times", long_step)
    return (height >> n, width >> n), n


def step_to_7(short: int) -> int:
    """Return what the longer side must be a multiple of in images that are halved until the shorter
    side has 4 to 7 pixels; 0 for a shorter side that does not allow it, such as 30."""
    n = (short // 4).bit_length() - 1
    return 0 if n < 0 or short % (1 << n) else 1 << n


def halvings(size: int | Size) -> int:
    """Return how many times a size is halved until its shorter side has 4 to 7 pixels: 2 for 28x28.
    Raises SizeError if it cannot be halved that often."""
    short, long = sorted(as_pair(size))
    step = step_to_7(short)
    if not step or long % step:
        raise SizeError(as_pair(size), "cannot be halved down to 4 to 7 pixels", step_to_7)
    return step.bit_length() - 1


def smallest_map(size: int | Size, widths: Sequence[int]) -> Size:
    """Return the size of the first of several feature maps, each of them twice as large as the one
    before, up to `size`. widths: their channels. Raises InputError if there are more or fewer maps
    than that takes."""
    start, n = start_shape(size)
    if len(widths) != n + 1:
        raise InputError(
            f"images of {text(as_pair(size))} pixels need widths for the {n + 1} sizes from "
            f"{text(start)}, but there are {len(widths)} widths"
        )
    return start


def check_images(image_shape: tuple[int, ...], pad: int) -> None:
    """Raise InputError for images (H, W, C) that no recipe takes: those with other channels than
    one (grey) or three (RGB), and those that are too large for the files of a run. pad: the setting
    pad, whose border will be added."""
    if len(image_shape) != 3:  # these are no images
        return
    height, width, channels = image_shape
    if channels not in (1, 3):
        advice = {
            2: "leave one of them out: images[..., :1]",
            4: "leave out the alpha channel: images[..., :3]",
        }
        raise InputError(
            f"images must have one channel (grey) or three (RGB); no recipe takes {channels}: "
            + advice.get(channels, "choose one or three of them, such as images[..., :3]")
        )
    if max(height, width) + 2 * pad > MAX_SIDE:
        resize = f"resize them to at most {MAX_SIDE}x{MAX_SIDE} (--image-size)"
        too_large = f"are too large{f' with pad={pad}' * (pad > 0)}: no recipe takes them: "
        raise InputError(
            f"images of {height}x{width} pixels {too_large}"
            + (resize if max(height, width) > MAX_SIDE else "set pad=0")
        )
