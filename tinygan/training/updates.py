"""What a training step does: sample, D step, G step, average."""

import contextlib
import math
import time

import numpy as np

from tinygan.autograd import Tensor, grad, no_grad
from tinygan.backend import asarray, from_host, in_host_memory, normal, number, xp
from tinygan.data import to_float
from tinygan.errors import Diverged, InputError
from tinygan.gan import augment, losses, penalties
from tinygan.kernels import optim as kernel
from tinygan.kernels.cuda.graphs import Graphs
from tinygan.nn import BatchNorm, MinibatchStddev, StyleGenerator
from tinygan.nn.spectral import power_vectors, restore
from tinygan.ops import cross_entropy, mean, sigmoid, square
from tinygan.optim import Adam, RMSprop

from . import health, ranks
from .ema import EMA
from .gradients import accumulated, added, averaged, sanitized, split
from tinygan.models.growth import Growth, at_lod, set_lod
from .sampling import call


class Updates:
    """G and D of a recipe, what trains them on the images of a Dataset, and how far they are.

    All randomness comes from one generator made from `seed`, and from the data's own shuffling, a function of the seed
    and of the images seen.
    """

    def __init__(self, recipe, settings, dataset, seed=0):
        s = settings
        self.settings, self.dataset, self.seed = s, dataset, seed
        self.rng = ranks.Generator([seed, 0, 1])  # a stream apart from that of the data's shuffling
        self.conditional, classes = s.g_class != "none", dataset.num_classes
        self.G, self.D = recipe.build(s, dataset.image_shape, classes, self.rng)
        self.growth = Growth(s, dataset.image_shape[0]) if getattr(s, "grow", False) else None
        self.check_batches()
        self.ema = EMA(self.G, s.ema, s.ema_start)
        self.loss = losses.find(s.loss)
        self.augment = augment.Augment(s.augment, s.policy, s.augment_where, s.ada_p, ranks.Generator([seed, 0, 5]))
        if s.augment == "ada" and not (s.ada_p or s.ada_target):
            raise InputError("settings ada_p=0 ada_target=0: nothing would ever be augmented; give one of them")
        adaptive = s.augment == "ada" and s.ada_target > 0
        self.controller = augment.Controller(self.augment.pipe, s.ada_target, s.ada_kimg) if adaptive else None
        self.apart = any(isinstance(module, (BatchNorm, MinibatchStddev)) for _, module in self.D.modules())
        self.penalised = bool(s.r1 or s.r2 or s.gp)
        if s.path_length and not isinstance(self.G, StyleGenerator):
            raise InputError(f"setting path_length={s.path_length:g}: the G of {recipe.name} has no styles")
        self.make_optimizers()
        self.data = asarray(dataset.images), asarray(dataset.labels)
        self.graphs = Graphs(self.rebound)
        self.average_path = 0.0  # length by which an image moves when its styles do
        self.seconds = {}  # phase of a step -> time spent in it so far
        self.step = self.d_updates = 0
        self.images = 0  # of D's updates; which also says where in the stream of reals the next batch is
        self.lod = None
        self.drawn = ()  # latents and labels of the last fakes

    def check_batches(self):
        s = self.settings
        for n in {s.batch_size, *(self.growth.batch_sizes.values() if self.growth else ())}:
            if n > len(self.dataset):
                raise InputError(f"batch_size {n}: more than the {len(self.dataset):,} images of {self.dataset.name}")
            if n % ranks.size or n < 2 * ranks.size:
                raise InputError(f"batches of {n} are shared out to {ranks.size} ranks: choose a multiple of that for "
                                 "batch_size, at least two images for each")
            whole, n = n, n // ranks.size
            parts = {min(s.micro_batch or n, n), n % s.micro_batch if s.micro_batch else n} - {0}
            if 1 in parts:
                raise InputError(f"micro_batch={s.micro_batch} leaves one image of a batch of {n}: choose a divisor")
            for _, module in self.D.modules():
                if isinstance(module, MinibatchStddev) and any(m % group for m in parts for group in {
                        min(module.group_size, m), min(module.group_size, whole) if ranks.size > 1 else 1}):
                    raise InputError(f"batches of {n}: this D compares images in groups of {module.group_size}: choose "
                                     "a multiple of that for batch_size and micro_batch")

    def make_optimizers(self):
        s = self.settings
        self.g_optimizer = make_optimizer(s, self.G, s.lr, s.path_every if s.path_length else 1)
        self.d_optimizer = make_optimizer(s, self.D, s.d_lr or s.lr, s.penalty_every if self.penalised else 1)

    def rebound(self):
        """[(owner, attribute)] of the arrays that a step replaces, rather than writes into."""
        slots = [(owner, name) for network in (self.G, self.D) for _, owner, name in network.buffer_slots()]
        return slots + [(self, "average_path")]

    def latents(self, n):
        """n latents z ~ N(0, 1): a Tensor (n, latent)."""
        return Tensor(normal(self.rng, (n, self.settings.latent)))

    def labels(self, n):
        """n classes for G to draw, each as likely as the others; None for an unconditional recipe."""
        return from_host(lambda: self.rng.integers(self.G.classes, size=n)) if self.conditional else None

    def grow(self):
        """Bring the networks to the level of detail of the images seen so far."""
        lod = self.growth.lod(self.images)
        for network in (self.G, self.D, self.ema.module):
            set_lod(network, lod)
        # The authors' code forgets the moments whenever a size begins to fade in, or is all there.
        ends = lambda lod: (math.floor(lod), math.ceil(lod))
        if self.lod is not None and ends(lod) != ends(self.lod):
            self.make_optimizers()
            self.graphs.clear()
        self.lod = lod

    @contextlib.contextmanager
    def phase(self, name):
        """Time what Python does within; a recorded step is done without it. "fakes" is G's forward pass, "D" and "G" the
        updates, which may have lazy penalties."""
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def train_step(self):
        """The updates of D, then one of G. Returns the numbers to log: {name: float}, or on a GPU, {name: array of no
        dimensions} that `read` waits for."""
        if self.growth:
            self.grow()
        n = self.growth.batch_size(self.lod) if self.growth else self.settings.batch_size
        updates = self.settings.d_updates(self.step)
        numbers = {"lod": self.lod} if self.growth else {}
        if self.settings.augment == "ada":
            numbers["p"] = self.augment.pipe.p
        with ranks.together():
            numbers |= self.graphs.run(self.course(n, updates), lambda: self.update_networks(n, updates))
        for network in (self.G, self.D):
            network.mark_changed()  # a recorded step does not say so
        self.ema.module.copy_buffers(self.G)
        self.d_updates += updates
        self.images += updates * n
        self.step += 1
        if self.controller:
            self.controller(numbers["r_t"], updates * n)
        return numbers

    def course(self, n, updates):
        """What decides which operations the next step consists of; None where its random draws do."""
        s, pipe = self.settings, self.augment.pipe
        if 0 < s.micro_batch < n or pipe and not pipe.steady:
            return None
        penalties = tuple((self.d_updates + i) % s.penalty_every == 0 for i in range(updates)) if self.penalised else ()
        level = (math.floor(self.lod), self.lod % 1 > 0) if self.growth else ()
        return n, updates, penalties, self.lazy_path(), level, bool(pipe and getattr(pipe, "p", 1))

    def update_networks(self, n, updates):
        """The part of a step that a GPU does: the same operations on the same memory for each step of one course, so that
        it can be recorded. What changes from step to step comes through `from_host`."""
        numbers, own = {}, n // ranks.count()  # images of this rank
        for i in range(updates):
            with self.phase("data"):
                reals, real_labels = self.reals(i, n)
                z = self.latents(own)
            # A real seven is compared with a fake seven, and what is between the two is one as well.
            paired = self.loss.paired or self.settings.gp
            labels = real_labels if self.conditional and paired else self.labels(own)
            # The last fakes serve twice: D learns from their values, then G through their graph. In parts, only one
            # part's graph should be there at a time, so that G draws them again.
            last = i == updates - 1 and not 0 < self.settings.micro_batch < own
            vectors, state = ([], None) if last else (power_vectors(self.G), self.rng.bit_generator.state)
            self.drawn = z, labels
            with self.phase("fakes"), contextlib.nullcontext() if last else no_grad():
                fakes = call(self.G, z, labels) if last else self.draw(z, labels)
            numbers |= self.d_step(reals, real_labels, fakes.detach(), labels, self.d_updates + i)
        restore(vectors)  # in parts, the same fakes are drawn again
        numbers["variety"] = number(variety(fakes.data) / xp.maximum(variety(reals), 1e-6))  # reals may all be black
        numbers |= self.g_step(reals, real_labels, fakes if last else None, z, labels, state)
        with self.phase("average"):
            self.ema.update(self.G, lambda: self.ema_decay(updates * n))
        return numbers

    def reals(self, i, n):
        """(images, labels) of this rank's share of the i-th batch from here in the stream of reals."""
        chosen = from_host(lambda: ranks.share(self.dataset.chosen(self.images // n + i, n, self.seed)))
        images = to_float(self.data[0][chosen])
        if self.growth:
            images = at_lod(images, self.lod, from_host(lambda: np.float32(self.lod % 1)))
        return images, self.data[1][chosen]

    def ema_decay(self, n):
        """Decay of the average over n images, where a half-life is set; it grows with the images seen so far, so that
        the beginning is forgotten (StyleGAN2-ADA)."""
        half_life = min(self.settings.ema_images, 0.05 * (self.images + n))
        return 0.5 ** (n / half_life) if half_life else None

    def draw(self, z, labels):
        """G's images of a batch, a micro-batch at a time."""
        size, parts = self.settings.micro_batch or len(z), []
        vectors = power_vectors(self.G)
        for i in range(0, len(z), size):
            restore(vectors)
            parts.append(call(self.G, z[i:i + size], None if labels is None else labels[i:i + size]).data)
        return Tensor(xp.concatenate(parts))

    def gradients(self, objective, network, *batch):
        """(gradients, numbers) of objective(*batch) -> (loss, numbers), which must be means over the batch; in parts of
        micro_batch images. Those of all ranks, averaged. Raises Diverged, on a CPU at once, if a number or a gradient is not
        finite."""
        parts, before = split(batch, self.settings.micro_batch), self.random_state()
        vectors = power_vectors(self.G, self.D) if len(parts) > 1 else []
        gradients, numbers = accumulated(objective, network.parameters(), parts, lambda: restore(vectors))
        gradients, numbers = averaged(gradients), ranks.mean_numbers(numbers)
        if self.settings.sanitize:
            gradients = sanitized(gradients)
        norm = kernel.norm([g.data for g in gradients if g is not None])
        numbers["d_grad_norm" if network is self.D else "g_grad_norm"] = norm
        if all(map(in_host_memory, numbers.values())) and not all(map(math.isfinite, numbers.values())):
            self.random_state(before)  # so that the same comes again
            what = health.explain({"G": self.G, "D": self.D}, objective, network, parts, gradients, numbers,
                                  lambda: self.drawn and call(self.G, *self.drawn))
            raise self.diverged(what, everywhere=True)
        return gradients, numbers

    def random_state(self, state=None):
        """The states of all generators of random numbers; or bring them to those of an earlier call."""
        generators = self.rng, self.augment.rng
        if state is None:
            return [generator.bit_generator.state for generator in generators]
        for generator, value in zip(generators, state):
            generator.bit_generator.state = value

    def diverged(self, what, step=None, everywhere=False):
        """The error to raise where something is not finite at a step, the present one if none is given."""
        return Diverged(f"step {self.step + 1 if step is None else step}: {what}; it is in no checkpoint; "
                        f"{health.ADVICE}", everywhere)

    def d_step(self, reals, real_labels, fakes, fake_labels, count):
        """One update of D, after so many, on real images (N, H, W, C) and fakes, a constant Tensor."""
        k = self.settings.penalty_every if self.penalised else 1
        batch = reals, real_labels, fakes, fake_labels
        with self.phase("D"):
            gradients, numbers = self.gradients(self.d_loss, self.D, *batch)
            self.d_optimizer.step(gradients)
        # Lazily, a penalty weighs k times as much at every k-th update, in an update of its own (Karras et al. 2020b,
        # section 3.1; make_optimizer has the rest).
        if k > 1 and count % k == 0:
            def lazy(*batch):
                penalty = self.penalty(*batch)
                return penalty * float(k), {"penalty": number(penalty.data)}

            with self.phase("D penalty"):
                gradients, found = self.gradients(lazy, self.D, *batch)
                self.d_optimizer.step(gradients)
            numbers = found | numbers
        if self.settings.clip:
            penalties.clip_weights(self.D.parameters(), self.settings.clip)
        return numbers

    def d_loss(self, reals, real_labels, fakes, fake_labels):
        """(what D minimises, the numbers to log)."""
        s = self.settings
        real, fake = self.judge_both(reals, real_labels, fakes, fake_labels)
        (real_logits, real_classes), (fake_logits, fake_classes) = real, fake
        loss = self.loss.discriminator(real_logits, fake_logits)
        output = sigmoid if self.loss.probability else lambda logits: logits
        reals_say, fakes_say = real_logits.detach(), fake_logits.detach()
        numbers = {"d_loss": number(loss.data), "d_real": number(output(reals_say).mean().data),
                   "d_fake": number(output(fakes_say).mean().data), **self.overfitting(reals_say.data, fakes_say.data)}
        if real_classes is not None:
            class_loss = cross_entropy(real_classes, real_labels) + cross_entropy(fake_classes, fake_labels)
            numbers["d_class"] = number(class_loss.data)
            loss = loss + s.class_weight * class_loss
        if s.drift:
            loss = loss + s.drift * mean(square(real_logits))
        if self.penalised and s.penalty_every == 1:
            penalty = self.penalty(reals, real_labels, fakes, fake_labels)
            loss, numbers["penalty"] = loss + penalty, number(penalty.data)
        return self.orthogonal(loss, self.D), numbers

    def overfitting(self, real, fake):
        """D's mean logits of images as it sees them, and r_t: the mean sign of those of reals; for l1 and l2, of what they
        are above .5; where only differences count, above the middle between reals and fakes. And the share of all that it tells
        right."""
        means = number(real.mean()), number(fake.mean())
        threshold = self.loss.threshold
        if threshold is None:
            threshold = sum(ranks.mean_numbers(dict(enumerate(means))).values()) / 2
        r_t, f_t = (xp.sign(logits - threshold).mean() for logits in (real, fake))
        return {"logit_real": means[0], "logit_fake": means[1], "r_t": number(r_t), "d_accuracy": number((2 + r_t - f_t) / 4)}

    def penalty(self, reals, real_labels, fakes, fake_labels):
        """The weighted sum of the penalties on D's slope that are switched on."""
        s = self.settings
        of_reals, of_fakes, of_both = (lambda x, y=y, real=real: self.judge(x, y, real)[0] for y, real in (
            (real_labels, True), (fake_labels, False), (real_labels, False)))
        total = 0.0
        if s.r1:
            total = total + s.r1 * penalties.r1(of_reals, reals)
        if s.r2:
            total = total + s.r2 * penalties.r2(of_fakes, fakes.data)
        if s.gp:
            # What is between a real and a fake is augmented where fakes are.
            total = total + s.gp * penalties.wgan_gp(of_both, reals, fakes.data, self.rng)
        return total

    def orthogonal(self, loss, network):
        return loss + self.settings.ortho * penalties.orthogonal(network) if self.settings.ortho else loss

    def g_step(self, reals, real_labels, fakes, z, labels, state=None):
        """One update of G through D's judgement of its fakes; if they are None, they are drawn from z and labels, and the
        same noise and mixed styles as before, which the generator gives from that state on."""
        k, lazy = self.settings.path_every, self.lazy_path()
        with self.phase("G"):
            now = self.rng.bit_generator.state
            if state:
                self.rng.bit_generator.state = state
            gradients, numbers = self.gradients(self.g_loss, self.G, reals, real_labels, fakes, z, labels)
            if state:
                self.rng.bit_generator.state = now
            if not (lazy and k == 1):
                self.g_optimizer.step(gradients)
        if lazy:
            with self.phase("G penalty"):  # of half a batch, as in the authors' code; an update of its own if k > 1
                n = -(-len(z) // 2)
                found, more = self.gradients(self.g_penalty, self.G, self.latents(n), self.labels(n))
                self.g_optimizer.step(found if k > 1 else added(gradients, found))
            self.average_path = xp.array(more["path_length"])  # a copy: the number is yet to be read
            numbers = more | numbers
        return numbers

    def lazy_path(self):
        """Does the next step have a penalty on path lengths?"""
        return bool(self.settings.path_length) and not self.step % self.settings.path_every

    def g_penalty(self, z, labels):
        """(G's lazy penalty, the numbers to log, the new average length of paths among them)."""
        penalty, average = penalties.path_length(self.G.synthesis, self.G.styles(z, labels), self.average_path, self.rng)
        weight = self.settings.path_length * self.settings.path_every
        return penalty * float(weight), {"path_penalty": number(penalty.data), "path_length": number(average)}

    def g_loss(self, reals, real_labels, fakes, z, labels):
        """(what G minimises, the numbers to log)."""
        fakes = call(self.G, z, labels) if fakes is None else fakes
        fake_logits, fake_classes = self.judge(fakes, labels, real=False, d_step=False)
        real_logits = None
        if self.loss.paired:
            with no_grad():
                real_logits, _ = self.judge(Tensor(reals), real_labels, real=True, d_step=False)
        loss = self.loss.generator(real_logits, fake_logits)
        numbers = {"g_loss": number(loss.data)}
        if fake_classes is not None:
            class_loss = cross_entropy(fake_classes, labels)
            numbers["g_class"] = number(class_loss.data)
            loss = loss + self.settings.class_weight * class_loss
        return self.orthogonal(loss, self.G), numbers

    def judge_both(self, reals, real_labels, fakes, fake_labels):
        """`judge` of the reals and of the fakes. One pass of both together is faster, but where D compares images
        (batch-norm, minibatch stddev) they would see each other: then they go one by one, as DCGAN's do."""
        if self.apart:
            return self.judge(Tensor(reals), real_labels, True), self.judge(fakes, fake_labels, False)
        n = len(reals)
        images = Tensor(xp.concatenate([self.augment(Tensor(reals), True).data, self.augment(fakes, False).data]))
        both = self.score(images, xp.concatenate([real_labels, fake_labels]) if self.conditional else None)
        return [[None if part is None else part[half] for part in both] for half in (slice(0, n), slice(n, None))]

    def judge(self, x, labels, real, d_step=True):
        """`score` of images x, which are reals or not, of D's step or of G's, through the augmentation."""
        return self.score(self.augment(x, real, d_step), labels)

    def score(self, x, labels):
        """D's (logits, class logits) on images x; the second is None where D does not guess the class."""
        output = call(self.D, x, labels if self.conditional else None)
        return output if isinstance(output, tuple) else (output, None)


def variety(images):
    """How much the images (N, H, W, C) of all ranks differ: the root of the mean variance of a pixel."""
    centre = ranks.mean(images.mean(0))
    return xp.sqrt(ranks.mean(xp.square(images - centre).mean()))


def read(numbers):
    """Numbers to log as floats: on a GPU, this waits for the step."""
    return {key: float(value) for key, value in numbers.items()}


def make_optimizer(s, network, lr, lazy=1):
    """The optimiser of a network. lazy: k, where a penalty is minimised at every k-th step only, as an extra step.

    k + 1 steps then do the work of k, so the rate and the decays become those of k / (k + 1) steps (Karras et al.
    2020b, section 3.1).
    """
    share = lazy / (lazy + 1) if lazy > 1 else 1
    if s.optimizer == "rmsprop":
        return RMSprop(network.parameters(), lr * share, s.beta2 ** share, s.eps)
    return Adam(network.parameters(), lr * share, (s.beta1 ** share, s.beta2 ** share), s.eps)
