"""EMA: a copy of a network whose weights are a moving average of its weights."""

import copy
from collections.abc import Callable

from tinygan.kernels import optim as optim_kernels
from tinygan.nn import Module


class EMA:
    """The exponential moving average of a module's weights. An averaged G generates better images
    than G with its current weights.

    At each update, average = decay * average + (1 - decay) * weights; buffers are copied. The decay
    rises with the number t of earlier updates, min(decay, (1 + t) / (10 + t)), so that the average
    forgets the random initial weights. In the first `start` updates, the decay is 0: the average is
    equal to the module. The average of a frozen parameter is that parameter.
    Raises ValueError for a decay outside [0, 1).

    module: the averaged copy, in evaluation mode.
    """

    def __init__(self, module: Module, decay: float = 0.999, start: int = 0):
        if not 0 <= decay < 1:
            raise ValueError(f"EMA: decay must be in [0, 1), but is {decay}")
        self.decay, self.start, self.updates = decay, start, 0
        self.module = copy.deepcopy(module).eval()

    def update(self, module: Module, decay: Callable[[], float | None] | None = None) -> None:
        """Move the average towards the weights of `module`.

        decay: a function that returns the decay of this update, or None for the rising decay above.
        A recorded step calls it at each replay. Raises ValueError if a parameter of `module` has
        a different shape from its average.
        """
        pairs = list(zip(self.module.parameters(), module.parameters(), strict=True))
        for average, current in pairs:
            if average.shape != current.shape:
                raise ValueError(
                    f"EMA: {current.name} has shape {current.shape}, but its average has shape "
                    f"{average.shape}"
                )

        def count_and_get_beta():
            beta = decay() if decay else None
            if beta is None:
                beta = min(self.decay, (1 + self.updates) / (10 + self.updates))
            self.updates += 1
            return beta if self.updates > self.start else 0.0

        frozen = [pair for pair in pairs if not pair[1].requires_grad]
        trained = [pair for pair in pairs if pair[1].requires_grad]
        # Rounding must not change the average of what does not change.
        for group, get_beta in ((trained, count_and_get_beta), (frozen, lambda: 0.0)):
            if group:
                averages, weights = ([pair[i].data for pair in group] for i in (0, 1))
                optim_kernels.lerp(averages, weights, get_beta)
        self.module.mark_changed()
        self.module.copy_buffers(module)
