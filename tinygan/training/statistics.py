"""Statistics of a step for the log: D's logits, and the variety of G's images."""

from tinygan import batch
from tinygan.backend import float_on_cpu, xp
from tinygan.ops import sigmoid


def logit_statistics(loss, real, fake):
    """Return the numbers to log about D's logits on reals and on fakes (constant Tensors).

    d_real and d_fake are D's mean probability that an image is real, if the loss defines one,
    otherwise the mean logit. `overfitting` returns the other numbers.
    """
    output = sigmoid if loss.probability else lambda logits: logits
    return {
        "d_real": float_on_cpu(output(real).mean().data),
        "d_fake": float_on_cpu(output(fake).mean().data),
        **overfitting(loss, real.data, fake.data),
    }


def overfitting(loss, real, fake):
    """Return D's mean logits, r_t and d_accuracy, given the logits on reals and on fakes (arrays).

    r_t is the mean of sign(logit - threshold) over the reals (Karras et al. 2020a, equation 1). The
    threshold is that of the loss: 0, or .5 for l1 and l2. Where only differences between logits
    have a meaning, it is midway between the means of reals and fakes. d_accuracy is the share
    of all images that D classifies correctly.
    """
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
    """Return how much images (N, H, W, C) differ: the root of the mean variance of a pixel."""
    mean_image = batch.mean(images.mean(0))
    return xp.sqrt(batch.mean(xp.square(images - mean_image).mean()))


def relative_variety(fakes, reals):
    """Return the variety of fakes divided by that of reals, or by 1e-6 if all reals are alike."""
    return float_on_cpu(variety(fakes) / xp.maximum(variety(reals), 1e-6))


def to_floats(numbers: dict) -> dict:
    """Return the numbers to log as floats. On a GPU, this waits for the step."""
    return {key: float(value) for key, value in numbers.items()}
