"""Tensor: an array, with a record of how it was computed. Parameter: a Tensor to train."""

import itertools
import weakref

import numpy as np

from tinygan.backend import asarray, to_numpy, xp

_creation_order = itertools.count()


class Node:
    """A result in the graph: what it was computed from, and how a gradient flows back to there.

    Nodes point to nodes, never to Tensors, and only backwards. So an array that no derivative reads
    is freed as soon as its caller drops it, and a graph is freed without the cycle collector.
    (A derivative is a closure, and keeps the Tensors alive that it names.)

    op: the op that computed the result; None for a leaf.
    order: a counter of creation. Arguments are created before results, so it sorts every graph
    topologically.
    shape, dtype: of the result, and so of its gradient.
    parents: the node of each argument; None for an argument that needs no gradient.
    derivatives: one for each argument, or a single joint one; None after a backward pass used them
    up.
    y: the array of the result, if a derivative reads it.
    versions: (version, count) of each parameter among the arguments, whether or not a derivative
    reads it.
    where: the source line of the call, recorded under `anomaly`.
    leaf: a weak reference to the Tensor of a leaf.
    hooks: functions that the gradient of the result passes (gradient_hooks.py), or None.
    """

    __slots__ = "op order shape dtype parents derivatives y versions where leaf hooks".split()

    def __init__(self, op, value, parents=(), derivatives=(), y=None, versions=()):
        self.op, self.parents, self.derivatives = op, parents, derivatives
        self.y, self.versions = y, versions
        self.order = next(_creation_order)
        self.shape, self.dtype = value.shape, value.dtype
        self.where = self.leaf = self.hooks = None

    def consume(self):
        """Drop what a backward pass has used: its arrays are freed now, not with the graph."""
        self.derivatives, self.y, self.versions, self.hooks = None, None, (), None


class Version:
    """A counter of changes to an array, shared by all Tensors that view the array."""

    __slots__ = ("count", "name")

    def __init__(self, name):
        self.count, self.name = 0, name


class Tensor:
    """An n-dimensional array with gradients. Immutable: ops return new Tensors.

    data: the array (NumPy or CuPy), float32 or float64.
    node: its place in the graph; None for a constant (requires_grad is then False).
    requires_grad: whether ops record what is computed from it. A Tensor that was switched off and
    on again is a new leaf: earlier graphs do not reach it.
    grad: the gradient that `backward()` accumulates; `tinygan.grad` returns gradients instead.
    version: counts the changes of the parameter whose memory it shares; None if there is none.

    Tensor(array) copies the array. Operators, indexing and methods such as `sum` are ops:
    ops/methods.py attaches them. engine.py attaches `backward`, gradient_hooks.py `register_hook`;
    checks.py attaches the errors for
    assignments in place, and habits.py what NumPy's functions do with a Tensor.
    """

    __slots__ = ("data", "node", "grad", "version", "__weakref__")
    __hash__ = object.__hash__

    def __init__(self, data, requires_grad=False, dtype=None):
        if isinstance(data, Tensor):
            raise TypeError("Tensor(tensor): use .detach() for a constant, or the tensor itself")
        self.data = as_floating(data, dtype)
        self.node = self.grad = self.version = None
        self.requires_grad = requires_grad

    # Properties

    @property
    def requires_grad(self):
        """Whether gradients can be taken with respect to this Tensor."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, required):
        if not isinstance(required, (bool, np.bool_)):  # Tensor(2, 3) is a habit
            raise TypeError(
                f"requires_grad is True or False, not {required!r}; a Tensor is made of one array"
            )
        if self.node is not None and self.node.op is not None:
            if not required:
                raise RuntimeError(
                    "requires_grad of a computed Tensor is fixed: use .detach() for a constant"
                )
        elif not required:
            self.node = None
        elif self.node is None:
            self.node = Node(None, self.data)
            self.node.leaf = weakref.ref(self)  # a strong one would close a reference cycle

    @property
    def shape(self):
        return self.data.shape

    @property
    def dtype(self):
        return self.data.dtype

    @property
    def ndim(self):
        return self.data.ndim

    @property
    def size(self):
        return self.data.size

    def __len__(self):
        if not self.ndim:
            raise TypeError("a Tensor of shape () has no length")
        return self.shape[0]

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __repr__(self):
        name = type(self).__name__
        values = np.array2string(to_numpy(self.data), separator=", ", prefix=f"{name}(")
        shape = "" if self.size or self.ndim == 1 else f", shape={self.shape}"
        dtype = "" if self.dtype == np.float32 else f", dtype={self.dtype}"
        return f"{name}({values}{shape}{dtype}{', requires_grad=True' * self.requires_grad})"

    # Ways out of the graph

    def detach(self):
        """Return the same values as a constant, which no gradient flows through. Shares memory."""
        return wrap(self.data, None, self.version)

    def numpy(self) -> np.ndarray:
        """Return the values as a new NumPy array."""
        self._check_constant("numpy()")
        return np.array(to_numpy(self.data))

    def item(self) -> float:
        """Return the value of a Tensor with one element as a Python float."""
        if self.size != 1:
            raise ValueError(
                f"a Tensor of shape {self.shape} is not one number: reduce it, as in x.mean()"
            )
        return self.data.item()

    def astype(self, dtype):
        """Return a constant copy in another dtype. To convert a model, use Module.astype."""
        self._check_constant("astype()")
        return Tensor(self.data, dtype=dtype)

    __float__ = item

    def __int__(self):
        return int(self.item())

    def __bool__(self):
        if self.size != 1:
            raise ValueError(
                f"the truth value of a Tensor of shape {self.shape} is ambiguous: "
                "write .any() or .all() of a comparison, such as (x > 0).all()"
            )
        return bool(self.item())

    def __array__(self, dtype=None, copy=None):
        self._check_constant("np.asarray or another function of NumPy's")
        return np.array(to_numpy(self.data), dtype=dtype, copy=copy is not False or None)

    def __dlpack__(self, **options):
        self._check_constant("DLPack")
        return self.data.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.data.__dlpack_device__()

    def _check_constant(self, caller):
        if self.requires_grad:
            raise TypeError(
                f"{caller} would cut the graph of a Tensor that requires a gradient: use a tinygan "
                "op, such as ops.exp, or ops.stack for a list of Tensors; or write "
                "x.detach().numpy(), or x.item() for one number"
            )

    def __reduce__(self):  # for copy and pickle: the copy of a leaf is a new leaf
        if self.node is not None and self.node.op is not None:
            raise TypeError(
                "a computed Tensor cannot be copied or pickled with its graph: .detach() it first"
            )
        return _restore, (self.data, self.requires_grad)


class Parameter(Tensor):
    """A leaf Tensor that training changes in place, through `assign` or an optimiser alone.

    It owns a copy of `data`. Each change bumps a version that all views of the array (`w.T`) share.
    A backward pass through an op that had the parameter as an argument raises an error if it has
    changed since, whether or not a derivative reads its values. So no gradient is computed from
    overwritten values.
    """

    __slots__ = ()

    def __init__(self, data, requires_grad=True, dtype=None, name="parameter"):
        array = as_floating(data, dtype, copy=False)
        super().__init__(xp.array(array, order="C"), requires_grad)
        self.version = Version(name)

    @property
    def name(self):
        """The name in error messages; a Module sets it to 'Class.attribute'."""
        return self.version.name

    @name.setter
    def name(self, name):
        self.version.name = name

    def assign(self, value) -> None:
        """Overwrite the values in place. value: an array or Tensor of the same shape."""
        value = value.data if isinstance(value, Tensor) else value
        value = as_floating(value, self.dtype, copy=False)
        if value.shape != self.shape:
            raise ValueError(f"{self.name} has shape {self.shape}; assign got {value.shape}")
        self.data[...] = value
        self.mark_changed()

    def __setattr__(self, name, value):  # for `w.data -= step` and `w.data = array`
        if name == "data" and hasattr(self, "version"):
            self.assign(value)
        else:
            object.__setattr__(self, name, value)

    def mark_changed(self) -> None:
        """Record that `data` was written in place; an optimiser calls this after its kernel."""
        self.version.count += 1

    def __reduce__(self):
        return type(self), (self.data, self.requires_grad, None, self.name)


def wrap(data, node=None, version=None) -> Tensor:
    """Return a Tensor around a valid array: the fast constructor, without checks, for ops."""
    result = object.__new__(Tensor)
    result.data, result.node, result.grad, result.version = data, node, None, version
    return result


def as_floating(data, dtype=None, copy=True):
    """Return `data` as an array of `dtype`, which is a copy unless `copy` is False.

    By default an array of float32 or float64 keeps its dtype; everything else becomes float32.
    """
    array = asarray(data)
    if dtype is None:
        keep = hasattr(data, "dtype") and array.dtype in (np.float32, np.float64)
        dtype = array.dtype if keep else np.float32
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise TypeError(
            f"a Tensor is float32 or float64, not {np.dtype(dtype)}: "
            "indices and labels stay plain integer arrays"
        )
    if array.dtype.kind not in "fiub":
        raise TypeError(f"a Tensor holds real numbers, not {array.dtype}")
    # A copy has the usual layout, so that equal numbers give equal bits: BLAS takes others apart.
    return array.astype(dtype, order="C" if copy else "K", copy=copy)


def _restore(data, requires_grad):
    return Tensor(data, requires_grad)


def tensor(data, requires_grad=False, dtype=None) -> Tensor:
    """Return a new leaf Tensor with a copy of `data`: a number, nested lists or an array.

    Arrays of float32 or float64 keep their dtype; everything else becomes float32 by default.
    """
    return Tensor(data, requires_grad, dtype)
