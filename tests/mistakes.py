"""What several tests of bad input share."""

import pytest

from tinygan.errors import InputError


def error_of(function, *args, **settings):
    """The message of the InputError that the call must raise; always a single line."""
    with pytest.raises(InputError) as caught:
        function(*args, **settings)
    message = str(caught.value)
    assert message and "\n" not in message
    return message
