"""Module: a function with parameters and buffers, built from smaller ones."""

import copy
import inspect

import numpy as np

from tinygan.autograd import Parameter, Tensor, as_tensors, described
from tinygan.autograd.checks import accepts, described_call, layer_error, tell_path
from tinygan.backend import asarray, to_numpy, xp


class Module:
    """The base of layers and networks. A subclass sets Parameters and Modules (or lists of Modules)
    as attributes in `__init__`, and defines `forward`.

    buffer_names: the attributes that are state but not trained, such as running statistics: plain
    arrays, rebound and never written in place, so that a graph keeps the values that it saw (a
    recorded step alone, see `capture`, writes new values where it found the old ones).
    training: True until `eval()`; some layers (batch-norm, dropout) behave differently then.
    conditional: does `forward` take a condition (such as class labels) as its second argument?
    """

    buffer_names = ()
    training = True
    conditional = False

    def forward(self, *inputs):
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def __call__(self, *inputs, **settings):
        """forward(*inputs); floating arrays among the inputs become constant Tensors.

        What goes wrong in a part of this module is told with the path to that part.
        """
        inputs = [
            Tensor(x) if isinstance(x, xp.ndarray) and x.dtype.kind == "f" else x for x in inputs
        ]
        try:
            return self.forward(*inputs, **settings)
        except (TypeError, ValueError, IndexError) as error:
            if not accepts(self.forward, inputs, settings):
                takes, got = inspect.signature(self.forward), described_call(inputs, settings)
                raise self.argument_error(f"takes {takes}, got ({got})", TypeError) from None
            tell_path(error, self)
            raise

    def __repr__(self):
        """The class with its sizes: shapes of parameters, or else of buffers, and whole numbers."""
        values = vars(self).items()
        sizes = {name: x.shape for name, x in values if isinstance(x, Tensor)}
        sizes = sizes or {name: x.shape for name, x in values if name in self.buffer_names}
        numbers = {
            name: x
            for name, x in values
            if type(x) is int or isinstance(x, tuple) and {*map(type, x)} == {int}
        }
        inside = ", ".join(f"{name}={x}" for name, x in {**sizes, **numbers}.items())
        return f"{type(self).__name__}({inside})"

    def expect_shape(self, x, *shape, what="x"):
        """x as a Tensor of this shape, where a letter is any length; else raises `argument_error`."""
        (x,) = as_tensors(type(self).__name__, (x,))
        if x.ndim != len(shape) or any(type(n) is int and n != m for n, m in zip(shape, x.shape)):
            raise self.argument_error(
                f"takes {what} ({', '.join(map(str, shape))}), got {described(x)}"
            )
        return x

    def expect_labels(self, labels, n, classes):
        """labels: integers (n,), or a Tensor (n, classes) of mixtures; else raises `argument_error`."""
        length = (len(labels),) if isinstance(labels, (list, tuple)) else None
        shape = getattr(labels, "shape", length)
        if shape != ((n, classes) if isinstance(labels, Tensor) else (n,)):
            raise self.argument_error(
                f"takes a label for each of {n}, integers ({n},) in "
                f"0..{classes - 1}, got {described(labels)}"
            )
        return labels

    def argument_error(self, reason, kind=ValueError):
        """The error to raise: it says which module refuses its arguments, and why."""
        return layer_error(self, reason, kind)

    def __setattr__(self, name, value):
        if isinstance(value, Parameter):
            value.name = f"{type(self).__name__}.{name}"  # for error messages
        lost = ()
        if isinstance(value, dict):
            lost = [part for part in value.values() if isinstance(part, (Parameter, Module))]
        elif isinstance(value, (list, tuple)):
            lost = [part for part in value if isinstance(part, Parameter)]
        if lost:
            raise TypeError(
                f"{type(self).__name__}.{name} would not be trained: keep Parameters "
                "as attributes of their own, and Modules as attributes or in a list"
            )
        object.__setattr__(self, name, value)

    # What it holds

    def children(self):
        """(name, Module) of each direct part, in order of definition; of a list: 'name.0', ..."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value
            elif isinstance(value, (list, tuple)):
                yield from (
                    (f"{name}.{i}", part)
                    for i, part in enumerate(value)
                    if isinstance(part, Module)
                )

    def modules(self, prefix=""):
        """(path, Module) of this module (path '') and everything in it, depth first."""
        yield prefix, self
        for name, child in self.children():
            yield from child.modules(f"{prefix}.{name}" if prefix else name)

    def _slots(self, wanted):
        """[(path, owner, attribute)] of all for which wanted(owner, attribute, value) is true."""
        return [
            (f"{path}.{name}" if path else name, module, name)
            for path, module in self.modules()
            for name, value in vars(module).items()
            if wanted(module, name, value)
        ]

    def _parameter_slots(self):
        return self._slots(lambda owner, name, value: isinstance(value, Parameter))

    def buffer_slots(self):
        """[(path, owner, attribute)] of all buffers."""
        return self._slots(lambda owner, name, value: name in owner.buffer_names)

    def named_parameters(self):
        """(path, Parameter) pairs, such as ('main.0.weight', ...)."""
        found = {}  # by identity: one that two parts share counts once, under its first path
        for path, owner, name in self._parameter_slots():
            found.setdefault(id(getattr(owner, name)), (path, getattr(owner, name)))
        return list(found.values())

    def parameters(self) -> list:
        """All Parameters, in order of definition: `grad(loss, net.parameters())`."""
        return [parameter for _, parameter in self.named_parameters()]

    def named_buffers(self):
        """(path, array) pairs."""
        return [(path, getattr(owner, name)) for path, owner, name in self.buffer_slots()]

    def buffers(self) -> list:
        return [buffer for _, buffer in self.named_buffers()]

    def mark_changed(self) -> None:
        """Say that all Parameters were written in place."""
        for parameter in self.parameters():
            parameter.mark_changed()

    # State

    def state_dict(self) -> dict:
        """{path: numpy array} of all parameters and buffers (copies)."""
        state = {path: np.array(to_numpy(p.data)) for path, p in self.named_parameters()}
        return state | {path: np.array(to_numpy(b)) for path, b in self.named_buffers()}

    def load_state_dict(self, state) -> None:
        """Take over the values of `state`, all or nothing.

        Raises ValueError naming what is missing, what is unknown, or whose shape differs.
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
            now = getattr(owner, name)
            value = state[path].astype(now.dtype)
            # Some buffers stay in host memory.
            setattr(owner, name, asarray(value) if isinstance(now, xp.ndarray) else value)

    def copy_buffers(self, other) -> None:
        """Take over the buffers of `other`, of the same structure (none is written in place)."""
        self.set_buffers(other.buffers())

    def set_buffers(self, buffers) -> None:
        """Take over buffers that `buffers()` gave."""
        for (_, owner, name), buffer in zip(self.buffer_slots(), buffers, strict=True):
            setattr(owner, name, buffer)

    def astype(self, dtype):
        """Convert all parameters and buffers, in this module itself; returns it."""
        slots = self._parameter_slots()
        converted = {id(p): Parameter(p.data, p.requires_grad, dtype) for p in self.parameters()}
        for _, owner, name in slots:
            setattr(owner, name, converted[id(getattr(owner, name))])
        for _, owner, name in self.buffer_slots():
            setattr(owner, name, getattr(owner, name).astype(dtype))
        return self

    def train(self, training=True):
        """Set training mode here and in all parts; returns self."""
        for _, module in self.modules():
            module.training = training
        return self

    def eval(self):
        """Set evaluation mode here and in all parts; returns self."""
        return self.train(False)

    def as_function(self, dtype):
        """This module as a pure function f(*inputs, *parameters), and {path: Parameter}.

        Works on a copy in `dtype`; every call starts from the same buffers. `check_grads` uses it.
        """
        module = copy.deepcopy(self).astype(dtype)
        parameters = dict(module.named_parameters())
        position = {id(p): i for i, p in enumerate(parameters.values())}
        slots = [
            (owner, name, position[id(getattr(owner, name))])
            for _, owner, name in module._parameter_slots()
        ]
        buffers = [(owner, name, getattr(owner, name)) for _, owner, name in module.buffer_slots()]

        def function(*args):
            inputs, values = (
                args[: len(args) - len(parameters)],
                args[len(args) - len(parameters) :],
            )
            for owner, name, i in slots:
                setattr(owner, name, values[i])
            for owner, name, value in buffers:
                setattr(owner, name, value)
            return module(*inputs)

        function.__name__ = type(self).__name__
        return function, parameters


class Sequential(Module):
    """Layers one after another: Sequential(a, b)(x) = b(a(x)). Indexable and iterable.

    layers: Modules, and functions of one Tensor such as `ops.relu`; a function has no parameters.
    Sequential(...)(x, condition) gives the condition to those Modules whose `conditional` is True.
    Raises TypeError for anything else, a class such as `nn.ReLU` (without parentheses) included.
    """

    def __init__(self, *layers):
        for i, layer in enumerate(layers):
            if isinstance(layer, type) or not callable(layer):
                raise TypeError(
                    f"Sequential: layer {i} must be a Module or a function, got {described(layer)}"
                )
        self.layers = list(layers)

    def children(self):
        """The layers under their plain numbers '0', '1', ...; then any other parts."""
        yield from (
            (str(i), layer) for i, layer in enumerate(self.layers) if isinstance(layer, Module)
        )
        yield from (
            (name, part) for name, part in super().children() if not name.startswith("layers.")
        )

    def __len__(self):
        return len(self.layers)

    def __iter__(self):
        return iter(self.layers)

    def __getitem__(self, index):
        return Sequential(*self.layers[index]) if isinstance(index, slice) else self.layers[index]

    def forward(self, x, condition=None):
        for layer in self.layers:
            x = layer(x, condition) if isinstance(layer, Module) and layer.conditional else layer(x)
        return x
