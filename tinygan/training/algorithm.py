"""One step of training. Read it beside the papers (Goodfellow et al. 2014, algorithm 1):

    reals, fakes  ->  D's loss and penalties  ->  update of D
                  ->  G's loss and penalties  ->  update of G  ->  update of G's average

The papers differ in the loss (gan/losses.py), the penalties (gan/penalties.py), the conditioning on
the class (gan/conditioning.py), the augmentation of images (gan/augment/), the optimisers
(optimizers.py), in whether the networks grow (models/growth.py), and in whether G learns from the
present D or looks ahead (unrolled.py). In one respect, this code
differs from the papers: G learns from the fakes that D has just seen, instead of generating new
ones. That saves a forward pass.

`Algorithm` is the step. What D and G minimise is in objectives.py; `execution.gradients` computes
the gradient of it over a batch (see execution.py). trainer.py runs the steps.
"""

import math

import numpy as np

from tinygan import schedules
from tinygan.autograd import Tensor, wrap
from tinygan.backend import from_host, integers, normal
from tinygan.gan import augment, penalties
from tinygan.models.growth import Growth, at_lod, set_lod
from tinygan.optim import clip_grad_norm

from . import optimizers, statistics
from .batch_sizes import check_batch_sizes
from .contradictions import check_penalties, check_schedules, check_unrolled
from .ema import EMA
from .execution import Execution, sum_gradients
from .objectives import Objectives


class Algorithm:
    """The networks G and D of a recipe, everything that trains them on the images of a Dataset, and
    the progress so far.

    There are three sources of random numbers: the generator `rng`, made from `seed`; the generator
    of the augmentation; and the shuffling of the data, which depends on the seed and on the number
    of images so far. Raises InputError for settings that contradict each other.
    """

    def __init__(self, recipe, settings, dataset, seed: int = 0):
        s = self.settings = settings
        check_schedules(s)
        self.step = self.d_updates = 0
        self.images = 0  # the reals that D has seen; the position of the next batch in the data
        self.lod = None  # the level of detail of networks that grow
        self.dataset, self.seed, self.execution = dataset, seed, Execution(self)
        self.rng = self.execution.generator([seed, 0, 1])
        self.G, self.D = recipe.build(s, dataset.image_shape, dataset.num_classes, self.rng)
        self.growth = Growth(s, dataset.image_shape[:2]) if getattr(s, "grow", False) else None
        check_batch_sizes(self)
        self.ema = EMA(self.G, self.now(s.ema), s.ema_start)
        augment_rng = self.execution.generator([seed, 0, 5])
        self.augment, self.controller = augment.from_settings(s, augment_rng)
        self.objectives = Objectives(self, recipe.shared_losses)
        check_penalties(self, recipe.name)
        check_unrolled(self, recipe.name)
        self.make_optimizers()
        self.execution.upload(dataset)

    # The step

    def train_step(self) -> dict:
        """Update D, then G. Return the numbers to log: {name: float}, or on a GPU,
        {name: array of no dimensions}, which `statistics.to_floats` reads."""
        numbers = self.begin_step()
        numbers |= self.execution.run_step(self.update_networks)
        self.end_step(numbers)
        return numbers

    def begin_step(self):
        """Bring the image size and the schedules to this step. Return the numbers to log."""
        if self.growth:
            self.grow()
        numbers = {"lod": self.lod} if self.growth else {}
        if self.settings.augment == "ada":
            numbers["p"] = self.augment.pipe.p
        return numbers | optimizers.follow_schedules(self)

    def update_networks(self):
        """Make D's half of the step, then G's. Return the numbers to log."""
        numbers, *batch = self.half_of_D()
        return numbers | self.half_of_G(*batch)

    def half_of_D(self):
        """Make the updates of D. Return (the numbers to log, the reals, their labels, the Fakes of
        the last one), from which G learns."""
        numbers, updates = {}, self.settings.updates_of_D(self.step)
        for i in range(updates):
            reals, real_labels = self.reals(i)
            fakes = self.fakes(real_labels, for_G=i == updates - 1)
            numbers |= self.update_D(reals, real_labels, fakes, self.d_updates + i)
        numbers["variety"] = statistics.relative_variety(fakes.images.data, reals)
        return numbers, reals, real_labels, fakes

    def half_of_G(self, reals, real_labels, fakes):
        """Make one update of G, and one of G's average. Return the numbers to log."""
        numbers = self.update_G(reals, real_labels, fakes)
        n = self.settings.updates_of_D(self.step) * self.batch_size
        self.execution.update_average(self.ema, lambda: self.ema_decay(n))
        return numbers

    def end_step(self, numbers):
        """Count the step and its images; let ADA adapt p. numbers: those of the step."""
        updates = self.settings.updates_of_D(self.step)
        self.d_updates += updates
        self.images += updates * self.batch_size
        self.step += 1
        if self.controller:
            self.controller(numbers["r_t"], updates * self.batch_size)

    def reals(self, i):
        """Return the batch for the i-th update of D in this step: arrays (N, H, W, C) and (N,)."""
        images, labels = self.execution.reals(i)
        if self.growth:  # as coarse as G's images
            images = at_lod(images, self.lod, from_host(lambda: np.float32(self.lod % 1)))
        return images, labels

    def fakes(self, real_labels, for_G):
        """Return Fakes of new latents, as many as there are real labels. for_G: whether G will
        learn from them, too."""
        z = self.latents(len(real_labels))
        # Where each real is paired with a fake, both have the same class: a real seven is compared
        # with a fake seven, and the images between the two are sevens as well.
        paired = self.objectives.loss.paired or penalties.active(self.settings, "D", "between")
        labels = real_labels if self.objectives.uses_classes and paired else self.labels(len(z))
        return self.execution.fakes(z, labels, for_G)

    def update_D(self, reals, real_labels, fakes, previous_updates):
        """Update D, which has had `previous_updates` before. Return the numbers to log.

        fakes: a `Fakes`, of which D receives the images, and shared losses the latents.
        """
        batch = reals, real_labels, fakes.images, fakes.labels
        gradients, numbers = self.execution.gradients(
            "D", self.D, self.objectives.d_loss, *batch, fakes.z
        )
        self.d_optimizer.step(self.clipped(gradients))
        self.objectives.take_states(penalties.active(self.settings, "D", "logits"), numbers)
        # A lazy penalty is applied at every k-th update, k times as strong, in an update of its own
        # (Karras et al. 2020b, section 3.1; optimizers.py adjusts the optimiser to it).
        k = self.objectives.penalty_every("D")
        if k > 1 and previous_updates % k == 0:
            gradients, penalty_numbers = self.execution.gradients(
                "D penalty", self.D, self.objectives.lazy_d_penalty, *batch
            )
            self.d_optimizer.step(self.clipped(gradients))
            numbers = penalty_numbers | numbers  # d_grad_norm is that of the first update
        for entry, limit in penalties.active(self.settings, "D", "weights"):
            entry.function(self.D.parameters(), self.objectives.factor(limit))
        return numbers

    def update_G(self, reals, real_labels, fakes):
        """Update G by the gradient of D's logits on its fakes. Return the numbers to log.

        fakes: a `Fakes`, which `execution.gradients` turns into G's images with their graph before
        it calls `g_loss`.
        """
        batch = reals, real_labels, fakes, fakes.labels, fakes.z
        gradients, numbers = self.execution.gradients("G", self.G, self.objectives.g_loss, *batch)
        # With a penalty in this step, G has one update by the sum of both gradients if k = 1, and
        # two updates if k > 1.
        k = self.objectives.penalty_every("G")
        active = penalties.active(self.settings, "G", *penalties.LATENTS)
        active = active if self.step % k == 0 else []
        if not active or k > 1:
            self.g_optimizer.step(self.clipped(gradients))
        if active:
            n = (len(fakes) + 1) // 2  # half a batch, as in StyleGAN2's code
            penalty_gradients, penalty_numbers = self.execution.gradients(
                "G penalty", self.G, self.objectives.g_penalty, self.latents(n), self.labels(n)
            )
            if k == 1:
                penalty_gradients = sum_gradients(gradients, penalty_gradients)
            self.g_optimizer.step(self.clipped(penalty_gradients))
            numbers = penalty_numbers | numbers  # g_grad_norm is that of the loss
            self.objectives.take_states(active, penalty_numbers)
        return numbers

    def clipped(self, gradients):
        """Return the gradients of an update, clipped by norm if the setting clip_grad_norm says so.
        (The log has the norms before clipping.)"""
        limit = self.settings.clip_grad_norm
        return clip_grad_norm(gradients, self.objectives.factor(limit)) if limit else gradients

    # Random inputs of G, and the schedules of training

    def latents(self, n: int) -> Tensor:
        """Return n latents z ~ N(0, 1): a Tensor (n, latent)."""
        return wrap(normal(self.rng, (n, self.settings.latent)))

    def labels(self, n: int):
        """Return the labels of n random classes, all equally likely; None if the recipe is
        unconditional."""
        return integers(self.rng, self.G.classes, n) if self.objectives.uses_classes else None

    @property
    def batch_size(self) -> int:
        """The number of images in an update. A growing recipe may have another batch size at each
        image size."""
        return self.growth.batch_size(self.lod) if self.growth else self.settings.batch_size

    def grow(self):
        """Bring the networks to the level of detail for the number of images so far."""
        lod = self.growth.lod(self.images)
        for network in (self.G, self.D, self.ema.module):
            set_lod(network, lod)
        # Progressive GAN's code resets the optimisers' moments whenever a size begins to fade in,
        # or has faded in.
        sizes = lambda lod: (math.floor(lod), math.ceil(lod))
        if self.lod is not None and sizes(lod) != sizes(self.lod):
            self.make_optimizers()
        self.lod = lod

    def ema_decay(self, n):
        """Return the decay of G's average over n images, or None to use the decay of `EMA`.

        It follows from the half-life ema_images, which is limited to a part of the images so far,
        so that the average forgets the beginning: a constant to a twentieth (StyleGAN2-ADA), a
        schedule, which may itself begin low, to a third (R3GAN's ends at a quarter).
        """
        if not self.settings.ema_images:
            return None
        scheduled = isinstance(self.settings.ema_images, schedules.Schedule)
        most = (self.images + n) * (1 / 3 if scheduled else 0.05)
        half_life = min(self.now(self.settings.ema_images), most)
        return 0.5 ** (n / half_life) if half_life else 0.0

    def make_optimizers(self):
        """Give both networks new optimisers."""
        self.g_optimizer, self.d_optimizer = (optimizers.make(self, which) for which in "GD")
        self.execution.forget_recorded_steps()

    def now(self, value):
        """Return the value of a setting in this step: that of its schedule, if it has one."""
        return schedules.now(value, self.step + 1, self.settings.steps)
