"""Updates of all parameters of an optimiser in one launch.

The kernels read the arrays by address, so these must be C-contiguous and have the same dtype.
"""

import numpy as np

from tinygan import backend
from tinygan.backend import asarray, constants, from_host, xp

from .. import fast, optim
from .elementwise import elementwise_kernel
from .linear import sums

# Elements in a chunk, which is a part of one array. A table holds, for each chunk, the array that
# it belongs to and where in the array it starts.
CHUNK = 1024

_TABLE = "raw int64 pointers, raw int32 owner, raw int64 start, raw int64 length"

_ELEMENT = """
    int k = owner[i / CHUNK];
    ptrdiff_t j = start[i / CHUNK] + i % CHUNK;
    if (j < length[k]) {
        T* w = reinterpret_cast<T*>(pointers[k * COUNT]);
        const T* g = reinterpret_cast<const T*>(pointers[k * COUNT + 1]);
        BODY
    }""".replace("CHUNK", str(CHUNK))


def _update_kernel(name, count, body, temporary=(1,)):
    """Return a function that updates lists of arrays in one launch.

    count: the number of lists: ws, gs and moments. body: updates element j of array k. It may write
    to w (of the first list) and to p2, p3, ... (of the third list, the fourth, ...), and reads
    `numbers`, in which every array has a row. temporary: which lists a recorded step creates anew,
    so that their arrays need not stay alive: by default the second, gs.
    """
    pointers = "".join(
        f"T* p{n} = reinterpret_cast<T*>(pointers[k * COUNT + {n}]); " for n in range(2, count)
    )
    code = _ELEMENT.replace("BODY", pointers + body).replace("COUNT", str(count))
    run = elementwise_kernel(name, _TABLE, "raw T numbers", code)

    def call(get_rows, lists):
        """get_rows: a function that returns a row of `numbers` for each array.

        Every replay of a recorded step calls it again.
        """
        arrays = [array for row in zip(*lists, strict=True) for array in row]
        if not any(array.size for array in lists[0]):
            return
        if backend.tape() is not None:
            kept = (arrays for i, arrays in enumerate(lists) if i not in temporary)
            backend.tape().keep_alive([array for arrays in kept for array in arrays])
        dtype = lists[0][0].dtype
        sizes = tuple(array.size for array in lists[0])
        owner, start, length, size = _chunk_table(backend.active(), sizes)
        pointers = asarray(np.array([array.data.ptr for array in arrays], np.int64))
        rows = from_host(lambda: np.array(get_rows(), dtype).reshape(-1))
        run(pointers, owner, start, length, rows, size=size)

    return call


@constants
def _chunk_table(module, sizes):
    """Return the table of chunks of arrays with these sizes.

    (index of each chunk's array, where in it the chunk starts, sizes, elements of all chunks)
    """
    chunks = [(k, first) for k, size in enumerate(sizes) for first in range(0, size, CHUNK)]
    owner, start = (np.array(part, kind) for part, kind in zip(zip(*chunks), (np.int32, np.int64)))
    return asarray(owner), asarray(start), asarray(np.array(sizes, np.int64)), len(chunks) * CHUNK


_DECAYED = "T d = g[j]; if ({decay} != 0) d += {decay} * w[j];"  # g + decay * w, if there is any

_adam = _update_kernel(
    "adam",
    4,
    _DECAYED.format(decay="numbers[6 * k + 4]")
    + """
        T m = p2[j] + (d - p2[j]) * numbers[6 * k + 2];
        T v = p3[j] + (d * d - p3[j]) * numbers[6 * k + 3];
        p2[j] = m; p3[j] = v;
        if (numbers[6 * k + 5] != 0) w[j] *= 1 - numbers[6 * k + 5];
        w[j] -= numbers[6 * k] * m / (sqrt(v) + numbers[6 * k + 1]);""",
)

_rmsprop = _update_kernel(
    "rmsprop",
    3,
    _DECAYED.format(decay="numbers[5 * k + 4]")
    + """
        p2[j] = numbers[5 * k + 1] * p2[j] + numbers[5 * k + 2] * d * d;
        w[j] -= numbers[5 * k] * d / (sqrt(p2[j]) + numbers[5 * k + 3]);""",
)

_momentum = _update_kernel(
    "momentum",
    3,
    _DECAYED.format(decay="numbers[3 * k + 2]")
    + "p2[j] = numbers[3 * k + 1] * p2[j] + d; w[j] -= numbers[3 * k] * p2[j];",
)

_sgd = _update_kernel(
    "sgd", 2, _DECAYED.format(decay="numbers[3 * k + 2]") + "w[j] -= numbers[3 * k] * d;"
)

_lerp = _update_kernel(
    "lerp",
    2,
    "w[j] = numbers[2 * k] * w[j] + numbers[2 * k + 1] * g[j];",
    temporary=(),  # the second list holds weights
)


_squares = elementwise_kernel(
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
    """Return the sum of the squares of all elements.

    The arrays must be C-contiguous and have the same dtype.
    """
    sizes = tuple(array.size for array in arrays)
    owner, start, length, size = _chunk_table(backend.active(), sizes)
    pointers = asarray(np.array([array.data.ptr for array in arrays], np.int64))
    lanes = xp.empty(size // CHUNK * 32, arrays[0].dtype)
    _squares(pointers, owner, start, length, lanes)
    return sums(sums(lanes.reshape(1, -1, 32)).reshape(1, 32, 1))[0, 0]


def _lists_for_kernel(ws, gs, *more):
    """Return the lists ready for one kernel, or None if it cannot update them.

    Raises TypeError if it cannot and the step is being recorded.
    """
    lists = [ws, [xp.ascontiguousarray(g) for g in gs], *more]
    arrays = [array for arrays in lists for array in arrays]
    if all(array.flags.c_contiguous and array.dtype == ws[0].dtype for array in arrays):
        return lists
    if backend.tape() is not None:  # the plain update would record the rates of this step
        raise TypeError(
            "a recorded step can update only parameters that are C-contiguous and have the same "
            "dtype: copy them, or set TINYGAN_RECORD=0"
        )


@fast(optim.adam)
def adam(ws, gs, ms, vs, get_numbers):
    lists = _lists_for_kernel(ws, gs, ms, vs)
    if lists is None:
        return optim.adam.__wrapped__(ws, gs, ms, vs, get_numbers)
    _adam(get_numbers, lists)


@fast(optim.rmsprop)
def rmsprop(ws, gs, vs, get_numbers):
    lists = _lists_for_kernel(ws, gs, vs)
    if lists is None:
        return optim.rmsprop.__wrapped__(ws, gs, vs, get_numbers)

    def get_rows():
        lr, alpha, eps, decay = get_numbers()
        return [(lr, alpha, 1 - alpha, eps, decay)] * len(ws)

    _rmsprop(get_rows, lists)


@fast(optim.sgd)
def sgd(ws, gs, velocities, get_numbers):
    lists = _lists_for_kernel(ws, gs, *([] if velocities is None else [velocities]))
    if lists is None:
        return optim.sgd.__wrapped__(ws, gs, velocities, get_numbers)
    get_rows = lambda: [get_numbers()] * len(ws)
    (_sgd if velocities is None else _momentum)(get_rows, lists)


@fast(optim.lerp)
def lerp(averages, ws, get_beta):
    lists = _lists_for_kernel(averages, ws)
    if lists is None:
        return optim.lerp.__wrapped__(averages, ws, get_beta)

    def get_rows():
        beta = get_beta()
        return [(beta, 1 - beta)] * len(ws)

    _lerp(get_rows, lists)


@fast(optim.global_norm)
def global_norm(gs):
    if len({g.dtype for g in gs}) > 1:
        return optim.global_norm.__wrapped__(gs)
    return xp.sqrt(_sum_of_squares([xp.ascontiguousarray(g) for g in gs]))
