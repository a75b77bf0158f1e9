# %% [markdown]
"""StyleGAN2: the droplet and its cure, step by step; and lazy penalties.

python demos/stylegan2.py              # two to three minutes
python demos/stylegan2.py --full       # full MNIST, three seeds, at most ten minutes per run
"""

# %% [markdown]
# ## Why droplets?
#
# AdaIN divides each feature map by its own standard deviation. This destroys the information how
# strong the map is compared with the others. G can pass this information to its later layers in
# only one way: with a spot so strong that it alone determines the deviation. The authors saw such a
# "droplet" in all of StyleGAN's images from 64x64 pixels on. Their redesign removes the cause in
# four steps. Each step is a layer here:
#
#     (a) AdaIN
#     (b) the same function, written as normalisation and modulation
#     (c) division by the deviation alone; the mean stays
#     (d) demodulation of the weights, which divides by the expected deviation: nothing is measured,
#         so that a spot has no effect on its map's scale
#
# From (b) to (c), the mean is not the only change: noise and biases move behind the normalisation,
# and the layer that makes the image gets a style of its own.
#
# We measure how spotted a feature map is by its peak: the largest deviation from its mean, divided
# by the mean deviation, either of the map itself or of all maps of its layer. The layer's mean
# distinguishes a droplet from a map that contains nothing but a faint spot.

# %%
import statistics
import time

import numpy as np

from tinygan import data, grad, nn, ops, tensor
from tinygan.models import stylegan2
from tinygan.study import (
    Study,
    clearly_below,
    mean_and_range,
    mean_over_seeds,
    plot_evaluations,
    plot_images,
    set_log_scale,
)
from tinygan.training.sampling import generate, latents, load_networks

STUDY_SIZE = None  # in a notebook: "tiny" (seconds), "fast" (the default) or "full" (hours)
study = Study("stylegan2", __doc__, size=STUDY_SIZE)


def spots(folder):
    """Measure the spots in the output of each layer's activation, averaged over images.

    Returns {"spots": {layer: [mean, largest, of_layer]}}. mean, largest: over the layer's maps, the
    peak divided by the mean deviation of the same map. of_layer: the largest peak divided by the
    mean deviation of all maps.
    """
    by_layer = {}
    for layer, maps in activations(folder).items():
        deviation = np.abs(maps - maps.mean((1, 2), keepdims=True))
        of_maps = (deviation.max((1, 2)) / (deviation.mean((1, 2)) + 1e-12)).mean(0)
        of_layer = deviation.max((1, 2, 3)) / (deviation.mean((1, 2, 3)) + 1e-12)
        by_layer[layer] = [float(of_maps.mean()), float(of_maps.max()), float(of_layer.mean())]
    return {"spots": by_layer}


def activations(folder, n=study.choose(4, 64, 200)):
    """Return {layer: feature maps (N, H, W, C)} for the activations of "4x4", "8x8 1", "8x8 2", ...

    In (a) and (b), these are the maps before normalisation. Noise is off, because it would hide a
    spot.
    """
    G, _ = load_networks(folder)
    for _, module in G.modules():
        if isinstance(module, nn.Noise):
            module.mode = "none"
    with nn.feature_maps(G, stylegan2.Activation) as maps:
        generate(G, latents(np.random.default_rng(0), n, G), np.arange(n) % 10, batch_size=n)
    layers = ("4x4", "8x8 1", "8x8 2", "16x16 1", "16x16 2", "32x32 1", "32x32 2")
    convolved = list(maps.values())[-len(layers) :]  # (a) and (b) begin with the constant's layer
    return {layer: features.numpy().astype(float) for layer, features in zip(layers, convolved)}


# For comparison, we measure how spotted real digits are, as grey images: ink is a spot, too.
digits = data.load("digits").images[:200] / 255.0
deviation = np.abs(digits - digits.mean((1, 2), keepdims=True))
of_digits = float((deviation.max((1, 2)) / deviation.mean((1, 2))).mean())


# %% [markdown]
# ## The four steps, with the same settings; and the last one with its penalties at every step
#
# R1 and the path-length penalty cost nearly as much as the step itself. Lazy regularisation applies
# them at every fourth step, four times as strong. This should have the same effect at a quarter of
# the cost.

# %%
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
fid = mean_over_seeds(runs, "fid")
ms = {label: 1e3 * seconds / steps for label, seconds in mean_over_seeds(runs, "seconds").items()}


def strongest_spot(run):
    """Return the largest peak over its layer's mean deviation, among maps of 16x16 and 32x32
    pixels: smaller maps have no room for a droplet."""
    return max(spot[-1] for layer, spot in run.also["spots"].items() if layer[:2] in ("16", "32"))


mean_spot = {
    label: float(np.mean([strongest_spot(run) for run in group])) for label, group in runs.items()
}
study.table(
    ("configuration", "FID", "strongest spot", "time per step"),
    *(
        (
            label,
            mean_and_range(run.fid for run in group),
            mean_and_range(map(strongest_spot, group), 1),
            f"{ms[label]:.0f} ms",
        )
        for label, group in runs.items()
    ),
)


# %% [markdown]
# ## Demodulated convolution, two ways
#
# (d) gives every image of a batch its own weights. Computed literally, this is a grouped
# convolution with one group per image. But convolution is linear: we can scale its input channels
# and its output channels instead, and use one convolution for all images. The result is the same.


# %%
def with_own_weights(x, w, style):
    """Compute the literal version: x (N, H, W, C), w (3, 3, C, O), style (N, C) -> (N, H, W, O)."""
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
    """Return the largest difference between the two versions, in values and gradients, relative to
    the largest number."""
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


def compare_versions():
    """Measure some convolutions: a list of [size, channels, ms with own weights, ms with scaled
    activations, difference]."""
    shapes = (4, 64), (8, 64), (16, 64), (32, 64), (32, 16)  # pixels on a side, channels
    rows = []
    for size, channels in study.choose([(4, 4), (8, 4)], shapes, shapes):
        args, times = inputs(size, channels, study.choose(2, 32, 32)), ([], [])
        for _ in range(study.choose(2, 7, 15)):
            for function, of_version in zip((with_own_weights, ops.modulated_conv2d), times):
                of_version.append(milliseconds(function, args))
        largest = difference(inputs(size, channels, 4, "float64"))
        assert largest < 1e-12
        rows.append([size, channels, *map(statistics.median, times), largest])
    return rows


modulation = study.cached("modulation", compare_versions)
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
            f"{largest:.0e}",
        )
        for size, channels, slow, fast, largest in modulation
    ),
)

# %% [markdown]
# ## The figure

# %%
figure, axes = study.figure(12, 4.4, 2, 5, height_ratios=(1.6, 1))
for i, (label, group) in enumerate(runs.items()):
    if "always" not in label:
        layers = {}
        for run in group:
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
for ax, (label, group) in zip(axes[1], runs.items()):
    plot_images(ax, group[0].images, 10, f"{label}\nFID {mean_and_range(run.fid for run in group)}")
plot_evaluations(axes[0, 1], runs, only=[label for label in runs if "always" not in label])
plot_evaluations(axes[0, 2], runs, over="seconds", only=[label for label in runs if "(d)" in label])
for ax in axes[0, 1:3]:
    set_log_scale(ax)
    ax.legend(frameon=False, fontsize=7)


def most_spotted(label):
    """Return grey images, for ten samples, of the most spotted map of the second-to-last layer, and
    of the mean of all its maps."""
    maps = list(activations(runs[label][0].folder, 10).values())[-2]
    deviation = np.abs(maps - maps.mean((1, 2), keepdims=True))
    spotted = int(deviation.max((1, 2)).mean(0).argmax())
    grey = np.concatenate([maps[..., spotted], maps.mean(3)])
    low, high = grey.min((1, 2), keepdims=True), grey.max((1, 2), keepdims=True)
    return np.uint8(255 * (grey - low) / (high - low + 1e-12))[..., None]


for ax, label in zip(axes[0, 3:], ("(a) AdaIN", "(d) demodulated")):
    plot_images(
        ax,
        study.cached_images(label[1], lambda: most_spotted(label)),
        5,
        f"{label[:3]} above: the most\nspotted map; below: mean",
    )
study.save_figure(figure, axes[0, 0], axes[0, 1])

# %% [markdown]
# ## The result
#
# (d) cannot have droplets: its spots are part of the digits.

# %%
spots_of_adain, spots_of_demodulated = (
    [strongest_spot(run) for run in runs[label]] for label in ("(a) AdaIN", "(d) demodulated")
)
droplet = min(spots_of_adain) > 2 * max(spots_of_demodulated)
fewer_spots = max(spots_of_demodulated) < min(spots_of_adain)
b, c = "(b) in detail", "(c) deviation"
lazy, always = "(d) demodulated", "(d), penalties always"
best = all(clearly_below(runs, "fid", lazy, label) for label in runs if "(d)" not in label)
study.finding(
    f"AdaIN has {'a droplet' if droplet else 'no droplet'} at 32x32: its strongest spot (peak over "
    f"mean) is {mean_spot['(a) AdaIN']:.1f}, and that of demodulation, which cannot have droplets, "
    f"is {mean_spot[lazy]:.1f}. Demodulation is {'' if best else 'not clearly '}better than all "
    f"configurations before it (FID {fid[lazy]:.1f} against "
    + ", ".join(f"{value:.1f}" for label, value in fid.items() if "(d)" not in label)
    + ").",
    {
        "AdaIN has a droplet": droplet,
        "the redesign has fewer spots": fewer_spots,
        "demodulation gives better digits": best,
        "lazy penalties cost little": not clearly_below(runs, "fid", always, lazy),
    },
    "Strongest spot: "
    + ", ".join(
        f"{label} {mean_and_range(map(strongest_spot, group), 1)}" for label, group in runs.items()
    )
    + f", real digits {of_digits:.1f}. By FID, normalising by the deviation alone (c) is "
    + (
        "better than"
        if clearly_below(runs, "fid", c, b)
        else "worse than"
        if clearly_below(runs, "fid", b, c)
        else "not clearly different from"
    )
    + " normalising by mean and deviation (b). With lazy penalties, a step takes "
    f"{ms[lazy]:.0f} ms instead of {ms[always]:.0f} ms, and the FID is {fid[lazy]:.1f} against "
    f"{fid[always]:.1f} after the same number of images.",
    fid=fid,
    spots=mean_spot,
    milliseconds=ms,
)
