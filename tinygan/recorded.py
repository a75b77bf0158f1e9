"""Recorded steps: training steps that Python runs a few times, and that are replayed from then on.

On a GPU, a recorded step is a CUDA graph (kernels/cuda/graphs.py); on a CPU, a list of calls of
NumPy (kernels/cpu/recording.py). Both compute the same bits as the step itself, and both need the
same of it: it does the same operations each time, its new data comes through `backend.from_host`,
and it does not read the values that it computes.

With TINYGAN_RECORD=0, with the plain kernels, and while a monitor (anomaly, profile, trace), a hook
of a module or one on the gradient of a Parameter is active, all steps run unrecorded.
"""

from typing import Any, Callable, Iterable

import numpy as np

from tinygan import backend, kernels
from tinygan.autograd import Parameter, engine
from tinygan.errors import InputError, from_environment, warn_once

NUMBERS = bool, int, float, str, type(None)
MAX_IN_VAIN = 10


def _switch(text):
    if text not in ("0", "1"):
        raise InputError("choose 0 or 1")
    return text == "1"


enabled = from_environment("TINYGAN_RECORD", "1", _switch)
enabled &= from_environment("TINYGAN_CUDA_GRAPHS", "1", _switch)  # its name in older versions


def records_steps() -> bool:
    """Return whether steps are recorded now."""
    return (
        enabled
        and kernels.records_steps()
        and engine.monitor is None
        and backend.tape() is None  # a step inside another is a part of it
    )


class RecordedSteps:
    """A recorded step for every kind of step, by a key.

    Each kind does the same operations each time. A step whose operations vary has the key None, and
    is never recorded. A step is recorded anew when something has changed that it takes for granted:
    a number or a flag of a module, its Parameters, the number of threads. If that happens again and
    again before a replay, the step runs unrecorded.

    modules: a function that returns those whose Parameters the step reads. slots: a function that
    returns [(owner, attribute)] of the arrays that the step reads and replaces, such as a module's
    buffers. keep_state: a function that returns another, which goes back to the present state, or
    None. If it returns a function, a step that cannot be recorded runs unrecorded; otherwise, it
    raises an error.
    """

    def __init__(
        self,
        modules: Callable[[], Iterable[Any]],
        slots: Callable[[], list[tuple[Any, str]]],
        keep_state: Callable[[], Callable[[], None] | None] = lambda: None,
    ):
        self.modules, self.slots, self.keep_state = modules, slots, keep_state
        self.steps: dict[Any, Any] = {}
        self.in_vain: dict[Any, int] = {}  # {key: how often settings changed before a replay}
        self.workspace: Any = None  # what CUDA graphs share

    def run(self, key: Any, function: Callable[[], Any]) -> Any:
        """Run function(), or replay what it did with this key before."""
        settings = None if key is None or not records_steps() else settings_of(self.modules())
        if settings is None:
            return function()
        from tinygan.kernels.cpu import parallel  # users of the plain kernels do not import it

        settings.append(parallel.num_threads())
        step = self.steps.get(key)
        if step is None or step.settings != settings:
            if step is not None and not step.is_recorded():
                self.in_vain[key] = self.in_vain.get(key, 0) + 1
            if self.in_vain.get(key, 0) > MAX_IN_VAIN:
                return function()
            step = self.steps[key] = self.recorded_step(function)
            step.settings = settings
        if step.refused:
            return function()
        go_back = self.keep_state() if step.records_next() else None
        try:
            return step()
        except Exception as error:
            if go_back is None or step.has_reported:
                raise
            step.refused = True
            go_back()
            warn_once(f"a training step cannot be recorded, and runs unrecorded: {error}")
            return function()

    def recorded_step(self, function):
        if backend.device() == "gpu":
            from tinygan.kernels.cuda.graphs import Graph, Workspace

            self.workspace = self.workspace or Workspace()
            return Graph(function, self.slots, self.workspace)
        from tinygan.kernels.cpu.steps import RecordedStep

        parameters = [p for module in self.modules() for p in module.parameters()]
        return RecordedStep(function, self.slots, parameters)

    def clear(self) -> None:
        """Forget all recorded steps, because arrays that they work on have been replaced."""
        self.steps.clear()
        self.workspace = None


def settings_of(modules: Iterable[Any]) -> list[Any] | None:
    """Return the numbers and flags of modules, and which arrays and generators they hold.

    Return None if a module has a hook, or the gradient of a Parameter, which must run at every
    step.
    """
    settings: list[Any] = []
    for module in modules:
        for _, part in module.all_parts():
            attributes = vars(part)
            if "forward" in attributes:
                return None
            for value in attributes.values():
                if isinstance(value, NUMBERS):
                    settings.append(value)
                elif isinstance(value, Parameter):
                    if value.node is not None and value.node.hooks:
                        return None
                    settings += id(value.data), value.requires_grad
                elif isinstance(value, np.random.Generator):
                    settings.append(id(value))
    return settings


def capture(
    step: Callable[[], Any], *modules: Any, state: Iterable[tuple[Any, str]] = ()
) -> Callable[[], Any]:
    """Return a function that runs `step`, from the fourth call on (on a GPU, the third) by
    replaying it, which takes less time and computes the same bits (kernels/README.md, "Recorded
    steps").

    step: trains the modules once. It takes no arguments and returns a tuple of arrays without
    dimensions, such as losses (`loss.data`). It must do the same operations each time, and must not
    read their results. Data that is new each time, such as batches and random numbers, comes
    through `tinygan.from_host` (`backend.normal` and all layers use it). A number that `step` takes
    from elsewhere, such as the weight of a penalty, keeps its value: pass it through `from_host`,
    too, if it changes. What breaks these rules is refused with an error, if it shows while the step
    is recorded.

    modules: all networks whose Parameters and buffers the step uses. state: (owner, attribute) of
    other arrays that the step replaces and reads again the next time.
    """
    buffers = [(owner, name) for module in modules for _, owner, name in module.buffer_slots()]
    slots = [*state, *buffers]
    steps = RecordedSteps(lambda: modules, lambda: slots)

    def run():
        results = steps.run("step", step)
        for module in modules:
            module.mark_changed()
        return results

    run.steps = steps
    return run
