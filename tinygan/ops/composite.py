"""Ops composed of other ops: their arguments and error messages are those of a single op."""

import functools
import inspect
import itertools
from typing import Any, Callable

from tinygan.autograd import ARGUMENT_ERRORS, P, Tensor, as_tensors, described, op_error


def composite_op(count: int) -> Callable[[Callable[P, Any]], Callable[P, Tensor]]:
    """Decorate a function composed of ops, so that it behaves like an op of its own.

    Its first `count` arguments become Tensors, and errors about its arguments name this
    function, not the op inside it that raised them.
    """

    def decorate(function):
        name, names = function.__name__, [*inspect.signature(function).parameters][:count]

        @functools.wraps(function)
        def call(*args, **settings):
            if len(args) < count:  # some may be given by their names
                named = itertools.takewhile(settings.__contains__, names[len(args) :])
                args = *args, *map(settings.pop, named)
            try:
                for x in args[:count]:
                    if not isinstance(x, Tensor):
                        return function(*as_tensors(name, args[:count]), *args[count:], **settings)
                return function(*args, **settings)
            except ARGUMENT_ERRORS as error:
                raise op_error(name, error, args, settings)

        return call

    return decorate


def check_images(name: str, x: Tensor) -> None:
    """Raise ValueError unless x has the four axes (N, H, W, C) of images."""
    if x.ndim != 4:
        raise ValueError(f"{name} takes images (N, H, W, C), got {described(x)}")
