"""StyleGAN2: the droplet and its cure, step by step; and penalties that are taken now and then only.

python demos/stylegan2.py              # two to three minutes
python demos/stylegan2.py --full       # full MNIST, three seeds, at most ten minutes a run
"""

# %% Why droplets?
# AdaIN divides each feature map by its own deviation. How strong a map is, compared with the others, is lost, and a G
# that wants to tell its later layers so has one way: a spot so strong that it alone sets the deviation. The authors
# saw such a "droplet" in all images of StyleGAN from 64x64 on. Their redesign takes the reason away in steps, each of
# which is a layer here:
#
#   (a) AdaIN   (b) the same function, in detail   (c) the deviation alone is normalised   (d) the deviation to be expected, by
#   demodulating the weights: nothing is measured, so that a spot buys nothing
#
# From (b) to (c), more changes than that the mean is no longer taken off: noise and biases come after the normalisation,
# and what makes the image gets a style of its own.
#
# How spotted a feature map is: the largest deviation from its mean, over the mean deviation, of the map itself or of all
# maps of its layer. The latter tells a droplet from a map in which there is little but a faint spot.
import statistics
import time

import numpy as np

from tinygan import data, grad, nn, ops, tensor
from tinygan.models import stylegan2
from tinygan.study import Study, below, evaluations, logarithmic, means, show, span
from tinygan.training.sampling import generate, latents, load_networks

study = Study(__file__, __doc__)


def spots(folder):
    """{"spots": {layer: [peak over mean, mean of the maps; of the map where it is largest; the largest peak over the mean
    deviation of all maps]}} of what a layer's activation puts out, mean over images."""
    found = {}
    for layer, maps in activations(folder).items():
        deviation = np.abs(maps - maps.mean((1, 2), keepdims=True))
        ratio = (deviation.max((1, 2)) / (deviation.mean((1, 2)) + 1e-12)).mean(
            0
        )  # of each map, over the images
        of_layer = deviation.max((1, 2, 3)) / (deviation.mean((1, 2, 3)) + 1e-12)
        found[layer] = [float(ratio.mean()), float(ratio.max()), float(of_layer.mean())]
    return {"spots": found}


def activations(folder, n=study.choose(4, 64, 200)):
    """{"4x4", "8x8 1", "8x8 2", ...: feature maps (N, H, W, C)} of the convolutions; of (a) and (b), before they are
    normalised. Without noise, which would hide a spot."""
    G, _ = load_networks(folder)
    for _, module in G.modules():
        if isinstance(module, nn.Noise):
            module.mode = "none"
    with nn.feature_maps(G, stylegan2.Activation) as maps:
        generate(G, latents(np.random.default_rng(0), n, G), np.arange(n) % 10, batch=n)
    sides, found = (4, 8, 8, 16, 16, 32, 32), {}
    for side, features in zip(
        sides, list(maps.values())[-len(sides) :]
    ):  # (a) and (b) begin with a layer of the constant
        name = f"{side}x{side}" + (
            " 2" if f"{side}x{side} 1" in found else " 1" if side > 4 else ""
        )
        found[name] = features.numpy().astype(float)
    return found


# How spotted real digits are, as grey images, is what to compare with: ink is a spot, too.
digits = data.load("digits").images[:200] / 255.0
apart = np.abs(digits - digits.mean((1, 2), keepdims=True))
of_digits = float((apart.max((1, 2)) / apart.mean((1, 2))).mean())


# %% The four steps, with the same settings; and the last one with its penalties at every step
# Lazy regularisation: R1 and the path-length penalty cost nearly as much as the step itself. Taken at every fourth step, and
# weighing four times as much, they should do the same for a quarter of the price.
steps = study.choose(4, 420, 2500)
runs = study.train(
    {
        "(a) AdaIN": "configuration=a",
        "(b) in detail": "configuration=b",
        "(c) deviation": "configuration=c",
        "(d) demodulated": "configuration=d",
        "(d), penalties always": "configuration=d penalty_every=1 path_every=1",
    },
    "stylegan2",
    f"g_channels={study.choose(4, 4, 8)} d_channels={study.choose(4, 4, 8)}",
    steps=steps,
    eval_every=study.choose(2, 52, 312),
    eval_images=study.choose(100, 500, 2000),
    also=spots,
)
fid, ms = (
    means(runs, "fid"),
    {label: 1e3 * seconds / steps for label, seconds in means(runs, "seconds").items()},
)


def strongest(run):
    """The largest peak over its layer's mean, of 16x16 and 32x32 pixels: smaller maps have no room for a droplet."""
    return max(spot[-1] for layer, spot in run.also["spots"].items() if layer[:2] in ("16", "32"))


worst = {label: float(np.mean([strongest(run) for run in found])) for label, found in runs.items()}
study.table(
    ("configuration", "FID", "strongest spot", "a step"),
    *(
        (
            label,
            span(run.fid for run in found),
            span(map(strongest, found), 1),
            f"{ms[label]:.0f} ms",
        )
        for label, found in runs.items()
    ),
)


# %% Demodulated convolution, two ways
# (d) gives every image of a batch weights of its own. Written down like that, it is a convolution with a group for
# each image. But convolution is linear: scaling the channels that go in, and those that come out, is the same, with
# one convolution for all images.
def with_own_weights(x, w, style):
    """x (N, H, W, C), w (3, 3, C, O), style (N, C) -> (N, H, W, O)."""
    n, height, width, channels = x.shape
    outputs = w.shape[3]
    own = w.reshape(1, 3, 3, channels, outputs) * style.reshape(n, 1, 1, channels, 1)
    own = own * (ops.sum(ops.square(own), (1, 2, 3), keepdims=True) + 1e-8) ** -0.5
    own = own.transpose((1, 2, 3, 0, 4)).reshape(3, 3, channels, n * outputs)
    side_by_side = x.transpose((1, 2, 0, 3)).reshape(1, height, width, n * channels)
    y = ops.conv2d(side_by_side, own, padding=1, groups=n)
    return y.reshape(height, width, n, outputs).transpose((2, 0, 1, 3))


def inputs(size, channels, batch, dtype="float32"):
    rng = np.random.default_rng(0)
    shapes = (batch, size, size, channels), (3, 3, channels, channels), (batch, channels)
    return [tensor(rng.standard_normal(shape), requires_grad=True, dtype=dtype) for shape in shapes]


def difference(args):
    """The largest of values and gradients, relative to the largest number."""
    y, other = with_own_weights(*args), ops.modulated_conv2d(*args)
    pairs = [(y, other), *zip(*(grad(ops.sum(ops.square(y)), args) for y in (y, other)))]
    return max(
        np.abs(a.detach().numpy() - b.detach().numpy()).max() / np.abs(a.detach().numpy()).max()
        for a, b in pairs
    )


def milliseconds(function, args):
    start = time.perf_counter()
    grad(ops.sum(function(*args)), args)
    return 1e3 * (time.perf_counter() - start)


def side_by_side():
    """[size, channels, ms of the one way, ms of the other, difference] of some convolutions."""
    shapes, found = (
        ((4, 64), (8, 64), (16, 64), (32, 64), (32, 16)),
        [],
    )  # pixels on a side, channels
    for size, channels in study.choose([(4, 4), (8, 4)], shapes, shapes):
        args, times = inputs(size, channels, study.choose(2, 32, 32)), ([], [])
        for _ in range(study.choose(2, 7, 15)):
            for function, taken in zip((with_own_weights, ops.modulated_conv2d), times):
                taken.append(milliseconds(function, args))
        found.append(
            [
                size,
                channels,
                *map(statistics.median, times),
                difference(inputs(size, channels, 4, "float64")),
            ]
        )
        assert found[-1][-1] < 1e-12
    return found


modulation = study.numbers("modulation", side_by_side)
study.table(
    (
        "size, channels",
        "a weight for each image",
        "activations scaled",
        "times faster",
        "difference in float64",
    ),
    *(
        (
            f"{size}x{size}, {channels}",
            f"{slow:.2f} ms",
            f"{fast:.2f} ms",
            f"{slow / fast:.1f}",
            f"{apart:.0e}",
        )
        for size, channels, slow, fast, apart in modulation
    ),
)

# %% The figure
figure, axes = study.figure(12, 4.4, 2, 5, height_ratios=(1.6, 1))
for i, (label, found) in enumerate(runs.items()):
    if "always" not in label:
        layers = {}
        for run in found:
            for name, spot in run.also["spots"].items():
                layers.setdefault(name, []).append(spot[-1])
        axes[0, 0].plot(
            list(layers), [np.mean(values) for values in layers.values()], f"C{i}", label=label
        )
        axes[0, 0].plot(list(layers), list(layers.values()), f"C{i}o", markersize=3)
axes[0, 0].set(ylabel="peak over its layer's mean")
axes[0, 0].tick_params("x", rotation=60, labelsize=7)
axes[0, 0].axhline(of_digits, color="black", linestyle=":", linewidth=1, label="(digits)")
axes[0, 0].legend(frameon=False, fontsize=7)
for ax, (label, found) in zip(axes[1], runs.items()):
    show(ax, found[0].images, 10, f"{label}\nFID {span(run.fid for run in found)}")
evaluations(axes[0, 1], runs, only=[label for label in runs if "always" not in label])
evaluations(axes[0, 2], runs, over="seconds", only=[label for label in runs if "(d)" in label])
for ax in axes[0, 1:3]:
    logarithmic(ax)
    ax.legend(frameon=False, fontsize=7)


def most_spotted(label):
    """Of ten images, the map of the last layer but one that has the strongest spot, and the mean of all its maps, as grey images."""
    maps = list(activations(runs[label][0].folder, 10).values())[-2]
    deviation = np.abs(maps - maps.mean((1, 2), keepdims=True))
    spotted = int(deviation.max((1, 2)).mean(0).argmax())
    chosen = np.concatenate([maps[..., spotted], maps.mean(3)])
    low, high = chosen.min((1, 2), keepdims=True), chosen.max((1, 2), keepdims=True)
    return np.uint8(255 * (chosen - low) / (high - low + 1e-12))[..., None]


for ax, label in zip(axes[0, 3:], ("(a) AdaIN", "(d) demodulated")):
    show(
        ax,
        study.images(label[1], lambda: most_spotted(label)),
        5,
        f"{label[:3]} above: the most\nspotted map; below: mean",
    )
study.save(figure, axes[0, 0], axes[0, 1])

# %% What came of it
# (d) cannot have droplets: what it has of spots is what is drawn.
with_spots, without = (
    [strongest(run) for run in runs[label]] for label in ("(a) AdaIN", "(d) demodulated")
)
droplet, gone = min(with_spots) > 2 * max(without), max(without) < min(with_spots)
b, c = "(b) in detail", "(c) deviation"
lazy, always = "(d) demodulated", "(d), penalties always"
best = all(below(runs, "fid", lazy, label) for label in runs if "(d)" not in label)
study.finding(
    f"AdaIN has {'a droplet' if droplet else 'no droplet'} at 32x32 (strongest spot, peak over mean: {worst['(a) AdaIN']:.1f}, with "
    f"demodulation, which cannot have one, {worst[lazy]:.1f}), and demodulation {'is' if best else 'is not clearly'} better than all "
    f"before it (FID {fid[lazy]:.1f} against {', '.join(f'{value:.1f}' for label, value in fid.items() if '(d)' not in label)}).",
    {
        "there is a droplet": droplet,
        "the redesign has fewer spots": gone,
        "demodulation draws better digits": best,
        "lazy penalties cost little": not below(runs, "fid", always, lazy),
    },
    "The strongest spot: "
    + ", ".join(f"{label} {span(map(strongest, found), 1)}" for label, found in runs.items())
    + f"; of digits themselves {of_digits:.1f}. By FID, the deviation alone (c) is "
    f"{'better than' if below(runs, 'fid', c, b) else 'worse than' if below(runs, 'fid', b, c) else 'not clearly different from'} mean and "
    f"deviation (b). Lazy penalties: {ms[lazy]:.0f} ms a step instead of {ms[always]:.0f}, FID {fid[lazy]:.1f} against {fid[always]:.1f} "
    f"at equal images.",
    fid=fid,
    spots=worst,
    milliseconds=ms,
)
