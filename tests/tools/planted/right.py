"""Right derivatives: a check that finds one of them wrong gives a false alarm."""

import dataclasses
import functools
from typing import Any, Callable

import numpy as np

from tinygan import Tensor, grad, nn, ops
from tinygan.backend import asarray, to_numpy

from .mechanism import ROWS, constant, planted


@dataclasses.dataclass(frozen=True)
class Right:
    """A function with right derivatives. name: of the function and inputs. group: the line of the
    table that counts it. function, inputs, arguments, order: for the check."""

    name: str
    group: str
    function: Callable[..., Any]
    inputs: Callable[[], list[np.ndarray[Any, Any]]]
    arguments: list[str] | None = None
    order: int = 2


RIGHT: list[Right] = []


def right(group, name, function, *inputs, order=2):
    """Add a function, with arrays for its inputs."""
    arrays = [np.asarray(x, np.float64) for x in inputs]
    RIGHT.append(Right(name, group, function, lambda: arrays, None, order))


def normal(*shape, seed=0):
    """Standard normal numbers."""
    return np.random.default_rng(seed).standard_normal(shape)


# The op table: in the wrapper that plants mistakes, without one; and with other inputs


def _inputs(row, seed):
    return row.draw(np.random.default_rng(seed))


for _row in ROWS.values():
    _inside = planted(_row.function, None, _row.name)
    RIGHT.append(
        Right(
            f"{_row.name}, as planted",
            "every row of the op table, wrapped as the mistakes are",
            _inside,
            functools.partial(_inputs, _row, 0),
            _row.arguments,
        )
    )
for _row in ROWS.values():
    RIGHT.append(
        Right(
            f"{_row.name}, other inputs",
            "every row of the op table, with other inputs",
            _row.function,
            functools.partial(_inputs, _row, 1),
            _row.arguments,
        )
    )

# Kinks and ties

KINKS = "at and near kinks and ties"
FUNCTIONS = {
    "relu": ops.relu,
    "abs": ops.abs,
    "leaky_relu": lambda x: ops.leaky_relu(x, 0.2),
    "relu squared": lambda x: ops.relu(x) ** 2,
    "maximum(x, -x) x": lambda x: ops.maximum(x, -x) * x,
    "3 clip": lambda x: ops.clip(x, 0, 1) * 3.0,
}
for _name, _function in FUNCTIONS.items():
    for _distance in (0.0, 1e-9, -1e-9, 3e-7, -1.5e-6, 5e-6, 1e-5, 1e-4, -2e-4):
        right(KINKS, f"{_name}, {_distance:g} from its kink", _function, [_distance, 1.7, -0.6])
    right(KINKS, f"{_name} at zeros", _function, np.zeros((2, 3)))
TIES = np.array([[1.0, 1.0, 0.0, 0.0], [2.0, 0.0, 2.0, 2.0], [0.0, 0.0, 0.0, 0.0]])
right(KINKS, "max of ties", lambda x: ops.max(x, 1), TIES)
right(KINKS, "min of ties", lambda x: ops.min(x, 1), TIES)
right(KINKS, "maximum of equal numbers", ops.maximum, TIES, TIES)
right(KINKS, "minimum of equal numbers", ops.minimum, TIES, TIES[:1])
right(KINKS, "max_pool2d of zeros", ops.max_pool2d, np.zeros((1, 4, 4, 1)))
right(KINKS, "max_pool2d of few values", ops.max_pool2d, np.arange(16.0).reshape(1, 4, 4, 1) // 3)
right(KINKS, "l1_loss of equal numbers", ops.l1_loss, TIES, TIES)
right(KINKS, "norm at zero", lambda x: ops.norm(x, 1), np.zeros((2, 3)), order=1)
right(KINKS, "std of equal numbers", lambda x: ops.std(x, 1), np.ones((2, 3)), order=1)


def _first_of(x):
    """The gradient of max goes to the first of the entries that tie, as in NumPy's argmax."""
    first = np.eye(x.shape[1])[x.data.argmax(1)]
    return planted(
        lambda x: ops.max(x, 1),
        lambda g, x: ops.reshape(g, (len(first), 1)) * constant(first, x),
        "max",
    )(x)


right(KINKS, "max of ties: all of g to the first", _first_of, TIES)
for _slope in (0.0, 0.5, 1.0):
    right(
        KINKS,
        f"relu at zeros: a derivative of {_slope:g} there",
        planted(
            ops.relu,
            lambda g, x, s=_slope: g * constant(np.where(x.data == 0, s, x.data > 0), x),
            "relu",
        ),
        np.array([[0.0, 1.0, -1.0, 0.0]]),
    )


def rectified(x, w, v):
    """A network with rectifiers: kinks lie near its inputs."""
    return ops.leaky_relu(ops.relu(x @ w) @ v)


for _seed in (*range(8), 196):
    right(
        KINKS,
        f"a network with 3,520 rectifiers, seed {_seed}",
        rectified,
        normal(16, 10, seed=_seed),
        normal(10, 200, seed=_seed + 1000) / 3,
        normal(200, 20, seed=_seed + 2000) / 14,
    )

# Large and small numbers

SIZES = "large, tiny and cancelling numbers"
for _offset in (0.0, 1e3, 1e6):
    for _size in (1e-3, 1.0, 1e4):
        right(
            SIZES,
            f"{_size:g} tanh(x) + {_offset:g}",
            lambda x, size=_size, offset=_offset: ops.tanh(x) * size + offset,
            normal(5),
        )
for _offset in (1e3, 1e6):
    right(
        SIZES,
        f"(x - c)^2 at c + {_offset:g}",
        lambda x, c=_offset: (x - c) ** 2,
        normal(5) + _offset,
    )
    right(
        SIZES,
        f"tanh((x + {_offset:g}) - {_offset:g})",
        lambda x, c=_offset: ops.tanh((x + c) - c),
        normal(5),
    )
for _name, _function, _inputs_of in (
    ("exp of 30", ops.exp, 30.0 + normal(4)),
    ("exp of -30", ops.exp, -30.0 + normal(4)),
    ("log of 1e-3", ops.log, 1e-3 * (1.0 + abs(normal(4)))),
    ("log of 1e8", ops.log, 1e8 * (1.0 + abs(normal(4)))),
    ("sqrt of 1e6", ops.sqrt, 1e6 * (1.0 + abs(normal(4)))),
    ("sqrt of 1e-3", ops.sqrt, 1e-3 * (1.0 + abs(normal(4)))),
    ("1 / x of 0.01", lambda x: 1.0 / x, 0.01 * (1.0 + abs(normal(4)))),
    ("1 / x of 1e5", lambda x: 1.0 / x, 1e5 * (1.0 + abs(normal(4)))),
    ("sigmoid of 40", ops.sigmoid, np.array([40.0, -40.0, 3.0, 0.1])),
    ("tanh of 25", ops.tanh, np.array([25.0, -25.0, 1.0])),
    ("tanh of 25 alone", ops.tanh, np.array([25.0, -25.0])),
    ("softplus of 50", ops.softplus, np.array([-50.0, 50.0, 0.5])),
    ("gelu of 10", ops.gelu, np.array([-10.0, 10.0, 0.5])),
    ("softmax of logits of 1000", lambda x: ops.softmax(x), 1e3 * normal(2, 4)),
    ("softmax of logits of 10", lambda x: ops.softmax(x), 10.0 * normal(2, 4)),
    ("log_softmax of logits of 100", lambda x: ops.log_softmax(x), 1e2 * normal(2, 4)),
    ("logsumexp of 1e4", lambda x: ops.logsumexp(x, 1), 1e4 + normal(2, 4)),
    ("square of 1e8", ops.square, 1e8 * normal(4)),
    ("square of 1e-8", ops.square, 1e-8 * normal(4)),
    ("x^3 of 1e-4", lambda x: x**3, 1e-4 * normal(4)),
    ("x^9", lambda x: x**9, normal(4)),
    ("sin of 1000", ops.sin, 1e3 * normal(4)),
    ("sin of 100 x", lambda x: ops.sin(100.0 * x), normal(4)),
    ("x at zero", lambda x: x * 1.0, np.zeros(3)),
    ("square at zero", ops.square, np.zeros(3)),
    ("x^4 at zero", lambda x: x**4, np.zeros(3)),
    (
        "sizes from 1e-8 to 1e8",
        lambda x: ops.tanh(x) * constant([1e-8, 1e-4, 1.0, 1e4, 1e8], x),
        normal(5),
    ),
    ("inputs from 1e-6 to 1e6", ops.square, normal(5) * [1e-6, 1e-3, 1.0, 1e3, 1e6]),
    ("sqrt(x^2 + 0.01)", lambda x: ops.sqrt(x * x + 0.01), normal(4) * 0.1),
    ("batch_norm of variance 1e-6", ops.batch_norm, 1.0 + 1e-3 * normal(6, 4)),
    ("batch_norm of variance 1e-10", ops.batch_norm, 1.0 + 1e-5 * normal(6, 4)),
    ("batch_norm around 1e6", ops.batch_norm, 1e6 + normal(6, 4)),
    ("batch_norm of 1e4", ops.batch_norm, 1e4 * normal(6, 4)),
    ("batch_norm of equal numbers", ops.batch_norm, np.ones((6, 4))),
    ("batch_norm of two values", ops.batch_norm, np.array([[1.0, 2.0], [3.0, -1.0]])),
    ("instance_norm around 1000", ops.instance_norm, 1e3 + normal(2, 3, 3, 2)),
    ("pixel_norm of 0.01", ops.pixel_norm, 0.01 * normal(3, 4)),
    ("pixel_norm of 1e5", ops.pixel_norm, 1e5 * normal(3, 4)),
    ("minibatch_stddev of 100", ops.minibatch_stddev, 1e2 * normal(4, 2, 2, 2)),
    (
        "binary cross entropy of logits of 30",
        lambda x: ops.binary_cross_entropy_with_logits(x, 1.0),
        30.0 * normal(2, 4),
    ),
    ("mse_loss near its minimum", lambda x: ops.mse_loss(x, 0.0), 1e-6 * normal(2, 4)),
    ("a sum of 10,000", lambda x: ops.sum(ops.sin(x)), normal(100, 100)),
    ("a mean of 10,000", lambda x: ops.mean(x * x), normal(100, 100)),
    ("one large entry", lambda x: ops.sum(x * x), np.array([1e6, 1.0, 1e-3])),
):
    right(SIZES, _name, _function, _inputs_of)

# Networks and functions of all kinds

NETWORKS = "networks, and functions of all kinds"


def smooth(x, w, b):
    """A network with batch-norm and softmax."""
    return ops.softmax(ops.silu(ops.batch_norm(x @ w + b, eps=0.1)) @ w.T) * 100.0


for _seed in range(30):
    _rng = np.random.default_rng(_seed if _seed else 6727)
    _n, _in, _hidden = _rng.integers(1, 6, 3)
    _scale = 10.0 ** _rng.uniform(-2, 1)
    _arrays = [_scale * _rng.standard_normal(s) for s in ((_n, _in), (_in, _hidden), (_hidden,))]
    right(NETWORKS, f"a network with batch-norm and softmax, seed {_seed}", smooth, *_arrays)


def penalty(x, w):
    """The gradient penalty of WGAN-GP."""
    x = x if x.requires_grad else Tensor(x.data, requires_grad=True)
    return (ops.norm(grad(ops.tanh(x @ w).sum(), x, create_graph=True)) - 1.0) ** 2


def deep(x, w):
    """Twenty layers."""
    for _ in range(20):
        x = ops.tanh(x @ w) + 0.5 * x
    return x


def module(make, *shape):
    """Add a network: its parameters are arguments, too."""
    net = make()
    function, parameters = net.as_function("float64")
    arrays = [np.asarray(to_numpy(p.data), np.float64) for p in parameters.values()]
    name = ", ".join(type(m).__name__ for m in getattr(net, "layers", [net]))
    right(NETWORKS, f"{name} of {shape}", function, normal(*shape), *arrays)


right(NETWORKS, "a gradient penalty", penalty, normal(2, 3), normal(3, 4, seed=1))
right(NETWORKS, "twenty layers", deep, normal(3, 4), normal(4, 4, seed=1))
right(NETWORKS, "third order", lambda x, w: ops.tanh(x @ w), normal(2, 3), normal(3, 2), order=3)
right(NETWORKS, "fourth order", lambda x: x**5, normal(3), order=4)
right(NETWORKS, "a constant", lambda x: Tensor(asarray(np.ones(3))), normal(3))
right(NETWORKS, "an argument without influence", lambda x, y: ops.exp(x), normal(3), normal(2))
right(NETWORKS, "several results", lambda x, y: [x * y, ops.exp(x), y], normal(2, 3), normal(3))
right(NETWORKS, "no numbers", ops.exp, np.zeros((0, 3)))
right(NETWORKS, "a single number", ops.exp, 0.5)
right(
    NETWORKS,
    "a batch of one",
    lambda x, w: ops.instance_norm(ops.conv2d(x, w)),
    normal(1, 4, 4, 2),
    normal(3, 3, 2, 2),
)
right(NETWORKS, "the same argument twice", lambda x: x @ x.T * x[0, 0], normal(3, 3))
right(NETWORKS, "a constant beside x", lambda x: x * ops.exp(x.detach() * 0.0), normal(3))
_rng = np.random.default_rng
module(
    lambda: nn.Sequential(
        nn.Conv2d(2, 3, 3, rng=_rng(0)),
        nn.BatchNorm(3),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(12, 2, rng=_rng(1)),
    ),
    4,
    4,
    4,
    2,
)
module(
    lambda: nn.Sequential(
        nn.Conv2d(2, 8, 4, 2, 1, rng=_rng(0)),
        nn.LeakyReLU(),
        nn.Conv2d(8, 4, 4, 2, 1, rng=_rng(1)),
        nn.BatchNorm(4),
        nn.LeakyReLU(),
        nn.Flatten(),
        nn.Linear(16, 1, rng=_rng(2)),
    ),
    3,
    8,
    8,
    2,
)
module(
    lambda: nn.Sequential(
        nn.Linear(4, 32, rng=_rng(0)),
        nn.GELU(),
        nn.Linear(32, 32, rng=_rng(1)),
        nn.SiLU(),
        nn.Linear(32, 1, rng=_rng(2)),
    ),
    8,
    4,
)
module(lambda: nn.Linear(3, 2, rng=_rng(0)), 4, 3)
