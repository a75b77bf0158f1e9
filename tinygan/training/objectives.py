"""What D and G minimise in a step: the loss, and the penalties that the settings switch on.

Each method of `Objectives` returns (what is minimised, the numbers to log).
"""

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np

from tinygan import schedules
from tinygan.autograd import no_grad, wrap
from tinygan.backend import float_on_cpu, from_host, xp
from tinygan.gan import losses, penalties
from tinygan.gan.conditioning import call_with_labels
from tinygan.gan.packing import packed, unpacked
from tinygan.nn import BatchNorm, MinibatchStddev
from tinygan.ops import concatenate, cross_entropy

from . import statistics
from .unrolled import parameters_ahead


class Objectives:
    """The functions that D and G minimise: the loss, and the penalties that the settings switch on.

    algorithm: the Algorithm whose networks, settings and random numbers they use.
    penalty_state: the states of penalties, under the names in their entries.
    uses_classes: whether G and D receive the class. shared_losses: those of the recipe.

    Arguments of the methods: reals, an array (N, H, W, C) in [-1, 1]; fakes, a Tensor of the same
    shape (constant for D's updates; for g_loss, `execution.gradients` makes it from a `Fakes`, with
    G's graph); labels, arrays (N,), or None if the networks are unconditional; z, the latents of
    the fakes, which only shared losses need.
    """

    def __init__(self, algorithm, shared_losses):
        a, s = algorithm, algorithm.settings
        self.algorithm, self.settings, self.G, self.D = a, s, a.G, a.D
        self.augment, self.rng, self.shared_losses = a.augment, a.rng, shared_losses
        self.loss, self.uses_classes = losses.find(s.loss), s.g_class != "none"
        # If D compares the images of a batch, reals and fakes must be in separate batches.
        self.two_passes = s.pack > 1 or any(
            isinstance(module, (BatchNorm, MinibatchStddev)) for _, module in a.D.modules()
        )
        # Whether D has neither a state nor random numbers, so that it may be called less often.
        attributes = [value for _, module in a.D.modules() for value in vars(module).values()]
        draws = any(isinstance(value, np.random.Generator) for value in attributes)
        self.D_is_a_function = not a.D.buffers() and not draws
        self.penalty_state = SimpleNamespace(
            **{name: 0.0 for entry in penalties.entries(s) for name in entry.states}
        )

    def d_loss(self, reals, real_labels, fakes, fake_labels, z=None):
        """Return (D's loss, the numbers to log)."""
        s, x = self.settings, wrap(reals)
        x.requires_grad = self.penalty_uses_logits()
        real_images, fake_images = self.augment(x, True), self.augment(fakes, False)
        real, fake = self.real_and_fake_logits(real_images, real_labels, fake_images, fake_labels)
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
        seen_reals = real_images.detach(), real_labels, real_logits
        seen_fakes = fake_images, fake_labels, fake_logits
        loss, penalty_numbers = self.with_logit_penalties(loss, seen_reals, seen_fakes)
        numbers |= penalty_numbers
        if penalties.active(s, "D", *penalties.IMAGES) and self.penalty_every("D") == 1:
            logits = (x, real_logits) if x.requires_grad else ()
            penalty, penalty_numbers = self.d_penalty(
                reals, real_labels, fakes, fake_labels, *logits
            )
            loss, numbers = loss + penalty, numbers | penalty_numbers
        return self.with_network_penalties(loss, self.D, "D"), numbers

    def penalty_uses_logits(self):
        """Return whether a penalty on reals can use the logits that the loss computes of them."""
        s, unchanged = self.settings, self.augment.pipe is None and self.settings.pack == 1
        on_reals = penalties.active(s, "D", "reals") and self.penalty_every("D") == 1
        return bool(on_reals) and self.D_is_a_function and unchanged

    def d_penalty(self, reals, real_labels, fakes, fake_labels, known_x=None, known_logits=None):
        """Return (the weighted sum of the penalties on D as a function of images, the
        numbers to log).

        known_x: the reals as a Tensor that requires a gradient, if D's logits on it are known.
        """
        # D takes images, also if it judges packs of them, but these are functions of whole packs.
        total, numbers, pack = 0.0, {}, self.settings.pack
        # If G looks ahead, D's parameters depend on the fakes, too. Here, the fakes get a node of
        # their own, so that the gradient at an image is not taken through D's parameters.
        fake_images = fakes * 1.0 if fakes.requires_grad else fakes.data
        for entry, weight in penalties.active(self.settings, "D", *penalties.IMAGES):
            # Images between a real and a fake are augmented whenever fakes are.
            labels, real, images = {
                "reals": (real_labels, True, [reals]),
                "fakes": (fake_labels, False, [fake_images]),
                "between": (real_labels, False, [reals, fake_images]),
            }[entry.applied_to]
            D = lambda x, labels=labels, real=real: self.augmented_logits(
                unpacked(x, pack), labels, real
            )[0]
            images = [packed(x, pack) for x in images]
            if known_x is not None and entry.applied_to == "reals":
                images = [known_x]
                D = lambda x, D=D: known_logits if x is known_x else D(x)
            value = self.factor(weight) * self.call(entry, D, *images)[0]
            (name,) = entry.logged_as
            total, numbers[name] = total + value, numbers.get(name, 0.0) + value.data
        return total, {name: float_on_cpu(value) for name, value in numbers.items()}

    def lazy_d_penalty(self, *batch):
        """Return k times the penalty of `d_penalty`, and its numbers, for the extra update after
        every k-th update of D. (`g_penalty` already includes this factor.)"""
        penalty, numbers = self.d_penalty(*batch)
        return penalty * float(self.penalty_every("D")), numbers

    def g_loss(self, *batch):
        """Return (G's loss, the numbers to log). With unroll=K, it is the loss of the D of K
        updates ahead, all of them on this batch."""
        if not self.settings.unroll:
            return self.g_loss_of_D(*batch)
        with self.D.with_parameters(self.parameters_ahead(*batch)):
            return self.g_loss_of_D(*batch)

    def parameters_ahead(self, reals, real_labels, fakes, labels, z=None):
        """Return the parameters of D after the updates that the setting unroll simulates."""
        s = self.settings
        images = fakes.detach() if s.unroll_stop else fakes

        def d_loss(parameters):
            with self.D.with_parameters(parameters):
                return self.d_loss(reals, real_labels, images, labels, z)[0]

        max_norm = self.factor(s.clip_grad_norm) if s.clip_grad_norm else None
        parameters, optimizer = self.D.parameters(), self.algorithm.d_optimizer
        return parameters_ahead(parameters, optimizer, d_loss, s.unroll, s.unroll_stop, max_norm)

    def g_loss_of_D(self, reals, real_labels, fakes, labels, z=None):
        """Return (G's loss for D as it is, the numbers to log)."""
        fake_logits, output = self.augmented_logits(fakes, labels, real=False, d_step=False)
        real_logits, reals, unroll = None, wrap(reals), self.settings.unroll
        if self.loss.paired or unroll and self.loss.zero_sum:
            # Real logits depend on G only through a D of some updates ahead.
            with nullcontext() if unroll else no_grad():
                real_logits, _ = self.augmented_logits(reals, real_labels, real=True, d_step=False)
        loss = self.loss.generator(real_logits, fake_logits)
        if unroll and self.loss.zero_sum:  # `generator` leaves out the real logits
            loss = -self.loss.discriminator(real_logits, fake_logits)
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
            value, *states = self.call(entry, *arguments)
            numbers |= zip(entry.logged_as, map(float_on_cpu, [value.data, *states]))
            total = total + value * self.factor(weight, k)
        return total, numbers

    def call(self, entry, *arguments):
        """Return [the value of a penalty, its new states ...]."""
        states = [getattr(self.penalty_state, name) for name in entry.states]
        if entry.start:
            n = getattr(self.settings, entry.start)
            begun = from_host(lambda: np.float32(self.algorithm.step >= n))
            states = [state * begun for state in states]
        value = entry.function(*arguments, *states, *[self.rng] * entry.draws)
        return value if states else [value]

    def take_states(self, active, numbers):
        """Give penalties the new states that are among the numbers to log. (If a batch is processed
        in parts, they are the means over the parts.) active: as `penalties.active` returns it."""
        for entry, _ in active:
            for name, logged in zip(entry.states, entry.logged_as[1:]):
                setattr(self.penalty_state, name, xp.array(numbers[logged]))

    def factor(self, weight, k=1):
        """Return the value of a setting in this step, times k, to multiply a Tensor by: a number;
        if it has a schedule, a Tensor of no dimensions, whose value is new in each step."""
        if not isinstance(weight, schedules.Schedule):
            return float(weight * k)
        return wrap(from_host(lambda: np.float32(self.algorithm.now(weight) * k)))

    def with_logit_penalties(self, loss, reals, fakes):
        """Return (the loss plus the penalties on D's logits, the numbers to log).

        reals, fakes: (the images as D has seen them, their labels, D's logits on them).
        """
        numbers = {}
        for entry, weight in penalties.active(self.settings, "D", "logits", *penalties.SEEN):
            if entry.applied_to == "logits":
                arguments = reals[2], fakes[2]
            else:
                images, labels, logits = reals if entry.applied_to == "seen reals" else fakes
                D = lambda x, labels=labels: self.logits(x, labels)[0]
                arguments = D, images, logits
            value, *states = self.call(entry, *arguments)
            value = self.factor(weight) * value
            numbers |= zip(entry.logged_as, map(float_on_cpu, [value.data, *states]))
            loss = loss + value
        return loss, numbers

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
        """Return `logits` of the reals, and those of the fakes (Tensors, after augmentation). If
        possible, they are computed in one pass, which is faster."""
        if self.two_passes or reals.requires_grad:
            return self.logits(reals, real_labels), self.logits(fakes, fake_labels)
        images = concatenate([reals, fakes])
        labels = xp.concatenate([real_labels, fake_labels]) if self.uses_classes else None
        outputs, n = self.logits(images, labels), len(reals)
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
