"""One step of training. Read it beside the papers (Goodfellow et al. 2014, algorithm 1):

    reals, fakes  ->  D's loss, and its penalties  ->  D's update
                  ->  G's loss, and its penalties  ->  G's update  ->  the average of G

The papers differ in the loss (gan/losses.py), the penalties (gan/penalties.py), how the class is
told (gan/conditioning.py), how images are augmented (gan/augment/), and in whether they grow
(models/growth.py). In one thing we differ from the papers: G learns from the fakes that D has just
seen, instead of drawing new ones. That saves a forward pass.

`Algorithm` is the step, `Objectives` is what D and G minimise: methods that return (what is
minimised, the numbers to log). `execution.gradients` takes the gradients of such a method over a
batch: execution.py says how, and trainer.py has the run around the steps.
"""

import math
from types import SimpleNamespace

import numpy as np

from tinygan.autograd import Tensor, no_grad
from tinygan.backend import float_on_cpu, from_host, integers, normal, xp
from tinygan.errors import InputError
from tinygan.gan import augment, losses, penalties
from tinygan.gan.conditioning import call_with_labels
from tinygan.models.growth import Growth, at_lod, set_lod
from tinygan.nn import BatchNorm, MinibatchStddev, StyleGenerator
from tinygan.ops import cross_entropy
from tinygan.optim import Adam, RMSprop

from . import statistics
from .ema import EMA
from .execution import Execution, added, check_batches


class Algorithm:
    """G and D of a recipe, what trains them on the images of a Dataset, and how far they are.

    All randomness comes from the generator `rng`, made from `seed`; from that of the augmentation;
    and from the data's own shuffling, a function of the seed and of the images seen. Raises
    InputError for settings that do not go together.
    """

    def __init__(self, recipe, settings, dataset, seed=0):
        s = self.settings = settings
        self.dataset, self.seed, self.execution = dataset, seed, Execution(self)
        self.rng = self.execution.generator([seed, 0, 1])  # the data are shuffled by another one
        self.G, self.D = recipe.build(s, dataset.image_shape, dataset.num_classes, self.rng)
        self.growth = Growth(s, dataset.image_shape[0]) if getattr(s, "grow", False) else None
        check_batches(self)
        self.ema = EMA(self.G, s.ema, s.ema_start)
        own_rng = self.execution.generator([seed, 0, 5])
        self.augment, self.controller = augment.from_settings(s, own_rng)
        self.objectives = Objectives(s, self.G, self.D, self.augment, self.rng)
        self.objectives.check(recipe.name)
        self.make_optimizers()
        self.execution.upload(dataset)
        self.step = self.d_updates = 0
        self.images = 0  # of D's updates so far: the place of the next batch in the stream of reals
        self.lod = None  # level of detail of networks that grow

    # The step

    def train_step(self):
        """The updates of D, then one of G. Returns the numbers to log: {name: float}, or on a GPU,
        {name: array of no dimensions} that `statistics.read` waits for."""
        if self.growth:
            self.grow()
        numbers = {"lod": self.lod} if self.growth else {}
        if self.settings.augment == "ada":
            numbers["p"] = self.augment.pipe.p
        numbers |= self.execution.run_step(self.update)
        updates = self.settings.updates_of_D(self.step)
        self.d_updates += updates
        self.images += updates * self.batch_size
        self.step += 1
        if self.controller:
            self.controller(numbers["r_t"], updates * self.batch_size)
        return numbers

    def update(self):
        """The updates of D, then one of G, then of G's average; the images that they are for."""
        numbers, updates = {}, self.settings.updates_of_D(self.step)
        for i in range(updates):
            reals, real_labels = self.reals(i)
            fakes = self.fakes(real_labels, for_G=i == updates - 1)
            numbers |= self.update_D(reals, real_labels, fakes, self.d_updates + i)
        numbers["variety"] = statistics.relative_variety(fakes.images.data, reals)
        numbers |= self.update_G(reals, real_labels, fakes)
        self.execution.average(self.ema, lambda: self.ema_decay(updates * self.batch_size))
        return numbers

    def reals(self, i):
        """The i-th batch from here in the stream of reals: arrays (N, H, W, C) and (N,)."""
        images, labels = self.execution.reals(i)
        if self.growth:  # as coarse as G's images are
            images = at_lod(images, self.lod, from_host(lambda: np.float32(self.lod % 1)))
        return images, labels

    def fakes(self, real_labels, for_G):
        """G's images of new latents. for_G: will G learn from them, too?"""
        z = self.latents(len(real_labels))
        # A real seven is compared with a fake seven, and what is between the two is one as well.
        paired = self.objectives.loss.paired or penalties.active(self.settings, "D", "between")
        labels = real_labels if self.objectives.conditional and paired else self.labels(len(z))
        return self.execution.fakes(z, labels, for_G)

    def update_D(self, reals, real_labels, fakes, count):
        """One update of D, after `count` others."""
        batch = reals, real_labels, fakes.images, fakes.labels
        gradients, numbers = self.execution.gradients("D", self.D, self.objectives.d_loss, *batch)
        self.d_optimizer.step(gradients)
        # Lazy penalties weigh k times as much at every k-th update, in an update of their own
        # (Karras et al. 2020b, section 3.1; make_optimizer has the rest).
        k = self.objectives.penalty_every("D")
        if k > 1 and count % k == 0:
            gradients, found = self.execution.gradients(
                "D penalty", self.D, self.objectives.lazy_d_penalty, *batch
            )
            self.d_optimizer.step(gradients)
            numbers = found | numbers  # what both have is of the first update
        for entry, limit in penalties.active(self.settings, "D", "weights"):
            entry.function(self.D.parameters(), limit)
        return numbers

    def update_G(self, reals, real_labels, fakes):
        """One update of G, through D's judgement of its fakes."""
        batch = reals, real_labels, fakes, fakes.labels
        gradients, numbers = self.execution.gradients("G", self.G, self.objectives.g_loss, *batch)
        # Where a penalty is due: for k = 1, one update with both gradients; for k > 1, two updates.
        k = self.objectives.penalty_every("G")
        due = penalties.active(self.settings, "G", *penalties.LATENTS)
        due = due if self.step % k == 0 else []
        if not due or k > 1:
            self.g_optimizer.step(gradients)
        if due:
            n = (len(fakes) + 1) // 2  # half a batch, as in StyleGAN2's code
            more, found = self.execution.gradients(
                "G penalty", self.G, self.objectives.g_penalty, self.latents(n), self.labels(n)
            )
            self.g_optimizer.step(more if k > 1 else added(gradients, more))
            numbers = found | numbers
            for entry, _ in due:
                if entry.state:  # the mean over the parts of a batch, if it is worked through so
                    new = xp.array(found[entry.logged_as[1]])
                    setattr(self.objectives.penalty_state, entry.state, new)
        return numbers

    # What it draws, and what changes while it trains

    def latents(self, n):
        """n latents z ~ N(0, 1): a Tensor (n, latent)."""
        return Tensor(normal(self.rng, (n, self.settings.latent)))

    def labels(self, n):
        """n classes for G to draw, all equally likely; None for an unconditional recipe."""
        return integers(self.rng, self.G.classes, n) if self.objectives.conditional else None

    @property
    def batch_size(self):
        """Images of an update. Networks that grow have larger batches of smaller images."""
        return self.growth.batch_size(self.lod) if self.growth else self.settings.batch_size

    def grow(self):
        """Bring the networks to the level of detail of the images seen so far."""
        lod = self.growth.lod(self.images)
        for network in (self.G, self.D, self.ema.module):
            set_lod(network, lod)
        # The authors' code forgets the moments whenever a size begins to fade in, or is all there.
        ends = lambda lod: (math.floor(lod), math.ceil(lod))
        if self.lod is not None and ends(lod) != ends(self.lod):
            self.make_optimizers()
        self.lod = lod

    def ema_decay(self, n):
        """The decay of G's average over n images where a half-life is set; else None: `EMA` has its
        own. It grows with the images seen so far: the beginning is forgotten (StyleGAN2-ADA)."""
        half_life = min(self.settings.ema_images, 0.05 * (self.images + n))
        return 0.5 ** (n / half_life) if half_life else None

    def make_optimizers(self):
        s, every = self.settings, self.objectives.penalty_every
        self.g_optimizer = make_optimizer(s, self.G, s.lr, every("G"))
        self.d_optimizer = make_optimizer(s, self.D, s.d_lr or s.lr, every("D"))
        self.execution.forget()


class Objectives:
    """What D and G minimise: the loss, and the penalties that the settings switch on.

    augment: what D sees goes through it; rng: for the draws of penalties; penalty_state: what
    penalties keep from step to step, by the names in their entries.

    reals: an array (N, H, W, C) in [-1, 1]; fakes: a Tensor of that shape, constant where D learns,
    with G's graph where G does; labels: an array (N,), or None for unconditional networks.
    """

    def __init__(self, settings, G, D, augment, rng):
        self.settings, self.G, self.D, self.augment, self.rng = settings, G, D, augment, rng
        self.loss, self.conditional = losses.find(settings.loss), settings.g_class != "none"
        # Where D compares the images of a batch, reals must not see fakes.
        self.two_passes = any(
            isinstance(module, (BatchNorm, MinibatchStddev)) for _, module in D.modules()
        )
        self.penalty_state = SimpleNamespace(
            **{entry.state: 0.0 for entry in penalties.PENALTIES if entry.state}
        )

    def d_loss(self, reals, real_labels, fakes, fake_labels):
        """(what D minimises, the numbers to log)."""
        s = self.settings
        judged = self.judge_both(reals, real_labels, fakes, fake_labels)
        (real, real_classes), (fake, fake_classes) = judged
        loss = self.loss.discriminator(real, fake)
        numbers = {
            "d_loss": float_on_cpu(loss.data),
            **statistics.judgements(self.loss, real.detach(), fake.detach()),
        }
        if real_classes is not None:
            class_loss = cross_entropy(real_classes, real_labels) + cross_entropy(
                fake_classes, fake_labels
            )
            numbers["d_class"] = float_on_cpu(class_loss.data)
            loss = loss + s.class_weight * class_loss
        for entry, weight in penalties.active(s, "D", "logits"):
            loss = loss + weight * entry.function(real, fake)
        if penalties.active(s, "D", *penalties.IMAGES) and self.penalty_every("D") == 1:
            penalty, found = self.d_penalty(reals, real_labels, fakes, fake_labels)
            loss, numbers = loss + penalty, numbers | found
        return self.with_network_penalties(loss, self.D, "D"), numbers

    def d_penalty(self, reals, real_labels, fakes, fake_labels):
        """(the weighted sum of the penalties on what D makes of images, the numbers to log)."""
        total, numbers = 0.0, {}
        for entry, weight in penalties.active(self.settings, "D", *penalties.IMAGES):
            # What is between a real and a fake is augmented where fakes are.
            labels, real, images = {
                "reals": (real_labels, True, [reals]),
                "fakes": (fake_labels, False, [fakes.data]),
                "between": (real_labels, False, [reals, fakes.data]),
            }[entry.applied_to]
            D = lambda x, labels=labels, real=real: self.judge(x, labels, real)[0]
            value = weight * entry.function(D, *images, *[self.rng] * entry.draws)
            (name,) = entry.logged_as
            total, numbers[name] = total + value, numbers.get(name, 0.0) + value.data
        return total, {name: float_on_cpu(value) for name, value in numbers.items()}

    def lazy_d_penalty(self, *batch):
        """`d_penalty`, as many times stronger as it is rarer. (`g_penalty` sees to that itself.)"""
        penalty, numbers = self.d_penalty(*batch)
        return penalty * float(self.penalty_every("D")), numbers

    def g_loss(self, reals, real_labels, fakes, labels):
        """(what G minimises, the numbers to log)."""
        fake, fake_classes = self.judge(fakes, labels, real=False, d_step=False)
        real = None
        if self.loss.paired:
            with no_grad():
                real, _ = self.judge(Tensor(reals), real_labels, real=True, d_step=False)
        loss = self.loss.generator(real, fake)
        numbers = {"g_loss": float_on_cpu(loss.data)}
        if fake_classes is not None:
            class_loss = cross_entropy(fake_classes, labels)
            numbers["g_class"] = float_on_cpu(class_loss.data)
            loss = loss + self.settings.class_weight * class_loss
        return self.with_network_penalties(loss, self.G, "G"), numbers

    def g_penalty(self, z, labels):
        """(the weighted sum of the penalties on what G makes of latents, the numbers to log, new
        states among them)."""
        total, numbers, k = 0.0, {}, self.penalty_every("G")
        for entry, weight in penalties.active(self.settings, "G", *penalties.LATENTS):
            if entry.applied_to == "styles":
                given = [self.G.synthesis, self.G.styles(z, labels)]
            else:
                given = [lambda z: call_with_labels(self.G, z, labels), z]
            given += [getattr(self.penalty_state, entry.state)] if entry.state else []
            value = entry.function(*given, *[self.rng] * entry.draws)
            value, *state = value if entry.state else [value]
            numbers |= zip(entry.logged_as, map(float_on_cpu, [value.data, *state]))
            total = total + value * float(weight * k)
        return total, numbers

    def with_network_penalties(self, loss, network, which):
        for entry, weight in penalties.active(self.settings, which, "network"):
            loss = loss + weight * entry.function(network)
        return loss

    def judge_both(self, reals, real_labels, fakes, fake_labels):
        """`judge` of the reals and of the fakes; in one pass where it can be, which is faster."""
        reals = Tensor(reals)
        if self.two_passes:
            return self.judge(reals, real_labels, True), self.judge(fakes, fake_labels, False)
        # Arrays: no gradient flows to the images in D's step.
        images = xp.concatenate([self.augment(reals, True).data, self.augment(fakes, False).data])
        labels = xp.concatenate([real_labels, fake_labels]) if self.conditional else None
        both, n = self.score(Tensor(images), labels), len(reals)
        return [
            [None if part is None else part[half] for part in both]
            for half in (slice(0, n), slice(n, None))
        ]

    def judge(self, x, labels, real, d_step=True):
        """`score` of images x, which are reals or not, in D's step or in G's, through the
        augmentation."""
        return self.score(self.augment(x, real, d_step), labels)

    def score(self, x, labels):
        """D's (logits, class logits) on images x; the second is None where D does not guess the
        class."""
        output = call_with_labels(self.D, x, labels if self.conditional else None)
        return output if isinstance(output, tuple) else (output, None)

    def penalty_every(self, which):
        """Updates of D, or of G, between its penalties on images, or on latents."""
        places, every = {
            "D": (penalties.IMAGES, self.settings.penalty_every),
            "G": (penalties.LATENTS, self.settings.path_every),
        }[which]
        return every if penalties.active(self.settings, which, *places) else 1

    def check(self, recipe):
        """Raises InputError for penalties that these networks cannot have, or that cannot be lazy,
        and are told to be."""
        for which, places in (("D", penalties.IMAGES), ("G", penalties.LATENTS)):
            for entry, weight in penalties.active(self.settings, which, *places):
                said = f"setting {entry.name}={weight:g}"
                if entry.applied_to == "styles" and not isinstance(self.G, StyleGenerator):
                    raise InputError(f"{said}: the G of {recipe} has no styles")
                if not entry.lazy and (k := self.penalty_every(which)) > 1:
                    every = "penalty_every" if which == "D" else "path_every"
                    raise InputError(
                        f"{said}: this penalty belongs into every update: set {every}=1, not {k}"
                    )


def make_optimizer(s, network, lr, lazy=1):
    """The optimiser of a network. lazy: k, where a penalty is minimised at every k-th step only, as
    an extra step.

    k + 1 steps then do the work of k, so the rate and the decays become those of k / (k + 1) steps
    (Karras et al. 2020b, section 3.1).
    """
    share = lazy / (lazy + 1) if lazy > 1 else 1
    if s.optimizer == "rmsprop":
        return RMSprop(network.parameters(), lr * share, s.beta2**share, s.eps)
    return Adam(network.parameters(), lr * share, (s.beta1**share, s.beta2**share), s.eps)
