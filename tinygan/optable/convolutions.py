"""The op table's rows of convolutions, and of the two ops that are their derivatives."""

from tinygan import ops

from . import oracles
from .oracles import pair
from .table import normal, row

for _note, _size, _in, _window, _out, _settings in (
    ("3x3", (5, 6), 2, (3, 3), 3, {}),
    ("4x4 stride=2 padding=1", (6, 8), 5, (4, 4), 3, {"stride": 2, "padding": 1}),
    ("3x3 stride=2 of 6x5", (6, 5), 5, (3, 3), 2, {"stride": 2}),
    ("2x2 stride=3, with a remainder", (5, 7), 6, (2, 2), 2, {"stride": 3}),
    (
        "2x3 stride=(2, 1) padding=(0, 2)",
        (6, 5),
        2,
        (2, 3),
        2,
        {"stride": (2, 1), "padding": (0, 2)},
    ),
    ("1x1", (3, 4), 3, (1, 1), 2, {}),
    ("whole image", (4, 3), 2, (4, 3), 3, {}),
    ("3x3 groups=2", (5, 5), 6, (3, 3), 4, {"padding": 1, "groups": 2}),
    ("3x3 stride=2, depthwise", (5, 6), 3, (3, 3), 3, {"stride": 2, "padding": 1, "groups": 3}),
):
    _stride, _padding = pair(_settings.get("stride", 1)), pair(_settings.get("padding", 0))
    _travel = [n + 2 * p - k for n, p, k in zip(_size, _padding, _window)]  # of the window
    _image = normal(2, *_size, _in)
    _filters = normal(*_window, _in // _settings.get("groups", 1), _out)
    _result = normal(2, *(n // s + 1 for n, s in zip(_travel, _stride)), _out)
    _back = {"output_padding": tuple(n % s for n, s in zip(_travel, _stride)), **_settings}
    _linear = {"linear": True, "keeps": "ab"}
    row(ops.conv2d, oracles.conv2d, _image, _filters, note=_note, **_linear, **_settings)
    row(
        ops.conv_transpose2d,
        oracles.conv_transpose2d,
        _result,
        _filters,
        note=_note,
        **_linear,
        **_back,
    )
    row(
        lambda *xs, **s: ops.conv2d(*xs[:2], bias=xs[2], **s),
        lambda *xs, **s: oracles.conv2d(*xs[:2], **s) + xs[2],
        _image,
        _filters,
        normal(_out),
        name="conv2d",
        note=_note + ", bias",
        call=lambda f, *xs, s=_settings: f(*xs, **s),
        **_linear,
    )
    row(
        lambda *xs, **s: ops.conv_transpose2d(*xs[:2], bias=xs[2], **s),
        lambda *xs, **s: oracles.conv_transpose2d(*xs[:2], **s) + xs[2],
        _result,
        _filters,
        normal(_in),
        name="conv_transpose2d",
        note=_note + ", bias",
        call=lambda f, *xs, s=_back: f(*xs, **s),
        **_linear,
    )
    _settings = {"kernel_size": _window, **_settings}
    row(
        ops.conv2d_weight_gradient,
        oracles.conv2d_weight_gradient,
        _image,
        _result,
        note=_note,
        **_linear,
        **_settings,
    )
