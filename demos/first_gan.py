"""A first GAN: in a minute or two, `python demos/first_gan.py` writes a grid of new digits."""

import numpy as np
from tqdm import trange

from tinygan import data, grad, nn, no_grad, optim, plots, tensor
from tinygan.gan import losses

rng = np.random.default_rng(0)
digits = data.load("digits")  # images (28, 28, 1) in [-1, 1]

G = nn.Sequential(  # the generator: latents z (N, 64) -> fakes (N, 28, 28, 1)
    nn.Linear(64, 7 * 7 * 32, rng=rng),
    nn.Reshape(7, 7, 32),
    nn.BatchNorm(32),
    nn.ReLU(),
    nn.ConvTranspose2d(32, 16, kernel_size=4, stride=2, padding=1, rng=rng),  # 7x7 -> 14x14
    nn.BatchNorm(16),
    nn.ReLU(),
    nn.ConvTranspose2d(16, 1, kernel_size=4, stride=2, padding=1, rng=rng),  # 14x14 -> 28x28
    nn.Tanh(),
)
D = nn.Sequential(  # the discriminator: images (N, 28, 28, 1) -> logits (N, 1), positive for real
    nn.Conv2d(1, 16, kernel_size=4, stride=2, padding=1, rng=rng),
    nn.LeakyReLU(0.2),
    nn.Conv2d(16, 32, kernel_size=4, stride=2, padding=1, rng=rng),
    nn.LeakyReLU(0.2),
    nn.Flatten(),
    nn.Linear(7 * 7 * 32, 1, rng=rng),
)
g_optimizer = optim.Adam(G.parameters(), lr=1e-3, betas=(0.5, 0.999))
d_optimizer = optim.Adam(D.parameters(), lr=1e-3, betas=(0.5, 0.999))
bce = losses.find("bce")  # cross-entropy: G wants D to call its fakes real

for step in (progress := trange(3000)):
    reals, labels = digits.batch(step, batch_size=32, seed=0)
    fakes = G(tensor(rng.standard_normal((32, 64)), dtype="float32"))
    d_loss = bce.discriminator(D(reals), D(fakes.detach()))  # detach: not into G
    d_optimizer.step(grad(d_loss, D.parameters()))
    g_loss = bce.generator(None, D(fakes))  # of fakes alone: no reals
    g_optimizer.step(grad(g_loss, G.parameters()))
    progress.set_postfix(d_loss=f"{d_loss.item():.2f}", g_loss=f"{g_loss.item():.2f}")

with no_grad():
    fakes = G.eval()(tensor(rng.standard_normal((100, 64)), dtype="float32")).numpy()
plots.save_image("first_gan.png", plots.grid(data.to_uint8(fakes)))
