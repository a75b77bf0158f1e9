"""Reading a safetensors file, which anybody may have written.

The file begins with the length of its header (8 bytes) and the header, JSON that gives the dtype,
the shape and the place of each array; the values follow. The header is checked before anything
else is read, and no more is read than a network can take.
"""

import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinygan.errors import InputError, one_line
from tinygan.files import open_file, schema

HEADER_BYTES = 4 << 20  # an honest header has about 100 bytes for each array: 50 kB for stylegan2
COUNT = schema.integer(0, 1 << 48)
BYTES = {"F64": 8, "F32": 4, "F16": 2}  # of a number, for the dtypes that are read


class Field(NamedTuple):
    """An array of a file. dtype: as the file calls it, such as "F32"."""

    dtype: str
    shape: tuple[int, ...]


class Header(NamedTuple):
    """arrays: {name: Field}. metadata: {name: text}."""

    arrays: dict[str, Field]
    metadata: dict[str, str]


FIELD = schema.record(
    {
        "dtype": schema.text(20),
        "shape": schema.items(COUNT, 16),
        "data_offsets": schema.sequence(COUNT, COUNT),
    }
)
METADATA = schema.record({}, others=schema.text(1 << 20))


def read_header(path: Path) -> Header:
    """Return the Header of a safetensors file. Raises InputError if it is none."""
    try:
        with open_file(path, follow=True) as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(HEADER_BYTES, size - 8):
                raise ValueError("its header is cut short, or too long")
            content = schema.parse(file.read(length))
        if type(content) is not dict:
            raise ValueError("its header is no JSON object")
        METADATA(metadata := content.pop("__metadata__", {}), "__metadata__")
        arrays = {}
        for name, field in content.items():
            FIELD(field, schema.shown_name(name))
            arrays[name] = _field(name, field, size - 8 - length)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except InputError:  # it is a folder, say
        raise
    except ValueError as error:
        raise _damaged(path, error) from None
    return Header(arrays, metadata)


def _field(name, field, size):
    """Return a Field. Raises ValueError if its values are not within the `size` bytes of values, or
    are not as many as its shape says."""
    dtype, shape, (start, end) = field["dtype"], tuple(field["shape"]), field["data_offsets"]
    if not start <= end <= size or end - start != math.prod(shape) * BYTES.get(dtype, 0):
        if dtype in BYTES or end > size:
            raise ValueError(f"{schema.shown_name(name)} is not where its header says")
    return Field(dtype, shape)


def read_arrays(path: Path, names: Iterable[str]) -> dict[str, np.ndarray[Any, Any]]:
    """Return {name: array} of some arrays of a file whose header has been checked. Raises
    InputError if the file is damaged."""
    import safetensors

    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in names}
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise _damaged(path, error) from None


def some(texts: Sequence[str], most: int) -> str:
    """Return the first texts of a list as one, and the number of the others."""
    return ", ".join(texts[:most]) + f" and {len(texts) - most} more" * (len(texts) > most)


def _damaged(path, reason):
    return InputError(
        f"{path} is not a safetensors file, or is damaged ({one_line(str(reason), 200)}): "
        "export the weights again"
    )
