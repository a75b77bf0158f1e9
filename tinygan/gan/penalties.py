"""Penalties: what is added to the loss of D, or of G, to keep it smooth; weight clipping, and orthogonal regularisation.

Those on the slope of D are means over the batch of a function of |grad D(x)|, the length of the gradient of D's logit at an image x
(of its mean logit, where D gives a grid of them). Their own gradient needs second derivatives of D.

    r1        1/2 |grad D(real)|^2                        Mescheder et al. 2018, equation 9; times gamma
    r2        1/2 |grad D(fake)|^2                        the same, equation 10
    wgan_gp   (|grad D(real + a (fake - real))| - 1)^2    Gulrajani et al. 2017, equation 3; a ~ U(0, 1) for each image

    path_length  (|J'y| - a)^2                            of G: Karras et al. 2020b, equation 4

In the first three, `D` is a function from images alone to logits (a condition is bound by the caller), and must judge each
image by itself: through batch-norm in D, the slopes of the whole batch mix (the sum is still taken).
"""

from tinygan.autograd import Tensor, grad
from tinygan.backend import normal, uniform, xp
from tinygan.nn import Conv2d, ConvTranspose2d, Linear, SpectralNorm
from tinygan.nn.spectral import matrix
from tinygan.ops import matmul, mean, mean_over_shares, norm, square, sum


def slopes(D, x):
    """The gradient of D(x[n]) at each image x[n] of the array x (N, ...): a Tensor (N, ...), differentiable again."""
    x = Tensor(x, requires_grad=True)
    logits = D(x)
    return grad(sum(logits) * (len(x) / logits.size), x, create_graph=True)


def r1(D, reals):
    """Half the squared slope of D at the array `reals` (N, ...), mean over the batch: a number."""
    return sum(square(slopes(D, reals))) * (0.5 / len(reals))


def r2(D, fakes):
    """As `r1`, at the array `fakes`."""
    return r1(D, fakes)


def wgan_gp(D, reals, fakes, rng):
    """How far D's slope is from 1, squared, at a random point between each real and its fake (arrays (N, ...))."""
    share = uniform(rng, 0, 1, (len(reals),) + (1,) * (reals.ndim - 1), reals.dtype)
    slope = slopes(D, reals + share * (fakes - reals))
    return mean(square(norm(slope, tuple(range(1, slope.ndim))) - 1.0))


def path_length(synthesis, ws, average, rng, decay=0.01):
    """(how uneven the lengths are by which images move when styles do, the new average of these lengths).

    synthesis: a function from styles ws (N, L, size), a Tensor of a graph, to images (N, H, W, C). The length of each
    image is |J'y| / sqrt(L), where J are the slopes of the image in its styles, and y is an image of noise, N(0, 1 / HW);
    the penalty is the mean of (length - a)^2. a = (1 - decay) average + decay (mean length), through which the gradient
    flows too; the second result is its value, an array of no dimensions.
    """
    images = synthesis(ws)
    n, height, width, _ = images.shape
    noise = normal(rng, images.shape, images.dtype) * (height * width) ** -0.5
    slope = grad(sum(images * noise), ws, create_graph=True)
    lengths = norm(slope, (1, 2)) * ws.shape[1] ** -0.5
    average = average + (mean_over_shares(mean(lengths)) - average) * decay
    return mean(square(lengths - average)), average.data


def clip_weights(parameters, limit) -> None:
    """Clip every weight to [-limit, limit] (Arjovsky et al. 2017, algorithm 1)."""
    for parameter in parameters:
        parameter.assign(xp.clip(parameter.data, -limit, limit))


def orthogonal(network):
    """1/2 |W'W * (1 - I)|^2, summed over the network's layers: how far the columns of their weights, as matrices W
    (inputs, outputs), are from being orthogonal; of any length (Brock et al. 2019, equation 3; the half is their code's).

    Counts linear and convolutional layers, and embeddings that are spectrally normalised, as BigGAN's D has one (G's
    shared embedding is left out there).
    """
    layers = {id(m): m for _, m in network.modules() if isinstance(m, (Linear, Conv2d, ConvTranspose2d))}
    layers |= {id(m.layer): m.layer for _, m in network.modules() if isinstance(m, SpectralNorm)}
    total = 0.0
    for layer in layers.values():
        w = matrix(layer, layer.weight)
        gram = matmul(w.T, w)
        apart = 1 - xp.eye(len(gram.data), dtype=gram.dtype)
        total = total + sum(square(gram * apart)) * 0.5
    return total
