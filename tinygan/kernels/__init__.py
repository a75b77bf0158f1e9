"""Kernels: arrays in, arrays out, no autograd.

Each is written on two floors. The plain floor, the files of this folder, says in a page what is
computed. The fast floor computes the same numbers sooner: `cpu/` for NumPy, `cuda/` for CuPy.
README.md tells why its tricks work.

    @kernel                                          # kernels/act.py
    def gate(g, y, slope, gain=1.0): ...

    @fast(act.leaky_relu_gradient)                                  # kernels/cpu/act.py, kernels/cuda/act.py
    def gate(g, y, slope, gain=1.0): ...

This file is the door between the floors and everybody else. It alone decides which version a call
of `act.leaky_relu_gradient` runs: the fast one for the array module in use, unless there is none, or
TINYGAN_KERNELS=plain.
"""

import functools
import importlib

from tinygan import backend
from tinygan.errors import InputError, from_environment, one_line, warn

_fast = {}  # (the folder of a fast floor, a kernel) -> its fast version there
_undecided = []  # for each kernel, a function that has its next call decide which version runs
_works = {}  # id of an array module on a GPU -> does the fast floor work there?


def kernel(plain):
    """Decorate the plain version of a kernel. The result takes its arguments by position."""

    @functools.wraps(plain)
    def call(*arguments):
        return version(*arguments)

    def decide(*arguments):
        nonlocal version
        version = plain
        if _folder is not None:
            room = plain.__module__.rpartition(".")[2]
            importlib.import_module(f"{__name__}.{_folder}.{room}")
            version = _fast.get((_folder, call), plain)
        return version(*arguments)

    def undecided():
        nonlocal version
        version = decide

    version = decide
    _undecided.append(undecided)
    return call


def fast(slow):
    """Decorate the fast version of the kernel `slow`, in a file of cpu/ or of cuda/."""

    def register(function):
        _fast[function.__module__.split(".")[-2], slow] = function
        return function

    return register


def in_use() -> str:
    """The floor that computes now: "plain" or "fast"."""
    return "plain" if _folder is None else "fast"


def use(name: str) -> None:
    """Compute on the floor "plain" or "fast" from now on. Raises InputError for another name."""
    global _wanted
    _wanted = _known(name)
    _choose()


def records_steps() -> bool:
    """Can a step be recorded and launched again? Only the fast floor of a GPU does that."""
    return _folder == "cuda"


def _known(name):
    if name not in ("plain", "fast"):
        raise InputError(f"unknown kernels {one_line(name)!r}: choose plain or fast")
    return name


def _choose():
    """Choose the folder whose versions run: None for the plain floor, cpu, or cuda."""
    global _folder
    _folder = None
    if _wanted == "fast":
        _folder = "cpu" if backend.device() == "cpu" else "cuda"
    for undecided in _undecided:
        undecided()
    if _folder == "cuda" and not _works_here():
        _folder = None
        for undecided in _undecided:
            undecided()


def _works_here():
    """Does the fast floor work on this GPU? Tried once, when it comes into use."""
    module = id(backend.active())
    if module not in _works:
        try:
            importlib.import_module(f"{__name__}.cuda.trial").run()
            _works[module] = True
        except Exception as error:  # whatever is missing, or does not compile, here
            _works[module] = False
            warn(f"the fast kernels do not work on this GPU; the plain ones compute: {error}")
    return _works[module]


_folder = None
_wanted = from_environment("TINYGAN_KERNELS", "fast", _known)
backend.on_change.append(_choose)
_choose()
