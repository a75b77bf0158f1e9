"""Numbers that go wrong: which NaN was first, and the signs of a GAN's collapse."""

import math

import numpy as np

from tinygan.autograd import anomaly, grad
from tinygan.backend import to_numpy
from tinygan.errors import Diverged
from tinygan.nn.hooks import forward_hooks

ADVICE = (
    "train anew with a smaller learning rate (--set lr=...), a penalty on D's slope "
    "(r1=...), or another loss"
)


def diverged(step, what, on_all_ranks=False):
    """The error to raise where something is not finite at a step."""
    return Diverged(f"step {step}: {what}; it is in no checkpoint; {ADVICE}", on_all_ranks)


def first_of(arrays):
    """'NAME holds NaN' of the first of {name: array} that is not finite, or None."""
    for name, array in arrays.items():
        array = to_numpy(array)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            return f"{name} holds {'NaN' if np.isnan(array).any() else 'inf'}"
    return None


def weights(networks):
    """{name: array} of the parameters of {name: Module}."""
    return {
        f"{name}.{path}": p.data
        for name, network in networks.items()
        for path, p in network.named_parameters()
    }


def result_at_fault(networks, network, gradients, numbers):
    """What is not finite, in words: a buffer of {name: Module}, the gradient of one of network's
    parameters, or a number."""
    if found := first_of(
        {
            f"{name}.{path}": array
            for name, net in networks.items()
            for path, array in net.named_buffers()
        }
    ):
        return found
    names = [path for path, _ in network.named_parameters()]
    if found := first_of({name: g.data for name, g in zip(names, gradients) if g is not None}):
        return f"the gradient of {found}"
    return ", ".join(
        f"{name} is {value}" for name, value in numbers.items() if not math.isfinite(value)
    )


def op_at_fault(networks, objective, network, parts, draw):
    """Which op first made a NaN or an infinity, and in which layer, in words.

    Computes the gradients of objective(*part) -> (loss, numbers) again, looking at each op. draw: a
    function that draws the fakes again, in which it may have begun.
    """
    layers = [
        (f"{name}.{path}" if path else name, module)
        for name, whole in networks.items()
        for path, module in whole.modules()
    ]
    inside = ["the loss"]
    enter, leave = lambda path, _: inside.append(path), lambda *_: inside.pop()
    try:
        with forward_hooks(layers, enter, leave), anomaly(lambda: inside[-1]):
            draw()
            for part in parts:
                loss, _ = objective(*part)
                grad(loss, network.parameters())
    except FloatingPointError as error:
        return str(error)
    return ""


class Signs:
    """Warns, once each, of the signs that a GAN collapses, by the rows of its log."""

    PATIENCE = 50  # rows in a row that look so, before it is said
    NOTHING = 1e-5  # norm of G's gradient that counts as none; healthy recipes have .1 to 1000
    ADVICE = {
        "d_right": "D has told all reals from all fakes for {steps} steps, so that G may learn "
        "nothing from it: weaken D (d_lr, r1, augment), or take a loss that does not "
        "saturate",
        "d_wrong": "D has been wrong about all images for {steps} steps: give it a larger d_lr or "
        "more d_steps",
        "variety": "the images of G have varied less than a quarter as much as real ones for "
        "{steps} steps (mode collapse): try a smaller lr, a penalty on D's slope (r1, "
        "gp), or another loss",
        "gradient": "G's gradient has all but vanished for {steps} steps, so that G no longer "
        "learns: weaken D (d_lr, r1), or take a loss that does not saturate "
        "(loss=bce, hinge)",
    }

    def __init__(self, has_threshold, every):
        """has_threshold: False for losses of critics, which are to tell reals from fakes; every:
        steps between rows."""
        self.every, self.streaks, self.norms = every, dict.fromkeys(self.ADVICE, 0), []
        self.pinned, self.most_varied, self.said = has_threshold, 0.0, set()

    def __call__(self, row):
        """The warnings that a row of the log gives rise to, in plain words."""
        if not {"g_grad_norm", "d_accuracy", "variety"} <= row.keys():  # of an older version
            return []
        self.most_varied = max(self.most_varied, row["variety"])
        self.norms += [row["g_grad_norm"]] * (len(self.norms) < self.PATIENCE)
        seen = {
            "d_right": self.pinned and row["d_accuracy"] > 0.999,
            "d_wrong": self.pinned and row["d_accuracy"] < 0.001,
            "variety": row["variety"] < 0.25,
            "gradient": row["g_grad_norm"] < max(1e-3 * np.median(self.norms), self.NOTHING),
        }
        warnings = []
        for sign, there in seen.items():
            if sign in self.said:
                continue
            # At first, all images of G are alike; in a small network for long.
            patience = self.PATIENCE * (4 if sign == "variety" and self.most_varied < 0.5 else 1)
            self.streaks[sign] = self.streaks[sign] + 1 if there else 0
            if self.streaks[sign] == patience:
                self.said.add(sign)
                warnings.append(self.ADVICE[sign].format(steps=patience * self.every))
        return warnings
