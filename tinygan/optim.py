"""Optimisers: `optimizer.step(grad(loss, parameters))` changes the Parameters in place.

`clip_grad_norm` limits the gradients first. The attributes of an optimiser, such as `lr`, may be
changed between steps; schedules.py has the usual ways.
"""

import math
from typing import TYPE_CHECKING, Any, ClassVar, Iterable, Mapping, Sequence

import numpy as np

from tinygan.autograd import Array, Parameter, Tensor, described, profiled, wrap
from tinygan.autograd.habits import OPTIM, OPTIMIZER, advise, of_package, optimizer_setting
from tinygan.backend import asarray, stays_the_same, to_numpy, when_readable, xp
from tinygan.kernels import optim as optim_kernels
from tinygan.nn import Module


class Optimizer:
    """The base class of optimisers: a list of Parameters, and the state of each.

    parameters: a network, all of whose Parameters are meant, or a list of Parameters.
    state: one dict per Parameter, with its arrays (moments, say) and its step count. The arrays are
    made when the Parameter is updated for the first time.
    may_change: the attributes that `update` hands to a kernel by a function, so that they may
    change between the replays of a recorded step.
    """

    lr: float
    may_change: ClassVar[tuple[str, ...]] = ("lr",)

    def __init__(self, parameters: Module | Iterable[Parameter]):
        if isinstance(parameters, Module):
            parameters = parameters.parameters()
        is_list = hasattr(parameters, "__iter__") and not isinstance(parameters, Tensor)
        self.parameters = list(parameters) if is_list else []
        if not self.parameters or not all(isinstance(p, Parameter) for p in self.parameters):
            got = "a method: call it" if callable(parameters) else described(parameters)
            raise TypeError(
                f"{type(self).__name__} takes a network or a non-empty list of Parameters, "
                f"such as net.parameters(), not {got}"
            )
        if len({id(p) for p in self.parameters}) < len(self.parameters):
            raise ValueError(
                f"{type(self).__name__}: a Parameter is listed twice and would be updated twice; "
                "list it once"
            )
        self.resets = 0
        self.reset()

    def reset(self) -> None:
        """Forget all moments and step counts."""
        self.resets += 1
        self.state: list[dict[str, Any]] = [{} for _ in self.parameters]

    def step(self, gradients: Iterable[Tensor | None] = ()) -> None:
        """Update every parameter, given its gradient, a Tensor of the same shape.

        A parameter that is frozen, or whose gradient is None, stays as it is. Raises TypeError for
        a gradient that is not a Tensor, and ValueError if a shape or the number of gradients is
        wrong.
        """
        if not hasattr(gradients, "__iter__"):
            raise TypeError(
                f"{type(self).__name__}.step takes gradients, not {described(gradients)}: "
                "write step(grad(loss, optimizer.parameters))"
            )
        updates, gradients = [], [gradients] if isinstance(gradients, Tensor) else list(gradients)
        if len(gradients) != len(self.parameters):
            raise ValueError(
                f"{type(self).__name__} has {len(self.parameters)} parameters, but step got "
                f"{len(gradients)} gradients: write step(grad(loss, optimizer.parameters)), which "
                "has one for each parameter, and None for frozen ones"
            )
        for parameter, g, state in zip(self.parameters, gradients, self.state):
            if g is not None:
                if not isinstance(g, Tensor) or isinstance(g, Parameter):
                    raise TypeError(
                        f"the gradient of {parameter.name} is a {type(g).__name__}: "
                        "pass Tensors, from grad(...)"
                    )
                if g.shape != parameter.shape:
                    raise ValueError(
                        f"the gradient of {parameter.name} has shape {g.shape}, "
                        f"not {parameter.shape}"
                    )
                if parameter.requires_grad:
                    updates.append((parameter, g, state))
        stays_the_same(self.numbers)
        if updates:
            parameters, gradients, states = zip(*updates)
            arrays = [p.data for p in parameters], [g.data for g in gradients]
            profiled(type(self).__name__, lambda: self.update(*arrays, states))
            for parameter in parameters:
                parameter.mark_changed()

    def update(
        self, ws: Sequence[Array], gs: Sequence[Array], states: Sequence[dict[str, Any]]
    ) -> None:
        """Change the parameters' arrays `ws` in place, given their gradients and states."""
        raise NotImplementedError

    def numbers(self) -> tuple[Any, ...]:
        """Return what a recorded step takes for granted: the settings, except for those that may
        change, and the number of times that arrays of the state were replaced."""
        return tuple(
            value
            for name, value in vars(self).items()
            if isinstance(value, (int, float, str, tuple)) and name not in self.may_change
        )

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, optimizer_setting(self, name, value))

    def __repr__(self) -> str:
        """The class with the number of its parameters and its settings."""
        settings = {k: v for k, v in vars(self).items() if isinstance(v, (int, float, str, tuple))}
        settings.pop("resets", None)
        inside = ", ".join(f"{name}={value}" for name, value in settings.items())
        return f"{type(self).__name__}({len(self.parameters)} parameters, {inside})"

    def state_dict(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return the state as arrays under names such as '0.m': the parameter's position, and the
        key in its state."""
        return {
            f"{i}.{key}": np.array(to_numpy(value)) if hasattr(value, "shape") else np.array(value)
            for i, state in enumerate(self.state)
            for key, value in state.items()
        }

    def load_state_dict(self, saved: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Continue from what `state_dict` returned. Raises ValueError if it does not fit these
        parameters."""
        state: list[dict[str, Any]] = [{} for _ in self.parameters]
        for name, value in saved.items():
            i, key = name.split(".", 1)
            if int(i) >= len(state) or value.shape not in ((), self.parameters[int(i)].shape):
                raise ValueError(f"optimiser state {name} of shape {value.shape} fits no parameter")
            is_count = value.dtype.kind != "f"
            state[int(i)][key] = value.item() if is_count else asarray(value.copy())
        for current, loaded in zip(self.state, state):
            for key, value in loaded.items():
                if isinstance(value, xp.ndarray) and key in current:
                    current[key][...] = value  # in place: a recorded step writes to this address
                else:
                    current[key] = value
                    self.resets += isinstance(value, xp.ndarray)
            for key in current.keys() - loaded.keys():
                del current[key]


advise(Optimizer, OPTIMIZER)
if not TYPE_CHECKING:  # a __getattr__ would hide mistyped names from type checkers
    __getattr__ = of_package(__name__, OPTIM)


def _arrays(states, name, ws):
    """Return the array `name` of every state. At a parameter's first update it is zero."""
    for state, w in zip(states, ws):
        if name not in state:
            state[name] = xp.zeros_like(w)
    return [state[name] for state in states]


class SGD(Optimizer):
    """Gradient descent: w -= lr * g; with momentum, w -= lr * v, where v = momentum * v + g.

    weight_decay: added to g is weight_decay * w, the gradient of weight_decay/2 |w|^2.
    """

    may_change = "lr", "momentum", "weight_decay"

    def __init__(
        self,
        parameters: Module | Iterable[Parameter],
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ):
        super().__init__(parameters)
        self.lr, self.momentum, self.weight_decay = lr, momentum, weight_decay

    def update(self, ws, gs, states):
        velocities = _arrays(states, "velocity", ws) if self.momentum else None
        get_numbers = lambda: (self.lr, self.momentum, self.weight_decay)
        optim_kernels.sgd(ws, gs, velocities, get_numbers)

    def numbers(self):
        return *super().numbers(), bool(self.momentum)  # without momentum, there are no velocities


class RMSprop(Optimizer):
    """RMSprop (Hinton, lecture 6e): w -= lr * g / (sqrt(v) + eps), where
    v = alpha * v + (1 - alpha) * g^2. weight_decay: as for SGD."""

    may_change = "lr", "alpha", "eps", "weight_decay"

    def __init__(
        self,
        parameters: Module | Iterable[Parameter],
        lr: float,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        super().__init__(parameters)
        self.lr, self.alpha, self.eps, self.weight_decay = lr, alpha, eps, weight_decay

    def update(self, ws, gs, states):
        optim_kernels.rmsprop(ws, gs, _arrays(states, "v", ws), self.coefficients)

    def coefficients(self, t: int = 1) -> tuple[float, ...]:
        """Return the numbers of `kernels.optim.rmsprop`, which are the same in every update t."""
        return self.lr, self.alpha, self.eps, self.weight_decay


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015, algorithm 1): w -= lr m' / (sqrt(v') + eps), where

        m = beta1 m + (1 - beta1) g,      m' = m / (1 - beta1^t),
        v = beta2 v + (1 - beta2) g^2,    v' = v / (1 - beta2^t),

    and t counts the updates of this parameter. betas: (beta1, beta2). weight_decay: as for SGD,
    added to g. The defaults are the paper's.
    """

    may_change = "lr", "betas", "eps", "weight_decay"

    def __init__(
        self,
        parameters: Module | Iterable[Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        super().__init__(parameters)
        self.lr, self.betas, self.eps, self.weight_decay = lr, betas, eps, weight_decay

    def update(self, ws, gs, states):
        def count_and_get_numbers():
            """Count the step. Return the coefficients for each parameter."""
            for state in states:
                state["step"] = state.get("step", 0) + 1
            return [self.coefficients(state["step"]) for state in states]

        ms, vs = _arrays(states, "m", ws), _arrays(states, "v", ws)
        optim_kernels.adam(ws, gs, ms, vs, count_and_get_numbers)

    def coefficients(self, t: int) -> tuple[float, ...]:
        """Return the numbers of `kernels.optim.adam` for the t-th update of a parameter (1, 2,
        ...). They are such that the update is w -= step_size m / (sqrt(v) + eps): step_size and eps
        include the bias correction."""
        beta1, beta2 = self.betas
        root = (1 - beta2**t) ** 0.5
        step_size, eps = self.lr * root / (1 - beta1**t), self.eps * root
        return step_size, eps, 1 - beta1, 1 - beta2, *self.decay_and_shrink()

    def decay_and_shrink(self) -> tuple[float, float]:
        """Return (d, s): d * w is added to the gradient, and w is multiplied by 1 - s."""
        return self.weight_decay, 0.0


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2): before each
    update, w *= 1 - lr * weight_decay. The gradient and its moments are those of the loss alone.
    As in PyTorch, weight_decay is 0.01 by default."""

    def __init__(
        self,
        parameters: Module | Iterable[Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ):
        super().__init__(parameters, lr, betas, eps, weight_decay)

    def decay_and_shrink(self) -> tuple[float, float]:
        return 0.0, self.lr * self.weight_decay


def clip_grad_norm(
    gradients: Iterable[Tensor | None] | Tensor, max_norm: float | Tensor | Array
) -> list[Tensor | None]:
    """Return gradients whose norm, taken over all of them as one vector, is at most max_norm: all
    are multiplied by min(1, max_norm / (norm + 1e-6)) (Pascanu et al. 2013, algorithm 1):

        optimizer.step(clip_grad_norm(grad(loss, net.parameters()), 1.0))

    gradients: Tensors, or None for parameters without a gradient, which stay None. The given
    Tensors stay as they are. max_norm: above 0; if a recorded step changes it, it must come from
    `tinygan.from_host`. Raises TypeError for anything else, and ValueError if max_norm is not above
    0, or if the norm is not finite (on a GPU, it would have to wait for the norm, and does not).
    """
    given = _as_gradients("clip_grad_norm", gradients, ", 1.0")
    limit: Any = max_norm.data if isinstance(max_norm, Tensor) else max_norm
    is_number = isinstance(limit, (int, float)) and not isinstance(limit, bool)
    if not is_number and not (hasattr(limit, "dtype") and limit.shape == ()):
        raise TypeError(
            f"clip_grad_norm: max_norm must be a number, not {described(max_norm)}: "
            "write clip_grad_norm(gradients, 1.0)"
        )
    in_range = lambda x: 0 < float(x) < math.inf
    if not is_number:
        when_readable(in_range, _refuse_limit, limit)
    elif not in_range(limit):
        _refuse_limit(limit)
    arrays = [g.data for g in given if g is not None]
    if not arrays:
        return given
    norm = optim_kernels.global_norm(arrays)
    when_readable(math.isfinite, _refuse_norm, norm)
    clipped = iter(optim_kernels.clip_norm(arrays, norm, limit))
    return [None if g is None else wrap(next(clipped)) for g in given]


def grad_norm(gradients: Iterable[Tensor | None] | Tensor) -> Tensor:
    """Return the norm of all gradients, taken as one vector: a Tensor of no dimensions. None counts
    as 0. Raises TypeError for anything but Tensors and None."""
    arrays = [g.data for g in _as_gradients("grad_norm", gradients) if g is not None]
    norm = xp.asarray(optim_kernels.global_norm(arrays)) if arrays else xp.zeros(())
    return wrap(norm.astype(arrays[0].dtype if arrays else "float32"))


def _as_gradients(name: str, gradients: Any, more: str = "") -> list[Tensor | None]:
    """Return the argument of a function of gradients as a list. Raises TypeError if it is wrong."""
    items = [gradients] if isinstance(gradients, Tensor) else gradients
    is_list = hasattr(items, "__iter__") and not isinstance(items, (str, dict, np.ndarray, Module))
    items = list(items) if is_list else [gradients]
    is_gradient = lambda g: isinstance(g, Tensor) and not isinstance(g, Parameter)
    wrong = [g for g in items if not is_gradient(g) and not (is_list and g is None)]
    if wrong:
        got = "a method: call it" if callable(wrong[0]) else described(wrong[0])
        got = f"the Parameter {wrong[0].name}" if isinstance(wrong[0], Parameter) else got
        got = "a network" if isinstance(wrong[0], Module) else got
        raise TypeError(
            f"{name} takes gradients, not {got}: write {name}(grad(loss, net.parameters()){more})"
        )
    return items


def _refuse_limit(limit):
    raise ValueError(f"clip_grad_norm: max_norm must be above 0 and finite, but is {limit}")


def _refuse_norm(norm):
    raise ValueError(
        f"clip_grad_norm: the norm of the gradients is {norm}, which cannot be clipped: lower the "
        "learning rate, or find the cause with tinygan.anomaly()"
    )
