"""All arrays of an optimiser in one launch.

The kernels read the arrays by address, so they must be whole, and of one dtype.
"""

import numpy as np

from tinygan import backend
from tinygan.backend import asarray, constants, from_host, xp

from .. import fast, optim
from .elementwise import elementwise
from .linear import sums

CHUNK = 1024  # elements of one array; a table says of which, and where in it the chunk starts

_TABLE = "raw int64 pointers, raw int32 owner, raw int64 start, raw int64 length"

_ELEMENT = """
    int k = owner[i / CHUNK];
    ptrdiff_t j = start[i / CHUNK] + i % CHUNK;
    if (j < length[k]) {
        T* w = reinterpret_cast<T*>(pointers[k * COUNT]);
        const T* g = reinterpret_cast<const T*>(pointers[k * COUNT + 1]);
        BODY
    }""".replace("CHUNK", str(CHUNK))


def _update(name, count, inputs, body):
    """A function of lists of arrays and of numbers, that writes into the first list (w; and further ones, from p2 on).

    count: how many lists; body: of element j of array k, whose own numbers are numbers[k * size], ...
    """
    pointers = "".join(
        f"T* p{n} = reinterpret_cast<T*>(pointers[k * COUNT + {n}]); " for n in range(2, count)
    )
    code = _ELEMENT.replace("BODY", pointers + body).replace("COUNT", str(count))
    run = elementwise(name, _TABLE + inputs, "raw T numbers", code)

    def call(numbers, lists, *settings):
        """numbers: a function that returns a row for each array; called anew whenever a recorded step is launched."""
        arrays = [array for row in zip(*lists, strict=True) for array in row]
        if not any(array.size for array in lists[0]):
            return
        if backend.tape is not None:  # the gradients (the second list) are the step's own
            backend.tape.keep([*lists[0], *(array for moments in lists[2:] for array in moments)])
        dtype = lists[0][0].dtype
        owner, start, length, size = _table(
            backend.active(), tuple(array.size for array in lists[0])
        )
        pointers = asarray(np.array([array.data.ptr for array in arrays], np.int64))
        own = from_host(lambda: np.array(numbers(), dtype).reshape(-1))
        run(pointers, owner, start, length, *settings, own, size=size)

    return call


@constants
def _table(module, sizes):
    """(the array of each chunk, where in it the chunk starts, the sizes; elements of all chunks)."""
    chunks = [(k, first) for k, size in enumerate(sizes) for first in range(0, size, CHUNK)]
    owner, start = (np.array(part, kind) for part, kind in zip(zip(*chunks), (np.int32, np.int64)))
    return asarray(owner), asarray(start), asarray(np.array(sizes, np.int64)), len(chunks) * CHUNK


_adam = _update(
    "adam",
    4,
    ", T share1, T share2",
    """
        T m = p2[j] + (g[j] - p2[j]) * share1, v = p3[j] + (g[j] * g[j] - p3[j]) * share2;
        p2[j] = m; p3[j] = v;
        w[j] -= numbers[2 * k] * m / (sqrt(v) + numbers[2 * k + 1]);""",
)

_rmsprop = _update(
    "rmsprop",
    3,
    ", T alpha, T share, T eps",
    """
        p2[j] = alpha * p2[j] + share * g[j] * g[j];
        w[j] -= numbers[k] * g[j] / (sqrt(p2[j]) + eps);""",
)

_momentum = _update(
    "momentum", 3, ", T keep", "p2[j] = keep * p2[j] + g[j]; w[j] -= numbers[k] * p2[j];"
)

_sgd = _update("sgd", 2, "", "w[j] -= numbers[k] * g[j];")

_lerp = _update("lerp", 2, "", "w[j] = numbers[2 * k] * w[j] + numbers[2 * k + 1] * g[j];")


_squares = elementwise(
    "squares",
    _TABLE,
    "T y",
    f"""
        int chunk = i / 32, k = owner[chunk];
        const T* g = reinterpret_cast<const T*>(pointers[k]);
        ptrdiff_t j = start[chunk] + i % 32, end = min(start[chunk] + {CHUNK}, length[k]);
        T sum = 0;
        for (; j < end; j += 32)
            sum += g[j] * g[j];
        y = sum;""",
)


def _sum_of_squares(arrays):
    """The sum of the squares of all elements of arrays, which must be C-contiguous and of one dtype."""
    owner, start, length, size = _table(backend.active(), tuple(array.size for array in arrays))
    pointers = asarray(np.array([array.data.ptr for array in arrays], np.int64))
    lanes = xp.empty(size // CHUNK * 32, arrays[0].dtype)
    _squares(pointers, owner, start, length, lanes)
    return sums(sums(lanes.reshape(-1, 32)).reshape(32, 1))[0]


def _whole(ws, gs, *more):
    """The lists as one kernel takes them, or None where it cannot."""
    lists = [ws, [xp.ascontiguousarray(g) for g in gs], *more]
    arrays = [array for some in lists for array in some]
    if all(array.flags.c_contiguous and array.dtype == ws[0].dtype for array in arrays):
        return lists
    if backend.tape is not None:  # one by one, this step's rates would be recorded with it
        raise TypeError("a step that is recorded takes parameters of one dtype, and C-contiguous")


@fast(optim.adam)
def adam(ws, gs, ms, vs, rates, beta1, beta2):
    lists = _whole(ws, gs, ms, vs)
    if lists is None:
        return optim.adam.__wrapped__(ws, gs, ms, vs, rates, beta1, beta2)
    _adam(rates, lists, 1 - beta1, 1 - beta2)


@fast(optim.rmsprop)
def rmsprop(ws, gs, vs, rate, alpha, eps):
    lists = _whole(ws, gs, vs)
    if lists is None:
        return optim.rmsprop.__wrapped__(ws, gs, vs, rate, alpha, eps)
    _rmsprop(lambda: [rate()] * len(ws), lists, alpha, 1 - alpha, eps)


@fast(optim.sgd)
def sgd(ws, gs, velocities, rate, momentum):
    lists = _whole(ws, gs, *([] if velocities is None else [velocities]))
    if lists is None:
        return optim.sgd.__wrapped__(ws, gs, velocities, rate, momentum)
    rates = lambda: [rate()] * len(ws)
    _sgd(rates, lists) if velocities is None else _momentum(rates, lists, momentum)


@fast(optim.lerp)
def lerp(averages, ws, decay):
    lists = _whole(averages, ws)
    if lists is None:
        return optim.lerp.__wrapped__(averages, ws, decay)

    def shares():
        beta = decay()
        return [(beta, 1 - beta)] * len(ws)

    _lerp(shares, lists)


@fast(optim.norm)
def norm(gs):
    return xp.sqrt(_sum_of_squares([xp.ascontiguousarray(g) for g in gs]))
