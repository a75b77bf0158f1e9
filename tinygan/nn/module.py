"""Module: the base class of layers and networks, which hold parameters, buffers and Modules."""

import contextlib
import copy
import inspect
from collections.abc import MutableSequence
from typing import Any, Callable, Iterable, Iterator, Mapping, Sequence, TypeVar

import numpy as np

from tinygan.autograd import Array, Parameter, Tensor, TensorLike, as_tensors, described
from tinygan.autograd.checks import accepts, add_layer_path, described_call, layer_error
from tinygan.autograd.habits import (
    MODULE,
    advise,
    check_attribute,
    explain_constructors,
    instead_of_layer,
)
from tinygan.autograd.reach import parameters_of
from tinygan.backend import asarray, to_numpy, xp

M = TypeVar("M", bound="Module")


class Module:
    """The base class of layers and networks. A subclass sets Parameters and Modules (or lists of
    Modules, or lists of such lists) as attributes in `__init__`, and defines `forward`. Whatever
    else leads to a Parameter or Module, such as a dict or a function, is refused by `parameters()`
    and by all that needs the parts, because it would not be trained. Frozen ones, whose
    requires_grad is False, may be anywhere.

    buffer_names: the attributes that hold state that is not trained, such as running statistics.
    They are plain arrays. Layers rebind them and never write into them, so that a graph keeps the
    values that it was computed with. (Only a recorded step, see `capture`, writes new values into
    the old arrays.)
    training: True until `eval()` is called. Batch-norm and dropout compute something else in
    evaluation.
    conditional: True if `forward` has a second argument, the condition (such as class labels),
    which may be optional.
    """

    buffer_names: tuple[str, ...] = ()
    training: bool = True
    conditional: bool = False

    def forward(self, *inputs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def __call__(self, *inputs: Any, **settings: Any) -> Any:
        """Return forward(*inputs, **settings); floating-point arrays among the inputs become
        constant Tensors.

        The message of an error in a part of this module begins with the path to that part.
        """
        inputs = [
            as_tensors(type(self).__name__, (x,))[0]
            if isinstance(x, xp.ndarray) and x.dtype.kind == "f"
            else x
            for x in inputs
        ]
        try:
            return self.forward(*inputs, **settings)
        except (TypeError, ValueError, IndexError) as error:
            if not accepts(self.forward, inputs, settings):
                takes, got = inspect.signature(self.forward), described_call(inputs, settings)
                raise self.argument_error(f"takes {takes}, got ({got})", TypeError) from None
            add_layer_path(error, self)
            raise

    def expect_shape(self, x: TensorLike, *shape: int | str, what: str = "x") -> Tensor:
        """Return x as a Tensor of this shape, in which a letter stands for any length. Equal
        letters are not compared.

        what: the name of x in the message. Raises `argument_error` for another shape.
        """
        (x,) = as_tensors(type(self).__name__, (x,))
        if x.ndim != len(shape) or any(
            not isinstance(n, str) and n != m for n, m in zip(shape, x.shape)
        ):
            raise self.argument_error(
                f"takes {what} ({', '.join(map(str, shape))}), got {described(x)}"
            )
        return x

    def expect_labels(self, labels: Any, n: int, classes: int) -> Any:
        """Return labels, which must be integers (n,) or a Tensor (n, classes) of mixtures.

        Raises `argument_error` otherwise.
        """
        length = (len(labels),) if isinstance(labels, (list, tuple)) else None
        shape = getattr(labels, "shape", length)
        if shape != ((n, classes) if isinstance(labels, Tensor) else (n,)):
            raise self.argument_error(
                f"takes a label for each of {n} samples, integers ({n},) in "
                f"0..{classes - 1}, got {described(labels)}"
            )
        return labels

    def argument_error(self, reason: str, kind: type[Exception] = ValueError) -> Exception:
        """Return the error to raise for wrong arguments: it names this module and the reason."""
        return layer_error(self, reason, kind)

    def __setattr__(self, name: str, value: Any) -> None:
        check_attribute(self, name, value)
        if isinstance(value, Parameter):
            value.name = f"{type(self).__name__}.{name}"  # for error messages
        elif isinstance(value, np.generic) and name not in self.buffer_names:
            value = value.item()  # NumPy's numbers would change dtypes, and are no sizes in `repr`
        overlooked = ()  # by `parameters`, which looks further
        if isinstance(value, dict):
            overlooked = [part for part in value.values() if isinstance(part, (Parameter, Module))]
        elif isinstance(value, (list, tuple)):
            overlooked = [part for part in value if isinstance(part, Parameter)]
        if overlooked:
            raise TypeError(
                f"{type(self).__name__}.{name} would not be trained: keep Parameters "
                "as attributes of their own, and Modules as attributes or in lists"
            )
        object.__setattr__(self, name, value)

    # Parts, parameters and buffers

    def children(self) -> Iterator[tuple[str, "Module"]]:
        """Yield (name, Module) of each direct part, in order of definition. The parts in a list are
        called 'name.0', 'name.1', ..., and those in a list of lists 'name.0.0', ..."""
        for name, value in vars(self).items():
            if isinstance(value, (Module, list, tuple)):
                yield from _modules_in(name, value)

    def modules(self) -> Iterator[tuple[str, "Module"]]:
        """Iterate over (path, Module) of this module (path '') and all modules in it, depth first.

        Raises TypeError if it holds a Parameter or Module elsewhere, which would not be trained.
        """
        parts = list(self.all_parts())
        parameters_of(parts, Module, allow_tensors=True)
        return iter(parts)

    def all_parts(self, prefix: str = "") -> Iterator[tuple[str, "Module"]]:
        """Yield what `modules` returns, without the check. prefix: the path of this module in a
        larger one."""
        yield prefix, self
        for name, child in self.children():
            yield from child.all_parts(f"{prefix}.{name}" if prefix else name)

    def _slots(self, accept):
        """Return (path, owner, attribute) of all attributes, of this module and of those in it, for
        which accept(owner, attribute, value) is true."""
        return [
            (f"{path}.{name}" if path else name, module, name)
            for path, module in self.all_parts()
            for name, value in vars(module).items()
            if accept(module, name, value)
        ]

    def _parameter_slots(self):
        return self._slots(lambda owner, name, value: isinstance(value, Parameter))

    def buffer_slots(self) -> list[tuple[str, "Module", str]]:
        """Return (path, owner, attribute) of every buffer."""
        return self._slots(lambda owner, name, value: name in owner.buffer_names)

    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """Return (path, Parameter) of all parameters, such as ('main.0.weight', ...).

        A Parameter that two parts share is listed once, under its first path.
        """
        by_identity = {}
        for path, _, name, parameter in parameters_of(list(self.all_parts()), Module):
            by_identity.setdefault(id(parameter), (f"{path}.{name}" if path else name, parameter))
        return list(by_identity.values())

    def parameters(self) -> list[Parameter]:
        """Return all Parameters, in order of definition, as in `grad(loss, net.parameters())`."""
        return [parameter for _, parameter in self.named_parameters()]

    def named_buffers(self) -> list[tuple[str, Array]]:
        """Return (path, array) of all buffers."""
        return [(path, getattr(owner, name)) for path, owner, name in self.buffer_slots()]

    def buffers(self) -> list[Array]:
        """Return all buffers, in order of definition."""
        return [buffer for _, buffer in self.named_buffers()]

    def mark_changed(self) -> None:
        """Tell all Parameters that their arrays were written in place."""
        for _, owner, name in self._parameter_slots():
            getattr(owner, name).mark_changed()

    # State

    def state_dict(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return {path: NumPy array}, copies of all parameters and buffers."""
        state = {path: np.array(to_numpy(p.data)) for path, p in self.named_parameters()}
        return state | {path: np.array(to_numpy(b)) for path, b in self.named_buffers()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set all parameters and buffers to the values in `state`, a dict like `state_dict`'s.

        Raises ValueError, and changes nothing, if a path is missing or unknown, or if an array has
        another shape or does not hold real numbers.
        """
        own = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        state = {path: np.asarray(value) for path, value in state.items()}
        differences = {"missing": own.keys() - state.keys(), "unknown": state.keys() - own.keys()}
        problems = [
            f"{kind} {', '.join(sorted(names)[:5])}" for kind, names in differences.items() if names
        ]
        problems += [
            f"{path} has shape {state[path].shape}, not {value.shape}"
            for path, value in own.items()
            if path in state and state[path].shape != value.shape
        ]
        problems += [
            f"{path} holds {value.dtype}"
            for path, value in state.items()
            if value.dtype.kind not in "fiub"
        ]
        if problems:
            raise ValueError(f"state does not fit {type(self).__name__}: " + "; ".join(problems))
        for path, parameter in self.named_parameters():
            parameter.assign(state[path])
        for path, owner, name in self.buffer_slots():
            old = getattr(owner, name)
            value = state[path].astype(old.dtype)
            # Some buffers stay in host memory.
            setattr(owner, name, asarray(value) if isinstance(old, xp.ndarray) else value)

    def copy_buffers(self, other: "Module") -> None:
        """Set the buffers to those of `other`, a Module of the same structure.

        The arrays are shared, which is safe because no layer writes into them.
        """
        self.set_buffers(other.buffers())

    def set_buffers(self, buffers: Iterable[Array]) -> None:
        """Set the buffers to those that `buffers()` returned."""
        for (_, owner, name), buffer in zip(self.buffer_slots(), buffers, strict=True):
            setattr(owner, name, buffer)

    def astype(self: M, dtype: Any) -> M:
        """Convert all parameters and buffers of this module to `dtype`, and return the module.

        Parameters are replaced by new objects: make optimisers afterwards.
        """
        slots = self._parameter_slots()
        converted = {id(p): Parameter(p.data, p.requires_grad, dtype) for p in self.parameters()}
        for _, owner, name in slots:
            setattr(owner, name, converted[id(getattr(owner, name))])
        for _, owner, name in self.buffer_slots():
            setattr(owner, name, getattr(owner, name).astype(dtype))
        return self

    def train(self: M, training: bool = True) -> M:
        """Set training mode in this module and all its parts, and return the module."""
        for _, module in self.modules():
            module.training = training
        return self

    def eval(self: M) -> M:
        """Set evaluation mode in this module and all its parts, and return the module."""
        return self.train(False)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Freeze all Parameters (False), or let them be trained again (True), and return the
        module. `grad` has None in the places of frozen ones, and optimisers leave them alone."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    @contextlib.contextmanager
    def with_parameters(self, values: Sequence[Tensor]) -> Iterator[None]:
        """Compute, while the block runs, with other Tensors in place of the parameters: one for
        each of `parameters()`, in this order. Gradients flow to these Tensors."""
        slots = [(owner, name, getattr(owner, name)) for _, owner, name in self._parameter_slots()]
        stand_ins = {id(p): value for p, value in zip(self.parameters(), values, strict=True)}
        try:
            for owner, name, parameter in slots:
                vars(owner)[name] = stand_ins[id(parameter)]
            yield
        finally:
            for owner, name, parameter in slots:
                vars(owner)[name] = parameter

    def as_function(self, dtype: Any) -> tuple[Callable[..., Any], dict[str, Parameter]]:
        """Return this module as a pure function f(*inputs, *parameters), and {path: Parameter}.

        f works on a copy of the module in `dtype`, and every call starts from the same buffers and
        the same random numbers. `check_grads` uses it.
        """
        module = copy.deepcopy(self).astype(dtype)
        parameters = dict(module.named_parameters())
        buffers = [(owner, name, getattr(owner, name)) for _, owner, name in module.buffer_slots()]
        parts = [value for _, part in module.modules() for value in vars(part).values()]
        generators = [value for value in parts if isinstance(value, np.random.Generator)]
        states = [generator.bit_generator.state for generator in generators]

        def function(*args):
            n = len(args) - len(parameters)
            inputs, values = args[:n], args[n:]
            for owner, name, value in buffers:
                setattr(owner, name, value)
            for generator, state in zip(generators, states):
                generator.bit_generator.state = state
            with module.with_parameters(values):
                return module(*inputs)

        function.__name__ = type(self).__name__
        return function, parameters


advise(Module, MODULE)
explain_constructors(Module)


def _modules_in(name, value):
    if isinstance(value, Module):
        yield name, value
    elif isinstance(value, (list, tuple)):
        for i, part in enumerate(value):
            yield from _modules_in(f"{name}.{i}", part)


class Sequential(MutableSequence[Any], Module):
    """Layers one after another: Sequential(a, b)(x) = b(a(x)). It is a list of them, which can be
    indexed, changed and iterated over.

    layers: Modules, or functions of one Tensor, such as `ops.relu`, which have no parameters.
    Sequential(...)(x, condition) passes the condition to the Modules whose `conditional` is True.
    Raises TypeError for anything else, also for a class such as `nn.ReLU` (without parentheses).
    """

    def __init__(self, *layers: Callable[..., Any]) -> None:
        self.layers = self._checked(layers)

    def _checked(self, layers, first=0):
        for i, layer in enumerate(layers, first):
            if isinstance(layer, type) or not callable(layer):
                raise TypeError(
                    f"Sequential: layer {i} must be a Module or a function, got "
                    f"{described(layer)}{instead_of_layer(layer)}"
                )
        return list(layers)

    def children(self) -> Iterator[tuple[str, Module]]:
        """Yield the layers, under the names '0', '1', ..., and then any other parts."""
        yield from (
            (str(i), layer) for i, layer in enumerate(self.layers) if isinstance(layer, Module)
        )
        yield from (
            (name, part) for name, part in super().children() if not name.startswith("layers.")
        )

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.layers)

    def __getitem__(self, index: int | slice) -> Any:
        return Sequential(*self.layers[index]) if isinstance(index, slice) else self.layers[index]

    def __setitem__(self, index: int | slice, layer: Any) -> None:
        if isinstance(index, slice):
            self.layers[index] = self._checked(list(layer), index.indices(len(self))[0])
        else:
            (self.layers[index],) = self._checked([layer], index)

    def __delitem__(self, index: int | slice) -> None:
        del self.layers[index]

    def insert(self, index: int, layer: Callable[..., Any]) -> None:
        """Put a layer before the one at `index`. (append, extend and pop are those of lists.)"""
        self.layers[index:index] = self._checked([layer], index)

    def forward(self, x, condition=None):
        for i, layer in enumerate(self.layers):
            x = layer(x, condition) if isinstance(layer, Module) and layer.conditional else layer(x)
            if x is None or isinstance(x, xp.ndarray) and x.dtype.kind == "f":  # it cuts the graph
                got = f"layer {i} returned {described(x)}, not a Tensor"
                raise self.argument_error(got, TypeError)
        return x
