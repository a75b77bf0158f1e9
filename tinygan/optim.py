"""Optimisers: `opt.step(grad(loss, parameters))`. They change Parameters in place, and nothing else does."""

import numpy as np

from tinygan.autograd import Parameter, Tensor, profiled
from tinygan.backend import asarray, to_numpy, xp
from tinygan.kernels import optim as kernel


class Optimizer:
    """What all optimisers share: a list of Parameters, and the state kept for each.

    state: one dict per Parameter: its arrays (made on its first step) and counts.
    """

    def __init__(self, parameters):
        self.parameters = list(parameters)
        if not self.parameters or not all(isinstance(p, Parameter) for p in self.parameters):
            raise TypeError(
                f"{type(self).__name__} takes a non-empty list of Parameters, such as net.parameters()"
            )
        if len({id(p) for p in self.parameters}) < len(self.parameters):
            raise ValueError(
                f"{type(self).__name__}: a Parameter is listed twice; it would be stepped twice"
            )
        self.reset()

    def reset(self):
        """Forget all moments and step counts."""
        self.state = [{} for _ in self.parameters]

    def step(self, gradients) -> None:
        """Update every parameter from its gradient (a Tensor of its shape); None leaves one as it is."""
        there = []
        for parameter, g, state in zip(self.parameters, gradients, self.state, strict=True):
            if g is not None:
                if not isinstance(g, Tensor):
                    raise TypeError(
                        f"the gradient of {parameter.name} is a {type(g).__name__}: "
                        "pass Tensors, from grad(...)"
                    )
                if g.shape != parameter.shape:
                    raise ValueError(
                        f"the gradient of {parameter.name} has shape {g.shape}, not {parameter.shape}"
                    )
                there.append((parameter, g, state))
        if there:
            parameters, gradients, states = zip(*there)
            arrays = [p.data for p in parameters], [g.data for g in gradients]
            profiled(type(self).__name__, lambda: self.update(*arrays, states))
            for parameter in parameters:
                parameter.mark_changed()

    def update(self, ws, gs, states):
        """Change the arrays ws in place, given their gradients and the state of each parameter (a dict)."""
        raise NotImplementedError

    def state_dict(self) -> dict:
        """{'0.m': array, ...}: the state of each parameter, by its position."""
        return {
            f"{i}.{key}": np.array(to_numpy(value)) if hasattr(value, "shape") else np.array(value)
            for i, state in enumerate(self.state)
            for key, value in state.items()
        }

    def load_state_dict(self, saved) -> None:
        """Continue from a saved state. Raises ValueError if it is of other parameters."""
        state = [{} for _ in self.parameters]
        for name, value in saved.items():
            i, key = name.split(".", 1)
            if int(i) >= len(state) or value.shape not in ((), self.parameters[int(i)].shape):
                raise ValueError(f"optimiser state {name} of shape {value.shape} fits no parameter")
            state[int(i)][key] = (
                asarray(value.copy()) if value.dtype.kind == "f" else value.item()
            )  # a count
        for own, new in zip(self.state, state):
            for key, value in new.items():
                if isinstance(value, xp.ndarray) and key in own:
                    own[key][...] = value  # where it is: a recorded step goes on to write there
                else:
                    own[key] = value
            for key in own.keys() - new.keys():
                del own[key]


def _kept(states, name, ws):
    """The arrays of that name in each state; zeros like its parameter at the first step."""
    for state, w in zip(states, ws):
        if name not in state:
            state[name] = xp.zeros_like(w)
    return [state[name] for state in states]


class SGD(Optimizer):
    """w -= lr * g; with momentum, w -= lr * v where v = momentum * v + g."""

    def __init__(self, parameters, lr, momentum=0.0):
        super().__init__(parameters)
        self.lr, self.momentum = lr, momentum

    def update(self, ws, gs, states):
        velocities = _kept(states, "velocity", ws) if self.momentum else None
        kernel.sgd(ws, gs, velocities, lambda: self.lr, self.momentum)


class RMSprop(Optimizer):
    """w -= lr * g / (sqrt(v) + eps) where v = alpha * v + (1 - alpha) * g^2 (Hinton, lecture 6e)."""

    def __init__(self, parameters, lr, alpha=0.99, eps=1e-8):
        super().__init__(parameters)
        self.lr, self.alpha, self.eps = lr, alpha, eps

    def update(self, ws, gs, states):
        kernel.rmsprop(ws, gs, _kept(states, "v", ws), lambda: self.lr, self.alpha, self.eps)


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015, algorithm 1), with bias correction; betas = (beta1, beta2)."""

    def __init__(self, parameters, lr, betas=(0.9, 0.999), eps=1e-8):
        super().__init__(parameters)
        self.lr, self.betas, self.eps = lr, betas, eps

    def update(self, ws, gs, states):
        def rates():
            """Counts the step. lr m' / (sqrt(v') + eps) with m' = m / (1 - beta1^t) and v' = v / (1 - beta2^t)."""
            for state in states:
                state["step"] = state.get("step", 0) + 1
            roots = [(1 - self.betas[1] ** state["step"]) ** 0.5 for state in states]
            return [
                (self.lr * root / (1 - self.betas[0] ** state["step"]), self.eps * root)
                for state, root in zip(states, roots)
            ]

        kernel.adam(ws, gs, _kept(states, "m", ws), _kept(states, "v", ws), rates, *self.betas)
