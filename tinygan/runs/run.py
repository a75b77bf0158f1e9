"""A Run: what a folder of training holds, as Python objects."""

import copy
import os
import signal
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygan import notebook
from tinygan.errors import InputError, say

from . import view
from .messages import messages_for_python, one_of, whole_number

if TYPE_CHECKING:
    from PIL.Image import Image

    from tinygan.models.settings import Settings
    from tinygan.nn import Module
    from tinygan.training.algorithm import Algorithm
    from tinygan.training.run_data import RunData
    from tinygan.training.trainer import Trainer

Array = np.ndarray[Any, Any]
OnStep = Callable[["Run", dict[str, float]], object]


class Run:
    """A training run in a folder: its networks, samples, numbers and pictures.

    folder: the run's folder. path: the folder, or the checkpoint that `load_run` was given.
    data, data_dir, model, trust: see `load_run`.

    The networks and the numbers are those in the folder. A folder stands for its best evaluation
    if there are any, otherwise for its last step, as on the command line. In on_step, they are
    those of the present step.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        data: Any = None,
        data_dir: str | os.PathLike[str] | None = None,
        model: str | os.PathLike[str] | None = None,
        trust: bool = False,
    ) -> None:
        from tinygan.files import checkpoint, user_path

        self.path = user_path(path)
        self.folder = self.path if checkpoint.is_run_folder(self.path) else self.path.parent
        self._data, self._data_dir = data, data_dir
        self._code = {"model": model, "trust": trust}
        self._trainer: Trainer | None = None  # while it trains
        self._stopping = False
        self._loaded: dict[str, Any] = {}  # what has been read from the folder
        self._copies: tuple[int, dict[str, Any]] = 0, {}  # (step, its networks)

    def __repr__(self) -> str:
        config, steps = self.config, self.steps
        step = f"step {self.step:,}" + f" of {steps:,}" * (self.step <= steps)
        return f"<Run {self.path}: {config['recipe']} on {config['data']}, {step}>"

    @property
    def config(self) -> dict[str, Any]:
        """The contents of config.json: what is trained, and on which data."""
        from tinygan.files import checkpoint

        if self._trainer:
            return self._trainer.config
        return self._once("config", lambda: checkpoint.read_config(self.folder, self.path))

    @property
    def settings(self) -> "Settings":
        """The settings of the run."""
        if self._trainer:
            return self._trainer.settings
        with messages_for_python():
            return self._of_run()[1]

    def _of_run(self):
        """Return (recipe, settings), for which a model file of the user's own is executed."""
        from tinygan.files import checkpoint
        from tinygan.training import recipes

        run = checkpoint.Run(self.folder, self.config, None, {}, {}, ())
        return self._once("recipe", lambda: recipes.of_run(run, **self._code))

    @property
    def step(self) -> int:
        """The number of steps so far: those of the last checkpoint, or of the one at `path`."""
        from tinygan.files import checkpoint

        if self._trainer:
            return self._trainer.step
        if self.path != self.folder:
            return self._once("step", lambda: int(checkpoint.load(self.path)[1]["step"]))
        return checkpoint.last_step(self.folder)

    @property
    def steps(self) -> int:
        """The number of steps up to which it trains."""
        return int(self.config["settings"]["steps"])

    # Networks

    @property
    def G(self) -> "Module":
        """The averaged G, ready to generate images. (In on_step, a copy.)"""
        return self._network("average")[0]

    @property
    def D(self) -> "Module":
        """The D of the last step, in evaluation mode. (In on_step, a copy.)"""
        return self._network("D")[0]

    def _network(self, which):
        """Return (network, the name of its checkpoint or None, its step). which: "average" or
        "last" for these weights of G, or "D"."""
        from tinygan.files import checkpoint
        from tinygan.training import sampling

        if t := self._trainer:
            a = t.algorithm
            network = t.averaged_G() if which == "average" else a.D if which == "D" else a.G
            return self._copy(which, network), None, t.step

        def load():
            role = "D" if which == "D" else "G"
            network, _, _, path = sampling.open_network(
                self.path, role, which == "average", **self._code
            )
            return network, path.name, checkpoint.load(path)[1]["step"]

        with messages_for_python():
            return self._once(which, load)

    def _generator(self, weights):
        one_of("weights", weights, ("average", "last"))
        return self._network(weights)

    def _copy(self, name, network):
        """Return a copy of a network of the present step, since training will change it, and must
        not change by what is done with it."""
        if self._copies[0] != self.step:
            self._copies = self.step, {}
        copies = self._copies[1]
        if name not in copies:
            copies[name] = copy.deepcopy(network).eval()
        return copies[name]

    def _once(self, name, load):
        if name not in self._loaded:
            self._loaded[name] = load()
        return self._loaded[name]

    # What it generates

    def sample(
        self,
        n: int | None = None,
        label: int | str | Sequence[int | str] | None = None,
        seed: int = 0,
        truncation: float | None = None,
        weights: str = "average",
    ) -> Array:
        """Return n samples: images uint8 (n, H, W, C), or points float32 (n, 2).

        n: by default 64 images or 2,000 points. label: a class by its number or name, or one for
        each sample; by default, a conditional G goes through all classes in turn. seed: of the
        latents. truncation: see `tinygan sample --help`. weights: "average", or "last" for those of
        the last step.
        """
        return self._draw(n, label, seed, truncation, weights, rows=False)[0]

    def show(
        self,
        n: int | None = None,
        label: int | str | Sequence[int | str] | None = None,
        seed: int = 0,
        truncation: float | None = None,
        weights: str = "average",
    ) -> "Image":
        """Return samples as one picture, which a notebook shows: a grid, for a conditional G with a
        row for each class (so there may be more samples than n); or a scatter plot of points.
        Arguments: see `sample`."""
        from tinygan.training import samples

        drawn = self._draw(n, label, seed, truncation, weights, rows=True)
        with messages_for_python():
            return samples.picture(*drawn, self._run_data())

    def _draw(self, n, label, seed, truncation, weights, rows):
        """Return (samples, labels, columns of their grid or None)."""
        from tinygan.training import samples, sampling

        with messages_for_python():
            n = samples.default_count(self.config) if n is None else whole_number("n", n, 1)
            seed, G = whole_number("seed", seed, 0), self._generator(weights)[0]
            if label is not None:
                one = isinstance(label, str) or np.ndim(label) == 0
                numbers = [
                    samples.class_number(k, G, self.config, "label")
                    for k in ([label] if one else label)
                ]
                if not one and len(numbers) != n:
                    raise InputError(
                        f"label: {len(numbers)} classes for {n} samples: give one class, or one "
                        "for each sample"
                    )
                label = numbers[0] if one else np.array(numbers)
            G = self._truncated(G, truncation, seed)
            z, labels, columns = samples.inputs(G, n, seed, label, truncation, rows)
            return sampling.generate(G, z, labels), labels, columns

    def _truncated(self, G, truncation, seed):
        """Return a G for this truncation: a copy, unless it is None."""
        from tinygan.training import samples

        if truncation is not None:
            if isinstance(truncation, str):
                raise InputError(f"truncation={truncation!r}: must be a number")
            G = copy.deepcopy(G)
            samples.truncate(G, self._of_run()[0], truncation, seed, "truncation")
        return G

    def evaluate(
        self,
        n: int | None = None,
        split: str | None = None,
        seed: int = 0,
        truncation: float | None = None,
        weights: str = "average",
    ) -> dict[str, Any]:
        """Compare n samples with real images by all metrics: return what `tinygan eval` writes into
        metrics.json, {name: number}. (`metrics.evaluate` explains the numbers. No file is written.)

        n: by default 10,000. split: the real images, "test" or "held-out"; by default the test
        images, if there are any. Other arguments: see `sample`.
        """
        from tinygan.training import report

        with messages_for_python():
            seed = whole_number("seed", seed, 0)
            if split is not None:
                one_of("split", split, ("test", "held-out"))
            G, name, step = self._generator(weights)
            return report.evaluate(
                self._truncated(G, truncation, seed),
                self._run_data(),
                None if n is None else whole_number("n", n, 1),
                seed,
                split,
                truncation,
                recipe=self.config["recipe"],
                checkpoint=name,
                step=step,
                weights=weights,
            ).numbers

    def algorithm_to_check(self, batch_size: int | None) -> "Algorithm":
        """Return an Algorithm in the present state of the run, for `check_training_step`."""
        from tinygan.training import checked_algorithm

        if self._trainer:
            return checked_algorithm.of_trainer(self._trainer, self._of_run()[0], batch_size)
        return checked_algorithm.of_run(
            self.path, self._data, self._data_dir, **self._code, batch_size=batch_size
        )

    def export(
        self, path: str | os.PathLike[str], network: str = "G", weights: str = "average"
    ) -> None:
        """Write the weights of a network to a .safetensors file, with the names and axes of
        PyTorch's layers (see `tinygan.export_weights`).

        network: "G" or "D". weights: of G, the "average" or those of the "last" step.
        """
        from tinygan.training.exporting import export_trained

        with messages_for_python():
            one_of("network", network, ("G", "D"))
            found, name, step = self._generator(weights) if network == "G" else self._network("D")
            average = network == "G" and weights == "average"
            export_trained(found, path, self.config, network, average, name or f"step {step}")

    def _run_data(self) -> "RunData":
        from tinygan.training.run_data import RunData

        make = lambda: RunData(self.config, self.folder, self._data, self._data_dir)
        return self._once("data", make)

    # What it has written

    @property
    def log(self) -> dict[str, Array]:
        """The numbers of log.jsonl: {name: array}, an item for every tenth step, with the steps
        under "step". NaN stands for a number that a line lacks."""
        return self._columns("log.jsonl")

    @property
    def evaluations(self) -> dict[str, Array]:
        """The numbers of the evaluations in training (eval.jsonl), like `log`."""
        return self._columns("eval.jsonl")

    def _columns(self, name):
        from tinygan.training import log

        with messages_for_python():
            rows = list(log.rows(self.folder, name=name, last_step=self.step))
        is_number = lambda value: isinstance(value, (int, float)) and not isinstance(value, bool)
        keys = dict.fromkeys(key for row in rows for key, x in row.items() if is_number(x))
        return {key: np.array([row.get(key, np.nan) for row in rows]) for key in keys}

    def _repr_png_(self) -> bytes | None:
        return view.newest_grid(self.folder)

    def _repr_html_(self) -> str:
        return view.as_html(self)

    # Training

    def resume(
        self,
        steps: int | None = None,
        on_step: OnStep | None = None,
        progress: bool = True,
        **changes: Any,
    ) -> "Run":
        """Continue the run in its folder up to `steps`, by default those that it was begun with.
        Return this Run. changes: settings, other data, and the other arguments of `train` that a
        run to resume takes."""
        from .begin import train

        known = {"data": self._data, "data_dir": self._data_dir} if "data" not in changes else {}
        known |= self._code
        again = train(
            resume=self, steps=steps, on_step=on_step, progress=progress, **{**known, **changes}
        )
        vars(self).update(vars(again))
        return self

    def save(self) -> None:
        """In on_step: write a checkpoint of this step."""
        trainer = self._in_training("save")
        # The files of this step are written after on_step: a run that continues from here has to
        # write them.
        trainer.unfinished = True
        trainer.write_checkpoint()
        trainer.unfinished = False

    def stop(self) -> None:
        """In on_step: end the run after this step, which is saved. `resume` continues it."""
        self._in_training("stop")
        self._stopping = True

    def _in_training(self, name):
        if not self._trainer:
            raise InputError(f"run.{name}() is for on_step, while the run trains")
        return self._trainer

    def run_trainer(self, trainer: "Trainer", on_step: OnStep | None, progress: bool) -> None:
        """Run the Trainer of this run. Arguments and errors: see `train`."""
        from tinygan.training import session

        def after_step(numbers):
            on_step(self, numbers)
            return self._stopping

        pictures = view.Pictures() if progress and notebook.is_active() else None
        self._trainer = trainer
        try:
            session.run(
                trainer,
                in_python=True,
                progress=progress,
                on_step=after_step if on_step else None,
                on_picture=pictures.show if pictures else None,
            )
        except KeyboardInterrupt as stopped:
            resume = session.how_to_resume(trainer, in_python=True)
            line = f"stopped at step {trainer.step:,}; {resume}"
            by_user = getattr(stopped, "signal", signal.SIGINT) == signal.SIGINT
            if not (by_user and notebook.is_active()):
                say(line)
                raise
            print(line)
        finally:
            self._trainer, self._stopping = None, False
            self._loaded, self._copies = {}, (0, {})
