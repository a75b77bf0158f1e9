"""Where a network flattens feature maps (H, W, C), or reshapes features to maps.

The network runs once, on an example. Its graph (autograd/tensor.py, Node) tells which reshape lies
before or behind a layer, whether it is a layer such as `nn.Flatten` or an op in some `forward`.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from tinygan import nn
from tinygan.autograd import Tensor
from tinygan.autograd.recording import differentiating
from tinygan.errors import InputError, one_line, warn_once
from tinygan.nn.hooks import forward_hooks
from tinygan.nn.layer_summary import example_inputs
from tinygan.ops import elementwise

# The ops that leave every value in its place.
IN_PLACE = {op.name for op in vars(elementwise).values() if hasattr(op, "broadcasts")}
KINDS = nn.Linear, nn.Embedding, nn.BatchNorm  # the layers whose features may be those of a map


class Channels(NamedTuple):
    """The number of channels of the map that was flattened into the inputs of a layer, and of the
    map that its outputs become; None for features that are no map."""

    inputs: int | None = None
    outputs: int | None = None


def flattened_maps(network: nn.Module, inputs: tuple[Any, ...] | None) -> Mapping[int, Channels]:
    """Return {id of a layer: Channels} of those layers that take flattened maps, or whose outputs
    become maps.

    inputs: the arguments of `forward`; None for an example, as `nn.summary` makes it. Raises
    InputError if the network has layers that matter, but no example is known, or if it cannot run.
    """
    layers = [(path, m) for path, m in network.modules() if isinstance(m, KINDS)]
    if not any(isinstance(layer, (nn.Linear, nn.Embedding)) for _, layer in layers):
        return {}
    results: list[tuple[nn.Module, Any]] = []
    with _evaluation(network), differentiating(True), np.errstate(all="ignore"):
        with forward_hooks(layers, lambda *_: None, lambda _, m, y: results.append((m, y.node))):
            outputs = _run(network, inputs)
    nodes = _ancestors([y.node for y in outputs if y.node is not None])
    flattenings = {node for node in nodes if _is_reshape(node, 4, 2)}
    before_maps: dict[Any, Any] = {}  # {node whose features become a map: the reshape}
    for node in nodes:
        if _is_reshape(node, 2, 4):
            before_maps |= dict.fromkeys(_chain(node.parents[0]), node)
    found: dict[int, Channels] = {}
    seen = set()
    for layer, node in results:
        if node is None:  # labels go into a frozen Embedding
            continue
        chain = _chain(node.parents[0] if isinstance(layer, nn.Linear) else node)
        before, after = flattenings.intersection(chain), before_maps.get(node)
        seen |= before | {after}
        inputs_of = next((n.parents[0].shape[3] for n in before), None)
        outputs_of = after.shape[3] if after else None
        if isinstance(layer, nn.BatchNorm):
            inputs_of = outputs_of = inputs_of or outputs_of
        if inputs_of or outputs_of:
            found[id(layer)] = Channels(inputs_of, outputs_of)
    if (flattenings | set(before_maps.values())) - seen:
        warn_once(
            f"{type(network).__name__} flattens a feature map, or makes one of features, without a "
            "Linear, Embedding or BatchNorm beside it: weights there keep the order of features h "
            "w c, and PyTorch's is c h w"
        )
    return found


def _run(network, inputs):
    """Return the results of a network, as a tuple of Tensors."""
    try:
        inputs = example_inputs(network) if inputs is None else inputs
    except TypeError:
        raise InputError(
            f"how {type(network).__name__} flattens feature maps is not known: give an example "
            "input, such as inputs=(np.zeros((1, 28, 28, 1)),)"
        ) from None
    inputs = (inputs,) if hasattr(inputs, "shape") else inputs
    dtype = next(parameter.dtype for parameter in network.parameters())
    arrays = [x.data if isinstance(x, Tensor) else x for x in inputs]
    arrays = [x if hasattr(x, "dtype") else np.asarray(x) for x in arrays]
    tensors = [
        Tensor(x, requires_grad=True, dtype=dtype) if x.dtype.kind == "f" else x for x in arrays
    ]
    try:
        result = network(*tensors)
    except (TypeError, ValueError, IndexError) as error:
        raise InputError(
            f"{type(network).__name__} does not run on inputs of the shapes "
            f"{', '.join(str(x.shape) for x in tensors)}: give other inputs=... "
            f"({one_line(str(error), 200)})"
        ) from None
    results = result if isinstance(result, (tuple, list)) else [result]
    return [y for y in results if isinstance(y, Tensor)]


@contextlib.contextmanager
def _evaluation(network: nn.Module) -> Iterator[None]:
    """The network in evaluation mode, in which its state does not change."""
    modes = [(module, module.training) for _, module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _ancestors(nodes):
    """Return all nodes that `nodes` depend on, themselves included."""
    found, pending = set(nodes), list(nodes)
    while pending:
        for parent in pending.pop().parents:
            if parent is not None and parent not in found:
                found.add(parent)
                pending.append(parent)
    return found


def _chain(node):
    """Return the nodes that hold the same features as `node`, in the same order: it and those that
    it was computed from, one value from one."""
    found, pending = [], [node]
    while pending:
        node = pending.pop()
        if node is None or node in found:
            continue
        found.append(node)
        if node.op is not None and node.op.name in IN_PLACE | {"reshape"}:
            pending += [p for p in node.parents if p is not None and p.shape == node.shape]
    return found


def _is_reshape(node, ndim_before, ndim_after):
    """Return whether a node reshapes maps (N, H, W, C) to features (N, F), or the other way round,
    where the order of the axes matters."""
    if node.op is None or node.op.name != "reshape" or node.parents[0] is None:
        return False
    before, after = node.parents[0].shape, node.shape
    map_shape = before if ndim_before == 4 else after
    return (
        (len(before), len(after), before[:1]) == (ndim_before, ndim_after, after[:1])
        and map_shape[3] > 1
        and map_shape[1] * map_shape[2] > 1
    )
