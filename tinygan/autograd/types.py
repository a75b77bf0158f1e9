"""Types of arguments and results, for annotations."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeAlias, Union

import numpy as np

if TYPE_CHECKING:
    from .tensor import Tensor

P = ParamSpec("P")

Array: TypeAlias = Any  # an array of the backend in use: numpy.ndarray or cupy.ndarray
TensorLike: TypeAlias = Union["Tensor", np.ndarray[Any, Any], float, Sequence[Any]]
Axis: TypeAlias = int | Sequence[int] | None
IntPair: TypeAlias = int | Sequence[int]  # an int, or (rows, columns)


class Op(Protocol[P]):
    """What `op` returns: a function of Tensors and settings that returns a Tensor.

    name: the name in messages and profiles.
    broadcasts, joint, cost: as passed to `op`.
    adjoint: the adjoint of a linear op.
    definition: the composition of ops that the kernels of a fused op compute.
    """

    name: str
    broadcasts: bool | str
    joint: bool
    cost: Callable[..., int] | None
    adjoint: "Op[...]"
    definition: Callable[..., "Tensor"]

    def __call__(self, *args: P.args, **settings: P.kwargs) -> "Tensor": ...
