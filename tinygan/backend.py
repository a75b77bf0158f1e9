"""The array module in use: NumPy, or CuPy on a GPU.

The rest of the package writes `xp.tanh(x)`, which works with both. Only this file and `kernels/`
distinguish between them.
"""

import contextlib
import functools
import importlib
import threading
from typing import Any, Callable, Iterator, Sequence, TypeAlias

import numpy as np

from tinygan.errors import InputError, from_environment

Rng: TypeAlias = np.random.Generator | int  # a generator, or a seed for one


class ArrayModule:
    """A stand-in for `numpy` that forwards every attribute to the module chosen by `use`.

    The chosen module's attributes are copied into the instance. So a lookup costs no more than it
    would on the module itself.
    """

    def __getattr__(self, name):
        return getattr(_module, name)


xp: Any = ArrayModule()
_module = np
_standing_in, _lock = 0, threading.Lock()
on_change: list[Callable[[], None]] = []  # called after every change of the array module


def activate(module: Any) -> None:
    """Make `module` (numpy, cupy, or any module with NumPy's functions) the array module in use."""
    global _module
    _module = module
    vars(xp).clear()
    vars(xp).update(
        {name: value for name, value in vars(module).items() if not name.startswith("_")}
    )
    for function in on_change:
        function()


@contextlib.contextmanager
def standing_in(names: dict[str, Any]) -> Iterator[None]:
    """While the block runs, these functions stand in for those of `xp` with the same names."""
    global _standing_in
    with _lock:  # several threads may record steps at once
        _standing_in += 1
        vars(xp).update(names)
    try:
        yield
    finally:
        with _lock:
            _standing_in -= 1
            if not _standing_in:
                vars(xp).update({name: getattr(_module, name) for name in names})


def use(name: str) -> None:
    """Compute with "numpy" (CPU) or "cupy" (GPU) from now on. Existing arrays are not moved.

    Raises InputError for any other name, and if CuPy or a GPU is missing.
    """
    if name == "numpy":
        return activate(np)
    if name != "cupy":
        raise InputError(f"unknown backend {name!r}: choose numpy or cupy")
    try:
        import cupy
    except ImportError as error:
        raise InputError(
            "backend cupy needs CuPy: pip install 'tinygan[cuda12]' or 'tinygan[cuda13]', whichever"
            f" matches the CUDA version that nvidia-smi shows ({_first_line(error)})"
        ) from None
    if int(cupy.__version__.split(".")[0]) < 13:
        raise InputError(
            f"backend cupy needs CuPy 13 or newer, not {cupy.__version__}: "
            "pip install -U 'tinygan[cuda12]' (or cuda13)"
        )
    try:
        if not cupy.cuda.runtime.getDeviceCount():
            raise RuntimeError("CUDA found no device")
    except Exception as error:  # CuPy's exception classes can be imported only from CuPy
        raise InputError(
            "backend cupy found no usable GPU: it needs an NVIDIA GPU with its driver (nvidia-smi "
            f"shows both); the error was: {_first_line(error)}"
        ) from None
    activate(cupy)


def use_device(device: str) -> None:
    """Compute on the "cpu" or the "gpu" from now on. Raises InputError as `use` does."""
    use({"cpu": "numpy", "gpu": "cupy"}[device])


def device() -> str:
    """Return the device in use: "cpu" or "gpu"."""
    return "cpu" if on_cpu() else "gpu"


def gpu_and_software() -> str:
    """Return the name of the GPU in use and the versions of CUDA and CuPy, in one line."""
    runtime = xp.cuda.runtime
    name = runtime.getDeviceProperties(runtime.getDevice())["name"].decode()
    version = runtime.runtimeGetVersion()
    cuda = f"{version // 1000}.{version % 1000 // 10}"
    return f"{name}, CUDA {cuda}, CuPy {xp.__version__}"


def _first_line(error):
    """Return the first line of an exception's message, or the name of its class."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def active() -> Any:
    """Return the array module in use: numpy, cupy, or what `activate` was given."""
    return _module


def on_cpu() -> bool:
    """Return whether NumPy is in use."""
    return _module is np


class _Local(threading.local):
    tape: Any = None


_local = _Local()


def tape() -> Any:
    """Return the tape of the step that this thread records, which receives all data from the host
    (kernels/cuda/graphs.py, kernels/cpu/recording.py); None while no step is recorded."""
    return _local.tape


@contextlib.contextmanager
def use_tape(new_tape: Any) -> Iterator[None]:
    """Let `tape()` return `new_tape` while the block runs."""
    before, _local.tape = _local.tape, new_tape
    try:
        yield
    finally:
        _local.tape = before


def asarray(data: Any, dtype: Any = None) -> Any:
    """Return `data` (a NumPy or CuPy array, a list, a number) as an array of the module in use."""
    if _local.tape is None or isinstance(data, xp.ndarray):
        return xp.asarray(data, dtype=dtype)
    return _local.tape.constant(data, dtype)


def from_host(make: Callable[[], Any]) -> Any:
    """Call make(), which returns an array in host memory or a tuple of arrays, and return the same
    on the device in use.

    Use it for all data that changes from step to step: every replay of a recorded step (`capture`)
    calls make() again.
    """
    if _local.tape is not None:
        return _local.tape.varying(make)
    arrays = make()
    return tuple(map(asarray, arrays)) if isinstance(arrays, tuple) else asarray(arrays)


def stays_the_same(get: Callable[[], Any]) -> None:
    """Tell a recorded step that it takes the value of get() for granted. If the value has changed
    before a replay, the step is recorded anew."""
    if _local.tape is not None:
        _local.tape.expected.append((get, get()))


def when_readable(check: Callable[..., bool], report: Callable[..., None], *arrays: Any) -> None:
    """Call report(*arrays), which raises an error, unless check(*arrays) is true. This happens only
    where values can be read without waiting: on a CPU, also at every replay of a recorded step."""
    if hasattr(_local.tape, "on_host"):
        _local.tape.on_host(check, report, arrays)
    elif all(map(in_host_memory, arrays)) and not check(*arrays):
        report(*arrays)


def scalar(value: float, dtype: Any) -> Any:
    """Return a number as an array of no dimensions. On a GPU, it is uploaded once and cached."""
    if on_cpu():
        return xp.asarray(value, dtype)
    return _cached_scalar(_module, float(value).hex(), str(np.dtype(dtype)))


def constants(make: Callable[..., Any]) -> Any:
    """Decorate a function that makes an array on a device, or a tuple of arrays, with
    functools.lru_cache.

    A recorded step knows only the addresses of the arrays that it reads. So the tape keeps them
    alive, even if the cache drops them.
    """
    cached = functools.lru_cache(4096)(make)

    @functools.wraps(make)
    def call(*args):
        return cached(*args) if _local.tape is None else _local.tape.cached(cached, args)

    call.cache_clear = cached.cache_clear
    return call


@constants
def _cached_scalar(module, number, dtype):
    return asarray(float.fromhex(number), dtype)


def special(name: str) -> Any:
    """Return a function of scipy.special, such as "erfcx", for arrays of the module in use. It is
    imported when it is first needed."""
    package = "scipy" if _module is np else "cupyx.scipy"
    return getattr(importlib.import_module(f"{package}.special"), name)


def in_host_memory(array: Any) -> bool:
    """Return whether Python can read the array without waiting for a GPU."""
    return not hasattr(array, "get")


def to_numpy(array: Any) -> np.ndarray[Any, Any]:
    """Return `array` as a numpy.ndarray in host memory: the same object if it is one already."""
    return np.asarray(array) if in_host_memory(array) else array.get()


def float_on_cpu(array: Any) -> Any:
    """Return an array of no dimensions as a float on the CPU, and unchanged on a GPU, where reading
    its value would mean waiting for it."""
    return float(array) if isinstance(array, (np.ndarray, np.generic, float)) else array


SEEDS = int, np.integer, np.random.SeedSequence, np.random.BitGenerator, list, tuple, np.ndarray


def generator(rng: Rng | None) -> np.random.Generator:
    """Return `rng` if it is a generator; for a seed, a new generator with this seed; for None, one
    that differs from run to run."""
    return np.random.default_rng(rng) if rng is None or isinstance(rng, SEEDS) else rng


def normal(rng: Rng, shape: int | Sequence[int], dtype: Any = np.float32) -> Any:
    """Return standard normal draws. They are drawn on the CPU and uploaded, so that every backend
    gets the same numbers."""
    rng = generator(rng)
    return from_host(lambda: rng.standard_normal(shape, dtype=dtype))


def uniform(
    rng: Rng, low: float, high: float, shape: int | Sequence[int], dtype: Any = np.float32
) -> Any:
    """Return uniform draws from [low, high), drawn on the CPU and uploaded."""
    rng = generator(rng)
    return from_host(lambda: (low + (high - low) * rng.random(shape)).astype(dtype))


def integers(rng: Rng, high: int, n: int) -> Any:
    """Return n integers, uniform on 0..high - 1, drawn on the CPU and uploaded."""
    rng = generator(rng)
    return from_host(lambda: rng.integers(high, size=n))


from_environment("TINYGAN_BACKEND", "numpy", use)
