"""Read a picture file: any format that Pillow reads, as uint8, upright, in grey or RGB."""

import contextlib
import os
import warnings
from pathlib import Path
from typing import Any, Iterator, NamedTuple, Sequence

import numpy as np
from PIL import Image

from tinygan import screen
from tinygan.errors import InputError
from tinygan.files import open_file

# Formats that run another program (EPS), that Pillow only recognises, or that may unpack any number
# of bytes (FITS).
LEFT_OUT = {"EPS", "BUFR", "GRIB", "HDF5", "WMF", "MPEG", "FITS", "IPTC"}
MAX_PIXELS = 150_000_000  # as many as the largest cameras take
MAX_PIXELS_PER_BYTE = 8 * 1032  # of a file: pixels of one bit at deflate's best ratio,
HARMLESS_PIXELS = 1 << 20  # except for small pictures: one colour takes few bytes
GREY = {"1", "L", "LA", "La", "I", "F"}  # Pillow's modes of grey pictures; and those with I;16
WITH_ALPHA = {"LA", "La", "PA", "RGBA", "RGBa"}
# The tag of EXIF that says how the camera was held, and the transposition that undoes it.
ORIENTATION = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Header(NamedTuple):
    """What a picture file says about itself. height, width: in pixels, when it stands upright."""

    height: int
    width: int
    is_grey: bool


def size_text(size: Sequence[int]) -> str:
    """Return (height, width) as a text, such as "48x32"."""
    return f"{size[0]}x{size[1]}"


def suffixes() -> frozenset[str]:
    """Return the suffixes of the names of picture files, such as ".png"."""
    formats = set(_formats())
    known = Image.registered_extensions()
    return frozenset(suffix for suffix, name in known.items() if name in formats)


def read_header(path: str | Path) -> Header:
    """Return the Header of a picture file. Raises InputError if it is none, or claims more pixels
    than it is safe to decode."""
    with _opened(path) as image:
        # Some versions of Pillow exchange the sides of a TIFF here, others do when they decode it.
        width, height = (image.tag_v2[256], image.tag_v2[257]) if _is_tiff(image) else image.size
        if _orientation(image) >= 5:
            width, height = height, width
        return Header(height, width, _is_grey(image))


def read(
    path: str | Path, channels: int, size: tuple[int, int] | None = None, links: bool = True
) -> np.ndarray[Any, Any]:
    """Return a picture file as a uint8 image (H, W, channels), upright; of an animation, the first
    frame.

    channels: 1 for grey, 3 for RGB. Transparent pixels become white. size: crop the picture to the
    aspect of this (height, width), and resize it. links: the file and its folder may be links.
    Raises InputError if the file is not a picture, or claims more pixels than it is safe to decode.
    """
    with _opened(path, links) as image:
        orientation = 1 if _is_tiff(image) else _orientation(image)  # Pillow turns TIFFs itself
        if size:  # a JPEG file can be decoded at half its size, or a quarter
            height, width = size if orientation < 5 else size[::-1]
            shrink = min(image.width / width, image.height / height) / 2
            image.draft(None, (int(image.width / shrink), int(image.height / shrink)))
        image = _in_8_bits(image)
        if image.mode in WITH_ALPHA or "transparency" in image.info:
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image)
        image = image.convert("L" if channels == 1 else "RGB")
        if orientation in UPRIGHT:
            image = image.transpose(UPRIGHT[orientation])
        if size:
            image = fit(image, size)
        return np.asarray(image).reshape(image.height, image.width, channels)


def fit(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Crop a Pillow image in the middle to the aspect of size = (height, width), and resize it,
    with Lanczos's filter."""
    height, width = size
    scale = min(image.width / width, image.height / height)
    crop_width, crop_height = max(1, round(scale * width)), max(1, round(scale * height))
    left, top = (image.width - crop_width) // 2, (image.height - crop_height) // 2
    # (The parameter `box` of `resize` would let the pixels around it bleed in.)
    image = image.crop((left, top, left + crop_width, top + crop_height))
    return image.resize((width, height), Image.Resampling.LANCZOS)


def fit_arrays(images: np.ndarray[Any, Any], size: tuple[int, int]) -> np.ndarray[Any, Any]:
    """Return uint8 images (N, H, W, C) of 1 or 3 channels, cropped and resized as by `fit`."""
    if images.shape[1:3] == size:
        return images
    out = np.empty((len(images), *size, images.shape[3]), np.uint8)
    for image, target in zip(images, out):
        pixels = image[..., 0] if image.shape[2] == 1 else image
        target[:] = np.asarray(fit(Image.fromarray(pixels), size)).reshape(target.shape)
    return out


@contextlib.contextmanager
def _opened(path, links=True) -> Iterator[Any]:
    """Yield a picture file as a Pillow image, whose pixels are not decoded yet. An error of the
    block becomes an InputError."""
    try:
        # The library that reads TIFF files writes to stderr by itself.
        with screen.without_stderr(), open_file(path, follow=links, real_folder=not links) as file:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about flaws in files that Pillow can read
                with Image.open(file, formats=_formats()) as image:
                    per_byte = MAX_PIXELS_PER_BYTE * os.fstat(file.fileno()).st_size
                    limit = min(MAX_PIXELS, max(HARMLESS_PIXELS, per_byte))
                    if image.width * image.height > limit:
                        raise ValueError(
                            f"it claims to have {image.width} x {image.height} pixels, more than "
                            f"{limit:,}"
                        )
                    yield image
    except (InputError, MemoryError, NameError, ImportError):  # the last two: mistakes of ours
        raise
    except PermissionError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except Exception as error:  # decoders raise exceptions of many kinds for damaged files
        reason = getattr(error, "strerror", None) or error
        if isinstance(error, Image.UnidentifiedImageError):
            reason = "its format is unknown"
        raise InputError(
            f"{path} is not a picture that can be read ({reason}): give a PNG or JPEG file"
        ) from None


def _formats():
    Image.init()
    return sorted(set(Image.OPEN) - LEFT_OUT)


def _is_tiff(image):
    return image.format == "TIFF"


def _is_grey(image):
    return image.mode in GREY or image.mode.startswith("I;16")


def _orientation(image):
    """Return the orientation that a picture's EXIF data give, 1 to 8; 1 is upright."""
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except Exception:  # damaged EXIF data: the picture itself may be whole
        return 1
    return orientation if orientation in UPRIGHT else 1


def _in_8_bits(image):
    """Return a picture with 8 bits for each number: 0..65535 is scaled to 0..255, and so is 0..1 of
    floats."""
    if image.mode == "F":
        pixels = np.asarray(image)
        if not (pixels.min() >= 0 and pixels.max() <= 1):
            raise ValueError(f"its values are {pixels.min():g} to {pixels.max():g}, not 0 to 1")
        return Image.fromarray(np.rint(pixels * 255).astype(np.uint8))
    if image.mode == "I" or image.mode.startswith("I;16"):
        pixels = np.asarray(image).astype(np.int64)
        if pixels.min() < 0 or pixels.max() > 65535:
            raise ValueError(f"its values are {pixels.min()} to {pixels.max()}, not 0 to 65535")
        return Image.fromarray(((pixels + 128) // 257).astype(np.uint8))
    return image
