"""Optimisers: `optimizer.step(grad(loss, parameters))` changes the Parameters in place."""

from typing import Any, Iterable, Mapping, Sequence

import numpy as np

from tinygan.autograd import Array, Parameter, Tensor, described, profiled
from tinygan.autograd.habits import OPTIMIZER, advise
from tinygan.backend import asarray, stays_the_same, to_numpy, xp
from tinygan.kernels import optim as optim_kernels
from tinygan.nn import Module


class Optimizer:
    """The base class of optimisers: a list of Parameters, and the state of each.

    parameters: a network, all of whose Parameters are meant, or a list of Parameters.
    state: one dict per Parameter, with its arrays (moments, say) and its step count. The arrays are
    made when the Parameter is updated for the first time.
    """

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

        A parameter whose gradient is None stays as it is. Raises TypeError for a gradient that is
        not a Tensor, and ValueError if a shape or the number of gradients is wrong.
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
        """Return what a recorded step takes for granted: the settings, except for the learning
        rate, and the number of times that arrays of the state were replaced."""
        numbers = {k: v for k, v in vars(self).items() if isinstance(v, (int, float, str, tuple))}
        numbers.pop("lr", None)
        return tuple(numbers.values())

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


def _arrays(states, name, ws):
    """Return the array `name` of every state. At a parameter's first update it is zero."""
    for state, w in zip(states, ws):
        if name not in state:
            state[name] = xp.zeros_like(w)
    return [state[name] for state in states]


class SGD(Optimizer):
    """Gradient descent: w -= lr * g; with momentum, w -= lr * v, where v = momentum * v + g."""

    def __init__(self, parameters: Module | Iterable[Parameter], lr: float, momentum: float = 0.0):
        super().__init__(parameters)
        self.lr, self.momentum = float(lr), momentum

    def update(self, ws, gs, states):
        velocities = _arrays(states, "velocity", ws) if self.momentum else None
        optim_kernels.sgd(ws, gs, velocities, lambda: self.lr, self.momentum)


class RMSprop(Optimizer):
    """RMSprop (Hinton, lecture 6e): w -= lr * g / (sqrt(v) + eps), where
    v = alpha * v + (1 - alpha) * g^2."""

    def __init__(
        self,
        parameters: Module | Iterable[Parameter],
        lr: float,
        alpha: float = 0.99,
        eps: float = 1e-8,
    ):
        super().__init__(parameters)
        self.lr, self.alpha, self.eps = float(lr), alpha, eps

    def update(self, ws, gs, states):
        optim_kernels.rmsprop(
            ws, gs, _arrays(states, "v", ws), lambda: self.lr, self.alpha, self.eps
        )


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015, algorithm 1): w -= lr m' / (sqrt(v') + eps), where

        m = beta1 m + (1 - beta1) g,      m' = m / (1 - beta1^t),
        v = beta2 v + (1 - beta2) g^2,    v' = v / (1 - beta2^t),

    and t counts the updates of this parameter. betas: (beta1, beta2). The defaults are the paper's.
    """

    def __init__(
        self,
        parameters: Module | Iterable[Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ):
        super().__init__(parameters)
        self.lr, self.betas, self.eps = float(lr), betas, eps

    def update(self, ws, gs, states):
        def count_and_get_rates():
            """Count the step. Return (step_size, eps) for each parameter, such that the update is
            w -= step_size m / (sqrt(v) + eps). Both include the bias correction."""
            for state in states:
                state["step"] = state.get("step", 0) + 1
            roots = [(1 - self.betas[1] ** state["step"]) ** 0.5 for state in states]
            return [
                (self.lr * root / (1 - self.betas[0] ** state["step"]), self.eps * root)
                for state, root in zip(states, roots)
            ]

        ms, vs = _arrays(states, "m", ws), _arrays(states, "v", ws)
        optim_kernels.adam(ws, gs, ms, vs, count_and_get_rates, *self.betas)
