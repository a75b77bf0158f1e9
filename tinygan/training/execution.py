"""How a step is executed: what algorithm.py says, on one process or several, whole or in parts, op
by op or recorded.

The gradients of a batch are the mean of those of its parts, if it is worked through in
micro-batches, and of those of all ranks, if it is shared out to several processes (ranks.py). On a
GPU, a step whose operations are always the same is recorded once and launched as a whole from then
on (kernels/cuda/graphs.py). No other file of training knows of any of these, but for trainer.py,
which has the ranks begin and end together.
"""

import contextlib
import math
import os
import time

from tinygan import kernels
from tinygan.autograd import Tensor, grad, no_grad
from tinygan.backend import asarray, float_on_cpu, from_host, in_host_memory, xp
from tinygan.data import to_float
from tinygan.errors import InputError
from tinygan.gan.conditioning import call_with_labels
from tinygan.kernels import optim as kernel
from tinygan.kernels.cpu import parallel
from tinygan.models.growth import at_lod
from tinygan.nn import MinibatchStddev
from tinygan.nn.spectral import power_vectors, restore

from . import health, ranks


class Execution:
    """Executes the steps of an Algorithm. seconds: {part of a step: time spent in it so far, by
    Python}; what a GPU launches as a whole is not in there."""

    def __init__(self, algorithm):
        self.algorithm, self.seconds = algorithm, {}
        self.graphs = None  # where steps are recorded
        self.data = ()  # images and labels of the data set
        self.drawn = ()  # latents and labels of the last fakes

    def generator(self, seed):
        """A numpy Generator. Its draws for each image of a batch are those of the images of this
        rank."""
        return ranks.Generator(seed)

    @contextlib.contextmanager
    def clock(self, part):
        """Count the time within as that of a part of the step: "data"; "fakes", G's forward pass;
        the gradients of "D", of "G", and of their lazy penalties; "average"; "held out"."""
        start = time.perf_counter()
        yield
        self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - start

    # A step

    def run_step(self, update):
        """The numbers that update() returns: with a share of the batch on each rank; on a GPU,
        recorded and launched again."""
        a = self.algorithm
        with ranks.sharing_batches():
            numbers = self.record(update) if kernels.records_steps() else update()
        for network in (a.G, a.D):
            network.mark_changed()  # a recorded step does not say so
        a.ema.module.copy_buffers(a.G)
        return numbers

    def record(self, update):
        """Record update() or, if a step with the same operations was recorded, launch that."""
        if self.graphs is None:
            from tinygan.kernels.cuda.graphs import Graphs

            self.graphs = Graphs(self.rebound)
        return self.graphs.run(self.graph_key(), update)

    def graph_key(self):
        """What decides which operations the next step consists of; None where its random draws do."""
        a, s, pipe = self.algorithm, self.algorithm.settings, self.algorithm.augment.pipe
        n, updates, every = a.batch_size, s.updates_of_D(a.step), a.objectives.penalty_every
        if 0 < s.micro_batch < n or pipe and not pipe.fixed_operations:
            return None
        due = [(a.d_updates + i) % every("D") == 0 for i in range(updates)]
        due.append(a.step % every("G") == 0)
        level = (math.floor(a.lod), a.lod % 1 > 0) if a.growth else ()
        return n, updates, tuple(due), level, bool(pipe and getattr(pipe, "p", 1))

    def rebound(self):
        """[(owner, attribute)] of the arrays that a step replaces, rather than writes into."""
        a = self.algorithm
        slots = [
            (owner, name) for network in (a.G, a.D) for _, owner, name in network.buffer_slots()
        ]
        state = a.objectives.penalty_state
        return slots + [(state, name) for name in vars(state)]

    def forget(self):
        """Forget the recorded steps, when arrays that they work on have been replaced."""
        self.graphs = None

    # What a step works on

    def upload(self, dataset):
        """Bring the images of a Dataset to where the computing is done."""
        self.data = asarray(dataset.images), asarray(dataset.labels)

    def reals(self, i):
        """(images, labels) of this rank's share of the i-th batch from here in the stream of reals."""
        a, n = self.algorithm, self.algorithm.batch_size
        with self.clock("data"):
            chosen = from_host(lambda: ranks.share(a.dataset.chosen(a.images // n + i, n, a.seed)))
            images, labels = (array[chosen] for array in self.data)
            return to_float(images), labels

    def fakes(self, z, labels, for_G):
        """The Fakes of latents. In parts, only one part's graph should be there at a time: then G,
        to learn from them, draws the same ones again."""
        a, parts = self.algorithm, 0 < self.algorithm.settings.micro_batch < len(z)
        self.drawn = z, labels
        before = power_vectors(a.G), a.rng.bit_generator.state
        with self.clock("fakes"):
            if for_G and not parts:
                return Fakes(a.G, z, labels, graph=call_with_labels(a.G, z, labels))
            return Fakes(a.G, z, labels, images=self.draw(z, labels), before=before)

    def draw(self, z, labels):
        """G's images of latents, a constant Tensor; a micro-batch at a time."""
        a, size, parts = self.algorithm, self.algorithm.settings.micro_batch or len(z), []
        vectors = power_vectors(a.G)
        with no_grad():
            for i in range(0, len(z), size):
                restore(vectors)
                part = None if labels is None else labels[i : i + size]
                parts.append(call_with_labels(a.G, z[i : i + size], part).data)
        return Tensor(xp.concatenate(parts))

    def average(self, ema, decay):
        """Move G's average on; decay: a function, which a recorded step calls anew."""
        with self.clock("average"):
            ema.update(self.algorithm.G, decay)

    # Gradients

    def gradients(self, part, network, objective, *batch):
        """(gradients, numbers) of objective(*batch) -> (loss, numbers). In short:

            loss, numbers = objective(*batch)
            return grad(loss, network.parameters()), numbers

        The rest is for batches that are worked through in parts, of micro_batch images, or that
        several ranks share, for which loss and numbers must be means over the batch; and for what
        is not finite: then, on a CPU at once, it raises Diverged. part: of the step, for the clock.
        """
        with self.clock(part), self.as_drawn(batch):
            a, before = self.algorithm, self.random_state()
            drawn = lambda x: x.with_graph() if isinstance(x, Fakes) else x
            of_part = lambda *part: objective(*map(drawn, part))
            parts = split(batch, a.settings.micro_batch)
            vectors = power_vectors(a.G, a.D) if len(parts) > 1 else []
            gradients, numbers = accumulated(
                of_part, network.parameters(), parts, lambda: restore(vectors)
            )
            gradients, numbers = averaged(gradients), ranks.mean_numbers(numbers)
            if a.settings.sanitize:
                gradients = sanitized(gradients)
            norm = kernel.norm([g.data for g in gradients if g is not None])
            numbers["d_grad_norm" if network is a.D else "g_grad_norm"] = norm
            known = all(map(in_host_memory, numbers.values()))
            if known and not all(map(math.isfinite, numbers.values())):
                self.random_state(before)  # so that the same comes again
                found = self.explain(of_part, network, parts, gradients, numbers)
                raise health.diverged(a.step + 1, found, on_all_ranks=True)
            return gradients, numbers

    @contextlib.contextmanager
    def as_drawn(self, batch):
        """Within, fakes of the batch that have to be drawn again come out the same: from the random
        numbers, and the power vectors, that there were before."""
        rng, now = self.algorithm.rng.bit_generator, None
        for x in batch:
            if isinstance(x, Fakes) and x.before:
                now = rng.state
                vectors, rng.state = x.before
                restore(vectors)
        yield
        if now:
            rng.state = now

    def random_state(self, state=None):
        """The states of all generators of random numbers; or bring them to those of an earlier
        call."""
        generators = self.algorithm.rng, self.algorithm.augment.rng
        if state is None:
            return [generator.bit_generator.state for generator in generators]
        for generator, value in zip(generators, state):
            generator.bit_generator.state = value

    def explain(self, objective, network, parts, gradients, numbers):
        """What is not finite in the gradients, or the numbers, of an objective, in words; the same
        on all ranks."""
        a, found = self.algorithm, ""
        networks = {"G": a.G, "D": a.D}
        if weight := health.first_of(health.weights(networks)):
            return f"the weight {weight}"
        with ranks.sharing_batches(False):  # one may stop where another goes on
            draw_again = lambda: self.drawn and call_with_labels(a.G, *self.drawn)
            found = health.op_at_fault(networks, objective, network, parts, draw_again)
        return ranks.first(found) or health.result_at_fault(networks, network, gradients, numbers)

    # Looking without touching

    def held_out_logit(self, images, labels):
        """D's mean logit on images (N, H, W, C) that it never learns from, as it sees the reals.
        Changes nothing."""
        a = self.algorithm
        state, buffers = a.rng.bit_generator.state, a.D.buffers()
        with self.clock("held out"), no_grad(), ranks.sharing_batches():
            images, labels = asarray(ranks.share(images)), ranks.share(labels)
            images = Tensor(at_lod(images, a.lod) if a.growth else images)
            rng = ranks.Generator([a.seed, a.step, 7])
            logits, _ = a.objectives.score(a.augment(images, real=True, rng=rng), labels)
            mean = ranks.mean(logits.mean().data)
        a.D.set_buffers(buffers)
        a.rng.bit_generator.state = state  # dropout draws from it
        return float_on_cpu(mean)

    def check_ranks(self):
        """Raises InputError if the ranks have read different checkpoints."""
        step = self.algorithm.step
        if ranks.largest(step) != -ranks.largest(-step):
            error = InputError(
                "the ranks have read different checkpoints: do all see the same folder?"
            )
            error.on_all_ranks = True
            raise error

    def share_weights(self):
        """Bring all ranks to the weights of the first: what they drew or read themselves could
        differ in a last bit. Those on one machine share its cores."""
        if ranks.size > 1:
            if "TINYGAN_NUM_THREADS" not in os.environ:
                own = parallel.cores() // ranks.beside()
                parallel.set_num_threads(max(1, min(parallel.num_threads(), own)))
            a = self.algorithm
            for network in (a.G, a.D, a.ema.module):
                network.mark_changed()
                ranks.broadcast([p.data for p in network.parameters()] + network.buffers())


class Fakes:
    """G's images of latents z (n, latent) and labels. D learns from their values, `images`; then G
    learns through their graph, or, where none was kept, through the same images drawn again, as
    things were `before`."""

    def __init__(self, G, z, labels, graph=None, images=None, before=None):
        self.G, self.z, self.labels, self.graph, self.before = G, z, labels, graph, before
        self.images = graph.detach() if images is None and graph is not None else images

    def __len__(self):
        return len(self.z)

    def __getitem__(self, part):
        return Fakes(self.G, self.z[part], None if self.labels is None else self.labels[part])

    def with_graph(self):
        """The images as a Tensor with its graph; drawn again if there is none, or if it was handed
        out already."""
        graph, self.graph = self.graph, None
        return call_with_labels(self.G, self.z, self.labels) if graph is None else graph


def most_judged(algorithm, there):
    """How many of `there` images D can judge at once, at most a batch, or a micro-batch; 0 if they
    are too few."""
    s = algorithm.settings
    n = min(s.micro_batch or s.batch_size, there)
    for group in group_sizes(algorithm.D):
        n -= n % (min(group, n) * ranks.size)
    n -= n % ranks.size
    return n if n > ranks.size else 0


def check_batches(algorithm):
    """Raises InputError for batches that are larger than the data set, or cannot be divided as they
    have to be."""
    a, s = algorithm, algorithm.settings
    for n in {s.batch_size, *(a.growth.batch_sizes.values() if a.growth else ())}:
        if n > len(a.dataset):
            raise InputError(
                f"batch_size {n}: more than the {len(a.dataset):,} images of {a.dataset.name}"
            )
        if n % ranks.size or n < 2 * ranks.size:
            raise InputError(
                f"batches of {n} are shared out to {ranks.size} ranks: choose a "
                "multiple of that for batch_size, at least two images for each"
            )
        whole, n = n, n // ranks.size
        parts = {min(s.micro_batch or n, n), n % s.micro_batch if s.micro_batch else n} - {0}
        if 1 in parts:
            raise InputError(
                f"micro_batch={s.micro_batch} leaves one image of a batch of {n}: choose a divisor"
            )
        for group in group_sizes(a.D):
            of_all = min(group, whole) if ranks.size > 1 else 1
            if any(m % size for m in parts for size in (min(group, m), of_all)):
                raise InputError(
                    f"batches of {n}: this D compares images in groups of {group}: "
                    "choose a multiple of that for batch_size and micro_batch"
                )


def group_sizes(D):
    """How many images are compared with each other, in each layer of D that does so."""
    return [module.group_size for _, module in D.modules() if isinstance(module, MinibatchStddev)]


def split(batch, size):
    """The parts of a batch, which is a list of Tensors, arrays, Fakes or None, of `size` images
    each (0: all)."""
    n = len(batch[0])
    if not 0 < size < n:
        return [batch]
    return [
        [None if x is None else x[start : start + size] for x in batch]
        for start in range(0, n, size)
    ]


def accumulated(objective, parameters, parts, before_each):
    """(gradients, numbers) of objective(*part) -> (loss, numbers), the mean of all parts.

    Only one part's activations are in memory at a time. The sum is that of the whole batch, to
    rounding, if each image is judged by itself. Through batch-norm it is not: its mean and variance
    are then those of each part, and so are the groups of minibatch stddev, and the layer from which
    on styles are mixed; path lengths are compared with an average that their own part has moved.
    Augmentation draws anew for each part. Spectral normalisation makes one power step for all, if
    before_each brings its vectors back.
    """
    n = sum(len(part[0]) for part in parts)
    total, numbers = None, {}
    for part in parts:
        before_each()
        share = len(part[0]) / n
        loss, found = objective(*part)
        gradients = grad(loss if share == 1 else loss * share, parameters)
        total = gradients if total is None else added(total, gradients)
        for key, value in found.items():
            numbers[key] = value if share == 1 else numbers.get(key, 0.0) + share * value
    return total, numbers


def averaged(gradients):
    """The means over ranks of gradients, of which each may be None."""
    if ranks.count() == 1:
        return gradients
    means = ranks.mean_of([None if g is None else g.data for g in gradients])
    return [None if mean is None else Tensor(mean) for mean in means]


def added(gradients, others):
    """Gradients of two losses, of which each may be None, as those of their sum."""
    return [
        a if b is None else b if a is None else Tensor(a.data + b.data)
        for a, b in zip(gradients, others)
    ]


def sanitized(gradients):
    """Gradients without NaN, which becomes 0, and infinities, +-1e5 (StyleGAN2-ADA's only
    clipping)."""
    return [
        g if g is None else Tensor(xp.nan_to_num(g.data, nan=0.0, posinf=1e5, neginf=-1e5))
        for g in gradients
    ]
