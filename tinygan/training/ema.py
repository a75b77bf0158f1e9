"""EMA: a copy of a network whose weights are a moving average of the trained one's."""

import copy

from tinygan.kernels import optim as kernel


class EMA:
    """The exponential moving average of a module's weights, which draws better than the last ones.

    average = decay * average + (1 - decay) * weights at each update; buffers are copied. The decay
    ramps up, min(decay, (1 + t) / (10 + t)) at update t, so that the random start is forgotten; it
    is 0, so that the average is the module, at the first `start` updates. `module` is the average
    itself, in evaluation mode.
    """

    def __init__(self, module, decay=0.999, start=0):
        if not 0 <= decay < 1:
            raise ValueError(f"EMA: decay must lie in [0, 1), not {decay}")
        self.decay, self.start, self.updates = decay, start, 0
        self.module = copy.deepcopy(module).eval()

    def update(self, module, decay=None) -> None:
        """Move the average towards `module`'s weights. decay: a function, which a recorded step
        calls anew, that returns the decay of this update, or None for that of the ramp."""
        for average, current in zip(self.module.parameters(), module.parameters(), strict=True):
            if average.shape != current.shape:
                raise ValueError(
                    f"EMA: {current.name} has shape {current.shape}, its average {average.shape}"
                )

        def decay_now():
            beta = decay() if decay else None
            if beta is None:
                beta = min(self.decay, (1 + self.updates) / (10 + self.updates))
            self.updates += 1
            return beta if self.updates > self.start else 0.0

        averages, weights = ([p.data for p in m.parameters()] for m in (self.module, module))
        kernel.lerp(averages, weights, decay_now)
        self.module.mark_changed()
        self.module.copy_buffers(module)
