"""Types of arguments and results, for annotations."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeAlias, Union

import numpy as np

if TYPE_CHECKING:
    from .tensor import Tensor

P = ParamSpec("P")

Array: TypeAlias = Any  # an array of the module in use: numpy.ndarray or cupy.ndarray
TensorLike: TypeAlias = Union["Tensor", np.ndarray[Any, Any], float, Sequence[Any]]
Axis: TypeAlias = int | Sequence[int] | None


class Op(Protocol[P]):
    """What `op` returns: a function whose result is a Tensor.

    name: as messages and profiles have it; broadcasts, joint, cost: see `op`. adjoint: of a linear
    op, its adjoint. definition: of a fused op, the composition of ops that its kernels compute.
    """

    name: str
    broadcasts: bool | str
    joint: bool
    cost: Callable[..., int] | None
    adjoint: "Op[...]"
    definition: Callable[..., "Tensor"]

    def __call__(self, *args: P.args, **settings: P.kwargs) -> "Tensor": ...
