"""How PyTorch names the weights of each layer, and how it orders their axes.

PyTorch has images as NCHW and a layer's outputs before its inputs. A pattern says how an array of
tinygan becomes one of PyTorch: "h w i o -> o i h w" for the weight of a convolution. Brackets join
axes: "(h w i) -> (i h w)". What is in no table below keeps its name and its axes.

    Linear                             weight (in, out)               -> (out, in)
    Conv2d, and those of StyleGAN2     weight (kh, kw, in/groups, out) -> (out, in/groups, kh, kw)
    ConvTranspose2d                    weight (kh, kw, out/groups, in) -> (in, out/groups, kh, kw)
    BatchNorm                          gain -> weight, and num_batches_tracked is added (0)
    Equalized                          layer.weight -> weight, as it is stored: not yet scaled
    SpectralNorm                       the names of nn.utils.parametrizations.spectral_norm
    StyleGenerator                     constant (H, W, C)             -> (C, H, W)
    Basis of R3GAN                     maps (H, W, C)                 -> (C, H, W)

Where a map (H, W, C) is flattened into features, or features are reshaped to a map, tinygan's
features are in the order h w c, and PyTorch's in the order c h w. The features of the layers there
are reordered (flattened.py finds them).
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from tinygan import nn
from tinygan.models import r3gan

from .flattened import Channels, flattened_maps

CONV = {"weight": "h w i o -> o i h w"}
# {class: {attribute: pattern}}, also for classes derived from these. A layer of your own may be
# added.
PATTERNS: dict[type[nn.Module], dict[str, str]] = {
    nn.Linear: {"weight": "i o -> o i"},
    nn.Conv2d: CONV,
    nn.ResampledConv2d: CONV,
    nn.ModulatedConv2d: CONV,
    nn.ConvTranspose2d: {"weight": "h w o i -> i o h w"},
    nn.StyleGenerator: {"constant": "h w c -> c h w"},
    r3gan.Basis: {"maps": "h w c -> c h w"},
}
NAMES: dict[type[nn.Module], dict[str, str]] = {  # {class: {attribute: PyTorch's name}}
    nn.BatchNorm: {"gain": "weight"},
    nn.SpectralNorm: {
        "layer.weight": "parametrizations.weight.original",
        "u": "parametrizations.weight.0._u",
        "v": "parametrizations.weight.0._v",
    },
}
# The layers that scale the weight of another one, called `layer`: PyTorch has one layer instead.
WRAPPERS = nn.Equalized, nn.SpectralNorm
# The names of the older nn.utils.spectral_norm, which are read as well.
OLDER_NAMES = {
    "parametrizations.weight.original": "weight_orig",
    "parametrizations.weight.0._u": "weight_u",
    "parametrizations.weight.0._v": "weight_v",
}
COUNTER = "num_batches_tracked"  # of PyTorch's batch-norm; tinygan has none


class Entry(NamedTuple):
    """An array of a network. path: its name in the network's `state_dict`. name: its name in a
    file. shape: its shape in a file. pattern: how it gets there, or "" if it stays as it is. sizes:
    the length of each axis of the pattern."""

    path: str
    name: str
    shape: tuple[int, ...]
    pattern: str = ""
    sizes: Mapping[str, int] = {}

    def to_torch(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return an array of the network, as it is in a file."""
        return _rearranged(array, *self._sides()) if self.pattern else array

    def from_torch(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return an array of a file, as it is in the network."""
        return _rearranged(array, *reversed(self._sides())) if self.pattern else array

    def _sides(self):
        return [
            [[(axis, self.sizes[axis]) for axis in group] for group in side]
            for side in _parsed(self.pattern)
        ]


def entries(network: nn.Module, inputs: tuple[Any, ...] | None = None) -> list[Entry]:
    """Return an Entry for each array of a network's `state_dict`. inputs: as for
    `export_weights`. Raises InputError if they are needed, but not known."""
    maps = flattened_maps(network, inputs)
    owners, names = dict(network.all_parts()), dict(_module_names(network))
    wrapped = {id(part.layer): part for part in owners.values() if isinstance(part, WRAPPERS)}
    found = []
    for path, array in network.state_dict().items():
        prefix, _, attribute = path.rpartition(".")
        owner = owners.get(prefix)
        if owner is None:  # a frozen Parameter somewhere else
            found.append(Entry(path, path, array.shape))
            continue
        pattern, hints = _pattern(owner, attribute, maps)
        name = _of_class(NAMES, owner).get(attribute, attribute)
        wrapper = wrapped.get(id(owner))
        name = _of_class(NAMES, wrapper).get(f"layer.{attribute}", name) if wrapper else name
        name = f"{names[prefix]}.{name}" if names[prefix] else name
        if not pattern:
            found.append(Entry(path, name, array.shape))
            continue
        left, right = _parsed(pattern)
        sizes = _sizes(left, array.shape, hints)
        shape = tuple(math.prod(sizes[axis] for axis in group) for group in right)
        found.append(Entry(path, name, shape, pattern, sizes))
    return found


def counters(network: nn.Module) -> list[str]:
    """Return the names that the counters of PyTorch's batch-norm layers have."""
    names, parts = dict(_module_names(network)), network.all_parts()
    norms = (names[path] for path, part in parts if isinstance(part, nn.BatchNorm))
    return [f"{name}.{COUNTER}" if name else COUNTER for name in norms]


def _module_names(module, path="", name="") -> Iterator[tuple[str, str]]:
    """Yield (path, PyTorch's name) of a module and of all modules in it."""
    yield path, name
    for part, child in module.children():
        is_wrapped = isinstance(module, WRAPPERS) and part == "layer"
        inner = name if is_wrapped else f"{name}.{part}" if name else part
        yield from _module_names(child, f"{path}.{part}" if path else part, inner)


def _of_class(table, owner):
    """Return the row of a table for the class of a module, with those of its base classes."""
    rows = (table.get(kind, {}) for kind in reversed(type(owner).__mro__))
    return {key: value for row in rows for key, value in row.items()}


def _pattern(owner, attribute, maps: Mapping[int, Channels]) -> tuple[str, dict[str, int]]:
    """Return (the pattern of an attribute of a module, the lengths of those axes that the shape of
    the array does not tell)."""
    if isinstance(owner, nn.SpectralNorm):
        return _pattern_of_vector(owner.layer, attribute, maps)
    pattern = _of_class(PATTERNS, owner).get(attribute, "")
    inputs, outputs = maps.get(id(owner), Channels())
    reordered = {}  # {axis: (how features are in tinygan, in PyTorch)}
    if isinstance(owner, nn.Linear) and attribute == "weight":
        reordered = {"i": ("(p c)", "(c p)", inputs), "o": ("(q d)", "(d q)", outputs)}
    elif isinstance(owner, nn.Embedding) and attribute == "weight":
        pattern, reordered = "n o -> n o", {"o": ("(q d)", "(d q)", outputs)}
    elif isinstance(owner, nn.Linear) or isinstance(owner, nn.BatchNorm):
        pattern, reordered = "o -> o", {"o": ("(q d)", "(d q)", outputs)}
    left, _, right = pattern.partition("->")
    hints = {}
    for axis, (own, other, channels) in reordered.items():
        if channels:
            left, right = left.replace(axis, own), right.replace(axis, other)
            hints[own[-2]] = channels
    pattern = f"{left}->{right}" if right else ""
    return ("" if left.strip() == right.strip() else pattern), hints


def _pattern_of_vector(layer, attribute, maps):
    """As `_pattern`, for the buffers u (outputs,) and v (inputs,) of a SpectralNorm."""
    inputs, outputs = maps.get(id(layer), Channels())
    if isinstance(layer, nn.Embedding):  # its rows count as outputs
        inputs, outputs = outputs, None
    channels = outputs if attribute == "u" else inputs
    if channels:
        return "(p c) -> (c p)", {"c": channels}
    if attribute == "v" and isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
        height, width = layer.weight.shape[:2]
        return "(h w i) -> (i h w)", {"h": height, "w": width}
    return "", {}


def _parsed(pattern):
    """Return both sides of a pattern, each as a list of groups of axes."""
    return [
        [group.strip("()").split() for group in re.findall(r"\([^)]*\)|\S+", side)]
        for side in pattern.split("->")
    ]


def _sizes(groups, shape, hints):
    """Return the length of each axis. hints: the lengths of all but one axis of a group."""
    sizes = dict(hints)
    for group, length in zip(groups, shape, strict=True):
        (unknown,) = (axis for axis in group if axis not in sizes)
        sizes[unknown] = length // math.prod(sizes[axis] for axis in group if axis != unknown)
    return sizes


def _rearranged(array, left, right):
    """Return an array with other axes. left, right: groups of (axis, length)."""
    axes = [axis for group in left for axis in group]
    order = [axes.index(axis) for group in right for axis in group]
    array = array.reshape([length for _, length in axes]).transpose(order)
    return array.reshape([math.prod(length for _, length in group) for group in right])
