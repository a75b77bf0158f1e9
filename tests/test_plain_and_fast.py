"""Plain and fast kernels: both compute the same numbers, training takes the same steps with both,
and kernels/__init__.py alone decides which of them run."""

import ast
import io
import json
import os
import subprocess
import sys
import tokenize
from pathlib import Path

import numpy as np
import pytest
import strict
from test_gpu import on, real_gpu
from test_training import FEW, SMALL, start

import tinygan
from tinygan import Tensor, data, grad, kernels, ops, tensor
from tinygan.backend import asarray, to_numpy
from tinygan.errors import InputError
from tinygan.kernels import act, conv, linear, loss, normalize, optim, pool, warp
from tinygan.kernels.cuda import cublas, elementwise, trial
from tinygan.training import recipes

FOLDER = os.path.dirname(kernels.__file__)
FILES = sorted({name for name in os.listdir(FOLDER) if name.endswith(".py")} - {"__init__.py"})


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


# ---- the plain kernels ----


@pytest.mark.parametrize("file", FILES)
def test_a_file_of_plain_kernels_is_a_page(file):
    """At most 120 lines without docstrings, and no name of threads, devices or recorded steps."""
    text = Path(FOLDER, file).read_text("utf-8")
    lines = len(text.splitlines())
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Module, ast.FunctionDef)) and ast.get_docstring(node):
            lines -= node.body[0].end_lineno - node.body[0].lineno + 1
    assert lines <= 120
    names = {
        token.string
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.NAME
    }
    assert not names & {"threading", "parallel", "on_cpu", "cupy", "cpu", "cuda", "tape", "fast"}


# ---- each fast kernel against its plain one ----

HALF = ((2, 2), (2, 2))
FIR = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64
INSEPARABLE = np.arange(6).reshape(2, 3) - 1.5  # not an outer product of two filters
THETA = np.array([[[0.8, 0.3, 0.1], [-0.4, 1.1, -0.2]], [[1.3, 0.0, 0.55], [0.2, -0.9, 0.0]]])


class Host:
    """An argument that stays in host memory."""

    def __init__(self, array):
        self.array = array


def convolutions():
    """Yield (x, w, stride, padding, groups, bias) of all shapes for which fast kernels differ."""
    for n, size, channels, kernel_size, stride, padding, groups in (
        (2, (7, 8), (4, 6), (3, 3), (1, 1), (1, 1), 1),
        (2, (8, 8), (4, 6), (4, 4), (2, 2), (1, 1), 1),
        (2, (9, 8), (4, 6), (4, 4), (2, 2), (1, 1), 2),
        (2, (28, 28), (1, 6), (5, 5), (1, 1), (2, 2), 1),
        (3, (14, 14), (6, 16), (5, 5), (1, 1), (0, 0), 1),
        (3, (9, 17), (3, 64), (4, 4), (2, 2), (1, 1), 1),
        (2, (8, 9), (5, 40), (3, 4), (1, 2), (1, 2), 1),
        (3, (4, 4), (2, 4), (1, 1), (1, 1), (0, 0), 1),
        (3, (5, 4), (2, 4), (1, 1), (2, 1), (0, 0), 2),
        (2, (4, 6), (3, 2), (4, 6), (1, 1), (0, 0), 1),
        (2, (7, 7), (3, 3), (2, 2), (3, 3), (0, 0), 3),
        (2, (6, 5), (2, 3), (2, 3), (2, 1), (0, 2), 1),
        (2, (9, 7), (32, 33), (3, 3), (1, 1), (1, 1), 1),
        (2, (9, 11), (36, 32), (4, 4), (2, 2), (1, 1), 1),
        (1, (16, 8), (33, 32), (3, 3), (2, 2), (1, 1), 1),
        (2, (9, 7), (32, 48), (3, 3), (1, 1), (1, 1), 2),
        (2, (8, 8), (40, 30), (3, 3), (1, 1), (1, 1), 10),
        (3, (8, 9), (34, 34), (3, 3), (1, 1), (1, 1), 34),
        (2, (9, 8), (32, 64), (4, 4), (2, 2), (1, 1), 2),
        (2, (7, 6), (20, 20), (5, 5), (1, 1), (2, 2), 4),
        (3, (4, 5), (40, 40), (4, 5), (1, 1), (0, 0), 40),
        (3, (4, 4), (6, 9), (4, 4), (1, 1), (0, 0), 3),
        (3, (2, 3), (32, 34), (2, 3), (1, 1), (0, 0), 2),
        (0, (5, 5), (2, 3), (3, 3), (1, 1), (1, 1), 1),
        (0, (8, 8), (32, 32), (3, 3), (1, 1), (1, 1), 2),
        (0, (4, 4), (40, 40), (4, 4), (1, 1), (0, 0), 40),
        (0, (3, 3), (2, 3), (3, 3), (1, 1), (0, 0), 1),
        (0, (8, 8), (32, 32), (3, 3), (1, 1), (1, 1), 1),
        (0, (14, 14), (6, 16), (5, 5), (1, 1), (0, 0), 1),
    ):
        x, w = (
            normal(n, *size, channels[0]),
            normal(*kernel_size, channels[0] // groups, channels[1]),
        )
        yield x, w, stride, padding, groups, normal(channels[1])


def cases():
    """Yield (kernel, arguments, needed).

    needed: which of its results to compare, or None for all.
    """
    image, vector, styles = normal(3, 5, 4, 6), normal(6), normal(3, 1, 1, 6)
    large = normal(8, 17, 19, 20)  # on a CPU, more than one block
    empty = normal(0, 3, 3, 4)
    for x in (image, large, empty, normal(5), np.array(-2.0)):
        for slope, gain in ((0.2, 1.0), (0.0, 1.0), (0.0, 1.5), (1.0, 0.5), (0.2, 2**0.5)):
            yield act.leaky_relu, (x, slope, gain), None
            yield act.leaky_relu_gradient, (normal(*x.shape, seed=1), x, slope, gain), None
        yield loss.softplus, (np.asarray(30 * x),), None
        yield loss.sigmoid, (np.asarray(30 * x),), None
        yield loss.sech_squared, (np.asarray(30 * x),), None
    for x in (image, 100 * vector, 20 * large, empty):
        yield loss.softmax, (x,), None
        yield loss.log_softmax, (x,), None
        yield loss.logsumexp, (x,), None
    for x in (image, large, empty, normal(7, 5)):
        bias = normal(x.shape[-1])
        yield act.leaky_relu, (x, 0.2, 1.5, bias), None
        yield act.bias_act, (x, bias, 0.2, 1.5), None
        yield act.bias_act, (x, None, 0.0, 1.0), None
        for needed in ([True, True], [True, False]):
            yield act.bias_act_gradient, (normal(*x.shape, seed=1), (x, 0.2, 1.5), needed), needed
    for x, w, stride, padding, groups, bias in convolutions():
        size, kernel_size = x.shape[1:3], w.shape[:2]
        out = tuple(map(conv.out_size, size, kernel_size, stride, padding))
        g = normal(len(x), *out, w.shape[3], seed=1)
        yield conv.forward, (x, w, stride, padding, groups), None
        yield conv.forward, (x, w, stride, padding, groups, bias), None
        yield conv.input_gradient, (g, w, size, stride, padding, groups), None
        yield conv.input_gradient, (g, w, size, stride, padding, groups, normal(x.shape[3])), None
        yield conv.weight_gradient, (x, g, kernel_size, stride, padding, groups), None
    for a, b in (
        ((5, 7), (7, 3)),
        ((300, 120), (120, 200)),
        ((40, 600), (600, 90)),
        ((6, 9, 8), (6, 8, 7)),
        ((1, 9, 8), (6, 8, 7)),
        ((6, 9, 8), (8, 7)),
        ((9, 8), (6, 8, 7)),
        ((2, 5, 9, 8), (5, 8, 7)),
        ((0, 4), (4, 3)),
        ((4, 0), (0, 3)),
        ((0, 9, 8), (8, 7)),
    ):
        yield linear.matmul, (normal(*a), normal(*b)), None
    yield linear.matvec, (normal(5, 7), normal(7)), None
    yield linear.einsum, ("ij,kj->ik", normal(3, 4), normal(5, 4)), None
    yield linear.einsum, ("ij,jk,kl->il", normal(3, 4), normal(4, 5), normal(5, 2)), None
    for n, m, k in ((7, 5, 3), (0, 5, 3), (90, 70, 80), (64, 100, 120)):
        x, w = normal(n, m), normal(m, k)
        yield linear.affine, (x, w, normal(k)), None
        for needed in ([True] * 3, [True, False, False], [False, True, True]):
            yield linear.affine_gradient, (normal(n, k), (x, w), needed), needed
    for x in (image, large, empty):
        for axes, keepdims in (
            ((0, 1, 2), False),
            ((0, 1, 2), True),
            ((1, 2), False),
            ((3,), True),
            ((0, 1, 2, 3), False),
            ((), False),
        ):
            yield linear.sum_over, (x, axes, keepdims), None
        for axes in ((0, 1, 2), (1, 2), (3,), (0, 1, 2, 3)):
            yield linear.norm, (x, axes), [True]
            lengths = np.sqrt((x * x).sum(axes, keepdims=True))
            yield linear.direction, ((x, np.ones(lengths.shape), lengths),), None
    for rows in (np.array([2, 0, 2, 1]), np.array([[0, 1, 0], [4, 4, 4]]), np.zeros(0, int)):
        yield linear.embedding_gradient, (normal(*rows.shape, 3), (5, 3), rows), None
    for x in (normal(4, 5), normal(3)):
        target = normal(*x.shape, seed=1)
        yield loss.binary_cross_entropy, (x, target), None
        for needed in ([True, True], [False, True], [True, False]):
            yield loss.binary_cross_entropy_gradient, (normal(), (x, target), needed), needed
    for x, axes, vectors in (
        (image, (0, 1, 2), (vector, styles, None)),
        (image, (1, 2), (vector, styles, None)),
        (large, (0, 1, 2), (normal(20), normal(8, 1, 1, 20), None)),
        (large, (1, 2), (normal(8, 1, 1, 20), None)),
        (normal(8, 5), (0,), (normal(5), None)),
        (image, (3,), (normal(4, 6), None)),
        (image, (0, 2), (None, vector)),
        (empty, (1, 2), (normal(4), None)),
        (normal(64, 28, 28, 3), (0, 1, 2), (normal(3),)),
    ):
        yield normalize.moments, (x, axes), [True, False, True]  # the mean, the variance
        yield normalize.safe_scale, (x, axes, 0.0), None
        g, mean = normal(*x.shape, seed=1), x.mean(axes, keepdims=True)
        rest = normal(*mean.shape, seed=2)
        inv_std = 1 / np.sqrt(x.var(axes, keepdims=True) + 1e-3)
        for scale in vectors:
            for shift in vectors:
                # Only y: `rest`, the rounding error of the mean, differs.
                yield normalize.normalize, (x, scale, shift, axes, 1e-3), [True]
                needed = [True, scale is not None, shift is not None]
                saved = (x, mean, rest, inv_std, scale, shift, axes)
                yield normalize.normalize_gradient, (g, saved, needed), needed
        needed = [False, vectors[0] is not None, False]
        saved = (x, mean, rest, inv_std, vectors[0], None, axes)
        yield normalize.normalize_gradient, (g, saved, needed), needed
    statistics = np.zeros((1, 1, 1, 6)), np.full((1, 1, 1, 6), 0.1), np.ones((1, 1, 1, 6))
    yield normalize.normalize, (image, vector, None, (0, 1, 2), 1e-3, statistics), None
    shapes = (3, 2), (), (0, 4), (400, 500), (7,)
    lists = [[normal(*shape, seed=i) for shape in shapes] for i in range(4)]
    ws, gs, ms, vs = (*lists[:3], [np.asarray(np.square(v)) for v in lists[3]])
    rates = [(0.1, 1e-3), (0.2, 1e-2), (0.1, 1e-3), (0.1, 1e-3), (0.3, 1.0)]
    for decay, shrink in ((0.0, 0.0), (0.2, 0.0), (0.0, 0.3)):
        rows = [(*row, 0.5, 0.1, decay, shrink) for row in rates]
        yield optim.adam, (ws, gs, ms, vs, lambda rows=rows: rows), None
        yield optim.rmsprop, (ws, gs, vs, lambda d=decay: (0.1, 0.9, 1e-3, d)), None
        yield optim.sgd, (ws, gs, None, lambda d=decay: (0.1, 0.0, d)), None
        yield optim.sgd, (ws, gs, ms, lambda d=decay: (0.1, 0.9, d)), None
    for limit in (1e-3, 1e9):
        yield optim.clip_norm, (gs, optim.global_norm(gs), limit), None
    yield optim.lerp, (ws, gs, lambda: 0.75), None
    yield optim.global_norm, (gs,), None
    yield optim.sanitize, (gs,), None
    broken = [gs[0].copy(), np.asarray(np.nan), *gs[2:]]
    broken[0][0] = np.inf, -np.inf
    yield optim.sanitize, (broken,), None
    side_by_side = [((h, w), (h, w)) for h, w in ((2, 2), (3, 2), (1, 3), (1, 1))]
    for x, windows in (
        (image, [*side_by_side, ((3, 3), (2, 1))]),
        (normal(64, 13, 9, 20), [*side_by_side, ((3, 3), (2, 1))]),
        (np.round(normal(3, 7, 8, 2)), [*side_by_side, ((3, 3), (2, 1))]),
        (np.round(normal(3, 7, 8, 1)), side_by_side),
        (np.zeros((2, 17, 33, 2)), [((16, 16), (16, 16))]),  # 256 pixels tie
        (normal(0, 4, 4, 2), side_by_side),
    ):
        for kernel_size, stride in windows:
            y = pool.max_pool.__wrapped__(x, kernel_size, stride)
            yield pool.max_pool, (x, kernel_size, stride), None
            yield (
                pool.max_pool_gradient,
                (normal(*y.shape, seed=1), x, y, kernel_size, stride),
                None,
            )
            yield (
                pool.max_pool_gradient_adjoint,
                (normal(*x.shape, seed=1), x, y, kernel_size, stride),
                None,
            )
        yield pool.repeat_pixels, (x, (2, 3)), None
    for x in (image, normal(6, 16, 15, 20), empty):
        for f in (FIR, INSEPARABLE, np.zeros((2, 2))):
            for up, down, padding in (
                ((1, 1), (1, 1), (2, 1, 1, 2)),
                ((2, 2), (1, 1), (2, 1, 2, 1)),
                ((1, 1), (2, 2), (1,) * 4),
                ((2, 3), (3, 2), (3, 4, 5, 1)),
                ((2, 2), (1, 1), (-1, 3, 2, -1)),
            ):
                yield warp.upfirdn2d, (x, Host(f), up, down, padding), None
    for x in (normal(2, 5, 4, 3), normal(2, 40, 30, 2)):
        yield warp.translate, (x, np.array([[1, -2], [-5, 0]])), None
        yield warp.affine_warp, (x, Host(THETA), (6, 7)), None
        yield warp.affine_warp_adjoint, (normal(2, 6, 7, x.shape[3]), x.shape, Host(THETA)), None


with on("cpu"):
    CASES = list(cases())


def contiguous(array):
    return asarray(array)


def strided(array):
    """Return a view with a step of 2 along the last axis."""
    return asarray(np.repeat(array, 2, -1))[..., ::2] if array.ndim else asarray(array)


def transposed(array):
    """Return an array whose first axis is the last in memory."""
    return asarray(np.ascontiguousarray(array.T)).T if array.ndim else asarray(array)


def copied(value, dtype, layout, exact):
    """Return a copy of an argument, with its arrays in this layout.

    The arrays are rounded to dtype; if `exact`, they are in float64 afterwards.
    """
    if isinstance(value, (tuple, list)):
        return type(value)(copied(v, dtype, layout, exact) for v in value)
    if isinstance(value, Host):
        return value.array.copy()
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        value = value.astype(dtype).astype("float64" if exact else dtype)
    return layout(value) if isinstance(value, np.ndarray) else value


def arrays_in(value):
    """Return the arrays and numbers in a value, as NumPy arrays."""
    if isinstance(value, (tuple, list)):
        return [array for v in value for array in arrays_in(v)]
    if value is None or callable(value) or isinstance(value, str):
        return []
    return [np.asarray(to_numpy(value))]


def results(kernel_set, case, dtype, layout, exact=False):
    """Return what the plain or the fast kernel returns, and its arguments after the call."""
    kernel, arguments, needed = case
    kernels.use(kernel_set)
    arguments = copied(arguments, dtype, layout, exact)
    result = kernel(*arguments)
    if needed is not None:
        result = [r for r, is_needed in zip(result, needed, strict=False) if is_needed]
    result = arrays_in(result)
    dtype = "float64" if exact else dtype
    assert all(array.dtype == dtype for array in result if array.ndim)  # a number may be a float
    return result + arrays_in(arguments)


@pytest.mark.cpu
@pytest.mark.parametrize(
    "device, dtype", [("cpu", "float32"), ("cpu", "float64"), ("gpu", "float32")]
)
@pytest.mark.parametrize(
    "layout", [contiguous, strided, transposed], ids=lambda layout: layout.__name__
)
def test_a_fast_kernel_agrees_with_its_plain_version(layout, dtype, device):
    """The plain version computes in float64; the results agree to the rounding of dtype."""
    tolerance = 2e-5 if dtype == "float32" else 1e-12
    for case in CASES:
        with on("cpu"), np.errstate(all="ignore"):
            expected = results("plain", case, dtype, contiguous, exact=True)
        with on(device), np.errstate(all="ignore"):
            computed = results("fast", case, dtype, layout)
        shapes = [getattr(a, "shape", a) for a in case[1]]
        call = f"{case[0].__module__}.{case[0].__name__} of {shapes}"
        for fast, plain in zip(computed, expected, strict=True):
            assert fast.shape == plain.shape, call
            scale = max(1e-3, abs(plain).max(initial=0)) if plain.dtype.kind == "f" else 0
            np.testing.assert_allclose(fast, plain, rtol=0, atol=tolerance * scale, err_msg=call)


@pytest.mark.parametrize("folder", ["cpu", "cuda"])
def test_every_fast_kernel_is_compared(folder):
    for file in FILES:
        __import__(f"tinygan.kernels.{folder}.{file[:-3]}")
    with_fast_version = {kernel for where, kernel in kernels._fast if where == folder}
    assert len(with_fast_version) > 15 and with_fast_version <= {kernel for kernel, *_ in CASES}


# ---- training with both ----


@pytest.fixture(scope="module")
def digits():
    full = data.load("digits")
    return data.Dataset("digits", "train", full.images[:200], full.labels[:200], full.class_names)


def largest(arrays):
    return max(abs(array).max(initial=0) for array in arrays)


@pytest.mark.cpu
@pytest.mark.parametrize("recipe", FEW)
def test_the_first_steps_of_a_recipe_agree(recipe, tmp_path, digits):
    """The logged numbers and all weights agree in float32.

    With the eps of its paper, Adam would turn the rounding error of a gradient that is 0, such as
    that of a bias before batch-norm, into a step of full size. So eps is larger here.
    """
    rows, weights = {}, {}
    for kernel_set in ("fast", "plain"):
        kernels.use(kernel_set)
        trainer = start(
            tmp_path / kernel_set,
            digits,
            recipe,
            steps=3,
            eps=1e-2,
            sample_every=100,
            checkpoint_every=100,
        )
        trainer.run(progress=False)
        log = (tmp_path / kernel_set / "log.jsonl").read_text().splitlines()
        rows[kernel_set] = json.loads(log[-1])
        networks = trainer.algorithm.G, trainer.algorithm.D
        weights[kernel_set] = [network.state_dict() for network in networks]
    assert rows["fast"].keys() == rows["plain"].keys()
    for name, value in rows["fast"].items():
        assert rows["plain"][name] == pytest.approx(value, rel=1e-4, abs=1e-4), name
    for fast, plain in zip(*weights.values()):
        assert largest([fast[name] - plain[name] for name in fast]) <= 1e-4 * largest(fast.values())


@pytest.mark.cpu
@pytest.mark.parametrize("recipe", SMALL)
def test_the_gradients_of_a_recipe_agree(recipe):
    """In float64: D's loss with a gradient penalty, G's loss through D, and their gradients."""
    computed = {}
    for kernel_set in ("fast", "plain"):
        kernels.use(kernel_set)
        rng = np.random.default_rng(0)
        settings = recipes.find(recipe).settings().updated(SMALL[recipe])
        networks = recipes.find(recipe).build(settings, (32, 32, 1), 10, rng)
        G, D = (network.astype("float64") for network in networks)
        labels = [] if settings.g_class == "none" else [np.arange(8) % 10]
        reals = Tensor(rng.uniform(-1, 1, (8, 32, 32, 1)), requires_grad=True)
        fakes = G(Tensor(rng.standard_normal((8, settings.latent))), *labels)
        real, fake = (D(images, *labels) for images in (reals, fakes))
        real, fake = (output[0] if isinstance(output, tuple) else output for output in (real, fake))
        gradient = grad(ops.sum(real), reals, create_graph=True)
        penalty = ops.mean(ops.square(gradient))
        d_loss = ops.mean(ops.softplus(fake) + ops.softplus(-real)) + penalty
        g_loss = ops.mean(ops.softplus(-fake))
        gradients = grad(d_loss, D.parameters(), retain_graph=True) + grad(g_loss, G.parameters())
        gradients = [g.data for g in gradients if g is not None]
        computed[kernel_set] = [d_loss.data, g_loss.data, *gradients]
    assert len(computed["fast"]) == len(computed["plain"]) > 4
    # Of gradients that are 0, such as that of a bias before a norm.
    rounding = 1e-12 * largest(computed["fast"])
    for fast, plain in zip(*computed.values()):
        assert fast.dtype == np.float64
        assert abs(fast - plain).max() <= 1e-9 * abs(fast).max() + rounding


# ---- the choice between them ----


def python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )


def test_the_environment_chooses_the_kernels():
    code = "from tinygan import kernels; print(kernels.in_use())"
    assert python(code, TINYGAN_KERNELS="plain").stdout == "plain\n"
    for value in ("fast", ""):
        assert python(code, TINYGAN_KERNELS=value).stdout == "fast\n"
    wrong = python(code, TINYGAN_KERNELS="quick")
    assert wrong.returncode == 2 and wrong.stderr == (
        "tinygan: error: TINYGAN_KERNELS=quick: unknown kernels 'quick': choose plain or fast\n"
    )


def test_use():
    with on("cpu"):
        for kernel_set in ("plain", "fast", "plain"):
            kernels.use(kernel_set)
            assert kernels.in_use() == kernel_set
            assert kernels.records_steps() == (kernel_set == "fast")
        with pytest.raises(InputError, match="unknown kernels 'slow': choose plain or fast"):
            kernels.use("slow")
        assert kernels.in_use() == "plain"


def test_the_kernels_may_change_between_forward_and_backward():
    x, w, bias = (tensor(a, requires_grad=True) for a in (normal(4, 5), normal(5, 3), normal(3)))

    def gradients(forward, backward):
        kernels.use(forward)
        y = ops.mean(ops.batch_norm(ops.bias_act(ops.affine(x, w, bias), bias)) ** 3)
        kernels.use(backward)
        return [to_numpy(g.data) for g in grad(y, [x, w, bias])]

    for a, b in zip(gradients("plain", "fast"), gradients("fast", "plain"), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_only_kernels_that_run_are_imported():
    """On NumPy no file of cuda/, and with the plain kernels no file of cpu/ either."""
    code = """if True:
        import sys, numpy as np, tinygan
        from tinygan import grad, nn, ops, optim, tensor
        net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm(2), nn.Flatten(), nn.Linear(2, 1))
        loss = ops.softplus(net(tensor(np.ones((4, 3, 3, 1), "float32")))).mean()
        optim.Adam(net.parameters(), 0.1).step(grad(loss, net.parameters()))
        files = [name for name in sys.modules if name.startswith("tinygan.kernels.c")]
        print(*(name.removeprefix("tinygan.kernels.") for name in files if name.count(".") > 2))"""
    fast = python(code, TINYGAN_KERNELS="fast", TINYGAN_BACKEND="numpy").stdout.split()
    assert "cpu.conv" in fast and not [name for name in fast if name.startswith("cuda")]
    assert python(code, TINYGAN_KERNELS="plain", TINYGAN_BACKEND="numpy").stdout.split() == []


# ---- the trial of the fast kernels on a GPU ----


@pytest.fixture
def new_gpu():
    """Make a GPU seem to come into use for the first time; forget the result of its trial after the
    test."""
    kernels.use("fast")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "_cuda_works", {})
        patch.setattr(cublas, "_handles", {})
        yield


def test_the_trial_runs_every_kernel(monkeypatch, new_gpu):
    """It runs every kernel in CUDA C that the files of cuda/ define."""
    ran, compiled = set(), elementwise._compiled
    monkeypatch.setattr(
        elementwise, "_compiled", lambda *args: ran.add(args[-1]) or compiled(*args)
    )
    trees = [ast.parse(Path(FOLDER, "cuda", file).read_text("utf-8")) for file in FILES]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    makers = "elementwise_kernel", "_update_kernel"
    calls = [call for call in calls if getattr(call.func, "id", "") in makers]
    defined = {call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)}
    with on("gpu"):
        trial.run()
    assert len(defined) > 15 and ran == defined


needs_stand_in = pytest.mark.skipif(real_gpu, reason="the test breaks the stand-in")


def updated_weight():
    """Return a weight after a step of an optimiser, which uses cuBLAS and kernels in CUDA C."""
    w = tinygan.Parameter(asarray(normal(5, 3).astype("float32")))
    loss = ops.mean(ops.leaky_relu(ops.matmul(tensor(normal(4, 5), dtype="float32"), w)))
    tinygan.optim.Adam([w], 0.1).step([grad(loss, w)])
    return to_numpy(w.data)


@needs_stand_in
@pytest.mark.parametrize("broken", ["library", "kernel"])
def test_fast_kernels_that_do_not_work_on_a_gpu_are_off(broken, new_gpu, monkeypatch, capsys):
    def no_library():
        raise InputError("cuBLAS 12 cannot be opened")

    def no_kernel(*_):
        raise RuntimeError("nvrtc:\n error in tinygan_leaky_relu")

    if broken == "library":
        monkeypatch.setattr(cublas, "load", no_library)
    else:
        monkeypatch.setattr(strict.ElementwiseKernel, "__call__", no_kernel)
    with on("gpu"):
        assert kernels.in_use() == "plain" and not kernels.records_steps()
        on_the_gpu = updated_weight()
        with on("gpu"):  # no second warning
            pass
    with on("cpu"):
        assert kernels.in_use() == "fast"  # on NumPy it works
        np.testing.assert_allclose(on_the_gpu, updated_weight(), rtol=1e-5)
    cause = (
        "cuBLAS 12 cannot be opened"
        if broken == "library"
        else "nvrtc: error in tinygan_leaky_relu"
    )
    assert capsys.readouterr().err == (
        "tinygan: warning: the fast kernels do not work on this GPU; the plain ones compute: "
        f"{cause}\n"
    )


@needs_stand_in
@pytest.mark.parametrize("broken", ["library", "kernel"])
def test_an_error_in_a_step_is_raised(broken, new_gpu, monkeypatch, capsys):
    """Once the fast kernels work, an error neither is caught nor switches to the plain ones."""

    def fails(*_):
        raise RuntimeError("an illegal memory access")

    with on("gpu"):
        assert kernels.in_use() == "fast"
        library = strict.strict_cuda.Cublas, "cublasSgemmStridedBatched"
        kernel = strict.ElementwiseKernel, "__call__"
        monkeypatch.setattr(*library if broken == "library" else kernel, fails)
        with pytest.raises(RuntimeError, match="an illegal memory access"):
            updated_weight()
        assert kernels.in_use() == "fast"
    assert not capsys.readouterr().err


@needs_stand_in
@pytest.mark.parametrize("name", ["plain", "fast"])
def test_only_fast_kernels_record_steps(name):
    kernels.use(name)
    with on("gpu"):
        net = tinygan.nn.Linear(2, 3, rng=np.random.default_rng(0))
        x = tensor(np.ones((1, 2)), dtype="float32")
        step = tinygan.capture(lambda: (net(x).data.sum(),), net)
        values = [float(step()[0]) for _ in range(3)]
        assert len(step.steps.steps) == kernels.records_steps() == (name == "fast")
        assert values == pytest.approx([values[0]] * 3)
