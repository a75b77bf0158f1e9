"""Freezing: parameters that a run leaves as they are. FreezeD (Mo et al. 2020, "Freeze the
Discriminator: a Simple Baseline for Fine-Tuning GANs") freezes the first layers of a trained D."""

from fnmatch import fnmatchcase
from typing import Mapping

from tinygan import nn
from tinygan.autograd import Parameter
from tinygan.errors import InputError, choose_from


def parameter_name(role: str, path: str) -> str:
    """Return the name of a parameter or buffer of G or D: 'D.main.0.weight'.

    role: "G" or "D". path: its path in that network. A wrapper that gives a network the class
    (gan/conditioning.py) does not change the names inside: D.main.0 stays D.main.0.
    """
    return path if path.startswith(f"{role}.") else f"{role}.{path}"


def freeze(networks: Mapping[str, nn.Module], patterns: str) -> None:
    """Set requires_grad = False for the parameters of {"G": G, "D": D} that match a pattern.

    patterns: the value of the setting freeze, patterns separated by commas. A pattern matches the
    names of `parameter_name` as the names of files are matched (*, ?, [...]); the name of a layer
    means all parameters in it. Raises InputError for a pattern that matches nothing, and if a
    network would have nothing left to learn.
    """
    named = {
        role: {parameter_name(role, path): p for path, p in network.named_parameters()}
        for role, network in networks.items()
    }
    every: dict[str, Parameter] = {n: p for names in named.values() for n, p in names.items()}
    for pattern in filter(None, map(str.strip, patterns.split(","))):
        matched = [n for n in every if fnmatchcase(n, pattern) or fnmatchcase(n, f"{pattern}.*")]
        if not matched:
            # 'D.main.0' of 'D.main.0.weight': the deepest layers would be too many.
            parts = [n.split(".") for n in every]
            layers = dict.fromkeys(".".join(p[: max(2, min(3, len(p) - 1))]) for p in parts)
            raise InputError(
                f"setting freeze={patterns}: no parameter matches {pattern}: "
                f"{choose_from(layers, pattern)}; `tinygan show RECIPE` prints all layers"
            )
        for name in matched:
            every[name].requires_grad = False
    for role, names in named.items():
        if not any(parameter.requires_grad for parameter in names.values()):
            raise InputError(
                f"setting freeze={patterns}: all of {role} would be frozen, and could learn "
                "nothing: leave out some of its layers"
            )
