"""Weights out and in: safetensors files with the names and axes that PyTorch modules have.

    layout.py      PyTorch's names and axes of each layer: one table
    flattened.py   where feature maps are flattened, so that their order matters
    reading.py     reading a safetensors file, which anybody may have written

`export_weights` and `import_weights` need the package safetensors.
"""

import json
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinygan import nn
from tinygan.errors import InputError, quoted
from tinygan.files import replacing, schema, user_path
from tinygan.version import __version__

from .layout import OLDER_NAMES, counters, entries
from .reading import BYTES, Header, read_arrays, read_header, some

__all__ = ["export_weights", "import_weights"]

FORMAT = 1  # the version of the layout, in the metadata of a file


def export_weights(
    network: nn.Module,
    path: str | Path,
    inputs: tuple[Any, ...] | None = None,
    metadata: Mapping[str, str] = {},
) -> None:
    """Write the parameters and buffers of a network to `path`, NAME.safetensors, which is replaced.

    A PyTorch module of the same structure, for images as NCHW, loads it with

        module.load_state_dict(safetensors.torch.load_file(path))

    Names and axes are those of PyTorch's layers (see tinygan/weights/layout.py). Layers that
    PyTorch does not have keep their names, and their axes but for the order of height, width and
    channels in feature maps. The values are those of the network, in its dtype.

    inputs: the arguments of the network's `forward` (arrays, for a batch of one), which show where
    it flattens feature maps. A network with an attribute `latent` or `image_shape`, or without
    Linear layers, needs none.
    metadata: texts to store in the file, beside the version of tinygan and the patterns of the
    axes.
    Raises InputError if the package safetensors is not installed, if a weight is NaN or infinite,
    if inputs are needed, or if the file cannot be written.
    """
    _check_network("export_weights", network)
    package = _safetensors()
    path = user_path(path)
    if path.suffix != ".safetensors":
        raise InputError(f"{path}: the name must end in .safetensors")
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist")
    found, state = entries(network, inputs), network.state_dict()
    arrays = {e.name: np.array(e.to_torch(state[e.path]), order="C") for e in found}
    arrays |= {name: np.zeros((), np.int64) for name in counters(network)}
    if len(arrays) < len(found) + len(counters(network)):
        raise InputError(f"two arrays of {type(network).__name__} would have the same name")
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise InputError(f"cannot export {name}: it holds NaN or infinity")
    layout = {e.name: e.pattern for e in found if e.pattern}
    notes = {
        "format": "pt",  # what other programs ask for
        "tinygan": __version__,
        "tinygan_format": str(FORMAT),
        "tinygan_layout": json.dumps(layout),
        **metadata,
    }
    with replacing(path) as file:
        file.write(package.numpy.save(arrays, notes))


def import_weights(
    network: nn.Module, path: str | Path, inputs: tuple[Any, ...] | None = None
) -> None:
    """Set the parameters and buffers of a network to those in a safetensors file, which
    `export_weights` or PyTorch (safetensors.torch.save_file) has written.

    Floating-point numbers of another precision are converted to the network's dtype. The file may
    have the names of nn.utils.spectral_norm or of nn.utils.parametrizations.spectral_norm, and may
    lack num_batches_tracked. inputs: as for `export_weights`.
    Raises InputError, and changes nothing, if the package safetensors is not installed, if the file
    cannot be read, or if something in it does not fit the network.
    """
    _check_network("import_weights", network)
    _safetensors()
    path, own = user_path(path), network.state_dict()
    header = read_header(path)
    _check_version(path, header)
    fitting, read, missing, wrong = {}, set(counters(network)), [], []
    for entry in entries(network, inputs):
        name = next((n for n in _names(entry.name) if n in header.arrays), None)
        if name is None:
            missing.append(schema.shown_name(entry.name))
            continue
        read.add(name)
        dtype, shape = header.arrays[name]
        if shape != entry.shape:
            wrong.append(f"{schema.shown_name(name)} has shape {shape}, not {entry.shape}")
        elif dtype not in BYTES:
            wrong.append(
                f"{schema.shown_name(name)} holds {schema.shown_name(dtype)}: save it as float32, "
                "as module.float() has it"
            )
        else:
            fitting[name] = entry
    unknown = [schema.shown_name(name) for name in header.arrays if name not in read]
    faults = [("it lacks ", missing, 5), ("it has unexpected ", unknown, 5), ("", wrong, 3)]
    if texts := [what + some(names, most) for what, names, most in faults if names]:
        raise InputError(f"{path} does not fit {type(network).__name__}: {'; '.join(texts)}")
    state = {}
    for name, array in read_arrays(path, fitting).items():
        entry = fitting[name]
        with np.errstate(over="ignore"):
            array = array.astype(own[entry.path].dtype)
        if not np.isfinite(array).all():
            raise InputError(f"{path}: {name} holds NaN or infinity: export the weights again")
        if entry.path.endswith("running_var") and array.min(initial=0) < 0:
            raise InputError(f"{path}: {name} holds negative variances: export the weights again")
        state[entry.path] = entry.from_torch(array)
    network.load_state_dict(state)


def _check_network(function, network):
    if not isinstance(network, nn.Module):
        raise InputError(
            f"{function}(network, path): the network is a {type(network).__name__}, not an "
            "nn.Module, such as run.G"
        )


def _names(name):
    """Return the names under which an array may be in a file."""
    return [name, *(name.replace(a, b) for a, b in OLDER_NAMES.items() if name.endswith(a))]


def _check_version(path: Path, header: Header) -> None:
    version = header.metadata.get("tinygan_format", str(FORMAT))
    if version != str(FORMAT):
        raise InputError(
            f"{path} has version {version[:20]!r} of the layout, which tinygan {__version__} does "
            "not know: update tinygan, or export the weights again"
        )


def _safetensors() -> types.ModuleType:
    """Return the package safetensors, with its module `numpy`."""
    try:
        import safetensors.numpy
    except ImportError:
        raise InputError(
            "to export and import weights, tinygan needs the package safetensors: "
            f"{quoted(sys.executable)} -m pip install safetensors"
        ) from None
    return safetensors
