"""Whose arrays are whose.

What the caller hands to an op stays the caller's: arrays that a graph will read are copied (as
arguments of ops by `as_tensors`, as settings here). What the engine hands out becomes the caller's:
every gradient has an array of its own. So a change to either never changes another gradient.
"""

import sys

import numpy as np

from tinygan import backend
from tinygan.backend import xp

from .recording import DIFFERENTIATING, state
from .tensor import Tensor, wrap

_PLAIN = {int, float, bool, str, type(None), type(...)}  # types of settings that cannot change


def constant_settings(name, rest, settings):
    """Return the settings of a call of op `name`, a tuple and a dict, such that nobody can change
    them.

    Lists become tuples, and NumPy's numbers Python's, which never change a dtype. Arrays are copied
    if the op records them. In a backward pass, settings come from derivatives, and stay as they
    are. Raises TypeError if a setting is a Tensor, which would silently get no gradient.
    """
    where = state.get()
    in_backward = where is False or where is DIFFERENTIATING
    for values in (rest, settings.values()) if settings else (rest,):
        for x in values:
            kind = type(x)
            if kind in _PLAIN or kind is tuple and _PLAIN.issuperset(map(type, x)):
                continue
            if not in_backward or isinstance(x, Tensor):
                # Nobody changes an array between the two passes of a step that a GPU records.
                copies = where is True and backend.tape() is None
                rest = [_constant(name, x, copies) for x in rest]
                return rest, {key: _constant(name, x, copies) for key, x in settings.items()}
    return rest, settings


def _constant(name, x, copies):
    if isinstance(x, (tuple, list)):
        return tuple([_constant(name, part, copies) for part in x])
    if isinstance(x, Tensor):
        raise TypeError(
            f"{name}: a setting is a constant: pass a number or an array, not a Tensor (and the "
            "Tensors of an op without their names)"
        )
    if isinstance(x, np.generic):
        return x.item()
    if isinstance(x, slice):
        parts = x.start, x.stop, x.step
        plain = _PLAIN.issuperset(map(type, parts))
        return x if plain else slice(*(_constant(name, part, copies) for part in parts))
    if copies and isinstance(x, np.ndarray):  # in host memory
        return x.copy()
    return xp.array(x) if copies and isinstance(x, xp.ndarray) else x


def with_own_arrays(gradients, monitor):
    """Return the list `gradients` of Tensors and Nones, where no two share memory, nor does one
    share memory with anything that is still in use.

    The list must be the only reference to Tensors that are not in use elsewhere. Only arrays that
    something else refers to are copied, and views that one cannot write to. monitor: is told of
    the copies, if it is not None.
    """
    for i in range(len(gradients)):
        if (g := gradients[i]) is not None:
            gradients[i] = result = wrap(g.data, g.node, g.version)
            del g  # now only `result` refers to the array, unless it is in use elsewhere
            if not _is_free(result):
                original, result.data, result.version = result.data, xp.array(result.data), None
                if monitor is not None:
                    monitor.add_copy(original, result)
    return gradients


def _is_free(tensor):
    """Return whether this Tensor alone refers to its memory, and each value has its own place."""
    if sys.getrefcount(tensor.data) > _ALONE:
        return False
    array = tensor.data
    if array.base is None:
        return True
    # A view; such as one of broadcast_to, where many values share a place.
    writeable = getattr(array.flags, "writeable", True)  # CuPy's flags do not have it
    owner_is_free = isinstance(array.base, xp.ndarray) and sys.getrefcount(array.base) <= _ALONE
    return owner_is_free and writeable and 0 not in array.strides


_new = wrap(np.empty(0))
_ALONE = sys.getrefcount(_new.data)  # the number of references to the array of a new Tensor
