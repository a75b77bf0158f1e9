"""One step of training. Read it beside the papers (Goodfellow et al. 2014, algorithm 1):

    reals, fakes  ->  D's loss and penalties  ->  update of D
                  ->  G's loss and penalties  ->  update of G  ->  update of G's average

The papers differ in the loss (gan/losses.py), the penalties (gan/penalties.py), the conditioning on
the class (gan/conditioning.py), the augmentation of images (gan/augment/), the optimisers
(optimizers.py), and in whether the networks grow (models/growth.py). In one respect, this code
differs from the papers: G learns from the fakes that D has just seen, instead of generating new
ones. That saves a forward pass.

`Algorithm` is the step. `Objectives` has the functions that D and G minimise. Each returns (the
loss, the numbers to log), and `execution.gradients` computes the gradient of the loss over a batch
(see execution.py). trainer.py runs the steps.
"""

import math
from types import SimpleNamespace

import numpy as np

from tinygan import schedules
from tinygan.autograd import Tensor, no_grad, wrap
from tinygan.backend import float_on_cpu, from_host, integers, normal, xp
from tinygan.gan import augment, losses, penalties
from tinygan.gan.conditioning import call_with_labels
from tinygan.models.growth import Growth, at_lod, set_lod
from tinygan.nn import BatchNorm, MinibatchStddev
from tinygan.ops import cross_entropy
from tinygan.optim import clip_grad_norm

from . import optimizers, statistics
from .contradictions import check_penalties, check_schedules
from .ema import EMA
from .execution import Execution, check_batch_sizes, sum_gradients


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
        self.objectives = Objectives(s, self.G, self.D, self.augment, self.rng, self.now)
        check_penalties(self, recipe.name)
        self.make_optimizers()
        self.execution.upload(dataset)

    # The step

    def train_step(self) -> dict:
        """Update D, then G. Return the numbers to log: {name: float}, or on a GPU,
        {name: array of no dimensions}, which `statistics.to_floats` reads."""
        if self.growth:
            self.grow()
        scheduled = optimizers.follow_schedules(self)
        numbers = {"lod": self.lod} if self.growth else {}
        if self.settings.augment == "ada":
            numbers["p"] = self.augment.pipe.p
        numbers |= self.execution.run_step(self.update_networks) | scheduled
        updates = self.settings.updates_of_D(self.step)
        self.d_updates += updates
        self.images += updates * self.batch_size
        self.step += 1
        if self.controller:
            self.controller(numbers["r_t"], updates * self.batch_size)
        return numbers

    def update_networks(self):
        """Make the updates of D, one update of G, and one of G's average. Return the numbers to
        log."""
        numbers, updates = {}, self.settings.updates_of_D(self.step)
        for i in range(updates):
            reals, real_labels = self.reals(i)
            fakes = self.fakes(real_labels, for_G=i == updates - 1)
            numbers |= self.update_D(reals, real_labels, fakes, self.d_updates + i)
        numbers["variety"] = statistics.relative_variety(fakes.images.data, reals)
        numbers |= self.update_G(reals, real_labels, fakes)
        self.execution.update_average(self.ema, lambda: self.ema_decay(updates * self.batch_size))
        return numbers

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

        fakes: a `Fakes`, of which D receives the images.
        """
        batch = reals, real_labels, fakes.images, fakes.labels
        gradients, numbers = self.execution.gradients("D", self.D, self.objectives.d_loss, *batch)
        self.d_optimizer.step(self.clipped(gradients))
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
        batch = reals, real_labels, fakes, fakes.labels
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
            for entry, _ in active:
                if entry.state:  # if the batch is processed in parts, the mean over the parts
                    new_state = xp.array(penalty_numbers[entry.logged_as[1]])
                    setattr(self.objectives.penalty_state, entry.state, new_state)
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

        It follows from the half-life ema_images. Early in training, it is a twentieth of the images
        so far, so that the average forgets the beginning (StyleGAN2-ADA).
        """
        if not self.settings.ema_images:
            return None
        half_life = min(self.now(self.settings.ema_images), 0.05 * (self.images + n))
        return 0.5 ** (n / half_life) if half_life else 0.0

    def make_optimizers(self):
        """Give both networks new optimisers."""
        self.g_optimizer, self.d_optimizer = (optimizers.make(self, which) for which in "GD")
        self.execution.forget_recorded_steps()

    def now(self, value):
        """Return the value of a setting in this step: that of its schedule, if it has one."""
        return schedules.now(value, self.step + 1, self.settings.steps)


class Objectives:
    """The functions that D and G minimise: the loss, and the penalties that the settings switch on.

    augment: augments all images that D sees; rng: draws the random numbers of penalties; now: a
    function that returns the value of a setting in this step (`Algorithm.now`).
    penalty_state: the states of penalties, under the names in their entries.
    uses_classes: whether G and D receive the class.

    Arguments of the methods: reals, an array (N, H, W, C) in [-1, 1]; fakes, a Tensor of the same
    shape (constant for D's objectives; for g_loss, `execution.gradients` makes it from a `Fakes`,
    with G's graph); labels, arrays (N,), or None if the networks are unconditional.
    """

    def __init__(self, settings, G, D, augment, rng, now):
        self.settings, self.G, self.D, self.augment, self.rng = settings, G, D, augment, rng
        self.now = now
        self.loss, self.uses_classes = losses.find(settings.loss), settings.g_class != "none"
        # If D compares the images of a batch, reals and fakes must be in separate batches.
        self.two_passes = any(
            isinstance(module, (BatchNorm, MinibatchStddev)) for _, module in D.modules()
        )
        # If it is not, its state or its random numbers would change if it were called less often.
        attributes = [value for _, module in D.modules() for value in vars(module).values()]
        draws = any(isinstance(value, np.random.Generator) for value in attributes)
        self.D_is_a_function = not D.buffers() and not draws
        self.penalty_state = SimpleNamespace(
            **{entry.state: 0.0 for entry in penalties.entries(settings) if entry.state}
        )

    def d_loss(self, reals, real_labels, fakes, fake_labels):
        """Return (D's loss, the numbers to log)."""
        s, x = self.settings, wrap(reals)
        x.requires_grad = self.penalty_uses_logits()
        real, fake = self.real_and_fake_logits(x, real_labels, fakes, fake_labels)
        (real_logits, real_class_logits), (fake_logits, fake_class_logits) = real, fake
        loss = self.loss.discriminator(real_logits, fake_logits)
        numbers = {
            "d_loss": float_on_cpu(loss.data),
            **statistics.logit_statistics(self.loss, real_logits.detach(), fake_logits.detach()),
        }
        if real_class_logits is not None:
            class_loss = cross_entropy(real_class_logits, real_labels)
            class_loss = class_loss + cross_entropy(fake_class_logits, fake_labels)
            numbers["d_class"] = float_on_cpu(class_loss.data)
            loss = loss + self.factor(s.class_weight) * class_loss
        for entry, weight in penalties.active(s, "D", "logits"):
            loss = loss + self.factor(weight) * entry.function(real_logits, fake_logits)
        if penalties.active(s, "D", *penalties.IMAGES) and self.penalty_every("D") == 1:
            logits = (x, real_logits) if x.requires_grad else ()
            penalty, penalty_numbers = self.d_penalty(
                reals, real_labels, fakes, fake_labels, *logits
            )
            loss, numbers = loss + penalty, numbers | penalty_numbers
        return self.with_network_penalties(loss, self.D, "D"), numbers

    def penalty_uses_logits(self):
        """Return whether a penalty on reals can use the logits that the loss computes of them."""
        on_reals = penalties.active(self.settings, "D", "reals") and self.penalty_every("D") == 1
        return bool(on_reals) and self.D_is_a_function and self.augment.pipe is None

    def d_penalty(self, reals, real_labels, fakes, fake_labels, known_x=None, known_logits=None):
        """Return (the weighted sum of the penalties on D as a function of images, the
        numbers to log).

        known_x: the reals as a Tensor that requires a gradient, if D's logits on it are known.
        """
        total, numbers = 0.0, {}
        for entry, weight in penalties.active(self.settings, "D", *penalties.IMAGES):
            # Images between a real and a fake are augmented whenever fakes are.
            labels, real, images = {
                "reals": (real_labels, True, [reals]),
                "fakes": (fake_labels, False, [fakes.data]),
                "between": (real_labels, False, [reals, fakes.data]),
            }[entry.applied_to]
            D = lambda x, labels=labels, real=real: self.augmented_logits(x, labels, real)[0]
            if known_x is not None and entry.applied_to == "reals":
                images = [known_x]
                D = lambda x, D=D: known_logits if x is known_x else D(x)
            value = self.factor(weight) * entry.function(D, *images, *[self.rng] * entry.draws)
            (name,) = entry.logged_as
            total, numbers[name] = total + value, numbers.get(name, 0.0) + value.data
        return total, {name: float_on_cpu(value) for name, value in numbers.items()}

    def lazy_d_penalty(self, *batch):
        """Return k times the penalty of `d_penalty`, and its numbers, for the extra update after
        every k-th update of D. (`g_penalty` already includes this factor.)"""
        penalty, numbers = self.d_penalty(*batch)
        return penalty * float(self.penalty_every("D")), numbers

    def g_loss(self, reals, real_labels, fakes, labels):
        """Return (G's loss, the numbers to log)."""
        fake_logits, class_logits = self.augmented_logits(fakes, labels, real=False, d_step=False)
        real_logits, reals = None, wrap(reals)
        if self.loss.paired:
            with no_grad():
                real_logits, _ = self.augmented_logits(reals, real_labels, real=True, d_step=False)
        loss = self.loss.generator(real_logits, fake_logits)
        numbers = {"g_loss": float_on_cpu(loss.data)}
        if class_logits is not None:
            class_loss = cross_entropy(class_logits, labels)
            numbers["g_class"] = float_on_cpu(class_loss.data)
            loss = loss + self.factor(self.settings.class_weight) * class_loss
        return self.with_network_penalties(loss, self.G, "G"), numbers

    def g_penalty(self, z, labels):
        """Return (the weighted sum of the penalties on G's images as functions of latents or
        styles, the numbers to log). The numbers include the new states of the penalties."""
        total, numbers, k = 0.0, {}, self.penalty_every("G")
        for entry, weight in penalties.active(self.settings, "G", *penalties.LATENTS):
            if entry.applied_to == "styles":
                arguments = [self.G.synthesis, self.G.styles(z, labels)]
            else:
                arguments = [lambda z: call_with_labels(self.G, z, labels), z]
            arguments += [getattr(self.penalty_state, entry.state)] if entry.state else []
            value = entry.function(*arguments, *[self.rng] * entry.draws)
            value, *state = value if entry.state else [value]
            numbers |= zip(entry.logged_as, map(float_on_cpu, [value.data, *state]))
            total = total + value * self.factor(weight, k)
        return total, numbers

    def factor(self, weight, k=1):
        """Return the value of a setting in this step, times k, to multiply a Tensor by: a number;
        if it has a schedule, a Tensor of no dimensions, whose value is new in each step."""
        if not isinstance(weight, schedules.Schedule):
            return float(weight * k)
        return wrap(from_host(lambda: np.float32(self.now(weight) * k)))

    def with_network_penalties(self, loss, network, which):
        """Return the loss plus the penalties on the weights of a network, "D" or "G"."""
        for entry, weight in penalties.active(self.settings, which, "network"):
            loss = loss + self.factor(weight) * entry.function(network)
        return loss

    def real_and_fake_logits(self, reals, real_labels, fakes, fake_labels):
        """Return `augmented_logits` of the reals, and those of the fakes (Tensors), in D's step. If
        possible, they are computed in one pass, which is faster."""
        if self.two_passes or reals.requires_grad:
            return (
                self.augmented_logits(reals, real_labels, real=True),
                self.augmented_logits(fakes, fake_labels, real=False),
            )
        # The images are plain arrays here, since D's update needs no gradient with respect to the
        # images.
        images = xp.concatenate([self.augment(reals, True).data, self.augment(fakes, False).data])
        labels = xp.concatenate([real_labels, fake_labels]) if self.uses_classes else None
        outputs, n = self.logits(wrap(images), labels), len(reals)
        return [
            [None if output is None else output[half] for output in outputs]
            for half in (slice(0, n), slice(n, None))
        ]

    def augmented_logits(self, x, labels, real, d_step=True):
        """Return `logits` of images x after augmentation.

        real: whether they are reals; d_step: True in D's step, False in G's.
        """
        return self.logits(self.augment(x, real, d_step), labels)

    def logits(self, x, labels):
        """Return D's (logits, class logits) on images x; the class logits are None if D does not
        predict the class."""
        output = call_with_labels(self.D, x, labels if self.uses_classes else None)
        return output if isinstance(output, tuple) else (output, None)

    def penalty_every(self, which):
        """Return k: the penalties of "D" on images, or of "G" on latents and styles, are applied at
        every k-th update. It is 1 if there are none."""
        applied_to, every = {
            "D": (penalties.IMAGES, self.settings.penalty_every),
            "G": (penalties.LATENTS, self.settings.path_every),
        }[which]
        return every if penalties.active(self.settings, which, *applied_to) else 1
