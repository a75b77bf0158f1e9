"""Kernels: functions on arrays. The updates in optim.py change their arrays in place.

The other kernels return arrays. No kernel knows of autograd.

Every kernel has a plain version, in the files of this folder. It states in a few lines what the
kernel computes, and it runs on NumPy and on CuPy. A kernel that costs time also has fast versions,
which compute the same numbers sooner: one for NumPy in `cpu/`, one for CuPy in `cuda/`. README.md
explains why they are fast.

A plain version and its fast versions have the same name and the same arguments, and are in files of
the same name. `@kernel` marks the plain version; `@fast(kernel)` says which kernel a fast version
belongs to:

    @kernel                                          # kernels/act.py
    def leaky_relu_gradient(g, y, slope, gain=1.0): ...

    @fast(act.leaky_relu_gradient)                   # kernels/cpu/act.py and kernels/cuda/act.py
    def leaky_relu_gradient(g, y, slope, gain=1.0): ...

The rest of the package calls `act.leaky_relu_gradient`. This file alone decides which version runs:
the fast one for the array module in use if there is one, and otherwise the plain one. With
TINYGAN_KERNELS=plain, every call runs the plain one.
"""

import functools
import importlib

from tinygan import backend
from tinygan.errors import InputError, from_environment, one_line, warn

_fast = {}  # (folder, kernel) -> the fast version in that folder: "cpu" or "cuda"
_resets = []  # for each kernel, a function that makes its next call choose a version again
_cuda_works = {}  # id of an array module on a GPU -> do the fast kernels work there?


def kernel(plain):
    """Decorate the plain version of a kernel. The kernel takes its arguments by position."""

    @functools.wraps(plain)
    def call(*arguments):
        return chosen(*arguments)

    def choose_version(*arguments):
        nonlocal chosen
        chosen = plain
        if _folder is not None:
            file = plain.__module__.rpartition(".")[2]
            importlib.import_module(f"{__name__}.{_folder}.{file}")
            chosen = _fast.get((_folder, call), plain)
        return chosen(*arguments)

    def reset():
        nonlocal chosen
        chosen = choose_version

    chosen = choose_version
    _resets.append(reset)
    return call


def fast(kernel):
    """Decorate the fast version of `kernel`, in a file of cpu/ or cuda/."""

    def register(function):
        _fast[function.__module__.split(".")[-2], kernel] = function
        return function

    return register


def in_use() -> str:
    """Return which kernels compute now: "plain" or "fast"."""
    return "plain" if _folder is None else "fast"


def use(name: str) -> None:
    """Compute with the "plain" or the "fast" kernels from now on.

    Raises InputError for another name.
    """
    global _choice
    _choice = _checked(name)
    _choose_folder()


def records_steps() -> bool:
    """Return whether a step can be recorded and replayed: only with fast kernels that work."""
    return _folder is not None


def _checked(name):
    if name not in ("plain", "fast"):
        raise InputError(f"unknown kernels {one_line(name)!r}: choose plain or fast")
    return name


def _choose_folder():
    """Choose the folder of the versions that run: cpu, cuda, or None for the plain kernels."""
    global _folder
    _folder = None
    if _choice == "fast":
        _folder = "cpu" if backend.device() == "cpu" else "cuda"
    for reset in _resets:
        reset()
    if _folder == "cuda" and not _works_here():
        _folder = None
        for reset in _resets:
            reset()


def _works_here():
    """Return whether the fast kernels work on this GPU. Try them once, when they come into use."""
    module = id(backend.active())
    if module not in _cuda_works:
        try:
            importlib.import_module(f"{__name__}.cuda.trial").run()
            _cuda_works[module] = True
        except Exception as error:  # a library may be missing, or a kernel may not compile
            _cuda_works[module] = False
            warn(f"the fast kernels do not work on this GPU; the plain ones compute: {error}")
    return _cuda_works[module]


_folder = None
_choice = from_environment("TINYGAN_KERNELS", "fast", _checked)
backend.on_change.append(_choose_folder)
_choose_folder()
