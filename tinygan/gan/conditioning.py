"""Telling G and D the class: wrappers that make any pair of networks conditional.

    concatenation           G(z, y): an embedding of y beside z. D(x, y): a learned image of y
                            beside x, as one more channel (Mirza and Osindero 2014, cGAN)
    auxiliary classifier    D(x) also guesses the class; it learns that from reals and fakes, and G
                            from its fakes (Odena et al. 2017, AC-GAN)
    projection              D(x, y) = psi(phi(x)) + e_y . phi(x): is this a real *seven*, not just
                            real? (Miyato and Koyama 2018, equation 3)
    conditional batch-norm  in G, in place of batch-norm: `nn.ConditionalBatchNorm.of_classes`

Classes y are integer arrays (N,). What a network must have to be wrapped stands in
`tinygan/models/__init__.py`.
"""

import math

from tinygan import nn, ops
from tinygan.nn.init import normal


def call_with_labels(network, x, labels=None):
    """network(x, labels), or network(x) where there are no classes."""
    return network(x) if labels is None else network(x, labels)


class ConcatLatent(nn.Module):
    """A G of latents (N, latent + size) as a function of z (N, latent) and y, by an embedding of y.

    The embedding stands behind z; if G reads its latents in parts, as BigGAN's does, it stands in
    front, since the class has to reach the first layer.
    """

    conditional = True

    def __init__(self, G, classes, size, *, rng):
        self.latent, self.classes = G.latent - size, classes
        self.in_front = getattr(G, "reads_in_parts", False)
        self.embedding = nn.Embedding(classes, size, rng=rng)
        self.G = G

    def forward(self, z, labels):
        z = self.expect_shape(z, "N", self.latent, what="latents")
        parts = [z, self.embedding(self.expect_labels(labels, len(z), self.classes))]
        return self.G(ops.concatenate(parts[::-1] if self.in_front else parts, axis=1))


class ConcatImage(nn.Module):
    """A D of images (N, H, W, C + 1) as a function of x (N, H, W, C) and y.

    The last channel is a learned image (H, W) of the class.
    """

    conditional = True

    def __init__(self, D, classes, image_size, *, rng):
        self.embedding = nn.Embedding(classes, math.prod(image_size), rng=rng)
        self.plane = nn.Reshape(*image_size, 1)
        self.D, self.classes = D, classes
        self.image_shape = (*image_size, D.image_shape[2] - 1)

    def forward(self, x, labels):
        x = self.expect_shape(x, "N", *self.image_shape, what="images")
        plane = self.plane(self.embedding(self.expect_labels(labels, len(x), self.classes)))
        return self.D(ops.concatenate([x, plane], axis=3))


class AuxiliaryClassifier(nn.Module):
    """x -> (D's logits; logits of the classes (N, classes)), both from D's features.

    D does not see the class. `forward` takes it and ignores it, so that all conditional
    discriminators are called alike.
    """

    conditional = True

    def __init__(self, D, classes, *, rng):
        self.D = D
        self.flatten = nn.Flatten()
        layer = nn.Linear(math.prod(D.feature_shape), classes, rng=rng, init=normal(0.02))
        self.classify = scaled_like(D, layer, rng)

    def forward(self, x, labels=None):
        features = self.D.features(x)
        return self.D.score(features), self.classify(self.flatten(features))


class Projection(nn.Module):
    """D(x) + e_y . phi(x), where phi(x) are D's features (N, F); of feature maps, their sums.

    It calls D.features and D.score, of which D.forward consists, to compute the features once.
    """

    conditional = True

    def __init__(self, D, classes, *, rng):
        self.classes = classes
        self.D, init = D, getattr(D, "init", nn.init.xavier_uniform())  # the latter is SNGAN's
        embedding = nn.Embedding(classes, D.feature_shape[-1], rng=rng, init=init)
        self.embedding = scaled_like(D, embedding, rng)

    def forward(self, x, labels):
        features = self.D.features(x)
        phi = features if features.ndim == 2 else ops.sum(features, (1, 2))
        labels = self.expect_labels(labels, len(x), self.classes)
        match = ops.sum(self.embedding(labels) * phi, 1)
        logits = self.D.score(features)
        return logits + match.reshape((-1,) + (1,) * (logits.ndim - 1))


def scaled_like(D, layer, rng):
    """A new layer beside D's: where D's are spectrally normalised, in the same way."""
    for _, module in D.modules():
        if isinstance(module, nn.SpectralNorm):
            return nn.SpectralNorm(layer, module.step_in_evaluation, rng=rng)
    return layer
