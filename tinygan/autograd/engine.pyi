# Types of engine.py.

from collections.abc import Callable, Sequence
from typing import Any, overload

from .recording import no_grad as no_grad
from .recording import recording as recording
from .tensor import Tensor
from .types import Op, P, TensorLike

monitor: Any

@overload
def op(function: Callable[P, Any]) -> Op[P]: ...
@overload
def op(
    function: None = None,
    *,
    broadcasts: bool | str = False,
    joint: bool = False,
    cost: Callable[..., int] | None = None,
    name: str | None = None,
) -> Callable[[Callable[P, Any]], Op[P]]: ...
@overload
def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor,
    grad_outputs: TensorLike | Sequence[TensorLike | None] | None = None,
    create_graph: bool = False,
    retain_graph: bool | None = None,
) -> Tensor: ...
@overload
def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Sequence[Tensor],
    grad_outputs: TensorLike | Sequence[TensorLike | None] | None = None,
    create_graph: bool = False,
    retain_graph: bool | None = None,
) -> list[Tensor]: ...
def backward(
    output: Tensor, grad_output: TensorLike | None = None, retain_graph: bool = False
) -> None: ...
def gradients_for_ops(
    outputs: Tensor | Sequence[Tensor],
    inputs: Sequence[Tensor],
    grad_outputs: TensorLike | Sequence[TensorLike | None] | None = None,
    create_graph: bool = False,
    retain_graph: bool | None = None,
) -> list[Tensor]: ...
