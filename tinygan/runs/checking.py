"""`check_training_step`: of a recipe, of a run, or of a training loop of the user's own."""

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygan.autograd.gradcheck import GradReport
from tinygan.errors import InputError

from .messages import messages_for_python, whole_number
from .run import Run

if TYPE_CHECKING:
    from tinygan.data import Dataset

Array = np.ndarray[Any, Any]


def check_training_step(
    what: "str | os.PathLike[str] | Run | Callable[[], Any] | None" = None,
    data: "str | os.PathLike[str] | Dataset | Array | tuple[Array, Any] | None" = None,
    *,
    optimizer: Any = None,
    network: Any = None,
    batch_size: int | None = None,
    image_size: int | str | tuple[int, int] | None = None,
    layout: str | None = None,
    labels: Any = None,
    data_dir: str | os.PathLike[str] | None = None,
    model: str | os.PathLike[str] | None = None,
    trust: bool = False,
    seed: int = 0,
    eps: float = 1e-2,
    miss: float = 1e-4,
    **settings: Any,
) -> GradReport:
    """Check that what the optimiser gets is the gradient of the loss that is logged.

        tinygan.check_training_step("stylegan2", "mnist", r1=10)   # a recipe, or FILE.py
        tinygan.check_training_step("runs/mine")                   # a run, as it is now

        def step():                                                # a loop of your own
            loss = loss_of(net(batch))
            optimizer.step(grad(loss, net.parameters()))
            return loss

        tinygan.check_training_step(step, optimizer=optimizer, network=net)

    It runs the step with optimisers that only note what they get, changes the parameters along
    random directions, and compares with the loss that the step reports. So it finds a penalty whose
    gradient is missing, a loss that is scaled after it was logged, the gradient of another network,
    a part of the loss that is detached, gradients that are left over from the step before, and
    gradients that your loop clips or scales. (What the optimiser does with them, such as weight
    decay, is not checked.) Every run of the step begins with the same random numbers, batch,
    buffers and counts, in float64 if possible; in the end, everything is as before.

    what: the name of a recipe, or a model file of yours, FILE.py; a run's folder or checkpoint, or
        a Run, also in its on_step; or a function.
    data, image_size, layout, labels, data_dir: as for `train`; for a run, as for `load_run`.
    model, trust: for a run with a model file of yours: the file, or True to execute its copy.
    settings: those of a recipe, as for `train`. A run has its own.
    batch_size: by default 8, or what the settings say if that is less. A step has one update of D,
        and lazy penalties act in it. In a new run, ADA's p is .5, networks that grow are at the
        last fade-in, and parameters that begin with 0 are moved off it, so that everything acts.
        Gradients are checked before the setting clip_grad_norm clips them, and with the vectors of
        spectral normalisation held constant, as in its paper.

    A function makes one step, and returns its loss, a Tensor or a float. It takes no arguments.
    optimizer: the optimiser whose `step` it calls; or several, a list or a dict: then it returns
        one loss for each, in a tuple or a dict (or one loss that all of them minimise). An object
        of your own needs `parameters` and `step`. If an optimiser is called several times in a
        step, its loss is that of the last time. (For a recipe, it is a setting, such as "adamw".)
    network: the network, or a list or dict of them. Its parameters get their paths in messages, and
        each must be frozen or in an optimiser. Without optimizer, the gradients that the step
        leaves in `.grad` are checked.
    All that the function can reach (variables outside it, its object) is brought back before each
    run; but not Python generators and files: a batch must not come from `next(...)` of one.

    seed: of a recipe's weights and of the directions. eps, miss: as for `check_grads`.

    Returns a GradReport, with an OrderReport for each network or optimiser. Raises GradientError if
    a gradient is wrong: it names the loss, the parameter and the entry, with both numbers. Raises
    InputError for what cannot be checked.
    """
    from tinygan.autograd.gradcheck.options import Options
    from tinygan.data.in_memory import as_dataset
    from tinygan.training import checked_algorithm, recipes

    with messages_for_python():
        options = Options(eps=eps, miss=miss, entries=4).checked()
        seed = whole_number("seed", seed, 0)
        how = {"image_size": image_size, "layout": layout, "labels": labels, "data_dir": data_dir}
        code = {"model": model, "trust": trust or None}
        of_loop = {"optimizer": optimizer, "network": network}
        if batch_size is not None:
            batch_size = whole_number("batch_size", batch_size, 2)
        if callable(what) and not isinstance(what, Run):
            others = {"data": data, "batch_size": batch_size, **how, **code, **settings}
            _refuse(others, "a function makes its own batches and has no settings")
            return _check_loop(what, optimizer, network, options, seed)
        if isinstance(optimizer, str):  # a recipe has a setting of this name
            settings, of_loop["optimizer"] = {**settings, "optimizer": optimizer}, None
        _refuse(of_loop, "a recipe and a run have their own")
        if isinstance(what, Run) or _is_run(what):
            own = "a run has its own settings and data"
            _refuse({**settings, "image_size": image_size, "layout": layout, "labels": labels}, own)
            run = what
            if isinstance(run, Run):
                _refuse({"data": data, "data_dir": data_dir, **code}, "the Run has them")
            else:
                if not isinstance(data, (str, os.PathLike, type(None))):
                    data, data_dir = as_dataset(data, data_dir), None
                run = Run(os.fspath(run or ""), data, data_dir, model, trust)
            make, title = lambda: run.algorithm_to_check(batch_size), run.config["recipe"]
        else:
            _refuse(code, "they are for a run")
            if not isinstance(what, (str, os.PathLike, type(None))):
                raise InputError(
                    "check_training_step takes the name of a recipe, FILE.py, a run or a function, "
                    f"not {type(what).__name__}"
                )
            if not isinstance(data, (str, os.PathLike, type(None))):
                data, how = as_dataset(data, **how), {}
            title, given = os.fspath(what or recipes.DEFAULT), (what, data, how, settings)
            make = lambda: checked_algorithm.of_recipe(*given, batch_size, seed)
        return _check_algorithm(make, title, options, seed)


def _refuse(options, why):
    """Raise InputError if an option is given that would not be used."""
    if used := next((name for name, value in options.items() if value is not None), None):
        raise InputError(f"check_training_step: leave out {used}: {why}")


def _is_run(what):
    """Return whether a text or path is that of a run, not a recipe's name or file."""
    from tinygan.files import user_path
    from tinygan.training import recipes

    if not isinstance(what, (str, os.PathLike)):
        return False
    name = os.fspath(what)
    is_recipe = name in recipes.RECIPES or name.endswith(".py")
    return not is_recipe and (os.path.basename(name) != name or os.path.exists(user_path(name)))


def _check_loop(step, optimizer, network, options, seed):
    from tinygan.nn import Module
    from tinygan.training import checked_loop, checking

    optimizers, networks = _by_name("optimizer", optimizer), _by_name("network", network)
    for name, value in optimizers.items():
        if not callable(getattr(value, "step", None)) or not hasattr(value, "parameters"):
            raise InputError(
                f"{name} must be an optimiser, with parameters and a step, not of type "
                f"{type(value).__name__}"
            )
        if not hasattr(value, "__dict__"):
            raise InputError(
                f"{name}: the step of a {type(value).__name__} cannot be replaced by one that only "
                "notes what it gets: leave __slots__ out of the class"
            )
    for name, value in networks.items():
        if not isinstance(value, Module):
            raise InputError(f"{name} must be a Module, not of type {type(value).__name__}")
    if not optimizers and not networks:
        raise InputError(
            "check_training_step of a function needs the optimiser that it uses: optimizer=...; "
            "or network=..., if the gradients of backward() are in .grad after it"
        )

    def check(double):
        loop = checked_loop.Loop(step, optimizers, networks, double)
        try:
            with checking.environment(double):
                return checking.check_stages(loop.stages(), options, seed)
        finally:
            loop.end()

    return _in_float64_if_possible(check)


def _by_name(what: str, given: Any) -> dict[str, Any]:
    """Return {name: object} of one object, or of several in a list or dict."""
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return dict(given)
    if isinstance(given, (list, tuple)):
        return {f"{what} {i}": value for i, value in enumerate(given)}
    return {what: given}


def _check_algorithm(make, title, options, seed):
    from tinygan.training import checked_algorithm, checking

    def check(double):
        algorithm = make()
        with checking.environment(double):
            stages = checked_algorithm.stages(algorithm, title, double)
            return checking.check_stages(stages, options, seed)

    return _in_float64_if_possible(check)


def _in_float64_if_possible(check: Callable[[bool], GradReport]) -> GradReport:
    try:
        return check(True)
    except InputError:
        raise
    except (TypeError, ValueError):  # such as a constant of float32 in code of the user's own
        return check(False)
