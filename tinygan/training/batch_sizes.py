"""Which batches can be divided among ranks, micro-batches, packs and the groups of D."""

from tinygan.errors import InputError
from tinygan.nn import MinibatchStddev

from . import ranks


def held_out_batch_size(algorithm, available):
    """Return how many of the `available` held-out images D can score at once: at most a
    micro-batch (without micro-batches, a batch), or 0 if there are too few."""
    s = algorithm.settings
    n = min(s.micro_batch or s.batch_size, available) // s.pack  # of packs
    for group in group_sizes(algorithm.D):
        n -= n % (min(group, n) * ranks.size)
    n -= n % ranks.size
    return n * s.pack if n > ranks.size else 0


def check_batch_sizes(algorithm):
    """Raise InputError for batches that are larger than the data set, or that cannot be divided
    among ranks, micro-batches and the groups of D, or that must not be."""
    a, s = algorithm, algorithm.settings
    if s.unroll and (s.micro_batch or ranks.size > 1):
        found, remedy = (
            (f"micro_batch={s.micro_batch}", "set micro_batch=0")
            if s.micro_batch
            else (f"{ranks.size} ranks", "start one process")
        )
        raise InputError(
            f"setting unroll={s.unroll}: an update of D is simulated on a whole batch, not with "
            f"{found}: {remedy}"
        )
    for n in {s.batch_size, *(a.growth.batch_sizes.values() if a.growth else ())}:
        if n > len(a.dataset):
            raise InputError(
                f"batch_size {n} is more than the {len(a.dataset):,} {a.dataset.unit} of "
                f"{a.dataset.name}: "
                f"choose at most {len(a.dataset)}, with --batch-size"
            )
        if n % ranks.size or n < 2 * ranks.size:
            raise InputError(
                f"a batch of {n} cannot be divided among {ranks.size} ranks: choose a multiple of "
                f"{ranks.size} for batch_size, with at least two images for each rank"
            )
        whole, n = n // s.pack, n // ranks.size
        parts = {min(s.micro_batch or n, n), n % s.micro_batch if s.micro_batch else n} - {0}
        if s.pack > 1 and any(part % s.pack or part == s.pack for part in parts):
            part = max(parts, key=lambda part: (part % s.pack, part == s.pack))
            of_what = "micro-batch" if s.micro_batch else "batch of a rank" * (ranks.size > 1)
            raise InputError(
                f"setting pack={s.pack}: a {of_what or 'batch'} of {part} images "
                + (f"is no multiple of {s.pack}" if part % s.pack else "is a single pack")
                + f": choose a multiple of {s.pack}, at least {2 * s.pack}"
            )
        if 1 in parts:
            raise InputError(
                f"micro_batch={s.micro_batch} makes a part of one image in a batch of {n}: "
                f"choose a divisor of {n}, at least 2"
            )
        for group in group_sizes(a.D):
            over_ranks = min(group, whole) if ranks.size > 1 else 1
            in_packs = [part // s.pack for part in parts]
            if any(m % size for m in in_packs for size in (min(group, m), over_ranks)):
                raise InputError(
                    f"this D compares images in groups of {group * s.pack}, into which a batch of "
                    f"{n} (micro_batch={s.micro_batch}) cannot be divided: choose multiples of "
                    f"{group * s.pack} for batch_size and micro_batch"
                )


def group_sizes(D):
    """Return the sizes of the groups whose images D compares with each other, one for each layer
    that does so."""
    return [module.group_size for _, module in D.modules() if isinstance(module, MinibatchStddev)]
