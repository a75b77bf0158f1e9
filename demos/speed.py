"""Why NumPy can be this fast: one convolution, from loops to what tinygan does; and whole training steps.

python demos/speed.py              # a minute
python demos/speed.py --full       # more rounds; beside PyTorch, if it is installed
"""

# %% What there is to win
# A processor multiplies matrices at its full speed: BLAS has been tuned for that for decades. Everything else waits
# for memory, or for Python. The convolution below (3x3, 64 to 64 channels, 32x32, 32 images) is 1.2 billion
# multiplications. How close to the speed of a plain matrix product can it come, without a line of C?
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tinygan import no_grad, ops, profile, tensor
from tinygan.kernels.cpu import parallel
from tinygan.study import Study

sys.path.append(
    str(Path(__file__).absolute().parents[1])
)  # the checkout: demos.bench is found there
from demos.bench import report
from demos.bench.workloads import WORKLOADS

study = Study(__file__, __doc__)
N, SIZE, CHANNELS = study.choose((2, 8, 8), (32, 32, 64), (32, 32, 64))
rounds = study.choose(1, 7, 21)
rng = np.random.default_rng(0)
x = rng.standard_normal((N, SIZE, SIZE, CHANNELS), dtype=np.float32)
w = rng.standard_normal((3, 3, CHANNELS, CHANNELS), dtype=np.float32)
flop = 2 * 9 * N * SIZE * SIZE * CHANNELS * CHANNELS
print(report.machine())


# %% Step 1: loops
# What the definition says, for a few pixels only; the rest would take minutes.
def loops(pixels):
    padded, found = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))).tolist(), []
    kernel = w.tolist()
    for pixel in range(pixels):
        row, column = divmod(pixel, SIZE)
        for out in range(CHANNELS):
            total = 0.0
            for i in range(3):
                for j in range(3):
                    for c in range(CHANNELS):
                        total += padded[0][row + i][column + j][c] * kernel[i][j][c][out]
            found.append(total)
    return found


# %% Step 2: a product with the columns of the image
# Every 3x3 patch becomes a row of a matrix, nine times as large as the images (75 MB here): one product does the
# rest. The product runs at full speed; making the matrix and reading it back does not.
def columns(images):
    n = len(images)
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0))), (3, 3), axis=(1, 2)
    )
    rows = windows.transpose(0, 1, 2, 4, 5, 3).reshape(n * SIZE * SIZE, 9 * CHANNELS)
    return (rows @ w.reshape(9 * CHANNELS, CHANNELS)).reshape(n, SIZE, SIZE, CHANNELS)


# %% Step 3: the same, an image at a time
# The columns of one image, 2 MB, are still in cache when the product reads them.
def blocks(images):
    return np.concatenate([columns(images[i : i + 1]) for i in range(len(images))])


# %% Step 4: what tinygan does
# Blocks, as above; copies that a processor likes; fewer multiplications (Winograd's: 36 instead of 144 for 4x4
# pixels); and threads, each with blocks of its own, because NumPy lets go of Python's lock while it computes.
# kernels/README.md tells more.
def ours(images):
    with no_grad():
        return ops.conv2d(tensor(images), tensor(w), padding=1).numpy()


def timed(function, *args):
    start = time.perf_counter()
    result = function(*args)
    return result, time.perf_counter() - start


def times():
    """Seconds of each step, and of a matrix product on one core."""
    with parallel.single_threaded_blas():
        pixels = study.choose(1, 3, 10)
        few, taken = timed(loops, pixels)
        seconds, expected = {"Python loops": taken * N * SIZE * SIZE / pixels}, ours(x)
        assert np.allclose(few, expected[0].reshape(-1)[: len(few)], rtol=1e-3, atol=1e-2)
        cores = parallel.num_threads()
        for name, function, threads in (
            ("columns, one product", columns, 1),
            ("columns by the image", blocks, 1),
            ("tinygan, 1 thread", ours, 1),
            (f"tinygan, {cores} threads", ours, cores),
        ):
            parallel.set_num_threads(threads)
            assert np.allclose(function(x), expected, rtol=1e-3, atol=1e-2)
            seconds[name] = statistics.median(timed(function, x)[1] for _ in range(rounds))
        a = rng.standard_normal((1024, 1024), dtype=np.float32)
        return {
            "seconds": seconds,
            "product": min(timed(np.matmul, a, a)[1] for _ in range(max(rounds, 3))),
        }


measured = study.numbers("times", times)
seconds, one_core = measured["seconds"], 2 * 1024**3 / measured["product"] / 1e9
speed = {name: flop / value / 1e9 for name, value in seconds.items()}
study.table(
    ("one convolution", "time", "GFLOP/s"),
    *((name, f"{1e3 * value:,.2f} ms", f"{speed[name]:.3g}") for name, value in seconds.items()),
    ("(a matrix product, 1 core)", "", f"{one_core:.3g}"),
)

# %% Where the time of a training step goes
# A DCGAN step, op by op: what is no convolution is bound by memory.
job = WORKLOADS["dcgan"].make(study.choose(4, 64, 64), 28)
job.parts["step"]()
with parallel.single_threaded_blas(), profile():
    job.parts["step"]()


# %% Six training steps, beside PyTorch's if it is there
# Each framework in processes of its own that take turns; a ratio below 1 means that tinygan is faster.
def bench():
    """What `python -m demos.bench` has to say."""
    names = study.choose(["mlp"], ["dcgan", "lenet", "mlp"], list(WORKLOADS))
    against = (
        ["--against", "torch"] if importlib.util.find_spec("torch") and study.size != "tiny" else []
    )
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "demos.bench",
                *names,
                *against,
                "--rounds",
                str(study.choose(1, 3, 12)),
                "-o",
                f"{folder}/bench.json",
            ],
            cwd=Path(report.__file__).parents[2],
            check=False,
        )
        if done.returncode not in (0, 1):  # 1: a ratio missed its target
            raise SystemExit(done.returncode)
        return json.loads(Path(folder, "bench.json").read_text())


found = study.numbers("bench", bench)
head, *rows = found["steps"]
against = "ratio" in head

# %% The figure
figure, axes = study.figure(10, 3.4, 1, 2)
axes[0].barh(
    [f"{name}:\n{value:.3g}" for name, value in speed.items()][::-1],
    list(speed.values())[::-1],
    color=["C0"] * 2 + ["C7"] * 3,
)
axes[0].axvline(one_core, color="black", linestyle=":", label="a matrix product, 1 core")
axes[0].set(xscale="log", xlabel="GFLOP/s of the convolution (more is faster)")
axes[0].legend(frameon=False, fontsize=8, loc="upper center")
axes[1].bar(range(len(rows)), [float(row[2]) for row in rows], 0.4, label="tinygan")
if against:
    axes[1].bar(
        [i + 0.4 for i in range(len(rows))], [float(row[5]) for row in rows], 0.4, label="PyTorch"
    )
    for i, row in enumerate(rows):
        axes[1].text(
            i + 0.2, max(float(row[2]), float(row[5])), row[7], ha="center", va="bottom", fontsize=8
        )
axes[1].set_xticks(
    [i + 0.2 * against for i in range(len(rows))], [row[0] for row in rows], fontsize=7
)
axes[1].set(
    yscale="log", ylabel="milliseconds a step" + ("\n(above: time ratio)" if against else "")
)
axes[1].margins(y=0.1)
axes[1].legend(frameon=False, fontsize=7, loc="upper right")
study.save(figure, axes[0])

# %% What came of it
last = list(speed)[-1]
times_loops = float(
    f"{speed[last] / speed['Python loops']:.1g}"
)  # these were timed on a few pixels
ratios = [float(row[7]) for row in rows] if against else []
study.finding(
    f"A convolution runs at {speed[last]:.0f} GFLOP/s ({last}), {speed[last] / speed['columns, one product']:.1f} times as fast as one "
    f"product with all columns and some {times_loops:,.0f} times as fast as Python loops"
    + (
        f", and a training step takes {min(ratios):.2f} to {max(ratios):.2f} times as long as PyTorch's"
        if against
        else ""
    )
    + ".",
    details=f"One thread is at {speed['tinygan, 1 thread'] / one_core:.1f} times the speed of a plain matrix product, counted as if it "
    "multiplied as much.",
    machine=found["machine"],
    versions=found["versions"],
    gflops=speed,
    matrix_product=one_core,
    ratios=ratios,
    steps=[head, *rows],
)
