# %% [markdown]
"""Why NumPy can be this fast: one convolution, from loops to tinygan; and whole training steps.

python demos/speed.py              # a minute
python demos/speed.py --full       # more rounds; and PyTorch for comparison, if it is installed
"""

# %% [markdown]
# ## The goal
#
# A processor multiplies matrices at its full speed: BLAS has been tuned for this for decades.
# Everything else waits for memory, or for Python. The convolution below (3x3, 64 to 64 channels,
# 32x32 pixels, 32 images) has 1.2 billion multiplications. How close can it come to the speed of a
# plain matrix product, without a line of C?

# %%
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
from tinygan.study import COLORS, Study

STUDY_SIZE = None  # in a notebook: "tiny" (seconds), "fast" (the default) or "full" (hours)
study = Study("speed", __doc__, size=STUDY_SIZE)
sys.path.append(str(study.folder.parent))  # for demos.bench, which is not installed
from demos.bench import report  # noqa: E402
from demos.bench.workloads import WORKLOADS  # noqa: E402

N, SIZE, CHANNELS = study.choose((2, 8, 8), (32, 32, 64), (32, 32, 64))
rounds = study.choose(1, 7, 21)
rng = np.random.default_rng(0)
x = rng.standard_normal((N, SIZE, SIZE, CHANNELS), dtype=np.float32)
w = rng.standard_normal((3, 3, CHANNELS, CHANNELS), dtype=np.float32)
flop = 2 * 9 * N * SIZE * SIZE * CHANNELS * CHANNELS
print(report.machine())


# %% [markdown]
# ## Step 1: loops
#
# This is the definition, for a few pixels only; all of them would take minutes.


# %%
def loops(pixels):
    padded, results = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))).tolist(), []
    weights = w.tolist()
    for pixel in range(pixels):
        row, column = divmod(pixel, SIZE)
        for out in range(CHANNELS):
            total = 0.0
            for i in range(3):
                for j in range(3):
                    for c in range(CHANNELS):
                        total += padded[0][row + i][column + j][c] * weights[i][j][c][out]
            results.append(total)
    return results


# %% [markdown]
# ## Step 2: one matrix product (im2col)
#
# Every 3x3 patch becomes a row of a matrix that is nine times as large as the images (75 MB here).
# One product does the rest. The product runs at full speed; writing the matrix and reading it back
# does not.


# %%
def columns(images):
    n = len(images)
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0))), (3, 3), axis=(1, 2)
    )
    rows = windows.transpose(0, 1, 2, 4, 5, 3).reshape(n * SIZE * SIZE, 9 * CHANNELS)
    return (rows @ w.reshape(9 * CHANNELS, CHANNELS)).reshape(n, SIZE, SIZE, CHANNELS)


# %% [markdown]
# ## Step 3: one matrix product per image
#
# The matrix of one image (2 MB) is still in the cache when the product reads it.


# %%
def blocks(images):
    return np.concatenate([columns(images[i : i + 1]) for i in range(len(images))])


# %% [markdown]
# ## Step 4: tinygan
#
# tinygan also computes block by block. Its copies suit the processor's caches. Winograd's algorithm
# needs fewer multiplications (36 instead of 144 for 4x4 pixels). Several threads each compute
# blocks of their own, because NumPy releases Python's lock while it computes. kernels/README.md has
# more.


# %%
def with_tinygan(images):
    with no_grad():
        return ops.conv2d(tensor(images), tensor(w), padding=1).numpy()


def timed(function, *args):
    """Return (the function's result, the seconds that it took)."""
    start = time.perf_counter()
    result = function(*args)
    return result, time.perf_counter() - start


def times():
    """Measure the seconds of each step above, and of a matrix product on one core."""
    with parallel.single_threaded_blas():
        pixels = study.choose(1, 3, 10)
        first, taken = timed(loops, pixels)
        seconds, expected = {"Python loops": taken * N * SIZE * SIZE / pixels}, with_tinygan(x)
        assert np.allclose(first, expected[0].reshape(-1)[: len(first)], rtol=1e-3, atol=1e-2)
        cores = parallel.num_threads()
        for name, function, threads in (
            ("columns, one product", columns, 1),
            ("columns by the image", blocks, 1),
            ("tinygan, 1 thread", with_tinygan, 1),
            (f"tinygan, {cores} threads", with_tinygan, cores),
        ):
            parallel.set_num_threads(threads)
            assert np.allclose(function(x), expected, rtol=1e-3, atol=1e-2)
            seconds[name] = statistics.median(timed(function, x)[1] for _ in range(rounds))
        a = rng.standard_normal((1024, 1024), dtype=np.float32)
        return {
            "seconds": seconds,
            "product": min(timed(np.matmul, a, a)[1] for _ in range(max(rounds, 3))),
        }


measured = study.cached("times", times)
seconds, one_core = measured["seconds"], 2 * 1024**3 / measured["product"] / 1e9
speed = {name: flop / value / 1e9 for name, value in seconds.items()}
study.table(
    ("one convolution", "time", "GFLOP/s"),
    *((name, f"{1e3 * value:,.2f} ms", f"{speed[name]:.3g}") for name, value in seconds.items()),
    ("(a matrix product, 1 core)", "", f"{one_core:.3g}"),
)

# %% [markdown]
# ## Where the time of a training step goes
#
# This is the profile of a DCGAN step, op by op. Memory limits the speed of everything except the
# convolutions.

# %%
job = WORKLOADS["dcgan"].make(study.choose(4, 64, 64), 28)
job.parts["step"]()
with parallel.single_threaded_blas(), profile():
    job.parts["step"]()


# %% [markdown]
# ## Six training steps, in tinygan and, if it is installed, in PyTorch
#
# Each framework runs in its own processes, and they take turns. A ratio below 1 means that tinygan
# is faster.


# %%
def bench():
    """Run `python -m demos.bench` and return its numbers."""
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


benchmark = study.cached("bench", bench)
head, *rows = benchmark["steps"]
against = "ratio" in head  # PyTorch was measured, too

# %% [markdown]
# ## The figure

# %%
figure, panels = study.figure("ab", 5.2, width_ratios=(1, 1.2))
panels["a"].barh(
    [f"{name}:\n{value:.3g}" for name, value in speed.items()][::-1],
    list(speed.values())[::-1],
    color=[COLORS[0]] * 2 + ["0.7"] * 3,
)
panels["a"].axvline(one_core, color="black", linestyle=":", label="a matrix product, 1 core")
panels["a"].set(
    title="one convolution (more is faster)", xscale="log", xlabel="GFLOP/s", ylim=(-0.6, 5.6)
)
panels["a"].legend(frameon=False, loc="upper right")
bars = panels["b"]
bars.bar(range(len(rows)), [float(row[2]) for row in rows], 0.4, label="tinygan", color=COLORS[0])
if against:
    bars.bar(
        [i + 0.4 for i in range(len(rows))],
        [float(row[5]) for row in rows],
        0.4,
        label="PyTorch",
        color=COLORS[1],
    )
    for i, row in enumerate(rows):
        bars.text(i + 0.2, max(float(row[2]), float(row[5])), row[7], ha="center", va="bottom")
bars.set_xticks(
    [i + 0.2 * against for i in range(len(rows))], [row[0] for row in rows], rotation=30
)
bars.set(
    title="training steps (lower is faster)",
    yscale="log",
    ylabel="milliseconds" + (" (above: time ratio)" if against else ""),
)
bars.margins(y=0.15)
bars.legend(frameon=False, loc="upper right")

# %% [markdown]
# ## The result

# %%
one_thread, last = speed["tinygan, 1 thread"], list(speed)[-1]
# One digit, because the loops were timed on a few pixels.
times_loops = float(f"{one_thread / speed['Python loops']:.1g}")
ratios = [float(row[7]) for row in rows] if against else []
study.save_figure(
    figure,
    f"A convolution in NumPy: {one_thread / speed['Python loops']:,.0f} times as fast as loops, "
    f"{one_thread / speed['columns, one product']:.1f} times as fast as im2col, on one thread",
)
study.finding(
    f"On one thread, a convolution runs at {one_thread:.0f} GFLOP/s, "
    f"{one_thread / speed['columns, one product']:.1f} times as fast as a single im2col product "
    f"and about {times_loops:,.0f} times as fast as Python loops; with {last.split(', ')[1]}, at "
    f"{speed[last]:.0f}."
    + (
        f" A training step takes {min(ratios):.2f} to {max(ratios):.2f} times as long as in "
        "PyTorch."
        if against
        else ""
    ),
    details=f"On one thread, it runs at {one_thread / one_core:.1f} times the GFLOP/s of a plain "
    "matrix product. (GFLOP/s count the multiplications of a plain convolution; Winograd's "
    "algorithm needs fewer.)",
    machine=benchmark["machine"],
    versions=benchmark["versions"],
    gflops=speed,
    matrix_product=one_core,
    ratios=ratios,
    steps=[head, *rows],
)
