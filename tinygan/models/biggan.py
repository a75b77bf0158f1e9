"""BigGAN (Brock, Donahue and Simonyan 2019): SNGAN's blocks at scale, with the class and z in every block.

    G:  z is cut into one part per block and one more. The first part -> 4x4 -> UpBlocks, each with its own part of z
        beside an embedding of the class, which all blocks share -> batch-norm, relu, 3x3, tanh
    D:  DownBlocks -> relu -> sum over positions -> logit  (+ projection on an embedding of the class: gan/conditioning.py)

Spectral normalisation in both, with a power step in evaluation too. Orthogonal initial weights. Self-attention after
chosen blocks. (The reference numbers average the unbiased variance in batch-norm.)
"""

from tinygan import nn, ops
from tinygan.autograd import described


def spectral(layer, rng):
    return nn.SpectralNorm(layer, step_in_evaluation=True, rng=rng)


def convolutions(rng, init):
    """What makes the convolutions: conv(inputs, outputs, kernel_size, padding=0, bias=True)."""
    return lambda *shape, **settings: spectral(nn.Conv2d(*shape, **settings, rng=rng, init=init), rng)


class Generator(nn.Module):
    """Latents z (N, latent) and classes (N,) -> images (N, 4 * 2^blocks, ..., image_channels) in [-1, 1].

    widths: channels of the 4x4 map, then of each block's output. embedding: length of the class embedding. classes: the
    number of them; None leaves the class and its embedding out, so that the parts of z alone steer the blocks.
    attention: numbers of the blocks (from 0) that self-attention follows.
    """

    conditional, reads_in_parts = True, True

    def __init__(self, latent=128, classes=10, image_channels=1, widths=(64, 64, 64, 64), embedding=32, attention=(1,),
                 *, rng, init=nn.init.orthogonal):
        if latent % len(widths):
            raise ValueError(f"a latent (and embedding) of {latent} cannot be cut into {len(widths)} equal parts")
        self.part = latent // len(widths)
        conv, condition = convolutions(rng, init), self.part + (embedding if classes else 0)

        def norm(channels):
            gain, bias = (spectral(nn.Linear(condition, channels, bias=False, rng=rng, init=init), rng)
                          for _ in range(2))
            return nn.ConditionalBatchNorm(channels, gain, bias)

        self.latent, self.classes = latent, classes
        # The one weight that is not normalised.
        self.embedding = nn.Embedding(classes, embedding, rng=rng, init=init) if classes else None
        self.project = spectral(nn.Linear(self.part, 16 * widths[0], rng=rng, init=init), rng)
        self.unflatten = nn.Reshape(4, 4, widths[0])
        self.blocks = []
        for i, (a, b) in enumerate(zip(widths, widths[1:])):
            attend = [nn.SelfAttention(b, conv)] if i in attention else []
            self.blocks.append(nn.Sequential(nn.UpBlock(a, b, norm=norm, conv=conv), *attend))
        self.norm = nn.BatchNorm(widths[-1])
        self.to_image = conv(widths[-1], image_channels, 3, padding=1)

    def forward(self, z, labels=None):
        z = self.take(z, "N", self.latent, what="latents")
        first, *parts = (z[:, i:i + self.part] for i in range(0, self.latent, self.part))
        shared = [self.embedding(self.take_labels(labels, len(z), self.classes))] if self.classes else []
        x = self.unflatten(self.project(first))
        for block, part in zip(self.blocks, parts):
            x = block(x, ops.concatenate([*shared, part], axis=1))
        return ops.tanh(self.to_image(ops.relu(self.norm(x))))


class Discriminator(nn.Module):
    """Images (N, H, W, image_channels) -> logits (N,): positive means real.

    widths: channels of each block; downsample: which blocks halve the size; attention: which self-attention follows.
    `features` (N, widths[-1]) are the last feature maps, summed over positions; `score` makes logits of them.
    """

    def __init__(self, image_channels=1, widths=(64, 64, 64, 64), downsample=(True, True, False, False), attention=(0,),
                 *, rng, init=nn.init.orthogonal):
        conv = convolutions(rng, init)
        self.blocks = nn.Sequential()
        for i, (a, b) in enumerate(zip((image_channels, *widths), widths)):
            self.blocks.layers += [nn.DownBlock(a, b, conv=conv, downsample=downsample[i], first=i == 0)]
            self.blocks.layers += [nn.SelfAttention(b, conv)] if i in attention else []
        self.to_logit = spectral(nn.Linear(widths[-1], 1, rng=rng, init=init), rng)
        self.image_shape, self.feature_shape, self.init = ("H", "W", image_channels), (widths[-1],), init
        self.divisor = 1 << sum(downsample[:len(widths)])

    def features(self, x):
        x = self.take(x, "N", *self.image_shape, what="images")
        if x.shape[1] % self.divisor or x.shape[2] % self.divisor:
            raise self.refusal(f"takes images whose height and width are multiples of {self.divisor}, got "
                               f"{described(x)}")
        return ops.sum(ops.relu(self.blocks(x)), (1, 2))

    def score(self, features):
        return self.to_logit(features).reshape(-1)

    def forward(self, x):
        return self.score(self.features(x))
