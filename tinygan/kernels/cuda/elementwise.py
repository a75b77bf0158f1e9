"""Kernels in CUDA C, each of which replaces several launches of the array module by one.

Launching a kernel takes longer than a GPU takes to compute most of our arrays. So a chain of
elementwise operations is one kernel, a convolution is one kernel and one product, and an optimiser
updates all its parameters at once.

The body of a kernel is CUDA C, run for every element i. T is the type of the arrays. `raw`
arguments are arrays that the body indexes; the others broadcast against each other. Bodies that
compute rows and columns from i use 32 bits, because division in 64 bits is slow on a GPU: so no
array may have 2^31 elements or more (8 GB). The bodies are so plain that a C compiler accepts them
too. That is how they are tested without a GPU.
"""

import functools

from tinygan import backend


@functools.lru_cache(None)
def _compiled(module, inputs, outputs, body, name):
    return module.ElementwiseKernel(inputs, outputs, body, f"tinygan_{name}")


def elementwise_kernel(name, inputs, outputs, body):
    """Return a function that runs `body`.

    The first call compiles it, so that this file can be imported without CuPy.
    """

    def run(*args, **settings):
        return _compiled(backend.active(), inputs, outputs, body, name)(*args, **settings)

    return run
