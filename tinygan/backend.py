"""The array module in use: NumPy, or CuPy on a GPU.

Everybody writes `xp.tanh(x)` and works on either. Only this file and `kernels/` know that there is
more than one.
"""

import functools

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
on_change = []  # functions to call when another array module comes into use


def activate(module):
    """Make `module` (numpy, cupy, or anything with NumPy's functions) the array module in use."""
    global _module
    _module = module
    vars(xp).clear()
    vars(xp).update(
        {name: value for name, value in vars(module).items() if not name.startswith("_")}
    )
    for call in on_change:
        call()


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
    except ImportError as error:
        raise InputError(
            "backend cupy needs CuPy: pip install 'tinygan[cuda12]' or 'tinygan[cuda13]', by the CUDA "
            f"version that nvidia-smi shows ({_line(error)})"
        ) from None
    if int(cupy.__version__.split(".")[0]) < 13:
        raise InputError(
            f"backend cupy needs CuPy 13 or newer, not {cupy.__version__}: pip install -U 'tinygan[cuda12]' "
            "(or cuda13)"
        )
    try:
        if not cupy.cuda.runtime.getDeviceCount():
            raise RuntimeError("there is none")
    except Exception as error:  # CuPy raises its own classes, importable only with CuPy
        raise InputError(
            "backend cupy found no usable GPU: it takes one by NVIDIA, and its driver (nvidia-smi shows "
            f"both); here: {_line(error)}"
        ) from None
    activate(cupy)


def use_device(device: str) -> None:
    """As `use`, by "cpu" or "gpu"."""
    use({"cpu": "numpy", "gpu": "cupy"}[device])


def device() -> str:
    """ "cpu" or "gpu": where computation takes place."""
    return "cpu" if on_cpu() else "gpu"


def gpu_and_software() -> str:
    """The GPU in use and its software, in a line."""
    runtime = xp.cuda.runtime
    version = runtime.runtimeGetVersion()
    return (
        f"{runtime.getDeviceProperties(runtime.getDevice())['name'].decode()}, CUDA {version // 1000}."
        f"{version % 1000 // 10}, CuPy {xp.__version__}"
    )


def _line(error):
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def active():
    """The array module in use."""
    return _module


def on_cpu() -> bool:
    """True when NumPy is in use."""
    return _module is np


tape = None  # while a step is recorded (kernels/cuda/graphs.py), it takes what comes from the host


def asarray(data, dtype=None):
    """`data` (an array of either side, a list, a number) as an array of the module in use."""
    if tape is None or isinstance(data, xp.ndarray):
        return xp.asarray(data, dtype=dtype)
    return tape.constant(data, dtype)


def from_host(make):
    """What make() returns, an array in host memory or a tuple of them, on the device in use.

    For whatever is new at each step: a step that was recorded (`capture`) and is launched again calls make() again.
    """
    if tape is not None:
        return tape.varying(make)
    made = make()
    return tuple(map(asarray, made)) if isinstance(made, tuple) else asarray(made)


def scalar(value, dtype):
    """A number as an array of no dimensions. On a GPU it is uploaded once and kept."""
    return (
        np.asarray(value, dtype)
        if on_cpu()
        else _kept(_module, float(value).hex(), str(np.dtype(dtype)))
    )


def constants(make):
    """functools.lru_cache for functions that make arrays on a device, or tuples of them. A step that is recorded holds on to
    those that it reads, for it knows nothing but their addresses."""
    cached = functools.lru_cache(4096)(make)

    @functools.wraps(make)
    def call(*args):
        made = cached(*args)
        if tape is not None:
            tape.keep(made)
        return made

    call.cache_clear = cached.cache_clear
    return call


@constants
def _kept(module, number, dtype):
    return asarray(float.fromhex(number), dtype)


def in_host_memory(array) -> bool:
    """True for what Python can look at without waiting for a GPU."""
    return not hasattr(array, "get")


def to_numpy(array) -> np.ndarray:
    """`array` in host memory, as a numpy.ndarray (the same object where it is one already)."""
    return np.asarray(array) if in_host_memory(array) else array.get()


def float_on_cpu(array):
    """An array of no dimensions as a float; on a GPU as it is, because to read it means to wait for it."""
    return float(array) if on_cpu() else array


def normal(rng: np.random.Generator, shape, dtype=np.float32):
    """Standard normal draws. Made on the CPU and uploaded, so that every backend sees the same numbers."""
    return from_host(lambda: rng.standard_normal(shape, dtype=dtype))


def uniform(rng: np.random.Generator, low, high, shape, dtype=np.float32):
    """Uniform draws on [low, high), made on the CPU and uploaded."""
    return from_host(lambda: (low + (high - low) * rng.random(shape)).astype(dtype))


def integers(rng: np.random.Generator, high, n):
    """n whole numbers, each of 0..high - 1 as likely as the others, drawn on the CPU and uploaded."""
    return from_host(lambda: rng.integers(high, size=n))


from_environment("TINYGAN_BACKEND", "numpy", use)
