"""What an op says of arguments that do not fit. Written only once something has gone wrong: good calls pay nothing."""

REFUSED = TypeError, ValueError, IndexError, ZeroDivisionError, OverflowError


def refusal(name, error, args, settings={}):
    """The error to raise for one of REFUSED met inside op `name`, which was called with args and settings.

    It begins with the op's name. One that does already, from a check of the op, is returned as it is. The others say
    neither which op it was nor what it was given: NumPy's, and those of an op that is a part of this one.
    """
    text = " ".join(str(error).split())
    if text.startswith((f"{name}:", f"{name} ")):
        return error
    reason = "the shapes do not broadcast" if "broadcast" in text else text.split("; given ")[0]
    given = ", ".join([*map(described, args), *(f"{key}={described(value)}" for key, value in settings.items())])
    # NumPy has subclasses of its own, one of both ValueError and IndexError.
    kind = type(error) if type(error) in (TypeError, IndexError) else ValueError
    result = kind(f"{name}: {reason}; given {given}")
    result.__cause__ = error
    return result


def described(x):
    """In a few characters: the dtype and shape of an array or a Tensor; of a list of some, each; others as they are."""
    if hasattr(x, "shape") and hasattr(x, "dtype"):
        return f"{x.dtype} {tuple(x.shape)}"
    if isinstance(x, (list, tuple)) and len(x) <= 8 and any(hasattr(item, "shape") for item in x):
        inside = ", ".join(map(described, x))
        return f"[{inside}]" if isinstance(x, list) else f"({inside})"
    text = " ".join(repr(x).split())
    return text if len(text) <= 60 else f"a {type(x).__name__}"
