"""The array module in use: NumPy, or CuPy on a GPU.

Everything above the kernels writes `xp.tanh(x)` and works on either. Only this file and `kernels/`
know that there is more than one.
"""

import numpy as np

from tinygan.errors import InputError, from_environment


class ArrayModule:
    """A stand-in for `numpy` that forwards to the module chosen by `use`.

    The functions of the chosen module are copied into the instance, so that a lookup costs no more
    than it would on the module itself.
    """

    def __getattr__(self, name):
        return getattr(_module, name)


xp = ArrayModule()
_module = np


def activate(module):
    """Make `module` (numpy, cupy, or anything with NumPy's functions) the array module in use."""
    global _module
    _module = module
    vars(xp).clear()
    vars(xp).update({name: value for name, value in vars(module).items() if not name.startswith("_")})


def use(name: str) -> None:
    """Compute with "numpy" (CPU) or "cupy" (GPU) from now on. Arrays made before stay where they are.

    Raises InputError for another name, or when CuPy or a GPU is missing.
    """
    if name == "numpy":
        return activate(np)
    if name != "cupy":
        raise InputError(f"unknown backend {name!r}: choose numpy or cupy")
    try:
        import cupy

        cupy.cuda.runtime.getDeviceCount()
    except ImportError:
        raise InputError("backend cupy needs CuPy: pip install 'tinygan[cuda12]' (or cuda13)") from None
    except Exception as error:  # CuPy raises its own classes, importable only with CuPy
        raise InputError(f"backend cupy found no usable GPU ({str(error).splitlines()[0]})") from None
    activate(cupy)


def active():
    """The array module in use."""
    return _module


def on_cpu() -> bool:
    """True when NumPy is in use: then kernels may take views, write with `out=` and use threads."""
    return _module is np


def asarray(data, dtype=None):
    """`data` (an array of either side, a list, a number) as an array of the module in use."""
    return xp.asarray(data, dtype=dtype)


def to_numpy(array) -> np.ndarray:
    """`array` in host memory, as a numpy.ndarray (the same object where it is one already)."""
    return array.get() if hasattr(array, "get") else np.asarray(array)


def normal(rng: np.random.Generator, shape, dtype=np.float32):
    """Standard normal draws. Made on the CPU and uploaded, so that every backend sees the same numbers."""
    return asarray(rng.standard_normal(shape, dtype=dtype))


def uniform(rng: np.random.Generator, low, high, shape, dtype=np.float32):
    """Uniform draws on [low, high), made on the CPU and uploaded."""
    return asarray((low + (high - low) * rng.random(shape)).astype(dtype))


from_environment("TINYGAN_BACKEND", "numpy", use)
