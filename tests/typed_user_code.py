"""What users write, with types: `mypy --strict tests/typed_user_code.py` must find no error, and
pytest runs `main`. It uses every package that tinygan offers to users."""

from pathlib import Path
from typing import Any

import numpy as np

import tinygan
from tinygan import (
    Parameter,
    Tensor,
    assert_gradient,
    check_gradient,
    check_grads,
    check_module,
    data,
    grad,
    nn,
    no_grad,
    ops,
    optim,
    plots,
    schedules,
    tensor,
)
from tinygan.autograd import op
from tinygan.gan import augment, conditioning, losses, penalties
from tinygan.metrics import Evaluator, evaluate, nearest
from tinygan.models import dcgan, stylegan2
from tinygan.models.recipe import Recipe, Sizes
from tinygan.models.settings import Settings
from tinygan.study import mean_and_range
from tinygan.training import recipes, sampling
from tinygan.training.trainer import Trainer, training_data


@op
def cube(x: Tensor, /) -> Any:
    return x.data**3, lambda g: g * 3.0 * x * x


class Scale(nn.Module):
    """x * weight, with a weight for each channel."""

    def __init__(self, channels: int, *, rng: np.random.Generator) -> None:
        self.weight = Parameter(1.0 + 0.1 * rng.standard_normal(channels), dtype="float32")

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


def engine() -> None:
    x = tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = (cube(x) + x @ x - 2.0 / x).sum()
    (dy,) = grad(y, [x], create_graph=True)
    second = grad(dy.sum(), x)
    y = ops.relu(x).mean() + ops.leaky_relu(x, slope=0.1).max() + ops.einsum("i,i->", x, x)
    hook = y.register_hook(lambda g: g * 2.0)
    y.backward()
    hook.remove()
    labels: np.ndarray[Any, Any] = x.argmax(keepdims=True)
    y = x.sin().std() + x.cos().prod() + ops.gelu(x).cumsum(0).flatten().squeeze().sum()
    print(y.tolist(), labels, x.detach().requires_grad_().swapaxes(0, -1))
    assert second.shape == x.shape and x.grad is not None and x.grad.numpy().ndim == 1
    check_grads(cube, np.array([0.5, -1.0, 2.0]), order=3)
    with tinygan.trace() as t, no_grad():
        z = ops.softmax(x, axis=0)
    print(t.graph(z), z.T.reshape(1, -1)[0, 1:].item)
    with tinygan.anomaly(), tinygan.profile(show=False) as profile:
        ops.conv2d(tensor(np.ones((1, 4, 4, 1))), tensor(np.ones((3, 3, 1, 2))), padding=1)
    print(profile)


def energy(w: np.ndarray[Any, Any]) -> float:
    return float(np.sum(np.sin(w) ** 2))


def gradients(rng: np.random.Generator, folder: Path) -> None:
    w = rng.standard_normal(5)
    report = check_gradient(energy, lambda w: np.sin(2.0 * w), w, names=["w"], seed=1)
    largest: float = report[0]
    report.plot(folder / "energy.png")
    check_gradient(energy, jvp=lambda w, v: np.sin(2.0 * w) @ v, x=w, mode="full", rtol=1e-6)
    check_gradient(energy, x=w, hessian=lambda w: np.diag(2.0 * np.cos(2.0 * w)))
    net = nn.Sequential(nn.Linear(5, 3, rng=rng), nn.Tanh())
    text: str = check_module(net, w[None], order=2, training=True).describe()
    orders = check_module(net, w[None], eps=1e-3, miss=1e-9).orders
    print(text, largest, [(o.title, o.rate, o.noise, o.witnesses) for o in orders])
    assert_gradient(np.sin(2.0 * w), energy, w)
    try:
        assert_gradient(np.sin(w), energy, w, mode="full")
    except tinygan.GradientError as error:
        print(error.describe(), error.kink, error.report)


def networks(rng: np.random.Generator) -> None:
    G = dcgan.Generator(latent=8, widths=(8, 4), rng=rng)
    D = nn.Sequential(
        nn.Conv2d(1, 4, 4, stride=2, padding=1, rng=rng),
        Scale(4, rng=rng),
        nn.BatchNorm(4),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.SpectralNorm(nn.Linear(14 * 14 * 4, 1, rng=rng), rng=rng),
    )
    print(G, nn.summary(G), nn.summary(D, np.zeros((1, 28, 28, 1))))
    g_optimizer = optim.Adam(G.parameters(), lr=2e-4, betas=(0.5, 0.999))
    d_optimizer: optim.Optimizer = optim.RMSprop(D.parameters(), lr=2e-4, weight_decay=1e-4)
    rate: schedules.Schedule = schedules.cosine(2e-4, 0, until=1000, warmup="5%")
    d_optimizer.lr = rate(step=1, steps=1000) * schedules.linear(1, 0.5, until=10)(1)
    average = tinygan.EMA(G, decay=0.99)
    loss = losses.find("bce")

    digits = data.load("digits")
    reals, labels = digits.batch(0, batch_size=16, seed=0)
    pipe = augment.DiffAugment("translation")
    fakes = G(tensor(rng.standard_normal((16, 8)), dtype="float32"))
    d_loss = loss.discriminator(D(pipe(Tensor(reals), rng)), D(pipe(fakes.detach(), rng)))
    d_loss = d_loss + 0.1 * penalties.r1(D, reals)
    gradients = optim.clip_grad_norm(grad(d_loss, D.parameters()), 10.0)
    print(optim.grad_norm(gradients).item(), optim.AdamW(D, weight_decay=0.1).betas)
    d_optimizer.step(gradients)
    g_optimizer.step(grad(loss.generator(None, D(fakes)), G.parameters()))
    average.update(G)
    state: dict[str, Any] = G.state_dict()
    G.load_state_dict(state)
    conditioning.call_with_labels(G, tensor(np.zeros((2, 8)), dtype="float32"))
    with nn.feature_maps(D) as maps, no_grad():
        D.eval()(reals)
    print(sorted(maps), sum(p.size for _, p in G.named_parameters()))


class MySettings(Settings):
    """The settings of all recipes."""


def my_networks(s: Any, sizes: Sizes, rng: np.random.Generator) -> tuple[nn.Module, nn.Module]:
    size, _, channels = sizes.image
    G = dcgan.Generator(sizes.latent, size, channels, widths=(8, 4), rng=rng)
    return G, dcgan.Discriminator(size, sizes.d_image_channels, widths=(4, 8), rng=rng)


def a_run(folder: Path) -> None:
    recipe = Recipe("mine", "a small DCGAN", MySettings, my_networks, {"loss": "hinge"})
    settings = recipe.settings().updated(
        {"steps": 2, "latent": 8, "batch_size": 8, "lr": schedules.linear(2e-4, 0)}
    )
    train, held_out = training_data(data.load("digits"), settings, seed=0)
    trainer = Trainer(recipe, settings, train, folder / "mine", seed=0)
    print(trainer.step, trainer.config, held_out)
    settings = recipes.find("gan").settings().updated({"steps": 2, "hidden": 8})
    trainer = Trainer.start(recipes.find("gan"), settings, data.load("digits"), folder / "gan")
    grid: Path = trainer.run(progress=False)
    G, config, path = sampling.load_generator(folder / "gan")
    z = sampling.latents(np.random.default_rng(0), 100, G)
    images = sampling.generate(G, z)
    plots.save_image(folder / "grid.png", plots.grid(images))
    test = data.load("digits", "test")
    report: dict[str, Any] = Evaluator(test).quick(images)
    indices, distances = nearest(images, test.images, k=2)
    print(
        grid,
        config,
        path,
        report["fid"],
        indices.shape,
        distances.shape,
        mean_and_range([1.0, 2.0]),
    )
    print(evaluate, stylegan2.RECIPE.name)


def on_step(run: tinygan.Run, numbers: dict[str, float]) -> None:
    if numbers["d_loss"] < 0 or run.step == 6:
        run.save()
        run.stop()


def a_run_in_few_words(folder: Path) -> None:
    run = tinygan.train("gan", data="ring", steps=4, out=folder / "few", progress=False)
    points: np.ndarray[Any, Any] = run.sample(10, seed=1, weights="last")
    run.show(4).save(folder / "few.png")
    report: dict[str, Any] = run.evaluate(100)
    run = tinygan.train(resume=run, steps=8, on_step=on_step, progress=False)
    same: tinygan.Run = tinygan.load_run(folder / "few").resume(steps=7, progress=False)
    losses: np.ndarray[Any, Any] = same.log["d_loss"]
    generator: nn.Module = run.G
    print(
        generator,
        run.D,
        losses,
        points.shape,
        report["energy_distance"],
        same.evaluations,
        same.settings.lr,
    )
    in_memory = data.load("digits").images[:100]
    tinygan.train(data=in_memory, steps=1, out=folder / "array", batch_size=8, progress=False)


def main(folder: Path) -> None:
    """Run everything in this file; `folder` is for the files that it writes."""
    engine()
    gradients(np.random.default_rng(0), folder)
    networks(np.random.default_rng(0))
    a_run(folder)
    a_run_in_few_words(folder)
