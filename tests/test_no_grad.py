"""no_grad in generators, coroutines and threads: what is recorded while they wait for each other.

The other tests of no_grad are in test_engine.py. Monitors and hooks, whose blocks generators may
also leave open, are tested here, too."""

import asyncio
import contextlib
import gc
import inspect
import threading

import numpy as np
import pytest

from tinygan import nn, no_grad, profile, tensor, trace
from tinygan.autograd import engine, recording

X = tensor(np.ones(2), requires_grad=True)


def recorded():
    """Return whether an op is recorded here."""
    assert recording() is (X * 2.0).requires_grad
    return recording()


@pytest.fixture(autouse=True)
def recording_is_on_before_and_after():
    assert recorded()
    yield
    assert recorded()


# ---- decorated functions ----


@no_grad()
def decorated(n):
    """Yield whether ops are recorded."""
    received = []
    for _ in range(n):
        try:
            received.append((yield recorded()))
        except KeyError:
            received.append("KeyError")
    assert not recorded()
    return received


def test_a_decorated_generator_function():
    generator = decorated(3)
    assert next(generator) is False and recorded()
    assert generator.send(1) is False and recorded()
    assert generator.throw(KeyError()) is False and recorded()
    with pytest.raises(StopIteration) as end:
        generator.send(2)
    assert end.value.value == [1, "KeyError", 2]
    assert inspect.isgeneratorfunction(decorated) and decorated.__name__ == "decorated"
    assert list(decorated(2)) == [False, False]


def test_a_decorated_generator_that_is_closed_or_fails():
    states = []

    @no_grad()
    def generator():
        try:
            yield
            raise OSError
        finally:
            states.append(recorded())

    for end in (lambda g: g.close(), next, lambda g: g.throw(ValueError)):
        running = generator()
        next(running)
        with contextlib.suppress(OSError, ValueError):
            end(running)
        assert recorded()
    del running
    abandoned = generator()
    next(abandoned)
    del abandoned
    gc.collect()
    assert states == [False] * 4


def test_a_decorated_generator_can_continue_in_another_thread():
    generator, results = decorated(2), []
    results.append(next(generator))
    thread = threading.Thread(target=lambda: results.append(next(generator)))
    thread.start()
    thread.join()
    assert results == [False, False]


def test_decorated_functions_of_other_kinds():
    @no_grad
    def without_parentheses(value):
        return value, recorded()

    class Method:
        @no_grad()
        def __call__(self):
            return recorded()

    assert without_parentheses(3) == (3, False) and not Method()() and not no_grad()(Method())()
    for wrong in (Method, 3, None):
        with pytest.raises(TypeError, match="no_grad decorates functions, not"):
            no_grad()(wrong)


def test_a_no_grad_is_for_one_block_at_a_time():
    block = no_grad()
    for _ in range(2):
        with block:
            assert not recorded()
            with pytest.raises(RuntimeError, match=r"in use already: write no_grad\(\) for each"):
                block.__enter__()


# ---- blocks in generators ----


def with_block():
    with no_grad():
        yield recorded()
        yield recorded()
    yield recorded()


def outer():
    yield from with_block()


def with_stack():
    with contextlib.ExitStack() as stack:
        stack.enter_context(no_grad())
        yield recorded()
        stack.enter_context(quiet())
        yield recorded()
    yield recorded()


@contextlib.contextmanager
def quiet():
    with no_grad():
        yield


def with_context_manager():
    with quiet():
        yield recorded()
        yield recorded()
    yield recorded()


class Quiet:
    def __enter__(self):
        self.block = no_grad()
        self.block.__enter__()

    def __exit__(self, *exception):
        self.block.__exit__(*exception)


def with_class():
    with Quiet():
        yield recorded()
        yield recorded()
    yield recorded()


GENERATORS = [with_block, outer, with_stack, with_context_manager, with_class]


@pytest.mark.parametrize("make", GENERATORS)
def test_a_suspended_generator_does_not_stop_its_callers_recording(make):
    generator = make()
    for expected in (False, False, True):
        assert next(generator) is expected and recorded()
    assert list(generator) == []


@pytest.mark.parametrize("make", GENERATORS)
@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 0, 2]])
@pytest.mark.parametrize("end", ["finish", "close", "abandon"])
def test_generators_that_interleave_end_in_any_order(make, order, end):
    generators = [make() for _ in range(3)]
    for generator in generators:
        assert next(generator) is False and recorded()
    generator = None
    for i in order:
        assert next(generators[i]) is False and recorded()
        if end == "finish":
            assert list(generators[i]) == [True]
        elif end == "close":
            generators[i].close()
        generators[i] = None
        assert recorded()


@pytest.mark.parametrize("make", GENERATORS)
def test_a_generator_and_its_callers_own_block(make):
    with no_grad():
        generator = make()
        next(generator)
        assert not recorded()
    assert recorded() and next(generator) is False and recorded()
    with no_grad():
        assert next(generator) is False  # its own block has ended, its caller's has not
        assert not recorded()


def test_the_body_of_a_context_manager_made_by_contextlib():
    with quiet():
        assert not recorded()
        with quiet(), Quiet():
            assert not recorded()
        assert not recorded()

    @quiet()
    def function():
        return recorded()

    assert function() is False


def test_a_suspended_generator_is_freed():
    """The block does not keep its generator alive, nor the arrays there."""
    generator = with_block()
    next(generator)
    finalized = []

    class Witness:
        def __del__(self):
            finalized.append(True)

    def holder():
        witness = Witness()
        with no_grad():
            yield witness

    suspended = holder()
    next(suspended)
    gc.disable()
    try:
        del suspended
        assert finalized
    finally:
        gc.enable()


# ---- coroutines ----


async def asynchronous():
    with no_grad():
        await asyncio.sleep(0)
        yield recorded()
        yield recorded()


@no_grad()
async def decorated_asynchronous():
    for _ in range(2):
        await asyncio.sleep(0)
        assert (yield recorded()) in (None, "sent")


@contextlib.asynccontextmanager
async def quietly():
    with no_grad():
        yield


@no_grad()
async def decorated_coroutine():
    await asyncio.sleep(0)
    return recorded()


def test_tasks_do_not_see_each_others_blocks():
    async def busy():
        with no_grad():
            for _ in range(10):
                await asyncio.sleep(0)
                assert not recorded()

    async def other():
        for _ in range(20):
            await asyncio.sleep(0)
            assert recorded()

    async def main():
        await asyncio.gather(busy(), other(), busy())
        with no_grad():  # tasks that begin here inherit the block
            assert await asyncio.gather(child(), child()) == [False, False]

    async def child():
        await asyncio.sleep(0)
        return recorded()

    asyncio.run(main())


def test_asynchronous_generators_and_context_managers():
    async def main():
        assert not await decorated_coroutine() and recorded()
        for make in (asynchronous, decorated_asynchronous):
            async for state in make():
                assert state is False and recorded()
            generator = make()
            assert await generator.__anext__() is False and recorded()
            assert await generator.asend("sent") is False and recorded()
            await generator.aclose()
            assert recorded()
            abandoned = make()
            await abandoned.__anext__()
            del abandoned
            gc.collect()
            await asyncio.sleep(0)
            assert recorded()
        async with quietly():
            await asyncio.sleep(0)
            assert not recorded()
        generator = decorated_asynchronous()
        await generator.__anext__()
        with pytest.raises(KeyError):
            await generator.athrow(KeyError())
        assert recorded()

    asyncio.run(main())


def test_a_new_thread_records():
    states = []
    with no_grad():
        thread = threading.Thread(target=lambda: states.append(recorded()))
        thread.start()
        thread.join()
    assert states == [True]


# ---- other blocks that generators leave open ----


def test_monitors_that_end_in_any_order():
    def generator(monitor):
        with monitor:
            yield

    first, second = trace(), profile(show=False)
    a, b = generator(first), generator(second)
    next(a), next(b)
    assert list(a) == [] and engine.monitor is second
    X * 3.0
    assert [row.name for row in second.rows] == ["mul"] and not first._log
    assert list(b) == [] and engine.monitor is None


def test_hooks_that_end_in_any_order():
    network = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    x = tensor([[1.0, 1.0]])

    def generator():
        with nn.feature_maps(network) as maps:
            yield maps

    a, b = generator(), generator()
    first, second = next(a), next(b)
    network(x)
    first_map = first["0"]
    assert list(a) == []
    network(x)
    assert first["0"] is first_map and second["0"] is not first_map
    assert list(b) == []
    assert not any("forward" in vars(layer) for layer in network)
