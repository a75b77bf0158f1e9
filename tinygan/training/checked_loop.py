"""A training loop of the user's own, as stages of the check in checking.py: a function that makes
one step and returns its loss."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinygan.autograd import GradientError, Parameter, Tensor
from tinygan.backend import to_numpy
from tinygan.errors import InputError
from tinygan.nn import Module
from tinygan.optim import Optimizer

from .checking import Stage, Update, as_arrays, hold_power_vectors
from .kept_state import KeptState


class Loop:
    """A step of the user's own, with optimisers that only note what they get.

    step: a function without arguments. optimizers, networks: by name. double: convert everything
    that the step can reach to float64. From `stages` on, the step updates nothing, until `end`
    brings everything back.
    """

    def __init__(
        self,
        step: Callable[[], Any],
        optimizers: Mapping[str, Any],
        networks: Mapping[str, Module],
        double: bool,
    ) -> None:
        self.step, self.optimizers, self.networks = step, optimizers, networks
        self.title = getattr(step, "__name__", type(step).__name__)
        self.title += "" if double else " in float32"
        self.double = double
        self.noted: dict[str, list[Any]] = {}
        self.original = KeptState(step, dict(optimizers), dict(networks))
        self.names = names_of_parameters(self.original, networks)
        self.kept = self.original  # what each run of the step begins with

    def _record(self) -> None:
        """Let the optimisers note what they get, and update nothing."""
        if self.double:
            self.original.to_float64()
        hold_power_vectors([m for _, m in self.original.modules if isinstance(m, Module)])
        for name, optimizer in self.optimizers.items():
            vars(optimizer)["step"] = _Recorder(optimizer, self.noted, name)
            if isinstance(optimizer, Optimizer):
                vars(optimizer)["update"] = lambda *arrays: None
        self.kept = KeptState(self.step, dict(self.optimizers), dict(self.networks))

    def end(self) -> None:
        """Bring back everything as it was."""
        self.original.restore()

    def stages(self) -> list[Stage]:
        """Return a Stage for each optimiser; or without optimisers, for each network, whose
        gradients the step leaves in `.grad`. Raise GradientError for a Parameter of `networks` that
        is in no optimiser."""
        self._record()
        lists = {name: list(o.parameters) for name, o in self.optimizers.items()}
        trained = {id(p) for parameters in lists.values() for p in parameters}
        for network in self.networks.values() if lists else ():
            for p in network.parameters():
                if p.requires_grad and id(p) not in trained:
                    raise GradientError(
                        f"{self.title}: the parameter {self.names[id(p)]} is in no optimiser, so "
                        "it is not trained: add it to one, or freeze it with requires_grad = False"
                    )
        lists = lists or {name: network.parameters() for name, network in self.networks.items()}
        return [self.stage(name, parameters, [*lists]) for name, parameters in lists.items()]

    def stage(self, name: str, parameters: list[Parameter], order: list[str]) -> Stage:
        """Return the Stage of one optimiser. order: the names of all, as their losses follow."""
        of = "the loss" if len(order) == 1 else f"the loss of {name}"
        first, left = True, None  # the gradients of one step alone, and of one after another

        def once(set_parameters: Callable[[], None], with_gradients: bool) -> Update:
            self.kept.restore(with_gradients)
            set_parameters()
            self.noted.clear()
            loss = _loss(self.step(), name, order)
            return Update(of, loss, self.gradients(name, parameters))

        def run(set_parameters: Callable[[], None], for_gradient: bool) -> list[Update]:
            nonlocal first, left
            update = once(set_parameters, with_gradients=True)
            if for_gradient:  # those of a second step, in which old gradients may be left over
                alone, update = update, once(set_parameters, with_gradients=False)
                if first:
                    first, left = False, not all(map(_alike, alone.gradients, update.gradients))
            return [update]

        def explain(error: GradientError) -> None:
            if left:
                error.args = (
                    f"{error} (.grad still had the gradients of the step before: set it to None "
                    "before backward())",
                )

        named: dict[str, Parameter] = {}
        for p in parameters:
            label, i = self.names.get(id(p), p.name), 2
            while label in named:
                label, i = f"{self.names.get(id(p), p.name)} ({i})", i + 1
            named[label] = p
        return Stage(self.title, named, run, explain)

    def gradients(self, name: str, parameters: list[Parameter]) -> list[Any]:
        """Return the gradients that an optimiser got in the last run of the step, or without
        optimisers, those in `.grad`."""
        if name in self.optimizers:
            if name not in self.noted:
                raise InputError(
                    f"{self.title} did not call the step of {name}: give the optimisers that it "
                    "uses, and a step in which all of them are used"
                )
            return self.noted[name]
        if all(p.grad is None for p in parameters):
            raise InputError(
                f"after {self.title}, no parameter of {name} has a gradient in .grad: give "
                "optimizer=, or let the step leave the gradients of loss.backward() there"
            )
        return as_arrays([p.grad for p in parameters])


class _Recorder:
    """The `step` of an optimiser that notes the gradients that it gets. The optimiser checks them
    as usual, but does not update."""

    def __init__(self, optimizer: Any, noted: dict[str, list[Any]], name: str) -> None:
        self.optimizer, self.noted, self.name = optimizer, noted, name

    def __call__(self, *arguments: Any) -> None:
        optimizer = self.optimizer
        if isinstance(optimizer, Optimizer):
            gradients = arguments[0] if arguments else ()
            if hasattr(gradients, "__iter__") and not isinstance(gradients, Tensor):
                arguments = (list(gradients),)  # it may be a generator
            type(optimizer).step(optimizer, *arguments)
            gradients = arguments[0]
            gradients = [gradients] if isinstance(gradients, Tensor) else gradients
        else:
            gradients = arguments[0] if arguments else [p.grad for p in optimizer.parameters]
        self.noted[self.name] = as_arrays(gradients)


def names_of_parameters(kept: KeptState, networks: Mapping[str, Module]) -> dict[int, str]:
    """Return {id of a Parameter: its path} in `networks`, or else in all networks in use, whose
    names are those of variables."""
    one = len(networks) == 1
    found = [("" if one else name, network) for name, network in networks.items()]
    found += sorted(kept.modules, key=lambda item: -len(list(item[1].all_parts())))
    names: dict[int, str] = {}
    for name, network in found:
        for path, parameter in network.named_parameters():
            names.setdefault(id(parameter), f"{name}.{path}" if name else path)
    return names


def _loss(result: Any, name: str, order: list[str]) -> Any:
    """Return the loss of one optimiser, as a NumPy number, from what a step returns."""
    if isinstance(result, Mapping):
        if name not in result:
            raise InputError(
                f"the step returns {{{', '.join(map(repr, result))}}}: it must have a loss for "
                f"each optimiser, under the names {', '.join(map(repr, order))}"
            )
        result = result[name]
    elif isinstance(result, (tuple, list)):
        if len(result) != len(order):
            raise InputError(
                f"the step returns {len(result)} losses for {len(order)} optimisers: it must "
                "return one for each, in the same order"
            )
        result = result[order.index(name)]
    value = result.data if isinstance(result, Tensor) else result
    try:
        array = np.asarray(to_numpy(value))
    except (TypeError, ValueError):
        array = np.asarray(None)
    if array.size != 1 or array.dtype.kind not in "fiu":
        kind = f"{array.dtype} {array.shape}" if array.dtype != object else type(value).__name__
        raise InputError(
            f"the step returns {kind} for a loss: it must return the loss that it logs, a Tensor "
            "of one number or a float, or one for each optimiser"
        )
    return array.reshape(())


def _alike(a: Any, b: Any) -> bool:
    if a is None or b is None:
        return a is b
    return bool(np.allclose(a, b, 1e-5, 1e-6 * float(np.max(np.abs(a), initial=0.0))))
