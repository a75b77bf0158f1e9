"""Training that goes wrong: the search for the first NaN, gradients without it, and warnings that a
GAN is collapsing."""

import math

import numpy as np

from tinygan.autograd import anomaly, grad
from tinygan.backend import to_numpy
from tinygan.errors import Diverged
from tinygan.nn.hooks import forward_hooks

ADVICE = (
    "train anew with a smaller learning rate (--set lr=...), a penalty on D's gradient "
    "(r1=...), or another loss"
)


def diverged(step: int, fault: str, on_all_ranks: bool = False) -> Diverged:
    """Return the error to raise if a value is not finite at a step. fault: what is not finite."""
    return Diverged(f"step {step}: {fault}; no checkpoint contains it; {ADVICE}", on_all_ranks)


def first_not_finite(arrays):
    """Return 'NAME holds NaN' (or inf) for the first array of {name: array} that is not finite;
    None if all are."""
    for name, array in arrays.items():
        array = to_numpy(array)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            return f"{name} holds {'NaN' if np.isnan(array).any() else 'inf'}"
    return None


def named_weights(networks):
    """Return {name: array} of the parameters of {name: Module}."""
    return {
        f"{name}.{path}": p.data
        for name, network in networks.items()
        for path, p in network.named_parameters()
    }


def find_faulty_result(networks, network, gradients, numbers):
    """Return a description of the results that are not finite: a buffer of {name: Module}, the
    gradient of one of the network's parameters, or numbers."""
    buffers = {
        f"{name}.{path}": array
        for name, net in networks.items()
        for path, array in net.named_buffers()
    }
    if buffer := first_not_finite(buffers):
        return buffer
    names = [path for path, _ in network.named_parameters()]
    by_name = {name: g.data for name, g in zip(names, gradients) if g is not None}
    if gradient := first_not_finite(by_name):
        return f"the gradient of {gradient}"
    return ", ".join(
        f"{name} is {value}" for name, value in numbers.items() if not math.isfinite(value)
    )


def find_faulty_op(networks, objective, network, parts, generate_fakes):
    """Return a description of the op that was the first to return NaN or infinity, and its layer;
    "" if none did.

    It computes the gradients of objective(*part) -> (loss, numbers) once more, and checks each op.
    generate_fakes: a function that generates the fakes once more, since G may be at fault.
    """
    layers = [
        (f"{name}.{path}" if path else name, module)
        for name, net in networks.items()
        for path, module in net.modules()
    ]
    open_layers = ["the loss"]
    enter, leave = lambda path, _: open_layers.append(path), lambda *_: open_layers.pop()
    try:
        with forward_hooks(layers, enter, leave), anomaly(lambda: open_layers[-1]):
            generate_fakes()
            for part in parts:
                loss, _ = objective(*part)
                grad(loss, network.parameters())
    except FloatingPointError as error:
        return str(error)
    return ""


class CollapseWarnings:
    """Warns of the signs that a GAN is collapsing, each once, from the rows of its log."""

    PATIENCE = 50  # successive rows that must show a sign before the warning
    VANISHED = 1e-5  # a norm of G's gradient that counts as none; healthy recipes have .1 to 1000
    ADVICE = {
        "d_right": "D has told all reals from all fakes for {steps} steps, so G may learn nothing "
        "from it: weaken D (d_lr, r1, augment), or choose a loss that does not saturate",
        "d_wrong": "D has been wrong about all images for {steps} steps: give it a larger d_lr or "
        "more d_steps",
        "variety": "the images of G have varied less than a quarter as much as real ones for "
        "{steps} steps (mode collapse): try a smaller lr, a penalty on D's gradient (r1, gp), or "
        "another loss",
        "gradient": "G's gradient has been almost zero for {steps} steps, so G no longer learns: "
        "weaken D (d_lr, r1), or choose a loss that does not saturate (loss=bce, hinge)",
    }

    def __init__(self, has_threshold: bool, every: int):
        """has_threshold: False for the losses of critics, whose logits have no threshold between
        real and fake. every: the number of steps between rows."""
        self.has_threshold, self.every = has_threshold, every
        self.streaks = dict.fromkeys(self.ADVICE, 0)  # successive rows that have shown each sign
        self.first_norms = []  # norms of G's gradient in the first rows
        self.largest_variety, self.issued = 0.0, set()

    def __call__(self, row: dict) -> list[str]:
        """Return the warnings that a row of the log gives rise to."""
        if not {"g_grad_norm", "d_accuracy", "variety"} <= row.keys():  # of an older version
            return []
        self.largest_variety = max(self.largest_variety, row["variety"])
        self.first_norms += [row["g_grad_norm"]] * (len(self.first_norms) < self.PATIENCE)
        smallest_norm = max(1e-3 * np.median(self.first_norms), self.VANISHED)
        signs = {
            "d_right": self.has_threshold and row["d_accuracy"] > 0.999,
            "d_wrong": self.has_threshold and row["d_accuracy"] < 0.001,
            "variety": row["variety"] < 0.25,
            "gradient": row["g_grad_norm"] < smallest_norm,
        }
        warnings = []
        for sign, present in signs.items():
            if sign in self.issued:
                continue
            # G's images are all alike in the beginning, and for a long time in a small network.
            slow = sign == "variety" and self.largest_variety < 0.5
            patience = self.PATIENCE * (4 if slow else 1)
            self.streaks[sign] = self.streaks[sign] + 1 if present else 0
            if self.streaks[sign] == patience:
                self.issued.add(sign)
                warnings.append(self.ADVICE[sign].format(steps=patience * self.every))
        return warnings
