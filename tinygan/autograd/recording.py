"""Whether ops record the graph now, and `no_grad`, which switches that off for a while.

The state belongs to a context (contextvars): every thread begins with recording on, and asyncio's
tasks do not see each other's `no_grad`. A generator shares the context of its caller. So a block
inside a generator is in force only while the generator runs, not while it is suspended at a
`yield`.
"""

import contextlib
import contextvars
import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any, TypeVar, overload

F = TypeVar("F", bound=Callable[..., Any])

# True; or in a backward pass, DIFFERENTIATING or False; or the innermost `no_grad` Block that has
# begun. Ops record where it is true.
DIFFERENTIATING = "recording the derivatives of a backward pass"
state = contextvars.ContextVar("recording", default=True)


def recording() -> bool:
    """Return whether ops record the graph now.

    They do not under `no_grad`, nor in a backward pass without `create_graph`.
    """
    return True if state.get() else False


@contextlib.contextmanager
def differentiating(create_graph):
    """The state in which a backward pass runs. (No generator can suspend this block.)"""
    token = state.set(DIFFERENTIATING if create_graph else False)
    try:
        yield
    finally:
        state.reset(token)


class Block:
    """A `with no_grad():` block that has begun. It is true where ops record.

    outer: the state outside it. generator: the frame of the generator that it belongs to, or None.
    Generators may end in any order, so a block that is over can still be the outer one of another.
    """

    def __init__(self, outer, generator):
        self.outer, self.generator, self.over = outer, generator, False

    def __bool__(self):
        block = self
        while isinstance(block, Block):
            suspended = block.generator is not None and block.generator.f_back is None
            if not block.over and not suspended:
                return False
            block = block.outer
        return bool(block)


class NoGrad:
    """The context manager and decorator that `no_grad()` returns."""

    def __init__(self) -> None:
        self._block: Block | None = None

    def __enter__(self) -> None:
        if self._block is not None:
            raise RuntimeError("this no_grad() is in use already: write no_grad() for each block")
        self._block = Block(state.get(), _generator_around(sys._getframe(1)))
        state.set(self._block)

    def __exit__(self, *exception: Any) -> None:
        block, self._block = self._block, None
        assert block is not None
        block.over, block.generator = True, None
        innermost = state.get()
        while isinstance(innermost, Block) and innermost.over:
            innermost = innermost.outer
        state.set(innermost)

    def __call__(self, function: F) -> F:
        """Decorate a function, a generator function or a coroutine function: nothing is recorded
        while its body runs."""
        if isinstance(function, type) or not callable(function):
            raise TypeError(f"no_grad decorates functions, not {function!r}")
        for is_kind, decorate in (
            (inspect.isgeneratorfunction, _decorated_generator),
            (inspect.isasyncgenfunction, _decorated_async_generator),
            (inspect.iscoroutinefunction, _decorated_coroutine),
        ):
            if is_kind(function):
                return functools.wraps(function)(decorate(function))

        @functools.wraps(function)
        def call(*args: Any, **settings: Any) -> Any:
            with no_grad():
                return function(*args, **settings)

        return call  # type: ignore[return-value]


@overload
def no_grad(function: None = None) -> NoGrad: ...
@overload
def no_grad(function: F) -> F: ...
def no_grad(function: Any = None) -> Any:
    """Stop recording inside `with no_grad():`, or in a function decorated with `@no_grad()`.

    In a generator, the block is in force while the generator runs: its caller goes on recording
    between its steps. In a function that `contextlib.contextmanager` makes a context manager, it is
    in force in the body of the `with`. A new thread begins with recording on.
    """
    return NoGrad() if function is None else NoGrad()(function)


def _generator_around(frame):
    """Return the frame of the innermost generator that is running, or None.

    The generators of contextlib's context managers do not count: they are suspended at their
    `yield` while the body of the `with` runs, so the block belongs to what runs that body.
    """
    while frame is not None:
        is_generator = frame.f_code.co_flags & (inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR)
        if is_generator and not _belongs_to_contextlib(frame.f_back):
            return frame
        frame = frame.f_back
    return None


def _belongs_to_contextlib(frame):
    return frame is not None and frame.f_globals is vars(contextlib)


# Decorated functions whose calls take several steps. The generator of `function` is inside the
# decorated one, and passes on whatever is sent, thrown or returned.


def _decorated_coroutine(function):
    async def call(*args, **settings):
        with no_grad():
            return await function(*args, **settings)

    return call


def _decorated_generator(function):
    def call(*args, **settings):
        generator = function(*args, **settings)
        step = functools.partial(next, generator)
        try:
            while True:
                try:
                    with no_grad():
                        value = step()
                except StopIteration as end:
                    return end.value
                try:
                    step = functools.partial(generator.send, (yield value))
                except GeneratorExit:
                    raise
                except BaseException as error:
                    step = functools.partial(generator.throw, error)
        finally:
            with no_grad():
                generator.close()

    return call


def _decorated_async_generator(function):
    async def call(*args, **settings):
        generator = function(*args, **settings)
        step = generator.__anext__
        try:
            while True:
                try:
                    with no_grad():
                        value = await step()
                except StopAsyncIteration:
                    return
                try:
                    step = functools.partial(generator.asend, (yield value))
                except GeneratorExit:
                    raise
                except BaseException as error:
                    step = functools.partial(generator.athrow, error)
        finally:
            with no_grad():
                await generator.aclose()

    return call
