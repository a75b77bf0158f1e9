"""The losses of a recipe's training step, as stages of the check in checking.py.

What the log says is put together with the weights in the settings:

    D:  d_loss + class_weight d_class + penalty     (the log has D's penalties with their weights)
               + cr_penalty + bcr_penalty + lecam_penalty
    G:  g_loss + class_weight g_class + weight path_penalty     (and G's penalties without them)

with NAME_weight d_NAME_loss or NAME_weight g_NAME_loss for each loss that both share, and with what
is not logged: penalties on logits (drift) and on weights (ortho). A lazy penalty, of
every k-th update, counts k times.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Mapping

import numpy as np

from tinygan import schedules
from tinygan.autograd import no_grad, wrap
from tinygan.autograd.gradcheck.problem import scale_of
from tinygan.backend import asarray, to_numpy
from tinygan.data import Dataset
from tinygan.errors import InputError
from tinygan.files import checkpoint
from tinygan.gan import penalties
from tinygan.models.recipe import Recipe

from . import other_data, own_code, recipes, sampling, start, state
from .algorithm import Algorithm
from .checking import Stage, Update, as_arrays, hold_power_vectors
from .kept_state import KeptState
from .trainer import Trainer

SMALL_BATCH = 8
# The parameters of a new run are moved by this share of their size. Many are 0 (biases, the
# strength of noise, the gain of attention): some parts do not act, and black pixels lie on kinks.
SHAKE = 0.05
ADA_P = 0.5  # of a new run, which begins with 0, where no image is augmented
MEAN_LOGIT = 0.5  # of a new run; lecam begins when it knows the mean logits
UPDATES = {  # {phase of `Execution.gradients`: the name of its loss in messages}
    "D": "D's loss",
    "D penalty": "D's penalty",
    "G": "G's loss",
    "G penalty": "G's penalty",
}


def small(settings: Any, batch_size: int | None) -> Any:
    """Return the settings with one update of D in each step, and with a small batch unless a batch
    size is given: the answer does not depend on it, and comes sooner."""
    n = max(SMALL_BATCH - SMALL_BATCH % settings.pack, 2 * settings.pack, 2 * settings.micro_batch)
    n = batch_size or min(n, settings.batch_size)
    changes: dict[str, Any] = {"batch_size": n, "d_steps": 1, "d_boost": 0}
    if settings.lecam:
        changes["lecam_start"] = 0
    if hasattr(settings, "batch_sizes"):
        changes["batch_sizes"] = ""
    return settings.updated(changes)


def of_recipe(
    recipe: Any,
    dataset: Any,
    data_options: Mapping[str, Any],
    settings: Mapping[str, Any],
    batch_size: int | None,
    seed: int,
) -> Algorithm:
    """Return the Algorithm of a new run, in a state where all parts of it act: networks that grow
    fade in their last size, ADA augments, and no parameter is 0.

    Arguments: as for `start.new_run`.
    """
    given = {**settings, **({} if batch_size is None else {"batch_size": batch_size})}
    change = lambda s: small(s, batch_size)
    a = start.new_run(recipe, dataset, None, seed, given, data_options, False, change=change)
    return _with_all_parts_active(a.algorithm)


def of_run(
    run: str | Path,
    dataset: str | Path | Dataset | None,
    data_dir: str | Path | None,
    model: str | Path | None,
    trust: bool,
    batch_size: int | None,
) -> Algorithm:
    """Return an Algorithm in the state of a run's folder or checkpoint, which does not change.
    Arguments: as for `start.continued_run`."""
    opened = checkpoint.open_run(run, allow_empty=True)
    if opened.path and opened.path.name == checkpoint.BEST:
        raise InputError(
            f"{opened.path} holds only the averaged weights of G: give a checkpoint-*.npz, or the "
            "run's folder"
        )
    recipe, settings = recipes.of_run(opened, model, trust)
    settings, _ = own_code.continued(opened, recipe, settings, {}, trust)
    if opened.path:
        sampling.build_networks(opened, recipe, settings)
    images = other_data.load(opened, dataset, data_dir, {})
    changed = small(settings, batch_size)
    trainer = Trainer(recipe, changed, images, opened.folder, opened.config["seed"])
    if opened.path is None:
        return _with_all_parts_active(trainer.algorithm)
    state.check(trainer, opened)
    state.restore_algorithm(trainer.algorithm, opened.states, opened.meta)
    return trainer.algorithm


def of_trainer(trainer: Trainer, recipe: Recipe, batch_size: int | None) -> Algorithm:
    """Return an Algorithm in the state of a run that trains, which does not change."""
    t, meta = trainer, state.meta(trainer)
    a = Algorithm(recipe, small(t.settings, batch_size), t.dataset, t.algorithm.seed)
    state.restore_algorithm(a, state.arrays(t), meta)
    return a


def _with_all_parts_active(a: Algorithm) -> Algorithm:
    if a.growth and a.growth.levels:
        per_size = a.growth.stable + a.growth.fade
        a.images = a.growth.levels * per_size - math.ceil(a.growth.fade / 2)
    if a.controller:
        a.controller.pipe.p = a.controller.pipe.p or ADA_P
    for entry, _ in penalties.active(a.settings, "D", "logits"):
        for name in entry.states if entry.start else ():
            setattr(a.objectives.penalty_state, name, MEAN_LOGIT)
    rng = np.random.default_rng(a.seed)
    for p in (*a.G.parameters(), *a.D.parameters()):
        x = to_numpy(p.data)
        p.assign(asarray(x + SHAKE * scale_of(x) * rng.standard_normal(x.shape)))
    return a


def stages(algorithm: Algorithm, title: str, double: bool) -> Iterator[Stage]:
    """Yield the stages of D and of G.

    The Algorithm cannot be used for anything else after this. double: compute in float64.
    """
    step = CheckedStep(algorithm, double)
    kept = KeptState(algorithm)
    title = title if double else f"{title} in float32"
    for which in "DG":
        yield step.stage(title, which, kept)


class CheckedStep:
    """The next step of an Algorithm in which all lazy penalties act. Its optimisers only note what
    they get, before it is clipped."""

    def __init__(self, algorithm: Algorithm, double: bool) -> None:
        a = self.algorithm = algorithm
        if a.settings.unroll_stop:
            raise InputError(
                "setting unroll_stop=true leaves out a part of G's gradient on purpose, which a "
                "check would report: set unroll_stop=false"
            )
        a.d_updates += -a.d_updates % a.objectives.penalty_every("D")
        a.step += -a.step % a.objectives.penalty_every("G")
        if double:
            compute_in_float64(a)
        hold_power_vectors([a.G, a.D])
        self.phases: list[str] = []  # of the gradients that no optimiser has got yet
        self.not_logged: list[tuple[int, float]] = []  # (logits, mean penalty on them)
        # [(phases, {name in the log: factor, "": a constant}, gradients)]
        self.noted: list[tuple[list[str], dict[str, float], list[Any]]] = []
        vars(a)["clipped"] = lambda gradients: gradients
        vars(a)["make_optimizers"] = lambda: None
        for optimizer in (a.d_optimizer, a.g_optimizer):
            vars(optimizer)["step"] = self.note
        vars(a.execution.recorded)["run"] = lambda key, function: function()
        compute, discriminator = a.execution.gradients, a.objectives.loss.discriminator

        def gradients(phase: str, *arguments: Any) -> Any:
            self.phases.append(phase)
            return compute(phase, *arguments)

        def discriminator_loss(real: Any, fake: Any) -> Any:
            self.note_penalties_on(real, fake)
            return discriminator(real, fake)

        vars(a.execution)["gradients"] = gradients
        a.objectives.loss = a.objectives.loss._replace(discriminator=discriminator_loss)

    def stage(self, title: str, which: str, kept: KeptState) -> Stage:
        """Return the Stage of "D" or "G". kept: the state before the step."""
        a = self.algorithm

        def run(set_parameters: Callable[[], None], for_gradient: bool) -> list[Update]:
            kept.restore()
            if which == "D":  # to save time
                vars(a)["update_G"] = lambda *_: {}
            set_parameters()
            del self.phases[:], self.not_logged[:], self.noted[:]
            numbers = {"": 1.0} | a.train_step()
            return [
                Update(
                    " and ".join(UPDATES[phase] for phase in phases),
                    sum(factor * float(numbers[name]) for name, factor in terms.items()),
                    gradients,
                )
                for phases, terms, gradients in self.noted
                if phases[0][0] == which
            ]

        network = getattr(a, which)
        return Stage(title, dict(network.named_parameters()), run)

    def note(self, gradients: Any) -> None:
        """Note what an optimiser gets, and the loss that is logged with it."""
        terms: dict[str, float] = {}
        for phase in self.phases:
            for name, factor in self.terms(phase).items():
                terms[name] = terms.get(name, 0.0) + factor
        self.noted.append(([*self.phases], terms, as_arrays(gradients)))
        self.phases.clear()
        self.not_logged.clear()

    def terms(self, phase: str) -> dict[str, float]:
        """Return {name in the log: its factor} of the loss of a phase; under "", a constant."""
        a, which = self.algorithm, phase[0]
        s, k = a.settings, a.objectives.penalty_every(which)
        if phase == "D penalty":
            return self.penalties_of_D(k, *penalties.IMAGES)
        if phase == "G penalty":
            active = penalties.active(s, "G", *penalties.LATENTS)
            return {e.logged_as[0]: k * self.weight(w) for e, w in active if e.logged_as}
        terms = {f"{which.lower()}_loss": 1.0}
        if s.d_class == "auxiliary":
            terms[f"{which.lower()}_class"] = self.weight(s.class_weight)
        if which == "D":
            terms |= self.penalties_of_D(1, "logits", *penalties.SEEN)
        for name in a.objectives.shared_losses:
            terms[f"{which.lower()}_{name}_loss"] = self.weight(getattr(s, f"{name}_weight"))
        if which == "D" and k == 1:
            terms |= self.penalties_of_D(1, *penalties.IMAGES)
        network = getattr(a, which)
        for entry, weight in penalties.active(s, which, "network"):
            with no_grad():
                value = float(entry.function(network).data)
            terms[""] = terms.get("", 0.0) + self.weight(weight) * value
        if which == "D" and self.not_logged:
            counts, values = zip(*self.not_logged)
            terms[""] = terms.get("", 0.0) + float(np.average(values, weights=counts))
        return terms

    def penalties_of_D(self, k: int, *applied_to: str) -> dict[str, float]:
        """Return {name in the log: k} of D's penalties that are applied to one of these."""
        active = penalties.active(self.algorithm.settings, "D", *applied_to)
        return {entry.logged_as[0]: float(k) for entry, _ in active if entry.logged_as}

    def note_penalties_on(self, real: Any, fake: Any) -> None:
        """Note the penalties on the logits of a part of D's batch that are not logged."""
        active = penalties.active(self.algorithm.settings, "D", "logits")
        active = [(entry, weight) for entry, weight in active if not entry.logged_as]
        if active:
            with no_grad():
                parts = [self.weight(w) * float(e.function(real, fake).data) for e, w in active]
            self.not_logged.append((len(fake), sum(parts)))

    def weight(self, value: Any) -> float:
        """Return the value of a setting in this step."""
        now = self.algorithm.now(value)
        return float(np.float32(now)) if isinstance(value, schedules.Schedule) else float(now)


def compute_in_float64(algorithm: Algorithm) -> None:
    """Convert the networks of an Algorithm to float64, and all that enters them."""
    a = algorithm
    for network in (a.G, a.D, a.ema.module):
        network.astype(np.float64)
    reals, latents, factor = a.reals, a.latents, a.objectives.factor
    as_double = lambda x: wrap(x.data.astype(np.float64))

    def reals_in_float64(i: int) -> Any:
        images, labels = reals(i)
        return images.astype(np.float64), labels

    def factor_in_float64(weight: Any, k: int = 1) -> Any:
        value = factor(weight, k)
        return value if isinstance(value, float) else as_double(value)

    vars(a)["reals"] = reals_in_float64
    vars(a)["latents"] = lambda n: as_double(latents(n))
    vars(a.objectives)["factor"] = factor_in_float64
