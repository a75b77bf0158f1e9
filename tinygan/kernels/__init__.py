"""Kernels: arrays in, arrays out, no autograd. This is where speed lives."""


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
