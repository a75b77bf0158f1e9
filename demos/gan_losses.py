"""The game of two networks, and what they are scored by: cross-entropy, L2 or L1; of probabilities, or of raw scores?

python demos/gan_losses.py              # one to two minutes
python demos/gan_losses.py --full       # full MNIST, three seeds, some minutes a run
"""

# %% The game
# D looks at an image and says how sure it is that it is real; G draws images and wants D to be wrong. In between
# stands a loss. The lecture's three: cross-entropy, the squared difference (L2) and the absolute difference (L1) of
# D's answer from the right one, 1 for real and 0 for fake. Its claims: all of them train; and cross-entropy punishes
# a confident mistake hardest.
import numpy as np

from tinygan import data, grad, optim, tensor
from tinygan.gan import losses
from tinygan.metrics import Evaluator
from tinygan.models import dcgan
from tinygan.study import Study, curves, logarithmic, means, show, span

study = Study(__file__, __doc__)
rng = np.random.default_rng(0)

# %% First, D alone
# Let G stand still, untrained. D's probability for reals goes to 1, for fakes to 0, within a few steps: left alone, D
# wins. (That is what the game is about: G has to keep up.)
G, D = dcgan.Generator(rng=rng, widths=(32, 16)), dcgan.Discriminator(rng=rng, widths=(16, 32))
bce, optimizer, digits = (
    losses.find("bce"),
    optim.Adam(D.parameters(), lr=2e-4, betas=(0.5, 0.999)),
    data.load("digits"),
)
alone = []
for step in range(study.choose(5, 60, 60)):
    reals, _ = digits.batch(step, batch_size=16, seed=0)
    on_reals, on_fakes = D(reals), D(G(rng.standard_normal((16, 100), dtype=np.float32)).detach())
    alone.append([logits.sigmoid().mean().item() for logits in (on_reals, on_fakes)])
    optimizer.step(grad(bce.discriminator(on_reals, on_fakes), D.parameters()))
print(f"D alone, after {len(alone)} steps: real {alone[-1][0]:.3f}, fake {alone[-1][1]:.3f}")
test = data.load(study.choose("digits", "digits", "mnist"), "test")
noise = data.to_uint8(G(rng.standard_normal((1000, 100), dtype=np.float32)).detach().numpy())
untrained = Evaluator(test).quick(noise)["fid"]  # to compare with

# %% How hard is a mistake punished?
# A real image comes, and D answers with the score s, or with the probability p = sigmoid(s). The gradient of the loss
# is the push that D gets. As a function of p, cross-entropy pushes with 1/p: without bound. But what a network puts
# out is s, and there the push of cross-entropy is 1 - p, never above 1; L2 taken on raw scores pushes with the
# distance itself, however far. L2 and L1 of probabilities hardly push where D is sure and wrong: the sigmoid
# is flat there.
p, s = np.linspace(0.01, 0.999, 300), np.linspace(-8, 4, 300)


def push(loss, answers):
    """|d loss / d answer| for a real image, by the engine."""
    x = tensor(answers, requires_grad=True, dtype="float64")
    return np.abs(grad(loss(x).sum(), x).numpy())


of_probability = {
    "cross-entropy": push(lambda x: -x.log(), p),
    "L2": push(lambda x: 0.5 * (x - 1) ** 2, p),
    "L1": push(lambda x: (x - 1).abs(), p),
}
of_score = {
    "cross-entropy": push(lambda x: -x.sigmoid().log(), s),
    "L2 on scores": push(lambda x: 0.5 * (x - 1) ** 2, s),
    "L1 on scores": push(lambda x: (x - 1).abs(), s),
    "L2 on probabilities": push(lambda x: 0.5 * (x.sigmoid() - 1) ** 2, s),
    "L1 on probabilities": push(lambda x: (x.sigmoid() - 1).abs(), s),
}
study.table(
    ("of probabilities", *of_probability),
    ("push at p = .01", *(f"{values[0]:.2f}" for values in of_probability.values())),
)
study.table(
    ("of raw scores", *of_score),
    ("push at s = -8", *(f"{values[0]:.4f}" for values in of_score.values())),
)

# %% What it does to training
# The same DCGAN with each of them.
variants = {
    "cross-entropy": "loss=bce",
    "L2 on scores": "loss=l2",
    "L1 on scores": "loss=l1",
    "L2 on probabilities": "loss=l2-sigmoid",
    "L1 on probabilities": "loss=l1-sigmoid",
}
runs = study.train(
    variants, "dcgan", "g_channels=16 d_channels=16 lr=1e-3", steps=study.choose(4, 1800, 8000)
)
fid, norm = (
    means(runs, "fid"),
    {label: max(max(run.log["d_grad_norm"]) for run in found) for label, found in runs.items()},
)
study.table(
    ("loss", "FID", "largest mean gradient of D"),
    *(
        (label, span(run.fid for run in found), f"{norm[label]:.2f}")
        for label, found in runs.items()
    ),
)

# %% The figure
figure, axes = study.figure(11, 4.2, 2, 4, height_ratios=(1.7, 1))
for (name, values), color in zip(of_probability.items(), ("C0", "C1", "C2")):
    axes[0, 0].plot(p, values, color, label=name)
axes[0, 0].set(
    xlabel="D's probability for a real image", ylabel="push (gradient of the loss)", ylim=(0.1, 120)
)
for i, (name, values) in enumerate(of_score.items()):
    axes[0, 1].plot(s, values, f"C{i}", label=name)
axes[0, 1].set(xlabel="D's raw score for a real image", ylabel="push", ylim=(0.01, 300))
axes[0, 2].plot(np.array(alone), label=["real", "fake"])
axes[0, 2].set(xlabel="step", ylabel="D's probability", title="D alone", ylim=(0, 1))
first = {"real": runs["cross-entropy"][:1]}, {"fake": runs["cross-entropy"][:1]}
for i, one in enumerate(first):
    curves(axes[0, 3], one, f"d_{next(iter(one))}", "D's probability", color=f"C{i}")
axes[0, 3].set(title="D and G (cross-entropy)", ylim=(0, 1))
for ax in axes[0, :2]:
    logarithmic(ax)
for ax in axes[0]:
    ax.legend(frameon=False, fontsize=6)
    ax.grid(alpha=0.3)
picked = list(runs)[:3] + ["L1 on probabilities"]
for ax, label in zip(axes[1], picked):
    show(ax, runs[label][0].images, 10, f"{label}:\nFID {span(run.fid for run in runs[label])}")
study.save(figure, axes[0, 0], axes[0, 1])

# %% What came of it
hardest = lambda pushes: max(pushes, key=lambda name: pushes[name][0])
trained = [label for label in fid if fid[label] < untrained / 3]
study.finding(
    f"{len(trained)} of {len(fid)} losses train (FID {min(fid.values()):.1f} to {max(fid.values()):.1f}; an untrained G's is "
    f"{untrained:.0f}); as a function of D's probability, {hardest(of_probability)} punishes a confident mistake hardest (a gradient of "
    f"{of_probability['cross-entropy'][0]:.0f} at p = .01; L2 {of_probability['L2'][0]:.2f}), as a function of its raw score, "
    f"{hardest(of_score)} ({of_score['L2 on scores'][0]:.0f} at -8; cross-entropy {of_score['cross-entropy'][0]:.2f}).",
    {
        "all losses train": len(trained) == len(fid),
        "on probabilities, cross-entropy punishes confident mistakes hardest": hardest(
            of_probability
        )
        == "cross-entropy",
        "on raw scores, L2 does": hardest(of_score) == "L2 on scores",
    },
    f"D alone says {alone[-1][0]:.2f} to reals and {alone[-1][1]:.2f} to fakes after {len(alone)} steps. FID, to be below a third of "
    "an untrained G's on average: "
    + ", ".join(f"{label} {span((run.fid for run in found), 1)}" for label, found in runs.items())
    + ".",
    alone=alone[-1],
    untrained=untrained,
    fid=fid,
    largest_gradient=norm,
    push_at_p={name: values[0] for name, values in of_probability.items()},
    push_at_score={name: values[0] for name, values in of_score.items()},
)
