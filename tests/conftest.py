"""Options and fixtures of all tests: `pytest --backend cupy` runs the tests on a GPU, and
`pytest --kernels plain` with the plain kernels."""

import os
import signal
import tracemalloc
from types import SimpleNamespace

import hypothesis
import numpy as np
import pytest
import strict
import strict_cuda

import tinygan
import tinygan.plots
from tinygan import kernels
from tinygan.files import replacing
from tinygan.training.trainer import Trainer

# Every run draws the same examples. For more: pytest --hypothesis-profile fuzz
hypothesis.settings.register_profile(
    "tests", deadline=None, derandomize=True, database=None, max_examples=40
)
hypothesis.settings.register_profile("fuzz", deadline=None, database=None, max_examples=2000)
hypothesis.settings.load_profile("tests")


# After each figure, tinygan collects garbage (tests/tools/flat.py shows why). In a process with so
# many objects, that takes longer than the figure.
tinygan.plots.gc = SimpleNamespace(collect=lambda: 0)


@pytest.fixture(autouse=True)
def curves_as_text(request, monkeypatch):
    """Let runs write their curves as text, except in tests marked `curves`.

    Matplotlib takes longer than a tiny run.
    """

    def write(self, path, rows):
        with replacing(path) as file:
            file.write(repr(rows).encode())

    if not request.node.get_closest_marker("curves"):
        monkeypatch.setattr(Trainer, "write_curves", write)


def pytest_addoption(parser):
    parser.addoption(
        "--backend",
        choices=["numpy", "cupy", "strict"],
        default="numpy",
        help="the backend that computes",
    )
    parser.addoption(
        "--kernels",
        choices=["plain", "fast"],
        default="fast",
        help="which kernels compute (op tests use both, or only the plain ones)",
    )


def pytest_configure(config):
    # A shell starts background processes with SIGINT ignored.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    name = config.getoption("--backend")
    if name == "strict" and strict_cuda.COMPILER is None:
        raise pytest.UsageError(
            "--backend strict compiles the GPU's kernels as C++: install a C++ compiler as c++, or "
            "set CXX"
        )
    os.environ["TINYGAN_KERNELS"] = config.getoption("--kernels")  # for processes that tests start
    kernels.use(config.getoption("--kernels"))
    tinygan.backend.activate(strict.module) if name == "strict" else tinygan.use(name)


def pytest_generate_tests(metafunc):
    """Run tests with the fixture `kernel_set` with both; those marked `fast` with fast kernels."""
    if "kernel_set" in metafunc.fixturenames:
        only = metafunc.config.getoption("--kernels") == "plain" and ["plain"]
        only = ["fast"] if metafunc.definition.get_closest_marker("fast") else only
        metafunc.parametrize("kernel_set", only or ["fast", "plain"], indirect=True, scope="module")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--kernels") == "plain":
        for item in items:
            if item.get_closest_marker("fast"):
                item.add_marker(pytest.mark.skip(reason="tests the fast kernels"))
    if config.getoption("--backend") == "numpy":
        for item in items:
            if item.get_closest_marker("gpu"):
                reason = "tests the GPU path: pytest --backend strict, or cupy on a GPU"
                item.add_marker(pytest.mark.skip(reason=reason))
    if config.getoption("--backend") != "numpy":
        for item in items:
            if item.get_closest_marker("cpu"):
                reason = "tests the CPU, or no backend: the run on NumPy covers it"
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def array_bytes():
    """A function that returns the bytes of living NumPy arrays that the test has created."""
    arrays = [tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)]

    def size():
        snapshot = tracemalloc.take_snapshot().filter_traces(arrays)
        return sum(statistic.size for statistic in snapshot.statistics("filename"))

    tracemalloc.start()
    yield size
    tracemalloc.stop()


@pytest.fixture(scope="module")
def kernel_set(request):
    """The kernels that compute in the test: "plain" or "fast"."""
    before = kernels.in_use()
    kernels.use(request.param)
    yield request.param
    kernels.use(before)


@pytest.fixture(autouse=True)
def restore_backend_and_kernels():
    """Restore the backend and the kernels after each test."""
    backend, kernel_set = tinygan.backend.active(), kernels.in_use()
    yield
    tinygan.backend.activate(backend)
    kernels.use(kernel_set)
    assert kernels.in_use() == kernel_set
