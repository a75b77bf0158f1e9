"""What a step tells of itself: how D judges, and how much G's images vary. All of it goes into the
log."""

from tinygan import batch
from tinygan.backend import float_on_cpu, xp
from tinygan.ops import sigmoid


def judgements(loss, real, fake):
    """The numbers to log of D's logits on reals and on fakes (constant Tensors): d_real and d_fake,
    the mean probability that an image is real where a loss has one, otherwise the mean logit; and
    those of `overfitting`."""
    output = sigmoid if loss.probability else lambda logits: logits
    return {
        "d_real": float_on_cpu(output(real).mean().data),
        "d_fake": float_on_cpu(output(fake).mean().data),
        **overfitting(loss, real.data, fake.data),
    }


def overfitting(loss, real, fake):
    """D's mean logits, from arrays of them, and r_t: the mean sign of those of reals (Karras et al.
    2020a, equation 1); for l1 and l2, of what they are above .5; where only differences count,
    above the middle between reals and fakes. And d_accuracy, the share of all images that D tells
    right."""
    means = float_on_cpu(real.mean()), float_on_cpu(fake.mean())
    threshold = loss.threshold
    if threshold is None:
        threshold = sum(map(batch.mean, means)) / 2
    r_t, f_t = (xp.sign(logits - threshold).mean() for logits in (real, fake))
    return {
        "logit_real": means[0],
        "logit_fake": means[1],
        "r_t": float_on_cpu(r_t),
        "d_accuracy": float_on_cpu((2 + r_t - f_t) / 4),
    }


def variety(images):
    """How much images (N, H, W, C) differ: the root of the mean variance of a pixel."""
    centre = batch.mean(images.mean(0))
    return xp.sqrt(batch.mean(xp.square(images - centre).mean()))


def relative_variety(fakes, reals):
    """The variety of fakes as a share of that of reals, which may all be black."""
    return float_on_cpu(variety(fakes) / xp.maximum(variety(reals), 1e-6))


def read(numbers):
    """Numbers to log as floats: on a GPU, this waits for the step."""
    return {key: float(value) for key, value in numbers.items()}
