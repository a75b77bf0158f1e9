"""A helper for tests of bad input."""

import pytest

from tinygan.errors import InputError


def error_of(function, *args, **settings):
    """Return the message of the InputError that the call must raise. It must be a single line."""
    with pytest.raises(InputError) as raised:
        function(*args, **settings)
    message = str(raised.value)
    assert message and "\n" not in message
    return message
