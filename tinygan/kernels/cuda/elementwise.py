"""Kernels in CUDA C: what would take several launches of the array module, in one.

To launch a kernel takes longer than most of our arrays keep a GPU busy. So chains of elementwise
operations are one kernel each, a convolution is columns and one product, and an optimiser updates
all its parameters at once.

The bodies are CUDA C, run for every i; T is the type of the arrays. Where i is taken apart, it is
in 32 bits, as division in 64 is slow on a GPU: no array may have 2^31 elements, 8 GB. `raw`
arguments are arrays indexed by hand, the others broadcast against each other. They are plain enough
that a C compiler takes them too, which is how they are tested without a GPU.
"""

import functools

from tinygan import backend


@functools.lru_cache(None)
def _compiled(module, inputs, outputs, body, name):
    return module.ElementwiseKernel(inputs, outputs, body, f"tinygan_{name}")


def elementwise(name, inputs, outputs, body):
    """A function that runs `body`, made when first called: CuPy may not be there."""

    def run(*args, **settings):
        return _compiled(backend.active(), inputs, outputs, body, name)(*args, **settings)

    return run
