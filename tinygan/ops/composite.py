"""Ops that are made of other ops, and what they check."""

import functools
from collections.abc import Callable
from typing import Any

from tinygan.autograd import REFUSED, Tensor, as_tensors, described, op_error
from tinygan.autograd.types import P


def composite_op(tensors: int) -> Callable[[Callable[P, Any]], Callable[P, Tensor]]:
    """Decorate a function made of several ops, so that its arguments are treated as those of an op.

    Its first `tensors` arguments become Tensors, and what is wrong with the arguments is told under
    its name, not under that of the op inside that refused them.
    """

    def decorate(function):
        name = function.__name__

        @functools.wraps(function)
        def call(*args, **settings):
            try:
                for x in args[:tensors]:
                    if not isinstance(x, Tensor):
                        return function(
                            *as_tensors(name, args[:tensors]), *args[tensors:], **settings
                        )
                return function(*args, **settings)
            except REFUSED as error:
                raise op_error(name, error, args, settings)

        return call

    return decorate


def check_images(name, x) -> None:
    if x.ndim != 4:
        raise ValueError(f"{name} takes images (N, H, W, C), got {described(x)}")
