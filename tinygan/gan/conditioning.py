"""Class conditioning: wrappers that make any pair of networks depend on the class.

    concatenation           G(z, y): an embedding of y beside z. D(x, y): a learned image of y
                            beside x, as one more channel (Mirza and Osindero 2014, cGAN)
    auxiliary classifier    D(x) also predicts the class. It learns to do so from reals and fakes,
                            and G learns from it through its fakes (Odena et al. 2017, AC-GAN)
    projection              D(x, y) = psi(phi(x)) + e_y . phi(x): D decides whether x is a real
                            *seven*, not just whether it is real (Miyato and Koyama 2018,
                            equation 3)
    conditional batch-norm  replaces G's batch-norm: `nn.ConditionalBatchNorm.of_classes`

Classes are given as labels y, integer arrays (N,). `tinygan/models/__init__.py` lists the
attributes that a network needs to be wrapped.
"""

import math

from tinygan import nn, ops
from tinygan.backend import Rng, generator
from tinygan.nn.init import normal


def call_with_labels(network: nn.Module, x, labels=None):
    """Return network(x, labels), or network(x) if labels is None."""
    return network(x) if labels is None else network(x, labels)


class ConcatLatent(nn.Module):
    """A conditional generator: G, which takes latents (N, latent + size), called with z (N, latent)
    and an embedding (N, size) of the labels.

    The embedding comes after z. If G splits its latents among its layers, as BigGAN's does
    (`reads_in_parts`), it comes first, because the first layer needs the class.
    """

    conditional = True

    def __init__(self, G, classes: int, size: int, *, rng: Rng):
        rng = generator(rng)
        self.latent, self.classes = G.latent - size, classes
        self.embedding_first = getattr(G, "reads_in_parts", False)
        self.embedding = nn.Embedding(classes, size, rng=rng)
        self.G = G

    def forward(self, z, labels):
        z = self.expect_shape(z, "N", self.latent, what="latents")
        parts = [z, self.embedding(self.expect_labels(labels, len(z), self.classes))]
        return self.G(ops.concatenate(parts[::-1] if self.embedding_first else parts, axis=1))


class ConcatImage(nn.Module):
    """A conditional discriminator: D, which takes images (N, H, W, C + 1), called with images
    (N, H, W, C) and labels.

    The last channel is an image (H, W) that is learned for each class.
    """

    conditional = True

    def __init__(self, D, classes: int, image_size: tuple[int, int], *, rng: Rng):
        rng = generator(rng)
        self.embedding = nn.Embedding(classes, math.prod(image_size), rng=rng)
        self.plane = nn.Reshape(*image_size, 1)
        self.D, self.classes = D, classes
        self.image_shape = (*image_size, D.image_shape[2] - 1)

    def forward(self, x, labels):
        x = self.expect_shape(x, "N", *self.image_shape, what="images")
        plane = self.plane(self.embedding(self.expect_labels(labels, len(x), self.classes)))
        return self.D(ops.concatenate([x, plane], axis=3))


class AuxiliaryClassifier(nn.Module):
    """x -> (D's logits, class logits (N, classes)), both computed from D's features.

    D does not see the class. `forward` accepts labels and ignores them, so that all conditional
    discriminators are called alike.
    """

    conditional = True

    def __init__(self, D, classes: int, *, rng: Rng):
        rng = generator(rng)
        self.D, self.flatten = D, nn.Flatten()
        layer = nn.Linear(math.prod(D.feature_shape), classes, rng=rng, init=normal(0.02))
        self.classify = spectral_norm_like(D, layer, rng)

    def forward(self, x, labels=None):
        features = self.D.features(x)
        return self.D.score(features), self.classify(self.flatten(features))


class Projection(nn.Module):
    """D(x) + e_y . phi(x), where phi(x) (N, F) are D's features; feature maps (N, h, w, F) are
    summed over positions.

    `forward` calls D.features and D.score instead of D, so that the features are computed once.
    """

    conditional = True

    def __init__(self, D, classes: int, *, rng: Rng):
        rng = generator(rng)
        self.D, self.classes = D, classes
        init = getattr(D, "init", nn.init.xavier_uniform())  # by default, SNGAN's
        embedding = nn.Embedding(classes, D.feature_shape[-1], rng=rng, init=init)
        self.embedding = spectral_norm_like(D, embedding, rng)

    def forward(self, x, labels):
        features = self.D.features(x)
        phi = features if features.ndim == 2 else ops.sum(features, (1, 2))
        labels = self.expect_labels(labels, len(x), self.classes)
        match = ops.sum(self.embedding(labels) * phi, 1)
        logits = self.D.score(features)
        return logits + match.reshape((-1,) + (1,) * (logits.ndim - 1))


def spectral_norm_like(D: nn.Module, layer: nn.Module, rng: Rng) -> nn.Module:
    """Return `layer`, wrapped in SpectralNorm if D has SpectralNorm layers."""
    for _, module in D.modules():
        if isinstance(module, nn.SpectralNorm):
            return nn.SpectralNorm(layer, module.step_in_evaluation, rng=rng)
    return layer
