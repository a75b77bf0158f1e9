"""Penalties that take no gradient at images or latents: those on D's logits, and on weights. The
table of all penalties is in penalties.py.
"""

from typing import Any, Callable

from tinygan.autograd import Parameter, Tensor, wrap
from tinygan.backend import Rng, xp
from tinygan.nn import Conv2d, ConvTranspose2d, Embedding, Linear, Module, SpectralNorm
from tinygan.nn.spectral import matrix
from tinygan.ops import matmul, mean, mean_over_shares, square, sum

from .augment.diffaug import translation


def drift(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return the mean square of D's logits on reals. D's Wasserstein loss does not change if a
    constant is added to all logits; this term keeps them near 0."""
    return mean(square(real_logits))


def consistency(D: Callable[[Tensor], Tensor], images: Tensor, logits: Tensor, rng: Rng) -> Tensor:
    """Return the mean of (D(x) - D(T(x)))^2 over a batch of images x (N, H, W, C), whose logits
    D(x) are known.

    T shifts each image by whole pixels, by up to an eighth of its size in each direction. The
    papers also mirror half of the images, which would make a 2 of some 5s: T does not. The
    uncovered pixels become black, as the background of digits is: grey ones, those of DiffAugment,
    would teach D to overlook grey bars.
    """
    shifted = translation(images + 1.0, rng) - 1.0
    return mean(square(logits - D(shifted)))


def lecam(
    real_logits: Tensor,
    fake_logits: Tensor,
    average_real: Any,
    average_fake: Any,
    decay: float = 0.99,
) -> tuple[Tensor, Any, Any]:
    """Return the mean of (D(real) - a_F)^2 plus that of (D(fake) - a_R)^2, and the new a_R and a_F.

    a_R and a_F are running means of D's logits on reals and on fakes, so each logit is pulled to
    where the other kind has been. Both are arrays of no dimensions; 0 stands for a mean that is not
    known yet: its term is 0, and the new one is the mean of this batch.

    This is the paper's formula. The authors' code counts only reals above a_F and fakes below a_R
    (most are), and its means include the present batch. Here they are those before it, which do not
    depend on D's weights, so that the gradient is exact.

    The authors' weights are .3 for BigGAN, whose loss is hinge, but 3e-7 to 1e-6 for StyleGAN2,
    whose loss is a cross-entropy. `quick`, with a cross-entropy on MNIST, learned with .01 and .1;
    with .3, its G lost its variety.
    """
    total, averages = 0.0, (average_real, average_fake)
    for logits, average in zip((real_logits, fake_logits), averages[::-1]):
        known = (average != 0).astype(logits.dtype)
        total = total + mean(square(logits - wrap(average.astype(logits.dtype)))) * wrap(known)

    def moved(average, logits):
        present = mean_over_shares(mean(logits.detach())).data
        average = average.astype(present.dtype)
        return xp.where(average == 0, present, average + (present - average) * (1 - decay))

    return total, moved(average_real, real_logits), moved(average_fake, fake_logits)


def orthogonal(network: Module) -> Tensor:
    """Return 1/2 |the off-diagonal entries of W^T W|^2, summed over the network's layers.

    W is a layer's weight as a matrix (inputs, outputs). The penalty pulls its columns towards
    orthogonality, but leaves their lengths free (Brock et al. 2019, equation 3; the factor 1/2 is
    from the authors' code). It covers linear and convolutional layers and embeddings, such as those
    of conditional batch-norm and of D. As in the authors' code, the embedding of the class that
    enters G beside z is left out.
    """
    kinds = Linear, Conv2d, ConvTranspose2d, Embedding
    modules = [module for _, module in network.modules()]
    beside_z = {
        id(part)
        for module in modules
        if hasattr(module, "latent")
        for _, part in module.children()
        if isinstance(part, Embedding)
    }
    layers = {id(m): m for m in modules if isinstance(m, kinds) and id(m) not in beside_z}
    layers |= {id(m.layer): m.layer for m in modules if isinstance(m, SpectralNorm)}
    total = 0.0
    for layer in layers.values():
        w = matrix(layer, layer.weight)
        gram = matmul(w.T, w)
        off_diagonal = 1 - xp.eye(len(gram.data), dtype=gram.dtype)
        total = total + sum(square(gram * off_diagonal)) * 0.5
    return total


def clip_weights(parameters: list[Parameter], limit: float | Tensor) -> None:
    """Clip every weight to [-limit, limit]. limit: a number, or a Tensor of no dimensions.

    Frozen ones stay as they are. This is a constraint, not a penalty. It is in the table because it
    has a setting, too.
    """
    high = limit.data if isinstance(limit, Tensor) else limit
    for parameter in parameters:
        if parameter.requires_grad:
            parameter.assign(xp.clip(parameter.data, -high, high))
