"""DCGAN (Radford, Metz and Chintala 2016): convolutions only, batch-norm, and a few rules that made GANs train.

Strided convolutions instead of pooling; batch-norm everywhere but in G's last and D's first layer (and D's
logit); relu in G, leaky relu .2 in D; tanh at the end of G; weights N(0, .02), batch-norm gains N(1, .02); no
bias before a norm.

    MNIST:  z 100 -> 7x7x128 -> 14x14x64 -> 28x28x1         28x28x1 -> 14x14x64 -> 7x7x128 -> logit
"""

from tinygan import nn

WEIGHTS = nn.init.normal(0.02)
GAINS = nn.init.normal(0.02, mean=1.0)


def start_size(image_size, layers):
    """The side of the smallest feature map, which each of `layers` 4x4 stride-2 layers doubles."""
    side = image_size >> layers
    if side < 1 or side << layers != image_size:
        raise ValueError(f"images of {image_size} pixels cannot be halved {layers} times: "
                         f"pad them to a multiple of {1 << layers}")
    return side


class Generator(nn.Module):
    """Latents z (N, latent) -> images (N, size, size, image_channels) in [-1, 1].

    widths: channels of the feature maps, from the smallest map (a projection of z) to the largest.
    """

    def __init__(self, latent=100, image_size=28, image_channels=1, widths=(128, 64), *, rng):
        side = start_size(image_size, len(widths))
        self.latent = latent
        self.main = nn.Sequential(
            nn.ConvTranspose2d(latent, widths[0], side, bias=False, rng=rng, init=WEIGHTS),
            nn.BatchNorm(widths[0], rng=rng, init=GAINS), nn.ReLU())
        for a, b in zip(widths, widths[1:]):
            self.main.layers += [nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False, rng=rng, init=WEIGHTS),
                                 nn.BatchNorm(b, rng=rng, init=GAINS), nn.ReLU()]
        self.main.layers += [nn.ConvTranspose2d(widths[-1], image_channels, 4, 2, 1, bias=False, rng=rng,
                                                init=WEIGHTS), nn.Tanh()]

    def forward(self, z):
        return self.main(z.reshape(-1, 1, 1, self.latent))


class Discriminator(nn.Module):
    """Images (N, size, size, image_channels) -> logits (N,): positive means real.

    widths: channels of the feature maps, from the largest map to the smallest.
    """

    def __init__(self, image_size=28, image_channels=1, widths=(64, 128), *, rng):
        side = start_size(image_size, len(widths))
        self.main = nn.Sequential(
            nn.Conv2d(image_channels, widths[0], 4, 2, 1, bias=False, rng=rng, init=WEIGHTS), nn.LeakyReLU(0.2))
        for a, b in zip(widths, widths[1:]):
            self.main.layers += [nn.Conv2d(a, b, 4, 2, 1, bias=False, rng=rng, init=WEIGHTS),
                                 nn.BatchNorm(b, rng=rng, init=GAINS), nn.LeakyReLU(0.2)]
        self.main.layers += [nn.Conv2d(widths[-1], 1, side, bias=False, rng=rng, init=WEIGHTS)]

    def forward(self, x):
        return self.main(x).reshape(-1)
