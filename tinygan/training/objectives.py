"""What D and G minimise in a step: the loss, and the penalties that the settings switch on.

Each method of `Objectives` returns (what is minimised, the numbers to log).
"""

from types import SimpleNamespace

import numpy as np

from tinygan import schedules
from tinygan.autograd import no_grad, wrap
from tinygan.backend import float_on_cpu, from_host, xp
from tinygan.gan import losses, penalties
from tinygan.gan.conditioning import call_with_labels
from tinygan.nn import BatchNorm, MinibatchStddev
from tinygan.ops import cross_entropy

from . import statistics


class Objectives:
    """The functions that D and G minimise: the loss, and the penalties that the settings switch on.

    augment: augments all images that D sees; rng: draws the random numbers of penalties; now: a
    function that returns the value of a setting in this step (`Algorithm.now`).
    penalty_state: the states of penalties, under the names in their entries.
    uses_classes: whether G and D receive the class. shared_losses: those of the recipe.

    Arguments of the methods: reals, an array (N, H, W, C) in [-1, 1]; fakes, a Tensor of the same
    shape (constant for D's objectives; for g_loss, `execution.gradients` makes it from a `Fakes`,
    with G's graph); labels, arrays (N,), or None if the networks are unconditional; z, the latents
    of the fakes, which only shared losses need.
    """

    def __init__(self, settings, G, D, augment, rng, now, shared_losses):
        self.settings, self.G, self.D, self.augment, self.rng = settings, G, D, augment, rng
        self.now, self.shared_losses = now, shared_losses
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

    def d_loss(self, reals, real_labels, fakes, fake_labels, z=None):
        """Return (D's loss, the numbers to log)."""
        s, x = self.settings, wrap(reals)
        x.requires_grad = self.penalty_uses_logits()
        real, fake = self.real_and_fake_logits(x, real_labels, fakes, fake_labels)
        (real_logits, real_output), (fake_logits, fake_output) = real, fake
        loss = self.loss.discriminator(real_logits, fake_logits)
        numbers = {
            "d_loss": float_on_cpu(loss.data),
            **statistics.logit_statistics(self.loss, real_logits.detach(), fake_logits.detach()),
        }
        if s.d_class == "auxiliary":
            class_loss = cross_entropy(real_output, real_labels)
            class_loss = class_loss + cross_entropy(fake_output, fake_labels)
            numbers["d_class"] = float_on_cpu(class_loss.data)
            loss = loss + self.factor(s.class_weight) * class_loss
        loss = self.with_shared_losses(loss, numbers, "d", z, fake_output)
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

    def g_loss(self, reals, real_labels, fakes, labels, z=None):
        """Return (G's loss, the numbers to log)."""
        fake_logits, output = self.augmented_logits(fakes, labels, real=False, d_step=False)
        real_logits, reals = None, wrap(reals)
        if self.loss.paired:
            with no_grad():
                real_logits, _ = self.augmented_logits(reals, real_labels, real=True, d_step=False)
        loss = self.loss.generator(real_logits, fake_logits)
        numbers = {"g_loss": float_on_cpu(loss.data)}
        if self.settings.d_class == "auxiliary":
            class_loss = cross_entropy(output, labels)
            numbers["g_class"] = float_on_cpu(class_loss.data)
            loss = loss + self.factor(self.settings.class_weight) * class_loss
        loss = self.with_shared_losses(loss, numbers, "g", z, output)
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

    def with_shared_losses(self, loss, numbers, which, z, output):
        """Return the loss of "d" or "g" plus those that both minimise, whose values are noted among
        the numbers to log. output: D's second output on the fakes of latents z."""
        for name, function in self.shared_losses.items():
            shared = function(self.G, z, output)
            numbers[f"{which}_{name}_loss"] = float_on_cpu(shared.data)
            loss = loss + self.factor(getattr(self.settings, f"{name}_weight")) * shared
        return loss

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
        """Return D's (logits, second output) on images x. The second output is None, or the class
        logits if D predicts the class, or what shared losses read."""
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
