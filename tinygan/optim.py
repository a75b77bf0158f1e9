"""Optimisers: `opt.step(grad(loss, parameters))`. They change Parameters in place, and nothing else does."""

import numpy as np

from tinygan.autograd import Parameter, Tensor
from tinygan.backend import asarray, to_numpy, xp
from tinygan.kernels import optim as kernel


class Optimizer:
    """What all optimisers share: a list of Parameters, and the state kept for each.

    state: one dict per Parameter: its arrays (made on its first step) and counts.
    """

    def __init__(self, parameters):
        self.parameters = list(parameters)
        if not self.parameters or not all(isinstance(p, Parameter) for p in self.parameters):
            raise TypeError(f"{type(self).__name__} takes a non-empty list of Parameters, such as net.parameters()")
        self.reset()

    def reset(self):
        """Forget all moments and step counts."""
        self.state = [{} for _ in self.parameters]

    def step(self, gradients) -> None:
        """Update every parameter from its gradient (a Tensor of its shape); None leaves one as it is."""
        for parameter, g, state in zip(self.parameters, gradients, self.state, strict=True):
            if g is not None:
                if not isinstance(g, Tensor):
                    raise TypeError(f"the gradient of {parameter.name} is a {type(g).__name__}: pass Tensors, from grad(...)")
                if g.shape != parameter.shape:
                    raise ValueError(f"the gradient of {parameter.name} has shape {g.shape}, not {parameter.shape}")
                self.update(parameter.data, g.data, state)
                parameter.mark_changed()

    def update(self, w, g, state):
        """Change the array w in place, given its gradient and this parameter's state."""
        raise NotImplementedError

    def state_dict(self) -> dict:
        """{'0.m': array, ...}: the state of each parameter, by its position."""
        return {f"{i}.{key}": np.array(to_numpy(value)) if hasattr(value, "shape") else np.array(value)
                for i, state in enumerate(self.state) for key, value in state.items()}

    def load_state_dict(self, saved) -> None:
        """Continue from a saved state. Raises ValueError if it is of other parameters."""
        state = [{} for _ in self.parameters]
        for name, value in saved.items():
            i, key = name.split(".", 1)
            if int(i) >= len(state) or value.shape not in ((), self.parameters[int(i)].shape):
                raise ValueError(f"optimiser state {name} of shape {value.shape} fits no parameter")
            state[int(i)][key] = asarray(value.copy()) if value.shape else value.item()
        self.state = state


class SGD(Optimizer):
    """w -= lr * g; with momentum, w -= lr * v where v = momentum * v + g."""

    def __init__(self, parameters, lr, momentum=0.0):
        super().__init__(parameters)
        self.lr, self.momentum = lr, momentum

    def update(self, w, g, state):
        if self.momentum and "velocity" not in state:
            state["velocity"] = xp.zeros_like(w)
        kernel.sgd(w, g, state.get("velocity"), self.lr, self.momentum)


class RMSprop(Optimizer):
    """w -= lr * g / (sqrt(v) + eps) where v = alpha * v + (1 - alpha) * g^2 (Hinton, lecture 6e)."""

    def __init__(self, parameters, lr, alpha=0.99, eps=1e-8):
        super().__init__(parameters)
        self.lr, self.alpha, self.eps = lr, alpha, eps

    def update(self, w, g, state):
        if not state:
            state["v"] = xp.zeros_like(w)
        kernel.rmsprop(w, g, state["v"], self.lr, self.alpha, self.eps)


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015, algorithm 1), with bias correction; betas = (beta1, beta2)."""

    def __init__(self, parameters, lr, betas=(0.9, 0.999), eps=1e-8):
        super().__init__(parameters)
        self.lr, self.betas, self.eps = lr, betas, eps

    def update(self, w, g, state):
        if not state:
            state.update(m=xp.zeros_like(w), v=xp.zeros_like(w), step=0)
        state["step"] += 1
        kernel.adam(w, g, state["m"], state["v"], self.lr, *self.betas, self.eps, state["step"])
