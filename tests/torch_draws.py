"""The numbers that PyTorch's generator draws from a seed in float64, on a CPU.

With them, the golden files need few parameters and inputs: of an array that was drawn, they have
only the seed and the place.
"""

import functools

import numpy as np


class TorchRandom:
    """PyTorch's generator, from the given one of its 32-bit numbers on."""

    def __init__(self, seed, position=0):
        self.rng = np.random.RandomState(seed)
        self.rng.randint(0, 1 << 32, position, np.uint32)

    def uniform(self, n):
        high, low = self.rng.randint(0, 1 << 32, (n, 2), np.uint32).T.astype(np.uint64)
        return ((high << np.uint64(32) | low) & np.uint64((1 << 53) - 1)) * 2.0**-53

    def normal(self, shape):
        """Return N(0, 1) draws: pairs of them from pairs of uniform ones, 16 at a time (the last 16
        again, if the number is no multiple of 16)."""
        n = int(np.prod(shape))
        draws, rest = self.uniform(n), n % 16
        blocks = [draws[: n - rest].reshape(-1, 16)]
        if rest:
            blocks.append(self.uniform(16)[None])
        u = np.concatenate(blocks)
        radius, angle = np.sqrt(-2 * np.log(1 - u[:, :8])), 2 * np.pi * u[:, 8:]
        normal = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], 1)
        if rest:
            draws[: n - rest], draws[n - 16 :] = normal[:-1].reshape(-1), normal[-1]
            return draws.reshape(shape)
        return normal.reshape(shape)

    def orthogonal(self, shape):
        """Return a weight as torch.nn.init.orthogonal_ makes it: Q of a QR decomposition, with the
        signs of R's diagonal."""
        draws = self.normal((shape[0], int(np.prod(shape[1:]))))
        rows, columns = draws.shape
        q, r = np.linalg.qr(draws.T if rows < columns else draws)
        q *= np.sign(np.diag(r))
        return (q.T if rows < columns else q).reshape(shape)


@functools.cache
def drawn(kind, seed, position, scale, shape):
    """Return an array that was drawn: scale times N(0, 1) ("normal"), U(-1, 1) ("symmetric"), or an
    orthogonal weight; or tanh of N(0, 1) ("tanh")."""
    rng = TorchRandom(seed, position)
    if kind == "symmetric":
        return scale * (2 * rng.uniform(int(np.prod(shape))).reshape(shape) - 1)
    if kind == "orthogonal":
        return scale * rng.orthogonal(shape)
    normal = rng.normal(shape)
    return np.tanh(normal) if kind == "tanh" else scale * normal
