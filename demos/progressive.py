"""Growing from 4x4 to 32x32: is it faster, and do details stick to places?

    python demos/progressive.py              # two to three minutes
    python demos/progressive.py --full       # full MNIST, three seeds, at most ten minutes a run
"""

# %% Small first
# A Progressive GAN learns images of 4x4 pixels first, and lets larger sizes fade in. Two claims are looked at. That it gets to good
# images sooner than the same networks at full size from the start: early steps are cheap, and coarse things are learned
# first. And, held against it by StyleGAN2, that details stick to places: each size had to produce finished images, so that
# its features keep to pixels instead of moving with what is drawn. Skips and residual connections, which need no growing, should be
# free of it.
import numpy as np

from tinygan import Tensor, nn
from tinygan.study import Study, evaluations, show, span
from tinygan.training.sampling import generate, load_networks

study = Study(__file__, __doc__)


# %% How far does a feature follow?
# Walk from one latent to another, and see where the drawn digit is (the centre of its ink), and where each feature map is active (the
# centre of its squared deviation). If, over all steps of all walks, a feature's centre moves as the digit's does, the
# regression of one on the other has a slope of 1; if it stays where it is, 0.
def centres(maps):
    """(N, H, W, C) >= 0 -> (N, C, 2): row and column of the centre of each map, as a share of the side."""
    total = maps.sum((1, 2)) + 1e-12
    side = np.linspace(0, 1, maps.shape[1])
    return np.stack([np.einsum("nhwc,h->nc", maps, side) / total, np.einsum("nhwc,w->nc", maps, side) / total], 2)


def following(folder, walks=study.choose(2, 24, 64), steps=8):
    """{"following": mean slope over the features of 32x32 pixels, and of 16x16}."""
    G, _ = load_networks(folder)
    rng = np.random.default_rng(0)
    first, last = rng.standard_normal((2, walks, 1, G.latent))
    z = (first + (last - first) * np.linspace(0, 1, steps)[:, None]).reshape(-1, G.latent).astype(np.float32)
    z /= np.sqrt((z ** 2).mean(1, keepdims=True))  # where latents lie
    with nn.feature_maps(G) as maps:
        images = generate(G, Tensor(z), batch=len(z))
    moves = lambda where: np.diff(where.reshape(walks, steps, -1, 2), axis=1).reshape(walks * (steps - 1), -1, 2)
    of_image = moves(centres(images.astype(np.float64)))[:, :1]
    found = {}
    for size in (16, 32):
        last_of_size = [m for m in maps.values() if m.ndim == 4 and m.shape[1] == size and m.shape[3] > 3][-1].numpy().astype(np.float64)
        of_maps = moves(centres((last_of_size - np.median(last_of_size, (1, 2), keepdims=True)) ** 2))
        slope = (of_maps * of_image).sum((0, 2)) / ((of_image ** 2).sum() + 1e-12)
        found[str(size)] = float(slope.mean())
    return {"following": found}


# %% Four ways to get to 32x32
steps, every = study.choose(8, 900, 6000), study.choose(4, 150, 500)
phase = study.choose(16, 1600, 8000)  # images at a size, and images of a fade
common = f"steps={steps} eval_every={every} eval_images={study.choose(100, 500, 2000)}"
growing = study.train({"growing": f"stable_images={phase} fade_images={phase}", "full size at once": "grow=false"}, "progan", common,
                      also=following)
instead = study.train({"skips": "g_architecture=skip", "residual": "g_architecture=residual"}, "stylegan2",
                      common + " g_class=none d_class=none", also=following)
runs = growing | instead
study.table(("", "seconds of training", "FID", "features follow, 16x16", "32x32"),
            *((label, span((run.seconds for run in found), 0), span(run.fid for run in found),
               *(span(run.also["following"][size] for run in found) for size in ("16", "32"))) for label, found in runs.items()))

# %% Time to quality
# When was the FID first below a mark that both ways reach? (Training time on one thread, evaluations not counted.)
mark = 1.1 * max(min(row["fid"] for row in run.evaluations) for found in growing.values() for run in found)
until = {label: np.mean([next(row["seconds"] for row in run.evaluations if row["fid"] <= mark) for run in found])
         for label, found in growing.items()}
print(f"seconds until an FID of {mark:.1f}: " + ", ".join(f"{label} {seconds:.0f}" for label, seconds in until.items()))

# %% The figure
figure, axes = study.figure(11, 5, 2, 4)
evaluations(axes[0, 0], growing, over="seconds")
axes[0, 0].axhline(mark, color="black", linestyle=":", linewidth=1)
axes[0, 0].set_yscale("log")
evaluations(axes[0, 1], growing)
axes[0, 1].set_yscale("log")
axes[0, 1].legend(frameon=False, fontsize=7)
for i, (label, found) in enumerate(runs.items()):
    for j, size in enumerate(("16", "32")):
        values = [run.also["following"][size] for run in found]
        axes[0, 2].bar(i + 0.4 * j - 0.2, np.mean(values), 0.4, color=f"C{i}", alpha=0.9 - 0.4 * j)
        axes[0, 2].plot([i + 0.4 * j - 0.2] * len(values), values, "k.", markersize=3)
axes[0, 2].set_xticks(range(len(runs)), ["growing", "at once", "skips", "residual"], fontsize=7)
axes[0, 2].set_ylabel("how far features follow (1: all the way)\ndark: 16x16, light: 32x32", fontsize=8)
axes[0, 3].set_axis_off()
for ax, (label, found) in zip(axes[1], runs.items()):
    show(ax, found[0].samples, 10, f"{label}: FID {span(run.fid for run in found)}")
study.save(figure)

# %% What came of it
follow = {label: {size: np.mean([run.also["following"][size] for run in found]) for size in ("16", "32")} for label, found in runs.items()}
ratio = until["full size at once"] / until["growing"]
sticks = max(follow["growing"][size] - min(follow[label][size] for label in instead) for size in ("16", "32")) < 0
study.finding(
    f"Growing is at an FID of {mark:.1f} after {until['growing']:.0f} s, full size at once after {until['full size at once']:.0f} s: "
    f"{'%.1f times as fast' % ratio if ratio > 1 else 'it is slower here'}. Of the digit's movement, features of 16x16 / 32x32 follow: "
    + ", ".join(f"{label} {values['16']:.2f} / {values['32']:.2f}" for label, values in follow.items()) + ". "
    + ("Those of the grown network stick most." if sticks else "That the grown network's stick does not show on digits."),
    mark=mark, seconds=until, following=follow)
