"""Tensor: an array, and the node that remembers how it was computed. Parameter: one that may change."""

import itertools
import weakref

import numpy as np

from tinygan.backend import asarray, to_numpy, xp

_creation_order = itertools.count()


class Node:
    """One result in the graph: what it was computed from, and how a gradient flows back there.

    Nodes point to nodes, never to Tensors, and only backwards. So an array that no derivative reads is freed
    as soon as its caller lets go of it, and a graph frees itself without the cycle collector. (A derivative
    is a closure, and keeps alive those Tensors that it names.)

    op: the op that made it; None for a leaf.
    order: when it was created; arguments come before results, so this orders every graph topologically.
    shape, dtype: of the result; its gradient must have the same.
    parents: the node of each argument, None for an argument that needs no gradient.
    derivatives: one for each argument, or a single joint one; None once a backward pass has used them up.
    y: the array of the result, if a derivative reads it.
    read: (version, count) of each parameter among the arguments, whether or not a derivative reads it.
    where: the source line of the call, recorded under `anomaly`.
    leaf: of a leaf, a weak reference to its Tensor.
    """

    __slots__ = (
        "op",
        "order",
        "shape",
        "dtype",
        "parents",
        "derivatives",
        "y",
        "read",
        "where",
        "leaf",
    )

    def __init__(self, op, value, parents=(), derivatives=(), y=None, read=()):
        self.op, self.parents, self.derivatives, self.y, self.read = (
            op,
            parents,
            derivatives,
            y,
            read,
        )
        self.order = next(_creation_order)
        self.shape, self.dtype = value.shape, value.dtype
        self.where = self.leaf = None

    def consume(self):
        """Drop what a backward pass has used, so that its arrays are freed now, not with the graph."""
        self.derivatives = self.y = None
        self.read = ()


class Version:
    """Counts the changes of one array; shared by every Tensor that views that array."""

    __slots__ = ("count", "name")

    def __init__(self, name):
        self.count = 0
        self.name = name


class Tensor:
    """An n-dimensional array that gradients can be taken of. Immutable: ops return new Tensors.

    data: array of the module in use, float32 or float64.
    requires_grad: whether to record what is computed from it. Switched off and on again, it starts
    anew: earlier graphs no longer reach it.
    grad: filled by `backward()` alone; `tinygan.grad` returns gradients instead.

    Tensor(array) shares the array's memory; `tinygan.tensor(array)` copies it. Operators, indexing
    and methods such as `sum` are ops, attached in ops/methods.py; `backward` is attached in
    engine.py, and the refusal to be changed in place in checks.py.
    """

    __slots__ = ("data", "node", "grad", "version", "__weakref__")
    __array_ufunc__ = (
        None  # ndarray * Tensor must come to Tensor.__rmul__, not be looped over by NumPy
    )
    __hash__ = object.__hash__

    def __init__(self, data, requires_grad=False, dtype=None):
        if isinstance(data, Tensor):
            raise TypeError("Tensor(tensor): use .detach() for a constant, or the tensor itself")
        self.data = as_floating(data, dtype)
        self.node = self.grad = self.version = None
        self.requires_grad = requires_grad

    # What it is

    @property
    def requires_grad(self):
        """True if gradients can be taken with respect to this Tensor."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, required):
        if self.node is not None and self.node.op is not None:
            if not required:
                raise RuntimeError(
                    "requires_grad of a computed Tensor is fixed: use .detach() for a constant"
                )
        elif not required:
            self.node = None
        elif self.node is None:
            self.node = Node(None, self.data)
            self.node.leaf = weakref.ref(self)  # strong would be a cycle: Tensor -> node -> Tensor

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
        inside = np.array2string(
            to_numpy(self.data), separator=", ", prefix=type(self).__name__ + "("
        )
        dtype = "" if self.dtype == np.float32 else f", dtype={self.dtype}"
        return (
            f"{type(self).__name__}({inside}{dtype}{', requires_grad=True' * self.requires_grad})"
        )

    # What leaves the graph

    def detach(self):
        """The same values as a constant: no gradient flows through it. Shares the memory."""
        return wrap(self.data, None, self.version)

    def numpy(self) -> np.ndarray:
        """The values as a numpy.ndarray in host memory (shared where possible: do not write into it)."""
        self._refuse_if_graph("numpy()")
        return to_numpy(self.data)

    def item(self) -> float:
        """The value of a Tensor with one element, as a Python float."""
        return self.data.item()

    def astype(self, dtype):
        """A constant copy in another dtype; no gradient could flow through it. For a model: Module.astype."""
        self._refuse_if_graph("astype()")
        return Tensor(self.data.astype(dtype), dtype=dtype)

    __float__ = item

    def __int__(self):
        return int(self.item())

    def __bool__(self):
        if self.size != 1:
            raise ValueError(
                f"the truth value of a Tensor of shape {self.shape} is ambiguous: "
                "compare .numpy() with .any() or .all()"
            )
        return bool(self.item())

    def __array__(self, dtype=None, copy=None):
        self._refuse_if_graph("a NumPy function")
        values = to_numpy(self.data)
        return np.array(values, dtype=dtype, copy=copy)

    def __dlpack__(self, **options):
        self._refuse_if_graph("DLPack")
        return self.data.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.data.__dlpack_device__()

    def _refuse_if_graph(self, what):
        if self.requires_grad:
            raise TypeError(
                f"{what} would cut the graph of a Tensor that requires a gradient: "
                "use a tinygan op, or .detach() first"
            )

    def __reduce__(self):  # copying and pickling: a leaf becomes a leaf of its own
        if self.node is not None and self.node.op is not None:
            raise TypeError(
                "a computed Tensor cannot be copied or pickled with its graph: .detach() it first"
            )
        return _restore, (self.data, self.requires_grad)


class Parameter(Tensor):
    """A leaf Tensor that training changes, in place and only through `assign` or an optimiser.

    Owns a copy of `data`. Each change bumps a version shared by all views of the array (`w.T`), so that
    a gradient through values that are gone is an error instead of a wrong number.
    """

    __slots__ = ()

    def __init__(self, data, requires_grad=True, dtype=None, name="parameter"):
        super().__init__(xp.array(as_floating(data, dtype), order="C"), requires_grad)
        self.version = Version(name)

    @property
    def name(self):
        """Used in error messages; a Module sets it to 'Class.attribute'."""
        return self.version.name

    @name.setter
    def name(self, name):
        self.version.name = name

    def assign(self, value) -> None:
        """Overwrite the values, in place. `value`: array or Tensor of the same shape; cast to our dtype."""
        value = as_floating(value.data if isinstance(value, Tensor) else value, self.dtype)
        if value.shape != self.shape:
            raise ValueError(f"{self.name} has shape {self.shape}; assign got {value.shape}")
        self.data[...] = value
        self.mark_changed()

    def mark_changed(self) -> None:
        """Say that `data` was written in place (an optimiser's kernel does, then calls this)."""
        self.version.count += 1

    def __reduce__(self):
        return type(self), (self.data, self.requires_grad, None, self.name)


def wrap(data, node=None, version=None) -> Tensor:
    """A Tensor around an array that is known to be right: the quick constructor that ops use."""
    result = object.__new__(Tensor)
    result.data, result.node, result.grad, result.version = data, node, None, version
    return result


def as_floating(data, dtype=None):
    """`data` as a floating array: `dtype` if given, else its own if float32 or float64, else float32."""
    array = asarray(data)
    if dtype is None:
        dtype = (
            array.dtype
            if array.dtype in (np.float32, np.float64) and hasattr(data, "dtype")
            else np.float32
        )
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise TypeError(
            f"a Tensor is float32 or float64, not {np.dtype(dtype)}: "
            "indices and labels stay plain integer arrays"
        )
    if array.dtype.kind not in "fiub":
        raise TypeError(f"a Tensor holds real numbers, not {array.dtype}")
    return array.astype(dtype, copy=False)


def _restore(data, requires_grad):
    return Tensor(xp.array(data), requires_grad)


def tensor(data, requires_grad=False, dtype=None) -> Tensor:
    """A new leaf Tensor with a copy of `data` (numbers, nested lists, an array).

    Arrays keep float32 or float64; everything else becomes float32 unless `dtype` says otherwise.
    """
    return Tensor(xp.array(as_floating(data, dtype)), requires_grad)
