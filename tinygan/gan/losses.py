"""Losses: what D and G minimise, as functions of D's logits (positive means real)."""

from tinygan.ops import binary_cross_entropy_with_logits


def bce_discriminator(real, fake):
    """-log sigmoid(real) - log(1 - sigmoid(fake)), each averaged over its batch: tell real (1) from fake (0)."""
    return binary_cross_entropy_with_logits(real, 1.0) + binary_cross_entropy_with_logits(fake, 0.0)


def bce_generator(fake):
    """-log sigmoid(fake): the non-saturating loss (Goodfellow et al. 2014, section 3)."""
    return binary_cross_entropy_with_logits(fake, 1.0)
