"""`pytest --backend cupy` runs the suite on a GPU, `pytest --kernels plain` on the plain floor of
kernels; fixtures for tests that run on more than one of either."""

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

# The same examples on every run. To look further: pytest --hypothesis-profile fuzz
hypothesis.settings.register_profile(
    "tests", deadline=None, derandomize=True, database=None, max_examples=40
)
hypothesis.settings.register_profile("fuzz", deadline=None, database=None, max_examples=2000)
hypothesis.settings.load_profile("tests")


# Pictures end with a search for garbage (tests/tools/flat.py shows why): in a process as full as this one it takes longer than they do.
tinygan.plots.gc = SimpleNamespace(collect=lambda: 0)


@pytest.fixture(autouse=True)
def curves_in_words(request, monkeypatch):
    """What a run would draw as curves, as text: matplotlib takes longer than a tiny run itself. Not of tests marked `curves`."""

    def write(self, path, rows):
        with replacing(path) as temporary:
            temporary.write_text(repr(rows))

    if not request.node.get_closest_marker("curves"):
        monkeypatch.setattr(Trainer, "draw_curves", write)


def pytest_addoption(parser):
    parser.addoption(
        "--backend", choices=["numpy", "cupy", "strict"], default="numpy", help="where to compute"
    )
    parser.addoption(
        "--kernels",
        choices=["plain", "fast"],
        default="fast",
        help="by which kernels (op tests: by both, or plain)",
    )


def pytest_configure(config):
    if (
        signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    ):  # so a shell starts what it runs in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    name = config.getoption("--backend")
    if name == "strict" and strict_cuda.COMPILER is None:
        raise pytest.UsageError(
            "--backend strict runs the GPU's kernels through a C++ compiler: install one as c++, or set CXX"
        )
    os.environ["TINYGAN_KERNELS"] = config.getoption("--kernels")  # for processes that tests start
    kernels.use(config.getoption("--kernels"))
    tinygan.backend.activate(strict.module) if name == "strict" else tinygan.use(name)


def pytest_generate_tests(metafunc):
    """Tests that use the fixture `floor` run on both; those marked `fast`, on that one alone."""
    if "kernel_set" in metafunc.fixturenames:
        only = metafunc.config.getoption("--kernels") == "plain" and ["plain"]
        only = ["fast"] if metafunc.definition.get_closest_marker("fast") else only
        metafunc.parametrize("kernel_set", only or ["fast", "plain"], indirect=True, scope="module")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--kernels") == "plain":
        for item in items:
            if item.get_closest_marker("fast"):
                item.add_marker(pytest.mark.skip(reason="about the fast floor of kernels"))
    if config.getoption("--backend") == "numpy":
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(
                    pytest.mark.skip(
                        reason="the GPU path: pytest --backend strict, or cupy on a GPU"
                    )
                )
    if config.getoption("--backend") != "numpy":
        for item in items:
            if item.get_closest_marker("cpu"):
                item.add_marker(
                    pytest.mark.skip(
                        reason="about the CPU, or a matter of no backend: the run on NumPy covers it"
                    )
                )


@pytest.fixture
def array_bytes():
    """A function that tells how many bytes of NumPy arrays made during the test are alive."""
    arrays = [tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)]
    tracemalloc.start()
    yield lambda: sum(
        s.size for s in tracemalloc.take_snapshot().filter_traces(arrays).statistics("filename")
    )
    tracemalloc.stop()


@pytest.fixture(scope="module")
def kernel_set(request):
    """The kernels that the test runs on: "plain" or "fast"."""
    before = kernels.in_use()
    kernels.use(request.param)
    yield request.param
    kernels.use(before)


@pytest.fixture(autouse=True)
def same_backend_and_kernels_after():
    """Whatever a test activates, the next one starts from where this one did."""
    backend, kernel_set = tinygan.backend.active(), kernels.in_use()
    yield
    tinygan.backend.activate(backend)
    kernels.use(kernel_set)
    assert kernels.in_use() == kernel_set
