"""Training from Python as from the command line: `train`, `load_run`, and the Run that they return.

    run = tinygan.train("quick", data="mnist", steps=3000)
    images = run.sample(16, label=3)  # uint8 (16, 28, 28, 1)
    run.evaluate()["fid"]

    begin.py     train, load_run
    run.py       Run: networks, samples, numbers, and how it continues
    view.py      what a notebook shows of a run
    checking.py  check_training_step
    messages.py  errors whose messages name arguments as Python does

What takes long to import is imported when it is needed: `import tinygan` stays quick.
"""

from .begin import load_run, train
from .checking import check_training_step
from .run import Run

__all__ = ["Run", "check_training_step", "load_run", "train"]
