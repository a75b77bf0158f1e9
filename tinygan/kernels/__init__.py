"""Kernels: arrays in, arrays out, no autograd. This is where speed lives.

Nothing here is more than NumPy; what makes it fast is knowing what a processor waits for. In each line, the time
of the obvious way and of ours (2 cores of an AMD EPYC with AVX-512 in a virtual machine, NumPy 2.4, OpenBLAS,
float32; 24 November 2026):

    BLAS does the work. A matrix product runs at 100 billion operations a second and core, anything else at a
    tenth of that. So a convolution is a product with the columns of the image (conv.py); a sum over rows, a product
    with ones (0.22 -> 0.10 ms for 12,544 rows of 64); a filter along an axis, a product with a matrix that is
    mostly zeros (warp.py: 30.6 -> 0.9 ms, [1, 3, 3, 1] up to 32x32x64, batch 32).

    Memory is slow, caches are fast. The columns of a whole batch, 75 MB, go to memory and back; made a block of 2 MB
    at a time they are still in cache when BLAS reads them (39.5 -> 28.1 ms, 3x3, 64 -> 64 channels, 32x32, batch 32,
    one thread). Chains of elementwise calls go through a block before they turn to the next
    (`parallel.elementwise`, `norm._walk`; batch-norm 1.8 -> 0.9 ms on 64x14x14x64). Scratch buffers are used again, because
    memory from the system is empty only after the system has cleared it.

    Threads. NumPy lets go of the interpreter lock while it computes, so Python threads that each take blocks of a
    batch run at once (28.1 -> 15.5 ms, the same convolution on 2 threads). To wake a thread takes 50 microseconds,
    and after every NumPy call it must take the lock again: so few, long calls, and none for small arrays
    (`parallel.run`). Blocks are cut by shape alone and added in order, so the bits do not depend on the threads.

    Fewer multiplications. A tile of 4x4 outputs of a 3x3 kernel takes 36 products instead of 144 (winograd.py: 28.1
    -> 10.4 ms on one thread, 15.5 -> 6.8 on two). Its transforms are products with 6x6 matrices, once for rows and
    once for columns: twice as fast as one product with their 36x36 Kronecker product.

    Long rows. An inner loop over 6 channels spends its time on starting. Seven neighbouring pixels of an image
    with one channel are computed as one pixel with seven times the outputs (`conv._together`: 2.0 -> 1.0 ms,
    LeNet's first layer, batch 128); vectors to broadcast are repeated to rows of a thousand numbers.

    No branches. `where` looks at every number: 3.3 ms for the gradient of a leaky relu on 64x14x14x64, and 7.7 with
    a mask as an index. Comparing, converting to 0.0 and 1.0, clipping and multiplying: 0.65 ms (act.py).

On a GPU all this is different: it wants few launches of large kernels (gpu.py), cuBLAS for products (cublas.py), and a step
that Python does not have to run (graphs.py). Each function here goes that way first, where a GPU is in use.

Each file says more. Where a kernel is the fast half of an op, its other half is the definition in ops/ that it
stands for; the tests hold them to each other.
"""


class Kernel:
    """The fast half of a `fused` op.

    forward(*arrays, **settings) -> (value, saved): `saved` is whatever backward reads.
    backward(g, saved, needed) -> the gradient arrays of the arguments (anything where not needed).
    forward_calls, backward_calls count the runs, so that a test can prove that the kernel really ran.
    """

    def __init__(self, forward, backward):
        self._forward, self._backward = forward, backward
        self.forward_calls = self.backward_calls = 0

    def forward(self, *arrays, **settings):
        self.forward_calls += 1
        return self._forward(*arrays, **settings)

    def backward(self, g, saved, needed):
        self.backward_calls += 1
        return self._backward(g, saved, needed)


def floor():
    return "fast"
