"""How the steps of algorithm.py are executed: in micro-batches, on several processes, recorded.

If a batch is processed in micro-batches, its gradient is the mean of theirs; if it is divided among
several processes, the mean of the gradients of all ranks (ranks.py). A step whose operations are
always the same is recorded, and replayed from then on (recorded.py). The other files of training
know nothing of this, except for trainer.py, where the ranks begin and end together.
"""

import contextlib
import math
import os
import time

from tinygan.autograd import Tensor, grad, no_grad, wrap
from tinygan.backend import asarray, float_on_cpu, from_host, when_readable, xp
from tinygan.data import to_float
from tinygan.errors import InputError
from tinygan.gan.conditioning import call_with_labels
from tinygan.kernels import optim
from tinygan.kernels.cpu import parallel
from tinygan.models.growth import at_lod
from tinygan.nn.spectral import power_vectors, restore_power_vectors
from tinygan.recorded import RecordedSteps

from . import health, ranks, recordable


class Execution:
    """Executes the steps of an Algorithm.

    seconds: {phase of a step: the time that has been spent in it}. The time of recorded steps on a
    GPU, which are replayed as a whole, is not included.
    """

    def __init__(self, algorithm):
        self.algorithm, self.seconds = algorithm, {}
        self.recorded = RecordedSteps(
            lambda: (algorithm.G, algorithm.D),
            lambda: recordable.replaced_attributes(algorithm),
            lambda: recordable.keep_state(algorithm),
        )
        self.data = ()  # (images, labels) of the data set
        self.states = {}  # {phase: the random state at its last beginning}
        self.last_fake_inputs = ()  # (latents, labels) of the last fakes

    def generator(self, seed):
        """Return a numpy Generator whose draws for a batch are those of this rank's images."""
        return ranks.Generator(seed)

    @contextlib.contextmanager
    def clock(self, phase):
        """Add the time of the block to that of a phase: "data"; "fakes" (G's forward pass); the
        gradients of "D", "G", "D penalty" and "G penalty"; "average", the update of G's average;
        "held out", D's logit on held-out images."""
        start = [0.0]

        def begin():
            start[0] = time.perf_counter()
            return True

        def end():
            self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - start[0]
            return True

        when_readable(begin, None)
        yield
        when_readable(end, None)

    # A step

    def run_step(self, update):
        """Execute a step. update: a function that computes it on this rank's share of the batch,
        and returns the numbers to log. It is recorded, and replayed from then on."""
        a = self.algorithm
        kind = recordable.kind_of_step(a) if ranks.size == 1 else None
        with ranks.sharing_batches():
            numbers = self.recorded.run(kind, update)
        for network in (a.G, a.D):
            network.mark_changed()  # because a recorded step does not do so
        a.ema.module.copy_buffers(a.G)
        return {name: float_on_cpu(value) for name, value in numbers.items()}

    def forget_recorded_steps(self):
        """Discard the recorded steps, because arrays that they use have been replaced."""
        self.recorded.clear()

    # The data of a step

    def upload(self, dataset):
        """Copy the images and labels of a Dataset to the device in use."""
        self.data = asarray(dataset.images), asarray(dataset.labels)

    def reals(self, i):
        """Return (images, labels) of this rank's share of the batch for the i-th update of D in
        this step."""
        a, n = self.algorithm, self.algorithm.batch_size
        with self.clock("data"):
            place = lambda: (a.images // n + i, n, a.seed, a.settings.balanced_batches)
            indices = from_host(lambda: ranks.share(a.dataset.batch_indices(*place())))
            images, labels = (asarray(array)[indices] for array in self.data)
            return to_float(images), labels

    def fakes(self, z, labels, for_G):
        """Return the Fakes of latents. for_G: whether G will learn from them. If the batch is
        processed in parts, only the graph of one part should be in memory at a time, so no graph is
        kept: G will learn from the same images, generated once more."""
        a, in_parts = self.algorithm, 0 < self.algorithm.settings.micro_batch < len(z)
        self.last_fake_inputs = z, labels
        state_before = power_vectors(a.G), a.rng.bit_generator.state
        with self.clock("fakes"):
            if for_G and not in_parts:
                return Fakes(a.G, z, labels, differentiable=call_with_labels(a.G, z, labels))
            images = self.generate(z, labels)
            return Fakes(a.G, z, labels, images=images, state_before=state_before)

    def generate(self, z, labels):
        """Return G's images of latents as a constant Tensor, one micro-batch at a time."""
        a, size, parts = self.algorithm, self.algorithm.settings.micro_batch or len(z), []
        vectors = power_vectors(a.G)
        with no_grad():
            for i in range(0, len(z), size):
                restore_power_vectors(vectors)
                part = None if labels is None else labels[i : i + size]
                parts.append(call_with_labels(a.G, z[i : i + size], part).data)
        return wrap(xp.concatenate(parts))

    def update_average(self, ema, decay):
        """Update G's average. decay: a function, as `EMA.update` takes it."""
        with self.clock("average"):
            ema.update(self.algorithm.G, decay)

    # Gradients

    def gradients(self, phase, network, objective, *batch):
        """Return the gradients of a loss, and the numbers to log.

        objective: a function that returns (loss, numbers) for a batch. In short, this is

            loss, numbers = objective(*batch)
            return grad(loss, network.parameters()), numbers

        Most of the rest is for batches that are processed in parts or shared among ranks; there,
        loss and numbers must be means over the batch. On a CPU, it also raises Diverged if a number
        is not finite. phase: the name under which the time is counted.
        """
        with self.clock(phase), self.state_of_fakes(batch):
            a = self.algorithm
            when_readable(lambda: self.note_random_state(phase), None)
            with_graph = lambda x: x.differentiable_images() if isinstance(x, Fakes) else x
            part_objective = lambda *part: objective(*map(with_graph, part))
            parts = split(batch, a.settings.micro_batch)
            vectors = power_vectors(a.G, a.D) if len(parts) > 1 else []
            gradients, numbers = accumulate_gradients(
                part_objective, network.parameters(), parts, lambda: restore_power_vectors(vectors)
            )
            gradients, numbers = mean_over_ranks(gradients), ranks.mean_numbers(numbers)
            arrays = [g.data for g in gradients if g is not None]
            norm = (optim.sanitize if a.settings.sanitize else optim.global_norm)(arrays)
            numbers["d_grad_norm" if network is a.D else "g_grad_norm"] = norm
            names = list(numbers)
            batches, gs = plain(parts), plain(gradients)

            def report(*values):
                # The step is run again from the same random state, so that the same fault occurs.
                recordable.random_state(a, self.states[phase])
                found = dict(zip(names, values))
                fault = self.find_fault(part_objective, network, batches, gs, found)
                raise health.diverged(a.step + 1, fault, on_all_ranks=True)

            all_finite = lambda *values: all(map(math.isfinite, values))
            when_readable(all_finite, report, *numbers.values())
            return gradients, numbers

    @contextlib.contextmanager
    def state_of_fakes(self, batch):
        """Go back, while the block runs, to the random numbers and the power vectors with which the
        fakes of a batch were generated, so that they can be generated once more."""
        rng, present_state = self.algorithm.rng.bit_generator, None
        for x in batch:
            if isinstance(x, Fakes) and x.state_before:
                present_state = rng.state
                vectors, rng.state = x.state_before
                restore_power_vectors(vectors)
        yield
        if present_state:
            rng.state = present_state

    def note_random_state(self, phase):
        self.states[phase] = recordable.random_state(self.algorithm)
        return True

    def find_fault(self, objective, network, parts, gradients, numbers):
        """Return a description of the first value that is not finite: a weight, the result of an
        op, or else one of the gradients and numbers. The description is the same on all ranks."""
        a, inputs = self.algorithm, plain(self.last_fake_inputs)
        networks = {"G": a.G, "D": a.D}
        if weight := health.first_not_finite(health.named_weights(networks)):
            return f"the weight {weight}"
        with ranks.sharing_batches(False):  # one rank may find a fault where another finds none
            generate_fakes = lambda: inputs and call_with_labels(a.G, *inputs)
            op = health.find_faulty_op(networks, objective, network, parts, generate_fakes)
        return ranks.first_nonempty(op) or health.find_faulty_result(
            networks, network, gradients, numbers
        )

    # Held-out images

    def held_out_logit(self, images, labels):
        """Return D's mean logit on images (N, H, W, C) that it never learns from, augmented like
        reals. The state of training stays the same."""
        a = self.algorithm
        state, buffers = a.rng.bit_generator.state, a.D.buffers()
        with self.clock("held out"), no_grad(), ranks.sharing_batches():
            images, labels = asarray(ranks.share(images)), ranks.share(labels)
            images = wrap(at_lod(images, a.lod) if a.growth else images)
            rng = ranks.Generator([a.seed, a.step, 7])
            logits, _ = a.objectives.logits(a.augment(images, real=True, rng=rng), labels)
            mean = ranks.mean(logits.mean().data)
        a.D.set_buffers(buffers)
        a.rng.bit_generator.state = state  # in case dropout has drawn from it
        return float_on_cpu(mean)

    # Several ranks

    def check_same_step(self):
        """Raise InputError if the ranks have read different checkpoints."""
        step = self.algorithm.step
        if ranks.maximum(step) != -ranks.maximum(-step):
            raise InputError(
                "the ranks have read different checkpoints: make sure that all see the same folder",
                on_all_ranks=True,
            )

    def broadcast_weights(self):
        """Copy the weights of the first rank to all ranks, because those that each has drawn or
        read could differ in the last bits. Also divide each machine's cores among its ranks."""
        if ranks.size > 1:
            if "TINYGAN_NUM_THREADS" not in os.environ:
                cores = parallel.cores() // ranks.ranks_on_this_machine()
                parallel.set_num_threads(max(1, min(parallel.num_threads(), cores)))
            a = self.algorithm
            for network in (a.G, a.D, a.ema.module):
                network.mark_changed()
                ranks.broadcast([p.data for p in network.parameters()] + network.buffers())


class Fakes:
    """G's images of latents z (n, latent) and labels.

    D learns from `images`, a constant Tensor. G learns from `differentiable_images()`, which has
    G's graph. If no graph was kept, the images are generated once more; `state_before` is the state
    (power vectors, random numbers) from which they come out the same.
    """

    def __init__(self, G, z, labels, differentiable=None, images=None, state_before=None):
        self.G, self.z, self.labels = G, z, labels
        self.differentiable, self.state_before = differentiable, state_before
        self.images = images if differentiable is None else differentiable.detach()

    def __len__(self):
        return len(self.z)

    def __getitem__(self, part):
        return Fakes(self.G, self.z[part], None if self.labels is None else self.labels[part])

    def differentiable_images(self):
        """Return the images as a Tensor with its graph. They are generated once more if there is no
        graph, or if an earlier call has returned it (a graph is used only once)."""
        images, self.differentiable = self.differentiable, None
        return call_with_labels(self.G, self.z, self.labels) if images is None else images


def plain(x):
    """Return x, a batch or its parts, with plain arrays in place of those of a recorded step."""
    if isinstance(x, (list, tuple)):
        return type(x)(map(plain, x))
    if isinstance(x, Fakes):
        return Fakes(x.G, plain(x.z), plain(x.labels))
    if isinstance(x, Tensor):
        return wrap(plain(x.data))
    return getattr(x, "array", x)


def split(batch, size):
    """Split a batch, a list of Tensors, arrays, Fakes or None, into parts of `size` images each
    (0: one part)."""
    n = len(batch[0])
    if not 0 < size < n:
        return [batch]
    return [
        [None if x is None else x[start : start + size] for x in batch]
        for start in range(0, n, size)
    ]


def accumulate_gradients(objective, parameters, parts, before_each):
    """Return the gradients of objective(*part) -> (loss, numbers), and the numbers, as means over
    the parts of a batch. before_each: a function to call before each part.

    Only the activations of one part are in memory at a time. The result is that of the whole batch,
    up to rounding, if the network processes each image independently. Otherwise it differs:
    batch-norm and minibatch stddev use the statistics of each part; packs hold images of one part;
    style mixing begins at another layer in each part; path lengths are compared with a running mean
    that their own part has moved; augmentation draws for each part. Spectral normalisation makes
    one power step for all parts if before_each restores its vectors.
    """
    n = sum(len(part[0]) for part in parts)
    total, means = None, {}
    for part in parts:
        before_each()
        share = len(part[0]) / n
        loss, numbers = objective(*part)
        gradients = grad(loss if share == 1 else loss * share, parameters)
        total = gradients if total is None else sum_gradients(total, gradients)
        for key, value in numbers.items():
            means[key] = value if share == 1 else means.get(key, 0.0) + share * value
    return total, means


def mean_over_ranks(gradients):
    """Return the means of the gradients over ranks. A gradient may be None, on all ranks."""
    if ranks.shares() == 1:
        return gradients
    means = ranks.mean_of([None if g is None else g.data for g in gradients])
    return [None if mean is None else wrap(mean) for mean in means]


def sum_gradients(gradients, others):
    """Return the gradients of the sum of two losses, given the gradients of each. None means 0."""
    return [
        a if b is None else b if a is None else wrap(a.data + b.data)
        for a, b in zip(gradients, others)
    ]
