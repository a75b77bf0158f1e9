"""Is what the optimiser gets the gradient of the loss that is logged?

A Stage is a loss, and the Parameters that an optimiser trains by it. Its step runs again and again
from the same state, with other values of these Parameters, while the optimiser only notes what it
gets. So the loss that is logged becomes a function of the Parameters, and what the optimiser got
its gradient, as someone claims it: autograd/gradcheck/ compares the two.

checked_algorithm.py has the stages of a recipe, checked_loop.py those of a loop of the user's own.
"""

import contextlib
import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from tinygan import recorded
from tinygan.autograd import Parameter
from tinygan.autograd.gradcheck.checker import check_order
from tinygan.autograd.gradcheck.options import Options
from tinygan.autograd.gradcheck.problem import JITTER_STEP, Arrays, Problem, generator
from tinygan.autograd.gradcheck.report import GradientError, GradReport, OrderReport
from tinygan.backend import asarray, to_numpy, xp
from tinygan.kernels.cpu import parallel
from tinygan.nn import Module, SpectralNorm
from tinygan.nn.spectral import matrix

# The engine's modules where arrays become Tensors
_TENSOR, _CHECKS = map(
    importlib.import_module, ("tinygan.autograd.tensor", "tinygan.autograd.checks")
)
SINGLE_JITTER_STEP = 2.0**-8  # of steps that show the noise of float32


class Update(NamedTuple):
    """What an optimiser got: of: the loss that it belongs to, in words; value: as it is logged;
    gradients: arrays, or None, one for each parameter of the stage."""

    of: str
    value: Any
    gradients: list[Any]


class Stage(NamedTuple):
    """A loss, and the Parameters that are trained by it.

    title: in messages. parameters: {name: Parameter}. run: run(parameters, for_gradient) restores
    the state of the step, calls parameters() to set the Parameters, runs the step, and returns its
    Updates; for_gradient: whether their gradients are needed. explain: explain(error) may add to
    the message of a GradientError.
    """

    title: str
    parameters: Mapping[str, Parameter]
    run: Callable[[Callable[[], None], bool], list[Update]]
    explain: Callable[[GradientError], None] = lambda error: None


class TrainingStepReport(GradReport):
    """The largest relative error of each loss. See GradReport: `.orders` has an OrderReport for
    each loss."""

    def __str__(self) -> str:
        """Return one line: the title and the error of each loss."""
        titles = (order.title.rpartition(", order")[0] for order in self.orders)
        return ", ".join(f"{title}: {error:.1e}" for title, error in zip(titles, self))


def check_stages(stages: Iterable[Stage], options: Options, seed: int) -> GradReport:
    """Check each stage, and return the report. Raise GradientError if a gradient is wrong."""
    report, rng = TrainingStepReport(), generator(seed)
    for stage in stages:
        updates = None
        try:
            updates = _Updates(stage)
            report.add(updates.check(options, rng))
        except GradientError as error:
            if updates:  # or else two runs of the step differ
                stage.explain(error)
            error.report = report.with_failure_of(error)
            raise
    return report


class _Updates:
    """The updates of a stage, as functions of its Parameters."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.trained = {n: p for n, p in stage.parameters.items() if p.requires_grad}
        self.arrays = [np.array(to_numpy(p.data), np.float64) for p in self.trained.values()]
        self.single = any(p.dtype == np.float32 for p in self.trained.values())
        self.known: tuple[Any, Any] = None, None  # (arrays, the updates there)
        first, again = (self.updates(self.arrays, True) for _ in range(2))
        self.names = [update.of for update in first]
        for a, b in zip(first, again):
            same = np.array_equal(a.value, b.value, equal_nan=True)
            if not same or not all(map(np.array_equal, a.gradients, b.gradients)):
                what = "gradients" if same else "losses"
                raise GradientError(
                    f"{stage.title}: two runs of the step from the same state gave different "
                    f"{what}; draw its random numbers from a numpy Generator, and its batches by "
                    "their index"
                )

    def check(self, options: Options, rng: np.random.Generator) -> OrderReport:
        """Check the gradients of all updates together. If they are wrong, find the update."""
        try:
            return check_order(self.problem(), 1, options, rng)[0]
        except GradientError:
            for i in range(len(self.names)) if len(self.names) > 1 else ():
                check_order(self.problem(i), 1, options, rng)
            raise

    def updates(self, arrays: Arrays, for_gradient: bool = False) -> list[Update]:
        """Return what the optimiser gets at other values of the trained Parameters."""

        def set_parameters() -> None:
            for parameter, array in zip(self.trained.values(), arrays):
                parameter.assign(asarray(array))

        updates, all_names = self.stage.run(set_parameters, for_gradient), self.stage.parameters
        kept = [i for i, name in enumerate(all_names) if name in self.trained]
        return [u._replace(gradients=[u.gradients[i] for i in kept]) for u in updates]

    def problem(self, only: int | None = None) -> Problem:
        """Return the Problem of all updates, or of one of them."""
        chosen = slice(None) if only is None else slice(only, only + 1)
        kind = np.float32 if self.single else np.float64

        def values(arrays: Arrays) -> Arrays:
            return [np.asarray(u.value, kind) for u in self.updates(arrays)[chosen]]

        def gradient(arrays: Arrays, weights: Arrays) -> Arrays:
            if self.known[0] is not arrays:
                self.known = arrays, self.updates(arrays, True)
            total = [np.zeros(x.shape) for x in arrays]
            for update, weight in zip(self.known[1][chosen], weights):
                for t, g in zip(total, update.gradients):
                    if g is not None:
                        t += weight * g
            return total

        title = f"{self.stage.title}: {' and '.join(self.names[chosen])}"
        step = SINGLE_JITTER_STEP if self.single else JITTER_STEP
        return Problem(title, list(self.trained), self.arrays, values, gradient, None, step)


def as_arrays(gradients: Iterable[Any]) -> list[Any]:
    """Return copies of gradients, Tensors or None, as float64 arrays in host memory."""
    return [None if g is None else np.array(to_numpy(g.data), np.float64) for g in gradients]


def hold_power_vectors(networks: Iterable[Module]) -> None:
    """Let the SpectralNorm layers of networks use the first singular vectors of their weights as
    they are now, whatever the weights become.

    The gradient takes these vectors for constants (Miyato et al. 2018), and so does the check.
    """
    for network in networks:
        for _, module in network.all_parts():
            if isinstance(module, SpectralNorm):
                layer: Any = module.layer
                w = to_numpy(matrix(layer, layer.weight.data))
                left, _, right = np.linalg.svd(w, full_matrices=False)
                module.v, module.u = asarray(left[:, 0].copy()), asarray(right[0].copy())
                vars(module)["forward"] = _HeldVectors(module)


class _HeldVectors:
    def __init__(self, module: SpectralNorm) -> None:
        self.module = module

    def __call__(self, x: Any) -> Any:
        module = self.module
        before = module.training, module.step_in_evaluation
        module.training = module.step_in_evaluation = False
        try:
            return type(module).forward(module, x)
        finally:
            module.training, module.step_in_evaluation = before


@contextlib.contextmanager
def environment(double: bool) -> Iterator[None]:
    """While the block runs, no step is recorded, and overflow warns of nothing. double: arrays and
    numbers become float64 where they become Tensors."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(_replaced(recorded, "enabled", False))
        stack.enter_context(np.errstate(all="ignore"))
        stack.enter_context(parallel.single_threaded_blas())
        if double:
            for module in (_TENSOR, _CHECKS):
                stack.enter_context(_replaced(module, "as_floating", _as_float64))
            stack.enter_context(_replaced(_CHECKS, "_as_tensor", _as_tensor64))
        yield


@contextlib.contextmanager
def _replaced(module: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


_as_floating, _as_tensor = _TENSOR.as_floating, _CHECKS._as_tensor


def _as_float64(data, dtype=None, copy=True):
    return _as_floating(data, np.float64, copy)


def _as_tensor64(name, x, dtype):
    if isinstance(x, xp.ndarray) and x.dtype == np.float32:
        x = x.astype(np.float64)
    return _as_tensor(name, x, np.float64 if dtype in (None, np.float32) else dtype)
