"""How slow are grouped 3x3 convolutions, compared with groups=1?

    python -m tests.tools.grouped_convolutions                 # from a checkout; a minute
    python -m tests.tools.grouped_convolutions --kernels plain
    python -m tests.tools.grouped_convolutions --threads 2     # times by the clock, on two threads

With g groups of C channels in all, each is compared with a convolution of C / sqrt(g) channels in
one group, which takes as many multiply-adds (and has sqrt(g) times fewer numbers to read and
write). Both take turns; the table has the median milliseconds of both, and their ratio. Without
--threads, the tool measures the processor time of one core, which other programs hardly change.
"""

import argparse
import math
import statistics
import time

import numpy as np

from tinygan import kernels
from tinygan.kernels import conv
from tinygan.kernels.cpu import parallel

BATCH = {"fast": 64, "plain": 16}
SHAPES = [  # (height and width, channels, groups); the first of each size are R3GAN's
    *((32, 32, groups) for groups in (2, 4, 8, 32)),
    *((16, 64, groups) for groups in (4, 2, 8, 16)),
    *((8, 128, groups) for groups in (8, 4, 16, 32)),
]
PASSES = "forward", "input gradient", "weight gradient"


def passes(n, size, channels, groups):
    """Return the three passes of a convolution, functions of no arguments."""
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.standard_normal(shape, dtype=np.float32)
    x, g = (draw(n, size, size, channels) for _ in "xg")
    w = draw(3, 3, channels // groups, channels)
    settings = (1, 1), (1, 1), groups
    return (
        lambda: conv.forward(x, w, *settings),
        lambda: conv.input_gradient(g, w, (size, size), *settings),
        lambda: conv.weight_gradient(x, g, (3, 3), *settings),
    )


def median_times(functions, rounds, clock):
    """Return the median milliseconds of each function; they take turns."""
    times = [[] for _ in functions]
    for _ in range(rounds + 1):
        for function, seconds in zip(functions, times):
            start = clock()
            function()
            seconds.append(clock() - start)
    return [1e3 * statistics.median(seconds[1:]) for seconds in times]  # the first one warms up


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kernels", choices=("plain", "fast"), default="fast")
    parser.add_argument("--threads", type=int, help="measure by the clock, on so many threads")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    kernels.use(options.kernels)
    parallel.set_num_threads(options.threads or 1)
    clock, n = time.perf_counter if options.threads else time.process_time, BATCH[options.kernels]
    print(f"batch {n}, {options.kernels} kernels: milliseconds in groups / in one group = ratio")
    print(f"{'':24}" + "".join(f"{name:24}" for name in PASSES))
    with parallel.single_threaded_blas():
        for size, channels, groups in SHAPES:
            pairs = zip(
                passes(n, size, channels, groups),
                passes(n, size, round(channels / math.sqrt(groups)), 1),
            )
            row = f"{size}x{size}x{channels}, {groups} groups"
            print(f"{row:24}", end="")
            for pair in pairs:
                a, b = median_times(pair, options.rounds, clock)
                text = f"{a:.2f} / {b:.2f} = {a / b:.2f}"
                print(f"{text:24}", end="")
            print(flush=True)


if __name__ == "__main__":
    main()
